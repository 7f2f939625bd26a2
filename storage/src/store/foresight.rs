//! Foreseeing, while a log is replayed, how many keys it will leave, so that tables need not grow step by step.
//!
//! - A log is looked at in [`LOOKS`] steps of equal length. How many keys each database got in the last step, and how much that
//!   was less than in the first, says about how many it will get in those that are left.
//! - What is foreseen may be wrong by any factor. Room made for nothing is bounded meanwhile, and given back at the end.

use super::Store;
use crate::EffectSink;
use crate::database::Database;

/// How often a log is looked at. It takes two steps to foresee anything; their keys are moved as growth does it.
const LOOKS: u64 = 64;
/// More than is foreseen, so that tables a little above the average need not grow either.
const MARGIN: f64 = 1.03;
/// How much less a step brings than the first one before that is more than chance.
const STEADY: f64 = 0.97;
/// What tables take for a key.
const KEY_BYTES: usize = 9;
/// Room for keys that may not come, in any case, and as a share of all memory in use.
const ROOM_BYTES: usize = 64 << 20;
const ROOM_SHARE: usize = 3;

/// What is known of a log under replay.
#[derive(Clone, Debug, Default)]
pub struct Foresight {
    /// Where the log was looked at last.
    looked_at: u64,
    databases: Vec<Growth>,
}

/// How the keys of a database become more.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    /// At the last look.
    keys: usize,
    /// Keys a byte, in the first step that brought any.
    first: f64,
    /// Steps since then.
    steps: i32,
}

impl Growth {
    /// Takes in that a step of so many bytes has ended with so many keys; returns how many there will be after `left` more
    /// such steps.
    fn foresee(&mut self, keys: usize, bytes: f64, left: f64) -> f64 {
        let more = keys.saturating_sub(self.keys) as f64;
        self.keys = keys;
        if self.steps == 0 {
            self.first = more / bytes;
            self.steps = i32::from(more > 0.0);
            return keys as f64;
        }
        let ratio = more / bytes / self.first;
        // Where keys are set again and again, each step finds fewer new ones by about the same factor.
        let coming = match ratio.powf(1.0 / f64::from(self.steps)) {
            _ if ratio >= STEADY => more * left,
            factor => more * factor * (1.0 - factor.powf(left)) / (1.0 - factor),
        };
        self.steps += 1;
        keys as f64 + coming
    }
}

impl<S: EffectSink> Store<S> {
    /// Makes room for what replay will bring, when so much of a log was read that has about so many bytes.
    pub fn foresee(&mut self, foresight: &mut Foresight, read_bytes: u64, log_bytes: u64) {
        let step = read_bytes.wrapping_sub(foresight.looked_at);
        if read_bytes < foresight.looked_at || read_bytes == 0 {
            // Another log.
            *foresight = Foresight::default();
            let begun =
                self.databases.iter().map(|database| Growth { keys: database.len(), ..Growth::default() });
            foresight.databases = begun.collect();
            return;
        }
        if step < (log_bytes / LOOKS).max(1) || read_bytes >= log_bytes {
            return;
        }
        foresight.looked_at = read_bytes;
        foresight.databases.resize(self.databases.len(), Growth::default());
        let left = (log_bytes - read_bytes) as f64 / step as f64;
        let room = (ROOM_BYTES + self.memory_bytes() / ROOM_SHARE) / KEY_BYTES;
        let all_keys: usize = self.databases.iter().map(Database::len).sum();
        for (database, growth) in self.databases.iter_mut().zip(&mut foresight.databases) {
            let keys = database.len();
            let foreseen = growth.foresee(keys, step as f64, left) * MARGIN;
            if keys > 0 {
                let factor = bounded(foreseen / keys as f64, room as f64 / all_keys as f64);
                for table in database.tables_mut().iter_mut().filter(|table| table.len() > 0) {
                    table.reserve(&self.hasher, (table.len() as f64 * factor) as usize);
                }
            }
        }
    }

    /// Gives back the room that was made for keys that have not come.
    pub fn give_back(&mut self) {
        for table in self.databases.iter_mut().flat_map(Database::tables_mut) {
            table.shrink(&self.hasher);
        }
    }
}

/// How many times as large tables become at once, if `factor` is foreseen and no more than `most` is allowed for now. A step of half
/// the way is better than one of nearly all of it: that would have to be followed by another that moves nearly everything.
fn bounded(factor: f64, most: f64) -> f64 {
    if factor <= most { factor } else { factor.sqrt().min(most) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::NoLog;
    use crate::{DatabaseId, Effect, StoreOptions};

    /// What a record of a test takes in a log.
    const RECORD_BYTES: u64 = 100;
    const GROUPS: std::ops::Range<u16> = 0..256;

    #[derive(Clone, Copy)]
    enum Record {
        Set(u64),
        Delete(u64),
        Flush,
        Swap,
    }

    fn new_store() -> Store<NoLog> {
        Store::new(StoreOptions { databases: 2, hash_seed: 5 }, NoLog)
    }

    /// All keys are in four groups, so that their tables have some segments.
    fn apply(store: &mut Store<NoLog>, record: Record) {
        let database = DatabaseId(0);
        let name = |n: u64| format!("key:{n:012}").into_bytes();
        let slot = |n: u64| (n % 256) as u16;
        match record {
            Record::Set(n) => {
                let (key, value) = (&name(n)[..], &n.to_le_bytes()[..]);
                store
                    .apply(&Effect::Set { database, slot: slot(n), key, value, expire_at_ms: None }, &GROUPS);
            }
            Record::Delete(n) => {
                store.apply(&Effect::Delete { database, slot: slot(n), key: &name(n) }, &GROUPS);
            }
            Record::Flush => store.apply(&Effect::FlushDatabase { database }, &GROUPS),
            Record::Swap => store.apply(&Effect::SwapDatabases { a: database, b: DatabaseId(1) }, &GROUPS),
        }
    }

    /// Replays a log with and without foresight.
    fn replay(log: &[Record]) -> (Store<NoLog>, Store<NoLog>) {
        let (mut store, mut plain) = (new_store(), new_store());
        let mut foresight = Foresight::default();
        let log_bytes = log.len() as u64 * RECORD_BYTES;
        for (index, record) in log.iter().enumerate() {
            if index % 16 == 0 {
                store.foresee(&mut foresight, index as u64 * RECORD_BYTES, log_bytes);
            }
            apply(&mut store, *record);
            apply(&mut plain, *record);
        }
        store.give_back();
        (store, plain)
    }

    fn keys(store: &Store<NoLog>) -> Vec<Vec<u8>> {
        let tables = store.databases.iter().flat_map(Database::tables);
        let entries = tables.flat_map(|table| (0..64).flat_map(|slot| table.in_slot(slot)));
        let mut keys: Vec<_> = entries.map(|entry| entry.key().to_vec()).collect();
        keys.sort_unstable();
        keys
    }

    fn drawn(count: u64, keys: u64) -> Vec<Record> {
        let mut state = 7_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % keys
        };
        (0..count).map(|_| Record::Set(draw())).collect()
    }

    fn table_bytes(store: &Store<NoLog>) -> usize {
        let tables = store.databases.iter().flat_map(Database::tables);
        tables.map(|table| table.memory_bytes() - table.totals().bytes).sum()
    }

    #[test]
    fn replay_leaves_the_same_in_as_little_memory_whatever_was_foreseen() {
        let distinct: Vec<_> = (0..40_000).map(Record::Set).collect();
        let over_and_over = [&distinct[..10_000], &drawn(40_000, 10_000)].concat();
        let deleted: Vec<_> = (0..39_000).map(Record::Delete).collect();
        let queue: Vec<_> = (0..30_000).flat_map(|n| [Record::Set(n + 2000), Record::Delete(n)]).collect();
        let late = [&drawn(30_000, 100), &distinct[..]].concat();
        let logs = [
            ("distinct", distinct.clone()),
            ("drawn", drawn(50_000, 20_000)),
            ("over and over", over_and_over),
            ("deleted", [&distinct[..], &deleted].concat()),
            ("queue", queue),
            ("late", late),
            ("flushed", [&distinct[..20_000], &[Record::Flush], &distinct[..1000]].concat()),
            ("swapped", [&distinct[..5000], &[Record::Swap], &distinct[20_000..], &[Record::Swap]].concat()),
        ];
        for (name, log) in logs {
            let (store, plain) = replay(&log);
            assert_eq!(keys(&store), keys(&plain), "{name}");
            let (bytes, grown) = (store.memory_bytes(), plain.memory_bytes());
            assert!(bytes * 100 <= grown * 105, "{name}: {bytes} bytes, grown {grown}");
        }
    }

    #[test]
    fn tables_have_their_size_long_before_their_keys() {
        let log: Vec<_> = (0..40_000).map(Record::Set).collect();
        let (mut store, mut foresight) = (new_store(), Foresight::default());
        let mut early = 0;
        for (index, record) in log.iter().enumerate() {
            store.foresee(&mut foresight, index as u64 * RECORD_BYTES, log.len() as u64 * RECORD_BYTES);
            apply(&mut store, *record);
            if index == log.len() / 16 {
                early = table_bytes(&store);
            }
        }
        let late = table_bytes(&store);
        assert!(late <= early + early / 50, "{early} bytes of tables became {late}");
    }

    #[test]
    fn a_second_log_is_foreseen_by_itself() {
        let (mut store, mut foresight) = (new_store(), Foresight::default());
        // Of the first nothing is left to be foreseen; in the second nothing is new.
        for pass in 0..2 {
            for n in 0..20_000 {
                store.foresee(&mut foresight, n * RECORD_BYTES, (1 + 9 * pass) * 20_000 * RECORD_BYTES);
                apply(&mut store, Record::Set(n));
            }
            assert!(table_bytes(&store) <= 13 * 20_000, "{} bytes of tables", table_bytes(&store));
        }
    }

    #[test]
    fn fewer_and_fewer_new_keys_are_foreseen() {
        // A million keys drawn five million times: of each 64th of the log.
        let keys_at = |step: i32| 1e6 * (1.0 - (-5.0 * f64::from(step) / 64.0).exp());
        let mut growth = Growth::default();
        for step in 1..64 {
            let foreseen = growth.foresee(keys_at(step) as usize, 1.0, f64::from(64 - step));
            if step > 1 {
                assert!((foreseen / keys_at(64) - 1.0).abs() < 0.01, "{foreseen} keys after {step} steps");
            }
        }
        let mut steady = Growth::default();
        steady.foresee(1000, 10.0, 63.0);
        assert_eq!(steady.foresee(2000, 10.0, 62.0) as usize, 64_000);
        assert_eq!(steady.foresee(2000, 10.0, 61.0) as usize, 2000, "a step that brought none");
        assert_eq!(steady.foresee(5000, 10.0, 60.0) as usize, 185_000, "more than ever");
    }

    #[test]
    fn room_that_may_be_for_nothing_is_bounded() {
        assert_eq!(bounded(64.0, 100.0) as usize, 64);
        assert_eq!(bounded(64.0, 20.0) as usize, 8, "two equal steps");
        assert_eq!(bounded(64.0, 4.0) as usize, 4);
    }
}

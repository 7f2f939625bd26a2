//! Looking around: at databases as a whole, at keys that nobody has named, at memory.

use super::{GroupRange, Key, Store};
use crate::database::{Database, GROUPS, group_of};
use crate::schedule::Schedule;
use crate::table::{POSITION_BITS, PrefetchedBucket, Table};
use crate::value::Collection;
use crate::{DatabaseId, EffectSink, Entry};

/// A key that will be looked up soon.
#[derive(Clone, Copy)]
pub struct Prefetched<'a>(PrefetchedBucket<'a>);

impl Prefetched<'_> {
    /// Once its bucket has come: fetches its entry.
    #[inline]
    pub fn prefetch_entry(self) {
        self.0.prefetch_entry();
    }

    /// Once its entry has come: fetches the head of the collection that it holds, if it does.
    #[inline]
    pub fn prefetch_collection(self) {
        self.0.entries().for_each(Entry::prefetch_collection);
    }

    /// Once that has come: fetches elements, or what leads to them.
    #[inline]
    pub fn prefetch_elements(self) {
        self.0.entries().for_each(Entry::prefetch_elements);
    }
}

impl std::fmt::Debug for Prefetched<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefetched").finish_non_exhaustive()
    }
}

/// Where a scan goes on. `Cursor(0)` is the start; otherwise a group and a position in hash order within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub u64);

impl Cursor {
    /// The start of a group; that of group 256 is the end of the keyspace.
    #[must_use]
    pub const fn at_group(group: u16) -> Cursor {
        Cursor((group as u64) << POSITION_BITS)
    }

    /// The group that the scan goes on with; more than 256 if the cursor isn't one of ours.
    pub const fn group(self) -> u16 {
        (self.0 >> POSITION_BITS) as u16
    }

    const fn position(self) -> u64 {
        self.0 & ((1 << POSITION_BITS) - 1)
    }

    const fn new(group: u16, position: u64) -> Cursor {
        Cursor((group as u64) << POSITION_BITS | position)
    }
}

impl<S: EffectSink> Store<S> {
    /// How many keys a database has, expired ones that nobody has come across included.
    pub fn len(&self, database: DatabaseId) -> usize {
        self.gates.fold_all();
        self.databases[database.index()].len()
    }

    /// Whether a database has no keys.
    pub fn is_empty(&self, database: DatabaseId) -> bool {
        self.len(database) == 0
    }

    /// How many of a database's keys have an expiry.
    pub fn expires_len(&self, database: DatabaseId) -> usize {
        self.gates.fold_all();
        self.databases[database.index()].expiring()
    }

    /// The mean time to live of those keys that have an expiry; 0 if none has.
    pub fn average_ttl_ms(&self, database: DatabaseId) -> u64 {
        let tables = self.databases[database.index()].tables();
        let sum: u128 = tables.iter().map(|table| table.totals().expire_at_ms).sum();
        let mean = sum.checked_div(self.expires_len(database) as u128).unwrap_or(0);
        u64::try_from(mean.saturating_sub(u128::from(self.now_ms))).unwrap_or(u64::MAX)
    }

    /// A key chosen almost evenly among those that have not expired; expired ones it comes across are removed. None
    /// when there is no key, or when it came across expired ones only.
    pub fn random_key(&mut self, database: DatabaseId, random: &mut dyn FnMut() -> u64) -> Option<Vec<u8>> {
        const TRIES_MAX: usize = 100;
        for _ in 0..TRIES_MAX {
            let len = self.len(database) as u64;
            let mut nth = random().checked_rem(len)?;
            let tables = self.databases[database.index()].tables();
            let group = tables.iter().position(|table| {
                let here = nth < table.len() as u64;
                nth = nth.saturating_sub(if here { 0 } else { table.len() as u64 });
                here
            })?;
            let table = &tables[group];
            let at = table.sample(random)?;
            let entry = table.entry(at);
            if !entry.is_expired(self.now_ms) {
                return Some(entry.key().to_vec());
            }
            let hash = self.hasher.hash(entry.key());
            if !self.sink.holds(database, hash) {
                self.expire(database, group as u8, hash, at);
            }
        }
        None
    }

    /// Visits about `count_hint` keys of some groups from `cursor` on, in hash order. Returns where to go on:
    /// `Cursor::at_group(groups.end)` when done with the groups. A key that is there from the start to the end of a
    /// scan is visited at least once. The work of a call is bounded also where keys are few.
    pub fn scan(
        &mut self,
        database: DatabaseId,
        groups: GroupRange,
        cursor: Cursor,
        count_hint: usize,
        each: &mut dyn FnMut(&Entry<'_>),
    ) -> Cursor {
        /// Steps over empty groups and buckets that a call takes whatever its count.
        const STEPS_MIN: usize = 1024;
        self.gates.fold_all();
        let count = count_hint.max(1);
        let mut steps = count.saturating_mul(10).max(STEPS_MIN);
        let mut seen = 0;
        let end = groups.end.min(GROUPS);
        let mut cursor = cursor.max(Cursor::at_group(groups.start));
        while cursor.group() < end && seen < count && steps > 0 {
            steps -= 1;
            let group = cursor.group();
            let table = self.databases[database.index()].table(group as u8);
            let now_ms = self.now_ms;
            let next = table.and_then(|table| {
                table.scan(&self.hasher, cursor.position(), |entry, _| {
                    if !entry.is_expired(now_ms) {
                        seen += 1;
                        each(&entry);
                    }
                })
            });
            cursor = next.map_or(Cursor::at_group(group + 1), |position| Cursor::new(group, position));
        }
        if cursor.group() >= end { Cursor::at_group(groups.end) } else { cursor }
    }

    /// Visits up to `limit` keys of a hash slot in database 0.
    pub fn keys_in_slot(&mut self, slot: u16, limit: usize, each: &mut dyn FnMut(&Entry<'_>)) {
        self.gates.fold_all();
        let entries =
            self.databases[0].table(group_of(slot)).into_iter().flat_map(|table| table.in_slot(slot));
        entries.filter(|entry| !entry.is_expired(self.now_ms)).take(limit).for_each(|entry| each(&entry));
    }

    /// How many keys of a hash slot database 0 has.
    pub fn slot_len(&self, slot: u16) -> usize {
        self.gates.fold_all();
        self.databases[0].table(group_of(slot)).map_or(0, |table| table.in_slot(slot).count())
    }

    /// Says that a key will be looked up soon: fetches its bucket. What comes back fetches the entry, a few keys later.
    #[inline]
    pub fn prefetch(&self, database: DatabaseId, key: Key<'_>) -> Option<Prefetched<'_>> {
        let table = self.databases[database.index()].table(group_of(key.slot))?;
        table.prefetch_bucket(self.hasher.hash(key.bytes), key.slot).map(Prefetched)
    }

    /// Memory of entries, tables, gates and expiry hints, as counted, of flushed data not yet reclaimed too. Takes a few
    /// microseconds for each database in use.
    pub fn memory_bytes(&self) -> usize {
        let databases: usize = self.databases.iter().map(Database::memory_bytes).sum();
        let garbage: usize = self.garbage.iter().map(Table::memory_bytes).sum();
        let values: usize = self.garbage_values.iter().map(Collection::memory_bytes).sum();
        let schedules: usize = self.garbage_schedules.iter().map(Schedule::memory_bytes).sum();
        let others = self.gates.memory_bytes() + self.expiry.memory_bytes() + self.libraries.memory_bytes();
        databases + garbage + schedules + values + others
    }
}

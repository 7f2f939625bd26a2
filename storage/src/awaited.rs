//! Keys that commands wait for: BLPOP and its kin.
//!
//! For each such key there is a queue of those who wait for it, in the order in which they came. Every change of the key makes it
//! *ready*: whoever serves them looks at it then. Nothing is kept of keys that nobody waits for, and a change costs one look when there
//! are none.

use std::collections::{HashMap, VecDeque};

use crate::{DatabaseId, Key, Kind, ShardId};

/// A command that waits for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaiter {
    /// The shard of its connection.
    pub shard: ShardId,
    /// Its number there, which no other command has there.
    pub number: u64,
    /// What has to be at the key.
    pub kind: Kind,
}

/// A key that has changed, and for whom.
#[derive(Debug)]
pub struct ReadyKey {
    /// Its database.
    pub database: DatabaseId,
    /// The key.
    pub key: Box<[u8]>,
    /// Its slot.
    pub slot: u16,
    /// Those who wait for it, the first to come first.
    pub awaiters: Vec<Awaiter>,
}

#[derive(Debug)]
struct Awaited {
    key: Box<[u8]>,
    slot: u16,
    queue: VecDeque<Awaiter>,
    is_ready: bool,
    /// The key is promised to the awaiter of that shard and number, who has not said yet whether it takes it.
    promised: Option<(ShardId, u64)>,
}

/// See the module. Keys are told apart by their 64-bit hash, as the store seeds it.
#[derive(Debug, Default)]
pub(crate) struct AwaitedKeys {
    keys: HashMap<(DatabaseId, u64), Awaited>,
    ready: VecDeque<(DatabaseId, u64)>,
}

impl AwaitedKeys {
    /// Adds an awaiter behind the others, unless it is among them; then it has not taken what it was promised.
    pub(crate) fn add(&mut self, database: DatabaseId, hash: u64, key: Key<'_>, awaiter: Awaiter) {
        let awaited = self.keys.entry((database, hash)).or_insert_with(|| Awaited {
            key: key.bytes.into(),
            slot: key.slot,
            queue: VecDeque::new(),
            is_ready: false,
            promised: None,
        });
        if !awaited.queue.contains(&awaiter) {
            awaited.queue.push_back(awaiter);
        }
        awaited.promised.take_if(|promised| *promised == (awaiter.shard, awaiter.number));
    }

    /// An awaiter waits no more. What it was promised is there for the others.
    pub(crate) fn remove(&mut self, database: DatabaseId, hash: u64, (shard, number): (ShardId, u64)) {
        let Some(awaited) = self.keys.get_mut(&(database, hash)) else { return };
        awaited.queue.retain(|it| (it.shard, it.number) != (shard, number));
        if awaited.queue.is_empty() {
            self.keys.remove(&(database, hash));
        } else if awaited.promised.take_if(|promised| *promised == (shard, number)).is_some() {
            self.change(database, hash);
        }
    }

    /// Promises a key to one of its awaiters: until that one is added again or removed, the key is nobody else's.
    pub(crate) fn promise(&mut self, database: DatabaseId, hash: u64, awaiter: Awaiter) {
        if let Some(awaited) = self.keys.get_mut(&(database, hash)) {
            awaited.promised = Some((awaiter.shard, awaiter.number));
        }
    }

    /// A key changes.
    #[inline]
    pub(crate) fn on_change(&mut self, database: DatabaseId, hash: u64) {
        if !self.keys.is_empty() {
            self.change(database, hash);
        }
    }

    #[cold]
    fn change(&mut self, database: DatabaseId, hash: u64) {
        if let Some(awaited) = self.keys.get_mut(&(database, hash))
            && !std::mem::replace(&mut awaited.is_ready, true)
        {
            self.ready.push_back((database, hash));
        }
    }

    /// All keys of these databases may change.
    pub(crate) fn on_change_of_all(&mut self, databases: &[DatabaseId]) {
        let mut changed: Vec<_> =
            self.keys.keys().filter(|(database, _)| databases.contains(database)).copied().collect();
        changed.sort_unstable();
        for (database, hash) in changed {
            self.change(database, hash);
        }
    }

    /// How many keys are ready.
    #[inline]
    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// The key that has been ready longest, unless it was promised; it is not ready any more.
    pub(crate) fn take_ready(&mut self) -> Option<ReadyKey> {
        while let Some((database, hash)) = self.ready.pop_front() {
            let Some(awaited) = self.keys.get_mut(&(database, hash)) else { continue };
            awaited.is_ready = false;
            if awaited.promised.is_none() {
                let awaiters = awaited.queue.iter().copied().collect();
                return Some(ReadyKey { database, key: awaited.key.clone(), slot: awaited.slot, awaiters });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DB: DatabaseId = DatabaseId(0);
    const KEY: Key<'static> = Key { bytes: b"k", slot: 7 };

    fn awaiter(number: u64) -> Awaiter {
        Awaiter { shard: ShardId(1), number, kind: Kind::List }
    }

    fn ready(keys: &mut AwaitedKeys) -> Option<Vec<u64>> {
        keys.take_ready().map(|ready| ready.awaiters.iter().map(|it| it.number).collect())
    }

    #[test]
    fn a_change_makes_a_key_ready_once_for_all_who_wait() {
        let mut keys = AwaitedKeys::default();
        keys.on_change(DB, 1);
        keys.add(DB, 1, KEY, awaiter(1));
        keys.add(DB, 1, KEY, awaiter(2));
        keys.add(DB, 1, KEY, awaiter(1));
        assert_eq!(keys.ready_len(), 0);
        keys.on_change(DB, 1);
        keys.on_change(DB, 1);
        keys.on_change(DB, 2);
        assert_eq!(ready(&mut keys), Some(vec![1, 2]));
        assert_eq!(ready(&mut keys), None);
        keys.remove(DB, 1, (ShardId(1), 1));
        keys.on_change_of_all(&[DB]);
        assert_eq!(ready(&mut keys), Some(vec![2]));
        keys.remove(DB, 1, (ShardId(1), 2));
        keys.on_change(DB, 1);
        assert_eq!(ready(&mut keys), None);
    }

    #[test]
    fn a_promised_key_is_nobody_elses_until_the_promise_ends() {
        let mut keys = AwaitedKeys::default();
        keys.add(DB, 1, KEY, awaiter(1));
        keys.add(DB, 1, KEY, awaiter(2));
        keys.promise(DB, 1, awaiter(1));
        keys.on_change(DB, 1);
        assert_eq!(ready(&mut keys), None);
        // It goes on waiting: the next change counts.
        keys.add(DB, 1, KEY, awaiter(1));
        keys.on_change(DB, 1);
        assert_eq!(ready(&mut keys), Some(vec![1, 2]));
        // It has taken something, or has gone: there may be more.
        keys.promise(DB, 1, awaiter(1));
        keys.remove(DB, 1, (ShardId(1), 1));
        assert_eq!(ready(&mut keys), Some(vec![2]));
    }
}

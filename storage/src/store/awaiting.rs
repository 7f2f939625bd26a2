//! Commands that wait for keys of the store; see [`awaited`](crate::awaited).

use super::{Key, Store};
use crate::awaited::{Awaiter, ReadyKey};
use crate::{DatabaseId, EffectSink, ShardId};

impl<S: EffectSink> Store<S> {
    /// A command waits for a key from now on, or still.
    pub fn add_awaiter(&mut self, database: DatabaseId, key: Key<'_>, awaiter: Awaiter) {
        self.awaited.add(database, self.hasher.hash(key.bytes), key, awaiter);
    }

    /// The command of that shard and number waits for a key no more.
    pub fn remove_awaiter(&mut self, database: DatabaseId, key: Key<'_>, awaiter: (ShardId, u64)) {
        self.awaited.remove(database, self.hasher.hash(key.bytes), awaiter);
    }

    /// Promises a key to a command that waits for it: until that one is added again or removed, the key is not ready.
    pub fn promise(&mut self, database: DatabaseId, key: Key<'_>, awaiter: Awaiter) {
        self.awaited.promise(database, self.hasher.hash(key.bytes), awaiter);
    }

    /// How many awaited keys have changed and not been taken.
    #[inline]
    pub fn ready_keys(&self) -> usize {
        self.awaited.ready_len()
    }

    /// The awaited key that has changed first.
    pub fn take_ready(&mut self) -> Option<ReadyKey> {
        self.awaited.take_ready()
    }

    /// A key that was taken has to wait: it is ready once more.
    pub fn postpone(&mut self, database: DatabaseId, key: Key<'_>) {
        self.awaited.on_change(database, self.hasher.hash(key.bytes));
    }
}

//! Keys that somebody watches, by their versions.

use super::{Key, Store};
use crate::database::group_of;
use crate::{DatabaseId, EffectSink};

impl<S: EffectSink> Store<S> {
    /// Watches a key until [`Store::unwatch`]. Returns its version, which every change of it changes. One that has expired is
    /// removed first: that is no change to come.
    pub fn watch(&mut self, database: DatabaseId, key: Key<'_>) -> u64 {
        let hash = self.find(database, key).hash;
        self.watches.watch(database, hash, key)
    }

    /// One of those who watch a key does so no more.
    pub fn unwatch(&mut self, database: DatabaseId, key: Key<'_>) {
        self.watches.unwatch(database, self.hasher.hash(key.bytes));
    }

    /// The version of a watched key. One that has expired is removed, which changes it.
    pub fn watched_version(&mut self, database: DatabaseId, key: Key<'_>) -> u64 {
        let hash = self.find(database, key).hash;
        self.watches.version(database, hash)
    }

    /// All keys of these databases are about to change, if they exist in any of them.
    pub(super) fn touch_watched(&mut self, databases: &[DatabaseId]) {
        if self.watches.is_empty() {
            return;
        }
        let exists = |hash: u64, key: Key<'_>| {
            databases.iter().any(|database| {
                let table = self.databases[database.index()].table(group_of(key.slot));
                table.is_some_and(|table| table.find(hash, key.slot, key.bytes).is_some())
            })
        };
        self.watches.on_change_of_all(databases, exists);
    }
}

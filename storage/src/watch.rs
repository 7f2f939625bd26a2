//! Keys that somebody wants to know the changes of: WATCH.
//!
//! A watched key has a version, which every change of the key replaces by a number that was never used before. Nothing
//! is kept of keys that nobody watches, and asking about them when there is none costs one look.

use std::collections::HashMap;

use crate::{DatabaseId, Key};

#[derive(Debug)]
struct Watch {
    key: Box<[u8]>,
    slot: u16,
    version: u64,
    watchers: u32,
}

/// See the module. Keys are told apart by their 64-bit hash, as the store seeds it.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    keys: HashMap<(DatabaseId, u64), Watch>,
    changes: u64,
}

impl Watches {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// One more watcher; returns the key's version.
    pub(crate) fn watch(&mut self, database: DatabaseId, hash: u64, key: Key<'_>) -> u64 {
        let version = self.changes;
        let watch = self.keys.entry((database, hash)).or_insert_with(|| Watch {
            key: key.bytes.into(),
            slot: key.slot,
            version,
            watchers: 0,
        });
        watch.watchers += 1;
        watch.version
    }

    /// One watcher less.
    pub(crate) fn unwatch(&mut self, database: DatabaseId, hash: u64) {
        if let Some(watch) = self.keys.get_mut(&(database, hash)) {
            watch.watchers -= 1;
            if watch.watchers == 0 {
                self.keys.remove(&(database, hash));
            }
        }
    }

    /// A key's version; of one that nobody watches, a version that no watcher has seen.
    pub(crate) fn version(&self, database: DatabaseId, hash: u64) -> u64 {
        self.keys.get(&(database, hash)).map_or(u64::MAX, |watch| watch.version)
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
        if let Some(watch) = self.keys.get_mut(&(database, hash)) {
            self.changes += 1;
            watch.version = self.changes;
        }
    }

    /// Every key of these databases changes that `exists` in one of them.
    pub(crate) fn on_change_of_all(
        &mut self,
        databases: &[DatabaseId],
        exists: impl Fn(u64, Key<'_>) -> bool,
    ) {
        for ((database, hash), watch) in &mut self.keys {
            let key = Key { bytes: &watch.key, slot: watch.slot };
            if databases.contains(database) && exists(*hash, key) {
                self.changes += 1;
                watch.version = self.changes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DB: DatabaseId = DatabaseId(0);
    const KEY: Key<'static> = Key { bytes: b"k", slot: 7 };

    #[test]
    fn a_change_is_seen_by_every_watcher_from_before_and_by_none_from_after() {
        let mut watches = Watches::default();
        let before = watches.watch(DB, 1, KEY);
        watches.on_change(DB, 1);
        let after = watches.watch(DB, 1, KEY);
        watches.on_change(DB, 2);
        assert_ne!(watches.version(DB, 1), before);
        assert_eq!(watches.version(DB, 1), after);
    }

    #[test]
    fn a_version_is_never_used_again_after_the_key_was_forgotten() {
        let mut watches = Watches::default();
        watches.watch(DB, 1, KEY);
        watches.on_change(DB, 1);
        let version = watches.version(DB, 1);
        watches.unwatch(DB, 1);
        assert!(watches.is_empty());
        watches.watch(DB, 1, KEY);
        watches.on_change(DB, 1);
        assert_ne!(watches.version(DB, 1), version);
    }

    #[test]
    fn a_flush_changes_what_existed_only() {
        let mut watches = Watches::default();
        let (a, b) = (watches.watch(DB, 1, KEY), watches.watch(DB, 2, KEY));
        watches.on_change_of_all(&[DB], |hash, _| hash == 1);
        assert_ne!(watches.version(DB, 1), a);
        assert_eq!(watches.version(DB, 2), b);
    }
}

//! Effects of a log, applied without being logged again.

use super::{Found, GroupRange, Key, Store};
use crate::database::{Database, group_of};
use crate::{DatabaseId, Effect, EffectSink};

impl<S: EffectSink> Store<S> {
    /// Applies an effect of a log without logging it again. Whoever calls this sorts out which keys are this shard's; `owner`
    /// are the groups of the shard that wrote the log, which are those that its flushes and swaps mean. Keys whose
    /// time has passed stay, and expire as usual afterwards.
    pub fn apply(&mut self, effect: &Effect<'_>, owner: &GroupRange) {
        match *effect {
            Effect::Set { database, slot, key, value, expire_at_ms } => {
                let key = Key { bytes: key, slot };
                let found = self.find_applied(database, key);
                self.put(database, found, key, value, expire_at_ms);
            }
            Effect::SetRange { database, slot, key, offset, bytes } => {
                let key = Key { bytes: key, slot };
                let mut found = self.find_applied(database, key);
                if self.entry(database, &found).is_some_and(|entry| entry.string().is_none()) {
                    // As with changes below.
                    self.remove_applied(database, &found);
                    found.at = None;
                }
                self.put_range(database, &found, key, offset as usize, bytes);
            }
            Effect::Delete { database, slot, key } => {
                let found = self.find_applied(database, Key { bytes: key, slot });
                self.remove_applied(database, &found);
            }
            Effect::Change { database, slot, key, change } => {
                let key = Key { bytes: key, slot };
                let mut found = self.find_applied(database, key);
                // A checkpoint's image may have, of a large value, elements from after it was replaced by one of another
                // type: whatever they were, the effects to come say it again.
                let kind = self.entry(database, &found).map(|entry| entry.value().kind());
                if kind.is_some_and(|kind| kind != change.kind()) {
                    self.remove_applied(database, &found);
                    found.at = None;
                }
                self.put_change(database, found, key, &change);
            }
            Effect::Expire { database, slot, key, expire_at_ms } => {
                let found = self.find_applied(database, Key { bytes: key, slot });
                self.put_expiry(database, &found, expire_at_ms);
            }
            Effect::FlushDatabase { database } => {
                self.ensure(database);
                self.detach(database, owner.clone());
            }
            Effect::SwapDatabases { a, b } => {
                self.ensure(a.max(b));
                if let Ok([a, b]) = self.databases.get_disjoint_mut([a.index(), b.index()]) {
                    a.swap(b, owner.clone());
                }
            }
            Effect::Library { name, body } => self.libraries.put(name, body),
            Effect::FlushLibraries => self.libraries.clear(),
        }
    }

    /// Says that an effect will be applied soon: fetches the bucket of its key.
    #[inline]
    pub fn expect(&self, effect: &Effect<'_>) {
        if let Effect::Set { database, slot, key, .. }
        | Effect::SetRange { database, slot, key, .. }
        | Effect::Delete { database, slot, key }
        | Effect::Change { database, slot, key, .. }
        | Effect::Expire { database, slot, key, .. } = *effect
            && database.index() < self.databases.len()
        {
            let _ = self.prefetch(database, Key { bytes: key, slot });
        }
    }

    pub(super) fn remove_applied(&mut self, database: DatabaseId, found: &Found) {
        if let Some(at) = found.at {
            let before = self.members_before(database, found);
            self.note_members(database, found, before, None);
            let table = self.databases[database.index()].table_mut(found.group);
            self.garbage_values.extend(table.remove(&self.hasher, at).take_heavy());
        }
    }

    /// Finds a key, expired or not, and folds nothing.
    pub(super) fn find_applied(&mut self, database: DatabaseId, key: Key<'_>) -> Found {
        self.ensure(database);
        let hash = self.hasher.hash(key.bytes);
        let group = group_of(key.slot);
        let table = self.databases[database.index()].table(group);
        Found { group, hash, at: table.and_then(|table| table.find(hash, key.slot, key.bytes)) }
    }

    /// Makes room for a database beyond the configured number: a log may be older than the configuration, and what is in
    /// it must outlive that.
    pub(super) fn ensure(&mut self, database: DatabaseId) {
        if database.index() >= self.databases.len() {
            self.databases.resize_with(database.index() + 1, Database::default);
        }
    }
}

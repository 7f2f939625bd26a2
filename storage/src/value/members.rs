//! The large form of hashes and sets: a table such as the keyspace's own, an entry a member.
//!
//! - Growth, shrinking, walks with a cursor and slow freeing are the table's, so no change moves more than two segments.
//! - An entry has no access clock here and no hash slot: both are 0.

use std::sync::Arc;

use super::element::Element;
use crate::entry::{Entry, OwnedEntry};
use crate::table::{Hasher, Position, Table};

/// See the module.
pub(crate) struct Members {
    table: Table,
    hasher: Arc<Hasher>,
}

impl Members {
    pub(crate) fn new(hasher: &Arc<Hasher>) -> Members {
        Members { table: Table::default(), hasher: Arc::clone(hasher) }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many have an expiry.
    pub(crate) fn expiring(&self) -> usize {
        self.table.totals().expiring
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Members>() + self.table.memory_bytes()
    }

    fn position(&self, name: &[u8]) -> Option<Position> {
        self.table.find(self.hasher.hash(name), 0, name)
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<Entry<'_>> {
        self.position(name).map(|at| self.table.entry(at))
    }

    /// Adds a member, or gives it another value and expiry. True if it is new.
    pub(crate) fn put(&mut self, name: &[u8], value: &[u8], expire_at_ms: Option<u64>) -> bool {
        let hash = self.hasher.hash(name);
        if let Some(at) = self.table.find(hash, 0, name) {
            self.table.update(at, |entry| entry.replace(value, expire_at_ms, 0));
            return false;
        }
        let entry = OwnedEntry::string(name, value, expire_at_ms, 0);
        self.table.insert(&self.hasher, hash, 0, entry);
        true
    }

    /// Sets a member's expiry. False if it's absent.
    pub(crate) fn set_expiry(&mut self, name: &[u8], expire_at_ms: Option<u64>) -> bool {
        let Some(at) = self.position(name) else { return false };
        self.table.update(at, |entry| entry.set_expiry(expire_at_ms));
        true
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let Some(at) = self.position(name) else { return false };
        self.table.remove(&self.hasher, at);
        true
    }

    /// All members, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.table.iter()
    }

    /// A member chosen almost evenly.
    pub(crate) fn sample(&self, random: &mut dyn FnMut() -> u64) -> Option<Entry<'_>> {
        self.table.sample(random).map(|at| self.table.entry(at))
    }

    /// Visits members from `cursor` on, up to the end of the bucket in which `each` says that it is enough. Returns where to go
    /// on, or none at the end. Members that are there during a whole walk are visited at least once.
    pub(crate) fn walk(&self, cursor: u64, mut each: impl FnMut(Entry<'_>) -> bool) -> Option<u64> {
        let mut next = cursor;
        let mut enough = false;
        while !enough {
            next = self.table.scan(&self.hasher, next, |entry, _| enough |= each(entry))?;
        }
        Some(next)
    }

    /// Frees up to `budget` members of a collection that nobody uses any more; returns what is left of the budget.
    pub(crate) fn free(&mut self, budget: usize) -> usize {
        self.table.free(budget, &mut Vec::new())
    }

    pub(crate) fn is_freed(&self) -> bool {
        self.table.is_freed()
    }
}

/// The name of a member's entry.
pub(crate) fn name_of(entry: Entry<'_>) -> Element<'_> {
    Element::bytes(entry.key())
}

/// The value of a member's entry.
pub(crate) fn value_of(entry: Entry<'_>) -> Element<'_> {
    Element::bytes(entry.string().unwrap_or_default())
}

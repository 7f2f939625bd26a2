//! The large form of hashes and sets: a table such as the keyspace's own, an entry a member.
//!
//! - Growth, shrinking, walks with a cursor and slow freeing are the table's, so no change moves more than two segments.
//! - An entry has no access clock here and no hash slot: both are 0.
//! - Of members that expire there is a schedule. Those whose time has passed are there until they are removed; whoever reads for somebody
//!   asks for live ones.

use std::sync::Arc;

use super::element::Element;
use super::expiring::is_live;
use crate::entry::{Entry, OwnedEntry};
use crate::schedule::Schedule;
use crate::table::{Hasher, Position, Table};

/// See the module.
pub(crate) struct Members {
    table: Table,
    hasher: Arc<Hasher>,
    expiries: Schedule,
}

impl Members {
    pub(crate) fn new(hasher: &Arc<Hasher>) -> Members {
        Members { table: Table::default(), hasher: Arc::clone(hasher), expiries: Schedule::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// When the first member expires, ms of Unix time.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.expiries.first_ms()
    }

    /// How many members' times have passed.
    fn lapsed(&self, now_ms: u64) -> usize {
        self.expiries.passed(now_ms).count()
    }

    /// How many members' times have not.
    pub(crate) fn live_len(&self, now_ms: u64) -> usize {
        self.len() - self.lapsed(now_ms)
    }

    /// A member whose time has passed.
    pub(crate) fn first_lapsed(&self, now_ms: u64) -> Option<Entry<'_>> {
        let (_, hash) = self.expiries.first_from((0, 0)).filter(|&(at, _)| at < now_ms)?;
        let at = self.table.find_expiring(&self.hasher, hash, u64::MAX);
        let at = at.unwrap_or_else(|| panic!("no member for an expiry in the schedule: hash {hash:#x}"));
        Some(self.table.entry(at))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Members>() + self.table.memory_bytes() + self.expiries.memory_bytes()
    }

    fn position(&self, name: &[u8]) -> Option<Position> {
        self.table.find(self.hasher.hash(name), 0, name)
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<Entry<'_>> {
        self.position(name).map(|at| self.table.entry(at))
    }

    /// A member whose time has not passed.
    pub(crate) fn find_live(&self, name: &[u8], now_ms: u64) -> Option<Entry<'_>> {
        self.find(name).filter(|entry| is_live(entry.expire_at_ms(), now_ms))
    }

    /// Adds a member, or gives it another value and expiry. True if it is new.
    pub(crate) fn put(&mut self, name: &[u8], value: &[u8], expire_at_ms: Option<u64>) -> bool {
        let hash = self.hasher.hash(name);
        if let Some(at) = self.table.find(hash, 0, name) {
            let old = self.table.entry(at).expire_at_ms();
            self.table.update(at, |entry| entry.replace(value, expire_at_ms, 0));
            self.expiries.note(hash, old, expire_at_ms);
            return false;
        }
        let entry = OwnedEntry::string(name, value, expire_at_ms, 0);
        self.table.insert(&self.hasher, hash, 0, entry);
        self.expiries.note(hash, None, expire_at_ms);
        true
    }

    /// Sets a member's expiry, or takes it away. False if the member is absent or has none to take.
    pub(crate) fn set_expiry(&mut self, name: &[u8], expire_at_ms: Option<u64>) -> bool {
        let hash = self.hasher.hash(name);
        let Some(at) = self.table.find(hash, 0, name) else { return false };
        let old = self.table.entry(at).expire_at_ms();
        if old.or(expire_at_ms).is_none() {
            return false;
        }
        self.table.update(at, |entry| entry.set_expiry(expire_at_ms));
        self.expiries.note(hash, old, expire_at_ms);
        true
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let hash = self.hasher.hash(name);
        let Some(at) = self.table.find(hash, 0, name) else { return false };
        let old = self.table.entry(at).expire_at_ms();
        self.table.remove(&self.hasher, at);
        self.expiries.note(hash, old, None);
        true
    }

    /// All members, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.table.iter()
    }

    /// A member chosen almost evenly.
    fn sample(&self, random: &mut dyn FnMut() -> u64) -> Option<Entry<'_>> {
        self.table.sample(random).map(|at| self.table.entry(at))
    }

    /// Those whose time has not passed.
    pub(crate) fn iter_live(&self, now_ms: u64) -> impl Iterator<Item = Entry<'_>> {
        self.iter().filter(move |entry| is_live(entry.expire_at_ms(), now_ms))
    }

    /// One of them chosen almost evenly. None if the time of all has passed.
    pub(crate) fn sample_live(&self, now_ms: u64, random: &mut dyn FnMut() -> u64) -> Option<Entry<'_>> {
        const TRIES_MAX: usize = 100;
        (0..TRIES_MAX)
            .filter_map(|_| self.sample(random))
            .find(|entry| is_live(entry.expire_at_ms(), now_ms))
            .or_else(|| self.iter_live(now_ms).next())
    }

    /// Visits about `count` members from `cursor` on, those whose time has passed among them unseen. Returns where to go on; none at
    /// the end.
    pub(crate) fn scan_live(
        &self,
        cursor: u64,
        count: usize,
        now_ms: u64,
        mut each: impl FnMut(Entry<'_>),
    ) -> Option<u64> {
        let mut seen = 0;
        self.walk(cursor, |entry| {
            seen += 1;
            if is_live(entry.expire_at_ms(), now_ms) {
                each(entry);
            }
            seen >= count
        })
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
        let budget = self.expiries.free(budget);
        self.table.free(budget, &mut Vec::new())
    }

    pub(crate) fn is_freed(&self) -> bool {
        self.expiries.is_empty() && self.table.is_freed()
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

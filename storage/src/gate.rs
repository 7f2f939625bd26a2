//! Which log entries a reply has to wait for.
//!
//! Remembers, per bucket of key hashes, the LSN of the last change of any key in it, and per database that of the last
//! change of all its keys. A command folds what it looks at into its gate: the LSN that must be durable before
//! its reply may leave.
//!
//! - An LSN here never decreases; so keys that share a bucket can only make a reply wait longer than it must.
//! - Nothing is kept across a restart: whatever recovery applies is durable.

use std::cell::Cell;

use crate::taint::{Taints, Touched};
use crate::{DatabaseId, Lsn};

/// Half a megabyte at most. At a million writes a second and a commit each 0.1 ms about a hundred keys are pending: a
/// read of a settled key waits in vain once in 600 times.
const BUCKETS: usize = 1 << 16;

pub(crate) struct Gates {
    /// Allocated with the first change.
    keys: Vec<Lsn>,
    databases: Vec<Lsn>,
    last: Lsn,
    /// Up to here everything is durable: nothing to wait for.
    settled: Lsn,
    /// Of the running command. In a cell, because looking at a store is enough to depend on it.
    command: Cell<Lsn>,
    pub(crate) taints: Taints,
}

impl Gates {
    pub(crate) fn new(databases: u16) -> Gates {
        Gates {
            keys: Vec::new(),
            databases: vec![Lsn::ZERO; usize::from(databases)],
            last: Lsn::ZERO,
            settled: Lsn::ZERO,
            command: Cell::new(Lsn::ZERO),
            taints: Taints::default(),
        }
    }

    fn bucket(database: DatabaseId, hash: u64) -> usize {
        // Odd, so that a key's buckets in different databases are different.
        const SPREAD: usize = 0x9e37;
        ((hash >> 24) as usize).wrapping_add(database.index().wrapping_mul(SPREAD)) % BUCKETS
    }

    /// A key has changed at `lsn`; [`Lsn::ZERO`] if the effect is yet to be appended.
    pub(crate) fn note_key(&mut self, database: DatabaseId, hash: u64, lsn: Lsn) {
        if self.taints.is_active() {
            self.taints.note(Touched::Key(database, hash), lsn);
        }
        if lsn <= self.settled {
            // Replies wait for nothing: then this saves a cache miss a write.
            return;
        }
        if self.keys.is_empty() {
            self.keys = vec![Lsn::ZERO; BUCKETS];
        }
        let pending = &mut self.keys[Gates::bucket(database, hash)];
        *pending = lsn.max(*pending);
        self.advance(lsn);
    }

    /// All keys of a database have changed at `lsn`.
    pub(crate) fn note_database(&mut self, database: DatabaseId, lsn: Lsn) {
        if self.taints.is_active() {
            self.taints.note(Touched::Database(database), lsn);
        }
        let pending = &mut self.databases[database.index()];
        *pending = lsn.max(*pending);
        self.advance(lsn);
    }

    fn advance(&mut self, lsn: Lsn) {
        self.last = lsn.max(self.last);
        self.fold(lsn);
    }

    /// The running command depends on a key.
    #[inline]
    pub(crate) fn fold_key(&self, database: DatabaseId, hash: u64) {
        #[cfg(feature = "planted")]
        if crate::planted::planted().forget_read_gate {
            return;
        }
        if self.taints.is_active() {
            self.taints.fold_key(database, hash);
        }
        if self.last <= self.settled {
            return;
        }
        let key = self.keys.get(Gates::bucket(database, hash)).copied().unwrap_or_default();
        self.fold(key.max(self.databases[database.index()]));
    }

    /// The running command depends on everything.
    pub(crate) fn fold_all(&self) {
        if self.taints.is_active() {
            self.taints.fold_all();
        }
        if self.last > self.settled {
            self.fold(self.last);
        }
    }

    /// The running command depends on an effect.
    pub(crate) fn fold(&self, lsn: Lsn) {
        self.command.set(lsn.max(self.command.get()));
    }

    /// The log is durable up to `horizon`.
    pub(crate) fn settle(&mut self, horizon: Lsn) {
        self.settled = horizon.max(self.settled);
    }

    /// Whether what the running command has met may still be lost, given what `horizon` covers. With replies that wait for
    /// nothing this isn't known key by key: then any unsettled effect counts.
    pub(crate) fn may_be_lost(&self, horizon: Lsn, settled: bool) -> bool {
        self.command.get() > horizon || self.settled > horizon && !settled
    }

    /// The gate of the command that ends, leaving that of the next.
    pub(crate) fn take_command(&mut self) -> Lsn {
        self.command.replace(Lsn::ZERO)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        (self.keys.capacity() + self.databases.capacity()) * size_of::<Lsn>() + self.taints.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DB: DatabaseId = DatabaseId(0);
    const OTHER: DatabaseId = DatabaseId(1);

    fn gate_of(gates: &mut Gates, database: DatabaseId, hash: u64) -> Lsn {
        gates.fold_key(database, hash);
        gates.take_command()
    }

    #[test]
    fn a_key_waits_for_its_own_change_alone() {
        let mut gates = Gates::new(2);
        gates.note_key(DB, 1 << 30, Lsn(7));
        assert_eq!(gates.take_command(), Lsn(7));
        assert_eq!(gate_of(&mut gates, DB, 1 << 30), Lsn(7));
        assert_eq!(gate_of(&mut gates, DB, 1 << 31), Lsn::ZERO);
        assert_eq!(gate_of(&mut gates, OTHER, 1 << 30), Lsn::ZERO);
    }

    #[test]
    fn keys_that_share_a_bucket_wait_for_the_later_one() {
        let mut gates = Gates::new(1);
        gates.note_key(DB, 3 << 24, Lsn(4));
        gates.note_key(DB, 3 << 24 | 1, Lsn(9));
        gates.take_command();
        assert_eq!(gate_of(&mut gates, DB, 3 << 24), Lsn(9));
    }

    #[test]
    fn every_key_of_a_changed_database_waits() {
        let mut gates = Gates::new(2);
        gates.note_database(OTHER, Lsn(3));
        gates.take_command();
        assert_eq!(gate_of(&mut gates, OTHER, 12345 << 24), Lsn(3));
        assert_eq!(gate_of(&mut gates, DB, 12345 << 24), Lsn::ZERO);
    }

    #[test]
    fn a_command_waits_for_the_latest_of_what_it_saw_and_nothing_settled() {
        let mut gates = Gates::new(1);
        for n in 1..=5 {
            gates.note_key(DB, n << 24, Lsn(n));
        }
        gates.take_command();
        gates.fold_key(DB, 4 << 24);
        gates.fold_key(DB, 2 << 24);
        assert_eq!(gates.take_command(), Lsn(4));
        gates.fold_all();
        assert_eq!(gates.take_command(), Lsn(5));
        gates.settle(Lsn(5));
        gates.fold_all();
        assert_eq!(gate_of(&mut gates, DB, 4 << 24), Lsn::ZERO);
    }
}

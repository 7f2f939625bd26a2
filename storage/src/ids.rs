//! The numbers that name things; distinct types, so that one is never taken for another.

use std::fmt;

/// Log sequence number: counts the effects of one shard's log, from 1. `Lsn(0)` is "before everything".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before the first effect; as a gate: waits for nothing.
    pub const ZERO: Lsn = Lsn(0);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A shard: `0..shards` of the running server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// As an index into per-shard arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A database, as `SELECT` counts them, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseId(pub u16);

impl DatabaseId {
    /// As an index into the array of databases.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A transaction over several shards: a Lamport counter above 16 bits of the coordinating shard, so that it is unique over the
/// life of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u64);

impl TransactionId {
    /// The greatest counter that fits.
    pub const COUNTER_MAX: u64 = (1 << 48) - 1;

    /// The id that a coordinator gives.
    ///
    /// # Panics
    /// When the counter is above [`Self::COUNTER_MAX`].
    #[must_use]
    pub const fn new(counter: u64, coordinator: ShardId) -> TransactionId {
        assert!(counter <= Self::COUNTER_MAX, "the counter of transactions is at its end");
        TransactionId(counter << 16 | coordinator.0 as u64)
    }

    /// The Lamport counter.
    pub const fn counter(self) -> u64 {
        self.0 >> 16
    }

    /// The shard that gave the id.
    pub const fn coordinator(self) -> ShardId {
        ShardId(self.0 as u16)
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.counter(), self.coordinator())
    }
}

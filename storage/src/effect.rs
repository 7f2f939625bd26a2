//! Effects: what the log records. Absolute and deterministic, so that replay needs no command code:
//! `INCR` logs the value, `EXPIRE` the absolute time, `APPEND` the offset and the bytes.

use crate::{DatabaseId, Lsn};

/// A change of the keyspace, borrowed from whoever made it or from a log frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// The key holds this string, with this expiry (Unix time, ms) or none; whatever it held before is gone.
    Set {
        /// Database of the key.
        database: DatabaseId,
        /// Hash slot of the key, `0..16384`.
        slot: u16,
        /// The key.
        key: &'a [u8],
        /// The whole value.
        value: &'a [u8],
        /// Absolute expiry, ms of Unix time.
        expire_at_ms: Option<u64>,
    },
    /// The string at key holds `bytes` from `offset` on; it is extended with zeros where it was shorter. A key that
    /// did not exist is created. The expiry stays.
    SetRange {
        /// Database of the key.
        database: DatabaseId,
        /// Hash slot of the key.
        slot: u16,
        /// The key.
        key: &'a [u8],
        /// Where `bytes` begin in the value.
        offset: u64,
        /// The new bytes.
        bytes: &'a [u8],
    },
    /// The key is gone: deleted, expired, evicted or moved.
    Delete {
        /// Database of the key.
        database: DatabaseId,
        /// Hash slot of the key.
        slot: u16,
        /// The key.
        key: &'a [u8],
    },
    /// The key's expiry is this, or none.
    Expire {
        /// Database of the key.
        database: DatabaseId,
        /// Hash slot of the key.
        slot: u16,
        /// The key.
        key: &'a [u8],
        /// Absolute expiry, ms of Unix time; `None` persists the key.
        expire_at_ms: Option<u64>,
    },
    /// This shard's part of a database is empty.
    FlushDatabase {
        /// The database.
        database: DatabaseId,
    },
    /// This shard's parts of two databases have changed places.
    SwapDatabases {
        /// One of the two.
        a: DatabaseId,
        /// The other.
        b: DatabaseId,
    },
}

/// Where a store's effects go: the log, or in tests a vector.
pub trait EffectSink {
    /// Appends an effect to the group of the running command and returns its number. Never fails and never waits:
    /// what the disk thinks of it shows in the horizon.
    fn append(&mut self, effect: Effect<'_>) -> Lsn;

    /// Ends the group: everything appended since the last call is applied by recovery as a whole or not at all.
    fn end_group(&mut self);
}

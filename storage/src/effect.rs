//! Effects: what the log records. Absolute and deterministic, so that replay needs no command code:
//! `INCR` logs the value, `EXPIRE` the absolute time, `APPEND` the offset and the bytes.

use crate::value::Change;
use crate::{DatabaseId, Lsn, ShardId, TransactionId};

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
    /// The collection at key has changed. A change that adds creates the key, without an expiry; one that leaves nothing
    /// removes it.
    Change {
        /// Database of the key.
        database: DatabaseId,
        /// Hash slot of the key.
        slot: u16,
        /// The key.
        key: &'a [u8],
        /// What has changed.
        change: Change<'a>,
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
    /// The library of functions of this name has this body, or is gone.
    Library {
        /// Its name, not empty.
        name: &'a [u8],
        /// What is in it, if it is there.
        body: Option<&'a [u8]>,
    },
    /// No library of functions is left.
    FlushLibraries,
}

/// What a log records beside effects: how groups of several logs hang together. Takes an LSN as an effect does. Lists are in
/// their encoded form (little endian), so that they can be borrowed from a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupNote<'a> {
    /// The first record of a group: it is this log's part of a transaction.
    Transaction {
        /// Which.
        id: TransactionId,
        /// The shards whose logs have a part, sorted, this one included.
        participants: &'a [[u8; 2]],
    },
    /// The last record of a group: it was made while it depended on transactions that were not decided.
    Depends {
        /// The first LSN of the group.
        first: Lsn,
        /// The transactions.
        on: &'a [[u8; 8]],
    },
    /// A group of its own: what follows was made at this time or later, and what stands before it earlier.
    Time {
        /// Ms of Unix time.
        unix_ms: u64,
    },
    /// A group of its own: these groups of this log were dropped by recovery, for ever.
    Abandoned {
        /// The first LSN of each, sorted.
        groups: &'a [[u8; 8]],
    },
}

/// Where a store's effects go: the log, or in tests a vector.
pub trait EffectSink {
    /// Appends an effect to the group of the running command and returns its number. Never fails and never waits:
    /// what the disk thinks of it shows in the horizon.
    fn append(&mut self, effect: Effect<'_>) -> Lsn;

    /// Ends the group: everything appended since the last call is applied by recovery as a whole or not at all.
    fn end_group(&mut self);

    /// The group that begins is this log's part of a transaction over `participants`, which are sorted and include this
    /// shard. Returns the number of the record that says so.
    fn begin_transaction(&mut self, id: TransactionId, participants: &[ShardId]) -> Lsn;

    /// The open group depends on these transactions; nothing is appended to it any more.
    fn append_depends(&mut self, on: &[TransactionId]) -> Lsn;

    /// What is appended from now on is made at this time, ms of Unix time.
    fn set_time(&mut self, _unix_ms: u64) {}

    /// Whether a transaction has a part here and is not decided.
    fn is_undecided(&self, _id: TransactionId) -> bool {
        false
    }

    /// Adds all transactions that have a part here and are not decided.
    fn undecided(&self, _ids: &mut Vec<TransactionId>) {}

    /// Everything up to here is durable and decided.
    fn decided_to(&self) -> Lsn {
        Lsn(u64::MAX)
    }

    /// Whether everything is.
    fn is_settled(&self) -> bool {
        true
    }
}

//! The storage engine of Annulus: keyspace, effects, log and recovery.
//!
//! It is not a server: it knows no sockets, commands, threads or clocks. Time is given to it, and it reaches
//! the disk through the [`disk::Disk`] trait alone.

#![deny(unsafe_code)]

mod awaited;
#[expect(unsafe_code, reason = "aligned memory that a kernel may hold an address of")]
pub mod buffer;
pub mod checkpoint;
pub mod coverage;
mod database;
mod deferred;
pub mod disk;
pub mod effect;
mod entry;
mod evict;
mod expiry;
mod gate;
pub mod ids;
mod libraries;
pub mod log;
pub mod manifest;
pub mod offline;
#[cfg(feature = "planted")]
#[doc(hidden)]
pub mod planted;
pub mod rdb;
pub mod recovery;
mod schedule;
pub mod store;
mod table;
mod taint;
#[cfg(test)]
mod testing;
mod touched;
mod undo;
pub mod value;
mod watch;

pub use awaited::{Awaiter, ReadyKey};
pub use buffer::AlignedBuffer;
pub use deferred::DeferredGroup;
pub use effect::{Effect, EffectSink, GroupNote};
pub use entry::{Access, Entry};
pub use evict::{Evicted, EvictionOrder, EvictionPolicy};
pub use ids::{DatabaseId, Lsn, ShardId, TransactionId};
pub use libraries::Libraries;
pub use log::{Durability, Log, LogOptions, LogState, LogWrite, WriteId, WriteRefusal};
pub use manifest::{
    ClosedLog, DataDirectory, DirectoryOptions, Epoch, OpenError, Opened, open_data_directory,
};
pub use recovery::{
    LogSurvey, Outcomes, Recovered, RecoveryError, RecoveryOptions, RecoveryReport, Replay, ScrubFault,
    recover_shard, scrub_shard,
};
pub use store::{Cursor, Expiry, Foresight, GroupRange, Key, Prefetched, Store, StoreOptions, StoreStats};
pub use touched::{Happened, Touched};
pub use value::{Applied, Change, Element, Kind, Value, ValueLimits};

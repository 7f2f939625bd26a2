//! The storage engine of Annulus: keyspace, effects, log and recovery.
//!
//! It is not a server: it knows no sockets, commands, threads or clocks. Time is given to it, and it reaches
//! the disk through the [`disk::Disk`] trait alone.

pub mod buffer;
pub mod disk;
pub mod effect;
pub mod ids;
pub mod log;

pub use buffer::AlignedBuffer;
pub use effect::{Effect, EffectSink};
pub use ids::{DatabaseId, Lsn, ShardId};
pub use log::{Durability, Log, LogOptions, LogState, LogWrite, WriteId, WriteRefusal};

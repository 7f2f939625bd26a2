//! The log of one shard: a chain of frames of effects, in segments, on a disk.
//!
//! [`Log`] decides what is written where and when, and knows what is durable; it does no I/O.
//! [`prepare_segment`] makes the files that it will write to. What is in those files byte by byte is in
//! `docs/format.md`; reading them back is [`crate::recovery`].

pub mod frame;
mod options;
mod prepare;
pub mod record;
pub mod segment;
mod sync;
mod undecided;
mod writer;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

pub use options::{Durability, LogOptions, limits};
pub use prepare::{SegmentRequest, is_spare_name, prepare_segment};
pub use segment::{PreparedSegment, SegmentId};
pub use sync::{SyncRequest, sync_segments};
pub use writer::{
    CurrentSegment, Log, LogPosition, LogStart, LogState, LogWrite, SealedSegment, WriteId, WriteRefusal,
};

/// Whose log it is: in every segment header, and folded into every frame's checksum, so that a frame of another
/// directory, shard or epoch is never taken for one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// The data directory's random number, from its manifest.
    pub directory: u64,
    /// The epoch, from 1.
    pub epoch: u32,
    /// The shard within the epoch.
    pub shard: crate::ShardId,
}

//! Checkpoints: an image of a shard's keys on disk, after which the log before it is not needed any more.
//!
//! The image is taken while the shard serves, by a walk over the tables in hash order ([`walk`]), a slice at a time, between
//! commands. Every slice says up to where it has come and which effects it contains already (`as_of`). So for every key it
//! is known from which effect on the log goes beyond the image, and recovery applies exactly those ([`window`]). Nothing is copied
//! before it is written, no command looks at the walk, and writes never wait for it. `docs/checkpoints.md` tells the whole.
//!
//! Invariants:
//! - a file has the name of a checkpoint when all of it is on stable storage, and every effect that may be in it is at or
//!   under the log's horizon;
//! - a segment is given up only after a checkpoint that has all its effects has got its name, durably.

pub mod files;
pub mod format;
pub mod pipe;
pub mod retention;
pub mod walk;
pub(crate) mod window;
pub mod write;

#[cfg(test)]
mod tests;

pub use pipe::BlockPipe;
pub use retention::{RetainedLog, Retention, RetireRequest, retire_log};
pub use walk::{Place, Slice};
pub use write::{
    CheckpointRequest, Imaging, Progress, Written, publish_checkpoint, remove_unfinished, write_checkpoint,
    write_checkpoint_at_once,
};

/// The bounds of a checkpoint's work and memory.
pub mod limits {
    use crate::buffer::BUFFER_ALIGNMENT;

    /// A block of the file at most, header included: one write. Pacing is by the block, and a commit that comes while one is
    /// under way waits for it: at 1 GB/s less than 0.1 ms.
    pub const BLOCK_BYTES_MAX: usize = 64 << 10;
    /// Buffers between the walk and the disk: two megabytes with the slice that is cut up.
    pub const BLOCKS_MAX: usize = 16;

    const _: () = assert!(BLOCK_BYTES_MAX.is_multiple_of(BUFFER_ALIGNMENT));
}

/// How much a walk does at once.
#[derive(Clone, Copy, Debug)]
pub struct WalkOptions {
    /// A slice ends when it has as many bytes of records.
    pub slice_bytes: usize,
    /// Buckets, tables and pieces that a slice looks at, at most.
    pub steps_max: usize,
    /// Values up to this size go with their bucket. Larger ones follow in pieces.
    pub whole_bytes_max: usize,
    /// A piece of a larger value.
    pub piece_bytes: usize,
}

impl Default for WalkOptions {
    fn default() -> Self {
        Self {
            // A block without its header and some room: about 600 keys of 100 bytes, less than 0.1 ms of looking them up.
            slice_bytes: limits::BLOCK_BYTES_MAX - (4 << 10),
            steps_max: 1024,
            // A bucket has at most some dozens of keys: half a megabyte at the very worst.
            whole_bytes_max: 16 << 10,
            piece_bytes: 32 << 10,
        }
    }
}

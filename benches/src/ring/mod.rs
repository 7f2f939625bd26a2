//! What the floor and the load generator share of io_uring: the setup, and the provided buffers of receives.

mod buffers;

use std::io;

use io_uring::IoUring;

pub use buffers::BufferMode;
pub(crate) use buffers::BufferRing;

/// Submission queue entries: more than the sends of a busy turn, so that a turn is one system call.
const SUBMISSIONS_MAX: u32 = 4096;
/// Completion queue entries.
const COMPLETIONS_MAX: u32 = 4 * SUBMISSIONS_MAX;

/// The newest set of flags that the kernel takes: what a shard of the server uses, too.
pub(crate) fn build() -> io::Result<IoUring> {
    let with = |no_sqarray: bool| {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(COMPLETIONS_MAX);
        if no_sqarray {
            builder.setup_no_sqarray();
        }
        builder.build(SUBMISSIONS_MAX)
    };
    with(true).or_else(|_| with(false))
}

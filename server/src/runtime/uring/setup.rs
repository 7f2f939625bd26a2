//! Making the ring.
#![expect(unsafe_code, reason = "the kernel hands accepted connections over as bare numbers")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::IoUring;

use super::Features;
use crate::runtime::driver::NewSocket;
use crate::runtime::listen;

/// Kernel threads of a ring, for files and for everything else.
const FILE_WORKERS: u32 = 2;

/// Places of the table of files at most.
const FILES_MAX: u32 = 16_384;

/// A ring for the calling thread with the features that were found.
pub(super) fn ring(features: &Features, submissions: u32, completions: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(completions).setup_submit_all().setup_single_issuer();
    if features.defer_taskrun {
        builder.setup_defer_taskrun();
    } else {
        builder.setup_coop_taskrun();
    }
    builder.setup_taskrun_flag();
    if features.no_sqarray {
        builder.setup_no_sqarray();
    }
    let ring = builder.build(submissions)?;
    // Slow file operations (making a segment) go to kernel threads; a few are enough, and more would compete with the shard.
    let _ = ring.submitter().register_iowq_max_workers(&mut [FILE_WORKERS, FILE_WORKERS]);
    // Saves a descriptor look-up in every system call; not having it costs nothing else.
    let _ = ring.submitter().register_ring_fd();
    Ok(ring)
}

/// Gives the ring a table of files, with a place for each descriptor that the process may have, within reason (8 bytes of
/// kernel memory each). Returns how many; 0 without one, which costs about a hundredth of an unpipelined command.
pub(super) fn file_table(ring: &IoUring) -> u32 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let places = limit.map_or(FILES_MAX, |limit| u32::try_from(limit).unwrap_or(u32::MAX)).min(FILES_MAX);
    ring.submitter().register_files_sparse(places).map_or(0, |()| places)
}

/// The connection whose descriptor an accept has returned.
pub(super) fn accepted_socket(fd: i32) -> NewSocket {
    // SAFETY: a successful accept returns a new descriptor that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let peer = listen::peer_of(&fd);
    NewSocket::accepted(fd, peer)
}

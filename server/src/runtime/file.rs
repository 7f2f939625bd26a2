//! An open file, as a handle that storage can clone and keep.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Handle {
    Descriptor(Arc<OwnedFd>),
    Simulated(u32),
}

/// A handle of an open file; the file closes with its last handle. Counted atomically because the epoll driver lends it to its disk threads.
#[derive(Clone, Debug)]
pub struct FileId {
    open: Handle,
}

impl FileId {
    /// Takes over an open descriptor.
    pub fn new(fd: OwnedFd) -> Self {
        FileId { open: Handle::Descriptor(Arc::new(fd)) }
    }

    /// A file of a simulated disk, by its number there.
    pub(super) const fn simulated(number: u32) -> Self {
        FileId { open: Handle::Simulated(number) }
    }

    /// The number of a simulated file.
    pub(super) const fn simulated_number(&self) -> Option<u32> {
        match self.open {
            Handle::Descriptor(_) => None,
            Handle::Simulated(number) => Some(number),
        }
    }
}

impl AsFd for FileId {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.open {
            Handle::Descriptor(fd) => fd.as_fd(),
            Handle::Simulated(number) => unreachable!("simulated file {number} has reached a real driver"),
        }
    }
}

//! An open file, as a handle that storage can clone and keep.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A handle of an open file; the file closes with its last handle. Counted atomically because the epoll driver lends it to its disk threads.
#[derive(Clone, Debug)]
pub struct FileId {
    open: Arc<OwnedFd>,
}

impl FileId {
    /// Takes over an open descriptor.
    pub fn new(fd: OwnedFd) -> Self {
        FileId { open: Arc::new(fd) }
    }
}

impl AsFd for FileId {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.as_fd()
    }
}

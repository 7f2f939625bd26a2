//! The one way to the disk: a small asynchronous trait, implemented by the server's drivers, by
//! [`memory::MemoryDisk`] for tests, and by [`blocking::StdDisk`] for offline tools.
//!
//! What an implementation promises:
//! - a buffer given to it belongs to the operation until the operation has ended, also when the future is dropped
//!   before that; it comes back with the result;
//! - an operation may begin when its future is first polled, not earlier than that;
//! - operations of different futures may run at the same time and end in any order.
//!
//! What a crash leaves: of a write without [`WriteSync::DataSync`], any part until the next [`Disk::sync`] of that file; of
//! a name that was created, renamed or removed, the old or the new state until the next [`Disk::sync_dir`].

pub mod blocking;
pub mod memory;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::buffer::AlignedBuffer;

/// How to open a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// The file is read.
    pub read: bool,
    /// The file is written.
    pub write: bool,
    /// It is created when there is none; what an existing one holds stays.
    pub create: bool,
    /// Past the page cache (`O_DIRECT`): offsets and lengths are multiples of [`Disk::alignment`]. A file system
    /// that knows no direct I/O opens it without, silently.
    pub direct: bool,
}

impl OpenMode {
    /// An existing file, for reading past the page cache.
    pub const READ_DIRECT: OpenMode = OpenMode { read: true, write: false, create: false, direct: true };
    /// An existing file, for reading and writing past the page cache.
    pub const WRITE_DIRECT: OpenMode = OpenMode { read: true, write: true, create: false, direct: true };
    /// A file that is created if need be, for reading and writing past the page cache.
    pub const CREATE_DIRECT: OpenMode = OpenMode { read: true, write: true, create: true, direct: true };
    /// An existing file, for reading through the page cache: any offset and length.
    pub const READ: OpenMode = OpenMode { read: true, write: false, create: false, direct: false };
    /// A file that is created if need be, for writing through the page cache: any offset and length.
    pub const CREATE: OpenMode = OpenMode { read: true, write: true, create: true, direct: false };
}

/// What a write promises when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteSync {
    /// Nothing: it may be in a cache.
    None,
    /// The bytes are on stable storage, and so is what is needed to read them back (`RWF_DSYNC`).
    DataSync,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryEntry {
    /// The name, without the directory. Bytes that are not UTF-8 are replaced: no file of ours has any.
    pub name: String,
    /// It is a directory itself.
    pub is_directory: bool,
}

/// How a file is read from front to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Bytes of one read, a multiple of 4096.
    pub piece_bytes: usize,
    /// Reads in flight at once, at least one.
    pub ahead: usize,
}

impl Reading {
    /// As fast as the disk can: it fetches while what it has brought is looked at.
    pub const FAST: Reading = Reading { piece_bytes: 1 << 20, ahead: 4 };
    /// Beside somebody who waits for the disk, and for this thread.
    pub const GENTLE: Reading = Reading { piece_bytes: 128 << 10, ahead: 1 };
}

/// Why a lock was not given.
#[derive(Debug)]
pub enum LockError {
    /// Somebody holds it.
    Held {
        /// The process that wrote itself into the lock file, if it did.
        holder_pid: Option<u32>,
    },
    /// The lock file could not be opened, locked or written.
    Io(io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { holder_pid: Some(pid) } => write!(f, "process {pid} holds the lock"),
            Self::Held { holder_pid: None } => f.write_str("another process holds the lock"),
            Self::Io(error) => write!(f, "the lock file cannot be used: {error}"),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Held { .. } => None,
        }
    }
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A disk, for one thread. The log's commit path does not come through here (a [`LogWrite`](crate::log::LogWrite) goes
/// straight to the driver); recovery, preparing segments and the manifest do.
pub trait Disk {
    /// An open file; cheap to clone, closed when the last clone is gone.
    type File: Clone;
    /// A held lock; dropping it gives the lock back.
    type Lock;

    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> impl Future<Output = io::Result<Self::File>>;

    /// Reads up to `len` bytes at `offset` into the front of `buffer`; fewer only at the end of the file.
    fn read_at(
        &self,
        file: &Self::File,
        buffer: AlignedBuffer,
        offset: u64,
        len: usize,
    ) -> impl Future<Output = (io::Result<usize>, AlignedBuffer)>;

    /// Writes the first `len` bytes of `buffer` at `offset`, all of them unless something is wrong.
    fn write_at(
        &self,
        file: &Self::File,
        buffer: AlignedBuffer,
        offset: u64,
        len: usize,
        sync: WriteSync,
    ) -> impl Future<Output = (io::Result<usize>, AlignedBuffer)>;

    /// Brings data and metadata of a file to stable storage (`fsync`).
    fn sync(&self, file: &Self::File) -> impl Future<Output = io::Result<()>>;

    /// Length of a file in bytes.
    fn len(&self, file: &Self::File) -> impl Future<Output = io::Result<u64>>;

    /// Makes the file at least `bytes` long with space reserved for all of it (`fallocate`). A file system that
    /// cannot reserve answers `Unsupported`, which callers may ignore.
    fn allocate(&self, file: &Self::File, bytes: u64) -> impl Future<Output = io::Result<()>>;

    /// Renames a file, replacing what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;

    /// Removes a file. Not while serving: a removal can hold up a disk's commits for tens of milliseconds.
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// Creates one directory; its parent must exist. One that exists already is no error.
    fn create_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// All names in a directory, sorted.
    fn list_dir(&self, path: &Path) -> impl Future<Output = io::Result<Vec<DirectoryEntry>>>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// Takes an exclusive lock on a file that is created if need be, without waiting, and writes the process's id into it.
    fn lock(&self, path: &Path) -> impl Future<Output = Result<Self::Lock, LockError>>;

    /// What offsets and lengths of direct I/O on this file must be multiples of; 1 where nothing is asked.
    fn alignment(&self, file: &Self::File) -> impl Future<Output = io::Result<usize>>;

    /// How files are to be read from front to end.
    fn reading(&self) -> Reading {
        Reading::FAST
    }

    /// Ends after a while: background work paces itself with it.
    fn pause(&self, duration: Duration) -> impl Future<Output = ()>;
}

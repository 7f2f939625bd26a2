//! The proactor interface: "do this, tell me when it's done".
//!
//! A driver belongs to one shard and is used by its thread alone. Operations are queued and go to the kernel in
//! [`Driver::turn`], together, in one system call where the backend can. What was handed over (a buffer
//! to send, a buffer to read into) belongs to the driver until the event that ends the operation gives it back,
//! also when the socket is closed meanwhile.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use annulus_storage::disk::{OpenMode, WriteSync};
use annulus_storage::{AlignedBuffer, ShardId};

use super::epoll::Epoll;
use super::file::FileId;
use super::sim::{Sim, SimSocket};
use super::uring::Uring;

/// A socket of this driver. Numbers are small and reused, but only after every operation on the old socket has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(pub u32);

impl SocketId {
    /// The first number that is no driver's: from here on they are lines (see [`super::line`]).
    const LINES_FROM: u32 = 1 << 31;

    /// As an index into per-socket arrays. Of a line it's beyond all of them.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// What stands for a line where others have a socket.
    pub const fn line(index: usize) -> Self {
        SocketId(Self::LINES_FROM + index as u32)
    }

    /// Whether it's a line, of which no driver knows.
    #[inline]
    pub const fn is_line(self) -> bool {
        self.0 >= Self::LINES_FROM
    }

    /// The index of a line.
    pub const fn line_index(self) -> usize {
        (self.0 - Self::LINES_FROM) as usize
    }
}

/// Who is at the other end of a connection, or which of our addresses it came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// `ip:port`, `[ip6]:port`, or the path of the Unix socket followed by `:0`.
    pub remote: String,
    /// The server's end, written alike.
    pub local: String,
    /// Loopback or Unix socket: not subject to protected mode.
    pub is_local: bool,
}

/// An accepted connection that no driver owns yet; may be sent to another shard's thread.
#[derive(Debug)]
pub struct NewSocket {
    pub(super) handle: SocketHandle,
    /// The two ends of the connection.
    pub peer: Peer,
}

/// What a driver takes over.
#[derive(Debug)]
pub(super) enum SocketHandle {
    Descriptor(OwnedFd),
    Simulated(SimSocket),
}

impl NewSocket {
    /// Tells the client why it is not served, as far as that fits without waiting, and closes.
    pub fn refuse(self, text: &[u8]) {
        match self.handle {
            SocketHandle::Descriptor(fd) => {
                let flags = rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT;
                let _ = rustix::net::send(&fd, text, flags);
            }
            SocketHandle::Simulated(socket) => socket.refuse(text),
        }
    }

    pub(super) fn accepted(fd: OwnedFd, peer: Peer) -> Self {
        NewSocket { handle: SocketHandle::Descriptor(fd), peer }
    }

    /// The descriptor, for a driver of the kernel's.
    pub(super) fn into_descriptor(self) -> OwnedFd {
        match self.handle {
            SocketHandle::Descriptor(fd) => fd,
            SocketHandle::Simulated(_) => unreachable!("a simulated connection has reached a real driver"),
        }
    }
}

/// Received bytes, in a buffer of the driver's, until [`Driver::recycle`].
#[derive(Debug)]
pub struct ReceivedBytes {
    pub(super) buffer: u32,
    pub(super) offset: u32,
    pub(super) len: u32,
}

/// A file operation. Buffers are owned by the operation while it runs.
#[derive(Debug)]
pub enum DiskOp {
    /// Opens a file.
    Open {
        /// Where.
        path: PathBuf,
        /// For what.
        mode: OpenMode,
    },
    /// Reads up to `len` bytes into the start of the buffer.
    Read {
        /// The file.
        file: FileId,
        /// Where the bytes go.
        buffer: AlignedBuffer,
        /// Position in the file, bytes.
        offset: u64,
        /// How many bytes.
        len: usize,
    },
    /// Writes the first `len` bytes of the buffer.
    Write {
        /// The file.
        file: FileId,
        /// Where the bytes are.
        buffer: AlignedBuffer,
        /// Position in the file, bytes.
        offset: u64,
        /// How many bytes.
        len: usize,
        /// Whether completion means stable storage.
        sync: WriteSync,
    },
    /// Makes the file's data and metadata stable.
    Sync {
        /// The file.
        file: FileId,
    },
    /// Reserves space from the start of the file.
    Allocate {
        /// The file.
        file: FileId,
        /// How many bytes.
        bytes: u64,
    },
    /// Renames a file within its file system.
    Rename {
        /// The present path.
        from: PathBuf,
        /// The new path.
        to: PathBuf,
    },
    /// Removes a file. Never while serving: unlinking stalls the disk's commits.
    Remove {
        /// The path.
        path: PathBuf,
    },
}

/// What came of a [`DiskOp`].
#[derive(Debug)]
pub enum DiskResult {
    /// Of an open.
    Opened(io::Result<FileId>),
    /// Of a read or a write: the count of bytes, and the buffer back.
    Transferred(io::Result<usize>, AlignedBuffer),
    /// Of everything else.
    Done(io::Result<()>),
}

/// Whose operation it is; the driver hands it back with the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskToken {
    /// A log frame's write, by its number in the log.
    Commit(u64),
    /// An operation of an asynchronous task, by its place in [`super::disk::RuntimeDisk`].
    Task(u32),
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A connection was accepted at the listener of this index.
    Accepted {
        /// Index given by [`Driver::listen`].
        listener: usize,
        /// The connection.
        socket: NewSocket,
    },
    /// Accepting failed (out of descriptors, say) and has stopped at this listener until [`Driver::accept`].
    AcceptFailed {
        /// Index given by [`Driver::listen`].
        listener: usize,
        /// Why.
        error: io::Error,
    },
    /// Bytes came in; give them back with [`Driver::recycle`].
    Received {
        /// From where.
        socket: SocketId,
        /// The bytes.
        bytes: ReceivedBytes,
    },
    /// The peer has finished sending; it may still read.
    Ended {
        /// Which.
        socket: SocketId,
    },
    /// The connection is broken.
    Broken {
        /// Which.
        socket: SocketId,
    },
    /// A send has ended, wholly or with an error; the buffer comes back.
    Sent {
        /// Which.
        socket: SocketId,
        /// The buffer given to [`Driver::send`].
        buffer: Vec<u8>,
        /// Whether all of it went out.
        result: io::Result<()>,
    },
    /// A file operation has ended.
    Disk {
        /// Whose.
        token: DiskToken,
        /// What came of it.
        result: DiskResult,
    },
    /// A peer shard, or the main thread, wants attention.
    Woken,
}

/// How long a turn may wait for something to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    Poll,
    /// Until an event.
    Forever,
    /// Until an event, or so long.
    AtMost(Duration),
}

/// How soon the end of a send must be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendNotice {
    /// As soon as it has ended: something waits for it.
    Prompt,
    /// With the next event of any kind, or about a millisecond late: nothing but the buffer's return depends on it. Saves
    /// a turn for each reply.
    Lazy,
}

/// Which backend runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// io_uring.
    Uring,
    /// epoll, with a thread pool for files.
    Epoll,
    /// A simulated world.
    Sim,
}

impl DriverKind {
    /// The name in settings, INFO and the log.
    pub const fn name(self) -> &'static str {
        match self {
            DriverKind::Uring => "uring",
            DriverKind::Epoll => "epoll",
            DriverKind::Sim => "sim",
        }
    }
}

/// The chosen backend and why, for the start-up line and INFO.
#[derive(Clone, Debug)]
pub struct DriverChoice {
    /// The backend.
    pub kind: DriverKind,
    /// One clause: what decided.
    pub reason: String,
    /// Names of the optional io_uring features in use; empty for epoll.
    pub features: Vec<&'static str>,
}

/// The proactor. See the module's documentation for who owns buffers.
pub trait Driver {
    /// Starts to accept connections at a bound and listening socket; its index is the count of earlier calls.
    fn listen(&mut self, socket: OwnedFd) -> io::Result<usize>;
    /// Accepts again after [`Event::AcceptFailed`].
    fn accept(&mut self, listener: usize);
    /// Stops accepting at every listener, for good, and closes them.
    fn stop_listening(&mut self);
    /// Takes over a connection and starts to receive from it.
    fn adopt(&mut self, socket: NewSocket) -> io::Result<SocketId>;
    /// Stops receiving (back-pressure). Bytes that the kernel had already handed over may still come.
    fn pause(&mut self, socket: SocketId);
    /// Receives again.
    fn resume(&mut self, socket: SocketId);
    /// Sends the whole buffer; at most one send a socket at a time.
    fn send(&mut self, socket: SocketId, buffer: Vec<u8>, notice: SendNotice);
    /// Closes a socket. No event names it any more but those that the last turn has brought already; its number is not
    /// given again before the next turn.
    fn close(&mut self, socket: SocketId);
    /// Queues a file operation.
    fn disk(&mut self, token: DiskToken, op: DiskOp);
    /// Wakes another shard that sleeps in its turn.
    fn wake(&mut self, shard: ShardId);
    /// Submits what is queued, waits as told, and appends what happened to `events`.
    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()>;
    /// The bytes of an [`Event::Received`].
    fn bytes(&self, received: &ReceivedBytes) -> &[u8];
    /// Gives received bytes back.
    fn recycle(&mut self, received: ReceivedBytes);
    /// System calls made by turns so far.
    fn turns(&self) -> u64;
}

/// The driver of a shard: static dispatch over the backends that exist.
#[derive(Debug)]
pub enum AnyDriver {
    /// io_uring.
    Uring(Box<Uring>),
    /// epoll.
    Epoll(Box<Epoll>),
    /// A shard's view of a simulated world.
    Sim(Box<Sim>),
}

macro_rules! each {
    ($self:ident, $driver:ident => $call:expr) => {
        match $self {
            AnyDriver::Uring($driver) => $call,
            AnyDriver::Epoll($driver) => $call,
            AnyDriver::Sim($driver) => $call,
        }
    };
}

impl Driver for AnyDriver {
    fn listen(&mut self, socket: OwnedFd) -> io::Result<usize> {
        each!(self, driver => driver.listen(socket))
    }
    fn accept(&mut self, listener: usize) {
        each!(self, driver => driver.accept(listener));
    }
    fn stop_listening(&mut self) {
        each!(self, driver => driver.stop_listening());
    }
    fn adopt(&mut self, socket: NewSocket) -> io::Result<SocketId> {
        each!(self, driver => driver.adopt(socket))
    }
    fn pause(&mut self, socket: SocketId) {
        each!(self, driver => driver.pause(socket));
    }
    fn resume(&mut self, socket: SocketId) {
        each!(self, driver => driver.resume(socket));
    }
    fn send(&mut self, socket: SocketId, buffer: Vec<u8>, notice: SendNotice) {
        each!(self, driver => driver.send(socket, buffer, notice));
    }
    fn close(&mut self, socket: SocketId) {
        each!(self, driver => driver.close(socket));
    }
    fn disk(&mut self, token: DiskToken, op: DiskOp) {
        each!(self, driver => driver.disk(token, op));
    }
    fn wake(&mut self, shard: ShardId) {
        each!(self, driver => driver.wake(shard));
    }
    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        each!(self, driver => driver.turn(wait, events))
    }
    #[inline]
    fn bytes(&self, received: &ReceivedBytes) -> &[u8] {
        each!(self, driver => driver.bytes(received))
    }
    #[inline]
    fn recycle(&mut self, received: ReceivedBytes) {
        each!(self, driver => driver.recycle(received));
    }
    fn turns(&self) -> u64 {
        each!(self, driver => driver.turns())
    }
}

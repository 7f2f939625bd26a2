//! A line as a socket: for what talks RESP on a connection of its own (sessions, subscribers, caches), so that there is
//! one implementation of each.
//!
//! Nothing is taken from the line that nobody reads: a slow subscriber makes its shard keep its messages, up to the limits of any other.
#![expect(
    clippy::disallowed_types,
    reason = "reader and writer of one stream share it; the shard never waits for the lock"
)]

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak,
        atomic::{AtomicBool, Ordering, fence},
    },
    task::{Context, Poll, Waker},
};

use annulus::{
    runtime::line::{Bell, Listener, ProgramEnd},
    shard::{lines::Inbound, shared::Shared},
};
use annulus_storage::DatabaseId;
use bytes::{Bytes, BytesMut};

/// Messages that the queues hold each way.
const MESSAGES_MAX: usize = 64;

/// Where a connection to an embedded store begins.
#[derive(Clone, Debug)]
pub(crate) struct Doorway(pub(crate) Arc<Shared>);

/// See the module's documentation.
pub(crate) struct LineStream {
    core: Arc<Core>,
    bell: Arc<Bell>,
}

struct Core {
    inner: Mutex<Inner>,
    /// The shard had news while the lock was taken.
    missed: AtomicBool,
}

#[derive(Default)]
struct Inner {
    end: Option<ProgramEnd<Inbound>>,
    /// There was no room for what was written last.
    full: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl fmt::Debug for LineStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LineStream")
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the store is closed")
}

impl LineStream {
    /// A line to the shard that has the fewest connections.
    pub(crate) fn open(doorway: &Doorway) -> io::Result<Self> {
        let core = Arc::new(Core { inner: Mutex::default(), missed: AtomicBool::new(false) });
        let entrance = doorway.0.entrance(doorway.0.quietest_shard()).ok_or_else(gone)?;
        let listener: Weak<Core> = Arc::downgrade(&core);
        let end = entrance.open(DatabaseId(0), MESSAGES_MAX, listener).ok_or_else(gone)?;
        core.lock().end = Some(end);
        Ok(Self { core, bell: Arc::clone(entrance.bell()) })
    }

    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.core.lock();
        let ready = inner.is_readable();
        if !ready {
            inner.reader = Some(context.waker().clone());
        }
        self.core.unlock(inner);
        if ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.core.lock();
        let full = inner.full && inner.end.as_ref().is_some_and(|end| !end.is_closed());
        if full {
            inner.writer = Some(context.waker().clone());
        }
        self.core.unlock(inner);
        if full { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// Reads what is there, or `WouldBlock`; 0 is the end.
    pub(crate) fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut inner = self.core.lock();
        // First the word, then the queue: what was sent before the line was closed is still read.
        let ended = inner.end.as_ref().is_none_or(ProgramEnd::is_closed);
        let received = inner.end.as_mut().and_then(ProgramEnd::receive).unwrap_or_default();
        self.core.unlock(inner);
        buffer.extend_from_slice(&received);
        let length = received.len();
        if length > 0 || ended { Ok(length) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Takes bytes to send, all or none.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut inner = self.core.lock();
        let sent = match inner.end.as_mut() {
            Some(end) if !end.is_closed() => {
                end.try_send(Inbound::Bytes(Bytes::copy_from_slice(bytes))).is_ok()
            }
            _ => {
                self.core.unlock(inner);
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        };
        inner.full = !sent;
        self.core.unlock(inner);
        self.bell.ring();
        if sent { Ok(bytes.len()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics halfway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unlock(&self, inner: MutexGuard<'_, Inner>) {
        drop(inner);
        fence(Ordering::SeqCst);
        if self.missed.load(Ordering::Relaxed) && self.missed.swap(false, Ordering::AcqRel) {
            let mut inner = self.lock();
            let wakers = inner.take_wakers();
            drop(inner);
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }
}

impl Listener for Core {
    fn on_news(&self) {
        let mut inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.missed.store(true, Ordering::Release);
                fence(Ordering::SeqCst);
                match self.inner.try_lock() {
                    Ok(inner) => inner,
                    Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                    // Whoever has it sees the note.
                    Err(TryLockError::WouldBlock) => return,
                }
            }
        };
        let wakers = inner.take_wakers();
        drop(inner);
        for waker in wakers.into_iter().flatten() {
            // What a program's waker does is its own business, and must not end the shard.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
        }
    }
}

impl Inner {
    /// Whether there's something to read, or the end. If not, the listener hears when there is.
    fn is_readable(&mut self) -> bool {
        self.end.as_mut().is_none_or(ProgramEnd::await_news)
    }

    fn take_wakers(&mut self) -> [Option<Waker>; 2] {
        // There may be room; the next attempt tells.
        self.full = false;
        [self.reader.take(), self.writer.take()]
    }
}

//! A line as a socket: for what talks RESP on a connection of its own (sessions, subscribers, caches), so that there is
//! one implementation of each.
//!
//! Nothing is taken from the line that nobody reads: a slow subscriber makes its shard keep its messages, up to the limits of any other.

use std::{
    fmt, io,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use annulus::{
    runtime::line::{Bell, Listener, ProgramEnd},
    shard::{lines::Inbound, shared::Shared},
};
use annulus_storage::DatabaseId;
use bytes::{Bytes, BytesMut};

use super::noted::{HearsNews, Noted, Wakers};

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

#[derive(Default)]
struct Core(Noted<Inner>);

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
        let core = Arc::new(Core::default());
        let entrance = doorway.0.entrance(doorway.0.quietest_shard()).ok_or_else(gone)?;
        let listener: Weak<Core> = Arc::downgrade(&core);
        let end = entrance.open(DatabaseId(0), MESSAGES_MAX, listener).ok_or_else(gone)?;
        core.0.lock().end = Some(end);
        Ok(Self { core, bell: Arc::clone(entrance.bell()) })
    }

    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.core.0.lock();
        let ready = inner.is_readable();
        if !ready {
            inner.reader = Some(context.waker().clone());
        }
        self.core.0.unlock(inner, Wakers::new());
        if ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.core.0.lock();
        let full = inner.full && inner.end.as_ref().is_some_and(|end| !end.is_closed());
        if full {
            inner.writer = Some(context.waker().clone());
        }
        self.core.0.unlock(inner, Wakers::new());
        if full { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// Reads what is there, or `WouldBlock`; 0 is the end.
    pub(crate) fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut inner = self.core.0.lock();
        // First the word, then the queue: what was sent before the line was closed is still read.
        let ended = inner.end.as_ref().is_none_or(ProgramEnd::is_closed);
        let received = inner.end.as_mut().and_then(ProgramEnd::receive).unwrap_or_default();
        self.core.0.unlock(inner, Wakers::new());
        buffer.extend_from_slice(&received);
        let length = received.len();
        if length > 0 || ended { Ok(length) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Takes bytes to send, all or none.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut inner = self.core.0.lock();
        let sent = match inner.end.as_mut() {
            Some(end) if !end.is_closed() => {
                end.try_send(Inbound::Bytes(Bytes::copy_from_slice(bytes))).is_ok()
            }
            _ => {
                self.core.0.unlock(inner, Wakers::new());
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        };
        inner.full = !sent;
        self.core.0.unlock(inner, Wakers::new());
        self.bell.ring();
        if sent { Ok(bytes.len()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}

impl Listener for Core {
    fn on_news(&self) {
        self.0.tell();
    }
}

impl HearsNews for Inner {
    fn on_news(&mut self, wakers: &mut Wakers) {
        // There may be room; the next attempt tells.
        self.full = false;
        wakers.extend(self.reader.take());
        wakers.extend(self.writer.take());
    }
}

impl Inner {
    /// Whether there's something to read, or the end. If not, the listener hears when there is.
    fn is_readable(&mut self) -> bool {
        self.end.as_mut().is_none_or(ProgramEnd::await_news)
    }
}

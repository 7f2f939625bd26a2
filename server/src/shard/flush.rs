//! What a turn leaves for the driver to do.

use annulus_storage::ShardId;
use annulus_storage::coverage::{Branch, reached};

use super::connection::{Hold, Modes};
use super::limits::{OUTPUT_POOL_MAX, OUTPUT_POOLED_BYTES_MAX};
use super::{Connection, Connections, Core};
use crate::runtime::driver::{DiskOp, DiskToken, SendNotice};
use crate::runtime::{Driver, NewSocket, SocketId};

/// A send up to this size nearly always fits into its socket whole; the smallest send buffer of a connection that
/// keeps up holds as much.
const SEND_BYTES_UNHEEDED: usize = 16 << 10;
/// First capacity of an output buffer.
const OUTPUT_BYTES_FIRST: usize = 4096;

/// Work for the driver, gathered while the core works.
#[derive(Debug, Default)]
pub(super) struct Intents {
    /// Connections that may have something to send, or be done.
    dirty: Vec<SocketId>,
    pub(super) close: Vec<SocketId>,
    pub(super) pause: Vec<SocketId>,
    pub(super) resume: Vec<SocketId>,
    /// Connections whose waiting input is to be run.
    pub(super) rerun: Vec<SocketId>,
    pub(super) disk: Vec<(DiskToken, DiskOp)>,
    pub(super) adopt: Vec<NewSocket>,
    pub(super) wake: Vec<ShardId>,
    /// Output buffers without an owner.
    pool: Vec<Vec<u8>>,
}

impl Intents {
    /// Lists a connection for the flush at the end of the turn, and lends it a buffer to write into.
    #[inline]
    pub(super) fn mark_dirty(&mut self, connections: &mut Connections, socket: SocketId) {
        if let Some(connection) = connections.get_mut(socket) {
            self.mark(connection, socket);
        }
    }

    /// The same for one that is at hand.
    #[inline(always)]
    pub(super) fn mark(&mut self, connection: &mut Connection, socket: SocketId) {
        if !connection.replies.has_buffer() {
            let buffer = self.pool.pop().unwrap_or_else(|| Vec::with_capacity(OUTPUT_BYTES_FIRST));
            connection.replies.lend_buffer(buffer);
        }
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(socket);
        }
    }

    /// Takes a buffer back for reuse, unless it is large or there are enough.
    pub(super) fn keep_buffer(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0
            && buffer.capacity() <= OUTPUT_POOLED_BYTES_MAX
            && self.pool.len() < OUTPUT_POOL_MAX
        {
            buffer.clear();
            self.pool.push(buffer);
        }
    }
}

impl Core {
    /// Queues one send for each connection that has output, and closes what is done.
    pub(super) fn flush(&mut self, driver: &mut impl Driver) {
        let mut dirty = std::mem::take(&mut self.intents.dirty);
        for socket in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(socket) else { continue };
            connection.dirty = false;
            if !connection.sending && connection.replies.has_output() {
                let empty = self.intents.pool.pop().unwrap_or_default();
                let buffer = connection.replies.take_output(empty);
                self.counters.traffic.output_bytes += buffer.len() as u64;
                self.counters.traffic.sends += 1;
                if socket.is_line() {
                    let is_last = connection.closing && connection.replies.waiting() == 0;
                    connection.sending_bytes = self.lines.send(socket, buffer, is_last);
                    if connection.hold == Some(Hold::Output) {
                        // No event tells that it has gone.
                        self.lines.ring();
                    }
                    self.check_output(socket);
                    self.maybe_close(socket);
                    continue;
                }
                connection.sending = true;
                connection.sending_bytes = buffer.len();
                // A large one may not fit the socket, and then its rest waits for us.
                let awaited = connection.closing
                    || connection.input_ended
                    || connection.hold.is_some()
                    || buffer.len() > SEND_BYTES_UNHEEDED;
                let notice = if awaited { SendNotice::Prompt } else { SendNotice::Lazy };
                driver.send(socket, buffer, notice);
            } else if let Some(buffer) = connection.replies.take_idle_buffer() {
                self.intents.keep_buffer(buffer);
            }
            self.check_output(socket);
            self.maybe_close(socket);
        }
        self.intents.dirty = dirty;
        for (token, op) in self.intents.disk.drain(..) {
            driver.disk(token, op);
        }
        for socket in self.intents.pause.drain(..).filter(|socket| !socket.is_line()) {
            if self.connections.get_mut(socket).is_some_and(|connection| connection.receive_paused) {
                reached(Branch::ReceivePaused);
                driver.pause(socket);
            }
        }
        for socket in self.intents.resume.drain(..).filter(|socket| !socket.is_line()) {
            if self.connections.get_mut(socket).is_some_and(|connection| !connection.receive_paused) {
                driver.resume(socket);
            }
        }
        for socket in self.intents.close.drain(..) {
            if socket.is_line() {
                self.lines.close(socket);
            } else {
                driver.close(socket);
            }
        }
        for shard in self.intents.wake.drain(..) {
            driver.wake(shard);
        }
        self.lines.notify();
    }

    /// A send has ended.
    pub(super) fn on_sent(&mut self, socket: SocketId, buffer: Vec<u8>, result: &std::io::Result<()>) {
        self.intents.keep_buffer(buffer);
        let Some(connection) = self.connections.get_mut(socket) else { return };
        connection.sending = false;
        connection.sending_bytes = 0;
        if connection.replies.bytes() == 0 {
            connection.pushed_bytes = 0;
        }
        if result.is_err() {
            self.close(socket);
            return;
        }
        if connection.replies.has_output() {
            self.intents.mark_dirty(&mut self.connections, socket);
            return;
        }
        if let Some(buffer) = connection.replies.take_idle_buffer() {
            self.intents.keep_buffer(buffer);
        }
        self.maybe_close(socket);
    }

    /// The limits on what waits for a slow reader (`client-output-buffer-limit`).
    fn check_output(&mut self, socket: SocketId) {
        let limits = &self.settings.client_output_buffer_limit;
        let Some(connection) = self.connections.get(socket) else { return };
        let listens = connection.session.modes.intersects(Modes::LISTENS | Modes::MONITORS);
        let limit = if listens { &limits.pubsub } else { &limits.normal };
        if limit.hard_bytes == 0 && limit.soft_bytes == 0 {
            return;
        }
        let (now_ms, hard, soft, soft_ms) =
            (self.now_ms(), limit.hard_bytes, limit.soft_bytes, limit.soft_seconds * 1000);
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let bytes = connection.output_bytes() as u64;
        let over_soft = soft != 0 && bytes >= soft;
        if over_soft {
            connection.soft_limit_since_ms.get_or_insert(now_ms);
        } else {
            connection.soft_limit_since_ms = None;
        }
        let soft_expired = connection.soft_limit_since_ms.is_some_and(|since| now_ms - since >= soft_ms);
        if (hard != 0 && bytes >= hard) || soft_expired {
            tracing::warn!(client = connection.client, bytes, "closed: output buffer limit");
            self.counters.clients.output_limit_closed += 1;
            self.close(socket);
        }
    }
}

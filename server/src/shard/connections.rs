//! Connections come and go.

use std::io;

use super::batch::Message;
use super::blocking::End;
use super::connection::{Hold, Modes};
use super::interest::Kind;
use super::limits::ACCEPT_RETRY_NS;
use super::{Connection, Core};
use crate::runtime::{Driver, NewSocket, SocketId};

const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";
const PROTECTED: &[u8] = b"-DENIED Annulus is running in protected mode because protected mode is enabled and no password is \
    set. In this mode connections are only accepted from the loopback interface. To accept connections from other \
    machines, set a password (requirepass), or turn protected mode off (protected-mode no) after making sure that the \
    server cannot be reached from outside.\r\n";

/// How often idle and slow connections are looked for, when a setting asks for it.
const SWEEP_NS: u64 = 1_000_000_000;

impl Core {
    /// A connection was accepted at a listener. The shared listeners deal to the shard with the fewest; a shard's own port is chosen by
    /// the client because its keys are here.
    pub(super) fn on_accepted(&mut self, shared_listener: bool, socket: NewSocket, driver: &mut impl Driver) {
        if self.stopping.has_begun() {
            return;
        }
        self.counters.clients.received += 1;
        let refusal = if self.shared.connection_count() >= self.settings.maxclients {
            Some(TOO_MANY_CLIENTS)
        } else if self.settings.protected_mode
            && self.settings.requirepass.reveal().is_none()
            && !socket.peer.is_local
        {
            Some(PROTECTED)
        } else {
            None
        };
        if let Some(text) = refusal {
            self.counters.clients.rejected += 1;
            socket.refuse(text);
            return;
        }
        let shard = if shared_listener {
            self.shared.place_connection()
        } else {
            self.shared.count_connection(self.id);
            self.id
        };
        if shard == self.id {
            self.adopt(socket, driver);
        } else {
            self.links.send(shard, Message::Connection(Box::new(socket)));
        }
    }

    /// Accepting failed: it rests for a while. Connections that are there go on.
    pub(super) fn on_accept_failed(&mut self, listener: usize, error: &io::Error) {
        tracing::warn!(shard = self.id.0, %error, "connections cannot be accepted; trying again soon");
        self.accept_again.push((self.time.monotonic_ns + ACCEPT_RETRY_NS, listener));
    }

    /// Takes over a connection that this shard is to serve; it has been counted.
    pub(super) fn adopt(&mut self, socket: NewSocket, driver: &mut impl Driver) {
        let peer = socket.peer.clone();
        match driver.adopt(socket) {
            Ok(id) => {
                let authenticated = self.settings.requirepass.reveal().is_none();
                let client = self.shared.next_client();
                let now_ms = self.now_ms();
                self.connections.insert(Connection::new((client, self.id), id, peer, authenticated, now_ms));
                self.plan_sweep();
            }
            Err(error) => {
                tracing::warn!(shard = self.id.0, %error, "a connection could not be taken over");
                self.shared.uncount_connection(self.id);
            }
        }
    }

    /// The client has finished sending: what it sent is still answered.
    pub(super) fn on_ended(&mut self, socket: SocketId) {
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.input_ended = true;
            if matches!(connection.hold, Some(Hold::Wait | Hold::Blocked(_))) {
                // As in Redis, who goes waits no more.
                self.close(socket);
                return;
            }
            self.maybe_close(socket);
        }
    }

    /// Closes a connection that has nothing more to do.
    pub(super) fn maybe_close(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let no_more_commands = connection.closing || (connection.input_ended && connection.hold.is_none());
        if no_more_commands && connection.is_drained() {
            self.close(socket);
        }
    }

    /// Closes a connection now; replies on their way to it are dropped when they come.
    pub(super) fn close(&mut self, socket: SocketId) {
        if let Some(connection) = self.connections.remove(socket) {
            if !connection.session.modes.is_empty() {
                self.forget_listener(&connection);
                self.forget_monitor(connection.client);
                self.forget_tracking(&connection);
                self.forget_target(connection.client);
            }
            if connection.hold == Some(Hold::Wait) {
                self.forget_wait(connection.client);
            }
            if let Some(Hold::Blocked(number)) = connection.hold {
                self.end_block(number, End::Gone);
            }
            self.forget_watched(&connection.session.watched);
            self.shared.uncount_connection(self.id);
            self.intents.close.push(socket);
        }
    }

    /// Plans the next look at all connections, if a setting needs one.
    pub(super) fn plan_sweep(&mut self) {
        let output = &self.settings.client_output_buffer_limit;
        let listening = self.has_monitors() || Kind::ALL.iter().any(|kind| self.listeners.len(*kind) > 0);
        let wanted = (self.settings.timeout > 0
            || output.normal.soft_bytes > 0
            || (output.pubsub.soft_bytes > 0 && listening))
            && !self.connections.is_empty();
        match (wanted, self.sweep_at_ns) {
            (true, None) => self.sweep_at_ns = Some(self.time.monotonic_ns + SWEEP_NS),
            (false, Some(_)) => self.sweep_at_ns = None,
            _ => {}
        }
    }

    /// Closes idle connections (`timeout`), and has slow readers looked at.
    pub(super) fn maybe_sweep(&mut self) {
        if self.sweep_at_ns.is_none_or(|at| at > self.time.monotonic_ns) {
            return;
        }
        self.sweep_at_ns = None;
        let idle_ms = u64::from(self.settings.timeout) * 1000;
        let now_ms = self.now_ms();
        let mut idle = Vec::new();
        let mut slow = Vec::new();
        for connection in self.connections.iter() {
            if idle_ms > 0
                && now_ms.saturating_sub(connection.active_ms) >= idle_ms
                && connection.hold.is_none()
                // A program does not time out on itself.
                && !connection.socket.is_line()
                // As in Redis, who listens need not say anything.
                && !connection.session.modes.intersects(Modes::LISTENS | Modes::MONITORS)
            {
                idle.push(connection.socket);
            } else if connection.soft_limit_since_ms.is_some() {
                slow.push(connection.socket);
            }
        }
        for socket in idle {
            self.close(socket);
        }
        for socket in slow {
            self.intents.mark_dirty(&mut self.connections, socket);
        }
        self.plan_sweep();
    }
}

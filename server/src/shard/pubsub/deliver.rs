//! From a message to the outputs of those who listen.

use annulus_protocol::{Encoder, Version};
use annulus_storage::{Lsn, ShardId};

use super::super::Core;
use super::super::connection::Modes;
use super::super::interest::{Kind, Step};
use super::listeners::Members;
use super::notices::Notice;
use crate::commands::{Case, glob_match};
use crate::runtime::SocketId;

/// A message as it is sent: written once for each version of the protocol that a receiver has chosen.
pub(in crate::shard) struct Copies<W> {
    write: W,
    resp2: Vec<u8>,
    resp3: Vec<u8>,
}

impl<W: Fn(&mut Encoder<'_>)> Copies<W> {
    /// None is written yet.
    pub(in crate::shard) fn new(write: W) -> Self {
        Copies { write, resp2: Vec::new(), resp3: Vec::new() }
    }

    fn of(&mut self, version: Version) -> &[u8] {
        let copy = match version {
            Version::Resp2 => &mut self.resp2,
            Version::Resp3 => &mut self.resp3,
        };
        if copy.is_empty() {
            (self.write)(&mut Encoder::new(copy, version));
        }
        copy
    }
}

fn write_message(kind: Kind, pattern: Option<&[u8]>, channel: &[u8], message: &[u8], out: &mut Encoder<'_>) {
    out.push_header(3 + usize::from(pattern.is_some()));
    out.bulk(match kind {
        Kind::ShardChannel => "smessage",
        _ if pattern.is_some() => "pmessage",
        _ => "message",
    });
    if let Some(pattern) = pattern {
        out.bulk(pattern);
    }
    out.bulk(channel);
    out.bulk(message);
}

impl Core {
    /// Sends a message to all listeners of this shard. Returns how many there are.
    pub(in crate::shard) fn deliver_message(&mut self, kind: Kind, channel: &[u8], message: &[u8]) -> u64 {
        let listeners = std::mem::take(&mut self.listeners);
        let mut over = Vec::new();
        let mut receivers = 0;
        if let Some(members) = listeners.members(kind, channel) {
            let mut copies =
                Copies::new(|out: &mut Encoder<'_>| write_message(kind, None, channel, message, out));
            receivers += self.push_to_members(members, &mut copies, &mut over);
        }
        if kind == Kind::Channel {
            for (pattern, members) in listeners.names(Kind::Pattern) {
                if glob_match(pattern, channel, Case::Sensitive) {
                    let mut copies = Copies::new(|out: &mut Encoder<'_>| {
                        write_message(kind, Some(pattern), channel, message, out);
                    });
                    receivers += self.push_to_members(members, &mut copies, &mut over);
                }
            }
        }
        self.listeners = listeners;
        self.close_over_limit(&over);
        receivers
    }

    fn push_to_members<W: Fn(&mut Encoder<'_>)>(
        &mut self,
        members: &Members,
        copies: &mut Copies<W>,
        over: &mut Vec<SocketId>,
    ) -> u64 {
        for (&client, &socket) in members {
            self.push(socket, client, copies, over);
        }
        members.len() as u64
    }

    /// Puts a message into a connection's output, behind the replies to everything that it has asked for. A connection that does
    /// not read is added to `over` when it has too much.
    pub(in crate::shard) fn push<W: Fn(&mut Encoder<'_>)>(
        &mut self,
        socket: SocketId,
        client: u64,
        copies: &mut Copies<W>,
        over: &mut Vec<SocketId>,
    ) {
        let durable = self.durable();
        let hard_bytes = self.settings.client_output_buffer_limit.pubsub.hard_bytes as usize;
        let Some(connection) = self.connections.of_client(socket, client) else { return };
        if connection.closing {
            return;
        }
        let bytes = copies.of(connection.session.version);
        connection.pushed_bytes += bytes.len();
        let waiting = if connection.session.modes.intersects(Modes::LISTENS | Modes::MONITORS) {
            connection.output_bytes() + bytes.len()
        } else {
            // Its replies may be as large as it likes; what comes unasked is bounded.
            connection.pushed_bytes
        };
        if hard_bytes != 0 && waiting > hard_bytes {
            over.push(socket);
            return;
        }
        connection.replies.write(durable, false, |out| {
            out.extend_from_slice(bytes);
            Lsn::ZERO
        });
        self.intents.mark_dirty(&mut self.connections, socket);
    }

    /// Closes connections that have more output waiting than they may.
    pub(in crate::shard) fn close_over_limit(&mut self, over: &[SocketId]) {
        for &socket in over {
            let Some(connection) = self.connections.get(socket) else { continue };
            tracing::warn!(
                client = connection.client,
                bytes = connection.output_bytes(),
                "closed: it does not read the messages that it listens to"
            );
            self.counters.clients.output_limit_closed += 1;
            self.close(socket);
        }
    }

    /// Other shards that may have listeners to a message on a channel.
    pub(super) fn shards_listening(&self, kind: Kind, channel: &[u8]) -> Vec<ShardId> {
        let interest = &self.shared.interest;
        if self.shards == 1 || !interest.is_anybody_listening() {
            return Vec::new();
        }
        let hash = interest.hash(kind, channel);
        let others = (0..self.shards).map(ShardId).filter(|&shard| shard != self.id);
        others.filter(|&shard| interest.wants(shard, kind, hash)).collect()
    }

    /// Sends a message of the server's own to all listeners, wherever they are.
    pub(in crate::shard) fn announce(&mut self, channel: &[u8], message: &[u8]) {
        for shard in self.shards_listening(Kind::Channel, channel) {
            self.links.notice(shard, Notice::Message, &[channel, message]);
        }
        self.deliver_message(Kind::Channel, channel, message);
    }

    /// A connection that goes listens to nothing any more.
    pub(in crate::shard) fn forget_listener(&mut self, connection: &super::super::Connection) {
        let Some(listening) = connection.session.listening.as_deref() else { return };
        for kind in Kind::ALL {
            for name in listening.names(kind) {
                if self.listeners.remove(kind, name, connection.client) {
                    self.shared.interest.change_name(self.id, kind, name, Step::Down);
                }
            }
        }
    }
}

//! From an invalidation to the connection that is to forget something.

use annulus_protocol::{Encoder, Version};
use annulus_storage::ShardId;

use super::super::Core;
use super::super::connection::Modes;
use super::super::pubsub::Copies;
use super::super::pubsub::notices::Notice;
use super::{Invalidation, Redirect, write_invalidation, write_keys};
use crate::runtime::SocketId;

/// The channel by which RESP2 connections are told.
const CHANNEL: &str = "__redis__:invalidate";

impl Core {
    /// Sends what is durable to where it must be known.
    pub(in crate::shard) fn send_invalidation(&mut self, invalidation: Invalidation) {
        match invalidation {
            Invalidation::Key { key, client, home, writer } if home == self.id => {
                self.on_invalidated(client, writer, &key);
            }
            Invalidation::Key { key, client, home, writer } => {
                self.links.notice(home, Notice::Invalidated { client, writer }, &[&key]);
            }
            Invalidation::Changed { key, writer } => {
                for shard in (0..self.shards).map(ShardId) {
                    if !self.shared.interest.wants_broadcast(shard) {
                        continue;
                    }
                    if shard == self.id {
                        self.on_changed(&key, writer);
                    } else {
                        self.links.notice(shard, Notice::Changed { writer }, &[&key]);
                    }
                }
            }
            Invalidation::Flushed { flushes } => {
                for shard in (0..self.shards).map(ShardId).filter(|&shard| shard != self.id) {
                    self.links.notice(shard, Notice::Flushed { flushes }, &[]);
                }
                self.on_flushed(self.id, flushes);
            }
        }
    }

    /// A connection of this shard has read a key that has changed.
    pub(in crate::shard) fn on_invalidated(&mut self, client: u64, writer: u64, key: &[u8]) {
        let Some(&socket) = self.tracking.clients.get(&client) else { return };
        let tracking = self.connections.get(socket).and_then(|it| it.session.tracking.as_deref());
        // It may have changed its mind since.
        let Some(tracking) = tracking.filter(|it| !it.options.broadcast) else { return };
        if !(tracking.options.no_loop && writer == client) {
            self.tell_invalidation(socket, client, Some(&[key]));
        }
    }

    /// A key has changed that connections of this shard may want to know of: told with the end of the turn.
    pub(in crate::shard) fn on_changed(&mut self, key: &[u8], writer: u64) {
        if !self.tracking.prefixes.is_empty() {
            self.tracking.changed.insert(key.into(), writer);
        }
    }

    /// Tells the keys that changed in this turn: for each prefix, those under it in one message.
    pub(in crate::shard) fn tell_changed(&mut self) {
        if self.tracking.changed.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut self.tracking.changed);
        let prefixes = std::mem::take(&mut self.tracking.prefixes);
        for (prefix, members) in &prefixes {
            let under: Vec<(&[u8], u64)> = changed
                .range(prefix.clone()..)
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, writer)| (&**key, *writer))
                .collect();
            for (&client, &socket) in members {
                let tracking = self.connections.get(socket).and_then(|it| it.session.tracking.as_deref());
                let no_loop = tracking.is_some_and(|tracking| tracking.options.no_loop);
                let keys: Vec<&[u8]> = under
                    .iter()
                    .filter(|(_, writer)| !(no_loop && *writer == client))
                    .map(|(key, _)| *key)
                    .collect();
                if !keys.is_empty() {
                    self.tell_invalidation(socket, client, Some(&keys));
                }
            }
        }
        // Nobody is closed meanwhile, so nobody has left the prefixes.
        debug_assert!(self.tracking.prefixes.is_empty());
        self.tracking.prefixes = prefixes;
        self.close_refused();
    }

    /// A shard has flushed, and that is durable.
    pub(in crate::shard) fn on_flushed(&mut self, from: ShardId, flushes: u64) {
        let least = |seen: &[u64]| seen.iter().copied().min().unwrap_or(0);
        let before = least(&self.tracking.flushes_seen);
        let seen = &mut self.tracking.flushes_seen[from.index()];
        *seen = flushes.max(*seen);
        if least(&self.tracking.flushes_seen) == before {
            return;
        }
        let clients: Vec<(u64, SocketId)> =
            self.tracking.clients.iter().map(|(client, socket)| (*client, *socket)).collect();
        for (client, socket) in clients {
            self.tell_invalidation(socket, client, None);
        }
        self.close_refused();
    }

    /// Tells a connection that tracks, or the one that it redirects to, to forget keys, or all.
    fn tell_invalidation(&mut self, socket: SocketId, client: u64, keys: Option<&[&[u8]]>) {
        let Some(connection) = self.connections.of_client(socket, client) else { return };
        let Some(tracking) = connection.session.tracking.as_deref() else { return };
        let Some(Redirect { client: to, shard }) = tracking.redirect else {
            if connection.session.version == Version::Resp3 {
                let mut copies = Copies::new(|out: &mut Encoder<'_>| write_invalidation(keys, out));
                self.push_or_refuse(socket, client, &mut copies);
            }
            return;
        };
        if shard == self.id {
            if !self.tell_target(to, keys) {
                self.on_redirect_broken(client);
            }
            return;
        }
        match keys {
            None => self.links.notice(shard, Notice::RedirectedAll { to, by: client }, &[]),
            Some(keys) => {
                for key in keys {
                    self.links.notice(shard, Notice::Redirected { to, by: client }, &[key]);
                }
            }
        }
    }

    /// A connection of another shard redirects to one of this.
    pub(in crate::shard) fn on_redirected(
        &mut self,
        from: ShardId,
        to: u64,
        by: u64,
        keys: Option<&[&[u8]]>,
    ) {
        if !self.tell_target(to, keys) {
            self.links.notice(from, Notice::RedirectBroken { client: by }, &[]);
        }
    }

    /// Tells a connection that others redirect to. False if it has gone.
    fn tell_target(&mut self, to: u64, keys: Option<&[&[u8]]>) -> bool {
        let Some(&socket) = self.tracking.targets.get(&to) else { return false };
        let Some(connection) = self.connections.of_client(socket, to) else { return false };
        let session = &connection.session;
        if session.version == Version::Resp3 {
            let mut copies = Copies::new(|out: &mut Encoder<'_>| write_invalidation(keys, out));
            self.push_or_refuse(socket, to, &mut copies);
        } else if session.modes.intersects(Modes::LISTENS) {
            let mut copies = Copies::new(|out: &mut Encoder<'_>| {
                out.push_header(3);
                out.bulk("message");
                out.bulk(CHANNEL);
                write_keys(keys, out);
            });
            self.push_or_refuse(socket, to, &mut copies);
        }
        true
    }

    /// The client that a connection redirects to has gone: it learns so, if it can.
    pub(in crate::shard) fn on_redirect_broken(&mut self, client: u64) {
        let Some(&socket) = self.tracking.clients.get(&client) else { return };
        let Some(connection) = self.connections.of_client(socket, client) else { return };
        let version = connection.session.version;
        let Some(tracking) = connection.session.tracking.as_deref_mut() else { return };
        tracking.broken_redirect = true;
        let redirect = tracking.redirect_client() as i64;
        if version == Version::Resp3 {
            let mut copies = Copies::new(|out: &mut Encoder<'_>| {
                out.push_header(2);
                out.bulk("tracking-redir-broken");
                out.integer(redirect);
            });
            self.push_or_refuse(socket, client, &mut copies);
        }
    }

    fn push_or_refuse<W: Fn(&mut Encoder<'_>)>(
        &mut self,
        socket: SocketId,
        client: u64,
        copies: &mut Copies<W>,
    ) {
        let mut over = Vec::new();
        self.push(socket, client, copies, &mut over);
        self.tracking.refused.append(&mut over);
    }

    /// Closes the connections that could not take what they were told.
    pub(in crate::shard) fn close_refused(&mut self) {
        if !self.tracking.refused.is_empty() {
            let refused = std::mem::take(&mut self.tracking.refused);
            self.close_over_limit(&refused);
        }
    }
}

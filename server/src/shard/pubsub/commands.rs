//! SUBSCRIBE and its kin, PUBLISH, PUBSUB.

use std::collections::BTreeSet;

use annulus_protocol::{
    Encoder, Version, elements, parse_bulk_reply, parse_error_reply, parse_integer_reply,
};
use annulus_storage::DatabaseId;

use super::super::Core;
use super::super::batch::{Call, Origin, Request, Target, Work};
use super::super::connection::Modes;
use super::super::dispatch::Flow;
use super::super::interest::{Kind, Step};
use crate::commands::{Case, Command, ConnectionCommand, Merge, PubSubCommand, Run, glob_match};
use crate::runtime::{Rng, SocketId};

/// Whether a RESP2 connection that listens may run a command: whatever comes back must be told from messages.
pub(in crate::shard) fn allowed_while_listening(command: &Command) -> bool {
    matches!(
        command.run,
        Run::Connection(
            ConnectionCommand::Ping
                | ConnectionCommand::Quit
                | ConnectionCommand::Reset
                | ConnectionCommand::PubSub(
                    PubSubCommand::Subscribe
                        | PubSubCommand::Unsubscribe
                        | PubSubCommand::Psubscribe
                        | PubSubCommand::Punsubscribe
                        | PubSubCommand::Ssubscribe
                        | PubSubCommand::Sunsubscribe
                )
        )
    )
}

const fn subscribed(kind: Kind) -> &'static str {
    match kind {
        Kind::Channel => "subscribe",
        Kind::Pattern => "psubscribe",
        Kind::ShardChannel => "ssubscribe",
    }
}

const fn unsubscribed(kind: Kind) -> &'static str {
    match kind {
        Kind::Channel => "unsubscribe",
        Kind::Pattern => "punsubscribe",
        Kind::ShardChannel => "sunsubscribe",
    }
}

/// Writes that a connection listens, or no longer, and to how many names it does now.
fn confirm(out: &mut Encoder<'_>, what: &str, name: Option<&[u8]>, count: usize) {
    out.push_header(3);
    out.bulk(what);
    match name {
        Some(name) => out.bulk(name),
        None => out.null(),
    }
    out.integer(count as i64);
}

impl Core {
    /// Runs a command about messages.
    pub(in crate::shard) fn pubsub(
        &mut self,
        socket: SocketId,
        which: PubSubCommand,
        args: &[&[u8]],
    ) -> Flow {
        let names = args.get(1..).unwrap_or_default();
        match which {
            PubSubCommand::Subscribe => self.subscribe(socket, Kind::Channel, names),
            PubSubCommand::Psubscribe => self.subscribe(socket, Kind::Pattern, names),
            PubSubCommand::Ssubscribe => self.subscribe(socket, Kind::ShardChannel, names),
            PubSubCommand::Unsubscribe => self.unsubscribe(socket, Kind::Channel, names),
            PubSubCommand::Punsubscribe => self.unsubscribe(socket, Kind::Pattern, names),
            PubSubCommand::Sunsubscribe => self.unsubscribe(socket, Kind::ShardChannel, names),
            PubSubCommand::Publish => return self.publish_message(socket, Kind::Channel, args),
            PubSubCommand::Spublish => return self.publish_message(socket, Kind::ShardChannel, args),
            PubSubCommand::Channels => self.pubsub_channels(socket, list_channels, args),
            PubSubCommand::Shardchannels => self.pubsub_channels(socket, list_shard_channels, args),
            PubSubCommand::Numsub => self.pubsub_count(socket, count_channels, args),
            PubSubCommand::Shardnumsub => self.pubsub_count(socket, count_shard_channels, args),
            PubSubCommand::Numpat => {
                self.start_broadcast(socket, Work::Core(list_patterns), Merge::Custom(merge_number), args);
            }
        }
        Flow::Continue
    }

    fn subscribe(&mut self, socket: SocketId, kind: Kind, names: &[&[u8]]) {
        let mut confirmations = Vec::with_capacity(names.len());
        for name in names {
            let Some(connection) = self.connections.get_mut(socket) else { return };
            let client = connection.client;
            let listening = connection.session.listening.get_or_insert_default();
            let added = listening.add(kind, name);
            confirmations.push((*name, listening.confirmed(kind)));
            connection.session.modes |= Modes::LISTENS;
            if added && self.listeners.add(kind, name, client, socket) {
                self.shared.interest.change_name(self.id, kind, name, Step::Up);
            }
        }
        self.tell(socket, |out| {
            for (name, count) in confirmations {
                confirm(out, subscribed(kind), Some(name), count);
            }
        });
        self.plan_sweep();
    }

    fn unsubscribe(&mut self, socket: SocketId, kind: Kind, names: &[&[u8]]) {
        let listening = self.connections.get(socket).and_then(|it| it.session.listening.as_deref());
        let left = listening.map_or(0, |listening| listening.confirmed(kind));
        // Without names, all that there are.
        let all: Vec<Vec<u8>> = match listening {
            Some(listening) if names.is_empty() => listening.names(kind).map(<[u8]>::to_vec).collect(),
            _ => names.iter().map(|name| name.to_vec()).collect(),
        };
        let counts: Vec<usize> = all.iter().map(|name| self.unsubscribe_one(socket, kind, name)).collect();
        self.tell(socket, |out| {
            if all.is_empty() {
                confirm(out, unsubscribed(kind), None, left);
            }
            for (name, count) in all.iter().zip(counts) {
                confirm(out, unsubscribed(kind), Some(name), count);
            }
        });
    }

    /// Returns how many names the connection still listens to.
    fn unsubscribe_one(&mut self, socket: SocketId, kind: Kind, name: &[u8]) -> usize {
        let Some(connection) = self.connections.get_mut(socket) else { return 0 };
        let client = connection.client;
        let Some(listening) = connection.session.listening.as_deref_mut() else { return 0 };
        let removed = listening.remove(kind, name);
        let count = listening.confirmed(kind);
        if listening.total() == 0 {
            connection.session.listening = None;
            connection.session.modes -= Modes::LISTENS;
        }
        if removed && self.listeners.remove(kind, name, client) {
            self.shared.interest.change_name(self.id, kind, name, Step::Down);
        }
        count
    }

    /// RESET: the connection listens to nothing any more, and is told nothing of it.
    pub(in crate::shard) fn stop_listening(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.take(socket) else { return };
        self.forget_listener(&connection);
        self.connections.put_back(connection);
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.session.listening = None;
            connection.session.modes -= Modes::LISTENS;
        }
    }

    /// Writes what a connection is told whatever it thinks of replies (CLIENT REPLY OFF).
    pub(in crate::shard) fn tell(&mut self, socket: SocketId, write: impl FnOnce(&mut Encoder<'_>)) {
        let durable = self.durable();
        self.intents.mark_dirty(&mut self.connections, socket);
        if let Some(connection) = self.connections.get_mut(socket) {
            let version = connection.session.version;
            if let Some(target) = connection.capture {
                let mut reply = Vec::new();
                write(&mut Encoder::new(&mut reply, version));
                self.deliver(target, &reply, annulus_storage::Lsn::ZERO);
                return;
            }
            connection.replies.write(durable, false, |out| {
                write(&mut Encoder::new(out, version));
                annulus_storage::Lsn::ZERO
            });
        }
    }

    fn publish_message(&mut self, socket: SocketId, kind: Kind, args: &[&[u8]]) -> Flow {
        let &[_, channel, message] = args else { return Flow::Continue };
        // See the module's documentation: what this connection has written before comes first.
        if self.must_keep_order(socket) {
            return Flow::Again;
        }
        let others = self.shards_listening(kind, channel);
        if others.is_empty() {
            let receivers = self.deliver_message(kind, channel, message);
            self.answer(socket, |out| out.integer(receivers as i64));
            return Flow::Continue;
        }
        // Messages need not wait for the answers to the messages before them: they travel in order.
        let mark = connection_mark(self, socket);
        let work = receiving(kind);
        let shards: Vec<_> = others.into_iter().chain([self.id]).collect();
        self.start_on(socket, work, Merge::Sum, args, &shards);
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.replies.reset_order_mark(mark);
        }
        Flow::Continue
    }

    /// Sends a message that nobody waits to hear about.
    pub(in crate::shard) fn publish_unasked(&mut self, kind: Kind, channel: &[u8], message: &[u8]) {
        for shard in self.shards_listening(kind, channel) {
            let call = Call {
                database: DatabaseId(0),
                version: Version::Resp2,
                slot: 0,
                touches: false,
                origin: Origin::default(),
            };
            let request = Request { target: Target::Nobody, work: receiving(kind), call, arguments: 0 };
            self.links.request(shard, request, [&b"publish"[..], channel, message]);
        }
        self.deliver_message(kind, channel, message);
    }

    /// How many get a message: exactly on this shard; other shards with listeners count for one each.
    pub(in crate::shard) fn count_listeners(&self, kind: Kind, channel: &[u8]) -> u64 {
        let others = self.shards_listening(kind, channel).len();
        let members = self.listeners.members(kind, channel).map_or(0, std::collections::BTreeMap::len);
        let patterns = self
            .listeners
            .names(Kind::Pattern)
            .filter(|(pattern, _)| kind == Kind::Channel && glob_match(pattern, channel, Case::Sensitive));
        (others + members + patterns.map(|(_, members)| members.len()).sum::<usize>()) as u64
    }

    fn pubsub_channels(&mut self, socket: SocketId, list: CoreWork, args: &[&[u8]]) {
        if args.len() > 3 {
            return self.answer(socket, |out| {
                out.error(super::super::serve::quoting(
                    "ERR unknown subcommand or wrong number of arguments for '",
                    args[1],
                    "'. Try PUBSUB HELP.",
                ));
            });
        }
        self.start_broadcast(socket, Work::Core(list), Merge::Custom(merge_names), args);
    }

    fn pubsub_count(&mut self, socket: SocketId, count: CoreWork, args: &[&[u8]]) {
        self.start_broadcast(socket, Work::Core(count), Merge::Custom(merge_counts), args);
    }
}

fn connection_mark(core: &Core, socket: SocketId) -> u32 {
    core.connections.get(socket).map_or(0, |connection| connection.replies.order_mark())
}

/// What one shard does for another.
type CoreWork = fn(&mut Core, &[&[u8]], &mut Vec<u8>);

/// How a shard takes a message in.
fn receiving(kind: Kind) -> Work {
    Work::Core(match kind {
        Kind::ShardChannel => receive_shard_message,
        Kind::Channel | Kind::Pattern => receive_message,
    })
}

fn receive(core: &mut Core, kind: Kind, args: &[&[u8]], out: &mut Vec<u8>) {
    let receivers = match args {
        [_, channel, message] => core.deliver_message(kind, channel, message),
        _ => 0,
    };
    Encoder::new(out, Version::Resp2).integer(receivers as i64);
}

fn receive_message(core: &mut Core, args: &[&[u8]], out: &mut Vec<u8>) {
    receive(core, Kind::Channel, args, out);
}

fn receive_shard_message(core: &mut Core, args: &[&[u8]], out: &mut Vec<u8>) {
    receive(core, Kind::ShardChannel, args, out);
}

/// The names of a kind that match the pattern, if one is given.
fn list(core: &mut Core, kind: Kind, pattern: Option<&[u8]>, out: &mut Vec<u8>) {
    let mut out = Encoder::new(out, Version::Resp2);
    let start = out.position();
    let mut count = 0;
    for (name, _) in core.listeners.names(kind) {
        if pattern.is_none_or(|pattern| glob_match(pattern, name, Case::Sensitive)) {
            out.bulk(name);
            count += 1;
        }
    }
    out.insert_array_header(start, count);
}

fn list_channels(core: &mut Core, args: &[&[u8]], out: &mut Vec<u8>) {
    list(core, Kind::Channel, args.get(2).copied(), out);
}

fn list_shard_channels(core: &mut Core, args: &[&[u8]], out: &mut Vec<u8>) {
    list(core, Kind::ShardChannel, args.get(2).copied(), out);
}

fn list_patterns(core: &mut Core, _: &[&[u8]], out: &mut Vec<u8>) {
    list(core, Kind::Pattern, None, out);
}

/// Each name that was asked about, and how many listen to it here.
fn count(core: &mut Core, kind: Kind, args: &[&[u8]], out: &mut Vec<u8>) {
    let names = args.get(2..).unwrap_or_default();
    let mut out = Encoder::new(out, Version::Resp2);
    out.array_header(names.len() * 2);
    for name in names {
        out.bulk(name);
        out.integer(core.listeners.members(kind, name).map_or(0, |members| members.len() as i64));
    }
}

fn count_channels(core: &mut Core, args: &[&[u8]], out: &mut Vec<u8>) {
    count(core, Kind::Channel, args, out);
}

fn count_shard_channels(core: &mut Core, args: &[&[u8]], out: &mut Vec<u8>) {
    count(core, Kind::ShardChannel, args, out);
}

fn items(part: &[u8]) -> impl Iterator<Item = &[u8]> {
    debug_assert!(parse_error_reply(part).is_none(), "a shard of ours refuses to tell");
    elements(part).into_iter().flatten().filter_map(Result::ok)
}

/// Names that several shards have are one.
fn distinct(parts: &[Vec<u8>]) -> BTreeSet<&[u8]> {
    parts.iter().flat_map(|part| items(part)).filter_map(|item| parse_bulk_reply(item).flatten()).collect()
}

fn merge_names(parts: &[Vec<u8>], out: &mut Encoder<'_>, _: &mut Rng) {
    let names = distinct(parts);
    out.array_header(names.len());
    for name in names {
        out.bulk(name);
    }
}

fn merge_number(parts: &[Vec<u8>], out: &mut Encoder<'_>, _: &mut Rng) {
    out.integer(distinct(parts).len() as i64);
}

fn merge_counts(parts: &[Vec<u8>], out: &mut Encoder<'_>, _: &mut Rng) {
    let mut parts: Vec<_> = parts.iter().map(|part| items(part)).collect();
    let Some((first, others)) = parts.split_first_mut() else { return out.array_header(0) };
    let start = out.position();
    let mut count = 0;
    // All parts have the same names in the same order, each followed by a number.
    while let (Some(name), Some(number)) = (first.next(), first.next()) {
        let more: i64 =
            others.iter_mut().filter_map(|part| part.nth(1)).filter_map(parse_integer_reply).sum();
        out.raw(name);
        out.integer(parse_integer_reply(number).unwrap_or(0) + more);
        count += 2;
    }
    out.insert_array_header(start, count);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(write: impl FnOnce(&mut Encoder<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Encoder::new(&mut out, Version::Resp2));
        out
    }

    #[test]
    fn names_of_several_shards_are_counted_once_and_listeners_of_all() {
        let names = |names: &[&str]| {
            part(|out| {
                out.array_header(names.len());
                for name in names {
                    out.bulk(name);
                }
            })
        };
        let parts = [names(&["a", "b"]), names(&["b"]), names(&[])];
        let mut random = Rng::from_seed(1);
        assert_eq!(part(|out| merge_names(&parts, out, &mut random)), names(&["a", "b"]));
        assert_eq!(part(|out| merge_number(&parts, out, &mut Rng::from_seed(1))), b":2\r\n");
        let counts = |a: i64, b: i64| {
            part(|out| {
                out.array_header(4);
                out.bulk("a");
                out.integer(a);
                out.bulk("b");
                out.integer(b);
            })
        };
        let parts = [counts(1, 0), counts(5, 2), counts(0, 0)];
        assert_eq!(part(|out| merge_counts(&parts, out, &mut Rng::from_seed(1))), counts(6, 2));
    }
}

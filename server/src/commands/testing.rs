//! A miniature of the server for tests of commands: stores without a disk, and the routing that rows ask for, in the
//! plainest form. And transcripts: commands with the replies that a real redis-server (7.0) gave.

use std::fmt::Write as _;

use annulus_protocol::{Encoder, Version, slot};
use annulus_storage::log::{LogIdentity, LogStart};
use annulus_storage::{DatabaseId, Log, LogOptions, ShardId, Store, StoreOptions};

use super::replies::{elements, error_among, integer_reply};
use super::{
    Command, ConnectionCommand, Context, Hop, HopStep, Keyed, Merge, Run, ShardStore, cursor_group, help,
    introspect, lookup, resolve,
};
use crate::runtime::Rng;

/// What the clock shows in all tests, ms of Unix time.
pub(super) const NOW_MS: u64 = 1_800_000_000_000;
const DATABASES: u16 = 16;
const GROUPS: usize = 256;

/// Some shards and one connection.
pub(super) struct Server {
    stores: Vec<ShardStore>,
    database: DatabaseId,
    pub(super) version: Version,
    random: Rng,
    pub(super) bulk_bytes_max: u64,
}

impl Server {
    pub(super) fn new(shards: usize) -> Self {
        let store = |shard: usize| {
            let shard = ShardId(shard as u16);
            let identity = LogIdentity { directory: 1, epoch: 1, shard };
            let start = LogStart::empty("unused".into(), identity, 1);
            let log = Log::new(LogOptions { shard, ..LogOptions::default() }, start);
            let mut store = Store::new(StoreOptions { databases: DATABASES, hash_seed: 7 }, log);
            store.set_now(NOW_MS);
            store
        };
        Self {
            stores: (0..shards).map(store).collect(),
            database: DatabaseId(0),
            version: Version::Resp2,
            random: Rng::from_seed(1),
            bulk_bytes_max: 512 << 20,
        }
    }

    pub(super) fn set_now(&mut self, now_ms: u64) {
        self.stores.iter_mut().for_each(|store| store.set_now(now_ms));
    }

    /// Sends words that are separated by spaces; returns the reply as [`render`] shows it.
    pub(super) fn ask(&mut self, line: &str) -> String {
        let args = parse_words(line);
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        render(&self.send(&args))
    }

    /// Sends a command and returns the reply as it goes over the wire.
    pub(super) fn send(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut reply = Vec::new();
        match resolve(args) {
            Err(refusal) => refusal.write(args, &mut Encoder::new(&mut reply, self.version)),
            Ok(command) => match command.run {
                Run::Connection(which) => self.serve(which, args, &mut reply),
                run => reply = self.run(run, command, args, self.version),
            },
        }
        reply
    }

    fn serve(&mut self, command: ConnectionCommand, args: &[&[u8]], reply: &mut Vec<u8>) {
        let mut out = Encoder::new(reply, self.version);
        match command {
            ConnectionCommand::Command(which) => introspect(which, args, &mut out),
            ConnectionCommand::Help => help(args, &mut out),
            ConnectionCommand::Select => {
                self.database = DatabaseId(std::str::from_utf8(args[1]).unwrap().parse().unwrap());
                out.ok();
            }
            ConnectionCommand::Hello => {
                let version = if args[1] == b"3" { Version::Resp3 } else { Version::Resp2 };
                self.version = version;
                out.ok();
            }
            ConnectionCommand::Pfselftest => super::hyperloglog_self_test(&mut out),
            other => panic!("{other:?} is not for these tests"),
        }
    }

    fn run(&mut self, run: Run, command: &Command, args: &[&[u8]], version: Version) -> Vec<u8> {
        let positions: Vec<usize> = command.key_positions(args).map(|(place, _)| place).collect();
        let owners: Vec<usize> = positions.iter().map(|place| self.owner(slot(args[*place]) >> 6)).collect();
        let one = self.stores.len() == 1 || !command.looks_elsewhere(args);
        let common = one && owners.iter().all(|owner| *owner == owners[0]);
        match run {
            Run::Keyed(handler) => {
                assert!(common, "keys of a keyed command on several shards");
                self.keyed(owners.first().copied().unwrap_or(0), handler, args, version)
            }
            Run::Split(handler, _) | Run::Hops(_, handler) if common => {
                self.keyed(owners.first().copied().unwrap_or(0), handler, args, version)
            }
            Run::Split(handler, merge) => {
                let step = usize::from(command.keys.step);
                let parts: Vec<Vec<u8>> = (0..self.stores.len())
                    .map(|shard| {
                        let mine = positions.iter().zip(&owners).filter(|(_, owner)| **owner == shard);
                        let mut part = vec![args[0]];
                        mine.for_each(|(place, _)| part.extend_from_slice(&args[*place..place + step]));
                        if part.len() > 1 { self.keyed(shard, handler, &part, version) } else { Vec::new() }
                    })
                    .collect();
                self.merge(merge, &parts, &owners, version)
            }
            Run::Broadcast(handler, merge) => {
                let parts: Vec<_> =
                    (0..self.stores.len()).map(|shard| self.keyed(shard, handler, args, version)).collect();
                self.merge(merge, &parts, &[], version)
            }
            Run::Cursor(handler) => {
                let shard = self.owner(cursor_group(args[1]).unwrap_or(0).min(255));
                self.keyed(shard, handler, args, version)
            }
            Run::Waits(waiting) if common => {
                self.keyed(owners.first().copied().unwrap_or(0), waiting.keyed, args, version)
            }
            Run::Waits(waiting) => self.hops(waiting.plan, args, version),
            Run::Hops(plan, _) => self.hops(plan, args, version),
            Run::Connection(_) | Run::Container => unreachable!("handled before"),
            Run::Script(_) => panic!("scripts are not for these tests"),
        }
    }

    fn hops(&mut self, plan: super::HopPlan, args: &[&[u8]], version: Version) -> Vec<u8> {
        let mut replies: Vec<Vec<u8>> = Vec::new();
        let mut earlier: Vec<Vec<Vec<u8>>> = Vec::new();
        for round in 0..8 {
            let hop = Hop {
                round,
                args,
                replies: &replies,
                earlier: &earlier,
                version,
                database: self.database,
                databases: DATABASES,
                bulk_bytes_max: self.bulk_bytes_max,
                waiter: None,
            };
            match plan(&hop) {
                HopStep::Reply(reply) => return reply,
                HopStep::Wait { .. } => unreachable!("nobody waits"),
                HopStep::Send(requests) => {
                    if round > 0 {
                        earlier.push(replies);
                    }
                    replies = requests
                        .iter()
                        .map(|request| {
                            let args: Vec<&[u8]> = request.args.iter().map(Vec::as_slice).collect();
                            let command = lookup(args[0]).expect("a known command");
                            assert!(command.accepts(args.len()), "{:?}", request.args);
                            self.run(command.run, command, &args, Version::Resp2)
                        })
                        .collect();
                }
            }
        }
        panic!("a plan without an end");
    }

    fn merge(&mut self, merge: Merge, parts: &[Vec<u8>], owners: &[usize], version: Version) -> Vec<u8> {
        if let Some(error) = error_among(parts) {
            return error.to_vec();
        }
        let mut reply = Vec::new();
        let mut out = Encoder::new(&mut reply, version);
        match merge {
            Merge::Sum => out.integer(parts.iter().filter_map(|part| integer_reply(part)).sum()),
            Merge::Ok => out.ok(),
            Merge::First => out.raw(&parts[0]),
            Merge::Array => {
                let mut parts: Vec<_> = parts.iter().map(|part| elements(part)).collect();
                out.array_header(owners.len());
                for owner in owners {
                    out.raw(parts[*owner].next().expect("an element a key"));
                }
            }
            Merge::Concat => {
                out.array_header(parts.iter().map(|part| elements(part).count()).sum());
                parts.iter().flat_map(|part| elements(part)).for_each(|element| out.raw(element));
            }
            Merge::Custom(merge) => merge(parts, &mut out, &mut self.random),
        }
        reply
    }

    fn keyed(&mut self, shard: usize, handler: Keyed, args: &[&[u8]], version: Version) -> Vec<u8> {
        let mut reply = Vec::new();
        let first = lookup(args[0]).and_then(|command| {
            let command =
                args.get(1).and_then(|name| super::lookup_subcommand(command, name)).unwrap_or(command);
            command.first_key(args)
        });
        let shards = self.stores.len();
        let store = &mut self.stores[shard];
        store.begin_command();
        let mut context = Context {
            store,
            database: self.database,
            out: Encoder::new(&mut reply, version),
            random: &mut self.random,
            shard: ShardId(shard as u16),
            groups: (GROUPS * shard / shards) as u16..(GROUPS * (shard + 1) / shards) as u16,
            slot: first.map_or(0, slot),
            bulk_bytes_max: self.bulk_bytes_max,
            nothing: false,
            hll_sparse_bytes_max: 3000,
        };
        handler(&mut context, args);
        store.end_command();
        assert_eq!(rendered(&reply).1, reply.len(), "one reply a command: {args:?}");
        reply
    }

    fn owner(&self, group: u16) -> usize {
        let shards = self.stores.len();
        (0..shards)
            .find(|shard| usize::from(group) < GROUPS * (shard + 1) / shards)
            .expect("every group has an owner")
    }
}

/// Words as they stand, or in double quotes with `\xHH` for what cannot be shown.
pub(super) fn parse_words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, tail) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').expect("a closing quote");
            (unescape(&quoted[..end]), &quoted[end + 1..])
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            (rest.as_bytes()[..end].to_vec(), &rest[end..])
        };
        words.push(word);
        rest = tail.trim_start();
    }
    words
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        bytes.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).expect("two hexadecimal digits"));
        rest = &rest[at + 4..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// A reply on one line: bulk strings in quotes, arrays in brackets, maps in braces, sets in angles.
pub(super) fn render(reply: &[u8]) -> String {
    rendered(reply).0
}

fn rendered(reply: &[u8]) -> (String, usize) {
    let line_end = reply.windows(2).position(|pair| pair == b"\r\n").expect("a whole line");
    let line: String = reply[1..line_end].iter().map(|byte| char::from(*byte)).collect();
    let mut used = line_end + 2;
    let count = || line.parse::<i64>().expect("a number");
    let text = match reply[0] {
        b'$' if count() >= 0 => {
            let bytes = &reply[used..used + count() as usize];
            used += bytes.len() + 2;
            quote(bytes)
        }
        b'*' | b'~' | b'%' if count() >= 0 => {
            let values = count() * if reply[0] == b'%' { 2 } else { 1 };
            let inner: Vec<String> = (0..values)
                .map(|_| {
                    let (text, bytes) = rendered(&reply[used..]);
                    used += bytes;
                    text
                })
                .collect();
            let (open, close) = match reply[0] {
                b'*' => ('[', ']'),
                b'~' => ('<', '>'),
                _ => ('{', '}'),
            };
            format!("{open}{}{close}", inner.join(" "))
        }
        kind => format!("{}{line}", char::from(kind)),
    };
    (text, used)
}

fn quote(bytes: &[u8]) -> String {
    let mut text = String::from('"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' | 0..32 | 127.. => write!(text, "\\x{byte:02x}").expect("strings take all"),
            _ => text.push(char::from(*byte)),
        }
    }
    text + "\""
}

/// Plays a transcript: `> command` and below it `< reply`. Replies to `KEYS` are compared without their order.
pub(super) fn play(name: &str, transcript: &str, shards: usize) {
    let mut server = Server::new(shards);
    let mut lines = transcript.lines().enumerate().filter(|(_, line)| line.starts_with(['>', '<']));
    while let (Some((number, command)), Some((_, expected))) = (lines.next(), lines.next()) {
        let command = command.strip_prefix("> ").expect("a command");
        let expected = expected.strip_prefix("< ").expect("a reply");
        let reply = server.ask(command);
        let sorted = |text: &str| {
            let mut words: Vec<_> = text.trim_matches(['[', ']']).split(' ').map(str::to_owned).collect();
            words.sort_unstable();
            words
        };
        let same =
            if command.starts_with("KEYS ") { sorted(&reply) == sorted(expected) } else { reply == expected };
        assert!(same, "{name}:{}: {command}\n redis: {expected}\n ours:  {reply}", number + 1);
    }
}

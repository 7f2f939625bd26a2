//! A simulated server without faults, and callers who wait for each reply: what scripts are run against. It can be started on a
//! disk with anything on it, and stopped and started again.

use std::collections::BTreeMap;

use annulus::runtime::sim::{ConnectionId, CrashStyle, Faults, World};
use annulus_storage::disk::memory::MemoryDisk;
use annulus_storage::{Durability, ShardId};

use super::server::{Configuration, Server, StartFailure};
use crate::resp::{Value, encode, parse};
use crate::script::Speaker;

/// Unix time at the start, µs.
const BEGIN_UNIX_US: i64 = 1_700_000_000_000_000;
/// How long a reply may take, ns of virtual time.
const PATIENCE_NS: u64 = 30_000_000_000;
/// How long a turn takes, ns.
const TURN_NS: u64 = 1_000;
/// A server that has sent nothing for so long has nothing more to send, ns.
const SILENCE_NS: u64 = 5_000_000;
/// Numbered databases.
const DATABASES: u32 = 16;
/// A key that expires earlier than this after the start is not compared, ms.
const SOON_MS: i64 = 3_600_000;

/// See the module's documentation.
#[derive(Debug)]
pub struct Host {
    world: World,
    configuration: Configuration,
    server: Server,
}

/// Each key with its database: its type, when it expires, and all that is in it.
pub type Keys = BTreeMap<(u32, Vec<u8>), [Value; 3]>;

/// A connection to a [`Host`], which runs while it waits.
#[derive(Debug)]
pub struct Caller<'h> {
    host: &'h mut Host,
    connection: ConnectionId,
    inbox: Vec<u8>,
}

impl Host {
    /// A server of so many shards. Without durability, as all servers that scripts are run against: CONFIG shows it.
    pub fn start(shards: u16) -> Self {
        let started = Self::start_on(MemoryDisk::new(), shards);
        started.unwrap_or_else(|failure| panic!("nothing fails here: {failure:?}"))
    }

    /// The same on a disk with something on it, which may be refused.
    pub fn start_on(disk: MemoryDisk, shards: u16) -> Result<Self, StartFailure> {
        Self::start_with(disk, Self::configuration(shards))
    }

    /// How a server of so many shards is started.
    pub fn configuration(shards: u16) -> Configuration {
        Configuration {
            shards,
            databases: DATABASES,
            durability: Durability::None,
            segment_bytes: 1 << 20,
            checkpoint_growth: 0,
            saves_at_stop: false,
            retention_seconds: 0,
            commit_depth: 2,
            commit_fill_us: 0,
            mesh_capacity: 256,
            loses_messages: 0,
        }
    }

    /// A server that is started in some other way, on a disk with something on it: it may be refused.
    pub fn start_with(disk: MemoryDisk, configuration: Configuration) -> Result<Self, StartFailure> {
        let faults = Faults { disk_ns: (20_000, 60_000), network_ns: (5_000, 20_000), ..Faults::default() };
        let world = World::new(u64::from(configuration.shards), faults, false);
        world.replace_memory(disk);
        world.jump_unix(BEGIN_UNIX_US);
        let server = Server::start(&world, &configuration, None)?;
        Ok(Self { world, configuration, server })
    }

    /// Stops the server, and starts it again on what it has left.
    #[must_use]
    pub fn restart(self) -> Self {
        let (world, configuration) = self.end();
        let server = Server::start(&world, &configuration, None);
        let server = server.unwrap_or_else(|failure| panic!("the start after a clean stop: {failure:?}"));
        Self { world, configuration, server }
    }

    /// Stops the server; the disk as it leaves it.
    pub fn stop(self) -> MemoryDisk {
        self.end().0.memory()
    }

    /// Ends the server at once, and leaves of the disk what is durable.
    pub fn kill(self) -> MemoryDisk {
        let Self { world, server, .. } = self;
        drop(server);
        world.crash(CrashStyle::Nothing);
        world.memory()
    }

    fn end(mut self) -> (World, Configuration) {
        self.server.stop();
        let until_ns = self.world.now_ns() + PATIENCE_NS;
        while !self.server.is_stopped() {
            self.step();
            assert!(self.world.now_ns() < until_ns, "a stop does not end");
        }
        assert!(self.server.is_sealed(), "a stop on a healthy disk has not sealed the log");
        let Self { world, configuration, server } = self;
        drop(server);
        world.crash(CrashStyle::Everything);
        world.forget_connections();
        (world, configuration)
    }

    /// The disk.
    pub fn disk(&self) -> MemoryDisk {
        self.world.memory()
    }

    /// A new connection, for [`Self::send`] and [`Self::run`].
    pub fn open(&mut self) -> ConnectionId {
        self.world.connect(ShardId(0), 0)
    }

    /// Sends any bytes.
    pub fn send(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.world.client_send(connection, bytes);
    }

    /// Ends a connection.
    pub fn close(&mut self, connection: ConnectionId) {
        self.world.client_close(connection);
    }

    /// Runs until nothing more comes, or the server closes; what came.
    pub fn run(&mut self, connection: ConnectionId) -> Vec<u8> {
        let mut replies = Vec::new();
        let mut until_ns = self.world.now_ns() + SILENCE_NS;
        while self.world.now_ns() < until_ns {
            self.step();
            let received = self.world.client_receive(connection);
            if !received.bytes.is_empty() {
                replies.extend_from_slice(&received.bytes);
                until_ns = self.world.now_ns() + SILENCE_NS;
            }
            if received.closed {
                break;
            }
        }
        replies
    }

    /// All keys, but for those that expire soon.
    pub fn keys(&mut self) -> Keys {
        let mut keys = Keys::new();
        let mut caller = self.connect();
        let ask = |caller: &mut Caller<'_>, words: &[&[u8]]| {
            caller.ask(&words.iter().map(|word| word.to_vec()).collect::<Vec<_>>())
        };
        for database in 0..DATABASES {
            ask(&mut caller, &[b"SELECT", database.to_string().as_bytes()]);
            let Value::Array(names) = ask(&mut caller, &[b"KEYS", b"*"]) else { continue };
            for name in names {
                let Value::Bulk(name) = name else { continue };
                let expires = ask(&mut caller, &[b"PEXPIRETIME", &name]);
                let soon = BEGIN_UNIX_US / 1000 + SOON_MS;
                if matches!(expires, Value::Integer(at) if at != -1 && at < soon) {
                    continue;
                }
                let kind = ask(&mut caller, &[b"TYPE", &name]);
                let text = if let Value::Simple(text) = &kind { text.as_slice() } else { b"" };
                let value = match text {
                    b"string" => ask(&mut caller, &[b"GET", &name]),
                    b"list" => ask(&mut caller, &[b"LRANGE", &name, b"0", b"-1"]),
                    b"hash" => in_order(ask(&mut caller, &[b"HGETALL", &name]), 2),
                    b"set" => in_order(ask(&mut caller, &[b"SMEMBERS", &name]), 1),
                    b"zset" => ask(&mut caller, &[b"ZRANGE", &name, b"0", b"-1", b"WITHSCORES"]),
                    b"stream" => ask(&mut caller, &[b"XINFO", b"STREAM", &name, b"FULL", b"COUNT", b"0"]),
                    _ => Value::NullBulk,
                };
                keys.insert((database, name), [kind, expires, value]);
            }
        }
        keys
    }

    /// A new connection, to everybody's listener.
    pub fn connect(&mut self) -> Caller<'_> {
        let connection = self.world.connect(ShardId(0), 0);
        Caller { host: self, connection, inbox: Vec::new() }
    }

    /// Lets every shard that can go on take half a turn; if none can, time passes until one can, or a client has something to read.
    fn step(&mut self) {
        let now_ns = self.world.now_ns();
        let (ready, next_ns) = self.server.ready(now_ns);
        for &shard in &ready {
            self.server.step(shard).expect("a simulated driver does not fail");
        }
        let next_ns = if ready.is_empty() {
            let due = next_ns.into_iter().chain(self.world.clients_due_ns()).min();
            due.unwrap_or(now_ns + PATIENCE_NS)
        } else {
            now_ns
        };
        self.world.advance_to(next_ns.max(now_ns + TURN_NS));
    }
}

impl Caller<'_> {
    /// Sends some commands at once. An error if the server doesn't answer.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Result<Vec<Value>, String> {
        let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
        self.host.world.client_send(self.connection, &bytes);
        let until_ns = self.host.world.now_ns() + PATIENCE_NS;
        let mut replies = Vec::with_capacity(commands.len());
        let mut at = 0;
        while replies.len() < commands.len() {
            self.host.step();
            let received = self.host.world.client_receive(self.connection);
            self.inbox.extend_from_slice(&received.bytes);
            while !received.bytes.is_empty()
                && let Some((reply, bytes)) = parse(&self.inbox[at..]).map_err(|error| error.to_string())?
            {
                replies.push(reply);
                at += bytes;
            }
            if received.closed {
                return Err("the server has closed the connection instead of answering".to_owned());
            }
            if self.host.world.now_ns() > until_ns {
                return Err("no reply".to_owned());
            }
        }
        self.inbox.drain(..at);
        Ok(replies)
    }
}

impl Speaker for Caller<'_> {
    fn ask(&mut self, arguments: &[Vec<u8>]) -> Value {
        self.host.world.client_send(self.connection, &encode(arguments));
        let until_ns = self.host.world.now_ns() + PATIENCE_NS;
        loop {
            self.host.step();
            let received = self.host.world.client_receive(self.connection);
            self.inbox.extend_from_slice(&received.bytes);
            let reply = parse(&self.inbox).unwrap_or_else(|error| panic!("no RESP: {error}"));
            if let Some((reply, bytes)) = reply {
                self.inbox.drain(..bytes);
                return reply;
            }
            assert!(!received.closed, "the server has closed the connection instead of answering");
            assert!(self.host.world.now_ns() < until_ns, "no reply to {arguments:?}");
        }
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.host.world.client_close(self.connection);
    }
}

/// What has no order of its own, in one; in pieces of so many elements.
fn in_order(value: Value, piece: usize) -> Value {
    let Value::Array(items) = value else { return value };
    let mut pieces: Vec<Vec<Value>> = items.chunks(piece).map(<[Value]>::to_vec).collect();
    pieces.sort();
    Value::Array(pieces.concat())
}

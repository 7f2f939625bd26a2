//! A simulated server without faults, and callers who wait for each reply: what scripts are run against.

use annulus::runtime::sim::{ConnectionId, Faults, World};
use annulus_storage::{Durability, ShardId};

use super::server::{Configuration, Server};
use crate::resp::{Value, encode, parse};
use crate::script::Speaker;

/// Unix time at the start, µs.
const BEGIN_UNIX_US: i64 = 1_700_000_000_000_000;
/// How long a reply may take, ns of virtual time.
const PATIENCE_NS: u64 = 30_000_000_000;
/// How long a turn takes, ns.
const TURN_NS: u64 = 1_000;

/// See the module's documentation.
#[derive(Debug)]
pub struct Host {
    world: World,
    server: Server,
}

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
        let faults = Faults { disk_ns: (20_000, 60_000), network_ns: (5_000, 20_000), ..Faults::default() };
        let world = World::new(u64::from(shards), faults, false);
        world.jump_unix(BEGIN_UNIX_US);
        let configuration = Configuration {
            shards,
            databases: 16,
            durability: Durability::None,
            segment_bytes: 1 << 20,
            checkpoint_growth: 0,
            saves_at_stop: false,
            commit_depth: 2,
            mesh_capacity: 256,
            loses_messages: 0,
        };
        let server = Server::start(&world, &configuration, None);
        let server = server.unwrap_or_else(|failure| panic!("nothing fails here: {failure:?}"));
        Self { world, server }
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

//! A world: everything outside the shards.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use annulus_storage::ShardId;
use annulus_storage::disk::memory::MemoryDisk;

use super::super::RuntimeDisk;
use super::super::clock::{Clock, VirtualTime};
use super::super::driver::{AnyDriver, DiskOp, DiskResult, DiskToken, SocketId};
use super::super::peers::Peers;
use super::disk::{self, Files};
use super::faults::{CrashStyle, Faults, Luck, latency};
use super::network::{Connection, ConnectionId, Received, ToClient, ToServer};
use super::trace::Trace;
use super::{Sim, SimDisk};

/// Something that a shard is to learn at a time.
#[derive(Debug)]
pub(super) enum Pending {
    Disk(DiskToken, DiskOp),
    /// The result was given before (a planted mistake): only the disk is still to learn of it.
    DiskAnswered(DiskOp),
    DiskDone(DiskToken, DiskResult),
    Accept {
        listener: usize,
        connection: u32,
    },
    Sent {
        socket: SocketId,
        buffer: Vec<u8>,
        result: std::io::Result<()>,
    },
    Woken,
}

#[derive(Debug, Default)]
pub(super) struct ShardState {
    /// By time, then in the order of queueing.
    pub(super) pending: BTreeMap<(u64, u64), Pending>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) time: Arc<VirtualTime>,
    pub(super) random: Luck,
    pub(super) faults: Faults,
    pub(super) trace: Trace,
    pub(super) memory: MemoryDisk,
    pub(super) files: Files,
    pub(super) shards: Vec<ShardState>,
    pub(super) connections: Vec<Connection>,
    sequence: u64,
    /// One shard recovers alone: waiting moves time on.
    pub(super) solo: bool,
    /// Turns until the power goes in the middle of a start.
    pub(super) power_cut_in: Option<u32>,
}

/// A simulated machine and all around it; clones are the same one.
#[derive(Clone, Debug)]
pub struct World {
    pub(super) state: Rc<RefCell<State>>,
}

impl State {
    pub(super) fn now_ns(&self) -> u64 {
        self.time.monotonic_ns()
    }

    pub(super) fn queue(&mut self, shard: ShardId, at_ns: u64, what: Pending) {
        self.sequence += 1;
        if self.shards.len() <= shard.index() {
            self.shards.resize_with(shard.index() + 1, ShardState::default);
        }
        self.shards[shard.index()].pending.insert((at_ns, self.sequence), what);
    }

    pub(super) fn disk_latency(&mut self) -> u64 {
        latency(&mut self.random, self.faults.disk_ns, &self.faults)
    }

    pub(super) fn network_latency(&mut self) -> u64 {
        latency(&mut self.random, self.faults.network_ns, &self.faults)
    }

    /// The next thing that a shard is to learn by now.
    pub(super) fn take_due(&mut self, shard: ShardId) -> Option<Pending> {
        let now_ns = self.now_ns();
        let first = self.shards.get_mut(shard.index())?.pending.first_entry()?;
        (first.key().0 <= now_ns).then(|| first.remove())
    }

    /// When a shard next has something to learn.
    pub(super) fn due_ns(&self, shard: ShardId) -> Option<u64> {
        let pending = self.shards.get(shard.index()).and_then(|it| it.pending.keys().next()).map(|key| key.0);
        let received = self
            .connections
            .iter()
            .filter(|it| it.served_by.is_some_and(|(by, _)| by == shard) && !it.server_gone)
            .filter_map(Connection::server_due_ns)
            .min();
        pending.into_iter().chain(received).min()
    }

    /// Sends a client bytes in pieces; returns when the last has arrived.
    pub(super) fn send_to_client(&mut self, connection: u32, bytes: &[u8]) -> u64 {
        let mut at_ns = self.now_ns().max(self.connections[connection as usize].reads_from_ns);
        for piece in self.pieces(bytes) {
            at_ns += self.network_latency();
            at_ns = self.connections[connection as usize].queue_to_client(at_ns, ToClient::Bytes(piece));
        }
        at_ns
    }

    fn pieces(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while rest.len() > 1
            && pieces.len() < 8
            && self.random.happens("bytes cut into pieces", self.faults.fragment)
        {
            let (piece, after) = rest.split_at(1 + self.random.below(rest.len() as u64 - 1) as usize);
            pieces.push(piece.to_vec());
            rest = after;
        }
        pieces.push(rest.to_vec());
        pieces
    }
}

impl World {
    /// An empty world. A readable trace costs memory.
    pub fn new(seed: u64, faults: Faults, readable_trace: bool) -> World {
        World::made(seed, faults, Arc::default(), Trace::new(readable_trace))
    }

    /// Another machine in the same world: time passes for both together, and they write to one trace; all else is its own.
    #[must_use]
    pub fn beside(&self, seed: u64, faults: Faults) -> World {
        let state = self.state.borrow();
        World::made(seed, faults, Arc::new(state.time.beside()), state.trace.beside())
    }

    fn made(seed: u64, faults: Faults, time: Arc<VirtualTime>, trace: Trace) -> World {
        let state = State {
            time,
            random: Luck::new(seed),
            faults,
            trace,
            memory: MemoryDisk::new(),
            files: Files::default(),
            shards: Vec::new(),
            connections: Vec::new(),
            sequence: 0,
            solo: false,
            power_cut_in: None,
        };
        World { state: Rc::new(RefCell::new(state)) }
    }

    /// A shard's driver.
    pub fn driver(&self, shard: ShardId, peers: Peers) -> AnyDriver {
        AnyDriver::Sim(Box::new(Sim::new(self.clone(), shard, peers)))
    }

    /// A shard's way to files.
    pub fn disk(&self) -> RuntimeDisk {
        RuntimeDisk::simulated(SimDisk::new(self.clone(), self.memory()))
    }

    /// The disk itself.
    pub fn memory(&self) -> MemoryDisk {
        self.state.borrow().memory.clone()
    }

    /// Puts another disk in its place, between a crash and a start.
    pub fn replace_memory(&self, memory: MemoryDisk) {
        self.state.borrow_mut().memory = memory;
    }

    /// The world's clocks.
    pub fn clock(&self) -> Clock {
        Clock::simulated(Arc::clone(&self.state.borrow().time))
    }

    /// Now, monotonic ns.
    pub fn now_ns(&self) -> u64 {
        self.state.borrow().now_ns()
    }

    /// The Unix clock, ms.
    pub fn unix_ms(&self) -> u64 {
        self.clock().read().unix_ms()
    }

    /// Moves time on.
    pub fn advance_to(&self, at_ns: u64) {
        self.state.borrow().time.advance_to(at_ns);
    }

    /// Makes the Unix clock jump.
    pub fn jump_unix(&self, by_us: i64) {
        self.state.borrow().time.jump_unix(by_us);
    }

    /// Changes what goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.state.borrow_mut().faults = faults;
    }

    /// A number below `bound`, for whoever runs the simulation.
    pub fn below(&self, bound: u64) -> u64 {
        self.state.borrow_mut().random.below(bound)
    }

    /// What faults have happened since the last call, and how often.
    pub fn take_happened(&self) -> BTreeMap<&'static str, u64> {
        self.state.borrow_mut().random.take_happened()
    }

    /// Adds to the trace.
    pub fn note(&self, kind: &str, bytes: &[u8], text: impl FnOnce() -> String) {
        let state = self.state.borrow();
        let now_ns = state.now_ns();
        state.trace.note(now_ns, kind, bytes, text);
    }

    /// Of everything that happened so far.
    pub fn trace_hash(&self) -> u64 {
        self.state.borrow().trace.hash()
    }

    /// The readable trace so far, once.
    pub fn take_trace(&self) -> Vec<String> {
        self.state.borrow().trace.take_lines()
    }

    /// Begins a start: shards recover one after the other, and waiting moves time on. The power goes after so
    /// many of their turns, if told to.
    pub fn begin_start(&self, power_cut_in: Option<u32>) {
        let mut state = self.state.borrow_mut();
        state.solo = true;
        state.power_cut_in = power_cut_in;
    }

    /// Ends a start.
    pub fn end_start(&self) {
        let mut state = self.state.borrow_mut();
        state.solo = false;
        state.power_cut_in = None;
    }

    /// When a shard next has something to learn.
    pub fn due_ns(&self, shard: ShardId) -> Option<u64> {
        self.state.borrow().due_ns(shard)
    }

    /// When some client next has something to read.
    pub fn clients_due_ns(&self) -> Option<u64> {
        let state = self.state.borrow();
        state
            .connections
            .iter()
            .filter(|it| !it.client_gone)
            .filter_map(|it| it.to_client.front())
            .map(|it| it.0)
            .min()
    }

    /// The power goes: the shards must have been dropped. Of what is on its way, writes leave any part, replies that had been handed
    /// to the network arrive or not. Every connection ends.
    pub fn crash(&self, style: CrashStyle) {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let mut caught: Vec<DiskOp> = Vec::new();
        for shard in &mut state.shards {
            for (_, pending) in std::mem::take(&mut shard.pending) {
                if let Pending::Disk(_, op) | Pending::DiskAnswered(op) = pending {
                    caught.push(op);
                }
            }
        }
        if style != CrashStyle::Nothing {
            while !caught.is_empty() {
                let op = caught.swap_remove(state.random.below(caught.len() as u64) as usize);
                disk::catch(&state.memory, &state.files, &mut state.random, &op);
            }
        }
        state.memory = disk::after_crash(&state.memory, &mut state.random, style);
        state.files.clear();
        let replies_arrive = state.random.below(2) == 0;
        let now_ns = state.now_ns();
        for connection in &mut state.connections {
            connection.to_server.clear();
            connection.server_gone = true;
            if replies_arrive {
                connection.to_client.iter_mut().for_each(|(at, _)| *at = now_ns);
            } else {
                connection.to_client.clear();
            }
            connection.to_client.push_back((now_ns, ToClient::Close));
        }
        state.trace.note(now_ns, "crash", &[style as u8, u8::from(replies_arrive)], || format!("{style:?}"));
    }

    /// Forgets ended connections; their numbers are used again.
    pub fn forget_connections(&self) {
        self.state.borrow_mut().connections.clear();
    }

    /// A client connects to a listener of a shard.
    pub fn connect(&self, shard: ShardId, listener: usize) -> ConnectionId {
        let mut state = self.state.borrow_mut();
        let connection = state.connections.len() as u32;
        state.connections.push(Connection::default());
        let at_ns = state.now_ns() + state.network_latency();
        state.queue(shard, at_ns, Pending::Accept { listener, connection });
        ConnectionId(connection)
    }

    /// A client sends.
    pub fn client_send(&self, connection: ConnectionId, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        let mut at_ns = state.now_ns();
        for piece in state.pieces(bytes) {
            at_ns += state.network_latency();
            let connection = &mut state.connections[connection.0 as usize];
            at_ns = connection.queue_to_server(at_ns, ToServer::Bytes(piece));
        }
    }

    /// A client finishes sending, and still reads.
    pub fn client_finish(&self, connection: ConnectionId) {
        let mut state = self.state.borrow_mut();
        let at_ns = state.now_ns() + state.network_latency();
        state.connections[connection.0 as usize].queue_to_server(at_ns, ToServer::Finish);
    }

    /// A client goes away without a word.
    pub fn client_close(&self, connection: ConnectionId) {
        let mut state = self.state.borrow_mut();
        let at_ns = state.now_ns() + state.network_latency();
        let connection = &mut state.connections[connection.0 as usize];
        connection.client_gone = true;
        connection.to_client.clear();
        connection.queue_to_server(at_ns, ToServer::Reset);
    }

    /// A client reads nothing before that time.
    pub fn client_rests(&self, connection: ConnectionId, until_ns: u64) {
        self.state.borrow_mut().connections[connection.0 as usize].reads_from_ns = until_ns;
    }

    /// What a client finds to read.
    pub fn client_receive(&self, connection: ConnectionId) -> Received {
        let mut state = self.state.borrow_mut();
        let now_ns = state.now_ns();
        state.connections[connection.0 as usize].take_for_client(now_ns)
    }
}

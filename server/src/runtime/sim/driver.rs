//! One shard's driver in a simulated world.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use annulus_storage::{AlignedBuffer, ShardId};
use slab::Slab;

use super::super::driver::{
    DiskOp, DiskResult, DiskToken, Driver, Event, NewSocket, Peer, ReceivedBytes, SendNotice, SocketHandle,
    SocketId, Wait,
};
use super::super::peers::Peers;
use super::network::{SimSocket, ToClient, ToServer};
use super::world::{Pending, State};
use super::{World, disk};

/// The driver of one shard; see the module's documentation.
#[derive(Debug)]
pub struct Sim {
    world: World,
    shard: ShardId,
    peers: Peers,
    /// Connections by socket.
    sockets: Slab<u32>,
    /// Closed sockets, whose numbers are free from the next turn on.
    released: Vec<SocketId>,
    received: Slab<Vec<u8>>,
    listening: bool,
    turns: u64,
}

impl Sim {
    pub(super) fn new(world: World, shard: ShardId, peers: Peers) -> Self {
        Sim {
            world,
            shard,
            peers,
            sockets: Slab::new(),
            released: Vec::new(),
            received: Slab::new(),
            listening: true,
            turns: 0,
        }
    }

    fn take_due(&mut self, state: &mut State, events: &mut Vec<Event>) {
        while let Some(pending) = state.take_due(self.shard) {
            self.take_pending(state, pending, events);
        }
        for (socket, connection) in &self.sockets {
            let socket = SocketId(socket as u32);
            if !self.released.contains(&socket) {
                take_received(state, &mut self.received, socket, *connection, events);
            }
        }
    }

    fn take_pending(&mut self, state: &mut State, pending: Pending, events: &mut Vec<Event>) {
        match pending {
            Pending::Disk(token, op) => {
                let what = name_of(&op);
                let State { memory, files, faults, random, .. } = state;
                let result = disk::perform(memory, files, faults, random, token, op);
                self.note(state, what, token, &result);
                events.push(Event::Disk { token, result });
            }
            Pending::DiskAnswered(op) => {
                let State { memory, files, faults, random, .. } = state;
                disk::perform(memory, files, faults, random, DiskToken::Commit(0), op);
            }
            Pending::DiskDone(token, result) => events.push(Event::Disk { token, result }),
            Pending::Accept { listener, connection } => self.accept_one(state, listener, connection, events),
            Pending::Sent { socket, buffer, result } => events.push(Event::Sent { socket, buffer, result }),
            Pending::Woken => events.push(Event::Woken),
        }
    }

    fn accept_one(&self, state: &State, listener: usize, connection: u32, events: &mut Vec<Event>) {
        let dropped = std::sync::Arc::clone(&state.connections[connection as usize].dropped);
        let socket = SimSocket { connection, dropped, adopted: false };
        if self.listening {
            let peer =
                Peer { remote: format!("sim:{connection}"), local: "sim:0".to_owned(), is_local: true };
            let socket = NewSocket { handle: SocketHandle::Simulated(socket), peer };
            events.push(Event::Accepted { listener, socket });
        }
    }

    fn note(&self, state: &mut State, what: &'static str, token: DiskToken, result: &DiskResult) {
        let (number, ok) = match (token, result) {
            (DiskToken::Commit(id), DiskResult::Transferred(result, _)) => (id, result.is_ok()),
            (DiskToken::Task(id), DiskResult::Opened(result)) => (u64::from(id), result.is_ok()),
            (DiskToken::Task(id), DiskResult::Done(result)) => (u64::from(id), result.is_ok()),
            (DiskToken::Task(id), DiskResult::Transferred(result, _)) => (u64::from(id), result.is_ok()),
            (DiskToken::Commit(id), _) => (id, false),
        };
        let (shard, now_ns) = (self.shard.0, state.now_ns());
        let bytes = [shard.to_le_bytes()[0], number as u8, u8::from(ok)];
        state.trace.note(now_ns, what, &bytes, || {
            format!("shard {shard} {token:?} {}", if ok { "done" } else { "FAILED" })
        });
    }
}

fn name_of(op: &DiskOp) -> &'static str {
    match op {
        DiskOp::Open { .. } => "open",
        DiskOp::Read { .. } => "read",
        DiskOp::Write { .. } => "write",
        DiskOp::Sync { .. } => "sync",
        DiskOp::Allocate { .. } => "allocate",
        DiskOp::Rename { .. } => "rename",
        DiskOp::Remove { .. } => "remove",
    }
}

/// At most a few pieces of one connection in one turn.
fn take_received(
    state: &mut State,
    received: &mut Slab<Vec<u8>>,
    socket: SocketId,
    connection: u32,
    events: &mut Vec<Event>,
) {
    let now_ns = state.now_ns();
    let connection = &mut state.connections[connection as usize];
    while connection.server_due_ns().is_some_and(|at| at <= now_ns) {
        match connection.to_server.pop_front() {
            Some((_, ToServer::Bytes(bytes))) => {
                let len = bytes.len() as u32;
                let buffer = received.insert(bytes) as u32;
                events.push(Event::Received { socket, bytes: ReceivedBytes { buffer, offset: 0, len } });
            }
            Some((_, ToServer::Finish)) => events.push(Event::Ended { socket }),
            Some((_, ToServer::Reset)) => events.push(Event::Broken { socket }),
            None => break,
        }
    }
}

impl Driver for Sim {
    fn listen(&mut self, _socket: OwnedFd) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a simulated shard listens without a descriptor"))
    }

    fn accept(&mut self, _listener: usize) {}

    fn stop_listening(&mut self) {
        self.listening = false;
    }

    fn adopt(&mut self, socket: NewSocket) -> io::Result<SocketId> {
        let SocketHandle::Simulated(mut socket) = socket.handle else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a real socket in a simulated world"));
        };
        socket.adopted = true;
        let id = SocketId(self.sockets.insert(socket.connection) as u32);
        self.world.state.borrow_mut().connections[socket.connection as usize].served_by =
            Some((self.shard, id));
        Ok(id)
    }

    fn pause(&mut self, socket: SocketId) {
        let connection = self.sockets[socket.index()];
        self.world.state.borrow_mut().connections[connection as usize].paused = true;
    }

    fn resume(&mut self, socket: SocketId) {
        let connection = self.sockets[socket.index()];
        self.world.state.borrow_mut().connections[connection as usize].paused = false;
    }

    fn send(&mut self, socket: SocketId, buffer: Vec<u8>, _notice: SendNotice) {
        let connection = self.sockets[socket.index()];
        let mut state = self.world.state.borrow_mut();
        let fails = state.connections[connection as usize].client_gone || {
            let State { random, faults, .. } = &mut *state;
            random.happens("send fails", faults.send_error)
        };
        let (at_ns, result) = if fails {
            let at_ns = state.now_ns() + state.network_latency();
            (at_ns, Err(io::ErrorKind::BrokenPipe.into()))
        } else {
            (state.send_to_client(connection, &buffer), Ok(()))
        };
        let now_ns = state.now_ns();
        state.trace.note(now_ns, "send", &buffer, || {
            format!("connection {connection}: {}", String::from_utf8_lossy(&buffer).escape_debug())
        });
        state.queue(self.shard, at_ns, Pending::Sent { socket, buffer, result });
    }

    fn close(&mut self, socket: SocketId) {
        let connection = self.sockets[socket.index()];
        let mut guard = self.world.state.borrow_mut();
        let state = &mut *guard;
        if let Some(shard) = state.shards.get_mut(self.shard.index()) {
            shard.pending.retain(|_, it| !matches!(it, Pending::Sent { socket: of, .. } if *of == socket));
        }
        let at_ns = state.now_ns() + state.network_latency();
        let ended = &mut state.connections[connection as usize];
        assert!(!ended.server_gone, "socket {} closed twice", socket.0);
        ended.server_gone = true;
        ended.to_server.clear();
        ended.queue_to_client(at_ns, ToClient::Close);
        self.released.push(socket);
    }

    fn disk(&mut self, token: DiskToken, op: DiskOp) {
        let mut state = self.world.state.borrow_mut();
        let at_ns = state.now_ns() + state.disk_latency();
        match (token, op) {
            (DiskToken::Commit(_), DiskOp::Write { file, buffer, offset, len, sync })
                if state.faults.planted.acknowledge_early =>
            {
                let mut copy = AlignedBuffer::new(len);
                copy[..len].copy_from_slice(&buffer[..len]);
                let now_ns = state.now_ns();
                let late = DiskOp::Write { file, buffer: copy, offset, len, sync };
                state.queue(self.shard, at_ns, Pending::DiskAnswered(late));
                let result = DiskResult::Transferred(Ok(len), buffer);
                state.queue(self.shard, now_ns, Pending::DiskDone(token, result));
            }
            (token, op) => state.queue(self.shard, at_ns, Pending::Disk(token, op)),
        }
    }

    fn wake(&mut self, shard: ShardId) {
        let mut state = self.world.state.borrow_mut();
        let at_ns = state.now_ns() + state.random.below(2_000);
        state.queue(shard, at_ns, Pending::Woken);
    }

    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        self.turns += 1;
        for socket in self.released.drain(..) {
            self.sockets.remove(socket.index());
        }
        let world = self.world.clone();
        let mut guard = world.state.borrow_mut();
        let state = &mut *guard;
        if let Some(left) = &mut state.power_cut_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Err(io::Error::other("the power is gone"));
            }
        }
        if state.solo {
            let deadline_ns = match wait {
                Wait::Poll => Some(state.now_ns()),
                Wait::Forever => None,
                Wait::AtMost(time) => Some(state.now_ns() + nanoseconds(time)),
            };
            let until_ns = deadline_ns.into_iter().chain(state.due_ns(self.shard)).min();
            let Some(until_ns) = until_ns else {
                return Err(io::Error::new(io::ErrorKind::Deadlock, "a start waits for nothing"));
            };
            state.time.advance_to(until_ns);
        }
        if self.peers.take_woken(self.shard) {
            events.push(Event::Woken);
        }
        self.take_due(state, events);
        Ok(())
    }

    fn bytes(&self, received: &ReceivedBytes) -> &[u8] {
        &self.received[received.buffer as usize]
    }

    fn recycle(&mut self, received: ReceivedBytes) {
        self.received.remove(received.buffer as usize);
    }

    fn turns(&self) -> u64 {
        self.turns
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

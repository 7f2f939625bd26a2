//! The epoll backend: a reactor over non-blocking sockets, and a few threads for files. For hosts where io_uring is
//! forbidden.
//!
//! Sockets are registered once, edge-triggered, for both directions. Invariants:
//! - a socket that may have more to read, or has something to send and may take it, is in the `ready` list: its
//!   edge will not come again;
//! - received bytes lie side by side in one arena that is empty again before the next turn reads.

mod disk_threads;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use annulus_storage::ShardId;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{RecvFlags, SendFlags};
use slab::Slab;

use self::disk_threads::DiskThreads;
use super::driver::{DiskOp, DiskToken, Driver, Event, NewSocket, ReceivedBytes, SendNotice, SocketId, Wait};
use super::listen;
use super::peers::Peers;

/// Bytes received in one turn at most.
const ARENA_BYTES: usize = 1 << 20;
/// Bytes taken from one socket in one turn at most, so that a fast sender does not starve the rest.
const RECEIVE_BYTES_MAX: usize = 64 << 10;
/// Connections accepted from one listener in one turn at most.
const ACCEPTS_MAX: usize = 64;
const EVENTS_MAX: usize = 1024;
const _: () = assert!(RECEIVE_BYTES_MAX <= ARENA_BYTES);

/// Marks in an event's data: sockets are their number, listeners from here down, the wake-up at the very top.
const WAKE: u64 = u64::MAX;
const LISTENER: u64 = 1 << 32;

#[derive(Debug, Default)]
struct Socket {
    fd: Option<OwnedFd>,
    readable: bool,
    writable: bool,
    paused: bool,
    ended: bool,
    in_ready: bool,
    sending: Option<(Vec<u8>, usize)>,
}

/// The epoll driver of one shard.
pub struct Epoll {
    shard: ShardId,
    peers: Peers,
    poll: OwnedFd,
    found: Vec<epoll::Event>,
    sockets: Slab<Socket>,
    released: Vec<SocketId>,
    /// Sockets to be looked at in this turn without a new edge.
    ready: Vec<SocketId>,
    listeners: Vec<Option<OwnedFd>>,
    listeners_ready: Vec<usize>,
    /// Received bytes of this turn, `arena_used` of them.
    arena: Box<[u8]>,
    arena_used: usize,
    outstanding: usize,
    disk: DiskThreads,
    turns: u64,
}

impl std::fmt::Debug for Epoll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epoll")
            .field("shard", &self.shard)
            .field("sockets", &self.sockets.len())
            .finish_non_exhaustive()
    }
}

impl Epoll {
    /// A reactor for the calling thread.
    pub fn new(shard: ShardId, peers: Peers) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poll, peers.event(shard), EventData::new_u64(WAKE), EventFlags::IN)?;
        let disk = DiskThreads::start(shard, &peers)?;
        Ok(Epoll {
            shard,
            peers,
            poll,
            found: Vec::with_capacity(EVENTS_MAX),
            sockets: Slab::new(),
            released: Vec::new(),
            ready: Vec::new(),
            listeners: Vec::new(),
            listeners_ready: Vec::new(),
            arena: vec![0; ARENA_BYTES].into_boxed_slice(),
            arena_used: 0,
            outstanding: 0,
            disk,
            turns: 0,
        })
    }

    fn mark_ready(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id.index()];
        if !socket.in_ready {
            socket.in_ready = true;
            self.ready.push(id);
        }
    }

    fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        let busy = !self.ready.is_empty() || !self.listeners_ready.is_empty();
        let timeout = match wait {
            _ if busy => Some(Duration::ZERO),
            Wait::Poll => Some(Duration::ZERO),
            Wait::Forever => None,
            Wait::AtMost(time) => Some(time),
        };
        let timeout = timeout.map(|time| rustix::time::Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        self.found.clear();
        self.turns += 1;
        match epoll::wait(&self.poll, spare_capacity(&mut self.found), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let found = std::mem::take(&mut self.found);
        for event in &found {
            self.on_edge(event.data.u64(), event.flags, events);
        }
        self.found = found;
        Ok(())
    }

    fn on_edge(&mut self, data: u64, flags: EventFlags, events: &mut Vec<Event>) {
        if data == WAKE {
            self.peers.drain_event(self.shard);
            events.push(Event::Woken);
        } else if data >= LISTENER {
            self.listeners_ready.push((data - LISTENER) as usize);
        } else if let Some(socket) = self.sockets.get_mut(data as usize) {
            let broken = EventFlags::ERR | EventFlags::HUP;
            socket.readable |= flags.intersects(EventFlags::IN | EventFlags::RDHUP | broken);
            socket.writable |= flags.intersects(EventFlags::OUT | broken);
            self.mark_ready(SocketId(data as u32));
        }
    }

    fn accept_all(&mut self, listener: usize, events: &mut Vec<Event>) {
        let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
        for _ in 0..ACCEPTS_MAX {
            let Some(fd) = self.listeners[listener].as_ref() else { return };
            match rustix::net::accept_with(fd, flags) {
                Ok(fd) => {
                    let peer = listen::peer_of(&fd);
                    let socket = NewSocket::accepted(fd, peer);
                    events.push(Event::Accepted { listener, socket });
                }
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR | rustix::io::Errno::PROTO) => {}
                Err(error) => {
                    events.push(Event::AcceptFailed { listener, error: error.into() });
                    return;
                }
            }
        }
        self.listeners_ready.push(listener);
    }

    fn serve_socket(&mut self, id: SocketId, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id.index()) else { return };
        socket.in_ready = false;
        if socket.fd.is_none() {
            return;
        }
        self.write_some(id, events);
        self.read_some(id, events);
    }

    fn write_some(&mut self, id: SocketId, events: &mut Vec<Event>) {
        let socket = &mut self.sockets[id.index()];
        let (Some(fd), true) = (socket.fd.as_ref(), socket.writable) else { return };
        while let Some((buffer, sent)) = socket.sending.as_mut() {
            let result = match rustix::net::send(fd, &buffer[*sent..], SendFlags::NOSIGNAL) {
                Ok(count) => {
                    *sent += count;
                    if *sent < buffer.len() {
                        continue;
                    }
                    Ok(())
                }
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => {
                    socket.writable = false;
                    return;
                }
                Err(error) => Err(error.into()),
            };
            if let Some((buffer, _)) = socket.sending.take() {
                events.push(Event::Sent { socket: id, buffer, result });
            }
        }
    }

    fn read_some(&mut self, id: SocketId, events: &mut Vec<Event>) {
        let socket = &mut self.sockets[id.index()];
        let Some(fd) = socket.fd.as_ref().filter(|_| socket.readable && !socket.paused && !socket.ended)
        else {
            return;
        };
        let offset = self.arena_used;
        let room = (ARENA_BYTES - offset).min(RECEIVE_BYTES_MAX);
        if room == 0 {
            self.mark_ready(id);
            return;
        }
        let target = &mut self.arena[offset..offset + room];
        match rustix::net::recv(fd, target, RecvFlags::DONTWAIT).map(|(_, count)| count) {
            Ok(0) => {
                socket.ended = true;
                events.push(Event::Ended { socket: id });
            }
            Ok(count) => {
                self.outstanding += 1;
                self.arena_used += count;
                let bytes = ReceivedBytes { buffer: 0, offset: offset as u32, len: count as u32 };
                events.push(Event::Received { socket: id, bytes });
                // A short read may have been followed by more or by the end: only EAGAIN re-arms the edge.
                self.mark_ready(id);
            }
            Err(rustix::io::Errno::AGAIN) => socket.readable = false,
            Err(rustix::io::Errno::INTR) => self.mark_ready(id),
            Err(_) => {
                socket.ended = true;
                events.push(Event::Broken { socket: id });
            }
        }
    }
}

impl Driver for Epoll {
    fn listen(&mut self, socket: OwnedFd) -> io::Result<usize> {
        let listener = self.listeners.len();
        let data = EventData::new_u64(LISTENER + listener as u64);
        epoll::add(&self.poll, &socket, data, EventFlags::IN | EventFlags::ET)?;
        self.listeners.push(Some(socket));
        self.listeners_ready.push(listener);
        Ok(listener)
    }

    fn accept(&mut self, listener: usize) {
        self.listeners_ready.push(listener);
    }

    fn stop_listening(&mut self) {
        self.listeners.iter_mut().for_each(|listener| *listener = None);
    }

    fn adopt(&mut self, socket: NewSocket) -> io::Result<SocketId> {
        let entry = self.sockets.vacant_entry();
        let id = SocketId(entry.key() as u32);
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let fd = socket.into_descriptor();
        epoll::add(&self.poll, fd.as_fd(), EventData::new_u64(u64::from(id.0)), flags)?;
        entry.insert(Socket { fd: Some(fd), writable: true, ..Socket::default() });
        Ok(id)
    }

    fn pause(&mut self, socket: SocketId) {
        self.sockets[socket.index()].paused = true;
    }

    fn resume(&mut self, socket: SocketId) {
        self.sockets[socket.index()].paused = false;
        self.mark_ready(socket);
    }

    fn send(&mut self, socket: SocketId, buffer: Vec<u8>, _notice: SendNotice) {
        let state = &mut self.sockets[socket.index()];
        assert!(
            state.sending.is_none() && state.fd.is_some(),
            "socket {}: a second send, or one after close",
            socket.0
        );
        state.sending = Some((buffer, 0));
        self.mark_ready(socket);
    }

    fn close(&mut self, socket: SocketId) {
        let state = &mut self.sockets[socket.index()];
        assert!(state.fd.take().is_some(), "socket {} closed twice", socket.0);
        state.sending = None;
        self.released.push(socket);
    }

    fn disk(&mut self, token: DiskToken, op: DiskOp) {
        self.disk.submit(token, op);
    }

    fn wake(&mut self, shard: ShardId) {
        self.peers.wake_by_event(shard);
    }

    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        debug_assert_eq!(self.outstanding, 0, "received bytes were not recycled");
        self.arena_used = 0;
        for id in self.released.drain(..) {
            self.sockets.remove(id.index());
        }
        // Sends queued by the shard go out before it may block; their results are events of this turn.
        let mut ready = std::mem::take(&mut self.ready);
        for id in ready.drain(..) {
            self.serve_socket(id, events);
        }
        ready.append(&mut self.ready);
        self.ready = ready;
        self.disk.take_results(events);
        let wait = if events.is_empty() { wait } else { Wait::Poll };
        self.wait(wait, events)?;
        let mut ready = std::mem::take(&mut self.ready);
        for id in ready.drain(..) {
            self.serve_socket(id, events);
        }
        ready.append(&mut self.ready);
        self.ready = ready;
        for listener in std::mem::take(&mut self.listeners_ready) {
            self.accept_all(listener, events);
        }
        self.disk.take_results(events);
        Ok(())
    }

    #[inline]
    fn bytes(&self, received: &ReceivedBytes) -> &[u8] {
        let start = received.offset as usize;
        &self.arena[start..start + received.len as usize]
    }

    #[inline]
    fn recycle(&mut self, _received: ReceivedBytes) {
        self.outstanding -= 1;
    }

    fn turns(&self) -> u64 {
        self.turns
    }
}

//! The virtual network: connections whose two directions are queues with arrival times.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annulus_storage::ShardId;

use super::super::driver::SocketId;

/// A connection of a world, from the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u32);

/// What a client finds when it looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes that have come.
    pub bytes: Vec<u8>,
    /// The server has closed.
    pub closed: bool,
}

/// The server's end of a connection, before a driver has taken it over.
#[derive(Debug)]
pub struct SimSocket {
    pub(super) connection: u32,
    /// Set when nobody will serve it.
    pub(super) dropped: Arc<AtomicBool>,
    pub(super) adopted: bool,
}

impl SimSocket {
    /// Closes; the client sees the end, not the text: it may be lost on a real network too.
    pub(in super::super) fn refuse(self, _text: &[u8]) {
        drop(self);
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        if !self.adopted {
            self.dropped.store(true, Ordering::Relaxed);
        }
    }
}

/// What is on its way to the server.
#[derive(Debug)]
pub(super) enum ToServer {
    Bytes(Vec<u8>),
    /// The client has finished sending.
    Finish,
    /// The client is gone.
    Reset,
}

/// What is on its way to the client.
#[derive(Debug)]
pub(super) enum ToClient {
    Bytes(Vec<u8>),
    Close,
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) to_server: VecDeque<(u64, ToServer)>,
    pub(super) to_client: VecDeque<(u64, ToClient)>,
    /// Arrival of the last thing queued, in each direction.
    pub(super) to_server_last_ns: u64,
    pub(super) to_client_last_ns: u64,
    /// The client reads nothing before.
    pub(super) reads_from_ns: u64,
    pub(super) paused: bool,
    pub(super) served_by: Option<(ShardId, SocketId)>,
    pub(super) client_gone: bool,
    pub(super) server_gone: bool,
    pub(super) dropped: Arc<AtomicBool>,
}

impl Connection {
    pub(super) fn queue_to_server(&mut self, at_ns: u64, what: ToServer) -> u64 {
        self.to_server_last_ns = self.to_server_last_ns.max(at_ns);
        self.to_server.push_back((self.to_server_last_ns, what));
        self.to_server_last_ns
    }

    pub(super) fn queue_to_client(&mut self, at_ns: u64, what: ToClient) -> u64 {
        self.to_client_last_ns = self.to_client_last_ns.max(at_ns);
        self.to_client.push_back((self.to_client_last_ns, what));
        self.to_client_last_ns
    }

    /// When the server next has something to take.
    pub(super) fn server_due_ns(&self) -> Option<u64> {
        if self.paused && !matches!(self.to_server.front(), Some((_, ToServer::Reset))) {
            return None;
        }
        self.to_server.front().map(|(at, _)| *at)
    }

    /// What the client finds at `now_ns`.
    pub(super) fn take_for_client(&mut self, now_ns: u64) -> Received {
        let mut received = Received::default();
        while let Some((_, what)) = self.to_client.pop_front_if(|(at, _)| *at <= now_ns) {
            match what {
                ToClient::Bytes(bytes) => received.bytes.extend_from_slice(&bytes),
                ToClient::Close => received.closed = true,
            }
        }
        received.closed |= self.dropped.load(Ordering::Relaxed);
        received
    }
}

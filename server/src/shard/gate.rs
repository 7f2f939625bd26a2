//! Replies that wait for the durable horizon: which connections hold some, and batches for other shards.

use std::collections::VecDeque;

use annulus_storage::{Lsn, ShardId};

use super::Connection;
use super::batch::ReplyBatch;
use crate::runtime::SocketId;

/// Everything that the next advance of the horizon may release, in the order of gates.
#[derive(Debug, Default)]
pub struct Gates {
    connections: VecDeque<(Lsn, SocketId, u64)>,
    batches: VecDeque<(Lsn, ShardId, Box<ReplyBatch>)>,
}

impl Gates {
    /// A connection has a reply under this gate.
    pub fn wait(&mut self, connection: &mut Connection, gate: Lsn) {
        if connection.gate_queued >= gate {
            return;
        }
        // A read may have a lower gate than the last write; waiting a frame longer keeps the queue in order.
        let gate = self.connections.back().map_or(gate, |(last, ..)| gate.max(*last));
        connection.gate_queued = gate;
        self.connections.push_back((gate, connection.socket, connection.client));
    }

    /// A batch for another shard whose highest gate is this.
    pub fn hold(&mut self, gate: Lsn, shard: ShardId, batch: Box<ReplyBatch>) {
        let gate = self.batches.back().map_or(gate, |(last, ..)| gate.max(*last));
        self.batches.push_back((gate, shard, batch));
    }

    /// The next connection that a horizon releases.
    pub fn pop_connection(&mut self, durable: Lsn) -> Option<(SocketId, u64)> {
        let (_, socket, client) = self.connections.pop_front_if(|(gate, ..)| *gate <= durable)?;
        Some((socket, client))
    }

    /// The next batch that a horizon releases.
    pub fn pop_batch(&mut self, durable: Lsn) -> Option<(ShardId, Box<ReplyBatch>)> {
        let (_, shard, batch) = self.batches.pop_front_if(|(gate, ..)| *gate <= durable)?;
        Some((shard, batch))
    }

    /// After the log has failed: the batches, which will never be released.
    pub fn take_batches(&mut self) -> impl Iterator<Item = (ShardId, Box<ReplyBatch>)> {
        std::mem::take(&mut self.batches).into_iter().map(|(_, shard, batch)| (shard, batch))
    }

    /// After the log has failed: the connections. Some may wait here for more than their own gates.
    pub fn take_connections(&mut self) -> impl Iterator<Item = (SocketId, u64)> {
        std::mem::take(&mut self.connections).into_iter().map(|(_, socket, client)| (socket, client))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.batches.is_empty()
    }
}

//! When a transaction is durable in all logs that have a part of it: the participants tell each other.

use annulus_storage::{LogState, ShardId, TransactionId};

use super::part::Signal;
use crate::shard::Core;

impl Core {
    /// Tells the other participants of the parts that have become durable here.
    pub(in super::super) fn tell_written(&mut self) {
        for (id, others) in self.store.take_written() {
            for shard in others {
                self.links.signal(shard, Signal::Durable(id));
            }
        }
    }

    /// Another participant's part is on stable storage. [`Core::after_log_advanced`] is to follow.
    pub(super) fn on_part_durable(&mut self, id: TransactionId, from: ShardId) {
        self.store.on_part_durable(id, from);
    }

    /// Tells all shards that this one's log has failed.
    pub(in super::super) fn tell_log_failed(&mut self) {
        for shard in self.other_shards() {
            self.links.signal(shard, Signal::LogFailed);
        }
    }

    /// The log of another shard has failed.
    pub(super) fn on_peer_log_failed(&mut self, from: ShardId) {
        self.store.sink_mut().on_peer_failed(from);
        if matches!(self.store.sink().state(), LogState::Failed { .. }) {
            self.after_log_advanced();
        }
    }
}

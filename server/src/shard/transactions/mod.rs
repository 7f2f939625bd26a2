//! Transactions: commands, and blocks of commands, whose keys lie on several shards.
//!
//! The shard of the connection is the *coordinator*. It gives the transaction its id, which is also its age, and
//! sends every shard concerned its [`Part`]. Each of these *participants* takes the locks of its part ([`locks`]) and says so;
//! when all have, the transaction has its place in the order of everything, and the coordinator has it run: in one go, or in
//! rounds when what one shard says decides what another does. No shard ever waits: what must wait is a request in a
//! queue, and the shard goes on with the next. `docs/transactions.md` tells why that is strictly serializable and cannot
//! deadlock, and what a crash leaves.

pub(super) mod coordinator;
mod decisions;
pub(super) mod entrust;
pub(super) mod locks;
pub(super) mod multi;
mod part;
pub(super) mod participant;
pub(super) mod program;

use annulus_storage::{ShardId, TransactionId};

use self::locks::{Age, LockKey, LockRequest, Mode};
pub use self::part::{Part, Refusal, Shards, Signal, When};
use self::participant::ShardLocks;
use super::Core;
use crate::commands::{Command, Flags};

/// Stands for the libraries of functions, as a key. A key of that name has the same lock, which does no harm.
const LIBRARIES: &[u8] = b"\xff annulus libraries";

/// The locks of a client's command on the shard that owns all its keys.
pub(super) fn lock_request(client: Option<u64>, command: &Command, args: &[&[u8]]) -> LockRequest {
    let mut locks = LockRequest::default();
    if let Some(client) = client {
        locks.set_session(client, Mode::Exclusive);
    }
    add_locks(&mut locks, command, args);
    locks
}

/// Whether a transaction has a lock on a key, or waits for one.
pub(super) fn is_locked(locks: &ShardLocks, key: &[u8]) -> bool {
    if locks.is_empty() {
        return false;
    }
    let mut request = LockRequest::default();
    request.add(LockKey::new(key), Mode::Exclusive);
    locks.blocks(&request)
}

/// Adds the locks of a command, or of a part of it that has whole keys.
pub(super) fn add_locks(locks: &mut LockRequest, command: &Command, args: &[&[u8]]) {
    let writes = command.flags.contains(Flags::WRITE);
    if !command.names_keys() {
        locks.add_whole(if writes { Mode::Exclusive } else { Mode::Shared });
        return;
    }
    if command.looks_elsewhere(args) {
        locks.add_whole(Mode::Shared);
    }
    if command.runs_function() {
        locks.add(LockKey::new(LIBRARIES), Mode::Shared);
    }
    for (position, uses) in command.key_positions(args) {
        let mode = if command.changes(uses) { Mode::Exclusive } else { Mode::Shared };
        if let Some(key) = args.get(position) {
            locks.add(LockKey::new(key), mode);
        }
    }
}

impl Core {
    /// A new id, younger than all that this shard has heard of.
    pub(super) fn next_transaction(&mut self) -> TransactionId {
        self.transaction_count += 1;
        TransactionId::new(self.transaction_count, self.id)
    }

    /// An id of another shard: what begins here from now on is younger.
    pub(super) fn witness(&mut self, id: TransactionId) {
        self.transaction_count = self.transaction_count.max(id.counter());
        let last = &mut self.transactions_seen[id.coordinator().index()];
        *last = id.counter().max(*last);
    }

    /// The age of a command that comes now, of a connection of that shard.
    fn command_age(&mut self, from: ShardId) -> Age {
        self.commands_deferred += 1;
        let last =
            if from == self.id { self.transaction_count } else { self.transactions_seen[from.index()] };
        Age::command(TransactionId::new(last, from), self.commands_deferred)
    }

    /// Sends a signal, also to this very shard.
    pub(super) fn signal(&mut self, shard: ShardId, signal: Signal) {
        if shard == self.id {
            self.on_signal(shard, signal);
        } else {
            self.links.signal(shard, signal);
        }
    }

    /// A transaction goes on.
    pub(super) fn on_signal(&mut self, from: ShardId, signal: Signal) {
        match signal {
            Signal::Granted { id, operation, part } => self.on_granted(id, operation, part),
            Signal::Ran { id, operation } => self.on_ran(id, operation),
            Signal::Declined { id, operation } => self.on_declined(id, operation),
            Signal::Refused { id, operation, part, why } => self.on_refused(id, operation, part, why),
            Signal::Wounded { id, operation, part } => self.on_wounded(id, operation, part),
            Signal::GiveBack(id) => self.on_give_back(id),
            Signal::Run(id) => self.on_run(id),
            Signal::Cancel(id) => self.on_cancel(id),
            Signal::Conclude { id, participants, operation, part } => {
                self.on_conclude(id, &participants, operation, part);
            }
            Signal::Overdue { id, function } => self.on_overdue(id, function),
            Signal::Durable(id) => self.on_part_durable(id, from),
            Signal::Behind(counter) => {
                self.transaction_count = self.transaction_count.max(counter);
                self.signal(from, Signal::CaughtUp(self.transaction_count));
            }
            Signal::CaughtUp(counter) => {
                let last = &mut self.transactions_seen[from.index()];
                *last = counter.max(*last);
            }
            Signal::Ready(number) => self.on_ready(number),
            Signal::LogFailed => self.on_peer_log_failed(from),
        }
    }
}

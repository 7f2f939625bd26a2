//! The short way of a command over two shards, one of which is its coordinator: the other shard decides.
//!
//! ```text
//! coordinator: takes its own locks ── Work::Decide ──► other: nothing in the way? runs its part at once
//! coordinator: runs its own part   ◄── Signal::Ran ──
//! ```
//! Two messages instead of three before both have run, and the other shard's lock table isn't touched.
//!
//! - It's taken only when the coordinator's own locks are free at once. From then on nothing is given back until the other shard has
//!   answered; it answers in the turn in which it hears of it. So nobody waits for that answer who could be in its way.
//! - If the other shard can't run it at once it *declines*: the part waits there for its locks, and the coordinator decides as
//!   usual, and gives back what an older one has asked for meanwhile.
//! - A connection's order: a command is entrusted only if every earlier one of its connection is decided or entrusted to the same
//!   shard, which declines as long as an earlier one of that connection has not run there.

use annulus_storage::coverage::{Branch, reached};
use annulus_storage::{ShardId, TransactionId};

use super::add_locks;
use super::coordinator::Locking;
use super::locks::{LockRequest, Mode};
use super::part::{Part, Refusal, Shards, Signal};
use super::participant::Waiter;
use crate::commands::{Command, Flags, Keyed};
use crate::shard::Core;
use crate::shard::batch::{Request, Target, Work};

/// A command's part on one shard.
pub(in super::super) type PartRequest<'a> = (ShardId, Request, &'a [&'a [u8]]);

impl Core {
    /// Starts the transaction of an operation over two shards the short way, if that can be. If not, nothing has happened.
    pub(in super::super) fn entrust(&mut self, operation: u32, parts: &[PartRequest<'_>]) -> bool {
        let [first, second] = parts else { return false };
        let (own, other) = if first.0 == self.id { (first, second) } else { (second, first) };
        let Work::Keyed(command, keyed) = own.1.work else { return false };
        let Some(target) = self.operations.get(operation as usize).map(|it| it.target) else { return false };
        if own.0 != self.id || !self.may_entrust(target, other.0) {
            return false;
        }
        let mut locks = LockRequest::default();
        add_locks(&mut locks, command, own.2);
        if let Some(client) = target.client() {
            locks.set_session(client, Mode::Shared);
        }
        let writes = command.flags.contains(Flags::WRITE);
        if !self.locks.is_free(&locks) || writes && self.admit_command(command, own.2).is_err() {
            return false;
        }
        let id = self.next_transaction();
        let mut part = self.spare_parts.pop().unwrap_or_default();
        part.set_command(id, (command, keyed), participants(writes, self.id, other.0), &own.1, own.2);
        self.locks.insert_granted(id.into(), locks, Waiter::Part(part));
        let request = Request { work: Work::Decide(id, command, keyed), ..other.1 };
        self.links.request(other.0, request, other.2.iter().copied());
        self.counters.transactions.started += 1;
        let locking = Locking::entrusted(id, [first.0, second.0], other.0, writes);
        self.operations[operation as usize].locking = Some(locking);
        self.hold_back(operation, id, target);
        true
    }

    fn may_entrust(&mut self, target: Target, decider: ShardId) -> bool {
        let (Target::Connection { socket, client, .. } | Target::Wait { socket, client, .. }) = target else {
            return true;
        };
        let Some(connection) = self.connections.of_client(socket, client) else { return false };
        let Some((before, id)) = connection.last_transaction else { return true };
        self.locking(before, id).is_none_or(|locking| locking.is_decided_or_with(decider))
    }

    /// A command that this shard decides, because all other locks of it are there.
    pub(in super::super) fn run_deciding(
        &mut self,
        from: ShardId,
        request: &Request,
        (id, command, keyed): (TransactionId, &'static Command, Keyed),
        args: &[&[u8]],
    ) {
        let Target::Operation { index: operation, part } = request.target else {
            unreachable!("shard {}: transaction {id} is nobody's", self.id)
        };
        self.witness(id);
        let writes = command.flags.contains(Flags::WRITE);
        if writes && let Err(text) = self.admit_command(command, args) {
            self.signal(from, Signal::Refused { id, operation, part, why: Refusal::Write(text) });
            return;
        }
        let participants = participants(writes, from, self.id);
        if !self.locks.is_empty() {
            let mut locks = LockRequest::default();
            add_locks(&mut locks, command, args);
            // Alone: it must not get past an earlier one of the same connection.
            if request.call.origin.client != 0 {
                locks.set_session(request.call.origin.client, Mode::Exclusive);
            }
            if !self.locks.is_free(&locks) {
                self.decline(from, request, (id, command, keyed), locks, participants, args);
                return;
            }
        }
        reached(Branch::Entrusted);
        self.reply_to(from, request.target, |core, out| {
            core.store.begin_command();
            if writes {
                core.store.begin_transaction(id, &participants);
            }
            let start = out.len();
            core.run_handler(command, keyed, args, request.call, out);
            let gate = core.store.end_command();
            core.show_gated(gate, start, out)
        });
        self.signal(from, Signal::Ran { id, operation });
    }

    fn decline(
        &mut self,
        from: ShardId,
        request: &Request,
        (id, command, keyed): (TransactionId, &'static Command, Keyed),
        mut locks: LockRequest,
        participants: Shards,
        args: &[&[u8]],
    ) {
        let Target::Operation { index: operation, .. } = request.target else { return };
        reached(Branch::Declined);
        self.signal(from, Signal::Declined { id, operation });
        if request.call.origin.client != 0 {
            locks.set_session(request.call.origin.client, Mode::Shared);
        }
        let mut part = Box::new(Part { locks, ..Part::default() });
        part.set_command(id, (command, keyed), participants, request, args);
        self.take_part(part);
    }

    /// The other shard has decided, and run its part: ours follows.
    pub(super) fn on_ran(&mut self, id: TransactionId, operation: u32) {
        let Some(locking) = self.locking(operation, id) else { return };
        let next = locking.decide_by_other();
        self.on_run(id);
        self.unhold_next(next);
    }

    /// The other shard has not decided.
    pub(super) fn on_declined(&mut self, id: TransactionId, operation: u32) {
        let own = self.id;
        let Some(locking) = self.locking(operation, id) else { return };
        if let Some(part) = locking.decide_here(own) {
            self.on_wounded(id, operation, part);
        }
    }
}

fn participants(writes: bool, one: ShardId, other: ShardId) -> Shards {
    if writes { Shards::from_slice(&[one.min(other), one.max(other)]) } else { Shards::new() }
}

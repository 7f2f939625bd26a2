//! A shard's part in transactions: locks, the commands under them, and commands that wait for them.

use annulus_protocol::Encoder;
use annulus_storage::{Lsn, ShardId, TransactionId};
use smallvec::SmallVec;

use super::lock_request;
use super::locks::{Age, LockRequest, Locks};
use super::part::{Part, Refusal, Shards, Signal, When};
use crate::commands::{Command, Flags, Keyed};
use crate::shard::Core;
use crate::shard::batch::{Call, Request, RequestBatch, Target, Work};

/// To who would have to wait for a script that takes long.
pub(in super::super) const BUSY_SCRIPT: &str =
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
/// The same for a function.
pub(in super::super) const BUSY_FUNCTION: &str =
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";

/// Parts that are over and kept as memory for the next: about as many as a busy shard has under way.
const PARTS_SPARE_MAX: usize = 1024;

const fn busy(function: bool) -> &'static str {
    if function { BUSY_FUNCTION } else { BUSY_SCRIPT }
}

/// What waits for locks.
#[derive(Debug)]
pub(in super::super) enum Waiter {
    /// A part of a transaction.
    Part(Box<Part>),
    /// A command whose keys are all here, with the shard that it came from.
    Command(ShardId, Box<RequestBatch>),
}

/// See [`Locks`].
pub(in super::super) type ShardLocks = Locks<Waiter>;

fn is_script(one: &RequestBatch) -> bool {
    one.iter().any(|(request, _)| matches!(request.work, Work::Script(..)))
}

impl Core {
    /// Whether a command whose keys are all here must wait for a transaction. One look when there is none.
    #[inline]
    pub(in super::super) fn must_wait(&self, client: Option<u64>, command: &Command, args: &[&[u8]]) -> bool {
        !self.locks.is_empty() && self.locks.blocks(&lock_request(client, command, args))
    }

    /// Lets a command wait for its keys.
    #[cold]
    pub(in super::super) fn defer(
        &mut self,
        from: ShardId,
        request: &Request,
        command: &'static Command,
        args: &[&[u8]],
    ) {
        let mut one = Box::new(RequestBatch::default());
        one.push(*request, args.iter().copied());
        let locks = lock_request(request.target.client(), command, args);
        if let Some(text) = self.overdue(&locks) {
            self.refuse_overdue(from, request, text);
            return;
        }
        self.counters.transactions.commands_waited += 1;
        let age = self.command_age(from);
        if self.locks.insert(age, locks, Waiter::Command(from, one)) && from != self.id {
            // It is older than what was here before it: its shard has not heard of that. Or else a stream of such commands would
            // keep a transaction from ever being decided.
            self.links.signal(from, Signal::Behind(self.transaction_count));
        }
        self.settle_locks();
    }

    /// A part of a transaction has come.
    pub(in super::super) fn take_part(&mut self, mut part: Box<Part>) {
        self.witness(part.id);
        if part.writes
            && let Err(text) = self.admit_part(&part)
        {
            self.refuse_part(&part, Refusal::Write(text));
            return;
        }
        if part.when == When::Granted && !self.locks.blocks(&part.locks) {
            self.run_part(&part);
            return;
        }
        if let Some(text) = self.overdue(&part.locks) {
            self.refuse_part(&part, Refusal::Write(text));
            return;
        }
        let locks = std::mem::take(&mut part.locks);
        self.locks.insert(part.id.into(), locks, Waiter::Part(part));
        self.settle_locks();
    }

    fn admit_part(&mut self, part: &Part) -> Result<(), &'static str> {
        for (request, args) in part.commands.iter() {
            match request.work {
                Work::Keyed(command, _) => self.admit_command(command, &args)?,
                _ => self.admit_write(&args)?,
            }
        }
        Ok(())
    }

    /// Whether the part of a transaction that writes may have this command now.
    pub(super) fn admit_command(&mut self, command: &Command, args: &[&[u8]]) -> Result<(), &'static str> {
        self.admit_write(args)?;
        if command.flags.contains(Flags::DENYOOM) { self.admit_memory(args) } else { Ok(()) }
    }

    /// Tells everybody concerned who got a lock, and who should give one back.
    pub(in super::super) fn settle_locks(&mut self) {
        if std::mem::replace(&mut self.settling_locks, true) {
            // Whoever is on it already comes to what is new, too.
            return;
        }
        loop {
            // First the grants: a coordinator that hears of the wound first would take it for an old one.
            if let Some(id) = self.locks.take_granted() {
                self.on_grant(id);
            } else if let Some(id) = self.locks.take_wounded() {
                self.on_wound(id);
            } else {
                break;
            }
        }
        self.settling_locks = false;
    }

    fn on_wound(&mut self, age: Age) {
        let id = age.id();
        let Some(Waiter::Part(part)) = self.locks.work_mut(age) else { return };
        let (operation, part) = (part.operation, part.index);
        self.counters.transactions.wounded += 1;
        self.signal(id.coordinator(), Signal::Wounded { id, operation, part });
    }

    fn on_grant(&mut self, age: Age) {
        let id = age.id();
        match self.locks.work_mut(age) {
            Some(Waiter::Part(part)) if part.when == When::Told => {
                let (operation, index) = (part.operation, part.index);
                let watched = std::mem::take(&mut part.watched);
                let changed = self.any_changed(&watched);
                if let Some(Waiter::Part(part)) = self.locks.work_mut(age) {
                    part.watched = watched;
                }
                if changed {
                    self.drop_part(id, Refusal::Watched);
                } else {
                    self.signal(id.coordinator(), Signal::Granted { id, operation, part: index });
                }
            }
            // It keeps its locks while it runs, or what waits behind it would be in its way and get before it.
            Some(Waiter::Command(from, one)) if is_script(one) => {
                let (from, one) = (*from, std::mem::take(one));
                for (request, args) in one.iter() {
                    self.scripts.granted = Some(age);
                    self.run_request(from, request, &args);
                    self.scripts.granted = None;
                }
                self.locks.release(age);
            }
            Some(_) => match self.locks.release(age) {
                Some(Waiter::Part(part)) => self.run_part(&part),
                Some(Waiter::Command(from, one)) => {
                    for (request, args) in one.iter() {
                        self.run_request(from, request, &args);
                    }
                }
                None => {}
            },
            None => {}
        }
    }

    fn drop_part(&mut self, id: TransactionId, why: Refusal) {
        if let Some(Waiter::Part(part)) = self.locks.release(id.into()) {
            self.refuse_part(&part, why);
        }
    }

    fn refuse_part(&mut self, part: &Part, why: Refusal) {
        let (id, operation, index) = (part.id, part.operation, part.index);
        self.signal(id.coordinator(), Signal::Refused { id, operation, part: index, why });
    }

    /// The coordinator says that all locks are there.
    pub(super) fn on_run(&mut self, id: TransactionId) {
        if let Some(Waiter::Part(part)) = self.locks.release(id.into()) {
            self.run_part(&part);
            self.keep_part(part);
            self.settle_locks();
        }
    }

    /// A part that is over is memory for the next.
    fn keep_part(&mut self, mut part: Box<Part>) {
        if self.spare_parts.len() < PARTS_SPARE_MAX && part.commands.is_small() {
            part.commands.clear();
            part.watched.clear();
            self.spare_parts.push(part);
        }
    }

    /// The coordinator lets an older transaction go first.
    pub(super) fn on_give_back(&mut self, id: TransactionId) {
        self.locks.give_back(id.into());
        self.settle_locks();
    }

    /// The coordinator has given up, before anything happened, or wants that undone.
    pub(super) fn on_cancel(&mut self, id: TransactionId) {
        if let Some(waiter) = self.locks.release(id.into()) {
            if let Waiter::Part(part) = waiter {
                self.store.roll_back(part.deferred);
                self.undo_outgoing(part.outgoing);
            }
            self.scripts.overdue.retain(|(it, _)| *it != id);
            self.settle_locks();
        }
    }

    /// Runs the commands of a part, as one group of effects.
    fn run_part(&mut self, part: &Part) {
        if part.when == When::Granted && self.any_changed(&part.watched) {
            self.refuse_part(part, Refusal::Watched);
            return;
        }
        let from = part.id.coordinator();
        let mut out = self.take_scratch();
        let mut ends: SmallVec<[_; 4]> = SmallVec::new();
        self.store.begin_command();
        if part.participants.len() > 1 && part.writes {
            self.store.begin_transaction(part.id, &part.participants);
        }
        for (request, args) in part.commands.iter() {
            let Work::Keyed(command, keyed) = request.work else {
                unreachable!("a transaction runs commands of the table only")
            };
            self.store.next_command();
            self.run_handler(command, keyed, &args, request.call, &mut out);
            ends.push((request.target, out.len()));
        }
        let gate = self.store.end_command();
        let mut start = 0;
        for (target, end) in ends {
            let reply = &out[start..end];
            start = end;
            self.reply_to(from, target, |core, to| {
                let start = to.len();
                to.extend_from_slice(reply);
                core.show_gated(gate, start, to)
            });
        }
        self.keep_scratch(out);
    }

    /// The gate of a reply that stands in `out` from `start` on. One that nobody can ever be shown becomes an error.
    pub(super) fn show_gated(&self, gate: Lsn, start: usize, out: &mut Vec<u8>) -> Lsn {
        if gate > self.durable() && self.log_failed {
            out.truncate(start);
            Encoder::new(out, annulus_protocol::Version::Resp2).error(crate::shard::commit::FAILED_READ);
            return Lsn::ZERO;
        }
        gate
    }

    /// Runs a command of a transaction that goes in rounds. Nobody but the coordinator sees the reply before the end. Returns
    /// whether something has been done that can't be undone.
    pub(in super::super) fn run_round(
        &mut self,
        id: TransactionId,
        (command, keyed): (&'static Command, Keyed),
        args: &[&[u8]],
        call: Call,
        out: &mut Vec<u8>,
    ) -> bool {
        self.locks.fix(id.into());
        let Some(Waiter::Part(part)) = self.locks.work_mut(id.into()) else {
            unreachable!("shard {}: transaction {id} has a round without a part", self.id)
        };
        let group = std::mem::take(&mut part.deferred);
        self.store.resume_transaction(group);
        let mark = self.outgoing_mark();
        self.run_handler(command, keyed, args, call, out);
        let outgoing = self.take_outgoing_since(mark);
        let group = self.store.suspend_transaction();
        let is_final = !group.is_undoable();
        if let Some(Waiter::Part(part)) = self.locks.work_mut(id.into()) {
            part.deferred = group;
            part.outgoing.extend(outgoing);
        }
        is_final
    }

    /// The rounds of a transaction are over: its part is logged as a whole, and its locks go.
    pub(super) fn on_conclude(
        &mut self,
        id: TransactionId,
        participants: &Shards,
        operation: u32,
        part: u32,
    ) {
        let Some(Waiter::Part(done)) = self.locks.release(id.into()) else {
            unreachable!("shard {}: transaction {id} ends without a part", self.id)
        };
        let group = done.deferred;
        self.scripts.overdue.retain(|(it, _)| *it != id);
        let gate = if participants.len() > 1 {
            self.store.commit_deferred(group, id, participants)
        } else {
            // Nobody else has a part; without participants there may be keys that had expired when they were to be read.
            self.store.commit_alone(group)
        };
        for outgoing in done.outgoing {
            self.emit(outgoing);
        }
        self.reply_to(id.coordinator(), Target::Operation { index: operation, part }, |_, _| gate);
        self.settle_locks();
    }

    /// A script takes long: who waits for it need not, and nobody begins to.
    pub(super) fn on_overdue(&mut self, id: TransactionId, function: bool) {
        self.scripts.overdue.push((id, function));
        for age in self.locks.waiting_for(id.into()) {
            match self.locks.release(age) {
                Some(Waiter::Part(part)) => self.refuse_part(&part, Refusal::Write(busy(function))),
                Some(Waiter::Command(from, one)) => {
                    for (request, _) in one.iter() {
                        self.refuse_overdue(from, request, busy(function));
                    }
                }
                None => {}
            }
        }
        self.settle_locks();
    }

    /// Why a request need not wait for its locks: a script that takes long has some.
    fn overdue(&self, locks: &LockRequest) -> Option<&'static str> {
        let mut overdue = self.scripts.overdue.iter();
        let (_, function) = overdue.find(|(id, _)| self.locks.conflicts_with((*id).into(), locks))?;
        Some(busy(*function))
    }

    fn refuse_overdue(&mut self, from: ShardId, request: &Request, text: &'static str) {
        self.count_error(text.as_bytes());
        self.reply_to(from, request.target, |_, out| {
            Encoder::new(out, request.call.version).error(text);
            Lsn::ZERO
        });
    }

    /// Memory for a reply on its way, empty; [`Self::keep_scratch`] takes it back.
    pub(in super::super) fn take_scratch(&mut self) -> Vec<u8> {
        self.scratch.pop().unwrap_or_default()
    }

    pub(in super::super) fn keep_scratch(&mut self, mut scratch: Vec<u8>) {
        if scratch.capacity() <= crate::shard::limits::OUTPUT_POOLED_BYTES_MAX {
            scratch.clear();
            self.scratch.push(scratch);
        }
    }
}

//! The coordinator's side: gathers the grants, and has the transaction run when it has them all.

use annulus_storage::coverage::{Branch, reached};
use annulus_storage::{DeferredGroup, ShardId, TransactionId};
use smallvec::{SmallVec, smallvec};

use super::part::{Part, Refusal, Shards, Signal, When};
use super::{LockRequest, Mode, add_locks};
use crate::commands::{Command, Flags};
use crate::shard::Core;
use crate::shard::batch::{Request, Target, Work};

/// How far an operation has come with its locks.
#[derive(Debug, Default)]
pub(in super::super) struct Locking {
    id: TransactionId,
    /// Where the parts are, and whether they have their locks.
    parts: SmallVec<[(ShardId, bool); 4]>,
    missing: usize,
    /// All locks are there: nothing is given back any more.
    decided: bool,
    /// This shard was asked to decide it, which it does as soon as it hears of it, or declines.
    decider: Option<ShardId>,
    /// An older one wanted what its own part has meanwhile.
    wounded: bool,
    /// The transaction before it, of the same connection, is yet to be decided: so this one is not, whatever it has.
    held: bool,
    /// The transaction behind it that is held for this one.
    next: Option<(u32, TransactionId)>,
    /// The commands come in rounds, after the locks.
    rounds: bool,
    writes: bool,
    /// It has a script that takes long, and everybody concerned knows.
    overdue: bool,
}

impl Locking {
    /// Of a transaction in rounds that has all locks it has asked for: none so far.
    pub(in super::super) fn of_running(id: TransactionId) -> Locking {
        Locking { id, decided: true, rounds: true, ..Locking::default() }
    }

    /// Of a command over two shards that one of them decides: the other's locks are there.
    pub(super) fn entrusted(
        id: TransactionId,
        shards: [ShardId; 2],
        decider: ShardId,
        writes: bool,
    ) -> Locking {
        Locking {
            id,
            parts: shards.into_iter().map(|shard| (shard, shard != decider)).collect(),
            missing: 1,
            decider: Some(decider),
            writes,
            ..Locking::default()
        }
    }

    /// Whether it's decided, or that shard was asked to.
    pub(super) fn is_decided_or_with(&self, decider: ShardId) -> bool {
        self.decided || self.decider == Some(decider)
    }

    /// The other shard has decided it. Returns the one that was held for it.
    pub(super) fn decide_by_other(&mut self) -> Option<(u32, TransactionId)> {
        debug_assert!(!self.held, "transaction {} has run before one of its connection", self.id);
        self.decider = None;
        self.missing = 0;
        self.decided = true;
        self.next.take()
    }

    /// The other shard has declined. Returns the coordinator's own part if an older one has asked for its locks.
    pub(super) fn decide_here(&mut self, own: ShardId) -> Option<u32> {
        self.decider = None;
        let part = self.parts.iter().position(|(shard, _)| *shard == own)?;
        std::mem::take(&mut self.wounded).then_some(part as u32)
    }

    /// A shard has, or may soon have, a part.
    pub(in super::super) fn add_part(&mut self, shard: ShardId) {
        if self.parts.iter().all(|(it, _)| *it != shard) {
            self.parts.push((shard, true));
        }
    }

    /// It has run commands that may write.
    pub(in super::super) fn note_writes(&mut self, writes: bool) {
        self.writes |= writes;
    }

    /// Whether it is now that it has taken too long.
    pub(in super::super) fn take_overdue(&mut self) -> bool {
        !std::mem::replace(&mut self.overdue, true)
    }

    /// The transaction.
    pub(in super::super) fn id(&self) -> TransactionId {
        self.id
    }

    /// Whether its commands come in rounds.
    pub(in super::super) fn rounds(&self) -> bool {
        self.rounds
    }

    /// The shards with a part, in the order of the parts.
    pub(in super::super) fn shards(&self) -> Shards {
        self.parts.iter().map(|(shard, _)| *shard).collect()
    }

    /// The shards that log a part: with rounds, what one says decides what another does, so all or none.
    fn participants(&self) -> Shards {
        let mut participants = if self.writes { self.shards() } else { Shards::new() };
        participants.sort_unstable();
        participants
    }
}

/// The parts of a transaction being put together, by shard.
#[derive(Debug, Default)]
pub(in super::super) struct Draft {
    parts: SmallVec<[(ShardId, Box<Part>); 2]>,
    rounds: bool,
    /// The connection itself has something to do in its middle.
    serves: bool,
}

impl Draft {
    /// A draft of a transaction whose commands come in rounds.
    pub(in super::super) fn in_rounds() -> Draft {
        Draft { rounds: true, ..Draft::default() }
    }

    fn part(&mut self, shard: ShardId) -> &mut Part {
        let index = self.parts.iter().position(|(it, _)| *it == shard).unwrap_or_else(|| {
            self.parts.push((shard, Box::default()));
            self.parts.len() - 1
        });
        &mut self.parts[index].1
    }

    /// Adds a command to a shard's part, or with rounds only its locks.
    pub(in super::super) fn add(&mut self, shard: ShardId, request: Request, args: &[&[u8]]) {
        let Work::Keyed(command, _) = request.work else {
            unreachable!("a transaction has commands of the table only")
        };
        let rounds = self.rounds;
        let part = self.part(shard);
        add_locks(&mut part.locks, command, args);
        part.writes |= command.flags.contains(Flags::WRITE);
        if !rounds {
            part.commands.push(request, args.iter().copied());
        }
    }

    /// Adds the lock of one key of a command, and no command.
    pub(in super::super) fn add_key(
        &mut self,
        shard: ShardId,
        command: &Command,
        locks: impl FnOnce(&mut LockRequest),
    ) {
        let part = self.part(shard);
        part.writes |= command.flags.contains(Flags::WRITE);
        locks(&mut part.locks);
    }

    /// Adds a key that must not have changed since it was watched.
    pub(in super::super) fn add_watched(
        &mut self,
        shard: ShardId,
        key: &[u8],
        database: annulus_storage::DatabaseId,
        version: u64,
    ) {
        let part = self.part(shard);
        part.locks.add(super::LockKey::new(key), super::Mode::Shared);
        part.watched.push((key.into(), database, version));
    }

    /// Adds locks, and no command.
    pub(in super::super) fn add_locks(&mut self, shard: ShardId, locks: &LockRequest) {
        self.part(shard).locks.join(locks);
    }

    /// Adds the locks of all keys of a shard.
    pub(in super::super) fn add_all(&mut self, shard: ShardId) {
        self.part(shard).locks.add_whole(super::Mode::Exclusive);
    }

    /// What is done can be undone, as long as that's possible.
    pub(in super::super) fn set_undoable(&mut self) {
        for (_, part) in &mut self.parts {
            part.deferred = DeferredGroup::undoable();
        }
    }

    /// Says that the connection itself has something to do when the parts run: even one part then waits to be told.
    pub(in super::super) fn serve_too(&mut self) {
        self.serves = true;
    }

    /// Whether there is nothing to do anywhere.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl Core {
    /// Sends the parts of a transaction to their shards.
    pub(in super::super) fn start_transaction(&mut self, operation: u32, draft: Draft) {
        let id = self.next_transaction();
        let alone = draft.parts.len() == 1 && !draft.rounds && !draft.serves;
        let nowhere = draft.parts.is_empty();
        let mut participants: Shards =
            draft.parts.iter().filter(|(_, part)| part.writes).map(|(shard, _)| *shard).collect();
        participants.sort_unstable();
        let locking = Locking {
            id,
            parts: draft.parts.iter().map(|(shard, _)| (*shard, false)).collect(),
            missing: draft.parts.len(),
            decided: alone,
            rounds: draft.rounds,
            writes: !participants.is_empty(),
            ..Locking::default()
        };
        self.counters.transactions.started += 1;
        let Some(it) = self.operations.get_mut(operation as usize) else { return };
        let target = it.target;
        it.locking = Some(locking);
        if !alone {
            self.hold_back(operation, id, target);
        }
        let session = if alone || draft.rounds { Mode::Exclusive } else { Mode::Shared };
        for (index, (shard, mut part)) in draft.parts.into_iter().enumerate() {
            part.id = id;
            if let Some(client) = target.client() {
                part.locks.set_session(client, session);
            }
            part.operation = operation;
            part.index = index as u32;
            part.when = if alone { When::Granted } else { When::Told };
            part.participants.clone_from(&participants);
            if shard == self.id {
                self.take_part(part);
            } else {
                self.links.part(shard, part);
            }
        }
        if nowhere {
            // A script that has named no key: its rounds say what it needs.
            self.decide(operation, id);
        }
    }

    pub(super) fn locking(&mut self, operation: u32, id: TransactionId) -> Option<&mut Locking> {
        let operation = self.operations.get_mut(operation as usize)?;
        operation.locking.as_mut().filter(|locking| locking.id == id)
    }

    /// A part has its locks.
    pub(super) fn on_granted(&mut self, id: TransactionId, operation: u32, part: u32) {
        let Some(locking) = self.locking(operation, id) else { return };
        let (_, granted) = &mut locking.parts[part as usize];
        assert!(!std::mem::replace(granted, true), "part {part} of transaction {id:?} is granted twice");
        locking.missing -= 1;
        self.decide(operation, id);
    }

    /// A connection's transactions are decided in its order, so that they run in it on every shard.
    pub(super) fn hold_back(&mut self, operation: u32, id: TransactionId, target: Target) {
        let (Target::Connection { socket, client, .. } | Target::Wait { socket, client, .. }) = target else {
            return;
        };
        let Some(connection) = self.connections.of_client(socket, client) else { return };
        let before = connection.last_transaction.replace((operation, id));
        if let Some((before, before_id)) = before
            && let Some(locking) = self.locking(before, before_id)
            && !locking.decided
        {
            locking.next = Some((operation, id));
            if let Some(locking) = self.locking(operation, id) {
                locking.held = true;
            }
        }
    }

    /// Has a transaction run if nothing is missing, and then those behind it.
    fn decide(&mut self, mut operation: u32, mut id: TransactionId) {
        loop {
            let Some(locking) = self.locking(operation, id) else { return };
            if locking.missing > 0 || locking.held || locking.decided {
                return;
            }
            locking.decided = true;
            let (rounds, next, shards) = (locking.rounds, locking.next.take(), locking.shards());
            if rounds {
                self.advance(operation);
            } else {
                self.before_run(operation);
                for shard in shards {
                    self.signal(shard, Signal::Run(id));
                }
            }
            let Some(next) = next else { return };
            (operation, id) = next;
            let Some(locking) = self.locking(operation, id) else { return };
            locking.held = false;
        }
    }

    /// The one before it is decided, or is off.
    pub(super) fn unhold_next(&mut self, next: Option<(u32, TransactionId)>) {
        if let Some((operation, id)) = next
            && let Some(locking) = self.locking(operation, id)
        {
            locking.held = false;
            self.decide(operation, id);
        }
    }

    /// An older transaction wants what a part has. It gets it, unless this one has everything and will soon be done.
    pub(super) fn on_wounded(&mut self, id: TransactionId, operation: u32, part: u32) {
        let Some(locking) = self.locking(operation, id) else { return };
        let (shard, granted) = &mut locking.parts[part as usize];
        if locking.decided || !*granted {
            return;
        }
        if locking.decider.is_some() {
            // It may be decided by now.
            locking.wounded = true;
            return;
        }
        reached(Branch::Wounded);
        *granted = false;
        locking.missing += 1;
        let shard = *shard;
        self.signal(shard, Signal::GiveBack(id));
    }

    /// A shard takes no part: nobody does.
    pub(super) fn on_refused(&mut self, id: TransactionId, operation: u32, part: u32, why: Refusal) {
        let Some(locking) = self.locking(operation, id) else { return };
        let others = locking.parts.iter().enumerate().filter(|(index, _)| *index != part as usize);
        let others: Shards = others.map(|(_, (shard, _))| *shard).collect();
        for shard in others {
            self.signal(shard, Signal::Cancel(id));
        }
        // Only now: a script that had waited for the locks here may have begun a transaction behind this one.
        let next = self.locking(operation, id).and_then(|locking| locking.next.take());
        self.fail_operation(operation, why);
        self.unhold_next(next);
    }

    /// All rounds are done: every part is logged, as a whole over all shards, and its locks go. The answers say when what
    /// was read and written is durable.
    pub(in super::super) fn conclude(&mut self, operation: u32) {
        let Some(it) = self.operations.get_mut(operation as usize) else { return };
        let Some(locking) = it.locking.as_ref() else { return };
        let (id, shards, participants) = (locking.id, locking.shards(), locking.participants());
        it.missing = shards.len();
        it.parts = smallvec![Vec::new(); shards.len()];
        if shards.is_empty() {
            self.advance(operation);
            return;
        }
        for (part, shard) in shards.into_iter().enumerate() {
            let participants = participants.clone();
            self.signal(shard, Signal::Conclude { id, participants, operation, part: part as u32 });
        }
    }

    /// Everything that a transaction in rounds has done is undone, and its locks go.
    pub(in super::super) fn cancel_parts(&mut self, operation: u32) {
        let Some(locking) = self.operations.get(operation as usize).and_then(|it| it.locking.as_ref()) else {
            return;
        };
        let (id, shards) = (locking.id, locking.shards());
        for shard in shards {
            self.signal(shard, Signal::Cancel(id));
        }
    }

    /// Has a command of a transaction in rounds run on a shard.
    pub(in super::super) fn send_round_part(
        &mut self,
        id: TransactionId,
        shard: ShardId,
        request: Request,
        args: &[&[u8]],
    ) {
        let Work::Keyed(command, keyed) = request.work else {
            unreachable!("a transaction has commands of the table only")
        };
        let request = Request { work: Work::Round(id, command, keyed), ..request };
        if shard == self.id {
            self.run_request(shard, &request, args);
        } else {
            self.links.request(shard, request, args.iter().copied());
        }
    }

    /// Where the reply of a part goes.
    pub(in super::super) fn part_target(operation: u32, part: u32) -> Target {
        Target::Operation { index: operation, part }
    }
}

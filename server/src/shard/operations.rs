//! Commands that several shards work on: split by key and merged, run everywhere and merged, or run in rounds.
//!
//! An operation belongs to the shard of the connection that sent the command. What concerns keys runs as a transaction
//! ([`transactions`](super::transactions)); when the last reply is in, the merged one goes to the place that the connection
//! has reserved.

use annulus_protocol::{Encoder, Version, elements, parse_error_reply, parse_integer_reply, slot};
use annulus_storage::{DatabaseId, Lsn, ShardId, TransactionId};
use smallvec::{SmallVec, smallvec};

use super::Core;
use super::batch::{Call, Message, Origin, ReplyBatch, Request, Target, Work};
use super::connection::Hold;
use super::dispatch::Flow;
use super::transactions::Refusal;
use super::transactions::coordinator::{Draft, Locking};
use super::transactions::entrust::PartRequest;
use super::transactions::program::{Program, RoundRequest, Step, Terms};
use crate::admin::info::ShardCounters;
use crate::commands::{Command, Keyed, Merge, Run};
use crate::runtime::SocketId;

/// The replies of the parts, most often two.
pub(super) type Replies = SmallVec<[Vec<u8>; 2]>;

/// The part of each key, in the order of the keys.
pub(super) type Owners = SmallVec<[ShardId; 8]>;

/// How the parts become one reply.
enum Plan {
    /// Merge them; for `Merge::Array`, the part of each key in order.
    Merge { merge: Merge, owners: Owners },
    /// Commands one after the other.
    Program(Box<Program>),
    /// Counters of all shards, for a report about them.
    Counters { report: Report, counters: Vec<ShardCounters> },
    /// Versions of watched keys, for the connection to remember.
    Watch { keys: Vec<Vec<u8>>, owners: Owners },
}

/// What is made of the counters of all shards.
#[derive(Clone, Debug)]
pub(super) enum Report {
    /// INFO about these sections.
    Info(Vec<Vec<u8>>),
    MemoryStats,
    MemoryDoctor,
}

/// An operation under way.
pub(super) struct Operation {
    pub(super) target: Target,
    /// The shard of the target.
    from: ShardId,
    version: Version,
    database: DatabaseId,
    touches: bool,
    origin: Origin,
    plan: Plan,
    pub(super) parts: Replies,
    pub(super) missing: usize,
    /// The locks that it takes, if it is a transaction.
    pub(super) locking: Option<Locking>,
    /// The highest gate among the parts that ran here. Parts from elsewhere come when their gates are durable there.
    gate: Lsn,
    /// The connection is held until this ends.
    holds: bool,
    /// The outcome of a part will never be known, and the connection is gone.
    lost: bool,
}

impl Operation {
    /// Whether it has parts on one shard at most.
    pub(super) fn is_narrow(&self) -> bool {
        self.locking.as_ref().is_none_or(|locking| locking.shards().len() <= 1)
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation")
            .field("target", &self.target)
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// Starts a command that one shard can't run alone.
    pub(super) fn start_operation(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Flow {
        match command.run {
            Run::Split(keyed, merge) => self.start_split(socket, command, keyed, merge, args),
            Run::Broadcast(keyed, merge) => self.start_whole(socket, command, keyed, merge, args),
            Run::Hops(..) | Run::Waits(_) => self.start_program(socket, Program::single(command, args)),
            _ => unreachable!("{} does not run on several shards", command.name),
        }
        Flow::Continue
    }

    /// Reserves the reply's place and registers the operation.
    fn open_operation(&mut self, socket: SocketId, plan: Plan, parts: usize, holds: bool) -> Option<u32> {
        let connection = self.connections.get_mut(socket)?;
        let target = connection.capture.unwrap_or_else(|| {
            let place = connection.replies.reserve(connection.suppresses_reply());
            Target::Connection { socket, client: connection.client, place }
        });
        if holds {
            connection.hold = Some(Hold::Operation);
        }
        let operation = Operation {
            target,
            from: self.id,
            version: connection.session.version,
            database: connection.session.database,
            touches: !connection.session.no_touch,
            origin: connection.origin(),
            plan,
            parts: smallvec![Vec::new(); parts],
            missing: parts,
            locking: None,
            gate: Lsn::ZERO,
            holds,
            lost: false,
        };
        Some(self.operations.insert(operation) as u32)
    }

    fn start_split(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        keyed: Keyed,
        merge: Merge,
        args: &[&[u8]],
    ) {
        let split = self.split(command, args);
        let plan = Plan::Merge { merge, owners: split.owners };
        let Some(index) = self.open_operation(socket, plan, split.parts.len(), false) else { return };
        let parts = split.parts.iter().enumerate().map(|(part, (shard, slot, args))| {
            let version = merge_version(merge);
            (*shard, self.part_request(index, part as u32, command, keyed, *slot, version), args.as_slice())
        });
        let parts: SmallVec<[PartRequest<'_>; 2]> = parts.collect();
        if self.entrust(index, &parts) {
            return;
        }
        let mut draft = Draft::default();
        parts.into_iter().for_each(|(shard, request, args)| draft.add(shard, request, args));
        self.start_transaction(index, draft);
    }

    /// Deals the keys of a command, and what belongs to each, to the shards that own them.
    pub(super) fn split<'a>(&self, command: &Command, args: &[&'a [u8]]) -> Split<'a> {
        let step = usize::from(command.keys.step.max(1));
        let mut split = Split::default();
        for position in command.keys.positions(args.len()) {
            let slot = slot(args[position]);
            let owner = self.owner(slot);
            let parts = &mut split.parts;
            let index = parts.iter().position(|(shard, ..)| *shard == owner).unwrap_or_else(|| {
                parts.push((owner, slot, smallvec![args[0]]));
                parts.len() - 1
            });
            // A key and what belongs to it: the value of MSET, say.
            parts[index].2.extend_from_slice(&args[position..(position + step).min(args.len())]);
            split.owners.push(ShardId(index as u16));
        }
        split
    }

    /// The terms on which a part of an operation runs. `version`: of its reply, if not the connection's.
    fn part_request(
        &self,
        index: u32,
        part: u32,
        command: &'static Command,
        keyed: Keyed,
        slot: u16,
        version: Option<Version>,
    ) -> Request {
        let operation = &self.operations[index as usize];
        let version = version.unwrap_or(operation.version);
        Request {
            target: Target::Operation { index, part },
            work: Work::Keyed(command, keyed),
            call: Call {
                database: operation.database,
                version,
                slot,
                touches: operation.touches,
                origin: operation.origin,
            },
            arguments: 0,
        }
    }

    /// Runs a command about all keys on every shard, at one moment, and merges.
    fn start_whole(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        keyed: Keyed,
        merge: Merge,
        args: &[&[u8]],
    ) {
        let plan = Plan::Merge { merge, owners: Owners::new() };
        let shards = self.shards;
        let Some(index) = self.open_operation(socket, plan, usize::from(shards), false) else { return };
        let mut draft = Draft::default();
        for shard in 0..shards {
            let request = self.part_request(index, u32::from(shard), command, keyed, 0, merge_version(merge));
            draft.add(ShardId(shard), request, args);
        }
        self.start_transaction(index, draft);
    }

    /// Has every shard tell something about itself, each at its own time, and merges.
    pub(super) fn start_broadcast(&mut self, socket: SocketId, work: Work, merge: Merge, args: &[&[u8]]) {
        let shards: Vec<_> = (0..self.shards).map(ShardId).collect();
        self.start_on(socket, work, merge, args, &shards);
    }

    /// Has some shards tell something about themselves, each at its own time, and merges.
    pub(super) fn start_on(
        &mut self,
        socket: SocketId,
        work: Work,
        merge: Merge,
        args: &[&[u8]],
        shards: &[ShardId],
    ) {
        let plan = Plan::Merge { merge, owners: Owners::new() };
        let Some(index) = self.open_operation(socket, plan, shards.len(), false) else { return };
        let operation = &self.operations[index as usize];
        let version = merge_version(merge).unwrap_or(operation.version);
        let call = Call {
            database: operation.database,
            version,
            slot: 0,
            touches: operation.touches,
            origin: operation.origin,
        };
        for (part, shard) in shards.iter().enumerate() {
            let target = Target::Operation { index, part: part as u32 };
            let request = Request { target, work, call, arguments: 0 };
            if *shard == self.id {
                self.run_request(*shard, &request, args);
            } else {
                self.links.request(*shard, request, args.iter().copied());
            }
        }
    }

    /// Starts commands that are one transaction.
    pub(super) fn start_program(&mut self, socket: SocketId, program: Program) {
        let plan = Plan::Program(Box::new(program));
        if let Some(index) = self.open_operation(socket, plan, 0, false) {
            self.prepare_program(index);
        }
    }

    /// The same; the connection is held until they have ended.
    pub(super) fn start_held_program(&mut self, socket: SocketId, program: Program) {
        let plan = Plan::Program(Box::new(program));
        if let Some(index) = self.open_operation(socket, plan, 0, true) {
            self.prepare_program(index);
        }
    }

    /// Registers a program for a request of any shard.
    pub(super) fn open_program(&mut self, from: ShardId, request: &Request, program: Program) -> u32 {
        let operation = Operation {
            target: request.target,
            from,
            version: request.call.version,
            database: request.call.database,
            touches: request.call.touches,
            origin: request.call.origin,
            plan: Plan::Program(Box::new(program)),
            parts: Replies::new(),
            missing: 0,
            locking: None,
            gate: Lsn::ZERO,
            holds: false,
            lost: false,
        };
        let index = self.operations.insert(operation) as u32;
        if let Some(mut program) = self.take_program(index) {
            program.set_terms(self.terms_of(index));
            self.put_program(index, program);
        }
        index
    }

    fn terms_of(&self, index: u32) -> Terms {
        let operation = &self.operations[index as usize];
        Terms {
            operation: index,
            version: operation.version,
            database: operation.database,
            touches: operation.touches,
            origin: operation.origin,
            bulk_bytes_max: self.settings.proto_max_bulk_len,
            databases: self.store.databases(),
        }
    }

    /// The transaction of an operation that has its locks.
    pub(super) fn transaction_of(&self, index: u32) -> Option<TransactionId> {
        self.operations.get(index as usize)?.locking.as_ref().map(Locking::id)
    }

    /// A shard gets a part of a running transaction.
    pub(super) fn note_part(&mut self, index: u32, shard: ShardId) {
        if let Some(locking) = self.operations.get_mut(index as usize).and_then(|it| it.locking.as_mut()) {
            locking.add_part(shard);
        }
    }

    /// So many replies are to come.
    pub(super) fn expect_parts(&mut self, index: u32, parts: usize) {
        if let Some(operation) = self.operations.get_mut(index as usize) {
            operation_round(operation, parts);
        }
    }

    /// A program that has begun again asks for its locks.
    pub(super) fn ask_for_locks(&mut self, index: u32) {
        let Some(mut program) = self.take_program(index) else { return };
        let mut draft = self.draft_again(&mut program);
        draft.set_undoable();
        self.put_program(index, program);
        self.start_transaction(index, draft);
    }

    /// Reads the versions of keys that a connection is to watch. It is held until it has them.
    pub(super) fn start_watch(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Flow {
        let Run::Split(keyed, _) = command.run else { unreachable!("{} is split", command.name) };
        let split = self.split(command, args);
        let keys = args[1..].iter().map(|key| key.to_vec()).collect();
        let plan = Plan::Watch { keys, owners: split.owners };
        let Some(index) = self.open_operation(socket, plan, split.parts.len(), true) else {
            return Flow::Stop;
        };
        let mut draft = Draft::default();
        for (part, (shard, slot, args)) in split.parts.iter().enumerate() {
            let request = self.part_request(index, part as u32, command, keyed, *slot, Some(Version::Resp2));
            draft.add(*shard, request, args);
        }
        self.start_transaction(index, draft);
        let held = self.connections.get_mut(socket).is_some_and(|connection| connection.hold.is_some());
        if held { Flow::Stop } else { Flow::Continue }
    }

    /// Has every shard take a checkpoint, and answers when all have.
    pub(super) fn start_save(&mut self, socket: SocketId) {
        let plan = Plan::Merge { merge: Merge::Ok, owners: Owners::new() };
        let shards = self.shards;
        let Some(operation) = self.open_operation(socket, plan, usize::from(shards), false) else { return };
        self.shared.saves.begin(u32::from(shards));
        for shard in 0..shards {
            let part = u32::from(shard);
            if ShardId(shard) == self.id {
                self.on_save(self.id, operation, part);
            } else {
                self.links.send(ShardId(shard), Message::Save { waiting: Some((operation, part)) });
            }
        }
    }

    /// Has every shard take a checkpoint.
    pub(super) fn save_everywhere(&mut self) {
        self.shared.saves.begin(u32::from(self.shards));
        for shard in (0..self.shards).map(ShardId) {
            if shard == self.id {
                self.want_checkpoint();
            } else {
                self.links.send(shard, Message::Save { waiting: None });
            }
        }
    }

    /// Gathers the counters of all shards.
    pub(super) fn start_report(&mut self, socket: SocketId, report: Report) {
        let counters = vec![ShardCounters::default(); usize::from(self.shards)];
        let plan = Plan::Counters { report, counters };
        let shards = self.shards;
        let Some(operation) = self.open_operation(socket, plan, usize::from(shards), false) else { return };
        for shard in (0..shards).filter(|&shard| ShardId(shard) != self.id) {
            self.links.send(ShardId(shard), Message::CountersWanted { operation, part: u32::from(shard) });
        }
        let own = Box::new(self.snapshot());
        self.on_counters(operation, u32::from(self.id.0), own);
    }

    /// A shard's counters have come.
    pub(super) fn on_counters(&mut self, index: u32, part: u32, counters: Box<ShardCounters>) {
        let Some(operation) = self.operations.get_mut(index as usize) else { return };
        if let Plan::Counters { counters: all, .. } = &mut operation.plan {
            all[part as usize] = *counters;
        }
        operation.missing -= 1;
        if operation.missing == 0 {
            self.advance(index);
        }
    }

    /// A part's reply is there.
    pub(super) fn on_part(&mut self, index: u32, part: u32, reply: &[u8], gate: Lsn) {
        let Some(operation) = self.operations.get_mut(index as usize) else { return };
        // Most replies to writes say that all is well, which is what no reply says, too.
        let tells = !matches!(operation.plan, Plan::Merge { merge: Merge::Ok, .. });
        if tells || parse_error_reply(reply).is_some() {
            operation.parts[part as usize] = reply.to_vec();
        }
        operation.gate = operation.gate.max(gate);
        operation.missing -= 1;
        if operation.missing == 0 {
            self.advance(index);
        }
    }

    /// The outcome of a part will never be known, so that of the operation won't be either: it ends with its last part, without a
    /// reply. Returns who has to learn of it.
    pub(super) fn lose_part(&mut self, index: u32) -> Option<Target> {
        let operation = self.operations.get_mut(index as usize)?;
        operation.lost = true;
        operation.missing -= 1;
        let (target, from) = (operation.target, operation.from);
        if operation.missing == 0 {
            self.operations.remove(index as usize);
        }
        if from != self.id {
            let mut lost = Box::new(ReplyBatch::default());
            lost.end(target);
            self.links.send(from, Message::Lost(lost));
            return None;
        }
        Some(target)
    }

    /// All that was asked for is there.
    pub(super) fn advance(&mut self, index: u32) {
        let Some(operation) = self.operations.get_mut(index as usize) else { return };
        if operation.lost {
            self.operations.remove(index as usize);
            return;
        }
        let mut reply = self.scratch.pop().unwrap_or_default();
        match &mut operation.plan {
            Plan::Merge { merge, owners } => {
                let mut out = Encoder::new(&mut reply, operation.version);
                merge_parts(*merge, owners, &operation.parts, &mut out, &mut self.random);
            }
            Plan::Program(_) => {
                self.keep_scratch(reply);
                self.advance_program(index);
                return;
            }
            Plan::Counters { report, counters } => {
                let (report, counters) = (report.clone(), std::mem::take(counters));
                let version = operation.version;
                self.render_report(&report, &counters, &mut Encoder::new(&mut reply, version));
            }
            Plan::Watch { keys, owners } => {
                let versions = in_key_order(owners, &operation.parts);
                let versions = versions.map(|it| parse_integer_reply(it).unwrap_or(0) as u64);
                let watched: Vec<_> = std::mem::take(keys).into_iter().zip(versions).collect();
                let (target, database) = (operation.target, operation.database);
                self.note_watched(target, database, watched);
                Encoder::new(&mut reply, Version::Resp2).ok();
            }
        }
        self.finish(index, &reply);
        self.keep_scratch(reply);
    }

    /// The program of an operation, taken out so that the shard can be used beside it.
    pub(super) fn take_program(&mut self, index: u32) -> Option<Box<Program>> {
        match &mut self.operations.get_mut(index as usize)?.plan {
            Plan::Program(program) => Some(std::mem::take(program)),
            _ => None,
        }
    }

    pub(super) fn put_program(&mut self, index: u32, program: Box<Program>) {
        if let Some(operation) = self.operations.get_mut(index as usize) {
            operation.plan = Plan::Program(program);
        }
    }

    /// Decides how a program runs (in one go or in rounds), and asks for its locks.
    pub(super) fn prepare_program(&mut self, index: u32) {
        let Some(mut program) = self.take_program(index) else { return };
        let terms = self.terms_of(index);
        program.set_terms(terms);
        let mut draft = self.draft(&mut program);
        if program.has_scripts() {
            draft.set_undoable();
        }
        let parts = program.parts();
        let empty = draft.is_empty() && !program.has_scripts();
        let operation = &mut self.operations[index as usize];
        operation.parts = smallvec![Vec::new(); parts];
        operation.missing = parts;
        self.put_program(index, program);
        if !empty {
            self.start_transaction(index, draft);
            return;
        }
        // Nothing about keys: nothing to wait for.
        self.before_run(index);
        if self.operations.get(index as usize).is_some_and(|operation| operation.missing == 0) && parts == 0 {
            self.advance(index);
        }
    }

    /// Runs what a program has for the connection itself, at the moment at which the rest runs elsewhere.
    pub(super) fn before_run(&mut self, index: u32) {
        let Some(operation) = self.operations.get(index as usize) else { return };
        let target = operation.target;
        let Some(mut program) = self.take_program(index) else { return };
        let served = program.take_served();
        self.put_program(index, program);
        for (part, args) in served {
            self.serve_for(target, Target::Operation { index, part }, &args);
        }
    }

    /// The next step of a program.
    fn advance_program(&mut self, index: u32) {
        let Some(mut program) = self.take_program(index) else { return };
        let Some(operation) = self.operations.get_mut(index as usize) else { return };
        let parts = std::mem::take(&mut operation.parts);
        let target = operation.target;
        if program.script.is_some() {
            self.put_program(index, program);
            self.on_called(index, parts);
            return;
        }
        let locking = operation.locking.as_ref().filter(|locking| locking.rounds());
        let rounds = locking.map(Locking::id);
        let step = program.advance(&parts, &mut self.random);
        match step {
            Step::Reply(reply) => {
                self.put_program(index, program);
                self.finish(index, &reply);
            }
            Step::Script => {
                self.put_program(index, program);
                self.start_script(index);
            }
            Step::Conclude => {
                if let Some(locking) = operation_locking(&mut self.operations, index) {
                    locking.note_writes(program.wrote);
                }
                self.put_program(index, program);
                self.conclude(index);
            }
            Step::Round(requests) => {
                self.put_program(index, program);
                let Some(id) = rounds else { unreachable!("only a transaction in rounds has a next one") };
                operation_round(&mut self.operations[index as usize], requests.len());
                for (part, request) in requests.into_iter().enumerate() {
                    let place = Target::Operation { index, part: part as u32 };
                    match request {
                        RoundRequest::Keyed(request, args) => {
                            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                            let shard = self.owner(request.call.slot);
                            self.send_round_part(id, shard, Request { target: place, ..request }, &args);
                        }
                        RoundRequest::On(shard, request, args) => {
                            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                            self.send_round_part(id, shard, Request { target: place, ..request }, &args);
                        }
                        RoundRequest::Serve(args) => self.serve_for(target, place, &args),
                    }
                }
            }
        }
    }

    /// An operation ends before anything has happened.
    pub(super) fn fail_operation(&mut self, index: u32, why: Refusal) {
        let Some(operation) = self.operations.get_mut(index as usize) else { return };
        if let Plan::Program(program) = &mut operation.plan {
            program.shown.lines = program.shown.called_off.take().into_iter().collect();
        }
        let exec = matches!(&operation.plan, Plan::Program(program) if program.is_exec());
        let mut reply = Vec::new();
        let mut out = Encoder::new(&mut reply, operation.version);
        match why {
            Refusal::Watched => out.null_array(),
            Refusal::Write(text) if exec => {
                out.error(format!("EXECABORT Transaction discarded because of: {text}"));
            }
            Refusal::Write(text) => out.error(text),
        }
        self.finish(index, &reply);
    }

    fn finish(&mut self, index: u32, reply: &[u8]) {
        let mut operation = self.operations.remove(index as usize);
        if let Plan::Program(program) = &mut operation.plan {
            let watched = program.take_watched();
            let messages = std::mem::take(&mut program.messages);
            let shown = std::mem::take(&mut program.shown);
            shown.lines.iter().for_each(|line| self.show_everywhere(line));
            self.forget_watched(&watched);
            self.send_messages(messages);
            if let Some((number, args)) = program.take_waits() {
                self.on_nothing(number, args);
                return;
            }
        }
        if let Target::Connection { socket, client, .. } = operation.target
            && operation.holds
        {
            self.unhold(socket, client, Hold::Operation);
        }
        if operation.from == self.id {
            self.deliver(operation.target, reply, operation.gate);
            return;
        }
        self.reply_to(operation.from, operation.target, |_, out| {
            out.extend_from_slice(reply);
            operation.gate
        });
    }
}

fn operation_locking(operations: &mut slab::Slab<Operation>, index: u32) -> Option<&mut Locking> {
    operations.get_mut(index as usize)?.locking.as_mut()
}

fn operation_round(operation: &mut Operation, parts: usize) {
    operation.parts = smallvec![Vec::new(); parts];
    operation.missing = parts;
}

/// The shard, the slot of its first key, and the arguments of its part.
pub(super) type SplitPart<'a> = (ShardId, u16, SmallVec<[&'a [u8]; 8]>);

/// Keys and what belongs to them, by shard.
#[derive(Default)]
pub(super) struct Split<'a> {
    pub(super) parts: SmallVec<[SplitPart<'a>; 2]>,
    pub(super) owners: Owners,
}

/// The version that parts are written in when merging reads them; `None`: as the connection has it, for they are passed on.
pub(super) fn merge_version(merge: Merge) -> Option<Version> {
    match merge {
        Merge::Array | Merge::Concat | Merge::First => None,
        _ => Some(Version::Resp2),
    }
}

/// The elements of an array reply, which one of our own shards has written.
fn array_elements(part: &[u8]) -> impl Iterator<Item = &[u8]> {
    elements(part).into_iter().flatten().filter_map(Result::ok)
}

/// The elements of array replies, one for each key, in the order of the keys.
fn in_key_order<'a>(owners: &'a [ShardId], parts: &'a [Vec<u8>]) -> impl Iterator<Item = &'a [u8]> {
    let mut elements: Vec<_> = parts.iter().map(|part| array_elements(part)).collect();
    owners.iter().map(move |owner| elements[owner.index()].next().unwrap_or(b"$-1\r\n"))
}

pub(super) fn merge_parts(
    merge: Merge,
    owners: &[ShardId],
    parts: &[Vec<u8>],
    out: &mut Encoder<'_>,
    random: &mut crate::runtime::Rng,
) {
    if let Some(error) = parts.iter().find(|part| parse_error_reply(part).is_some()) {
        out.raw(error);
        return;
    }
    match merge {
        Merge::Sum => out.integer(parts.iter().filter_map(|part| parse_integer_reply(part)).sum()),
        Merge::Ok => out.ok(),
        Merge::First => out.raw(parts.first().map_or(b"".as_slice(), Vec::as_slice)),
        Merge::Array => {
            out.array_header(owners.len());
            in_key_order(owners, parts).for_each(|element| out.raw(element));
        }
        Merge::Concat => {
            out.array_header(parts.iter().map(|part| array_elements(part).count()).sum());
            for element in parts.iter().flat_map(|part| array_elements(part)) {
                out.raw(element);
            }
        }
        Merge::Custom(merge) => merge(parts, out, random),
    }
}

//! A script as a transaction in rounds: its commands run on whichever shards have their keys, under locks that it gets one by one.
//!
//! It begins like any transaction, with the locks of the keys that it is known to need. From then on each command asks for those of
//! its own, and gets them if nobody else has or wants them. If somebody does, everything is undone on all shards and the script
//! begins again, knowing more; after a few times it asks for all keys of all shards, and then nothing can stop it.
//!
//! What has changed something too large to be undone can't begin again. It [insists](super::super::transactions::locks): whoever
//! has what it wants and may still give it back is made to, and whoever may not will soon be done.

use annulus_protocol::{Encoder, Version};
use annulus_storage::{DeferredGroup, ShardId, TransactionId};

use super::{Running, SLICES_PER_TURN, calls, declared};
use crate::commands::{Command, Flags, Run};
use crate::script::{Exchange, Resume, Step};
use crate::shard::Core;
use crate::shard::batch::{Call, Request, Target, Work};
use crate::shard::operations::Replies;
use crate::shard::outgoing::Outgoing;
use crate::shard::transactions::coordinator::Locking;
use crate::shard::transactions::locks::{LockRequest, Mode};
use crate::shard::transactions::participant::Waiter;
use crate::shard::transactions::program::{Program, RoundRequest, Step as ProgramStep, Terms};
use crate::shard::transactions::{Part, Refusal, Signal, When, lock_request};

/// Times that a script begins again before it asks for everything.
const ATTEMPTS_MAX: u32 = 4;

/// For how long a script insists on keys that another one insists to keep.
const INSISTS_MAX_NS: u64 = 1_000_000_000;
const INSISTED_IN_VAIN: &str =
    "ERR The script needs keys that another script has, which needs keys that this one has";

const DISK_REFUSES: &str = "MISCONF The log takes no more writes: this script was not applied. INFO persistence and the server's log say why";

/// Whether a refusal is for the state of a disk.
pub(super) fn is_of_disk(text: &str) -> bool {
    text.starts_with("MISCONF")
}

/// Whether a command that a disk refuses is the end of everything: something was written before it, and can be undone. Otherwise the
/// script gets the error, as from Redis.
fn refuses_all(program: &Program, effective: bool) -> bool {
    (effective || program.wrote) && !program.is_final && !program.stands_beside
}

/// How far a script's command is.
#[derive(Debug, Default)]
pub(in crate::shard) enum CallState {
    /// There is none under way.
    #[default]
    None,
    /// It is in the exchange, and insists on its keys since then, monotonic ns.
    Insists(u64),
    /// It runs on several shards, or another one.
    Sent(Box<SentCall>),
}

/// A command of a script on several shards, or another one.
#[derive(Debug)]
pub(in crate::shard) struct SentCall {
    inner: Program,
    /// The round under way, and the replies that have come.
    requests: Vec<RoundRequest>,
    replies: Vec<Option<Vec<u8>>>,
    /// The requests that the last parts stand for.
    asked: Vec<usize>,
    /// It insists on keys since then, monotonic ns.
    insists_since: Option<u64>,
}

/// How the reply of a script's command begins on its way back.
mod mark {
    /// It has run, and can be undone.
    pub(super) const DONE: u8 = b'd';
    /// It has run, and cannot be undone.
    pub(super) const FINAL: u8 = b'f';
    /// It has not run: somebody else has its keys.
    pub(super) const BLOCKED: u8 = b'b';
    /// It has not run: the disk takes no more.
    pub(super) const REFUSED: u8 = b'r';
}

/// What has become of a command.
enum Called {
    /// Its reply is in the exchange.
    Done,
    /// It is to be sent.
    Sent,
    /// These can't be locked.
    Blocked(Vec<(ShardId, LockRequest)>),
    /// It needs all keys of all shards.
    NeedsAll,
    /// A disk takes no more of what has begun to be written.
    Refused,
}

impl Core {
    /// Begins a script in rounds which could not end in its turn.
    pub(super) fn start_script_again(
        &mut self,
        from: ShardId,
        request: &Request,
        command: &'static Command,
        args: &[&[u8]],
    ) {
        let index = self.open_program(from, request, Program::single(command, args));
        self.prepare_program(index);
    }

    /// Sets a script aside in the middle of its work: it becomes a transaction that has what it has touched, and goes on in
    /// the next turn. `calls`: with the command in its exchange, which has not run.
    pub(super) fn set_aside(
        &mut self,
        from: ShardId,
        request: &Request,
        (command, args): (&'static Command, &[&[u8]]),
        (mut running, calls): (Running, bool),
        (group, outgoing): (DeferredGroup, Vec<Outgoing>),
    ) {
        let mut locks = LockRequest::of(std::mem::take(&mut running.keys), running.whole);
        if let Some(client) = request.target.client() {
            // What its connection sends behind it waits.
            locks.set_session(client, Mode::Exclusive);
        }
        let mut program = Program::single(command, args);
        self.draft(&mut program);
        program.is_final = !group.is_undoable();
        if calls {
            running.call = CallState::Insists(self.time.monotonic_ns);
        }
        let held = running.holds.take();
        program.script = Some(Box::new(running));
        let index = self.open_program(from, request, program);
        let id = self.next_transaction();
        let mut locking = Locking::of_running(id);
        locking.add_part(self.id);
        if let Some(operation) = self.operations.get_mut(index as usize) {
            operation.locking = Some(locking);
        }
        let mut group = Some(group);
        if let Some(held) = held {
            self.locks.hand_over(held, id.into(), Core::part_of_script(id, index, &mut group));
        }
        let got = self.locks.try_extend(id.into(), &locks, || Core::part_of_script(id, index, &mut group));
        assert!(got, "a script has touched what it could not lock");
        if let Some(Waiter::Part(part)) = self.locks.work_mut(id.into()) {
            part.outgoing = outgoing;
        }
        // What it has declared and not touched yet, it would rather keep.
        self.locks.try_extend(id.into(), &declared(command, args), || unreachable!("it has a part"));
        self.scripts.under_way.push(index);
        self.scripts.paused.push(index);
    }

    /// Begins the script of a program that has its locks.
    pub(in crate::shard) fn start_script(&mut self, index: u32) {
        let Some(mut program) = self.take_program(index) else { return };
        let (command, args) = program.current();
        let terms = program.terms();
        let Terms { database, version, touches, origin, .. } = terms;
        let call = Call { database, version, slot: 0, touches, origin };
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let Run::Script(which) = command.run else { unreachable!("{} runs no script", command.name) };
        self.commands[command.id()].calls += 1;
        if command.runs_function()
            && let Some(id) = self.transaction_of(index)
        {
            self.depend_on_libraries(id);
        }
        let running = self
            .prepare_script(which, &args)
            .and_then(|prepared| self.set_up(&prepared, command, &args, call));
        match running {
            Ok(running) => {
                program.script = Some(Box::new(running));
                self.put_program(index, program);
                self.scripts.under_way.push(index);
                self.drive(index, Resume::Continue);
            }
            Err(text) => {
                let mut reply = Vec::new();
                Encoder::new(&mut reply, terms.version).error(&text);
                self.note_script_reply(command, &reply);
                program.end_script(reply);
                self.put_program(index, program);
                self.advance(index);
            }
        }
    }

    /// Goes on with the scripts that made room for other work.
    pub(in crate::shard) fn resume_scripts(&mut self) -> bool {
        if self.scripts.paused.is_empty() {
            return false;
        }
        for index in std::mem::take(&mut self.scripts.paused) {
            let Some(mut program) = self.take_program(index) else { continue };
            let waits = program.script.as_mut().map(|running| {
                running.slices = 0;
                self.notice_overdue(index, running.started_ns, running.loaded.is_some());
                !matches!(running.call, CallState::None)
            });
            self.put_program(index, program);
            if waits == Some(true) {
                self.insist(index);
            } else {
                self.drive(index, Resume::Continue);
            }
        }
        true
    }

    /// Runs a script until it ends, waits or has worked for a while.
    fn drive(&mut self, index: u32, mut with: Resume) {
        loop {
            let Some(mut program) = self.take_program(index) else { return };
            let Some(mut running) = program.script.take() else { return };
            let step = running.resume(with);
            match step {
                Step::Command => {
                    program.script = Some(running);
                    self.put_program(index, program);
                    if !self.call_now(index) {
                        return;
                    }
                    with = Resume::Reply;
                }
                Step::Pause => {
                    running.slices += 1;
                    let pauses = running.slices >= SLICES_PER_TURN;
                    program.script = Some(running);
                    self.put_program(index, program);
                    if pauses {
                        self.scripts.paused.push(index);
                        return;
                    }
                    with = Resume::Continue;
                }
                Step::Reply => {
                    let mut running = *running;
                    if self.operations[index as usize].is_narrow() {
                        running.script.note_narrow();
                    } else if running.script.is_wide() {
                        running.script.set_wide();
                    }
                    let reply = running.machine.exchange().reply.clone();
                    let (command, _) = program.current();
                    self.note_script_reply(command, &reply);
                    program.messages.append(&mut running.messages);
                    program.wrote |= running.wrote;
                    self.keep_machine(running.machine, running.loaded);
                    self.scripts.under_way.retain(|it| *it != index);
                    program.end_script(reply);
                    self.put_program(index, program);
                    self.advance(index);
                    return;
                }
                Step::Loaded(_) => unreachable!("a script was to run"),
            }
        }
    }

    /// Runs or sends the command in the exchange. Whether its reply is there.
    fn call_now(&mut self, index: u32) -> bool {
        let Some(id) = self.transaction_of(index) else { return false };
        let Some(mut program) = self.take_program(index) else { return false };
        let Some(mut running) = program.script.take() else { return false };
        let mut exchange = std::mem::take(&mut *running.machine.exchange());
        let mut reply = std::mem::take(&mut exchange.reply);
        reply.clear();
        let called = self.call_in_rounds(index, id, &mut program, &mut running, &exchange, &mut reply);
        exchange.reply = reply;
        *running.machine.exchange() = exchange;
        program.script = Some(running);
        self.put_program(index, program);
        match called {
            Called::Done => true,
            Called::Sent => {
                // What is on this shard answers at once, and must not go deeper with each command.
                let outer = self.scripts.driven.replace(index);
                self.send_calls(index, id);
                self.scripts.driven = outer;
                self.take_ready(index)
            }
            Called::Blocked(wanted) => {
                self.on_blocked(index, wanted);
                false
            }
            Called::NeedsAll => {
                self.begin_again(index, Vec::new(), true);
                false
            }
            Called::Refused => {
                self.refuse_script(index);
                false
            }
        }
    }

    /// A command whose keys are all this shard's.
    fn run_own_call(
        &mut self,
        request: &Request,
        command: &'static Command,
        program: &mut Program,
        running: &mut Running,
        args: &[&[u8]],
        reply: &mut Vec<u8>,
    ) -> Called {
        if let Target::Operation { index, .. } = request.target {
            self.note_part(index, self.id);
        }
        self.run_call(request, args, reply);
        match reply.first().copied() {
            Some(mark::BLOCKED) => Called::Blocked(vec![(self.id, lock_request(None, command, args))]),
            Some(mark::REFUSED) if refuses_all(program, running.effective) => Called::Refused,
            first => {
                program.is_final |= first == Some(mark::FINAL);
                running.effective |= command.flags.contains(Flags::WRITE) && first != Some(mark::REFUSED);
                reply.remove(0);
                running.call = CallState::None;
                Called::Done
            }
        }
    }

    fn call_in_rounds(
        &mut self,
        index: u32,
        id: TransactionId,
        program: &mut Program,
        running: &mut Running,
        exchange: &Exchange,
        reply: &mut Vec<u8>,
    ) -> Called {
        let args = exchange.args();
        let version = exchange.version;
        let waited = !matches!(running.call, CallState::None);
        let command = match calls::resolve(running, &args) {
            Ok(command) => command,
            Err(text) => {
                Encoder::new(reply, Version::Resp2).error(text);
                return Called::Done;
            }
        };
        if let Run::Connection(which) = command.run {
            self.show_call(running.database, command, &args);
            self.serve_script(running, command, which, &args, (version, reply));
            return Called::Done;
        }
        if matches!(command.run, Run::Broadcast(..))
            && command.flags.contains(Flags::WRITE)
            && !program.has_all
            && !program.is_final
        {
            return Called::NeedsAll;
        }
        if !waited {
            self.show_call(running.database, command, &args);
        }
        let Running { database, touches, origin, .. } = *running;
        let call = Call { database, version, slot: 0, touches, origin };
        if let Some((keyed, slot)) = self.runs_here(command, &args)
            && !matches!(command.run, Run::Broadcast(..))
        {
            let insists = program.is_final;
            let needs_memory = running.needs_memory;
            let request = Request {
                target: Target::Operation { index, part: 0 },
                work: Work::Call { id, command, keyed, insists, needs_memory },
                call: Call { slot, ..call },
                arguments: 0,
            };
            return self.run_own_call(&request, command, program, running, &args, reply);
        }
        let mut inner = Program::single(command, &args);
        inner.set_terms(Terms {
            operation: index,
            version,
            database: running.database,
            touches: running.touches,
            ..program.terms()
        });
        self.draft(&mut inner);
        inner.run_within();
        running.call = CallState::Sent(Box::new(SentCall {
            inner,
            requests: Vec::new(),
            replies: Vec::new(),
            asked: Vec::new(),
            insists_since: None,
        }));
        self.next_round(running, &[], reply)
    }

    /// The next round of a command on other shards.
    fn next_round(&mut self, running: &mut Running, parts: &[Vec<u8>], reply: &mut Vec<u8>) -> Called {
        let CallState::Sent(sent) = &mut running.call else { unreachable!("a round of no command") };
        loop {
            match sent.inner.advance(parts, &mut self.random) {
                ProgramStep::Round(requests) => {
                    sent.replies = vec![None; requests.len()];
                    sent.requests = requests;
                    return Called::Sent;
                }
                ProgramStep::Conclude => {}
                ProgramStep::Reply(done) => {
                    *reply = done;
                    running.call = CallState::None;
                    return Called::Done;
                }
                ProgramStep::Script => unreachable!("a script calls no script"),
            }
        }
    }

    /// Sends what a round has to ask and has not been answered yet.
    fn send_calls(&mut self, index: u32, id: TransactionId) {
        let Some(mut program) = self.take_program(index) else { return };
        let insists = program.is_final;
        let mut sending = Vec::new();
        if let Some(running) = &mut program.script
            && let CallState::Sent(sent) = &mut running.call
        {
            let needs_memory = running.needs_memory;
            sent.asked = (0..sent.requests.len()).filter(|at| sent.replies[*at].is_none()).collect();
            for (part, at) in sent.asked.iter().enumerate() {
                let (shard, request, args) = self.place(&sent.requests[*at]);
                let Work::Keyed(command, keyed) = request.work else {
                    unreachable!("a transaction has commands of the table only")
                };
                let work = Work::Call { id, command, keyed, insists, needs_memory };
                let target = Target::Operation { index, part: part as u32 };
                sending.push((shard, Request { target, work, ..request }, args.clone()));
            }
        }
        self.put_program(index, program);
        self.expect_parts(index, sending.len());
        for (shard, request, args) in sending {
            self.note_part(index, shard);
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            if shard == self.id {
                self.run_request(shard, &request, &args);
            } else {
                self.links.request(shard, request, args.iter().copied());
            }
        }
    }

    /// Where a request of a round goes.
    fn place<'r>(&self, request: &'r RoundRequest) -> (ShardId, Request, &'r Vec<Vec<u8>>) {
        match request {
            RoundRequest::Keyed(request, args) => (self.owner(request.call.slot), *request, args),
            RoundRequest::On(shard, request, args) => (*shard, *request, args),
            RoundRequest::Serve(_) => unreachable!("a script's commands are served at once"),
        }
    }

    /// The replies of a script's command have come from all shards that it was sent to.
    pub(in crate::shard) fn on_called(&mut self, index: u32, parts: Replies) {
        let Some(id) = self.transaction_of(index) else { return };
        let Some(mut program) = self.take_program(index) else { return };
        let Some(mut running) = program.script.take() else { unreachable!("nobody waits for a reply") };
        let CallState::Sent(sent) = &mut running.call else { unreachable!("a reply to no command") };
        let asked = std::mem::take(&mut sent.asked);
        let mut refused = false;
        for (at, mut part) in asked.into_iter().zip(parts) {
            let first = part.first().copied();
            program.is_final |= first == Some(mark::FINAL);
            refused |= first == Some(mark::REFUSED);
            let Work::Keyed(command, _) = self.place(&sent.requests[at]).1.work else {
                unreachable!("a transaction has commands of the table only")
            };
            let ran = matches!(first, Some(mark::DONE | mark::FINAL));
            running.effective |= ran && command.flags.contains(Flags::WRITE);
            if ran || first == Some(mark::REFUSED) {
                part.remove(0);
                sent.replies[at] = Some(part);
            }
        }
        if refused && refuses_all(&program, running.effective) {
            program.script = Some(running);
            self.put_program(index, program);
            self.refuse_script(index);
            return;
        }
        let missing = (0..sent.requests.len()).filter(|at| sent.replies[*at].is_none());
        let missing: Vec<usize> = missing.collect();
        if !missing.is_empty() {
            let wanted = missing.into_iter().map(|at| {
                let (shard, request, args) = self.place(&sent.requests[at]);
                let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                let Work::Keyed(command, _) = request.work else {
                    unreachable!("a transaction has commands of the table only")
                };
                (shard, lock_request(None, command, &args))
            });
            let wanted = wanted.collect();
            program.script = Some(running);
            self.put_program(index, program);
            self.on_blocked(index, wanted);
            return;
        }
        sent.insists_since = None;
        let parts: Vec<Vec<u8>> = sent.replies.drain(..).flatten().collect();
        let mut reply = Vec::new();
        let called = self.next_round(&mut running, &parts, &mut reply);
        running.machine.exchange().reply = reply;
        let driven = self.scripts.driven == Some(index);
        running.ready = driven && !matches!(called, Called::Sent);
        program.script = Some(running);
        self.put_program(index, program);
        match called {
            Called::Sent => self.send_calls(index, id),
            _ if driven => {}
            _ => self.drive(index, Resume::Reply),
        }
    }

    /// Whether the reply to a script's command has come while it was sent.
    fn take_ready(&mut self, index: u32) -> bool {
        let Some(mut program) = self.take_program(index) else { return false };
        let ready = program.script.as_mut().is_some_and(|running| std::mem::take(&mut running.ready));
        self.put_program(index, program);
        ready
    }

    /// Somebody else has what the running command wants.
    fn on_blocked(&mut self, index: u32, wanted: Vec<(ShardId, LockRequest)>) {
        let now_ns = self.time.monotonic_ns;
        let Some(mut program) = self.take_program(index) else { return };
        let Some(running) = program.script.as_mut() else { unreachable!("a script is blocked") };
        if !program.is_final {
            self.put_program(index, program);
            self.begin_again(index, wanted, false);
            return;
        }
        let since = match &mut running.call {
            CallState::Sent(sent) => *sent.insists_since.get_or_insert(now_ns),
            CallState::Insists(since) => *since,
            state @ CallState::None => {
                *state = CallState::Insists(now_ns);
                now_ns
            }
        };
        if now_ns.saturating_sub(since) < INSISTS_MAX_NS {
            self.put_program(index, program);
            self.scripts.paused.push(index);
            return;
        }
        running.call = CallState::None;
        let mut reply = Vec::new();
        Encoder::new(&mut reply, Version::Resp2).error(INSISTED_IN_VAIN);
        running.machine.exchange().reply = reply;
        self.put_program(index, program);
        self.drive(index, Resume::Reply);
    }

    /// Tries again to get what a script insists on.
    fn insist(&mut self, index: u32) {
        let Some(id) = self.transaction_of(index) else { return };
        let Some(program) = self.take_program(index) else { return };
        let sent = program.script.as_ref().is_some_and(|running| matches!(running.call, CallState::Sent(_)));
        self.put_program(index, program);
        if sent {
            self.send_calls(index, id);
            return;
        }
        if self.call_now(index) {
            self.drive(index, Resume::Reply);
        }
    }

    /// Undoes everything that a program has done, and begins again with these locks besides.
    fn begin_again(&mut self, index: u32, wanted: Vec<(ShardId, LockRequest)>, all: bool) {
        let Some(mut program) = self.take_program(index) else { return };
        if let Some(mut running) = program.script.take() {
            running.machine.abandon();
            self.keep_machine(running.machine, running.loaded);
        }
        self.scripts.under_way.retain(|it| *it != index);
        self.counters.transactions.restarted += 1;
        program.begin_again(wanted, all, ATTEMPTS_MAX);
        self.put_program(index, program);
        self.cancel_parts(index);
        self.ask_for_locks(index);
    }

    /// Undoes everything that a program has done: a disk takes no more of it, and half of it is nobody's wish.
    fn refuse_script(&mut self, index: u32) {
        let Some(mut program) = self.take_program(index) else { return };
        if let Some(mut running) = program.script.take() {
            running.machine.abandon();
            self.keep_machine(running.machine, running.loaded);
        }
        self.scripts.under_way.retain(|it| *it != index);
        program.messages.clear();
        self.put_program(index, program);
        self.cancel_parts(index);
        self.fail_operation(index, Refusal::Write(DISK_REFUSES));
    }

    /// What a shard keeps for a script that has no part there yet.
    fn part_of_script(id: TransactionId, operation: u32, group: &mut Option<DeferredGroup>) -> Waiter {
        let deferred = group.take().unwrap_or_else(DeferredGroup::undoable);
        Waiter::Part(Box::new(Part { id, operation, when: When::Told, deferred, ..Part::default() }))
    }

    /// Runs a command of a script of whatever shard, if it can have the locks. The reply begins with a [`mark`].
    pub(in crate::shard) fn run_call(&mut self, request: &Request, args: &[&[u8]], out: &mut Vec<u8>) {
        let Work::Call { id, command, keyed, insists, needs_memory } = request.work else {
            unreachable!("a call is {:?}", request.work)
        };
        let Target::Operation { index, .. } = request.target else { unreachable!("a call is a part") };
        self.witness(id);
        let locks = lock_request(None, command, args);
        let got = self.locks.try_extend(id.into(), &locks, || Core::part_of_script(id, index, &mut None))
            || insists && self.locks.insist(id.into(), &locks, || Core::part_of_script(id, index, &mut None));
        if insists {
            self.settle_locks();
        }
        if !got {
            out.push(mark::BLOCKED);
            return;
        }
        let start = out.len();
        out.push(mark::DONE);
        let writes = command.flags.contains(Flags::WRITE);
        let admitted = if writes { self.admit_write(args) } else { Ok(()) };
        let needs_memory = needs_memory && command.flags.contains(Flags::DENYOOM);
        let admitted = admitted.and_then(|()| if needs_memory { self.admit_memory(args) } else { Ok(()) });
        if let Err(text) = admitted {
            self.commands[command.id()].rejected += 1;
            if is_of_disk(text) {
                out[start] = mark::REFUSED;
            }
            Encoder::new(out, request.call.version).error(text);
            return;
        }
        if self.run_round(id, (command, keyed), args, request.call, out) {
            out[start] = mark::FINAL;
        }
    }

    /// A script whose time is over is told so by nobody; but who waits for it is.
    fn notice_overdue(&mut self, index: u32, started_ns: u64, function: bool) {
        let patience_ns = u64::from(self.settings.busy_reply_threshold).saturating_mul(1_000_000);
        if self.time.monotonic_ns.saturating_sub(started_ns) < patience_ns {
            return;
        }
        let Some(operation) = self.operations.get_mut(index as usize) else { return };
        let Some(locking) = operation.locking.as_mut() else { return };
        if !locking.take_overdue() {
            return;
        }
        let (id, shards) = (locking.id(), locking.shards());
        for shard in shards {
            self.signal(shard, Signal::Overdue { id, function });
        }
    }

    /// Ends the scripts of this shard that take long, or the functions. What became of them: see [`Kill`].
    pub(super) fn kill_scripts(&mut self, functions: bool) -> Kill {
        let mut outcome = Kill::NoneRuns;
        for index in self.scripts.under_way.clone() {
            let Some(mut program) = self.take_program(index) else { continue };
            if let Some(running) = program.script.as_mut() {
                if running.loaded.is_some() != functions {
                    outcome = outcome.max(Kill::OtherKind(running.loaded.is_some()));
                } else if running.wrote || program.wrote {
                    outcome = outcome.max(Kill::HasWritten);
                } else {
                    running.killed = true;
                    outcome = Kill::Killed;
                }
            }
            self.put_program(index, program);
        }
        outcome
    }

    /// A stop waits for no script that may never end: what it has done is undone.
    pub(in crate::shard) fn stop_scripts(&mut self) {
        for index in std::mem::take(&mut self.scripts.paused) {
            let Some(mut program) = self.take_program(index) else { continue };
            if program.is_final || program.has_all {
                // The stop has its own patience.
                self.put_program(index, program);
                self.scripts.paused.push(index);
                continue;
            }
            if let Some(mut running) = program.script.take() {
                running.machine.abandon();
            }
            self.put_program(index, program);
            self.scripts.under_way.retain(|it| *it != index);
            self.cancel_parts(index);
            self.fail_operation(index, Refusal::Write(crate::shard::commit::CLOSING));
        }
    }
}

/// What SCRIPT KILL has met, the better the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kill {
    /// No script.
    NoneRuns,
    /// A function for who wants to end scripts, or a script for who wants to end functions: whether it's a function.
    OtherKind(bool),
    /// One that must not be ended.
    HasWritten,
    /// One that ends.
    Killed,
}

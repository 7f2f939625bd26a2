//! A script in one go, in the shard's turn.

use annulus_protocol::{Encoder, Version};
use annulus_storage::{DeferredGroup, Lsn, ShardId};

use super::rounds::is_of_disk;
use super::texts::Script;
use super::{Prepared, Running, SLICES_PER_TURN, calls};
use crate::commands::{Command, Flags, Keyed, Run, ScriptRun, Waiting, cursor_group};
use crate::runtime::SocketId;
use crate::script::{Exchange, Resume, Step};
use crate::shard::Core;
use crate::shard::batch::{Call, Request, Target, Work};
use crate::shard::connection::Hold;
use crate::shard::dispatch::Flow;
use crate::shard::operations::merge_parts;
use crate::shard::transactions::lock_request;
use crate::shard::transactions::program::Program;

/// What has become of a script's command.
enum Called {
    /// Its reply is in the exchange.
    Done,
    /// It has keys of another shard.
    Elsewhere,
    /// It has keys that a transaction has.
    Blocked,
    /// The disk takes no more of what the script has begun to write.
    Refused(&'static str),
}

/// How a script is to go on that cannot end in this turn.
enum Leave {
    /// From the beginning, in rounds.
    Again,
    /// From where it is, as a transaction that has what it has touched.
    SetAside,
    /// Not at all, and what it has done is undone.
    Refused(&'static str),
}

impl Core {
    /// EVAL and its kin, from a connection of this shard.
    pub(in crate::shard) fn run_script_command(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        which: ScriptRun,
        args: &[&[u8]],
    ) -> Flow {
        if self.monitors.any {
            self.show_command(socket, command, args);
        }
        let slot = command.key_positions(args).next().map(|(at, _)| annulus_protocol::slot(args[at]));
        let prepared = self.prepare_script(which, args);
        let is = |what: fn(&Script) -> bool| prepared.as_ref().is_ok_and(|prepared| what(&prepared.script));
        if self.shards > 1 && (is(Script::is_wide) || self.common_owner(command, args).is_none()) {
            // The commands behind it must see what it does on whichever shards.
            self.start_held_program(socket, Program::single(command, args));
            let held = |it: &crate::shard::Connection| it.hold == Some(Hold::Operation);
            let held = self.connections.get(socket).is_some_and(held);
            return if held { Flow::Stop } else { Flow::Continue };
        }
        let is_narrow = is(Script::is_narrow);
        let Some(connection) = self.connections.get_mut(socket) else { return Flow::Stop };
        let call = connection.call(slot.unwrap_or(0));
        let place = connection.replies.reserve(connection.suppresses_reply());
        let target = Target::Connection { socket, client: connection.client, place };
        let request = Request { target, work: Work::Script(command, which), call, arguments: 0 };
        let owner = slot.map_or(self.id, |slot| self.owner(slot));
        let runs_here = owner == self.id && !self.must_wait(target.client(), command, args);
        if runs_here {
            self.run_prepared(owner, &request, command, prepared, args);
            self.serve_ready();
        } else if owner == self.id {
            self.defer(owner, &request, command, args);
        } else {
            self.links.request(owner, request, args.iter().copied());
        }
        if self.shards > 1 && (runs_here || !is_narrow) {
            return self.hold_behind(socket, place);
        }
        Flow::Continue
    }

    /// What a connection sends behind a script that may use other shards waits until that has ended.
    fn hold_behind(&mut self, socket: SocketId, place: u32) -> Flow {
        match self.connections.get_mut(socket) {
            None => Flow::Stop,
            Some(connection) if connection.replies.is_absent(place) => {
                connection.hold = Some(Hold::Order);
                self.held.push(socket);
                Flow::Stop
            }
            Some(_) => Flow::Continue,
        }
    }

    /// Runs a script whose keys, as far as they are declared, are free.
    pub(in crate::shard) fn run_script(
        &mut self,
        from: ShardId,
        request: &Request,
        (command, which): (&'static Command, ScriptRun),
        args: &[&[u8]],
    ) {
        let prepared = self.prepare_script(which, args);
        self.run_prepared(from, request, command, prepared, args);
    }

    /// As if it had not run.
    fn undo_run(&mut self, mut running: Running, group: DeferredGroup, mark: usize) {
        let undone = self.take_outgoing_since(mark);
        self.undo_outgoing(undone);
        self.store.roll_back(group);
        running.machine.abandon();
        self.keep_machine(running.machine, running.loaded);
    }

    fn run_prepared(
        &mut self,
        from: ShardId,
        request: &Request,
        command: &'static Command,
        prepared: Result<Prepared, Vec<u8>>,
        args: &[&[u8]],
    ) {
        let call = request.call;
        let granted = self.scripts.granted.take();
        self.commands[command.id()].calls += 1;
        let mut running = match prepared.and_then(|prepared| self.set_up(&prepared, command, args, call)) {
            Ok(running) => running,
            Err(text) => {
                let gate = if command.runs_function() { self.gate_of_libraries() } else { Lsn::ZERO };
                return self.refuse_here(from, request, command, &text, gate);
            }
        };
        running.holds = granted;
        let timer = self.start_timer();
        let mark = self.outgoing_mark();
        self.store.resume_transaction(DeferredGroup::undoable());
        if running.loaded.is_some() {
            self.store.libraries();
        }
        let left = self.run_to_end(&mut running);
        if let Some(timer) = timer {
            self.stop_timer(command, timer);
        }
        let group = match left {
            None => DeferredGroup::default(),
            Some(_) => self.store.suspend_transaction(),
        };
        match left {
            None => {
                let gate = self.store.commit_running();
                running.script.note_narrow();
                self.send_messages(std::mem::take(&mut running.messages));
                let lost = gate > self.durable() && self.log_failed;
                self.reply_to(from, request.target, |core, out| {
                    if lost {
                        Encoder::new(out, call.version).error(crate::shard::commit::FAILED_READ);
                        return Lsn::ZERO;
                    }
                    let exchange = running.machine.exchange();
                    core.note_script_reply(command, &exchange.reply);
                    out.extend_from_slice(&exchange.reply);
                    gate
                });
                self.keep_machine(running.machine, running.loaded);
            }
            Some(Leave::Again) if group.is_undoable() => {
                self.undo_run(running, group, mark);
                self.start_script_again(from, request, command, args);
            }
            Some(Leave::Refused(text)) => {
                self.undo_run(running, group, mark);
                self.refuse_here(from, request, command, text.as_bytes(), Lsn::ZERO);
            }
            Some(left) => {
                let calls = matches!(left, Leave::Again);
                let done = (group, self.take_outgoing_since(mark));
                self.set_aside(from, request, (command, args), (running, calls), done);
            }
        }
    }

    fn refuse_here(&mut self, from: ShardId, request: &Request, command: &Command, text: &[u8], gate: Lsn) {
        self.commands[command.id()].failed += 1;
        self.count_error(text);
        self.reply_to(from, request.target, |_, out| {
            Encoder::new(out, request.call.version).error(text);
            gate
        });
    }

    /// Counts an error reply of a script.
    pub(super) fn note_script_reply(&mut self, command: &Command, reply: &[u8]) {
        if reply.first() == Some(&b'-') {
            self.commands[command.id()].failed += 1;
            self.count_error(&reply[1..]);
        }
    }

    /// Runs a script as far as it gets in one turn. The result says how it goes on, if it has not ended.
    fn run_to_end(&mut self, running: &mut Running) -> Option<Leave> {
        let mut with = Resume::Continue;
        loop {
            match running.resume(with) {
                Step::Command => match self.call_here(running) {
                    Called::Done => with = Resume::Reply,
                    Called::Elsewhere => {
                        running.script.set_wide();
                        return Some(Leave::Again);
                    }
                    Called::Blocked => return Some(Leave::Again),
                    Called::Refused(text) => return Some(Leave::Refused(text)),
                },
                Step::Pause => {
                    running.slices += 1;
                    if running.slices >= SLICES_PER_TURN {
                        return Some(Leave::SetAside);
                    }
                    with = Resume::Continue;
                }
                Step::Reply => return None,
                Step::Loaded(_) => unreachable!("a script was to run"),
            }
        }
    }

    /// Runs the command in the exchange, if it can run here and now.
    fn call_here(&mut self, running: &mut Running) -> Called {
        let mut exchange = std::mem::take(&mut *running.machine.exchange());
        let mut reply = std::mem::take(&mut exchange.reply);
        reply.clear();
        let called = self.call_in_exchange(running, &exchange, &mut reply);
        exchange.reply = reply;
        *running.machine.exchange() = exchange;
        called
    }

    fn call_in_exchange(
        &mut self,
        running: &mut Running,
        exchange: &Exchange,
        reply: &mut Vec<u8>,
    ) -> Called {
        let args = exchange.args();
        let version = exchange.version;
        let command = match calls::resolve(running, &args) {
            Ok(command) => command,
            Err(text) => {
                Encoder::new(reply, Version::Resp2).error(text);
                return Called::Done;
            }
        };
        let Some((keyed, slot)) = self.runs_here(command, &args) else {
            if let Run::Connection(which) = command.run {
                self.show_call(running.database, command, &args);
                self.serve_script(running, command, which, &args, (version, reply));
                return Called::Done;
            }
            return Called::Elsewhere;
        };
        let locks = lock_request(None, command, &args);
        let blocked = match running.holds {
            // Those who wait for what it has do so behind it.
            Some(own) => !self.locks.may_extend(own, &locks),
            None => !self.locks.is_empty() && self.locks.blocks(&locks),
        };
        if blocked {
            return Called::Blocked;
        }
        self.show_call(running.database, command, &args);
        running.keys.extend_from_slice(locks.keys());
        running.whole = running.whole.max(locks.whole());
        if command.flags.contains(Flags::WRITE)
            && let Err(text) = self.admit_write(&args)
        {
            self.commands[command.id()].rejected += 1;
            if running.effective && is_of_disk(text) && self.store.can_undo() {
                return Called::Refused(text);
            }
            Encoder::new(reply, version).error(text);
            return Called::Done;
        }
        running.effective |= command.flags.contains(Flags::WRITE);
        self.store.next_command();
        let Running { database, touches, origin, .. } = *running;
        let call = Call { database, version, slot, touches, origin };
        self.run_merged(command, keyed, &args, call, reply);
        Called::Done
    }

    /// The handler of a command and the slot to tell it, if all its keys are on this shard.
    pub(super) fn runs_here(&self, command: &'static Command, args: &[&[u8]]) -> Option<(Keyed, u16)> {
        let (keyed, slot) = match command.run {
            Run::Keyed(keyed)
            | Run::Split(keyed, _)
            | Run::Hops(_, keyed)
            | Run::Waits(&Waiting { keyed, .. }) => (keyed, self.common_owner(command, args)?),
            Run::Cursor(keyed) => {
                let group = args.get(1).and_then(|cursor| cursor_group(cursor)).unwrap_or(0);
                (keyed, group.min(255) << 6)
            }
            Run::Broadcast(keyed, _) if self.shards == 1 => (keyed, 0),
            Run::Broadcast(..) | Run::Connection(_) | Run::Script(_) | Run::Container => return None,
        };
        (self.owner(slot) == self.id).then_some((keyed, slot))
    }

    /// Runs a handler; of a command about all keys, the one shard's reply is merged as those of several would be.
    fn run_merged(
        &mut self,
        command: &'static Command,
        keyed: Keyed,
        args: &[&[u8]],
        call: Call,
        reply: &mut Vec<u8>,
    ) {
        match command.run {
            Run::Broadcast(_, merge) if !merge.is_plain() => {
                let mut part = Vec::new();
                self.run_handler(command, keyed, args, Call { version: Version::Resp2, ..call }, &mut part);
                merge_parts(merge, &[], &[part], &mut Encoder::new(reply, call.version), &mut self.random);
            }
            _ => self.run_handler(command, keyed, args, call, reply),
        }
    }
}

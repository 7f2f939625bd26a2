//! BLPOP and its kin: commands that wait until one of their keys has something.
//!
//! Every such command has a number on its connection's shard, and its connection is held until it ends.
//!
//! - **All keys on one shard.** That shard tries the command, and keeps it when there is nothing. From then on that shard alone decides
//!   how it ends: it serves it, right behind the command that brought something, or lets it go for want of time, or because the
//!   connection's shard says so. So nothing is taken for a command that has ended.
//! - **Keys on several shards.** The connection's shard tries, as a transaction in rounds. When there is nothing the last round tells the
//!   owners of the keys that it waits, under the same locks: nothing can come unnoticed. An owner whose key changes promises it to the
//!   command, which tries again; until it has taken something, goes on waiting or is gone, nobody else who waits for that key is served. Here the
//!   connection's shard decides how the command ends.
//!
//! Who came first to a key is served first. What a crash leaves of all this is nothing: commands that wait have done nothing.

use std::collections::{BTreeMap, BTreeSet};

use annulus_protocol::{Encoder, Version, slot};
use annulus_storage::coverage::{Branch, reached};
use annulus_storage::{Awaiter, DatabaseId, Key, Lsn, ReadyKey, ShardId};

use super::Core;
use super::batch::{Call, Origin, Request, Target, Work};
use super::connection::Hold;
use super::dispatch::Flow;
use super::transactions::participant::Waiter;
use super::transactions::program::Program;
use super::transactions::{Signal, is_locked};
use crate::commands::{Arguments, Command, Waiting, awaited_keys, owned};
use crate::runtime::SocketId;

/// What CLIENT UNBLOCK with ERROR replies for the command.
const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// How the wait of a command ends, if not by being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its time is over, or somebody has said so.
    TimedOut,
    /// CLIENT UNBLOCK with ERROR.
    Unblocked,
    /// The connection is gone: nobody gets a reply.
    Gone,
}

impl End {
    fn from_byte(byte: u8) -> End {
        match byte {
            0 => End::TimedOut,
            1 => End::Unblocked,
            _ => End::Gone,
        }
    }

    fn write(self, out: &mut Encoder<'_>) {
        match self {
            End::TimedOut => out.null_array(),
            End::Unblocked => out.error(UNBLOCKED),
            End::Gone => {}
        }
    }
}

/// A command of one of this shard's connections that waits, or may.
#[derive(Debug)]
struct Block {
    socket: SocketId,
    client: u64,
    /// Where the reply goes.
    place: Target,
    version: Version,
    state: State,
}

#[derive(Debug)]
enum State {
    /// That shard has all its keys.
    At(ShardId),
    /// The keys are on several shards.
    Spread(Box<Spread>),
}

/// A command that waits for keys of several shards.
#[derive(Debug)]
struct Spread {
    command: &'static Command,
    args: Arguments,
    database: DatabaseId,
    deadline_ns: Option<u64>,
    /// It tries at the moment.
    is_trying: bool,
    /// The owners know that it waits.
    is_known: bool,
    /// A key has changed while it tried.
    again: bool,
    /// It's to end when it has tried.
    end: Option<End>,
}

/// A command of any shard's connection that waits for keys of this shard alone.
#[derive(Debug)]
struct Kept {
    target: Target,
    command: &'static Command,
    waiting: &'static Waiting,
    args: Arguments,
    call: Call,
    deadline_ns: Option<u64>,
}

/// Who waits here, and from here.
#[derive(Debug, Default)]
pub(super) struct Blocking {
    last: u64,
    /// Of this shard's connections, by number.
    blocks: BTreeMap<u64, Block>,
    /// For keys of this shard alone, by the connection's shard and the number there.
    kept: BTreeMap<(ShardId, u64), Kept>,
    /// When they end at the latest, monotonic ns.
    deadlines: BTreeSet<(u64, ShardId, u64)>,
}

impl Blocking {
    /// When the first of them ends for want of time, monotonic ns.
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, ..)| *at)
    }

    /// How many commands wait: those kept here, and those of this shard that wait for several.
    pub(super) fn len(&self) -> usize {
        let waits =
            |block: &&Block| matches!(&block.state, State::Spread(it) if it.is_known && !it.is_trying);
        self.kept.len() + self.blocks.values().filter(waits).count()
    }
}

impl Core {
    /// Runs a command that may wait.
    pub(super) fn run_waiting(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        waiting: &'static Waiting,
        args: &[&[u8]],
    ) -> Flow {
        let common = self.common_owner(command, args);
        let Some(timeout_ms) = (waiting.timeout_ms)(args) else {
            return match common {
                Some(slot) => self.run_keyed(socket, command, waiting.keyed, args, slot),
                None => self.start_operation(socket, command, args),
            };
        };
        let now_ns = self.time.monotonic_ns;
        let deadline_ns =
            (timeout_ms > 0).then(|| now_ns.saturating_add(timeout_ms.saturating_mul(1_000_000)));
        let Some(connection) = self.connections.get_mut(socket) else { return Flow::Stop };
        self.blocking.last += 1;
        let number = self.blocking.last;
        let client = connection.client;
        let place = connection.replies.reserve(connection.suppresses_reply());
        connection.hold = Some(Hold::Blocked(number));
        let call = connection.call(common.unwrap_or(0));
        let state = match common {
            Some(slot) => State::At(self.owner(slot)),
            None => State::Spread(Box::new(Spread {
                command,
                args: owned(args),
                database: call.database,
                deadline_ns,
                is_trying: false,
                is_known: false,
                again: false,
                end: None,
            })),
        };
        let place = Target::Connection { socket, client, place };
        let block = Block { socket, client, place, version: call.version, state };
        self.blocking.blocks.insert(number, block);
        let Some(slot) = common else {
            if let Some(at) = deadline_ns {
                self.blocking.deadlines.insert((at, self.id, number));
            }
            self.try_block(number);
            return self.flow_behind(socket);
        };
        let target = Target::Wait { socket, client, number };
        let request = Request { target, work: Work::Wait(command, waiting, deadline_ns), call, arguments: 0 };
        let owner = self.owner(slot);
        if owner != self.id {
            self.links.request(owner, request, args.iter().copied());
        } else if self.must_wait(Some(client), command, args) {
            self.defer(owner, &request, command, args);
        } else {
            self.run_request(owner, &request, args);
            self.serve_ready();
        }
        self.flow_behind(socket)
    }

    /// Whether what the connection has sent behind a command runs now.
    fn flow_behind(&self, socket: SocketId) -> Flow {
        let held = self.connections.get(socket).is_some_and(|connection| connection.hold.is_some());
        if held { Flow::Stop } else { Flow::Continue }
    }

    /// Tries a command whose keys are all here, and keeps it if there is nothing.
    pub(super) fn run_or_wait(
        &mut self,
        from: ShardId,
        request: &Request,
        (command, waiting, deadline_ns): (&'static Command, &'static Waiting, Option<u64>),
        args: &[&[u8]],
    ) {
        let mut reply = Vec::new();
        self.found_nothing = false;
        let gate = self.execute(command, waiting.keyed, args, request.call, &mut reply);
        if !self.found_nothing {
            self.reply_to(from, request.target, |_, out| {
                out.append(&mut reply);
                gate
            });
            return;
        }
        let Target::Wait { number, .. } = request.target else {
            unreachable!("{} waits for nobody", command.name)
        };
        let database = request.call.database;
        let args = match waiting.settle {
            Some(settle) => settle(&mut self.store, database, args),
            None => owned(args),
        };
        let slices: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let awaiter = Awaiter { shard: from, number, kind: waiting.kind };
        for bytes in awaited_keys(command, &slices) {
            self.store.add_awaiter(database, Key { bytes, slot: slot(bytes) }, awaiter);
        }
        if let Some(at) = deadline_ns {
            self.blocking.deadlines.insert((at, from, number));
        }
        let target = request.target;
        let kept = Kept { target, command, waiting, args, call: request.call, deadline_ns };
        self.blocking.kept.insert((from, number), kept);
    }

    /// Serves those who wait for keys that have changed. One look when there are none.
    #[inline]
    pub(super) fn serve_ready(&mut self) {
        if self.store.ready_keys() > 0 {
            self.serve_ready_keys();
        }
    }

    #[cold]
    fn serve_ready_keys(&mut self) {
        let mut postponed = Vec::new();
        // Serving one may make another key ready: BLMOVE does.
        while let Some(ready) = self.store.take_ready() {
            if is_locked(&self.locks, &ready.key) {
                // A transaction is on it; when that lets go this is looked at again.
                postponed.push(ready);
                continue;
            }
            self.serve_key(&ready, &mut postponed);
        }
        for ReadyKey { database, key, slot, .. } in postponed {
            self.store.postpone(database, Key { bytes: &key, slot });
        }
    }

    fn serve_key(&mut self, ready: &ReadyKey, postponed: &mut Vec<ReadyKey>) {
        let (database, key) = (ready.database, Key { bytes: &ready.key, slot: ready.slot });
        for awaiter in &ready.awaiters {
            let id = (awaiter.shard, awaiter.number);
            let kind = self.kind_of(database, key);
            let is_kept = self.blocking.kept.contains_key(&id);
            if kind != Some(awaiter.kind) {
                let error = self.blocking.kept.get(&id).and_then(|kept| kept.waiting.ends_without_key);
                if let Some(error) = error {
                    self.let_go(id, |out| out.error(error));
                } else if !is_kept && awaiter.kind == annulus_storage::Kind::Stream {
                    // It may read for a group, which has gone with the key; it will find out.
                    self.signal(awaiter.shard, Signal::Ready(awaiter.number));
                }
                continue;
            }
            if !is_kept {
                self.signal(awaiter.shard, Signal::Ready(awaiter.number));
                if awaiter.kind != annulus_storage::Kind::Stream {
                    // What it doesn't take is there for those behind it.
                    self.store.promise(database, key, *awaiter);
                    return;
                }
                continue;
            }
            if !self.serve_kept(id, key.bytes) {
                let (key, awaiters) = (ready.key.clone(), Vec::new());
                postponed.push(ReadyKey { database, key, slot: ready.slot, awaiters });
                return;
            }
        }
    }

    fn kind_of(&mut self, database: DatabaseId, key: Key<'_>) -> Option<annulus_storage::Kind> {
        self.store.begin_command();
        self.store.forbear_touching();
        let kind = self.store.get_for_update(database, key).map(|entry| entry.value().kind());
        self.store.end_command();
        kind
    }

    /// Tries a kept command with one of its keys. False if another of its keys is locked.
    fn serve_kept(&mut self, id: (ShardId, u64), key: &[u8]) -> bool {
        let Some(kept) = self.blocking.kept.get(&id) else { return true };
        let (command, waiting, call, target) = (kept.command, kept.waiting, kept.call, kept.target);
        let all: Vec<&[u8]> = kept.args.iter().map(Vec::as_slice).collect();
        let args = (waiting.about)(&all, key);
        let slices: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        if self.must_wait(None, command, &slices) {
            return false;
        }
        let call = Call { slot: command.first_key(&slices).map_or(call.slot, slot), ..call };
        let mut reply = Vec::new();
        self.found_nothing = false;
        let gate = self.execute(command, waiting.keyed, &slices, call, &mut reply);
        if self.found_nothing {
            return true;
        }
        if waiting.ends_without_key.is_some() && reply.starts_with(b"-NOGROUP") {
            reply.clear();
            Encoder::new(&mut reply, call.version)
                .error("NOGROUP the consumer group this client was blocked on no longer exists");
        }
        reached(Branch::WaitServed);
        self.forget_kept(id);
        self.reply_to(id.0, target, |_, out| {
            out.append(&mut reply);
            gate
        });
        true
    }

    fn forget_kept(&mut self, id: (ShardId, u64)) -> Option<Kept> {
        let kept = self.blocking.kept.remove(&id)?;
        if let Some(at) = kept.deadline_ns {
            self.blocking.deadlines.remove(&(at, id.0, id.1));
        }
        let slices: Vec<&[u8]> = kept.args.iter().map(Vec::as_slice).collect();
        for bytes in awaited_keys(kept.command, &slices) {
            self.store.remove_awaiter(kept.call.database, Key { bytes, slot: slot(bytes) }, id);
        }
        Some(kept)
    }

    /// Lets a kept command go without having served it.
    fn let_go(&mut self, id: (ShardId, u64), write: impl FnOnce(&mut Encoder<'_>)) {
        let Some(kept) = self.forget_kept(id) else { return };
        reached(Branch::WaitOver);
        // It shows that there was nothing, which what is not durable yet may have brought about.
        let gate = self.store.sink().last_lsn();
        self.reply_to(id.0, kept.target, |_, out| {
            write(&mut Encoder::new(out, kept.call.version));
            gate
        });
    }

    /// The connection's shard ends the wait of a command that this shard keeps, or is about to.
    fn end_kept(&mut self, id: (ShardId, u64), end: End) {
        if end == End::Gone {
            self.forget_kept(id);
        } else if self.blocking.kept.contains_key(&id) {
            self.let_go(id, |out| end.write(out));
            return;
        }
        // It may still wait for its locks.
        let is_it = |waiter: &Waiter| match waiter {
            Waiter::Command(from, one) => one.iter().any(|(request, _)| {
                *from == id.0 && matches!(request.target, Target::Wait { number, .. } if number == id.1)
            }),
            Waiter::Part(_) => false,
        };
        let Some(age) = self.locks.find(is_it) else { return };
        let Some(Waiter::Command(from, one)) = self.locks.release(age) else { return };
        let request = one.iter().next().map(|(request, _)| *request);
        if let Some(request) = request.filter(|_| end != End::Gone) {
            self.reply_to(from, request.target, |_, out| {
                end.write(&mut Encoder::new(out, request.call.version));
                Lsn::ZERO
            });
        }
        self.settle_locks();
    }

    /// Ends the waits whose time is over.
    pub(super) fn expire_blocks(&mut self) {
        let now_ns = self.time.monotonic_ns;
        while let Some(&(at, shard, number)) = self.blocking.deadlines.first() {
            if at > now_ns {
                return;
            }
            self.blocking.deadlines.pop_first();
            if self.blocking.kept.contains_key(&(shard, number)) {
                self.let_go((shard, number), |out| End::TimedOut.write(out));
            } else if shard == self.id {
                self.end_block(number, End::TimedOut);
            }
        }
    }

    /// A stop waits for nobody: as in Redis, those who wait lose their connections.
    pub(super) fn end_blocks(&mut self) {
        let sockets: Vec<_> =
            self.blocking.blocks.values().map(|block| (block.socket, block.client)).collect();
        for (socket, client) in sockets {
            if self.connections.of_client(socket, client).is_some() {
                self.close(socket);
            }
        }
    }

    /// Ends the wait of one of this shard's commands.
    pub(super) fn end_block(&mut self, number: u64, end: End) {
        let Some(block) = self.blocking.blocks.get_mut(&number) else { return };
        match &mut block.state {
            State::At(owner) => {
                let owner = *owner;
                if end == End::Gone {
                    self.blocking.blocks.remove(&number);
                }
                if owner == self.id {
                    self.end_kept((owner, number), end);
                } else {
                    let work = Work::Core(on_end);
                    let call = own_call(DatabaseId(0), 0);
                    let request = Request { target: Target::Nobody, work, call, arguments: 0 };
                    let (shard, number) = (self.id.0.to_le_bytes(), number.to_le_bytes());
                    self.links.request(owner, request, [&shard[..], &number, &[end as u8]]);
                }
            }
            State::Spread(spread) if spread.is_trying => spread.end = Some(end),
            State::Spread(_) => self.finish_spread(number, end),
        }
    }

    fn finish_spread(&mut self, number: u64, end: End) {
        reached(Branch::WaitOver);
        let Some(block) = self.blocking.blocks.get(&number) else { return };
        let mut reply = Vec::new();
        end.write(&mut Encoder::new(&mut reply, block.version));
        self.finish_block(number, &reply, Lsn::ZERO);
    }

    /// The reply to a command that waited, or found something at once.
    pub(super) fn finish_block(&mut self, number: u64, reply: &[u8], gate: Lsn) {
        let Some(block) = self.blocking.blocks.remove(&number) else { return };
        if let State::Spread(spread) = &block.state {
            if let Some(at) = spread.deadline_ns {
                self.blocking.deadlines.remove(&(at, self.id, number));
            }
            if spread.is_known {
                self.tell_owners(number, spread);
            }
        }
        self.unhold(block.socket, block.client, Hold::Blocked(number));
        self.deliver(block.place, reply, gate);
    }

    /// Tells the owners of the keys that the command waits no more.
    fn tell_owners(&mut self, number: u64, spread: &Spread) {
        let slices: Vec<&[u8]> = spread.args.iter().map(Vec::as_slice).collect();
        for bytes in awaited_keys(spread.command, &slices) {
            let key = Key { bytes, slot: slot(bytes) };
            let owner = self.owner(key.slot);
            if owner == self.id {
                self.store.remove_awaiter(spread.database, key, (self.id, number));
                continue;
            }
            let call = own_call(spread.database, key.slot);
            let request = Request { target: Target::Nobody, work: Work::Core(on_forget), call, arguments: 0 };
            let (shard, number) = (self.id.0.to_le_bytes(), number.to_le_bytes());
            let database = spread.database.0.to_le_bytes();
            self.links.request(owner, request, [&shard[..], &number, &database, bytes]);
        }
    }

    /// The outcome of a command will never be known, and its connection goes.
    pub(super) fn lose_block(&mut self, number: u64) {
        if let Some(block) = self.blocking.blocks.get_mut(&number) {
            if let State::Spread(spread) = &mut block.state {
                spread.is_trying = false;
            }
            self.end_block(number, End::Gone);
        }
    }

    /// Tries a command with keys on several shards.
    fn try_block(&mut self, number: u64) {
        let Some(block) = self.blocking.blocks.get_mut(&number) else { return };
        let State::Spread(spread) = &mut block.state else { return };
        if spread.is_known {
            reached(Branch::WaitAgain);
        }
        (spread.is_trying, spread.again) = (true, false);
        let (socket, client) = (block.socket, block.client);
        let program = Program::waiting(spread.command, spread.args.clone(), (self.id, number));
        let Some(connection) = self.connections.of_client(socket, client) else { return };
        connection.capture = Some(Target::Wait { socket, client, number });
        self.start_program(socket, program);
        if let Some(connection) = self.connections.of_client(socket, client) {
            connection.capture = None;
        }
    }

    /// The command has found nothing, and the owners of its keys know that it waits.
    pub(super) fn on_nothing(&mut self, number: u64, args: Arguments) {
        let Some(block) = self.blocking.blocks.get_mut(&number) else { return };
        let State::Spread(spread) = &mut block.state else { return };
        reached(Branch::WaitSpread);
        (spread.is_trying, spread.is_known, spread.args) = (false, true, args);
        let (again, end) = (spread.again, spread.end);
        match end {
            Some(end) => self.finish_spread(number, end),
            None if again => self.try_block(number),
            None => {}
        }
    }

    /// A key may have what the command waits for.
    pub(super) fn on_ready(&mut self, number: u64) {
        let Some(block) = self.blocking.blocks.get_mut(&number) else { return };
        match &mut block.state {
            State::Spread(spread) if spread.is_trying => spread.again = true,
            State::Spread(_) => self.try_block(number),
            State::At(_) => {}
        }
    }

    /// CLIENT UNBLOCK: whether a client of this shard waited.
    pub(super) fn unblock(&mut self, client: u64, end: End) -> bool {
        let hold = self.connections.iter().find(|it| it.client == client).and_then(|it| it.hold);
        match hold {
            Some(Hold::Blocked(number)) => {
                self.end_block(number, end);
                true
            }
            Some(Hold::Wait) => {
                self.unblock_wait(client, (end == End::Unblocked).then_some(UNBLOCKED));
                true
            }
            _ => false,
        }
    }
}

/// On what terms shards talk of commands that wait.
fn own_call(database: DatabaseId, slot: u16) -> Call {
    Call { database, version: Version::Resp2, slot, touches: false, origin: Origin::default() }
}

/// The connection's shard ends a wait: `shard number end`.
fn on_end(core: &mut Core, args: &[&[u8]], _: &mut Vec<u8>) {
    if let &[shard, number, &[end]] = args
        && let (Ok(shard), Ok(number)) = (shard.try_into(), number.try_into())
    {
        let id = (ShardId(u16::from_le_bytes(shard)), u64::from_le_bytes(number));
        core.end_kept(id, End::from_byte(end));
    }
}

/// A command waits for a key no more: `shard number database key`.
fn on_forget(core: &mut Core, args: &[&[u8]], _: &mut Vec<u8>) {
    if let &[shard, number, database, bytes] = args
        && let (Ok(shard), Ok(number), Ok(database)) =
            (shard.try_into(), number.try_into(), database.try_into())
    {
        let id = (ShardId(u16::from_le_bytes(shard)), u64::from_le_bytes(number));
        let key = Key { bytes, slot: slot(bytes) };
        core.store.remove_awaiter(DatabaseId(u16::from_le_bytes(database)), key, id);
    }
}

//! From received bytes to commands that run: here, on another shard, or on several.
//!
//! Commands are parsed up to [`PIPELINE_COMMANDS`] ahead; the table lines that those on this shard need are fetched in two
//! waves before the first of them runs, collections in two more. A command may stop the parsing behind it (`Flow::Stop`): what was parsed ahead
//! is then forgotten, and its bytes stay in the connection's input.

use annulus_protocol::{Args, CommandParser, Encoder, ProtocolError, Step, peek_key, slot};
use annulus_storage::coverage::{Branch, reached};
use annulus_storage::{Key, Lsn, Prefetched, ShardId};
use smallvec::SmallVec;

use super::connection::{Hold, Modes, ReplyMode};
use super::limits::{
    INPUT_HELD_BYTES, INPUT_RESERVE_BYTES, LOG_BACKLOG_BYTES, OUTPUT_HIGH_BYTES, PIPELINE_COMMANDS,
    REPLIES_WAITING_MAX,
};
use super::{Core, batch};
use crate::commands::{self, Command, Context, Flags, Keyed, Refusal, Run, cursor_group};
use crate::runtime::{Driver, Event, SocketId};

/// A command's arguments as the handlers get them.
pub type ArgSlices<'a> = SmallVec<[&'a [u8]; 8]>;

/// A command parsed ahead.
#[derive(Debug, Default)]
pub struct Parsed {
    args: Args,
    start: usize,
    end: usize,
    request: Resolved,
}

/// What is known of a command before it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resolved {
    /// Its row; none if it is not run. Why, is looked for again when it is refused: this is written and read for each command.
    pub(super) command: Option<&'static Command>,
    /// The slot of the argument where most commands have their (first) key, once it has been computed.
    pub(super) slot: Option<u16>,
}

/// What becomes of the commands behind one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They run.
    Continue,
    /// They wait, or will never run.
    Stop,
    /// They wait, and this one too: it has not run.
    Again,
}

enum Tail {
    /// The input may hold more commands.
    More,
    /// It ends within a command, of which at least so many bytes are missing.
    Incomplete(usize),
    Malformed(ProtocolError),
}

/// Whose slot groups are whose.
pub fn owner_of_group(group: u16, shards: u16) -> ShardId {
    // The inverse of "shard i of n owns groups 256·i/n..256·(i+1)/n".
    ShardId((((u32::from(group) + 1) * u32::from(shards) - 1) / 256) as u16)
}

/// The row of a command that has been parsed from the start of some bytes.
#[inline]
fn resolve(args: &Args, bytes: &[u8]) -> Option<&'static Command> {
    let word = |index: usize| (index < args.len()).then(|| args.get(index, bytes));
    commands::resolve_words(word, args.len()).ok()
}

/// Why a command is not run.
#[cold]
fn refusal(args: &[&[u8]]) -> Result<&'static Command, Refusal> {
    commands::resolve(args)
}

impl Core {
    /// The shard that owns a slot.
    #[inline]
    pub fn owner(&self, slot: u16) -> ShardId {
        if self.shards == 1 { ShardId(0) } else { self.owners[usize::from(slot >> 6)] }
    }

    /// Bytes came in for a connection.
    pub fn on_received(&mut self, socket: SocketId, bytes: &[u8]) {
        self.counters.traffic.input_bytes += bytes.len() as u64;
        self.counters.traffic.receives += 1;
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(socket) else { return };
        connection.active_ms = now_ms;
        if connection.closing {
            return;
        }
        if connection.input.is_empty() && connection.hold.is_none() {
            let consumed = self.run_input(socket, bytes);
            if let Some(connection) = self.connections.get_mut(socket)
                && !connection.closing
            {
                connection.input.extend_from_slice(&bytes[consumed..]);
            }
        } else {
            connection.input.extend_from_slice(bytes);
            if connection.hold.is_none() {
                self.run_buffered(socket);
            }
        }
        self.check_input(socket);
    }

    /// Runs what waits in a connection's input.
    pub fn run_buffered(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if connection.input.is_empty() || connection.hold.is_some() || connection.closing {
            return;
        }
        let mut input = std::mem::take(&mut connection.input);
        let consumed = self.run_input(socket, &input);
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if consumed < input.len() && !connection.closing {
            if consumed > 0 {
                input.drain(..consumed);
            }
            connection.input = input;
        } else if input.capacity() <= INPUT_HELD_BYTES {
            // A connection that had to buffer once will again soon: a small buffer is kept until it goes idle.
            input.clear();
            connection.input = input;
        }
    }

    /// Limits of the query buffer, and back-pressure on a connection that is held.
    fn check_input(&mut self, socket: SocketId) {
        let limit = self.settings.client_query_buffer_limit;
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if connection.input.len() as u64 > limit {
            tracing::warn!(
                client = connection.client,
                bytes = connection.input.len(),
                "closed: query buffer limit"
            );
            self.counters.clients.input_limit_closed += 1;
            self.close(socket);
        } else if connection.hold.is_some()
            && connection.input.len() >= INPUT_HELD_BYTES
            && !connection.receive_paused
        {
            connection.receive_paused = true;
            self.intents.pause.push(socket);
        }
    }

    /// Runs the commands at the start of `data`; returns how many bytes they took.
    fn run_input(&mut self, socket: SocketId, data: &[u8]) -> usize {
        let mut ahead = std::mem::take(&mut self.ahead);
        let mut consumed = 0;
        'chunks: loop {
            let (count, tail) = self.parse_ahead(socket, &data[consumed..], &mut ahead);
            let base = consumed;
            if count > 1 {
                self.prefetch(socket, &data[base..], &mut ahead[..count]);
            }
            for parsed in &ahead[..count] {
                let args = parsed.args.slices(&data[base + parsed.start..base + parsed.end]);
                let flow = if args.is_empty() {
                    Flow::Continue
                } else {
                    self.run_command(socket, &args, parsed.request)
                };
                if flow != Flow::Again {
                    consumed = base + parsed.end;
                }
                if flow != Flow::Continue {
                    self.forget_ahead(socket);
                    break 'chunks;
                }
            }
            match tail {
                Tail::More => {}
                Tail::Incomplete(needed) => {
                    self.make_room(socket, needed, data.len() - consumed);
                    break;
                }
                Tail::Malformed(error) => {
                    self.reply_and_close(socket, error);
                    break;
                }
            }
        }
        self.ahead = ahead;
        consumed
    }

    fn forget_ahead(&mut self, socket: SocketId) {
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.parser = CommandParser::new();
        }
    }

    fn parse_ahead(&mut self, socket: SocketId, data: &[u8], ahead: &mut [Parsed]) -> (usize, Tail) {
        let Some(connection) = self.connections.get_mut(socket) else { return (0, Tail::Incomplete(0)) };
        let limits =
            if connection.session.authenticated { self.limits } else { self.limits.unauthenticated() };
        let (mut count, mut position) = (0, 0);
        while count < ahead.len() {
            if position == data.len() {
                return (count, Tail::Incomplete(0));
            }
            let parsed = &mut ahead[count];
            match connection.parser.parse(&data[position..], &mut parsed.args, &limits) {
                Ok(Step::Command { consumed }) => {
                    parsed.start = position;
                    position += consumed;
                    parsed.end = position;
                    parsed.request =
                        Resolved { command: resolve(&parsed.args, &data[parsed.start..]), slot: None };
                    count += 1;
                }
                Ok(Step::Incomplete { needed }) => return (count, Tail::Incomplete(needed)),
                Err(error) => return (count, Tail::Malformed(error)),
            }
        }
        (count, Tail::More)
    }

    /// Room for a bulk that has been announced, so that it is not moved again and again while it comes in.
    fn make_room(&mut self, socket: SocketId, needed: usize, unconsumed: usize) {
        if let Some(connection) = self.connections.get_mut(socket)
            && needed > INPUT_HELD_BYTES
        {
            // What came already counts: who has sent a mebibyte is trusted with another.
            let room = needed.min(INPUT_RESERVE_BYTES.max(unconsumed));
            connection.input.reserve(unconsumed + room);
        }
    }

    /// Fetches the table lines of the commands parsed ahead whose (first) key is here.
    fn prefetch(&self, socket: SocketId, data: &[u8], ahead: &mut [Parsed]) {
        let Some(connection) = self.connections.get(socket) else { return };
        let database = connection.session.database;
        let mut hints: SmallVec<[Prefetched<'_>; PIPELINE_COMMANDS]> = SmallVec::new();
        // Those of collections, of which there are two more lines to fetch, one after the other.
        let mut collections: SmallVec<[Prefetched<'_>; PIPELINE_COMMANDS]> = SmallVec::new();
        let mut last: Option<Key<'_>> = None;
        for parsed in ahead {
            // What is worth it has its first key behind its name.
            let Some(command) = parsed.request.command else { continue };
            if command.keys.first != 1 || parsed.args.len() < 2 {
                continue;
            }
            let bytes = parsed.args.get(1, &data[parsed.start..parsed.end]);
            // The same queue, counter or ranking again and again: its lines are at hand.
            if let Some(last) = last.filter(|last| last.bytes.last() == bytes.last() && last.bytes == bytes) {
                parsed.request.slot = Some(last.slot);
                continue;
            }
            let key = Key { bytes, slot: slot(bytes) };
            parsed.request.slot = Some(key.slot);
            last = Some(key);
            if self.owner(key.slot) == self.id
                && let Some(hint) = self.store.prefetch(database, key)
            {
                hints.push(hint);
                if command.is_on_collection() {
                    collections.push(hint);
                }
            }
        }
        hints.into_iter().for_each(Prefetched::prefetch_entry);
        collections.iter().copied().for_each(Prefetched::prefetch_collection);
        collections.into_iter().for_each(Prefetched::prefetch_elements);
    }

    /// Fetches the table lines of the first commands of several connections' inputs. Unpipelined connections are many:
    /// what a pipeline gives one of them, a turn gives all of them.
    pub(super) fn prefetch_events(&self, events: &[Event], driver: &impl Driver) {
        let mut hints: SmallVec<[Prefetched<'_>; PIPELINE_COMMANDS]> = SmallVec::new();
        if events.len() < 2 {
            return;
        }
        for event in events {
            let Event::Received { socket, bytes } = event else { continue };
            let (Some(connection), Some(bytes)) =
                (self.connections.get(*socket), peek_key(driver.bytes(bytes)))
            else {
                continue;
            };
            let key = Key { bytes, slot: slot(bytes) };
            if self.owner(key.slot) == self.id
                && let Some(hint) = self.store.prefetch(connection.session.database, key)
            {
                hints.push(hint);
            }
        }
        hints.into_iter().for_each(Prefetched::prefetch_entry);
    }

    /// Writes a protocol error and closes behind it.
    fn reply_and_close(&mut self, socket: SocketId, error: ProtocolError) {
        self.reply_with(socket, |out| {
            Encoder::new(out, annulus_protocol::Version::Resp2).error(error.reply());
        });
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.closing = true;
        }
        self.intents.mark_dirty(&mut self.connections, socket);
    }

    /// Writes a reply that depends on no data.
    pub fn reply_with(&mut self, socket: SocketId, write: impl FnOnce(&mut Vec<u8>)) {
        let durable = self.durable();
        if let Some(target) = self.connections.get_mut(socket).and_then(|connection| connection.capture) {
            let mut reply = Vec::new();
            write(&mut reply);
            self.deliver(target, &reply, Lsn::ZERO);
            return;
        }
        self.intents.mark_dirty(&mut self.connections, socket);
        if let Some(connection) = self.connections.get_mut(socket) {
            let suppressed = connection.suppresses_reply();
            connection.replies.write(durable, suppressed, |out| {
                write(out);
                Lsn::ZERO
            });
        }
    }

    pub(super) fn error(&mut self, socket: SocketId, text: &str) {
        self.count_error(text.as_bytes());
        self.reply_with(socket, |out| {
            Encoder::new(out, annulus_protocol::Version::Resp2).error(text);
        });
    }

    /// Runs one command of a connection.
    #[inline(always)]
    pub(super) fn run_command(&mut self, socket: SocketId, args: &[&[u8]], request: Resolved) -> Flow {
        if self.stopping.has_begun() {
            return Flow::Again;
        }
        let Some(connection) = self.connections.get_mut(socket) else { return Flow::Stop };
        if let Some(hold) = Self::pressure(connection, &self.links, self.store.sink().backlog_bytes()) {
            connection.hold = Some(hold);
            self.held.push(socket);
            return Flow::Again;
        }
        if connection.session.reply_mode == ReplyMode::SkipNext {
            connection.session.reply_mode = ReplyMode::Skip;
        }
        connection.commands += 1;
        self.counters.traffic.commands += 1;
        let flow = self.route(socket, args, request);
        if let Some(connection) = self.connections.get_mut(socket) {
            if connection.session.reply_mode == ReplyMode::Skip {
                connection.session.reply_mode = ReplyMode::On;
            }
            if connection.closing {
                return Flow::Stop;
            }
        }
        flow
    }

    /// Whether the connection has to wait before its next command, and for what.
    fn pressure(
        connection: &super::Connection,
        links: &super::forward::Links,
        backlog_bytes: u64,
    ) -> Option<Hold> {
        let replies = &connection.replies;
        if replies.waiting() >= REPLIES_WAITING_MAX
            || connection.output_bytes() + replies.expected_bytes() >= OUTPUT_HIGH_BYTES
        {
            reached(Branch::Held);
            Some(Hold::Output)
        } else if backlog_bytes >= LOG_BACKLOG_BYTES || links.congested() {
            reached(Branch::Held);
            Some(Hold::Pressure)
        } else {
            None
        }
    }

    fn route(&mut self, socket: SocketId, args: &[&[u8]], request: Resolved) -> Flow {
        let command = match request.command.map_or_else(|| refusal(args), Ok) {
            Ok(command) => command,
            Err(refusal) => {
                self.refuse(socket, args, refusal);
                return Flow::Continue;
            }
        };
        let Some(connection) = self.connections.get_mut(socket) else { return Flow::Stop };
        connection.session.last_command = Some(command);
        if !connection.session.authenticated && !command.flags.contains(Flags::NO_AUTH) {
            self.commands[command.id()].rejected += 1;
            self.refuse_multi(socket);
            self.error(socket, "NOAUTH Authentication required.");
            return Flow::Continue;
        }
        let in_multi = connection.session.multi.is_some();
        let tracks = connection.session.modes.intersects(Modes::TRACKS);
        if self.pause.is_active() && self.pause.holds(command) {
            connection.hold = Some(Hold::Paused);
            self.held.push(socket);
            return Flow::Again;
        }
        if !connection.session.modes.is_empty()
            && let Some(text) = Self::mode_refusal(connection, command)
        {
            self.commands[command.id()].rejected += 1;
            self.error(socket, &text);
            return Flow::Continue;
        }
        if in_multi && let Some(flow) = self.queue(socket, command, args) {
            return flow;
        }
        if tracks {
            self.begin_tracked(socket, command);
        }
        let flow = self.run_routed(socket, command, args, request.slot);
        if self.monitors.any && flow != Flow::Again && !matches!(command.run, Run::Script(_)) {
            self.show_command(socket, command, args);
        }
        flow
    }

    #[inline]
    fn run_routed(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        args: &[&[u8]],
        known_slot: Option<u16>,
    ) -> Flow {
        match command.run {
            Run::Keyed(keyed) => {
                let slot = match (known_slot, command.keys.first) {
                    (Some(slot), 1) => slot,
                    _ => command.first_key(args).map_or(0, slot),
                };
                self.run_keyed(socket, command, keyed, args, slot)
            }
            Run::Split(keyed, _) | Run::Hops(_, keyed) => match self.common_owner(command, args) {
                Some(slot) => self.run_keyed(socket, command, keyed, args, slot),
                None => self.start_operation(socket, command, args),
            },
            Run::Broadcast(keyed, _)
                if self.shards == 1
                    && matches!(command.run, Run::Broadcast(_, merge) if merge.is_plain()) =>
            {
                self.run_keyed(socket, command, keyed, args, 0)
            }
            Run::Broadcast(..) => self.start_operation(socket, command, args),
            Run::Cursor(keyed) => self.run_cursor(socket, command, keyed, args),
            Run::Waits(waiting) => self.run_waiting(socket, command, waiting, args),
            Run::Connection(which) => self.serve(socket, command, which, args),
            Run::Script(which) => self.run_script_command(socket, command, which, args),
            Run::Container => {
                self.refuse(socket, args, Refusal::Arity(command));
                Flow::Continue
            }
        }
    }

    fn refuse(&mut self, socket: SocketId, args: &[&[u8]], refusal: Refusal) {
        // A browser that was tricked into sending commands begins with these; as in Redis it gets no answer.
        let name = args.first().copied().unwrap_or_default();
        if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
            tracing::warn!(
                "possible cross-protocol scripting: an HTTP request came in; the connection is closed"
            );
            self.close(socket);
            return;
        }
        self.count_error(b"ERR");
        self.refuse_multi(socket);
        self.reply_with(socket, |out| {
            refusal.write(args, &mut Encoder::new(out, annulus_protocol::Version::Resp2));
        });
    }

    /// The first key's slot if one shard owns all keys. Any slot of this shard's if the arguments are so wrong that they
    /// name none: then the command has an error to tell.
    pub(super) fn common_owner(&self, command: &Command, args: &[&[u8]]) -> Option<u16> {
        let mut slots = command.key_positions(args).map(|(index, _)| slot(args[index]));
        let Some(first) = slots.next() else { return Some(self.groups.start << 6) };
        if self.shards == 1 {
            return Some(first);
        }
        let owner = self.owner(first);
        if command.looks_elsewhere(args) {
            return None;
        }
        slots.all(|slot| self.owner(slot) == owner).then_some(first)
    }

    fn run_cursor(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        keyed: Keyed,
        args: &[&[u8]],
    ) -> Flow {
        let group = args.get(1).and_then(|cursor| cursor_group(cursor)).unwrap_or(0);
        let slot = group.min(255) << 6;
        self.run_keyed(socket, command, keyed, args, slot)
    }

    /// Runs a command whose keys are all on one shard.
    #[inline]
    pub(super) fn run_keyed(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        keyed: Keyed,
        args: &[&[u8]],
        slot: u16,
    ) -> Flow {
        let owner = self.owner(slot);
        let durable = self.durable();
        let is_own = owner == self.id;
        if !is_own || (!self.locks.is_empty() && self.must_wait(self.client_of(socket), command, args)) {
            let Some(connection) = self.connections.get_mut(socket) else { return Flow::Stop };
            let place = connection.replies.reserve(connection.suppresses_reply());
            let request = batch::Request {
                target: batch::Target::Connection { socket, client: connection.client, place },
                work: batch::Work::Keyed(command, keyed),
                call: connection.call(slot),
                arguments: 0,
            };
            if is_own {
                self.defer(owner, &request, command, args);
            } else {
                self.links.request(owner, request, args.iter().copied());
            }
            return Flow::Continue;
        }
        let Some(mut connection) = self.connections.take(socket) else { return Flow::Stop };
        self.intents.mark(&mut connection, socket);
        let suppressed = connection.suppresses_reply();
        let call = connection.call(slot);
        let gate = connection
            .replies
            .write(durable, suppressed, |out| self.execute(command, keyed, args, call, out));
        if let Some(gate) = gate {
            self.gates.wait(&mut connection, gate);
        }
        self.connections.put_back(connection);
        self.serve_ready();
        Flow::Continue
    }

    fn client_of(&self, socket: SocketId) -> Option<u64> {
        self.connections.get(socket).map(|connection| connection.client)
    }

    /// Runs a handler on this shard's store; the result is the gate of the reply that it has appended to `out`.
    pub fn execute(
        &mut self,
        command: &'static Command,
        keyed: Keyed,
        args: &[&[u8]],
        call: batch::Call,
        out: &mut Vec<u8>,
    ) -> Lsn {
        let version = call.version;
        if command.flags.contains(Flags::WRITE)
            && let Err(refusal) = self.admit_write(args)
        {
            self.commands[command.id()].rejected += 1;
            self.count_error(b"MISCONF");
            Encoder::new(out, version).error(refusal);
            return Lsn::ZERO;
        }
        if command.flags.contains(Flags::DENYOOM)
            && let Err(refusal) = self.admit_memory(args)
        {
            self.commands[command.id()].rejected += 1;
            self.count_error(b"OOM");
            Encoder::new(out, version).error(refusal);
            return Lsn::ZERO;
        }
        let start = out.len();
        self.store.begin_command();
        self.run_handler(command, keyed, args, call, out);
        let gate = self.store.end_command();
        if gate > self.durable() && self.log_failed {
            // What this reply shows will never be durable: say so instead.
            reached(Branch::ReadRefused);
            out.truncate(start);
            Encoder::new(out, version).error(super::commit::FAILED_READ);
            return Lsn::ZERO;
        }
        gate
    }

    /// Runs a handler within a group of effects, and counts it.
    #[inline]
    pub(super) fn run_handler(
        &mut self,
        command: &'static Command,
        keyed: Keyed,
        args: &[&[u8]],
        call: batch::Call,
        out: &mut Vec<u8>,
    ) {
        let timer = self.start_timer();
        let start = out.len();
        if !call.touches && command.name != "touch" {
            self.store.forbear_touching();
        }
        let mut context = Context {
            store: &mut self.store,
            database: call.database,
            out: Encoder::new(out, call.version),
            random: &mut self.random,
            shard: self.id,
            groups: self.groups.clone(),
            slot: call.slot,
            nothing: false,
            bulk_bytes_max: self.settings.proto_max_bulk_len,
            hll_sparse_bytes_max: self.settings.hll_sparse_max_bytes as usize,
        };
        keyed(&mut context, args);
        self.found_nothing = context.nothing;
        // One branch for all who want to be told of something.
        if self.store.has_touched() | call.origin.tracks {
            self.observe(Some(command), args, call.origin);
        }
        let counters = &mut self.commands[command.id()];
        counters.calls += 1;
        if let Some(timer) = timer {
            self.stop_timer(command, timer);
        }
        if out.get(start) == Some(&b'-') {
            self.commands[command.id()].failed += 1;
            let text = out[start + 1..].to_vec();
            self.count_error(&text);
        }
    }
}

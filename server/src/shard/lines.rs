//! Lines as a shard uses them: connections whose other end is a program in the same process.
//!
//! On the shard a line *is* a connection: it has a session, a place in CLIENT LIST, replies in order and under gates, holds and limits. What
//! differs is how its commands come in (argument vectors that nobody has to parse; or bytes, as from a socket, for those who want to talk
//! RESP) and where its output goes (into a queue, as it is, instead of to the driver).
//!
//! - Commands of a line run in order; those of one message run with nothing of the line's others in between.
//! - A held line is not read from: its commands wait in its queue, and when that is full the program waits.
//! - Output for which the queue has no room waits here, counts as output of the connection, and has its limits.
//! - A program that goes leaves its commands behind: they run, and their replies are dropped.
//! - A line that is closed from this side (CLIENT KILL, a limit, a failed log, the stop) is told so after what was sent.

use std::collections::VecDeque;
use std::sync::Arc;

use annulus_protocol::{Version, Words};
use annulus_storage::{DatabaseId, Key, Prefetched, ShardId};
use bytes::Bytes;
use smallvec::SmallVec;

use super::connection::Hold;
use super::dispatch::{ArgSlices, Flow, Resolved};
use super::limits::{LINE_COMMANDS_MAX, LINE_MESSAGES_MAX, PIPELINE_COMMANDS};
use super::{Connection, Core};
use crate::commands::resolve_words;
use crate::runtime::line::{Bell, Entrance, ShardEnd};
use crate::runtime::{Peer, SocketId};

/// A command that comes through a line.
#[derive(Debug)]
pub struct LineCommand {
    words: Words,
    request: Resolved,
}

impl LineCommand {
    /// A command with these arguments, its name first. `key_slot`: the slot of the argument behind the name, if it's known.
    pub fn new(words: Words, key_slot: Option<u16>) -> Self {
        debug_assert!(key_slot.is_none_or(|slot| words.get(1).map(annulus_protocol::slot) == Some(slot)));
        let command = resolve_words(|index| words.get(index), words.len()).ok();
        LineCommand { words, request: Resolved { command, slot: key_slot } }
    }
}

/// What a program sends through a line.
#[derive(Debug)]
pub enum Inbound {
    /// A command.
    Command(LineCommand),
    /// Commands in order.
    Commands(Vec<LineCommand>),
    /// Bytes, as they would come from a socket. A line takes either these or commands.
    Bytes(Bytes),
}

/// A line of this shard.
#[derive(Debug)]
struct Line {
    end: ShardEnd<Inbound>,
    /// Commands that were taken from the queue, and how many of them have run.
    ahead: Vec<LineCommand>,
    ran: usize,
    /// What was taken from the queue behind them.
    behind: Option<Inbound>,
    /// Output that the queue had no room for.
    outbox: VecDeque<Vec<u8>>,
    /// To be told at the end of the turn.
    listed: bool,
}

impl Line {
    fn new(end: ShardEnd<Inbound>) -> Self {
        Line { end, ahead: Vec::new(), ran: 0, behind: None, outbox: VecDeque::new(), listed: false }
    }

    /// After all commands taken so far have run: takes more, or bytes. Nothing if there is nothing.
    fn take(&mut self) -> Option<Taken> {
        debug_assert_eq!(self.ran, self.ahead.len(), "commands that have not run");
        self.ran = 0;
        self.ahead.clear();
        match self.behind.take().or_else(|| self.end.try_receive())? {
            Inbound::Bytes(bytes) => return Some(Taken::Bytes(bytes)),
            Inbound::Commands(batch) => self.ahead = batch,
            Inbound::Command(first) => {
                self.ahead.push(first);
                while self.ahead.len() < PIPELINE_COMMANDS {
                    match self.end.try_receive() {
                        Some(Inbound::Command(next)) => self.ahead.push(next),
                        other => {
                            self.behind = other;
                            break;
                        }
                    }
                }
            }
        }
        Some(Taken::Commands)
    }

    fn is_at_end(&mut self) -> bool {
        self.ran == self.ahead.len() && self.behind.is_none() && self.end.is_at_end()
    }

    /// Passes output on, behind what waits already.
    fn send(&mut self, bytes: Vec<u8>) {
        if self.end.has_left() {
            // Nobody takes it, nor makes room.
            self.outbox.clear();
        } else if !self.outbox.is_empty() {
            self.outbox.push_back(bytes);
        } else if let Err(bytes) = self.end.try_send(bytes) {
            self.outbox.push_back(bytes);
        }
    }

    /// Passes on what waits, as far as there's room. Returns whether anything went.
    fn push_out(&mut self) -> bool {
        if self.end.has_left() {
            self.outbox.clear();
        }
        let before = self.outbox.len();
        while let Some(bytes) = self.outbox.pop_front() {
            if let Err(bytes) = self.end.try_send(bytes) {
                self.outbox.push_front(bytes);
                break;
            }
        }
        self.outbox.len() < before
    }

    fn outbox_bytes(&self) -> usize {
        self.outbox.iter().map(Vec::len).sum()
    }
}

enum Taken {
    Commands,
    Bytes(Bytes),
}

/// The lines of a shard, by [`SocketId::line_index`].
#[derive(Debug)]
pub(super) struct Lines {
    /// Nothing where no program can open lines.
    entrance: Option<Arc<Entrance<Inbound>>>,
    open: Vec<Option<Box<Line>>>,
    /// Those to be told at the end of the turn.
    listed: Vec<usize>,
}

impl Lines {
    pub(super) fn new(entrance: Option<Arc<Entrance<Inbound>>>) -> Self {
        Lines { entrance, open: Vec::new(), listed: Vec::new() }
    }

    /// Whether programs may ring, so that this shard must say when it sleeps.
    pub(super) fn may_be_rung(&self) -> bool {
        self.entrance.is_some()
    }

    /// Whether some line, or a new one, has something.
    #[inline]
    pub(super) fn is_rung(&self) -> bool {
        self.bell().is_some_and(Bell::is_rung)
    }

    #[inline]
    fn bell(&self) -> Option<&Bell> {
        self.entrance.as_deref().map(|entrance| &**entrance.bell())
    }

    /// Has this shard look at its lines in the next turn, which will not wait.
    pub(super) fn ring(&self) {
        if let Some(bell) = self.bell() {
            bell.ring();
        }
    }

    fn insert(&mut self, end: ShardEnd<Inbound>) -> usize {
        let line = Some(Box::new(Line::new(end)));
        if let Some(free) = self.open.iter().position(Option::is_none) {
            self.open[free] = line;
            return free;
        }
        self.open.push(line);
        self.open.len() - 1
    }

    fn take(&mut self, index: usize) -> Option<Box<Line>> {
        self.open.get_mut(index)?.take()
    }

    fn list(&mut self, index: usize, line: &mut Line) {
        if !std::mem::replace(&mut line.listed, true) {
            self.listed.push(index);
        }
    }

    /// Passes a connection's output on, which may be its last. Returns how many bytes of it wait for room.
    pub(super) fn send(&mut self, socket: SocketId, bytes: Vec<u8>, is_last: bool) -> usize {
        let index = socket.line_index();
        let Some(mut line) = self.take(index) else { return 0 };
        if is_last && line.outbox.is_empty() {
            line.end.announce_close();
        }
        line.send(bytes);
        self.list(index, &mut line);
        let waiting = line.outbox_bytes();
        self.open[index] = Some(line);
        waiting
    }

    /// Closes a line.
    pub(super) fn close(&mut self, socket: SocketId) {
        // Dropped, it tells the program.
        drop(self.take(socket.line_index()));
    }

    /// Tells the programs that wait what this turn has for them.
    pub(super) fn notify(&mut self) {
        while let Some(index) = self.listed.pop() {
            if let Some(Some(line)) = self.open.get_mut(index) {
                line.listed = false;
                line.end.notify();
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(entrance) = &self.entrance {
            entrance.close();
        }
    }
}

impl Core {
    /// Takes in what programs have sent. Returns whether there was anything.
    #[inline]
    pub(super) fn serve_lines(&mut self) -> bool {
        if !self.lines.is_rung() {
            return false;
        }
        self.serve_rung();
        true
    }

    fn serve_rung(&mut self) {
        let Some(entrance) = self.lines.entrance.clone() else { return };
        entrance.bell().take();
        for arrival in entrance.take_arrivals() {
            if !self.stopping.has_begun() {
                self.adopt_line(arrival.end, arrival.database);
            }
        }
        for index in 0..self.lines.open.len() {
            self.serve_line(index);
        }
    }

    fn adopt_line(&mut self, end: ShardEnd<Inbound>, database: DatabaseId) {
        let socket = SocketId::line(self.lines.insert(end));
        let client = self.shared.next_client();
        let peer = Peer { remote: "embedded:0".to_owned(), local: "embedded:0".to_owned(), is_local: true };
        // Whoever shares the process's memory needs no password.
        let mut connection = Connection::new((client, self.id), socket, peer, true, self.now_ms());
        connection.session.version = Version::Resp3;
        connection.session.database = database;
        self.connections.insert(connection);
        self.shared.count_connection(self.id);
    }

    /// Runs what a line's program has sent, as far as it may run now.
    pub(super) fn serve_line(&mut self, index: usize) {
        let Some(mut line) = self.lines.take(index) else { return };
        let socket = SocketId::line(index);
        let now_ms = self.now_ms();
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.active_ms = now_ms;
        }
        let (mut messages, mut commands) = (0, 0);
        while self.reads_on(socket) {
            if line.ran < line.ahead.len() {
                if self.run_ahead(socket, &mut line) == Flow::Again {
                    break;
                }
                continue;
            }
            if messages == LINE_MESSAGES_MAX || commands >= LINE_COMMANDS_MAX {
                // Others have their turn, and the program its replies.
                self.lines.ring();
                break;
            }
            messages += 1;
            match line.take() {
                None => break,
                Some(Taken::Commands) => commands += line.ahead.len(),
                Some(Taken::Bytes(bytes)) => self.on_received(socket, &bytes),
            }
        }
        let room = messages > 0 && line.end.take_wants_room();
        if line.push_out() | room {
            self.lines.list(index, &mut line);
        }
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.sending_bytes = line.outbox_bytes();
        }
        let leaves = line.is_at_end() || (line.end.has_left() && self.is_waiting(socket));
        self.lines.open[index] = Some(line);
        if leaves {
            self.on_ended(socket);
        } else {
            self.maybe_close(socket);
        }
    }

    fn reads_on(&self, socket: SocketId) -> bool {
        self.connections
            .get(socket)
            .is_some_and(|it| it.hold.is_none() && !it.closing && !it.receive_paused && !it.input_ended)
    }

    fn is_waiting(&self, socket: SocketId) -> bool {
        let hold = self.connections.get(socket).and_then(|connection| connection.hold);
        matches!(hold, Some(Hold::Wait | Hold::Blocked(_)))
    }

    /// Runs the commands that were taken from a line's queue.
    fn run_ahead(&mut self, socket: SocketId, line: &mut Line) -> Flow {
        while line.ran < line.ahead.len() {
            let end = line.ahead.len().min(line.ran + PIPELINE_COMMANDS);
            self.prefetch_line(socket, &line.ahead[line.ran..end]);
            while line.ran < end {
                let command = &line.ahead[line.ran];
                let args: ArgSlices<'_> = command.words.iter().collect();
                self.counters.traffic.input_bytes += command.words.bytes() as u64;
                let flow = if args.is_empty() {
                    Flow::Continue
                } else {
                    self.run_command(socket, &args, command.request)
                };
                line.ran += usize::from(flow != Flow::Again);
                if flow != Flow::Continue {
                    return flow;
                }
            }
        }
        Flow::Continue
    }

    fn prefetch_line(&self, socket: SocketId, commands: &[LineCommand]) {
        let Some(connection) = self.connections.get(socket) else { return };
        if commands.len() < 2 {
            return;
        }
        let database = connection.session.database;
        let mut hints: SmallVec<[Prefetched<'_>; PIPELINE_COMMANDS]> = SmallVec::new();
        for command in commands {
            if let (Some(slot), Some(bytes)) = (command.request.slot, command.words.get(1))
                && self.owner(slot) == self.id
            {
                hints.extend(self.store.prefetch(database, Key { bytes, slot }));
            }
        }
        hints.into_iter().for_each(Prefetched::prefetch_entry);
    }
}

/// The entrances of so many shards.
pub(super) fn entrances(peers: &crate::runtime::peers::Peers) -> Box<[Arc<Entrance<Inbound>>]> {
    (0..peers.count()).map(|shard| Arc::new(Entrance::new(ShardId(shard), peers.clone()))).collect()
}

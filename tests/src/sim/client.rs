//! A virtual client: it connects, sends pipelines, reads replies as they come, rests, half-closes and goes away.

use std::collections::VecDeque;

use annulus::runtime::sim::{ConnectionId, World};

use super::history::History;
use super::workload::{Heard, Sent, Workload};
use crate::random::Random;
use crate::resp::parse;

/// How clients behave in a run; chances are one in so many actions, 0 for never.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Commands of one pipeline at most.
    pub pipeline_max: usize,
    /// Commands without a reply at most.
    pub outstanding_max: usize,
    /// Going away without a word.
    pub closes: usize,
    /// Finishing to send, and reading on.
    pub half_closes: usize,
    /// Not reading for a while.
    pub rests: usize,
    /// Sending many commands, each by itself, without waiting for replies.
    pub floods: usize,
    /// Longest pause between two actions, ns.
    pub pause_ns: u64,
}

/// How long a client with enough to wait for waits before it looks again.
const WAIT_NS: u64 = 20_000_000;

/// What a client met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Replies.
    pub replies: u64,
    /// Replies that refuse for the state of the disk.
    pub refusals: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Client {
    world: World,
    connection: Option<ConnectionId>,
    /// Different for each connection ever made.
    number: u64,
    inbox: Vec<u8>,
    outstanding: VecDeque<Sent>,
    finished: bool,
    /// How long it rests after a reply.
    pause_ns: u64,
    /// When it acts next, ns.
    pub next_ns: u64,
    /// What it met since it was last asked.
    pub tally: Tally,
}

impl Client {
    /// A client that is not connected.
    pub fn new(world: &World) -> Self {
        Client {
            world: world.clone(),
            connection: None,
            number: 0,
            inbox: Vec::new(),
            outstanding: VecDeque::new(),
            finished: false,
            pause_ns: 0,
            next_ns: 0,
            tally: Tally::default(),
        }
    }

    /// Whether it has a connection.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether it waits for a reply.
    pub fn waits(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// For what it waits, if it does.
    pub fn waiting(&self) -> Option<String> {
        let first = self.outstanding.front()?;
        let (connection, count) = (self.connection, self.outstanding.len());
        Some(format!("client {} of {connection:?} for {count}, first {first:?}", self.number))
    }

    /// Takes a connection over.
    pub fn connected(&mut self, connection: ConnectionId, number: u64) {
        self.forget();
        self.connection = Some(connection);
        self.number = number;
    }

    /// The connection is gone: what had no reply stays unknown.
    pub fn forget(&mut self) {
        self.connection = None;
        self.inbox.clear();
        self.outstanding.clear();
        self.finished = false;
    }

    /// Sends so many commands in one piece.
    pub fn send(
        &mut self,
        random: &mut Random,
        workload: &mut Workload,
        count: usize,
        history: &mut History,
    ) {
        let Some(connection) = self.connection.filter(|_| !self.finished) else { return };
        let now_ms = self.world.unix_ms();
        let mut bytes = Vec::new();
        for _ in 0..count {
            let command = workload.command(random, self.number, history, now_ms);
            bytes.extend_from_slice(&command.bytes);
            self.outstanding.extend(command.sent);
        }
        self.world.note("request", &bytes, || {
            format!("client {}: {}", self.number, String::from_utf8_lossy(&bytes).escape_debug())
        });
        self.world.client_send(connection, &bytes);
    }

    /// Sends a crowd of commands, each in a piece of its own.
    fn flood(&mut self, random: &mut Random, workload: &mut Workload) {
        let Some(connection) = self.connection.filter(|_| !self.finished) else { return };
        let count = 20 + random.below(60);
        self.world.note("flood", &[], || format!("client {}: {count} commands", self.number));
        for _ in 0..count {
            let command = workload.noise(random);
            self.outstanding.extend(command.sent);
            self.world.client_send(connection, &command.bytes);
        }
    }

    /// Does something, as its manners have it.
    pub fn act(
        &mut self,
        random: &mut Random,
        manners: &Manners,
        workload: &mut Workload,
        history: &mut History,
    ) {
        let Some(connection) = self.connection else { return };
        let now_ns = self.world.now_ns();
        let chance = |random: &mut Random, one_in: usize| one_in > 0 && random.one_in(one_in);
        self.pause_ns = random.below(manners.pause_ns as usize) as u64;
        self.next_ns = now_ns + self.pause_ns;
        if self.outstanding.len() >= manners.outstanding_max {
            // A reply wakes it; without one it looks again, and may lose patience.
            self.next_ns = now_ns + WAIT_NS;
            if !chance(random, manners.closes) {
                return;
            }
        }
        if chance(random, manners.closes) {
            self.world.note("close", &[], || format!("client {}", self.number));
            self.world.client_close(connection);
            self.forget();
        } else if chance(random, manners.half_closes) {
            self.world.note("half-close", &[], || format!("client {}", self.number));
            self.world.client_finish(connection);
            self.finished = true;
        } else if chance(random, manners.rests) {
            self.world.client_rests(connection, now_ns + random.below(20_000_000) as u64);
        } else if chance(random, manners.floods) {
            self.flood(random, workload);
        } else {
            let count = 1 + random.below(manners.pipeline_max);
            self.send(random, workload, count, history);
        }
    }

    /// Reads what has come. An answer that no server may give is an error. With `swaps`, two replies that
    /// come together change places: a planted mistake.
    pub fn read(&mut self, history: &mut History, swaps: bool) -> Result<(), String> {
        let Some(connection) = self.connection else { return Ok(()) };
        let received = self.world.client_receive(connection);
        self.inbox.extend_from_slice(&received.bytes);
        let mut replies = Vec::new();
        let mut at = 0;
        while let Some((reply, bytes)) = parse(&self.inbox[at..]).map_err(|error| error.to_string())? {
            at += bytes;
            replies.push(reply);
        }
        self.inbox.drain(..at);
        if swaps && replies.len() > 1 {
            replies.swap(0, 1);
        }
        if !replies.is_empty() {
            self.next_ns = self.next_ns.min(self.world.now_ns() + self.pause_ns);
        }
        for reply in replies {
            let sent =
                self.outstanding.pop_front().ok_or_else(|| format!("a reply to nothing: {reply:?}"))?;
            self.tally.replies += 1;
            if sent.on_reply(reply, history)? == Heard::Refusal {
                self.tally.refusals += 1;
            }
        }
        if received.closed {
            self.world.note("closed", &[], || format!("client {}", self.number));
            self.forget();
            self.next_ns = self.world.now_ns();
        }
        Ok(())
    }
}

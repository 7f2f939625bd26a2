//! WAIT and WAITAOF: a connection that waits until its writes are where it wants them.
//!
//! There are no replicas, so WAIT waits for its timeout, as redis-server without replicas does. WAITAOF with one local
//! copy waits for a **barrier**: each shard answers when everything that its log had when it was asked is durable, and
//! that holds whatever the connection wrote, since all its earlier commands have been answered by then.
//!
//! The connection is held meanwhile. What waits is forgotten when the connection goes; a barrier that passes afterwards finds
//! nobody.

use std::collections::BTreeMap;

use annulus_protocol::{Encoder, parse_i64};
use annulus_storage::{Durability, Lsn, ShardId};

use super::Core;
use super::batch::Target;
use super::connection::Hold;
use super::dispatch::Flow;
use super::pubsub::notices::Notice;
use crate::runtime::SocketId;

const NO_APPEND_ONLY: &str = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

/// What a connection waits for.
#[derive(Debug)]
struct Wait {
    socket: SocketId,
    client: u64,
    target: Target,
    goal: Goal,
    /// Monotonic ns.
    deadline_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// WAIT for replicas.
    Replicas,
    /// WAITAOF: shards that have not answered; whether replicas are wanted too.
    Durable { missing: u16, replicas: bool },
}

impl Goal {
    /// Never, when replicas are wanted.
    fn is_met(self) -> bool {
        matches!(self, Goal::Durable { missing: 0, replicas: false })
    }
}

/// The waiting connections of a shard, and what the logs of others wait for here.
#[derive(Debug, Default)]
pub(super) struct Waits {
    last: u64,
    by_number: BTreeMap<u64, Wait>,
    /// What must be durable before a wait of a shard is told so, in the order of asking.
    barriers: Vec<(Lsn, ShardId, u64)>,
}

impl Waits {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// When the first wait ends for want of time, monotonic ns.
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        self.by_number.values().filter_map(|wait| wait.deadline_ns).min()
    }
}

/// Redis's reading of a timeout in milliseconds.
fn parse_timeout(text: &[u8]) -> Result<u64, &'static str> {
    match parse_i64(text) {
        None => Err("ERR timeout is not an integer or out of range"),
        Some(..0) => Err("ERR timeout is negative"),
        Some(timeout_ms) => Ok(timeout_ms as u64),
    }
}

struct WaitAof {
    local: bool,
    replicas: bool,
    timeout_ms: u64,
}

impl WaitAof {
    fn parse(args: &[&[u8]]) -> Result<Self, &'static str> {
        let number = |text: &[u8]| parse_i64(text).ok_or("ERR value is not an integer or out of range");
        let local = match number(args[1])? {
            local @ 0..=1 => local == 1,
            _ => return Err("ERR value is out of range, must be between 0 and 1"),
        };
        let replicas = match number(args[2])? {
            ..0 => return Err("ERR value is out of range, must be positive"),
            replicas => replicas > 0,
        };
        Ok(WaitAof { local, replicas, timeout_ms: parse_timeout(args[3])? })
    }
}

impl Core {
    /// `WAIT numreplicas timeout`
    pub(super) fn wait_replicas(&mut self, socket: SocketId, args: &[&[u8]]) -> Flow {
        let parsed = match parse_i64(args[1]) {
            None => Err("ERR value is not an integer or out of range"),
            Some(replicas) => parse_timeout(args[2]).map(|timeout_ms| (replicas, timeout_ms)),
        };
        match parsed {
            Err(text) => self.answer(socket, |out| out.error(text)),
            Ok((..=0, _)) => self.answer(socket, |out| out.integer(0)),
            // Within MULTI nothing waits.
            Ok(_) if self.is_captured(socket) => self.answer(socket, |out| out.integer(0)),
            Ok((_, timeout_ms)) => {
                self.begin_wait(socket, Goal::Replicas, timeout_ms);
                return Flow::Stop;
            }
        }
        Flow::Continue
    }

    /// `WAITAOF numlocal numreplicas timeout`
    pub(super) fn wait_durable(&mut self, socket: SocketId, args: &[&[u8]]) -> Flow {
        let wanted = match WaitAof::parse(args) {
            Ok(wanted) if wanted.local && self.durability == Durability::None => Err(NO_APPEND_ONLY),
            parsed => parsed,
        };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(text) => {
                self.answer(socket, |out| out.error(text));
                return Flow::Continue;
            }
        };
        if self.is_captured(socket) {
            self.answer(socket, |out| write_copies(out, 0));
            return Flow::Continue;
        }
        if self.must_keep_order(socket) {
            return Flow::Again;
        }
        if !wanted.local && !wanted.replicas {
            self.answer(socket, |out| write_copies(out, 0));
            return Flow::Continue;
        }
        let missing = if wanted.local { self.shards } else { 0 };
        let goal = Goal::Durable { missing, replicas: wanted.replicas };
        let Some(number) = self.begin_wait(socket, goal, wanted.timeout_ms) else { return Flow::Stop };
        if wanted.local {
            for shard in (0..self.shards).map(ShardId).filter(|&shard| shard != self.id) {
                self.links.notice(shard, Notice::Barrier { wait: number }, &[]);
            }
            self.on_barrier(self.id, number);
        }
        Flow::Stop
    }

    fn is_captured(&self, socket: SocketId) -> bool {
        self.connections.get(socket).is_some_and(|connection| connection.capture.is_some())
    }

    fn begin_wait(&mut self, socket: SocketId, goal: Goal, timeout_ms: u64) -> Option<u64> {
        let now_ns = self.time.monotonic_ns;
        let connection = self.connections.get_mut(socket)?;
        let place = connection.replies.reserve(connection.suppresses_reply());
        connection.hold = Some(Hold::Wait);
        let client = connection.client;
        let deadline_ns =
            (timeout_ms > 0).then(|| now_ns.saturating_add(timeout_ms.saturating_mul(1_000_000)));
        self.waits.last += 1;
        let target = Target::Connection { socket, client, place };
        let wait = Wait { socket, client, target, goal, deadline_ns };
        self.waits.by_number.insert(self.waits.last, wait);
        Some(self.waits.last)
    }

    /// A shard asks to be told when everything that this shard has logged is durable.
    pub(super) fn on_barrier(&mut self, from: ShardId, wait: u64) {
        self.waits.barriers.push((self.store.sink().last_lsn(), from, wait));
        self.pass_barriers();
    }

    /// The horizon may have moved: tells those who waited for it.
    pub(super) fn pass_barriers(&mut self) {
        if self.waits.barriers.is_empty() {
            return;
        }
        let horizon = self.store.sink().horizon();
        let passed: Vec<_> = self.waits.barriers.extract_if(.., |(lsn, ..)| *lsn <= horizon).collect();
        for (_, from, wait) in passed {
            if from == self.id {
                self.on_barrier_passed(wait);
            } else {
                self.links.notice(from, Notice::BarrierPassed { wait }, &[]);
            }
        }
    }

    /// A shard tells that its part of a barrier is durable.
    pub(super) fn on_barrier_passed(&mut self, number: u64) {
        let Some(wait) = self.waits.by_number.get_mut(&number) else { return };
        if let Goal::Durable { missing, .. } = &mut wait.goal {
            *missing -= 1;
        }
        if wait.goal.is_met() {
            self.end_wait(number);
        }
    }

    /// Ends the waits whose time is over.
    pub(super) fn expire_waits(&mut self) {
        if self.waits.by_number.is_empty() {
            return;
        }
        let now_ns = self.time.monotonic_ns;
        let late = |wait: &Wait| wait.deadline_ns.is_some_and(|at| at <= now_ns);
        let over: Vec<u64> =
            self.waits.by_number.iter().filter(|(_, wait)| late(wait)).map(|(number, _)| *number).collect();
        for number in over {
            self.end_wait(number);
        }
    }

    /// A stop waits for nobody.
    pub(super) fn end_waits(&mut self) {
        while let Some((&number, _)) = self.waits.by_number.first_key_value() {
            self.end_wait(number);
        }
    }

    /// Ends the wait of a client before its time, with what there is or with an error.
    pub(super) fn unblock_wait(&mut self, client: u64, error: Option<&'static str>) {
        let number = self.waits.by_number.iter().find(|(_, wait)| wait.client == client);
        if let Some((&number, _)) = number {
            self.end_wait_with(number, error);
        }
    }

    /// Answers with what there is.
    fn end_wait(&mut self, number: u64) {
        self.end_wait_with(number, None);
    }

    fn end_wait_with(&mut self, number: u64, error: Option<&'static str>) {
        let Some(wait) = self.waits.by_number.remove(&number) else { return };
        let mut reply = Vec::new();
        let mut out = Encoder::new(&mut reply, annulus_protocol::Version::Resp2);
        match wait.goal {
            _ if let Some(error) = error => out.error(error),
            Goal::Replicas => out.integer(0),
            Goal::Durable { missing, .. } => write_copies(&mut out, i64::from(missing == 0)),
        }
        self.unhold(wait.socket, wait.client, Hold::Wait);
        self.deliver(wait.target, &reply, Lsn::ZERO);
    }

    /// The connection goes.
    pub(super) fn forget_wait(&mut self, client: u64) {
        self.waits.by_number.retain(|_, wait| wait.client != client);
    }
}

/// Local copies, and those on replicas.
fn write_copies(out: &mut Encoder<'_>, local: i64) {
    out.array_header(2);
    out.integer(local);
    out.integer(0);
}

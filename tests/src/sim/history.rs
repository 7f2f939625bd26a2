//! What clients called and what they were answered, in one order.

use super::model::Action;
use crate::resp::Value;

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody knows: it may have happened at any time until the end of that life of the server, or never.
    Unknown,
    /// It happened, with this reply.
    Replied(Value),
    /// It happened; its part of the reply can't be told.
    Done,
    /// It may have happened before the reply, or not: a part of it was refused.
    Partial,
    /// The server said that it did not happen.
    Refused,
}

/// One operation on one group.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Which keys.
    pub group: usize,
    /// The connection's number: operations of one connection on one group happen in order.
    pub connection: u64,
    /// What was asked.
    pub action: Action,
    /// [`History::skips`].
    pub skips: bool,
    /// Its place in the order of events.
    pub called: u64,
    /// That of its reply.
    pub returned: Option<u64>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a restart may have lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing that was acknowledged.
    Nothing,
    /// What came last in this life.
    Tail,
    /// What came last, in any life: durable bytes were damaged, and nothing proves it.
    Any,
}

/// Everything that happened to the clients of a server.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In the order of their calls.
    pub operations: Vec<Operation>,
    /// Ends of the server's lives.
    pub restarts: Vec<(u64, Loss)>,
    /// For each group: when its owner took a turn, and what the Unix clock showed it, ms. Operations happen in such turns.
    pub turns: Vec<Vec<(u64, u64)>>,
    /// What has no reply may not have happened although something behind it on its connection did: the server refuses commands for want of
    /// space and on a failed log, and a crash takes back what goes over several groups, with what depends on it.
    pub skips: bool,
    /// A token has been seen: see [`super::everywhere`].
    pub token_seen: bool,
    /// The library of functions has been there, which nobody removes.
    pub library_seen: bool,
    clock: u64,
}

impl Operation {
    /// Whether an operation behind it on its connection can have happened without it.
    pub(super) fn may_be_missing(&self) -> bool {
        self.skips && matches!(self.outcome, Outcome::Unknown | Outcome::Partial)
    }
}

impl History {
    /// Nothing yet; for `skips` see there.
    pub fn new(skips: bool) -> Self {
        Self { skips, ..Self::default() }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// An operation is called; its number is for [`Self::answer`].
    pub fn call(&mut self, group: usize, connection: u64, action: Action) -> usize {
        let called = self.tick();
        let outcome = Outcome::Unknown;
        let skips = self.skips;
        self.operations.push(Operation { group, connection, action, skips, called, returned: None, outcome });
        self.operations.len() - 1
    }

    /// It has been answered.
    pub fn answer(&mut self, operation: usize, outcome: Outcome) {
        let now = self.tick();
        let operation = &mut self.operations[operation];
        operation.returned = Some(now);
        operation.outcome = outcome;
    }

    /// The owner of a group takes a turn.
    pub fn turn(&mut self, group: usize, unix_ms: u64) {
        if self.turns.len() <= group {
            self.turns.resize_with(group + 1, Vec::new);
        }
        let turn = (self.clock, unix_ms);
        if self.turns[group].last() != Some(&turn) {
            self.turns[group].push(turn);
        }
    }

    /// A life of the server has ended.
    pub fn restart(&mut self, loss: Loss) {
        let now = self.tick();
        self.restarts.push((now, loss));
        self.token_seen &= loss == Loss::Nothing;
        self.library_seen &= loss == Loss::Nothing;
    }

    /// The last restart turns out to have lost more.
    pub fn restart_lost(&mut self, loss: Loss) {
        if let Some((_, last)) = self.restarts.last_mut() {
            *last = loss;
            self.token_seen &= loss == Loss::Nothing;
            self.library_seen &= loss == Loss::Nothing;
        }
    }
}

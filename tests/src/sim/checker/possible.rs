//! What an operation can have done, by the turns in which the owner of its keys can have run it.
//!
//! An operation happens in one turn of the owner, between call and reply; the clock stands still in a turn. Operations happen in the
//! order of their turns. Only where keys expire soon does it matter which turn it was, so only then is it kept.

use super::super::history::{History, Operation, Outcome};
use super::super::model::{State, Stored, apply, pass};
use crate::resp::Value;

/// The turns of a group's owner.
pub(super) struct Turns<'h> {
    turns: &'h [(u64, u64)],
    timed: bool,
}

/// One way in which an operation can have happened.
pub(super) struct Possible {
    /// The keys after it.
    pub(super) state: State,
    /// Number of its turn; 0 where turns don't matter.
    pub(super) turn: usize,
}

impl<'h> Turns<'h> {
    pub(super) fn new(history: &'h History, group: usize) -> Self {
        let timed = history.operations.iter().any(|it| it.group == group && it.action.is_timed());
        Turns { turns: history.turns.get(group).map_or(&[], Vec::as_slice), timed }
    }

    /// All ways in which an operation can happen next, before a moment; of those that leave the same, the earliest.
    pub(super) fn possible(
        &self,
        state: &State,
        turn: usize,
        operation: &Operation,
        before: u64,
    ) -> Vec<Possible> {
        let explains = |reply: &Value| !matches!(&operation.outcome, Outcome::Replied(seen) if seen != reply);
        if !self.timed {
            let all = apply(state, &operation.action, 0).into_iter();
            return all.filter(|it| explains(&it.1)).map(|(state, _)| Possible { state, turn: 0 }).collect();
        }
        let first = self.turns.partition_point(|(at, _)| *at < operation.called).max(turn);
        let mut passed = state.clone();
        for (_, unix_ms) in self.turns.get(turn + 1..first).unwrap_or_default() {
            pass(&mut passed, *unix_ms);
        }
        let mut possible: Vec<Possible> = Vec::new();
        let mut last = None;
        let matters = operation.action.is_timed() || state.iter().flatten().any(Stored::expires);
        for turn in first..self.turns.len() {
            let (at, unix_ms) = self.turns[turn];
            if at >= before || turn > first && !matters {
                break;
            }
            pass(&mut passed, unix_ms);
            if last.replace(unix_ms) == Some(unix_ms) {
                continue;
            }
            for (state, reply) in apply(&passed, &operation.action, unix_ms) {
                if explains(&reply) && possible.iter().all(|it| it.state != state) {
                    possible.push(Possible { state, turn });
                }
            }
        }
        possible
    }
}

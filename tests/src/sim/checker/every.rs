//! The exhaustive way: every configuration that is possible, kept side by side, moment by moment.
//!
//! A configuration is a state of the keys, and which of the pending operations have already happened. At an operation's return all orders
//! of pending operations are tried in which it has happened (Lowe, 2017). It costs far more than [`super::witness`], whose model
//! it is.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};

use super::super::history::{History, Loss, Operation, Outcome};
use super::super::model::{KEYS, State};
use super::possible::{Possible, Turns};
use super::{Verdict, explain, leaves_no_mark};

/// Its order is the same in every run.
type Set<T> = HashSet<T, BuildHasherDefault<DefaultHasher>>;

/// Configurations of one group at most.
const CONFIGURATIONS_MAX: usize = 200_000;
/// Pending operations of one group at most.
const PENDING_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Configuration {
    state: State,
    /// Bit *i*: the operation in slot *i* has happened.
    happened: u64,
    /// The turn of the last operation that has happened.
    turn: usize,
}

#[derive(Clone, Copy, Debug)]
enum Moment {
    Call(usize),
    Return(usize),
    Restart(Loss),
}

struct Walk<'h> {
    operations: &'h [Operation],
    turns: Turns<'h>,
    configurations: Set<Configuration>,
    /// States that were possible in this life of the server, with their turns.
    life: Set<(State, usize)>,
    /// And in any.
    ever: Set<(State, usize)>,
    keeps_states: bool,
    slots: [Option<usize>; PENDING_MAX],
}

/// Judges one group.
pub(super) fn check_group(history: &History, group: usize) -> Verdict {
    let mut moments: Vec<(u64, Moment)> =
        history.restarts.iter().map(|(at, loss)| (*at, Moment::Restart(*loss))).collect();
    for (index, operation) in history.operations.iter().enumerate() {
        if operation.group == group && !leaves_no_mark(operation) {
            moments.push((operation.called, Moment::Call(index)));
            if let Some(returned) = operation.returned {
                moments.push((returned, Moment::Return(index)));
            }
        }
    }
    moments.sort_unstable_by_key(|(at, _)| *at);
    let start = Configuration { state: [const { None }; KEYS], happened: 0, turn: 0 };
    let mut walk = Walk {
        operations: &history.operations,
        turns: Turns::new(history, group),
        configurations: Set::from_iter([start.clone()]),
        life: Set::from_iter([(start.state.clone(), 0)]),
        ever: Set::from_iter([(start.state, 0)]),
        keeps_states: history.restarts.iter().any(|(_, loss)| *loss != Loss::Nothing),
        slots: [None; PENDING_MAX],
    };
    for (at, moment) in moments {
        let went_on = match moment {
            Moment::Call(operation) => walk.on_call(operation),
            Moment::Return(operation) => walk.on_return(operation, at),
            Moment::Restart(loss) => walk.on_restart(loss, at),
        };
        if !went_on {
            return Verdict::Undecided;
        }
        if walk.configurations.is_empty() {
            return Verdict::Violation(match moment {
                Moment::Return(operation) => explain(history, group, operation),
                other => format!("group {group}: no state is left at {other:?}"),
            });
        }
    }
    Verdict::Linearizable
}

impl Walk<'_> {
    fn on_call(&mut self, operation: usize) -> bool {
        let free = self.slots.iter_mut().find(|slot| slot.is_none());
        free.map(|slot| *slot = Some(operation)).is_some()
    }

    fn on_return(&mut self, operation: usize, at: u64) -> bool {
        let Some(slot) = self.slots.iter().position(|it| *it == Some(operation)) else { return true };
        let bit = 1u64 << slot;
        if !self.close(Some(bit), at) {
            return false;
        }
        let may_not_have_happened = self.operations[operation].outcome == Outcome::Partial;
        self.configurations = std::mem::take(&mut self.configurations)
            .into_iter()
            .filter(|it| it.happened & bit != 0 || may_not_have_happened)
            .map(|it| Configuration { happened: it.happened & !bit, ..it })
            .collect();
        self.slots[slot] = None;
        true
    }

    fn on_restart(&mut self, loss: Loss, at: u64) -> bool {
        if !self.close(None, at) {
            return false;
        }
        let states: Set<(State, usize)> = match loss {
            Loss::Nothing => self.configurations.iter().map(|it| (it.state.clone(), it.turn)).collect(),
            Loss::Tail => std::mem::take(&mut self.life),
            Loss::Any => self.ever.clone(),
        };
        self.slots = [None; PENDING_MAX];
        self.life.clone_from(&states);
        let begins = |(state, turn)| Configuration { state, happened: 0, turn };
        self.configurations = states.into_iter().map(begins).collect();
        true
    }

    /// Adds all configurations that pending operations can lead to. With `until`, those in which that one has happened go no
    /// further: what could happen after it is tried when it matters.
    fn close(&mut self, until: Option<u64>, at: u64) -> bool {
        let mut work: Vec<Configuration> = self.configurations.iter().cloned().collect();
        while let Some(from) = work.pop() {
            if until.is_some_and(|bit| from.happened & bit != 0) {
                continue;
            }
            for slot in 0..PENDING_MAX {
                let Some(operation) = self.slots[slot].filter(|_| from.happened & (1 << slot) == 0) else {
                    continue;
                };
                if !self.is_next(operation, from.happened) {
                    continue;
                }
                let operation = &self.operations[operation];
                for Possible { state, turn } in self.turns.possible(&from.state, from.turn, operation, at) {
                    if self.keeps_states {
                        self.life.insert((state.clone(), turn));
                        self.ever.insert((state.clone(), turn));
                    }
                    let to = Configuration { state, happened: from.happened | (1 << slot), turn };
                    if self.configurations.insert(to.clone()) {
                        work.push(to);
                    }
                }
            }
            if self.configurations.len() > CONFIGURATIONS_MAX {
                return false;
            }
        }
        true
    }

    /// Whether all earlier operations of its connection have happened.
    fn is_next(&self, operation: usize, happened: u64) -> bool {
        let connection = self.operations[operation].connection;
        self.slots.iter().enumerate().all(|(slot, other)| {
            other.is_none_or(|other| {
                other >= operation
                    || self.operations[other].may_be_missing()
                    || self.operations[other].connection != connection
                    || happened & (1 << slot) != 0
            })
        })
    }
}

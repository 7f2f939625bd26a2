//! The quick way: a search for one order, depth first, most likely steps first, with a memory of what led nowhere (after Wing
//! and Gong, 1993, and Lowe, 2017).
//!
//! The search moves from return to return. An operation may happen anywhere between its call and its return; one whose
//! outcome is unknown, anywhere until that life of the server ends, or never. Where a restart may have lost the tail of a life, some
//! state of that life is the one that survived: the search guesses it when it passes it.

use std::collections::BTreeMap;

use super::super::history::{History, Loss, Operation, Outcome};
use super::super::model::{KEYS, State, apply};
use super::{Set, Verdict, explain, leaves_no_mark};

/// Configurations that led nowhere, of one group at most.
const FAILED_MAX: usize = 400_000;
/// Operations of one group that may be pending at once.
const PENDING_MAX: usize = 64;

/// Something that the order must account for.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Return { operation: usize, slot: usize },
    Restart,
}

/// A moment, and what can still happen before it.
#[derive(Debug)]
struct Step {
    moment: Moment,
    /// Slot and number of each pending operation: those with a reply first.
    pending: Vec<(usize, usize)>,
    /// The life that this moment is in loses its tail.
    loses_tail: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    step: usize,
    /// Bit *i*: the operation in slot *i* has happened.
    happened: u64,
    state: State,
    /// The state that will have survived, if it has been passed.
    survives: Option<State>,
}

struct Search<'h> {
    operations: &'h [Operation],
    steps: Vec<Step>,
    /// The last operation on this group of each connection.
    last_of_connection: BTreeMap<u64, usize>,
    failed: Set<Node>,
    deepest: usize,
}

/// Too many configurations.
struct Exhausted;

/// Judges one group.
pub(super) fn check_group(history: &History, group: usize) -> Verdict {
    let Some(steps) = steps_of(history, group) else { return Verdict::Undecided };
    let own = history.operations.iter().enumerate().filter(|(_, operation)| operation.group == group);
    let mut search = Search {
        operations: &history.operations,
        steps,
        last_of_connection: own.map(|(index, operation)| (operation.connection, index)).collect(),
        failed: Set::default(),
        deepest: 0,
    };
    match search.begin_life(0, [const { None }; KEYS]) {
        Ok(true) => Verdict::Linearizable,
        Err(Exhausted) => Verdict::Undecided,
        Ok(false) => match search.steps.get(search.deepest).map(|step| step.moment) {
            Some(Moment::Return { operation, .. }) => Verdict::Violation(explain(history, group, operation)),
            _ => Verdict::Violation(format!("group {group}: no state is left at a restart")),
        },
    }
}

/// The moments of a group in order. Nothing: too much is pending at once.
fn steps_of(history: &History, group: usize) -> Option<Vec<Step>> {
    #[derive(Clone, Copy)]
    enum At {
        Call(usize),
        Return(usize),
        Restart(Loss),
    }
    let mut moments: Vec<(u64, At)> =
        history.restarts.iter().map(|(at, loss)| (*at, At::Restart(*loss))).collect();
    for (index, operation) in history.operations.iter().enumerate() {
        if operation.group == group && !leaves_no_mark(operation) {
            moments.push((operation.called, At::Call(index)));
            moments.extend(operation.returned.map(|at| (at, At::Return(index))));
        }
    }
    moments.sort_unstable_by_key(|(at, _)| *at);
    let mut slots = [None; PENDING_MAX];
    let mut steps: Vec<Step> = Vec::new();
    let mut life_from = 0;
    for (_, at) in moments {
        match at {
            At::Call(operation) => *slots.iter_mut().find(|slot| slot.is_none())? = Some(operation),
            At::Return(operation) => {
                let Some(slot) = slots.iter().position(|it| *it == Some(operation)) else { continue };
                let pending = pending_of(history, &slots);
                steps.push(Step { moment: Moment::Return { operation, slot }, pending, loses_tail: false });
                slots[slot] = None;
            }
            At::Restart(loss) => {
                let pending = pending_of(history, &slots);
                steps.push(Step { moment: Moment::Restart, pending, loses_tail: false });
                for step in &mut steps[life_from..] {
                    step.loses_tail = loss == Loss::Tail;
                }
                life_from = steps.len();
                slots = [None; PENDING_MAX];
            }
        }
    }
    Some(steps)
}

fn pending_of(history: &History, slots: &[Option<usize>]) -> Vec<(usize, usize)> {
    let mut pending: Vec<(usize, usize)> =
        slots.iter().enumerate().filter_map(|(slot, operation)| operation.map(|it| (slot, it))).collect();
    pending.sort_unstable_by_key(|(_, index)| {
        let operation = &history.operations[*index];
        (operation.outcome == Outcome::Unknown, operation.returned, *index)
    });
    pending
}

impl Search<'_> {
    fn begin_life(&mut self, step: usize, state: State) -> Result<bool, Exhausted> {
        let node = Node { step, happened: 0, state, survives: None };
        if self.explore(node.clone())? {
            return Ok(true);
        }
        let loses_tail = self.steps.get(step).is_some_and(|step| step.loses_tail);
        Ok(loses_tail && self.explore(Node { survives: Some(node.state.clone()), ..node })?)
    }

    fn explore(&mut self, mut node: Node) -> Result<bool, Exhausted> {
        // What has happened already needs no choice.
        while let Some(Step { moment: Moment::Return { slot, .. }, .. }) = self.steps.get(node.step)
            && node.happened & (1 << slot) != 0
        {
            node.happened &= !(1 << slot);
            node.step += 1;
        }
        if node.step == self.steps.len() {
            return Ok(true);
        }
        if self.failed.contains(&node) {
            return Ok(false);
        }
        self.deepest = self.deepest.max(node.step);
        let found = match self.steps[node.step].moment {
            Moment::Restart => {
                let state = node.survives.clone().unwrap_or_else(|| node.state.clone());
                self.begin_life(node.step + 1, state)? || self.try_pending(&node, None)?
            }
            Moment::Return { operation, slot } => {
                let skips = self.operations[operation].outcome == Outcome::Partial;
                self.try_one(&node, (slot, operation))?
                    || self.try_pending(&node, Some(slot))?
                    || (skips && self.explore(Node { step: node.step + 1, ..node.clone() })?)
            }
        };
        if !found {
            if self.failed.len() >= FAILED_MAX {
                return Err(Exhausted);
            }
            self.failed.insert(node);
        }
        Ok(found)
    }

    /// Lets each pending operation but one happen next.
    fn try_pending(&mut self, node: &Node, but: Option<usize>) -> Result<bool, Exhausted> {
        for place in 0..self.steps[node.step].pending.len() {
            let (slot, operation) = self.steps[node.step].pending[place];
            if Some(slot) != but && self.try_one(node, (slot, operation))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets an operation happen next, if it can.
    fn try_one(&mut self, node: &Node, (slot, index): (usize, usize)) -> Result<bool, Exhausted> {
        if node.happened & (1 << slot) != 0 || !self.is_next(node, index) {
            return Ok(false);
        }
        let operation = &self.operations[index];
        let (state, reply) = apply(&node.state, &operation.action);
        if matches!(&operation.outcome, Outcome::Replied(seen) if *seen != reply) {
            return Ok(false);
        }
        let changed = state != node.state;
        if !changed && operation.outcome == Outcome::Unknown {
            // As if it never happened; but those behind it on its connection may follow.
            if self.last_of_connection.get(&operation.connection) == Some(&index) {
                return Ok(false);
            }
        }
        let next = Node { happened: node.happened | (1 << slot), state, ..node.clone() };
        if self.explore(next.clone())? {
            return Ok(true);
        }
        let may_survive = changed && next.survives.is_none() && self.steps[node.step].loses_tail;
        Ok(may_survive && self.explore(Node { survives: Some(next.state.clone()), ..next })?)
    }

    /// Whether all earlier operations of its connection have happened.
    fn is_next(&self, node: &Node, index: usize) -> bool {
        let connection = self.operations[index].connection;
        self.steps[node.step].pending.iter().all(|(slot, other)| {
            *other >= index
                || self.operations[*other].connection != connection
                || node.happened & (1 << slot) != 0
        })
    }
}

//! The quick way: a search for one order, depth first, most likely steps first, with a memory of what led nowhere (after Wing
//! and Gong, 1993, and Lowe, 2017).
//!
//! The search moves from return to return. An operation may happen anywhere between its call and its return; one whose
//! outcome is unknown, anywhere until that life of the server ends, or never.
//!
//! Where a restart may have lost something, some state before it is the one that survived. That splits the question in two, which are
//! answered apart: whether that state explains what came after the restart, and whether the life that it
//! comes from can be explained to its end. So the many ends that a life can have are not multiplied by its many states.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use super::super::history::{History, Loss, Operation, Outcome};
use super::super::model::{KEYS, State};
use super::possible::{Possible, Turns};
use super::{Verdict, explain, leaves_no_mark};

/// Configurations that led nowhere, of one group at most.
const FAILED_MAX: usize = 4_000_000;
/// Operations of one group that may be pending at once.
const PENDING_MAX: usize = 128;

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
    at: u64,
    /// Slot and number of each pending operation: those with a reply first.
    pending: Vec<(usize, usize)>,
    /// The slots of those that the server may have left out, whatever has happened behind them on their connection.
    skippable: u128,
    /// Restarts at which a state of this time may be what is left: the end of this life, and one after damage.
    outlives: [Option<usize>; 2],
}

#[derive(Clone, Debug)]
struct Node {
    step: usize,
    /// Bit *i*: the operation in slot *i* has happened.
    happened: u128,
    state: State,
    /// The turn of the last operation that has happened; see [`Turns`].
    turn: usize,
}

struct Search<'h> {
    operations: &'h [Operation],
    turns: Turns<'h>,
    steps: Vec<Step>,
    /// The last operation on this group of each connection.
    last_of_connection: BTreeMap<u64, usize>,
    /// By hashes of nodes and goals, of 128 bits, so that two of them are never equal by chance: which of the operations that
    /// may be skipped had happened. Where all the more are left to happen in vain, fewer do no better.
    failed: HashMap<u128, Vec<u128>, BuildHasherDefault<DefaultHasher>>,
    failed_count: usize,
    deepest: usize,
}

/// Too many configurations.
struct Exhausted;

/// Judges one group.
pub(super) fn check_group(history: &History, group: usize) -> Verdict {
    let Some(steps) = steps_of(history, group) else { return Verdict::Undecided };
    let mut last_of_connection = BTreeMap::new();
    for (index, operation) in history.operations.iter().enumerate() {
        if operation.group == group && !leaves_no_mark(operation) {
            last_of_connection.insert(operation.connection, index);
        }
    }
    let turns = Turns::new(history, group);
    let operations = &history.operations;
    let mut search = Search {
        operations,
        turns,
        steps,
        last_of_connection,
        failed: HashMap::default(),
        failed_count: 0,
        deepest: 0,
    };
    let start = Node { step: 0, happened: 0, state: [const { None }; KEYS], turn: 0 };
    match search.explore(start, search.steps.len()) {
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
    for (at, what) in moments {
        let moment = match what {
            At::Call(operation) => {
                *slots.iter_mut().find(|slot| slot.is_none())? = Some(operation);
                continue;
            }
            At::Return(operation) => {
                let Some(slot) = slots.iter().position(|it| *it == Some(operation)) else { continue };
                Moment::Return { operation, slot }
            }
            At::Restart(_) => Moment::Restart,
        };
        let pending = pending_of(history, &slots);
        let may_be_skipped = |index: usize| {
            let operation = &history.operations[index];
            operation.outcome == Outcome::Unknown && operation.may_be_missing()
        };
        let skippable = pending.iter().filter(|(_, index)| may_be_skipped(*index));
        let skippable = skippable.fold(0, |bits, (slot, _)| bits | 1 << slot);
        steps.push(Step { moment, at, pending, skippable, outlives: [None; 2] });
        match (moment, what) {
            (Moment::Return { slot, .. }, _) => slots[slot] = None,
            (_, At::Restart(loss)) => {
                let restart = steps.len() - 1;
                match loss {
                    Loss::Nothing => {}
                    Loss::Tail => steps[life_from..].iter_mut().for_each(|it| it.outlives[0] = Some(restart)),
                    // A second one would forget the first.
                    Loss::Any if steps.iter().any(|it| it.outlives[1].is_some()) => return None,
                    Loss::Any => steps.iter_mut().for_each(|it| it.outlives[1] = Some(restart)),
                }
                life_from = steps.len();
                slots = [None; PENDING_MAX];
            }
            _ => {}
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

impl Node {
    /// Of all but what has happened of these slots.
    fn fingerprint(&self, goal: usize, but: u128) -> u128 {
        let half = |which: u8| {
            let mut hasher = DefaultHasher::new();
            (which, goal, self.step, self.happened & !but, &self.state, self.turn).hash(&mut hasher);
            hasher.finish()
        };
        u128::from(half(0)) << 64 | u128::from(half(1))
    }
}

impl Search<'_> {
    /// Whether what comes before the step `goal` can be explained from here on.
    fn explore(&mut self, mut node: Node, goal: usize) -> Result<bool, Exhausted> {
        self.settle(&mut node, goal);
        if node.step >= goal {
            return Ok(true);
        }
        let skippable = self.steps[node.step].skippable;
        let (fingerprint, skipped) = (node.fingerprint(goal, skippable), node.happened & skippable);
        let is_worse = |failed: &Vec<u128>| failed.iter().any(|fewer| fewer & !skipped == 0);
        if self.failed.get(&fingerprint).is_some_and(is_worse) {
            return Ok(false);
        }
        self.deepest = self.deepest.max(node.step);
        if self.is_left(&node, goal)? || self.explore_next(&node, goal)? {
            return Ok(true);
        }
        if self.failed_count >= FAILED_MAX {
            return Err(Exhausted);
        }
        self.failed_count += 1;
        let failed = self.failed.entry(fingerprint).or_default();
        failed.retain(|more| skipped & !more != 0);
        failed.push(skipped);
        Ok(false)
    }

    /// Goes on as far as there's no choice.
    fn settle(&self, node: &mut Node, goal: usize) {
        while let Some(step) = self.steps.get(node.step).filter(|_| node.step < goal) {
            match step.moment {
                // What has happened already.
                Moment::Return { slot, .. } if node.happened & (1 << slot) != 0 => {
                    node.happened &= !(1 << slot);
                    node.step += 1;
                }
                _ => match self.inert(node, step) {
                    Some(slot) => node.happened |= 1 << slot,
                    None => return,
                },
            }
        }
    }

    /// An operation that changes nothing and can happen now. There's no reason to let it wait: if any order explains everything, so
    /// does the one in which it comes first.
    fn inert(&self, node: &Node, step: &Step) -> Option<usize> {
        let stays = |index: usize| {
            let operation = &self.operations[index];
            let Outcome::Replied(seen) = &operation.outcome else { return false };
            operation.action.is_inert(seen) && self.is_next(node, index) && {
                let possible = self.turns.possible(&node.state, node.turn, operation, step.at);
                possible.iter().any(|it| it.turn == node.turn && it.state == node.state)
            }
        };
        let mut waiting = step.pending.iter().filter(|(slot, _)| node.happened & (1 << slot) == 0);
        waiting.find(|(_, index)| stays(*index)).map(|(slot, _)| *slot)
    }

    /// Whether the state of this moment may be what a restart has left.
    fn is_left(&mut self, node: &Node, goal: usize) -> Result<bool, Exhausted> {
        for restart in self.steps[node.step].outlives.into_iter().flatten() {
            let after = Node { step: restart + 1, happened: 0, ..node.clone() };
            if restart < goal && self.explore(after, goal)? && self.explore(node.clone(), restart)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn explore_next(&mut self, node: &Node, goal: usize) -> Result<bool, Exhausted> {
        match self.steps[node.step].moment {
            Moment::Restart => {
                let next = Node { step: node.step + 1, happened: 0, ..node.clone() };
                Ok(self.explore(next, goal)? || self.try_pending(node, None, goal)?)
            }
            Moment::Return { operation, slot } => {
                let skips = self.operations[operation].outcome == Outcome::Partial;
                Ok(self.try_one(node, (slot, operation), goal)?
                    || self.try_pending(node, Some(slot), goal)?
                    || (skips && self.explore(Node { step: node.step + 1, ..node.clone() }, goal)?))
            }
        }
    }

    /// Lets each pending operation but one happen next.
    fn try_pending(&mut self, node: &Node, but: Option<usize>, goal: usize) -> Result<bool, Exhausted> {
        for place in 0..self.steps[node.step].pending.len() {
            let (slot, operation) = self.steps[node.step].pending[place];
            if Some(slot) != but && self.try_one(node, (slot, operation), goal)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets an operation happen next, if it can.
    fn try_one(
        &mut self,
        node: &Node,
        (slot, index): (usize, usize),
        goal: usize,
    ) -> Result<bool, Exhausted> {
        if node.happened & (1 << slot) != 0 || !self.is_next(node, index) {
            return Ok(false);
        }
        let operation = &self.operations[index];
        for Possible { state, turn } in
            self.turns.possible(&node.state, node.turn, operation, self.steps[node.step].at)
        {
            // As if it never happened; but those behind it on its connection may follow.
            if state == node.state
                && operation.outcome == Outcome::Unknown
                && self.last_of_connection.get(&operation.connection) == Some(&index)
            {
                continue;
            }
            let next = Node { step: node.step, happened: node.happened | (1 << slot), state, turn };
            if self.explore(next, goal)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether all earlier operations of its connection have happened.
    fn is_next(&self, node: &Node, index: usize) -> bool {
        let connection = self.operations[index].connection;
        self.steps[node.step].pending.iter().all(|(slot, other)| {
            *other >= index
                || self.operations[*other].may_be_missing()
                || self.operations[*other].connection != connection
                || node.happened & (1 << slot) != 0
        })
    }
}

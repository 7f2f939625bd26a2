//! Sorted sets: members with scores, in the order of score and then of bytes.
//!
//! - [`small`]: one [`Packed`], while both limits of [`ValueLimits`](super::ValueLimits) hold.
//! - [`large`], from then on: ranks, places and scores cost O(log n), members by rank O(log n + members).
//! - No score is NaN or minus zero.

mod index;
mod large;
mod order;
mod small;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use large::Large;

use super::Shaping;
use super::change::Parts;
use super::codec::{Elements, Fault, put_element, put_number};
use super::element::Element;
use super::packed::Packed;
use crate::table::Hasher;

/// A sorted set.
pub struct SortedSet(Form);

enum Form {
    Small(Packed),
    Large(Box<Large>),
}

/// A change of one member.
#[derive(Clone, Copy, Debug)]
pub enum SortedSetChange<'a> {
    /// The member, new or not, has this score, which is not NaN.
    Add {
        /// The member.
        member: &'a [u8],
        /// Its score.
        score: f64,
    },
    /// The member is gone.
    Remove {
        /// The member.
        member: &'a [u8],
    },
}

impl PartialEq for SortedSetChange<'_> {
    /// Scores are compared by their bits: what matters is which of them is kept.
    fn eq(&self, other: &Self) -> bool {
        self.to_parts() == other.to_parts()
    }
}

impl Eq for SortedSetChange<'_> {}

const OP_ADD: u8 = 0;
const OP_REMOVE: u8 = 1;

/// A score as a number that is short where the score has few digits: the bytes of the double, the highest as the lowest.
pub(crate) const fn to_number(score: f64) -> u64 {
    score.to_bits().swap_bytes()
}

fn from_number(number: u64) -> Option<f64> {
    let score = f64::from_bits(number.swap_bytes());
    (!score.is_nan()).then_some(score)
}

impl<'a> SortedSetChange<'a> {
    pub(super) fn to_parts(self) -> Parts<'a> {
        match self {
            Self::Add { member, score } => Parts::new(OP_ADD, member, &[]).numbers(&[to_number(score)]),
            Self::Remove { member } => Parts::new(OP_REMOVE, member, &[]),
        }
    }

    pub(super) fn from_parts(parts: &Parts<'a>) -> Option<Self> {
        match (parts.op, parts.as_numbers(), parts.first, parts.second) {
            (OP_ADD, &[number], member, []) => Some(Self::Add { member, score: from_number(number)? }),
            (OP_REMOVE, [], member, []) => Some(Self::Remove { member }),
            _ => None,
        }
    }

    /// Whether an absent key becomes a sorted set by it.
    pub(super) const fn creates(self) -> bool {
        matches!(self, Self::Add { .. })
    }
}

impl SortedSet {
    pub(super) fn new() -> SortedSet {
        SortedSet(Form::Small(Packed::default()))
    }

    /// Number of members.
    #[expect(clippy::len_without_is_empty, reason = "an empty sorted set does not exist")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Small(packed) => packed.len() / 2,
            Form::Large(large) => large.len(),
        }
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Form::Small(packed) => small::find(packed, member).map(|found| found.score),
            Form::Large(large) => large.score(member),
        }
    }

    /// How many members stand before a member.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match &self.0 {
            Form::Small(packed) => {
                small::iter(packed).find(|found| *found.member == *member).map(|found| found.rank)
            }
            Form::Large(large) => large.rank(member),
        }
    }

    /// How many members, from the first on, are `before`: which must be true up to some member and false from there on.
    pub fn partition(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        match &self.0 {
            Form::Small(packed) => {
                small::iter(packed).take_while(|found| before(found.score, &found.member)).count()
            }
            Form::Large(large) => large.partition(&before),
        }
    }

    /// Members with their scores by rank, `start..end` as far as there are any; goes both ways.
    pub fn range(&self, start: usize, end: usize) -> impl DoubleEndedIterator<Item = (Element<'_>, f64)> {
        let (small, large) = match &self.0 {
            Form::Small(packed) => (Some(small::range(packed, start, end).into_iter()), None),
            Form::Large(large) => {
                let members = large.iter(start, end).map(|(member, score)| (Element::bytes(member), score));
                (None, Some(members))
            }
        };
        small.into_iter().flatten().chain(large.into_iter().flatten())
    }

    /// All members in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Element<'_>, f64)> {
        self.range(0, self.len())
    }

    /// A member chosen evenly.
    pub fn sample(&self, random: &mut dyn FnMut() -> u64) -> Option<(Element<'_>, f64)> {
        let number = random().checked_rem(self.len() as u64)? as usize;
        match &self.0 {
            Form::Small(_) => self.range(number, number + 1).next(),
            Form::Large(large) => {
                let (member, score) = large.nth(number);
                Some((Element::bytes(member), score))
            }
        }
    }

    /// Visits about `count` members from `cursor` on (0: the start). Returns where to go on; none at the end. A small sorted set is
    /// visited as a whole. A member that is there during a whole walk is visited at least once.
    pub fn scan(&self, cursor: u64, count: usize, each: &mut dyn FnMut(Element<'_>, f64)) -> Option<u64> {
        match &self.0 {
            Form::Small(packed) => {
                small::iter(packed).for_each(|found| each(found.member, found.score));
                None
            }
            Form::Large(large) => {
                let mut seen = 0;
                large.walk(cursor, |member, score| {
                    seen += 1;
                    each(Element::bytes(member), score);
                    seen >= count
                })
            }
        }
    }

    /// As `OBJECT ENCODING` answers.
    pub(super) const fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Small(_) => "listpack",
            Form::Large(_) => "skiplist",
        }
    }

    /// See [`Collection::form`](super::Collection::form).
    pub(super) const fn form(&self) -> u8 {
        match &self.0 {
            Form::Small(_) => 0,
            Form::Large(_) => 1,
        }
    }

    pub(super) fn keep_form(&mut self, form: u8, shaping: &Shaping<'_>) {
        if form > 0 {
            self.enlarge(shaping.hasher);
        }
    }

    pub(super) fn elements_address(&self) -> *const u8 {
        match &self.0 {
            Form::Small(packed) => packed.address(),
            Form::Large(large) => (&raw const **large).cast(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match &self.0 {
            Form::Small(packed) => packed.memory_bytes(),
            Form::Large(large) => large.memory_bytes(),
        }
    }

    /// Applies a change; returns how many members it added, changed or removed.
    pub(super) fn apply(&mut self, change: SortedSetChange<'_>, shaping: &Shaping<'_>) -> usize {
        usize::from(match change {
            SortedSetChange::Add { member, score } => self.put(member, score, shaping),
            SortedSetChange::Remove { member } => self.remove(member),
        })
    }

    fn put(&mut self, member: &[u8], score: f64, shaping: &Shaping<'_>) -> bool {
        assert!(!score.is_nan(), "a score that has no place");
        // Minus zero becomes zero; no other number changes.
        let score = score + 0.0;
        let packed = match &mut self.0 {
            Form::Large(large) => return large.put(member, score),
            Form::Small(packed) => packed,
        };
        let limits = shaping.limits;
        if let Some(found) = small::find(packed, member) {
            if found.score.to_bits() == score.to_bits() {
                return false;
            }
            let at = found.at;
            packed.remove(at, 2);
        } else if member.len() > limits.sorted_set_small_value_bytes
            || packed.len() / 2 >= limits.sorted_set_small_entries
            || !packed.has_room_for(member.len())
        {
            self.enlarge(shaping.hasher);
            return self.put(member, score, shaping);
        }
        small::insert(packed, member, score);
        true
    }

    fn enlarge(&mut self, hasher: &Arc<Hasher>) {
        if let Form::Small(packed) = &self.0 {
            let mut large = Large::new(hasher);
            for found in small::iter(packed) {
                large.put(&found.member, found.score);
            }
            self.0 = Form::Large(Box::new(large));
        }
    }

    fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Small(packed) => {
                let Some(at) = packed.find(member, 2) else { return false };
                packed.remove(at, 2);
                true
            }
            Form::Large(large) => large.remove(member),
        }
    }

    /// Writes members from `cursor` on, each with its score. Returns where to go on.
    pub(super) fn encode(&self, cursor: u64, budget: usize, out: &mut Vec<u8>) -> Option<u64> {
        let start = out.len();
        let mut put = |member: &[u8], score| {
            put_scored(out, member, score);
            out.len() - start >= budget
        };
        match &self.0 {
            Form::Small(packed) => {
                small::iter(packed).for_each(|found| {
                    put(&found.member, found.score);
                });
                None
            }
            Form::Large(large) => large.walk(cursor, put),
        }
    }

    /// Adds members as [`SortedSet::encode`] wrote them.
    pub(super) fn load(&mut self, elements: &[u8], shaping: &Shaping<'_>) -> Result<(), Fault> {
        let mut elements = Elements::new(elements);
        while !elements.is_empty() {
            let (member, score) = take(&mut elements)?;
            self.put(member, score, shaping);
        }
        Ok(())
    }

    /// Frees up to `budget` members of a sorted set that nobody uses any more; returns what is left of the budget.
    pub(super) fn free(&mut self, budget: usize) -> usize {
        match &mut self.0 {
            Form::Small(_) => budget,
            Form::Large(large) => large.free(budget),
        }
    }

    pub(super) fn is_freed(&self) -> bool {
        match &self.0 {
            Form::Small(_) => true,
            Form::Large(large) => large.is_freed(),
        }
    }
}

/// Writes a member with its score.
pub(super) fn put_scored(out: &mut Vec<u8>, member: &[u8], score: f64) {
    put_element(out, member);
    put_number(out, to_number(score));
}

/// Reads what [`put_scored`] wrote.
pub(super) fn take<'a>(elements: &mut Elements<'a>) -> Result<(&'a [u8], f64), Fault> {
    let member = elements.take_element()?;
    let score = from_number(elements.take_number()?).ok_or(Fault::Number)?;
    Ok((member, score))
}

/// Checks members as [`SortedSet::load`] takes them.
pub(super) fn check(elements: &[u8]) -> Result<(), Fault> {
    let mut elements = Elements::new(elements);
    while !elements.is_empty() {
        take(&mut elements)?;
    }
    Ok(())
}

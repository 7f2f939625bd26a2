//! Sorted sets: members with scores, in the order of score and then of bytes.
//!
//! - [`small`]: one [`Packed`], while both limits of [`ValueLimits`](super::ValueLimits) hold.
//! - [`large`], from then on: ranks, places and scores cost O(log n), members by rank O(log n + members).
//! - A sorted set with members that expire is large ([`lives`]).
//! - No score is NaN or minus zero.

mod index;
mod large;
mod live;
mod lives;
mod order;
mod small;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use large::Large;

use super::Shaping;
use super::change::Parts;
use super::codec::{Elements, Fault, put_member, put_number};
use super::packed::Packed;
use crate::table::Hasher;

pub use live::LiveSortedSet;

/// A sorted set.
pub struct SortedSet(Form);

enum Form {
    Small(Packed),
    Large(Box<Large>),
}

/// A change of one member.
#[derive(Clone, Copy, Debug)]
pub enum SortedSetChange<'a> {
    /// The member, new or not, has this score, which is not NaN. If it was there, it expires when it did.
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
    /// The member expires then, or not any more.
    Expire {
        /// The member.
        member: &'a [u8],
        /// Absolute expiry, ms of Unix time.
        expire_at_ms: Option<u64>,
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
const OP_EXPIRE: u8 = 2;

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
            Self::Expire { member, expire_at_ms } => {
                Parts::new(OP_EXPIRE, member, &[]).numbers(expire_at_ms.as_slice())
            }
        }
    }

    pub(super) fn from_parts(parts: &Parts<'a>) -> Option<Self> {
        match (parts.op, parts.as_numbers(), parts.first, parts.second) {
            (OP_ADD, &[number], member, []) => Some(Self::Add { member, score: from_number(number)? }),
            (OP_REMOVE, [], member, []) => Some(Self::Remove { member }),
            (OP_EXPIRE, [], member, []) => Some(Self::Expire { member, expire_at_ms: None }),
            (OP_EXPIRE, &[at], member, []) => Some(Self::Expire { member, expire_at_ms: Some(at) }),
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

    /// The sorted set without the members whose time has passed by then.
    pub fn at(&self, now_ms: u64) -> LiveSortedSet<'_> {
        LiveSortedSet::new(self, now_ms)
    }

    /// Number of members, those included whose time has passed and that nobody has come across.
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Form::Small(packed) => packed.len() / 2,
            Form::Large(large) => large.len(),
        }
    }

    /// When the first member expires, ms of Unix time.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        match &self.0 {
            Form::Small(_) => None,
            Form::Large(large) => large.next_expiry_ms(),
        }
    }

    /// A member whose time has passed.
    pub(super) fn first_lapsed(&self, now_ms: u64) -> Option<&[u8]> {
        match &self.0 {
            Form::Small(_) => None,
            Form::Large(large) => large.first_lapsed(now_ms),
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
            SortedSetChange::Expire { member, expire_at_ms } => {
                self.set_expiry(member, expire_at_ms, shaping)
            }
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

    fn set_expiry(&mut self, member: &[u8], expire_at_ms: Option<u64>, shaping: &Shaping<'_>) -> bool {
        if let Form::Small(packed) = &self.0
            && (expire_at_ms.is_none() || small::find(packed, member).is_none())
        {
            return false;
        }
        self.enlarge(shaping.hasher).set_expiry(member, expire_at_ms)
    }

    fn enlarge(&mut self, hasher: &Arc<Hasher>) -> &mut Large {
        if let Form::Small(packed) = &self.0 {
            let mut large = Large::new(hasher);
            for found in small::iter(packed) {
                large.put(&found.member, found.score);
            }
            self.0 = Form::Large(Box::new(large));
        }
        match &mut self.0 {
            Form::Large(large) => large,
            Form::Small(_) => unreachable!("it has just become large"),
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

    /// Writes members from `cursor` on, each with its score and expiry. Returns where to go on.
    pub(super) fn encode(&self, cursor: u64, budget: usize, out: &mut Vec<u8>) -> Option<u64> {
        let start = out.len();
        let mut put = |member: &[u8], score, expire_at_ms| {
            put_scored(out, member, score, expire_at_ms);
            out.len() - start >= budget
        };
        match &self.0 {
            Form::Small(packed) => {
                small::iter(packed).for_each(|found| {
                    put(&found.member, found.score, None);
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
            let (member, score, expire_at_ms) = take(&mut elements)?;
            self.put(member, score, shaping);
            // As with sets: what is said last of a member holds.
            if expire_at_ms.is_some() || self.next_expiry_ms().is_some() {
                self.set_expiry(member, expire_at_ms, shaping);
            }
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

/// Writes a member with its score and expiry.
pub(super) fn put_scored(out: &mut Vec<u8>, member: &[u8], score: f64, expire_at_ms: Option<u64>) {
    put_member(out, member, expire_at_ms);
    put_number(out, to_number(score));
}

/// Reads what [`put_scored`] wrote.
pub(super) fn take<'a>(elements: &mut Elements<'a>) -> Result<(&'a [u8], f64, Option<u64>), Fault> {
    let (member, expire_at_ms) = elements.take_member()?;
    let score = from_number(elements.take_number()?).ok_or(Fault::Number)?;
    Ok((member, score, expire_at_ms))
}

/// Checks members as [`SortedSet::load`] takes them.
pub(super) fn check(elements: &[u8]) -> Result<(), Fault> {
    let mut elements = Elements::new(elements);
    while !elements.is_empty() {
        take(&mut elements)?;
    }
    Ok(())
}

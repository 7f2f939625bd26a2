//! Sets: members without an order.
//!
//! - As long as all members are integers and few: sorted [`Integers`].
//! - Small: one [`Packed`], in the order in which the members came.
//! - Large, beyond [`ValueLimits`](super::ValueLimits): [`Members`].
//! - A set never goes back to an earlier form.

mod integers;

use std::sync::Arc;

use super::Shaping;
use super::change::Parts;
use super::codec::{Elements, Fault, put_element};
use super::element::{Element, canonical_i64};
use super::members::{Members, name_of};
use super::packed::Packed;
use crate::table::Hasher;
use integers::Integers;

/// A set.
pub struct Set(Form);

enum Form {
    Integers(Integers),
    Small(Packed),
    Large(Box<Members>),
}

/// A change of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetChange<'a> {
    /// The member is there.
    Add {
        /// The member.
        member: &'a [u8],
    },
    /// The member is gone.
    Remove {
        /// The member.
        member: &'a [u8],
    },
}

const OP_ADD: u8 = 0;
const OP_REMOVE: u8 = 1;

impl<'a> SetChange<'a> {
    pub(super) fn to_parts(self) -> Parts<'a> {
        match self {
            Self::Add { member } => Parts::new(OP_ADD, &[], member),
            Self::Remove { member } => Parts::new(OP_REMOVE, &[], member),
        }
    }

    pub(super) fn from_parts(parts: &Parts<'a>) -> Option<Self> {
        match (parts.op, parts.as_numbers(), parts.first, parts.second) {
            (OP_ADD, [], [], member) => Some(Self::Add { member }),
            (OP_REMOVE, [], [], member) => Some(Self::Remove { member }),
            _ => None,
        }
    }

    /// Whether an absent key becomes a set by it.
    pub(super) const fn creates(self) -> bool {
        matches!(self, Self::Add { .. })
    }
}

impl Set {
    pub(super) fn new() -> Set {
        Set(Form::Integers(Integers::new()))
    }

    /// Number of members.
    #[expect(clippy::len_without_is_empty, reason = "an empty set does not exist")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Integers(integers) => integers.len(),
            Form::Small(packed) => packed.len(),
            Form::Large(members) => members.len(),
        }
    }

    /// Whether it is a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Form::Integers(integers) => {
                canonical_i64(member).is_some_and(|value| integers.search(value).is_ok())
            }
            Form::Small(packed) => packed.find(member, 1).is_some(),
            Form::Large(members) => members.find(member).is_some(),
        }
    }

    /// All members; integers alone are in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        let (integers, small, large) = match &self.0 {
            Form::Integers(integers) => (Some(integers.iter()), None, None),
            Form::Small(packed) => (None, Some(packed.iter()), None),
            Form::Large(members) => (None, None, Some(members.iter().map(name_of))),
        };
        let few = integers.into_iter().flatten().chain(small.into_iter().flatten());
        few.chain(large.into_iter().flatten())
    }

    /// A member chosen almost evenly.
    pub fn sample(&self, random: &mut dyn FnMut() -> u64) -> Option<Element<'_>> {
        let mut below = |count: usize| (random() % count.max(1) as u64) as usize;
        match &self.0 {
            Form::Integers(integers) => Some(Element::integer(integers.value(below(integers.len())))),
            Form::Small(packed) => packed.iter_from(below(packed.len())).next(),
            Form::Large(members) => members.sample(random).map(name_of),
        }
    }

    /// Visits about `count` members from `cursor` on (0: the start). Returns where to go on; none at the end. A small set is
    /// visited as a whole.
    pub fn scan(&self, cursor: u64, count: usize, each: &mut dyn FnMut(Element<'_>)) -> Option<u64> {
        let Form::Large(members) = &self.0 else {
            self.iter().for_each(each);
            return None;
        };
        let mut seen = 0;
        members.walk(cursor, |entry| {
            seen += 1;
            each(name_of(entry));
            seen >= count
        })
    }

    /// As `OBJECT ENCODING` answers.
    pub(super) fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Integers(_) => "intset",
            Form::Small(_) => "listpack",
            Form::Large(_) => "hashtable",
        }
    }

    /// See [`Collection::form`](super::Collection::form).
    pub(super) const fn form(&self) -> u8 {
        match &self.0 {
            Form::Integers(_) => 0,
            Form::Small(_) => 1,
            Form::Large(_) => 2,
        }
    }

    pub(super) fn keep_form(&mut self, form: u8, shaping: &Shaping<'_>) {
        match form {
            1 if self.form() == 0 => self.pack(),
            2.. => drop(self.enlarge(shaping.hasher)),
            _ => {}
        }
    }

    pub(super) fn elements_address(&self) -> *const u8 {
        match &self.0 {
            Form::Integers(integers) => integers.address(),
            Form::Small(packed) => packed.address(),
            Form::Large(members) => (&raw const **members).cast(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match &self.0 {
            Form::Integers(integers) => integers.memory_bytes(),
            Form::Small(packed) => packed.memory_bytes(),
            Form::Large(members) => members.memory_bytes(),
        }
    }

    /// Applies a change; returns how many members it added or removed.
    pub(super) fn apply(&mut self, change: SetChange<'_>, shaping: &Shaping<'_>) -> usize {
        match change {
            SetChange::Add { member } => usize::from(self.add(member, shaping)),
            SetChange::Remove { member } => usize::from(self.remove(member)),
        }
    }

    fn add(&mut self, member: &[u8], shaping: &Shaping<'_>) -> bool {
        let limits = shaping.limits;
        match &mut self.0 {
            Form::Integers(integers) => {
                if let Some(value) = canonical_i64(member)
                    && integers.len() < limits.set_integer_entries
                {
                    return integers.insert(value);
                }
                if self.contains(member) {
                    return false;
                }
                self.leave_integers(member, shaping);
                self.add(member, shaping)
            }
            Form::Small(packed) => {
                if packed.find(member, 1).is_some() {
                    return false;
                }
                if member.len() <= limits.set_small_value_bytes
                    && packed.len() < limits.set_small_entries
                    && packed.has_room_for(member.len())
                {
                    packed.push(member);
                    return true;
                }
                self.enlarge(shaping.hasher).put(member, &[], None)
            }
            Form::Large(members) => {
                // Not `put`: a member that is there stays as it is.
                members.find(member).is_none() && members.put(member, &[], None)
            }
        }
    }

    /// Takes the form that one member more asks for.
    fn leave_integers(&mut self, member: &[u8], shaping: &Shaping<'_>) {
        let limits = shaping.limits;
        if member.len() <= limits.set_small_value_bytes && self.len() < limits.set_small_entries {
            self.pack();
        } else {
            self.enlarge(shaping.hasher);
        }
    }

    fn pack(&mut self) {
        let mut packed = Packed::default();
        self.iter().for_each(|element| packed.push(&element));
        self.0 = Form::Small(packed);
    }

    fn enlarge(&mut self, hasher: &Arc<Hasher>) -> &mut Members {
        if !matches!(self.0, Form::Large(_)) {
            let mut members = Members::new(hasher);
            for member in self.iter() {
                members.put(&member, &[], None);
            }
            self.0 = Form::Large(Box::new(members));
        }
        match &mut self.0 {
            Form::Large(members) => members,
            Form::Integers(_) | Form::Small(_) => unreachable!("it has just become large"),
        }
    }

    fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Integers(integers) => canonical_i64(member).is_some_and(|value| integers.remove(value)),
            Form::Small(packed) => {
                let Some(at) = packed.find(member, 1) else { return false };
                packed.remove(at, 1);
                true
            }
            Form::Large(members) => members.remove(member),
        }
    }

    /// Writes members from `cursor` on. Returns where to go on.
    pub(super) fn encode(&self, cursor: u64, budget: usize, out: &mut Vec<u8>) -> Option<u64> {
        let Form::Large(members) = &self.0 else {
            self.iter().for_each(|member| put_element(out, &member));
            return None;
        };
        let start = out.len();
        members.walk(cursor, |entry| {
            put_element(out, entry.key());
            out.len() - start >= budget
        })
    }

    /// Adds members as [`Set::encode`] wrote them.
    pub(super) fn load(&mut self, elements: &[u8], shaping: &Shaping<'_>) -> Result<(), Fault> {
        let mut elements = Elements::new(elements);
        while !elements.is_empty() {
            self.add(elements.take_element()?, shaping);
        }
        Ok(())
    }

    /// Frees up to `budget` members of a set that nobody uses any more; returns what is left of the budget.
    pub(super) fn free(&mut self, budget: usize) -> usize {
        match &mut self.0 {
            Form::Integers(_) | Form::Small(_) => budget,
            Form::Large(members) => members.free(budget),
        }
    }

    pub(super) fn is_freed(&self) -> bool {
        match &self.0 {
            Form::Integers(_) | Form::Small(_) => true,
            Form::Large(members) => members.is_freed(),
        }
    }
}

/// Checks members as [`Set::load`] takes them.
pub(super) fn check(elements: &[u8]) -> Result<(), Fault> {
    let mut elements = Elements::new(elements);
    while !elements.is_empty() {
        elements.take_element()?;
    }
    Ok(())
}

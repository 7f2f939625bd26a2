//! Sets: members without an order.
//!
//! - As long as all members are integers and few: sorted [`Integers`].
//! - Small: one [`Packed`], in the order in which the members came.
//! - Large, beyond [`ValueLimits`](super::ValueLimits): [`Members`].
//! - A set with members that expire is large.
//! - A set never goes back to an earlier form.

mod integers;
mod live;

use std::sync::Arc;

use super::Shaping;
use super::change::Parts;
use super::codec::{Elements, Fault, put_element, put_member};
use super::element::{Element, canonical_i64};
use super::members::{Members, name_of};
use super::packed::Packed;
use crate::table::Hasher;
use integers::Integers;

pub use live::LiveSet;

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
    /// The member is there. If it was, it expires when it did.
    Add {
        /// The member.
        member: &'a [u8],
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

const OP_ADD: u8 = 0;
const OP_REMOVE: u8 = 1;
const OP_EXPIRE: u8 = 2;

impl<'a> SetChange<'a> {
    pub(super) fn to_parts(self) -> Parts<'a> {
        match self {
            Self::Add { member } => Parts::new(OP_ADD, &[], member),
            Self::Remove { member } => Parts::new(OP_REMOVE, &[], member),
            Self::Expire { member, expire_at_ms } => {
                Parts::new(OP_EXPIRE, &[], member).numbers(expire_at_ms.as_slice())
            }
        }
    }

    pub(super) fn from_parts(parts: &Parts<'a>) -> Option<Self> {
        match (parts.op, parts.as_numbers(), parts.first, parts.second) {
            (OP_ADD, [], [], member) => Some(Self::Add { member }),
            (OP_REMOVE, [], [], member) => Some(Self::Remove { member }),
            (OP_EXPIRE, [], [], member) => Some(Self::Expire { member, expire_at_ms: None }),
            (OP_EXPIRE, &[at], [], member) => Some(Self::Expire { member, expire_at_ms: Some(at) }),
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

    /// The set without the members whose time has passed by then.
    pub const fn at(&self, now_ms: u64) -> LiveSet<'_> {
        LiveSet::new(self, now_ms)
    }

    /// Number of members, those included whose time has passed and that nobody has come across.
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Form::Integers(integers) => integers.len(),
            Form::Small(packed) => packed.len(),
            Form::Large(members) => members.len(),
        }
    }

    /// When the first member expires, ms of Unix time.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        match &self.0 {
            Form::Integers(_) | Form::Small(_) => None,
            Form::Large(members) => members.next_expiry_ms(),
        }
    }

    /// A member whose time has passed.
    pub(super) fn first_lapsed(&self, now_ms: u64) -> Option<&[u8]> {
        match &self.0 {
            Form::Integers(_) | Form::Small(_) => None,
            Form::Large(members) => members.first_lapsed(now_ms).map(|entry| entry.key()),
        }
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

    /// Applies a change; returns how many members it added, changed or removed.
    pub(super) fn apply(&mut self, change: SetChange<'_>, shaping: &Shaping<'_>) -> usize {
        match change {
            SetChange::Add { member } => usize::from(self.add(member, shaping)),
            SetChange::Remove { member } => usize::from(self.remove(member)),
            SetChange::Expire { member, expire_at_ms } => {
                usize::from(self.set_expiry(member, expire_at_ms, shaping))
            }
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
                if canonical_i64(member).is_some_and(|value| integers.search(value).is_ok()) {
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
        self.every().for_each(|(member, _)| packed.push(&member));
        self.0 = Form::Small(packed);
    }

    fn enlarge(&mut self, hasher: &Arc<Hasher>) -> &mut Members {
        if !matches!(self.0, Form::Large(_)) {
            let mut members = Members::new(hasher);
            for (member, _) in self.every() {
                members.put(&member, &[], None);
            }
            self.0 = Form::Large(Box::new(members));
        }
        match &mut self.0 {
            Form::Large(members) => members,
            Form::Integers(_) | Form::Small(_) => unreachable!("it has just become large"),
        }
    }

    fn set_expiry(&mut self, member: &[u8], expire_at_ms: Option<u64>, shaping: &Shaping<'_>) -> bool {
        if !matches!(self.0, Form::Large(_)) && (expire_at_ms.is_none() || !self.has(member)) {
            return false;
        }
        self.enlarge(shaping.hasher).set_expiry(member, expire_at_ms)
    }

    /// Whether it is a member, its time passed or not.
    fn has(&self, member: &[u8]) -> bool {
        match &self.0 {
            Form::Integers(integers) => {
                canonical_i64(member).is_some_and(|value| integers.search(value).is_ok())
            }
            Form::Small(packed) => packed.find(member, 1).is_some(),
            Form::Large(members) => members.find(member).is_some(),
        }
    }

    /// All members with their expiries, those included whose time has passed; integers alone are in ascending order.
    fn every(&self) -> impl Iterator<Item = (Element<'_>, Option<u64>)> {
        let (integers, small, large) = match &self.0 {
            Form::Integers(integers) => (Some(integers.iter()), None, None),
            Form::Small(packed) => (None, Some(packed.iter()), None),
            Form::Large(members) => (None, None, Some(members.iter())),
        };
        let few = integers.into_iter().flatten().chain(small.into_iter().flatten());
        let many = large.into_iter().flatten().map(|entry| (name_of(entry), entry.expire_at_ms()));
        few.map(|member| (member, None)).chain(many)
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

    /// Writes members from `cursor` on, with their expiries. Returns where to go on.
    pub(super) fn encode(&self, cursor: u64, budget: usize, out: &mut Vec<u8>) -> Option<u64> {
        let Form::Large(members) = &self.0 else {
            self.every().for_each(|(member, _)| put_element(out, &member));
            return None;
        };
        let start = out.len();
        members.walk(cursor, |entry| {
            put_member(out, entry.key(), entry.expire_at_ms());
            out.len() - start >= budget
        })
    }

    /// Adds members as [`Set::encode`] wrote them.
    pub(super) fn load(&mut self, elements: &[u8], shaping: &Shaping<'_>) -> Result<(), Fault> {
        let mut elements = Elements::new(elements);
        while !elements.is_empty() {
            let (member, expire_at_ms) = elements.take_member()?;
            self.add(member, shaping);
            // Elements of a value that has changed meanwhile may come twice: what is said last holds.
            if expire_at_ms.is_some() || self.next_expiry_ms().is_some() {
                self.set_expiry(member, expire_at_ms, shaping);
            }
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
        elements.take_member()?;
    }
    Ok(())
}

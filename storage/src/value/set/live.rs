//! A set as readers see it: without the members whose time has passed.

use super::super::element::{Element, canonical_i64};
use super::super::expiring::{Life, is_live};
use super::super::members::name_of;
use super::{Form, Set};

/// See the module.
#[derive(Clone, Copy)]
pub struct LiveSet<'a> {
    set: &'a Set,
    now_ms: u64,
}

impl<'a> LiveSet<'a> {
    pub(super) const fn new(set: &'a Set, now_ms: u64) -> LiveSet<'a> {
        LiveSet { set, now_ms }
    }

    /// Number of members. None: all that are there wait to be removed.
    #[expect(clippy::len_without_is_empty, reason = "a set that has never had a member does not exist")]
    pub fn len(&self) -> usize {
        match &self.set.0 {
            Form::Integers(integers) => integers.len(),
            Form::Small(packed) => packed.len(),
            Form::Large(members) => members.live_len(self.now_ms),
        }
    }

    /// Whether members are there whose time has passed.
    pub fn has_lapsed(&self) -> bool {
        self.set.next_expiry_ms().is_some_and(|next| !is_live(Some(next), self.now_ms))
    }

    /// Whether any member expires, or has.
    pub fn expires(&self) -> bool {
        self.set.next_expiry_ms().is_some()
    }

    /// Whether it is a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.set.0 {
            Form::Integers(integers) => {
                canonical_i64(member).is_some_and(|value| integers.search(value).is_ok())
            }
            Form::Small(packed) => packed.find(member, 1).is_some(),
            Form::Large(members) => members.find_live(member, self.now_ms).is_some(),
        }
    }

    /// How long a member lives.
    pub fn life(&self, member: &[u8]) -> Life {
        match &self.set.0 {
            Form::Large(members) => {
                let found = members.find_live(member, self.now_ms);
                found.map_or(Life::Absent, |entry| entry.expire_at_ms().into())
            }
            Form::Integers(_) | Form::Small(_) if self.contains(member) => Life::Endless,
            Form::Integers(_) | Form::Small(_) => Life::Absent,
        }
    }

    /// All members; integers alone are in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Element<'a>> + use<'a> {
        let (integers, small, large) = match &self.set.0 {
            Form::Integers(integers) => (Some(integers.iter()), None, None),
            Form::Small(packed) => (None, Some(packed.iter()), None),
            Form::Large(members) => (None, None, Some(members.iter_live(self.now_ms).map(name_of))),
        };
        let few = integers.into_iter().flatten().chain(small.into_iter().flatten());
        few.chain(large.into_iter().flatten())
    }

    /// A member chosen almost evenly.
    pub fn sample(&self, random: &mut dyn FnMut() -> u64) -> Option<Element<'a>> {
        let mut below = |count: usize| (random() % count.max(1) as u64) as usize;
        match &self.set.0 {
            Form::Integers(integers) => Some(Element::integer(integers.value(below(integers.len())))),
            Form::Small(packed) => packed.iter_from(below(packed.len())).next(),
            Form::Large(members) => members.sample_live(self.now_ms, random).map(name_of),
        }
    }

    /// Visits about `count` members from `cursor` on (0: the start). Returns where to go on; none at the end. A small set is
    /// visited as a whole.
    pub fn scan(&self, cursor: u64, count: usize, each: &mut dyn FnMut(Element<'_>)) -> Option<u64> {
        match &self.set.0 {
            Form::Large(members) => {
                members.scan_live(cursor, count, self.now_ms, |entry| each(name_of(entry)))
            }
            Form::Integers(_) | Form::Small(_) => {
                self.iter().for_each(each);
                None
            }
        }
    }
}

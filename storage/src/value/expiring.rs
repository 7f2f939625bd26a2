//! What all collections whose members expire have in common: fields of hashes, members of sets and of sorted sets.
//!
//! - A member whose time has passed reads as absent, and is there until the store removes it, logged as any removal.
//! - Only large forms know of expiry: a small collection becomes large with the first member that expires, and stays so.
//! - What adds a member to a set, or gives one a score, leaves its expiry alone; what takes that away says so in an effect of its own.
//!   Of a hash, an effect that sets a field says its expiry.

use super::hash::HashChange;
use super::set::SetChange;
use super::sorted_set::SortedSetChange;
use super::{Change, Collection, Kind, Value};

/// Whether a time of expiry has not passed. At its very millisecond a member is still there, as keys are.
#[inline]
pub(crate) fn is_live(expire_at_ms: Option<u64>, now_ms: u64) -> bool {
    expire_at_ms.is_none_or(|at| now_ms <= at)
}

/// How long a member of a collection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It isn't there, or its time has passed.
    Absent,
    /// It does not expire.
    Endless,
    /// It expires then, ms of Unix time.
    Until(u64),
}

impl Life {
    /// When it expires, if it is there and does.
    pub const fn end(self) -> Option<u64> {
        match self {
            Self::Until(at) => Some(at),
            Self::Absent | Self::Endless => None,
        }
    }
}

impl From<Option<u64>> for Life {
    /// Of a member that is there.
    fn from(expire_at_ms: Option<u64>) -> Life {
        expire_at_ms.map_or(Life::Endless, Life::Until)
    }
}

impl Value<'_> {
    /// How long a member of it lives; of a value of another type, as if it weren't there.
    pub fn life(&self, member: &[u8], now_ms: u64) -> Life {
        match self {
            Self::Hash(hash) => {
                hash.field(member, now_ms).map_or(Life::Absent, |field| field.expire_at_ms.into())
            }
            Self::Set(set) => set.at(now_ms).life(member),
            Self::SortedSet(set) => set.at(now_ms).life(member),
            Self::String(_) | Self::List(_) | Self::Stream(_) => Life::Absent,
        }
    }
}

impl<'a> Change<'a> {
    /// Removes a member.
    ///
    /// # Panics
    /// When the type has no members that expire.
    pub fn remove_member(kind: Kind, member: &'a [u8]) -> Change<'a> {
        match kind {
            Kind::Hash => HashChange::Delete { field: member }.into(),
            Kind::Set => SetChange::Remove { member }.into(),
            Kind::SortedSet => SortedSetChange::Remove { member }.into(),
            Kind::String | Kind::List | Kind::Stream => panic!("a member of a {}", kind.name()),
        }
    }

    /// Says when a member expires, ms of Unix time, or that it doesn't any more.
    ///
    /// # Panics
    /// As [`Change::remove_member`].
    pub fn expire_member(kind: Kind, member: &'a [u8], expire_at_ms: Option<u64>) -> Change<'a> {
        match kind {
            Kind::Hash => HashChange::Expire { field: member, expire_at_ms }.into(),
            Kind::Set => SetChange::Expire { member, expire_at_ms }.into(),
            Kind::SortedSet => SortedSetChange::Expire { member, expire_at_ms }.into(),
            Kind::String | Kind::List | Kind::Stream => panic!("a member of a {}", kind.name()),
        }
    }
}

impl Collection {
    /// When the first of its members expires, ms of Unix time.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        match self {
            Self::Hash(hash) => hash.next_expiry_ms(),
            Self::Set(set) => set.next_expiry_ms(),
            Self::SortedSet(set) => set.next_expiry_ms(),
            Self::List(_) | Self::Stream(_) => None,
        }
    }

    /// A member whose time has passed.
    pub(crate) fn first_lapsed(&self, now_ms: u64) -> Option<&[u8]> {
        match self {
            Self::Hash(hash) => hash.first_lapsed(now_ms),
            Self::Set(set) => set.first_lapsed(now_ms),
            Self::SortedSet(set) => set.first_lapsed(now_ms),
            Self::List(_) | Self::Stream(_) => None,
        }
    }
}

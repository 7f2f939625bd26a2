//! The one door through which collections change: an enum a type, and the common shape that the log writes of all of them.
//!
//! A change is applied by the same code when a command makes it and when recovery replays it. So it must depend on nothing but
//! the value before it: no clock, no chance, no setting beyond the choice of a form.

use super::Kind;
use super::codec::check;
use super::hash::HashChange;
use super::list::ListChange;
use super::set::SetChange;
use super::sorted_set::SortedSetChange;
use super::stream::StreamChange;

/// A change of the collection at a key.
///
/// A change that adds creates the key where it's absent, without an expiry; one that leaves a collection other than a stream
/// empty removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Of a list.
    List(ListChange<'a>),
    /// Of a hash.
    Hash(HashChange<'a>),
    /// Of a set.
    Set(SetChange<'a>),
    /// Of a sorted set.
    SortedSet(SortedSetChange<'a>),
    /// Of a stream.
    Stream(StreamChange<'a>),
    /// Elements in bulk, in the encoding of [`super::codec`].
    Load {
        /// The type of the collection.
        kind: Kind,
        /// Whether they replace what was at the key, of any type, and its expiry; otherwise they are added.
        first: bool,
        /// The elements, at least one.
        elements: &'a [u8],
    },
}

/// Most numbers in a change.
pub(crate) const NUMBERS_MAX: usize = 3;
/// In place of a type: elements in bulk.
const KIND_LOAD: u8 = 0;

/// What the log writes of a change: a type, an operation of it, some numbers and up to two strings of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) kind: u8,
    pub(crate) op: u8,
    numbers: [u64; NUMBERS_MAX],
    count: u8,
    pub(crate) first: &'a [u8],
    pub(crate) second: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) const fn new(op: u8, first: &'a [u8], second: &'a [u8]) -> Parts<'a> {
        Parts { kind: KIND_LOAD, op, numbers: [0; NUMBERS_MAX], count: 0, first, second }
    }

    /// With these numbers, at most [`NUMBERS_MAX`].
    pub(crate) fn numbers(mut self, numbers: &[u64]) -> Parts<'a> {
        self.numbers[..numbers.len()].copy_from_slice(numbers);
        self.count = numbers.len() as u8;
        self
    }

    pub(crate) fn as_numbers(&self) -> &[u64] {
        &self.numbers[..usize::from(self.count)]
    }

    /// Of this type.
    pub(crate) const fn of(self, kind: u8) -> Parts<'a> {
        Parts { kind, ..self }
    }
}

/// A number with a sign, so that those near zero are short.
pub(super) const fn unsigned(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// The number that [`unsigned`] was made of.
pub(super) const fn signed(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

impl<'a> Change<'a> {
    /// The type that it applies to.
    pub fn kind(&self) -> Kind {
        match self {
            Self::List(_) => Kind::List,
            Self::Hash(_) => Kind::Hash,
            Self::Set(_) => Kind::Set,
            Self::SortedSet(_) => Kind::SortedSet,
            Self::Stream(_) => Kind::Stream,
            Self::Load { kind, .. } => *kind,
        }
    }

    /// Whether it makes a key of its own where there is none.
    pub(crate) fn creates(&self) -> bool {
        match self {
            Self::List(change) => change.creates(),
            Self::Hash(change) => change.creates(),
            Self::Set(change) => change.creates(),
            Self::SortedSet(change) => change.creates(),
            Self::Stream(change) => change.creates(),
            Self::Load { .. } => true,
        }
    }

    /// Whether those who want to know what happens to keys are told of it even if it found nothing to change, as Redis does.
    pub(crate) fn is_told_in_vain(&self) -> bool {
        matches!(self, Self::List(ListChange::Trim { .. }))
    }

    /// Whether a stream has a new consumer by it: commands log this only for such.
    pub(crate) fn adds_consumer(&self) -> bool {
        matches!(self, Self::Stream(StreamChange::SetConsumer { .. }))
    }

    pub(crate) fn to_parts(self) -> Parts<'a> {
        match self {
            Self::List(change) => change.to_parts().of(Kind::List as u8),
            Self::Hash(change) => change.to_parts().of(Kind::Hash as u8),
            Self::Set(change) => change.to_parts().of(Kind::Set as u8),
            Self::SortedSet(change) => change.to_parts().of(Kind::SortedSet as u8),
            Self::Stream(change) => change.to_parts().of(Kind::Stream as u8),
            Self::Load { kind, first, elements } => {
                Parts::new(kind as u8, &[], elements).numbers(&[u64::from(first)])
            }
        }
    }

    /// The change that was written as these parts; none if no version of this program writes them.
    pub(crate) fn from_parts(parts: &Parts<'a>) -> Option<Change<'a>> {
        if parts.kind == KIND_LOAD {
            let first = match *parts.as_numbers() {
                [0] => false,
                [1] => true,
                _ => return None,
            };
            let kind = Kind::collection(parts.op)?;
            let elements = parts.second;
            let sound = parts.first.is_empty() && !elements.is_empty() && check(kind, elements).is_ok();
            return sound.then_some(Self::Load { kind, first, elements });
        }
        match Kind::collection(parts.kind)? {
            Kind::List => ListChange::from_parts(parts).map(Self::List),
            Kind::Hash => HashChange::from_parts(parts).map(Self::Hash),
            Kind::Set => SetChange::from_parts(parts).map(Self::Set),
            Kind::SortedSet => SortedSetChange::from_parts(parts).map(Self::SortedSet),
            Kind::Stream => StreamChange::from_parts(parts).map(Self::Stream),
            Kind::String => None,
        }
    }
}

/// What a change did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Elements added, changed or removed. None: nothing was changed and nothing logged.
    pub affected: usize,
    /// Elements that are there now; with none, the key is gone, unless it's a stream.
    pub len: usize,
}

impl<'a> From<ListChange<'a>> for Change<'a> {
    fn from(change: ListChange<'a>) -> Change<'a> {
        Change::List(change)
    }
}

impl<'a> From<HashChange<'a>> for Change<'a> {
    fn from(change: HashChange<'a>) -> Change<'a> {
        Change::Hash(change)
    }
}

impl<'a> From<SetChange<'a>> for Change<'a> {
    fn from(change: SetChange<'a>) -> Change<'a> {
        Change::Set(change)
    }
}

impl<'a> From<SortedSetChange<'a>> for Change<'a> {
    fn from(change: SortedSetChange<'a>) -> Change<'a> {
        Change::SortedSet(change)
    }
}

impl<'a> From<StreamChange<'a>> for Change<'a> {
    fn from(change: StreamChange<'a>) -> Change<'a> {
        Change::Stream(change)
    }
}

//! Values: strings, and the collections with their forms and their changes.
//!
//! A type is a file (or a folder) here: the structure, the enum of its changes with their numbers in the log, its part of the
//! encoding of whole values ([`codec`]), and how it's freed in slices. What they share is in [`Packed`](packed) (small
//! forms) and [`Members`](members) (large ones). A type is known by name in four places: [`Kind`], [`Value`], [`Collection`]
//! and [`Change`]; the compiler finds all others.
//!
//! - A collection in the keyspace is never empty, unless it is a stream.
//! - Which form a collection has (see [`ValueLimits`]) shows in `OBJECT ENCODING` and in nothing else.
//! - Readers get elements in place; nothing copies a collection but an explicit copy of its key.

mod change;
pub mod codec;
mod element;
mod expiring;
mod hash;
mod list;
mod members;
mod packed;
mod set;
mod sorted_set;
pub mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::table::Hasher;

pub use change::{Applied, Change};
pub(crate) use change::{NUMBERS_MAX, Parts};
pub use element::Element;
pub(crate) use element::canonical_i64;
pub use expiring::Life;
pub use hash::{Field, Hash, HashChange};
pub use list::{List, ListChange, Side};
pub use set::{LiveSet, Set, SetChange};
pub(crate) use sorted_set::to_number as score_number;
pub use sorted_set::{LiveSortedSet, SortedSet, SortedSetChange};
pub use stream::{Stream, StreamChange};

/// The type of a value. The numbers are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes.
    String = 0,
    /// A list.
    List = 1,
    /// A hash.
    Hash = 2,
    /// A set.
    Set = 3,
    /// A sorted set.
    SortedSet = 4,
    /// A stream.
    Stream = 5,
}

impl Kind {
    /// As `TYPE` answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Stream => "stream",
        }
    }

    /// The type with this number.
    pub const fn from_byte(byte: u8) -> Option<Kind> {
        match byte {
            0 => Some(Self::String),
            _ => Self::collection(byte),
        }
    }

    /// The type with this number, if it's a collection.
    pub(crate) const fn collection(byte: u8) -> Option<Kind> {
        match byte {
            1 => Some(Self::List),
            2 => Some(Self::Hash),
            3 => Some(Self::Set),
            4 => Some(Self::SortedSet),
            5 => Some(Self::Stream),
            _ => None,
        }
    }
}

/// A value, by type.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A string.
    String(&'a [u8]),
    /// A list.
    List(&'a List),
    /// A hash.
    Hash(&'a Hash),
    /// A set.
    Set(&'a Set),
    /// A sorted set.
    SortedSet(&'a SortedSet),
    /// A stream.
    Stream(&'a Stream),
}

impl Value<'_> {
    /// Its type.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::String(_) => Kind::String,
            Self::List(_) => Kind::List,
            Self::Hash(_) => Kind::Hash,
            Self::Set(_) => Kind::Set,
            Self::SortedSet(_) => Kind::SortedSet,
            Self::Stream(_) => Kind::Stream,
        }
    }
}

/// Up to what a collection has its small form; named after Redis's settings, with the defaults of Redis 7.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueLimits {
    /// `hash-max-listpack-entries`: fields of a small hash.
    pub hash_small_entries: usize,
    /// `hash-max-listpack-value`: bytes of a field or value in a small hash.
    pub hash_small_value_bytes: usize,
    /// `list-max-listpack-size`: of each piece of a list; its elements if positive; -1 to -5 for 4 to 64 KiB.
    pub list_piece: i64,
    /// `set-max-intset-entries`: members of a set of integers.
    pub set_integer_entries: usize,
    /// `set-max-listpack-entries`: members of a small set.
    pub set_small_entries: usize,
    /// `set-max-listpack-value`: bytes of a member of a small set.
    pub set_small_value_bytes: usize,
    /// `zset-max-listpack-entries`: members of a small sorted set.
    pub sorted_set_small_entries: usize,
    /// `zset-max-listpack-value`: bytes of a member of a small sorted set.
    pub sorted_set_small_value_bytes: usize,
    /// `stream-node-max-bytes`: of a block of a stream.
    pub stream_block_bytes: usize,
    /// `stream-node-max-entries`: of a block of a stream.
    pub stream_block_entries: usize,
}

impl Default for ValueLimits {
    fn default() -> Self {
        Self {
            hash_small_entries: 512,
            hash_small_value_bytes: 64,
            list_piece: -2,
            set_integer_entries: 512,
            set_small_entries: 128,
            set_small_value_bytes: 64,
            sorted_set_small_entries: 128,
            sorted_set_small_value_bytes: 64,
            stream_block_bytes: 4096,
            stream_block_entries: 100,
        }
    }
}

/// What a change needs beside the value.
pub(crate) struct Shaping<'a> {
    pub(crate) limits: &'a ValueLimits,
    pub(crate) hasher: &'a Arc<Hasher>,
    /// Takes what is too much to be freed at once.
    pub(crate) garbage: &'a mut Vec<Collection>,
}

/// A value that is not a string, as its entry owns it.
pub(crate) enum Collection {
    List(List),
    Hash(Hash),
    Set(Set),
    SortedSet(SortedSet),
    Stream(Box<Stream>),
}

impl Collection {
    /// Elements up to which a collection is freed at once. More go slice by slice.
    const FREED_AT_ONCE_MAX: usize = 256;

    pub(crate) fn new(kind: Kind) -> Collection {
        match kind {
            Kind::List => Self::List(List::new()),
            Kind::Hash => Self::Hash(Hash::new()),
            Kind::Set => Self::Set(Set::new()),
            Kind::SortedSet => Self::SortedSet(SortedSet::new()),
            Kind::Stream => Self::Stream(Box::new(Stream::new())),
            Kind::String => unreachable!("a string is no collection"),
        }
    }

    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::List(_) => Kind::List,
            Self::Hash(_) => Kind::Hash,
            Self::Set(_) => Kind::Set,
            Self::SortedSet(_) => Kind::SortedSet,
            Self::Stream(_) => Kind::Stream,
        }
    }

    pub(crate) const fn value(&self) -> Value<'_> {
        match self {
            Self::List(list) => Value::List(list),
            Self::Hash(hash) => Value::Hash(hash),
            Self::Set(set) => Value::Set(set),
            Self::SortedSet(set) => Value::SortedSet(set),
            Self::Stream(stream) => Value::Stream(stream),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Hash(hash) => hash.len(),
            Self::Set(set) => set.len(),
            Self::SortedSet(set) => set.len(),
            Self::Stream(stream) => stream.len(),
        }
    }

    pub(crate) fn encoding(&self) -> &'static str {
        match self {
            Self::List(list) => list.encoding(),
            Self::Hash(hash) => hash.encoding(),
            Self::Set(set) => set.encoding(),
            Self::SortedSet(set) => set.encoding(),
            Self::Stream(stream) => stream.encoding(),
        }
    }

    /// Where its elements are, or what leads to them, for a prefetch.
    pub(crate) fn elements_address(&self) -> *const u8 {
        match self {
            Self::List(list) => list.elements_address(),
            Self::Hash(hash) => hash.elements_address(),
            Self::Set(set) => set.elements_address(),
            Self::SortedSet(set) => set.elements_address(),
            Self::Stream(stream) => (&raw const **stream).cast(),
        }
    }

    /// Which of its forms it has, beyond what its elements ask for: 0 for the smallest.
    pub(crate) fn form(&self) -> u8 {
        match self {
            Self::Hash(hash) => hash.form(),
            Self::Set(set) => set.form(),
            Self::SortedSet(set) => set.form(),
            // These go back to smaller forms by themselves.
            Self::List(_) | Self::Stream(_) => 0,
        }
    }

    /// Takes a form that is no smaller than this one. In Redis, what a copy is stored as is what its original is stored as.
    pub(crate) fn keep_form(&mut self, form: u8, shaping: &Shaping<'_>) {
        match self {
            Self::Hash(hash) => hash.keep_form(form, shaping),
            Self::Set(set) => set.keep_form(form, shaping),
            Self::SortedSet(set) => set.keep_form(form, shaping),
            Self::List(_) | Self::Stream(_) => {}
        }
    }

    /// Bytes asked of the allocator beyond this struct's own.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::List(list) => list.memory_bytes(),
            Self::Hash(hash) => hash.memory_bytes(),
            Self::Set(set) => set.memory_bytes(),
            Self::SortedSet(set) => set.memory_bytes(),
            Self::Stream(stream) => stream.memory_bytes(),
        }
    }

    /// Applies a change to a collection of its type; returns how many elements it added, changed or removed.
    pub(crate) fn apply(&mut self, change: &Change<'_>, shaping: &mut Shaping<'_>) -> usize {
        match (self, *change) {
            (Self::List(list), Change::List(change)) => list.apply(change, shaping),
            (Self::Hash(hash), Change::Hash(change)) => hash.apply(change, shaping),
            (Self::Set(set), Change::Set(change)) => set.apply(change, shaping),
            (Self::SortedSet(set), Change::SortedSet(change)) => set.apply(change, shaping),
            (Self::Stream(stream), Change::Stream(change)) => stream.apply(change, shaping),
            (collection, Change::Load { kind, elements, .. }) if kind == collection.kind() => {
                let before = collection.len();
                let loaded = collection.load(elements, shaping);
                assert!(loaded.is_ok(), "elements that were never checked: {loaded:?}");
                (collection.len() - before).max(usize::from(!elements.is_empty()))
            }
            (collection, _) => {
                panic!("a change of a {} at a {}", change.kind().name(), collection.kind().name())
            }
        }
    }

    /// Whether freeing it at once could take long.
    pub(crate) fn is_heavy(&self) -> bool {
        match self {
            Self::Stream(stream) => stream.is_heavy(),
            _ => self.len() > Self::FREED_AT_ONCE_MAX,
        }
    }

    /// Whether it is nothing, so that its key goes.
    pub(crate) fn is_gone(&self) -> bool {
        !matches!(self, Self::Stream(_)) && self.len() == 0
    }

    /// Frees up to `budget` elements of a collection that nobody uses any more; returns what is left of the budget.
    pub(crate) fn free(&mut self, budget: usize) -> usize {
        match self {
            Self::List(list) => list.free(budget),
            Self::Hash(hash) => hash.free(budget),
            Self::Set(set) => set.free(budget),
            Self::SortedSet(set) => set.free(budget),
            Self::Stream(stream) => stream.free(budget),
        }
    }

    /// Whether [`Collection::free`] has nothing left to do.
    pub(crate) fn is_freed(&self) -> bool {
        match self {
            Self::List(list) => list.is_freed(),
            Self::Hash(hash) => hash.is_freed(),
            Self::Set(set) => set.is_freed(),
            Self::SortedSet(set) => set.is_freed(),
            Self::Stream(stream) => stream.is_freed(),
        }
    }
}

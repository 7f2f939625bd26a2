//! Lists: elements in an order, with quick ends.
//!
//! - Small: one [`Packed`] of at most the piece size in [`ValueLimits`](super::ValueLimits).
//! - Large: [`Pieces`]. A list that has shrunk to one piece of half that size is small again.

mod pieces;
#[cfg(test)]
mod tests;

use super::Shaping;
use super::change::{Parts, signed, unsigned};
use super::codec::{Elements, Fault, put_element};
use super::element::Element;
use super::packed::{Encoded, Packed};
use pieces::{PieceLimit, Pieces};

/// A list. A clone is a snapshot: it shares the elements until they change.
#[derive(Clone)]
pub struct List(Form);

#[derive(Clone)]
enum Form {
    Small(Packed),
    Large(Box<Pieces>),
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where index 0 is.
    Left,
    /// The other.
    Right,
}

/// A change of a list. Indices count from the left, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListChange<'a> {
    /// A new element at an end.
    Push {
        /// The end.
        side: Side,
        /// The element.
        value: &'a [u8],
    },
    /// As many elements, or all there are, are gone from an end.
    Pop {
        /// The end.
        side: Side,
        /// How many.
        count: u64,
    },
    /// Another element in the place of one.
    Set {
        /// Its index.
        index: u64,
        /// The new element.
        value: &'a [u8],
    },
    /// A new element.
    Insert {
        /// Its index; those from there on move right.
        index: u64,
        /// The element.
        value: &'a [u8],
    },
    /// Elements equal to this one are gone.
    Remove {
        /// How many at most: from the left if positive, from the right if negative; all of them if 0.
        count: i64,
        /// The element.
        value: &'a [u8],
    },
    /// Only this part is left.
    Trim {
        /// Index of its first element.
        start: u64,
        /// Its length.
        len: u64,
    },
}

const OP_PUSH_LEFT: u8 = 0;
const OP_PUSH_RIGHT: u8 = 1;
const OP_POP_LEFT: u8 = 2;
const OP_POP_RIGHT: u8 = 3;
const OP_SET: u8 = 4;
const OP_INSERT: u8 = 5;
const OP_REMOVE: u8 = 6;
const OP_TRIM: u8 = 7;

impl<'a> ListChange<'a> {
    pub(super) fn to_parts(self) -> Parts<'a> {
        match self {
            Self::Push { side: Side::Left, value } => Parts::new(OP_PUSH_LEFT, &[], value),
            Self::Push { side: Side::Right, value } => Parts::new(OP_PUSH_RIGHT, &[], value),
            Self::Pop { side: Side::Left, count } => Parts::new(OP_POP_LEFT, &[], &[]).numbers(&[count]),
            Self::Pop { side: Side::Right, count } => Parts::new(OP_POP_RIGHT, &[], &[]).numbers(&[count]),
            Self::Set { index, value } => Parts::new(OP_SET, &[], value).numbers(&[index]),
            Self::Insert { index, value } => Parts::new(OP_INSERT, &[], value).numbers(&[index]),
            Self::Remove { count, value } => Parts::new(OP_REMOVE, &[], value).numbers(&[unsigned(count)]),
            Self::Trim { start, len } => Parts::new(OP_TRIM, &[], &[]).numbers(&[start, len]),
        }
    }

    pub(super) fn from_parts(parts: &Parts<'a>) -> Option<Self> {
        if !parts.first.is_empty() {
            return None;
        }
        match (parts.op, parts.as_numbers(), parts.second) {
            (OP_PUSH_LEFT, [], value) => Some(Self::Push { side: Side::Left, value }),
            (OP_PUSH_RIGHT, [], value) => Some(Self::Push { side: Side::Right, value }),
            (OP_POP_LEFT, &[count], []) => Some(Self::Pop { side: Side::Left, count }),
            (OP_POP_RIGHT, &[count], []) => Some(Self::Pop { side: Side::Right, count }),
            (OP_SET, &[index], value) => Some(Self::Set { index, value }),
            (OP_INSERT, &[index], value) => Some(Self::Insert { index, value }),
            (OP_REMOVE, &[count], value) => Some(Self::Remove { count: signed(count), value }),
            (OP_TRIM, &[start, len], []) => Some(Self::Trim { start, len }),
            _ => None,
        }
    }

    /// Whether an absent key becomes a list by it.
    pub(super) const fn creates(self) -> bool {
        matches!(self, Self::Push { .. })
    }
}

impl List {
    pub(super) fn new() -> List {
        List(Form::Small(Packed::default()))
    }

    /// Number of elements.
    #[expect(clippy::len_without_is_empty, reason = "an empty list does not exist")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Small(packed) => packed.len(),
            Form::Large(pieces) => pieces.len(),
        }
    }

    /// The element at an index.
    pub fn get(&self, index: usize) -> Option<Element<'_>> {
        match &self.0 {
            Form::Small(packed) if index < packed.len() => Some(packed.at(packed.position(index)).0),
            Form::Small(_) => None,
            Form::Large(pieces) => pieces.get(index),
        }
    }

    /// The elements from an index on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = Element<'_>> {
        let (small, large) = match &self.0 {
            Form::Small(packed) => (Some(packed.iter_from(index)), None),
            Form::Large(pieces) => (None, Some(pieces.iter_from(index))),
        };
        small.into_iter().flatten().chain(large.into_iter().flatten())
    }

    /// All elements, from the right.
    pub fn iter_back(&self) -> impl Iterator<Item = Element<'_>> {
        let (small, large) = match &self.0 {
            Form::Small(packed) => (Some(packed.iter().rev()), None),
            Form::Large(pieces) => (None, Some(pieces.iter_back())),
        };
        small.into_iter().flatten().chain(large.into_iter().flatten())
    }

    /// As `OBJECT ENCODING` answers.
    pub(super) fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Small(_) => "listpack",
            Form::Large(_) => "quicklist",
        }
    }

    pub(super) fn elements_address(&self) -> *const u8 {
        match &self.0 {
            Form::Small(packed) => packed.address(),
            Form::Large(pieces) => (&raw const **pieces).cast(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match &self.0 {
            Form::Small(packed) => packed.memory_bytes(),
            Form::Large(pieces) => size_of::<Pieces>() + pieces.memory_bytes(),
        }
    }

    /// Applies a change; returns how many elements it added, changed or removed.
    pub(super) fn apply(&mut self, change: ListChange<'_>, shaping: &mut Shaping<'_>) -> usize {
        let limit = PieceLimit::new(shaping.limits.list_piece);
        let index_of = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        match change {
            ListChange::Push { side, value } => {
                let index = if side == Side::Left { 0 } else { self.len() };
                usize::from(self.insert(index, value, limit))
            }
            ListChange::Insert { index, value } => usize::from(self.insert(index_of(index), value, limit)),
            ListChange::Set { index, value } => usize::from(self.set(index_of(index), value, limit)),
            ListChange::Pop { side, count } => {
                let count = index_of(count).min(self.len());
                let start = if side == Side::Left { 0 } else { self.len() - count };
                self.remove(start, count, limit, shaping)
            }
            ListChange::Trim { start, len } => {
                let start = index_of(start).min(self.len());
                let end = start.saturating_add(index_of(len)).min(self.len());
                let right = self.remove(end, self.len() - end, limit, shaping);
                right + self.remove(0, start, limit, shaping)
            }
            ListChange::Remove { count, value } => self.remove_equal(value, count, limit),
        }
    }

    fn insert(&mut self, index: usize, value: &[u8], limit: PieceLimit) -> bool {
        if index > self.len() {
            return false;
        }
        let value = &Encoded::new(value);
        match &mut self.0 {
            Form::Small(packed) if limit.has_room(packed, value) => {
                packed.insert_encoded(packed.position(index), value);
            }
            _ => self.enlarge(limit).insert(index, value, limit),
        }
        true
    }

    fn set(&mut self, index: usize, value: &[u8], limit: PieceLimit) -> bool {
        if index >= self.len() {
            return false;
        }
        let value = &Encoded::new(value);
        match &mut self.0 {
            Form::Small(packed) if limit.has_room(packed, value) => {
                packed.replace_encoded(packed.position(index), value);
            }
            _ => {
                self.enlarge(limit).set(index, value, limit);
                self.maybe_make_small(limit);
            }
        }
        true
    }

    fn remove(&mut self, start: usize, count: usize, limit: PieceLimit, shaping: &mut Shaping<'_>) -> usize {
        if count == 0 {
            return 0;
        }
        match &mut self.0 {
            Form::Small(packed) => packed.remove(packed.position(start), count),
            Form::Large(pieces) => {
                if let Some(removed) = pieces.remove(start, count, limit) {
                    let removed = List(Form::Large(Box::new(removed)));
                    shaping.garbage.push(super::Collection::List(removed));
                }
                self.maybe_make_small(limit);
            }
        }
        count
    }

    fn remove_equal(&mut self, value: &[u8], count: i64, limit: PieceLimit) -> usize {
        let wanted = match count {
            0 => usize::MAX,
            _ => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
        };
        match &mut self.0 {
            Form::Small(packed) => packed.remove_equal(value, wanted, count < 0),
            Form::Large(pieces) => {
                let removed = pieces.remove_equal(value, wanted, count < 0);
                self.maybe_make_small(limit);
                removed
            }
        }
    }

    fn enlarge(&mut self, limit: PieceLimit) -> &mut Pieces {
        if let Form::Small(packed) = &mut self.0 {
            let pieces = Pieces::new(std::mem::take(packed), limit);
            self.0 = Form::Large(Box::new(pieces));
        }
        match &mut self.0 {
            Form::Large(pieces) => pieces,
            Form::Small(_) => unreachable!("it has just become large"),
        }
    }

    fn maybe_make_small(&mut self, limit: PieceLimit) {
        if let Form::Large(pieces) = &mut self.0
            && let Some(packed) = pieces.take_only_piece(limit)
        {
            self.0 = Form::Small(packed);
        }
    }

    /// Writes elements from the index `cursor` on. Returns where to go on.
    pub(super) fn encode(&self, cursor: u64, budget: usize, out: &mut Vec<u8>) -> Option<u64> {
        let mut index = usize::try_from(cursor).unwrap_or(usize::MAX);
        let start = out.len();
        for element in self.iter_from(index) {
            put_element(out, &element);
            index += 1;
            if out.len() - start >= budget {
                break;
            }
        }
        (index < self.len()).then_some(index as u64)
    }

    /// Adds elements on the right as [`List::encode`] wrote them.
    pub(super) fn load(&mut self, elements: &[u8], shaping: &Shaping<'_>) -> Result<(), Fault> {
        let limit = PieceLimit::new(shaping.limits.list_piece);
        let mut elements = Elements::new(elements);
        while !elements.is_empty() {
            self.insert(self.len(), elements.take_element()?, limit);
        }
        Ok(())
    }

    /// Frees up to `budget` pieces of a list that nobody uses any more; returns what is left of the budget.
    pub(super) fn free(&mut self, budget: usize) -> usize {
        match &mut self.0 {
            Form::Small(_) => budget,
            Form::Large(pieces) => pieces.free(budget),
        }
    }

    pub(super) fn is_freed(&self) -> bool {
        match &self.0 {
            Form::Small(_) => true,
            Form::Large(pieces) => pieces.is_freed(),
        }
    }
}

/// Checks elements as [`List::load`] takes them.
pub(super) fn check(elements: &[u8]) -> Result<(), Fault> {
    let mut elements = Elements::new(elements);
    while !elements.is_empty() {
        elements.take_element()?;
    }
    Ok(())
}

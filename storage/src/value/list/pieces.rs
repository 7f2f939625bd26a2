//! The large form of lists: pieces of bounded size, in groups of bounded number.
//!
//! - No piece and no group is empty; each knows how many elements it has. So an index is found over groups, then
//!   pieces, then within a piece, from the nearer end of each.
//! - A piece exceeds its limit only if it's a single element that does.
//! - Groups and pieces are shared with snapshots of the list, and copied when they are changed while they are: a snapshot
//!   costs a pointer for each group, and the first change of a piece after it at most a copy of the piece.
//! - No change moves more than a piece, a group's list of pieces and the list of groups, which has 8 bytes for at least
//!   thirty-two pieces.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::element::Element;
use super::super::packed::{Encoded, Packed};

/// Pieces of a group.
const GROUP_PIECES_MAX: usize = 64;
/// What a piece may have where only the number of its elements is limited.
const COUNTED_PIECE_BYTES_MAX: usize = 8 << 10;

/// Room in a new piece at an end of a long list, which is likely to grow to its limit: without it, a buffer that gets elements of 64 bytes
/// is moved every fourth time. What isn't used is given back when the next piece is begun.
const END_PIECE_ROOM_BYTES: usize = 4 << 10;
/// With so many pieces the room of a whole one does not count.
const MANY_PIECES: usize = 64;

/// Of a piece beside its buffer: with the counts of its sharing, and a pointer to it.
const PIECE_BYTES: usize = size_of::<Packed>() + 3 * size_of::<usize>();
/// Of a group beside its pieces.
const GROUP_BYTES: usize = size_of::<Group>() + 3 * size_of::<usize>();

/// The size of a piece.
#[derive(Clone, Copy)]
pub(super) struct PieceLimit {
    elements: usize,
    bytes: usize,
}

impl PieceLimit {
    /// From `list-max-listpack-size`.
    pub(super) fn new(setting: i64) -> PieceLimit {
        if setting > 0 {
            return PieceLimit { elements: setting as usize, bytes: COUNTED_PIECE_BYTES_MAX };
        }
        let doublings = setting.unsigned_abs().clamp(1, 5) - 1;
        PieceLimit { elements: usize::MAX, bytes: (4 << 10) << doublings }
    }

    pub(super) fn has_room(self, piece: &Packed, value: &Encoded<'_>) -> bool {
        piece.len() < self.elements && piece.bytes() + value.len() <= self.bytes
    }

    fn is_within_half(self, elements: usize, bytes: usize) -> bool {
        elements <= self.elements / 2 && bytes <= self.bytes / 2
    }
}

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Pieces {
    groups: VecDeque<Arc<Group>>,
    len: usize,
    /// Number of pieces.
    count: usize,
    /// Of their buffers, as asked of the allocator.
    buffer_bytes: usize,
}

#[derive(Clone, Default)]
struct Group {
    pieces: Vec<Arc<Packed>>,
    len: usize,
}

impl Group {
    fn buffer_bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.memory_bytes()).sum()
    }
}

/// Where an element is.
#[derive(Clone, Copy)]
struct Place {
    group: usize,
    piece: usize,
    /// Its index in the piece.
    index: usize,
}

impl Pieces {
    pub(super) fn new(first: Packed, limit: PieceLimit) -> Pieces {
        let mut pieces = Pieces::default();
        // Under a limit that was lowered, what was one piece may have to be several.
        if first.len() <= limit.elements && first.bytes() <= limit.bytes || first.len() == 1 {
            pieces.push_piece(first);
        } else {
            first.iter().for_each(|element| pieces.insert(pieces.len, &Encoded::new(&element), limit));
        }
        pieces
    }

    fn push_piece(&mut self, piece: Packed) {
        if piece.is_empty() {
            return;
        }
        self.len += piece.len();
        self.count += 1;
        self.buffer_bytes += piece.memory_bytes();
        if self.groups.back().is_none_or(|group| group.pieces.len() == GROUP_PIECES_MAX) {
            self.groups.push_back(Arc::default());
        }
        if let Some(group) = self.groups.back_mut() {
            let group = Arc::make_mut(group);
            group.len += piece.len();
            group.pieces.push(Arc::new(piece));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.buffer_bytes + self.count * PIECE_BYTES + self.groups.len() * GROUP_BYTES
    }

    /// The place of an element that exists.
    fn locate(&self, index: usize) -> Place {
        let (group, index) = nearer(self.groups.iter().map(|group| group.len), self.len, index);
        let pieces = &self.groups[group].pieces;
        let (piece, index) = nearer(pieces.iter().map(|piece| piece.len()), self.groups[group].len, index);
        Place { group, piece, index }
    }

    fn piece(&self, place: Place) -> &Packed {
        &self.groups[place.group].pieces[place.piece]
    }

    pub(super) fn get(&self, index: usize) -> Option<Element<'_>> {
        if index >= self.len {
            return None;
        }
        let place = self.locate(index);
        let piece = self.piece(place);
        Some(piece.at(piece.position(place.index)).0)
    }

    pub(super) fn iter_from(&self, index: usize) -> impl Iterator<Item = Element<'_>> {
        let place = if index < self.len {
            self.locate(index)
        } else {
            Place { group: self.groups.len(), piece: 0, index: 0 }
        };
        let pieces = self.groups.range(place.group..).flat_map(|group| &group.pieces).skip(place.piece);
        pieces
            .enumerate()
            .flat_map(move |(number, piece)| piece.iter_from(if number == 0 { place.index } else { 0 }))
    }

    pub(super) fn iter_back(&self) -> impl Iterator<Item = Element<'_>> {
        self.groups
            .iter()
            .rev()
            .flat_map(|group| group.pieces.iter().rev())
            .flat_map(|piece| piece.iter().rev())
    }

    /// Changes a piece, keeping the sums right.
    fn change_piece<R>(&mut self, group: usize, piece: usize, change: impl FnOnce(&mut Packed) -> R) -> R {
        let shared = &self.groups[group].pieces[piece];
        let (len, bytes) = (shared.len(), shared.memory_bytes());
        let group = Arc::make_mut(&mut self.groups[group]);
        let piece = Arc::make_mut(&mut group.pieces[piece]);
        let result = change(piece);
        self.len = self.len + piece.len() - len;
        group.len = group.len + piece.len() - len;
        self.buffer_bytes = self.buffer_bytes + piece.memory_bytes() - bytes;
        result
    }

    fn insert_piece(&mut self, group: usize, at: usize, piece: Packed) {
        self.len += piece.len();
        self.count += 1;
        self.buffer_bytes += piece.memory_bytes();
        let target = Arc::make_mut(&mut self.groups[group]);
        target.len += piece.len();
        target.pieces.insert(at, Arc::new(piece));
        if target.pieces.len() > GROUP_PIECES_MAX {
            let pieces = target.pieces.split_off(GROUP_PIECES_MAX / 2);
            let len = pieces.iter().map(|piece| piece.len()).sum();
            target.len -= len;
            self.groups.insert(group + 1, Arc::new(Group { pieces, len }));
        }
    }

    fn remove_piece(&mut self, group: usize, piece: usize) -> Packed {
        let from = Arc::make_mut(&mut self.groups[group]);
        let removed = from.pieces.remove(piece);
        from.len -= removed.len();
        if from.pieces.is_empty() {
            self.groups.remove(group);
        }
        self.len -= removed.len();
        self.count -= 1;
        self.buffer_bytes -= removed.memory_bytes();
        Arc::unwrap_or_clone(removed)
    }

    pub(super) fn insert(&mut self, index: usize, value: &Encoded<'_>, limit: PieceLimit) {
        if self.len == 0 {
            let mut piece = Packed::default();
            piece.insert_encoded(piece.end(), value);
            self.push_piece(piece);
            return;
        }
        // At the right end of the list: behind the last element.
        let behind = usize::from(index == self.len);
        let Place { group, piece, index: within } = self.locate(index - behind);
        let within = within + behind;
        let target = &self.groups[group].pieces[piece];
        if limit.has_room(target, value) {
            self.change_piece(group, piece, |piece| {
                piece.insert_encoded(piece.position(within), value);
            });
        } else if within > 0 {
            self.split_for(group, piece, within);
            self.insert_between(index, value, limit);
        } else {
            self.change_piece(group, piece, Packed::shrink);
            self.insert_between(index, value, limit);
        }
    }

    /// Makes a piece end before its element `within`.
    fn split_for(&mut self, group: usize, piece: usize, within: usize) {
        let tail = self.change_piece(group, piece, |piece| {
            piece.split_off(piece.position(within), piece.len() - within)
        });
        if !tail.is_empty() {
            self.insert_piece(group, piece + 1, tail);
        }
    }

    /// Inserts where a piece ends and, unless it's the last, another begins.
    fn insert_between(&mut self, index: usize, value: &Encoded<'_>, limit: PieceLimit) {
        if index > 0 {
            let Place { group, piece, .. } = self.locate(index - 1);
            if limit.has_room(&self.groups[group].pieces[piece], value) {
                self.change_piece(group, piece, |piece| {
                    piece.insert_encoded(piece.end(), value);
                });
                return;
            }
        }
        if index < self.len {
            let Place { group, piece, .. } = self.locate(index);
            if limit.has_room(&self.groups[group].pieces[piece], value) {
                self.change_piece(group, piece, |piece| {
                    piece.insert_encoded(piece.start(), value);
                });
                return;
            }
        }
        self.insert_alone(index, value, limit);
    }

    /// Inserts a piece of one element between two others, or at an end.
    fn insert_alone(&mut self, index: usize, value: &Encoded<'_>, limit: PieceLimit) {
        let at_end = index == 0 || index == self.len;
        let room = match self.count {
            _ if !at_end => 0,
            MANY_PIECES.. => limit.bytes.min(COUNTED_PIECE_BYTES_MAX),
            _ => END_PIECE_ROOM_BYTES,
        };
        let single = Packed::with_room(value, room, index == 0);
        if index == self.len {
            self.push_piece(single);
            return;
        }
        let place = self.locate(index);
        assert!(place.index == 0, "index {index} is {} within a piece", place.index);
        self.insert_piece(place.group, place.piece, single);
    }

    pub(super) fn set(&mut self, index: usize, value: &Encoded<'_>, limit: PieceLimit) {
        let Place { group, piece, index: at } = self.locate(index);
        let target = &self.groups[group].pieces[piece];
        if target.len() == 1 || limit.has_room(target, value) {
            self.change_piece(group, piece, |piece| piece.replace_encoded(piece.position(at), value));
        } else {
            let garbage = self.remove(index, 1, limit);
            assert!(garbage.is_none(), "one element is no group");
            self.insert(index, value, limit);
        }
    }

    /// Takes elements out. What's left of whole groups is returned, to be freed slice by slice.
    pub(super) fn remove(&mut self, start: usize, count: usize, limit: PieceLimit) -> Option<Pieces> {
        let mut removed = Pieces::default();
        let mut left = count;
        while left > 0 {
            let place = self.locate(start);
            let at_group = place.piece == 0 && place.index == 0;
            if at_group && self.groups[place.group].len <= left {
                if let Some(group) = self.take_group(place.group) {
                    left -= group.len;
                    removed.put_group(group);
                }
                continue;
            }
            let here = (self.piece(place).len() - place.index).min(left);
            left -= here;
            if here == self.piece(place).len() {
                self.remove_piece(place.group, place.piece);
            } else {
                self.change_piece(place.group, place.piece, |piece| {
                    piece.remove(piece.position(place.index), here);
                });
                self.maybe_merge(place.group, place.piece, limit);
            }
        }
        (!removed.groups.is_empty()).then_some(removed)
    }

    fn take_group(&mut self, index: usize) -> Option<Arc<Group>> {
        let group = self.groups.remove(index)?;
        self.len -= group.len;
        self.count -= group.pieces.len();
        self.buffer_bytes -= group.buffer_bytes();
        Some(group)
    }

    fn put_group(&mut self, group: Arc<Group>) {
        self.len += group.len;
        self.count += group.pieces.len();
        self.buffer_bytes += group.buffer_bytes();
        self.groups.push_back(group);
    }

    /// Joins a piece with the one behind it in its group when they fit half a piece.
    fn maybe_merge(&mut self, group: usize, piece: usize, limit: PieceLimit) {
        let [first, second, ..] = &self.groups[group].pieces[piece..] else { return };
        if limit.is_within_half(first.len() + second.len(), first.bytes() + second.bytes()) {
            let second = self.remove_piece(group, piece + 1);
            self.change_piece(group, piece, |piece| piece.append(&second));
        }
    }

    pub(super) fn remove_equal(&mut self, value: &[u8], wanted: usize, from_end: bool) -> usize {
        let mut removed = 0;
        let mut pieces_left = self.count;
        let mut place = if from_end { self.last_piece() } else { (0, 0) };
        while pieces_left > 0 && removed < wanted {
            pieces_left -= 1;
            let (group, piece) = place;
            let before = self.groups.len();
            removed += self
                .change_piece(group, piece, |piece| piece.remove_equal(value, wanted - removed, from_end));
            let gone = self.groups[group].pieces[piece].is_empty();
            if gone {
                self.remove_piece(group, piece);
            }
            let group_gone = self.groups.len() < before;
            place = if !from_end {
                // What followed a piece or a group that is gone has its number now.
                let next = if gone { piece } else { piece + 1 };
                match self.groups.get(group) {
                    _ if group_gone => (group, 0),
                    Some(group_here) if next < group_here.pieces.len() => (group, next),
                    _ => (group + 1, 0),
                }
            } else if piece > 0 {
                (group, piece - 1)
            } else if group > 0 {
                (group - 1, self.groups[group - 1].pieces.len() - 1)
            } else {
                break;
            };
        }
        removed
    }

    fn last_piece(&self) -> (usize, usize) {
        let group = self.groups.len().saturating_sub(1);
        (group, self.groups.back().map_or(0, |group| group.pieces.len().saturating_sub(1)))
    }

    /// The only piece, if it's at most half of what a piece may be.
    pub(super) fn take_only_piece(&mut self, limit: PieceLimit) -> Option<Packed> {
        if self.count > 1 {
            return None;
        }
        let within = self.groups.front().is_none_or(|group| {
            group.pieces.iter().all(|piece| limit.is_within_half(piece.len(), piece.bytes()))
        });
        if !within {
            return None;
        }
        Some(if self.count == 1 { self.remove_piece(0, 0) } else { Packed::default() })
    }

    /// Checks what the module says of pieces and groups.
    #[cfg(test)]
    pub(super) fn check(&self, limit: PieceLimit) {
        let pieces = || self.groups.iter().flat_map(|group| &group.pieces);
        assert_eq!(self.len, pieces().map(|piece| piece.len()).sum::<usize>());
        assert_eq!(self.count, pieces().count());
        assert_eq!(self.buffer_bytes, pieces().map(|piece| piece.memory_bytes()).sum::<usize>());
        for group in &self.groups {
            assert!((1..=GROUP_PIECES_MAX).contains(&group.pieces.len()));
            assert_eq!(group.len, group.pieces.iter().map(|piece| piece.len()).sum::<usize>());
        }
        for piece in pieces() {
            assert!(piece.len() == 1 || piece.len() <= limit.elements && piece.bytes() <= limit.bytes);
            assert!(!piece.is_empty());
        }
    }

    pub(super) fn free(&mut self, mut budget: usize) -> usize {
        while budget > 0
            && let Some(group) = self.groups.back_mut()
        {
            budget -= 1;
            // A group that is shared is freed with its last owner.
            let piece = Arc::get_mut(group).and_then(|group| group.pieces.pop());
            let bytes = piece.as_ref().map_or_else(|| group.buffer_bytes(), |piece| piece.memory_bytes());
            self.buffer_bytes -= bytes;
            self.count -= piece.as_ref().map_or_else(|| group.pieces.len(), |_| 1);
            if piece.is_none() {
                self.groups.pop_back();
            }
        }
        budget
    }

    pub(super) fn is_freed(&self) -> bool {
        self.groups.is_empty()
    }
}

/// Finds an index among parts by their lengths, of which `total` is the sum: the part and the index in it.
fn nearer(
    lens: impl DoubleEndedIterator<Item = usize> + ExactSizeIterator,
    total: usize,
    index: usize,
) -> (usize, usize) {
    if index * 2 <= total {
        let mut before = 0;
        for (number, len) in lens.enumerate() {
            if index < before + len {
                return (number, index - before);
            }
            before += len;
        }
    } else {
        let mut end = total;
        for (number, len) in lens.enumerate().rev() {
            if index >= end - len {
                return (number, index - (end - len));
            }
            end -= len;
        }
    }
    panic!("index {index} of {total}")
}

//! Elements one after the other in one buffer: the form of small collections, and of the pieces of long lists.
//!
//! ```text
//! element    head, payload, length of both (varint, written so that it can be read from its end)
//! 0nnnnnnn              integer 0..=127                       no payload
//! 10nnnnnn              bytes, up to 63 of them               the bytes
//! 110nnnnn n            integer 128..=8319                    no payload
//! 1110nnnn n            bytes, 64..=4159 of them              the bytes
//! 11110nnn n…           integer of nnn + 1 bytes, little-endian, two's complement; no payload
//! 11111nnn n…           bytes, their number in nnn + 1 bytes, little-endian: 2 to 4 of them
//!
//! slack before the first element, if there is any (heads that no element has):
//! 11111000, 11111101, 11111110, 11111111   1, 2, 3, 4 bytes in all
//! 11111100 n…           their number in 4 bytes, little-endian; what else there is of them means nothing
//! ```
//!
//! - Bytes that are the text of an integer are always kept as one, so that equal elements have equal encodings.
//! - An element costs 2 bytes beside its bytes up to 63 of them; short integers take 2 to 4 bytes in all.
//! - Positions are offsets of heads; they hold until the next change.
//! - Both ends are quick: what is taken out on the left becomes slack, and a long buffer that grows on the left gets some. So no
//!   push or pop at an end of a long list moves all that is there.
//! - A small buffer has no more room than the next multiple of [`GRANULE`]: within an allocator's size class it grows in place.
//! - The struct is three words, which makes a collection in its entry four.

use super::element::{Element, canonical_i64};

const SHORT: u8 = 0b1000_0000;
const INTEGER_MEDIUM: u8 = 0b1100_0000;
const MEDIUM: u8 = 0b1110_0000;
const INTEGER_LONG: u8 = 0b1111_0000;
const LONG: u8 = 0b1111_1000;

const INTEGER_SHORT_END: i64 = 128;
const INTEGER_MEDIUM_END: i64 = INTEGER_SHORT_END + (1 << 13);
const SHORT_END: usize = 64;
const MEDIUM_END: usize = SHORT_END + (1 << 12);
/// A head and the number behind it.
const HEAD_BYTES_MAX: usize = 9;
const BACK_BYTES_MAX: usize = 10;
/// Buffers grow to multiples of this, as allocators' size classes are.
const GRANULE: usize = 16;
/// From this size on a buffer that grows on its left gets slack there, and one that is a queue on both sides.
const LONG_BUFFER_BYTES: usize = 512;

/// What may be in one buffer, as in Redis's listpacks. Collections are large before; an element of a list is smaller.
pub(crate) const PACKED_BYTES_MAX: usize = 1 << 30;

const SLACK_OF_ONE: u8 = 0b1111_1000;
const SLACK: u8 = 0b1111_1100;
const SLACK_BYTES_MIN: usize = 5;

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Packed {
    /// Slack, elements, room.
    buffer: Box<[u8]>,
    /// Where the last element ends.
    end: u32,
    count: u32,
}

const _: () = assert!(size_of::<Packed>() == 24);

/// An element as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Raw<'a> {
    Integer(i64),
    Bytes(&'a [u8]),
}

impl<'a> Raw<'a> {
    fn of(bytes: &'a [u8]) -> Raw<'a> {
        canonical_i64(bytes).map_or(Raw::Bytes(bytes), Raw::Integer)
    }

    fn element(self) -> Element<'a> {
        match self {
            Raw::Integer(value) => Element::integer(value),
            Raw::Bytes(bytes) => Element::bytes(bytes),
        }
    }
}

/// An element ready to be written.
pub(crate) struct Encoded<'a> {
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    payload: &'a [u8],
    back: [u8; BACK_BYTES_MAX],
    back_bytes: usize,
}

impl<'a> Encoded<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Encoded<'a> {
        let (head, head_bytes, payload) = match Raw::of(bytes) {
            Raw::Integer(value) => {
                let (head, head_bytes) = integer_head(value);
                (head, head_bytes, &[][..])
            }
            Raw::Bytes(bytes) => {
                let (head, head_bytes) = bytes_head(bytes.len());
                (head, head_bytes, bytes)
            }
        };
        let mut back = [0; BACK_BYTES_MAX];
        let back_bytes = write_back(&mut back, head_bytes + payload.len());
        Encoded { head, head_bytes, payload, back, back_bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.head_bytes + self.payload.len() + self.back_bytes
    }

    /// Whether this element begins there.
    #[inline]
    fn is_at(&self, bytes: &[u8]) -> bool {
        // Most others differ in the first byte.
        bytes[0] == self.head[0]
            && bytes.starts_with(&self.head[..self.head_bytes])
            && bytes[self.head_bytes..].starts_with(self.payload)
    }

    fn write(&self, out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(self.head_bytes);
        head.copy_from_slice(&self.head[..self.head_bytes]);
        let (payload, back) = rest.split_at_mut(self.payload.len());
        payload.copy_from_slice(self.payload);
        back.copy_from_slice(&self.back[..self.back_bytes]);
    }
}

fn integer_head(value: i64) -> ([u8; HEAD_BYTES_MAX], usize) {
    let mut head = [0; HEAD_BYTES_MAX];
    match value {
        0..INTEGER_SHORT_END => {
            head[0] = value as u8;
            (head, 1)
        }
        INTEGER_SHORT_END..INTEGER_MEDIUM_END => {
            let above = (value - INTEGER_SHORT_END) as u16;
            head[0] = INTEGER_MEDIUM | (above >> 8) as u8;
            head[1] = above as u8;
            (head, 2)
        }
        _ => {
            let bits = 65 - (value ^ (value >> 63)).leading_zeros() as usize;
            let bytes = bits.div_ceil(8);
            head[0] = INTEGER_LONG | (bytes - 1) as u8;
            head[1..=bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
            (head, 1 + bytes)
        }
    }
}

fn bytes_head(len: usize) -> ([u8; HEAD_BYTES_MAX], usize) {
    let mut head = [0; HEAD_BYTES_MAX];
    if len < SHORT_END {
        head[0] = SHORT | len as u8;
        (head, 1)
    } else if len < MEDIUM_END {
        let above = len - SHORT_END;
        head[0] = MEDIUM | (above >> 8) as u8;
        head[1] = above as u8;
        (head, 2)
    } else {
        let bytes = (usize::BITS - len.leading_zeros()).div_ceil(8) as usize;
        head[0] = LONG | (bytes - 1) as u8;
        head[1..=bytes].copy_from_slice(&len.to_le_bytes()[..bytes]);
        (head, 1 + bytes)
    }
}

/// Writes a length so that it's read from its last byte on: seven bits a byte, the lowest last; a set high bit says that more
/// bytes stand before.
fn write_back(out: &mut [u8; BACK_BYTES_MAX], len: usize) -> usize {
    let bytes = back_bytes(len);
    let mut rest = len;
    for index in (0..bytes).rev() {
        out[index] = (rest & 0x7f) as u8 | if index > 0 { 0x80 } else { 0 };
        rest >>= 7;
    }
    bytes
}

fn back_bytes(len: usize) -> usize {
    ((usize::BITS - (len | 1).leading_zeros()) as usize).div_ceil(7)
}

fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

impl Packed {
    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all elements with what belongs to them.
    pub(crate) fn bytes(&self) -> usize {
        self.end() - self.start()
    }

    /// Whether so many bytes more may be in it.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes() + bytes <= PACKED_BYTES_MAX
    }

    /// Bytes asked of the allocator.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Where its bytes are, for a prefetch.
    pub(crate) fn address(&self) -> *const u8 {
        self.buffer.as_ptr()
    }

    /// How many bytes an element would take.
    #[cfg(test)]
    pub(crate) fn element_bytes(value: &[u8]) -> usize {
        Encoded::new(value).len()
    }

    /// Where the first element is.
    #[inline]
    pub(crate) fn start(&self) -> usize {
        match self.buffer.first() {
            None | Some(0..SLACK_OF_ONE) => 0,
            Some(&SLACK_OF_ONE) => 1,
            Some(&SLACK) => number(&self.buffer[1..SLACK_BYTES_MIN]) as usize,
            Some(&head) if head > SLACK => usize::from(head - SLACK) + 1,
            Some(_) => 0,
        }
    }

    /// Where a new last element would be.
    #[inline]
    pub(crate) fn end(&self) -> usize {
        self.end as usize
    }

    fn set_end(&mut self, end: usize) {
        self.end = u32::try_from(end).expect("a buffer is below PACKED_BYTES_MAX and an element");
    }

    /// Says that what lies before a position is slack.
    fn set_start(&mut self, start: usize) {
        match start {
            0 => {}
            1 => self.buffer[0] = SLACK_OF_ONE,
            2..SLACK_BYTES_MIN => self.buffer[0] = SLACK + (start as u8 - 1),
            _ => {
                self.buffer[0] = SLACK;
                self.buffer[1..SLACK_BYTES_MIN].copy_from_slice(&(start as u32).to_le_bytes());
            }
        }
    }

    fn raw(&self, at: usize) -> (Raw<'_>, usize) {
        let head = self.buffer[at];
        let small = usize::from(head & 0x07) + 1;
        let (raw, end) = match head {
            0..SHORT => (Raw::Integer(i64::from(head)), at + 1),
            SHORT..INTEGER_MEDIUM => {
                let end = at + 1 + usize::from(head & 0x3f);
                (Raw::Bytes(&self.buffer[at + 1..end]), end)
            }
            INTEGER_MEDIUM..MEDIUM => {
                let above = i64::from(head & 0x1f) << 8 | i64::from(self.buffer[at + 1]);
                (Raw::Integer(above + INTEGER_SHORT_END), at + 2)
            }
            MEDIUM..INTEGER_LONG => {
                let above = usize::from(head & 0x0f) << 8 | usize::from(self.buffer[at + 1]);
                let end = at + 2 + above + SHORT_END;
                (Raw::Bytes(&self.buffer[at + 2..end]), end)
            }
            INTEGER_LONG..LONG => {
                let end = at + 1 + small;
                let unused = 64 - 8 * small as u32;
                let value = (number(&self.buffer[at + 1..end]) << unused) as i64 >> unused;
                (Raw::Integer(value), end)
            }
            LONG.. => {
                let start = at + 1 + small;
                let end = start + number(&self.buffer[at + 1..start]) as usize;
                (Raw::Bytes(&self.buffer[start..end]), end)
            }
        };
        (raw, end + back_bytes(end - at))
    }

    /// The element at a position, and the position behind it.
    pub(crate) fn at(&self, at: usize) -> (Element<'_>, usize) {
        let (raw, next) = self.raw(at);
        (raw.element(), next)
    }

    /// The element at a position as an integer, or else as bytes, and the position behind it.
    pub(crate) fn split(&self, at: usize) -> (Option<i64>, &[u8], usize) {
        match self.raw(at) {
            (Raw::Integer(value), next) => (Some(value), &[], next),
            (Raw::Bytes(bytes), next) => (None, bytes, next),
        }
    }

    /// The position behind an element.
    #[inline]
    pub(crate) fn next(&self, at: usize) -> usize {
        match self.buffer[at] {
            0..SHORT => at + 2,
            head @ SHORT..INTEGER_MEDIUM => at + 2 + usize::from(head & 0x3f),
            INTEGER_MEDIUM..MEDIUM => at + 3,
            _ => self.raw(at).1,
        }
    }

    /// The position of the element that ends before this position.
    pub(crate) fn previous(&self, end: usize) -> usize {
        let mut len = 0;
        let mut back = 0;
        loop {
            let byte = self.buffer[end - 1 - back];
            len |= usize::from(byte & 0x7f) << (7 * back);
            back += 1;
            if byte < 0x80 {
                return end - back - len;
            }
        }
    }

    /// The position of an element by its index, from the nearer end; the end itself for the number of elements.
    pub(crate) fn position(&self, index: usize) -> usize {
        if index * 2 < self.len() {
            (0..index).fold(self.start(), |at, _| self.next(at))
        } else {
            (index..self.len()).fold(self.end(), |at, _| self.previous(at))
        }
    }

    /// The position of the first element equal to `value` among every `step`th.
    pub(crate) fn find(&self, value: &[u8], step: usize) -> Option<usize> {
        let wanted = Encoded::new(value);
        let elements = &self.buffer[..self.end()];
        let mut at = self.start();
        while at < elements.len() {
            if wanted.is_at(&elements[at..]) {
                return Some(at);
            }
            at = (0..step).fold(at, |at, _| self.next(at));
        }
        None
    }

    /// All elements.
    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter { packed: self, front: self.start(), back: self.end(), left: self.len() }
    }

    /// The elements from a position on.
    pub(crate) fn iter_from(&self, index: usize) -> Iter<'_> {
        let index = index.min(self.len());
        Iter { packed: self, front: self.position(index), back: self.end(), left: self.len() - index }
    }

    /// Puts an element before the one at a position. Returns where it is.
    pub(crate) fn insert(&mut self, at: usize, value: &[u8]) -> usize {
        self.insert_encoded(at, &Encoded::new(value))
    }

    /// The same of an element that is ready to be written.
    pub(crate) fn insert_encoded(&mut self, at: usize, encoded: &Encoded<'_>) -> usize {
        let at = self.open(at, 0, encoded.len());
        encoded.write(&mut self.buffer[at..at + encoded.len()]);
        self.count += 1;
        at
    }

    /// A buffer of so many bytes with one element, at its end if there is to be room on the left.
    pub(crate) fn with_room(encoded: &Encoded<'_>, capacity: usize, on_left: bool) -> Packed {
        let capacity = capacity.max(encoded.len()).next_multiple_of(GRANULE);
        let start = if on_left { capacity - encoded.len() } else { 0 };
        let mut packed = Packed { buffer: vec![0; capacity].into_boxed_slice(), end: 0, count: 1 };
        packed.set_end(start + encoded.len());
        encoded.write(&mut packed.buffer[start..start + encoded.len()]);
        packed.set_start(start);
        packed
    }

    /// Puts an element behind the last.
    pub(crate) fn push(&mut self, value: &[u8]) {
        self.insert(self.end(), value);
    }

    /// Puts another element in place of the one at a position.
    pub(crate) fn replace(&mut self, at: usize, value: &[u8]) {
        self.replace_encoded(at, &Encoded::new(value));
    }

    /// The same with an element that is ready to be written.
    pub(crate) fn replace_encoded(&mut self, at: usize, encoded: &Encoded<'_>) {
        let old = self.next(at) - at;
        let at = self.open(at, old, encoded.len());
        encoded.write(&mut self.buffer[at..at + encoded.len()]);
        self.maybe_shrink();
    }

    /// Takes `count` elements out from a position on.
    pub(crate) fn remove(&mut self, at: usize, count: usize) {
        let behind = (0..count).fold(at, |at, _| self.next(at));
        let (start, end) = (self.start(), self.end());
        self.count -= count as u32;
        if at - start < end - behind {
            let start_then = start + behind - at;
            self.buffer.copy_within(start..at, start_then);
            self.set_start(start_then);
        } else {
            self.buffer.copy_within(behind..end, at);
            self.set_end(end - (behind - at));
        }
        self.maybe_shrink();
    }

    /// Takes out up to `limit` elements equal to `value`, the first ones or the last ones. Returns how many.
    pub(crate) fn remove_equal(&mut self, value: &[u8], limit: usize, from_end: bool) -> usize {
        let wanted = Encoded::new(value);
        let mut found = Vec::new();
        let mut at = self.start();
        while at < self.end() {
            let next = self.next(at);
            if wanted.is_at(&self.buffer[at..next]) {
                found.push(at..next);
            }
            at = next;
        }
        let removed = found.len().min(limit);
        let spared = if from_end { 0..found.len() - removed } else { removed..found.len() };
        found.drain(spared);
        if removed > 0 {
            let mut kept = Vec::with_capacity(self.bytes());
            let mut from = self.start();
            for range in found {
                kept.extend_from_slice(&self.buffer[from..range.start]);
                from = range.end;
            }
            kept.extend_from_slice(&self.buffer[from..self.end()]);
            self.set_end(kept.len());
            kept.resize(kept.len().next_multiple_of(GRANULE), 0);
            self.buffer = kept.into_boxed_slice();
            self.count -= removed as u32;
        }
        removed
    }

    /// Adds the elements of another buffer behind its own.
    pub(crate) fn append(&mut self, other: &Packed) {
        let elements = &other.buffer[other.start()..other.end()];
        let len = self.bytes();
        self.relocate(len + elements.len(), 0);
        self.buffer[len..].copy_from_slice(elements);
        self.set_end(len + elements.len());
        self.count += other.count;
    }

    /// Cuts off the elements from a position on, of which there are `count`, into a buffer of their own.
    pub(crate) fn split_off(&mut self, at: usize, count: usize) -> Packed {
        let buffer: Box<[u8]> = self.buffer[at..self.end()].into();
        let end = buffer.len() as u32;
        self.set_end(at);
        self.shrink();
        self.count -= count as u32;
        Packed { buffer, end, count: count as u32 }
    }

    /// Gives back what was reserved for growth.
    pub(crate) fn shrink(&mut self) {
        self.relocate(self.bytes(), 0);
    }

    /// Makes `new` bytes of room at a position where there were `old`. Returns where that is then.
    fn open(&mut self, at: usize, old: usize, new: usize) -> usize {
        let (start, end) = (self.start(), self.end());
        let (left, right) = (at - start, end - at - old);
        if new <= old {
            self.buffer.copy_within(at + old..end, at + new);
            self.set_end(end - (old - new));
            return at;
        }
        let grow = new - old;
        let (front, back) = (start, self.buffer.len() - end);
        let is_inside = left > 0 && right > 0;
        // The shorter part moves, if there is room on its side, or else within a collection the other one.
        let moves_left = if left < right {
            front >= grow || !is_inside && self.make_room(grow, true)
        } else {
            back < grow && is_inside && front >= grow
        };
        let is_ready = moves_left || back >= grow || self.make_room(grow, false);
        assert!(is_ready, "no room for {grow} bytes in {}", self.buffer.len());
        let moved = self.start();
        let (at, end) = (moved + left, self.end());
        if moves_left {
            self.buffer.copy_within(moved..at, moved - grow);
            self.set_start(moved - grow);
            at - grow
        } else {
            self.buffer.copy_within(at + old..end, at + new);
            self.set_end(end + grow);
            at
        }
    }

    /// Makes room for so many bytes more on the left or on the right. True, unless the left is not worth it.
    fn make_room(&mut self, grow: usize, on_left: bool) -> bool {
        let len = self.bytes();
        if on_left && len < LONG_BUFFER_BYTES {
            return false;
        }
        let room = self.buffer.len() - len;
        // A buffer that loses elements on one side and gains some on the other must not move them all each time.
        let churns = on_left || len >= LONG_BUFFER_BYTES && self.start() > 0;
        let spare = len / if churns { 8 } else { 64 };
        let capacity = if room >= grow + spare {
            self.buffer.len()
        } else {
            (len + grow + spare).next_multiple_of(GRANULE)
        };
        self.relocate(capacity, if on_left { capacity - len } else { 0 });
        true
    }

    /// Moves all elements to a place in a buffer of so many bytes.
    fn relocate(&mut self, capacity: usize, start: usize) {
        let (from, end) = (self.start(), self.end());
        let len = end - from;
        assert!(start + len <= capacity, "{len} bytes at {start} in {capacity}");
        if start > from && capacity > self.buffer.len() {
            let mut buffer = vec![0; capacity];
            buffer[start..start + len].copy_from_slice(&self.buffer[from..end]);
            self.buffer = buffer.into_boxed_slice();
        } else {
            self.buffer.copy_within(from..end, start);
            if capacity != self.buffer.len() {
                // In place, if the allocator can.
                let mut buffer = std::mem::take(&mut self.buffer).into_vec();
                buffer.reserve_exact(capacity.saturating_sub(buffer.len()));
                buffer.resize(capacity, 0);
                self.buffer = buffer.into_boxed_slice();
            }
        }
        self.set_end(start + len);
        self.set_start(start);
    }

    fn maybe_shrink(&mut self) {
        if self.count == 0 {
            *self = Packed::default();
        } else if self.buffer.len() > 2 * self.bytes() + 4 * GRANULE {
            self.relocate(self.bytes().next_multiple_of(GRANULE), 0);
        }
    }
}

/// Elements in order; goes both ways.
#[derive(Clone)]
pub(crate) struct Iter<'a> {
    packed: &'a Packed,
    front: usize,
    back: usize,
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (element, next) = self.packed.at(self.front);
        self.front = next;
        self.left -= 1;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = self.packed.previous(self.back);
        self.left -= 1;
        Some(self.packed.at(self.back).0)
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..12),
            4 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            4 => (0_u32..64, any::<i64>()).prop_map(|(shift, n)| (n >> shift).to_string().into_bytes()),
            2 => prop_oneof![Just(63_usize), Just(64), Just(127), Just(128), Just(4159), Just(4160), Just(70_000)]
                .prop_map(|len| vec![b'x'; len]),
        ]
    }

    fn all(packed: &Packed) -> Vec<Vec<u8>> {
        packed.iter().map(|element| element.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn agrees_with_a_vector(ops in prop::collection::vec((0_u8..10, any::<u16>(), value()), 0..60)) {
            let mut packed = Packed::default();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for (op, index, value) in ops {
                let index = usize::from(index) % (model.len() + 1);
                match op {
                    0..=2 => {
                        let at = packed.insert(packed.position(index), &value);
                        prop_assert_eq!(packed.at(at).0.to_vec(), value.clone());
                        prop_assert_eq!(at, packed.position(index));
                        model.insert(index, value);
                    }
                    3 if index < model.len() => {
                        packed.replace(packed.position(index), &value);
                        model[index] = value;
                    }
                    4 if index < model.len() => {
                        let count = (model.len() - index).min(2);
                        packed.remove(packed.position(index), count);
                        model.drain(index..index + count);
                    }
                    5 => {
                        let tail = packed.split_off(packed.position(index), model.len() - index);
                        prop_assert_eq!(all(&tail), model.split_off(index));
                    }
                    6 => {
                        packed.insert(packed.start(), &value);
                        model.insert(0, value);
                    }
                    7 if !model.is_empty() => {
                        packed.remove(packed.start(), 1);
                        model.remove(0);
                    }
                    8 if !model.is_empty() => {
                        packed.remove(packed.previous(packed.end()), 1);
                        model.pop();
                    }
                    9 => {
                        let limit = index % 3;
                        prop_assert_eq!(packed.remove_equal(&value, limit, false), {
                            let before = model.len();
                            let mut left = limit;
                            model.retain(|other| {
                                let goes = *other == value && left > 0;
                                left -= usize::from(goes);
                                !goes
                            });
                            before - model.len()
                        });
                    }
                    _ => {}
                }
                prop_assert_eq!(packed.len(), model.len());
                let bytes: usize = model.iter().map(|value| Packed::element_bytes(value)).sum();
                prop_assert_eq!(packed.bytes(), bytes);
                prop_assert!(packed.memory_bytes() <= 2 * bytes + 5 * GRANULE, "{} for {bytes}", packed.memory_bytes());
            }
            prop_assert_eq!(all(&packed), model.clone());
            let backwards: Vec<Vec<u8>> = packed.iter().rev().map(|element| element.to_vec()).collect();
            prop_assert!(backwards.iter().eq(model.iter().rev()));
            for (index, value) in model.iter().enumerate() {
                let first = model.iter().position(|other| other == value).unwrap_or(index);
                prop_assert_eq!(packed.find(value, 1), Some(packed.position(first)));
                prop_assert_eq!(packed.iter_from(index).next().map(|element| element.to_vec()), Some(value.clone()));
            }
            prop_assert_eq!(packed.find(b"absent, surely", 1), None);
        }
    }

    #[test]
    fn queues_move_little_and_hold_little() {
        for (push_left, pop_left) in [(true, false), (false, true), (true, true), (false, false)] {
            let mut packed = Packed::default();
            let value = [b'v'; 30];
            let mut relocations = 0;
            for round in 0..2_000 {
                let before = (packed.buffer.as_ptr(), packed.memory_bytes());
                let at = if push_left { packed.start() } else { packed.end() };
                packed.insert(at, &value);
                if round >= 200 {
                    let at = if pop_left { packed.start() } else { packed.previous(packed.end()) };
                    packed.remove(at, 1);
                }
                relocations += usize::from(before != (packed.buffer.as_ptr(), packed.memory_bytes()));
                assert!(packed.memory_bytes() <= packed.bytes() + packed.bytes() / 4 + 64);
            }
            assert_eq!(packed.len(), 200);
            assert!(relocations < 300, "{relocations} of 2000");
        }
    }

    #[test]
    fn elements_take_the_bytes_that_the_layout_says() {
        let cases: [(&[u8], usize); 12] = [
            (b"", 2),
            (b"abc", 5),
            (&[b'x'; 63], 65),
            (&[b'x'; 64], 67),
            (&[b'x'; 127], 131),
            (b"0", 2),
            (b"127", 2),
            (b"128", 3),
            (b"8319", 3),
            (b"8320", 4),
            (b"-1", 3),
            (b"-9223372036854775808", 10),
        ];
        for (value, bytes) in cases {
            assert_eq!(Packed::element_bytes(value), bytes, "{}", value.escape_ascii());
        }
    }
}

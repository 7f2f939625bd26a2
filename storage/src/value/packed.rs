//! Elements one after the other in one buffer: the form of small collections, and of the pieces of long lists.
//!
//! ```text
//! element    head, payload, length of both (varint, written so that it can be read from its end)
//! 0nnnnnnn              integer 0..=127                       no payload
//! 10nnnnnn              bytes, up to 63 of them               the bytes
//! 110nnnnn n            integer 128..=8319                    no payload
//! 1110nnnn n            bytes, 64..=4159 of them              the bytes
//! 11110nnn n…           integer of nnn + 1 bytes, little-endian, two's complement; no payload
//! 11111nnn n…           bytes, their number in nnn + 1 bytes, little-endian
//! ```
//!
//! - Bytes that are the text of an integer are always kept as one, so that equal elements have equal encodings.
//! - An element costs 2 bytes beside its bytes up to 63 of them; short integers take 2 to 4 bytes in all.
//! - Positions are offsets of heads; they hold until the next change.

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

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Packed {
    bytes: Vec<u8>,
    count: u32,
}

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
struct Encoded<'a> {
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    payload: &'a [u8],
    back: [u8; BACK_BYTES_MAX],
    back_bytes: usize,
}

impl<'a> Encoded<'a> {
    fn new(bytes: &'a [u8]) -> Encoded<'a> {
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

    fn len(&self) -> usize {
        self.head_bytes + self.payload.len() + self.back_bytes
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
        self.bytes.len()
    }

    /// Bytes asked of the allocator.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// How many bytes an element would take.
    pub(crate) fn element_bytes(value: &[u8]) -> usize {
        Encoded::new(value).len()
    }

    /// Where a new last element would be.
    pub(crate) fn end(&self) -> usize {
        self.bytes.len()
    }

    fn raw(&self, at: usize) -> (Raw<'_>, usize) {
        let head = self.bytes[at];
        let small = usize::from(head & 0x07) + 1;
        let (raw, end) = match head {
            0..SHORT => (Raw::Integer(i64::from(head)), at + 1),
            SHORT..INTEGER_MEDIUM => {
                let end = at + 1 + usize::from(head & 0x3f);
                (Raw::Bytes(&self.bytes[at + 1..end]), end)
            }
            INTEGER_MEDIUM..MEDIUM => {
                let above = i64::from(head & 0x1f) << 8 | i64::from(self.bytes[at + 1]);
                (Raw::Integer(above + INTEGER_SHORT_END), at + 2)
            }
            MEDIUM..INTEGER_LONG => {
                let above = usize::from(head & 0x0f) << 8 | usize::from(self.bytes[at + 1]);
                let end = at + 2 + above + SHORT_END;
                (Raw::Bytes(&self.bytes[at + 2..end]), end)
            }
            INTEGER_LONG..LONG => {
                let end = at + 1 + small;
                let unused = 64 - 8 * small as u32;
                let value = (number(&self.bytes[at + 1..end]) << unused) as i64 >> unused;
                (Raw::Integer(value), end)
            }
            LONG.. => {
                let start = at + 1 + small;
                let end = start + number(&self.bytes[at + 1..start]) as usize;
                (Raw::Bytes(&self.bytes[start..end]), end)
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
    pub(crate) fn next(&self, at: usize) -> usize {
        self.raw(at).1
    }

    /// The position of the element that ends before this position.
    pub(crate) fn previous(&self, end: usize) -> usize {
        let mut len = 0;
        let mut back = 0;
        loop {
            let byte = self.bytes[end - 1 - back];
            len |= usize::from(byte & 0x7f) << (7 * back);
            back += 1;
            if byte < 0x80 {
                return end - back - len;
            }
        }
    }

    /// The position of an element by its index, from the nearer end; the end itself for the number of elements.
    pub(crate) fn position(&self, index: usize) -> usize {
        if index * 2 <= self.len() {
            (0..index).fold(0, |at, _| self.next(at))
        } else {
            (index..self.len()).fold(self.end(), |at, _| self.previous(at))
        }
    }

    /// The position of the first element equal to `value` among every `step`th.
    pub(crate) fn find(&self, value: &[u8], step: usize) -> Option<usize> {
        let wanted = Raw::of(value);
        let mut at = 0;
        while at < self.end() {
            let (raw, next) = self.raw(at);
            if raw == wanted {
                return Some(at);
            }
            at = (1..step).fold(next, |at, _| self.next(at));
        }
        None
    }

    /// All elements.
    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter { packed: self, front: 0, back: self.end(), left: self.len() }
    }

    /// The elements from a position on.
    pub(crate) fn iter_from(&self, index: usize) -> Iter<'_> {
        let index = index.min(self.len());
        Iter { packed: self, front: self.position(index), back: self.end(), left: self.len() - index }
    }

    /// Puts an element before the one at a position.
    pub(crate) fn insert(&mut self, at: usize, value: &[u8]) {
        let encoded = Encoded::new(value);
        let gap = self.open(at, 0, encoded.len());
        encoded.write(gap);
        self.count += 1;
    }

    /// Puts an element behind the last.
    pub(crate) fn push(&mut self, value: &[u8]) {
        self.insert(self.end(), value);
    }

    /// Puts another element in place of the one at a position.
    pub(crate) fn replace(&mut self, at: usize, value: &[u8]) {
        let old = self.next(at) - at;
        let encoded = Encoded::new(value);
        let gap = self.open(at, old, encoded.len());
        encoded.write(gap);
    }

    /// Takes `count` elements out from a position on.
    pub(crate) fn remove(&mut self, at: usize, count: usize) {
        let end = (0..count).fold(at, |at, _| self.next(at));
        self.bytes.drain(at..end);
        self.count -= count as u32;
        self.maybe_shrink();
    }

    /// Takes out up to `limit` elements equal to `value`, the first ones or the last ones. Returns how many.
    pub(crate) fn remove_equal(&mut self, value: &[u8], limit: usize, from_end: bool) -> usize {
        let wanted = Raw::of(value);
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.end() {
            let (raw, next) = self.raw(at);
            if raw == wanted {
                found.push(at..next);
            }
            at = next;
        }
        let removed = found.len().min(limit);
        let spared = if from_end { 0..found.len() - removed } else { removed..found.len() };
        found.drain(spared);
        if removed > 0 {
            let mut kept = Vec::with_capacity(self.end());
            let mut from = 0;
            for range in found {
                kept.extend_from_slice(&self.bytes[from..range.start]);
                from = range.end;
            }
            kept.extend_from_slice(&self.bytes[from..]);
            kept.shrink_to(kept.len().next_multiple_of(GRANULE));
            self.bytes = kept;
            self.count -= removed as u32;
        }
        removed
    }

    /// Adds the elements of another buffer behind its own.
    pub(crate) fn append(&mut self, other: &Packed) {
        self.bytes.reserve_exact(other.end());
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
    }

    /// Cuts off the elements from a position on, of which there are `count`, into a buffer of their own.
    pub(crate) fn split_off(&mut self, at: usize, count: usize) -> Packed {
        let bytes = self.bytes[at..].to_vec();
        self.bytes.truncate(at);
        self.bytes.shrink_to_fit();
        self.count -= count as u32;
        Packed { bytes, count: count as u32 }
    }

    /// Gives back what was reserved for growth.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Makes `new` bytes of room at a position where there were `old`.
    fn open(&mut self, at: usize, old: usize, new: usize) -> &mut [u8] {
        let end = self.bytes.len();
        if new > old {
            let grow = new - old;
            if self.bytes.capacity() < end + grow {
                // An eighth more than is needed: small buffers stay tight, and long ones don't grow at every push.
                let wanted = (end + grow + end / 8).next_multiple_of(GRANULE);
                self.bytes.reserve_exact(wanted - end);
            }
            self.bytes.resize(end + grow, 0);
            self.bytes.copy_within(at + old..end, at + new);
        } else if new < old {
            self.bytes.copy_within(at + old..end, at + new);
            self.bytes.truncate(end - (old - new));
            self.maybe_shrink();
        }
        &mut self.bytes[at..at + new]
    }

    fn maybe_shrink(&mut self) {
        if self.bytes.capacity() > 2 * self.bytes.len() + 4 * GRANULE {
            self.bytes.shrink_to(self.bytes.len().next_multiple_of(GRANULE));
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
        fn agrees_with_a_vector(ops in prop::collection::vec((0_u8..6, any::<u16>(), value()), 0..60)) {
            let mut packed = Packed::default();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for (op, index, value) in ops {
                let index = usize::from(index) % (model.len() + 1);
                match op {
                    0..=2 => {
                        packed.insert(packed.position(index), &value);
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
                    _ => {}
                }
                prop_assert_eq!(packed.len(), model.len());
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

//! A small set of nothing but integers: sorted, all as wide as the widest needs.

use super::super::element::Element;

/// See the module.
pub(super) struct Integers {
    /// Members, room.
    buffer: Box<[u8]>,
    len: u32,
    /// Bytes of a member, 1 to 8.
    width: u8,
}

/// As buffers of other small collections grow.
const GRANULE: usize = 16;

/// Bytes that a value takes: as few as hold it with its sign.
const fn width_of(value: i64) -> usize {
    let bits = 65 - (value ^ (value >> 63)).leading_zeros() as usize;
    bits.div_ceil(8)
}

impl Integers {
    pub(super) fn new() -> Integers {
        Integers { buffer: Box::default(), len: 0, width: 1 }
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Where its bytes are, for a prefetch.
    pub(super) fn address(&self) -> *const u8 {
        self.buffer.as_ptr()
    }

    fn width(&self) -> usize {
        usize::from(self.width)
    }

    /// Bytes of all members.
    fn end(&self) -> usize {
        self.len() * self.width()
    }

    pub(super) fn value(&self, index: usize) -> i64 {
        let bytes = &self.buffer[index * self.width()..(index + 1) * self.width()];
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let unused = 64 - 8 * bytes.len() as u32;
        i64::from_le_bytes(word) << unused >> unused
    }

    /// The index of a value, or where it would be.
    pub(super) fn search(&self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.value(middle).cmp(&value) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// True if it is new.
    pub(super) fn insert(&mut self, value: i64) -> bool {
        let Err(index) = self.search(value) else { return false };
        let width = self.width().max(width_of(value));
        if width > self.width() {
            self.widen(width);
        }
        let (at, end) = (index * width, self.end());
        if self.buffer.len() < end + width {
            self.resize((end + width + end / 64).next_multiple_of(GRANULE));
        }
        self.buffer.copy_within(at..end, at + width);
        self.buffer[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.len += 1;
        true
    }

    fn resize(&mut self, bytes: usize) {
        let mut buffer = std::mem::take(&mut self.buffer).into_vec();
        buffer.reserve_exact(bytes.saturating_sub(buffer.len()));
        buffer.resize(bytes, 0);
        self.buffer = buffer.into_boxed_slice();
    }

    fn widen(&mut self, width: usize) {
        let mut buffer = vec![0; ((self.len() + 1) * width).next_multiple_of(GRANULE)];
        for (index, place) in buffer.chunks_exact_mut(width).take(self.len()).enumerate() {
            place.copy_from_slice(&self.value(index).to_le_bytes()[..width]);
        }
        (self.buffer, self.width) = (buffer.into_boxed_slice(), width as u8);
    }

    /// False if it's absent.
    pub(super) fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else { return false };
        let (width, end) = (self.width(), self.end());
        self.buffer.copy_within((index + 1) * width..end, index * width);
        self.len -= 1;
        if self.buffer.len() > 2 * self.end() + 4 * GRANULE {
            self.resize(self.end().next_multiple_of(GRANULE));
        }
        true
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        (0..self.len()).map(|index| Element::integer(self.value(index)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_tree(ops in prop::collection::vec((any::<bool>(), 0_u32..64, any::<i64>()), 0..200)) {
            let mut integers = Integers::new();
            let mut model = BTreeSet::new();
            for (adds, shift, value) in ops {
                let value = value >> shift;
                if adds {
                    prop_assert_eq!(integers.insert(value), model.insert(value));
                } else {
                    prop_assert_eq!(integers.remove(value), model.remove(&value));
                }
            }
            let values: Vec<i64> = (0..integers.len()).map(|index| integers.value(index)).collect();
            prop_assert!(values.iter().eq(model.iter()));
        }
    }
}

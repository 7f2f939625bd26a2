//! A small set of nothing but integers: sorted, all as wide as the widest needs.

use super::super::element::Element;

/// See the module.
pub(super) struct Integers {
    bytes: Vec<u8>,
    /// 2, 4 or 8.
    width: usize,
}

const fn width_of(value: i64) -> usize {
    if value as i16 as i64 == value {
        2
    } else if value as i32 as i64 == value {
        4
    } else {
        8
    }
}

impl Integers {
    pub(super) const fn new() -> Integers {
        Integers { bytes: Vec::new(), width: 2 }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn value(&self, index: usize) -> i64 {
        let bytes = &self.bytes[index * self.width..(index + 1) * self.width];
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
        let width = self.width.max(width_of(value));
        if width > self.width {
            self.widen(width);
        }
        let at = index * width;
        if self.bytes.capacity() < self.bytes.len() + width {
            let wanted = (self.bytes.len() + width + self.bytes.len() / 8).next_multiple_of(16);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        let end = self.bytes.len();
        self.bytes.resize(end + width, 0);
        self.bytes.copy_within(at..end, at + width);
        self.bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        true
    }

    fn widen(&mut self, width: usize) {
        let values = (0..self.len()).flat_map(|index| {
            let bytes = self.value(index).to_le_bytes();
            bytes.into_iter().take(width)
        });
        let bytes = values.collect();
        (self.bytes, self.width) = (bytes, width);
    }

    /// False if it's absent.
    pub(super) fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else { return false };
        self.bytes.drain(index * self.width..(index + 1) * self.width);
        if self.bytes.capacity() > 2 * self.bytes.len() + 64 {
            self.bytes.shrink_to(self.bytes.len().next_multiple_of(16));
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

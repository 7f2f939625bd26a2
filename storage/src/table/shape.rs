//! Making a table at once as large as it is expected to become, and smaller again where that was too much.
//!
//! - A reserved table is one like any other, but that removals don't make it smaller until [`Table::shrink`] has looked at it.
//! - Both move all entries of the table: they are for recovery, when nobody waits for an answer.

use super::{BUCKET_SLOTS, BUCKETS_MAX, DEPTH_MAX, Hasher, SIZES, Segment, Table};

/// How full the segments are made to be, of a hundred slots. Growth makes a segment larger when it refuses an entry, which is
/// at 93 on average (measured, with 39 to 63 buckets); the few that get more keys than others grow by themselves then.
const FULL_PERCENT: usize = 88;

const fn room(buckets: usize) -> usize {
    buckets * BUCKET_SLOTS * FULL_PERCENT / 100
}

/// A table whose segments are all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    depth: u8,
    buckets: usize,
}

impl Shape {
    /// The smallest that so many keys fit into.
    pub(super) fn of(keys: usize) -> Shape {
        let depth = (0..DEPTH_MAX).find(|&depth| keys.div_ceil(1 << depth) <= room(BUCKETS_MAX));
        let depth = depth.unwrap_or(DEPTH_MAX);
        let keys = keys.div_ceil(1 << depth);
        Shape { depth, buckets: SIZES.into_iter().find(|&size| keys <= room(size)).unwrap_or(BUCKETS_MAX) }
    }

    fn slots(self) -> usize {
        (self.buckets * BUCKET_SLOTS) << self.depth
    }
}

impl Table {
    pub(super) fn slots(&self) -> usize {
        self.segments.iter().map(Segment::capacity).sum()
    }

    /// Makes room for so many keys, if that takes half as many slots again as there are, and those are mostly taken.
    pub(crate) fn reserve(&mut self, hasher: &Hasher, keys: usize) {
        let (slots, shape) = (self.slots(), Shape::of(keys));
        if keys > self.len && self.len * 5 >= slots * 3 && shape.slots() * 2 >= slots * 3 {
            self.rebuild(hasher, shape);
            self.reserved = true;
        }
    }

    /// Gives back what a reserved table has too much: when it is emptier than growth leaves a table, and could be smaller.
    pub(crate) fn shrink(&mut self, hasher: &Hasher) {
        if !std::mem::take(&mut self.reserved) {
            return;
        }
        let (slots, shape) = (self.slots(), Shape::of(self.len));
        if self.len == 0 {
            *self = Table::default();
        } else if self.len * 10 < slots * 7 && shape.slots() * 20 < slots * 19 {
            self.rebuild(hasher, shape);
        }
    }

    /// Moves all entries to new segments.
    pub(super) fn rebuild(&mut self, hasher: &Hasher, Shape { depth, buckets }: Shape) {
        let count = 1_u32 << depth;
        let segments = (0..count).map(|prefix| Segment::new(buckets, prefix, depth)).collect();
        let old = std::mem::replace(&mut self.segments, segments);
        self.directory = (0..count).collect();
        self.depth = depth;
        self.bucket_bytes = self.segments.iter().map(Segment::bytes).sum();
        let spilled = std::mem::take(&mut self.spill).into_iter().map(|spilled| spilled.slot);
        let slots = old.into_iter().flat_map(|mut segment| segment.drain()).chain(spilled);
        for slot in slots {
            let hash = hasher.hash(slot.entry().expect("drained slots hold entries").key());
            self.place(hasher, hash, slot);
        }
    }
}

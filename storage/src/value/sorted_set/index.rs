//! From members to slots: extendible hashing over segments of numbers. What a number stands for, its owner knows.
//!
//! - A segment is found by the top bits of the hash. It is probed one place after the other, from a place that the low bits say.
//! - A full segment is split, the other segments stay as they are: no insertion moves more than one segment.
//! - Removal closes the gap that it leaves, so there are no marks of removed ones.

/// Places of a segment, and as many homes: the low byte of a tag is the home.
const PLACES: usize = 256;
/// A segment with more than this is split.
const LEN_MAX: usize = 224;
/// One with at most this looks whether it fits into one with its sibling.
const LEN_SMALL: usize = PLACES / 8;
const FREE: u32 = u32::MAX;

struct Segment {
    /// How many top bits of the hash its members have in common.
    depth: u32,
    len: usize,
    /// Low bits of the hashes.
    tags: [u16; PLACES],
    slots: [u32; PLACES],
}

impl Segment {
    fn new(depth: u32) -> Box<Segment> {
        Box::new(Segment { depth, len: 0, tags: [0; PLACES], slots: [FREE; PLACES] })
    }

    /// Where a matching slot is.
    fn find(&self, tag: u16, is: impl Fn(u32) -> bool) -> Option<usize> {
        let mut place = usize::from(tag) % PLACES;
        while self.slots[place] != FREE {
            if self.tags[place] == tag && is(self.slots[place]) {
                return Some(place);
            }
            place = (place + 1) % PLACES;
        }
        None
    }

    fn insert(&mut self, tag: u16, slot: u32) {
        let mut place = usize::from(tag) % PLACES;
        while self.slots[place] != FREE {
            place = (place + 1) % PLACES;
        }
        (self.tags[place], self.slots[place]) = (tag, slot);
        self.len += 1;
    }

    /// Empties a place, and moves up what was only put behind it because it was taken.
    fn remove(&mut self, mut gap: usize) {
        let mut place = gap;
        loop {
            place = (place + 1) % PLACES;
            if self.slots[place] == FREE {
                break;
            }
            let home = usize::from(self.tags[place]) % PLACES;
            let from_home = (place + PLACES - home) % PLACES;
            let from_gap = (place + PLACES - gap) % PLACES;
            if from_home >= from_gap {
                (self.tags[gap], self.slots[gap]) = (self.tags[place], self.slots[place]);
                gap = place;
            }
        }
        self.slots[gap] = FREE;
        self.len -= 1;
    }

    fn iter(&self) -> impl Iterator<Item = (u16, u32)> {
        self.tags.iter().copied().zip(self.slots.iter().copied()).filter(|(_, slot)| *slot != FREE)
    }
}

/// See the module.
pub(super) struct Index {
    /// By the top `depth` bits of a hash: which segment.
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Option<Box<Segment>>>,
    /// Of `segments`, those that are none.
    vacant: Vec<u32>,
}

fn tag_of(hash: u64) -> u16 {
    hash as u16
}

/// The top bits of a hash.
fn top(hash: u64, bits: u32) -> usize {
    if bits == 0 { 0 } else { (hash >> (64 - bits)) as usize }
}

impl Index {
    pub(super) fn new() -> Index {
        Index { directory: vec![0], depth: 0, segments: vec![Some(Segment::new(0))], vacant: Vec::new() }
    }

    fn number(&self, hash: u64) -> u32 {
        self.directory[top(hash, self.depth)]
    }

    fn segment(&self, hash: u64) -> &Segment {
        self.at(self.number(hash))
    }

    fn at(&self, number: u32) -> &Segment {
        self.segments[number as usize].as_ref().expect("the directory names living segments")
    }

    fn at_mut(&mut self, number: u32) -> &mut Segment {
        self.segments[number as usize].as_mut().expect("the directory names living segments")
    }

    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let segment = self.segment(hash);
        segment.find(tag_of(hash), is).map(|place| segment.slots[place])
    }

    /// Adds a slot, which is not there yet. `hash_of` tells the hash of those that are.
    pub(super) fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        while self.segment(hash).len >= LEN_MAX {
            self.split(hash, &hash_of);
        }
        let number = self.number(hash);
        self.at_mut(number).insert(tag_of(hash), slot);
    }

    /// Takes a slot out, which must be there.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let number = self.number(hash);
        let segment = self.at_mut(number);
        let place = segment.find(tag_of(hash), |found| found == slot);
        segment.remove(place.expect("the index has every member"));
        if segment.len <= LEN_SMALL {
            self.maybe_join(hash);
        }
    }

    /// Puts another slot in the place of one, which must be there.
    pub(super) fn renumber(&mut self, hash: u64, from: u32, to: u32) {
        let number = self.number(hash);
        let segment = self.at_mut(number);
        let place = segment.find(tag_of(hash), |found| found == from);
        segment.slots[place.expect("the index has every member")] = to;
    }

    fn split(&mut self, hash: u64, hash_of: &impl Fn(u32) -> u64) {
        let number = self.number(hash);
        let depth = self.at(number).depth;
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|number| [*number; 2]).collect();
            self.depth += 1;
        }
        let old = std::mem::replace(self.at_mut(number), *Segment::new(depth + 1));
        let mut upper = Segment::new(depth + 1);
        let lower = self.at_mut(number);
        for (tag, slot) in old.iter() {
            let is_upper = hash_of(slot) >> (63 - depth) & 1 == 1;
            if is_upper { upper.insert(tag, slot) } else { lower.insert(tag, slot) }
        }
        let new = self.vacant.pop().unwrap_or(self.segments.len() as u32);
        if new as usize == self.segments.len() {
            self.segments.push(Some(upper));
        } else {
            self.segments[new as usize] = Some(upper);
        }
        let entries = self.entries(hash, depth);
        let middle = entries.start + entries.len() / 2;
        self.directory[middle..entries.end].fill(new);
    }

    /// The entries of the directory that share the top `depth` bits of a hash.
    fn entries(&self, hash: u64, depth: u32) -> std::ops::Range<usize> {
        let count = 1 << (self.depth - depth);
        let start = top(hash, depth) * count;
        start..start + count
    }

    /// Joins a segment with the one that it was once split from, if both fit one easily.
    fn maybe_join(&mut self, hash: u64) {
        let number = self.number(hash);
        let depth = self.at(number).depth;
        let Some(shared) = depth.checked_sub(1) else { return };
        let sibling = self.number(hash ^ 1 << (64 - depth));
        let joined = self.at(number).len + self.at(sibling).len;
        if self.at(sibling).depth != depth || joined > PLACES / 2 {
            return;
        }
        let Some(emptied) = self.segments[sibling as usize].take() else { return };
        self.vacant.push(sibling);
        let segment = self.at_mut(number);
        segment.depth = shared;
        emptied.iter().for_each(|(tag, slot)| segment.insert(tag, slot));
        let entries = self.entries(hash, shared);
        self.directory[entries].fill(number);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let living = self.segments.len() - self.vacant.len();
        living * size_of::<Segment>() + self.directory.capacity() * 4 + self.segments.capacity() * 8
    }

    /// Frees up to `budget` segments of an index that nobody uses any more; returns what is left of the budget.
    pub(super) fn free(&mut self, budget: usize) -> usize {
        let freed = budget.min(self.segments.len());
        self.segments.truncate(self.segments.len() - freed);
        budget - freed
    }

    pub(super) fn is_freed(&self) -> bool {
        self.segments.is_empty()
    }
}

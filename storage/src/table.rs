//! The table of one slot group: an extendible hash of segments of small buckets.
//!
//! - The top bits of a key's hash index the directory, which names the segment; the bits below choose the bucket.
//!   So buckets follow hash order across the whole table, and a position in hash order (a scan's cursor) keeps its
//!   meaning while segments grow, split, shrink and merge.
//! - No operation moves more than the entries of two segments (about two thousand), plus the directory, which has an
//!   index of four bytes per segment or two; but for the two that recovery has (see [`shape`]).
//! - A table is never more than one key's insertion from a legal state; nothing here is on disk.
//! - `spill` holds what no segment had room for although it is half empty. With a seeded hash that takes keys
//!   chosen to collide, so it's expected to be empty, and is searched linearly.

mod segment;
mod shape;
mod slot;

use crate::entry::{Entry, OwnedEntry};
use crate::value::Collection;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};
pub(crate) use segment::Prefetched as PrefetchedBucket;
use segment::{BUCKET_SLOTS, BUCKETS_MAX, SIZES, Segment, buckets_for};
use slot::{Slot, Tag};

pub(crate) use slot::{GROUP_SLOTS, TAG_HASH_MASK, prefetch};

/// Segments never get deeper: from here on entries spill. Half a billion keys of a group are not as deep.
const DEPTH_MAX: u8 = 20;
/// A position in hash order is a hash without these low bits.
const POSITION_SHIFT: u32 = 9;
/// The bits of a position.
pub(crate) const POSITION_BITS: u32 = 64 - POSITION_SHIFT;

const _: () = assert!(DEPTH_MAX as u32 + 32 <= POSITION_BITS, "bucket borders must be exact positions");

/// Hashes keys; seeded, so that nobody can choose keys that collide.
pub(crate) struct Hasher {
    secrets: RapidSecrets,
    seed: u64,
    /// Fewer bits make keys collide.
    #[cfg(test)]
    mask: u64,
}

impl Hasher {
    pub(crate) fn new(seed: u64) -> Hasher {
        Hasher {
            secrets: RapidSecrets::seed(seed),
            seed,
            #[cfg(test)]
            mask: u64::MAX,
        }
    }

    #[cfg(test)]
    fn with_mask(seed: u64, mask: u64) -> Hasher {
        Hasher { mask, ..Hasher::new(seed) }
    }

    /// What it was made with.
    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// Tells whether another program with the same seed orders keys in the same way.
    pub(crate) fn check(&self) -> u64 {
        self.hash(b"the order of keys in hash space")
    }

    /// The position of a hash in a scan.
    pub(crate) const fn position(hash: u64) -> u64 {
        hash >> POSITION_SHIFT
    }

    #[inline(always)]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        let hash = rapidhash_v3_inline::<true, true, false>(key, &self.secrets);
        #[cfg(test)]
        let hash = hash & self.mask;
        hash
    }
}

/// Where an entry is, until the next insertion or removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    segment: u32,
    index: u32,
}

impl Position {
    /// In place of a segment: the index is one of `spill`.
    const SPILL: u32 = u32::MAX;
}

struct Spilled {
    hash: u64,
    slot: Slot,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Table {
    /// `1 << depth` indices of `segments`; empty as long as the table is.
    directory: Vec<u32>,
    depth: u8,
    segments: Vec<Segment>,
    spill: Vec<Spilled>,
    len: usize,
    totals: Totals,
    bucket_bytes: usize,
    /// It was made larger than it had to be, and stays so for now.
    reserved: bool,
}

/// Sums over entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// As asked of the allocator.
    pub(crate) bytes: usize,
    /// How many have an expiry.
    pub(crate) expiring: usize,
    /// Of all expiries, ms of Unix time.
    pub(crate) expire_at_ms: u128,
}

impl Totals {
    fn add(&mut self, entry: Entry<'_>) {
        self.bytes += entry.memory_bytes();
        if let Some(at) = entry.expire_at_ms() {
            self.expiring += 1;
            self.expire_at_ms += u128::from(at);
        }
    }

    fn subtract(&mut self, entry: Entry<'_>) {
        self.bytes -= entry.memory_bytes();
        if let Some(at) = entry.expire_at_ms() {
            self.expiring -= 1;
            self.expire_at_ms -= u128::from(at);
        }
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Memory of entries, buckets and directory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.totals.bytes
            + self.bucket_bytes
            + self.directory.capacity() * size_of::<u32>()
            + self.segments.capacity() * size_of::<Segment>()
            + self.spill.capacity() * size_of::<Spilled>()
    }

    #[inline(always)]
    fn segment_of(&self, hash: u64) -> Option<usize> {
        let index = (hash >> 1) >> (63 - self.depth);
        self.directory.get(index as usize).map(|&segment| segment as usize)
    }

    #[inline(always)]
    pub(crate) fn prefetch_bucket(&self, hash: u64, slot: u16) -> Option<PrefetchedBucket<'_>> {
        let segment = self.segment_of(hash)?;
        Some(self.segments[segment].prefetch_bucket(hash, Tag::new(hash, slot)))
    }

    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, slot: u16, key: &[u8]) -> Option<Position> {
        let segment = self.segment_of(hash)?;
        if let Some(index) = self.segments[segment].find(hash, Tag::new(hash, slot), key) {
            return Some(Position { segment: segment as u32, index: index as u32 });
        }
        if self.spill.is_empty() { None } else { self.find_spilled(hash, key) }
    }

    #[cold]
    fn find_spilled(&self, hash: u64, key: &[u8]) -> Option<Position> {
        let is_it = |spilled: &Spilled| {
            spilled.hash == hash && spilled.slot.entry().is_some_and(|entry| entry.key() == key)
        };
        let index = self.spill.iter().position(is_it)?;
        Some(Position { segment: Position::SPILL, index: index as u32 })
    }

    fn slot(&self, at: Position) -> &Slot {
        if at.segment == Position::SPILL {
            &self.spill[at.index as usize].slot
        } else {
            self.segments[at.segment as usize].slot(at.index as usize)
        }
    }

    fn slot_mut(&mut self, at: Position) -> &mut Slot {
        if at.segment == Position::SPILL {
            &mut self.spill[at.index as usize].slot
        } else {
            self.segments[at.segment as usize].slot_mut(at.index as usize)
        }
    }

    #[inline(always)]
    pub(crate) fn entry(&self, at: Position) -> Entry<'_> {
        self.slot(at).entry().expect("positions are those of entries")
    }

    /// The low bits of the hash slot of the entry's key, below [`GROUP_SLOTS`].
    pub(crate) fn slot_in_group(&self, at: Position) -> u16 {
        self.slot(at).tag().slot_in_group()
    }

    /// Changes an entry; its key must stay.
    pub(crate) fn update<R>(&mut self, at: Position, change: impl FnOnce(&mut OwnedEntry) -> R) -> R {
        let mut totals = self.totals;
        totals.subtract(self.entry(at));
        let result = self.slot_mut(at).update(change);
        totals.add(self.entry(at));
        self.totals = totals;
        result
    }

    /// Sets the access clock, in place.
    #[inline]
    pub(crate) fn set_clock(&mut self, at: Position, clock: u32) {
        self.slot_mut(at).update(|entry| entry.set_clock(clock));
    }

    /// Sets the expiry wheel's mark, in place.
    pub(crate) fn set_mark(&mut self, at: Position, mark: bool) {
        self.slot_mut(at).update(|entry| entry.set_mark(mark));
    }

    /// Adds an entry whose key is absent.
    pub(crate) fn insert(&mut self, hasher: &Hasher, hash: u64, slot: u16, entry: OwnedEntry) {
        self.len += 1;
        self.totals.add(entry.as_ref());
        if self.segments.is_empty() {
            let first = Segment::new(SIZES[0], 0, 0);
            self.bucket_bytes = first.bytes();
            self.segments.push(first);
            self.directory = vec![0];
            self.depth = 0;
        }
        self.place(hasher, hash, Slot::new(entry, Tag::new(hash, slot)));
    }

    /// Finds a place for a slot that is counted already.
    #[inline]
    fn place(&mut self, hasher: &Hasher, hash: u64, mut slot: Slot) {
        loop {
            let index = self.segment_of(hash).expect("a table with segments has a whole directory");
            let Err(refused) = self.segments[index].insert(hash, slot) else { return };
            slot = refused;
            let segment = &self.segments[index];
            let half_empty = segment.len() * 2 < segment.capacity();
            let full_size = segment.buckets() == BUCKETS_MAX;
            if half_empty || full_size && segment.depth == DEPTH_MAX {
                self.spill.push(Spilled { hash, slot });
                return;
            }
            if full_size {
                self.split(hasher, index);
            } else {
                let larger = SIZES.into_iter().find(|&size| size > segment.buckets()).unwrap_or(BUCKETS_MAX);
                let buckets = larger.max(buckets_for(segment.len() + 1));
                self.resize(hasher, index, buckets);
            }
        }
    }

    /// Takes an entry out; gives memory back when its segment has become sparse.
    pub(crate) fn remove(&mut self, hasher: &Hasher, at: Position) -> OwnedEntry {
        let mut slot = if at.segment == Position::SPILL {
            self.spill.swap_remove(at.index as usize).slot
        } else {
            self.segments[at.segment as usize].remove(at.index as usize)
        };
        let entry = slot.take_entry().expect("positions are those of entries");
        self.len -= 1;
        self.totals.subtract(entry.as_ref());
        if self.len == 0 {
            // Merging has left few segments, all of them small.
            *self = Table::default();
        } else if at.segment != Position::SPILL {
            self.maybe_shrink(hasher, at.segment as usize);
        }
        entry
    }

    /// Merges a segment below a quarter of its capacity with its buddy, or makes it smaller.
    fn maybe_shrink(&mut self, hasher: &Hasher, index: usize) {
        let segment = &self.segments[index];
        if segment.len() * 4 > segment.capacity() || self.reserved {
            return;
        }
        if let Some(buddy) = self.buddy(index) {
            let entries = segment.len() + self.segments[buddy].len();
            if entries * 2 <= BUCKETS_MAX * BUCKET_SLOTS {
                self.merge(hasher, index, buddy);
                return;
            }
        }
        // A quarter more than there is, so that a few insertions don't grow it at once.
        let buckets = buckets_for(segment.len() * 5 / 4);
        if buckets < segment.buckets() {
            self.resize(hasher, index, buckets);
        }
    }

    /// The segment that a split would have made beside this one, if neither has been split further.
    fn buddy(&self, index: usize) -> Option<usize> {
        let segment = &self.segments[index];
        if segment.depth == 0 {
            return None;
        }
        let first = ((segment.prefix ^ 1) as usize) << (self.depth - segment.depth);
        let buddy = self.directory[first] as usize;
        (self.segments[buddy].depth == segment.depth).then_some(buddy)
    }

    fn resize(&mut self, hasher: &Hasher, index: usize, buckets: usize) {
        let (prefix, depth) = (self.segments[index].prefix, self.segments[index].depth);
        let mut old = self.install(index, Segment::new(buckets, prefix, depth));
        self.refill(hasher, old.drain());
    }

    fn split(&mut self, hasher: &Hasher, index: usize) {
        let (prefix, depth) = (self.segments[index].prefix, self.segments[index].depth);
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&segment| [segment, segment]).collect();
            self.depth += 1;
        }
        let half = self.segments[index].len() / 2;
        let mut old = self.install(index, Segment::new(buckets_for(half), prefix << 1, depth + 1));
        let upper = Segment::new(buckets_for(half), prefix << 1 | 1, depth + 1);
        self.bucket_bytes += upper.bytes();
        self.segments.push(upper);
        self.direct(self.segments.len() - 1);
        self.refill(hasher, old.drain());
    }

    fn merge(&mut self, hasher: &Hasher, index: usize, buddy: usize) {
        let (prefix, depth) = (self.segments[index].prefix, self.segments[index].depth);
        let mut slots = self.segments[index].drain();
        slots.append(&mut self.segments[buddy].drain());
        let buckets = buckets_for(slots.len() * 5 / 4);
        self.install(index, Segment::new(buckets, prefix >> 1, depth - 1));
        self.direct(index);
        self.segments.swap_remove(buddy);
        if buddy < self.segments.len() {
            self.direct(buddy);
        }
        if self.segments.iter().all(|segment| segment.depth < self.depth) {
            self.directory = self.directory.iter().copied().step_by(2).collect();
            self.depth -= 1;
        }
        self.bucket_bytes = self.segments.iter().map(Segment::bytes).sum();
        self.refill(hasher, slots);
    }

    /// Puts a segment in another's place, which the directory still names.
    fn install(&mut self, index: usize, segment: Segment) -> Segment {
        self.bucket_bytes = self.bucket_bytes + segment.bytes() - self.segments[index].bytes();
        std::mem::replace(&mut self.segments[index], segment)
    }

    /// Makes the directory name a segment wherever its prefix says.
    fn direct(&mut self, index: usize) {
        let segment = &self.segments[index];
        let shift = self.depth - segment.depth;
        let first = (segment.prefix as usize) << shift;
        self.directory[first..first + (1 << shift)].fill(index as u32);
    }

    fn refill(&mut self, hasher: &Hasher, slots: Vec<Slot>) {
        for slot in slots {
            let hash = hasher.hash(slot.entry().expect("drained slots hold entries").key());
            let index = self.segment_of(hash).expect("a table with segments has a whole directory");
            if let Err(slot) = self.segments[index].insert(hash, slot) {
                self.spill.push(Spilled { hash, slot });
            }
        }
    }

    /// Visits the entries at home in the bucket that covers `position`, those before it left out. Returns the position
    /// of the next bucket, or none after the last.
    pub(crate) fn scan(
        &self,
        hasher: &Hasher,
        position: u64,
        mut each: impl FnMut(Entry<'_>, u16),
    ) -> Option<u64> {
        let from = position << POSITION_SHIFT;
        let segment = &self.segments[self.segment_of(from)?];
        let bucket = segment.home(from);
        // A cursor may have been made when buckets were other: then it's in the middle of one.
        let whole = segment.first_hash(bucket) >= u128::from(from);
        for (_, slot) in segment.at_home_in(bucket) {
            let entry = slot.entry().expect("home slots hold entries");
            if whole || hasher.hash(entry.key()) >= from {
                each(entry, slot.tag().slot_in_group());
            }
        }
        let end = segment.first_hash(bucket + 1);
        for spilled in &self.spill {
            if (u128::from(from)..end).contains(&u128::from(spilled.hash)) {
                each(
                    spilled.slot.entry().expect("spilled slots hold entries"),
                    spilled.slot.tag().slot_in_group(),
                );
            }
        }
        u64::try_from(end).ok().map(|end| end >> POSITION_SHIFT)
    }

    /// Where the bucket that covers `position` ends; none if it is the last.
    pub(crate) fn position_after(&self, position: u64) -> Option<u64> {
        let from = position << POSITION_SHIFT;
        let segment = &self.segments[self.segment_of(from)?];
        let end = segment.first_hash(segment.home(from) + 1);
        u64::try_from(end).ok().map(|end| end >> POSITION_SHIFT)
    }

    /// A random entry: segments by their share of hash space, entries within one evenly.
    pub(crate) fn sample(&self, random: &mut dyn FnMut() -> u64) -> Option<Position> {
        const TRIES_MAX: usize = 256;
        if self.len == 0 {
            return None;
        }
        for _ in 0..TRIES_MAX {
            let segment = self.segment_of(random())?;
            let index = (random() % self.segments[segment].capacity() as u64) as usize;
            if self.segments[segment].entry(index).is_some() {
                return Some(Position { segment: segment as u32, index: index as u32 });
            }
        }
        self.first()
    }

    fn first(&self) -> Option<Position> {
        let in_segments = self.segments.iter().enumerate().find_map(|(segment, part)| {
            let index = (0..part.capacity()).find(|&index| part.entry(index).is_some())?;
            Some(Position { segment: segment as u32, index: index as u32 })
        });
        in_segments
            .or_else(|| (!self.spill.is_empty()).then_some(Position { segment: Position::SPILL, index: 0 }))
    }

    /// An entry whose hash is this.
    pub(crate) fn find_hash(&self, hasher: &Hasher, hash: u64) -> Option<Position> {
        self.of_hash(hasher, hash, u64::MAX).next()
    }

    /// The entries whose hash is `hash` where `mask` has ones.
    pub(crate) fn of_hash(&self, hasher: &Hasher, hash: u64, mask: u64) -> impl Iterator<Item = Position> {
        let in_segment = self.segment_of(hash).into_iter().flat_map(move |number| {
            let segment = &self.segments[number];
            segment
                .at_home_in(segment.home(hash))
                .filter(move |(_, slot)| slot.tag().hash_bits() == hash & TAG_HASH_MASK)
                .map(move |(index, _)| Position { segment: number as u32, index: index as u32 })
        });
        let spilled =
            (0..self.spill.len()).map(|index| Position { segment: Position::SPILL, index: index as u32 });
        in_segment.chain(spilled).filter(move |&at| (hasher.hash(self.entry(at).key()) ^ hash) & mask == 0)
    }

    /// The entry with an expiry whose hash is `hash` where `mask` has ones, the earliest if there are several. The mask
    /// includes [`TAG_HASH_MASK`], and enough of the top to choose the bucket.
    pub(crate) fn find_expiring(&self, hasher: &Hasher, hash: u64, mask: u64) -> Option<Position> {
        self.of_hash(hasher, hash, mask)
            .filter_map(|at| Some((self.entry(at).expire_at_ms()?, at)))
            .min_by_key(|&(expire_at_ms, _)| expire_at_ms)
            .map(|(_, at)| at)
    }

    /// All entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let spilled = self.spill.iter().map(|spilled| &spilled.slot);
        self.segments.iter().flat_map(Segment::slots).chain(spilled).filter_map(Slot::entry)
    }

    /// The entries of one hash slot. Looks at all buckets, but at no other slot's entries.
    pub(crate) fn in_slot(&self, slot: u16) -> impl Iterator<Item = Entry<'_>> {
        let spilled = self.spill.iter().map(|spilled| &spilled.slot);
        self.segments
            .iter()
            .flat_map(Segment::slots)
            .chain(spilled)
            .filter(move |held| held.tag().slot_in_group() == slot % GROUP_SLOTS)
            .filter_map(Slot::entry)
    }

    /// Frees up to `budget` entries of a table that nobody uses any more; large values go to `garbage`. Returns what
    /// is left of the budget.
    pub(crate) fn free(&mut self, mut budget: usize, garbage: &mut Vec<Collection>) -> usize {
        self.directory = Vec::new();
        while budget > 0 {
            if self.spill.is_empty() {
                let Some(mut segment) = self.segments.pop() else { break };
                self.bucket_bytes -= segment.bytes();
                budget -= 1;
                self.spill = segment.drain().into_iter().map(|slot| Spilled { hash: 0, slot }).collect();
            }
            let rest = self.spill.len().saturating_sub(budget);
            for mut spilled in self.spill.drain(rest..) {
                budget -= 1;
                self.len -= 1;
                if let Some(mut entry) = spilled.slot.take_entry() {
                    self.totals.subtract(entry.as_ref());
                    garbage.extend(entry.take_heavy());
                }
            }
        }
        budget
    }

    pub(crate) fn is_freed(&self) -> bool {
        self.segments.is_empty() && self.spill.is_empty()
    }
}

#[cfg(test)]
mod tests;

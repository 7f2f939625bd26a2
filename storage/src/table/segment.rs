//! A run of buckets that covers one stretch of hash values.
//!
//! - Buckets follow hash order: the hash bits below the segment's prefix, scaled to the number of buckets, choose
//!   the home. An entry lies in its home, or displaced in the bucket after it (the first follows the last).
//! - An entry is displaced only while its home is full, so that a lookup looks further only from a full bucket.
//! - Insertion refuses when no free slot is within reach; the group then grows or splits the segment.

use super::slot::{Slot, Tag, matching, prefetch};
use crate::entry::Entry;

/// Entries of a bucket: two cache lines.
pub(super) const BUCKET_SLOTS: usize = 16;
/// How many buckets may shift an entry to make room for one. Beyond, the segment is close to full anyway.
const SHIFTS_MAX: usize = 16;

/// The numbers of buckets a segment may have. Steps of about a third keep the fill between two thirds and nine tenths
/// while a table grows. Those that aren't powers of two are one less than round, since an allocator adds up to 127
/// bytes to align them, and then still fits its size class.
pub(super) const SIZES: [usize; 12] = [1, 2, 4, 6, 8, 11, 16, 23, 32, 39, 47, 63];
/// Most buckets of a segment: bounds what one insertion may have to move.
pub(super) const BUCKETS_MAX: usize = SIZES[SIZES.len() - 1];

/// The smallest size that holds `entries` at most four fifths full, or the largest of all.
pub(super) fn buckets_for(entries: usize) -> usize {
    SIZES.into_iter().find(|buckets| entries * 5 <= buckets * BUCKET_SLOTS * 4).unwrap_or(BUCKETS_MAX)
}

#[repr(align(128))]
struct Bucket([Slot; BUCKET_SLOTS]);

impl Bucket {
    const EMPTY: Bucket = Bucket([const { Slot::EMPTY }; BUCKET_SLOTS]);

    #[inline(always)]
    fn vacancy(&self) -> Option<usize> {
        self.0.iter().position(Slot::is_empty)
    }

    #[inline(always)]
    fn find(&self, tag: Tag, key: &[u8]) -> Option<usize> {
        let mut candidates = matching(&self.0, tag);
        while candidates != 0 {
            let index = candidates.trailing_zeros() as usize;
            if self.0[index].entry().is_some_and(|entry| entry.key() == key) {
                return Some(index);
            }
            candidates &= candidates - 1;
        }
        None
    }
}

/// A bucket that was asked for, and whom it was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Prefetched<'a> {
    bucket: &'a Bucket,
    tag: Tag,
}

impl<'a> Prefetched<'a> {
    /// Reads the bucket, and asks for those of its entries that have the tag.
    #[inline(always)]
    pub(crate) fn prefetch_entry(self) {
        let mut candidates = matching(&self.bucket.0, self.tag);
        while candidates != 0 {
            self.bucket.0[candidates.trailing_zeros() as usize].prefetch();
            candidates &= candidates - 1;
        }
    }

    /// Those of the bucket's entries that have the tag.
    #[inline]
    pub(crate) fn entries(self) -> impl Iterator<Item = Entry<'a>> {
        let candidates = matching(&self.bucket.0, self.tag);
        let slots = self.bucket.0.iter().enumerate();
        slots.filter(move |(index, _)| candidates >> index & 1 == 1).filter_map(|(_, slot)| slot.entry())
    }
}

/// See the module.
pub(super) struct Segment {
    buckets: Box<[Bucket]>,
    len: u32,
    /// The hash bits above those that choose a bucket: `depth` of them, right-aligned.
    pub(super) prefix: u32,
    pub(super) depth: u8,
}

impl Segment {
    pub(super) fn new(buckets: usize, prefix: u32, depth: u8) -> Segment {
        assert!(SIZES.contains(&buckets), "a segment of {buckets} buckets");
        let buckets = std::iter::repeat_with(|| Bucket::EMPTY).take(buckets).collect();
        Segment { buckets, len: 0, prefix, depth }
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.buckets.len() * BUCKET_SLOTS
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    #[inline(always)]
    pub(super) fn home(&self, hash: u64) -> usize {
        let position = (hash << self.depth) >> 32;
        ((position * self.buckets.len() as u64) >> 32) as usize
    }

    /// The smallest hash whose home is `bucket`, or of what follows the segment when it has no such bucket. As wide as
    /// it is because past the last segment it is 2^64.
    pub(super) fn first_hash(&self, bucket: usize) -> u128 {
        let position = ((bucket as u128) << 32).div_ceil(self.buckets.len() as u128);
        ((u128::from(self.prefix) << 64) + (position << 32)) >> self.depth
    }

    fn next(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }

    #[inline(always)]
    pub(super) fn prefetch_bucket(&self, hash: u64, tag: Tag) -> Prefetched<'_> {
        let bucket = &self.buckets[self.home(hash)];
        prefetch(&raw const bucket.0[0]);
        prefetch(&raw const bucket.0[BUCKET_SLOTS / 2]);
        Prefetched { bucket, tag }
    }

    /// The index of a key's slot.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64, tag: Tag, key: &[u8]) -> Option<usize> {
        let home = self.home(hash);
        let bucket = &self.buckets[home];
        if let Some(index) = bucket.find(tag, key) {
            return Some(home * BUCKET_SLOTS + index);
        }
        if bucket.vacancy().is_some() {
            return None;
        }
        let next = self.next(home);
        let index = self.buckets[next].find(tag.displaced(), key)?;
        Some(next * BUCKET_SLOTS + index)
    }

    #[inline(always)]
    pub(super) fn slot(&self, index: usize) -> &Slot {
        &self.buckets[index / BUCKET_SLOTS].0[index % BUCKET_SLOTS]
    }

    pub(super) fn slot_mut(&mut self, index: usize) -> &mut Slot {
        &mut self.buckets[index / BUCKET_SLOTS].0[index % BUCKET_SLOTS]
    }

    /// Places a slot whose key is absent; gives it back when there is no room within reach.
    pub(super) fn insert(&mut self, hash: u64, mut slot: Slot) -> Result<(), Slot> {
        let home = self.home(hash);
        let tag = slot.tag().at_home();
        slot.set_tag(tag);
        if let Some(index) = self.buckets[home].vacancy() {
            self.buckets[home].0[index] = slot;
        } else {
            let next = self.next(home);
            let Some(index) = self.make_room(home, next) else { return Err(slot) };
            slot.set_tag(tag.displaced());
            self.buckets[next].0[index] = slot;
        }
        self.len += 1;
        Ok(())
    }

    /// A free slot in `next`, the bucket after the full bucket `home`, by shifting entries of the buckets that follow
    /// one bucket on, each out of its home.
    fn make_room(&mut self, home: usize, next: usize) -> Option<usize> {
        let mut path = [(0, 0); SHIFTS_MAX];
        let mut len = 0;
        let mut bucket = next;
        let mut vacancy = loop {
            if bucket == home {
                return None;
            }
            if let Some(index) = self.buckets[bucket].vacancy() {
                break index;
            }
            let at_home = self.buckets[bucket].0.iter().position(|slot| !slot.tag().is_displaced())?;
            *path.get_mut(len)? = (bucket, at_home);
            len += 1;
            bucket = self.next(bucket);
        };
        for &(from, index) in path[..len].iter().rev() {
            let mut slot = self.buckets[from].0[index].take();
            slot.set_tag(slot.tag().displaced());
            self.buckets[bucket].0[vacancy] = slot;
            (bucket, vacancy) = (from, index);
        }
        Some(vacancy)
    }

    /// Takes an entry out, and pulls displaced entries back so that only full buckets have any.
    pub(super) fn remove(&mut self, index: usize) -> Slot {
        let removed = self.slot_mut(index).take();
        assert!(!removed.is_empty(), "removal of nothing at {index}");
        self.len -= 1;
        let (mut bucket, mut hole) = (index / BUCKET_SLOTS, index % BUCKET_SLOTS);
        while self.buckets[bucket].0.iter().filter(|slot| slot.is_empty()).count() == 1 {
            let next = self.next(bucket);
            let displaced = |slot: &Slot| !slot.is_empty() && slot.tag().is_displaced();
            let Some(from) = self.buckets[next].0.iter().position(displaced) else { break };
            let mut slot = self.buckets[next].0[from].take();
            slot.set_tag(slot.tag().at_home());
            self.buckets[bucket].0[hole] = slot;
            (bucket, hole) = (next, from);
        }
        removed
    }

    /// Takes all entries out, and asks for their first lines, since the caller has to look at the keys.
    pub(super) fn drain(&mut self) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(self.len());
        for mut bucket in std::mem::take(&mut self.buckets) {
            for slot in &mut bucket.0 {
                if !slot.is_empty() {
                    slot.prefetch();
                    slots.push(slot.take());
                }
            }
        }
        self.len = 0;
        slots
    }

    /// Those slots of `bucket` and the one after it whose entries are at home in `bucket`.
    pub(super) fn at_home_in(&self, bucket: usize) -> impl Iterator<Item = (usize, &Slot)> {
        let of = move |bucket: usize, displaced: bool| {
            let slots = self.buckets[bucket].0.iter().enumerate();
            slots
                .filter(move |(_, slot)| !slot.is_empty() && slot.tag().is_displaced() == displaced)
                .map(move |(index, slot)| (bucket * BUCKET_SLOTS + index, slot))
        };
        of(bucket, false).chain(of(self.next(bucket), true))
    }

    /// All occupied slots, in no particular order.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.buckets.iter().flat_map(|bucket| &bucket.0).filter(|slot| !slot.is_empty())
    }

    /// The entry at a place, `0..capacity()`, if there's one.
    pub(super) fn entry(&self, index: usize) -> Option<Entry<'_>> {
        self.slot(index).entry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::OwnedEntry;

    /// A hash whose home in a segment of `buckets` is `bucket`, told apart by `n`.
    fn hash_in(bucket: usize, buckets: usize, n: u64) -> u64 {
        ((((bucket as u64) << 32) / buckets as u64 + 1) << 32) | n
    }

    fn slot(hash: u64) -> Slot {
        Slot::new(OwnedEntry::string(&hash.to_le_bytes(), b"", None, 0), Tag::new(hash, 0))
    }

    fn found(segment: &Segment, hash: u64) -> Option<usize> {
        segment.find(hash, Tag::new(hash, 0), &hash.to_le_bytes())
    }

    fn check_displacement(segment: &Segment) {
        for bucket in 0..segment.buckets() {
            let displaced = segment.at_home_in(bucket).any(|(index, _)| index / BUCKET_SLOTS != bucket);
            assert!(
                !displaced || segment.buckets[bucket].vacancy().is_none(),
                "displaced from a bucket with room"
            );
        }
    }

    #[test]
    fn overflow_shifts_through_full_neighbours_and_back() {
        let mut segment = Segment::new(4, 0, 0);
        let mut hashes = Vec::new();
        for bucket in [3, 0, 1] {
            for n in 0..16 {
                hashes.push(hash_in(bucket, 4, n));
            }
        }
        hashes.push(hash_in(3, 4, 16)); // its neighbours 0 and 1 are full: two entries shift
        for &hash in &hashes {
            assert!(segment.insert(hash, slot(hash)).is_ok());
            check_displacement(&segment);
        }
        for &hash in &hashes {
            let index = found(&segment, hash).expect("inserted");
            segment.remove(index);
            check_displacement(&segment);
            assert_eq!(found(&segment, hash), None);
        }
        assert_eq!(segment.len(), 0);
    }

    #[test]
    fn a_home_and_its_neighbour_full_of_it_refuse_more() {
        for buckets in [1, 2, 4] {
            let mut segment = Segment::new(buckets, 0, 0);
            let reach = buckets.min(2) * BUCKET_SLOTS;
            for n in 0..reach as u64 {
                assert!(segment.insert(hash_in(0, buckets, n), slot(n)).is_ok());
            }
            assert!(segment.insert(hash_in(0, buckets, 99), slot(99)).is_err());
            assert_eq!(segment.len(), reach);
        }
    }

    #[test]
    fn first_hash_bounds_each_home() {
        for buckets in SIZES {
            for (prefix, depth) in [(0, 0), (5, 3), (7, 3), ((1 << 20) - 1, 20)] {
                let segment = Segment::new(buckets, prefix, depth);
                for bucket in 0..buckets {
                    let first = segment.first_hash(bucket);
                    assert_eq!(segment.home(first as u64), bucket);
                    if bucket > 0 {
                        assert_eq!(segment.home(first as u64 - 1), bucket - 1);
                    }
                }
                assert_eq!(segment.first_hash(buckets), u128::from(prefix + 1) << (64 - depth));
            }
        }
    }

    #[test]
    fn sizes_leave_a_fifth_free_for_what_they_were_chosen_for() {
        assert_eq!([0, 12, 13, 26].map(buckets_for), [1, 1, 2, 4]);
        assert_eq!(buckets_for(460), 39);
        assert_eq!(buckets_for(10_000), BUCKETS_MAX);
    }
}

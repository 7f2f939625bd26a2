//! Eight bytes that own an entry: its pointer, and a 16-bit tag in the bits that addresses don't use.
//!
//! - A slot is empty (null) or owns exactly one entry, which it frees when dropped; it moves, and is never copied.
//! - Tag: bit 15 "displaced to the bucket after its home", bits 9..15 the low bits of the key's hash slot,
//!   bits 0..9 the low bits of its hash.
#![expect(unsafe_code, reason = "pointer and tag share a word: half the memory of two")]

use std::ptr::NonNull;

use crate::entry::{Entry, OwnedEntry};

const POINTER_BITS: u32 = 48;
const POINTER_MASK: usize = (1 << POINTER_BITS) - 1;
const DISPLACED: usize = 1 << 63;
const HASH_BITS: u32 = 9;

/// The hash bits that a tag keeps.
pub(crate) const TAG_HASH_MASK: u64 = (1 << HASH_BITS) - 1;
/// Hash slots in a group: as many as a tag can tell apart.
pub(crate) const GROUP_SLOTS: u16 = 64;

/// What a slot says about its entry without touching it, in the place where a slot holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(usize);

impl Tag {
    /// The tag of an entry in its home bucket.
    #[inline(always)]
    pub(super) fn new(hash: u64, slot: u16) -> Tag {
        let slot = usize::from(slot % GROUP_SLOTS) << HASH_BITS;
        Tag((slot | (hash & TAG_HASH_MASK) as usize) << POINTER_BITS)
    }

    #[inline(always)]
    pub(super) fn displaced(self) -> Tag {
        Tag(self.0 | DISPLACED)
    }

    #[inline(always)]
    pub(super) fn at_home(self) -> Tag {
        Tag(self.0 & !DISPLACED)
    }

    pub(super) fn is_displaced(self) -> bool {
        self.0 & DISPLACED != 0
    }

    pub(super) fn slot_in_group(self) -> u16 {
        (self.0 >> (POINTER_BITS + HASH_BITS)) as u16 % GROUP_SLOTS
    }

    /// The bits under [`TAG_HASH_MASK`].
    pub(super) fn hash_bits(self) -> u64 {
        (self.0 >> POINTER_BITS) as u64 & TAG_HASH_MASK
    }
}

/// An entry's place in a bucket; see the module.
#[repr(transparent)]
pub(super) struct Slot(*mut u8);

const _: () = assert!(size_of::<Slot>() == 8 && size_of::<usize>() == 8, "tags need 64-bit words");

// SAFETY: a slot is the only owner of its entry, which may move between threads.
unsafe impl Send for Slot {}

impl Slot {
    pub(super) const EMPTY: Slot = Slot(std::ptr::null_mut());

    pub(super) fn new(entry: OwnedEntry, tag: Tag) -> Slot {
        let start = entry.into_raw();
        assert!(start.addr().get() & !POINTER_MASK == 0, "allocation at {start:p}, beyond 48 bits");
        Slot(start.as_ptr().map_addr(|addr| addr | tag.0))
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_null()
    }

    pub(super) fn tag(&self) -> Tag {
        Tag(self.0.addr() & !POINTER_MASK)
    }

    pub(super) fn set_tag(&mut self, tag: Tag) {
        assert!(!self.is_empty(), "an empty slot has no tag");
        self.0 = self.0.map_addr(|addr| addr & POINTER_MASK | tag.0);
    }

    #[inline(always)]
    fn start(&self) -> Option<NonNull<u8>> {
        NonNull::new(self.0.map_addr(|addr| addr & POINTER_MASK))
    }

    #[inline(always)]
    pub(super) fn entry(&self) -> Option<Entry<'_>> {
        // SAFETY: a pointer in a slot comes from `into_raw`, and &self keeps it from being taken or changed.
        self.start().map(|start| unsafe { Entry::from_raw(start) })
    }

    /// Leaves the slot empty.
    pub(super) fn take(&mut self) -> Slot {
        std::mem::replace(self, Slot::EMPTY)
    }

    /// Takes the entry out, leaving the slot empty.
    pub(super) fn take_entry(&mut self) -> Option<OwnedEntry> {
        let start = self.start()?;
        self.0 = std::ptr::null_mut();
        // SAFETY: the pointer comes from `into_raw`, and the slot has just forgotten it.
        Some(unsafe { OwnedEntry::from_raw(start) })
    }

    /// Lends the entry, which may move while it is changed.
    pub(super) fn update<R>(&mut self, change: impl FnOnce(&mut OwnedEntry) -> R) -> R {
        let tag = self.tag();
        let mut entry = self.take_entry().expect("positions are those of entries");
        let result = change(&mut entry);
        *self = Slot::new(entry, tag);
        result
    }

    /// Asks the processor to have the entry's first cache line at hand; its second is fetched along with it.
    #[inline(always)]
    pub(super) fn prefetch(&self) {
        let entry = self.0.map_addr(|addr| addr & POINTER_MASK);
        prefetch(entry);
        // A small value lies behind the key, mostly in the next line.
        prefetch(entry.wrapping_byte_add(LINE_BYTES));
    }
}

impl Drop for Slot {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.is_empty() {
            drop(self.take_entry());
        }
    }
}

/// A bit for each of the slots whose tag is this one; an empty slot's may be, if the tag is all zero.
#[inline(always)]
pub(super) fn matching(slots: &[Slot; 16], tag: Tag) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{
            __m128, __m128i, _mm_castps_si128, _mm_cmpeq_epi16, _mm_loadu_ps, _mm_movemask_epi8,
            _mm_packs_epi16, _mm_packs_epi32, _mm_set1_epi16, _mm_shuffle_ps, _mm_srai_epi32,
        };
        let words: *const f32 = slots.as_ptr().cast();
        // SAFETY: SSE2 is part of x86-64; 64 words of four bytes are what 16 slots take, and a load may be unaligned.
        unsafe {
            // The upper halves of four slots, and of those the tags, as signed numbers that packing leaves as they are.
            let four = |at: usize| -> __m128i {
                let (two, more): (__m128, __m128) =
                    (_mm_loadu_ps(words.add(4 * at)), _mm_loadu_ps(words.add(4 * at + 4)));
                _mm_srai_epi32::<16>(_mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(two, more)))
            };
            let tag = _mm_set1_epi16((tag.0 >> POINTER_BITS) as i16);
            let low = _mm_cmpeq_epi16(_mm_packs_epi32(four(0), four(2)), tag);
            let high = _mm_cmpeq_epi16(_mm_packs_epi32(four(4), four(6)), tag);
            _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let equal = |slot: &Slot| (slot.0.addr() ^ tag.0) & !POINTER_MASK == 0;
        slots.iter().enumerate().fold(0, |bits, (index, slot)| bits | u32::from(equal(slot)) << index)
    }
}

/// A cache line.
const LINE_BYTES: usize = 64;

/// Hints that the line at `address` will be read soon. Any address will do.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    // SAFETY: a prefetch never faults and has no effect but on caches; SSE is part of x86-64.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

//! One key with its value: a single heap allocation for small values, and a reference to it.
//!
//! ```text
//! byte 0      flags: bits 0..3 type (a `Kind`), EXPIRES, BOXED, RAW, MARK
//! byte 1..4   access clock, 24 bits, little-endian (see `clock`)
//! byte 4..    key length, varint; value length, varint (absent when BOXED)
//!             expiry, 8 bytes little-endian, ms of Unix time (only when EXPIRES)
//!             key
//!             value; when BOXED, an unaligned pointer to a `Boxed`
//! ```
//!
//! - [`OwnedEntry`] owns the allocation, [`Entry`] borrows it; neither is ever shared between threads.
//! - The size of the allocation follows from the header alone, so whatever changes the header's lengths either
//!   keeps the rounded size or moves to a new allocation.
//! - The header of a small entry takes 6 bytes: a key of 16 and a value of 64 bytes fill 86 of an allocator's
//!   96-byte class, and still fit it with an expiry (94).
//!
//! This is the one place, with `table::slot`, that knows the memory behind an entry.
#![expect(unsafe_code, reason = "entries are laid out by hand: one allocation a key is the point of them")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use crate::table::prefetch;
use crate::value::{Collection, Hash, Kind, List, Set, SortedSet, Stream, Value, canonical_i64};

/// Values up to this many bytes lie inside the entry. Longer ones have a buffer of their own, so that growing them is
/// amortised and changing them does not move the key; their extra 64 bytes are then below a tenth of the value.
pub(crate) const INLINE_VALUE_BYTES_MAX: usize = 1024;

/// What the access clock of a new frequency-counted key starts at, as in Redis: so that it isn't the first to go.
const FREQUENCY_INITIAL: u8 = 5;

const TYPE_MASK: u8 = 0b0000_0111;
const TYPE_STRING: u8 = Kind::String as u8;
const EXPIRES: u8 = 0b0000_1000;
const BOXED: u8 = 0b0001_0000;
const RAW: u8 = 0b0010_0000;
const MARK: u8 = 0b0100_0000;

const CLOCK_AT: usize = 1;
const LENGTHS_AT: usize = 4;
const EXPIRY_BYTES: usize = 8;
const POINTER_BYTES: usize = size_of::<*mut Boxed>();
/// Sizes are multiples of this, as every allocator's classes are: what differs by less is changed in place.
const GRANULE: usize = 16;
/// An entry is read byte by byte or unaligned. Asking for more would cost: mimalloc 3 adds `ALIGN - 1` bytes to every
/// size that is not a power of two, which makes 112 of 96.
const ALIGN: usize = 1;

/// A value that does not lie in its entry.
enum Boxed {
    String(Vec<u8>),
    Collection(Collection),
}

const _: () = assert!(size_of::<Boxed>() == 32, "an allocator's size class, and what small collections cost");

/// How a key's use is counted in its access clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// The second of the last access: what LRU policies and `OBJECT IDLETIME` need.
    #[default]
    Recency,
    /// A decaying logarithmic counter: what LFU policies and `OBJECT FREQ` need.
    Frequency,
}

/// The 24 bits that an entry keeps about its use.
///
/// With [`Access::Recency`] they are seconds modulo 2^24, with [`Access::Frequency`] the low 16 bits of the minute
/// of the last decay and an 8-bit logarithmic counter.
pub(crate) mod clock {
    use super::{Access, FREQUENCY_INITIAL};

    const MASK: u32 = 0x00ff_ffff;
    /// Accesses to go from one count to the next grow by this factor per count (Redis's `lfu-log-factor`).
    const LOG_FACTOR: u64 = 10;

    /// The clock of a key that is created now.
    pub(crate) fn created(access: Access, now_ms: u64) -> u32 {
        match access {
            Access::Recency => seconds(now_ms),
            Access::Frequency => minutes(now_ms) << 8 | u32::from(FREQUENCY_INITIAL),
        }
    }

    /// The clock after an access now; `random` decides whether the logarithmic counter moves.
    pub(crate) fn touched(access: Access, clock: u32, now_ms: u64, random: impl FnOnce() -> u64) -> u32 {
        match access {
            Access::Recency => seconds(now_ms),
            Access::Frequency => {
                let count = frequency(clock, now_ms);
                let base = u64::from(count.saturating_sub(FREQUENCY_INITIAL));
                let moves = count < u8::MAX && random().is_multiple_of(base * LOG_FACTOR + 1);
                minutes(now_ms) << 8 | u32::from(count + u8::from(moves))
            }
        }
    }

    /// The clock of a key that was used so long ago, or so often; none if that isn't what is counted.
    pub(crate) fn used(
        access: Access,
        now_ms: u64,
        idle_seconds: Option<u64>,
        frequency: Option<u8>,
    ) -> Option<u32> {
        match access {
            Access::Recency => {
                let idle = u32::try_from(idle_seconds?).unwrap_or(MASK).min(MASK);
                Some(seconds(now_ms).wrapping_sub(idle) & MASK)
            }
            Access::Frequency => Some(minutes(now_ms) << 8 | u32::from(frequency?)),
        }
    }

    /// Seconds since the last access.
    pub(crate) fn idle_seconds(clock: u32, now_ms: u64) -> u64 {
        u64::from(seconds(now_ms).wrapping_sub(clock) & MASK)
    }

    /// The counter, less one for each minute since it last decayed.
    pub(crate) fn frequency(clock: u32, now_ms: u64) -> u8 {
        let idle_minutes = minutes(now_ms).wrapping_sub(clock >> 8) & 0xffff;
        let count = (clock & 0xff) as u8;
        count.saturating_sub(u8::try_from(idle_minutes).unwrap_or(u8::MAX))
    }

    fn seconds(now_ms: u64) -> u32 {
        (now_ms / 1000) as u32 & MASK
    }

    fn minutes(now_ms: u64) -> u32 {
        (now_ms / 60_000) as u32 & 0xffff
    }
}

/// A key with its value, borrowed from the store.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    start: NonNull<u8>,
    borrow: PhantomData<&'a [u8]>,
}

/// The sole owner of an entry's memory.
pub(crate) struct OwnedEntry {
    start: NonNull<u8>,
}

// SAFETY: an OwnedEntry is the only handle to its allocation, which holds plain bytes and a Vec.
unsafe impl Send for OwnedEntry {}

/// Where an entry's parts lie, as offsets from its start.
#[derive(Clone, Copy)]
struct Parts {
    flags: u8,
    expiry_at: usize,
    key_at: usize,
    key_len: usize,
    value_at: usize,
    /// Of the inline value; `POINTER_BYTES` when boxed.
    value_len: usize,
}

impl Parts {
    /// The layout of an entry yet to be written.
    fn plan(flags: u8, key_len: usize, value_len: usize) -> Parts {
        let boxed = flags & BOXED != 0;
        let lengths = varint_bytes(key_len) + if boxed { 0 } else { varint_bytes(value_len) };
        let expiry_at = LENGTHS_AT + lengths;
        let key_at = expiry_at + if flags & EXPIRES == 0 { 0 } else { EXPIRY_BYTES };
        let value_at = key_at + key_len;
        let value_len = if boxed { POINTER_BYTES } else { value_len };
        Parts { flags, expiry_at, key_at, key_len, value_at, value_len }
    }

    fn layout(self) -> Layout {
        let bytes = (self.value_at + self.value_len).next_multiple_of(GRANULE);
        Layout::from_size_align(bytes, ALIGN).expect("an entry is far below isize::MAX")
    }
}

const fn varint_bytes(n: usize) -> usize {
    let bits = usize::BITS - (n | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// # Safety
/// `start` points to an initialised entry.
#[inline(always)]
unsafe fn parts(start: NonNull<u8>) -> Parts {
    // SAFETY: by the caller's promise the header lies there, and its varints end within it.
    unsafe {
        let flags = start.read();
        let (key_len, at) = varint(start, LENGTHS_AT);
        let (value_len, expiry_at) = if flags & BOXED == 0 { varint(start, at) } else { (POINTER_BYTES, at) };
        let key_at = expiry_at + if flags & EXPIRES == 0 { 0 } else { EXPIRY_BYTES };
        Parts { flags, expiry_at, key_at, key_len, value_at: key_at + key_len, value_len }
    }
}

/// # Safety
/// A whole varint lies at `start + at`, inside one allocation.
#[inline(always)]
unsafe fn varint(start: NonNull<u8>, mut at: usize) -> (usize, usize) {
    // SAFETY: the bytes up to the first without its high bit are the varint's.
    unsafe {
        let first = start.add(at).read();
        if first < 0x80 {
            return (usize::from(first), at + 1);
        }
        let mut n = usize::from(first & 0x7f);
        let mut shift = 7;
        loop {
            at += 1;
            let byte = start.add(at).read();
            n |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return (n, at + 1);
            }
            shift += 7;
        }
    }
}

/// # Safety
/// `varint_bytes(n)` bytes are writable at `start + at`.
unsafe fn write_varint(start: NonNull<u8>, mut at: usize, mut n: usize) -> usize {
    // SAFETY: writes exactly varint_bytes(n) bytes, which the caller vouches for.
    unsafe {
        while n >= 0x80 {
            start.add(at).write(n as u8 | 0x80);
            n >>= 7;
            at += 1;
        }
        start.add(at).write(n as u8);
    }
    at + 1
}

impl<'a> Entry<'a> {
    #[inline(always)]
    fn parts(self) -> Parts {
        // SAFETY: an Entry only exists for an initialised entry that outlives 'a.
        unsafe { parts(self.start) }
    }

    #[inline(always)]
    fn bytes(self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: callers pass offsets from `parts`, which lie in the allocation; it's borrowed for 'a.
        unsafe { std::slice::from_raw_parts(self.start.add(at).as_ptr(), len) }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        let parts = self.parts();
        self.bytes(parts.key_at, parts.key_len)
    }

    /// The value.
    pub fn value(&self) -> Value<'a> {
        match self.collection() {
            Some(collection) => collection.value(),
            None => Value::String(self.string_bytes(self.parts())),
        }
    }

    /// The value, if it is a string.
    #[inline]
    pub fn string(&self) -> Option<&'a [u8]> {
        let parts = self.parts();
        if parts.flags & TYPE_MASK != TYPE_STRING {
            return None;
        }
        Some(self.string_bytes(parts))
    }

    #[inline(always)]
    fn string_bytes(self, parts: Parts) -> &'a [u8] {
        if parts.flags & BOXED == 0 {
            return self.bytes(parts.value_at, parts.value_len);
        }
        match self.boxed(parts) {
            Boxed::String(value) => value,
            Boxed::Collection(_) => &[],
        }
    }

    /// The value, if it is a list.
    pub fn list(&self) -> Option<&'a List> {
        match self.value() {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The value, if it is a hash.
    pub fn hash(&self) -> Option<&'a Hash> {
        match self.value() {
            Value::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    /// The value, if it is a set.
    pub fn set(&self) -> Option<&'a Set> {
        match self.value() {
            Value::Set(set) => Some(set),
            _ => None,
        }
    }

    /// The value, if it is a sorted set.
    pub fn sorted_set(&self) -> Option<&'a SortedSet> {
        match self.value() {
            Value::SortedSet(set) => Some(set),
            _ => None,
        }
    }

    /// The value, if it is a stream.
    pub fn stream(&self) -> Option<&'a Stream> {
        match self.value() {
            Value::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn collection(self) -> Option<&'a Collection> {
        let parts = self.parts();
        if parts.flags & TYPE_MASK == TYPE_STRING {
            return None;
        }
        match self.boxed(parts) {
            Boxed::Collection(collection) => Some(collection),
            Boxed::String(_) => None,
        }
    }

    fn boxed(self, parts: Parts) -> &'a Boxed {
        assert!(parts.flags & BOXED != 0, "an inline entry has no boxed value: flags {:#x}", parts.flags);
        // SAFETY: BOXED says that the bytes at value_at are a pointer made by Box::into_raw, owned by this entry, and
        // nothing changes it while the entry is borrowed.
        unsafe { &*self.start.add(parts.value_at).cast::<*mut Boxed>().read_unaligned() }
    }

    /// Asks the processor to have the head of a collection at hand.
    pub(crate) fn prefetch_collection(self) {
        let parts = self.parts();
        if parts.flags & TYPE_MASK != TYPE_STRING {
            prefetch(self.boxed(parts));
        }
    }

    /// Asks the processor to have a collection's elements at hand, or what leads to them.
    pub(crate) fn prefetch_elements(self) {
        /// Of a small collection, as many as its elements are likely to be in; the processor sees by itself what follows.
        const LINES: usize = 2;
        const LINE_BYTES: usize = 64;
        if let Some(collection) = self.collection() {
            let address = collection.elements_address();
            (0..LINES).for_each(|line| prefetch(address.wrapping_add(line * LINE_BYTES)));
        }
    }

    /// The type's name, as `TYPE` answers.
    pub fn kind(&self) -> &'static str {
        self.value().kind().name()
    }

    /// The encoding's name, as `OBJECT ENCODING` answers. Of strings: `int` for what reads and prints as the same 64-bit
    /// integer, `embstr` up to 44 bytes, `raw` beyond and after a change in place.
    pub fn encoding(&self) -> &'static str {
        const EMBEDDED_BYTES_MAX: usize = 44;
        if let Some(collection) = self.collection() {
            return collection.encoding();
        }
        let parts = self.parts();
        let value = self.string_bytes(parts);
        if parts.flags & RAW != 0 {
            "raw"
        } else if canonical_i64(value).is_some() {
            "int"
        } else if value.len() <= EMBEDDED_BYTES_MAX {
            "embstr"
        } else {
            "raw"
        }
    }

    /// As what the value is stored, beyond what it asks for by itself: for [`Store::keep_form`](crate::Store::keep_form).
    pub fn form(&self) -> u8 {
        match self.collection() {
            Some(collection) => collection.form(),
            None => u8::from(self.parts().flags & RAW != 0),
        }
    }

    /// Absolute expiry, ms of Unix time.
    #[inline]
    pub fn expire_at_ms(&self) -> Option<u64> {
        let parts = self.parts();
        if parts.flags & EXPIRES == 0 {
            return None;
        }
        let mut bytes = [0; EXPIRY_BYTES];
        bytes.copy_from_slice(self.bytes(parts.expiry_at, EXPIRY_BYTES));
        Some(u64::from_le_bytes(bytes))
    }

    /// Whether the key's time has passed. At its very millisecond a key still exists, as in Redis.
    #[inline]
    pub(crate) fn is_expired(self, now_ms: u64) -> bool {
        #[cfg(feature = "planted")]
        let now_ms = if crate::planted::planted().expire_late { now_ms.saturating_sub(10) } else { now_ms };
        self.expire_at_ms().is_some_and(|at| now_ms > at)
    }

    /// Seconds since the last access; meaningful under [`Access::Recency`].
    pub fn idle_seconds(&self, now_ms: u64) -> u64 {
        clock::idle_seconds(self.clock(), now_ms)
    }

    /// Logarithmic access counter; meaningful under [`Access::Frequency`].
    pub fn frequency(&self, now_ms: u64) -> u8 {
        clock::frequency(self.clock(), now_ms)
    }

    /// Bytes of memory asked of the allocator for key and value, without the table's part.
    pub fn memory_bytes(&self) -> usize {
        let parts = self.parts();
        let boxed = if parts.flags & BOXED == 0 {
            0
        } else {
            match self.boxed(parts) {
                Boxed::String(value) => size_of::<Boxed>() + value.capacity(),
                Boxed::Collection(collection) => size_of::<Boxed>() + collection.memory_bytes(),
            }
        };
        parts.layout().size() + boxed
    }

    pub(crate) fn clock(self) -> u32 {
        let bytes = self.bytes(CLOCK_AT, 3);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0])
    }

    /// A mark that the expiry wheel keeps per key.
    pub(crate) fn mark(self) -> bool {
        self.bytes(0, 1)[0] & MARK != 0
    }

    /// # Safety
    /// `start` comes from `OwnedEntry::into_raw` and stays valid and unchanged for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(start: NonNull<u8>) -> Entry<'a> {
        Entry { start, borrow: PhantomData }
    }
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key().escape_ascii().to_string())
            .field("kind", &self.kind())
            .field("expire_at_ms", &self.expire_at_ms())
            .finish()
    }
}

impl OwnedEntry {
    /// A string entry. `clock` is what [`clock::created`] gives.
    pub(crate) fn string(key: &[u8], value: &[u8], expire_at_ms: Option<u64>, clock: u32) -> OwnedEntry {
        let mut flags = TYPE_STRING;
        flags |= if expire_at_ms.is_some() { EXPIRES } else { 0 };
        if value.len() <= INLINE_VALUE_BYTES_MAX {
            let parts = Parts::plan(flags, key.len(), value.len());
            let mut entry = OwnedEntry::write_head(parts, key, expire_at_ms, clock);
            entry.bytes_mut(parts.value_at, value.len()).copy_from_slice(value);
            entry
        } else {
            OwnedEntry::with_boxed(flags, key, Box::new(Boxed::String(value.to_vec())), expire_at_ms, clock)
        }
    }

    /// An entry with a collection, without an expiry.
    pub(crate) fn with_collection(key: &[u8], collection: Collection, clock: u32) -> OwnedEntry {
        let flags = collection.kind() as u8;
        OwnedEntry::with_boxed(flags, key, Box::new(Boxed::Collection(collection)), None, clock)
    }

    fn with_boxed(
        flags: u8,
        key: &[u8],
        value: Box<Boxed>,
        expire_at_ms: Option<u64>,
        clock: u32,
    ) -> OwnedEntry {
        let parts = Parts::plan(flags | BOXED, key.len(), 0);
        let entry = OwnedEntry::write_head(parts, key, expire_at_ms, clock);
        // SAFETY: `plan` left POINTER_BYTES at value_at, inside the new allocation.
        unsafe { entry.start.add(parts.value_at).cast::<*mut Boxed>().write_unaligned(Box::into_raw(value)) };
        entry
    }

    /// Allocates, and writes everything but the value, whose bytes are zero so that the entry is initialised.
    fn write_head(parts: Parts, key: &[u8], expire_at_ms: Option<u64>, clock: u32) -> OwnedEntry {
        let layout = parts.layout();
        // SAFETY: the layout's size is never 0; the offsets of `parts` are in order and end within it, by `plan`.
        unsafe {
            let Some(start) = NonNull::new(alloc(layout)) else { handle_alloc_error(layout) };
            start.write(parts.flags);
            start.add(CLOCK_AT).cast::<[u8; 4]>().write_unaligned(clock.to_le_bytes());
            let mut at = write_varint(start, LENGTHS_AT, key.len());
            if parts.flags & BOXED == 0 {
                at = write_varint(start, at, parts.value_len);
            }
            assert!(at == parts.expiry_at, "header of {at} bytes where {} were planned", parts.expiry_at);
            if let Some(expire_at_ms) = expire_at_ms {
                start.add(at).cast::<[u8; EXPIRY_BYTES]>().write_unaligned(expire_at_ms.to_le_bytes());
            }
            start.add(parts.key_at).copy_from_nonoverlapping(NonNull::from(key).cast(), key.len());
            start.add(parts.value_at).write_bytes(0, layout.size() - parts.value_at);
            OwnedEntry { start }
        }
    }

    pub(crate) fn as_ref(&self) -> Entry<'_> {
        Entry { start: self.start, borrow: PhantomData }
    }

    fn bytes_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        // SAFETY: callers pass offsets from this entry's `parts`; &mut self makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at).as_ptr(), len) }
    }

    fn boxed_mut(&mut self) -> Option<&mut Boxed> {
        let parts = self.as_ref().parts();
        if parts.flags & BOXED == 0 {
            return None;
        }
        // SAFETY: BOXED says that a pointer from Box::into_raw lies there, owned by this entry; &mut self is exclusive.
        Some(unsafe { &mut *self.start.add(parts.value_at).cast::<*mut Boxed>().read_unaligned() })
    }

    pub(crate) fn collection_mut(&mut self) -> Option<&mut Collection> {
        match self.boxed_mut()? {
            Boxed::Collection(collection) => Some(collection),
            Boxed::String(_) => None,
        }
    }

    /// Takes out a collection that would take long to free, for whoever frees it slice by slice. What is left is empty, and
    /// fit for nothing but to be replaced or dropped.
    #[inline]
    pub(crate) fn take_heavy(&mut self) -> Option<Collection> {
        if self.as_ref().parts().flags & TYPE_MASK == TYPE_STRING {
            return None;
        }
        let collection = self.collection_mut().filter(|collection| collection.is_heavy())?;
        let empty = Collection::new(collection.kind());
        Some(std::mem::replace(collection, empty))
    }

    /// Stores a string as one that has been changed in place.
    pub(crate) fn set_raw(&mut self) {
        self.bytes_mut(0, 1)[0] |= RAW;
    }

    pub(crate) fn set_clock(&mut self, clock: u32) {
        self.bytes_mut(CLOCK_AT, 3).copy_from_slice(&clock.to_le_bytes()[..3]);
    }

    pub(crate) fn set_mark(&mut self, mark: bool) {
        let flags = &mut self.bytes_mut(0, 1)[0];
        *flags = *flags & !MARK | if mark { MARK } else { 0 };
    }

    /// Replaces value, expiry and clock of a string, in place where the allocation has the right size already.
    pub(crate) fn replace(&mut self, value: &[u8], expire_at_ms: Option<u64>, clock: u32) {
        let old = self.as_ref().parts();
        let flags = TYPE_STRING | if expire_at_ms.is_some() { EXPIRES } else { 0 };
        let new = Parts::plan(flags, old.key_len, value.len());
        let in_place = old.flags & (TYPE_MASK | BOXED) == TYPE_STRING
            && value.len() <= INLINE_VALUE_BYTES_MAX
            && old.key_at == new.key_at
            && old.expiry_at == new.expiry_at
            && old.layout() == new.layout();
        if !in_place {
            let mut entry = OwnedEntry::string(self.as_ref().key(), value, expire_at_ms, clock);
            entry.set_mark(self.as_ref().mark());
            *self = entry;
            return;
        }
        self.bytes_mut(0, 1)[0] = flags | old.flags & MARK;
        self.set_clock(clock);
        // SAFETY: the value length's varint ends where the old one did, since expiry_at has not moved.
        unsafe { write_varint(self.start, LENGTHS_AT + varint_bytes(old.key_len), value.len()) };
        if let Some(expire_at_ms) = expire_at_ms {
            self.bytes_mut(new.expiry_at, EXPIRY_BYTES).copy_from_slice(&expire_at_ms.to_le_bytes());
        }
        self.bytes_mut(new.value_at, value.len()).copy_from_slice(value);
    }

    /// Sets or removes the expiry; the value, its encoding and the clock stay.
    pub(crate) fn set_expiry(&mut self, expire_at_ms: Option<u64>) {
        let old = self.as_ref().parts();
        match expire_at_ms {
            Some(at) if old.flags & EXPIRES != 0 => {
                self.bytes_mut(old.expiry_at, EXPIRY_BYTES).copy_from_slice(&at.to_le_bytes());
            }
            None if old.flags & EXPIRES == 0 => {}
            _ => {
                let flags = old.flags & !EXPIRES | if expire_at_ms.is_some() { EXPIRES } else { 0 };
                self.rebuild(flags, expire_at_ms);
            }
        }
    }

    /// Moves to a new allocation with other flags; a boxed value moves along without being copied.
    fn rebuild(&mut self, flags: u8, expire_at_ms: Option<u64>) {
        let old = self.as_ref();
        let (old_parts, clock) = (old.parts(), old.clock());
        let value_len = if flags & BOXED == 0 { old_parts.value_len } else { 0 };
        let parts = Parts::plan(flags, old_parts.key_len, value_len);
        let mut entry = OwnedEntry::write_head(parts, old.key(), expire_at_ms, clock);
        if flags & BOXED == 0 {
            entry.bytes_mut(parts.value_at, value_len).copy_from_slice(old.string_bytes(old_parts));
            *self = entry;
        } else {
            // SAFETY: both places hold POINTER_BYTES for the pointer; the old entry is freed below without its value.
            unsafe {
                let value = self.start.add(old_parts.value_at).cast::<*mut Boxed>().read_unaligned();
                entry.start.add(parts.value_at).cast::<*mut Boxed>().write_unaligned(value);
                let old = ManuallyDrop::new(std::mem::replace(self, entry));
                dealloc(old.start.as_ptr(), old_parts.layout());
            }
        }
    }

    /// Writes `bytes` at `offset` of the string, with zeros in between where it was shorter, and marks it raw. Returns
    /// the new length.
    pub(crate) fn set_range(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let end = offset + bytes.len();
        let old = self.as_ref().parts();
        assert!(old.flags & TYPE_MASK == TYPE_STRING, "a range of a {}", self.as_ref().kind());
        let len = self.as_ref().string_bytes(old).len().max(end);
        if old.flags & BOXED == 0 {
            self.reserve_inline_or_box(old, len);
        }
        self.set_raw();
        if let Some(Boxed::String(value)) = self.boxed_mut() {
            write_range(value, offset, bytes, len);
        } else {
            let parts = self.as_ref().parts();
            assert!(
                parts.value_len == len,
                "inline value of {} bytes where {len} were made",
                parts.value_len
            );
            self.bytes_mut(parts.value_at, len)[offset..end].copy_from_slice(bytes);
        }
        len
    }

    /// Makes an inline value `len` bytes long, its new end zeroed, or gives it a buffer of its own when that is too long.
    fn reserve_inline_or_box(&mut self, old: Parts, len: usize) {
        if len == old.value_len {
            return;
        }
        let entry = self.as_ref();
        let (key, value, expire_at_ms, clock) =
            (entry.key(), entry.string_bytes(old), entry.expire_at_ms(), entry.clock());
        *self = if len <= INLINE_VALUE_BYTES_MAX {
            let parts = Parts::plan(old.flags, key.len(), len);
            let mut new = OwnedEntry::write_head(parts, key, expire_at_ms, clock);
            new.bytes_mut(parts.value_at, value.len()).copy_from_slice(value);
            new
        } else {
            let mut buffer = Vec::with_capacity(len);
            buffer.extend_from_slice(value);
            OwnedEntry::with_boxed(old.flags, key, Box::new(Boxed::String(buffer)), expire_at_ms, clock)
        };
    }

    pub(crate) fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).start
    }

    /// # Safety
    /// `start` comes from `into_raw`, and nobody else takes it back or uses it afterwards.
    pub(crate) unsafe fn from_raw(start: NonNull<u8>) -> OwnedEntry {
        OwnedEntry { start }
    }
}

/// Within a buffer that may be shorter than `len`, the length afterwards.
fn write_range(value: &mut Vec<u8>, offset: usize, bytes: &[u8], len: usize) {
    if offset == value.len() {
        value.extend_from_slice(bytes); // an append: grows by doubling, and writes each byte once
    } else {
        value.resize(len, 0);
        value[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}

impl Drop for OwnedEntry {
    fn drop(&mut self) {
        let parts = self.as_ref().parts();
        // SAFETY: this is the only owner; the pointer at value_at came from Box::into_raw and the memory from `alloc`
        // with the layout that the header still describes.
        unsafe {
            if parts.flags & BOXED != 0 {
                drop(Box::from_raw(self.start.add(parts.value_at).cast::<*mut Boxed>().read_unaligned()));
            }
            dealloc(self.start.as_ptr(), parts.layout());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + 1) as u8).collect()
    }

    #[test]
    fn small_entry_with_expiry_fits_96_bytes() {
        for expiry in [None, Some(u64::MAX)] {
            let entry = OwnedEntry::string(&[b'k'; 16], &[b'v'; 64], expiry, 0);
            assert_eq!(entry.as_ref().memory_bytes(), 96);
        }
    }

    #[test]
    fn every_combination_of_lengths_reads_back() {
        let lengths = [0, 1, 8, 127, 128, 512, 1023, 1024, 1025, 20_000];
        for key_len in lengths {
            for value_len in lengths {
                for expiry in [None, Some(0), Some(1_700_000_000_123)] {
                    let (key, value) = (filled(key_len), filled(value_len));
                    let entry = OwnedEntry::string(&key, &value, expiry, 0x00ab_cdef);
                    let entry = entry.as_ref();
                    assert_eq!((entry.key(), entry.string().unwrap()), (&key[..], &value[..]));
                    assert_eq!((entry.expire_at_ms(), entry.clock()), (expiry, 0x00ab_cdef));
                }
            }
        }
    }

    #[test]
    fn replacing_keeps_the_key_at_every_length() {
        let mut entry = OwnedEntry::string(b"key", b"", None, 1);
        for len in (0..300).chain([1024, 1025, 5000, 1024, 3, 2]) {
            for expiry in [Some(len as u64), None] {
                entry.replace(&filled(len), expiry, len as u32);
                let entry = entry.as_ref();
                assert_eq!((entry.key(), entry.string().unwrap()), (&b"key"[..], &filled(len)[..]));
                assert_eq!((entry.expire_at_ms(), entry.clock()), (expiry, len as u32));
            }
        }
    }

    #[test]
    fn expiry_comes_and_goes_without_touching_the_rest() {
        for len in [3, 5000] {
            let mut entry = OwnedEntry::string(b"key", &filled(len), None, 7);
            entry.set_range(0, b"X");
            for expiry in [Some(5), Some(6), None, None, Some(u64::MAX)] {
                entry.set_expiry(expiry);
                let entry = entry.as_ref();
                assert_eq!((entry.expire_at_ms(), entry.clock(), entry.encoding()), (expiry, 7, "raw"));
                assert_eq!(
                    (entry.key(), entry.string().unwrap()[0], entry.string().unwrap().len()),
                    (&b"key"[..], b'X', len)
                );
            }
        }
    }

    #[test]
    fn ranges_agree_with_a_vector() {
        let mut entry = OwnedEntry::string(b"k", b"abc", Some(9), 7);
        let mut model = b"abc".to_vec();
        for (offset, len) in
            [(0, 1), (3, 0), (5, 4), (0, 9), (9, 500), (509, 515), (1024, 1), (3000, 2), (3002, 9)]
        {
            let bytes = filled(len);
            let new_len = model.len().max(offset + len);
            model.resize(new_len, 0);
            model[offset..offset + len].copy_from_slice(&bytes);
            assert_eq!(entry.set_range(offset, &bytes), new_len);
            assert_eq!(
                (entry.as_ref().string().unwrap(), entry.as_ref().expire_at_ms()),
                (&model[..], Some(9))
            );
        }
    }

    #[test]
    fn encodings_are_those_of_redis() {
        let cases: [(&[u8], &str); 13] = [
            (b"0", "int"),
            (b"-1", "int"),
            (b"9223372036854775807", "int"),
            (b"-9223372036854775808", "int"),
            (b"9223372036854775808", "embstr"),
            (b"-0", "embstr"),
            (b"01", "embstr"),
            (b"+1", "embstr"),
            (b"1.0", "embstr"),
            (b"", "embstr"),
            (b"-", "embstr"),
            (&[b'x'; 44], "embstr"),
            (&[b'x'; 45], "raw"),
        ];
        for (value, encoding) in cases {
            assert_eq!(OwnedEntry::string(b"k", value, None, 0).as_ref().encoding(), encoding, "{value:?}");
        }
        let mut appended = OwnedEntry::string(b"k", b"1", None, 0);
        appended.set_range(1, b"2");
        assert_eq!(appended.as_ref().encoding(), "raw");
        appended.replace(b"12", None, 0);
        assert_eq!(appended.as_ref().encoding(), "int");
    }

    #[test]
    fn frequency_counts_and_decays() {
        let mut clock = clock::created(Access::Frequency, 0);
        for _ in 0..3 {
            clock = clock::touched(Access::Frequency, clock, 0, || 0);
        }
        assert_eq!(clock::frequency(clock, 0), 8);
        assert_eq!(clock::frequency(clock, 3 * 60_000), 5);
        assert_eq!(clock::frequency(clock, 300 * 60_000), 0);
    }
}

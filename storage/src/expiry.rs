//! Which keys to look at when their time has come.
//!
//! A hierarchical timing wheel of **hints**: a hint is eight bytes that name a group and most bits of a key's hash, in no
//! particular database. What expires, and when, stands in the entry alone; a hint only says where to look.
//!
//! - For every entry with an expiry there's a hint that comes due at most one tick after it. It may come due earlier:
//!   whoever looks then places it anew.
//! - A hint may be stale (its key deleted, persisted or overwritten) or a duplicate. Once stale ones outnumber the others
//!   the wheel is **renewed**: its hints move to a new wheel step by step, each entry's once. The entry's mark says
//!   that its hint is in the new wheel already; which value of the mark says so alternates.
//! - Moving an expiry to a later time adds no hint, so that a key whose life is prolonged at each use costs one.

use crate::table::TAG_HASH_MASK;

/// The resolution of active expiry.
const TICK_MS: u64 = 8;
const LEVEL_BITS: u32 = 6;
const LEVEL_SLOTS: usize = 1 << LEVEL_BITS;
/// Eleven hundred years of ticks; later expiries come up then, and are placed anew.
const LEVELS: usize = 7;
const TICK_BITS: u32 = LEVEL_BITS * LEVELS as u32;
/// Hints in a chunk: lists grow by chunks, so that none is ever copied as a whole.
const CHUNK: usize = 512;
/// Stale hints that are tolerated whatever the number of others.
const STALE_MIN: usize = 4096;

/// The bits of a hash that a hint keeps: all but those in whose place it has the group.
pub(crate) const HINT_HASH_MASK: u64 = !(0xff << GROUP_SHIFT);
const GROUP_SHIFT: u32 = 9;

const _: () = assert!(HINT_HASH_MASK & TAG_HASH_MASK == TAG_HASH_MASK, "a hint tells tags apart");

/// Where to look for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint(u64);

impl Hint {
    pub(crate) fn new(group: u8, hash: u64) -> Hint {
        Hint(hash & HINT_HASH_MASK | u64::from(group) << GROUP_SHIFT)
    }

    pub(crate) fn group(self) -> u8 {
        (self.0 >> GROUP_SHIFT) as u8
    }

    /// The key's hash, where [`HINT_HASH_MASK`] has ones.
    pub(crate) fn hash(self) -> u64 {
        self.0 & HINT_HASH_MASK
    }
}

/// A stack of hints in chunks.
#[derive(Default)]
struct Hints {
    full: Vec<Vec<Hint>>,
    last: Vec<Hint>,
}

impl Hints {
    fn push(&mut self, hint: Hint) {
        if self.last.len() == CHUNK {
            self.full.push(std::mem::take(&mut self.last));
        }
        self.last.push(hint);
    }

    fn pop(&mut self) -> Option<Hint> {
        if self.last.is_empty() {
            self.last = self.full.pop()?;
        }
        self.last.pop()
    }

    fn is_empty(&self) -> bool {
        self.last.is_empty() && self.full.is_empty()
    }

    fn len(&self) -> usize {
        self.full.len() * CHUNK + self.last.len()
    }

    fn nth(&self, nth: usize) -> Option<Hint> {
        self.full.get(nth / CHUNK).unwrap_or(&self.last).get(nth % CHUNK).copied()
    }

    fn iter(&self) -> impl Iterator<Item = Hint> {
        self.full.iter().flatten().chain(&self.last).copied()
    }

    fn memory_bytes(&self) -> usize {
        self.full.len() * (CHUNK * size_of::<Hint>() + size_of::<Vec<Hint>>())
            + self.last.capacity() * size_of::<Hint>()
    }
}

/// Levels of 64 slots: a slot of level *n* spans 64^n ticks. All hints of a level lie in slots after that of `current`,
/// and within the span of one slot of the level above; so the first slot of the lowest level is always next.
struct Wheel {
    current: u64,
    occupied: [u64; LEVELS],
    slots: Vec<Hints>,
    /// Taken from slots whose time has come.
    due: Hints,
    len: usize,
}

impl Wheel {
    fn new(now_ms: u64) -> Wheel {
        let mut slots = Vec::new();
        slots.resize_with(LEVELS * LEVEL_SLOTS, Hints::default);
        Wheel { current: now_ms / TICK_MS, occupied: [0; LEVELS], slots, due: Hints::default(), len: 0 }
    }

    fn place(&mut self, hint: Hint, expire_at_ms: u64) {
        let era_end = self.current | ((1 << TICK_BITS) - 1);
        // The first tick by which the key is expired, not merely at its last millisecond.
        let tick = (expire_at_ms / TICK_MS + 1).clamp(self.current + 1, era_end.max(self.current + 1));
        let level = ((tick ^ self.current).ilog2() / LEVEL_BITS).min(LEVELS as u32 - 1);
        let slot = (tick >> (level * LEVEL_BITS)) as usize % LEVEL_SLOTS;
        self.occupied[level as usize] |= 1 << slot;
        self.slots[level as usize * LEVEL_SLOTS + slot].push(hint);
        self.len += 1;
    }

    /// Level and slot of what comes due next, and its first tick.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&occupied| occupied != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = level as u32 * LEVEL_BITS;
        let block = self.current >> (shift + LEVEL_BITS) << (shift + LEVEL_BITS);
        Some((level, slot, block | (slot as u64) << shift))
    }

    fn take_due(&mut self, now_ms: u64) -> Option<Hint> {
        let now = now_ms / TICK_MS;
        loop {
            if let Some(hint) = self.due.pop() {
                self.len -= 1;
                return Some(hint);
            }
            let next = self.next_slot().filter(|&(_, _, tick)| tick <= now);
            let Some((level, slot, tick)) = next else {
                self.current = self.current.max(now);
                return None;
            };
            self.current = self.current.max(tick);
            self.occupied[level] &= !(1 << slot);
            self.due = std::mem::take(&mut self.slots[level * LEVEL_SLOTS + slot]);
        }
    }

    fn next_ms(&self) -> Option<u64> {
        if self.due.is_empty() { self.next_slot().map(|(_, _, tick)| tick * TICK_MS) } else { Some(0) }
    }

    fn memory_bytes(&self) -> usize {
        let lists: usize = self.slots.iter().map(Hints::memory_bytes).sum();
        lists + self.due.memory_bytes() + self.slots.capacity() * size_of::<Hints>()
    }
}

/// What comes out of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Look whether the key has expired; place it anew if it has only been given more time.
    Expired(Hint),
    /// The wheel is being renewed: look whether the key has an expiry, and unless it has the mark, place it anew.
    Renewed(Hint),
}

/// See the module.
#[derive(Default)]
pub(crate) struct ExpiryIndex {
    /// Allocated with the first expiry.
    wheel: Option<Wheel>,
    /// What is being renewed.
    old: Option<Wheel>,
    /// The mark of entries whose hint is in `wheel`, when they have one in `old` too.
    mark: bool,
    placed_since_check: usize,
}

impl ExpiryIndex {
    /// Adds a hint that comes due when the expiry has passed. The entry must carry [`ExpiryIndex::mark`] from now on.
    pub(crate) fn place(&mut self, hint: Hint, expire_at_ms: u64, now_ms: u64) {
        self.wheel.get_or_insert_with(|| Wheel::new(now_ms)).place(hint, expire_at_ms);
        self.placed_since_check += 1;
    }

    pub(crate) fn mark(&self) -> bool {
        self.mark
    }

    /// Starts a renewal when most hints are stale, given how many entries have an expiry. Asks for that number only when
    /// enough hints have been added for it to matter.
    pub(crate) fn maybe_renew(&mut self, now_ms: u64, expiring: impl FnOnce() -> usize) {
        if self.placed_since_check < STALE_MIN || self.old.is_some() {
            return;
        }
        self.placed_since_check = 0;
        if self.wheel.as_ref().is_some_and(|wheel| wheel.len > 2 * expiring() + STALE_MIN) {
            self.old = self.wheel.replace(Wheel::new(now_ms));
            self.mark = !self.mark;
        }
    }

    /// The next hint to look at.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<Due> {
        if let Some(hint) = self.wheel.as_mut().and_then(|wheel| wheel.take_due(now_ms)) {
            return Some(Due::Expired(hint));
        }
        let hint = self.old.as_mut()?.take_due(u64::MAX);
        if hint.is_none() {
            self.old = None;
        }
        hint.map(Due::Renewed)
    }

    fn lists(&self) -> impl Iterator<Item = &Hints> {
        self.wheel.iter().chain(&self.old).flat_map(|wheel| std::iter::once(&wheel.due).chain(&wheel.slots))
    }

    /// Any hint, each as likely as the others; it may be stale.
    pub(crate) fn sample(&self, random: u64) -> Option<Hint> {
        let len: usize = self.wheel.iter().chain(&self.old).map(|wheel| wheel.len).sum();
        let mut nth = usize::try_from(random).unwrap_or(usize::MAX).checked_rem(len)?;
        for list in self.lists() {
            match nth.checked_sub(list.len()) {
                Some(rest) => nth = rest,
                None => return list.nth(nth),
            }
        }
        None
    }

    /// All hints, from some list on.
    pub(crate) fn hints_from(&self, from: usize) -> impl Iterator<Item = Hint> {
        let count = self.lists().count().max(1);
        let from = from % count;
        let (first, second) = (self.lists().skip(from), self.lists().take(from));
        first.chain(second).flat_map(Hints::iter)
    }

    /// When [`ExpiryIndex::take_due`] will have something next, ms of Unix time; 0 when it has already.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        if self.old.is_some() { Some(0) } else { self.wheel.as_ref()?.next_ms() }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.wheel.iter().chain(&self.old).map(Wheel::memory_bytes).sum()
    }

    #[cfg(test)]
    pub(crate) fn hints(&self) -> usize {
        self.wheel.iter().chain(&self.old).map(|wheel| wheel.len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(wheel: &mut Wheel, now_ms: u64) -> Vec<u64> {
        let mut hints: Vec<u64> = std::iter::from_fn(|| wheel.take_due(now_ms)).map(|hint| hint.0).collect();
        hints.sort_unstable();
        hints
    }

    proptest! {
        /// Fires each expiry as the store does: what comes early is placed anew.
        #[test]
        fn every_expiry_fires_within_a_tick_and_never_early(
            start in 0_u64..1 << 42,
            delays in prop::collection::vec((0_u32..45).prop_flat_map(|bits| 0_u64..1 << bits), 1..60),
            step in 1_u64..1 << 30,
        ) {
            let mut wheel = Wheel::new(start);
            let expiries: Vec<u64> = delays.iter().map(|delay| start + delay).collect();
            for (index, &expire_at_ms) in expiries.iter().enumerate() {
                wheel.place(Hint(index as u64), expire_at_ms);
            }
            let mut fired = vec![false; expiries.len()];
            let mut now = start;
            while let Some(next) = wheel.next_ms() {
                now = next.min(now + step).max(now);
                for index in taken(&mut wheel, now) {
                    let expire_at_ms = expiries[index as usize];
                    if now > expire_at_ms {
                        prop_assert!(!fired[index as usize]);
                        fired[index as usize] = true;
                        prop_assert!(now <= (expire_at_ms.max(start) / TICK_MS + 2) * TICK_MS);
                    } else {
                        wheel.place(Hint(index), expire_at_ms);
                    }
                }
                if now < next {
                    now = next; // steps far below the delays only show that nothing comes early
                }
            }
            prop_assert!(fired.iter().all(|&fired| fired));
            prop_assert_eq!(wheel.len, 0);
        }
    }

    #[test]
    fn hints_keep_group_and_hash() {
        let hash = 0xfedc_ba98_7654_3210;
        let hint = Hint::new(0xa5, hash);
        assert_eq!((hint.group(), hint.hash()), (0xa5, hash & HINT_HASH_MASK));
    }

    #[test]
    fn an_expiry_at_the_end_of_time_neither_fires_nor_overflows() {
        let mut wheel = Wheel::new(1_700_000_000_000);
        wheel.place(Hint(1), u64::MAX);
        assert!(taken(&mut wheel, 1_800_000_000_000).is_empty());
        assert!(wheel.next_ms().is_some_and(|next| next > 30_000_000_000_000));
    }

    #[test]
    fn a_clock_that_steps_back_delays_nothing_else() {
        let mut wheel = Wheel::new(1_000_000);
        assert!(taken(&mut wheel, 2_000_000).is_empty());
        wheel.place(Hint(1), 1_500_000);
        assert!(taken(&mut wheel, 1_000_000).is_empty());
        assert_eq!(taken(&mut wheel, 2_000_008), [1]);
    }

    #[test]
    fn many_hints_of_one_time_all_come() {
        let mut index = ExpiryIndex::default();
        for n in 0..10_000 {
            index.place(Hint::new(1, n << 17), 1000, 0);
        }
        assert_eq!(index.next_ms(), Some(512)); // the slot of the level above: cascades first
        let mut seen = 0;
        while let Some(Due::Expired(hint)) = index.take_due(600) {
            index.place(hint, 1000, 600);
            seen += 1;
        }
        assert_eq!((seen, index.next_ms()), (10_000, Some(1008)));
        assert_eq!(std::iter::from_fn(|| index.take_due(1008)).count(), 10_000);
        assert_eq!(index.next_ms(), None);
    }

    #[test]
    fn renewal_hands_out_every_hint_once_it_is_due() {
        let mut index = ExpiryIndex::default();
        for n in 0..10_000 {
            index.place(Hint::new(0, n << 17), 1 << 40, 0);
        }
        index.maybe_renew(0, || 10_000);
        assert_eq!((index.next_ms() == Some(0), index.mark()), (false, false));
        for n in 0..10_000 {
            index.place(Hint::new(0, n << 17), 1 << 40, 0);
        }
        index.maybe_renew(0, || 5_000);
        assert_eq!((index.next_ms(), index.mark()), (Some(0), true));
        let renewed = std::iter::from_fn(|| index.take_due(0)).filter(|due| matches!(due, Due::Renewed(_)));
        assert_eq!(renewed.count(), 20_000);
        assert_eq!((index.hints(), index.next_ms()), (0, None));
    }
}

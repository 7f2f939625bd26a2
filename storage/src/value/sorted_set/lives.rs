//! When members of a large sorted set expire, by the numbers of their slots. There is none of it before a member does.

use crate::schedule::Schedule;

/// Slots in one piece: half a kilobyte, for sorted sets of which few members expire.
const PIECE_SLOTS: usize = 64;
/// In place of a time: never.
const NEVER: u64 = u64::MAX;

type Piece = Box<[u64; PIECE_SLOTS]>;

/// See the module.
#[derive(Default)]
pub(super) struct Lives {
    /// The end of each slot's member, in pieces; no piece where none ends.
    ends: Vec<Option<Piece>>,
    /// The same in the order of time.
    schedule: Schedule,
}

impl Lives {
    /// When the member in a slot expires.
    pub(super) fn end(&self, slot: u32) -> Option<u64> {
        let piece = self.ends.get(slot as usize / PIECE_SLOTS)?.as_ref()?;
        Some(piece[slot as usize % PIECE_SLOTS]).filter(|end| *end != NEVER)
    }

    /// Says when.
    pub(super) fn set_end(&mut self, slot: u32, end: Option<u64>) {
        let end = end.filter(|end| *end != NEVER);
        let old = self.end(slot);
        if old == end {
            return;
        }
        let (index, within) = (slot as usize / PIECE_SLOTS, slot as usize % PIECE_SLOTS);
        if self.ends.len() <= index {
            self.ends.resize_with(index + 1, || None);
        }
        let piece = self.ends[index].get_or_insert_with(|| Box::new([NEVER; PIECE_SLOTS]));
        piece[within] = end.unwrap_or(NEVER);
        self.schedule.note(u64::from(slot), old, end);
    }

    /// The member in a slot is gone, and the one of the last slot takes its place; the last slot itself may be meant.
    pub(super) fn on_removed(&mut self, slot: u32, last: u32) {
        let moved = if slot == last { None } else { self.end(last) };
        self.set_end(last, None);
        self.set_end(slot, moved);
        if (last as usize).is_multiple_of(PIECE_SLOTS) {
            self.ends.truncate(last as usize / PIECE_SLOTS);
        }
    }

    /// When the first member expires.
    pub(super) fn first_ms(&self) -> Option<u64> {
        self.schedule.first_ms()
    }

    /// The slots of members whose time has passed, the first to pass first.
    pub(super) fn passed(&self, now_ms: u64) -> impl Iterator<Item = u32> {
        self.schedule.passed(now_ms).map(|slot| slot as u32)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Lives>()
            + self.ends.capacity() * size_of::<Option<Piece>>()
            + self.ends.iter().flatten().count() * size_of::<[u64; PIECE_SLOTS]>()
            + self.schedule.memory_bytes()
    }

    /// Frees up to `budget` entries of lives that nobody uses any more; returns what is left of the budget.
    pub(super) fn free(&mut self, budget: usize) -> usize {
        let mut budget = self.schedule.free(budget);
        while budget > 0 && self.ends.pop().is_some() {
            budget -= 1;
        }
        budget
    }

    pub(super) fn is_freed(&self) -> bool {
        self.schedule.is_empty() && self.ends.is_empty()
    }
}

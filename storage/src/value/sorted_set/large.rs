//! The large form: slots with member and score, an index by member, the order, and when members expire.
//!
//! - Slots have no gaps: when a member goes, the last one moves into its slot. So a slot chosen by chance is a member chosen by
//!   chance, and memory follows the number of members.
//! - A walk goes from the last slot to the first: what moves while it is under way moves to a slot that was yet to come, or has been
//!   seen.

use std::sync::Arc;

use super::index::Index;
use super::lives::Lives;
use super::order::{Item, Order, Place};
use crate::table::Hasher;
use crate::value::expiring::{Life, is_live};

/// Slots in one allocation, from the second on; the first grows as it's filled.
const CHUNK_SLOTS: usize = 512;

struct Slot {
    score: f64,
    member: Box<[u8]>,
}

/// The slots, in allocations that never move.
#[derive(Default)]
struct Slots {
    chunks: Vec<Vec<Slot>>,
    len: usize,
    /// Of all members.
    member_bytes: usize,
}

impl Slots {
    fn at(&self, slot: u32) -> &Slot {
        let slot = slot as usize;
        &self.chunks[slot / CHUNK_SLOTS][slot % CHUNK_SLOTS]
    }

    fn at_mut(&mut self, slot: u32) -> &mut Slot {
        let slot = slot as usize;
        &mut self.chunks[slot / CHUNK_SLOTS][slot % CHUNK_SLOTS]
    }

    fn member(&self, slot: u32) -> &[u8] {
        &self.at(slot).member
    }

    fn push(&mut self, slot: Slot) -> u32 {
        assert!(self.len < u32::MAX as usize - 1, "a sorted set of four thousand million members");
        if self.len.is_multiple_of(CHUNK_SLOTS) {
            let capacity = if self.len == 0 { 0 } else { CHUNK_SLOTS };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        self.member_bytes += slot.member.len();
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(slot);
        }
        self.len += 1;
        self.len as u32 - 1
    }

    fn pop(&mut self) -> Option<Slot> {
        let chunk = self.chunks.last_mut()?;
        let slot = chunk.pop()?;
        if chunk.is_empty() {
            self.chunks.pop();
        }
        self.len -= 1;
        self.member_bytes -= slot.member.len();
        Some(slot)
    }
}

/// See the module.
pub(super) struct Large {
    slots: Slots,
    index: Index,
    order: Order,
    /// Nothing as long as no member expires.
    lives: Option<Box<Lives>>,
    hasher: Arc<Hasher>,
}

impl Large {
    pub(super) fn new(hasher: &Arc<Hasher>) -> Large {
        Large {
            slots: Slots::default(),
            index: Index::new(),
            order: Order::new(),
            lives: None,
            hasher: Arc::clone(hasher),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len
    }

    fn find(&self, hash: u64, member: &[u8]) -> Option<u32> {
        self.index.find(hash, |slot| self.slots.member(slot) == member)
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        let slot = self.find(self.hasher.hash(member), member)?;
        Some(self.slots.at(slot).score)
    }

    pub(super) fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        Some(self.rank_of(Place { score, member }))
    }

    fn rank_of(&self, place: Place<'_>) -> usize {
        self.order.rank(place, &|slot| self.slots.member(slot))
    }

    /// How long a member lives, also of one whose time has passed.
    pub(super) fn life(&self, member: &[u8]) -> Life {
        self.find(self.hasher.hash(member), member).map_or(Life::Absent, |slot| self.end(slot).into())
    }

    #[inline]
    fn end(&self, slot: u32) -> Option<u64> {
        self.lives.as_ref()?.end(slot)
    }

    /// Sets a member's expiry, or takes it away. False if the member is absent or has none to take.
    pub(super) fn set_expiry(&mut self, member: &[u8], expire_at_ms: Option<u64>) -> bool {
        let Some(slot) = self.find(self.hasher.hash(member), member) else { return false };
        if self.end(slot).or(expire_at_ms).is_none() {
            return false;
        }
        self.lives.get_or_insert_default().set_end(slot, expire_at_ms);
        true
    }

    /// When the first member expires.
    pub(super) fn next_expiry_ms(&self) -> Option<u64> {
        self.lives.as_ref()?.first_ms()
    }

    /// A member whose time has passed.
    pub(super) fn first_lapsed(&self, now_ms: u64) -> Option<&[u8]> {
        let slot = self.lives.as_ref()?.passed(now_ms).next()?;
        Some(self.slots.member(slot))
    }

    /// The ranks of the members whose time has passed, ascending.
    pub(super) fn lapsed_ranks(&self, now_ms: u64) -> Vec<usize> {
        /// What finding a rank costs, in members passed over.
        const RANK_COST: usize = 16;
        let Some(lives) = self.lives.as_ref().filter(|lives| lives.first_ms().is_some_and(|at| at < now_ms))
        else {
            return Vec::new();
        };
        let slots: Vec<u32> = lives.passed(now_ms).collect();
        if slots.len() * RANK_COST > self.len() {
            let items = self.order.iter(0, self.len()).enumerate();
            let lapsed = items.filter(|(_, item)| !is_live(lives.end(item.slot), now_ms));
            return lapsed.map(|(rank, _)| rank).collect();
        }
        let place = |slot: u32| Place { score: self.slots.at(slot).score, member: self.slots.member(slot) };
        let mut ranks: Vec<usize> = slots.into_iter().map(|slot| self.rank_of(place(slot))).collect();
        ranks.sort_unstable();
        ranks
    }

    /// How many members, from the first on, are `before`.
    pub(super) fn partition(&self, before: &impl Fn(f64, &[u8]) -> bool) -> usize {
        self.order.partition(&|item: Item| before(item.score, self.slots.member(item.slot)))
    }

    /// Sets a member's score. True if the member is new or had another.
    pub(super) fn put(&mut self, member: &[u8], score: f64) -> bool {
        let hash = self.hasher.hash(member);
        let (slots, hasher) = (&mut self.slots, &self.hasher);
        let slot = if let Some(slot) = self.index.find(hash, |slot| slots.member(slot) == member) {
            let old = slots.at(slot).score;
            if old.to_bits() == score.to_bits() {
                return false;
            }
            self.order.remove(slot, Place { score: old, member }, &|slot| slots.member(slot));
            slots.at_mut(slot).score = score;
            slot
        } else {
            let slot = slots.push(Slot { score, member: member.into() });
            self.index.insert(hash, slot, |slot| hasher.hash(slots.member(slot)));
            slot
        };
        self.order.insert(Item { score, slot }, Place { score, member }, &|slot| slots.member(slot));
        true
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> bool {
        let hash = self.hasher.hash(member);
        let Some(slot) = self.find(hash, member) else { return false };
        let slots = &mut self.slots;
        let score = slots.at(slot).score;
        self.order.remove(slot, Place { score, member }, &|slot| slots.member(slot));
        self.index.remove(hash, slot);
        let last = slots.len as u32 - 1;
        if slot != last {
            let moved = slots.at(last);
            let place = Place { score: moved.score, member: &moved.member };
            self.order.renumber(last, slot, place, &|slot| slots.member(slot));
            self.index.renumber(self.hasher.hash(&moved.member), last, slot);
        }
        if let Some(moved) = slots.pop()
            && slot != last
        {
            slots.member_bytes += moved.member.len();
            let gone = std::mem::replace(slots.at_mut(slot), moved);
            slots.member_bytes -= gone.member.len();
        }
        if let Some(lives) = &mut self.lives {
            lives.on_removed(slot, last);
        }
        true
    }

    /// Members by rank, `start..end`; goes both ways.
    pub(super) fn iter(&self, start: usize, end: usize) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
        self.order.iter(start, end).map(|item| (self.slots.member(item.slot), item.score))
    }

    /// Those of them whose time has not passed.
    pub(super) fn iter_live(
        &self,
        (start, end): (usize, usize),
        now_ms: u64,
    ) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
        let live = self.order.iter(start, end).filter(move |item| is_live(self.end(item.slot), now_ms));
        live.map(|item| (self.slots.member(item.slot), item.score))
    }

    /// A member by a number below the length that means nothing else; with its score, and when it expires.
    pub(super) fn nth(&self, number: usize) -> (&[u8], f64, Option<u64>) {
        let slot = self.slots.at(number as u32);
        (&slot.member, slot.score, self.end(number as u32))
    }

    /// Visits members from `cursor` on (0: the start), up to the one of which `each` says that it is enough. Returns where to go on;
    /// none at the end.
    pub(super) fn walk<'a>(
        &'a self,
        cursor: u64,
        mut each: impl FnMut(&'a [u8], f64, Option<u64>) -> bool,
    ) -> Option<u64> {
        let len = self.len();
        let from = if cursor == 0 { len } else { usize::try_from(cursor).map_or(len, |from| from.min(len)) };
        let last = (0..from).rev().find(|number| {
            let (member, score, expire_at_ms) = self.nth(*number);
            each(member, score, expire_at_ms)
        });
        last.filter(|number| *number > 0).map(|number| number as u64)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let slots: usize = match self.slots.chunks.as_slice() {
            [only] => only.capacity(),
            chunks => chunks.len() * CHUNK_SLOTS,
        };
        size_of::<Large>()
            + slots * size_of::<Slot>()
            + self.slots.member_bytes
            + self.index.memory_bytes()
            + self.order.memory_bytes()
            + self.lives.as_ref().map_or(0, |lives| lives.memory_bytes())
    }

    #[cfg(test)]
    pub(super) fn check_tally(&self) {
        self.order.check_tally();
    }

    /// Frees up to `budget` members or nodes; returns what is left of the budget.
    pub(super) fn free(&mut self, mut budget: usize) -> usize {
        while budget > 0 && self.slots.pop().is_some() {
            budget -= 1;
        }
        if let Some(lives) = &mut self.lives {
            budget = lives.free(budget);
        }
        budget = self.order.free(budget);
        self.index.free(budget)
    }

    pub(super) fn is_freed(&self) -> bool {
        let lives = self.lives.as_ref().is_none_or(|lives| lives.is_freed());
        self.slots.len == 0 && lives && self.order.is_freed() && self.index.is_freed()
    }
}

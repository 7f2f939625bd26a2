//! Streams: entries in the order of their ids, and groups of consumers that share them.
//!
//! - Entries lie in [`Block`]s of neighbours, by the id of the first; a new entry always goes behind the last.
//! - A stream may be empty, unlike other collections: it still knows its last id, and its groups.
//! - When a consumer was last seen is no change by itself, as an access to a key is none: see [`Stream::see`].
//! - Which entries share a block shows in what an approximate trim removes, and in nothing else.

mod block;
mod change;
mod encode;
mod group;
mod id;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{Collection, Shaping, ValueLimits};
use block::Block;

pub use block::StreamEntry;
pub use change::{Delivery, StreamChange, StreamFields, put_consumer, put_delivery, put_id};
pub(crate) use encode::Items;
pub use encode::StreamPlace;
pub(super) use encode::check;
pub use group::{Consumer, Group};
pub use id::StreamId;

/// A stream.
#[derive(Default)]
pub struct Stream {
    blocks: BTreeMap<StreamId, Block>,
    len: usize,
    last: StreamId,
    max_deleted: StreamId,
    added: u64,
    groups: BTreeMap<Box<[u8]>, Group>,
    /// Of the blocks' buffers.
    buffer_bytes: usize,
    /// Of the groups.
    group_bytes: usize,
}

/// Up to where a stream is to be trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimTo {
    /// So many entries are left.
    Len(u64),
    /// Entries from this id on are left.
    Id(StreamId),
}

/// How a stream is to be trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// Up to where.
    pub to: TrimTo,
    /// Whole blocks only: what is left may be a little more.
    pub approximate: bool,
    /// Most entries that are removed.
    pub limit: Option<u64>,
}

/// An estimate of what a B-tree of the standard library takes: its nodes are somewhat more than half full when they are filled in
/// order, which is measured.
fn tree_bytes(entries: usize, entry_bytes: usize) -> usize {
    entries * entry_bytes * 11 / 6
}

impl Stream {
    pub(super) fn new() -> Stream {
        Stream::default()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The last id that was given to an entry, or set.
    pub fn last(&self) -> StreamId {
        self.last
    }

    /// The greatest id that was deleted.
    pub fn max_deleted(&self) -> StreamId {
        self.max_deleted
    }

    /// Entries that were ever added.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Blocks of entries.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The id of the first entry; of an empty stream the least.
    pub fn first_id(&self) -> StreamId {
        self.range(StreamId::MIN, StreamId::MAX).next().map_or(StreamId::MIN, |entry| entry.id)
    }

    /// The id of the last entry that is there.
    pub fn last_entry_id(&self) -> Option<StreamId> {
        self.range_back(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id)
    }

    /// An entry.
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        let (base, block) = self.blocks.range(..=id).next_back()?;
        block.get(*base, id)
    }

    /// The entries from one id to another, both included.
    pub fn range(&self, from: StreamId, to: StreamId) -> impl Iterator<Item = StreamEntry<'_>> {
        let first = self.blocks.range(..=from).next_back().map_or(from, |(base, _)| *base);
        let blocks = (first <= to).then(|| self.blocks.range(first..=to));
        blocks
            .into_iter()
            .flatten()
            .filter(move |(_, block)| block.last() >= from)
            .flat_map(|(base, block)| block.entries(*base))
            .skip_while(move |entry| entry.id < from)
            .take_while(move |entry| entry.id <= to)
    }

    /// The same, the last one first.
    pub fn range_back(&self, from: StreamId, to: StreamId) -> impl Iterator<Item = StreamEntry<'_>> {
        let first = self.blocks.range(..=from).next_back().map_or(from, |(base, _)| *base);
        let blocks = (first <= to).then(|| self.blocks.range(first..=to).rev());
        blocks
            .into_iter()
            .flatten()
            .flat_map(|(base, block)| {
                let offsets = block.offsets(*base).into_iter().rev();
                offsets.map(move |offset| block.at_offset(*base, offset))
            })
            .skip_while(move |entry| entry.id > to)
            .take_while(move |entry| entry.id >= from)
    }

    /// Its groups, by name.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// One of its groups.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// The last entry that a trim would remove, and how many those are; none if it would remove nothing.
    pub fn plan_trim(&self, trim: Trim) -> Option<(StreamId, usize)> {
        let mut removed = 0;
        let mut to = None;
        let left_max = match trim.to {
            TrimTo::Len(left) => usize::try_from(left).unwrap_or(usize::MAX),
            TrimTo::Id(_) => 0,
        };
        for (base, block) in &self.blocks {
            let done = matches!(trim.to, TrimTo::Len(_)) && self.len - removed <= left_max;
            let beyond = |limit| (removed + block.len()) as u64 > limit;
            if done || trim.limit.is_some_and(beyond) {
                break;
            }
            let whole = match trim.to {
                TrimTo::Len(_) => self.len - removed - block.len() >= left_max,
                TrimTo::Id(id) => block.last() < id,
            };
            if whole {
                removed += block.len();
                to = Some(block.last());
                continue;
            }
            if !trim.approximate {
                let entries = block.entries(*base);
                let (count, last) = match trim.to {
                    TrimTo::Len(_) => {
                        let count = self.len - removed - left_max;
                        (count, entries.take(count).last())
                    }
                    TrimTo::Id(id) => {
                        let below = entries.take_while(|entry| entry.id < id);
                        below.fold((0, None), |(count, _), entry| (count + 1, Some(entry)))
                    }
                };
                removed += count;
                to = last.map(|entry| entry.id).or(to);
            }
            break;
        }
        to.map(|id| (id, removed))
    }

    /// As `OBJECT ENCODING` answers.
    #[expect(clippy::unused_self, reason = "as with the other types")]
    pub(super) fn encoding(&self) -> &'static str {
        "stream"
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Stream>()
            + self.buffer_bytes
            + tree_bytes(self.blocks.len(), size_of::<(StreamId, Block)>())
            + self.group_bytes
    }

    /// A consumer has shown itself. Not logged: after a restart it was last seen when it was last given something.
    pub(crate) fn see(&mut self, group: &[u8], consumer: &[u8], now_ms: u64) {
        if let Some(group) = self.groups.get_mut(group)
            && group.consumer(consumer).is_some()
        {
            group.see(consumer, now_ms);
        }
    }

    /// Applies a change; returns how many entries, or parts of groups, it added, changed or removed.
    pub(super) fn apply(&mut self, change: StreamChange<'_>, shaping: &mut Shaping<'_>) -> usize {
        match change {
            StreamChange::Add { id, fields } => {
                self.put(id, fields, shaping.limits);
                self.last = id;
                self.added = self.added.saturating_add(1);
                1
            }
            StreamChange::Delete { id } => {
                self.remove(id);
                self.max_deleted = self.max_deleted.max(id);
                1
            }
            StreamChange::Trim { to } => self.remove_to(to).max(1),
            StreamChange::SetLast { last, added } => {
                (self.last, self.added) = (last, added);
                1
            }
            StreamChange::SetDeleted { id } => {
                self.max_deleted = id;
                1
            }
            StreamChange::SetGroup { group, last, read } => {
                if !self.groups.contains_key(group) {
                    self.groups.insert(group.into(), Group::new());
                    self.group_bytes += group_cost(group);
                }
                self.in_group(group, |group| {
                    group.stand(last, read);
                    1
                })
            }
            StreamChange::DropGroup { group } => self.drop_group(group, shaping),
            StreamChange::SetConsumer { group, consumer, seen_ms } => self.in_group(group, |group| {
                group.see(consumer, seen_ms);
                1
            }),
            StreamChange::DropConsumer { group, consumer } => {
                self.in_group(group, |group| usize::from(group.drop_consumer(consumer)))
            }
            StreamChange::Pend { group, deliveries } => self.in_group(group, |group| group.pend(deliveries)),
            StreamChange::Acknowledge { group, ids } => self.in_group(group, |group| group.acknowledge(ids)),
        }
    }

    fn in_group(&mut self, name: &[u8], work: impl FnOnce(&mut Group) -> usize) -> usize {
        let Some(group) = self.groups.get_mut(name) else { return 0 };
        let before = group.memory_bytes();
        let done = work(group);
        self.group_bytes = self.group_bytes + group.memory_bytes() - before;
        done
    }

    fn drop_group(&mut self, name: &[u8], shaping: &mut Shaping<'_>) -> usize {
        let Some((name, group)) = self.groups.remove_entry(name) else { return 0 };
        let bytes = group_cost(&name) + group.memory_bytes();
        self.group_bytes -= bytes;
        if group.weight() > Collection::FREED_AT_ONCE_MAX {
            let groups = BTreeMap::from([(name, group)]);
            let garbage = Stream { groups, group_bytes: bytes, ..Stream::default() };
            shaping.garbage.push(Collection::Stream(Box::new(garbage)));
        }
        1
    }

    /// Puts an entry to its place, which is behind the last one unless a replay says it again.
    fn put(&mut self, id: StreamId, fields: StreamFields<'_>, limits: &ValueLimits) {
        let beyond = self.blocks.last_key_value().is_none_or(|(_, block)| id > block.last());
        let Some((base, block)) = self.blocks.range_mut(..=id).next_back() else {
            return self.begin_block(id, fields);
        };
        let full = block.bytes() + fields.bytes() >= limits.stream_block_bytes
            || block.len_ever() >= limits.stream_block_entries;
        if id > block.last() && (beyond && full || block.len_ever() >= BLOCK_ENTRIES_MAX) {
            self.buffer_bytes -= block.memory_bytes();
            block.shrink();
            self.buffer_bytes += block.memory_bytes();
            return self.begin_block(id, fields);
        }
        self.buffer_bytes -= block.memory_bytes();
        self.len += usize::from(block.insert(*base, id, fields));
        self.buffer_bytes += block.memory_bytes();
    }

    fn begin_block(&mut self, id: StreamId, fields: StreamFields<'_>) {
        let block = Block::new(id, fields);
        self.buffer_bytes += block.memory_bytes();
        self.len += 1;
        self.blocks.insert(id, block);
    }

    fn remove(&mut self, id: StreamId) -> bool {
        let Some((&base, block)) = self.blocks.range_mut(..=id).next_back() else { return false };
        self.buffer_bytes -= block.memory_bytes();
        let removed = block.remove(base, id);
        self.buffer_bytes += block.memory_bytes();
        self.len -= usize::from(removed);
        if block.len() == 0 {
            self.drop_block(base);
        }
        removed
    }

    fn drop_block(&mut self, base: StreamId) {
        if let Some(block) = self.blocks.remove(&base) {
            self.buffer_bytes -= block.memory_bytes();
        }
    }

    fn remove_to(&mut self, to: StreamId) -> usize {
        let before = self.len;
        while let Some(mut first) = self.blocks.first_entry() {
            let base = *first.key();
            if base > to {
                break;
            }
            let block = first.get_mut();
            if block.last() > to {
                self.buffer_bytes -= block.memory_bytes();
                self.len -= block.remove_to(base, to);
                self.buffer_bytes += block.memory_bytes();
                if block.len() == 0 {
                    self.drop_block(base);
                }
                break;
            }
            let block = first.remove();
            self.buffer_bytes -= block.memory_bytes();
            self.len -= block.len();
        }
        before - self.len
    }

    /// Whether freeing it at once could take long.
    pub(super) fn is_heavy(&self) -> bool {
        let weight = self.blocks.len() + self.groups.values().map(Group::weight).sum::<usize>();
        weight > Collection::FREED_AT_ONCE_MAX
    }

    /// Frees up to `budget` blocks and parts of groups of a stream that nobody uses any more; returns what is left of the budget.
    pub(super) fn free(&mut self, mut budget: usize) -> usize {
        while budget > 0
            && let Some((_, block)) = self.blocks.pop_last()
        {
            self.buffer_bytes -= block.memory_bytes();
            budget -= 1;
        }
        while budget > 0
            && let Some(mut last) = self.groups.last_entry()
        {
            let before = last.get().memory_bytes();
            budget = last.get_mut().free(budget);
            self.group_bytes = self.group_bytes + last.get().memory_bytes() - before;
            if last.get().is_freed() {
                self.group_bytes -= group_cost(last.key()) + last.get().memory_bytes();
                last.remove();
                budget = budget.saturating_sub(1);
            }
        }
        budget
    }

    pub(super) fn is_freed(&self) -> bool {
        self.blocks.is_empty() && self.groups.is_empty()
    }

    /// Checks what the modules say.
    #[cfg(test)]
    fn check(&self) {
        let mut before = None;
        for (base, block) in &self.blocks {
            assert!(block.len() > 0 && block.last() >= *base);
            for entry in block.entries(*base) {
                assert!(entry.id >= *base && entry.id <= block.last() && before < Some(entry.id));
                before = Some(entry.id);
            }
        }
        assert!(before.is_none_or(|last| last <= self.last), "the last id is below that of an entry");
        assert_eq!(self.len, self.blocks.values().map(Block::len).sum::<usize>());
        assert_eq!(self.buffer_bytes, self.blocks.values().map(Block::memory_bytes).sum::<usize>());
        let groups = self.groups.iter().map(|(name, group)| group_cost(name) + group.memory_bytes());
        assert_eq!(self.group_bytes, groups.sum::<usize>());
        self.groups.values().for_each(Group::check);
    }
}

/// Entries of a block, those included that were taken out: a bound for what counts them in 16 bits, whatever the settings.
const BLOCK_ENTRIES_MAX: usize = 60_000;

fn group_cost(name: &[u8]) -> usize {
    tree_bytes(1, size_of::<(Box<[u8]>, Group)>()) + name.len()
}

//! Groups of consumers: what each has been given, and what of that waits to be acknowledged.
//!
//! - An id is pending at one consumer of a group at most; the group's index and the consumer's say the same.
//! - The place of a consumer among the others holds as long as the consumer.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Delivery, take_delivery, take_id};
use super::{StreamId, tree_bytes};
use crate::value::codec::Elements;

/// A group of consumers.
pub struct Group {
    last: StreamId,
    read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    places: BTreeMap<Box<[u8]>, u32>,
    consumers: Vec<Option<Consumer>>,
    /// Bytes of the names of consumers.
    name_bytes: usize,
}

/// How an entry is pending.
#[derive(Clone, Copy)]
struct Pending {
    consumer: u32,
    count: u32,
    delivered_ms: u64,
}

impl Pending {
    fn of(self, id: StreamId) -> Delivery {
        Delivery { id, delivered_ms: self.delivered_ms, count: self.count }
    }
}

/// A consumer of a group.
pub struct Consumer {
    name: Box<[u8]>,
    seen_ms: u64,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// When it was last seen, ms of Unix time. After a restart perhaps a little earlier.
    pub fn seen_ms(&self) -> u64 {
        self.seen_ms
    }

    /// How many entries are pending at it.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The ids of entries that are pending at it, from one on.
    pub fn pending_from(&self, from: StreamId) -> impl DoubleEndedIterator<Item = StreamId> {
        self.pending.range(from..).copied()
    }
}

impl Group {
    pub(super) fn new() -> Group {
        Group {
            last: StreamId::MIN,
            read: None,
            pending: BTreeMap::new(),
            places: BTreeMap::new(),
            consumers: Vec::new(),
            name_bytes: 0,
        }
    }

    /// The last id that it has delivered.
    pub fn last(&self) -> StreamId {
        self.last
    }

    /// How many entries it has read since the first, if that is known.
    pub fn read(&self) -> Option<u64> {
        self.read
    }

    /// How many entries are pending.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Entries that are pending, from an id on, each with its consumer.
    pub fn pending_from(&self, from: StreamId) -> impl Iterator<Item = (Delivery, &Consumer)> {
        self.pending.range(from..).filter_map(|(id, pending)| {
            Some((pending.of(*id), self.consumers.get(pending.consumer as usize)?.as_ref()?))
        })
    }

    /// The greatest id that is pending.
    pub fn last_pending(&self) -> Option<StreamId> {
        self.pending.last_key_value().map(|(id, _)| *id)
    }

    /// How an entry is pending, and at whom.
    pub fn pending(&self, id: StreamId) -> Option<(Delivery, &Consumer)> {
        let pending = self.pending.get(&id)?;
        Some((pending.of(id), self.consumers.get(pending.consumer as usize)?.as_ref()?))
    }

    /// Its consumers, by name.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.places.values().map(|place| {
            self.consumers[*place as usize].as_ref().expect("a consumer's place holds as long as its name")
        })
    }

    /// The consumers from a name on.
    pub(super) fn consumers_from(&self, name: &[u8]) -> impl Iterator<Item = &Consumer> {
        use std::ops::Bound;
        self.places
            .range::<[u8], _>((Bound::Included(name), Bound::Unbounded))
            .filter_map(|(_, place)| self.consumers.get(*place as usize)?.as_ref())
    }

    /// One of its consumers.
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.get(*self.places.get(name)? as usize)?.as_ref()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let ids = size_of::<StreamId>();
        tree_bytes(self.pending.len(), ids + size_of::<Pending>())
            + tree_bytes(self.pending.len(), ids)
            + tree_bytes(self.places.len(), size_of::<(Box<[u8]>, u32)>())
            + self.consumers.capacity() * size_of::<Option<Consumer>>()
            + 2 * self.name_bytes
    }

    pub(super) fn stand(&mut self, last: StreamId, read: Option<u64>) {
        self.last = last;
        self.read = read;
    }

    /// The place of a consumer, new or not.
    fn place(&mut self, name: &[u8]) -> u32 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let consumer = Consumer { name: name.into(), seen_ms: 0, pending: BTreeSet::new() };
        let free = self.consumers.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.consumers.push(None);
            self.consumers.len() - 1
        });
        self.consumers[place] = Some(consumer);
        self.places.insert(name.into(), place as u32);
        self.name_bytes += name.len();
        place as u32
    }

    /// A consumer is there, and was seen then.
    pub(super) fn see(&mut self, name: &[u8], seen_ms: u64) {
        let place = self.place(name);
        if let Some(consumer) = &mut self.consumers[place as usize] {
            consumer.seen_ms = consumer.seen_ms.max(seen_ms);
        }
    }

    /// A consumer is gone. Returns whether it was there.
    pub(super) fn drop_consumer(&mut self, name: &[u8]) -> bool {
        let Some(place) = self.places.remove(name) else { return false };
        self.name_bytes -= name.len();
        if let Some(consumer) = self.consumers[place as usize].take() {
            for id in consumer.pending {
                self.pending.remove(&id);
            }
        }
        true
    }

    /// Entries are pending as [`super::StreamChange::Pend`] says. Returns how many.
    pub(super) fn pend(&mut self, deliveries: &[u8]) -> usize {
        let mut elements = Elements::new(deliveries);
        let Ok(name) = elements.take_element() else { return 0 };
        let place = self.place(name);
        let mut count = 0;
        while let Ok(delivery) = take_delivery(&mut elements) {
            self.pend_one(place, delivery);
            count += 1;
        }
        count
    }

    fn pend_one(&mut self, place: u32, delivery: Delivery) {
        let Delivery { id, delivered_ms, count } = delivery;
        let before = self.pending.insert(id, Pending { consumer: place, count, delivered_ms });
        if let Some(before) = before
            && before.consumer != place
            && let Some(Some(consumer)) = self.consumers.get_mut(before.consumer as usize)
        {
            consumer.pending.remove(&id);
        }
        if let Some(Some(consumer)) = self.consumers.get_mut(place as usize) {
            consumer.pending.insert(id);
            consumer.seen_ms = consumer.seen_ms.max(delivered_ms);
        }
    }

    /// Entries are not pending any more. Returns how many were.
    pub(super) fn acknowledge(&mut self, ids: &[u8]) -> usize {
        let mut elements = Elements::new(ids);
        let mut count = 0;
        while let Ok(id) = take_id(&mut elements) {
            if let Some(pending) = self.pending.remove(&id) {
                count += 1;
                if let Some(Some(consumer)) = self.consumers.get_mut(pending.consumer as usize) {
                    consumer.pending.remove(&id);
                }
            }
        }
        count
    }

    /// Whether freeing it at once could take long.
    pub(super) fn weight(&self) -> usize {
        self.pending.len() + self.places.len()
    }

    /// Frees up to `budget` parts; returns what is left of the budget.
    pub(super) fn free(&mut self, mut budget: usize) -> usize {
        while budget > 0 && self.pending.pop_last().is_some() {
            budget -= 1;
        }
        while budget > 0
            && let Some(last) = self.consumers.last_mut()
        {
            budget -= 1;
            let more = last.as_mut().is_some_and(|consumer| consumer.pending.pop_last().is_some());
            if !more && let Some(Some(consumer)) = self.consumers.pop() {
                self.places.remove(&consumer.name);
                self.name_bytes -= consumer.name.len();
            }
        }
        budget
    }

    pub(super) fn is_freed(&self) -> bool {
        self.pending.is_empty() && self.consumers.is_empty()
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        let of_consumers: usize = self.consumers().map(Consumer::pending_len).sum();
        assert_eq!(self.pending.len(), of_consumers);
        for (id, pending) in &self.pending {
            let consumer = self.consumers[pending.consumer as usize].as_ref().expect("a consumer");
            assert!(consumer.pending.contains(id), "{id} is not pending at its consumer");
        }
        assert_eq!(self.consumers.iter().flatten().count(), self.places.len());
        assert_eq!(self.name_bytes, self.places.keys().map(|name| name.len()).sum::<usize>());
    }
}

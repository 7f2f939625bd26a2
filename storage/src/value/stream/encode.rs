//! Streams as bytes: for copies, for the log, for checkpoints.
//!
//! ```text
//! item       0, last id, entries ever added, greatest id deleted      what the stream says of itself
//!            1, id, number of fields, name, value, …                  an entry
//!            2, name, last id, entries read plus one (0: unknown)     a group
//!            3, name, last seen (ms of Unix time)                     a consumer of the group before
//!            4, name of the consumer, id, delivered (ms), count       a pending entry of the group before
//! id         ms, seq
//! ```
//!
//! Each piece begins with an item that needs no other before it, so pieces may be of different times.

use super::change::{Delivery, StreamFields, put_id, take_id};
use super::{Group, Shaping, Stream, StreamChange, StreamId};
use crate::value::codec::{Elements, Fault, put_element, put_number};

const ITEM_STREAM: u8 = 0;
const ITEM_ENTRY: u8 = 1;
const ITEM_GROUP: u8 = 2;
const ITEM_CONSUMER: u8 = 3;
const ITEM_PENDING: u8 = 4;

/// Where the encoding of a stream goes on: a name or an id, so that changes in between do no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamPlace {
    /// At this entry.
    Entry(StreamId),
    /// At this consumer of a group.
    Consumer {
        /// The group.
        group: Box<[u8]>,
        /// The consumer.
        consumer: Box<[u8]>,
    },
    /// At this pending entry of a group.
    Pending {
        /// The group.
        group: Box<[u8]>,
        /// The entry.
        id: StreamId,
    },
}

/// Writes items behind each other.
pub(crate) struct Items<'a>(pub(crate) &'a mut Vec<u8>);

impl Items<'_> {
    /// What the stream says of itself.
    pub(crate) fn stream(&mut self, last: StreamId, added: u64, max_deleted: StreamId) {
        self.0.push(ITEM_STREAM);
        put_id(self.0, last);
        put_number(self.0, added);
        put_id(self.0, max_deleted);
    }

    /// An entry with its fields, of which there is one at least: names and values in turn, as elements.
    pub(crate) fn entry(&mut self, id: StreamId, fields: u64, encoded: &[u8]) {
        self.begin_entry(id, fields);
        self.0.extend_from_slice(encoded);
    }

    fn begin_entry(&mut self, id: StreamId, fields: u64) {
        self.0.push(ITEM_ENTRY);
        put_id(self.0, id);
        put_number(self.0, fields);
    }

    /// A group.
    pub(crate) fn group(&mut self, name: &[u8], last: StreamId, read: Option<u64>) {
        self.0.push(ITEM_GROUP);
        put_element(self.0, name);
        put_id(self.0, last);
        put_number(self.0, read.map_or(0, |read| read.saturating_add(1)));
    }

    /// A consumer of the group before.
    pub(crate) fn consumer(&mut self, name: &[u8], seen_ms: u64) {
        self.0.push(ITEM_CONSUMER);
        put_element(self.0, name);
        put_number(self.0, seen_ms);
    }

    /// An entry that is pending at a consumer of the group before.
    pub(crate) fn pending(&mut self, consumer: &[u8], delivery: Delivery) {
        self.0.push(ITEM_PENDING);
        put_element(self.0, consumer);
        super::put_delivery(self.0, delivery);
    }
}

enum Item<'a> {
    Stream { last: StreamId, added: u64, max_deleted: StreamId },
    Entry { id: StreamId, fields: StreamFields<'a> },
    Group { name: &'a [u8], last: StreamId, read: Option<u64> },
    Consumer { name: &'a [u8], seen_ms: u64 },
    Pending { consumer: &'a [u8], delivery: Delivery },
}

/// What is written, and up to what size: but never so little that a call gets no further.
struct Piece<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
    progress: bool,
}

impl Piece<'_> {
    fn is_full(&self) -> bool {
        self.progress && self.out.len() >= self.end
    }

    /// Writes consumers from a name on; returns where to go on if they don't fit.
    fn put_consumers(&mut self, name: &[u8], group: &Group, from: &[u8]) -> Option<StreamPlace> {
        for consumer in group.consumers_from(from) {
            if self.is_full() {
                return Some(StreamPlace::Consumer { group: name.into(), consumer: consumer.name().into() });
            }
            Items(self.out).consumer(consumer.name(), consumer.seen_ms());
            self.progress = true;
        }
        None
    }

    fn put_pending(&mut self, name: &[u8], group: &Group, from: StreamId) -> Option<StreamPlace> {
        for (delivery, consumer) in group.pending_from(from) {
            if self.is_full() {
                return Some(StreamPlace::Pending { group: name.into(), id: delivery.id });
            }
            Items(self.out).pending(consumer.name(), delivery);
            self.progress = true;
        }
        None
    }
}

impl Stream {
    /// Writes items from a place on, or from the start. Returns where to go on.
    pub(in crate::value) fn encode(
        &self,
        from: Option<&StreamPlace>,
        budget: usize,
        out: &mut Vec<u8>,
    ) -> Option<StreamPlace> {
        let end = out.len().saturating_add(budget);
        let mut piece = Piece { out, end, progress: false };
        let first_entry = match from {
            None => {
                self.put_self(&mut piece);
                Some(StreamId::MIN)
            }
            Some(StreamPlace::Entry(id)) => Some(*id),
            Some(_) => None,
        };
        if let Some(from) = first_entry
            && let Some(place) = self.put_entries(&mut piece, from)
        {
            return Some(place);
        }
        self.put_groups(&mut piece, from)
    }

    fn put_self(&self, piece: &mut Piece<'_>) {
        Items(piece.out).stream(self.last, self.added, self.max_deleted);
        piece.progress = true;
    }

    fn put_entries(&self, piece: &mut Piece<'_>, from: StreamId) -> Option<StreamPlace> {
        for entry in self.range(from, StreamId::MAX) {
            if piece.is_full() {
                return Some(StreamPlace::Entry(entry.id));
            }
            Items(piece.out).begin_entry(entry.id, entry.len() as u64);
            for (name, value) in entry.fields() {
                put_element(piece.out, &name);
                put_element(piece.out, &value);
            }
            piece.progress = true;
        }
        None
    }

    fn put_groups(&self, piece: &mut Piece<'_>, from: Option<&StreamPlace>) -> Option<StreamPlace> {
        use std::ops::Bound;
        let (first, mut consumer, mut pending) = match from {
            Some(StreamPlace::Consumer { group, consumer }) => (&**group, &**consumer, Some(StreamId::MIN)),
            Some(StreamPlace::Pending { group, id }) => (&**group, &[][..], Some(*id)),
            _ => (&[][..], &[][..], None),
        };
        let mut skips_consumers = matches!(from, Some(StreamPlace::Pending { .. }));
        for (name, group) in self.groups.range::<[u8], _>((Bound::Included(first), Bound::Unbounded)) {
            if **name != *first {
                (consumer, pending, skips_consumers) = (&[], None, false);
            }
            if piece.is_full() {
                return Some(StreamPlace::Consumer { group: name.clone(), consumer: consumer.into() });
            }
            Items(piece.out).group(name, group.last(), group.read());
            let rest = if skips_consumers { None } else { piece.put_consumers(name, group, consumer) };
            let from = pending.unwrap_or(StreamId::MIN);
            if let Some(place) = rest.or_else(|| piece.put_pending(name, group, from)) {
                return Some(place);
            }
            piece.progress = true;
        }
        None
    }

    /// Adds items as [`Stream::encode`] wrote them.
    pub(in crate::value) fn load(&mut self, items: &[u8], shaping: &mut Shaping<'_>) -> Result<(), Fault> {
        let mut items = Elements::new(items);
        let mut group: &[u8] = &[];
        let mut deliveries = Vec::new();
        while !items.is_empty() {
            match take_item(&mut items)? {
                Item::Stream { last, added, max_deleted } => {
                    self.apply(StreamChange::SetLast { last, added }, shaping);
                    self.apply(StreamChange::SetDeleted { id: max_deleted }, shaping);
                }
                Item::Entry { id, fields } => {
                    self.put(id, fields, shaping.limits);
                    self.last = self.last.max(id);
                }
                Item::Group { name, last, read } => {
                    group = name;
                    self.apply(StreamChange::SetGroup { group, last, read }, shaping);
                }
                Item::Consumer { name, seen_ms } => {
                    self.apply(StreamChange::SetConsumer { group, consumer: name, seen_ms }, shaping);
                }
                Item::Pending { consumer, delivery } => {
                    deliveries.clear();
                    super::put_consumer(&mut deliveries, consumer);
                    super::put_delivery(&mut deliveries, delivery);
                    self.apply(StreamChange::Pend { group, deliveries: &deliveries }, shaping);
                }
            }
        }
        Ok(())
    }
}

fn take_item<'a>(items: &mut Elements<'a>) -> Result<Item<'a>, Fault> {
    Ok(match items.take_byte()? {
        ITEM_STREAM => {
            let (last, added) = (take_id(items)?, items.take_number()?);
            Item::Stream { last, added, max_deleted: take_id(items)? }
        }
        ITEM_ENTRY => {
            let (id, fields) = (take_id(items)?, items.take_number()?);
            Item::Entry { id, fields: StreamFields::take(items, fields)? }
        }
        ITEM_GROUP => {
            let (name, last) = (items.take_element()?, take_id(items)?);
            Item::Group { name, last, read: items.take_number()?.checked_sub(1) }
        }
        ITEM_CONSUMER => Item::Consumer { name: items.take_element()?, seen_ms: items.take_number()? },
        ITEM_PENDING => {
            let consumer = items.take_element()?;
            Item::Pending { consumer, delivery: super::change::take_delivery(items)? }
        }
        found => return Err(Fault::Item { found }),
    })
}

/// Checks items as [`Stream::load`] takes them.
pub(in crate::value) fn check(items: &[u8]) -> Result<(), Fault> {
    let mut items = Elements::new(items);
    let mut in_group = false;
    while !items.is_empty() {
        match take_item(&mut items)? {
            Item::Group { .. } => in_group = true,
            Item::Consumer { .. } if !in_group => return Err(Fault::Item { found: ITEM_CONSUMER }),
            Item::Pending { .. } if !in_group => return Err(Fault::Item { found: ITEM_PENDING }),
            _ => {}
        }
    }
    Ok(())
}

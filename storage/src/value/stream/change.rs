//! Changes of streams. All of them are absolute: made again, in their order, they lead to where they led before, whatever of them
//! was there already. So a checkpoint may take the pieces of a stream at different times.

use super::StreamId;
use crate::value::change::Parts;
use crate::value::codec::{Elements, Fault, put_element, put_number};

/// Fields of an entry: names and values in turn, each as length and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFields<'a> {
    bytes: &'a [u8],
    fields: usize,
}

impl<'a> StreamFields<'a> {
    /// Takes fields in the encoding that [`put_element`] writes.
    pub fn new(bytes: &'a [u8]) -> Result<StreamFields<'a>, Fault> {
        let mut elements = Elements::new(bytes);
        let mut fields = 0;
        while !elements.is_empty() {
            elements.take_element()?;
            elements.take_element()?;
            fields += 1;
        }
        if fields == 0 { Err(Fault::Empty) } else { Ok(StreamFields { bytes, fields }) }
    }

    /// Number of fields.
    #[expect(clippy::len_without_is_empty, reason = "an entry has fields")]
    pub const fn len(self) -> usize {
        self.fields
    }

    /// Bytes of all of them, encoded.
    pub const fn bytes(self) -> usize {
        self.bytes.len()
    }

    /// Names and values.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut elements = Elements::new(self.bytes);
        (0..self.fields)
            .filter_map(move |_| Some((elements.take_element().ok()?, elements.take_element().ok()?)))
    }

    /// Takes as many fields from the front of `elements`.
    pub(super) fn take(elements: &mut Elements<'a>, fields: u64) -> Result<StreamFields<'a>, Fault> {
        let before = elements.rest();
        for _ in 0..fields {
            elements.take_element()?;
            elements.take_element()?;
        }
        if fields == 0 {
            return Err(Fault::Empty);
        }
        let bytes = before.get(..before.len() - elements.rest().len()).unwrap_or_default();
        Ok(StreamFields { bytes, fields: fields as usize })
    }
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The entry, which may be gone by now.
    pub id: StreamId,
    /// When it was delivered last, ms of Unix time.
    pub delivered_ms: u64,
    /// How often.
    pub count: u32,
}

/// A change of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamChange<'a> {
    /// A new entry, which becomes the last one.
    Add {
        /// Its id, above the last one.
        id: StreamId,
        /// Its fields.
        fields: StreamFields<'a>,
    },
    /// An entry, which is there, is gone.
    Delete {
        /// Its id.
        id: StreamId,
    },
    /// All entries up to this one are gone; nothing but their number tells that they were there.
    Trim {
        /// The last one that is gone.
        to: StreamId,
    },
    /// What the stream says of itself.
    SetLast {
        /// The last id.
        last: StreamId,
        /// Entries that were ever added.
        added: u64,
    },
    /// The greatest id that was deleted.
    SetDeleted {
        /// The id.
        id: StreamId,
    },
    /// A group is there, new or not, and stands here.
    SetGroup {
        /// Its name.
        group: &'a [u8],
        /// The last id that it has delivered.
        last: StreamId,
        /// How many entries it has read since the first, if that is known.
        read: Option<u64>,
    },
    /// A group is gone, with its consumers and what is pending.
    DropGroup {
        /// Its name.
        group: &'a [u8],
    },
    /// A consumer is there, new or not.
    SetConsumer {
        /// Its group.
        group: &'a [u8],
        /// Its name.
        consumer: &'a [u8],
        /// When it was last seen, ms of Unix time.
        seen_ms: u64,
    },
    /// A consumer is gone, with what was pending at it.
    DropConsumer {
        /// Its group.
        group: &'a [u8],
        /// Its name.
        consumer: &'a [u8],
    },
    /// Entries are pending at a consumer, at whichever they were before.
    Pend {
        /// Its group.
        group: &'a [u8],
        /// The consumer and the entries, as [`put_consumer`] and [`put_delivery`] write them.
        deliveries: &'a [u8],
    },
    /// Entries are not pending any more.
    Acknowledge {
        /// Their group.
        group: &'a [u8],
        /// Their ids, as [`put_id`] writes them.
        ids: &'a [u8],
    },
}

/// Begins the deliveries of [`StreamChange::Pend`]: to this consumer.
pub fn put_consumer(out: &mut Vec<u8>, consumer: &[u8]) {
    put_element(out, consumer);
}

/// Adds one to the deliveries of [`StreamChange::Pend`].
pub fn put_delivery(out: &mut Vec<u8>, delivery: Delivery) {
    put_id(out, delivery.id);
    put_number(out, delivery.delivered_ms);
    put_number(out, delivery.count.into());
}

/// Adds one to the ids of [`StreamChange::Acknowledge`].
pub fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_number(out, id.ms);
    put_number(out, id.seq);
}

pub(super) fn take_id(elements: &mut Elements<'_>) -> Result<StreamId, Fault> {
    Ok(StreamId::new(elements.take_number()?, elements.take_number()?))
}

pub(super) fn take_delivery(elements: &mut Elements<'_>) -> Result<Delivery, Fault> {
    let id = take_id(elements)?;
    let delivered_ms = elements.take_number()?;
    let count = u32::try_from(elements.take_number()?).map_err(|_| Fault::Number)?;
    Ok(Delivery { id, delivered_ms, count })
}

fn are_deliveries(bytes: &[u8]) -> bool {
    let mut elements = Elements::new(bytes);
    let mut sound = elements.take_element().is_ok() && !elements.is_empty();
    while sound && !elements.is_empty() {
        sound = take_delivery(&mut elements).is_ok();
    }
    sound
}

fn are_ids(bytes: &[u8]) -> bool {
    let mut elements = Elements::new(bytes);
    let mut sound = !elements.is_empty();
    while sound && !elements.is_empty() {
        sound = take_id(&mut elements).is_ok();
    }
    sound
}

const OP_ADD: u8 = 0;
const OP_DELETE: u8 = 1;
const OP_TRIM: u8 = 2;
const OP_SET_LAST: u8 = 3;
const OP_SET_DELETED: u8 = 4;
const OP_SET_GROUP: u8 = 5;
const OP_DROP_GROUP: u8 = 6;
const OP_SET_CONSUMER: u8 = 7;
const OP_DROP_CONSUMER: u8 = 8;
const OP_PEND: u8 = 9;
const OP_ACKNOWLEDGE: u8 = 10;

impl<'a> StreamChange<'a> {
    pub(in crate::value) fn to_parts(self) -> Parts<'a> {
        match self {
            Self::Add { id, fields } => Parts::new(OP_ADD, &[], fields.bytes).numbers(&[id.ms, id.seq]),
            Self::Delete { id } => Parts::new(OP_DELETE, &[], &[]).numbers(&[id.ms, id.seq]),
            Self::Trim { to } => Parts::new(OP_TRIM, &[], &[]).numbers(&[to.ms, to.seq]),
            Self::SetLast { last, added } => {
                Parts::new(OP_SET_LAST, &[], &[]).numbers(&[last.ms, last.seq, added])
            }
            Self::SetDeleted { id } => Parts::new(OP_SET_DELETED, &[], &[]).numbers(&[id.ms, id.seq]),
            Self::SetGroup { group, last, read } => {
                let numbers = [last.ms, last.seq, read.unwrap_or_default()];
                let count = if read.is_some() { 3 } else { 2 };
                Parts::new(OP_SET_GROUP, group, &[]).numbers(&numbers[..count])
            }
            Self::DropGroup { group } => Parts::new(OP_DROP_GROUP, group, &[]),
            Self::SetConsumer { group, consumer, seen_ms } => {
                Parts::new(OP_SET_CONSUMER, group, consumer).numbers(&[seen_ms])
            }
            Self::DropConsumer { group, consumer } => Parts::new(OP_DROP_CONSUMER, group, consumer),
            Self::Pend { group, deliveries } => Parts::new(OP_PEND, group, deliveries),
            Self::Acknowledge { group, ids } => Parts::new(OP_ACKNOWLEDGE, group, ids),
        }
    }

    pub(in crate::value) fn from_parts(parts: &Parts<'a>) -> Option<Self> {
        let (first, second) = (parts.first, parts.second);
        match (parts.op, parts.as_numbers()) {
            (OP_ADD, &[ms, seq]) if first.is_empty() => {
                let fields = StreamFields::new(second).ok()?;
                Some(Self::Add { id: StreamId::new(ms, seq), fields })
            }
            (OP_DELETE, &[ms, seq]) if first.is_empty() && second.is_empty() => {
                Some(Self::Delete { id: StreamId::new(ms, seq) })
            }
            (OP_TRIM, &[ms, seq]) if first.is_empty() && second.is_empty() => {
                Some(Self::Trim { to: StreamId::new(ms, seq) })
            }
            (OP_SET_LAST, &[ms, seq, added]) if first.is_empty() && second.is_empty() => {
                Some(Self::SetLast { last: StreamId::new(ms, seq), added })
            }
            (OP_SET_DELETED, &[ms, seq]) if first.is_empty() && second.is_empty() => {
                Some(Self::SetDeleted { id: StreamId::new(ms, seq) })
            }
            (OP_SET_GROUP, &[ms, seq, ref read @ ..]) if second.is_empty() && read.len() <= 1 => {
                let read = read.first().copied();
                Some(Self::SetGroup { group: first, last: StreamId::new(ms, seq), read })
            }
            (OP_DROP_GROUP, []) if second.is_empty() => Some(Self::DropGroup { group: first }),
            (OP_SET_CONSUMER, &[seen_ms]) => {
                Some(Self::SetConsumer { group: first, consumer: second, seen_ms })
            }
            (OP_DROP_CONSUMER, []) => Some(Self::DropConsumer { group: first, consumer: second }),
            (OP_PEND, []) if are_deliveries(second) => Some(Self::Pend { group: first, deliveries: second }),
            (OP_ACKNOWLEDGE, []) if are_ids(second) => Some(Self::Acknowledge { group: first, ids: second }),
            _ => None,
        }
    }

    /// Whether an absent key becomes a stream by it.
    pub(in crate::value) const fn creates(self) -> bool {
        matches!(self, Self::Add { .. } | Self::SetGroup { .. })
    }
}

//! A model beside streams, and what their changes promise.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::value::codec::{self, put_element};
use crate::value::tests::{loaded, with_shaping};
use crate::value::{Change, Value};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    entries: BTreeMap<StreamId, Fields>,
    last: StreamId,
    max_deleted: StreamId,
    added: u64,
    groups: BTreeMap<Vec<u8>, GroupModel>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct GroupModel {
    last: StreamId,
    read: Option<u64>,
    /// Consumer, delivered, count.
    pending: BTreeMap<StreamId, (Vec<u8>, u64, u32)>,
    consumers: Vec<Vec<u8>>,
}

/// A change that owns what it names.
#[derive(Clone, Debug)]
enum Owned {
    Add(StreamId, Vec<u8>),
    Delete(StreamId),
    Trim(StreamId),
    SetLast(StreamId, u64),
    SetDeleted(StreamId),
    SetGroup(Vec<u8>, StreamId, Option<u64>),
    DropGroup(Vec<u8>),
    SetConsumer(Vec<u8>, Vec<u8>, u64),
    DropConsumer(Vec<u8>, Vec<u8>),
    Pend(Vec<u8>, Vec<u8>),
    Acknowledge(Vec<u8>, Vec<u8>),
}

impl Owned {
    fn change(&self) -> StreamChange<'_> {
        match self {
            Self::Add(id, fields) => {
                StreamChange::Add { id: *id, fields: StreamFields::new(fields).expect("fields") }
            }
            Self::Delete(id) => StreamChange::Delete { id: *id },
            Self::Trim(to) => StreamChange::Trim { to: *to },
            Self::SetLast(last, added) => StreamChange::SetLast { last: *last, added: *added },
            Self::SetDeleted(id) => StreamChange::SetDeleted { id: *id },
            Self::SetGroup(group, last, read) => StreamChange::SetGroup { group, last: *last, read: *read },
            Self::DropGroup(group) => StreamChange::DropGroup { group },
            Self::SetConsumer(group, consumer, seen_ms) => {
                StreamChange::SetConsumer { group, consumer, seen_ms: *seen_ms }
            }
            Self::DropConsumer(group, consumer) => StreamChange::DropConsumer { group, consumer },
            Self::Pend(group, deliveries) => StreamChange::Pend { group, deliveries },
            Self::Acknowledge(group, ids) => StreamChange::Acknowledge { group, ids },
        }
    }

    fn apply(&self, stream: &mut Stream) {
        let change = self.change();
        assert_eq!(StreamChange::from_parts(&change.to_parts()), Some(change));
        let limits = limits();
        with_shaping(&limits, |shaping| stream.apply(change, shaping));
    }
}

fn limits() -> crate::ValueLimits {
    crate::ValueLimits { stream_block_entries: 5, stream_block_bytes: 120, ..crate::ValueLimits::default() }
}

fn encoded(fields: &Fields) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        put_element(&mut bytes, name);
        put_element(&mut bytes, value);
    }
    bytes
}

fn model_of(stream: &Stream) -> Model {
    let entries = stream.range(StreamId::MIN, StreamId::MAX).map(|entry| {
        let fields: Fields = entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        assert_eq!(fields.len(), entry.len());
        (entry.id, fields)
    });
    let groups = stream.groups().map(|(name, group)| {
        let pending = group.pending_from(StreamId::MIN).map(|(delivery, consumer)| {
            assert!(consumer.pending_from(delivery.id).next() == Some(delivery.id));
            (delivery.id, (consumer.name().to_vec(), delivery.delivered_ms, delivery.count))
        });
        let consumers = group.consumers().map(|consumer| consumer.name().to_vec()).collect();
        let model =
            GroupModel { last: group.last(), read: group.read(), pending: pending.collect(), consumers };
        (name.to_vec(), model)
    });
    Model {
        entries: entries.collect(),
        last: stream.last(),
        max_deleted: stream.max_deleted(),
        added: stream.added(),
        groups: groups.collect(),
    }
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..6),
        2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        3 => (0_i32..300).prop_map(|n| n.to_string().into_bytes()),
        1 => Just(vec![b'x'; 100]),
    ]
}

fn fields() -> impl Strategy<Value = Fields> {
    let usual = prop::collection::vec(element(), 2)
        .prop_map(|values| [b"name".to_vec(), b"7".to_vec()].into_iter().zip(values).collect());
    prop_oneof![usual, prop::collection::vec((element(), element()), 1..4)]
}

/// What a command would do; made into changes against the model, as commands make them.
#[derive(Clone, Debug)]
enum Op {
    Add {
        ms: u64,
        seq: u64,
        fields: Fields,
    },
    Delete {
        nth: usize,
    },
    Trim {
        left: usize,
    },
    /// As XSETID does: the last id can go down to that of the last entry.
    SetLast {
        added: u64,
    },
    SetDeleted {
        ms: u64,
    },
    SetGroup {
        group: u8,
        nth: usize,
        read: Option<u64>,
    },
    DropGroup {
        group: u8,
    },
    SetConsumer {
        group: u8,
        consumer: u8,
    },
    DropConsumer {
        group: u8,
        consumer: u8,
    },
    Pend {
        group: u8,
        consumer: u8,
        nth: usize,
        count: u32,
    },
    Acknowledge {
        group: u8,
        nth: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let group = 0_u8..2;
    prop_oneof![
        12 => (prop_oneof![5 => 0_u64..3, 1 => 0_u64..10_000_000, 1 => Just(1 << 50), 1 => Just(1 << 62)], 0_u64..3, fields())
            .prop_map(|(ms, seq, fields)| Op::Add { ms, seq, fields }),
        4 => any::<usize>().prop_map(|nth| Op::Delete { nth }),
        1 => (0_usize..30).prop_map(|left| Op::Trim { left }),
        1 => (0_u64..50).prop_map(|added| Op::SetLast { added }),
        1 => (0_u64..50).prop_map(|ms| Op::SetDeleted { ms }),
        3 => (group.clone(), any::<usize>(), prop::option::of(0_u64..9))
            .prop_map(|(group, nth, read)| Op::SetGroup { group, nth, read }),
        1 => group.clone().prop_map(|group| Op::DropGroup { group }),
        2 => (group.clone(), 0_u8..3).prop_map(|(group, consumer)| Op::SetConsumer { group, consumer }),
        1 => (group.clone(), 0_u8..3).prop_map(|(group, consumer)| Op::DropConsumer { group, consumer }),
        6 => (group.clone(), 0_u8..3, any::<usize>(), 0_u32..5)
            .prop_map(|(group, consumer, nth, count)| Op::Pend { group, consumer, nth, count }),
        3 => (group, any::<usize>()).prop_map(|(group, nth)| Op::Acknowledge { group, nth }),
    ]
}

fn nth<K: Copy, V>(map: &BTreeMap<K, V>, index: usize) -> Option<K> {
    map.keys().nth(index.checked_rem(map.len())?).copied()
}

impl Model {
    /// Carries out what a command would do; returns the change that the command would make.
    fn run(&mut self, op: &Op) -> Option<Owned> {
        let name = |number: u8| vec![b'a' + number];
        match op {
            Op::Add { ms, seq, fields } => {
                let seq = if *ms == 0 { self.last.seq + 1 + seq } else { *seq };
                let id = StreamId::new(self.last.ms.saturating_add(*ms), seq);
                if id <= self.last {
                    return None;
                }
                self.entries.insert(id, fields.clone());
                self.last = id;
                self.added += 1;
                Some(Owned::Add(id, encoded(fields)))
            }
            Op::Delete { nth: index } => {
                let id = nth(&self.entries, *index)?;
                self.entries.remove(&id);
                self.max_deleted = self.max_deleted.max(id);
                Some(Owned::Delete(id))
            }
            Op::Trim { left } => {
                let to = *self.entries.keys().rev().nth(*left)?;
                self.entries.retain(|id, _| *id > to);
                Some(Owned::Trim(to))
            }
            Op::SetLast { added } => {
                let last = self.entries.keys().next_back().copied().unwrap_or_default();
                (self.last, self.added) = (last, *added);
                Some(Owned::SetLast(last, *added))
            }
            Op::SetDeleted { ms } => {
                self.max_deleted = StreamId::new(*ms, 0);
                Some(Owned::SetDeleted(self.max_deleted))
            }
            Op::SetGroup { group, nth: index, read } => {
                let last = nth(&self.entries, *index).unwrap_or_default();
                let group = name(*group);
                let model = self.groups.entry(group.clone()).or_default();
                (model.last, model.read) = (last, *read);
                Some(Owned::SetGroup(group, last, *read))
            }
            Op::DropGroup { group } => {
                self.groups.remove(&name(*group))?;
                Some(Owned::DropGroup(name(*group)))
            }
            Op::SetConsumer { group, consumer } => {
                self.groups.get_mut(&name(*group))?.see(&name(*consumer));
                Some(Owned::SetConsumer(name(*group), name(*consumer), 7))
            }
            Op::DropConsumer { group, consumer } => {
                let model = self.groups.get_mut(&name(*group))?;
                model.pending.retain(|_, (at, ..)| *at != name(*consumer));
                model.consumers.retain(|other| *other != name(*consumer));
                Some(Owned::DropConsumer(name(*group), name(*consumer)))
            }
            Op::Pend { group, consumer, nth: index, count } => {
                let id = nth(&self.entries, *index)?;
                let model = self.groups.get_mut(&name(*group))?;
                model.see(&name(*consumer));
                model.pending.insert(id, (name(*consumer), 9, *count));
                let mut deliveries = Vec::new();
                put_consumer(&mut deliveries, &name(*consumer));
                put_delivery(&mut deliveries, Delivery { id, delivered_ms: 9, count: *count });
                Some(Owned::Pend(name(*group), deliveries))
            }
            Op::Acknowledge { group, nth: index } => {
                let model = self.groups.get_mut(&name(*group))?;
                let id = nth(&model.pending, *index)?;
                model.pending.remove(&id);
                let mut ids = Vec::new();
                put_id(&mut ids, id);
                Some(Owned::Acknowledge(name(*group), ids))
            }
        }
    }
}

impl GroupModel {
    fn see(&mut self, consumer: &[u8]) {
        if let Err(place) = self.consumers.binary_search_by(|other| other.as_slice().cmp(consumer)) {
            self.consumers.insert(place, consumer.to_vec());
        }
    }
}

proptest! {
    #[test]
    fn streams_agree_with_a_map(ops in prop::collection::vec(op(), 0..120), budget in 1_usize..300) {
        let mut stream = Stream::new();
        let mut model = Model::default();
        for op in &ops {
            if let Some(change) = model.run(op) {
                change.apply(&mut stream);
                stream.check();
                prop_assert_eq!(stream.len(), model.entries.len());
            }
        }
        prop_assert_eq!(&model_of(&stream), &model);
        let mut ids: Vec<StreamId> = model.entries.keys().copied().collect();
        for (index, id) in ids.iter().enumerate() {
            prop_assert!(stream.get(*id).is_some_and(|entry| entry.id == *id));
            let from_here = stream.range(*id, StreamId::MAX).map(|entry| entry.id);
            prop_assert!(from_here.eq(ids[index..].iter().copied()));
            let to_here = stream.range_back(StreamId::MIN, *id).map(|entry| entry.id);
            prop_assert!(to_here.eq(ids[..=index].iter().rev().copied()));
        }
        prop_assert_eq!(stream.first_id(), ids.first().copied().unwrap_or_default());
        prop_assert_eq!(stream.last_entry_id(), ids.last().copied());
        let copy = loaded(Value::Stream(&stream), budget, &limits());
        let Collection::Stream(copy) = copy else { unreachable!() };
        copy.check();
        prop_assert_eq!(&model_of(&copy), &model);

        // Trims by length remove the oldest, whole blocks or single entries.
        for left in [0, 1, 3, 7, 100] {
            let trim = Trim { to: TrimTo::Len(left), approximate: false, limit: None };
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            let planned = stream.plan_trim(trim);
            // Of several blocks that have to go only what they have in common with the plan is looked at here.
            let removed = model.entries.len().saturating_sub(left);
            prop_assert_eq!(planned.map_or(0, |(_, count)| count), removed);
            let below = |to: StreamId| model.entries.keys().filter(|id| **id <= to).count();
            prop_assert!(planned.is_none_or(|(to, count)| below(to) == count));
            let rough = stream.plan_trim(Trim { approximate: true, ..trim });
            prop_assert!(rough.is_none_or(|(to, count)| below(to) == count && count <= removed));
        }
        ids.push(StreamId::MAX);
        for id in ids {
            let trim = Trim { to: TrimTo::Id(id), approximate: false, limit: None };
            let removed = model.entries.keys().filter(|other| **other < id).count();
            prop_assert_eq!(stream.plan_trim(trim).map_or(0, |(_, count)| count), removed);
        }
        let mut budget = 0;
        while !stream.is_freed() {
            budget += 1;
            prop_assert!(budget < 10_000);
            stream.free(2);
        }
        prop_assert_eq!((stream.buffer_bytes, stream.group_bytes), (0, 0));
    }

    /// As a checkpoint does: pieces that are taken while the stream changes, and then all changes since the first piece.
    #[test]
    fn pieces_of_different_times_and_the_changes_between_give_the_stream(
        before in prop::collection::vec(op(), 0..60),
        between in prop::collection::vec(op(), 0..60),
        budget in 1_usize..200,
        pace in 1_usize..5,
    ) {
        let mut stream = Stream::new();
        let mut model = Model::default();
        for op in &before {
            if let Some(change) = model.run(op) {
                change.apply(&mut stream);
            }
        }
        let mut copy = Stream::new();
        let mut place = Some(codec::Place::START);
        let mut changes = Vec::new();
        let mut between = between.iter();
        while let Some(from) = place {
            let mut piece = Vec::new();
            place = codec::encode_piece(Value::Stream(&stream), &from, budget, &mut piece);
            prop_assert_eq!(codec::check(crate::Kind::Stream, &piece), Ok(()));
            with_shaping(&limits(), |shaping| copy.load(&piece, shaping)).expect("it has been checked");
            for op in between.by_ref().take(pace) {
                if let Some(change) = model.run(op) {
                    change.apply(&mut stream);
                    changes.push(change);
                }
            }
        }
        for change in &changes {
            change.apply(&mut copy);
        }
        prop_assert_eq!(model_of(&stream), model_of(&copy));
        copy.check();
    }

    #[test]
    fn any_bytes_are_items_or_a_fault(bytes in prop::collection::vec(0_u8..8, 0..60)) {
        if check(&bytes).is_ok() {
            let mut stream = Stream::new();
            let loaded = with_shaping(&limits(), |shaping| stream.load(&bytes, shaping));
            prop_assert_eq!(loaded, Ok(()));
            stream.groups.values().for_each(Group::check);
        }
    }
}

#[test]
fn entries_with_the_same_names_share_them() {
    let mut stream = Stream::new();
    let fields =
        encoded(&vec![(b"temperature".to_vec(), b"23".to_vec()), (b"humidity".to_vec(), b"612".to_vec())]);
    let limits = crate::ValueLimits::default();
    let fields = StreamFields::new(&fields).expect("fields");
    for second in 0..10_000 {
        let id = StreamId::new(1_700_000_000_000 + second * 1000, 0);
        with_shaping(&limits, |shaping| stream.apply(StreamChange::Add { id, fields }, shaping));
    }
    assert_eq!((stream.len(), stream.blocks()), (10_000, 100));
    // Head of up to four bytes, and two values of up to two.
    assert!(stream.buffer_bytes <= 10_000 * 8 + 100 * 40, "{} bytes", stream.buffer_bytes);
}

#[test]
fn changes_of_the_wrong_shape_are_refused() {
    let parts = |op, first, second| crate::value::Parts::new(op, first, second).of(crate::Kind::Stream as u8);
    assert_eq!(Change::from_parts(&parts(0, b"", b"\x01a").numbers(&[1, 1])), None, "a name without a value");
    assert_eq!(Change::from_parts(&parts(0, b"", b"").numbers(&[1, 1])), None, "an entry without fields");
    assert_eq!(Change::from_parts(&parts(9, b"g", b"\x01c")), None, "no delivery");
    assert_eq!(Change::from_parts(&parts(10, b"g", b"\x01")), None, "half an id");
    assert_eq!(Change::from_parts(&parts(11, b"", b"")), None);
}

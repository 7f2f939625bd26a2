//! Payloads that redis-server has made, and payloads of our own that come back.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::table::Hasher;
use crate::value::codec;
use crate::value::stream::{Delivery, StreamFields, StreamId, put_consumer, put_delivery};
use crate::value::{
    Collection, HashChange, Life, ListChange, SetChange, Shaping, Side, SortedSetChange, Stream, StreamChange,
};
use crate::{Change, Kind, ValueLimits};

const FOOTER_BYTES: usize = 10;

fn collection(changes: &[Change<'_>]) -> Collection {
    let kind = changes.first().expect("a change").kind();
    let mut collection = Collection::new(kind);
    let (limits, hasher) = (ValueLimits::default(), Arc::new(Hasher::new(3)));
    let shaping = &mut Shaping { limits: &limits, hasher: &hasher, garbage: &mut Vec::new() };
    for change in changes {
        collection.apply(change, shaping);
    }
    collection
}

fn encoded(value: Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(value, &mut out);
    out
}

fn expiry(life: Life) -> String {
    life.end().map_or(String::new(), |at| format!(" until {at}"))
}

/// What a value is, whatever the order of what has none.
fn described(bytes: &[u8]) -> Vec<String> {
    let value = codec::decode(bytes).expect("a value");
    if let Some(string) = value.string() {
        return vec![string.escape_ascii().to_string()];
    }
    let mut collection = Collection::new(value.kind);
    let (limits, hasher) = (ValueLimits::default(), Arc::new(Hasher::new(3)));
    let shaping = &mut Shaping { limits: &limits, hasher: &hasher, garbage: &mut Vec::new() };
    collection.load(value.elements, shaping).expect("it has been checked");
    let mut elements: Vec<String> = match collection.value() {
        Value::String(_) => unreachable!("strings are no collections"),
        Value::List(list) => return list.iter_from(0).map(|element| format!("{element:?}")).collect(),
        Value::Hash(hash) => hash.iter(0).map(|field| format!("{field:?}")).collect(),
        Value::Set(set) => {
            let set = set.at(0);
            set.iter().map(|member| format!("{member:?}{}", expiry(set.life(&member)))).collect()
        }
        Value::SortedSet(set) => {
            let set = set.at(0);
            set.iter()
                .map(|(member, score)| format!("{member:?} {score}{}", expiry(set.life(&member))))
                .collect()
        }
        Value::Stream(stream) => return described_stream(stream),
    };
    elements.sort_unstable();
    elements
}

fn described_stream(stream: &Stream) -> Vec<String> {
    let (last, added, deleted) = (stream.last(), stream.added(), stream.max_deleted());
    let mut lines = vec![format!("last {last}, {added} added, {deleted} deleted")];
    lines.extend(stream.range(StreamId::MIN, StreamId::MAX).map(|entry| format!("{entry:?}")));
    for (name, group) in stream.groups() {
        let (name, last, read) = (name.escape_ascii(), group.last(), group.read());
        lines.push(format!("group {name} at {last}, {read:?} read"));
        let consumers = group.consumers().map(|it| format!("consumer {}", it.name().escape_ascii()));
        lines.extend(consumers);
        lines.extend(group.pending_from(StreamId::MIN).map(|(delivery, consumer)| {
            let (id, count) = (delivery.id, delivery.count);
            format!("pending {id} at {}, {count} times", consumer.name().escape_ascii())
        }));
    }
    lines
}

fn comes_back(value: Value<'_>) {
    let payload = dump(value);
    let restored = restore(&payload).expect("our own payload");
    assert_eq!(described(&restored), described(&encoded(value)));
    if let Value::Stream(_) = value {
        assert_eq!(restored.escape_ascii().to_string(), encoded(value).escape_ascii().to_string());
    }
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..70),
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        (0_u32..64, any::<i64>()).prop_map(|(shift, n)| (n >> shift).to_string().into_bytes()),
        (0_usize..6000).prop_map(|len| vec![b'x'; len]),
    ]
}

proptest! {
    #[test]
    fn values_come_back(elements in prop::collection::vec(element(), 2..20), score in any::<f64>()) {
        comes_back(Value::String(&elements[0]));
        let score = if score.is_nan() { 0.5 } else { score };
        let expiring = |kind| elements.iter().enumerate().filter(|(index, _)| index % 3 == 1).map(move |(index, member)| {
            Change::expire_member(kind, member, Some(1_000_000 + index as u64))
        });
        let by_kind: [Vec<Change<'_>>; 6] = [
            elements.iter().map(|member| SetChange::Add { member }.into()).chain(expiring(Kind::Set)).collect(),
            elements.iter().map(|member| SortedSetChange::Add { member, score }.into())
                .chain(expiring(Kind::SortedSet)).collect(),
            elements.iter().map(|value| ListChange::Push { side: Side::Right, value }.into()).collect(),
            elements.iter().map(|member| SetChange::Add { member }.into()).collect(),
            elements.iter().map(|member| SortedSetChange::Add { member, score: score * member.len() as f64 }.into())
                .collect(),
            elements.windows(2).enumerate().map(|(index, pair)| {
                let expire_at_ms = (index % 3 == 1).then_some(1_000_000 + index as u64);
                HashChange::Set { field: &pair[0], value: &pair[1], expire_at_ms }.into()
            }).collect(),
        ];
        for changes in by_kind {
            comes_back(collection(&changes).value());
        }
    }

    #[test]
    fn streams_come_back(elements in prop::collection::vec((element(), element(), 0_u64..5, 0_u64..3), 1..250)) {
        let mut id = StreamId::new(77, 1);
        let fields: Vec<(StreamId, Vec<u8>)> = elements.iter().map(|(name, value, ms, seq)| {
            id = StreamId::new(id.ms + ms, id.seq + 1 + seq);
            let mut fields = Vec::new();
            let name = if seq % 2 == 0 { b"name".as_slice() } else { name };
            for element in [name, value] {
                codec::put_element(&mut fields, element);
            }
            (id, fields)
        }).collect();
        let mut deliveries = Vec::new();
        put_consumer(&mut deliveries, b"consumer");
        for (id, _) in fields.iter().step_by(3) {
            put_delivery(&mut deliveries, Delivery { id: *id, delivered_ms: 1_700_000_000_000, count: 2 });
        }
        let mut changes: Vec<Change<'_>> = fields
            .iter()
            .map(|(id, fields)| {
                let fields = StreamFields::new(fields).expect("fields");
                StreamChange::Add { id: *id, fields }.into()
            })
            .collect();
        changes.push(StreamChange::SetGroup { group: b"group", last: id, read: None }.into());
        changes.push(StreamChange::SetGroup { group: b"other", last: StreamId::MIN, read: Some(0) }.into());
        changes.push(StreamChange::SetConsumer { group: b"other", consumer: b"idle", seen_ms: 5 }.into());
        changes.push(StreamChange::Pend { group: b"group", deliveries: &deliveries }.into());
        changes.push(StreamChange::SetDeleted { id: StreamId::new(3, 4) }.into());
        comes_back(collection(&changes).value());
    }

    /// Whatever stands in a payload, with a right checksum: a value that can be loaded, or a fault.
    #[test]
    fn mutated_payloads_are_values_or_faults(
        which in 0_usize..PAYLOADS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..6),
    ) {
        let mut object = unhex(PAYLOADS[which].0);
        object.truncate(object.len() - FOOTER_BYTES);
        for (place, byte, how) in changes {
            let place = place.index(object.len());
            match how {
                0 => object[place] = byte,
                1 => object[place] ^= 1 << (byte % 8),
                2 => object.insert(place, byte),
                _ if object.len() > 1 => drop(object.remove(place)),
                _ => {}
            }
        }
        object.extend(VERSION.to_le_bytes());
        let checksum = crc64(&object);
        object.extend(checksum.to_le_bytes());
        if let Ok(value) = restore(&object) {
            described(&value);
        }
    }

    #[test]
    fn any_object_is_a_value_or_a_fault(kind in 0_u8..27, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut object = vec![kind];
        object.extend(bytes);
        if let Ok((value, _)) = load::object(&object) {
            described(&value);
        }
    }
}

#[test]
fn footers_are_checked() {
    let payload = dump(Value::String(b"text"));
    assert!(restore(&payload).is_ok());
    for index in 0..payload.len() {
        let mut damaged = payload.clone();
        damaged[index] ^= 1;
        assert_eq!(restore(&damaged), Err(Fault::Footer), "byte {index}");
    }
    assert_eq!(restore(&payload[..9]), Err(Fault::Footer));
    let mut newer = vec![kind::STRING, 1, b'x', 13, 0];
    newer.extend(crc64(&newer).to_le_bytes());
    assert_eq!(restore(&newer), Err(Fault::Footer));
}

#[test]
fn what_redis_dumps_is_restored() {
    for (payload, expected) in PAYLOADS {
        let value = restore(&unhex(payload)).unwrap_or_else(|fault| panic!("{expected:?}: {fault}"));
        assert_eq!(described(&value), *expected);
    }
}

#[test]
fn older_forms_are_read() {
    let string = |bytes: &[u8]| [&[bytes.len() as u8][..], bytes].concat();
    let ziplist = |entries: &[u8], count: u8| {
        let total = 10 + entries.len() as u8 + 1;
        [&[total, 0, 0, 0, 10, 0, 0, 0, count, 0][..], entries, &[0xff]].concat()
    };
    // "a", 300, 12, -1, 70000.
    let entries = [0, 1, b'a', 3, 0xc0, 44, 1, 4, 0xfd, 2, 0xfe, 0xff, 3, 0xf0, 0x70, 0x11, 0x01];
    let list = [vec![kind::LIST_ZIPLIST], string(&ziplist(&entries, 5))].concat();
    let quicklist = [vec![kind::LIST_QUICKLIST, 1], string(&ziplist(&entries, 5))].concat();
    for object in [list, quicklist] {
        let (value, rest) = load::object(&object).expect("a list");
        assert_eq!(described(&value), ["\"a\"", "\"300\"", "\"12\"", "\"-1\"", "\"70000\""]);
        assert!(rest.is_empty());
    }
    let pairs = [0, 1, b'a', 3, 0xf3, 2, 1, b'b', 3, 0xc0, 44, 1];
    let (value, _) = load::object(&[vec![kind::SORTED_SET_ZIPLIST], string(&ziplist(&pairs, 4))].concat())
        .expect("a sorted set");
    assert_eq!(described(&value), ["\"a\" 2", "\"b\" 300"]);
    let (value, _) =
        load::object(&[vec![kind::HASH_ZIPLIST], string(&ziplist(&pairs, 4))].concat()).expect("a hash");
    assert_eq!(described(&value).len(), 2);
    let zipmap = [2, 1, b'a', 2, 1, b'x', b'y', 0, 1, b'b', 0, 0, 0xff];
    let (value, _) = load::object(&[vec![kind::HASH_ZIPMAP], string(&zipmap)].concat()).expect("a hash");
    assert_eq!(described(&value).len(), 2);
    let (value, _) =
        load::object(&[&[kind::SORTED_SET_TEXT, 2, 1, b'a', 3, b'1', b'.', b'5', 1, b'b', 254][..]].concat())
            .expect("a sorted set");
    assert_eq!(described(&value), ["\"a\" 1.5", "\"b\" inf"]);
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().map(|digit| char::from(digit).to_digit(16).expect("a digit") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What redis-server 7.0 dumped, and what that is.
const PAYLOADS: &[(&str, &[&str])] = &[
    ("000b68656c6c6f20776f726c640a000bfc49b9a6c7a034", &["hello world"]),
    ("00c00c0a003c2af8515c04bcd5", &["12"]),
    ("00c290eefeff0a002875de7b13eb2800", &["-70000"]),
    (
        "00c30a3002616261e022010161620a00131e53e3305645ab",
        &["abababababababababababababababababababababababab"],
    ),
    (
        "120102c32a406a1b6a0000000700816102c12c020c01dfff02f270110104f4ffe30b5402201a0309\
         e04678e03c000148ff0a0033bc1748bb8a4bce",
        &[
            "\"a\"",
            "\"300\"",
            "\"12\"",
            "\"-1\"",
            "\"70000\"",
            "\"9999999999\"",
            "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"",
        ],
    ),
    (
        "0b18040000000400000001000000020000002c010000701101000a001440c9b9e6eb5e6a",
        &["\"1\"", "\"2\"", "\"300\"", "\"70000\""],
    ),
    ("0202016201610a0075d99d835ef85f65", &["\"a\"", "\"b\""]),
    (
        "0b180800000002000000fdffffffffffffffffe30b54020000000a0053bc413ae4d07c16",
        &["\"-3\"", "\"9999999999\""],
    ),
    (
        "1122220000000800816402dffd0281610283312e3504816202020181630283696e6604ff0a001a65\
         42b69461302c",
        &["\"a\" 1.5", "\"b\" 2", "\"c\" inf", "\"d\" -3"],
    ),
    (
        "0502c3094046017979e03900017979000000000000f03f01629a9999999999b93f0a00832f340378\
         3df8d9",
        &["\"b\" 0.1", "\"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\" 1"],
    ),
    (
        "1012120000000400816602817602816e020501ff0a008490939f57b4f3c2",
        &[
            "Field { name: \"f\", value: \"v\", expire_at_ms: None }",
            "Field { name: \"n\", value: \"5\", expire_at_ms: None }",
        ],
    ),
    (
        "04010166c3094046017a7ae03900017a7a0a00f52cbfbb6ba7997a",
        &[
            "Field { name: \"f\", value: \"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\", expire_at_ms: None }",
        ],
    ),
    (
        "13011000000000000000050000000000000001404e4e0000001f0003010101020181610281620200\
         01020100010001010102010501030100010101817802817902050100010201dfff02010181630203\
         01060102010301dfff02817a028177020501ff0308000501050204010167070081ffffffffffffff\
         ff02000000000000000500000000000000015dbd0dffa10100000100000000000000070000000000\
         0000005dbd0dffa1010000010201635dbd0dffa10100000200000000000000050000000000000001\
         000000000000000700000000000000000469646c6581bd0dffa1010000000a0006bd18ad135dd01c",
        &[
            "last 8-0, 4 added, 5-2 deleted",
            "5-1 {\"a\": \"1\", \"b\": \"2\"}",
            "7-0 {\"c\": \"3\"}",
            "8-0 {\"a\": \"z\", \"b\": \"w\"}",
            "group g at 7-0, None read",
            "consumer c",
            "consumer idle",
            "pending 5-1 at c, 1 times",
            "pending 7-0 at c, 1 times",
        ],
    ),
    ("13000001010000010101000a00cda16212d34bf396", &["last 1-1, 1 added, 1-1 deleted"]),
];

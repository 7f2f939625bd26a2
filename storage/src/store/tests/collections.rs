//! Changes of collections: what is logged of them makes the same collections again, and large ones are freed in slices.

use super::*;

#[derive(Clone, Debug)]
pub(super) enum CollectionOp {
    Push(u8, u8, Vec<u8>),
    Pop(u8, u8, u64),
    SetField(u8, u8, Vec<u8>),
    DeleteField(u8, u8),
    Add(u8, u8),
    Remove(u8, u8),
    Copy(u8, u8),
    Delete(u8),
    SetString(u8),
    Expire(u8),
    Flush,
}

pub(super) fn collection_ops() -> impl Strategy<Value = CollectionOp> {
    use CollectionOp as Op;
    let name = || 0_u8..4;
    let value = || prop::collection::vec(any::<u8>(), 0..90);
    prop_oneof![
        6 => (name(), any::<u8>(), value()).prop_map(|(key, side, value)| Op::Push(key, side, value)),
        2 => (name(), any::<u8>(), 1_u64..4).prop_map(|(key, side, count)| Op::Pop(key, side, count)),
        6 => (name(), any::<u8>(), value()).prop_map(|(key, field, value)| Op::SetField(key, field, value)),
        3 => (name(), any::<u8>()).prop_map(|(key, field)| Op::DeleteField(key, field)),
        6 => (name(), any::<u8>()).prop_map(|(key, member)| Op::Add(key, member)),
        3 => (name(), any::<u8>()).prop_map(|(key, member)| Op::Remove(key, member)),
        2 => (name(), name()).prop_map(|(from, to)| Op::Copy(from, to)),
        2 => name().prop_map(Op::Delete),
        1 => name().prop_map(Op::SetString),
        1 => name().prop_map(Op::Expire),
        1 => Just(Op::Flush),
    ]
}

/// Everything about every key: its value in the encoding that copies have, sorted where the order means nothing.
pub(super) fn described(store: &mut Store<Recorder>) -> BTreeMap<Vec<u8>, (String, Option<u64>)> {
    let mut all = BTreeMap::new();
    let mut cursor = Cursor::default();
    while cursor < Cursor::at_group(GROUPS) {
        cursor = store.scan(DB, 0..GROUPS, cursor, 10, &mut |entry| {
            let mut elements: Vec<String> = match entry.value() {
                Value::String(value) => vec![value.escape_ascii().to_string()],
                Value::List(list) => list.iter_from(0).map(|element| format!("{element:?}")).collect(),
                Value::Hash(hash) => hash.iter(0).map(|field| format!("{field:?}")).collect(),
                Value::Stream(stream) => {
                    stream.range(stream.first_id(), stream.last()).map(|entry| format!("{entry:?}")).collect()
                }
                Value::Set(set) => set.at(0).iter().map(|member| format!("{member:?}")).collect(),
                Value::SortedSet(set) => set.at(0).iter().map(|member| format!("{member:?}")).collect(),
            };
            if entry.list().is_none() {
                elements.sort_unstable();
            }
            let text = format!("{} {elements:?}", entry.kind());
            all.insert(entry.key().to_vec(), (text, entry.expire_at_ms()));
        });
    }
    all
}

pub(super) fn run_collection_op(store: &mut Store<Recorder>, op: &CollectionOp) {
    use crate::value::{HashChange, ListChange, SetChange, Side};
    use CollectionOp as Op;
    // A key is of the type that the operation asks for, or of none.
    let name = |index: &u8, kind: &str| format!("{kind}{index}").into_bytes();
    let side = |side: &u8| if side.is_multiple_of(2) { Side::Left } else { Side::Right };
    match op {
        Op::Push(index, end, value) => {
            let name = name(index, "list");
            store.change(DB, key(&name), ListChange::Push { side: side(end), value });
        }
        Op::Pop(index, end, count) => {
            let name = name(index, "list");
            store.change(DB, key(&name), ListChange::Pop { side: side(end), count: *count });
        }
        Op::SetField(index, field, value) => {
            let name = name(index, "hash");
            let change = HashChange::Set { field: &[*field], value, expire_at_ms: None };
            store.change(DB, key(&name), change);
        }
        Op::DeleteField(index, field) => {
            let name = name(index, "hash");
            store.change(DB, key(&name), HashChange::Delete { field: &[*field] });
        }
        Op::Add(index, member) => {
            let name = name(index, "set");
            store.change(DB, key(&name), SetChange::Add { member: &[*member] });
        }
        Op::Remove(index, member) => {
            let name = name(index, "set");
            store.change(DB, key(&name), SetChange::Remove { member: &[*member] });
        }
        Op::Copy(from, to) => {
            for kind in ["list", "hash", "set"] {
                let (from, to) = (name(from, kind), name(to, kind));
                if from != to {
                    store.copy((DB, key(&from)), (DB, key(&to)));
                }
            }
        }
        Op::Delete(index) => {
            for kind in ["list", "hash", "set"] {
                store.delete(DB, key(&name(index, kind)));
            }
        }
        Op::SetString(index) => {
            // And deletes it, so that the key is free for its type again.
            let name = name(index, "set");
            store.set(DB, key(&name), b"string", Expiry::None);
            store.delete(DB, key(&name));
        }
        Op::Expire(index) => {
            store.set_expiry(DB, key(&name(index, "hash")), Some(START_MS + 5000));
        }
        Op::Flush => store.flush(DB),
    }
}

proptest! {
    #[test]
    fn replayed_changes_give_the_same_collections(ops in prop::collection::vec(collection_ops(), 0..300)) {
        let mut store = store();
        let limits = ValueLimits { hash_small_entries: 9, set_small_entries: 9, ..ValueLimits::default() };
        store.set_limits(limits);
        for op in &ops {
            store.begin_command();
            run_collection_op(&mut store, op);
            store.end_command();
            store.reclaim(3);
        }
        let expected = described(&mut store);
        // With other limits: the form of a value is no part of what is logged.
        let mut replayed = replayed(&store.sink().effects, START_MS, &(0..GROUPS));
        prop_assert_eq!(described(&mut replayed), expected);
        while store.reclaim(100) {}
        let before = store.memory_bytes();
        store.flush(DB);
        while store.reclaim(100) {}
        prop_assert!(store.memory_bytes() <= before);
        prop_assert!(store.databases[0].tables().iter().all(|table| table.totals().bytes == 0));
    }
}

#[test]
fn large_collections_are_freed_slice_by_slice() {
    use crate::value::SetChange;
    const MEMBERS: usize = 20_000;
    for way in ["delete", "overwrite", "flush", "expire"] {
        let mut store = store();
        // The gates, the tables of a database and the wheel are there from the first key on.
        store.set(DB, key(b"other"), b"small", Expiry::At(START_MS + 9));
        store.end_command();
        let empty = store.memory_bytes();
        for member in 0..MEMBERS {
            store.change(DB, key(b"big"), SetChange::Add { member: format!("member {member}").as_bytes() });
        }
        store.end_command();
        let full = store.memory_bytes() - empty;
        match way {
            "delete" => assert!(store.delete(DB, key(b"big"))),
            "overwrite" => store.set(DB, key(b"big"), b"small", Expiry::None),
            "flush" => store.flush(DB),
            _ => {
                store.set_expiry(DB, key(b"big"), Some(START_MS));
                store.set_now(START_MS + 1);
                assert!(store.get(DB, key(b"big")).is_none());
            }
        }
        store.end_command();
        assert!(store.memory_bytes() - empty > full / 10 * 9, "{way}: nothing is freed at once");
        let mut slices = 0;
        while store.reclaim(1000) {
            slices += 1;
        }
        assert!(slices >= MEMBERS / 1000 - 1, "{way}: {slices} slices");
        assert!(store.memory_bytes() < empty + full / 10, "{way}: the memory is given back");
    }
}

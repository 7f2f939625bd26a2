//! Groups that are taken back.

use super::collections::{CollectionOp, collection_ops, described, run_collection_op};
use super::*;

/// Changes of strings for [`run_in_rounds`].
fn string_ops() -> impl Strategy<Value = Op> {
    ops().prop_filter("of one key", |op| {
        matches!(op, Op::Set(0, ..) | Op::SetRange(0, ..) | Op::Delete(0, _) | Op::SetExpiry(0, ..))
    })
}

#[derive(Clone, Debug)]
enum AnyOp {
    String(Op),
    Collection(CollectionOp),
    NextRound,
}

fn any_ops() -> impl Strategy<Value = Vec<AnyOp>> {
    let collection = collection_ops().prop_filter("of one key", |op| !matches!(op, CollectionOp::Flush));
    let op = prop_oneof![
        3 => string_ops().prop_map(AnyOp::String),
        6 => collection.prop_map(AnyOp::Collection),
        1 => Just(AnyOp::NextRound),
    ];
    prop::collection::vec(op, 0..60)
}

/// The forms of all values.
fn encodings(store: &mut Store<Recorder>) -> BTreeMap<Vec<u8>, &'static str> {
    let mut all = BTreeMap::new();
    let mut cursor = Cursor::default();
    while cursor < Cursor::at_group(GROUPS) {
        cursor = store.scan(DB, 0..GROUPS, cursor, 10, &mut |entry| {
            all.insert(entry.key().to_vec(), entry.encoding());
        });
    }
    all
}

fn run_in_rounds(store: &mut Store<Recorder>, ops: &[AnyOp]) -> DeferredGroup {
    let mut group = DeferredGroup::undoable();
    for ops in ops.split(|op| matches!(op, AnyOp::NextRound)) {
        store.resume_transaction(group);
        for op in ops {
            store.next_command();
            match op {
                AnyOp::Collection(op) => run_collection_op(store, op),
                AnyOp::String(Op::Set(_, name, value, expiry)) => store.set(
                    DB,
                    key(&[*name]),
                    value,
                    match expiry {
                        Expiry::At(at) => Expiry::At(START_MS + at),
                        other => *other,
                    },
                ),
                AnyOp::String(Op::SetRange(_, name, offset, bytes)) => {
                    store.set_range(DB, key(&[*name]), *offset, bytes);
                }
                AnyOp::String(Op::Delete(_, name)) => {
                    store.delete(DB, key(&[*name]));
                }
                AnyOp::String(Op::SetExpiry(_, name, at)) => {
                    store.set_expiry(DB, key(&[*name]), at.map(|at| START_MS + at));
                }
                AnyOp::String(_) | AnyOp::NextRound => {}
            }
        }
        group = store.suspend_transaction();
    }
    group
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_rolled_back_leaves_no_trace_and_what_is_committed_is_one_group(
        before in any_ops(), undone in any_ops(), kept in any_ops(), at_once in any::<bool>(),
    ) {
        let mut store = store();
        let group = run_in_rounds(&mut store, &before);
        store.commit_alone(group);
        let (expected, effects) = (described(&mut store), store.sink().effects.clone());
        let forms = encodings(&mut store);
        let group = run_in_rounds(&mut store, &undone);
        prop_assert!(group.is_undoable());
        store.roll_back(group);
        prop_assert_eq!(described(&mut store), expected);
        prop_assert_eq!(encodings(&mut store), forms);
        prop_assert_eq!(&store.sink().effects, &effects);
        let groups = store.sink().groups;
        let group = run_in_rounds(&mut store, &kept);
        let wrote = group.wrote();
        let gate = if at_once {
            store.resume_transaction(group);
            store.commit_running()
        } else {
            store.commit_alone(group)
        };
        prop_assert_eq!(store.sink().groups, groups + usize::from(wrote));
        prop_assert!(!wrote || gate == Lsn(store.sink().effects.len() as u64));
        let expected = described(&mut store);
        let mut replayed = replayed(&store.sink().effects, START_MS, &(0..GROUPS));
        prop_assert_eq!(described(&mut replayed), expected);
    }
}

#[test]
fn what_changed_something_large_cannot_be_rolled_back() {
    let mut store = store();
    store.set(DB, key(b"large"), &vec![b'x'; 100_000], Expiry::None);
    store.end_command();
    store.resume_transaction(DeferredGroup::undoable());
    store.set(DB, key(b"small"), b"1", Expiry::None);
    let group = store.suspend_transaction();
    assert!(group.is_undoable());
    store.resume_transaction(group);
    store.set_range(DB, key(b"large"), 3, b"y");
    let group = store.suspend_transaction();
    assert!(!group.is_undoable());
    store.commit_alone(group);
    store.resume_transaction(DeferredGroup::undoable());
    store.flush(DB);
    let group = store.suspend_transaction();
    assert!(!group.is_undoable());
    store.commit_alone(group);
}

#[test]
fn what_is_rolled_back_has_the_form_that_it_had() {
    use crate::value::SetChange;
    let mut store = store();
    let set = key(b"set");
    let add = |store: &mut Store<Recorder>, member: i64| {
        let member = member.to_string();
        store.change(DB, set, SetChange::Add { member: member.as_bytes() });
    };
    (0..1000).for_each(|member| add(&mut store, member));
    for member in 1..1000 {
        let member = member.to_string();
        store.change(DB, set, SetChange::Remove { member: member.as_bytes() });
    }
    store.set(DB, key(b"string"), b"12", Expiry::None);
    store.set_range(DB, key(b"string"), 1, b"3");
    store.end_command();
    let before = encodings(&mut store);
    assert_eq!((before[&b"set"[..]], before[&b"string"[..]]), ("hashtable", "raw"));
    store.resume_transaction(DeferredGroup::undoable());
    store.delete(DB, set);
    store.delete(DB, key(b"string"));
    let group = store.suspend_transaction();
    store.roll_back(group);
    assert_eq!(encodings(&mut store), before);
}

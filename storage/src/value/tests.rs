//! Models beside hashes and sets, and what the tests of all types share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// Limits that a few elements exceed.
pub(super) fn small_limits() -> ValueLimits {
    ValueLimits {
        hash_small_entries: 8,
        hash_small_value_bytes: 16,
        set_integer_entries: 6,
        set_small_entries: 8,
        set_small_value_bytes: 16,
        ..ValueLimits::default()
    }
}

pub(super) fn with_shaping<R>(limits: &ValueLimits, work: impl FnOnce(&mut Shaping<'_>) -> R) -> R {
    let hasher = Arc::new(Hasher::new(5));
    work(&mut Shaping { limits, hasher: &hasher, garbage: &mut Vec::new() })
}

/// A copy by way of its encoding, piece by piece.
pub(super) fn loaded(value: Value<'_>, budget: usize, limits: &ValueLimits) -> Collection {
    let mut copy = Collection::new(value.kind());
    let mut place = Some(codec::Place::START);
    let mut whole = Vec::new();
    codec::encode(value, &mut whole);
    assert_eq!(codec::decode(&whole).map(|encoded| encoded.kind), Ok(value.kind()));
    while let Some(from) = place {
        let mut piece = Vec::new();
        place = codec::encode_piece(value, &from, budget, &mut piece);
        assert_eq!(codec::check(value.kind(), &piece), Ok(()));
        with_shaping(limits, |shaping| copy.load(&piece, shaping)).expect("it has been checked");
    }
    copy
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (-4_i32..20).prop_map(|n| n.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        2 => (0_u32..8).prop_map(|n| format!("name {n}").into_bytes()),
        1 => Just(vec![b'x'; 40]),
    ]
}

proptest! {
    #[test]
    fn hashes_agree_with_a_map(
        ops in prop::collection::vec((0_u8..8, name(), name(), prop::option::of(0_u64..100)), 0..80),
        expires in any::<bool>(),
    ) {
        const NOW: u64 = 50;
        let limits = small_limits();
        let mut hash = Hash::new();
        let mut model: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)> = BTreeMap::new();
        for (op, field, value, at) in &ops {
            let at = at.filter(|_| expires);
            let (change, expected) = match op {
                0..=4 => {
                    model.insert(field.clone(), (value.clone(), at));
                    (HashChange::Set { field, value, expire_at_ms: at }, true)
                }
                5..=6 => (HashChange::Delete { field }, model.remove(field).is_some()),
                _ => {
                    let found = model.get_mut(field);
                    // The same time again is a change as any other: it is told of, and so logged.
                    let applies =
                        found.is_some_and(|(_, expiry)| std::mem::replace(expiry, at).or(at).is_some());
                    (HashChange::Expire { field, expire_at_ms: at }, applies)
                }
            };
            let parts = change.to_parts();
            prop_assert_eq!(HashChange::from_parts(&parts), Some(change));
            let changed = with_shaping(&limits, |shaping| hash.apply(change, shaping));
            prop_assert_eq!(changed > 0, expected);
            prop_assert_eq!(hash.len(), model.len());
        }
        let live = |hash: &Hash| -> BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)> {
            let fields = hash.iter(NOW);
            fields.map(|field| (field.name.to_vec(), (field.value.to_vec(), field.expire_at_ms))).collect()
        };
        let expected: BTreeMap<_, _> =
            model.iter().filter(|(_, (_, at))| at.is_none_or(|at| NOW <= at)).map(|(k, v)| (k.clone(), v.clone())).collect();
        prop_assert_eq!(live(&hash), expected.clone());
        prop_assert_eq!(hash.live_len(NOW), expected.len());
        prop_assert_eq!(hash.next_expiry_ms(), model.values().filter_map(|(_, at)| *at).min());
        prop_assert_eq!(hash.has_lapsed(NOW), expected.len() < model.len());
        let sampled = (!model.is_empty()).then(|| hash.sample(NOW, &mut || 77).map(|field| field.name.to_vec()));
        prop_assert!(sampled.flatten().map_or(expected.is_empty(), |name| expected.contains_key(&name)));
        for (field, (value, _)) in &model {
            let found = hash.get(field, NOW).map(|value| value.to_vec());
            prop_assert_eq!(found.as_ref(), expected.contains_key(field).then_some(value));
        }
        let mut scanned = BTreeSet::new();
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            cursor = hash.scan(from, 3, NOW, &mut |field| {
                scanned.insert(field.name.to_vec());
            });
        }
        prop_assert!(scanned.iter().eq(expected.keys()));
        if !model.is_empty() {
            let copy = loaded(Value::Hash(&hash), 3, &limits);
            let Collection::Hash(copy) = copy else { unreachable!() };
            prop_assert_eq!(live(&copy), expected);
            prop_assert_eq!(copy.len(), model.len());
        }
    }

    #[test]
    fn sets_agree_with_a_set(
        ops in prop::collection::vec((0_u8..10, name(), prop::option::of(0_u64..100)), 0..80),
        expires in any::<bool>(),
    ) {
        const NOW: u64 = 50;
        let limits = small_limits();
        let mut set = Set::new();
        let mut model: BTreeMap<Vec<u8>, Option<u64>> = BTreeMap::new();
        for (op, member, at) in &ops {
            let (change, expected) = match op {
                0..=4 => {
                    let is_new = !model.contains_key(member);
                    model.entry(member.clone()).or_default();
                    (SetChange::Add { member }, is_new)
                }
                5..=6 if expires => {
                    let found = model.get_mut(member);
                    let applies = found.is_some_and(|expiry| std::mem::replace(expiry, *at).or(*at).is_some());
                    (SetChange::Expire { member, expire_at_ms: *at }, applies)
                }
                _ => (SetChange::Remove { member }, model.remove(member).is_some()),
            };
            prop_assert_eq!(SetChange::from_parts(&change.to_parts()), Some(change));
            let changed = with_shaping(&limits, |shaping| set.apply(change, shaping));
            prop_assert_eq!(changed > 0, expected);
            prop_assert_eq!(set.len(), model.len());
            let live = model.get(member).is_some_and(|at| at.is_none_or(|at| NOW <= at));
            prop_assert_eq!(set.at(NOW).contains(member), live);
        }
        let all = |set: &Set| -> BTreeMap<Vec<u8>, Option<u64>> {
            let live = set.at(NOW);
            live.iter().map(|member| (member.to_vec(), live.life(&member).end())).collect()
        };
        let expected: BTreeMap<_, _> =
            model.iter().filter(|(_, at)| at.is_none_or(|at| NOW <= at)).map(|(k, v)| (k.clone(), *v)).collect();
        prop_assert_eq!(all(&set), expected.clone());
        prop_assert_eq!(set.at(NOW).len(), expected.len());
        prop_assert_eq!(set.next_expiry_ms(), model.values().filter_map(|at| *at).min());
        prop_assert_eq!(set.at(NOW).has_lapsed(), expected.len() < model.len());
        let mut scanned = BTreeSet::new();
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            cursor = set.at(NOW).scan(from, 3, &mut |member| {
                scanned.insert(member.to_vec());
            });
        }
        prop_assert!(scanned.iter().eq(expected.keys()));
        let mut state = 1_u64;
        let mut random = || { state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); state >> 11 };
        if !model.is_empty() {
            let sampled = set.at(NOW).sample(&mut random);
            prop_assert!(sampled.map_or(expected.is_empty(), |member| expected.contains_key(&*member)));
            let copy = loaded(Value::Set(&set), 3, &limits);
            let Collection::Set(copy) = copy else { unreachable!() };
            prop_assert_eq!(all(&copy), expected);
            prop_assert_eq!(copy.len(), model.len());
        }
    }
}

#[test]
fn encodings_change_where_redis_changes_them() {
    let limits = ValueLimits::default();
    with_shaping(&limits, |shaping| {
        let mut set = Set::new();
        let add = |set: &mut Set, number: u32, shaping: &Shaping<'_>| {
            set.apply(SetChange::Add { member: number.to_string().as_bytes() }, shaping);
        };
        (0..512).for_each(|number| add(&mut set, number, shaping));
        assert_eq!(set.encoding(), "intset");
        add(&mut set, 511, shaping);
        assert_eq!(set.encoding(), "intset", "what is there already adds nothing");
        add(&mut set, 512, shaping);
        assert_eq!(set.encoding(), "hashtable");

        let mut set = Set::new();
        (0..100).for_each(|number| add(&mut set, number, shaping));
        set.apply(SetChange::Add { member: b"x" }, shaping);
        assert_eq!(set.encoding(), "listpack");
        (100..128).for_each(|number| add(&mut set, number, shaping));
        assert_eq!(set.encoding(), "hashtable");

        let mut hash = Hash::new();
        let value = [b'v'; 65];
        hash.apply(HashChange::Set { field: b"f", value: &value[..64], expire_at_ms: None }, shaping);
        assert_eq!(hash.encoding(), "listpack");
        hash.apply(HashChange::Expire { field: b"f", expire_at_ms: Some(1) }, shaping);
        assert_eq!(hash.encoding(), "listpackex");
        hash.apply(HashChange::Expire { field: b"f", expire_at_ms: None }, shaping);
        assert_eq!(hash.encoding(), "listpackex", "it stays so");
        hash.apply(HashChange::Set { field: b"f", value: &value, expire_at_ms: None }, shaping);
        assert_eq!(hash.encoding(), "hashtable");
    });
}

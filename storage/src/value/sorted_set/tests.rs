//! A plain model beside both forms, and large sets that split and join.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Collection, Element, Life, Value, ValueLimits};
use super::*;
use crate::table::Hasher;
use crate::value::tests::{loaded, with_shaping};

fn limits() -> ValueLimits {
    ValueLimits { sorted_set_small_entries: 6, sorted_set_small_value_bytes: 16, ..ValueLimits::default() }
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (-4_i32..30).prop_map(|n| n.to_string().into_bytes()),
        2 => (0_u32..8).prop_map(|n| format!("member {n}").into_bytes()),
        1 => Just(vec![b'x'; 40]),
        1 => Just(Vec::new()),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-3_i32..4).prop_map(f64::from),
        2 => (-9_i32..9).prop_map(|n| f64::from(n) / 8.0),
        1 => prop::sample::select(vec![0.1, -0.0, f64::INFINITY, f64::NEG_INFINITY, 1e300, 5e-324, 9_007_199_254_740_993.0, 2e18]),
    ]
}

/// When the models are looked at, ms.
const NOW: u64 = 50;

/// Scores of members, and when they expire.
type Model = BTreeMap<Vec<u8>, (f64, Option<u64>)>;

/// The live ones of the model in the order that they should have.
fn ordered(model: &Model) -> Vec<(Vec<u8>, u64)> {
    let live = model.iter().filter(|(_, (_, at))| at.is_none_or(|at| NOW <= at));
    let mut all: Vec<_> = live.map(|(member, (score, _))| (*score, member.clone())).collect();
    all.sort_by(|a, b| order::compare_scores(a.0, b.0).then_with(|| a.1.cmp(&b.1)));
    all.into_iter().map(|(score, member)| (member, score.to_bits())).collect()
}

fn listed<'a>(members: impl Iterator<Item = (Element<'a>, f64)>) -> Vec<(Vec<u8>, u64)> {
    members.map(|(member, score)| (member.to_vec(), score.to_bits())).collect()
}

fn agrees(whole: &SortedSet, model: &Model) {
    let expected = ordered(model);
    let set = whole.at(NOW);
    assert_eq!((whole.len(), set.len()), (model.len(), expected.len()));
    assert_eq!(listed(set.iter()), expected);
    assert!(listed(set.iter().rev()).iter().rev().eq(&expected));
    for (rank, (member, score)) in expected.iter().enumerate() {
        assert_eq!(set.rank(member), Some(rank));
        assert_eq!(set.score(member).map(f64::to_bits), Some(*score));
    }
    for (member, (_, at)) in model {
        let live = at.is_none_or(|at| NOW <= at);
        let life = if live { Life::from(*at) } else { Life::Absent };
        assert_eq!((set.life(member), set.score(member).is_some()), (life, live));
        assert!(live || set.rank(member).is_none());
    }
    assert_eq!(set.rank(b"no such member"), None);
    assert_eq!(whole.next_expiry_ms(), model.values().filter_map(|(_, at)| *at).min());
    let lapsed = whole.first_lapsed(NOW).map(|member| model[member].1);
    assert_eq!(lapsed, whole.next_expiry_ms().filter(|at| *at < NOW).map(Some));
    for number in 0..expected.len() as u64 {
        let sampled = set.sample(&mut || number).map(|(member, _)| member.to_vec());
        assert!(sampled.is_some_and(|member| expected.iter().any(|(other, _)| *other == member)));
    }
    assert!(!expected.is_empty() || set.sample(&mut || 7).is_none());
    let mut scanned = BTreeSet::new();
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        cursor = set.scan(from, 3, &mut |member, _| {
            scanned.insert(member.to_vec());
        });
    }
    assert!(scanned.iter().eq(expected.iter().map(|(member, _)| member).collect::<BTreeSet<_>>()));
}

proptest! {
    #[test]
    fn sorted_sets_agree_with_a_sorted_list(
        ops in prop::collection::vec((0_u8..10, member(), score(), prop::option::of(0_u64..100)), 0..80),
        bounds in prop::collection::vec((score(), any::<bool>()), 3),
        expires in any::<bool>(),
    ) {
        let limits = limits();
        let mut set = SortedSet::new();
        let mut model = Model::new();
        for (op, member, score, at) in &ops {
            let (change, expected) = match op {
                0..=4 => {
                    let score = score + 0.0;
                    let old = model.get(member).copied();
                    model.insert(member.clone(), (score, old.and_then(|(_, at)| at)));
                    (SortedSetChange::Add { member, score }, old.map(|(score, _)| score) != Some(score))
                }
                5..=6 if expires => {
                    let found = model.get_mut(member);
                    let applies = found.is_some_and(|(_, old)| std::mem::replace(old, *at).or(*at).is_some());
                    (SortedSetChange::Expire { member, expire_at_ms: *at }, applies)
                }
                _ => (SortedSetChange::Remove { member }, model.remove(member).is_some()),
            };
            prop_assert_eq!(SortedSetChange::from_parts(&change.to_parts()), Some(change));
            let changed = with_shaping(&limits, |shaping| set.apply(change, shaping));
            prop_assert_eq!(changed > 0, expected);
        }
        agrees(&set, &model);
        let (expected, live) = (ordered(&model), set.at(NOW));
        for (bound, inclusive) in bounds {
            let before = |score: f64| if inclusive { score <= bound } else { score < bound };
            let count = expected.iter().filter(|(_, score)| before(f64::from_bits(*score))).count();
            prop_assert_eq!(live.partition(|score, _| before(score)), count);
            prop_assert_eq!(listed(live.range(count / 2, count)), &expected[count / 2..count]);
            prop_assert_eq!(listed(live.range(count / 2, usize::MAX)), &expected[count / 2..]);
        }
        if !model.is_empty() {
            let Collection::SortedSet(copy) = loaded(Value::SortedSet(&set), 3, &limits) else { unreachable!() };
            agrees(&copy, &model);
        }
    }
}

#[test]
fn ranks_are_found_around_few_and_around_many_that_have_lapsed() {
    let hasher = Arc::new(Hasher::new(5));
    for every in [1, 2, 7, 100, 900] {
        let mut large = Large::new(&hasher);
        for number in 0..2000_u64 {
            let member = number.to_le_bytes();
            large.put(&member, (number % 50) as f64);
            large.set_expiry(&member, (number % every == 0).then_some(NOW - 1 - number % 20));
        }
        let set = SortedSet(Form::Large(Box::new(large)));
        let live = set.at(NOW);
        let mut expected: Vec<u64> = (0..2000).filter(|number| number % every > 0).collect();
        expected.sort_by_key(|number| (number % 50, number.to_le_bytes()));
        let found: Vec<u64> = live
            .iter()
            .map(|(member, _)| u64::from_le_bytes((*member).try_into().expect("eight bytes")))
            .collect();
        assert_eq!(found, expected);
        for (rank, number) in expected.iter().enumerate() {
            assert_eq!(live.rank(&number.to_le_bytes()), Some(rank));
            let alone = live.range(rank, rank + 1).next().map(|(member, _)| member.to_vec());
            assert_eq!(alone, Some(number.to_le_bytes().to_vec()));
        }
        assert_eq!(live.len(), expected.len());
    }
}

#[test]
fn large_ones_grow_and_shrink_in_any_order() {
    const MEMBERS: u64 = 20_000;
    let mut random = 7_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let hasher = Arc::new(Hasher::new(5));
    for ascending in [true, false] {
        let mut set = Large::new(&hasher);
        let mut model = BTreeMap::new();
        for number in 0..MEMBERS {
            let score = if ascending { number as f64 } else { (next() % 500) as f64 };
            let member = format!("member:{}", next() % (2 * MEMBERS)).into_bytes();
            set.put(&member, score);
            // Some expire; only whoever looks through the live view sees that.
            let at = (number % 3 == 0).then_some(next() % 1000);
            set.set_expiry(&member, at);
            model.insert(member, (score, at));
        }
        let compare = |set: &Large, model: &Model| {
            let unexpiring: Model =
                model.iter().map(|(member, (score, _))| (member.clone(), (*score, None))).collect();
            for (member, (_, at)) in model {
                assert_eq!(set.life(member), Life::from(*at));
            }
            let all: Vec<_> =
                set.iter(0, set.len()).map(|(member, score)| (member.to_vec(), score.to_bits())).collect();
            assert!(all == ordered(&unexpiring));
            set.check_tally();
            for (rank, (member, _)) in all.iter().enumerate().step_by(97) {
                assert_eq!(set.rank(member), Some(rank));
            }
        };
        compare(&set, &model);
        let full = set.memory_bytes();
        let mut members: Vec<_> = model.keys().cloned().collect();
        while members.len() > 100 {
            let gone = members.swap_remove(next() as usize % members.len());
            assert!(set.remove(&gone) && !set.remove(&gone));
            model.remove(&gone);
            if members.len() % 5000 == 0 {
                compare(&set, &model);
            }
        }
        compare(&set, &model);
        assert!(set.memory_bytes() < full / 20, "{} of {full} bytes left", set.memory_bytes());
        while !set.is_freed() {
            assert!(set.free(10) < 10);
            set.check_tally();
        }
    }
}

#[test]
fn walks_meet_every_member_that_stays() {
    let hasher = Arc::new(Hasher::new(5));
    let mut set = Large::new(&hasher);
    for number in 0..2000_u32 {
        set.put(&number.to_le_bytes(), f64::from(number));
    }
    let mut met = BTreeSet::new();
    let mut cursor = Some(0);
    let mut gone = 0_u32;
    while let Some(from) = cursor {
        let mut seen = 0;
        cursor = set.walk(from, |member, _, _| {
            met.insert(member.to_vec());
            seen += 1;
            seen == 10
        });
        // Odd ones go while the walk is under way, from both ends.
        for number in [2 * gone + 1, 1999 - 2 * gone] {
            set.remove(&number.to_le_bytes());
        }
        gone += 1;
    }
    assert!((0..2000_u32).step_by(2).all(|number| met.contains(number.to_le_bytes().as_slice())));
}

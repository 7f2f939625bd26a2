//! Which keys go when memory is short, how many, and that the log says so.

use super::*;
use crate::{EvictionOrder, EvictionPolicy};

const ALL: [(EvictionOrder, bool); 7] = [
    (EvictionOrder::Recency, false),
    (EvictionOrder::Recency, true),
    (EvictionOrder::Frequency, false),
    (EvictionOrder::Frequency, true),
    (EvictionOrder::TimeToLive, true),
    (EvictionOrder::Random, false),
    (EvictionOrder::Random, true),
];

const NOBODY: &dyn Fn(&[u8]) -> bool = &|_| false;

fn numbered(number: u64) -> Vec<u8> {
    format!("key-{number}").into_bytes()
}

/// Keys of which each third has no expiry, in two databases.
fn filled(access: Access, count: u64) -> Store<Recorder> {
    let mut store = store();
    store.set_access(access);
    for number in 0..count {
        store.set_now(1_000_000 + number * 1000);
        let expiry = match number % 3 {
            0 => Expiry::None,
            _ => Expiry::At(1_000_000_000 + (number * 7919) % 100_003),
        };
        let database = DatabaseId((number % 5 == 0).into());
        store.begin_command();
        store.set(database, key(&numbered(number)), &[7; 100], expiry);
        store.end_command();
    }
    store
}

fn left(store: &mut Store<Recorder>) -> BTreeMap<Vec<u8>, Option<u64>> {
    let mut left = BTreeMap::new();
    for database in 0..2 {
        for (name, (_, expiry)) in contents(store, DatabaseId(database)) {
            left.insert(name, expiry);
        }
    }
    left
}

#[test]
fn every_policy_keeps_to_the_limit_and_logs_what_goes() {
    for (order, volatile) in ALL {
        let policy = EvictionPolicy { volatile, order };
        let mut store = filled(policy.access(), 3000);
        let before = left(&mut store);
        store.end_command();
        let target = store.live_bytes() - 100_000;
        let evicted = store.evict((policy, 5), target, usize::MAX, NOBODY);
        assert!(evicted.live_bytes <= target && !evicted.is_exhausted, "{policy:?}: {evicted:?}");
        assert_eq!(evicted.live_bytes, store.live_bytes(), "{policy:?}: what was counted is exact");
        let after = left(&mut store);
        store.end_command();
        assert_eq!(before.len() - after.len(), evicted.keys);
        assert_eq!(store.stats().evicted_keys, evicted.keys as u64);
        // About 150 bytes a key: not more went than had to.
        assert!((300..900).contains(&evicted.keys), "{policy:?}: {evicted:?}");
        let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
        assert!(gone.clone().all(|(_, expiry)| expiry.is_some()) || !volatile, "{policy:?}");
        let logged = store.sink().effects.iter().filter(|effect| matches!(effect, Owned::Delete(..))).count();
        assert_eq!(logged, evicted.keys);
        let mut again = replayed(&store.sink().effects.clone(), 2_000_000, &(0..256));
        assert_eq!(left(&mut again), after);
    }
}

#[test]
fn the_longest_unused_the_rarest_and_the_shortest_lived_go_first() {
    // Of 2000 keys with 600 to go, those that should stay are among the last 1000 by the policy's order.
    let mut store = filled(Access::Recency, 2000);
    let policy = EvictionPolicy { volatile: false, order: EvictionOrder::Recency };
    let evicted = store.evict((policy, 10), 0, 600, NOBODY);
    assert_eq!(evicted.keys, 600);
    let after = left(&mut store);
    store.end_command();
    let young = (1200..2000).filter(|number| after.contains_key(&numbered(*number))).count();
    assert!(young > 780, "{young} of 800 recently used keys are left");

    let mut store = filled(Access::Frequency, 2000);
    for _ in 0..60 {
        for number in (0..2000).step_by(4) {
            store.begin_command();
            let database = DatabaseId((number % 5 == 0).into());
            assert!(store.get(database, key(&numbered(number))).is_some());
            store.end_command();
        }
    }
    let policy = EvictionPolicy { volatile: false, order: EvictionOrder::Frequency };
    store.forget_candidates();
    assert_eq!(store.evict((policy, 10), 0, 1000, NOBODY).keys, 1000);
    let after = left(&mut store);
    store.end_command();
    let used = (0..2000).step_by(4).filter(|number| after.contains_key(&numbered(*number))).count();
    assert!(used > 490, "{used} of 500 often used keys are left");

    let mut store = filled(Access::Recency, 2000);
    let policy = EvictionPolicy { volatile: true, order: EvictionOrder::TimeToLive };
    store.evict((policy, 10), 0, 400, NOBODY);
    let after = left(&mut store);
    store.end_command();
    let mut lives: Vec<u64> = (0..2000).filter(|n| n % 3 > 0).map(|n| (n * 7919) % 100_003).collect();
    lives.sort_unstable();
    let late = 1_000_000_000 + lives[lives.len() / 2];
    let long = after.values().filter(|expiry| expiry.is_some_and(|at| at >= late)).count();
    assert!(long + 20 > lives.len() / 2, "{long} of {} with a long life are left", lives.len() / 2);
}

#[test]
fn a_few_keys_with_an_expiry_are_found_among_many_and_when_none_is_left_that_is_said() {
    let mut store = store();
    store.set_now(1000);
    for number in 0..5000 {
        store.begin_command();
        // Many stale hints.
        store.set(DatabaseId(0), key(&numbered(number)), b"v", Expiry::At(1_000_000));
        store.set(DatabaseId(0), key(&numbered(number)), b"v", Expiry::None);
        if number % 1000 == 0 {
            store.set(DatabaseId(0), key(&numbered(number)), b"v", Expiry::At(2_000_000));
        }
        store.end_command();
    }
    for order in [EvictionOrder::TimeToLive, EvictionOrder::Random] {
        let evicted = store.evict((EvictionPolicy { volatile: true, order }, 5), 0, 2, NOBODY);
        assert_eq!((evicted.keys, evicted.is_exhausted), (2, false), "{order:?}");
    }
    let policy = EvictionPolicy { volatile: true, order: EvictionOrder::Recency };
    let evicted = store.evict((policy, 5), 0, 100, NOBODY);
    assert_eq!((evicted.keys, evicted.is_exhausted), (1, true));
    assert_eq!(store.len(DatabaseId(0)), 4995);
}

#[test]
fn locked_keys_stay() {
    let mut store = filled(Access::Recency, 300);
    let locked = |name: &[u8]| name.ends_with(b"7");
    for (order, volatile) in ALL {
        let policy = EvictionPolicy { volatile, order };
        let evicted = store.evict((policy, 5), 0, usize::MAX, &locked);
        assert!(evicted.is_exhausted);
    }
    let after = left(&mut store);
    store.end_command();
    assert_eq!(after.len(), 30);
    assert!(after.keys().all(|name| name.ends_with(b"7")));
}

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn slot_of(key: &[u8]) -> u16 {
    key.iter().fold(0_u16, |slot, &byte| slot.wrapping_mul(31).wrapping_add(u16::from(byte))) % GROUP_SLOTS
}

fn find(table: &Table, hasher: &Hasher, key: &[u8]) -> Option<Position> {
    table.find(hasher.hash(key), slot_of(key), key)
}

fn insert(table: &mut Table, hasher: &Hasher, key: &[u8], value: &[u8]) {
    let expiry = key.last().filter(|&&byte| byte % 3 == 0).map(|&byte| u64::from(byte) + 5);
    table.insert(hasher, hasher.hash(key), slot_of(key), OwnedEntry::string(key, value, expiry, 0));
}

fn remove(table: &mut Table, hasher: &Hasher, key: &[u8]) -> bool {
    let at = find(table, hasher, key);
    at.map(|at| table.remove(hasher, at)).is_some()
}

fn all_keys(table: &Table, hasher: &Hasher) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut position = Some(0);
    while let Some(at) = position {
        position = table.scan(hasher, at, |entry, _| keys.push(entry.key().to_vec()));
        assert!(position.is_none_or(|next| next > at), "a scan always advances");
    }
    keys
}

/// What has to hold of a table at any time.
fn check(table: &Table, hasher: &Hasher, model: &Model) {
    assert_eq!(table.len(), model.len());
    let mut totals = Totals::default();
    for (key, value) in model {
        let at = find(table, hasher, key).expect("an inserted key is found");
        assert_eq!((table.entry(at).key(), table.entry(at).string().unwrap()), (&key[..], &value[..]));
        assert_eq!(table.slot_in_group(at), slot_of(key));
        totals.add(table.entry(at));
    }
    assert_eq!(table.totals(), totals);
    let scanned = all_keys(table, hasher);
    assert_eq!(scanned.len(), model.len(), "a scan of a table at rest sees each key once");
    assert!(scanned.iter().collect::<BTreeSet<_>>().into_iter().eq(model.keys()));
    if table.segments.is_empty() {
        assert_eq!(table.memory_bytes(), 0);
        return;
    }
    assert_eq!(table.directory.len(), 1 << table.depth);
    for (index, &segment) in table.directory.iter().enumerate() {
        let segment = &table.segments[segment as usize];
        assert_eq!(index >> (table.depth - segment.depth), segment.prefix as usize);
    }
    assert!(
        table.segments.iter().any(|segment| segment.depth == table.depth),
        "a directory no longer than needed"
    );
    assert_eq!(table.bucket_bytes, table.segments.iter().map(Segment::bytes).sum::<usize>());
    let in_segments: usize = table.segments.iter().map(Segment::len).sum();
    assert_eq!(in_segments + table.spill.len(), table.len());
}

fn key(n: u32) -> Vec<u8> {
    format!("key:{n}").into_bytes()
}

/// Runs of insertions and of removals, long enough to split and to merge.
fn runs() -> impl Strategy<Value = Vec<(bool, u32, u32)>> {
    prop::collection::vec((any::<bool>(), 0_u32..6000, 1_u32..3000), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn agrees_with_a_map(seed: u64, runs in runs()) {
        let hasher = Hasher::new(seed);
        let (mut table, mut model) = (Table::default(), Model::new());
        for (inserts, start, len) in runs {
            for n in start..start + len {
                let key = key(n);
                if inserts && !model.contains_key(&key) {
                    insert(&mut table, &hasher, &key, &n.to_le_bytes());
                    model.insert(key, n.to_le_bytes().to_vec());
                } else if !inserts {
                    prop_assert_eq!(remove(&mut table, &hasher, &key), model.remove(&key).is_some());
                }
            }
            check(&table, &hasher, &model);
        }
    }

    /// Between any two steps of the scan the table grows or shrinks; the keys that stay must all be seen.
    #[test]
    fn a_scan_loses_no_key_that_stays(seed: u64, stay in 1_u32..2000, runs in runs()) {
        let hasher = Hasher::new(seed);
        let mut table = Table::default();
        let staying: BTreeSet<Vec<u8>> = (0..stay).map(|n| format!("stay:{n}").into_bytes()).collect();
        for key in &staying {
            insert(&mut table, &hasher, key, b"");
        }
        let mut runs = runs.into_iter().cycle();
        let mut seen = BTreeSet::new();
        let mut position = Some(0);
        while let Some(at) = position {
            position = table.scan(&hasher, at, |entry, _| {
                seen.insert(entry.key().to_vec());
            });
            let (inserts, start, len) = runs.next().expect("cycled");
            for n in start..start + len.min(400) {
                let key = key(n);
                if !inserts {
                    remove(&mut table, &hasher, &key);
                } else if find(&table, &hasher, &key).is_none() {
                    insert(&mut table, &hasher, &key, b"");
                }
            }
        }
        prop_assert!(staying.is_subset(&seen));
    }
}

#[test]
fn keys_that_collide_beyond_help_are_kept_all_the_same() {
    for mask in [0, TAG_HASH_MASK, 0xffff << 48] {
        let hasher = Hasher::with_mask(1, mask);
        let (mut table, mut model) = (Table::default(), Model::new());
        for n in 0..1500 {
            insert(&mut table, &hasher, &key(n), b"v");
            model.insert(key(n), b"v".to_vec());
        }
        assert_eq!(table.spill.is_empty(), mask == 0xffff << 48);
        check(&table, &hasher, &model);
        assert!(table.sample(&mut || 0x1234_5678_9abc_def0).is_some());
        for n in (0..1500).rev() {
            assert!(remove(&mut table, &hasher, &key(n)));
            model.remove(&key(n));
        }
        check(&table, &hasher, &model);
    }
}

#[test]
fn buckets_fill_well_before_a_segment_grows_or_splits() {
    let hasher = Hasher::new(3);
    let mut table = Table::default();
    for n in 0..100_000 {
        insert(&mut table, &hasher, &key(n), b"");
        if n > 5000 && n % 1000 == 0 {
            let bytes = table.memory_bytes() - table.totals().bytes;
            assert!(bytes <= 13 * table.len(), "{bytes} bytes of table for {} keys", table.len());
        }
    }
    assert!(table.spill.is_empty());
}

#[test]
fn removals_give_memory_back_as_they_go() {
    let hasher = Hasher::new(4);
    let mut table = Table::default();
    for n in 0..50_000 {
        insert(&mut table, &hasher, &key(n), b"");
    }
    for n in 0..49_900 {
        remove(&mut table, &hasher, &key(n));
    }
    assert!(table.memory_bytes() - table.totals().bytes <= 16 * 1024, "{} bytes", table.memory_bytes());
    for n in 49_900..50_000 {
        remove(&mut table, &hasher, &key(n));
    }
    assert_eq!(table.memory_bytes(), 0);
}

#[test]
fn freeing_takes_bounded_steps_and_ends() {
    let hasher = Hasher::new(5);
    let mut table = Table::default();
    for n in 0..10_000 {
        insert(&mut table, &hasher, &key(n), &[0; 2000]);
    }
    let mut steps = 0;
    while !table.is_freed() {
        let before = table.len();
        table.free(100, &mut Vec::new());
        assert!(before - table.len() <= 100);
        steps += 1;
    }
    assert!(steps >= 100);
    assert_eq!((table.len(), table.totals()), (0, Totals::default()));
}

#[test]
fn samples_reach_every_key_about_evenly() {
    let hasher = Hasher::new(6);
    let mut table = Table::default();
    for n in 0..2000 {
        insert(&mut table, &hasher, &key(n), b"");
    }
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.rotate_left(32)
    };
    let mut counts = BTreeMap::new();
    for _ in 0..100_000 {
        let at = table.sample(&mut random).expect("the table has keys");
        *counts.entry(table.entry(at).key().to_vec()).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 2000);
    assert!(counts.values().all(|count| (10..=150).contains(count)), "expected about 50 each");
}

#[test]
fn a_slot_lists_its_own_keys() {
    let hasher = Hasher::new(7);
    let mut table = Table::default();
    for n in 0..3000 {
        insert(&mut table, &hasher, &key(n), b"");
    }
    for slot in 0..GROUP_SLOTS {
        let listed: BTreeSet<Vec<u8>> = table.in_slot(slot).map(|entry| entry.key().to_vec()).collect();
        let expected: BTreeSet<Vec<u8>> = (0..3000).map(key).filter(|key| slot_of(key) == slot).collect();
        assert_eq!(listed, expected);
    }
}

#[test]
fn hints_find_the_earliest_expiry_of_their_hash() {
    let hasher = Hasher::with_mask(8, 0);
    let mut table = Table::default();
    for n in 0..300 {
        table.insert(&hasher, 0, slot_of(&key(n)), OwnedEntry::string(&key(n), b"", None, 0));
    }
    assert_eq!(table.find_expiring(&hasher, 0, u64::MAX), None);
    // In a bucket, displaced, and spilled.
    for (n, expiry, earliest) in [(7, 30, 7), (20, 40, 7), (200, 20, 200), (0, 10, 0)] {
        let at = find(&table, &hasher, &key(n)).expect("inserted");
        table.update(at, |entry| entry.set_expiry(Some(expiry)));
        assert_eq!(table.find_expiring(&hasher, 0, u64::MAX), find(&table, &hasher, &key(earliest)));
    }
}

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

/// What is done to a table.
#[derive(Clone, Debug)]
enum Run {
    /// Of so many keys from this one on.
    Insert(u32, u32),
    Remove(u32, u32),
    /// For so many keys.
    Reserve(usize),
    Shrink,
}

/// Runs of insertions and of removals, long enough to split and to merge; with room made and given back between them.
fn runs() -> impl Strategy<Value = Vec<Run>> {
    let run = prop_oneof![
        3 => (0_u32..6000, 1_u32..3000).prop_map(|(start, len)| Run::Insert(start, len)),
        3 => (0_u32..6000, 1_u32..3000).prop_map(|(start, len)| Run::Remove(start, len)),
        2 => (0_usize..20_000).prop_map(Run::Reserve),
        1 => Just(Run::Shrink),
    ];
    prop::collection::vec(run, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn agrees_with_a_map(seed: u64, runs in runs()) {
        let hasher = Hasher::new(seed);
        let (mut table, mut model) = (Table::default(), Model::new());
        for run in runs {
            match run {
                Run::Insert(start, len) => for n in start..start + len {
                    if model.insert(key(n), n.to_le_bytes().to_vec()).is_none() {
                        insert(&mut table, &hasher, &key(n), &n.to_le_bytes());
                    }
                },
                Run::Remove(start, len) => for n in start..start + len {
                    let there = model.remove(&key(n)).is_some();
                    prop_assert_eq!(remove(&mut table, &hasher, &key(n)), there);
                },
                Run::Reserve(keys) => table.reserve(&hasher, keys),
                Run::Shrink => table.shrink(&hasher),
            }
            check(&table, &hasher, &model);
        }
    }

    /// Between any two steps of the scan the table grows or shrinks, a little or all of it; the keys that stay must all be seen.
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
            match runs.next().expect("cycled") {
                Run::Insert(start, len) => {
                    for key in (start..start + len.min(400)).map(key) {
                        if find(&table, &hasher, &key).is_none() {
                            insert(&mut table, &hasher, &key, b"");
                        }
                    }
                }
                Run::Remove(start, len) => {
                    for n in start..start + len.min(400) {
                        remove(&mut table, &hasher, &key(n));
                    }
                }
                Run::Reserve(keys) => table.reserve(&hasher, keys),
                Run::Shrink => table.shrink(&hasher),
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
        table.rebuild(&hasher, shape::Shape::of(20_000));
        check(&table, &hasher, &model);
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

fn entry_key(n: u32) -> Vec<u8> {
    format!("key:{n:012}").into_bytes()
}

fn fill(table: &mut Table, hasher: &Hasher, keys: std::ops::Range<u32>, value: &[u8]) {
    for n in keys {
        insert(table, hasher, &entry_key(n), value);
    }
}

fn filled(hasher: &Hasher, keys: u32) -> Table {
    let mut table = Table::default();
    fill(&mut table, hasher, 0..keys, b"");
    table
}

#[test]
fn keys_that_room_was_made_for_move_nothing() {
    let hasher = Hasher::new(9);
    for (early, keys) in [(0, 10), (20, 1000), (1000, 39_062), (13, 50_926)] {
        let mut table = filled(&hasher, early);
        table.reserve(&hasher, keys as usize);
        let (segments, slots) = (table.segments.len(), table.slots());
        assert!(slots * 94 / 100 >= keys as usize, "{slots} slots for {keys} keys");
        fill(&mut table, &hasher, early..keys, b"");
        assert_eq!(table.segments.len(), segments, "a segment of a table for {keys} was split");
        assert!(table.slots() * 100 <= slots * 102, "{slots} slots became {}", table.slots());
    }
}

#[test]
fn room_is_made_for_much_more_only() {
    let hasher = Hasher::new(10);
    let mut table = filled(&hasher, 5000);
    let slots = table.slots();
    for keys in [0, 4000, 5000, 6000] {
        table.reserve(&hasher, keys);
        assert_eq!((table.slots(), table.reserved), (slots, false), "room for {keys} was as good as there");
    }
    table.reserve(&hasher, 20_000);
    let slots = table.slots();
    assert!(slots > 20_000);
    table.reserve(&hasher, 80_000);
    assert_eq!(table.slots(), slots, "more room, while most of it is empty");
}

#[test]
fn a_table_that_was_reserved_shrinks_to_about_what_growth_would_have_made_it() {
    let hasher = Hasher::new(11);
    let sizes = || (1..60).map(|step| (100.0 * 1.1_f64.powi(step)) as u32);
    // What buckets take counts the more the smaller the entries are.
    for (value, most_percent) in [(&[0; 64][..], 105), (&[0; 8], 108)] {
        for factor in [0.5, 0.9, 1.0, 1.1, 1.4, 2.0, 10.0] {
            let (mut all, mut all_grown) = (0, 0);
            for keys in sizes() {
                let (mut table, mut grown) = (Table::default(), Table::default());
                fill(&mut grown, &hasher, 0..keys, value);
                fill(&mut table, &hasher, 0..keys / 16, value);
                table.reserve(&hasher, (f64::from(keys) * factor) as usize);
                fill(&mut table, &hasher, keys / 16..keys, value);
                table.shrink(&hasher);
                let (bytes, grown) = (table.memory_bytes(), grown.memory_bytes());
                let case = format!("{keys} keys of {}, reserved {factor}", value.len());
                assert!(bytes * 100 <= grown * most_percent, "{case}: {bytes} bytes, grown {grown}");
                all += bytes;
                all_grown += grown;
            }
            assert!(all * 100 <= all_grown * 102, "reserved {factor}: {all} bytes, grown {all_grown}");
        }
    }
}

#[test]
fn a_reserved_table_keeps_its_room_through_removals_until_it_shrinks() {
    let hasher = Hasher::new(12);
    let mut table = filled(&hasher, 5000);
    table.reserve(&hasher, 50_000);
    let slots = table.slots();
    for n in 0..4999 {
        remove(&mut table, &hasher, &entry_key(n));
    }
    assert_eq!(table.slots(), slots);
    table.shrink(&hasher);
    assert_eq!(table.slots(), BUCKET_SLOTS);
    assert!(find(&table, &hasher, &entry_key(4999)).is_some());
    let mut empty = Table::default();
    empty.reserve(&hasher, 1000);
    empty.shrink(&hasher);
    assert_eq!(empty.memory_bytes(), 0);
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

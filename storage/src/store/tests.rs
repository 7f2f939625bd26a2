mod collections;
mod eviction;
mod libraries;
mod members;
mod rollback;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::value::Parts;
use crate::{DeferredGroup, ShardId, TransactionId, Value};

/// An effect that owns its bytes, to replay later.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Set(DatabaseId, u16, Vec<u8>, Vec<u8>, Option<u64>),
    SetRange(DatabaseId, u16, Vec<u8>, u64, Vec<u8>),
    Delete(DatabaseId, u16, Vec<u8>),
    Expire(DatabaseId, u16, Vec<u8>, Option<u64>),
    Change(DatabaseId, u16, Vec<u8>, OwnedChange),
    Flush(DatabaseId),
    Swap(DatabaseId, DatabaseId),
    Library(Vec<u8>, Option<Vec<u8>>),
    FlushLibraries,
}

/// What the log writes of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OwnedChange {
    kind: u8,
    op: u8,
    numbers: Vec<u64>,
    first: Vec<u8>,
    second: Vec<u8>,
}

impl OwnedChange {
    fn from(change: Change<'_>) -> OwnedChange {
        let parts = change.to_parts();
        OwnedChange {
            kind: parts.kind,
            op: parts.op,
            numbers: parts.as_numbers().to_vec(),
            first: parts.first.to_vec(),
            second: parts.second.to_vec(),
        }
    }

    fn as_change(&self) -> Change<'_> {
        let parts = Parts::new(self.op, &self.first, &self.second).numbers(&self.numbers).of(self.kind);
        Change::from_parts(&parts).expect("what was written can be read")
    }
}

impl Owned {
    fn from(effect: Effect<'_>) -> Owned {
        match effect {
            Effect::Set { database, slot, key, value, expire_at_ms } => {
                Owned::Set(database, slot, key.to_vec(), value.to_vec(), expire_at_ms)
            }
            Effect::SetRange { database, slot, key, offset, bytes } => {
                Owned::SetRange(database, slot, key.to_vec(), offset, bytes.to_vec())
            }
            Effect::Delete { database, slot, key } => Owned::Delete(database, slot, key.to_vec()),
            Effect::Expire { database, slot, key, expire_at_ms } => {
                Owned::Expire(database, slot, key.to_vec(), expire_at_ms)
            }
            Effect::Change { database, slot, key, change } => {
                Owned::Change(database, slot, key.to_vec(), OwnedChange::from(change))
            }
            Effect::FlushDatabase { database } => Owned::Flush(database),
            Effect::SwapDatabases { a, b } => Owned::Swap(a, b),
            Effect::Library { name, body } => Owned::Library(name.to_vec(), body.map(<[u8]>::to_vec)),
            Effect::FlushLibraries => Owned::FlushLibraries,
        }
    }

    fn as_effect(&self) -> Effect<'_> {
        match self {
            Owned::Set(database, slot, key, value, expire_at_ms) => {
                Effect::Set { database: *database, slot: *slot, key, value, expire_at_ms: *expire_at_ms }
            }
            Owned::SetRange(database, slot, key, offset, bytes) => {
                Effect::SetRange { database: *database, slot: *slot, key, offset: *offset, bytes }
            }
            Owned::Delete(database, slot, key) => Effect::Delete { database: *database, slot: *slot, key },
            Owned::Expire(database, slot, key, expire_at_ms) => {
                Effect::Expire { database: *database, slot: *slot, key, expire_at_ms: *expire_at_ms }
            }
            Owned::Change(database, slot, key, change) => {
                Effect::Change { database: *database, slot: *slot, key, change: change.as_change() }
            }
            Owned::Flush(database) => Effect::FlushDatabase { database: *database },
            Owned::Swap(a, b) => Effect::SwapDatabases { a: *a, b: *b },
            Owned::Library(name, body) => Effect::Library { name, body: body.as_deref() },
            Owned::FlushLibraries => Effect::FlushLibraries,
        }
    }
}

#[derive(Default)]
struct Recorder {
    effects: Vec<Owned>,
    groups: usize,
}

impl EffectSink for Recorder {
    fn append(&mut self, effect: Effect<'_>) -> Lsn {
        self.effects.push(Owned::from(effect));
        Lsn(self.effects.len() as u64)
    }

    fn end_group(&mut self) {
        self.groups += 1;
    }

    fn begin_transaction(&mut self, id: TransactionId, _: &[ShardId]) -> Lsn {
        panic!("transaction {id} in a test of one store")
    }

    fn append_depends(&mut self, on: &[TransactionId]) -> Lsn {
        panic!("dependence on {on:?} in a test of one store")
    }
}

const DATABASES: u16 = 3;
const DB: DatabaseId = DatabaseId(0);
const START_MS: u64 = 1_700_000_000_000;

fn store() -> Store<Recorder> {
    let mut store = Store::new(StoreOptions { databases: DATABASES, hash_seed: 42 }, Recorder::default());
    store.set_now(START_MS);
    store
}

fn key(bytes: &[u8]) -> Key<'_> {
    let slot = bytes.iter().fold(7_u16, |slot, &byte| slot.wrapping_mul(257).wrapping_add(u16::from(byte)));
    Key { bytes, slot: slot % 16384 }
}

/// What a database holds: value and expiry by key.
type Contents = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// All live keys by a whole scan; each must turn up once, since nothing changes meanwhile.
fn contents(store: &mut Store<Recorder>, database: DatabaseId) -> Contents {
    let mut contents = Contents::new();
    let mut cursor = Cursor::default();
    while cursor < Cursor::at_group(GROUPS) {
        cursor = store.scan(database, 0..GROUPS, cursor, 10, &mut |entry| {
            let value = (entry.string().unwrap().to_vec(), entry.expire_at_ms());
            assert!(contents.insert(entry.key().to_vec(), value).is_none());
        });
    }
    contents
}

fn replayed(effects: &[Owned], now_ms: u64, owner: &GroupRange) -> Store<Recorder> {
    let mut store = store();
    for effect in effects {
        store.apply(&effect.as_effect(), owner);
    }
    store.set_now(now_ms);
    assert!(store.sink().effects.is_empty(), "what is applied is not logged again");
    store
}

#[derive(Clone, Debug)]
enum Op {
    Set(u16, u8, Vec<u8>, Expiry),
    SetRange(u16, u8, usize, Vec<u8>),
    Delete(u16, u8),
    SetExpiry(u16, u8, Option<u64>),
    Get(u16, u8),
    RandomKey(u16, u64),
    Flush(u16),
    FlushAll,
    Swap(u16, u16),
    Advance(u64),
    ExpireCycle(usize),
    Reclaim(usize),
}

fn ops() -> impl Strategy<Value = Op> {
    let database = || 0..DATABASES;
    // Few keys, so that operations meet; offsets from now, so that expiries are met too.
    let name = || 0_u8..12;
    let value = || {
        prop_oneof![
            8 => prop::collection::vec(any::<u8>(), 0..20),
            1 => (1000_usize..1100).prop_map(|len| vec![b'x'; len]),
            1 => (0_u64..1000).prop_map(|n| n.to_string().into_bytes()),
        ]
    };
    let moment = || 0_u64..5000;
    let expiry = prop_oneof![Just(Expiry::Keep), Just(Expiry::None), moment().prop_map(Expiry::At)];
    prop_oneof![
        8 => (database(), name(), value(), expiry).prop_map(|(d, k, v, e)| Op::Set(d, k, v, e)),
        4 => (database(), name(), 0_usize..1100, value()).prop_map(|(d, k, o, v)| Op::SetRange(d, k, o, v)),
        4 => (database(), name()).prop_map(|(d, k)| Op::Delete(d, k)),
        4 => (database(), name(), prop::option::of(moment())).prop_map(|(d, k, e)| Op::SetExpiry(d, k, e)),
        4 => (database(), name()).prop_map(|(d, k)| Op::Get(d, k)),
        1 => (database(), any::<u64>()).prop_map(|(d, r)| Op::RandomKey(d, r)),
        1 => database().prop_map(Op::Flush),
        1 => Just(Op::FlushAll),
        1 => (database(), database()).prop_map(|(a, b)| Op::Swap(a, b)),
        3 => (1_u64..2000).prop_map(Op::Advance),
        2 => (0_usize..20).prop_map(Op::ExpireCycle),
        1 => (0_usize..20).prop_map(Op::Reclaim),
    ]
}

#[derive(Default)]
struct Model {
    databases: [Contents; DATABASES as usize],
    now_ms: u64,
}

impl Model {
    fn drop_expired(&mut self) {
        for database in &mut self.databases {
            database.retain(|_, (_, expiry)| expiry.is_none_or(|at| self.now_ms <= at));
        }
    }
}

/// Runs an operation on both, and compares what they answer.
fn run(op: &Op, store: &mut Store<Recorder>, model: &mut Model) {
    let name = |k: u8| format!("key{k}").into_bytes();
    let now_ms = model.now_ms;
    let cycle = matches!(op, Op::ExpireCycle(_) | Op::Reclaim(_) | Op::Advance(_));
    if !cycle {
        store.begin_command();
    }
    match op.clone() {
        Op::Set(d, k, value, expiry) => {
            let expiry = if let Expiry::At(delay) = expiry { Expiry::At(now_ms + delay) } else { expiry };
            store.set(DatabaseId(d), key(&name(k)), &value, expiry);
            let contents = &mut model.databases[usize::from(d)];
            let expire_at_ms = match expiry {
                Expiry::Keep => contents.get(&name(k)).and_then(|(_, expiry)| *expiry),
                Expiry::None => None,
                Expiry::At(at) => Some(at),
            };
            contents.insert(name(k), (value, expire_at_ms));
        }
        Op::SetRange(d, k, offset, bytes) => {
            let len = store.set_range(DatabaseId(d), key(&name(k)), offset, &bytes);
            let contents = &mut model.databases[usize::from(d)];
            if bytes.is_empty() {
                assert_eq!(len, contents.get(&name(k)).map_or(0, |(value, _)| value.len()));
            } else {
                let (value, _) = contents.entry(name(k)).or_default();
                value.resize(value.len().max(offset + bytes.len()), 0);
                value[offset..offset + bytes.len()].copy_from_slice(&bytes);
                assert_eq!(len, value.len());
            }
        }
        Op::Delete(d, k) => {
            let deleted = store.delete(DatabaseId(d), key(&name(k)));
            assert_eq!(deleted, model.databases[usize::from(d)].remove(&name(k)).is_some());
        }
        Op::SetExpiry(d, k, delay) => {
            let expire_at_ms = delay.map(|delay| now_ms + delay);
            let present = store.set_expiry(DatabaseId(d), key(&name(k)), expire_at_ms);
            let expected = model.databases[usize::from(d)].get_mut(&name(k));
            assert_eq!(present, expected.is_some());
            if let Some((_, expiry)) = expected {
                *expiry = expire_at_ms;
            }
        }
        Op::Get(d, k) => {
            let seen = store.get(DatabaseId(d), key(&name(k)));
            let seen = seen.map(|entry| (entry.string().unwrap().to_vec(), entry.expire_at_ms()));
            assert_eq!(seen.as_ref(), model.databases[usize::from(d)].get(&name(k)));
        }
        Op::RandomKey(d, mut random) => {
            let seen = store.random_key(DatabaseId(d), &mut || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                random.rotate_left(23)
            });
            let expected = &model.databases[usize::from(d)];
            assert!(seen.is_none_or(|key| expected.contains_key(&key)));
        }
        Op::Flush(d) => {
            store.flush(DatabaseId(d));
            model.databases[usize::from(d)].clear();
        }
        Op::FlushAll => {
            store.flush_all();
            model.databases.iter_mut().for_each(Contents::clear);
        }
        Op::Swap(a, b) => {
            store.swap(DatabaseId(a), DatabaseId(b));
            model.databases.swap(usize::from(a), usize::from(b));
        }
        Op::Advance(ms) => {
            model.now_ms += ms;
            store.set_now(model.now_ms);
            model.drop_expired();
        }
        Op::ExpireCycle(budget) => {
            store.expire_cycle(budget);
        }
        Op::Reclaim(budget) => {
            store.reclaim(budget);
        }
    }
    if !cycle {
        let (wrote, groups) = (store.wrote(), store.sink().groups);
        let gate = store.end_command();
        assert_eq!(store.sink().groups, groups + usize::from(wrote));
        assert!(
            !wrote || gate == Lsn(store.sink().effects.len() as u64),
            "a change waits for its last effect"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn agrees_with_a_map_and_replays_to_the_same(ops in prop::collection::vec(ops(), 1..200)) {
        let mut store = store();
        let mut model = Model { now_ms: START_MS, ..Model::default() };
        for op in &ops {
            run(op, &mut store, &mut model);
            for d in 0..DATABASES {
                let expected = &model.databases[usize::from(d)];
                prop_assert_eq!(&contents(&mut store, DatabaseId(d)), expected);
                prop_assert!(store.len(DatabaseId(d)) >= expected.len());
            }
        }
        let effects = std::mem::take(&mut store.sink_mut().effects);
        let mut again = replayed(&effects, model.now_ms, &(0..GROUPS));
        for d in 0..DATABASES {
            prop_assert_eq!(&contents(&mut again, DatabaseId(d)), &model.databases[usize::from(d)]);
        }
        // What has been replayed expires as what it was replayed from would have.
        again.set_now(model.now_ms + 10_000);
        while again.expire_cycle(7) > 0 || again.next_expiry_ms().is_some_and(|next| next <= again.now()) {}
        for d in 0..DATABASES {
            let lasting = model.databases[usize::from(d)].values().filter(|(_, expiry)| expiry.is_none()).count();
            prop_assert_eq!(again.len(DatabaseId(d)), lasting);
            prop_assert_eq!(again.expires_len(DatabaseId(d)), 0);
        }
        prop_assert_eq!(again.next_expiry_ms(), None);
    }

    #[test]
    fn a_scan_sees_what_stays_while_everything_else_changes(stay in 1_u32..3000, churn in 1_u32..300, count in 1_usize..50) {
        let mut store = store();
        let staying: BTreeSet<Vec<u8>> = (0..stay).map(|n| format!("stay{n}").into_bytes()).collect();
        for name in &staying {
            store.set(DB, key(name), b"", Expiry::None);
        }
        let mut seen = BTreeSet::new();
        let mut cursor = Cursor::default();
        let mut round = 0;
        while cursor < Cursor::at_group(GROUPS) {
            cursor = store.scan(DB, 0..GROUPS, cursor, count, &mut |entry| {
                seen.insert(entry.key().to_vec());
            });
            for n in 0..churn {
                let name = format!("churn{}", (round / 3) * churn + n).into_bytes();
                match round % 3 {
                    0 => store.set(DB, key(&name), b"", Expiry::None),
                    _ => drop(store.delete(DB, key(&name))),
                }
            }
            round += 1;
        }
        prop_assert!(staying.is_subset(&seen));
    }
}

#[test]
fn a_read_waits_for_its_keys_last_change_only() {
    let mut store = store();
    store.begin_command();
    store.set(DB, key(b"a"), b"1", Expiry::None);
    assert_eq!(store.end_command(), Lsn(1));
    store.begin_command();
    store.set(DB, key(b"b"), b"1", Expiry::None);
    assert_eq!(store.end_command(), Lsn(2));
    for (name, gate) in [(&b"a"[..], 1), (b"b", 2), (b"c", 0)] {
        store.begin_command();
        store.get(DB, key(name));
        assert_eq!(store.end_command(), Lsn(gate));
    }
    store.begin_command();
    assert!(store.delete(DB, key(b"a")));
    assert_eq!(store.end_command(), Lsn(3));
    store.begin_command();
    assert!(store.peek(DB, key(b"a")).is_none());
    assert_eq!(store.end_command(), Lsn(3), "absence is as new as the deletion");
    store.begin_command();
    assert_eq!(store.len(DB), 1);
    assert_eq!(store.end_command(), Lsn(3));
    store.settle(Lsn(3));
    store.begin_command();
    store.get(DB, key(b"b"));
    assert_eq!(store.end_command(), Lsn::ZERO);
}

#[test]
fn a_flush_or_swap_is_pending_for_every_key_of_its_databases() {
    let mut store = store();
    store.set(DB, key(b"a"), b"1", Expiry::None);
    store.swap(DB, DatabaseId(1));
    store.flush(DatabaseId(1));
    store.end_command();
    for (database, gate) in [(0, 2), (1, 3), (2, 0)] {
        store.begin_command();
        assert!(store.get(DatabaseId(database), key(b"zzz")).is_none());
        assert_eq!(store.end_command(), Lsn(gate));
    }
}

#[test]
fn an_expired_key_is_absent_and_its_end_is_logged_by_who_finds_it() {
    let mut store = store();
    store.set(DB, key(b"a"), b"1", Expiry::At(START_MS + 10));
    store.end_command();
    store.set_now(START_MS + 10);
    assert!(store.peek(DB, key(b"a")).is_some(), "it lives to the end of its last millisecond");
    store.set_now(START_MS + 11);
    store.begin_command();
    assert!(store.get(DB, key(b"a")).is_none());
    assert!(store.wrote());
    assert_eq!(store.end_command(), Lsn(2));
    assert_eq!(store.sink().effects[1], Owned::Delete(DB, key(b"a").slot, b"a".to_vec()));
    assert_eq!(store.stats(), StoreStats { expired_keys: 1, hits: 1, misses: 1, ..StoreStats::default() });
    assert!(!store.delete(DB, key(b"a")));
}

#[test]
fn active_expiry_removes_each_key_in_a_group_of_its_own_and_then_sleeps() {
    let mut store = store();
    let slots: BTreeSet<u16> = (0..1000).map(|n: u32| key(&n.to_be_bytes()).slot).collect();
    for n in 0..1000_u32 {
        store.set(DB, key(&n.to_be_bytes()), b"v", Expiry::At(START_MS + 1000 + u64::from(n % 10) * 100));
    }
    store.end_command();
    let mut removed = 0;
    let mut wakes = 0;
    while let Some(next) = store.next_expiry_ms() {
        if next > store.now() {
            store.set_now(next);
            wakes += 1;
        }
        removed += store.expire_cycle(64);
        assert!(store.now() <= START_MS + 2000);
    }
    assert_eq!((removed, store.len(DB)), (1000, 0));
    assert!(wakes <= 25, "{wakes} wakes for ten moments");
    assert_eq!(store.sink().groups, 1001);
    let deleted = store.sink().effects[1000..].iter().map(|effect| match effect {
        Owned::Delete(_, slot, _) => *slot,
        other => panic!("{other:?} where a deletion was due"),
    });
    assert_eq!(deleted.collect::<BTreeSet<_>>(), slots, "an expired key's slot is that of its caller");
}

#[test]
fn prolonging_lives_and_repeated_deletion_do_not_pile_up_hints() {
    let mut store = store();
    for n in 0..100_000_u64 {
        let name = format!("session{}", n % 10);
        store.set(DB, key(name.as_bytes()), b"v", Expiry::At(START_MS + 1_000_000 + n));
        store.end_command();
    }
    assert_eq!(store.expiry.hints(), 10);
    for n in 0..100_000_u64 {
        let name = format!("job{}", n % 10);
        store.set(DB, key(name.as_bytes()), b"v", Expiry::At(START_MS + 1_000_000));
        if n < 99_990 {
            store.delete(DB, key(name.as_bytes()));
        }
        store.end_command();
        if n % 8 == 0 {
            store.expire_cycle(20);
        }
    }
    while store.next_expiry_ms() == Some(0) {
        store.expire_cycle(100);
    }
    assert!(store.expiry.hints() <= 10_000, "{} hints for 20 keys", store.expiry.hints());
    store.set_now(START_MS + 2_000_000);
    while store.next_expiry_ms().is_some() {
        store.expire_cycle(1000);
    }
    assert_eq!((store.len(DB), store.stats().expired_keys), (0, 20));
}

#[test]
fn a_key_of_one_name_in_several_databases_expires_in_each() {
    let mut store = store();
    for database in 0..DATABASES {
        store.set(
            DatabaseId(database),
            key(b"a"),
            b"",
            Expiry::At(START_MS + 100_000 * u64::from(database + 1)),
        );
    }
    store.end_command();
    let hints = store.expiry.hints();
    for seconds in (0..350).step_by(3) {
        store.set_now(START_MS + seconds * 1000);
        store.expire_cycle(1000);
        let expected = (0..DATABASES).filter(|&d| seconds <= 100 * u64::from(d + 1)).count();
        assert_eq!((0..DATABASES).map(|d| store.len(DatabaseId(d))).sum::<usize>(), expected);
        assert!(store.expiry.hints() <= hints, "hints multiply");
    }
}

#[test]
fn flushes_and_swaps_of_an_old_shard_concern_its_groups_only() {
    let names: Vec<Vec<u8>> = (0..200_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let in_upper = |name: &[u8]| key(name).slot >= 8192;
    let mut store = store();
    for name in &names {
        let effect =
            Effect::Set { database: DB, slot: key(name).slot, key: name, value: b"", expire_at_ms: None };
        store.apply(&effect, &(0..GROUPS));
    }
    store.apply(&Effect::SwapDatabases { a: DB, b: DatabaseId(1) }, &(128..256));
    let kept = contents(&mut store, DB);
    assert!(kept.keys().all(|name| !in_upper(name)));
    assert_eq!(kept.len() + contents(&mut store, DatabaseId(1)).len(), 200);
    store.apply(&Effect::FlushDatabase { database: DatabaseId(1) }, &(0..128));
    assert_eq!(store.len(DatabaseId(1)), 200 - kept.len());
    store.apply(&Effect::FlushDatabase { database: DatabaseId(1) }, &(128..256));
    assert_eq!((store.len(DatabaseId(1)), store.len(DB)), (0, kept.len()));
}

#[test]
fn a_log_with_more_databases_than_configured_is_kept_whole() {
    let mut store = store();
    let far = DatabaseId(40);
    let effect = Effect::Set { database: far, slot: 1, key: b"k", value: b"v", expire_at_ms: None };
    store.apply(&effect, &(0..GROUPS));
    assert_eq!(store.databases(), DATABASES);
    store.apply(&Effect::SwapDatabases { a: far, b: DB }, &(0..GROUPS));
    assert_eq!(
        store.get(DB, Key { bytes: b"k", slot: 1 }).map(|entry| entry.string().unwrap().to_vec()),
        Some(b"v".to_vec())
    );
}

#[test]
fn extremes_of_keys_and_values_are_held() {
    let mut store = store();
    let long_key = vec![b'k'; 70_000];
    let huge = vec![b'v'; 10 << 20];
    for name in [&b""[..], b"k", &[0; 512], &long_key] {
        for value in [&b""[..], b"v", &huge] {
            store.set(DB, key(name), value, Expiry::None);
            let entry = store.get(DB, key(name)).expect("just set");
            assert_eq!((entry.key(), entry.string().unwrap() == value), (name, true));
        }
    }
    assert!(store.memory_bytes() > 40 << 20);
    assert_eq!(store.set_range(DB, key(b"k"), 12 << 20, b"end"), (12 << 20) + 3);
    store.flush_all();
    while store.reclaim(1000) {}
    assert!(store.memory_bytes() < 1 << 20);
}

#[test]
fn slots_know_their_keys() {
    let mut store = store();
    for n in 0..500_u32 {
        store.set(DB, Key { bytes: &n.to_be_bytes(), slot: (n % 3) as u16 + 100 }, b"", Expiry::None);
    }
    let mut keys = BTreeSet::new();
    store.keys_in_slot(101, 1000, &mut |entry| {
        keys.insert(entry.key().to_vec());
    });
    let expected: BTreeSet<_> =
        (0..500_u32).filter(|n| n % 3 == 1).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(keys, expected);
    assert_eq!([99, 100, 101, 102].map(|slot| store.slot_len(slot)), [0, 167, 167, 166]);
    let mut limited = 0;
    store.keys_in_slot(101, 5, &mut |_| limited += 1);
    assert_eq!(limited, 5);
}

#[test]
fn scans_keep_to_their_groups() {
    let mut store = store();
    for n in 0..2000_u32 {
        store.set(DB, key(&n.to_be_bytes()), b"", Expiry::None);
    }
    let mut seen = 0;
    let mut cursor = Cursor::default();
    while cursor != Cursor::at_group(200) {
        cursor = store.scan(DB, 100..200, cursor, 7, &mut |entry| {
            assert!((6400..12800).contains(&key(entry.key()).slot));
            seen += 1;
        });
    }
    let expected = (0..2000_u32).filter(|n| (6400..12800).contains(&key(&n.to_be_bytes()).slot)).count();
    assert_eq!(seen, expected);
    assert_eq!(store.scan(DB, 0..GROUPS, Cursor(u64::MAX), 7, &mut |_| ()), Cursor::at_group(GROUPS));
}

#[test]
fn access_is_counted_by_get_and_not_by_peek() {
    let mut store = store();
    store.set(DB, key(b"a"), b"", Expiry::None);
    store.set_now(START_MS + 50_000);
    assert_eq!(store.peek(DB, key(b"a")).map(|entry| entry.idle_seconds(START_MS + 50_000)), Some(50));
    assert!(store.get(DB, key(b"a")).is_some());
    assert_eq!(store.peek(DB, key(b"a")).map(|entry| entry.idle_seconds(START_MS + 53_000)), Some(3));
    store.set_access(Access::Frequency);
    store.set(DB, key(b"b"), b"", Expiry::None);
    for _ in 0..1000 {
        store.get_for_update(DB, key(b"b"));
    }
    let count = store.peek(DB, key(b"b")).map_or(0, |entry| entry.frequency(START_MS + 50_000));
    assert!((10..40).contains(&count), "a thousand accesses count as {count}");
}

#[test]
fn average_ttl_is_the_mean_of_those_that_have_one() {
    let mut store = store();
    assert_eq!(store.average_ttl_ms(DB), 0);
    store.set(DB, key(b"a"), b"", Expiry::At(START_MS + 1000));
    store.set(DB, key(b"b"), b"", Expiry::At(START_MS + 3000));
    store.set(DB, key(b"c"), b"", Expiry::None);
    assert_eq!((store.average_ttl_ms(DB), store.expires_len(DB)), (2000, 2));
    store.set_expiry(DB, key(b"b"), None);
    assert_eq!((store.average_ttl_ms(DB), store.expires_len(DB)), (1000, 1));
}

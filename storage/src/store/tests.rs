mod eviction;
mod libraries;
mod members;

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

#[derive(Clone, Debug)]
enum CollectionOp {
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

fn collection_ops() -> impl Strategy<Value = CollectionOp> {
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
fn described(store: &mut Store<Recorder>) -> BTreeMap<Vec<u8>, (String, Option<u64>)> {
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

fn run_collection_op(store: &mut Store<Recorder>, op: &CollectionOp) {
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

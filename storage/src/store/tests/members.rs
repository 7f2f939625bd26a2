//! Members of collections that expire: fields of hashes, members of sets and of sorted sets.

use super::*;
use crate::value::{Collection, HashChange, Life, SetChange, SortedSetChange};

/// Checks that the schedules say exactly what is in the tables.
fn check_schedules(store: &Store<Recorder>) {
    let mut first = u64::MAX;
    for database in &store.databases {
        for group in 0..=u8::MAX {
            let mut expected = BTreeSet::new();
            for entry in database.table(group).into_iter().flat_map(Table::iter) {
                let at = entry.collection().and_then(Collection::next_expiry_ms);
                expected.extend(at.map(|at| (at, store.hasher.hash(entry.key()))));
            }
            let mut found = BTreeSet::new();
            let mut from = (0, 0);
            while let Some(next) = database.schedule(group).and_then(|schedule| schedule.first_from(from)) {
                found.insert(next);
                from = (next.0, next.1 + 1);
            }
            assert_eq!(found, expected);
            first = first.min(found.first().map_or(u64::MAX, |&(at, _)| at));
        }
    }
    assert!(store.members_from_ms <= first, "{} {first}", store.members_from_ms);
}

/// Which type a key of the tests has, by its name.
fn kind_of(name: &[u8]) -> Kind {
    [Kind::Hash, Kind::Set, Kind::SortedSet][usize::from(name[0]) % 3]
}

fn live_members(
    store: &mut Store<Recorder>,
    database: DatabaseId,
    name: &[u8],
) -> Vec<(Vec<u8>, Option<u64>)> {
    let now = store.now();
    let Some(entry) = store.get(database, key(name)) else { return Vec::new() };
    let names: Vec<Vec<u8>> = match entry.value() {
        Value::Hash(hash) => hash.iter(now).map(|field| field.name.to_vec()).collect(),
        Value::Set(set) => set.at(now).iter().map(|member| member.to_vec()).collect(),
        Value::SortedSet(set) => set.at(now).iter().map(|(member, _)| member.to_vec()).collect(),
        Value::String(_) | Value::List(_) | Value::Stream(_) => Vec::new(),
    };
    let life = |name: Vec<u8>| {
        let life = entry.value().life(&name, now);
        assert_ne!(life, Life::Absent);
        (name, life.end())
    };
    let mut members: Vec<_> = names.into_iter().map(life).collect();
    members.sort_unstable();
    members
}

/// Gives a member an expiry or none, whether it was there or not.
fn put_member(
    store: &mut Store<Recorder>,
    database: DatabaseId,
    name: &[u8],
    member: u64,
    expire_at_ms: Option<u64>,
) {
    let text = member.to_string();
    let bytes = text.as_bytes();
    let kind = kind_of(name);
    match kind {
        Kind::Set => store.change(database, key(name), SetChange::Add { member: bytes }),
        Kind::SortedSet => {
            store.change(database, key(name), SortedSetChange::Add { member: bytes, score: member as f64 })
        }
        _ => {
            store.change(database, key(name), HashChange::Set { field: bytes, value: b"v", expire_at_ms });
            return;
        }
    };
    store.change(database, key(name), Change::expire_member(kind, bytes, expire_at_ms));
}

fn set_member(
    store: &mut Store<Recorder>,
    database: DatabaseId,
    name: &[u8],
    member: u64,
    expire_at_ms: Option<u64>,
) {
    put_member(store, database, name, member, expire_at_ms);
    store.end_command();
}

/// Lets time pass until nothing expires any more.
fn expire_all(store: &mut Store<Recorder>) {
    while let Some(next) = store.next_expiry_ms() {
        store.set_now(next.max(store.now()));
        store.expire_cycle(7);
        assert!(store.now() <= START_MS + 20_000, "something that never expires");
    }
}

#[test]
fn members_expire_by_themselves_and_the_last_takes_the_key_along() {
    for name in [b"f", b"g", b"h"] {
        expires_to_the_last(name);
    }
}

fn expires_to_the_last(name: &[u8]) {
    let mut first = store();
    for n in 0..100 {
        set_member(&mut first, DB, name, n, Some(START_MS + 100 * (1 + n % 5)));
    }
    set_member(&mut first, DatabaseId(1), name, 1, None);
    let (before, groups) = (first.sink().effects.len(), first.sink().groups);
    first.set_now(START_MS + 100);
    assert_eq!(first.expire_cycle(1000), 0, "at its very millisecond a member is still there");
    first.set_now(START_MS + 101);
    assert_eq!(live_members(&mut first, DB, name).len(), 80);
    first.end_command();
    assert_eq!(first.expire_cycle(7), 7, "no more than it may");
    assert!(first.next_expiry_ms().is_some_and(|next| next <= first.now() + 8));
    assert_eq!(first.expire_cycle(1000), 13);
    let len = first.get(DB, key(name)).and_then(Entry::collection).map(Collection::len);
    assert_eq!(len, Some(80));
    first.end_command();
    expire_all(&mut first);
    assert_eq!((first.len(DB), first.len(DatabaseId(1))), (0, 1));
    let logged = first.sink().effects.len() - before;
    assert_eq!((logged, first.sink().groups), (100, groups + 100), "a group for each member");
    assert_eq!(first.stats().expired_members, 100);
    check_schedules(&first);

    let mut again = replayed(&first.sink().effects, first.now(), &(0..GROUPS));
    assert_eq!(again.expire_cycle(10), 0);
    assert_eq!((again.len(DB), again.len(DatabaseId(1)), again.next_expiry_ms()), (0, 1, None));
}

#[test]
fn a_collection_that_a_transaction_has_changed_waits() {
    let mut store = store();
    set_member(&mut store, DB, b"f", 1, Some(START_MS + 10));
    set_member(&mut store, DB, b"i", 1, Some(START_MS + 10));
    store.resume_transaction(DeferredGroup::undoable());
    store.change(
        DB,
        key(b"f"),
        HashChange::Set { field: b"2", value: b"v", expire_at_ms: Some(START_MS + 5) },
    );
    let group = store.suspend_transaction();
    store.set_now(START_MS + 20);
    assert_eq!(store.expire_cycle(10), 1, "only what is not held");
    assert!(store.next_expiry_ms().is_some_and(|next| next > store.now()), "no busy waiting");
    store.roll_back(group);
    check_schedules(&store);
    assert_eq!(live_members(&mut store, DB, b"f"), []);
    store.end_command();
    expire_all(&mut store);
    assert_eq!(store.len(DB), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Set(u16, u8, u64, Option<u64>),
    Delete(u16, u8, u64),
    Expire(u16, u8, u64, Option<u64>),
    DeleteKey(u16, u8),
    SetString(u16, u8),
    ExpireKey(u16, u8, u64),
    Copy((u16, u8), (u16, u8)),
    UndoneSet(u16, u8, u64, Option<u64>),
    Flush(u16),
    Swap(u16, u16),
    Advance(u64),
    ExpireCycle(usize),
    Reclaim(usize),
}

fn steps() -> impl Strategy<Value = Step> {
    let database = || 0..DATABASES;
    let name = || 0_u8..6;
    let field = || 0_u64..12;
    let moment = || prop::option::weighted(0.7, 0_u64..4000);
    prop_oneof![
        12 => (database(), name(), field(), moment()).prop_map(|(d, k, f, at)| Step::Set(d, k, f, at)),
        4 => (database(), name(), field()).prop_map(|(d, k, f)| Step::Delete(d, k, f)),
        4 => (database(), name(), field(), moment()).prop_map(|(d, k, f, at)| Step::Expire(d, k, f, at)),
        1 => (database(), name()).prop_map(|(d, k)| Step::DeleteKey(d, k)),
        1 => (database(), name()).prop_map(|(d, k)| Step::SetString(d, k)),
        1 => (database(), name(), 0_u64..4000).prop_map(|(d, k, at)| Step::ExpireKey(d, k, at)),
        2 => ((database(), name()), (database(), name())).prop_map(|(from, to)| Step::Copy(from, to)),
        2 => (database(), name(), field(), moment()).prop_map(|(d, k, f, at)| Step::UndoneSet(d, k, f, at)),
        1 => database().prop_map(Step::Flush),
        1 => (database(), database()).prop_map(|(a, b)| Step::Swap(a, b)),
        4 => (1_u64..1000).prop_map(Step::Advance),
        3 => (0_usize..6).prop_map(Step::ExpireCycle),
        1 => (0_usize..6).prop_map(Step::Reclaim),
    ]
}

/// Makes the key hold no string, which a change of a collection can't be made at.
fn clear_string(store: &mut Store<Recorder>, database: DatabaseId, name: &[u8]) {
    if store.get(database, key(name)).is_some_and(|entry| entry.string().is_some()) {
        store.delete(database, key(name));
    }
}

fn take_step(store: &mut Store<Recorder>, step: &Step) {
    let at = |store: &Store<Recorder>, at: &Option<u64>| at.map(|at| store.now() + at);
    match step {
        Step::Set(database, name, field, expiry) => {
            let (database, name, expire_at_ms) = (DatabaseId(*database), [*name], at(store, expiry));
            clear_string(store, database, &name);
            set_member(store, database, &name, *field, expire_at_ms);
        }
        Step::Delete(database, name, member) => {
            clear_string(store, DatabaseId(*database), &[*name]);
            let member = member.to_string();
            let change = Change::remove_member(kind_of(&[*name]), member.as_bytes());
            store.change(DatabaseId(*database), key(&[*name]), change);
        }
        Step::Expire(database, name, member, expiry) => {
            let expire_at_ms = at(store, expiry);
            clear_string(store, DatabaseId(*database), &[*name]);
            let member = member.to_string();
            let change = Change::expire_member(kind_of(&[*name]), member.as_bytes(), expire_at_ms);
            store.change(DatabaseId(*database), key(&[*name]), change);
        }
        Step::DeleteKey(database, name) => {
            store.delete(DatabaseId(*database), key(&[*name]));
        }
        Step::SetString(database, name) => {
            store.set(DatabaseId(*database), key(&[*name]), b"a string", Expiry::None);
        }
        Step::ExpireKey(database, name, expiry) => {
            let expire_at_ms = Some(store.now() + expiry);
            store.set_expiry(DatabaseId(*database), key(&[*name]), expire_at_ms);
        }
        Step::Copy(from, to) if from != to && kind_of(&[from.1]) == kind_of(&[to.1]) => {
            store.copy((DatabaseId(from.0), key(&[from.1])), (DatabaseId(to.0), key(&[to.1])));
        }
        Step::Copy(..) => {}
        Step::UndoneSet(database, name, member, expiry) => {
            let (database, expire_at_ms) = (DatabaseId(*database), at(store, expiry));
            clear_string(store, database, &[*name]);
            store.end_command();
            store.resume_transaction(DeferredGroup::undoable());
            put_member(store, database, &[*name], *member, expire_at_ms);
            let group = store.suspend_transaction();
            check_schedules(store);
            store.roll_back(group);
        }
        Step::Flush(database) => store.flush(DatabaseId(*database)),
        Step::Swap(a, b) => store.swap(DatabaseId(*a), DatabaseId(*b)),
        Step::Advance(ms) => store.set_now(store.now() + ms),
        Step::ExpireCycle(budget) => {
            // A hint may mean a key in each database.
            assert!(store.expire_cycle(*budget) <= budget * (usize::from(DATABASES) + 1));
        }
        Step::Reclaim(budget) => {
            store.reclaim(*budget);
        }
    }
    store.end_command();
}

proptest! {
    #[test]
    fn schedules_are_exact_whatever_becomes_of_collections(steps in prop::collection::vec(steps(), 0..120)) {
        let mut first = store();
        for step in &steps {
            take_step(&mut first, step);
            check_schedules(&first);
        }
        let mut again = replayed(&first.sink().effects, first.now(), &(0..GROUPS));
        check_schedules(&again);
        for database in (0..DATABASES).map(DatabaseId) {
            for name in 0..6 {
                prop_assert_eq!(
                    live_members(&mut first, database, &[name]),
                    live_members(&mut again, database, &[name])
                );
            }
        }
        first.end_command();
        first.flush_all();
        first.end_command();
        while first.reclaim(5) {}
        check_schedules(&first);
        prop_assert!(first.garbage_schedules.is_empty());
    }
}

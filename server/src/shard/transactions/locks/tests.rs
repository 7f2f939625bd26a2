use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn request(keys: &[(u64, Mode)], whole: Option<Mode>) -> LockRequest {
    let mut request = LockRequest::default();
    for (key, mode) in keys {
        request.add(LockKey(*key), *mode);
    }
    if let Some(mode) = whole {
        request.add_whole(mode);
    }
    request
}

fn age(id: u64) -> Age {
    TransactionId(id).into()
}

fn exclusive(key: u64) -> LockRequest {
    request(&[(key, Mode::Exclusive)], None)
}

fn granted(locks: &mut Locks<()>) -> Vec<u64> {
    std::iter::from_fn(|| locks.take_granted()).map(|age| age.id().0).collect()
}

#[test]
fn the_younger_waits_and_gets_its_turn() {
    let mut locks = Locks::default();
    locks.insert(age(1), exclusive(7), ());
    locks.insert(age(2), exclusive(7), ());
    assert_eq!(granted(&mut locks), [1]);
    locks.release(age(1));
    assert_eq!(granted(&mut locks), [2]);
}

#[test]
fn an_older_one_wounds_a_granted_younger_one_and_goes_first() {
    let mut locks = Locks::default();
    locks.insert(age(5), exclusive(7), ());
    assert_eq!(granted(&mut locks), [5]);
    the_third_goes_before_the_fifth(&mut locks);
}

/// The fifth has key 7 and may give it back; the third comes.
fn the_third_goes_before_the_fifth(locks: &mut Locks<()>) {
    locks.insert(age(3), exclusive(7), ());
    assert_eq!(granted(locks), [0; 0]);
    assert_eq!(locks.take_wounded(), Some(age(5)));
    locks.give_back(age(5));
    assert_eq!(granted(locks), [3]);
    locks.release(age(3));
    assert_eq!(granted(locks), [5]);
}

#[test]
fn a_fixed_one_is_waited_for() {
    let mut locks = Locks::default();
    locks.insert(age(5), exclusive(7), ());
    assert_eq!(granted(&mut locks), [5]);
    locks.fix(age(5));
    locks.insert(age(3), exclusive(7), ());
    assert_eq!(locks.take_wounded(), None);
    locks.release(age(5));
    assert_eq!(granted(&mut locks), [3]);
}

#[test]
fn what_is_free_is_taken_at_once_and_can_be_given_back() {
    let mut locks = Locks::default();
    assert!(locks.is_free(&exclusive(7)));
    locks.insert_granted(age(5), exclusive(7), ());
    assert_eq!(granted(&mut locks), [0; 0], "who took it knows");
    assert!(!locks.is_free(&exclusive(7)) && locks.is_free(&exclusive(8)));
    the_third_goes_before_the_fifth(&mut locks);
}

#[test]
fn what_somebody_waits_for_or_insists_on_is_not_free() {
    let mut locks = Locks::default();
    for (id, key) in [(1, 6), (2, 7)] {
        locks.insert(age(id), exclusive(key), ());
        locks.fix(age(id));
    }
    assert!(!locks.insist(age(1), &request(&[(7, Mode::Exclusive), (8, Mode::Shared)], None), || ()));
    assert!(!locks.is_free(&exclusive(8)), "the first waits for key 7 and will have 8 too");
    assert!(locks.is_free(&request(&[(8, Mode::Shared)], None)));
    locks.insert(age(3), request(&[(6, Mode::Shared), (9, Mode::Exclusive)], None), ());
    assert!(!locks.is_free(&exclusive(9)), "the third waits for key 6 and will have 9 too");
}

#[test]
fn readers_share_and_a_writer_between_them_keeps_its_place() {
    let read = || request(&[(7, Mode::Shared)], None);
    let mut locks = Locks::default();
    locks.insert(age(1), read(), ());
    locks.insert(age(2), read(), ());
    locks.insert(age(3), exclusive(7), ());
    locks.insert(age(4), read(), ());
    assert_eq!(granted(&mut locks), [1, 2]);
    locks.release(age(1));
    assert_eq!(granted(&mut locks), [0; 0]);
    locks.release(age(2));
    assert_eq!(granted(&mut locks), [3]);
    locks.release(age(3));
    assert_eq!(granted(&mut locks), [4]);
    assert!(locks.blocks(&exclusive(7)) && !locks.blocks(&read()));
}

#[test]
fn one_for_all_keys_waits_for_each_and_holds_each() {
    let mut locks = Locks::default();
    locks.insert(age(1), exclusive(7), ());
    locks.insert(age(2), request(&[], Some(Mode::Shared)), ());
    locks.insert(age(3), exclusive(8), ());
    locks.insert(age(4), request(&[(9, Mode::Shared)], None), ());
    assert_eq!(granted(&mut locks), [1, 4]);
    assert!(locks.blocks(&exclusive(100)) && !locks.blocks(&request(&[(100, Mode::Shared)], None)));
    locks.release(age(1));
    assert_eq!(granted(&mut locks), [2]);
    locks.release(age(2));
    assert_eq!(granted(&mut locks), [3]);
}

#[test]
fn what_is_handed_over_goes_to_nobody_in_between() {
    let mut locks = Locks::default();
    locks.insert(age(1), exclusive(7), ());
    assert_eq!(granted(&mut locks), [1]);
    locks.insert(age(2), exclusive(7), ());
    locks.insert(age(3), exclusive(8), ());
    assert_eq!(granted(&mut locks), [3]);
    assert!(locks.may_extend(age(1), &exclusive(7)), "it has that, whoever waits for it");
    assert!(locks.may_extend(age(1), &exclusive(9)) && !locks.may_extend(age(1), &exclusive(8)));
    locks.hand_over(age(1), age(4), ());
    assert!(granted(&mut locks).is_empty() && locks.release(age(1)).is_none());
    assert!(locks.try_extend(age(4), &exclusive(9), || unreachable!("it has a part")));
    locks.release(age(4));
    assert_eq!(granted(&mut locks), [2]);
}

/// A shard as the coordinators see it, in which every grant is wounded, decided or ended at random.
#[derive(Clone, Debug)]
enum Step {
    Insert { keys: Vec<(u64, bool)>, whole: Option<bool>, id: u64 },
    End { pick: usize },
    Decide { pick: usize },
    Extend { pick: usize, key: u64, exclusive: bool, whole: bool },
    AnswerWounds { give: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let insert = (
        proptest::collection::vec((0..5u64, any::<bool>()), 0..4),
        proptest::option::weighted(0.1, any::<bool>()),
        0..60u64,
    )
        .prop_map(|(keys, whole, id)| Step::Insert { keys, whole, id });
    let step = prop_oneof![
        4 => insert,
        3 => any::<usize>().prop_map(|pick| Step::End { pick }),
        1 => any::<usize>().prop_map(|pick| Step::Decide { pick }),
        2 => (any::<usize>(), 0..5u64, any::<bool>(), proptest::bool::weighted(0.1))
            .prop_map(|(pick, key, exclusive, whole)| Step::Extend { pick, key, exclusive, whole }),
        2 => any::<bool>().prop_map(|give| Step::AnswerWounds { give }),
    ];
    proptest::collection::vec(step, 1..120)
}

fn mode(exclusive: bool) -> Mode {
    if exclusive { Mode::Exclusive } else { Mode::Shared }
}

proptest! {
    /// No two that conflict hold at a time; whoever waits waits for somebody; and with everybody ending, all are granted.
    #[test]
    fn holders_never_conflict_and_nobody_waits_for_nothing(steps in steps()) {
        let mut locks: Locks<()> = Locks::default();
        let mut all: BTreeMap<u64, LockRequest> = BTreeMap::new();
        let mut holds: BTreeSet<u64> = BTreeSet::new();
        let mut decided: BTreeSet<u64> = BTreeSet::new();
        let mut wounded: BTreeSet<u64> = BTreeSet::new();
        for step in steps.into_iter().chain(std::iter::repeat_n(Step::End { pick: 0 }, 200)) {
            match step {
                Step::Insert { keys, whole, id } => {
                    if all.contains_key(&id) || (keys.is_empty() && whole.is_none()) {
                        continue;
                    }
                    let keys: Vec<_> = keys.iter().map(|(key, it)| (*key, mode(*it))).collect();
                    let request = request(&keys, whole.map(mode));
                    all.insert(id, request.clone());
                    locks.insert(age(id), request, ());
                }
                Step::End { pick } => {
                    let Some(id) = holds.iter().copied().nth(pick % holds.len().max(1)) else { continue };
                    // One that was asked to give back and is decided goes on; so does any other.
                    holds.remove(&id);
                    wounded.remove(&id);
                    decided.remove(&id);
                    all.remove(&id);
                    locks.release(age(id));
                }
                Step::Decide { pick } => {
                    if let Some(id) = holds.iter().copied().nth(pick % holds.len().max(1)) {
                        locks.fix(age(id));
                        decided.insert(id);
                        wounded.remove(&id);
                    }
                }
                Step::Extend { pick, key, exclusive, whole } => {
                    let Some(id) = decided.iter().copied().nth(pick % decided.len().max(1)) else { continue };
                    let mode = mode(exclusive);
                    let more = if whole { request(&[], Some(mode)) } else { request(&[(key, mode)], None) };
                    let mut union = all[&id].clone();
                    union.join(&more);
                    let free = all.iter().all(|(other, it)| *other == id || !it.conflicts(&more));
                    let extended = locks.try_extend(age(id), &more, || ());
                    prop_assert!(extended || !free, "{id} cannot have what nobody else wants");
                    if extended {
                        all.insert(id, union);
                    }
                }
                Step::AnswerWounds { give } => {
                    for id in std::mem::take(&mut wounded) {
                        if give {
                            holds.remove(&id);
                            locks.give_back(age(id));
                        } else {
                            wounded.insert(id);
                        }
                    }
                }
            }
            while let Some(id) = locks.take_granted() {
                prop_assert!(holds.insert(id.id().0), "{} is granted twice", id.id().0);
            }
            while let Some(id) = locks.take_wounded() {
                prop_assert!(holds.contains(&id.id().0) && !decided.contains(&id.id().0));
                wounded.insert(id.id().0);
            }
            for a in &holds {
                for b in holds.range(a + 1..) {
                    prop_assert!(!all[a].conflicts(&all[b]), "{a} and {b} both hold");
                }
            }
            for id in all.keys().filter(|id| !holds.contains(id)) {
                let waits = all.iter().any(|(other, request)| {
                    other != id && request.conflicts(&all[id]) && (other < id || holds.contains(other))
                });
                prop_assert!(waits, "{id} waits for nobody");
            }
        }
        prop_assert!(all.is_empty(), "{} never got their turn", all.len());
        prop_assert!(locks.is_empty() && locks.queues.is_empty() && locks.whole.is_empty());
    }
}

#[test]
fn one_that_runs_gets_what_is_free_and_waits_for_nothing() {
    let mut locks = Locks::default();
    assert!(locks.try_extend(age(2), &exclusive(7), || ()));
    locks.insert(age(3), exclusive(8), ());
    locks.insert(age(4), exclusive(9), ());
    locks.insert(age(5), request(&[(7, Mode::Shared), (10, Mode::Shared)], None), ());
    assert_eq!(granted(&mut locks), [3, 4]);
    assert!(!locks.try_extend(age(2), &exclusive(8), || ()), "somebody has it");
    assert!(!locks.try_extend(age(2), &exclusive(10), || ()), "somebody wants it");
    assert!(locks.try_extend(age(2), &exclusive(7), || ()), "it has it, whoever wants it");
    assert!(locks.try_extend(age(2), &request(&[(10, Mode::Shared)], None), || ()));
    locks.release(age(2));
    assert_eq!(granted(&mut locks), [5]);
}

#[test]
fn one_that_insists_goes_before_all_and_takes_from_the_undecided() {
    let mut locks = Locks::default();
    locks.insert(age(3), exclusive(7), ());
    locks.insert(age(4), exclusive(7), ());
    assert_eq!(granted(&mut locks), [3]);
    assert!(!locks.insist(age(9), &exclusive(7), || ()));
    assert_eq!(locks.take_wounded(), Some(age(3)));
    locks.give_back(age(3));
    assert_eq!(granted(&mut locks), [0; 0], "neither the older nor the one that waited for it");
    assert!(locks.insist(age(9), &exclusive(7), || ()));
    locks.insert(age(5), exclusive(8), ());
    assert_eq!(granted(&mut locks), [5]);
    locks.fix(age(5));
    assert!(!locks.insist(age(9), &exclusive(8), || ()));
    assert_eq!(locks.take_wounded(), None);
    locks.insert(age(6), exclusive(8), ());
    locks.release(age(5));
    assert_eq!(granted(&mut locks), [0; 0]);
    locks.release(age(9));
    assert_eq!(granted(&mut locks), [3, 6]);
}

#[test]
fn a_command_comes_right_behind_the_transaction_it_was_sent_after() {
    let mut locks = Locks::default();
    locks.insert(age(3), exclusive(7), ());
    locks.insert(Age::command(TransactionId(3), 1), exclusive(7), ());
    locks.insert(Age::command(TransactionId(3), 2), exclusive(7), ());
    locks.insert(age(4), exclusive(7), ());
    let mut order = Vec::new();
    while let Some(next) = locks.take_granted() {
        order.push(next);
        locks.release(next);
    }
    let command = |behind| Age::command(TransactionId(3), behind);
    assert_eq!(order, [age(3), command(1), command(2), age(4)]);
}

#[test]
fn an_older_command_wounds_too() {
    let mut locks = Locks::default();
    assert!(!locks.insert(age(5), exclusive(7), ()));
    assert!(locks.insert(Age::command(TransactionId(3), 1), exclusive(7), ()));
    assert_eq!(locks.take_wounded(), Some(age(5)));
    assert!(!locks.insert(Age::command(TransactionId(6), 1), exclusive(7), ()));
}

fn of(client: u64, mode: Mode, mut request: LockRequest) -> LockRequest {
    request.set_session(client, mode);
    request
}

#[test]
fn a_command_stays_behind_what_its_connection_has_sent() {
    let read = |key| request(&[(key, Mode::Shared)], None);
    let mut locks = Locks::default();
    locks.insert(age(1), of(9, Mode::Shared, read(7)), ());
    assert_eq!(granted(&mut locks), [1]);
    assert!(
        locks.blocks(&of(9, Mode::Exclusive, read(8))) && !locks.blocks(&of(10, Mode::Exclusive, read(7)))
    );
    let command = Age::command(TransactionId(1), 1);
    locks.insert(command, of(9, Mode::Exclusive, read(8)), ());
    locks.insert(age(2), of(9, Mode::Shared, read(5)), ());
    assert_eq!(granted(&mut locks), [0; 0]);
    locks.release(age(1));
    assert_eq!(locks.take_granted(), Some(command));
    locks.release(command);
    assert_eq!(granted(&mut locks), [2]);
}

#[test]
fn parts_of_one_connection_are_granted_side_by_side() {
    let mut locks = Locks::default();
    locks.insert(age(1), of(9, Mode::Shared, exclusive(7)), ());
    locks.insert(age(2), of(9, Mode::Shared, exclusive(8)), ());
    assert_eq!(granted(&mut locks), [1, 2]);
}

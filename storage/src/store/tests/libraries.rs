//! Libraries of functions in a store.

use super::*;
use crate::DeferredGroup;

fn names(store: &Store<Recorder>) -> Vec<(Vec<u8>, Vec<u8>)> {
    store.peek_libraries().iter().map(|(name, body)| (name.to_vec(), body.to_vec())).collect()
}

#[test]
fn who_runs_a_function_waits_for_the_last_change_of_any_library() {
    let mut store = store();
    store.begin_command();
    store.set(DB, key(b"a"), b"1", Expiry::None);
    store.end_command();
    store.begin_command();
    store.set_library(b"one", b"body");
    assert_eq!(store.end_command(), Lsn(2));
    store.begin_command();
    assert!(!store.delete_library(b"two"));
    assert!(!store.wrote(), "what was not there is not removed");
    assert_eq!(store.end_command(), Lsn(2), "absence is as new as the libraries");
    store.begin_command();
    store.set(DB, key(b"b"), b"1", Expiry::None);
    assert_eq!(store.end_command(), Lsn(3));
    store.begin_command();
    assert!(store.libraries().body(b"one").is_some());
    assert_eq!(store.end_command(), Lsn(2));
    store.settle(Lsn(3));
    store.begin_command();
    store.libraries();
    assert_eq!(store.end_command(), Lsn::ZERO);
}

#[test]
fn libraries_outlive_flushes_of_keys_and_replay_to_the_same() {
    let mut store = store();
    store.begin_command();
    store.set_library(b"gone", b"1");
    store.set_library(b"kept", b"1");
    store.set_library(b"kept", b"2");
    store.delete_library(b"gone");
    store.flush_all();
    store.swap(DB, DatabaseId(1));
    store.end_command();
    assert_eq!(names(&store), [(b"kept".to_vec(), b"2".to_vec())]);
    assert_eq!(names(&replayed(&store.sink().effects, START_MS, &(0..GROUPS))), names(&store));
    // Whoever takes over the keys of several shards reads the same libraries in the log of each.
    let twice = [&store.sink().effects[..], &store.sink().effects[..]].concat();
    assert_eq!(names(&replayed(&twice, START_MS, &(0..GROUPS))), names(&store));
    let version = store.peek_libraries().version();
    store.begin_command();
    store.flush_libraries();
    let effects = store.sink().effects.len();
    store.flush_libraries();
    assert_eq!(store.sink().effects.len(), effects, "nothing was left to remove");
    store.end_command();
    assert!(names(&replayed(&store.sink().effects, START_MS, &(0..GROUPS))).is_empty());
    assert_ne!(store.peek_libraries().version(), version);
}

#[test]
fn a_transaction_that_changes_libraries_is_logged_at_its_end_and_is_not_undone() {
    let mut store = store();
    store.resume_transaction(DeferredGroup::undoable());
    store.set_library(b"one", b"body");
    let group = store.suspend_transaction();
    assert!(!group.is_undoable());
    assert!(store.sink().effects.is_empty());
    assert_eq!(store.commit_alone(group), Lsn(1));
    assert_eq!(store.sink().effects, [Owned::Library(b"one".to_vec(), Some(b"body".to_vec()))]);
    store.begin_command();
    store.libraries();
    assert_eq!(store.end_command(), Lsn(1));
}

//! Histories with a known verdict, judged both ways.

use std::rc::Rc;

use super::super::history::{History, Loss, Outcome};
use super::super::model::{Action, Expiry, apply};
use super::{Verdict, every, witness};
use crate::random::Random;
use crate::resp::Value;

fn set(value: &str) -> Action {
    Action::Set { key: 0, value: value.as_bytes().into(), expires: None }
}

fn replied(value: Value) -> Outcome {
    Outcome::Replied(value)
}

#[track_caller]
fn judge(history: &History, linearizable: bool) {
    for verdict in [witness::check_group(history, 0), every::check_group(history, 0)] {
        assert_eq!(verdict == Verdict::Linearizable, linearizable, "{verdict:?}");
    }
}

#[test]
fn a_read_of_the_old_value_after_the_reply_is_found() {
    let mut history = History::default();
    let write = history.call(0, 1, set("a"));
    history.answer(write, replied(Value::ok()));
    let read = history.call(0, 2, Action::Get(0));
    let mut good = history.clone();
    history.answer(read, replied(Value::NullBulk));
    judge(&history, false);
    good.answer(read, replied(Value::bulk("a")));
    judge(&good, true);
}

#[test]
fn concurrent_operations_may_happen_in_either_order() {
    for seen in ["a", "b"] {
        let mut history = History::default();
        let (a, b) = (history.call(0, 1, set("a")), history.call(0, 2, set("b")));
        history.answer(a, replied(Value::ok()));
        history.answer(b, replied(Value::ok()));
        let read = history.call(0, 1, Action::Get(0));
        history.answer(read, replied(Value::bulk(seen)));
        judge(&history, true);
        let again = history.call(0, 1, Action::Get(0));
        history.answer(again, replied(Value::bulk(if seen == "a" { "b" } else { "a" })));
        judge(&history, false);
    }
}

#[test]
fn operations_of_one_connection_happen_in_order() {
    let mut history = History::default();
    let (a, b) = (history.call(0, 1, set("a")), history.call(0, 1, set("b")));
    history.answer(a, replied(Value::ok()));
    history.answer(b, replied(Value::ok()));
    let read = history.call(0, 2, Action::Get(0));
    history.answer(read, replied(Value::bulk("a")));
    judge(&history, false);
}

#[test]
fn what_has_no_reply_is_skipped_only_where_that_can_be() {
    for skips in [false, true] {
        let mut history = History::new(skips);
        history.call(0, 1, set("a"));
        history.call(0, 1, Action::SetNx { key: 1, value: b"b"[..].into() });
        history.restart(Loss::Nothing);
        for (key, seen) in [(0, Value::NullBulk), (1, Value::bulk("b"))] {
            let read = history.call(0, 2, Action::Get(key));
            history.answer(read, replied(seen));
        }
        judge(&history, skips);
    }
}

#[test]
fn an_unknown_write_may_be_there_after_the_restart_or_not_but_not_appear_later() {
    for (first, second, linearizable) in
        [(None, None, true), (Some("a"), Some("a"), true), (None, Some("a"), false), (Some("a"), None, false)]
    {
        let mut history = History::default();
        history.call(0, 1, set("a"));
        history.restart(Loss::Nothing);
        for seen in [first, second] {
            let read = history.call(0, 2, Action::Get(0));
            history.answer(read, replied(seen.map_or(Value::NullBulk, Value::bulk)));
        }
        judge(&history, linearizable);
    }
}

#[test]
fn a_restart_loses_an_acknowledged_write_only_where_it_may() {
    for (loss, linearizable) in [(Loss::Nothing, false), (Loss::Tail, true)] {
        let mut history = History::default();
        for value in ["a", "b"] {
            let write = history.call(0, 1, set(value));
            history.answer(write, replied(Value::ok()));
        }
        history.restart(loss);
        let read = history.call(0, 2, Action::Get(0));
        history.answer(read, replied(Value::bulk("a")));
        judge(&history, linearizable);
    }
}

#[test]
fn a_lost_tail_is_a_tail() {
    // Two keys: the later write survives, the earlier one does not.
    let mut history = History::default();
    for key in [0, 1] {
        let write = history.call(0, 1, Action::Set { key, value: Rc::from(*b"x"), expires: None });
        history.answer(write, replied(Value::ok()));
    }
    history.restart(Loss::Tail);
    let read = history.call(0, 2, Action::Mget(vec![0, 1]));
    history.answer(read, replied(Value::Array(vec![Value::NullBulk, Value::bulk("x")])));
    judge(&history, false);
}

/// Runs commands one after the other in an order of its own, with overlapping calls and returns, and then spoils one reply.
/// With `silence`, few connections have many operations each, some of which are never answered, and perhaps never happen.
fn random_history(random: &mut Random, spoil: bool, silence: bool) -> History {
    let mut history = History::new(silence && random.one_in(2));
    let mut state = std::array::from_fn(|_| None);
    let mut open: Vec<(usize, Value)> = Vec::new();
    for number in 0..40 {
        let key = random.below(2);
        let action = match random.below(4) {
            0 => Action::Get(key),
            1 => Action::Incr { key, by: 1 },
            2 => Action::Append { key, value: number.to_string().into_bytes().into() },
            _ => set(&format!("v{number}")),
        };
        // Where each connection has one operation at a time, any order of the open ones is allowed.
        let connection = if silence { number % 5 } else { number };
        let operation = history.call(0, connection, action.clone());
        let silent = silence && random.one_in(12);
        if silent && random.one_in(2) {
            continue;
        }
        let (next, reply) = apply(&state, &action, 0).remove(0);
        state = next;
        if !silent {
            open.push((operation, reply));
        }
        while open.len() > random.below(4) {
            let (operation, reply) = open.swap_remove(random.below(open.len()));
            history.answer(operation, replied(reply));
        }
    }
    if spoil {
        let read = history.call(0, 99, Action::Get(0));
        history.answer(read, replied(Value::bulk("never written")));
    }
    history
}

#[test]
fn both_ways_agree_on_random_histories() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let spoil = random.one_in(2);
        judge(&random_history(&mut random, spoil, false), !spoil);
    }
}

/// A key that expires at 100 ms is set at 50; then the owner takes turns at these times, after each of which the key is read.
fn reads_over(times: &[u64], seen: &[bool]) -> History {
    let mut history = History::default();
    let expires = Some(Expiry::At(100));
    let write = history.call(0, 1, Action::Set { key: 0, value: b"a".as_slice().into(), expires });
    history.turn(0, 50);
    history.answer(write, replied(Value::ok()));
    for (unix_ms, seen) in times.iter().zip(seen) {
        let read = history.call(0, 1, Action::Get(0));
        history.turn(0, *unix_ms);
        history.answer(read, replied(if *seen { Value::bulk("a") } else { Value::NullBulk }));
    }
    history
}

#[test]
fn a_key_is_there_through_its_last_millisecond_and_not_longer() {
    judge(&reads_over(&[99, 100, 101], &[true, true, false]), true);
    judge(&reads_over(&[101], &[true]), false);
    judge(&reads_over(&[100], &[false]), false);
}

#[test]
fn a_key_that_somebody_has_found_expired_does_not_come_back_with_the_clock() {
    judge(&reads_over(&[101, 90], &[false, false]), true);
    judge(&reads_over(&[101, 90], &[false, true]), false);
}

#[test]
fn a_key_that_nobody_looked_at_may_come_back_with_the_clock_or_not() {
    for seen in [true, false] {
        let mut history = reads_over(&[], &[]);
        history.turn(0, 150);
        for _ in 0..2 {
            let read = history.call(0, 1, Action::Get(0));
            history.turn(0, 90);
            history.answer(read, replied(if seen { Value::bulk("a") } else { Value::NullBulk }));
        }
        judge(&history, true);
        // But once it has been seen, it is there, and the other way round.
        let read = history.call(0, 1, Action::Get(0));
        history.turn(0, 90);
        history.answer(read, replied(if seen { Value::NullBulk } else { Value::bulk("a") }));
        judge(&history, false);
    }
}

#[test]
fn a_relative_expiry_counts_from_the_turn_that_ran_it() {
    for (left, linearizable) in [(6, false), (7, true), (8, false), (9, true), (10, false)] {
        let mut history = History::default();
        let expires = Some(Expiry::In(10));
        let write = history.call(0, 1, Action::Set { key: 0, value: b"a".as_slice().into(), expires });
        for unix_ms in [50, 52] {
            history.turn(0, unix_ms);
        }
        history.answer(write, replied(Value::ok()));
        let read = history.call(0, 1, Action::Pttl(0));
        history.turn(0, 53);
        history.answer(read, replied(Value::Integer(left)));
        judge(&history, linearizable);
    }
}

#[test]
fn operations_happen_in_the_order_of_their_turns() {
    // The second read can only have happened in a later turn than the first, and by then the key's time had come.
    let mut history = reads_over(&[], &[]);
    let first = history.call(0, 1, Action::Get(0));
    history.turn(0, 101);
    let second = history.call(0, 2, Action::Get(0));
    history.turn(0, 102);
    history.answer(first, replied(Value::NullBulk));
    let mut good = history.clone();
    history.answer(second, replied(Value::bulk("a")));
    judge(&history, false);
    good.answer(second, replied(Value::NullBulk));
    judge(&good, true);
}

#[test]
fn both_ways_agree_on_random_lives() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let loss = [Loss::Nothing, Loss::Tail, Loss::Any][random.below(3)];
        let silence = random.one_in(2);
        let mut history = random_history(&mut random, false, silence);
        history.restart(loss);
        // Reads after the restart see something that was there at some time, or nothing.
        let value = history.operations[random.below(40)].outcome.clone();
        let read = history.call(0, 1000, Action::Get(0));
        let seen = match value {
            Outcome::Replied(value @ Value::Bulk(_)) => value,
            _ => Value::NullBulk,
        };
        history.answer(read, replied(seen));
        let verdicts = [witness::check_group(&history, 0), every::check_group(&history, 0)];
        let explained = verdicts.each_ref().map(|verdict| *verdict == Verdict::Linearizable);
        assert_eq!(explained[0], explained[1], "seed {seed}: {verdicts:?}");
    }
}

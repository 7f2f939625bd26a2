//! Histories with a known verdict, judged both ways.

use std::rc::Rc;

use super::super::history::{History, Loss, Outcome};
use super::super::model::{Action, apply};
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
fn random_history(random: &mut Random, spoil: bool) -> History {
    let mut history = History::default();
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
        // Each connection has one operation at a time, so that any order of the open ones is allowed.
        let operation = history.call(0, number, action.clone());
        let (next, reply) = apply(&state, &action, 0).remove(0);
        state = next;
        open.push((operation, reply));
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
        judge(&random_history(&mut random, spoil), !spoil);
    }
}

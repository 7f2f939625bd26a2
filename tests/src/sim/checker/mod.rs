//! Whether some order of all operations explains all answers (linearizability; Herlihy and Wing, 1990), across restarts.
//!
//! Each group of keys is judged by itself (the property is local). `witness` looks for one such order; `possible` says what one
//! operation can have done, at which time. Memory is bounded by a number of configurations; a group that needs more is undecided, and
//! says so. `every` answers the same question without any cleverness: the tests compare.

#[cfg(test)]
mod every;
mod possible;
mod witness;

#[cfg(test)]
mod tests;

use super::history::{History, Operation, Outcome};
use super::workload::words;
use crate::resp::Value;

/// The judgement on a group, or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some order explains everything.
    Linearizable,
    /// None does; the answer that cannot be explained.
    Violation(String),
    /// Too many possibilities.
    Undecided,
}

/// Judges a history, group by group. The first violation wins; any undecided group makes the whole undecided.
pub fn check(history: &History, groups: usize) -> Verdict {
    let mut verdict = Verdict::Linearizable;
    for group in 0..groups {
        match witness::check_group(history, group) {
            Verdict::Linearizable => {}
            Verdict::Undecided => verdict = Verdict::Undecided,
            violation @ Verdict::Violation(_) => return violation,
        }
    }
    verdict
}

/// It changed nothing, or nothing is known of it that could contradict anything.
fn leaves_no_mark(operation: &Operation) -> bool {
    match operation.outcome {
        Outcome::Refused => true,
        Outcome::Unknown | Outcome::Done | Outcome::Partial => !operation.action.writes(),
        Outcome::Replied(_) => false,
    }
}

fn explain(history: &History, group: usize, index: usize) -> String {
    let before = history.operations[..index].iter().filter(|it| it.group == group);
    let mut recent: Vec<String> = before.map(describe).collect();
    recent.drain(..recent.len().saturating_sub(30));
    format!(
        "group {group}: no order of the operations explains {}\n  the operations before it:\n    {}",
        describe(&history.operations[index]),
        recent.join("\n    ")
    )
}

/// All of a history, an operation on each line, for whoever looks for what went wrong.
pub fn describe_all(history: &History) -> String {
    let mut restarts = history.restarts.iter().peekable();
    let mut lines = Vec::new();
    for operation in &history.operations {
        while let Some((at, loss)) = restarts.next_if(|(at, _)| *at < operation.called) {
            lines.push(format!("[{at}] the server has ended: {loss:?}"));
        }
        lines.push(format!("group {} {}", operation.group, describe(operation)));
    }
    lines.join("\n") + "\n"
}

fn describe(operation: &Operation) -> String {
    let returned = operation.returned.map_or("never".to_owned(), |at| at.to_string());
    let outcome = match &operation.outcome {
        Outcome::Replied(value) => shown(value),
        other => format!("{other:?}"),
    };
    let words = words(operation.group, &operation.action).into_iter().map(|word| shown(&Value::Bulk(word)));
    let words: Vec<String> = words.collect();
    format!(
        "[{} to {returned}] connection {}: {} -> {outcome}",
        operation.called,
        operation.connection,
        words.join(" ")
    )
}

fn shown(value: &Value) -> String {
    match value {
        Value::Simple(text) | Value::Error(text) | Value::Bulk(text) => {
            let text = String::from_utf8_lossy(text);
            text.chars().take(40).collect::<String>().escape_debug().to_string()
        }
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        other => format!("{other:?}"),
    }
}

//! What must hold over all groups of keys at any moment, whatever crashed: transactions that move something between
//! groups, and audits that look at all of it at once.
//!
//! - *Bank*: transfers between the groups' accounts; their sum is always 0.
//! - *Twins*: a key in every group, written together; they are always equal.
//! - *Token*: a key in one group, which is renamed into others; there is never a second one, and once seen it is never missing.
//!
//! Half a transaction, seen or left by a crash, breaks one of them. Lost transactions break none: those are the checker's.

use super::history::History;
use super::workload::{Command, Heard, Parts, Sent};
use crate::random::Random;
use crate::resp::{Value, encode};

/// What the reply of EXEC, or of a single command, must be.
#[derive(Clone, Debug)]
pub enum Check {
    /// Anything but an error that no server may give.
    Done,
    /// Bank and twins of all groups, then how many tokens there are.
    Audit {
        /// The command stood in a block.
        exec: bool,
        /// A token had been seen when it was sent.
        token: bool,
    },
}

fn account(group: usize) -> String {
    format!("{{g{group}}}bank")
}

fn twin(group: usize) -> String {
    format!("{{g{group}}}twin")
}

fn token(group: usize) -> String {
    format!("{{g{group}}}token")
}

fn all(command: &str, groups: usize, names: &[fn(usize) -> String]) -> Vec<Vec<u8>> {
    let keys = names.iter().flat_map(|name| (0..groups).map(name));
    std::iter::once(command.to_owned()).chain(keys).map(String::into_bytes).collect()
}

/// A random transaction or audit over all of so many groups.
pub fn command(random: &mut Random, groups: usize, value: &[u8], history: &History) -> Command {
    let first = random.below(groups);
    let second = (first + 1 + random.below(groups.max(2) - 1)) % groups;
    match random.below(9) {
        0 | 1 => transfer(random, first, second),
        2 | 3 => {
            let mut words = vec![b"MSET".to_vec()];
            (0..groups).for_each(|group| words.extend([twin(group).into_bytes(), value.to_vec()]));
            single(&words, Check::Done)
        }
        4 => single(&encode_words(&["RENAME", &token(first), &token(second)]), Check::Done),
        5 => create_token(first, groups),
        _ => audit(random, groups, history.token_seen),
    }
}

fn encode_words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn single(words: &[Vec<u8>], check: Check) -> Command {
    Command { bytes: encode(words), sent: vec![Sent { parts: Parts::Everywhere(check) }] }
}

/// A block: MULTI, the commands, EXEC; sometimes under a watched key.
fn block(commands: &[Vec<Vec<u8>>], watched: Option<String>, check: Check) -> Command {
    let plain = |text: &str| Sent { parts: Parts::Nothing(Value::simple(text)) };
    let (mut bytes, mut sent) = (Vec::new(), Vec::new());
    if let Some(key) = watched {
        bytes.extend(encode(&["WATCH", &key]));
        sent.push(plain("OK"));
    }
    bytes.extend(encode(&["MULTI"]));
    sent.push(plain("OK"));
    for command in commands {
        bytes.extend(encode(command));
        sent.push(plain("QUEUED"));
    }
    bytes.extend(encode(&["EXEC"]));
    sent.push(Sent { parts: Parts::Everywhere(check) });
    Command { bytes, sent }
}

fn transfer(random: &mut Random, from: usize, to: usize) -> Command {
    let amount = (1 + random.below(9)).to_string();
    let commands = [
        encode_words(&["DECRBY", &account(from), &amount]),
        encode_words(&["INCRBY", &account(to), &amount]),
    ];
    block(&commands, random.one_in(4).then(|| account(from)), Check::Done)
}

fn create_token(group: usize, groups: usize) -> Command {
    let set = encode_words(&["SET", &token(group), "here"]);
    block(&[all("DEL", groups, &[token]), set], None, Check::Done)
}

fn audit(random: &mut Random, groups: usize, seen: bool) -> Command {
    let exec = random.one_in(3);
    let read = all("MGET", groups, &[account, twin]);
    let count = all("EXISTS", groups, &[token]);
    if exec {
        return block(&[read, count], None, Check::Audit { exec, token: seen });
    }
    if random.one_in(2) {
        return single(&read, Check::Audit { exec, token: false });
    }
    single(&count, Check::Audit { exec, token: seen })
}

impl Check {
    /// The reply has come.
    pub fn on_reply(&self, reply: &Value, history: &mut History) -> Result<Heard, String> {
        match reply {
            Value::Error(text) if text.starts_with(b"MISCONF") => return Ok(Heard::Refusal),
            Value::Error(text)
                if text.starts_with(b"EXECABORT") && text.windows(7).any(|it| it == b"MISCONF") =>
            {
                return Ok(Heard::Refusal);
            }
            // There was no token to rename.
            Value::Error(text) if text.starts_with(b"ERR no such key") => return Ok(Heard::Answer),
            Value::Error(_) => return Err(format!("a transaction was answered with {reply:?}")),
            _ => {}
        }
        let Check::Audit { exec, token } = self else { return Ok(Heard::Answer) };
        let parts = match reply {
            Value::Array(parts) if *exec => parts.as_slice(),
            whole => std::slice::from_ref(whole),
        };
        for part in parts {
            match part {
                Value::Array(values) => audit_values(values)?,
                Value::Integer(count) => audit_tokens(*count, *token, history)?,
                // What it would show will never be durable.
                Value::Error(text) if text.starts_with(b"MISCONF") => return Ok(Heard::Refusal),
                other => return Err(format!("an audit was answered with {other:?}")),
            }
        }
        Ok(Heard::Answer)
    }
}

fn audit_values(values: &[Value]) -> Result<(), String> {
    let (accounts, twins) = values.split_at(values.len() / 2);
    let amount = |value: &Value| match value {
        Value::Bulk(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i64>().ok()),
        _ => Some(0),
    };
    let sum = accounts.iter().map(amount).sum::<Option<i64>>();
    if sum != Some(0) {
        return Err(format!("half a transfer is there: the accounts hold {accounts:?}"));
    }
    if twins.iter().any(|twin| *twin != twins[0]) {
        return Err(format!("half an MSET is there: the twins are {twins:?}"));
    }
    Ok(())
}

fn audit_tokens(count: i64, expected: bool, history: &mut History) -> Result<(), String> {
    if count > 1 || (expected && count == 0) {
        return Err(format!("half a RENAME is there: {count} tokens"));
    }
    history.token_seen |= count == 1;
    Ok(())
}

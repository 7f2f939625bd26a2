//! What must hold over all groups of keys at any moment, whatever crashed: transactions that move something between
//! groups, and audits that look at all of it at once.
//!
//! - *Bank*: transfers between the groups' accounts; their sum is always 0.
//! - *Twins*: a key in every group, written together; they are always equal.
//! - *Token*: a key in one group, which is renamed into others; there is never a second one, and once seen it is never missing.
//!
//! All of that also comes as scripts and functions. Half a transaction, seen or left by a crash, breaks one of them. Lost transactions break none: those are the checker's.

use super::history::History;
use super::lua;
use super::workload::{Command, Heard, Parts, Sent};
use crate::random::Random;
use crate::resp::{Value, encode};

/// What the reply of EXEC, or of a single command, must be.
#[derive(Clone, Debug)]
pub enum Check {
    /// Anything but an error that no server may give.
    Done,
    /// The same of a script, which a stop may call off.
    Script {
        /// It ends with an error of its own.
        fails: bool,
    },
    /// The same of what needs the library of functions, or loads it.
    Library {
        /// It had been there when it was sent.
        known: bool,
    },
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
pub fn command(
    random: &mut Random,
    groups: usize,
    value: &[u8],
    scripts: bool,
    history: &History,
) -> Command {
    let first = random.below(groups);
    let second = (first + 1 + random.below(groups.max(2) - 1)) % groups;
    if scripts && random.one_in(2) {
        return script(random, groups, (first, second), value, history);
    }
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

/// The same in Lua.
fn script(
    random: &mut Random,
    groups: usize,
    (first, second): (usize, usize),
    value: &[u8],
    history: &History,
) -> Command {
    let amount = (1 + random.below(9)).to_string();
    let known = history.library_seen;
    match random.below(10) {
        0..=2 => {
            let (words, fails) = lua::transfer(random, &account(first), &account(second), &amount);
            if random.one_in(4) {
                // Beside a write of the block, a script that a full disk refuses half way could not be undone.
                let before = encode_words(&["GET", &account(first)]);
                return block(&[before, words], None, Check::Script { fails });
            }
            single(&words, Check::Script { fails })
        }
        3 | 4 => {
            let words = lua::call(random, &account(first), &account(second), &amount);
            single(&words, Check::Library { known })
        }
        5 => single(&lua::load(random), Check::Library { known }),
        6 => {
            let twins: Vec<String> = (0..groups).map(twin).collect();
            single(&lua::write_all(random, &twins, value), Check::Script { fails: false })
        }
        7 => single(&lua::rename(random, &token(first), &token(second)), Check::Script { fails: false }),
        _ => {
            let mut keys = all("", groups, &[account, twin]);
            keys.remove(0);
            single(&lua::read_all(random, keys), Check::Audit { exec: false, token: false })
        }
    }
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
            Value::Error(text)
                if matches!(self, Check::Script { fails: true })
                    && text.starts_with(b"ERR user_script:1: enough") =>
            {
                return Ok(Heard::Answer);
            }
            Value::Error(text)
                if matches!(self, Check::Library { known: false })
                    && text.starts_with(b"ERR Function not found") =>
            {
                return Ok(Heard::Answer);
            }
            // A script that takes long does not keep a server from stopping.
            Value::Error(text)
                if matches!(self, Check::Script { .. } | Check::Library { .. })
                    && text.ends_with(b"The server is shutting down") =>
            {
                return Ok(Heard::Answer);
            }
            Value::Error(_) => return Err(format!("a transaction was answered with {reply:?}")),
            _ => {}
        }
        history.library_seen |= matches!(self, Check::Library { .. });
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

//! What commands do, said once more and as simply as possible: a few keys under one hash tag, which live and change
//! together, and the reply of each command on them.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use crate::resp::Value;

/// Keys of one group.
pub const KEYS: usize = 3;

/// Bytes that know their hash: states are hashed far more often than made.
#[derive(Clone, Eq)]
pub struct Bytes {
    bytes: Rc<[u8]>,
    hash: u64,
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.bytes), f)
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (Rc::ptr_eq(&self.bytes, &other.bytes) || self.bytes == other.bytes)
    }
}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

impl Bytes {
    fn new(bytes: Rc<[u8]>) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Bytes { hash: hasher.finish(), bytes }
    }
}

/// A value and whether it has an expiry, which in this model is always too far to come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    /// The bytes.
    pub bytes: Bytes,
    /// Whether `TTL` gives a number.
    pub expires: bool,
}

/// The keys of a group.
pub type State = [Option<Stored>; KEYS];

/// What a command asks of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the commands; numbers are keys of the group")]
pub enum Action {
    Get(usize),
    Strlen(usize),
    Exists(Vec<usize>),
    Ttl(usize),
    Mget(Vec<usize>),
    Set { key: usize, value: Rc<[u8]>, expires: bool },
    SetNx { key: usize, value: Rc<[u8]> },
    GetSet { key: usize, value: Rc<[u8]> },
    GetDel(usize),
    Append { key: usize, value: Rc<[u8]> },
    SetRange { key: usize, offset: usize, value: Rc<[u8]> },
    Incr { key: usize, by: i64 },
    Del(Vec<usize>),
    Mset(Vec<(usize, Rc<[u8]>)>),
    MsetNx(Vec<(usize, Rc<[u8]>)>),
    Expire(usize),
    Persist(usize),
    Rename(usize, usize),
    Copy { from: usize, to: usize, replace: bool },
}

impl Action {
    /// Whether it can change anything.
    pub const fn writes(&self) -> bool {
        !matches!(
            self,
            Action::Get(_) | Action::Strlen(_) | Action::Exists(_) | Action::Ttl(_) | Action::Mget(_)
        )
    }
}

fn bulk(stored: Option<&Stored>) -> Value {
    stored.map_or(Value::NullBulk, |stored| Value::Bulk(stored.bytes.bytes.to_vec()))
}

fn flag(yes: bool) -> Value {
    Value::Integer(i64::from(yes))
}

fn plain(value: &Rc<[u8]>) -> Stored {
    Stored { bytes: Bytes::new(Rc::clone(value)), expires: false }
}

/// An error reply; texts are not compared, prefixes are.
fn error() -> Value {
    Value::Error(b"ERR".to_vec())
}

/// Brings a reply to the form in which [`apply`] gives it.
pub fn normalized(action: &Action, reply: Value) -> Value {
    match (action, reply) {
        (Action::Ttl(_), Value::Integer(seconds)) if seconds > 0 => Value::Integer(1),
        (_, Value::Error(text)) if text.starts_with(b"ERR ") => error(),
        (_, reply) => reply,
    }
}

/// A command's effect, and its reply.
pub fn apply(state: &State, action: &Action) -> (State, Value) {
    let mut next = state.clone();
    let reply = change(&mut next, action);
    (next, reply)
}

fn change(state: &mut State, action: &Action) -> Value {
    match action {
        Action::Get(key) => bulk(state[*key].as_ref()),
        Action::Strlen(key) => {
            Value::Integer(state[*key].as_ref().map_or(0, |stored| stored.bytes.bytes.len() as i64))
        }
        Action::Exists(keys) => {
            Value::Integer(keys.iter().filter(|key| state[**key].is_some()).count() as i64)
        }
        Action::Ttl(key) => Value::Integer(match &state[*key] {
            None => -2,
            Some(stored) => {
                if stored.expires {
                    1
                } else {
                    -1
                }
            }
        }),
        Action::Mget(keys) => Value::Array(keys.iter().map(|key| bulk(state[*key].as_ref())).collect()),
        Action::Set { key, value, expires } => {
            state[*key] = Some(Stored { bytes: Bytes::new(Rc::clone(value)), expires: *expires });
            Value::ok()
        }
        Action::SetNx { key, value } => {
            let absent = state[*key].is_none();
            if absent {
                state[*key] = Some(plain(value));
            }
            flag(absent)
        }
        Action::GetSet { key, value } => bulk(state[*key].replace(plain(value)).as_ref()),
        Action::GetDel(key) => bulk(state[*key].take().as_ref()),
        Action::Append { key, value } => splice(&mut state[*key], None, value),
        Action::SetRange { key, offset, value } => splice(&mut state[*key], Some(*offset), value),
        Action::Incr { key, by } => increment(&mut state[*key], *by),
        Action::Del(keys) => {
            Value::Integer(keys.iter().filter(|key| state[**key].take().is_some()).count() as i64)
        }
        Action::Mset(pairs) => {
            for (key, value) in pairs {
                state[*key] = Some(plain(value));
            }
            Value::ok()
        }
        Action::MsetNx(pairs) => {
            let absent = pairs.iter().all(|(key, _)| state[*key].is_none());
            for (key, value) in pairs.iter().filter(|_| absent) {
                state[*key] = Some(plain(value));
            }
            flag(absent)
        }
        Action::Expire(key) => flag(state[*key].as_mut().map(|stored| stored.expires = true).is_some()),
        Action::Persist(key) => {
            flag(state[*key].as_mut().is_some_and(|stored| std::mem::take(&mut stored.expires)))
        }
        Action::Rename(from, to) => match state[*from].take() {
            None => error(),
            moved => {
                state[*to] = moved;
                Value::ok()
            }
        },
        Action::Copy { from, to, replace } => {
            let copies = state[*from].is_some() && (*replace || state[*to].is_none());
            if copies {
                let copied = state[*from].clone();
                state[*to] = copied;
            }
            flag(copies)
        }
    }
}

/// Writes at an offset, or at the end; answers the new length. The expiry stays.
fn splice(stored: &mut Option<Stored>, offset: Option<usize>, value: &[u8]) -> Value {
    let expires = stored.as_ref().is_some_and(|it| it.expires);
    let mut bytes = stored.as_ref().map_or_else(Vec::new, |it| it.bytes.bytes.to_vec());
    let at = offset.unwrap_or(bytes.len());
    bytes.resize(bytes.len().max(at + value.len()), 0);
    bytes[at..at + value.len()].copy_from_slice(value);
    let len = bytes.len();
    *stored = Some(Stored { bytes: Bytes::new(bytes.into()), expires });
    Value::Integer(len as i64)
}

fn increment(stored: &mut Option<Stored>, by: i64) -> Value {
    let expires = stored.as_ref().is_some_and(|it| it.expires);
    let number = match stored {
        None => Some(0),
        // Exactly as the server writes numbers: what parses and prints the same.
        Some(it) => std::str::from_utf8(&it.bytes.bytes)
            .ok()
            .and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text)),
    };
    let Some(sum) = number.and_then(|number| number.checked_add(by)) else { return error() };
    *stored = Some(Stored { bytes: Bytes::new(sum.to_string().into_bytes().into()), expires });
    Value::Integer(sum)
}

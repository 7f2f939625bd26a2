//! What commands do, said once more and as simply as possible: a few keys under one hash tag, which live and change
//! together, and the reply of each command on them.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::collections::{self, CollectionAction, End};
use super::members::{self, Life};
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
    /// Hashes them.
    pub(super) fn new(bytes: Rc<[u8]>) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Bytes { hash: hasher.finish(), bytes }
    }
}

impl Bytes {
    /// As a reply.
    pub(super) fn to_value(&self) -> Value {
        Value::Bulk(self.bytes.to_vec())
    }

    /// The number that they are the text of, exactly as the server writes numbers: what parses and prints the same.
    pub(super) fn number(&self) -> Option<i64> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        text.parse::<i64>().ok().filter(|number| number.to_string() == text)
    }
}

/// An expiry that no clock of a run comes near, ms of Unix time.
pub const FAR_MS: u64 = 4_000_000_000_000;

/// What a key holds. Fields and members are numbers, as keys are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as the types")]
pub enum Content {
    Text(Bytes),
    List(Rc<Vec<Bytes>>),
    Hash(Rc<BTreeMap<usize, Field>>),
    Set(Rc<BTreeMap<usize, Life>>),
}

/// A field of a hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Its value.
    pub value: Bytes,
    /// When it expires.
    pub life: Life,
}

impl Field {
    pub(super) fn new(value: Rc<[u8]>) -> Self {
        Field { value: Bytes::new(value), life: Life::default() }
    }
}

/// A value and its expiry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    /// The value.
    pub content: Content,
    /// The last millisecond of Unix time at which the key exists.
    pub expires_ms: Option<u64>,
    /// Its time had come by some reading of the server's clock: the server may have removed it at any moment since. Should the
    /// clock go back, the next look shows which.
    pub maybe_gone: bool,
}

impl Stored {
    /// A value without an expiry.
    pub(super) fn new(content: Content) -> Self {
        Stored { content, expires_ms: None, maybe_gone: false }
    }

    fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| now_ms > at)
    }

    /// Whether it, or anything in it, comes to an end.
    pub(super) fn expires(&self) -> bool {
        self.expires_ms.is_some() || members::expire(&self.content)
    }
}

/// When a key is to expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At this Unix time, ms.
    At(u64),
    /// So many ms after the server runs the command.
    In(u64),
}

impl Expiry {
    fn at_ms(self, now_ms: u64) -> u64 {
        match self {
            Expiry::At(at) => at,
            Expiry::In(ms) => now_ms + ms,
        }
    }
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
    Pttl(usize),
    ExpireTime(usize),
    Mget(Vec<usize>),
    Set {
        key: usize,
        value: Rc<[u8]>,
        expires: Option<Expiry>,
    },
    SetNx {
        key: usize,
        value: Rc<[u8]>,
    },
    GetSet {
        key: usize,
        value: Rc<[u8]>,
    },
    GetDel(usize),
    Append {
        key: usize,
        value: Rc<[u8]>,
    },
    SetRange {
        key: usize,
        offset: usize,
        value: Rc<[u8]>,
    },
    Incr {
        key: usize,
        by: i64,
    },
    /// INCREX up to a bound.
    IncrUpTo {
        key: usize,
        by: i64,
        bound: i64,
    },
    /// CL.THROTTLE of [`RATE`], one unit.
    Throttle(usize),
    Del(Vec<usize>),
    Mset(Vec<(usize, Rc<[u8]>)>),
    MsetNx(Vec<(usize, Rc<[u8]>)>),
    /// MSETEX, with a far expiry.
    MsetEx(Vec<(usize, Rc<[u8]>)>),
    Expire(usize, Expiry),
    Persist(usize),
    Rename(usize, usize),
    Copy {
        from: usize,
        to: usize,
        replace: bool,
    },
    Type(usize),
    Collection(usize, CollectionAction),
    ListMove {
        from: usize,
        to: usize,
        ends: [End; 2],
    },
    SetMove {
        from: usize,
        to: usize,
        member: usize,
    },
}

impl Action {
    /// Whether it can change anything.
    pub const fn writes(&self) -> bool {
        !matches!(
            self,
            Action::Type(_)
                | Action::Collection(
                    _,
                    CollectionAction::Read(_)
                        | CollectionAction::HashExpiry(_)
                        | CollectionAction::SetExpiry(_)
                )
                | Action::Get(_)
                | Action::Strlen(_)
                | Action::Exists(_)
                | Action::Ttl(_)
                | Action::Pttl(_)
                | Action::ExpireTime(_)
                | Action::Mget(_)
        )
    }

    /// Whether with this reply it changed nothing, whatever the keys held.
    pub fn is_inert(&self, reply: &Value) -> bool {
        if matches!(reply, Value::Error(_)) {
            return true;
        }
        match self {
            Action::Collection(_, action) => action.is_inert(reply),
            Action::SetNx { .. }
            | Action::Del(_)
            | Action::MsetNx(_)
            | Action::Expire(..)
            | Action::Persist(_)
            | Action::SetMove { .. }
            | Action::Copy { .. } => *reply == Value::Integer(0),
            Action::GetDel(_) | Action::ListMove { .. } => *reply == Value::NullBulk,
            action => !action.writes(),
        }
    }

    /// Whether what it does depends on the server's clock.
    pub fn is_timed(&self) -> bool {
        match self {
            Action::Set { expires: Some(expiry), .. } | Action::Expire(_, expiry) => {
                !matches!(expiry, Expiry::At(FAR_MS..))
            }
            Action::Collection(_, action) => action.is_timed(),
            Action::Throttle(_) => true,
            _ => false,
        }
    }

    /// The keys that it names.
    fn keys(&self) -> Vec<usize> {
        match self {
            Action::Get(key)
            | Action::Type(key)
            | Action::Collection(key, _)
            | Action::Strlen(key)
            | Action::Ttl(key)
            | Action::Pttl(key)
            | Action::ExpireTime(key)
            | Action::GetDel(key)
            | Action::Expire(key, _)
            | Action::Persist(key)
            | Action::Throttle(key)
            | Action::Set { key, .. }
            | Action::SetNx { key, .. }
            | Action::GetSet { key, .. }
            | Action::Append { key, .. }
            | Action::SetRange { key, .. }
            | Action::Incr { key, .. }
            | Action::IncrUpTo { key, .. } => vec![*key],
            Action::Exists(keys) | Action::Mget(keys) | Action::Del(keys) => keys.clone(),
            Action::Mset(pairs) | Action::MsetNx(pairs) | Action::MsetEx(pairs) => {
                pairs.iter().map(|(key, _)| *key).collect()
            }
            Action::Rename(from, to)
            | Action::Copy { from, to, .. }
            | Action::ListMove { from, to, .. }
            | Action::SetMove { from, to, .. } => vec![*from, *to],
        }
    }

    /// Whether it looks at a key that it names in any case. Whoever looks at an expired key removes it.
    fn looks_at(&self, key: usize) -> bool {
        match self {
            // It stops at the first key that is there.
            Action::MsetNx(_) => false,
            Action::Rename(from, _)
            | Action::Copy { from, .. }
            | Action::ListMove { from, .. }
            | Action::SetMove { from, .. } => *from == key,
            action => action.keys().contains(&key),
        }
    }
}

/// The text of a key; an error if it holds something else.
fn text(stored: Option<&Stored>) -> Result<Option<&Bytes>, Value> {
    match stored.map(|it| &it.content) {
        None => Ok(None),
        Some(Content::Text(bytes)) => Ok(Some(bytes)),
        Some(_) => Err(wrong_type()),
    }
}

fn bulk(stored: Option<&Stored>) -> Value {
    text(stored).map_or_else(|error| error, |bytes| bytes.map_or(Value::NullBulk, Bytes::to_value))
}

pub(super) fn flag(yes: bool) -> Value {
    Value::Integer(i64::from(yes))
}

fn stored(bytes: Bytes, expires_ms: Option<u64>) -> Stored {
    Stored { expires_ms, ..Stored::new(Content::Text(bytes)) }
}

fn plain(value: &Rc<[u8]>) -> Stored {
    stored(Bytes::new(Rc::clone(value)), None)
}

/// An error reply; texts are not compared, prefixes are.
pub(super) fn error() -> Value {
    Value::Error(b"ERR".to_vec())
}

pub(super) fn wrong_type() -> Value {
    Value::Error(b"WRONGTYPE".to_vec())
}

/// Brings a reply to the form in which [`apply`] gives it.
pub fn normalized(action: &Action, reply: Value) -> Value {
    match (action, reply) {
        (Action::Ttl(_) | Action::Pttl(_), Value::Integer(left)) if left > FAR_LEFT => {
            Value::Integer(FAR_LEFT)
        }
        (_, Value::Error(text)) if text.starts_with(b"ERR ") => error(),
        (_, Value::Error(text)) if text.starts_with(b"WRONGTYPE ") => wrong_type(),
        (Action::Collection(_, action), reply) => action.normalized(reply),
        // BLMOVE whose time is over.
        (Action::ListMove { .. }, Value::NullArray) => Value::NullBulk,
        (_, reply) => reply,
    }
}

/// What `TTL` and `PTTL` are taken to say of far expiries.
const FAR_LEFT: i64 = 1_000_000_000;

/// A command's possible effects and replies, when the server's clock shows `now_ms`. There are several only where a key may have
/// been removed since its time had come, and the clock has gone back; or where fields or members may have been.
pub fn apply(state: &State, action: &Action, now_ms: u64) -> Vec<(State, Value)> {
    let uncertain: Vec<(usize, Option<usize>)> =
        action.keys().into_iter().flat_map(|key| uncertain(state, key, now_ms)).collect();
    let mut possible: Vec<(State, Value)> = Vec::new();
    for gone in 0_u32..1 << uncertain.len() {
        let mut next = state.clone();
        for (bit, (key, member)) in uncertain.iter().enumerate() {
            decide(&mut next[*key], *member, gone & (1 << bit) != 0, now_ms);
        }
        let reply = change_visible(&mut next, action, now_ms);
        if !possible.contains(&(next.clone(), reply.clone())) {
            possible.push((next, reply));
        }
    }
    possible
}

/// What may be gone of a key: itself, or fields or members of it.
fn uncertain(state: &State, key: usize, now_ms: u64) -> impl Iterator<Item = (usize, Option<usize>)> {
    let stored = state[key].as_ref();
    let itself = stored.filter(|it| it.maybe_gone && !it.is_expired(now_ms)).map(|_| None);
    let members = stored.map_or_else(Vec::new, |it| members::uncertain(&it.content));
    itself.into_iter().chain(members.into_iter().map(Some)).map(move |what| (key, what))
}

/// Something that may be gone is, or is not.
fn decide(place: &mut Option<Stored>, member: Option<usize>, gone: bool, now_ms: u64) {
    match (place.as_mut(), member) {
        (None, _) => {}
        (Some(_), None) if gone => *place = None,
        (Some(stored), None) => stored.maybe_gone = false,
        (Some(stored), Some(member)) => {
            if members::decide(&mut stored.content, member, gone, now_ms) {
                *place = None;
            }
        }
    }
}

/// Expired keys read as absent. Those that the command looks at are gone for good, the others at some moment to come.
fn change_visible(state: &mut State, action: &Action, now_ms: u64) -> Value {
    let mut hidden: State = [const { None }; KEYS];
    for (key, hidden) in hidden.iter_mut().enumerate() {
        if state[key].as_ref().is_some_and(|it| it.is_expired(now_ms)) {
            *hidden = state[key].take();
        }
    }
    let reply = change(state, action, now_ms);
    for (key, hidden) in hidden.into_iter().enumerate() {
        if let Some(hidden) = hidden
            && state[key].is_none()
            && !action.looks_at(key)
        {
            state[key] = Some(Stored { maybe_gone: true, ..hidden });
        }
    }
    reply
}

/// The clock has shown `now_ms`: what had expired by then may be gone from now on.
pub fn pass(state: &mut State, now_ms: u64) {
    for stored in state.iter_mut().flatten() {
        stored.maybe_gone |= stored.is_expired(now_ms);
        members::pass(&mut stored.content, now_ms);
    }
}

/// `left` of an expiry: -2 without a key, -1 without an expiry.
fn time_left(stored: Option<&Stored>, left: impl FnOnce(u64) -> u64) -> Value {
    Value::Integer(match stored.map(|it| it.expires_ms) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => left(at) as i64,
    })
}

/// Far expiries are not counted to the millisecond.
fn until(at_ms: u64, now_ms: u64, unit_ms: u64) -> u64 {
    if at_ms >= FAR_MS { FAR_LEFT as u64 } else { (at_ms - now_ms + unit_ms / 2) / unit_ms }
}

fn change(state: &mut State, action: &Action, now_ms: u64) -> Value {
    read(state, action, now_ms)
        .or_else(|| write_text(state, action, now_ms))
        .or_else(|| change_keys(state, action, now_ms))
        .or_else(|| change_collection(state, action, now_ms))
        .unwrap_or_else(|| unreachable!("{action:?} belongs to none of these"))
}

/// What only looks; nothing for all others.
fn read(state: &State, action: &Action, now_ms: u64) -> Option<Value> {
    Some(match action {
        Action::Get(key) => bulk(state[*key].as_ref()),
        Action::Strlen(key) => match text(state[*key].as_ref()) {
            Ok(bytes) => Value::Integer(bytes.map_or(0, |it| it.bytes.len() as i64)),
            Err(error) => error,
        },
        Action::Exists(keys) => {
            Value::Integer(keys.iter().filter(|key| state[**key].is_some()).count() as i64)
        }
        Action::Ttl(key) => time_left(state[*key].as_ref(), |at| until(at, now_ms, 1000)),
        Action::Pttl(key) => time_left(state[*key].as_ref(), |at| until(at, now_ms, 1)),
        Action::ExpireTime(key) => time_left(state[*key].as_ref(), |at| at),
        Action::Mget(keys) => {
            let texts = keys.iter().map(|key| text(state[*key].as_ref()).ok().flatten());
            Value::Array(texts.map(|it| it.map_or(Value::NullBulk, Bytes::to_value)).collect())
        }
        Action::Type(key) => Value::simple(match state[*key].as_ref().map(|it| &it.content) {
            None => "none",
            Some(Content::Text(_)) => "string",
            Some(Content::List(_)) => "list",
            Some(Content::Hash(_)) => "hash",
            Some(Content::Set(_)) => "set",
        }),
        _ => return None,
    })
}

/// What gives keys texts, or changes them; nothing for all others.
fn write_text(state: &mut State, action: &Action, now_ms: u64) -> Option<Value> {
    Some(match action {
        Action::Set { key, value, expires } => {
            let at_ms = expires.map(|it| it.at_ms(now_ms));
            // A moment that has come already.
            let lives = at_ms.is_none_or(|at| at > now_ms);
            state[*key] = lives.then(|| stored(Bytes::new(Rc::clone(value)), at_ms));
            Value::ok()
        }
        Action::SetNx { key, value } => {
            let absent = state[*key].is_none();
            if absent {
                state[*key] = Some(plain(value));
            }
            flag(absent)
        }
        Action::GetSet { key, value } => {
            let before = bulk(state[*key].as_ref());
            if before != wrong_type() {
                state[*key] = Some(plain(value));
            }
            before
        }
        Action::GetDel(key) => {
            let before = bulk(state[*key].as_ref());
            if before != wrong_type() {
                state[*key] = None;
            }
            before
        }
        Action::Append { key, value } => splice(&mut state[*key], None, value),
        Action::SetRange { key, offset, value } => splice(&mut state[*key], Some(*offset), value),
        Action::Incr { key, by } => increment(&mut state[*key], *by),
        Action::IncrUpTo { key, by, bound } => increment_up_to(&mut state[*key], *by, *bound),
        Action::Throttle(key) => throttle(&mut state[*key], now_ms),
        Action::Mset(pairs) => {
            for (key, value) in pairs {
                state[*key] = Some(plain(value));
            }
            Value::ok()
        }
        Action::MsetEx(pairs) => {
            for (key, value) in pairs {
                state[*key] = Some(stored(Bytes::new(Rc::clone(value)), Some(FAR_MS)));
            }
            flag(true)
        }
        Action::MsetNx(pairs) => {
            let absent = pairs.iter().all(|(key, _)| state[*key].is_none());
            for (key, value) in pairs.iter().filter(|_| absent) {
                state[*key] = Some(plain(value));
            }
            flag(absent)
        }
        _ => return None,
    })
}

/// What is about keys, whatever they hold; nothing for all others.
fn change_keys(state: &mut State, action: &Action, now_ms: u64) -> Option<Value> {
    Some(match action {
        Action::Del(keys) => {
            Value::Integer(keys.iter().filter(|key| state[**key].take().is_some()).count() as i64)
        }
        Action::Expire(key, expiry) => {
            let at_ms = expiry.at_ms(now_ms);
            let there = state[*key].as_mut().map(|stored| stored.expires_ms = Some(at_ms)).is_some();
            if at_ms <= now_ms {
                state[*key] = None;
            }
            flag(there)
        }
        Action::Persist(key) => {
            flag(state[*key].as_mut().is_some_and(|stored| stored.expires_ms.take().is_some()))
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
        _ => return None,
    })
}

/// What is about elements of collections; nothing for all others.
fn change_collection(state: &mut State, action: &Action, now_ms: u64) -> Option<Value> {
    Some(match action {
        Action::Collection(key, action) => action.apply(&mut state[*key], now_ms),
        Action::ListMove { from, to, ends } => collections::move_element(state, *from, *to, *ends),
        Action::SetMove { from, to, member } => {
            collections::move_member(state, [*from, *to], *member, now_ms)
        }
        _ => return None,
    })
}

/// The rate of CL.THROTTLE: most units at once beyond the first, units in a period, and the period, s.
pub const RATE: [u64; 3] = [2, 30, 1];

/// CL.THROTTLE: the key holds when the bucket is full again, in ns of Unix time.
fn throttle(place: &mut Option<Stored>, now_ms: u64) -> Value {
    const NS_PER_MS: i64 = 1_000_000;
    const NS_PER_SECOND: i64 = 1_000_000_000;
    let [burst, count, period] = RATE.map(|number| number as i64);
    let now = now_ms as i64 * NS_PER_MS;
    let full_at = match text(place.as_ref()) {
        Ok(None) => now,
        Ok(Some(bytes)) => match bytes.number() {
            Some(number) => number.max(now),
            None => return error(),
        },
        Err(error) => return error,
    };
    let interval = period * NS_PER_SECOND / count;
    let (depth, after) = (burst + 1, full_at.saturating_add(interval));
    let wait = after - depth * interval - now;
    let limited = wait > 0;
    let ahead = if limited { full_at } else { after } - now;
    if !limited {
        let text = after.to_string().into_bytes().into();
        *place = Some(stored(Bytes::new(text), Some((after.div_euclid(NS_PER_MS) + 1) as u64)));
    }
    let seconds = |ns: i64| (ns + NS_PER_SECOND - 1) / NS_PER_SECOND;
    let retry = if limited { seconds(wait) } else { -1 };
    let remaining = ((depth * interval - ahead) / interval).max(0);
    let numbers = [i64::from(limited), depth, remaining, retry, seconds(ahead)];
    Value::Array(numbers.map(Value::Integer).to_vec())
}

/// Writes at an offset, or at the end; answers the new length. The expiry stays.
fn splice(place: &mut Option<Stored>, offset: Option<usize>, value: &[u8]) -> Value {
    let mut bytes = match text(place.as_ref()) {
        Ok(before) => before.map_or_else(Vec::new, |it| it.bytes.to_vec()),
        Err(error) => return error,
    };
    let expires_ms = place.as_ref().and_then(|it| it.expires_ms);
    let at = offset.unwrap_or(bytes.len());
    bytes.resize(bytes.len().max(at + value.len()), 0);
    bytes[at..at + value.len()].copy_from_slice(value);
    let len = bytes.len();
    *place = Some(stored(Bytes::new(bytes.into()), expires_ms));
    Value::Integer(len as i64)
}

fn increment(place: &mut Option<Stored>, by: i64) -> Value {
    let number = match text(place.as_ref()) {
        Ok(None) => Some(0),
        Ok(Some(it)) => it.number(),
        Err(error) => return error,
    };
    let expires_ms = place.as_ref().and_then(|it| it.expires_ms);
    let Some(sum) = number.and_then(|number| number.checked_add(by)) else { return error() };
    *place = Some(stored(Bytes::new(sum.to_string().into_bytes().into()), expires_ms));
    Value::Integer(sum)
}

/// INCREX: the number and what was added to it, which is nothing where the sum would be above the bound.
fn increment_up_to(place: &mut Option<Stored>, by: i64, bound: i64) -> Value {
    let before = match text(place.as_ref()) {
        Ok(None) => 0,
        Ok(Some(it)) => match it.number() {
            Some(number) => number,
            None => return error(),
        },
        Err(error) => return error,
    };
    let added = before.checked_add(by).filter(|sum| *sum <= bound).map(|_| by);
    if added.is_some() {
        increment(place, by);
    }
    let added = added.unwrap_or(0);
    Value::Array(vec![Value::Integer(before + added), Value::Integer(added)])
}

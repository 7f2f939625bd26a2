//! Lists, hashes and sets in the [model](super::model): what commands on them do.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::members::{Life, Mortal, with_live};
use super::model::{Bytes, Content, FAR_MS, Field, State, Stored, error, flag, wrong_type};
use crate::resp::Value;

/// Fields of a hash, or members of a set.
pub const FIELDS: usize = 4;

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in commands")]
pub enum End {
    Left,
    Right,
}

/// A type of collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the types")]
pub enum Kind {
    List,
    Hash,
    Set,
}

/// What a command does with one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the commands; fields and members are numbers")]
pub enum CollectionAction {
    /// All that is in it.
    Read(Kind),
    Push(End, Vec<Rc<[u8]>>),
    Pop(End),
    /// Sets the element at this index.
    ListSet(usize, Rc<[u8]>),
    /// Keeps so many elements from the left.
    Trim(usize),
    HashSet(Vec<(usize, Rc<[u8]>)>),
    /// HSETEX, with a far expiry.
    HashSetEx(Vec<(usize, Rc<[u8]>)>),
    /// HGETEX of a field: it has this expiry (ms of Unix time) then, or none.
    HashGetEx(usize, Option<u64>),
    HashDelete(usize),
    HashIncrement(usize, i64),
    /// Gives a field this expiry (ms of Unix time).
    HashExpire(usize, u64),
    HashPersist(usize),
    /// When a field expires.
    HashExpiry(usize),
    SetAdd(Vec<usize>),
    SetRemove(Vec<usize>),
    /// Gives a member this expiry (ms of Unix time).
    SetExpire(usize, u64),
    SetPersist(usize),
    /// When a member expires.
    SetExpiry(usize),
}

/// The name of a field or member.
pub fn field_name(field: usize) -> Vec<u8> {
    format!("f{field}").into_bytes()
}

fn bulk(field: usize) -> Value {
    Value::Bulk(field_name(field))
}

fn integer(count: usize) -> Value {
    Value::Integer(count as i64)
}

/// A change of a list: it is made from nothing, and gone when it is empty.
fn with_list<T>(place: &mut Option<Stored>, change: impl FnOnce(&mut Vec<Bytes>) -> T) -> Result<T, Value> {
    let stored = place.get_or_insert_with(|| Stored::new(Content::List(Rc::default())));
    let Content::List(list) = &mut stored.content else { return Err(wrong_type()) };
    let list = Rc::make_mut(list);
    let result = change(list);
    if list.is_empty() {
        *place = None;
    }
    Ok(result)
}

fn with_hash<T>(
    place: &mut Option<Stored>,
    now_ms: u64,
    change: impl FnOnce(&mut BTreeMap<usize, Field>) -> T,
) -> Result<T, Value> {
    let stored = place.get_or_insert_with(|| Stored::new(Content::Hash(Rc::default())));
    let Content::Hash(hash) = &mut stored.content else { return Err(wrong_type()) };
    let hash = Rc::make_mut(hash);
    let result = with_live(hash, now_ms, change);
    if hash.is_empty() {
        *place = None;
    }
    Ok(result)
}

fn with_set<T>(
    place: &mut Option<Stored>,
    now_ms: u64,
    change: impl FnOnce(&mut BTreeMap<usize, Life>) -> T,
) -> Result<T, Value> {
    let stored = place.get_or_insert_with(|| Stored::new(Content::Set(Rc::default())));
    let Content::Set(set) = &mut stored.content else { return Err(wrong_type()) };
    let set = Rc::make_mut(set);
    let result = with_live(set, now_ms, change);
    if set.is_empty() {
        *place = None;
    }
    Ok(result)
}

/// HPEXPIREAT or SPEXPIREAT of one field or member. One whose time has passed goes at once.
fn expire<M: Mortal>(members: &mut BTreeMap<usize, M>, member: usize, at_ms: u64, now_ms: u64) -> i64 {
    if at_ms <= now_ms {
        return if members.remove(&member).is_some() { 2 } else { NO_FIELD };
    }
    members.get_mut(&member).map_or(NO_FIELD, |it| {
        *it.life_mut() = Life::until(at_ms);
        1
    })
}

/// HPERSIST or SPERSIST of one.
fn persist<M: Mortal>(members: &mut BTreeMap<usize, M>, member: usize) -> i64 {
    members.get_mut(&member).map_or(NO_FIELD, |it| {
        let life = std::mem::take(it.life_mut());
        life.expires_ms.map_or(NO_EXPIRY, |_| 1)
    })
}

/// HPEXPIRETIME or SPEXPIRETIME of one.
fn expiry<M: Mortal>(members: &BTreeMap<usize, M>, member: usize) -> i64 {
    members.get(&member).map_or(NO_FIELD, |it| it.life().expires_ms.map_or(NO_EXPIRY, |at| at as i64))
}

/// What is replied of a field that isn't there, and of one that doesn't expire.
const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;

fn of_one(reply: i64) -> Value {
    Value::Array(vec![Value::Integer(reply)])
}

fn push(list: &mut Vec<Bytes>, end: End, value: Bytes) {
    match end {
        End::Left => list.insert(0, value),
        End::Right => list.push(value),
    }
}

fn pop(list: &mut Vec<Bytes>, end: End) -> Option<Bytes> {
    match end {
        End::Left => (!list.is_empty()).then(|| list.remove(0)),
        End::Right => list.pop(),
    }
}

impl CollectionAction {
    /// Whether with this reply, which is no error, it changed nothing, whatever the key held.
    pub fn is_inert(&self, reply: &Value) -> bool {
        match self {
            CollectionAction::Read(_) | CollectionAction::HashExpiry(_) | CollectionAction::SetExpiry(_) => {
                true
            }
            CollectionAction::HashExpire(..) | CollectionAction::SetExpire(..) => *reply == of_one(NO_FIELD),
            CollectionAction::HashPersist(_) | CollectionAction::SetPersist(_) => *reply != of_one(1),
            CollectionAction::HashGetEx(..) => *reply == Value::Array(vec![Value::NullBulk]),
            CollectionAction::Pop(_) => *reply == Value::NullBulk,
            // SADD of what is there takes its expiry away.
            CollectionAction::HashDelete(_) | CollectionAction::SetRemove(_) => *reply == Value::Integer(0),
            _ => false,
        }
    }

    /// Whether what it does depends on the server's clock.
    pub(super) fn is_timed(&self) -> bool {
        match self {
            CollectionAction::HashGetEx(_, Some(at_ms))
            | CollectionAction::HashExpire(_, at_ms)
            | CollectionAction::SetExpire(_, at_ms) => (1..FAR_MS).contains(at_ms),
            _ => false,
        }
    }

    /// Brings a reply to the form in which [`Self::apply`] gives it: what has no order comes in one.
    pub fn normalized(&self, reply: Value) -> Value {
        let piece = match self {
            CollectionAction::Read(Kind::Hash) => 2,
            CollectionAction::Read(Kind::Set) => 1,
            _ => return reply,
        };
        let Value::Array(items) = reply else { return reply };
        let mut pieces: Vec<Vec<Value>> = items.chunks(piece).map(<[Value]>::to_vec).collect();
        pieces.sort();
        Value::Array(pieces.concat())
    }

    /// Does it to a key; the reply.
    pub fn apply(&self, place: &mut Option<Stored>, now_ms: u64) -> Value {
        let result = match self {
            CollectionAction::Read(Kind::List) => {
                with_list(place, |list| Value::Array(list.iter().map(Bytes::to_value).collect()))
            }
            CollectionAction::Read(Kind::Hash) => with_hash(place, now_ms, |hash| {
                Value::Array(
                    hash.iter().flat_map(|(name, field)| [bulk(*name), field.value.to_value()]).collect(),
                )
            }),
            CollectionAction::Read(Kind::Set) => {
                with_set(place, now_ms, |set| Value::Array(set.keys().map(|it| bulk(*it)).collect()))
            }
            CollectionAction::Push(end, values) => with_list(place, |list| {
                for value in values {
                    push(list, *end, Bytes::new(Rc::clone(value)));
                }
                integer(list.len())
            }),
            CollectionAction::Pop(end) => {
                with_list(place, |list| pop(list, *end).map_or(Value::NullBulk, |it| it.to_value()))
            }
            CollectionAction::ListSet(index, value) => with_list(place, |list| match list.get_mut(*index) {
                None => error(),
                Some(element) => {
                    *element = Bytes::new(Rc::clone(value));
                    Value::ok()
                }
            }),
            CollectionAction::Trim(count) => with_list(place, |list| {
                list.truncate(*count);
                Value::ok()
            }),
            CollectionAction::HashSet(pairs) => with_hash(place, now_ms, |hash| {
                let added = pairs
                    .iter()
                    .filter(|(field, value)| hash.insert(*field, Field::new(Rc::clone(value))).is_none());
                integer(added.count())
            }),
            CollectionAction::HashSetEx(pairs) => with_hash(place, now_ms, |hash| {
                for (field, value) in pairs {
                    hash.insert(*field, Field { life: Life::until(FAR_MS), ..Field::new(Rc::clone(value)) });
                }
                Value::Integer(1)
            }),
            CollectionAction::HashGetEx(field, at_ms) => with_hash(place, now_ms, |hash| {
                let value = hash.get(field).map_or(Value::NullBulk, |field| field.value.to_value());
                match at_ms {
                    Some(at_ms) => expire(hash, *field, *at_ms, now_ms),
                    None => persist(hash, *field),
                };
                Value::Array(vec![value])
            }),
            CollectionAction::HashDelete(field) => {
                with_hash(place, now_ms, |hash| flag(hash.remove(field).is_some()))
            }
            CollectionAction::HashIncrement(field, by) => with_hash(place, now_ms, |hash| {
                let before = hash.get(field).map_or(Some(0), |field| field.value.number());
                let Some(sum) = before.and_then(|number| number.checked_add(*by)) else { return error() };
                let life = hash.get(field).map_or_else(Life::default, |field| field.life);
                let text = sum.to_string().into_bytes().into();
                hash.insert(*field, Field { life, ..Field::new(text) });
                Value::Integer(sum)
            }),
            CollectionAction::HashExpire(field, at_ms) => {
                with_hash(place, now_ms, |hash| of_one(expire(hash, *field, *at_ms, now_ms)))
            }
            CollectionAction::HashPersist(field) => {
                with_hash(place, now_ms, |hash| of_one(persist(hash, *field)))
            }
            CollectionAction::HashExpiry(field) => {
                with_hash(place, now_ms, |hash| of_one(expiry(hash, *field)))
            }
            CollectionAction::SetAdd(members) => with_set(place, now_ms, |set| {
                integer(members.iter().filter(|it| set.insert(**it, Life::default()).is_none()).count())
            }),
            CollectionAction::SetRemove(members) => with_set(place, now_ms, |set| {
                integer(members.iter().filter(|it| set.remove(it).is_some()).count())
            }),
            CollectionAction::SetExpire(member, at_ms) => {
                with_set(place, now_ms, |set| of_one(expire(set, *member, *at_ms, now_ms)))
            }
            CollectionAction::SetPersist(member) => {
                with_set(place, now_ms, |set| of_one(persist(set, *member)))
            }
            CollectionAction::SetExpiry(member) => {
                with_set(place, now_ms, |set| of_one(expiry(set, *member)))
            }
        };
        result.unwrap_or_else(|error| error)
    }
}

/// LMOVE. Nothing happens unless both keys are lists, or the second is absent.
pub(super) fn move_element(state: &mut State, from: usize, to: usize, [take, put]: [End; 2]) -> Value {
    let is_list =
        |stored: &Option<Stored>| stored.as_ref().is_none_or(|it| matches!(it.content, Content::List(_)));
    if state[from].is_none() {
        return Value::NullBulk;
    }
    if !is_list(&state[from]) || !is_list(&state[to]) {
        return wrong_type();
    }
    // A list that is moved within itself keeps its expiry, though it is empty for a moment.
    if from == to {
        let moved = with_list(&mut state[from], |list| {
            pop(list, take).map_or(Value::NullBulk, |element| {
                let value = element.to_value();
                push(list, put, element);
                value
            })
        });
        return moved.unwrap_or_else(|error| error);
    }
    let taken = with_list(&mut state[from], |list| pop(list, take));
    let Ok(Some(element)) = taken else { return Value::NullBulk };
    let value = element.to_value();
    with_list(&mut state[to], |list| push(list, put, element)).map_or_else(|error| error, |()| value)
}

/// SMOVE.
pub(super) fn move_member(state: &mut State, [from, to]: [usize; 2], member: usize, now_ms: u64) -> Value {
    let is_set =
        |stored: &Option<Stored>| stored.as_ref().is_none_or(|it| matches!(it.content, Content::Set(_)));
    if state[from].is_none() {
        return Value::Integer(0);
    }
    if !is_set(&state[from]) || !is_set(&state[to]) {
        return wrong_type();
    }
    let has = with_set(&mut state[from], now_ms, |set| set.contains_key(&member)) == Ok(true);
    if has && from != to {
        let moved = with_set(&mut state[from], now_ms, |set| set.remove(&member).is_some());
        let put = with_set(&mut state[to], now_ms, |set| set.insert(member, Life::default()));
        assert!(moved == Ok(true) && put.is_ok(), "both are sets");
    }
    flag(has)
}

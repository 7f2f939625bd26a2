//! Values as objects.

use super::bytes::{put_number, put_string};
use super::{VERSION, VERSION_FIELD_EXPIRY, kind, stream};
use crate::Value;
use crate::value::{Hash, Life, Set, SortedSet};

/// Who reads what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Redis, at this time (ms of Unix time). It has no form for sets whose members expire: it gets those that are there then, for good.
    Redis { now_ms: u64 },
    /// A server such as this.
    Annulus,
}

impl Reader {
    /// At which members are looked at.
    const fn time(self) -> u64 {
        match self {
            Self::Redis { now_ms } => now_ms,
            Self::Annulus => NO_TIME,
        }
    }
}

/// Whoever reads sees which members' time has passed: as seen from here, none's has.
const NO_TIME: u64 = 0;

/// Writes a value with its type before it; returns the version of the format that it needs.
pub(super) fn object(value: Value<'_>, reader: Reader, out: &mut Vec<u8>) -> u16 {
    match value {
        Value::String(bytes) => {
            out.push(kind::STRING);
            put_string(out, bytes);
        }
        Value::List(list) => {
            out.push(kind::LIST);
            put_number(out, list.len() as u64);
            list.iter_from(0).for_each(|element| put_string(out, &element));
        }
        Value::Set(set) => self::set(set, reader, out),
        Value::SortedSet(set) => sorted_set(set, reader, out),
        Value::Hash(hash) => return self::hash(hash, out),
        Value::Stream(stream) => stream::save(stream, out),
    }
    VERSION
}

/// How many members of a value lose their expiry when it is written for Redis; nothing if it has no members left.
pub(super) fn lost_expiries(value: Value<'_>, now_ms: u64) -> Option<u64> {
    let (len, lost) = match value {
        Value::Set(set) if set.next_expiry_ms().is_some() => {
            let set = set.at(now_ms);
            (set.len(), set.iter().filter(|member| set.life(member).end().is_some()).count())
        }
        Value::SortedSet(set) if set.next_expiry_ms().is_some() => {
            let set = set.at(now_ms);
            (set.len(), set.iter().filter(|(member, _)| set.life(member).end().is_some()).count())
        }
        _ => return Some(0),
    };
    (len > 0).then_some(lost as u64)
}

fn set(set: &Set, reader: Reader, out: &mut Vec<u8>) {
    let set = set.at(reader.time());
    let expires = reader == Reader::Annulus && set.expires();
    out.push(if expires { kind::SET_EXPIRING } else { kind::SET });
    put_number(out, set.len() as u64);
    for member in set.iter() {
        if expires {
            put_expiry(out, set.life(&member));
        }
        put_string(out, &member);
    }
}

fn sorted_set(set: &SortedSet, reader: Reader, out: &mut Vec<u8>) {
    let set = set.at(reader.time());
    let expires = reader == Reader::Annulus && set.expires();
    out.push(if expires { kind::SORTED_SET_EXPIRING } else { kind::SORTED_SET });
    put_number(out, set.len() as u64);
    for (member, score) in set.iter() {
        if expires {
            put_expiry(out, set.life(&member));
        }
        put_string(out, &member);
        out.extend(score.to_le_bytes());
    }
}

fn put_expiry(out: &mut Vec<u8>, life: Life) {
    put_number(out, life.end().map_or(0, |at| at.saturating_add(1)));
}

fn hash(hash: &Hash, out: &mut Vec<u8>) -> u16 {
    let fields = || hash.iter(NO_TIME);
    let expiries = fields().filter_map(|field| field.expire_at_ms);
    let Some(least_ms) = expiries.min() else {
        out.push(kind::HASH);
        put_number(out, hash.len() as u64);
        for field in fields() {
            put_string(out, &field.name);
            put_string(out, &field.value);
        }
        return VERSION;
    };
    out.push(kind::HASH_EXPIRING);
    out.extend(least_ms.to_le_bytes());
    put_number(out, hash.len() as u64);
    for field in fields() {
        put_number(out, field.expire_at_ms.map_or(0, |at| at - least_ms + 1));
        put_string(out, &field.name);
        put_string(out, &field.value);
    }
    VERSION_FIELD_EXPIRY
}

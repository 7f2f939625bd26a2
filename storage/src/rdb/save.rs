//! Values as objects.

use super::bytes::{put_number, put_string};
use super::{VERSION, VERSION_FIELD_EXPIRY, kind, stream};
use crate::Value;
use crate::value::Hash;

/// Writes a value with its type before it; returns the version of the format that it needs.
pub(super) fn object(value: Value<'_>, out: &mut Vec<u8>) -> u16 {
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
        Value::Set(set) => {
            out.push(kind::SET);
            put_number(out, set.len() as u64);
            set.iter().for_each(|member| put_string(out, &member));
        }
        Value::SortedSet(set) => {
            out.push(kind::SORTED_SET);
            put_number(out, set.len() as u64);
            for (member, score) in set.iter() {
                put_string(out, &member);
                out.extend(score.to_le_bytes());
            }
        }
        Value::Hash(hash) => return self::hash(hash, out),
        Value::Stream(stream) => stream::save(stream, out),
    }
    VERSION
}

fn hash(hash: &Hash, out: &mut Vec<u8>) -> u16 {
    // Fields whose time has passed are written too: whoever reads them sees that.
    let fields = || hash.iter(0);
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

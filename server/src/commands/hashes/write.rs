//! Commands that set and remove fields.

use annulus_storage::Key;
use annulus_storage::value::{Hash, HashChange};

use super::super::errors::{Failure, Outcome};
use super::super::values::read_to_change;
use super::super::{Context, answer, unreachable_arity};
use super::hash;

/// `HSET key field value [field value …]`
pub(in super::super) fn hset(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set(context, args, "hset").map(|created| context.out.integer(created as i64));
    answer(context, outcome);
}

/// `HMSET key field value [field value …]`
pub(in super::super) fn hmset(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set(context, args, "hmset").map(|_| context.out.ok());
    answer(context, outcome);
}

/// Sets fields; returns how many are new.
fn set(context: &mut Context<'_>, args: &[&[u8]], name: &'static str) -> Result<usize, Failure> {
    let [_, key, pairs @ ..] = args else { return Err(unreachable_arity(name)) };
    let (pairs, []) = pairs.as_chunks::<2>() else { return Err(unreachable_arity(name)) };
    let key = context.first_key(key);
    let now = context.store.now();
    let found = read_to_change(context, key, hash)?;
    if found.is_some_and(|hash| hash.has_lapsed(now)) {
        return Ok(set_among_lapsed(context, key, pairs));
    }
    let before = found.map_or(0, Hash::len);
    let mut len = before;
    for &[field, value] in pairs {
        let change = HashChange::Set { field, value, expire_at_ms: None };
        len = context.store.change(context.database, key, change).len;
    }
    Ok(len - before)
}

/// Does that in a hash with fields whose time has passed: they are still there, but new to whoever sets them.
#[cold]
fn set_among_lapsed(context: &mut Context<'_>, key: Key<'_>, pairs: &[[&[u8]; 2]]) -> usize {
    let mut created = 0;
    for &[field, value] in pairs {
        created += usize::from(!has_field(context, key, field));
        let change = HashChange::Set { field, value, expire_at_ms: None };
        context.store.change(context.database, key, change);
    }
    created
}

/// Whether a hash that the command has looked at has a field whose time has not passed.
fn has_field(context: &Context<'_>, key: Key<'_>, field: &[u8]) -> bool {
    let hash = context.store.view(context.database, key).and_then(|entry| entry.hash());
    hash.is_some_and(|hash| hash.get(field, context.store.now()).is_some())
}

/// `HSETNX key field value`
pub(in super::super) fn hsetnx(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_if_absent(context, args);
    answer(context, outcome);
}

fn set_if_absent(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, field, value] = args else { return Err(unreachable_arity("hsetnx")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let absent = read_to_change(context, key, hash)?.is_none_or(|hash| hash.get(field, now).is_none());
    if absent {
        let change = HashChange::Set { field, value, expire_at_ms: None };
        context.store.change(context.database, key, change);
    }
    context.out.integer(i64::from(absent));
    Ok(())
}

/// `HDEL key field [field …]`
pub(in super::super) fn hdel(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = delete(context, args);
    answer(context, outcome);
}

fn delete(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, fields @ ..] = args else { return Err(unreachable_arity("hdel")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let mut deleted = 0;
    if let Some(found) = read_to_change(context, key, hash)? {
        let lapsed = found.has_lapsed(now);
        for field in fields {
            let counts = !lapsed || has_field(context, key, field);
            let applied = context.store.change(context.database, key, HashChange::Delete { field });
            deleted += if counts { applied.affected } else { 0 };
            if applied.affected > 0 && applied.len == 0 {
                break;
            }
        }
    }
    context.out.integer(deleted as i64);
    Ok(())
}

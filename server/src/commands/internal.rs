//! What shards ask of each other for commands whose keys lie on several of them.

use annulus_storage::value::codec;

use super::arguments::{database, integer, is};
use super::errors::{Failure, Outcome};
use super::{Context, answer, unreachable_arity};

/// `annulus.fetch key`: value, encoded, and expiry (ms of Unix time, -1: none), or null
pub(super) fn fetch(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key] = args else { return answer(context, Err(unreachable_arity("annulus.fetch"))) };
    let key = context.first_key(key);
    match context.store.get(context.database, key) {
        Some(entry) => {
            context.out.array_header(2);
            let mut value = Vec::new();
            codec::encode(entry.value(), &mut value);
            context.out.bulk(value);
            context.out.integer(entry.expire_at_ms().map_or(-1, |at| at as i64));
        }
        None => context.out.null_array(),
    }
}

/// `annulus.watch key [key …]`: the version of each key, which changes with the key from now on
pub(super) fn watch(context: &mut Context<'_>, args: &[&[u8]]) {
    let keys = args.get(1..).unwrap_or_default();
    context.out.array_header(keys.len());
    for bytes in keys {
        let version = context.store.watch(context.database, super::key(bytes));
        context.out.integer(version as i64);
    }
}

/// `annulus.put key database expiry value REPLACE|KEEP`: 1 if the value is stored, 0 if there was one to keep
pub(super) fn put(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = put_value(context, args);
    answer(context, outcome);
}

fn put_value(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, index, expiry, value, mode] = args else { return Err(unreachable_arity("annulus.put")) };
    let database = database(index, context.store.databases())?;
    let expiry = u64::try_from(integer(expiry)?).ok();
    let key = context.first_key(key);
    let stores = is(mode, "REPLACE") || context.store.get_for_update(database, key).is_none();
    if stores {
        let value =
            codec::decode(value).map_err(|fault| Failure::Owned(format!("ERR {fault}").into_bytes()))?;
        context.store.put_value(database, key, value, expiry);
    }
    context.out.integer(i64::from(stores));
    Ok(())
}

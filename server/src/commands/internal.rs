//! What shards ask of each other for commands whose keys lie on several of them.

use annulus_protocol::Encoder;
use annulus_storage::Entry;
use annulus_storage::value::codec;

use super::arguments::{database, integer, is};
use super::errors::{Failure, Outcome};
use super::{Context, answer, unreachable_arity};

/// `annulus.fetch key`: value, encoded, expiry (ms of Unix time, -1: none), form, and the present (ms of Unix time), by which members of the
/// value are there or not; or null
pub(super) fn fetch(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key] = args else { return answer(context, Err(unreachable_arity("annulus.fetch"))) };
    let now = context.store.now();
    let entry = context.store.get(context.database, context.first_key(key));
    write_value(entry, now, &mut context.out);
}

/// `annulus.lift key`: the same of a key that is about to go, which is no read
pub(super) fn lift(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key] = args else { return answer(context, Err(unreachable_arity("annulus.lift"))) };
    let now = context.store.now();
    let entry = context.store.get_for_update(context.database, context.first_key(key));
    write_value(entry, now, &mut context.out);
}

/// `annulus.present key`: 1 if the key is there, otherwise 0; for what is about to write, which is no read
pub(super) fn present(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key] = args else { return answer(context, Err(unreachable_arity("annulus.present"))) };
    let present = context.store.get_for_update(context.database, context.first_key(key)).is_some();
    context.out.integer(i64::from(present));
}

fn write_value(entry: Option<Entry<'_>>, now_ms: u64, out: &mut Encoder<'_>) {
    match entry {
        Some(entry) => {
            out.array_header(4);
            let mut value = Vec::new();
            codec::encode(entry.value(), &mut value);
            out.bulk(value);
            out.integer(entry.expire_at_ms().map_or(-1, |at| at as i64));
            out.integer(i64::from(entry.form()));
            out.integer(now_ms as i64);
        }
        None => out.null_array(),
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

/// `annulus.put key database expiry value REPLACE|KEEP form`: 1 if the value is stored, 0 if there was one to keep
pub(super) fn put(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = put_value(context, args);
    answer(context, outcome);
}

fn put_value(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, index, expiry, value, mode, form] = args else {
        return Err(unreachable_arity("annulus.put"));
    };
    let database = database(index, context.store.databases())?;
    let expiry = u64::try_from(integer(expiry)?).ok();
    let form = u8::try_from(integer(form)?).unwrap_or(0);
    let key = context.first_key(key);
    let stores = is(mode, "REPLACE") || context.store.get_for_update(database, key).is_none();
    if stores {
        let value =
            codec::decode(value).map_err(|fault| Failure::Owned(format!("ERR {fault}").into_bytes()))?;
        context.store.put_value(database, key, value, expiry);
        context.store.keep_form(database, key, form);
    }
    context.out.integer(i64::from(stores));
    Ok(())
}

//! Commands that tell one string.

use annulus_storage::Key;

use super::super::errors::{Failure, Outcome};
use super::super::{Context, answer, unreachable_arity, values};
use super::options::{Lifetime, parse_getex};

/// `GET key`
pub(in super::super) fn get(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key] = args else { return answer(context, Err(unreachable_arity("get"))) };
    let key = context.first_key(key);
    let outcome = reply_with(context, key).map(|_| ());
    answer(context, outcome);
}

/// Replies with the string at a key, or null; tells whether there was one.
pub(super) fn reply_with(context: &mut Context<'_>, key: Key<'_>) -> Result<bool, Failure> {
    if let Some(entry) = context.store.get(context.database, key) {
        context.out.bulk(values::string(entry)?);
        Ok(true)
    } else {
        context.out.null();
        Ok(false)
    }
}

/// `GETDEL key`
pub(in super::super) fn getdel(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key] = args else { return answer(context, Err(unreachable_arity("getdel"))) };
    let key = context.first_key(key);
    match reply_with(context, key) {
        Ok(true) => {
            context.store.delete(context.database, key);
        }
        Ok(false) => {}
        Err(error) => context.out.error(error),
    }
}

/// `GETEX key [EX … | PX … | EXAT … | PXAT … | PERSIST]`
pub(in super::super) fn getex(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = get_and_expire(context, args);
    answer(context, outcome);
}

fn get_and_expire(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, options @ ..] = args else { return Err(unreachable_arity("getex")) };
    let lifetime = parse_getex(options)?;
    let key = context.first_key(key);
    let start = context.out.position();
    if !reply_with(context, key)? {
        return Ok(());
    }
    match lifetime {
        Lifetime::Unsaid | Lifetime::Keep => {}
        Lifetime::Persist => {
            context.store.set_expiry(context.database, key, None);
        }
        Lifetime::Until(moment) => {
            // As in Redis, an invalid time is an error only if the key exists.
            let now = context.store.now();
            let at = moment.resolve(now, "getex").inspect_err(|_| context.out.truncate(start))?;
            if at <= now {
                context.store.delete(context.database, key);
            } else {
                context.store.set_expiry(context.database, key, Some(at));
            }
        }
    }
    Ok(())
}

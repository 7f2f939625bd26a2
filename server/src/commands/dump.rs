//! DUMP and RESTORE: values as payloads that redis-server understands, and gives.

use annulus_storage::rdb;
use annulus_storage::value::codec;

use super::arguments::{integer, is};
use super::errors::{self, Failure, Outcome, fail};
use super::{Context, answer, unreachable_arity};

/// `DUMP key`
pub(super) fn dump(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key] = args else { return answer(context, Err(unreachable_arity("dump"))) };
    let key = context.first_key(key);
    match context.store.get(context.database, key) {
        Some(entry) => context.out.bulk(rdb::dump(entry.value())),
        None => context.out.null(),
    }
}

/// `RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
pub(super) fn restore(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = restore_value(context, args);
    answer(context, outcome);
}

#[derive(Debug, Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(args: &[&[u8]]) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut rest = args;
        loop {
            rest = match rest {
                [] => return Ok(options),
                [option, tail @ ..] if is(option, "REPLACE") => {
                    options.replace = true;
                    tail
                }
                [option, tail @ ..] if is(option, "ABSTTL") => {
                    options.absolute = true;
                    tail
                }
                [option, seconds, tail @ ..] if is(option, "IDLETIME") && options.frequency.is_none() => {
                    let seconds = u64::try_from(integer(seconds)?);
                    let wrong = fail("ERR Invalid IDLETIME value, must be >= 0");
                    options.idle_seconds = Some(seconds.map_err(|_| wrong)?);
                    tail
                }
                [option, count, tail @ ..] if is(option, "FREQ") && options.idle_seconds.is_none() => {
                    let count = u8::try_from(integer(count)?);
                    let wrong = fail("ERR Invalid FREQ value, must be >= 0 and <= 255");
                    options.frequency = Some(count.map_err(|_| wrong)?);
                    tail
                }
                _ => return Err(fail(errors::SYNTAX)),
            };
        }
    }
}

fn restore_value(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, ttl, payload, ref options @ ..] = args else { return Err(unreachable_arity("restore")) };
    let options = Options::parse(options)?;
    let (database, key, now_ms) = (context.database, context.first_key(key), context.store.now());
    if !options.replace && context.store.get_for_update(database, key).is_some() {
        return Err(fail("BUSYKEY Target key name already exists."));
    }
    let ttl = u64::try_from(integer(ttl)?).map_err(|_| fail("ERR Invalid TTL value, must be >= 0"))?;
    let value = rdb::restore(payload).map_err(|fault| match fault {
        rdb::Fault::Footer => fail("ERR DUMP payload version or checksum are wrong"),
        rdb::Fault::Object => fail("ERR Bad data format"),
    })?;
    let value = codec::decode(&value).map_err(|_| fail("ERR Bad data format"))?;
    let expire_at_ms = match ttl {
        0 => None,
        _ if options.absolute => Some(ttl),
        _ => Some(ttl.saturating_add(now_ms)),
    };
    if expire_at_ms.is_some_and(|at| now_ms > at) {
        // It would be gone at once; what was there before is.
        context.store.delete(database, key);
    } else {
        context.store.put_value(database, key, value, expire_at_ms);
        context.store.set_use(database, key, options.idle_seconds, options.frequency);
    }
    context.out.ok();
    Ok(())
}

//! Some fields of a hash: chosen at random, or step by step.

use annulus_protocol::{Encoder, Version};
use annulus_storage::value::Field;

use super::super::arguments::is;
use super::super::draw::{self, Draw};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::scan::ElementScan;
use super::super::{Context, answer, unreachable_arity};
use super::hash;

/// `HRANDFIELD key [count [WITHVALUES]]`
pub(in super::super) fn hrandfield(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match *args {
        [_, key] => random_field(context, key),
        [_, key, count, ref options @ ..] => random_fields(context, key, count, options),
        _ => Err(unreachable_arity("hrandfield")),
    };
    answer(context, outcome);
}

fn random_field(context: &mut Context<'_>, key: &[u8]) -> Outcome {
    let key = context.first_key(key);
    let now = context.store.now();
    let Context { store, out, random, database, .. } = context;
    let hash = store.get(*database, key).map(hash).transpose()?;
    match hash.and_then(|hash| hash.sample(now, &mut || random.next_u64())) {
        Some(field) => out.bulk(field.name),
        None => out.null(),
    }
    Ok(())
}

fn random_fields(context: &mut Context<'_>, key: &[u8], count: &[u8], options: &[&[u8]]) -> Outcome {
    let draw = Draw::parse(count)?;
    let with_values = with_values(options, draw)?;
    let key = context.first_key(key);
    let now = context.store.now();
    let Context { store, out, random, database, .. } = context;
    let start = out.position();
    let mut drawn = 0;
    if let Some(hash) = store.get(*database, key).map(hash).transpose()? {
        let len = hash.live_len(now);
        // Fields whose time has passed are in the way of drawing single ones.
        let whole = len < hash.len();
        let each = &mut |field: Field<'_>| {
            write(&field, with_values, out);
            drawn += 1;
        };
        let all = || hash.iter(now);
        let sample = |random: &mut dyn FnMut() -> u64| hash.sample(now, random);
        draw::draw(draw, (len, whole), all, sample, |field| field.name.to_vec(), random, each);
    }
    let values = if with_values && out.version() == Version::Resp2 { 2 } else { 1 };
    out.insert_array_header(start, drawn * values);
    Ok(())
}

fn with_values(options: &[&[u8]], draw: Draw) -> Result<bool, Failure> {
    match options {
        [] => Ok(false),
        [option] if is(option, "WITHVALUES") => {
            // Twice as many values have to be countable.
            if draw.count() > (i64::MAX / 2) as usize {
                return Err(fail("ERR value is out of range"));
            }
            Ok(true)
        }
        _ => Err(fail(errors::SYNTAX)),
    }
}

fn write(field: &Field<'_>, with_values: bool, out: &mut Encoder<'_>) {
    if with_values && out.version() == Version::Resp3 {
        out.array_header(2);
    }
    out.bulk(field.name);
    if with_values {
        out.bulk(field.value);
    }
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]`
pub(in super::super) fn hscan(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = scan(context, args);
    answer(context, outcome);
}

fn scan(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, cursor, options @ ..] = args else { return Err(unreachable_arity("hscan")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let cursor = ElementScan::cursor(cursor)?;
    let Context { store, out, database, .. } = context;
    let Some(hash) = store.get(*database, key).map(hash).transpose()? else {
        ElementScan::reply_empty(out);
        return Ok(());
    };
    let scan = ElementScan::parse(options, Some("NOVALUES"))?;
    scan.reply(out, |count, out| {
        let mut values = 0;
        let next = hash.scan(cursor, count, now, &mut |field| {
            if scan.wants(&field.name) {
                out.bulk(field.name);
                values += 1;
                if !scan.brief {
                    out.bulk(field.value);
                    values += 1;
                }
            }
        });
        (next, values)
    });
    Ok(())
}

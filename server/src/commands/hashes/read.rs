//! Commands that tell what is in a hash.

use annulus_protocol::Encoder;
use annulus_storage::value::{Field, Hash};

use super::super::errors::Outcome;
use super::super::{Context, answer, unreachable_arity};
use super::hash;

/// `HGET key field`
pub(in super::super) fn hget(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = look_at_field(context, args, |hash, field, now, out| {
        match hash.and_then(|hash| hash.get(field, now)) {
            Some(value) => out.bulk(value),
            None => out.null(),
        }
    });
    answer(context, outcome);
}

/// `HEXISTS key field`
pub(in super::super) fn hexists(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = look_at_field(context, args, |hash, field, now, out| {
        out.integer(i64::from(hash.is_some_and(|hash| hash.get(field, now).is_some())));
    });
    answer(context, outcome);
}

/// `HSTRLEN key field`
pub(in super::super) fn hstrlen(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = look_at_field(context, args, |hash, field, now, out| {
        let value = hash.and_then(|hash| hash.get(field, now));
        out.integer(value.map_or(0, |value| value.len()) as i64);
    });
    answer(context, outcome);
}

fn look_at_field(
    context: &mut Context<'_>,
    args: &[&[u8]],
    reply: fn(Option<&Hash>, &[u8], u64, &mut Encoder<'_>),
) -> Outcome {
    let &[_, key, field] = args else { return Err(unreachable_arity("hget")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let hash = context.store.get(context.database, key).map(hash).transpose()?;
    reply(hash, field, now, &mut context.out);
    Ok(())
}

/// `HMGET key field [field …]`
pub(in super::super) fn hmget(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = look_at_fields(context, args);
    answer(context, outcome);
}

fn look_at_fields(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, fields @ ..] = args else { return Err(unreachable_arity("hmget")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let hash = context.store.get(context.database, key).map(hash).transpose()?;
    context.out.array_header(fields.len());
    for field in fields {
        match hash.and_then(|hash| hash.get(field, now)) {
            Some(value) => context.out.bulk(value),
            None => context.out.null(),
        }
    }
    Ok(())
}

/// `HLEN key`
pub(in super::super) fn hlen(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = length(context, args);
    answer(context, outcome);
}

fn length(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key] = args else { return Err(unreachable_arity("hlen")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let entry = context.store.get(context.database, key);
    let len = entry.map(hash).transpose()?.map_or(0, |hash| hash.live_len(now));
    context.out.integer(len as i64);
    Ok(())
}

/// `HGETALL key`
pub(in super::super) fn hgetall(context: &mut Context<'_>, args: &[&[u8]]) {
    fn header(out: &mut Encoder<'_>, fields: usize) {
        out.map_header(fields);
    }
    let outcome = list_fields(context, args, header, |field, out| {
        out.bulk(field.name);
        out.bulk(field.value);
    });
    answer(context, outcome);
}

/// `HKEYS key`
pub(in super::super) fn hkeys(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = list_fields(context, args, array_header, |field, out| out.bulk(field.name));
    answer(context, outcome);
}

/// `HVALS key`
pub(in super::super) fn hvals(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = list_fields(context, args, array_header, |field, out| out.bulk(field.value));
    answer(context, outcome);
}

fn array_header(out: &mut Encoder<'_>, fields: usize) {
    out.array_header(fields);
}

fn list_fields(
    context: &mut Context<'_>,
    args: &[&[u8]],
    header: fn(&mut Encoder<'_>, usize),
    write: fn(Field<'_>, &mut Encoder<'_>),
) -> Outcome {
    let &[_, key] = args else { return Err(unreachable_arity("hgetall")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let out = &mut context.out;
    match context.store.get(context.database, key).map(hash).transpose()? {
        Some(hash) => {
            header(out, hash.live_len(now));
            hash.iter(now).for_each(|field| write(field, out));
        }
        None => header(out, 0),
    }
    Ok(())
}

//! Strings as numbers.

use annulus_protocol::LongDouble;
use annulus_storage::Expiry;

use super::super::arguments::integer;
use super::super::errors::{self, Outcome, fail};
use super::super::{Context, answer, unreachable_arity, values};

/// `INCR key`
pub(in super::super) fn incr(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        &[_, key] => add(context, key, 1),
        _ => Err(unreachable_arity("incr")),
    };
    answer(context, outcome);
}

/// `DECR key`
pub(in super::super) fn decr(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        &[_, key] => add(context, key, -1),
        _ => Err(unreachable_arity("decr")),
    };
    answer(context, outcome);
}

/// `INCRBY key increment`
pub(in super::super) fn incrby(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        &[_, key, increment] => integer(increment).and_then(|increment| add(context, key, increment)),
        _ => Err(unreachable_arity("incrby")),
    };
    answer(context, outcome);
}

/// `DECRBY key decrement`
pub(in super::super) fn decrby(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        &[_, key, decrement] => integer(decrement).and_then(|decrement| {
            let increment = decrement.checked_neg().ok_or(fail(errors::DECREMENT_WOULD_OVERFLOW))?;
            add(context, key, increment)
        }),
        _ => Err(unreachable_arity("decrby")),
    };
    answer(context, outcome);
}

fn add(context: &mut Context<'_>, key: &[u8], increment: i64) -> Outcome {
    let key = context.first_key(key);
    let old = match context.store.get_for_update(context.database, key) {
        Some(entry) => integer(values::string(entry)?)?,
        None => 0,
    };
    let sum = old.checked_add(increment).ok_or(fail(errors::WOULD_OVERFLOW))?;
    let mut digits = itoa::Buffer::new();
    context.store.set(context.database, key, digits.format(sum).as_bytes(), Expiry::Keep);
    context.out.integer(sum);
    Ok(())
}

/// `INCRBYFLOAT key increment`
pub(in super::super) fn incrbyfloat(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        &[_, key, increment] => add_decimal(context, key, increment),
        _ => Err(unreachable_arity("incrbyfloat")),
    };
    answer(context, outcome);
}

fn add_decimal(context: &mut Context<'_>, key: &[u8], increment: &[u8]) -> Outcome {
    let number = |text: &[u8]| LongDouble::parse(text).ok_or(fail(errors::NOT_FLOAT));
    let key = context.first_key(key);
    let old = match context.store.get_for_update(context.database, key) {
        Some(entry) => number(values::string(entry)?)?,
        None => number(b"0")?,
    };
    let sum = old.checked_add(number(increment)?).ok_or(fail(errors::NAN_OR_INFINITY))?;
    let text = sum.to_text();
    context.store.set(context.database, key, &text, Expiry::Keep);
    context.out.bulk(text);
    Ok(())
}

//! Values of fields as numbers.

use annulus_protocol::{LongDouble, parse_i64};
use annulus_storage::Key;
use annulus_storage::value::HashChange;

use super::super::arguments::integer;
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::values::read_to_change;
use super::super::{Context, answer, unreachable_arity};
use super::hash;

/// `HINCRBY key field increment`
pub(in super::super) fn hincrby(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = add(context, args);
    answer(context, outcome);
}

fn add(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, field, increment] = args else { return Err(unreachable_arity("hincrby")) };
    let increment = integer(increment)?;
    let key = context.first_key(key);
    let Old { number, expire_at_ms } = old_value(context, key, field, |text| {
        text.map_or(Some(0), parse_i64).ok_or(fail("ERR hash value is not an integer"))
    })?;
    let sum = number.checked_add(increment).ok_or(fail(errors::WOULD_OVERFLOW))?;
    let mut digits = itoa::Buffer::new();
    let change = HashChange::Set { field, value: digits.format(sum).as_bytes(), expire_at_ms };
    context.store.change(context.database, key, change);
    context.out.integer(sum);
    Ok(())
}

/// `HINCRBYFLOAT key field increment`
pub(in super::super) fn hincrbyfloat(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = add_decimal(context, args);
    answer(context, outcome);
}

fn add_decimal(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, field, increment] = args else { return Err(unreachable_arity("hincrbyfloat")) };
    let increment = LongDouble::parse(increment).ok_or(fail(errors::NOT_FLOAT))?;
    if !increment.is_finite() {
        return Err(fail("ERR value is NaN or Infinity"));
    }
    let key = context.first_key(key);
    let Old { number, expire_at_ms } = old_value(context, key, field, |text| {
        LongDouble::parse(text.unwrap_or(b"0")).ok_or(fail("ERR hash value is not a float"))
    })?;
    let value = number.checked_add(increment).ok_or(fail(errors::NAN_OR_INFINITY))?.to_text();
    let change = HashChange::Set { field, value: &value, expire_at_ms };
    context.store.change(context.database, key, change);
    context.out.bulk(value);
    Ok(())
}

/// What a field holds before it is added to. Its expiry stays.
struct Old<T> {
    number: T,
    expire_at_ms: Option<u64>,
}

fn old_value<T>(
    context: &mut Context<'_>,
    key: Key<'_>,
    field: &[u8],
    parse: impl FnOnce(Option<&[u8]>) -> Result<T, Failure>,
) -> Result<Old<T>, Failure> {
    let now = context.store.now();
    let found = read_to_change(context, key, hash)?.and_then(|hash| hash.field(field, now));
    let expire_at_ms = found.and_then(|field| field.expire_at_ms);
    let number = parse(found.as_ref().map(|field| &*field.value))?;
    Ok(Old { number, expire_at_ms })
}

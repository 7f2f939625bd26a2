//! Counting bits, and finding the first of a value.

use super::super::errors::{self, Outcome, fail};
use super::super::{Context, answer, string_of, unreachable_arity};
use super::range::{BitRange, Bounds, Unit, count_ones, find};
use crate::commands::arguments::integer;

/// `BITCOUNT key [start end [BYTE | BIT]]`
pub(in super::super) fn bitcount(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = count(context, args);
    answer(context, outcome);
}

fn count(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, range @ ..] = args else { return Err(unreachable_arity("bitcount")) };
    let key = context.first_key(key);
    // As in Redis, what is wrong in the range is not seen when there is no key.
    let Some(bytes) = string_of(context.store.get(context.database, key))? else {
        context.out.integer(0);
        return Ok(());
    };
    let run = match range {
        [] => whole(bytes),
        [start, end] => {
            let bounds = Bounds::parse(start, end)?;
            if bounds.are_crossed() { None } else { bounds.resolve(Unit::Byte, bytes.len()) }
        }
        [start, end, unit] => {
            let bounds = Bounds::parse(start, end)?;
            // And the unit is not looked at when the bounds are the wrong way round.
            if bounds.are_crossed() { None } else { bounds.resolve(Unit::parse(unit)?, bytes.len()) }
        }
        _ => return Err(fail(errors::SYNTAX)),
    };
    context.out.integer(run.map_or(0, |run| count_ones(bytes, run)) as i64);
    Ok(())
}

fn whole(bytes: &[u8]) -> Option<BitRange> {
    Bounds { start: 0, end: -1 }.resolve(Unit::Byte, bytes.len())
}

/// `BITPOS key bit [start [end [BYTE | BIT]]]`
pub(in super::super) fn bitpos(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = position(context, args);
    answer(context, outcome);
}

fn position(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, bit, range @ ..] = args else { return Err(unreachable_arity("bitpos")) };
    let value = match integer(bit)? {
        0 => false,
        1 => true,
        _ => return Err(fail(errors::BIT_ARGUMENT)),
    };
    let key = context.first_key(key);
    let Some(bytes) = string_of(context.store.get(context.database, key))? else {
        // Nothing but zeros, without an end.
        context.out.integer(if value { -1 } else { 0 });
        return Ok(());
    };
    let (bounds, unit) = match range {
        [] => (Bounds { start: 0, end: -1 }, Unit::Byte),
        [start] => (Bounds { start: integer(start)?, end: -1 }, Unit::Byte),
        [start, end] => (Bounds::parse(start, end)?, Unit::Byte),
        [start, end, unit] => {
            let start = integer(start)?;
            let unit = Unit::parse(unit)?;
            (Bounds { start, end: integer(end)? }, unit)
        }
        _ => return Err(fail(errors::SYNTAX)),
    };
    let run = bounds.resolve(unit, bytes.len());
    let found = run.and_then(|run| {
        // A string that ends in ones goes on with zeros, unless the end was said.
        let beyond = (!value && range.len() < 2).then_some(run.end);
        find(bytes, run, value).or(beyond)
    });
    context.out.integer(found.map_or(-1, |bit| bit as i64));
    Ok(())
}

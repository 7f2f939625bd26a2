//! Commands that change a list other than at its ends.

use annulus_storage::value::{List, ListChange};

use super::super::arguments::{integer, is, span};
use super::super::errors::{self, Outcome, fail};
use super::super::values::read_to_change;
use super::super::{Context, answer, unreachable_arity};
use super::{length_for_update, list, read};

/// `LSET key index element`
pub(in super::super) fn lset(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set(context, args);
    answer(context, outcome);
}

fn set(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, index, value] = args else { return Err(unreachable_arity("lset")) };
    let key = context.first_key(key);
    let list = read_to_change(context, key, list)?.ok_or(fail(errors::NO_SUCH_KEY))?;
    let index = read::place(list, integer(index)?).ok_or(fail("ERR index out of range"))?;
    context.store.change(context.database, key, ListChange::Set { index: index as u64, value });
    context.out.ok();
    Ok(())
}

/// `LINSERT key BEFORE|AFTER pivot element`
pub(in super::super) fn linsert(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = insert(context, args);
    answer(context, outcome);
}

fn insert(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, place, pivot, value] = args else { return Err(unreachable_arity("linsert")) };
    let behind = match () {
        () if is(place, "AFTER") => 1,
        () if is(place, "BEFORE") => 0,
        () => return Err(fail(errors::SYNTAX)),
    };
    let key = context.first_key(key);
    let reply = match read_to_change(context, key, list)? {
        None => 0,
        Some(list) => match position_of(list, pivot) {
            None => -1,
            Some(index) => {
                let change = ListChange::Insert { index: index as u64 + behind, value };
                context.store.change(context.database, key, change).len as i64
            }
        },
    };
    context.out.integer(reply);
    Ok(())
}

fn position_of(list: &List, value: &[u8]) -> Option<usize> {
    list.iter_from(0).position(|element| element == *value)
}

/// `LREM key count element`
pub(in super::super) fn lrem(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = remove(context, args);
    answer(context, outcome);
}

fn remove(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, count, value] = args else { return Err(unreachable_arity("lrem")) };
    let count = integer(count)?;
    let key = context.first_key(key);
    let removed = match length_for_update(context, key)? {
        None => 0,
        Some(_) => context.store.change(context.database, key, ListChange::Remove { count, value }).affected,
    };
    context.out.integer(removed as i64);
    Ok(())
}

/// `LTRIM key start stop`
pub(in super::super) fn ltrim(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = trim(context, args);
    answer(context, outcome);
}

fn trim(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, start, stop] = args else { return Err(unreachable_arity("ltrim")) };
    let (start, stop) = (integer(start)?, integer(stop)?);
    let key = context.first_key(key);
    if let Some(len) = length_for_update(context, key)? {
        let kept = span(start, stop, len);
        let change = ListChange::Trim { start: kept.start as u64, len: kept.len() as u64 };
        context.store.change(context.database, key, change);
    }
    context.out.ok();
    Ok(())
}

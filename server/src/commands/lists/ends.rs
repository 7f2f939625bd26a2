//! Pushing and popping.

use annulus_storage::Key;
use annulus_storage::value::{ListChange, Side};

use super::super::arguments::positive;
use super::super::errors::{Failure, Outcome};
use super::super::{Context, answer, unreachable_arity};
use super::{end_index, length_for_update, list, reply_with_end};

/// What to do where there is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    Create,
    Leave,
}

/// `LPUSH key element [element …]`
pub(in super::super) fn lpush(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = push_all(context, args, Side::Left, Absent::Create);
    answer(context, outcome);
}

/// `RPUSH key element [element …]`
pub(in super::super) fn rpush(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = push_all(context, args, Side::Right, Absent::Create);
    answer(context, outcome);
}

/// `LPUSHX key element [element …]`
pub(in super::super) fn lpushx(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = push_all(context, args, Side::Left, Absent::Leave);
    answer(context, outcome);
}

/// `RPUSHX key element [element …]`
pub(in super::super) fn rpushx(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = push_all(context, args, Side::Right, Absent::Leave);
    answer(context, outcome);
}

fn push_all(context: &mut Context<'_>, args: &[&[u8]], side: Side, absent: Absent) -> Outcome {
    let [_, key, elements @ ..] = args else { return Err(unreachable_arity("push")) };
    let key = context.first_key(key);
    let found = length_for_update(context, key)?;
    let mut len = found.unwrap_or(0);
    if found.is_some() || absent == Absent::Create {
        for value in elements {
            len = context.store.change(context.database, key, ListChange::Push { side, value }).len;
        }
    }
    context.out.integer(len as i64);
    Ok(())
}

/// `LPOP key [count]`
pub(in super::super) fn lpop(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = pop_some(context, args, Side::Left, "lpop");
    answer(context, outcome);
}

/// `RPOP key [count]`
pub(in super::super) fn rpop(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = pop_some(context, args, Side::Right, "rpop");
    answer(context, outcome);
}

fn pop_some(context: &mut Context<'_>, args: &[&[u8]], side: Side, name: &'static str) -> Outcome {
    let (key, count) = match *args {
        [_, key] => (key, None),
        [_, key, count] => (key, Some(positive(count)?)),
        _ => return Err(unreachable_arity(name)),
    };
    let key = context.first_key(key);
    match count {
        None => {
            if !pop(context, key, side)? {
                context.out.null();
            }
        }
        Some(count) => {
            if !pop_many(context, key, side, count)? {
                context.out.null_array();
            }
        }
    }
    Ok(())
}

/// Takes the element at an end and replies with it; false, and no reply, if there is no list.
pub(in super::super) fn pop(context: &mut Context<'_>, key: Key<'_>, side: Side) -> Result<bool, Failure> {
    let Context { store, out, database, .. } = context;
    let Some(list) = store.get_for_update(*database, key).map(list).transpose()? else { return Ok(false) };
    match list.get(end_index(list, side)) {
        Some(element) => out.bulk(element),
        None => out.null(),
    }
    store.change(*database, key, ListChange::Pop { side, count: 1 });
    Ok(true)
}

/// Takes up to `count` elements from an end and replies with an array of them; false, and no reply, if there is no list.
pub(in super::super) fn pop_many(
    context: &mut Context<'_>,
    key: Key<'_>,
    side: Side,
    count: usize,
) -> Result<bool, Failure> {
    let Context { store, out, database, .. } = context;
    let Some(list) = store.get_for_update(*database, key).map(list).transpose()? else { return Ok(false) };
    let count = count.min(list.len());
    reply_with_end(list, side, count, out);
    if count > 0 {
        store.change(*database, key, ListChange::Pop { side, count: count as u64 });
    }
    Ok(true)
}

//! Commands that remove members.

use annulus_storage::value::{Life, LiveSortedSet, SortedSetChange};

use super::super::errors::Outcome;
use super::super::member_expiry::life_of;
use super::super::{Context, answer, unreachable_arity};
use super::bounds::{Bounds, By, Direction};
use super::{Copied, remove_all, sorted_set};

/// `ZREM key member [member …]`
pub(in super::super) fn zrem(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        [_, key, members @ ..] => remove_members(context, key, members),
        _ => Err(unreachable_arity("zrem")),
    };
    answer(context, outcome);
}

fn remove_members(context: &mut Context<'_>, key: &[u8], members: &[&[u8]]) -> Outcome {
    let (database, key, now) = (context.database, context.first_key(key), context.store.now());
    let set = context.store.get_for_update(database, key).map(sorted_set(now)).transpose()?;
    let expires = set.as_ref().is_some_and(LiveSortedSet::expires);
    let mut left = set.is_some();
    let mut removed = 0;
    for member in members {
        if !left {
            break;
        }
        // One whose time has passed is still there, but not for whoever asks.
        let counts = !expires || life_of(context, key, member) != Life::Absent;
        let applied = context.store.change(database, key, SortedSetChange::Remove { member });
        removed += if counts { applied.affected } else { 0 };
        left = applied.len > 0;
    }
    context.out.integer(removed as i64);
    Ok(())
}

/// `ZREMRANGEBYRANK key start stop`
pub(in super::super) fn zremrangebyrank(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = remove_part(context, args, By::Rank);
    answer(context, outcome);
}

/// `ZREMRANGEBYSCORE key min max`
pub(in super::super) fn zremrangebyscore(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = remove_part(context, args, By::Score);
    answer(context, outcome);
}

/// `ZREMRANGEBYLEX key min max`
pub(in super::super) fn zremrangebylex(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = remove_part(context, args, By::Member);
    answer(context, outcome);
}

fn remove_part(context: &mut Context<'_>, args: &[&[u8]], by: By) -> Outcome {
    let &[_, key, min, max] = args else { return Err(unreachable_arity("zremrangebyrank")) };
    let bounds = Bounds::parse(by, Direction::Forward, [min, max])?;
    let key = context.first_key(key);
    let mut found = Copied::default();
    let mut len = 0;
    let now = context.store.now();
    if let Some(set) = context.store.get_for_update(context.database, key).map(sorted_set(now)).transpose()? {
        let ranks = bounds.ranks(&set, Direction::Forward);
        found = set.range(ranks.start, ranks.end).collect();
        len = set.len();
    }
    if found.len() > 0 {
        remove_all(context, key, &found, len);
    }
    context.out.integer(found.len() as i64);
    Ok(())
}

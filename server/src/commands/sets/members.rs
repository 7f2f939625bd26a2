//! Commands on single members, and on all of one set.

use annulus_storage::Key;
use annulus_storage::value::{Life, SetChange};

use super::super::errors::{Failure, Outcome};
use super::super::member_expiry::life_of;
use super::super::replies::{error_among, integer_reply};
use super::super::transfer::{end, refuse};
use super::super::values::read_to_change;
use super::super::{Context, Hop, HopRequest, HopStep, answer, key, unreachable_arity};
use super::{reply_with_all, set};

/// `SADD key member [member …]`
pub(in super::super) fn sadd(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = change_all(context, args, "sadd", |member| SetChange::Add { member });
    answer(context, outcome);
}

/// `SREM key member [member …]`
pub(in super::super) fn srem(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = change_all(context, args, "srem", |member| SetChange::Remove { member });
    answer(context, outcome);
}

fn change_all(
    context: &mut Context<'_>,
    args: &[&[u8]],
    name: &'static str,
    change: fn(&[u8]) -> SetChange<'_>,
) -> Outcome {
    let [_, key, members @ ..] = args else { return Err(unreachable_arity(name)) };
    let key = context.first_key(key);
    let now = context.store.now();
    let expires = read_to_change(context, key, set(now))?.is_some_and(|set| set.expires());
    let mut changed = 0;
    for member in members {
        if expires {
            changed += usize::from(change_among_expiring(context, key, change(member)));
            continue;
        }
        let applied = context.store.change(context.database, key, change(member));
        changed += applied.affected;
        if applied.affected > 0 && applied.len == 0 {
            break;
        }
    }
    context.out.integer(changed as i64);
    Ok(())
}

/// Adds or removes a member where some expire. Whether that makes a difference does not depend on members whose time has passed: they are
/// still there, but not for whoever asks. What is added has no expiry, had it one before or not.
#[cold]
fn change_among_expiring(context: &mut Context<'_>, key: Key<'_>, change: SetChange<'_>) -> bool {
    let (SetChange::Add { member } | SetChange::Remove { member } | SetChange::Expire { member, .. }) =
        change;
    let life = life_of(context, key, member);
    let was_there = life != Life::Absent;
    let there = context.store.change(context.database, key, change).affected > 0;
    if matches!(change, SetChange::Add { .. }) {
        if !there && life != Life::Endless {
            let change = SetChange::Expire { member, expire_at_ms: None };
            context.store.change(context.database, key, change);
        }
        return !was_there;
    }
    was_there
}

/// `SISMEMBER key member`
pub(in super::super) fn sismember(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = is_member(context, args);
    answer(context, outcome);
}

fn is_member(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, member] = args else { return Err(unreachable_arity("sismember")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let set = context.store.get(context.database, key).map(set(now)).transpose()?;
    context.out.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    Ok(())
}

/// `SMISMEMBER key member [member …]`
pub(in super::super) fn smismember(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = are_members(context, args);
    answer(context, outcome);
}

fn are_members(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, members @ ..] = args else { return Err(unreachable_arity("smismember")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let set = context.store.get(context.database, key).map(set(now)).transpose()?;
    context.out.array_header(members.len());
    for member in members {
        context.out.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

/// `SCARD key`
pub(in super::super) fn scard(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = count(context, args);
    answer(context, outcome);
}

fn count(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key] = args else { return Err(unreachable_arity("scard")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let set = context.store.get(context.database, key).map(set(now)).transpose()?;
    context.out.integer(set.map_or(0, |set| set.len()) as i64);
    Ok(())
}

/// `SMEMBERS key`
pub(in super::super) fn smembers(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = list(context, args);
    answer(context, outcome);
}

fn list(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key] = args else { return Err(unreachable_arity("smembers")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let set = context.store.get(context.database, key).map(set(now)).transpose()?;
    reply_with_all(set, &mut context.out);
    Ok(())
}

/// `SMOVE source destination member` on one shard
pub(in super::super) fn smove(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = move_member(context, args).map(|moved| context.out.integer(i64::from(moved)));
    answer(context, outcome);
}

fn move_member(context: &mut Context<'_>, args: &[&[u8]]) -> Result<bool, Failure> {
    let &[_, source, destination, member] = args else { return Err(unreachable_arity("smove")) };
    let (source, destination) = (context.first_key(source), key(destination));
    let now = context.store.now();
    let Some(has) = read_to_change(context, source, set(now))?.map(|set| set.contains(member)) else {
        return Ok(false);
    };
    let expires = read_to_change(context, destination, set(now))?.is_some_and(|set| set.expires());
    if has && source.bytes != destination.bytes {
        context.store.change(context.database, source, SetChange::Remove { member });
        if expires {
            change_among_expiring(context, destination, SetChange::Add { member });
        } else {
            context.store.change(context.database, destination, SetChange::Add { member });
        }
    }
    Ok(has)
}

/// `SMOVE` between shards: looks at both sets, then changes both.
pub(in super::super) fn smove_plan(hop: &Hop<'_>) -> HopStep {
    let &[_, source, destination, member] = hop.args else { return refuse(hop, unreachable_arity("smove")) };
    let request = |words: &[&[u8]]| HopRequest { args: words.iter().map(|word| word.to_vec()).collect() };
    let number = |index: usize| hop.replies.get(index).and_then(|reply| integer_reply(reply));
    match hop.round {
        0 => HopStep::Send(vec![
            request(&[b"scard", source]),
            request(&[b"scard", destination]),
            request(&[b"sismember", source, member]),
        ]),
        // As in Redis: without a source, nobody asks what the destination is.
        1 if number(0) == Some(0) => end(hop, |out| out.integer(0)),
        1 if let Some(error) = error_among(hop.replies) => HopStep::Reply(error.to_vec()),
        1 if number(2) == Some(1) => {
            HopStep::Send(vec![request(&[b"srem", source, member]), request(&[b"sadd", destination, member])])
        }
        round => end(hop, |out| out.integer(i64::from(round > 1))),
    }
}

//! Commands that tell of single members.

use annulus_protocol::Encoder;
use annulus_storage::value::LiveSortedSet;

use super::super::arguments::is;
use super::super::errors::{self, Outcome, fail};
use super::super::{Context, answer, unreachable_arity};
use super::sorted_set;

/// `ZCARD key`
pub(in super::super) fn zcard(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = with_set(context, args, |set, _, out| {
        out.integer(set.map_or(0, LiveSortedSet::len) as i64);
    });
    answer(context, outcome);
}

/// `ZSCORE key member`
pub(in super::super) fn zscore(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = with_set(context, args, |set, members, out| {
        for member in members {
            write_score(set, member, out);
        }
    });
    answer(context, outcome);
}

/// `ZMSCORE key member [member …]`
pub(in super::super) fn zmscore(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = with_set(context, args, |set, members, out| {
        out.array_header(members.len());
        for member in members {
            write_score(set, member, out);
        }
    });
    answer(context, outcome);
}

fn write_score(set: Option<&LiveSortedSet<'_>>, member: &[u8], out: &mut Encoder<'_>) {
    match set.and_then(|set| set.score(member)) {
        Some(score) => out.double(score),
        None => out.null(),
    }
}

/// Looks at the key that is the first argument, and writes with the others.
fn with_set(
    context: &mut Context<'_>,
    args: &[&[u8]],
    write: impl FnOnce(Option<&LiveSortedSet<'_>>, &[&[u8]], &mut Encoder<'_>),
) -> Outcome {
    let [_, key, rest @ ..] = args else { return Err(unreachable_arity("zscore")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let set = context.store.get(context.database, key).map(sorted_set(now)).transpose()?;
    write(set.as_ref(), rest, &mut context.out);
    Ok(())
}

/// `ZRANK key member [WITHSCORE]`
pub(in super::super) fn zrank(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = rank(context, args, |rank, _| rank);
    answer(context, outcome);
}

/// `ZREVRANK key member [WITHSCORE]`
pub(in super::super) fn zrevrank(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = rank(context, args, |rank, len| len.saturating_sub(rank + 1));
    answer(context, outcome);
}

fn rank(context: &mut Context<'_>, args: &[&[u8]], shown: fn(usize, usize) -> usize) -> Outcome {
    let [_, key, member, options @ ..] = args else { return Err(unreachable_arity("zrank")) };
    let with_score = match options {
        [] => false,
        [option] if is(option, "WITHSCORE") => true,
        _ => return Err(fail(errors::SYNTAX)),
    };
    let key = context.first_key(key);
    let now = context.store.now();
    let set = context.store.get(context.database, key).map(sorted_set(now)).transpose()?;
    let found = set.and_then(|set| Some((shown(set.rank(member)?, set.len()), set.score(member)?)));
    let out = &mut context.out;
    match found {
        Some((rank, score)) if with_score => {
            out.array_header(2);
            out.integer(rank as i64);
            out.double(score);
        }
        Some((rank, _)) => out.integer(rank as i64),
        None if with_score => out.null_array(),
        None => out.null(),
    }
    Ok(())
}

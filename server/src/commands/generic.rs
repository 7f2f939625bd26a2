//! Keys of any type, and databases as a whole.

use annulus_protocol::Encoder;

use super::arguments::{database_or, is};
use super::errors::{self, Outcome, fail};
use super::replies::{elements, integer_reply};
use super::{Context, answer, key, unreachable_arity};
use crate::runtime::Rng;

/// `DEL key [key …]`, and `UNLINK`: the store frees big values bit by bit in any case
pub(super) fn del(context: &mut Context<'_>, args: &[&[u8]]) {
    count_keys(context, args, |context, bytes| context.store.delete(context.database, key(bytes)));
}

/// `EXISTS key [key …]`
pub(super) fn exists(context: &mut Context<'_>, args: &[&[u8]]) {
    count_keys(context, args, |context, bytes| context.store.peek(context.database, key(bytes)).is_some());
}

/// `TOUCH key [key …]`
pub(super) fn touch(context: &mut Context<'_>, args: &[&[u8]]) {
    count_keys(context, args, |context, bytes| context.store.get(context.database, key(bytes)).is_some());
}

fn count_keys(
    context: &mut Context<'_>,
    args: &[&[u8]],
    mut each: impl FnMut(&mut Context<'_>, &[u8]) -> bool,
) {
    let mut count = 0;
    for bytes in args.get(1..).unwrap_or_default() {
        count += i64::from(each(context, bytes));
    }
    context.out.integer(count);
}

/// `TYPE key`
pub(super) fn r#type(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key] = args else { return answer(context, Err(unreachable_arity("type"))) };
    let key = context.first_key(key);
    let kind = context.store.peek(context.database, key).map_or("none", |entry| entry.kind());
    context.out.simple(kind);
}

/// `DBSIZE`: this shard's part
pub(super) fn dbsize(context: &mut Context<'_>, _: &[&[u8]]) {
    context.out.integer(context.store.len(context.database) as i64);
}

/// `BACKUP CUT backup`: this shard, and the last effect in its log; the log is asked to say that it is durable
pub(super) fn backup_cut(context: &mut Context<'_>, _: &[&[u8]]) {
    let last = context.store.sink_mut().fence();
    context.out.array_header(1);
    context.out.array_header(2);
    context.out.integer(i64::from(context.shard.0));
    context.out.integer(last.0 as i64);
}

/// `RANDOMKEY`: the number of this shard's keys, and one of them, for [`merge_randomkey`]
pub(super) fn randomkey(context: &mut Context<'_>, _: &[&[u8]]) {
    let Context { store, out, random, database, .. } = context;
    let chosen = store.random_key(*database, &mut || random.next_u64());
    out.array_header(2);
    out.integer(store.len(*database) as i64);
    match chosen {
        Some(chosen) => out.bulk(chosen),
        None => out.null(),
    }
}

/// Chooses among the shards' keys, each shard as likely as it has keys.
pub(super) fn merge_randomkey(replies: &[Vec<u8>], out: &mut Encoder<'_>, random: &mut Rng) {
    let candidates = || {
        replies.iter().filter_map(|reply| {
            let mut elements = elements(reply);
            let keys = elements.next().and_then(integer_reply).and_then(|keys| u64::try_from(keys).ok())?;
            elements
                .next()
                .filter(|key| key.starts_with(b"$") && !key.starts_with(b"$-"))
                .map(|key| (keys, key))
        })
    };
    let mut chosen = random.below(candidates().map(|(keys, _)| keys).sum());
    let key = candidates().find(|(keys, _)| {
        let found = chosen < *keys;
        chosen = chosen.saturating_sub(*keys);
        found
    });
    match key {
        Some((_, key)) => out.raw(key),
        None => out.null(),
    }
}

/// `FLUSHDB [ASYNC | SYNC]`
pub(super) fn flushdb(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = check_flush(args).map(|()| {
        context.store.flush(context.database);
        context.out.ok();
    });
    answer(context, outcome);
}

/// `FLUSHALL [ASYNC | SYNC]`
pub(super) fn flushall(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = check_flush(args).map(|()| {
        context.store.flush_all();
        context.out.ok();
    });
    answer(context, outcome);
}

/// Both ways are the same here: the keys are gone at once, and their memory is freed bit by bit.
fn check_flush(args: &[&[u8]]) -> Outcome {
    match args {
        [_] => Ok(()),
        [_, way] if is(way, "ASYNC") || is(way, "SYNC") => Ok(()),
        _ => Err(fail(errors::SYNTAX)),
    }
}

/// `SWAPDB index1 index2`
pub(super) fn swapdb(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = swap(context, args);
    answer(context, outcome);
}

fn swap(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, first, second] = args else { return Err(unreachable_arity("swapdb")) };
    let databases = context.store.databases();
    let first = database_or(first, databases, "ERR invalid first DB index");
    let second = database_or(second, databases, "ERR invalid second DB index");
    // An index that is no number comes before one that is out of range.
    let (first, second) = match (first, second) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
        (Err(first), Err(second)) => {
            return Err(if first == fail(errors::DATABASE_OUT_OF_RANGE) { second } else { first });
        }
    };
    if first != second {
        context.store.swap(first, second);
    }
    context.out.ok();
    Ok(())
}

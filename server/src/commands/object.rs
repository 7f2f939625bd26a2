//! How values are kept.

use annulus_storage::Entry;

use super::arguments::{integer, is};
use super::errors::{self, Outcome, fail};
use super::{Context, answer, unreachable_arity};

/// Redis shares the integers below this among all keys, and counts no references to them.
const SHARED_INTEGERS: i64 = 10_000;
/// What Redis answers for shared objects.
const SHARED_REFERENCES: i64 = i32::MAX as i64;

/// `OBJECT ENCODING key`
pub(super) fn encoding(context: &mut Context<'_>, args: &[&[u8]]) {
    look(context, args, |context, key| {
        let entry = context.store.peek(context.database, key)?;
        context.out.bulk(entry.encoding());
        Some(())
    });
}

/// `OBJECT FREQ key`
pub(super) fn freq(context: &mut Context<'_>, args: &[&[u8]]) {
    look(context, args, |context, key| {
        context.store.peek(context.database, key)?;
        // Access is tracked by time: there is no policy here that evicts by frequency.
        context.out.error(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
             between policies at runtime LRU and LFU data will take some time to adjust.",
        );
        Some(())
    });
}

/// `OBJECT IDLETIME key`
pub(super) fn idletime(context: &mut Context<'_>, args: &[&[u8]]) {
    look(context, args, |context, key| {
        let now = context.store.now();
        let idle = context.store.peek(context.database, key)?.idle_seconds(now);
        context.out.integer(idle as i64);
        Some(())
    });
}

/// `OBJECT REFCOUNT key`
pub(super) fn refcount(context: &mut Context<'_>, args: &[&[u8]]) {
    look(context, args, |context, key| {
        let entry = context.store.peek(context.database, key)?;
        context.out.integer(references(entry));
        Some(())
    });
}

/// `MEMORY USAGE key [SAMPLES count]`: sizes are known, so nothing is sampled
pub(super) fn usage(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = memory_of(context, args);
    answer(context, outcome);
}

fn memory_of(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, _, key, options @ ..] = args else { return Err(unreachable_arity("memory|usage")) };
    let mut rest = options;
    while let [option, count, tail @ ..] = rest {
        if !is(option, "SAMPLES") || integer(count)? < 0 {
            return Err(fail(errors::SYNTAX));
        }
        rest = tail;
    }
    if !rest.is_empty() {
        return Err(fail(errors::SYNTAX));
    }
    let key = context.first_key(key);
    match context.store.peek(context.database, key) {
        Some(entry) => context.out.integer(entry.memory_bytes() as i64),
        None => context.out.null(),
    }
    Ok(())
}

fn references(entry: Entry<'_>) -> i64 {
    let integer = entry.string().filter(|_| entry.encoding() == "int").and_then(annulus_protocol::parse_i64);
    match integer {
        Some(0..SHARED_INTEGERS) => SHARED_REFERENCES,
        _ => 1,
    }
}

/// Runs a look at the key; where there is none, the reply is null.
fn look(
    context: &mut Context<'_>,
    args: &[&[u8]],
    reply: impl FnOnce(&mut Context<'_>, annulus_storage::Key<'_>) -> Option<()>,
) {
    let &[_, _, key] = args else { return answer(context, Err(unreachable_arity("object"))) };
    let key = context.first_key(key);
    if reply(context, key).is_none() {
        context.out.null();
    }
}

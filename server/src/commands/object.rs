//! How values are kept.

use annulus_storage::Entry;

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

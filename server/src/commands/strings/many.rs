//! Commands on several strings.

use annulus_storage::Expiry;

use super::super::replies::{error_among, integer_reply};
use super::super::transfer::end;
use super::super::{Context, Hop, HopRequest, HopStep, key};

/// `MGET key [key …]`
pub(in super::super) fn mget(context: &mut Context<'_>, args: &[&[u8]]) {
    let keys = args.get(1..).unwrap_or_default();
    context.out.array_header(keys.len());
    for bytes in keys {
        let start = context.out.position();
        if super::get::reply_with(context, key(bytes)).is_err() {
            // What isn't a string is no error here, but as good as absent.
            context.out.truncate(start);
            context.out.null();
        }
    }
}

/// `MSET key value [key value …]`
pub(in super::super) fn mset(context: &mut Context<'_>, args: &[&[u8]]) {
    set_pairs(context, args);
    context.out.ok();
}

/// `MSETNX key value [key value …]` with all keys on this shard
pub(in super::super) fn msetnx(context: &mut Context<'_>, args: &[&[u8]]) {
    let free =
        pairs(args).all(|(bytes, _)| context.store.get_for_update(context.database, key(bytes)).is_none());
    if free {
        set_pairs(context, args);
    }
    context.out.integer(i64::from(free));
}

/// `MSETNX` over shards: looks at all keys, then sets them.
pub(in super::super) fn msetnx_plan(hop: &Hop<'_>) -> HopStep {
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    match hop.round {
        0 => HopStep::Send(
            pairs(hop.args)
                .map(|(key, _)| HopRequest { args: vec![b"annulus.present".to_vec(), key.to_vec()] })
                .collect(),
        ),
        1 if hop.replies.iter().all(|reply| integer_reply(reply) == Some(0)) => HopStep::Send(
            pairs(hop.args)
                .map(|(key, value)| HopRequest { args: vec![b"set".to_vec(), key.to_vec(), value.to_vec()] })
                .collect(),
        ),
        round => end(hop, |out| out.integer(i64::from(round > 1))),
    }
}

fn set_pairs(context: &mut Context<'_>, args: &[&[u8]]) {
    for (bytes, value) in pairs(args) {
        context.store.set(context.database, key(bytes), value, Expiry::None);
    }
}

fn pairs<'a>(args: &'a [&'a [u8]]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let (pairs, _) = args.get(1..).unwrap_or_default().as_chunks::<2>();
    pairs.iter().map(|[key, value]| (*key, *value))
}

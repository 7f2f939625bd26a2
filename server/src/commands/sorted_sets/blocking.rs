//! Commands that wait for sorted sets.

use annulus_storage::Kind;

use super::super::blocking::{
    Waiting, about_counted_key, about_key_and_last, first_seconds, keys_and_timeout, last_seconds, seconds,
};
use super::super::errors::Failure;
use super::super::pop_first::{PopFirst, or_refuse};
use super::super::transfer::end;
use super::super::{Context, Hop, HopStep, answer, key, unreachable_arity};
use super::pop::{self, End};

/// `BZPOPMIN key [key …] timeout`
pub(in super::super) static BZPOPMIN: Waiting = Waiting {
    keyed: bzpopmin,
    plan: bzpopmin_plan,
    timeout_ms: last_seconds,
    kind: Kind::SortedSet,
    about: about_key_and_last,
    settle: None,
    ends_without_key: None,
};

/// `BZPOPMAX key [key …] timeout`
pub(in super::super) static BZPOPMAX: Waiting = Waiting { keyed: bzpopmax, plan: bzpopmax_plan, ..BZPOPMIN };

/// `BZMPOP timeout numkeys key [key …] MIN|MAX [COUNT count]`
pub(in super::super) static BZMPOP: Waiting = Waiting {
    keyed: bzmpop,
    plan: bzmpop_plan,
    timeout_ms: first_seconds,
    about: about_counted_key,
    ..BZPOPMIN
};

fn parse<'a>(args: &'a [&'a [u8]], end: End) -> Result<PopFirst<'a, End>, Failure> {
    Ok(PopFirst { keys: keys_and_timeout(args)?, end, count: 1 })
}

fn bzpopmin(context: &mut Context<'_>, args: &[&[u8]]) {
    pop_one(context, args, End::Lowest);
}

fn bzpopmax(context: &mut Context<'_>, args: &[&[u8]]) {
    pop_one(context, args, End::Highest);
}

fn pop_one(context: &mut Context<'_>, args: &[&[u8]], end: End) {
    let outcome = parse(args, end).and_then(|pop| {
        pop.run(context, |context, bytes| {
            let Some(taken) = pop::take(context, key(bytes), pop.end, 1)? else { return Ok(false) };
            context.out.array_header(3);
            context.out.bulk(bytes);
            for (member, score) in taken.iter() {
                context.out.bulk(member);
                context.out.double(score);
            }
            Ok(true)
        })
    });
    answer(context, outcome);
}

fn bzpopmin_plan(hop: &Hop<'_>) -> HopStep {
    pop_one_plan(hop, End::Lowest)
}

fn bzpopmax_plan(hop: &Hop<'_>) -> HopStep {
    pop_one_plan(hop, End::Highest)
}

fn pop_one_plan(hop: &Hop<'_>, from: End) -> HopStep {
    if hop.round > 1 {
        return pop::reply_with_taken(hop, |key, scored, _| {
            end(hop, |out| {
                out.array_header(3);
                out.bulk(key);
                for (member, score) in scored {
                    out.bulk(member);
                    out.double(score);
                }
            })
        });
    }
    or_refuse(hop, parse(hop.args, from), |it| pop::pop_first_plan(hop, &it))
}

fn bzmpop(context: &mut Context<'_>, args: &[&[u8]]) {
    let parsed = args.split_first().ok_or_else(|| unreachable_arity("bzmpop"));
    let outcome = parsed.and_then(|(_, args)| {
        let pop = PopFirst::parse(args, End::parse)?;
        seconds(args[0])?;
        pop::pop_first(context, &pop)
    });
    answer(context, outcome);
}

fn bzmpop_plan(hop: &Hop<'_>) -> HopStep {
    if hop.round > 1 {
        return pop::reply_with_nested(hop);
    }
    let args = hop.args.get(1..).unwrap_or_default();
    let parsed = PopFirst::parse(args, End::parse).and_then(|pop| seconds(args[0]).map(|_| pop));
    or_refuse(hop, parsed, |it| pop::pop_first_plan(hop, &it))
}

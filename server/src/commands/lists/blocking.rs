//! Commands that wait for lists.

use annulus_storage::Kind;
use annulus_storage::value::Side;

use super::super::blocking::{
    Nil, Waiting, about_all, about_counted_key, about_key_and_last, first_seconds, keys_and_timeout,
    last_seconds, seconds,
};
use super::super::errors::Failure;
use super::super::pop_first::{PopFirst, or_refuse};
use super::super::{Context, Hop, HopStep, answer, key, unreachable_arity};
use super::moves::{self, Move};
use super::{ends, length_for_update, side};

/// `BLPOP key [key …] timeout`
pub(in super::super) static BLPOP: Waiting = Waiting {
    keyed: blpop,
    plan: blpop_plan,
    timeout_ms: last_seconds,
    kind: Kind::List,
    about: about_key_and_last,
    settle: None,
    ends_without_key: None,
};

/// `BRPOP key [key …] timeout`
pub(in super::super) static BRPOP: Waiting = Waiting { keyed: brpop, plan: brpop_plan, ..BLPOP };

/// `BLMPOP timeout numkeys key [key …] LEFT|RIGHT [COUNT count]`
pub(in super::super) static BLMPOP: Waiting = Waiting {
    keyed: blmpop,
    plan: blmpop_plan,
    timeout_ms: first_seconds,
    about: about_counted_key,
    ..BLPOP
};

/// `BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout`, `BRPOPLPUSH source destination timeout`
pub(in super::super) static BLMOVE: Waiting =
    Waiting { keyed: blmove, plan: blmove_plan, about: about_all, ..BLPOP };

fn parse<'a>(args: &'a [&'a [u8]], end: Side) -> Result<PopFirst<'a, Side>, Failure> {
    Ok(PopFirst { keys: keys_and_timeout(args)?, end, count: 1 })
}

fn blpop(context: &mut Context<'_>, args: &[&[u8]]) {
    pop_one(context, args, Side::Left);
}

fn brpop(context: &mut Context<'_>, args: &[&[u8]]) {
    pop_one(context, args, Side::Right);
}

fn pop_one(context: &mut Context<'_>, args: &[&[u8]], end: Side) {
    let outcome = parse(args, end).and_then(|pop| {
        pop.run(context, |context, bytes| {
            if length_for_update(context, key(bytes))?.is_none() {
                return Ok(false);
            }
            context.out.array_header(2);
            context.out.bulk(bytes);
            ends::pop(context, key(bytes), pop.end)
        })
    });
    answer(context, outcome);
}

fn blpop_plan(hop: &Hop<'_>) -> HopStep {
    pop_one_plan(hop, Side::Left)
}

fn brpop_plan(hop: &Hop<'_>) -> HopStep {
    pop_one_plan(hop, Side::Right)
}

fn pop_one_plan(hop: &Hop<'_>, end: Side) -> HopStep {
    if hop.round > 1 {
        return HopStep::Reply(hop.replies.first().cloned().unwrap_or_default());
    }
    or_refuse(hop, parse(hop.args, end), |pop| {
        // Where all keys are on one shard the command finds something there at once.
        pop.plan(hop, ("llen", Kind::List), |key| vec![hop.args[0].to_vec(), key, b"0".to_vec()])
    })
}

fn blmpop(context: &mut Context<'_>, args: &[&[u8]]) {
    let parsed = args.split_first().ok_or_else(|| unreachable_arity("blmpop"));
    let outcome = parsed.and_then(|(_, args)| {
        let pop = PopFirst::parse(args, side)?;
        seconds(args[0])?;
        moves::pop_first(context, &pop)
    });
    answer(context, outcome);
}

fn blmpop_plan(hop: &Hop<'_>) -> HopStep {
    let args = hop.args.get(1..).unwrap_or_default();
    let parsed = PopFirst::parse(args, side).and_then(|pop| seconds(args[0]).map(|_| pop));
    or_refuse(hop, parsed, |pop| moves::pop_first_plan(hop, &pop))
}

/// The move, and the timeout behind it.
fn parse_move<'a>(args: &[&'a [u8]]) -> Result<Move<'a>, Failure> {
    let (timeout, args) = args.split_last().ok_or_else(|| unreachable_arity("blmove"))?;
    let way = Move::parse(args)?;
    seconds(timeout)?;
    Ok(way)
}

fn blmove(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = parse_move(args).and_then(|way| {
        if !way.try_run(context)? {
            context.nothing(Nil::String);
        }
        Ok(())
    });
    answer(context, outcome);
}

fn blmove_plan(hop: &Hop<'_>) -> HopStep {
    or_refuse(hop, parse_move(hop.args), |way| moves::move_plan(hop, &way))
}

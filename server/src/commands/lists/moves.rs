//! Commands on several lists: from one to another, and from the first that there is.

use annulus_storage::Kind;
use annulus_storage::value::{ListChange, Side};

use super::super::blocking::Nil;
use super::super::errors::{Failure, Outcome};
use super::super::pop_first::{PopFirst, or_refuse};
use super::super::replies::{bulk_reply, elements, error_among};
use super::super::{Context, Hop, HopRequest, HopStep, answer, key, unreachable_arity};
use super::{end_index, length_for_update, list, side, word};

/// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT` on one shard
pub(in super::super) fn lmove(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = Move::parse(args).and_then(|way| way.run(context));
    answer(context, outcome);
}

/// `RPOPLPUSH source destination` on one shard
pub(in super::super) fn rpoplpush(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = Move::parse(args).and_then(|way| way.run(context));
    answer(context, outcome);
}

/// From where to where.
pub(in super::super) struct Move<'a> {
    pub(in super::super) source: &'a [u8],
    pub(in super::super) from: Side,
    pub(in super::super) destination: &'a [u8],
    pub(in super::super) to: Side,
}

impl<'a> Move<'a> {
    /// Reads `COMMAND source destination [LEFT|RIGHT LEFT|RIGHT]`.
    pub(in super::super) fn parse(args: &[&'a [u8]]) -> Result<Self, Failure> {
        match *args {
            [_, source, destination] => Ok(Self { source, from: Side::Right, destination, to: Side::Left }),
            [_, source, destination, from, to] => {
                Ok(Self { source, from: side(from)?, destination, to: side(to)? })
            }
            _ => Err(unreachable_arity("lmove")),
        }
    }

    fn run(&self, context: &mut Context<'_>) -> Outcome {
        if !self.try_run(context)? {
            context.out.null();
        }
        Ok(())
    }

    /// Moves the element and replies with it; false, and no reply, if there is no source.
    pub(in super::super) fn try_run(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let (source, destination) = (key(self.source), key(self.destination));
        let database = context.database;
        let Some(list) = context.store.get_for_update(database, source).map(list).transpose()? else {
            return Ok(false);
        };
        let Some(element) = list.get(end_index(list, self.from)).map(|element| element.to_vec()) else {
            return Ok(false);
        };
        length_for_update(context, destination)?;
        // First the push: a list that is moved within itself must not be empty in between, or its key would go, with its expiry.
        context.store.change(database, destination, ListChange::Push { side: self.to, value: &element });
        context.store.change(database, source, ListChange::Pop { side: self.from, count: 1 });
        context.out.bulk(element);
        Ok(true)
    }
}

/// `LMOVE` and `RPOPLPUSH` between shards: looks at both lists, then changes both.
pub(in super::super) fn lmove_plan(hop: &Hop<'_>) -> HopStep {
    or_refuse(hop, Move::parse(hop.args), |way| move_plan(hop, &way))
}

/// The rounds of a move between shards.
pub(super) fn move_plan(hop: &Hop<'_>, way: &Move<'_>) -> HopStep {
    let (source, destination) = (way.source.to_vec(), way.destination.to_vec());
    match hop.round {
        0 => {
            let index = if way.from == Side::Left { b"0" } else { &b"-1"[..] };
            HopStep::Send(vec![
                HopRequest { args: vec![b"lrange".to_vec(), source, index.to_vec(), index.to_vec()] },
                HopRequest { args: vec![b"llen".to_vec(), destination] },
            ])
        }
        1 => {
            let (looked, other) = (hop.replies.first(), hop.replies.get(1..).unwrap_or_default());
            let looked = looked.map_or(&[][..], Vec::as_slice);
            if looked.starts_with(b"-") {
                return HopStep::Reply(looked.to_vec());
            }
            let Some(element) = elements(looked).next().and_then(bulk_reply) else {
                return hop.nothing(&[way.source], Kind::List, None, Nil::String);
            };
            if let Some(error) = error_among(other) {
                return HopStep::Reply(error.to_vec());
            }
            let push = if way.to == Side::Left { b"lpush" } else { b"rpush" };
            let pop = if way.from == Side::Left { b"lpop" } else { b"rpop" };
            HopStep::Send(vec![
                HopRequest { args: vec![pop.to_vec(), source] },
                HopRequest { args: vec![push.to_vec(), destination, element.to_vec()] },
            ])
        }
        _ => HopStep::Reply(hop.replies.first().cloned().unwrap_or_default()),
    }
}

/// `LMPOP numkeys key [key …] LEFT|RIGHT [COUNT count]` on one shard
pub(in super::super) fn lmpop(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = PopFirst::parse(args, side).and_then(|pop| pop_first(context, &pop));
    answer(context, outcome);
}

/// Replies with the key and the elements that were taken from it.
pub(super) fn pop_first(context: &mut Context<'_>, pop: &PopFirst<'_, Side>) -> Outcome {
    pop.run(context, |context, bytes| {
        if length_for_update(context, key(bytes))?.is_none() {
            return Ok(false);
        }
        context.out.array_header(2);
        context.out.bulk(bytes);
        super::ends::pop_many(context, key(bytes), pop.end, pop.count)
    })
}

/// `LMPOP` between shards: looks at all lists, then pops from the first that there is.
pub(in super::super) fn lmpop_plan(hop: &Hop<'_>) -> HopStep {
    or_refuse(hop, PopFirst::parse(hop.args, side), |pop| pop_first_plan(hop, &pop))
}

/// The rounds of a pop from the first of several lists between shards.
pub(super) fn pop_first_plan(hop: &Hop<'_>, pop: &PopFirst<'_, Side>) -> HopStep {
    if hop.round > 1 {
        return HopStep::Reply(hop.replies.first().cloned().unwrap_or_default());
    }
    pop.plan(hop, ("llen", Kind::List), |key| {
        let (side, count) = (word(pop.end).as_bytes().to_vec(), pop.count.to_string().into_bytes());
        vec![b"lmpop".to_vec(), b"1".to_vec(), key, side, b"COUNT".to_vec(), count]
    })
}

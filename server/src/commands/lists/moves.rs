//! Commands on several lists: from one to another, and from the first that there is.

use annulus_storage::value::{ListChange, Side};

use super::super::arguments::{Counted, counted, pop_count};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::replies::{bulk_reply, elements, error_among, integer_reply};
use super::super::transfer::{end, refuse};
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
    fn parse(args: &[&'a [u8]]) -> Result<Self, Failure> {
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
    let way = match Move::parse(hop.args) {
        Ok(way) => way,
        Err(error) => return refuse(hop, error),
    };
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
                return end(hop, |out| {
                    out.null();
                });
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
    let outcome = PopFirst::parse(args.get(1..).unwrap_or_default()).and_then(|pop| {
        if !pop.try_run(context)? {
            context.out.null_array();
        }
        Ok(())
    });
    answer(context, outcome);
}

/// Up to `count` elements from an end of the first of several lists that there is.
pub(in super::super) struct PopFirst<'a> {
    pub(in super::super) keys: &'a [&'a [u8]],
    pub(in super::super) side: Side,
    pub(in super::super) count: usize,
}

impl<'a> PopFirst<'a> {
    /// Reads `numkeys key [key …] LEFT|RIGHT [COUNT count]`.
    pub(in super::super) fn parse(args: &'a [&'a [u8]]) -> Result<Self, Failure> {
        let Counted { keys, rest } = counted(args, errors::SYNTAX)?;
        let [word, options @ ..] = rest else { return Err(fail(errors::SYNTAX)) };
        let side = side(word)?;
        Ok(Self { keys, side, count: pop_count(options)? })
    }

    /// Replies with the key and what was popped; false, and no reply, if none of the lists exists.
    pub(in super::super) fn try_run(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        for bytes in self.keys {
            if length_for_update(context, key(bytes))?.is_some() {
                context.out.array_header(2);
                context.out.bulk(bytes);
                return super::ends::pop_many(context, key(bytes), self.side, self.count);
            }
        }
        Ok(false)
    }
}

/// `LMPOP` between shards: looks at all lists, then pops from the first that there is.
pub(in super::super) fn lmpop_plan(hop: &Hop<'_>) -> HopStep {
    let pop = match PopFirst::parse(hop.args.get(1..).unwrap_or_default()) {
        Ok(pop) => pop,
        Err(error) => return refuse(hop, error),
    };
    match hop.round {
        0 => {
            let look = |key: &&[u8]| HopRequest { args: vec![b"llen".to_vec(), key.to_vec()] };
            HopStep::Send(pop.keys.iter().map(look).collect())
        }
        1 => {
            // Behind the first list, nobody cares what the other keys hold.
            let found = hop.replies.iter().position(|reply| integer_reply(reply) != Some(0));
            let Some(found) = found else {
                return end(hop, |out| {
                    out.null_array();
                });
            };
            if let Some(error) = error_among(&hop.replies[found..=found]) {
                return HopStep::Reply(error.to_vec());
            }
            let key = pop.keys.get(found).map(|key| key.to_vec()).unwrap_or_default();
            let count = pop.count.to_string().into_bytes();
            let side = word(pop.side).as_bytes().to_vec();
            let args = vec![b"lmpop".to_vec(), b"1".to_vec(), key, side, b"COUNT".to_vec(), count];
            HopStep::Send(vec![HopRequest { args }])
        }
        _ => HopStep::Reply(hop.replies.first().cloned().unwrap_or_default()),
    }
}

//! Commands that tell of parts of a sorted set, or store them.

use std::ops::Range;

use annulus_protocol::Encoder;
use annulus_storage::value::LiveSortedSet;

use super::super::arguments::{integer, is};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::transfer::refuse;
use super::super::{Context, Hop, HopStep, answer, key, unreachable_arity};
use super::bounds::{Bounds, By, Direction};
use super::{Copied, members, members_header, sorted_set, store};

const LIMIT_OF_RANKS: &str =
    "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
const SCORES_OF_MEMBERS: &str = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";

/// What the name of a command says already; the rest is for options to say.
#[derive(Clone, Copy, Default)]
struct Fixed {
    by: Option<By>,
    direction: Option<Direction>,
    /// The result is stored, so it can't be shown with scores.
    stored: bool,
}

const OF_ZRANGE: Fixed = Fixed { by: None, direction: None, stored: false };
const OF_STORE: Fixed = Fixed { stored: true, ..OF_ZRANGE };

const fn fixed(by: By, direction: Direction) -> Fixed {
    Fixed { by: Some(by), direction: Some(direction), stored: false }
}

/// A part of a sorted set in one of two directions, and of that a part.
struct Query<'a> {
    bounds: Bounds<'a>,
    direction: Direction,
    offset: i64,
    /// Negative: all.
    count: i64,
    scores: bool,
}

impl<'a> Query<'a> {
    /// Reads `min max [option …]`.
    fn parse(args: &[&'a [u8]], fixed: Fixed) -> Result<Self, Failure> {
        let [first, second, options @ ..] = args else { return Err(unreachable_arity("zrange")) };
        let Fixed { mut by, mut direction, stored } = fixed;
        let (mut offset, mut count, mut scores) = (0, -1, false);
        let mut rest = options;
        loop {
            rest = match rest {
                [] => break,
                [option, tail @ ..] if !stored && is(option, "WITHSCORES") => {
                    scores = true;
                    tail
                }
                [option, from, many, tail @ ..] if is(option, "LIMIT") => {
                    (offset, count) = (integer(from)?, integer(many)?);
                    tail
                }
                [option, tail @ ..] if direction.is_none() && is(option, "REV") => {
                    direction = Some(Direction::Reverse);
                    tail
                }
                [option, tail @ ..] if by.is_none() && is(option, "BYLEX") => {
                    by = Some(By::Member);
                    tail
                }
                [option, tail @ ..] if by.is_none() && is(option, "BYSCORE") => {
                    by = Some(By::Score);
                    tail
                }
                _ => return Err(fail(errors::SYNTAX)),
            };
        }
        let (by, direction) = (by.unwrap_or(By::Rank), direction.unwrap_or(Direction::Forward));
        if count != -1 && by == By::Rank {
            return Err(fail(LIMIT_OF_RANKS));
        }
        if scores && by == By::Member {
            return Err(fail(SCORES_OF_MEMBERS));
        }
        let bounds = Bounds::parse(by, direction, [first, second])?;
        if by == By::Rank {
            (offset, count) = (0, -1);
        }
        Ok(Self { bounds, direction, offset, count, scores })
    }

    /// The ranks, from the start of the order, of what is asked for.
    fn ranks(&self, set: &LiveSortedSet<'_>) -> Range<usize> {
        let Range { start, end } = self.bounds.ranks(set, self.direction);
        // As in Redis, an offset below zero never comes to its end.
        let skipped = usize::try_from(self.offset).unwrap_or(usize::MAX).min(end - start);
        let left = end - start - skipped;
        let count = usize::try_from(self.count).map_or(left, |count| count.min(left));
        match self.direction {
            Direction::Forward => start + skipped..start + skipped + count,
            Direction::Reverse => end - skipped - count..end - skipped,
        }
    }

    fn write(&self, set: &LiveSortedSet<'_>, out: &mut Encoder<'_>) {
        let ranks = self.ranks(set);
        let found = set.range(ranks.start, ranks.end);
        match self.direction {
            Direction::Forward => members(found, ranks.len(), self.scores, out),
            Direction::Reverse => members(found.rev(), ranks.len(), self.scores, out),
        }
    }
}

/// `ZRANGE key min max [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
pub(in super::super) fn zrange(context: &mut Context<'_>, args: &[&[u8]]) {
    show(context, args, OF_ZRANGE);
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub(in super::super) fn zrevrange(context: &mut Context<'_>, args: &[&[u8]]) {
    show(context, args, fixed(By::Rank, Direction::Reverse));
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub(in super::super) fn zrangebyscore(context: &mut Context<'_>, args: &[&[u8]]) {
    show(context, args, fixed(By::Score, Direction::Forward));
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
pub(in super::super) fn zrevrangebyscore(context: &mut Context<'_>, args: &[&[u8]]) {
    show(context, args, fixed(By::Score, Direction::Reverse));
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
pub(in super::super) fn zrangebylex(context: &mut Context<'_>, args: &[&[u8]]) {
    show(context, args, fixed(By::Member, Direction::Forward));
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
pub(in super::super) fn zrevrangebylex(context: &mut Context<'_>, args: &[&[u8]]) {
    show(context, args, fixed(By::Member, Direction::Reverse));
}

fn show(context: &mut Context<'_>, args: &[&[u8]], fixed: Fixed) {
    let outcome = match args {
        [_, key, rest @ ..] => show_part(context, key, rest, fixed),
        _ => Err(unreachable_arity("zrange")),
    };
    answer(context, outcome);
}

fn show_part(context: &mut Context<'_>, key: &[u8], args: &[&[u8]], fixed: Fixed) -> Outcome {
    let query = Query::parse(args, fixed)?;
    let key = context.first_key(key);
    let now = context.store.now();
    match context.store.get(context.database, key).map(sorted_set(now)).transpose()? {
        Some(set) => query.write(&set, &mut context.out),
        None => members_header(0, false, &mut context.out),
    }
    Ok(())
}

/// `ZCOUNT key min max`
pub(in super::super) fn zcount(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = count(context, args, By::Score);
    answer(context, outcome);
}

/// `ZLEXCOUNT key min max`
pub(in super::super) fn zlexcount(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = count(context, args, By::Member);
    answer(context, outcome);
}

fn count(context: &mut Context<'_>, args: &[&[u8]], by: By) -> Outcome {
    let &[_, key, min, max] = args else { return Err(unreachable_arity("zcount")) };
    let bounds = Bounds::parse(by, Direction::Forward, [min, max])?;
    let key = context.first_key(key);
    let now = context.store.now();
    let set = context.store.get(context.database, key).map(sorted_set(now)).transpose()?;
    let count = set.map_or(0, |set| bounds.ranks(&set, Direction::Forward).len());
    context.out.integer(count as i64);
    Ok(())
}

/// `ZRANGESTORE destination source min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]` on one shard
pub(in super::super) fn zrangestore(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        [_, destination, source, rest @ ..] => pick(context, source, rest).and_then(|found| {
            let destination = context.first_key(destination);
            store::put(context, destination, found.iter())
        }),
        _ => Err(unreachable_arity("zrangestore")),
    };
    answer(context, outcome);
}

/// The part of a source that is to be stored.
fn pick(context: &mut Context<'_>, source: &[u8], args: &[&[u8]]) -> Result<Copied, Failure> {
    let query = Query::parse(args, OF_STORE)?;
    let now = context.store.now();
    let set = context.store.get(context.database, key(source)).map(sorted_set(now)).transpose()?;
    let Some(set) = set else { return Ok(Copied::default()) };
    let ranks = query.ranks(&set);
    Ok(set.range(ranks.start, ranks.end).collect())
}

/// `annulus.zpick source min max [option …]`: the part that `ZRANGESTORE` stores, encoded
pub(in super::super) fn pick_encoded(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        [_, source, rest @ ..] => pick(context, source, rest).map(|found| {
            context.out.bulk(store::encode(found.iter()));
        }),
        _ => Err(unreachable_arity("annulus.zpick")),
    };
    answer(context, outcome);
}

/// `ZRANGESTORE` between shards
pub(in super::super) fn zrangestore_plan(hop: &Hop<'_>) -> HopStep {
    let [_, destination, rest @ ..] = hop.args else {
        return refuse(hop, unreachable_arity("zrangestore"));
    };
    store::pick_and_store(hop, "annulus.zpick", destination, rest)
}

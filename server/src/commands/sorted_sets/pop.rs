//! Commands that take members from an end.

use annulus_protocol::{Encoder, parse_f64};
use annulus_storage::{Key, Kind};

use super::super::arguments::{is, positive};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::pop_first::{PopFirst, or_refuse};
use super::super::replies::{bulk_reply, elements};
use super::super::transfer::end;
use super::super::{Context, Hop, HopStep, answer, key, unreachable_arity};
use super::{Copied, members, remove_all, sorted_set};

/// From which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum End {
    Lowest,
    Highest,
}

impl End {
    /// Reads `MIN` or `MAX`.
    pub(super) fn parse(word: &[u8]) -> Result<Self, Failure> {
        match word {
            word if is(word, "MIN") => Ok(Self::Lowest),
            word if is(word, "MAX") => Ok(Self::Highest),
            _ => Err(fail(errors::SYNTAX)),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Lowest => "MIN",
            Self::Highest => "MAX",
        }
    }
}

/// Members that were taken, the outermost first.
pub(in super::super) struct Taken(Copied);

impl Taken {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], f64)> {
        self.0.iter()
    }

    /// Writes pairs, in an array of their own each.
    fn write_nested(&self, out: &mut Encoder<'_>) {
        write_nested(self.0.iter(), self.0.len(), out);
    }
}

fn write_nested<'m>(pairs: impl Iterator<Item = (&'m [u8], f64)>, count: usize, out: &mut Encoder<'_>) {
    out.array_header(count);
    for (member, score) in pairs {
        out.array_header(2);
        out.bulk(member);
        out.double(score);
    }
}

/// Takes up to `count` members from an end; none if there is no such key.
pub(in super::super) fn take(
    context: &mut Context<'_>,
    key: Key<'_>,
    end: End,
    count: usize,
) -> Result<Option<Taken>, Failure> {
    let now = context.store.now();
    let set = context.store.get_for_update(context.database, key).map(sorted_set(now)).transpose()?;
    let Some(set) = set else { return Ok(None) };
    let len = set.len();
    if len == 0 {
        // All that is left waits to be removed.
        return Ok(None);
    }
    let count = count.min(len);
    let taken: Copied = match end {
        End::Lowest => set.range(0, count).collect(),
        End::Highest => set.range(len - count, len).rev().collect(),
    };
    remove_all(context, key, &taken, len);
    Ok(Some(Taken(taken)))
}

/// `ZPOPMIN key [count]`
pub(in super::super) fn zpopmin(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = pop(context, args, End::Lowest);
    answer(context, outcome);
}

/// `ZPOPMAX key [count]`
pub(in super::super) fn zpopmax(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = pop(context, args, End::Highest);
    answer(context, outcome);
}

fn pop(context: &mut Context<'_>, args: &[&[u8]], end: End) -> Outcome {
    let (key, count) = match *args {
        [_, key] => (key, None),
        [_, key, count] => (key, Some(positive(count)?)),
        [_, _, _, ..] => return Err(fail(errors::SYNTAX)),
        _ => return Err(unreachable_arity("zpopmin")),
    };
    let key = context.first_key(key);
    let taken = take(context, key, end, count.unwrap_or(1))?;
    let out = &mut context.out;
    match taken {
        None => out.array_header(0),
        // One pair alone is flat in RESP3 too.
        Some(Taken(pairs)) if count.is_none() => {
            out.array_header(pairs.len() * 2);
            for (member, score) in pairs.iter() {
                out.bulk(member);
                out.double(score);
            }
        }
        Some(Taken(pairs)) => members(pairs.iter(), pairs.len(), true, out),
    }
    Ok(())
}

/// `ZMPOP numkeys key [key …] MIN|MAX [COUNT count]` on one shard
pub(in super::super) fn zmpop(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = PopFirst::parse(args, End::parse).and_then(|pop| pop_first(context, &pop));
    answer(context, outcome);
}

/// Replies with the key and the members that were taken from it.
pub(super) fn pop_first(context: &mut Context<'_>, pop: &PopFirst<'_, End>) -> Outcome {
    pop.run(context, |context, bytes| {
        let Some(taken) = take(context, key(bytes), pop.end, pop.count)? else { return Ok(false) };
        context.out.array_header(2);
        context.out.bulk(bytes);
        taken.write_nested(&mut context.out);
        Ok(true)
    })
}

/// `annulus.zmpop key MIN|MAX count`: the key, and what was taken as member, score and so on; nothing if there is no such key
pub(in super::super) fn take_flat(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match *args {
        [_, key, word, count] => pop_flat(context, key, word, count),
        _ => Err(unreachable_arity("annulus.zmpop")),
    };
    answer(context, outcome);
}

fn pop_flat(context: &mut Context<'_>, key: &[u8], word: &[u8], count: &[u8]) -> Outcome {
    let (end, count) = (End::parse(word)?, positive(count)?);
    let name = context.first_key(key);
    let taken = take(context, name, end, count)?;
    let pairs = taken.map(|taken| taken.0).unwrap_or_default();
    context.out.array_header(1 + 2 * pairs.len());
    context.out.bulk(key);
    for (member, score) in pairs.iter() {
        context.out.bulk(member);
        context.out.double(score);
    }
    Ok(())
}

/// `ZMPOP` between shards: looks at all sorted sets, then takes from the first that there is.
pub(in super::super) fn zmpop_plan(hop: &Hop<'_>) -> HopStep {
    if hop.round > 1 {
        return reply_with_nested(hop);
    }
    or_refuse(hop, PopFirst::parse(hop.args, End::parse), |pop| pop_first_plan(hop, &pop))
}

/// The first two rounds of a pop from the first of several sorted sets between shards.
pub(super) fn pop_first_plan(hop: &Hop<'_>, pop: &PopFirst<'_, End>) -> HopStep {
    pop.plan(hop, ("zcard", Kind::SortedSet), |key| {
        vec![b"annulus.zmpop".to_vec(), key, pop.end.word().into(), pop.count.to_string().into_bytes()]
    })
}

/// What `annulus.zmpop` replied, in the version of the connection.
pub(super) fn reply_with_nested(hop: &Hop<'_>) -> HopStep {
    reply_with_taken(hop, |key, scored, len| {
        end(hop, |out| {
            out.array_header(2);
            out.bulk(key);
            write_nested(scored, len, out);
        })
    })
}

/// What `annulus.zmpop` replied, as `write` puts it: the key, the members with their scores, and how many they are.
pub(super) fn reply_with_taken(
    hop: &Hop<'_>,
    write: impl FnOnce(&[u8], &mut dyn Iterator<Item = (&[u8], f64)>, usize) -> HopStep,
) -> HopStep {
    let reply = hop.replies.first().map_or(&[][..], Vec::as_slice);
    if reply.starts_with(b"-") {
        return HopStep::Reply(reply.to_vec());
    }
    let texts: Vec<&[u8]> = elements(reply).filter_map(bulk_reply).collect();
    let (key, pairs) = texts.split_first().map_or((&[][..], &[][..]), |(key, pairs)| (*key, pairs));
    let mut scored = pairs.chunks_exact(2).map(|pair| (pair[0], parse_f64(pair[1]).unwrap_or_default()));
    write(key, &mut scored, pairs.len() / 2)
}

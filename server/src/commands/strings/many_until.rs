//! Several strings with one expiry: MSETEX, as in Redis 8.4.

use annulus_protocol::parse_i64;

use super::super::arguments::{Base, Unit};
use super::super::errors::{Failure, Outcome, fail};
use super::super::replies::{error_among, integer_reply};
use super::super::transfer::{end, refuse};
use super::super::{Context, Hop, HopRequest, HopStep, answer, key, unreachable_arity};
use super::options::{Condition, Lifetime, Moment, parse_msetex};
use super::set::store_value;

/// The command as the client sent it.
struct Request<'a> {
    pairs: &'a [[&'a [u8]; 2]],
    condition: Condition<'a>,
    lifetime: Lifetime<'a>,
}

impl<'a> Request<'a> {
    fn parse(args: &'a [&'a [u8]]) -> Result<Self, Failure> {
        let [_, count, rest @ ..] = args else { return Err(unreachable_arity("msetex")) };
        let count = parse_i64(count).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
        let count = count.ok_or(fail("ERR invalid numkeys value"))? as usize;
        let (pairs, options) =
            rest.split_at_checked(2 * count).ok_or(fail("ERR wrong number of key-value pairs"))?;
        let (condition, lifetime) = parse_msetex(options)?;
        Ok(Self { pairs: pairs.as_chunks::<2>().0, condition, lifetime })
    }

    /// Whether a key in this state lets the command go on.
    fn allows(&self, present: bool) -> bool {
        self.condition.holds(present.then_some(b""))
    }

    /// The time to live that only a clock makes a point in time.
    fn relative(&self) -> Option<Moment<'a>> {
        match self.lifetime {
            Lifetime::Until(moment) if moment.base == Base::Now => Some(moment),
            _ => None,
        }
    }
}

/// `MSETEX numkeys key value [key value …] [NX | XX] [EX seconds | PX milliseconds | EXAT unix-time-seconds |
/// PXAT unix-time-milliseconds | KEEPTTL]` with all keys on this shard
pub(in super::super) fn msetex(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_all(context, args);
    answer(context, outcome);
}

fn set_all(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let request = Request::parse(args)?;
    let expiry = request.lifetime.expiry(context.store.now(), "msetex")?;
    let (store, database) = (&mut *context.store, context.database);
    let sets = request.condition == Condition::None
        || request
            .pairs
            .iter()
            .all(|[bytes, _]| request.allows(store.get_for_update(database, key(bytes)).is_some()));
    if sets {
        for [bytes, value] in request.pairs {
            store_value(store, database, key(bytes), value, expiry);
        }
    }
    context.out.integer(i64::from(sets));
    Ok(())
}

/// `MSETEX` over shards: looks at all keys, has one shard say when they expire, then sets them.
pub(in super::super) fn msetex_plan(hop: &Hop<'_>) -> HopStep {
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    match Request::parse(hop.args) {
        Ok(request) => next_round(hop, &request),
        Err(error) => refuse(hop, error),
    }
}

fn next_round(hop: &Hop<'_>, request: &Request<'_>) -> HopStep {
    let questions = questions(request);
    // Without anything to ask, the first round sets.
    let round = hop.round + u32::from(questions.is_empty());
    match round {
        0 => HopStep::Send(questions),
        1 => {
            let asks = if request.condition == Condition::None { 0 } else { request.pairs.len() };
            let (states, deadline) = hop.replies.split_at_checked(asks).unwrap_or_default();
            if !states.iter().all(|state| request.allows(integer_reply(state) == Some(1))) {
                return end(hop, |out| out.integer(0));
            }
            match life(request, deadline) {
                Ok(life) => HopStep::Send(request.pairs.iter().map(|pair| set(*pair, &life)).collect()),
                Err(error) => refuse(hop, error),
            }
        }
        _ => end(hop, |out| out.integer(1)),
    }
}

/// What must be known before anything is set: which keys there are, and when a time from now is.
fn questions(request: &Request<'_>) -> Vec<HopRequest> {
    let mut questions = Vec::new();
    if request.condition != Condition::None {
        questions.extend(
            request
                .pairs
                .iter()
                .map(|[key, _]| HopRequest { args: vec![b"annulus.present".to_vec(), key.to_vec()] }),
        );
    }
    if let (Some(moment), Some([key, _])) = (request.relative(), request.pairs.first()) {
        let unit: &[u8] = if moment.unit == Unit::Seconds { b"EX" } else { b"PX" };
        let args = [b"annulus.deadline", *key, unit, moment.amount];
        questions.push(HopRequest { args: args.map(<[u8]>::to_vec).to_vec() });
    }
    questions
}

/// The options of each SET: one point in time for all.
fn life(request: &Request<'_>, deadline: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Failure> {
    let at = match (request.lifetime, deadline) {
        (Lifetime::Unsaid | Lifetime::Persist, _) => return Ok(Vec::new()),
        (Lifetime::Keep, _) => return Ok(vec![b"KEEPTTL".to_vec()]),
        (Lifetime::Until(_), [reply, ..]) => integer_reply(reply).map_or(0, i64::cast_unsigned),
        (Lifetime::Until(moment), []) => moment.resolve(0, "msetex")?,
    };
    Ok(vec![b"PXAT".to_vec(), at.to_string().into_bytes()])
}

fn set([key, value]: [&[u8]; 2], life: &[Vec<u8>]) -> HopRequest {
    let mut args = vec![b"set".to_vec(), key.to_vec(), value.to_vec()];
    args.extend_from_slice(life);
    HopRequest { args }
}

/// `annulus.deadline key EX|PX amount`: the point in time, ms of Unix time, that an amount of time from now is
pub(in super::super) fn deadline(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = tell_deadline(context, args);
    answer(context, outcome);
}

fn tell_deadline(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, _, unit, amount] = args else { return Err(unreachable_arity("annulus.deadline")) };
    let unit = if unit == b"EX" { Unit::Seconds } else { Unit::Milliseconds };
    let at = Moment { amount, unit, base: Base::Now }.resolve(context.store.now(), "msetex")?;
    context.out.integer(at.cast_signed());
    Ok(())
}

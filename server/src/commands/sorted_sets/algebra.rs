//! Unions, intersections and differences of sorted sets and plain sets; a member of a plain set has the score 1.
//!
//! With keys on several shards the sources are fetched, and a result that is stored is then put to the destination's shard.

use std::cmp::Ordering;

use annulus_protocol::parse_f64;
use annulus_storage::value::{Element, LiveSet, LiveSortedSet, Value, codec};

use super::super::arguments::{integer, is, positive};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::replies::{bulk_reply, elements, error_among, integer_reply};
use super::super::transfer::{end, refuse};
use super::super::{Context, Hop, HopRequest, HopStep, answer, key, unreachable_arity};
use super::{members, store};

/// What is made of the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Shown,
    Stored,
    Counted,
}

/// A command of this family.
struct Kind {
    name: &'static str,
    operation: Operation,
    form: Form,
}

const ZUNION: Kind = Kind { name: "zunion", operation: Operation::Union, form: Form::Shown };
const ZINTER: Kind = Kind { name: "zinter", operation: Operation::Intersection, form: Form::Shown };
const ZDIFF: Kind = Kind { name: "zdiff", operation: Operation::Difference, form: Form::Shown };
const ZUNIONSTORE: Kind = Kind { name: "zunionstore", operation: Operation::Union, form: Form::Stored };
const ZINTERSTORE: Kind =
    Kind { name: "zinterstore", operation: Operation::Intersection, form: Form::Stored };
const ZDIFFSTORE: Kind = Kind { name: "zdiffstore", operation: Operation::Difference, form: Form::Stored };
const ZINTERCARD: Kind = Kind { name: "zintercard", operation: Operation::Intersection, form: Form::Counted };

macro_rules! commands {
    ($($(#[$doc:meta])* $handler:ident $plan:ident $kind:ident,)*) => {
        $(
            $(#[$doc])*
            pub(in super::super) fn $handler(context: &mut Context<'_>, args: &[&[u8]]) {
                let outcome = $kind.run(context, args);
                answer(context, outcome);
            }

            /// The same between shards.
            pub(in super::super) fn $plan(hop: &Hop<'_>) -> HopStep {
                $kind.plan(hop)
            }
        )*
    };
}

commands! {
    /// `ZUNION numkeys key [key …] [WEIGHTS …] [AGGREGATE …] [WITHSCORES]` on one shard
    zunion zunion_plan ZUNION,
    /// `ZINTER numkeys key [key …] [WEIGHTS …] [AGGREGATE …] [WITHSCORES]` on one shard
    zinter zinter_plan ZINTER,
    /// `ZDIFF numkeys key [key …] [WITHSCORES]` on one shard
    zdiff zdiff_plan ZDIFF,
    /// `ZUNIONSTORE destination numkeys key [key …] [WEIGHTS …] [AGGREGATE …]` on one shard
    zunionstore zunionstore_plan ZUNIONSTORE,
    /// `ZINTERSTORE destination numkeys key [key …] [WEIGHTS …] [AGGREGATE …]` on one shard
    zinterstore zinterstore_plan ZINTERSTORE,
    /// `ZDIFFSTORE destination numkeys key [key …]` on one shard
    zdiffstore zdiffstore_plan ZDIFFSTORE,
    /// `ZINTERCARD numkeys key [key …] [LIMIT limit]` on one shard
    zintercard zintercard_plan ZINTERCARD,
}

/// The words of a command, apart.
struct Words<'a, 'b> {
    destination: &'a [u8],
    keys: &'b [&'a [u8]],
    options: &'b [&'a [u8]],
}

impl Kind {
    fn words<'a, 'b>(&self, args: &'b [&'a [u8]]) -> Result<Words<'a, 'b>, Failure> {
        let (destination, args) = match (self.form, args) {
            (Form::Stored, [_, destination, rest @ ..]) => (*destination, rest),
            (Form::Shown | Form::Counted, [_, rest @ ..]) => (&[][..], rest),
            _ => return Err(unreachable_arity(self.name)),
        };
        let [count, rest @ ..] = args else { return Err(unreachable_arity(self.name)) };
        let count = integer(count)?;
        if count < 1 {
            let text = format!("ERR at least 1 input key is needed for '{}' command", self.name);
            return Err(Failure::Owned(text.into_bytes()));
        }
        let keys = usize::try_from(count).ok().and_then(|count| rest.split_at_checked(count));
        let (keys, options) = keys.ok_or(fail(errors::SYNTAX))?;
        Ok(Words { destination, keys, options })
    }

    fn run(&self, context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
        let Words { destination, keys, options } = self.words(args)?;
        let keys: Vec<_> = keys.iter().map(|bytes| key(bytes)).collect();
        let now = context.store.now();
        let entries = context.store.get_all(context.database, &keys);
        let sources = entries.into_iter().map(|entry| Source::of(entry.map(|entry| entry.value()), now));
        let sources = sources.collect::<Result<Vec<_>, Failure>>()?;
        let options = Options::parse(self, keys.len(), options)?;
        let found = options.combine(self.operation, &sources);
        match self.form {
            Form::Shown => {
                let count = found.len();
                members(found.into_iter(), count, options.scores, &mut context.out);
                Ok(())
            }
            Form::Counted => {
                context.out.integer(found.len() as i64);
                Ok(())
            }
            Form::Stored => {
                let value = store::encode(found.into_iter());
                let destination = context.first_key(destination);
                store::put_encoded(context, destination, &value)
            }
        }
    }

    fn plan(&self, hop: &Hop<'_>) -> HopStep {
        if let Some(error) = error_among(hop.replies) {
            return HopStep::Reply(error.to_vec());
        }
        let words = match self.words(hop.args) {
            Ok(words) => words,
            Err(error) => return refuse(hop, error),
        };
        match hop.round {
            0 => {
                let fetch = |key: &&[u8]| HopRequest { args: vec![b"annulus.fetch".to_vec(), key.to_vec()] };
                HopStep::Send(words.keys.iter().map(fetch).collect())
            }
            1 => self.combine_fetched(hop, &words).unwrap_or_else(|error| refuse(hop, error)),
            _ => HopStep::Reply(hop.replies.first().cloned().unwrap_or_default()),
        }
    }

    fn combine_fetched(&self, hop: &Hop<'_>, words: &Words<'_, '_>) -> Result<HopStep, Failure> {
        let sources = hop.replies.iter().map(|reply| Source::fetched(reply));
        let sources = sources.collect::<Result<Vec<_>, Failure>>()?;
        let options = Options::parse(self, words.keys.len(), words.options)?;
        let found = options.combine(self.operation, &sources);
        let count = found.len();
        Ok(match self.form {
            Form::Shown => end(hop, |out| members(found.into_iter(), count, options.scores, out)),
            Form::Counted => end(hop, |out| out.integer(count as i64)),
            Form::Stored => store::request(hop, words.destination, store::encode(found.into_iter())),
        })
    }
}

/// How scores of one member become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn parse(word: &[u8]) -> Result<Self, Failure> {
        match word {
            word if is(word, "SUM") => Ok(Self::Sum),
            word if is(word, "MIN") => Ok(Self::Min),
            word if is(word, "MAX") => Ok(Self::Max),
            _ => Err(fail(errors::SYNTAX)),
        }
    }

    /// As in Redis, infinities that cancel out are 0.
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Sum => number(a + b),
            Self::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Self::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

struct Options {
    /// One a source.
    weights: Vec<f64>,
    aggregate: Aggregate,
    scores: bool,
    /// Of members to find; 0: all.
    limit: usize,
}

impl Options {
    fn parse(kind: &Kind, sources: usize, args: &[&[u8]]) -> Result<Self, Failure> {
        let mut options =
            Self { weights: vec![1.0; sources], aggregate: Aggregate::Sum, scores: false, limit: 0 };
        let weighs = kind.operation != Operation::Difference && kind.form != Form::Counted;
        let mut rest = args;
        loop {
            rest = match rest {
                [] => return Ok(options),
                [option, tail @ ..] if weighs && tail.len() >= sources && is(option, "WEIGHTS") => {
                    let (weights, tail) = tail.split_at(sources);
                    let weight =
                        |text: &&[u8]| parse_f64(text).ok_or(fail("ERR weight value is not a float"));
                    options.weights = weights.iter().map(weight).collect::<Result<_, _>>()?;
                    tail
                }
                [option, word, tail @ ..] if weighs && is(option, "AGGREGATE") => {
                    options.aggregate = Aggregate::parse(word)?;
                    tail
                }
                [option, tail @ ..] if kind.form == Form::Shown && is(option, "WITHSCORES") => {
                    options.scores = true;
                    tail
                }
                [option, limit, tail @ ..] if kind.form == Form::Counted && is(option, "LIMIT") => {
                    options.limit = positive(limit).map_err(|_| fail("ERR LIMIT can't be negative"))?;
                    tail
                }
                _ => return Err(fail(errors::SYNTAX)),
            };
        }
    }

    /// The members of the result in their order.
    fn combine<'s>(&self, operation: Operation, sources: &[Source<'s>]) -> Vec<(Element<'s>, f64)> {
        let mut weighted: Vec<_> = sources.iter().zip(self.weights.iter().copied()).collect();
        if operation != Operation::Difference {
            // Redis adds in this order; other orders may round differently.
            weighted.sort_by_key(|(source, _)| source.len());
        }
        let mut found = match operation {
            Operation::Union => self.union(&weighted),
            Operation::Intersection => self.intersection(&weighted),
            Operation::Difference => difference(sources),
        };
        found.sort_unstable_by(|(a, score), (b, other)| {
            score.partial_cmp(other).unwrap_or(Ordering::Equal).then_with(|| a.cmp(b))
        });
        found
    }

    fn union<'s>(&self, sources: &[(&Source<'s>, f64)]) -> Vec<(Element<'s>, f64)> {
        let mut all = Vec::with_capacity(sources.iter().map(|(source, _)| source.len()).sum());
        for (source, weight) in sources {
            source.each(&mut |member, score| {
                all.push((member, number(score * weight)));
                true
            });
        }
        // Stable: scores of one member stay in the order of the sources.
        #[expect(clippy::unnecessary_sort_by, reason = "a key cannot borrow from what is sorted")]
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|(other, score), (member, total)| {
            let same = **other == **member;
            if same {
                *total = self.aggregate.of(*total, *score);
            }
            same
        });
        all
    }

    fn intersection<'s>(&self, sources: &[(&Source<'s>, f64)]) -> Vec<(Element<'s>, f64)> {
        let mut found = Vec::new();
        let Some(((smallest, weight), others)) = sources.split_first() else { return found };
        smallest.each(&mut |member, score| {
            let total = others.iter().try_fold(number(score * weight), |total, (source, weight)| {
                Some(self.aggregate.of(total, source.score(&member)? * weight))
            });
            found.extend(total.map(|total| (member, total)));
            self.limit == 0 || found.len() < self.limit
        });
        found
    }
}

fn difference<'s>(sources: &[Source<'s>]) -> Vec<(Element<'s>, f64)> {
    let mut found = Vec::new();
    let Some((first, others)) = sources.split_first() else { return found };
    first.each(&mut |member, score| {
        if others.iter().all(|source| source.score(&member).is_none()) {
            found.push((member, score));
        }
        true
    });
    found
}

/// Where members come from.
enum Source<'s> {
    Absent,
    Set(LiveSet<'s>),
    SortedSet(LiveSortedSet<'s>),
    /// Of another shard, in the order of members.
    Fetched(Vec<(&'s [u8], f64)>),
}

impl<'s> Source<'s> {
    fn of(value: Option<Value<'s>>, now_ms: u64) -> Result<Self, Failure> {
        match value {
            None => Ok(Self::Absent),
            Some(Value::Set(set)) => Ok(Self::Set(set.at(now_ms))),
            Some(Value::SortedSet(set)) => Ok(Self::SortedSet(set.at(now_ms))),
            Some(_) => Err(fail(errors::WRONG_TYPE)),
        }
    }

    /// What `annulus.fetch` replied.
    fn fetched(reply: &'s [u8]) -> Result<Self, Failure> {
        let mut parts = elements(reply);
        let Some(value) = parts.next().and_then(bulk_reply) else { return Ok(Self::Absent) };
        let now = parts.nth(2).and_then(integer_reply).and_then(|now| u64::try_from(now).ok());
        let value =
            codec::decode(value).map_err(|fault| Failure::Owned(format!("ERR {fault}").into_bytes()))?;
        let members = value.scored_members(now.unwrap_or(0)).ok_or(fail(errors::WRONG_TYPE))?;
        let mut members: Vec<_> = members.collect();
        members.sort_unstable_by_key(|(member, _)| *member);
        Ok(Self::Fetched(members))
    }

    fn len(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Set(set) => set.len(),
            Self::SortedSet(set) => set.len(),
            Self::Fetched(members) => members.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Absent => None,
            Self::Set(set) => set.contains(member).then_some(1.0),
            Self::SortedSet(set) => set.score(member),
            Self::Fetched(members) => {
                let at = members.binary_search_by(|(known, _)| (*known).cmp(member)).ok()?;
                members.get(at).map(|(_, score)| *score)
            }
        }
    }

    /// Visits members until `visit` says that it is enough.
    fn each(&self, visit: &mut dyn FnMut(Element<'s>, f64) -> bool) {
        let mut go_on = |(member, score)| visit(member, score);
        let _visited_all = match self {
            Self::Absent => true,
            Self::Set(set) => set.iter().map(|member| (member, 1.0)).all(&mut go_on),
            Self::SortedSet(set) => set.iter().all(&mut go_on),
            Self::Fetched(members) => {
                members.iter().map(|(member, score)| (Element::bytes(member), *score)).all(&mut go_on)
            }
        };
    }
}

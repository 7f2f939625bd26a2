//! Intersections, unions and differences of sets.

use annulus_protocol::Encoder;
use annulus_storage::value::{Element, LiveSet, codec};
use annulus_storage::{Key, Kind};

use super::super::arguments::{Counted, counted, integer, is};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::{Context, Hop, HopStep, answer, key, unreachable_arity};
use super::{between, set};

/// What is made of several sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// What all have.
    Intersection,
    /// What any has.
    Union,
    /// What the first has and none of the others.
    Difference,
}

/// What becomes of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose<'a> {
    /// It's the reply.
    Tell,
    /// It's the value of this key from now on, and its size is the reply.
    Store(&'a [u8]),
    /// Its size, up to this limit, is the reply.
    Count(usize),
}

/// A command of this family.
pub(super) struct Combination<'a> {
    pub(super) operation: Operation,
    pub(super) keys: &'a [&'a [u8]],
    pub(super) purpose: Purpose<'a>,
}

type Parsed<'a> = Result<Combination<'a>, Failure>;

/// `SINTER key [key …]` and its kin
fn telling<'a>(operation: Operation, args: &'a [&'a [u8]]) -> Combination<'a> {
    let keys = args.get(1..).unwrap_or_default();
    Combination { operation, keys, purpose: Purpose::Tell }
}

/// `SINTERSTORE destination key [key …]` and its kin
fn storing<'a>(operation: Operation, args: &'a [&'a [u8]]) -> Parsed<'a> {
    let [_, destination, keys @ ..] = args else { return Err(unreachable_arity("sinterstore")) };
    Ok(Combination { operation, keys, purpose: Purpose::Store(destination) })
}

/// `SINTERCARD numkeys key [key …] [LIMIT limit]`
fn counting<'a>(args: &'a [&'a [u8]]) -> Parsed<'a> {
    const TOO_MANY: &str = "ERR Number of keys can't be greater than number of args";
    let Counted { keys, rest } = counted(args.get(1..).unwrap_or_default(), TOO_MANY)?;
    let mut limit = 0;
    let mut options = rest;
    while let [option, number, tail @ ..] = options {
        if !is(option, "LIMIT") {
            break;
        }
        let number = integer(number).ok().and_then(|number| usize::try_from(number).ok());
        limit = number.ok_or(fail("ERR LIMIT can't be negative"))?;
        options = tail;
    }
    if !options.is_empty() {
        return Err(fail(errors::SYNTAX));
    }
    let limit = if limit == 0 { usize::MAX } else { limit };
    Ok(Combination { operation: Operation::Intersection, keys, purpose: Purpose::Count(limit) })
}

/// `SINTER key [key …]` on one shard
pub(in super::super) fn sinter(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, Ok(telling(Operation::Intersection, args)));
}

/// `SINTER` between shards
pub(in super::super) fn sinter_plan(hop: &Hop<'_>) -> HopStep {
    between::plan(hop, Ok(telling(Operation::Intersection, hop.args)))
}

/// `SUNION key [key …]` on one shard
pub(in super::super) fn sunion(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, Ok(telling(Operation::Union, args)));
}

/// `SUNION` between shards
pub(in super::super) fn sunion_plan(hop: &Hop<'_>) -> HopStep {
    between::plan(hop, Ok(telling(Operation::Union, hop.args)))
}

/// `SDIFF key [key …]` on one shard
pub(in super::super) fn sdiff(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, Ok(telling(Operation::Difference, args)));
}

/// `SDIFF` between shards
pub(in super::super) fn sdiff_plan(hop: &Hop<'_>) -> HopStep {
    between::plan(hop, Ok(telling(Operation::Difference, hop.args)))
}

/// `SINTERSTORE destination key [key …]` on one shard
pub(in super::super) fn sinterstore(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, storing(Operation::Intersection, args));
}

/// `SINTERSTORE` between shards
pub(in super::super) fn sinterstore_plan(hop: &Hop<'_>) -> HopStep {
    between::plan(hop, storing(Operation::Intersection, hop.args))
}

/// `SUNIONSTORE destination key [key …]` on one shard
pub(in super::super) fn sunionstore(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, storing(Operation::Union, args));
}

/// `SUNIONSTORE` between shards
pub(in super::super) fn sunionstore_plan(hop: &Hop<'_>) -> HopStep {
    between::plan(hop, storing(Operation::Union, hop.args))
}

/// `SDIFFSTORE destination key [key …]` on one shard
pub(in super::super) fn sdiffstore(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, storing(Operation::Difference, args));
}

/// `SDIFFSTORE` between shards
pub(in super::super) fn sdiffstore_plan(hop: &Hop<'_>) -> HopStep {
    between::plan(hop, storing(Operation::Difference, hop.args))
}

/// `SINTERCARD numkeys key [key …] [LIMIT limit]` on one shard
pub(in super::super) fn sintercard(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, counting(args));
}

/// `SINTERCARD` between shards
pub(in super::super) fn sintercard_plan(hop: &Hop<'_>) -> HopStep {
    between::plan(hop, counting(hop.args))
}

fn run(context: &mut Context<'_>, combination: Parsed<'_>) {
    let outcome = combination.and_then(|combination| combination.run(context));
    answer(context, outcome);
}

impl Combination<'_> {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let now = context.store.now();
        for bytes in self.keys {
            context.store.get(context.database, key(bytes)).map(set(now)).transpose()?;
        }
        let Context { store, out, database, .. } = context;
        let again = |bytes: &&[u8]| Some(store.view(*database, key(bytes))?.set()?.at(now));
        let sets: Vec<Option<LiveSet<'_>>> = self.keys.iter().map(again).collect();
        match self.purpose {
            Purpose::Tell => {
                let mut members = Vec::new();
                combine(self.operation, &sets, &mut |member| {
                    members.push(member);
                    true
                });
                reply_with(&members, out);
                Ok(())
            }
            Purpose::Count(limit) => {
                let mut count = 0;
                combine(self.operation, &sets, &mut |_| {
                    count += 1;
                    count < limit
                });
                out.integer(count as i64);
                Ok(())
            }
            Purpose::Store(destination) => {
                let mut value = Value::new();
                combine(self.operation, &sets, &mut |member| {
                    value.add(&member);
                    true
                });
                store_value(context, key(destination), &value.finish())
            }
        }
    }
}

/// Writes members that are all different.
pub(super) fn reply_with<M: AsRef<[u8]>>(members: &[M], out: &mut Encoder<'_>) {
    out.set_header(members.len());
    for member in members {
        out.bulk(member);
    }
}

/// Tells each member of the result once, as long as `each` says to go on.
fn combine<'a>(
    operation: Operation,
    sets: &[Option<LiveSet<'a>>],
    each: &mut dyn FnMut(Element<'a>) -> bool,
) {
    match operation {
        Operation::Intersection => {
            let sets: Option<Vec<LiveSet<'a>>> = sets.iter().copied().collect();
            let Some(mut sets) = sets else { return };
            // From the smallest on, for what it doesn't have nobody needs to look at.
            let Some(smallest) = (0..sets.len()).min_by_key(|index| sets[*index].len()) else { return };
            let smallest = sets.swap_remove(smallest);
            let others = |member: &Element<'_>| sets.iter().all(|set| set.contains(member));
            smallest.iter().filter(others).all(each);
        }
        Operation::Difference => {
            let Some((Some(first), others)) = sets.split_first() else { return };
            let others: Vec<LiveSet<'a>> = others.iter().copied().flatten().collect();
            let alone = |member: &Element<'_>| !others.iter().any(|set| set.contains(member));
            first.iter().filter(alone).all(each);
        }
        Operation::Union => {
            let mut members: Vec<Element<'_>> = sets.iter().flatten().flat_map(LiveSet::iter).collect();
            members.sort_unstable();
            members.dedup();
            members.into_iter().all(each);
        }
    }
}

/// A set that is being encoded.
pub(super) struct Value(Vec<u8>);

impl Value {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a member that it does not have.
    pub(super) fn add(&mut self, member: &[u8]) {
        if self.0.is_empty() {
            codec::put_head(&mut self.0, Kind::Set);
        }
        codec::put_element(&mut self.0, member);
    }

    /// The encoded set; no bytes if it has no member.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// `annulus.setstore destination value command`: stores an encoded set, or removes the key if that is empty; replies with its
/// size. Whose result it is is for those who are told of it.
pub(in super::super) fn setstore(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, destination, value, _] = args else {
        return answer(context, Err(unreachable_arity("annulus.setstore")));
    };
    let destination = context.first_key(destination);
    let outcome = store_value(context, destination, value);
    answer(context, outcome);
}

fn store_value(context: &mut Context<'_>, destination: Key<'_>, value: &[u8]) -> Outcome {
    let database = context.database;
    if value.is_empty() {
        context.store.delete(database, destination);
        context.out.integer(0);
        return Ok(());
    }
    let value = codec::decode(value).map_err(|fault| Failure::Owned(format!("ERR {fault}").into_bytes()))?;
    context.store.put_value(database, destination, value, None);
    let now = context.store.now();
    let stored = context.store.view(database, destination).and_then(|entry| entry.set());
    context.out.integer(stored.map_or(0, |set| set.at(now).len()) as i64);
    Ok(())
}

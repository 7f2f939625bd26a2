//! `ZRANDMEMBER`.

use std::collections::BTreeSet;

use annulus_protocol::parse_i64;
use annulus_storage::value::LiveSortedSet;

use super::super::arguments::is;
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::{Context, answer, unreachable_arity};
use super::{members, members_header, pair, sorted_set};

/// `ZRANDMEMBER key [count [WITHSCORES]]`
pub(in super::super) fn zrandmember(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match *args {
        [_, key] => one(context, key),
        [_, key, count] => Choice::parse(count, false).and_then(|choice| choice.run(context, key)),
        [_, key, count, option] if is(option, "WITHSCORES") => {
            Choice::parse(count, true).and_then(|choice| choice.run(context, key))
        }
        // As in Redis, a wrong count comes first.
        [_, _, count, ..] => Choice::parse(count, false).and(Err(fail(errors::SYNTAX))),
        _ => Err(unreachable_arity("zrandmember")),
    };
    answer(context, outcome);
}

fn one(context: &mut Context<'_>, key: &[u8]) -> Outcome {
    let key = context.first_key(key);
    let Context { store, database, out, random, .. } = context;
    let now = store.now();
    let set = store.get(*database, key).map(sorted_set(now)).transpose()?;
    match set.and_then(|set| set.sample(&mut || random.next_u64())) {
        Some((member, _)) => out.bulk(member),
        None => out.null(),
    }
    Ok(())
}

/// How many members to choose.
struct Choice {
    count: usize,
    /// A member may be chosen more than once.
    repeats: bool,
    scores: bool,
}

impl Choice {
    fn parse(text: &[u8], scores: bool) -> Result<Self, Failure> {
        let count = parse_i64(text).ok_or(fail(errors::NOT_INTEGER))?;
        if count == i64::MIN {
            let text =
                format!("ERR value is out of range, value must between {} and {}", -i64::MAX, i64::MAX);
            return Err(Failure::Owned(text.into_bytes()));
        }
        if scores && count.abs() > i64::MAX / 2 {
            return Err(fail("ERR value is out of range"));
        }
        Ok(Self { count: count.unsigned_abs() as usize, repeats: count < 0, scores })
    }

    fn run(&self, context: &mut Context<'_>, key: &[u8]) -> Outcome {
        let key = context.first_key(key);
        let Context { store, database, out, random, .. } = context;
        let mut random = || random.next_u64();
        let now = store.now();
        let Some(set) = store.get(*database, key).map(sorted_set(now)).transpose()? else {
            out.array_header(0);
            return Ok(());
        };
        if self.repeats {
            members_header(self.count, self.scores, out);
            for _ in 0..self.count {
                let Some((member, score)) = set.sample(&mut random) else { break };
                if self.scores {
                    pair(&member, score, out);
                } else {
                    out.bulk(member);
                }
            }
        } else if self.count >= set.len() {
            members(set.iter(), set.len(), self.scores, out);
        } else {
            let ranks = distinct(&set, self.count, &mut random);
            let chosen = ranks.into_iter().flat_map(|rank| set.range(rank, rank + 1));
            members(chosen, self.count, self.scores, out);
        }
        Ok(())
    }
}

/// Some ranks, all choices equally likely: Floyd's way, which draws as often as it chooses.
fn distinct(set: &LiveSortedSet<'_>, count: usize, random: &mut dyn FnMut() -> u64) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    for last in set.len() - count..set.len() {
        let drawn = (random() % (last as u64 + 1)) as usize;
        if !chosen.insert(drawn) {
            chosen.insert(last);
        }
    }
    chosen
}

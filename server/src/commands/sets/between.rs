//! Intersections, unions and differences of sets on several shards.
//!
//! First the sizes are asked for, which also tells whether all keys hold sets. Then the members of as few sets as will do: for an
//! intersection those of the smallest only, and then what the others have of these. What is to be stored goes to the
//! destination's shard last.

use std::collections::BTreeSet;

use super::super::errors::Failure;
use super::super::replies::{bulk_reply, elements, error_among, integer_reply};
use super::super::transfer::{end, refuse};
use super::super::{Hop, HopRequest, HopStep};
use super::algebra::{Combination, Operation, Purpose, Value, reply_with};

/// Which members have to come here.
enum Choice {
    /// None: the result is empty.
    Nothing,
    /// Those of all sets.
    All,
    /// Those of one set; the others say which of them they have.
    One(usize),
}

/// The rounds of a command of this family.
pub(super) fn plan(hop: &Hop<'_>, combination: Result<Combination<'_>, Failure>) -> HopStep {
    let combination = match combination {
        Ok(combination) => combination,
        Err(error) => return refuse(hop, error),
    };
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    if hop.round == 0 {
        return HopStep::Send(combination.keys.iter().map(|key| request(&[b"scard", key])).collect());
    }
    let sizes = hop.earlier.first().map_or(hop.replies, Vec::as_slice);
    match (combination.choose(sizes), hop.round) {
        (Choice::Nothing, 1) => combination.conclude(hop, &[]),
        (Choice::All, 1) => combination.fetch(0..combination.keys.len()),
        (Choice::All, 2) => combination.conclude(hop, &combination.combine(hop.replies)),
        (Choice::One(index), 1) => combination.fetch(index..index + 1),
        (Choice::One(index), 2) => combination.compare(index, &members_of(hop.replies)),
        (Choice::One(_), 3) => {
            let members = members_of(hop.earlier.get(1).map_or(&[][..], Vec::as_slice));
            combination.conclude(hop, &combination.filter(&members, hop.replies))
        }
        // It has been stored.
        _ => HopStep::Reply(hop.replies.first().cloned().unwrap_or_default()),
    }
}

fn request(words: &[&[u8]]) -> HopRequest {
    HopRequest { args: words.iter().map(|word| word.to_vec()).collect() }
}

/// The members that the first reply lists.
fn members_of(replies: &[Vec<u8>]) -> Vec<&[u8]> {
    replies.iter().take(1).flat_map(|reply| elements(reply)).filter_map(bulk_reply).collect()
}

impl Combination<'_> {
    fn choose(&self, sizes: &[Vec<u8>]) -> Choice {
        let sizes: Vec<i64> = sizes.iter().map(|size| integer_reply(size).unwrap_or(0)).collect();
        let first = sizes.first().copied().unwrap_or(0);
        let smallest = (0..sizes.len()).min_by_key(|index| sizes[*index]);
        match (self.operation, smallest) {
            (Operation::Union, _) => Choice::All,
            (Operation::Difference, _) if first == 0 => Choice::Nothing,
            // All members of small sets are less than the answers about those of a large one.
            (Operation::Difference, _) if sizes.iter().skip(1).sum::<i64>() <= first => Choice::All,
            (Operation::Difference, _) => Choice::One(0),
            (Operation::Intersection, Some(smallest)) if sizes[smallest] > 0 => {
                if sizes.len() == 1 {
                    Choice::All
                } else {
                    Choice::One(smallest)
                }
            }
            (Operation::Intersection, _) => Choice::Nothing,
        }
    }

    fn fetch(&self, which: std::ops::Range<usize>) -> HopStep {
        let keys = self.keys.get(which).unwrap_or_default();
        HopStep::Send(keys.iter().map(|key| request(&[b"smembers", key])).collect())
    }

    /// Asks the other sets which of one set's members they have.
    fn compare(&self, index: usize, members: &[&[u8]]) -> HopStep {
        let others = self.keys.iter().enumerate().filter(|(other, _)| *other != index);
        let ask = |(_, key): (usize, &&[u8])| {
            let words: Vec<&[u8]> =
                [&b"smismember"[..], *key].into_iter().chain(members.iter().copied()).collect();
            request(&words)
        };
        HopStep::Send(others.map(ask).collect())
    }

    /// The members that the others have all, or not at all, by what they have said.
    fn filter<'m>(&self, members: &[&'m [u8]], others: &[Vec<u8>]) -> Vec<&'m [u8]> {
        let wanted = i64::from(self.operation == Operation::Intersection);
        let mut kept = vec![true; members.len()];
        for other in others {
            for (kept, has) in kept.iter_mut().zip(elements(other)) {
                *kept &= integer_reply(has) == Some(wanted);
            }
        }
        members.iter().zip(kept).filter(|(_, kept)| *kept).map(|(member, _)| *member).collect()
    }

    /// The result, of all members of all sets.
    fn combine<'m>(&self, sets: &'m [Vec<u8>]) -> Vec<&'m [u8]> {
        let members = |set: &'m Vec<u8>| elements(set).filter_map(bulk_reply);
        let Some((first, others)) = sets.split_first() else { return Vec::new() };
        let others: BTreeSet<&[u8]> = others.iter().flat_map(members).collect();
        let alone = members(first).filter(|member| !others.contains(member));
        match self.operation {
            Operation::Difference => alone.collect(),
            Operation::Union => alone.chain(others.iter().copied()).collect(),
            Operation::Intersection => members(first).collect(),
        }
    }

    fn conclude(&self, hop: &Hop<'_>, members: &[&[u8]]) -> HopStep {
        match self.purpose {
            Purpose::Tell => end(hop, |out| reply_with(members, out)),
            Purpose::Count(limit) => end(hop, |out| out.integer(members.len().min(limit) as i64)),
            Purpose::Store(destination) => {
                let mut value = Value::new();
                for member in members {
                    value.add(member);
                }
                let name = hop.args.first().copied().unwrap_or_default().to_vec();
                let args = vec![b"annulus.setstore".to_vec(), destination.to_vec(), value.finish(), name];
                HopStep::Send(vec![HopRequest { args }])
            }
        }
    }
}

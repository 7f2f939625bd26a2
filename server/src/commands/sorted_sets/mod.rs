//! Commands on sorted sets.
//!
//! - Data changes by [`SortedSetChange`]s of one member each, or as a whole where a result is stored.
//! - What is read of several keys on several shards comes as encoded values, and a result that is stored goes as one.
//! - Pairs of member and score are flat in RESP2, and arrays of two in RESP3.

pub(super) mod add;
pub(super) mod algebra;
pub(super) mod blocking;
mod bounds;
pub(super) mod lookup;
pub(super) mod pop;
pub(super) mod random;
pub(super) mod range;
pub(super) mod remove;
pub(super) mod scan;
pub(super) mod store;

use annulus_protocol::{Encoder, Version};
use annulus_storage::value::{LiveSortedSet, SortedSetChange};
use annulus_storage::{Entry, Key};

use super::Context;
use super::errors::{self, Failure, fail};

/// Takes the sorted set that an entry holds, as it is at a time.
pub(super) fn sorted_set<'s>(now_ms: u64) -> impl Fn(Entry<'s>) -> Result<LiveSortedSet<'s>, Failure> {
    move |entry| entry.sorted_set().map(|set| set.at(now_ms)).ok_or(fail(errors::WRONG_TYPE))
}

/// Writes the header of an array of members, with their scores or without.
fn members_header(count: usize, scores: bool, out: &mut Encoder<'_>) {
    let flat = scores && out.version() == Version::Resp2;
    out.array_header(if flat { count * 2 } else { count });
}

/// Writes a member with its score.
fn pair(member: &[u8], score: f64, out: &mut Encoder<'_>) {
    if out.version() == Version::Resp3 {
        out.array_header(2);
    }
    out.bulk(member);
    out.double(score);
}

/// Writes members, with their scores or without.
fn members<M: AsRef<[u8]>>(
    members: impl Iterator<Item = (M, f64)>,
    count: usize,
    scores: bool,
    out: &mut Encoder<'_>,
) {
    members_header(count, scores, out);
    for (member, score) in members {
        if scores {
            pair(member.as_ref(), score, out);
        } else {
            out.bulk(member);
        }
    }
}

/// Copies of members, in one piece of memory.
#[derive(Default)]
struct Copied {
    bytes: Vec<u8>,
    /// Where each ends, and its score.
    ends: Vec<(usize, f64)>,
}

impl Copied {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn push(&mut self, member: &[u8], score: f64) {
        self.bytes.extend_from_slice(member);
        self.ends.push((self.bytes.len(), score));
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], f64)> {
        let mut start = 0;
        self.ends.iter().map(move |(end, score)| {
            let member = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            (member, *score)
        })
    }
}

impl<M: AsRef<[u8]>> FromIterator<(M, f64)> for Copied {
    fn from_iter<I: IntoIterator<Item = (M, f64)>>(members: I) -> Self {
        let mut copied = Self::default();
        members.into_iter().for_each(|(member, score)| copied.push(member.as_ref(), score));
        copied
    }
}

/// Removes members of a sorted set that has `len`.
fn remove_all(context: &mut Context<'_>, key: Key<'_>, members: &Copied, len: usize) {
    let database = context.database;
    if members.len() == len {
        context.store.delete(database, key);
        return;
    }
    for (member, _) in members.iter() {
        context.store.change(database, key, SortedSetChange::Remove { member });
    }
}

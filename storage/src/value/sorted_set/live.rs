//! A sorted set as readers see it: without the members whose time has passed.
//!
//! Those wait a few milliseconds to be removed, so that there are almost never any, and then few: ranks are found around theirs. Only
//! when very many members lapse at once, and are being removed step by step, do commands cost O(N) meanwhile.

use super::super::element::Element;
use super::super::expiring::{Life, is_live};
use super::{Form, SortedSet, small};

/// See the module.
#[derive(Clone)]
pub struct LiveSortedSet<'a> {
    set: &'a SortedSet,
    now_ms: u64,
    /// The ranks of the members whose time has passed, ascending.
    lapsed: Vec<usize>,
}

impl<'a> LiveSortedSet<'a> {
    pub(super) fn new(set: &'a SortedSet, now_ms: u64) -> LiveSortedSet<'a> {
        let lapsed = match &set.0 {
            Form::Small(_) => Vec::new(),
            Form::Large(large) => large.lapsed_ranks(now_ms),
        };
        LiveSortedSet { set, now_ms, lapsed }
    }

    /// Number of members. None: all that are there wait to be removed.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a sorted set that has never had a member does not exist"
    )]
    pub fn len(&self) -> usize {
        self.set.len() - self.lapsed.len()
    }

    /// Whether any member expires, or has.
    pub fn expires(&self) -> bool {
        self.set.next_expiry_ms().is_some()
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let score = match &self.set.0 {
            Form::Small(packed) => small::find(packed, member).map(|found| found.score),
            Form::Large(large) => large.score(member),
        };
        score.filter(|_| self.lapsed.is_empty() || self.life(member) != Life::Absent)
    }

    /// How long a member lives.
    pub fn life(&self, member: &[u8]) -> Life {
        match &self.set.0 {
            Form::Small(packed) => small::find(packed, member).map_or(Life::Absent, |_| Life::Endless),
            Form::Large(large) => match large.life(member) {
                Life::Until(at) if !is_live(Some(at), self.now_ms) => Life::Absent,
                life => life,
            },
        }
    }

    /// How many members stand before a member.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let rank = match &self.set.0 {
            Form::Small(packed) => {
                small::iter(packed).find(|found| *found.member == *member).map(|found| found.rank)
            }
            Form::Large(large) => large.rank(member),
        }?;
        match self.lapsed.binary_search(&rank) {
            Ok(_) => None,
            Err(before) => Some(rank - before),
        }
    }

    /// How many members, from the first on, are `before`: which must be true up to some member and false from there on.
    pub fn partition(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        let count = match &self.set.0 {
            Form::Small(packed) => {
                small::iter(packed).take_while(|found| before(found.score, &found.member)).count()
            }
            Form::Large(large) => large.partition(&before),
        };
        count - self.lapsed.partition_point(|rank| *rank < count)
    }

    /// Among all members, the rank of the one that has a rank among the live ones.
    fn rank_among_all(&self, rank: usize) -> usize {
        // Before the member at `lapsed[index]` stand `lapsed[index] - index` live ones.
        let (mut low, mut high) = (0, self.lapsed.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.lapsed[middle] - middle <= rank { low = middle + 1 } else { high = middle }
        }
        rank + low
    }

    /// Members with their scores by rank, `start..end` as far as there are any; goes both ways.
    pub fn range(
        &self,
        start: usize,
        end: usize,
    ) -> impl DoubleEndedIterator<Item = (Element<'a>, f64)> + use<'a> {
        let (small, large, live) = match &self.set.0 {
            Form::Small(packed) => (Some(small::range(packed, start, end).into_iter()), None, None),
            Form::Large(large) if self.lapsed.is_empty() => (None, Some(large.iter(start, end)), None),
            Form::Large(large) => {
                let end = end.min(self.len());
                let all = if start < end {
                    (self.rank_among_all(start), self.rank_among_all(end - 1) + 1)
                } else {
                    (0, 0)
                };
                (None, None, Some(large.iter_live(all, self.now_ms)))
            }
        };
        let large = large.into_iter().flatten().chain(live.into_iter().flatten());
        let large = large.map(|(member, score)| (Element::bytes(member), score));
        small.into_iter().flatten().chain(large)
    }

    /// All members in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Element<'a>, f64)> + use<'a> {
        self.range(0, self.len())
    }

    /// A member chosen evenly.
    pub fn sample(&self, random: &mut dyn FnMut() -> u64) -> Option<(Element<'a>, f64)> {
        let number = random().checked_rem(self.len() as u64)? as usize;
        match &self.set.0 {
            Form::Large(large) if self.lapsed.is_empty() => {
                let (member, score, _) = large.nth(number);
                Some((Element::bytes(member), score))
            }
            Form::Small(_) | Form::Large(_) => self.range(number, number + 1).next(),
        }
    }

    /// Visits about `count` members from `cursor` on (0: the start). Returns where to go on; none at the end. A small sorted set is
    /// visited as a whole. A member that is there during a whole walk is visited at least once.
    pub fn scan(&self, cursor: u64, count: usize, each: &mut dyn FnMut(Element<'a>, f64)) -> Option<u64> {
        match &self.set.0 {
            Form::Small(packed) => {
                small::iter(packed).for_each(|found| each(found.member, found.score));
                None
            }
            Form::Large(large) => {
                let mut seen = 0;
                large.walk(cursor, |member, score, expire_at_ms| {
                    seen += 1;
                    if is_live(expire_at_ms, self.now_ms) {
                        each(Element::bytes(member), score);
                    }
                    seen >= count
                })
            }
        }
    }
}

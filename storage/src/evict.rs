//! Choosing keys to give up when memory is short: as Redis does, approximately, from samples.
//!
//! - A few random keys are looked at, and the best of them join those remembered from before in a small pool; the
//!   best of the pool goes. The pool outlives a choice, so few samples come near the true order.
//! - The pool names keys by their hash. Whether one was used, changed or removed since is found out when its turn comes.
//! - Keys with an expiry are found through the hints of the expiry index: a few of them among many others are found at once.

use crate::entry::clock;
use crate::{Access, DatabaseId, Entry};

/// Candidates that are remembered: as many as in Redis.
const POOL_MAX: usize = 16;

/// Which keys go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionOrder {
    /// Those that were not used for the longest time.
    Recency,
    /// Those that are used least often.
    Frequency,
    /// Those that have the least time to live.
    TimeToLive,
    /// Any.
    Random,
}

/// Which keys may go, and which go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionPolicy {
    /// Only keys with an expiry may go.
    pub volatile: bool,
    /// Which go first.
    pub order: EvictionOrder,
}

impl EvictionPolicy {
    /// How accesses are to be counted for it.
    pub fn access(self) -> Access {
        if self.order == EvictionOrder::Frequency { Access::Frequency } else { Access::Recency }
    }

    /// How soon a key should go: the greater, the sooner.
    pub(crate) fn urgency(self, entry: Entry<'_>, now_ms: u64) -> u64 {
        match self.order {
            EvictionOrder::Recency => clock::idle_seconds(entry.clock(), now_ms),
            EvictionOrder::Frequency => u64::from(u8::MAX - clock::frequency(entry.clock(), now_ms)),
            EvictionOrder::TimeToLive => u64::MAX - entry.expire_at_ms().unwrap_or(u64::MAX),
            EvictionOrder::Random => 0,
        }
    }
}

/// What [`crate::Store::evict`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Keys removed.
    pub keys: usize,
    /// Memory of live data afterwards, as [`crate::Store::live_bytes`] counts it.
    pub live_bytes: usize,
    /// There's no key that may go.
    pub is_exhausted: bool,
}

/// A key that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) urgency: u64,
    pub(crate) database: DatabaseId,
    pub(crate) group: u8,
    pub(crate) hash: u64,
}

/// The best candidates so far, the best last.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    candidates: Vec<Candidate>,
}

impl Pool {
    pub(crate) fn push(&mut self, candidate: Candidate) {
        let same = |other: &Candidate| {
            (other.database, other.group, other.hash) == (candidate.database, candidate.group, candidate.hash)
        };
        if self.candidates.iter().any(same) {
            return;
        }
        let place = self.candidates.partition_point(|other| other.urgency < candidate.urgency);
        if self.candidates.len() == POOL_MAX {
            if place == 0 {
                return;
            }
            self.candidates.remove(0);
            self.candidates.insert(place - 1, candidate);
        } else {
            self.candidates.insert(place, candidate);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Candidate> {
        self.candidates.pop()
    }

    pub(crate) fn clear(&mut self) {
        self.candidates.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(urgency: u64, hash: u64) -> Candidate {
        Candidate { urgency, database: DatabaseId(0), group: 0, hash }
    }

    #[test]
    fn the_pool_keeps_the_most_urgent_each_once() {
        let mut pool = Pool::default();
        for number in 0..100_u64 {
            let urgency = number * 37 % 101;
            pool.push(candidate(urgency, number));
            pool.push(candidate(urgency, number));
        }
        let taken: Vec<u64> = std::iter::from_fn(|| pool.pop()).map(|it| it.urgency).collect();
        let mut expected: Vec<u64> = (0..100).map(|number| number * 37 % 101).collect();
        expected.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(taken, expected[..POOL_MAX]);
    }
}

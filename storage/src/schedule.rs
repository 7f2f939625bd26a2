//! What expires when, in order: of the members of a collection, and of the collections with such members in a slot group.
//!
//! - An entry is a time and the hash of a name, or another number that stands for it. It is exact: whoever changes an expiry takes the
//!   old entry out.
//! - Two names with one hash and one time share an entry, and the second is found when it's looked at only. With a keyed hash of 64 bits nobody
//!   brings that about.
//! - Nothing is allocated before there is an entry.

use std::collections::BTreeSet;

/// Time, ms of Unix time, and the hash of a name.
type Appointment = (u64, u64);

/// See the module.
#[derive(Default)]
pub(crate) struct Schedule(BTreeSet<Appointment>);

impl Schedule {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a hash belongs to expires at another time now.
    pub(crate) fn note(&mut self, hash: u64, old: Option<u64>, new: Option<u64>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.0.remove(&(old, hash));
        }
        if let Some(new) = new {
            self.0.insert((new, hash));
        }
    }

    /// The first time.
    pub(crate) fn first_ms(&self) -> Option<u64> {
        self.0.first().map(|&(at, _)| at)
    }

    /// The first entry from this one on.
    pub(crate) fn first_from(&self, from: Appointment) -> Option<Appointment> {
        self.0.range(from..).next().copied()
    }

    /// Whose times have passed, the first to pass first. A time has not at its very millisecond.
    pub(crate) fn passed(&self, now_ms: u64) -> impl Iterator<Item = u64> {
        self.0.range(..(now_ms, 0)).map(|&(_, hash)| hash)
    }

    /// Frees up to `budget` entries of a schedule that nobody uses any more; returns what is left of the budget.
    pub(crate) fn free(&mut self, mut budget: usize) -> usize {
        while budget > 0 && self.0.pop_first().is_some() {
            budget -= 1;
        }
        budget
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        // A tree's nodes are two thirds full on average.
        self.0.len() * size_of::<Appointment>() * 3 / 2
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn schedules_agree_with_a_map(changes in prop::collection::vec((0_u64..10, prop::option::of(0_u64..30)), 0..60)) {
            let mut schedule = Schedule::default();
            let mut model: BTreeMap<u64, u64> = BTreeMap::new();
            for (hash, new) in changes {
                let old = match new {
                    Some(new) => model.insert(hash, new),
                    None => model.remove(&hash),
                };
                schedule.note(hash, old, new);
                let mut expected: Vec<Appointment> = model.iter().map(|(&hash, &at)| (at, hash)).collect();
                expected.sort_unstable();
                prop_assert_eq!(schedule.first_ms(), expected.first().map(|&(at, _)| at));
                prop_assert_eq!(schedule.is_empty(), expected.is_empty());
                let passed: Vec<u64> = expected.iter().filter(|&&(at, _)| at < 15).map(|&(_, hash)| hash).collect();
                prop_assert!(schedule.passed(15).eq(passed));
                prop_assert_eq!(schedule.first_from((15, 5)), expected.into_iter().find(|entry| *entry >= (15, 5)));
            }
            let left = schedule.free(usize::MAX);
            prop_assert!(schedule.is_empty() && left >= usize::MAX - model.len() - 1);
        }
    }
}

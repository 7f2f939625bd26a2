//! Giving up keys when memory is short. `crate::evict` says how they are chosen.

use super::Store;
use crate::database::Database;
use crate::evict::{Candidate, Evicted, EvictionOrder, EvictionPolicy};
use crate::expiry::HINT_HASH_MASK;
use crate::table::Position;
use crate::{DatabaseId, EffectSink, Happened};

/// Samples in a row that find nothing that may go, before all are gone through.
const MISSES_MAX: usize = 32;

/// A found key, by database and group.
type Place = (DatabaseId, u8, Position);

impl<S: EffectSink> Store<S> {
    /// Memory of what is there: of all that [`Store::memory_bytes`] counts but what is being freed. Takes a few microseconds for each database in use.
    pub fn live_bytes(&self) -> usize {
        let databases: usize = self.databases.iter().map(Database::memory_bytes).sum();
        databases + self.gates.memory_bytes() + self.expiry.memory_bytes() + self.libraries.memory_bytes()
    }

    /// Removes keys until [`Store::live_bytes`] is at most `target`, but at most `budget` keys, and none that `is_locked`; each
    /// removal is a group of effects of its own. Not to be called while a command runs.
    ///
    /// A key costs one to some microseconds: so many samples are looked at for each.
    pub fn evict(
        &mut self,
        (policy, samples): (EvictionPolicy, usize),
        target: usize,
        budget: usize,
        is_locked: &dyn Fn(&[u8]) -> bool,
    ) -> Evicted {
        assert!(!self.wrote, "eviction while a command is running");
        self.gates.taints.clear_group();
        let mut evicted = Evicted { live_bytes: self.live_bytes(), ..Evicted::default() };
        let weights = if policy.volatile { Vec::new() } else { self.weights() };
        while evicted.live_bytes > target && evicted.keys < budget {
            let Some((database, group, at)) = self.choose(policy, samples.max(1), &weights, is_locked) else {
                evicted.is_exhausted = true;
                break;
            };
            let table = self.databases[database.index()].table_mut(group);
            let before = table.memory_bytes();
            let hash = self.hasher.hash(table.entry(at).key());
            self.remove(database, group, hash, at, Happened::Evicted);
            self.end_group();
            let after = self.databases[database.index()].table_mut(group).memory_bytes();
            evicted.live_bytes = (evicted.live_bytes + after).saturating_sub(before);
            evicted.keys += 1;
        }
        self.stats.evicted_keys += evicted.keys as u64;
        self.gates.take_command();
        evicted
    }

    /// How many keys each table has, added up, so that a random number chooses a table by its share.
    fn weights(&self) -> Vec<(usize, DatabaseId, u8)> {
        let mut weights = Vec::new();
        let mut sum = 0;
        for (index, database) in self.databases.iter().enumerate() {
            for (group, table) in database.tables().iter().enumerate().filter(|(_, table)| table.len() > 0) {
                sum += table.len();
                weights.push((sum, DatabaseId(index as u16), group as u8));
            }
        }
        weights
    }

    /// The key to go next. Nothing if there's none that may.
    fn choose(
        &mut self,
        policy: EvictionPolicy,
        samples: usize,
        weights: &[(usize, DatabaseId, u8)],
        is_locked: &dyn Fn(&[u8]) -> bool,
    ) -> Option<Place> {
        if policy.order == EvictionOrder::Random {
            return self.sample_often(policy, weights, is_locked);
        }
        // The pool is filled at least once; what it held may be gone.
        for _ in 0..=MISSES_MAX {
            for _ in 0..samples {
                let Some((database, group, at)) = self.sample_often(policy, weights, is_locked) else {
                    // The pool is empty, and no sample fills it.
                    return None;
                };
                let entry = self.databases[database.index()].table(group)?.entry(at);
                let (urgency, hash) = (policy.urgency(entry, self.now_ms), self.hasher.hash(entry.key()));
                self.eviction_pool.push(Candidate { urgency, database, group, hash });
            }
            while let Some(candidate) = self.eviction_pool.pop() {
                if let Some(place) = self.still(policy, &candidate)
                    && !self.is_held(place, is_locked)
                {
                    return Some(place);
                }
            }
        }
        None
    }

    /// The candidate's key, if it is there and was not used since.
    fn still(&self, policy: EvictionPolicy, candidate: &Candidate) -> Option<Place> {
        let Candidate { urgency, database, group, hash } = *candidate;
        let table = self.databases.get(database.index())?.table(group)?;
        let at = table.find_hash(&self.hasher, hash)?;
        let entry = table.entry(at);
        let may_go = !policy.volatile || entry.expire_at_ms().is_some();
        (may_go && policy.urgency(entry, self.now_ms) >= urgency).then_some((database, group, at))
    }

    /// A random key that may go. Nothing if there's none.
    fn sample_often(
        &mut self,
        policy: EvictionPolicy,
        weights: &[(usize, DatabaseId, u8)],
        is_locked: &dyn Fn(&[u8]) -> bool,
    ) -> Option<Place> {
        for _ in 0..MISSES_MAX {
            let found = if policy.volatile { self.sample_hint() } else { self.sample_any(weights) };
            if let Some(place) = found
                && !self.is_held(place, is_locked)
            {
                return found;
            }
        }
        if !policy.volatile {
            // Hardly any key is left, or most belong to transactions.
            return weights.iter().find_map(|(_, database, group)| {
                let table = self.databases[database.index()].table(*group)?;
                let places = table.iter().filter_map(|entry| {
                    let at = table.find_hash(&self.hasher, self.hasher.hash(entry.key()))?;
                    Some((*database, *group, at))
                });
                places.into_iter().find(|place| !self.is_held(*place, is_locked))
            });
        }
        // Few keys with an expiry, and many stale hints.
        let from = next(&mut self.random) as usize;
        let databases = &self.databases;
        let find = |hint: crate::expiry::Hint| {
            databases.iter().enumerate().find_map(|(index, database)| {
                let table = database.table(hint.group())?;
                let at = table.find_expiring(&self.hasher, hint.hash(), HINT_HASH_MASK)?;
                Some((DatabaseId(index as u16), hint.group(), at))
            })
        };
        self.expiry.hints_from(from).filter_map(find).find(|place| !self.is_held(*place, is_locked))
    }

    /// Whether a transaction has a key, or has changed it and not logged that yet.
    fn is_held(&self, (database, group, at): Place, is_locked: &dyn Fn(&[u8]) -> bool) -> bool {
        let Some(table) = self.databases[database.index()].table(group) else { return true };
        let key = table.entry(at).key();
        is_locked(key) || self.sink.holds(database, self.hasher.hash(key))
    }

    fn sample_any(&mut self, weights: &[(usize, DatabaseId, u8)]) -> Option<Place> {
        let (sum, ..) = weights.last()?;
        let nth = next(&mut self.random) as usize % sum;
        let (_, database, group) = *weights.get(weights.partition_point(|(until, ..)| *until <= nth))?;
        let table = self.databases[database.index()].table(group)?;
        let random = &mut self.random;
        let at = table.sample(&mut || next(random))?;
        Some((database, group, at))
    }

    fn sample_hint(&mut self) -> Option<Place> {
        let hint = self.expiry.sample(next(&mut self.random))?;
        self.databases.iter().enumerate().find_map(|(index, database)| {
            let table = database.table(hint.group())?;
            let at = table.find_expiring(&self.hasher, hint.hash(), HINT_HASH_MASK)?;
            Some((DatabaseId(index as u16), hint.group(), at))
        })
    }

    /// Forgets the keys that were looked at: another policy asks for others.
    pub fn forget_candidates(&mut self) {
        self.eviction_pool.clear();
    }
}

/// The next of a xorshift generator.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    // The low bits of the state alone are weak.
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

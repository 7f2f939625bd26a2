//! One seeded source of randomness (SplitMix64), so that a seed replays a run.

use std::{env, time::SystemTime};

/// A small deterministic generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of the items.
    pub fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// The seed from an environment variable (to replay), or a new one.
pub fn seed_from(variable: &str) -> u64 {
    if let Ok(text) = env::var(variable) {
        return text.parse().unwrap_or_else(|_| panic!("{variable} is a seed, a number: {text:?}"));
    }
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Random::new(since_epoch.map_or(1, |time| time.as_nanos() as u64)).bits() % 1_000_000_000
}

//! `math.random` and `math.randomseed`: the 48-bit linear congruential generator of POSIX (drand48), as scripts know it from Redis.
//! Its sequence is the same on every machine and after every start, so that a script gives what its tests gave.

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Random(u64);

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
/// The low bits that a seed leaves alone.
const SEED_LOW: u64 = 0x330E;
/// The largest number, by which fractions are made.
const LARGEST: u64 = i32::MAX as u64;

impl Default for Random {
    fn default() -> Self {
        Random(0x1234_ABCD_330E)
    }
}

impl Random {
    pub(super) fn seed(&mut self, seed: i32) {
        self.0 = (u64::from(seed as u32) << 16) | SEED_LOW;
    }

    /// From 0 to 1, without 1.
    pub(super) fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MASK;
        ((self.0 >> 17) % LARGEST) as f64 / LARGEST as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::number::format_general;

    #[test]
    fn the_sequence_is_the_one_of_redis() {
        let mut random = Random::default();
        for expected in ["0.39646477363839", "0.84048536971234", "0.35333609737146"] {
            assert_eq!(format_general(random.fraction(), 14), expected);
        }
        random.seed(0);
        assert_eq!(format_general(random.fraction(), 14), "0.17082803611217");
    }
}

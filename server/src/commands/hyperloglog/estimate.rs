//! From registers to a cardinality: the estimator of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog
//! sketches" (arXiv:1702.01284), which Redis uses, in the same order of operations so that both tell the same number.

use super::hash::{RANK_MAX, REGISTERS};

/// How many registers have each value. Six bits could say more than [`RANK_MAX`]; values from outside may.
pub(super) struct Histogram([u32; 64]);

impl Histogram {
    pub(super) const fn new() -> Self {
        Self([0; 64])
    }

    /// Counts `registers` more with a value.
    pub(super) fn add(&mut self, value: u8, registers: usize) {
        self.0[usize::from(value) & 63] += registers as u32;
    }

    /// The estimated cardinality.
    pub(super) fn estimate(&self) -> u64 {
        const ALPHA: f64 = 0.721_347_520_444_481_7;
        const M: f64 = REGISTERS as f64;
        let count = |value: u8| f64::from(self.0[usize::from(value)]);
        let mut z = M * tau((M - count(RANK_MAX)) / M);
        for value in (1..RANK_MAX).rev() {
            z += count(value);
            z *= 0.5;
        }
        z += M * sigma(count(0) / M);
        (ALPHA * M * M / z).round() as u64
    }
}

impl FromIterator<u8> for Histogram {
    fn from_iter<I: IntoIterator<Item = u8>>(registers: I) -> Self {
        let mut histogram = Self::new();
        registers.into_iter().for_each(|value| histogram.add(value, 1));
        histogram
    }
}

/// For registers at the upper end.
fn tau(mut x: f64) -> f64 {
    if settled(x, 0.0) || settled(x, 1.0) {
        return 0.0;
    }
    let mut y = 1.0;
    let mut z = 1.0 - x;
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if settled(before, z) {
            return z / 3.0;
        }
    }
}

/// For registers that are still 0.
fn sigma(mut x: f64) -> f64 {
    if settled(x, 1.0) {
        return f64::INFINITY;
    }
    let mut y = 1.0;
    let mut z = x;
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if settled(before, z) {
            return z;
        }
    }
}

/// The same number to the last bit: a series has come to its end when a step changes nothing at all.
#[expect(clippy::float_cmp, reason = "the end of these series is where doubles stand still")]
fn settled(before: f64, after: f64) -> bool {
    before == after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_element_is_none_and_full_registers_are_finite() {
        let mut empty = Histogram::new();
        empty.add(0, REGISTERS);
        assert_eq!(empty.estimate(), 0);
        let mut one = Histogram::new();
        one.add(0, REGISTERS - 1);
        one.add(3, 1);
        assert_eq!(one.estimate(), 1);
    }
}

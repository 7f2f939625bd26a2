//! A latency histogram: powers of two, each in 64 equal parts, so that a percentile is off by at most 1.6 %.

/// Parts of a power of two, as a number of bits.
const PART_BITS: u32 = 6;
/// Values below this have a bucket each.
const LINEAR_MAX: u64 = 1 << PART_BITS;

/// Counts of values in nanoseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    value_max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; bucket_of(u64::MAX) + 1], total: 0, value_max: 0 }
    }
}

/// The bucket that counts `value`.
fn bucket_of(value: u64) -> usize {
    if value < LINEAR_MAX {
        return value as usize;
    }
    let power = value.ilog2();
    let part = (value >> (power - PART_BITS)) - LINEAR_MAX;
    ((u64::from(power - PART_BITS + 1) << PART_BITS) + part) as usize
}

/// The smallest value of a bucket.
fn bucket_start(bucket: usize) -> u64 {
    let (row, part) = ((bucket >> PART_BITS) as u32, bucket as u64 & (LINEAR_MAX - 1));
    if row == 0 { part } else { (LINEAR_MAX + part) << (row - 1) }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        self.counts[bucket_of(value)] += 1;
        self.total += 1;
        self.value_max = self.value_max.max(value);
    }

    /// Number of values.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest value, exactly.
    pub fn max(&self) -> u64 {
        self.value_max
    }

    /// A value (to 1.6 %) that `fraction` of the values are not above; 0 without values.
    pub fn quantile(&self, fraction: f64) -> u64 {
        let rank = ((self.total as f64 * fraction).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return bucket_start(bucket);
            }
        }
        self.value_max
    }

    /// How many values are above `limit` (to 1.6 %).
    pub fn above(&self, limit: u64) -> u64 {
        self.counts[bucket_of(limit) + 1..].iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_hold_their_start() {
        for bucket in 0..bucket_of(u64::MAX) {
            assert_eq!(bucket_of(bucket_start(bucket)), bucket);
            assert_eq!(bucket_of(bucket_start(bucket + 1) - 1), bucket);
        }
    }

    #[test]
    fn quantiles_are_within_two_per_cent() {
        let mut histogram = Histogram::default();
        for value in 1..=100_000_u64 {
            histogram.record(value * 1000);
        }
        for fraction in [0.5, 0.9, 0.99, 0.999] {
            let (found, exact) = (histogram.quantile(fraction) as f64, fraction * 1e8);
            assert!((found / exact - 1.0).abs() < 0.02, "{fraction}: {found} for {exact}");
        }
        assert_eq!(histogram.max(), 100_000_000);
        assert!((histogram.above(99_000_000) as f64 - 1000.0).abs() < 1600.0);
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }
}

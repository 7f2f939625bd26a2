//! A small histogram of durations, for the latencies that INFO shows.
//!
//! Log-linear: eight steps for each power of two, so a percentile is at most an eighth too high. Recording is an
//! increment; histograms of several shards merge by addition.

/// Steps for each power of two.
const STEPS_LOG2: u32 = 3;
/// Powers of two above the linear start: the last bucket begins above a minute, in nanoseconds.
const POWERS: u32 = 34;
const BUCKETS: usize = ((POWERS + 1) << STEPS_LOG2) as usize;

/// How often which duration was seen, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// One allocation, made with the first record: most commands never run on most shards.
    buckets: Option<Box<[u64; BUCKETS]>>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty histogram, without an allocation.
    pub const fn new() -> Self {
        Self { buckets: None, count: 0 }
    }

    /// Counts one duration.
    pub fn record(&mut self, ns: u64) {
        let buckets = self.buckets.get_or_insert_with(|| Box::new([0; BUCKETS]));
        buckets[bucket(ns)] += 1;
        self.count += 1;
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds what another histogram counted.
    pub fn merge(&mut self, other: &Self) {
        let Some(theirs) = &other.buckets else { return };
        let ours = self.buckets.get_or_insert_with(|| Box::new([0; BUCKETS]));
        for (our, their) in ours.iter_mut().zip(theirs.iter()) {
            *our += their;
        }
        self.count += other.count;
    }

    /// The duration under which `percent` of the records lie, in nanoseconds; 0 when nothing was counted.
    pub fn percentile(&self, percent: f64) -> u64 {
        let Some(buckets) = &self.buckets else { return 0 };
        let rank = ((self.count as f64 * percent / 100.0).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        for (index, count) in buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return last_of(index);
            }
        }
        last_of(BUCKETS - 1)
    }
}

/// The bucket of a duration: the leading bit chooses the power, the next bits the step.
fn bucket(ns: u64) -> usize {
    if ns < 1 << STEPS_LOG2 {
        return ns as usize;
    }
    let power = ns.ilog2() - STEPS_LOG2;
    let step = (ns >> power) - (1 << STEPS_LOG2);
    ((((power + 1) << STEPS_LOG2) as usize) + step as usize).min(BUCKETS - 1)
}

/// The longest duration in a bucket.
fn last_of(index: usize) -> u64 {
    let (power, step) = (index >> STEPS_LOG2, index as u64 & ((1 << STEPS_LOG2) - 1));
    if power == 0 {
        return step;
    }
    (((1 << STEPS_LOG2) + step + 1) << (power - 1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_every_duration_in_order() {
        let mut last = 0;
        for ns in (0..100_000).chain((17..36).map(|power| (1 << power) + 12_345)) {
            let index = bucket(ns);
            assert!(index >= last, "{ns} falls behind");
            assert!(last_of(index) >= ns, "{ns} is above its bucket's end {}", last_of(index));
            assert!(last_of(index) <= ns + ns / 8, "{ns} is far under its bucket's end {}", last_of(index));
            last = index;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let mut one = Histogram::new();
        let mut two = Histogram::new();
        for ns in 1..=500 {
            one.record(ns * 1000);
            two.record((ns + 500) * 1000);
        }
        one.merge(&two);
        assert_eq!(one.count(), 1000);
        for (percent, exact) in [(50.0, 500_000), (99.0, 990_000), (100.0, 1_000_000)] {
            let found = one.percentile(percent);
            assert!(found >= exact && found <= exact + exact / 8, "p{percent} is {found}, not about {exact}");
        }
        assert_eq!(Histogram::new().percentile(50.0), 0);
    }
}

//! Time, read once a turn.
#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clocks")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Since an arbitrary moment, never going back, ns.
    pub monotonic_ns: u64,
    /// Unix time, µs; may jump.
    pub unix_us: u64,
}

impl Time {
    /// Unix time, ms: the unit of expiry.
    pub const fn unix_ms(self) -> u64 {
        self.unix_us / 1000
    }
}

/// The system's clocks.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Clock { origin: Instant::now() }
    }
}

impl Clock {
    /// Reads both clocks (vDSO, no system call).
    pub fn read(&self) -> Time {
        Time {
            monotonic_ns: self.monotonic_ns(),
            unix_us: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64),
        }
    }

    /// The monotonic clock alone, ns.
    pub fn monotonic_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

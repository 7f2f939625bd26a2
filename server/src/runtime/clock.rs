//! Time, read once a turn.
#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clocks")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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

/// Time that passes only when it is told to: that of a simulated world.
#[derive(Debug, Default)]
pub struct VirtualTime {
    monotonic_ns: Arc<AtomicU64>,
    /// What the Unix clock is ahead of the monotonic one, µs.
    unix_offset_us: AtomicI64,
}

impl VirtualTime {
    /// The time of another machine: it passes together with this one, but its Unix clock is its own.
    #[must_use]
    pub fn beside(&self) -> VirtualTime {
        VirtualTime { monotonic_ns: Arc::clone(&self.monotonic_ns), unix_offset_us: AtomicI64::default() }
    }

    /// Moves the monotonic clock on; it never goes back.
    pub fn advance_to(&self, monotonic_ns: u64) {
        self.monotonic_ns.fetch_max(monotonic_ns, Ordering::Relaxed);
    }

    /// Makes the Unix clock jump.
    pub fn jump_unix(&self, by_us: i64) {
        self.unix_offset_us.fetch_add(by_us, Ordering::Relaxed);
    }

    /// Now, ns.
    pub fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::Relaxed)
    }

    fn unix_us(&self) -> u64 {
        (self.monotonic_ns() / 1000).saturating_add_signed(self.unix_offset_us.load(Ordering::Relaxed))
    }
}

#[derive(Clone, Debug)]
enum Source {
    System {
        origin: Instant,
    },
    /// The Unix clock began with the program.
    Anew {
        origin: Instant,
    },
    Virtual(Arc<VirtualTime>),
}

/// The system's clocks, or a simulated world's.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

impl Default for Clock {
    fn default() -> Self {
        Clock { source: Source::System { origin: Instant::now() } }
    }
}

impl Clock {
    /// The clocks of a simulated world.
    pub const fn simulated(time: Arc<VirtualTime>) -> Self {
        Clock { source: Source::Virtual(time) }
    }

    /// A Unix clock that begins at 0 now: whatever expires has yet to. For commands of another time that are done again.
    pub fn anew() -> Self {
        Clock { source: Source::Anew { origin: Instant::now() } }
    }

    /// Whether time stands still while code runs, so that nobody may wait for it in a loop.
    pub const fn is_virtual(&self) -> bool {
        matches!(self.source, Source::Virtual(_))
    }

    /// Reads both clocks (vDSO, no system call).
    pub fn read(&self) -> Time {
        let unix_us = match &self.source {
            Source::System { .. } => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
            }
            Source::Anew { origin } => origin.elapsed().as_micros() as u64,
            Source::Virtual(time) => time.unix_us(),
        };
        Time { monotonic_ns: self.monotonic_ns(), unix_us }
    }

    /// The monotonic clock alone, ns.
    pub fn monotonic_ns(&self) -> u64 {
        match &self.source {
            Source::System { origin } | Source::Anew { origin } => origin.elapsed().as_nanos() as u64,
            Source::Virtual(time) => time.monotonic_ns(),
        }
    }
}

//! What the comparisons with other crates share: what a measurement has cost this process.

use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

/// User and system time of all threads of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What one measurement took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Operations.
    pub operations: u64,
    /// On the clock.
    pub elapsed: Duration,
    /// On the cores.
    pub cpu: Duration,
}

/// A measurement that has begun.
#[derive(Debug)]
pub struct Began(Instant, Duration);

impl Began {
    /// Ends it.
    pub fn end(self, operations: u64) -> Cost {
        Cost { operations, elapsed: self.0.elapsed(), cpu: cpu_time().saturating_sub(self.1) }
    }
}

impl Cost {
    /// Begins a measurement.
    pub fn begin() -> Began {
        Began(Instant::now(), cpu_time())
    }

    /// Operations in a second.
    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds of a core for each operation.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }
}

/// Keeps this thread, and all that it starts, on this core.
pub fn stay_on(core: usize) -> std::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

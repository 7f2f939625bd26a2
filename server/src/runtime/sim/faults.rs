//! What goes wrong, how often, and the mistakes that are planted to see that they are found.

use std::collections::BTreeMap;

use super::super::rng::Rng;

/// A chance, in 1/10,000.
pub type Chance = u32;

/// How the world behaves. Chances are per operation.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Least and greatest time of a disk operation, ns.
    pub disk_ns: (u64, u64),
    /// Least and greatest time between two ends of a connection, ns.
    pub network_ns: (u64, u64),
    /// An operation takes [`Faults::spike_ns`] longer.
    pub spike: Chance,
    /// See [`Faults::spike`].
    pub spike_ns: u64,
    /// A log write fails, with any part of it done.
    pub write_error: Chance,
    /// A log write ends early.
    pub short_write: Chance,
    /// Another file operation fails.
    pub file_error: Chance,
    /// A read ends early or fails.
    pub read_error: Chance,
    /// Bytes between client and server are cut into pieces that arrive apart.
    pub fragment: Chance,
    /// A server's send fails and the connection with it.
    pub send_error: Chance,
    /// Mistakes made on purpose.
    pub planted: Planted,
}

impl Faults {
    /// The same world without faults, but for latency.
    #[must_use]
    pub fn healed(&self) -> Faults {
        Faults {
            disk_ns: self.disk_ns,
            network_ns: self.network_ns,
            planted: self.planted,
            ..Faults::default()
        }
    }
}

/// Mistakes that a server could make, made for it at its edge. None of them happens unless a test asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// A log write is said to have ended when it has only begun.
    pub acknowledge_early: bool,
    /// Syncs of files and directories are said to have been done.
    pub skip_sync: bool,
}

/// What the power cut does to what was not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashStyle {
    /// Nothing of it survives.
    Nothing,
    /// All of it survives: only the process died.
    Everything,
    /// Any sector and any directory's names may.
    Anything,
}

/// The only randomness of a world, and what it has made happen.
#[derive(Debug)]
pub(super) struct Luck {
    random: Rng,
    happened: BTreeMap<&'static str, u64>,
}

impl Luck {
    pub(super) fn new(seed: u64) -> Self {
        Luck { random: Rng::from_seed(seed), happened: BTreeMap::new() }
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    /// Whether a fault happens.
    pub(super) fn happens(&mut self, fault: &'static str, chance: Chance) -> bool {
        let happens = chance > 0 && self.random.below(10_000) < u64::from(chance);
        if happens {
            self.note(fault);
        }
        happens
    }

    /// A fault happens.
    pub(super) fn note(&mut self, fault: &'static str) {
        *self.happened.entry(fault).or_default() += 1;
    }

    pub(super) fn take_happened(&mut self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.happened)
    }
}

/// A duration in a range, with an occasional spike.
pub(super) fn latency(random: &mut Luck, (least, greatest): (u64, u64), faults: &Faults) -> u64 {
    let late = random.happens("late by a spike", faults.spike);
    let spike = if late { random.below(faults.spike_ns.max(1)) } else { 0 };
    least + random.below((greatest - least).max(1)) + spike
}

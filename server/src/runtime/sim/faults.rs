//! What goes wrong, how often, and the mistakes that are planted to see that they are found.

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

pub(super) fn happens(random: &mut Rng, chance: Chance) -> bool {
    chance > 0 && random.below(10_000) < u64::from(chance)
}

/// A duration in a range, with an occasional spike.
pub(super) fn latency(random: &mut Rng, (least, greatest): (u64, u64), faults: &Faults) -> u64 {
    let spike = if happens(random, faults.spike) { random.below(faults.spike_ns.max(1)) } else { 0 };
    least + random.below((greatest - least).max(1)) + spike
}

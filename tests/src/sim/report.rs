//! What came of runs.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// Counts of one run, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Runs.
    pub seeds: u64,
    /// Servers in them.
    pub servers: u64,
    /// Half turns of shards, actions of clients.
    pub steps: u64,
    /// Operations called.
    pub operations: u64,
    /// Replies.
    pub replies: u64,
    /// Replies that refuse for the state of the disk.
    pub refusals: u64,
    /// Power cuts while serving.
    pub crashes: u64,
    /// Power cuts, or failing disks, during a start.
    pub failed_starts: u64,
    /// Clean stops.
    pub stops: u64,
    /// Stops that gave up, for want of a working log.
    pub unclean_stops: u64,
    /// Successful starts.
    pub starts: u64,
    /// Those that began with a checkpoint.
    pub images: u64,
    /// Those with another number of shards.
    pub reshards: u64,
    /// Torn ends of logs that starts have cut off.
    pub torn_tails: u64,
    /// Damage that a start has refused.
    pub damage_refused: u64,
    /// Damage after which a start went on: behind the last proof, or in bytes that mean nothing.
    pub damage_undecidable: u64,
    /// Jumps of the Unix clock.
    pub jumps: u64,
    /// Stalls of a shard.
    pub stalls: u64,
    /// Lives with a full disk.
    pub full_disks: u64,
    /// Histories that the checker could not decide.
    pub undecided: u64,
    /// Faults of machines by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Rare branches of the server, those included that were never taken.
    pub branches: BTreeMap<&'static str, u64>,
}

fn add(sums: &mut BTreeMap<&'static str, u64>, counts: BTreeMap<&'static str, u64>) {
    for (name, count) in counts {
        *sums.entry(name).or_default() += count;
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.servers += other.servers;
        self.steps += other.steps;
        self.operations += other.operations;
        self.replies += other.replies;
        self.refusals += other.refusals;
        self.crashes += other.crashes;
        self.failed_starts += other.failed_starts;
        self.stops += other.stops;
        self.unclean_stops += other.unclean_stops;
        self.starts += other.starts;
        self.images += other.images;
        self.reshards += other.reshards;
        self.torn_tails += other.torn_tails;
        self.damage_refused += other.damage_refused;
        self.damage_undecidable += other.damage_undecidable;
        self.jumps += other.jumps;
        self.stalls += other.stalls;
        self.full_disks += other.full_disks;
        self.undecided += other.undecided;
        add(&mut self.faults, other.faults);
        add(&mut self.branches, other.branches);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            ("seeds", self.seeds),
            ("servers", self.servers),
            ("steps", self.steps),
            ("operations", self.operations),
            ("replies", self.replies),
            ("refusals (disk)", self.refusals),
            ("power cuts", self.crashes),
            ("failed starts", self.failed_starts),
            ("clean stops", self.stops),
            ("unclean stops", self.unclean_stops),
            ("starts", self.starts),
            ("from checkpoints", self.images),
            ("other shard counts", self.reshards),
            ("torn tails cut off", self.torn_tails),
            ("damage refused", self.damage_refused),
            ("damage undecidable", self.damage_undecidable),
            ("clock jumps", self.jumps),
            ("stalls", self.stalls),
            ("full disks", self.full_disks),
            ("undecided", self.undecided),
        ];
        lines.iter().try_for_each(|(name, count)| writeln!(f, "{name:<50} {count:>12}"))?;
        for (title, counts) in [("faults", &self.faults), ("rare branches", &self.branches)] {
            writeln!(f, "\n{title}")?;
            counts.iter().try_for_each(|(name, count)| writeln!(f, "  {name:<48} {count:>12}"))?;
        }
        Ok(())
    }
}

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Of everything that happened: the same for the same seed.
    pub trace_hash: u64,
    /// What happened how often.
    pub counts: Counts,
    /// What was wrong.
    pub failure: Option<String>,
    /// The trace, if it was asked for.
    pub trace: Vec<String>,
}

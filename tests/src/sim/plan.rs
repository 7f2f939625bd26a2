//! What a seed decides in advance. Each seed switches some commands, faults and habits off (swarm testing; Groce et al., 2012):
//! a run with everything at once finds less than many runs with something each.

use annulus::runtime::sim::{Faults, Planted};
use annulus_storage::Durability;

use super::client::Manners;
use super::server::Configuration;
use super::workload::Workload;
use crate::random::Random;

/// Mistakes that are made on purpose, to see that they are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A write is acknowledged when it has only begun.
    AcknowledgeEarly,
    /// New segments are not synced, nor is the directory.
    SkipSync,
    /// A message between shards is lost.
    LoseMessage,
    /// Two replies of a connection change places.
    SwapReplies,
    /// A read doesn't wait for the write that it shows.
    ForgetReadGate,
    /// Recovery takes frames whose checksum is wrong.
    SkipChecksum,
    /// Recovery applies a frame again after the one behind it.
    ReplayTwice,
    /// A key is there for ten milliseconds after its time.
    ExpireLate,
    /// A log calls its part of a transaction durable without waiting for the others.
    HalfCommit,
}

/// All of them.
pub const MISTAKES: [Mistake; 9] = [
    Mistake::AcknowledgeEarly,
    Mistake::SkipSync,
    Mistake::LoseMessage,
    Mistake::SwapReplies,
    Mistake::ForgetReadGate,
    Mistake::SkipChecksum,
    Mistake::ReplayTwice,
    Mistake::ExpireLate,
    Mistake::HalfCommit,
];

impl Mistake {
    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Mistake::AcknowledgeEarly => "acknowledge-early",
            Mistake::SkipSync => "skip-sync",
            Mistake::LoseMessage => "lose-message",
            Mistake::SwapReplies => "swap-replies",
            Mistake::ForgetReadGate => "forget-read-gate",
            Mistake::SkipChecksum => "skip-checksum",
            Mistake::ReplayTwice => "replay-twice",
            Mistake::ExpireLate => "expire-late",
            Mistake::HalfCommit => "half-commit",
        }
    }
}

/// A run, before it begins. Chances are one in so many, 0 for never.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first start; shards may change later.
    pub configuration: Configuration,
    /// What goes wrong while serving.
    pub faults: Faults,
    /// How clients behave.
    pub manners: Manners,
    /// Clients.
    pub clients: usize,
    /// Commands.
    pub workload: Workload,
    /// Lives of the server.
    pub lives: usize,
    /// Steps of a life at most.
    pub steps_max: usize,
    /// Lives that end with a clean stop.
    pub stops: usize,
    /// Restarts with another number of shards.
    pub reshards: usize,
    /// Starts that the power ends.
    pub cuts_in_start: usize,
    /// Crashes after which durable bytes are damaged.
    pub damages: usize,
    /// Steps with a jump of the Unix clock.
    pub jumps: usize,
    /// Steps at which a shard stalls.
    pub stalls: usize,
    /// Lives in which the disk is full.
    pub full_disks: usize,
    /// The mistake to make.
    pub mistake: Option<Mistake>,
}

fn chance(random: &mut Random, one_in: usize) -> usize {
    if random.one_in(2) { 0 } else { one_in }
}

fn rate(random: &mut Random, off: usize, greatest: u32) -> u32 {
    if random.one_in(off) { 1 + random.below(greatest as usize) as u32 } else { 0 }
}

impl Plan {
    /// What a seed stands for, for one server.
    pub fn of_seed(
        random: &mut Random,
        server: usize,
        shards: Option<u16>,
        mistake: Option<Mistake>,
        checkpoints: bool,
    ) -> Plan {
        // What a seed stands for otherwise is the same with checkpoints and without.
        let mut apart = random.clone();
        let some_shards = [1, 2, 2, 3, 4, 8][random.below(6)];
        let durability = match random.below(8) {
            0 => Durability::EverySec,
            1 => Durability::None,
            _ => Durability::Always,
        };
        let durability = if mistake.is_some() { Durability::Always } else { durability };
        let configuration = Configuration {
            shards: shards.unwrap_or(some_shards),
            databases: 2,
            durability,
            segment_bytes: [32 << 10, 64 << 10, 128 << 10][random.below(3)],
            checkpoint_growth: if checkpoints { [8 << 10, 40 << 10][apart.below(2)] } else { 0 },
            saves_at_stop: checkpoints && apart.one_in(3),
            retention_seconds: if checkpoints { [0, 0, 1, 20][apart.below(4)] } else { 0 },
            commit_depth: 1 + random.below(4) as u32,
            commit_fill_us: [0, 0, 50, 300, 5000][apart.below(5)],
            mesh_capacity: [1, 2, 8, 256][random.below(4)],
            loses_messages: if mistake == Some(Mistake::LoseMessage) { 50 } else { 0 },
        };
        let groups = 2 + random.below(4);
        // A crowd is nothing to a server of which no shard falls behind.
        let floods = random.one_in(4);
        let mut workload = Workload::new(random, groups, server);
        let damages = if mistake == Some(Mistake::SkipChecksum) { 1 } else { chance(random, 6) };
        // Where what was acknowledged may be lost, a transaction over several shards is lost in all of them, with what depends on it, and
        // what came after it on one of them may be there: such a group's history has no end that was cut off.
        workload.crosses &= durability == Durability::Always && damages == 0;
        Plan {
            faults: faults(random, mistake),
            manners: Manners {
                pipeline_max: [1, 2, 5][random.below(3)],
                outstanding_max: [1, 3, 8][random.below(3)],
                closes: chance(random, 40),
                half_closes: chance(random, 60),
                rests: chance(random, 20),
                floods: if floods { 30 } else { 0 },
                pause_ns: [20_000, 200_000, 2_000_000][random.below(3)],
            },
            clients: 2 + random.below(4),
            workload,
            configuration,
            lives: 2 + random.below(6),
            steps_max: [150, 500, 1500][random.below(3)],
            stops: chance(random, 4),
            reshards: if shards.is_some() { 0 } else { chance(random, 5) },
            cuts_in_start: chance(random, 5),
            damages,
            jumps: chance(random, 300),
            stalls: if floods { 40 } else { chance(random, 200) },
            full_disks: if random.one_in(4) { 3 } else { 0 },
            mistake,
        }
    }

    /// See [`History::skips`](super::history::History::skips).
    pub fn skips(&self) -> bool {
        let Faults { write_error, short_write, file_error, .. } = self.faults;
        self.workload.crosses || self.full_disks > 0 || [write_error, short_write, file_error] != [0; 3]
    }
}

fn faults(random: &mut Random, mistake: Option<Mistake>) -> Faults {
    let disk_ns = [(20_000, 60_000), (5_000, 2_000_000), (100_000, 10_000_000)][random.below(3)];
    Faults {
        disk_ns,
        network_ns: [(5_000, 20_000), (1_000, 500_000)][random.below(2)],
        spike: rate(random, 3, 200),
        spike_ns: 200_000_000,
        write_error: rate(random, 6, 100),
        short_write: rate(random, 8, 100),
        file_error: rate(random, 6, 200),
        read_error: rate(random, 8, 300),
        fragment: rate(random, 2, 5_000),
        send_error: rate(random, 5, 50),
        planted: Planted {
            acknowledge_early: mistake == Some(Mistake::AcknowledgeEarly),
            skip_sync: mistake == Some(Mistake::SkipSync),
        },
    }
}

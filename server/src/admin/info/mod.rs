//! The text of INFO: pure functions from a snapshot of facts and counters to Redis's sections and field names, with
//! our own fields beside them.

mod counters;
mod sections;
mod text;

pub use counters::{
    CheckpointCounters, ClientCounters, CommandCounters, DatabaseCounters, KeyspaceCounters, LogCounters,
    MemoryCounters, MeshCounters, NameSets, ScrubCounters, ShardCounters, TrackingCounters, TrafficCounters,
    TurnCounters,
};
pub use text::human_bytes;

use super::process::ProcessFacts;
use super::settings::Settings;

/// The Redis version whose behaviour clients may expect: some choose their commands by it.
pub const REDIS_VERSION: &str = "7.4.0";

/// Our own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is known of backups since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupState {
    /// One is under way.
    pub is_under_way: bool,
    /// When the last one was complete, Unix seconds; 0 if none was.
    pub last_seconds: u64,
    /// The last that has ended was not complete.
    pub last_failed: bool,
}

/// What the sections say about the server as a whole.
#[derive(Clone, Debug)]
pub struct ServerFacts<'a> {
    /// The settings in force.
    pub settings: &'a Settings,
    /// Memory and CPU time, see [`ProcessFacts::read`].
    pub process: ProcessFacts,
    /// 40 hexadecimal digits, drawn at the start.
    pub run_id: &'a str,
    /// The file the program was started from.
    pub executable: &'a str,
    /// The limit on keys and values, bytes; 0 is none.
    pub maxmemory: u64,
    /// What happens when it is reached.
    pub maxmemory_policy: &'a str,
    /// When everything was last in checkpoints, Unix seconds.
    pub last_save_seconds: u64,
    /// Whether any shard has a checkpoint to take, or is taking one.
    pub saving: bool,
    /// Backups of this server while it serves.
    pub backup: BackupState,
    /// Former numbers of shards whose logs are there.
    pub older_epochs: u32,
    /// The settings file; empty when there's none.
    pub config_file: &'a str,
    /// The driver that was chosen: `uring` or `epoll`.
    pub io_driver: &'a str,
    /// The kernel features that the driver uses, separated by commas.
    pub io_features: &'a str,
    /// Wall clock, in microseconds since 1970.
    pub now_us: u64,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Whether recovery is still under way.
    pub loading: bool,
    /// The connections that fit into the limit of open files, at most the setting `maxclients`.
    pub maxclients: u32,
    /// The most memory that INFO has reported; the report includes the present.
    pub used_memory_peak: u64,
    /// How many scripts the server knows, and bytes of their texts.
    pub scripts: (usize, usize),
    /// Libraries of functions, and functions in them.
    pub functions: (usize, usize),
    /// The counters of every shard, by its number.
    pub shards: &'a [ShardCounters],
}

impl ServerFacts<'_> {
    /// The bytes that INFO calls `used_memory`: what the shards account for.
    pub fn used_memory(&self) -> u64 {
        let memory = |shard: &ShardCounters| {
            let memory = &shard.memory;
            memory.dataset + memory.tables + memory.clients + memory.log + memory.mesh
        };
        self.shards.iter().map(memory).sum()
    }
}

/// A section of INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Modules,
    Shards,
    CommandStats,
    ErrorStats,
    LatencyStats,
    Cluster,
    Keyspace,
}

/// In the order in which they are printed.
const SECTIONS: &[(Section, &str)] = &[
    (Section::Server, "server"),
    (Section::Clients, "clients"),
    (Section::Memory, "memory"),
    (Section::Persistence, "persistence"),
    (Section::Stats, "stats"),
    (Section::Replication, "replication"),
    (Section::Cpu, "cpu"),
    (Section::Modules, "modules"),
    (Section::Shards, "shards"),
    (Section::CommandStats, "commandstats"),
    (Section::ErrorStats, "errorstats"),
    (Section::LatencyStats, "latencystats"),
    (Section::Cluster, "cluster"),
    (Section::Keyspace, "keyspace"),
];

impl Section {
    /// Whether a request for `name` includes this section, whose own name is `own`.
    fn is_in(self, own: &str, name: &[u8]) -> bool {
        let detail = matches!(self, Self::CommandStats | Self::LatencyStats | Self::Shards);
        if name.eq_ignore_ascii_case(b"default") {
            return !detail;
        }
        if name.eq_ignore_ascii_case(b"all") {
            return self != Self::Modules;
        }
        name.eq_ignore_ascii_case(b"everything") || name.eq_ignore_ascii_case(own.as_bytes())
    }
}

/// The reply to INFO with these arguments: the named sections, once each and in the fixed order. No name is `default`;
/// an unknown name adds nothing, as in Redis.
pub fn render(facts: &ServerFacts<'_>, names: &[&[u8]]) -> String {
    let mut total = ShardCounters::default();
    for shard in facts.shards {
        total.merge(shard);
    }
    let mut out = text::Text::default();
    for (section, own) in SECTIONS {
        let asked = names.is_empty() && section.is_in(own, b"default")
            || names.iter().any(|name| section.is_in(own, name));
        if asked {
            sections::section(&mut out, *section, facts, &total);
        }
    }
    out.finish()
}

#[cfg(test)]
mod tests;

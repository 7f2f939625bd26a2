//! The side-by-side suite: annulus, redis-server and the echo floor in one run. See `annulus_benches::suite`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use annulus_benches::suite::{self, Binaries, Plan, Scenario, Tool};
use clap::{Parser, ValueEnum};

/// Compares servers side by side and prints tables of medians in Markdown. Without a scenario, all of them run.
#[derive(Parser)]
struct Arguments {
    /// What to compare.
    #[arg(value_enum)]
    scenarios: Vec<Name>,
    /// The load generator; `ring` is this project's, the only one that keeps a server busy from one core.
    #[arg(long, value_enum, default_value_t = Generator::Ring)]
    load: Generator,
    /// How often every trial is run.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a run.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Keys of `memory-per-key`, `recovery` and `checkpoint`; elements of a case of `memory-per-element`.
    #[arg(long)]
    keys: Option<u64>,
    /// Cores of the servers.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    server_cores: Vec<usize>,
    /// Cores of the load.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    load_cores: Vec<usize>,
    /// Directory on the disk to measure; each server gets one of its own in it.
    #[arg(long, default_value = "target/bench-data")]
    data: PathBuf,
    /// The annulus binary; that beside this program, if not given.
    #[arg(long)]
    annulus: Option<PathBuf>,
    /// The redis-server binary; that on the search path, if not given.
    #[arg(long)]
    redis: Option<PathBuf>,
    /// The valkey-server binary; that on the search path, if not given.
    #[arg(long)]
    valkey: Option<PathBuf>,
}

/// The command line's names of [`Scenario`].
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// GET and SET without durability, against redis-server and the floor.
    Memory,
    /// SET with every write on disk before its reply.
    Durable,
    /// 10,000 idle connections beside 50 busy ones.
    IdleConnections,
    /// One shard, two shards, owner's port.
    Shards,
    /// Memory for each key, and the longest insert.
    MemoryPerKey,
    /// Memory for each element of collections, against redis-server.
    MemoryPerElement,
    /// Start after kill -9 with millions of records.
    Recovery,
    /// SET while checkpoints are taken, beside the fork of redis-server.
    Checkpoint,
    /// Commands on every data type, against redis-server.
    Types,
    /// EVAL of one call, against redis-server.
    Scripts,
    /// Commands over two shards against such on one, and all clients at a few keys.
    Transactions,
    /// CPU time of a server with nothing to do.
    IdleCpu,
}

/// The command line's names of [`Tool`].
#[derive(Clone, Copy, ValueEnum)]
enum Generator {
    /// This project's.
    Ring,
    /// memtier_benchmark.
    Memtier,
    /// redis-benchmark.
    RedisBenchmark,
}

fn scenario(name: Name) -> Scenario {
    match name {
        Name::Memory => Scenario::Memory,
        Name::Durable => Scenario::Durable,
        Name::IdleConnections => Scenario::IdleConnections,
        Name::Shards => Scenario::Shards,
        Name::MemoryPerKey => Scenario::MemoryPerKey,
        Name::MemoryPerElement => Scenario::MemoryPerElement,
        Name::Recovery => Scenario::Recovery,
        Name::Checkpoint => Scenario::Checkpoint,
        Name::Types => Scenario::Types,
        Name::Scripts => Scenario::Scripts,
        Name::Transactions => Scenario::Transactions,
        Name::IdleCpu => Scenario::IdleCpu,
    }
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let found = Binaries::find()?;
    let plan = Plan {
        binaries: Binaries {
            annulus: arguments.annulus.or(found.annulus),
            redis: arguments.redis.or(found.redis),
            valkey: arguments.valkey.or(found.valkey),
            echo: found.echo,
        },
        tool: match arguments.load {
            Generator::Ring => Tool::Ring,
            Generator::Memtier => Tool::Memtier,
            Generator::RedisBenchmark => Tool::RedisBenchmark,
        },
        data: std::path::absolute(arguments.data)?,
        server_cores: arguments.server_cores,
        load_cores: arguments.load_cores,
        rounds: arguments.rounds,
        duration: Duration::from_secs(arguments.seconds),
        keys: arguments.keys,
    };
    std::fs::create_dir_all(&plan.data)?;
    println!(
        "Load: {}, core {:?}; servers: core {:?}; {} rounds of {} s, medians.",
        plan.tool.name(),
        plan.load_cores,
        plan.server_cores,
        plan.rounds,
        plan.duration.as_secs()
    );
    let scenarios =
        if arguments.scenarios.is_empty() { Name::value_variants() } else { &arguments.scenarios };
    for &name in scenarios {
        suite::run(&plan, scenario(name))?;
    }
    Ok(())
}

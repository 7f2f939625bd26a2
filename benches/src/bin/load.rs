//! Closed-loop RESP load over io_uring, cheaper per command than a server. See `annulus_benches::load`.

use std::io;
use std::time::Duration;

use annulus_benches::load::{self, Command, LoadOptions};
use clap::{Parser, ValueEnum};

/// Makes load and prints one line: operations, seconds, microseconds at p50, p99, p99.9 and most, errors.
#[derive(Parser)]
struct Arguments {
    /// TCP ports on 127.0.0.1; connections take turns.
    #[arg(long, value_delimiter = ',', default_value = "6379")]
    ports: Vec<u16>,
    /// Core to run on; where the process may run, if not given.
    #[arg(long)]
    core: Option<usize>,
    /// Closed-loop connections.
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Commands in a pipeline.
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// The command.
    #[arg(long, value_enum, default_value_t = Name::Get)]
    command: Name,
    /// Any other command, as a line; each `#` in it becomes a drawn number.
    #[arg(long, conflicts_with = "command")]
    words: Option<String>,
    /// Keys are drawn from this many.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Size of the values that are set.
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// How long.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Seed of the keys drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The command line's names of [`Command`].
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// `GET key`
    Get,
    /// `SET key value`
    Set,
    /// `PING`
    Ping,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    if let Some(id) = arguments.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        return Err(io::Error::other(format!("cannot run on core {id}")));
    }
    let outcome = load::run(&LoadOptions {
        ports: arguments.ports,
        connections: arguments.connections,
        pipeline: arguments.pipeline,
        command: match (arguments.words, arguments.command) {
            (Some(line), _) => Command::new(&line),
            (None, Name::Get) => Command::get(),
            (None, Name::Set) => Command::set(arguments.value_bytes),
            (None, Name::Ping) => Command::ping(),
        },
        key_count: arguments.keys,
        duration: Duration::from_secs_f64(arguments.seconds),
        seed: arguments.seed,
    })?;
    let micros = |fraction: f64| outcome.latency.quantile(fraction) as f64 / 1000.0;
    println!(
        "operations={} seconds={:.3} p50_us={:.1} p99_us={:.1} p999_us={:.1} max_us={:.1} errors={}",
        outcome.operations,
        outcome.elapsed.as_secs_f64(),
        micros(0.5),
        micros(0.99),
        micros(0.999),
        outcome.latency.max() as f64 / 1000.0,
        outcome.errors
    );
    Ok(())
}

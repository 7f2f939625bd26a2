//! What a checkpoint costs those who are served meanwhile, and in memory: beside the fork of a peer.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::super::client::Client;
use super::super::load::{Load, Tool};
use super::super::process::Server;
use super::super::report::{Table, median, number};
use super::super::servers::{Durability, Kind};
use super::super::trial::{Plan, Sample};

/// Keys, unless the plan says otherwise.
const KEYS: u64 = 10_000_000;
const VALUE_BYTES: usize = 100;
const CONNECTIONS: usize = 50;
/// Commands in flight while the servers are filled.
const FILL_DEPTH: u64 = 500;
/// How often the server is asked how far its checkpoint is.
const LOOK: Duration = Duration::from_millis(50);

/// What was seen of the checkpoints during one load.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Taken, the one under way at the end included.
    begun: u32,
    /// The most memory that one took beside the data, bytes.
    memory: f64,
}

/// What came of a server.
#[derive(Debug, Default)]
struct Row {
    name: String,
    without: Vec<Sample>,
    during: Vec<Sample>,
    seen: Vec<Seen>,
}

pub(super) fn run(plan: &Plan) -> io::Result<()> {
    let keys = plan.keys.unwrap_or(KEYS);
    let servers = plan.start_all(&[Kind::annulus(Durability::Always), Kind::Redis(Durability::Always)])?;
    for (kind, server) in &servers {
        eprintln!("filling {} with {keys} keys", kind.name());
        Client::connect(server.port)?.fill(keys, VALUE_BYTES, FILL_DEPTH, |key| plan.tool.key(key))?;
    }
    let load = Load {
        tool: plan.tool,
        connections: CONNECTIONS,
        pipeline: 1,
        set: true,
        value_bytes: VALUE_BYTES,
        key_count: keys,
        command: None,
        cluster: false,
    };
    let mut rows: Vec<Row> =
        servers.iter().map(|(kind, _)| Row { name: kind.name(), ..Row::default() }).collect();
    for round in 0..plan.rounds {
        for ((_, server), row) in servers.iter().zip(&mut rows) {
            eprintln!("round {} of {}: {}", round + 1, plan.rounds, row.name);
            await_rest(server)?;
            row.without.push(plan.measure(server, &load, round as u64)?);
            let (sample, seen) = during_checkpoints(server, || plan.measure(server, &load, round as u64))?;
            row.during.push(sample);
            row.seen.push(seen);
        }
    }
    print(plan.tool, keys, &rows);
    Ok(())
}

/// Measures while checkpoints are taken one after the other.
fn during_checkpoints(
    server: &Server,
    measure: impl FnOnce() -> io::Result<Sample>,
) -> io::Result<(Sample, Seen)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(server.port, &over));
        let sample = measure();
        over.store(true, Ordering::Release);
        let seen = watcher.join().map_err(|_| io::Error::other("the watcher failed"))?;
        Ok((sample?, seen?))
    })
}

fn watch(port: u16, over: &AtomicBool) -> io::Result<Seen> {
    let mut client = Client::connect(port)?;
    let mut seen = Seen::default();
    while !over.load(Ordering::Acquire) {
        let text = client.command(&[b"INFO", b"persistence"])?.text;
        if field(&text, "rdb_bgsave_in_progress") == 0.0 {
            client.command(&[b"BGSAVE"])?;
            seen.begun += 1;
        }
        // Ours says what its buffers take; a peer that forks, what both processes had to copy.
        let memory = ["checkpoint_memory_bytes", "current_cow_peak", "rdb_last_cow_size"];
        let most = memory.iter().map(|name| field(&text, name)).fold(0.0, f64::max);
        seen.memory = seen.memory.max(most);
        thread::sleep(LOOK);
    }
    Ok(seen)
}

/// Waits until no checkpoint is under way.
pub(super) fn await_rest(server: &Server) -> io::Result<()> {
    let mut client = Client::connect(server.port)?;
    while field(&client.command(&[b"INFO", b"persistence"])?.text, "rdb_bgsave_in_progress") > 0.0 {
        thread::sleep(LOOK);
    }
    Ok(())
}

/// A number in INFO; 0 if there's no such field.
fn field(text: &str, name: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
}

fn print(tool: Tool, keys: u64, rows: &[Row]) {
    let mut table = Table::new(
        &format!("SET under checkpoints: {keys} keys, {VALUE_BYTES}-byte values, {}", tool.name()),
        &[
            "server",
            "ops/s without",
            "ops/s during",
            "during ÷ without",
            "p99.9 µs without",
            "p99.9 µs during",
            "p99.9 ÷",
            "memory MiB",
            "checkpoints",
        ],
    );
    for Row { name, without, during, seen } in rows {
        let of = |samples: &[Sample], value: fn(&Sample) -> f64| {
            median(&samples.iter().map(value).collect::<Vec<_>>())
        };
        let rates = [of(without, |it| it.throughput), of(during, |it| it.throughput)];
        let tails = [of(without, |it| it.p999_us), of(during, |it| it.p999_us)];
        let memory = seen.iter().map(|it| it.memory).fold(0.0, f64::max) / f64::from(1 << 20);
        let begun: u32 = seen.iter().map(|it| it.begun).sum();
        let mut cells = vec![name.clone()];
        cells.extend(
            [rates[0], rates[1], rates[1] / rates[0], tails[0], tails[1], tails[1] / tails[0]].map(number),
        );
        cells.extend([number(memory), begun.to_string()]);
        table.row(cells);
    }
    println!("{}", table.markdown());
}

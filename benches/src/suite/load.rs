//! One run of load against one server, with whichever generator was chosen.

use std::io::{self, Error};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::load::{self as ring_load, Command as RingCommand, LoadOptions};

/// A load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// This crate's own: cheap enough to keep a server busy from one core.
    Ring,
    /// memtier_benchmark.
    Memtier,
    /// redis-benchmark.
    RedisBenchmark,
}

impl Tool {
    /// What reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring load",
            Self::Memtier => "memtier_benchmark",
            Self::RedisBenchmark => "redis-benchmark",
        }
    }

    /// How it names key number `number`, where it draws keys from a fixed set.
    pub(super) fn key(self, number: u64) -> Vec<u8> {
        match self {
            Self::Ring | Self::RedisBenchmark => ring_load::key_name(number).to_vec(),
            Self::Memtier => format!("memtier-{}", number + 1).into_bytes(),
        }
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) tool: Tool,
    pub(super) connections: usize,
    pub(super) pipeline: usize,
    pub(super) set: bool,
    pub(super) value_bytes: usize,
    pub(super) key_count: u64,
    /// Another command than GET or SET, which only the ring load makes.
    pub(super) command: Option<RingCommand>,
    /// Follow CLUSTER SLOTS to the owner's port.
    pub(super) cluster: bool,
}

/// What a generator saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Seen {
    pub(super) operations: f64,
    pub(super) throughput: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// NaN where the generator doesn't say.
    pub(super) p999_us: f64,
}

/// Whether `program` is on the search path.
pub(super) fn find_program(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|path| path.join(program))
        .find(|path| path.is_file())
}

impl Load {
    /// Runs for about `duration` against `port`, on `cores`. This thread runs there already.
    pub(super) fn run(&self, port: u16, cores: &str, duration: Duration, seed: u64) -> io::Result<Seen> {
        match self.tool {
            Tool::Ring => self.run_ring(port, duration, seed),
            Tool::Memtier => self.run_memtier(port, cores, duration),
            Tool::RedisBenchmark => self.run_redis_benchmark(port, cores, duration),
        }
    }

    fn run_ring(&self, port: u16, duration: Duration, seed: u64) -> io::Result<Seen> {
        let outcome = ring_load::run(&LoadOptions {
            ports: vec![port],
            connections: self.connections,
            pipeline: self.pipeline,
            command: match &self.command {
                Some(command) => command.clone(),
                None if self.set => RingCommand::set(self.value_bytes),
                None => RingCommand::get(),
            },
            key_count: self.key_count,
            duration,
            seed,
        })?;
        if outcome.errors > 0 {
            return Err(Error::other(format!(
                "{} of {} replies are errors",
                outcome.errors, outcome.operations
            )));
        }
        Ok(Seen {
            operations: outcome.operations as f64,
            throughput: outcome.operations as f64 / outcome.elapsed.as_secs_f64(),
            p50_us: outcome.latency.quantile(0.5) as f64 / 1000.0,
            p99_us: outcome.latency.quantile(0.99) as f64 / 1000.0,
            p999_us: outcome.latency.quantile(0.999) as f64 / 1000.0,
        })
    }

    fn run_memtier(&self, port: u16, cores: &str, duration: Duration) -> io::Result<Seen> {
        let mut command = Command::new("taskset");
        command.args(["-c", cores, "memtier_benchmark", "-s", "127.0.0.1", "-t", "1"]);
        command.args(["--hide-histogram", "--distinct-client-seed", "--key-minimum=1"]);
        command.arg(format!("--port={port}"));
        command.arg(format!("--clients={}", self.connections));
        command.arg(format!("--pipeline={}", self.pipeline));
        command.arg(if self.set { "--ratio=1:0" } else { "--ratio=0:1" });
        command.arg(format!("--data-size={}", self.value_bytes));
        command.arg(format!("--key-maximum={}", self.key_count));
        command.arg(format!("--test-time={}", duration.as_secs().max(1)));
        if self.cluster {
            command.arg("--cluster-mode");
        }
        let (output, progress) = capture(&mut command)?;
        parse_memtier(&output, &progress)
            .ok_or_else(|| Error::other(format!("memtier said:\n{output}{progress}")))
    }

    fn run_redis_benchmark(&self, port: u16, cores: &str, duration: Duration) -> io::Result<Seen> {
        // It counts requests, not seconds: a short run says how many fill the time.
        let probe = self.redis_benchmark(port, cores, 20_000 * self.pipeline as u64)?;
        let count = (probe.throughput * duration.as_secs_f64()) as u64;
        self.redis_benchmark(port, cores, count.max(1))
    }

    fn redis_benchmark(&self, port: u16, cores: &str, count: u64) -> io::Result<Seen> {
        let mut command = Command::new("taskset");
        command.args(["-c", cores, "redis-benchmark", "--csv"]);
        let count_text = count.to_string();
        for (option, value) in [
            ("-p", port.to_string()),
            ("-c", self.connections.to_string()),
            ("-P", self.pipeline.to_string()),
            ("-n", count_text),
            ("-r", self.key_count.to_string()),
            ("-d", self.value_bytes.to_string()),
            ("-t", if self.set { "set" } else { "get" }.to_owned()),
        ] {
            command.args([option, &value]);
        }
        let (output, errors) = capture(&mut command)?;
        parse_redis_benchmark(&output, count)
            .ok_or_else(|| Error::other(format!("redis-benchmark said:\n{output}{errors}")))
    }
}

/// Runs a command to its end; its standard and error output.
fn capture(command: &mut Command) -> io::Result<(String, String)> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(Error::other(format!("{command:?}: {}\n{}", output.status, text(&output.stderr))));
    }
    Ok((text(&output.stdout), text(&output.stderr)))
}

/// The last `Totals` line gives rate and percentiles (its columns differ between modes at the front, not at the
/// end), the progress on the error output the exact number of operations.
fn parse_memtier(output: &str, progress: &str) -> Option<Seen> {
    let totals = output.lines().rfind(|line| line.starts_with("Totals"))?;
    let columns: Vec<f64> =
        totals.split_whitespace().skip(1).map(|word| word.parse().unwrap_or(f64::NAN)).collect();
    let from_end = |index: usize| columns.len().checked_sub(index).map(|index| columns[index]);
    let operations = progress.split([' ', ':']).collect::<Vec<_>>();
    let operations = operations.windows(2).rfind(|pair| pair[1] == "ops,")?[0].parse().ok()?;
    Some(Seen {
        operations,
        throughput: *columns.first()?,
        p50_us: from_end(4)? * 1000.0,
        p99_us: from_end(3)? * 1000.0,
        p999_us: from_end(2)? * 1000.0,
    })
}

/// One data line: `"SET","rps","avg","min","p50","p95","p99","max"`, latencies in milliseconds.
fn parse_redis_benchmark(output: &str, count: u64) -> Option<Seen> {
    let line = output.lines().rfind(|line| line.starts_with('"'))?;
    let columns: Vec<&str> = line.split(',').map(|word| word.trim_matches('"')).collect();
    let number = |index: usize| columns.get(index)?.parse::<f64>().ok();
    Some(Seen {
        operations: count as f64,
        throughput: number(1)?,
        p50_us: number(4)? * 1000.0,
        p99_us: number(6)? * 1000.0,
        p999_us: f64::NAN,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memtier_totals_are_read_in_both_modes() {
        let progress = "\r[RUN #1 50%,   1 secs]  1 threads 50 conns:      126559 ops,  126491 (avg:  126491) ops/sec\
                        \r[RUN #1 100%,   2 secs]  0 threads 50 conns:      253064 ops,  126455 (avg:  126377) ops/sec\n";
        let plain = "Gets  1.0 0.00 1.0 0.39 0.38 0.61 1.40 47.0\nTotals  126376.81 0.00 126376.81 0.39 0.38 0.61 1.40 47.0\n";
        let cluster = "Totals  126376.81 0.00 1.0 0.00 0.00 0.39 0.38 0.61 1.40 47.0\n";
        for output in [plain, cluster] {
            let seen = parse_memtier(output, progress).unwrap();
            assert_eq!((seen.operations, seen.throughput), (253_064.0, 126_376.81));
            assert_eq!((seen.p50_us, seen.p99_us), (380.0, 610.0));
        }
        assert_eq!(parse_memtier("connection refused", ""), None);
    }

    #[test]
    fn redis_benchmark_line_is_read() {
        let output = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                      \"p99_latency_ms\",\"max_latency_ms\"\n\"SET\",\"45000.5\",\"0.3\",\"0.1\",\"0.29\",\"0.4\",\"0.55\",\"2.0\"\n";
        let seen = parse_redis_benchmark(output, 7).unwrap();
        assert_eq!(
            (seen.operations, seen.throughput, seen.p50_us.round(), seen.p99_us),
            (7.0, 45_000.5, 290.0, 550.0)
        );
        assert_eq!(parse_redis_benchmark("", 7), None);
    }
}

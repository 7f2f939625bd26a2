//! Trials: loads against servers, taking turns, and the table of their medians.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

use super::instructions::{self, Counter};
use super::load::{Load, Tool};
use super::process::Server;
use super::report::{Table, median, number};
use super::servers::{Binaries, Kind};

/// How to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The servers' programs.
    pub binaries: Binaries,
    /// The load generator.
    pub tool: Tool,
    /// Where servers keep their data: a real disk, for the durable scenarios.
    pub data: PathBuf,
    /// Cores of the servers, and of the load.
    pub server_cores: Vec<usize>,
    /// Cores of the load.
    pub load_cores: Vec<usize>,
    /// How often every trial is run.
    pub rounds: usize,
    /// How long a run takes.
    pub duration: Duration,
    /// How many keys the scenarios `memory-per-key`, `recovery` and `checkpoint` write; none takes their defaults.
    pub keys: Option<u64>,
}

/// A list of cores as `taskset` takes it.
fn core_list(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

impl Plan {
    /// The same with servers and load on all cores of both.
    pub(super) fn sharing_all_cores(&self) -> Plan {
        let mut cores = [self.server_cores.clone(), self.load_cores.clone()].concat();
        cores.sort_unstable();
        cores.dedup();
        Plan { server_cores: cores.clone(), load_cores: cores, ..self.clone() }
    }

    /// The cores that servers run on.
    pub(super) fn server_core_list(&self) -> String {
        core_list(&self.server_cores)
    }

    /// Moves this thread, which makes ring load and starts other generators, to the load's cores.
    pub(super) fn move_to_load_cores(&self) -> io::Result<()> {
        let mut set = CpuSet::new();
        self.load_cores.iter().for_each(|&core| set.set(core));
        Ok(sched_setaffinity(None, &set)?)
    }

    /// Whether the server's program is there; says so when it is not.
    pub(super) fn has(&self, kind: Kind) -> bool {
        let found = kind.program(&self.binaries).is_some();
        if !found {
            println!("\n*{} was not found: left out.*", kind.name());
        }
        found
    }

    /// Starts a server on the servers' cores.
    pub(super) fn start(&self, kind: Kind) -> io::Result<Server> {
        kind.start(&self.binaries, &self.server_core_list(), &self.data)
    }

    /// Starts those of the servers whose programs are there.
    pub(super) fn start_all(&self, kinds: &[Kind]) -> io::Result<Vec<(Kind, Server)>> {
        kinds.iter().filter(|&&kind| self.has(kind)).map(|&kind| Ok((kind, self.start(kind)?))).collect()
    }

    /// One run.
    pub(super) fn measure(&self, server: &Server, load: &Load, seed: u64) -> io::Result<Sample> {
        let counter = instructions::available().then(|| Counter::start(server.pid())).transpose()?;
        let before = server.usage()?;
        let seen = load.run(server.port, &core_list(&self.load_cores), self.duration, seed)?;
        let after = server.usage()?;
        let instructions = counter.map(Counter::finish).transpose()?.flatten();
        Ok(Sample {
            throughput: seen.throughput,
            cpu_us: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / seen.operations,
            disk_bytes: (after.written_bytes - before.written_bytes) as f64 / seen.operations,
            instructions: instructions.map_or(f64::NAN, |count| count as f64 / seen.operations),
            p50_us: seen.p50_us,
            p99_us: seen.p99_us,
            p999_us: seen.p999_us,
        })
    }
}

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) throughput: f64,
    /// Server CPU time per operation.
    pub(super) cpu_us: f64,
    /// Bytes written to disk per operation.
    pub(super) disk_bytes: f64,
    /// Server instructions per operation, in user mode; NaN where the machine does not count them.
    pub(super) instructions: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
}

/// A load against a server under two names: the row's case, and who is compared in it.
pub(super) struct Trial<'a> {
    pub(super) case: String,
    pub(super) contender: String,
    pub(super) server: &'a Server,
    pub(super) load: Load,
}

/// Runs all trials, round by round.
pub(super) fn run_rounds(plan: &Plan, trials: &[Trial]) -> io::Result<Outcomes> {
    let mut samples = vec![Vec::new(); trials.len()];
    for round in 0..plan.rounds {
        for (trial, samples) in trials.iter().zip(&mut samples) {
            eprintln!("round {} of {}: {}, {}", round + 1, plan.rounds, trial.case, trial.contender);
            samples.push(plan.measure(trial.server, &trial.load, round as u64)?);
        }
    }
    let names = trials.iter().map(|trial| (trial.case.clone(), trial.contender.clone()));
    Ok(Outcomes {
        rows: names.zip(samples).map(|((case, contender), samples)| (case, contender, samples)).collect(),
    })
}

/// Samples by case and contender.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) rows: Vec<(String, String, Vec<Sample>)>,
}

impl Outcomes {
    fn median(&self, case: &str, contender: &str, value: fn(&Sample) -> f64) -> f64 {
        let row = self.rows.iter().find(|row| row.0 == case && row.1 == contender);
        row.map_or(f64::NAN, |row| median(&row.2.iter().map(value).collect::<Vec<_>>()))
    }

    /// Prints the medians, with CPU time and throughput relative to each of `baselines`.
    pub(super) fn print(&self, title: &str, baselines: &[&str]) {
        let mut table = Table::new(
            title,
            &[
                "case",
                "server",
                "ops/s",
                "CPU µs/op",
                "CPU µs/op, least",
                "p50 µs",
                "p99 µs",
                "p99.9 µs",
                "disk bytes/op",
            ],
        );
        let counted = self.rows.iter().any(|row| row.2.iter().any(|sample| sample.instructions.is_finite()));
        if counted {
            table.column("instructions/op".to_owned());
        }
        for baseline in baselines {
            table.column(format!("CPU ÷ {baseline}"));
            table.column(format!("ops/s ÷ {baseline}"));
        }
        for (case, contender, samples) in &self.rows {
            let own = |value| self.median(case, contender, value);
            let least = samples.iter().map(|sample| sample.cpu_us).fold(f64::INFINITY, f64::min);
            let mut cells = vec![case.clone(), contender.clone()];
            cells.extend(
                [
                    own(|s| s.throughput),
                    own(|s| s.cpu_us),
                    least,
                    own(|s| s.p50_us),
                    own(|s| s.p99_us),
                    own(|s| s.p999_us),
                    own(|s| s.disk_bytes),
                ]
                .map(number),
            );
            if counted {
                cells.push(number(own(|s| s.instructions)));
            }
            for baseline in baselines {
                cells.push(number(own(|s| s.cpu_us) / self.median(case, baseline, |s| s.cpu_us)));
                cells.push(number(own(|s| s.throughput) / self.median(case, baseline, |s| s.throughput)));
            }
            table.row(cells);
        }
        println!("{}", table.markdown());
    }
}

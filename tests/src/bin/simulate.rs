//! Runs the simulator: one seed, or as many as a number of seconds allows.

#![expect(clippy::disallowed_methods, reason = "how long the simulator itself runs is real time")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use annulus_tests::sim::commit::{Head, run_at};
use annulus_tests::sim::plan::{MISTAKES, Mistake};
use annulus_tests::sim::report::{Counts, Report};
use annulus_tests::sim::run::{Options, run};

const USAGE: &str = "usage: simulate (--seed N | --seconds S [--from SEED]) [--shards N] [--trace] [--mistake NAME] \
                     [--checkpoints] [--commit HASH]";

struct Arguments {
    options: Options,
    seconds: Option<u64>,
    commit: Option<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments { options: Options::default(), seconds: None, commit: None };
    let mut words = std::env::args().skip(1);
    let mut named = false;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("not a number: {text}"));
        match word.as_str() {
            "--seed" => (arguments.options.seed, named) = (number(value()?)?, true),
            "--from" => arguments.options.seed = number(value()?)?,
            "--seconds" => (arguments.seconds, named) = (Some(number(value()?)?), true),
            "--shards" => {
                let shards = number(value()?)?;
                let shards = u16::try_from(shards).ok().filter(|it| (1..=8).contains(it));
                arguments.options.shards = Some(shards.ok_or("--shards is 1 to 8")?);
            }
            "--commit" => arguments.commit = Some(value()?),
            "--trace" => arguments.options.trace = true,
            "--checkpoints" => arguments.options.checkpoints = true,
            "--mistake" => arguments.options.mistake = Some(mistake(&value()?)?),
            _ => return Err(format!("unknown: {word}")),
        }
    }
    if named { Ok(arguments) } else { Err("a seed or a number of seconds is needed".to_owned()) }
}

fn mistake(name: &str) -> Result<Mistake, String> {
    let known = MISTAKES.iter().find(|it| it.name() == name);
    let names: Vec<_> = MISTAKES.iter().map(|it| it.name()).collect();
    known.copied().ok_or_else(|| format!("--mistake is one of {}", names.join(", ")))
}

fn replay_command(options: Options) -> String {
    let shards = options.shards.map(|shards| format!(" --shards {shards}")).unwrap_or_default();
    let mistake = options.mistake.map(|it| format!(" --mistake {}", it.name())).unwrap_or_default();
    let checkpoints = if options.checkpoints { " --checkpoints" } else { "" };
    let (commit, dirty) = match Head::of_tree() {
        Some(head) if head.dirty => (
            format!(" --commit {}", head.hash),
            "\n(this tree has changes since that commit: leave --commit away in it)",
        ),
        Some(head) => (format!(" --commit {}", head.hash), ""),
        None => (String::new(), ""),
    };
    format!(
        "cargo run --release -p annulus-tests --bin simulate -- --seed {}{shards}{mistake}{checkpoints} --trace{commit}{dirty}",
        options.seed
    )
}

/// The same arguments without the commit, which the other commit's simulator may not know.
fn arguments_elsewhere() -> Vec<String> {
    let mut words = std::env::args().skip(1);
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        if word == "--commit" {
            words.next();
        } else {
            kept.push(word);
        }
    }
    kept
}

/// Runs the simulator of another commit. Nothing: it's this one.
fn elsewhere(commit: &str) -> Option<ExitCode> {
    let here = Head::of_tree().is_some_and(|head| head.hash == commit && !head.dirty);
    if here {
        return None;
    }
    Some(match run_at(commit, &arguments_elsewhere()) {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

fn show(options: Options, report: &Report) {
    for line in &report.trace {
        println!("{line}");
    }
    if report.counts.undecided > 0 {
        println!("seed {}: not decided", report.seed);
    }
    if let Some(failure) = &report.failure {
        println!("seed {} FAILED: {failure}\nreplay: {}", report.seed, replay_command(options));
    }
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(code) = arguments.commit.as_deref().and_then(elsewhere) {
        return code;
    }
    let mut options = arguments.options;
    let began = Instant::now();
    let mut counts = Counts::default();
    let mut failures = 0;
    loop {
        // Of many runs every other one has checkpoints.
        options.checkpoints |= arguments.seconds.is_some() && options.seed % 2 == 1;
        // A build that aborts on a panic says which seed it was.
        std::panic::set_hook(Box::new(move |panic| {
            eprintln!("{panic}\nreplay: {}", replay_command(options));
        }));
        let report = run(options);
        show(options, &report);
        failures += u32::from(report.failure.is_some());
        counts += report.counts;
        if arguments.seconds.is_none() {
            println!("trace {:016x}", report.trace_hash);
        }
        let more = arguments.seconds.is_some_and(|seconds| began.elapsed() < Duration::from_secs(seconds));
        if !more || failures >= 5 {
            break;
        }
        options = Options { seed: options.seed + 1, ..arguments.options };
    }
    let seconds = began.elapsed().as_secs_f64();
    let cycles = (counts.crashes + counts.stops + counts.failed_starts) as f64;
    println!("{:<50} {:>12.0}", "cycles a minute", cycles / seconds * 60.0);
    print!("{counts}");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

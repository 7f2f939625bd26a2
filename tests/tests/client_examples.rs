//! The client's examples as their users run them: against a server of each kind, and with a store of their own.

use std::{fs, path::Path, process::Command, time::Duration};

use annulus_tests::binaries::client_examples;
use annulus_tests::process::run;
use annulus_tests::server::{DRIVERS, Setup, scratch_dir, target_is_redis};

/// What an example may take: with a build that is not optimized, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Each with arguments of its own, and something that it says only if it has done what it is there for.
const EXAMPLES: &[(&str, &[&str], &str)] = &[
    ("event_log", &["--log", "test", "--event", "opened=door", "--event", "closed=door"], "closed: door"),
    ("live_settings", &["--limit", "77", "--reads", "1000"], "reads from memory"),
    ("rate_limiter", &["--calls", "2", "--attempts", "3", "--window", "60"], "call 3: too many"),
    ("session_store", &["--user", "grace"], "user=grace&cart=3"),
    ("work_queue", &["--jobs", "200", "--workers", "3"], "all 200 jobs were done"),
    ("write_through_cache", &["--readers", "3"], "the source was read 1 time(s)"),
];

/// Runs an example; returns whether it went well, and what it said.
fn example(name: &str, arguments: &[&str]) -> (bool, String) {
    let output = run(Command::new(client_examples().join(name)).args(arguments), b"", PATIENCE);
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn all_at(place: &str) {
    for (name, arguments, expected) in EXAMPLES {
        let (went_well, said) = example(name, &[arguments, &[place][..]].concat());
        assert!(went_well && said.contains(expected), "{name} {arguments:?} {place}:\n{said}");
    }
}

#[test]
fn examples_run_against_servers() {
    let mut setups = vec![Setup::redis()];
    if !target_is_redis() {
        setups.extend(DRIVERS.map(|driver| Setup::annulus().driver(driver).shards(2)));
    }
    for setup in setups {
        let server = setup.unixsocket().start();
        all_at(&super::url(&server));
        all_at(&format!("unix://{}", server.unix_path().display()));
    }
}

#[test]
fn examples_run_with_a_store_of_their_own() {
    let dir = scratch_dir();
    let place = format!("embedded:{}", dir.path().join("data").display());
    all_at(&place);
    // Once more: what they have left behind does not disturb them.
    all_at(&place);
}

#[test]
fn an_event_log_goes_on_where_its_reader_was() {
    let dir = scratch_dir();
    let place = format!("embedded:{}", dir.path().join("data").display());
    let first = example("event_log", &["--event", "a=one", "--event", "a=two", &place]);
    assert!(first.0 && first.1.contains("a: one") && first.1.contains("forgot 1 events"), "{}", first.1);
    let second = example("event_log", &["--event", "a=three", &place]);
    assert!(second.0 && !second.1.contains("a: two") && second.1.contains("a: three"), "{}", second.1);
}

#[test]
fn examples_say_how_they_are_used_and_what_to_do() {
    let unused = format!("redis://127.0.0.1:{}", annulus_tests::server::free_port());
    let dir = scratch_dir();
    let file = dir.path().join("file");
    fs::write(&file, "no directory").unwrap();
    for (name, ..) in EXAMPLES {
        let (went_well, help) = example(name, &["--help"]);
        assert!(
            went_well && help.contains("Usage:") && help.contains("embedded:DIRECTORY"),
            "{name}:\n{help}"
        );
        for (arguments, expected) in [
            (&["--no-such-option"][..], "--no-such-option"),
            (&[&unused[..]], "annulus serve"),
            (&["nowhere"], "URL"),
            (&["embedded:"], "embedded:./data"),
            (&[&format!("embedded:{}", file.display())], "file"),
        ] {
            let (went_well, said) = example(name, arguments);
            assert!(!went_well && said.contains(expected), "{name} {arguments:?}:\n{said}");
            assert!(!said.contains("panicked"), "{name} {arguments:?}:\n{said}");
        }
    }
}

#[test]
fn every_example_is_run_here() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/examples");
    let mut programs: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    programs.sort();
    assert_eq!(programs, EXAMPLES.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
}

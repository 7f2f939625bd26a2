//! The differential run: the same random commands to a real redis-server and to ours, replies compared exactly.
//!
//! [`generate`] makes commands: few keys, boundary numbers, wrong arities, unknown options, binary values. [`compare`] says
//! when two replies are the same, which is "byte for byte" except where the reply is unordered or shows the passing of time.
//! All randomness comes from one seed; a failure prints the one command that replays it.
//!
//! `ANNULUS_DIFF_SEED` replays a seed, `ANNULUS_DIFF_COMMANDS` sets the number of commands (20,000; a campaign runs a
//! million), `ANNULUS_DIFF_VERBOSE` prints each command.

mod compare;
mod ears;
mod generate;

use std::env;

use annulus_tests::{
    random::{Random, seed_from},
    resp::{Connection, Value, encode, escaped},
    server::{Server, Setup},
};
use ears::{Ear, ears};
use generate::{Arguments, Generator, Step};

/// Commands that travel together, so that pipelines are split over shards and merged again.
const PIPELINE_MAX: usize = 40;
/// Between two comparisons of everything that is stored.
const DUMP_EVERY: usize = 5_000;
/// Commands shown before one that failed.
const HISTORY: usize = 60;
/// Differences after which a run ends.
const DIFFERENCES_MAX: usize = 10;

/// One of the two servers.
struct Side {
    server: Server,
    connection: Connection,
}

impl Side {
    fn new(setup: &Setup, protocol: &str) -> Self {
        let server = setup.start();
        let mut connection = server.connect();
        assert!(!connection.command(&["HELLO", protocol]).is_error());
        Self { server, connection }
    }
}

struct Run {
    oracle: Side,
    ours: Side,
    protocol: &'static str,
    history: Vec<String>,
    done: usize,
    differences: Vec<String>,
    replay: String,
    /// Who is told what the commands do.
    ears: Vec<Ear>,
    /// What the ears do besides.
    random: Random,
}

impl Run {
    fn commands(&mut self, generator: &mut Generator, commands: usize) {
        let mut pipeline: Vec<Arguments> = Vec::new();
        let mut next_dump = DUMP_EVERY;
        while self.done < commands {
            match generator.step() {
                Step::Command(arguments) => pipeline.push(arguments),
                Step::FullScan(options) => {
                    self.exchange(&std::mem::take(&mut pipeline));
                    self.full_scan(&options);
                }
            }
            if pipeline.len() >= generator.pipeline_length(PIPELINE_MAX) {
                self.exchange(&std::mem::take(&mut pipeline));
            }
            if self.done >= next_dump {
                next_dump += DUMP_EVERY;
                self.compare_everything();
            }
        }
        self.exchange(&pipeline);
        self.compare_everything();
        assert!(self.differences.is_empty(), "{}\nreplay: {}", self.differences.join("\n"), self.replay);
    }

    fn exchange(&mut self, pipeline: &[Arguments]) {
        for ear in &mut self.ears {
            ear.prepare(&mut self.random);
        }
        let bytes: Vec<u8> = pipeline.iter().flat_map(|arguments| encode(arguments)).collect();
        for side in [&mut self.oracle, &mut self.ours] {
            side.connection.send(&bytes).expect("the server takes commands");
        }
        let mut any_misses = false;
        for arguments in pipeline {
            let shown = show(arguments);
            let expected = self.oracle.connection.read().unwrap_or_else(|error| {
                panic!("redis-server itself does not answer {shown}: {error}\nreplay: {}", self.replay)
            });
            self.remember(format!("{shown}  →  {}", clipped(&expected)));
            any_misses |= misses_otherwise(arguments, &expected);
            let got = match self.ours.connection.read() {
                Ok(got) => got,
                Err(error) => self.fail(&shown, &expected, &format!("no reply: {error}")),
            };
            if !compare::same(arguments, &expected, &got) {
                self.note(&shown, &expected, &got);
            }
        }
        for index in 0..self.ears.len() {
            if let Some(difference) = self.ears[index].difference(any_misses) {
                let said: Vec<String> = pipeline.iter().map(|arguments| show(arguments)).collect();
                self.differences.push(format!("after {said:#?}\n    {difference}"));
                self.maybe_give_up();
            }
        }
        self.reopen_protocol(pipeline);
    }

    fn maybe_give_up(&self) {
        let count = self.differences.len();
        assert!(count < DIFFERENCES_MAX, "{}\nreplay: {}", self.differences.join("\n"), self.replay);
    }

    /// RESET and HELLO may have changed the protocol; the run goes on in its own.
    fn reopen_protocol(&mut self, pipeline: &[Arguments]) {
        let changes = |arguments: &Arguments| {
            arguments[0].eq_ignore_ascii_case(b"reset") || arguments[0].eq_ignore_ascii_case(b"hello")
        };
        if pipeline.iter().any(changes) {
            for side in [&mut self.oracle, &mut self.ours] {
                assert!(!side.connection.command(&["HELLO", self.protocol]).is_error());
            }
        }
    }

    /// Iterates to the end on both sides; the orders and cursors differ, the keys must not.
    fn full_scan(&mut self, options: &[Vec<u8>]) {
        let shown = format!("(full) SCAN {}", show(options));
        self.remember(shown.clone());
        let expected = scan_all(&mut self.oracle.connection, options);
        let got = scan_all(&mut self.ours.connection, options);
        if expected != got {
            self.fail(&shown, &Value::Array(expected), &clipped(&Value::Array(got)));
        }
    }

    fn compare_everything(&mut self) {
        let shown = "everything that is stored";
        let expected = dump(&mut self.oracle.connection);
        let got = dump(&mut self.ours.connection);
        for (expected, got) in expected.iter().zip(&got) {
            if !compare::same_entry(expected, got) {
                self.fail(shown, expected, &clipped(got));
            }
        }
        assert_eq!(expected.len(), got.len(), "{shown} after {}", self.replay);
    }

    fn remember(&mut self, line: String) {
        self.done += 1;
        if env::var_os("ANNULUS_DIFF_VERBOSE").is_some() {
            eprintln!("{line}");
        }
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        self.history.push(line);
    }

    /// Goes on after a difference: the next ones may be others. Whether the data differs, the next dump shows.
    fn note(&mut self, shown: &str, expected: &Value, got: &Value) {
        self.differences.push(format!(
            "{shown}\n    redis: {}\n    ours:  {}",
            clipped(expected),
            clipped(got)
        ));
        if self.differences.len() == DIFFERENCES_MAX {
            self.fail(shown, expected, &clipped(got));
        }
    }

    fn fail(&self, shown: &str, expected: &Value, got: &str) -> ! {
        panic!(
            "after {} commands, RESP{}: {shown}\n  redis: {}\n  ours:  {got}\nbefore it:\n  {}\nours said: {}\nall differences:\n  {}\nreplay: {}",
            self.done,
            self.protocol,
            clipped(expected),
            self.history.join("\n  "),
            self.ours.server.log().lines().rev().take(5).collect::<Vec<_>>().join("\n"),
            self.differences.join("\n  "),
            self.replay
        );
    }
}

fn scan_all(connection: &mut Connection, options: &[Vec<u8>]) -> Vec<Value> {
    let mut keys = Vec::new();
    let mut cursor = b"0".to_vec();
    for _ in 0..100_000 {
        let mut arguments = vec![b"SCAN".to_vec(), cursor];
        arguments.extend_from_slice(options);
        let reply = connection.command(&arguments);
        if reply.is_error() {
            return vec![reply];
        }
        keys.extend_from_slice(reply.items()[1].items());
        cursor = reply.items()[0].bytes().expect("a cursor is a string").to_vec();
        if cursor == b"0" {
            keys.sort();
            keys.dedup();
            return keys;
        }
    }
    panic!("a scan of few keys that does not end: {}", show(options));
}

/// Every key of every database with its value, its time to live and its encoding, in order.
fn dump(connection: &mut Connection) -> Vec<Value> {
    let mut entries = Vec::new();
    for database in 0..16 {
        connection.line(&format!("SELECT {database}"));
        // Also makes redis forget what has expired, so that DBSIZE is exact.
        scan_all(connection, &[]);
        let mut keys = connection.line("KEYS *").items().to_vec();
        keys.sort();
        for key in keys {
            let name = key.bytes().expect("a key is a string").to_vec();
            let ask = |command: &[&[u8]]| command.iter().map(|part| part.to_vec()).collect::<Arguments>();
            let questions = [
                ask(&[b"GET", &name]),
                ask(&[b"PTTL", &name]),
                ask(&[b"OBJECT", b"ENCODING", &name]),
                ask(&[b"LRANGE", &name, b"0", b"-1"]),
                ask(&[b"HGETALL", &name]),
                ask(&[b"SMEMBERS", &name]),
                ask(&[b"ZRANGE", &name, b"0", b"-1", b"WITHSCORES"]),
            ];
            let mut entry = vec![Value::Integer(database), key];
            entry.extend(connection.pipeline(&questions).expect("the server answers"));
            entries.push(Value::Array(entry));
        }
        entries.push(connection.line("DBSIZE"));
    }
    connection.line("SELECT 0");
    entries
}

fn show<A: AsRef<[u8]>>(arguments: &[A]) -> String {
    let quoted = arguments.iter().map(|argument| {
        let argument = argument.as_ref();
        let plain = !argument.is_empty() && argument.iter().all(u8::is_ascii_graphic);
        let text = clip(&escaped(argument), 200);
        if plain { text } else { format!("\"{text}\"") }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn clipped(value: &Value) -> String {
    clip(&value.to_string(), 2_000)
}

fn clip(text: &str, length: usize) -> String {
    if text.len() <= length {
        text.to_owned()
    } else {
        format!("{}… ({} bytes)", &text[..length], text.len())
    }
}

/// Whether each server has its own way to look for keys: which it looks for before it finds one of a wrong type, or finds
/// something else wrong, and how often.
fn misses_otherwise(arguments: &Arguments, expected: &Value) -> bool {
    let is = |name: &str| arguments[0].eq_ignore_ascii_case(name.as_bytes());
    expected.is_error() && (expected.text().starts_with("WRONGTYPE") || is("xautoclaim"))
        || is("xread")
        || is("xreadgroup")
}

/// The oracle. With a policy that needs each key's own access time it does not share objects of small integers, whose access time
/// would be that of whichever key has them.
fn oracle() -> Setup {
    Setup::redis().arguments(&["--maxmemory", "16gb", "--maxmemory-policy", "allkeys-lru"])
}

fn differential(name: &str, ours: &Setup, protocol: &'static str, share: usize) {
    run(name, [&oracle(), ours], protocol, share, false);
}

/// The same with somebody who is told what happens.
fn overheard(name: &str, ours: &Setup, protocol: &'static str, share: usize) {
    let told = ["--notify-keyspace-events", "AKEmn"];
    let setups = [oracle().arguments(&told), ours.clone().arguments(&told)];
    run(name, [&setups[0], &setups[1]], protocol, share, true);
}

fn run(name: &str, [oracle, ours]: [&Setup; 2], protocol: &'static str, share: usize, heard: bool) {
    let seed = seed_from("ANNULUS_DIFF_SEED");
    let commands: usize =
        env::var("ANNULUS_DIFF_COMMANDS").map_or(20_000, |text| text.parse().expect("a number"));
    let replay = format!(
        "ANNULUS_DIFF_SEED={seed} ANNULUS_DIFF_COMMANDS={commands} cargo test -p annulus-tests --test system {name}"
    );
    eprintln!("{replay}");
    let mut run = Run {
        oracle: Side::new(oracle, protocol),
        ours: Side::new(ours, protocol),
        protocol,
        history: Vec::new(),
        done: 0,
        differences: Vec::new(),
        replay,
        ears: Vec::new(),
        random: Random::new(seed ^ 1),
    };
    if heard {
        run.ears = ears(&run.oracle.server, &run.ours.server);
    }
    let version = oracle_version(&mut run.oracle.connection);
    let mut generator = Generator::new(Random::new(seed), version);
    if heard {
        generator.keep_heard();
    }
    run.commands(&mut generator, commands / share);
}

/// The oracle's version as (major, minor): newer ones know more options.
fn oracle_version(connection: &mut Connection) -> (u32, u32) {
    let info = connection.line("INFO server").text();
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).expect("a version");
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[test]
fn random_commands_get_the_replies_of_redis_on_two_shards_resp2() {
    let setup = Setup::annulus().shards(2).driver("uring");
    differential("random_commands_get_the_replies_of_redis_on_two_shards_resp2", &setup, "2", 3);
}

#[test]
fn random_commands_get_the_replies_of_redis_on_two_shards_resp3() {
    let setup = Setup::annulus().shards(2).driver("uring").durability("always");
    differential("random_commands_get_the_replies_of_redis_on_two_shards_resp3", &setup, "3", 3);
}

#[test]
fn random_commands_get_the_replies_of_redis_on_one_shard() {
    let setup = Setup::annulus().shards(1).driver("epoll");
    differential("random_commands_get_the_replies_of_redis_on_one_shard", &setup, "2", 6);
}

#[test]
fn random_commands_get_the_replies_of_redis_on_three_shards() {
    let setup = Setup::annulus().shards(3).driver("epoll");
    differential("random_commands_get_the_replies_of_redis_on_three_shards", &setup, "3", 6);
}

#[test]
fn random_commands_are_told_of_as_by_redis_on_one_shard() {
    let setup = Setup::annulus().shards(1).driver("uring");
    overheard("random_commands_are_told_of_as_by_redis_on_one_shard", &setup, "3", 3);
}

#[test]
fn random_commands_are_told_of_as_by_redis_on_two_shards() {
    let setup = Setup::annulus().shards(2).driver("uring").durability("always");
    overheard("random_commands_are_told_of_as_by_redis_on_two_shards", &setup, "3", 6);
}

#[test]
fn random_commands_are_told_of_as_by_redis_on_three_shards() {
    let setup = Setup::annulus().shards(3).driver("epoll").durability("always");
    overheard("random_commands_are_told_of_as_by_redis_on_three_shards", &setup, "2", 6);
}

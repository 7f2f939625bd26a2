//! The offline tools of the real binary, on directories that the real server has left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use annulus_tests::{
    binaries,
    process::{run, without_our_settings},
    resp::{Connection, Value},
    server::{Server, Setup, target_is_redis},
};

pub(crate) fn tool(arguments: &[&str]) -> Output {
    let mut command = Command::new(binaries::annulus());
    without_our_settings(&mut command).args(arguments);
    run(&mut command, b"", Duration::from_mins(1))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
pub(crate) fn expect(arguments: &[&str], code: i32, says: &str) -> String {
    let output = tool(arguments);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(text.contains(says), "{arguments:?} should say {says:?}: {text}");
    text
}

fn setup() -> Setup {
    let off = ["--auto-aof-rewrite-percentage", "0"];
    Setup::annulus().durability("always").segment_size("1mb").shards(2).arguments(&off)
}

fn value(index: usize) -> String {
    format!("value-{index}-{}", "x".repeat(2000))
}

fn write(connection: &mut Connection, keys: std::ops::Range<usize>) {
    let sets: Vec<Vec<String>> =
        keys.map(|index| vec!["SET".into(), format!("key:{index}"), value(index)]).collect();
    assert!(connection.pipeline(&sets).unwrap().iter().all(|reply| *reply == Value::ok()));
}

/// How many of the keys are there; each that is has its value.
fn count(connection: &mut Connection, keys: std::ops::Range<usize>) -> usize {
    let mut found = 0;
    for index in keys {
        let reply = connection.line(&format!("GET key:{index}"));
        assert!(reply.is_null() || reply == Value::bulk(value(index)), "key:{index} is {reply:?}");
        found += usize::from(!reply.is_null());
    }
    found
}

/// A server with a checkpoint of each shard and some log after it, that was stopped.
fn filled() -> Server {
    let mut server = setup().start();
    let mut connection = server.connect();
    write(&mut connection, 0..3000);
    assert_eq!(connection.line("SAVE"), Value::ok());
    write(&mut connection, 3000..3500);
    assert_eq!(connection.line("RPUSH mylist a b c").number(), Some(3));
    assert!(server.stop().success());
    server
}

fn first_file(directory: &Path, prefix: &str) -> PathBuf {
    let mut stack = vec![directory.to_path_buf()];
    let mut found = Vec::new();
    while let Some(directory) = stack.pop() {
        for entry in fs::read_dir(directory).expect("it can be read") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                stack.push(path);
            } else if name.starts_with(prefix) {
                found.push(path);
            }
        }
    }
    found.sort();
    found.swap_remove(0)
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("it can be read");
    bytes[at] ^= 64;
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn check_dump_backup_and_restore_leave_the_directory_as_it_is_and_tell_what_is_there() {
    if target_is_redis() {
        return;
    }
    let mut server = filled();
    let data = server.data().to_path_buf();
    let dir = data.to_str().expect("a path of ours");
    let text = expect(&["check", dir], 0, "whole");
    assert!(text.contains("shard 1: checkpoint 1 of"), "{text}");
    let text = expect(&["dump", dir, "--match", "my*"], 0, "\"mylist\" list");
    assert!(text.contains("[\"a\", \"b\", \"c\"]"), "{text}");
    let text = expect(&["dump", dir, "--full"], 0, &value(17));
    assert_eq!(text.lines().count(), 3501);
    expect(&["dump", dir, "--log", "--match", "key:3400"], 0, "set 0 \"key:3400\"");

    let scratch = annulus_tests::server::scratch_dir();
    let place = |name: &str| scratch.path().join(name).to_str().expect("a path of ours").to_owned();
    let (backup, restored) = (place("backup"), place("restored"));
    expect(&["backup", dir, &backup], 0, "0 were there already");
    expect(&["backup", dir, &backup], 0, "0 files written");
    expect(&["restore", &backup, &restored], 0, "restored to");
    expect(&["restore", &backup, &restored], 2, "is there already");
    expect(&["check", &restored], 0, "whole");

    // A server that runs has its directory to itself.
    server.start_again();
    for arguments in [
        vec!["check", dir],
        vec!["dump", dir],
        vec!["repair", dir],
        vec!["backup", dir, &backup],
        vec!["restore", dir, &place("third")],
    ] {
        expect(&arguments, 2, "in use by process");
    }
    assert_eq!(count(&mut server.connect(), 0..3500), 3500);
    server.kill();
    let other = setup().dir(Path::new(&restored)).start();
    assert_eq!(count(&mut other.connect(), 0..3500), 3500);
    assert_eq!(other.connect().line("LRANGE mylist 0 -1").items().len(), 3);
}

/// The time as `annulus restore --to` takes it.
pub(crate) fn now() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%3NZ"]).output().expect("date runs");
    String::from_utf8_lossy(&date.stdout).trim().to_owned()
}

#[test]
fn a_time_is_restored_with_no_transaction_halved() {
    if target_is_redis() {
        return;
    }
    let mut server = setup().start();
    let mut connection = server.connect();
    // Both shards, in one transaction.
    let mut times = vec![];
    for round in 0..300 {
        if round % 50 == 25 {
            times.push((round, now()));
        }
        assert_eq!(connection.line(&format!("MSET a {round} b {round} c {round} d {round}")), Value::ok());
        connection.line("INCR alone");
    }
    connection.line("FLUSHALL");
    assert!(server.stop().success());
    let dir = server.data().to_str().expect("a path of ours").to_owned();
    let listed = expect(&["dump", &dir, "--log"], 0, "it is 20");
    let scratch = annulus_tests::server::scratch_dir();
    let place = |name: &str| scratch.path().join(name).to_str().expect("a path of ours").to_owned();
    let serve = |path: &str| setup().dir(Path::new(path)).start();
    for (index, (round, time)) in times.iter().enumerate() {
        let restored = place(&format!("at-{index}"));
        expect(&["restore", "--to", time, &dir, &restored], 0, "restored to");
        let again = serve(&restored);
        let mut connection = again.connect();
        let found = connection.line("MGET a b c d");
        let found: Vec<usize> = found.items().iter().map(|it| it.text().parse().expect("a number")).collect();
        assert!(found.iter().all(|value| *value == found[0]), "{found:?}");
        // It was told between two commands; the clocks are the same.
        assert!(found[0] + 1 == *round || found[0] == *round, "{found:?} at {round}");
    }
    // Within a transaction of a log: the others do without it too.
    let transactions: Vec<&str> = listed.lines().filter(|line| line.contains("transaction ")).collect();
    let middle = transactions[transactions.len() / 4];
    let lsn: u64 = middle.trim().split(' ').next().expect("a number").parse().expect("an LSN");
    let restored = place("cut");
    let limit = format!("0={}", lsn + 1);
    expect(&["restore", "--to", &limit, &dir, &restored], 0, "would be halved");
    let again = serve(&restored);
    let found = again.connect().line("MGET a b c d");
    assert!(found.items().iter().all(|value| *value == found.items()[0]), "{found}");
    expect(&["restore", "--to", "2001-01-01", &dir, &place("bad")], 2, "such as 2026");
    expect(&["restore", "--to", "7=1", &dir, &place("bad")], 2, "there's no shard 7");
}

#[test]
fn repair_saves_what_is_left_of_a_damaged_checkpoint_and_keeps_the_damaged_directory() {
    if target_is_redis() {
        return;
    }
    let mut server = filled();
    let data = server.data().to_path_buf();
    let dir = data.to_str().expect("a path of ours");
    expect(&["repair", dir], 0, "nothing to repair");
    let checkpoint = first_file(&data, "checkpoint-");
    flip(&checkpoint, 200_000);
    let text = expect(&["check", dir], 2, "a start is refused");
    assert!(text.contains(&*checkpoint.to_string_lossy()), "{text}");
    let text = expect(&["repair", dir], 1, "nothing was changed");
    assert!(text.contains("1 slices are lost"), "{text}");
    assert!(server.try_start_again_as(&setup()).is_err(), "not repaired yet");
    expect(&["repair", dir, "--yes"], 0, "is kept as");
    server.start_again_as(&setup());
    let found = count(&mut server.connect(), 0..3500);
    assert!((3200..3500).contains(&found), "{found} keys of 3500");
    assert_eq!(count(&mut server.connect(), 3000..3500), 500, "what the log has is whole");
    server.kill();
    let kept = format!("{dir}.damaged");
    expect(&["check", &kept], 2, "a start is refused");
    fs::remove_dir_all(kept).expect("it can be removed");
}

#[test]
fn repair_takes_a_damaged_log_up_to_the_damage() {
    if target_is_redis() {
        return;
    }
    let mut server = Setup::annulus().durability("always").segment_size("1mb").shards(1).start();
    write(&mut server.connect(), 0..3000);
    assert!(server.stop().success());
    let data = server.data().to_path_buf();
    let dir = data.to_str().expect("a path of ours");
    flip(&first_file(&data, "000000000002.log"), 300_000);
    expect(&["check", dir], 2, "000000000002.log is damaged at offset");
    expect(&["repair", dir, "--yes"], 0, "is kept as");
    server.start_again();
    let found = count(&mut server.connect(), 0..3000);
    assert!((300..3000).contains(&found), "{found}");
    assert_eq!(count(&mut server.connect(), 0..found), found, "a prefix of what was written");
    server.kill();
    fs::remove_dir_all(format!("{dir}.damaged")).expect("it can be removed");
}

#[test]
fn what_is_no_data_directory_is_refused_and_not_touched() {
    if target_is_redis() {
        return;
    }
    let scratch = annulus_tests::server::scratch_dir();
    fs::write(scratch.path().join("notes"), "mine").expect("it can be written");
    let dir = scratch.path().to_str().expect("a path of ours");
    for command in ["check", "dump", "repair"] {
        expect(&[command, dir], 2, "MANIFEST");
    }
    assert_eq!(fs::read_dir(scratch.path()).expect("it can be read").count(), 1);
    expect(&["check", "/nowhere/at/all"], 2, "MANIFEST");
    expect(&["check"], 2, "DIR");
}

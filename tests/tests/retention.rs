//! Log that is kept for going back in time: beyond checkpoints, over kills, until it is not wanted any more.

use std::path::{Path, PathBuf};

use annulus_tests::{
    process::wait_for,
    resp::{Connection, Value},
    server::{Setup, target_is_redis},
};

use crate::tools::{expect, now};

fn setup(retention: &str) -> Setup {
    let arguments = ["--auto-aof-rewrite-percentage", "0", "--log-retention", retention];
    Setup::annulus().durability("always").segment_size("1mb").shards(2).arguments(&arguments)
}

fn write(connection: &mut Connection, round: usize) {
    let value = format!("{round}-{}", "x".repeat(900));
    let sets: Vec<Vec<String>> =
        (0..4000).map(|index| vec!["SET".into(), format!("key:{index}"), value.clone()]).collect();
    assert!(connection.pipeline(&sets).unwrap().iter().all(|reply| *reply == Value::ok()));
}

fn verify(connection: &mut Connection, round: usize) {
    assert_eq!(connection.line("DBSIZE").number(), Some(4000));
    for index in 0..4000 {
        let text = connection.line(&format!("GET key:{index}")).text();
        assert!(text.starts_with(&format!("{round}-")) && text.len() > 900, "key:{index} is {text}");
    }
}

/// Takes a checkpoint of all shards, and waits until the log before it is retained.
fn save(connection: &mut Connection) {
    let before = info(connection, "log_retained_bytes");
    assert_eq!(connection.line("SAVE"), Value::ok());
    wait_for("more is retained", || info(connection, "log_retained_bytes") >= before + (2 << 20));
}

fn info(connection: &mut Connection, name: &str) -> u64 {
    let text = connection.line("INFO persistence").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{name}: {text}"))
}

fn retained_files(directory: &Path) -> usize {
    let entries =
        std::fs::read_dir(directory).expect("it can be read").map(|entry| entry.expect("an entry").path());
    let count = |path: std::path::PathBuf| match path.file_name().and_then(|name| name.to_str()) {
        _ if path.is_dir() => retained_files(&path),
        Some(name) => usize::from(name.starts_with("retained-")),
        None => 0,
    };
    entries.map(count).sum()
}

/// The files of a shard whose names begin so, in order.
fn shard_files(directory: &Path, shard: usize, prefix: &str) -> Vec<PathBuf> {
    let place = directory.join(format!("epoch-0001/shard-{shard:03}"));
    let entries =
        std::fs::read_dir(place).expect("it can be read").map(|entry| entry.expect("an entry").path());
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let mut files: Vec<PathBuf> = entries.filter(named).collect();
    files.sort();
    files
}

/// Changes some bytes in a file.
fn damage(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("it can be read");
    bytes[at..at + 8].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(path, bytes).expect("it can be written");
}

#[test]
fn a_server_starts_without_its_newest_checkpoint_on_what_is_kept() {
    if target_is_redis() {
        return;
    }
    let mut server = setup("1h").start();
    let mut connection = server.connect();
    for round in 1..=3 {
        write(&mut connection, round);
        save(&mut connection);
    }
    write(&mut connection, 4);
    drop(connection);
    server.kill();
    let dir = server.data().to_str().expect("a path of ours").to_owned();
    let newest = shard_files(server.data(), 1, "checkpoint-0").pop().expect("there is one");
    damage(&newest, 9000);
    expect(&["check", &dir], 1, "a start takes ");
    let scratch = annulus_tests::server::scratch_dir();
    let copy = scratch.path().join("copy").to_str().expect("a path of ours").to_owned();
    expect(&["backup", &dir, &copy], 2, "a checkpoint is damaged that a start does without");

    // A gap in what is kept refuses the start, and is named.
    let last = shard_files(server.data(), 1, "retained-0").pop().expect("there is one");
    let bytes = std::fs::read(&last).expect("it can be read");
    std::fs::remove_file(&last).expect("it can be removed");
    let name = last.to_str().expect("a path of ours");
    expect(&["check", &dir], 2, &format!("would do in its place, but {name} is missing"));
    std::fs::write(&last, bytes).expect("it is put back");

    server.start_again_as(&setup("1h"));
    let mut connection = server.connect();
    verify(&mut connection, 4);
    assert_eq!(info(&mut connection, "start_damaged_checkpoints"), 1);
    assert!(info(&mut connection, "start_retained_segments") > 0);
    // Another checkpoint follows at once, and nothing that is damaged is needed any more.
    wait_for("there is a checkpoint", || info(&mut connection, "rdb_saves") >= 1);
    wait_for("it is over", || info(&mut connection, "rdb_bgsave_in_progress") == 0);
    drop(connection);
    server.kill();
    assert!(!newest.exists() || shard_files(server.data(), 1, "checkpoint-0").last() != Some(&newest));
    server.start_again_as(&setup("1h"));
    let mut connection = server.connect();
    verify(&mut connection, 4);
    assert_eq!(info(&mut connection, "start_damaged_checkpoints"), 0);
}

#[test]
fn what_was_there_before_a_flushall_is_restored_from_behind_checkpoints() {
    if target_is_redis() {
        return;
    }
    let mut server = setup("1h").start();
    let mut connection = server.connect();
    write(&mut connection, 1);
    save(&mut connection);
    write(&mut connection, 2);
    save(&mut connection);
    write(&mut connection, 3);
    let before = now();
    // What is restored ends with the millisecond.
    wait_for("a later millisecond", || now() != before);
    assert_eq!(connection.line("FLUSHALL"), Value::ok());
    write(&mut connection, 4);
    assert_eq!(connection.line("FLUSHALL"), Value::ok());
    save(&mut connection);
    assert!(info(&mut connection, "log_retained_bytes") >= 8 << 20);
    server.kill();
    let dir = server.data().to_str().expect("a path of ours").to_owned();
    expect(&["check", &dir], 0, "retained: ");
    let scratch = annulus_tests::server::scratch_dir();
    let place = |name: &str| scratch.path().join(name).to_str().expect("a path of ours").to_owned();
    expect(&["restore", "--to", &before, &dir, &place("before")], 0, "restored to");
    verify(&mut setup("0").dir(Path::new(&place("before"))).start().connect(), 3);
    expect(&["dump", "--log", &dir], 0, "flush");

    // A start knows it again. Not wanted any more, it goes with the next checkpoint, and with it what can be gone back to.
    server.start_again_as(&setup("1h"));
    let mut connection = server.connect();
    assert_eq!(connection.line("DBSIZE").number(), Some(0));
    wait_for("it is looked at", || info(&mut connection, "log_retained_bytes") >= 8 << 20);
    assert!(info(&mut connection, "log_reaches_back_seconds") < 3600);
    assert_eq!(connection.line("CONFIG SET log-retention 0"), Value::ok());
    write(&mut connection, 5);
    assert_eq!(connection.line("SAVE"), Value::ok());
    wait_for("it is given up", || info(&mut connection, "log_retained_bytes") == 0);
    wait_for("it is removed", || retained_files(server.data()) == 0);
    server.kill();
    expect(&["restore", "--to", &before, &dir, &place("late")], 2, "reaches back to 20");
    expect(&["check", &dir], 0, "whole");
    server.start_again_as(&setup("1h"));
    verify(&mut server.connect(), 5);
}

#[test]
fn what_was_there_before_the_number_of_shards_was_changed_is_restored() {
    if target_is_redis() {
        return;
    }
    let mut server = setup("1h").start();
    let mut connection = server.connect();
    write(&mut connection, 1);
    let first = now();
    wait_for("a later millisecond", || now() != first);
    save(&mut connection);
    write(&mut connection, 2);
    let second = now();
    wait_for("a later millisecond", || now() != second);
    drop(connection);
    server.kill();
    server.start_again_as(&setup("1h").shards(3));
    let mut connection = server.connect();
    write(&mut connection, 3);
    assert_eq!(info(&mut connection, "log_older_epochs"), 1);
    assert_eq!(connection.line("SAVE"), Value::ok());
    let manifest = server.data().join("MANIFEST");
    let read = || std::fs::read_to_string(&manifest).expect("it can be read");
    wait_for("the former epoch is retained", || read().contains("\nretained 1 shards 2 until "));
    let third = now();
    wait_for("a later millisecond", || now() != third);
    write(&mut connection, 4);
    drop(connection);
    server.kill();
    let dir = server.data().to_str().expect("a path of ours").to_owned();
    expect(&["check", &dir], 0, "retained of epoch 1, with 2 shards");
    let scratch = annulus_tests::server::scratch_dir();
    let place = |name: &str| scratch.path().join(name).to_str().expect("a path of ours").to_owned();
    for (round, (time, shards)) in (1..).zip([(&first, 2), (&second, 2), (&third, 3)]) {
        let target = place(&format!("round-{round}"));
        expect(&["restore", "--to", time, &dir, &target], 0, "restored to");
        verify(&mut setup("0").shards(shards).dir(Path::new(&target)).start().connect(), round);
    }
    // A copy has nothing of it.
    let copy = place("copy");
    expect(&["backup", &dir, &copy], 0, "files written");
    assert!(!std::fs::read_to_string(format!("{copy}/MANIFEST")).expect("it is there").contains("retained"));
    verify(&mut setup("0").shards(3).dir(Path::new(&copy)).start().connect(), 4);

    // Not wanted any more, it goes with the next checkpoint.
    server.start_again_as(&setup("0").shards(3));
    let mut connection = server.connect();
    verify(&mut connection, 4);
    assert_eq!(connection.line("SAVE"), Value::ok());
    wait_for("it is given up", || !read().contains("retained"));
}

//! Log that is kept for going back in time: beyond checkpoints, over kills, until it is not wanted any more.

use std::path::Path;

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

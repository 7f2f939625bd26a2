//! Checkpoints of the real server: asked for, by growth of the log, at a stop; after each everything is there, and the log is short.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use annulus_tests::{
    process::wait_for,
    resp::{Connection, Value},
    server::{Setup, target_is_redis},
};

fn setup(shards: usize, arguments: &[&str]) -> Setup {
    Setup::annulus().durability("always").segment_size("1mb").shards(shards).arguments(arguments)
}

fn value(index: usize, round: usize) -> String {
    format!("{round}-{index}-{}", "x".repeat(400))
}

/// Writes keys; what was there under them is replaced.
fn write(connection: &mut Connection, keys: std::ops::Range<usize>, round: usize) {
    for index in keys.clone().step_by(50) {
        let sets: Vec<Vec<String>> = (index..keys.end.min(index + 50))
            .map(|index| vec!["SET".into(), format!("key:{index}"), value(index, round)])
            .collect();
        assert!(connection.pipeline(&sets).unwrap().iter().all(|reply| *reply == Value::ok()));
    }
}

fn verify(connection: &mut Connection, keys: std::ops::Range<usize>, round: usize) {
    for index in keys {
        assert_eq!(connection.line(&format!("GET key:{index}")), Value::bulk(value(index, round)), "{index}");
    }
}

fn info(connection: &mut Connection, name: &str) -> u64 {
    let text = connection.line("INFO persistence").text();
    let prefix = format!("{name}:");
    let line =
        text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("{name}: {text}"));
    line.trim().parse().unwrap_or_else(|_| panic!("{name}: {line}"))
}

fn await_rest(connection: &mut Connection) {
    wait_for("no checkpoint is under way", || info(connection, "rdb_bgsave_in_progress") == 0);
}

/// Files in the data directory whose names begin with this, with their lengths.
fn files(directory: &Path, prefix: &str) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("the directory can be read") {
        let entry = entry.expect("an entry can be read");
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            found.extend(files(&path, prefix));
        } else if name.to_string_lossy().starts_with(prefix) {
            found.push((path, entry.metadata().expect("it is there").len()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_checkpoint_that_is_asked_for_replaces_the_log() {
    if target_is_redis() {
        return;
    }
    for driver in ["uring", "epoll"] {
        let setup = setup(2, &["--auto-aof-rewrite-percentage", "0"]).driver(driver);
        let mut server = setup.start();
        let mut connection = server.connect();
        write(&mut connection, 0..6000, 1);
        assert!(info(&mut connection, "rdb_changes_since_last_save") >= 6000);
        assert_eq!(connection.line("BGSAVE").text(), "Background saving started");
        // Writes go on meanwhile.
        write(&mut connection, 0..3000, 2);
        await_rest(&mut connection);
        assert_eq!(info(&mut connection, "rdb_saves"), 2, "one of each shard");
        assert!(info(&mut connection, "aof_base_size") > 2_000_000);
        assert!(connection.line("LASTSAVE").number().unwrap() > 1_700_000_000);
        write(&mut connection, 5000..6000, 3);
        assert_eq!(connection.line("SAVE"), Value::ok());
        assert_eq!(info(&mut connection, "rdb_changes_since_last_save"), 0);
        write(&mut connection, 0..10, 4);
        server.kill();
        // Spares have other names.
        let first = files(server.data(), "000000000001.log");
        assert!(first.is_empty(), "the beginnings of the logs are gone: {first:?}");
        server.start_again();
        let mut connection = server.connect();
        assert!(info(&mut connection, "rdb_last_load_keys_loaded") >= 6000);
        verify(&mut connection, 0..10, 4);
        verify(&mut connection, 10..3000, 2);
        verify(&mut connection, 3000..5000, 1);
        verify(&mut connection, 5000..6000, 3);
    }
}

#[test]
fn the_log_does_not_grow_for_ever() {
    if target_is_redis() {
        return;
    }
    let setup = setup(2, &["--auto-aof-rewrite-min-size", "4mb"]);
    let mut server = setup.start();
    let mut connection = server.connect();
    for round in 1..=12 {
        write(&mut connection, 0..4000, round);
        if round % 4 == 0 {
            server.kill();
            server.start_again();
            connection = server.connect();
            verify(&mut connection, 0..4000, round);
        }
    }
    await_rest(&mut connection);
    let logs: u64 = files(server.data(), "0").iter().map(|(_, bytes)| bytes).sum();
    let written = 12 * 4000 * 400;
    assert!(logs < written * 2 / 3, "{logs} bytes of log after {written} bytes of values");
}

#[test]
fn a_stop_takes_a_checkpoint_where_save_points_are_set_or_shutdown_says_so() {
    if target_is_redis() {
        return;
    }
    // How the stop is asked for, whether there are save points, and whether a checkpoint comes of it.
    let cases = [
        ("SHUTDOWN SAVE", "", true),
        ("SHUTDOWN", "3600 1", true),
        ("SHUTDOWN NOSAVE", "3600 1", false),
        ("SHUTDOWN", "", false),
    ];
    for (command, save, saves) in cases {
        let mut server = setup(2, &["--save", save]).start();
        let mut connection = server.connect();
        assert_eq!(connection.line("CONFIG GET save").items()[1].text(), save);
        write(&mut connection, 0..500, 1);
        connection.send(&annulus_tests::resp::encode(&command.split(' ').collect::<Vec<_>>())).unwrap();
        let status = server.wait_end(std::time::Duration::from_secs(30));
        assert!(status.success(), "{command}: {status}: {}", server.log());
        assert_eq!(files(server.data(), "checkpoint-").len(), if saves { 2 } else { 0 }, "{command}");
        server.start_again();
        verify(&mut server.connect(), 0..500, 1);
    }
}

#[test]
fn a_save_point_takes_a_checkpoint_although_nothing_happens() {
    if target_is_redis() {
        return;
    }
    let server = setup(1, &["--save", "1 10"]).start();
    let mut connection = server.connect();
    write(&mut connection, 0..100, 1);
    wait_for("a checkpoint by time", || !files(server.data(), "checkpoint-").is_empty());
}

#[test]
fn other_numbers_of_shards_take_over_checkpoints_and_give_up_the_old_ones() {
    if target_is_redis() {
        return;
    }
    let mut server = setup(1, &[]).start();
    write(&mut server.connect(), 0..3000, 1);
    assert_eq!(server.connect().line("SAVE"), Value::ok());
    for (round, shards) in [(2, 3), (3, 2)] {
        write(&mut server.connect(), 0..500, round);
        server.kill();
        server.start_again_as(&setup(shards, &[]));
        let mut connection = server.connect();
        verify(&mut connection, 0..500, round);
        verify(&mut connection, 500..3000, 1);
        assert_eq!(connection.line("SAVE"), Value::ok());
        let manifest = server.data().join("MANIFEST");
        wait_for("older epochs are given up", || {
            let text = fs::read_to_string(&manifest).expect("the manifest can be read");
            text.lines().filter(|line| line.starts_with("epoch ")).count() == 1
        });
    }
    // Those files that are still there now go at the start.
    server.kill();
    server.start_again_as(&setup(2, &[]));
    verify(&mut server.connect(), 0..500, 3);
    let checkpoints = files(server.data(), "checkpoint-");
    assert!(
        checkpoints.iter().all(|(path, _)| path.to_string_lossy().contains("epoch-0003")),
        "{checkpoints:?}"
    );
}

/// Changes a bit of a file in place.
fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("it can be read");
    bytes[at] ^= 4;
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn a_damaged_checkpoint_is_done_without_where_the_log_allows_it_and_refused_otherwise() {
    if target_is_redis() {
        return;
    }
    // A log whose only segment has everything.
    let large = Setup::annulus().durability("always").segment_size("64mb").shards(1);
    let mut server = large.start();
    write(&mut server.connect(), 0..2000, 1);
    assert_eq!(server.connect().line("SAVE"), Value::ok());
    server.kill();
    let (path, _) = files(server.data(), "checkpoint-").remove(0);
    damage(&path, 100_000);
    server.start_again();
    verify(&mut server.connect(), 0..2000, 1);
    let log = server.log();
    assert!(log.contains(&*path.to_string_lossy()) && log.contains("damaged"), "{log}");

    let mut server = setup(1, &["--auto-aof-rewrite-percentage", "0"]).start();
    write(&mut server.connect(), 0..9000, 1);
    assert_eq!(server.connect().line("SAVE"), Value::ok());
    wait_for("segments are given up", || files(server.data(), "000000000001.log").is_empty());
    server.kill();
    let (path, _) = files(server.data(), "checkpoint-").remove(0);
    damage(&path, 100_000);
    let failed = server.try_start_again_as(&setup(1, &[])).map(drop).expect_err("it is damaged");
    let text = format!("{failed:?}");
    assert!(text.contains("checkpoint-000000000001") && text.contains("offset"), "{text}");
    damage(&path, 100_000);
    server.start_again_as(&setup(1, &[]));
    verify(&mut server.connect(), 0..9000, 1);
}

/// Changes a bit of a file that a server has open.
fn damage_in_use(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("it can be opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it can be read");
    file.write_all_at(&[byte[0] ^ 4], at).expect("it can be written");
}

fn await_scrub(connection: &mut Connection) {
    wait_for("no scrub is under way", || info(connection, "scrub_in_progress") == 0);
}

#[test]
fn damage_that_a_scrub_finds_is_repaired_from_memory() {
    if target_is_redis() {
        return;
    }
    for driver in ["uring", "epoll"] {
        let arguments = ["--auto-aof-rewrite-percentage", "0", "--scrub-bandwidth", "0"];
        let mut server = setup(2, &arguments).driver(driver).start();
        let mut connection = server.connect();
        assert!(connection.line("INFO persistence").text().contains("scrub_last_age_sec:-1"));
        write(&mut connection, 0..6000, 1);
        assert_eq!(connection.line("SAVE"), Value::ok());
        write(&mut connection, 0..9000, 2);
        assert_eq!(connection.line("BGSCRUB").text(), "Background scrub started");
        await_scrub(&mut connection);
        assert!(connection.line("INFO persistence").text().contains("scrub_last_status:ok"));
        assert_eq!(info(&mut connection, "scrub_faults"), 0);
        // The first two segments after the checkpoint, one of each shard, and a checkpoint.
        let mut segments = files(server.data(), "0");
        segments.dedup_by_key(|(path, _)| path.parent().map(Path::to_path_buf));
        let (checkpoint, _) = files(server.data(), "checkpoint-").remove(0);
        let damaged = [&segments[0].0, &segments[1].0, &checkpoint];
        for path in damaged {
            damage_in_use(path, 70_000);
        }
        assert_eq!(connection.line("BGSCRUB").text(), "Background scrub started");
        await_scrub(&mut connection);
        assert_eq!(info(&mut connection, "scrub_faults"), 3);
        assert!(connection.line("INFO persistence").text().contains("scrub_last_status:err"));
        let log = server.log();
        for path in damaged {
            let told = |line: &str| line.contains(&*path.to_string_lossy()) && line.contains("at offset");
            assert!(log.lines().any(told), "{}: {log}", path.display());
        }
        wait_for("checkpoints of both shards", || info(&mut connection, "rdb_saves") == 4);
        await_rest(&mut connection);
        wait_for("the damaged segments are given up", || !segments[0].0.exists() && !segments[1].0.exists());
        assert_eq!(connection.line("BGSCRUB").text(), "Background scrub started");
        await_scrub(&mut connection);
        // The older checkpoint is damaged still, and nothing needs it.
        write(&mut connection, 0..10, 3);
        server.kill();
        server.start_again();
        let mut connection = server.connect();
        verify(&mut connection, 0..10, 3);
        verify(&mut connection, 10..9000, 2);
    }
}

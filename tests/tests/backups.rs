//! Backups of servers that serve: under load, one upon the other, cut off.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use annulus_tests::{
    process::wait_for,
    resp::{Connection, Value},
    server::{Server, Setup, target_is_redis},
};

use crate::tools::expect;

const ACCOUNTS: u64 = 40;
const BALANCE: i64 = 1000;
const WRITERS: usize = 3;

fn setup(durability: &'static str) -> Setup {
    // Checkpoints come and go meanwhile.
    let arguments = ["--auto-aof-rewrite-min-size", "3mb"];
    Setup::annulus().durability(durability).segment_size("1mb").shards(3).arguments(&arguments)
}

/// Clients that transfer money between accounts of all shards, and such that count, until they are told to stop.
struct Load {
    stops: Arc<AtomicBool>,
    /// What each that counts has been told is written.
    acknowledged: Arc<[AtomicU64]>,
    transfers: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn begin(server: &Server) -> Load {
        let stops = Arc::new(AtomicBool::new(false));
        let acknowledged: Arc<[AtomicU64]> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
        let transfers = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for writer in 0..WRITERS {
            let (stops, acknowledged) = (Arc::clone(&stops), Arc::clone(&acknowledged));
            let mut connection = server.connect();
            threads.push(std::thread::spawn(move || {
                let filler = "x".repeat(700);
                for count in 1.. {
                    if stops.load(Ordering::Acquire) {
                        return;
                    }
                    let key = format!("filler:{writer}:{}", count % 500);
                    let sets = vec![
                        vec!["SET".into(), key, filler.clone()],
                        vec!["SET".into(), format!("count:{writer}"), count.to_string()],
                    ];
                    assert!(connection.pipeline(&sets).unwrap().iter().all(|reply| *reply == Value::ok()));
                    acknowledged[writer].store(count, Ordering::Release);
                }
            }));
        }
        for client in 0..2_u64 {
            let (stops, transfers) = (Arc::clone(&stops), Arc::clone(&transfers));
            let mut connection = server.connect();
            threads.push(std::thread::spawn(move || {
                for round in client * 7.. {
                    if stops.load(Ordering::Acquire) {
                        return;
                    }
                    transfer(&mut connection, round % ACCOUNTS, (round * 13 + 1) % ACCOUNTS, round % 9 + 1);
                    transfers.fetch_add(1, Ordering::AcqRel);
                }
            }));
        }
        Load { stops, acknowledged, transfers, threads }
    }

    fn acknowledged(&self) -> Vec<u64> {
        self.acknowledged.iter().map(|count| count.load(Ordering::Acquire)).collect()
    }

    /// Lets it go on for a while, by what it has done.
    fn await_more(&self) {
        let before = (self.acknowledged()[0], self.transfers.load(Ordering::Acquire));
        wait_for("the load gets on", || {
            self.acknowledged()[0] > before.0 + 600 && self.transfers.load(Ordering::Acquire) > before.1 + 100
        });
    }

    fn end(self) {
        self.stops.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().expect("the load ends well");
        }
    }
}

fn transfer(connection: &mut Connection, from: u64, to: u64, amount: u64) {
    let commands: Vec<Vec<String>> = [
        "MULTI".to_owned(),
        format!("DECRBY account:{from} {amount}"),
        format!("INCRBY account:{to} {amount}"),
        "EXEC".to_owned(),
    ]
    .iter()
    .map(|line| line.split(' ').map(str::to_owned).collect())
    .collect();
    let replies = connection.pipeline(&commands).unwrap();
    assert_eq!(replies[3].items().len(), 2, "{replies:?}");
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).expect("it is made");
    for entry in fs::read_dir(from).expect("it can be read") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::copy(&path, &target).expect("it is copied");
        }
    }
}

/// Starts a server on a copy of a backup: the money is all there, and what had been acknowledged.
fn verify(backup: &Path, scratch: &Path, acknowledged: &[u64]) -> Vec<u64> {
    let place = scratch.join("served");
    copy_tree(backup, &place);
    let server = setup("always").dir(&place).start();
    let mut connection = server.connect();
    let balances = (0..ACCOUNTS).map(|account| connection.line(&format!("GET account:{account}")).text());
    let sum: i64 = balances.map(|text| text.parse::<i64>().expect("a number")).sum();
    assert_eq!(sum, ACCOUNTS as i64 * BALANCE, "a transfer was halved");
    let mut counts = Vec::new();
    for (writer, least) in acknowledged.iter().enumerate() {
        let reply = connection.line(&format!("GET count:{writer}"));
        let count: u64 = if reply.is_null() { 0 } else { reply.text().parse().expect("a number") };
        assert!(count >= *least, "writer {writer} had been told of {least}, and {count} is there");
        counts.push(count);
    }
    drop(connection);
    drop(server);
    fs::remove_dir_all(place).expect("it can be removed");
    counts
}

fn fill(server: &Server) {
    let mut connection = server.connect();
    for account in 0..ACCOUNTS {
        assert_eq!(connection.line(&format!("SET account:{account} {BALANCE}")), Value::ok());
    }
}

#[test]
fn a_backup_of_a_server_under_load_is_a_state_with_everything_acknowledged_and_nothing_by_halves() {
    if target_is_redis() {
        return;
    }
    for durability in ["always", "everysec"] {
        let server = setup(durability).start();
        fill(&server);
        let load = Load::begin(&server);
        let scratch = annulus_tests::server::scratch_dir();
        let target: PathBuf = scratch.path().join("backup");
        let (dir, to) = (server.data().to_str().expect("a path"), target.to_str().expect("a path"));
        let from = format!("redis://127.0.0.1:{}", server.port());
        let mut before = vec![0; WRITERS];
        for round in 0..3 {
            load.await_more();
            let acknowledged = load.acknowledged();
            let text = expect(&["backup", dir, to, "--from", &from], 0, "files written");
            let check = expect(&["check", to], 0, "whole");
            assert!(check.contains("stopped cleanly") && !check.contains("had not reached"), "{check}");
            let counts = verify(&target, scratch.path(), &acknowledged);
            assert!(
                counts.iter().zip(&before).all(|(now, before)| now > before),
                "{round}: {counts:?} {text}"
            );
            before = counts;
        }
        expect(&["backup", dir, to], 2, "--from URL");
        load.end();
        // Nothing happens any more: but for the ends everything is there.
        let text = expect(&["backup", dir, to, "--from", &from], 0, "files written");
        let again = expect(&["backup", dir, to, "--from", &from], 0, "files written");
        assert!(!again.contains(" 0 were there already"), "{text}{again}");
        assert_eq!(
            fs::read_dir(scratch.path()).expect("it can be read").count(),
            1,
            "nothing is left beside it"
        );
    }
}

#[test]
fn a_backup_that_is_cut_off_leaves_the_one_before_and_the_next_one_goes_on() {
    if target_is_redis() {
        return;
    }
    let server = setup("always").start();
    fill(&server);
    let load = Load::begin(&server);
    let scratch = annulus_tests::server::scratch_dir();
    let target: PathBuf = scratch.path().join("backup");
    let (dir, to) =
        (server.data().to_str().expect("a path").to_owned(), target.to_str().expect("a path").to_owned());
    let from = format!("redis://127.0.0.1:{}", server.port());
    load.await_more();
    expect(&["backup", &dir, &to, "--from", &from], 0, "files written");
    let first = verify(&target, scratch.path(), &[0; WRITERS]);
    load.await_more();
    // So slow that it is found at work.
    let mut command = std::process::Command::new(annulus_tests::binaries::annulus());
    annulus_tests::process::without_our_settings(&mut command)
        .args(["backup", &dir, &to, "--from", &from, "--bandwidth", "200kb"])
        .stdout(std::process::Stdio::null());
    let mut slow = command.spawn().expect("it starts");
    let unfinished = scratch.path().join("backup.unfinished");
    wait_for("it has begun", || unfinished.join("epoch-0001").is_dir());
    slow.kill().expect("it can be killed");
    slow.wait().expect("it ends");
    assert_eq!(verify(&target, scratch.path(), &first), first, "the one before is as it was");
    let acknowledged = load.acknowledged();
    expect(&["backup", &dir, &to, "--from", &from], 0, "files written");
    verify(&target, scratch.path(), &acknowledged);
    assert!(!unfinished.exists());
    load.end();
    // Another server's directory is not copied.
    let other = setup("always").start();
    let wrong = format!("redis://127.0.0.1:{}", other.port());
    expect(&["backup", &dir, &to, "--from", &wrong], 2, "is not the data directory of that server");
}

/// The lines of a reply's rows as numbers.
fn numbers(reply: &Value) -> Vec<Vec<i64>> {
    let row = |row: &Value| row.items().iter().filter_map(Value::number).collect();
    reply.items().iter().map(row).collect()
}

#[test]
fn what_a_backup_needs_is_kept_until_its_end() {
    if target_is_redis() {
        return;
    }
    let server = Setup::annulus()
        .durability("always")
        .segment_size("1mb")
        .shards(2)
        .arguments(&["--auto-aof-rewrite-percentage", "0"])
        .start();
    let mut connection = server.connect();
    let write = |connection: &mut Connection| {
        let sets: Vec<Vec<String>> =
            (0..4000).map(|index| vec!["SET".into(), format!("key:{index}"), "x".repeat(900)]).collect();
        assert!(connection.pipeline(&sets).unwrap().iter().all(|reply| *reply == Value::ok()));
    };
    write(&mut connection);
    let begun = numbers(&connection.line("BACKUP BEGIN"));
    assert!(begun.len() == 2 && begun.iter().all(|row| row.last() == Some(&0)), "{begun:?}");
    let number = begun[0][0];
    assert!(connection.line("BACKUP BEGIN").text().contains("a backup is under way"));
    let cut = numbers(&connection.line(&format!("BACKUP CUT {number}")));
    assert!(cut.len() == 2 && cut.iter().all(|row| row[1] > 1000), "{cut:?}");
    let kept = || {
        let epoch = server.data().join("epoch-0001");
        (0..2).all(|shard| {
            let own = epoch.join(format!("shard-00{shard}"));
            own.join("000000000001.log").exists() || own.join("retained-000000000001.log").exists()
        })
    };
    for _ in 0..2 {
        write(&mut connection);
        assert_eq!(connection.line("SAVE"), Value::ok());
        assert_eq!(connection.line(&format!("BACKUP KEEP {number}")).items().len(), 2);
        assert!(kept());
    }
    assert_eq!(connection.line(&format!("BACKUP END {number}")), Value::ok());
    assert!(connection.line(&format!("BACKUP KEEP {number}")).text().contains("no such backup"));
    write(&mut connection);
    assert_eq!(connection.line("SAVE"), Value::ok());
    wait_for("it is given up", || !kept());
}

fn info(connection: &mut Connection, name: &str) -> String {
    let text = connection.line("INFO persistence").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name}: {text}")).trim().to_owned()
}

#[test]
fn what_former_numbers_of_shards_have_left_is_copied_once_and_info_tells_of_backups() {
    use std::os::unix::fs::MetadataExt;
    if target_is_redis() {
        return;
    }
    let setup = |shards| {
        let off = ["--auto-aof-rewrite-percentage", "0"];
        Setup::annulus().durability("always").segment_size("1mb").shards(shards).arguments(&off)
    };
    let mut server = setup(2).start();
    let sets: Vec<Vec<String>> =
        (0..4000).map(|index| vec!["SET".into(), format!("key:{index}"), "x".repeat(900)]).collect();
    assert!(server.connect().pipeline(&sets).unwrap().iter().all(|reply| *reply == Value::ok()));
    server.kill();
    server.start_again_as(&setup(3));
    let mut connection = server.connect();
    let state = |connection: &mut Connection| {
        (info(connection, "backup_in_progress"), info(connection, "last_backup_status"))
    };
    assert_eq!(state(&mut connection), ("0".to_owned(), "ok".to_owned()));
    assert_eq!(info(&mut connection, "last_backup_time"), "0");
    let scratch = annulus_tests::server::scratch_dir();
    let target = scratch.path().join("backup");
    let (dir, to) = (server.data().to_str().expect("a path"), target.to_str().expect("a path"));
    let from = format!("redis://127.0.0.1:{}", server.port());
    let places = || -> Vec<(PathBuf, u64)> {
        let epoch = target.join("epoch-0001");
        let shards = (0..2).map(|shard| epoch.join(format!("shard-00{shard}")));
        let entries = shards.flat_map(|shard| fs::read_dir(shard).expect("it can be read"));
        let place = |path: PathBuf| (path.clone(), fs::metadata(path).expect("it is there").ino());
        let mut places: Vec<_> = entries.map(|entry| place(entry.expect("an entry").path())).collect();
        places.sort();
        places
    };
    expect(&["backup", dir, to, "--from", &from], 0, "files written");
    let first = places();
    assert!(first.len() >= 4, "{first:?}");
    assert_eq!(connection.line("SET other value"), Value::ok());
    expect(&["backup", dir, to, "--from", &from], 0, "files written");
    assert_eq!(places(), first, "the same files, under the same names");
    expect(&["check", to], 0, "whole");
    assert!(info(&mut connection, "last_backup_time").parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!(state(&mut connection), ("0".to_owned(), "ok".to_owned()));

    let begun = numbers(&connection.line("BACKUP BEGIN"));
    assert_eq!(state(&mut connection), ("1".to_owned(), "ok".to_owned()));
    assert_eq!(connection.line(&format!("BACKUP ABORT {}", begun[0][0])), Value::ok());
    assert_eq!(state(&mut connection), ("0".to_owned(), "err".to_owned()));
    expect(&["backup", dir, to, "--from", &from], 0, "files written");
    assert_eq!(state(&mut connection), ("0".to_owned(), "ok".to_owned()));
}

//! What was acknowledged is there after `kill -9` (`always`), a prefix is there (`everysec`, `none`), and everything is after a
//! clean stop; also when the number of shards changes between starts, and when the disk was full.
//!
//! [`load`] writes from several threads and knows, for every key, the states that it may be found in.

mod corruption;
mod full_disk;
mod histories;
mod load;
mod power_cut;

use std::{env, fs, path::Path};

use annulus_tests::{
    process::wait_for,
    random::{Random, seed_from},
    resp::{Connection, Value},
    server::{Server, Setup, target_is_redis},
};
use load::Load;

/// Crashes in a row on one directory; `ANNULUS_CRASH_ROUNDS` sets another number for campaigns.
fn rounds() -> usize {
    env::var("ANNULUS_CRASH_ROUNDS").map_or(4, |text| text.parse().expect("a number of rounds"))
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Kill,
    Terminate,
}

/// Loads the server, ends it in the middle, starts it again with the next number of shards, and looks for every
/// acknowledged write; again and again on one directory.
fn rounds_of_load(setup: &Setup, shards: &[usize], end: End) {
    let seed = seed_from("ANNULUS_CRASH_SEED");
    eprintln!("ANNULUS_CRASH_SEED={seed}; {setup:?}");
    let mut random = Random::new(seed);
    let mut server = setup.clone().shards(shards[0]).start();
    let mut load = Load::new(&random);
    for round in 0..rounds() {
        let writes = 200 + random.below(4_000);
        load.run(server.port(), writes, || end_server(&mut server, end));
        server.start_again_as(&setup.clone().shards(shards[(round + 1) % shards.len()]));
        load.verify(&mut server.connect(), round);
    }
}

fn end_server(server: &mut Server, end: End) {
    match end {
        End::Kill => server.kill(),
        End::Terminate => {
            let status = server.stop();
            assert!(status.success(), "a clean stop ends with {status}: {}", server.log());
        }
    }
}

#[test]
fn acknowledged_writes_survive_kill_on_uring() {
    rounds_of_load(&Setup::annulus().driver("uring").durability("always"), &[1], End::Kill);
}

#[test]
fn acknowledged_writes_survive_kill_on_epoll() {
    rounds_of_load(&Setup::annulus().driver("epoll").durability("always"), &[1], End::Kill);
}

#[test]
fn acknowledged_writes_survive_kill_on_two_shards_uring() {
    rounds_of_load(&Setup::annulus().driver("uring").durability("always"), &[2], End::Kill);
}

#[test]
fn acknowledged_writes_survive_kill_on_two_shards_epoll() {
    rounds_of_load(&Setup::annulus().driver("epoll").durability("always"), &[2], End::Kill);
}

#[test]
fn acknowledged_writes_survive_kill_and_another_number_of_shards() {
    rounds_of_load(&Setup::annulus().durability("always"), &[2, 1, 3, 2, 2], End::Kill);
}

#[test]
fn acknowledged_writes_survive_kill_over_many_segments() {
    rounds_of_load(&Setup::annulus().durability("always").segment_size("1mb"), &[1, 1, 2], End::Kill);
}

#[test]
fn acknowledged_writes_survive_a_clean_stop_under_load_in_every_mode() {
    for durability in ["always", "everysec", "none"] {
        if target_is_redis() && durability == "none" {
            continue;
        }
        rounds_of_load(&Setup::annulus().durability(durability), &[2], End::Terminate);
    }
}

/// Two hash tags whose slots are far apart: with two shards each has one.
const TAGS: [&str; 2] = ["{a}", "{b}"];

/// Writes pairs `tag:x:n`, `tag:y:n` for n from `first`, for each tag in turn, until `writes` are acknowledged; more are sent.
fn write_pairs(connection: &mut Connection, first: usize, writes: usize) {
    let mut next = first;
    while next < first + writes {
        let pairs: Vec<Vec<String>> = (next..next + 50)
            .flat_map(|n| {
                TAGS.map(|tag| {
                    vec![
                        "MSET".into(),
                        format!("{tag}x:{n}"),
                        "1".into(),
                        format!("{tag}y:{n}"),
                        n.to_string(),
                    ]
                })
            })
            .collect();
        assert!(connection.pipeline(&pairs).unwrap().iter().all(|reply| *reply == Value::ok()));
        next += 50;
    }
}

/// How many pairs of a tag are there; panics unless they are the first ones, whole.
fn prefix_length(connection: &mut Connection, tag: &str) -> usize {
    let keys = connection.line(&format!("KEYS {tag}x:*")).items().len();
    for n in 0..keys {
        let pair = connection.line(&format!("MGET {tag}x:{n} {tag}y:{n}"));
        let expected = Value::Array(vec![Value::bulk("1"), Value::bulk(n.to_string())]);
        assert_eq!(pair, expected, "{keys} pairs of {tag} are there, but not pair {n}");
    }
    assert_eq!(connection.line(&format!("KEYS {tag}y:*")).items().len(), keys, "half a pair of {tag}");
    keys
}

#[test]
fn relaxed_modes_keep_a_prefix_of_each_shards_writes() {
    for durability in ["everysec", "none"] {
        for shards in [1, 2] {
            let mut server = Setup::annulus().durability(durability).shards(shards).start();
            write_pairs(&mut server.connect(), 0, 2_000);
            server.kill();
            server.start_again();
            let mut connection = server.connect();
            let lengths = TAGS.map(|tag| prefix_length(&mut connection, tag));
            eprintln!("{durability}, {shards} shards: {lengths:?} of 2000 pairs were kept");
            // What is there now stays there through a clean stop, and what is written from here on as well.
            connection.line("SET after v");
            assert!(server.stop().success());
            server.start_again();
            let mut connection = server.connect();
            if !(target_is_redis() && durability == "none") {
                assert_eq!(TAGS.map(|tag| prefix_length(&mut connection, tag)), lengths);
                assert_eq!(connection.line("GET after"), Value::bulk("v"));
            }
        }
    }
}

#[test]
fn everysec_reaches_the_disk_by_itself() {
    let mut server = Setup::annulus().durability("everysec").shards(2).start();
    let mut connection = server.connect();
    write_pairs(&mut connection, 0, 500);
    if !target_is_redis() {
        wait_for("the log is durable", || {
            let info = connection.line("INFO persistence").text();
            let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let (durable, last) = (field("log_durable_lsn:"), field("log_last_lsn:"));
            assert!(durable.is_some() && last.is_some(), "the log's fields are missing in {info}");
            durable == last
        });
    }
    server.kill();
    server.start_again();
    let mut connection = server.connect();
    assert_eq!(TAGS.map(|tag| prefix_length(&mut connection, tag)), [500, 500]);
}

/// One of everything that can be changed.
fn change_everything(connection: &mut Connection) {
    let commands = [
        "MSET a 1 b 2 c 3 d 4 e 5",
        "DEL a",
        "INCRBY b 40",
        "APPEND c -more",
        "SETRANGE d 3 padded",
        "RENAME e renamed",
        "SET brief v EX 100000",
        "SET lasting v EX 100000",
        "PERSIST lasting",
        "COPY c copied",
        "SELECT 3",
        "SET three v",
        "MOVE three 4",
        "SET also-three v",
        "SELECT 5",
        "SET five v",
        "FLUSHDB",
        "SET five again",
        "SWAPDB 5 6",
        "SELECT 7",
        "SET seven v",
    ];
    for command in commands {
        let reply = connection.line(command);
        assert!(!reply.is_error(), "{command}: {reply}");
    }
    let large: Vec<Vec<Vec<u8>>> = (0..4_usize)
        .map(|n| {
            vec![b"SET".to_vec(), format!("large:{n}").into_bytes(), vec![b'0' + n as u8; n * 1_500_000]]
        })
        .collect();
    assert!(connection.pipeline(&large).unwrap().iter().all(|reply| *reply == Value::ok()));
}

/// All keys of all databases with their values and whether they expire.
fn contents(connection: &mut Connection) -> Vec<(i64, Value, Value, bool)> {
    let mut all = Vec::new();
    for database in 0..16 {
        connection.line(&format!("SELECT {database}"));
        for key in connection.line("KEYS *").items().to_vec() {
            let name = key.bytes().unwrap().to_vec();
            let value = connection.command(&[b"GET".as_slice(), &name]);
            let expires = connection.command(&[b"TTL".as_slice(), &name]) != Value::Integer(-1);
            all.push((database, key, value, expires));
        }
    }
    all.sort();
    all
}

#[test]
fn every_kind_of_change_survives_restarts_in_every_mode_on_every_number_of_shards() {
    for durability in ["always", "everysec", "none"] {
        if target_is_redis() && durability == "none" {
            continue;
        }
        let setup = Setup::annulus().durability(durability);
        let mut server = setup.clone().shards(2).start();
        change_everything(&mut server.connect());
        let before = contents(&mut server.connect());
        assert_eq!(before.len(), 15, "{before:?}");
        for shards in [2, 3, 1, 1, 2] {
            let status = server.stop();
            assert!(status.success(), "{status}");
            server.start_again_as(&setup.clone().shards(shards));
            let after = contents(&mut server.connect());
            assert!(before == after, "{durability}, {shards} shards");
        }
    }
}

#[test]
fn interrupt_stops_as_cleanly_as_terminate() {
    let mut server = Setup::annulus().durability("everysec").shards(2).start();
    change_everything(&mut server.connect());
    let before = contents(&mut server.connect());
    // A connection that is open and idle must not hold the stop up.
    let _idle = server.connect();
    assert!(server.stop_with(annulus_tests::process::Signal::INT).success());
    server.start_again();
    assert!(before == contents(&mut server.connect()));
}

#[test]
fn shutdown_command_stops_cleanly() {
    let mut server = Setup::annulus().durability("everysec").shards(2).start();
    change_everything(&mut server.connect());
    let before = contents(&mut server.connect());
    let mut connection = server.connect();
    connection.send(b"SHUTDOWN\r\n").unwrap();
    assert_eq!(connection.read_to_end().unwrap(), b"");
    let status = server.wait_end(annulus_tests::process::PATIENCE);
    assert!(status.success(), "{status}");
    server.start_again();
    assert!(before == contents(&mut server.connect()));
}

#[test]
fn crash_in_the_middle_of_a_start_harms_nothing() {
    let mut server = Setup::annulus().durability("always").shards(2).start();
    change_everything(&mut server.connect());
    let before = contents(&mut server.connect());
    server.kill();
    // Each of these starts is killed at another point: at once, and as soon as it answers.
    for shards in [1, 2, 3, 2] {
        server.start_and_kill_at_once(&Setup::annulus().durability("always").shards(shards));
        server.start_again_as(&Setup::annulus().durability("always").shards(shards));
        server.kill();
    }
    server.start_again();
    assert!(before == contents(&mut server.connect()));
}

/// Once, the ids of transactions began at 1 in every life. A log then had transactions of the same name, and a part
/// without its other half was taken for that of an earlier one that was whole.
#[test]
fn half_of_a_transaction_goes_although_earlier_lives_had_as_many_transactions() {
    if target_is_redis() {
        return;
    }
    let mset =
        |value: &str| ["MSET".to_owned(), "{a}half".into(), value.into(), "{b}half".into(), value.into()];
    let mut server = Setup::annulus().durability("always").shards(2).start();
    // On several connections, so that each shard coordinates some.
    for _ in 0..10 {
        assert_eq!(server.connect().command(&mset("whole")), Value::ok());
    }
    server.kill();
    // Written without a sync, a part is not called durable for a while.
    server.start_again_as(&Setup::annulus().durability("none").shards(2));
    assert_eq!(server.connect().command(&mset("needle")), Value::ok());
    let logs =
        [0, 1].map(|shard| server.data().join(format!("epoch-0001/shard-{shard:03}/000000000001.log")));
    let frame_of_needle = |path: &Path| {
        let bytes = fs::read(path).expect("a segment can be read");
        let needle = memchr::memmem::rfind(&bytes, b"needle")?;
        memchr::memmem::rfind(&bytes[..needle], b"ANFR")
    };
    wait_for("both parts are written", || logs.iter().all(|log| frame_of_needle(log).is_some()));
    server.kill();
    // One of them has not reached the disk.
    let mut bytes = fs::read(&logs[1]).expect("a segment can be read");
    let frame = frame_of_needle(&logs[1]).expect("it was just there");
    bytes[frame..frame + 512].fill(0);
    fs::write(&logs[1], bytes).expect("a segment can be written");
    server.start_again();
    let reply = server.connect().command(&["MGET", "{a}half", "{b}half"]);
    assert_eq!(reply, Value::Array(vec![Value::bulk("whole"), Value::bulk("whole")]));
}

#[test]
#[should_panic(expected = "acknowledged was")]
fn server_that_keeps_nothing_is_caught() {
    rounds_of_load(&Setup::redis().durability("none"), &[1], End::Kill);
}

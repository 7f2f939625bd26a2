//! Listeners that stall, and masses of them: memory stays bounded, nobody else is held up, and no message is lost in silence.

use annulus_tests::process::{PATIENCE, wait_for};
use annulus_tests::resp::{Connection, Value, encode};
use annulus_tests::server::{DRIVERS, Server, Setup};

const MIB: u64 = 1 << 20;

/// A listener on each shard, more or less: connections are dealt out evenly.
fn listeners(server: &Server, count: usize, subscribe: &str) -> Vec<Connection> {
    (0..count)
        .map(|_| {
            let mut connection = server.connect();
            assert!(!connection.line(subscribe).is_error());
            connection
        })
        .collect()
}

/// The text of the message that comes next.
fn next_message(connection: &mut Connection) -> Vec<u8> {
    let message = connection.read().expect("a message");
    message.items().last().and_then(Value::bytes).expect("a message").to_vec()
}

#[test]
fn listener_that_never_reads_is_closed_at_its_limit() {
    for driver in DRIVERS {
        let limit = ["--client-output-buffer-limit", "pubsub 4mb 0 0"];
        let server = Setup::annulus().driver(driver).shards(2).arguments(&limit).start();
        let mut deaf = listeners(&server, 4, "SUBSCRIBE news");
        let mut other = server.connect();
        let before = server.resident_bytes();
        let message = vec![b'm'; MIB as usize / 4];
        let mut grown = 0;
        // Until all are closed: each may have what the kernel's buffers hold besides.
        wait_for("all of them are closed", || {
            let sent = other.command(&[b"PUBLISH".as_slice(), b"news", &message]);
            grown = grown.max(server.resident_bytes().saturating_sub(before) / MIB);
            sent == Value::Integer(0)
        });
        assert!(grown < 150, "{driver}: the server grew by {grown} MiB for listeners that do not read");
        for listener in &mut deaf {
            assert!(listener.is_closed_by_server());
        }
        assert_eq!(other.line("PUBSUB NUMSUB news").items()[1], Value::Integer(0));
    }
}

#[test]
fn messages_of_one_publisher_come_in_order_on_every_shard() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(3).durability("always").start();
        let mut ears = listeners(&server, 6, "SUBSCRIBE news");
        ears.extend(listeners(&server, 3, "PSUBSCRIBE n*"));
        let mut publisher = server.connect();
        const MESSAGES: usize = 3_000;
        let mut bytes = Vec::new();
        for index in 0..MESSAGES {
            bytes.extend(encode(&["PUBLISH", "news", &index.to_string()]));
        }
        publisher.send(&bytes).unwrap();
        for _ in 0..MESSAGES {
            assert_eq!(publisher.read().unwrap(), Value::Integer(9));
        }
        for ear in &mut ears {
            for index in 0..MESSAGES {
                assert_eq!(next_message(ear), index.to_string().as_bytes());
            }
        }
    }
}

#[test]
fn who_hears_of_a_write_finds_it_done() {
    for durability in ["always", "none"] {
        let server = Setup::annulus().shards(3).durability(durability).start();
        let mut ears = listeners(&server, 3, "SUBSCRIBE news");
        let (mut publisher, mut reader) = (server.connect(), server.connect());
        for round in 0..200 {
            let (key, text) = (format!("key:{}", round % 7), round.to_string());
            let bytes = [encode(&["SET", &key, &text]), encode(&["PUBLISH", "news", &text])].concat();
            publisher.send(&bytes).unwrap();
            for ear in &mut ears {
                assert_eq!(next_message(ear), text.as_bytes());
                assert_eq!(reader.line(&format!("GET {key}")), Value::bulk(&text));
            }
            assert_eq!(publisher.read().unwrap(), Value::ok());
            assert_eq!(publisher.read().unwrap(), Value::Integer(3));
        }
    }
}

#[test]
fn thousands_of_channels_and_patterns_are_no_burden() {
    let server = Setup::annulus().shards(2).start();
    let mut ear = server.connect();
    ear.line("HELLO 3");
    const NAMES: usize = 5_000;
    for kind in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
        let mut command = vec![kind.to_owned()];
        command.extend((0..NAMES).map(|index| format!("channel:{index}:x")));
        ear.send(&encode(&command)).unwrap();
        for _ in 0..NAMES {
            assert!(matches!(ear.read().unwrap(), Value::Push(_)));
        }
    }
    let mut other = server.connect();
    assert_eq!(other.line("PUBSUB NUMPAT"), Value::Integer(NAMES as i64));
    for index in [0, 17, NAMES - 1] {
        assert_eq!(other.line(&format!("PUBLISH channel:{index}:x hello")), Value::Integer(2));
        assert_eq!(other.line(&format!("SPUBLISH channel:{index}:x hello")), Value::Integer(1));
        for _ in 0..3 {
            assert_eq!(next_message(&mut ear), b"hello");
        }
    }
    drop(ear);
    wait_for("nobody listens", || other.line("PUBSUB NUMPAT") == Value::Integer(0));
    assert_eq!(other.line("PUBSUB CHANNELS").items().len(), 0);
    assert_eq!(other.line("PUBSUB SHARDCHANNELS").items().len(), 0);
    assert_eq!(other.line("PUBLISH channel:17:x hello"), Value::Integer(0));
}

#[test]
fn a_large_message_reaches_everybody_whole() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).start();
        let mut ears = listeners(&server, 4, "SUBSCRIBE news");
        let mut publisher = server.connect();
        let message: Vec<u8> = (0..8 * MIB).map(|at| (at % 251) as u8).collect();
        assert_eq!(publisher.command(&[b"PUBLISH".as_slice(), b"news", &message]), Value::Integer(4));
        for ear in &mut ears {
            ear.set_patience(PATIENCE).unwrap();
            assert!(next_message(ear) == message, "another message than was sent");
        }
    }
}

#[test]
fn every_eviction_is_told_of() {
    let settings =
        ["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random", "--notify-keyspace-events", "Ee"];
    let server = Setup::annulus().shards(2).arguments(&settings).start();
    let mut ear = listeners(&server, 1, "PSUBSCRIBE __keyevent@*").remove(0);
    let mut cache = server.connect();
    cache.line("HELLO 3");
    assert_eq!(cache.line("CLIENT TRACKING ON"), Value::ok());
    let mut other = server.connect();
    assert_eq!(other.line("SET first value"), Value::ok());
    assert_eq!(cache.line("GET first"), Value::bulk("value"));
    let evicted = |other: &mut Connection| {
        let info = other.line("INFO stats").text();
        let line = info.lines().find_map(|line| line.strip_prefix("evicted_keys:").map(str::to_owned));
        line.and_then(|number| number.parse::<usize>().ok()).expect("INFO has the number")
    };
    let mut number = 0;
    while other.line("EXISTS first") == Value::Integer(1) {
        let commands: Vec<Vec<String>> = (number..number + 1_000)
            .map(|index| vec!["SET".into(), format!("key:{index}"), "v".repeat(200)])
            .collect();
        other.pipeline(&commands).expect("the server answers");
        number += 1_000;
    }
    // Nobody writes, and what is too much goes in the turns to come.
    let mut before = 0;
    wait_for("nothing more is evicted", || std::mem::replace(&mut before, evicted(&mut other)) == before);
    let mut names = std::collections::BTreeSet::new();
    let mut told = 0;
    while told < evicted(&mut other) {
        names.insert(next_message(&mut ear));
        told += 1;
    }
    assert!(names.contains(&b"first"[..]), "the key that is gone");
    assert_eq!(names.len(), told, "no key is evicted twice");
    assert_eq!(cache.read().expect("what to forget").items()[1], Value::Array(vec![Value::bulk("first")]));
}

#[test]
fn the_table_of_readers_is_bounded() {
    let settings = ["--tracking-table-max-keys", "100"];
    let server = Setup::annulus().shards(2).arguments(&settings).start();
    let mut reader = server.connect();
    reader.line("HELLO 3");
    assert_eq!(reader.line("CLIENT TRACKING ON"), Value::ok());
    let mut forgotten = 0;
    for index in 0..1_000 {
        reader.send(&encode(&["GET", &format!("key:{index}")])).unwrap();
        while let Value::Push(_) = reader.read().unwrap() {
            forgotten += 1;
        }
    }
    let mut other = server.connect();
    let tracked = |other: &mut Connection| {
        let info = other.line("INFO stats").text();
        let line = info.lines().find_map(|line| line.strip_prefix("tracking_total_keys:").map(str::to_owned));
        line.and_then(|number| number.parse::<usize>().ok()).expect("INFO has the number")
    };
    assert!(tracked(&mut other) <= 100);
    // What was dropped from the table, the reader was told to forget.
    reader.send(&encode(&["PING"])).unwrap();
    while let Value::Push(_) = reader.read().unwrap() {
        forgotten += 1;
    }
    wait_for("the reader has been told of all that is no longer remembered", || {
        reader.send(&encode(&["PING"])).unwrap();
        while let Value::Push(_) = reader.read().unwrap() {
            forgotten += 1;
        }
        forgotten + tracked(&mut other) == 1_000
    });
    assert_eq!(reader.line("CLIENT TRACKING OFF"), Value::ok());
    wait_for("nothing is remembered for nobody", || tracked(&mut other) == 0);
}

#[test]
fn a_caching_client_that_never_reads_is_closed_or_told_everything() {
    let limit = ["--client-output-buffer-limit", "normal 1mb 0 0"];
    let server = Setup::annulus().shards(2).arguments(&limit).start();
    let mut deaf = server.connect();
    deaf.line("HELLO 3");
    assert_eq!(deaf.line("CLIENT SETNAME deaf"), Value::ok());
    assert_eq!(deaf.line("CLIENT TRACKING ON BCAST"), Value::ok());
    let mut other = server.connect();
    let before = server.resident_bytes();
    let long = "k".repeat(1_000);
    wait_for("it is closed", || {
        let commands: Vec<Vec<String>> =
            (0..2_000).map(|index| vec!["SET".into(), format!("{long}:{index}"), "v".into()]).collect();
        other.pipeline(&commands).expect("the server answers");
        other.line("FLUSHALL");
        !other.line("CLIENT LIST").text().contains(" name=deaf ")
    });
    let grown = server.resident_bytes().saturating_sub(before) / MIB;
    assert!(grown < 200, "the server grew by {grown} MiB for a client that does not read");
    assert!(deaf.is_closed_by_server());
}

//! `maxmemory` of the real server.

use annulus_tests::{
    resp::{Connection, Value},
    server::{Setup, target_is_redis},
};

const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

fn number(connection: &mut Connection, section: &str, name: &str) -> u64 {
    let text = connection.line(&format!("INFO {section}")).text();
    let prefix = format!("{name}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.and_then(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("{name}: {text}"))
}

/// Sets keys; each set is done, or refused for want of memory.
fn set_many(connection: &mut Connection, keys: std::ops::Range<usize>) {
    for first in keys.clone().step_by(100) {
        let sets: Vec<Vec<String>> = (first..keys.end.min(first + 100))
            .map(|index| vec!["SET".into(), format!("key:{index}"), "v".repeat(200)])
            .collect();
        for reply in connection.pipeline(&sets).unwrap() {
            match reply {
                Value::Error(text) => assert_eq!(String::from_utf8_lossy(&text), OOM),
                reply => assert_eq!(reply, Value::ok()),
            }
        }
    }
}

#[test]
fn without_eviction_commands_that_need_memory_are_refused_and_others_run() {
    if target_is_redis() {
        return;
    }
    let server = Setup::annulus().shards(2).arguments(&["--maxmemory", "4mb"]).start();
    let mut connection = server.connect();
    set_many(&mut connection, 0..40_000);
    let keys = connection.line("DBSIZE").number().unwrap();
    assert!((5_000..20_000).contains(&keys), "{keys} keys of 200 bytes in 4 MB");
    // Some slot of each shard.
    for key in ["a", "b", "c", "d"] {
        assert_eq!(connection.line(&format!("APPEND {key} x")).text(), OOM);
    }
    assert_eq!(connection.line("MSET a 1 b 2 c 3").text(), OOM);
    assert_eq!(connection.line("MULTI"), Value::ok());
    for key in ["a", "b"] {
        assert_eq!(connection.line(&format!("SET {key} 1")).text(), "QUEUED");
    }
    let refused = connection.line("EXEC").text();
    assert_eq!(refused, format!("EXECABORT Transaction discarded because of: {OOM}"));
    assert!(!connection.line("GET key:1").is_error());
    assert!(connection.line("INFO errorstats").text().contains("errorstat_OOM"));
    assert_eq!(connection.line("CONFIG SET maxmemory 0"), Value::ok());
    assert_eq!(connection.line("SET a 1"), Value::ok());
}

#[test]
fn every_policy_keeps_memory_at_the_limit() {
    if target_is_redis() {
        return;
    }
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl"] {
        let server = Setup::annulus()
            .shards(2)
            .durability("always")
            .arguments(&["--maxmemory", "4mb", "--maxmemory-policy", policy])
            .start();
        let mut connection = server.connect();
        assert_eq!(connection.line("CONFIG GET maxmemory-policy").items()[1].text(), policy);
        for first in (0..24_000).step_by(200) {
            let sets: Vec<Vec<String>> = (first..first + 200)
                .map(|index| {
                    let mut set = vec!["SET".to_owned(), format!("key:{index}"), "v".repeat(200)];
                    set.extend(["EX".to_owned(), (1000 + index).to_string()]);
                    set
                })
                .collect();
            assert!(
                connection.pipeline(&sets).unwrap().iter().all(|reply| *reply == Value::ok()),
                "{policy}"
            );
        }
        let keys = connection.line("DBSIZE").number().unwrap() as u64;
        let evicted = number(&mut connection, "stats", "evicted_keys");
        assert_eq!(keys + evicted, 24_000, "{policy}");
        assert!((5_000..20_000).contains(&keys), "{policy}: {keys} keys of 200 bytes in 4 MB");
        if policy == "allkeys-lru" {
            let young =
                (23_000..24_000).filter(|index| !connection.line(&format!("GET key:{index}")).is_null());
            assert!(young.count() > 950);
        }
    }
}

#[test]
fn what_was_evicted_stays_so_after_a_crash() {
    if target_is_redis() {
        return;
    }
    let limited = ["--maxmemory", "2mb", "--maxmemory-policy", "allkeys-random"];
    let setup = Setup::annulus().shards(1).durability("always").arguments(&limited);
    let mut server = setup.start();
    set_many(&mut server.connect(), 0..20_000);
    let mut connection = server.connect();
    let before = connection.line("DBSIZE").number().unwrap();
    assert!(number(&mut connection, "stats", "evicted_keys") > 1000);
    server.kill();
    server.start_again_as(&Setup::annulus().shards(1).durability("always"));
    assert_eq!(server.connect().line("DBSIZE").number().unwrap(), before);
}

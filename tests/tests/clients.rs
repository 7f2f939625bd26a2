//! Real clients, unmodified: the redis crate, redis-cli and redis-benchmark, on both drivers and 1 to 3 shards.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
};

use annulus_tests::{
    binaries,
    process::{self, PATIENCE},
    resp::{Connection, Value},
    server::{DRIVERS, Server, Setup, target_is_redis},
};
use redis::Commands as _;

/// Every combination that users may run.
fn everywhere(test: impl Fn(&Server)) {
    for driver in DRIVERS {
        for shards in [1, 2, 3] {
            let server = Setup::annulus().driver(driver).shards(shards).unixsocket().start();
            eprintln!("{driver}, {shards} shards");
            test(&server);
        }
    }
}

fn client(server: &Server, query: &str) -> redis::Connection {
    let client =
        redis::Client::open(format!("redis://127.0.0.1:{}/{query}", server.port())).expect("a valid URL");
    client.get_connection().expect("the redis crate connects")
}

fn cli(server: &Server, arguments: &[&str], input: &str) -> Output {
    let port = server.port().to_string();
    let mut command = Command::new(binaries::redis_cli());
    command.args(["-p", &port]).args(arguments);
    process::run(&mut command, input.as_bytes(), PATIENCE)
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn redis_crate_reads_and_writes() {
    everywhere(|server| {
        let mut connection = client(server, "");
        let _: () = connection.set("key", b"\0\r\n\xff").unwrap();
        assert_eq!(connection.get::<_, Vec<u8>>("key").unwrap(), b"\0\r\n\xff");
        assert_eq!(connection.get::<_, Option<String>>("absent").unwrap(), None);
        assert_eq!(connection.incr::<_, _, i64>("counter", 5).unwrap(), 5);
        let _: () = connection.mset(&[("a", 1), ("b", 2), ("c", 3)]).unwrap();
        assert_eq!(
            connection.mget::<_, Vec<Option<i64>>>(&["a", "x", "b", "c"]).unwrap(),
            [Some(1), None, Some(2), Some(3)]
        );
        assert_eq!(connection.del::<_, i64>(&["a", "b", "x"]).unwrap(), 2);
        let failed = connection.incr::<_, _, i64>("key", 1).unwrap_err();
        assert!(failed.to_string().contains("not an integer"), "{failed}");
        let _: () = connection.set_ex("brief", "v", 1000).unwrap();
        assert!((990..=1000).contains(&connection.ttl::<_, i64>("brief").unwrap()));
    });
}

#[test]
fn pipeline_replies_come_in_request_order_across_shards() {
    everywhere(|server| {
        let mut connection = client(server, "");
        let mut pipeline = redis::pipe();
        for index in 0..1000_i64 {
            pipeline.set(format!("key:{index}"), index).ignore();
            pipeline.get(format!("key:{index}"));
            pipeline.incr("shared", 1);
        }
        let replies: Vec<i64> = pipeline.query(&mut connection).unwrap();
        let expected: Vec<i64> = (0..1000).flat_map(|index| [index, index + 1]).collect();
        assert_eq!(replies, expected);
    });
}

#[test]
fn redis_crate_speaks_resp3() {
    everywhere(|server| {
        let mut connection = client(server, "?protocol=resp3");
        let hello: redis::Value = redis::cmd("HELLO").arg(3).query(&mut connection).unwrap();
        assert!(matches!(hello, redis::Value::Map(_)), "{hello:?}");
        let _: () = connection.set("key", "value").unwrap();
        assert_eq!(connection.get::<_, String>("key").unwrap(), "value");
        let absent: redis::Value = redis::cmd("GET").arg("absent").query(&mut connection).unwrap();
        assert_eq!(absent, redis::Value::Nil);
        let settings: std::collections::HashMap<String, String> =
            redis::cmd("CONFIG").arg("GET").arg("databases").query(&mut connection).unwrap();
        assert_eq!(settings["databases"], "16");
    });
}

#[test]
fn redis_crate_selects_a_database_and_authenticates() {
    let server = Setup::annulus().shards(2).arguments(&["--requirepass", "secret"]).start();
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}/3", server.port());
    let refused = redis::Client::open(url("wrong")).unwrap().get_connection();
    assert!(refused.is_err());
    let mut connection = redis::Client::open(url("secret")).unwrap().get_connection().unwrap();
    let _: () = connection.set("key", "in three").unwrap();
    let mut raw = server.connect();
    assert_eq!(raw.line("GET key").text(), "NOAUTH Authentication required.");
    assert_eq!(raw.line("AUTH secret"), Value::ok());
    assert_eq!(raw.line("GET key"), Value::NullBulk);
    assert_eq!(raw.line("SELECT 3"), Value::ok());
    assert_eq!(raw.line("GET key"), Value::bulk("in three"));
}

#[test]
fn redis_cli_runs_single_commands() {
    everywhere(|server| {
        assert_eq!(text(&cli(server, &["SET", "key", "value with blanks"], "")), "OK\n");
        assert_eq!(text(&cli(server, &["GET", "key"], "")), "value with blanks\n");
        assert_eq!(text(&cli(server, &["-3", "GET", "absent"], "")), "\n");
        assert_eq!(
            text(&cli(server, &["--no-raw", "MGET", "key", "absent"], "")),
            "1) \"value with blanks\"\n2) (nil)\n"
        );
        assert_eq!(text(&cli(server, &["-x", "SET", "piped"], "from stdin")), "OK\n");
        assert_eq!(text(&cli(server, &["STRLEN", "piped"], "")), "10\n");
        let scanned = text(&cli(server, &["--scan"], ""));
        let mut keys: Vec<&str> = scanned.lines().collect();
        keys.sort_unstable();
        assert_eq!(keys, ["key", "piped"]);
    });
}

#[test]
fn redis_cli_reads_commands_from_stdin() {
    everywhere(|server| {
        let session =
            "SET counter 10\nINCR counter\nselect 2\nGET counter\nNOSUCH\nINFO server\nECHO \"a\\nb\"\n";
        let said = text(&cli(server, &[], session));
        for part in ["OK\n11\nOK\n\n", "ERR unknown command 'NOSUCH'", "redis_version:7.", "a\nb\n"] {
            assert!(said.contains(part), "{part:?} is not in {said:?}");
        }
    });
}

#[test]
fn redis_cli_pipe_mode_loads_many_commands() {
    everywhere(|server| {
        let lines: Vec<String> = (0..20_000).map(|index| format!("SET bulk:{index} {index}\r\n")).collect();
        let said = text(&cli(server, &["--pipe"], &lines.concat()));
        assert!(said.contains("errors: 0, replies: 20000"), "{said}");
        assert_eq!(server.connect().line("DBSIZE"), Value::Integer(20_000));
    });
}

#[test]
fn redis_benchmark_completes() {
    everywhere(|server| {
        let port = server.port().to_string();
        let mut command = Command::new(binaries::redis_benchmark());
        command.args(["-p", &port, "-t", "set,get,incr,mset", "-P", "16", "-n", "8000", "-r", "1000", "-q"]);
        let output = process::run(&mut command, b"", PATIENCE * 2);
        let said = text(&output).replace('\r', "\n");
        for test in ["SET: ", "GET: ", "INCR: ", "MSET (10 keys): "] {
            let line = said.lines().rfind(|line| line.starts_with(test));
            assert!(line.is_some_and(|line| line.contains("requests per second")), "{test} in {said}");
        }
        assert!(!String::from_utf8_lossy(&output.stderr).to_lowercase().contains("error"), "{output:?}");
    });
}

#[test]
fn unix_socket_serves_like_tcp() {
    everywhere(|server| {
        let mut connection = Connection::unix(&server.unix_path()).unwrap();
        let sets: Vec<Vec<String>> = (0..500)
            .map(|index| vec!["SET".into(), format!("key:{index}"), format!("value {index}")])
            .collect();
        assert!(connection.pipeline(&sets).unwrap().iter().all(|reply| *reply == Value::ok()));
        assert_eq!(server.connect().line("GET key:499"), Value::bulk("value 499"));
        let path = server.unix_path();
        let mut command = Command::new(binaries::redis_cli());
        command.arg("-s").arg(path).args(["DBSIZE"]);
        assert_eq!(text(&process::run(&mut command, b"", PATIENCE)), "500\n");
    });
}

#[test]
fn large_values_survive_the_way_there_and_back() {
    everywhere(|server| {
        let mut connection = server.connect();
        for size in [0, 1, 4095, 4096, 16 * 1024, 65_537, 1 << 20, (8 << 20) + 3] {
            let value: Vec<u8> = (0..size).map(|index| (index * 31 % 251) as u8).collect();
            let key = format!("size:{size}").into_bytes();
            assert_eq!(connection.command(&[b"SET".as_slice(), &key, &value]), Value::ok());
            assert_eq!(connection.command(&[b"GET".as_slice(), &key]), Value::Bulk(value), "{size} bytes");
        }
    });
}

#[test]
fn bytes_may_arrive_one_at_a_time() {
    everywhere(|server| {
        let mut connection = server.connect();
        let bytes =
            b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nv\r\nal\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\nPING\r\n";
        for byte in bytes {
            connection.send(&[*byte]).unwrap();
        }
        assert_eq!(connection.read().unwrap(), Value::ok());
        assert_eq!(connection.read().unwrap(), Value::bulk("v\r\nal"));
        assert_eq!(connection.read().unwrap(), Value::simple("PONG"));
    });
}

#[test]
fn many_connections_at_once_are_all_served() {
    everywhere(|server| {
        let mut connections: Vec<Connection> = (0..300).map(|_| server.connect()).collect();
        for (index, connection) in connections.iter_mut().enumerate() {
            connection
                .send(format!("INCRBY total {index}\r\nSET own:{index} {index}\r\n").as_bytes())
                .unwrap();
        }
        for connection in &mut connections {
            assert!(matches!(connection.read().unwrap(), Value::Integer(_)));
            assert_eq!(connection.read().unwrap(), Value::ok());
        }
        assert_eq!(server.connect().line("GET total"), Value::bulk((0..300).sum::<i32>().to_string()));
    });
}

#[test]
fn client_replies_can_be_switched_off_and_skipped() {
    everywhere(|server| {
        let mut connection = server.connect();
        connection.send(b"CLIENT REPLY OFF\r\nSET a 1\r\nGET a\r\nCLIENT REPLY ON\r\nPING\r\n").unwrap();
        assert_eq!(connection.read().unwrap(), Value::ok());
        assert_eq!(connection.read().unwrap(), Value::simple("PONG"));
        connection.send(b"CLIENT REPLY SKIP\r\nSET b 1\r\nGET a\r\n").unwrap();
        assert_eq!(connection.read().unwrap(), Value::bulk("1"));
        assert_eq!(connection.line("GET b"), Value::bulk("1"));
    });
}

#[test]
fn clients_are_listed_killed_and_paused() {
    everywhere(|server| {
        let (mut boss, mut other) = (server.connect(), server.connect());
        assert_eq!(other.line("CLIENT SETNAME victim"), Value::ok());
        let id = other.line("CLIENT ID").number().expect("an id is a number");
        let listed = boss.line("CLIENT LIST").text();
        let line = listed.lines().find(|line| line.contains("name=victim")).expect("both are listed");
        assert!(line.starts_with(&format!("id={id} ")), "{line}");
        assert_eq!(boss.line(&format!("CLIENT KILL ID {id}")), Value::Integer(1));
        assert!(other.is_closed_by_server());
        process::wait_for("the killed client is gone from the list", || {
            !boss.line("CLIENT LIST").text().contains("name=victim")
        });
        assert_eq!(boss.line("CLIENT PAUSE 60000 WRITE"), Value::ok());
        let mut third = server.connect();
        assert_eq!(third.line("GET key"), Value::NullBulk);
        third.send(b"SET key v\r\n").unwrap();
        assert_eq!(boss.line("CLIENT UNPAUSE"), Value::ok());
        assert_eq!(third.read().unwrap(), Value::ok());
    });
}

#[test]
fn quit_answers_and_closes_after_what_came_before_it() {
    everywhere(|server| {
        let mut connection = server.connect();
        connection.send(b"SET key v\r\nGET key\r\nQUIT\r\nSET key after\r\n").unwrap();
        assert_eq!(connection.read_to_end().unwrap(), b"+OK\r\n$1\r\nv\r\n+OK\r\n");
        assert_eq!(server.connect().line("GET key"), Value::bulk("v"));
    });
}

fn memtier(server_port: u16, arguments: &[&str]) -> String {
    let mut command = Command::new("memtier_benchmark");
    let port = server_port.to_string();
    command.args(["-s", "127.0.0.1", "-p", &port, "-t", "1", "-c", "10", "-n", "2000", "--ratio=1:1"]);
    command.args(["--data-size=64", "--key-maximum=10000", "--hide-histogram"]).args(arguments);
    let output = process::run(&mut command, b"", PATIENCE * 2);
    let said = format!("{}{}", text(&output), String::from_utf8_lossy(&output.stderr));
    for fault in ["error response", "connection error", "Connection error", "handle error"] {
        assert!(!said.contains(fault), "{said}");
    }
    said
}

#[test]
fn memtier_runs_plain_pipelined_and_in_cluster_mode() {
    if Command::new("memtier_benchmark").arg("--version").output().is_err() {
        process::say_aloud("SKIPPED: memtier_benchmark is not installed");
        return;
    }
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).start();
        for arguments in [&[][..], &["--pipeline=30"]] {
            let said = memtier(server.port(), arguments);
            assert!(said.contains("Totals"), "{said}");
        }
        assert!(server.connect().line("DBSIZE").number() > Some(500));
        if target_is_redis() {
            continue;
        }
        let server = Setup::annulus().driver(driver).shards(2).arguments(&["--cluster-ports", "on"]).start();
        let said = memtier(server.shard_port(0), &["--cluster-mode", "--pipeline=10"]);
        assert!(said.contains("Totals"), "{said}");
        assert!(!said.contains("MOVED") || said.contains("MOVED/sec"), "{said}");
        assert!(server.connect().line("DBSIZE").number() > Some(500));
    }
}

fn names_before(text: &str, separator: char) -> BTreeSet<String> {
    text.split_whitespace()
        .filter_map(|field| field.split_once(separator))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn client_list_has_every_field_that_redis_has() {
    let (oracle, ours) = (Setup::redis().start(), Setup::annulus().shards(2).start());
    for command in ["CLIENT INFO", "CLIENT LIST"] {
        let expected = names_before(&oracle.connect().line(command).text(), '=');
        let got = names_before(&ours.connect().line(command).text(), '=');
        let missing: Vec<_> = expected.difference(&got).collect();
        assert!(missing.is_empty(), "{command}: missing {missing:?} in {got:?}");
    }
}

/// What client libraries, dashboards and exporters read.
const INFO_FIELDS: &str = "redis_version redis_mode os arch_bits process_id run_id tcp_port uptime_in_seconds \
    uptime_in_days connected_clients maxclients blocked_clients used_memory used_memory_human used_memory_rss \
    used_memory_peak maxmemory maxmemory_policy mem_fragmentation_ratio loading total_connections_received \
    total_commands_processed instantaneous_ops_per_sec total_net_input_bytes total_net_output_bytes \
    rejected_connections expired_keys evicted_keys keyspace_hits keyspace_misses role connected_slaves \
    master_replid used_cpu_sys used_cpu_user cluster_enabled db0";

#[test]
fn info_has_the_fields_that_tools_read() {
    let (oracle, ours) = (Setup::redis().start(), Setup::annulus().shards(2).start());
    for server in [&oracle, &ours] {
        let mut connection = server.connect();
        connection.line("SET key v");
        let info = connection.line("INFO").text();
        let names: BTreeSet<&str> =
            info.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
        let missing: Vec<&str> =
            INFO_FIELDS.split_whitespace().filter(|name| !names.contains(name)).collect();
        assert!(missing.is_empty(), "missing {missing:?} in {info}");
        for line in info.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            assert!(line.contains(':'), "{line}");
        }
        let everything = connection.line("INFO everything").text();
        for section in ["# Server", "# Clients", "# Commandstats", "# Keyspace", "# Errorstats"] {
            assert!(everything.contains(section), "{section} is not in {everything}");
        }
        assert!(everything.contains("cmdstat_set:calls=1,usec="), "{everything}");
    }
}

#[test]
fn hits_misses_and_commands_are_counted_over_all_shards() {
    everywhere(|server| {
        let mut connection = server.connect();
        connection.line("CONFIG RESETSTAT");
        for index in 0..50 {
            connection.line(&format!("SET key:{index} v"));
            connection.line(&format!("GET key:{index}"));
            connection.line(&format!("GET absent:{index}"));
        }
        let info = connection.line("INFO all").text();
        for field in [
            "keyspace_hits:50",
            "keyspace_misses:50",
            "cmdstat_set:calls=50,",
            "cmdstat_get:calls=100,",
            "db0:keys=50,",
        ] {
            assert!(info.contains(field), "{field} is not in {info}");
        }
    });
}

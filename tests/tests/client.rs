//! Our own client, against redis-server and against ours: each driver, one and two shards, TCP and Unix sockets, and
//! embedded.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests are outside the server: they start threads and watch real clocks"
)]

mod client_commands;
mod client_connections;
mod client_embedded;
mod client_examples;

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use annulus_client::{
    Client, Command, Durability, Embedded, EmbeddedOptions, Error, Options, Pipeline, Routing, ScanFilter,
    Value, blocking, commands::*,
};
use annulus_tests::server::{DRIVERS, Server, Setup, scratch_dir, target_is_redis};

/// Every kind of server, reached in every way.
fn everywhere(test: impl Fn(&blocking::Client, Kind)) {
    let mut setups = vec![(Kind::Redis, Setup::redis())];
    if !target_is_redis() {
        for driver in DRIVERS {
            for shards in [1, 2] {
                setups.push((Kind::Annulus, Setup::annulus().driver(driver).shards(shards)));
            }
        }
    }
    for (kind, setup) in setups {
        let setup = setup.unixsocket();
        let server = setup.start();
        for url in [url(&server), format!("unix://{}?db=2", server.unix_path().display())] {
            eprintln!("{url} {setup:?}");
            let client = blocking::Client::connect(url).expect("the client connects");
            test(&client, kind);
            client.flushall().unwrap();
        }
    }
    if target_is_redis() {
        return;
    }
    for (driver, shards, database) in [(DRIVERS[0], 1, 0), (DRIVERS[1], 2, 2)] {
        eprintln!("embedded, {driver}, {shards} shards, database {database}");
        let dir = scratch_dir();
        let options = embedded_options(shards).database(database).setting("io-driver", driver).unwrap();
        let store = Embedded::open(dir.path(), options).unwrap();
        test(&store.blocking(), Kind::Annulus);
        store.close().unwrap();
    }
}

/// As [`Setup::annulus`] has it: quick to start, and nothing waits for the disk.
fn embedded_options(shards: usize) -> EmbeddedOptions {
    let options = EmbeddedOptions::new().shards(shards).durability(Durability::None);
    options.setting("log-segment-size", "4mb").unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Annulus,
    Redis,
}

fn url(server: &Server) -> String {
    format!("redis://127.0.0.1:{}", server.port())
}

#[test]
fn string_commands_do_what_they_say() {
    everywhere(|client, kind| {
        client.set("k", b"\0\r\n\xff").unwrap();
        assert_eq!(client.get("k").unwrap().unwrap(), &b"\0\r\n\xff"[..]);
        assert_eq!(client.get("absent").unwrap(), None);
        assert_eq!(client.strlen("k"), Ok(4));
        assert_eq!(client.append("k", "12"), Ok(6));
        assert_eq!(client.getrange("k", -2, -1).unwrap(), "12");
        assert_eq!(client.setrange("k", 0, "abcd"), Ok(6));
        assert_eq!(client.getset("k", "new").unwrap().unwrap(), "abcd12");
        assert_eq!(client.getdel("k").unwrap().unwrap(), "new");
        assert_eq!(client.getdel("k"), Ok(None));

        let brief = SetOptions::if_absent().expires_in(Duration::from_mins(1));
        assert_eq!(client.set_with("lock", "me", &brief), Ok(true));
        assert_eq!(client.set_with("lock", "you", &brief), Ok(false));
        assert_eq!(client.set_with("lock", "me too", &SetOptions::if_present().keep_ttl()), Ok(true));
        assert!(matches!(client.ttl("lock"), Ok(Ttl::In(left)) if left <= Duration::from_mins(1)));
        assert_eq!(client.set_get("lock", "1", &SetOptions::new()).unwrap().unwrap(), "me too");
        assert_eq!(client.ttl("lock"), Ok(Ttl::Forever));
        assert_eq!(client.getex("lock", Some(Expiry::In(Duration::from_mins(1)))).unwrap().unwrap(), "1");
        assert!(matches!(client.ttl("lock"), Ok(Ttl::In(_))));
        assert_eq!(client.getex("lock", None).unwrap().unwrap(), "1");
        assert_eq!(client.ttl("lock"), Ok(Ttl::Forever));
        client.set_expiring("lock", "2", Duration::from_mins(1)).unwrap();
        assert!(matches!(client.ttl("lock"), Ok(Ttl::In(_))));
        if kind == Kind::Annulus {
            assert_eq!(client.set_with("lock", "3", &SetOptions::if_equal("1")), Ok(false));
            assert_eq!(client.set_with("lock", "3", &SetOptions::if_equal("2")), Ok(true));
            assert_eq!(client.digest("lock").unwrap().unwrap().len(), 16);
            assert_eq!(client.digest("absent"), Ok(None));
        }

        assert_eq!(client.incr("n"), Ok(1));
        assert_eq!(client.incrby("n", 41), Ok(42));
        assert_eq!(client.decr("n"), Ok(41));
        assert_eq!(client.decrby("n", i64::from(i32::MAX)), Ok(41 - i64::from(i32::MAX)));
        assert_eq!(client.incrbyfloat("f", 0.5), Ok(0.5));
        assert_eq!(client.setnx("n", "x"), Ok(false));

        client.mset([("a", "ohmytext"), ("b", "mynewtext")]).unwrap();
        assert_eq!(client.msetnx([("b", "x"), ("c", "x")]), Ok(false));
        assert_eq!(client.mget(["a", "absent", "c"]).unwrap(), [Some("ohmytext".into()), None, None]);
        assert_eq!(client.lcs("a", "b").unwrap(), "mytext");
        assert_eq!(client.lcs_len("a", "b"), Ok(6));
    });
}

#[test]
fn key_commands_do_what_they_say() {
    everywhere(|client, _| {
        client.mset([("a", "1"), ("b", "2"), ("c", "3")]).unwrap();
        assert_eq!(client.exists(["a", "b", "a", "x"]), Ok(3));
        assert_eq!(client.touch(["a", "x"]), Ok(1));
        assert_eq!(client.key_type("a").unwrap(), "string");
        assert_eq!(client.key_type("x").unwrap(), "none");
        assert_eq!(client.object_encoding("a").unwrap().unwrap(), "int");
        assert!(client.object_idletime("a").unwrap().is_some_and(|seconds| seconds < 60));

        assert_eq!(client.ttl("x"), Ok(Ttl::Absent));
        assert_eq!(client.expire("x", Duration::from_mins(1)), Ok(false));
        assert_eq!(client.expire("a", Duration::from_mins(1)), Ok(true));
        let sooner = ExpireCondition::IfSooner;
        assert_eq!(client.expire_if("a", Duration::from_mins(2), sooner), Ok(false));
        assert_eq!(client.expire_if("a", Duration::from_mins(2), ExpireCondition::IfLater), Ok(true));
        let Time(now) = client.time().unwrap();
        let later = Duration::from_secs(now.as_secs() + 1000);
        assert_eq!(client.expire_at("a", later), Ok(true));
        assert_eq!(client.expiretime("a"), Ok(Ttl::In(later)));
        assert_eq!(client.persist("a"), Ok(true));
        assert_eq!(client.persist("a"), Ok(false));

        client.rename("a", "d").unwrap();
        assert!(matches!(client.rename("a", "d"), Err(Error::Server { prefix, .. }) if prefix == "ERR"));
        assert_eq!(client.renamenx("d", "b"), Ok(false));
        assert_eq!(client.copy("d", "b"), Ok(false));
        assert_eq!(client.copy_over("d", "b"), Ok(true));
        assert_eq!(client.get("b").unwrap().unwrap(), "1");
        let keys: BTreeSet<_> = client.keys("*").unwrap().into_iter().collect();
        assert_eq!(keys, ["b", "c", "d"].map(Into::into).into());
        assert!(keys.contains(&client.randomkey().unwrap().unwrap()));
        assert_eq!(client.move_to("c", 7), Ok(true));
        assert_eq!(client.del(["b", "c"]), Ok(1));
        assert_eq!(client.unlink(["d"]), Ok(1));
        assert_eq!(client.randomkey(), Ok(None));
    });
}

#[test]
fn connection_and_server_commands_do_what_they_say() {
    everywhere(|client, kind| {
        client.ping().unwrap();
        assert_eq!(client.echo(b"\xff").unwrap(), &b"\xff"[..]);
        let id = client.client_id().unwrap();
        assert!(client.client_info().unwrap().contains(&format!("id={id} ")));
        assert!(client.client_list().unwrap().lines().any(|line| line.starts_with(&format!("id={id} "))));
        assert_eq!(client.client_getname().map(Option::unwrap_or_default), Ok(String::new()));
        client.set("k", "v").unwrap();
        assert_eq!(client.dbsize(), Ok(1));
        client.swapdb(0, 2).unwrap();
        assert_eq!(client.dbsize(), Ok(0));
        client.swapdb(0, 2).unwrap();
        client.flushdb().unwrap();
        assert_eq!(client.dbsize(), Ok(0));
        assert!(client.info().unwrap().contains("redis_version:"));
        assert!(client.info_of("server").unwrap().contains("tcp_port:"));
        assert_eq!(client.config_get("databases").unwrap()["databases"], "16");
        client.config_set("timeout", "300").unwrap();
        assert_eq!(client.config_get("timeout").unwrap()["timeout"], "300");
        client.config_resetstat().unwrap();
        assert!(client.lastsave().unwrap() > 1_600_000_000);
        let names = client.command_list().unwrap();
        assert!(names.iter().any(|name| name == "get"));
        if kind == Kind::Redis {
            client.command::<u64>(Command::new("RPUSH").key("list").arg("x")).unwrap();
            assert!(matches!(client.get("list"), Err(Error::WrongType(_))));
        }
        // A whole connection cannot be lost to an error that quotes any bytes.
        let unknown: Result<Value, Error> = client.command(Command::new("NO").arg(b"\xff\xfe"));
        assert!(matches!(unknown, Err(Error::Server { .. })));
        client.client_pause_writes(Duration::from_millis(1)).unwrap();
        client.client_unpause().unwrap();
    });
}

#[test]
fn a_scan_yields_every_key() {
    everywhere(|client, _| {
        let pipeline = (0..1000).fold(Pipeline::new(), |pipeline, index| {
            let tag = if index % 10 == 0 { "tenth" } else { "other" };
            pipeline.with(Command::new("SET").key(format!("{tag}:{index}")).arg("v"))
        });
        for reply in client.pipeline(pipeline).unwrap() {
            reply.unwrap();
        }
        let scan = |filter| client.scan(filter).collect::<Result<BTreeSet<_>, _>>().unwrap();
        assert_eq!(scan(ScanFilter::all()).len(), 1000);
        let expected: BTreeSet<_> =
            (0..1000).step_by(10).map(|index| format!("tenth:{index}").into()).collect();
        assert_eq!(scan(ScanFilter::matching("tenth:*").of_type("string").count(50)), expected);
    });
}

#[test]
fn threads_that_share_a_connection_get_their_own_replies() {
    const THREADS: u64 = 8;
    const TIMES: u64 = 300;
    everywhere(|client, _| {
        thread::scope(|scope| {
            for number in 0..THREADS {
                let client = client.clone();
                scope.spawn(move || {
                    let key = format!("thread:{number}");
                    for time in 0..TIMES {
                        let value = format!("{number}:{time}");
                        client.set(&key, &value).unwrap();
                        assert_eq!(client.get(&key).unwrap().unwrap(), value);
                        client.incr("shared").unwrap();
                    }
                });
            }
        });
        assert_eq!(client.get("shared").unwrap().unwrap(), (THREADS * TIMES).to_string());
    });
}

#[test]
fn credentials_are_checked_and_can_be_given() {
    for setup in [Setup::redis(), Setup::annulus()] {
        let server = setup.arguments(&["--requirepass", "s@crit"]).start();
        let without = blocking::Client::connect(url(&server));
        assert!(matches!(without, Err(Error::NoAuth(_))), "{without:?}");
        let port = server.port();
        let wrong = blocking::Client::connect(format!("redis://:wrong@127.0.0.1:{port}"));
        assert!(matches!(wrong, Err(Error::NoAuth(_))), "{wrong:?}");
        let right =
            blocking::Client::connect(format!("redis://:s%40crit@127.0.0.1:{port}/5?name=app")).unwrap();
        assert_eq!(right.client_getname().unwrap().unwrap(), "app");
        assert!(right.client_info().unwrap().contains(" db=5 "));
    }
}

#[test]
fn a_killed_connection_is_replaced() {
    everywhere(|client, _| {
        client.set("k", "v").unwrap();
        let id = client.client_id().unwrap();
        // The server closes the connection that asked: with the reply, or before.
        let kill = Command::new("CLIENT").arg("KILL").arg("ID").number(id).arg("SKIPME").arg("no");
        let _ = client.command::<u64>(kill);
        assert_eq!(client.get("k").unwrap().unwrap(), "v");
        assert_ne!(client.client_id().unwrap(), id);
    });
}

#[test]
fn what_was_acknowledged_before_a_kill_is_read_on_the_same_client_after_it() {
    for driver in DRIVERS {
        let mut server = Setup::annulus().driver(driver).shards(2).durability("always").start();
        let mut options = Options::from_url(&url(&server)).unwrap();
        options.timeout = Duration::from_mins(1);
        let client = blocking::Client::connect(options).unwrap();
        for index in 0..100 {
            client.set(format!("k:{index}"), index.to_string()).unwrap();
        }
        server.kill();
        let down = client.set("k:0", "lost").unwrap_err();
        assert!(down.is_connection(), "{down:?}");
        server.start_again();
        for index in 0..100 {
            assert_eq!(client.get(format!("k:{index}")).unwrap().unwrap(), index.to_string());
        }
    }
}

/// How many connections each shard's own port has.
fn shard_connections(client: &blocking::Client, server: &Server, shards: usize) -> Vec<usize> {
    let list = client.client_list().unwrap();
    let at =
        |port: u16| list.lines().filter(|line| line.contains(&format!("laddr=127.0.0.1:{port} "))).count();
    (0..shards).map(|shard| at(server.shard_port(shard))).collect()
}

#[test]
fn with_routing_each_shard_has_a_connection_of_its_own() {
    if target_is_redis() {
        return;
    }
    for driver in DRIVERS {
        let shards = 2;
        let server =
            Setup::annulus().driver(driver).shards(shards).arguments(&["--cluster-ports", "on"]).start();
        let mut options = Options::from_url(&url(&server)).unwrap();
        options.routing = Routing::Shards;
        let client = blocking::Client::connect(options).unwrap();
        assert_eq!(shard_connections(&client, &server, shards), [1, 1]);
        for index in 0..500 {
            client.set(format!("k:{index}"), index.to_string()).unwrap();
        }
        // Several keys of several shards, and what has no key, work from wherever they are sent.
        let keys: Vec<String> = (0..500).map(|index| format!("k:{index}")).collect();
        let values = client.mget(&keys).unwrap();
        assert!(values.iter().enumerate().all(|(index, value)| *value == Some(index.to_string().into())));
        assert_eq!(client.dbsize(), Ok(500));
        assert_eq!(client.scan(ScanFilter::all()).count(), 500);
    }
}

#[test]
fn routing_follows_a_server_that_comes_back_with_other_shards() {
    if target_is_redis() {
        return;
    }
    let setup = |shards| Setup::annulus().shards(shards).arguments(&["--cluster-ports", "on"]);
    let mut server = setup(3).durability("always").start();
    let client = blocking::Client::connect(format!("{}?routing=shards", url(&server))).unwrap();
    let keys: Vec<String> = (0..30).map(|index| format!("k:{index}")).collect();
    for key in &keys {
        client.set(key, key).unwrap();
    }
    server.kill();
    server.start_again_as(&setup(1).durability("always"));
    for key in &keys {
        assert_eq!(client.get(key).unwrap().unwrap(), key);
    }
}

#[test]
fn tasks_of_an_async_program_share_a_client() {
    let server = Setup::annulus().shards(2).start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Arc::new(Client::connect(url(&server)).await.unwrap());
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let client = Arc::clone(&client);
                tokio::spawn(async move {
                    for _ in 0..20 {
                        client.incrby("sum", number).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let sum: i64 = client.command(Command::new("GET").key("sum")).await.unwrap();
        assert_eq!(sum, 20 * (0..50).sum::<i64>());
        let mut found = client.scan(ScanFilter::all());
        assert_eq!(found.next().await.unwrap().unwrap(), "sum");
        assert!(found.next().await.is_none());
    });
}

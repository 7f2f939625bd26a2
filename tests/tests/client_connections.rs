//! What our client does on connections of its own: transactions, commands that wait, messages, cached replies.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use annulus_client::{
    CacheOptions, Command, Embedded, Error, Options, Pipeline, Value,
    blocking::{self, Client},
    commands::*,
};
use annulus_tests::process::{PATIENCE, wait_for};
use annulus_tests::server::{DRIVERS, Setup, scratch_dir, target_is_redis};

/// redis-server, ours on each driver, and embedded. The second argument makes another client.
fn everywhere(test: impl Fn(&Client, &dyn Fn() -> Client)) {
    let mut setups = vec![Setup::redis()];
    if !target_is_redis() {
        setups.push(Setup::annulus().driver(DRIVERS[0]).shards(2).durability("always"));
        setups.push(Setup::annulus().driver(DRIVERS[1]).shards(1));
    }
    for setup in setups {
        eprintln!("{setup:?}");
        let server = setup.start();
        let connect = || Client::connect(super::url(&server)).expect("the client connects");
        test(&connect(), &connect);
    }
    if target_is_redis() {
        return;
    }
    for (driver, shards) in [(DRIVERS[0], 2), (DRIVERS[1], 1)] {
        eprintln!("embedded, {driver}, {shards} shards");
        let dir = scratch_dir();
        let options = super::embedded_options(shards).setting("io-driver", driver).unwrap();
        let store = Embedded::open(dir.path(), options).unwrap();
        test(&store.blocking(), &|| store.blocking());
        store.close().unwrap();
    }
}

fn transfer(amount: i64) -> Pipeline {
    Pipeline::new()
        .with(Command::new("DECRBY").key("account:1").number(amount))
        .with(Command::new("INCRBY").key("account:2").number(amount))
}

#[test]
fn transactions_are_carried_out_as_one() {
    everywhere(|client, _| {
        let results = client.transaction(transfer(10)).unwrap();
        assert_eq!(results, [Ok(Value::Integer(-10)), Ok(Value::Integer(10))]);
        client.set("text", "x").unwrap();
        let half = Pipeline::new()
            .with(Command::new("INCR").key("text"))
            .with(Command::new("INCR").key("account:1"));
        let results = client.transaction(half).unwrap();
        assert!(matches!(&results[0], Err(Error::Server { prefix, .. }) if prefix == "ERR"));
        assert_eq!(results[1], Ok(Value::Integer(-9)));
        let unknown = transfer(5).with(Command::new("NOSUCH"));
        assert!(
            matches!(client.transaction(unknown), Err(Error::Server { text, .. }) if text.contains("unknown"))
        );
        assert_eq!(client.get("account:2").unwrap().unwrap(), "10");
        assert!(matches!(
            client.transaction(Pipeline::new().with(Command::new("EXEC"))),
            Err(Error::Unsupported(_))
        ));
        assert_eq!(client.transaction(Pipeline::new()), Ok(Vec::new()));
        // The connection is still in its place.
        assert_eq!(client.echo("still").unwrap(), "still");
    });
}

#[test]
fn a_transaction_with_watched_keys_gives_way_to_others() {
    everywhere(|client, _| {
        let session = client.session().unwrap();
        session.watch(["account:1", "account:2"]).unwrap();
        client.set("account:2", "5").unwrap();
        assert_eq!(session.exec(transfer(1)), Ok(None));
        assert_eq!(client.get("account:1"), Ok(None));
        session.watch(["account:1"]).unwrap();
        assert!(session.exec(transfer(1)).unwrap().is_some());
        session.watch(["account:1"]).unwrap();
        session.unwatch().unwrap();
        client.set("account:1", "0").unwrap();
        assert!(session.exec(transfer(1)).unwrap().is_some());
        assert_eq!(client.mget(["account:1", "account:2"]).unwrap(), [Some("-1".into()), Some("7".into())]);
    });
}

#[test]
fn concurrent_check_and_set_loses_no_update() {
    const THREADS: usize = 4;
    const TIMES: usize = 25;
    everywhere(|client, _| {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                let session = client.session().unwrap();
                scope.spawn(move || {
                    let mut done = 0;
                    while done < TIMES {
                        session.watch(["n"]).unwrap();
                        let n = session.get("n").unwrap();
                        let n: i64 =
                            n.map_or(0, |text| String::from_utf8_lossy(&text).parse().expect("a number"));
                        let set = Pipeline::new().with(Command::new("SET").key("n").number(n + 1));
                        done += usize::from(session.exec(set).unwrap().is_some());
                    }
                });
            }
        });
        assert_eq!(client.get("n").unwrap().unwrap(), (THREADS * TIMES).to_string());
    });
}

#[test]
fn a_session_is_its_own_and_ends_with_its_connection() {
    everywhere(|client, _| {
        let session = client.session().unwrap();
        session.command::<()>(Command::new("SELECT").number(3)).unwrap();
        session.set("k", "three").unwrap();
        assert_eq!(client.get("k"), Ok(None));
        assert_eq!(session.get("k").unwrap().unwrap(), "three");
        for words in [&["SUBSCRIBE", "c"][..], &["MULTI"], &["CLIENT", "REPLY", "OFF"]] {
            let command = Command::new(words[0]).args(&words[1..]);
            assert!(matches!(session.command::<Value>(command), Err(Error::Unsupported(_))), "{words:?}");
        }
        let id = session.client_id().unwrap();
        assert_eq!(client.client_kill(id), Ok(1));
        let lost = session.get("k").unwrap_err();
        assert!(lost.is_connection(), "{lost:?}");
        let gone = session.get("k").unwrap_err();
        assert!(gone.is_connection() && !gone.maybe_applied(), "{gone:?}");
        assert_eq!(client.session().unwrap().get("k"), Ok(None));
    });
}

#[test]
fn commands_that_wait_are_answered_when_something_comes() {
    everywhere(|client, _| {
        if !client.command_list().unwrap().iter().any(|name| name == "blpop") {
            return;
        }
        assert!(matches!(
            client.command::<Value>(Command::new("BLPOP").key("jobs").number(0)),
            Err(Error::Unsupported(_))
        ));
        let session = client.session().unwrap();
        assert_eq!(session.blpop(["jobs"], Some(Duration::from_millis(1))), Ok(None));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| session.blpop(["other", "jobs"], None));
            client.rpush("jobs", ["first"]).unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(Some(("jobs".into(), "first".into()))));
            let waiter =
                scope.spawn(|| session.blmove(("jobs", Side::Left), ("done", Side::Right), Some(PATIENCE)));
            client.rpush("jobs", ["second"]).unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(Some("second".into())));
        });
        assert_eq!(client.lrange("done", 0, -1).unwrap(), ["second"]);
    });
}

#[test]
fn subscribers_get_what_they_listen_to() {
    everywhere(|client, _| {
        let mut subscriber = client.subscriber().unwrap();
        subscriber.subscribe(["news", "other"]).unwrap();
        subscriber.psubscribe(["n*"]).unwrap();
        assert_eq!(client.publish("news", b"a\r\n\0"), Ok(2));
        assert_eq!(client.publish("other", ""), Ok(1));
        assert_eq!(client.publish("nobody's", "x"), Ok(1));
        let mut next = || subscriber.next().unwrap().unwrap();
        let message = next();
        assert_eq!((message.channel, message.pattern), ("news".into(), None));
        assert_eq!(message.payload, &b"a\r\n\0"[..]);
        let message = next();
        assert_eq!((message.channel, message.pattern), ("news".into(), Some("n*".into())));
        assert_eq!(next().payload, "");
        assert_eq!(next().channel, "nobody's");
        assert_eq!(client.pubsub_numpat(), Ok(1));
        assert_eq!(client.pubsub_numsub(["news"]).unwrap()[&b"news"[..]], 1);
        subscriber.unsubscribe(["other"]).unwrap();
        subscriber.punsubscribe(["n*"]).unwrap();
        assert_eq!(client.publish("other", "x"), Ok(0));
        assert_eq!(client.publish("news", "last"), Ok(1));
        assert_eq!(subscriber.next().unwrap().unwrap().payload, "last");
        subscriber.ssubscribe(["sharded"]).unwrap();
        assert_eq!(client.spublish("sharded", "s"), Ok(1));
        let message = subscriber.next().unwrap().unwrap();
        assert!(message.sharded && message.payload == "s");
    });
}

#[test]
fn a_subscriber_that_was_cut_off_says_so_once_and_goes_on() {
    everywhere(|client, _| {
        let mut subscriber = client.subscriber().unwrap();
        subscriber.subscribe(["news"]).unwrap();
        subscriber.psubscribe(["p*"]).unwrap();
        for round in 0..3 {
            let kill = Command::new("CLIENT").arg("KILL").arg("TYPE").arg("pubsub");
            assert_eq!(client.command::<u64>(kill), Ok(1));
            let lost = subscriber.next().unwrap().unwrap_err();
            assert!(lost.is_connection(), "{lost:?}");
            thread::scope(|scope| {
                let ear = scope.spawn(|| subscriber.next().unwrap());
                // It listens again when the next is asked for.
                wait_for("it listens again", || client.publish("news", round.to_string()) == Ok(1));
                assert_eq!(ear.join().unwrap().unwrap().payload, round.to_string());
            });
            wait_for("by its pattern too", || client.publish("pattern", "x") == Ok(1));
            let message = subscriber.next().unwrap().unwrap();
            assert_eq!(message.pattern, Some("p*".into()));
        }
    });
}

#[test]
fn a_cache_answers_what_has_not_changed() {
    everywhere(|client, _| {
        let cache = client.cache(CacheOptions::default()).unwrap();
        client.set("k", "1").unwrap();
        for _ in 0..5 {
            assert_eq!(cache.get("k").unwrap().unwrap(), "1");
            assert_eq!(cache.strlen("k"), Ok(1));
            assert_eq!(cache.get("absent"), Ok(None));
        }
        assert_eq!((cache.stats().hits, cache.stats().misses, cache.stats().keys), (12, 3, 2));
        client.set("k", "22").unwrap();
        wait_for("it hears of the change", || cache.get("k").unwrap().unwrap() == "22");
        assert_eq!(cache.strlen("k"), Ok(2));
        // What it writes itself it never answers with the value before.
        for round in 0..200 {
            cache.set("own", round.to_string()).unwrap();
            assert_eq!(cache.get("own").unwrap().unwrap(), round.to_string());
        }
        client.flushall().unwrap();
        wait_for("it hears of the flush", || cache.get("own") == Ok(None));
        assert!(matches!(
            cache.command::<Value>(Command::new("CLIENT").arg("TRACKING").arg("OFF")),
            Err(Error::Unsupported(_))
        ));
    });
}

#[test]
fn a_cache_of_prefixes_keeps_only_those() {
    everywhere(|client, _| {
        let mut options = CacheOptions::default();
        options.prefixes = vec!["user:".into()];
        let cache = client.cache(options).unwrap();
        client.mset([("user:1", "ada"), ("other", "x")]).unwrap();
        // The invalidation of that, which nobody had asked for, may still come.
        wait_for("it is answered from the cache", || {
            let before = cache.stats().hits;
            assert_eq!(cache.get("user:1").unwrap().unwrap(), "ada");
            assert_eq!(cache.get("other").unwrap().unwrap(), "x");
            cache.stats().hits > before
        });
        assert_eq!(cache.stats().keys, 1);
        client.set("user:1", "grace").unwrap();
        wait_for("it hears of the change", || cache.get("user:1").unwrap().unwrap() == "grace");
    });
}

#[test]
fn a_cache_forgets_with_its_connection() {
    everywhere(|client, _| {
        let cache = client.cache(CacheOptions::default()).unwrap();
        client.set("k", "1").unwrap();
        assert_eq!(cache.get("k").unwrap().unwrap(), "1");
        assert_eq!(cache.stats().keys, 1);
        let id = cache.client_id().unwrap();
        assert_eq!(client.client_kill(id), Ok(1));
        client.set("k", "2").unwrap();
        wait_for("it has noticed", || cache.stats().keys == 0);
        assert_eq!(cache.get("k").unwrap().unwrap(), "2");
        assert_eq!(cache.get("k").unwrap().unwrap(), "2");
        client.set("k", "3").unwrap();
        wait_for("it hears of changes again", || cache.get("k").unwrap().unwrap() == "3");
    });
}

/// A cache that many writers race with never keeps a value that is no longer there.
#[test]
fn a_cache_is_right_in_the_end_whoever_writes() {
    everywhere(|client, connect| {
        let cache = client.cache(CacheOptions::default()).unwrap();
        thread::scope(|scope| {
            for writer in 0..3 {
                let client = connect();
                scope.spawn(move || {
                    for round in 0..300 {
                        client.set(format!("k:{}", round % 5), format!("{writer}:{round}")).unwrap();
                    }
                });
            }
            for _ in 0..2 {
                let cache = cache.clone();
                scope.spawn(move || {
                    for round in 0..600 {
                        cache.get(format!("k:{}", round % 5)).unwrap();
                    }
                });
            }
        });
        for index in 0..5 {
            let key = format!("k:{index}");
            let now = client.get(&key).unwrap();
            wait_for("the cache has the last value", || cache.get(&key).unwrap() == now);
        }
        assert!(cache.stats().invalidated > 0);
    });
}

/// Answers the handshake and one subscription, and then nothing.
fn fall_silent(mut socket: TcpStream) {
    let mut buffer = [0; 4096];
    for answer in [&b"%1\r\n+proto\r\n:3\r\n"[..], b">3\r\n+subscribe\r\n$4\r\nnews\r\n:1\r\n"] {
        if !socket.read(&mut buffer).is_ok_and(|bytes| bytes > 0) || socket.write_all(answer).is_err() {
            return;
        }
    }
    // Until the other side has had enough.
    while socket.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
}

#[test]
fn a_silent_server_is_noticed_by_a_subscriber() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = Options::from_url(&format!("redis://{}", listener.local_addr().unwrap())).unwrap();
    options.timeout = Duration::from_millis(200);
    // One connection of the client, one of the subscriber.
    let server = thread::spawn(move || {
        thread::scope(|scope| {
            for socket in listener.incoming().take(2) {
                scope.spawn(|| fall_silent(socket.unwrap()));
            }
        });
    });
    let client = Client::connect(options).unwrap();
    let mut subscriber = client.subscriber().unwrap();
    subscriber.subscribe(["news"]).unwrap();
    let error = subscriber.next().unwrap().unwrap_err();
    assert!(error.is_connection(), "{error:?}");
    drop((subscriber, client));
    server.join().unwrap();
}

/// Whoever waits on a deaf server is told so in time.
#[test]
fn a_session_on_a_stopped_server_ends_in_time() {
    let server = Setup::redis().start();
    let mut options = Options::from_url(&super::url(&server)).unwrap();
    options.timeout = Duration::from_millis(200);
    let client = blocking::Client::connect(options).unwrap();
    let session = client.session().unwrap();
    client.command::<()>(Command::new("CLIENT").arg("PAUSE").number(1_000)).unwrap();
    assert_eq!(session.set("k", "v"), Err(Error::Timeout { maybe_applied: true }));
    // The reply that was given up comes, and is not taken for another's.
    wait_for("it is answered again", || session.echo("mine").is_ok_and(|echo| echo == "mine"));
    assert_eq!(session.get("k").unwrap().unwrap(), "v");
}

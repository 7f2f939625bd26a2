//! Keys expire: lazily when they are looked at, actively when nobody looks, and after a restart too.

use annulus_tests::{
    process::wait_for,
    resp::{Connection, Value},
    server::{DRIVERS, Setup},
};

fn set_brief_keys(connection: &mut Connection, keys: usize, milliseconds: u64) {
    let sets: Vec<Vec<String>> = (0..keys)
        .map(|index| {
            vec!["SET".into(), format!("brief:{index}"), "v".into(), "PX".into(), milliseconds.to_string()]
        })
        .collect();
    assert!(connection.pipeline(&sets).unwrap().iter().all(|reply| *reply == Value::ok()));
}

#[test]
fn expired_keys_are_absent_to_every_command() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).start();
        let mut connection = server.connect();
        connection.line("SET key v PX 1");
        wait_for("the key has expired", || connection.line("GET key") == Value::NullBulk);
        assert_eq!(connection.line("EXISTS key"), Value::Integer(0));
        assert_eq!(connection.line("TTL key"), Value::Integer(-2));
        assert_eq!(connection.line("TYPE key"), Value::simple("none"));
        assert_eq!(connection.line("INCR key"), Value::Integer(1));
        assert_eq!(connection.line("TTL key"), Value::Integer(-1));
        connection.line("SET old v PX 1");
        wait_for("the key has expired", || connection.line("RENAME old new").is_error());
        connection.line("SET taken v PX 1");
        wait_for("the key has expired", || connection.line("SETNX taken v") == Value::Integer(1));
        assert_eq!(connection.line("PERSIST taken"), Value::Integer(0));
    }
}

#[test]
fn keys_expire_without_being_looked_at() {
    for driver in DRIVERS {
        let server = Setup::annulus().driver(driver).shards(2).start();
        let mut connection = server.connect();
        set_brief_keys(&mut connection, 5_000, 200);
        connection.line("SET lasting v");
        connection.line("SET later v EX 10000");
        wait_for("only what has not expired is counted", || connection.line("DBSIZE") == Value::Integer(2));
        let stats = connection.line("INFO stats").text();
        let expired = stats.lines().find_map(|line| line.strip_prefix("expired_keys:")).expect("a counter");
        assert_eq!(expired, "5000");
        let keyspace = connection.line("INFO keyspace").text();
        assert!(keyspace.contains("db0:keys=2,expires=1,"), "{keyspace}");
    }
}

#[test]
fn a_key_is_not_expired_before_its_time_nor_after_it_was_given_more() {
    let server = Setup::annulus().start();
    let mut connection = server.connect();
    // In pairs: one keeps its brief time and shows when it is over, the other was given more or made lasting.
    let commands = [
        "MSET kept v longer v rewritten v",
        "PEXPIRE kept 2000",
        "PEXPIRE longer 2000",
        "PEXPIRE rewritten 2000",
        "PERSIST kept",
        "EXPIRE longer 10000",
        "SET rewritten v",
    ];
    // Together, so that nothing expires between them however busy the machine is.
    let commands = commands.map(|line| line.split(' ').collect::<Vec<_>>());
    let (ok, one) = (Value::ok(), Value::Integer(1));
    let expected = [&ok, &one, &one, &one, &one, &one, &ok];
    assert!(connection.pipeline(&commands).unwrap().iter().eq(expected));
    connection.line("SET witness v PX 3000");
    wait_for("the witness has expired", || connection.line("EXISTS witness") == Value::Integer(0));
    assert_eq!(connection.line("EXISTS kept longer rewritten"), Value::Integer(3));
}

#[test]
fn expiry_survives_a_restart() {
    for durability in ["always", "everysec"] {
        let mut server = Setup::annulus().shards(2).durability(durability).start();
        let mut connection = server.connect();
        connection.line("SET lasting v");
        connection.line("SET later v EX 100000");
        connection.line("SET at v PXAT 33177117420123");
        connection.line("SET was v EX 100000");
        connection.line("PERSIST was");
        set_brief_keys(&mut connection, 100, 1);
        server.stop();
        server.start_again();
        let mut connection = server.connect();
        let later = connection.line("TTL later").number().unwrap();
        assert!((90_000..=100_000).contains(&later), "{later}");
        assert_eq!(connection.line("PEXPIRETIME at"), Value::Integer(33_177_117_420_123));
        assert_eq!(connection.line("TTL was"), Value::Integer(-1));
        assert_eq!(connection.line("GET brief:7"), Value::NullBulk);
        wait_for("what expired meanwhile is gone", || connection.line("DBSIZE") == Value::Integer(4));
    }
}

#[test]
fn members_expire_lazily_and_by_themselves_and_across_restarts() {
    let mut server = Setup::annulus().shards(2).start();
    let mut connection = server.connect();
    for (add, expire, cards) in [
        ("SADD brief a b c", "SPEXPIRE brief 1 MEMBERS 2 a b", "SCARD brief"),
        ("ZADD ranks 1 a 2 b 3 c", "ZPEXPIRE ranks 1 MEMBERS 2 a b", "ZCARD ranks"),
        ("HSET fields a 1 b 2 c 3", "HPEXPIRE fields 1 FIELDS 2 a b", "HLEN fields"),
    ] {
        assert_eq!(connection.line(add), Value::Integer(3));
        assert_eq!(connection.line(expire), Value::Array(vec![Value::Integer(1), Value::Integer(1)]));
        wait_for("members that have expired are not counted", || connection.line(cards) == Value::Integer(1));
    }
    assert_eq!(connection.line("ZRANGE ranks 0 -1").items(), [Value::Bulk(b"c".to_vec())]);
    assert_eq!(connection.line("ZRANK ranks c"), Value::Integer(0));
    wait_for("the server removes them by itself", || {
        let stats = connection.line("INFO stats").text();
        stats.lines().any(|line| line == "expired_subkeys:6")
    });
    assert_eq!(connection.line("ZADD ranks 7 a"), Value::Integer(1), "one that has expired is new");
    assert_eq!(connection.line("ZPTTL ranks MEMBERS 1 a").items(), [Value::Integer(-1)]);
    connection.line("SADD all a b");
    connection.line("SPEXPIREAT all 33177117420123 MEMBERS 1 a");
    connection.line("ZADD scores 1.5 a 2 b");
    connection.line("ZPEXPIREAT scores 33177117420123 MEMBERS 1 b");
    connection.line("SADD going a");
    connection.line("SPEXPIRE going 50 MEMBERS 1 a");
    for saves in [false, true] {
        if saves {
            wait_for("no save is under way", || !connection.line("SAVE").is_error());
        }
        server.stop();
        server.start_again();
        connection = server.connect();
        assert_eq!(
            connection.line("SPEXPIRETIME all MEMBERS 2 a b").items()[0].number(),
            Some(33_177_117_420_123)
        );
        assert_eq!(connection.line("STTL all MEMBERS 1 b").items(), [Value::Integer(-1)]);
        assert_eq!(
            connection.line("ZPEXPIRETIME scores MEMBERS 1 b").items()[0].number(),
            Some(33_177_117_420_123)
        );
        wait_for("what expired meanwhile is gone", || connection.line("EXISTS going") == Value::Integer(0));
    }
}

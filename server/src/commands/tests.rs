//! What commands do that no transcript can show: time that passes, walks, limits, and what redis-server 7.0 does not have.

use std::collections::HashSet;

use annulus_protocol::Version;

use super::testing::{NOW_MS, Server, play};
use super::{CommandCommand, ConnectionCommand, Run, resolve};

#[test]
fn replies_are_those_of_redis() {
    for shards in [1, 3] {
        play("strings", include_str!("transcripts/strings.txt"), shards);
        play("bitmap", include_str!("transcripts/bitmap.txt"), shards);
        play("hyperloglog", include_str!("transcripts/hyperloglog.txt"), shards);
        play("lists", include_str!("transcripts/lists.txt"), shards);
        play("hashes", include_str!("transcripts/hashes.txt"), shards);
        play("sets", include_str!("transcripts/sets.txt"), shards);
        play("sorted sets", include_str!("transcripts/sorted_sets.txt"), shards);
        play("geo", include_str!("transcripts/geo.txt"), shards);
        play("generic", include_str!("transcripts/generic.txt"), shards);
        play("introspection", include_str!("transcripts/introspection.txt"), shards);
    }
}

#[test]
fn commands_of_the_table_are_answered_whatever_their_arguments() {
    let mut server = Server::new(2);
    for command in super::ALL.iter().filter(|command| command.parent.is_none() && !command.is_internal()) {
        for words in [1, 2, 3, 4, 5, 7] {
            let mut args = vec![command.name.as_bytes()];
            args.resize(words, b"x");
            let run = resolve(&args).map(|command| command.run);
            let is_served = matches!(run, Ok(Run::Connection(which)) if which != ConnectionCommand::Command(CommandCommand::All));
            // `send` checks that there is exactly one reply.
            if !is_served && !matches!(run, Ok(Run::Script(_))) {
                assert!(!server.send(&args).is_empty(), "{args:?}");
            }
        }
    }
}

#[test]
fn expired_keys_are_absent_to_every_command() {
    let mut server = Server::new(2);
    for key in ["a", "b", "c", "d", "e"] {
        server.ask(&format!("SET {key} 1 PX 100"));
    }
    server.set_now(NOW_MS + 100);
    assert_eq!(server.ask("EXISTS a b c d e"), ":5", "at its very millisecond a key is still there");
    server.set_now(NOW_MS + 101);
    assert_eq!(server.ask("GET a"), "$-1");
    assert_eq!(server.ask("INCR a"), ":1");
    assert_eq!(server.ask("TTL a"), ":-1");
    assert_eq!(server.ask("SETNX b 2"), ":1");
    assert_eq!(server.ask("APPEND c x"), ":1");
    assert_eq!(server.ask("RENAME d f"), "-ERR no such key");
    assert_eq!(server.ask("EXPIRE e 10"), ":0");
    assert_eq!(server.ask("EXISTS e"), ":0");
}

#[test]
fn times_to_live_shrink_and_are_rounded() {
    let mut server = Server::new(1);
    server.ask("SET a 1 EX 10");
    server.set_now(NOW_MS + 499);
    assert_eq!((server.ask("TTL a"), server.ask("PTTL a")), (":10".into(), ":9501".into()));
    server.set_now(NOW_MS + 501);
    assert_eq!((server.ask("TTL a"), server.ask("PTTL a")), (":9".into(), ":9499".into()));
    assert_eq!(server.ask("OBJECT IDLETIME a"), ":0");
    server.set_now(NOW_MS + 7_000);
    assert_eq!(server.ask("OBJECT IDLETIME a"), ":7");
    server.ask("TOUCH a");
    assert_eq!(server.ask("OBJECT IDLETIME a"), ":0");
}

#[test]
fn comparing_set_sets_only_what_it_says() {
    let mut server = Server::new(1);
    assert_eq!(server.ask("SET k v IFEQ x"), "$-1", "what is absent equals nothing");
    assert_eq!(server.ask("EXISTS k"), ":0");
    assert_eq!(server.ask("SET k 1 IFNE x"), "+OK", "and differs from everything");
    assert_eq!(server.ask("SET k 2 IFEQ 0"), "$-1");
    assert_eq!(server.ask("SET k 2 IFEQ 1"), "+OK");
    assert_eq!(server.ask("SET k 3 IFNE 2"), "$-1");
    assert_eq!(server.ask("SET k 3 ifne 1 GET"), "\"2\"");
    assert_eq!(server.ask("SET k 4 IFEQ 9 GET"), "\"3\"", "GET tells the value also if nothing is set");
    assert_eq!(server.ask("GET k"), "\"3\"");
    assert_eq!(server.ask("SET k 4 IFEQ 3 EX 100"), "+OK");
    assert_eq!(server.ask("TTL k"), ":100");
    for wrong in ["IFEQ 4 NX", "NX IFEQ 4", "IFEQ 4 IFNE 5", "IFEQ 4 IFEQ 4", "IFEQ", "IFDEQ"] {
        assert_eq!(server.ask(&format!("SET k 5 {wrong}")), "-ERR syntax error", "{wrong}");
    }
}

#[test]
fn digests_stand_for_values() {
    let mut server = Server::new(1);
    assert_eq!(server.ask("DIGEST k"), "$-1");
    server.ask("SET k \"Hello world\"");
    assert_eq!(server.ask("DIGEST k"), "\"b6acb9d84a38ff74\"");
    assert_eq!(server.ask("SET k x IFDNE B6ACB9D84A38FF74"), "$-1");
    assert_eq!(server.ask("SET k x IFDEQ b6acb9d84a38ff74"), "+OK");
    assert_eq!(server.ask("SET k y IFDEQ b6acb9d84a38ff74"), "$-1");
    assert_eq!(server.ask("SET none y IFDEQ b6acb9d84a38ff74"), "$-1");
    assert_eq!(server.ask("SET none y IFDNE b6acb9d84a38ff74"), "+OK");
    assert!(server.ask("SET k y IFDEQ abc").starts_with("-ERR "));
    assert_eq!(server.ask("GET k"), "\"x\"");
}

#[test]
fn a_whole_scan_tells_every_key_on_every_shard() {
    for shards in [1, 2, 3] {
        let mut server = Server::new(shards);
        for number in 0..1000 {
            server.ask(&format!("SET key:{number} 1"));
        }
        for (options, expected) in
            [("", 1000), ("COUNT 100", 1000), ("MATCH key:1* COUNT 7", 111), ("TYPE list", 0)]
        {
            let mut found = HashSet::new();
            let mut cursor = "0".to_owned();
            for calls in 0.. {
                assert!(calls < 2000, "a scan that does not end");
                let reply = server.ask(&format!("SCAN {cursor} {options}"));
                let mut words = reply.split(['[', ']', ' ', '"']).filter(|word| !word.is_empty());
                cursor = words.next().expect("a cursor").to_owned();
                found.extend(words.map(str::to_owned));
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(found.len(), expected, "{shards} shards, {options:?}");
        }
        assert_eq!(server.ask("SCAN 18446744073709551615"), "[\"0\" []]");
    }
}

#[test]
fn random_keys_come_from_every_shard() {
    let mut server = Server::new(3);
    for number in 0..30 {
        server.ask(&format!("SET {number} 1"));
    }
    let drawn: HashSet<String> = (0..1000).map(|_| server.ask("RANDOMKEY")).collect();
    assert!(drawn.len() > 25, "only {} of 30 keys in 1000 draws", drawn.len());
    assert_eq!(server.ask("FLUSHALL"), "+OK");
    server.version = Version::Resp3;
    assert_eq!(server.ask("RANDOMKEY"), "_");
}

#[test]
fn strings_are_not_made_longer_than_allowed() {
    let mut server = Server::new(1);
    server.bulk_bytes_max = 10;
    let refused = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    server.ask("SET k 12345");
    assert_eq!(server.ask("APPEND k 67890"), ":10");
    assert_eq!(server.ask("APPEND k 1"), refused);
    assert_eq!(server.ask("SETRANGE k 9 x"), ":10");
    assert_eq!(server.ask("SETRANGE k 10 x"), refused);
    assert_eq!(server.ask("SETRANGE none 10 x"), refused);
    assert_eq!(server.ask("STRLEN k"), ":10");
    let refused = "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
    assert_eq!(server.ask("LCS k none"), refused);
}

#[test]
fn a_value_keeps_its_expiry_on_its_way_between_shards() {
    let mut server = Server::new(3);
    // Enough keys that every pair of shards is crossed.
    for (from, to) in (0..12).flat_map(|from| (0..12).map(move |to| (from, to))) {
        server.ask("FLUSHALL");
        server.ask(&format!("SET from{from} v PX 5000"));
        assert_eq!(server.ask(&format!("COPY from{from} copy{to} DB 3")), ":1");
        assert_eq!(server.ask(&format!("RENAME from{from} to{to}")), "+OK");
        assert_eq!(server.ask(&format!("EXISTS from{from}")), ":0");
        assert_eq!(server.ask(&format!("PTTL to{to}")), ":5000");
        server.ask("SELECT 3");
        assert_eq!(server.ask(&format!("PTTL copy{to}")), ":5000");
        assert_eq!(server.ask("DBSIZE"), ":1");
        server.ask("SELECT 0");
    }
}

#[test]
fn internal_commands_are_not_for_clients() {
    let mut server = Server::new(1);
    server.ask("SET k v");
    assert!(server.ask("annulus.fetch k").starts_with("-ERR unknown command"));
    assert_eq!(server.ask("COMMAND INFO annulus.fetch"), "[$-1]");
    assert!(!server.ask("COMMAND LIST").contains("annulus"));
    assert!(!server.ask("COMMAND DOCS").contains("annulus."));
}

#[test]
fn help_lists_every_subcommand() {
    let mut server = Server::new(1);
    for container in ["CLIENT", "CLUSTER", "COMMAND", "CONFIG", "MEMORY", "MODULE", "OBJECT"] {
        let text = server.ask(&format!("{container} HELP"));
        assert!(text.starts_with(&format!("[+{container} <subcommand>")), "{text}");
        let command = super::lookup(container.as_bytes()).expect("a container");
        for subcommand in command.subcommands() {
            assert!(text.contains(&format!("+{}", subcommand.name.to_uppercase())), "{text}");
        }
    }
}

#[test]
fn documentation_has_the_shape_that_clients_read() {
    let mut server = Server::new(1);
    server.version = Version::Resp3;
    assert_eq!(
        server.ask("COMMAND DOCS strlen"),
        "{\"strlen\" {\"summary\" \"Tells the length of a string\" \"since\" \"2.2.0\" \"group\" \"string\" \
         \"complexity\" \"O(1)\" \"arguments\" [{\"name\" \"key\" \"type\" \"key\" \"key_spec_index\" :0}]}}"
    );
    let copy = server.ask("COMMAND DOCS copy");
    assert!(copy.contains("{\"name\" \"destination\" \"type\" \"key\" \"key_spec_index\" :1}"), "{copy}");
    let setex = server.ask("COMMAND DOCS setex");
    assert!(
        setex.contains("\"doc_flags\" <+deprecated> \"deprecated_since\" \"2.6.12\" \"replaced_by\""),
        "{setex}"
    );
    let client = server.ask("COMMAND DOCS client");
    assert!(client.contains("\"subcommands\" {\"client|caching\" {\"summary\""), "{client}");
}

#[test]
fn fields_expire_one_by_one() {
    let mut server = Server::new(2);
    assert_eq!(server.ask("HSET h a 1 b 2 c 3"), ":3");
    assert_eq!(server.ask("HPEXPIRE h 100 FIELDS 2 a nosuch"), "[:1 :-2]");
    assert_eq!(server.ask("HTTL h FIELDS 3 a b nosuch"), "[:1 :-1 :-2]");
    assert_eq!(server.ask("HPTTL h FIELDS 1 a"), "[:100]");
    assert_eq!(server.ask("HEXPIRETIME h FIELDS 1 a"), format!("[:{}]", NOW_MS / 1000 + 1));
    assert_eq!(server.ask("HPEXPIRETIME h FIELDS 1 a"), format!("[:{}]", NOW_MS + 100));
    assert_eq!(server.ask("HPEXPIRE h 50 GT FIELDS 2 a b"), "[:0 :0]", "no expiry is later than any");
    assert_eq!(server.ask("HPEXPIRE h 50 LT FIELDS 2 a b"), "[:1 :1]");
    assert_eq!(server.ask("HPEXPIRE h 70 NX FIELDS 2 a c"), "[:0 :1]");
    assert_eq!(server.ask("HPEXPIRE h 60 XX FIELDS 1 nosuch"), "[:-2]");
    server.set_now(NOW_MS + 50);
    assert_eq!(
        server.ask("HMGET h a b c"),
        "[\"1\" \"2\" \"3\"]",
        "at its very millisecond a field is still there"
    );
    server.set_now(NOW_MS + 51);
    assert_eq!(server.ask("HMGET h a b c"), "[$-1 $-1 \"3\"]");
    assert_eq!(server.ask("HLEN h"), ":1");
    assert_eq!(server.ask("HGETALL h"), "[\"c\" \"3\"]");
    assert_eq!(server.ask("HRANDFIELD h 5"), "[\"c\"]");
    assert_eq!(server.ask("HEXISTS h a"), ":0");
    assert_eq!(server.ask("HSET h a 9"), ":1", "a field whose time has passed is new");
    assert_eq!(server.ask("HTTL h FIELDS 1 a"), "[:-1]");
    assert_eq!(server.ask("HDEL h b"), ":0");
    assert_eq!(server.ask("HPERSIST h FIELDS 3 a c nosuch"), "[:-1 :1 :-2]");
    server.set_now(NOW_MS + 100);
    assert_eq!(server.ask("HGET h c"), "\"3\"");
    assert_eq!(server.ask("HEXPIREAT h 1 FIELDS 1 c"), "[:2]", "a moment that has passed removes the field");
    assert_eq!(server.ask("HPEXPIREAT h 0 FIELDS 1 a"), "[:2]");
    assert_eq!(server.ask("EXISTS h"), ":0", "and the key with the last one");
    assert_eq!(server.ask("HEXPIRE h 1 FIELDS 2 a b"), "[:-2 :-2]");
    assert_eq!(server.ask("HPTTL h FIELDS 1 a"), "[:-2]");
}

#[test]
fn setting_a_field_ends_its_expiry_and_counting_up_does_not() {
    let mut server = Server::new(1);
    server.ask("HSET h a 1 b 2");
    server.ask("HEXPIRE h 100 FIELDS 2 a b");
    server.ask("HINCRBY h a 5");
    server.ask("HSET h b 3");
    assert_eq!(server.ask("HTTL h FIELDS 2 a b"), "[:100 :-1]");
    server.ask("HINCRBYFLOAT h a 0.5");
    assert_eq!(server.ask("HTTL h FIELDS 1 a"), "[:100]");
    assert_eq!(server.ask("COPY h copy"), ":1");
    assert_eq!(server.ask("HTTL copy FIELDS 2 a b"), "[:100 :-1]");
    assert_eq!(server.ask("RENAME copy elsewhere"), "+OK");
    assert_eq!(server.ask("HTTL elsewhere FIELDS 2 a b"), "[:100 :-1]");
}

#[test]
fn fields_are_read_and_set_together_with_their_expiry() {
    let mut server = Server::new(1);
    assert_eq!(server.ask("HSETEX h EX 100 FIELDS 2 a 1 b 2"), ":1");
    assert_eq!(server.ask("HTTL h FIELDS 2 a b"), "[:100 :100]");
    assert_eq!(server.ask("HSETEX h FNX FIELDS 2 a 5 c 5"), ":0", "one of them is there");
    assert_eq!(server.ask("HSETEX h FXX FIELDS 2 a 5 c 5"), ":0", "one of them is not");
    assert_eq!(server.ask("HSETEX h FXX KEEPTTL FIELDS 1 a 5"), ":1");
    assert_eq!(server.ask("HSETEX h PX 5000 FNX FIELDS 1 c 3"), ":1");
    assert_eq!(server.ask("HSETEX h FIELDS 1 b 6"), ":1");
    assert_eq!(server.ask("HPTTL h FIELDS 3 a b c"), "[:100000 :-1 :5000]");
    assert_eq!(server.ask("HGETEX h FIELDS 3 a nosuch c"), "[\"5\" $-1 \"3\"]");
    assert_eq!(server.ask("HGETEX h PERSIST FIELDS 1 a"), "[\"5\"]");
    assert_eq!(server.ask("HGETEX h EX 7 FIELDS 1 b"), "[\"6\"]");
    assert_eq!(server.ask("HTTL h FIELDS 3 a b c"), "[:-1 :7 :5]");
    assert_eq!(server.ask("HGETEX h PXAT 1 FIELDS 1 c"), "[\"3\"]");
    assert_eq!(server.ask("HGETDEL h FIELDS 3 a c b"), "[\"5\" $-1 \"6\"]");
    assert_eq!(server.ask("EXISTS h"), ":0");
    assert_eq!(server.ask("HGETDEL h FIELDS 1 a"), "[$-1]");
    assert_eq!(server.ask("HGETEX h FIELDS 1 a"), "[$-1]");
}

#[test]
fn wrong_expiries_of_fields_are_refused() {
    let mut server = Server::new(1);
    server.ask("SET s string");
    server.ask("HSET h a 1");
    for (command, error) in [
        ("HEXPIRE h x FIELDS 1 a", "ERR value is not an integer or out of range"),
        ("HEXPIRE h -1 FIELDS 1 a", "ERR invalid expire time, must be >= 0"),
        ("HEXPIRE h 70368744177664 FIELDS 1 a", "ERR invalid expire time in 'hexpire' command"),
        ("HPEXPIREAT h 70368744177664 FIELDS 1 a", "ERR invalid expire time in 'hpexpireat' command"),
        ("HEXPIRE h 1 FIELDS 0 a", "ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 1 FIELDS 2 a", "ERR The `numfields` parameter must match the number of arguments"),
        ("HEXPIRE h 1 FOO 1 a", "ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HTTL h FOO 1 a", "ERR Mandatory argument FIELDS is missing or not at the right position"),
        (
            "HSETEX h EX 1 PX 1 FIELDS 1 a 1",
            "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
        ),
        ("HSETEX h FNX FXX FIELDS 1 a 1", "ERR Only one of FXX or FNX arguments can be specified"),
        (
            "HSETEX h KEEPTTL EX 1 FIELDS 1 a 1",
            "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
        ),
        ("HSETEX h FNX BOGUS FIELDS 1 a 1", "ERR unknown argument: BOGUS"),
        (
            "HSETEX h FNX KEEPTTL EX 1",
            "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
        ),
        ("HSETEX h FNX PXAT 1 FIELDS", "ERR wrong number of arguments for 'hsetex' command"),
        ("HSETEX h FIELDS 0 a 1", "ERR invalid number of fields"),
        ("HSETEX h FIELDS x a 1", "ERR invalid number of fields"),
        ("HSETEX h FIELDS 2 a 1 b", "ERR wrong number of arguments for 'hsetex' command"),
        ("HSETEX h EX -1 FIELDS 1 a 1", "ERR invalid expire time, must be >= 0"),
        (
            "HGETEX h EX 1 PERSIST FIELDS 1 a",
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ),
        ("HGETEX h FIELDS 0 a", "ERR Number of fields must be a positive integer"),
        ("HGETEX h PX x FIELDS 1 a", "ERR value is not an integer or out of range"),
        ("HPERSIST h FIELDS x a", "ERR Number of fields must be a positive integer"),
        ("HGETDEL h FIELDS 2 a", "ERR The `numfields` parameter must match the number of arguments"),
        ("HEXPIRE s 1 FIELDS 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HTTL s FIELDS 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HGETDEL s FIELDS 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ] {
        assert_eq!(server.ask(command), format!("-{error}"), "{command}");
    }
    assert_eq!(server.ask("HTTL h FIELDS 1 a"), "[:-1]");
}

#[test]
fn memory_usage_grows_with_the_value() {
    let mut server = Server::new(1);
    let bytes = |server: &mut Server, key: &str| -> usize {
        server
            .ask(&format!("MEMORY USAGE {key} SAMPLES 0"))
            .trim_start_matches(':')
            .parse()
            .expect("a number")
    };
    for (key, push) in [("l", "RPUSH l"), ("h", "HSET h x"), ("s", "SADD s")] {
        server.ask(&format!("{push} first"));
        let small = bytes(&mut server, key);
        assert!((32..200).contains(&small), "{key}: {small}");
        for number in 0..1000 {
            let filler = "x".repeat(100);
            let field = if key == "h" { format!("HSET h {number}") } else { push.to_owned() };
            server.ask(&format!("{field} {filler}{number}"));
        }
        let large = bytes(&mut server, key);
        assert!((103_000..190_000).contains(&large), "{key}: {large}");
    }
    assert_eq!(server.ask("MEMORY USAGE none"), "$-1");
    assert_eq!(server.ask("MEMORY USAGE l SAMPLES -1"), "-ERR syntax error");
    assert_eq!(server.ask("MEMORY USAGE l SAMPLES x"), "-ERR value is not an integer or out of range");
    assert_eq!(server.ask("MEMORY USAGE none FOO"), "-ERR syntax error");
}

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
    assert!(!server.ask("COMMAND DOCS").contains("annulus"));
}

#[test]
fn help_lists_every_subcommand() {
    let mut server = Server::new(1);
    for container in ["CLIENT", "CLUSTER", "COMMAND", "CONFIG", "MODULE", "OBJECT"] {
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

//! What redis-server has saved is imported and served by ours; what ours exports is loaded by redis-server. Everything is compared, key by key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use annulus_tests::{
    process::{run, wait_for},
    random::{Random, seed_from},
    resp::{Connection, Value, encode},
    server::{Server, Setup, scratch_dir, target_is_redis},
};

use crate::tools::expect;

const DATABASES: usize = 4;
/// Far away.
const SECONDS: usize = 1_000_000;

/// Everything that a server has: by database, key and what was asked.
type Contents = BTreeMap<String, String>;

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

/// A value of some length: a number, text that can be compressed, or bytes.
fn value(random: &mut Random) -> Vec<u8> {
    let len = match random.below(12) {
        0 => 0,
        1 => 2000 + random.below(20_000),
        2..5 => random.below(300),
        _ => 1 + random.below(20),
    };
    match random.below(4) {
        0 => (random.bits() as i64 >> random.below(64)).to_string().into_bytes(),
        1 => b"again and ".iter().copied().cycle().take(len).collect(),
        _ => (0..len).map(|_| random.bits() as u8).collect(),
    }
}

/// Commands that make a key of any type, small or large, and then change it.
fn key_commands(random: &mut Random, number: usize) -> Vec<Vec<Vec<u8>>> {
    let tag = if random.one_in(3) { "{tag}" } else { "" };
    let key = format!("key{tag}:{number}").into_bytes();
    let count = 1 + if random.one_in(10) { 300 } else { random.below(20) };
    let mut commands = Vec::new();
    let mut say = |name: &str, rest: Vec<Vec<u8>>| {
        let head = words(name);
        commands.push([head, vec![key.clone()], rest].concat());
    };
    let number = |random: &mut Random| (random.bits() as i64 >> random.below(64)).to_string().into_bytes();
    match random.below(7) {
        0 => say("SET", vec![value(random)]),
        1 => (0..count)
            .for_each(|_| say(if random.one_in(2) { "RPUSH" } else { "LPUSH" }, vec![value(random)])),
        2 => (0..count).for_each(|_| say("SADD", vec![number(random)])),
        3 => (0..count).for_each(|_| say("SADD", vec![value(random)])),
        4 => (0..count).for_each(|_| say("HSET", vec![value(random), value(random)])),
        5 => {
            for _ in 0..count {
                let score = match random.below(5) {
                    0 => b"-inf".to_vec(),
                    1 => (random.below(1_000_000) as f64 / 8.0).to_string().into_bytes(),
                    // Redis 7.0 and later versions write larger ones in different ways.
                    _ => (random.bits() as i64 >> (11 + random.below(50))).to_string().into_bytes(),
                };
                say("ZADD", vec![score, value(random)]);
            }
        }
        _ => stream(random, count, &mut say),
    }
    if random.one_in(4) {
        say("EXPIRE", vec![(SECONDS + random.below(SECONDS)).to_string().into_bytes()]);
    }
    commands
}

fn stream(random: &mut Random, count: usize, say: &mut dyn FnMut(&str, Vec<Vec<u8>>)) {
    let mut id = 1_700_000_000_000 + random.below(1000) as u64;
    let mut entries = Vec::new();
    for _ in 0..count {
        id += 1 + random.below(5) as u64;
        let name = if random.one_in(9) { "other" } else { "name" };
        let id = format!("{id}-{}", random.below(3)).into_bytes();
        entries.push(id.clone());
        say("XADD", vec![id, name.into(), value(random)]);
    }
    for entry in &entries {
        if random.one_in(7) {
            say("XDEL", vec![entry.clone()]);
        }
    }
    for group in ["one", "two"].into_iter().take(random.below(3)) {
        say("XGROUP CREATE", words(&format!("{group} 0")));
    }
}

/// Reading for groups needs the key in another place of the command.
fn group_commands(random: &mut Random, key: &str) -> Vec<Vec<Vec<u8>>> {
    let count = 1 + random.below(8);
    let mut commands = vec![
        words(&format!("XREADGROUP GROUP one alice COUNT {count} STREAMS {key} >")),
        words(&format!("XREADGROUP GROUP one bob COUNT {count} STREAMS {key} >")),
        words(&format!("XGROUP CREATECONSUMER {key} one idle")),
    ];
    commands.push(words(&format!("XACK {key} one 1700000000010-0 1700000000010-1 1700000000011-0")));
    commands
}

const LIBRARY: &str = "#!lua name=mine\nredis.register_function('hello', function() return 'hi' end)";

/// Fills a server: `keys` in some databases.
fn fill(connection: &mut Connection, random: &mut Random, keys: std::ops::Range<usize>) {
    for number in keys {
        let database = random.below(8).saturating_sub(8 - DATABASES);
        connection.line(&format!("SELECT {database}"));
        let commands = key_commands(random, number);
        let replies = connection.pipeline(&commands).expect("the server answers");
        // Groups that exist already are the only thing refused.
        assert!(replies.iter().filter(|reply| reply.is_error()).all(|it| it.text().contains("BUSYGROUP")));
        let key = String::from_utf8(commands[0][if commands[0][0] == b"XGROUP" { 2 } else { 1 }].clone());
        let commands = group_commands(random, &key.expect("keys are text"));
        connection.pipeline(&commands).expect("the server answers");
    }
    connection.line("SELECT 0");
    let loaded = connection.command(&["FUNCTION", "LOAD", "REPLACE", LIBRARY]);
    assert!(!loaded.is_error(), "{loaded}");
}

fn sorted(value: &Value, each: usize) -> String {
    let mut items: Vec<String> = value.items().chunks(each).map(|chunk| format!("{chunk:?}")).collect();
    items.sort_unstable();
    items.join(" ")
}

fn contents(connection: &mut Connection) -> Contents {
    let mut contents = Contents::new();
    for database in 0..DATABASES {
        connection.line(&format!("SELECT {database}"));
        let keys = connection.line("KEYS *");
        contents.insert(format!("{database}"), keys.items().len().to_string());
        for key in keys.items() {
            let key = key.text();
            let place = format!("{database} {key}");
            let kind = connection.line(&format!("TYPE {key}")).text();
            let said = match kind.as_str() {
                "string" => connection.line(&format!("GET {key}")).to_string(),
                "list" => connection.line(&format!("LRANGE {key} 0 -1")).to_string(),
                "set" => sorted(&connection.line(&format!("SMEMBERS {key}")), 1),
                "hash" => sorted(&connection.line(&format!("HGETALL {key}")), 2),
                "zset" => connection.line(&format!("ZRANGE {key} 0 -1 WITHSCORES")).to_string(),
                "stream" => described_stream(connection, &key),
                other => panic!("{key} is of type {other}"),
            };
            let expiry = connection.line(&format!("PEXPIRETIME {key}"));
            contents.insert(place, format!("{kind} {expiry} {said}"));
        }
    }
    connection.line("SELECT 0");
    contents.insert("functions".to_owned(), connection.line("FUNCTION LIST WITHCODE").to_string());
    contents
}

fn described_stream(connection: &mut Connection, key: &str) -> String {
    let mut said = vec![connection.line(&format!("XRANGE {key} - +")).to_string()];
    let about = connection.line(&format!("XINFO STREAM {key}"));
    for pair in about.items().chunks(2) {
        if !pair[0].text().starts_with("radix") {
            said.push(format!("{}={}", pair[0], pair[1]));
        }
    }
    for group in connection.line(&format!("XINFO GROUPS {key}")).items() {
        said.push(group.to_string());
        let name = group.items()[1].text();
        for consumer in connection.line(&format!("XINFO CONSUMERS {key} {name}")).items() {
            // What follows tells how long ago something was.
            said.push(format!("{:?}", &consumer.items()[..4]));
        }
        let pending = connection.line(&format!("XPENDING {key} {name} - + 1000"));
        for entry in pending.items() {
            let entry = entry.items();
            said.push(format!("{} at {}, {}", entry[0], entry[1], entry[3]));
        }
    }
    said.join(" ")
}

#[track_caller]
fn assert_same(expected: &Contents, found: &Contents, seed: u64) {
    for (place, value) in expected {
        let other = found.get(place).map_or("nothing", String::as_str);
        let same = value.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
        let shown = |text: &str| {
            let around = text.as_bytes().iter().skip(same.saturating_sub(40)).take(120);
            around.map(|byte| char::from(*byte)).collect::<String>()
        };
        assert!(value == other, "{place} (seed {seed}), at {same}:\n{}\n{}", shown(value), shown(other));
    }
    let more: Vec<_> = found.keys().filter(|place| !expected.contains_key(*place)).collect();
    assert!(more.is_empty(), "not in the source (seed {seed}): {more:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

fn serve(dir: &Path, shards: usize) -> Server {
    Setup::annulus().durability("always").shards(shards).dir(dir).start()
}

/// What is in the directory of a test, but for what it made itself.
fn left_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it can be read");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A redis-server with everything, its seed, and what it has.
fn filled(setup: &Setup) -> (Server, u64, Contents) {
    let seed = seed_from("ANNULUS_EXCHANGE_SEED");
    let mut random = Random::new(seed);
    let server = setup.start();
    let mut connection = server.connect();
    fill(&mut connection, &mut random, 0..90);
    if setup_is_logged(&server) {
        // What a rewrite has taken, and what came after it.
        assert!(!connection.line("BGREWRITEAOF").is_error());
        wait_for("the rewrite to end", || {
            let info = connection.line("INFO persistence").text();
            info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
        });
        fill(&mut connection, &mut random, 90..120);
        connection.line("DEL key:3 key:4 key:5");
        let transaction = [words("MULTI"), words("INCR counted"), words("LPUSH listed a b"), words("EXEC")];
        assert!(!connection.pipeline(&transaction).expect("it answers").iter().any(Value::is_error));
    }
    let all = contents(&mut connection);
    (server, seed, all)
}

fn setup_is_logged(server: &Server) -> bool {
    server.data().join("appendonlydir").exists()
}

#[test]
fn what_redis_has_saved_is_served_and_what_is_exported_redis_loads() {
    if target_is_redis() {
        return;
    }
    let (redis, seed, expected) = filled(&Setup::redis());
    assert_eq!(redis.connect().line("SAVE"), Value::ok());
    let scratch = scratch_dir();
    let place = |name: &str| scratch.path().join(name);
    let (rdb, imported, exported) = (redis.data().join("dump.rdb"), place("imported"), place("exported.rdb"));
    expect(&["import", text(&rdb), text(&imported), "--shards", "2"], 0, "imported to");
    expect(&["check", text(&imported)], 0, "whole");
    expect(&["import", text(&rdb), text(&imported)], 2, "is there already");

    // A server that has no data directory yet can begin with it, once.
    let begins = Setup::annulus().durability("always").shards(2).arguments(&["--load-from", text(&rdb)]);
    let mut begun = begins.start();
    assert_same(&expected, &contents(&mut begun.connect()), seed);
    begun.connect().line("SET written-later 1");
    begun.kill();
    begun.start_again();
    assert_eq!(begun.connect().line("GETDEL written-later"), Value::bulk("1"));
    assert_same(&expected, &contents(&mut begun.connect()), seed);
    let absent = Setup::annulus().arguments(&["--load-from", text(&place("absent.rdb"))]);
    let refused = format!("{:?}", absent.try_start().map(drop).expect_err("there is no such file"));
    assert!(refused.contains("absent.rdb") && refused.contains("not found"), "{refused}");

    // The number of shards is no matter of the import.
    let mut ours = serve(&imported, 3);
    assert_same(&expected, &contents(&mut ours.connect()), seed);
    assert_eq!(ours.connect().line("FCALL hello 0"), Value::bulk("hi"));
    ours.connect().line("SET written-later 1");
    expect(&["export", text(&imported), text(&exported)], 2, "in use by process");
    assert!(ours.stop().success());

    expect(&["export", text(&imported), text(&exported)], 0, "for Redis 7.0 and later");
    expect(&["export", text(&imported), text(&exported)], 2, "is there already");
    let checked = run(Command::new("redis-check-rdb").arg(&exported), b"", Duration::from_mins(1));
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.contains("RDB looks OK"), "{said}");
    let data = place("redis");
    fs::create_dir(&data).expect("it can be made");
    fs::copy(&exported, data.join("dump.rdb")).expect("it can be copied");
    let again = Setup::redis().dir(&data).start();
    assert_eq!(again.connect().line("GETDEL written-later"), Value::bulk("1"));
    assert_same(&expected, &contents(&mut again.connect()), seed);
    assert_eq!(left_in(scratch.path()), ["exported.rdb", "imported", "redis"]);
}

#[test]
fn append_only_files_are_replayed_in_either_form() {
    if target_is_redis() {
        return;
    }
    let (mut redis, seed, _) = filled(&Setup::redis().durability("always"));
    redis.kill();
    let scratch = scratch_dir();
    let place = |name: &str| scratch.path().join(name);
    let logs = redis.data().join("appendonlydir");
    let said = expect(&["import", text(&logs), text(&place("new")), "--shards", "2"], 0, "imported to");
    assert!(!said.contains("error"), "{said}");
    // Not what it had: its log does not tell how much of a stream each group has read.
    redis.start_again();
    let expected = contents(&mut redis.connect());
    redis.kill();
    let ours = serve(&place("new"), 2);
    assert_same(&expected, &contents(&mut ours.connect()), seed);
    drop(ours);

    // As Redis before 7.0 has it: commands behind an RDB file, in one.
    let of = |suffix: &str| {
        let name = left_in(&logs).into_iter().find(|name| name.ends_with(suffix));
        fs::read(logs.join(name.expect("it is there"))).expect("it can be read")
    };
    let mut whole = [of(".base.rdb"), of(".incr.aof")].concat();
    let old = place("appendonly.aof");
    fs::write(&old, &whole).expect("it can be written");
    expect(&["import", text(&old), text(&place("old")), "--shards", "1"], 0, "imported to");
    let ours = serve(&place("old"), 1);
    assert_same(&expected, &contents(&mut ours.connect()), seed);
    drop(ours);

    // A last command that was cut off was never acknowledged; anything else is damage.
    whole.extend(b"*3\r\n$3\r\nSET\r\n$7\r\ncounted\r\n$2\r\n9");
    fs::write(&old, &whole).expect("it can be written");
    expect(&["import", text(&old), text(&place("cut")), "--shards", "1"], 0, "is cut off and left out");
    let offset = whole.len();
    whole.extend(b"9\r\nrubbish\r\n");
    fs::write(&old, &whole).expect("it can be written");
    expect(
        &["import", text(&old), text(&place("bad"))],
        2,
        &format!("offset {}: this is no command", offset + 3),
    );
    whole.truncate(offset);
    whole.extend(b"9\r\n*1\r\n$6\r\nNOSUCH\r\n");
    fs::write(&old, &whole).expect("it can be written");
    expect(&["import", text(&old), text(&place("bad"))], 2, "unknown command 'NOSUCH'");
    assert_eq!(left_in(scratch.path()), ["appendonly.aof", "cut", "new", "old"]);
}

#[test]
fn nothing_expires_while_commands_are_replayed() {
    if target_is_redis() {
        return;
    }
    let scratch = scratch_dir();
    let (log, new) = (scratch.path().join("appendonly.aof"), scratch.path().join("new"));
    // Long ago: when these commands were first done, it was not.
    let lines = [
        "SELECT 0",
        "SET kept 1 PXAT 1500000000000",
        "SET gone 1 PXAT 1500000000000",
        "INCR kept",
        "PERSIST kept",
        "MULTI",
        "SET unfinished 1",
    ];
    let bytes: Vec<u8> = lines.iter().flat_map(|line| encode(&words(line))).collect();
    fs::write(&log, bytes).expect("it can be written");
    expect(&["import", text(&log), text(&new), "--shards", "2"], 0, "the last transaction");
    let ours = serve(&new, 2);
    let mut connection = ours.connect();
    assert_eq!(connection.line("GET kept"), Value::bulk("2"));
    assert!(connection.line("GET gone").is_null());
    assert!(connection.line("GET unfinished").is_null());
}

#[test]
fn a_damaged_file_is_refused_with_its_place_and_leaves_nothing() {
    if target_is_redis() {
        return;
    }
    let (redis, seed, _) = filled(&Setup::redis());
    assert_eq!(redis.connect().line("SAVE"), Value::ok());
    let bytes = fs::read(redis.data().join("dump.rdb")).expect("it can be read");
    let scratch = scratch_dir();
    let (file, new): (PathBuf, PathBuf) = (scratch.path().join("dump.rdb"), scratch.path().join("new"));
    let mut random = Random::new(seed);
    let refused = |bytes: &[u8], says: &str| {
        fs::write(&file, bytes).expect("it can be written");
        let said = expect(&["import", text(&file), text(&new), "--shards", "2"], 2, says);
        assert!(said.contains("dump.rdb"), "{said}");
        assert_eq!(left_in(scratch.path()), ["dump.rdb"], "{said}");
    };
    for _ in 0..5 {
        let len = 9 + random.below(bytes.len() - 9);
        refused(&bytes[..len], "cut off");
        let mut flipped = bytes.clone();
        flipped[len] ^= 1 << random.below(8);
        refused(&flipped, "offset ");
    }
    refused(&[&bytes[..], b"more"].concat(), "what follows are no commands");
    refused(b"nonsense", "neither an RDB file nor");
    expect(&["import", text(&scratch.path().join("absent")), text(&new)], 2, "absent");
    expect(&["import", text(scratch.path()), text(&new)], 2, ".manifest");
}

#[test]
fn fields_that_expire_are_exported_for_redis_7_4_and_come_back() {
    if target_is_redis() {
        return;
    }
    let scratch = scratch_dir();
    let place = |name: &str| scratch.path().join(name);
    let mut ours = serve(&place("first"), 2);
    let mut connection = ours.connect();
    connection.line("HSET fields a 1 b 2 c 3");
    connection.line("HPEXPIREAT fields 4102444800000 FIELDS 1 a");
    connection.line("HPEXPIREAT fields 4102444800999 FIELDS 1 b");
    connection.line("SET other 1");
    assert!(ours.stop().success());
    let file = place("fields.rdb");
    expect(&["export", text(&place("first")), text(&file)], 0, "for Redis 7.4 and later");
    expect(&["import", text(&file), text(&place("second")), "--shards", "1"], 0, "RDB version 12, 2 keys");
    let again = serve(&place("second"), 1);
    let mut connection = again.connect();
    let times = connection.line("HPEXPIRETIME fields FIELDS 3 a b c");
    let times: Vec<_> = times.items().iter().map(Value::number).collect();
    assert_eq!(times, [Some(4_102_444_800_000), Some(4_102_444_800_999), Some(-1)]);
    assert_eq!(sorted(&connection.line("HGETALL fields"), 2).matches("Bulk").count(), 6);
}

#[test]
fn members_that_expire_are_exported_without_their_expiry() {
    if target_is_redis() {
        return;
    }
    let scratch = scratch_dir();
    let place = |name: &str| scratch.path().join(name);
    let mut ours = serve(&place("first"), 2);
    let mut connection = ours.connect();
    connection.line("SADD set a b c");
    connection.line("SEXPIREAT set 4102444800 MEMBERS 2 a b");
    connection.line("ZADD scores 1 a 2 b");
    connection.line("ZEXPIREAT scores 4102444800 MEMBERS 1 a");
    let dumped = connection.line("DUMP scores").bytes().expect("a payload").to_vec();
    let restored = connection.command(&[&b"RESTORE"[..], b"copy", b"0", &dumped]);
    assert_eq!(restored, Value::ok());
    assert_eq!(connection.line("ZEXPIRETIME copy MEMBERS 2 a b").items()[0].number(), Some(4_102_444_800));
    let redis = Setup::redis().start();
    let refused = redis.connect().command(&[&b"RESTORE"[..], b"copy", b"0", &dumped]);
    assert!(refused.is_error(), "a form of our own: {refused}");
    connection.line("SET plain x");
    let url = |server: &Server| format!("redis://127.0.0.1:{}", server.port());
    expect(&["migrate", "--from", &url(&ours), "--to", &url(&redis)], 1, "3 were refused:");
    assert_eq!(redis.connect().line("KEYS *").items(), [Value::bulk("plain")]);
    assert!(ours.stop().success());
    let file = place("members.rdb");
    expect(&["export", text(&place("first")), text(&file)], 0, "4 members of sets expire");
    expect(&["import", text(&file), text(&place("second")), "--shards", "1"], 0, "4 keys");
    let again = serve(&place("second"), 1);
    let mut connection = again.connect();
    let lasting = Value::Integer(-1);
    assert_eq!(
        connection.line("STTL set MEMBERS 3 a b c").items(),
        [lasting.clone(), lasting.clone(), lasting]
    );
    assert_eq!(connection.line("ZCARD scores"), Value::Integer(2));
}

/// The same, but for the exact time of expiry: a time to live takes a while from server to server.
fn without_times(contents: &Contents) -> Contents {
    let roughly = |value: &String| {
        let mut words: Vec<&str> = value.splitn(3, ' ').collect();
        if let Some(time) = words.get_mut(1).filter(|word| word.starts_with(':') && **word != ":-1") {
            *time = "expires";
        }
        words.join(" ")
    };
    contents.iter().map(|(place, value)| (place.clone(), roughly(value))).collect()
}

#[test]
fn keys_migrate_between_servers_in_both_directions() {
    if target_is_redis() {
        return;
    }
    let (redis, seed, expected) = filled(&Setup::redis());
    let expected = without_times(&expected);
    assert_eq!(redis.connect().line("CONFIG SET requirepass secret"), Value::ok());
    let ours = Setup::annulus().shards(2).start();
    let url = |server: &Server, rest: &str| format!("redis://{rest}127.0.0.1:{}", server.port());
    let (from, to) = (url(&redis, ":secret@"), url(&ours, ""));
    expect(&["migrate", "--from", &url(&redis, ""), "--to", &to], 2, "--from: ");
    expect(&["migrate", "--from", &from, "--to", &format!("{to}/3")], 2, "several databases");
    // What is there already is replaced.
    for _ in 0..2 {
        expect(&["migrate", "--from", &from, "--to", &to], 0, " keys, ");
    }
    assert_same(&expected, &without_times(&contents(&mut ours.connect())), seed);

    let back = Setup::redis().start();
    expect(&["migrate", "--from", &to, "--to", &url(&back, "")], 0, "1 libraries of functions");
    assert_same(&expected, &without_times(&contents(&mut back.connect())), seed);

    // One database into another, and some keys only.
    ours.connect().line("MSET some:1 1 some:2 2 other 3");
    let into = format!("{}/9", url(&back, ""));
    expect(&["migrate", "--from", &format!("{to}/0"), "--to", &into, "--match", "some:*"], 0, "2 keys, ");
    let mut connection = back.connect();
    connection.line("SELECT 9");
    assert_eq!(
        connection.line("MGET some:1 some:2 other").items()[..2],
        [Value::bulk("1"), Value::bulk("2")]
    );
    assert_eq!(connection.line("DBSIZE").number(), Some(2));
}

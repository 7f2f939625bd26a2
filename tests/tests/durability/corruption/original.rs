//! A data directory as a real server leaves it, and what is in it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use annulus_tests::{
    random::Random,
    resp::{Connection, Value},
    server::{Setup, scratch_dir},
};
use tempfile::TempDir;

const DATABASES: usize = 4;
/// Keys of each type, in each database.
const KEYS: usize = 60;
/// Writes behind the contents, one after the other. So each log ends with some frames whose loss no later frame can prove and that hold
/// nothing but these, and what is before them is proved to have been durable more than once.
const LAST_WORDS: usize = 40;

/// A key with all that can be read of it: database, key, and the rest in the notation of the scripts.
pub(super) type Contents = Vec<(usize, Vec<u8>, String)>;

pub(super) struct Original {
    _home: TempDir,
    data: PathBuf,
    contents: Contents,
    shards: usize,
    name: String,
}

impl Original {
    /// By a server over some lives.
    pub(super) fn make(random: &mut Random) -> Self {
        let home = scratch_dir();
        let data = home.path().join("data");
        let setup = |shards: usize| {
            Setup::annulus().durability("always").segment_size("1mb").dir(&data).shards(shards)
        };
        let lives = 1 + random.below(3);
        let mut shards = 1 + random.below(3);
        let mut name = String::from("lives of");
        let mut server = setup(shards).start();
        let mut contents = Contents::new();
        for life in 0..lives {
            if life > 0 {
                if random.one_in(3) {
                    shards = 1 + random.below(3);
                }
                server.start_again_as(&setup(shards));
            }
            let mut connection = server.connect();
            let (saves, commands) = (random.one_in(2), 100 + random.below(1500));
            write(&mut connection, commands, saves, random);
            contents = self::contents(&mut connection).expect("a healthy server answers");
            connection.line("SELECT 0");
            for number in 0..LAST_WORDS {
                let reply = connection.command(&["SET", &format!("end:{number}"), "end"]);
                assert_eq!(reply, Value::ok());
            }
            let stops = random.one_in(2);
            if stops {
                assert!(server.stop().success());
            } else {
                server.kill();
            }
            let (save, end) = (if saves { ", saved" } else { "" }, if stops { "stopped" } else { "killed" });
            let _ = write!(name, " [{shards} shards, {commands} commands{save}, {end}]");
        }
        eprintln!("{name}: {} keys", contents.len());
        Self { _home: home, data, contents, shards, name }
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// How it was made.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// To start on a copy of it, mostly with as many shards as were last.
    pub(super) fn setup(&self, random: &mut Random) -> Setup {
        let shards = if random.one_in(5) { 1 + random.below(3) } else { self.shards };
        Setup::annulus().durability("always").segment_size("1mb").shards(shards)
    }

    /// What is different in these contents, if anything.
    pub(super) fn difference(&self, found: &Contents) -> Option<String> {
        if self.contents == *found {
            return None;
        }
        let clip = |entry: &(usize, Vec<u8>, String)| {
            let (database, key, value) = entry;
            let value: String = value.chars().take(80).collect();
            format!("{} in database {database}: {value}", key.escape_ascii())
        };
        let lost = self.contents.iter().find(|entry| found.binary_search(entry).is_err()).map(clip);
        let come = found.iter().find(|entry| self.contents.binary_search(entry).is_err()).map(clip);
        Some(format!(
            "{} keys were acknowledged and {} are there; acknowledged and not there: {lost:?}, there and not acknowledged: {come:?}",
            self.contents.len(),
            found.len()
        ))
    }
}

/// The last words may be gone, but not be others.
pub(super) fn check_last_words(connection: &mut Connection) -> Result<(), String> {
    connection.line("SELECT 0");
    for number in 0..LAST_WORDS {
        let reply = connection.line(&format!("GET end:{number}"));
        if !reply.is_null() && reply != Value::bulk("end") {
            return Err(format!("end:{number} is {reply}"));
        }
    }
    Ok(())
}

/// All that can be read but the last words, sorted.
pub(super) fn contents(connection: &mut Connection) -> Result<Contents, String> {
    let mut all = Contents::new();
    let lost = |error| format!("the server closed the connection: {error}");
    for database in 0..DATABASES {
        connection.line(&format!("SELECT {database}"));
        let keys: Vec<Vec<u8>> = connection
            .line("KEYS *")
            .items()
            .iter()
            .filter_map(|key| key.bytes().map(<[u8]>::to_vec))
            .filter(|key| !key.starts_with(b"end:"))
            .collect();
        let ask = |words: &[&str], key: &[u8], more: &[&str]| -> Vec<Vec<u8>> {
            let words = words.iter().map(|word| word.as_bytes().to_vec());
            words.chain([key.to_vec()]).chain(more.iter().map(|word| word.as_bytes().to_vec())).collect()
        };
        let about: Vec<_> =
            keys.iter().flat_map(|key| [ask(&["TYPE"], key, &[]), ask(&["PEXPIRETIME"], key, &[])]).collect();
        let about = connection.pipeline(&about).map_err(lost)?;
        let reads: Vec<_> = keys
            .iter()
            .zip(about.chunks(2))
            .map(|(key, about)| match about[0].text().as_str() {
                "list" => ask(&["LRANGE"], key, &["0", "-1"]),
                "hash" => ask(&["HGETALL"], key, &[]),
                "set" => ask(&["SMEMBERS"], key, &[]),
                "zset" => ask(&["ZRANGE"], key, &["0", "-1", "WITHSCORES"]),
                "stream" => ask(&["XRANGE"], key, &["-", "+"]),
                _ => ask(&["GET"], key, &[]),
            })
            .collect();
        let values = connection.pipeline(&reads).map_err(lost)?;
        for ((key, about), value) in keys.into_iter().zip(about.chunks(2)).zip(values) {
            let value = in_one_order(&about[0].text(), value);
            all.push((database, key, format!("{} {} {value}", about[0], about[1])));
        }
    }
    all.sort();
    Ok(all)
}

/// Hashes and sets come in any order.
fn in_one_order(kind: &str, value: Value) -> Value {
    match (kind, value) {
        ("set", Value::Array(mut members)) => {
            members.sort();
            Value::Array(members)
        }
        ("hash", Value::Array(items)) => {
            let mut fields: Vec<_> = items.chunks(2).map(|field| Value::Array(field.to_vec())).collect();
            fields.sort();
            Value::Array(fields)
        }
        (_, value) => value,
    }
}

fn write(connection: &mut Connection, commands: usize, saves: bool, random: &mut Random) {
    let save_at = random.below(commands);
    let mut left = commands;
    while left > 0 {
        let some = left.min(1 + random.below(50));
        let mut pipeline: Vec<Vec<Vec<u8>>> = (0..some).flat_map(|_| next(random)).collect();
        if saves && (left - some..left).contains(&save_at) {
            pipeline.push(vec![b"BGSAVE".to_vec()]);
        }
        let replies = connection.pipeline(&pipeline).expect("a healthy server answers");
        for (command, reply) in pipeline.iter().zip(&replies) {
            // A key may have another type, not be there, or be the other one of two.
            let allowed = [
                "WRONGTYPE",
                "ERR unknown command",
                "ERR no such key",
                "ERR value is not",
                "ERR index out of range",
                "ERR source and destination objects are the same",
            ];
            let fits = !reply.is_error() || allowed.iter().any(|start| reply.text().starts_with(start));
            assert!(fits, "{reply} to {}", command[0].escape_ascii());
        }
        left -= some;
    }
}

/// One write, of a family that the server may not know yet.
fn next(random: &mut Random) -> Vec<Vec<Vec<u8>>> {
    let words =
        |words: &[&str]| -> Vec<Vec<u8>> { words.iter().map(|word| word.as_bytes().to_vec()).collect() };
    let key = |kind: &str, random: &mut Random| format!("{kind}:{}", random.below(KEYS));
    let (string, other) = (key("string", random), key("string", random));
    let (list, hash, set, sorted) =
        (key("list", random), key("hash", random), key("set", random), key("sorted", random));
    let element = random.below(40).to_string();
    let value = value(random);
    let with = |start: &[&str], value: &[u8]| {
        let mut all = words(start);
        all.push(value.to_vec());
        all
    };
    match random.below(40) {
        0..=9 => vec![with(&["SET", &string], &value)],
        10 => vec![words(&["SET", &string, "1", "EXAT", "4000000000"])],
        11 => vec![with(&["APPEND", &string], &value)],
        12 => vec![with(&["SETRANGE", &string, &element], &value)],
        13 => vec![words(&["DEL", &string])],
        14 => vec![words(&["INCR", &key("counter", random)])],
        15 => vec![words(&["RENAME", &string, &other])],
        16 => vec![words(&["COPY", &string, &other, "REPLACE"])],
        17 => vec![words(&["PEXPIREAT", &string, "4000000000000"])],
        18 => vec![words(&["PERSIST", &string])],
        19 | 20 => {
            let mut all = with(&["MSET", &string], &value);
            all.extend(with(&[&other], &value));
            vec![all]
        }
        21 => vec![
            words(&["MULTI"]),
            with(&["SET", &string], &value),
            with(&["SET", &other], &value),
            words(&["EXEC"]),
        ],
        22..=24 => vec![with(&["RPUSH", &list], &value)],
        25 => vec![words(&["LPOP", &list])],
        26 => vec![with(&["LSET", &list, "0"], &value)],
        27..=29 => vec![with(&["HSET", &hash, &element], &value)],
        30 => vec![words(&["HDEL", &hash, &element])],
        31 | 32 => vec![with(&["SADD", &set], &value), words(&["SADD", &set, &element])],
        33 => vec![words(&["SREM", &set, &element])],
        34 | 35 => vec![with(&["ZADD", &sorted, &element], &value)],
        36 => vec![words(&["PFADD", &key("sketch", random), &element])],
        37 => vec![words(&["SETBIT", &key("bits", random), &element, "1"])],
        38 => vec![words(&["SELECT", &random.below(DATABASES).to_string()])],
        _ => match random.below(20) {
            0 => vec![words(&["FLUSHDB"])],
            1 => vec![words(&["SWAPDB", "1", "2"])],
            _ => vec![words(&["MOVE", &string, "3"])],
        },
    }
}

/// Small ones, large ones, and now and then one that is larger than a frame.
fn value(random: &mut Random) -> Vec<u8> {
    let length = match random.below(100) {
        0 => 300_000 + random.below(100_000),
        1..=9 => random.below(20_000),
        _ => random.below(300),
    };
    let seed = random.bits();
    (0..length).map(|at| (seed.wrapping_mul(at as u64 + 1) >> 40) as u8).collect()
}

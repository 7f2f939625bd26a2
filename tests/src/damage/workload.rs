//! What is in directories that are to be damaged: writes of every kind, and a way to read it all.

use crate::random::Random;
use crate::resp::Value;

/// Databases that are written to.
const DATABASES: usize = 4;
/// Keys of each type, in each database.
const KEYS: usize = 60;
/// Writes behind the contents, one after the other. So each log ends with some frames whose loss no later frame can prove and that hold
/// nothing but these, and what is before them is proved to have been durable more than once.
const LAST_WORDS: usize = 40;

/// A key with all that can be read of it: database, key, and the rest in the notation of the scripts.
pub type Contents = Vec<(usize, Vec<u8>, String)>;

/// A command.
pub type Command = Vec<Vec<u8>>;

/// Sends commands at once, and reads the replies.
pub type Pipeline<'a> = dyn FnMut(&[Command]) -> Result<Vec<Value>, String> + 'a;

/// The last writes, each to be acknowledged before the next.
pub fn last_words() -> impl Iterator<Item = Command> {
    (0..LAST_WORDS).map(|number| vec![b"SET".to_vec(), format!("end:{number}").into_bytes(), b"end".to_vec()])
}

/// What is wrong with the replies to GET of the last words: they may be gone, but not be others.
pub fn check_last_words(pipeline: &mut Pipeline<'_>) -> Result<(), String> {
    let mut asked = vec![vec![b"SELECT".to_vec(), b"0".to_vec()]];
    asked.extend(last_words().map(|words| vec![b"GET".to_vec(), words[1].clone()]));
    let replies = pipeline(&asked)?;
    let wrong = |reply: &&Value| **reply != Value::ok() && !reply.is_null() && **reply != Value::bulk("end");
    match replies.iter().find(wrong) {
        Some(reply) => Err(format!("a last word is {reply}")),
        None => Ok(()),
    }
}

/// What is different in these contents, if anything.
pub fn difference(expected: &Contents, found: &Contents) -> Option<String> {
    if expected == found {
        return None;
    }
    let clip = |entry: &(usize, Vec<u8>, String)| {
        let (database, key, value) = entry;
        let value: String = value.chars().take(80).collect();
        format!("{} in database {database}: {value}", key.escape_ascii())
    };
    let lost = expected.iter().find(|entry| found.binary_search(entry).is_err()).map(clip);
    let come = found.iter().find(|entry| expected.binary_search(entry).is_err()).map(clip);
    Some(format!(
        "{} keys were acknowledged and {} are there; acknowledged and not there: {lost:?}, there and not acknowledged: {come:?}",
        expected.len(),
        found.len()
    ))
}

/// Whether a write may be answered so: a key may have another type, not be there, or be the other one of two.
pub fn is_allowed(reply: &Value) -> bool {
    let allowed = [
        "WRONGTYPE",
        "ERR no such key",
        "ERR value is not",
        "ERR index out of range",
        "ERR source and destination objects are the same",
        "ERR Background save already in progress",
    ];
    !reply.is_error() || allowed.iter().any(|start| reply.text().starts_with(start))
}

/// All that can be read but [the last words](last_words), sorted, by whoever runs pipelines.
pub fn contents(pipeline: &mut Pipeline<'_>) -> Result<Contents, String> {
    let mut all = Contents::new();
    for database in 0..DATABASES {
        let words = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let named = pipeline(&[words(&format!("SELECT {database}")), words("KEYS *")])?;
        let keys: Vec<Vec<u8>> = named[1]
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
        let about = pipeline(&about)?;
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
        let values = pipeline(&reads)?;
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

/// One write, with what belongs to it.
pub fn next(random: &mut Random) -> Vec<Vec<Vec<u8>>> {
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

//! When two replies to the same command are the same.
//!
//! Byte for byte, except where a reply is unordered, shows the passing of time, or names the server. What differs
//! knowingly is in [`KNOWN`], with the reason.

use annulus_tests::resp::Value;

/// Between the two servers' answers to the same question some time passes, on a busy machine even seconds.
const TOLERANCE_MS: i64 = 20_000;
const TOLERANCE_S: i64 = TOLERANCE_MS / 1000;

/// A difference that is meant.
struct Known {
    /// The command (and subcommand) in lower case; several are separated by `|`.
    command: &'static str,
    /// What the oracle says, from its beginning.
    oracle: &'static str,
    /// What ours says, from its beginning.
    ours: &'static str,
    #[expect(dead_code, reason = "it is for the reader")]
    reason: &'static str,
}

/// Every difference that is meant, and why.
const KNOWN: &[Known] = &[
    Known {
        command: "pfmerge|pfcount",
        oracle: "-WRONGTYPE ",
        ours: "-WRONGTYPE ",
        reason: "of a wrong type and a damaged sketch among keys of several shards, ours may meet the other one first",
    },
    Known {
        command: "zrank|zrevrank",
        oracle: "-ERR wrong number of arguments",
        ours: "-ERR syntax error",
        reason: "ours has WITHSCORE, which came with 7.2",
    },
    Known {
        command: "lpos",
        oracle: "",
        ours: "-ERR value is out of range",
        reason: "redis 7.0 negates the smallest RANK, and finds what it finds; later versions refuse it as ours does",
    },
    Known {
        command: "object refcount",
        oracle: ":1",
        ours: ":2147483647",
        reason: "ours says of a small integer what redis says of one that it shares, which the oracle's policy forbids it",
    },
    Known {
        command: "expire|pexpire|expireat|pexpireat",
        oracle: "-ERR Unsupported option ",
        ours: "-ERR Unsupported option ",
        reason: "redis repeats the option up to its first zero byte, ours all of it",
    },
    Known {
        command: "object encoding",
        oracle: "\"embstr\"",
        ours: "\"int\"",
        reason: "redis does not look whether INCRBYFLOAT's result is whole; ours is stored as what it is",
    },
    Known {
        command: "object encoding",
        oracle: "\"raw\"",
        ours: "\"int\"",
        reason: "redis copies how a string is stored with COPY; ours stores the copy as what it is",
    },
    Known {
        command: "object encoding",
        oracle: "\"raw\"",
        ours: "\"embstr\"",
        reason: "the same, of a string that is no number",
    },
    Known {
        command: "object encoding",
        oracle: "\"quicklist\"",
        ours: "\"listpack\"",
        reason: "small lists are one listpack since 7.2",
    },
    Known {
        command: "object encoding",
        oracle: "\"hashtable\"",
        ours: "\"listpack\"",
        reason: "small sets are a listpack since 7.2; a copy of a hash has the form that its fields ask for",
    },
    Known {
        command: "object encoding",
        oracle: "\"hashtable\"",
        ours: "\"intset\"",
        reason: "a copy of a set has the form that its members ask for",
    },
];

pub(super) fn same(arguments: &[Vec<u8>], expected: &Value, got: &Value) -> bool {
    if expected == got || same_sketch(expected, got) {
        return true;
    }
    let name = lower(arguments.first());
    let sub = lower(arguments.get(1));
    let full = format!("{name} {sub}");
    let like = match (name.as_str(), expected, got) {
        ("keys", Value::Array(expected), Value::Array(got)) => sorted(expected) == sorted(got),
        ("hkeys" | "hvals" | "smembers" | "sinter" | "sunion" | "sdiff" | "spop", _, _) => {
            members(expected) == members(got)
        }
        // Without a count one is told, any one; with a count all of them are, for the counts are large.
        ("hrandfield" | "srandmember", _, _) if arguments.len() == 2 => is_string(expected) && is_string(got),
        ("srandmember", _, _) => members(expected) == members(got),
        ("hrandfield", _, _) if arguments.len() == 3 => members(expected) == members(got),
        ("hgetall" | "hrandfield", _, _) => fields(expected) == fields(got),
        // How far a step goes, and the cursor, are each server's own.
        ("hscan" | "sscan" | "zscan" | "time" | "zrandmember", Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len()
        }
        ("randomkey" | "zrandmember", _, _) => is_string(expected) && is_string(got),
        ("ttl" | "expiretime", Value::Integer(expected), Value::Integer(got)) => {
            close(*expected, *got, TOLERANCE_S)
        }
        ("pttl" | "pexpiretime", Value::Integer(expected), Value::Integer(got)) => {
            close(*expected, *got, TOLERANCE_MS)
        }
        ("object", Value::Integer(expected), Value::Integer(got)) if sub == "idletime" => {
            (expected - got).abs() <= TOLERANCE_S
        }
        ("lastsave", Value::Integer(_), Value::Integer(_)) => true,
        ("client", Value::Integer(_), Value::Integer(_)) => sub == "id",
        ("hello", _, _) => same_hello(expected, got),
        (name, _, _) if name.starts_with('z') => same_scores(expected, got),
        _ => false,
    };
    like || is_known(&full, &name, expected, got)
}

/// Two entries of a dump: database, key, value as a string, time to live, encoding, value as a list, as a hash, as a set, as a sorted set.
pub(super) fn same_entry(expected: &Value, got: &Value) -> bool {
    let (Value::Array(expected), Value::Array(got)) = (expected, got) else { return expected == got };
    expected.iter().zip(got).enumerate().all(|(index, pair)| match pair {
        (Value::Integer(expected), Value::Integer(got)) if index == 3 => close(*expected, *got, TOLERANCE_MS),
        (expected, got) if index == 4 => {
            expected == got || is_known("object encoding", "object", expected, got)
        }
        (expected, got) if index == 6 => fields(expected) == fields(got),
        (expected, got) if index == 7 => members(expected) == members(got),
        (expected, got) if index == 8 => same_scores(expected, got),
        (expected, got) => expected == got || same_sketch(expected, got),
    })
}

/// What an unordered reply lists, in an order; an error or a single value is itself.
fn members(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) | Value::Set(items) => sorted(items),
        other => vec![other.clone()],
    }
}

/// The pairs of an unordered reply likewise, however they are written.
fn fields(value: &Value) -> Vec<Value> {
    let pair = |name: &Value, value: &Value| Value::Array(vec![name.clone(), value.clone()]);
    match value {
        Value::Map(pairs) => sorted(&pairs.iter().map(|(name, value)| pair(name, value)).collect::<Vec<_>>()),
        Value::Array(items) if items.iter().all(is_string) => {
            sorted(&items.chunks(2).map(|chunk| Value::Array(chunk.to_vec())).collect::<Vec<_>>())
        }
        other => members(other),
    }
}

/// Equal but for how doubles are written: redis 7.0 shows seventeen digits, later versions and ours as few as tell it from others.
fn same_scores(expected: &Value, got: &Value) -> bool {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    match (expected, got) {
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len() && expected.iter().zip(got).all(|(a, b)| same_scores(a, b))
        }
        (Value::Bulk(a), Value::Bulk(b)) | (Value::Double(a), Value::Double(b)) => {
            a == b || number(a).is_some_and(|a| Some(a) == number(b))
        }
        _ => expected == got,
    }
}

/// HyperLogLogs, alone or among other values, equal but for the stored cardinality: redis stores what `PFCOUNT` has counted, ours only
/// reads.
fn same_sketch(expected: &Value, got: &Value) -> bool {
    if let (Value::Array(expected), Value::Array(got)) = (expected, got) {
        let mut pairs = expected.iter().zip(got);
        return expected.len() == got.len() && pairs.all(|(a, b)| a == b || same_sketch(a, b));
    }
    let (Value::Bulk(expected), Value::Bulk(got)) = (expected, got) else { return false };
    let parts = |bytes: &[u8]| {
        bytes.split_at_checked(8).map(|(head, rest)| (head.to_vec(), rest.get(8..).map(<[u8]>::to_vec)))
    };
    expected.starts_with(b"HYLL") && parts(expected) == parts(got)
}

fn is_known(full: &str, name: &str, expected: &Value, got: &Value) -> bool {
    let (expected, got) = (expected.to_string(), got.to_string());
    KNOWN.iter().any(|known| {
        known.command.split('|').any(|command| command == full || command == name)
            && expected.starts_with(known.oracle)
            && got.starts_with(known.ours)
    })
}

/// -1 (no expiry) and -2 (no key) are answers of their own.
fn close(expected: i64, got: i64, tolerance: i64) -> bool {
    expected == got || (expected >= 0 && got >= 0 && (expected - got).abs() <= tolerance)
}

fn is_string(value: &Value) -> bool {
    matches!(value, Value::Bulk(_))
}

fn sorted(values: &[Value]) -> Vec<Value> {
    let mut values = values.to_vec();
    values.sort();
    values
}

/// The same fields in the same shape; what they say of version, id and mode is each server's own.
fn same_hello(expected: &Value, got: &Value) -> bool {
    let names = |value: &Value| -> Option<Vec<Value>> {
        match value {
            Value::Map(pairs) => Some(pairs.iter().map(|(name, _)| name.clone()).collect()),
            Value::Array(items) => Some(items.iter().step_by(2).cloned().collect()),
            _ => None,
        }
    };
    let same_protocol = expected.field("proto") == got.field("proto");
    same_protocol && names(expected).is_some() && names(expected) == names(got)
}

fn lower(argument: Option<&Vec<u8>>) -> String {
    argument.map(|bytes| String::from_utf8_lossy(bytes).to_lowercase()).unwrap_or_default()
}

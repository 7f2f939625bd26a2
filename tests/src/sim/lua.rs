//! Lua in the transactions of [`super::everywhere`]: the same transfers and audits as scripts and functions, with keys that they declare
//! and with keys that they come upon.

use crate::random::Random;

/// A transfer of an amount, as a script of two keys and an amount: however they are named.
const TRANSFERS: [&str; 3] = [
    "redis.call('decrby', A, N) return redis.call('incrby', B, N)",
    "local a, b = redis.call('get', A) or 0, redis.call('get', B) or 0 return redis.call('mset', A, a - N, B, b + N)",
    "local a = redis.call('get', A) or 0 redis.call('set', B, (redis.call('get', B) or 0) + N) return redis.call('set', A, a - N)",
];

/// Long enough for the script to be set aside at least once.
const DAWDLES: &str = "for i = 1, 200000 do end ";

/// Ends a script that has done everything: what it has done stays.
const FAILS: &str = " error('enough')";

const LIBRARY: &str = "lib";

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// A transfer by a script, and whether that ends with an error of its own.
pub(super) fn transfer(random: &mut Random, from: &str, to: &str, amount: &str) -> (Vec<Vec<u8>>, bool) {
    let (count, names) = [
        ("2", "local A, B, N = KEYS[1], KEYS[2], ARGV[1] "),
        ("1", "local A, B, N = KEYS[1], ARGV[1], ARGV[2] "),
        ("0", "local A, B, N = ARGV[1], ARGV[2], ARGV[3] "),
    ][random.below(3)];
    let mut text = names.to_owned();
    let body = TRANSFERS[random.below(TRANSFERS.len())];
    let fails = random.one_in(8);
    if random.one_in(12) {
        text.push_str(DAWDLES);
    }
    if fails {
        text.push_str(&body.replace("return", "local _ ="));
        text.push_str(FAILS);
    } else {
        text.push_str(body);
    }
    (words(&["EVAL", &text, count, from, to, amount]), fails)
}

/// Writes the same to all keys, one after the other.
pub(super) fn write_all(random: &mut Random, keys: &[String], value: &[u8]) -> Vec<Vec<u8>> {
    let declared = random.one_in(2);
    let text = if declared {
        "for i = 1, #KEYS do redis.call('set', KEYS[i], ARGV[1]) end return #KEYS"
    } else {
        "for i = 1, #ARGV - 1 do redis.call('set', ARGV[i], ARGV[#ARGV]) end return #ARGV"
    };
    let count = if declared { keys.len() } else { 0 };
    let mut command = words(&["EVAL", text, &count.to_string()]);
    command.extend(keys.iter().map(|key| key.as_bytes().to_vec()));
    command.push(value.to_vec());
    command
}

/// Reads all keys, at once or one after the other.
pub(super) fn read_all(random: &mut Random, keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let text = [
        "return redis.call('mget', unpack(ARGV))",
        "local r = {} for i, key in ipairs(ARGV) do r[i] = redis.call('get', key) end return r",
    ][random.below(2)];
    let name = ["EVAL", "EVAL_RO"][random.below(2)];
    words(&[name, text, "0"]).into_iter().chain(keys).collect()
}

/// Renames a key, which must be there.
pub(super) fn rename(random: &mut Random, from: &str, to: &str) -> Vec<Vec<u8>> {
    if random.one_in(2) {
        return words(&["EVAL", "return redis.call('rename', KEYS[1], KEYS[2])", "2", from, to]);
    }
    words(&["EVAL", "return redis.call('rename', ARGV[1], ARGV[2])", "0", from, to])
}

/// Loads a library in which each function transfers.
pub(super) fn load(random: &mut Random) -> Vec<Vec<u8>> {
    let body = TRANSFERS[random.below(TRANSFERS.len())];
    let text = format!(
        "#!lua name={LIBRARY}\n\
         redis.register_function('declared', function(keys, args) local A, B, N = keys[1], keys[2], args[1] {body} end)\n\
         redis.register_function('found', function(keys, args) local A, B, N = args[1], args[2], args[3] {body} end)"
    );
    words(&["FUNCTION", "LOAD", "REPLACE", &text])
}

/// A transfer by a function.
pub(super) fn call(random: &mut Random, from: &str, to: &str, amount: &str) -> Vec<Vec<u8>> {
    let (name, count) = [("declared", "2"), ("found", "0")][random.below(2)];
    words(&["FCALL", name, count, from, to, amount])
}

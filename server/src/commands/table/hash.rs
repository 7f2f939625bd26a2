//! Hashes.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::hashes::{expire, number, read, some, write};
use super::super::{Keyed, Run};

const LOOK: &[KeyUse] = &[KeyUse::one(1, &[K::RO])];
const READ: &[KeyUse] = &[KeyUse::one(1, &[K::RO, K::ACCESS])];
const UPDATE: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::UPDATE])];
const READ_WRITE: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::ACCESS, K::UPDATE])];

const AMONG_FIELDS: &str = "key FIELDS (numfields:integer field...)";
const FIELDS: &str = "O(N) in the number of fields";
const EXPIRY: &str = "O(N*log(M)) with N fields named and M fields that expire";

const UNORDERED: &[&str] = &["nondeterministic_output_order"];
const RANDOM: &[&str] = &["nondeterministic_output"];

const fn keyed(name: &'static str, arity: i8, handler: Keyed) -> Command {
    Command::new(name, arity, Group::Hash, Run::Keyed(handler)).acl(&[A::HASH])
}

pub(super) const ROWS: &[Command] = &[
    keyed("hdel", -3, write::hdel)
        .flags(&[F::WRITE, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::DELETE])])
        .docs(
            "2.0.0",
            "O(N) in the number of fields",
            "Removes fields of a hash, and the key with the last one",
            "key field...",
        ),
    keyed("hexists", 3, read::hexists).flags(&[F::READONLY, F::FAST]).keys(LOOK).docs(
        "2.0.0",
        "O(1)",
        "Tells whether a hash has a field",
        "key field",
    ),
    keyed("hget", 3, read::hget).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "2.0.0",
        "O(1)",
        "Tells the value of a field",
        "key field",
    ),
    keyed("hgetall", 2, read::hgetall)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs("2.0.0", "O(N) in the number of fields", "Tells all fields of a hash and their values", "key")
        .tips(UNORDERED),
    keyed("hgetdel", -5, expire::hgetdel)
        .flags(&[F::WRITE, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::DELETE])])
        .docs("8.0.0", FIELDS, "Tells the values of fields and removes the fields", AMONG_FIELDS),
    keyed("hgetex", -5, expire::hgetex).flags(&[F::WRITE, F::FAST]).keys(READ_WRITE).docs(
        "8.0.0",
        EXPIRY,
        "Tells the values of fields and may set or remove their expiry",
        "key [EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time \
         | PXAT unix-time-milliseconds:unix-time | PERSIST] FIELDS (numfields:integer field...)",
    ),
    keyed("hincrby", 4, number::hincrby).flags(&[F::WRITE, F::DENYOOM, F::FAST]).keys(READ_WRITE).docs(
        "2.0.0",
        "O(1)",
        "Adds a number to the integer in a field; no field counts as 0",
        "key field increment:integer",
    ),
    keyed("hincrbyfloat", 4, number::hincrbyfloat)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(READ_WRITE)
        .docs(
            "2.6.0",
            "O(1)",
            "Adds to the decimal number in a field; no field counts as 0",
            "key field increment:double",
        ),
    keyed("hkeys", 2, read::hkeys)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs("2.0.0", "O(N) in the number of fields", "Tells the names of all fields of a hash", "key")
        .tips(UNORDERED),
    keyed("hlen", 2, read::hlen).flags(&[F::READONLY, F::FAST]).keys(LOOK).docs(
        "2.0.0",
        "O(1)",
        "Tells how many fields a hash has",
        "key",
    ),
    keyed("hmget", -3, read::hmget).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "2.0.0",
        "O(N) in the number of fields asked for",
        "Tells the values of several fields",
        "key field...",
    ),
    keyed("hmset", -4, write::hmset)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(UPDATE)
        .docs("2.0.0", "O(N) in the number of fields", "Sets several fields", "key (field value)...")
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs"),
    keyed("hrandfield", -2, some::hrandfield)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "6.2.0",
            "O(N) in the number of fields told; in the size of the hash when that is a third of it or more",
            "Tells fields of a hash chosen at random",
            "key [(count:integer [WITHVALUES])]",
        )
        .tips(RANDOM),
    keyed("hscan", -3, some::hscan)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "2.8.0",
            "O(1) for a call, O(N) for a whole walk over the hash",
            "Tells some fields of a hash, step by step",
            "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [NOVALUES]",
        )
        .tips(RANDOM),
    keyed("hset", -4, write::hset).flags(&[F::WRITE, F::DENYOOM, F::FAST]).keys(UPDATE).docs(
        "2.0.0",
        "O(N) in the number of fields",
        "Sets fields of a hash, which may be new",
        "key (field value)...",
    ),
    keyed("hsetex", -6, expire::hsetex).flags(&[F::WRITE, F::DENYOOM, F::FAST]).keys(UPDATE).docs(
        "8.0.0",
        EXPIRY,
        "Sets fields and when they expire",
        "key [FNX | FXX] [EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time \
         | PXAT unix-time-milliseconds:unix-time | KEEPTTL] FIELDS (numfields:integer (field value)...)",
    ),
    keyed("hsetnx", 4, write::hsetnx)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::INSERT])])
        .docs("2.0.0", "O(1)", "Sets a field if the hash doesn't have it", "key field value"),
    keyed("hstrlen", 3, read::hstrlen).flags(&[F::READONLY, F::FAST]).keys(LOOK).docs(
        "3.2.0",
        "O(1)",
        "Tells the length of a field's value",
        "key field",
    ),
    keyed("hvals", 2, read::hvals)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs("2.0.0", "O(N) in the number of fields", "Tells the values of all fields of a hash", "key")
        .tips(UNORDERED),
];

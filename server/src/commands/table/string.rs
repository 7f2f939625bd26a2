//! Strings.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::strings::{bounded, counters, delete, digest, get, many, many_until, range, set, throttle};
use super::super::{Keyed, Merge, Run, lcs};

const READ: &[KeyUse] = &[KeyUse::one(1, &[K::RO, K::ACCESS])];
const READ_WRITE: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::ACCESS, K::UPDATE])];
const OVERWRITE: &[KeyUse] = &[KeyUse::one(1, &[K::OW, K::UPDATE])];

const fn row(name: &'static str, arity: i8, run: Run) -> Command {
    Command::new(name, arity, Group::String, run).acl(&[A::STRING])
}

const fn keyed(name: &'static str, arity: i8, handler: Keyed) -> Command {
    row(name, arity, Run::Keyed(handler))
}

pub(super) const ROWS: &[Command] = &[
    keyed("append", 3, range::append)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::INSERT])])
        .docs("2.0.0", "O(1) amortised", "Adds bytes to the end of a string, which may be new", "key value"),
    keyed("cl.throttle", -5, throttle::throttle)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(READ_WRITE)
        .docs(
            "redis-cell 0.1.0",
            "O(1)",
            "Takes units from a bucket that fills at a steady rate, if it holds as many",
            "key max-burst:integer count-per-period:integer period:integer [quantity:integer]",
        ),
    keyed("decr", 2, counters::decr)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(READ_WRITE)
        .docs("1.0.0", "O(1)", "Takes one from the integer at a key; no key counts as 0", "key"),
    keyed("decrby", 3, counters::decrby)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(READ_WRITE)
        .docs("1.0.0", "O(1)", "Takes a number from the integer at a key; no key counts as 0", "key decrement:integer"),
    keyed("delex", -2, delete::delex)
        .flags(&[F::WRITE, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::DELETE])])
        .docs(
            "8.4.0",
            "O(1); O(N) in the length of the string with IFDEQ and IFDNE",
            "Deletes a key, if it holds what is expected",
            "key [IFEQ match-value | IFNE match-value | IFDEQ match-digest | IFDNE match-digest]",
        ),
    keyed("digest", 2, digest::digest).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "8.4.0",
        "O(N) in the length of the string",
        "Tells the XXH3 hash of a string, for use with IFDEQ and IFDNE",
        "key",
    ),
    keyed("get", 2, get::get).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "1.0.0",
        "O(1)",
        "Tells the string at a key",
        "key",
    ),
    keyed("getdel", 2, get::getdel)
        .flags(&[F::WRITE, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::DELETE])])
        .docs("6.2.0", "O(1)", "Tells the string at a key and deletes the key", "key"),
    keyed("getex", -2, get::getex)
        .flags(&[F::WRITE, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::UPDATE]).notes("It may change when the key expires")])
        .docs(
            "6.2.0",
            "O(1)",
            "Tells the string at a key and may set or remove its expiry",
            "key [EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time \
             | PXAT unix-time-milliseconds:unix-time | PERSIST]",
        ),
    keyed("getrange", 4, range::getrange).flags(&[F::READONLY]).keys(READ).docs(
        "2.4.0",
        "O(N) in the length of the part",
        "Tells a part of a string",
        "key start:integer end:integer",
    ),
    keyed("getset", 3, set::getset)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(READ_WRITE)
        .docs("1.0.0", "O(1)", "Sets a string and tells what was there", "key value")
        .deprecated("6.2.0", "`SET` with the option `GET`"),
    keyed("incr", 2, counters::incr)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(READ_WRITE)
        .docs("1.0.0", "O(1)", "Adds one to the integer at a key; no key counts as 0", "key"),
    keyed("incrby", 3, counters::incrby)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(READ_WRITE)
        .docs("1.0.0", "O(1)", "Adds a number to the integer at a key; no key counts as 0", "key increment:integer"),
    keyed("incrbyfloat", 3, counters::incrbyfloat)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(READ_WRITE)
        .docs("2.6.0", "O(1)", "Adds to the decimal number at a key; no key counts as 0", "key increment:double"),
    keyed("increx", -2, bounded::increx)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(READ_WRITE)
        .docs(
            "8.8.0",
            "O(1)",
            "Adds to the number at a key within bounds, and may set or remove its expiry; no key counts as 0",
            "key [BYFLOAT increment:double | BYINT increment:integer] [LBOUND lowerbound] [UBOUND upperbound] [SATURATE] \
             [EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time \
             | PXAT unix-time-milliseconds:unix-time | PERSIST] [ENX]",
        ),
    row("lcs", -3, Run::Hops(lcs::plan, lcs::lcs))
        .flags(&[F::READONLY])
        .keys(&[KeyUse::two(1, &[K::RO, K::ACCESS])])
        .docs(
            "7.0.0",
            "O(N*M) in the lengths of the two strings",
            "Finds the longest common subsequence of two strings",
            "key1:key key2:key [LEN] [IDX] [MINMATCHLEN min-match-len:integer] [WITHMATCHLEN]",
        ),
    row("mget", -2, Run::Split(many::mget, Merge::Array))
        .flags(&[F::READONLY, F::FAST])
        .keys(&[KeyUse::every(1, 1, &[K::RO, K::ACCESS])])
        .docs("1.0.0", "O(N) in the number of keys", "Tells the strings at several keys", "key...")
        .tips(&["request_policy:multi_shard"]),
    row("mset", -3, Run::Split(many::mset, Merge::Ok))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::every(1, 2, &[K::OW, K::UPDATE])])
        .docs("1.0.1", "O(N) in the number of keys", "Sets several strings", "(key value)...")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    row("msetex", -4, Run::Hops(many_until::msetex_plan, many_until::msetex))
        .flags(&[F::WRITE, F::DENYOOM, F::MOVABLE_KEYS])
        .keys(&[KeyUse::counted_pairs(1, &[K::OW, K::UPDATE])])
        .docs(
            "8.4.0",
            "O(N) in the number of keys",
            "Sets several strings that expire together, if all of the keys or none of them exist where that is asked for",
            "numkeys:integer (key value)... [NX | XX] [EX seconds:integer | PX milliseconds:integer \
             | EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | KEEPTTL]",
        )
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"]),
    row("msetnx", -3, Run::Hops(many::msetnx_plan, many::msetnx))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::every(1, 2, &[K::OW, K::INSERT])])
        .docs("1.0.1", "O(N) in the number of keys", "Sets several strings if none of the keys exists", "(key value)...")
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"]),
    keyed("psetex", 4, set::psetex)
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(OVERWRITE)
        .docs("2.6.0", "O(1)", "Sets a string that expires after milliseconds", "key milliseconds:integer value")
        .deprecated("2.6.12", "`SET` with the option `PX`"),
    keyed("set", -3, set::set)
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::UPDATE, K::VARIABLE_FLAGS])
            .notes("It reads the value with the option `GET` and for comparisons only")])
        .docs(
            "1.0.0",
            "O(1); O(N) in the length of the old string with IFDEQ and IFDNE",
            "Sets a string, whatever was at the key",
            "key value [NX | XX | IFEQ match-value | IFNE match-value | IFDEQ match-digest | IFDNE match-digest] \
             [GET] [EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time \
             | PXAT unix-time-milliseconds:unix-time | KEEPTTL]",
        ),
    keyed("setex", 4, set::setex)
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(OVERWRITE)
        .docs("2.0.0", "O(1)", "Sets a string that expires after seconds", "key seconds:integer value")
        .deprecated("2.6.12", "`SET` with the option `EX`"),
    keyed("setnx", 3, set::setnx)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(&[KeyUse::one(1, &[K::OW, K::INSERT])])
        .docs("1.0.0", "O(1)", "Sets a string if the key does not exist", "key value")
        .deprecated("2.6.12", "`SET` with the option `NX`"),
    keyed("setrange", 4, range::setrange)
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(1, &[K::RW, K::UPDATE])])
        .docs(
            "2.2.0",
            "O(N) in the length of the value, and of the zeros that fill a gap",
            "Overwrites a string from an offset on",
            "key offset:integer value",
        ),
    keyed("strlen", 2, range::strlen).flags(&[F::READONLY, F::FAST]).keys(&[KeyUse::one(1, &[K::RO])]).docs(
        "2.2.0",
        "O(1)",
        "Tells the length of a string",
        "key",
    ),
    keyed("substr", 4, range::getrange)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "1.0.0",
            "O(N) in the length of the part",
            "Tells a part of a string",
            "key start:integer end:integer",
        )
        .deprecated("2.0.0", "`GETRANGE`"),
];

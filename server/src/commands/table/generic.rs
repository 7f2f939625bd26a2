//! Keys, whatever their values.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::{
    ConnectionCommand, Keyed, Merge, Run, dump, expire, generic, object, scan, sort, transfer,
};

const READ: &[KeyUse] = &[KeyUse::one(1, &[K::RO, K::ACCESS])];
const LOOK: &[KeyUse] = &[KeyUse::one(1, &[K::RO])];
const UPDATE: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::UPDATE])];
const OBJECT: &[KeyUse] = &[KeyUse::one(2, &[K::RO])];
const SUM: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const VARIES: &[&str] = &["nondeterministic_output"];
/// The condition that these four commands share.
macro_rules! concat_condition {
    ($syntax:literal) => {
        concat!($syntax, " [NX | XX | GT | LT]")
    };
}

const fn row(name: &'static str, arity: i8, run: Run) -> Command {
    Command::new(name, arity, Group::Generic, run).acl(&[A::KEYSPACE])
}

const fn keyed(name: &'static str, arity: i8, handler: Keyed) -> Command {
    row(name, arity, Run::Keyed(handler))
}

/// The four commands that set an expiry differ in their clock only.
const fn expiring(name: &'static str, handler: Keyed) -> Command {
    keyed(name, -3, handler).flags(&[F::WRITE, F::FAST]).keys(UPDATE)
}

const SORTED: KeyUse = KeyUse::one(1, &[K::RO, K::ACCESS]);
const LOOKED_AT: KeyUse = KeyUse::elsewhere(sort::looks_elsewhere, &[K::RO, K::ACCESS])
    .notes("The keys of BY and GET: which they are depends on the elements");
const STORED: KeyUse = KeyUse::found(sort::store_position, &[K::OW, K::UPDATE])
    .notes("The key of STORE, which may stand anywhere among the options");

/// What these two commands share.
macro_rules! sort_syntax {
    () => {
        "key [BY pattern:pattern] [LIMIT offset:integer count:integer] [GET pattern:pattern]... [ASC | DESC] [ALPHA]"
    };
}

const fn sort(name: &'static str, uses: &'static [KeyUse]) -> Command {
    row(name, -2, Run::Hops(sort::plan, sort::sort_here))
        .acl(&[A::SET, A::SORTED_SET, A::LIST, A::DANGEROUS])
        .keys(uses)
}

const fn object(name: &'static str, handler: Keyed) -> Command {
    keyed(name, 3, handler).of("object").flags(&[F::READONLY]).keys(OBJECT).tips(VARIES)
}

pub(super) const ROWS: &[Command] = &[
    row("copy", -3, Run::Hops(transfer::copy_plan, transfer::copy))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(1, &[K::RO, K::ACCESS]), KeyUse::one(2, &[K::OW, K::UPDATE])])
        .docs(
            "6.2.0",
            "O(N) in the size of the value",
            "Copies a value to another key, of this or another database",
            "source:key destination:key [DB destination-db:integer] [REPLACE]",
        ),
    row("del", -2, Run::Split(generic::del, Merge::Sum))
        .flags(&[F::WRITE])
        .keys(&[KeyUse::every(1, 1, &[K::RM, K::DELETE])])
        .docs("1.0.0", "O(N) in the number of keys", "Deletes keys", "key...")
        .tips(SUM),
    keyed("dump", 2, dump::dump)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "2.6.0",
            "O(N) in the size of the value",
            "Tells a value in the format of RDB files",
            "key",
        )
        .tips(VARIES),
    row("exists", -2, Run::Split(generic::exists, Merge::Sum))
        .flags(&[F::READONLY, F::FAST])
        .keys(&[KeyUse::every(1, 1, &[K::RO])])
        .docs("1.0.0", "O(N) in the number of keys", "Counts which of the keys exist", "key...")
        .tips(SUM),
    expiring("expire", expire::expire).docs(
        "1.0.0",
        "O(1)",
        "Lets a key expire after seconds",
        concat_condition!("key seconds:integer"),
    ),
    expiring("expireat", expire::expireat).docs(
        "1.2.0",
        "O(1)",
        "Lets a key expire at a Unix time in seconds",
        concat_condition!("key unix-time-seconds:unix-time"),
    ),
    keyed("expiretime", 2, expire::expiretime).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "7.0.0",
        "O(1)",
        "Tells the Unix time in seconds at which a key expires",
        "key",
    ),
    row("keys", 2, Run::Broadcast(scan::keys, Merge::Concat))
        .flags(&[F::READONLY])
        .acl(&[A::KEYSPACE, A::DANGEROUS])
        .docs(
            "1.0.0",
            "O(N) in the number of keys of the database",
            "Lists all keys that match a pattern",
            "pattern:pattern",
        )
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    keyed("move", 3, transfer::r#move)
        .flags(&[F::WRITE, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::UPDATE])])
        .docs("1.0.0", "O(1)", "Moves a key to another database", "key db:integer"),
    row("object", -2, Run::Container).acl(&[]).docs(
        "2.2.3",
        "Depends on the subcommand",
        "Looks at how a value is kept",
        "",
    ),
    object("encoding", object::encoding).docs("2.2.3", "O(1)", "Tells how a value is encoded", "key"),
    object("freq", object::freq).docs(
        "4.0.0",
        "O(1)",
        "Tells how often a key is used, on a logarithmic scale",
        "key",
    ),
    row("help", 2, Run::Connection(ConnectionCommand::Help))
        .of("object")
        .flags(&[F::LOADING, F::STALE])
        .docs("6.2.0", "O(1)", "Lists the subcommands", ""),
    object("idletime", object::idletime).docs(
        "2.2.3",
        "O(1)",
        "Tells for how many seconds a key has not been used",
        "key",
    ),
    object("refcount", object::refcount).docs(
        "2.2.3",
        "O(1)",
        "Tells how many references a value has",
        "key",
    ),
    keyed("persist", 2, expire::persist).flags(&[F::WRITE, F::FAST]).keys(UPDATE).docs(
        "2.2.0",
        "O(1)",
        "Removes the expiry of a key",
        "key",
    ),
    expiring("pexpire", expire::pexpire).docs(
        "2.6.0",
        "O(1)",
        "Lets a key expire after milliseconds",
        concat_condition!("key milliseconds:integer"),
    ),
    expiring("pexpireat", expire::pexpireat).docs(
        "2.6.0",
        "O(1)",
        "Lets a key expire at a Unix time in milliseconds",
        concat_condition!("key unix-time-milliseconds:unix-time"),
    ),
    keyed("pexpiretime", 2, expire::pexpiretime).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "7.0.0",
        "O(1)",
        "Tells the Unix time in milliseconds at which a key expires",
        "key",
    ),
    keyed("pttl", 2, expire::pttl)
        .flags(&[F::READONLY, F::FAST])
        .keys(READ)
        .docs("2.6.0", "O(1)", "Tells in how many milliseconds a key expires", "key")
        .tips(VARIES),
    row("randomkey", 1, Run::Broadcast(generic::randomkey, Merge::Custom(generic::merge_randomkey)))
        .flags(&[F::READONLY])
        .docs("1.0.0", "O(1)", "Tells some key of the database", "")
        .tips(&["request_policy:all_shards", "nondeterministic_output"]),
    row("rename", 3, Run::Hops(transfer::rename_plan, transfer::rename))
        .flags(&[F::WRITE])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::DELETE]), KeyUse::one(2, &[K::OW, K::UPDATE])])
        .docs(
            "1.0.0",
            "O(1) on one shard, else O(N) in the size of the value",
            "Gives a key another name",
            "key newkey:key",
        ),
    row("renamenx", 3, Run::Hops(transfer::renamenx_plan, transfer::renamenx))
        .flags(&[F::WRITE, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::DELETE]), KeyUse::one(2, &[K::OW, K::INSERT])])
        .docs(
            "1.0.0",
            "O(1) on one shard, else O(N) in the size of the value",
            "Gives a key another name if that is free",
            "key newkey:key",
        ),
    keyed("restore", -4, dump::restore)
        .flags(&[F::WRITE, F::DENYOOM])
        .acl(&[A::KEYSPACE, A::DANGEROUS])
        .keys(&[KeyUse::one(1, &[K::OW, K::UPDATE])])
        .docs(
            "2.6.0",
            "O(N) in the size of the value",
            "Makes a key of a value in the format of RDB files",
            "key ttl:integer serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds:integer] [FREQ frequency:integer]",
        ),
    row("scan", -2, Run::Cursor(scan::scan))
        .flags(&[F::READONLY])
        .docs(
            "2.8.0",
            "O(1) a call; O(N) in the number of keys for the whole round",
            "Walks through the keys of the database step by step",
            "cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [TYPE type]",
        )
        .tips(&["nondeterministic_output", "request_policy:special"]),
    sort("sort", &[SORTED, LOOKED_AT, STORED])
        .flags(&[F::WRITE, F::DENYOOM, F::MOVABLE_KEYS])
        .docs(
            "1.0.0",
            "O(N log N) in the number of elements",
            "Sorts the elements of a list or set, by themselves or by what stands elsewhere, and tells or stores them",
            concat!(sort_syntax!(), " [STORE destination:key]"),
        ),
    sort("sort_ro", &[SORTED, LOOKED_AT]).flags(&[F::READONLY, F::MOVABLE_KEYS]).docs(
        "7.0.0",
        "O(N log N) in the number of elements",
        "Sorts the elements of a list or set, by themselves or by what stands elsewhere",
        sort_syntax!(),
    ),
    row("touch", -2, Run::Split(generic::touch, Merge::Sum))
        .flags(&[F::READONLY, F::FAST])
        .keys(&[KeyUse::every(1, 1, &[K::RO])])
        .docs(
            "3.2.1",
            "O(N) in the number of keys",
            "Marks keys as used and counts those that exist",
            "key...",
        )
        .tips(SUM),
    keyed("ttl", 2, expire::ttl)
        .flags(&[F::READONLY, F::FAST])
        .keys(READ)
        .docs("1.0.0", "O(1)", "Tells in how many seconds a key expires", "key")
        .tips(VARIES),
    keyed("type", 2, generic::r#type).flags(&[F::READONLY, F::FAST]).keys(LOOK).docs(
        "1.0.0",
        "O(1)",
        "Tells the type of the value at a key",
        "key",
    ),
    row("unlink", -2, Run::Split(generic::del, Merge::Sum))
        .flags(&[F::WRITE, F::FAST])
        .keys(&[KeyUse::every(1, 1, &[K::RM, K::DELETE])])
        .docs("4.0.0", "O(N) in the number of keys", "Deletes keys and frees big values later", "key...")
        .tips(SUM),
    Command::new("wait", 3, Group::Generic, Run::Connection(ConnectionCommand::Wait))
        .flags(&[F::NOSCRIPT])
        .acl(&[A::CONNECTION])
        .docs(
            "3.0.0",
            "O(1)",
            "Waits until replicas have this connection's writes, of which there are none",
            "numreplicas:integer timeout:integer",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
    Command::new("waitaof", 4, Group::Generic, Run::Connection(ConnectionCommand::Waitaof))
        .flags(&[F::NOSCRIPT])
        .acl(&[A::CONNECTION])
        .docs(
            "7.2.0",
            "O(N) in the number of shards",
            "Waits until this connection's writes are on disk",
            "numlocal:integer numreplicas:integer timeout:integer",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
];

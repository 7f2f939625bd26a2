//! Streams.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::streams::{add, claim, groups, info, pending, range, read, trim};
use super::super::{ConnectionCommand, Keyed, Run};

const LOOK: &[KeyUse] = &[KeyUse::one(1, &[K::RO])];
const READ: &[KeyUse] = &[KeyUse::one(1, &[K::RO, K::ACCESS])];
const UPDATE: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::UPDATE])];
const DELETE: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::DELETE])];
const READ_SECOND: &[KeyUse] = &[KeyUse::one(2, &[K::RO, K::ACCESS])];
const INSERT_SECOND: &[KeyUse] = &[KeyUse::one(2, &[K::RW, K::INSERT])];
const UPDATE_SECOND: &[KeyUse] = &[KeyUse::one(2, &[K::RW, K::UPDATE])];
const DELETE_SECOND: &[KeyUse] = &[KeyUse::one(2, &[K::RW, K::DELETE])];
const VARIES: &[&str] = &["nondeterministic_output"];

const fn row(name: &'static str, arity: i8, run: Run) -> Command {
    Command::new(name, arity, Group::Stream, run).acl(&[A::STREAM])
}

const fn keyed(name: &'static str, arity: i8, handler: Keyed) -> Command {
    row(name, arity, Run::Keyed(handler))
}

const fn help(container: &'static str) -> Command {
    row("help", 2, Run::Connection(ConnectionCommand::Help))
        .of(container)
        .flags(&[F::LOADING, F::STALE])
        .docs("5.0.0", "O(1)", "Lists the subcommands", "")
}

const fn group(name: &'static str, arity: i8, handler: Keyed) -> Command {
    keyed(name, arity, handler).of("xgroup")
}

const fn info(name: &'static str, arity: i8, handler: Keyed) -> Command {
    keyed(name, arity, handler).of("xinfo").flags(&[F::READONLY]).keys(READ_SECOND)
}

pub(super) const ROWS: &[Command] = &[
    keyed("xack", -4, groups::xack).flags(&[F::WRITE, F::FAST]).keys(UPDATE).docs(
        "5.0.0",
        "O(1) for each id",
        "Acknowledges entries that a consumer of a group has processed",
        "key group id...",
    ),
    keyed("xadd", -5, add::xadd)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::UPDATE])
            .notes("It adds only, but may trim what is there")])
        .docs(
            "5.0.0",
            "O(1), and O(N) in the number of entries that are trimmed",
            "Adds an entry to a stream and tells its id",
            "key [NOMKSTREAM] [(MAXLEN | MINID) [= | ~] threshold [LIMIT count:integer]] (* | id) (field value)...",
        )
        .tips(VARIES),
    keyed("xautoclaim", -6, claim::xautoclaim)
        .flags(&[F::WRITE, F::FAST])
        .keys(DELETE)
        .docs(
            "6.2.0",
            "O(1) for a limited number of entries",
            "Gives a consumer entries that have been pending at others for long",
            "key group consumer min-idle-time start [COUNT count:integer] [JUSTID]",
        )
        .tips(VARIES),
    keyed("xclaim", -6, claim::xclaim)
        .flags(&[F::WRITE, F::FAST])
        .keys(UPDATE)
        .docs(
            "5.0.0",
            "O(log N) for each id in the number of pending entries",
            "Gives a consumer entries that are pending at others",
            "key group consumer min-idle-time id... [IDLE ms:integer] [TIME unix-time-milliseconds:unix-time] \
             [RETRYCOUNT count:integer] [FORCE] [JUSTID] [LASTID lastid]",
        )
        .tips(VARIES),
    keyed("xdel", -3, trim::xdel).flags(&[F::WRITE, F::FAST]).keys(DELETE).docs(
        "5.0.0",
        "O(log N) for each id, and O(1) in its block",
        "Deletes entries of a stream",
        "key id...",
    ),
    row("xgroup", -2, Run::Container).acl(&[]).docs(
        "5.0.0",
        "Depends on the subcommand",
        "Makes and removes groups and their consumers",
        "",
    ),
    group("create", -5, groups::create).flags(&[F::WRITE, F::DENYOOM]).keys(INSERT_SECOND).docs(
        "5.0.0",
        "O(1)",
        "Makes a group",
        "key group (id | $) [MKSTREAM] [ENTRIESREAD entries-read:integer]",
    ),
    group("createconsumer", 5, groups::createconsumer)
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(INSERT_SECOND)
        .docs("6.2.0", "O(1)", "Makes a consumer of a group", "key group consumer"),
    group("delconsumer", 5, groups::delconsumer).flags(&[F::WRITE]).keys(DELETE_SECOND).docs(
        "5.0.0",
        "O(N) in the number of entries pending at it",
        "Removes a consumer of a group",
        "key group consumer",
    ),
    group("destroy", 4, groups::destroy).flags(&[F::WRITE]).keys(DELETE_SECOND).docs(
        "5.0.0",
        "O(1); what is pending is freed later",
        "Removes a group",
        "key group",
    ),
    help("xgroup"),
    group("setid", -5, groups::setid).flags(&[F::WRITE]).keys(UPDATE_SECOND).docs(
        "5.0.0",
        "O(1)",
        "Sets the last id that a group has delivered",
        "key group (id | $) [ENTRIESREAD entries-read:integer]",
    ),
    row("xinfo", -2, Run::Container).acl(&[]).docs(
        "5.0.0",
        "Depends on the subcommand",
        "Looks at streams, groups and consumers",
        "",
    ),
    info("consumers", 4, info::consumers)
        .docs("5.0.0", "O(N) in the number of consumers", "Describes the consumers of a group", "key group")
        .tips(VARIES),
    info("groups", 3, info::groups).docs(
        "5.0.0",
        "O(N) in the number of groups",
        "Describes the groups of a stream",
        "key",
    ),
    help("xinfo"),
    info("stream", -3, info::stream).docs(
        "5.0.0",
        "O(1); O(N) in what FULL shows",
        "Describes a stream",
        "key [FULL [COUNT count:integer]]",
    ),
    keyed("xlen", 2, range::xlen).flags(&[F::READONLY, F::FAST]).keys(LOOK).docs(
        "5.0.0",
        "O(1)",
        "Tells the number of entries of a stream",
        "key",
    ),
    keyed("xpending", -3, pending::xpending)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "5.0.0",
            "O(N) in the number of entries told, or of consumers",
            "Tells which entries of a group are pending",
            "key group [[IDLE min-idle-time:integer] start end count:integer [consumer]]",
        )
        .tips(VARIES),
    keyed("xrange", -4, range::xrange).flags(&[F::READONLY]).keys(READ).docs(
        "5.0.0",
        "O(N) in the number of entries told",
        "Tells the entries of a stream within a range of ids",
        "key start end [COUNT count:integer]",
    ),
    row("xread", -4, Run::Waits(&read::XREAD))
        .flags(&[F::READONLY, F::BLOCKING, F::MOVABLE_KEYS])
        .keys(&[KeyUse::behind("STREAMS", 1, &[("COUNT", 1), ("BLOCK", 1)], &[K::RO, K::ACCESS])])
        .docs(
            "5.0.0",
            "O(N) in the number of entries told",
            "Tells the entries of streams behind ids, or waits for them",
            "[COUNT count:integer] [BLOCK milliseconds:integer] STREAMS (key... id...)",
        ),
    row("xreadgroup", -7, Run::Waits(&read::XREADGROUP))
        .flags(&[F::WRITE, F::BLOCKING, F::MOVABLE_KEYS])
        .keys(&[KeyUse::behind(
            "STREAMS",
            4,
            &[("COUNT", 1), ("BLOCK", 1), ("GROUP", 2)],
            &[K::RO, K::ACCESS],
        )])
        .docs(
            "5.0.0",
            "O(N) in the number of entries told",
            "Gives a consumer of groups entries of streams, or waits for them",
            "GROUP (group consumer) [COUNT count:integer] [BLOCK milliseconds:integer] [NOACK] STREAMS (key... id...)",
        ),
    keyed("xrevrange", -4, range::xrevrange).flags(&[F::READONLY]).keys(READ).docs(
        "5.0.0",
        "O(N) in the number of entries told",
        "Tells the entries of a stream within a range of ids, the last one first",
        "key end start [COUNT count:integer]",
    ),
    keyed("xsetid", -3, trim::xsetid).flags(&[F::WRITE, F::DENYOOM, F::FAST]).keys(UPDATE).docs(
        "5.0.0",
        "O(1)",
        "Sets the last id of a stream",
        "key last-id [ENTRIESADDED entries-added:integer] [MAXDELETEDID max-deleted-id]",
    ),
    keyed("xtrim", -4, trim::xtrim)
        .flags(&[F::WRITE])
        .keys(DELETE)
        .docs(
            "5.0.0",
            "O(N) in the number of entries that are trimmed",
            "Removes the oldest entries of a stream",
            "key (MAXLEN | MINID) [= | ~] threshold [LIMIT count:integer]",
        )
        .tips(VARIES),
];

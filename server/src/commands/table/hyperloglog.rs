//! HyperLogLog.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::hyperloglog::{commands, debug};
use super::super::{ConnectionCommand, Run};

const fn row(name: &'static str, arity: i8, run: Run) -> Command {
    Command::new(name, arity, Group::Hyperloglog, run).acl(&[A::HYPERLOGLOG])
}

pub(super) const ROWS: &[Command] = &[
    row("pfadd", -2, Run::Keyed(commands::pfadd))
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::INSERT])])
        .docs(
            "2.8.9",
            "O(1) for each element",
            "Adds elements to a HyperLogLog, which may be new",
            "key [element...]",
        ),
    row("pfcount", -2, Run::Hops(commands::pfcount_plan, commands::pfcount))
        .flags(&[F::READONLY])
        .keys(&[KeyUse::every(1, 1, &[K::RW, K::ACCESS])
            .notes("RW as in Redis, which stores what it has counted; here it only reads")])
        .docs(
            "2.8.9",
            "O(N) in the number of keys, some microseconds each",
            "Tells about how many distinct elements HyperLogLogs have seen together",
            "key...",
        ),
    row("pfdebug", 3, Run::Keyed(debug::pfdebug))
        .flags(&[F::WRITE, F::DENYOOM, F::ADMIN])
        .keys(&[KeyUse::one(2, &[K::RW, K::ACCESS])])
        .docs("2.8.9", "O(1)", "Shows the registers or the form of a HyperLogLog", "subcommand key"),
    row("pfmerge", -2, Run::Hops(commands::pfmerge_plan, commands::pfmerge))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::INSERT]), KeyUse::every(2, 1, &[K::RO, K::ACCESS])])
        .docs(
            "2.8.9",
            "O(N) in the number of keys, some microseconds each",
            "Makes a HyperLogLog hold what it and others have seen",
            "destkey:key [sourcekey:key...]",
        ),
    row("pfselftest", 1, Run::Connection(ConnectionCommand::Pfselftest)).flags(&[F::ADMIN]).docs(
        "2.8.9",
        "O(1)",
        "Checks that HyperLogLogs count as they should",
        "",
    ),
];

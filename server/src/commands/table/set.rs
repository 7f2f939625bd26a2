//! Sets.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::sets::{algebra, members, some};
use super::super::{Keyed, Run};

const LOOK: &[KeyUse] = &[KeyUse::one(1, &[K::RO])];
const READ: &[KeyUse] = &[KeyUse::one(1, &[K::RO, K::ACCESS])];
const READ_ALL: &[KeyUse] = &[KeyUse::every(1, 1, &[K::RO, K::ACCESS])];
const OVERWRITE: &[KeyUse] = &[KeyUse::one(1, &[K::OW, K::UPDATE]), KeyUse::every(2, 1, &[K::RO, K::ACCESS])];

const UNORDERED: &[&str] = &["nondeterministic_output_order"];
const RANDOM: &[&str] = &["nondeterministic_output"];

const INTERSECTION: &str = "O(N*M) in the size of the smallest set and the number of sets";
const DIFFERENCE: &str = "O(N*M) in the size of the first set and the number of sets";
const UNION: &str = "O(N*log(N)) in the number of all members";

const fn row(name: &'static str, arity: i8, run: Run) -> Command {
    Command::new(name, arity, Group::Set, run).acl(&[A::SET])
}

const fn keyed(name: &'static str, arity: i8, handler: Keyed) -> Command {
    row(name, arity, Run::Keyed(handler))
}

pub(super) const ROWS: &[Command] = &[
    keyed("sadd", -3, members::sadd)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::INSERT])])
        .docs(
            "1.0.0",
            "O(N) in the number of members",
            "Adds members to a set, which may be new",
            "key member...",
        ),
    keyed("scard", 2, members::scard).flags(&[F::READONLY, F::FAST]).keys(LOOK).docs(
        "1.0.0",
        "O(1)",
        "Tells how many members a set has",
        "key",
    ),
    row("sdiff", -2, Run::Hops(algebra::sdiff_plan, algebra::sdiff))
        .flags(&[F::READONLY])
        .keys(READ_ALL)
        .docs("1.0.0", DIFFERENCE, "Tells what the first set has and none of the others", "key...")
        .tips(UNORDERED),
    row("sdiffstore", -3, Run::Hops(algebra::sdiffstore_plan, algebra::sdiffstore))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(OVERWRITE)
        .docs(
            "1.0.0",
            DIFFERENCE,
            "Stores what the first set has and none of the others",
            "destination:key key...",
        ),
    row("sinter", -2, Run::Hops(algebra::sinter_plan, algebra::sinter))
        .flags(&[F::READONLY])
        .keys(READ_ALL)
        .docs("1.0.0", INTERSECTION, "Tells what all sets have", "key...")
        .tips(UNORDERED),
    row("sintercard", -3, Run::Hops(algebra::sintercard_plan, algebra::sintercard))
        .flags(&[F::READONLY, F::MOVABLE_KEYS])
        .keys(&[KeyUse::counted(1, &[K::RO, K::ACCESS])])
        .docs(
            "7.0.0",
            INTERSECTION,
            "Tells how many members all sets have in common",
            "numkeys:integer key... [LIMIT limit:integer]",
        ),
    row("sinterstore", -3, Run::Hops(algebra::sinterstore_plan, algebra::sinterstore))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(1, &[K::RW, K::UPDATE]), KeyUse::every(2, 1, &[K::RO, K::ACCESS])])
        .docs("1.0.0", INTERSECTION, "Stores what all sets have", "destination:key key..."),
    keyed("sismember", 3, members::sismember).flags(&[F::READONLY, F::FAST]).keys(LOOK).docs(
        "1.0.0",
        "O(1)",
        "Tells whether a set has a member",
        "key member",
    ),
    keyed("smembers", 2, members::smembers)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs("1.0.0", "O(N) in the size of the set", "Tells all members of a set", "key")
        .tips(UNORDERED),
    keyed("smismember", -3, members::smismember).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "6.2.0",
        "O(N) in the number of members asked for",
        "Tells which members a set has",
        "key member...",
    ),
    row("smove", 4, Run::Hops(members::smove_plan, members::smove))
        .flags(&[F::WRITE, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::DELETE]), KeyUse::one(2, &[K::RW, K::INSERT])])
        .docs("1.0.0", "O(1)", "Moves a member from one set to another", "source:key destination:key member"),
    keyed("spop", -2, some::spop)
        .flags(&[F::WRITE, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::DELETE])])
        .docs(
            "1.0.0",
            "O(N) in the number of members taken",
            "Takes members chosen at random from a set and tells them",
            "key [count:integer]",
        )
        .tips(RANDOM),
    keyed("srandmember", -2, some::srandmember)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "1.0.0",
            "O(N) in the number of members told; in the size of the set when that is a third of it or more",
            "Tells members of a set chosen at random",
            "key [count:integer]",
        )
        .tips(RANDOM),
    keyed("srem", -3, members::srem)
        .flags(&[F::WRITE, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::DELETE])])
        .docs("1.0.0", "O(N) in the number of members", "Removes members from a set", "key member..."),
    keyed("sscan", -3, some::sscan)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "2.8.0",
            "O(1) for a call, O(N) for a whole walk over the set",
            "Tells some members of a set, step by step",
            "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
        )
        .tips(RANDOM),
    row("sunion", -2, Run::Hops(algebra::sunion_plan, algebra::sunion))
        .flags(&[F::READONLY])
        .keys(READ_ALL)
        .docs("1.0.0", UNION, "Tells what any of the sets has", "key...")
        .tips(UNORDERED),
    row("sunionstore", -3, Run::Hops(algebra::sunionstore_plan, algebra::sunionstore))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(OVERWRITE)
        .docs("1.0.0", UNION, "Stores what any of the sets has", "destination:key key..."),
];

//! Sorted sets.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::sorted_sets::{add, algebra, blocking, lookup, pop, random, range, remove, scan};
use super::super::{Keyed, Run};

const READ: &[KeyUse] = &[KeyUse::one(1, &[K::RO, K::ACCESS])];
const LOOK: &[KeyUse] = &[KeyUse::one(1, &[K::RO])];
const DELETE: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::DELETE])];
const POP: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::ACCESS, K::DELETE])];
const READ_SEVERAL: &[KeyUse] = &[KeyUse::counted(1, &[K::RO, K::ACCESS])];
const STORE: &[KeyUse] = &[KeyUse::one(1, &[K::OW, K::UPDATE]), KeyUse::counted(2, &[K::RO, K::ACCESS])];

/// What a command that tells of a part costs.
const PART: &str = "O(log(N)+M) in the number of members there are and of members told";
/// What a command that counts or finds a place costs.
const PLACE: &str = "O(log(N)) in the number of members there are";
/// What a command that removes a part costs.
const REMOVAL: &str = "O(log(N)*M) in the number of members there are and of members removed";
const COMBINATION: &str = "O(N*log(N)) in the number of members of all sources together";
const FILTER: &str =
    "O(N*K+M*log(M)) in the members of the source looked through, the sources, and the members found";

const fn row(name: &'static str, arity: i8, run: Run) -> Command {
    Command::new(name, arity, Group::SortedSet, run).acl(&[A::SORTED_SET])
}

const fn keyed(name: &'static str, arity: i8, handler: Keyed) -> Command {
    row(name, arity, Run::Keyed(handler))
}

const WAIT: &[F] = &[F::WRITE, F::NOSCRIPT, F::FAST, F::BLOCKING];
const POP_FIRST: &[KeyUse] = &[KeyUse::all_but_last(1, &[K::RW, K::ACCESS, K::DELETE])];

pub(super) const ROWS: &[Command] = &[
    row("bzmpop", -5, Run::Waits(&blocking::BZMPOP))
        .flags(&[F::WRITE, F::BLOCKING, F::MOVABLE_KEYS])
        .keys(&[KeyUse::counted(2, &[K::RW, K::ACCESS, K::DELETE])])
        .docs(
            "7.0.0",
            "O(K+M*log(N)) in the number of keys, of members taken and of members there are",
            "Takes the members with the lowest or highest scores from the first of several sorted sets that exists, and tells them; waits for one",
            "timeout:double numkeys:integer key... (MIN | MAX) [COUNT count:integer]",
        ),
    row("bzpopmax", -3, Run::Waits(&blocking::BZPOPMAX)).flags(WAIT).keys(POP_FIRST).docs(
        "5.0.0",
        "O(log(N)) in the number of members",
        "Takes the member with the highest score from the first of several sorted sets that exists, and tells it; waits for one",
        "key... timeout:double",
    ),
    row("bzpopmin", -3, Run::Waits(&blocking::BZPOPMIN)).flags(WAIT).keys(POP_FIRST).docs(
        "5.0.0",
        "O(log(N)) in the number of members",
        "Takes the member with the lowest score from the first of several sorted sets that exists, and tells it; waits for one",
        "key... timeout:double",
    ),
    keyed("zadd", -4, add::zadd)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::UPDATE])])
        .docs(
            "1.2.0",
            "O(log(N)) for each member added, in the number of members there are",
            "Adds members to a sorted set, which may be new, or changes their scores",
            "key [NX | XX] [GT | LT] [CH] [INCR] (score:double member)...",
        ),
    keyed("zcard", 2, lookup::zcard).flags(&[F::READONLY, F::FAST]).keys(LOOK).docs(
        "1.2.0",
        "O(1)",
        "Tells the number of members of a sorted set",
        "key",
    ),
    keyed("zcount", 4, range::zcount).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "2.0.0",
        PLACE,
        "Counts the members of a sorted set whose scores lie between two",
        "key min:double max:double",
    ),
    row("zdiff", -3, Run::Hops(algebra::zdiff_plan, algebra::zdiff))
        .flags(&[F::READONLY, F::MOVABLE_KEYS])
        .keys(READ_SEVERAL)
        .docs(
            "6.2.0",
            FILTER,
            "Tells the members of a sorted set that are in none of the others",
            "numkeys:integer key... [WITHSCORES]",
        ),
    row("zdiffstore", -4, Run::Hops(algebra::zdiffstore_plan, algebra::zdiffstore))
        .flags(&[F::WRITE, F::DENYOOM, F::MOVABLE_KEYS])
        .keys(STORE)
        .docs(
            "6.2.0",
            FILTER,
            "Stores the members of a sorted set that are in none of the others",
            "destination:key numkeys:integer key...",
        ),
    keyed("zincrby", 4, add::zincrby)
        .flags(&[F::WRITE, F::DENYOOM, F::FAST])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::UPDATE])])
        .docs(
            "1.2.0",
            PLACE,
            "Adds to the score of a member of a sorted set; no member counts as 0",
            "key increment:double member",
        ),
    row("zinter", -3, Run::Hops(algebra::zinter_plan, algebra::zinter))
        .flags(&[F::READONLY, F::MOVABLE_KEYS])
        .keys(READ_SEVERAL)
        .docs(
            "6.2.0",
            FILTER,
            "Tells the members that several sorted sets have in common",
            "numkeys:integer key... [WEIGHTS weight:double...] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]",
        ),
    row("zintercard", -3, Run::Hops(algebra::zintercard_plan, algebra::zintercard))
        .flags(&[F::READONLY, F::MOVABLE_KEYS])
        .keys(READ_SEVERAL)
        .docs(
            "7.0.0",
            "O(N*K) in the number of members of the smallest source and of sources",
            "Counts the members that several sorted sets have in common",
            "numkeys:integer key... [LIMIT limit:integer]",
        ),
    row("zinterstore", -4, Run::Hops(algebra::zinterstore_plan, algebra::zinterstore))
        .flags(&[F::WRITE, F::DENYOOM, F::MOVABLE_KEYS])
        .keys(STORE)
        .docs(
            "2.0.0",
            FILTER,
            "Stores the members that several sorted sets have in common",
            "destination:key numkeys:integer key... [WEIGHTS weight:double...] [AGGREGATE (SUM | MIN | MAX)]",
        ),
    keyed("zlexcount", 4, range::zlexcount).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "2.8.9",
        PLACE,
        "Counts the members between two in a sorted set whose scores are all the same",
        "key min max",
    ),
    row("zmpop", -4, Run::Hops(pop::zmpop_plan, pop::zmpop))
        .flags(&[F::WRITE, F::MOVABLE_KEYS])
        .keys(&[KeyUse::counted(1, &[K::RW, K::ACCESS, K::DELETE])])
        .docs(
            "7.0.0",
            "O(K+M*log(N)) in the number of keys, of members taken and of members there are",
            "Takes the members with the lowest or highest scores from the first of several sorted sets that exists, and tells them",
            "numkeys:integer key... (MIN | MAX) [COUNT count:integer]",
        ),
    keyed("zmscore", -3, lookup::zmscore).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "6.2.0",
        "O(N) in the number of members asked for",
        "Tells the scores of members of a sorted set",
        "key member...",
    ),
    keyed("zpopmax", -2, pop::zpopmax).flags(&[F::WRITE, F::FAST]).keys(POP).docs(
        "5.0.0",
        REMOVAL,
        "Takes the members with the highest scores from a sorted set and tells them",
        "key [count:integer]",
    ),
    keyed("zpopmin", -2, pop::zpopmin).flags(&[F::WRITE, F::FAST]).keys(POP).docs(
        "5.0.0",
        REMOVAL,
        "Takes the members with the lowest scores from a sorted set and tells them",
        "key [count:integer]",
    ),
    keyed("zrandmember", -2, random::zrandmember)
        .flags(&[F::READONLY])
        .keys(READ)
        .tips(&["nondeterministic_output"])
        .docs(
            "6.2.0",
            "O(N*log(N)) in the number of members told",
            "Tells members of a sorted set that are chosen at random",
            "key [count:integer [WITHSCORES]]",
        ),
    keyed("zrange", -4, range::zrange).flags(&[F::READONLY]).keys(READ).docs(
        "1.2.0",
        PART,
        "Tells a part of a sorted set, by rank, score or member",
        "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset:integer count:integer] [WITHSCORES]",
    ),
    keyed("zrangebylex", -4, range::zrangebylex)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "2.8.9",
            PART,
            "Tells the members between two in a sorted set whose scores are all the same",
            "key min max [LIMIT offset:integer count:integer]",
        )
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument"),
    keyed("zrangebyscore", -4, range::zrangebyscore)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "1.0.5",
            PART,
            "Tells the members of a sorted set whose scores lie between two",
            "key min:double max:double [WITHSCORES] [LIMIT offset:integer count:integer]",
        )
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
    row("zrangestore", -5, Run::Hops(range::zrangestore_plan, range::zrangestore))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(1, &[K::OW, K::UPDATE]), KeyUse::one(2, &[K::RO, K::ACCESS])])
        .docs(
            "6.2.0",
            "O(log(N)+M*log(M)) in the number of members there are and of members stored",
            "Stores a part of a sorted set, by rank, score or member",
            "dst:key src:key min max [BYSCORE | BYLEX] [REV] [LIMIT offset:integer count:integer]",
        ),
    keyed("zrank", -3, lookup::zrank).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "2.0.0",
        PLACE,
        "Tells how many members of a sorted set stand before one",
        "key member [WITHSCORE]",
    ),
    keyed("zrem", -3, remove::zrem).flags(&[F::WRITE, F::FAST]).keys(DELETE).docs(
        "1.2.0",
        REMOVAL,
        "Removes members from a sorted set",
        "key member...",
    ),
    keyed("zremrangebylex", 4, remove::zremrangebylex).flags(&[F::WRITE]).keys(DELETE).docs(
        "2.8.9",
        REMOVAL,
        "Removes the members between two from a sorted set whose scores are all the same",
        "key min max",
    ),
    keyed("zremrangebyrank", 4, remove::zremrangebyrank).flags(&[F::WRITE]).keys(DELETE).docs(
        "2.0.0",
        REMOVAL,
        "Removes the members of some ranks from a sorted set",
        "key start:integer stop:integer",
    ),
    keyed("zremrangebyscore", 4, remove::zremrangebyscore).flags(&[F::WRITE]).keys(DELETE).docs(
        "1.2.0",
        REMOVAL,
        "Removes the members whose scores lie between two from a sorted set",
        "key min:double max:double",
    ),
    keyed("zrevrange", -4, range::zrevrange)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "1.2.0",
            PART,
            "Tells a part of a sorted set by rank, the highest score first",
            "key start:integer stop:integer [WITHSCORES]",
        )
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument"),
    keyed("zrevrangebylex", -4, range::zrevrangebylex)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "2.8.9",
            PART,
            "Tells the members between two in a sorted set whose scores are all the same, the last first",
            "key max min [LIMIT offset:integer count:integer]",
        )
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
    keyed("zrevrangebyscore", -4, range::zrevrangebyscore)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "2.2.0",
            PART,
            "Tells the members of a sorted set whose scores lie between two, the highest first",
            "key max:double min:double [WITHSCORES] [LIMIT offset:integer count:integer]",
        )
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
    keyed("zrevrank", -3, lookup::zrevrank).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "2.0.0",
        PLACE,
        "Tells how many members of a sorted set stand behind one",
        "key member [WITHSCORE]",
    ),
    keyed("zscan", -3, scan::zscan)
        .flags(&[F::READONLY])
        .keys(READ)
        .tips(&["nondeterministic_output"])
        .docs(
            "2.8.0",
            "O(1) for each call, O(N) for a whole walk",
            "Walks over the members of a sorted set and their scores",
            "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
        ),
    keyed("zscore", 3, lookup::zscore).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "1.2.0",
        "O(1)",
        "Tells the score of a member of a sorted set",
        "key member",
    ),
    row("zunion", -3, Run::Hops(algebra::zunion_plan, algebra::zunion))
        .flags(&[F::READONLY, F::MOVABLE_KEYS])
        .keys(READ_SEVERAL)
        .docs(
            "6.2.0",
            COMBINATION,
            "Tells the members that are in any of several sorted sets",
            "numkeys:integer key... [WEIGHTS weight:double...] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]",
        ),
    row("zunionstore", -4, Run::Hops(algebra::zunionstore_plan, algebra::zunionstore))
        .flags(&[F::WRITE, F::DENYOOM, F::MOVABLE_KEYS])
        .keys(STORE)
        .docs(
            "2.0.0",
            COMBINATION,
            "Stores the members that are in any of several sorted sets",
            "destination:key numkeys:integer key... [WEIGHTS weight:double...] [AGGREGATE (SUM | MIN | MAX)]",
        ),
];

//! Lists.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::lists::{blocking, change, ends, moves, read};
use super::super::{Keyed, Run};

const READ: &[KeyUse] = &[KeyUse::one(1, &[K::RO, K::ACCESS])];
const INSERT: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::INSERT])];
const DELETE: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::DELETE])];
const POP: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::ACCESS, K::DELETE])];
const MOVE: &[KeyUse] =
    &[KeyUse::one(1, &[K::RW, K::ACCESS, K::DELETE]), KeyUse::one(2, &[K::RW, K::INSERT])];

const fn row(name: &'static str, arity: i8, run: Run) -> Command {
    Command::new(name, arity, Group::List, run).acl(&[A::LIST])
}

const fn keyed(name: &'static str, arity: i8, handler: Keyed) -> Command {
    row(name, arity, Run::Keyed(handler))
}

const WAIT: &[F] = &[F::WRITE, F::NOSCRIPT, F::BLOCKING];
const POP_FIRST: &[KeyUse] = &[KeyUse::all_but_last(1, &[K::RW, K::ACCESS, K::DELETE])];

pub(super) const ROWS: &[Command] = &[
    row("blmove", 6, Run::Waits(&blocking::BLMOVE))
        .flags(&[F::WRITE, F::DENYOOM, F::NOSCRIPT, F::BLOCKING])
        .keys(MOVE)
        .docs(
            "6.2.0",
            "O(1)",
            "Moves an element from an end of one list to an end of another, and tells it; waits for one",
            "source:key destination:key (LEFT | RIGHT) (LEFT | RIGHT) timeout:double",
        ),
    row("blmpop", -5, Run::Waits(&blocking::BLMPOP))
        .flags(&[F::WRITE, F::BLOCKING, F::MOVABLE_KEYS])
        .keys(&[KeyUse::counted(2, &[K::RW, K::ACCESS, K::DELETE])])
        .docs(
            "7.0.0",
            "O(N+M) in the number of keys and of elements told",
            "Takes elements from an end of the first of several lists that exists, and tells them; waits for one",
            "timeout:double numkeys:integer key... (LEFT | RIGHT) [COUNT count:integer]",
        ),
    row("blpop", -3, Run::Waits(&blocking::BLPOP)).flags(WAIT).keys(POP_FIRST).docs(
        "2.0.0",
        "O(N) in the number of keys",
        "Takes the first element from the first of several lists that exists, and tells it; waits for one",
        "key... timeout:double",
    ),
    row("brpop", -3, Run::Waits(&blocking::BRPOP)).flags(WAIT).keys(POP_FIRST).docs(
        "2.0.0",
        "O(N) in the number of keys",
        "Takes the last element from the first of several lists that exists, and tells it; waits for one",
        "key... timeout:double",
    ),
    row("brpoplpush", 4, Run::Waits(&blocking::BLMOVE))
        .flags(&[F::WRITE, F::DENYOOM, F::NOSCRIPT, F::BLOCKING])
        .keys(MOVE)
        .docs(
            "2.2.0",
            "O(1)",
            "Moves the last element of one list before the first of another, and tells it; waits for one",
            "source:key destination:key timeout:double",
        )
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
    keyed("lindex", 3, read::lindex).flags(&[F::READONLY]).keys(READ).docs(
        "1.0.0",
        "O(N) in the distance from the nearer end, by pieces of many elements",
        "Tells the element at an index of a list",
        "key index:integer",
    ),
    keyed("linsert", 5, change::linsert).flags(&[F::WRITE, F::DENYOOM]).keys(INSERT).docs(
        "2.2.0",
        "O(N) in the number of elements before the pivot",
        "Puts an element before or behind another one of a list",
        "key (BEFORE | AFTER) pivot element",
    ),
    keyed("llen", 2, read::llen).flags(&[F::READONLY, F::FAST]).keys(&[KeyUse::one(1, &[K::RO])]).docs(
        "1.0.0",
        "O(1)",
        "Tells the length of a list",
        "key",
    ),
    row("lmove", 5, Run::Hops(moves::lmove_plan, moves::lmove))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(MOVE)
        .docs(
            "6.2.0",
            "O(1)",
            "Moves an element from an end of one list to an end of another, and tells it",
            "source:key destination:key (LEFT | RIGHT) (LEFT | RIGHT)",
        ),
    row("lmpop", -4, Run::Hops(moves::lmpop_plan, moves::lmpop))
        .flags(&[F::WRITE, F::MOVABLE_KEYS])
        .keys(&[KeyUse::counted(1, &[K::RW, K::ACCESS, K::DELETE])])
        .docs(
            "7.0.0",
            "O(N+M) in the number of keys and of elements told",
            "Takes elements from an end of the first of several lists that exists, and tells them",
            "numkeys:integer key... (LEFT | RIGHT) [COUNT count:integer]",
        ),
    keyed("lpop", -2, ends::lpop).flags(&[F::WRITE, F::FAST]).keys(POP).docs(
        "1.0.0",
        "O(N) in the number of elements told",
        "Takes the first elements from a list and tells them",
        "key [count:integer]",
    ),
    keyed("lpos", -3, read::lpos).flags(&[F::READONLY]).keys(READ).docs(
        "6.0.6",
        "O(N) in the number of elements looked at",
        "Tells at which index an element is in a list",
        "key element [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len:integer]",
    ),
    keyed("lpush", -3, ends::lpush).flags(&[F::WRITE, F::DENYOOM, F::FAST]).keys(INSERT).docs(
        "1.0.0",
        "O(N) in the number of elements added",
        "Puts elements before the first of a list, which may be new",
        "key element...",
    ),
    keyed("lpushx", -3, ends::lpushx).flags(&[F::WRITE, F::DENYOOM, F::FAST]).keys(INSERT).docs(
        "2.2.0",
        "O(N) in the number of elements added",
        "Puts elements before the first of a list that exists",
        "key element...",
    ),
    keyed("lrange", 4, read::lrange).flags(&[F::READONLY]).keys(READ).docs(
        "1.0.0",
        "O(S+N) in the distance of the start from the nearer end and the number of elements told",
        "Tells a part of a list",
        "key start:integer stop:integer",
    ),
    keyed("lrem", 4, change::lrem).flags(&[F::WRITE]).keys(DELETE).docs(
        "1.0.0",
        "O(N) in the length of the list",
        "Removes elements that are equal to a value from a list",
        "key count:integer element",
    ),
    keyed("lset", 4, change::lset)
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(1, &[K::RW, K::UPDATE])])
        .docs(
            "1.0.0",
            "O(N) in the distance from the nearer end, by pieces of many elements",
            "Replaces the element at an index of a list",
            "key index:integer element",
        ),
    keyed("ltrim", 4, change::ltrim).flags(&[F::WRITE]).keys(DELETE).docs(
        "1.0.0",
        "O(N) in the number of pieces removed",
        "Removes all but a part of a list",
        "key start:integer stop:integer",
    ),
    keyed("rpop", -2, ends::rpop).flags(&[F::WRITE, F::FAST]).keys(POP).docs(
        "1.0.0",
        "O(N) in the number of elements told",
        "Takes the last elements from a list and tells them",
        "key [count:integer]",
    ),
    row("rpoplpush", 3, Run::Hops(moves::lmove_plan, moves::rpoplpush))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(MOVE)
        .docs(
            "1.2.0",
            "O(1)",
            "Moves the last element of a list to the front of another, and tells it",
            "source:key destination:key",
        )
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    keyed("rpush", -3, ends::rpush).flags(&[F::WRITE, F::DENYOOM, F::FAST]).keys(INSERT).docs(
        "1.0.0",
        "O(N) in the number of elements added",
        "Puts elements behind the last of a list, which may be new",
        "key element...",
    ),
    keyed("rpushx", -3, ends::rpushx).flags(&[F::WRITE, F::DENYOOM, F::FAST]).keys(INSERT).docs(
        "2.2.0",
        "O(N) in the number of elements added",
        "Puts elements behind the last of a list that exists",
        "key element...",
    ),
];

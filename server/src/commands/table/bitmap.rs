//! Bitmaps.

use super::super::bitmap::{count, field, operate, single};
use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::{Keyed, Run};

const READ: &[KeyUse] = &[KeyUse::one(1, &[K::RO, K::ACCESS])];

const fn row(name: &'static str, arity: i8, run: Run) -> Command {
    Command::new(name, arity, Group::Bitmap, run).acl(&[A::BITMAP])
}

const fn keyed(name: &'static str, arity: i8, handler: Keyed) -> Command {
    row(name, arity, Run::Keyed(handler))
}

pub(super) const ROWS: &[Command] = &[
    keyed("bitcount", -2, count::bitcount).flags(&[F::READONLY]).keys(READ).docs(
        "2.6.0",
        "O(N) in the length of the part",
        "Counts the bits that are set in a string or a part of it",
        "key [start:integer end:integer [BYTE | BIT]]",
    ),
    keyed("bitfield", -2, field::bitfield)
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::UPDATE, K::VARIABLE_FLAGS])
            .notes("It changes the value with `SET` and `INCRBY` only")])
        .docs(
            "3.2.0",
            "O(1) for each operation",
            "Reads, sets and adds to integers of any width within a string",
            "key [GET encoding offset | [OVERFLOW (WRAP | SAT | FAIL)] (SET encoding offset value:integer \
             | INCRBY encoding offset increment:integer)]...",
        ),
    keyed("bitfield_ro", -2, field::bitfield_ro).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "6.0.0",
        "O(1) for each operation",
        "Reads integers of any width within a string",
        "key [GET encoding offset]...",
    ),
    row("bitop", -4, Run::Hops(operate::plan, operate::bitop))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(2, &[K::OW, K::UPDATE]), KeyUse::every(3, 1, &[K::RO, K::ACCESS])])
        .docs(
            "2.6.0",
            "O(N) in the length of the longest string",
            "Sets a string to the bitwise operation on others",
            "(AND | OR | XOR | NOT) destkey:key key...",
        ),
    keyed("bitpos", -3, count::bitpos).flags(&[F::READONLY]).keys(READ).docs(
        "2.8.7",
        "O(N) in the length of the part",
        "Finds the first bit of a value in a string or a part of it",
        "key bit:integer [start:integer [end:integer [BYTE | BIT]]]",
    ),
    keyed("getbit", 3, single::getbit).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
        "2.2.0",
        "O(1)",
        "Tells a bit of a string; those beyond the end are 0",
        "key offset:integer",
    ),
    keyed("setbit", 4, single::setbit)
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::UPDATE])])
        .docs(
            "2.2.0",
            "O(1); O(N) in the zeros that make room for it",
            "Sets a bit of a string and tells what it was",
            "key offset:integer value:integer",
        ),
];

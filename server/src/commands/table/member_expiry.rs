//! When members of collections expire: the same nine commands for hashes, sets and sorted sets.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::member_expiry::{
    OfHash, OfSet, OfSortedSet, expire, expireat, expiretime, persist, pexpire, pexpireat, pexpiretime, pttl,
    ttl,
};
use super::super::{Keyed, Run};

const READ: &[KeyUse] = &[KeyUse::one(1, &[K::RO, K::ACCESS])];
const UPDATE: &[KeyUse] = &[KeyUse::one(1, &[K::RW, K::UPDATE])];

/// Of which chapter the commands are, and since when.
#[derive(Clone, Copy)]
struct Chapter {
    group: Group,
    acl: &'static [A],
    since: &'static str,
}

const HASH: Chapter = Chapter { group: Group::Hash, acl: &[A::HASH], since: "7.4.0" };
const SET: Chapter = Chapter { group: Group::Set, acl: &[A::SET], since: OWN };
const SORTED_SET: Chapter = Chapter { group: Group::SortedSet, acl: &[A::SORTED_SET], since: OWN };
/// No version of Redis has them.
const OWN: &str = "annulus 0.1.0";

impl Chapter {
    const fn row(self, name: &'static str, arity: i8, handler: Keyed) -> Command {
        Command::new(name, arity, self.group, Run::Keyed(handler)).acl(self.acl)
    }

    const fn setting(
        self,
        name: &'static str,
        handler: Keyed,
        summary: &'static str,
        syntax: &'static str,
    ) -> Command {
        self.row(name, -6, handler).flags(&[F::WRITE, F::DENYOOM, F::FAST]).keys(UPDATE).docs(
            self.since,
            "O(N*log(M)) with N members named and M members that expire",
            summary,
            syntax,
        )
    }

    const fn telling(
        self,
        name: &'static str,
        handler: Keyed,
        summary: &'static str,
        syntax: &'static str,
    ) -> Command {
        self.row(name, -5, handler).flags(&[F::READONLY, F::FAST]).keys(READ).docs(
            self.since,
            "O(N) in the number of members named",
            summary,
            syntax,
        )
    }

    const fn persisting(
        self,
        name: &'static str,
        handler: Keyed,
        summary: &'static str,
        syntax: &'static str,
    ) -> Command {
        self.row(name, -5, handler).flags(&[F::WRITE, F::FAST]).keys(UPDATE).docs(
            self.since,
            "O(N*log(M)) with N members named and M members that expire",
            summary,
            syntax,
        )
    }
}

/// The rows of a family: its first letter, what its members are called, and how they are named in arguments.
macro_rules! rows {
    ($family:ty, $chapter:ident, $letter:literal, $members:literal, $named:literal) => {
        &[
            $chapter.setting(
                concat!($letter, "expire"),
                expire::<$family>,
                concat!("Sets how many seconds ", $members, " have left"),
                concat!("key seconds:integer [NX | XX | GT | LT] ", $named),
            ),
            $chapter.setting(
                concat!($letter, "expireat"),
                expireat::<$family>,
                concat!("Sets at which second ", $members, " expire"),
                concat!("key unix-time-seconds:unix-time [NX | XX | GT | LT] ", $named),
            ),
            $chapter.telling(
                concat!($letter, "expiretime"),
                expiretime::<$family>,
                concat!("Tells at which second ", $members, " expire"),
                concat!("key ", $named),
            ),
            $chapter.persisting(
                concat!($letter, "persist"),
                persist::<$family>,
                concat!("Takes the expiry from ", $members),
                concat!("key ", $named),
            ),
            $chapter.setting(
                concat!($letter, "pexpire"),
                pexpire::<$family>,
                concat!("Sets how many milliseconds ", $members, " have left"),
                concat!("key milliseconds:integer [NX | XX | GT | LT] ", $named),
            ),
            $chapter.setting(
                concat!($letter, "pexpireat"),
                pexpireat::<$family>,
                concat!("Sets at which millisecond ", $members, " expire"),
                concat!("key unix-time-milliseconds:unix-time [NX | XX | GT | LT] ", $named),
            ),
            $chapter.telling(
                concat!($letter, "pexpiretime"),
                pexpiretime::<$family>,
                concat!("Tells at which millisecond ", $members, " expire"),
                concat!("key ", $named),
            ),
            $chapter.telling(
                concat!($letter, "pttl"),
                pttl::<$family>,
                concat!("Tells how many milliseconds ", $members, " have left"),
                concat!("key ", $named),
            ),
            $chapter.telling(
                concat!($letter, "ttl"),
                ttl::<$family>,
                concat!("Tells how many seconds ", $members, " have left"),
                concat!("key ", $named),
            ),
        ]
    };
}

pub(super) const OF_HASH: &[Command] =
    rows!(OfHash, HASH, "h", "fields", "FIELDS (numfields:integer field...)");
pub(super) const OF_SET: &[Command] =
    rows!(OfSet, SET, "s", "members of a set", "MEMBERS (nummembers:integer member...)");
pub(super) const OF_SORTED_SET: &[Command] =
    rows!(OfSortedSet, SORTED_SET, "z", "members of a sorted set", "MEMBERS (nummembers:integer member...)");

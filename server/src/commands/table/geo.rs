//! Places.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::geo::{add, search, single};
use super::super::{Keyed, Run};

const READ: &[KeyUse] = &[KeyUse::one(1, &[K::RO, K::ACCESS])];

/// What a search costs.
const SEARCH: &str = "O(N+log(M)) in the number of places around the area and of places there are";

const fn row(name: &'static str, arity: i8, run: Run) -> Command {
    Command::new(name, arity, Group::Geo, run).acl(&[A::GEO])
}

const fn keyed(name: &'static str, arity: i8, handler: Keyed) -> Command {
    row(name, arity, Run::Keyed(handler))
}

/// Keys of a search that may be stored, with its options from a position on.
macro_rules! stores {
    ($from:literal) => {
        &[
            KeyUse::one(1, &[K::RO, K::ACCESS]),
            KeyUse::keyword("STORE", $from, &[K::OW, K::UPDATE]),
            KeyUse::keyword("STOREDIST", $from, &[K::OW, K::UPDATE]),
        ]
    };
}

pub(super) const ROWS: &[Command] = &[
    keyed("geoadd", -5, add::geoadd)
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(1, &[K::RW, K::UPDATE])])
        .docs(
            "3.2.0",
            "O(log(N)) for each place added, in the number of places there are",
            "Adds places to a sorted set, which may be new, or moves them",
            "key [NX | XX] [CH] (longitude:double latitude:double member)...",
        ),
    keyed("geodist", -4, single::geodist).flags(&[F::READONLY]).keys(READ).docs(
        "3.2.0",
        "O(1)",
        "Tells the distance between two places",
        "key member1 member2 [M | KM | FT | MI]",
    ),
    keyed("geohash", -2, single::geohash_of).flags(&[F::READONLY]).keys(READ).docs(
        "3.2.0",
        "O(1) for each place",
        "Tells the geohashes of places",
        "key [member...]",
    ),
    keyed("geopos", -2, single::geopos).flags(&[F::READONLY]).keys(READ).docs(
        "3.2.0",
        "O(1) for each place",
        "Tells the longitudes and latitudes of places",
        "key [member...]",
    ),
    row("georadius", -6, Run::Hops(search::georadius_plan, search::georadius))
        .flags(&[F::WRITE, F::DENYOOM, F::MOVABLE_KEYS])
        .keys(stores!(6))
        .docs(
            "3.2.0",
            SEARCH,
            "Tells or stores the places that are not further from a point than a distance",
            "key longitude:double latitude:double radius:double (M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] \
             [COUNT count:integer [ANY]] [ASC | DESC] [STORE storekey:key | STOREDIST storedistkey:key]",
        )
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"),
    keyed("georadius_ro", -6, search::georadius_ro)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "3.2.10",
            SEARCH,
            "Tells the places that are not further from a point than a distance",
            "key longitude:double latitude:double radius:double (M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] \
             [COUNT count:integer [ANY]] [ASC | DESC]",
        )
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument"),
    row("georadiusbymember", -5, Run::Hops(search::georadiusbymember_plan, search::georadiusbymember))
        .flags(&[F::WRITE, F::DENYOOM, F::MOVABLE_KEYS])
        .keys(stores!(5))
        .docs(
            "3.2.0",
            SEARCH,
            "Tells or stores the places that are not further from another one than a distance",
            "key member radius:double (M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count:integer [ANY]] \
             [ASC | DESC] [STORE storekey:key | STOREDIST storedistkey:key]",
        )
        .deprecated(
            "6.2.0",
            "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
        ),
    keyed("georadiusbymember_ro", -5, search::georadiusbymember_ro)
        .flags(&[F::READONLY])
        .keys(READ)
        .docs(
            "3.2.10",
            SEARCH,
            "Tells the places that are not further from another one than a distance",
            "key member radius:double (M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count:integer [ANY]] \
             [ASC | DESC]",
        )
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    keyed("geosearch", -7, search::geosearch).flags(&[F::READONLY]).keys(READ).docs(
        "6.2.0",
        SEARCH,
        "Tells the places in a circle or rectangle",
        "key (FROMMEMBER member | FROMLONLAT longitude:double latitude:double) \
         (BYRADIUS radius:double (M | KM | FT | MI) | BYBOX width:double height:double (M | KM | FT | MI)) [ASC | DESC] \
         [COUNT count:integer [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
    ),
    row("geosearchstore", -8, Run::Hops(search::geosearchstore_plan, search::geosearchstore))
        .flags(&[F::WRITE, F::DENYOOM])
        .keys(&[KeyUse::one(1, &[K::OW, K::UPDATE]), KeyUse::one(2, &[K::RO, K::ACCESS])])
        .docs(
            "6.2.0",
            SEARCH,
            "Stores the places in a circle or rectangle",
            "destination:key source:key (FROMMEMBER member | FROMLONLAT longitude:double latitude:double) \
             (BYRADIUS radius:double (M | KM | FT | MI) | BYBOX width:double height:double (M | KM | FT | MI)) \
             [ASC | DESC] [COUNT count:integer [ANY]] [STOREDIST]",
        ),
];

//! What shards ask of each other. Clients cannot send these.

use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::{
    Merge, Run, bitmap, blocking, generic, geo, hyperloglog, internal, sets, sort, sorted_sets, streams,
    strings,
};

pub(super) const ROWS: &[Command] = &[
    // Value, expiry (-1: none) and form of a key, or null.
    Command::new("annulus.fetch", 2, Group::Generic, Run::Keyed(internal::fetch))
        .flags(&[F::READONLY, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RO, K::ACCESS])]),
    // The same, of a key that is renamed.
    Command::new("annulus.lift", 2, Group::Generic, Run::Keyed(internal::lift))
        .flags(&[F::READONLY, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RO, K::ACCESS])]),
    // 1 if a key is there that is about to be written.
    Command::new("annulus.present", 2, Group::Generic, Run::Keyed(internal::present))
        .flags(&[F::READONLY, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RO])]),
    // key EX|PX amount: the point in Unix time, ms, that is so far from now.
    Command::new("annulus.deadline", 4, Group::String, Run::Keyed(strings::many_until::deadline))
        .flags(&[F::READONLY, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RO])]),
    // Versions of keys that a connection watches from now on.
    Command::new("annulus.watch", -2, Group::Generic, Run::Split(internal::watch, Merge::Array))
        .flags(&[F::READONLY, F::INTERNAL])
        .keys(&[KeyUse::every(1, 1, &[K::RO])]),
    // key shard number kind: a command of that shard waits for the key.
    Command::new("annulus.await", 5, Group::Generic, Run::Keyed(blocking::add_awaiter))
        .flags(&[F::READONLY, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RO])]),
    // key database expiry value REPLACE|KEEP form: 1 if stored, 0 if the key exists and is kept.
    Command::new("annulus.put", 7, Group::Generic, Run::Keyed(internal::put))
        .flags(&[F::WRITE, F::DENYOOM, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::OW, K::UPDATE])]),
    // The same, for a value that is renamed.
    Command::new("annulus.receive", 7, Group::Generic, Run::Keyed(internal::put))
        .flags(&[F::WRITE, F::DENYOOM, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::OW, K::UPDATE])]),
    // Deletes a key that has been renamed.
    Command::new("annulus.drop", 2, Group::Generic, Run::Keyed(generic::del))
        .flags(&[F::WRITE, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RM, K::DELETE])]),
    // destination result: its length; an empty one deletes the key.
    Command::new("annulus.bitstore", 3, Group::Bitmap, Run::Keyed(bitmap::operate::bitstore))
        .flags(&[F::WRITE, F::DENYOOM, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::OW, K::UPDATE])]),
    // key: type and elements of what SORT sorts.
    Command::new("annulus.sortlist", 2, Group::Generic, Run::Keyed(sort::list_elements))
        .flags(&[F::READONLY, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RO, K::ACCESS])]),
    // key [field]: a string, or null.
    Command::new("annulus.sortlook", -2, Group::Generic, Run::Keyed(sort::look_up))
        .flags(&[F::READONLY, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RO, K::ACCESS])]),
    // destination element...: its length; without elements the key is deleted.
    Command::new("annulus.sortstore", -2, Group::Generic, Run::Keyed(sort::store_list))
        .flags(&[F::WRITE, F::DENYOOM, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::OW, K::UPDATE])]),
    // key [group]: the last id of a stream.
    Command::new("annulus.xlook", -2, Group::Stream, Run::Keyed(streams::read::xlook))
        .flags(&[F::READONLY, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RO, K::ACCESS])]),
    // key id count version [group consumer ACK|NOACK]: key and entries, encoded, or null. Changes groups only.
    Command::new("annulus.xread", -5, Group::Stream, Run::Keyed(streams::read::xread_one))
        .flags(&[F::WRITE, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS])]),
    // destination value command: its size; an empty value deletes the key.
    Command::new("annulus.setstore", 4, Group::Set, Run::Keyed(sets::algebra::setstore))
        .flags(&[F::WRITE, F::DENYOOM, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::OW, K::UPDATE])]),
    // destination value...: OK.
    Command::new(
        "annulus.pfmerge",
        -2,
        Group::Hyperloglog,
        Run::Keyed(hyperloglog::commands::pfmerge_values),
    )
    .flags(&[F::WRITE, F::DENYOOM, F::INTERNAL])
    .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::INSERT])]),
    // key MIN|MAX count: the key, then members and scores taken.
    Command::new("annulus.zmpop", 4, Group::SortedSet, Run::Keyed(sorted_sets::pop::take_flat))
        .flags(&[F::WRITE, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RW, K::ACCESS, K::DELETE])]),
    // source min max option...: the part, encoded.
    Command::new("annulus.zpick", -4, Group::SortedSet, Run::Keyed(sorted_sets::range::pick_encoded))
        .flags(&[F::READONLY, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RO, K::ACCESS])]),
    // source name ...: what a search of that name with these arguments is to store, encoded.
    Command::new("annulus.geopick", -5, Group::Geo, Run::Keyed(geo::search::pick_encoded))
        .flags(&[F::READONLY, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::RO, K::ACCESS])]),
    // destination value command: its length; an empty one deletes the key.
    Command::new("annulus.zstore", 4, Group::SortedSet, Run::Keyed(sorted_sets::store::zstore))
        .flags(&[F::WRITE, F::DENYOOM, F::INTERNAL])
        .keys(&[KeyUse::one(1, &[K::OW, K::UPDATE])]),
];

//! Expiry of members, that is fields of hashes and members of sets, sorted or not: which collections to look at when, and the removal
//! of their members, logged.
//!
//! - Each slot group of a database has a schedule of its collections with members that expire, by the first of them. It is exact, and
//!   goes with the group's table when that is flushed or exchanged.
//! - The store knows a time before which no member expires; all schedules are looked through only when it has passed.
//! - Members that nobody has looked at stay in memory and in the log until then, but read as absent. Recovery finds them as they were.

use super::{Found, Key, Store};
use crate::table::{GROUP_SLOTS, Position};
use crate::{Change, DatabaseId, EffectSink, Entry};

/// How long a collection waits whose key was changed by a transaction that is not decided.
const HELD_MS: u64 = 100;
/// Members expire in steps of this, so that a shard is not woken for each.
const TICK_MS: u64 = 8;

/// No member expires ever.
pub(super) const NEVER: u64 = u64::MAX;

/// When the first member expires, if the entry has a collection with such members.
fn next_of(entry: Entry<'_>) -> Option<u64> {
    entry.collection()?.next_expiry_ms()
}

impl<S: EffectSink> Store<S> {
    /// Before the value at a key is changed: when its first member expires. Nothing to look at as long as no member does.
    #[inline]
    pub(super) fn members_before(&self, database: DatabaseId, found: &Found) -> Option<u64> {
        if self.members_from_ms == NEVER {
            None
        } else {
            self.first_member_ms(database, found.group, found.at)
        }
    }

    #[cold]
    fn first_member_ms(&self, database: DatabaseId, group: u8, at: Option<Position>) -> Option<u64> {
        next_of(self.databases[database.index()].table(group)?.entry(at?))
    }

    /// The first member at a key expires at another time now.
    #[inline]
    pub(super) fn note_members(
        &mut self,
        database: DatabaseId,
        found: &Found,
        old: Option<u64>,
        new: Option<u64>,
    ) {
        if old != new {
            self.schedule_members(database, found, old, new);
        }
    }

    #[cold]
    fn schedule_members(&mut self, database: DatabaseId, found: &Found, old: Option<u64>, new: Option<u64>) {
        self.databases[database.index()].schedule_mut(found.group).note(found.hash, old, new);
        self.members_from_ms = self.members_from_ms.min(new.unwrap_or(NEVER));
    }

    /// When there's something to do next, ms of Unix time.
    pub(super) fn next_members_ms(&self) -> Option<u64> {
        (self.members_from_ms != NEVER).then(|| (self.members_from_ms / TICK_MS + 1).saturating_mul(TICK_MS))
    }

    /// Removes up to `budget` members whose time has passed, each in a group of effects of its own. Returns how many went.
    pub(super) fn expire_members(&mut self, budget: usize) -> usize {
        if self.now_ms <= self.members_from_ms {
            return 0;
        }
        if self.sink.holds_databases() {
            self.members_from_ms = self.now_ms + HELD_MS;
            return 0;
        }
        let mut left = budget;
        let mut next = NEVER;
        for index in 0..self.databases.len() {
            for group in 0..=u8::MAX {
                next = next.min(self.expire_members_of(DatabaseId(index as u16), group, &mut left));
            }
        }
        self.members_from_ms = next;
        budget - left
    }

    /// Does that for one group; returns when the next of its members expires.
    fn expire_members_of(&mut self, database: DatabaseId, group: u8, left: &mut usize) -> u64 {
        let mut next = NEVER;
        let mut from = (0, 0);
        while let Some((at, hash)) =
            self.databases[database.index()].schedule(group).and_then(|schedule| schedule.first_from(from))
        {
            if at >= self.now_ms || *left == 0 {
                return next.min(at);
            }
            if self.sink.holds(database, hash) {
                next = next.min(self.now_ms + HELD_MS);
                from = (at, hash.saturating_add(1));
                continue;
            }
            *left -= 1;
            self.expire_member(database, group, hash);
        }
        next
    }

    /// Removes the first member of a collection to expire, or the key if its own time has passed.
    fn expire_member(&mut self, database: DatabaseId, group: u8, hash: u64) {
        let table = self.databases[database.index()].table_mut(group);
        let due = table.of_hash(&self.hasher, hash, u64::MAX).find_map(|at| {
            let collection = table.entry(at).collection()?;
            Some((at, collection.kind(), collection.first_lapsed(self.now_ms)?.to_vec()))
        });
        let Some((at, kind, member)) = due else {
            panic!(
                "no member has expired in group {group} of {database:?}, but hash {hash:#x} is in its schedule"
            );
        };
        let slot = u16::from(group) * GROUP_SLOTS + table.slot_in_group(at);
        let bytes = table.entry(at).key().to_vec();
        let applied =
            self.change(database, Key { bytes: &bytes, slot }, Change::remove_member(kind, &member));
        self.stats.expired_members += applied.affected as u64;
        self.end_group();
    }
}

//! Work between commands: keys whose time has come, and memory that is given back a little at a time.

use super::Store;
use crate::coverage::{Branch, reached};
use crate::database::Database;
use crate::expiry::{Due, HINT_HASH_MASK, Hint};
use crate::table::Position;
use crate::{DatabaseId, EffectSink};

impl<S: EffectSink> Store<S> {
    /// Looks at up to `budget` hints whose time has come, and removes those of their keys that have expired; and as many members
    /// of collections. Each removal is a group of effects of its own. Returns how many keys and members went. Not to be called while a command runs.
    pub fn expire_cycle(&mut self, budget: usize) -> usize {
        assert!(!self.wrote, "expiry while a command is running");
        self.gates.taints.clear_group();
        let before = self.stats.expired_keys;
        let databases = &self.databases;
        self.expiry.maybe_renew(self.now_ms, || databases.iter().map(Database::expiring).sum());
        for _ in 0..budget {
            let Some(due) = self.expiry.take_due(self.now_ms) else { break };
            self.handle_due(due);
        }
        let members = self.expire_members(budget);
        self.gates.take_command();
        (self.stats.expired_keys - before) as usize + members
    }

    /// Removes what has expired of the keys that a hint means, in whichever database, and places the hint anew for the
    /// others: once, however many there are, or hints would multiply.
    fn handle_due(&mut self, due: Due) {
        let (Due::Expired(hint) | Due::Renewed(hint)) = due;
        let mark = self.expiry.mark();
        let mut next_ms: Option<u64> = None;
        for index in 0..self.databases.len() {
            let Some((at, expire_at_ms)) = self.expire_hinted(DatabaseId(index as u16), hint) else {
                continue;
            };
            let table = self.databases[index].table_mut(hint.group());
            let marked = table.entry(at).mark() == mark;
            if matches!(due, Due::Expired(_)) || !marked {
                next_ms = Some(next_ms.map_or(expire_at_ms, |next| next.min(expire_at_ms)));
                table.set_mark(at, mark);
            }
        }
        if let Some(next_ms) = next_ms {
            self.expiry.place(hint, next_ms, self.now_ms);
        }
    }

    /// Removes the expired keys that a hint means in a database. Returns the one, if any, that has yet to expire.
    fn expire_hinted(&mut self, database: DatabaseId, hint: Hint) -> Option<(Position, u64)> {
        loop {
            let table = self.databases[database.index()].table(hint.group())?;
            let at = table.find_expiring(&self.hasher, hint.hash(), HINT_HASH_MASK)?;
            let expire_at_ms = table.entry(at).expire_at_ms()?;
            if self.now_ms <= expire_at_ms {
                return Some((at, expire_at_ms));
            }
            let hash = self.hasher.hash(table.entry(at).key());
            if self.sink.holds(database, hash) {
                /// How long a key's hint waits for a transaction that has changed the key.
                const HELD_MS: u64 = 100;
                return Some((at, self.now_ms + HELD_MS));
            }
            reached(Branch::ExpiredFound);
            self.expire(database, hint.group(), hash, at);
            self.end_group();
        }
    }

    /// When [`Store::expire_cycle`] has work next, ms of Unix time: in the past if at once. None if there's no expiry.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.expiry.next_ms().into_iter().chain(self.next_members_ms()).min()
    }

    /// Frees up to `budget` entries of flushed databases and elements of removed collections: each takes about half a
    /// microsecond. True if there's more to do.
    pub fn reclaim(&mut self, mut budget: usize) -> bool {
        loop {
            while let Some(value) = self.garbage_values.last_mut() {
                budget = value.free(budget);
                if !value.is_freed() {
                    return true;
                }
                self.garbage_values.pop();
            }
            while let Some(schedule) = self.garbage_schedules.last_mut() {
                budget = schedule.free(budget);
                if !schedule.is_empty() {
                    return true;
                }
                self.garbage_schedules.pop();
            }
            let Some(table) = self.garbage.last_mut() else { return false };
            budget = table.free(budget, &mut self.garbage_values);
            if !table.is_freed() && self.garbage_values.is_empty() {
                return true;
            }
            if table.is_freed() {
                self.garbage.pop();
            }
        }
    }
}

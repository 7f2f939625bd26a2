//! One database: a table per slot group, and beside it what tells when members of its collections expire.

use std::ops::Range;

use crate::schedule::Schedule;
use crate::table::{GROUP_SLOTS, Table};

/// Slot groups of the keyspace: 16384 slots in groups of 64.
pub(crate) const GROUPS: u16 = 16384 / GROUP_SLOTS;

/// The group of a hash slot. Slots beyond the last wrap around, so that this is an index whatever a caller says.
pub(crate) const fn group_of(slot: u16) -> u8 {
    (slot / GROUP_SLOTS) as u8
}

/// A table per group, none of them allocated before the database has had a key.
#[derive(Default)]
pub(crate) struct Database {
    tables: Vec<Table>,
    /// A schedule per group, none of them allocated before a member has had an expiry.
    schedules: Vec<Schedule>,
}

impl Database {
    #[inline(always)]
    pub(crate) fn table(&self, group: u8) -> Option<&Table> {
        self.tables.get(usize::from(group))
    }

    #[inline(always)]
    pub(crate) fn table_mut(&mut self, group: u8) -> &mut Table {
        if self.tables.is_empty() {
            self.tables.resize_with(usize::from(GROUPS), Table::default);
        }
        &mut self.tables[usize::from(group)]
    }

    pub(crate) fn tables(&self) -> &[Table] {
        &self.tables
    }

    pub(crate) fn tables_mut(&mut self) -> &mut [Table] {
        &mut self.tables
    }

    pub(crate) fn len(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }

    pub(crate) fn expiring(&self) -> usize {
        self.tables.iter().map(|table| table.totals().expiring).sum()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let tables: usize = self.tables.iter().map(Table::memory_bytes).sum();
        let schedules: usize = self.schedules.iter().map(Schedule::memory_bytes).sum();
        let headers =
            self.tables.capacity() * size_of::<Table>() + self.schedules.capacity() * size_of::<Schedule>();
        tables + schedules + headers
    }

    /// When collections have members that expire.
    pub(crate) fn schedule(&self, group: u8) -> Option<&Schedule> {
        self.schedules.get(usize::from(group))
    }

    pub(crate) fn schedule_mut(&mut self, group: u8) -> &mut Schedule {
        if self.schedules.is_empty() {
            self.schedules.resize_with(usize::from(GROUPS), Schedule::default);
        }
        &mut self.schedules[usize::from(group)]
    }

    /// Takes the schedules of some groups, leaving them empty.
    pub(crate) fn detach_schedules(&mut self, groups: Range<u16>) -> impl Iterator<Item = Schedule> {
        let groups = usize::from(groups.start)..usize::from(groups.end);
        let schedules = self.schedules.get_mut(groups).unwrap_or_default();
        schedules.iter_mut().filter(|schedule| !schedule.is_empty()).map(std::mem::take)
    }

    /// Takes the tables of some groups that hold anything, leaving them empty.
    pub(crate) fn detach(&mut self, groups: Range<u16>) -> impl Iterator<Item = Table> {
        let groups = usize::from(groups.start)..usize::from(groups.end);
        let tables = self.tables.get_mut(groups).unwrap_or_default();
        tables.iter_mut().filter(|table| table.len() > 0).map(std::mem::take)
    }

    /// Exchanges the tables and schedules of some groups.
    pub(crate) fn swap(&mut self, other: &mut Database, groups: Range<u16>) {
        for group in groups {
            let Ok(group) = u8::try_from(group) else { return };
            std::mem::swap(self.table_mut(group), other.table_mut(group));
            if !self.schedules.is_empty() || !other.schedules.is_empty() {
                std::mem::swap(self.schedule_mut(group), other.schedule_mut(group));
            }
        }
    }
}

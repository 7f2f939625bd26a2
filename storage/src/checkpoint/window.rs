//! Which effects of the log go beyond an image.
//!
//! An image was taken between two points of the log, its *window*. Before the window it has everything, after it nothing. Within,
//! it has an effect on a key if the slice that covers the key was taken later than that.
//!
//! - Databases in the image have the names that they had when the window began. Effects name them as of their time; so what an
//!   effect calls a database is traced back through the exchanges that came before it.
//! - A database that was emptied within the window was emptied in the image too, so the emptying itself is never repeated.

use std::collections::BTreeMap;

use super::Place;
use crate::database::group_of;
use crate::table::Hasher;
use crate::{Effect, Lsn};

/// The window of one image, for replaying its log from front to end.
pub(crate) struct Window {
    from: Lsn,
    to: Lsn,
    hasher: Hasher,
    /// Ends of stretches, in order, and the effects that they contain.
    stretches: Vec<(Place, Lsn)>,
    /// When a database was emptied, by former name.
    emptied: BTreeMap<u16, Lsn>,
    /// Former names, by present name; what is missing has kept its own.
    former: Vec<u16>,
}

impl Window {
    pub(crate) fn new(from: Lsn, hasher: Hasher) -> Self {
        Self { from, to: from, hasher, stretches: Vec::new(), emptied: BTreeMap::new(), former: Vec::new() }
    }

    /// Everything up to here is in the image.
    pub(crate) const fn from(&self) -> Lsn {
        self.from
    }

    /// Nothing after here is in the image, and all up to here was durable when it got its name.
    pub(crate) const fn to(&self) -> Lsn {
        self.to
    }

    /// A slice ends.
    pub(crate) fn push_slice(&mut self, until: Place, as_of: Lsn) {
        self.to = self.to.max(as_of);
        match self.stretches.last_mut() {
            Some((end, contains)) if *contains == as_of => *end = until,
            Some((end, _)) if *end == until => {}
            _ => self.stretches.push((until, as_of)),
        }
    }

    /// A slice is lost: the image contains nothing of what it covers.
    pub(crate) fn push_lost(&mut self, until: Place) {
        self.stretches.push((until, self.from));
    }

    /// Where a key is in the order of the image, with its database by the name that it had when the window began.
    pub(crate) fn place(&self, slot: u16, database: u16, key: &[u8]) -> Place {
        let position = Hasher::position(self.hasher.hash(key));
        Place { group: u16::from(group_of(slot)), database, position }
    }

    /// The image says that a database was emptied.
    pub(crate) fn push_flush(&mut self, database: u16, as_of: Lsn) {
        self.emptied.insert(database, as_of);
    }

    /// Whether an effect is to be applied to what came out of the image. To be asked about every effect, in order.
    #[inline]
    pub(crate) fn lacks(&mut self, lsn: Lsn, effect: &Effect<'_>) -> bool {
        lsn > self.to || (lsn > self.from && self.lacks_within(lsn, effect))
    }

    fn lacks_within(&mut self, lsn: Lsn, effect: &Effect<'_>) -> bool {
        match *effect {
            Effect::Set { database, slot, key, .. }
            | Effect::SetRange { database, slot, key, .. }
            | Effect::Delete { database, slot, key }
            | Effect::Expire { database, slot, key, .. }
            | Effect::Change { database, slot, key, .. } => {
                let database = self.former(database.0);
                let position = Hasher::position(self.hasher.hash(key));
                lsn > self.contains(Place { group: u16::from(group_of(slot)), database, position })
            }
            Effect::FlushDatabase { .. } => false,
            // Whichever of these the image has, all of them in their order lead to the same.
            Effect::Library { .. } | Effect::FlushLibraries => true,
            Effect::SwapDatabases { a, b } => {
                let (former_a, former_b) = (self.former(a.0), self.former(b.0));
                self.set_former(a.0, former_b);
                self.set_former(b.0, former_a);
                true
            }
        }
    }

    /// The effects on a key that the image contains.
    fn contains(&self, place: Place) -> Lsn {
        let index = self.stretches.partition_point(|(end, _)| *end <= place);
        let walked = self.stretches.get(index).map_or(self.to, |(_, as_of)| *as_of);
        let emptied = self.emptied.get(&place.database).copied().unwrap_or_default();
        walked.max(emptied)
    }

    fn former(&self, database: u16) -> u16 {
        self.former.get(usize::from(database)).copied().unwrap_or(database)
    }

    fn set_former(&mut self, database: u16, former: u16) {
        let known = self.former.len() as u16;
        self.former.extend(known..=database);
        self.former[usize::from(database)] = former;
    }
}

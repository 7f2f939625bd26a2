//! Where a walk over the keys is, and what it must not forget. The walk itself is in `store::image`, where the tables are.
//!
//! Keys are ordered by slot group, database and hash. A slice takes everything from where the last one ended up to a border
//! between two buckets, and is never interrupted; tables may grow, split and shrink between slices, which moves no border
//! in hash order. Whatever is put behind the walk is in the log with a greater number than the slice's; whatever is put ahead
//! of it is met when the walk comes there.

use std::collections::VecDeque;

use super::WalkOptions;
use crate::database::GROUPS;
use crate::value::codec::Place as ValuePlace;
use crate::value::{Kind, List};
use crate::{DatabaseId, Lsn};

/// A border in the order of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Slot group; 256 at the end.
    pub group: u16,
    /// Database, by the name that it had when the walk began.
    pub database: u16,
    /// Position in hash order.
    pub position: u64,
}

impl Place {
    /// Behind the last key.
    pub const END: Place = Place { group: GROUPS, database: 0, position: 0 };

    pub(crate) const fn next_table(self, databases: usize) -> Place {
        if (self.database as usize) + 1 < databases {
            Place { database: self.database + 1, position: 0, ..self }
        } else {
            Place { group: self.group + 1, database: 0, position: 0 }
        }
    }
}

/// What a slice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The slice contains the effects up to this one on the keys it covers, and none after it.
    pub as_of: Lsn,
    /// It covers what lies between the end of the slice before it and here.
    pub until: Place,
    /// How many records it has.
    pub records: u32,
    /// It is the last.
    pub done: bool,
}

/// A value too large for a slice: its further pieces.
pub(crate) struct Rest {
    pub(crate) database: u16,
    pub(crate) slot: u16,
    pub(crate) key: Vec<u8>,
    /// What comes next.
    pub(crate) next: Next,
}

/// The part of a large value that comes next.
pub(crate) enum Next {
    /// Of a string: from this byte on.
    Bytes(usize),
    /// Of a collection whose changes name their elements: from this cursor on. Replay says again what happens to an element
    /// after the first slice; so it does no harm if the pieces are from different times.
    Elements(Kind, ValuePlace),
    /// Of a list, whose changes mean something only where they were made: from this index on, of how it was at the first slice.
    Snapshot(List, ValuePlace),
}

/// A walk under way.
pub(crate) struct Walk {
    pub(crate) options: WalkOptions,
    pub(crate) place: Place,
    /// What the database is called now that had the index as its name when the walk began.
    pub(crate) names: Vec<u16>,
    pub(crate) rests: VecDeque<Rest>,
    /// Databases that were flushed since, by former name, and when.
    pub(crate) flushed: VecDeque<(u16, Lsn)>,
    /// A transaction that is not in the log has emptied or exchanged databases, or undone what it did to a value of which the walk
    /// has a part: it cannot say what it has.
    pub(crate) spoiled: bool,
    /// Scratch: expired keys of a bucket, with their slots.
    pub(crate) expired: Vec<(u16, Vec<u8>)>,
    /// Libraries of functions come first: whether there are more to be taken, and which was the last.
    pub(crate) takes_libraries: bool,
    pub(crate) last_library: Option<Vec<u8>>,
}

impl Walk {
    pub(crate) fn new(options: WalkOptions, databases: usize) -> Self {
        Self {
            options,
            place: Place::default(),
            names: (0..databases as u16).collect(),
            rests: VecDeque::new(),
            flushed: VecDeque::new(),
            spoiled: false,
            expired: Vec::new(),
            takes_libraries: true,
            last_library: None,
        }
    }

    /// Whether everything has been taken.
    pub(crate) fn is_over(&self) -> bool {
        self.place >= Place::END && self.rests.is_empty() && self.flushed.is_empty() && !self.takes_libraries
    }

    /// What a database was called when the walk began.
    fn former(&self, database: DatabaseId) -> Option<usize> {
        self.names.iter().position(|name| *name == database.0)
    }

    /// A database has been emptied; [`Lsn::ZERO`]: not in the log yet.
    pub(crate) fn on_flush(&mut self, database: DatabaseId, lsn: Lsn) {
        self.spoiled |= lsn == Lsn::ZERO;
        if let Some(former) = self.former(database) {
            self.flushed.push_back((former as u16, lsn));
            self.rests.retain(|rest| usize::from(rest.database) != former);
        }
    }

    /// What a transaction had done to a key is undone without the log knowing: its elements may be in another order now.
    pub(crate) fn on_undone(&mut self, database: DatabaseId, key: &[u8]) {
        let former = self.former(database);
        let is_cut = |rest: &Rest| {
            former == Some(rest.database.into())
                && *rest.key == *key
                && matches!(rest.next, Next::Elements(..))
        };
        self.spoiled |= self.rests.iter().any(is_cut);
    }

    /// Two databases have changed places; [`Lsn::ZERO`]: not in the log yet.
    pub(crate) fn on_swap(&mut self, a: DatabaseId, b: DatabaseId, lsn: Lsn) {
        self.spoiled |= lsn == Lsn::ZERO;
        if let (Some(a), Some(b)) = (self.former(a), self.former(b)) {
            self.names.swap(a, b);
        }
    }
}

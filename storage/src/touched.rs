//! What the running command has done to keys, for those who want to be told: recorded only while somebody does.
//!
//! Every change goes through the store's mutators, and they note it here in the same call; so nothing that tells of
//! changes (notifications, invalidations) can be forgotten by a command. This is about what to tell only: what must not be
//! lost is in the effects.

use std::mem;

use crate::{DatabaseId, Kind};

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It exists now and did not before. What it was given follows.
    Created,
    /// It was given a string.
    Written {
        /// With a time to live.
        expires: bool,
    },
    /// Its collection was changed, or a part of its string.
    Changed {
        /// What it is.
        kind: Kind,
        /// It has more elements than before; a string: it is new; a stream: also, it has a new consumer.
        grew: bool,
        /// It has fewer elements than before.
        shrank: bool,
    },
    /// It was deleted, or its last element was.
    Deleted,
    /// It was found to be over its time, and removed.
    Expired,
    /// It was given up because memory is short.
    Evicted,
    /// It has a new time of expiry.
    ExpirySet,
    /// It expires no more.
    ExpiryRemoved,
    /// A read did not find it.
    Missed,
}

impl Happened {
    /// Whether it is a change, of what a reader may have seen before.
    pub const fn is_change(self) -> bool {
        !matches!(self, Happened::Created | Happened::Missed)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Touched {
    /// Whether anybody wants to be told of keys.
    records: bool,
    any: bool,
    /// What happened, where, and where its key ends in `keys`.
    entries: Vec<(DatabaseId, Happened, usize)>,
    keys: Vec<u8>,
    flushed: bool,
}

impl Touched {
    /// From now on things are recorded, or are not. Flushes always are.
    pub(crate) fn set_recording(&mut self, records: bool) {
        self.records = records;
    }

    /// Whether anybody wants to be told of keys.
    #[inline]
    pub(crate) fn is_recording(&self) -> bool {
        self.records
    }

    /// Whether there is something to tell.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Notes that something happened to a key.
    #[inline]
    pub(crate) fn note(&mut self, database: DatabaseId, key: &[u8], happened: Happened) {
        if self.records {
            self.record(database, key, happened);
        }
    }

    #[cold]
    fn record(&mut self, database: DatabaseId, key: &[u8], happened: Happened) {
        self.any = true;
        self.keys.extend_from_slice(key);
        self.entries.push((database, happened, self.keys.len()));
    }

    /// Notes that a database was emptied, or was empty when that was asked for.
    pub(crate) fn note_flush(&mut self) {
        self.any = true;
        self.flushed = true;
    }

    /// Takes out what there is, in exchange for an empty one.
    pub(crate) fn take(&mut self, empty: Touched) -> Touched {
        debug_assert!(empty.entries.is_empty() && !empty.any);
        let records = self.records;
        let taken = mem::replace(self, empty);
        self.records = records;
        taken
    }

    /// Whether a database was emptied.
    pub fn flushed(&self) -> bool {
        self.flushed
    }

    /// What happened, in order.
    pub fn iter(&self) -> impl Iterator<Item = (DatabaseId, &[u8], Happened)> {
        let mut start = 0;
        self.entries.iter().map(move |&(database, happened, end)| {
            let key = &self.keys[start..end];
            start = end;
            (database, key, happened)
        })
    }

    /// Empty again, with its memory unless that is large.
    #[must_use]
    pub fn emptied(mut self) -> Touched {
        const KEPT_BYTES_MAX: usize = 64 << 10;
        if self.keys.capacity() > KEPT_BYTES_MAX {
            return Touched::default();
        }
        self.entries.clear();
        self.keys.clear();
        Touched { any: false, flushed: false, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_comes_out_in_order_and_once() {
        let mut touched = Touched::default();
        touched.note(DatabaseId(0), b"unseen", Happened::Deleted);
        assert!(!touched.any(), "nobody asked");
        touched.set_recording(true);
        touched.note(DatabaseId(0), b"a", Happened::Created);
        touched.note(DatabaseId(3), b"", Happened::Missed);
        assert!(touched.any());
        let taken = touched.take(Touched::default());
        assert!(!touched.any());
        let seen: Vec<_> = taken.iter().collect();
        assert_eq!(
            seen,
            [
                (DatabaseId(0), b"a".as_slice(), Happened::Created),
                (DatabaseId(3), b"".as_slice(), Happened::Missed)
            ]
        );
        assert!(taken.emptied().iter().next().is_none());
        touched.note(DatabaseId(0), b"b", Happened::Deleted);
        assert_eq!(touched.take(Touched::default()).iter().count(), 1, "it goes on recording");
    }

    #[test]
    fn flushes_are_noted_whoever_listens() {
        let mut touched = Touched::default();
        touched.note_flush();
        assert!(touched.any());
        assert!(touched.take(Touched::default()).flushed());
        assert!(!touched.any());
    }
}

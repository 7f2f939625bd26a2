//! What a transaction that may be called off needs to undo its changes: for each key that it changes, what was there before.
//!
//! A copy is made before the first change of a key, and no copy of what is large: then the transaction can't be undone, and
//! whoever runs it has to bring it to its end. Nor are flushes and swaps undone; who makes them holds the locks of all keys, and so
//! never has to give up.

use crate::taint::{Touched, TouchedSet};
use crate::value::codec;
use crate::{Change, DatabaseId, Effect, Entry, Key, Kind};

/// Bytes of a value up to which a copy of it is made: some microseconds.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Bytes of all copies together.
const TOTAL_BYTES_MAX: usize = 16 << 20;

/// A key as it was.
#[derive(Debug)]
pub(crate) struct Saved {
    database: DatabaseId,
    slot: u16,
    key: Box<[u8]>,
    /// Type, elements, expiry.
    value: Option<(Kind, Vec<u8>, Option<u64>)>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Undo {
    saved: Vec<Saved>,
    known: TouchedSet,
    bytes: usize,
    incomplete: bool,
}

impl Undo {
    pub(crate) fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// Something is about to be changed that is not undone.
    pub(crate) fn spoil(&mut self) {
        *self = Undo { incomplete: true, ..Undo::default() };
    }

    /// Whether a key has to be saved before it is changed.
    pub(crate) fn wants(&self, database: DatabaseId, hash: u64) -> bool {
        !self.incomplete && !self.known.contains(&Touched::Key(database, hash))
    }

    /// A key is about to be changed for the first time.
    pub(crate) fn save(&mut self, database: DatabaseId, hash: u64, key: Key<'_>, entry: Option<Entry<'_>>) {
        let bytes = entry.map_or(0, |entry| entry.memory_bytes());
        if bytes > VALUE_BYTES_MAX || self.bytes > TOTAL_BYTES_MAX {
            self.spoil();
            return;
        }
        self.bytes += bytes + key.bytes.len() + size_of::<Saved>();
        self.known.insert(Touched::Key(database, hash));
        let value = entry.map(|entry| {
            let mut elements = Vec::new();
            let mut place = Some(codec::Place::START);
            while let Some(from) = place {
                place = codec::encode_piece(entry.value(), &from, usize::MAX, &mut elements);
            }
            (entry.value().kind(), elements, entry.expire_at_ms())
        });
        self.saved.push(Saved { database, slot: key.slot, key: key.bytes.into(), value });
    }

    /// What is to be restored.
    pub(crate) fn into_saved(self) -> impl Iterator<Item = Saved> {
        assert!(self.is_complete(), "copies of large values are not made");
        self.saved.into_iter()
    }
}

impl Saved {
    pub(crate) fn key(&self) -> (DatabaseId, &[u8]) {
        (self.database, &self.key)
    }

    /// The effects that make the key what it was.
    pub(crate) fn effects(&self, mut each: impl FnMut(Effect<'_>)) {
        let Saved { database, slot, key, value } = self;
        let (database, slot, key) = (*database, *slot, &**key);
        each(Effect::Delete { database, slot, key });
        match value {
            None => {}
            Some((Kind::String, value, expire_at_ms)) => {
                each(Effect::Set { database, slot, key, value, expire_at_ms: *expire_at_ms });
            }
            Some((kind, elements, expire_at_ms)) => {
                let change = Change::Load { kind: *kind, first: true, elements };
                each(Effect::Change { database, slot, key, change });
                if expire_at_ms.is_some() {
                    each(Effect::Expire { database, slot, key, expire_at_ms: *expire_at_ms });
                }
            }
        }
    }
}

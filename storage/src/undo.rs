//! What a transaction that may be called off needs to undo its changes: for each key that it changes, what was there before.
//!
//! A copy is made before the first change of a key, and no copy of what is large: then the transaction can't be undone, and
//! whoever runs it has to bring it to its end. Nor are flushes and swaps undone; who makes them holds the locks of all keys, and so
//! never has to give up.

use crate::taint::{Touched, TouchedSet};
use crate::value::{List, ValueLimits, codec};
use crate::{DatabaseId, Entry, Key, Kind, Value};

/// Bytes of a value up to which a copy of it is made: some microseconds.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Keys that are found fastest by looking at each.
const FEW: usize = 8;
/// Bytes of all copies together.
const TOTAL_BYTES_MAX: usize = 16 << 20;

/// A key as it was.
pub(crate) struct Saved {
    pub(crate) database: DatabaseId,
    hash: u64,
    pub(crate) slot: u16,
    pub(crate) key: Box<[u8]>,
    /// What it held, and until when.
    pub(crate) value: Option<(Copied, Option<u64>)>,
}

/// A value as it was, also in its form, which clients can ask for.
pub(crate) enum Copied {
    String {
        bytes: Box<[u8]>,
        /// It was changed in place.
        raw: bool,
    },
    /// A clone, which shares structure with the list.
    List(List),
    Elements {
        kind: Kind,
        elements: Vec<u8>,
        encoding: &'static str,
    },
}

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saved").field("key", &self.key).finish_non_exhaustive()
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Undo {
    saved: Vec<Saved>,
    /// What is in there, once it is more than [`FEW`].
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
        if self.saved.len() <= FEW {
            let is_saved = |saved: &Saved| saved.hash == hash && saved.database == database;
            return !self.incomplete && !self.saved.iter().any(is_saved);
        }
        !self.incomplete && !self.known.contains(&Touched::Key(database, hash))
    }

    /// A key is about to be changed for the first time.
    pub(crate) fn save(&mut self, database: DatabaseId, hash: u64, key: Key<'_>, entry: Option<Entry<'_>>) {
        let is_shared = |entry: &Entry<'_>| matches!(entry.value(), Value::List(_));
        let bytes = entry.filter(|entry| !is_shared(entry)).map_or(0, |entry| entry.memory_bytes());
        if bytes > VALUE_BYTES_MAX || self.bytes > TOTAL_BYTES_MAX {
            self.spoil();
            return;
        }
        self.bytes += bytes + key.bytes.len() + size_of::<Saved>();
        let value = entry.map(|entry| (Copied::of(entry), entry.expire_at_ms()));
        self.saved.push(Saved { database, hash, slot: key.slot, key: key.bytes.into(), value });
        if self.saved.len() == FEW + 1 {
            self.known.extend(self.saved.iter().map(|saved| Touched::Key(saved.database, saved.hash)));
        } else if self.saved.len() > FEW {
            self.known.insert(Touched::Key(database, hash));
        }
    }

    /// What is to be restored.
    pub(crate) fn into_saved(self) -> impl Iterator<Item = Saved> {
        assert!(self.is_complete(), "copies of large values are not made");
        self.saved.into_iter()
    }
}

impl Copied {
    fn of(entry: Entry<'_>) -> Copied {
        match entry.value() {
            Value::String(bytes) => Copied::String { bytes: bytes.into(), raw: entry.encoding() == "raw" },
            Value::List(list) => Copied::List(list.clone()),
            value => {
                let mut elements = Vec::new();
                let mut place = Some(codec::Place::START);
                while let Some(from) = place {
                    place = codec::encode_piece(value, &from, usize::MAX, &mut elements);
                }
                Copied::Elements { kind: value.kind(), elements, encoding: entry.encoding() }
            }
        }
    }
}

/// Limits under which a value has this form, whatever is in it.
pub(crate) fn limits_for(encoding: &str, limits: &ValueLimits) -> ValueLimits {
    let (integers, small) = match encoding {
        "intset" => (usize::MAX, usize::MAX),
        "listpack" => (0, usize::MAX),
        _ => (0, 0),
    };
    ValueLimits {
        hash_small_entries: small,
        hash_small_value_bytes: small,
        set_integer_entries: integers,
        set_small_entries: small,
        set_small_value_bytes: small,
        sorted_set_small_entries: small,
        sorted_set_small_value_bytes: small,
        ..*limits
    }
}

//! Neighbouring entries in one buffer.
//!
//! ```text
//! block      number of names, names (of the first entry's fields); entries in the order of their ids
//! entry      head; seq, if the head says so; number of fields and their names, if the head says so; values
//!            with own names: name, value, name, value, …
//! head       ms above those of the block's base · 4 + 2 (a seq follows) + 1 (own names); ms that don't fit follow
//! seq        in the base's millisecond above the base's seq
//! element    number: length · 2, and as many bytes; or zigzag of an integer · 2 + 1
//! number     LEB128 varint
//! ```
//!
//! - Ids are relative to the block's base, not to the entry before: so one can be taken out without a word to the next.
//! - An entry whose fields have the names of the first one says only their values.

use super::StreamId;
use super::change::StreamFields;
use crate::value::change::{signed, unsigned};
use crate::value::codec::put_number;
use crate::value::element::{Element, canonical_i64};

const HAS_SEQ: u64 = 2;
const OWN_NAMES: u64 = 1;
/// In a head, for ids that are at least so far from their base: how far follows.
const MS_FAR: u64 = u64::MAX >> 2;
/// Names that are longer are not shared.
const SHARED_NAMES_BYTES_MAX: usize = 1 << 20;
/// Integers beyond are kept as text: their number would not fit 64 bits.
const INTEGER_MAX: u64 = i64::MAX as u64 >> 1;
/// Buffers grow to multiples of this, as allocators' size classes are.
const GRANULE: usize = 16;

/// See the module.
pub(super) struct Block {
    bytes: Vec<u8>,
    /// The greatest id that was ever in it.
    last: StreamId,
    /// Where the names end.
    names_end: u32,
    len: u16,
    /// How many entries have been taken out.
    deleted: u16,
}

/// An entry in place.
#[derive(Clone, Copy)]
pub struct StreamEntry<'a> {
    /// Its id.
    pub id: StreamId,
    fields: usize,
    /// Names, if they are not among the values.
    names: Option<&'a [u8]>,
    values: &'a [u8],
}

impl<'a> StreamEntry<'a> {
    /// Number of fields.
    #[expect(clippy::len_without_is_empty, reason = "an entry has fields")]
    pub fn len(&self) -> usize {
        self.fields
    }

    /// Names and values.
    pub fn fields(&self) -> impl Iterator<Item = (Element<'a>, Element<'a>)> + use<'a> {
        let (mut names, mut values) = (self.names, self.values);
        (0..self.fields).map(move |_| {
            let name = match &mut names {
                Some(names) => take_element(names),
                None => take_element(&mut values),
            };
            (name, take_element(&mut values))
        })
    }
}

impl std::fmt::Debug for StreamEntry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.id)?;
        f.debug_map().entries(self.fields()).finish()
    }
}

fn put(out: &mut Vec<u8>, element: &[u8]) {
    let integer = canonical_i64(element).map(unsigned).filter(|number| *number <= INTEGER_MAX);
    if let Some(number) = integer {
        put_number(out, number << 1 | 1);
    } else {
        put_number(out, (element.len() as u64) << 1);
        out.extend_from_slice(element);
    }
}

/// Takes a number that this module has written.
fn take_number(rest: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (&byte, after) = rest.split_first().expect("a block ends between its elements");
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

fn take_element<'a>(rest: &mut &'a [u8]) -> Element<'a> {
    let number = take_number(rest);
    if number & 1 == 1 {
        return Element::integer(signed(number >> 1));
    }
    let (bytes, after) = rest.split_at((number >> 1) as usize);
    *rest = after;
    Element::bytes(bytes)
}

fn skip_elements(rest: &mut &[u8], count: usize) {
    for _ in 0..count {
        let number = take_number(rest);
        if number & 1 == 0 {
            *rest = &rest[(number >> 1) as usize..];
        }
    }
}

impl Block {
    /// A block whose base is the id of its first entry.
    pub(super) fn new(id: StreamId, fields: StreamFields<'_>) -> Block {
        let mut bytes = Vec::new();
        let shared = fields.bytes() <= SHARED_NAMES_BYTES_MAX;
        put_number(&mut bytes, if shared { fields.len() as u64 } else { 0 });
        if shared {
            fields.iter().for_each(|(name, _)| put(&mut bytes, name));
        }
        let mut block = Block { names_end: bytes.len() as u32, bytes, last: id, len: 0, deleted: 0 };
        block.insert(id, id, fields);
        block
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Number of entries, those included that were taken out.
    pub(super) fn len_ever(&self) -> usize {
        usize::from(self.len) + usize::from(self.deleted)
    }

    /// The greatest id that was ever in it.
    pub(super) fn last(&self) -> StreamId {
        self.last
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Nothing will be added to it for a while.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    fn entries_start(&self) -> usize {
        self.names_end as usize
    }

    /// The entry at an offset, and the offset behind it.
    fn entry(&self, base: StreamId, at: usize) -> (StreamEntry<'_>, usize) {
        let mut rest = &self.bytes[at..];
        let head = take_number(&mut rest);
        let ms_above = if head >> 2 == MS_FAR { take_number(&mut rest) } else { head >> 2 };
        let mut seq = if head & HAS_SEQ == 0 { 0 } else { take_number(&mut rest) };
        if ms_above == 0 {
            seq += base.seq;
        }
        let (fields, names) = if head & OWN_NAMES == 0 {
            let mut names = &self.bytes[..self.entries_start()];
            (take_number(&mut names) as usize, Some(names))
        } else {
            (take_number(&mut rest) as usize, None)
        };
        let values = rest;
        skip_elements(&mut rest, if names.is_some() { fields } else { 2 * fields });
        let values = &values[..values.len() - rest.len()];
        let id = StreamId::new(base.ms + ms_above, seq);
        (StreamEntry { id, fields, names, values }, self.bytes.len() - rest.len())
    }

    /// The entries from an offset on, each with its place.
    fn entries_at(
        &self,
        base: StreamId,
        at: usize,
    ) -> impl Iterator<Item = (std::ops::Range<usize>, StreamEntry<'_>)> {
        let mut at = at;
        std::iter::from_fn(move || {
            if at >= self.bytes.len() {
                return None;
            }
            let (entry, next) = self.entry(base, at);
            let place = at..next;
            at = next;
            Some((place, entry))
        })
    }

    /// All entries.
    pub(super) fn entries(&self, base: StreamId) -> impl Iterator<Item = StreamEntry<'_>> {
        self.entries_at(base, self.entries_start()).map(|(_, entry)| entry)
    }

    /// Offsets of the entries.
    pub(super) fn offsets(&self, base: StreamId) -> Vec<u32> {
        self.entries_at(base, self.entries_start()).map(|(place, _)| place.start as u32).collect()
    }

    /// The entry at an offset that [`Block::offsets`] has told.
    pub(super) fn at_offset(&self, base: StreamId, offset: u32) -> StreamEntry<'_> {
        self.entry(base, offset as usize).0
    }

    /// Where an id is; or where it would be.
    fn find(&self, base: StreamId, id: StreamId) -> Result<std::ops::Range<usize>, usize> {
        if id > self.last {
            return Err(self.bytes.len());
        }
        for (place, entry) in self.entries_at(base, self.entries_start()) {
            if entry.id == id {
                return Ok(place);
            }
            if entry.id > id {
                return Err(place.start);
            }
        }
        Err(self.bytes.len())
    }

    pub(super) fn get(&self, base: StreamId, id: StreamId) -> Option<StreamEntry<'_>> {
        self.find(base, id).ok().map(|place| self.entry(base, place.start).0)
    }

    /// Puts an entry to its place, instead of one with the same id. True if there was none.
    pub(super) fn insert(&mut self, base: StreamId, id: StreamId, fields: StreamFields<'_>) -> bool {
        let found = self.find(base, id);
        let is_new = found.is_err();
        let place = found.unwrap_or_else(|at| at..at);
        let encoded = self.encode(base, id, fields);
        let needed = self.bytes.len() + encoded.len();
        if self.bytes.capacity() < needed {
            // An eighth more than is needed: a small block stays tight, a growing one doesn't move at every entry.
            let wanted = (needed + self.bytes.len() / 8).next_multiple_of(GRANULE);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        if place.start == self.bytes.len() {
            self.bytes.extend_from_slice(&encoded);
        } else {
            self.bytes.splice(place, encoded);
        }
        self.len += u16::from(is_new);
        self.last = self.last.max(id);
        is_new
    }

    fn encode(&self, base: StreamId, id: StreamId, fields: StreamFields<'_>) -> Vec<u8> {
        let ms_above = id.ms - base.ms;
        let seq = if ms_above == 0 { id.seq - base.seq } else { id.seq };
        let shares = self.shares_names(fields);
        let mut out = Vec::with_capacity(fields.bytes() + 24);
        let head = ms_above.min(MS_FAR) << 2
            | if seq == 0 { 0 } else { HAS_SEQ }
            | if shares { 0 } else { OWN_NAMES };
        put_number(&mut out, head);
        if ms_above >= MS_FAR {
            put_number(&mut out, ms_above);
        }
        if seq != 0 {
            put_number(&mut out, seq);
        }
        if !shares {
            put_number(&mut out, fields.len() as u64);
        }
        for (name, value) in fields.iter() {
            if !shares {
                put(&mut out, name);
            }
            put(&mut out, value);
        }
        out
    }

    fn shares_names(&self, fields: StreamFields<'_>) -> bool {
        let mut names = &self.bytes[..self.entries_start()];
        take_number(&mut names) == fields.len() as u64
            && fields.iter().all(|(name, _)| *take_element(&mut names) == *name)
    }

    /// Takes an entry out. False if it isn't there.
    pub(super) fn remove(&mut self, base: StreamId, id: StreamId) -> bool {
        let Ok(place) = self.find(base, id) else { return false };
        self.bytes.drain(place);
        self.note_removed(1);
        true
    }

    /// Takes out what is not above an id. Returns how many.
    pub(super) fn remove_to(&mut self, base: StreamId, id: StreamId) -> usize {
        let start = self.entries_start();
        let mut end = start;
        let mut removed = 0;
        for (place, _) in self.entries_at(base, start).take_while(|(_, entry)| entry.id <= id) {
            end = place.end;
            removed += 1;
        }
        self.bytes.drain(start..end);
        self.note_removed(removed);
        removed
    }

    fn note_removed(&mut self, count: usize) {
        self.len -= count as u16;
        self.deleted = self.deleted.saturating_add(count as u16);
        if self.bytes.capacity() > 2 * self.bytes.len() + 4 * GRANULE {
            self.bytes.shrink_to(self.bytes.len().next_multiple_of(GRANULE));
        }
    }
}

//! Records: the bytes of an [`Effect`].
//!
//! A record is `length, body`; a body is a head byte and what its kind asks for. The length comes first so that a
//! record can be cut over frames: pieces of a body that is larger than a frame travel as fragments, and the
//! whole is a body again. Numbers are LEB128 varints in their shortest form unless a width is given (little endian).

use std::fmt;

use crate::value::{Change, NUMBERS_MAX, Parts};
use crate::{DatabaseId, Effect, GroupNote, Lsn, TransactionId};

// docs/format.md has the same table.
//   head      kind in bits 0–3, HAS_EXPIRY in bit 4, GROUP_END in bit 5, LAST_FRAGMENT in bit 6, bit 7 zero
//   Set       head, slot u16, database, [expiry u64 if HAS_EXPIRY], key length, key, value
//   SetRange  head, slot u16, database, offset, key length, key, bytes
//   Delete    head, slot u16, database, key length, key
//   Expire    head, slot u16, database, [expiry u64 if HAS_EXPIRY], key length, key
//   Flush     head, database
//   Swap      head, database, database
//   Transaction  head, id u64, participants u16 to the end
//   Depends      head, first LSN of the group u64, transactions u64 to the end
//   Abandoned    head, first LSNs of groups u64 to the end
//   Time         head, ms of Unix time u64
//   Change    head, slot u16, database, type and number of numbers u8, operation u8, numbers, key length,
//             length of first, key, first, second
//   Library  head, name length, name, body
//   Drop library    head, name length, name
//   Flush libraries  head
//   Fragment  head, bytes of a body
const KIND_MASK: u8 = 0x0f;
const KIND_SET: u8 = 1;
const KIND_SET_RANGE: u8 = 2;
const KIND_DELETE: u8 = 3;
const KIND_EXPIRE: u8 = 4;
const KIND_FLUSH_DATABASE: u8 = 5;
const KIND_SWAP_DATABASES: u8 = 6;
const KIND_TRANSACTION: u8 = 7;
const KIND_DEPENDS: u8 = 8;
const KIND_ABANDONED: u8 = 9;
const KIND_CHANGE: u8 = 10;
const KIND_LIBRARY: u8 = 11;
const KIND_DROP_LIBRARY: u8 = 12;
const KIND_FLUSH_LIBRARIES: u8 = 13;
const KIND_TIME: u8 = 14;
const KIND_FRAGMENT: u8 = 15;
const HAS_EXPIRY: u8 = 0x10;
/// In a head: the group of effects is complete with this record.
pub const GROUP_END: u8 = 0x20;
const LAST_FRAGMENT: u8 = 0x40;

/// Slots of the keyspace: records name one of them.
const SLOTS: u16 = 16384;
/// Longest encoding of what precedes a key: head, slot, database, type, operation, numbers, two lengths. Of all kinds a change's is
/// the longest.
const PREFIX_BYTES_MAX: usize = 1 + 2 + VARINT_U16_BYTES_MAX + 2 + (NUMBERS_MAX + 2) * VARINT_U64_BYTES_MAX;
const VARINT_U16_BYTES_MAX: usize = 3;
const VARINT_U64_BYTES_MAX: usize = 10;
/// What [`EncodedEffect`] has room for.
const PREFIX_ROOM: usize = 64;
/// Longest length before a body or a piece of one: [`super::limits::RECORD_BYTES_MAX`] needs five bytes.
pub const LENGTH_BYTES_MAX: usize = 5;

const _: () = assert!(super::limits::RECORD_BYTES_MAX < 1 << (7 * LENGTH_BYTES_MAX));
const _: () = assert!(PREFIX_BYTES_MAX <= PREFIX_ROOM);
const _: () = assert!(NUMBERS_MAX < 16, "the number of numbers has four bits");
const _: () = assert!(KIND_MASK & (HAS_EXPIRY | GROUP_END | LAST_FRAGMENT) == 0);

/// Why bytes with a right checksum are not records: the writer was wrong, or newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field is what was found")]
pub enum RecordFault {
    /// The bytes end within a record.
    Truncated,
    /// A number that is too large, or not in its shortest form.
    Number,
    /// The head names no known kind, or flags that the kind does not have.
    Head { found: u8 },
    /// No such slot.
    Slot { found: u16 },
    /// Bytes follow a record that should have ended.
    Trailing { bytes: usize },
    /// The pieces of a record add up to more than a record may have.
    TooLarge { bytes: usize },
    /// A whole record stands between the pieces of another.
    Interleaved,
    /// A frame holds another number of effects than its header says.
    Count { expected: u32, found: u32 },
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("a record is cut off"),
            Self::Number => f.write_str("a number is malformed"),
            Self::Head { found } => write!(f, "unknown record head {found:#04x}"),
            Self::Slot { found } => write!(f, "slot {found} of {SLOTS}"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes too many in a record"),
            Self::TooLarge { bytes } => write!(f, "a record of {bytes} bytes"),
            Self::Interleaved => f.write_str("a record stands between the pieces of another"),
            Self::Count { expected, found } => write!(f, "{found} effects in a frame of {expected}"),
        }
    }
}

/// An effect, ready to be copied out: a small prefix of its own, and the borrowed key and value.
pub(crate) struct EncodedEffect<'a> {
    prefix: [u8; PREFIX_ROOM],
    prefix_bytes: usize,
    key: &'a [u8],
    /// Of a change, what stands between key and value: a field, say.
    first: &'a [u8],
    value: &'a [u8],
}

impl<'a> EncodedEffect<'a> {
    const EMPTY: Self = Self { prefix: [0; PREFIX_ROOM], prefix_bytes: 0, key: &[], first: &[], value: &[] };

    #[inline(always)]
    pub(crate) fn new(effect: &Effect<'a>) -> Self {
        let mut encoded = Self::EMPTY;
        match *effect {
            Effect::Set { database, slot, key, value, expire_at_ms } => {
                encoded.put_keyed(KIND_SET, slot, database, expire_at_ms);
                encoded.put_key(key);
                encoded.value = value;
            }
            Effect::SetRange { database, slot, key, offset, bytes } => {
                encoded.put_keyed(KIND_SET_RANGE, slot, database, None);
                encoded.put_varint(offset);
                encoded.put_key(key);
                encoded.value = bytes;
            }
            Effect::Delete { database, slot, key } => {
                encoded.put_keyed(KIND_DELETE, slot, database, None);
                encoded.put_key(key);
            }
            Effect::Expire { database, slot, key, expire_at_ms } => {
                encoded.put_keyed(KIND_EXPIRE, slot, database, expire_at_ms);
                encoded.put_key(key);
            }
            Effect::Change { database, slot, key, change } => {
                encoded.put_change(slot, database, key, &change.to_parts());
            }
            Effect::FlushDatabase { database } => {
                encoded.put(KIND_FLUSH_DATABASE);
                encoded.put_varint(u64::from(database.0));
            }
            Effect::SwapDatabases { a, b } => {
                encoded.put(KIND_SWAP_DATABASES);
                encoded.put_varint(u64::from(a.0));
                encoded.put_varint(u64::from(b.0));
            }
            Effect::Library { name, body } => {
                encoded.put(if body.is_some() { KIND_LIBRARY } else { KIND_DROP_LIBRARY });
                encoded.put_key(name);
                encoded.value = body.unwrap_or_default();
            }
            Effect::FlushLibraries => encoded.put(KIND_FLUSH_LIBRARIES),
        }
        encoded
    }

    /// What is said about groups.
    pub(super) fn of_note(note: &GroupNote<'a>) -> Self {
        let mut encoded = Self::EMPTY;
        match *note {
            GroupNote::Transaction { id, participants } => {
                encoded.put(KIND_TRANSACTION);
                encoded.put_u64(id.0);
                encoded.value = participants.as_flattened();
            }
            GroupNote::Depends { first, on } => {
                encoded.put(KIND_DEPENDS);
                encoded.put_u64(first.0);
                encoded.value = on.as_flattened();
            }
            GroupNote::Time { unix_ms } => {
                encoded.put(KIND_TIME);
                encoded.put_u64(unix_ms);
            }
            GroupNote::Abandoned { groups } => {
                encoded.put(KIND_ABANDONED);
                encoded.value = groups.as_flattened();
            }
        }
        encoded
    }

    /// Length of the body.
    #[inline]
    pub(super) const fn body_bytes(&self) -> usize {
        self.prefix_bytes + self.key.len() + self.first.len() + self.value.len()
    }

    /// Length of the whole record.
    #[inline]
    pub(crate) const fn record_bytes(&self) -> usize {
        varint_bytes(self.body_bytes() as u64) + self.body_bytes()
    }

    /// Writes the whole record to the front of `out`, which must have room for it; returns its length and where
    /// its head is.
    #[inline(always)]
    pub(crate) fn write(&self, out: &mut [u8]) -> (usize, usize) {
        let head = write_varint(out, self.body_bytes() as u64);
        let (prefix, rest) = out[head..].split_at_mut(self.prefix_bytes);
        prefix.copy_from_slice(&self.prefix[..self.prefix_bytes]);
        let (key, rest) = rest.split_at_mut(self.key.len());
        key.copy_from_slice(self.key);
        let (first, rest) = rest.split_at_mut(self.first.len());
        first.copy_from_slice(self.first);
        rest[..self.value.len()].copy_from_slice(self.value);
        (head + self.body_bytes(), head)
    }

    /// Writes the piece of the body from `from` on that fits `out`, as a fragment. Returns how much of the body it
    /// took, the fragment's length, and where its head is.
    pub(super) fn write_fragment(&self, from: usize, out: &mut [u8]) -> (usize, usize, usize) {
        let room = out.len().saturating_sub(LENGTH_BYTES_MAX + 1);
        let piece = room.min(self.body_bytes() - from);
        let last = from + piece == self.body_bytes();
        let head = write_varint(out, 1 + piece as u64);
        out[head] = KIND_FRAGMENT | if last { LAST_FRAGMENT } else { 0 };
        self.copy_body(from, &mut out[head + 1..head + 1 + piece]);
        (piece, head + 1 + piece, head)
    }

    fn copy_body(&self, from: usize, mut out: &mut [u8]) {
        let mut skip = from;
        for part in [&self.prefix[..self.prefix_bytes], self.key, self.first, self.value] {
            let skipped = skip.min(part.len());
            skip -= skipped;
            let part = &part[skipped..];
            let (here, rest) = out.split_at_mut(part.len().min(out.len()));
            here.copy_from_slice(&part[..here.len()]);
            out = rest;
        }
        assert!(out.is_empty(), "a fragment reaches past the end of its record");
    }

    #[inline]
    fn put(&mut self, byte: u8) {
        self.prefix[self.prefix_bytes] = byte;
        self.prefix_bytes += 1;
    }

    #[inline]
    fn put_varint(&mut self, value: u64) {
        self.prefix_bytes += write_varint(&mut self.prefix[self.prefix_bytes..], value);
    }

    #[inline]
    fn put_keyed(&mut self, kind: u8, slot: u16, database: DatabaseId, expire_at_ms: Option<u64>) {
        self.put(kind | if expire_at_ms.is_some() { HAS_EXPIRY } else { 0 });
        let [low, high] = slot.to_le_bytes();
        self.put(low);
        self.put(high);
        self.put_varint(u64::from(database.0));
        if let Some(at_ms) = expire_at_ms {
            self.put_u64(at_ms);
        }
    }

    fn put_change(&mut self, slot: u16, database: DatabaseId, key: &'a [u8], parts: &Parts<'a>) {
        self.put_keyed(KIND_CHANGE, slot, database, None);
        self.put(parts.kind << 4 | parts.as_numbers().len() as u8);
        self.put(parts.op);
        for number in parts.as_numbers() {
            self.put_varint(*number);
        }
        self.put_key(key);
        self.put_varint(parts.first.len() as u64);
        self.first = parts.first;
        self.value = parts.second;
    }

    #[inline]
    fn put_u64(&mut self, value: u64) {
        self.prefix[self.prefix_bytes..self.prefix_bytes + 8].copy_from_slice(&value.to_le_bytes());
        self.prefix_bytes += 8;
    }

    #[inline]
    fn put_key(&mut self, key: &'a [u8]) {
        self.put_varint(key.len() as u64);
        self.key = key;
    }
}

/// Appends an effect as a whole record: outside of the log, where frames cut nothing.
pub(crate) fn push_record(out: &mut Vec<u8>, effect: &Effect<'_>) {
    let record = EncodedEffect::new(effect);
    let start = out.len();
    out.resize(start + record.record_bytes(), 0);
    record.write(&mut out[start..]);
}

/// A record as it stands in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A whole body.
    Whole {
        /// The body, for [`decode_body`].
        body: &'a [u8],
        /// The group of effects is complete with it.
        group_end: bool,
    },
    /// A piece of a body.
    Fragment {
        /// The bytes.
        bytes: &'a [u8],
        /// The body is complete with it.
        last: bool,
        /// The group of effects is complete with it.
        group_end: bool,
    },
}

/// Takes the record at the front of a frame's payload; `None` at its end.
#[inline]
pub fn take_record<'a>(payload: &mut &'a [u8]) -> Result<Option<Record<'a>>, RecordFault> {
    if payload.is_empty() {
        return Ok(None);
    }
    let bytes = take_varint(payload)?;
    let bytes = usize::try_from(bytes).map_err(|_| RecordFault::Number)?;
    let Some((body, rest)) = payload.split_at_checked(bytes) else { return Err(RecordFault::Truncated) };
    *payload = rest;
    let Some((&head, fragment)) = body.split_first() else { return Err(RecordFault::Truncated) };
    let group_end = head & GROUP_END != 0;
    if head & KIND_MASK != KIND_FRAGMENT {
        return Ok(Some(Record::Whole { body, group_end }));
    }
    if head & !(KIND_MASK | GROUP_END | LAST_FRAGMENT) != 0 {
        return Err(RecordFault::Head { found: head });
    }
    Ok(Some(Record::Fragment { bytes: fragment, last: head & LAST_FRAGMENT != 0, group_end }))
}

/// Whether a body is a [`GroupNote`], for [`decode_note`], and not an effect.
#[inline]
pub fn is_note(body: &[u8]) -> bool {
    body.first().is_some_and(|head| {
        matches!(head & KIND_MASK, KIND_TRANSACTION | KIND_DEPENDS | KIND_ABANDONED | KIND_TIME)
    })
}

/// Reads a whole body of which [`is_note`] is true. The group bit is the record's, and ignored here.
pub fn decode_note(body: &[u8]) -> Result<GroupNote<'_>, RecordFault> {
    let Some((&head, mut rest)) = body.split_first() else { return Err(RecordFault::Truncated) };
    let rest = &mut rest;
    match head & !GROUP_END {
        KIND_TRANSACTION => {
            let id = TransactionId(take_u64(rest)?);
            Ok(GroupNote::Transaction { id, participants: take_list(rest)? })
        }
        KIND_DEPENDS => {
            let first = Lsn(take_u64(rest)?);
            Ok(GroupNote::Depends { first, on: take_list(rest)? })
        }
        KIND_ABANDONED => Ok(GroupNote::Abandoned { groups: take_list(rest)? }),
        KIND_TIME => {
            let unix_ms = take_u64(rest)?;
            let bytes = rest.len();
            if bytes == 0 { Ok(GroupNote::Time { unix_ms }) } else { Err(RecordFault::Trailing { bytes }) }
        }
        _ => Err(RecordFault::Head { found: head }),
    }
}

/// The rest of a body, as numbers of a width.
fn take_list<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [[u8; N]], RecordFault> {
    let (list, trailing) = rest.as_chunks::<N>();
    if trailing.is_empty() { Ok(list) } else { Err(RecordFault::Trailing { bytes: trailing.len() }) }
}

/// Reads a whole body of an effect. The group bit is the record's, not the effect's, and ignored here.
#[inline]
pub fn decode_body(body: &[u8]) -> Result<Effect<'_>, RecordFault> {
    let Some((&head, mut rest)) = body.split_first() else { return Err(RecordFault::Truncated) };
    let has_expiry = head & HAS_EXPIRY != 0;
    let rest = &mut rest;
    let effect = match head & !(GROUP_END | HAS_EXPIRY) {
        KIND_SET => {
            let (slot, database) = take_place(rest)?;
            let expire_at_ms = take_expiry(rest, has_expiry)?;
            let key = take_key(rest)?;
            return Ok(Effect::Set { database, slot, key, value: rest, expire_at_ms });
        }
        KIND_SET_RANGE if !has_expiry => {
            let (slot, database) = take_place(rest)?;
            let offset = take_varint(rest)?;
            let key = take_key(rest)?;
            return Ok(Effect::SetRange { database, slot, key, offset, bytes: rest });
        }
        KIND_DELETE if !has_expiry => {
            let (slot, database) = take_place(rest)?;
            Effect::Delete { database, slot, key: take_key(rest)? }
        }
        KIND_EXPIRE => {
            let (slot, database) = take_place(rest)?;
            let expire_at_ms = take_expiry(rest, has_expiry)?;
            Effect::Expire { database, slot, key: take_key(rest)?, expire_at_ms }
        }
        KIND_CHANGE if !has_expiry => {
            let (slot, database) = take_place(rest)?;
            return take_change(rest, head, slot, database);
        }
        KIND_FLUSH_DATABASE if !has_expiry => Effect::FlushDatabase { database: take_database(rest)? },
        KIND_SWAP_DATABASES if !has_expiry => {
            Effect::SwapDatabases { a: take_database(rest)?, b: take_database(rest)? }
        }
        KIND_LIBRARY if !has_expiry => {
            let name = take_key(rest)?;
            return Ok(Effect::Library { name, body: Some(rest) });
        }
        KIND_DROP_LIBRARY if !has_expiry => Effect::Library { name: take_key(rest)?, body: None },
        KIND_FLUSH_LIBRARIES if !has_expiry => Effect::FlushLibraries,
        _ => return Err(RecordFault::Head { found: head }),
    };
    if rest.is_empty() { Ok(effect) } else { Err(RecordFault::Trailing { bytes: rest.len() }) }
}

/// What follows the place of a change; it reaches to the end of the body.
fn take_change<'a>(
    rest: &mut &'a [u8],
    head: u8,
    slot: u16,
    database: DatabaseId,
) -> Result<Effect<'a>, RecordFault> {
    let [kind, op, tail @ ..] = *rest else { return Err(RecordFault::Truncated) };
    *rest = tail;
    let count = usize::from(kind & 0x0f);
    let mut numbers = [0; NUMBERS_MAX];
    let Some(numbers) = numbers.get_mut(..count) else { return Err(RecordFault::Head { found: *kind }) };
    for number in numbers.iter_mut() {
        *number = take_varint(rest)?;
    }
    let key_bytes = take_varint(rest)?;
    let first_bytes = take_varint(rest)?;
    let key = take_bytes(rest, key_bytes)?;
    let first = take_bytes(rest, first_bytes)?;
    let parts = Parts::new(*op, first, rest).numbers(numbers).of(kind >> 4);
    let change = Change::from_parts(&parts).ok_or(RecordFault::Head { found: head })?;
    Ok(Effect::Change { database, slot, key, change })
}

#[inline]
fn take_bytes<'a>(rest: &mut &'a [u8], bytes: u64) -> Result<&'a [u8], RecordFault> {
    let bytes = usize::try_from(bytes).map_err(|_| RecordFault::Number)?;
    let Some((taken, after)) = rest.split_at_checked(bytes) else { return Err(RecordFault::Truncated) };
    *rest = after;
    Ok(taken)
}

#[inline]
fn take_place(rest: &mut &[u8]) -> Result<(u16, DatabaseId), RecordFault> {
    let Some((&slot, after)) = rest.split_first_chunk::<2>() else { return Err(RecordFault::Truncated) };
    *rest = after;
    let slot = u16::from_le_bytes(slot);
    if slot >= SLOTS {
        return Err(RecordFault::Slot { found: slot });
    }
    Ok((slot, take_database(rest)?))
}

#[inline]
fn take_database(rest: &mut &[u8]) -> Result<DatabaseId, RecordFault> {
    u16::try_from(take_varint(rest)?).map(DatabaseId).map_err(|_| RecordFault::Number)
}

#[inline]
fn take_expiry(rest: &mut &[u8], has_expiry: bool) -> Result<Option<u64>, RecordFault> {
    if !has_expiry {
        return Ok(None);
    }
    take_u64(rest).map(Some)
}

#[inline]
fn take_u64(rest: &mut &[u8]) -> Result<u64, RecordFault> {
    let Some((&number, after)) = rest.split_first_chunk::<8>() else { return Err(RecordFault::Truncated) };
    *rest = after;
    Ok(u64::from_le_bytes(number))
}

#[inline]
fn take_key<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], RecordFault> {
    let bytes = take_varint(rest)?;
    take_bytes(rest, bytes)
}

#[inline]
const fn varint_bytes(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[inline]
fn write_varint(out: &mut [u8], mut value: u64) -> usize {
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}

#[inline]
fn take_varint(rest: &mut &[u8]) -> Result<u64, RecordFault> {
    let mut value = 0;
    for index in 0..VARINT_U64_BYTES_MAX {
        let Some((&byte, after)) = rest.split_first() else { return Err(RecordFault::Truncated) };
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * index);
        if shifted >> (7 * index) != bits || (byte == 0 && index > 0) {
            return Err(RecordFault::Number);
        }
        value |= shifted;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(RecordFault::Number)
}

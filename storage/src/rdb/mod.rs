//! Values in the format of Redis's RDB files: what DUMP gives and RESTORE takes, and what such files consist of.
//!
//! ```text
//! payload    type, object, version of the format (u16), CRC-64 of everything before it (u64); little endian
//! ```
//!
//! - Objects are read in every form that Redis has written since 2.4: plain, as ziplists, zipmaps, intsets, quicklists and
//!   listpacks, streams of all three versions; strings as they are, as integers, compressed by LZF.
//! - Objects are written in the plain forms, which every version reads; streams as Redis 7.0 does; hashes whose fields expire as
//!   7.4 does, for nothing older knows that.
//! - Redis has no form for sets whose members expire. In payloads they have types of our own, which Redis refuses (`Bad data format`); in
//!   files, which are for Redis to read, they are plain sets, and nothing of them expires.
//! - What is read comes from anywhere: whatever is wrong with it is a [`Fault`], and lengths are believed only as far as there
//!   are bytes behind them.
//!
//! The format: <https://github.com/redis/redis/blob/7.0/src/rdb.h> and what people have written about it; nothing of it is
//! documented by Redis itself.

#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod bytes;
mod crc64;
pub mod file;
mod load;
mod lzf;
mod packed;
mod save;
mod stream;
#[cfg(test)]
mod tests;

use crate::Value;

pub use crc64::crc64;

/// The version that is written where it suffices: that of Redis 7.0.
pub(crate) const VERSION: u16 = 10;
/// The version that has hashes whose fields expire: that of Redis 7.4.
pub(crate) const VERSION_FIELD_EXPIRY: u16 = 12;
/// The newest version whose objects are understood.
const VERSION_MAX: u16 = 12;

/// Types of objects.
mod kind {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const SORTED_SET_TEXT: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const SORTED_SET: u8 = 5;
    pub(super) const MODULE_EARLY: u8 = 6;
    pub(super) const MODULE: u8 = 7;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const SORTED_SET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const STREAM: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const SORTED_SET_LISTPACK: u8 = 17;
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const STREAM_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const STREAM_3: u8 = 21;
    pub(super) const HASH_EXPIRING_EARLY: u8 = 22;
    pub(super) const HASH_EXPIRING_LISTPACK_EARLY: u8 = 23;
    pub(super) const HASH_EXPIRING: u8 = 24;
    pub(super) const HASH_EXPIRING_LISTPACK: u8 = 25;
    /// Our own: a count, then of each member its expiry in ms plus one (a number; 0 for none) and the member.
    pub(super) const SET_EXPIRING: u8 = 0xA0;
    /// Our own: the same, and behind each member its score.
    pub(super) const SORTED_SET_EXPIRING: u8 = 0xA1;
}

/// Why bytes are not a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The checksum is not that of the bytes, or the version is newer than what is understood.
    Footer,
    /// The object is not one of its type.
    Object,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Footer => "the version or the checksum is wrong",
            Self::Object => "the object is malformed",
        })
    }
}

impl std::error::Error for Fault {}

/// A value as a payload.
pub fn dump(value: Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let version = save::object(value, save::Reader::Annulus, &mut out);
    finish(out, version)
}

/// What stands before the text of a library of functions.
const FUNCTION_LIBRARY: u8 = 245;

fn finish(mut out: Vec<u8>, version: u16) -> Vec<u8> {
    out.extend(version.to_le_bytes());
    let checksum = crc64(&out);
    out.extend(checksum.to_le_bytes());
    out
}

/// What is in a payload, if it is whole.
fn open(payload: &[u8]) -> Result<&[u8], Fault> {
    let (checked, checksum) = payload.split_last_chunk().ok_or(Fault::Footer)?;
    let (object, version) = checked.split_last_chunk().ok_or(Fault::Footer)?;
    let version = u16::from_le_bytes(*version);
    if version > VERSION_MAX || u64::from_le_bytes(*checksum) != crc64(checked) {
        return Err(Fault::Footer);
    }
    Ok(object)
}

/// Libraries of functions, by their texts, as a payload: what `FUNCTION DUMP` gives.
pub fn dump_functions<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for text in texts {
        out.push(FUNCTION_LIBRARY);
        bytes::put_string(&mut out, text);
    }
    finish(out, VERSION)
}

/// The texts of the libraries of functions in a payload.
pub fn restore_functions(payload: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let mut reader = bytes::Reader(open(payload)?);
    let mut texts = Vec::new();
    while !reader.0.is_empty() {
        if reader.byte()? != FUNCTION_LIBRARY {
            return Err(Fault::Object);
        }
        texts.push(reader.string()?.into_owned());
    }
    Ok(texts)
}

/// The value in a payload, in the encoding of [`codec`](crate::value::codec).
pub fn restore(payload: &[u8]) -> Result<Vec<u8>, Fault> {
    let (value, rest) = load::object(open(payload)?)?;
    if rest.is_empty() { Ok(value) } else { Err(Fault::Object) }
}

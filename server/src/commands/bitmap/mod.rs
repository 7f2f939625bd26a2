//! Strings as arrays of bits and of small integers. Bit 0 is the highest bit of the first byte, as in Redis.
//!
//! There is no type behind this: a bitmap is a string, absent bits are 0, and a write grows the string with zeros. A write
//! changes and logs the bytes that it touches, never the whole string.

pub(super) mod count;
pub(super) mod field;
mod integer;
pub(super) mod operate;
mod range;
pub(super) mod single;

use annulus_storage::Key;

use super::errors::{self, Failure, fail};
use super::{Context, string_of};

/// Bits of a byte.
const BYTE_BITS: u64 = 8;

/// A bit's place, from text: not negative, and within the longest string allowed.
fn bit_offset(text: &[u8], unit_bits: u64, bulk_bytes_max: u64) -> Result<u64, Failure> {
    let offset = annulus_protocol::parse_i64(text)
        .and_then(|offset| u64::try_from(offset).ok())
        .and_then(|offset| offset.checked_mul(unit_bits))
        .filter(|offset| offset / BYTE_BITS < bulk_bytes_max);
    offset.ok_or(fail(errors::BIT_OFFSET))
}

/// The length of the string that a command is about to change; 0 if there is none.
fn length_for_update(context: &mut Context<'_>, key: Key<'_>) -> Result<usize, Failure> {
    let entry = context.store.get_for_update(context.database, key);
    Ok(string_of(entry)?.map_or(0, <[u8]>::len))
}

/// The byte at a place; 0 beyond the end.
fn byte_at(bytes: &[u8], at: u64) -> u8 {
    usize::try_from(at).ok().and_then(|at| bytes.get(at)).copied().unwrap_or(0)
}

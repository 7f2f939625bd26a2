//! Lengths and strings, as everything in the format is made of them.

use super::Fault;
use super::lzf::decompress;
use crate::value::canonical_i64;
use std::borrow::Cow;

const LEN_14: u8 = 0x40;
const LEN_32: u8 = 0x80;
const LEN_64: u8 = 0x81;
const SPECIAL: u8 = 0xc0;
const INTEGER_8: u8 = 0;
const INTEGER_16: u8 = 1;
const INTEGER_32: u8 = 2;
const COMPRESSED: u8 = 3;

/// Integers are kept as such in strings of up to so many bytes.
const INTEGER_TEXT_BYTES_MAX: usize = 11;

/// Bytes yet to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Fault::Object)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Fault::Object)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number.
    pub(super) fn number(&mut self) -> Result<u64, Fault> {
        let first = self.byte()?;
        self.number_after(first)
    }

    fn number_after(&mut self, first: u8) -> Result<u64, Fault> {
        Ok(match first {
            0..LEN_14 => first.into(),
            LEN_14..LEN_32 => u64::from(first & 0x3f) << 8 | u64::from(self.byte()?),
            LEN_32 => u32::from_be_bytes(self.array()?).into(),
            LEN_64 => u64::from_be_bytes(self.array()?),
            _ => return Err(Fault::Object),
        })
    }

    /// How many of something follow, each of which takes a byte at least.
    pub(super) fn count(&mut self) -> Result<usize, Fault> {
        let count = usize::try_from(self.number()?).map_err(|_| Fault::Object)?;
        if count > self.0.len() { Err(Fault::Object) } else { Ok(count) }
    }

    /// A string.
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        let first = self.byte()?;
        if first < SPECIAL {
            let len = usize::try_from(self.number_after(first)?).map_err(|_| Fault::Object)?;
            return self.take(len).map(Cow::Borrowed);
        }
        let integer = match first & !SPECIAL {
            INTEGER_8 => i32::from(i8::from_le_bytes(self.array()?)),
            INTEGER_16 => i32::from(i16::from_le_bytes(self.array()?)),
            INTEGER_32 => i32::from_le_bytes(self.array()?),
            COMPRESSED => {
                let compressed = self.number()?;
                let len = usize::try_from(self.number()?).map_err(|_| Fault::Object)?;
                let compressed = self.take(usize::try_from(compressed).map_err(|_| Fault::Object)?)?;
                return decompress(compressed, len).map(Cow::Owned).ok_or(Fault::Object);
            }
            _ => return Err(Fault::Object),
        };
        Ok(Cow::Owned(integer.to_string().into_bytes()))
    }
}

pub(super) fn put_number(out: &mut Vec<u8>, number: u64) {
    match number {
        0..0x40 => out.push(number as u8),
        0x40..0x4000 => out.extend([LEN_14 | (number >> 8) as u8, number as u8]),
        0x4000..0x1_0000_0000 => {
            out.push(LEN_32);
            out.extend((number as u32).to_be_bytes());
        }
        _ => {
            out.push(LEN_64);
            out.extend(number.to_be_bytes());
        }
    }
}

pub(super) fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    let short = string.len() <= INTEGER_TEXT_BYTES_MAX;
    let integer = if short { canonical_i64(string).and_then(|it| i32::try_from(it).ok()) } else { None };
    let Some(integer) = integer else {
        put_number(out, string.len() as u64);
        out.extend_from_slice(string);
        return;
    };
    let bytes = integer.to_le_bytes();
    if i8::try_from(integer).is_ok() {
        out.extend([SPECIAL | INTEGER_8, bytes[0]]);
    } else if i16::try_from(integer).is_ok() {
        out.extend([SPECIAL | INTEGER_16, bytes[0], bytes[1]]);
    } else {
        out.push(SPECIAL | INTEGER_32);
        out.extend(bytes);
    }
}

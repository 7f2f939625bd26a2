//! Redis's forms of small collections, element by element: listpacks, ziplists, zipmaps and intsets. And listpacks to write.

use super::Fault;
use super::bytes::Reader;
use crate::value::Element;

/// A name and a value.
type Pair<'a> = (&'a [u8], &'a [u8]);
type Next<'a> = Result<Option<Element<'a>>, Fault>;

/// An element as a listpack has it.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    Bytes(&'a [u8]),
    Integer(i64),
}

impl<'a> Raw<'a> {
    pub(super) fn element(self) -> Element<'a> {
        match self {
            Self::Bytes(bytes) => Element::bytes(bytes),
            Self::Integer(value) => Element::integer(value),
        }
    }

    /// As an integer, also where it is kept as text.
    pub(super) fn integer(self) -> Result<i64, Fault> {
        match self {
            Self::Integer(value) => Ok(value),
            Self::Bytes(bytes) => crate::value::canonical_i64(bytes).ok_or(Fault::Object),
        }
    }
}

/// The elements of a listpack.
///
/// ```text
/// listpack   bytes of all of it (u32), number of elements (u16; 65535: unknown), elements, 0xff
/// element    encoding, payload, length of both written backwards
/// ```
pub(super) struct Listpack<'a>(Reader<'a>);

impl<'a> Listpack<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader(bytes);
        let total = u32::from_le_bytes(reader.array()?);
        reader.take(2)?;
        if total as usize == bytes.len() && bytes.last() == Some(&0xff) {
            Ok(Self(reader))
        } else {
            Err(Fault::Object)
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Raw<'a>>, Fault> {
        let before = self.0.0.len();
        let first = self.0.byte()?;
        let raw = match first {
            0..0x80 => Raw::Integer(first.into()),
            0x80..0xc0 => Raw::Bytes(self.0.take(usize::from(first & 0x3f))?),
            0xc0..0xe0 => {
                let bits = i64::from(first & 0x1f) << 8 | i64::from(self.0.byte()?);
                Raw::Integer(if bits >= 1 << 12 { bits - (1 << 13) } else { bits })
            }
            0xe0..0xf0 => {
                let len = usize::from(first & 0x0f) << 8 | usize::from(self.0.byte()?);
                Raw::Bytes(self.0.take(len)?)
            }
            0xf0 => {
                let len = u32::from_le_bytes(self.0.array()?);
                Raw::Bytes(self.0.take(len as usize)?)
            }
            0xf1 => Raw::Integer(i16::from_le_bytes(self.0.array()?).into()),
            0xf2 => Raw::Integer(integer_24(self.0.array()?)),
            0xf3 => Raw::Integer(i32::from_le_bytes(self.0.array()?).into()),
            0xf4 => Raw::Integer(i64::from_le_bytes(self.0.array()?)),
            0xff if self.0.0.is_empty() => return Ok(None),
            _ => return Err(Fault::Object),
        };
        let len = before - self.0.0.len();
        let mut expected = Vec::with_capacity(5);
        put_back_length(&mut expected, len);
        if self.0.take(expected.len())? == expected { Ok(Some(raw)) } else { Err(Fault::Object) }
    }

    /// The next one, where one has to be.
    pub(super) fn need(&mut self) -> Result<Raw<'a>, Fault> {
        self.next()?.ok_or(Fault::Object)
    }

    pub(super) fn need_integer(&mut self) -> Result<i64, Fault> {
        self.need()?.integer()
    }
}

fn integer_24([low, middle, high]: [u8; 3]) -> i64 {
    i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8)
}

/// The length of an element, seven bits a byte, the highest first; all bytes but the first have their high bit set.
fn put_back_length(out: &mut Vec<u8>, len: usize) {
    let bytes = match len {
        0..0x80 => 1,
        0x80..0x3fff => 2,
        0x3fff..0x1f_ffff => 3,
        0x1f_ffff..0x0fff_ffff => 4,
        _ => 5,
    };
    for index in (0..bytes).rev() {
        let bits = (len >> (7 * index)) as u8 & 0x7f;
        out.push(bits | if index + 1 == bytes { 0 } else { 0x80 });
    }
}

/// A listpack to be written.
pub(super) struct ListpackWriter {
    bytes: Vec<u8>,
    count: usize,
}

const LISTPACK_HEAD_BYTES: usize = 6;

impl ListpackWriter {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), count: 0 }
    }

    pub(super) fn integer(&mut self, value: i64) {
        let start = self.bytes.len();
        let bytes = value.to_le_bytes();
        match value {
            0..0x80 => self.bytes.push(value as u8),
            -0x1000..0x1000 => self.bytes.extend([0xc0 | (value >> 8) as u8 & 0x1f, value as u8]),
            -0x8000..0x8000 => self.head(0xf1, &bytes[..2]),
            -0x80_0000..0x80_0000 => self.head(0xf2, &bytes[..3]),
            -0x8000_0000..0x8000_0000 => self.head(0xf3, &bytes[..4]),
            _ => self.head(0xf4, &bytes),
        }
        self.end(start);
    }

    pub(super) fn element(&mut self, element: &[u8]) {
        if let Some(value) = crate::value::canonical_i64(element) {
            return self.integer(value);
        }
        let start = self.bytes.len();
        match element.len() {
            len @ 0..0x40 => self.bytes.push(0x80 | len as u8),
            len @ 0x40..0x1000 => self.bytes.extend([0xe0 | (len >> 8) as u8, len as u8]),
            len => self.head(0xf0, &(len as u32).to_le_bytes()),
        }
        self.bytes.extend_from_slice(element);
        self.end(start);
    }

    fn head(&mut self, encoding: u8, payload: &[u8]) {
        self.bytes.push(encoding);
        self.bytes.extend_from_slice(payload);
    }

    fn end(&mut self, start: usize) {
        let len = self.bytes.len() - start;
        put_back_length(&mut self.bytes, len);
        self.count += 1;
    }

    pub(super) fn finish(&self) -> Vec<u8> {
        let total = LISTPACK_HEAD_BYTES + self.bytes.len() + 1;
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        let mut out = Vec::with_capacity(total);
        out.extend((total as u32).to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend_from_slice(&self.bytes);
        out.push(0xff);
        out
    }
}

/// The elements of a ziplist.
///
/// ```text
/// ziplist    bytes of all of it (u32), offset of the last (u32), number of elements (u16), elements, 0xff
/// element    length of the one before (u8, or 0xfe and u32), encoding, payload
/// ```
pub(super) struct Ziplist<'a>(Reader<'a>);

impl<'a> Ziplist<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader(bytes);
        let total = u32::from_le_bytes(reader.array()?);
        reader.take(6)?;
        if total as usize == bytes.len() { Ok(Self(reader)) } else { Err(Fault::Object) }
    }

    pub(super) fn next(&mut self) -> Next<'a> {
        match self.0.byte()? {
            0xff if self.0.0.is_empty() => return Ok(None),
            0xff => return Err(Fault::Object),
            0xfe => drop(self.0.take(4)?),
            _ => {}
        }
        let first = self.0.byte()?;
        let integer = match first {
            0..0x40 => return self.bytes(first.into()),
            0x40..0x80 => {
                let len = usize::from(first & 0x3f) << 8 | usize::from(self.0.byte()?);
                return self.bytes(len);
            }
            0x80 => {
                let len = u32::from_be_bytes(self.0.array()?);
                return self.bytes(len as usize);
            }
            0xc0 => i16::from_le_bytes(self.0.array()?).into(),
            0xd0 => i32::from_le_bytes(self.0.array()?).into(),
            0xe0 => i64::from_le_bytes(self.0.array()?),
            0xf0 => integer_24(self.0.array()?),
            0xfe => i8::from_le_bytes(self.0.array()?).into(),
            0xf1..0xfe => i64::from(first & 0x0f) - 1,
            _ => return Err(Fault::Object),
        };
        Ok(Some(Element::integer(integer)))
    }

    fn bytes(&mut self, len: usize) -> Next<'a> {
        self.0.take(len).map(|bytes| Some(Element::bytes(bytes)))
    }
}

/// The names and values of a zipmap, which hashes were before Redis 2.6.
///
/// ```text
/// zipmap     number of pairs (u8), pairs, 0xff
/// pair       length, name, length, unused bytes (u8), value, so many unused bytes
/// length     u8, or 0xfe and u32
/// ```
pub(super) struct Zipmap<'a>(Reader<'a>);

impl<'a> Zipmap<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader(bytes);
        reader.byte()?;
        Ok(Self(reader))
    }

    pub(super) fn next(&mut self) -> Result<Option<Pair<'a>>, Fault> {
        let Some(len) = self.len()? else {
            return if self.0.0.is_empty() { Ok(None) } else { Err(Fault::Object) };
        };
        let name = self.0.take(len)?;
        let len = self.len()?.ok_or(Fault::Object)?;
        let unused = self.0.byte()?;
        let value = self.0.take(len)?;
        self.0.take(unused.into())?;
        Ok(Some((name, value)))
    }

    fn len(&mut self) -> Result<Option<usize>, Fault> {
        Ok(match self.0.byte()? {
            0xff => None,
            0xfe => Some(u32::from_le_bytes(self.0.array()?) as usize),
            len => Some(len.into()),
        })
    }
}

/// The integers of an intset: width (u32), number (u32), integers.
pub(super) fn intset(bytes: &[u8]) -> Result<impl Iterator<Item = i64>, Fault> {
    let mut reader = Reader(bytes);
    let width = u32::from_le_bytes(reader.array()?) as usize;
    let count = u32::from_le_bytes(reader.array()?) as usize;
    if !matches!(width, 2 | 4 | 8) || count.checked_mul(width) != Some(reader.0.len()) {
        return Err(Fault::Object);
    }
    Ok(reader.0.chunks_exact(width).map(|bytes| match *bytes {
        [a, b] => i16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        _ => bytes.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes)),
    }))
}

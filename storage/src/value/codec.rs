//! Whole values as bytes: for copies between keys and shards, for the log, for checkpoints.
//!
//! ```text
//! value      version, kind, elements up to the end
//! elements   of a string   its bytes
//!            of a list     an element each
//!            of a hash     field, value, number: expiry in ms of Unix time plus one, 0 for none
//!            of a set      a member each, perhaps with an expiry before it
//!            of a sorted set   member, perhaps with an expiry before it; number: the bytes of its score as a double, the highest as the lowest
//!            of a stream   items, as [`super::stream`] says
//! expiry     2^35 - 1, a length that no element has (number); ms of Unix time (number)
//! element    length (number), bytes
//! number     LEB128 varint
//! ```
//!
//! - Elements can be cut into pieces at any element: pieces loaded one after the other give the value.
//! - Nothing of the form that the value had is in it; loading chooses that anew.

#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use super::expiring::is_live;
use super::stream::StreamPlace;
use super::{Collection, Kind, Value};

/// The version of the encoding.
const VERSION: u8 = 1;
const NUMBER_BYTES_MAX: usize = 10;
/// In place of a length: what follows is when the member behind it expires. The largest number of five bytes; an element's length has 32
/// bits.
const EXPIRY_MARK: u64 = (1 << 35) - 1;

/// Why bytes are not an encoded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field is what was found")]
pub enum Fault {
    /// The bytes end within an element.
    Truncated,
    /// A number of more than 64 bits.
    Number,
    /// Another version.
    Version { found: u8 },
    /// No such type.
    Kind { found: u8 },
    /// A collection without elements.
    Empty,
    /// No such part of a value, or one out of its place.
    Item { found: u8 },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => f.write_str("the value is cut off"),
            Self::Number => f.write_str("a number in the value is malformed"),
            Self::Version { found } => write!(f, "a value of version {found}, not {VERSION}"),
            Self::Kind { found } => write!(f, "a value of unknown type {found}"),
            Self::Empty => f.write_str("a collection without elements"),
            Self::Item { found } => write!(f, "a part of unknown kind {found} in a value"),
        }
    }
}

impl std::error::Error for Fault {}

/// An encoded value that has been checked: loading it can't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded<'a> {
    pub(crate) kind: Kind,
    pub(crate) elements: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// The value, if it is a string.
    pub fn string(self) -> Option<&'a [u8]> {
        (self.kind == Kind::String).then_some(self.elements)
    }

    /// The members of a sorted set with their scores, or of a set with the score 1, without those whose time has passed; none of
    /// another type.
    pub fn scored_members(self, now_ms: u64) -> Option<impl Iterator<Item = (&'a [u8], f64)>> {
        if !matches!(self.kind, Kind::Set | Kind::SortedSet) {
            return None;
        }
        let mut elements = Elements::new(self.elements);
        let members = std::iter::from_fn(move || {
            if self.kind == Kind::Set {
                return elements.take_member().ok().map(|(member, expiry)| (member, 1.0, expiry));
            }
            super::sorted_set::take(&mut elements).ok()
        });
        let live = members.filter(move |&(_, _, expiry)| is_live(expiry, now_ms));
        Some(live.map(|(member, score, _)| (member, score)))
    }
}

/// Writes a whole value.
pub fn encode(value: Value<'_>, out: &mut Vec<u8>) {
    put_head(out, value.kind());
    let mut cursor = Some(Place::START);
    while let Some(from) = cursor {
        cursor = encode_piece(value, &from, usize::MAX, out);
    }
}

/// Writes a sorted set that has these members, at least one.
pub fn encode_sorted_set<M: AsRef<[u8]>>(members: impl IntoIterator<Item = (M, f64)>) -> Vec<u8> {
    let mut out = vec![VERSION, Kind::SortedSet as u8];
    for (member, score) in members {
        super::sorted_set::put_scored(&mut out, member.as_ref(), score, None);
    }
    out
}

/// Begins an encoded value; its elements follow.
pub fn put_head(out: &mut Vec<u8>, kind: Kind) {
    out.extend([VERSION, kind as u8]);
}

/// How many bytes the first elements of a collection take that are `budget` bytes or a little more together.
pub(crate) fn piece_bytes(kind: Kind, elements: &[u8], budget: usize) -> usize {
    let mut rest = Elements::new(elements);
    while !rest.is_empty() && elements.len() - rest.0.len() < budget {
        let skipped = match kind {
            // A string is one piece, and so is a stream.
            Kind::String | Kind::Stream => return elements.len(),
            Kind::List => rest.take_element().map(|_| ()),
            Kind::Set => rest.take_member().map(|_| ()),
            Kind::Hash => rest
                .take_element()
                .and_then(|_| rest.take_element())
                .and_then(|_| rest.take_number())
                .map(|_| ()),
            Kind::SortedSet => super::sorted_set::take(&mut rest).map(|_| ()),
        };
        assert!(skipped.is_ok(), "elements that were never checked: {skipped:?}");
    }
    elements.len() - rest.0.len()
}

/// Where the encoding of a value goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(Mark);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    /// A number that the value's type understands; 0 is the start.
    Number(u64),
    /// Of a stream.
    Stream(StreamPlace),
}

impl Place {
    /// The start of any value.
    pub const START: Place = Place(Mark::Number(0));

    fn number(&self) -> u64 {
        match self.0 {
            Mark::Number(number) => number,
            Mark::Stream(_) => 0,
        }
    }

    fn in_stream(&self) -> Option<&StreamPlace> {
        match &self.0 {
            Mark::Number(_) => None,
            Mark::Stream(place) => Some(place),
        }
    }

    const fn of_number(number: u64) -> Place {
        Place(Mark::Number(number))
    }
}

/// Writes elements of a value from a place on until they are `budget` bytes or a little more. Returns where to
/// go on; none at the end. A string is one piece; so is a collection in its small form.
///
/// If a set, sorted or not, a hash or a stream changes between two pieces, an element that was there all the time is written at
/// least once, and any other perhaps. A list has to stay as it is: a [clone](super::List) of it does.
pub fn encode_piece(value: Value<'_>, from: &Place, budget: usize, out: &mut Vec<u8>) -> Option<Place> {
    let cursor = from.number();
    let next = match value {
        Value::String(bytes) => {
            out.extend_from_slice(bytes);
            None
        }
        Value::List(list) => list.encode(cursor, budget, out),
        Value::Hash(hash) => hash.encode(cursor, budget, out),
        Value::Set(set) => set.encode(cursor, budget, out),
        Value::SortedSet(set) => set.encode(cursor, budget, out),
        Value::Stream(stream) => {
            let next = stream.encode(from.in_stream(), budget, out);
            return next.map(|place| Place(Mark::Stream(place)));
        }
    };
    next.map(Place::of_number)
}

/// Checks what [`encode`] has written.
pub fn decode(bytes: &[u8]) -> Result<Encoded<'_>, Fault> {
    let [version, kind, elements @ ..] = bytes else { return Err(Fault::Truncated) };
    if *version != VERSION {
        return Err(Fault::Version { found: *version });
    }
    let kind = Kind::from_byte(*kind).ok_or(Fault::Kind { found: *kind })?;
    if kind != Kind::String && elements.is_empty() {
        return Err(Fault::Empty);
    }
    check(kind, elements)?;
    Ok(Encoded { kind, elements })
}

/// Checks elements of a type.
pub(crate) fn check(kind: Kind, elements: &[u8]) -> Result<(), Fault> {
    match kind {
        Kind::String => Ok(()),
        Kind::List => super::list::check(elements),
        Kind::Hash => super::hash::check(elements),
        Kind::Set => super::set::check(elements),
        Kind::SortedSet => super::sorted_set::check(elements),
        Kind::Stream => super::stream::check(elements),
    }
}

impl Collection {
    /// Adds elements; those before a fault stay.
    pub(crate) fn load(&mut self, elements: &[u8], shaping: &mut super::Shaping<'_>) -> Result<(), Fault> {
        match self {
            Self::List(list) => list.load(elements, shaping),
            Self::Hash(hash) => hash.load(elements, shaping),
            Self::Set(set) => set.load(elements, shaping),
            Self::SortedSet(set) => set.load(elements, shaping),
            Self::Stream(stream) => stream.load(elements, shaping),
        }
    }
}

/// Appends an element.
pub fn put_element(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a member of a set, sorted or not, with its expiry, ms of Unix time.
pub(crate) fn put_member(out: &mut Vec<u8>, member: &[u8], expire_at_ms: Option<u64>) {
    if let Some(at) = expire_at_ms {
        put_number(out, EXPIRY_MARK);
        put_number(out, at);
    }
    put_element(out, member);
}

/// Appends a number.
pub fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Elements yet to be read.
pub(crate) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Elements<'a> {
        Elements(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What has not been taken.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take_byte(&mut self) -> Result<u8, Fault> {
        let (&byte, rest) = self.0.split_first().ok_or(Fault::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(crate) fn take_element(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.take_number()?;
        self.take_bytes(len)
    }

    fn take_bytes(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        let len = usize::try_from(len).map_err(|_| Fault::Truncated)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Fault::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Takes what [`put_member`] wrote.
    pub(crate) fn take_member(&mut self) -> Result<(&'a [u8], Option<u64>), Fault> {
        match self.take_number()? {
            EXPIRY_MARK => {
                let expire_at_ms = self.take_number()?;
                Ok((self.take_element()?, Some(expire_at_ms)))
            }
            len => Ok((self.take_bytes(len)?, None)),
        }
    }

    pub(crate) fn take_number(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for index in 0..NUMBER_BYTES_MAX {
            let (&byte, rest) = self.0.split_first().ok_or(Fault::Truncated)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (7 * index);
            if shifted >> (7 * index) != bits {
                return Err(Fault::Number);
            }
            value |= shifted;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_value_or_a_fault(kind in 0_u8..8, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let whole: Vec<u8> = [&[VERSION, kind][..], &bytes].concat();
            if let Ok(value) = decode(&whole) {
                prop_assert_eq!(value.kind as u8, kind);
            }
        }
    }

    #[test]
    fn faults_say_what_is_wrong() {
        assert_eq!(decode(&[]), Err(Fault::Truncated));
        assert_eq!(decode(&[9, 0]), Err(Fault::Version { found: 9 }));
        assert_eq!(decode(&[VERSION, 77]), Err(Fault::Kind { found: 77 }));
        assert_eq!(decode(&[VERSION, Kind::List as u8]), Err(Fault::Empty));
        assert_eq!(decode(&[VERSION, Kind::List as u8, 2, b'x']), Err(Fault::Truncated));
        assert_eq!(decode(&[VERSION, Kind::Hash as u8, 1, b'x', 1, b'y']), Err(Fault::Truncated));
        let endless = [[VERSION, Kind::Set as u8].as_slice(), &[0xff; 10]].concat();
        assert_eq!(decode(&endless), Err(Fault::Number));
    }
}

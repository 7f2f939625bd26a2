//! Objects as our own encoding of values.

use super::bytes::Reader;
use super::packed::{Listpack, Ziplist, Zipmap, intset};
use super::{Fault, kind, stream};
use crate::Kind;
use crate::value::codec::{put_element, put_member, put_number};
use crate::value::{Element, score_number};

/// Containers of a list's pieces.
const PLAIN: u64 = 1;
const PACKED: u64 = 2;

/// Lengths of scores as text that mean something else.
pub(super) const NAN: u8 = 253;
const INFINITE: u8 = 254;
const NEGATIVE_INFINITE: u8 = 255;

/// A value under construction.
pub(super) struct Out {
    pub(super) bytes: Vec<u8>,
    start: usize,
}

impl Out {
    pub(super) fn new(kind: Kind) -> Self {
        let mut bytes = Vec::new();
        crate::value::codec::put_head(&mut bytes, kind);
        Self { start: bytes.len(), bytes }
    }

    fn element(&mut self, element: &[u8]) {
        put_element(&mut self.bytes, element);
    }

    /// A field, with its expiry in ms of Unix time.
    fn field(&mut self, name: &[u8], value: &[u8], expire_at_ms: Option<u64>) {
        self.element(name);
        self.element(value);
        put_number(&mut self.bytes, expire_at_ms.map_or(0, |at| at.saturating_add(1)));
    }

    fn member(&mut self, member: &[u8], score: f64) -> Result<(), Fault> {
        self.element(member);
        self.score(score)
    }

    fn score(&mut self, score: f64) -> Result<(), Fault> {
        if score.is_nan() {
            return Err(Fault::Object);
        }
        put_number(&mut self.bytes, score_number(score));
        Ok(())
    }

    /// Only strings and streams may be empty.
    fn finish(self) -> Result<Vec<u8>, Fault> {
        if self.bytes.len() > self.start { Ok(self.bytes) } else { Err(Fault::Object) }
    }
}

/// An object with its type before it; and what follows.
pub(super) fn object(bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), Fault> {
    let mut reader = Reader(bytes);
    let kind = reader.byte()?;
    let value = value(kind, &mut reader)?;
    Ok((value, reader.0))
}

fn value(kind: u8, reader: &mut Reader<'_>) -> Result<Vec<u8>, Fault> {
    match kind {
        kind::STRING => {
            let mut out = Out::new(Kind::String);
            out.bytes.extend_from_slice(&reader.string()?);
            Ok(out.bytes)
        }
        kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => list(kind, reader),
        kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => set(kind, reader),
        kind::SET_EXPIRING | kind::SORTED_SET_EXPIRING => expiring(kind, reader),
        kind::HASH
        | kind::HASH_ZIPMAP
        | kind::HASH_ZIPLIST
        | kind::HASH_LISTPACK
        | kind::HASH_EXPIRING
        | kind::HASH_EXPIRING_LISTPACK => hash(kind, reader),
        kind::SORTED_SET | kind::SORTED_SET_TEXT | kind::SORTED_SET_ZIPLIST | kind::SORTED_SET_LISTPACK => {
            sorted_set(kind, reader)
        }
        kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => stream::load(kind, reader),
        _ => Err(Fault::Object),
    }
}

fn each_of_listpack(bytes: &[u8], mut each: impl FnMut(Element<'_>)) -> Result<(), Fault> {
    let mut elements = Listpack::new(bytes)?;
    while let Some(raw) = elements.next()? {
        each(raw.element());
    }
    Ok(())
}

fn each_of_ziplist(bytes: &[u8], mut each: impl FnMut(Element<'_>)) -> Result<(), Fault> {
    let mut elements = Ziplist::new(bytes)?;
    while let Some(element) = elements.next()? {
        each(element);
    }
    Ok(())
}

/// Calls `each` for every two elements of a packed form.
fn pairs(
    bytes: &[u8],
    listpack: bool,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut first: Option<Vec<u8>> = None;
    let mut outcome = Ok(());
    let mut take = |element: Element<'_>| match first.take() {
        Some(name) if outcome.is_ok() => outcome = each(&name, &element),
        Some(_) => {}
        None => first = Some(element.to_vec()),
    };
    if listpack {
        each_of_listpack(bytes, &mut take)?;
    } else {
        each_of_ziplist(bytes, &mut take)?;
    }
    outcome?;
    if first.is_none() { Ok(()) } else { Err(Fault::Object) }
}

fn list(kind: u8, reader: &mut Reader<'_>) -> Result<Vec<u8>, Fault> {
    let mut out = Out::new(Kind::List);
    let pieces = if kind == kind::LIST_ZIPLIST { 1 } else { reader.count()? };
    for _ in 0..pieces {
        let container = if kind == kind::LIST_QUICKLIST_2 { reader.number()? } else { PACKED };
        let piece = reader.string()?;
        match (kind, container) {
            (kind::LIST, _) | (kind::LIST_QUICKLIST_2, PLAIN) => out.element(&piece),
            (kind::LIST_QUICKLIST_2, PACKED) => each_of_listpack(&piece, |element| out.element(&element))?,
            (kind::LIST_QUICKLIST_2, _) => return Err(Fault::Object),
            _ => each_of_ziplist(&piece, |element| out.element(&element))?,
        }
    }
    out.finish()
}

fn set(kind: u8, reader: &mut Reader<'_>) -> Result<Vec<u8>, Fault> {
    let mut out = Out::new(Kind::Set);
    match kind {
        kind::SET_INTSET => {
            for member in intset(&reader.string()?)? {
                out.element(&Element::integer(member));
            }
        }
        kind::SET_LISTPACK => each_of_listpack(&reader.string()?, |member| out.element(&member))?,
        _ => {
            for _ in 0..reader.count()? {
                out.element(&reader.string()?);
            }
        }
    }
    out.finish()
}

/// A set, sorted or not, whose members expire.
fn expiring(kind: u8, reader: &mut Reader<'_>) -> Result<Vec<u8>, Fault> {
    let sorted = kind == kind::SORTED_SET_EXPIRING;
    let mut out = Out::new(if sorted { Kind::SortedSet } else { Kind::Set });
    for _ in 0..reader.count()? {
        let expire_at_ms = reader.number()?.checked_sub(1);
        let member = reader.string()?;
        put_member(&mut out.bytes, &member, expire_at_ms);
        if sorted {
            out.score(f64::from_le_bytes(reader.array()?))?;
        }
    }
    out.finish()
}

fn hash(kind: u8, reader: &mut Reader<'_>) -> Result<Vec<u8>, Fault> {
    let mut out = Out::new(Kind::Hash);
    match kind {
        kind::HASH_ZIPMAP => {
            let bytes = reader.string()?;
            let mut fields = Zipmap::new(&bytes)?;
            while let Some((name, value)) = fields.next()? {
                out.field(name, value, None);
            }
        }
        kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
            pairs(&reader.string()?, kind == kind::HASH_LISTPACK, |name, value| {
                out.field(name, value, None);
                Ok(())
            })?;
        }
        kind::HASH_EXPIRING_LISTPACK => {
            reader.u64()?;
            let bytes = reader.string()?;
            let mut elements = Listpack::new(&bytes)?;
            while let Some(name) = elements.next()? {
                let (value, expiry) = (elements.need()?, elements.need_integer()?);
                let expiry = u64::try_from(expiry).map_err(|_| Fault::Object)?;
                out.field(&name.element(), &value.element(), (expiry > 0).then_some(expiry));
            }
        }
        kind::HASH_EXPIRING => {
            let least_ms = reader.u64()?;
            for _ in 0..reader.count()? {
                let above = reader.number()?;
                let (name, value) = (reader.string()?, reader.string()?);
                let expiry =
                    above.checked_sub(1).map(|above| above.checked_add(least_ms).ok_or(Fault::Object));
                out.field(&name, &value, expiry.transpose()?);
            }
        }
        _ => {
            for _ in 0..reader.count()? {
                let (name, value) = (reader.string()?, reader.string()?);
                out.field(&name, &value, None);
            }
        }
    }
    out.finish()
}

fn sorted_set(kind: u8, reader: &mut Reader<'_>) -> Result<Vec<u8>, Fault> {
    let mut out = Out::new(Kind::SortedSet);
    if matches!(kind, kind::SORTED_SET_ZIPLIST | kind::SORTED_SET_LISTPACK) {
        let listpack = kind == kind::SORTED_SET_LISTPACK;
        pairs(&reader.string()?, listpack, |member, score| out.member(member, number(score)?))?;
        return out.finish();
    }
    for _ in 0..reader.count()? {
        let member = reader.string()?;
        let score = if kind == kind::SORTED_SET {
            f64::from_le_bytes(reader.array()?)
        } else {
            match reader.byte()? {
                NAN => f64::NAN,
                INFINITE => f64::INFINITY,
                NEGATIVE_INFINITE => f64::NEG_INFINITY,
                len => number(reader.take(len.into())?)?,
            }
        };
        out.member(&member, score)?;
    }
    out.finish()
}

/// A score as text.
fn number(text: &[u8]) -> Result<f64, Fault> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Fault::Object)
}

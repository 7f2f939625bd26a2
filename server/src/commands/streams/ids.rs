//! Ids as clients write and read them.

use annulus_protocol::parse_i64;
use annulus_storage::value::stream::StreamId;

use super::super::errors::{Failure, fail};

const INVALID: &str = "ERR Invalid stream ID specified as stream command argument";
/// Longest text that is looked at.
const TEXT_BYTES_MAX: usize = 127;

/// What an id lacks that says only its millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The first one of it.
    First,
    /// The last one of it.
    Last,
}

impl Missing {
    const fn seq(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Last => u64::MAX,
        }
    }
}

/// An id as it is.
pub(super) fn strict(text: &[u8], missing: Missing) -> Result<StreamId, Failure> {
    parse(text, missing).ok_or(fail(INVALID))
}

/// An id, `-` or `+`.
pub(super) fn any(text: &[u8], missing: Missing) -> Result<StreamId, Failure> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => strict(text, missing),
    }
}

/// The first id of an interval: an id, `-`, `+`, or `(` and an id that is not in it.
pub(super) fn start(text: &[u8]) -> Result<StreamId, Failure> {
    match text {
        [b'(', excluded @ ..] if !excluded.is_empty() => {
            let id = strict(excluded, Missing::First)?;
            id.next().ok_or(fail("ERR invalid start ID for the interval"))
        }
        _ => any(text, Missing::First),
    }
}

/// The last id of an interval.
pub(super) fn end(text: &[u8]) -> Result<StreamId, Failure> {
    match text {
        [b'(', excluded @ ..] if !excluded.is_empty() => {
            let id = strict(excluded, Missing::Last)?;
            id.previous().ok_or(fail("ERR invalid end ID for the interval"))
        }
        _ => any(text, Missing::Last),
    }
}

/// The id of a new entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewId {
    /// `*`: by the clock.
    Next,
    /// `ms-*`: the next one of this millisecond.
    NextOf(u64),
    /// This one.
    Exactly(StreamId),
}

impl NewId {
    pub(super) fn parse(text: &[u8]) -> Result<Self, Failure> {
        match text {
            b"*" => Ok(Self::Next),
            [ms @ .., b'-', b'*'] if text.len() <= TEXT_BYTES_MAX => {
                number(ms).map(Self::NextOf).ok_or(fail(INVALID))
            }
            _ => strict(text, Missing::First).map(Self::Exactly),
        }
    }

    /// The id itself, in a stream with this last one; none if it cannot be above that.
    pub(super) fn after(self, last: StreamId, now_ms: u64) -> Option<StreamId> {
        let id = match self {
            Self::Exactly(id) => id,
            Self::Next if now_ms > last.ms => StreamId::new(now_ms, 0),
            Self::Next => last.next()?,
            Self::NextOf(ms) if ms == last.ms => StreamId::new(ms, last.seq.checked_add(1)?),
            Self::NextOf(ms) => StreamId::new(ms, 0),
        };
        (id > last).then_some(id)
    }
}

fn parse(text: &[u8], missing: Missing) -> Option<StreamId> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    match text.iter().position(|byte| *byte == b'-') {
        Some(dash) => {
            let (ms, seq) = text.split_at_checked(dash)?;
            Some(StreamId::new(number(ms)?, number(seq.get(1..)?)?))
        }
        None => Some(StreamId::new(number(text)?, missing.seq())),
    }
}

/// An integer without a sign, as Redis takes it: what its own parser doesn't read is read by `strtoull`, which is lenient at
/// the front.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(number) = parse_i64(text) {
        return u64::try_from(number).ok();
    }
    let spaces = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
    let text = text.get(spaces..)?;
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(if negative { value.wrapping_neg() } else { value })
}

/// The text of an id.
pub(super) struct IdText {
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

impl IdText {
    const BYTES_MAX: usize = 41;

    pub(super) fn new(id: StreamId) -> Self {
        let mut text = Self { bytes: [0; Self::BYTES_MAX], len: 0 };
        text.push(itoa::Buffer::new().format(id.ms).as_bytes());
        text.push(b"-");
        text.push(itoa::Buffer::new().format(id.seq).as_bytes());
        text
    }

    fn push(&mut self, part: &[u8]) {
        let start = usize::from(self.len);
        if let Some(place) = self.bytes.get_mut(start..start + part.len()) {
            place.copy_from_slice(part);
            self.len += part.len() as u8;
        }
    }
}

impl AsRef<[u8]> for IdText {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_as_they_are_written() {
        for id in [StreamId::MIN, StreamId::new(7, 0), StreamId::new(1_700_000_000_000, 12), StreamId::MAX] {
            let text = IdText::new(id);
            assert_eq!(text.as_ref(), id.to_string().as_bytes());
            assert_eq!(strict(text.as_ref(), Missing::First), Ok(id));
        }
        assert_eq!(strict(b"5", Missing::First), Ok(StreamId::new(5, 0)));
        assert_eq!(strict(b"5", Missing::Last), Ok(StreamId::new(5, u64::MAX)));
        for wrong in ["", "-", "+", "5-", "-5", "a", "5-a", "5-5-5", "18446744073709551616", "5--1", "1.5"] {
            assert!(strict(wrong.as_bytes(), Missing::First).is_err(), "{wrong}");
        }
        assert!(strict(&[b'0'; 128], Missing::First).is_err());
    }

    #[test]
    fn new_ids_are_above_the_last() {
        let last = StreamId::new(5, 3);
        assert_eq!(NewId::Next.after(last, 9), Some(StreamId::new(9, 0)));
        assert_eq!(NewId::Next.after(last, 5), Some(StreamId::new(5, 4)));
        assert_eq!(NewId::Next.after(StreamId::new(5, u64::MAX), 2), Some(StreamId::new(6, 0)));
        assert_eq!(NewId::NextOf(5).after(last, 9), Some(StreamId::new(5, 4)));
        assert_eq!(NewId::NextOf(4).after(last, 9), None);
        assert_eq!(NewId::NextOf(0).after(StreamId::MIN, 9), Some(StreamId::new(0, 1)));
        assert_eq!(NewId::NextOf(5).after(StreamId::new(5, u64::MAX), 9), None);
        assert_eq!(NewId::Exactly(last).after(last, 9), None);
    }
}

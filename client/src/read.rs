//! Replies to values: a pass over bytes that are all there, without a copy of what they hold. For what servers send; what RESP3
//! has besides (attributes, values in pieces) is [`crate::codec`]'s business.

use annulus_protocol::{parse_f64, parse_i64};
use bytes::Bytes;

use crate::{Error, Result, Value};

/// No command nests deeper than a handful.
const DEPTH_MAX: usize = 64;

/// Reads replies off the front of bytes that hold whole ones.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), at: 0 }
    }

    /// Where the next reply begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Passes over what could not be read, up to `end`, and gives it.
    pub(crate) fn skip(&mut self, start: usize, end: usize) -> Bytes {
        self.at = end;
        self.bytes.slice(start..end)
    }

    /// The next reply, or nothing at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Value>> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        self.value(0).map(Some)
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        let (kind, start, end) = self.line()?;
        Ok(match kind {
            b'$' => match self.length(start, end)? {
                Some(length) => Value::Bulk(self.block(length)?),
                None => Value::Null,
            },
            b'+' => Value::Simple(self.bytes.slice(start..end)),
            b'-' => Value::Error(self.bytes.slice(start..end)),
            b':' => Value::Integer(self.number(start, end)?),
            b'_' => Value::Null,
            b',' => Value::Double(parse_f64(self.text(start, end)).ok_or_else(broken)?),
            b'#' => match self.text(start, end) {
                b"t" => Value::Boolean(true),
                b"f" => Value::Boolean(false),
                _ => return Err(broken()),
            },
            b'(' => Value::Big(self.bytes.slice(start..end)),
            b'=' => {
                let length = self.length(start, end)?.ok_or_else(broken)?;
                // Three letters and a colon say what kind of text it is.
                let block = self.block(length)?;
                Value::Bulk(block.slice(4.min(block.len())..))
            }
            b'!' => {
                let length = self.length(start, end)?.ok_or_else(broken)?;
                Value::Error(self.block(length)?)
            }
            b'*' | b'~' | b'>' | b'%' => match self.length(start, end)? {
                Some(count) => self.values(kind, count, depth)?,
                None => Value::Null,
            },
            _ => return Err(broken()),
        })
    }

    fn values(&mut self, kind: u8, count: usize, depth: usize) -> Result<Value> {
        if depth == DEPTH_MAX {
            return Err(broken());
        }
        // What is announced is there, a byte at least for each.
        let room = count.min(self.bytes.len() - self.at);
        if kind == b'%' {
            let mut pairs = Vec::with_capacity(room);
            for _ in 0..count {
                pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
            }
            return Ok(Value::Map(pairs));
        }
        let mut values = Vec::with_capacity(room);
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        Ok(match kind {
            b'~' => Value::Set(values),
            b'>' => Value::Push(values),
            _ => Value::Array(values),
        })
    }

    /// The next line: its first byte, and where the rest of it is.
    #[inline]
    fn line(&mut self) -> Result<(u8, usize, usize)> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let kind = *rest.first().ok_or_else(broken)?;
        // Lines are short, and most of them lengths: a search in larger steps would take longer to set up.
        let length = rest.iter().position(|&byte| byte == b'\r').ok_or_else(broken)?;
        let start = self.at + 1;
        let end = self.at + length;
        self.at = end + 2;
        if start > end || self.at > self.bytes.len() {
            return Err(broken());
        }
        Ok((kind, start, end))
    }

    fn text(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    fn number(&self, start: usize, end: usize) -> Result<i64> {
        parse_i64(self.text(start, end)).ok_or_else(broken)
    }

    /// A length; nothing is -1.
    #[inline]
    fn length(&self, start: usize, end: usize) -> Result<Option<usize>> {
        let mut length = 0_usize;
        let text = self.text(start, end);
        if text == b"-1" {
            return Ok(None);
        }
        if text.is_empty() || text.len() > 12 {
            return Err(broken());
        }
        for &digit in text {
            if !digit.is_ascii_digit() {
                return Err(broken());
            }
            length = length * 10 + usize::from(digit - b'0');
        }
        Ok(Some(length))
    }

    /// So many bytes, and the line's end behind them.
    #[inline]
    fn block(&mut self, length: usize) -> Result<Bytes> {
        let start = self.at;
        let end = start.checked_add(length).ok_or_else(broken)?;
        if end + 2 > self.bytes.len() {
            return Err(broken());
        }
        self.at = end + 2;
        Ok(self.bytes.slice(start..end))
    }
}

#[cold]
fn broken() -> Error {
    Error::Protocol("a reply that is none".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(input: &[u8]) -> Result<Vec<Value>> {
        let mut reader = Reader::new(input.to_vec());
        std::iter::from_fn(|| reader.next().transpose()).collect()
    }

    #[test]
    fn every_type_is_read() {
        let bulk = |text: &'static str| Value::Bulk(Bytes::from_static(text.as_bytes()));
        let input = b"+OK\r\n:-7\r\n$4\r\na\r\nb\r\n_\r\n$-1\r\n*-1\r\n#t\r\n,1.5\r\n%1\r\n$1\r\nk\r\n*2\r\n:1\r\n$0\r\n\r\n=7\r\ntxt:abc\r\n>1\r\n+p\r\n-ERR no\r\n";
        let expected = vec![
            Value::Simple(Bytes::from_static(b"OK")),
            Value::Integer(-7),
            bulk("a\r\nb"),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Boolean(true),
            Value::Double(1.5),
            Value::Map(vec![(bulk("k"), Value::Array(vec![Value::Integer(1), bulk("")]))]),
            bulk("abc"),
            Value::Push(vec![Value::Simple(Bytes::from_static(b"p"))]),
            Value::Error(Bytes::from_static(b"ERR no")),
        ];
        assert_eq!(read(input), Ok(expected));
    }

    /// What `redis-protocol` makes of the same bytes.
    fn decoded(input: &[u8]) -> Option<Vec<Value>> {
        let mut rest = Bytes::copy_from_slice(input);
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (frame, length) = redis_protocol::resp3::decode::complete::decode_bytes(&rest).ok()??;
            values.push(Value::from(frame));
            rest = rest.slice(length..);
        }
        Some(values)
    }

    proptest! {
        /// What the other decoder takes, this one reads alike; whatever else comes is an error and no panic.
        #[test]
        fn it_reads_what_another_decoder_reads(
            pieces in prop::collection::vec(
                prop_oneof![
                    "[-+:$*%~>=#_,(][0-9a-z-]{0,3}(\r\n)?",
                    prop::sample::select(vec!["\r\n", "$1\r\nx\r\n", "=5\r\ntxt:x\r\n", "*2\r\n", "%1\r\n", ":12\r\n"])
                        .prop_map(str::to_owned),
                ],
                0..12,
            )
        ) {
            let input = pieces.concat();
            let (found, expected) = (read(input.as_bytes()), decoded(input.as_bytes()));
            // Maps and sets lose their order in the other decoder, and `_` with something behind it is a null there.
            let comparable = !input.contains(['%', '~', ',', '_']);
            if comparable && let (Ok(found), Some(expected)) = (found, expected) {
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn sets_and_maps_keep_their_order_and_hold_whatever_comes() {
        let input = b"~2\r\n*1\r\n:2\r\n%1\r\n*0\r\n:1\r\n";
        let map = Value::Map(vec![(Value::Array(Vec::new()), Value::Integer(1))]);
        assert_eq!(read(input), Ok(vec![Value::Set(vec![Value::Array(vec![Value::Integer(2)]), map])]));
    }
}

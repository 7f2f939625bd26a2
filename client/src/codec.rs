//! Received bytes to values.
//!
//! Two passes, because a reply comes in as many pieces as the network likes: a scanner that reads no line twice says
//! when a reply is whole, and only then its value is built, once. All replies that are whole are taken off the buffer together, so that
//! their values share one block.
//!
//! The plain reader ([`crate::read`]) knows what servers send; `redis-protocol` knows all of RESP, and has the rest. (Its sets and maps are
//! hashed, and refuse some of what Redis sends in them.) Nesting, which the other side chooses and both would follow with the stack, is bounded.

use std::collections::VecDeque;

use annulus_protocol::ReplyScanner;
use bytes::{Bytes, BytesMut};
use redis_protocol::{resp2, resp3};

use crate::{Error, Result, Value, read::Reader};

/// No command nests deeper than a handful.
const DEPTH_MAX: usize = 64;

/// What the connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Resp2,
    Resp3,
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Received, behind the replies that were taken off, from the start of a reply.
    pub(crate) buffer: BytesMut,
    scanner: ReplyScanner,
    /// Whole replies that were taken off the buffer, and where each of those ends that have not been read.
    whole: Reader,
    ends: VecDeque<usize>,
    pub(crate) version: Version,
}

impl Decoder {
    pub(crate) fn new(version: Version) -> Self {
        let whole = Reader::new(Bytes::new());
        Self { buffer: BytesMut::new(), scanner: ReplyScanner::new(), whole, ends: VecDeque::new(), version }
    }

    /// The next whole reply. After an error the connection has lost its place and is of no use.
    pub(crate) fn next(&mut self) -> Result<Option<Value>> {
        if self.ends.is_empty() {
            self.take_whole()?;
        }
        let Some(end) = self.ends.pop_front() else { return Ok(None) };
        let start = self.whole.at();
        match self.whole.next() {
            Ok(Some(value)) if self.whole.at() == end => Ok(Some(value)),
            _ => decode(&self.whole.skip(start, end), self.version).map(Some),
        }
    }

    /// Takes off all replies that are whole.
    fn take_whole(&mut self) -> Result<()> {
        let mut whole = 0;
        loop {
            let rest = self.buffer.get(whole..).unwrap_or_default();
            match self.scanner.scan(rest) {
                Ok(Some(length)) => {
                    whole += length;
                    self.ends.push_back(whole);
                }
                Ok(None) => break,
                // First what came before it; the next time it's the first.
                Err(_) if whole > 0 => {
                    self.scanner = ReplyScanner::new();
                    break;
                }
                Err(error) => return Err(Error::Protocol(error.to_string())),
            }
        }
        if whole > 0 {
            self.whole = Reader::new(self.buffer.split_to(whole));
        }
        Ok(())
    }
}

/// A reply that has what only `redis-protocol` knows, or is none.
fn decode(reply: &Bytes, version: Version) -> Result<Value> {
    match reply.first() {
        // Not by the codec, which refuses errors that quote what isn't UTF-8.
        Some(b'-') => return Ok(Value::Error(reply.slice(1..reply.len() - 2))),
        Some(b'*' | b'%' | b'~' | b'>' | b'|') => check_depth(reply)?,
        _ => {}
    }
    let decoded = match version {
        Version::Resp3 => resp3::decode::complete::decode_bytes(reply)
            .map(|found| found.map(|(frame, length)| (Value::from(frame), length))),
        Version::Resp2 => resp2::decode::decode_bytes(reply)
            .map(|found| found.map(|(frame, length)| (Value::from(frame), length))),
    };
    match decoded {
        Ok(Some((value, length))) if length == reply.len() => Ok(value),
        Ok(_) => Err(Error::Protocol("a reply of another length than announced".to_owned())),
        Err(error) => Err(Error::Protocol(error.to_string())),
    }
}

/// Walks a whole reply, line by line; it was scanned, so whatever is not understood here is left to the codec.
fn check_depth(reply: &[u8]) -> Result<()> {
    // For each open aggregate, the values that it still waits for.
    let mut open: Vec<usize> = Vec::new();
    let mut rest = reply;
    while let Some(line_end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, after) = (rest.get(..line_end).unwrap_or_default(), rest.get(line_end + 2..));
        rest = after.unwrap_or_default();
        let number =
            line.get(1..).and_then(annulus_protocol::parse_i64).and_then(|n| usize::try_from(n).ok());
        let values = match (line.first(), number) {
            (Some(b'$' | b'!' | b'='), Some(bytes)) => {
                rest = rest.get(bytes + 2..).unwrap_or_default();
                0
            }
            (Some(b'*' | b'~' | b'>'), Some(count)) => count,
            (Some(b'%'), Some(pairs)) => 2 * pairs,
            // And the value that the attributes belong to.
            (Some(b'|'), Some(pairs)) => 2 * pairs + 1,
            _ => 0,
        };
        if values > 0 {
            open.push(values);
            if open.len() > DEPTH_MAX {
                return Err(Error::Protocol("a reply nested too deeply".to_owned()));
            }
            continue;
        }
        while let Some(waiting) = open.last_mut() {
            *waiting -= 1;
            if *waiting > 0 {
                break;
            }
            open.pop();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Nearly RESP, which comes further than noise does.
        #[test]
        fn whatever_comes_is_a_value_or_an_error(
            pieces in prop::collection::vec(
                prop_oneof![
                    "[-+:$*%~>|=!#_,(][0-9a-z-]{0,3}(\r\n)?",
                    prop::sample::select(vec!["\r\n", "$1\r\nx\r\n", "=5\r\ntxt:x\r\n", "*?\r\n", ".\r\n"])
                        .prop_map(str::to_owned),
                ],
                0..12,
            )
        ) {
            for version in [Version::Resp2, Version::Resp3] {
                let mut decoder = Decoder::new(version);
                decoder.buffer.extend_from_slice(pieces.concat().as_bytes());
                while let Ok(Some(_)) = decoder.next() {}
            }
        }
    }

    fn decode(version: Version, input: &[u8]) -> Result<Vec<Value>> {
        let mut decoder = Decoder::new(version);
        let mut values = Vec::new();
        // A byte at a time: whatever the network does to replies, this is worse.
        for byte in input {
            decoder.buffer.extend_from_slice(&[*byte]);
            while let Some(value) = decoder.next()? {
                values.push(value);
            }
        }
        assert!(decoder.buffer.is_empty(), "bytes are left");
        Ok(values)
    }

    fn bulk(text: &'static str) -> Value {
        Value::Bulk(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn replies_in_pieces_are_the_same_values() {
        let input = b"+OK\r\n:-7\r\n$4\r\na\r\nb\r\n_\r\n#t\r\n,1.5\r\n%1\r\n$1\r\nk\r\n*2\r\n:1\r\n$0\r\n\r\n=7\r\ntxt:abc\r\n>1\r\n+p\r\n";
        let expected = vec![
            Value::Simple(Bytes::from_static(b"OK")),
            Value::Integer(-7),
            bulk("a\r\nb"),
            Value::Null,
            Value::Boolean(true),
            Value::Double(1.5),
            Value::Map(vec![(bulk("k"), Value::Array(vec![Value::Integer(1), bulk("")]))]),
            bulk("abc"),
            Value::Push(vec![Value::Simple(Bytes::from_static(b"p"))]),
        ];
        assert_eq!(decode(Version::Resp3, input), Ok(expected));
    }

    #[test]
    fn the_old_protocol_has_two_nulls() {
        let expected = vec![Value::Null, Value::Null, Value::Array(vec![Value::Null, bulk("x")])];
        assert_eq!(decode(Version::Resp2, b"$-1\r\n*-1\r\n*2\r\n$-1\r\n$1\r\nx\r\n"), Ok(expected));
    }

    #[test]
    fn errors_may_quote_any_bytes() {
        let input = b"-ERR unknown command '\xff'\r\n";
        let expected = Value::Error(Bytes::from_static(b"ERR unknown command '\xff'"));
        assert_eq!(decode(Version::Resp3, input), Ok(vec![expected]));
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for input in
            [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"$x\r\n", b"*99999999999999999999\r\n", b":1x\r\n"]
        {
            assert!(matches!(decode(Version::Resp3, input), Err(Error::Protocol(_))), "{input:?}");
        }
    }

    #[test]
    fn replies_before_what_is_none_still_come() {
        let mut decoder = Decoder::new(Version::Resp3);
        decoder.buffer.extend_from_slice(b"+OK\r\n:1\r\nHTTP/1.1 400\r\n");
        assert_eq!(decoder.next(), Ok(Some(Value::Simple(Bytes::from_static(b"OK")))));
        assert_eq!(decoder.next(), Ok(Some(Value::Integer(1))));
        assert!(matches!(decoder.next(), Err(Error::Protocol(_))));
    }

    #[test]
    fn attributes_are_passed_over_and_texts_in_pieces_put_together() {
        let input = b"|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n+OK\r\n";
        let expected = vec![bulk("x"), Value::Simple(Bytes::from_static(b"OK"))];
        assert_eq!(decode(Version::Resp3, input), Ok(expected));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            let mut input = b"*1\r\n".repeat(depth);
            input.extend_from_slice(b":1\r\n");
            decode(Version::Resp3, &input)
        };
        assert!(nested(DEPTH_MAX).is_ok());
        assert!(matches!(nested(DEPTH_MAX + 1), Err(Error::Protocol(_))));
        // Siblings are not nested.
        let wide = [b"*200\r\n".to_vec(), b"*1\r\n$3\r\n*1\r\r\n".repeat(200)].concat();
        assert!(decode(Version::Resp3, &wide).is_ok());
    }
}

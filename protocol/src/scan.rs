//! Reading replies: where one ends, what it is, and the elements of an aggregate, without building values.
//!
//! The server reads replies that its own shards wrote, to merge them; the client reads whatever a server sends. Nothing
//! here recurses: nesting, which the other side chooses, is a counter.

use std::fmt;

use memchr::memchr;

use crate::number::parse_i64;

/// Bytes that are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// No reply starts with this byte.
    UnknownType {
        /// The byte found.
        found: u8,
    },
    /// A length or count is no number, negative, or beyond what memory could hold.
    InvalidLength,
    /// The reply does not have the type or form that was asked for.
    Unexpected,
    /// Aggregates are nested too deeply for a value to be built.
    TooDeep,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType { found } => {
                write!(formatter, "no reply starts with '{}'", found.escape_ascii())
            }
            Self::InvalidLength => formatter.write_str("invalid length in a reply"),
            Self::Unexpected => formatter.write_str("a reply of another type than expected"),
            Self::TooDeep => formatter.write_str("a reply nested too deeply"),
        }
    }
}

impl std::error::Error for ReplyError {}

/// What the first line of a reply, or of a part of one, says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// The value is the line itself.
    Line,
    /// This many bytes and a line end follow.
    Blob { bytes: usize },
    /// `$-1` or `*-1`: no value.
    Absent,
    /// This many values follow.
    Values { count: usize },
    /// This many values follow, and then the one that they belong to.
    Attributes { count: usize },
}

/// More than a process can hold, and far from where sums of lengths would overflow.
const LENGTH_MAX: i64 = 1 << 40;

/// The first line of a reply: its type, what is on it, what that says, and where the next line starts.
pub(crate) type HeadLine<'a> = (u8, &'a [u8], Head, usize);

/// Reads the head line at `start`. `None` when it isn't whole.
pub(crate) fn head(input: &[u8], start: usize) -> Result<Option<HeadLine<'_>>, ReplyError> {
    let Some((&kind, rest)) = input.get(start..).and_then(<[u8]>::split_first) else {
        return Ok(None);
    };
    if !matches!(
        kind,
        b'+' | b'-'
            | b':'
            | b'_'
            | b'#'
            | b','
            | b'('
            | b'$'
            | b'!'
            | b'='
            | b'*'
            | b'~'
            | b'>'
            | b'%'
            | b'|'
    ) {
        return Err(ReplyError::UnknownType { found: kind });
    }
    let Some(line_bytes) = memchr(b'\n', rest) else {
        return Ok(None);
    };
    let line =
        rest.get(..line_bytes).and_then(|line| line.strip_suffix(b"\r")).ok_or(ReplyError::Unexpected)?;
    let head = match kind {
        b'$' | b'!' | b'=' => match length(line)? {
            None if kind == b'$' => Head::Absent,
            None => return Err(ReplyError::InvalidLength),
            Some(bytes) => Head::Blob { bytes },
        },
        b'*' | b'~' | b'>' => match length(line)? {
            None if kind == b'*' => Head::Absent,
            None => return Err(ReplyError::InvalidLength),
            Some(count) => Head::Values { count },
        },
        b'%' => Head::Values { count: 2 * length(line)?.ok_or(ReplyError::InvalidLength)? },
        b'|' => Head::Attributes { count: 2 * length(line)?.ok_or(ReplyError::InvalidLength)? },
        _ => Head::Line,
    };
    Ok(Some((kind, line, head, start + line_bytes + 2)))
}

/// A length, or `None` for -1.
fn length(line: &[u8]) -> Result<Option<usize>, ReplyError> {
    match parse_i64(line) {
        Some(-1) => Ok(None),
        Some(length @ 0..=LENGTH_MAX) => Ok(Some(length as usize)),
        _ => Err(ReplyError::InvalidLength),
    }
}

/// Finds the end of the first reply in a growing input; no line is read twice.
#[derive(Clone, Copy, Debug)]
pub struct ReplyScanner {
    position: usize,
    /// Values still to come before the reply is whole.
    pending: usize,
}

impl Default for ReplyScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplyScanner {
    /// A scanner at the start of a reply.
    pub const fn new() -> Self {
        Self { position: 0, pending: 1 }
    }

    /// The length of the reply that `input` starts with, once it is whole; attributes before it count as part of it.
    ///
    /// `input` is the same as before with more bytes after it. When the length is known, the scanner is at the start of a reply
    /// again, for an input without this one.
    pub fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, ReplyError> {
        while self.pending > 0 {
            let Some((_, _, head, next)) = head(input, self.position)? else {
                return Ok(None);
            };
            let (next, values) = match head {
                Head::Line | Head::Absent => (next, 0),
                Head::Blob { bytes } => (next + bytes + 2, 0),
                Head::Values { count } => (next, count),
                // The value that they belong to is still to come.
                Head::Attributes { count } => (next, count + 1),
            };
            if next > input.len() {
                return Ok(None);
            }
            self.position = next;
            self.pending = (self.pending - 1).checked_add(values).ok_or(ReplyError::InvalidLength)?;
        }
        let length = self.position;
        *self = Self::new();
        Ok(Some(length))
    }
}

/// The length of the reply that `input` starts with, or `None` when it isn't whole.
pub fn reply_len(input: &[u8]) -> Result<Option<usize>, ReplyError> {
    ReplyScanner::new().scan(input)
}

/// The number in an integer reply, and nothing else: `None` for any other reply.
pub fn parse_integer_reply(reply: &[u8]) -> Option<i64> {
    parse_i64(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The text of an error reply (`-` or `!`), prefix included.
#[inline]
pub fn parse_error_reply(reply: &[u8]) -> Option<&[u8]> {
    // Most replies are none, and their first byte says so.
    if !matches!(reply.first(), Some(b'-' | b'!')) {
        return None;
    }
    match head(reply, 0) {
        Ok(Some((b'-', text, ..))) => Some(text),
        Ok(Some((b'!', _, Head::Blob { bytes }, start))) => reply.get(start..start + bytes),
        _ => None,
    }
}

/// The bytes of a bulk string reply; `Some(None)` for a null of either version.
pub fn parse_bulk_reply(reply: &[u8]) -> Option<Option<&[u8]>> {
    match head(reply, 0) {
        Ok(Some((b'$', _, Head::Blob { bytes }, start))) => reply.get(start..start + bytes).map(Some),
        Ok(Some((b'$', _, Head::Absent, _) | (b'_', ..))) => Some(None),
        _ => None,
    }
}

/// The elements of an array, set, push or map reply as encoded replies; of a map, keys and values by turns.
///
/// A null array has none. The reply must be whole; an element that isn't ends the iteration with an error.
pub fn elements(reply: &[u8]) -> Result<Elements<'_>, ReplyError> {
    match head(reply, 0)? {
        Some((_, _, Head::Values { count }, start)) => {
            Ok(Elements { rest: reply.get(start..).unwrap_or_default(), remaining: count })
        }
        Some((b'*', _, Head::Absent, _) | (b'_', ..)) => Ok(Elements { rest: &[], remaining: 0 }),
        _ => Err(ReplyError::Unexpected),
    }
}

/// Iterator over the elements of an aggregate; see [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    remaining: usize,
}

impl<'a> Elements<'a> {
    /// How many elements the aggregate announces from here on.
    pub const fn remaining(&self) -> usize {
        self.remaining
    }

    /// The encoded elements from here on, as they stand one after the other.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8], ReplyError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let element = match reply_len(self.rest) {
            Ok(Some(length)) => self.rest.split_at_checked(length).ok_or(ReplyError::Unexpected),
            Ok(None) => Err(ReplyError::Unexpected),
            Err(error) => Err(error),
        };
        Some(match element {
            Ok((element, rest)) => {
                self.rest = rest;
                Ok(element)
            }
            Err(error) => {
                self.remaining = 0;
                Err(error)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_every_type_of_reply_is_found() {
        for reply in [
            &b"+OK\r\n"[..],
            b"-ERR no\r\n",
            b":-12\r\n",
            b"$5\r\na\r\nbc\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n*1\r\n:1\r\n$0\r\n\r\n",
            b"_\r\n",
            b"#t\r\n",
            b",1.5\r\n",
            b"(123456789012345678901234567890\r\n",
            b"!6\r\nERR no\r\n",
            b"=6\r\ntxt:hi\r\n",
            b"%1\r\n+a\r\n*1\r\n:1\r\n",
            b"~2\r\n:1\r\n:2\r\n",
            b">2\r\n+message\r\n+x\r\n",
            b"|1\r\n+ttl\r\n:3\r\n*1\r\n|1\r\n+a\r\n:1\r\n$1\r\nx\r\n",
        ] {
            let followed = [reply, b"+next\r\n"].concat();
            assert_eq!(reply_len(&followed), Ok(Some(reply.len())), "{}", reply.escape_ascii());
            let mut scanner = ReplyScanner::new();
            for end in 0..reply.len() {
                assert_eq!(reply_len(&reply[..end]), Ok(None), "{end} bytes of {}", reply.escape_ascii());
                assert_eq!(scanner.scan(&reply[..end]), Ok(None));
            }
            assert_eq!(scanner.scan(reply), Ok(Some(reply.len())));
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        assert_eq!(reply_len(b"hello"), Err(ReplyError::UnknownType { found: b'h' }));
        for rubbish in
            ["$x\r\n", "$-2\r\n", "*-2\r\n", "%-1\r\n", "~-1\r\n", "$99999999999999\r\n", "$\r\n", "*1x\r\n"]
        {
            assert_eq!(reply_len(rubbish.as_bytes()), Err(ReplyError::InvalidLength), "{rubbish}");
        }
        assert_eq!(reply_len(b"+OK\n"), Err(ReplyError::Unexpected));
    }

    #[test]
    fn nesting_costs_no_stack() {
        let mut deep = b"*1\r\n".repeat(1_000_000);
        assert_eq!(reply_len(&deep), Ok(None));
        deep.extend_from_slice(b":1\r\n");
        assert_eq!(reply_len(&deep), Ok(Some(deep.len())));
    }

    #[test]
    fn counts_that_add_up_beyond_memory_are_an_error_or_unfinished() {
        let counts = b"*1099511627776\r\n".repeat(100);
        assert_eq!(reply_len(&counts), Ok(None));
    }

    #[test]
    fn elements_are_the_encoded_values() {
        let reply = b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n:2\r\n$-1\r\n";
        let parts: Vec<_> = elements(reply).unwrap().map(Result::unwrap).collect();
        assert_eq!(parts, [&b"$1\r\na\r\n"[..], b"*2\r\n:1\r\n:2\r\n", b"$-1\r\n"]);
        assert_eq!(elements(b"%1\r\n+a\r\n:1\r\n").unwrap().count(), 2);
        assert_eq!(elements(b"*-1\r\n").unwrap().count(), 0);
        assert_eq!(elements(b":1\r\n").err(), Some(ReplyError::Unexpected));
        let cut: Vec<_> = elements(b"*3\r\n:1\r\n:2").unwrap().collect();
        assert_eq!(cut, [Ok(&b":1\r\n"[..]), Err(ReplyError::Unexpected)]);
    }

    #[test]
    fn scalars_are_read_from_replies_of_their_type_only() {
        assert_eq!(parse_integer_reply(b":-42\r\n"), Some(-42));
        for other in [&b"$2\r\n42\r\n"[..], b":42", b":x\r\n", b""] {
            assert_eq!(parse_integer_reply(other), None);
        }
        assert_eq!(parse_error_reply(b"-ERR no\r\n"), Some(&b"ERR no"[..]));
        assert_eq!(parse_error_reply(b"!6\r\nERR no\r\n"), Some(&b"ERR no"[..]));
        assert_eq!(parse_error_reply(b"+OK\r\n"), None);
        assert_eq!(parse_bulk_reply(b"$2\r\n42\r\n"), Some(Some(&b"42"[..])));
        assert_eq!(parse_bulk_reply(b"$-1\r\n"), Some(None));
        assert_eq!(parse_bulk_reply(b"_\r\n"), Some(None));
        assert_eq!(parse_bulk_reply(b"$9\r\n42\r\n"), None);
        assert_eq!(parse_bulk_reply(b":1\r\n"), None);
    }
}

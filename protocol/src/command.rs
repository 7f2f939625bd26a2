//! The request parser: received bytes in, one command at a time out, without copying an argument.
//!
//! [`CommandParser`] owns how far the current command of one connection has been read, and nothing else: the bytes are
//! the caller's, the arguments are ranges of them. Invariants:
//!
//! - However the bytes arrive, in one piece or one by one, the commands and the error are the same.
//! - No byte is looked at again because more came after it: a command that trickles in costs what it costs in one piece.
//! - Nothing is allocated because a client announced a size, and nothing at all for a command that is there as a whole.
//! - An idle parser is one word.
//!
//! What is accepted follows Redis 7.0, down to what it lets pass (the bytes after a bulk are skipped unread, a
//! negative count is an empty command), with two differences, both for lines that Redis treats differently depending on
//! how they were cut into packets: a line longer than the limit is always refused, and a NUL byte is a byte like any other.

use std::mem;

use memchr::memchr;
use smallvec::SmallVec;

use crate::number::parse_i64;

mod args;
mod error;
mod inline;
mod limits;

pub use args::Args;
pub use error::ProtocolError;
pub use limits::Limits;

use args::{INLINE, Span};

/// What the bytes given so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A whole command; its arguments are in `Args`, none of them for a blank line or an empty array.
    Command {
        /// How many bytes of the input it took.
        consumed: usize,
    },
    /// The command goes on.
    Incomplete {
        /// At least this many bytes are missing, so that room for a large argument can be made at once. It is what the
        /// client announces, up to the limit on one argument: the caller decides how much of it to believe.
        needed: usize,
    },
}

/// Reads the commands of one connection.
#[derive(Debug, Default)]
pub struct CommandParser {
    partial: Option<Box<Partial>>,
}

/// A command of which only a part has arrived.
#[derive(Debug)]
struct Partial {
    cursor: Cursor,
    spans: SmallVec<[Span; INLINE]>,
}

/// How far the current command has been read.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    awaiting: Awaiting,
    /// Where the next unread element starts.
    position: usize,
    /// How many bytes from `position` on are known not to end the line that starts there.
    searched: usize,
    /// Arguments still to come.
    remaining: usize,
}

#[derive(Clone, Copy, Debug)]
enum Awaiting {
    FirstByte,
    InlineEnd,
    CountEnd,
    BulkHeader,
    Bulk { bytes: usize },
}

/// The fewest bytes that an argument takes: `$0`, CR LF, CR LF.
const ARGUMENT_BYTES_MIN: usize = 6;

impl CommandParser {
    /// A parser at the start of a command.
    pub const fn new() -> Self {
        Self { partial: None }
    }

    /// Reads on in the current command.
    ///
    /// `input` starts at the command's first byte, also when the previous step was [`Step::Incomplete`]: the caller
    /// drops what a command consumed, keeps the rest and appends to it. After an error the connection cannot be read
    /// further; the parser is at the start of a command again.
    #[inline]
    pub fn parse(&mut self, input: &[u8], args: &mut Args, limits: &Limits) -> Result<Step, ProtocolError> {
        args.clear();
        let mut cursor = match &mut self.partial {
            None => Cursor::START,
            Some(partial) => {
                mem::swap(&mut partial.spans, &mut args.spans);
                partial.cursor
            }
        };
        let step = cursor.advance(input, args, limits);
        if let Ok(Step::Incomplete { .. }) = step {
            self.suspend(cursor, args);
        } else if self.partial.is_some() {
            self.partial = None;
        }
        step
    }

    #[cold]
    fn suspend(&mut self, cursor: Cursor, args: &mut Args) {
        match &mut self.partial {
            Some(partial) => {
                partial.cursor = cursor;
                mem::swap(&mut partial.spans, &mut args.spans);
            }
            None if matches!(cursor.awaiting, Awaiting::FirstByte) => {}
            None => self.partial = Some(Box::new(Partial { cursor, spans: mem::take(&mut args.spans) })),
        }
        args.clear();
    }
}

impl Cursor {
    const START: Self = Self { awaiting: Awaiting::FirstByte, position: 0, searched: 0, remaining: 0 };

    #[inline]
    fn advance(&mut self, input: &[u8], args: &mut Args, limits: &Limits) -> Result<Step, ProtocolError> {
        if let Awaiting::FirstByte = self.awaiting {
            match short_header(input, b'*') {
                Some((count, header_bytes)) if count <= limits.granted_arguments => {
                    self.remaining = count;
                    self.position = header_bytes;
                    self.awaiting = Awaiting::BulkHeader;
                }
                _ => match input.first() {
                    None => return Ok(Step::Incomplete { needed: 1 }),
                    Some(b'*') => self.awaiting = Awaiting::CountEnd,
                    Some(_) => self.awaiting = Awaiting::InlineEnd,
                },
            }
        }
        match self.awaiting {
            Awaiting::InlineEnd => return self.inline(input, args, limits),
            Awaiting::CountEnd => {
                if let Some(step) = self.count(input, limits)? {
                    return Ok(step);
                }
            }
            _ => {}
        }
        self.arguments(input, args, limits)
    }

    /// Reads arguments until none remains.
    #[inline]
    fn arguments(&mut self, input: &[u8], args: &mut Args, limits: &Limits) -> Result<Step, ProtocolError> {
        while self.remaining > 0 {
            let bytes = match self.awaiting {
                Awaiting::Bulk { bytes } => bytes,
                _ => match short_header(input.get(self.position..).unwrap_or_default(), b'$') {
                    Some((bytes, header_bytes)) if bytes <= limits.granted_bulk_bytes => {
                        self.position += header_bytes;
                        self.searched = 0;
                        bytes
                    }
                    _ => match self.bulk_header(input, limits)? {
                        Some(bytes) => bytes,
                        None => return Ok(Step::Incomplete { needed: self.needed(input) }),
                    },
                },
            };
            let end = self.position + bytes + 2;
            if end > input.len() {
                self.awaiting = Awaiting::Bulk { bytes };
                return Ok(Step::Incomplete { needed: self.needed(input) });
            }
            args.spans.push(Span { start: self.position, bytes });
            self.position = end;
            self.awaiting = Awaiting::BulkHeader;
            self.remaining -= 1;
        }
        Ok(Step::Command { consumed: self.position })
    }

    /// A lower bound of what is missing for the line or argument that is being read.
    fn needed(&self, input: &[u8]) -> usize {
        match self.awaiting {
            Awaiting::Bulk { bytes } => (self.position + bytes + 2).saturating_sub(input.len()).max(1),
            Awaiting::BulkHeader => (self.position + ARGUMENT_BYTES_MIN).saturating_sub(input.len()).max(1),
            _ => 1,
        }
    }

    /// Reads the line with the number of arguments. `Some` when that already settles the step.
    #[cold]
    fn count(&mut self, input: &[u8], limits: &Limits) -> Result<Option<Step>, ProtocolError> {
        let Some((line, end)) = self.header_line(input, limits, ProtocolError::CountTooLong)? else {
            return Ok(Some(Step::Incomplete { needed: 1 }));
        };
        let count = parse_i64(line).ok_or(ProtocolError::InvalidCount)?;
        if count > limits.arguments_max as i64 {
            return Err(ProtocolError::InvalidCount);
        }
        if count > limits.granted_arguments as i64 {
            return Err(ProtocolError::UnauthenticatedCount);
        }
        self.position = end;
        self.searched = 0;
        self.remaining = usize::try_from(count).unwrap_or(0);
        self.awaiting = Awaiting::BulkHeader;
        Ok(None)
    }

    /// Reads the line with an argument's length, of whatever form and size.
    #[cold]
    fn bulk_header(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let Some((line, end)) = self.header_line(input, limits, ProtocolError::BulkLengthTooLong)? else {
            return Ok(None);
        };
        match input.get(self.position) {
            Some(b'$') => {}
            Some(&other) => return Err(ProtocolError::ExpectedBulk { found: other }),
            None => return Ok(None),
        }
        let bytes = parse_i64(line).and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = bytes.ok_or(ProtocolError::InvalidBulkLength)?;
        if bytes > limits.bulk_bytes_max {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if bytes > limits.granted_bulk_bytes {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        self.position = end;
        self.searched = 0;
        Ok(Some(bytes))
    }

    /// Finds the line that starts at the cursor: what stands between its first byte and its CR, and where the next
    /// line starts. As in Redis the byte after the CR must be there, and may be any.
    fn header_line<'a>(
        &mut self,
        input: &'a [u8],
        limits: &Limits,
        too_long: ProtocolError,
    ) -> Result<Option<(&'a [u8], usize)>, ProtocolError> {
        let line = input.get(self.position..).unwrap_or_default();
        let Some(end) = self.search(line, b'\r', limits, too_long)? else {
            return Ok(None);
        };
        if end + 2 > line.len() {
            self.searched = end;
            return Ok(None);
        }
        Ok(Some((line.get(1..end).unwrap_or_default(), self.position + end + 2)))
    }

    /// The offset in `line` of the byte that ends it, looking at no byte that an earlier call has seen.
    fn search(
        &mut self,
        line: &[u8],
        terminator: u8,
        limits: &Limits,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let allowed = line.get(..=limits.line_bytes_max);
        let fresh = allowed.unwrap_or(line).get(self.searched..).unwrap_or_default();
        if let Some(at) = memchr(terminator, fresh) {
            return Ok(Some(self.searched + at));
        }
        if allowed.is_some() {
            return Err(too_long);
        }
        self.searched = line.len();
        Ok(None)
    }

    #[cold]
    fn inline(&mut self, input: &[u8], args: &mut Args, limits: &Limits) -> Result<Step, ProtocolError> {
        match self.search(input, b'\n', limits, ProtocolError::InlineTooLong)? {
            None => Ok(Step::Incomplete { needed: 1 }),
            Some(end) => {
                inline::split(input.get(..end).unwrap_or_default(), args)?;
                Ok(Step::Command { consumed: end + 1 })
            }
        }
    }
}

/// The second argument of the command at the start of `input`, where most commands have their key, if it is there as a
/// whole. Only a guess, made in a few nanoseconds for those who want to fetch something ahead: nothing is checked.
#[inline]
pub fn peek_key(input: &[u8]) -> Option<&[u8]> {
    let (count, at) = short_header(input, b'*')?;
    if count < 2 {
        return None;
    }
    let (name_bytes, header_bytes) = short_header(input.get(at..)?, b'$')?;
    let at = at + header_bytes + name_bytes + 2;
    let (key_bytes, header_bytes) = short_header(input.get(at..)?, b'$')?;
    input.get(at + header_bytes..)?.get(..key_bytes)
}

/// Reads a header of one to three digits, which nearly all are: its number, and its bytes with CR LF.
///
/// `None` says only that the header is not of this form, or may not be whole.
#[inline(always)]
fn short_header(bytes: &[u8], kind: u8) -> Option<(usize, usize)> {
    // An argument takes six bytes at least, so where fewer are left the command isn't whole either.
    let &[first, d0, d1, d2, after, _] = bytes.first_chunk()?;
    if first != kind {
        return None;
    }
    let (n0, n1, n2) = (d0.wrapping_sub(b'0'), d1.wrapping_sub(b'0'), d2.wrapping_sub(b'0'));
    if n0 > 9 {
        None
    } else if d1 == b'\r' {
        Some((usize::from(n0), 4))
    } else if n0 == 0 || n1 > 9 {
        None
    } else if d2 == b'\r' {
        Some((usize::from(n0) * 10 + usize::from(n1), 5))
    } else if n2 > 9 || after != b'\r' {
        None
    } else {
        Some((usize::from(n0) * 100 + usize::from(n1) * 10 + usize::from(n2), 6))
    }
}

#[cfg(test)]
mod tests;

//! Inline commands: a line as a person types it, split by Redis's quoting rules.
//!
//! `"…"` knows `\n \r \t \b \a`, `\xHH` and any other character after a backslash as itself; `'…'` knows `\'` only. A
//! quote may open in the middle of an argument, and must be followed by a space or the line's end where it closes.

use super::args::{Args, Span};
use super::error::ProtocolError;

/// Splits a line without its LF into `args`.
pub(super) fn split(line: &[u8], args: &mut Args) -> Result<(), ProtocolError> {
    if memchr::memchr2(b'"', b'\'', line).is_some() {
        return split_quoted(line, args);
    }
    let mut at = 0;
    loop {
        at += count_while(&line[at..], is_space);
        if at == line.len() {
            return Ok(());
        }
        let bytes = count_while(&line[at..], |byte| !ends_argument(byte));
        args.spans.push(Span { start: at, bytes });
        at += bytes;
    }
}

fn split_quoted(line: &[u8], args: &mut Args) -> Result<(), ProtocolError> {
    let mut text = Vec::with_capacity(line.len());
    let mut rest = line;
    loop {
        rest = &rest[count_while(rest, is_space)..];
        if rest.is_empty() {
            break;
        }
        let start = text.len();
        rest = take_argument(rest, &mut text)?;
        args.spans.push(Span { start, bytes: text.len() - start });
    }
    args.unquoted = Some(text);
    Ok(())
}

/// Appends the argument that `rest` starts with to `text`, and returns what follows it.
fn take_argument<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    while let [byte, after @ ..] = rest {
        match byte {
            b'"' => return close(take_double_quoted(after, text)?),
            b'\'' => return close(take_single_quoted(after, text)?),
            &byte if ends_argument(byte) => break,
            &byte => text.push(byte),
        }
        rest = after;
    }
    Ok(rest)
}

/// Both kinds of quotes end the argument where they close.
fn close(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest {
        [] => Ok(rest),
        [byte, ..] if is_space(*byte) => Ok(rest),
        _ => Err(ProtocolError::UnbalancedQuotes),
    }
}

fn take_double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                text.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                text.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    &other => other,
                });
                after
            }
            [byte, after @ ..] => {
                text.push(*byte);
                after
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => {
                text.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                text.push(*byte);
                after
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
    }
}

fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).map_or(0, |value| value as u8)
}

fn count_while(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !wanted(byte)).unwrap_or(bytes.len())
}

/// What `isspace` in the C locale says.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Vertical tab and form feed are skipped between arguments and belong to one once it has begun, as in Redis.
fn ends_argument(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

//! Walks over all keys: `SCAN` step by step, `KEYS` at once. And what walks over elements have in common with them.

use annulus_protocol::Encoder;
use annulus_storage::Cursor;

use super::arguments::{integer, is};
use super::errors::{self, Failure, Outcome, fail};
use super::glob::{Case, glob_match};
use super::{Context, answer, unreachable_arity};

/// How many keys a call of `SCAN` visits if it does not say.
const COUNT_DEFAULT: usize = 10;
/// Keys that `KEYS` visits between two looks at how far it has come.
const KEYS_STEP: usize = 4096;
/// The group behind the last one.
const GROUPS_END: u16 = 256;

/// The slot group that a `SCAN` with this cursor goes on with: the router sends it to the shard that owns it. `None`, or a group beyond the
/// last, is for any shard to answer.
pub fn cursor_group(cursor: &[u8]) -> Option<u16> {
    parse_cursor(cursor).map(Cursor::group)
}

/// A cursor as C's `strtoul` reads it, which is how Redis does: a sign is allowed, nothing is zero, and a zero byte ends it.
fn parse_cursor(text: &[u8]) -> Option<Cursor> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() {
        return text.is_empty().then_some(Cursor(0));
    }
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    Some(Cursor(if negative { value.wrapping_neg() } else { value }))
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
pub(super) fn scan(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = scan_step(context, args);
    answer(context, outcome);
}

fn scan_step(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, cursor, options @ ..] = args else { return Err(unreachable_arity("scan")) };
    let cursor = parse_cursor(cursor).ok_or(fail(errors::INVALID_CURSOR))?;
    let filter = Filter::parse(options)?;
    if cursor.group() >= GROUPS_END {
        // Not one of ours. The walk ends here, as it does in Redis behind the last position.
        ElementScan::reply_empty(&mut context.out);
        return Ok(());
    }
    let Context { store, out, database, groups, .. } = context;
    let start = out.position();
    let mut found = 0;
    let next = store.scan(*database, groups.clone(), cursor, filter.count, &mut |entry| {
        if filter.wants(entry.key(), entry.kind()) {
            out.bulk(entry.key());
            found += 1;
        }
    });
    // The keys are written; their header and the cursor belong before them.
    out.insert_array_header(start, found);
    let next = if next.group() >= GROUPS_END { Cursor(0) } else { next };
    insert_cursor(out, start, next);
    Ok(())
}

fn insert_cursor(out: &mut Encoder<'_>, start: usize, cursor: Cursor) {
    let keys = out.written_since(start).to_vec();
    out.truncate(start);
    out.array_header(2);
    out.bulk(itoa::Buffer::new().format(cursor.0));
    out.raw(&keys);
}

/// Which keys a walk tells of.
struct Filter<'a> {
    /// `None`: all of them.
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    count: usize,
}

impl<'a> Filter<'a> {
    const ALL: Self = Self { pattern: None, kind: None, count: COUNT_DEFAULT };

    fn parse(args: &[&'a [u8]]) -> Result<Self, Failure> {
        let mut filter = Self::ALL;
        let mut rest = args;
        loop {
            rest = match rest {
                [] => return Ok(filter),
                [option, kind, tail @ ..] if is(option, "TYPE") => {
                    filter.kind = Some(kind);
                    tail
                }
                _ => filter.take(rest)?,
            };
        }
    }

    /// Takes `COUNT` or `MATCH` with its argument; returns what follows.
    fn take<'b>(&mut self, rest: &'b [&'a [u8]]) -> Result<&'b [&'a [u8]], Failure> {
        match rest {
            [option, count, tail @ ..] if is(option, "COUNT") => {
                self.count = usize::try_from(integer(count)?)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or(fail(errors::SYNTAX))?;
                Ok(tail)
            }
            [option, pattern, tail @ ..] if is(option, "MATCH") => {
                self.pattern = specific(pattern);
                Ok(tail)
            }
            _ => Err(fail(errors::SYNTAX)),
        }
    }

    fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob_match(pattern, name, Case::Sensitive))
    }

    fn wants(&self, key: &[u8], kind: &str) -> bool {
        self.kind.is_none_or(|wanted| is(wanted, kind)) && self.matches(key)
    }
}

/// A step of a walk over a collection's elements: `HSCAN` and its kin. The cursor is the collection's own; 0 is the start, and the end.
pub(super) struct ElementScan<'a> {
    filter: Filter<'a>,
    /// The option that leaves something out was given.
    pub(super) brief: bool,
}

impl<'a> ElementScan<'a> {
    /// Reads a cursor. In Redis this comes before the look at the key, and all options after it.
    pub(super) fn cursor(text: &[u8]) -> Result<u64, Failure> {
        parse_cursor(text).map(|cursor| cursor.0).ok_or(fail(errors::INVALID_CURSOR))
    }

    /// Reads `[MATCH pattern] [COUNT count]`, and the word for what may be left out, if there is one.
    pub(super) fn parse(options: &[&'a [u8]], brief: Option<&str>) -> Result<Self, Failure> {
        let mut scan = Self { filter: Filter::ALL, brief: false };
        let mut rest = options;
        loop {
            rest = match rest {
                [] => return Ok(scan),
                [option, tail @ ..] if brief.is_some_and(|word| is(option, word)) => {
                    scan.brief = true;
                    tail
                }
                _ => scan.filter.take(rest)?,
            };
        }
    }

    /// Whether it tells of an element with this name.
    pub(super) fn wants(&self, name: &[u8]) -> bool {
        self.filter.matches(name)
    }

    /// The reply where there is no collection.
    pub(super) fn reply_empty(out: &mut Encoder<'_>) {
        out.array_header(2);
        out.bulk("0");
        out.array_header(0);
    }

    /// Replies with what `walk` writes. It's told how many elements to visit; it returns where to go on, and how many values it has
    /// written.
    pub(super) fn reply(
        &self,
        out: &mut Encoder<'_>,
        walk: impl FnOnce(usize, &mut Encoder<'_>) -> (Option<u64>, usize),
    ) {
        let start = out.position();
        let (next, values) = walk(self.filter.count, out);
        out.insert_array_header(start, values);
        insert_cursor(out, start, Cursor(next.unwrap_or(0)));
    }
}

/// A pattern, if it is not simply "all".
fn specific(pattern: &[u8]) -> Option<&[u8]> {
    (pattern != b"*").then_some(pattern)
}

/// `KEYS pattern`: this shard's part
pub(super) fn keys(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, pattern] = args else { return answer(context, Err(unreachable_arity("keys"))) };
    let filter = Filter { pattern: specific(pattern), kind: None, count: KEYS_STEP };
    let Context { store, out, database, groups, .. } = context;
    let start = out.position();
    let mut found = 0;
    let mut cursor = Cursor::at_group(groups.start);
    while cursor.group() < groups.end {
        cursor = store.scan(*database, groups.clone(), cursor, filter.count, &mut |entry| {
            if filter.wants(entry.key(), entry.kind()) {
                out.bulk(entry.key());
                found += 1;
            }
        });
    }
    out.insert_array_header(start, found);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_strtoul_does() {
        assert_eq!(parse_cursor(b""), Some(Cursor(0)));
        assert_eq!(parse_cursor(b"007"), Some(Cursor(7)));
        assert_eq!(parse_cursor(b"+7"), Some(Cursor(7)));
        assert_eq!(parse_cursor(b"-1"), Some(Cursor(u64::MAX)));
        assert_eq!(parse_cursor(b"18446744073709551615"), Some(Cursor(u64::MAX)));
        assert_eq!(parse_cursor(b"\0\xff\r\n"), Some(Cursor(0)));
        assert_eq!(parse_cursor(b"7\0x"), Some(Cursor(7)));
        for wrong in [&b" 1"[..], b"1 ", b"x", b"18446744073709551616", b"-", b"+-1", b"-\0"] {
            assert_eq!(parse_cursor(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn cursors_name_their_group() {
        assert_eq!(cursor_group(Cursor::at_group(200).0.to_string().as_bytes()), Some(200));
        assert_eq!(cursor_group(b"0"), Some(0));
        assert_eq!(cursor_group(b"x"), None);
    }
}

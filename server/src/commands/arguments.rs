//! Arguments as numbers, times and options.

use std::ops::Range;

use annulus_protocol::parse_i64;
use annulus_storage::DatabaseId;

use super::errors::{self, Failure, fail};

/// An integer of 64 bits.
pub(super) fn integer(arg: &[u8]) -> Result<i64, Failure> {
    parse_i64(arg).ok_or(fail(errors::NOT_INTEGER))
}

/// A number of things that may be none; whatever is wrong has the same text.
pub(super) fn positive(arg: &[u8]) -> Result<usize, Failure> {
    let count = parse_i64(arg).and_then(|count| usize::try_from(count).ok());
    count.ok_or(fail("ERR value is out of range, must be positive"))
}

/// A number of things, at least one; whatever is wrong has the same text.
pub(super) fn one_or_more(arg: &[u8], unusable: &'static str) -> Result<usize, Failure> {
    let count = parse_i64(arg).and_then(|count| usize::try_from(count).ok());
    count.filter(|count| *count > 0).ok_or(fail(unusable))
}

/// Keys that are counted, and what follows them.
pub(super) struct Counted<'a> {
    pub(super) keys: &'a [&'a [u8]],
    pub(super) rest: &'a [&'a [u8]],
}

/// Reads `numkeys key [key …]`; `too_many` is said of more keys than there are arguments.
pub(super) fn counted<'a>(args: &'a [&'a [u8]], too_many: &'static str) -> Result<Counted<'a>, Failure> {
    let (count, rest) = args.split_first().ok_or(fail(errors::SYNTAX))?;
    let count = one_or_more(count, "ERR numkeys should be greater than 0")?;
    let (keys, rest) = rest.split_at_checked(count).ok_or(fail(too_many))?;
    Ok(Counted { keys, rest })
}

/// Reads `[COUNT count]`: how many a command pops of the first of its keys that has any.
pub(super) fn pop_count(options: &[&[u8]]) -> Result<usize, Failure> {
    match options {
        [] => Ok(1),
        [option, count, rest @ ..] if is(option, "COUNT") => {
            let count = one_or_more(count, "ERR count should be greater than 0")?;
            if rest.is_empty() { Ok(count) } else { Err(fail(errors::SYNTAX)) }
        }
        _ => Err(fail(errors::SYNTAX)),
    }
}

/// The part from `start` to `stop`, both included, of something with a length; negative positions count from its end, and what lies outside
/// is left out.
pub(super) fn span(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_start = |position: i64| if position < 0 { position.saturating_add(len) } else { position };
    let start = from_start(start).clamp(0, len);
    let end = from_start(stop).saturating_add(1).clamp(start, len);
    start as usize..end as usize
}

/// A database of this server, for commands that let an index beyond 32 bits be "out of range" of integers.
pub(super) fn database(arg: &[u8], databases: u16) -> Result<DatabaseId, Failure> {
    let index = i32::try_from(integer(arg)?).map_err(|_| {
        Failure::Owned(
            format!("ERR value is out of range, value must between {} and {}", i32::MIN, i32::MAX)
                .into_bytes(),
        )
    })?;
    existing_database(index, databases)
}

/// A database of this server, where every unusable index has the same text.
pub(super) fn database_or(arg: &[u8], databases: u16, unusable: &'static str) -> Result<DatabaseId, Failure> {
    let index = parse_i64(arg).and_then(|index| i32::try_from(index).ok()).ok_or(fail(unusable))?;
    existing_database(index, databases)
}

fn existing_database(index: i32, databases: u16) -> Result<DatabaseId, Failure> {
    match u16::try_from(index) {
        Ok(index) if index < databases => Ok(DatabaseId(index)),
        _ => Err(fail(errors::DATABASE_OUT_OF_RANGE)),
    }
}

/// True if an option is this word, in any case.
pub(super) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// The unit of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// What a time counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// The moment of the command.
    Now,
    /// The Unix epoch.
    Epoch,
}

/// The point in Unix time, ms, that `amount` means; `None` if it lies beyond 64 bits. It may be negative.
pub(super) fn point_in_time(amount: i64, unit: Unit, base: Base, now_ms: u64) -> Option<i64> {
    let milliseconds = match unit {
        Unit::Seconds => amount.checked_mul(1000)?,
        Unit::Milliseconds => amount,
    };
    match base {
        Base::Now => milliseconds.checked_add(i64::try_from(now_ms).ok()?),
        Base::Epoch => Some(milliseconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_lie_within() {
        assert_eq!(span(0, -1, 5), 0..5);
        assert_eq!(span(-2, 100, 5), 3..5);
        assert_eq!(span(1, 2, 5), 1..3);
        assert_eq!(span(-100, 0, 5), 0..1);
        assert!(span(3, 1, 5).is_empty());
        assert!(span(7, 9, 5).is_empty());
        assert!(span(-9, -7, 5).is_empty());
        assert!(span(i64::MIN, i64::MIN, 5).is_empty());
        assert_eq!(span(i64::MIN, i64::MAX, 5), 0..5);
        assert!(span(0, -1, 0).is_empty());
    }
}

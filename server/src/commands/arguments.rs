//! Arguments as numbers, times and options.

use annulus_protocol::parse_i64;
use annulus_storage::DatabaseId;

use super::errors::{self, Failure, fail};

/// An integer of 64 bits.
pub(super) fn integer(arg: &[u8]) -> Result<i64, Failure> {
    parse_i64(arg).ok_or(fail(errors::NOT_INTEGER))
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

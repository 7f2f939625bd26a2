//! Values as the type that a command works on.

use annulus_storage::{Entry, Key};

use super::Context;
use super::errors::{self, Failure, fail};

/// The string that an entry holds.
#[inline]
pub(super) fn string(entry: Entry<'_>) -> Result<&[u8], Failure> {
    entry.string().ok_or(fail(errors::WRONG_TYPE))
}

/// Looks at a key that a command reads, as one of these types; none if it's absent.
pub(super) fn read<'s, T>(
    context: &'s mut Context<'_>,
    key: Key<'_>,
    of_type: impl FnOnce(Entry<'s>) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    context.store.get(context.database, key).map(of_type).transpose()
}

/// Looks at a key that a command is about to change, as one of these types; none if it's absent.
pub(super) fn read_to_change<'s, T>(
    context: &'s mut Context<'_>,
    key: Key<'_>,
    of_type: impl FnOnce(Entry<'s>) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    context.store.get_for_update(context.database, key).map(of_type).transpose()
}

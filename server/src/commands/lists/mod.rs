//! Commands on lists.

pub(super) mod blocking;
pub(super) mod change;
pub(super) mod ends;
pub(super) mod moves;
pub(super) mod read;

use annulus_protocol::Encoder;
use annulus_storage::value::{List, Side};
use annulus_storage::{Entry, Key};

use super::arguments::is;
use super::errors::{self, Failure, fail};
use super::{Context, values};

/// The list that an entry holds.
fn list(entry: Entry<'_>) -> Result<&List, Failure> {
    entry.list().ok_or(fail(errors::WRONG_TYPE))
}

/// The length of a list that a command is about to change; none if there is no such key.
fn length_for_update(context: &mut Context<'_>, key: Key<'_>) -> Result<Option<usize>, Failure> {
    Ok(values::read_to_change(context, key, list)?.map(List::len))
}

/// `LEFT` or `RIGHT`.
fn side(word: &[u8]) -> Result<Side, Failure> {
    match () {
        () if is(word, "LEFT") => Ok(Side::Left),
        () if is(word, "RIGHT") => Ok(Side::Right),
        () => Err(fail(errors::SYNTAX)),
    }
}

const fn word(side: Side) -> &'static str {
    match side {
        Side::Left => "LEFT",
        Side::Right => "RIGHT",
    }
}

/// Writes the elements nearest to an end, the outermost first, as an array.
fn reply_with_end(list: &List, side: Side, count: usize, out: &mut Encoder<'_>) {
    out.array_header(count);
    match side {
        Side::Left => list.iter_from(0).take(count).for_each(|element| out.bulk(element)),
        Side::Right => list.iter_back().take(count).for_each(|element| out.bulk(element)),
    }
}

/// The index of the element at an end. A list is never empty.
fn end_index(list: &List, side: Side) -> usize {
    match side {
        Side::Left => 0,
        Side::Right => list.len().saturating_sub(1),
    }
}

//! How far a group has come: entries that it has read since the first one ever, and those that it has yet to read. Deletions in
//! the middle make both unknown, until the group stands where they can be told again.

use annulus_storage::value::Stream;
use annulus_storage::value::stream::{Group, StreamId};

/// Whether an entry from an id on has been deleted.
fn is_deleted_from(stream: &Stream, id: StreamId) -> bool {
    let deleted = stream.max_deleted();
    !stream.is_empty() && deleted != StreamId::MIN && stream.first_id() <= deleted && id <= deleted
}

/// How many entries there were up to an id, since the first one ever, if that can be told.
fn count_to(stream: &Stream, id: StreamId) -> Option<u64> {
    let (added, len) = (stream.added(), stream.len() as u64);
    if added == 0 {
        return Some(0);
    }
    if len == 0 && id <= stream.last() || id == stream.last() {
        return Some(added);
    }
    if id > stream.last() {
        return None;
    }
    let first = stream.first_id();
    let deleted = stream.max_deleted();
    if deleted == StreamId::MIN || deleted < first {
        if id < first {
            return Some(added.wrapping_sub(len));
        }
        if id == first {
            return Some(added.wrapping_sub(len).wrapping_add(1));
        }
    }
    None
}

/// How many entries a group has read when it has read one more.
pub(super) fn read_with(stream: &Stream, read: Option<u64>, id: StreamId) -> Option<u64> {
    match read {
        Some(read) if !is_deleted_from(stream, id) => Some(read.wrapping_add(1)),
        _ if stream.added() > 0 => count_to(stream, id),
        _ => read,
    }
}

/// How many entries a group has yet to read, if that can be told.
pub(super) fn lag(stream: &Stream, group: &Group) -> Option<i64> {
    if stream.added() == 0 {
        return Some(0);
    }
    let read = group.read().filter(|_| !is_deleted_from(stream, group.last()));
    let read = read.or_else(|| count_to(stream, group.last()))?;
    Some(stream.added().wrapping_sub(read) as i64)
}

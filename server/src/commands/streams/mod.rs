//! Commands on streams.
//!
//! A command looks first, decides, replies, and then makes its changes: all of them say the state that they lead to.

pub(super) mod add;
pub(super) mod claim;
pub(super) mod groups;
mod ids;
pub(super) mod info;
pub(super) mod pending;
mod progress;
pub(super) mod range;
pub(super) mod read;
pub(super) mod trim;

use annulus_protocol::Encoder;
use annulus_storage::value::Stream;
use annulus_storage::value::stream::{Group, StreamEntry, StreamId};
use annulus_storage::{Entry, Key};

use super::errors::{self, Failure, fail};
use super::{Context, values};

/// The stream that an entry holds.
fn stream(entry: Entry<'_>) -> Result<&Stream, Failure> {
    entry.stream().ok_or(fail(errors::WRONG_TYPE))
}

/// The stream at a key that a command reads.
fn read<'s>(context: &'s mut Context<'_>, key: Key<'_>) -> Result<Option<&'s Stream>, Failure> {
    values::read(context, key, stream)
}

/// The stream at a key that a command is about to change.
fn read_to_change<'s>(context: &'s mut Context<'_>, key: Key<'_>) -> Result<Option<&'s Stream>, Failure> {
    values::read_to_change(context, key, stream)
}

/// The group of a stream; an error if there is no stream, or no such group.
fn group_of<'s>(stream: Option<&'s Stream>, key: &[u8], name: &[u8]) -> Result<&'s Group, Failure> {
    let group = stream.and_then(|stream| stream.group(name));
    group.ok_or_else(|| no_group(&[b"No such key '", key, b"' or consumer group '", name, b"'"]))
}

/// There is no such group; the parts of the text are up to a zero byte, as in Redis.
fn no_group(parts: &[&[u8]]) -> Failure {
    let mut text = b"NOGROUP ".to_vec();
    for part in parts {
        text.extend(part.iter().take_while(|byte| **byte != 0));
    }
    Failure::Owned(text)
}

/// Writes an id.
fn write_id(out: &mut Encoder<'_>, id: StreamId) {
    out.bulk(ids::IdText::new(id));
}

/// Writes an entry: its id, and its fields and values in turn.
fn write_entry(out: &mut Encoder<'_>, entry: &StreamEntry<'_>) {
    out.array_header(2);
    write_id(out, entry.id);
    out.array_header(2 * entry.len());
    for (name, value) in entry.fields() {
        out.bulk(name);
        out.bulk(value);
    }
}

/// Writes as many of these entries as there are, up to a number.
fn write_entries<'s>(out: &mut Encoder<'_>, entries: impl Iterator<Item = StreamEntry<'s>>, count: usize) {
    let start = out.position();
    let mut written = 0;
    for entry in entries.take(count) {
        write_entry(out, &entry);
        written += 1;
    }
    out.insert_array_header(start, written);
}

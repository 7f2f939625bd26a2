//! Streams as objects.
//!
//! ```text
//! stream     number of blocks; for each: first id (two u64, big endian, as a string), listpack (as a string)
//!            number of entries, last id; from type 19 on: first id, greatest id deleted, entries ever added
//!            number of groups, groups
//! group      name, last id; from type 19 on: entries read
//!            number of pending entries; for each: id (two u64, big endian), delivered (u64, ms), count
//!            number of consumers; for each: name, last seen (u64, ms), from type 21 on last active (u64, ms),
//!            number of entries pending at it, their ids
//! listpack   entries, deleted entries, number of names, names, 0; then the entries
//! entry      flags, ms and seq above the first id's, number of fields and names by turns with values; or values only
//!            number of elements before this one
//! ```

use std::collections::BTreeMap;

use super::bytes::{Reader, put_number, put_string};
use super::load::Out;
use super::packed::{Listpack, ListpackWriter, Raw};
use super::{Fault, kind};
use crate::Kind;
use crate::value::Stream;
use crate::value::codec::put_element;
use crate::value::stream::{Delivery, Group, Items, StreamEntry, StreamId};

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Entries of a block, and bytes beyond which it ends, as Redis has them.
const BLOCK_ENTRIES: usize = 100;
const BLOCK_BYTES: usize = 4096;
/// In place of entries read, when that is not known: -1.
const UNKNOWN: u64 = u64::MAX;

fn id(bytes: [u8; 16]) -> StreamId {
    let bits = u128::from_be_bytes(bytes);
    StreamId::new((bits >> 64) as u64, bits as u64)
}

fn id_bytes(id: StreamId) -> [u8; 16] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

fn take_id(reader: &mut Reader<'_>) -> Result<StreamId, Fault> {
    Ok(StreamId::new(reader.number()?, reader.number()?))
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_number(out, id.ms);
    put_number(out, id.seq);
}

/// Reads a stream of one of the three types.
pub(super) fn load(kind: u8, reader: &mut Reader<'_>) -> Result<Vec<u8>, Fault> {
    let mut entries = Vec::new();
    let (mut len, mut last_entry) = (0, None);
    for _ in 0..reader.count()? {
        let base = reader.string()?;
        let base = id(base.as_ref().try_into().map_err(|_| Fault::Object)?);
        let block = reader.string()?;
        len += load_block(base, &block, &mut last_entry, &mut entries)?;
    }
    let claimed = reader.number()?;
    let last = take_id(reader)?;
    if claimed != len || last_entry.is_some_and(|id| id > last) {
        return Err(Fault::Object);
    }
    let (added, max_deleted) = if kind == kind::STREAM {
        (len, StreamId::MIN)
    } else {
        take_id(reader)?;
        let max_deleted = take_id(reader)?;
        (reader.number()?, max_deleted)
    };
    let mut out = Out::new(Kind::Stream);
    Items(&mut out.bytes).stream(last, added, max_deleted);
    out.bytes.append(&mut entries);
    for _ in 0..reader.count()? {
        load_group(kind, reader, &mut out.bytes)?;
    }
    Ok(out.bytes)
}

/// Reads a block; returns the number of its entries.
fn load_block(
    base: StreamId,
    block: &[u8],
    last: &mut Option<StreamId>,
    out: &mut Vec<u8>,
) -> Result<u64, Fault> {
    let mut elements = Listpack::new(block)?;
    let (count, deleted) = (elements.need_integer()?, elements.need_integer()?);
    let names = elements.need_integer()?;
    let names: Vec<_> = (0..names).map(|_| elements.need().map(Raw::element)).collect::<Result<_, _>>()?;
    elements.need()?;
    let mut found = 0;
    let total = count.checked_add(deleted).ok_or(Fault::Object)?;
    for _ in 0..total {
        let flags = elements.need_integer()?;
        let (ms, seq) = (elements.need_integer()?, elements.need_integer()?);
        let id = StreamId::new(base.ms.wrapping_add(ms as u64), base.seq.wrapping_add(seq as u64));
        let own = flags & SAME_FIELDS == 0;
        let fields = if own { elements.need_integer()? } else { names.len() as i64 };
        let mut encoded = Vec::new();
        for index in 0..fields {
            match names.get(index as usize).filter(|_| !own) {
                Some(name) => put_element(&mut encoded, name),
                None => put_element(&mut encoded, &elements.need()?.element()),
            }
            put_element(&mut encoded, &elements.need()?.element());
        }
        elements.need()?;
        if flags & DELETED != 0 {
            continue;
        }
        if fields <= 0 || last.is_some_and(|last| id <= last) || id < base {
            return Err(Fault::Object);
        }
        *last = Some(id);
        found += 1;
        Items(out).entry(id, fields as u64, &encoded);
    }
    if elements.next()?.is_some() || found != count { Err(Fault::Object) } else { Ok(found as u64) }
}

fn load_group(kind: u8, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let name = reader.string()?;
    let last = take_id(reader)?;
    let read = if kind == kind::STREAM { UNKNOWN } else { reader.number()? };
    let mut pending = BTreeMap::new();
    for _ in 0..reader.count()? {
        let id = id(reader.array()?);
        let delivered_ms = reader.u64()?;
        let count = u32::try_from(reader.number()?).unwrap_or(u32::MAX);
        if pending.insert(id, Delivery { id, delivered_ms, count }).is_some() {
            return Err(Fault::Object);
        }
    }
    Items(out).group(&name, last, (read != UNKNOWN).then_some(read));
    for _ in 0..reader.count()? {
        let consumer = reader.string()?;
        let seen_ms = reader.u64()?;
        if kind == kind::STREAM_3 {
            reader.u64()?;
        }
        Items(out).consumer(&consumer, seen_ms);
        for _ in 0..reader.count()? {
            let delivery = pending.remove(&id(reader.array()?)).ok_or(Fault::Object)?;
            Items(out).pending(&consumer, delivery);
        }
    }
    // Each entry is pending at a consumer.
    if pending.is_empty() { Ok(()) } else { Err(Fault::Object) }
}

/// Writes a stream as Redis 7.0 does.
pub(super) fn save(stream: &Stream, out: &mut Vec<u8>) {
    out.push(kind::STREAM_2);
    let mut blocks = Vec::new();
    let mut count = 0;
    let mut block: Option<BlockWriter> = None;
    for entry in stream.range(StreamId::MIN, StreamId::MAX) {
        if block.as_ref().is_some_and(BlockWriter::is_full)
            && let Some(block) = block.take()
        {
            block.finish(&mut blocks);
        }
        let block = block.get_or_insert_with(|| {
            count += 1;
            BlockWriter::new(&entry)
        });
        block.add(&entry);
    }
    if let Some(block) = block {
        block.finish(&mut blocks);
    }
    put_number(out, count);
    out.append(&mut blocks);
    put_number(out, stream.len() as u64);
    for id in [stream.last(), stream.first_id(), stream.max_deleted()] {
        put_id(out, id);
    }
    put_number(out, stream.added());
    put_number(out, stream.groups().len() as u64);
    stream.groups().for_each(|(name, group)| save_group(name, group, out));
}

/// A block that is being written: its head says how many entries there are, so they wait for it.
struct BlockWriter {
    base: StreamId,
    names: Vec<Vec<u8>>,
    entries: Vec<OwnedEntry>,
    bytes: usize,
}

struct OwnedEntry {
    id: StreamId,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl BlockWriter {
    fn new(first: &StreamEntry<'_>) -> Self {
        let names = first.fields().map(|(name, _)| name.to_vec()).collect();
        Self { base: first.id, names, entries: Vec::new(), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= BLOCK_ENTRIES || self.bytes >= BLOCK_BYTES
    }

    fn add(&mut self, entry: &StreamEntry<'_>) {
        let fields: Vec<_> = entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        self.bytes += fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.entries.push(OwnedEntry { id: entry.id, fields });
    }

    fn finish(&self, out: &mut Vec<u8>) {
        let mut listpack = ListpackWriter::new();
        listpack.integer(self.entries.len() as i64);
        listpack.integer(0);
        listpack.integer(self.names.len() as i64);
        self.names.iter().for_each(|name| listpack.element(name));
        listpack.integer(0);
        for entry in &self.entries {
            let same = entry.fields.iter().map(|(name, _)| name).eq(&self.names);
            listpack.integer(if same { SAME_FIELDS } else { 0 });
            listpack.integer(entry.id.ms.wrapping_sub(self.base.ms) as i64);
            listpack.integer(entry.id.seq.wrapping_sub(self.base.seq) as i64);
            if !same {
                listpack.integer(entry.fields.len() as i64);
            }
            for (name, value) in &entry.fields {
                if !same {
                    listpack.element(name);
                }
                listpack.element(value);
            }
            let fields = entry.fields.len() as i64;
            listpack.integer(3 + if same { fields } else { 2 * fields + 1 });
        }
        let base = id_bytes(self.base);
        put_number(out, base.len() as u64);
        out.extend(base);
        let listpack = listpack.finish();
        put_number(out, listpack.len() as u64);
        out.extend(listpack);
    }
}

fn save_group(name: &[u8], group: &Group, out: &mut Vec<u8>) {
    put_string(out, name);
    put_id(out, group.last());
    put_number(out, group.read().unwrap_or(UNKNOWN));
    put_number(out, group.pending_len() as u64);
    for (delivery, _) in group.pending_from(StreamId::MIN) {
        out.extend(id_bytes(delivery.id));
        out.extend(delivery.delivered_ms.to_le_bytes());
        put_number(out, delivery.count.into());
    }
    put_number(out, group.consumers().len() as u64);
    for consumer in group.consumers() {
        put_string(out, consumer.name());
        out.extend(consumer.seen_ms().to_le_bytes());
        put_number(out, consumer.pending_len() as u64);
        consumer.pending_from(StreamId::MIN).for_each(|id| out.extend(id_bytes(id)));
    }
}

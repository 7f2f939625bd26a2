//! The walk over all keys that makes a checkpoint's image. `crate::checkpoint` says what it is good for.

use super::libraries::LIBRARIES;
use super::{Key, Store};
use crate::checkpoint::walk::{Next, Rest, Walk};
use crate::checkpoint::{Place, Slice, WalkOptions};
use crate::database::group_of;
use crate::log::record::push_record;
use crate::table::{GROUP_SLOTS, Hasher};
use crate::value::Collection;
use crate::value::codec::{self, Place as ValuePlace};
use crate::{Change, DatabaseId, Effect, EffectSink, Entry, Kind, Log, Lsn, Value};

/// What an image begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageStart {
    /// No slice lacks an effect up to this one.
    pub from: Lsn,
    /// What orders the keys.
    pub hash_seed: u64,
    /// See [`crate::checkpoint::format::CheckpointHeader`].
    pub hash_check: u64,
    /// Unix time, ms.
    pub unix_ms: u64,
}

impl<F: Clone> Store<Log<F>> {
    /// Whether a walk may begin now: not while a transaction that is not in the log has changed whole databases.
    pub fn may_begin_image(&self) -> bool {
        self.image.is_none() && !self.wrote && !self.sink.holds_databases()
    }

    /// Begins a walk over all keys. Not within a command.
    ///
    /// # Panics
    /// When [`Store::may_begin_image`] says no.
    pub fn begin_image(&mut self, options: WalkOptions) -> ImageStart {
        assert!(self.may_begin_image(), "a walk begins beside another, or within a command");
        self.image = Some(Box::new(Walk::new(options, self.databases.len())));
        ImageStart {
            from: self.sink.sink.last_lsn(),
            hash_seed: self.hasher.seed(),
            hash_check: self.hasher.check(),
            unix_ms: self.now_ms,
        }
    }

    /// Takes the next slice: appends its records to `out`. Not within a command. Nothing when the next keys have been changed by a
    /// transaction that is not in the log yet: then it is to be called again later. After the slice that says that it is the last
    /// the walk is over.
    ///
    /// # Panics
    /// When no walk is under way, or a command is.
    pub fn take_slice(&mut self, out: &mut Vec<u8>) -> Option<Slice> {
        assert!(!self.wrote, "an image within a command");
        let mut walk = self.image.take().expect("a walk is under way");
        if let Some((database, as_of)) = walk.flushed.pop_front() {
            // What the image has of that database so far is gone; what the walk will still meet of it came later.
            push_record(out, &Effect::FlushDatabase { database: DatabaseId(database) });
            let until = walk.place;
            self.image = Some(walk);
            return Some(Slice { as_of, until, records: 1, done: false });
        }
        self.gates.taints.clear_group();
        let (mut records, start, mut steps) = (0, out.len(), 0);
        while steps < walk.options.steps_max
            && out.len() - start < walk.options.slice_bytes
            && !walk.is_over()
        {
            let taken = if walk.takes_libraries {
                self.walk_library(&mut walk, out)
            } else if walk.rests.is_empty() {
                self.walk_bucket(&mut walk, out)
            } else {
                self.walk_rest(&mut walk, out)
            };
            let Some(taken) = taken else { break };
            records += taken;
            steps += 1;
        }
        self.gates.take_command();
        let done = walk.is_over();
        let slice = Slice { as_of: self.sink.sink.last_lsn(), until: walk.place, records, done };
        if !done {
            self.image = Some(walk);
        }
        (steps > 0 || done).then_some(slice)
    }

    /// Ends a walk before its time.
    pub fn abandon_image(&mut self) {
        self.image = None;
    }

    /// Whether a walk is under way.
    pub const fn has_image(&self) -> bool {
        self.image.is_some()
    }

    /// Whether the walk under way has to be abandoned: what it has taken is of no use.
    pub fn is_image_spoiled(&self) -> bool {
        self.image.as_ref().is_some_and(|walk| walk.spoiled)
    }

    /// Takes the next library. Replay repeats whatever happens to any library after the walk began, so it does no harm that they
    /// are taken at different times. Nothing if a transaction that is not in the log has changed some.
    fn walk_library(&self, walk: &mut Walk, out: &mut Vec<u8>) -> Option<u32> {
        if self.sink.holds(LIBRARIES.0, LIBRARIES.1) {
            return None;
        }
        let Some((name, body)) = self.libraries.after(walk.last_library.as_deref()) else {
            walk.takes_libraries = false;
            return Some(0);
        };
        push_record(out, &Effect::Library { name, body: Some(body) });
        walk.last_library = Some(name.to_vec());
        Some(1)
    }

    /// Takes what is at home in one bucket. Returns the number of records; nothing if that must wait.
    fn walk_bucket(&mut self, walk: &mut Walk, out: &mut Vec<u8>) -> Option<u32> {
        let place = walk.place;
        let current = DatabaseId(walk.names[usize::from(place.database)]);
        let (now_ms, may_expire) = (self.now_ms, self.sink.sink.can_accept(0).is_ok());
        let table = self.databases[current.index()].table(place.group as u8).filter(|table| table.len() > 0);
        let next = table.and_then(|table| table.position_after(place.position));
        let end = next.unwrap_or(u64::MAX);
        if self.sink.holds_any(current, |hash| (place.position..end).contains(&Hasher::position(hash))) {
            return None;
        }
        let mut records = 0;
        if let Some(table) = table {
            table.scan(&self.hasher, place.position, |entry, slot| {
                let slot = place.group * GROUP_SLOTS + slot;
                if entry.is_expired(now_ms) && may_expire {
                    walk.expired.push((slot, entry.key().to_vec()));
                    return;
                }
                let (pushed, rest) = push_entry(out, DatabaseId(place.database), slot, entry, &walk.options);
                records += pushed;
                walk.rests.extend(rest);
            });
        }
        walk.place = match next {
            Some(position) => Place { position, ..place },
            None => place.next_table(walk.names.len()),
        };
        for (slot, key) in walk.expired.drain(..) {
            // Looking at it removes it, and logs that.
            self.find(current, Key { bytes: &key, slot });
            self.end_group();
        }
        Some(records)
    }

    /// Takes the next piece of a large value; nothing if that must wait. It need not be the value of which the first pieces were: if
    /// it's another one, an effect that the slice with the first piece does not contain has put it there, and replay puts it there again.
    fn walk_rest(&mut self, walk: &mut Walk, out: &mut Vec<u8>) -> Option<u32> {
        let Some(rest) = walk.rests.front_mut() else { return Some(0) };
        if let Next::Snapshot(list, cursor) = &mut rest.next {
            let (mut elements, budget) = (Vec::new(), walk.options.piece_bytes);
            let next = codec::encode_piece(Value::List(list), cursor, budget, &mut elements);
            let over = next.is_none();
            *cursor = next.unwrap_or(ValuePlace::START);
            let (database, slot, change) =
                (DatabaseId(rest.database), rest.slot, more(Kind::List, &elements));
            push_record(out, &Effect::Change { database, slot, key: &rest.key, change });
            if over && let Some(Rest { next: Next::Snapshot(list, _), .. }) = walk.rests.pop_front() {
                self.garbage_values.push(Collection::List(list));
            }
            return Some(1);
        }
        let current = DatabaseId(walk.names[usize::from(rest.database)]);
        let hash = self.hasher.hash(&rest.key);
        if self.sink.holds(current, hash) {
            return None;
        }
        let table = self.databases[current.index()].table(group_of(rest.slot));
        let found = table.and_then(|table| Some(table.entry(table.find(hash, rest.slot, &rest.key)?)));
        let mut elements = Vec::new();
        let (effect, next) = match (&rest.next, found.map(|entry| entry.value())) {
            (Next::Bytes(offset), Some(Value::String(value))) => {
                let end = value.len().min(offset + walk.options.piece_bytes);
                let bytes = value.get(*offset..end).unwrap_or_default();
                let (database, slot, offset) = (DatabaseId(rest.database), rest.slot, *offset as u64);
                let effect = Effect::SetRange { database, slot, key: &rest.key, offset, bytes };
                ((!bytes.is_empty()).then_some(effect), Some(Next::Bytes(end)))
            }
            (Next::Elements(kind, cursor), Some(value)) if value.kind() == *kind => {
                let next = codec::encode_piece(value, cursor, walk.options.piece_bytes, &mut elements);
                let (database, slot) = (DatabaseId(rest.database), rest.slot);
                let effect =
                    Effect::Change { database, slot, key: &rest.key, change: more(*kind, &elements) };
                ((!elements.is_empty()).then_some(effect), next.map(|cursor| Next::Elements(*kind, cursor)))
            }
            _ => (None, None),
        };
        let records = u32::from(effect.is_some());
        if let Some(effect) = effect {
            push_record(out, &effect);
        }
        match next.filter(|next| records > 0 || !matches!(next, Next::Bytes(_))) {
            Some(next) => rest.next = next,
            None => drop(walk.rests.pop_front()),
        }
        Some(records)
    }
}

/// Writes an entry, or of a large one the beginning. Returns the number of records, and what remains to be written.
fn push_entry(
    out: &mut Vec<u8>,
    database: DatabaseId,
    slot: u16,
    entry: Entry<'_>,
    options: &WalkOptions,
) -> (u32, Option<Rest>) {
    let (key, expire_at_ms) = (entry.key(), entry.expire_at_ms());
    let rest = |next| Some(Rest { database: database.0, slot, key: key.to_vec(), next });
    let Value::String(value) = entry.value() else {
        let (records, next) = push_collection(out, database, slot, entry, options);
        return (records, next.and_then(rest));
    };
    let whole = value.len() <= options.whole_bytes_max;
    let value = if whole { value } else { value.get(..options.whole_bytes_max).unwrap_or_default() };
    push_record(out, &Effect::Set { database, slot, key, value, expire_at_ms });
    (1, if whole { None } else { rest(Next::Bytes(value.len())) })
}

fn push_collection(
    out: &mut Vec<u8>,
    database: DatabaseId,
    slot: u16,
    entry: Entry<'_>,
    options: &WalkOptions,
) -> (u32, Option<Next>) {
    let (key, value) = (entry.key(), entry.value());
    let kind = value.kind();
    let mut elements = Vec::new();
    let next = codec::encode_piece(value, &ValuePlace::START, options.whole_bytes_max, &mut elements);
    let change = Change::Load { kind, first: true, elements: &elements };
    push_record(out, &Effect::Change { database, slot, key, change });
    if let Some(at) = entry.expire_at_ms() {
        push_record(out, &Effect::Expire { database, slot, key, expire_at_ms: Some(at) });
    }
    let records = 1 + u32::from(entry.expire_at_ms().is_some());
    let next = next.map(|cursor| match value {
        Value::List(list) => Next::Snapshot(list.clone(), cursor),
        _ => Next::Elements(kind, cursor),
    });
    (records, next)
}

/// Further elements of a collection.
const fn more(kind: Kind, elements: &[u8]) -> Change<'_> {
    Change::Load { kind, first: false, elements }
}

impl<S: EffectSink> Store<S> {
    pub(super) fn note_flush(&mut self, database: DatabaseId, lsn: Lsn) {
        if let Some(walk) = &mut self.image {
            walk.on_flush(database, lsn);
        }
    }

    pub(super) fn note_swap(&mut self, a: DatabaseId, b: DatabaseId, lsn: Lsn) {
        if let Some(walk) = &mut self.image {
            walk.on_swap(a, b, lsn);
        }
    }
}

//! The keyspace of one shard, and the only way to it.
//!
//! Owns the databases, the sink that effects go to (the log), the gates, and the index of expiries.
//!
//! - A change of data appends the effect that describes it absolutely, in the same call; [`Store::apply`], which recovery
//!   uses, is the one exception, and takes effects instead of making them.
//! - Looking at data, present or absent, folds its pending LSN into the running command's gate.
//! - An expired key reads as absent everywhere. Whoever comes across it removes it, and logs that.
//! - Time stands still between calls of [`Store::set_now`].
//! - No call but those on values as large as themselves moves or frees more than a few thousand entries.
//!
//! A crash leaves of this nothing; the sink's owner knows what of the effects is durable.

mod awaiting;
mod copy;
mod evict;
mod foresight;
mod image;
mod libraries;
mod look;
mod members;
mod replay;
mod upkeep;
mod watching;

use std::ops::Range;
use std::sync::Arc;

pub use foresight::Foresight;
pub use image::ImageStart;
pub use look::{Cursor, Prefetched};

use crate::awaited::AwaitedKeys;
use crate::checkpoint::walk::Walk;
use crate::coverage::{Branch, reached};
use crate::database::{Database, GROUPS, group_of};
use crate::deferred::Outlet;
use crate::entry::{OwnedEntry, clock};
use crate::evict::Pool;
use crate::expiry::{ExpiryIndex, Hint};
use crate::gate::Gates;
use crate::libraries::Libraries;
use crate::schedule::Schedule;
use crate::table::{GROUP_SLOTS, Hasher, Position, Table};
use crate::touched::{Happened, Touched};
use crate::value::codec::{self, Encoded};
use crate::value::{Collection, Shaping};
use crate::watch::Watches;
use crate::{Access, Applied, Change, DatabaseId, Effect, EffectSink, Entry, Kind, Lsn, ValueLimits};

/// Bytes of the elements of one effect that loads a collection.
const PIECE_BYTES: usize = 64 << 10;

/// Slot groups, as a range of their numbers, `0..256`.
pub type GroupRange = Range<u16>;

/// What a store is made with.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// How many databases there are, at least one.
    pub databases: u16,
    /// Random: keys' places must not be foreseeable from outside.
    pub hash_seed: u64,
}

/// A key as commands name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The key.
    pub bytes: &'a [u8],
    /// Its hash slot, `0..16384`, computed by the caller.
    pub slot: u16,
}

/// What becomes of a key's expiry when its value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It stays as it is.
    Keep,
    /// The key does not expire.
    None,
    /// Absolute expiry, ms of Unix time.
    At(u64),
}

/// Counted since the store was made or [`Store::reset_stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Keys removed because their time had passed.
    pub expired_keys: u64,
    /// Members of collections, fields of hashes among them, removed because their time had passed.
    pub expired_members: u64,
    /// Keys removed because memory was short.
    pub evicted_keys: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
}

/// See the module.
pub struct Store<S> {
    databases: Vec<Database>,
    hasher: Hasher,
    sink: Outlet<S>,
    gates: Gates,
    expiry: ExpiryIndex,
    /// No member of a collection expires before this, ms of Unix time.
    members_from_ms: u64,
    /// Flushed tables, freed by and by.
    garbage: Vec<Table>,
    /// What told when members of theirs expire, likewise.
    garbage_schedules: Vec<Schedule>,
    /// Large values of removed keys, freed by and by.
    garbage_values: Vec<Collection>,
    limits: ValueLimits,
    /// For members of large collections.
    member_hasher: Arc<Hasher>,
    now_ms: u64,
    access: Access,
    /// State of the generator that moves frequency counters.
    random: u64,
    /// The open group has effects: of the running command, or of none between commands.
    wrote: bool,
    /// The running command leaves the access clocks alone.
    forbears_touching: bool,
    stats: StoreStats,
    watches: Watches,
    awaited: AwaitedKeys,
    /// What commands have done to keys, if somebody wants to be told.
    touched: Touched,
    /// As configured; recovery may have made more to keep what a former configuration had.
    databases_configured: u16,
    /// The walk of a checkpoint under way.
    image: Option<Box<Walk>>,
    /// Keys that may be given up next.
    eviction_pool: Pool,
    libraries: Libraries,
}

/// An entry's place and what led to it.
#[derive(Clone, Copy)]
struct Found {
    group: u8,
    hash: u64,
    at: Option<Position>,
}

impl<S: EffectSink> Store<S> {
    /// An empty store.
    pub fn new(options: StoreOptions, sink: S) -> Store<S> {
        assert!(options.databases > 0, "a store has at least one database");
        let mut databases = Vec::new();
        databases.resize_with(usize::from(options.databases), Database::default);
        Store {
            databases,
            hasher: Hasher::new(options.hash_seed),
            sink: Outlet::new(sink),
            gates: Gates::new(options.databases),
            expiry: ExpiryIndex::default(),
            members_from_ms: members::NEVER,
            garbage: Vec::new(),
            garbage_schedules: Vec::new(),
            garbage_values: Vec::new(),
            limits: ValueLimits::default(),
            member_hasher: Arc::new(Hasher::new(options.hash_seed)),
            now_ms: 0,
            access: Access::default(),
            random: options.hash_seed | 1,
            wrote: false,
            forbears_touching: false,
            stats: StoreStats::default(),
            watches: Watches::default(),
            awaited: AwaitedKeys::default(),
            touched: Touched::default(),
            databases_configured: options.databases,
            image: None,
            eviction_pool: Pool::default(),
            libraries: Libraries::default(),
        }
    }

    /// Where effects go.
    pub fn sink(&self) -> &S {
        &self.sink.sink
    }

    /// The same data with another sink: recovery fills a store before there is a log to go on with.
    pub fn with_sink<T: EffectSink>(self, sink: T) -> Store<T> {
        assert!(!self.wrote, "the sink changes between commands");
        Store {
            databases: self.databases,
            hasher: self.hasher,
            sink: Outlet::new(sink),
            gates: self.gates,
            expiry: self.expiry,
            members_from_ms: self.members_from_ms,
            garbage: self.garbage,
            garbage_schedules: self.garbage_schedules,
            garbage_values: self.garbage_values,
            limits: self.limits,
            member_hasher: self.member_hasher,
            now_ms: self.now_ms,
            access: self.access,
            random: self.random,
            wrote: false,
            forbears_touching: false,
            stats: self.stats,
            watches: self.watches,
            awaited: self.awaited,
            touched: self.touched,
            databases_configured: self.databases_configured,
            image: None,
            eviction_pool: self.eviction_pool,
            libraries: self.libraries,
        }
    }

    /// Where effects go. Whoever appends there directly breaks the log.
    pub fn sink_mut(&mut self) -> &mut S {
        &mut self.sink.sink
    }

    /// The number of databases.
    pub fn databases(&self) -> u16 {
        self.databases_configured
    }

    /// Tells the time, ms of Unix time.
    pub fn set_now(&mut self, unix_ms: u64) {
        self.now_ms = unix_ms;
        self.sink.sink.set_time(unix_ms);
    }

    /// The time as last told, ms of Unix time.
    pub fn now(&self) -> u64 {
        self.now_ms
    }

    /// How accesses are counted from now on. Clocks written under the other way are read as nonsense until touched.
    pub fn set_access(&mut self, access: Access) {
        self.access = access;
    }

    /// How accesses are counted.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Up to what collections have their small forms from now on.
    pub fn set_limits(&mut self, limits: ValueLimits) {
        self.limits = limits;
    }

    /// Up to what collections have their small forms.
    pub fn limits(&self) -> &ValueLimits {
        &self.limits
    }

    /// Counters.
    pub fn stats(&self) -> StoreStats {
        self.stats
    }

    /// Sets the counters to zero.
    pub fn reset_stats(&mut self) {
        self.stats = StoreStats::default();
    }

    /// Tells that the log is durable up to `horizon`, so that reads need not ask about it any more. Optional: without it
    /// gates are right, and found a little slower.
    pub fn settle(&mut self, horizon: Lsn) {
        self.gates.settle(horizon);
        self.settle_taints();
    }

    /// A command begins: its gate is zero.
    pub fn begin_command(&mut self) {
        assert!(!self.wrote, "the command before has not ended its group of effects");
        self.gates.take_command();
        if self.gates.taints.is_active() {
            self.gates.taints.clear_group();
        }
        self.forbears_touching = false;
    }

    /// The running command does not count as an access to the keys it reads.
    pub fn forbear_touching(&mut self) {
        self.forbears_touching = true;
    }

    /// A command ends, and with it the group of its effects. Returns its gate: the LSN that must be durable before its
    /// reply may leave.
    pub fn end_command(&mut self) -> Lsn {
        self.end_group();
        self.gates.take_command()
    }

    fn end_group(&mut self) {
        if self.gates.taints.is_active() {
            self.end_tainted_group();
        }
        if self.wrote {
            self.sink.sink.end_group();
            self.wrote = false;
        }
    }

    /// Says whether somebody wants to be told what happens to keys.
    pub fn set_recording(&mut self, records: bool) {
        self.touched.set_recording(records);
    }

    /// Whether something happened since [`Store::take_touched`] that somebody wants to be told.
    #[inline]
    pub fn has_touched(&self) -> bool {
        self.touched.any()
    }

    /// Takes out what happened, in exchange for an empty list.
    pub fn take_touched(&mut self, empty: Touched) -> Touched {
        self.touched.take(empty)
    }

    /// Whether the running command has appended an effect.
    pub fn wrote(&self) -> bool {
        self.wrote
    }

    /// A command has found nothing to change, and is told of all the same, as Redis does.
    pub fn tell_in_vain(&mut self, database: DatabaseId, key: Key<'_>, kind: Kind) {
        self.touched.note(database, key.bytes, Happened::Changed { kind, grew: false, shrank: false });
    }

    // Reads.

    /// Reads a key: counts a hit or miss, and an access.
    #[inline]
    pub fn get(&mut self, database: DatabaseId, key: Key<'_>) -> Option<Entry<'_>> {
        let found = self.find(database, key);
        self.count(database, key, found.at);
        self.touch(database, found.group, found.at?);
        self.entry(database, &found)
    }

    /// Reads a key as [`Store::get`] does, but leaves no trace in its access clock.
    pub fn peek(&mut self, database: DatabaseId, key: Key<'_>) -> Option<Entry<'_>> {
        let found = self.find(database, key);
        self.count(database, key, found.at);
        self.entry(database, &found)
    }

    /// What a command is about to change: counts an access, but as Redis has it neither hit nor miss.
    pub fn get_for_update(&mut self, database: DatabaseId, key: Key<'_>) -> Option<Entry<'_>> {
        let found = self.find(database, key);
        self.touch(database, found.group, found.at?);
        self.entry(database, &found)
    }

    /// Looks once more at a key that the running command has read, so that its gate and its expiry have been seen to. Several can
    /// be looked at side by side.
    pub fn view(&self, database: DatabaseId, key: Key<'_>) -> Option<Entry<'_>> {
        let table = self.databases[database.index()].table(group_of(key.slot))?;
        let entry = table.entry(table.find(self.hasher.hash(key.bytes), key.slot, key.bytes)?);
        (!entry.is_expired(self.now_ms)).then_some(entry)
    }

    /// Reads several keys as [`Store::get`] does, to look at them side by side.
    pub fn get_all(&mut self, database: DatabaseId, keys: &[Key<'_>]) -> Vec<Option<Entry<'_>>> {
        for key in keys {
            self.get(database, *key);
        }
        // What had expired is gone; nothing moves any more.
        let store: &Self = self;
        let entry = |key: &Key<'_>| {
            let table = store.databases[database.index()].table(group_of(key.slot))?;
            let at = table.find(store.hasher.hash(key.bytes), key.slot, key.bytes)?;
            Some(table.entry(at))
        };
        keys.iter().map(entry).collect()
    }

    fn entry(&self, database: DatabaseId, found: &Found) -> Option<Entry<'_>> {
        Some(self.databases[database.index()].table(found.group)?.entry(found.at?))
    }

    fn count(&mut self, database: DatabaseId, key: Key<'_>, at: Option<Position>) {
        if at.is_some() {
            self.stats.hits += 1;
        } else {
            self.stats.misses += 1;
            self.touched.note(database, key.bytes, Happened::Missed);
        }
    }

    #[inline]
    fn touch(&mut self, database: DatabaseId, group: u8, at: Position) {
        if self.forbears_touching {
            return;
        }
        let random = &mut self.random;
        let table = self.databases[database.index()].table_mut(group);
        let old = table.entry(at).clock();
        let new = clock::touched(self.access, old, self.now_ms, || {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            *random
        });
        if new != old {
            table.set_clock(at, new);
        }
    }

    /// Finds a key that has not expired; one that has is removed.
    #[inline]
    fn find(&mut self, database: DatabaseId, key: Key<'_>) -> Found {
        let hash = self.hasher.hash(key.bytes);
        let group = group_of(key.slot);
        self.gates.fold_key(database, hash);
        let mut at = None;
        if let Some(table) = self.databases[database.index()].table(group) {
            at = table.find(hash, key.slot, key.bytes);
            if let Some(position) = at.filter(|&at| table.entry(at).is_expired(self.now_ms)) {
                reached(Branch::ExpiredMet);
                self.expire(database, group, hash, position);
                at = None;
            }
        }
        Found { group, hash, at }
    }

    #[cold]
    fn expire(&mut self, database: DatabaseId, group: u8, hash: u64, at: Position) {
        self.stats.expired_keys += 1;
        self.remove(database, group, hash, at, Happened::Expired);
    }

    /// Logs that a key is gone, and removes it.
    fn remove(&mut self, database: DatabaseId, group: u8, hash: u64, at: Position, why: Happened) {
        if self.sink.wants_undo(database, hash) {
            self.save(database, group, hash, Some(at), None);
        }
        let found = Found { group, hash, at: Some(at) };
        let before = self.members_before(database, &found);
        self.note_members(database, &found, before, None);
        let table = self.databases[database.index()].table_mut(group);
        let slot = u16::from(group) * GROUP_SLOTS + table.slot_in_group(at);
        let effect = Effect::Delete { database, slot, key: table.entry(at).key() };
        self.touched.note(database, table.entry(at).key(), why);
        let lsn = self.sink.append(effect);
        let mut entry = table.remove(&self.hasher, at);
        self.garbage_values.extend(entry.take_heavy());
        self.wrote = true;
        self.gates.note_key(database, hash, lsn);
        self.watches.on_change(database, hash);
        self.awaited.on_change(database, hash);
    }

    /// A change is about to be made that may have to be undone.
    #[cold]
    fn save(
        &mut self,
        database: DatabaseId,
        group: u8,
        hash: u64,
        at: Option<Position>,
        key: Option<Key<'_>>,
    ) {
        let table = self.databases[database.index()].table_mut(group);
        let entry = at.map(|at| table.entry(at));
        let key = match (key, entry, at) {
            (Some(key), ..) => key,
            (None, Some(entry), Some(at)) => {
                let slot = u16::from(group) * GROUP_SLOTS + table.slot_in_group(at);
                Key { bytes: entry.key(), slot }
            }
            (None, ..) => return,
        };
        self.sink.save(database, hash, key, entry);
    }

    #[inline]
    fn before_change(&mut self, database: DatabaseId, found: Found, key: Key<'_>) {
        if self.sink.wants_undo(database, found.hash) {
            self.save(database, found.group, found.hash, found.at, Some(key));
        }
    }

    fn log_key(&mut self, database: DatabaseId, hash: u64, effect: Effect<'_>) {
        let lsn = self.sink.append(effect);
        self.wrote = true;
        self.gates.note_key(database, hash, lsn);
        self.watches.on_change(database, hash);
        self.awaited.on_change(database, hash);
    }

    #[inline]
    fn note_written(&mut self, database: DatabaseId, key: Key<'_>, created: bool, what: Happened) {
        if self.touched.is_recording() {
            if created {
                self.touched.note(database, key.bytes, Happened::Created);
            }
            self.touched.note(database, key.bytes, what);
        }
    }

    // Changes.

    /// Makes the key hold this string, whatever it held.
    pub fn set(&mut self, database: DatabaseId, key: Key<'_>, value: &[u8], expiry: Expiry) {
        let hash = self.hasher.hash(key.bytes);
        let group = group_of(key.slot);
        let table = self.databases[database.index()].table_mut(group);
        let at = table.find(hash, key.slot, key.bytes);
        let mut kept = at.and_then(|at| table.entry(at).expire_at_ms());
        let mut created = at.is_none();
        if kept.is_some_and(|at| self.now_ms > at) {
            self.stats.expired_keys += 1;
            self.touched.note(database, key.bytes, Happened::Expired);
            created = true;
            kept = None;
        }
        let expire_at_ms = match expiry {
            Expiry::Keep => kept,
            Expiry::None => None,
            Expiry::At(at) => Some(at),
        };
        let slot = key.slot;
        self.before_change(database, Found { group, hash, at }, key);
        self.log_key(database, hash, Effect::Set { database, slot, key: key.bytes, value, expire_at_ms });
        let expires = matches!(expiry, Expiry::At(_));
        self.note_written(database, key, created, Happened::Written { expires });
        self.put(database, Found { group, hash, at }, key, value, expire_at_ms);
    }

    fn put(&mut self, database: DatabaseId, found: Found, key: Key<'_>, value: &[u8], expiry: Option<u64>) {
        let Found { group, hash, at } = found;
        let before = self.members_before(database, &found);
        self.note_members(database, &found, before, None);
        let clock = clock::created(self.access, self.now_ms);
        let table = self.databases[database.index()].table_mut(group);
        let old = at.and_then(|at| table.entry(at).expire_at_ms());
        let new_hint = needs_hint(old, expiry);
        let mark = self.expiry.mark();
        if let Some(at) = at {
            let garbage = &mut self.garbage_values;
            table.update(at, |entry| {
                garbage.extend(entry.take_heavy());
                entry.replace(value, expiry, clock);
                if new_hint.is_some() {
                    entry.set_mark(mark);
                }
            });
        } else {
            let mut entry = OwnedEntry::string(key.bytes, value, expiry, clock);
            entry.set_mark(mark);
            table.insert(&self.hasher, hash, key.slot, entry);
        }
        if let Some(expire_at_ms) = new_hint {
            self.expiry.place(Hint::new(group, hash), expire_at_ms, self.now_ms);
        }
    }

    /// Writes `bytes` at `offset` of the key's string, which is created or extended with zeros as needed. Returns its new
    /// length. Nothing happens when `bytes` are none.
    pub fn set_range(&mut self, database: DatabaseId, key: Key<'_>, offset: usize, bytes: &[u8]) -> usize {
        let found = self.find(database, key);
        if bytes.is_empty() {
            return self.entry(database, &found).and_then(|entry| entry.string()).map_or(0, <[u8]>::len);
        }
        let (slot, offset_logged) = (key.slot, offset as u64);
        let effect = Effect::SetRange { database, slot, key: key.bytes, offset: offset_logged, bytes };
        self.before_change(database, found, key);
        self.log_key(database, found.hash, effect);
        let created = found.at.is_none();
        let happened = Happened::Changed { kind: Kind::String, grew: created, shrank: false };
        self.note_written(database, key, created, happened);
        self.put_range(database, &found, key, offset, bytes)
    }

    fn put_range(
        &mut self,
        database: DatabaseId,
        found: &Found,
        key: Key<'_>,
        offset: usize,
        bytes: &[u8],
    ) -> usize {
        let clock = clock::created(self.access, self.now_ms);
        let table = self.databases[database.index()].table_mut(found.group);
        if let Some(at) = found.at {
            return table.update(at, |entry| entry.set_range(offset, bytes));
        }
        let mut entry = OwnedEntry::string(key.bytes, b"", None, clock);
        let len = entry.set_range(offset, bytes);
        table.insert(&self.hasher, found.hash, key.slot, entry);
        len
    }

    /// Changes the collection at a key, which is of the change's type or absent. Logs the change unless it did nothing.
    ///
    /// A change that adds creates the key, without an expiry; one that leaves a collection other than a stream empty removes it.
    pub fn change<'a>(
        &mut self,
        database: DatabaseId,
        key: Key<'_>,
        change: impl Into<Change<'a>>,
    ) -> Applied {
        let change = change.into();
        let found = self.find(database, key);
        let before = if self.touched.is_recording() { self.collection_len(database, &found) } else { None };
        self.before_change(database, found, key);
        let applied = self.put_change(database, found, key, &change);
        if applied.affected > 0 {
            let slot = key.slot;
            self.log_key(database, found.hash, Effect::Change { database, slot, key: key.bytes, change });
        }
        if self.touched.is_recording() {
            self.note_change(database, key, &change, before, applied);
        }
        applied
    }

    /// How many elements there are at a key; none: it is absent.
    fn collection_len(&self, database: DatabaseId, found: &Found) -> Option<usize> {
        self.entry(database, found).map(|entry| entry.collection().map_or(0, Collection::len))
    }

    #[cold]
    fn note_change(
        &mut self,
        database: DatabaseId,
        key: Key<'_>,
        change: &Change<'_>,
        before: Option<usize>,
        Applied { affected, len }: Applied,
    ) {
        if affected == 0 && !(before.is_some() && change.is_told_in_vain()) {
            return;
        }
        let there = self.find(database, key).at.is_some();
        if before.is_none() && there {
            self.touched.note(database, key.bytes, Happened::Created);
        }
        let grew = len > before.unwrap_or(0) || change.adds_consumer();
        let shrank = before.is_some_and(|before| len < before);
        self.touched.note(database, key.bytes, Happened::Changed { kind: change.kind(), grew, shrank });
        if before.is_some() && !there {
            self.touched.note(database, key.bytes, Happened::Deleted);
        }
    }

    fn put_change(
        &mut self,
        database: DatabaseId,
        found: Found,
        key: Key<'_>,
        change: &Change<'_>,
    ) -> Applied {
        let before = self.members_before(database, &found);
        let (applied, after) = self.put_change_of(database, found, key, change);
        self.note_members(database, &found, before, after);
        applied
    }

    /// Does that; tells too when the first of the members that are there then expires.
    fn put_change_of(
        &mut self,
        database: DatabaseId,
        found: Found,
        key: Key<'_>,
        change: &Change<'_>,
    ) -> (Applied, Option<u64>) {
        let Found { group, hash, mut at } = found;
        let table = self.databases[database.index()].table_mut(group);
        let shaping = &mut Shaping {
            limits: &self.limits,
            hasher: &self.member_hasher,
            garbage: &mut self.garbage_values,
        };
        if let (Change::Load { first: true, .. }, Some(old)) = (change, at) {
            shaping.garbage.extend(table.remove(&self.hasher, old).take_heavy());
            at = None;
        }
        let Some(at) = at else {
            if !change.creates() {
                return (Applied::default(), None);
            }
            let mut collection = Collection::new(change.kind());
            let affected = collection.apply(change, shaping);
            let (len, next) = (collection.len(), collection.next_expiry_ms());
            if !collection.is_gone() {
                self.put_collection(database, &Found { group, hash, at: None }, key, collection);
            }
            return (Applied { affected, len }, next);
        };
        let (applied, next, gone) = table.update(at, |entry| {
            let Some(collection) = entry.collection_mut() else {
                panic!("a change of a {} at a string", change.kind().name());
            };
            let affected = collection.apply(change, shaping);
            (Applied { affected, len: collection.len() }, collection.next_expiry_ms(), collection.is_gone())
        });
        if gone {
            shaping.garbage.extend(table.remove(&self.hasher, at).take_heavy());
        }
        (applied, next)
    }

    /// Adds a key.
    fn put_collection(&mut self, database: DatabaseId, found: &Found, key: Key<'_>, collection: Collection) {
        let clock = clock::created(self.access, self.now_ms);
        let mut entry = OwnedEntry::with_collection(key.bytes, collection, clock);
        entry.set_mark(self.expiry.mark());
        let table = self.databases[database.index()].table_mut(found.group);
        table.insert(&self.hasher, found.hash, key.slot, entry);
    }

    /// Says how a key was used, as far as uses are counted in that way: how long ago, or how often. Nothing is logged.
    pub fn set_use(
        &mut self,
        database: DatabaseId,
        key: Key<'_>,
        idle_seconds: Option<u64>,
        frequency: Option<u8>,
    ) {
        let found = self.find(database, key);
        let Some(at) = found.at else { return };
        if let Some(clock) = clock::used(self.access, self.now_ms, idle_seconds, frequency) {
            self.databases[database.index()].table_mut(found.group).set_clock(at, clock);
        }
    }

    /// A consumer of a stream's group shows itself. As with accesses to keys, nothing is logged.
    pub fn see_consumer(&mut self, database: DatabaseId, key: Key<'_>, group: &[u8], consumer: &[u8]) {
        let found = self.find(database, key);
        let Some(at) = found.at else { return };
        let now_ms = self.now_ms;
        self.databases[database.index()].table_mut(found.group).update(at, |entry| {
            if let Some(Collection::Stream(stream)) = entry.collection_mut() {
                stream.see(group, consumer, now_ms);
            }
        });
    }

    /// Makes the key hold this value, whatever it held, with this expiry (ms of Unix time) or none.
    pub fn put_value(
        &mut self,
        database: DatabaseId,
        key: Key<'_>,
        value: Encoded<'_>,
        expire_at_ms: Option<u64>,
    ) {
        let Encoded { kind, elements } = value;
        if kind == Kind::String {
            return self.set(database, key, elements, expire_at_ms.map_or(Expiry::None, Expiry::At));
        }
        let mut rest = elements;
        while !rest.is_empty() {
            let first = rest.len() == elements.len();
            let (elements, behind) = rest.split_at(codec::piece_bytes(kind, rest, PIECE_BYTES));
            self.change(database, key, Change::Load { kind, first, elements });
            rest = behind;
        }
        if expire_at_ms.is_some() {
            self.set_expiry(database, key, expire_at_ms);
        }
    }

    /// Removes a key. False if it's absent.
    pub fn delete(&mut self, database: DatabaseId, key: Key<'_>) -> bool {
        let found = self.find(database, key);
        let Some(at) = found.at else { return false };
        self.remove(database, found.group, found.hash, at, Happened::Deleted);
        true
    }

    /// Sets a key's expiry, ms of Unix time, or removes it. False if the key is absent.
    pub fn set_expiry(&mut self, database: DatabaseId, key: Key<'_>, expire_at_ms: Option<u64>) -> bool {
        let found = self.find(database, key);
        let Some(entry) = self.entry(database, &found) else { return false };
        let before = entry.expire_at_ms();
        match (before, expire_at_ms) {
            // Told also when it is the time that it was.
            (_, Some(_)) => self.touched.note(database, key.bytes, Happened::ExpirySet),
            (Some(_), None) => self.touched.note(database, key.bytes, Happened::ExpiryRemoved),
            (None, None) => {}
        }
        if before != expire_at_ms {
            let slot = key.slot;
            let effect = Effect::Expire { database, slot, key: key.bytes, expire_at_ms };
            self.before_change(database, found, key);
            self.log_key(database, found.hash, effect);
            self.put_expiry(database, &found, expire_at_ms);
        }
        true
    }

    fn put_expiry(&mut self, database: DatabaseId, found: &Found, expire_at_ms: Option<u64>) {
        let Some(at) = found.at else { return };
        let table = self.databases[database.index()].table_mut(found.group);
        let new_hint = needs_hint(table.entry(at).expire_at_ms(), expire_at_ms);
        let mark = self.expiry.mark();
        table.update(at, |entry| {
            entry.set_expiry(expire_at_ms);
            if new_hint.is_some() {
                entry.set_mark(mark);
            }
        });
        if let Some(expire_at_ms) = new_hint {
            self.expiry.place(Hint::new(found.group, found.hash), expire_at_ms, self.now_ms);
        }
    }

    /// Empties a database. Its memory is given back by [`Store::reclaim`].
    pub fn flush(&mut self, database: DatabaseId) {
        self.touched.note_flush();
        if self.len(database) == 0 {
            return;
        }
        self.touch_watched(&[database]);
        self.sink.spoil_undo();
        self.awaited.on_change_of_all(&[database]);
        let lsn = self.sink.append(Effect::FlushDatabase { database });
        self.wrote = true;
        self.gates.note_database(database, lsn);
        self.note_flush(database, lsn);
        self.detach(database, 0..GROUPS);
    }

    fn detach(&mut self, database: DatabaseId, groups: GroupRange) {
        let database = &mut self.databases[database.index()];
        self.garbage.extend(database.detach(groups.clone()));
        self.garbage_schedules.extend(database.detach_schedules(groups));
    }

    /// Empties all databases.
    pub fn flush_all(&mut self) {
        for database in 0..self.databases_configured {
            self.flush(DatabaseId(database));
        }
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, a: DatabaseId, b: DatabaseId) {
        if a == b || self.len(a) == 0 && self.len(b) == 0 {
            return;
        }
        self.touch_watched(&[a, b]);
        self.sink.spoil_undo();
        self.awaited.on_change_of_all(&[a, b]);
        let lsn = self.sink.append(Effect::SwapDatabases { a, b });
        self.wrote = true;
        self.gates.note_database(a, lsn);
        self.gates.note_database(b, lsn);
        self.note_swap(a, b, lsn);
        self.databases.swap(a.index(), b.index());
    }
}

/// The expiry for which a change needs a hint: a new one, unless there is a hint that comes due before it.
fn needs_hint(old: Option<u64>, new: Option<u64>) -> Option<u64> {
    new.filter(|&new| old.is_none_or(|old| old > new))
}

mod transaction;

#[cfg(test)]
mod tests;

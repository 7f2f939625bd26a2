//! Stores from RDB files, and RDB files from stores.
//!
//! A file is read once to check it, and then once for each shard, which passes over what is not its own without looking into it. So
//! one shard's keys are in memory at a time, and of the file one value.

use std::io::{self, Read, Write};
use std::ops::Range;

use super::NoLog;
use crate::database::group_of;
use crate::rdb::file::{FileError, FileFault, FileKey, FileWriter, Reading, Visitor, read_file};
use crate::rdb::{VERSION, VERSION_FIELD_EXPIRY};
use crate::value::codec;
use crate::{Change, Cursor, DatabaseId, Effect, Kind, Store, StoreOptions};

/// The versions that are written: that of Redis 7.0, and that of 7.4, for hashes whose fields expire.
pub const RDB_VERSIONS: [u16; 2] = [VERSION, VERSION_FIELD_EXPIRY];

/// Keys looked at in one go.
const SCAN_COUNT: usize = 1000;
/// Freed in one go.
const RECLAIM_COUNT: usize = 1 << 20;

/// What is in an RDB file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// What was read.
    pub reading: Reading,
    /// As many databases as there must be for all keys; at least one.
    pub databases: u16,
    /// The texts of the libraries of functions.
    pub libraries: Vec<Vec<u8>>,
}

/// Reads a file to its end, and checks everything but the values themselves.
pub fn examine_rdb(source: impl Read) -> Result<Examined, FileError> {
    let mut examined = Examined { databases: 1, ..Examined::default() };
    examined.reading = read_file(source, &mut Examination(&mut examined))?;
    Ok(examined)
}

struct Examination<'a>(&'a mut Examined);

impl Visitor for Examination<'_> {
    fn wants(&mut self, key: &FileKey<'_>) -> bool {
        self.0.databases = self.0.databases.max(key.database.0 + 1);
        false
    }

    fn key(&mut self, _: &FileKey<'_>, _: &[u8]) -> Result<(), FileFault> {
        Ok(())
    }

    fn library(&mut self, text: &[u8]) -> Result<(), FileFault> {
        self.0.libraries.push(text.to_vec());
        Ok(())
    }
}

/// Reads what belongs to some slot groups: `slot_of` says where keys belong. What has expired is taken, and expires in the server.
pub fn load_shard_from_rdb(
    source: impl Read,
    options: StoreOptions,
    groups: Range<u16>,
    slot_of: fn(&[u8]) -> u16,
) -> Result<Store<NoLog>, FileError> {
    let mut loading = Loading { store: Store::new(options, NoLog), groups, slot_of };
    read_file(source, &mut loading)?;
    Ok(loading.store)
}

struct Loading {
    store: Store<NoLog>,
    groups: Range<u16>,
    slot_of: fn(&[u8]) -> u16,
}

impl Visitor for Loading {
    fn wants(&mut self, key: &FileKey<'_>) -> bool {
        self.groups.contains(&u16::from(group_of((self.slot_of)(key.key))))
    }

    fn key(&mut self, found: &FileKey<'_>, value: &[u8]) -> Result<(), FileFault> {
        let FileKey { database, key, expire_at_ms } = *found;
        let slot = (self.slot_of)(key);
        if self.store.view(database, crate::Key { bytes: key, slot }).is_some() {
            return Err(FileFault::Duplicate { database: database.0, key: key.to_vec() });
        }
        let value = codec::decode(value).map_err(|_| FileFault::Malformed)?;
        if value.kind == Kind::String {
            let effect = Effect::Set { database, slot, key, value: value.elements, expire_at_ms };
            self.store.apply(&effect, &self.groups);
            return Ok(());
        }
        let change = Change::Load { kind: value.kind, first: true, elements: value.elements };
        self.store.apply(&Effect::Change { database, slot, key, change }, &self.groups);
        if expire_at_ms.is_some() {
            self.store.apply(&Effect::Expire { database, slot, key, expire_at_ms }, &self.groups);
        }
        while self.store.reclaim(RECLAIM_COUNT) {}
        Ok(())
    }

    fn library(&mut self, _: &[u8]) -> Result<(), FileFault> {
        Ok(())
    }
}

/// Writes all keys of a store. Returns how many; nothing if one of them needs a later version of the format than the file has.
pub fn write_keys_to_rdb<W: Write>(
    store: &mut Store<NoLog>,
    databases: u16,
    writer: &mut FileWriter<W>,
) -> io::Result<Option<u64>> {
    let mut keys = 0;
    for database in (0..databases).map(DatabaseId) {
        if store.is_empty(database) {
            continue;
        }
        writer.database(database, store.len(database) as u64, store.expires_len(database) as u64);
        let mut cursor = Cursor(0);
        let mut outcome = Ok(true);
        while cursor.group() < 256 {
            cursor = store.scan(database, 0..256, cursor, SCAN_COUNT, &mut |entry| {
                if matches!(outcome, Ok(true)) {
                    outcome = writer.key(entry.key(), entry.expire_at_ms(), entry.value());
                    keys += 1;
                }
            });
            if !std::mem::replace(&mut outcome, Ok(true))? {
                return Ok(None);
            }
        }
    }
    Ok(Some(keys))
}

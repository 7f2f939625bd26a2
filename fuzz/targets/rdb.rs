//! Arbitrary RDB files: an error, or a store; and what that store is written as is read again as the same. The first byte says whether the
//! checksum is put right: with it, everything behind it is reached.
#![no_main]

use annulus_protocol::slot;
use annulus_storage::offline::{RDB_VERSIONS, examine_rdb, load_shard_from_rdb, write_keys_to_rdb};
use annulus_storage::rdb::crc64;
use annulus_storage::rdb::file::FileWriter;
use annulus_storage::{DatabaseId, StoreOptions};
use libfuzzer_sys::fuzz_target;

/// Tables are made for each: not too many.
const DATABASES: u16 = 32;

fuzz_target!(|data: &[u8]| {
    let Some((&shape, input)) = data.split_first() else { return };
    let mut file = input.to_vec();
    if shape & 1 == 0
        && let Some((body, checksum)) = file.split_last_chunk_mut::<8>()
    {
        *checksum = crc64(body).to_le_bytes();
    }
    let Ok(examined) = examine_rdb(file.as_slice()) else { return };
    if examined.databases > DATABASES {
        return;
    }
    let options = StoreOptions { databases: examined.databases, hash_seed: 7 };
    let Ok(mut store) = load_shard_from_rdb(file.as_slice(), options, 0..256, slot) else { return };
    let keys: usize = (0..examined.databases).map(|number| store.len(DatabaseId(number))).sum();
    assert_eq!(keys as u64, examined.reading.keys);
    let mut writer = FileWriter::new(Vec::new(), RDB_VERSIONS[1], &[]);
    let written = write_keys_to_rdb(&mut store, examined.databases, &mut writer).expect("a vector takes all");
    assert_eq!(written, Some(keys as u64));
    let (again, _) = writer.finish().expect("a vector takes all");
    let store = load_shard_from_rdb(again.as_slice(), options, 0..256, slot).expect("our own file");
    let found: usize = (0..examined.databases).map(|number| store.len(DatabaseId(number))).sum();
    assert_eq!(found, keys);
});

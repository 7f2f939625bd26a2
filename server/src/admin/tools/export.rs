//! `annulus export`.

use std::io::Write;
use std::path::Path;

use annulus_storage::disk::blocking::{Sequential, StdDisk, run_ready};
use annulus_storage::disk::{Disk, OpenMode};
use annulus_storage::offline::{RDB_VERSIONS, load_shard, outcomes_of, write_keys_to_rdb};
use annulus_storage::rdb::file::FileWriter;
use annulus_storage::{DataDirectory, Outcomes, ShardId};

use super::{ToolError, at, free_name, names, open, parent, rename, shards};
use crate::admin::info::{REDIS_VERSION, human_bytes};
use crate::runtime::Clock;
use crate::script::decode_library;

pub(super) fn export(dir: &Path, file: &Path, out: &mut dyn Write) -> Result<u8, ToolError> {
    let (directory, _lock) = open(dir)?;
    if names(parent(file))?.is_some_and(|names| {
        file.file_name().is_some_and(|name| names.iter().any(|other| *other == *name.to_string_lossy()))
    }) {
        return Err(ToolError::Taken { path: file.to_path_buf() });
    }
    let outcomes = run_ready(outcomes_of(&StdDisk, &directory))
        .map_err(|error| ToolError::Recovery { shard: ShardId(0), error })?;
    let unfinished = free_name(file, ".exporting")?;
    let written = write(&directory, &outcomes, &unfinished);
    let Written { version, keys, bytes, unexpiring } = match written {
        Ok(written) => written,
        Err(error) => {
            let _ = run_ready(StdDisk.remove(&unfinished));
            return Err(error);
        }
    };
    rename(&unfinished, file)?;
    let reader = if version == RDB_VERSIONS[0] {
        "Redis 7.0 and later"
    } else {
        "Redis 7.4 and later, because fields of hashes expire"
    };
    writeln!(out, "{}: {keys} keys, {}; for {reader}", file.display(), human_bytes(bytes))?;
    if unexpiring > 0 {
        writeln!(
            out,
            "{unexpiring} members of sets expire, which Redis does not know: there they will stay"
        )?;
    }
    Ok(0)
}

/// What was written.
struct Written {
    version: u16,
    keys: u64,
    bytes: u64,
    /// Members of sets that have lost their expiry.
    unexpiring: u64,
}

/// Writes a file of the first version that does.
fn write(directory: &DataDirectory, outcomes: &Outcomes, path: &Path) -> Result<Written, ToolError> {
    for version in RDB_VERSIONS {
        if let Some(written) = write_version(directory, outcomes, path, version)? {
            return Ok(written);
        }
    }
    Err(ToolError::Refused("a value needs a later version of the format".to_owned()))
}

/// Nothing if a value needs a later version.
fn write_version(
    directory: &DataDirectory,
    outcomes: &Outcomes,
    path: &Path,
    version: u16,
) -> Result<Option<Written>, ToolError> {
    // What a former attempt has left may be longer.
    let _ = run_ready(StdDisk.remove(path));
    let file = run_ready(StdDisk.open(path, OpenMode::CREATE)).map_err(at(path))?;
    let notes = [("redis-ver", REDIS_VERSION), ("redis-bits", "64")];
    let now_ms = Clock::default().read().unix_ms();
    let mut writer = FileWriter::new(Sequential::new(file.clone(), 0), version, &notes).at(now_ms);
    let mut keys = 0;
    for shard in shards(directory) {
        let loaded = run_ready(load_shard(&StdDisk, directory, shard, outcomes, None, 1));
        let (mut store, _) = loaded.map_err(|error| ToolError::Recovery { shard, error })?;
        if shard == ShardId(0) {
            // Every shard has all libraries.
            for (_, body) in store.peek_libraries().iter() {
                if let Some(library) = decode_library(body) {
                    writer.library(library.text).map_err(at(path))?;
                }
            }
        }
        let written = write_keys_to_rdb(&mut store, directory.databases, &mut writer).map_err(at(path))?;
        let Some(written) = written else { return Ok(None) };
        keys += written;
    }
    let unexpiring = writer.unexpiring();
    let (_, bytes) = writer.finish().map_err(at(path))?;
    run_ready(StdDisk.sync(&file)).map_err(at(path))?;
    Ok(Some(Written { version, keys, bytes, unexpiring }))
}

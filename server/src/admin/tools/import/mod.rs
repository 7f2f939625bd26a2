//! `annulus import`: a new directory of what Redis has saved.
//!
//! An RDB file becomes the first checkpoints of the new directory, shard after shard. The commands of append-only files are done again by
//! a server of this program's own, on that directory, whose clock stands before all expiry: as when Redis loads them, nothing
//! expires meanwhile.
//!
//! The directory is made under another name. A crash leaves that; an error leaves nothing.

mod commands;
mod replay;
mod sources;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use annulus_storage::disk::blocking::{Sequential, StdDisk, run_ready};
use annulus_storage::disk::{Disk, OpenMode};
use annulus_storage::manifest::MANIFEST_NAME;
use annulus_storage::offline::{Examined, examine_rdb, load_shard_from_rdb, write_shard};
use annulus_storage::rdb::file::FileError;
use annulus_storage::{DirectoryOptions, Effect, StoreOptions, open_data_directory};

use self::sources::{CommandFile, Sources};
use super::{ToolError, at, free_name, names, rename};
use crate::admin::Settings;
use crate::runtime::Rng;
use crate::script::{encode_library, inspect_library, parse_library_header};

/// What to import, and to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// An RDB file, an append-only file, or a directory of such.
    pub source: PathBuf,
    /// The new directory.
    pub target: PathBuf,
    /// Its shards.
    pub shards: u16,
    /// Its databases, at least.
    pub databases: u16,
}

/// Before a server starts: makes its data directory of what `load-from` names, if there is no directory yet.
pub fn begin_data_directory(settings: &Settings) -> Result<(), ToolError> {
    let Some(source) = settings.load_from.clone() else { return Ok(()) };
    if names(&settings.dir)?.is_some_and(|names| names.iter().any(|name| name == MANIFEST_NAME)) {
        tracing::info!(dir = %settings.dir.display(), "the data directory is there: load-from is not looked at");
        return Ok(());
    }
    let what = Import {
        source,
        target: settings.dir.clone(),
        shards: u16::try_from(settings.shards).unwrap_or(u16::MAX),
        databases: u16::try_from(settings.databases).unwrap_or(u16::MAX),
    };
    import(&what, &mut LogLines(Vec::new())).map(drop)
}

/// Text goes to the server's log, line by line.
struct LogLines(Vec<u8>);

impl Write for LogLines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        for &byte in text {
            if byte == b'\n' {
                tracing::info!("{}", String::from_utf8_lossy(&std::mem::take(&mut self.0)));
            } else {
                self.0.push(byte);
            }
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn import(what: &Import, out: &mut dyn Write) -> Result<u8, ToolError> {
    if names(&what.target)?.is_some_and(|names| !names.is_empty()) {
        return Err(ToolError::Taken { path: what.target.clone() });
    }
    let mut sources = Sources::find(&what.source)?;
    let image = sources.image.as_deref().map(Image::examine).transpose()?;
    if let Some(image) = &image {
        writeln!(
            out,
            "{}: RDB version {}, {} keys, {} libraries of functions",
            image.path.display(),
            image.examined.reading.version,
            image.examined.reading.keys,
            image.libraries.len()
        )?;
        out.flush()?;
        if !image.examined.reading.is_all {
            sources.add_what_follows(&image.path, image.examined.reading.bytes)?;
        }
    }
    let unfinished = free_name(&what.target, ".importing")?;
    let made = make(what, image.as_ref(), &sources.commands, &unfinished, out);
    let made = made.and_then(|()| rename(&unfinished, &what.target));
    if made.is_err() {
        remove_tree(&unfinished);
    }
    made?;
    writeln!(out, "imported to {}", what.target.display())?;
    Ok(0)
}

/// Of what could not be made nothing is left.
fn remove_tree(path: &Path) {
    let _ = std::fs::remove_dir_all(path);
}

fn make(
    what: &Import,
    image: Option<&Image>,
    commands: &[CommandFile],
    target: &Path,
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    let identity = Rng::seed_from_kernel().map_err(at(target))?;
    let needed = image.map_or(1, |image| image.examined.databases);
    let databases = what.databases.max(needed);
    let options = DirectoryOptions { shards: what.shards, databases, identity };
    let (made, lock) = run_ready(open_data_directory(&StdDisk, target, options))?;
    if let Some(image) = image {
        for shard in super::shards(&made) {
            let groups = made.epoch().groups(shard);
            let options = StoreOptions { databases, hash_seed: identity };
            let mut store =
                load_shard_from_rdb(open(&image.path, 0)?, options, groups.clone(), annulus_protocol::slot)
                    .map_err(foreign(&image.path))?;
            for (name, body) in &image.libraries {
                store.apply(&Effect::Library { name, body: Some(body) }, &groups);
            }
            let (records, bytes) =
                run_ready(write_shard(&StdDisk, &made, shard, store)).map_err(at(target))?;
            writeln!(out, "shard {shard}: {records} records, {bytes} bytes")?;
            out.flush()?;
        }
    }
    drop(lock);
    if commands.is_empty() { Ok(()) } else { replay::replay(target, what.shards, databases, commands, out) }
}

/// An RDB file that is whole.
struct Image {
    path: PathBuf,
    examined: Examined,
    /// Names and bodies.
    libraries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Image {
    fn examine(path: &Path) -> Result<Self, ToolError> {
        let examined = examine_rdb(open(path, 0)?).map_err(foreign(path))?;
        let libraries = examined.libraries.iter().map(|text| library(text)).collect::<Result<_, _>>();
        let libraries =
            libraries.map_err(|reason| ToolError::Refused(format!("{}: {reason}", path.display())))?;
        Ok(Self { path: path.to_path_buf(), examined, libraries })
    }
}

/// The name and the body of a library of functions.
fn library(text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let reason = |error: Vec<u8>| {
        format!("a library of functions cannot be loaded: {}", String::from_utf8_lossy(&error))
    };
    let name = parse_library_header(text).map_err(reason)?;
    let functions = inspect_library(name, text).map_err(reason)?.functions;
    Ok((name.to_vec(), encode_library(text, &functions)))
}

/// A file, from some byte on.
fn open(path: &Path, offset: u64) -> Result<impl Read + use<>, ToolError> {
    let file = run_ready(StdDisk.open(path, OpenMode::READ)).map_err(at(path))?;
    Ok(Sequential::new(file, offset))
}

fn foreign(path: &Path) -> impl FnOnce(FileError) -> ToolError + use<> {
    let path = path.to_path_buf();
    move |error| ToolError::Foreign { path, error }
}

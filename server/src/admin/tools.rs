//! The tools for data directories that no server uses: `annulus check`, `dump`, `repair`, `restore`, `backup`, `import`, `export`. And
//! `annulus migrate` and `backup --from`, which talk to servers.
//!
//! Each takes the directory's lock first. None changes a directory that holds data: `repair`, `restore` and `import` make a new one under
//! another name, which gets its own when it is on stable storage.

mod check;
mod copy;
mod dump;
mod export;
mod import;
#[cfg(feature = "migrate")]
mod migrate;
#[cfg(feature = "migrate")]
mod online;
mod repair;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use annulus_storage::disk::Disk;
use annulus_storage::disk::blocking::{StdDisk, StdLock, run_ready};
use annulus_storage::manifest::inspect_data_directory;
use annulus_storage::rdb::file::FileError;
use annulus_storage::{DataDirectory, Lsn, OpenError, RecoveryError, ShardId};

pub use dump::Dump;
pub use import::{Import, begin_data_directory};
#[cfg(feature = "migrate")]
pub use migrate::Migrate;
#[cfg(feature = "migrate")]
pub use online::Online;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the arguments")]
pub enum Tool {
    /// Read all, and say what is wrong.
    Check { dir: PathBuf },
    /// Print keys or logs.
    Dump { dir: PathBuf, what: Dump },
    /// Make a new directory of what is left of a damaged one, if `yes`.
    Repair { dir: PathBuf, yes: bool },
    /// Make a new directory of what one holds, or held.
    Restore { dir: PathBuf, target: PathBuf, limits: Vec<Limit> },
    /// Copy what a start needs.
    Backup { dir: PathBuf, target: PathBuf },
    /// The same of a directory that a server uses.
    #[cfg(feature = "migrate")]
    BackupOnline { dir: PathBuf, target: PathBuf, online: Online },
    /// Make a new directory of what Redis has saved.
    Import(Import),
    /// Write everything into an RDB file.
    Export { dir: PathBuf, file: PathBuf },
    /// Copy keys from one server to another.
    #[cfg(feature = "migrate")]
    Migrate(Migrate),
}

/// Up to where a directory is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Up to this time, ms of Unix time.
    Time(u64),
    /// Up to this effect of a shard's log.
    Log(ShardId, Lsn),
}

/// Why a tool did nothing, or not all.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named by what they are")]
pub enum ToolError {
    /// The directory can't be opened.
    Directory(OpenError),
    /// What is in it can't be read.
    Recovery { shard: ShardId, error: RecoveryError },
    /// A file of Redis can't be read.
    Foreign { path: PathBuf, error: FileError },
    /// The system said no.
    Io { path: PathBuf, error: io::Error },
    /// The place for the new directory is taken.
    Taken { path: PathBuf },
    /// It can't be done, with the reason.
    Refused(String),
    /// The reader of the output went away.
    Output(io::Error),
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::Recovery { shard, error } => write!(f, "shard {shard}: {error}"),
            Self::Foreign { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Taken { path } => write!(f, "{} is there already; name another place", path.display()),
            Self::Refused(reason) => f.write_str(reason),
            Self::Output(error) => write!(f, "the output cannot be written: {error}"),
        }
    }
}

impl std::error::Error for ToolError {}

impl From<OpenError> for ToolError {
    fn from(error: OpenError) -> Self {
        Self::Directory(error)
    }
}

impl From<io::Error> for ToolError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Does it; what is found goes to `out`. Returns the exit code.
pub fn run(tool: &Tool, out: &mut dyn Write) -> Result<u8, ToolError> {
    match tool {
        Tool::Check { dir } => check::check(dir, out),
        Tool::Dump { dir, what } => dump::dump(dir, what, out),
        Tool::Repair { dir, yes } => repair::repair(dir, *yes, out),
        Tool::Restore { dir, target, limits } => repair::restore(dir, target, limits, out),
        Tool::Backup { dir, target } => copy::backup(dir, target, out),
        #[cfg(feature = "migrate")]
        Tool::BackupOnline { dir, target, online } => online::backup_online(dir, target, online, out),
        Tool::Import(what) => import::import(what, out),
        Tool::Export { dir, file } => export::export(dir, file, out),
        #[cfg(feature = "migrate")]
        Tool::Migrate(what) => migrate::migrate(what, out),
    }
}

/// Opens a data directory for looking at it, locked.
fn open(dir: &Path) -> Result<(DataDirectory, StdLock), ToolError> {
    Ok(run_ready(inspect_data_directory(&StdDisk, dir))?)
}

/// The shards of the newest epoch.
fn shards(directory: &DataDirectory) -> impl Iterator<Item = ShardId> + use<> {
    (0..directory.epoch().shards).map(ShardId)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ToolError + use<> {
    let path = path.to_path_buf();
    move |error| ToolError::Io { path, error }
}

/// The names in a directory; none if it is not there.
fn names(path: &Path) -> Result<Option<Vec<String>>, ToolError> {
    match run_ready(StdDisk.list_dir(path)) {
        Ok(entries) => Ok(Some(entries.into_iter().map(|entry| entry.name).collect())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// A directory's parent, for making its name durable.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

/// A name beside a directory's own.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    // Without a slash at its end.
    let mut name = path.components().collect::<PathBuf>().into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// A name beside a path that nothing has yet.
fn free_name(path: &Path, suffix: &str) -> Result<PathBuf, ToolError> {
    let plain = beside(path, suffix);
    let numbered = (2..1000).map(|number| beside(path, &format!("{suffix}-{number}")));
    for name in std::iter::once(plain).chain(numbered) {
        if names(&name)?.is_none() {
            return Ok(name);
        }
    }
    Err(ToolError::Taken { path: beside(path, suffix) })
}

/// Gives something its name, durably.
fn rename(from: &Path, to: &Path) -> Result<(), ToolError> {
    run_ready(StdDisk.rename(from, to)).map_err(at(to))?;
    run_ready(StdDisk.sync_dir(parent(to))).map_err(at(to))
}

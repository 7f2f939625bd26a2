//! The data directory: who may use it, and what is in it.
//!
//! It owns `LOCK`, `MANIFEST` and the directories of epochs and shards; what is in a shard's directory is the log's. The manifest is a
//! short text with a checksum, so that an operator can read it; it is replaced as a whole, by rename.
//!
//! Invariants:
//! - a directory that the manifest names was created, durably, before the manifest said so;
//! - every start of a server writes the manifest once, with the count of starts increased: what frames call
//!   their incarnation is never used twice.
//!
//! What a crash leaves: the old manifest or the new one. Before the first, only an empty skeleton, which the next start takes for
//! what it is.

#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod past;

use std::fmt::{self, Write as _};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use past::yield_of_past_epochs;
pub use past::{EpochsKept, EpochsWanted, PastEpoch, tend_epochs};

use crate::buffer::AlignedBuffer;
use crate::coverage::{Branch, reached};
use crate::disk::{Disk, LockError, OpenMode, WriteSync};
use crate::log::LogIdentity;
use crate::{Lsn, ShardId};

/// Version of the data directory's layout.
pub const FORMAT_VERSION: u32 = 1;
/// Slot groups: a shard owns whole groups, so there are never more shards.
pub const SLOT_GROUPS: u16 = 256;

const LOCK_NAME: &str = "LOCK";
/// The file that makes a directory a data directory.
pub const MANIFEST_NAME: &str = "MANIFEST";
const MANIFEST_NEW_NAME: &str = "MANIFEST.new";
/// How long to rest after removing a file while serving.
const RETIRE_PAUSE: Duration = Duration::from_secs(1);
const TITLE: &str = "annulus data directory";
/// A manifest is a few lines, and one for each log of a closed epoch; such a line names the groups that were dropped, of
/// which a crash of a log without durability may leave some hundred thousand.
const MANIFEST_BYTES_MAX: usize = 64 << 20;

/// A period in which the number of shards did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Counts from 1.
    pub number: u32,
    /// Shards, and so logs.
    pub shards: u16,
}

impl Epoch {
    /// The slot groups of a shard of this epoch.
    pub const fn groups(self, shard: ShardId) -> Range<u16> {
        let from = SLOT_GROUPS as u32 * shard.0 as u32 / self.shards as u32;
        let to = SLOT_GROUPS as u32 * (shard.0 as u32 + 1) / self.shards as u32;
        from as u16..to as u16
    }

    fn directory_name(self) -> String {
        format!("epoch-{:04}", self.number)
    }
}

/// Where a log of a closed epoch ends: what the start that closed the epoch found. Without it, damage to a closed log's end would
/// look like a torn write, and be cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedLog {
    /// The epoch.
    pub epoch: u32,
    /// The shard within the epoch.
    pub shard: ShardId,
    /// The last effect in the log.
    pub last_lsn: Lsn,
    /// Checksum of the last frame, 0 if there is none.
    pub chain: u32,
    /// First LSNs of the groups that were dropped with transactions that were not whole, sorted.
    pub dropped: Vec<Lsn>,
}

/// What to open a data directory with.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryOptions {
    /// Shards of this server.
    pub shards: u16,
    /// Databases that it is to offer.
    pub databases: u16,
    /// A random number, for a directory that is yet to be made.
    pub identity: u64,
}

/// An open data directory; cheap to copy to every shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDirectory {
    /// Where it is.
    pub path: PathBuf,
    /// Its random number.
    pub identity: u64,
    /// Databases: as many as were asked for, or as there have been.
    pub databases: u16,
    /// Starts so far, this one included.
    pub incarnation: u32,
    /// All epochs that a start may need; the last one is ours.
    pub epochs: Vec<Epoch>,
    /// Those before them that are kept for going back in time.
    pub past: Vec<PastEpoch>,
    /// The ends of the closed epochs' logs, as far as they have been recorded ([`close_logs`]).
    pub closed: Vec<ClosedLog>,
    /// What this start has changed.
    pub opened: Opened,
}

/// How a directory was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It was made.
    Created,
    /// It was there.
    Existing,
    /// It was there, with another number of shards: a new epoch has begun.
    NewEpoch {
        /// The number of shards before.
        shards_before: u16,
    },
}

impl DataDirectory {
    /// The epoch of this server.
    ///
    /// # Panics
    /// Never: a directory has an epoch.
    #[expect(clippy::expect_used, reason = "a manifest without an epoch is refused when it is read")]
    pub fn epoch(&self) -> Epoch {
        *self.epochs.last().expect("a data directory has an epoch")
    }

    /// The directory of a shard's log.
    pub fn shard_directory(&self, epoch: Epoch, shard: ShardId) -> PathBuf {
        self.path.join(epoch.directory_name()).join(format!("shard-{:03}", shard.0))
    }

    /// Whose log that is.
    pub const fn log_identity(&self, epoch: Epoch, shard: ShardId) -> LogIdentity {
        LogIdentity { directory: self.identity, epoch: epoch.number, shard }
    }
}

/// Why a data directory could not be opened.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named by what they are")]
pub enum OpenError {
    /// The system said no.
    Io { path: PathBuf, doing: &'static str, error: io::Error },
    /// Another server has it.
    Locked { path: PathBuf, holder_pid: Option<u32> },
    /// Something in it isn't ours: it may be somebody's data.
    Foreign { path: PathBuf, entry: String },
    /// There are logs and no manifest.
    ManifestMissing { path: PathBuf },
    /// The manifest isn't what was written.
    ManifestDamaged { path: PathBuf, detail: String },
    /// A newer program has made it.
    NewerFormat { path: PathBuf, found: u32 },
    /// That many shards cannot be.
    Shards { asked: u16 },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, doing, error } => write!(f, "cannot {doing} {}: {error}", path.display()),
            Self::Locked { path, holder_pid: Some(pid) } => {
                write!(f, "data directory {} is in use by process {pid}", path.display())
            }
            Self::Locked { path, holder_pid: None } => {
                write!(f, "data directory {} is in use by another process", path.display())
            }
            Self::Foreign { path, entry } => write!(
                f,
                "{} is not an annulus data directory and not empty: it contains {entry:?}; name an empty or a new directory",
                path.display()
            ),
            Self::ManifestMissing { path } => write!(
                f,
                "{} has no {MANIFEST_NAME}; if it is a data directory, restore that file from a backup",
                path.display()
            ),
            Self::ManifestDamaged { path, detail } => {
                write!(f, "{} is damaged: {detail}; restore that file from a backup", path.display())
            }
            Self::NewerFormat { path, found } => write!(
                f,
                "{} has format version {found}, this program knows {FORMAT_VERSION}; use the program that wrote it, or a newer one",
                path.display()
            ),
            Self::Shards { asked } => write!(f, "{asked} shards, possible are 1 to {SLOT_GROUPS}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Opens a data directory for a server with so many shards, or makes one. The lock is held as long as the second part of
/// the answer lives.
pub async fn open_data_directory<D: Disk>(
    disk: &D,
    path: &Path,
    options: DirectoryOptions,
) -> Result<(DataDirectory, D::Lock), OpenError> {
    if options.shards == 0 || options.shards > SLOT_GROUPS {
        return Err(OpenError::Shards { asked: options.shards });
    }
    let exists = survey(disk, path).await?;
    let lock_path = path.join(LOCK_NAME);
    let lock = disk.lock(&lock_path).await.map_err(|error| match error {
        LockError::Held { holder_pid } => OpenError::Locked { path: path.to_path_buf(), holder_pid },
        LockError::Io(error) => OpenError::Io { path: lock_path, doing: "lock", error },
    })?;
    // Whoever held the lock until now may have made the manifest since.
    let exists = exists || survey(disk, path).await?;
    let first = Epoch { number: 1, shards: options.shards };
    let mut manifest = if exists {
        Manifest::read(disk, path).await?
    } else {
        Manifest {
            identity: options.identity,
            databases: options.databases,
            starts: 0,
            past: Vec::new(),
            epochs: vec![first],
            closed: Vec::new(),
        }
    };
    let last = manifest.epochs.last().copied().unwrap_or(first);
    let opened = match (exists, last.shards == options.shards) {
        (false, _) => Opened::Created,
        (true, true) => Opened::Existing,
        (true, false) => {
            reached(Branch::EpochOpened);
            manifest.epochs.push(Epoch { number: last.number + 1, shards: options.shards });
            Opened::NewEpoch { shards_before: last.shards }
        }
    };
    manifest.starts += 1;
    manifest.databases = manifest.databases.max(options.databases);
    let directory = DataDirectory {
        path: path.to_path_buf(),
        identity: manifest.identity,
        databases: manifest.databases,
        incarnation: manifest.starts,
        epochs: manifest.epochs.clone(),
        past: manifest.past.clone(),
        closed: manifest.closed.clone(),
        opened,
    };
    if opened != Opened::Existing {
        create_epoch(disk, &directory).await?;
    }
    manifest.write(disk, path).await?;
    remove_epochs_before(disk, path, manifest.first_epoch(), Duration::ZERO).await?;
    Ok((directory, lock))
}

/// Opens a data directory that is there, for an offline tool: nothing is changed but the process id in the lock file.
pub async fn inspect_data_directory<D: Disk>(
    disk: &D,
    path: &Path,
) -> Result<(DataDirectory, D::Lock), OpenError> {
    match Manifest::read(disk, path).await {
        // Not even the lock file is to be made in a directory of somebody else's.
        Err(OpenError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::ManifestMissing { path: path.to_path_buf() });
        }
        read => drop(read?),
    }
    let lock_path = path.join(LOCK_NAME);
    let lock = disk.lock(&lock_path).await.map_err(|error| match error {
        LockError::Held { holder_pid } => OpenError::Locked { path: path.to_path_buf(), holder_pid },
        LockError::Io(error) => OpenError::Io { path: lock_path, doing: "lock", error },
    })?;
    // Read again: whoever held the lock until now may have changed it.
    Ok((read_data_directory(disk, path).await?, lock))
}

/// What the manifest says, whoever uses the directory.
pub async fn read_data_directory<D: Disk>(disk: &D, path: &Path) -> Result<DataDirectory, OpenError> {
    Ok(Manifest::read(disk, path).await?.into_directory(path))
}

/// Looks at what is there, and creates the directory if there's nothing. True: there is a manifest; false: nothing
/// that could be lost.
async fn survey<D: Disk>(disk: &D, path: &Path) -> Result<bool, OpenError> {
    let entries = match disk.list_dir(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            disk.create_dir(path).await.map_err(io_error(path, "create"))?;
            let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
            disk.sync_dir(parent).await.map_err(io_error(parent, "sync"))?;
            return Ok(false);
        }
        other => other.map_err(io_error(path, "list"))?,
    };
    if entries.iter().any(|entry| entry.name == MANIFEST_NAME) {
        return Ok(true);
    }
    for entry in &entries {
        match entry.name.as_str() {
            LOCK_NAME | MANIFEST_NEW_NAME | "lost+found" => {}
            name if entry.is_directory && name.starts_with("epoch-") => {
                if has_logs(disk, &path.join(name)).await? {
                    return Err(OpenError::ManifestMissing { path: path.to_path_buf() });
                }
            }
            name => return Err(OpenError::Foreign { path: path.to_path_buf(), entry: name.to_owned() }),
        }
    }
    Ok(false)
}

async fn has_logs<D: Disk>(disk: &D, epoch: &Path) -> Result<bool, OpenError> {
    for shard in disk.list_dir(epoch).await.map_err(io_error(epoch, "list"))? {
        let shard_path = epoch.join(&shard.name);
        if !shard.is_directory
            || !disk.list_dir(&shard_path).await.map_err(io_error(&shard_path, "list"))?.is_empty()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The directories of the newest epoch, durably.
async fn create_epoch<D: Disk>(disk: &D, directory: &DataDirectory) -> Result<(), OpenError> {
    let epoch = directory.epoch();
    let epoch_path = directory.path.join(epoch.directory_name());
    disk.create_dir(&epoch_path).await.map_err(io_error(&epoch_path, "create"))?;
    for shard in 0..epoch.shards {
        let shard_path = directory.shard_directory(epoch, ShardId(shard));
        disk.create_dir(&shard_path).await.map_err(io_error(&shard_path, "create"))?;
    }
    disk.sync_dir(&epoch_path).await.map_err(io_error(&epoch_path, "sync"))?;
    disk.sync_dir(&directory.path).await.map_err(io_error(&directory.path, "sync"))
}

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::Io { path: path.to_path_buf(), doing, error }
}

/// The manifest's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Manifest {
    identity: u64,
    databases: u16,
    starts: u32,
    past: Vec<PastEpoch>,
    epochs: Vec<Epoch>,
    closed: Vec<ClosedLog>,
}

impl Manifest {
    /// The first epoch whose files are kept.
    fn first_epoch(&self) -> u32 {
        let past = self.past.first().map(|past| past.epoch);
        past.or(self.epochs.first().copied()).map_or(1, |epoch| epoch.number)
    }

    fn into_directory(self, path: &Path) -> DataDirectory {
        DataDirectory {
            path: path.to_path_buf(),
            identity: self.identity,
            databases: self.databases,
            incarnation: self.starts,
            epochs: self.epochs,
            past: self.past,
            closed: self.closed,
            opened: Opened::Existing,
        }
    }

    fn encode(&self) -> String {
        let mut text = format!(
            "{TITLE}\nformat {FORMAT_VERSION}\nidentity {:016x}\ndatabases {}\nstarts {}\n",
            self.identity, self.databases, self.starts
        );
        for PastEpoch { epoch, until_ms } in &self.past {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "retained {} shards {} until {until_ms}", epoch.number, epoch.shards);
        }
        for epoch in &self.epochs {
            let _ = writeln!(text, "epoch {} shards {}", epoch.number, epoch.shards);
        }
        for log in &self.closed {
            let ClosedLog { epoch, shard, last_lsn, chain, dropped } = log;
            let _ = write!(text, "closed {epoch} {shard} {last_lsn} {chain:08x}");
            for lsn in dropped {
                let _ = write!(text, " {lsn}");
            }
            text.push('\n');
        }
        let checksum = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "checksum {checksum:08x}");
        text
    }

    fn decode(text: &str) -> Result<Self, ManifestFault> {
        let (covered, checksum) =
            split_checksum(text).ok_or(ManifestFault::new("it ends without a checksum"))?;
        let expected = format!("{:08x}", crc32fast::hash(covered.as_bytes()));
        if checksum != expected {
            return Err(ManifestFault::new(&format!(
                "checksum {checksum} in the file, {expected} by its text"
            )));
        }
        let mut lines = covered.lines();
        if lines.next() != Some(TITLE) {
            return Err(ManifestFault::new("it begins with another title"));
        }
        let format = field(&mut lines, "format")?;
        if format != FORMAT_VERSION {
            return Err(ManifestFault::Format(format));
        }
        let identity = lines.next().and_then(|line| line.strip_prefix("identity "));
        let identity = identity.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let identity = identity.ok_or(ManifestFault::new("no identity"))?;
        let databases = field(&mut lines, "databases")?;
        let starts = field(&mut lines, "starts")?;
        let (past, lines): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("retained "));
        let past = past.into_iter().map(decode_past).collect::<Option<Vec<_>>>();
        let past = past.ok_or(ManifestFault::new("a retained epoch without a meaning"))?;
        let (epochs, closed): (Vec<&str>, Vec<&str>) =
            lines.into_iter().partition(|line| line.starts_with("epoch "));
        let epochs = epochs.into_iter().map(decode_epoch).collect::<Option<Vec<_>>>();
        let epochs = epochs.ok_or(ManifestFault::new("an epoch without a meaning"))?;
        let closed = closed.into_iter().map(decode_closed).collect::<Option<Vec<_>>>();
        let closed = closed.ok_or(ManifestFault::new("a line that is neither an epoch nor a closed log"))?;
        let all = || past.iter().map(|past| past.epoch).chain(epochs.iter().copied());
        let first = all().next().map_or(1, |epoch| epoch.number);
        let numbered = first >= 1 && all().zip(first..).all(|(epoch, number)| epoch.number == number);
        if epochs.is_empty() || !numbered {
            return Err(ManifestFault::new("epochs are missing"));
        }
        Ok(Self { identity, databases, starts, past, epochs, closed })
    }

    async fn read<D: Disk>(disk: &D, directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(MANIFEST_NAME);
        let failed = |error| OpenError::Io { path: path.clone(), doing: "read", error };
        let file = disk.open(&path, OpenMode::READ).await.map_err(failed)?;
        let bytes = disk.len(&file).await.map_err(failed)?;
        let damaged =
            |detail: &str| OpenError::ManifestDamaged { path: path.clone(), detail: detail.to_owned() };
        let bytes = usize::try_from(bytes).ok().filter(|&bytes| bytes <= MANIFEST_BYTES_MAX);
        let bytes = bytes.ok_or_else(|| damaged("it is too large"))?;
        let (read, buffer) = disk.read_at(&file, AlignedBuffer::new(bytes), 0, bytes).await;
        let text = buffer.get(..read.map_err(failed)?).and_then(|bytes| std::str::from_utf8(bytes).ok());
        match Self::decode(text.ok_or_else(|| damaged("it is not text"))?) {
            Ok(manifest) => Ok(manifest),
            Err(ManifestFault::Format(found)) => Err(OpenError::NewerFormat { path, found }),
            Err(ManifestFault::Damaged(detail)) => Err(OpenError::ManifestDamaged { path, detail }),
        }
    }

    async fn write<D: Disk>(&self, disk: &D, directory: &Path) -> Result<(), OpenError> {
        let text = self.encode();
        let path = directory.join(MANIFEST_NEW_NAME);
        // What an interrupted write left could be longer than what is to be written now.
        match disk.remove(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(&path, "remove")(error));
            }
            _ => {}
        }
        let file = disk.open(&path, OpenMode::CREATE).await.map_err(io_error(&path, "create"))?;
        let mut buffer = AlignedBuffer::new(text.len());
        buffer.iter_mut().zip(text.as_bytes()).for_each(|(to, from)| *to = *from);
        let (written, _) = disk.write_at(&file, buffer, 0, text.len(), WriteSync::None).await;
        if written.map_err(io_error(&path, "write"))? != text.len() {
            return Err(io_error(&path, "write")(io::ErrorKind::WriteZero.into()));
        }
        disk.sync(&file).await.map_err(io_error(&path, "sync"))?;
        let target = directory.join(MANIFEST_NAME);
        disk.rename(&path, &target).await.map_err(io_error(&target, "replace"))?;
        disk.sync_dir(directory).await.map_err(io_error(directory, "sync"))
    }
}

enum ManifestFault {
    Format(u32),
    Damaged(String),
}

impl ManifestFault {
    fn new(detail: &str) -> Self {
        Self::Damaged(detail.to_owned())
    }
}

/// The text that the checksum covers, and the checksum's digits.
fn split_checksum(text: &str) -> Option<(&str, &str)> {
    let at = text.rfind("checksum ").filter(|&at| text[..at].ends_with('\n'))?;
    let checksum = text.get(at..)?.strip_prefix("checksum ")?.strip_suffix('\n')?;
    Some((text.get(..at)?, checksum))
}

fn field<T: std::str::FromStr>(lines: &mut std::str::Lines<'_>, name: &str) -> Result<T, ManifestFault> {
    let value = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.ok_or_else(|| ManifestFault::new(&format!("no {name}")))
}

fn decode_epoch(line: &str) -> Option<Epoch> {
    let (number, shards) = line.strip_prefix("epoch ")?.split_once(" shards ")?;
    let epoch = Epoch { number: number.parse().ok()?, shards: shards.parse().ok()? };
    (1..=SLOT_GROUPS).contains(&epoch.shards).then_some(epoch)
}

fn decode_past(line: &str) -> Option<PastEpoch> {
    let (epoch, until_ms) = line.strip_prefix("retained ")?.split_once(" until ")?;
    let epoch = decode_epoch(&format!("epoch {epoch}"))?;
    Some(PastEpoch { epoch, until_ms: until_ms.parse().ok()? })
}

fn decode_closed(line: &str) -> Option<ClosedLog> {
    let mut words = line.strip_prefix("closed ")?.split(' ');
    let mut log = ClosedLog {
        epoch: words.next()?.parse().ok()?,
        shard: ShardId(words.next()?.parse().ok()?),
        last_lsn: Lsn(words.next()?.parse().ok()?),
        chain: u32::from_str_radix(words.next()?, 16).ok()?,
        dropped: Vec::new(),
    };
    for word in words {
        log.dropped.push(Lsn(word.parse().ok()?));
    }
    log.dropped.is_sorted().then_some(log)
}

/// Writes the manifest of a copy that has nothing of what is retained. Returns its bytes, 0 if it is there already.
pub(crate) async fn write_copied_manifest<D: Disk>(
    disk: &D,
    from: &Path,
    to: &Path,
) -> Result<u64, OpenError> {
    let mut manifest = Manifest::read(disk, from).await?;
    manifest.past.clear();
    let first = manifest.first_epoch();
    manifest.closed.retain(|log| log.epoch >= first);
    if Manifest::read(disk, to).await.is_ok_and(|there| there == manifest) {
        return Ok(0);
    }
    manifest.write(disk, to).await?;
    Ok(manifest.encode().len() as u64)
}

/// Removes the files of epochs that no manifest names any more; their directories stay, empty.
async fn remove_epochs_before<D: Disk>(
    disk: &D,
    path: &Path,
    first: u32,
    pause: Duration,
) -> Result<(), OpenError> {
    for entry in disk.list_dir(path).await.map_err(io_error(path, "list"))? {
        let number = entry.name.strip_prefix("epoch-").and_then(|number| number.parse::<u32>().ok());
        if !entry.is_directory || number.is_none_or(|number| number >= first) {
            continue;
        }
        let epoch = path.join(&entry.name);
        for shard in disk.list_dir(&epoch).await.map_err(io_error(&epoch, "list"))? {
            let shard = epoch.join(&shard.name);
            for file in disk.list_dir(&shard).await.map_err(io_error(&shard, "list"))? {
                let file = shard.join(&file.name);
                disk.remove(&file).await.map_err(io_error(&file, "remove"))?;
                if !pause.is_zero() {
                    disk.pause(pause).await;
                }
            }
        }
    }
    Ok(())
}

/// Records where logs of closed epochs end, before anything is written to the epoch after them. Those recorded already
/// are left as they are.
pub async fn close_logs<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    found: &[ClosedLog],
) -> Result<(), OpenError> {
    let mut manifest = Manifest::read(disk, &directory.path).await?;
    let before = manifest.closed.len();
    for log in found {
        if !manifest.closed.iter().any(|it| (it.epoch, it.shard) == (log.epoch, log.shard)) {
            manifest.closed.push(log.clone());
        }
    }
    if manifest.closed.len() > before {
        reached(Branch::EpochClosed);
        manifest.closed.sort_by_key(|log| (log.epoch, log.shard));
        manifest.write(disk, &directory.path).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

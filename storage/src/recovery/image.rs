//! Loading an image. Which one, and what stands in for a damaged one, is decided in [`super::beginning`].
//!
//! One that has its name was whole when it got it; if it isn't now it is damaged. What was loaded until the damage was met is dropped again.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;

use super::reader::{SegmentReader, read_front};
use super::scan::LogPlace;
use super::{RecoveryError, Replay};
use crate::checkpoint::Place;
use crate::checkpoint::format::{
    BLOCK_HEADER_BYTES, BlockHeader, CheckpointFault, CheckpointHeader, FLAG_LAST, FLAG_SLICE_END,
    HEADER_BYTES, claimed_block_bytes, open_block,
};
use crate::checkpoint::window::Window;
use crate::disk::{Disk, OpenMode};
use crate::log::record::{Record, decode_body, take_record};
use crate::manifest::DataDirectory;
use crate::table::Hasher;
use crate::{Change, DatabaseId, Effect, Lsn, ShardId, TransactionId};

/// What was read of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReport {
    /// The file.
    pub path: PathBuf,
    /// Its number.
    pub number: u64,
    /// Its length.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Unix time when it was begun, ms.
    pub unix_ms: u64,
    /// It contains all effects up to this one.
    pub from: Lsn,
    /// And some of those up to this one.
    pub to: Lsn,
}

/// A damaged checkpoint that was not needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusedCheckpoint {
    /// The file.
    pub path: PathBuf,
    /// Where the damage is.
    pub offset: u64,
    /// Which.
    pub fault: CheckpointFault,
}

/// An image that has been loaded.
pub(super) struct Image {
    pub(super) window: Window,
    pub(super) report: ImageReport,
}

/// That effects were durable, by the word of a checkpoint.
pub(super) struct Claim {
    pub(super) path: PathBuf,
    pub(super) offset: u64,
    pub(super) horizon: Lsn,
}

impl Image {
    pub(super) fn report(&self) -> ImageReport {
        self.report.clone()
    }

    pub(super) fn claim(&self) -> Claim {
        Claim { path: self.report.path.clone(), offset: 0, horizon: self.window.to() }
    }
}

/// What there is of the time before the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    Nothing,
    /// Older epochs, to be read if there is no image.
    Unread,
    /// Older epochs, which have been applied.
    Applied {
        /// So many databases there may be.
        databases: u16,
    },
}

pub(super) enum LoadError {
    Refused(RecoveryError),
    Damaged { offset: u64, fault: CheckpointFault, databases: u16 },
}

/// Reads one checkpoint of the newest epoch to its end. Nothing if it is not there any more.
pub async fn verify_checkpoint<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
    number: u64,
) -> Result<Option<ImageReport>, UnusedCheckpoint> {
    let log = LogPlace::new(directory, directory.epoch(), shard, OpenMode::READ_DIRECT);
    verify_image(disk, &log, number).await
}

/// The same, of a log that may have others than those.
pub(super) async fn verify_image<D: Disk>(
    disk: &D,
    log: &LogPlace,
    number: u64,
) -> Result<Option<ImageReport>, UnusedCheckpoint> {
    let path = log.image_path(number);
    match load(disk, log, number, &log.groups, &mut Nowhere).await {
        Ok(image) => Ok(Some(image.report)),
        Err(LoadError::Damaged { offset, fault, .. }) => Err(UnusedCheckpoint { path, offset, fault }),
        Err(LoadError::Refused(RecoveryError::Io { error, .. })) if error.kind() == ErrorKind::NotFound => {
            Ok(None)
        }
        Err(LoadError::Refused(_)) => {
            Err(UnusedCheckpoint { path, offset: 0, fault: CheckpointFault::Unreadable })
        }
    }
}

pub(super) fn empty(databases: u16, groups: &Range<u16>, apply: &mut dyn Replay) {
    for database in (0..databases).map(DatabaseId) {
        apply.apply(&Effect::FlushDatabase { database }, groups);
    }
    apply.apply(&Effect::FlushLibraries, groups);
}

/// Effects that only had to be read.
pub(super) struct Nowhere;

impl Replay for Nowhere {
    fn apply(&mut self, _: &Effect<'_>, _: &Range<u16>) {}
}

/// Puts an image in the place of what older epochs have left: after a look at all of it, for that does not come back.
pub(super) async fn replace<D: Disk>(
    disk: &D,
    log: &LogPlace,
    number: u64,
    wanted: &Range<u16>,
    databases: u16,
    apply: &mut dyn Replay,
) -> Result<Image, LoadError> {
    load(disk, log, number, wanted, &mut Nowhere).await.map_err(|error| match error {
        LoadError::Damaged { offset, fault, .. } => LoadError::Damaged { offset, fault, databases: 0 },
        refused @ LoadError::Refused(_) => refused,
    })?;
    empty(databases, wanted, apply);
    load(disk, log, number, wanted, apply).await
}

/// The greatest transaction that the checkpoints of a log know of. Damaged ones say nothing: loading them tells.
pub(super) async fn greatest_transaction<D: Disk>(disk: &D, log: &LogPlace) -> TransactionId {
    let mut greatest = TransactionId::default();
    let entries = disk.list_dir(&log.directory).await.unwrap_or_default();
    for number in log.image_numbers(&entries) {
        if let Ok(front) = read_front(disk, &log.image_path(number), HEADER_BYTES).await
            && let Ok((header, _)) = CheckpointHeader::decode(&front, log.identity, number)
        {
            greatest = greatest.max(header.transaction);
        }
    }
    greatest
}

/// What is known of a checkpoint while it is read.
pub(super) struct Loading<'a> {
    pub(super) window: Window,
    /// Groups of the shard that wrote it.
    pub(super) logging: &'a Range<u16>,
    pub(super) wanted: &'a Range<u16>,
    /// The slice so far.
    pub(super) payload: Vec<u8>,
    pub(super) until: Place,
    pub(super) records: u64,
    /// Databases with keys: up to here.
    pub(super) databases: u16,
}

pub(super) async fn load<D: Disk>(
    disk: &D,
    log: &LogPlace,
    number: u64,
    wanted: &Range<u16>,
    apply: &mut dyn Replay,
) -> Result<Image, LoadError> {
    let path = log.image_path(number);
    let io = |doing| {
        let path = path.clone();
        move |error| LoadError::Refused(RecoveryError::Io { path, doing, error })
    };
    let file = disk.open(&path, OpenMode::READ_DIRECT).await.map_err(io("open"))?;
    let file_bytes = disk.len(&file).await.map_err(io("read"))?;
    let mut reader = SegmentReader::new(disk, file, file_bytes, 0);
    let front = reader.bytes_at(0, HEADER_BYTES).await.map_err(io("read"))?;
    let at_header = |fault| LoadError::Damaged { offset: 0, fault, databases: 0 };
    let (header, mut chain) = CheckpointHeader::decode(front, log.identity, number).map_err(at_header)?;
    let mut loading = Loading::new(log, &header, wanted).map_err(at_header)?;
    let (mut offset, mut index) = (HEADER_BYTES as u64, 0);
    loop {
        let front = reader.bytes_at(offset, BLOCK_HEADER_BYTES).await.map_err(io("read"))?;
        let databases = loading.databases;
        let damaged = |fault| LoadError::Damaged { offset, fault, databases };
        let block_bytes = claimed_block_bytes(front).map_err(damaged)?;
        let block = reader.bytes_at(offset, block_bytes).await.map_err(io("read"))?;
        let block = block.get(..block_bytes).ok_or_else(|| damaged(CheckpointFault::Truncated))?;
        let (block_header, checksum) =
            open_block(block, (chain, index), number, log.seed).map_err(damaged)?;
        let payload = BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + block_header.payload_bytes;
        let payload = block.get(payload).unwrap_or_default();
        let taken = loading.take_block(&block_header, payload, apply);
        offset += block_bytes as u64;
        if taken.map_err(|fault| LoadError::Damaged { offset, fault, databases: loading.databases })? {
            break;
        }
        (chain, index) = (checksum, index + 1);
    }
    Ok(loading.into_image(path, &header, number, offset))
}

impl<'a> Loading<'a> {
    /// Before the first slice.
    pub(super) fn new(
        log: &'a LogPlace,
        header: &CheckpointHeader,
        wanted: &'a Range<u16>,
    ) -> Result<Self, CheckpointFault> {
        let hasher = Hasher::new(header.hash_seed);
        if hasher.check() != header.hash_check {
            return Err(CheckpointFault::Order);
        }
        Ok(Loading {
            window: Window::new(header.from, hasher),
            logging: &log.groups,
            wanted,
            payload: Vec::new(),
            until: Place::default(),
            records: 0,
            databases: 0,
        })
    }

    /// What has been loaded, of so many bytes.
    pub(super) fn into_image(
        self,
        path: PathBuf,
        header: &CheckpointHeader,
        number: u64,
        bytes: u64,
    ) -> Image {
        let (from, to) = (self.window.from(), self.window.to());
        let (records, unix_ms) = (self.records, header.unix_ms);
        Image { report: ImageReport { path, number, bytes, records, unix_ms, from, to }, window: self.window }
    }

    /// Takes a block; true if it is the last.
    pub(super) fn take_block(
        &mut self,
        header: &BlockHeader,
        payload: &[u8],
        apply: &mut dyn Replay,
    ) -> Result<bool, CheckpointFault> {
        if header.flags & FLAG_LAST != 0 {
            let expected = payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
            let expected = expected.ok_or(CheckpointFault::Shape)?;
            return match self.until == Place::END && self.payload.is_empty() {
                true if expected == self.records => Ok(true),
                true => Err(CheckpointFault::Records { expected, found: self.records }),
                false => Err(CheckpointFault::Shape),
            };
        }
        self.payload.extend_from_slice(payload);
        if header.flags & FLAG_SLICE_END == 0 {
            return Ok(false);
        }
        if header.until < self.until || header.as_of < self.window.to() {
            return Err(CheckpointFault::Shape);
        }
        let payload = std::mem::take(&mut self.payload);
        let found = self.take_slice(&payload, header.as_of, apply)?;
        if found != header.records {
            return Err(CheckpointFault::Records { expected: header.records.into(), found: found.into() });
        }
        self.records += u64::from(found);
        self.until = header.until;
        self.window.push_slice(header.until, header.as_of);
        self.payload = payload;
        self.payload.clear();
        Ok(false)
    }

    fn take_slice(
        &mut self,
        mut payload: &[u8],
        as_of: Lsn,
        apply: &mut dyn Replay,
    ) -> Result<u32, CheckpointFault> {
        let mut records = 0;
        while let Some(record) = take_record(&mut payload).map_err(|_| CheckpointFault::Record)? {
            let Record::Whole { body, .. } = record else { return Err(CheckpointFault::Record) };
            let effect = decode_body(body).map_err(|_| CheckpointFault::Record)?;
            records += 1;
            match effect {
                Effect::Set { database, slot, .. }
                | Effect::SetRange { database, slot, .. }
                | Effect::Expire { database, slot, .. }
                | Effect::Change { database, slot, change: Change::Load { .. }, .. } => {
                    if !self.logging.contains(&(slot >> 6)) {
                        return Err(CheckpointFault::Record);
                    }
                    if self.wanted.contains(&(slot >> 6)) {
                        self.databases = self.databases.max(database.0.saturating_add(1));
                        apply.apply(&effect, self.wanted);
                    }
                }
                Effect::FlushDatabase { database } => {
                    self.window.push_flush(database.0, as_of);
                    apply.apply(&effect, self.wanted);
                }
                Effect::Library { body: Some(_), .. } => apply.apply(&effect, self.wanted),
                _ => return Err(CheckpointFault::Record),
            }
        }
        Ok(records)
    }
}

//! What becomes of epochs that no start needs any more: they are kept for going back in time, or given up.
//!
//! An epoch is needed until every shard of the newest one has a checkpoint. From then on the manifest says *retained* of it, and until when
//! it was needed: as long as one wants to go back to a time before that it stays, as a whole. No start reads it, unless a shard has lost all of its
//! checkpoints.
//!
//! The manifest is always changed before any file is removed. What a crash leaves of an epoch that the manifest does not name the next start removes.

use std::io;
use std::path::{Path, PathBuf};

use super::{DataDirectory, Epoch, Manifest, OpenError, RETIRE_PAUSE, io_error, remove_epochs_before};
use crate::ShardId;
use crate::checkpoint::Retention;
use crate::checkpoint::files::retained_segment;
use crate::disk::{Disk, OpenMode};
use crate::log::SegmentId;

/// An epoch that is kept for going back in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastEpoch {
    /// Which.
    pub epoch: Epoch,
    /// It was over by then, ms of Unix time.
    pub until_ms: u64,
}

/// What is wanted of epochs before the newest.
#[derive(Clone, Copy, Debug)]
pub struct EpochsWanted {
    /// Every shard of the newest epoch has a checkpoint.
    pub has_all: bool,
    /// How much of the past is kept, of all shards together.
    pub retention: Retention,
    /// Bytes of retained log of the newest epoch.
    pub kept_bytes: u64,
    /// The time, ms of Unix time.
    pub now_ms: u64,
}

/// What has become of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpochsKept {
    /// Epochs that are needed, or retained.
    pub kept: usize,
    /// Epochs that were given up.
    pub given_up: usize,
}

impl DataDirectory {
    /// The directory with what is retained of former epochs, as if a start needed it.
    #[must_use]
    pub fn with_past(&self) -> DataDirectory {
        let past = self.past.iter().map(|past| past.epoch);
        let epochs = past.chain(self.epochs.iter().copied()).collect();
        DataDirectory { epochs, past: Vec::new(), ..self.clone() }
    }

    /// The directory as it was before its newest epoch began; nothing if that is the first that is there.
    pub fn before(&self) -> Option<DataDirectory> {
        let mut before = self.with_past();
        let newest = before.epochs.pop()?;
        before.closed.retain(|log| log.epoch < newest.number);
        (!before.epochs.is_empty()).then_some(before)
    }
}

/// Keeps epochs that no start needs any more, or gives them up: those before the newest if that has all checkpoints, and those that were
/// retained long enough. Removes files one by one with pauses, for each removal may hold up commits for a moment.
pub async fn tend_epochs<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    wanted: EpochsWanted,
) -> Result<EpochsKept, OpenError> {
    let path = &directory.path;
    let mut manifest = Manifest::read(disk, path).await?;
    let newest = directory.epoch().number;
    let EpochsWanted { has_all, retention, kept_bytes, now_ms } = wanted;
    let (before, past_before) = (manifest.clone(), manifest.past.len());
    if has_all {
        let over = manifest.epochs.iter().filter(|epoch| epoch.number < newest);
        manifest.past.extend(over.map(|epoch| PastEpoch { epoch: *epoch, until_ms: now_ms }));
        manifest.epochs.retain(|epoch| epoch.number >= newest);
    }
    let is_wanted =
        |past: &PastEpoch| retention.ms > 0 && past.until_ms.saturating_add(retention.ms) > now_ms;
    let mut given_up = manifest.past.iter().take_while(|past| !is_wanted(past)).count();
    if retention.bytes > 0 {
        let mut bytes = Vec::new();
        for past in &manifest.past {
            bytes.push(epoch_bytes(disk, directory, past.epoch).await?);
        }
        let left = |given_up: usize| bytes.iter().skip(given_up).sum::<u64>();
        while given_up < bytes.len() && kept_bytes.saturating_add(left(given_up)) > retention.bytes {
            given_up += 1;
        }
    }
    manifest.past.drain(..given_up);
    let first = manifest.first_epoch();
    manifest.closed.retain(|log| log.epoch >= first);
    let kept = manifest.past.len() + manifest.epochs.iter().filter(|epoch| epoch.number < newest).count();
    if manifest != before {
        manifest.write(disk, path).await?;
    }
    if given_up > 0 || past_before > 0 {
        remove_epochs_before(disk, path, first, RETIRE_PAUSE).await?;
    }
    Ok(EpochsKept { kept, given_up })
}

/// Bytes of an epoch's segments, retained or not.
async fn epoch_bytes<D: Disk>(disk: &D, directory: &DataDirectory, epoch: Epoch) -> Result<u64, OpenError> {
    let mut bytes = 0;
    for shard in (0..epoch.shards).map(ShardId) {
        for path in segments_in(disk, &directory.shard_directory(epoch, shard)).await? {
            if let Ok(file) = disk.open(&path, OpenMode::READ).await {
                bytes += disk.len(&file).await.map_err(io_error(&path, "read"))?;
            }
        }
    }
    Ok(bytes)
}

/// The segments in a shard's directory: what is retained first, the oldest before the others.
async fn segments_in<D: Disk>(disk: &D, directory: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let entries = match disk.list_dir(directory).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error(directory, "list"))?,
    };
    let id = |name: &str| retained_segment(name).or(SegmentId::of_file_name(name));
    let mut segments: Vec<_> =
        entries.into_iter().filter_map(|entry| Some((id(&entry.name)?, entry.name))).collect();
    segments.sort();
    Ok(segments.into_iter().map(|(_, name)| directory.join(name)).collect())
}

/// The disk is full: removes a segment of the oldest epoch that is retained, the oldest of some shard. False if there is none.
pub(crate) async fn yield_of_past_epochs<D: Disk>(disk: &D, path: &Path) -> io::Result<bool> {
    let Ok(manifest) = Manifest::read(disk, path).await else { return Ok(false) };
    let directory = manifest.into_directory(path);
    for PastEpoch { epoch, .. } in &directory.past {
        for shard in (0..epoch.shards).map(ShardId) {
            let segments = segments_in(disk, &directory.shard_directory(*epoch, shard)).await;
            if let Some(oldest) = segments.unwrap_or_default().first() {
                match disk.remove(oldest).await {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => return Ok(true),
                }
            }
        }
    }
    Ok(false)
}

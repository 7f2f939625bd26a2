//! Working on data directories that no server uses: looking at them, copying them, and making new ones of what is in them.
//!
//! - A directory that is looked at is never written to: it is read through [`ReadOnly`], which has no way to.
//! - A directory that is written to is a new one, and it becomes one (gets its manifest, or its name) when all else in it
//!   is on stable storage.
//!
//! So whatever happens meanwhile, the directory that there was is as it was.

mod backup;
mod cut;
mod exchange;
mod online;
mod read_only;
mod rebuild;

pub use backup::{Copied, PathError, backup_directory, copy_closed_epochs, copy_manifest, directory_in};
pub use cut::{CutError, FoundCut, LogCut, Moment, consistent_cut};
pub use exchange::{Examined, RDB_VERSIONS, examine_rdb, load_shard_from_rdb, write_keys_to_rdb};
pub use online::{CopyError, CopyHelper, CopyPlaces, ShardMoment, copy_shard};
pub use read_only::{Pace, ReadOnly};
pub use rebuild::{NoLog, load_shard, write_shard};

use std::ops::Range;

use crate::checkpoint::files::numbers;
use crate::disk::Disk;
use crate::log::limits::ALIGNMENT_MIN;
use crate::manifest::{DataDirectory, Epoch};
use crate::recovery::{
    ImageReport, RecoveryError, RecoveryOptions, RecoveryReport, RetainedCheck, Salvaged, UnusedCheckpoint,
    recover_shard, salvage_shard, survey_and_resolve, verify_checkpoint, verify_retained,
};
use crate::recovery::{Outcomes, PastCheck, SalvageOptions, verify_past_epoch};
use crate::{Effect, Lsn, ShardId};

/// What a check of one shard has found.
#[derive(Debug)]
pub struct ShardCheck {
    /// The shard, of the newest epoch.
    pub shard: ShardId,
    /// What a start would read; or why it would be refused.
    pub start: Result<RecoveryReport, RecoveryError>,
    /// All checkpoints of the newest epoch, also those that a start doesn't read: whole, or damaged where.
    pub checkpoints: Vec<Result<ImageReport, UnusedCheckpoint>>,
    /// What is retained for going back in time.
    pub retained: Result<RetainedCheck, RecoveryError>,
    /// Where a start is refused: everything that is wrong, and what can be saved.
    pub salvage: Option<Salvaged>,
}

/// Reads everything that a start would read, and what it would not.
pub async fn check_shard<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
    outcomes: &Result<Outcomes, RecoveryError>,
) -> ShardCheck {
    let mut nowhere = |_: &Effect<'_>, _: &Range<u16>| {};
    let options = RecoveryOptions { alignment: ALIGNMENT_MIN };
    let disk = &ReadOnly::new(disk);
    let none = Outcomes::default();
    let outcomes = outcomes.as_ref().unwrap_or(&none);
    let start = recover_shard(disk, directory, shard, options, outcomes, &mut nowhere).await;
    let start = start.map(|recovered| recovered.report);
    let mut checkpoints = Vec::new();
    let own = directory.shard_directory(directory.epoch(), shard);
    for number in disk.list_dir(&own).await.map(|entries| numbers(&entries)).unwrap_or_default() {
        checkpoints.extend(verify_checkpoint(disk, directory, shard, number).await.transpose());
    }
    let mut salvage = None;
    if start.is_err() {
        let options = SalvageOptions { until: Lsn(u64::MAX), past: None };
        salvage = Some(salvage_shard(disk, directory, shard, outcomes, options, &mut nowhere).await);
    }
    let retained = verify_retained(disk, directory, shard).await;
    ShardCheck { shard, start, checkpoints, retained, salvage }
}

/// Reads everything that is retained of former epochs: of each its number, and what is wrong.
pub async fn check_past_epochs<D: Disk>(disk: &D, directory: &DataDirectory) -> Vec<(Epoch, PastCheck)> {
    let disk = &ReadOnly::new(disk);
    let mut checks = Vec::new();
    let mut at = directory.with_past();
    while let Some(before) = at.before() {
        if directory.past.iter().any(|past| past.epoch == before.epoch()) {
            let check = verify_past_epoch(disk, &before, &directory.closed).await;
            checks.push((before.epoch(), check));
        }
        at = before;
    }
    checks.reverse();
    checks
}

/// What becomes of transactions over several logs.
pub async fn outcomes_of<D: Disk>(disk: &D, directory: &DataDirectory) -> Result<Outcomes, RecoveryError> {
    survey_and_resolve(&ReadOnly::new(disk), directory).await
}

#[cfg(test)]
mod tests;

//! Reading logs back: which effects they hold, where they end, and whether that end is honest.
//!
//! The log of a shard ends at the first frame that isn't whole or doesn't follow the one before it. Two things look like that: a
//! write that a crash cut off, which was never acknowledged, and damage to what was. They are told apart by
//! what comes later in the files: a whole frame that says "up to here all was durable" and means the missing one proves
//! damage, and the start is refused. Without such a proof the end is taken as it is, and reported.
//!
//! Invariants:
//! - recovery changes nothing that it has read (it has it made durable, and wipes the torn beginning behind it), so it may be
//!   cut off and repeated;
//! - what it has read is durable before the log goes on: the horizon begins at the last effect;
//! - effects are applied group by group, in order; a group without its end, which only a crash leaves, is dropped.

#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod assemble;
mod beginning;
mod error;
mod image;
mod listing;
mod outcome;
mod past;
mod reader;
mod salvage;
mod scan;
mod scrub;
mod survey;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transaction_tests;

use std::ops::Range;
use std::path::PathBuf;

pub use error::{Fault, Gap, RecoveryError};
pub use image::{ImageReport, UnusedCheckpoint, verify_checkpoint};
pub use listing::{Listed, list_log};
pub use outcome::{LogSurvey, Outcomes};
pub use past::{PastCheck, Reach, RetainedCheck, reach_of, survey_past, verify_past_epoch, verify_retained};
pub(crate) use past::{first_time_ms, last_time_ms};
pub(crate) use reader::{SegmentReader, read_front};
pub use salvage::{SalvageOptions, Salvaged, salvage_shard};
pub use scrub::{ScrubFault, scrub_shard};
pub use survey::{logs_to_survey, survey_and_resolve, survey_log};

use image::{Before, Image};

use crate::coverage::{Branch, reached};
use crate::disk::{Disk, OpenMode};
use crate::log::{LogStart, SegmentId};
use crate::manifest::{ClosedLog, DataDirectory, Epoch};
use crate::{Effect, Lsn, ShardId};

/// Who gets the effects that are read, in order, with the groups that they are about.
pub trait Replay {
    /// Takes an effect.
    fn apply(&mut self, effect: &Effect<'_>, groups: &Range<u16>);

    /// An effect is a few places ahead: what it will need can be fetched meanwhile.
    fn expect(&mut self, _: &Effect<'_>) {}

    /// So much has been read of a log of about so many bytes: what is to come can be foreseen.
    fn on_progress(&mut self, _read_bytes: u64, _log_bytes: u64) {}

    /// That was all.
    fn on_end(&mut self) {}
}

impl<F: FnMut(&Effect<'_>, &Range<u16>)> Replay for F {
    fn apply(&mut self, effect: &Effect<'_>, groups: &Range<u16>) {
        self(effect, groups);
    }
}

/// Settings of recovery.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryOptions {
    /// The frame alignment that the log will go on with: [`crate::LogOptions::alignment`].
    pub alignment: usize,
}

/// A write that a crash cut off; it was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub path: PathBuf,
    /// Where the log ends.
    pub offset: u64,
    /// From there to the last byte that isn't zero. May include what still earlier crashes left.
    pub bytes: u64,
}

/// What recovery has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Effects in the logs.
    pub effects: u64,
    /// Effects among them that concerned this shard and were applied.
    pub applied: u64,
    /// Effects of groups without an end, and of those that were dropped with transactions.
    pub dropped: u64,
    /// Parts of transactions in this shard's newest log that are dropped now, and were not before.
    pub transactions_dropped: u64,
    /// Frames.
    pub frames: u64,
    /// Segments that hold frames.
    pub segments: u64,
    /// Bytes of frames.
    pub bytes: u64,
    /// Whether this shard's newest log ends with the mark of a clean stop. An empty one does.
    pub clean_stop: bool,
    /// One for each log that ends in one.
    pub torn_tails: Vec<TornTail>,
    /// There are files that are kept for going back in time. They were not looked at.
    pub retained: bool,
    /// The image that this shard began with.
    pub image: Option<ImageReport>,
    /// Damaged checkpoints that an older one and the log have replaced.
    pub unused: Vec<UnusedCheckpoint>,
    /// Segments of this shard's newest log that had been retained, and have their own names again: without them there was no start.
    pub segments_taken_back: u64,
    /// This shard has lost its checkpoint, and had to go on from former epochs that are retained.
    pub takes_past_epochs: bool,
    /// The greatest number that any checkpoint of this shard has, whole or not.
    pub checkpoint_number_max: u64,
    /// Where logs of older epochs end that had no recorded end: for [`crate::manifest::close_logs`], before the server writes
    /// anything.
    pub closed: Vec<ClosedLog>,
}

/// A shard's log, ready to go on.
#[derive(Clone, Debug)]
pub struct Recovered<F> {
    /// For [`crate::Log::new`].
    pub start: LogStart<F>,
    /// What was read.
    pub report: RecoveryReport,
}

/// Reads everything that concerns a shard of the current epoch: older epochs first, then its own log.
///
/// `apply` gets the effects in order, with the slot groups that they are about: for an effect without a key (`FlushDatabase`,
/// `SwapDatabases`) those of this shard that the logging shard owned; for the others the same, though their slot says more.
///
/// `outcomes` says which groups are passed over: first all logs that [`logs_to_survey`] names are surveyed, then
/// [`Outcomes::resolve`] decides. No log may go on before all shards have recovered.
///
/// Only the shard's own effects are applied, so shards may recover at the same time, each from all logs of an older
/// epoch that touch its slots.
pub async fn recover_shard<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
    options: RecoveryOptions,
    outcomes: &Outcomes,
    apply: &mut dyn Replay,
) -> Result<Recovered<D::File>, RecoveryError> {
    let mut report = RecoveryReport::default();
    // A shard that has lost its checkpoint may find what it needs in what is retained. Where older epochs are needed anyway, they have it.
    let has_only_past = directory.epochs.len() == 1 && !directory.past.is_empty();
    let full = directory.with_past();
    let directory = if has_only_past { &full } else { directory };
    let current = directory.epoch();
    assert!(shard.0 < current.shards, "shard {shard} of {}", current.shards);
    let own = current.groups(shard);
    let mut log = scan::LogPlace::new(directory, current, shard, OpenMode::WRITE_DIRECT);
    report.checkpoint_number_max = beginning::greatest_number(disk, &log).await;
    let before = if directory.epochs.len() > 1 { Before::Unread } else { Before::Nothing };
    let mut own_beginning = beginning::begin(disk, &mut log, &own, before, apply, &mut report).await?;
    report.image = own_beginning.image.as_ref().map(Image::report);
    needs_image(directory, current, &log, own_beginning.image.as_ref())?;
    // With an image of its own a shard needs nothing of older epochs.
    if own_beginning.image.is_none() {
        report.takes_past_epochs = has_only_past;
        let places = (directory, &full);
        recover_what_was_before(disk, places, &own, outcomes, apply, &mut report).await?;
    }
    let outcome = outcomes.of(current.number, shard);
    let end = own_beginning.read_log(disk, &log, own, &outcome, apply, &mut report).await?;
    outcome.check()?;
    let is_it = |log: &&ClosedLog| (log.epoch, log.shard) == (current.number, shard);
    if let Some(closed) = directory.closed.iter().find(is_it) {
        // It is looked back at: later there were other numbers of shards. What is retained may tell of more that was dropped.
        check_closed(directory, current, end.closed(current, shard, closed.dropped.clone()), &mut report)?;
    }
    apply.on_end();
    report.transactions_dropped = outcome.new_parts;
    report.clean_stop = end.clean_stop();
    scan::clear_torn_end(disk, &log, &end, options.alignment).await?;
    own_beginning.take_back(disk, &mut log, &mut report).await?;
    let greatest = outcomes.greatest_transaction();
    let start = end.into_start(log, directory.incarnation, options.alignment, outcome.new, greatest);
    Ok(Recovered { start, report })
}

/// Reads what older epochs have left of these groups: of those that a start needs; or, where one of them has lost its checkpoint, of all that are there.
async fn recover_what_was_before<D: Disk>(
    disk: &D,
    (directory, full): (&DataDirectory, &DataDirectory),
    own: &Range<u16>,
    outcomes: &Outcomes,
    apply: &mut dyn Replay,
    report: &mut RecoveryReport,
) -> Result<(), RecoveryError> {
    let before = report.clone();
    let older = recover_older_epochs(disk, directory, own, outcomes, apply, report).await;
    let lacks_checkpoint = matches!(
        older,
        Err(RecoveryError::DamagedCheckpoint { .. } | RecoveryError::MissingCheckpoint { .. })
    );
    if !lacks_checkpoint || directory.past.is_empty() {
        return older;
    }
    *report = RecoveryReport { takes_past_epochs: true, ..before };
    image::empty(directory.databases, own, apply);
    recover_older_epochs(disk, full, own, outcomes, apply, report).await
}

/// Reads what older epochs have left of these groups.
async fn recover_older_epochs<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    own: &Range<u16>,
    outcomes: &Outcomes,
    apply: &mut dyn Replay,
    report: &mut RecoveryReport,
) -> Result<(), RecoveryError> {
    let older = directory.epochs.iter().take(directory.epochs.len() - 1);
    for (index, epoch) in older.enumerate() {
        for logging in (0..epoch.shards).map(ShardId) {
            let groups = intersection(own, &epoch.groups(logging));
            if groups.is_empty() {
                continue;
            }
            let mut log = scan::LogPlace::new(directory, *epoch, logging, OpenMode::READ_DIRECT);
            let before = match index {
                0 => Before::Nothing,
                _ => Before::Applied { databases: directory.databases },
            };
            let mut beginning = beginning::begin(disk, &mut log, &groups, before, apply, report).await?;
            needs_image(directory, *epoch, &log, beginning.image.as_ref())?;
            let outcome = outcomes.of(epoch.number, logging);
            let end = beginning.read_log(disk, &log, groups, &outcome, apply, report).await?;
            outcome.check()?;
            let found = end.closed(*epoch, logging, outcome.dropped);
            check_closed(directory, *epoch, found, report)?;
        }
    }
    Ok(())
}

/// A closed log ends where it was recorded to end, or that is to be recorded.
fn check_closed(
    directory: &DataDirectory,
    epoch: Epoch,
    found: ClosedLog,
    report: &mut RecoveryReport,
) -> Result<(), RecoveryError> {
    let is_it = |it: &&ClosedLog| (it.epoch, it.shard) == (found.epoch, found.shard);
    match directory.closed.iter().find(is_it) {
        None => report.closed.push(found),
        Some(recorded) if *recorded == found => {}
        Some(recorded) => {
            reached(Branch::ClosedChanged);
            let path = directory.shard_directory(epoch, found.shard);
            let (recorded, found) = (Box::new(recorded.clone()), Box::new(found));
            return Err(RecoveryError::ClosedLogChanged { path, recorded, found });
        }
    }
    Ok(())
}

/// What was before the first epoch that is still there was given up for checkpoints of that epoch.
fn needs_image(
    directory: &DataDirectory,
    epoch: Epoch,
    log: &scan::LogPlace,
    image: Option<&Image>,
) -> Result<(), RecoveryError> {
    let first = directory.epochs.first().is_some_and(|first| first.number == epoch.number);
    if first && epoch.number > 1 && image.is_none() {
        return Err(RecoveryError::MissingCheckpoint { path: log.directory.clone() });
    }
    Ok(())
}

fn intersection(a: &Range<u16>, b: &Range<u16>) -> Range<u16> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// A place in a log, for messages and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    segment: SegmentId,
    offset: u64,
}

/// The horizon that a later frame has claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Proof {
    place: Place,
    horizon: Lsn,
}

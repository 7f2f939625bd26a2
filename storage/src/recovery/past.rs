//! Looking back: a log together with what is retained of the time before it.
//!
//! What is retained may have damage, or holes, that a start has nothing to do with, unless it needs what is retained in the place of a damaged
//! checkpoint: one can go back then to what lies behind them only.

use std::collections::BTreeMap;
use std::path::Path;

use super::image::{UnusedCheckpoint, verify_image};
use super::reader::{SegmentReader, read_front};
use super::scan::{Given, LogPlace, Passing, segment_ids, walk};
use super::survey::survey_place;
use super::{ImageReport, Listed, Outcomes, RecoveryError, list_log, logs_to_survey, survey_log};
use crate::checkpoint::files::{retained_checkpoint, retained_segment, retained_segment_name};
use crate::checkpoint::format::{CheckpointHeader, HEADER_BYTES};
use crate::disk::{Disk, OpenMode};
use crate::log::frame::{FRAME_HEADER_BYTES, claimed_frame_bytes, open_frame};
use crate::log::record::{Record, decode_note, is_note, take_record};
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::{LogIdentity, SegmentId};
use crate::manifest::{ClosedLog, DataDirectory, Epoch};
use crate::{GroupNote, Lsn, ShardId};

/// What is retained of a log.
#[derive(Debug)]
pub(super) struct Past {
    /// Segments before this one have the names of what is retained.
    pub(super) until: SegmentId,
    /// The names of images.
    pub(super) images: BTreeMap<u64, String>,
}

/// How far back a shard's directory reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The segment from which on its log is whole, with what is retained.
    pub begins: SegmentId,
    /// The first effect that ends there. Of what was before it there's nothing but the image.
    pub first: Lsn,
    /// No state before this effect can be had: of it there is an image, or it is the beginning.
    pub floor: Lsn,
    /// When that image was begun, ms of Unix time; 0 for the beginning.
    pub floor_ms: u64,
}

/// What a look at everything that is retained of a shard has found.
#[derive(Debug, Default)]
pub struct RetainedCheck {
    /// Segments.
    pub segments: u64,
    /// What is wrong with them.
    pub faults: Vec<RecoveryError>,
    /// Segments before the oldest image that one could begin with: what would make them of use is gone.
    pub segments_unusable: u64,
    /// The images: whole, or damaged where.
    pub images: Vec<Result<ImageReport, UnusedCheckpoint>>,
}

impl LogPlace {
    /// A log with what is retained of it: the place, the segments that are retained, and the others.
    pub(super) async fn with_past<D: Disk>(
        disk: &D,
        directory: &DataDirectory,
        epoch: Epoch,
        shard: ShardId,
    ) -> Result<(LogPlace, Vec<SegmentId>, Vec<SegmentId>), RecoveryError> {
        let mut log = LogPlace::new(directory, epoch, shard, OpenMode::READ_DIRECT);
        let (retained, live) = log.join_past(disk).await?;
        Ok((log, retained, live))
    }

    /// Joins what is retained to the log: the segments that are retained, and the others.
    pub(super) async fn join_past<D: Disk>(
        &mut self,
        disk: &D,
    ) -> Result<(Vec<SegmentId>, Vec<SegmentId>), RecoveryError> {
        let (live, _) = segment_ids(disk, self).await?;
        let entries = disk.list_dir(&self.directory).await.unwrap_or_default();
        let mut retained: Vec<_> = entries.iter().filter_map(|entry| retained_segment(&entry.name)).collect();
        retained.sort_unstable();
        let after = retained.last().map_or(SegmentId::FIRST, |last| last.next());
        let images = entries.iter().filter_map(|entry| {
            let (number, _) = retained_checkpoint(&entry.name)?;
            Some((number, entry.name.clone()))
        });
        self.past = Some(Past { until: live.first().copied().unwrap_or(after), images: images.collect() });
        Ok((retained, live))
    }
}

/// The log from a segment on, which is retained or not, to its end.
pub(super) async fn log_from<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
    begins: SegmentId,
) -> Result<(LogPlace, Vec<SegmentId>), RecoveryError> {
    let (log, mut ids, live) = LogPlace::with_past(disk, directory, directory.epoch(), shard).await?;
    ids.extend(live);
    ids.retain(|id| *id >= begins);
    Ok((log, ids))
}

/// How far back a shard of the newest epoch can be restored.
pub async fn reach_of<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
) -> Result<Reach, RecoveryError> {
    let epoch = directory.epoch();
    let (log, retained, live) = LogPlace::with_past(disk, directory, epoch, shard).await?;
    let (begins, _) = whole_from(disk, &log, &retained, &live).await;
    let beginning = Reach { begins, first: Lsn(1), floor: Lsn::ZERO, floor_ms: 0 };
    // What is before the first segment of a later epoch is in the epochs before it, if they are there.
    let has_all = epoch.number == 1 || directory.epochs.len() > 1;
    if begins == SegmentId::FIRST && has_all {
        return Ok(beginning);
    }
    // Who reads the log says what is wrong with a header.
    let Some(first) = segment_header(disk, &log, begins).await.map(|header| header.first_lsn) else {
        return Ok(beginning);
    };
    let entries = disk.list_dir(&log.directory).await.unwrap_or_default();
    for number in log.image_numbers(&entries).into_iter().rev() {
        if let Ok(Some(image)) = verify_image(disk, &log, number).await
            && first <= image.from
        {
            return Ok(Reach { begins, first, floor: image.to, floor_ms: image.unix_ms });
        }
    }
    // Without any image there's nothing to go back to; who reads the log says what is wrong.
    Ok(beginning)
}

/// Reads everything that is retained of a shard of the newest epoch.
pub async fn verify_retained<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
) -> Result<RetainedCheck, RecoveryError> {
    let (log, retained, live) = LogPlace::with_past(disk, directory, directory.epoch(), shard).await?;
    let (begins, faults) = whole_from(disk, &log, &retained, &live).await;
    let mut check = RetainedCheck { segments: retained.len() as u64, faults, ..RetainedCheck::default() };
    let numbers: Vec<u64> = log.past.iter().flat_map(|past| past.images.keys().copied()).collect();
    for number in numbers {
        check.images.extend(verify_image(disk, &log, number).await.transpose());
    }
    let oldest = check.images.iter().find_map(|image| image.as_ref().ok().map(|image| image.from));
    let header = segment_header(disk, &log, begins).await;
    if let (Some(from), Some(header)) = (oldest, header)
        && header.first_lsn > from
        && check.faults.is_empty()
    {
        // The image was kept with the log from there on.
        let before = SegmentId(begins.0.saturating_sub(1));
        let path = log.directory.join(retained_segment_name(before));
        check.faults.push(RecoveryError::MissingPast { path });
    }
    check.segments_unusable = unusable(disk, &log, &retained, begins).await;
    Ok(check)
}

/// How many retained segments stand before the oldest image that one could begin with, and after the beginning of the log.
async fn unusable<D: Disk>(disk: &D, log: &LogPlace, retained: &[SegmentId], begins: SegmentId) -> u64 {
    if begins == SegmentId::FIRST {
        return 0;
    }
    let entries = disk.list_dir(&log.directory).await.unwrap_or_default();
    let first = segment_header(disk, log, begins).await.map(|header| header.first_lsn);
    let mut from = None;
    for number in log.image_numbers(&entries) {
        let front = read_front(disk, &log.image_path(number), HEADER_BYTES).await.unwrap_or_default();
        let header =
            CheckpointHeader::decode(&front, log.identity, number).ok().map(|(header, _)| header.from);
        from = header.filter(|from| first.is_some_and(|first| first <= *from)).or(from);
    }
    let mut count = 0;
    for (index, id) in retained.iter().enumerate() {
        let next = retained.get(index + 1).copied().unwrap_or(id.next());
        let next = segment_header(disk, log, next).await.map(|header| header.first_lsn);
        let is_needed = *id >= begins && from.zip(next).is_some_and(|(from, next)| from < next);
        count += u64::from(!is_needed);
    }
    count
}

/// The header of a segment, if it is whole.
async fn segment_header<D: Disk>(disk: &D, log: &LogPlace, id: SegmentId) -> Option<SegmentHeader> {
    let front = read_front(disk, &log.path(id), SEGMENT_HEADER_BYTES).await.ok()?;
    SegmentHeader::decode(&front).ok().filter(|header| header.id == id)
}

/// What a look at a former epoch that is retained has found.
#[derive(Debug, Default)]
pub struct PastCheck {
    /// Segments, of all its shards.
    pub segments: u64,
    /// What is wrong with them.
    pub faults: Vec<RecoveryError>,
    /// Damaged images.
    pub images: Vec<UnusedCheckpoint>,
}

/// Reads everything that is kept of a former epoch: the newest of `directory`, which is as it was then.
pub async fn verify_past_epoch<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    closed: &[ClosedLog],
) -> PastCheck {
    let epoch = directory.epoch();
    let mut check = PastCheck::default();
    for shard in (0..epoch.shards).map(ShardId) {
        let (log, retained, live) = match LogPlace::with_past(disk, directory, epoch, shard).await {
            Ok(found) => found,
            Err(error) => {
                check.faults.push(error);
                continue;
            }
        };
        check.segments += (retained.len() + live.len()) as u64;
        let (_, faults) = whole_from(disk, &log, &retained, &live).await;
        check.faults.extend(faults);
        let recorded = closed.iter().find(|it| (it.epoch, it.shard) == (epoch.number, shard));
        check.faults.extend(wrong_end(disk, &log, &live, recorded).await);
        let entries = disk.list_dir(&log.directory).await.unwrap_or_default();
        for number in log.image_numbers(&entries) {
            check.images.extend(verify_image(disk, &log, number).await.err());
        }
    }
    check
}

/// What is wrong with a closed log that does not end where it did.
async fn wrong_end<D: Disk>(
    disk: &D,
    log: &LogPlace,
    live: &[SegmentId],
    recorded: Option<&ClosedLog>,
) -> Option<RecoveryError> {
    let whole = super::scan::unbroken(live, true);
    if let Some(&later) = live.get(whole) {
        let before = live.get(whole.wrapping_sub(1)).map_or(later, |id| id.next());
        return Some(RecoveryError::MissingSegment { path: log.path(before), later });
    }
    let walked = match walk(disk, log, live, Given::Any, &mut Passing).await {
        Ok(walked) => walked,
        Err(error) => return Some(error),
    };
    let recorded = recorded?;
    let found =
        ClosedLog { last_lsn: walked.end.last_lsn(), chain: walked.end.checksum(), ..recorded.clone() };
    let path = log.directory.clone();
    (found != *recorded).then(|| RecoveryError::ClosedLogChanged {
        path,
        recorded: Box::new(recorded.clone()),
        found: Box::new(found),
    })
}

/// The last time that any log of a directory's newest epoch tells, ms of Unix time; 0 if none does.
pub(crate) async fn last_time_ms<D: Disk>(disk: &D, directory: &DataDirectory) -> Result<u64, RecoveryError> {
    let mut last_ms = 0;
    for shard in (0..directory.epoch().shards).map(ShardId) {
        let begins = reach_of(disk, directory, shard).await?.begins;
        let mut each = |listed: Listed<'_>| {
            if let Listed::Note { note: GroupNote::Time { unix_ms }, .. } = listed {
                last_ms = last_ms.max(unix_ms);
            }
        };
        list_log(disk, directory, shard, begins, &mut each).await?;
    }
    Ok(last_ms)
}

/// Surveys all logs for transactions, those of the newest epoch from these segments on, and decides.
pub async fn survey_past<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    reaches: &[Reach],
) -> Result<Outcomes, RecoveryError> {
    let mut surveys = Vec::new();
    for (epoch, shard) in logs_to_survey(directory) {
        let reach = reaches.get(shard.index()).filter(|_| epoch.number == directory.epoch().number);
        surveys.push(match reach {
            None => survey_log(disk, directory, epoch, shard).await?,
            Some(reach) => {
                let (log, ids) = log_from(disk, directory, shard, reach.begins).await?;
                survey_place(disk, &log, &ids).await?
            }
        });
    }
    Ok(Outcomes::resolve(directory, &surveys))
}

/// From which segment on a log is whole up to those that are not retained; and what is wrong with what is before.
async fn whole_from<D: Disk>(
    disk: &D,
    log: &LogPlace,
    retained: &[SegmentId],
    live: &[SegmentId],
) -> (SegmentId, Vec<RecoveryError>) {
    let mut faults = Vec::new();
    let first_live = live.first().copied();
    let mut begin = 0;
    for (index, id) in retained.iter().enumerate() {
        let next = retained.get(index + 1).copied().or(first_live);
        if next.is_some_and(|next| next != id.next()) {
            faults.push(RecoveryError::MissingPast { path: log.path(id.next()) });
            begin = index + 1;
        }
    }
    // What is before a hole is of no use, but what is wrong with it is to be told all the same.
    let mut from = 0;
    while from < retained.len() {
        let end = if from < begin { next_hole(retained, from) } else { retained.len() };
        let mut ids: Vec<SegmentId> = retained.get(from..end).unwrap_or_default().to_vec();
        let joined = if end == retained.len() { first_live } else { None };
        ids.extend(joined.filter(|live| retained.last().is_some_and(|last| last.next() == *live)));
        let broken_at = match walk(disk, log, &ids, Given::Any, &mut Passing).await {
            Ok(walked) if Some(walked.end_segment()) == ids.last().copied() => None,
            Ok(walked) => {
                let id = walked.end_segment();
                let (path, offset) = walked.end_place(log);
                faults.push(RecoveryError::DamagedPast { path, offset, fault: walked.broken.1 });
                Some(id)
            }
            Err(error) => {
                let id = ids.iter().find(|id| log.path(**id) == error.path()).copied();
                faults.push(error);
                id.or(ids.last().copied())
            }
        };
        from = match broken_at {
            None => end,
            Some(id) => {
                let after =
                    retained.iter().position(|it| *it == id).map_or(retained.len(), |index| index + 1);
                begin = begin.max(after);
                after
            }
        };
    }
    (retained.get(begin).copied().or(first_live).unwrap_or(SegmentId::FIRST), faults)
}

/// The end of the stretch without a hole that begins there.
fn next_hole(ids: &[SegmentId], from: usize) -> usize {
    let pairs = ids.iter().zip(ids.iter().skip(1)).enumerate().skip(from);
    let hole = pairs.into_iter().find(|(_, (id, next))| id.next() != **next);
    hole.map_or(ids.len(), |(index, _)| index + 1)
}

/// The time that the first record of a log's first segment tells; nothing if it tells none.
pub(crate) async fn first_time_ms<D: Disk>(disk: &D, path: &Path, identity: LogIdentity) -> Option<u64> {
    let file = disk.open(path, OpenMode::READ_DIRECT).await.ok()?;
    let bytes = disk.len(&file).await.ok()?;
    let offset = SEGMENT_HEADER_BYTES as u64;
    let mut reader = SegmentReader::new(disk, file, bytes, offset);
    let front = reader.bytes_at(offset, FRAME_HEADER_BYTES).await.ok()?;
    let frame_bytes = claimed_frame_bytes(front, usize::try_from(bytes.checked_sub(offset)?).ok()?).ok()?;
    let frame = reader.bytes_at(offset, frame_bytes).await.ok()?.get(..frame_bytes)?;
    let place = (SegmentId::FIRST, offset);
    let (header, _) = open_frame(frame, place, identity, identity.checksum_seed()).ok()?;
    let mut payload = frame.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.payload_bytes)?;
    let Some(Record::Whole { body, .. }) = take_record(&mut payload).ok()? else { return None };
    match is_note(body).then(|| decode_note(body)) {
        Some(Ok(GroupNote::Time { unix_ms })) => Some(unix_ms),
        _ => None,
    }
}

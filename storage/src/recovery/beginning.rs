//! From where a start goes on: which image, and which segments.
//!
//! Mostly that is the newest checkpoint and the log with its own names. Where that checkpoint is damaged, or gone, an older one does as
//! well if the log reaches back to where it was begun; and so does none, if the log reaches back to its beginning. What is retained for
//! going back in time counts for that: an older image, and the segments that join the log.
//!
//! Invariants:
//! - what is gone on from is whole by the names and the headers before any of it is applied: segments one after the other, up to the log's own;
//! - a damaged image whose header is sound still says how far the log was durable: a log that ends before that is refused;
//! - retained files that a start goes on from get their own names back before it ends ([`Beginning::take_back`]), so that nothing gives them up before
//!   there's a new checkpoint. Segments first, the youngest before the others: the log never has a hole.
//!
//! What a crash leaves of the renaming is a log that begins somewhat earlier; the next start goes on from the same image and the same segments.

use std::ops::Range;
use std::path::PathBuf;

use super::image::{Before, Claim, Image, LoadError, UnusedCheckpoint, empty, load, replace};
use super::outcome::LogOutcome;
use super::reader::read_front;
use super::scan::{self, Given, Known, LogEnd, LogPlace, checked_segments};
use super::survey::survey_place;
use super::{Gap, RecoveryError, RecoveryReport, Replay};
use crate::Lsn;
use crate::checkpoint::files::{checkpoint_name, is_retained_name, numbers, retained_checkpoint};
use crate::checkpoint::format::{CheckpointFault, CheckpointHeader, HEADER_BYTES};
use crate::coverage::{Branch, reached};
use crate::disk::{DirectoryEntry, Disk};
use crate::log::SegmentId;
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

/// What a log is read from.
#[derive(Default)]
pub(super) struct Beginning {
    pub(super) image: Option<Image>,
    /// The segments, if some of them are retained; else those with their own names.
    segments: Option<Vec<SegmentId>>,
    /// A damaged image says that the log was durable up to there.
    claim: Option<Claim>,
    /// The damaged image that made a start look further back.
    damaged: Option<UnusedCheckpoint>,
}

/// An image by its name and header.
struct Candidate {
    number: u64,
    /// Nothing if the header is damaged.
    header: Option<CheckpointHeader>,
}

/// What there is of a log by names and headers, what is retained included.
struct Holdings {
    /// Retained and own, without a gap up to the last.
    segments: Vec<SegmentId>,
    /// The newest first.
    images: Vec<Candidate>,
    /// There are files that are retained, joined or not.
    has_retained: bool,
}

impl Holdings {
    /// Looks, and makes the place one with a past.
    async fn look<D: Disk>(disk: &D, log: &mut LogPlace) -> Result<Self, RecoveryError> {
        let (mut retained, mut segments) = log.join_past(disk).await?;
        while !segments.is_empty()
            && let Some(id) = retained.pop()
            && segments.first().is_some_and(|first| id.next() == *first)
        {
            segments.insert(0, id);
        }
        let entries = disk.list_dir(&log.directory).await.unwrap_or_default();
        let mut images = Vec::new();
        for number in log.image_numbers(&entries) {
            images.push(Candidate { number, header: image_header(disk, log, number).await });
        }
        let has_retained = entries.iter().any(|entry| is_retained_name(&entry.name));
        Ok(Self { segments, images, has_retained })
    }

    /// The segments that the log has from an image on, or from its beginning; or the first that is missing.
    async fn reach<D: Disk>(
        &self,
        disk: &D,
        log: &LogPlace,
        from: Option<Lsn>,
    ) -> Result<Vec<SegmentId>, PathBuf> {
        let mut begin = self.segments.first().copied();
        if let Some(from) = from {
            let mut needed = None;
            for id in self.segments.iter().rev() {
                if first_lsn(disk, log, *id).await.is_some_and(|first| first <= from) {
                    needed = Some(*id);
                    break;
                }
            }
            let missing = begin.map_or(SegmentId::FIRST, |id| SegmentId(id.0.saturating_sub(1).max(1)));
            begin = Some(needed.ok_or_else(|| log.path(missing))?);
        }
        match begin {
            Some(begin) if from.is_some() || begin == SegmentId::FIRST => {
                Ok(self.segments.iter().copied().filter(|id| *id >= begin).collect())
            }
            Some(begin) => Err(log.path(SegmentId(begin.0 - 1))),
            None => Err(log.path(SegmentId::FIRST)),
        }
    }
}

/// Finds what to go on from, and loads the image: `apply` gets what concerns the groups `wanted`.
pub(super) async fn begin<D: Disk>(
    disk: &D,
    log: &mut LogPlace,
    wanted: &Range<u16>,
    before: Before,
    apply: &mut dyn Replay,
    report: &mut RecoveryReport,
) -> Result<Beginning, RecoveryError> {
    let Ok(entries) = disk.list_dir(&log.directory).await else {
        // Reading the log says what is wrong.
        return Ok(Beginning::default());
    };
    let has_retained = entries.iter().any(|entry| is_retained_name(&entry.name));
    report.retained |= has_retained;
    let Some(&newest) = numbers(&entries).first() else {
        let is_whole = !has_retained || live_reaches(disk, log, Lsn::ZERO).await;
        return if is_whole {
            Ok(Beginning::default())
        } else {
            look_back(disk, log, wanted, before, None, apply, report).await
        };
    };
    match load_image(disk, log, newest, wanted, before, apply).await {
        Ok(image) => {
            let mut beginning = Beginning::of(disk, log, image, report).await?;
            let from = beginning.image.as_ref().map_or(Lsn::ZERO, |image| image.window.from());
            if has_retained && !live_reaches(disk, log, from).await {
                // The checkpoint for which the log was given up is gone. Where the log lacks something reading it says what.
                let mut with_past = log.alone();
                let holdings = Holdings::look(disk, &mut with_past).await?;
                if let Ok(segments) = holdings.reach(disk, &with_past, Some(from)).await {
                    beginning.segments = Some(segments);
                    *log = with_past;
                }
            }
            Ok(beginning)
        }
        Err(LoadError::Refused(error)) => Err(error),
        Err(LoadError::Damaged { offset, fault, databases }) => {
            empty(databases, wanted, apply);
            let path = log.directory.join(checkpoint_name(newest));
            let damaged = UnusedCheckpoint { path, offset, fault };
            look_back(disk, log, wanted, before, Some((newest, damaged)), apply, report).await
        }
    }
}

/// The newest checkpoint is damaged, or there's none where one should be: finds what else there is to go on from.
async fn look_back<D: Disk>(
    disk: &D,
    log: &mut LogPlace,
    wanted: &Range<u16>,
    before: Before,
    newest: Option<(u64, UnusedCheckpoint)>,
    apply: &mut dyn Replay,
    report: &mut RecoveryReport,
) -> Result<Beginning, RecoveryError> {
    // The log by itself: what it has with its own names is checked as ever.
    checked_segments(disk, log, Given::Any).await?;
    let own = log.alone();
    let holdings = Holdings::look(disk, log).await?;
    let (tried, newest) = newest.unzip();
    let (mut claim, mut gap) = (None::<Claim>, None);
    let mut damaged: Vec<UnusedCheckpoint> = newest.into_iter().collect();
    for Candidate { number, header } in &holdings.images {
        let path = log.image_path(*number);
        let Some(header) = header else {
            if tried != Some(*number) {
                let (_, fault) = header_fault(disk, log, *number).await;
                damaged.push(UnusedCheckpoint { path, offset: 0, fault });
            }
            continue;
        };
        if tried != Some(*number) {
            let segments = match holdings.reach(disk, log, Some(header.from)).await {
                Ok(segments) => segments,
                Err(missing) => {
                    gap.get_or_insert(missing);
                    continue;
                }
            };
            match load_image(disk, log, *number, wanted, before, apply).await {
                Ok(image) => {
                    let mut beginning = Beginning::of(disk, log, image, report).await?;
                    beginning.take_segments(log, own, segments);
                    return Ok(beginning.after(damaged, claim, report));
                }
                Err(LoadError::Refused(error)) => return Err(error),
                Err(LoadError::Damaged { offset, fault, databases }) => {
                    empty(databases, wanted, apply);
                    damaged.push(UnusedCheckpoint { path: path.clone(), offset, fault });
                }
            }
        }
        if claim.as_ref().is_none_or(|claim| claim.horizon < header.from) {
            claim = Some(Claim { path, offset: 0, horizon: header.from });
        }
    }
    // Nothing of the time before is there, but for the first epoch nothing was.
    if before != Before::Nothing || log.identity.epoch == 1 {
        match holdings.reach(disk, log, None).await {
            Ok(segments) => {
                let mut beginning = Beginning::default();
                beginning.take_segments(log, own, segments);
                return Ok(beginning.after(damaged, claim, report));
            }
            Err(missing) => drop(gap.get_or_insert(missing)),
        }
    }
    *log = own;
    refused(damaged, gap.filter(|_| holdings.has_retained))
}

/// There's nothing to go on from.
fn refused(damaged: Vec<UnusedCheckpoint>, missing: Option<PathBuf>) -> Result<Beginning, RecoveryError> {
    match damaged.into_iter().next() {
        // What the log lacks reading it says.
        None => Ok(Beginning::default()),
        Some(UnusedCheckpoint { path, offset, fault }) => {
            let gap = missing.map(|path| Gap { path, offset: None });
            Err(RecoveryError::DamagedCheckpoint { path, offset, fault, gap })
        }
    }
}

impl Beginning {
    /// An image that was loaded: it stands for all that was before it from now on.
    async fn of<D: Disk>(
        disk: &D,
        log: &LogPlace,
        image: Image,
        report: &mut RecoveryReport,
    ) -> Result<Self, RecoveryError> {
        // Its name may be in a cache only.
        let synced = disk.sync_dir(&log.directory).await;
        let path = log.directory.clone();
        synced.map_err(|error| RecoveryError::Io { path, doing: "sync", error })?;
        report.effects += image.report.records;
        report.applied += image.report.records;
        report.bytes += image.report.bytes;
        Ok(Self { image: Some(image), ..Self::default() })
    }

    /// The log is read from these segments: as ever, if all of them have their own names.
    fn take_segments(&mut self, log: &mut LogPlace, own: LogPlace, segments: Vec<SegmentId>) {
        let until = log.past.as_ref().map_or(SegmentId::FIRST, |past| past.until);
        let image_is_retained = self.image.as_ref().is_some_and(|image| log.is_retained(image.report.number));
        if image_is_retained || segments.first().is_some_and(|first| *first < until) {
            self.segments = Some(segments);
        } else {
            *log = own;
        }
    }

    fn after(
        mut self,
        damaged: Vec<UnusedCheckpoint>,
        claim: Option<Claim>,
        report: &mut RecoveryReport,
    ) -> Self {
        self.claim = claim;
        self.damaged = damaged.first().cloned();
        report.unused.extend(damaged);
        self
    }

    /// Reads the log to its end, and applies what the image lacks.
    pub(super) async fn read_log<D: Disk>(
        &mut self,
        disk: &D,
        log: &LogPlace,
        wanted: Range<u16>,
        outcome: &LogOutcome,
        apply: &mut dyn Replay,
        report: &mut RecoveryReport,
    ) -> Result<LogEnd<D::File>, RecoveryError> {
        let mut dropped = outcome.dropped.clone();
        let ids = self.segments.clone();
        if let Some(ids) = &ids {
            reached(Branch::PastTaken);
            // What was dropped in the past is told there; the rest of it was decided when it was given up.
            let survey = survey_place(disk, log, ids).await.map_err(|error| self.blame(log, error))?;
            dropped.extend(survey.abandoned);
            dropped.sort_unstable();
            dropped.dedup();
        }
        let claim = self.claim.take();
        let known = Known { image: self.image.as_mut(), dropped: &dropped, segments: ids, claim };
        let end = scan::scan_log(disk, log, wanted, known, apply, report).await;
        end.map_err(|error| self.blame(log, error))
    }

    /// What is wrong with what is retained keeps a start from doing without a damaged checkpoint.
    fn blame(&self, log: &LogPlace, error: RecoveryError) -> RecoveryError {
        let retained = error.path().file_name().and_then(|name| name.to_str()).is_some_and(is_retained_name);
        match &self.damaged {
            Some(UnusedCheckpoint { path, offset, fault }) if retained && log.past.is_some() => {
                let gap = Some(Gap { path: error.path().to_path_buf(), offset: error.offset() });
                RecoveryError::DamagedCheckpoint { path: path.clone(), offset: *offset, fault: *fault, gap }
            }
            _ => error,
        }
    }

    /// Gives retained files that a start has gone on from their own names back.
    pub(super) async fn take_back<D: Disk>(
        &self,
        disk: &D,
        log: &mut LogPlace,
        report: &mut RecoveryReport,
    ) -> Result<(), RecoveryError> {
        let Some(segments) = &self.segments else { return Ok(()) };
        let own = log.alone();
        let image = self.image.as_ref().map(|image| image.report.number).filter(|it| log.is_retained(*it));
        let retained = segments.iter().rev().filter(|id| log.path(**id) != own.path(**id));
        let mut renames: Vec<_> = retained.map(|id| (log.path(*id), own.path(*id))).collect();
        report.segments_taken_back = renames.len() as u64;
        renames.extend(image.map(|number| (log.image_path(number), own.image_path(number))));
        let io = |path: PathBuf, doing| move |error| RecoveryError::Io { path, doing, error };
        for (from, to) in renames {
            disk.rename(&from, &to).await.map_err(io(from, "rename"))?;
        }
        disk.sync_dir(&log.directory).await.map_err(io(log.directory.clone(), "sync"))?;
        *log = own;
        Ok(())
    }
}

/// The segments in which parts of transactions are looked for: those from which a start goes on, as far as headers tell.
pub(super) async fn place_to_survey<D: Disk>(
    disk: &D,
    log: &mut LogPlace,
) -> Result<Vec<SegmentId>, RecoveryError> {
    let ids = checked_segments(disk, log, Given::Any).await?;
    let Some(&first) = ids.first().filter(|first| **first > SegmentId::FIRST) else { return Ok(ids) };
    let entries = disk.list_dir(&log.directory).await.unwrap_or_default();
    if !entries.iter().any(|entry| is_retained_name(&entry.name))
        || is_covered(disk, log, first, &entries).await
    {
        return Ok(ids);
    }
    // No checkpoint covers what was given up: a start takes what is retained, or is refused.
    let own = log.alone();
    let holdings = Holdings::look(disk, log).await?;
    for header in holdings.images.iter().filter_map(|image| image.header.as_ref()) {
        if let Ok(segments) = holdings.reach(disk, log, Some(header.from)).await {
            return Ok(segments);
        }
    }
    if let Ok(segments) = holdings.reach(disk, log, None).await {
        return Ok(segments);
    }
    *log = own;
    Ok(ids)
}

/// Whether a checkpoint with a sound header has what ended before a segment.
async fn is_covered<D: Disk>(disk: &D, log: &LogPlace, first: SegmentId, entries: &[DirectoryEntry]) -> bool {
    let Some(begins) = first_lsn(disk, log, first).await else { return true };
    for number in numbers(entries) {
        if image_header(disk, log, number).await.is_some_and(|header| begins <= header.from) {
            return true;
        }
    }
    false
}

async fn load_image<D: Disk>(
    disk: &D,
    log: &LogPlace,
    number: u64,
    wanted: &Range<u16>,
    before: Before,
    apply: &mut dyn Replay,
) -> Result<Image, LoadError> {
    match before {
        Before::Nothing | Before::Unread => load(disk, log, number, wanted, apply).await,
        Before::Applied { databases } => replace(disk, log, number, wanted, databases, apply).await,
    }
}

/// Whether the log with its own names goes on from an effect, or has its beginning.
async fn live_reaches<D: Disk>(disk: &D, log: &LogPlace, from: Lsn) -> bool {
    let ids = scan::segment_ids(disk, log).await.map(|(ids, _)| ids).unwrap_or_default();
    match ids.first() {
        // Without any reading it says what is wrong.
        None | Some(&SegmentId::FIRST) => true,
        Some(first) => first_lsn(disk, log, *first).await.is_none_or(|first| first <= from),
    }
}

async fn first_lsn<D: Disk>(disk: &D, log: &LogPlace, id: SegmentId) -> Option<Lsn> {
    let front = read_front(disk, &log.path(id), SEGMENT_HEADER_BYTES).await.ok()?;
    let header = SegmentHeader::decode(&front).ok()?;
    ((header.id, header.identity) == (id, log.identity)).then_some(header.first_lsn)
}

async fn image_header<D: Disk>(disk: &D, log: &LogPlace, number: u64) -> Option<CheckpointHeader> {
    let front = read_front(disk, &log.image_path(number), HEADER_BYTES).await.ok()?;
    CheckpointHeader::decode(&front, log.identity, number).ok().map(|(header, _)| header)
}

async fn header_fault<D: Disk>(disk: &D, log: &LogPlace, number: u64) -> (u64, CheckpointFault) {
    let front = read_front(disk, &log.image_path(number), HEADER_BYTES).await.unwrap_or_default();
    let fault = CheckpointHeader::decode(&front, log.identity, number).err();
    (0, fault.unwrap_or(CheckpointFault::Unreadable))
}

/// The greatest number that any checkpoint in the directory has, retained or not, whole or not.
pub(super) async fn greatest_number<D: Disk>(disk: &D, log: &LogPlace) -> u64 {
    let entries = disk.list_dir(&log.directory).await.unwrap_or_default();
    let retained = entries.iter().filter_map(|entry| retained_checkpoint(&entry.name));
    let retained = retained.map(|(number, _)| number);
    retained.chain(numbers(&entries)).max().unwrap_or_default()
}

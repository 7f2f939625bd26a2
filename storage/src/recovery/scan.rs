//! Walking the segments of one log.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::assemble::{Assembler, PayloadFault};
use super::image::{Claim, Image};
use super::past::Past;
use super::reader::SegmentReader;
use super::{Fault, Place, Proof, RecoveryError, RecoveryReport, Replay, TornTail};
use crate::buffer::AlignedBuffer;
use crate::checkpoint::files::{
    checkpoint_name, is_checkpoint_name, is_retained_name, numbers, retained_segment_name,
};
use crate::coverage::{Branch, reached};
use crate::disk::{DirectoryEntry, Disk, OpenMode, WriteSync};
use crate::log::frame::{
    FLAG_CLEAN_STOP, FRAME_HEADER_BYTES, FrameFault, FrameHeader, claimed_frame_bytes, claims_place,
    open_frame,
};
use crate::log::limits::ALIGNMENT_MIN;
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentFault, SegmentHeader};
use crate::log::{
    CurrentSegment, LogIdentity, LogPosition, LogStart, PreparedSegment, SegmentId, is_spare_name,
};
use crate::manifest::{ClosedLog, DataDirectory, Epoch};
use crate::{Lsn, ShardId, TransactionId};

/// Where a log is and whose.
pub(super) struct LogPlace {
    pub(super) directory: PathBuf,
    pub(super) identity: LogIdentity,
    pub(super) seed: u32,
    pub(super) groups: Range<u16>,
    /// How its files are opened.
    pub(super) mode: OpenMode,
    /// What is retained of the time before: only for who looks back.
    pub(super) past: Option<Past>,
}

impl LogPlace {
    pub(super) fn new(directory: &DataDirectory, epoch: Epoch, shard: ShardId, mode: OpenMode) -> Self {
        let identity = directory.log_identity(epoch, shard);
        Self {
            directory: directory.shard_directory(epoch, shard),
            identity,
            seed: identity.checksum_seed(),
            groups: epoch.groups(shard),
            mode,
            past: None,
        }
    }

    /// The same log with nothing but its own names.
    pub(super) fn alone(&self) -> Self {
        let Self { directory, identity, seed, groups, mode, past: _ } = self;
        let (directory, groups) = (directory.clone(), groups.clone());
        Self { directory, identity: *identity, seed: *seed, groups, mode: *mode, past: None }
    }

    pub(super) fn path(&self, segment: SegmentId) -> PathBuf {
        match &self.past {
            Some(past) if segment < past.until => self.directory.join(retained_segment_name(segment)),
            _ => self.directory.join(segment.file_name()),
        }
    }

    pub(super) fn image_path(&self, number: u64) -> PathBuf {
        let retained = self.past.as_ref().and_then(|past| past.images.get(&number));
        self.directory.join(retained.unwrap_or(&checkpoint_name(number)))
    }

    /// Whether an image has the name of one that is retained.
    pub(super) fn is_retained(&self, number: u64) -> bool {
        self.past.as_ref().is_some_and(|past| past.images.contains_key(&number))
    }

    /// The numbers of the checkpoints in the directory, and of those that are retained, if that is asked for. The newest first.
    pub(super) fn image_numbers(&self, entries: &[DirectoryEntry]) -> Vec<u64> {
        let mut numbers = numbers(entries);
        numbers.extend(self.past.iter().flat_map(|past| past.images.keys().rev()));
        numbers
    }

    pub(super) fn io(
        &self,
        segment: SegmentId,
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> RecoveryError {
        let path = self.path(segment);
        move |error| RecoveryError::Io { path, doing, error }
    }
}

/// What of a log was read so far.
struct Chain {
    last_lsn: Lsn,
    /// Checksum of the last frame.
    checksum: u32,
    /// Life that wrote the last frame, or took the last segment into use.
    incarnation: u32,
    /// The greatest of any whole frame, also of those that are not part of the log.
    incarnation_max: u32,
    /// The greatest that a frame of the log has claimed.
    horizon: Lsn,
    clean_stop: bool,
}

/// Where and how a log ends.
pub(super) struct LogEnd<F> {
    chain: Chain,
    /// Where the log goes on in the first of `segments`; without one it has not begun.
    offset: Option<u64>,
    /// The segment in use, and those after it, which aren't.
    segments: Vec<PreparedSegment<F>>,
    /// The first of those whose header is damaged.
    damaged: Option<(SegmentId, SegmentFault)>,
    /// Segments that hold the log, and the first effect that ends in each.
    live: Vec<(SegmentId, Lsn)>,
    next_segment: SegmentId,
}

impl<F> LogEnd<F> {
    /// The end as the manifest records it for a closed epoch.
    pub(super) const fn closed(&self, epoch: Epoch, shard: ShardId, dropped: Vec<Lsn>) -> ClosedLog {
        let Chain { last_lsn, checksum, .. } = self.chain;
        ClosedLog { epoch: epoch.number, shard, last_lsn, chain: checksum, dropped }
    }

    /// The last effect.
    pub(super) const fn last_lsn(&self) -> Lsn {
        self.chain.last_lsn
    }

    /// Checksum of the last frame.
    pub(super) const fn checksum(&self) -> u32 {
        self.chain.checksum
    }

    pub(super) const fn clean_stop(&self) -> bool {
        self.chain.clean_stop
    }

    /// What the log goes on with. A segment whose end isn't aligned as the log will write from now on is left as it is.
    pub(super) fn into_start(
        self,
        log: LogPlace,
        incarnation: u32,
        alignment: usize,
        abandoned: Vec<Lsn>,
        greatest_transaction: TransactionId,
    ) -> LogStart<F> {
        let mut segments = self.segments.into_iter();
        let current =
            self.offset.and_then(|offset| Some(CurrentSegment { segment: segments.next()?, offset }));
        LogStart {
            position: LogPosition {
                identity: log.identity,
                incarnation: incarnation.max(self.chain.incarnation_max.saturating_add(1)),
                last_lsn: self.chain.last_lsn,
                chain: self.chain.checksum,
                next_segment: self.next_segment,
            },
            directory: log.directory,
            live: self.live,
            current: current.filter(|current| current.offset.is_multiple_of(alignment as u64)),
            prepared: segments.collect(),
            abandoned,
            greatest_transaction,
        }
    }
}

/// Who gets the frames of a log, in chain order.
pub(super) trait FrameTaker {
    /// A segment holds frames.
    fn on_segment(&mut self) {}

    /// The records of a frame.
    fn take_frame(&mut self, payload: &[u8], header: &FrameHeader) -> Result<(), PayloadFault>;

    /// What comes next was written by another life: it doesn't continue what is unfinished. Also at the end.
    fn abandon_unfinished(&mut self);
}

/// Takes frames for what their checksums say: whole, and right when they were written.
pub(super) struct Passing;

impl FrameTaker for Passing {
    fn take_frame(&mut self, _: &[u8], _: &FrameHeader) -> Result<(), PayloadFault> {
        Ok(())
    }

    fn abandon_unfinished(&mut self) {}
}

/// What was before the first segment that is there.
#[derive(Clone, Copy)]
pub(super) enum Given {
    /// Nothing: the log begins with its first segment.
    Nothing,
    /// The segments up to this effect may have been given up.
    Up(Lsn),
    /// Any segments may have been: this is not the place to ask.
    Any,
}

/// A log that was read to where its frames end; whether that end is honest has not been asked.
pub(super) struct Walked<F> {
    pub(super) end: LogEnd<F>,
    /// The last effect of each segment that holds frames.
    ends: Vec<(SegmentId, Lsn)>,
    pub(super) broken: (Place, Fault),
}

impl<F> Walked<F> {
    /// The segment in which it ends.
    pub(super) const fn end_segment(&self) -> SegmentId {
        self.broken.0.segment
    }

    /// The file and the offset where it ends.
    pub(super) fn end_place(&self, log: &LogPlace) -> (PathBuf, u64) {
        let (place, _) = self.broken;
        (log.path(place.segment), place.offset)
    }

    /// Whether segments before the first one were given up.
    pub(super) fn begins_later(&self) -> bool {
        self.end.live.first().is_some_and(|(id, _)| *id > SegmentId::FIRST)
    }
}

/// What is known of a log before it is read.
pub(super) struct Known<'a> {
    /// Its image, if there is one.
    pub(super) image: Option<&'a mut Image>,
    /// Groups to pass over, by their first effects, sorted.
    pub(super) dropped: &'a [Lsn],
    /// Its segments, if some of them are retained; else those with their own names.
    pub(super) segments: Option<Vec<SegmentId>>,
    /// That it was durable up to some effect.
    pub(super) claim: Option<Claim>,
}

/// Reads a log to its end, and applies what concerns the groups `wanted`, is not in the image and not dropped.
pub(super) async fn scan_log<D: Disk>(
    disk: &D,
    log: &LogPlace,
    wanted: Range<u16>,
    known: Known<'_>,
    apply: &mut dyn Replay,
    report: &mut RecoveryReport,
) -> Result<LogEnd<D::File>, RecoveryError> {
    let given = known.image.as_ref().map_or(Given::Nothing, |image| Given::Up(image.window.from()));
    let claims = known.claim.into_iter().chain(known.image.as_ref().map(|image| image.claim()));
    let claim = claims.max_by_key(|claim| claim.horizon);
    let window = known.image.map(|image| &mut image.window);
    let ids = match known.segments {
        Some(ids) => ids,
        None => checked_segments(disk, log, given).await?,
    };
    let mut assembler = Assembler::new(log.groups.clone(), wanted, window, known.dropped, apply, report);
    assembler.expect_bytes(likely_bytes(disk, log, &ids).await?);
    let Walked { end, ends, broken } = walk(disk, log, &ids, given, &mut assembler).await?;
    let end = judge_end(disk, log, end, broken, claim, assembler.report()).await?;
    make_durable(disk, log, &ends, end.chain.horizon).await?;
    Ok(end)
}

/// About how many bytes of frames a log has: its last segment in use is as likely full as empty.
async fn likely_bytes<D: Disk>(disk: &D, log: &LogPlace, ids: &[SegmentId]) -> Result<u64, RecoveryError> {
    for (index, &id) in ids.iter().enumerate().rev() {
        let file = disk.open(&log.path(id), OpenMode::READ_DIRECT).await.map_err(log.io(id, "open"))?;
        let buffer = AlignedBuffer::new(SEGMENT_HEADER_BYTES);
        let (read, block) = disk.read_at(&file, buffer, 0, SEGMENT_HEADER_BYTES).await;
        let block = block.get(..read.map_err(log.io(id, "read"))?).unwrap_or_default();
        if let Some(header) = SegmentHeader::decode(block).ok().filter(|header| header.id == id) {
            let bytes = header.bytes.saturating_sub(SEGMENT_HEADER_BYTES as u64);
            return Ok((index as u64).saturating_mul(bytes).saturating_add(bytes / 2));
        }
    }
    Ok(0)
}

/// Reads a log, which has these segments, to where its frames end, and gives them to `taker`.
pub(super) async fn walk<D: Disk>(
    disk: &D,
    log: &LogPlace,
    ids: &[SegmentId],
    given: Given,
    taker: &mut impl FrameTaker,
) -> Result<Walked<D::File>, RecoveryError> {
    let first = ids.first().copied().unwrap_or(SegmentId::FIRST);
    let mut chain = Chain::default();
    let mut in_use: Option<(PreparedSegment<D::File>, u64)> = None;
    let (mut unused, mut damaged) = (Vec::new(), None);
    let mut ends = Vec::with_capacity(ids.len());
    let mut live = Vec::with_capacity(ids.len());
    let mut broken = (Place { segment: SegmentId::FIRST, offset: 0 }, Fault::Segment(SegmentFault::Blank));
    for &id in ids {
        let mut segment = open_segment(disk, log, id).await?;
        let mut reader = SegmentReader::new(disk, segment.file.clone(), segment.bytes, 0);
        if !unused.is_empty() {
            let block = reader.bytes_at(0, SEGMENT_HEADER_BYTES).await.map_err(log.io(id, "read"))?;
            if let Err(fault) = own_header(log, &log.path(id), (id, first), block)? {
                damaged = damaged.or_else(|| fault.is_damage().then_some((id, fault)));
            }
            unused.push(segment);
            continue;
        }
        if Some(&id) == ids.first() && id > SegmentId::FIRST {
            begin_within(log, &segment, &mut reader, given, &mut chain).await?;
        }
        if let Some(fault) = enter_segment(log, first, &mut segment, &mut reader, &mut chain, taker).await? {
            // If this header was ever written, it is at fault itself; else the log broke off before it.
            if in_use.is_none() || fault.is_damage() {
                broken = (Place { segment: id, offset: 0 }, Fault::Segment(fault));
            }
            damaged = damaged.or_else(|| fault.is_damage().then_some((id, fault)));
            unused.push(segment);
            continue;
        }
        live.push((id, chain.last_lsn.next()));
        let (offset, fault) = read_frames(log, &segment, &mut reader, &mut chain, taker).await?;
        broken = (Place { segment: id, offset }, Fault::Frame(fault));
        in_use = Some((segment, offset));
        ends.push((id, chain.last_lsn));
    }
    taker.abandon_unfinished();

    let (offset, segments) = match in_use {
        Some((segment, offset)) => (Some(offset), std::iter::once(segment).chain(unused).collect()),
        None => (None, unused),
    };
    let end = LogEnd {
        chain,
        offset,
        segments,
        damaged,
        live,
        next_segment: ids.last().map_or(SegmentId::FIRST, |last| last.next()),
    };
    Ok(Walked { end, ends, broken })
}

/// The numbers of the segments, none of which is hidden under another name.
pub(super) async fn checked_segments<D: Disk>(
    disk: &D,
    log: &LogPlace,
    given: Given,
) -> Result<Vec<SegmentId>, RecoveryError> {
    let ids = list_segments(disk, log, !matches!(given, Given::Nothing)).await?;
    let first = ids.first().copied().unwrap_or(SegmentId::FIRST);
    // Without any segment nothing says which were given up; an image says better what is missing then.
    if !ids.is_empty() || matches!(given, Given::Nothing) {
        check_spares(disk, log, first).await?;
    }
    Ok(ids)
}

/// The numbers of the segments: one after the other, from the first; or, when earlier ones may have been given up, from any.
pub(super) async fn list_segments<D: Disk>(
    disk: &D,
    log: &LogPlace,
    from_any: bool,
) -> Result<Vec<SegmentId>, RecoveryError> {
    let (ids, foreign) = segment_ids(disk, log).await?;
    if let Some(path) = foreign {
        return Err(RecoveryError::ForeignFile { path });
    }
    let unbroken = unbroken(&ids, from_any);
    match ids.get(unbroken) {
        None => Ok(ids),
        Some(&later) => {
            let expected = ids.get(unbroken.wrapping_sub(1)).map_or(SegmentId::FIRST, |id| id.next());
            Err(RecoveryError::MissingSegment { path: log.path(expected), later })
        }
    }
}

/// How many of these segments, from the first on, follow each other.
pub(super) fn unbroken(ids: &[SegmentId], from_any: bool) -> usize {
    let first = ids.first().copied().filter(|_| from_any);
    let mut expected = first.unwrap_or(SegmentId::FIRST);
    let follows = |id: &&SegmentId| {
        let follows = **id == expected;
        expected = expected.next();
        follows
    };
    ids.iter().take_while(follows).count()
}

/// The numbers of all segments, and a file that should not be there.
pub(super) async fn segment_ids<D: Disk>(
    disk: &D,
    log: &LogPlace,
) -> Result<(Vec<SegmentId>, Option<PathBuf>), RecoveryError> {
    let path = &log.directory;
    let entries = disk.list_dir(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RecoveryError::MissingDirectory { path: path.clone() },
        _ => RecoveryError::Io { path: path.clone(), doing: "list", error },
    })?;
    let (mut ids, mut foreign) = (Vec::new(), None);
    for entry in entries {
        if let Some(id) = SegmentId::of_file_name(&entry.name).filter(|_| !entry.is_directory) {
            ids.push(id);
        } else if !(is_spare_name(&entry.name)
            || is_checkpoint_name(&entry.name)
            || is_retained_name(&entry.name)
            || entry.name.starts_with('.'))
        {
            foreign.get_or_insert(path.join(&entry.name));
        }
    }
    ids.sort_unstable();
    Ok((ids, foreign))
}

async fn open_segment<D: Disk>(
    disk: &D,
    log: &LogPlace,
    id: SegmentId,
) -> Result<PreparedSegment<D::File>, RecoveryError> {
    let file = disk.open(&log.path(id), log.mode).await.map_err(log.io(id, "open"))?;
    let bytes = disk.len(&file).await.map_err(log.io(id, "read"))?;
    // A file gets its name as a segment when it's whole, and never shrinks.
    let expected = bytes.max(1).next_multiple_of(SEGMENT_HEADER_BYTES as u64);
    if bytes != expected {
        return Err(RecoveryError::Shortened { path: log.path(id), expected, found: bytes });
    }
    Ok(PreparedSegment { id, file, bytes })
}

/// The log begins with a segment that is not its first: those before it were given up, which is right if the image has all that
/// ended before it, and the first effect that ends in it too: a piece of that may be gone.
async fn begin_within<D: Disk>(
    log: &LogPlace,
    segment: &PreparedSegment<D::File>,
    reader: &mut SegmentReader<'_, D>,
    given: Given,
    chain: &mut Chain,
) -> Result<(), RecoveryError> {
    let id = segment.id;
    let block = reader.bytes_at(0, SEGMENT_HEADER_BYTES).await.map_err(log.io(id, "read"))?;
    // What is wrong with a header is for `enter_segment` to say.
    let Some(header) = SegmentHeader::decode(block).ok().filter(|header| header.id == id) else {
        return Ok(());
    };
    if matches!(given, Given::Up(from) if header.first_lsn > from) {
        let before = SegmentId(id.0 - 1);
        return Err(RecoveryError::MissingSegment { path: log.path(before), later: id });
    }
    chain.checksum = header.chain;
    chain.last_lsn = Lsn(header.first_lsn.0.saturating_sub(1));
    Ok(())
}

/// The header in a file that is, or may become, segment `id` of a log whose first segment is `first`; or why it has none, which
/// may be. Refused is a header that shows that the file is not where it belongs: then what belongs here is missing.
fn own_header(
    log: &LogPlace,
    path: &Path,
    (id, first): (SegmentId, SegmentId),
    block: &[u8],
) -> Result<Result<SegmentHeader, SegmentFault>, RecoveryError> {
    let wrong = |fault| {
        reached(Branch::WrongSegment);
        Err(RecoveryError::WrongSegment { path: path.to_path_buf(), fault })
    };
    let header = match SegmentHeader::decode(block) {
        Ok(header) => header,
        Err(fault @ SegmentFault::Version { .. }) => return wrong(fault),
        Err(fault) => return Ok(Err(fault)),
    };
    let owner = header.identity;
    if owner.directory != log.identity.directory {
        return wrong(SegmentFault::Directory { expected: log.identity.directory, found: owner.directory });
    }
    if owner != log.identity {
        return wrong(SegmentFault::Owner { shard: owner.shard, epoch: owner.epoch });
    }
    if header.id == id {
        return Ok(Ok(header));
    }
    if header.id >= first {
        return wrong(SegmentFault::Number { expected: id, found: header.id });
    }
    // The header of an earlier life of the file: it was given up before what is first now.
    Ok(Err(SegmentFault::Blank))
}

/// A spare is a file that was made ahead, or a segment that was given up: never one that the log may still need.
async fn check_spares<D: Disk>(disk: &D, log: &LogPlace, first: SegmentId) -> Result<(), RecoveryError> {
    let path = &log.directory;
    let io = |path: &Path, doing| {
        let path = path.to_path_buf();
        move |error| RecoveryError::Io { path, doing, error }
    };
    let entries = disk.list_dir(path).await.map_err(io(path, "list"))?;
    for entry in entries.iter().filter(|entry| is_spare_name(&entry.name)) {
        let path = path.join(&entry.name);
        let file = disk.open(&path, OpenMode::READ_DIRECT).await.map_err(io(&path, "open"))?;
        let buffer = AlignedBuffer::new(SEGMENT_HEADER_BYTES);
        let (read, block) = disk.read_at(&file, buffer, 0, SEGMENT_HEADER_BYTES).await;
        let block = block.get(..read.map_err(io(&path, "read"))?).unwrap_or_default();
        // As nothing is segment 0, one that has no number yet is none.
        let _ = own_header(log, &path, (SegmentId(0), first), block)?;
    }
    Ok(())
}

/// Reads a segment's header. Nothing: the log goes on there; otherwise why it doesn't.
async fn enter_segment<D: Disk>(
    log: &LogPlace,
    first: SegmentId,
    segment: &mut PreparedSegment<D::File>,
    reader: &mut SegmentReader<'_, D>,
    chain: &mut Chain,
    taker: &mut impl FrameTaker,
) -> Result<Option<SegmentFault>, RecoveryError> {
    let id = segment.id;
    let block = reader.bytes_at(0, SEGMENT_HEADER_BYTES).await.map_err(log.io(id, "read"))?;
    let header = match own_header(log, &log.path(id), (id, first), block)? {
        Ok(header) => header,
        Err(fault) => return Ok(Some(fault)),
    };
    if header.bytes > segment.bytes {
        let (expected, found) = (header.bytes, segment.bytes);
        return Err(RecoveryError::Shortened { path: log.path(id), expected, found });
    }
    if header.incarnation < chain.incarnation {
        return Ok(Some(SegmentFault::Incarnation { before: chain.incarnation, found: header.incarnation }));
    }
    if header.chain != chain.checksum {
        return Ok(Some(SegmentFault::Chain { expected: chain.checksum, found: header.chain }));
    }
    if header.first_lsn != chain.last_lsn.next() {
        return Ok(Some(SegmentFault::Lsn { expected: chain.last_lsn.next(), found: header.first_lsn }));
    }
    segment.bytes = header.bytes;
    chain.enter_incarnation(header.incarnation, taker);
    taker.on_segment();
    Ok(None)
}

/// Reads the frames of a segment; answers where they end and why.
async fn read_frames<D: Disk>(
    log: &LogPlace,
    segment: &PreparedSegment<D::File>,
    reader: &mut SegmentReader<'_, D>,
    chain: &mut Chain,
    taker: &mut impl FrameTaker,
) -> Result<(u64, FrameFault), RecoveryError> {
    let id = segment.id;
    let mut offset = SEGMENT_HEADER_BYTES as u64;
    loop {
        let available = (segment.bytes - offset) as usize;
        let front = reader.bytes_at(offset, FRAME_HEADER_BYTES).await.map_err(log.io(id, "read"))?;
        let frame_bytes = match claimed_frame_bytes(front, available) {
            Ok(frame_bytes) => frame_bytes,
            Err(fault) => return Ok((offset, fault)),
        };
        let frame = reader.bytes_at(offset, frame_bytes).await.map_err(log.io(id, "read"))?;
        let frame = frame.get(..frame_bytes).unwrap_or_default();
        let (header, checksum) = match open_frame(frame, (id, offset), log.identity, log.seed) {
            Ok(opened) => opened,
            Err(fault @ (FrameFault::Version { .. } | FrameFault::Flags { .. })) => {
                return Err(RecoveryError::NewerFrame { path: log.path(id), offset, fault });
            }
            Err(fault) => return Ok((offset, fault)),
        };
        if let Some(fault) = chain.refuses(&header) {
            return Ok((offset, fault));
        }
        chain.enter_incarnation(header.incarnation, taker);
        let payload = frame.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.payload_bytes);
        taker.take_frame(payload.unwrap_or_default(), &header).map_err(|fault| match fault {
            PayloadFault::Record(fault) => RecoveryError::BadRecord { path: log.path(id), offset, fault },
            PayloadFault::Slot(slot) => RecoveryError::MisplacedSlot { path: log.path(id), offset, slot },
        })?;
        chain.take(&header, checksum);
        offset += frame_bytes as u64;
    }
}

/// Looks at everything behind the end of a log: whether something there proves that the end is not honest.
pub(super) async fn judge_end<D: Disk>(
    disk: &D,
    log: &LogPlace,
    mut end: LogEnd<D::File>,
    (place, fault): (Place, Fault),
    claim: Option<Claim>,
    report: &mut RecoveryReport,
) -> Result<LogEnd<D::File>, RecoveryError> {
    let missing = end.chain.last_lsn.next();
    if let Some(claim) = claim.filter(|claim| claim.horizon >= missing) {
        return Err(RecoveryError::Damaged {
            path: log.path(place.segment),
            offset: place.offset,
            fault,
            missing,
            proof_path: claim.path,
            proof_offset: claim.offset,
            proof_horizon: claim.horizon,
        });
    }
    let mut from = end.offset.unwrap_or(0);
    let mut torn_bytes = 0;
    for segment in &end.segments {
        let rest = read_rest(disk, log, segment, from).await?;
        end.chain.incarnation_max = end.chain.incarnation_max.max(rest.incarnation_max);
        if let Some(proof) = rest.proof.filter(|proof| proof.horizon >= missing) {
            reached(Branch::Damaged);
            return Err(RecoveryError::Damaged {
                path: log.path(place.segment),
                offset: place.offset,
                fault,
                missing,
                proof_path: log.path(proof.place.segment),
                proof_offset: proof.place.offset,
                proof_horizon: proof.horizon,
            });
        }
        torn_bytes += rest.torn_bytes;
        from = 0;
    }
    // Nothing proves that this segment was in use, and nothing that it wasn't.
    if let Some((id, fault)) = end.damaged {
        reached(Branch::WrongSegment);
        return Err(RecoveryError::WrongSegment { path: log.path(id), fault });
    }
    // After a clean stop nothing was in flight: what is there then was left, and reported, before.
    if torn_bytes > 0 && !end.chain.clean_stop {
        reached(Branch::TornTail);
        report.torn_tails.push(TornTail {
            path: log.path(place.segment),
            offset: place.offset,
            bytes: torn_bytes,
        });
    }
    Ok(end)
}

/// What stands behind the end of a log in one segment.
#[derive(Default)]
struct Rest {
    /// The frame with the greatest horizon.
    proof: Option<Proof>,
    incarnation_max: u32,
    /// To the last byte that isn't zero.
    torn_bytes: u64,
}

async fn read_rest<D: Disk>(
    disk: &D,
    log: &LogPlace,
    segment: &PreparedSegment<D::File>,
    from: u64,
) -> Result<Rest, RecoveryError> {
    let mut rest = Rest::default();
    let id = segment.id;
    let mut reader = SegmentReader::new(disk, segment.file.clone(), segment.bytes, from);
    let mut at = from;
    while at < segment.bytes {
        let window = reader.bytes_at(at, ALIGNMENT_MIN).await.map_err(log.io(id, "read"))?;
        let mut candidate = None;
        for block in window.chunks(ALIGNMENT_MIN) {
            let place = at;
            at += block.len() as u64;
            if block.iter().fold(0, |any, byte| any | byte) != 0 {
                rest.torn_bytes = at - from;
                if claims_place(block, (id, place)) {
                    let claimed = claimed_frame_bytes(block, (segment.bytes - place) as usize);
                    candidate = claimed.ok().map(|frame_bytes| (place, frame_bytes));
                    break;
                }
            }
        }
        let Some((place, frame_bytes)) = candidate else { continue };
        let frame = reader.bytes_at(place, frame_bytes).await.map_err(log.io(id, "read"))?;
        let frame = frame.get(..frame_bytes).unwrap_or_default();
        if let Ok((header, _)) = open_frame(frame, (id, place), log.identity, log.seed) {
            rest.incarnation_max = rest.incarnation_max.max(header.incarnation);
            if rest.proof.is_none_or(|proof| proof.horizon < header.horizon) {
                rest.proof =
                    Some(Proof { place: Place { segment: id, offset: place }, horizon: header.horizon });
            }
        }
    }
    Ok(rest)
}

/// A torn frame must not become whole by what the next life writes over it: when the next crash tears that write too, the
/// sectors that land may be just those that were missing (zeros, or the same bytes), and an effect that a whole life has not
/// seen would be back. So the beginning of what is torn is gone for good before the log goes on there.
pub(super) async fn clear_torn_end<D: Disk>(
    disk: &D,
    log: &LogPlace,
    end: &LogEnd<D::File>,
    alignment: usize,
) -> Result<(), RecoveryError> {
    let (Some(offset), Some(segment)) = (end.offset, end.segments.first()) else { return Ok(()) };
    if !offset.is_multiple_of(alignment as u64) || offset + alignment as u64 > segment.bytes {
        // The log goes on in another segment.
        return Ok(());
    }
    let buffer = AlignedBuffer::new(alignment);
    let (read, mut buffer) = disk.read_at(&segment.file, buffer, offset, alignment).await;
    let read = read.map_err(log.io(segment.id, "read"))?;
    if buffer.iter().take(read).all(|byte| *byte == 0) {
        return Ok(());
    }
    reached(Branch::TornWiped);
    buffer.fill(0);
    let (written, _) = disk.write_at(&segment.file, buffer, offset, alignment, WriteSync::DataSync).await;
    let whole = written.and_then(|bytes| {
        if bytes == alignment { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
    });
    whole.map_err(log.io(segment.id, "write"))
}

/// Effects that no frame has called durable may be in a cache only, and the log that goes on will call them durable.
async fn make_durable<D: Disk>(
    disk: &D,
    log: &LogPlace,
    ends: &[(SegmentId, Lsn)],
    horizon: Lsn,
) -> Result<(), RecoveryError> {
    for (id, last_lsn) in ends {
        if *last_lsn > horizon {
            reached(Branch::MadeDurable);
            let file = disk.open(&log.path(*id), log.mode).await.map_err(log.io(*id, "open"))?;
            disk.sync(&file).await.map_err(log.io(*id, "sync"))?;
        }
    }
    Ok(())
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            last_lsn: Lsn::ZERO,
            checksum: 0,
            incarnation: 0,
            incarnation_max: 0,
            horizon: Lsn::ZERO,
            clean_stop: true,
        }
    }
}

impl Chain {
    /// Why a whole frame doesn't follow the one before it.
    fn refuses(&self, header: &FrameHeader) -> Option<FrameFault> {
        let expected = self.last_lsn.next();
        if header.previous != self.checksum {
            Some(FrameFault::Chain { expected: self.checksum, found: header.previous })
        } else if header.incarnation < self.incarnation {
            Some(FrameFault::Incarnation { before: self.incarnation, found: header.incarnation })
        } else if header.first_lsn != expected {
            Some(FrameFault::Lsn { expected, found: header.first_lsn })
        } else {
            None
        }
    }

    /// A later life doesn't continue what an earlier one left unfinished.
    fn enter_incarnation(&mut self, incarnation: u32, taker: &mut impl FrameTaker) {
        if incarnation > self.incarnation {
            taker.abandon_unfinished();
            self.incarnation = incarnation;
            self.incarnation_max = self.incarnation_max.max(incarnation);
        }
    }

    fn take(&mut self, header: &FrameHeader, checksum: u32) {
        self.last_lsn = Lsn(header.lsn_after().0 - 1);
        self.checksum = checksum;
        self.horizon = self.horizon.max(header.horizon);
        self.clean_stop = header.flags & FLAG_CLEAN_STOP != 0;
    }
}

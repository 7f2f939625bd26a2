//! Keeping what checkpoints have made superfluous, for going back in time.
//!
//! A state of the past is an image that was complete before it, and the log from the image's beginning on. So of each shard there are kept
//! - a *base*: the newest image that was complete before the time up to which one wants to go back, or the oldest that there is; a log that
//!   has all segments from the first on needs none;
//! - all segments from the one on in which the base begins;
//! - a *candidate*: the image after the base. It becomes the base when it is old enough.
//!
//! With the newest checkpoint, and the file that the next one is written over, these are four files, and the log reaches back at most
//! about twice as far as was asked for.
//!
//! What is kept has names of its own. A start knows nothing of those files: it doesn't read them, takes no longer for them, and does not mind what is
//! wrong with them. They get these names in the step in which they would have become spares, that is, when no peer needs them to
//! decide its transactions.
//!
//! Invariants:
//! - segments lose their own names the oldest first, whatever becomes of them: the log never has a hole;
//! - everything is decided from the names and headers that there are, at every checkpoint anew. So whatever a crash leaves, also files that nobody
//!   needs, the next checkpoint puts right.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{
    UNFINISHED_NAME, checkpoint_name, numbers, retained_checkpoint, retained_checkpoint_name,
    retained_segment, retained_segment_name,
};
use super::format::{CheckpointHeader, HEADER_BYTES};
use crate::Lsn;
use crate::disk::{DirectoryEntry, Disk};
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::{LogIdentity, SegmentId, is_spare_name};
use crate::manifest::yield_of_past_epochs;
use crate::recovery::read_front;

/// How much of the past is kept, of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// At least so long, ms; 0 keeps nothing.
    pub ms: u64,
    /// At most so many bytes of segments; 0 is no limit.
    pub bytes: u64,
}

/// A checkpoint has made segments superfluous.
#[derive(Clone, Debug)]
pub struct RetireRequest {
    /// The shard's directory.
    pub directory: PathBuf,
    /// Whose log it is.
    pub identity: LogIdentity,
    /// The segments, the oldest first. Some may have lost their names already, in an attempt before this one.
    pub superfluous: Vec<SegmentId>,
    /// The first segment that stays, and the first effect that ends in it.
    pub begins: Option<(SegmentId, Lsn)>,
    /// What was before the first segment of this epoch is there as well.
    pub follows_past: bool,
    /// What is to be kept.
    pub retention: Retention,
    /// The image that somebody copies, or 0 for the beginning of the log: it stays, and so does the log from there on.
    pub held: Option<u64>,
    /// The time, ms of Unix time.
    pub now_ms: u64,
}

/// What is known of a shard's retained log. Headers never change, so each is read once.
#[derive(Clone, Debug, Default)]
pub struct RetainedLog {
    segments: BTreeMap<SegmentId, KnownSegment>,
    images: BTreeMap<u64, KnownImage>,
    /// When the first group was made that the log has, if it has all from its beginning.
    first_ms: Option<u64>,
    reaches_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct KnownSegment {
    first_lsn: Lsn,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct KnownImage {
    from: Lsn,
    began_ms: u64,
}

impl RetainedLog {
    /// Bytes of retained segments.
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// Retained segments.
    pub fn segments(&self) -> u64 {
        self.segments.len() as u64
    }

    /// Since when the shard can be restored to any time, ms of Unix time. Nothing if that isn't known.
    pub const fn reaches_ms(&self) -> Option<u64> {
        self.reaches_ms
    }
}

/// An image as the plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Image {
    number: u64,
    from: Lsn,
    /// It was complete then, or earlier.
    complete_ms: u64,
}

/// A segment as the plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    id: SegmentId,
    first_lsn: Lsn,
    bytes: u64,
}

/// What a shard can go back with, and what is wanted.
#[derive(Clone, Debug)]
struct Stock {
    /// The segments before those that stay in any case, without a gap up to them.
    segments: Vec<Segment>,
    /// The first that stays in any case.
    begins: Option<(SegmentId, Lsn)>,
    /// By number.
    images: Vec<Image>,
    /// The log's first segment is the beginning of everything, or what was before it is there as well.
    has_before: bool,
    retention: Retention,
    held: Option<u64>,
    now_ms: u64,
}

/// What of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    /// The image from which one can go on, if one is needed.
    base: Option<Image>,
    /// The images that are kept, by number; the newest is not among them unless it is the base.
    images: Vec<u64>,
    /// Segments before this one are of no more use.
    first: SegmentId,
}

impl Stock {
    /// Decides what is kept.
    fn plan(&self) -> Plan {
        let reaches = |image: &&Image| {
            let Some(first) = self.segments.first() else {
                return self.begins.is_none_or(|(_, lsn)| lsn <= image.from);
            };
            first.first_lsn <= image.from
        };
        let has_all = (self.has_before || self.held == Some(0))
            && self.segments.first().map(|first| first.id).or(self.begins.map(|(id, _)| id))
                == Some(SegmentId::FIRST);
        // From where one can go on, the earliest first: nothing at all is the beginning of the log.
        let beginning = has_all.then_some(None);
        let images = self.images.iter().filter(reaches).map(|image| Some(*image));
        let bases: Vec<Option<Image>> = beginning.into_iter().chain(images).collect();
        let Some(last) = bases.len().checked_sub(1) else {
            return Plan { base: None, images: Vec::new(), first: self.end() };
        };
        let horizon_ms = self.now_ms.saturating_sub(self.retention.ms);
        let is_old = |base: &Option<Image>| base.is_none_or(|image| image.complete_ms <= horizon_ms);
        let mut at = match self.retention.ms {
            0 => last,
            _ => bases.iter().rposition(is_old).unwrap_or(0),
        };
        let bytes_from = |base: Option<Image>| -> u64 {
            let first = self.first_needed(base);
            self.segments.iter().filter(|segment| segment.id >= first).map(|segment| segment.bytes).sum()
        };
        while at < last && self.retention.bytes > 0 && bytes_from(bases[at]) > self.retention.bytes {
            at += 1;
        }
        if let Some(held) = self.held {
            let is_held = |base: &Option<Image>| base.map_or(0, |image| image.number) == held;
            at = at.min(bases.iter().position(is_held).unwrap_or(last));
        }
        let candidate = bases.get(at + 1).copied().flatten().filter(|_| self.retention.ms > 0);
        let mut images: Vec<u64> =
            [bases[at], candidate].into_iter().flatten().map(|image| image.number).collect();
        images.extend(self.held.filter(|held| self.images.iter().any(|image| image.number == *held)));
        images.sort_unstable();
        images.dedup();
        Plan { base: bases[at], images, first: self.first_needed(bases[at]) }
    }

    /// What follows the segments.
    fn end(&self) -> SegmentId {
        let after = self.segments.last().map(|last| last.id.next());
        self.begins.map(|(id, _)| id).or(after).unwrap_or(SegmentId::FIRST)
    }

    /// The last segment whose first effect is in the image: before it nothing is needed.
    fn first_needed(&self, base: Option<Image>) -> SegmentId {
        let Some(base) = base else { return SegmentId::FIRST };
        if self.begins.is_some_and(|(_, lsn)| lsn <= base.from) {
            return self.end();
        }
        let needed = self.segments.iter().rfind(|segment| segment.first_lsn <= base.from);
        needed.map_or(self.end(), |segment| segment.id)
    }
}

/// Takes the names from segments that a checkpoint has made superfluous: they are retained, or become spares. Gives up what was
/// retained long enough. Returns files that nobody needs any more, for [`remove_slowly`].
///
/// After an error the caller gives the same segments again, before any younger ones.
pub async fn retire_log<D: Disk>(
    disk: &D,
    request: &RetireRequest,
    known: &mut RetainedLog,
) -> io::Result<Vec<PathBuf>> {
    let directory = &request.directory;
    let entries = disk.list_dir(directory).await?;
    let retains = request.retention.ms > 0 || request.held.is_some();
    if !retains && !entries.iter().any(|entry| super::files::is_retained_name(&entry.name)) {
        *known = RetainedLog::default();
        super::files::recycle_segments(disk, directory, &request.superfluous).await?;
        return Ok(Vec::new());
    }
    let stock = take_stock(disk, request, &entries, known).await?;
    let plan = stock.plan();
    let mut removable = give_up_images(disk, request, &entries, &plan).await?;
    let retained = take_names(disk, request, &entries, &stock, &plan).await?;
    removable.extend(give_up_segments(disk, request, &entries, &plan, retained).await?);
    known
        .segments
        .retain(|id, _| *id >= plan.first && stock.segments.iter().any(|segment| segment.id == *id));
    known.reaches_ms = plan.base.map_or(known.first_ms, |image| Some(image.complete_ms));
    Ok(removable)
}

/// What is retained, for a shard that has just started; changes nothing.
pub async fn look_at_retained<D: Disk>(
    disk: &D,
    request: &RetireRequest,
    known: &mut RetainedLog,
) -> io::Result<()> {
    let entries = disk.list_dir(&request.directory).await?;
    let stock = take_stock(disk, request, &entries, known).await?;
    // Everything counts that is there, wanted or not.
    let all = Stock { retention: Retention { ms: u64::MAX, bytes: 0 }, ..stock };
    let plan = all.plan();
    known.segments.retain(|id, _| all.segments.iter().any(|segment| segment.id == *id));
    known.reaches_ms = plan.base.map_or(known.first_ms, |image| Some(image.complete_ms));
    Ok(())
}

/// Reads the headers that are not known yet.
async fn take_stock<D: Disk>(
    disk: &D,
    request: &RetireRequest,
    entries: &[DirectoryEntry],
    known: &mut RetainedLog,
) -> io::Result<Stock> {
    let directory = &request.directory;
    let mut names: BTreeMap<SegmentId, String> = BTreeMap::new();
    names.extend(
        entries.iter().filter_map(|entry| Some((retained_segment(&entry.name)?, entry.name.clone()))),
    );
    let is_there = |name: &String| entries.iter().any(|entry| entry.name == *name);
    let own = request.superfluous.iter().map(|id| (*id, id.file_name())).filter(|(_, name)| is_there(name));
    names.extend(own);
    known.segments.retain(|id, _| names.contains_key(id));
    for (id, name) in &names {
        if !known.segments.contains_key(id)
            && let Some(header) = segment_header(disk, &directory.join(name), request.identity, *id).await?
        {
            known.segments.insert(*id, KnownSegment { first_lsn: header.first_lsn, bytes: header.bytes });
        }
    }
    let images = take_images(disk, request, entries, known).await?;
    let begins = request.begins;
    let mut segments = Vec::new();
    let mut expected = begins.map(|(id, _)| id);
    for (id, segment) in known.segments.iter().rev() {
        // What is not joined to the log is of no use; nor is what is not joined to that.
        if expected.is_some_and(|expected| id.next() != expected) {
            break;
        }
        segments.push(Segment { id: *id, first_lsn: segment.first_lsn, bytes: segment.bytes });
        expected = Some(*id);
    }
    segments.reverse();
    let first = segments.first().map(|first: &Segment| first.id).or(begins.map(|(id, _)| id));
    if known.first_ms.is_none() && first == Some(SegmentId::FIRST) {
        let name = names.get(&SegmentId::FIRST).cloned().unwrap_or(SegmentId::FIRST.file_name());
        known.first_ms = crate::recovery::first_time_ms(disk, &directory.join(name), request.identity).await;
    }
    Ok(Stock {
        segments,
        begins,
        images,
        has_before: request.identity.epoch == 1 || request.follows_past,
        retention: request.retention,
        held: request.held,
        now_ms: request.now_ms,
    })
}

async fn take_images<D: Disk>(
    disk: &D,
    request: &RetireRequest,
    entries: &[DirectoryEntry],
    known: &mut RetainedLog,
) -> io::Result<Vec<Image>> {
    let mut files: BTreeMap<u64, (String, Option<u64>)> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.is_directory) {
        if let Some((number, complete_ms)) = retained_checkpoint(&entry.name) {
            files.insert(number, (entry.name.clone(), Some(complete_ms)));
        }
    }
    files.extend(numbers(entries).into_iter().map(|number| (number, (checkpoint_name(number), None))));
    known.images.retain(|number, _| files.contains_key(number));
    for (number, (name, _)) in &files {
        if known.images.contains_key(number) {
            continue;
        }
        let front = front_of(disk, &request.directory.join(name), HEADER_BYTES).await?;
        // One with a damaged header is nothing that one could begin with.
        if let Ok((header, _)) = CheckpointHeader::decode(&front, request.identity, *number) {
            known.images.insert(*number, KnownImage { from: header.from, began_ms: header.unix_ms });
        }
    }
    let mut images = Vec::new();
    let mut next_began_ms = request.now_ms;
    for (number, image) in known.images.iter().rev() {
        let (_, complete_ms) = &files[number];
        // An image was complete before the next one was begun.
        images.push(Image {
            number: *number,
            from: image.from,
            complete_ms: complete_ms.unwrap_or(next_began_ms),
        });
        next_began_ms = image.began_ms;
    }
    images.reverse();
    Ok(images)
}

/// Gives what is kept the names that say so, and makes the rest of what has become superfluous now spares. Returns how many segments are retained
/// then.
async fn take_names<D: Disk>(
    disk: &D,
    request: &RetireRequest,
    entries: &[DirectoryEntry],
    stock: &Stock,
    plan: &Plan,
) -> io::Result<usize> {
    let directory = &request.directory;
    let newest = stock.images.last().map(|image| image.number);
    for number in plan.images.iter().filter(|number| Some(**number) != newest) {
        let name = checkpoint_name(*number);
        let image = stock.images.iter().find(|image| image.number == *number);
        if let Some(image) = image.filter(|_| entries.iter().any(|entry| entry.name == name)) {
            let retained = retained_checkpoint_name(*number, image.complete_ms);
            disk.rename(&directory.join(name), &directory.join(retained)).await?;
        }
    }
    for id in &request.superfluous {
        let name = if *id < plan.first { spare_name(*id) } else { retained_segment_name(*id) };
        match disk.rename(&directory.join(id.file_name()), &directory.join(name)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    disk.sync_dir(directory).await?;
    Ok(stock.segments.iter().filter(|segment| segment.id >= plan.first).count())
}

/// Gives up images that were retained and are not needed any more: before their segments, since an image without those is what damage
/// leaves.
async fn give_up_images<D: Disk>(
    disk: &D,
    request: &RetireRequest,
    entries: &[DirectoryEntry],
    plan: &Plan,
) -> io::Result<Vec<PathBuf>> {
    let directory = &request.directory;
    let mut removable = Vec::new();
    let mut has_unfinished = entries.iter().any(|entry| entry.name == UNFINISHED_NAME);
    for entry in entries {
        let image = retained_checkpoint(&entry.name).filter(|(number, _)| !plan.images.contains(number));
        if image.is_none() {
            continue;
        }
        let path = directory.join(&entry.name);
        if has_unfinished {
            removable.push(path);
        } else {
            // The next checkpoint is written over it.
            rename_if_there(disk, &path, &directory.join(UNFINISHED_NAME)).await?;
            has_unfinished = true;
        }
    }
    Ok(removable)
}

/// Gives up segments that were retained and are not needed any more: as many become spares as are soon used again.
async fn give_up_segments<D: Disk>(
    disk: &D,
    request: &RetireRequest,
    entries: &[DirectoryEntry],
    plan: &Plan,
    retained: usize,
) -> io::Result<Vec<PathBuf>> {
    let directory = &request.directory;
    let mut removable = Vec::new();
    let mut spares = entries.iter().filter(|entry| is_spare_name(&entry.name)).count()
        + request.superfluous.iter().filter(|id| **id < plan.first).count();
    // When the base changes, about as many segments go as the log fills until the next change.
    let spares_max = retained.max(2 * request.superfluous.len());
    let mut changed = false;
    for id in entries.iter().filter_map(|entry| retained_segment(&entry.name)).filter(|id| *id < plan.first) {
        let path = directory.join(retained_segment_name(id));
        if spares < spares_max {
            rename_if_there(disk, &path, &directory.join(spare_name(id))).await?;
            spares += 1;
            changed = true;
        } else {
            removable.push(path);
        }
    }
    if changed {
        disk.sync_dir(directory).await?;
    }
    Ok(removable)
}

/// Removes files one by one, with pauses: each removal may hold up commits for a moment. What can't be removed now is found again
/// at the next checkpoint.
pub async fn remove_slowly<D: Disk>(
    disk: &D,
    paths: &[PathBuf],
    pause: std::time::Duration,
) -> io::Result<()> {
    for path in paths {
        match disk.remove(path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        disk.pause(pause).await;
    }
    Ok(())
}

/// The disk is full, and the log needs a segment: makes the oldest that is retained a spare. False if there is none.
pub async fn yield_segment<D: Disk>(disk: &D, directory: &Path) -> io::Result<bool> {
    if yield_past(disk, directory).await? {
        return Ok(true);
    }
    let Some(id) = begin_yielding(disk, directory).await? else { return Ok(false) };
    disk.rename(&directory.join(retained_segment_name(id)), &directory.join(spare_name(id))).await?;
    disk.sync_dir(directory).await?;
    Ok(true)
}

/// The disk is full, and a checkpoint needs space: removes the oldest segment that is retained. False if there is none.
pub(super) async fn yield_space<D: Disk>(disk: &D, directory: &Path) -> io::Result<bool> {
    if yield_past(disk, directory).await? {
        return Ok(true);
    }
    let Some(id) = begin_yielding(disk, directory).await? else { return Ok(false) };
    disk.remove(&directory.join(retained_segment_name(id))).await?;
    Ok(true)
}

/// What former numbers of shards have left is older than all else.
async fn yield_past<D: Disk>(disk: &D, directory: &Path) -> io::Result<bool> {
    match directory.parent().and_then(Path::parent) {
        Some(path) => yield_of_past_epochs(disk, path).await,
        None => Ok(false),
    }
}

/// The oldest segment that is retained, if there is one. Images that mean nothing without it are gone then.
async fn begin_yielding<D: Disk>(disk: &D, directory: &Path) -> io::Result<Option<SegmentId>> {
    let entries = disk.list_dir(directory).await?;
    let Some(oldest) = entries.iter().filter_map(|entry| retained_segment(&entry.name)).min() else {
        return Ok(None);
    };
    let next = oldest.next();
    let names = [retained_segment_name(next), next.file_name()];
    let Some(name) = names.into_iter().find(|name| entries.iter().any(|entry| entry.name == *name)) else {
        return Ok(Some(oldest));
    };
    let front = front_of(disk, &directory.join(name), SEGMENT_HEADER_BYTES).await?;
    let Some(header) = SegmentHeader::decode(&front).ok().filter(|header| header.id == next) else {
        return Ok(Some(oldest));
    };
    for entry in &entries {
        let Some((number, _)) = retained_checkpoint(&entry.name) else { continue };
        let path = directory.join(&entry.name);
        let front = front_of(disk, &path, HEADER_BYTES).await?;
        let image = CheckpointHeader::decode(&front, header.identity, number).ok();
        if image.is_some_and(|(image, _)| image.from < header.first_lsn) {
            disk.remove(&path).await?;
        }
    }
    Ok(Some(oldest))
}

fn spare_name(id: SegmentId) -> String {
    format!("spare-{}.log", id.0)
}

async fn rename_if_there<D: Disk>(disk: &D, from: &Path, to: &Path) -> io::Result<()> {
    match disk.rename(from, to).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The header of a segment; nothing if it is damaged, or the file is not there any more.
async fn segment_header<D: Disk>(
    disk: &D,
    path: &Path,
    identity: LogIdentity,
    id: SegmentId,
) -> io::Result<Option<SegmentHeader>> {
    let front = front_of(disk, path, SEGMENT_HEADER_BYTES).await?;
    let header = SegmentHeader::decode(&front).ok();
    Ok(header.filter(|header| (header.identity, header.id) == (identity, id)))
}

/// The front of a file; nothing if it is gone.
async fn front_of<D: Disk>(disk: &D, path: &Path, len: usize) -> io::Result<Vec<u8>> {
    match read_front(disk, path, len).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

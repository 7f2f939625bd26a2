//! Reading a shard's files again while its log goes on: damage is found while all that the files say is in memory still.
//!
//! What is read is what does not change any more: checkpoints, segments that the log has left, and what is retained. They are given up and used
//! again meanwhile, but never without another name first. So what is wrong in a file that has its name afterwards is damage.

use std::fmt;
use std::path::{Path, PathBuf};

use super::image::{UnusedCheckpoint, verify_image};
use super::reader::read_front;
use super::scan::{Given, LogPlace, Passing, walk};
use crate::checkpoint::files::is_retained_name;
use crate::coverage::{Branch, reached};
use crate::disk::{Disk, OpenMode};
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::{SealedSegment, SegmentId};
use crate::manifest::DataDirectory;
use crate::offline::{Pace, ReadOnly};
use crate::{Lsn, ShardId};

/// Something on the disk is not what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubFault {
    /// The file.
    pub path: PathBuf,
    /// Where in it, if it's a place.
    pub offset: Option<u64>,
    /// What is wrong there.
    pub fault: String,
    /// It's in what is kept for going back in time: no start needs it, and no checkpoint makes it good.
    pub is_retained: bool,
}

impl fmt::Display for ScrubFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.offset {
            Some(offset) => write!(f, "{path} at offset {offset}: {}", self.fault),
            None => write!(f, "{path}: {}", self.fault),
        }
    }
}

/// A file that is read.
#[derive(Clone, Copy)]
enum Scrubbed {
    Checkpoint(u64),
    Segment(SealedSegment),
    Retained(SegmentId),
}

impl Scrubbed {
    fn path(self, log: &LogPlace) -> PathBuf {
        match self {
            Self::Checkpoint(number) => log.image_path(number),
            Self::Segment(SealedSegment { id, .. }) | Self::Retained(id) => log.path(id),
        }
    }
}

/// Reads a shard's checkpoints, what is retained, and these segments, at the pace that is asked for. Nothing is changed. What was found until then
/// is the answer also if `pace` is stopped.
pub async fn scrub_shard<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
    sealed: &[SealedSegment],
    pace: &Pace,
) -> Vec<ScrubFault> {
    let log = LogPlace::with_past(disk, directory, directory.epoch(), shard).await;
    // A start says what is wrong with a directory that cannot be listed.
    let Ok((log, retained, _)) = log else { return Vec::new() };
    let entries = disk.list_dir(&log.directory).await.unwrap_or_default();
    let checkpoints = log.image_numbers(&entries).into_iter().map(Scrubbed::Checkpoint);
    let retained = retained.into_iter().map(Scrubbed::Retained);
    let segments = sealed.iter().map(|segment| Scrubbed::Segment(*segment));
    let mut files = Vec::new();
    let mut total_bytes = 0;
    for file in checkpoints.chain(retained).chain(segments) {
        let path = file.path(&log);
        total_bytes += file_bytes(disk, &path).await;
        files.push((file, path, total_bytes));
    }
    pace.total_bytes.set(total_bytes);
    let disk = &ReadOnly::paced(disk, pace);
    let mut faults = Vec::new();
    for (file, path, end_bytes) in files {
        let fault = match file {
            Scrubbed::Checkpoint(number) => checkpoint_fault(disk, &log, number).await,
            Scrubbed::Segment(sealed) => segment_fault(disk, &log, sealed.id, Some(sealed.last_lsn)).await,
            Scrubbed::Retained(id) => segment_fault(disk, &log, id, None).await,
        };
        if pace.stopped.get() {
            break;
        }
        if let Some((offset, fault)) = fault
            && has_name(disk, &log, &path).await
        {
            reached(Branch::ScrubFault);
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_retained = is_retained_name(name);
            faults.push(ScrubFault { path, offset, fault, is_retained });
        }
        // The unused rest of a segment is not read.
        pace.read_bytes.set(end_bytes);
    }
    faults
}

async fn file_bytes<D: Disk>(disk: &D, path: &Path) -> u64 {
    match disk.open(path, OpenMode::READ_DIRECT).await {
        Ok(file) => disk.len(&file).await.unwrap_or_default(),
        Err(_) => 0,
    }
}

async fn has_name<D: Disk>(disk: &D, log: &LogPlace, path: &Path) -> bool {
    let entries = disk.list_dir(&log.directory).await.unwrap_or_default();
    let name = path.file_name().and_then(|name| name.to_str());
    entries.iter().any(|entry| Some(entry.name.as_str()) == name)
}

async fn checkpoint_fault<D: Disk>(disk: &D, log: &LogPlace, number: u64) -> Option<(Option<u64>, String)> {
    match verify_image(disk, log, number).await {
        Ok(_) => None,
        Err(UnusedCheckpoint { offset, fault, .. }) => Some((Some(offset), fault.to_string())),
    }
}

async fn segment_fault<D: Disk>(
    disk: &D,
    log: &LogPlace,
    id: SegmentId,
    last_lsn: Option<Lsn>,
) -> Option<(Option<u64>, String)> {
    let walked = match walk(disk, log, &[id], Given::Any, &mut Passing).await {
        Ok(walked) => walked,
        Err(error) => return Some((None, error.to_string())),
    };
    // A last frame may hold no effect, but what follows it says which frame that was.
    let next = read_front(disk, &log.path(id.next()), SEGMENT_HEADER_BYTES).await;
    let next = next.ok().and_then(|block| SegmentHeader::decode(&block).ok());
    let next = next.filter(|next| next.id == id.next() && next.identity == log.identity);
    let follows = next.is_none_or(|next| next.chain == walked.end.checksum());
    let is_last = last_lsn.or(next.map(|next| Lsn(next.first_lsn.0 - 1)));
    if is_last.is_none_or(|last| walked.end.last_lsn() == last) && follows {
        return None;
    }
    let (place, fault) = walked.broken;
    let fault = format!("{fault}; the log goes on there, after effect {}", walked.end.last_lsn());
    Some((Some(place.offset), fault))
}

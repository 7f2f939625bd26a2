//! Reading a shard's files again while its log goes on: damage is found while all that the files say is in memory still.
//!
//! What is read is what does not change any more: checkpoints, and segments that the log has left. They are given up and used
//! again meanwhile, but never without another name first. So what is wrong in a file that has its name afterwards is damage.

use std::fmt;
use std::path::{Path, PathBuf};

use super::image::{UnusedCheckpoint, verify_checkpoint};
use super::reader::read_front;
use super::scan::{Given, LogPlace, Passing, walk};
use crate::ShardId;
use crate::checkpoint::files::{checkpoint_name, numbers};
use crate::coverage::{Branch, reached};
use crate::disk::{Disk, OpenMode};
use crate::log::SealedSegment;
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::manifest::DataDirectory;
use crate::offline::{Pace, ReadOnly};

/// Something on the disk is not what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubFault {
    /// The file.
    pub path: PathBuf,
    /// Where in it, if it's a place.
    pub offset: Option<u64>,
    /// What is wrong there.
    pub fault: String,
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
}

impl Scrubbed {
    fn path(self, log: &LogPlace) -> PathBuf {
        match self {
            Self::Checkpoint(number) => log.directory.join(checkpoint_name(number)),
            Self::Segment(sealed) => log.path(sealed.id),
        }
    }
}

/// Reads a shard's checkpoints and these segments, at the pace that is asked for. Nothing is changed. What was found until then
/// is the answer also if `pace` is stopped.
pub async fn scrub_shard<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
    sealed: &[SealedSegment],
    pace: &Pace,
) -> Vec<ScrubFault> {
    let log = LogPlace::new(directory, directory.epoch(), shard, OpenMode::READ_DIRECT);
    let entries = disk.list_dir(&log.directory).await.unwrap_or_default();
    let checkpoints = numbers(&entries).into_iter().map(Scrubbed::Checkpoint);
    let segments = sealed.iter().map(|segment| Scrubbed::Segment(*segment));
    let mut files = Vec::new();
    let mut total_bytes = 0;
    for file in checkpoints.chain(segments) {
        let path = file.path(&log);
        total_bytes += file_bytes(disk, &path).await;
        files.push((file, path, total_bytes));
    }
    pace.total_bytes.set(total_bytes);
    let disk = &ReadOnly::paced(disk, pace);
    let mut faults = Vec::new();
    for (file, path, end_bytes) in files {
        let fault = match file {
            Scrubbed::Checkpoint(number) => checkpoint_fault(disk, directory, shard, number).await,
            Scrubbed::Segment(sealed) => segment_fault(disk, &log, sealed).await,
        };
        if pace.stopped.get() {
            break;
        }
        if let Some((offset, fault)) = fault
            && has_name(disk, &log, &path).await
        {
            reached(Branch::ScrubFault);
            faults.push(ScrubFault { path, offset, fault });
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

async fn checkpoint_fault<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
    number: u64,
) -> Option<(Option<u64>, String)> {
    match verify_checkpoint(disk, directory, shard, number).await {
        Ok(_) => None,
        Err(UnusedCheckpoint { offset, fault, .. }) => Some((Some(offset), fault.to_string())),
    }
}

async fn segment_fault<D: Disk>(
    disk: &D,
    log: &LogPlace,
    sealed: SealedSegment,
) -> Option<(Option<u64>, String)> {
    let walked = match walk(disk, log, &[sealed.id], Given::Any, &mut Passing).await {
        Ok(walked) => walked,
        Err(error) => return Some((None, error.to_string())),
    };
    // A last frame may hold no effect, but what follows it says which frame that was.
    let next = read_front(disk, &log.path(sealed.id.next()), SEGMENT_HEADER_BYTES).await;
    let next = next.ok().and_then(|block| SegmentHeader::decode(&block).ok());
    let follows = next.is_none_or(|next| next.chain == walked.end.checksum());
    if walked.end.last_lsn() == sealed.last_lsn && follows {
        return None;
    }
    let (place, fault) = walked.broken;
    let fault = format!("{fault}; the log goes on there, after effect {}", walked.end.last_lsn());
    Some((Some(place.offset), fault))
}

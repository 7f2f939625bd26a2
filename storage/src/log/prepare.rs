//! Making segments ahead of need: background work of a shard, so that the commit path only ever meets blocks that were
//! written before. A file that was merely allocated costs a commit several times as much, and a worker thread.
//!
//! What a crash leaves, by step: `spare.new`, of any length, which the next preparation writes over from its
//! start; a whole `spare-N.log`, which the next preparation takes; or a segment with its final name that was never taken into
//! use, which recovery hands to the log as prepared.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::segment::{PreparedSegment, SegmentId};
use crate::buffer::AlignedBuffer;
use crate::disk::{Disk, OpenMode, WriteSync};

/// A segment that the log wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRequest {
    /// The directory of the shard's log.
    pub directory: PathBuf,
    /// The number that the segment is to have.
    pub id: SegmentId,
    /// Its length, if it must be made.
    pub bytes: u64,
    /// A spare of this length at least will do.
    pub bytes_min: u64,
    /// Writes wait for it: no pauses.
    pub urgent: bool,
}

/// The file under construction. Only a whole one gets a name that is looked for.
const UNFINISHED_NAME: &str = "spare.new";
/// One write of zeros. At this size a disk reaches its bandwidth, and a commit beside it waits half a millisecond at most.
const PIECE_BYTES: usize = 1 << 20;
/// A calm preparation writes smaller pieces with pauses: hardly felt beside commits, 64 MiB in about a second.
const PIECE_BYTES_PACED: usize = 256 << 10;
const PAUSE: Duration = Duration::from_millis(2);

/// Makes the segment: renames a spare, or writes a new file over its whole length. When this returns the file has its final
/// name, durably.
pub async fn prepare_segment<D: Disk>(
    disk: &D,
    request: SegmentRequest,
) -> io::Result<PreparedSegment<D::File>> {
    let target = request.directory.join(request.id.file_name());
    let entries = disk.list_dir(&request.directory).await?;
    if entries.iter().any(|entry| entry.name == request.id.file_name()) {
        // Never over a segment that may hold the log.
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} exists", target.display())));
    }
    for spare in entries.iter().filter(|entry| is_whole_spare(&entry.name)) {
        let path = request.directory.join(&spare.name);
        let file = disk.open(&path, OpenMode::WRITE_DIRECT).await?;
        let bytes = disk.len(&file).await?;
        if bytes >= request.bytes_min && bytes.is_multiple_of(super::limits::ALIGNMENT_MAX as u64) {
            disk.rename(&path, &target).await?;
            disk.sync_dir(&request.directory).await?;
            return Ok(PreparedSegment { id: request.id, file, bytes });
        }
    }
    let unfinished = request.directory.join(UNFINISHED_NAME);
    let file = disk.open(&unfinished, OpenMode::CREATE_DIRECT).await?;
    write_zeros(disk, &file, &request).await?;
    disk.sync(&file).await?;
    let bytes = disk.len(&file).await?;
    disk.rename(&unfinished, &target).await?;
    disk.sync_dir(&request.directory).await?;
    Ok(PreparedSegment { id: request.id, file, bytes })
}

fn is_whole_spare(name: &str) -> bool {
    name.strip_prefix("spare-").and_then(|rest| rest.strip_suffix(".log")).is_some()
}

/// Whether a file in a log's directory waits to become a segment, finished or not.
pub fn is_spare_name(name: &str) -> bool {
    name == UNFINISHED_NAME || is_whole_spare(name)
}

async fn write_zeros<D: Disk>(disk: &D, file: &D::File, request: &SegmentRequest) -> io::Result<()> {
    // In one piece on the disk if possible, and a full disk says so before any time is spent.
    match disk.allocate(file, request.bytes).await {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
        _ => {}
    }
    let piece_bytes = if request.urgent { PIECE_BYTES } else { PIECE_BYTES_PACED };
    let mut zeros = AlignedBuffer::new(piece_bytes);
    let mut offset = 0;
    while offset < request.bytes {
        let len = (piece_bytes as u64).min(request.bytes - offset) as usize;
        let (written, buffer) = disk.write_at(file, zeros, offset, len, WriteSync::None).await;
        zeros = buffer;
        if written? != len {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "a segment could not be written whole"));
        }
        offset += len as u64;
        if !request.urgent {
            disk.pause(PAUSE).await;
        }
    }
    Ok(())
}

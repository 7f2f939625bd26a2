//! Syncing what a log without durability has written: background work of a shard.

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::segment::SegmentId;
use crate::disk::{Disk, OpenMode};

/// What [`Log::need_sync`](super::Log::need_sync) wants on stable storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The directory of the shard's log.
    pub directory: PathBuf,
    /// The segments that may not be there yet.
    pub segments: RangeInclusive<SegmentId>,
}

/// Brings segments to stable storage, those before the last one first. One that isn't there any more was freed, and what it
/// held is on stable storage elsewhere.
pub async fn sync_segments<D: Disk>(disk: &D, request: SyncRequest) -> io::Result<()> {
    let (mut id, last) = request.segments.into_inner();
    while id <= last {
        match disk.open(&request.directory.join(id.file_name()), OpenMode::WRITE_DIRECT).await {
            Ok(file) => disk.sync(&file).await?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && id < last => {}
            Err(error) => return Err(error),
        }
        id = id.next();
    }
    Ok(())
}

//! Making segments ahead of need: background work of a shard, so that the commit path only ever meets blocks that were
//! written before. A file that was merely allocated costs a commit several times as much, and a worker thread.
//!
//! What a crash leaves, by step: `spare.new`, of any length, which the next preparation writes over from its
//! start; a whole `spare-N.log`, with its header or without, which the next preparation takes; or a segment with its final name that was never taken into
//! use, which recovery hands to the log as prepared.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::segment::{PreparedSegment, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentId};
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
    /// How long to rest after each piece written; zero when writes wait for the segment.
    pub pause: Duration,
}

/// The file under construction. Only a whole one gets a name that is looked for.
const UNFINISHED_NAME: &str = "spare.new";
/// One write of zeros. At this size a disk reaches its bandwidth, and a commit beside it waits half a millisecond at most.
const PIECE_BYTES: usize = 1 << 20;
/// A calm preparation writes smaller pieces with pauses: hardly felt beside commits, 64 MiB in about a second.
pub(super) const PIECE_BYTES_PACED: usize = 256 << 10;
/// The longest pause that is asked for.
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(2);

/// Makes the segment: renames a spare, or writes a new file over its whole length. When this returns the file has its final
/// name, durably.
pub async fn prepare_segment<D: Disk>(
    disk: &D,
    request: SegmentRequest,
) -> io::Result<PreparedSegment<D::File>> {
    let target = request.directory.join(request.id.file_name());
    let entries = disk.list_dir(&request.directory).await?;
    if entries.iter().any(|entry| entry.name == request.id.file_name()) {
        return adopt_renamed(disk, &request).await;
    }
    for spare in entries.iter().filter(|entry| is_whole_spare(&entry.name)) {
        let path = request.directory.join(&spare.name);
        let file = disk.open(&path, OpenMode::WRITE_DIRECT).await?;
        let bytes = disk.len(&file).await?;
        if bytes >= request.bytes_min && bytes.is_multiple_of(super::limits::ALIGNMENT_MAX as u64) {
            // Its name as a segment must be gone for good before its header is.
            disk.sync_dir(&request.directory).await?;
            wipe_header(disk, &file).await?;
            disk.rename(&path, &target).await?;
            disk.sync_dir(&request.directory).await?;
            return Ok(PreparedSegment { id: request.id, file, bytes });
        }
    }
    let unfinished = request.directory.join(UNFINISHED_NAME);
    let file = disk.open(&unfinished, OpenMode::CREATE_DIRECT).await?;
    if let Err(error) = write_zeros(disk, &file, &request).await {
        if error.kind() == io::ErrorKind::StorageFull {
            // What it holds is the last of the disk: a restart needs some of it, and so may whoever makes room. Best effort;
            // a removal may hold up commits, but there is nothing to commit to.
            drop(file);
            let _ = disk.remove(&unfinished).await;
        }
        return Err(error);
    }
    disk.sync(&file).await?;
    let bytes = disk.len(&file).await?;
    disk.rename(&unfinished, &target).await?;
    disk.sync_dir(&request.directory).await?;
    Ok(PreparedSegment { id: request.id, file, bytes })
}

/// Whatever has become of a spare's header, recovery must not take the segment for a damaged one.
async fn wipe_header<D: Disk>(disk: &D, file: &D::File) -> io::Result<()> {
    let block = AlignedBuffer::new(SEGMENT_HEADER_BYTES);
    let (written, _) = disk.write_at(file, block, 0, SEGMENT_HEADER_BYTES, WriteSync::DataSync).await;
    if written? == SEGMENT_HEADER_BYTES { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// An attempt before this one got as far as the renaming: the file is whole. It cannot be in use, for the log has yet to get
/// it; but never trust that over a segment that may hold the log.
async fn adopt_renamed<D: Disk>(disk: &D, request: &SegmentRequest) -> io::Result<PreparedSegment<D::File>> {
    let target = request.directory.join(request.id.file_name());
    let file = disk.open(&target, OpenMode::WRITE_DIRECT).await?;
    let block = AlignedBuffer::new(SEGMENT_HEADER_BYTES);
    let (read, block) = disk.read_at(&file, block, 0, SEGMENT_HEADER_BYTES).await;
    read?;
    let in_use = SegmentHeader::decode(&block).is_ok_and(|header| header.id >= request.id);
    let bytes = disk.len(&file).await?;
    if in_use || bytes < request.bytes_min {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} exists", target.display())));
    }
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
    let piece_bytes = if request.pause.is_zero() { PIECE_BYTES } else { PIECE_BYTES_PACED };
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
        if !request.pause.is_zero() {
            disk.pause(request.pause).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::blocking::run_ready;
    use crate::disk::memory::{MemoryDisk, MemoryFile, NothingSurvives, Operation};
    use crate::log::LogIdentity;
    use crate::{Lsn, ShardId};

    const DIRECTORY: &str = "/log";
    const BYTES: u64 = 1 << 20;

    fn disk() -> MemoryDisk {
        let disk = MemoryDisk::new();
        run_ready(disk.create_dir(Path::new(DIRECTORY))).expect("it is made");
        run_ready(disk.sync_dir(Path::new("/"))).expect("it is made durable");
        disk
    }

    fn prepare(disk: &MemoryDisk, id: u64) -> io::Result<PreparedSegment<MemoryFile>> {
        let request = SegmentRequest {
            directory: DIRECTORY.into(),
            id: SegmentId(id),
            bytes: BYTES,
            bytes_min: BYTES / 4,
            pause: PAUSE_MAX,
        };
        run_ready(prepare_segment(disk, request))
    }

    fn names(disk: &MemoryDisk) -> Vec<String> {
        let entries = run_ready(disk.list_dir(Path::new(DIRECTORY))).expect("it is there");
        entries.into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn a_prepared_segment_is_whole_after_a_crash() {
        let disk = disk();
        let segment = prepare(&disk, 1).expect("there is room");
        assert_eq!((segment.id, segment.bytes), (SegmentId(1), BYTES));
        let crashed = disk.crash_copy(&mut NothingSurvives);
        let bytes = crashed.contents(Path::new("/log/000000000001.log")).expect("its name is durable");
        assert_eq!(bytes.len() as u64, BYTES);
    }

    #[test]
    fn a_spare_is_taken_whatever_is_in_it_and_one_too_small_is_not() {
        let disk = disk();
        disk.put(Path::new("/log/spare-3.log"), &vec![9; BYTES as usize / 2]);
        disk.put(Path::new("/log/spare-2.log"), &[9; 4096]);
        assert_eq!(prepare(&disk, 1).expect("there is a spare").bytes, BYTES / 2);
        assert_eq!(names(&disk), ["000000000001.log", "spare-2.log"]);
        assert_eq!(prepare(&disk, 2).expect("there is room").bytes, BYTES);
        assert_eq!(names(&disk), ["000000000001.log", "000000000002.log", "spare-2.log"]);
    }

    #[test]
    fn a_segment_in_use_is_never_prepared_again() {
        let disk = disk();
        prepare(&disk, 1).expect("there is room");
        let header = SegmentHeader {
            identity: LogIdentity { directory: 1, epoch: 1, shard: ShardId(0) },
            incarnation: 1,
            id: SegmentId(1),
            first_lsn: Lsn(1),
            chain: 0,
            bytes: BYTES,
        };
        disk.edit(Path::new("/log/000000000001.log"), |bytes| header.encode(bytes));
        assert_eq!(prepare(&disk, 1).map(drop).expect_err("it exists").kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn what_failed_on_the_way_is_no_segment_and_is_used_again() {
        for (operation, passing) in [
            (Operation::Allocate, 0),
            (Operation::Write, 0),
            (Operation::Write, 2),
            (Operation::Sync, 0),
            (Operation::Rename, 0),
            (Operation::SyncDir, 0),
        ] {
            let disk = disk();
            disk.fail(operation, passing, 28);
            let error = prepare(&disk, 1).map(drop).expect_err("it failed");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            let renamed = operation == Operation::SyncDir;
            assert!(renamed || names(&disk).iter().all(|name| name == UNFINISHED_NAME), "{operation:?}");
            assert_eq!(prepare(&disk, 1).expect("now there is room").bytes, BYTES);
            assert_eq!(names(&disk), ["000000000001.log"]);
        }
    }
}

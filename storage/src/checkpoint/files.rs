//! The files of checkpoints in a shard's directory, and giving up what a checkpoint has made superfluous.

use std::io;
use std::path::Path;

use crate::disk::{DirectoryEntry, Disk};
use crate::log::SegmentId;

/// The file that is being written, or that waits to be written over.
pub(crate) const UNFINISHED_NAME: &str = "checkpoint.new";
const PREFIX: &str = "checkpoint-";

/// The name of a whole checkpoint.
pub fn checkpoint_name(number: u64) -> String {
    format!("{PREFIX}{number:012}")
}

/// The checkpoint that a file name means.
pub fn checkpoint_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(PREFIX)?.parse().ok()?;
    (checkpoint_name(number) == name).then_some(number)
}

/// Whether a file in a shard's directory belongs to its checkpoints, finished or not.
pub fn is_checkpoint_name(name: &str) -> bool {
    name == UNFINISHED_NAME || checkpoint_number(name).is_some()
}

const RETAINED_PREFIX: &str = "retained-";

/// The name of a segment that checkpoints have made superfluous, and that is kept for going back in time.
pub fn retained_segment_name(id: SegmentId) -> String {
    format!("{RETAINED_PREFIX}{}", id.file_name())
}

/// The segment that such a name means.
pub fn retained_segment(name: &str) -> Option<SegmentId> {
    SegmentId::of_file_name(name.strip_prefix(RETAINED_PREFIX)?)
}

/// The name of a checkpoint that is kept for going back in time. It was complete at this time, ms of Unix time, or earlier.
pub fn retained_checkpoint_name(number: u64, complete_ms: u64) -> String {
    format!("{RETAINED_PREFIX}{}-{complete_ms}", checkpoint_name(number))
}

/// The checkpoint that such a name means, and when it was complete.
pub fn retained_checkpoint(name: &str) -> Option<(u64, u64)> {
    let (checkpoint, complete_ms) = name.strip_prefix(RETAINED_PREFIX)?.rsplit_once('-')?;
    let (number, complete_ms) = (checkpoint_number(checkpoint)?, complete_ms.parse().ok()?);
    (retained_checkpoint_name(number, complete_ms) == name).then_some((number, complete_ms))
}

/// Whether a file in a shard's directory is kept for going back in time: nothing that a start needs.
pub fn is_retained_name(name: &str) -> bool {
    retained_segment(name).is_some() || retained_checkpoint(name).is_some()
}

/// The numbers of the checkpoints among these files, the newest first. Those that are retained are not among them.
pub(crate) fn numbers(entries: &[DirectoryEntry]) -> Vec<u64> {
    let files = entries.iter().filter(|entry| !entry.is_directory);
    let mut numbers: Vec<u64> = files.filter_map(|entry| checkpoint_number(&entry.name)).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers
}

/// Makes segments that nobody needs any more spares, the oldest first: the log uses them again. They aren't removed, for that
/// would hold up commits. What a crash leaves is a log that begins somewhat earlier than it has to.
///
/// After an error the caller gives the same segments again, before any younger ones: one that stays behind those would be a log
/// with a hole. What an earlier attempt has renamed is passed over.
pub async fn recycle_segments<D: Disk>(disk: &D, directory: &Path, ids: &[SegmentId]) -> io::Result<()> {
    for id in ids {
        let spare = directory.join(format!("spare-{}.log", id.0));
        match disk.rename(&directory.join(id.file_name()), &spare).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    if ids.is_empty() { Ok(()) } else { disk.sync_dir(directory).await }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::blocking::run_ready;
    use crate::disk::memory::{MemoryDisk, Operation};

    #[test]
    fn names_of_what_is_retained_are_read_back_and_mean_nothing_to_a_start() {
        let segment = retained_segment_name(SegmentId(7));
        let image = retained_checkpoint_name(12, 1_795_298_405_000);
        assert_eq!(
            (segment.as_str(), retained_segment(&segment)),
            ("retained-000000000007.log", Some(SegmentId(7)))
        );
        assert_eq!(image, "retained-checkpoint-000000000012-1795298405000");
        assert_eq!(retained_checkpoint(&image), Some((12, 1_795_298_405_000)));
        for name in [&segment, &image] {
            assert!(
                is_retained_name(name)
                    && !is_checkpoint_name(name)
                    && SegmentId::of_file_name(name).is_none()
            );
        }
        for name in
            ["retained-7.log", "retained-checkpoint-000000000012", "retained-checkpoint-12-1", "retained-"]
        {
            assert!(!is_retained_name(name), "{name}");
        }
    }

    /// One that kept its name while younger ones lost theirs was a log with a hole: the next start was refused.
    #[test]
    fn what_could_not_be_renamed_is_renamed_before_anything_younger() {
        let (disk, log) = (MemoryDisk::new(), Path::new("/log"));
        run_ready(disk.create_dir(log)).expect("it is made");
        let ids = |range: std::ops::Range<u64>| range.map(SegmentId).collect::<Vec<_>>();
        for id in ids(1..6) {
            disk.put(&log.join(id.file_name()), &[]);
        }
        disk.fail(Operation::Rename, 1, 5);
        run_ready(recycle_segments(&disk, log, &ids(1..4))).expect_err("the second rename fails");
        disk.fail(Operation::SyncDir, 0, 5);
        run_ready(recycle_segments(&disk, log, &ids(1..4))).expect_err("the names are not durable");
        run_ready(recycle_segments(&disk, log, &ids(1..5))).expect("now nothing fails");
        let entries = run_ready(disk.list_dir(log)).expect("it is there");
        let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["000000000005.log", "spare-1.log", "spare-2.log", "spare-3.log", "spare-4.log"]);
    }
}

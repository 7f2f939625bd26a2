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

/// The numbers of the checkpoints among these files, the newest first.
pub(crate) fn numbers(entries: &[DirectoryEntry]) -> Vec<u64> {
    let files = entries.iter().filter(|entry| !entry.is_directory);
    let mut numbers: Vec<u64> = files.filter_map(|entry| checkpoint_number(&entry.name)).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers
}

/// Makes segments that nobody needs any more spares, the oldest first: the log uses them again. They aren't removed, for that
/// would hold up commits. What a crash leaves is a log that begins somewhat earlier than it has to.
pub async fn recycle_segments<D: Disk>(disk: &D, directory: &Path, ids: &[SegmentId]) -> io::Result<()> {
    for id in ids {
        disk.rename(&directory.join(id.file_name()), &directory.join(format!("spare-{}.log", id.0))).await?;
    }
    if ids.is_empty() { Ok(()) } else { disk.sync_dir(directory).await }
}

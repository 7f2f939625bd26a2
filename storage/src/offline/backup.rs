//! Copying a data directory to where backups are kept, as a data directory of its own.
//!
//! What a start needs is copied: the manifest, all epochs that it names, segments and the newest checkpoint of each log; spares and
//! unfinished files are not. A file that the backup has already, with the same bytes, is left alone: so a second backup to
//! the same place writes what is new. The manifest comes last, after everything is on stable storage; a backup that was cut off before that
//! has the manifest of the one before, or none, and is begun again.

use std::io;
use std::path::{Path, PathBuf};

use super::{CopyHelper, ReadOnly};
use crate::ShardId;
use crate::buffer::AlignedBuffer;
use crate::checkpoint::files::{checkpoint_name, numbers};
use crate::disk::{Disk, OpenMode, WriteSync};
use crate::log::SegmentId;
use crate::manifest::{DataDirectory, Epoch, MANIFEST_NAME, OpenError, write_copied_manifest};

/// At a time.
const PIECE_BYTES: usize = 1 << 20;
const UNFINISHED_SUFFIX: &str = ".unfinished";

/// What a backup has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already.
    pub files_kept: u64,
    /// Files of the backup before that are not needed any more, and are gone.
    pub files_removed: u64,
}

/// Copies of what is not used: at once, and what is there already is in the same place.
struct AtOnce;

impl CopyHelper for AtOnce {
    fn pace(&mut self, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn link(&mut self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Where copies go.
#[derive(Clone, Copy)]
struct Places<'a> {
    target: &'a Path,
    /// An older copy elsewhere.
    older: Option<&'a Path>,
}

/// An error of the system, with the file.
pub type PathError = (PathBuf, io::Error);

/// Copies to `target`, which exists. The directory is locked and has been checked by the caller; `target` is an older backup of the same
/// directory, or empty.
pub async fn backup_directory<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    target: &Path,
) -> Result<Copied, PathError> {
    let mut copied = Copied::default();
    let places = Places { target, older: None };
    copy_epochs(disk, directory, &directory.epochs, places, &mut AtOnce, &mut copied).await?;
    copy_manifest(disk, directory, target, &mut copied).await?;
    Ok(copied)
}

/// Copies the epochs before the newest, which nobody writes to any more. Files that an older copy has, with the same bytes, get a second name.
pub async fn copy_closed_epochs<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    target: &Path,
    older: Option<&Path>,
    helper: &mut dyn CopyHelper,
    copied: &mut Copied,
) -> Result<(), PathError> {
    let closed = directory.epochs.split_last().map_or(&[][..], |(_, closed)| closed);
    copy_epochs(disk, directory, closed, Places { target, older }, helper, copied).await
}

async fn copy_epochs<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    epochs: &[Epoch],
    places: Places<'_>,
    helper: &mut dyn CopyHelper,
    copied: &mut Copied,
) -> Result<(), PathError> {
    let source = &ReadOnly::new(disk);
    for epoch in epochs {
        for shard in (0..epoch.shards).map(ShardId) {
            let from = directory.shard_directory(*epoch, shard);
            let to = directory_in(disk, directory, *epoch, shard, places.target).await?;
            let older = places.older.map(|older| {
                DataDirectory { path: older.to_path_buf(), ..directory.clone() }
                    .shard_directory(*epoch, shard)
            });
            let names = needed(source, &from).await?;
            for name in &names {
                let older = older.as_ref().map(|older| older.join(name));
                let files = (&*from.join(name), &*to.join(name), older.as_deref());
                copy_file(disk, files, helper, copied).await?;
            }
            remove_others(disk, &to, &names, copied).await?;
            disk.sync_dir(&to).await.map_err(at(&to))?;
        }
    }
    Ok(())
}

/// Makes the directory of a shard in a copy.
pub async fn directory_in<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    epoch: Epoch,
    shard: ShardId,
    target: &Path,
) -> Result<PathBuf, PathError> {
    let copy = DataDirectory { path: target.to_path_buf(), ..directory.clone() };
    let path = copy.shard_directory(epoch, shard);
    let parent = path.parent().unwrap_or(target).to_path_buf();
    for (made, within) in [(&parent, target), (&path, &*parent)] {
        disk.create_dir(made).await.map_err(at(made))?;
        disk.sync_dir(within).await.map_err(at(within))?;
    }
    Ok(path)
}

/// Makes a copy a data directory, when all else in it is on stable storage.
pub async fn copy_manifest<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    target: &Path,
    copied: &mut Copied,
) -> Result<(), PathError> {
    disk.sync_dir(target).await.map_err(at(target))?;
    let written =
        write_copied_manifest(disk, &directory.path, target).await.map_err(|error| match error {
            OpenError::Io { path, error, .. } => (path, error),
            other => (directory.path.join(MANIFEST_NAME), io::Error::other(other.to_string())),
        })?;
    match written {
        0 => copied.files_kept += 1,
        bytes => {
            copied.files += 1;
            copied.bytes += bytes;
        }
    }
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PathError + use<> {
    let path = path.to_path_buf();
    move |error| (path, error)
}

/// The files of a log that a start reads.
async fn needed<D: Disk>(disk: &D, directory: &Path) -> Result<Vec<String>, PathError> {
    let entries = disk.list_dir(directory).await.map_err(at(directory))?;
    let segments = entries.iter().filter(|entry| SegmentId::of_file_name(&entry.name).is_some());
    let mut names: Vec<String> = segments.map(|entry| entry.name.clone()).collect();
    names.extend(numbers(&entries).first().map(|number| checkpoint_name(*number)));
    Ok(names)
}

async fn remove_others<D: Disk>(
    disk: &D,
    directory: &Path,
    names: &[String],
    copied: &mut Copied,
) -> Result<(), PathError> {
    for entry in disk.list_dir(directory).await.map_err(at(directory))? {
        if !entry.is_directory && !names.contains(&entry.name) {
            let path = directory.join(&entry.name);
            disk.remove(&path).await.map_err(at(&path))?;
            copied.files_removed += 1;
        }
    }
    Ok(())
}

/// Copies a file under another name, and renames it when it is on stable storage; unless it's there, or in an older copy.
async fn copy_file<D: Disk>(
    disk: &D,
    (from, to, older): (&Path, &Path, Option<&Path>),
    helper: &mut dyn CopyHelper,
    copied: &mut Copied,
) -> Result<(), PathError> {
    if is_same(disk, from, to, helper).await? {
        copied.files_kept += 1;
        return Ok(());
    }
    if let Some(older) = older
        && is_same(disk, from, older, helper).await?
    {
        let _ = disk.remove(to).await;
        helper.link(older, to).map_err(at(to))?;
        copied.files_kept += 1;
        return Ok(());
    }
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(UNFINISHED_SUFFIX);
    let unfinished = PathBuf::from(unfinished);
    // What a backup that was cut off has left may be longer.
    let _ = disk.remove(&unfinished).await;
    let source = disk.open(from, OpenMode::READ).await.map_err(at(from))?;
    let file = disk.open(&unfinished, OpenMode::CREATE).await.map_err(at(&unfinished))?;
    let mut buffer = AlignedBuffer::new(PIECE_BYTES);
    let mut offset = 0;
    loop {
        let (read, filled) = disk.read_at(&source, buffer, offset, PIECE_BYTES).await;
        let read = read.map_err(at(from))?;
        if read == 0 {
            break;
        }
        let (written, emptied) = disk.write_at(&file, filled, offset, read, WriteSync::None).await;
        if written.map_err(at(&unfinished))? != read {
            return Err((unfinished, io::ErrorKind::WriteZero.into()));
        }
        buffer = emptied;
        offset += read as u64;
        helper.pace(read as u64).map_err(io::Error::other).map_err(at(from))?;
    }
    disk.sync(&file).await.map_err(at(&unfinished))?;
    disk.rename(&unfinished, to).await.map_err(at(to))?;
    copied.files += 1;
    copied.bytes += offset;
    Ok(())
}

async fn is_same<D: Disk>(
    disk: &D,
    from: &Path,
    to: &Path,
    helper: &mut dyn CopyHelper,
) -> Result<bool, PathError> {
    let source = disk.open(from, OpenMode::READ).await.map_err(at(from))?;
    let Ok(file) = disk.open(to, OpenMode::READ).await else { return Ok(false) };
    let bytes = disk.len(&source).await.map_err(at(from))?;
    if disk.len(&file).await.map_err(at(to))? != bytes {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (AlignedBuffer::new(PIECE_BYTES), AlignedBuffer::new(PIECE_BYTES));
    let mut offset = 0;
    while offset < bytes {
        let (read, filled) = disk.read_at(&source, ours, offset, PIECE_BYTES).await;
        let (read_too, filled_too) = disk.read_at(&file, theirs, offset, PIECE_BYTES).await;
        (ours, theirs) = (filled, filled_too);
        let (read, read_too) = (read.map_err(at(from))?, read_too.map_err(at(to))?);
        if read == 0 || read != read_too || ours[..read] != theirs[..read] {
            return Ok(false);
        }
        offset += read as u64;
        helper.pace(read as u64).map_err(io::Error::other).map_err(at(from))?;
    }
    Ok(true)
}

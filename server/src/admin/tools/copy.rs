//! `annulus backup`.

use std::io::Write;
use std::path::Path;

use annulus_storage::OpenError;
use annulus_storage::disk::Disk;
use annulus_storage::disk::blocking::{StdDisk, run_ready};
use annulus_storage::offline::backup_directory;

use super::check::{Verdict, examine};
use super::{ToolError, at, names, open, parent};
use crate::admin::info::human_bytes;

pub(super) fn backup(dir: &Path, target: &Path, out: &mut dyn Write) -> Result<u8, ToolError> {
    let (directory, _lock) = open(dir).map_err(|error| match error {
        ToolError::Directory(error @ OpenError::Locked { .. }) => {
            ToolError::Refused(format!("{error}; with --from URL it is copied while that serves"))
        }
        other => other,
    })?;
    let refused = match examine(&directory, out)? {
        Verdict::Whole | Verdict::Starts => None,
        // A copy has one checkpoint a shard, and no more of the log than that needs.
        Verdict::DoesWithout => Some(
            "a checkpoint is damaged that a start does without: nothing was copied. A start on the directory writes a new one; `annulus \
             restore` makes a new directory at once",
        ),
        Verdict::Refused => {
            Some("the directory is damaged: nothing was copied; `annulus repair` says what can be saved")
        }
    };
    if let Some(reason) = refused {
        return Err(ToolError::Refused(reason.to_owned()));
    }
    let _target_lock = match names(target)? {
        None => {
            run_ready(StdDisk.create_dir(target)).map_err(at(target))?;
            run_ready(StdDisk.sync_dir(parent(target))).map_err(at(target))?;
            None
        }
        Some(names) if names.iter().any(|name| name == "MANIFEST") => {
            let (older, lock) = open(target)?;
            if older.identity != directory.identity {
                return Err(ToolError::Refused(format!(
                    "{} is of another data directory (identity {:016x}); name another place",
                    target.display(),
                    older.identity
                )));
            }
            Some(lock)
        }
        // What a first backup that was cut off has left.
        Some(names)
            if names.iter().all(|name| name.starts_with("epoch-") || name.starts_with("MANIFEST.")) =>
        {
            None
        }
        Some(_) => return Err(ToolError::Taken { path: target.to_path_buf() }),
    };
    let copied = run_ready(backup_directory(&StdDisk, &directory, target));
    let copied = copied.map_err(|(path, error)| ToolError::Io { path, error })?;
    writeln!(
        out,
        "{}: {} files written ({}), {} were there already, {} removed",
        target.display(),
        copied.files,
        human_bytes(copied.bytes),
        copied.files_kept,
        copied.files_removed
    )?;
    Ok(0)
}

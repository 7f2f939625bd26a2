//! `annulus repair` and `annulus restore`: new directories, made of what others hold.

use std::io::Write;
use std::path::Path;

use annulus_storage::disk::blocking::{StdDisk, run_ready};
use annulus_storage::offline::{
    CutError, FoundCut, Moment, consistent_cut, load_shard, outcomes_of, write_shard,
};
use annulus_storage::recovery::SalvageOptions;
use annulus_storage::{
    DataDirectory, DirectoryOptions, Lsn, Outcomes, RecoveryError, ShardId, open_data_directory,
};

use super::check::{Verdict, examine};
use super::{Limit, ToolError, at, free_name, names, open, rename, shards};
use crate::admin::moment;
use crate::runtime::Rng;

pub(super) fn repair(dir: &Path, yes: bool, out: &mut dyn Write) -> Result<u8, ToolError> {
    let (directory, lock) = open(dir)?;
    if examine(&directory, out)? != Verdict::Refused {
        writeln!(out, "nothing to repair: a server starts with this directory")?;
        return Ok(0);
    }
    if !yes {
        writeln!(
            out,
            "nothing was changed. With --yes a new directory is made of what can be saved; this one is kept"
        )?;
        return Ok(1);
    }
    let unfinished = free_name(dir, ".repairing")?;
    let outcomes = run_ready(outcomes_of(&StdDisk, &directory));
    // What is wrong has been said. Without the others' word every part that is there is kept.
    let outcomes = outcomes.unwrap_or_default();
    let source = Source { directory: &directory, mode: Mode::Salvage, outcomes };
    rebuild(&source, &unfinished, directory.identity, out)?;
    let damaged = free_name(dir, ".damaged")?;
    // Between the two renamings there's no directory of that name: the new one is whole, under its other name.
    rename(dir, &damaged)?;
    rename(&unfinished, dir)?;
    drop(lock);
    writeln!(out, "repaired; the damaged directory is kept as {}", damaged.display())?;
    Ok(0)
}

pub(super) fn restore(
    dir: &Path,
    target: &Path,
    limits: &[Limit],
    out: &mut dyn Write,
) -> Result<u8, ToolError> {
    let (directory, _lock) = open(dir)?;
    if names(target)?.is_some_and(|names| !names.is_empty()) {
        return Err(ToolError::Taken { path: target.to_path_buf() });
    }
    let (until, outcomes, then) = if let Some(found) = cut(&directory, limits, out)? {
        (limited(&found), found.outcomes, found.directory)
    } else {
        let failed = |error| ToolError::Recovery { shard: ShardId(0), error };
        (Vec::new(), run_ready(outcomes_of(&StdDisk, &directory)).map_err(failed)?, directory.clone())
    };
    let unfinished = free_name(target, ".restoring")?;
    let identity = Rng::seed_from_kernel().map_err(at(target))?;
    let source = Source { directory: &then, mode: Mode::Whole { until: &until }, outcomes };
    rebuild(&source, &unfinished, identity, out)?;
    rename(&unfinished, target)?;
    writeln!(out, "restored to {}", target.display())?;
    Ok(0)
}

/// A log that is cut: up to where, and from where on it can be read.
type LimitedLog = (ShardId, SalvageOptions);

/// The logs that are cut, of a cut.
fn limited(found: &FoundCut) -> Vec<LimitedLog> {
    let cuts = found.cuts.iter().zip(&found.reaches).filter(|(cut, _)| cut.until < Lsn(u64::MAX));
    cuts.map(|(cut, reach)| (cut.shard, SalvageOptions { until: cut.until, past: Some(reach.begins) }))
        .collect()
}

/// Where the logs are cut, if that is asked for.
fn cut(
    directory: &DataDirectory,
    limits: &[Limit],
    out: &mut dyn Write,
) -> Result<Option<FoundCut>, ToolError> {
    let (mut times, mut places) = (Vec::new(), Vec::new());
    for limit in limits {
        match *limit {
            Limit::Time(unix_ms) => times.push(unix_ms),
            Limit::Log(shard, lsn) => places.push((shard, lsn)),
        }
    }
    let shards = directory.epoch().shards;
    if let Some((shard, _)) = places.iter().find(|(shard, _)| shard.0 >= shards) {
        return Err(ToolError::Refused(format!("there's no shard {shard}: the newest epoch has {shards}")));
    }
    let moment = match (times.as_slice(), places.as_slice()) {
        ([], []) => return Ok(None),
        ([unix_ms], []) => Moment::Time(*unix_ms),
        ([], places) => Moment::Lsns(places),
        _ => return Err(ToolError::Refused("one time, or effects of logs, and not both".to_owned())),
    };
    let found = run_ready(consistent_cut(&StdDisk, directory, moment)).map_err(|error| match error {
        CutError::Recovery { shard, error } => ToolError::Recovery { shard, error },
        CutError::TooEarly { shard, earliest, earliest_ms } => ToolError::Refused(format!(
            "the directory reaches back to {} only; shard {shard} to LSN {earliest}",
            moment::format(earliest_ms)
        )),
    })?;
    let epoch = found.directory.epoch();
    if epoch != directory.epoch() {
        writeln!(out, "that was in epoch {}, with {} shards", epoch.number, epoch.shards)?;
    }
    for cut in found.cuts.iter().filter(|cut| cut.until < cut.asked) {
        writeln!(
            out,
            "shard {}: up to LSN {} only: what follows is part of a transaction that would be halved, or came after such",
            cut.shard, cut.until
        )?;
    }
    Ok(Some(found))
}

enum Mode<'a> {
    /// Everything, up to here where that is said.
    Whole { until: &'a [LimitedLog] },
    /// What can be had.
    Salvage,
}

struct Source<'a> {
    directory: &'a DataDirectory,
    mode: Mode<'a>,
    /// Of transactions over several logs.
    outcomes: Outcomes,
}

/// Makes a directory of what one holds, shard after shard.
fn rebuild(source: &Source<'_>, target: &Path, identity: u64, out: &mut dyn Write) -> Result<(), ToolError> {
    let directory = source.directory;
    let options =
        DirectoryOptions { shards: directory.epoch().shards, databases: directory.databases, identity };
    let (made, lock) = run_ready(open_data_directory(&StdDisk, target, options))?;
    for shard in shards(directory) {
        let salvage = match source.mode {
            Mode::Salvage => Some(SalvageOptions { until: Lsn(u64::MAX), past: None }),
            Mode::Whole { until } => {
                until.iter().find(|(limited, _)| *limited == shard).map(|(_, options)| *options)
            }
        };
        let failed = |error: RecoveryError| ToolError::Recovery { shard, error };
        let loaded = run_ready(load_shard(&StdDisk, directory, shard, &source.outcomes, salvage, identity));
        let (store, salvaged) = loaded.map_err(failed)?;
        if let (Mode::Whole { .. }, Some(error)) = (&source.mode, salvaged.losses.into_iter().next()) {
            return Err(failed(error));
        }
        let (records, bytes) =
            run_ready(write_shard(&StdDisk, &made, shard, store)).map_err(at(&made.path))?;
        writeln!(
            out,
            "shard {shard}: {records} records, {bytes} bytes, up to LSN {} of the old log",
            salvaged.last_lsn
        )?;
        out.flush()?;
    }
    drop(lock);
    Ok(())
}

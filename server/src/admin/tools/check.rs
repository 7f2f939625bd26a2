//! `annulus check`.

use std::io::Write;
use std::path::Path;

use annulus_storage::disk::blocking::{StdDisk, run_ready};
use annulus_storage::manifest::Epoch;
use annulus_storage::offline::{ShardCheck, check_past_epochs, check_shard, outcomes_of};
use annulus_storage::recovery::{Salvaged, UnusedCheckpoint};
use annulus_storage::{DataDirectory, RecoveryReport};

use super::{ToolError, open, shards};
use crate::admin::info::human_bytes;

/// How a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Whole,
    /// A start goes on without what is damaged.
    Starts,
    /// The same, and what it goes on from is not what it should be: an older checkpoint, or none.
    DoesWithout,
    /// A start is refused.
    Refused,
}

pub(super) fn check(dir: &Path, out: &mut dyn Write) -> Result<u8, ToolError> {
    let (directory, _lock) = open(dir)?;
    let verdict = examine(&directory, out)?;
    writeln!(
        out,
        "{}",
        match verdict {
            Verdict::Whole => "whole",
            Verdict::Starts | Verdict::DoesWithout => {
                "damaged: a server starts, and does without what is damaged"
            }
            Verdict::Refused => "damaged: a start is refused; `annulus repair` says what can be saved",
        }
    )?;
    Ok(match verdict {
        Verdict::Whole => 0,
        Verdict::Starts | Verdict::DoesWithout => 1,
        Verdict::Refused => 2,
    })
}

/// Reads everything, and says what it finds.
pub(super) fn examine(directory: &DataDirectory, out: &mut dyn Write) -> Result<Verdict, ToolError> {
    let epoch = directory.epoch();
    writeln!(
        out,
        "{}: identity {:016x}, {} shards, epoch {}, {} starts",
        directory.path.display(),
        directory.identity,
        epoch.shards,
        epoch.number,
        directory.incarnation
    )?;
    let outcomes = run_ready(outcomes_of(&StdDisk, directory));
    let mut verdict = Verdict::Whole;
    if let Err(error) = &outcomes {
        writeln!(out, "transactions over several logs cannot be examined: {error}")?;
        verdict = Verdict::Refused;
    } else if let Ok(outcomes) = &outcomes
        && outcomes.dropped().0 > 0
    {
        let (transactions, groups) = outcomes.dropped();
        writeln!(
            out,
            "{transactions} transactions had not reached all of their logs when the server stopped: a start drops them, and {groups} groups made from them"
        )?;
    }
    for shard in shards(directory) {
        let found = run_ready(check_shard(&StdDisk, directory, shard, &outcomes));
        verdict = verdict.max(tell(&found, out)?);
    }
    for (epoch, check) in run_ready(check_past_epochs(&StdDisk, directory)) {
        let Epoch { number, shards } = epoch;
        writeln!(out, "retained of epoch {number}, with {shards} shards: {} segments", check.segments)?;
        for fault in &check.faults {
            writeln!(out, "  {fault}")?;
        }
        for UnusedCheckpoint { path, offset, fault } in &check.images {
            writeln!(out, "  {} is damaged at offset {offset}: {fault}", path.display())?;
        }
        if !check.faults.is_empty() || !check.images.is_empty() {
            verdict = verdict.max(Verdict::Starts);
        }
    }
    Ok(verdict)
}

fn tell(found: &ShardCheck, out: &mut dyn Write) -> Result<Verdict, ToolError> {
    let shard = found.shard;
    let mut verdict = match &found.start {
        Ok(report) => {
            writeln!(out, "shard {shard}: {}", summary(report))?;
            for torn in &report.torn_tails {
                writeln!(
                    out,
                    "  {} ends in an unfinished write at offset {} ({} bytes), which was never acknowledged",
                    torn.path.display(),
                    torn.offset,
                    torn.bytes
                )?;
            }
            tell_unused(found, report, out)?
        }
        Err(error) => {
            writeln!(out, "shard {shard}: {error}")?;
            Verdict::Refused
        }
    };
    for damaged in found.checkpoints.iter().filter_map(|checkpoint| checkpoint.as_ref().err()) {
        writeln!(
            out,
            "  {} is damaged at offset {}: {}",
            damaged.path.display(),
            damaged.offset,
            damaged.fault
        )?;
        verdict = verdict.max(Verdict::Starts);
    }
    verdict = verdict.max(tell_retained(found, out)?);
    if let Some(salvaged) = &found.salvage {
        tell_salvage(salvaged, out)?;
    }
    Ok(verdict)
}

/// Damaged checkpoints that a start does without, and what it takes in their place.
fn tell_unused(
    found: &ShardCheck,
    report: &RecoveryReport,
    out: &mut dyn Write,
) -> Result<Verdict, ToolError> {
    // Those of the newest epoch are told with its other checkpoints, and those that are retained with what is retained.
    let told = found.checkpoints.iter().chain(found.retained.iter().flat_map(|check| &check.images));
    let told: Vec<&Path> = told.filter_map(|it| it.as_ref().err()).map(|it| it.path.as_path()).collect();
    for damaged in report.unused.iter().filter(|damaged| !told.contains(&damaged.path.as_path())) {
        let UnusedCheckpoint { path, offset, fault } = damaged;
        writeln!(out, "  {} is damaged at offset {offset}: {fault}", path.display())?;
    }
    if report.segments_taken_back > 0 {
        writeln!(
            out,
            "  a start takes {} retained segments in the place of the newest checkpoint",
            report.segments_taken_back
        )?;
    }
    if report.takes_past_epochs {
        writeln!(
            out,
            "  a start takes what is retained of former numbers of shards in the place of the checkpoint"
        )?;
    }
    let does_without =
        !report.unused.is_empty() || report.segments_taken_back > 0 || report.takes_past_epochs;
    Ok(if does_without { Verdict::DoesWithout } else { Verdict::Whole })
}

/// What is kept for going back in time: no start needs it, unless the newest checkpoint is damaged.
fn tell_retained(found: &ShardCheck, out: &mut dyn Write) -> Result<Verdict, ToolError> {
    let mut verdict = Verdict::Whole;
    match &found.retained {
        // A directory that can't be read: that has been said.
        Err(_) => {}
        Ok(check) => {
            if check.segments > 0 || !check.images.is_empty() {
                let images = check.images.len();
                writeln!(out, "  retained: {} segments and {images} checkpoints", check.segments)?;
            }
            for fault in &check.faults {
                writeln!(out, "  {fault}")?;
                verdict = Verdict::Starts;
            }
            if check.segments_unusable > 0 {
                let count = check.segments_unusable;
                writeln!(
                    out,
                    "  {count} of the retained segments are of no use: what stood before them, or the checkpoint to begin with, is gone"
                )?;
            }
            for damaged in check.images.iter().filter_map(|image| image.as_ref().err()) {
                let path = damaged.path.display();
                writeln!(out, "  {path} is damaged at offset {}: {}", damaged.offset, damaged.fault)?;
                verdict = Verdict::Starts;
            }
        }
    }
    Ok(verdict)
}

fn summary(report: &RecoveryReport) -> String {
    let image = report.image.as_ref().map_or("no checkpoint".to_owned(), |image| {
        format!(
            "checkpoint {} of {} records, {}, from LSN {} to {}",
            image.number,
            image.records,
            human_bytes(image.bytes),
            image.from,
            image.to
        )
    });
    let image_records = report.image.as_ref().map_or(0, |image| image.records);
    let stop = if report.clean_stop { ", stopped cleanly" } else { "" };
    format!(
        "{image}; log of {} effects in {} frames and {} segments{stop}",
        report.effects - image_records,
        report.frames,
        report.segments
    )
}

/// What can be saved of a damaged shard, and what can't.
pub(super) fn tell_salvage(salvaged: &Salvaged, out: &mut dyn Write) -> Result<(), ToolError> {
    writeln!(
        out,
        "  can be saved: {}, up to LSN {}; what came after is lost",
        summary(&salvaged.report),
        salvaged.last_lsn
    )?;
    if salvaged.slices_lost > 0 {
        writeln!(
            out,
            "  of the checkpoint {} slices are lost, each with some hundred keys",
            salvaged.slices_lost
        )?;
    }
    if salvaged.keys_unknown > 0 {
        writeln!(
            out,
            "  {} keys among those were changed later in parts ({} changes): they are lost too",
            salvaged.keys_unknown, salvaged.effects_passed_over
        )?;
    }
    Ok(())
}

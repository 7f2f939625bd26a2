//! Damage of every kind in every kind of file, in process: thousands of cases in minutes.
//!
//! Directories are made by whole servers in the simulator, over several lives, on a disk in memory. Each case damages a copy of one, and has the
//! production code start on it, copy it, go back in it, or import what was exported from it. Either that is refused with the file and the place, or what comes of it is
//! what would have come without the damage: never is a wrong value served, nothing panics, and `check` says the same as the start.
//!
//! `ANNULUS_CORRUPTION_CASES` sets the number of cases for campaigns, `ANNULUS_CORRUPTION_SEED` replays one, and with `ANNULUS_CORRUPTION_CASE` only one
//! case of it.

mod copies;
mod original;
mod past;
mod starts;

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use annulus_storage::DataDirectory;
use annulus_storage::disk::blocking::run_ready;
use annulus_storage::disk::memory::{EverythingSurvives, MemoryDisk};
use annulus_storage::manifest::inspect_data_directory;
use annulus_storage::offline::{ShardCheck, check_past_epochs, check_shard, outcomes_of};
use annulus_storage::planted::{Planted, plant};
use annulus_storage::recovery::PastCheck;
use annulus_tests::damage::{Damage, names_place};
use annulus_tests::random::{Random, seed_from};
use annulus_tests::sim::server::DIRECTORY;
use original::Original;

/// Cases on one original: then another is made.
const CASES_EACH: u64 = 50;

/// What has come of a case.
enum Outcome {
    Refused,
    /// As without the damage.
    Harmless,
    /// There was nothing to damage.
    Passed,
}

type Case = fn(&Original, &mut Random) -> (Vec<Damage>, Result<Outcome, String>);

/// Runs cases, so many by default, and prints what has come of them by kinds of files. Returns what went wrong.
fn campaign(case: Case, default: u64) -> Vec<String> {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = seed_from("ANNULUS_CORRUPTION_SEED");
    // Of a long campaign each kind of case has its part.
    let cases = number("ANNULUS_CORRUPTION_CASES").map_or(default, |cases| cases * default / 600);
    let only = number("ANNULUS_CORRUPTION_CASE");
    eprintln!("ANNULUS_CORRUPTION_SEED={seed}; {cases} cases");
    let mut counts: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut original = None;
    for index in (0..cases).filter(|index| only.is_none_or(|only| only == *index)) {
        let origin = seed.wrapping_mul(0x9E37_79B9) + index / CASES_EACH;
        if original.as_ref().is_none_or(|(made, _)| *made != origin) {
            original = Some((origin, Original::make(&mut Random::new(origin))));
        }
        let Some((_, original)) = &original else { continue };
        let mut random = Random::new(seed.wrapping_add(index << 32));
        let run = catch_unwind(AssertUnwindSafe(|| case(original, &mut random)));
        let (damage, outcome) = run.unwrap_or_else(|_| (Vec::new(), Err("it panics".to_owned())));
        let file = damage.first().map_or("nothing", kind_of_file);
        match outcome {
            Ok(Outcome::Refused) => counts.entry(file).or_default()[0] += 1,
            Ok(Outcome::Harmless) => counts.entry(file).or_default()[1] += 1,
            Ok(Outcome::Passed) => {}
            Err(text) => {
                let text = format!("case {index} of seed {seed}, {}, {damage:?}: {text}", original.name);
                eprintln!("{text}");
                wrong.push(text);
            }
        }
    }
    for (file, [refused, harmless]) in counts {
        eprintln!("{file}: {refused} refused, {harmless} harmless");
    }
    eprintln!("{} wrong", wrong.len());
    wrong
}

/// What the first file is that was damaged.
fn kind_of_file(damage: &Damage) -> &'static str {
    let path = damage.paths.first().map_or(Path::new(""), |path| path.as_path());
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_log = path.extension().is_some_and(|extension| extension == "log");
    match name {
        "MANIFEST" => "manifest",
        "dump.rdb" => "RDB file",
        _ if name.starts_with("spare-") => "spare segment",
        _ if name.starts_with("retained-") && is_log => "retained segment",
        _ if name.starts_with("retained-") => "retained checkpoint",
        _ if name.starts_with("checkpoint-") => "checkpoint",
        _ if is_log => "segment",
        _ if name.starts_with("epoch-") || name.starts_with("shard-") => "directory",
        _ => "other files",
    }
}

/// What `annulus check` says of a directory.
struct Examined {
    directory: DataDirectory,
    shards: Vec<ShardCheck>,
    past: Vec<PastCheck>,
}

impl Examined {
    /// Whether anything at all is wrong.
    fn is_whole(&self) -> bool {
        let is_past_whole = |check: &PastCheck| check.faults.is_empty() && check.images.is_empty();
        self.past.iter().all(is_past_whole)
            && self.shards.iter().all(|shard| {
                let retained = shard.retained.as_ref();
                // Of older epochs only the start says what it does without.
                let starts_with_all = shard.start.as_ref().is_ok_and(|report| {
                    report.unused.is_empty() && report.segments_taken_back == 0 && !report.takes_past_epochs
                });
                starts_with_all
                    && shard.checkpoints.iter().all(Result::is_ok)
                    && retained.is_ok_and(|it| {
                        it.faults.is_empty()
                            && it.segments_unusable == 0
                            && it.images.iter().all(Result::is_ok)
                    })
            })
    }
}

/// Checks a copy of a disk. The error is why a start would be refused.
fn examine(disk: &MemoryDisk) -> Result<Examined, String> {
    let copy = copy_of(disk);
    let (directory, _lock) =
        run_ready(inspect_data_directory(&copy, Path::new(DIRECTORY))).map_err(|error| error.to_string())?;
    let outcomes = run_ready(outcomes_of(&copy, &directory));
    let mut shards = Vec::new();
    for shard in (0..directory.epoch().shards).map(annulus_storage::ShardId) {
        let check = run_ready(check_shard(&copy, &directory, shard, &outcomes));
        if let Err(error) = &check.start {
            return Err(error.to_string());
        }
        shards.push(check);
    }
    if let Err(error) = outcomes {
        return Err(error.to_string());
    }
    let past = run_ready(check_past_epochs(&copy, &directory)).into_iter().map(|(_, check)| check).collect();
    Ok(Examined { directory, shards, past })
}

fn copy_of(disk: &MemoryDisk) -> MemoryDisk {
    disk.crash_copy(&mut EverythingSurvives)
}

/// Whether a refusal says which file it is about, and where in it or what of it.
fn judge_refusal(text: &str) -> Result<(), String> {
    let places = ["cannot read", "ends at LSN", "reaches back to"];
    let names_file = text.contains("/data") || text.contains("/backup") || text.contains("reaches back to");
    if names_file && (names_place(text) || places.iter().any(|words| text.contains(words))) {
        Ok(())
    } else {
        Err(format!("no file or no place is named: {text}"))
    }
}

fn expect_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} cases went wrong: {wrong:#?}", wrong.len());
}

#[test]
fn a_start_on_damage_is_refused_or_has_everything() {
    expect_none(&campaign(starts::start, 300));
}

#[test]
fn a_start_whose_log_is_kept_needs_no_checkpoint() {
    expect_none(&campaign(starts::start_without_checkpoints, 60));
}

#[test]
fn going_back_over_damage_is_refused_or_leads_where_it_would_have_led() {
    expect_none(&campaign(past::go_back, 100));
}

#[test]
fn a_backup_over_a_damaged_one_is_whole() {
    expect_none(&campaign(copies::back_up_again, 60));
}

#[test]
fn a_copy_for_a_backup_of_what_is_damaged_is_refused_or_whole() {
    expect_none(&campaign(copies::copy_online, 80));
}

#[test]
fn a_damaged_rdb_file_is_refused_or_says_the_same() {
    expect_none(&campaign(copies::import_rdb, 60));
}

#[test]
fn cases_find_a_server_that_believes_every_frame() {
    plant(Planted { skip_checksum: true, ..Planted::default() });
    let wrong = campaign(starts::start_on_bytes, 60);
    plant(Planted::default());
    assert!(!wrong.is_empty(), "wrong values were served, and nobody has noticed");
}

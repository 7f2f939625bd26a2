//! Going back in damaged directories, and in such as have damage in what is retained only.

use std::path::Path;

use annulus_storage::disk::blocking::run_ready;
use annulus_storage::disk::memory::MemoryDisk;
use annulus_storage::manifest::inspect_data_directory;
use annulus_storage::offline::{Moment, ShardMoment, consistent_cut, load_shard, write_shard};
use annulus_storage::recovery::SalvageOptions;
use annulus_storage::{DirectoryOptions, Lsn, ShardId, open_data_directory};
use annulus_tests::damage::workload::{Contents, difference};
use annulus_tests::damage::{Damage, Kind, inflict_on};
use annulus_tests::random::Random;
use annulus_tests::sim::server::DIRECTORY;

use super::copies::moments;
use super::original::{Original, read};
use super::{Outcome, examine, judge_refusal};

const IDENTITY: u64 = 7;

pub(super) fn go_back(original: &Original, random: &mut Random) -> (Vec<Damage>, Result<Outcome, String>) {
    let undamaged = original.disk();
    let whole = examine(&undamaged).expect("it is whole");
    let has_retained = whole.shards.iter().any(|shard| {
        shard.retained.as_ref().is_ok_and(|retained| retained.segments > 0 || !retained.images.is_empty())
    });
    let only_retained = has_retained && random.one_in(2);
    let is_retained =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("retained-"));
    let mut disk = original.disk();
    let which = |path: &Path| !only_retained || is_retained(path);
    let damage = inflict_on(&mut disk, Path::new(DIRECTORY), &Kind::ALL, &which, random);
    let mut limits = Vec::new();
    for ShardMoment { shard, until, .. } in moments(&undamaged) {
        if random.one_in(2) && until > Lsn::ZERO {
            limits.push((shard, Lsn(1 + random.below(until.0 as usize) as u64)));
        }
    }
    let outcome = judge(original, (&undamaged, &disk), &limits, only_retained);
    (damage, outcome)
}

fn judge(
    original: &Original,
    (undamaged, damaged): (&MemoryDisk, &MemoryDisk),
    limits: &[(ShardId, Lsn)],
    only_retained: bool,
) -> Result<Outcome, String> {
    let expected = restore(original, undamaged, limits);
    let checked = examine(damaged);
    if only_retained {
        // A start has nothing to do with it.
        let mut host = original.host(damaged, original.shards)?;
        original.judge_contents(&mut host)?;
    }
    match (restore(original, damaged, limits), expected) {
        (Ok(found), Ok(expected)) => match difference(&expected, &found) {
            Some(difference) => Err(format!("back to {limits:?}: {difference}")),
            None => Ok(Outcome::Harmless),
        },
        (Ok(_), Err(text)) => Err(format!("back to {limits:?} goes with the damage only; without: {text}")),
        (Err(found), Err(expected)) if found == expected => Ok(Outcome::Harmless),
        (Err(text), _) => {
            judge_refusal(&text)?;
            // Where a log that had its beginning has lost just that, and an image is there for all that follows, nothing says that it was
            // there.
            let is_shorter = text.contains("reaches back to");
            if checked.is_ok_and(|checked| checked.is_whole()) && !is_shorter {
                return Err(format!("going back is refused, and the check says nothing: {text}"));
            }
            Ok(Outcome::Refused)
        }
    }
}

/// As `annulus restore --to`, and a start on what it has made.
fn restore(original: &Original, disk: &MemoryDisk, limits: &[(ShardId, Lsn)]) -> Result<Contents, String> {
    let place = Path::new(DIRECTORY);
    let (directory, _lock) =
        run_ready(inspect_data_directory(disk, place)).map_err(|error| error.to_string())?;
    let found = run_ready(consistent_cut(disk, &directory, Moment::Lsns(limits)));
    let found = found.map_err(|error| error.to_string())?;
    let made = MemoryDisk::new();
    let epoch = directory.epoch();
    let options =
        DirectoryOptions { shards: epoch.shards, databases: directory.databases, identity: IDENTITY };
    let (new, lock) = run_ready(open_data_directory(&made, place, options)).expect("nothing fails here");
    for (cut, reach) in found.cuts.iter().zip(&found.reaches) {
        let limit = SalvageOptions { until: cut.until, past: Some(reach.begins) };
        let limit = (cut.until < Lsn(u64::MAX)).then_some(limit);
        let (at, outcomes) = (&found.directory, &found.outcomes);
        let loaded = run_ready(load_shard(disk, at, cut.shard, outcomes, limit, IDENTITY));
        let (store, salvaged) = loaded.map_err(|error| error.to_string())?;
        if let Some(error) = salvaged.losses.first() {
            return Err(error.to_string());
        }
        run_ready(write_shard(&made, &new, cut.shard, store)).expect("nothing fails here");
    }
    drop(lock);
    let mut host = original.host(&made, epoch.shards)?;
    read(&mut host.connect())
}

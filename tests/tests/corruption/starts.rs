//! Starts on damaged directories.

use std::path::Path;

use annulus_storage::disk::memory::MemoryDisk;
use annulus_tests::damage::{Damage, Files, Kind, inflict, inflict_on};
use annulus_tests::random::Random;
use annulus_tests::resp::Value;
use annulus_tests::sim::server::DIRECTORY;

use super::original::Original;
use super::{Outcome, examine, judge_refusal};

pub(super) fn start(original: &Original, random: &mut Random) -> (Vec<Damage>, Result<Outcome, String>) {
    start_on(original, &Kind::ALL, random)
}

pub(super) fn start_on_bytes(
    original: &Original,
    random: &mut Random,
) -> (Vec<Damage>, Result<Outcome, String>) {
    start_on(original, &[Kind::Bytes], random)
}

fn start_on(
    original: &Original,
    kinds: &[Kind],
    random: &mut Random,
) -> (Vec<Damage>, Result<Outcome, String>) {
    let mut disk = original.disk();
    let damage = inflict(&mut disk, Path::new(DIRECTORY), kinds, random);
    let outcome = judge(original, &disk, &damage, random);
    (damage, outcome)
}

/// All that is damaged are checkpoints, and the log is kept from its beginning on: a start has everything.
pub(super) fn start_without_checkpoints(
    original: &Original,
    random: &mut Random,
) -> (Vec<Damage>, Result<Outcome, String>) {
    if !original.is_retained() {
        return (Vec::new(), Ok(Outcome::Passed));
    }
    let is_checkpoint = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with("checkpoint-") || name.starts_with("retained-checkpoint-"))
    };
    let mut disk = original.disk();
    let place = Path::new(DIRECTORY);
    if !disk.list(place).0.iter().any(|path| is_checkpoint(path)) {
        return (Vec::new(), Ok(Outcome::Passed));
    }
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::RemovedDirectory).collect();
    let damage = inflict_on(&mut disk, place, &kinds, &is_checkpoint, random);
    let outcome = match judge(original, &disk, &damage, random) {
        Ok(Outcome::Refused) => Err(format!("refused: {:?}", examine(&disk).err())),
        other => other,
    };
    (damage, outcome)
}

fn judge(
    original: &Original,
    disk: &MemoryDisk,
    damage: &[Damage],
    random: &mut Random,
) -> Result<Outcome, String> {
    let check = examine(disk).map(drop);
    // Mostly with as many shards as were last.
    let shards = if random.one_in(5) { 1 + random.below(3) as u16 } else { original.shards };
    let mut host = match original.host(disk, shards) {
        Ok(host) => host,
        Err(text) => {
            judge_refusal(&text)?;
            if check.is_ok() {
                return Err(format!("the start is refused, and the check says nothing: {text}"));
            }
            if random.one_in(4) {
                undo_and_start(original, disk, damage)?;
            }
            return Ok(Outcome::Refused);
        }
    };
    original.judge_contents(&mut host)?;
    if let Err(text) = check {
        return Err(format!("the start has everything, and the check says: {text}"));
    }
    if random.one_in(4) {
        let mut caller = host.connect();
        for number in 0..20 {
            let words = ["SET".into(), format!("end:{number}"), "end".into()];
            let replies = caller.pipeline(&[words.map(String::into_bytes).to_vec()])?;
            if replies != [Value::ok()] {
                return Err(format!("a write after harmless damage: {}", replies[0]));
            }
        }
        drop(caller);
        let left = if random.one_in(2) { host.stop() } else { host.kill() };
        let again = original.host(&left, shards);
        let mut again = again.map_err(|text| format!("the second start after harmless damage: {text}"))?;
        original.judge_contents(&mut again).map_err(|wrong| format!("at the second start: {wrong}"))?;
    }
    Ok(Outcome::Harmless)
}

/// A refused start has changed nothing: with what was damaged back in place, everything is there.
fn undo_and_start(original: &Original, disk: &MemoryDisk, damage: &[Damage]) -> Result<(), String> {
    let mut disk = disk.clone();
    let place = Path::new(DIRECTORY);
    for damage in damage.iter().rev() {
        damage.undo((&original.disk(), place), (&mut disk, place));
    }
    let host = original.host(&disk, original.shards);
    let mut host = host.map_err(|text| format!("with the damage undone: {text}"))?;
    original.judge_contents(&mut host).map_err(|wrong| format!("with the damage undone: {wrong}"))
}

//! Starts without their newest checkpoint, on what is kept for going back in time.

use super::*;
use crate::checkpoint::files::retained_segment_name;
use crate::disk::memory::EverythingSurvives;
use crate::recovery::Gap;

/// A shard that keeps its log: four checkpoints, the last of which has made superfluous what the others need.
fn kept(seed: u64, retention_ms: u64) -> (Rig, Choices) {
    let mut choices = Choices::new(seed);
    let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
    rig.retention = Retention { ms: retention_ms, bytes: 0 };
    for _ in 0..4 {
        for _ in 0..120 {
            rig.random_command(&mut choices);
            rig.settle();
        }
        rig.now_ms += 20;
        rig.checkpoint();
    }
    for _ in 0..20 {
        rig.random_command(&mut choices);
    }
    rig.settle();
    (rig, choices)
}

fn names(rig: &Rig, disk: &MemoryDisk) -> Vec<String> {
    let entries = run_ready(disk.list_dir(&rig.path(""))).expect("it is there");
    entries.into_iter().map(|entry| entry.name).collect()
}

fn everything(rig: &mut Rig) -> Contents {
    let found = living(&contents(&mut rig.store), rig.now_ms);
    rig.store.end_command();
    found
}

fn copy(rig: &Rig) -> MemoryDisk {
    rig.disk.crash_copy(&mut EverythingSurvives)
}

/// Damages a file within its first block behind the header.
fn damage(rig: &Rig, disk: &MemoryDisk, name: &str) {
    disk.edit(&rig.path(name), |bytes| bytes[4096 + 100] ^= 4);
}

#[test]
fn a_start_goes_on_from_what_is_kept_when_the_newest_checkpoint_is_damaged() {
    // With checkpoints to go back to, and with a log that has its beginning.
    for retention_ms in [30, 1_000_000] {
        let (mut rig, _) = kept(91, retention_ms);
        let expected = everything(&mut rig);
        let newest = rig.path(&checkpoint_name(4));
        let bytes = rig.disk.contents(&newest).expect("it is there");
        let used = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty") + 1;
        let mut taken_back = 0;
        for at in (0..used).step_by(191).map(Some).chain([None]) {
            let disk = copy(&rig);
            match at {
                Some(at) => disk.edit(&newest, |bytes| bytes[at] ^= 1 << (at % 8)),
                None => run_ready(disk.remove(&newest)).expect("it is there"),
            }
            let mut again = Rig::open(&disk, 1, small_options(), rig.now_ms)
                .unwrap_or_else(|error| panic!("with a bit flipped at {at:?}: {error}"));
            assert_eq!(everything(&mut again), expected, "with a bit flipped at {at:?}");
            if again.report.image.as_ref().is_some_and(|image| image.number == 4) {
                continue;
            }
            taken_back += again.report.segments_taken_back;
            assert_eq!(again.report.unused.len(), usize::from(at.is_some()));
            // What it needs has its own names again, so nothing gives that up; and all of it is there, once.
            let mut third = Rig::open(&disk, 1, small_options(), rig.now_ms).expect("it has started before");
            assert_eq!(everything(&mut third), expected);
            assert_eq!(third.report.segments_taken_back, 0);
            assert_eq!(
                third.report.image.map(|it| it.number),
                again.report.image.as_ref().map(|it| it.number)
            );
        }
        assert!(taken_back > 100, "{taken_back} segments");
    }
}

#[test]
fn a_crash_at_any_step_of_a_start_without_the_newest_checkpoint_leaves_one_that_goes_on() {
    for (seed, retention_ms, is_removed) in [(92, 30, false), (93, 1_000_000, false), (94, 30, true)] {
        let (mut rig, mut choices) = kept(seed, retention_ms);
        let expected = everything(&mut rig);
        let newest = rig.path(&checkpoint_name(4));
        let disk = copy(&rig);
        if is_removed {
            run_ready(disk.remove(&newest)).expect("it is there");
        } else {
            damage(&rig, &disk, &checkpoint_name(4));
        }
        // The start, with a crash after each of its operations; one that lasts begins it again.
        let directory = open_directory(&disk, 1);
        let settings = RecoveryOptions { alignment: small_options().alignment };
        let stepping = StepDisk(disk.clone());
        let outcomes = Outcomes::default();
        let mut nowhere = |_: &Effect<'_>, _: &std::ops::Range<u16>| {};
        let mut start =
            Box::pin(recover_shard(&stepping, &directory, ShardId(0), settings, &outcomes, &mut nowhere));
        let mut crashes = 0;
        loop {
            let names_before = names(&rig, &disk);
            let ended = poll_once(&mut start);
            if names(&rig, &disk) != names_before || ended.is_some() {
                for survives in [true, false] {
                    let left = disk.crash_copy(&mut NamesSurvive(survives));
                    let mut again = Rig::open(&left, 1, small_options(), rig.now_ms)
                        .unwrap_or_else(|error| panic!("after {crashes} crashes: {error}"));
                    assert_eq!(everything(&mut again), expected, "after {crashes} crashes");
                    crashes += 1;
                }
            }
            if let Some(ended) = ended {
                ended.expect("it goes on");
                break;
            }
        }
        drop(start);
        assert!(crashes >= 8, "{crashes} crashes");

        // The next checkpoint, with a crash after each of its steps: there is always one of the two to begin with.
        let mut rig = Rig::open(&disk, 1, small_options(), rig.now_ms).expect("it goes on");
        rig.retention = Retention { ms: retention_ms, bytes: 0 };
        let with_new = checkpoint_with_crashes(&mut rig, &mut choices, u64::MAX);
        // A number that no file has is given again.
        assert!(
            with_new > 2 && rig.newest == if is_removed { 4 } else { 5 },
            "{with_new} crashes with checkpoint {}",
            rig.newest
        );
        let again = rig.check_crash(&mut choices);
        assert!(again.report.unused.is_empty(), "the damaged one is gone: {:?}", again.report.unused);
        rig.settle();
        rig.check_past(&rig.disk, &mut choices);
    }
}

struct NamesSurvive(bool);

impl CrashChoice for NamesSurvive {
    fn sector_survives(&mut self, _: usize) -> bool {
        true
    }
    fn names_survive(&mut self, _: &Path) -> bool {
        self.0
    }
}

#[test]
fn a_gap_in_what_is_kept_refuses_a_start_that_needs_it_and_is_named() {
    let (mut rig, _) = kept(95, 30);
    let expected = everything(&mut rig);
    let kept: Vec<SegmentId> =
        names(&rig, &rig.disk).iter().filter_map(|name| retained_segment(name)).collect();
    assert!(kept.len() > 4, "{kept:?}");
    let (mut refused, mut goes_on) = (0, 0);
    for id in &kept {
        for is_removed in [true, false] {
            let disk = copy(&rig);
            damage(&rig, &disk, &checkpoint_name(4));
            let name = retained_segment_name(*id);
            if is_removed {
                run_ready(disk.remove(&rig.path(&name))).expect("it is there");
            } else {
                damage(&rig, &disk, &name);
            }
            match Rig::open(&disk, 1, small_options(), rig.now_ms) {
                // Before the checkpoint that takes the newest one's place.
                Ok(mut again) => {
                    assert_eq!(everything(&mut again), expected, "{name}");
                    goes_on += 1;
                }
                Err(RecoveryError::DamagedCheckpoint {
                    path, gap: Some(Gap { path: gap, offset }), ..
                }) => {
                    assert_eq!((path, gap), (rig.path(&checkpoint_name(4)), rig.path(&name)));
                    assert_eq!(offset.is_none(), is_removed, "{name}");
                    refused += 1;
                }
                Err(other) => panic!("{name}: {other}"),
            }
        }
    }
    assert!(refused >= 2 && goes_on >= 2, "{refused} refused, {goes_on} not");
}

#[test]
fn damaged_checkpoints_are_passed_over_until_one_is_whole() {
    let (mut rig, _) = kept(96, 60);
    let expected = everything(&mut rig);
    let images: Vec<String> =
        names(&rig, &rig.disk).into_iter().filter(|name| name.contains("checkpoint-")).collect();
    assert!(images.len() >= 3, "{images:?}");
    let disk = copy(&rig);
    // The newest first: their own names come before those of what is retained.
    let mut ordered: Vec<&String> = images.iter().collect();
    ordered.sort_by_key(|name| std::cmp::Reverse(checkpoint_of(name)));
    for (count, name) in ordered.iter().enumerate() {
        damage(&rig, &disk, name);
        let is_last = count + 1 == ordered.len();
        let left = disk.crash_copy(&mut EverythingSurvives);
        match Rig::open(&left, 1, small_options(), rig.now_ms) {
            Ok(mut again) => {
                assert_eq!(everything(&mut again), expected, "without {count} and {name}");
                assert_eq!(again.report.unused.len(), count + 1);
                // None is written over before there is another.
                again.checkpoint();
                let mut third = Rig::open(&left, 1, small_options(), rig.now_ms).expect("it has a new one");
                assert_eq!(everything(&mut third), expected);
                assert_eq!(third.report.image.map(|image| image.number), Some(5));
            }
            Err(error) => {
                assert!(is_last && matches!(error, RecoveryError::DamagedCheckpoint { .. }), "{error}");
            }
        }
    }
}

fn checkpoint_of(name: &str) -> u64 {
    let retained = retained_checkpoint(name).map(|(number, _)| number);
    retained.or(crate::checkpoint::files::checkpoint_number(name)).expect("it is one")
}

#[test]
fn that_the_oldest_of_what_is_kept_is_missing_is_told() {
    let (rig, _) = kept(97, 30);
    let kept: Vec<SegmentId> =
        names(&rig, &rig.disk).iter().filter_map(|name| retained_segment(name)).collect();
    let whole = run_ready(verify_retained(&rig.disk, &rig.directory, ShardId(0))).expect("it can be read");
    assert!(whole.faults.is_empty() && whole.segments_unusable == 0, "{whole:?}");
    let name = retained_segment_name(kept[0]);
    run_ready(rig.disk.remove(&rig.path(&name))).expect("it is there");
    let check = run_ready(verify_retained(&rig.disk, &rig.directory, ShardId(0))).expect("it can be read");
    assert!(
        matches!(&check.faults[..], [RecoveryError::MissingPast { path }] if *path == rig.path(&name)),
        "{check:?}"
    );
}

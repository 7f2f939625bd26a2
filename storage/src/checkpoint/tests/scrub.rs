//! Scrubs: every changed bit is found in what is read, and nothing in what is whole, given up or used again.

use super::*;
use crate::checkpoint::files::{checkpoint_number, is_retained_name};
use crate::offline::Pace;
use crate::recovery::scrub_shard;

/// A store with sealed segments behind a checkpoint, no file of which had another life.
fn with_sealed_segments(choices: &mut Choices) -> Rig {
    let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
    for _ in 0..100 {
        rig.random_command(choices);
    }
    rig.checkpoint();
    let names = run_ready(rig.disk.list_dir(&rig.path(""))).expect("it is there");
    assert!(
        names.iter().any(|entry| entry.name == SegmentId::FIRST.file_name()),
        "none is given up: {names:?}"
    );
    while rig.store.sink().sealed_segments().len() < 4 {
        rig.random_command(choices);
        rig.settle();
    }
    rig
}

#[test]
fn every_changed_bit_is_found() {
    every_changed_bit_is_found_in(with_sealed_segments(&mut Choices::new(21)), 37);
}

#[test]
fn every_changed_bit_is_found_in_what_is_retained() {
    let mut choices = Choices::new(23);
    let mut rig = with_sealed_segments(&mut choices);
    rig.retention = Retention { ms: 1 << 40, bytes: 0 };
    for _ in 0..3 {
        rig.checkpoint();
        for _ in 0..60 {
            rig.random_command(&mut choices);
            rig.settle();
        }
    }
    let names = run_ready(rig.disk.list_dir(&rig.path(""))).expect("it is there");
    let retained = names.iter().filter(|entry| is_retained_name(&entry.name)).count();
    assert!(retained > 3, "{names:?}");
    every_changed_bit_is_found_in(rig, 113);
}

fn every_changed_bit_is_found_in(mut rig: Rig, step: usize) {
    let sealed = rig.store.sink().sealed_segments();
    let (directory, shard) = (rig.directory.clone(), ShardId(0));
    let scrub = |disk: &MemoryDisk| {
        let pace = Pace::default();
        let faults = run_ready(scrub_shard(disk, &directory, shard, &sealed, &pace));
        assert_eq!(pace.read_bytes, pace.total_bytes, "all is read");
        faults
    };
    assert_eq!(scrub(&rig.disk), []);
    let segments = sealed.iter().map(|segment| rig.path(&segment.id.file_name()));
    let names = run_ready(rig.disk.list_dir(&rig.path(""))).expect("it is there");
    let others = names
        .iter()
        .filter(|entry| is_retained_name(&entry.name) || checkpoint_number(&entry.name).is_some());
    let files: Vec<PathBuf> = segments.chain(others.map(|entry| rig.path(&entry.name))).collect();
    let (mut found, mut blank) = (0, 0);
    for path in &files {
        let bytes = rig.disk.contents(path).expect("it is there");
        let used = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty") + 1;
        for at in (0..used).step_by(step) {
            let disk = rig.disk.crash_copy(&mut crate::disk::memory::EverythingSurvives);
            disk.edit(path, |bytes| bytes[at] ^= 1 << (at % 8));
            match &scrub(&disk)[..] {
                [fault] => {
                    found += 1;
                    assert_eq!(&fault.path, path, "{fault}");
                    let name = path.file_name().and_then(|name| name.to_str());
                    assert_eq!(fault.is_retained, name.is_some_and(is_retained_name));
                    assert!(
                        fault.offset.is_none_or(|offset| offset <= at as u64),
                        "{fault}: changed at {at}"
                    );
                }
                // The rest of the block that has a header's few bytes.
                [] if bytes[at] == 0 && at < 4096 => blank += 1,
                other => panic!("{}, a bit changed at {at}: {other:?}", path.display()),
            }
        }
    }
    assert!(found > 500 && blank < found, "{found} found, {blank} in blank places");
    let disk = rig.disk.crash_copy(&mut crate::disk::memory::EverythingSurvives);
    disk.edit(&files[1], |bytes| bytes.truncate(5000));
    assert_eq!(scrub(&disk).len(), 1, "a shorter file");
    rig.store.end_command();
}

#[test]
fn what_is_given_up_and_used_again_meanwhile_is_no_damage() {
    let mut again = 0;
    for seed in 0..40 {
        let mut choices = Choices::new(1000 + seed);
        let mut rig = with_sealed_segments(&mut choices);
        let sealed = rig.store.sink().sealed_segments();
        let (disk, directory, pace) = (StepDisk(rig.disk.clone()), rig.directory.clone(), Pace::default());
        let mut scrub = Box::pin(scrub_shard(&disk, &directory, ShardId(0), &sealed, &pace));
        let faults = loop {
            if let Some(faults) = poll_once(&mut scrub) {
                break faults;
            }
            if choices.below(8) == 0 {
                rig.checkpoint();
            }
            for _ in 0..choices.below(12) {
                rig.random_command(&mut choices);
                rig.settle();
            }
        };
        assert_eq!(faults, [], "seed {seed}");
        let now = rig.store.sink().sealed_segments();
        again +=
            usize::from(now.first().map(|segment| segment.id) != sealed.first().map(|segment| segment.id));
        drop(scrub);
        rig.store.end_command();
    }
    assert!(again > 20, "segments were given up meanwhile: {again}");
}

#[test]
fn one_that_is_stopped_says_nothing_of_what_it_has_not_read() {
    let rig = with_sealed_segments(&mut Choices::new(22));
    let sealed = rig.store.sink().sealed_segments();
    let pace = Pace::default();
    pace.stopped.set(true);
    let faults = run_ready(scrub_shard(&rig.disk, &rig.directory, ShardId(0), &sealed, &pace));
    assert_eq!(faults, []);
    assert_eq!(pace.read_bytes.get(), 0);
}

//! What is kept for going back in time: after crashes, for how long, and with damage in it.

use super::*;

#[test]
fn a_crash_after_any_step_leaves_what_is_kept_for_going_back_in_time() {
    let mut choices = Choices::new(51);
    let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
    let mut files_max = 0;
    for round in 0..9 {
        // Off, on, longer, limited, off.
        rig.retention = match round {
            0 | 8 => Retention::default(),
            1..=4 => Retention { ms: 40, bytes: 0 },
            5 => Retention { ms: 400, bytes: 0 },
            _ => Retention { ms: 400, bytes: 64 << 10 },
        };
        for _ in 0..40 {
            rig.random_command(&mut choices);
        }
        rig.now_ms += 15;
        let steps_max = if round == 3 { choices.below(60) } else { u64::MAX };
        checkpoint_with_crashes(&mut rig, &mut choices, steps_max);
        let names = run_ready(rig.disk.list_dir(&rig.path(""))).expect("it is there");
        files_max = files_max.max(names.iter().filter(|entry| entry.name.contains("checkpoint")).count());
        if round == 8 {
            assert!(names.iter().all(|entry| !is_retained_name(&entry.name)), "{names:?}");
        }
        if round % 4 == 2 {
            rig = rig.check_crash(&mut choices);
        }
    }
    assert!((3..=4).contains(&files_max), "{files_max} files of checkpoints");
}

#[test]
fn what_is_kept_begins_with_a_checkpoint_that_is_old_enough() {
    let mut choices = Choices::new(77);
    let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
    rig.retention = Retention { ms: 100, bytes: 0 };
    for _ in 0..40 {
        for _ in 0..60 {
            rig.random_command(&mut choices);
            rig.settle();
        }
        rig.now_ms += 20;
        rig.checkpoint();
        rig.check_past(&rig.disk, &mut choices);
    }
    let reach = run_ready(reach_of(&rig.disk, &rig.directory, ShardId(0))).expect("it can be read");
    // The beginning is twice as old as asked for, and a little.
    let age_ms = rig.now_ms - reach.floor_ms;
    assert!((100..300).contains(&age_ms), "{age_ms} ms, {reach:?}");
    assert!(rig.known.bytes() > 0 && rig.known.reaches_ms().is_some_and(|at| rig.now_ms - at <= age_ms));
    let check = run_ready(verify_retained(&rig.disk, &rig.directory, ShardId(0))).expect("it can be read");
    assert!(check.faults.is_empty() && check.images.iter().all(Result::is_ok), "{check:?}");
    assert_eq!((check.segments, check.images.len()), (rig.known.segments(), 2));
}

#[test]
fn damage_in_what_is_kept_is_told_and_no_start_minds_it() {
    let mut choices = Choices::new(78);
    let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
    rig.retention = Retention { ms: 1000, bytes: 0 };
    for _ in 0..4 {
        for _ in 0..150 {
            rig.random_command(&mut choices);
            rig.settle();
        }
        rig.now_ms += 20;
        rig.checkpoint();
    }
    let expected = living(&contents(&mut rig.store), rig.now_ms);
    rig.store.end_command();
    let names = run_ready(rig.disk.list_dir(&rig.path(""))).expect("it is there");
    let kept: Vec<_> =
        names.into_iter().map(|entry| entry.name).filter(|name| is_retained_name(name)).collect();
    assert!(kept.iter().filter(|name| retained_segment(name).is_some()).count() > 4, "{kept:?}");
    for name in &kept {
        let path = rig.path(name);
        for removed in [false, true] {
            let disk = rig.disk.crash_copy(&mut crate::disk::memory::EverythingSurvives);
            if removed {
                run_ready(disk.remove(&path)).expect("it is there");
            } else {
                disk.edit(&path, |bytes| bytes[4096 + 100] ^= 4);
            }
            let mut again =
                Rig::open(&disk, 1, small_options(), rig.now_ms).expect("a start does not need it");
            assert_eq!(contents(&mut again.store), expected, "{name}");
            let check =
                run_ready(verify_retained(&disk, &rig.directory, ShardId(0))).expect("it can be read");
            let is_image = retained_checkpoint(name).is_some();
            let is_first = retained_segment(name) == Some(SegmentId::FIRST);
            let told = !check.faults.is_empty() || check.images.iter().any(Result::is_err);
            // What was removed from the front nobody knows of, where the log began there without an image.
            assert_eq!(told, !removed || !is_image && !is_first, "{name}: {check:?}");
            // What lies behind the damage can be gone back to.
            let reach = run_ready(reach_of(&disk, &rig.directory, ShardId(0))).expect("it can be read");
            let there: Vec<_> = rig.history.range(reach.floor..).collect();
            if there.is_empty() {
                // Nothing was done after the newest image.
                continue;
            }
            let (until, contents_then) = there[choices.below(there.len() as u64) as usize];
            let options = SalvageOptions { until: *until, past: Some(reach.begins) };
            let loaded = run_ready(load_shard(
                &disk,
                &rig.directory,
                ShardId(0),
                &Outcomes::default(),
                Some(options),
                3,
            ));
            let (mut store, salvaged) = loaded.expect("salvaging does not fail");
            assert!(salvaged.losses.is_empty(), "{name}: {:?}", salvaged.losses);
            let at_ms = rig.times[until];
            assert_eq!(living(&contents(&mut store), at_ms), living(contents_then, at_ms), "{name}");
        }
    }
}

//! Crashes at every step, every flipped bit, and everything else that a log directory may look like.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use super::{Outcomes, RecoveryError, RecoveryOptions, Replay, recover_shard};
use crate::disk::blocking::run_ready;
use crate::disk::memory::{EverythingSurvives, MemoryDisk, NothingSurvives, Operation};
use crate::log::frame::{FrameHeader, claims_place, open_frame, seal_frame};
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::{LogIdentity, SegmentId};
use crate::manifest::{DirectoryOptions, OpenError, Opened, close_logs, open_data_directory};
use crate::testing::{
    Bench, Choices, DIRECTORY, Model, OwnedEffect, new_disk, open_directory, shard_options, small_options,
};
use crate::{Durability, Effect, EffectSink, LogOptions, Lsn, ShardId};

const SECOND: u64 = 1_000_000_000;

fn random_group(choices: &mut Choices) -> Vec<OwnedEffect> {
    let effects = 1 + choices.below(3) * choices.below(2);
    let effect = |choices: &mut Choices| {
        // Now and then a value larger than a frame, or a frame's worth.
        let bytes = match choices.below(12) {
            0 => 9000,
            1 => 3900 + choices.below(300),
            _ => choices.below(120),
        };
        let fill = choices.next() as u8;
        let key = choices.below(1000).to_le_bytes();
        OwnedEffect::set(choices.below(16384) as u16, &key, &vec![fill; bytes as usize])
    };
    (0..effects).map(|_| effect(choices)).collect()
}

/// One random thing that happens to a log.
fn step(bench: &mut Bench, choices: &mut Choices) {
    match choices.below(8) {
        0..=3 => {
            let group = random_group(choices);
            bench.append(&group);
        }
        4 | 5 => bench.poll(),
        6 => {
            if !bench.in_flight.is_empty() {
                let index = choices.below(bench.in_flight.len() as u64) as usize;
                bench.complete(index);
            }
        }
        _ => bench.pass(choices.below(2) * 20_000_000),
    }
}

/// The disk as a crash now may leave it, one way of many.
fn crashed(bench: &Bench, choices: &mut Choices, kind: u64) -> MemoryDisk {
    match kind {
        0 => bench.crash(|_| false),
        1 => bench.crash(|_| true),
        2 => {
            // The first sectors of each write.
            let kept = choices.below(12) as usize;
            bench.crash(|index| index < kept)
        }
        _ => {
            let bits = choices.next();
            bench.crash(|index| bits >> (index % 48) & 1 == 1)
        }
    }
}

fn crash_everywhere(options: &LogOptions, seed: u64) {
    let mut choices = Choices::new(seed);
    let mut bench = Bench::open(&new_disk(), options.clone());
    let mut crashes = 0;
    for life in 0..4 {
        for _ in 0..60 {
            step(&mut bench, &mut choices);
            let acknowledged = bench.log.horizon();
            for kind in 0..4 {
                let disk = crashed(&bench, &mut choices, kind);
                let mut again = Bench::recover_prefix(&disk, options.clone(), &bench.groups, acknowledged);
                crashes += 1;
                // Recovery changes nothing, and what follows it is not confused by what the crash left.
                let history = again.groups.clone();
                let twice = Bench::recover_prefix(&disk, options.clone(), &history, again.log.last_lsn());
                assert_eq!(twice.groups.len(), history.len());
                let group = random_group(&mut choices);
                again.append(&group);
                again.pass(SECOND);
                again.pass(SECOND);
                let (horizon, history) = (again.log.horizon(), again.groups.clone());
                let disk = again.crash(|_| false);
                let last = Bench::recover_prefix(&disk, options.clone(), &history, horizon);
                assert_eq!(last.groups.len(), history.len(), "seed {seed}, life {life}");
            }
        }
        // The next life begins with a crash too.
        let acknowledged = bench.log.horizon();
        let kind = choices.below(4);
        let disk = crashed(&bench, &mut choices, kind);
        bench = Bench::recover_prefix(&disk, options.clone(), &bench.groups, acknowledged);
    }
    assert_eq!(crashes, 4 * 60 * 4);
}

#[test]
fn a_crash_at_any_step_loses_nothing_acknowledged_and_invents_nothing() {
    for seed in 1..=3 {
        crash_everywhere(&small_options(), seed);
    }
}

#[test]
fn a_crash_at_any_step_with_one_write_in_flight_and_large_sectors() {
    let options =
        LogOptions { in_flight_max: 1, alignment: 4096, segment_bytes: 64 << 10, ..small_options() };
    for seed in 11..=12 {
        crash_everywhere(&options, seed);
    }
}

#[test]
fn a_crash_at_any_step_of_everysec() {
    let options = LogOptions { durability: Durability::EverySec, ..small_options() };
    crash_everywhere(&options, 21);
}

#[test]
fn the_death_of_the_process_alone_loses_nothing_that_was_written() {
    let options = LogOptions { durability: Durability::None, ..small_options() };
    let mut choices = Choices::new(31);
    let mut bench = Bench::open(&new_disk(), options.clone());
    for _ in 0..200 {
        bench.append(&random_group(&mut choices));
        bench.pass(SECOND);
    }
    // The same disk, with what was written still in its cache.
    let again = Bench::recover_prefix(&bench.disk, options.clone(), &bench.groups, bench.log.last_lsn());
    assert_eq!(again.log.horizon(), bench.log.last_lsn(), "recovery makes durable what it has read");
    let disk = bench.disk.crash_copy(&mut NothingSurvives);
    Bench::recover_prefix(&disk, options, &bench.groups, bench.log.last_lsn());
}

#[test]
fn a_power_cut_without_durability_leaves_a_beginning_of_the_log_or_is_noticed() {
    struct Random(Choices);
    impl crate::disk::memory::CrashChoice for Random {
        fn sector_survives(&mut self, _index: usize) -> bool {
            self.0.below(8) > 0
        }
        fn names_survive(&mut self, _directory: &Path) -> bool {
            true
        }
    }
    let options = LogOptions { durability: Durability::None, ..small_options() };
    for seed in 1..=40 {
        let mut choices = Choices::new(seed);
        let mut bench = Bench::open(&new_disk(), options.clone());
        for _ in 0..40 {
            bench.append(&random_group(&mut choices));
            bench.pass(choices.below(2) * SECOND);
        }
        let disk = bench.disk.crash_copy(&mut Random(choices));
        Bench::recover_prefix(&disk, options.clone(), &bench.groups, Lsn::ZERO);
    }
}

/// A log of a dozen groups over two segments, all acknowledged, and idle for a while.
fn idle_log() -> Bench {
    let mut bench = Bench::open(&new_disk(), small_options());
    for index in 1..=14_u8 {
        bench.append(&[
            OwnedEffect::set(7, &[index], &[index; 2500]),
            OwnedEffect::set(8, &[index], b"second"),
        ]);
        bench.settle();
    }
    bench.pass(SECOND);
    assert_eq!(bench.log.horizon(), bench.log.last_lsn());
    bench
}

#[test]
fn every_flipped_bit_is_refused_or_hurts_nothing() {
    let bench = idle_log();
    let groups = bench.groups.len() * 2;
    let mut refused = BTreeSet::new();
    for segment in [1, 2] {
        let path = bench.segment_path(segment);
        let bytes = bench.disk.contents(&path).expect("the segment is there");
        let used = bytes.iter().rposition(|&byte| byte != 0).expect("it is in use") + 513;
        // Every byte of the headers, and of the rest some.
        let near_header = |byte: &usize| {
            byte % 3072 < 64 || byte.saturating_sub(4096) % 3072 < 80 || byte.is_multiple_of(11)
        };
        for byte in (0..used.min(bytes.len())).filter(near_header) {
            let bit = byte % 8;
            let disk = bench.disk.crash_copy(&mut EverythingSurvives);
            disk.edit(&path, |bytes| bytes[byte] ^= 1 << bit);
            match Bench::recover(&disk, 1, small_options()) {
                Ok((_, applied)) => assert_eq!(applied.len(), groups, "segment {segment}, byte {byte}"),
                Err(RecoveryError::Damaged { path: at, offset, .. }) => {
                    assert_eq!(at, path, "byte {byte}");
                    assert!(offset <= byte as u64 && byte as u64 - offset < 4096, "byte {byte}: {offset}");
                    refused.insert((segment, offset));
                }
                Err(other) => panic!("segment {segment}, byte {byte}: {other}"),
            }
        }
    }
    // Two headers, fourteen frames; the idle frame may go.
    assert_eq!(refused.len(), 16);
}

#[test]
fn the_last_effect_that_a_horizon_covers_is_covered() {
    let mut bench = Bench::open(&new_disk(), small_options());
    bench.append_set(b"k", b"v");
    bench.settle();
    bench.pass(SECOND);
    bench.pass(SECOND);
    bench.disk.edit(&bench.segment_path(1), |bytes| bytes[4096 + 70] ^= 1);
    let error = Bench::recover(&bench.disk, 1, small_options()).map(drop).expect_err("it's damage");
    assert!(
        matches!(error, RecoveryError::Damaged { missing: Lsn(1), proof_horizon: Lsn(1), .. }),
        "{error}"
    );
}

#[test]
fn a_whole_frame_that_follows_another_one_is_not_part_of_the_log() {
    let bench = idle_log();
    let (path, identity) = (bench.segment_path(2), bench.identity());
    let seed = identity.checksum_seed();
    let contents = bench.disk.contents(&path).expect("it is there");
    // The last frame is the idle one.
    let last = contents.chunks(512).rposition(|block| block.starts_with(b"ANFR")).expect("a frame") * 512;
    let place = (SegmentId(2), last as u64);
    let (header, _) = open_frame(&contents[last..last + 512], place, identity, seed).expect("it is whole");
    let change = |header: FrameHeader| {
        let disk = bench.disk.crash_copy(&mut EverythingSurvives);
        disk.edit(&path, |bytes| {
            seal_frame(&mut bytes[last..last + 512], &header, identity, seed);
        });
        let (again, applied) = Bench::recover(&disk, 1, small_options()).expect("nothing is missing");
        assert_eq!(applied.len(), 28);
        again.report
    };
    let as_it_was = change(header);
    assert_eq!((as_it_was.frames, as_it_was.torn_tails.len()), (15, 0));
    for wrong in [
        FrameHeader { previous: header.previous ^ 1, ..header },
        FrameHeader { first_lsn: header.first_lsn.next(), ..header },
        FrameHeader { incarnation: 0, ..header },
    ] {
        let report = change(wrong);
        assert_eq!((report.frames, report.torn_tails.len()), (14, 1), "{wrong:?}");
    }
}

#[test]
fn every_bit_of_a_header_counts() {
    let bench = idle_log();
    let path = bench.segment_path(1);
    for start in [0, 4096] {
        for bit in start * 8..(start + 64) * 8 {
            let disk = bench.disk.crash_copy(&mut EverythingSurvives);
            disk.edit(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            let error = Bench::recover(&disk, 1, small_options()).map(drop).expect_err("it's damage");
            assert!(matches!(error, RecoveryError::Damaged { .. }), "bit {bit}: {error}");
        }
    }
}

#[test]
fn damage_is_told_with_file_offset_and_way_out() {
    let bench = idle_log();
    let path = bench.segment_path(1);
    let disk = bench.disk.crash_copy(&mut EverythingSurvives);
    disk.edit(&path, |bytes| bytes[5000] ^= 1);
    let error = Bench::recover(&disk, 1, small_options()).map(drop).expect_err("it's damage").to_string();
    for part in ["000000000001.log", "offset 4096", "checksum", "LSN 1 ", "backup"] {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn a_lost_or_zeroed_sector_is_damage_too() {
    let bench = idle_log();
    for segment in [1, 2] {
        let path = bench.segment_path(segment);
        for sector in [0, 8, 12, 14] {
            let disk = bench.disk.crash_copy(&mut EverythingSurvives);
            disk.edit(&path, |bytes| bytes[sector * 512..][..512].fill(0));
            let result = Bench::recover(&disk, 1, small_options()).map(drop);
            assert!(matches!(result, Err(RecoveryError::Damaged { .. })), "sector {sector}: {result:?}");
        }
    }
}

#[test]
fn a_misplaced_frame_is_damage() {
    let bench = idle_log();
    let path = bench.segment_path(1);
    let disk = bench.disk.crash_copy(&mut EverythingSurvives);
    // The disk wrote the third frame over the second.
    disk.edit(&path, |bytes| bytes.copy_within(4096 + 2 * 3072..4096 + 3 * 3072, 4096 + 3072));
    let result = Bench::recover(&disk, 1, small_options()).map(drop);
    assert!(matches!(result, Err(RecoveryError::Damaged { offset: 7168, .. })), "{result:?}");
}

#[test]
fn a_shortened_segment_is_refused() {
    let bench = idle_log();
    for segment in [1, 2] {
        let path = bench.segment_path(segment);
        for bytes in [0, 1, 100, 4096, 4608, 8192, 20480, 28672, 32767] {
            let disk = bench.disk.crash_copy(&mut EverythingSurvives);
            disk.edit(&path, |contents| contents.truncate(bytes));
            let result = Bench::recover(&disk, 1, small_options()).map(drop);
            let told = matches!(result, Err(RecoveryError::Shortened { .. } | RecoveryError::Damaged { .. }));
            assert!(told, "segment {segment} with {bytes} bytes: {result:?}");
        }
    }
}

#[test]
fn missing_and_foreign_files_are_refused() {
    let bench = idle_log();
    let directory = bench.segment_path(1).parent().expect("a directory").to_path_buf();

    let disk = bench.disk.crash_copy(&mut EverythingSurvives);
    run_ready(crate::disk::Disk::remove(&disk, &bench.segment_path(1))).expect("it is there");
    let result = Bench::recover(&disk, 1, small_options()).map(drop);
    assert!(matches!(result, Err(RecoveryError::MissingSegment { .. })), "{result:?}");

    let disk = bench.disk.crash_copy(&mut EverythingSurvives);
    disk.put(&directory.join("notes.txt"), b"mine");
    let result = Bench::recover(&disk, 1, small_options()).map(drop);
    assert!(matches!(result, Err(RecoveryError::ForeignFile { .. })), "{result:?}");

    let disk = bench.disk.crash_copy(&mut EverythingSurvives);
    let swapped = disk.contents(&bench.segment_path(2)).expect("it is there");
    disk.edit(&bench.segment_path(1), |bytes| *bytes = swapped);
    let result = Bench::recover(&disk, 1, small_options()).map(drop);
    assert!(matches!(result, Err(RecoveryError::WrongSegment { .. })), "{result:?}");
}

#[test]
fn a_segment_of_another_data_directory_is_refused() {
    let bench = idle_log();
    let other = new_disk();
    let options = DirectoryOptions { shards: 1, databases: 16, identity: 99 };
    run_ready(open_data_directory(&other, Path::new(DIRECTORY), options)).expect("it opens");
    let bytes = bench.disk.contents(&bench.segment_path(1)).expect("it is there");
    other.put(&bench.segment_path(1), &bytes);
    let error = Bench::recover(&other, 1, small_options()).map(drop).expect_err("it is not ours");
    assert!(error.to_string().contains("belongs to data directory"), "{error}");
}

#[test]
fn frames_in_values_are_not_frames() {
    // A client stores a value with a frame in it that calls everything durable and stands where it says that it does; the
    // write is torn, so that nothing but this frame is left of it.
    let mut bench = idle_log();
    let last = bench.log.last_lsn();
    let used = bench.disk.contents(&bench.segment_path(2)).expect("it is there");
    let end = used.iter().rposition(|&byte| byte != 0).expect("it is in use").next_multiple_of(512);
    let header = FrameHeader {
        previous: 0,
        frame_bytes: 512,
        payload_bytes: 0,
        flags: 0,
        incarnation: 1,
        first_lsn: Lsn(1000),
        horizon: Lsn(1000),
        records: 0,
        offset: end as u64 + 512,
        segment: SegmentId(2),
    };
    let mut forged = vec![0; 512];
    // Everything is known to the client but the directory's random number.
    let guessed = LogIdentity { directory: 0, ..bench.identity() };
    seal_frame(&mut forged, &header, bench.identity(), guessed.checksum_seed());
    let before_value = 64 + 2 + 1 + 2 + 1 + 1 + 1;
    let value = [vec![0; 512 - before_value], forged].concat();
    bench.append(&[OwnedEffect::set(1, b"k", &value)]);
    bench.poll();
    let disk = bench.crash(|index| index > 0);
    let again = Bench::recover_prefix(&disk, small_options(), &bench.groups, last);
    assert_eq!(again.report.torn_tails.len(), 1);
    assert_eq!(again.report.torn_tails[0].offset, end as u64);
    let found = disk.contents(&bench.segment_path(2)).expect("it is there");
    assert!(claims_place(&found[end + 512..], (SegmentId(2), end as u64 + 512)), "the frame stands there");
}

/// Found by damaging directories at random. The newest segment and a prepared one had changed places: the log seemed to end before it.
#[test]
fn a_segment_under_another_name_is_refused() {
    let bench = idle_log();
    let newest = (1..100).take_while(|id| in_use(&bench, *id)).last().expect("the log has begun");
    let path = bench.segment_path(newest);
    let segment = bench.disk.contents(&path).expect("it is there");
    for elsewhere in [bench.segment_path(newest + 1), path.with_file_name("spare-7.log")] {
        let disk = bench.disk.crash_copy(&mut EverythingSurvives);
        disk.put(&elsewhere, &segment);
        disk.put(&path, &vec![0; segment.len()]);
        let error = Bench::recover(&disk, 1, small_options()).map(drop).expect_err("a segment is gone");
        assert!(matches!(&error, RecoveryError::WrongSegment { path, .. } if *path == elsewhere), "{error}");
    }
}

/// Found by damaging directories at random. A checkpoint stood in the place of the newest segment: the log seemed to end before it.
#[test]
fn a_segment_with_anything_else_in_it_is_refused() {
    let bench = idle_log();
    let newest = (1..100).take_while(|id| in_use(&bench, *id)).last().expect("the log has begun");
    let path = bench.segment_path(newest);
    let recover = |edit: &dyn Fn(&mut Vec<u8>)| {
        let disk = bench.disk.crash_copy(&mut EverythingSurvives);
        disk.edit(&path, |bytes| edit(bytes));
        Bench::recover(&disk, 1, small_options()).map(drop)
    };
    let other = |bytes: &mut Vec<u8>| {
        bytes.fill(0);
        bytes[..8].copy_from_slice(b"ANNULUSC");
    };
    let flipped = |bytes: &mut Vec<u8>| {
        bytes[SEGMENT_HEADER_BYTES..].fill(0);
        bytes[40] ^= 1;
    };
    for edit in [&other as &dyn Fn(&mut Vec<u8>), &flipped] {
        let error = recover(edit).expect_err("what the segment has held is gone");
        assert!(
            matches!(&error, RecoveryError::WrongSegment { path: named, .. } if *named == path),
            "{error}"
        );
    }
}

fn in_use(bench: &Bench, id: u64) -> bool {
    let contents = bench.disk.contents(&bench.segment_path(id));
    contents.is_some_and(|bytes| SegmentHeader::decode(&bytes).is_ok_and(|header| header.id == SegmentId(id)))
}

#[test]
fn a_recycled_segment_does_not_bring_its_earlier_life_back() {
    let mut choices = Choices::new(3);
    for _ in 0..10 {
        let mut bench = idle_log();
        let mut old = bench.disk.contents(&bench.segment_path(1)).expect("it is there");
        // Without its header, because the first segment is still there, and no file may say that it is another one that is.
        old[..SEGMENT_HEADER_BYTES].fill(0);
        let spare = bench.segment_path(1).with_file_name("spare-1.log");
        // The log has prepared the third segment already; the fourth one is the first one's file.
        bench.disk.put(&spare, &old);
        while bench.disk.contents(&spare).is_some() || choices.below(8) > 0 {
            bench.append(&[OwnedEffect::set(7, b"k", &vec![5; choices.below(2500) as usize])]);
            bench.settle();
        }
        let horizon = bench.log.horizon();
        bench.append(&[OwnedEffect::set(7, b"torn", &[6; 2000])]);
        bench.poll();
        let disk = bench.crash(|index| index % 3 == 0);
        let mut again = Bench::recover_prefix(&disk, small_options(), &bench.groups, horizon);
        again.append_set(b"k", b"v");
        again.settle();
        let (horizon, history) = (again.log.horizon(), again.groups.clone());
        Bench::recover_prefix(&again.disk, small_options(), &history, horizon);
    }
}

/// Found by the simulator. A frame of one sector and zeros was torn: its first sector landed over what an earlier torn write had left.
/// A life came up without it and served. When that life's first write was torn too, only its zeros landed, and they were what the
/// first frame had missed: its effect was back.
#[test]
fn a_torn_frame_does_not_become_whole_by_the_next_torn_write() {
    let options =
        LogOptions { in_flight_max: 1, alignment: 4096, segment_bytes: 64 << 10, ..small_options() };
    let mut bench = Bench::open(&new_disk(), options.clone());
    bench.append_set(b"small", b"1");
    bench.poll();
    bench.complete(0);
    bench.poll();
    let rubbish = [7; 2048];
    bench.disk.write_sectors(&bench.segment_path(1), 4096 + 512, &rubbish, |_| true);
    let torn = bench.crash(|sector| sector == 0);

    let mut bench = Bench::recover_prefix(&torn, options.clone(), &[], Lsn::ZERO);
    assert_eq!(bench.report.effects, 0, "a torn frame is none");
    bench.append_set(b"other", b"2");
    bench.poll();
    let torn = bench.crash(|sector| sector > 0);

    let (bench, applied) = Bench::recover(&torn, 1, options).expect("a crash is no damage");
    assert!(applied.is_empty(), "what was not there a life ago is back: {applied:?}");
    assert_eq!(bench.report.effects, 0);
}

#[test]
fn an_unfinished_group_is_dropped_and_does_not_swallow_what_follows() {
    let mut bench = Bench::open(&new_disk(), small_options());
    bench.append_set(b"before", b"1");
    bench.settle();
    for _ in 0..3 {
        bench.log.append(OwnedEffect::set(0, b"half", &[1; 3000]).borrow());
    }
    bench.settle();
    let disk = bench.crash(|_| true);
    let (mut again, applied) = Bench::recover(&disk, 1, small_options()).expect("it recovers");
    assert_eq!(applied.len(), 1);
    assert_eq!(again.report.dropped, 2);
    again.append_set(b"after", b"2");
    again.settle();
    let (_, applied) = Bench::recover(&again.disk, 1, small_options()).expect("it recovers");
    let applied: Vec<_> = applied.into_iter().map(|(effect, _)| effect).collect();
    assert_eq!(applied, [OwnedEffect::set(0, b"before", b"1"), OwnedEffect::set(0, b"after", b"2")]);
}

#[test]
fn larger_sectors_than_before_begin_a_new_segment() {
    let mut bench = Bench::open(&new_disk(), small_options());
    bench.append_set(b"a", b"1");
    bench.settle();
    let options = LogOptions { alignment: 4096, ..small_options() };
    let mut again = Bench::recover_prefix(&bench.disk, options, &bench.groups, Lsn(1));
    again.append_set(b"b", b"2");
    again.settle();
    let bytes = again.disk.contents(&again.segment_path(2)).expect("a second segment");
    assert_ne!(bytes[0], 0);
    Bench::recover_prefix(&again.disk, small_options(), &again.groups, Lsn(2));
}

#[test]
fn a_failure_to_read_is_told_and_not_taken_for_the_end() {
    let bench = idle_log();
    for operation in [Operation::Read, Operation::Open, Operation::ListDir] {
        for passing in 0..3 {
            let disk = bench.disk.crash_copy(&mut EverythingSurvives);
            let directory = open_directory(&disk, 1);
            disk.fail(operation, passing, 5);
            let result = Bench::recover_in(&disk, directory, small_options()).map(drop);
            match result {
                Err(RecoveryError::Io { .. }) => {}
                Ok(()) if operation != Operation::Read => {}
                other => panic!("{operation:?} {passing}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_crash_while_the_directory_is_made_or_a_segment_prepared_is_forgotten() {
    for passing in 0..30 {
        for operation in
            [Operation::Write, Operation::Sync, Operation::Rename, Operation::SyncDir, Operation::Open]
        {
            let disk = new_disk();
            disk.fail(operation, passing, 5);
            let options = DirectoryOptions { shards: 2, databases: 16, identity: 5 };
            let opened = run_ready(open_data_directory(&disk, Path::new(DIRECTORY), options));
            if let Ok((directory, _lock)) = opened
                && let Ok((mut bench, _)) = Bench::recover_in(&disk, directory, small_options())
            {
                bench.prepare();
            }
            for disk in [disk.crash_copy(&mut EverythingSurvives), disk.crash_copy(&mut NothingSurvives)] {
                let (mut bench, applied) =
                    Bench::recover(&disk, 2, small_options()).expect("nothing was there");
                assert!(applied.is_empty());
                bench.append_set(b"k", b"v");
                bench.settle();
                assert_eq!(bench.log.horizon(), Lsn(1), "{operation:?} after {passing}");
            }
        }
    }
}

/// Runs all shards of a server one after the other, and returns what they recover together.
fn serve(disk: &MemoryDisk, shards: u16, choices: &mut Choices, expected: &mut Model) {
    let directory = open_directory(disk, shards);
    let mut found = Model::default();
    let mut benches = Vec::new();
    for shard in 0..shards {
        let (bench, applied) =
            Bench::recover_in(disk, directory.clone(), shard_options(shard)).expect("it recovers");
        let mut own = Model::default();
        for (effect, groups) in &applied {
            own.apply(effect, groups);
        }
        let mine = directory.epoch().groups(crate::ShardId(shard));
        assert!(own.keys.values().all(|(slot, _)| mine.contains(&(slot >> 6))));
        found.keys.extend(own.keys);
        benches.push((bench, mine));
    }
    assert!(found == *expected, "{shards} shards recover what was there");
    for _ in 0..300 {
        let slot = choices.below(16384) as u16;
        let shard = benches.iter().position(|(_, mine)| mine.contains(&(slot >> 6))).expect("somebody's");
        let (bench, mine) = &mut benches[shard];
        let database = choices.below(3) as u16;
        let key = slot.to_le_bytes().to_vec();
        let effect = match choices.below(40) {
            0 => OwnedEffect::Flush { database },
            1 => OwnedEffect::Swap { a: database, b: 2 - database },
            2..=9 => OwnedEffect::Delete { database, slot, key },
            _ => {
                let value = choices.next().to_le_bytes().to_vec();
                OwnedEffect::Set { database, slot, key, value, expire_at_ms: None }
            }
        };
        expected.apply(&effect, mine);
        bench.append(&[effect]);
        bench.settle();
    }
}

#[test]
fn any_number_of_shards_recovers_what_any_other_wrote() {
    let disk = new_disk();
    let mut choices = Choices::new(77);
    let mut expected = Model::default();
    for shards in [1, 2, 3, 1, 5, 1] {
        serve(&disk, shards, &mut choices, &mut expected);
    }
    assert!(!expected.keys.is_empty());
}

/// Remembers what it was told of the way that is left.
#[derive(Default)]
struct Progress {
    told: Vec<(u64, u64)>,
    applied: u64,
    ended_after: Option<u64>,
}

impl Replay for Progress {
    fn apply(&mut self, _: &Effect<'_>, _: &Range<u16>) {
        self.applied += 1;
    }

    fn on_progress(&mut self, read_bytes: u64, log_bytes: u64) {
        self.told.push((read_bytes, log_bytes));
    }

    fn on_end(&mut self) {
        self.ended_after = Some(self.applied);
    }
}

#[test]
fn recovery_tells_how_far_it_is() {
    let disk = new_disk();
    let mut bench = Bench::open(&disk, small_options());
    for n in 0..200_u32 {
        bench.append_set(&n.to_le_bytes(), &[1; 1000]);
        bench.settle();
    }
    bench.prepare();
    let directory = open_directory(&disk, 1);
    let mut progress = Progress::default();
    let settings = RecoveryOptions { alignment: small_options().alignment };
    let outcomes = Outcomes::default();
    let recovery = recover_shard(&disk, &directory, ShardId(0), settings, &outcomes, &mut progress);
    let report = run_ready(recovery).expect("it recovers").report;
    assert!(report.segments > 5, "{report:?}");
    assert_eq!(progress.told.first().map(|(read_bytes, _)| *read_bytes), Some(0));
    assert!(progress.told.is_sorted());
    let (read_bytes, log_bytes) = *progress.told.last().expect("a log with frames");
    assert!(read_bytes < report.bytes && read_bytes + 4096 >= report.bytes);
    // Half a segment, and up to a frame at the end of each, which are large beside such segments.
    let unused = report.segments * small_options().frame_bytes_max as u64;
    let error = log_bytes.abs_diff(report.bytes);
    let error_max = small_options().segment_bytes / 2 + unused;
    assert!(error <= error_max, "{log_bytes} bytes expected, {}, {unused} unused", report.bytes);
    assert!(progress.told.iter().all(|told| told.1 == log_bytes));
    assert_eq!(progress.ended_after, Some(report.applied));
}

#[test]
fn a_log_lost_as_a_whole_is_noticed() {
    let bench = idle_log();
    let directory = bench.segment_path(1).parent().expect("a directory").to_path_buf();
    for path in bench.disk.paths().into_iter().filter(|path| path.starts_with(&directory)).rev() {
        run_ready(crate::disk::Disk::remove(&bench.disk, &path)).expect("it is there");
    }
    let result = Bench::recover(&bench.disk, 1, small_options()).map(drop);
    assert!(matches!(result, Err(RecoveryError::MissingDirectory { .. })), "{result:?}");
}

#[test]
fn an_older_manifest_does_not_bring_an_incarnation_back() {
    let mut bench = Bench::open(&new_disk(), small_options());
    let manifest = Path::new(DIRECTORY).join("MANIFEST");
    let old = bench.disk.contents(&manifest).expect("it is there");
    let mut incarnations = Vec::new();
    for _ in 0..3 {
        bench.append_set(b"k", b"v");
        bench.settle();
        bench.disk.edit(&manifest, |bytes| bytes.clone_from(&old));
        bench = Bench::recover_prefix(&bench.disk, small_options(), &bench.groups, bench.log.last_lsn());
        incarnations.push(bench.log.incarnation());
    }
    assert!(incarnations.is_sorted_by(|a, b| a < b), "{incarnations:?}");
}

#[test]
fn a_new_number_of_shards_is_a_new_epoch() {
    let disk = new_disk();
    assert_eq!(open_directory(&disk, 2).opened, Opened::Created);
    assert_eq!(open_directory(&disk, 2).opened, Opened::Existing);
    let directory = open_directory(&disk, 4);
    assert_eq!(directory.opened, Opened::NewEpoch { shards_before: 2 });
    assert_eq!(directory.epoch().number, 2);
    assert_eq!(directory.incarnation, 3);
    let result = run_ready(open_data_directory(
        &disk,
        Path::new(DIRECTORY),
        DirectoryOptions { shards: 300, databases: 1, identity: 0 },
    ));
    assert!(matches!(result, Err(OpenError::Shards { asked: 300 })));
}

/// Found by the simulator: within a closed log nothing later claims its last frame, so a bit flipped there looked like a torn write;
/// it was cut off, and the newer epoch's effects were applied to what was left.
#[test]
fn a_closed_log_that_has_lost_its_end_is_refused() {
    let disk = new_disk();
    let directory = open_directory(&disk, 1);
    let (mut bench, _) = Bench::recover_in(&disk, directory.clone(), shard_options(0)).expect("it recovers");
    bench.append_set(b"first", b"1");
    bench.settle();
    bench.append_set(b"last", b"2");
    bench.settle();
    let directory = open_directory(&disk, 2);
    let (bench, _) = Bench::recover_in(&disk, directory.clone(), shard_options(0)).expect("it recovers");
    assert_eq!(bench.report.closed.len(), 1);
    assert_eq!(bench.report.closed[0].last_lsn, Lsn(2));
    run_ready(close_logs(&disk, &directory, &bench.report.closed)).expect("it is recorded");

    let directory = open_directory(&disk, 2);
    let (bench, _) = Bench::recover_in(&disk, directory.clone(), shard_options(0)).expect("it is as it was");
    assert!(bench.report.closed.is_empty(), "it is recorded already");
    let old = directory.shard_directory(directory.epochs[0], crate::ShardId(0));
    disk.edit(&old.join(SegmentId(1).file_name()), |bytes| {
        let last = bytes.iter().rposition(|byte| *byte != 0).expect("something was written");
        bytes[last] ^= 1;
    });
    let refused = Bench::recover_in(&disk, directory, shard_options(0)).map(drop).expect_err("it is damaged");
    assert!(matches!(refused, RecoveryError::ClosedLogChanged { .. }), "{refused}");
}

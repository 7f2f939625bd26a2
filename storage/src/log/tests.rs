//! The writing end, step by step, on a memory disk.

use std::io;

use proptest::prelude::*;

use super::record::{Record, decode_body, take_record};
use super::{Durability, LogOptions, LogState, SegmentId, WriteRefusal};
use crate::disk::WriteSync;
use crate::disk::memory::{EverythingSurvives, Operation};
use crate::testing::{Bench, OwnedEffect, new_disk, small_options};
use crate::{EffectSink, Lsn};

const EIO: i32 = 5;
const SECOND: u64 = 1_000_000_000;

fn bench(change: impl FnOnce(&mut LogOptions)) -> Bench {
    let mut options = small_options();
    change(&mut options);
    let mut bench = Bench::open(&new_disk(), options);
    // The segment's header is out of the way.
    bench.append_set(b"first", b"");
    bench.pass(SECOND);
    bench.pass(SECOND);
    bench.groups.clear();
    bench
}

#[test]
fn a_write_is_durable_when_its_frame_is_on_the_disk_and_not_earlier() {
    let mut bench = bench(|_| {});
    let lsn = bench.append_set(b"k", b"v");
    assert!(bench.log.horizon() < lsn);
    bench.poll();
    assert_eq!(bench.in_flight.len(), 1);
    assert!(bench.is_synced());
    assert!(bench.log.horizon() < lsn, "a write in flight is not durable");
    bench.complete(0);
    assert_eq!(bench.log.horizon(), lsn);
}

#[test]
fn the_horizon_moves_in_order() {
    let mut bench = bench(|_| {});
    let start = bench.log.horizon();
    let lsns: Vec<Lsn> = (0..3)
        .map(|_| {
            let lsn = bench.append_set(b"k", b"v");
            bench.poll();
            lsn
        })
        .collect();
    assert_eq!(bench.in_flight.len(), 3);
    bench.complete(2);
    assert_eq!(bench.log.horizon(), start, "the third is nothing without the first");
    bench.complete(0);
    assert_eq!(bench.log.horizon(), lsns[0]);
    bench.complete(0);
    assert_eq!(bench.log.horizon(), lsns[2]);
}

#[test]
fn no_more_writes_are_in_flight_than_allowed_and_the_rest_shares_the_next_frame() {
    let mut bench = bench(|options| options.in_flight_max = 1);
    bench.append_set(b"a", b"1");
    bench.poll();
    for _ in 0..10 {
        bench.append_set(b"b", b"2");
        bench.poll();
    }
    assert_eq!(bench.in_flight.len(), 1);
    bench.complete(0);
    bench.poll();
    bench.complete(0);
    assert_eq!(bench.log.horizon(), bench.log.last_lsn());
}

#[test]
fn the_horizon_stands_between_groups_only() {
    let mut bench = bench(|_| {});
    let before = bench.log.horizon();
    let large = OwnedEffect::set(0, b"k", &[7; 3000]);
    for _ in 0..3 {
        bench.log.append(large.borrow());
    }
    bench.settle();
    assert_eq!(
        bench.log.horizon(),
        before,
        "full frames of an open group may leave, the group is not durable"
    );
    bench.log.end_group();
    bench.settle();
    assert_eq!(bench.log.horizon(), bench.log.last_lsn());
}

#[test]
fn everysec_writes_once_a_second_with_a_sync() {
    let mut bench = bench(|options| options.durability = Durability::EverySec);
    let lsn = bench.append_set(b"k", b"v");
    bench.poll();
    assert!(bench.in_flight.is_empty());
    let deadline = bench.log.next_deadline().expect("somebody must call again");
    assert_eq!(deadline, bench.now_ns + SECOND);
    bench.now_ns = deadline - 1;
    bench.poll();
    assert!(bench.in_flight.is_empty());
    bench.now_ns = deadline;
    bench.poll();
    assert_eq!(bench.in_flight.len(), 1);
    assert!(bench.is_synced());
    bench.complete(0);
    assert_eq!(bench.log.horizon(), lsn);
}

#[test]
fn without_durability_nothing_is_synced_and_nothing_called_durable() {
    let mut bench = bench(|options| options.durability = Durability::None);
    let before = bench.log.horizon();
    bench.append_set(b"k", b"v");
    bench.poll();
    bench.now_ns += SECOND;
    bench.poll();
    assert_eq!(bench.in_flight.len(), 1);
    assert_eq!(bench.in_flight[0].sync, WriteSync::None);
    bench.complete(0);
    assert_eq!(bench.log.horizon(), before);
    assert_eq!(bench.log.next_deadline(), None);
}

/// Found by the simulator: a sync was asked for when the log had entered its second segment, while the last write to the first was under way;
/// when that had ended no later sync reached it, and a checkpoint said that it was durable.
#[test]
fn what_was_in_flight_during_a_sync_is_reached_by_the_next() {
    let mut bench = bench(|options| options.durability = Durability::None);
    let first = bench.log.fence();
    for _ in 0..40 {
        bench.append_set(b"k", &[3; 1500]);
        bench.poll();
        // All but the oldest: one write to the first segment stays under way while the log goes on to the second.
        let of_second = bench.in_flight.iter().any(|write| write.offset == 0 && write.id.0 > 1);
        if of_second {
            break;
        }
        if bench.in_flight.len() > 1 {
            bench.complete(0);
        }
    }
    assert!(bench.in_flight.first().is_some_and(|write| write.offset > 0), "of the first segment");
    assert!(bench.log.fence() > first);
    let request = bench.log.need_sync(bench.now_ns).expect("the fence wants it");
    assert_eq!(request.segments, SegmentId(1)..=SegmentId(2));
    while !bench.in_flight.is_empty() {
        bench.complete(0);
    }
    bench.log.on_synced(Ok(()));
    let request = bench.log.need_sync(bench.now_ns).expect("something was in flight");
    assert_eq!(request.segments, SegmentId(1)..=SegmentId(2));
}

#[test]
fn an_idle_log_announces_its_horizon_once() {
    let mut bench = bench(|_| {});
    bench.append_set(b"k", b"v");
    bench.settle();
    let (writes, _) = bench.log.written();
    let deadline = bench.log.next_deadline().expect("the horizon waits to be announced");
    bench.now_ns = deadline;
    bench.settle();
    assert_eq!(bench.log.written().0, writes + 1);
    bench.pass(SECOND);
    assert_eq!(bench.log.written().0, writes + 1);
    assert_eq!(bench.log.next_deadline(), None, "an idle log doesn't wake anybody");
}

#[test]
fn a_failed_write_latches() {
    let mut bench = bench(|_| {});
    let before = bench.log.horizon();
    bench.append_set(b"a", b"1");
    bench.poll();
    bench.append_set(b"b", b"2");
    bench.poll();
    bench.disk.fail(Operation::Write, 0, EIO);
    bench.complete(0);
    bench.complete(0);
    assert_eq!(bench.log.horizon(), before, "what came after the failed write has nothing to stand on");
    assert!(matches!(bench.log.state(), LogState::Failed { .. }));
    assert_eq!(bench.log.can_accept(1), Err(WriteRefusal::Failed));
    // The keyspace may still expire keys: nothing leaves, nothing grows.
    for _ in 0..100 {
        bench.append(&[OwnedEffect::set(0, b"k", &[1; 9000])]);
    }
    bench.settle();
    assert!(bench.log.backlog_bytes() < 3 * 4096);
    assert_eq!(bench.log.next_deadline(), None);
}

#[test]
fn a_short_write_latches() {
    let mut bench = bench(|_| {});
    bench.append_set(b"a", b"1");
    bench.poll();
    bench.disk.shorten_next_write(100);
    bench.complete(0);
    assert!(matches!(bench.log.state(), LogState::Failed { .. }));
}

#[test]
fn a_full_disk_refuses_writes_before_they_are_applied_and_recovers_by_itself() {
    let mut bench = bench(|_| {});
    bench.disk.limit_space(Some(0));
    let mut acknowledged = 0;
    while bench.log.can_accept(600).is_ok() {
        bench.append_set(b"k", &[9; 500]);
        bench.settle();
        acknowledged += 1;
        assert_eq!(bench.log.horizon(), bench.log.last_lsn(), "what is accepted has room");
        assert!(acknowledged < 1000, "the disk is full");
    }
    assert_eq!(bench.log.can_accept(600), Err(WriteRefusal::NoSpace));
    assert!(matches!(bench.log.state(), LogState::NoSpace { .. }));
    bench.disk.limit_space(None);
    bench.settle();
    assert_eq!(bench.log.can_accept(600), Err(WriteRefusal::NoSpace), "the next attempt is due later");
    while let Some(deadline) = bench.log.next_deadline() {
        bench.now_ns = deadline;
        bench.settle();
    }
    assert_eq!(bench.log.state(), LogState::Running);
    assert_eq!(bench.log.can_accept(600), Ok(()));
}

#[test]
fn a_closed_log_ends_with_a_mark_that_recovery_finds() {
    let mut bench = bench(|_| {});
    bench.append_set(b"k", b"v");
    bench.log.close();
    assert_eq!(bench.log.can_accept(1), Err(WriteRefusal::Closing));
    bench.settle();
    assert!(bench.log.is_closed());
    let (again, applied) = Bench::recover(&bench.disk, 1, small_options()).expect("it recovers");
    assert_eq!(applied.len(), 2);
    assert!(again.report.clean_stop);
    assert!(again.report.torn_tails.is_empty());
}

#[test]
fn a_log_that_was_never_written_closes_at_once() {
    let mut bench = Bench::open(&new_disk(), small_options());
    bench.log.close();
    assert!(bench.log.is_closed());
}

#[test]
fn what_is_written_without_durability_is_there_after_a_clean_stop() {
    let mut bench = bench(|options| options.durability = Durability::None);
    for _ in 0..100 {
        bench.append_set(b"k", &[3; 200]);
        bench.settle();
    }
    bench.log.close();
    bench.settle();
    assert!(bench.log.is_closed());
    let disk = bench.disk.crash_copy(&mut EverythingSurvives);
    let (again, applied) = Bench::recover(&disk, 1, small_options()).expect("it recovers");
    assert_eq!(applied.len(), 101);
    assert!(again.report.clean_stop);
}

#[test]
#[should_panic(expected = "is not in flight")]
fn a_completion_that_nobody_waits_for_is_a_contradiction() {
    let mut bench = bench(|_| {});
    bench.append_set(b"k", b"v");
    bench.poll();
    let id = bench.in_flight[0].id;
    bench.log.on_written(id, Err(io::ErrorKind::Other.into()), crate::AlignedBuffer::new(1));
    let mut other = Bench::open(&new_disk(), small_options());
    other.log.on_written(id, Ok(0), crate::AlignedBuffer::new(1));
}

const MICROSECOND: u64 = 1000;

/// A log that waits up to 300 µs for blocks of 4096 bytes to fill, and a stream of records, 117 bytes with their heads, one each 4 µs.
fn filling_bench() -> Bench {
    bench(|options| {
        options.fill_wait_ns = 300 * MICROSECOND;
        options.alignment = 4096;
        options.frame_bytes_max = 16 << 10;
        options.segment_bytes = 1 << 20;
    })
}

fn stream(bench: &mut Bench, records: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    for _ in 0..records {
        bench.now_ns += 4 * MICROSECOND;
        bench.append_set(b"0123456789", &[7; 100]);
        bench.poll();
        sizes.extend(bench.in_flight.iter().map(|write| write.len));
        while !bench.in_flight.is_empty() {
            bench.complete(0);
        }
    }
    sizes
}

#[test]
fn who_writes_alone_never_waits_for_a_block_to_fill() {
    let mut bench = filling_bench();
    for _ in 0..100 {
        let lsn = bench.append_set(b"k", &[7; 100]);
        bench.poll();
        assert_eq!(bench.in_flight.len(), 1);
        bench.complete(0);
        assert_eq!(bench.log.horizon(), lsn);
        bench.now_ns += 100 * MICROSECOND;
    }
}

#[test]
fn a_stream_of_records_fills_its_blocks() {
    let mut bench = filling_bench();
    stream(&mut bench, 300);
    let written = bench.log.written().1;
    let sizes = stream(&mut bench, 1000);
    assert!(sizes.iter().all(|&size| size == 4096), "{sizes:?}");
    let each = (bench.log.written().1 - written) / 1000;
    assert!((117..130).contains(&each), "{each} bytes a record");
}

#[test]
fn a_stream_that_stops_leaves_nothing_behind() {
    let mut bench = filling_bench();
    stream(&mut bench, 301);
    assert!(bench.log.horizon() < bench.log.last_lsn(), "the last block is not full");
    let deadline = bench.log.next_deadline().expect("somebody must call again");
    assert!(deadline <= bench.now_ns + 300 * MICROSECOND);
    bench.now_ns = deadline;
    bench.settle();
    assert_eq!(bench.log.horizon(), bench.log.last_lsn());
}

#[test]
fn who_waits_in_vain_is_made_to_wait_ever_more_rarely() {
    let mut bench = filling_bench();
    let mut waits = 0;
    // Twenty clients that all wait for their own record to be durable: they never fill a block.
    for _ in 0..1000 {
        for _ in 0..20 {
            bench.now_ns += 4 * MICROSECOND;
            bench.append_set(b"0123456789", &[7; 100]);
        }
        bench.poll();
        if bench.in_flight.is_empty() {
            waits += 1;
            bench.now_ns = bench.log.next_deadline().expect("somebody must call again");
            bench.poll();
        }
        bench.settle();
        bench.now_ns += 100 * MICROSECOND;
    }
    assert!((1..=25).contains(&waits), "{waits} of 1000");
}

#[test]
fn what_goes_over_the_edge_of_a_block_begins_the_next_frame() {
    let mut bench = filling_bench();
    stream(&mut bench, 300);
    // As many at once as fill a block and a part of another, or of one that has begun.
    bench.now_ns += 4 * MICROSECOND;
    let lsns: Vec<Lsn> = (0..38).map(|_| bench.append_set(b"0123456789", &[7; 100])).collect();
    bench.poll();
    let sizes: Vec<_> = bench.in_flight.iter().map(|write| write.len).collect();
    assert_eq!(sizes, [4096]);
    bench.complete(0);
    let horizon = bench.log.horizon();
    assert!(lsns[10] < horizon && horizon < lsns[37], "{horizon} of {lsns:?}");
    bench.pass(SECOND);
    assert_eq!(bench.log.horizon(), lsns[37]);
    let (_, applied) = Bench::recover(&bench.disk, 1, small_options()).expect("it recovers");
    assert_eq!(applied.len(), 1 + 300 + 38);
}

fn any_effect() -> impl Strategy<Value = OwnedEffect> {
    let bytes = |max: usize| prop::collection::vec(any::<u8>(), 0..max);
    let value = prop_oneof![8 => bytes(200), 1 => bytes(20_000)];
    let key = prop_oneof![8 => bytes(40), 1 => bytes(9_000)];
    let place = (any::<u16>(), 0..16384_u16, key);
    prop_oneof![
        (place.clone(), value.clone(), any::<Option<u64>>()).prop_map(
            |((database, slot, key), value, expire_at_ms)| OwnedEffect::Set {
                database,
                slot,
                key,
                value,
                expire_at_ms
            }
        ),
        (place.clone(), any::<u64>(), value).prop_map(|((database, slot, key), offset, bytes)| {
            OwnedEffect::SetRange { database, slot, key, offset, bytes }
        }),
        place.clone().prop_map(|(database, slot, key)| OwnedEffect::Delete { database, slot, key }),
        (place, any::<Option<u64>>()).prop_map(|((database, slot, key), expire_at_ms)| OwnedEffect::Expire {
            database,
            slot,
            key,
            expire_at_ms
        }),
        any::<u16>().prop_map(|database| OwnedEffect::Flush { database }),
        any::<(u16, u16)>().prop_map(|(a, b)| OwnedEffect::Swap { a, b }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn effects_come_back_as_they_went(
        groups in prop::collection::vec(prop::collection::vec(any_effect(), 1..6), 1..30),
        settle_every in 1..8_usize,
        steps_us in prop::collection::vec(0..400_u64, 8),
        fill_wait_us in prop_oneof![Just(0_u64), 1..1000_u64],
    ) {
        let options = LogOptions { fill_wait_ns: fill_wait_us * 1000, ..small_options() };
        let mut bench = Bench::open(&new_disk(), options);
        for (index, group) in groups.iter().enumerate() {
            bench.append(group);
            bench.now_ns += steps_us[index % steps_us.len()] * 1000;
            if index % settle_every == 0 {
                bench.settle();
            }
        }
        bench.pass(SECOND);
        prop_assert_eq!(bench.log.horizon(), bench.log.last_lsn());
        let (_, applied) = Bench::recover(&bench.disk, 1, small_options()).expect("it recovers");
        let applied: Vec<_> = applied.into_iter().map(|(effect, _)| effect).collect();
        prop_assert!(applied == groups.concat());
    }

    #[test]
    fn no_bytes_make_the_record_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut rest = bytes.as_slice();
        while let Ok(Some(record)) = take_record(&mut rest) {
            if let Record::Whole { body, .. } = record {
                let _ = decode_body(body);
            }
        }
        let _ = decode_body(&bytes);
    }
}

//! What the log costs without a disk: appending and sealing records, and reading them back.
//!
//! Records of 16-byte keys and 64-byte values, a group each; frames as an idle disk makes them (one record a frame), as a busy
//! shard does (32), and full ones. Recovery reads the full ones from a disk in memory, decodes and counts. The best of
//! several rounds, on one core.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(clippy::print_stdout, reason = "its figures go to the terminal")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use annulus_storage::disk::Disk;
use annulus_storage::disk::blocking::run_ready;
use annulus_storage::disk::memory::{MemoryDisk, MemoryFile};
use annulus_storage::log::{LogIdentity, LogPosition, LogStart, PreparedSegment, SegmentId, prepare_segment};
use annulus_storage::{
    DatabaseId, DirectoryOptions, Effect, EffectSink, Log, LogOptions, Lsn, Outcomes, RecoveryOptions,
    ShardId, open_data_directory, recover_shard,
};

const RECORDS: u64 = 1_000_000;
const ROUNDS: usize = 5;

fn main() {
    println!("{:<44} {:>12} {:>12}", "", "records/s", "MB/s");
    for per_frame in [1, 32, u64::MAX] {
        let (best, bytes) = best_of(|| append(per_frame));
        let name = match per_frame {
            u64::MAX => "append and seal, full frames".to_owned(),
            some => format!("append and seal, {some} a frame"),
        };
        print(&name, best, bytes);
    }
    let disk = written();
    let (best, bytes) = best_of(|| recover(&disk));
    print("recover, full frames", best, bytes);
}

fn print(name: &str, best: Duration, bytes: u64) {
    let seconds = best.as_secs_f64();
    println!("{name:<44} {:>12.0} {:>12.0}", RECORDS as f64 / seconds, bytes as f64 / seconds / 1e6);
}

fn best_of(run: impl Fn() -> (Duration, u64)) -> (Duration, u64) {
    let rounds = (0..ROUNDS).map(|_| run());
    rounds.min_by_key(|(elapsed, _)| *elapsed).unwrap_or_default()
}

fn append_one(log: &mut Log<impl Clone>, index: u64) {
    let mut key = *b"key:000000000000";
    key[8..].copy_from_slice(&index.to_le_bytes());
    let value = &[b'v'; 64];
    log.append(Effect::Set { database: DatabaseId(0), slot: 1, key: &key, value, expire_at_ms: None });
    log.end_group();
}

/// Appends everything; each frame is sealed and taken for written at once.
fn append(per_frame: u64) -> (Duration, u64) {
    let identity = LogIdentity { directory: 1, epoch: 1, shard: ShardId(0) };
    let position =
        LogPosition { identity, incarnation: 1, last_lsn: Lsn::ZERO, chain: 0, next_segment: SegmentId(2) };
    let endless = PreparedSegment { id: SegmentId(1), file: (), bytes: 1 << 36 };
    let start =
        LogStart { position, prepared: vec![endless], ..LogStart::empty(PathBuf::new(), identity, 1) };
    let mut log = Log::new(LogOptions::default(), start);
    let begin = Instant::now();
    for index in 1..=RECORDS {
        append_one(&mut log, index);
        // Full frames are 256 KiB, some 2,900 of these records.
        if index.is_multiple_of(per_frame.min(2_800)) {
            while let Some(write) = log.poll_write(index) {
                log.on_written(write.id, Ok(write.len), write.buffer);
            }
        }
    }
    let elapsed = begin.elapsed();
    (elapsed, log.written().1)
}

const DIRECTORY: &str = "/data";

fn open(disk: &MemoryDisk) -> annulus_storage::DataDirectory {
    let options = DirectoryOptions { shards: 1, databases: 16, identity: 1 };
    run_ready(open_data_directory(disk, Path::new(DIRECTORY), options)).expect("a memory disk works").0
}

fn written() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let directory = open(&disk);
    let options = RecoveryOptions { alignment: LogOptions::default().alignment };
    let mut ignore = |_: &Effect<'_>, _: &Range<u16>| {};
    let recovered =
        run_ready(recover_shard(&disk, &directory, ShardId(0), options, &Outcomes::default(), &mut ignore));
    let mut log = Log::<MemoryFile>::new(LogOptions::default(), recovered.expect("it is empty").start);
    for index in 1..=RECORDS {
        append_one(&mut log, index);
        if !index.is_multiple_of(2_800) && index != RECORDS {
            continue;
        }
        loop {
            while let Some(request) = log.need_segment(0) {
                log.add_segment(run_ready(prepare_segment(&disk, request)).expect("a memory disk works"));
            }
            let Some(write) = log.poll_write(0) else { break };
            let done = disk.write_at(&write.file, write.buffer, write.offset, write.len, write.sync);
            let (result, buffer) = run_ready(done);
            log.on_written(write.id, result, buffer);
        }
    }
    disk
}

fn recover(disk: &MemoryDisk) -> (Duration, u64) {
    let directory = open(disk);
    let options = RecoveryOptions { alignment: LogOptions::default().alignment };
    let mut bytes = 0;
    let mut count = |effect: &Effect<'_>, _: &Range<u16>| {
        if let Effect::Set { key, value, .. } = effect {
            bytes += (key.len() + value.len()) as u64;
        }
    };
    let begin = Instant::now();
    let recovered =
        run_ready(recover_shard(disk, &directory, ShardId(0), options, &Outcomes::default(), &mut count));
    let elapsed = begin.elapsed();
    let report = recovered.expect("it recovers").report;
    assert_eq!((report.applied, bytes), (RECORDS, RECORDS * 80), "everything is read back");
    (elapsed, report.bytes)
}

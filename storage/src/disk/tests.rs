//! The log on a real file system, through plain system calls.

use std::ops::Range;

use super::blocking::{StdDisk, run_ready};
use super::{Disk, LockError, OpenMode, WriteSync};
use crate::log::{LogOptions, prepare_segment};
use crate::manifest::{DirectoryOptions, open_data_directory};
use crate::recovery::{Outcomes, RecoveryOptions, recover_shard};
use crate::{AlignedBuffer, DatabaseId, Effect, EffectSink, Log, ShardId};

#[test]
fn what_was_written_past_the_page_cache_is_read_back() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("file");
    run_ready(async {
        let file = StdDisk.open(&path, OpenMode::CREATE_DIRECT).await.expect("it opens");
        let alignment = StdDisk.alignment(&file).await.expect("it is known");
        assert!(alignment <= 4096 && alignment.is_power_of_two(), "{alignment}");
        StdDisk.allocate(&file, 16384).await.expect("there is room");
        assert_eq!(StdDisk.len(&file).await.expect("it has a length"), 16384);
        let mut buffer = AlignedBuffer::new(8192);
        buffer.fill(0x5A);
        let (written, buffer) = StdDisk.write_at(&file, buffer, 4096, 8192, WriteSync::DataSync).await;
        assert_eq!(written.expect("it is written"), 8192);
        let (read, buffer) = StdDisk.read_at(&file, buffer, 8192, 8192).await;
        assert_eq!(read.expect("it is read"), 8192);
        assert!(buffer[..4096].iter().all(|&byte| byte == 0x5A));
        assert!(buffer[4096..].iter().all(|&byte| byte == 0));
        let (read, _) = StdDisk.read_at(&file, buffer, 12288, 8192).await;
        assert_eq!(read.expect("it is read"), 4096, "up to the end of the file");
    });
}

#[test]
fn a_lock_is_for_one_and_names_its_holder() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("LOCK");
    run_ready(async {
        let lock = StdDisk.lock(&path).await.expect("it is free");
        let held = StdDisk.lock(&path).await.expect_err("it is held");
        assert!(matches!(held, LockError::Held { holder_pid: Some(pid) } if pid == std::process::id()));
        drop(lock);
        StdDisk.lock(&path).await.expect("it is free again");
    });
}

#[test]
fn a_log_on_a_real_disk_is_recovered() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("data");
    let options = LogOptions { segment_bytes: 1 << 20, frame_bytes_max: 64 << 10, ..LogOptions::default() };
    for start in 0..3_u32 {
        run_ready(async {
            let asked = DirectoryOptions { shards: 1, databases: 16, identity: 7 };
            let (directory, _lock) = open_data_directory(&StdDisk, &path, asked).await.expect("it opens");
            let mut found = Vec::new();
            let mut apply = |effect: &Effect<'_>, _: &Range<u16>| {
                if let Effect::Set { value, .. } = effect {
                    found.push(value.len());
                }
            };
            let outcomes = Outcomes::default();
            let settings = RecoveryOptions { alignment: options.alignment };
            let recovered = recover_shard(&StdDisk, &directory, ShardId(0), settings, &outcomes, &mut apply);
            let mut log = Log::new(options.clone(), recovered.await.expect("it recovers").start);
            let expected: Vec<usize> = (0..start).flat_map(|_| (0..40).map(|index| index * 5000)).collect();
            assert_eq!(found, expected);
            for index in 0..40 {
                let value = vec![1; index * 5000];
                let database = DatabaseId(0);
                log.append(Effect::Set { database, slot: 0, key: b"k", value: &value, expire_at_ms: None });
                log.end_group();
                write_out(&mut log).await;
            }
            assert_eq!(log.horizon(), log.last_lsn());
        });
    }
}

async fn write_out(log: &mut Log<<StdDisk as Disk>::File>) {
    loop {
        while let Some(request) = log.need_segment(0) {
            log.add_segment(prepare_segment(&StdDisk, request).await.expect("there is room"));
        }
        let Some(write) = log.poll_write(0) else { break };
        let written = StdDisk.write_at(&write.file, write.buffer, write.offset, write.len, write.sync);
        let (result, buffer) = written.await;
        log.on_written(write.id, result, buffer);
    }
}

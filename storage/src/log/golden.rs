//! Binds the byte layout: the golden file is what the log writes, and recovery reads it.

use std::fmt::Write as _;
use std::path::Path;

use super::LogOptions;
use crate::EffectSink;
use crate::disk::memory::MemoryDisk;
use crate::testing::{Bench, OwnedEffect, new_disk, open_directory, small_options};

const GOLDEN: &str = include_str!("../../testdata/log-v1.hex");

fn options() -> LogOptions {
    LogOptions { segment_bytes: 16 << 10, ..small_options() }
}

/// Every kind of effect, with groups, a value in fragments, a second segment and a clean stop.
fn history() -> Vec<Vec<OwnedEffect>> {
    let set = |key: &[u8], value: &[u8], expire_at_ms| OwnedEffect::Set {
        database: 0,
        slot: 12182,
        key: key.to_vec(),
        value: value.to_vec(),
        expire_at_ms,
    };
    let place = |database, key: &[u8]| (database, 16383, key.to_vec());
    let (database, slot, key) = place(300, b"range");
    let range = OwnedEffect::SetRange { database, slot, key, offset: 1 << 33, bytes: b"bytes".to_vec() };
    let (database, slot, key) = place(1, b"gone");
    let delete = OwnedEffect::Delete { database, slot, key };
    let (database, slot, key) = place(1, b"volatile");
    let expire =
        OwnedEffect::Expire { database, slot, key: key.clone(), expire_at_ms: Some(1_800_000_000_123) };
    let persist = OwnedEffect::Expire { database, slot, key, expire_at_ms: None };
    vec![
        vec![set(b"foo", b"bar", None)],
        vec![set(b"", b"", Some(1)), range, delete],
        vec![expire, persist],
        vec![OwnedEffect::Flush { database: 2 }],
        vec![OwnedEffect::Swap { a: 3, b: 200 }],
        vec![
            OwnedEffect::FlushLibraries,
            OwnedEffect::Library { name: b"lib".to_vec(), body: Some(b"body".to_vec()) },
            OwnedEffect::Library { name: b"old".to_vec(), body: None },
        ],
        vec![set(b"large", &[0xAB; 6000], None), set(b"foo", b"", None)],
        vec![set(b"next segment", &[0xCD; 3000], None)],
    ]
}

fn written() -> MemoryDisk {
    let mut bench = Bench::open(&new_disk(), options());
    for (group, unix_ms) in history().into_iter().zip(1_800_000_000_000..) {
        // Two groups are of a millisecond.
        bench.log.set_time(unix_ms / 2 * 2);
        bench.append(&group);
        bench.settle();
    }
    bench.log.close();
    bench.settle();
    bench.disk
}

fn segment(disk: &MemoryDisk, number: u64) -> Vec<u8> {
    let path = Path::new("/data/epoch-0001/shard-000").join(super::SegmentId(number).file_name());
    disk.contents(&path).unwrap_or_default()
}

/// Lines of 32 bytes, `segment offset: bytes`; a run of equal lines is told by its first and an asterisk, as in a hex dump.
fn dump(disk: &MemoryDisk) -> String {
    let mut text = String::new();
    for number in 1..=2 {
        let mut before: Option<&[u8]> = None;
        let mut starred = false;
        let bytes = segment(disk, number);
        for (index, line) in bytes.chunks(32).enumerate() {
            if before == Some(line) {
                if !starred {
                    text.push_str("*\n");
                }
                starred = true;
                continue;
            }
            let _ = write!(text, "{number} {:05x}:", index * 32);
            for byte in line {
                let _ = write!(text, " {byte:02x}");
            }
            text.push('\n');
            (before, starred) = (Some(line), false);
        }
        let _ = writeln!(text, "{number} {:05x} end", bytes.len());
    }
    text
}

/// The segments that a dump tells of.
fn undump(text: &str) -> Vec<Vec<u8>> {
    let mut segments = vec![Vec::new(), Vec::new()];
    let mut last = [0_u8; 32];
    for line in text.lines().filter(|line| *line != "*") {
        let (place, bytes) = line.split_once(':').unwrap_or((line, ""));
        let mut place = place.split(' ');
        let number: usize = place.next().and_then(|it| it.parse().ok()).expect("a segment");
        let offset = usize::from_str_radix(place.next().expect("an offset"), 16).expect("a number");
        let segment: &mut Vec<u8> = &mut segments[number - 1];
        while segment.len() < offset {
            segment.extend(last);
        }
        let bytes: Vec<u8> =
            bytes.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("two digits")).collect();
        if let Ok(bytes) = <[u8; 32]>::try_from(bytes) {
            last = bytes;
            segment.extend(bytes);
        }
    }
    segments
}

#[test]
fn the_log_writes_what_the_golden_file_says() {
    let found = dump(&written());
    assert!(found == GOLDEN, "the format has changed; it is now:\n{found}");
}

#[test]
fn recovery_reads_the_golden_file() {
    let disk = new_disk();
    open_directory(&disk, 1);
    for (bytes, number) in undump(GOLDEN).iter().zip(1..) {
        let path = Path::new("/data/epoch-0001/shard-000").join(super::SegmentId(number).file_name());
        disk.put(&path, bytes);
    }
    let (bench, applied) = Bench::recover(&disk, 1, options()).expect("it recovers");
    let applied: Vec<_> = applied.into_iter().map(|(effect, _)| effect).collect();
    assert!(applied == history().concat());
    assert!(bench.report.clean_stop);
}

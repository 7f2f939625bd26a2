//! Arbitrary files in a data directory: the start ends, with a server or a refusal; a server that has started serves, and what it
//! has is there after a restart. The first byte says whether checksums count: without, everything behind them is reached too.
#![no_main]

use std::path::Path;

use annulus_fuzz::files;
use annulus_storage::disk::Disk;
use annulus_storage::disk::blocking::run_ready;
use annulus_storage::disk::memory::MemoryDisk;
use annulus_storage::planted::{Planted, plant};
use annulus_tests::sim::host::Host;
use libfuzzer_sys::fuzz_target;

/// Bytes of a segment.
const SEGMENT_BYTES: usize = 32 << 10;

fuzz_target!(|data: &[u8]| {
    let Some((&shape, input)) = data.split_first() else { return };
    let checks = shape & 1 == 0;
    plant(Planted { skip_checksum: !checks, ..Planted::default() });
    let disk = MemoryDisk::new();
    for (path, bytes) in files(input) {
        let mut whole = bytes.to_vec();
        if path.extension().is_some() {
            whole.resize(whole.len().max(SEGMENT_BYTES), 0);
        }
        let directories: Vec<&Path> = path.ancestors().skip(1).collect();
        for directory in directories.into_iter().rev().skip(1) {
            run_ready(disk.create_dir(directory)).expect("the one around it is there");
        }
        disk.put(&path, &whole);
    }
    let Ok(mut host) = Host::start_on(disk, 1 + u16::from(shape >> 1 & 1)) else { return };
    let before = host.keys();
    if checks {
        host = host.restart();
        assert_eq!(before, host.keys(), "before the restart, and after it");
    }
});

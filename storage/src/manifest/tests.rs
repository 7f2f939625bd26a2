//! Opening directories of all kinds.

use std::path::Path;

use super::{
    ClosedLog, DirectoryOptions, Epoch, Manifest, OpenError, Opened, PastEpoch, open_data_directory,
};
use crate::disk::Disk;
use crate::disk::blocking::{StdDisk, run_ready};
use crate::disk::memory::{EverythingSurvives, MemoryDisk};
use crate::{Lsn, ShardId};

const OPTIONS: DirectoryOptions = DirectoryOptions { shards: 2, databases: 16, identity: 0xfeed };

fn path() -> &'static Path {
    Path::new("/data")
}

fn open<D: Disk>(disk: &D, path: &Path) -> Result<(super::DataDirectory, D::Lock), OpenError> {
    run_ready(open_data_directory(disk, path, OPTIONS))
}

fn error(disk: &MemoryDisk) -> OpenError {
    open(disk, path()).map(drop).expect_err("it must not open")
}

#[test]
fn a_second_server_is_refused_while_the_first_one_runs() {
    let disk = MemoryDisk::new();
    let (_, lock) = open(&disk, path()).expect("it opens");
    assert!(matches!(error(&disk), OpenError::Locked { holder_pid: Some(_), .. }));
    drop(lock);
    let (directory, _lock) = open(&disk, path()).expect("it opens again");
    assert_eq!((directory.opened, directory.incarnation), (Opened::Existing, 2));
    assert_eq!(directory.identity, 0xfeed);
}

#[test]
fn a_directory_with_other_things_in_it_is_left_alone() {
    let disk = MemoryDisk::new();
    run_ready(disk.create_dir(path())).expect("it is made");
    disk.put(Path::new("/data/dump.rdb"), b"REDIS");
    let before = disk.paths();
    let error = error(&disk);
    assert!(matches!(&error, OpenError::Foreign { entry, .. } if entry == "dump.rdb"));
    assert!(error.to_string().contains("dump.rdb"));
    assert_eq!(disk.paths(), before, "not even a lock file was made");
}

#[test]
fn logs_without_a_manifest_are_not_begun_anew() {
    let disk = MemoryDisk::new();
    open(&disk, path()).expect("it opens");
    disk.put(Path::new("/data/epoch-0001/shard-001/000000000001.log"), &[0; 4096]);
    run_ready(disk.remove(Path::new("/data/MANIFEST"))).expect("it is there");
    assert!(matches!(error(&disk), OpenError::ManifestMissing { .. }));
}

#[test]
fn every_changed_byte_of_a_manifest_is_noticed() {
    let disk = MemoryDisk::new();
    open(&disk, path()).expect("it opens");
    let manifest = Path::new("/data/MANIFEST");
    let bytes = disk.contents(manifest).expect("it is there");
    for at in 0..bytes.len() {
        let copy = disk.crash_copy(&mut EverythingSurvives);
        copy.edit(manifest, |bytes| bytes[at] ^= 1);
        assert!(matches!(error(&copy), OpenError::ManifestDamaged { .. }), "byte {at}");
        copy.edit(manifest, |bytes| bytes.truncate(at));
        assert!(matches!(error(&copy), OpenError::ManifestDamaged { .. }), "{at} bytes");
    }
}

#[test]
fn a_newer_format_is_told_apart_from_damage() {
    let disk = MemoryDisk::new();
    open(&disk, path()).expect("it opens");
    disk.edit(Path::new("/data/MANIFEST"), |bytes| {
        let covered = "annulus data directory\nformat 2\nsomething new\n";
        *bytes = format!("{covered}checksum {:08x}\n", crc32fast::hash(covered.as_bytes())).into_bytes();
    });
    assert!(matches!(error(&disk), OpenError::NewerFormat { found: 2, .. }));
}

#[test]
fn databases_never_become_fewer() {
    let disk = MemoryDisk::new();
    open(&disk, path()).expect("it opens");
    let fewer = DirectoryOptions { databases: 4, ..OPTIONS };
    let (directory, _lock) = run_ready(open_data_directory(&disk, path(), fewer)).expect("it opens");
    assert_eq!(directory.databases, 16);
}

#[test]
fn shards_divide_the_groups_without_gap_or_overlap() {
    for shards in 1..=256 {
        let epoch = Epoch { number: 1, shards };
        let mut next = 0;
        for shard in 0..shards {
            let groups = epoch.groups(ShardId(shard));
            assert_eq!(groups.start, next);
            assert!(!groups.is_empty());
            next = groups.end;
        }
        assert_eq!(next, 256);
    }
}

#[test]
fn a_manifest_is_read_back() {
    let epochs = vec![Epoch { number: 1, shards: 1 }, Epoch { number: 2, shards: 256 }];
    let log = ClosedLog {
        epoch: 1,
        shard: ShardId(0),
        last_lsn: Lsn(u64::MAX),
        chain: 0x0bad_cafe,
        dropped: vec![Lsn(3), Lsn(80)],
    };
    let mut manifest = Manifest {
        identity: u64::MAX,
        databases: 1,
        starts: u32::MAX,
        past: Vec::new(),
        epochs,
        closed: vec![log],
    };
    assert_eq!(Manifest::decode(&manifest.encode()).ok().as_ref(), Some(&manifest));
    manifest.past.push(PastEpoch { epoch: manifest.epochs.remove(0), until_ms: 1_795_298_405_000 });
    assert_eq!(Manifest::decode(&manifest.encode()).ok().as_ref(), Some(&manifest));
    // Epochs without the one between.
    manifest.epochs[0].number = 3;
    assert!(Manifest::decode(&manifest.encode()).is_err());
}

#[test]
fn a_real_directory_is_made_locked_and_opened_again() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("annulus-data");
    let (directory, lock) = open(&StdDisk, &path).expect("it opens");
    assert_eq!(directory.opened, Opened::Created);
    let held = open(&StdDisk, &path).map(drop).expect_err("it is held");
    assert!(held.to_string().contains(&format!("process {}", std::process::id())), "{held}");
    drop(lock);
    let (directory, _lock) = open(&StdDisk, &path).expect("it opens again");
    assert_eq!(directory.opened, Opened::Existing);
    let shard = directory.shard_directory(directory.epoch(), ShardId(1));
    assert_eq!(run_ready(StdDisk.list_dir(&shard)).expect("it is there"), []);
}

#[test]
fn a_missing_parent_is_told_by_name() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let error = open(&StdDisk, &scratch.path().join("a/b")).map(drop).expect_err("there is no a");
    assert!(error.to_string().starts_with("cannot create"), "{error}");
}

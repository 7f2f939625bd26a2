//! Copies of damaged directories, copies over damaged copies, and what was exported.

use std::io;
use std::path::{Path, PathBuf};

use annulus_storage::disk::blocking::run_ready;
use annulus_storage::disk::memory::MemoryDisk;
use annulus_storage::manifest::{inspect_data_directory, read_data_directory};
use annulus_storage::offline::{
    Copied, CopyHelper, CopyPlaces, RDB_VERSIONS, ShardMoment, backup_directory, copy_closed_epochs,
    copy_manifest, copy_shard, directory_in, examine_rdb, load_shard, load_shard_from_rdb, outcomes_of,
    write_keys_to_rdb,
};
use annulus_storage::rdb::file::FileWriter;
use annulus_storage::{ShardId, StoreOptions};
use annulus_tests::damage::{Damage, Files, Kind, inflict, inflict_on};
use annulus_tests::random::Random;
use annulus_tests::sim::server::DIRECTORY;

use super::original::Original;
use super::{Outcome, examine, judge_refusal};

const BACKUP: &str = "/backup";
const COPY: &str = "/copy";
const DATABASES: u16 = 16;

/// A second backup into a damaged one has what a first one has.
pub(super) fn back_up_again(
    original: &Original,
    random: &mut Random,
) -> (Vec<Damage>, Result<Outcome, String>) {
    let mut disk = original.disk();
    back_up(&disk).expect("nothing is damaged");
    let files = |disk: &MemoryDisk| -> Vec<(PathBuf, Vec<u8>)> {
        let (files, _) = disk.list(Path::new(BACKUP));
        files.into_iter().map(|path| (path.clone(), disk.read(&path))).collect()
    };
    let before = files(&disk);
    let damage = inflict(&mut disk, Path::new(BACKUP), &Kind::ALL, random);
    let again = back_up(&disk);
    let outcome = match again {
        Err(text) => Err(format!("the second backup: {text}")),
        Ok(()) if files(&disk) == before => Ok(Outcome::Harmless),
        Ok(()) => Err("the second backup has other files than the first".to_owned()),
    };
    (damage, outcome)
}

fn back_up(disk: &MemoryDisk) -> Result<(), String> {
    let (directory, _lock) =
        run_ready(inspect_data_directory(disk, Path::new(DIRECTORY))).map_err(|error| error.to_string())?;
    disk.put_directory(Path::new(BACKUP));
    let copied = run_ready(backup_directory(disk, &directory, Path::new(BACKUP)));
    copied.map(drop).map_err(|(path, error)| format!("{}: {error}", path.display()))
}

/// As `annulus backup --from` does: of damaged files, or with a damaged backup before it.
pub(super) fn copy_online(
    original: &Original,
    random: &mut Random,
) -> (Vec<Damage>, Result<Outcome, String>) {
    if !original.is_sealed {
        // Without a server nobody says where whole transactions end.
        return (Vec::new(), Ok(Outcome::Passed));
    }
    let mut disk = original.disk();
    let moments = moments(&disk);
    let with_older = random.one_in(2);
    if with_older {
        back_up(&disk).expect("nothing is damaged");
    }
    let only_older = with_older && random.one_in(2);
    let place = Path::new(if only_older { BACKUP } else { DIRECTORY });
    let damage = inflict(&mut disk, place, &Kind::ALL, random);
    let outcome = match copy(&disk, &moments, with_older) {
        Err(text) if only_older => Err(format!("a damaged backup before it: {text}")),
        Err(text) => judge_refusal(&text).map(|()| Outcome::Refused),
        Ok(()) => judge_copy(original, &disk).map(|()| Outcome::Harmless),
    };
    (damage, outcome)
}

/// Each shard's newest checkpoint and the end of its log.
pub(super) fn moments(disk: &MemoryDisk) -> Vec<ShardMoment> {
    let checked = examine(disk).expect("nothing is damaged");
    let outcomes = run_ready(outcomes_of(disk, &checked.directory)).expect("nothing is damaged");
    let moment = |shard: ShardId| {
        let loaded = run_ready(load_shard(disk, &checked.directory, shard, &outcomes, None, 1));
        let (_, salvaged) = loaded.expect("nothing is damaged");
        let checkpoint = salvaged.report.image.map_or(0, |image| image.number);
        ShardMoment { shard, checkpoint, until: salvaged.last_lsn }
    };
    (0..checked.directory.epoch().shards).map(|shard| moment(ShardId(shard))).collect()
}

struct Links<'a>(&'a MemoryDisk);

impl CopyHelper for Links<'_> {
    fn pace(&mut self, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let bytes = self.0.contents(from).ok_or(io::ErrorKind::NotFound)?;
        self.0.put(to, &bytes);
        Ok(())
    }
}

fn copy(disk: &MemoryDisk, moments: &[ShardMoment], with_older: bool) -> Result<(), String> {
    let target = Path::new(COPY);
    let directory = run_ready(read_data_directory(disk, Path::new(DIRECTORY)));
    let directory = directory.map_err(|error| error.to_string())?;
    disk.put_directory(target);
    let mut copied = Copied::default();
    let failed = |(path, error): (PathBuf, io::Error)| match error.kind() {
        io::ErrorKind::NotFound => format!("{} is missing", path.display()),
        _ => format!("{}: {error}", path.display()),
    };
    let before = with_older.then_some(Path::new(BACKUP));
    let mut links = Links(disk);
    let closed = copy_closed_epochs(disk, &directory, target, before, &mut links, &mut copied);
    run_ready(closed).map_err(failed)?;
    let epoch = directory.epoch();
    for moment in moments {
        let made = directory_in(disk, &directory, epoch, moment.shard, target);
        let own = run_ready(made).map_err(failed)?;
        let older = annulus_storage::DataDirectory { path: BACKUP.into(), ..directory.clone() };
        let older = older.shard_directory(epoch, moment.shard);
        let places = CopyPlaces { target: &own, older: with_older.then_some(&*older) };
        let done = run_ready(copy_shard(disk, &directory, *moment, places, &mut Links(disk)));
        done.map_err(|error| match error {
            annulus_storage::offline::CopyError::Io { path, error } => failed((path, error)),
            other => other.to_string(),
        })?;
    }
    run_ready(copy_manifest(disk, &directory, target, &mut copied)).map_err(failed)
}

/// A copy starts, checks, and has everything. Older epochs are copied as they are, so their damage shows there.
fn judge_copy(original: &Original, disk: &MemoryDisk) -> Result<(), String> {
    let copy = MemoryDisk::new();
    let (files, directories) = disk.list(Path::new(COPY));
    let moved = |path: &Path| Path::new(DIRECTORY).join(path.strip_prefix(COPY).expect("it is there"));
    copy.put_directory(Path::new(DIRECTORY));
    for directory in directories {
        copy.put_directory(&moved(&directory));
    }
    for file in files {
        copy.put(&moved(&file), &disk.read(&file));
    }
    let checked = match examine(&copy) {
        Err(text) if text.contains("epoch-") => return judge_older(disk, &text),
        checked => checked?,
    };
    let is_clean = checked.shards.iter().all(|shard| {
        shard.start.as_ref().is_ok_and(|report| report.clean_stop && report.torn_tails.is_empty())
    });
    if !is_clean || !checked.is_whole() {
        return Err("the copy does not check as one that was stopped cleanly".to_owned());
    }
    let mut host = original.host(&copy, original.shards)?;
    original.judge_contents(&mut host)
}

/// The check of a copy is refused: for what lies in an epoch before the newest, which the tool sees, and refuses the copy.
fn judge_older(disk: &MemoryDisk, text: &str) -> Result<(), String> {
    let directory = run_ready(read_data_directory(disk, Path::new(DIRECTORY)));
    let directory = directory.map_err(|error| error.to_string())?;
    let newest = format!("epoch-{:04}", directory.epoch().number);
    if text.contains(&newest) { Err(format!("the copy: {text}")) } else { Ok(()) }
}

/// What was exported, damaged.
pub(super) fn import_rdb(original: &Original, random: &mut Random) -> (Vec<Damage>, Result<Outcome, String>) {
    let disk = original.disk();
    let exported = export(&disk);
    let mut files = MemoryDisk::new();
    let (place, path) = (Path::new("/rdb"), Path::new("/rdb/dump.rdb"));
    files.put_directory(place);
    files.put(path, &exported);
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| {
            !matches!(kind, Kind::Removed | Kind::RemovedDirectory | Kind::Exchanged | Kind::Replaced)
        })
        .collect();
    let damage = inflict_on(&mut files, place, &kinds, &|_| true, random);
    let damaged = files.read(path);
    let outcome = match import(&damaged) {
        // With the offset, by its type.
        Err(_) => Ok(Outcome::Refused),
        Ok(found) if Ok(&found) == import(&exported).as_ref() => Ok(Outcome::Harmless),
        Ok(_) => Err("it is taken for another file".to_owned()),
    };
    (damage, outcome)
}

fn export(disk: &MemoryDisk) -> Vec<u8> {
    let checked = examine(disk).expect("nothing is damaged");
    let outcomes = run_ready(outcomes_of(disk, &checked.directory)).expect("nothing is damaged");
    let mut writer = FileWriter::new(Vec::new(), RDB_VERSIONS[1], &[]);
    for shard in (0..checked.directory.epoch().shards).map(ShardId) {
        let loaded = run_ready(load_shard(disk, &checked.directory, shard, &outcomes, None, 1));
        let (mut store, _) = loaded.expect("nothing is damaged");
        let keys = write_keys_to_rdb(&mut store, DATABASES, &mut writer).expect("it has room");
        assert!(keys.is_some(), "everything fits the version");
    }
    writer.finish().expect("it has room").0
}

/// What a file says, as a file again.
fn import(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let examined = examine_rdb(bytes).map_err(|error| error.to_string())?;
    let options = StoreOptions { databases: DATABASES.max(examined.databases), hash_seed: 1 };
    let loaded = load_shard_from_rdb(bytes, options, 0..256, |_| 0);
    let mut store = loaded.map_err(|error| error.to_string())?;
    let mut writer = FileWriter::new(Vec::new(), RDB_VERSIONS[1], &[]);
    let keys = write_keys_to_rdb(&mut store, options.databases, &mut writer).expect("it has room");
    assert!(keys.is_some(), "everything fits the version");
    Ok(writer.finish().expect("it has room").0)
}

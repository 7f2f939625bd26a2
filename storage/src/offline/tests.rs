//! Damage of every kind, and what is made of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{
    Copied, CopyError, CopyHelper, CopyPlaces, CutError, Moment, NoLog, ShardMoment, backup_directory,
    check_shard, consistent_cut, copy_manifest, copy_shard, directory_in, load_shard, outcomes_of,
    write_shard,
};
use crate::checkpoint::files::{checkpoint_name, recycle_segments};
use crate::checkpoint::{WalkOptions, publish_checkpoint, write_checkpoint_at_once};
use crate::disk::Disk;
use crate::disk::blocking::run_ready;
use crate::disk::memory::{EverythingSurvives, MemoryDisk, MemoryFile};
use crate::log::prepare_segment;
use crate::manifest::{DirectoryOptions, inspect_data_directory, open_data_directory};
use crate::recovery::{RecoveryOptions, SalvageOptions, recover_shard};
use crate::testing::{new_disk, open_directory, small_options};
use crate::{
    Cursor, DataDirectory, DatabaseId, Effect, Expiry, Key, Log, LogOptions, LogWrite, Lsn, Outcomes,
    ShardId, Store, StoreOptions,
};

const DB: DatabaseId = DatabaseId(0);
const SHARD: ShardId = ShardId(0);
const SECOND: u64 = 1_000_000_000;

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// A shard at work.
struct Rig {
    disk: MemoryDisk,
    directory: DataDirectory,
    store: Store<Log<MemoryFile>>,
    now_ns: u64,
}

fn key(number: usize) -> (Vec<u8>, u16) {
    (format!("key-{number}").into_bytes(), (number * 109 % 16384) as u16)
}

impl Rig {
    fn new() -> Self {
        let disk = new_disk();
        let directory = open_directory(&disk, 1);
        let mut store = Store::new(StoreOptions { databases: 16, hash_seed: 5 }, NoLog);
        let options = LogOptions { segment_bytes: 64 << 10, ..small_options() };
        let mut apply = |effect: &Effect<'_>, groups: &std::ops::Range<u16>| store.apply(effect, groups);
        let settings = RecoveryOptions { alignment: options.alignment };
        let recovered =
            run_ready(recover_shard(&disk, &directory, SHARD, settings, &Outcomes::default(), &mut apply));
        let recovered = recovered.expect("it is new");
        let mut rig =
            Self { store: store.with_sink(Log::new(options, recovered.start)), disk, directory, now_ns: 1 };
        rig.store.set_now(1000);
        rig
    }

    fn command(&mut self, change: impl FnOnce(&mut Store<Log<MemoryFile>>)) {
        self.store.begin_command();
        change(&mut self.store);
        self.store.end_command();
        self.settle();
    }

    fn set(&mut self, number: usize, value: &[u8]) {
        let (bytes, slot) = key(number);
        self.command(|store| store.set(DB, Key { bytes: &bytes, slot }, value, Expiry::None));
    }

    fn append(&mut self, number: usize, value: &[u8]) {
        let (bytes, slot) = key(number);
        self.command(|store| {
            let key = Key { bytes: &bytes, slot };
            let len = store.get(DB, key).and_then(|entry| entry.string()).map_or(0, <[u8]>::len);
            store.set_range(DB, key, len, value);
        });
    }

    fn settle(&mut self) {
        loop {
            self.now_ns += SECOND;
            while let Some(request) = self.store.sink_mut().need_segment(self.now_ns) {
                let segment = run_ready(prepare_segment(&self.disk, request)).expect("there is room");
                self.store.sink_mut().add_segment(segment);
            }
            let Some(write) = self.store.sink_mut().poll_write(self.now_ns) else { return };
            let LogWrite { id, file, offset, buffer, len, sync } = write;
            let (result, buffer) = run_ready(self.disk.write_at(&file, buffer, offset, len, sync));
            self.store.sink_mut().on_written(id, result, buffer);
        }
    }

    fn checkpoint(&mut self, number: u64) {
        let written =
            run_ready(write_checkpoint_at_once(&self.disk, &mut self.store, number, WalkOptions::default()));
        let (request, ..) = written.expect("it is written");
        run_ready(publish_checkpoint(&self.disk, &request)).expect("it gets its name");
        let released = self.store.sink_mut().release_segments(request.header.from);
        run_ready(recycle_segments(&self.disk, &request.directory, &released)).expect("they are renamed");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.shard_directory(self.directory.epoch(), SHARD).join(name)
    }

    fn contents(&mut self) -> Contents {
        let found = contents(&mut self.store);
        self.store.end_command();
        found
    }

    fn copy(&self) -> MemoryDisk {
        self.disk.crash_copy(&mut EverythingSurvives)
    }
}

fn contents(store: &mut Store<impl crate::EffectSink>) -> Contents {
    let mut found = Contents::new();
    let mut cursor = Cursor(0);
    while cursor.group() < 256 {
        cursor = store.scan(DB, 0..256, cursor, 1000, &mut |entry| {
            found.insert(entry.key().to_vec(), entry.string().unwrap_or_default().to_vec());
        });
    }
    found
}

fn salvaged(disk: &MemoryDisk, directory: &DataDirectory) -> (Contents, crate::recovery::Salvaged) {
    let options = SalvageOptions { until: Lsn(u64::MAX), past: None };
    let loaded = run_ready(load_shard(disk, directory, SHARD, &Outcomes::default(), Some(options), 9));
    let (mut store, salvaged) = loaded.expect("salvaging does not fail");
    (contents(&mut store), salvaged)
}

/// All bytes of all files.
fn bytes_of(disk: &MemoryDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    disk.paths().into_iter().map(|path| (path.clone(), disk.contents(&path).unwrap_or_default())).collect()
}

#[test]
fn whatever_is_damaged_in_a_checkpoint_no_key_gets_a_value_that_it_never_had() {
    let mut rig = Rig::new();
    let mut values: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for number in 0..700 {
        // Some are larger than a slice, and written in pieces.
        let len = if number % 97 == 0 { 90_000 } else { 300 };
        let value = vec![number as u8; len];
        rig.set(number, &value);
        values.entry(key(number).0).or_default().push(value);
    }
    rig.checkpoint(1);
    for number in (0..700).step_by(3) {
        if number % 2 == 0 {
            rig.append(number, b"-more");
        } else {
            rig.set(number, b"another");
        }
        let now = rig.contents().remove(&key(number).0).expect("it is there");
        values.entry(key(number).0).or_default().push(now);
    }
    let all = rig.contents();
    let newest = rig.path(&checkpoint_name(1));
    let used = rig.disk.contents(&newest).expect("it is there").len();
    let mut whole_again = 0;
    for at in (4096..used).step_by(8_191) {
        let disk = rig.copy();
        disk.edit(&newest, |bytes| bytes[at] ^= 16);
        let before = bytes_of(&disk);
        let check = run_ready(check_shard(&disk, &rig.directory, SHARD, &Ok(Outcomes::default())));
        assert!(check.start.is_err() || check.checkpoints.iter().any(Result::is_err) || all.is_empty());
        let (found, salvaged) = salvaged(&disk, &rig.directory);
        assert_eq!(bytes_of(&disk), before, "looking changes nothing");
        for (name, value) in &found {
            let known = values.get(name).is_some_and(|values| values.last() == Some(value));
            assert!(known, "{}: {} bytes, damage at {at}", name.escape_ascii(), value.len());
        }
        // One block is gone, and what hangs on it: not more than two slices' worth of small keys and some large ones.
        assert!(found.len() + 450 > all.len(), "{} of {} left, damage at {at}", found.len(), all.len());
        whole_again += usize::from(found.len() == all.len());
        assert!(!salvaged.losses.is_empty());
        // What was set whole since is there, wherever the damage is.
        for number in (0..700).step_by(3).filter(|number| number % 2 == 1) {
            assert_eq!(found.get(&key(number).0).map(Vec::as_slice), Some(&b"another"[..]));
        }
    }
    // Those that hit a large value which was set anew since.
    assert!(whole_again < 20, "{whole_again}");
}

#[test]
fn a_damaged_log_is_taken_up_to_the_damage() {
    let mut rig = Rig::new();
    // The first record says what time it is.
    let mut history = vec![Contents::new(), Contents::new()];
    for number in 0..200 {
        rig.set(number % 50, format!("value {number}").as_bytes());
        history.push(rig.contents());
    }
    let segment = rig.path("000000000001.log");
    for at in (4096 + 40..60_000).step_by(1511) {
        let disk = rig.copy();
        disk.edit(&segment, |bytes| bytes[at] ^= 1);
        let (found, salvaged) = salvaged(&disk, &rig.directory);
        assert_eq!(Some(&found), history.get(salvaged.last_lsn.0 as usize), "damage at {at}");
    }
    // Up to any effect, of a whole log.
    for until in [0, 1, 77, 200] {
        let options = SalvageOptions { until: Lsn(until), past: None };
        let loaded =
            run_ready(load_shard(&rig.disk, &rig.directory, SHARD, &Outcomes::default(), Some(options), 9));
        let (mut store, salvaged) = loaded.expect("it is whole");
        assert_eq!(contents(&mut store), history[until as usize]);
        assert!(salvaged.losses.is_empty(), "{:?}", salvaged.losses);
    }
}

#[test]
fn a_cut_at_a_time_takes_what_was_done_by_then() {
    let mut rig = Rig::new();
    let mut history = vec![(999, Contents::new())];
    for number in 0..60_usize {
        let time_ms = 1000 + (number as u64 / 3) * 7;
        rig.store.set_now(time_ms);
        rig.set(number % 10, format!("value {number}").as_bytes());
        history.push((time_ms, rig.contents()));
    }
    for time_ms in 990..1200 {
        let cut = run_ready(consistent_cut(&rig.disk, &rig.directory, Moment::Time(time_ms)));
        let found = cut.expect("the log is whole");
        let cut = found.cuts[0];
        assert_eq!((cut.shard, cut.asked), (SHARD, cut.until));
        let options = SalvageOptions { until: cut.until, past: Some(found.reaches[0].begins) };
        let loaded =
            run_ready(load_shard(&rig.disk, &rig.directory, SHARD, &Outcomes::default(), Some(options), 9));
        let then = history.iter().rfind(|(at, _)| *at <= time_ms).map(|(_, contents)| contents.clone());
        let found = contents(&mut loaded.expect("it is whole").0);
        assert_eq!(found, then.unwrap_or_default(), "at {time_ms}");
    }
    // What a checkpoint has replaced is not to be had in parts: a log that begins later says from when on it is.
    rig.store.set_now(2000);
    for number in 0..200 {
        rig.set(number, &[1; 2000]);
    }
    rig.checkpoint(1);
    rig.store.set_now(3000);
    rig.set(1, b"later");
    let error = run_ready(consistent_cut(&rig.disk, &rig.directory, Moment::Time(1500)));
    assert!(matches!(error, Err(CutError::TooEarly { earliest_ms: 2000..=3000, .. })), "{error:?}");
}

#[test]
fn a_lost_checkpoint_leaves_what_was_written_whole_since() {
    let mut rig = Rig::new();
    for number in 0..400 {
        rig.set(number, &[7; 900]);
    }
    rig.checkpoint(1);
    for number in 0..20 {
        rig.set(number, b"new");
        rig.append(number, b" and longer");
        rig.append(number + 100, b"only the end");
    }
    let disk = rig.copy();
    run_ready(disk.remove(&rig.path(&checkpoint_name(1)))).expect("it is there");
    let (found, salvaged) = salvaged(&disk, &rig.directory);
    assert!(salvaged.keys_unknown >= 20, "{salvaged:?}");
    for number in 0..20 {
        assert_eq!(found.get(&key(number).0).map(Vec::as_slice), Some(&b"new and longer"[..]));
    }
    for number in 100..120 {
        assert_eq!(found.get(&key(number).0), None);
    }
}

#[test]
fn what_is_written_as_a_new_directory_recovers_to_the_same() {
    let mut rig = Rig::new();
    for number in 0..300 {
        rig.set(number, &vec![number as u8; 40 + number * 100]);
    }
    rig.checkpoint(1);
    rig.append(5, b"more");
    let all = rig.contents();
    let outcomes = run_ready(outcomes_of(&rig.disk, &rig.directory)).expect("it is whole");
    let loaded = run_ready(load_shard(&rig.disk, &rig.directory, SHARD, &outcomes, None, 3));
    let (store, _) = loaded.expect("it is whole");
    let options = DirectoryOptions { shards: 1, databases: 16, identity: 77 };
    let target = Path::new("/new");
    let (made, lock) = run_ready(open_data_directory(&rig.disk, target, options)).expect("it is new");
    let (records, _) = run_ready(write_shard(&rig.disk, &made, SHARD, store)).expect("it is written");
    assert!(records >= 300);
    drop(lock);
    let (found, lock) = run_ready(inspect_data_directory(&rig.disk, target)).expect("it is there");
    let loaded = run_ready(load_shard(&rig.disk, &found, SHARD, &Outcomes::default(), None, 4));
    assert_eq!(contents(&mut loaded.expect("it is whole").0), all);
    drop(lock);
}

#[test]
fn a_second_backup_writes_what_is_new_and_a_backup_is_a_data_directory() {
    let mut rig = Rig::new();
    for number in 0..300 {
        rig.set(number, &[1; 500]);
    }
    let target = Path::new("/backup");
    run_ready(rig.disk.create_dir(target)).expect("it is made");
    let first = run_ready(backup_directory(&rig.disk, &rig.directory, target)).expect("it is copied");
    assert!(first.files > 3 && first.files_kept == 0, "{first:?}");
    let again = run_ready(backup_directory(&rig.disk, &rig.directory, target)).expect("it is copied");
    assert_eq!((again.files, again.files_kept), (0, first.files));
    rig.set(301, b"new");
    rig.checkpoint(1);
    rig.set(302, b"newer");
    let later = run_ready(backup_directory(&rig.disk, &rig.directory, target)).expect("it is copied");
    assert!(later.files > 0 && later.files_removed > 0, "{later:?}");
    let all = rig.contents();
    let (found, lock) = run_ready(inspect_data_directory(&rig.disk, target)).expect("it is there");
    let loaded = run_ready(load_shard(&rig.disk, &found, SHARD, &Outcomes::default(), None, 4));
    assert_eq!(contents(&mut loaded.expect("it is whole").0), all);
    drop(lock);
}

/// Links by copying: what has two names is never written to.
struct Links<'a>(&'a MemoryDisk);

impl CopyHelper for Links<'_> {
    fn pace(&mut self, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn link(&mut self, from: &Path, to: &Path) -> std::io::Result<()> {
        let bytes = self.0.contents(from).ok_or(std::io::ErrorKind::NotFound)?;
        self.0.put(to, &bytes);
        Ok(())
    }
}

impl Rig {
    /// Copies as for a backup of a server that serves.
    fn copy_to(&self, target: &Path, moment: ShardMoment, older: Option<&Path>) -> Result<Copied, CopyError> {
        run_ready(self.disk.create_dir(target)).expect("it is made");
        let epoch = self.directory.epoch();
        let place = run_ready(directory_in(&self.disk, &self.directory, epoch, SHARD, target));
        let place = place.expect("it is made");
        let places = CopyPlaces { target: &place, older };
        let copied =
            run_ready(copy_shard(&self.disk, &self.directory, moment, places, &mut Links(&self.disk)))?;
        let mut with_manifest = copied;
        run_ready(copy_manifest(&self.disk, &self.directory, target, &mut with_manifest))
            .expect("it is copied");
        Ok(copied)
    }

    /// What a start on the copy has.
    fn copied(&self, target: &Path) -> (Lsn, Contents) {
        let (found, _lock) = run_ready(inspect_data_directory(&self.disk, target)).expect("it is there");
        let check = run_ready(check_shard(&self.disk, &found, SHARD, &Ok(Outcomes::default())));
        let report = check.start.expect("it is whole");
        assert!(report.clean_stop && report.torn_tails.is_empty() && report.dropped == 0, "{report:?}");
        let loaded = run_ready(load_shard(&self.disk, &found, SHARD, &Outcomes::default(), None, 4));
        let (mut store, salvaged) = loaded.expect("it is whole");
        (salvaged.last_lsn, contents(&mut store))
    }
}

#[test]
fn every_end_of_a_group_can_be_the_end_of_a_copy() {
    let mut rig = Rig::new();
    let mut history = vec![(Lsn::ZERO, Contents::new())];
    for number in 0..260 {
        // One that goes over several frames now and then; else frames that fill a segment to its last byte.
        let value = if number == 200 { vec![b'y'; 300_000] } else { vec![b'x'; number % 30] };
        let (bytes, slot) = key(number % 11);
        rig.store.begin_command();
        rig.store.set(DB, Key { bytes: &bytes, slot }, &value, Expiry::None);
        rig.store.end_command();
        if number % 3 != 2 {
            rig.settle();
        }
        history.push((rig.store.sink().last_lsn(), rig.contents()));
    }
    rig.settle();
    for (until, then) in history {
        let target = PathBuf::from(format!("/copy-{until}"));
        let moment = ShardMoment { shard: SHARD, checkpoint: 0, until };
        rig.copy_to(&target, moment, None).expect("it is copied");
        let (last, found) = rig.copied(&target);
        assert!(last == until && found == then, "{until}: {last}");
    }
}

#[test]
fn a_copy_of_a_damaged_log_says_where_it_is_damaged() {
    let mut rig = Rig::new();
    for number in 0..300 {
        rig.set(number, &[b'x'; 600]);
    }
    let until = rig.store.sink().last_lsn();
    let second = rig.path("000000000002.log");
    let good = rig.disk.contents(&second).expect("it is there");
    let moment = ShardMoment { shard: SHARD, checkpoint: 0, until };
    let mut bad = good.clone();
    bad[20_000] ^= 1;
    rig.disk.put(&second, &bad);
    match rig.copy_to(Path::new("/copy"), moment, None) {
        Err(CopyError::Damaged { path, offset, .. }) => {
            assert!(path == second && (19_000..=20_000).contains(&offset), "{} {offset}", path.display());
        }
        other => panic!("{other:?}"),
    }
    run_ready(rig.disk.remove(&second)).expect("it is removed");
    match rig.copy_to(Path::new("/copy"), moment, None) {
        Err(CopyError::Damaged { path, offset: 65536, .. }) => {
            assert_eq!(path, rig.path("000000000001.log"));
        }
        other => panic!("{other:?}"),
    }
    rig.disk.put(&second, &good);
    rig.copy_to(Path::new("/copy"), moment, None).expect("it is whole");
}

#[test]
fn a_copy_of_a_log_that_goes_on_ends_at_the_moment_and_takes_over_what_is_whole() {
    let mut rig = Rig::new();
    let mut history = vec![(Lsn(1), Contents::new())];
    let mut older: Option<PathBuf> = None;
    let mut kept = 0;
    for round in 0..12_u64 {
        for number in 0..30 {
            // Several groups in a frame, some larger than one.
            for part in 0..3 {
                let (bytes, slot) = key(number + part);
                rig.store.begin_command();
                let value = vec![round as u8; 40 + 700 * (number % 9)];
                rig.store.set(DB, Key { bytes: &bytes, slot }, &value, Expiry::None);
                rig.store.end_command();
                history.push((rig.store.sink().last_lsn(), rig.contents()));
            }
            rig.settle();
        }
        if round % 4 == 3 {
            rig.checkpoint(round / 4 + 1);
        }
        let checkpoint = (round + 1) / 4;
        let to = if checkpoint == 0 {
            Lsn::ZERO
        } else {
            let found =
                run_ready(crate::recovery::verify_checkpoint(&rig.disk, &rig.directory, SHARD, checkpoint));
            found.expect("it is whole").expect("it is there").to
        };
        // Any moment after the checkpoint, of those at which the server may have been.
        let later: Vec<_> = history.iter().filter(|(lsn, _)| *lsn >= to).collect();
        let (until, contents_then) = later[(round as usize * 37) % later.len()];
        let target = PathBuf::from(format!("/copy-{round}"));
        let moment = ShardMoment { shard: SHARD, checkpoint, until: *until };
        let copied = rig.copy_to(&target, moment, older.as_deref()).expect("it is copied");
        kept += copied.files_kept;
        // Again, as after a copy that was cut off: what is whole stays.
        let again = rig.copy_to(&target, moment, older.as_deref()).expect("it is copied");
        assert!(
            again.files <= 1 && again.files + again.files_kept == copied.files + copied.files_kept,
            "{again:?}"
        );
        let (last, found) = rig.copied(&target);
        assert_eq!(last, *until);
        assert_eq!(&found, contents_then, "round {round}, until {until}");
        let copy = DataDirectory { path: target, ..rig.directory.clone() };
        older = Some(copy.shard_directory(copy.epoch(), SHARD));
    }
    assert!(kept > 3, "{kept} files were taken over");
}

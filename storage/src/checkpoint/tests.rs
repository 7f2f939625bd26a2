//! Crashes after every disk operation of checkpoints under random commands, damage, and other numbers of shards.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::files::{checkpoint_name, is_retained_name, retained_checkpoint, retained_segment};
use super::retention::remove_slowly;
use super::{
    Imaging, Progress, RetainedLog, Retention, RetireRequest, WalkOptions, publish_checkpoint, retire_log,
    write_checkpoint,
};
use crate::TransactionId;
use crate::buffer::AlignedBuffer;
use crate::disk::blocking::run_ready;
use crate::disk::memory::{CrashChoice, MemoryDisk, MemoryFile, MemoryLock};
use crate::disk::{DirectoryEntry, Disk, LockError, OpenMode, WriteSync};
use crate::log::{SegmentId, prepare_segment};
use crate::manifest::DataDirectory;
use crate::offline::load_shard;
use crate::recovery::{
    Outcomes, RecoveryError, RecoveryOptions, RecoveryReport, SalvageOptions, reach_of, recover_shard,
    survey_and_resolve, verify_retained,
};
use crate::testing::{Choices, new_disk, open_directory, shard_options, small_options};
use crate::{
    DatabaseId, DeferredGroup, Effect, EffectSink, Expiry, Key, Log, LogOptions, LogWrite, Lsn, ShardId,
    Store, StoreOptions,
};

mod epochs;
mod fallback;
mod kept;
mod scrub;

const DATABASES: u16 = 3;
const LIBRARIES: u16 = u16::MAX;
const SECOND: u64 = 1_000_000_000;

/// Small enough that a few hundred keys are many slices and large values many pieces.
const SMALL_WALK: WalkOptions =
    WalkOptions { slice_bytes: 300, steps_max: 200, whole_bytes_max: 64, piece_bytes: 90 };

/// What a store holds: value and expiry by database and key; libraries of functions stand for a database of their own.
type Contents = BTreeMap<(u16, Vec<u8>), Held>;
/// A value and its expiry.
type Held = (Vec<u8>, Option<u64>);

/// A disk whose every operation takes a step of its own.
#[derive(Clone)]
struct StepDisk(MemoryDisk);

async fn step() {
    let mut stepped = false;
    std::future::poll_fn(
        |_| if std::mem::replace(&mut stepped, true) { Poll::Ready(()) } else { Poll::Pending },
    )
    .await;
}

impl Disk for StepDisk {
    type File = MemoryFile;
    type Lock = MemoryLock;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<MemoryFile> {
        step().await;
        self.0.open(path, mode).await
    }
    async fn read_at(
        &self,
        file: &MemoryFile,
        buffer: AlignedBuffer,
        offset: u64,
        len: usize,
    ) -> (io::Result<usize>, AlignedBuffer) {
        step().await;
        self.0.read_at(file, buffer, offset, len).await
    }
    async fn write_at(
        &self,
        file: &MemoryFile,
        buffer: AlignedBuffer,
        offset: u64,
        len: usize,
        sync: WriteSync,
    ) -> (io::Result<usize>, AlignedBuffer) {
        step().await;
        self.0.write_at(file, buffer, offset, len, sync).await
    }
    async fn sync(&self, file: &MemoryFile) -> io::Result<()> {
        step().await;
        self.0.sync(file).await
    }
    async fn len(&self, file: &MemoryFile) -> io::Result<u64> {
        self.0.len(file).await
    }
    async fn allocate(&self, file: &MemoryFile, bytes: u64) -> io::Result<()> {
        step().await;
        self.0.allocate(file, bytes).await
    }
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        step().await;
        self.0.rename(from, to).await
    }
    async fn remove(&self, path: &Path) -> io::Result<()> {
        step().await;
        self.0.remove(path).await
    }
    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path).await
    }
    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.0.list_dir(path).await
    }
    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        step().await;
        self.0.sync_dir(path).await
    }
    async fn lock(&self, path: &Path) -> Result<MemoryLock, LockError> {
        self.0.lock(path).await
    }
    async fn alignment(&self, file: &MemoryFile) -> io::Result<usize> {
        self.0.alignment(file).await
    }
    async fn pause(&self, _: Duration) {
        step().await;
    }
}

/// Effects of recovery are logged already.
struct NoLog;

impl EffectSink for NoLog {
    fn append(&mut self, _: Effect<'_>) -> Lsn {
        panic!("recovery makes no effects")
    }
    fn end_group(&mut self) {}
    fn begin_transaction(&mut self, _: TransactionId, _: &[ShardId]) -> Lsn {
        panic!("recovery makes no transactions")
    }
    fn append_depends(&mut self, _: &[TransactionId]) -> Lsn {
        panic!("recovery depends on nothing")
    }
}

/// One shard: store, log and disk, and what it held after each command.
struct Rig {
    disk: MemoryDisk,
    directory: DataDirectory,
    store: Store<Log<MemoryFile>>,
    in_flight: Vec<LogWrite<MemoryFile>>,
    now_ns: u64,
    now_ms: u64,
    history: BTreeMap<Lsn, Contents>,
    /// When each of them was so.
    times: BTreeMap<Lsn, u64>,
    report: RecoveryReport,
    next_checkpoint: u64,
    /// The newest that is whole, 0 if there's none.
    newest: u64,
    retention: Retention,
    known: RetainedLog,
    /// A transaction between two of its rounds, and what was there before it.
    rounds: Option<DeferredGroup>,
    before_rounds: BTreeMap<(u16, Vec<u8>), Option<Held>>,
    transactions: u64,
}

fn contents(store: &mut Store<impl EffectSink>) -> Contents {
    let mut found = Contents::new();
    for database in 0..DATABASES {
        let mut cursor = crate::Cursor(0);
        while cursor.group() < 256 {
            cursor = store.scan(DatabaseId(database), 0..256, cursor, 1000, &mut |entry| {
                let value = (entry.string().unwrap_or_default().to_vec(), entry.expire_at_ms());
                assert!(found.insert((database, entry.key().to_vec()), value).is_none(), "a key twice");
            });
        }
    }
    for (name, body) in store.libraries().iter() {
        found.insert((LIBRARIES, name.to_vec()), (body.to_vec(), None));
    }
    found
}

fn living(contents: &Contents, now_ms: u64) -> Contents {
    let lives = |expiry: Option<u64>| expiry.is_none_or(|at| now_ms <= at);
    contents.iter().filter(|(_, (_, expiry))| lives(*expiry)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

impl Rig {
    fn open(disk: &MemoryDisk, shards: u16, options: LogOptions, now_ms: u64) -> Result<Self, RecoveryError> {
        Self::open_in(disk, open_directory(disk, shards), options, now_ms)
    }

    fn open_in(
        disk: &MemoryDisk,
        directory: DataDirectory,
        options: LogOptions,
        now_ms: u64,
    ) -> Result<Self, RecoveryError> {
        // Another process, another order of keys.
        let hash_seed = u64::from(directory.incarnation) * 77 + 1;
        let mut store = Store::new(StoreOptions { databases: DATABASES, hash_seed }, NoLog);
        store.set_now(now_ms);
        let mut apply = |effect: &Effect<'_>, groups: &std::ops::Range<u16>| store.apply(effect, groups);
        let settings = RecoveryOptions { alignment: options.alignment };
        let outcomes = run_ready(survey_and_resolve(disk, &directory))?;
        let recovery = recover_shard(disk, &directory, options.shard, settings, &outcomes, &mut apply);
        let recovered = run_ready(recovery)?;
        let incarnation = directory.incarnation;
        let next_checkpoint = recovered.report.checkpoint_number_max + 1;
        let newest = recovered.report.image.as_ref().map_or(0, |image| image.number);
        let mut rig = Self {
            disk: disk.clone(),
            directory,
            store: store.with_sink(Log::new(options, recovered.start)),
            in_flight: Vec::new(),
            now_ns: 1,
            now_ms,
            history: BTreeMap::new(),
            times: BTreeMap::new(),
            report: recovered.report,
            next_checkpoint,
            newest,
            retention: Retention::default(),
            known: RetainedLog::default(),
            rounds: None,
            before_rounds: BTreeMap::new(),
            transactions: u64::from(incarnation) << 40,
        };
        rig.note();
        Ok(rig)
    }

    fn note(&mut self) {
        let mut contents = contents(&mut self.store);
        self.store.end_command();
        // What is not in the log is nothing that a crash leaves.
        for (key, value) in &self.before_rounds {
            match value {
                Some(value) => drop(contents.insert(key.clone(), value.clone())),
                None => drop(contents.remove(key)),
            }
        }
        self.history.insert(self.store.sink().last_lsn(), contents);
        self.times.insert(self.store.sink().last_lsn(), self.now_ms);
    }

    fn retire_request(&self, superfluous: Vec<SegmentId>) -> RetireRequest {
        RetireRequest {
            directory: self.path(""),
            identity: self.store.sink().identity(),
            superfluous,
            begins: self.store.sink().begins(),
            follows_past: self.directory.epochs.len() > 1 || !self.directory.past.is_empty(),
            retention: self.retention,
            held: None,
            now_ms: self.now_ms,
        }
    }

    /// Goes back, on the disk of a crash, to a state of this life that must be there, and finds it.
    fn check_past(&self, disk: &MemoryDisk, choices: &mut Choices) {
        let shard = self.store.sink().identity().shard;
        let reach = run_ready(reach_of(disk, &self.directory, shard)).expect("it can be read");
        let wanted_ms = self.now_ms.saturating_sub(self.retention.ms);
        let kept = self.times.iter().rfind(|(_, at)| **at < wanted_ms).map(|(lsn, _)| *lsn);
        if let Some(kept) = kept.filter(|_| self.retention.bytes == 0) {
            assert!(
                reach.floor <= kept,
                "{kept} was {} ms ago, and {reach:?} is what there is",
                self.retention.ms
            );
        }
        let durable = self.store.sink().horizon();
        let there: Vec<Lsn> =
            self.history.range(reach.floor..).map(|(lsn, _)| *lsn).filter(|lsn| *lsn <= durable).collect();
        let Some(until) = there.get(choices.below(there.len().max(1) as u64) as usize).copied() else {
            return;
        };
        let options = SalvageOptions { until, past: Some(reach.begins) };
        let loaded =
            run_ready(load_shard(disk, &self.directory, shard, &Outcomes::default(), Some(options), 3));
        let (mut store, salvaged) = loaded.expect("salvaging does not fail");
        assert!(salvaged.losses.is_empty(), "{:?}", salvaged.losses);
        let at_ms = self.times[&until];
        assert_eq!(living(&contents(&mut store), at_ms), living(&self.history[&until], at_ms), "at {until}");
    }

    fn command<T>(&mut self, change: impl FnOnce(&mut Store<Log<MemoryFile>>) -> T) {
        self.store.set_now(self.now_ms);
        self.store.begin_command();
        change(&mut self.store);
        self.store.end_command();
        self.note();
    }

    fn random_command(&mut self, choices: &mut Choices) {
        let slots = self.directory.epoch().groups(self.store.sink().identity().shard);
        let number = choices.below(150) as u16;
        let slot = slots.start * 64 + (number * 109) % ((slots.end - slots.start) * 64);
        let name = format!("key-{slot}");
        let key = Key { bytes: name.as_bytes(), slot };
        let database = DatabaseId((choices.below(6) as u16).saturating_sub(3));
        let fill = choices.next() as u8;
        let expiry = match choices.below(6) {
            0 => Expiry::At(self.now_ms + 1 + choices.below(60)),
            1 => Expiry::Keep,
            _ => Expiry::None,
        };
        match choices.below(60) {
            0 | 1 if self.rounds.is_some() => {}
            0 => self.command(|store| store.flush(database)),
            1 => self.command(|store| store.swap(DatabaseId(0), DatabaseId(1 + u16::from(fill & 1)))),
            2..=8 => self.command(|store| store.delete(database, key)),
            9..=14 => {
                let len = 200 + choices.below(600) as usize;
                self.command(|store| store.set(database, key, &vec![fill; len], expiry));
            }
            15..=24 => {
                let (offset, len) = (choices.below(500) as usize, 1 + choices.below(40) as usize);
                self.command(|store| store.set_range(database, key, offset, &vec![fill; len]));
            }
            25..=28 => {
                let at = (fill & 1 == 0).then_some(self.now_ms + 5);
                self.command(|store| store.set_expiry(database, key, at));
            }
            29 => self.now_ms += choices.below(30),
            // Where there are several shards all have the same ones.
            59 if slots.len() == 256 => {
                let name = [b'a' + fill % 5];
                self.command(|store| match fill % 8 {
                    0 => store.flush_libraries(),
                    1 | 2 => drop(store.delete_library(&name)),
                    _ => store.set_library(&name, &vec![fill; 1 + usize::from(fill) * 5]),
                });
            }
            30..=34 => self.command(|store| {
                // Several effects in one group.
                store.set(database, key, &[fill; 20], Expiry::None);
                store.set_range(database, key, 15, &[fill ^ 1; 30]);
            }),
            _ => self.command(|store| store.set(database, key, &[fill; 30], expiry)),
        }
    }

    /// A round of a transaction on keys of its own, or its end.
    fn round(&mut self, choices: &mut Choices) {
        let slots = self.directory.epoch().groups(self.store.sink().identity().shard);
        let shard = self.store.sink().identity().shard;
        if self.rounds.is_some() && choices.below(6) == 0 {
            let group = self.rounds.take().expect("it is there");
            self.before_rounds.clear();
            self.transactions += 1;
            self.store.commit_deferred(group, TransactionId(self.transactions << 16), &[shard]);
            self.note();
            return;
        }
        if self.rounds.is_none() {
            let contents = contents(&mut self.store);
            self.store.end_command();
            for number in 0..8_u16 {
                let key = (0, format!("round-{number}").into_bytes());
                let before = contents.get(&key).cloned();
                self.before_rounds.insert(key, before);
            }
        }
        self.store.set_now(self.now_ms);
        self.store.resume_transaction(self.rounds.take().unwrap_or_default());
        for _ in 0..3 {
            let number = choices.below(8) as u16;
            let name = format!("round-{number}");
            let key = Key { bytes: name.as_bytes(), slot: slots.start * 64 + number * 7 };
            let fill = choices.next() as u8;
            match choices.below(3) {
                0 => {
                    self.store.delete(DatabaseId(0), key);
                }
                1 => {
                    self.store.set_range(DatabaseId(0), key, 3, &[fill; 150]);
                }
                _ => self.store.set(DatabaseId(0), key, &[fill; 20], Expiry::None),
            }
            self.store.next_command();
        }
        self.rounds = Some(self.store.suspend_transaction());
    }

    fn poll(&mut self) {
        loop {
            while let Some(request) = self.store.sink_mut().need_segment(self.now_ns) {
                let segment = run_ready(prepare_segment(&self.disk, request)).expect("there is room");
                self.store.sink_mut().add_segment(segment);
            }
            let Some(write) = self.store.sink_mut().poll_write(self.now_ns) else { break };
            self.in_flight.push(write);
        }
    }

    fn complete(&mut self) {
        if !self.in_flight.is_empty() {
            let LogWrite { id, file, offset, buffer, len, sync } = self.in_flight.remove(0);
            let (result, buffer) = run_ready(self.disk.write_at(&file, buffer, offset, len, sync));
            self.store.sink_mut().on_written(id, result, buffer);
        }
    }

    fn settle(&mut self) {
        for _ in 0..3 {
            self.now_ns += SECOND;
            self.poll();
            while !self.in_flight.is_empty() {
                self.complete();
                self.poll();
            }
        }
    }

    /// The disk as a crash now may leave it.
    fn crash(&self, choices: &mut Choices) -> MemoryDisk {
        struct Random<'a>(&'a mut Choices, u64);
        impl CrashChoice for Random<'_> {
            fn sector_survives(&mut self, _: usize) -> bool {
                self.1 == 0 || (self.1 == 1 && self.0.below(2) == 0)
            }
            fn names_survive(&mut self, _: &Path) -> bool {
                self.0.below(2) == 0
            }
        }
        let kind = choices.below(3);
        let copy = self.disk.crash_copy(&mut Random(choices, kind));
        for write in &self.in_flight {
            let path = self.disk.paths().into_iter().find(|path| self.disk.is_file(path, write.file));
            let path = path.expect("a segment in use has a name");
            copy.write_sectors(&path, write.offset, &write.buffer[..write.len], |_| {
                kind == 0 || choices.below(2) == 0
            });
        }
        copy
    }

    /// Recovers from a crash now: all that was acknowledged is there, and nothing that never was.
    fn check_crash(&self, choices: &mut Choices) -> Rig {
        let disk = self.crash(choices);
        let options = LogOptions { shard: self.store.sink().identity().shard, ..small_options() };
        let shards = self.directory.epoch().shards;
        let mut again = Rig::open(&disk, shards, options, self.now_ms).expect("a crash is no damage");
        let last = again.store.sink().last_lsn();
        assert!(last >= self.store.sink().horizon(), "an acknowledged effect is lost: {last}");
        // After the last command there are at most removals of what had expired.
        let (_, expected) = self.history.range(..=last).next_back().expect("the beginning");
        let found = contents(&mut again.store);
        again.store.end_command();
        assert_eq!(found, living(expected, self.now_ms), "at {last}: {:?}", again.report.image);
        if self.retention.ms > 0 && choices.below(4) == 0 {
            self.check_past(&disk, choices);
        }
        again.retention = self.retention;
        again
    }

    /// Takes a checkpoint without anything between its steps.
    fn checkpoint(&mut self) {
        let (mut imaging, mut request) = Imaging::begin(&mut self.store, self.next_checkpoint, SMALL_WALK);
        request.keeps = self.newest;
        let pipe = imaging.pipe().clone();
        let disk = self.disk.clone();
        let mut writing = Box::pin(write_checkpoint(&disk, &request, &pipe));
        let to = loop {
            if let Progress::Done(to) = imaging.advance(&mut self.store) {
                break to;
            }
            assert!(poll_once(&mut writing).is_none(), "the writer waits for more");
        };
        poll_once(&mut writing).expect("all is there").expect("it is written");
        self.settle();
        assert!(self.store.sink().horizon() >= to);
        run_ready(publish_checkpoint(&disk, &request)).expect("it gets its name");
        let released = self.store.sink_mut().release_segments(request.header.from);
        let retire = self.retire_request(released);
        let removable = run_ready(retire_log(&disk, &retire, &mut self.known)).expect("they are renamed");
        run_ready(remove_slowly(&disk, &removable, Duration::ZERO)).expect("they are removed");
        self.newest = self.next_checkpoint;
        self.next_checkpoint += 1;
    }

    fn path(&self, name: &str) -> PathBuf {
        let shard = self.store.sink().identity().shard;
        self.directory.shard_directory(self.directory.epoch(), shard).join(name)
    }
}

fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Random commands, and the log at work, between two steps of a checkpoint.
fn live(rig: &mut Rig, choices: &mut Choices) {
    for _ in 0..choices.below(4) {
        if choices.below(4) == 0 {
            rig.round(choices);
        } else {
            rig.random_command(choices);
        }
    }
    if choices.below(3) == 0 {
        rig.poll();
    }
    if choices.below(2) == 0 {
        rig.complete();
    }
}

/// One checkpoint, with life and a crash after each of its steps; a last crash ends it, perhaps before its end. Returns how many
/// crashes came after the new file had its name.
fn checkpoint_with_crashes(rig: &mut Rig, choices: &mut Choices, steps_max: u64) -> u64 {
    let number = rig.next_checkpoint;
    let (mut imaging, mut request) = Imaging::begin(&mut rig.store, number, SMALL_WALK);
    request.keeps = rig.newest;
    let disk = StepDisk(rig.disk.clone());
    let pipe = imaging.pipe().clone();
    let retire = std::cell::RefCell::new(None);
    let mut known = rig.known.clone();
    let may_publish = std::cell::Cell::new(false);
    let may_release = std::cell::Cell::new(false);
    let mut task = Box::pin(async {
        write_checkpoint(&disk, &request, &pipe).await.expect("it is written");
        while !may_publish.get() {
            step().await;
        }
        publish_checkpoint(&disk, &request).await.expect("it gets its name");
        may_release.set(true);
        while may_release.get() {
            step().await;
        }
        let retire: RetireRequest = retire.take().expect("it is told");
        let removable = retire_log(&disk, &retire, &mut known).await.expect("they are renamed");
        remove_slowly(&disk, &removable, Duration::ZERO).await.expect("they are removed");
    });
    let (mut to, mut crashes_with) = (None, 0);
    for _ in 0..steps_max {
        live(rig, choices);
        rig.store.set_now(rig.now_ms);
        if to.is_none() && choices.below(3) > 0 {
            if let Progress::Done(lsn) = imaging.advance(&mut rig.store) {
                to = Some(lsn);
            }
            // The walk removes what has expired.
            rig.note();
        }
        may_publish.set(to.is_some_and(|to| rig.store.sink().horizon() >= to));
        if may_release.get() {
            let released = rig.store.sink_mut().release_segments(request.header.from);
            *retire.borrow_mut() = Some(rig.retire_request(released));
            may_release.set(false);
        }
        let operations = rig.disk.operations();
        let ended = poll_once(&mut task).is_some();
        // After each operation of the checkpoint, and now and then between two.
        if ended || rig.disk.operations() > operations || choices.below(8) == 0 {
            let again = rig.check_crash(choices);
            crashes_with += u64::from(again.report.image.is_some_and(|image| image.number == number));
        }
        if ended {
            drop(task);
            (rig.newest, rig.next_checkpoint, rig.known) = (number, number + 1, known);
            return crashes_with;
        }
    }
    drop(task);
    imaging.pipe().abandon();
    rig.store.abandon_image();
    crashes_with
}

#[test]
fn a_crash_after_any_step_of_a_checkpoint_loses_and_invents_nothing() {
    let mut with_new = 0;
    for seed in 1..=2 {
        let mut choices = Choices::new(seed);
        let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
        for _ in 0..120 {
            rig.random_command(&mut choices);
        }
        for round in 0..4 {
            let steps_max = if round == 2 { choices.below(60) } else { u64::MAX };
            with_new += checkpoint_with_crashes(&mut rig, &mut choices, steps_max);
            if round % 2 == 0 {
                rig = rig.check_crash(&mut choices);
            }
        }
    }
    assert!(with_new > 20, "crashes after a checkpoint was there: {with_new}");
}

#[test]
fn what_a_checkpoint_has_is_not_replayed_and_its_segments_are_used_again() {
    let mut choices = Choices::new(5);
    let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
    for _ in 0..8 {
        for _ in 0..150 {
            rig.random_command(&mut choices);
            rig.settle();
        }
        rig.checkpoint();
        let again = rig.check_crash(&mut choices);
        assert_eq!(again.report.applied, again.report.image.expect("an image").records, "nothing to replay");
    }
    let (live, spare, _) = rig.store.sink().segments();
    assert!(live + spare < 12, "{live} segments and {spare} for a small store");
    let names = run_ready(rig.disk.list_dir(&rig.path(""))).expect("it is there");
    assert!(names.iter().all(|entry| entry.name != SegmentId::FIRST.file_name()), "{names:?}");
    assert_eq!(names.iter().filter(|entry| entry.name.starts_with("checkpoint")).count(), 2);
}

#[test]
fn a_value_larger_than_any_slice_is_taken_in_pieces_as_it_changes() {
    let mut choices = Choices::new(9);
    let key = |slot| Key { bytes: b"large", slot };
    for case in 0..6 {
        let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
        rig.command(|store| store.set(DatabaseId(0), key(7), &[1; 9000], Expiry::At(9000)));
        let (mut imaging, request) = Imaging::begin(&mut rig.store, 1, SMALL_WALK);
        let (pipe, disk) = (imaging.pipe().clone(), rig.disk.clone());
        let mut writing = Box::pin(write_checkpoint(&disk, &request, &pipe));
        let mut turns = 0;
        let to = loop {
            turns += 1;
            match (turns, case) {
                (8, 0) => rig.command(|store| store.delete(DatabaseId(0), key(7))),
                (8, 1) => rig.command(|store| store.set(DatabaseId(0), key(7), &[2; 3000], Expiry::None)),
                (8 | 20, 2) => rig.command(|store| store.set_range(DatabaseId(0), key(7), 10, &[3; 4000])),
                (8, 3) => rig.command(|store| {
                    let len = store
                        .get(DatabaseId(0), key(7))
                        .expect("it is there")
                        .string()
                        .map_or(0, <[u8]>::len);
                    store.set_range(DatabaseId(0), key(7), len, &[4; 700]);
                }),
                (8, 4) => rig.command(|store| store.flush(DatabaseId(0))),
                (9, 4) => rig.command(|store| store.set_range(DatabaseId(0), key(7), 3000, b"new")),
                (8, 5) => rig.command(|store| store.swap(DatabaseId(0), DatabaseId(1))),
                (9, 5) => rig.command(|store| store.set(DatabaseId(0), key(7), b"other", Expiry::None)),
                _ => {}
            }
            if let Progress::Done(to) = imaging.advance(&mut rig.store) {
                break to;
            }
            let _ = poll_once(&mut writing);
        };
        assert!(turns > 20 || case < 2 || case == 4, "{turns} turns");
        poll_once(&mut writing).expect("all is there").expect("it is written");
        rig.settle();
        assert!(rig.store.sink().horizon() >= to);
        run_ready(publish_checkpoint(&disk, &request)).expect("it gets its name");
        rig.check_crash(&mut choices);
    }
}

#[test]
fn a_damaged_checkpoint_is_replaced_by_the_one_before_or_refused_and_never_believed() {
    let mut choices = Choices::new(11);
    let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
    for _ in 0..2 {
        for _ in 0..60 {
            rig.random_command(&mut choices);
            rig.settle();
        }
        rig.checkpoint();
    }
    rig.settle();
    let newest = rig.path(&checkpoint_name(2));
    let bytes = rig.disk.contents(&newest).expect("it is there");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty") + 1;
    let expected = living(&contents(&mut rig.store), rig.now_ms);
    rig.store.end_command();
    let mut refused = 0;
    for at in (0..used).step_by(97) {
        let disk = rig.disk.crash_copy(&mut crate::disk::memory::EverythingSurvives);
        disk.edit(&newest, |bytes| bytes[at] ^= 1 << (at % 8));
        match Rig::open(&disk, 1, small_options(), rig.now_ms) {
            Ok(mut again) => {
                assert_eq!(contents(&mut again.store), expected, "a bit flipped at {at}");
                // Bytes that nobody reads: what an earlier, longer life of the file left.
                assert!(!again.report.unused.is_empty() || again.report.image.is_some());
            }
            Err(RecoveryError::DamagedCheckpoint { path, .. }) => {
                refused += 1;
                assert_eq!(path, newest);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 10, "the log before it is gone: {refused}");

    // With the log still there the one before it will do; and without any, the log alone.
    let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
    for number in 1..=2 {
        for _ in 0..20 {
            rig.random_command(&mut choices);
        }
        let large = LogOptions { segment_bytes: 1 << 20, ..small_options() };
        rig.settle();
        rig = Rig::open(&rig.disk.clone(), 1, large, rig.now_ms).expect("it recovers");
        rig.checkpoint();
        let disk = rig.disk.crash_copy(&mut crate::disk::memory::EverythingSurvives);
        disk.edit(&rig.path(&checkpoint_name(number)), |bytes| bytes[5000] ^= 4);
        match Rig::open(&disk, 1, small_options(), rig.now_ms) {
            Ok(mut again) => {
                assert_eq!(contents(&mut again.store), living(&contents(&mut rig.store), rig.now_ms));
                assert_eq!(again.report.unused.len(), 1);
                assert_eq!(again.report.image.map_or(0, |image| image.number), number - 1);
            }
            Err(error) => panic!("{error}"),
        }
        rig.store.end_command();
    }
}

#[test]
fn a_log_that_has_lost_what_its_checkpoint_stands_on_is_refused() {
    let mut choices = Choices::new(12);
    let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
    for _ in 0..200 {
        rig.random_command(&mut choices);
        rig.settle();
    }
    rig.checkpoint();
    let mut segments: Vec<PathBuf> = rig.disk.paths().into_iter().filter(|path| is_segment(path)).collect();
    segments.sort();
    let disk = rig.disk.crash_copy(&mut crate::disk::memory::EverythingSurvives);
    for path in &segments {
        run_ready(disk.remove(path)).expect("it is there");
    }
    let error = Rig::open(&disk, 1, small_options(), rig.now_ms).map(drop).expect_err("the log is gone");
    assert!(matches!(error, RecoveryError::Damaged { .. }), "{error}");
    let disk = rig.disk.crash_copy(&mut crate::disk::memory::EverythingSurvives);
    run_ready(disk.remove(&segments[0])).expect("it is there");
    let error = Rig::open(&disk, 1, small_options(), rig.now_ms).map(drop).expect_err("a segment is gone");
    assert!(matches!(error, RecoveryError::MissingSegment { .. } | RecoveryError::Damaged { .. }), "{error}");
}

fn is_segment(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| SegmentId::of_file_name(name).is_some())
}

#[test]
fn any_number_of_shards_recovers_the_checkpoints_of_any_other() {
    let disk = new_disk();
    let mut choices = Choices::new(21);
    let mut expected = Contents::new();
    let mut now_ms = 1000;
    for shards in [1, 2, 3, 3, 1, 4, 1] {
        let directory = open_directory(&disk, shards);
        let mut rigs: Vec<Rig> = (0..shards)
            .map(|shard| Rig::open_in(&disk, directory.clone(), shard_options(shard), now_ms))
            .collect::<Result<_, _>>()
            .expect("they recover");
        let mut found = Contents::new();
        for rig in &mut rigs {
            found.extend(contents(&mut rig.store));
            rig.store.end_command();
        }
        assert_eq!(found, living(&expected, now_ms), "{shards} shards");
        let closed: Vec<_> = rigs.iter().flat_map(|rig| rig.report.closed.clone()).collect();
        run_ready(crate::manifest::close_logs(&disk, &directory, &closed)).expect("it is recorded");
        expected.clear();
        for rig in &mut rigs {
            for step in 0..90 {
                rig.random_command(&mut choices);
                // Some shards have a checkpoint in the end, with more or less log after it, and some have none.
                if step % 30 == 10 && choices.below(3) > 0 {
                    rig.checkpoint();
                }
            }
            rig.settle();
            now_ms = now_ms.max(rig.now_ms);
            expected.extend(contents(&mut rig.store));
            rig.store.end_command();
        }
    }
    assert!(!expected.is_empty());
}

#[test]
fn an_empty_store_has_a_checkpoint_too() {
    let mut rig = Rig::open(&new_disk(), 1, small_options(), 1000).expect("it is new");
    rig.checkpoint();
    let again = Rig::open(&rig.disk, 1, small_options(), 1000).expect("it recovers");
    let image = again.report.image.expect("it has one");
    assert_eq!((image.records, image.to), (0, Lsn::ZERO));
    assert_eq!(again.store.sink().identity().shard, ShardId(0));
}

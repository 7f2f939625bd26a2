//! Going back to times before the number of shards was changed.

use super::*;
use crate::disk::memory::EverythingSurvives;
use crate::manifest::{EpochsKept, EpochsWanted, close_logs, read_data_directory, tend_epochs};
use crate::offline::{CutError, Moment, check_past_epochs, consistent_cut};
use crate::testing::DIRECTORY;

const FOREVER: Retention = Retention { ms: 1_000_000_000, bytes: 0 };

/// A server of some shards, and what it held at the end of each millisecond in which something happened.
struct Shards {
    disk: MemoryDisk,
    rigs: Vec<Rig>,
    now_ms: u64,
    retention: Retention,
    history: BTreeMap<u64, Contents>,
}

impl Shards {
    fn new(retention: Retention) -> Self {
        let (disk, rigs, history) = (new_disk(), Vec::new(), BTreeMap::new());
        Self { disk, rigs, now_ms: 1000, retention, history }
    }

    /// A start with so many shards.
    fn start(&mut self, shards: u16) {
        let directory = open_directory(&self.disk, shards);
        let open = |shard| Rig::open_in(&self.disk, directory.clone(), shard_options(shard), self.now_ms);
        self.rigs = (0..shards).map(open).collect::<Result<_, _>>().expect("they recover");
        let closed: Vec<_> = self.rigs.iter().flat_map(|rig| rig.report.closed.clone()).collect();
        run_ready(close_logs(&self.disk, &directory, &closed)).expect("it is recorded");
        for rig in &mut self.rigs {
            rig.retention = self.retention;
        }
        let found = self.contents();
        if let Some((_, before)) = self.history.last_key_value() {
            assert_eq!(living(&found, self.now_ms), living(before, self.now_ms), "{shards} shards");
        }
        self.now_ms += 3;
    }

    fn contents(&mut self) -> Contents {
        let mut all = Contents::new();
        for rig in &mut self.rigs {
            all.extend(contents(&mut rig.store));
            rig.store.end_command();
        }
        all
    }

    fn work(&mut self, steps: usize, choices: &mut Choices) {
        for _ in 0..steps {
            let index = choices.below(self.rigs.len() as u64) as usize;
            let rig = &mut self.rigs[index];
            rig.now_ms = self.now_ms;
            rig.random_command(choices);
            self.now_ms = rig.now_ms;
            let found = self.contents();
            self.history.insert(self.now_ms, found);
            self.now_ms += choices.below(4);
        }
        for rig in &mut self.rigs {
            rig.settle();
        }
    }

    fn checkpoint(&mut self, index: usize) {
        self.rigs[index].now_ms = self.now_ms;
        self.rigs[index].checkpoint();
    }

    fn wanted(&self) -> EpochsWanted {
        EpochsWanted { has_all: true, retention: self.retention, kept_bytes: 0, now_ms: self.now_ms }
    }

    fn tend(&self) -> EpochsKept {
        run_ready(tend_epochs(&self.disk, &self.rigs[0].directory, self.wanted())).expect("it is written")
    }

    fn directory(&self) -> DataDirectory {
        run_ready(read_data_directory(&self.disk, Path::new(DIRECTORY))).expect("it is there")
    }

    /// What there was at a time.
    fn at(&self, time_ms: u64) -> Result<Contents, CutError> {
        let found = run_ready(consistent_cut(&self.disk, &self.directory(), Moment::Time(time_ms)))?;
        let mut all = Contents::new();
        for (cut, reach) in found.cuts.iter().zip(&found.reaches) {
            let limit = SalvageOptions { until: cut.until, past: Some(reach.begins) };
            let limit = (cut.until < Lsn(u64::MAX)).then_some(limit);
            let loaded =
                run_ready(load_shard(&self.disk, &found.directory, cut.shard, &found.outcomes, limit, 3));
            let (mut store, salvaged) = loaded.unwrap_or_else(|error| panic!("at {time_ms}: {error}"));
            assert!(salvaged.losses.is_empty(), "at {time_ms}: {:?}", salvaged.losses);
            all.extend(contents(&mut store));
        }
        Ok(all)
    }

    fn check_times(&self, count: usize, choices: &mut Choices) {
        for _ in 0..count {
            let at = choices.below(self.history.len() as u64) as usize;
            let (time_ms, expected) = self.history.iter().nth(at).expect("it is there");
            let found = self.at(*time_ms).unwrap_or_else(|error| panic!("at {time_ms}: {error}"));
            assert_eq!(living(&found, *time_ms), living(expected, *time_ms), "at {time_ms}");
        }
    }
}

#[test]
fn times_before_the_number_of_shards_was_changed_can_be_gone_back_to() {
    let mut choices = Choices::new(131);
    let mut server = Shards::new(FOREVER);
    for (round, shards) in [1, 2, 3, 3, 1].into_iter().enumerate() {
        server.start(shards);
        for part in 0..3 {
            server.work(40, &mut choices);
            for index in 0..server.rigs.len() {
                // In the second epoch not all have a checkpoint when it ends.
                if part == 1 && (round != 1 || index == 0) || choices.below(4) == 0 && round != 1 {
                    server.checkpoint(index);
                }
            }
        }
        server.work(20, &mut choices);
        if round != 1 {
            server.tend();
        }
        server.check_times(12, &mut choices);
    }
    let directory = server.directory();
    assert_eq!((directory.epochs.len(), directory.past.len()), (1, 3), "{directory:?}");
    let checks = run_ready(check_past_epochs(&server.disk, &directory));
    assert_eq!(checks.len(), 3);
    assert!(checks.iter().all(|(_, check)| check.faults.is_empty() && check.images.is_empty()), "{checks:?}");
    server.check_times(60, &mut choices);
    // Nothing that is kept is in the way of another start, or of one that has lost its checkpoint.
    server.start(1);
    let newest = server.rigs[0].path(&checkpoint_name(server.rigs[0].newest));
    server.disk.edit(&newest, |bytes| bytes[5000] ^= 1);
    server.start(1);
}

#[test]
fn an_epoch_is_given_up_when_it_is_older_than_what_is_kept() {
    let mut choices = Choices::new(132);
    let mut server = Shards::new(Retention { ms: 400, bytes: 0 });
    for shards in [2, 1] {
        server.start(shards);
        server.work(40, &mut choices);
        (0..server.rigs.len()).for_each(|index| server.checkpoint(index));
        server.work(20, &mut choices);
    }
    assert_eq!(server.tend(), EpochsKept { kept: 1, given_up: 0 });
    let changed_ms = server.now_ms;
    server.check_times(10, &mut choices);
    let first = *server.history.first_key_value().expect("it was at work").0;
    while server.now_ms < changed_ms + 300 {
        server.work(20, &mut choices);
        server.checkpoint(0);
    }
    assert_eq!(server.tend(), EpochsKept { kept: 1, given_up: 0 });
    server.now_ms = server.now_ms.max(changed_ms + 400);
    assert_eq!(server.tend(), EpochsKept { kept: 0, given_up: 1 });
    let error = server.at(first).expect_err("it was given up");
    assert!(matches!(error, CutError::TooEarly { .. }), "{error}");
    let paths = server.disk.paths();
    assert!(!paths.iter().any(|path| path.to_string_lossy().contains("epoch-0001/shard-000/")), "{paths:?}");
    // What is not older than that is there.
    let wanted_ms = server.now_ms - 400;
    server.history.retain(|time_ms, _| *time_ms >= wanted_ms);
    server.check_times(10, &mut choices);
}

#[test]
fn damage_in_a_former_epoch_is_told_and_refuses_going_back_into_it_only() {
    let mut choices = Choices::new(133);
    let mut server = Shards::new(FOREVER);
    for shards in [2, 1] {
        server.start(shards);
        server.work(60, &mut choices);
        (0..server.rigs.len()).for_each(|index| server.checkpoint(index));
        server.work(20, &mut choices);
        server.tend();
    }
    let directory = server.directory();
    let former = directory.before().expect("it is kept");
    let whole = server.disk.crash_copy(&mut EverythingSurvives);
    let mut used: Vec<PathBuf> = Vec::new();
    for shard in [ShardId(0), ShardId(1)] {
        let place = former.shard_directory(former.epoch(), shard);
        let entries = run_ready(server.disk.list_dir(&place)).expect("it is there");
        used.extend(entries.iter().map(|entry| place.join(&entry.name)));
    }
    let (mut told, mut refused) = (0, 0);
    for path in used.iter().filter(|path| !path.to_string_lossy().contains("spare")) {
        server.disk = whole.crash_copy(&mut EverythingSurvives);
        let before = server.disk.contents(path).expect("it is there");
        if before.len() <= 4300 || before[4200..4300].iter().all(|byte| *byte == 0) {
            continue;
        }
        server.disk.edit(path, |bytes| bytes[4250] ^= 1);
        let checks = run_ready(check_past_epochs(&server.disk, &directory));
        told += usize::from(checks.iter().any(|(_, it)| !it.faults.is_empty() || !it.images.is_empty()));
        for (time_ms, expected) in server.history.iter().step_by(9) {
            let found = run_ready(consistent_cut(&server.disk, &directory, Moment::Time(*time_ms)));
            let Ok(found) = found else {
                refused += 1;
                continue;
            };
            let mut all = Contents::new();
            let mut losses = 0;
            for (cut, reach) in found.cuts.iter().zip(&found.reaches) {
                let limit = SalvageOptions { until: cut.until, past: Some(reach.begins) };
                let limit = (cut.until < Lsn(u64::MAX)).then_some(limit);
                let (at, outcomes) = (&found.directory, &found.outcomes);
                match run_ready(load_shard(&server.disk, at, cut.shard, outcomes, limit, 3)) {
                    Ok((mut store, salvaged)) => {
                        losses += salvaged.losses.len();
                        all.extend(contents(&mut store));
                    }
                    Err(_) => losses += 1,
                }
            }
            if losses == 0 {
                assert_eq!(living(&all, *time_ms), living(expected, *time_ms), "at {time_ms}: {path:?}");
            }
            refused += usize::from(losses > 0);
        }
    }
    assert!(told > 1 && refused > 1, "{told} told, {refused} refused");
    server.disk = whole;
    server.check_times(5, &mut choices);
}

#[test]
fn a_crash_at_any_step_of_keeping_an_epoch_or_giving_it_up_leaves_a_directory_that_starts() {
    let mut choices = Choices::new(134);
    let mut server = Shards::new(FOREVER);
    for shards in [2, 1] {
        server.start(shards);
        server.work(30, &mut choices);
        (0..server.rigs.len()).for_each(|index| server.checkpoint(index));
    }
    let expected = server.contents();
    let mut crashes = 0;
    for retention in [FOREVER, Retention::default()] {
        server.retention = retention;
        let stepping = StepDisk(server.disk.clone());
        let directory = server.rigs[0].directory.clone();
        let mut task = Box::pin(tend_epochs(&stepping, &directory, server.wanted()));
        loop {
            let ended = poll_once(&mut task);
            let left = server.crash(&mut choices);
            let mut again =
                Rig::open(&left, 1, shard_options(0), server.now_ms).expect("a crash is no damage");
            assert_eq!(living(&contents(&mut again.store), server.now_ms), living(&expected, server.now_ms));
            crashes += 1;
            if let Some(ended) = ended {
                ended.expect("nothing fails");
                break;
            }
        }
    }
    assert!(crashes > 10, "{crashes}");
}

impl Shards {
    /// The disk as a crash now may leave it: names and what was not synced survive or do not.
    fn crash(&self, choices: &mut Choices) -> MemoryDisk {
        self.rigs[0].crash(choices)
    }
}

//! Transactions over several logs, and crashes at every step of them.
//!
//! Each operation writes its own number into keys. What recovery applies tells which operations it has kept, and a list of
//! what each was made from tells whether that is a consistent cut.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{RecoveryError, RecoveryOptions, recover_shard, survey_and_resolve};
use crate::disk::Disk;
use crate::disk::blocking::run_ready;
use crate::disk::memory::{EverythingSurvives, MemoryDisk, MemoryFile, NothingSurvives};
use crate::log::{prepare_segment, sync_segments};
use crate::manifest::{DataDirectory, close_logs};
use crate::testing::{Choices, new_disk, open_directory, small_options};
use crate::{
    DatabaseId, DeferredGroup, Durability, Effect, EffectSink, Expiry, Key, Log, LogOptions, LogWrite, Lsn,
    ShardId, Store, StoreOptions, TransactionId,
};

const SECOND: u64 = 1_000_000_000;
const KEYS: u16 = 9;
const DB: DatabaseId = DatabaseId(0);

struct NoLog;

impl EffectSink for NoLog {
    fn append(&mut self, _: Effect<'_>) -> Lsn {
        unreachable!("recovery makes no effects")
    }
    fn end_group(&mut self) {}
    fn begin_transaction(&mut self, _: TransactionId, _: &[ShardId]) -> Lsn {
        unreachable!("recovery makes no transactions")
    }
    fn append_depends(&mut self, _: &[TransactionId]) -> Lsn {
        unreachable!("recovery makes no transactions")
    }
}

fn name(key: u16) -> [u8; 2] {
    key.to_be_bytes()
}

/// Keys are spread over all slots, so over all shards.
const fn slot(key: u16) -> u16 {
    (key as u32 * 16384 / KEYS as u32) as u16
}

/// An operation: what it wrote, and the operations whose values it read or replaced.
#[derive(Clone, Debug, Default)]
struct Made {
    writes: BTreeSet<u16>,
    from: BTreeSet<u64>,
    /// By shard, the gates of its replies; all of them when it is complete.
    gates: Vec<(usize, Lsn)>,
    complete: bool,
}

/// A transaction under way: parts not yet done, by shard.
struct Running {
    number: u64,
    id: TransactionId,
    reads: BTreeSet<u16>,
    writes: BTreeSet<u16>,
    participants: Vec<ShardId>,
    /// What read parts were told that they depend on.
    depends: BTreeMap<ShardId, Vec<TransactionId>>,
    left: Vec<ShardId>,
    /// In several rounds: what its shards keep back, and how many rounds there will be.
    deferred: Option<(BTreeMap<ShardId, DeferredGroup>, u64)>,
}

struct Shard {
    store: Store<Log<MemoryFile>>,
    in_flight: Vec<LogWrite<MemoryFile>>,
}

/// All shards of a server on one disk.
struct Cluster {
    disk: MemoryDisk,
    directory: DataDirectory,
    options: LogOptions,
    shards: Vec<Shard>,
    now_ns: u64,
    mail: Vec<(ShardId, TransactionId, ShardId)>,
    made: BTreeMap<u64, Made>,
    /// Who wrote each key last.
    writers: BTreeMap<u16, u64>,
    locked: BTreeSet<u16>,
    running: Vec<Running>,
    next: u64,
    counter: u64,
    /// What recovery applied, by key.
    applied: BTreeMap<u16, Vec<u64>>,
}

impl Cluster {
    fn start(disk: &MemoryDisk, shards: u16, options: &LogOptions) -> Result<Cluster, RecoveryError> {
        let directory = open_directory(disk, shards);
        let outcomes = run_ready(survey_and_resolve(disk, &directory))?;
        let mut cluster = Cluster {
            disk: disk.clone(),
            directory: directory.clone(),
            options: options.clone(),
            shards: Vec::new(),
            now_ns: 1,
            mail: Vec::new(),
            made: BTreeMap::new(),
            writers: BTreeMap::new(),
            locked: BTreeSet::new(),
            running: Vec::new(),
            next: 1,
            counter: outcomes.greatest_transaction().counter() + 1,
            applied: BTreeMap::new(),
        };
        let mut closed = Vec::new();
        for shard in (0..shards).map(ShardId) {
            let mut store = Store::new(StoreOptions { databases: 16, hash_seed: 7 }, NoLog);
            let applied = &mut cluster.applied;
            let mut apply = |effect: &Effect<'_>, groups: &Range<u16>| {
                let Effect::Set { key, value, .. } = effect else { panic!("only values are written") };
                let key = u16::from_be_bytes((*key).try_into().expect("a key of ours"));
                let number = u64::from_le_bytes(value[..8].try_into().expect("a number"));
                applied.entry(key).or_default().push(number);
                store.apply(effect, groups);
            };
            let settings = RecoveryOptions { alignment: options.alignment };
            let recovered =
                run_ready(recover_shard(disk, &directory, shard, settings, &outcomes, &mut apply))?;
            closed.extend(recovered.report.closed);
            let log = Log::new(LogOptions { shard, ..options.clone() }, recovered.start);
            cluster.shards.push(Shard { store: store.with_sink(log), in_flight: Vec::new() });
        }
        run_ready(close_logs(disk, &directory, &closed)).expect("the ends are recorded");
        Ok(cluster)
    }

    fn owner(&self, key: u16) -> ShardId {
        let epoch = self.directory.epoch();
        let owns = |shard: &ShardId| epoch.groups(*shard).contains(&(slot(key) >> 6));
        (0..epoch.shards).map(ShardId).find(owns).expect("every slot has an owner")
    }

    fn store(&mut self, shard: ShardId) -> &mut Store<Log<MemoryFile>> {
        &mut self.shards[shard.index()].store
    }

    fn read(&mut self, number: u64, key: u16) {
        let shard = self.owner(key);
        let found = self.store(shard).get(DB, Key { bytes: &name(key), slot: slot(key) });
        let found =
            found.and_then(|entry| entry.string()?.first_chunk().map(|number| u64::from_le_bytes(*number)));
        assert_eq!(found, self.writers.get(&key).copied(), "key {key}");
        self.made.entry(number).or_default().from.extend(found);
    }

    fn write(&mut self, number: u64, key: u16, choices: &mut Choices) {
        let shard = self.owner(key);
        // Now and then a group of several frames.
        let bytes = if choices.below(8) == 0 { 3000 + choices.below(3000) } else { 8 };
        let mut value = number.to_le_bytes().to_vec();
        value.resize(bytes as usize, number as u8);
        self.store(shard).set(DB, Key { bytes: &name(key), slot: slot(key) }, &value, Expiry::None);
        let before = self.writers.insert(key, number);
        let made = self.made.entry(number).or_default();
        made.writes.insert(key);
        // What a round has written, a later one may write again.
        made.from.extend(before.filter(|before| *before != number));
    }

    /// Keys that nobody has locked.
    fn free_keys(&self, choices: &mut Choices, count: u64) -> BTreeSet<u16> {
        let keys = (0..count).map(|_| choices.below(u64::from(KEYS)) as u16);
        keys.filter(|key| !self.locked.contains(key)).collect()
    }

    /// A command of one shard.
    fn command(&mut self, choices: &mut Choices) {
        let keys = self.free_keys(choices, 3);
        let Some(&first) = keys.first() else { return };
        let shard = self.owner(first);
        let number = self.next;
        self.next += 1;
        self.store(shard).begin_command();
        let only_reads = choices.below(3) == 0;
        for key in keys.into_iter().filter(|key| self.owner(*key) == shard).collect::<Vec<_>>() {
            if only_reads || choices.below(2) == 0 {
                self.read(number, key);
            } else {
                self.write(number, key, choices);
            }
        }
        let gate = self.store(shard).end_command();
        let made = self.made.entry(number).or_default();
        made.gates.push((shard.index(), gate));
        made.complete = true;
    }

    /// A transaction takes its locks; reads without effect are done at once, as they tell who is a participant.
    fn begin(&mut self, choices: &mut Choices) {
        let (reads, mut writes) = (self.free_keys(choices, 3), self.free_keys(choices, 3));
        let rounds = if choices.below(3) == 0 { 1 + choices.below(3) } else { 0 };
        let number = self.next;
        self.next += 1;
        self.counter += 1;
        let id = TransactionId::new(self.counter, ShardId(0));
        self.made.insert(number, Made::default());
        let writing: BTreeSet<_> = writes.iter().map(|key| self.owner(*key)).collect();
        let mut participants: BTreeSet<_> = writing.clone();
        let mut depends = BTreeMap::new();
        self.locked.extend(reads.union(&writes));
        let deferred = (rounds > 0).then(|| {
            let all: BTreeSet<_> = reads.union(&writes).map(|key| self.owner(*key)).collect();
            (all.into_iter().map(|shard| (shard, DeferredGroup::default())).collect(), rounds)
        });
        if deferred.is_none() {
            let reading: BTreeSet<_> = reads.iter().map(|key| self.owner(*key)).collect();
            for shard in reading.difference(&writing) {
                self.store(*shard).begin_command();
                for key in reads.iter().filter(|key| self.owner(**key) == *shard).copied().collect::<Vec<_>>()
                {
                    self.read(number, key);
                }
                let needs_part = self.store(*shard).needs_part();
                let found = self.store(*shard).dependencies().to_vec();
                let gate = self.store(*shard).end_command();
                self.made.entry(number).or_default().gates.push((shard.index(), gate));
                if needs_part && !writing.is_empty() {
                    participants.insert(*shard);
                    depends.insert(*shard, found);
                }
            }
        } else {
            writes.extend(reads.iter().filter(|key| *key % 2 == 0));
        }
        let participants: Vec<_> = participants.into_iter().collect();
        let left = participants.clone();
        self.running.push(Running { number, id, reads, writes, participants, depends, left, deferred });
    }

    /// One of the transactions under way goes on by a part or a round on one shard.
    fn advance(&mut self, choices: &mut Choices) {
        if self.running.is_empty() {
            return;
        }
        let index = choices.below(self.running.len() as u64) as usize;
        let mut running = self.running.swap_remove(index);
        match running.deferred.take() {
            Some((mut groups, rounds)) if rounds > 0 => {
                self.round(&running, &mut groups, choices);
                if rounds == 1 {
                    let logging = groups.iter().filter(|(_, group)| group.needs_part());
                    running.participants = logging.map(|(shard, _)| *shard).collect();
                    running.left = running.participants.clone();
                    let made = self.made.entry(running.number).or_default();
                    made.gates.extend(groups.iter().map(|(shard, group)| (shard.index(), group.gate())));
                }
                running.deferred = Some((groups, rounds - 1));
            }
            deferred => {
                running.deferred = deferred;
                if !running.left.is_empty() {
                    let shard = running.left.swap_remove(choices.below(running.left.len() as u64) as usize);
                    self.part(&mut running, shard, choices);
                }
                if running.left.is_empty() {
                    for key in running.reads.union(&running.writes) {
                        self.locked.remove(key);
                    }
                    self.made.entry(running.number).or_default().complete = true;
                    return;
                }
            }
        }
        self.running.push(running);
    }

    /// A round on every shard of the transaction.
    fn round(
        &mut self,
        running: &Running,
        groups: &mut BTreeMap<ShardId, DeferredGroup>,
        choices: &mut Choices,
    ) {
        for (shard, group) in groups {
            self.store(*shard).resume_transaction(std::mem::take(group));
            for key in running.reads.union(&running.writes).copied().collect::<Vec<_>>() {
                if self.owner(key) == *shard {
                    self.store(*shard).next_command();
                    if running.writes.contains(&key) && choices.below(2) == 0 {
                        self.write(running.number, key, choices);
                    } else {
                        let from = self.made[&running.number].from.clone();
                        self.read(running.number, key);
                        // Its own value is no other operation's.
                        let made = self.made.entry(running.number).or_default();
                        made.from.remove(&running.number);
                        made.from.extend(from);
                    }
                }
            }
            *group = self.store(*shard).suspend_transaction();
        }
    }

    /// The part of a transaction in one log.
    fn part(&mut self, running: &mut Running, shard: ShardId, choices: &mut Choices) {
        let gate = if let Some((groups, _)) = &mut running.deferred {
            let group = groups.remove(&shard).expect("a shard commits once");
            self.store(shard).commit_deferred(group, running.id, &running.participants)
        } else {
            self.store(shard).begin_command();
            self.store(shard).begin_transaction(running.id, &running.participants);
            if let Some(on) = running.depends.get(&shard) {
                self.store(shard).add_dependencies(on);
            } else {
                let of_shard = |keys: &BTreeSet<u16>, all: &Cluster| {
                    keys.iter().copied().filter(|key| all.owner(*key) == shard).collect::<Vec<_>>()
                };
                for key in of_shard(&running.reads, self) {
                    self.read(running.number, key);
                }
                for key in of_shard(&running.writes, self) {
                    self.store(shard).next_command();
                    self.write(running.number, key, choices);
                }
            }
            self.store(shard).end_command()
        };
        self.made.entry(running.number).or_default().gates.push((shard.index(), gate));
    }

    /// Takes the writes that are due, prepares segments and posts what is to be told.
    fn poll(&mut self) {
        for index in 0..self.shards.len() {
            let (now_ns, disk) = (self.now_ns, self.disk.clone());
            let shard = &mut self.shards[index];
            loop {
                while let Some(request) = shard.store.sink_mut().need_segment(now_ns) {
                    let segment = run_ready(prepare_segment(&disk, request)).expect("the disk has room");
                    shard.store.sink_mut().add_segment(segment);
                }
                let Some(write) = shard.store.sink_mut().poll_write(now_ns) else { break };
                shard.in_flight.push(write);
            }
            if let Some(request) = shard.store.sink_mut().need_sync(now_ns) {
                let result = run_ready(sync_segments(&disk, request));
                shard.store.sink_mut().on_synced(result);
            }
            self.post(index);
        }
    }

    fn post(&mut self, index: usize) {
        let from = ShardId(index as u16);
        let store = &mut self.shards[index].store;
        for (id, others) in store.take_written() {
            self.mail.extend(others.into_iter().map(|to| (to, id, from)));
        }
        store.settle(store.sink().horizon());
    }

    fn deliver(&mut self, nth: usize) {
        let (to, id, from) = self.mail.swap_remove(nth);
        self.store(to).on_part_durable(id, from);
        self.post(to.index());
    }

    fn complete(&mut self, index: usize, nth: usize) {
        let disk = self.disk.clone();
        let shard = &mut self.shards[index];
        let LogWrite { id, file, offset, buffer, len, sync } = shard.in_flight.remove(nth);
        let (result, buffer) = run_ready(disk.write_at(&file, buffer, offset, len, sync));
        shard.store.sink_mut().on_written(id, result, buffer);
        self.post(index);
    }

    fn step(&mut self, choices: &mut Choices) {
        match choices.below(12) {
            0 | 1 => self.command(choices),
            2 => self.begin(choices),
            3..=5 => self.advance(choices),
            6 | 7 => self.poll(),
            8 | 9 => {
                let index = choices.below(self.shards.len() as u64) as usize;
                let writes = self.shards[index].in_flight.len() as u64;
                if writes > 0 {
                    self.complete(index, choices.below(writes) as usize);
                }
            }
            10 => {
                if !self.mail.is_empty() {
                    self.deliver(choices.below(self.mail.len() as u64) as usize);
                }
            }
            _ => {
                self.now_ns += choices.below(3) * SECOND;
                self.poll();
            }
        }
    }

    /// Ends what is under way and lets everything become durable and decided.
    fn settle(&mut self, choices: &mut Choices) {
        while !self.running.is_empty() {
            self.advance(choices);
        }
        for _ in 0..10 {
            self.now_ns += 3 * SECOND;
            self.poll();
            while let Some(index) = self.shards.iter().position(|shard| !shard.in_flight.is_empty()) {
                self.complete(index, 0);
                self.poll();
            }
            while !self.mail.is_empty() {
                self.deliver(0);
            }
        }
        for shard in &self.shards {
            let log = shard.store.sink();
            assert_eq!(log.undecided_count(), 0, "all is decided");
            // Without durability nobody syncs what is decided.
            assert!(log.durability() == Durability::None || log.horizon() == log.last_lsn());
        }
    }

    /// Operations whose replies may have left.
    fn acknowledged(&self) -> impl Iterator<Item = (&u64, &Made)> {
        let released = |(shard, gate): &(usize, Lsn)| *gate <= self.shards[*shard].store.sink().horizon();
        self.made.iter().filter(move |(_, made)| made.complete && made.gates.iter().all(released))
    }

    fn crash(&self, choices: &mut Choices, kind: u64) -> MemoryDisk {
        let copy = match kind {
            // The process alone dies.
            3 => self.disk.crash_copy(&mut EverythingSurvives),
            _ => self.disk.crash_copy(&mut NothingSurvives),
        };
        for shard in &self.shards {
            for write in &shard.in_flight {
                let all = choices.below(2) == 0;
                let mut survives = |index: usize| match kind {
                    0 => false,
                    1 => all,
                    _ => all || index % 3 != 1,
                };
                let path = copy.paths().into_iter().find(|path| self.disk.is_file(path, write.file));
                let path = path.expect("a file in use has a name");
                copy.write_sectors(&path, write.offset, &write.buffer[..write.len], &mut survives);
            }
        }
        copy
    }

    /// The server after a crash; asserts that what it has is right, and takes over what that was made from.
    fn after(&self, disk: &MemoryDisk, shards: u16) -> Cluster {
        let mut again = Cluster::start(disk, shards, &self.options).expect("a crash is no damage");
        let mut kept: BTreeMap<u64, BTreeSet<u16>> = BTreeMap::new();
        for (key, numbers) in &again.applied {
            assert!(numbers.is_sorted(), "key {key} goes back in time: {numbers:?}");
            for number in numbers {
                let made = self.made.get(number);
                assert!(made.is_some_and(|made| made.writes.contains(key)), "operation {number} is back");
                kept.entry(*number).or_default().insert(*key);
            }
            again.writers.insert(*key, *numbers.last().expect("an entry has a number"));
        }
        for (number, keys) in &kept {
            let made = &self.made[number];
            assert!(
                made.complete && *keys == made.writes,
                "a part of operation {number}: {keys:?} of {made:?}"
            );
            let lost = made.from.iter().find(|from| !kept.contains_key(from));
            assert_eq!(lost, None, "operation {number} was made from one that is gone: {made:?}");
        }
        for (number, made) in self.acknowledged() {
            let gone = !made.writes.is_empty() && !kept.contains_key(number);
            assert!(!gone, "operation {number} was acknowledged and is gone: {made:?}");
            let lost = made.from.iter().find(|from| !kept.contains_key(from));
            assert_eq!(lost, None, "operation {number} has told of one that is gone: {made:?}");
        }
        for number in kept.into_keys() {
            again.made.insert(number, Made { gates: Vec::new(), ..self.made[&number].clone() });
        }
        again.next = self.next;
        again
    }
}

fn crash_everywhere(options: &LogOptions, seed: u64, steps: usize) {
    let mut choices = Choices::new(seed);
    let mut cluster = Cluster::start(&new_disk(), 3, options).expect("a new directory");
    for _ in 0..3 {
        for step in 0..steps {
            cluster.step(&mut choices);
            if step % 3 != 0 {
                continue;
            }
            let kind = choices.below(4);
            let disk = cluster.crash(&mut choices, kind);
            let shards = [3, 3, 2, 1][choices.below(4) as usize];
            let mut again = cluster.after(&disk, shards);
            // A second start decides as the first one did, and what follows is not confused by what was dropped.
            if step % 9 == 0 {
                for _ in 0..choices.below(12) {
                    again.step(&mut choices);
                }
                let disk = again.crash(&mut choices, kind);
                let mut last = again.after(&disk, [3, 2][choices.below(2) as usize]);
                last.settle(&mut choices);
                last.after(&last.crash(&mut choices, 0), 3);
            }
        }
        let kind = choices.below(4);
        let disk = cluster.crash(&mut choices, kind);
        let shards = 2 + choices.below(2) as u16;
        cluster = cluster.after(&disk, shards);
    }
}

#[test]
fn a_crash_at_any_step_leaves_a_consistent_cut() {
    for seed in 1..=4 {
        crash_everywhere(&small_options(), seed, 300);
    }
}

#[test]
fn a_crash_at_any_step_of_everysec_leaves_a_consistent_cut() {
    let options = LogOptions { durability: Durability::EverySec, ..small_options() };
    for seed in 11..=12 {
        crash_everywhere(&options, seed, 300);
    }
}

#[test]
fn a_crash_at_any_step_without_durability_leaves_a_consistent_cut() {
    let options = LogOptions { durability: Durability::None, ..small_options() };
    for seed in 21..=22 {
        crash_everywhere(&options, seed, 300);
    }
}

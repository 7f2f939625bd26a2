//! A log on a memory disk with hands to steer it by: what the tests of the log and of recovery share.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::disk::blocking::run_ready;
use crate::disk::memory::{MemoryDisk, MemoryFile};
use crate::disk::{Disk, WriteSync};
use crate::log::{LogIdentity, prepare_segment};
use crate::manifest::{DataDirectory, DirectoryOptions, open_data_directory};
use crate::recovery::{RecoveryError, RecoveryOptions, RecoveryReport, recover_shard, survey_and_resolve};
use crate::value::{Change, SetChange};
use crate::{DatabaseId, Effect, EffectSink, Log, LogOptions, LogWrite, Lsn, ShardId};

pub(crate) const DIRECTORY: &str = "/data";

/// Small enough that a few dozen writes meet every border there is.
pub(crate) fn small_options() -> LogOptions {
    LogOptions {
        segment_bytes: 32 << 10,
        frame_bytes_max: 4096,
        alignment: 512,
        in_flight_max: 3,
        ..LogOptions::default()
    }
}

/// A small reproducible source of choices.
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// An effect that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OwnedEffect {
    Set {
        database: u16,
        slot: u16,
        key: Vec<u8>,
        value: Vec<u8>,
        expire_at_ms: Option<u64>,
    },
    SetRange {
        database: u16,
        slot: u16,
        key: Vec<u8>,
        offset: u64,
        bytes: Vec<u8>,
    },
    Delete {
        database: u16,
        slot: u16,
        key: Vec<u8>,
    },
    Expire {
        database: u16,
        slot: u16,
        key: Vec<u8>,
        expire_at_ms: Option<u64>,
    },
    /// With the member of a set: one kind of change stands for all.
    Add {
        database: u16,
        slot: u16,
        key: Vec<u8>,
        member: Vec<u8>,
    },
    Flush {
        database: u16,
    },
    Swap {
        a: u16,
        b: u16,
    },
    Library {
        name: Vec<u8>,
        body: Option<Vec<u8>>,
    },
    FlushLibraries,
}

impl OwnedEffect {
    pub(crate) fn set(slot: u16, key: &[u8], value: &[u8]) -> Self {
        Self::Set { database: 0, slot, key: key.to_vec(), value: value.to_vec(), expire_at_ms: None }
    }

    pub(crate) fn borrow(&self) -> Effect<'_> {
        match self {
            Self::Set { database, slot, key, value, expire_at_ms } => Effect::Set {
                database: DatabaseId(*database),
                slot: *slot,
                key,
                value,
                expire_at_ms: *expire_at_ms,
            },
            Self::SetRange { database, slot, key, offset, bytes } => {
                Effect::SetRange { database: DatabaseId(*database), slot: *slot, key, offset: *offset, bytes }
            }
            Self::Delete { database, slot, key } => {
                Effect::Delete { database: DatabaseId(*database), slot: *slot, key }
            }
            Self::Expire { database, slot, key, expire_at_ms } => Effect::Expire {
                database: DatabaseId(*database),
                slot: *slot,
                key,
                expire_at_ms: *expire_at_ms,
            },
            Self::Add { database, slot, key, member } => Effect::Change {
                database: DatabaseId(*database),
                slot: *slot,
                key,
                change: SetChange::Add { member }.into(),
            },
            Self::Flush { database } => Effect::FlushDatabase { database: DatabaseId(*database) },
            Self::Swap { a, b } => Effect::SwapDatabases { a: DatabaseId(*a), b: DatabaseId(*b) },
            Self::Library { name, body } => Effect::Library { name, body: body.as_deref() },
            Self::FlushLibraries => Effect::FlushLibraries,
        }
    }

    pub(crate) fn of(effect: &Effect<'_>) -> Self {
        match *effect {
            Effect::Set { database, slot, key, value, expire_at_ms } => Self::Set {
                database: database.0,
                slot,
                key: key.to_vec(),
                value: value.to_vec(),
                expire_at_ms,
            },
            Effect::SetRange { database, slot, key, offset, bytes } => Self::SetRange {
                database: database.0,
                slot,
                key: key.to_vec(),
                offset,
                bytes: bytes.to_vec(),
            },
            Effect::Delete { database, slot, key } => {
                Self::Delete { database: database.0, slot, key: key.to_vec() }
            }
            Effect::Expire { database, slot, key, expire_at_ms } => {
                Self::Expire { database: database.0, slot, key: key.to_vec(), expire_at_ms }
            }
            Effect::Change { database, slot, key, change: Change::Set(SetChange::Add { member }) } => {
                Self::Add { database: database.0, slot, key: key.to_vec(), member: member.to_vec() }
            }
            Effect::Change { change, .. } => panic!("no test of the log makes {change:?}"),
            Effect::FlushDatabase { database } => Self::Flush { database: database.0 },
            Effect::SwapDatabases { a, b } => Self::Swap { a: a.0, b: b.0 },
            Effect::Library { name, body } => {
                Self::Library { name: name.to_vec(), body: body.map(<[u8]>::to_vec) }
            }
            Effect::FlushLibraries => Self::FlushLibraries,
        }
    }
}

/// The effects of a group, and the number of the last.
pub(crate) type Group = (Lsn, Vec<OwnedEffect>);

/// A shard's log at work on a memory disk.
pub(crate) struct Bench {
    pub(crate) disk: MemoryDisk,
    pub(crate) directory: DataDirectory,
    pub(crate) log: Log<MemoryFile>,
    pub(crate) in_flight: Vec<LogWrite<MemoryFile>>,
    pub(crate) now_ns: u64,
    /// What this life has appended, and those before it that were recovered.
    pub(crate) groups: Vec<Group>,
    pub(crate) report: RecoveryReport,
}

pub(crate) fn new_disk() -> MemoryDisk {
    MemoryDisk::new()
}

pub(crate) fn open_directory(disk: &MemoryDisk, shards: u16) -> DataDirectory {
    let options = DirectoryOptions { shards, databases: 16, identity: 0x1122_3344_5566_7788 };
    // The lock is given back at once: one test, one server.
    run_ready(open_data_directory(disk, Path::new(DIRECTORY), options)).expect("the directory opens").0
}

/// What recovery applied.
pub(crate) type Applied = Vec<(OwnedEffect, Range<u16>)>;

impl Bench {
    pub(crate) fn open(disk: &MemoryDisk, options: LogOptions) -> Self {
        let (bench, applied) = Self::recover(disk, 1, options).expect("the log recovers");
        assert!(applied.is_empty(), "the log was new");
        bench
    }

    /// Starts a server of so many shards; this is the shard that the options name.
    pub(crate) fn recover(
        disk: &MemoryDisk,
        shards: u16,
        options: LogOptions,
    ) -> Result<(Self, Applied), RecoveryError> {
        Self::recover_in(disk, open_directory(disk, shards), options)
    }

    pub(crate) fn recover_in(
        disk: &MemoryDisk,
        directory: DataDirectory,
        options: LogOptions,
    ) -> Result<(Self, Applied), RecoveryError> {
        let mut applied = Vec::new();
        let mut apply = |effect: &Effect<'_>, groups: &Range<u16>| {
            applied.push((OwnedEffect::of(effect), groups.clone()));
        };
        let settings = RecoveryOptions { alignment: options.alignment };
        let outcomes = run_ready(survey_and_resolve(disk, &directory))?;
        let recovery = recover_shard(disk, &directory, options.shard, settings, &outcomes, &mut apply);
        let recovered = run_ready(recovery)?;
        let bench = Self {
            disk: disk.clone(),
            directory,
            log: Log::new(options, recovered.start),
            in_flight: Vec::new(),
            now_ns: 1,
            groups: Vec::new(),
            report: recovered.report,
        };
        Ok((bench, applied))
    }

    /// Recovers with what was to be there; keeps the groups that are.
    pub(crate) fn recover_prefix(
        disk: &MemoryDisk,
        options: LogOptions,
        history: &[Group],
        acknowledged: Lsn,
    ) -> Self {
        let (mut bench, applied) = Self::recover(disk, 1, options).expect("a crash is no damage");
        let mut applied = applied.into_iter().map(|(effect, _)| effect);
        for (last_lsn, effects) in history {
            let found: Vec<_> = applied.by_ref().take(effects.len()).collect();
            if found.is_empty() {
                assert!(*last_lsn > acknowledged, "group to LSN {last_lsn} was acknowledged, and is lost");
                break;
            }
            assert!(found == *effects, "the group to LSN {last_lsn} is not what was written");
            bench.groups.push((*last_lsn, found));
        }
        assert_eq!(applied.next(), None, "an effect that doesn't follow");
        bench
    }

    pub(crate) fn append(&mut self, effects: &[OwnedEffect]) -> Lsn {
        let mut lsn = self.log.last_lsn();
        for effect in effects {
            lsn = self.log.append(effect.borrow());
        }
        self.log.end_group();
        self.groups.push((lsn, effects.to_vec()));
        lsn
    }

    pub(crate) fn append_set(&mut self, key: &[u8], value: &[u8]) -> Lsn {
        self.append(&[OwnedEffect::set(0, key, value)])
    }

    /// Takes every write that is due, without doing it, and prepares segments.
    pub(crate) fn poll(&mut self) {
        loop {
            self.prepare();
            let Some(write) = self.log.poll_write(self.now_ns) else { break };
            self.in_flight.push(write);
        }
    }

    pub(crate) fn prepare(&mut self) {
        while let Some(request) = self.log.need_segment(self.now_ns) {
            match run_ready(prepare_segment(&self.disk, request)) {
                Ok(segment) => self.log.add_segment(segment),
                Err(error) => self.log.segment_failed(&error),
            }
        }
    }

    /// Does one of the writes in flight.
    pub(crate) fn complete(&mut self, index: usize) {
        let write = self.in_flight.remove(index);
        let LogWrite { id, file, offset, buffer, len, sync } = write;
        let (result, buffer) = run_ready(self.disk.write_at(&file, buffer, offset, len, sync));
        self.log.on_written(id, result, buffer);
    }

    /// Writes until nothing is due any more.
    pub(crate) fn settle(&mut self) {
        self.poll();
        while !self.in_flight.is_empty() {
            self.complete(0);
            self.poll();
        }
    }

    /// Lets time pass and settles.
    pub(crate) fn pass(&mut self, ns: u64) {
        self.now_ns += ns;
        self.settle();
    }

    pub(crate) fn identity(&self) -> LogIdentity {
        self.log.identity()
    }

    pub(crate) fn segment_path(&self, number: u64) -> std::path::PathBuf {
        let shard = self.identity().shard;
        let directory = self.directory.shard_directory(self.directory.epoch(), shard);
        directory.join(crate::log::SegmentId(number).file_name())
    }

    /// A copy of the disk after a crash now: what was not durable is lost, and of each write in flight there are
    /// the sectors that `survives` picks.
    pub(crate) fn crash(&self, mut survives: impl FnMut(usize) -> bool) -> MemoryDisk {
        let copy = self.disk.crash_copy(&mut crate::disk::memory::NothingSurvives);
        for write in &self.in_flight {
            let path = self.path_of(write.file);
            copy.write_sectors(&path, write.offset, &write.buffer[..write.len], &mut survives);
        }
        copy
    }

    fn path_of(&self, file: MemoryFile) -> std::path::PathBuf {
        let found = self.disk.paths().into_iter().find(|path| self.disk.is_file(path, file));
        found.expect("a file in use has a name")
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.in_flight.iter().all(|write| write.sync == WriteSync::DataSync)
    }
}

/// The keyspace at its most obvious: what the effects of several shards lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) keys: BTreeMap<(u16, Vec<u8>), (u16, Vec<u8>)>,
}

impl Model {
    pub(crate) fn apply(&mut self, effect: &OwnedEffect, groups: &Range<u16>) {
        match effect {
            OwnedEffect::Set { database, slot, key, value, .. } => {
                self.keys.insert((*database, key.clone()), (*slot, value.clone()));
            }
            OwnedEffect::Delete { database, key, .. } => {
                self.keys.remove(&(*database, key.clone()));
            }
            OwnedEffect::Flush { database } => {
                self.keys.retain(|(of, _), (slot, _)| of != database || !groups.contains(&(*slot >> 6)));
            }
            OwnedEffect::Swap { a, b } => {
                let swapped = std::mem::take(&mut self.keys).into_iter().map(|((of, key), value)| {
                    let other = if of == *a { *b } else { *a };
                    let moves = (of == *a || of == *b) && groups.contains(&(value.0 >> 6));
                    ((if moves { other } else { of }, key), value)
                });
                self.keys = swapped.collect();
            }
            OwnedEffect::SetRange { .. }
            | OwnedEffect::Expire { .. }
            | OwnedEffect::Add { .. }
            | OwnedEffect::Library { .. }
            | OwnedEffect::FlushLibraries => {}
        }
    }
}

pub(crate) fn shard_options(shard: u16) -> LogOptions {
    LogOptions { shard: ShardId(shard), ..small_options() }
}

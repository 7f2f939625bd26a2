//! A data directory as servers leave it, and what is in it.

use std::fmt::Write as _;

use annulus_storage::Durability;
use annulus_storage::disk::memory::MemoryDisk;
use annulus_tests::damage::workload::{self, Contents};
use annulus_tests::random::Random;
use annulus_tests::resp::Value;
use annulus_tests::sim::host::{Caller, Host};
use annulus_tests::sim::server::Configuration;

use super::copy_of;

/// So small that a directory has many.
const SEGMENT_BYTES: u64 = 64 << 10;
const RETENTION_SECONDS: u64 = 1_000_000;

pub(super) struct Original {
    disk: MemoryDisk,
    pub(super) contents: Contents,
    pub(super) shards: u16,
    /// The last life ended with a clean stop.
    pub(super) is_sealed: bool,
    retention_seconds: u64,
    /// How it was made.
    pub(super) name: String,
}

impl Original {
    /// By servers, one after the other.
    pub(super) fn make(random: &mut Random) -> Self {
        let retention_seconds = if random.one_in(2) { RETENTION_SECONDS } else { 0 };
        let mut original = Original {
            disk: MemoryDisk::new(),
            contents: Contents::new(),
            shards: 1 + random.below(3) as u16,
            is_sealed: false,
            retention_seconds,
            name: String::from(if retention_seconds > 0 { "retained, lives of" } else { "lives of" }),
        };
        for life in 0..=random.below(3) {
            if life > 0 && random.one_in(3) {
                original.shards = 1 + random.below(3) as u16;
            }
            original.live(random);
        }
        original
    }

    fn live(&mut self, random: &mut Random) {
        let mut host = self.host(&self.disk, self.shards).expect("a healthy directory is not refused");
        let (saves, commands) = (random.below(4), 100 + random.below(500));
        let save_at: Vec<usize> = (0..saves).map(|_| random.below(commands)).collect();
        let mut caller = host.connect();
        let mut done = 0;
        while done < commands {
            let some = (1 + random.below(30)).min(commands - done);
            let pipeline: Vec<_> = (0..some).flat_map(|_| workload::next(random)).collect();
            for (command, reply) in pipeline.iter().zip(caller.pipeline(&pipeline).expect("it is healthy")) {
                assert!(workload::is_allowed(&reply), "{reply} to {}", command[0].escape_ascii());
            }
            if save_at.iter().any(|at| (done..done + some).contains(at)) {
                assert_eq!(caller.pipeline(&[vec![b"SAVE".to_vec()]]).expect("it is healthy"), [Value::ok()]);
            }
            done += some;
        }
        self.contents = read(&mut caller).expect("it is healthy");
        caller.pipeline(&[vec![b"SELECT".to_vec(), b"0".to_vec()]]).expect("it is healthy");
        for words in workload::last_words() {
            assert_eq!(caller.pipeline(&[words]).expect("it is healthy"), [Value::ok()]);
        }
        drop(caller);
        self.is_sealed = random.one_in(2);
        self.disk = if self.is_sealed { host.stop() } else { host.kill() };
        let end = if self.is_sealed { "stopped" } else { "killed" };
        let _ = write!(self.name, " [{} shards, {commands} commands, {saves} saves, {end}]", self.shards);
    }

    /// Log is kept from the beginning on, for going back in time.
    pub(super) fn is_retained(&self) -> bool {
        self.retention_seconds > 0
    }

    /// A disk of its own with the directory.
    pub(super) fn disk(&self) -> MemoryDisk {
        copy_of(&self.disk)
    }

    /// A server on a disk, which may be refused.
    pub(super) fn host(&self, disk: &MemoryDisk, shards: u16) -> Result<Host, String> {
        let configuration = Configuration {
            durability: Durability::Always,
            segment_bytes: SEGMENT_BYTES,
            retention_seconds: self.retention_seconds,
            ..Host::configuration(shards)
        };
        Host::start_with(disk.clone(), configuration).map_err(|failure| failure.to_string())
    }

    /// What a server has, if all of it is as it was.
    pub(super) fn judge_contents(&self, host: &mut Host) -> Result<(), String> {
        let mut caller = host.connect();
        let found = read(&mut caller)?;
        if let Some(difference) = workload::difference(&self.contents, &found) {
            return Err(difference);
        }
        workload::check_last_words(&mut |commands| caller.pipeline(commands))
    }
}

/// All that a server has.
pub(super) fn read(caller: &mut Caller<'_>) -> Result<Contents, String> {
    workload::contents(&mut |commands| caller.pipeline(commands))
}

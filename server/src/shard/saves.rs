//! What the shards tell each other about their checkpoints: how many are asked for or under way, and when they were last complete.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// See the module's documentation.
#[derive(Debug)]
pub struct Saves {
    /// Requests that no checkpoint has answered yet, of all shards.
    pending: AtomicU32,
    /// When each shard's last checkpoint was complete, Unix seconds; at first the start of the server.
    completed: Box<[AtomicU64]>,
    /// Shards that have a checkpoint of this epoch.
    having: AtomicU32,
    /// Epochs before this one that are there, needed or kept for going back in time.
    older_epochs: AtomicU32,
    /// Somebody keeps some of them, or gives them up.
    tending: AtomicBool,
    /// Steps that checkpoints have taken.
    progress: AtomicU64,
}

impl Saves {
    pub(super) fn new(shards: u16, started_seconds: u64) -> Self {
        Saves {
            pending: AtomicU32::new(0),
            completed: (0..shards).map(|_| AtomicU64::new(started_seconds)).collect(),
            having: AtomicU32::new(0),
            older_epochs: AtomicU32::new(0),
            tending: AtomicBool::new(false),
            progress: AtomicU64::new(0),
        }
    }

    /// So many checkpoints are asked for.
    pub fn begin(&self, count: u32) {
        self.pending.fetch_add(count, Ordering::AcqRel);
    }

    /// A shard has answered so many, with a checkpoint that was complete at this second, or with none.
    pub fn end(&self, shard: annulus_storage::ShardId, count: u32, completed_seconds: Option<u64>) {
        if let Some(seconds) = completed_seconds {
            self.completed[shard.index()].store(seconds, Ordering::Release);
        }
        let before = self.pending.fetch_sub(count, Ordering::AcqRel);
        assert!(before >= count, "shard {shard}: {count} checkpoints ended of {before}");
    }

    /// Whether any shard has one to take, or is taking one.
    pub fn any(&self) -> bool {
        self.pending.load(Ordering::Acquire) > 0
    }

    /// A checkpoint gets on.
    pub fn note_progress(&self) {
        self.progress.fetch_add(1, Ordering::AcqRel);
    }

    /// A number that changes when any checkpoint gets on.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Acquire)
    }

    /// Since when, Unix seconds, everything before is in checkpoints.
    pub fn last_seconds(&self) -> u64 {
        self.completed.iter().map(|seconds| seconds.load(Ordering::Acquire)).min().unwrap_or_default()
    }

    /// A shard has its first checkpoint of this epoch.
    pub fn note_first(&self) {
        self.having.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether all shards have one.
    pub fn have_all(&self, shards: u16) -> bool {
        self.having.load(Ordering::Acquire) >= u32::from(shards)
    }

    /// There are so many epochs before this one.
    pub fn set_older_epochs(&self, count: usize) {
        self.older_epochs.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Release);
    }

    /// How many there are.
    pub fn older_epochs(&self) -> u32 {
        self.older_epochs.load(Ordering::Acquire)
    }

    /// Whether whoever asks may change what becomes of them: one at a time.
    pub fn begin_tending(&self) -> bool {
        !self.tending.swap(true, Ordering::AcqRel)
    }

    /// That is done.
    pub fn end_tending(&self) {
        self.tending.store(false, Ordering::Release);
    }
}

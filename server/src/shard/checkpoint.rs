//! Checkpoints of this shard: when one begins, and its way through the steps.
//!
//! ```text
//! resting ─► walking ─► settling ─► publishing ─► fencing ─► recycling ─► resting
//! ```
//! - *walking*: each turn takes a slice, as long as the writing task has buffers to spare;
//! - *settling*: the file is whole, and waits until the log says on disk that it is durable up to what may be in it;
//! - *publishing*: the file gets its name. From here on the checkpoint counts;
//! - *fencing*: every peer is asked to say on its disk that it needs no log of ours to decide its transactions;
//! - *recycling*: segments that hold nothing but what the checkpoint has become spares, or are kept for going back in time.
//!
//! A file that is whole while the log finds no space is removed again, in a step of its own.
//!
//! Shards take checkpoints each for themselves. What a crash leaves at each step is told in `docs/checkpoints.md`.

mod retention;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use annulus_storage::checkpoint::Retention;
use annulus_storage::checkpoint::limits::BLOCK_BYTES_MAX;
use annulus_storage::checkpoint::{
    CheckpointRequest, Imaging, Progress, WalkOptions, publish_checkpoint, remove_unfinished,
    write_checkpoint,
};
use annulus_storage::manifest::{EpochsKept, EpochsWanted, tend_epochs};
use annulus_storage::{DataDirectory, Lsn, RecoveryReport, ShardId};

use self::retention::Retaining;
use super::Core;
use super::batch::Message;
use super::limits::{
    CHECKPOINT_BACKLOG_BYTES, CHECKPOINT_PACE_NS, CHECKPOINT_RETRY_NS, CHECKPOINT_YIELD,
    CHECKPOINT_YIELD_LATE, CHECKPOINT_YIELD_MOST,
};
use super::transactions::Signal;
use crate::admin::info::CheckpointCounters;
use crate::runtime::{Executor, RuntimeDisk};

/// How fast the log is written.
#[derive(Clone, Copy, Debug, Default)]
struct LogRate {
    at_ns: u64,
    bytes: u64,
    /// Bytes a second.
    rate: u64,
}

impl LogRate {
    /// Bytes a second, over the last [`CHECKPOINT_PACE_NS`] or somewhat more; 0 until it was looked at twice. `bytes`: of the log so far.
    fn sample(&mut self, now_ns: u64, bytes: u64) -> u64 {
        let passed_ns = now_ns.saturating_sub(self.at_ns);
        if passed_ns >= CHECKPOINT_PACE_NS {
            let grown = u128::from(bytes.saturating_sub(self.bytes));
            let rate = if self.at_ns == 0 { 0 } else { grown * 1_000_000_000 / u128::from(passed_ns) };
            *self = LogRate { at_ns: now_ns, bytes, rate: u64::try_from(rate).unwrap_or(u64::MAX) };
        }
        self.rate
    }
}

/// Why SAVE answers with an error.
const FAILED: &[u8] = b"-ERR the checkpoint could not be written, see the server's log\r\n";

/// What a task has done, for the shard to pick up.
type Inbox = Rc<RefCell<Option<io::Result<u64>>>>;

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Resting,
    Walking {
        imaging: Imaging,
        request: CheckpointRequest,
    },
    Settling {
        request: CheckpointRequest,
        to: Lsn,
        /// Bytes of the file, when it is whole.
        written: Option<u64>,
    },
    Publishing {
        from: Lsn,
        to: Lsn,
        bytes: u64,
    },
    Fencing {
        from: Lsn,
        missing: u16,
        /// No peer has said that its log never will.
        is_free: bool,
    },
    Recycling,
    /// The file of one that was given up for want of space is removed.
    Clearing,
}

/// Who waits for a checkpoint.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    shard: ShardId,
    operation: u32,
    part: u32,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    stage: Stage,
    inbox: Inbox,
    /// The data directory; without one (in tests) there are no checkpoints.
    directory: Option<DataDirectory>,
    /// The number of the newest that a start would go on from; 0 if there is none.
    newest: u64,
    /// The greatest number that any has, damaged ones among them: none is given twice.
    number_max: u64,
    /// The start had to do without a damaged one: another one is due, since until then there's nothing to spare.
    is_overdue: bool,
    /// One was asked for; it begins when the one under way has ended.
    wanted: bool,
    /// How many requests `Shared` counts for the one under way, and for the next one.
    counted: u32,
    counted_next: u32,
    /// Whom the one under way will answer, and whom the next one.
    waiting: Vec<Waiter>,
    waiting_next: Vec<Waiter>,
    began_ns: u64,
    /// When the newest was complete; at first, when this life began.
    completed_ns: u64,
    /// What the log had written, by `log_growth`, when the newest began, and what was so before the one under way.
    base_bytes: u64,
    base_before: u64,
    /// What recovery found in the log, which counts as written.
    recovered_bytes: u64,
    retry_at_ns: u64,
    retaining: Retaining,
    log_rate: LogRate,
    /// Peers that wait for our log to claim something.
    owed: Vec<(ShardId, Lsn)>,
    counters: CheckpointCounters,
}

impl Checkpoints {
    /// The data directory, if there is one.
    pub(super) const fn directory(&self) -> Option<&DataDirectory> {
        self.directory.as_ref()
    }
}

impl Checkpoints {
    /// Whether there can be any.
    pub(super) const fn has_directory(&self) -> bool {
        self.directory.is_some()
    }

    /// The identity of the directory, and how often a server was started on it.
    pub(super) fn directory_name(&self) -> (u64, u32) {
        self.directory.as_ref().map_or((0, 0), |directory| (directory.identity, directory.incarnation))
    }

    /// A shard needs what is retained of former epochs, which is nothing that a backup has, until it has a checkpoint.
    pub(super) fn may_need_past(&self, has_all: bool) -> bool {
        let has_only_past = |it: &DataDirectory| it.epochs.len() == 1 && !it.past.is_empty();
        !has_all && self.directory.as_ref().is_some_and(has_only_past)
    }

    /// A backup begins with the newest checkpoint. Returns its number, 0 if there is none.
    pub(super) fn hold(&mut self, backup: u64) -> u64 {
        self.retaining.hold(backup, self.newest);
        self.newest
    }

    /// The last backup and the checkpoint that it begins with.
    pub(super) const fn held(&self) -> Option<(u64, u64)> {
        self.retaining.held()
    }
}

impl Core {
    /// What recovery has found, for those to come.
    pub fn adopt_checkpoints(&mut self, directory: DataDirectory, report: &RecoveryReport) {
        let image_bytes = report.image.as_ref().map_or(0, |image| image.bytes);
        let checkpoints = &mut self.checkpoints;
        checkpoints.recovered_bytes = report.bytes - image_bytes;
        checkpoints.counters.records_loaded = report.image.as_ref().map_or(0, |image| image.records);
        checkpoints.counters.bytes = image_bytes;
        checkpoints.counters.lsn = report.image.as_ref().map_or(0, |image| image.to.0);
        checkpoints.completed_ns = self.time.monotonic_ns;
        if let Some(image) = &report.image {
            checkpoints.newest = image.number;
            self.shared.saves.note_first();
        }
        checkpoints.number_max = report.checkpoint_number_max.max(checkpoints.newest);
        checkpoints.is_overdue =
            !report.unused.is_empty() || report.segments_taken_back > 0 || report.takes_past_epochs;
        checkpoints.counters.start_damaged = report.unused.len() as u64;
        checkpoints.counters.start_taken_back = report.segments_taken_back;
        self.shared.saves.set_older_epochs(directory.epochs.len() - 1 + directory.past.len());
        if report.retained || self.settings.log_retention.seconds > 0 {
            checkpoints.retaining.look();
        }
        checkpoints.directory = Some(directory);
        self.scrubs.begin_life(self.time.monotonic_ns);
    }

    /// Somebody wants a checkpoint that has all there is now; `Shared` has counted it.
    pub(super) fn want_checkpoint(&mut self) {
        self.checkpoints.wanted = true;
        self.checkpoints.counted_next += 1;
    }

    /// As [`Self::want_checkpoint`], and a part of an operation is to be answered.
    pub(super) fn on_save(&mut self, shard: ShardId, operation: u32, part: u32) {
        self.want_checkpoint();
        self.checkpoints.waiting_next.push(Waiter { shard, operation, part });
    }

    /// A peer asks that our log claim on disk what it holds by now.
    pub(super) fn on_fence(&mut self, from: ShardId) {
        let target = self.store.sink_mut().fence();
        self.checkpoints.owed.push((from, target));
    }

    /// A peer's log has claimed what it was asked to, or never will.
    pub(super) fn on_fenced(&mut self, is_claimed: bool) {
        if let Stage::Fencing { missing, is_free, .. } = &mut self.checkpoints.stage {
            *missing -= 1;
            *is_free &= is_claimed;
        }
    }

    /// Takes the steps that can be taken now. Between commands. Returns whether there is more to do at once.
    pub(super) fn advance_checkpoint(&mut self, executor: &mut Executor, disk: &RuntimeDisk) -> bool {
        if !self.checkpoints.owed.is_empty() {
            self.answer_fences();
        }
        if matches!(self.checkpoints.stage, Stage::Resting) && !self.is_checkpoint_due() {
            if self.checkpoints.retaining.is_unknown() {
                self.look_at_retained(executor, disk);
            }
            return false;
        }
        self.step_checkpoint(executor, disk)
    }

    /// Whether one was asked for, or is on its way to its name.
    pub(super) fn is_saving(&self) -> bool {
        let rests =
            matches!(self.checkpoints.stage, Stage::Resting | Stage::Fencing { .. } | Stage::Recycling);
        self.checkpoints.wanted || !rests
    }

    fn answer_fences(&mut self) {
        let (claimed, failed) = (self.store.sink().claimed(), self.log_failed);
        let (links, owed) = (&mut self.links, &mut self.checkpoints.owed);
        owed.retain(|(shard, target)| {
            let is_claimed = *target <= claimed;
            if is_claimed || failed {
                links.send(*shard, Message::Fenced { is_claimed });
            }
            !is_claimed && !failed
        });
    }

    /// Bytes of log that a recovery now would have to read beside the image.
    fn log_growth(&self) -> u64 {
        let checkpoints = &self.checkpoints;
        checkpoints.recovered_bytes + self.store.sink().written().1 - checkpoints.base_bytes
    }

    fn is_checkpoint_due(&self) -> bool {
        let checkpoints = &self.checkpoints;
        if checkpoints.directory.is_none() || self.stopping.has_begun() && !checkpoints.wanted {
            return false;
        }
        if checkpoints.wanted {
            return self.store.may_begin_image();
        }
        let now_ns = self.time.monotonic_ns;
        (checkpoints.is_overdue || self.has_grown() || self.save_point_ns().is_some_and(|at| at <= now_ns))
            && now_ns >= checkpoints.retry_at_ns
            && !self.log_failed
            && self.store.may_begin_image()
    }

    fn has_grown(&self) -> bool {
        let percentage = u64::from(self.settings.auto_aof_rewrite_percentage);
        let least = self.settings.auto_aof_rewrite_min_size / u64::from(self.shards);
        percentage > 0 && self.log_growth() >= least.max(self.checkpoints.counters.bytes / 100 * percentage)
    }

    /// When a save point is reached, if nothing changes until then.
    fn save_point_ns(&self) -> Option<u64> {
        let points = &self.settings.save.0;
        if points.is_empty() {
            return None;
        }
        let changes = self.changes();
        // The changes that a point names are those of all shards.
        let least = |changes: u32| changes.div_ceil(u32::from(self.shards)).max(1);
        let reached = points.iter().filter(|point| changes >= u64::from(least(point.changes)));
        let seconds = reached.map(|point| u64::from(point.seconds)).min()?;
        let at_ns = self.checkpoints.completed_ns.saturating_add(seconds.saturating_mul(1_000_000_000));
        Some(at_ns.max(self.checkpoints.retry_at_ns))
    }

    /// When a checkpoint is due although nothing happens, monotonic ns.
    pub(super) fn checkpoint_deadline_ns(&self) -> Option<u64> {
        let rests = matches!(self.checkpoints.stage, Stage::Resting) && self.checkpoints.directory.is_some();
        let may_begin = rests && !self.stopping.has_begun() && !self.log_failed;
        // While a transaction keeps it from beginning, the transaction's end is the next event.
        self.save_point_ns().filter(|_| may_begin && self.store.may_begin_image())
    }

    /// Effects that are in no checkpoint.
    fn changes(&self) -> u64 {
        self.store.sink().last_lsn().0.saturating_sub(self.checkpoints.counters.lsn)
    }

    /// Whether a stop begins with a checkpoint.
    pub(super) fn saves_at_stop(&self) -> bool {
        self.shared.save_at_stop().unwrap_or(!self.settings.save.0.is_empty())
    }

    /// The server stops: takes a last checkpoint if one is wanted then. Returns whether it is.
    pub(super) fn maybe_save_at_stop(&mut self) -> bool {
        let may_save = self.checkpoints.directory.is_some() && self.may_expire();
        let wanted = may_save && self.saves_at_stop() && self.changes() > 0;
        if wanted {
            self.shared.saves.begin(1);
            self.want_checkpoint();
        }
        wanted
    }

    fn step_checkpoint(&mut self, executor: &mut Executor, disk: &RuntimeDisk) -> bool {
        let stage = std::mem::take(&mut self.checkpoints.stage);
        let (next, mut more) = match stage {
            Stage::Resting => (self.begin_checkpoint(executor, disk), true),
            Stage::Walking { imaging, request } => self.walk(imaging, request),
            Stage::Settling { request, to, written } => {
                (self.settle_checkpoint(request, to, written, executor, disk), false)
            }
            Stage::Publishing { from, to, bytes } => match self.take_outcome() {
                None => (Stage::Publishing { from, to, bytes }, false),
                Some(Err(error)) => (self.fail_checkpoint(&error), false),
                Some(Ok(_)) => (self.complete_checkpoint(from, to, bytes, executor, disk), true),
            },
            Stage::Fencing { from, missing: 0, is_free: true } => (self.retire(from, executor, disk), false),
            Stage::Fencing { missing: 0, .. } => (Stage::Resting, false),
            waiting @ Stage::Fencing { .. } => (waiting, false),
            Stage::Recycling => match self.take_outcome() {
                None => (Stage::Recycling, false),
                Some(outcome) => {
                    match outcome {
                        Ok(_) => {
                            self.checkpoints.retaining.on_retired();
                            self.remove_superfluous(executor, disk);
                        }
                        // The next checkpoint tries again.
                        Err(error) => {
                            tracing::warn!(shard = self.id.0, %error, "log segments could not be renamed");
                        }
                    }
                    (Stage::Resting, false)
                }
            },
            Stage::Clearing => match self.take_outcome() {
                None => (Stage::Clearing, false),
                Some(_) => (Stage::Resting, false),
            },
        };
        // Another one may have been asked for meanwhile, and nothing else may happen.
        more |= matches!(next, Stage::Resting);
        self.checkpoints.stage = next;
        more
    }

    /// Whether a task has ended that the next step waits for: one that needed no disk ends in the turn that has begun it.
    pub(super) fn has_checkpoint_news(&self) -> bool {
        let checkpoints = &self.checkpoints;
        let waits = !matches!(checkpoints.stage, Stage::Resting | Stage::Fencing { .. });
        waits && checkpoints.inbox.borrow().is_some()
    }

    fn take_outcome(&self) -> Option<io::Result<u64>> {
        self.checkpoints.inbox.borrow_mut().take()
    }

    fn begin_checkpoint(&mut self, executor: &mut Executor, disk: &RuntimeDisk) -> Stage {
        let checkpoints = &mut self.checkpoints;
        checkpoints.counted = std::mem::take(&mut checkpoints.counted_next);
        if !std::mem::take(&mut checkpoints.wanted) {
            checkpoints.counted = 1;
            self.shared.saves.begin(1);
        }
        checkpoints.waiting.append(&mut checkpoints.waiting_next);
        checkpoints.began_ns = self.time.monotonic_ns;
        checkpoints.counters.in_progress = 1;
        let (number, keeps) = (checkpoints.number_max + 1, checkpoints.newest);
        let (imaging, mut request) = Imaging::begin(&mut self.store, number, WalkOptions::default());
        request.keeps = keeps;
        tracing::info!(shard = self.id.0, number, lsn = request.header.from.0, "checkpoint begins");
        // Transactions that begin from now on are to be told by their ids from those that this checkpoint may give up.
        for shard in self.other_shards() {
            self.links.signal(shard, Signal::Behind(request.header.transaction.counter()));
        }
        self.shared.saves.note_progress();
        // What the log grows by from here on is for the next one.
        let growth = self.log_growth();
        self.checkpoints.base_before = self.checkpoints.base_bytes;
        self.checkpoints.base_bytes += growth;
        // What an attempt that was given up has yet to say is heard no more.
        self.checkpoints.inbox = Inbox::default();
        let (disk, inbox) = (disk.clone(), Rc::clone(&self.checkpoints.inbox));
        let (task_request, pipe, shard) = (request.clone(), imaging.pipe().clone(), self.id.0);
        executor.spawn(async move {
            let written = write_checkpoint(&disk, &task_request, &pipe).await;
            if let Some(segments) = written.as_ref().ok().map(|written| written.yielded).filter(|it| *it > 0)
            {
                tracing::warn!(
                    shard,
                    segments,
                    "the disk is full: log that was kept for going back in time has given way"
                );
            }
            *inbox.borrow_mut() = Some(written.map(|written| written.bytes));
        });
        Stage::Walking { imaging, request }
    }

    fn walk(&mut self, mut imaging: Imaging, request: CheckpointRequest) -> (Stage, bool) {
        if let Some(Err(error)) = self.take_outcome() {
            imaging.pipe().abandon();
            return (self.fail_checkpoint(&error), false);
        }
        if self.log_failed {
            imaging.pipe().abandon();
            return (self.fail_checkpoint(&io::Error::other("the log has failed")), false);
        }
        if self.stopping.is_sealing() {
            imaging.pipe().abandon();
            return (self.drop_checkpoint(), false);
        }
        let backlog = self.store.sink().backlog_bytes();
        imaging.pipe().set_pause(self.checkpoint_pause(backlog));
        if backlog > CHECKPOINT_BACKLOG_BYTES {
            // The disk is behind with what somebody waits for; when it has caught up there is a turn.
            return (Stage::Walking { imaging, request }, false);
        }
        let records_before = imaging.records();
        let progress = imaging.advance(&mut self.store);
        if imaging.records() > records_before {
            self.shared.saves.note_progress();
        }
        self.checkpoints.counters.records = imaging.records();
        self.checkpoints.counters.memory = imaging.memory_bytes() as u64;
        match progress {
            Progress::More => (Stage::Walking { imaging, request }, true),
            Progress::Waiting => (Stage::Walking { imaging, request }, false),
            Progress::Spoiled => {
                imaging.pipe().abandon();
                self.store.abandon_image();
                let checkpoints = &mut self.checkpoints;
                checkpoints.wanted = true;
                checkpoints.counted_next += std::mem::take(&mut checkpoints.counted);
                checkpoints.waiting_next.append(&mut checkpoints.waiting);
                checkpoints.base_bytes = checkpoints.base_before;
                (Stage::Resting, false)
            }
            Progress::Done(to) => {
                // Also a log that nobody asks to be durable becomes so this far.
                self.store.sink_mut().fence();
                (Stage::Settling { request, to, written: None }, false)
            }
        }
    }

    /// How long the writer rests after a block: what the bandwidth asks for, and longer while commits are under way. Then the image is
    /// written as fast as the log is: so the log grows by no more than the image has bytes until it is whole, and the disk
    /// has twice to write at most. A stop waits for it, and there is nobody to spare.
    fn checkpoint_pause(&mut self, backlog: u64) -> Duration {
        let log_rate =
            self.checkpoints.log_rate.sample(self.time.monotonic_ns, self.store.sink().written().1);
        if self.stopping.has_begun() {
            return Duration::ZERO;
        }
        let limit = self.settings.checkpoint_bandwidth / u64::from(self.shards);
        if limit == 0 {
            return Duration::ZERO;
        }
        let pace = match (backlog, self.has_grown()) {
            (0, _) => limit,
            (_, false) => log_rate.clamp(limit / CHECKPOINT_YIELD_MOST, limit / CHECKPOINT_YIELD),
            (_, true) => limit / CHECKPOINT_YIELD_LATE,
        };
        Duration::from_nanos(BLOCK_BYTES_MAX as u64 * 1_000_000_000 / pace.max(1))
    }

    fn settle_checkpoint(
        &mut self,
        request: CheckpointRequest,
        to: Lsn,
        mut written: Option<u64>,
        executor: &mut Executor,
        disk: &RuntimeDisk,
    ) -> Stage {
        match self.take_outcome() {
            Some(Err(error)) => return self.fail_checkpoint(&error),
            Some(Ok(bytes)) => written = Some(bytes),
            None => {}
        }
        if self.log_failed {
            return self.fail_checkpoint(&io::Error::other("the log has failed"));
        }
        let (Some(bytes), true) = (written, self.store.sink().claimed() >= to) else {
            if written.is_some() && self.store.sink().is_stuck() {
                return self.clear_checkpoint(request, executor, disk);
            }
            return Stage::Settling { request, to, written };
        };
        self.shared.saves.note_progress();
        let from = request.header.from;
        let (disk, inbox) = (disk.clone(), Rc::clone(&self.checkpoints.inbox));
        executor.spawn(async move {
            let published = publish_checkpoint(&disk, &request).await;
            *inbox.borrow_mut() = Some(published.map(|()| 0));
        });
        Stage::Publishing { from, to, bytes }
    }

    /// The checkpoint has its name, durably.
    fn complete_checkpoint(
        &mut self,
        from: Lsn,
        to: Lsn,
        bytes: u64,
        executor: &mut Executor,
        disk: &RuntimeDisk,
    ) -> Stage {
        let seconds = (self.time.monotonic_ns - self.checkpoints.began_ns) / 1_000_000_000;
        let checkpoints = &mut self.checkpoints;
        let is_first = checkpoints.newest == 0;
        checkpoints.number_max += 1;
        checkpoints.newest = checkpoints.number_max;
        checkpoints.is_overdue = false;
        checkpoints.completed_ns = self.time.monotonic_ns;
        checkpoints.counters = CheckpointCounters {
            bytes,
            lsn: to.0,
            completed: checkpoints.counters.completed + 1,
            in_progress: 0,
            last_seconds: seconds,
            failed: false,
            memory: 0,
            ..checkpoints.counters
        };
        tracing::info!(
            shard = self.id.0,
            number = checkpoints.newest,
            records = checkpoints.counters.records,
            bytes,
            lsn = to.0,
            seconds,
            "checkpoint complete"
        );
        if is_first {
            self.shared.saves.note_first();
        }
        self.tend_older_epochs(executor, disk);
        self.end_save(true);
        for shard in self.other_shards() {
            self.links.send(shard, Message::Fence);
        }
        Stage::Fencing { from, missing: self.shards - 1, is_free: true }
    }

    /// What was asked for is answered.
    fn end_save(&mut self, is_saved: bool) {
        let counted = std::mem::take(&mut self.checkpoints.counted);
        self.shared.saves.end(self.id, counted, is_saved.then_some(self.time.unix_us / 1_000_000));
        for waiter in std::mem::take(&mut self.checkpoints.waiting) {
            let Waiter { shard, operation, part } = waiter;
            if shard == self.id {
                self.on_saved(operation, part, is_saved);
            } else {
                self.links.send(shard, Message::Saved { operation, part, is_saved });
            }
        }
    }

    /// A shard has its part of a SAVE.
    pub(super) fn on_saved(&mut self, operation: u32, part: u32, is_saved: bool) {
        self.on_part(operation, part, if is_saved { b"+OK\r\n" } else { FAILED }, Lsn::ZERO);
    }

    fn fail_checkpoint(&mut self, error: &io::Error) -> Stage {
        tracing::error!(shard = self.id.0, %error, "the checkpoint failed: the log stays as it is, another attempt follows");
        self.checkpoints.counters.failed = true;
        self.checkpoints.retry_at_ns = self.time.monotonic_ns + CHECKPOINT_RETRY_NS;
        self.drop_checkpoint()
    }

    /// The log waits for the space that the file of the checkpoint has, and the checkpoint for the log: the log goes first.
    fn clear_checkpoint(
        &mut self,
        request: CheckpointRequest,
        executor: &mut Executor,
        disk: &RuntimeDisk,
    ) -> Stage {
        let _ = self.fail_checkpoint(&io::ErrorKind::StorageFull.into());
        let (disk, inbox) = (disk.clone(), Rc::clone(&self.checkpoints.inbox));
        executor.spawn(async move {
            let removed = remove_unfinished(&disk, &request).await;
            *inbox.borrow_mut() = Some(removed.map(|()| 0));
        });
        Stage::Clearing
    }

    /// The one under way is given up.
    fn drop_checkpoint(&mut self) -> Stage {
        self.store.abandon_image();
        let checkpoints = &mut self.checkpoints;
        checkpoints.counters.in_progress = 0;
        checkpoints.counters.memory = 0;
        // What it would have made superfluous still counts.
        checkpoints.base_bytes = checkpoints.base_before;
        self.end_save(false);
        Stage::Resting
    }

    /// When all shards have a checkpoint the epochs before this one aren't needed any more: everything of them is in the images. They are kept for
    /// going back in time as long as that is wanted.
    fn tend_older_epochs(&self, executor: &mut Executor, disk: &RuntimeDisk) {
        let saves = &self.shared.saves;
        let Some(directory) = self.checkpoints.directory.clone() else { return };
        let is_due = saves.older_epochs() > 0 && saves.have_all(self.shards) && !self.is_backed_up();
        if !is_due || !saves.begin_tending() {
            return;
        }
        let (retained_bytes, _) = self.checkpoints.retaining.counters();
        let wanted = EpochsWanted {
            has_all: true,
            retention: Retention {
                ms: self.settings.log_retention.seconds.saturating_mul(1000),
                bytes: self.settings.log_retention_size,
            },
            // Of the others about as much.
            kept_bytes: retained_bytes.saturating_mul(u64::from(self.shards)),
            now_ms: self.time.unix_ms(),
        };
        let (disk, shared) = (disk.clone(), Arc::clone(&self.shared));
        executor.spawn(async move {
            match tend_epochs(&disk, &directory, wanted).await {
                Ok(EpochsKept { kept, given_up }) => {
                    shared.saves.set_older_epochs(kept);
                    if given_up > 0 {
                        tracing::info!(given_up, "logs of former numbers of shards were given up");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "logs of former numbers of shards could not be given up");
                }
            }
            shared.saves.end_tending();
        });
    }

    /// For INFO.
    pub(super) fn checkpoint_counters(&self) -> CheckpointCounters {
        let counters = &self.checkpoints.counters;
        let running = counters.in_progress > 0;
        let (retained_bytes, reaches_ms) = self.checkpoints.retaining.counters();
        CheckpointCounters {
            retained_bytes,
            reaches_ms,
            changes: self.changes(),
            current_seconds: if running {
                (self.time.monotonic_ns - self.checkpoints.began_ns) / 1_000_000_000
            } else {
                0
            },
            ..*counters
        }
    }
}

//! Scrubbing: reading again, beside everything else, what this shard has on the disk.
//!
//! Damage that is found while the server runs has lost nothing yet, since memory has it all. So a shard that finds any says so in
//! its log, and takes a checkpoint: after that nothing needs the damaged file.

use std::cell::RefCell;
use std::rc::Rc;

use annulus_storage::offline::Pace;
use annulus_storage::{ScrubFault, scrub_shard};

use super::Core;
use super::batch::Message;
use crate::admin::info::ScrubCounters;
use crate::runtime::{Executor, RuntimeDisk, SocketId};

/// A scrub under way.
#[derive(Debug)]
struct Running {
    pace: Rc<Pace>,
    outcome: Rc<RefCell<Option<Vec<ScrubFault>>>>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Scrubs {
    running: Option<Running>,
    /// One was asked for.
    wanted: bool,
    /// When the last one ended; at first, when this life began.
    ended_ns: u64,
    /// One has ended.
    any: bool,
    /// Damaged places that the last one has found.
    faults: u64,
}

impl Scrubs {
    /// A start has just read everything.
    pub(super) const fn begin_life(&mut self, now_ns: u64) {
        self.ended_ns = now_ns;
    }
}

impl Core {
    /// `BGSCRUB`: all shards begin.
    pub(super) fn scrub_everywhere(&mut self, socket: SocketId) {
        if self.scrubs.running.is_some() || self.scrubs.wanted {
            return self.answer(socket, |out| out.error("ERR Background scrub already in progress"));
        }
        self.want_scrub();
        for shard in self.other_shards() {
            self.links.send(shard, Message::Scrub);
        }
        self.answer(socket, |out| out.simple("Background scrub started"));
    }

    /// Somebody wants everything to be read now.
    pub(super) fn want_scrub(&mut self) {
        self.scrubs.wanted = true;
    }

    /// Begins, paces and ends. Between commands.
    pub(super) fn advance_scrub(&mut self, executor: &mut Executor, disk: &RuntimeDisk) {
        let Some(running) = &self.scrubs.running else {
            if self.scrubs.wanted || self.scrub_deadline_ns().is_some_and(|at| at <= self.time.monotonic_ns) {
                self.begin_scrub(executor, disk);
            }
            return;
        };
        let stops = self.stopping.has_begun();
        running.pace.stopped.set(stops);
        running.pace.bandwidth.set(self.scrub_bandwidth());
        let outcome = running.outcome.borrow_mut().take();
        if let Some(faults) = outcome {
            self.scrubs.running = None;
            if !stops {
                self.end_scrub(&faults);
            }
        }
    }

    /// Whether the one under way has ended since the last look.
    pub(super) fn has_scrub_news(&self) -> bool {
        self.scrubs.running.as_ref().is_some_and(|running| running.outcome.borrow().is_some())
    }

    /// When the next one begins unasked, monotonic ns.
    pub(super) fn scrub_deadline_ns(&self) -> Option<u64> {
        let seconds = u64::from(self.settings.scrub_interval);
        let may_begin = seconds > 0
            && self.scrubs.running.is_none()
            && self.checkpoints.directory().is_some()
            && !self.stopping.has_begun();
        may_begin.then(|| self.scrubs.ended_ns.saturating_add(seconds.saturating_mul(1_000_000_000)))
    }

    /// Bytes a second for this shard, 0 for no limit.
    fn scrub_bandwidth(&self) -> u64 {
        match self.settings.scrub_bandwidth / u64::from(self.shards) {
            0 => u64::from(self.settings.scrub_bandwidth > 0),
            limit if self.store.sink().backlog_bytes() > 0 => (limit / 2).max(1),
            limit => limit,
        }
    }

    fn begin_scrub(&mut self, executor: &mut Executor, disk: &RuntimeDisk) {
        self.scrubs.wanted = false;
        let Some(directory) = self.checkpoints.directory().cloned() else { return };
        if self.stopping.has_begun() {
            return;
        }
        let sealed = self.store.sink().sealed_segments();
        tracing::info!(shard = self.id.0, segments = sealed.len(), "scrub begins");
        let pace = Rc::new(Pace::default());
        pace.bandwidth.set(self.scrub_bandwidth());
        let outcome = Rc::<RefCell<Option<Vec<ScrubFault>>>>::default();
        let (disk, shard) = (disk.clone(), self.id);
        let (task_pace, task_outcome) = (Rc::clone(&pace), Rc::clone(&outcome));
        executor.spawn(async move {
            let faults = scrub_shard(&disk, &directory, shard, &sealed, &task_pace).await;
            *task_outcome.borrow_mut() = Some(faults);
        });
        self.scrubs.running = Some(Running { pace, outcome });
    }

    fn end_scrub(&mut self, faults: &[ScrubFault]) {
        let shard = self.id.0;
        self.scrubs.ended_ns = self.time.monotonic_ns;
        self.scrubs.any = true;
        self.scrubs.faults = faults.len() as u64;
        for fault in faults {
            tracing::error!(shard, "scrub: {fault}");
        }
        let needed = faults.iter().filter(|fault| !fault.is_retained).count();
        if faults.is_empty() {
            tracing::info!(shard, "scrub complete, nothing is damaged");
        }
        if faults.len() > needed {
            let count = faults.len() - needed;
            tracing::error!(
                shard,
                count,
                "the disk has lost what was kept for going back in time: that is possible to later times only; look after the disk"
            );
        }
        if needed > 0 {
            let count = needed;
            tracing::error!(
                shard,
                count,
                "the disk has lost what was written to it; nothing is lost as long as this server runs, and a \
                 checkpoint begins that makes the damaged files superfluous: look after the disk"
            );
            self.shared.saves.begin(1);
            self.want_checkpoint();
        }
    }

    /// For INFO.
    pub(super) fn scrub_counters(&self) -> ScrubCounters {
        let scrubs = &self.scrubs;
        let pace = scrubs.running.as_ref().map(|running| &running.pace);
        ScrubCounters {
            in_progress: u64::from(scrubs.running.is_some() || scrubs.wanted),
            read_bytes: pace.map_or(0, |pace| pace.read_bytes.get()),
            total_bytes: pace.map_or(0, |pace| pace.total_bytes.get()),
            faults: scrubs.faults,
            age_seconds: if scrubs.any {
                (self.time.monotonic_ns - scrubs.ended_ns) / 1_000_000_000
            } else {
                0
            },
            never: !scrubs.any,
        }
    }
}

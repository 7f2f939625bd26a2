//! What becomes of the log that a checkpoint has made superfluous: it is kept for going back in time, or used again.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use annulus_storage::Lsn;
use annulus_storage::checkpoint::retention::{look_at_retained, remove_slowly};
use annulus_storage::checkpoint::{RetainedLog, Retention, RetireRequest, retire_log};
use annulus_storage::log::SegmentId;

use super::super::Core;
use super::Stage;
use crate::runtime::{Executor, RuntimeDisk};

/// Between two removals of files.
const REMOVE_PAUSE: Duration = Duration::from_millis(100);

/// What a shard knows of the log that it keeps.
#[derive(Debug, Default)]
pub(super) struct Retaining {
    /// Segments that the log has released and that may have their names still, the oldest first.
    superfluous: Vec<SegmentId>,
    /// Tasks take it, and bring it back.
    known: Rc<RefCell<RetainedLog>>,
    /// What is there has yet to be looked at, after a start.
    is_unknown: bool,
    /// Files that nobody needs.
    removable: Rc<RefCell<Vec<PathBuf>>>,
    is_removing: Rc<Cell<bool>>,
    /// A backup, and the checkpoint that it begins with.
    held: Option<(u64, u64)>,
}

impl Retaining {
    /// What there is has to be looked at.
    pub(super) fn look(&mut self) {
        self.is_unknown = true;
    }

    pub(super) const fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    pub(super) fn hold(&mut self, backup: u64, checkpoint: u64) {
        self.held = Some((backup, checkpoint));
    }

    pub(super) const fn held(&self) -> Option<(u64, u64)> {
        self.held
    }

    /// The names of what was superfluous are gone for good.
    pub(super) fn on_retired(&mut self) {
        self.superfluous.clear();
    }

    /// Bytes that are kept, and since when there's everything, ms of Unix time.
    pub(super) fn counters(&self) -> (u64, u64) {
        let known = self.known.borrow();
        (known.bytes(), known.reaches_ms().unwrap_or_default())
    }
}

impl Core {
    /// The checkpoint has all effects up to here, and no peer needs the log before it.
    pub(super) fn retire(&mut self, from: Lsn, executor: &mut Executor, disk: &RuntimeDisk) -> Stage {
        let released = self.store.sink_mut().release_segments(from);
        self.checkpoints.retaining.superfluous.extend(released);
        let request = self.retire_request();
        let (disk, inbox) = (disk.clone(), Rc::clone(&self.checkpoints.inbox));
        let known = Rc::clone(&self.checkpoints.retaining.known);
        let removable = Rc::clone(&self.checkpoints.retaining.removable);
        executor.spawn(async move {
            let mut now_known = known.borrow().clone();
            let retired = retire_log(&disk, &request, &mut now_known).await;
            *known.borrow_mut() = now_known;
            *inbox.borrow_mut() = Some(retired.map(|paths| {
                *removable.borrow_mut() = paths;
                0
            }));
        });
        Stage::Recycling
    }

    fn retire_request(&self) -> RetireRequest {
        let (log, settings) = (self.store.sink(), &self.settings);
        RetireRequest {
            directory: log.directory().to_path_buf(),
            identity: log.identity(),
            superfluous: self.checkpoints.retaining.superfluous.clone(),
            begins: log.begins(),
            follows_past: self.shared.saves.older_epochs() > 0,
            retention: Retention {
                ms: settings.log_retention.seconds.saturating_mul(1000),
                // None of a small limit is no limit.
                bytes: settings.log_retention_size.div_ceil(u64::from(self.shards)),
            },
            held: self.held_checkpoint(),
            now_ms: self.time.unix_ms(),
        }
    }

    /// Looks at what a former life has kept, for INFO.
    pub(super) fn look_at_retained(&mut self, executor: &mut Executor, disk: &RuntimeDisk) {
        self.checkpoints.retaining.is_unknown = false;
        let request = self.retire_request();
        let (disk, shard) = (disk.clone(), self.id.0);
        let known = Rc::clone(&self.checkpoints.retaining.known);
        executor.spawn(async move {
            let mut now_known = RetainedLog::default();
            match look_at_retained(&disk, &request, &mut now_known).await {
                Ok(()) => *known.borrow_mut() = now_known,
                Err(error) => tracing::warn!(shard, %error, "the log that is kept could not be looked at"),
            }
        });
    }

    /// Removes what is more than the log will use again.
    pub(super) fn remove_superfluous(&mut self, executor: &mut Executor, disk: &RuntimeDisk) {
        let retaining = &self.checkpoints.retaining;
        let paths = std::mem::take(&mut *retaining.removable.borrow_mut());
        // Those of a removal under way are among them, or are found again at the next checkpoint.
        if paths.is_empty() || retaining.is_removing.replace(true) {
            return;
        }
        let (disk, is_removing, shard) = (disk.clone(), Rc::clone(&retaining.is_removing), self.id.0);
        executor.spawn(async move {
            if let Err(error) = remove_slowly(&disk, &paths, REMOVE_PAUSE).await {
                tracing::warn!(shard, %error, "log that is not kept any more could not be removed");
            }
            is_removing.set(false);
        });
    }
}

//! The clean stop, in steps that all shards take together: no new commands; what is under way ends everywhere; the
//! log is drained and marked; the last replies go out.

use annulus_storage::coverage::{Branch, reached};

use super::Core;
use super::limits::STOP_PATIENCE_NS;
use crate::runtime::Driver;

/// How far the stop has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Serving,
    /// Nothing new begins; what is under way goes on.
    Draining,
    /// This shard has nothing under way, and waits for the others.
    Quiet,
    /// The log is being closed.
    Sealing,
    Done,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    step: Step,
    deadline_ns: u64,
    /// This shard takes a last checkpoint first.
    saves: bool,
    /// How far checkpoints had come when this shard last looked.
    progress: u64,
    /// The last step was taken for want of time.
    gave_up: bool,
}

impl Stopping {
    /// Whether commands are no longer taken.
    pub(super) fn has_begun(&self) -> bool {
        self.step != Step::Serving
    }

    /// Whether the log is being closed, or is.
    pub(super) fn is_sealing(&self) -> bool {
        matches!(self.step, Step::Sealing | Step::Done)
    }

    /// Whether the shard's thread may end.
    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// Whether the stop left something undone.
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// When it gives up, monotonic ns.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.has_begun().then_some(self.deadline_ns)
    }
}

impl Core {
    /// Takes the steps that can be taken now.
    pub(super) fn advance_stop(&mut self, driver: &mut impl Driver) {
        if !self.shared.is_stopping() {
            return;
        }
        if self.stopping.step == Step::Serving {
            self.stopping.step = Step::Draining;
            self.stopping.deadline_ns = self.time.monotonic_ns + STOP_PATIENCE_NS;
            driver.stop_listening();
            self.stopping.saves = self.maybe_save_at_stop();
            self.end_waits();
            self.stop_scripts();
            self.end_blocks();
        }
        let waits = matches!(self.stopping.step, Step::Draining | Step::Quiet);
        let progress = self.shared.saves.progress();
        if waits && self.saves_at_stop() && self.shared.saves.any() && progress != self.stopping.progress {
            // Somebody has asked for that, however long it takes; but a log without space may never let a checkpoint have its
            // name, and one that waits for such a log either.
            self.stopping.progress = progress;
            self.stopping.deadline_ns = self.time.monotonic_ns + STOP_PATIENCE_NS;
        }
        let late = self.time.monotonic_ns >= self.stopping.deadline_ns;
        if self.stopping.saves && self.is_saving() && self.may_expire() && !late {
            return;
        }
        self.stopping.saves = false;
        if self.stopping.step == Step::Draining && (late || self.is_quiet()) {
            self.stopping.step = Step::Quiet;
            self.shared.become_quiet();
        }
        if self.stopping.step == Step::Quiet && (late || self.shared.all_quiet()) {
            self.stopping.step = Step::Sealing;
            self.store.sink_mut().close();
        }
        if self.stopping.step == Step::Sealing {
            let sealed = self.store.sink().is_closed() && self.connections.iter().all(|it| !it.sending);
            if sealed || late || self.log_failed {
                self.stopping.gave_up = !self.store.sink().is_closed();
                if self.stopping.gave_up {
                    reached(Branch::StopGaveUp);
                }
                self.stopping.step = Step::Done;
            }
        }
    }

    /// Nothing of any command is under way here.
    fn is_quiet(&self) -> bool {
        self.operations.is_empty()
            && self.locks.is_empty()
            && self.gates.is_empty()
            && !self.links.has_outbox()
            && self.connections.iter().all(|connection| connection.replies.waiting() == 0)
    }
}

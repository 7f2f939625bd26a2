//! The log's side of a turn: frames to the disk, completions back, segments ahead of need, and what happens when the
//! disk refuses.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use annulus_storage::checkpoint::retention::yield_segment;
use annulus_storage::coverage::{Branch, reached};
use annulus_storage::log::{PreparedSegment, prepare_segment, sync_segments};
use annulus_storage::{AlignedBuffer, Durability, LogState, Lsn, WriteId, WriteRefusal};

use super::Core;
use super::batch::Message;
use super::limits::{EXPIRE_PER_TURN, RECLAIM_PER_TURN};
use crate::runtime::driver::{DiskOp, DiskToken};
use crate::runtime::{Executor, FileId, RuntimeDisk};

/// Why a write is refused on a full disk.
pub const NO_SPACE: &str = "MISCONF No space left for the log: this write was not applied. Free space on the data directory's \
                            file system; writes resume by themselves. Reads go on.";
/// Why a write is refused after a failed write.
pub const FAILED: &str = "MISCONF The log could not be written, so nothing can be promised any more: this write was not \
                          applied. See the server's log and INFO persistence, check the disk, then restart. Reads go on.";
/// Why a read of what was never made durable is refused.
pub const FAILED_READ: &str = "MISCONF The log could not be written, and this key's last change never became durable: check \
                               the disk, then restart.";
/// Why a write is refused during a stop.
pub const CLOSING: &str = "ERR The server is shutting down";

/// Segments that preparing tasks have finished, for the shard to pick up.
pub type SegmentInbox = Rc<RefCell<VecDeque<io::Result<PreparedSegment<FileId>>>>>;

/// What became of a sync of the log, for the shard to pick up.
pub type SyncInbox = Rc<RefCell<Option<io::Result<()>>>>;

impl Core {
    /// Replies with gates up to this one may leave.
    #[inline]
    pub fn durable(&self) -> Lsn {
        if self.durability == Durability::Always { self.store.sink().horizon() } else { Lsn(u64::MAX) }
    }

    /// Whether a write command with these arguments may run now.
    #[inline]
    pub(super) fn admit_write(&self, args: &[&[u8]]) -> Result<(), &'static str> {
        let bytes: usize = args.iter().map(|arg| arg.len() + 32).sum();
        self.store.sink().can_accept(bytes as u64).map_err(|refusal| match refusal {
            WriteRefusal::NoSpace => NO_SPACE,
            WriteRefusal::Failed => FAILED,
            WriteRefusal::Closing => CLOSING,
        })
    }

    /// Hands due frames to the driver, and has segments prepared.
    pub fn commit(&mut self, executor: &mut Executor, disk: &RuntimeDisk) {
        if !self.log_failed && self.store.sink().has_failed() {
            // With a part of a transaction that another shard's failed log lacks.
            self.after_log_advanced();
        }
        let now_ns = self.time.monotonic_ns;
        while let Some(write) = self.store.sink_mut().poll_write(now_ns) {
            self.counters.log.commits += 1;
            self.counters.log.commit_bytes += write.len as u64;
            self.commit_started.push_back((write.id, now_ns));
            self.intents.disk.push((
                DiskToken::Commit(write.id.0),
                DiskOp::Write {
                    file: write.file,
                    buffer: write.buffer,
                    offset: write.offset,
                    len: write.len,
                    sync: write.sync,
                },
            ));
        }
        if let Some(request) = self.store.sink_mut().need_segment(now_ns) {
            let (disk, inbox, shard) = (disk.clone(), Rc::clone(&self.segments), self.id.0);
            executor.spawn(async move {
                let mut segment = prepare_segment(&disk, request.clone()).await;
                if matches!(&segment, Err(error) if error.kind() == io::ErrorKind::StorageFull)
                    && matches!(yield_segment(&disk, &request.directory).await, Ok(true))
                {
                    tracing::warn!(
                        shard,
                        "the disk is full: the oldest log that is kept for going back in time gives way"
                    );
                    segment = prepare_segment(&disk, request).await;
                }
                inbox.borrow_mut().push_back(segment);
            });
        }
        if let Some(request) = self.store.sink_mut().need_sync(now_ns) {
            let (disk, inbox) = (disk.clone(), Rc::clone(&self.synced));
            executor.spawn(async move {
                let result = sync_segments(&disk, request).await;
                *inbox.borrow_mut() = Some(result);
            });
        }
    }

    /// A frame's write has ended.
    pub fn on_committed(&mut self, id: u64, result: io::Result<usize>, buffer: AlignedBuffer) {
        if let Some(place) = self.commit_started.iter().position(|(started, _)| started.0 == id)
            && let Some((_, started_ns)) = self.commit_started.remove(place)
        {
            self.counters.log.commit_latency.record(self.time.monotonic_ns.saturating_sub(started_ns));
        }
        self.store.sink_mut().on_written(WriteId(id), result, buffer);
        self.after_log_advanced();
    }

    /// What may have become durable or decided, or never will be.
    pub(super) fn after_log_advanced(&mut self) {
        if !self.log_failed
            && let LogState::Failed { reason } = self.store.sink().state()
        {
            self.on_log_failed(&reason);
        }
        self.tell_written();
        self.settle();
        self.release_gated();
        self.release_outgoing();
        self.pass_barriers();
    }

    /// Tells the store how far replies need not wait, so that reads don't even ask.
    pub(super) fn settle(&mut self) {
        let durable = self.durable();
        self.store.settle(durable);
    }

    /// Nothing more will become durable: whoever waits for it learns so by losing the connection, which is what an unknown
    /// outcome looks like to every client.
    fn on_log_failed(&mut self, reason: &str) {
        tracing::error!(shard = self.id.0, reason, "the log has failed: writes are refused until a restart");
        self.log_failed = true;
        self.tell_log_failed();
        let durable = self.durable();
        let gated: Vec<_> = self
            .connections
            .iter()
            .filter(|connection| connection.replies.has_gated(durable))
            .map(|connection| connection.socket)
            .collect();
        for socket in gated {
            self.close(socket);
        }
        // In the queue a reply may stand behind a higher gate than its own: what is durable still leaves.
        for (socket, client) in self.gates.take_connections() {
            if let Some(connection) = self.connections.of_client(socket, client) {
                reached(Branch::LeftAfterFailure);
                connection.replies.release(durable);
                self.intents.mark_dirty(&mut self.connections, socket);
            }
        }
        self.links.hold_gated(&mut self.gates);
        self.drop_outgoing();
        for (shard, batch) in self.gates.take_batches() {
            self.links.send(shard, Message::Lost(batch));
        }
    }

    /// Takes notice of a sync of the log that has ended.
    pub fn collect_sync(&mut self) {
        let synced = self.synced.borrow_mut().take();
        if let Some(result) = synced {
            self.store.sink_mut().on_synced(result);
            self.after_log_advanced();
        }
    }

    /// Takes over segments that are ready.
    pub fn collect_segments(&mut self) {
        loop {
            let Some(segment) = self.segments.borrow_mut().pop_front() else { return };
            match segment {
                Ok(segment) => {
                    if std::mem::take(&mut self.no_space_told) {
                        tracing::info!(shard = self.id.0, "the log has space again: writes are accepted");
                    }
                    self.store.sink_mut().add_segment(segment);
                }
                Err(error) => {
                    self.store.sink_mut().segment_failed(&error);
                    if !std::mem::replace(&mut self.no_space_told, true) {
                        tracing::error!(
                            shard = self.id.0,
                            %error,
                            "no further log segment could be made: writes are refused when the present ones are full"
                        );
                    }
                }
            }
        }
    }

    /// Whether keys may be expired unasked: not while the log takes no writes, since that logs what it removes.
    pub(super) fn may_expire(&self) -> bool {
        self.store.sink().can_accept(0).is_ok()
    }

    /// A slice of the work that nobody waits for. Returns whether there is more at once.
    pub fn background(&mut self) -> bool {
        let expired = if self.may_expire() { self.store.expire_cycle(EXPIRE_PER_TURN) } else { 0 };
        if self.store.has_touched() {
            self.observe(None, &[], super::batch::Origin::default());
        }
        let more_to_free = self.store.reclaim(RECLAIM_PER_TURN);
        expired >= EXPIRE_PER_TURN || more_to_free || self.evict_slice()
    }
}

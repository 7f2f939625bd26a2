//! The writing end of a log: a state machine without I/O.
//!
//! It owns the open frame, the frames that wait, what is in flight, and the segments to write to. The shard calls
//! [`Log::poll_write`] once a turn, gives what it returns to the disk, and brings the outcome back with [`Log::on_written`].
//!
//! Invariants:
//! - frames get their place, their link to the frame before and their checksum when they leave, in order; a frame never spans
//!   segments and no byte of a segment is written twice in one life;
//! - the local horizon moves in order: it passes a frame when that frame *and every write before it* is on stable storage, and
//!   it stands between groups only; the horizon is the local one, but stays before the first group of a transaction that is not
//!   decided;
//! - a frame that is not full does not leave within a group, so the end of a group can be marked where it is;
//! - after a failed or short write nothing leaves any more, and the horizon stands still for good.
//!
//! What a crash leaves: every frame at or under the horizon; of those in flight, any part of any subset; of the
//! rest nothing.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use self::fill::{Fill, GroupEnd};
use super::LogIdentity;
use super::frame::FRAME_HEADER_BYTES;
use super::options::{Durability, LogOptions, limits};
use super::segment::{PreparedSegment, SegmentId};
use super::sync::SyncRequest;
use super::undecided::Undecided;
use crate::buffer::AlignedBuffer;
use crate::coverage::{Branch, reached};
use crate::disk::WriteSync;
use crate::{Lsn, ShardId, TransactionId};

mod append;
mod fill;
mod seal;
mod segments;

/// Where a log stands: what recovery found, or the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// Whose log.
    pub identity: LogIdentity,
    /// This process life: greater than that of any frame in the log.
    pub incarnation: u32,
    /// The last effect in the log; all up to it are durable.
    pub last_lsn: Lsn,
    /// Checksum of the last frame, 0 before the first.
    pub chain: u32,
    /// The number that the next segment gets which isn't in `LogStart::prepared`.
    pub next_segment: SegmentId,
}

/// A segment in use.
#[derive(Clone, Debug)]
pub struct CurrentSegment<F> {
    /// The segment.
    pub segment: PreparedSegment<F>,
    /// Where the next frame begins.
    pub offset: u64,
}

/// A segment that the log has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// The segment.
    pub id: SegmentId,
    /// The last effect that ends in it.
    pub last_lsn: Lsn,
}

/// What a log begins with: comes from [`crate::recovery::recover_shard`].
#[derive(Clone, Debug)]
pub struct LogStart<F> {
    /// The shard's directory, for segments to come.
    pub directory: PathBuf,
    /// Where the log stands.
    pub position: LogPosition,
    /// The segments that hold the log, oldest first, and the first effect that ends in each.
    pub live: Vec<(SegmentId, Lsn)>,
    /// The segment in use, if there is one with room.
    pub current: Option<CurrentSegment<F>>,
    /// Segments that have their names and were not in use, by number.
    pub prepared: Vec<PreparedSegment<F>>,
    /// First LSNs of groups that recovery has dropped from the log, sorted. The log says so before it calls them durable.
    pub abandoned: Vec<Lsn>,
    /// The greatest transaction of any shard so far.
    pub greatest_transaction: TransactionId,
}

impl<F> LogStart<F> {
    /// The beginning of a log without a segment: for a store that is yet to be recovered, and for tests.
    pub fn empty(directory: PathBuf, identity: LogIdentity, incarnation: u32) -> Self {
        let position = LogPosition {
            identity,
            incarnation,
            last_lsn: Lsn::ZERO,
            chain: 0,
            next_segment: SegmentId::FIRST,
        };
        Self {
            directory,
            position,
            live: Vec::new(),
            current: None,
            prepared: Vec::new(),
            abandoned: Vec::new(),
            greatest_transaction: TransactionId::default(),
        }
    }
}

/// Names a write between [`Log::poll_write`] and [`Log::on_written`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// A write that the disk is to do.
#[derive(Debug)]
pub struct LogWrite<F> {
    /// For [`Log::on_written`].
    pub id: WriteId,
    /// The file.
    pub file: F,
    /// Where in the file.
    pub offset: u64,
    /// What; the first `len` bytes. It belongs to the write until it comes back.
    pub buffer: AlignedBuffer,
    /// How much, a multiple of [`LogOptions::alignment`].
    pub len: usize,
    /// Whether the write ends on stable storage.
    pub sync: WriteSync,
}

/// How the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogState {
    /// It takes and writes effects.
    Running,
    /// No further segment could be made and the last one is nearly full; attempts go on.
    NoSpace {
        /// What the disk said.
        reason: String,
    },
    /// A write failed: nothing is acknowledged any more until a restart.
    Failed {
        /// What happened, with file position.
        reason: String,
    },
}

/// Why a write command must not run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteRefusal {
    /// As [`LogState::NoSpace`].
    NoSpace,
    /// As [`LogState::Failed`].
    Failed,
    /// The log is being closed.
    Closing,
}

impl fmt::Display for WriteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace => "no space left for the log",
            Self::Failed => "the log failed",
            Self::Closing => "the log is closing",
        })
    }
}

impl std::error::Error for WriteRefusal {}

/// A frame that is being filled or waits: records behind room for the header.
struct Frame {
    buffer: AlignedBuffer,
    /// Header and payload so far.
    used: usize,
    first_lsn: Lsn,
    records: u32,
    flags: u8,
    /// What its durability makes durable: the end of the last whole group before its own end.
    durable_to: Lsn,
}

impl Frame {
    fn new(buffer: AlignedBuffer, first_lsn: Lsn, flags: u8) -> Self {
        Self { buffer, used: FRAME_HEADER_BYTES, first_lsn, records: 0, flags, durable_to: Lsn::ZERO }
    }

    const fn is_empty(&self) -> bool {
        self.used == FRAME_HEADER_BYTES
    }
}

struct InFlight {
    id: WriteId,
    /// Where it goes.
    segment: SegmentId,
    offset: u64,
    len: usize,
    durable_to: Lsn,
    /// The horizon that its header claims.
    claims: Lsn,
    synced: bool,
    done: bool,
}

/// What a sync makes durable.
#[derive(Clone, Copy)]
struct Syncing {
    to: Lsn,
    claims: Lsn,
    /// The first segment that it may leave unsynced.
    segment: SegmentId,
}

/// What `poll_write` would send next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    /// The first of the full frames.
    Full,
    /// The open frame.
    Open,
    /// The open frame up to there.
    Cut(GroupEnd),
    /// An empty frame that carries the horizon.
    Horizon,
    /// An empty frame that marks a clean stop.
    CleanStop,
}

/// The clean stop, by steps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// Everything that waits is being written.
    Draining,
    /// The mark is in flight.
    Marked,
    Closed,
}

/// What recovery has dropped, on its way into the log.
#[derive(Clone, Copy)]
struct Abandoned {
    /// The record's own number.
    recorded_at: Lsn,
    /// What frames may claim before they have the record.
    before: Lsn,
}

/// The log of one shard. `F` is the driver's file handle.
pub struct Log<F> {
    options: LogOptions,
    directory: PathBuf,
    identity: LogIdentity,
    seed: u32,
    incarnation: u32,
    /// Checksum of the frame sealed last.
    chain: u32,

    last_lsn: Lsn,
    /// The last effect of the last whole group.
    group_end_lsn: Lsn,
    group_open: bool,
    /// Flags of the frames that the open group has a part in.
    group_flags: u8,
    /// What is on stable storage.
    local: Lsn,
    /// As `local`, but before the first group that is not decided.
    horizon: Lsn,
    undecided: Undecided,
    greatest_transaction: TransactionId,
    /// Shards whose logs have failed: what waits for them is never decided.
    failed_peers: Vec<ShardId>,
    /// The horizon that the frame sealed last carries.
    announced: Lsn,
    /// The greatest horizon that a frame on stable storage carries, of this life.
    claimed: Lsn,
    /// What is to be claimed without waiting for the log to be idle.
    fence: Lsn,
    /// Until the record of dropped groups is whole, frames claim no more than what is before the first of them.
    abandoned: Option<Abandoned>,

    open: Frame,
    /// Where the head of the last record in the open frame is.
    last_head: usize,
    fill: Fill,
    /// Bytes of records in the frames that have left.
    sealed_bytes: u64,
    full: VecDeque<Frame>,
    full_bytes: u64,
    pool: Vec<AlignedBuffer>,

    in_flight: VecDeque<InFlight>,
    in_flight_bytes: u64,
    next_write: u64,

    current: Option<CurrentSegment<F>>,
    /// Segments with frames, oldest first, and the first effect that ends in each.
    live: VecDeque<(SegmentId, Lsn)>,
    prepared: VecDeque<PreparedSegment<F>>,
    next_segment: SegmentId,
    segment_requested: bool,
    segment_retry_at_ns: Option<u64>,
    segment_error: Option<String>,
    /// When the current segment was taken into use, and how long the one before lasted.
    segment_entered_ns: Option<u64>,
    segment_fill_ns: Option<u64>,

    /// With [`Durability::None`]: what has been written, what it claims, and the first segment that has not been synced.
    written_to: Lsn,
    written_claims: Lsn,
    unsynced_from: SegmentId,
    syncing: Option<Syncing>,
    /// Since when transactions wait for a sync.
    sync_wanted_since_ns: Option<u64>,

    /// When `poll_write` first saw the open frame wait, or the log idle.
    waiting_since_ns: Option<u64>,
    now_ns: u64,
    /// The time as last told, ms of Unix time; and as last noted in the log, which never goes back.
    unix_ms: u64,
    noted_ms: u64,
    failure: Option<String>,
    closing: Closing,
    writes: u64,
    written_bytes: u64,
}

impl<F: Clone> Log<F> {
    /// A log that goes on where `start` says.
    ///
    /// # Panics
    /// When an option is out of its range.
    pub fn new(options: LogOptions, start: LogStart<F>) -> Self {
        options.assert_valid();
        let position = start.position;
        assert_eq!(options.shard, position.identity.shard, "a log of one shard, options of another");
        let frame_bytes = options.frame_bytes_max;
        // The first that a write of this life can go to.
        let current = start.current.as_ref().map(|current| current.segment.id);
        let unsynced_from = current.or_else(|| start.prepared.first().map(|segment| segment.id));
        let mut log = Self {
            directory: start.directory,
            identity: position.identity,
            seed: position.identity.checksum_seed(),
            incarnation: position.incarnation,
            chain: position.chain,
            last_lsn: position.last_lsn,
            group_end_lsn: position.last_lsn,
            group_open: false,
            group_flags: 0,
            local: position.last_lsn,
            horizon: position.last_lsn,
            undecided: Undecided::default(),
            greatest_transaction: start.greatest_transaction,
            failed_peers: Vec::new(),
            announced: position.last_lsn,
            claimed: Lsn::ZERO,
            fence: Lsn::ZERO,
            abandoned: None,
            open: Frame::new(AlignedBuffer::new(frame_bytes), position.last_lsn.next(), 0),
            last_head: 0,
            fill: Fill::new(position.last_lsn, options.alignment),
            sealed_bytes: 0,
            full: VecDeque::new(),
            full_bytes: 0,
            pool: Vec::with_capacity(limits::POOLED_BUFFERS_MAX),
            in_flight: VecDeque::with_capacity(options.in_flight_max),
            in_flight_bytes: 0,
            next_write: 0,
            current: start.current,
            live: start.live.into(),
            prepared: start.prepared.into(),
            next_segment: position.next_segment,
            segment_requested: false,
            segment_retry_at_ns: None,
            segment_error: None,
            segment_entered_ns: None,
            segment_fill_ns: None,
            written_to: position.last_lsn,
            written_claims: Lsn::ZERO,
            unsynced_from: unsynced_from.unwrap_or(position.next_segment),
            syncing: None,
            sync_wanted_since_ns: None,
            waiting_since_ns: None,
            now_ns: 0,
            unix_ms: 0,
            noted_ms: 0,
            failure: None,
            closing: Closing::No,
            writes: 0,
            written_bytes: 0,
            options,
        };
        log.record_abandoned(&start.abandoned);
        log
    }

    /// All effects up to this one are on stable storage, and every transaction among them has all its parts there, in
    /// every log. With [`Durability::None`] it moves when there is a reason to sync: see [`Self::need_sync`].
    #[inline]
    pub const fn horizon(&self) -> Lsn {
        self.horizon
    }

    /// All effects up to this one are on stable storage in this log, whatever the others have.
    pub const fn local_horizon(&self) -> Lsn {
        self.local
    }

    /// How many transactions have a part here and are not decided.
    pub fn undecided_count(&self) -> usize {
        self.undecided.len()
    }

    /// Transactions whose part here has been written since the last call, that is: it is on stable storage, and everything
    /// that it depends on is decided. The other participants, which come with it, are to be told: each calls
    /// [`Self::on_part_durable`]. To be called after [`Self::on_written`], [`Self::on_synced`] and
    /// [`Self::on_part_durable`].
    pub fn take_written(
        &mut self,
    ) -> impl Iterator<Item = (TransactionId, impl IntoIterator<Item = ShardId>)> {
        self.undecided.take_written()
    }

    /// Another participant has written its part of a transaction. May come before the part here is appended. Moves the
    /// horizon if that was the last one missing.
    pub fn on_part_durable(&mut self, id: TransactionId, from: ShardId) {
        if self.failure.is_none() {
            self.undecided.on_part(id, from);
            self.advance();
        }
    }

    /// The log of another shard has failed. What waits for a part of it is never decided, so nothing behind that can be
    /// acknowledged here either: if there is such a transaction, now or later, this log fails too.
    pub fn on_peer_failed(&mut self, shard: ShardId) {
        if !self.failed_peers.contains(&shard) {
            self.failed_peers.push(shard);
        }
        if self.undecided.waits_for(shard) {
            self.latch(format!("a transaction waits for shard {shard}, whose log has failed"));
        }
    }

    /// Asks for a frame that claims everything appended so far, without waiting for the log to be idle. The answer is what
    /// [`Self::claimed`] must reach. After that no recovery will ask other logs about what is before it, so they may free
    /// their parts of the transactions there.
    pub fn fence(&mut self) -> Lsn {
        self.fence = self.group_end_lsn;
        self.fence
    }

    /// The greatest horizon that a frame on stable storage claims, among the frames of this process life.
    pub const fn claimed(&self) -> Lsn {
        self.claimed
    }

    /// The effect appended last.
    #[inline]
    pub const fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// No transaction in the log, of any life so far, is greater.
    pub const fn greatest_transaction(&self) -> TransactionId {
        self.greatest_transaction
    }

    /// Whether it has failed: [`Self::state`] says why.
    #[inline]
    pub const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// What the log was told to promise.
    pub const fn durability(&self) -> Durability {
        self.options.durability
    }

    /// Whose log it is.
    pub const fn identity(&self) -> LogIdentity {
        self.identity
    }

    /// The process life that its frames name.
    pub const fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Writes and bytes that have left since the log was opened, segment headers and padding included.
    pub const fn written(&self) -> (u64, u64) {
        (self.writes, self.written_bytes)
    }

    /// The shard's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Bytes that wait or are in flight: what back-pressure looks at.
    pub const fn backlog_bytes(&self) -> u64 {
        self.full_bytes + self.in_flight_bytes + (self.open.used - FRAME_HEADER_BYTES) as u64
    }

    /// How the log is.
    pub fn state(&self) -> LogState {
        match (&self.failure, &self.segment_error) {
            (Some(reason), _) => LogState::Failed { reason: reason.clone() },
            // What is left beyond the reserve may be too little for one command and enough for another.
            (None, Some(reason)) if self.room_bytes() < 2 * self.reserve_bytes() => {
                LogState::NoSpace { reason: reason.clone() }
            }
            _ => LogState::Running,
        }
    }

    /// Whether what waits is kept waiting by a full disk: it does not fit the segment in use, and there is no other.
    pub fn is_stuck(&self) -> bool {
        let next = self.full.front().map_or(self.open.used, |frame| frame.used);
        let fits = |it: &CurrentSegment<F>| it.offset + self.padded(next) as u64 <= it.segment.bytes;
        self.failure.is_none()
            && self.segment_error.is_some()
            && self.prepared.is_empty()
            && !self.current.as_ref().is_some_and(fits)
    }

    /// Whether a command that will append about `bytes` may run. While segments can be made, yes: then a backlog is the
    /// shard's to limit, by [`Self::backlog_bytes`]. Once the disk has refused one, only what fits the
    /// segments at hand may run, so that nothing is applied that could not be written.
    #[inline]
    pub fn can_accept(&self, bytes: u64) -> Result<(), WriteRefusal> {
        if self.failure.is_none() && self.segment_error.is_none() && self.closing == Closing::No {
            return Ok(());
        }
        if self.failure.is_some() {
            reached(Branch::RefusedFailed);
            Err(WriteRefusal::Failed)
        } else if self.closing != Closing::No {
            Err(WriteRefusal::Closing)
        } else if self.room_bytes() < self.reserve_bytes().saturating_add(bytes) {
            reached(Branch::NoSpace);
            Err(WriteRefusal::NoSpace)
        } else {
            Ok(())
        }
    }

    /// The next write, if one is due and may be in flight. To be called in every turn until it returns nothing; `now_ns` is a
    /// monotonic clock.
    pub fn poll_write(&mut self, now_ns: u64) -> Option<LogWrite<F>> {
        self.now_ns = now_ns;
        if self.failure.is_some() {
            return None;
        }
        self.measure_flow();
        if self.in_flight.len() >= self.options.in_flight_max {
            return None;
        }
        let due = self.due(now_ns)?;
        let frame_bytes = self.padded(match due {
            Due::Full => self.full.front()?.used,
            Due::Open => self.open.used,
            Due::Cut(cut) => cut.used,
            Due::Horizon | Due::CleanStop => FRAME_HEADER_BYTES,
        });
        let fits = self.current.as_ref().is_some_and(|it| it.offset + frame_bytes as u64 <= it.segment.bytes);
        if !fits {
            return self.enter_next_segment();
        }
        let frame = self.take_frame(due)?;
        self.waiting_since_ns = None;
        self.seal(frame, due, frame_bytes)
    }

    /// A write has ended; its buffer comes back with it.
    ///
    /// # Panics
    /// When no such write is in flight.
    pub fn on_written(&mut self, id: WriteId, result: io::Result<usize>, buffer: AlignedBuffer) {
        let shard = self.options.shard;
        if buffer.capacity() == self.options.frame_bytes_max && self.pool.len() < limits::POOLED_BUFFERS_MAX {
            self.pool.push(buffer);
        }
        let write = self.in_flight.iter_mut().find(|write| write.id == id && !write.done);
        let Some(write) = write else { panic!("shard {shard}: write {} is not in flight", id.0) };
        match result {
            Ok(written) if written == write.len => write.done = true,
            Ok(written) => {
                let (offset, len) = (write.offset, write.len);
                self.latch(format!("a log write at offset {offset} wrote {written} of {len} bytes"));
                return;
            }
            Err(error) => {
                let offset = write.offset;
                self.latch(format!("a log write at offset {offset} failed: {error}"));
                return;
            }
        }
        if self.in_flight.front().is_some_and(|first| !first.done) {
            reached(Branch::OutOfOrder);
        }
        if self.failure.is_some() {
            // An earlier write failed; what came after it has nothing to stand on.
            return;
        }
        while let Some(first) = self.in_flight.pop_front_if(|first| first.done) {
            self.in_flight_bytes -= first.len as u64;
            self.written_to = first.durable_to;
            self.written_claims = self.written_claims.max(first.claims);
            if first.synced && self.options.durability != Durability::None {
                assert!(first.durable_to >= self.local, "shard {shard}: the horizon moves backwards");
                self.local = first.durable_to;
                self.claimed = self.written_claims;
            }
        }
        self.advance();
        if self.closing == Closing::Marked && self.in_flight.is_empty() {
            self.closing = Closing::Closed;
        }
    }

    /// The horizon after something has become durable or decided.
    #[inline]
    fn advance(&mut self) {
        if self.undecided.is_empty() {
            self.horizon = self.local;
        } else {
            self.decide();
        }
    }

    #[cold]
    fn decide(&mut self) {
        self.undecided.on_durable(self.local);
        #[cfg(feature = "planted")]
        if crate::planted::planted().half_commit {
            self.horizon = self.local;
            return;
        }
        let held = self.undecided.first().map(|first| Lsn(first.0 - 1));
        self.horizon = held.map_or(self.local, |held| held.min(self.local));
    }

    /// With [`Durability::None`]: what the shard should sync now, if anything; the answer is [`Self::on_synced`]. Nobody
    /// waits for such a log, but transactions are only decided, and their memory freed, when it is synced now and then.
    /// A synchronous write would not do: it may leave what was written before it in the disk's cache.
    pub fn need_sync(&mut self, now_ns: u64) -> Option<SyncRequest> {
        self.now_ns = now_ns;
        if self.options.durability != Durability::None || self.syncing.is_some() || self.failure.is_some() {
            return None;
        }
        let for_fence = self.claimed < self.fence
            && (self.local < self.fence.min(self.written_to) || self.claimed < self.written_claims);
        let for_decision = !self.undecided.is_empty() && self.local < self.written_to;
        if !for_fence && !for_decision {
            self.sync_wanted_since_ns = None;
            return None;
        }
        let since = *self.sync_wanted_since_ns.get_or_insert(now_ns);
        let many = self.undecided.len() >= limits::UNDECIDED_SYNC_COUNT;
        let hurries = for_fence || for_decision && many || self.closing != Closing::No;
        if !hurries && now_ns.saturating_sub(since) < limits::UNDECIDED_SYNC_NS {
            return None;
        }
        let current = self.current.as_ref()?.segment.id;
        self.sync_wanted_since_ns = None;
        // What is in flight may reach an earlier segment when that has been synced.
        let segment = self.in_flight.front().map_or(current, |first| first.segment);
        self.syncing = Some(Syncing { to: self.written_to, claims: self.written_claims, segment });
        let segments = self.unsynced_from..=current;
        Some(SyncRequest { directory: self.directory.clone(), segments })
    }

    /// A sync that [`Self::need_sync`] asked for has ended.
    ///
    /// # Panics
    /// When none was asked for.
    pub fn on_synced(&mut self, result: io::Result<()>) {
        let shard = self.options.shard;
        let Some(syncing) = self.syncing.take() else {
            panic!("shard {shard}: a sync that nobody asked for")
        };
        if self.failure.is_some() {
            return;
        }
        if let Err(error) = result {
            self.latch(format!("a sync of the log failed: {error}"));
            return;
        }
        self.local = syncing.to;
        self.claimed = syncing.claims;
        self.unsynced_from = syncing.segment;
        self.advance();
    }

    /// When [`Self::poll_write`], [`Self::need_sync`] or [`Self::need_segment`] wants to be called again although nothing else happens.
    pub fn next_deadline(&self) -> Option<u64> {
        if self.failure.is_some() {
            return None;
        }
        let waits = self.waiting_since_ns.map(|since| since.saturating_add(self.wait_ns()));
        // With nothing that could leave for want of a slot or a segment, a completion or a segment is the next event.
        let waits = [waits, self.fill.until_ns].into_iter().flatten().filter(|&at| at > self.now_ns).min();
        let sync = self.sync_wanted_since_ns.map(|since| since.saturating_add(limits::UNDECIDED_SYNC_NS));
        let waits = match (waits, sync) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        match (waits, self.segment_retry_at_ns) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Begins the clean stop: everything that waits is written, then a mark. Go on calling `poll_write` and `on_written`
    /// until [`Self::is_closed`]. A log that has failed, or that waits for space, does not get there: give up after a while.
    pub fn close(&mut self) {
        assert!(!self.group_open, "shard {}: closed within a group", self.options.shard);
        if self.closing == Closing::No {
            self.closing = Closing::Draining;
            self.settle_unused();
        }
    }

    /// The clean stop is on the disk.
    pub fn is_closed(&self) -> bool {
        self.closing == Closing::Closed
    }

    /// A log that was never written to needs no mark, and should not need a segment for one.
    fn settle_unused(&mut self) {
        if self.current.is_none() && self.backlog_bytes() == 0 && self.in_flight.is_empty() {
            self.closing = Closing::Closed;
        }
    }

    fn latch(&mut self, reason: String) {
        reached(Branch::Latched);
        self.failure.get_or_insert(reason);
        self.undecided.latch();
        self.full.clear();
        self.full_bytes = 0;
    }
}

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
use std::time::Duration;

use super::LogIdentity;
use super::frame::{FLAG_CLEAN_STOP, FLAG_TRANSACTIONS, FRAME_HEADER_BYTES, FrameHeader, seal_frame};
use super::options::{Durability, LogOptions, limits};
use super::prepare::{PAUSE_MAX, PIECE_BYTES_PACED, SegmentRequest};
use super::record::{EncodedEffect, GROUP_END, LENGTH_BYTES_MAX};
use super::segment::{PreparedSegment, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentId};
use super::sync::SyncRequest;
use super::undecided::Undecided;
use crate::buffer::AlignedBuffer;
use crate::coverage::{Branch, reached};
use crate::disk::WriteSync;
use crate::{Effect, EffectSink, GroupNote, Lsn, ShardId, TransactionId};

/// Fragments smaller than this aren't worth their header: the frame is closed instead.
const FRAGMENT_BYTES_MIN: usize = 64;

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

impl<F: Clone> EffectSink for Log<F> {
    #[inline]
    fn append(&mut self, effect: Effect<'_>) -> Lsn {
        self.maybe_note_time();
        self.append_record(&EncodedEffect::new(&effect))
    }

    #[inline]
    fn end_group(&mut self) {
        if !self.group_open {
            return;
        }
        self.group_open = false;
        self.group_end_lsn = self.last_lsn;
        if self.failure.is_none() {
            // Within a group the open frame doesn't leave, and a frame is only closed to append to the next one:
            // the last record is in the open frame.
            self.open.buffer[self.last_head] |= GROUP_END;
        }
        if self.group_flags != 0 {
            self.group_flags = 0;
            self.undecided.end(self.last_lsn);
        }
    }

    fn begin_transaction(&mut self, id: TransactionId, participants: &[ShardId]) -> Lsn {
        let shard = self.options.shard;
        assert!(!self.group_open, "shard {shard}: transaction {id} begins within a group");
        let encoded: Vec<_> = participants.iter().map(|shard| shard.0.to_le_bytes()).collect();
        let first = self.append_note(&GroupNote::Transaction { id, participants: &encoded });
        self.greatest_transaction = self.greatest_transaction.max(id);
        self.undecided.begin(id, first, shard, participants);
        let failed = self.failed_peers.iter().copied().find(|peer| participants.contains(peer));
        if let Some(peer) = failed {
            self.latch(format!("transaction {id} waits for shard {peer}, whose log has failed"));
        }
        first
    }

    fn append_depends(&mut self, on: &[TransactionId]) -> Lsn {
        let encoded: Vec<_> = on.iter().map(|id| id.0.to_le_bytes()).collect();
        let first = self.group_end_lsn.next();
        self.undecided.depend(on);
        for on in encoded.chunks(limits::NOTE_LIST_MAX) {
            self.append_note(&GroupNote::Depends { first, on });
        }
        self.last_lsn
    }

    fn set_time(&mut self, unix_ms: u64) {
        self.unix_ms = unix_ms;
    }

    fn is_undecided(&self, id: TransactionId) -> bool {
        self.undecided.contains(id)
    }

    fn undecided(&self, ids: &mut Vec<TransactionId>) {
        ids.extend(self.undecided.ids());
    }

    fn decided_to(&self) -> Lsn {
        self.horizon
    }

    fn is_settled(&self) -> bool {
        self.horizon == self.last_lsn
    }
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

    /// Segments that hold the log or are prepared ahead; how many of them are prepared ahead; and bytes of
    /// a new one.
    pub fn segments(&self) -> (u64, u64, u64) {
        let segments = self.live.len() + self.prepared.len();
        (segments as u64, self.prepared.len() as u64, self.options.segment_bytes)
    }

    /// The shard's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Gives up the segments that hold nothing but effects up to `lsn`: a checkpoint has them. Their files are the caller's from
    /// now on, the oldest first.
    pub fn release_segments(&mut self, lsn: Lsn) -> Vec<SegmentId> {
        let mut released = Vec::new();
        // The first effect of the next segment may begin in this one.
        while self.live.get(1).is_some_and(|(_, first)| *first <= lsn) {
            released.extend(self.live.pop_front().map(|(id, _)| id));
        }
        released
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
        if self.failure.is_some() || self.in_flight.len() >= self.options.in_flight_max {
            return None;
        }
        let due = self.due(now_ns)?;
        let frame_bytes = self.padded(match due {
            Due::Full => self.full.front()?.used,
            Due::Open => self.open.used,
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
        let waits = waits.filter(|&at| at > self.now_ns);
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

    /// The segment that the shard should have prepared now, if any. One at a time: the answer is
    /// [`Self::add_segment`] or [`Self::segment_failed`].
    pub fn need_segment(&mut self, now_ns: u64) -> Option<SegmentRequest> {
        self.now_ns = now_ns;
        if self.segment_requested
            || self.failure.is_some()
            || self.segment_retry_at_ns.is_some_and(|at| now_ns < at)
        {
            return None;
        }
        self.segment_retry_at_ns = None;
        let wanted = match self.closing {
            Closing::No => {
                self.prepared.len() < self.options.segments_ahead || self.room_bytes() < self.reserve_bytes()
            }
            Closing::Draining => self.prepared.is_empty() && self.room_bytes() < self.reserve_bytes(),
            Closing::Marked | Closing::Closed => false,
        };
        if !wanted {
            return None;
        }
        self.segment_requested = true;
        Some(SegmentRequest {
            directory: self.directory.clone(),
            id: self.next_segment,
            bytes: self.options.segment_bytes,
            bytes_min: 4 * self.options.frame_bytes_max as u64,
            pause: self.segment_pause(),
        })
    }

    /// How much the next segment may take its time: it should be there when half of the time has passed in which the log has
    /// filled the one before, a quarter of which the writing itself may take.
    fn segment_pause(&self) -> Duration {
        if self.room_bytes() < self.options.segment_bytes / 2 {
            return Duration::ZERO;
        }
        let pieces = (self.options.segment_bytes / PIECE_BYTES_PACED as u64).max(1);
        let budget_ns = self.segment_fill_ns.unwrap_or(u64::MAX) / 4;
        PAUSE_MAX.min(Duration::from_nanos(budget_ns / pieces))
    }

    /// A segment is ready.
    ///
    /// # Panics
    /// When it isn't the one that was asked for.
    pub fn add_segment(&mut self, segment: PreparedSegment<F>) {
        let shard = self.options.shard;
        assert!(self.segment_requested, "shard {shard}: a segment that nobody asked for");
        assert_eq!(segment.id, self.next_segment, "shard {shard}: a segment out of order");
        self.segment_requested = false;
        self.segment_error = None;
        self.next_segment = self.next_segment.next();
        self.prepared.push_back(segment);
    }

    /// The segment asked for could not be made. The log goes on with what it has, and asks again after a while.
    pub fn segment_failed(&mut self, error: &io::Error) {
        self.segment_requested = false;
        reached(Branch::SegmentFailed);
        self.segment_error = Some(format!("segment {} could not be made: {error}", self.next_segment));
        self.segment_retry_at_ns = Some(self.now_ns.saturating_add(self.options.segment_retry_ns));
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

    fn due(&mut self, now_ns: u64) -> Option<Due> {
        if !self.full.is_empty() {
            return Some(Due::Full);
        }
        if self.group_open {
            return None;
        }
        let quiet = self.in_flight.is_empty();
        let waiting = match (self.open.is_empty(), self.closing) {
            (false, Closing::Draining) => return Some(Due::Open),
            (false, _) if self.options.durability == Durability::Always => return Some(Due::Open),
            (true, Closing::Draining) => {
                // What is not decided now, recovery would have to decide: a clean stop leaves nothing of the kind.
                return (quiet && self.undecided.is_empty()).then_some(Due::CleanStop);
            }
            (_, Closing::Marked | Closing::Closed) => return None,
            (false, Closing::No) => Due::Open,
            (true, Closing::No) if quiet && self.claims_for_fence() => return Some(Due::Horizon),
            (true, Closing::No) if quiet && self.announced < self.horizon => Due::Horizon,
            (true, Closing::No) => {
                self.waiting_since_ns = None;
                return None;
            }
        };
        let since = *self.waiting_since_ns.get_or_insert(now_ns);
        (now_ns.saturating_sub(since) >= self.wait_ns()).then_some(waiting)
    }

    /// Whether a frame without effects would claim what somebody waits for, and none on its way does.
    fn claims_for_fence(&self) -> bool {
        self.written_claims < self.fence.min(self.horizon)
    }

    /// How long what waits now may wait.
    fn wait_ns(&self) -> u64 {
        match self.options.durability {
            Durability::Always => self.options.horizon_idle_ns,
            Durability::EverySec | Durability::None => self.options.interval_ns,
        }
    }

    fn take_frame(&mut self, due: Due) -> Option<Frame> {
        match due {
            Due::Full => {
                let frame = self.full.pop_front()?;
                self.full_bytes -= (frame.used - FRAME_HEADER_BYTES) as u64;
                Some(frame)
            }
            Due::Open | Due::Horizon | Due::CleanStop => Some(self.close_open(self.last_lsn.next())),
        }
    }

    /// Takes the open frame, and puts an empty one in its place whose first effect to end is `first_lsn`.
    fn close_open(&mut self, first_lsn: Lsn) -> Frame {
        let buffer = self.pool.pop().unwrap_or_else(|| AlignedBuffer::new(self.options.frame_bytes_max));
        let mut frame = std::mem::replace(&mut self.open, Frame::new(buffer, first_lsn, self.group_flags));
        frame.durable_to = self.group_end_lsn;
        frame
    }

    /// Gives a frame its place and its checksum.
    fn seal(&mut self, mut frame: Frame, due: Due, frame_bytes: usize) -> Option<LogWrite<F>> {
        let current = self.current.as_mut()?;
        let offset = current.offset;
        current.offset += frame_bytes as u64;
        let (file, segment) = (current.segment.file.clone(), current.segment.id);
        frame.buffer[frame.used..frame_bytes].fill(0);
        let claims = match self.abandoned {
            // The record is in a later frame.
            Some(abandoned) if frame.first_lsn.0 + u64::from(frame.records) <= abandoned.recorded_at.0 => {
                abandoned.before
            }
            _ => {
                self.abandoned = None;
                self.horizon
            }
        };
        let header = FrameHeader {
            previous: self.chain,
            frame_bytes,
            payload_bytes: frame.used - FRAME_HEADER_BYTES,
            flags: frame.flags | if due == Due::CleanStop { FLAG_CLEAN_STOP } else { 0 },
            incarnation: self.incarnation,
            first_lsn: frame.first_lsn,
            horizon: claims,
            records: frame.records,
            offset,
            segment,
        };
        self.chain = seal_frame(&mut frame.buffer[..frame_bytes], &header, self.identity, self.seed);
        self.announced = claims;
        if due == Due::Horizon {
            reached(Branch::HorizonFrame);
        }
        if due == Due::CleanStop {
            self.closing = Closing::Marked;
        }
        Some(self.launch(file, offset, frame.buffer, frame_bytes, (frame.durable_to, claims)))
    }

    /// Takes the next prepared segment into use; the write is its header. Nothing if there's none: the shard learns so
    /// from `need_segment`.
    fn enter_next_segment(&mut self) -> Option<LogWrite<F>> {
        let Some(segment) = self.prepared.pop_front() else {
            reached(Branch::SegmentAwaited);
            return None;
        };
        reached(Branch::SegmentFull);
        let entered_before_ns = self.segment_entered_ns.replace(self.now_ns);
        self.segment_fill_ns = entered_before_ns.map(|before| self.now_ns.saturating_sub(before));
        let header = SegmentHeader {
            identity: self.identity,
            incarnation: self.incarnation,
            id: segment.id,
            first_lsn: self.full.front().map_or(self.open.first_lsn, |frame| frame.first_lsn),
            chain: self.chain,
            bytes: segment.bytes,
        };
        let mut block = AlignedBuffer::new(SEGMENT_HEADER_BYTES);
        header.encode(&mut block);
        let file = segment.file.clone();
        self.live.push_back((segment.id, header.first_lsn));
        self.current = Some(CurrentSegment { segment, offset: SEGMENT_HEADER_BYTES as u64 });
        // Its completion makes nothing durable by itself; what came before it may still be in flight.
        let durable_to = self.in_flight.back().map_or(self.written_to, |write| write.durable_to);
        Some(self.launch(file, 0, block, SEGMENT_HEADER_BYTES, (durable_to, Lsn::ZERO)))
    }

    fn launch(
        &mut self,
        file: F,
        offset: u64,
        buffer: AlignedBuffer,
        len: usize,
        (durable_to, claims): (Lsn, Lsn),
    ) -> LogWrite<F> {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        let synced = self.options.durability != Durability::None || self.closing == Closing::Marked;
        let segment = self.current.as_ref().map_or(SegmentId::FIRST, |current| current.segment.id);
        let write = InFlight { id, segment, offset, len, durable_to, claims, synced, done: false };
        self.in_flight.push_back(write);
        self.in_flight_bytes += len as u64;
        self.writes += 1;
        self.written_bytes += len as u64;
        let sync = if synced { WriteSync::DataSync } else { WriteSync::None };
        #[cfg(feature = "planted")]
        let sync = if crate::planted::planted().skip_commit_sync { WriteSync::None } else { sync };
        LogWrite { id, file, offset, buffer, len, sync }
    }

    #[inline]
    fn append_record(&mut self, record: &EncodedEffect<'_>) -> Lsn {
        self.last_lsn = self.last_lsn.next();
        self.group_open = true;
        if record.record_bytes() <= self.open_room() {
            self.push_whole(record);
        } else {
            self.append_beyond(record);
        }
        self.last_lsn
    }

    /// Every frame that has a part of the group from here on says so: a reader that asks about transactions alone sees
    /// all of it.
    fn append_note(&mut self, note: &GroupNote<'_>) -> Lsn {
        self.maybe_note_time();
        self.group_flags = FLAG_TRANSACTIONS;
        self.open.flags |= FLAG_TRANSACTIONS;
        self.append_record(&EncodedEffect::of_note(note))
    }

    /// Says what time it is before the first group of each millisecond: that is how a log is cut at a time.
    #[inline]
    fn maybe_note_time(&mut self) {
        if !self.group_open && self.unix_ms > self.noted_ms {
            self.noted_ms = self.unix_ms;
            self.append_record(&EncodedEffect::of_note(&GroupNote::Time { unix_ms: self.unix_ms }));
            self.end_group();
        }
    }

    /// What recovery has dropped is said before anything else.
    fn record_abandoned(&mut self, groups: &[Lsn]) {
        let Some(first) = groups.first() else { return };
        let encoded: Vec<_> = groups.iter().map(|lsn| lsn.0.to_le_bytes()).collect();
        for groups in encoded.chunks(limits::NOTE_LIST_MAX) {
            self.append_note(&GroupNote::Abandoned { groups });
        }
        self.end_group();
        self.abandoned = Some(Abandoned { recorded_at: self.last_lsn, before: Lsn(first.0 - 1) });
    }

    #[inline]
    const fn open_room(&self) -> usize {
        self.options.frame_bytes_max - self.open.used
    }

    #[inline]
    fn push_whole(&mut self, record: &EncodedEffect<'_>) {
        let (bytes, head) = record.write(&mut self.open.buffer[self.open.used..]);
        self.last_head = self.open.used + head;
        self.open.used += bytes;
        self.open.records += 1;
    }

    /// The record doesn't fit the open frame: into the next one, or, when it is larger than a frame, in pieces.
    #[cold]
    fn append_beyond(&mut self, record: &EncodedEffect<'_>) {
        if self.failure.is_some() {
            // Never to be written: only the numbering goes on.
            self.open.used = FRAME_HEADER_BYTES;
            self.open.records = 0;
            return;
        }
        if record.record_bytes() <= self.options.frame_bytes_max - FRAME_HEADER_BYTES {
            self.close_full();
            self.push_whole(record);
            return;
        }
        reached(Branch::EffectSplit);
        let mut from = 0;
        while from < record.body_bytes() {
            if self.open_room() < LENGTH_BYTES_MAX + 1 + FRAGMENT_BYTES_MIN {
                self.close_full();
            }
            let end = self.options.frame_bytes_max;
            let out = &mut self.open.buffer[self.open.used..end];
            let (taken, bytes, head) = record.write_fragment(from, out);
            self.last_head = self.open.used + head;
            self.open.used += bytes;
            from += taken;
        }
        self.open.records += 1;
    }

    fn close_full(&mut self) {
        let frame = self.close_open(self.last_lsn);
        if !frame.is_empty() {
            reached(Branch::FrameFull);
            self.full_bytes += (frame.used - FRAME_HEADER_BYTES) as u64;
            self.full.push_back(frame);
        }
    }

    /// Room in the segments at hand beyond what waits already.
    fn room_bytes(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |it| it.segment.bytes - it.offset);
        let prepared: u64 = self.prepared.iter().map(|it| it.bytes - SEGMENT_HEADER_BYTES as u64).sum();
        // A frame is padded, and the last one of a segment leaves up to its own size unused.
        let waste = (self.options.frame_bytes_max * (1 + self.prepared.len())) as u64;
        (current + prepared).saturating_sub(self.backlog_bytes() + waste)
    }

    /// What admission leaves free.
    fn reserve_bytes(&self) -> u64 {
        limits::RESERVE_BYTES.min(self.options.segment_bytes / 8)
    }

    const fn padded(&self, bytes: usize) -> usize {
        bytes.next_multiple_of(self.options.alignment)
    }

    fn latch(&mut self, reason: String) {
        reached(Branch::Latched);
        self.failure.get_or_insert(reason);
        self.undecided.latch();
        self.full.clear();
        self.full_bytes = 0;
    }
}

//! Where the log goes: segments asked for ahead of time, entered, and given up.

use std::io;
use std::time::Duration;

use super::{Closing, CurrentSegment, Log, LogWrite, SealedSegment};
use crate::Lsn;
use crate::buffer::AlignedBuffer;
use crate::coverage::{Branch, reached};
use crate::log::options::limits;
use crate::log::prepare::{PAUSE_MAX, PIECE_BYTES_PACED, SegmentRequest};
use crate::log::segment::{PreparedSegment, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentId};

impl<F: Clone> Log<F> {
    /// Segments that hold the log or are prepared ahead; how many of them are prepared ahead; and bytes of
    /// a new one.
    pub fn segments(&self) -> (u64, u64, u64) {
        let segments = self.live.len() + self.prepared.len();
        (segments as u64, self.prepared.len() as u64, self.options.segment_bytes)
    }

    /// The segments that the log has left, with what they hold written: nothing in them changes any more.
    pub fn sealed_segments(&self) -> Vec<SealedSegment> {
        let after = self.live.iter().skip(1).map(|(_, first_lsn)| Lsn(first_lsn.0 - 1));
        let segments = self.live.iter().zip(after);
        let sealed = segments.map(|((id, _), last_lsn)| SealedSegment { id: *id, last_lsn });
        sealed.filter(|segment| segment.last_lsn <= self.written_to).collect()
    }

    /// The first segment that holds the log, and the first effect that ends in it.
    pub fn begins(&self) -> Option<(SegmentId, Lsn)> {
        self.live.front().copied()
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

    /// Room in the segments at hand beyond what waits already.
    pub(super) fn room_bytes(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |it| it.segment.bytes - it.offset);
        let prepared: u64 = self.prepared.iter().map(|it| it.bytes - SEGMENT_HEADER_BYTES as u64).sum();
        // A frame is padded, and the last one of a segment leaves up to its own size unused.
        let waste = (self.options.frame_bytes_max * (1 + self.prepared.len())) as u64;
        (current + prepared).saturating_sub(self.backlog_bytes() + waste)
    }

    /// What admission leaves free.
    pub(super) fn reserve_bytes(&self) -> u64 {
        limits::RESERVE_BYTES.min(self.options.segment_bytes / 8)
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
    pub(super) fn segment_pause(&self) -> Duration {
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

    /// Takes the next prepared segment into use; the write is its header. Nothing if there's none: the shard learns so
    /// from `need_segment`.
    pub(super) fn enter_next_segment(&mut self) -> Option<LogWrite<F>> {
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
}

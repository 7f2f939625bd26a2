//! What leaves next, and how a frame gets its place, its link and its checksum.

use super::fill::Leaves;
use super::{Closing, Due, Frame, InFlight, Log, LogWrite, WriteId};
use crate::Lsn;
use crate::buffer::AlignedBuffer;
use crate::coverage::{Branch, reached};
use crate::disk::WriteSync;
use crate::log::frame::{FLAG_CLEAN_STOP, FRAME_HEADER_BYTES, FrameHeader, seal_frame};
use crate::log::options::Durability;
use crate::log::segment::SegmentId;

impl<F: Clone> Log<F> {
    pub(super) fn due(&mut self, now_ns: u64) -> Option<Due> {
        if !self.full.is_empty() {
            return Some(Due::Full);
        }
        if self.group_open {
            return None;
        }
        let quiet = self.in_flight.is_empty();
        let waiting = match (self.open.is_empty(), self.closing) {
            (false, Closing::Draining) => return Some(Due::Open),
            (false, _) if self.options.durability == Durability::Always => return self.due_open(),
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

    fn due_open(&mut self) -> Option<Due> {
        match self.leaves() {
            Leaves::Whole => Some(Due::Open),
            Leaves::Cut(cut) => Some(Due::Cut(cut)),
            Leaves::Later => None,
        }
    }

    /// Whether a frame without effects would claim what somebody waits for, and none on its way does.
    pub(super) fn claims_for_fence(&self) -> bool {
        self.written_claims < self.fence.min(self.horizon)
    }

    /// How long what waits now may wait.
    pub(super) fn wait_ns(&self) -> u64 {
        match self.options.durability {
            Durability::Always => self.options.horizon_idle_ns,
            Durability::EverySec | Durability::None => self.options.interval_ns,
        }
    }

    pub(super) fn take_frame(&mut self, due: Due) -> Option<Frame> {
        match due {
            Due::Full => {
                let frame = self.full.pop_front()?;
                self.full_bytes -= (frame.used - FRAME_HEADER_BYTES) as u64;
                Some(frame)
            }
            Due::Cut(cut) => Some(self.cut_open(cut)),
            Due::Open | Due::Horizon | Due::CleanStop => Some(self.close_open(self.last_lsn.next())),
        }
    }

    /// Takes the open frame, and puts an empty one in its place whose first effect to end is `first_lsn`.
    pub(super) fn close_open(&mut self, first_lsn: Lsn) -> Frame {
        let buffer = self.pool.pop().unwrap_or_else(|| AlignedBuffer::new(self.options.frame_bytes_max));
        let mut frame = std::mem::replace(&mut self.open, Frame::new(buffer, first_lsn, self.group_flags));
        frame.durable_to = self.group_end_lsn;
        self.begin_filling();
        frame
    }

    /// Gives a frame its place and its checksum.
    pub(super) fn seal(&mut self, mut frame: Frame, due: Due, frame_bytes: usize) -> Option<LogWrite<F>> {
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
        self.sealed_bytes += header.payload_bytes as u64;
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

    pub(super) fn launch(
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

    pub(super) const fn padded(&self, bytes: usize) -> usize {
        bytes.next_multiple_of(self.options.alignment)
    }
}

//! When a frame that is not full leaves, and where it is cut.
//!
//! A write takes whole blocks of [`LogOptions::alignment`](super::LogOptions) bytes. Sent as soon as the disk is free, a frame
//! of a few records is mostly padding. So while records come fast enough to fill the block soon, the frame waits for them, and a
//! frame that has just gone over the edge of a block is cut there: the rest begins the next one. Who is alone, or
//! slow, never waits: what has come lately would not fill the block in time.

use super::{Frame, Log};
use crate::Lsn;
use crate::log::frame::FRAME_HEADER_BYTES;

/// Over what time the flow of records is averaged.
const FLOW_NS: u64 = 1_000_000;
/// Waiting ends when nothing comes for the time that this part of a block takes at the usual flow.
const GAP_PART: usize = 2;
/// How many frames leave as they are, at most, after waiting in vain.
const PASSES_MAX: u32 = 63;
/// Padding up to this part of a block isn't worth waiting for.
const FULL_PART: usize = 16;
/// A frame is not cut where that would make padding of more than this part of a block.
const CUT_PART: usize = 4;

/// How the open frame should leave.
#[derive(Clone, Copy)]
pub(super) enum Leaves {
    /// Now, as it is.
    Whole,
    /// Now, but what is behind this stays.
    Cut(GroupEnd),
    /// Later: see [`Fill::until_ns`].
    Later,
}

/// The end of a group in the open frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupEnd {
    /// Header and payload up to here.
    pub(super) used: usize,
    pub(super) records: u32,
    pub(super) lsn: Lsn,
}

/// What is known about the filling of the open frame.
pub(super) struct Fill {
    /// The end of the last whole group.
    pub(super) end: GroupEnd,
    /// The last end of a group before the edge of a block that a later group went over.
    pub(super) cut: Option<GroupEnd>,
    /// The edge of the block that `end` is in.
    pub(super) edge: usize,
    /// Bytes of records per millisecond, lately.
    flow: u64,
    /// When the flow was last looked at, and how many bytes had been appended then.
    looked_ns: u64,
    appended: u64,
    /// How many frames are to leave as they are, and how many after the next one that waits in vain.
    passes: u32,
    penalty: u32,
    /// Until when it waits for more.
    pub(super) until_ns: Option<u64>,
    /// When the open frame was first seen with something in it, and when it was last seen to have more.
    opened_ns: Option<u64>,
    arrived_ns: u64,
}

impl Fill {
    pub(super) const fn new(lsn: Lsn, alignment: usize) -> Self {
        let end = GroupEnd { used: FRAME_HEADER_BYTES, records: 0, lsn };
        let (flow, looked_ns, appended, arrived_ns) = (0, 0, 0, 0);
        Self {
            end,
            cut: None,
            edge: alignment,
            flow,
            looked_ns,
            appended,
            passes: 0,
            penalty: 0,
            until_ns: None,
            opened_ns: None,
            arrived_ns,
        }
    }
}

impl Fill {
    /// What waited for its block to fill has left, full or not. With each time in vain the log lets more frames pass before it tries
    /// again: as many clients as never fill a block are kept waiting once in [`PASSES_MAX`] frames at most.
    fn on_outcome(&mut self, waited: bool, filled: bool) {
        if !waited {
            self.passes = self.passes.saturating_sub(1);
        } else if filled {
            self.penalty = 0;
        } else {
            self.penalty = (2 * self.penalty + 1).min(PASSES_MAX);
            self.passes = self.penalty;
        }
    }
}

impl<F: Clone> Log<F> {
    /// A group ends where the open frame does.
    #[inline]
    pub(super) fn note_group_end(&mut self) {
        if self.open.used > self.fill.edge {
            self.fill.cut = (self.fill.end.used > FRAME_HEADER_BYTES).then_some(self.fill.end);
            self.fill.edge = self.padded(self.open.used);
        }
        self.fill.end = GroupEnd { used: self.open.used, records: self.open.records, lsn: self.last_lsn };
    }

    /// The open frame begins anew, with `used` bytes in it that end a group.
    pub(super) fn begin_filling(&mut self) {
        self.fill.end =
            GroupEnd { used: self.open.used, records: self.open.records, lsn: self.group_end_lsn };
        self.fill.cut = None;
        self.fill.edge = self.padded(self.open.used);
        self.fill.until_ns = None;
        self.fill.opened_ns = (!self.open.is_empty()).then_some(self.now_ns);
    }

    /// Looks at how much has come. To be called in every turn.
    pub(super) fn measure_flow(&mut self) {
        let now_ns = self.now_ns;
        let appended = self.sealed_bytes + self.full_bytes + (self.open.used - FRAME_HEADER_BYTES) as u64;
        let came = appended - self.fill.appended;
        let passed_ns = now_ns.saturating_sub(self.fill.looked_ns);
        if came > 0 {
            self.fill.arrived_ns = now_ns;
            if !self.open.is_empty() {
                self.fill.opened_ns.get_or_insert(now_ns);
            }
        }
        if passed_ns == 0 {
            return;
        }
        self.fill.looked_ns = now_ns;
        self.fill.appended = appended;
        let kept = self.fill.flow * FLOW_NS.saturating_sub(passed_ns) / FLOW_NS;
        self.fill.flow = kept + came * 1_000_000 / passed_ns.max(FLOW_NS);
    }

    /// How the open frame, which has whole groups only, should leave.
    pub(super) fn leaves(&mut self) -> Leaves {
        let waited_until_ns = self.fill.until_ns.take();
        let waited = waited_until_ns.is_some();
        let in_vain =
            waited_until_ns.is_some_and(|at| at <= self.now_ns && self.fill.arrived_ns < self.now_ns);
        let missing = self.missing(self.open.used);
        if self.options.fill_wait_ns == 0 || missing <= self.options.alignment / FULL_PART {
            self.fill.on_outcome(waited, true);
            return Leaves::Whole;
        }
        let cut = self.fill.cut.filter(|cut| self.missing(cut.used) <= self.options.alignment / CUT_PART);
        let until_ns = if in_vain { None } else { self.fills_until_ns(missing, cut.is_some()) };
        let Some(until_ns) = until_ns else {
            self.fill.on_outcome(waited, false);
            return Leaves::Whole;
        };
        if let Some(cut) = cut {
            self.fill.on_outcome(waited, true);
            return Leaves::Cut(cut);
        }
        self.fill.until_ns = Some(until_ns);
        Leaves::Later
    }

    /// Until when what is behind the last edge may wait for the `missing` bytes of its block, if they are to be expected. What has
    /// `just_begun` a block has its whole time before it.
    fn fills_until_ns(&self, missing: usize, just_begun: bool) -> Option<u64> {
        let (fill, now_ns) = (&self.fill, self.now_ns);
        if fill.passes > 0 || fill.flow == 0 {
            return None;
        }
        let time_of_ns = |bytes: usize| bytes as u64 * 1_000_000 / fill.flow;
        let opened_ns = fill.opened_ns.filter(|_| !just_begun).unwrap_or(now_ns);
        let until_ns = opened_ns.saturating_add(self.options.fill_wait_ns);
        let gap_ns = fill.arrived_ns.saturating_add(time_of_ns(self.options.alignment / GAP_PART));
        (now_ns + time_of_ns(missing) <= until_ns && now_ns < gap_ns).then_some(gap_ns.min(until_ns))
    }

    /// Takes what of the open frame is before `cut`; the rest stays.
    pub(super) fn cut_open(&mut self, cut: GroupEnd) -> Frame {
        let mut frame = self.close_open(cut.lsn.next());
        let rest = frame.used - cut.used;
        let to = FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + rest;
        self.open.buffer[to.clone()].copy_from_slice(&frame.buffer[cut.used..frame.used]);
        self.open.used = to.end;
        self.open.records = frame.records - cut.records;
        self.open.flags = frame.flags;
        self.begin_filling();
        (frame.used, frame.records, frame.durable_to) = (cut.used, cut.records, cut.lsn);
        frame
    }

    const fn missing(&self, used: usize) -> usize {
        self.padded(used) - used
    }
}

//! From records to effects: pieces become bodies, bodies wait for the end of their group, whole groups are applied.

use std::collections::VecDeque;
use std::ops::Range;

use super::scan::FrameTaker;
use super::{RecoveryReport, Replay};
use crate::checkpoint::window::Window;
use crate::coverage::{Branch, reached};
use crate::log::frame::FrameHeader;
use crate::log::limits::RECORD_BYTES_MAX;
use crate::log::record::{Record, RecordFault, decode_body, decode_note, is_note, take_record};
use crate::{Effect, Lsn};

/// How many effects are looked at before the first of them is applied, so that what each needs of the table is on its way
/// when its turn comes.
const AHEAD: usize = 16;

/// Effects of a frame, each a group of its own, that are decoded and not yet applied.
type Ahead<'p> = VecDeque<(Effect<'p>, Lsn)>;

/// What is wrong with a frame's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PayloadFault {
    Record(RecordFault),
    Slot(u16),
}

impl From<RecordFault> for PayloadFault {
    fn from(fault: RecordFault) -> Self {
        Self::Record(fault)
    }
}

/// The state between frames of one log.
pub(super) struct Assembler<'a> {
    /// Groups that the log's shard owned: what its records may name.
    logging: Range<u16>,
    /// Those among them that are to be applied.
    wanted: Range<u16>,
    /// What the image has already.
    window: Option<&'a mut Window>,
    apply: &'a mut dyn Replay,
    report: &'a mut RecoveryReport,
    /// First effects of groups that are passed over, sorted.
    dropped: &'a [Lsn],
    /// Groups that end after this effect are passed over.
    until: Lsn,
    /// Bytes of frames that were read, and that are expected.
    read_bytes: u64,
    log_bytes: u64,
    /// The group that hasn't ended is one of them.
    dropping: bool,
    /// Bodies of a group that hasn't ended, each behind its length.
    group: Vec<u8>,
    group_effects: u64,
    /// The number of its first.
    group_lsn: Lsn,
    /// The pieces so far of a body.
    fragment: Vec<u8>,
    /// The frame before, for a planted mistake.
    #[cfg(feature = "planted")]
    before: Option<(Vec<u8>, FrameHeader)>,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(
        logging: Range<u16>,
        wanted: Range<u16>,
        window: Option<&'a mut Window>,
        dropped: &'a [Lsn],
        apply: &'a mut dyn Replay,
        report: &'a mut RecoveryReport,
    ) -> Self {
        Self {
            logging,
            wanted,
            window,
            apply,
            report,
            dropped,
            until: Lsn(u64::MAX),
            read_bytes: 0,
            log_bytes: 0,
            dropping: false,
            group: Vec::new(),
            group_effects: 0,
            group_lsn: Lsn::ZERO,
            fragment: Vec::new(),
            #[cfg(feature = "planted")]
            before: None,
        }
    }

    /// Passes over groups that end after this effect.
    pub(super) fn stop_at(&mut self, until: Lsn) {
        self.until = until;
    }

    /// The log has about so many bytes.
    pub(super) fn expect_bytes(&mut self, log_bytes: u64) {
        self.log_bytes = log_bytes;
    }

    pub(super) fn report(&mut self) -> &mut RecoveryReport {
        self.report
    }

    /// Takes the records of a frame in which `records` effects are to end, the first of which is `first`.
    fn take_records(&mut self, payload: &[u8], first: Lsn, records: u32) -> Result<(), PayloadFault> {
        let mut ahead = Ahead::with_capacity(AHEAD);
        let taken = self.take_ahead(payload, first, records, &mut ahead);
        // What was whole before a fault counts.
        self.apply_ahead(&mut ahead, 0)?;
        taken
    }

    fn take_ahead<'p>(
        &mut self,
        mut payload: &'p [u8],
        first: Lsn,
        records: u32,
        ahead: &mut Ahead<'p>,
    ) -> Result<(), PayloadFault> {
        let mut ended = 0;
        let mut lsn = first;
        while let Some(record) = take_record(&mut payload)? {
            match record {
                Record::Whole { .. } if !self.fragment.is_empty() => {
                    return Err(RecordFault::Interleaved.into());
                }
                Record::Whole { body, group_end } => {
                    ended += 1;
                    if group_end && !is_note(body) && self.takes_plain(lsn) {
                        let effect = decode_body(body)?;
                        self.report.effects += 1;
                        self.apply.expect(&effect);
                        ahead.push_back((effect, lsn));
                        self.apply_ahead(ahead, AHEAD - 1)?;
                    } else {
                        self.apply_ahead(ahead, 0)?;
                        self.take_body(body, lsn, group_end)?;
                    }
                    lsn = lsn.next();
                }
                Record::Fragment { bytes, last, group_end } => {
                    let whole_bytes = self.fragment.len() + bytes.len();
                    if whole_bytes > RECORD_BYTES_MAX {
                        return Err(RecordFault::TooLarge { bytes: whole_bytes }.into());
                    }
                    self.apply_ahead(ahead, 0)?;
                    self.fragment.extend_from_slice(bytes);
                    if last {
                        ended += 1;
                        let body = std::mem::take(&mut self.fragment);
                        if is_note(&body) && !self.is_in_image(lsn) {
                            // Whoever asks for notes alone could not have read it.
                            return Err(RecordFault::Interleaved.into());
                        }
                        self.take_body(&body, lsn, group_end)?;
                        lsn = lsn.next();
                    }
                }
            }
        }
        if ended == records {
            Ok(())
        } else {
            Err(RecordFault::Count { expected: records, found: ended }.into())
        }
    }

    /// Whether an effect that ends a group is all of it, and is neither in the image nor passed over.
    fn takes_plain(&self, lsn: Lsn) -> bool {
        self.group.is_empty() && self.dropped.is_empty() && lsn <= self.until && !self.is_in_image(lsn)
    }

    /// Applies the first of these, until so many are left.
    fn apply_ahead(&mut self, ahead: &mut Ahead<'_>, left: usize) -> Result<(), PayloadFault> {
        while ahead.len() > left
            && let Some((effect, lsn)) = ahead.pop_front()
        {
            self.apply_effect(&effect, lsn)?;
        }
        Ok(())
    }

    /// A planted mistake: the frame before this one is applied again, if both are whole in themselves.
    #[cfg(feature = "planted")]
    fn replay_before(&mut self, payload: &[u8], header: &FrameHeader) {
        if !crate::planted::planted().replay_twice {
            return;
        }
        if !self.group.is_empty() || !self.fragment.is_empty() {
            self.before = None;
        } else if let Some((before, header)) = self.before.replace((payload.to_vec(), *header)) {
            let _ = self.take_records(&before, header.first_lsn, header.records);
        }
    }

    fn take_body(&mut self, body: &[u8], lsn: Lsn, group_end: bool) -> Result<(), PayloadFault> {
        self.report.effects += 1;
        if self.is_in_image(lsn) {
            return Ok(());
        }
        if !self.dropped.is_empty() && self.drops(lsn, group_end) {
            return Ok(());
        }
        if group_end && lsn > self.until {
            self.abandon_unfinished();
            return Ok(());
        }
        if self.group.is_empty() && group_end {
            return self.apply_body(body, lsn);
        }
        if self.group.is_empty() {
            self.group_lsn = lsn;
        }
        self.group.extend_from_slice(&(body.len() as u32).to_le_bytes());
        self.group.extend_from_slice(body);
        self.group_effects += 1;
        if !group_end {
            return Ok(());
        }
        let group = std::mem::take(&mut self.group);
        self.group_effects = 0;
        let (mut rest, mut lsn) = (group.as_slice(), self.group_lsn);
        while let Some((&bytes, after)) = rest.split_first_chunk::<4>() {
            let (body, after) = after.split_at(u32::from_le_bytes(bytes) as usize);
            self.apply_body(body, lsn)?;
            lsn = lsn.next();
            rest = after;
        }
        // Keep the memory, unless one huge group has blown it up.
        if group.capacity() <= 1 << 20 {
            self.group = group;
            self.group.clear();
        }
        Ok(())
    }

    /// Whether all of an effect's group is in the image. Of the first of these a piece may be missing, so none is looked into.
    fn is_in_image(&self, lsn: Lsn) -> bool {
        self.window.as_ref().is_some_and(|window| lsn <= window.from())
    }

    /// Whether an effect belongs to a dropped group.
    fn drops(&mut self, lsn: Lsn, group_end: bool) -> bool {
        let dropping = self.dropping || self.group.is_empty() && self.dropped.binary_search(&lsn).is_ok();
        self.dropping = dropping && !group_end;
        if dropping {
            reached(Branch::TransactionDropped);
        }
        self.report.dropped += u64::from(dropping);
        dropping
    }

    #[inline]
    fn apply_body(&mut self, body: &[u8], lsn: Lsn) -> Result<(), PayloadFault> {
        if is_note(body) {
            // What it says has been asked of all logs before.
            decode_note(body)?;
            return Ok(());
        }
        self.apply_effect(&decode_body(body)?, lsn)
    }

    #[inline]
    fn apply_effect(&mut self, effect: &Effect<'_>, lsn: Lsn) -> Result<(), PayloadFault> {
        let slot = match *effect {
            Effect::Set { slot, .. }
            | Effect::SetRange { slot, .. }
            | Effect::Delete { slot, .. }
            | Effect::Expire { slot, .. }
            | Effect::Change { slot, .. } => Some(slot),
            Effect::FlushDatabase { .. }
            | Effect::SwapDatabases { .. }
            | Effect::Library { .. }
            | Effect::FlushLibraries => None,
        };
        if let Some(slot) = slot {
            let group = slot >> 6;
            if !self.logging.contains(&group) {
                return Err(PayloadFault::Slot(slot));
            }
            if !self.wanted.contains(&group) {
                return Ok(());
            }
        }
        if self.window.as_mut().is_some_and(|window| !window.lacks(lsn, effect)) {
            return Ok(());
        }
        self.report.applied += 1;
        self.apply.apply(effect, &self.wanted);
        Ok(())
    }
}

impl FrameTaker for Assembler<'_> {
    fn on_segment(&mut self) {
        self.report.segments += 1;
    }

    fn take_frame(&mut self, payload: &[u8], header: &FrameHeader) -> Result<(), PayloadFault> {
        self.apply.on_progress(self.read_bytes, self.log_bytes);
        self.read_bytes += header.frame_bytes as u64;
        self.take_records(payload, header.first_lsn, header.records)?;
        #[cfg(feature = "planted")]
        self.replay_before(payload, header);
        self.report.frames += 1;
        self.report.bytes += header.frame_bytes as u64;
        Ok(())
    }

    fn abandon_unfinished(&mut self) {
        if self.group_effects > 0 {
            reached(Branch::GroupDropped);
        }
        self.report.dropped += self.group_effects;
        self.group.clear();
        self.group_effects = 0;
        self.fragment.clear();
        self.dropping = false;
    }
}

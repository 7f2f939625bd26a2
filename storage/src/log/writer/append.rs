//! Effects into the open frame: whole, or in pieces over several.

use smallvec::SmallVec;

use super::{Abandoned, Log};
use crate::coverage::{Branch, reached};
use crate::log::frame::{FLAG_TRANSACTIONS, FRAME_HEADER_BYTES};
use crate::log::options::limits;
use crate::log::record::{EncodedEffect, GROUP_END, LENGTH_BYTES_MAX};
use crate::{Effect, EffectSink, GroupNote, Lsn, ShardId, TransactionId};

/// Fragments smaller than this aren't worth their header: the frame is closed instead.
const FRAGMENT_BYTES_MIN: usize = 64;

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
            self.note_group_end();
        }
        if self.group_flags != 0 {
            self.group_flags = 0;
            self.undecided.end(self.last_lsn);
        }
    }

    fn begin_transaction(&mut self, id: TransactionId, participants: &[ShardId]) -> Lsn {
        let shard = self.options.shard;
        assert!(!self.group_open, "shard {shard}: transaction {id} begins within a group");
        let encoded: SmallVec<[_; 8]> = participants.iter().map(|shard| shard.0.to_le_bytes()).collect();
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
    #[inline]
    pub(super) fn append_record(&mut self, record: &EncodedEffect<'_>) -> Lsn {
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
    pub(super) fn append_note(&mut self, note: &GroupNote<'_>) -> Lsn {
        self.maybe_note_time();
        self.group_flags = FLAG_TRANSACTIONS;
        self.open.flags |= FLAG_TRANSACTIONS;
        self.append_record(&EncodedEffect::of_note(note))
    }

    /// Says what time it is before the first group of each millisecond: that is how a log is cut at a time.
    #[inline]
    pub(super) fn maybe_note_time(&mut self) {
        if !self.group_open && self.unix_ms > self.noted_ms {
            self.noted_ms = self.unix_ms;
            self.append_record(&EncodedEffect::of_note(&GroupNote::Time { unix_ms: self.unix_ms }));
            self.end_group();
        }
    }

    /// What recovery has dropped is said before anything else.
    pub(super) fn record_abandoned(&mut self, groups: &[Lsn]) {
        let Some(first) = groups.first() else { return };
        let encoded: Vec<_> = groups.iter().map(|lsn| lsn.0.to_le_bytes()).collect();
        for groups in encoded.chunks(limits::NOTE_LIST_MAX) {
            self.append_note(&GroupNote::Abandoned { groups });
        }
        self.end_group();
        self.abandoned = Some(Abandoned { recorded_at: self.last_lsn, before: Lsn(first.0 - 1) });
    }

    #[inline]
    pub(super) const fn open_room(&self) -> usize {
        self.options.frame_bytes_max - self.open.used
    }

    #[inline]
    pub(super) fn push_whole(&mut self, record: &EncodedEffect<'_>) {
        let (bytes, head) = record.write(&mut self.open.buffer[self.open.used..]);
        self.last_head = self.open.used + head;
        self.open.used += bytes;
        self.open.records += 1;
    }

    /// The record doesn't fit the open frame: into the next one, or, when it is larger than a frame, in pieces.
    #[cold]
    pub(super) fn append_beyond(&mut self, record: &EncodedEffect<'_>) {
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

    pub(super) fn close_full(&mut self) {
        let frame = self.close_open(self.last_lsn);
        if !frame.is_empty() {
            reached(Branch::FrameFull);
            self.full_bytes += (frame.used - FRAME_HEADER_BYTES) as u64;
            self.full.push_back(frame);
        }
    }
}

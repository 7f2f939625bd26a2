//! Reading a log record by record, for people.

use super::RecoveryError;
use super::assemble::PayloadFault;
use super::past::log_from;
use super::scan::{FrameTaker, Given, LogPlace, list_segments, walk};
use crate::disk::{Disk, OpenMode};
use crate::log::SegmentId;
use crate::log::frame::FrameHeader;
use crate::log::record::{Record, decode_body, decode_note, is_note, take_record};
use crate::manifest::DataDirectory;
use crate::{Effect, GroupNote, Lsn, ShardId};

/// What a log has next.
#[derive(Clone, Copy, Debug)]
pub enum Listed<'a> {
    /// A frame begins.
    Frame(&'a FrameHeader),
    /// An effect has ended.
    Effect {
        /// Its number.
        lsn: Lsn,
        /// What it changed.
        effect: Effect<'a>,
        /// The group ends with it.
        ends_group: bool,
    },
    /// What the log says about a group.
    Note {
        /// Its number.
        lsn: Lsn,
        /// What it says.
        note: GroupNote<'a>,
        /// The group ends with it.
        ends_group: bool,
    },
}

/// Gives everything that a log of the newest epoch has from a segment on, retained or not, in order, up to where its frames end; whether
/// that end is honest is not asked.
pub async fn list_log<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
    begins: SegmentId,
    each: &mut dyn FnMut(Listed<'_>),
) -> Result<(), RecoveryError> {
    let live = LogPlace::new(directory, directory.epoch(), shard, OpenMode::READ_DIRECT);
    list_segments(disk, &live, true).await?;
    let (log, ids) = log_from(disk, directory, shard, begins).await?;
    let mut lister = Lister { each, fragment: Vec::new(), is_begun: ids.first().is_none_or(|id| id.0 == 1) };
    walk(disk, &log, &ids, Given::Any, &mut lister).await?;
    Ok(())
}

struct Lister<'a> {
    each: &'a mut dyn FnMut(Listed<'_>),
    fragment: Vec<u8>,
    /// The beginning of a record in pieces may be in a segment that is gone.
    is_begun: bool,
}

impl Lister<'_> {
    fn take_body(&mut self, body: &[u8], lsn: Lsn, ends_group: bool) -> Result<(), PayloadFault> {
        if is_note(body) {
            (self.each)(Listed::Note { lsn, note: decode_note(body)?, ends_group });
        } else {
            (self.each)(Listed::Effect { lsn, effect: decode_body(body)?, ends_group });
        }
        Ok(())
    }
}

impl FrameTaker for Lister<'_> {
    fn take_frame(&mut self, mut payload: &[u8], header: &FrameHeader) -> Result<(), PayloadFault> {
        (self.each)(Listed::Frame(header));
        let mut lsn = header.first_lsn;
        while let Some(record) = take_record(&mut payload)? {
            match record {
                Record::Whole { body, group_end } => {
                    self.is_begun = true;
                    self.take_body(body, lsn, group_end)?;
                    lsn = lsn.next();
                }
                Record::Fragment { bytes, last, group_end } => {
                    self.fragment.extend_from_slice(bytes);
                    if last {
                        let body = std::mem::take(&mut self.fragment);
                        if std::mem::replace(&mut self.is_begun, true) {
                            self.take_body(&body, lsn, group_end)?;
                        }
                        lsn = lsn.next();
                    }
                }
            }
        }
        Ok(())
    }

    fn abandon_unfinished(&mut self) {
        self.fragment.clear();
    }
}

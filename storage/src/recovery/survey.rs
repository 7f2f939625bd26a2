//! Reading a log for what it says about transactions alone: the records of frames without such are passed over.
//!
//! Nothing is judged here: a log that is damaged is refused when it is applied.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::assemble::PayloadFault;
use super::beginning::place_to_survey;
use super::outcome::{LogSurvey, Outcomes, PendingGroup};
use super::scan::{FrameTaker, Given, LogPlace, walk};
use super::{RecoveryError, image};
use crate::disk::{Disk, OpenMode};
use crate::log::SegmentId;
use crate::log::frame::{FLAG_TRANSACTIONS, FrameHeader};
use crate::log::record::{Record, decode_note, is_note, take_record};
use crate::manifest::{DataDirectory, Epoch};
use crate::{GroupNote, Lsn, ShardId, TransactionId};

/// The logs that can have parts of transactions over several, and whose outcomes are not recorded: each is to be surveyed,
/// in any order and by anyone, before [`Outcomes::resolve`].
pub fn logs_to_survey(directory: &DataDirectory) -> Vec<(Epoch, ShardId)> {
    let current = directory.epoch();
    let recorded = |epoch: &Epoch| {
        let closed = directory.closed.iter().filter(|log| log.epoch == epoch.number).count();
        epoch.number != current.number && closed == usize::from(epoch.shards)
    };
    let open = directory.epochs.iter().filter(|epoch| epoch.shards > 1 && !recorded(epoch));
    open.flat_map(|epoch| (0..epoch.shards).map(|shard| (*epoch, ShardId(shard)))).collect()
}

/// Surveys the logs that need it one after the other, and decides.
pub async fn survey_and_resolve<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
) -> Result<Outcomes, RecoveryError> {
    let mut surveys = Vec::new();
    for (epoch, shard) in logs_to_survey(directory) {
        surveys.push(survey_log(disk, directory, epoch, shard).await?);
    }
    Ok(Outcomes::resolve(directory, &surveys))
}

/// Reads one log.
pub async fn survey_log<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    epoch: Epoch,
    shard: ShardId,
) -> Result<LogSurvey, RecoveryError> {
    let mut log = LogPlace::new(directory, epoch, shard, OpenMode::READ_DIRECT);
    let ids = place_to_survey(disk, &mut log).await?;
    survey_place(disk, &log, &ids).await
}

/// The same, from these segments.
pub(super) async fn survey_place<D: Disk>(
    disk: &D,
    log: &LogPlace,
    ids: &[SegmentId],
) -> Result<LogSurvey, RecoveryError> {
    let mut surveyor = Surveyor::default();
    let walked = walk(disk, log, ids, Given::Any, &mut surveyor).await?;
    let imaged = image::greatest_transaction(disk, log).await;
    Ok(LogSurvey {
        epoch: log.identity.epoch,
        shard: log.identity.shard,
        directory: log.directory.clone(),
        end: walked.end_place(log),
        given_up: walked.begins_later().then_some(imaged),
        claimed: surveyor.claimed,
        pending: surveyor.pending.into(),
        abandoned: surveyor.abandoned,
        abandoned_transactions: surveyor.abandoned_transactions,
        greatest: surveyor.greatest.max(imaged),
    })
}

#[derive(Default)]
struct Surveyor {
    /// A group whose end has not been met.
    open: Option<PendingGroup>,
    pending: VecDeque<PendingGroup>,
    claimed: BTreeMap<Box<[ShardId]>, Vec<(TransactionId, Lsn)>>,
    abandoned: Vec<Lsn>,
    abandoned_transactions: BTreeSet<TransactionId>,
    greatest: TransactionId,
}

impl FrameTaker for Surveyor {
    fn take_frame(&mut self, payload: &[u8], header: &FrameHeader) -> Result<(), PayloadFault> {
        if header.flags & FLAG_TRANSACTIONS != 0 {
            self.take_records(payload, header.first_lsn)?;
        }
        self.claim(header.horizon);
        Ok(())
    }

    fn abandon_unfinished(&mut self) {
        self.open = None;
    }
}

impl Surveyor {
    /// Notes are never cut into fragments, so those are of effects, and only their ends matter.
    fn take_records(&mut self, mut payload: &[u8], first: Lsn) -> Result<(), PayloadFault> {
        let mut lsn = first;
        while let Some(record) = take_record(&mut payload)? {
            let (ends, group_end) = match record {
                Record::Whole { body, group_end } => {
                    if is_note(body) {
                        self.take_note(&decode_note(body)?, lsn);
                    }
                    (true, group_end)
                }
                Record::Fragment { last, group_end, .. } => (last, group_end),
            };
            if ends {
                lsn = lsn.next();
                if group_end {
                    self.pending.extend(self.open.take());
                }
            }
        }
        Ok(())
    }

    fn take_note(&mut self, note: &GroupNote<'_>, lsn: Lsn) {
        match note {
            GroupNote::Transaction { id, participants } => {
                let participants = participants.iter().map(|shard| ShardId(u16::from_le_bytes(*shard)));
                let transaction = Some((*id, participants.collect()));
                self.open = Some(PendingGroup { first: lsn, transaction, on: Vec::new() });
                self.greatest = self.greatest.max(*id);
            }
            GroupNote::Depends { first, on } => {
                let group = PendingGroup { first: *first, transaction: None, on: Vec::new() };
                let open = self.open.get_or_insert(group);
                open.on.extend(on.iter().map(|id| TransactionId(u64::from_le_bytes(*id))));
            }
            GroupNote::Time { .. } => {}
            GroupNote::Abandoned { groups } => {
                for first in groups.iter().map(|lsn| Lsn(u64::from_le_bytes(*lsn))) {
                    self.abandon(first);
                }
            }
        }
    }

    fn abandon(&mut self, first: Lsn) {
        self.abandoned.push(first);
        if let Ok(index) = self.pending.binary_search_by_key(&first, |group| group.first)
            && let Some(group) = self.pending.remove(index)
            && let Some((id, _)) = group.transaction
        {
            self.abandoned_transactions.insert(id);
        }
    }

    /// A frame says that everything up to here is durable, so all of it is decided.
    fn claim(&mut self, horizon: Lsn) {
        while let Some(group) = self.pending.pop_front_if(|group| group.first <= horizon) {
            if let Some((id, participants)) = group.transaction {
                self.claimed.entry(participants).or_default().push((id, group.first));
            }
        }
    }
}

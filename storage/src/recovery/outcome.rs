//! Which transactions over several logs a crash has left whole, and which groups go because of those that it has not.
//!
//! Each log is [surveyed](super::survey) by itself; what the surveys say together decides. The rules, for the logs of an epoch:
//! - a transaction whose part a log has claimed durable, in the header of any frame, is whole: the log's horizon does not pass
//!   a part before all are on stable storage;
//! - else it is whole if the log of every participant has its part, and nothing that it depends on is dropped;
//! - else it is dropped, with all its parts and all groups that depend on it, and so on;
//! - what one log says was dropped at a former start is dropped for all.
//!
//! This is the consistent cut: what is kept is closed under "was made from", what was acknowledged is kept, and of a
//! transaction there is all or nothing. It depends on nothing but the logs, so a start that is cut off and repeated decides
//! the same.
//!
//! A part that one log calls durable, and that another has not although it has not given it up, was lost to damage. What a log has
//! given up was of transactions no greater than the greatest that its checkpoint had heard of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::RecoveryError;
use crate::manifest::DataDirectory;
use crate::{Lsn, ShardId, TransactionId};

/// A group that a log has not claimed durable, and that is a part of a transaction or depends on some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PendingGroup {
    pub(super) first: Lsn,
    pub(super) transaction: Option<(TransactionId, Box<[ShardId]>)>,
    pub(super) on: Vec<TransactionId>,
}

/// What one log says about transactions: for [`Outcomes::resolve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSurvey {
    pub(super) epoch: u32,
    pub(super) shard: ShardId,
    pub(super) directory: PathBuf,
    /// The file and the offset where the log ends.
    pub(super) end: (PathBuf, u64),
    /// The greatest transaction that may have had its part where the log was given up, for a checkpoint that has it.
    pub(super) given_up: Option<TransactionId>,
    /// Transactions with a part that the log has claimed durable and that is still there, by participants.
    pub(super) claimed: BTreeMap<Box<[ShardId]>, Vec<(TransactionId, Lsn)>>,
    /// In log order.
    pub(super) pending: Vec<PendingGroup>,
    /// Groups that the log says were dropped, and the transactions among them.
    pub(super) abandoned: Vec<Lsn>,
    pub(super) abandoned_transactions: BTreeSet<TransactionId>,
    pub(super) greatest: TransactionId,
}

/// What becomes of the groups of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogOutcome {
    /// First LSNs of the groups to drop, sorted.
    pub(super) dropped: Vec<Lsn>,
    /// Those among them that the log does not say so of yet.
    pub(super) new: Vec<Lsn>,
    /// Parts of transactions among the new ones.
    pub(super) new_parts: u64,
    /// A part that must have been there.
    missing: Option<MissingPart>,
}

/// A part of a transaction that one log proves and another lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MissingPart {
    id: TransactionId,
    path: PathBuf,
    offset: u64,
    proof_directory: PathBuf,
    proof_lsn: Lsn,
}

/// What is to be dropped of all logs, for [`super::recover_shard`]. The default drops nothing: right where no log can have
/// a part of a transaction over several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    logs: BTreeMap<(u32, ShardId), LogOutcome>,
    transactions_dropped: u64,
    groups_dropped: u64,
    greatest: TransactionId,
}

impl Outcomes {
    /// Decides from the surveys of all logs that [`super::logs_to_survey`] names.
    pub fn resolve(directory: &DataDirectory, surveys: &[LogSurvey]) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for closed in &directory.closed {
            let outcome = LogOutcome { dropped: closed.dropped.clone(), ..LogOutcome::default() };
            outcomes.logs.insert((closed.epoch, closed.shard), outcome);
        }
        let mut epochs: BTreeMap<u32, BTreeMap<ShardId, &LogSurvey>> = BTreeMap::new();
        for survey in surveys {
            outcomes.greatest = outcomes.greatest.max(survey.greatest);
            epochs.entry(survey.epoch).or_default().insert(survey.shard, survey);
        }
        for logs in epochs.values() {
            Cut::new(logs).take(&mut outcomes);
        }
        outcomes
    }

    /// The greatest transaction in any surveyed log; ids given from now on must be above it, by their counters.
    pub fn greatest_transaction(&self) -> TransactionId {
        self.greatest
    }

    /// How many transactions are dropped now that were not before, and how many other groups with them.
    pub fn dropped(&self) -> (u64, u64) {
        (self.transactions_dropped, self.groups_dropped)
    }

    /// Whether the group that begins with this effect is dropped.
    pub fn drops(&self, epoch: u32, shard: ShardId, first: Lsn) -> bool {
        let outcome = self.logs.get(&(epoch, shard));
        outcome.is_some_and(|outcome| outcome.dropped.binary_search(&first).is_ok())
    }

    pub(super) fn of(&self, epoch: u32, shard: ShardId) -> LogOutcome {
        self.logs.get(&(epoch, shard)).cloned().unwrap_or_default()
    }
}

impl LogOutcome {
    /// Refuses a log that lacks what another one proves. To be asked when the log is whole by itself: damage that shows in
    /// it alone is better told.
    pub(super) fn check(&self) -> Result<(), RecoveryError> {
        let Some(missing) = self.missing.clone() else { return Ok(()) };
        let MissingPart { id, path, offset, proof_directory, proof_lsn } = missing;
        Err(RecoveryError::MissingPart { path, offset, id, proof_directory, proof_lsn })
    }
}

/// The search for the cut through the logs of one epoch.
struct Cut<'a> {
    logs: &'a BTreeMap<ShardId, &'a LogSurvey>,
    /// Transactions that a log has claimed durable, by participants: sorted, with the log that says so and the place of its
    /// part. As flat as can be: there may be millions.
    claimed: BTreeMap<&'a [ShardId], Vec<(TransactionId, ShardId, Lsn)>>,
    dropped: BTreeSet<TransactionId>,
}

impl<'a> Cut<'a> {
    fn new(logs: &'a BTreeMap<ShardId, &'a LogSurvey>) -> Cut<'a> {
        let mut cut = Cut { logs, claimed: BTreeMap::new(), dropped: BTreeSet::new() };
        for (shard, log) in logs {
            for (participants, parts) in &log.claimed {
                let all = cut.claimed.entry(participants).or_default();
                all.extend(parts.iter().map(|(id, lsn)| (*id, *shard, *lsn)));
            }
            cut.dropped.extend(&log.abandoned_transactions);
        }
        for ids in cut.claimed.values_mut() {
            ids.sort_unstable();
            ids.dedup_by_key(|(id, ..)| *id);
        }
        cut
    }

    fn is_claimed(&self, id: TransactionId, participants: &[ShardId]) -> bool {
        self.claimed
            .get(participants)
            .is_some_and(|ids| ids.binary_search_by_key(&id, |(claimed, ..)| *claimed).is_ok())
    }

    fn take(mut self, outcomes: &mut Outcomes) {
        let before = self.dropped.clone();
        let mut missing = self.missing_parts();
        self.drop_incomplete();
        self.drop_dependants();
        outcomes.transactions_dropped += (self.dropped.len() - before.len()) as u64;
        for (shard, log) in self.logs {
            let goes = |group: &&PendingGroup| match &group.transaction {
                Some((id, _)) => self.dropped.contains(id),
                None => group.on.iter().any(|id| self.dropped.contains(id)),
            };
            let (mut new, mut new_parts) = (Vec::new(), 0);
            for group in log.pending.iter().filter(goes) {
                new.push(group.first);
                new_parts += u64::from(group.transaction.is_some());
            }
            outcomes.groups_dropped += new.len() as u64 - new_parts;
            let mut dropped = [log.abandoned.as_slice(), new.as_slice()].concat();
            dropped.sort_unstable();
            dropped.dedup();
            let outcome = LogOutcome { dropped, new, new_parts, missing: missing.remove(shard) };
            outcomes.logs.insert((log.epoch, *shard), outcome);
        }
    }

    /// For each log the first part that it must have and has not.
    fn missing_parts(&self) -> BTreeMap<ShardId, MissingPart> {
        let mut missing = BTreeMap::new();
        for (participants, ids) in &self.claimed {
            for shard in *participants {
                let Some(log) = self.logs.get(shard) else { continue };
                let claimed = log.claimed.get(*participants).into_iter().flatten().map(|(id, _)| *id);
                let pending = log.pending.iter().filter_map(|group| Some(group.transaction.as_ref()?.0));
                let mut own: Vec<_> = claimed.chain(pending).collect();
                own.sort_unstable();
                let absent = ids.iter().find(|(id, ..)| {
                    log.given_up.is_none_or(|given_up| *id > given_up) && own.binary_search(id).is_err()
                });
                let Some(&(id, by, proof_lsn)) = absent else { continue };
                let (path, offset) = log.end.clone();
                let proof_directory = self.logs[&by].directory.clone();
                let part = MissingPart { id, path, offset, proof_directory, proof_lsn };
                missing.entry(*shard).or_insert(part);
            }
        }
        missing
    }

    /// Transactions that are nowhere claimed and lack a part.
    fn drop_incomplete(&mut self) {
        // How many logs have a part, of those that have not claimed it.
        let mut parts: BTreeMap<TransactionId, (&[ShardId], usize)> = BTreeMap::new();
        for group in self.logs.values().flat_map(|log| &log.pending) {
            if let Some((id, participants)) = &group.transaction {
                parts.entry(*id).or_insert((participants, 0)).1 += 1;
            }
        }
        for (id, (participants, count)) in parts {
            if count < participants.len() && !self.is_claimed(id, participants) {
                self.dropped.insert(id);
            }
        }
    }

    /// Whatever was made from what is dropped, until nothing more is found.
    fn drop_dependants(&mut self) {
        let mut made_from: BTreeMap<TransactionId, Vec<TransactionId>> = BTreeMap::new();
        for group in self.logs.values().flat_map(|log| &log.pending) {
            if let Some((id, participants)) = &group.transaction
                && !self.is_claimed(*id, participants)
            {
                for on in &group.on {
                    made_from.entry(*on).or_default().push(*id);
                }
            }
        }
        let mut next: Vec<_> = self.dropped.iter().copied().collect();
        while let Some(id) = next.pop() {
            for dependant in made_from.remove(&id).unwrap_or_default() {
                if self.dropped.insert(dependant) {
                    next.push(dependant);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Epoch, Opened};

    const BOTH: [ShardId; 2] = [ShardId(0), ShardId(1)];

    fn directory() -> DataDirectory {
        DataDirectory {
            path: PathBuf::from("/data"),
            identity: 1,
            databases: 1,
            incarnation: 1,
            epochs: vec![Epoch { number: 1, shards: 2 }],
            past: Vec::new(),
            closed: Vec::new(),
            opened: Opened::Existing,
        }
    }

    /// A log with claimed parts of transactions over both.
    fn survey(shard: u16, claimed: &[u64], given_up: Option<u64>) -> LogSurvey {
        let id = |counter: &u64| TransactionId::new(*counter, ShardId(0));
        let claimed = claimed.iter().map(|counter| (id(counter), Lsn(*counter))).collect();
        LogSurvey {
            epoch: 1,
            shard: ShardId(shard),
            directory: PathBuf::from(format!("/data/{shard}")),
            end: (PathBuf::from(format!("/data/{shard}/log")), 4096),
            given_up: given_up.as_ref().map(id),
            claimed: BTreeMap::from([(BOTH.into(), claimed)]),
            pending: Vec::new(),
            abandoned: Vec::new(),
            abandoned_transactions: BTreeSet::new(),
            greatest: TransactionId::default(),
        }
    }

    fn lacks(surveys: &[LogSurvey; 2]) -> Option<(u64, PathBuf)> {
        match Outcomes::resolve(&directory(), surveys).of(1, ShardId(1)).check() {
            Ok(()) => None,
            Err(RecoveryError::MissingPart { id, path, .. }) => Some((id.counter(), path)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_part_that_was_given_up_is_not_missed() {
        assert_eq!(lacks(&[survey(0, &[3, 4, 5], None), survey(1, &[5], Some(4))]), None);
    }

    #[test]
    fn a_part_that_is_younger_than_what_was_given_up_was_lost_to_damage() {
        let missing = lacks(&[survey(0, &[3, 4, 5, 6], None), survey(1, &[5], Some(4))]);
        assert_eq!(missing, Some((6, PathBuf::from("/data/1/log"))));
    }

    #[test]
    fn a_log_that_gave_nothing_up_has_all_its_parts() {
        let missing = lacks(&[survey(0, &[3, 4], None), survey(1, &[4], None)]);
        assert_eq!(missing, Some((3, PathBuf::from("/data/1/log"))));
    }
}

//! Where to cut the logs of a directory so that what is before the cut is a state that the server once had.
//!
//! - Of each log the cut takes a beginning, whole groups of it.
//! - Of a transaction over several logs it takes all parts or none: where it would take one and leave another, it is moved back to before the
//!   one, until nothing moves any more. So it is also closed under "was made from", whatever was made from what.
//! - At a time: everything that the servers' clock said was done by then. Shards of a server have the same clock.
//! - No cut is before what a shard's oldest image contains. A part that a log has given up is in its image, so it's taken.

use std::collections::HashMap;

use super::ReadOnly;
use crate::disk::Disk;
use crate::manifest::DataDirectory;
use crate::recovery::{
    Listed, Outcomes, Reach, RecoveryError, last_time_ms, list_log, reach_of, survey_past,
};
use crate::{GroupNote, Lsn, ShardId, TransactionId};

/// Up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment<'a> {
    /// Up to this time, ms of Unix time.
    Time(u64),
    /// Up to these effects of these logs, and up to the end of the others.
    Lsns(&'a [(ShardId, Lsn)]),
}

/// Where a log is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCut {
    /// The shard, of the newest epoch.
    pub shard: ShardId,
    /// The last effect that is asked for: the end of a group.
    pub asked: Lsn,
    /// The last effect that is taken: fewer where a transaction would be halved.
    pub until: Lsn,
}

/// Why there is no cut.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named by what they are")]
pub enum CutError {
    /// A log can't be read.
    Recovery { shard: ShardId, error: RecoveryError },
    /// The directory does not reach back so far.
    TooEarly {
        shard: ShardId,
        /// That shard reaches back to this effect.
        earliest: Lsn,
        /// All shards reach back to this time, as far as the logs tell times.
        earliest_ms: u64,
    },
}

impl std::fmt::Display for CutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Recovery { shard, error } => write!(f, "shard {shard}: {error}"),
            Self::TooEarly { shard, earliest, earliest_ms } => write!(
                f,
                "the directory reaches back to {earliest_ms} ms of Unix time, shard {shard} to LSN {earliest}"
            ),
        }
    }
}

impl std::error::Error for CutError {}

/// A log's part of a transaction.
struct Part {
    id: TransactionId,
    first: Lsn,
    participants: Box<[ShardId]>,
}

/// What a log says about times and transactions.
#[derive(Default)]
struct Chronicle {
    parts: Vec<Part>,
    /// By transaction.
    places: HashMap<TransactionId, Lsn>,
    /// The cut can't be before this effect.
    floor: Lsn,
    /// When that was made.
    floor_ms: u64,
    /// Effects before this one are in an image only.
    first: Lsn,
    /// Before the first group that was made after the time that is asked for.
    before_time: Option<Lsn>,
    /// Where the last group ends that ends by the effect that is asked for.
    group_end: Option<Lsn>,
}

impl Chronicle {
    fn new(reach: Reach) -> Self {
        let Reach { first, floor, floor_ms, .. } = reach;
        Self { floor, floor_ms, first, ..Self::default() }
    }

    fn take(&mut self, listed: &Listed<'_>, time_ms: u64, limit: Lsn) {
        let (lsn, note, ends_group) = match listed {
            Listed::Frame(_) => return,
            Listed::Effect { lsn, ends_group, .. } => (*lsn, None, *ends_group),
            Listed::Note { lsn, note, ends_group } => (*lsn, Some(note), *ends_group),
        };
        if ends_group && lsn <= limit {
            self.group_end = Some(lsn);
        }
        match note {
            Some(GroupNote::Time { unix_ms }) => {
                if lsn <= self.floor {
                    self.floor_ms = self.floor_ms.max(*unix_ms);
                }
                if *unix_ms > time_ms {
                    self.before_time.get_or_insert(Lsn(lsn.0 - 1));
                }
            }
            Some(GroupNote::Transaction { id, participants }) => {
                let participants = participants.iter().map(|shard| ShardId(u16::from_le_bytes(*shard)));
                self.parts.push(Part { id: *id, first: lsn, participants: participants.collect() });
                self.places.insert(*id, lsn);
            }
            _ => {}
        }
    }
}

/// A cut, and what is known of the logs before it.
#[derive(Debug)]
pub struct FoundCut {
    /// The directory as it was then: its newest epoch is the one that is cut.
    pub directory: DataDirectory,
    /// Of each shard of that epoch.
    pub cuts: Vec<LogCut>,
    /// How far back each of them reaches.
    pub reaches: Vec<Reach>,
    /// What becomes of transactions over several logs, those of the past among them.
    pub outcomes: Outcomes,
}

/// Finds the cut, with what is retained: at a time through the logs of the epoch in which that was, by effects through the newest epoch's.
pub async fn consistent_cut<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    moment: Moment<'_>,
) -> Result<FoundCut, CutError> {
    let disk = &ReadOnly::new(disk);
    let directory = match moment {
        Moment::Time(time_ms) => epoch_at(disk, directory, time_ms).await?,
        Moment::Lsns(_) => directory.with_past(),
    };
    cut_newest(disk, directory, moment).await
}

/// The directory as it was at a time: epochs that had begun by then, as far as one can tell. All of an epoch is before the next one begins.
async fn epoch_at<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    time_ms: u64,
) -> Result<DataDirectory, CutError> {
    let mut at = directory.with_past();
    while let Some(before) = at.before() {
        let failed = |error| CutError::Recovery { shard: ShardId(0), error };
        if last_time_ms(disk, &before).await.map_err(failed)? <= time_ms {
            break;
        }
        at = before;
    }
    Ok(at)
}

async fn cut_newest<D: Disk>(
    disk: &ReadOnly<'_, D>,
    directory: DataDirectory,
    moment: Moment<'_>,
) -> Result<FoundCut, CutError> {
    let disk = &ReadOnly::new(disk);
    let directory = &directory;
    let shards = || (0..directory.epoch().shards).map(ShardId);
    let time_ms = if let Moment::Time(unix_ms) = moment { unix_ms } else { u64::MAX };
    let failed = |shard| move |error| CutError::Recovery { shard, error };
    let mut reaches = Vec::new();
    for shard in shards() {
        reaches.push(reach_of(disk, directory, shard).await.map_err(failed(shard))?);
    }
    let outcomes = survey_past(disk, directory, &reaches).await.map_err(failed(ShardId(0)))?;
    let (mut chronicles, mut cuts) = (Vec::new(), Vec::new());
    for (shard, reach) in shards().zip(&reaches) {
        let mut chronicle = Chronicle::new(*reach);
        let limit = match moment {
            Moment::Time(_) => None,
            Moment::Lsns(lsns) => lsns.iter().find(|(limited, _)| *limited == shard).map(|(_, lsn)| *lsn),
        };
        let mut each = |listed: Listed<'_>| chronicle.take(&listed, time_ms, limit.unwrap_or(Lsn::ZERO));
        list_log(disk, directory, shard, reach.begins, &mut each).await.map_err(failed(shard))?;
        chronicle.parts.retain(|part| !outcomes.drops(directory.epoch().number, shard, part.first));
        let asked = match moment {
            Moment::Time(_) => chronicle.before_time.unwrap_or(Lsn(u64::MAX)),
            // A group that is not taken as a whole is not taken at all.
            Moment::Lsns(_) => limit.map_or(Lsn(u64::MAX), |limit| chronicle.group_end.unwrap_or(limit)),
        };
        cuts.push(LogCut { shard, asked, until: asked });
        chronicles.push(chronicle);
    }
    while move_back(&chronicles, &mut cuts) {}
    let earliest_ms = chronicles.iter().map(|chronicle| chronicle.floor_ms).max().unwrap_or_default();
    for (cut, chronicle) in cuts.iter().zip(&chronicles) {
        // An image is no state that ever was before its end; and a time before it is none that the log can tell.
        if cut.until < chronicle.floor || time_ms < earliest_ms || halves_given_up(&chronicles, &cuts, cut) {
            let (shard, earliest) = (cut.shard, chronicle.floor);
            return Err(CutError::TooEarly { shard, earliest, earliest_ms });
        }
    }
    Ok(FoundCut { directory: directory.clone(), cuts, reaches, outcomes })
}

/// Whether a shard has taken its part of some transaction, in its oldest image, while another has not.
fn halves_given_up(chronicles: &[Chronicle], cuts: &[LogCut], given_up: &LogCut) -> bool {
    let Some(own) = chronicles.get(usize::from(given_up.shard.0)) else { return false };
    let is_in_image = |part: &Part| {
        own.first.0 > 1 && part.participants.contains(&given_up.shard) && !own.places.contains_key(&part.id)
    };
    chronicles.iter().zip(cuts).any(|(chronicle, cut)| {
        cut.shard != given_up.shard
            && chronicle.parts.iter().any(|part| part.first > cut.until && is_in_image(part))
    })
}

/// Moves cuts back to before transactions that they would halve. False if there are none.
fn move_back(chronicles: &[Chronicle], cuts: &mut [LogCut]) -> bool {
    let mut moved = false;
    for (index, chronicle) in chronicles.iter().enumerate() {
        let until = cuts.get(index).map_or(Lsn::ZERO, |cut| cut.until);
        // A part that is nowhere in a log was before its beginning, or never reached it: recovery knows.
        let is_beyond = |shard: &ShardId, id: TransactionId| {
            let place = chronicles.get(usize::from(shard.0)).and_then(|other| other.places.get(&id));
            let until = cuts.get(usize::from(shard.0)).map(|cut| cut.until);
            place.zip(until).is_some_and(|(place, until)| *place > until)
        };
        let halved = |part: &&Part| {
            part.first <= until && part.participants.iter().any(|shard| is_beyond(shard, part.id))
        };
        // In the order of the log: the first is the lowest.
        let first = chronicle.parts.iter().find(halved).map(|part| part.first);
        if let (Some(first), Some(cut)) = (first, cuts.get_mut(index)) {
            cut.until = Lsn(first.0 - 1);
            moved = true;
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with parts of transactions: number, place, participants.
    fn chronicle(parts: &[(u64, u64, &[u16])]) -> Chronicle {
        let mut chronicle = Chronicle::default();
        for (id, first, participants) in parts {
            let (id, first) = (TransactionId(*id), Lsn(*first));
            let participants = participants.iter().map(|shard| ShardId(*shard)).collect();
            chronicle.parts.push(Part { id, first, participants });
            chronicle.places.insert(id, first);
        }
        chronicle
    }

    fn cut(chronicles: &[Chronicle], asked: &[u64]) -> Vec<u64> {
        let shards = (0..).map(ShardId);
        let cuts =
            asked.iter().zip(shards).map(|(lsn, shard)| LogCut { shard, asked: Lsn(*lsn), until: Lsn(*lsn) });
        let mut cuts: Vec<_> = cuts.collect();
        while move_back(chronicles, &mut cuts) {}
        cuts.iter().map(|cut| cut.until.0).collect()
    }

    #[test]
    fn a_transaction_is_taken_whole_or_not_at_all() {
        let logs = [
            chronicle(&[(1, 10, &[0, 1]), (2, 20, &[0, 1])]),
            chronicle(&[(1, 7, &[0, 1]), (2, 9, &[0, 1])]),
        ];
        assert_eq!(cut(&logs, &[99, 99]), [99, 99]);
        assert_eq!(cut(&logs, &[15, 99]), [15, 8]);
        assert_eq!(cut(&logs, &[99, 8]), [19, 8]);
        assert_eq!(cut(&logs, &[5, 99]), [5, 6]);
    }

    #[test]
    fn what_came_after_a_part_that_goes_takes_others_with_it() {
        let logs = [
            chronicle(&[(1, 10, &[0, 1])]),
            chronicle(&[(1, 10, &[0, 1]), (2, 20, &[1, 2])]),
            chronicle(&[(2, 5, &[1, 2]), (3, 30, &[2])]),
        ];
        assert_eq!(cut(&logs, &[9, 99, 99]), [9, 9, 4]);
    }

    #[test]
    fn a_part_that_a_checkpoint_has_replaced_is_there() {
        let logs = [chronicle(&[(1, 10, &[0, 1])]), chronicle(&[])];
        assert_eq!(cut(&logs, &[99, 50]), [99, 50]);
    }
}

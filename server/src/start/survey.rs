//! Before any log is applied, all are asked about transactions over several of them: which are whole shows only when all
//! have answered. Every shard's thread reads some of the logs; the main thread decides, and tells all.

use std::sync::{Arc, mpsc};

use annulus_storage::recovery::{LogSurvey, Outcomes, logs_to_survey, survey_log};
use annulus_storage::{DataDirectory, RecoveryError, ShardId};

use super::{ServeError, system};
use crate::shard::ShardParts;

/// What a shard's thread has read, or why it could not.
type Surveyed = Result<Vec<LogSurvey>, ServeError>;

/// A shard's thread's end of it.
pub(super) struct Surveyor {
    surveyed: mpsc::Sender<Surveyed>,
    outcomes: mpsc::Receiver<Arc<Outcomes>>,
}

impl Surveyor {
    /// Reads this shard's share of the logs and waits for what is decided. Nothing: the start has failed, here or elsewhere,
    /// and the main thread knows.
    pub(super) fn survey(
        self,
        directory: &DataDirectory,
        shard: ShardId,
        parts: &mut ShardParts,
    ) -> Option<Arc<Outcomes>> {
        let share = read_share(directory, shard, parts);
        let failed = share.is_err();
        self.surveyed.send(share).ok().filter(|()| !failed)?;
        self.outcomes.recv().ok()
    }
}

fn read_share(directory: &DataDirectory, shard: ShardId, parts: &mut ShardParts) -> Surveyed {
    let shards = usize::from(directory.epoch().shards);
    let share: Vec<_> = logs_to_survey(directory).into_iter().skip(shard.index()).step_by(shards).collect();
    if share.is_empty() {
        return Ok(Vec::new());
    }
    let (disk, directory) = (parts.disk.clone(), directory.clone());
    let surveyed = parts.block_on(async move {
        let mut surveys = Vec::new();
        for (epoch, logging) in share {
            surveys.push(survey_log(&disk, &directory, epoch, logging).await?);
        }
        Ok::<_, RecoveryError>(surveys)
    });
    let surveyed = surveyed.map_err(system(format!("shard {shard}: the I/O driver failed")))?;
    surveyed.map_err(|error| ServeError::Recovery { shard, error })
}

/// The main thread's end.
pub(super) struct Survey {
    surveyed: mpsc::Receiver<Surveyed>,
    outcomes: Vec<mpsc::Sender<Arc<Outcomes>>>,
}

/// Ends for so many shards.
pub(super) fn survey(shards: u16) -> (Survey, Vec<Surveyor>) {
    let (sender, surveyed) = mpsc::channel();
    let (mut outcomes, mut surveyors) = (Vec::new(), Vec::new());
    for _ in 0..shards {
        let (outcome, receiver) = mpsc::channel();
        outcomes.push(outcome);
        surveyors.push(Surveyor { surveyed: sender.clone(), outcomes: receiver });
    }
    (Survey { surveyed, outcomes }, surveyors)
}

impl Survey {
    /// Waits for all shards, decides, and tells them.
    pub(super) fn resolve(self, directory: &DataDirectory) -> Result<(), ServeError> {
        let mut surveys = Vec::new();
        for _ in &self.outcomes {
            surveys.extend(self.surveyed.recv().map_err(|_| ServeError::Unclean)??);
        }
        let outcomes = Arc::new(Outcomes::resolve(directory, &surveys));
        let (transactions, groups) = outcomes.dropped();
        if transactions > 0 {
            tracing::warn!(
                transactions,
                groups,
                "transactions that had not reached all of their logs are dropped, and what was made from them"
            );
        }
        for outcome in self.outcomes {
            // A shard that is gone has said why.
            let _ = outcome.send(Arc::clone(&outcomes));
        }
        Ok(())
    }
}

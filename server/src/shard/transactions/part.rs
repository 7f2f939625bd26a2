//! What shards tell each other of a transaction.

use annulus_storage::{DeferredGroup, ShardId, TransactionId};
use smallvec::SmallVec;

use super::locks::LockRequest;
use crate::commands::{Command, Flags, Keyed};
use crate::shard::batch::{Request, RequestBatch, Target, Work};
use crate::shard::outgoing::Outgoing;

/// Shards, few as a rule, in rising order.
pub type Shards = SmallVec<[ShardId; 4]>;

/// What one shard has to do of a transaction: take its locks, and run commands once all shards have theirs.
#[derive(Debug, Default)]
pub struct Part {
    /// The transaction; says its age and its coordinator.
    pub id: TransactionId,
    /// The coordinator's operation.
    pub operation: u32,
    /// Number of this part among those that the coordinator waits for.
    pub index: u32,
    /// When the commands run.
    pub when: When,
    /// What is to be locked here.
    pub(in super::super) locks: LockRequest,
    /// The shards that log a part: those with commands that may write.
    pub participants: Shards,
    /// Keys that the connection has watched here, and the version that it saw.
    pub watched: Vec<(Box<[u8]>, annulus_storage::DatabaseId, u64)>,
    /// The commands, each with the place of its reply.
    pub commands: RequestBatch,
    /// Whether any of them may write.
    pub writes: bool,
    /// What its rounds have done, if it goes in rounds.
    pub deferred: DeferredGroup,
    /// What its rounds have to tell, which nobody may hear before it is logged.
    pub(in super::super) outgoing: Vec<Outgoing>,
}

impl Part {
    /// Makes this the part of a single command, of an operation over several shards, that runs when the coordinator says so. Its
    /// locks are the caller's business.
    pub(super) fn set_command(
        &mut self,
        id: TransactionId,
        (command, keyed): (&'static Command, Keyed),
        participants: Shards,
        request: &Request,
        args: &[&[u8]],
    ) {
        if let Target::Operation { index, part } = request.target {
            (self.operation, self.index) = (index, part);
        }
        self.id = id;
        self.when = When::Told;
        self.writes = command.flags.contains(Flags::WRITE);
        self.participants = participants;
        self.commands.push(Request { work: Work::Keyed(command, keyed), ..*request }, args.iter().copied());
    }
}

/// When the commands of a part run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// As soon as the locks are there: no other shard has a part.
    #[default]
    Granted,
    /// When the coordinator says so.
    Told,
}

/// Why a shard takes no part in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A watched key has changed.
    Watched,
    /// Its log takes no writes, or a script takes long: the error text.
    Write(&'static str),
}

/// A step of a transaction, from one of its shards to another.
#[derive(Clone, Debug)]
pub enum Signal {
    /// To the coordinator: the part has its locks.
    Granted {
        /// The transaction.
        id: TransactionId,
        /// The coordinator's operation.
        operation: u32,
        /// The part.
        part: u32,
    },
    /// To the coordinator, of a command that the sender was to decide: it has run there.
    Ran {
        /// The transaction.
        id: TransactionId,
        /// The coordinator's operation.
        operation: u32,
    },
    /// The same: it has to wait, so the coordinator decides as usual.
    Declined {
        /// The transaction.
        id: TransactionId,
        /// The coordinator's operation.
        operation: u32,
    },
    /// To the coordinator: there will be no part.
    Refused {
        /// The transaction.
        id: TransactionId,
        /// The coordinator's operation.
        operation: u32,
        /// The part.
        part: u32,
        /// Why.
        why: Refusal,
    },
    /// To the coordinator: an older transaction wants what this part holds.
    Wounded {
        /// The transaction.
        id: TransactionId,
        /// The coordinator's operation.
        operation: u32,
        /// The part.
        part: u32,
    },
    /// From the coordinator: the older one may have it.
    GiveBack(TransactionId),
    /// From the coordinator: all locks are there; run.
    Run(TransactionId),
    /// From the coordinator: it's off; nothing has happened.
    Cancel(TransactionId),
    /// From the coordinator: the rounds are done; log the part, and answer when it is durable.
    Conclude {
        /// The transaction.
        id: TransactionId,
        /// The shards that log a part.
        participants: Shards,
        /// The coordinator's operation.
        operation: u32,
        /// The part.
        part: u32,
    },
    /// From the coordinator: the script takes long, and nobody needs to wait for it.
    Overdue {
        /// The transaction.
        id: TransactionId,
        /// It is a function of a library.
        function: bool,
    },
    /// From another participant: its part is on stable storage.
    Durable(TransactionId),
    /// To a shard whose commands look older than they are: the counter of transactions has come so far.
    Behind(u64),
    /// The answer: what follows is younger than that.
    CaughtUp(u64),
    /// To the shard of a command that waits for keys of several: one of them may have what it waits for.
    Ready(u64),
    /// From a shard whose log has failed: what waits for a part of its will wait for ever.
    LogFailed,
}

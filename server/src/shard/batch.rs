//! What travels between shards: one message a turn and direction, carrying the commands (or replies) of all
//! connections that have any.

use annulus_protocol::Version;
use annulus_storage::{DatabaseId, Key, ShardId, TransactionId};
use smallvec::SmallVec;

use super::Core;
use super::pubsub::notices::NoticeBatch;
use super::transactions::{Part, Signal};
use crate::admin::info::ShardCounters;
use crate::commands::{Command, Keyed, ScriptRun, Waiting};
use crate::runtime::{NewSocket, SocketId};

/// A batch with room for no more than this is worth keeping for the next of its kind: bytes, commands, arguments.
const SMALL_BYTES: usize = 1024;
const SMALL_COMMANDS: usize = 8;
const SMALL_ARGUMENTS: usize = 64;

/// Where a reply goes on the shard that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To a place in a connection's replies.
    Connection {
        /// The connection's socket.
        socket: SocketId,
        /// Its client id, as the socket's number may have another owner by then.
        client: u64,
        /// The place.
        place: u32,
    },
    /// To a command that may wait ([`blocking`](super::blocking)): the end of its wait.
    Wait {
        /// The connection's socket.
        socket: SocketId,
        /// Its client id.
        client: u64,
        /// The command's number on the connection's shard.
        number: u64,
    },
    /// To nobody.
    Nobody,
    /// To a part of an operation over several shards.
    Operation {
        /// The operation.
        index: u32,
        /// The part.
        part: u32,
    },
}

impl Target {
    /// The client who waits for the reply.
    pub fn client(self) -> Option<u64> {
        match self {
            Target::Connection { client, .. } | Target::Wait { client, .. } => Some(client),
            Target::Nobody | Target::Operation { .. } => None,
        }
    }
}

/// What is to be done on the other shard.
#[derive(Clone, Copy)]
pub enum Work {
    /// A command's handler, on the store.
    Keyed(&'static Command, Keyed),
    /// A command that waits for what it doesn't find, until then (monotonic ns); all its keys are there.
    Wait(&'static Command, &'static Waiting, Option<u64>),
    /// Something that concerns the shard itself (CLIENT LIST and the like).
    Core(fn(&mut Core, &[&[u8]], &mut Vec<u8>)),
    /// The batch's next part of a transaction.
    Part,
    /// A command of a transaction of which this shard and the sender have a part, and whose other locks are there: it is decided
    /// when it has its own here.
    Decide(TransactionId, &'static Command, Keyed),
    /// A command of a transaction that goes in rounds.
    Round(TransactionId, &'static Command, Keyed),
    /// A script.
    Script(&'static Command, ScriptRun),
    /// A command of a script that is such a transaction, with its locks.
    Call {
        /// The transaction.
        id: TransactionId,
        /// The command.
        command: &'static Command,
        /// Its handler.
        keyed: Keyed,
        /// It goes before all that wait.
        insists: bool,
        /// It is refused if it needs memory and there is none.
        needs_memory: bool,
    },
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Work::Keyed(command, _)
            | Work::Decide(_, command, _)
            | Work::Round(_, command, _)
            | Work::Wait(command, ..) => f.debug_tuple("Keyed").field(&command.name).finish(),
            Work::Call { command, .. } => f.debug_tuple("Call").field(&command.name).finish(),
            Work::Script(command, _) => f.debug_tuple("Script").field(&command.name).finish(),
            Work::Core(_) => f.write_str("Core"),
            Work::Part => f.write_str("Part"),
        }
    }
}

/// What a command takes from its connection, wherever it runs.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// In which database it runs.
    pub database: DatabaseId,
    /// How the reply is written.
    pub version: Version,
    /// Slot of the first key.
    pub slot: u16,
    /// Whether it counts as an access to its keys (CLIENT NO-TOUCH says not).
    pub touches: bool,
    /// Whose it is.
    pub origin: Origin,
}

/// Whose a command is, for those who are told of what it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client; 0: nobody.
    pub client: u64,
    /// The client's shard.
    pub home: ShardId,
    /// The client is to be told when what it reads changes.
    pub tracks: bool,
    /// It only prepares what a command in rounds will do: nobody is told what it does not find.
    pub prepares: bool,
}

/// One command of a batch; its arguments are the batch's next `arguments`.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Where the reply goes.
    pub target: Target,
    /// What to do.
    pub work: Work,
    /// On what terms.
    pub call: Call,
    /// How many arguments.
    pub arguments: u32,
}

/// Commands for one shard.
#[derive(Debug, Default)]
pub struct RequestBatch {
    requests: Vec<Request>,
    /// Where each argument ends in `data`.
    ends: Vec<usize>,
    data: Vec<u8>,
    /// Parts of transactions, in the order of the requests that stand for them.
    #[expect(clippy::vec_box, reason = "a part goes from the batch to the lock table as it is")]
    parts: Vec<Box<Part>>,
}

impl RequestBatch {
    /// Adds a command with its arguments.
    pub fn push<'a>(&mut self, mut request: Request, args: impl IntoIterator<Item = &'a [u8]>) {
        let before = self.ends.len();
        for arg in args {
            self.data.extend_from_slice(arg);
            self.ends.push(self.data.len());
        }
        request.arguments = (self.ends.len() - before) as u32;
        self.requests.push(request);
    }

    /// Adds a part of a transaction.
    pub fn push_part(&mut self, part: Box<Part>) {
        let call = Call {
            database: DatabaseId(0),
            version: Version::Resp2,
            slot: 0,
            touches: false,
            origin: Origin::default(),
        };
        self.requests.push(Request { target: Target::Nobody, work: Work::Part, call, arguments: 0 });
        self.parts.push(part);
    }

    /// Takes the parts of transactions out, in order.
    pub fn take_parts(&mut self) -> Vec<Box<Part>> {
        std::mem::take(&mut self.parts)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Bytes of arguments.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The commands with their arguments, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Request, SmallVec<[&[u8]; 8]>)> {
        let (mut index, mut start) = (0, 0);
        self.requests.iter().map(move |request| {
            let ends = &self.ends[index..index + request.arguments as usize];
            index += request.arguments as usize;
            let args = ends.iter().map(|&end| {
                let arg = &self.data[start..end];
                start = end;
                arg
            });
            (request, args.collect())
        })
    }

    /// What each command will look up first, in order; nothing where that isn't known or lies not in the store.
    pub fn lookups(&self) -> impl Iterator<Item = Option<(DatabaseId, Key<'_>)>> {
        let (mut index, mut start) = (0, 0);
        self.requests.iter().map(move |request| {
            let ends = &self.ends[index..index + request.arguments as usize];
            let begin = start;
            index += ends.len();
            start = ends.last().copied().unwrap_or(start);
            let (Work::Keyed(command, _) | Work::Wait(command, ..) | Work::Decide(_, command, _)) =
                request.work
            else {
                return None;
            };
            let position = usize::from(command.keys.first.max(1));
            let end = *ends.get(position)?;
            let from = position.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(begin);
            Some((request.call.database, Key { bytes: &self.data[from..end], slot: request.call.slot }))
        })
    }

    /// Whether its memory is worth keeping.
    pub fn is_small(&self) -> bool {
        self.data.capacity() <= SMALL_BYTES
            && self.requests.capacity() <= SMALL_COMMANDS
            && self.ends.capacity() <= SMALL_ARGUMENTS
    }

    /// Takes everything out, and keeps the memory.
    pub fn clear(&mut self) {
        self.requests.clear();
        self.ends.clear();
        self.data.clear();
        self.parts.clear();
    }

    /// Number of commands.
    pub fn len(&self) -> usize {
        self.requests.len()
    }
}

/// Replies to one shard.
#[derive(Debug, Default)]
pub struct ReplyBatch {
    ends: Vec<(Target, usize)>,
    data: Vec<u8>,
}

impl ReplyBatch {
    /// Where the next reply is written; [`ReplyBatch::end`] ends it.
    pub fn data(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    /// The bytes written since the last end are the reply for this target.
    pub fn end(&mut self, target: Target) {
        self.ends.push((target, self.data.len()));
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The replies, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Target, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(target, end)| {
            let reply = &self.data[start..end];
            start = end;
            (target, reply)
        })
    }

    /// Moves the last `bytes` of data, which have no target yet, to the other batch.
    pub fn move_unended(&mut self, start: usize, other: &mut ReplyBatch) {
        other.data.extend_from_slice(&self.data[start..]);
        self.data.truncate(start);
    }
}

/// What one shard sends to another.
#[derive(Debug)]
pub enum Message {
    /// Commands to run.
    Requests(Box<RequestBatch>),
    /// How transactions of which both have a part go on.
    Signals(Vec<Signal>),
    /// Replies to commands that the receiver had sent.
    Replies(Box<ReplyBatch>),
    /// Commands that the receiver had sent and whose outcome will never be known: the sender's log has failed. What
    /// stands in the batch must not be shown.
    Lost(Box<ReplyBatch>),
    /// What the sender tells unasked.
    Notices(Box<NoticeBatch>),
    /// A connection for the receiver to serve.
    Connection(Box<NewSocket>),
    /// The receiver is to take a checkpoint.
    Save {
        /// Who waits for it: the asking operation and its part, if any does.
        waiting: Option<(u32, u32)>,
    },
    /// The receiver is to read again what it has on the disk.
    Scrub,
    /// It has taken its checkpoint, or has failed to.
    Saved {
        /// The asking operation.
        operation: u32,
        /// Its part.
        part: u32,
        /// Whether there is one.
        is_saved: bool,
    },
    /// The sender wants to give up segments: the receiver's log is to claim on disk all that it holds by now, so that no
    /// recovery of it will look for the other parts of its transactions.
    Fence,
    /// It does, or never will.
    Fenced {
        /// It does.
        is_claimed: bool,
    },
    /// The receiver's counters are wanted.
    CountersWanted {
        /// The asking operation.
        operation: u32,
        /// Its part.
        part: u32,
    },
    /// The answer to it.
    Counters {
        /// The asking operation.
        operation: u32,
        /// Its part.
        part: u32,
        /// The counters.
        counters: Box<ShardCounters>,
    },
}

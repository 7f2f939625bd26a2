//! The commands: one [`table`] of what they are, a file per family of how they work.
//!
//! A handler sees a [`Context`] (its shard's store, the reply encoder) and the arguments as byte slices. It never sees
//! a connection or another shard: where a command runs is what its row's [`Run`] says, and `shard` does. So that this stays so:
//!
//! - handlers change data through `Store`'s mutators only, which log what they do;
//! - every handler writes exactly one reply, whatever the arguments: arity is checked before ([`resolve`]), everything else
//!   by the handler, before it changes anything;
//! - time is `store.now()`, randomness is `Context::random`.

mod arguments;
mod bitmap;
mod blocking;
mod command;
mod draw;
mod dump;
mod errors;
mod expire;
mod functions;
mod generic;
mod geo;
mod glob;
mod hashes;
mod hyperloglog;
mod internal;
mod introspection;
mod lcs;
mod lists;
mod lookup;
mod member_expiry;
mod object;
mod pop_first;
#[cfg(test)]
mod reference;
mod replies;
mod scan;
mod sets;
mod sort;
mod sorted_sets;
mod streams;
mod strings;
mod syntax;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transfer;
mod values;

use std::fmt;
use std::ops::Range;

use annulus_protocol::{Encoder, Version, slot};
use annulus_storage::{DatabaseId, Entry, Key, Log, ShardId, Store};

use crate::runtime::{FileId, Rng};

pub use blocking::{Arguments, Waiting, awaited_keys, owned};
pub use command::{Categories, Command, Flags, Group, KeyFlags, KeyPlaces, KeySpec, KeyUse};
pub use glob::{Case, glob_match};
pub use hyperloglog::debug::self_test as hyperloglog_self_test;
pub use introspection::{help, introspect};
pub use lookup::{Refusal, lookup, lookup_subcommand, resolve, resolve_words};
pub use scan::cursor_group;
pub use table::{ALL, COUNT};

/// A shard's store, with its log as the sink of effects.
pub type ShardStore = Store<Log<FileId>>;

/// What a handler of a command with keys works with.
pub struct Context<'a> {
    /// The shard's part of the keyspace.
    pub store: &'a mut ShardStore,
    /// The connection's database.
    pub database: DatabaseId,
    /// Where the reply goes.
    pub out: Encoder<'a>,
    /// The shard's source of randomness.
    pub random: &'a mut Rng,
    /// The shard.
    pub shard: ShardId,
    /// The slot groups that the shard owns.
    pub groups: Range<u16>,
    /// Slot of the first key in these arguments, as the router has computed it; of no meaning to commands without keys.
    pub slot: u16,
    /// Longest string allowed (`proto-max-bulk-len`).
    pub bulk_bytes_max: u64,
    /// The handler has found none of what the command takes: one that waits, waits.
    pub nothing: bool,
    /// Longest sparse HyperLogLog (`hll-sparse-max-bytes`).
    pub hll_sparse_bytes_max: usize,
}

impl Context<'_> {
    /// The first key, whose slot is known already.
    fn first_key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        debug_assert_eq!(self.slot, slot(bytes), "the router's slot is not the key's");
        Key { bytes, slot: self.slot }
    }
}

/// Any key.
fn key(bytes: &[u8]) -> Key<'_> {
    Key { bytes, slot: slot(bytes) }
}

/// The string that an entry holds.
fn string_of(entry: Option<Entry<'_>>) -> Result<Option<&[u8]>, errors::Failure> {
    entry.map(values::string).transpose()
}

/// A handler: `args[0]` is the command's name; all its keys are on this shard. Writes one reply.
pub type Keyed = fn(&mut Context<'_>, &[&[u8]]);

/// How a command runs.
#[derive(Clone, Copy)]
pub enum Run {
    /// On the one shard that owns its keys.
    Keyed(Keyed),
    /// Split by shard: each runs the handler with the name and its own keys (and what belongs to each key, by
    /// [`KeySpec::step`]); the replies are merged. With all keys on one shard: as `Keyed`.
    Split(Keyed, Merge),
    /// The handler runs on every shard with all arguments; the replies are merged, also when there is only one shard.
    Broadcast(Keyed, Merge),
    /// On the shard that owns the slot group in the cursor ([`cursor_group`]).
    Cursor(Keyed),
    /// Several rounds of requests, for keys on several shards. With all keys on one shard: as `Keyed` with the handler.
    Hops(HopPlan, Keyed),
    /// It may wait until its keys have something. What doesn't wait runs as `Hops` does.
    Waits(&'static Waiting),
    /// By the connection's shard, which has what it needs.
    Connection(ConnectionCommand),
    /// A script, on the shard of its first key; where its commands go it says itself.
    Script(ScriptRun),
    /// Never: a container has subcommands ([`resolve`] refuses it bare).
    Container,
}

/// How the replies of several shards become one. An error from any shard is the reply.
#[derive(Clone, Copy)]
pub enum Merge {
    /// The sum of integers.
    Sum,
    /// `+OK`, as every shard said.
    Ok,
    /// Arrays with an element a key, put together in the order of the original keys.
    Array,
    /// Arrays of any length, one after the other.
    Concat,
    /// The first shard's reply stands for all.
    First,
    /// A function of all replies, in shard order.
    Custom(MergeFn),
}

impl Merge {
    /// Whether the merged reply of one shard alone is that shard's reply.
    pub const fn is_plain(self) -> bool {
        matches!(self, Self::Sum | Self::Ok | Self::Concat | Self::First)
    }
}

/// See [`Merge::Custom`].
pub type MergeFn = fn(&[Vec<u8>], &mut Encoder<'_>, &mut Rng);

/// A command in rounds: a pure function from the replies so far to the requests of the next round.
pub type HopPlan = fn(&Hop<'_>) -> HopStep;

/// What a [`HopPlan`] decides by.
pub struct Hop<'a> {
    /// Rounds done so far.
    pub round: u32,
    /// The command as the client sent it.
    pub args: &'a [&'a [u8]],
    /// The replies of the last round as RESP2, in the order of its requests; empty in round 0.
    pub replies: &'a [Vec<u8>],
    /// The replies of the rounds before the last, the first one's first.
    pub earlier: &'a [Vec<Vec<u8>>],
    /// The version that the final reply is written in.
    pub version: Version,
    /// The connection's database; requests run in it.
    pub database: DatabaseId,
    /// Number of databases.
    pub databases: u16,
    /// Longest string allowed (`proto-max-bulk-len`).
    pub bulk_bytes_max: u64,
    /// Who waits if there's nothing: the shard of the connection, and a number there.
    pub waiter: Option<(ShardId, u64)>,
}

/// What comes next in a command of several rounds.
pub enum HopStep {
    /// These requests, all at once; their replies come back in the same order.
    Send(Vec<HopRequest>),
    /// There is nothing: these requests, which say so to the owners of the keys; and the arguments for the next time, where they
    /// differ.
    Wait {
        /// The requests.
        requests: Vec<HopRequest>,
        /// The arguments.
        with: Option<Arguments>,
    },
    /// The command's reply, encoded.
    Reply(Vec<u8>),
}

/// A request of one round.
pub struct HopRequest {
    /// Name and arguments; routed by the key positions of its own row. May be an internal command. All its keys are on one shard.
    pub args: Vec<Vec<u8>>,
}

/// What script a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptRun {
    /// The one whose text is its first argument.
    Text,
    /// The one of this name.
    Id,
    /// The function of this name.
    Function,
}

/// Commands that belong to the connection or to the server as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionCommand {
    /// `PING [message]`
    Ping,
    /// `ECHO message`
    Echo,
    /// `HELLO [version …]`
    Hello,
    /// `AUTH [user] password`
    Auth,
    /// `SELECT index`
    Select,
    /// `QUIT`
    Quit,
    /// `RESET`
    Reset,
    /// `CLIENT …`
    Client(ClientCommand),
    /// `INFO [section …]`
    Info,
    /// `COMMAND …`: [`introspect`] answers it.
    Command(CommandCommand),
    /// `CONFIG …`
    Config(ConfigCommand),
    /// `CLUSTER …`
    Cluster(ClusterCommand),
    /// `READONLY`
    Readonly,
    /// `READWRITE`
    Readwrite,
    /// `MULTI`
    Multi,
    /// `EXEC`
    Exec,
    /// `DISCARD`
    Discard,
    /// `WATCH key [key …]`
    Watch,
    /// `UNWATCH`
    Unwatch,
    /// `TIME`
    Time,
    /// `DEBUG subcommand …`
    Debug,
    /// `SAVE`
    Save,
    /// `BGSAVE [SCHEDULE]`
    Bgsave,
    /// `BACKUP …`
    Backup(BackupCommand),
    /// `LASTSAVE`
    Lastsave,
    /// `BGREWRITEAOF`
    Bgrewriteaof,
    /// `BGSCRUB`
    Bgscrub,
    /// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`
    Shutdown,
    /// `MEMORY …`
    Memory(MemoryCommand),
    /// `MODULE LIST`
    ModuleList,
    /// `PFSELFTEST`: [`hyperloglog_self_test`] answers it.
    Pfselftest,
    /// `LOLWUT [VERSION version]`
    Lolwut,
    /// `SUBSCRIBE …` and everything else about messages.
    PubSub(PubSubCommand),
    /// `MONITOR`
    Monitor,
    /// `WAIT numreplicas timeout`
    Wait,
    /// `WAITAOF numlocal numreplicas timeout`
    Waitaof,
    /// `SCRIPT …`
    Script(ScriptCommand),
    /// `FUNCTION …`, of what is running; what is about libraries concerns all shards.
    Function(FunctionCommand),
    /// `CONTAINER HELP`: [`help`] answers it.
    Help,
}

/// Subcommands of `CLIENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the commands' names; their rows document them")]
pub enum ClientCommand {
    Caching,
    Getname,
    Getredir,
    Id,
    Info,
    Kill,
    List,
    NoEvict,
    NoTouch,
    Pause,
    Reply,
    Setinfo,
    Setname,
    Tracking,
    Trackinginfo,
    Unblock,
    Unpause,
}

/// Subcommands of `MEMORY` that are about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the commands' names; their rows document them")]
pub enum MemoryCommand {
    Doctor,
    MallocStats,
    Purge,
    Stats,
}

/// Subcommands of `SCRIPT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the commands' names; their rows document them")]
pub enum ScriptCommand {
    Debug,
    Exists,
    Flush,
    Kill,
    Load,
}

/// Subcommands of `FUNCTION` about what is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the commands' names; their rows document them")]
pub enum FunctionCommand {
    Kill,
    Stats,
}

/// Commands about messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the commands' names; their rows document them")]
pub enum PubSubCommand {
    Subscribe,
    Unsubscribe,
    Psubscribe,
    Punsubscribe,
    Ssubscribe,
    Sunsubscribe,
    Publish,
    Spublish,
    Channels,
    Numpat,
    Numsub,
    Shardchannels,
    Shardnumsub,
}

/// Subcommands of `BACKUP` about the one that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the commands' names; their rows document them")]
pub enum BackupCommand {
    Abort,
    Begin,
    End,
    Keep,
}

/// Subcommands of `COMMAND`, and the command without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the commands' names; their rows document them")]
pub enum CommandCommand {
    All,
    Count,
    Docs,
    Getkeys,
    Getkeysandflags,
    Info,
    List,
}

/// Subcommands of `CONFIG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the commands' names; their rows document them")]
pub enum ConfigCommand {
    Get,
    Resetstat,
    Rewrite,
    Set,
}

/// Subcommands of `CLUSTER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the commands' names; their rows document them")]
pub enum ClusterCommand {
    Countkeysinslot,
    Getkeysinslot,
    Info,
    Keyslot,
    Myid,
    Nodes,
    Shards,
    Slots,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyed(_) => "Keyed",
            Self::Split(..) => "Split",
            Self::Broadcast(..) => "Broadcast",
            Self::Cursor(_) => "Cursor",
            Self::Hops(..) => "Hops",
            Self::Waits(_) => "Waits",
            Self::Connection(command) => return write!(f, "Connection({command:?})"),
            Self::Script(_) => "Script",
            Self::Container => "Container",
        })
    }
}

/// Writes the error of a handler's body; its success has written itself.
fn answer(context: &mut Context<'_>, outcome: errors::Outcome) {
    if let Err(error) = outcome {
        context.out.error(error);
    }
}

/// The arity has been checked before any handler runs; a handler that is called past the check says so, and stays whole.
#[cold]
fn unreachable_arity(name: &'static str) -> errors::Failure {
    errors::Failure::Owned(format!("ERR wrong number of arguments for '{name}' command").into_bytes())
}

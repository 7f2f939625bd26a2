//! The commands, a trait for each family; [`Client`](crate::Client) and [`blocking::Client`](crate::blocking::Client)
//! have them all.
//!
//! Methods are named after their commands, and take keys and values as anything that is bytes. What a method returns is
//! [`Execute::Output`]: for the async client a future of a [`Result`](crate::Result), for the blocking one the result itself.
//!
//! ```no_run
//! use annulus_client::commands::*;
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! let visits = client.incr("visits").await?;
//! # Ok(())
//! # }
//! ```

mod bitmaps;
mod cluster;
mod connection;
mod geo;
mod hashes;
mod hyperloglogs;
mod keys;
mod lists;
mod members;
mod pubsub;
mod ranges;
mod scripts;
mod server;
mod sets;
mod sorted_sets;
mod streams;
mod strings;

pub use bitmaps::{BitField, BitOperation, BitPlace, BitRange, BitType, BitmapCommands, Overflow};
pub use cluster::{ClusterCommands, ClusterNode, SlotRange};
pub use connection::ConnectionCommands;
pub use geo::{GeoCommands, GeoFound, GeoFrom, GeoSearch, Position, Unit};
pub use hashes::{FieldOptions, Fields, HashCommands};
pub use hyperloglogs::HyperLogLogCommands;
pub use keys::{ExpireCondition, KeyCommands, Sort, Ttl};
pub use lists::{ListCommands, Side};
pub use members::MemberOutcome;
pub use pubsub::PubSubCommands;
pub use ranges::{AddCondition, Combine, LexRange, Ranked, ScoreOptions};
pub use scripts::{Function, Library, NO_ARGUMENTS, NO_KEYS, RestorePolicy, Script, ScriptCommands};
pub use server::{ServerCommands, Time};
pub use sets::SetCommands;
pub use sorted_sets::{ScoreEnd, Scored, SortedSetCommands};
pub use streams::{
    AddId, AddOptions, After, Claim, Claimed, ConsumerInfo, GroupInfo, GroupRead, GroupReader, PendingEntry,
    PendingFilter, PendingSummary, StreamCommands, StreamEntry, StreamId, StreamInfo, StreamReads, Trim,
};
pub use strings::{
    Condition, Expiry, Increase, LcsMatch, LcsMatches, Rate, SetOptions, StringCommands, Throttled, ValueIs,
};

pub(crate) use scripts::is_unknown;
pub(crate) use streams::read as read_streams;

use crate::{Command, FromValue};

/// Whatever can carry out a command. All command families follow from it.
pub trait Execute {
    /// What a command gives at once: its result, or a future of it.
    type Output<'a, T: FromValue>
    where
        Self: 'a;

    /// Carries out a command that leaves the connection as it is. For any other: [`Client::command`](crate::Client::command).
    fn execute<T: FromValue>(&self, command: Command) -> Self::Output<'_, T>;

    /// Carries out a call of a script by its digest, and once more with the script itself if the server does not know it.
    fn execute_script<T: FromValue>(&self, by_digest: Command, script: &Script) -> Self::Output<'_, T>;
}

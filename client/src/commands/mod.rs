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

mod connection;
mod hashes;
mod keys;
mod lists;
mod pubsub;
mod server;
mod sets;
mod sorted_sets;
mod strings;

pub use connection::ConnectionCommands;
pub use hashes::HashCommands;
pub use keys::{ExpireCondition, KeyCommands, Ttl};
pub use lists::{ListCommands, Side};
pub use pubsub::PubSubCommands;
pub use server::{ServerCommands, Time};
pub use sets::SetCommands;
pub use sorted_sets::{Scored, SortedSetCommands};
pub use strings::{Condition, Expiry, SetOptions, StringCommands};

use crate::{Command, FromValue};

/// Whatever can carry out a command. All command families follow from it.
pub trait Execute {
    /// What a command gives at once: its result, or a future of it.
    type Output<'a, T: FromValue>
    where
        Self: 'a;

    /// Carries out a command that leaves the connection as it is. For any other: [`Client::command`](crate::Client::command).
    fn execute<T: FromValue>(&self, command: Command) -> Self::Output<'_, T>;
}

//! Sending messages. To receive them, use a [`Subscriber`](crate::Subscriber).
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! let receivers = client.publish("news", "hello").await?;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Execute;
use crate::Command;

/// Commands on channels.
pub trait PubSubCommands: Execute {
    /// Sends a message, and tells how many connections got it.
    fn publish(&self, channel: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("PUBLISH").arg(channel).arg(message))
    }

    /// Sends a message to a shard channel.
    fn spublish(&self, channel: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("SPUBLISH").key(channel).arg(message))
    }

    /// Channels that match a glob pattern and that somebody listens to by name.
    fn pubsub_channels(&self, pattern: impl AsRef<[u8]>) -> Self::Output<'_, Vec<Bytes>> {
        self.execute(Command::new("PUBSUB").arg("CHANNELS").arg(pattern).reads())
    }

    /// How many connections listen to channels by name.
    fn pubsub_numsub<N: AsRef<[u8]>>(
        &self,
        channels: impl IntoIterator<Item = N>,
    ) -> Self::Output<'_, BTreeMap<Bytes, u64>> {
        self.execute(Command::new("PUBSUB").arg("NUMSUB").args(channels).reads())
    }

    /// Shard channels that match a glob pattern and that somebody listens to.
    fn pubsub_shardchannels(&self, pattern: impl AsRef<[u8]>) -> Self::Output<'_, Vec<Bytes>> {
        self.execute(Command::new("PUBSUB").arg("SHARDCHANNELS").arg(pattern).reads())
    }

    /// How many connections listen to shard channels.
    fn pubsub_shardnumsub<N: AsRef<[u8]>>(
        &self,
        channels: impl IntoIterator<Item = N>,
    ) -> Self::Output<'_, BTreeMap<Bytes, u64>> {
        self.execute(Command::new("PUBSUB").arg("SHARDNUMSUB").args(channels).reads())
    }

    /// How many patterns are listened by.
    fn pubsub_numpat(&self) -> Self::Output<'_, u64> {
        self.execute(Command::new("PUBSUB").arg("NUMPAT").reads())
    }
}

impl<E: Execute> PubSubCommands for E {}

//! The slots of the cluster that the server presents itself as. A client with [`Routing::Shards`](crate::Routing::Shards) asks for
//! them itself.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! for range in client.cluster_slots().await? {
//!     println!("{} to {}: {:?}", range.first, range.last, range.nodes.first());
//! }
//! let in_slot = client.cluster_countkeysinslot(client.cluster_keyslot("user:1").await?).await?;
//! # Ok(())
//! # }
//! ```

use bytes::Bytes;

use super::Execute;
use crate::{Command, FromValue, Result, Value};

/// A server that owns slots, or has a copy of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterNode {
    /// Its address; `None`: that of the server that was asked.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// Its id.
    pub id: String,
}

impl FromValue for ClusterNode {
    fn from_value(value: Value) -> Result<Self> {
        let mut parts = Vec::<Value>::from_value(value)?.into_iter();
        let mut part = || parts.next().unwrap_or(Value::Null);
        let host = Option::<String>::from_value(part())?.filter(|host| !host.is_empty());
        // Before version 4 they had no ids.
        Ok(Self { host, port: u16::from_value(part())?, id: Option::from_value(part())?.unwrap_or_default() })
    }
}

/// Slots in a row with the same owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// Who owns them, and behind it who has copies.
    pub nodes: Vec<ClusterNode>,
}

impl FromValue for SlotRange {
    fn from_value(value: Value) -> Result<Self> {
        let mut parts = Vec::<Value>::from_value(value)?.into_iter();
        let mut part = || parts.next().unwrap_or(Value::Null);
        let (first, last) = (u16::from_value(part())?, u16::from_value(part())?);
        let nodes = parts.map(ClusterNode::from_value).collect::<Result<_>>()?;
        Ok(Self { first, last, nodes })
    }
}

/// Commands on the cluster. An error where there's none.
pub trait ClusterCommands: Execute {
    /// How the cluster is, a line for each fact.
    fn cluster_info(&self) -> Self::Output<'_, String> {
        self.execute(Command::new("CLUSTER").arg("INFO").reads())
    }

    /// Who owns which slots.
    fn cluster_slots(&self) -> Self::Output<'_, Vec<SlotRange>> {
        self.execute(Command::new("CLUSTER").arg("SLOTS").reads())
    }

    /// The same with more about each server, as the server tells it.
    fn cluster_shards(&self) -> Self::Output<'_, Value> {
        self.execute(Command::new("CLUSTER").arg("SHARDS").reads())
    }

    /// All servers, a line for each.
    fn cluster_nodes(&self) -> Self::Output<'_, String> {
        self.execute(Command::new("CLUSTER").arg("NODES").reads())
    }

    /// The id of the server that was asked.
    fn cluster_myid(&self) -> Self::Output<'_, String> {
        self.execute(Command::new("CLUSTER").arg("MYID").reads())
    }

    /// The slot of a key.
    fn cluster_keyslot(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, u16> {
        self.execute(Command::new("CLUSTER").arg("KEYSLOT").arg(key).reads())
    }

    /// How many keys a slot has.
    fn cluster_countkeysinslot(&self, slot: u16) -> Self::Output<'_, u64> {
        self.execute(Command::new("CLUSTER").arg("COUNTKEYSINSLOT").number(slot).reads())
    }

    /// Up to `count` keys of a slot.
    fn cluster_getkeysinslot(&self, slot: u16, count: u32) -> Self::Output<'_, Vec<Bytes>> {
        self.execute(Command::new("CLUSTER").arg("GETKEYSINSLOT").number(slot).number(count).reads())
    }
}

impl<E: Execute> ClusterCommands for E {}

//! HyperLogLogs: how many different elements there were, about, in 12 KiB whatever the number.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! client.pfadd("visitors:monday", ["ada", "grace", "ada"]).await?;
//! let of_both_days = client.pfcount(["visitors:monday", "visitors:tuesday"]).await?;
//! # Ok(())
//! # }
//! ```

use super::Execute;
use crate::Command;

/// Commands on HyperLogLogs. Their errors are 0.81 % (standard deviation).
pub trait HyperLogLogCommands: Execute {
    /// Adds elements; tells whether the count may have changed.
    fn pfadd<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        elements: impl IntoIterator<Item = V>,
    ) -> Self::Output<'_, bool> {
        self.execute(Command::new("PFADD").key(key).args(elements))
    }

    /// About how many different elements were added to any of them.
    fn pfcount<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Self::Output<'_, u64> {
        self.execute(Command::new("PFCOUNT").keys(keys).reads())
    }

    /// Adds to one what was added to others.
    fn pfmerge<K: AsRef<[u8]>>(
        &self,
        to: impl AsRef<[u8]>,
        from: impl IntoIterator<Item = K>,
    ) -> Self::Output<'_, ()> {
        self.execute(Command::new("PFMERGE").key(to).keys(from))
    }
}

impl<E: Execute> HyperLogLogCommands for E {}

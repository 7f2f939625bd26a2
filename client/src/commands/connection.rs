//! The connection itself. What would change it for others who share it (SELECT, AUTH, the name) is in the
//! [`Options`](crate::Options).
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! client.ping().await?;
//! for line in client.client_list().await?.lines() {
//!     println!("{line}");
//! }
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use bytes::Bytes;

use super::Execute;
use crate::{Command, Value};

/// Commands on connections.
pub trait ConnectionCommands: Execute {
    /// Asks for a sign of life.
    fn ping(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("PING").reads())
    }

    /// The same bytes back.
    fn echo(&self, bytes: impl AsRef<[u8]>) -> Self::Output<'_, Bytes> {
        self.execute(Command::new("ECHO").arg(bytes).reads())
    }

    /// The server's number for this connection.
    fn client_id(&self) -> Self::Output<'_, i64> {
        self.execute(Command::new("CLIENT").arg("ID").reads())
    }

    /// The name of this connection.
    fn client_getname(&self) -> Self::Output<'_, Option<String>> {
        self.execute(Command::new("CLIENT").arg("GETNAME").reads())
    }

    /// What the server knows of this connection.
    fn client_info(&self) -> Self::Output<'_, String> {
        self.execute(Command::new("CLIENT").arg("INFO").reads())
    }

    /// What the server knows of all connections, one in a line.
    fn client_list(&self) -> Self::Output<'_, String> {
        self.execute(Command::new("CLIENT").arg("LIST").reads())
    }

    /// Closes another connection, and tells how many that were.
    fn client_kill(&self, id: i64) -> Self::Output<'_, u64> {
        self.execute(Command::new("CLIENT").arg("KILL").arg("ID").number(id))
    }

    /// Ends the waiting of another connection, as if its time were over, or with an error; tells whether it was waiting.
    fn client_unblock(&self, id: i64, with_error: bool) -> Self::Output<'_, bool> {
        let command = Command::new("CLIENT").arg("UNBLOCK").number(id);
        self.execute(command.arg(if with_error { "ERROR" } else { "TIMEOUT" }))
    }

    /// The connection that invalidations of this one go to: 0 for itself, -1 if it asks for none.
    fn client_getredir(&self) -> Self::Output<'_, i64> {
        self.execute(Command::new("CLIENT").arg("GETREDIR").reads())
    }

    /// What the server does for this connection's cache, as it tells it.
    fn client_trackinginfo(&self) -> Self::Output<'_, Value> {
        self.execute(Command::new("CLIENT").arg("TRACKINGINFO").reads())
    }

    /// Makes the server hold back all commands for a time.
    fn client_pause(&self, time: Duration) -> Self::Output<'_, ()> {
        self.execute(Command::new("CLIENT").arg("PAUSE").millis(time).arg("ALL"))
    }

    /// Makes the server hold back all writes for a time.
    fn client_pause_writes(&self, time: Duration) -> Self::Output<'_, ()> {
        self.execute(Command::new("CLIENT").arg("PAUSE").millis(time).arg("WRITE"))
    }

    /// Ends a pause.
    fn client_unpause(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("CLIENT").arg("UNPAUSE"))
    }
}

impl<E: Execute> ConnectionCommands for E {}

//! The server: what it is, what it's set to, all of its data at once.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! let memory = client.info_of("memory").await?;
//! let settings = client.config_get("max*").await?;
//! println!("{} keys", client.dbsize().await?);
//! # Ok(())
//! # }
//! ```

use std::{collections::BTreeMap, time::Duration};

use super::Execute;
use crate::{Command, FromValue, Result, Value};

/// The server's clock, as the time since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

impl FromValue for Time {
    fn from_value(value: Value) -> Result<Self> {
        let (seconds, micros) = <(u64, u64)>::from_value(value)?;
        Ok(Self(Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros))))
    }
}

/// Commands on the server.
pub trait ServerCommands: Execute {
    /// The usual sections of INFO.
    fn info(&self) -> Self::Output<'_, String> {
        self.execute(Command::new("INFO").reads())
    }

    /// One section of INFO.
    fn info_of(&self, section: &str) -> Self::Output<'_, String> {
        self.execute(Command::new("INFO").arg(section).reads())
    }

    /// The number of keys.
    fn dbsize(&self) -> Self::Output<'_, u64> {
        self.execute(Command::new("DBSIZE").reads())
    }

    /// Deletes all keys of this database.
    fn flushdb(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("FLUSHDB"))
    }

    /// Deletes all keys of all databases.
    fn flushall(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("FLUSHALL"))
    }

    /// Lets two databases change places, for all clients.
    fn swapdb(&self, first: u32, second: u32) -> Self::Output<'_, ()> {
        self.execute(Command::new("SWAPDB").number(first).number(second))
    }

    /// Settings whose names match a glob pattern.
    fn config_get(&self, pattern: &str) -> Self::Output<'_, BTreeMap<String, String>> {
        self.execute(Command::new("CONFIG").arg("GET").arg(pattern).reads())
    }

    /// Changes a setting.
    fn config_set(&self, name: &str, value: &str) -> Self::Output<'_, ()> {
        self.execute(Command::new("CONFIG").arg("SET").arg(name).arg(value))
    }

    /// Sets the counters of INFO to zero.
    fn config_resetstat(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("CONFIG").arg("RESETSTAT"))
    }

    /// The server's clock.
    fn time(&self) -> Self::Output<'_, Time> {
        self.execute(Command::new("TIME").reads())
    }

    /// When the data were last saved, in seconds since the Unix epoch.
    fn lastsave(&self) -> Self::Output<'_, u64> {
        self.execute(Command::new("LASTSAVE").reads())
    }

    /// How many commands the server has.
    fn command_count(&self) -> Self::Output<'_, u64> {
        self.execute(Command::new("COMMAND").arg("COUNT").reads())
    }

    /// The names of all commands that the server has.
    fn command_list(&self) -> Self::Output<'_, Vec<String>> {
        self.execute(Command::new("COMMAND").arg("LIST").reads())
    }
}

impl<E: Execute> ServerCommands for E {}

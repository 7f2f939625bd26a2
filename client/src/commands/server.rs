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

use bytes::Bytes;

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

    /// Writes the settings to the file that they came from.
    fn config_rewrite(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("CONFIG").arg("REWRITE"))
    }

    /// The server's clock.
    fn time(&self) -> Self::Output<'_, Time> {
        self.execute(Command::new("TIME").reads())
    }

    /// Saves the data (Annulus: a checkpoint of every shard), and waits for it: longer than this client's time limit, if there's much.
    fn save(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("SAVE"))
    }

    /// Begins to save the data.
    fn bgsave(&self) -> Self::Output<'_, String> {
        self.execute(Command::new("BGSAVE"))
    }

    /// Begins to write the append-only file anew (Annulus: checkpoints, and the log before them goes).
    fn bgrewriteaof(&self) -> Self::Output<'_, String> {
        self.execute(Command::new("BGREWRITEAOF"))
    }

    /// Begins to read all that is on disk again, and to heal what has been lost there (Annulus).
    fn bgscrub(&self) -> Self::Output<'_, String> {
        self.execute(Command::new("BGSCRUB"))
    }

    /// About how many bytes a key takes; with all of its elements looked at.
    fn memory_usage(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<u64>> {
        self.execute(Command::new("MEMORY").arg("USAGE").key(key).arg("SAMPLES").arg("0").reads())
    }

    /// What the server says to how it uses its memory.
    fn memory_doctor(&self) -> Self::Output<'_, String> {
        self.execute(Command::new("MEMORY").arg("DOCTOR").reads())
    }

    /// What takes memory in the server, as it tells it.
    fn memory_stats(&self) -> Self::Output<'_, Value> {
        self.execute(Command::new("MEMORY").arg("STATS").reads())
    }

    /// What the server's allocator says of itself.
    fn memory_malloc_stats(&self) -> Self::Output<'_, String> {
        self.execute(Command::new("MEMORY").arg("MALLOC-STATS").reads())
    }

    /// Gives memory that the server does not use back to the machine.
    fn memory_purge(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("MEMORY").arg("PURGE"))
    }

    /// The server's modules, as it tells them.
    fn module_list(&self) -> Self::Output<'_, Value> {
        self.execute(Command::new("MODULE").arg("LIST").reads())
    }

    /// When the data were last saved, in seconds since the Unix epoch.
    fn lastsave(&self) -> Self::Output<'_, u64> {
        self.execute(Command::new("LASTSAVE").reads())
    }

    /// How many commands the server has.
    fn command_count(&self) -> Self::Output<'_, u64> {
        self.execute(Command::new("COMMAND").arg("COUNT").reads())
    }

    /// What the server knows of commands (`None`: that there's no such command), as it tells it.
    fn command_info<N: AsRef<[u8]>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Self::Output<'_, Vec<Option<Value>>> {
        self.execute(Command::new("COMMAND").arg("INFO").args(names).reads())
    }

    /// The server's documentation of commands, as it tells it.
    fn command_docs<N: AsRef<[u8]>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Self::Output<'_, BTreeMap<String, Value>> {
        self.execute(Command::new("COMMAND").arg("DOCS").args(names).reads())
    }

    /// The keys of a command that is given as its words.
    fn command_getkeys<W: AsRef<[u8]>>(
        &self,
        words: impl IntoIterator<Item = W>,
    ) -> Self::Output<'_, Vec<Bytes>> {
        self.execute(Command::new("COMMAND").arg("GETKEYS").args(words).reads())
    }

    /// The same, and what the command does with each.
    fn command_getkeysandflags<W: AsRef<[u8]>>(
        &self,
        words: impl IntoIterator<Item = W>,
    ) -> Self::Output<'_, Vec<(Bytes, Vec<String>)>> {
        self.execute(Command::new("COMMAND").arg("GETKEYSANDFLAGS").args(words).reads())
    }

    /// The names of all commands that the server has.
    fn command_list(&self) -> Self::Output<'_, Vec<String>> {
        self.execute(Command::new("COMMAND").arg("LIST").reads())
    }
}

impl<E: Execute> ServerCommands for E {}

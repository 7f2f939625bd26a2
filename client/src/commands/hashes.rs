//! Hashes: fields with values under one key.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! client.hset("user:1", [("name", "Ada"), ("language", "Rust")]).await?;
//! let user = client.hgetall("user:1").await?;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Execute;
use crate::Command;

/// Commands on hashes.
pub trait HashCommands: Execute {
    /// Sets fields; returns how many are new.
    fn hset<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> Self::Output<'_, u64> {
        let command = Command::new("HSET").key(key);
        self.execute(
            fields.into_iter().fold(command, |command, (field, value)| command.arg(field).arg(value)),
        )
    }

    /// Sets a field unless it's there; tells whether it did.
    fn hsetnx(
        &self,
        key: impl AsRef<[u8]>,
        field: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Self::Output<'_, bool> {
        self.execute(Command::new("HSETNX").key(key).arg(field).arg(value))
    }

    /// The value of a field.
    fn hget(&self, key: impl AsRef<[u8]>, field: impl AsRef<[u8]>) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("HGET").key(key).arg(field).reads())
    }

    /// The values of fields, each where its field stands.
    fn hmget<F: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        fields: impl IntoIterator<Item = F>,
    ) -> Self::Output<'_, Vec<Option<Bytes>>> {
        self.execute(Command::new("HMGET").key(key).args(fields).reads())
    }

    /// All fields with their values.
    fn hgetall(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, BTreeMap<Bytes, Bytes>> {
        self.execute(Command::new("HGETALL").key(key).reads())
    }

    /// Removes fields; returns how many there were.
    fn hdel<F: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        fields: impl IntoIterator<Item = F>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("HDEL").key(key).args(fields))
    }

    /// Whether a field is there.
    fn hexists(&self, key: impl AsRef<[u8]>, field: impl AsRef<[u8]>) -> Self::Output<'_, bool> {
        self.execute(Command::new("HEXISTS").key(key).arg(field).reads())
    }

    /// The number of fields.
    fn hlen(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("HLEN").key(key).reads())
    }

    /// The names of all fields.
    fn hkeys(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Vec<Bytes>> {
        self.execute(Command::new("HKEYS").key(key).reads())
    }

    /// The values of all fields.
    fn hvals(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Vec<Bytes>> {
        self.execute(Command::new("HVALS").key(key).reads())
    }

    /// Adds to the number in a field; returns the sum.
    fn hincrby(&self, key: impl AsRef<[u8]>, field: impl AsRef<[u8]>, by: i64) -> Self::Output<'_, i64> {
        self.execute(Command::new("HINCRBY").key(key).arg(field).number(by))
    }
}

impl<E: Execute> HashCommands for E {}

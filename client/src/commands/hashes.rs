//! Hashes: fields with values under one key.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use std::time::Duration;
//! use annulus_client::commands::*;
//!
//! client.hset("user:1", [("name", "Ada"), ("language", "Rust")]).await?;
//! let user = client.hgetall("user:1").await?;
//! // A field that goes by itself.
//! client.hsetex("user:1", [("code", "4711")], &FieldOptions::new().expires_in(Duration::from_secs(60))).await?;
//! # Ok(())
//! # }
//! ```

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use super::members::{MemberExpiry, MemberOutcome, expire_members};
use super::{Execute, ExpireCondition, Expiry, Ttl};
use crate::{Command, FromValue, Result, Value, convert::pairs};

/// Fields with their values, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(Bytes, Bytes)>);

impl FromValue for Fields {
    fn from_value(value: Value) -> Result<Self> {
        pairs(value).map(Self)
    }
}

/// How to set fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldOptions {
    condition: Option<&'static str>,
    expiry: Option<Expiry>,
    keep_ttl: bool,
}

impl FieldOptions {
    /// Without conditions or expiry.
    pub const fn new() -> Self {
        Self { condition: None, expiry: None, keep_ttl: false }
    }

    /// Only if none of the fields is there.
    #[must_use]
    pub const fn if_absent(mut self) -> Self {
        self.condition = Some("FNX");
        self
    }

    /// Only if all of the fields are there.
    #[must_use]
    pub const fn if_present(mut self) -> Self {
        self.condition = Some("FXX");
        self
    }

    /// With an expiry.
    #[must_use]
    pub const fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = Some(expiry);
        self.keep_ttl = false;
        self
    }

    /// To expire after this time.
    #[must_use]
    pub const fn expires_in(self, time: Duration) -> Self {
        self.expiry(Expiry::In(time))
    }

    /// With the expiry that each field has.
    #[must_use]
    pub const fn keep_ttl(mut self) -> Self {
        self.keep_ttl = true;
        self.expiry = None;
        self
    }

    fn add(self, command: Command) -> Command {
        let command = command.args(self.condition);
        match self.expiry {
            Some(expiry) => expiry.add(command),
            None => command.flag("KEEPTTL", self.keep_ttl),
        }
    }
}

/// Where the commands on expiry differ from those of other types.
const FIELD_EXPIRY: MemberExpiry = MemberExpiry { within: "HPEXPIRE", at: "HPEXPIREAT", word: "FIELDS" };

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

    /// Adds to the floating-point number in a field; returns the sum.
    fn hincrbyfloat(&self, key: impl AsRef<[u8]>, field: impl AsRef<[u8]>, by: f64) -> Self::Output<'_, f64> {
        self.execute(Command::new("HINCRBYFLOAT").key(key).arg(field).float(by))
    }

    /// The length of a field's value; 0 if there's no such field.
    fn hstrlen(&self, key: impl AsRef<[u8]>, field: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("HSTRLEN").key(key).arg(field).reads())
    }

    /// Some field.
    fn hrandfield(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("HRANDFIELD").key(key).reads())
    }

    /// Some fields with their values: up to `count` different ones, or exactly `-count` of which some may be the same.
    fn hrandfield_many(&self, key: impl AsRef<[u8]>, count: i32) -> Self::Output<'_, Fields> {
        self.execute(Command::new("HRANDFIELD").key(key).number(count).arg("WITHVALUES").reads())
    }

    /// The values of fields that are removed with it (Annulus, Redis 8.0).
    fn hgetdel<F: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        fields: impl IntoIterator<Item = F>,
    ) -> Self::Output<'_, Vec<Option<Bytes>>> {
        self.execute(Command::new("HGETDEL").key(key).arg("FIELDS").counted_args(fields))
    }

    /// The values of fields, and a new expiry for them; `None` as expiry removes it (Annulus, Redis 8.0).
    fn hgetex<F: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        expiry: Option<Expiry>,
        fields: impl IntoIterator<Item = F>,
    ) -> Self::Output<'_, Vec<Option<Bytes>>> {
        let command = Command::new("HGETEX").key(key);
        let command = match expiry {
            Some(expiry) => expiry.add(command),
            None => command.arg("PERSIST"),
        };
        self.execute(command.arg("FIELDS").counted_args(fields))
    }

    /// Sets fields as the options say, all or none; tells whether it did (Annulus, Redis 8.0).
    fn hsetex<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        fields: impl IntoIterator<Item = (F, V)>,
        options: &FieldOptions,
    ) -> Self::Output<'_, bool> {
        let fields: Vec<(F, V)> = fields.into_iter().collect();
        let command =
            options.add(Command::new("HSETEX").key(key)).arg("FIELDS").unsigned(fields.len() as u64);
        self.execute(
            fields.into_iter().fold(command, |command, (field, value)| command.arg(field).arg(value)),
        )
    }

    /// Sets when fields expire; tells what has become of each (Annulus, Redis 7.4).
    fn hexpire<F: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        expiry: Expiry,
        fields: impl IntoIterator<Item = F>,
    ) -> Self::Output<'_, Vec<MemberOutcome>> {
        self.execute(expire_members(FIELD_EXPIRY, key, expiry, None, fields))
    }

    /// The same under a condition, which is looked at for each field (Annulus, Redis 7.4).
    fn hexpire_if<F: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        expiry: Expiry,
        condition: ExpireCondition,
        fields: impl IntoIterator<Item = F>,
    ) -> Self::Output<'_, Vec<MemberOutcome>> {
        self.execute(expire_members(FIELD_EXPIRY, key, expiry, Some(condition), fields))
    }

    /// Removes the expiry of fields; tells what has become of each (Annulus, Redis 7.4).
    fn hpersist<F: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        fields: impl IntoIterator<Item = F>,
    ) -> Self::Output<'_, Vec<MemberOutcome>> {
        self.execute(Command::new("HPERSIST").key(key).arg("FIELDS").counted_args(fields))
    }

    /// How long fields will live, to the millisecond (Annulus, Redis 7.4).
    fn httl<F: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        fields: impl IntoIterator<Item = F>,
    ) -> Self::Output<'_, Vec<Ttl>> {
        self.execute(Command::new("HPTTL").key(key).arg("FIELDS").counted_args(fields).reads())
    }

    /// When fields expire, since the Unix epoch, to the millisecond (Annulus, Redis 7.4).
    fn hexpiretime<F: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        fields: impl IntoIterator<Item = F>,
    ) -> Self::Output<'_, Vec<Ttl>> {
        self.execute(Command::new("HPEXPIRETIME").key(key).arg("FIELDS").counted_args(fields).reads())
    }
}

impl<E: Execute> HashCommands for E {}

//! Strings: bytes, and numbers written as text.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use std::time::Duration;
//! use annulus_client::commands::*;
//!
//! client.set("page", b"\x00any bytes\xff").await?;
//! let taken = client.set_with("lock", "me", &SetOptions::if_absent().expires_in(Duration::from_secs(10))).await?;
//! let total = client.incrby("total", 5).await?;
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use bytes::Bytes;

use super::Execute;
use crate::Command;

/// When a key shall expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// After this time, in whole milliseconds.
    In(Duration),
    /// At this time since the Unix epoch, in whole milliseconds.
    At(Duration),
}

impl Expiry {
    fn add(self, command: Command) -> Command {
        match self {
            Self::In(time) => command.arg("PX").arg(time.as_millis().to_string()),
            Self::At(time) => command.arg("PXAT").arg(time.as_millis().to_string()),
        }
    }
}

/// What must be so for a SET to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// There's no such key.
    Absent,
    /// There's such a key.
    Present,
    /// The key holds this value (Annulus, Valkey 8.1, Redis 8.4).
    Equal(Bytes),
    /// The key does not hold this value (Annulus, Redis 8.4).
    NotEqual(Bytes),
}

/// How to set a string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetOptions {
    condition: Option<Condition>,
    expiry: Option<Expiry>,
    keep_ttl: bool,
}

impl SetOptions {
    /// Without conditions or expiry, as a plain SET.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if there's no such key.
    pub fn if_absent() -> Self {
        Self::default().condition(Condition::Absent)
    }

    /// Only if there's such a key.
    pub fn if_present() -> Self {
        Self::default().condition(Condition::Present)
    }

    /// Only if the key holds this value: compare and set.
    pub fn if_equal(value: impl AsRef<[u8]>) -> Self {
        Self::default().condition(Condition::Equal(Bytes::copy_from_slice(value.as_ref())))
    }

    /// Only if this is so.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }

    /// With an expiry.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = Some(expiry);
        self.keep_ttl = false;
        self
    }

    /// To expire after this time.
    #[must_use]
    pub fn expires_in(self, time: Duration) -> Self {
        self.expiry(Expiry::In(time))
    }

    /// With the expiry that the key has.
    #[must_use]
    pub fn keep_ttl(mut self) -> Self {
        self.keep_ttl = true;
        self.expiry = None;
        self
    }

    fn add(&self, command: Command) -> Command {
        let command = match &self.condition {
            None => command,
            Some(Condition::Absent) => command.arg("NX"),
            Some(Condition::Present) => command.arg("XX"),
            Some(Condition::Equal(value)) => command.arg("IFEQ").arg(value),
            Some(Condition::NotEqual(value)) => command.arg("IFNE").arg(value),
        };
        match self.expiry {
            Some(expiry) => expiry.add(command),
            None if self.keep_ttl => command.arg("KEEPTTL"),
            None => command,
        }
    }
}

fn pairs<K: AsRef<[u8]>, V: AsRef<[u8]>>(name: &str, pairs: impl IntoIterator<Item = (K, V)>) -> Command {
    pairs.into_iter().fold(Command::new(name), |command, (key, value)| command.key(key).arg(value))
}

/// Commands on strings.
pub trait StringCommands: Execute {
    /// The value; `None` if there's no such key.
    fn get(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("GET").key(key).reads())
    }

    /// Sets a value, whatever was there; removes an expiry.
    fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self::Output<'_, ()> {
        self.execute(Command::new("SET").key(key).arg(value))
    }

    /// Sets a value as the options say, and tells whether it was set.
    fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: &SetOptions,
    ) -> Self::Output<'_, bool> {
        self.execute(options.add(Command::new("SET").key(key).arg(value)))
    }

    /// Sets a value as the options say, and tells what the key held before.
    fn set_get(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: &SetOptions,
    ) -> Self::Output<'_, Option<Bytes>> {
        self.execute(options.add(Command::new("SET").key(key).arg(value)).arg("GET"))
    }

    /// Sets a value that expires (PSETEX).
    fn set_expiring(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        time: Duration,
    ) -> Self::Output<'_, ()> {
        self.execute(Command::new("PSETEX").key(key).arg(time.as_millis().to_string()).arg(value))
    }

    /// Sets a value if there's no such key, and tells whether it did.
    fn setnx(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self::Output<'_, bool> {
        self.execute(Command::new("SETNX").key(key).arg(value))
    }

    /// Sets a value, and tells the old one.
    fn getset(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("GETSET").key(key).arg(value))
    }

    /// The value of a key that is deleted with it.
    fn getdel(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("GETDEL").key(key))
    }

    /// The value, and a new expiry; `None` as expiry removes it.
    fn getex(&self, key: impl AsRef<[u8]>, expiry: Option<Expiry>) -> Self::Output<'_, Option<Bytes>> {
        let command = Command::new("GETEX").key(key);
        self.execute(match expiry {
            Some(expiry) => expiry.add(command),
            None => command.arg("PERSIST"),
        })
    }

    /// The values of several keys, in their order.
    fn mget<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Self::Output<'_, Vec<Option<Bytes>>> {
        self.execute(Command::new("MGET").keys(keys).reads())
    }

    /// Sets several keys.
    fn mset<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        values: impl IntoIterator<Item = (K, V)>,
    ) -> Self::Output<'_, ()> {
        self.execute(pairs("MSET", values))
    }

    /// Sets several keys if there's none of them yet, and tells whether it did.
    fn msetnx<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        values: impl IntoIterator<Item = (K, V)>,
    ) -> Self::Output<'_, bool> {
        self.execute(pairs("MSETNX", values))
    }

    /// Adds bytes to the end, and tells the new length.
    fn append(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("APPEND").key(key).arg(value))
    }

    /// The length in bytes; 0 if there's no such key.
    fn strlen(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("STRLEN").key(key).reads())
    }

    /// The bytes from `start` to `end`, both included; negative ones count from the end.
    fn getrange(&self, key: impl AsRef<[u8]>, start: i64, end: i64) -> Self::Output<'_, Bytes> {
        self.execute(Command::new("GETRANGE").key(key).number(start).number(end).reads())
    }

    /// Overwrites from an offset on, and tells the new length.
    fn setrange(&self, key: impl AsRef<[u8]>, offset: u32, value: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("SETRANGE").key(key).number(offset).arg(value))
    }

    /// Adds one, and tells the sum.
    fn incr(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, i64> {
        self.execute(Command::new("INCR").key(key))
    }

    /// Adds a number, and tells the sum.
    fn incrby(&self, key: impl AsRef<[u8]>, number: i64) -> Self::Output<'_, i64> {
        self.execute(Command::new("INCRBY").key(key).number(number))
    }

    /// Adds a floating-point number, and tells the sum.
    fn incrbyfloat(&self, key: impl AsRef<[u8]>, number: f64) -> Self::Output<'_, f64> {
        self.execute(Command::new("INCRBYFLOAT").key(key).float(number))
    }

    /// Takes one away, and tells the rest.
    fn decr(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, i64> {
        self.execute(Command::new("DECR").key(key))
    }

    /// Takes a number away, and tells the rest.
    fn decrby(&self, key: impl AsRef<[u8]>, number: i64) -> Self::Output<'_, i64> {
        self.execute(Command::new("DECRBY").key(key).number(number))
    }

    /// The longest common subsequence of two strings.
    fn lcs(&self, first: impl AsRef<[u8]>, second: impl AsRef<[u8]>) -> Self::Output<'_, Bytes> {
        self.execute(Command::new("LCS").key(first).key(second).reads())
    }

    /// The length of the longest common subsequence of two strings.
    fn lcs_len(&self, first: impl AsRef<[u8]>, second: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("LCS").key(first).key(second).arg("LEN").reads())
    }

    /// The XXH3 hash of a value, in hexadecimal digits (Annulus, Redis 8.4).
    fn digest(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<String>> {
        self.execute(Command::new("DIGEST").key(key).reads())
    }
}

impl<E: Execute> StringCommands for E {}

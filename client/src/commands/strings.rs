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
//! // At most a hundred calls a minute, counted from the first one.
//! let call = Increase::by(1).at_most(100).expires_in(Duration::from_secs(60)).unless_it_expires();
//! let (calls, added) = client.increx("calls:ada", call).await?;
//! let is_too_much = added == 0;
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use bytes::Bytes;

use super::Execute;
use crate::{
    Command, FromValue, Result, Value,
    convert::{Described, array},
};

/// When a key shall expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// After this time, in whole milliseconds.
    In(Duration),
    /// At this time since the Unix epoch, in whole milliseconds.
    At(Duration),
}

impl Expiry {
    pub(super) fn add(self, command: Command) -> Command {
        match self {
            Self::In(time) => command.arg("PX").millis(time),
            Self::At(time) => command.arg("PXAT").millis(time),
        }
    }
}

/// What a value must be like (Annulus, Redis 8.4; the first one also Valkey 8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueIs {
    /// Equal to this.
    Equal(Bytes),
    /// Anything but this.
    NotEqual(Bytes),
    /// One with this [digest](StringCommands::digest).
    Digest(String),
    /// One with any other digest.
    NotDigest(String),
}

impl ValueIs {
    /// Equal to this.
    pub fn equal(value: impl AsRef<[u8]>) -> Self {
        Self::Equal(Bytes::copy_from_slice(value.as_ref()))
    }

    fn add(&self, command: Command) -> Command {
        match self {
            Self::Equal(value) => command.arg("IFEQ").arg(value),
            Self::NotEqual(value) => command.arg("IFNE").arg(value),
            Self::Digest(digest) => command.arg("IFDEQ").arg(digest),
            Self::NotDigest(digest) => command.arg("IFDNE").arg(digest),
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
    /// The key holds such a value.
    Value(ValueIs),
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
        Self::default().condition(Condition::Value(ValueIs::equal(value)))
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
            Some(Condition::Value(value_is)) => value_is.add(command),
        };
        match self.expiry {
            Some(expiry) => expiry.add(command),
            None if self.keep_ttl => command.arg("KEEPTTL"),
            None => command,
        }
    }
}

/// How INCREX adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Increase<T> {
    by: T,
    least: Option<T>,
    most: Option<T>,
    saturate: bool,
    expiry: Option<Expiry>,
    persist: bool,
    only_new_expiry: bool,
}

impl<T> Increase<T> {
    /// By this number, an integer or a floating-point one.
    pub const fn by(number: T) -> Self {
        Self {
            by: number,
            least: None,
            most: None,
            saturate: false,
            expiry: None,
            persist: false,
            only_new_expiry: false,
        }
    }

    /// But not to less than this.
    #[must_use]
    pub fn at_least(mut self, bound: T) -> Self {
        self.least = Some(bound);
        self
    }

    /// But not to more than this.
    #[must_use]
    pub fn at_most(mut self, bound: T) -> Self {
        self.most = Some(bound);
        self
    }

    /// Goes to the bound where it would go beyond; otherwise it does nothing then.
    #[must_use]
    pub fn saturate(mut self) -> Self {
        self.saturate = true;
        self
    }

    /// With an expiry.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = Some(expiry);
        self.persist = false;
        self
    }

    /// To expire after this time.
    #[must_use]
    pub fn expires_in(self, time: Duration) -> Self {
        self.expiry(Expiry::In(time))
    }

    /// With the expiry that was said, where the key has none yet: a window that begins with its first count.
    #[must_use]
    pub fn unless_it_expires(mut self) -> Self {
        self.only_new_expiry = true;
        self
    }

    /// Without an expiry, whatever the key had.
    #[must_use]
    pub fn persist(mut self) -> Self {
        self.expiry = None;
        self.persist = true;
        self
    }

    fn command(self, key: impl AsRef<[u8]>, kind: &str, number: fn(Command, T) -> Command) -> Command {
        let mut command = number(Command::new("INCREX").key(key).arg(kind), self.by);
        if let Some(least) = self.least {
            command = number(command.arg("LBOUND"), least);
        }
        if let Some(most) = self.most {
            command = number(command.arg("UBOUND"), most);
        }
        command = command.flag("SATURATE", self.saturate);
        command = match self.expiry {
            Some(expiry) => expiry.add(command),
            None => command.flag("PERSIST", self.persist),
        };
        command.flag("ENX", self.only_new_expiry)
    }
}

/// A rate: a bucket of units that fills steadily, from which callers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    burst: u32,
    count: u32,
    period: Duration,
}

impl Rate {
    /// So many units in a period (in whole seconds), and one at a time.
    pub const fn new(count: u32, period: Duration) -> Self {
        Self { burst: 0, count, period }
    }

    /// So many more at once, if the bucket is full.
    #[must_use]
    pub const fn burst(mut self, units: u32) -> Self {
        self.burst = units;
        self
    }
}

/// What a bucket said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Throttled {
    /// Whether it's too much; then nothing was taken.
    pub limited: bool,
    /// Units that the bucket holds when it's full.
    pub capacity: u64,
    /// Units that are left.
    pub remaining: u64,
    /// When to try again, if it was too much and there'll ever be so much.
    pub retry_after: Option<Duration>,
    /// When the bucket is full again.
    pub full_after: Duration,
}

impl FromValue for Throttled {
    fn from_value(value: Value) -> Result<Self> {
        let [limited, capacity, remaining, retry, full] = array(value)?;
        Ok(Self {
            limited: bool::from_value(limited)?,
            capacity: u64::from_value(capacity)?,
            remaining: u64::from_value(remaining)?,
            retry_after: u64::try_from(i64::from_value(retry)?).ok().map(Duration::from_secs),
            full_after: Duration::from_secs(u64::from_value(full)?),
        })
    }
}

/// A piece that two strings have in common, longest common subsequence, and where: bytes of the first and of the second.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LcsMatch {
    /// Where in the first, both ends included.
    pub first: (u64, u64),
    /// Where in the second.
    pub second: (u64, u64),
    /// How long it is.
    pub length: u64,
}

impl FromValue for LcsMatch {
    fn from_value(value: Value) -> Result<Self> {
        let (first, second, length) = <((u64, u64), (u64, u64), u64)>::from_value(value)?;
        Ok(Self { first, second, length })
    }
}

/// The longest common subsequence of two strings, piece by piece, the last piece first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LcsMatches {
    /// The pieces.
    pub matches: Vec<LcsMatch>,
    /// The length of the whole.
    pub length: u64,
}

impl FromValue for LcsMatches {
    fn from_value(value: Value) -> Result<Self> {
        let mut told = Described::new(value)?;
        Ok(Self { matches: told.take("matches")?, length: told.take("len")? })
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
        self.execute(Command::new("PSETEX").key(key).millis(time).arg(value))
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

    /// Sets several keys that expire together, if the condition is so for all of them, and tells whether it did (Annulus, Redis 8.4).
    fn msetex<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        values: impl IntoIterator<Item = (K, V)>,
        options: &SetOptions,
    ) -> Self::Output<'_, bool> {
        let values: Vec<(K, V)> = values.into_iter().collect();
        let command = Command::new("MSETEX").unsigned(values.len() as u64);
        let command = values.into_iter().fold(command, |command, (key, value)| command.key(key).arg(value));
        self.execute(options.add(command))
    }

    /// Deletes a key if its value is such, and tells whether it did (Annulus, Redis 8.4).
    fn delex(&self, key: impl AsRef<[u8]>, value_is: &ValueIs) -> Self::Output<'_, bool> {
        self.execute(value_is.add(Command::new("DELEX").key(key)))
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

    /// Adds a number within bounds; tells the value, and what was really added (Annulus, Redis 8.8).
    fn increx(&self, key: impl AsRef<[u8]>, increase: Increase<i64>) -> Self::Output<'_, (i64, i64)> {
        self.execute(increase.command(key, "BYINT", Command::number))
    }

    /// The same with floating-point numbers.
    fn increx_float(&self, key: impl AsRef<[u8]>, increase: Increase<f64>) -> Self::Output<'_, (f64, f64)> {
        self.execute(increase.command(key, "BYFLOAT", Command::float))
    }

    /// Takes units from the bucket at a key, if it holds as many (CL.THROTTLE: Annulus, Redis with `redis-cell`). 0 units: looks only.
    fn throttle(&self, key: impl AsRef<[u8]>, rate: Rate, units: u32) -> Self::Output<'_, Throttled> {
        let command = Command::new("CL.THROTTLE").key(key).number(rate.burst).number(rate.count);
        self.execute(command.unsigned(rate.period.as_secs()).number(units))
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

    /// The longest common subsequence of two strings, piece by piece; only pieces of at least `length_min` bytes.
    fn lcs_matches(
        &self,
        first: impl AsRef<[u8]>,
        second: impl AsRef<[u8]>,
        length_min: u32,
    ) -> Self::Output<'_, LcsMatches> {
        let command = Command::new("LCS").key(first).key(second).arg("IDX").arg("MINMATCHLEN");
        self.execute(command.number(length_min).arg("WITHMATCHLEN").reads())
    }

    /// The XXH3 hash of a value, in hexadecimal digits (Annulus, Redis 8.4).
    fn digest(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<String>> {
        self.execute(Command::new("DIGEST").key(key).reads())
    }
}

impl<E: Execute> StringCommands for E {}

//! Keys, whatever they hold: whether they are there, when they expire, what they are called.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use std::time::Duration;
//! use annulus_client::commands::*;
//!
//! client.expire("session", Duration::from_secs(1800)).await?;
//! if let Ttl::In(left) = client.ttl("session").await? {
//!     println!("{left:?} left");
//! }
//! client.del(["session", "draft"]).await?;
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use bytes::Bytes;

use super::{Execute, Expiry};
use crate::{Command, Error, FromValue, Result, Value};

/// How long a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// There's no such key.
    Absent,
    /// It does not expire.
    Forever,
    /// It expires after this time (of [`KeyCommands::ttl`]), or at this time since the Unix epoch (of [`KeyCommands::expiretime`]).
    In(Duration),
}

impl FromValue for Ttl {
    fn from_value(value: Value) -> Result<Self> {
        match i64::from_value(value)? {
            -2 => Ok(Self::Absent),
            -1 => Ok(Self::Forever),
            ms => u64::try_from(ms)
                .map(|ms| Self::In(Duration::from_millis(ms)))
                .map_err(|_| Error::Unexpected { expected: "time to live", found: ms.to_string() }),
        }
    }
}

/// What must be so for an expiry to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireCondition {
    /// The key has none.
    IfNone,
    /// The key has one.
    IfAny,
    /// The new one is later.
    IfLater,
    /// The new one is sooner; none counts as never.
    IfSooner,
}

impl ExpireCondition {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::IfNone => "NX",
            Self::IfAny => "XX",
            Self::IfLater => "GT",
            Self::IfSooner => "LT",
        }
    }
}

/// How to sort the elements of a list, a set or a sorted set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sort {
    by: Option<Bytes>,
    limit: Option<(u64, i64)>,
    get: Vec<Bytes>,
    descending: bool,
    as_text: bool,
}

impl Sort {
    /// As numbers, the smallest first.
    pub fn new() -> Self {
        Self::default()
    }

    /// By what the keys of this pattern hold (`weight_*`, `user:*->age`), an element being put for the asterisk; a pattern without one: not at all.
    #[must_use]
    pub fn by(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.by = Some(Bytes::copy_from_slice(pattern.as_ref()));
        self
    }

    /// Only `count` of them (all for -1) behind the first `offset`.
    #[must_use]
    pub fn limit(mut self, offset: u64, count: i64) -> Self {
        self.limit = Some((offset, count));
        self
    }

    /// Instead of the element, what the key of this pattern holds (`#`: the element). May be said more than once: then each element gives as many.
    #[must_use]
    pub fn get(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.get.push(Bytes::copy_from_slice(pattern.as_ref()));
        self
    }

    /// The largest first.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// As texts.
    #[must_use]
    pub fn as_text(mut self) -> Self {
        self.as_text = true;
        self
    }

    fn add(&self, mut command: Command) -> Command {
        if let Some(by) = &self.by {
            command = command.arg("BY").arg(by);
        }
        if let Some((offset, count)) = self.limit {
            command = command.arg("LIMIT").unsigned(offset).number(count);
        }
        command = self.get.iter().fold(command, |command, pattern| command.arg("GET").arg(pattern));
        command.flag("DESC", self.descending).flag("ALPHA", self.as_text)
    }
}

fn restore(
    key: impl AsRef<[u8]>,
    expiry: Option<Expiry>,
    dumped: impl AsRef<[u8]>,
    replace: bool,
) -> Command {
    let command = Command::new("RESTORE").key(key);
    let (command, is_absolute) = match expiry {
        None => (command.arg("0"), false),
        Some(Expiry::In(time)) => (command.millis(time), false),
        Some(Expiry::At(time)) => (command.millis(time), true),
    };
    command.arg(dumped).flag("REPLACE", replace).flag("ABSTTL", is_absolute)
}

/// Commands on keys of any type.
pub trait KeyCommands: Execute {
    /// Deletes keys, and tells how many there were.
    fn del<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Self::Output<'_, u64> {
        self.execute(Command::new("DEL").keys(keys))
    }

    /// Deletes keys and frees their memory later, and tells how many there were.
    fn unlink<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Self::Output<'_, u64> {
        self.execute(Command::new("UNLINK").keys(keys))
    }

    /// How many of the keys there are; one that is named twice counts twice.
    fn exists<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Self::Output<'_, u64> {
        self.execute(Command::new("EXISTS").keys(keys).reads())
    }

    /// Marks keys as used, and tells how many there are.
    fn touch<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Self::Output<'_, u64> {
        self.execute(Command::new("TOUCH").keys(keys).reads())
    }

    /// The type of what a key holds; `none` if there's no such key.
    fn key_type(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, String> {
        self.execute(Command::new("TYPE").key(key).reads())
    }

    /// Sets when a key expires, in whole milliseconds from now; tells whether there's such a key.
    fn expire(&self, key: impl AsRef<[u8]>, time: Duration) -> Self::Output<'_, bool> {
        self.execute(Command::new("PEXPIRE").key(key).millis(time))
    }

    /// The same under a condition; tells whether it was set.
    fn expire_if(
        &self,
        key: impl AsRef<[u8]>,
        time: Duration,
        condition: ExpireCondition,
    ) -> Self::Output<'_, bool> {
        let command = Command::new("PEXPIRE").key(key).millis(time);
        self.execute(command.arg(condition.word()))
    }

    /// Sets when a key expires, in whole milliseconds since the Unix epoch; tells whether there's such a key.
    fn expire_at(&self, key: impl AsRef<[u8]>, time: Duration) -> Self::Output<'_, bool> {
        self.execute(Command::new("PEXPIREAT").key(key).millis(time))
    }

    /// The same under a condition; tells whether it was set.
    fn expire_at_if(
        &self,
        key: impl AsRef<[u8]>,
        time: Duration,
        condition: ExpireCondition,
    ) -> Self::Output<'_, bool> {
        self.execute(Command::new("PEXPIREAT").key(key).millis(time).arg(condition.word()))
    }

    /// How long a key will live, to the millisecond.
    fn ttl(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Ttl> {
        self.execute(Command::new("PTTL").key(key).reads())
    }

    /// When a key expires, since the Unix epoch, to the millisecond.
    fn expiretime(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Ttl> {
        self.execute(Command::new("PEXPIRETIME").key(key).reads())
    }

    /// Removes an expiry, and tells whether there was one.
    fn persist(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, bool> {
        self.execute(Command::new("PERSIST").key(key))
    }

    /// Gives a key another name, over whatever had it. An error if there's no such key.
    fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self::Output<'_, ()> {
        self.execute(Command::new("RENAME").key(from).key(to))
    }

    /// Gives a key another name unless that is taken, and tells whether it did.
    fn renamenx(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self::Output<'_, bool> {
        self.execute(Command::new("RENAMENX").key(from).key(to))
    }

    /// Copies what a key holds unless the other name is taken, and tells whether it did.
    fn copy(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self::Output<'_, bool> {
        self.execute(Command::new("COPY").key(from).key(to))
    }

    /// Copies what a key holds, over whatever had the other name; tells whether there's such a key.
    fn copy_over(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self::Output<'_, bool> {
        self.execute(Command::new("COPY").key(from).key(to).arg("REPLACE"))
    }

    /// Moves a key to another database unless it's there already, and tells whether it did (MOVE).
    fn move_to(&self, key: impl AsRef<[u8]>, database: u32) -> Self::Output<'_, bool> {
        self.execute(Command::new("MOVE").key(key).number(database))
    }

    /// All keys that match a glob pattern, at once. With many keys, scan instead.
    fn keys(&self, pattern: impl AsRef<[u8]>) -> Self::Output<'_, Vec<Bytes>> {
        self.execute(Command::new("KEYS").arg(pattern).reads())
    }

    /// Some key; `None` if there's none.
    fn randomkey(&self) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("RANDOMKEY").reads())
    }

    /// How a key's value is stored.
    fn object_encoding(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<String>> {
        self.execute(Command::new("OBJECT").arg("ENCODING").key(key).reads())
    }

    /// How often a key is used, on a logarithmic scale; an error unless `maxmemory-policy` is one of LFU.
    fn object_freq(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<u64>> {
        self.execute(Command::new("OBJECT").arg("FREQ").key(key).reads())
    }

    /// How many references a key's value has.
    fn object_refcount(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<u64>> {
        self.execute(Command::new("OBJECT").arg("REFCOUNT").key(key).reads())
    }

    /// What a key holds as bytes that [`KeyCommands::restore`] takes, here or on another server; without its expiry.
    fn dump(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("DUMP").key(key).reads())
    }

    /// Makes a key of what [`KeyCommands::dump`] gave. An error (`BUSYKEY`) if there's such a key.
    fn restore(
        &self,
        key: impl AsRef<[u8]>,
        expiry: Option<Expiry>,
        dumped: impl AsRef<[u8]>,
    ) -> Self::Output<'_, ()> {
        self.execute(restore(key, expiry, dumped, false))
    }

    /// The same, over whatever the key holds.
    fn restore_over(
        &self,
        key: impl AsRef<[u8]>,
        expiry: Option<Expiry>,
        dumped: impl AsRef<[u8]>,
    ) -> Self::Output<'_, ()> {
        self.execute(restore(key, expiry, dumped, true))
    }

    /// The elements of a list, a set or a sorted set, sorted; `None` where a key that was to be got is not there.
    fn sort(&self, key: impl AsRef<[u8]>, sort: &Sort) -> Self::Output<'_, Vec<Option<Bytes>>> {
        self.execute(sort.add(Command::new("SORT").key(key)).reads())
    }

    /// Keeps them in a list; returns its length.
    fn sort_store(&self, key: impl AsRef<[u8]>, sort: &Sort, to: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(sort.add(Command::new("SORT").key(key)).arg("STORE").key(to))
    }

    /// For how many seconds nobody has used a key.
    fn object_idletime(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<u64>> {
        self.execute(Command::new("OBJECT").arg("IDLETIME").key(key).reads())
    }
}

impl<E: Execute> KeyCommands for E {}

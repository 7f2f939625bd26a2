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

use super::Execute;
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
    const fn word(self) -> &'static str {
        match self {
            Self::IfNone => "NX",
            Self::IfAny => "XX",
            Self::IfLater => "GT",
            Self::IfSooner => "LT",
        }
    }
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
        self.execute(Command::new("PEXPIRE").key(key).arg(time.as_millis().to_string()))
    }

    /// The same under a condition; tells whether it was set.
    fn expire_if(
        &self,
        key: impl AsRef<[u8]>,
        time: Duration,
        condition: ExpireCondition,
    ) -> Self::Output<'_, bool> {
        let command = Command::new("PEXPIRE").key(key).arg(time.as_millis().to_string());
        self.execute(command.arg(condition.word()))
    }

    /// Sets when a key expires, in whole milliseconds since the Unix epoch; tells whether there's such a key.
    fn expire_at(&self, key: impl AsRef<[u8]>, time: Duration) -> Self::Output<'_, bool> {
        self.execute(Command::new("PEXPIREAT").key(key).arg(time.as_millis().to_string()))
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

    /// For how many seconds nobody has used a key.
    fn object_idletime(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<u64>> {
        self.execute(Command::new("OBJECT").arg("IDLETIME").key(key).reads())
    }
}

impl<E: Execute> KeyCommands for E {}

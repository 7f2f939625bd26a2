//! Lua scripts and libraries of functions, carried out by the server as one command.
//!
//! A [`Script`] is called by its digest; a server that does not know it (yet, or any more) is given its text in a second
//! step, by itself.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::{Script, commands::*};
//!
//! let take = Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0");
//! let was_mine: bool = client.script(&take, ["lock"], ["me"]).await?;
//!
//! client.function_load("#!lua name=math\nredis.register_function('add', function(keys, args) return args[1] + args[2] end)").await?;
//! let sum: i64 = client.fcall("add", NO_KEYS, ["1", "2"]).await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;

use bytes::Bytes;
use sha1::{Digest as _, Sha1};

use super::Execute;
use crate::{Command, Error, FromValue, Result, Value, convert::Described};

/// For scripts and functions without keys.
pub const NO_KEYS: [&str; 0] = [];

/// For scripts and functions without arguments.
pub const NO_ARGUMENTS: [&str; 0] = [];

/// A script, with the digest by which servers know it. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Script {
    text: Bytes,
    digest: [u8; 40],
}

impl Script {
    /// Of this Lua text.
    pub fn new(text: impl AsRef<[u8]>) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digest = [0; 40];
        for (pair, byte) in digest.chunks_exact_mut(2).zip(Sha1::digest(text.as_ref())) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        Self { text: Bytes::copy_from_slice(text.as_ref()), digest }
    }

    /// Its text.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// The SHA-1 of its text, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        std::str::from_utf8(&self.digest).unwrap_or_default()
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Script").field(&self.digest()).finish()
    }
}

/// What the server knew of a script that was called by its digest: nothing, and nothing was done.
pub(crate) fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::Server { prefix, .. } if prefix == "NOSCRIPT")
}

fn call<K: AsRef<[u8]>, A: AsRef<[u8]>>(
    name: &str,
    what: impl AsRef<[u8]>,
    keys: impl IntoIterator<Item = K>,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    Command::new(name).arg(what).counted_keys(keys).args(arguments)
}

/// A library of functions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Library {
    /// Its name.
    pub name: String,
    /// What it's written in.
    pub engine: String,
    /// Its functions.
    pub functions: Vec<Function>,
    /// Its text, if that was asked for.
    pub code: Option<Bytes>,
}

impl FromValue for Library {
    fn from_value(value: Value) -> Result<Self> {
        let mut told = Described::new(value)?;
        Ok(Self {
            name: told.take("library_name")?,
            engine: told.take("engine")?,
            functions: told.take("functions")?,
            code: told.take("library_code")?,
        })
    }
}

/// A function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub description: Option<String>,
    /// What it says that it does not do, or needs, such as `no-writes`.
    pub flags: Vec<String>,
}

impl FromValue for Function {
    fn from_value(value: Value) -> Result<Self> {
        let mut told = Described::new(value)?;
        Ok(Self {
            name: told.take("name")?,
            description: told.take("description")?,
            flags: told.take("flags")?,
        })
    }
}

/// What becomes of libraries that are there when others are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestorePolicy {
    /// They stay; an error if one has the same name.
    Append,
    /// They stay but those of the same names.
    Replace,
    /// They go.
    Flush,
}

/// Commands on scripts and functions. `T`: what the script answers. A pipeline or a transaction cannot bring a script along when it's needed:
/// give it [`ScriptCommands::script_load`] before, or EVAL.
pub trait ScriptCommands: Execute {
    /// Carries out a script, by its digest if the server knows it. All keys that it uses must be named.
    fn script<T: FromValue>(
        &self,
        script: &Script,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
        arguments: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Self::Output<'_, T> {
        self.execute_script(call("EVALSHA", script.digest(), keys, arguments), script)
    }

    /// The same for a script that writes nothing: so it may be sent again after a lost connection. An error if it does write.
    fn script_ro<T: FromValue>(
        &self,
        script: &Script,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
        arguments: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Self::Output<'_, T> {
        self.execute_script(call("EVALSHA_RO", script.digest(), keys, arguments).reads(), script)
    }

    /// Carries out a script that is brought along each time: one that is needed once.
    fn eval<T: FromValue>(
        &self,
        text: impl AsRef<[u8]>,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
        arguments: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Self::Output<'_, T> {
        self.execute(call("EVAL", text, keys, arguments))
    }

    /// The same for a script that writes nothing.
    fn eval_ro<T: FromValue>(
        &self,
        text: impl AsRef<[u8]>,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
        arguments: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Self::Output<'_, T> {
        self.execute(call("EVAL_RO", text, keys, arguments).reads())
    }

    /// Carries out a function of a library.
    fn fcall<T: FromValue>(
        &self,
        function: impl AsRef<[u8]>,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
        arguments: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Self::Output<'_, T> {
        self.execute(call("FCALL", function, keys, arguments))
    }

    /// The same for a function with the flag `no-writes`: so it may be sent again after a lost connection.
    fn fcall_ro<T: FromValue>(
        &self,
        function: impl AsRef<[u8]>,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
        arguments: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Self::Output<'_, T> {
        self.execute(call("FCALL_RO", function, keys, arguments).reads())
    }

    /// Gives the server a script, for calls by its digest; returns the digest.
    fn script_load(&self, script: &Script) -> Self::Output<'_, String> {
        self.execute(Command::new("SCRIPT").arg("LOAD").bytes(script.text().clone()))
    }

    /// Which digests the server knows scripts of, each where it stands.
    fn script_exists<D: AsRef<[u8]>>(
        &self,
        digests: impl IntoIterator<Item = D>,
    ) -> Self::Output<'_, Vec<bool>> {
        self.execute(Command::new("SCRIPT").arg("EXISTS").args(digests).reads())
    }

    /// Makes the server forget all scripts.
    fn script_flush(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("SCRIPT").arg("FLUSH"))
    }

    /// Ends the script that is running, if it has written nothing. An error (`NOTBUSY`) if none is.
    fn script_kill(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("SCRIPT").arg("KILL"))
    }

    /// Loads a library; returns its name. An error if there's one of that name.
    fn function_load(&self, code: impl AsRef<[u8]>) -> Self::Output<'_, String> {
        self.execute(Command::new("FUNCTION").arg("LOAD").arg(code))
    }

    /// Loads a library, over one of the same name; returns its name.
    fn function_load_over(&self, code: impl AsRef<[u8]>) -> Self::Output<'_, String> {
        self.execute(Command::new("FUNCTION").arg("LOAD").arg("REPLACE").arg(code))
    }

    /// Removes a library. An error if there's none of that name.
    fn function_delete(&self, library: impl AsRef<[u8]>) -> Self::Output<'_, ()> {
        self.execute(Command::new("FUNCTION").arg("DELETE").arg(library))
    }

    /// Removes all libraries.
    fn function_flush(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("FUNCTION").arg("FLUSH"))
    }

    /// Libraries whose names match a glob pattern, with their text if asked for.
    fn function_list(&self, pattern: impl AsRef<[u8]>, with_code: bool) -> Self::Output<'_, Vec<Library>> {
        let command = Command::new("FUNCTION").arg("LIST").arg("LIBRARYNAME").arg(pattern);
        self.execute(command.flag("WITHCODE", with_code).reads())
    }

    /// All libraries as bytes that [`ScriptCommands::function_restore`] takes.
    fn function_dump(&self) -> Self::Output<'_, Bytes> {
        self.execute(Command::new("FUNCTION").arg("DUMP").reads())
    }

    /// Loads what [`ScriptCommands::function_dump`] gave, all or nothing.
    fn function_restore(&self, dumped: impl AsRef<[u8]>, policy: RestorePolicy) -> Self::Output<'_, ()> {
        let policy = match policy {
            RestorePolicy::Append => "APPEND",
            RestorePolicy::Replace => "REPLACE",
            RestorePolicy::Flush => "FLUSH",
        };
        self.execute(Command::new("FUNCTION").arg("RESTORE").arg(dumped).arg(policy))
    }

    /// Ends the function that is running, if it has written nothing. An error (`NOTBUSY`) if none is.
    fn function_kill(&self) -> Self::Output<'_, ()> {
        self.execute(Command::new("FUNCTION").arg("KILL"))
    }

    /// What function is running, and how many there are, as the server tells it.
    fn function_stats(&self) -> Self::Output<'_, Value> {
        self.execute(Command::new("FUNCTION").arg("STATS").reads())
    }
}

impl<E: Execute> ScriptCommands for E {}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn a_script_is_known_by_the_digest_of_its_text() {
        assert_eq!(Script::new("return 1").digest(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }

    #[test]
    fn a_call_by_digest_becomes_one_with_the_text() {
        let wire = |command: Command| {
            let mut out = BytesMut::new();
            command.payload().write(&mut out);
            out
        };
        let script = Script::new("return KEYS[1]");
        let by_digest = call("EVALSHA", script.digest(), ["k"], ["a", "b"]);
        let in_full = by_digest.clone().with_script(script.text().clone());
        assert_eq!(wire(in_full), wire(call("EVAL", script.text(), ["k"], ["a", "b"])));
        let by_digest = call("EVALSHA_RO", script.digest(), NO_KEYS, NO_ARGUMENTS);
        let in_full = by_digest.with_script(script.text().clone());
        assert_eq!(wire(in_full), wire(call("EVAL_RO", script.text(), NO_KEYS, NO_ARGUMENTS)));
    }
}

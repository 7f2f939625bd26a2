//! PING, ECHO, HELLO, AUTH, SELECT, QUIT, RESET.

use annulus_protocol::{Version, parse_i64};
use annulus_storage::DatabaseId;

use super::super::Core;
use super::super::connection::{Modes, ReplyMode, Session};
use super::quoting;
use crate::admin::info::REDIS_VERSION;
use crate::runtime::SocketId;

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
const HELLO_NEEDS_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// What the options of HELLO ask for.
#[derive(Default)]
struct Hello<'a> {
    version: Option<Version>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn parse_hello<'a>(args: &[&'a [u8]]) -> Result<Hello<'a>, Vec<u8>> {
    let mut hello = Hello::default();
    let Some((version, mut rest)) = args.get(1..).and_then(<[_]>::split_first) else { return Ok(hello) };
    hello.version = match parse_i64(version) {
        Some(2) => Some(Version::Resp2),
        Some(3) => Some(Version::Resp3),
        Some(_) => return Err("NOPROTO unsupported protocol version".into()),
        None => return Err("ERR Protocol version is not an integer or out of range".into()),
    };
    while let Some((&option, after)) = rest.split_first() {
        rest = match after {
            [user, password, after @ ..] if option.eq_ignore_ascii_case(b"auth") => {
                hello.credentials = Some((user, password));
                after
            }
            [name, after @ ..] if option.eq_ignore_ascii_case(b"setname") => {
                hello.name = Some(name);
                after
            }
            _ => {
                return Err(quoting("ERR Syntax error in HELLO option '", option, "'"));
            }
        };
    }
    Ok(hello)
}

/// A client name: printable ASCII without spaces.
pub(super) fn checked_name(name: &[u8]) -> Result<Box<str>, &'static str> {
    match std::str::from_utf8(name) {
        Ok(text) if name.iter().all(u8::is_ascii_graphic) => Ok(text.into()),
        _ => Err(BAD_NAME),
    }
}

/// Compares without telling by its time where the first difference is.
fn same_secret(given: &[u8], secret: &[u8]) -> bool {
    let difference = given.iter().zip(secret).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == secret.len() && std::hint::black_box(difference) == 0
}

impl Core {
    pub(super) fn ping(&mut self, socket: SocketId, args: &[&[u8]]) {
        let listens = self.connections.get(socket).is_some_and(|connection| {
            connection.session.modes.intersects(Modes::LISTENS)
                && connection.session.version == Version::Resp2
        });
        self.answer(socket, |out| match args {
            // RESP2 has no way to tell a reply from a message but its shape.
            [_] | [_, _] if listens => {
                out.array_header(2);
                out.bulk("pong");
                out.bulk(args.get(1).copied().unwrap_or_default());
            }
            [_] => out.simple("PONG"),
            [_, message] => out.bulk(message),
            _ => out.error("ERR wrong number of arguments for 'ping' command"),
        });
    }

    fn check_password(&self, user: &[u8], password: &[u8]) -> Result<(), &'static str> {
        match self.settings.requirepass.reveal() {
            _ if user != b"default" => Err(WRONG_PASSWORD),
            None => Ok(()),
            Some(secret) if same_secret(password, secret.as_bytes()) => Ok(()),
            Some(_) => Err(WRONG_PASSWORD),
        }
    }

    pub(super) fn auth(&mut self, socket: SocketId, args: &[&[u8]]) {
        let result = match args {
            [_, _] if self.settings.requirepass.reveal().is_none() => Err(NO_PASSWORD_SET),
            [_, password] => self.check_password(b"default", password),
            [_, user, password] => self.check_password(user, password),
            _ => Err("ERR syntax error"),
        };
        if let (Ok(()), Some(connection)) = (result, self.connections.get_mut(socket)) {
            connection.session.authenticated = true;
        }
        self.answer_status(socket, result);
    }

    pub(super) fn hello(&mut self, socket: SocketId, args: &[&[u8]]) {
        match self.apply_hello(socket, args) {
            Ok(()) => self.greet(socket),
            Err(text) => self.answer(socket, |out| out.error(text)),
        }
    }

    fn apply_hello(&mut self, socket: SocketId, args: &[&[u8]]) -> Result<(), Vec<u8>> {
        let hello = parse_hello(args)?;
        if let Some((user, password)) = hello.credentials {
            self.check_password(user, password)?;
        }
        let Some(connection) = self.connections.get_mut(socket) else { return Ok(()) };
        if hello.credentials.is_some() {
            connection.session.authenticated = true;
        }
        if !connection.session.authenticated {
            return Err(HELLO_NEEDS_AUTH.into());
        }
        if let Some(name) = hello.name {
            connection.session.name = checked_name(name)?;
        }
        if let Some(version) = hello.version {
            connection.session.version = version;
        }
        Ok(())
    }

    fn greet(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get(socket) else { return };
        let id = connection.client as i64;
        let version = if connection.session.version == Version::Resp3 { 3 } else { 2 };
        let mode = if self.settings.cluster_ports { "cluster" } else { "standalone" };
        self.answer(socket, |out| {
            out.map_header(7);
            for (key, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
                out.bulk(key);
                out.bulk(value);
            }
            out.bulk("proto");
            out.integer(version);
            out.bulk("id");
            out.integer(id);
            for (key, value) in [("mode", mode), ("role", "master")] {
                out.bulk(key);
                out.bulk(value);
            }
            out.bulk("modules");
            out.array_header(0);
        });
    }

    /// The database that SELECT names.
    pub(in crate::shard) fn parse_database(&self, word: &[u8]) -> Result<DatabaseId, &'static str> {
        let databases = i64::from(self.store.databases());
        match parse_i64(word) {
            None => Err("ERR value is not an integer or out of range"),
            Some(index) if i32::try_from(index).is_err() => {
                Err("ERR value is out of range, value must between -2147483648 and 2147483647")
            }
            Some(index) if self.settings.cluster_ports && index != 0 => {
                Err("ERR SELECT is not allowed in cluster mode")
            }
            Some(index) if (0..databases).contains(&index) => Ok(DatabaseId(index as u16)),
            Some(_) => Err("ERR DB index is out of range"),
        }
    }

    pub(super) fn select(&mut self, socket: SocketId, args: &[&[u8]]) {
        let result = self.parse_database(args[1]);
        if let (Ok(database), Some(connection)) = (result, self.connections.get_mut(socket)) {
            connection.session.database = database;
        }
        self.answer_status(socket, result.map(drop));
    }

    pub(super) fn quit(&mut self, socket: SocketId) {
        self.answer_ok(socket);
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.closing = true;
        }
    }

    pub(super) fn reset(&mut self, socket: SocketId) {
        let authenticated = self.settings.requirepass.reveal().is_none();
        self.stop_listening(socket);
        if let Some(client) = self.connections.get(socket).map(|connection| connection.client) {
            self.forget_monitor(client);
        }
        self.stop_tracking(socket);
        if let Some(connection) = self.connections.get_mut(socket) {
            let old = std::mem::take(&mut *connection.session);
            *connection.session = Session {
                authenticated,
                reply_mode: ReplyMode::On,
                library_name: old.library_name,
                library_version: old.library_version,
                last_command: old.last_command,
                ..Session::default()
            };
        }
        self.answer(socket, |out| out.simple("RESET"));
    }
}

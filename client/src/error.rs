//! What can go wrong, as callers need to tell it apart.

use std::{fmt, io};

/// The result of most things here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command has no result.
///
/// Errors that a server sent carry its whole text, with the prefix. All are cheap to clone: one lost connection fails many commands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// `WRONGTYPE`: the key holds a value of another type.
    WrongType(String),
    /// `NOAUTH` or `WRONGPASS`: the server wants other credentials.
    NoAuth(String),
    /// `LOADING`: the server is recovering its data.
    Loading(String),
    /// `READONLY`: the server takes no writes.
    ReadOnly(String),
    /// Any other error reply.
    Server {
        /// Its first word, such as `ERR` or `NOSCRIPT`.
        prefix: String,
        /// All of it.
        text: String,
    },
    /// Bytes that are no RESP, or replies that nobody asked for; the connection was closed.
    Protocol(String),
    /// The server answered with something that the asked-for type cannot hold. The command was carried out.
    Unexpected {
        /// The type that was asked for.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// No connection, or it was lost before the reply came.
    Connection {
        /// The kind of the underlying error.
        kind: io::ErrorKind,
        /// Its text.
        text: String,
        /// Whether some of the command had left: then the server may have carried it out.
        maybe_applied: bool,
    },
    /// No reply in time.
    Timeout {
        /// Whether some of the command had left: then the server may have carried it out, or still will.
        maybe_applied: bool,
    },
    /// The server's certificate, or our own, is not what it should be.
    Tls(String),
    /// The URL says something that this client does not understand.
    Url(String),
    /// The command would change what the connection means to its other users, or how its replies are read.
    Unsupported(String),
}

impl Error {
    /// The typed error of an error reply.
    pub(crate) fn from_reply(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).into_owned();
        let prefix = text.split_ascii_whitespace().next().unwrap_or_default();
        match prefix {
            "WRONGTYPE" => Self::WrongType(text),
            "NOAUTH" | "WRONGPASS" => Self::NoAuth(text),
            "LOADING" => Self::Loading(text),
            "READONLY" => Self::ReadOnly(text),
            prefix => Self::Server { prefix: prefix.to_owned(), text },
        }
    }

    pub(crate) fn closed(text: &str) -> Self {
        Self::Connection {
            kind: io::ErrorKind::ConnectionAborted,
            text: text.to_owned(),
            maybe_applied: false,
        }
    }

    /// The same error, as it concerns a command of which bytes had left (or not).
    pub(crate) fn with_maybe_applied(&self, sent: bool) -> Self {
        match self.clone() {
            Self::Connection { kind, text, .. } => Self::Connection { kind, text, maybe_applied: sent },
            Self::Timeout { .. } => Self::Timeout { maybe_applied: sent },
            other => other,
        }
    }

    /// Whether the command may have been carried out although it has no result. Whoever repeats a write after such an
    /// error may apply it twice.
    pub fn maybe_applied(&self) -> bool {
        match self {
            Self::Connection { maybe_applied, .. } | Self::Timeout { maybe_applied } => *maybe_applied,
            // A server that sends no RESP may have done anything before.
            Self::Protocol(_) | Self::Unexpected { .. } => true,
            _ => false,
        }
    }

    /// Whether the connection, not the command, is what failed.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Protocol(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongType(text)
            | Self::NoAuth(text)
            | Self::Loading(text)
            | Self::ReadOnly(text)
            | Self::Server { text, .. } => formatter.write_str(text),
            Self::Protocol(what) => write!(formatter, "the server does not speak RESP: {what}"),
            Self::Unexpected { expected, found } => {
                write!(formatter, "a reply that is no {expected}: {found}")
            }
            Self::Connection { text, maybe_applied, .. } => {
                write!(formatter, "connection: {text}{}", applied_note(*maybe_applied))
            }
            Self::Timeout { maybe_applied } => {
                write!(formatter, "no reply in time{}", applied_note(*maybe_applied))
            }
            Self::Tls(what) => write!(formatter, "TLS: {what}"),
            Self::Url(what) => write!(formatter, "unusable URL: {what}"),
            Self::Unsupported(what) => write!(formatter, "not on this connection: {what}"),
        }
    }
}

fn applied_note(maybe_applied: bool) -> &'static str {
    if maybe_applied { " (the command may have been carried out)" } else { "" }
}

impl std::error::Error for Error {}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Connection { kind: error.kind(), text: error.to_string(), maybe_applied: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_replies_become_the_errors_that_programs_tell_apart() {
        let of = |text: &str| Error::from_reply(text.as_bytes());
        assert!(matches!(of("WRONGTYPE Operation against"), Error::WrongType(_)));
        assert!(matches!(of("NOAUTH Authentication required."), Error::NoAuth(_)));
        assert!(matches!(of("WRONGPASS invalid"), Error::NoAuth(_)));
        assert!(matches!(of("LOADING is loading"), Error::Loading(_)));
        assert!(matches!(of("READONLY You can't write"), Error::ReadOnly(_)));
        let Error::Server { prefix, text } = of("ERR no such key") else { panic!() };
        assert_eq!((prefix.as_str(), text.as_str()), ("ERR", "ERR no such key"));
        assert!(matches!(of(""), Error::Server { prefix, .. } if prefix.is_empty()));
    }
}

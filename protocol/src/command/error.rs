//! What makes a connection unreadable.

use std::fmt;

/// A request that breaks the protocol. The connection is answered with [`reply`](Self::reply) and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The number of arguments is no number, or above the limit.
    InvalidCount,
    /// The number of arguments is above what a client may send before it authenticates.
    UnauthenticatedCount,
    /// The line with the number of arguments does not end.
    CountTooLong,
    /// Something else stands where an argument should start.
    ExpectedBulk {
        /// The byte found there.
        found: u8,
    },
    /// An argument's length is no number, negative, or above the limit.
    InvalidBulkLength,
    /// An argument's length is above what a client may send before it authenticates.
    UnauthenticatedBulkLength,
    /// The line with an argument's length does not end.
    BulkLengthTooLong,
    /// An inline command does not end.
    InlineTooLong,
    /// An inline command opens a quote and does not close it, or goes on directly after closing it.
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text for an error reply, prefix included: what Redis 7.0 answers, byte for byte.
    pub fn reply(&self) -> Vec<u8> {
        let mut text = b"ERR ".to_vec();
        if let Self::ExpectedBulk { found } = *self {
            // The byte itself goes out, valid text or not, unless it would end the reply.
            text.extend_from_slice(b"Protocol error: expected '$', got '");
            text.push(if matches!(found, b'\r' | b'\n') { b' ' } else { found });
            text.push(b'\'');
        } else {
            text.extend_from_slice(self.to_string().as_bytes());
        }
        text
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Protocol error: ")?;
        formatter.write_str(match *self {
            Self::InvalidCount => "invalid multibulk length",
            Self::UnauthenticatedCount => "unauthenticated multibulk length",
            Self::CountTooLong => "too big mbulk count string",
            Self::ExpectedBulk { found } => {
                return write!(formatter, "expected '$', got '{}'", found.escape_ascii());
            }
            Self::InvalidBulkLength => "invalid bulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::BulkLengthTooLong => "too big bulk count string",
            Self::InlineTooLong => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
        })
    }
}

impl std::error::Error for ProtocolError {}

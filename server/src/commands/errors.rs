//! The texts of errors, word for word as clients know them from Redis.

use std::borrow::Cow;

use super::command::Command;

/// An error on its way to the reply. Bytes, because some repeat what the client sent.
pub(super) type Failure = Cow<'static, [u8]>;

/// What a handler's body returns: the reply has been written, or this error is the reply and nothing has been changed.
pub(super) type Outcome = Result<(), Failure>;

/// A failure with a fixed text.
pub(super) const fn fail(text: &'static str) -> Failure {
    Cow::Borrowed(text.as_bytes())
}
pub(super) const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
pub(super) const SYNTAX: &str = "ERR syntax error";
pub(super) const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
pub(super) const NOT_FLOAT: &str = "ERR value is not a valid float";
pub(super) const NAN_OR_INFINITY: &str = "ERR increment would produce NaN or Infinity";
pub(super) const WOULD_OVERFLOW: &str = "ERR increment or decrement would overflow";
pub(super) const DECREMENT_WOULD_OVERFLOW: &str = "ERR decrement would overflow";
pub(super) const OFFSET_OUT_OF_RANGE: &str = "ERR offset is out of range";
pub(super) const BIT_OFFSET: &str = "ERR bit offset is not an integer or out of range";
pub(super) const BIT_VALUE: &str = "ERR bit is not an integer or out of range";
pub(super) const BIT_ARGUMENT: &str = "ERR The bit argument must be 1 or 0.";
pub(super) const BITOP_NOT_OF_SEVERAL: &str = "ERR BITOP NOT must be called with a single source key.";
pub(super) const BITFIELD_TYPE: &str =
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
pub(super) const BITFIELD_OVERFLOW: &str = "ERR Invalid OVERFLOW type specified";
pub(super) const BITFIELD_READ_ONLY: &str = "ERR BITFIELD_RO only supports the GET subcommand";
pub(super) const STRING_TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
pub(super) const NO_SUCH_KEY: &str = "ERR no such key";
pub(super) const SAME_OBJECT: &str = "ERR source and destination objects are the same";
pub(super) const DATABASE_OUT_OF_RANGE: &str = "ERR DB index is out of range";
pub(super) const INVALID_CURSOR: &str = "ERR invalid cursor";

/// The arguments are not as many as the command takes. The router checks this; a handler's own check is its proof.
pub(super) fn arity(command: &Command) -> String {
    format!("ERR wrong number of arguments for '{}' command", command.full_name())
}

/// Likewise where the number of arguments depends on their meaning.
pub(super) fn arity_of(command: &'static str) -> Failure {
    Cow::Owned(format!("ERR wrong number of arguments for '{command}' command").into_bytes())
}

/// An expiry that is not positive, or beyond what 64 bits of milliseconds hold.
pub(super) fn invalid_expire(command: &'static str) -> Failure {
    Cow::Owned(format!("ERR invalid expire time in '{command}' command").into_bytes())
}

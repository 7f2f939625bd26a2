//! Replies as values.

use bytes::Bytes;
use redis_protocol::{resp2, resp3};

/// A reply of any type.
///
/// Bytes are slices of what was received, not copies. A small one that is kept for long keeps with it the block that it
/// came in (16 KiB or more): to keep many, copy them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// No value.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating-point number (RESP3; RESP2 sends its text).
    Double(f64),
    /// True or false (RESP3; RESP2 sends 1 or 0).
    Boolean(bool),
    /// A short text, such as `OK`.
    Simple(Bytes),
    /// Any bytes.
    Bulk(Bytes),
    /// The digits of a number of any size.
    Big(Bytes),
    /// An error; at the top level it becomes an [`Error`](crate::Error), inside of other values it stays as it is.
    Error(Bytes),
    /// Values in order.
    Array(Vec<Value>),
    /// Pairs, in no order.
    Map(Vec<(Value, Value)>),
    /// Different values, in no order.
    Set(Vec<Value>),
    /// What the server says without being asked.
    Push(Vec<Value>),
}

impl Value {
    /// The bytes of a text of any kind.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Simple(bytes) | Self::Bulk(bytes) | Self::Big(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A copy that keeps no more than itself.
    pub(crate) fn detached(&self) -> Self {
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let all = |values: &[Self]| values.iter().map(Self::detached).collect();
        match self {
            Self::Null => Self::Null,
            Self::Integer(number) => Self::Integer(*number),
            Self::Double(number) => Self::Double(*number),
            Self::Boolean(boolean) => Self::Boolean(*boolean),
            Self::Simple(bytes) => Self::Simple(copy(bytes)),
            Self::Bulk(bytes) => Self::Bulk(copy(bytes)),
            Self::Big(bytes) => Self::Big(copy(bytes)),
            Self::Error(bytes) => Self::Error(copy(bytes)),
            Self::Array(values) => Self::Array(all(values)),
            Self::Set(values) => Self::Set(all(values)),
            Self::Push(values) => Self::Push(all(values)),
            Self::Map(pairs) => {
                Self::Map(pairs.iter().map(|(key, value)| (key.detached(), value.detached())).collect())
            }
        }
    }

    /// What it takes in memory beside others' shares, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        let inside: usize = match self {
            Self::Simple(bytes) | Self::Bulk(bytes) | Self::Big(bytes) | Self::Error(bytes) => bytes.len(),
            Self::Array(values) | Self::Set(values) | Self::Push(values) => {
                values.iter().map(Self::memory_bytes).sum()
            }
            Self::Map(pairs) => {
                pairs.iter().map(|(key, value)| key.memory_bytes() + value.memory_bytes()).sum()
            }
            Self::Null | Self::Integer(_) | Self::Double(_) | Self::Boolean(_) => 0,
        };
        size_of::<Self>() + inside
    }

    /// What it is, for messages: never its contents, which may be secret or huge.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Integer(_) => "an integer",
            Self::Double(_) => "a double",
            Self::Boolean(_) => "a boolean",
            Self::Simple(_) => "a simple string",
            Self::Bulk(_) => "a bulk string",
            Self::Big(_) => "a big number",
            Self::Error(_) => "an error",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Set(_) => "a set",
            Self::Push(_) => "a push",
        }
    }
}

impl From<resp3::types::BytesFrame> for Value {
    fn from(frame: resp3::types::BytesFrame) -> Self {
        use resp3::types::BytesFrame as F;
        let all = |frames: Vec<F>| frames.into_iter().map(Self::from).collect();
        match frame {
            F::BlobString { data, .. } | F::VerbatimString { data, .. } | F::ChunkedString(data) => {
                Self::Bulk(data)
            }
            F::SimpleString { data, .. } => Self::Simple(data),
            F::BlobError { data, .. } => Self::Error(data),
            F::SimpleError { data, .. } => Self::Error(data.into_inner()),
            F::Boolean { data, .. } => Self::Boolean(data),
            // Nobody answers with a HELLO; the decoder has it because clients once sent it so.
            F::Null | F::Hello { .. } => Self::Null,
            F::Number { data, .. } => Self::Integer(data),
            F::Double { data, .. } => Self::Double(data),
            F::BigNumber { data, .. } => Self::Big(data),
            F::Array { data, .. } => Self::Array(all(data)),
            F::Push { data, .. } => Self::Push(all(data)),
            F::Map { data, .. } => {
                Self::Map(data.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
            }
            F::Set { data, .. } => Self::Set(data.into_iter().map(Self::from).collect()),
        }
    }
}

impl From<resp2::types::BytesFrame> for Value {
    fn from(frame: resp2::types::BytesFrame) -> Self {
        use resp2::types::BytesFrame as F;
        match frame {
            F::SimpleString(data) => Self::Simple(data),
            F::Error(text) => Self::Error(text.into_inner()),
            F::Integer(number) => Self::Integer(number),
            F::BulkString(data) => Self::Bulk(data),
            F::Array(frames) => Self::Array(frames.into_iter().map(Self::from).collect()),
            F::Null => Self::Null,
        }
    }
}

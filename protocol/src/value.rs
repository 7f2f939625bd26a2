//! Replies as owned values, for the client and for tests.

use crate::number::{parse_f64, parse_i64};
use crate::scan::{Head, ReplyError, head};

/// A reply, of either version.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The absence of a value.
    Null,
    /// A simple string.
    Simple(Vec<u8>),
    /// An error, simple or bulk, with its prefix.
    Error(Vec<u8>),
    /// An integer.
    Integer(i64),
    /// A string of any bytes.
    Bulk(Vec<u8>),
    /// A truth value.
    Boolean(bool),
    /// A double.
    Double(f64),
    /// The digits of an integer of any size.
    BigNumber(Vec<u8>),
    /// A text with its format.
    Verbatim {
        /// `txt` or `mkd`.
        format: [u8; 3],
        /// The text, without the format.
        text: Vec<u8>,
    },
    /// An array.
    Array(Vec<Value>),
    /// A set, in the order of the reply.
    Set(Vec<Value>),
    /// A map, in the order of the reply.
    Map(Vec<(Value, Value)>),
    /// An out-of-band message.
    Push(Vec<Value>),
    /// A value with attributes.
    Attributed {
        /// The attributes, in the order of the reply.
        attributes: Vec<(Value, Value)>,
        /// The value that they belong to.
        value: Box<Value>,
    },
}

/// Redis nests replies a handful of levels deep, and a script's at most as deep as its own tables.
const DEPTH_MAX: u32 = 128;

impl Value {
    /// Reads the reply that `input` starts with, and how many bytes it takes. `None` when it isn't whole.
    ///
    /// A reply that arrives in many pieces is better found with [`ReplyScanner`](crate::ReplyScanner) first: this starts over
    /// every time.
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, ReplyError> {
        let mut reader = Reader { input, position: 0 };
        Ok(reader.value(DEPTH_MAX)?.map(|value| (value, reader.position)))
    }
}

struct Reader<'a> {
    input: &'a [u8],
    position: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: u32) -> Result<Option<Value>, ReplyError> {
        let Some((kind, line, head, next)) = head(self.input, self.position)? else {
            return Ok(None);
        };
        self.position = next;
        let depth = depth.checked_sub(1).ok_or(ReplyError::TooDeep)?;
        match head {
            Head::Absent => Ok(Some(Value::Null)),
            Head::Line => scalar(kind, line).map(Some),
            Head::Blob { bytes } => self.blob(kind, bytes),
            Head::Values { count } if kind == b'%' => Ok(self.pairs(count, depth)?.map(Value::Map)),
            Head::Values { count } => Ok(self.values(count, depth)?.map(match kind {
                b'~' => Value::Set,
                b'>' => Value::Push,
                _ => Value::Array,
            })),
            Head::Attributes { count } => {
                let Some(attributes) = self.pairs(count, depth)? else {
                    return Ok(None);
                };
                let value = self.value(depth)?;
                Ok(value.map(|value| Value::Attributed { attributes, value: Box::new(value) }))
            }
        }
    }

    fn blob(&mut self, kind: u8, bytes: usize) -> Result<Option<Value>, ReplyError> {
        let rest = self.input.get(self.position..).unwrap_or_default();
        let (Some(blob), Some(end)) = (rest.get(..bytes), rest.get(bytes..bytes + 2)) else {
            return Ok(None);
        };
        if end != b"\r\n" {
            return Err(ReplyError::Unexpected);
        }
        self.position += bytes + 2;
        match kind {
            b'!' => Ok(Some(Value::Error(blob.to_vec()))),
            b'=' => match blob {
                [a, b, c, b':', text @ ..] => {
                    Ok(Some(Value::Verbatim { format: [*a, *b, *c], text: text.to_vec() }))
                }
                _ => Err(ReplyError::Unexpected),
            },
            _ => Ok(Some(Value::Bulk(blob.to_vec()))),
        }
    }

    /// Room is made for elements that are there, not for those announced.
    fn values(&mut self, count: usize, depth: u32) -> Result<Option<Vec<Value>>, ReplyError> {
        let mut values = Vec::new();
        for _ in 0..count {
            match self.value(depth)? {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
        Ok(Some(values))
    }

    fn pairs(&mut self, values: usize, depth: u32) -> Result<Option<Vec<(Value, Value)>>, ReplyError> {
        let mut pairs = Vec::new();
        for _ in 0..values / 2 {
            let (Some(key), Some(value)) = (self.value(depth)?, self.value(depth)?) else {
                return Ok(None);
            };
            pairs.push((key, value));
        }
        Ok(Some(pairs))
    }
}

fn scalar(kind: u8, line: &[u8]) -> Result<Value, ReplyError> {
    let value = match (kind, line) {
        (b'+', _) => Some(Value::Simple(line.to_vec())),
        (b'-', _) => Some(Value::Error(line.to_vec())),
        (b':', _) => parse_i64(line).map(Value::Integer),
        (b'_', b"") => Some(Value::Null),
        (b'#', b"t") => Some(Value::Boolean(true)),
        (b'#', b"f") => Some(Value::Boolean(false)),
        (b',', b"nan" | b"-nan") => Some(Value::Double(f64::NAN)),
        (b',', _) => parse_f64(line).map(Value::Double),
        (b'(', _) => Some(Value::BigNumber(line.to_vec())),
        _ => None,
    };
    value.ok_or(ReplyError::Unexpected)
}

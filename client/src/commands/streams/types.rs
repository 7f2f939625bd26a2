//! Ids and entries.

use std::{
    fmt,
    ops::{Bound, RangeBounds},
    str::FromStr,
};

use bytes::Bytes;

use crate::{Command, Error, FromValue, Result, Value, convert::pairs};

/// The id of an entry: milliseconds since the Unix epoch as a rule, and a number within the millisecond. Ids of a stream only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds.
    pub ms: u64,
    /// Number among the entries of that millisecond.
    pub sequence: u64,
}

impl StreamId {
    /// Before every entry; no entry has it.
    pub const MIN: Self = Self { ms: 0, sequence: 0 };
    /// The highest.
    pub const MAX: Self = Self { ms: u64::MAX, sequence: u64::MAX };

    /// An id.
    pub const fn new(ms: u64, sequence: u64) -> Self {
        Self { ms, sequence }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.ms, self.sequence)
    }
}

impl FromStr for StreamId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text
            .split_once('-')
            .and_then(|(ms, sequence)| Some(Self { ms: ms.parse().ok()?, sequence: sequence.parse().ok()? }));
        parsed.ok_or_else(|| Error::Unexpected {
            expected: "id of a stream's entry",
            found: "another text".to_owned(),
        })
    }
}

impl FromValue for StreamId {
    fn from_value(value: Value) -> Result<Self> {
        String::from_value(value)?.parse()
    }
}

pub(super) fn add_ids(command: Command, ids: impl IntoIterator<Item = StreamId>) -> Command {
    ids.into_iter().fold(command, |command, id| command.arg(id.to_string()))
}

pub(super) fn start_of(ids: &impl RangeBounds<StreamId>) -> String {
    bound(ids.start_bound(), "-")
}

pub(super) fn end_of(ids: &impl RangeBounds<StreamId>) -> String {
    bound(ids.end_bound(), "+")
}

fn bound(bound: Bound<&StreamId>, unbounded: &str) -> String {
    match bound {
        Bound::Included(id) => id.to_string(),
        Bound::Excluded(id) => format!("({id}"),
        Bound::Unbounded => unbounded.to_owned(),
    }
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its id.
    pub id: StreamId,
    /// Its fields with their values, in order; a field may come twice. None at all if the entry was deleted while it was pending.
    pub fields: Vec<(Bytes, Bytes)>,
}

impl StreamEntry {
    /// The value of the first field of this name.
    pub fn get(&self, field: impl AsRef<[u8]>) -> Option<&Bytes> {
        self.fields.iter().find(|(name, _)| name.as_ref() == field.as_ref()).map(|(_, value)| value)
    }
}

impl FromValue for StreamEntry {
    fn from_value(value: Value) -> Result<Self> {
        let (id, fields) = <(StreamId, Option<Value>)>::from_value(value)?;
        Ok(Self { id, fields: fields.map_or(Ok(Vec::new()), pairs)? })
    }
}

/// What was read of several streams: those that had something, with their entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamReads(pub Vec<(Bytes, Vec<StreamEntry>)>);

impl StreamReads {
    /// Whether nothing was there.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, entries)| entries.is_empty())
    }

    /// The entries of all streams, which is enough if one was read.
    pub fn into_entries(self) -> impl Iterator<Item = StreamEntry> {
        self.0.into_iter().flat_map(|(_, entries)| entries)
    }
}

impl FromValue for StreamReads {
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Null => Ok(Self::default()),
            streams => pairs(streams).map(Self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &'static str) -> Value {
        Value::Bulk(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn ids_are_read_and_written_and_ordered_as_numbers() {
        let id: StreamId = "1526919030474-55".parse().unwrap();
        assert_eq!(
            (id, id.to_string()),
            (StreamId::new(1_526_919_030_474, 55), "1526919030474-55".to_owned())
        );
        assert!(StreamId::new(9, 10) > StreamId::new(9, 9) && StreamId::new(10, 0) > StreamId::new(9, 99));
        for wrong in ["", "1", "1-", "-1", "1-x", "1-2-3", "18446744073709551616-0"] {
            assert!(wrong.parse::<StreamId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_are_written_as_the_server_reads_them() {
        let (a, b) = (StreamId::new(1, 0), StreamId::new(2, 5));
        assert_eq!((start_of(&..), end_of(&..)), ("-".to_owned(), "+".to_owned()));
        assert_eq!((start_of(&(a..b)), end_of(&(a..b))), ("1-0".to_owned(), "(2-5".to_owned()));
        assert_eq!(end_of(&(a..=b)), "2-5");
        assert_eq!(start_of(&(Bound::Excluded(a), Bound::Unbounded)), "(1-0");
    }

    #[test]
    fn entries_are_the_same_in_both_protocols_and_may_be_gone() {
        let fields = Value::Array(vec![bulk("a"), bulk("1"), bulk("a"), bulk("2")]);
        let entry = StreamEntry::from_value(Value::Array(vec![bulk("1-1"), fields.clone()])).unwrap();
        assert_eq!(entry.get("a").unwrap(), "1");
        assert_eq!((entry.fields.len(), entry.get("b")), (2, None));
        let gone = StreamEntry::from_value(Value::Array(vec![bulk("1-1"), Value::Null])).unwrap();
        assert!(gone.fields.is_empty());

        let entries = Value::Array(vec![Value::Array(vec![bulk("1-1"), fields])]);
        let map = StreamReads::from_value(Value::Map(vec![(bulk("s"), entries.clone())])).unwrap();
        let nested = Value::Array(vec![Value::Array(vec![bulk("s"), entries])]);
        assert_eq!(StreamReads::from_value(nested), Ok(map.clone()));
        assert_eq!(map.into_entries().count(), 1);
        assert!(StreamReads::from_value(Value::Null).unwrap().is_empty());
    }
}

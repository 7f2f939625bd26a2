//! What XINFO tells.

use std::time::Duration;

use bytes::Bytes;

use super::{StreamEntry, StreamId};
use crate::{FromValue, Result, Value, convert::Described};

/// What a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Entries now.
    pub length: u64,
    /// Its groups.
    pub groups: u64,
    /// The highest id that an entry has had.
    pub last_id: StreamId,
    /// The highest id that was deleted; servers before 7.0 don't tell.
    pub max_deleted_id: Option<StreamId>,
    /// Entries that were ever added; servers before 7.0 don't tell.
    pub entries_added: Option<u64>,
    /// The oldest entry.
    pub first: Option<StreamEntry>,
    /// The newest entry.
    pub last: Option<StreamEntry>,
}

impl FromValue for StreamInfo {
    fn from_value(value: Value) -> Result<Self> {
        let mut told = Described::new(value)?;
        Ok(Self {
            length: told.take("length")?,
            groups: told.take("groups")?,
            last_id: told.take("last-generated-id")?,
            max_deleted_id: told.take("max-deleted-entry-id")?,
            entries_added: told.take("entries-added")?,
            first: told.take("first-entry")?,
            last: told.take("last-entry")?,
        })
    }
}

/// A group of consumers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Its name.
    pub name: Bytes,
    /// Its consumers.
    pub consumers: u64,
    /// Entries that were delivered and not acknowledged.
    pub pending: u64,
    /// The last entry that was delivered.
    pub last_delivered: StreamId,
    /// How many were delivered; unknown where ids were set or entries deleted, and with servers before 7.0.
    pub entries_read: Option<u64>,
    /// How many are still to be delivered, where that is known.
    pub lag: Option<u64>,
}

impl FromValue for GroupInfo {
    fn from_value(value: Value) -> Result<Self> {
        let mut told = Described::new(value)?;
        Ok(Self {
            name: told.take("name")?,
            consumers: told.take("consumers")?,
            pending: told.take("pending")?,
            last_delivered: told.take("last-delivered-id")?,
            entries_read: told.take("entries-read")?,
            lag: told.take("lag")?,
        })
    }
}

/// A consumer of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its name.
    pub name: Bytes,
    /// Entries that it has got and not acknowledged.
    pub pending: u64,
    /// How long it has not asked for anything.
    pub idle: Duration,
    /// How long it has not got anything, if it ever has; servers before 7.2 don't tell.
    pub inactive: Option<Duration>,
}

impl FromValue for ConsumerInfo {
    fn from_value(value: Value) -> Result<Self> {
        let mut told = Described::new(value)?;
        let inactive: Option<i64> = told.take("inactive")?;
        Ok(Self {
            name: told.take("name")?,
            pending: told.take("pending")?,
            idle: Duration::from_millis(told.take("idle")?),
            inactive: inactive.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
        })
    }
}

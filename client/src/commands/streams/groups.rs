//! Groups of consumers: who reads, what is pending, and who takes it over.

use std::{ops::RangeBounds, time::Duration};

use bytes::Bytes;

use super::{
    StreamId,
    options::Position,
    types::{add_ids, end_of, start_of},
};
use crate::{Command, FromValue, Result, Value, convert::array};

/// What a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupRead {
    /// What nobody of the group has got yet (`>`).
    New,
    /// Its own entries that are still pending, behind this id.
    Pending(StreamId),
}

impl Position for GroupRead {
    fn add(self, command: Command) -> Command {
        match self {
            Self::New => command.arg(">"),
            Self::Pending(id) => command.arg(id.to_string()),
        }
    }
}

/// Who reads, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupReader {
    group: Bytes,
    consumer: Bytes,
    count: Option<u32>,
    no_ack: bool,
}

impl GroupReader {
    /// A consumer of a group; it's made by reading.
    pub fn new(group: impl AsRef<[u8]>, consumer: impl AsRef<[u8]>) -> Self {
        Self {
            group: Bytes::copy_from_slice(group.as_ref()),
            consumer: Bytes::copy_from_slice(consumer.as_ref()),
            count: None,
            no_ack: false,
        }
    }

    /// At most so many entries of each stream.
    #[must_use]
    pub fn count(mut self, entries: u32) -> Self {
        self.count = Some(entries);
        self
    }

    /// What is read counts as acknowledged: a consumer that is lost loses it.
    #[must_use]
    pub fn no_ack(mut self) -> Self {
        self.no_ack = true;
        self
    }

    pub(crate) fn add(&self, command: Command) -> Command {
        let command = command.arg("GROUP").arg(&self.group).arg(&self.consumer);
        command.option("COUNT", self.count.map(u64::from)).flag("NOACK", self.no_ack)
    }
}

/// What is pending in a group, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingSummary {
    /// How many entries.
    pub count: u64,
    /// The lowest and the highest of their ids.
    pub ids: Option<(StreamId, StreamId)>,
    /// How many of them are with whom.
    pub consumers: Vec<(Bytes, u64)>,
}

impl FromValue for PendingSummary {
    fn from_value(value: Value) -> Result<Self> {
        let [count, first, last, consumers] = array(value)?;
        let ids = Option::<StreamId>::from_value(first)?.zip(Option::from_value(last)?);
        let consumers = Option::<Vec<(Bytes, u64)>>::from_value(consumers)?.unwrap_or_default();
        Ok(Self { count: u64::from_value(count)?, ids, consumers })
    }
}

/// An entry that is pending.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingEntry {
    /// Its id.
    pub id: StreamId,
    /// Who has it.
    pub consumer: Bytes,
    /// How long ago it was delivered to him, or claimed.
    pub idle: Duration,
    /// How often it was delivered.
    pub deliveries: u64,
}

impl FromValue for PendingEntry {
    fn from_value(value: Value) -> Result<Self> {
        let [id, consumer, idle, deliveries] = array(value)?;
        Ok(Self {
            id: StreamId::from_value(id)?,
            consumer: Bytes::from_value(consumer)?,
            idle: Duration::from_millis(u64::from_value(idle)?),
            deliveries: u64::from_value(deliveries)?,
        })
    }
}

/// Which pending entries to tell of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingFilter {
    idle: Option<Duration>,
    consumer: Option<Bytes>,
}

impl PendingFilter {
    /// All.
    pub fn all() -> Self {
        Self::default()
    }

    /// Those of one consumer.
    pub fn of(consumer: impl AsRef<[u8]>) -> Self {
        Self { idle: None, consumer: Some(Bytes::copy_from_slice(consumer.as_ref())) }
    }

    /// Those that have been pending for so long.
    #[must_use]
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = Some(time);
        self
    }

    pub(super) fn add(&self, command: Command, ids: &impl RangeBounds<StreamId>, count: u32) -> Command {
        let command = match self.idle {
            Some(time) => command.arg("IDLE").millis(time),
            None => command,
        };
        let command = command.arg(start_of(ids)).arg(end_of(ids)).number(count);
        match &self.consumer {
            Some(consumer) => command.arg(consumer),
            None => command,
        }
    }
}

/// Who takes over what has been pending with others for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    group: Bytes,
    consumer: Bytes,
    min_idle: Duration,
    idle: Option<Duration>,
    deliveries: Option<u64>,
    force: bool,
}

impl Claim {
    /// For a consumer, what has not been delivered or claimed for `min_idle`.
    pub fn new(group: impl AsRef<[u8]>, consumer: impl AsRef<[u8]>, min_idle: Duration) -> Self {
        Self {
            group: Bytes::copy_from_slice(group.as_ref()),
            consumer: Bytes::copy_from_slice(consumer.as_ref()),
            min_idle,
            idle: None,
            deliveries: None,
            force: false,
        }
    }

    /// From then on, it has been pending for so long; otherwise from now.
    #[must_use]
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = Some(time);
        self
    }

    /// From then on, it counts as delivered so often; otherwise once more than before.
    #[must_use]
    pub fn deliveries(mut self, count: u64) -> Self {
        self.deliveries = Some(count);
        self
    }

    /// Also what is pending with nobody, if the stream has it.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    fn who(&self, command: Command) -> Command {
        command.arg(&self.group).arg(&self.consumer).millis(self.min_idle)
    }

    pub(super) fn entries(&self, command: Command, ids: impl IntoIterator<Item = StreamId>) -> Command {
        let command = add_ids(self.who(command), ids);
        let command = match self.idle {
            Some(time) => command.arg("IDLE").millis(time),
            None => command,
        };
        command.option("RETRYCOUNT", self.deliveries).flag("FORCE", self.force)
    }

    pub(super) fn from(&self, command: Command, start: StreamId, count: u32) -> Command {
        self.who(command).arg(start.to_string()).arg("COUNT").number(count)
    }
}

/// What XAUTOCLAIM has taken over. `T`: entries, or their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claimed<T> {
    /// Where to go on; `None` if all has been looked at.
    pub next: Option<StreamId>,
    /// What is the consumer's now.
    pub claimed: Vec<T>,
    /// What was pending and is no longer in the stream; it's pending no more. Servers before 7.0 don't tell.
    pub deleted: Vec<StreamId>,
}

impl<T: FromValue> FromValue for Claimed<T> {
    fn from_value(value: Value) -> Result<Self> {
        let mut parts = Vec::<Value>::from_value(value)?.into_iter();
        let mut part = || parts.next().unwrap_or(Value::Null);
        let next = StreamId::from_value(part())?;
        Ok(Self {
            next: (next != StreamId::MIN).then_some(next),
            claimed: Vec::from_value(part())?,
            deleted: Option::from_value(part())?.unwrap_or_default(),
        })
    }
}

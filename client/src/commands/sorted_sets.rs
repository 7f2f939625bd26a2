//! Sorted sets: members in the order of their scores.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! client.zadd("points", [(12.0, "ada"), (7.5, "grace")]).await?;
//! let best = client.zrevrange("points", 0, 9).await?;
//! # Ok(())
//! # }
//! ```

use bytes::Bytes;

use super::Execute;
use crate::{Command, Error, FromValue, Result, Value};

/// Members with their scores, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored(pub Vec<(Bytes, f64)>);

/// Pairs in RESP3, a flat array in RESP2.
impl FromValue for Scored {
    fn from_value(value: Value) -> Result<Self> {
        let values = Vec::<Value>::from_value(value)?;
        if values.iter().all(|value| matches!(value, Value::Array(_))) {
            return values.into_iter().map(<(Bytes, f64)>::from_value).collect::<Result<_>>().map(Self);
        }
        let mut values = values.into_iter();
        let mut scored = Vec::with_capacity(values.len() / 2);
        while let Some(member) = values.next() {
            let score = values.next().ok_or_else(|| Error::Unexpected {
                expected: "members with scores",
                found: "a member without one".to_owned(),
            })?;
            scored.push((Bytes::from_value(member)?, f64::from_value(score)?));
        }
        Ok(Self(scored))
    }
}

/// Commands on sorted sets. Ranks count from 0, negative ones from the end, from -1.
pub trait SortedSetCommands: Execute {
    /// Adds members, or gives those that are there another score; returns how many are new.
    fn zadd<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = (f64, M)>,
    ) -> Self::Output<'_, u64> {
        let command = Command::new("ZADD").key(key);
        self.execute(
            members.into_iter().fold(command, |command, (score, member)| command.float(score).arg(member)),
        )
    }

    /// Removes members; returns how many there were.
    fn zrem<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("ZREM").key(key).args(members))
    }

    /// A member's score.
    fn zscore(&self, key: impl AsRef<[u8]>, member: impl AsRef<[u8]>) -> Self::Output<'_, Option<f64>> {
        self.execute(Command::new("ZSCORE").key(key).arg(member).reads())
    }

    /// A member's rank, the lowest score first.
    fn zrank(&self, key: impl AsRef<[u8]>, member: impl AsRef<[u8]>) -> Self::Output<'_, Option<u64>> {
        self.execute(Command::new("ZRANK").key(key).arg(member).reads())
    }

    /// The number of members.
    fn zcard(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("ZCARD").key(key).reads())
    }

    /// Adds to a member's score; returns the sum.
    fn zincrby(&self, key: impl AsRef<[u8]>, by: f64, member: impl AsRef<[u8]>) -> Self::Output<'_, f64> {
        self.execute(Command::new("ZINCRBY").key(key).float(by).arg(member))
    }

    /// The members from rank `start` to rank `stop`, both included, with their scores.
    fn zrange(&self, key: impl AsRef<[u8]>, start: i64, stop: i64) -> Self::Output<'_, Scored> {
        self.execute(Command::new("ZRANGE").key(key).number(start).number(stop).arg("WITHSCORES").reads())
    }

    /// The same, the highest score first.
    fn zrevrange(&self, key: impl AsRef<[u8]>, start: i64, stop: i64) -> Self::Output<'_, Scored> {
        self.execute(Command::new("ZREVRANGE").key(key).number(start).number(stop).arg("WITHSCORES").reads())
    }

    /// The members with scores from `least` to `most`, both included.
    fn zrangebyscore(&self, key: impl AsRef<[u8]>, least: f64, most: f64) -> Self::Output<'_, Scored> {
        self.execute(
            Command::new("ZRANGEBYSCORE").key(key).float(least).float(most).arg("WITHSCORES").reads(),
        )
    }

    /// Removes up to `count` members with the lowest scores, and returns them.
    fn zpopmin(&self, key: impl AsRef<[u8]>, count: u32) -> Self::Output<'_, Scored> {
        self.execute(Command::new("ZPOPMIN").key(key).number(count))
    }

    /// Removes up to `count` members with the highest scores, and returns them.
    fn zpopmax(&self, key: impl AsRef<[u8]>, count: u32) -> Self::Output<'_, Scored> {
        self.execute(Command::new("ZPOPMAX").key(key).number(count))
    }
}

impl<E: Execute> SortedSetCommands for E {}

//! Sorted sets: members in the order of their scores.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! client.zadd("points", [(12.0, "ada"), (7.5, "grace")]).await?;
//! let best = client.zrevrange("points", 0, 9).await?;
//! let passed = client.zcount("points", 10.0..).await?;
//! let next = client.zrange_told("points", &Ranked::by_score(10.0..).reversed().limit(10, 10)).await?;
//! let of_both = client.zunion(&Combine::of(["points", "bonus"]).weights([1.0, 0.5])).await?;
//! # Ok(())
//! # }
//! ```

use std::ops::RangeBounds;

use bytes::Bytes;

use super::members::{MemberExpiry, MemberOutcome, expire_members};
use super::ranges::{Combine, LexRange, Ranked, ScoreOptions, scores};
use super::{Execute, ExpireCondition, Expiry, Ttl};
use crate::{Command, FromValue, Result, Value, convert::pairs};

/// Members with their scores, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored(pub Vec<(Bytes, f64)>);

impl FromValue for Scored {
    fn from_value(value: Value) -> Result<Self> {
        pairs(value).map(Self)
    }
}

/// An end of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreEnd {
    /// Where the lowest score is.
    Lowest,
    /// The other.
    Highest,
}

impl ScoreEnd {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Lowest => "MIN",
            Self::Highest => "MAX",
        }
    }
}

/// Where the commands on expiry differ from those of other types.
const MEMBER_EXPIRY: MemberExpiry = MemberExpiry { within: "ZPEXPIRE", at: "ZPEXPIREAT", word: "MEMBERS" };

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

    /// Adds members, or gives those that are there another score, as the options say; returns how many are new, or have changed.
    fn zadd_with<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        options: ScoreOptions,
        members: impl IntoIterator<Item = (f64, M)>,
    ) -> Self::Output<'_, u64> {
        let command = options.add(Command::new("ZADD").key(key));
        self.execute(
            members.into_iter().fold(command, |command, (score, member)| command.float(score).arg(member)),
        )
    }

    /// Adds to a member's score as the options say; returns the sum, or `None` if they forbid it.
    fn zadd_incr(
        &self,
        key: impl AsRef<[u8]>,
        options: ScoreOptions,
        by: f64,
        member: impl AsRef<[u8]>,
    ) -> Self::Output<'_, Option<f64>> {
        let command = options.add(Command::new("ZADD").key(key));
        self.execute(command.arg("INCR").float(by).arg(member))
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

    /// The scores of members, each where its member stands.
    fn zmscore<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<Option<f64>>> {
        self.execute(Command::new("ZMSCORE").key(key).args(members).reads())
    }

    /// A member's rank, the highest score first.
    fn zrevrank(&self, key: impl AsRef<[u8]>, member: impl AsRef<[u8]>) -> Self::Output<'_, Option<u64>> {
        self.execute(Command::new("ZREVRANK").key(key).arg(member).reads())
    }

    /// How many members have such scores: `..`, `1.0..`, `1.0..=2.0`.
    fn zcount(&self, key: impl AsRef<[u8]>, range: impl RangeBounds<f64>) -> Self::Output<'_, u64> {
        let (least, most) = scores(&range);
        self.execute(Command::new("ZCOUNT").key(key).arg(least).arg(most).reads())
    }

    /// How many members are in such a place, where all have the same score.
    fn zlexcount(&self, key: impl AsRef<[u8]>, range: &LexRange) -> Self::Output<'_, u64> {
        self.execute(Command::new("ZLEXCOUNT").key(key).arg(range.least()).arg(range.most()).reads())
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

    /// The members that stand in a range of ranks, scores or names.
    fn zrange_by(&self, key: impl AsRef<[u8]>, range: &Ranked) -> Self::Output<'_, Vec<Bytes>> {
        self.execute(range.add(Command::new("ZRANGE").key(key)).reads())
    }

    /// The same with their scores; not for ranges of names.
    fn zrange_told(&self, key: impl AsRef<[u8]>, range: &Ranked) -> Self::Output<'_, Scored> {
        self.execute(range.add(Command::new("ZRANGE").key(key)).arg("WITHSCORES").reads())
    }

    /// Keeps such a range under another key; returns how many members it has.
    fn zrangestore(
        &self,
        to: impl AsRef<[u8]>,
        from: impl AsRef<[u8]>,
        range: &Ranked,
    ) -> Self::Output<'_, u64> {
        self.execute(range.add(Command::new("ZRANGESTORE").key(to).key(from)))
    }

    /// Removes the members from rank `start` to rank `stop`; returns how many.
    fn zremrangebyrank(&self, key: impl AsRef<[u8]>, start: i64, stop: i64) -> Self::Output<'_, u64> {
        self.execute(Command::new("ZREMRANGEBYRANK").key(key).number(start).number(stop))
    }

    /// Removes the members with such scores; returns how many.
    fn zremrangebyscore(&self, key: impl AsRef<[u8]>, range: impl RangeBounds<f64>) -> Self::Output<'_, u64> {
        let (least, most) = scores(&range);
        self.execute(Command::new("ZREMRANGEBYSCORE").key(key).arg(least).arg(most))
    }

    /// Removes the members in such a place, where all have the same score; returns how many.
    fn zremrangebylex(&self, key: impl AsRef<[u8]>, range: &LexRange) -> Self::Output<'_, u64> {
        self.execute(Command::new("ZREMRANGEBYLEX").key(key).arg(range.least()).arg(range.most()))
    }

    /// Some member.
    fn zrandmember(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("ZRANDMEMBER").key(key).reads())
    }

    /// Some members with their scores: up to `count` different ones, or exactly `-count` of which some may be the same.
    fn zrandmember_many(&self, key: impl AsRef<[u8]>, count: i32) -> Self::Output<'_, Scored> {
        self.execute(Command::new("ZRANDMEMBER").key(key).number(count).arg("WITHSCORES").reads())
    }

    /// What any of the sets has.
    fn zunion(&self, sets: &Combine) -> Self::Output<'_, Scored> {
        self.execute(sets.add(Command::new("ZUNION")).arg("WITHSCORES").reads())
    }

    /// What all of the sets have.
    fn zinter(&self, sets: &Combine) -> Self::Output<'_, Scored> {
        self.execute(sets.add(Command::new("ZINTER")).arg("WITHSCORES").reads())
    }

    /// What the first has and none of the others.
    fn zdiff<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Self::Output<'_, Scored> {
        self.execute(Command::new("ZDIFF").counted_keys(keys).arg("WITHSCORES").reads())
    }

    /// How many members all of the sets have; stops counting at a limit.
    fn zintercard<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        limit: Option<u32>,
    ) -> Self::Output<'_, u64> {
        let command = Command::new("ZINTERCARD").counted_keys(keys);
        self.execute(command.option("LIMIT", limit.map(u64::from)).reads())
    }

    /// Keeps what any of the sets has; returns how many members.
    fn zunionstore(&self, to: impl AsRef<[u8]>, sets: &Combine) -> Self::Output<'_, u64> {
        self.execute(sets.add(Command::new("ZUNIONSTORE").key(to)))
    }

    /// Keeps what all of the sets have; returns how many members.
    fn zinterstore(&self, to: impl AsRef<[u8]>, sets: &Combine) -> Self::Output<'_, u64> {
        self.execute(sets.add(Command::new("ZINTERSTORE").key(to)))
    }

    /// Keeps what the first has and none of the others; returns how many members.
    fn zdiffstore<K: AsRef<[u8]>>(
        &self,
        to: impl AsRef<[u8]>,
        keys: impl IntoIterator<Item = K>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("ZDIFFSTORE").key(to).counted_keys(keys))
    }

    /// Removes up to `count` members of the first set that has any, from this end; tells which set, and what.
    fn zmpop<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        end: ScoreEnd,
        count: u32,
    ) -> Self::Output<'_, Option<(Bytes, Scored)>> {
        self.execute(Command::new("ZMPOP").counted_keys(keys).arg(end.word()).arg("COUNT").number(count))
    }

    /// Removes up to `count` members with the lowest scores, and returns them.
    fn zpopmin(&self, key: impl AsRef<[u8]>, count: u32) -> Self::Output<'_, Scored> {
        self.execute(Command::new("ZPOPMIN").key(key).number(count))
    }

    /// Removes up to `count` members with the highest scores, and returns them.
    fn zpopmax(&self, key: impl AsRef<[u8]>, count: u32) -> Self::Output<'_, Scored> {
        self.execute(Command::new("ZPOPMAX").key(key).number(count))
    }

    /// Sets when members expire; tells what has become of each (Annulus).
    fn zexpire<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        expiry: Expiry,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<MemberOutcome>> {
        self.execute(expire_members(MEMBER_EXPIRY, key, expiry, None, members))
    }

    /// The same under a condition, which is looked at for each member (Annulus).
    fn zexpire_if<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        expiry: Expiry,
        condition: ExpireCondition,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<MemberOutcome>> {
        self.execute(expire_members(MEMBER_EXPIRY, key, expiry, Some(condition), members))
    }

    /// Removes the expiry of members; tells what has become of each (Annulus).
    fn zpersist<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<MemberOutcome>> {
        self.execute(Command::new("ZPERSIST").key(key).arg("MEMBERS").counted_args(members))
    }

    /// How long members will live, to the millisecond (Annulus).
    fn zttl<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<Ttl>> {
        self.execute(Command::new("ZPTTL").key(key).arg("MEMBERS").counted_args(members).reads())
    }

    /// When members expire, since the Unix epoch, to the millisecond (Annulus).
    fn zexpiretime<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<Ttl>> {
        self.execute(Command::new("ZPEXPIRETIME").key(key).arg("MEMBERS").counted_args(members).reads())
    }
}

impl<E: Execute> SortedSetCommands for E {}

//! Sets: different members, in no order.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! client.sadd("online", ["ada", "grace"]).await?;
//! let is_online = client.sismember("online", "ada").await?;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeSet;

use bytes::Bytes;

use super::members::{MemberExpiry, MemberOutcome, expire_members};
use super::{Execute, ExpireCondition, Expiry, Ttl};
use crate::Command;

/// Where the commands on expiry differ from those of other types.
const MEMBER_EXPIRY: MemberExpiry = MemberExpiry { within: "SPEXPIRE", at: "SPEXPIREAT", word: "MEMBERS" };

/// Commands on sets.
pub trait SetCommands: Execute {
    /// Adds members; returns how many are new.
    fn sadd<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("SADD").key(key).args(members))
    }

    /// Removes members; returns how many there were.
    fn srem<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("SREM").key(key).args(members))
    }

    /// All members.
    fn smembers(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, BTreeSet<Bytes>> {
        self.execute(Command::new("SMEMBERS").key(key).reads())
    }

    /// Whether it is a member.
    fn sismember(&self, key: impl AsRef<[u8]>, member: impl AsRef<[u8]>) -> Self::Output<'_, bool> {
        self.execute(Command::new("SISMEMBER").key(key).arg(member).reads())
    }

    /// Which of these are members, each where it stands.
    fn smismember<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<bool>> {
        self.execute(Command::new("SMISMEMBER").key(key).args(members).reads())
    }

    /// The number of members.
    fn scard(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("SCARD").key(key).reads())
    }

    /// Removes some member, and returns it.
    fn spop(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("SPOP").key(key))
    }

    /// Removes up to `count` members, whichever, and returns them.
    fn spop_many(&self, key: impl AsRef<[u8]>, count: u32) -> Self::Output<'_, BTreeSet<Bytes>> {
        self.execute(Command::new("SPOP").key(key).number(count))
    }

    /// Some members: up to `count` different ones, or exactly `-count` of which some may be the same.
    fn srandmember_many(&self, key: impl AsRef<[u8]>, count: i32) -> Self::Output<'_, Vec<Bytes>> {
        self.execute(Command::new("SRANDMEMBER").key(key).number(count).reads())
    }

    /// Some member.
    fn srandmember(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("SRANDMEMBER").key(key).reads())
    }

    /// Moves a member to another set; tells whether it was there.
    fn smove(
        &self,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
        member: impl AsRef<[u8]>,
    ) -> Self::Output<'_, bool> {
        self.execute(Command::new("SMOVE").key(from).key(to).arg(member))
    }

    /// What all of the sets have.
    fn sinter<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Self::Output<'_, BTreeSet<Bytes>> {
        self.execute(Command::new("SINTER").keys(keys).reads())
    }

    /// What any of the sets has.
    fn sunion<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Self::Output<'_, BTreeSet<Bytes>> {
        self.execute(Command::new("SUNION").keys(keys).reads())
    }

    /// What the first has and none of the others.
    fn sdiff<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Self::Output<'_, BTreeSet<Bytes>> {
        self.execute(Command::new("SDIFF").keys(keys).reads())
    }

    /// How many members all of the sets have; stops counting at a limit.
    fn sintercard<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        limit: Option<u32>,
    ) -> Self::Output<'_, u64> {
        let command = Command::new("SINTERCARD").counted_keys(keys);
        self.execute(command.option("LIMIT", limit.map(u64::from)).reads())
    }

    /// Keeps what all of the sets have under a key; returns how many members.
    fn sinterstore<K: AsRef<[u8]>>(
        &self,
        to: impl AsRef<[u8]>,
        keys: impl IntoIterator<Item = K>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("SINTERSTORE").key(to).keys(keys))
    }

    /// Keeps what any of the sets has under a key; returns how many members.
    fn sunionstore<K: AsRef<[u8]>>(
        &self,
        to: impl AsRef<[u8]>,
        keys: impl IntoIterator<Item = K>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("SUNIONSTORE").key(to).keys(keys))
    }

    /// Keeps what the first has and none of the others under a key; returns how many members.
    fn sdiffstore<K: AsRef<[u8]>>(
        &self,
        to: impl AsRef<[u8]>,
        keys: impl IntoIterator<Item = K>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("SDIFFSTORE").key(to).keys(keys))
    }

    /// Sets when members expire; tells what has become of each (Annulus).
    fn sexpire<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        expiry: Expiry,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<MemberOutcome>> {
        self.execute(expire_members(MEMBER_EXPIRY, key, expiry, None, members))
    }

    /// The same under a condition, which is looked at for each member (Annulus).
    fn sexpire_if<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        expiry: Expiry,
        condition: ExpireCondition,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<MemberOutcome>> {
        self.execute(expire_members(MEMBER_EXPIRY, key, expiry, Some(condition), members))
    }

    /// Removes the expiry of members; tells what has become of each (Annulus).
    fn spersist<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<MemberOutcome>> {
        self.execute(Command::new("SPERSIST").key(key).arg("MEMBERS").counted_args(members))
    }

    /// How long members will live, to the millisecond (Annulus).
    fn sttl<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<Ttl>> {
        self.execute(Command::new("SPTTL").key(key).arg("MEMBERS").counted_args(members).reads())
    }

    /// When members expire, since the Unix epoch, to the millisecond (Annulus).
    fn sexpiretime<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<Ttl>> {
        self.execute(Command::new("SPEXPIRETIME").key(key).arg("MEMBERS").counted_args(members).reads())
    }
}

impl<E: Execute> SetCommands for E {}

//! Lists: elements in an order, with quick ends. To wait for elements, use a [`Session`](crate::Session).
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! client.rpush("jobs", ["first", "second"]).await?;
//! while let Some(job) = client.lmove(("jobs", Side::Left), ("running", Side::Right)).await? {
//!     println!("{job:?}");
//!     client.lrem("running", 1, job).await?;
//! }
//! # Ok(())
//! # }
//! ```

use bytes::Bytes;

use super::Execute;
use crate::Command;

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where index 0 is.
    Left,
    /// The other.
    Right,
}

impl Side {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Left => "LEFT",
            Self::Right => "RIGHT",
        }
    }
}

/// Commands on lists. Indices count from 0, negative ones from the right, from -1.
pub trait ListCommands: Execute {
    /// Adds elements at the left, one after the other; returns the length.
    fn lpush<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        values: impl IntoIterator<Item = V>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("LPUSH").key(key).args(values))
    }

    /// Adds elements at the right; returns the length.
    fn rpush<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        values: impl IntoIterator<Item = V>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("RPUSH").key(key).args(values))
    }

    /// Removes the leftmost element, and returns it.
    fn lpop(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("LPOP").key(key))
    }

    /// Removes the rightmost element, and returns it.
    fn rpop(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("RPOP").key(key))
    }

    /// Removes up to `count` elements from the left; `None` if there's no list.
    fn lpop_many(&self, key: impl AsRef<[u8]>, count: u32) -> Self::Output<'_, Option<Vec<Bytes>>> {
        self.execute(Command::new("LPOP").key(key).number(count))
    }

    /// Removes up to `count` elements from the right; `None` if there's no list.
    fn rpop_many(&self, key: impl AsRef<[u8]>, count: u32) -> Self::Output<'_, Option<Vec<Bytes>>> {
        self.execute(Command::new("RPOP").key(key).number(count))
    }

    /// Adds elements at the left if there's such a list; returns the length, 0 if there's none.
    fn lpushx<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        values: impl IntoIterator<Item = V>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("LPUSHX").key(key).args(values))
    }

    /// Adds elements at the right if there's such a list; returns the length, 0 if there's none.
    fn rpushx<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        values: impl IntoIterator<Item = V>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("RPUSHX").key(key).args(values))
    }

    /// Removes up to `count` elements of the first list that has any, from this end; tells which list, and what.
    fn lmpop<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        side: Side,
        count: u32,
    ) -> Self::Output<'_, Option<(Bytes, Vec<Bytes>)>> {
        self.execute(Command::new("LMPOP").counted_keys(keys).arg(side.word()).arg("COUNT").number(count))
    }

    /// Adds an element at a side of the first that is equal to `pivot`; returns the length, 0 if there's no list and -1 if there's no such
    /// element.
    fn linsert(
        &self,
        key: impl AsRef<[u8]>,
        side: Side,
        pivot: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Self::Output<'_, i64> {
        let side = match side {
            Side::Left => "BEFORE",
            Side::Right => "AFTER",
        };
        self.execute(Command::new("LINSERT").key(key).arg(side).arg(pivot).arg(value))
    }

    /// The index of the first element equal to this one.
    fn lpos(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self::Output<'_, Option<u64>> {
        self.execute(Command::new("LPOS").key(key).arg(value).reads())
    }

    /// The indices of elements equal to this one: up to `count` (all for 0), from the `rank`th on (from the right for negative ones).
    fn lpos_many(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        rank: i64,
        count: u32,
    ) -> Self::Output<'_, Vec<u64>> {
        let command = Command::new("LPOS").key(key).arg(value).arg("RANK").number(rank);
        self.execute(command.arg("COUNT").number(count).reads())
    }

    /// The length; 0 if there's no list.
    fn llen(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("LLEN").key(key).reads())
    }

    /// The elements from index `start` to index `stop`, both included.
    fn lrange(&self, key: impl AsRef<[u8]>, start: i64, stop: i64) -> Self::Output<'_, Vec<Bytes>> {
        self.execute(Command::new("LRANGE").key(key).number(start).number(stop).reads())
    }

    /// The element at an index.
    fn lindex(&self, key: impl AsRef<[u8]>, index: i64) -> Self::Output<'_, Option<Bytes>> {
        self.execute(Command::new("LINDEX").key(key).number(index).reads())
    }

    /// Replaces the element at an index. An error if there's none.
    fn lset(&self, key: impl AsRef<[u8]>, index: i64, value: impl AsRef<[u8]>) -> Self::Output<'_, ()> {
        self.execute(Command::new("LSET").key(key).number(index).arg(value))
    }

    /// Removes up to `count` elements equal to this one (all for 0; from the right for negative numbers); returns how many that were.
    fn lrem(&self, key: impl AsRef<[u8]>, count: i64, value: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("LREM").key(key).number(count).arg(value))
    }

    /// Removes all but the elements from index `start` to index `stop`.
    fn ltrim(&self, key: impl AsRef<[u8]>, start: i64, stop: i64) -> Self::Output<'_, ()> {
        self.execute(Command::new("LTRIM").key(key).number(start).number(stop))
    }

    /// Moves an element from one end of a list to an end of another, or of the same, and returns it.
    fn lmove(
        &self,
        from: (impl AsRef<[u8]>, Side),
        to: (impl AsRef<[u8]>, Side),
    ) -> Self::Output<'_, Option<Bytes>> {
        let command = Command::new("LMOVE").key(from.0).key(to.0);
        self.execute(command.arg(from.1.word()).arg(to.1.word()))
    }
}

impl<E: Execute> ListCommands for E {}

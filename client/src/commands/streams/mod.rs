//! Streams: entries with growing ids, and groups of consumers who share them. To wait for entries, use a
//! [`Session`](crate::Session).
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use std::time::Duration;
//! use annulus_client::commands::*;
//!
//! let id = client.xadd("orders", [("item", "tea"), ("count", "2")]).await?;
//! for entry in client.xrange("orders", id.., Some(10)).await? {
//!     println!("{}: {:?}", entry.id, entry.get("item"));
//! }
//!
//! // Each entry goes to one consumer of a group, and stays pending until he has acknowledged it.
//! client.xgroup_create_mkstream("orders", "billing", After::Beginning).await?;
//! let ada = GroupReader::new("billing", "ada").count(16);
//! for entry in client.xreadgroup(&ada, [("orders", GroupRead::New)]).await?.into_entries() {
//!     client.xack("orders", "billing", [entry.id]).await?;
//! }
//! // What a lost consumer has left for a minute goes to another one.
//! let left = client.xautoclaim("orders", &Claim::new("billing", "ada", Duration::from_mins(1)), StreamId::MIN, 16).await?;
//! # Ok(())
//! # }
//! ```

mod groups;
mod info;
mod options;
mod types;

pub use groups::{Claim, Claimed, GroupRead, GroupReader, PendingEntry, PendingFilter, PendingSummary};
pub use info::{ConsumerInfo, GroupInfo, StreamInfo};
pub use options::{AddId, AddOptions, After, Trim};
pub use types::{StreamEntry, StreamId, StreamReads};

use std::ops::RangeBounds;

use super::Execute;
use crate::{Command, Value};

use types::{end_of, start_of};

/// XREAD, but for what it waits.
pub(crate) fn read<K: AsRef<[u8]>>(
    command: Command,
    streams: impl IntoIterator<Item = (K, impl options::Position)>,
) -> Command {
    let (keys, positions): (Vec<K>, Vec<_>) = streams.into_iter().unzip();
    let command = command.arg("STREAMS").keys(keys);
    positions.into_iter().fold(command, |command, position| position.add(command))
}

/// Commands on streams.
pub trait StreamCommands: Execute {
    /// Adds an entry with an id of the server's clock; returns the id. Makes the stream if there's none.
    fn xadd<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> Self::Output<'_, StreamId> {
        let command = Command::new("XADD").key(key).arg("*");
        self.execute(
            fields.into_iter().fold(command, |command, (field, value)| command.arg(field).arg(value)),
        )
    }

    /// Adds an entry as the options say; returns its id, or `None` if there's no stream and none was to be made.
    fn xadd_with<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        options: &AddOptions,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> Self::Output<'_, Option<StreamId>> {
        let command = options.add(Command::new("XADD").key(key));
        self.execute(
            fields.into_iter().fold(command, |command, (field, value)| command.arg(field).arg(value)),
        )
    }

    /// The number of entries.
    fn xlen(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, u64> {
        self.execute(Command::new("XLEN").key(key).reads())
    }

    /// Entries of a range of ids, oldest first: `..` for all, `id..` from one on, `first..=last`.
    fn xrange(
        &self,
        key: impl AsRef<[u8]>,
        ids: impl RangeBounds<StreamId>,
        count: Option<u32>,
    ) -> Self::Output<'_, Vec<StreamEntry>> {
        let command = Command::new("XRANGE").key(key).arg(start_of(&ids)).arg(end_of(&ids));
        self.execute(command.option("COUNT", count.map(u64::from)).reads())
    }

    /// The same, newest first.
    fn xrevrange(
        &self,
        key: impl AsRef<[u8]>,
        ids: impl RangeBounds<StreamId>,
        count: Option<u32>,
    ) -> Self::Output<'_, Vec<StreamEntry>> {
        let command = Command::new("XREVRANGE").key(key).arg(end_of(&ids)).arg(start_of(&ids));
        self.execute(command.option("COUNT", count.map(u64::from)).reads())
    }

    /// Entries of several streams that come after what each is read from, at most `count` of each.
    fn xread<K: AsRef<[u8]>>(
        &self,
        streams: impl IntoIterator<Item = (K, After)>,
        count: Option<u32>,
    ) -> Self::Output<'_, StreamReads> {
        let command = Command::new("XREAD").option("COUNT", count.map(u64::from));
        self.execute(read(command, streams).reads())
    }

    /// Deletes entries; returns how many there were.
    fn xdel(&self, key: impl AsRef<[u8]>, ids: impl IntoIterator<Item = StreamId>) -> Self::Output<'_, u64> {
        self.execute(types::add_ids(Command::new("XDEL").key(key), ids))
    }

    /// Deletes the oldest entries, as many as it takes; returns how many those were.
    fn xtrim(&self, key: impl AsRef<[u8]>, trim: &Trim) -> Self::Output<'_, u64> {
        self.execute(trim.add(Command::new("XTRIM").key(key)))
    }

    /// Sets the last id of a stream: the next entry's is higher. An error if there's no stream, or it has higher ids.
    fn xsetid(&self, key: impl AsRef<[u8]>, last: StreamId) -> Self::Output<'_, ()> {
        self.execute(Command::new("XSETID").key(key).arg(last.to_string()))
    }

    /// Makes a group that will get the entries behind a position. An error (`BUSYGROUP`) if it's there, or if there's no stream.
    fn xgroup_create(
        &self,
        key: impl AsRef<[u8]>,
        group: impl AsRef<[u8]>,
        after: After,
    ) -> Self::Output<'_, ()> {
        self.execute(after.word(Command::new("XGROUP").arg("CREATE").key(key).arg(group)))
    }

    /// The same; makes the stream as well, if there's none.
    fn xgroup_create_mkstream(
        &self,
        key: impl AsRef<[u8]>,
        group: impl AsRef<[u8]>,
        after: After,
    ) -> Self::Output<'_, ()> {
        self.execute(after.word(Command::new("XGROUP").arg("CREATE").key(key).arg(group)).arg("MKSTREAM"))
    }

    /// Makes a group go on from another position.
    fn xgroup_setid(
        &self,
        key: impl AsRef<[u8]>,
        group: impl AsRef<[u8]>,
        after: After,
    ) -> Self::Output<'_, ()> {
        self.execute(after.word(Command::new("XGROUP").arg("SETID").key(key).arg(group)))
    }

    /// Removes a group with all that is pending in it; tells whether there was one.
    fn xgroup_destroy(&self, key: impl AsRef<[u8]>, group: impl AsRef<[u8]>) -> Self::Output<'_, bool> {
        self.execute(Command::new("XGROUP").arg("DESTROY").key(key).arg(group))
    }

    /// Makes a consumer, which else the first reading does; tells whether it's new.
    fn xgroup_createconsumer(
        &self,
        key: impl AsRef<[u8]>,
        group: impl AsRef<[u8]>,
        consumer: impl AsRef<[u8]>,
    ) -> Self::Output<'_, bool> {
        self.execute(Command::new("XGROUP").arg("CREATECONSUMER").key(key).arg(group).arg(consumer))
    }

    /// Removes a consumer; returns how many entries were pending with it, which nobody can claim any more.
    fn xgroup_delconsumer(
        &self,
        key: impl AsRef<[u8]>,
        group: impl AsRef<[u8]>,
        consumer: impl AsRef<[u8]>,
    ) -> Self::Output<'_, u64> {
        self.execute(Command::new("XGROUP").arg("DELCONSUMER").key(key).arg(group).arg(consumer))
    }

    /// Reads as a consumer of a group: entries that nobody of the group has got, or its own that are pending.
    fn xreadgroup<K: AsRef<[u8]>>(
        &self,
        reader: &GroupReader,
        streams: impl IntoIterator<Item = (K, GroupRead)>,
    ) -> Self::Output<'_, StreamReads> {
        self.execute(read(reader.add(Command::new("XREADGROUP")), streams))
    }

    /// Entries are dealt with; returns how many of them were pending.
    fn xack(
        &self,
        key: impl AsRef<[u8]>,
        group: impl AsRef<[u8]>,
        ids: impl IntoIterator<Item = StreamId>,
    ) -> Self::Output<'_, u64> {
        self.execute(types::add_ids(Command::new("XACK").key(key).arg(group), ids))
    }

    /// What is pending in a group, in short.
    fn xpending(&self, key: impl AsRef<[u8]>, group: impl AsRef<[u8]>) -> Self::Output<'_, PendingSummary> {
        self.execute(Command::new("XPENDING").key(key).arg(group).reads())
    }

    /// What is pending in a group, entry by entry, at most `count`.
    fn xpending_range(
        &self,
        key: impl AsRef<[u8]>,
        group: impl AsRef<[u8]>,
        filter: &PendingFilter,
        ids: impl RangeBounds<StreamId>,
        count: u32,
    ) -> Self::Output<'_, Vec<PendingEntry>> {
        self.execute(filter.add(Command::new("XPENDING").key(key).arg(group), &ids, count).reads())
    }

    /// Takes over entries that are pending with others of the group; returns those that were.
    fn xclaim(
        &self,
        key: impl AsRef<[u8]>,
        claim: &Claim,
        ids: impl IntoIterator<Item = StreamId>,
    ) -> Self::Output<'_, Vec<StreamEntry>> {
        self.execute(claim.entries(Command::new("XCLAIM").key(key), ids))
    }

    /// The same, with the ids alone as the answer; it doesn't count as a delivery.
    fn xclaim_ids(
        &self,
        key: impl AsRef<[u8]>,
        claim: &Claim,
        ids: impl IntoIterator<Item = StreamId>,
    ) -> Self::Output<'_, Vec<StreamId>> {
        self.execute(claim.entries(Command::new("XCLAIM").key(key), ids).arg("JUSTID"))
    }

    /// Takes over whatever has been pending long enough, from an id on, looking at ten times `count` entries or so. Of the claim, only the
    /// group, the consumer and the time count here.
    fn xautoclaim(
        &self,
        key: impl AsRef<[u8]>,
        claim: &Claim,
        start: StreamId,
        count: u32,
    ) -> Self::Output<'_, Claimed<StreamEntry>> {
        self.execute(claim.from(Command::new("XAUTOCLAIM").key(key), start, count))
    }

    /// The same, with the ids alone as the answer; it doesn't count as a delivery.
    fn xautoclaim_ids(
        &self,
        key: impl AsRef<[u8]>,
        claim: &Claim,
        start: StreamId,
        count: u32,
    ) -> Self::Output<'_, Claimed<StreamId>> {
        self.execute(claim.from(Command::new("XAUTOCLAIM").key(key), start, count).arg("JUSTID"))
    }

    /// What a stream is. An error if there's none.
    fn xinfo_stream(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, StreamInfo> {
        self.execute(Command::new("XINFO").arg("STREAM").key(key).reads())
    }

    /// All of a stream, its groups and their consumers, with at most `count` entries of each (all for 0); as the server tells it.
    fn xinfo_stream_full(&self, key: impl AsRef<[u8]>, count: u32) -> Self::Output<'_, Value> {
        let command = Command::new("XINFO").arg("STREAM").key(key).arg("FULL").arg("COUNT");
        self.execute(command.number(count).reads())
    }

    /// The groups of a stream.
    fn xinfo_groups(&self, key: impl AsRef<[u8]>) -> Self::Output<'_, Vec<GroupInfo>> {
        self.execute(Command::new("XINFO").arg("GROUPS").key(key).reads())
    }

    /// The consumers of a group.
    fn xinfo_consumers(
        &self,
        key: impl AsRef<[u8]>,
        group: impl AsRef<[u8]>,
    ) -> Self::Output<'_, Vec<ConsumerInfo>> {
        self.execute(Command::new("XINFO").arg("CONSUMERS").key(key).arg(group).reads())
    }
}

impl<E: Execute> StreamCommands for E {}

//! What has a connection of its own, waiting.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::Background;
use crate::{
    CacheOptions, CacheStats, Command, FromValue, Message, Pipeline, Result, Value,
    commands::{After, Execute, GroupRead, GroupReader, ScoreEnd, Scored, Script, Side, StreamReads},
};

/// As [`crate::Session`]; each call waits for its result.
///
/// ```no_run
/// # fn example(client: annulus_client::blocking::Client) -> annulus_client::Result<()> {
/// let session = client.session()?;
/// while let Some((_, job)) = session.blpop(["jobs"], None)? {
///     println!("{job:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session {
    // Before the runtime, as in [`super::Client`].
    session: crate::Session,
    background: Arc<Background>,
}

impl Session {
    pub(super) fn open(client: &crate::Client, background: &Arc<Background>) -> Result<Self> {
        let session = background.wait(client.session())?;
        Ok(Self { session, background: Arc::clone(background) })
    }

    /// See [`crate::Session::command`].
    pub fn command<T: FromValue>(&self, command: Command) -> Result<T> {
        self.background.wait(self.session.command(command))
    }

    /// See [`crate::Session::watch`].
    pub fn watch<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<()> {
        self.background.wait(self.session.watch(keys))
    }

    /// See [`crate::Session::unwatch`].
    pub fn unwatch(&self) -> Result<()> {
        self.background.wait(self.session.unwatch())
    }

    /// See [`crate::Session::exec`].
    pub fn exec(&self, pipeline: Pipeline) -> Result<Option<Vec<Result<Value>>>> {
        self.background.wait(self.session.exec(pipeline))
    }

    /// See [`crate::Session::pipeline`].
    pub fn pipeline(&self, pipeline: Pipeline) -> Result<Vec<Result<Value>>> {
        self.background.wait(self.session.pipeline(pipeline))
    }

    /// See [`crate::Session::wait_for`].
    pub fn wait_for<T: FromValue>(&self, command: Command, wait: Option<Duration>) -> Result<T> {
        self.background.wait(self.session.wait_for(command, wait))
    }

    /// See [`crate::Session::blpop`].
    pub fn blpop<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Bytes)>> {
        self.background.wait(self.session.blpop(keys, wait))
    }

    /// See [`crate::Session::brpop`].
    pub fn brpop<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Bytes)>> {
        self.background.wait(self.session.brpop(keys, wait))
    }

    /// See [`crate::Session::blmove`].
    pub fn blmove(
        &self,
        from: (impl AsRef<[u8]>, Side),
        to: (impl AsRef<[u8]>, Side),
        wait: Option<Duration>,
    ) -> Result<Option<Bytes>> {
        self.background.wait(self.session.blmove(from, to, wait))
    }

    /// See [`crate::Session::blmpop`].
    pub fn blmpop<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        side: Side,
        count: u32,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Vec<Bytes>)>> {
        self.background.wait(self.session.blmpop(keys, side, count, wait))
    }

    /// See [`crate::Session::bzpopmin`].
    pub fn bzpopmin<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Bytes, f64)>> {
        self.background.wait(self.session.bzpopmin(keys, wait))
    }

    /// See [`crate::Session::bzpopmax`].
    pub fn bzpopmax<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Bytes, f64)>> {
        self.background.wait(self.session.bzpopmax(keys, wait))
    }

    /// See [`crate::Session::bzmpop`].
    pub fn bzmpop<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        end: ScoreEnd,
        count: u32,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Scored)>> {
        self.background.wait(self.session.bzmpop(keys, end, count, wait))
    }

    /// See [`crate::Session::xread_wait`].
    pub fn xread_wait<K: AsRef<[u8]>>(
        &self,
        streams: impl IntoIterator<Item = (K, After)>,
        count: Option<u32>,
        wait: Option<Duration>,
    ) -> Result<StreamReads> {
        self.background.wait(self.session.xread_wait(streams, count, wait))
    }

    /// See [`crate::Session::xreadgroup_wait`].
    pub fn xreadgroup_wait<K: AsRef<[u8]>>(
        &self,
        reader: &GroupReader,
        streams: impl IntoIterator<Item = (K, GroupRead)>,
        wait: Option<Duration>,
    ) -> Result<StreamReads> {
        self.background.wait(self.session.xreadgroup_wait(reader, streams, wait))
    }

    /// See [`crate::Session::wait_replicas`].
    pub fn wait_replicas(&self, replicas: u32, wait: Duration) -> Result<u64> {
        self.background.wait(self.session.wait_replicas(replicas, wait))
    }

    /// See [`crate::Session::wait_durable`].
    pub fn wait_durable(&self, local: bool, replicas: u32, wait: Duration) -> Result<(u64, u64)> {
        self.background.wait(self.session.wait_durable(local, replicas, wait))
    }
}

impl Execute for Session {
    type Output<'a, T: FromValue> = Result<T>;

    fn execute<T: FromValue>(&self, command: Command) -> Result<T> {
        self.background.wait(self.session.execute(command))
    }

    fn execute_script<T: FromValue>(&self, by_digest: Command, script: &Script) -> Result<T> {
        self.background.wait(self.session.execute_script(by_digest, script))
    }
}

/// As [`crate::Subscriber`]; an endless iterator of messages. After an error of the connection, which says that messages may be missing,
/// it goes on.
///
/// ```no_run
/// # fn example(client: annulus_client::blocking::Client) -> annulus_client::Result<()> {
/// let mut subscriber = client.subscriber()?;
/// subscriber.subscribe(["news"])?;
/// for message in subscriber {
///     println!("{:?}", message?.payload);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Subscriber {
    subscriber: crate::Subscriber,
    background: Arc<Background>,
}

impl Subscriber {
    pub(super) fn open(client: &crate::Client, background: &Arc<Background>) -> Result<Self> {
        let subscriber = background.wait(client.subscriber())?;
        Ok(Self { subscriber, background: Arc::clone(background) })
    }

    /// See [`crate::Subscriber::subscribe`].
    pub fn subscribe<N: AsRef<[u8]>>(&mut self, channels: impl IntoIterator<Item = N>) -> Result<()> {
        self.background.wait(self.subscriber.subscribe(channels))
    }

    /// See [`crate::Subscriber::psubscribe`].
    pub fn psubscribe<N: AsRef<[u8]>>(&mut self, patterns: impl IntoIterator<Item = N>) -> Result<()> {
        self.background.wait(self.subscriber.psubscribe(patterns))
    }

    /// See [`crate::Subscriber::ssubscribe`].
    pub fn ssubscribe<N: AsRef<[u8]>>(&mut self, channels: impl IntoIterator<Item = N>) -> Result<()> {
        self.background.wait(self.subscriber.ssubscribe(channels))
    }

    /// See [`crate::Subscriber::unsubscribe`].
    pub fn unsubscribe<N: AsRef<[u8]>>(&mut self, channels: impl IntoIterator<Item = N>) -> Result<()> {
        self.background.wait(self.subscriber.unsubscribe(channels))
    }

    /// See [`crate::Subscriber::punsubscribe`].
    pub fn punsubscribe<N: AsRef<[u8]>>(&mut self, patterns: impl IntoIterator<Item = N>) -> Result<()> {
        self.background.wait(self.subscriber.punsubscribe(patterns))
    }

    /// See [`crate::Subscriber::sunsubscribe`].
    pub fn sunsubscribe<N: AsRef<[u8]>>(&mut self, channels: impl IntoIterator<Item = N>) -> Result<()> {
        self.background.wait(self.subscriber.sunsubscribe(channels))
    }
}

impl Iterator for Subscriber {
    type Item = Result<Message>;

    fn next(&mut self) -> Option<Result<Message>> {
        Some(self.background.wait(self.subscriber.next()))
    }
}

/// As [`crate::Cache`]; each call waits for its result, which may be there at once.
#[derive(Clone, Debug)]
pub struct Cache {
    cache: crate::Cache,
    background: Arc<Background>,
}

impl Cache {
    pub(super) fn open(
        client: &crate::Client,
        background: &Arc<Background>,
        options: CacheOptions,
    ) -> Result<Self> {
        let cache = background.wait(client.cache(options))?;
        Ok(Self { cache, background: Arc::clone(background) })
    }

    /// See [`crate::Cache::command`].
    pub fn command<T: FromValue>(&self, command: Command) -> Result<T> {
        self.background.wait(self.cache.command(command))
    }

    /// Counters.
    pub fn stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.cache.clear();
    }
}

impl Execute for Cache {
    type Output<'a, T: FromValue> = Result<T>;

    fn execute<T: FromValue>(&self, command: Command) -> Result<T> {
        self.background.wait(self.cache.execute(command))
    }

    fn execute_script<T: FromValue>(&self, by_digest: Command, script: &Script) -> Result<T> {
        self.background.wait(self.cache.execute_script(by_digest, script))
    }
}

//! The client for programs without async: the same commands, each of which waits for its result.
//!
//! A thread of its own moves the bytes; any number of threads may share a client (its clones share the connections),
//! and their commands are pipelined as those of tasks are. Not for use inside of async code, where waiting would hold up other tasks: tokio panics then.
//!
//! ```no_run
//! use annulus_client::{blocking::Client, commands::*};
//!
//! # fn example() -> annulus_client::Result<()> {
//! let client = Client::connect("redis://127.0.0.1")?;
//! let visits = client.incr("visits")?;
//! # Ok(())
//! # }
//! ```

mod own;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

pub use own::{Cache, Session, Subscriber};

use crate::{
    CacheOptions, Command, Error, FromValue, Options, Pipeline, Result, ScanFilter, Scanned, Value,
    commands::{Execute, Script, is_unknown},
    scan::Walk,
};
#[cfg(feature = "embedded")]
use crate::{client::checked, convert::result_of, transaction};

/// A client whose commands wait.
#[derive(Clone, Debug)]
pub struct Client {
    // Before the runtime, so that its connections end by themselves.
    client: crate::Client,
    background: Arc<Background>,
}

/// The runtime of the connections, as soon as there are some.
#[derive(Debug, Default)]
struct Background(OnceLock<Result<Runtime>>);

impl Background {
    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.0.get_or_init(start) {
            Ok(runtime) => runtime.block_on(work),
            Err(error) => Err(error.clone()),
        }
    }
}

fn start() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(1).thread_name("annulus-client").enable_all().build()?)
}

impl Drop for Background {
    fn drop(&mut self) {
        // Without waiting, which a drop inside of async code must not.
        if let Some(Ok(runtime)) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    /// Connects, by URL or with [`Options`]; see [`crate::Client::connect`].
    pub fn connect(options: impl TryInto<Options, Error: Into<Error>>) -> Result<Self> {
        let background = Background::default();
        let client = background.wait(crate::Client::connect(options))?;
        Ok(Self { client, background: Arc::new(background) })
    }

    /// Of shards in this process: no connection, and no runtime until a session or the like needs one.
    #[cfg(feature = "embedded")]
    pub(crate) fn embedded(client: crate::Client) -> Self {
        Self { client, background: Arc::default() }
    }

    /// Sends any command; see [`crate::Client::command`].
    pub fn command<T: FromValue>(&self, command: Command) -> Result<T> {
        if let Some(why) = command.refusal() {
            return Err(Error::Unsupported(why));
        }
        self.execute(command)
    }

    /// Sends commands together; see [`crate::Client::pipeline`].
    pub fn pipeline(&self, pipeline: Pipeline) -> Result<Vec<Result<Value>>> {
        #[cfg(feature = "embedded")]
        if let Some(handle) = self.client.handle() {
            let payloads = checked(pipeline)?.payloads();
            let replies = if payloads.is_empty() { Vec::new() } else { handle.wait_many(payloads)? };
            return Ok(replies.into_iter().map(result_of).collect());
        }
        self.background.wait(self.client.pipeline(pipeline))
    }

    /// Carries out all commands as one; see [`crate::Client::transaction`].
    pub fn transaction(&self, pipeline: Pipeline) -> Result<Vec<Result<Value>>> {
        #[cfg(feature = "embedded")]
        if let Some(handle) = self.client.handle() {
            let replies = handle.wait_many(transaction::payloads(checked(pipeline)?))?;
            return transaction::unwatched_outcome(replies);
        }
        self.background.wait(self.client.transaction(pipeline))
    }

    /// A connection of its own; see [`crate::Session`].
    pub fn session(&self) -> Result<Session> {
        Session::open(&self.client, &self.background)
    }

    /// A connection that listens to messages; see [`crate::Subscriber`].
    pub fn subscriber(&self) -> Result<Subscriber> {
        Subscriber::open(&self.client, &self.background)
    }

    /// A client that remembers what it has read; see [`crate::Cache`].
    pub fn cache(&self, options: CacheOptions) -> Result<Cache> {
        Cache::open(&self.client, &self.background, options)
    }

    /// Walks over all keys; see [`crate::Scan`].
    pub fn scan(&self, filter: ScanFilter) -> Scan<'_> {
        Scan { client: self, walk: Walk::over_keys(filter) }
    }

    /// Walks over the fields of a hash with their values; see [`crate::Scan`].
    pub fn hscan(&self, key: impl AsRef<[u8]>, filter: ScanFilter) -> Scan<'_, (Bytes, Bytes)> {
        Scan { client: self, walk: Walk::over("HSCAN", key, filter) }
    }

    /// Walks over the members of a set; see [`crate::Scan`].
    pub fn sscan(&self, key: impl AsRef<[u8]>, filter: ScanFilter) -> Scan<'_> {
        Scan { client: self, walk: Walk::over("SSCAN", key, filter) }
    }

    /// Walks over the members of a sorted set with their scores; see [`crate::Scan`].
    pub fn zscan(&self, key: impl AsRef<[u8]>, filter: ScanFilter) -> Scan<'_, (Bytes, f64)> {
        Scan { client: self, walk: Walk::over("ZSCAN", key, filter) }
    }
}

impl Execute for Client {
    type Output<'a, T: FromValue> = Result<T>;

    fn execute<T: FromValue>(&self, command: Command) -> Result<T> {
        #[cfg(feature = "embedded")]
        if let Some(handle) = self.client.handle() {
            return result_of(handle.wait_one(command.payload())?);
        }
        self.background.wait(self.client.execute(command))
    }

    fn execute_script<T: FromValue>(&self, by_digest: Command, script: &Script) -> Result<T> {
        match self.execute(by_digest.clone()) {
            Err(error) if is_unknown(&error) => self.execute(by_digest.with_script(script.text().clone())),
            result => result,
        }
    }
}

/// Keys, or elements of one, as an iterator. It ends after an error.
#[derive(Debug)]
pub struct Scan<'a, T = Bytes> {
    client: &'a Client,
    walk: Walk<T>,
}

impl<T: Scanned> Iterator for Scan<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.walk.next_found() {
                return Some(Ok(found));
            }
            let command = self.walk.next_command()?;
            if let Err(error) = self.walk.on_step(self.client.execute(command)) {
                return Some(Err(error));
            }
        }
    }
}

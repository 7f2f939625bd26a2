//! The async client, and the future of a command.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use crate::{
    Cache, CacheOptions, Command, Error, FromValue, Options, Pipeline, Result, Routing, Scan, ScanFilter,
    Session, Subscriber, Value,
    command::Payload,
    commands::{Execute, Script, is_unknown},
    connection::{Connection, Reply, orphaned},
    convert::result_of,
    scan::Walk,
    shards::Shards,
    transaction,
};
#[cfg(feature = "embedded")]
use crate::{
    embedded::{Handle, Pending, one},
    in_flight::Vec1,
};

/// A client of one server. Clones share its connections; when the last is dropped, they are closed.
///
/// Its connections live on the tokio runtime on which it was made. Commands are methods of the traits in
/// [`commands`](crate::commands).
#[derive(Clone, Debug)]
pub struct Client {
    route: Arc<Route>,
}

#[derive(Debug)]
enum Route {
    Single(Connection),
    Shards(Box<Shards>),
    #[cfg(feature = "embedded")]
    Embedded(Handle),
}

impl Client {
    /// Connects, by URL or with [`Options`].
    ///
    /// Fails if the server cannot be reached now or refuses the credentials; later losses are repaired when a command comes.
    ///
    /// ```no_run
    /// # async fn example() -> annulus_client::Result<()> {
    /// use std::time::Duration;
    /// use annulus_client::{Client, Options};
    ///
    /// let mut options = Options::from_url("redis://:secret@db.example/1")?;
    /// options.timeout = Duration::from_millis(250);
    /// let client = Client::connect(options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(options: impl TryInto<Options, Error: Into<Error>>) -> Result<Self> {
        let options: Options = options.try_into().map_err(Into::into)?;
        let seed = Connection::open(options.clone()).await?;
        let route = match options.routing {
            Routing::Single => Route::Single(seed),
            Routing::Shards => match Shards::open(seed.clone(), options).await? {
                Some(shards) => Route::Shards(Box::new(shards)),
                None => Route::Single(seed),
            },
        };
        Ok(Self { route: Arc::new(route) })
    }

    /// Sends any command, and converts its reply.
    ///
    /// Refuses commands that would change what the shared connection means to its other users, such as SELECT or SUBSCRIBE.
    ///
    /// ```no_run
    /// # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
    /// use annulus_client::Command;
    ///
    /// let length: u64 = client.command(Command::new("STRLEN").key("greeting").reads()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn command<T: FromValue>(&self, command: Command) -> Call<'_, T> {
        match command.refusal() {
            None => self.execute(command),
            Some(why) => Call { client: self, state: State::Refused(why), result: PhantomData },
        }
    }

    /// Sends commands together and waits for all their replies, in order. An error of one does not stop the others.
    ///
    /// ```no_run
    /// # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
    /// use annulus_client::{Command, Pipeline};
    ///
    /// let pipeline = Pipeline::new()
    ///     .with(Command::new("INCR").key("visits"))
    ///     .with(Command::new("EXPIRE").key("visits").number(60));
    /// for reply in client.pipeline(pipeline).await? {
    ///     println!("{:?}", reply?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pipeline(&self, pipeline: Pipeline) -> Result<Vec<Result<Value>>> {
        let payloads = checked(pipeline)?.payloads();
        if payloads.is_empty() {
            return Ok(Vec::new());
        }
        let replies = self.exchange(payloads).await?;
        Ok(replies.into_iter().map(result_of).collect())
    }

    /// Carries out all commands as one (MULTI and EXEC): nobody sees some of them done and others not, and after a crash they are all there
    /// or none. On the shared connection, without a round trip more than a pipeline; to watch keys, use a [`Session`].
    ///
    /// A command that fails while it runs fails alone, as the error in its place. One that cannot even be queued fails everything.
    ///
    /// ```no_run
    /// # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
    /// use annulus_client::{Command, Pipeline};
    ///
    /// let transfer = Pipeline::new()
    ///     .with(Command::new("DECRBY").key("account:1").number(10))
    ///     .with(Command::new("INCRBY").key("account:2").number(10));
    /// client.transaction(transfer).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn transaction(&self, pipeline: Pipeline) -> Result<Vec<Result<Value>>> {
        let replies = self.exchange(transaction::payloads(checked(pipeline)?)).await?;
        transaction::unwatched_outcome(replies)
    }

    /// A connection of its own, for what a shared one cannot carry: WATCH, commands that wait.
    pub async fn session(&self) -> Result<Session> {
        Session::open(self.own_options()).await
    }

    /// A connection of its own that listens to messages.
    pub async fn subscriber(&self) -> Result<Subscriber> {
        Subscriber::open(self.own_options()).await
    }

    /// A client that answers from memory what it has read before and what has not changed since. It has a connection of its own.
    pub async fn cache(&self, options: CacheOptions) -> Result<Cache> {
        Cache::open(&self.own_options(), options).await
    }

    /// To connect once more, to the endpoint itself.
    fn own_options(&self) -> Options {
        let options = match &*self.route {
            Route::Single(connection) => connection.options(),
            Route::Shards(shards) => shards.options(),
            #[cfg(feature = "embedded")]
            Route::Embedded(handle) => return handle.own_options(),
        };
        Options { cache: None, ..options.clone() }
    }

    /// Sends commands that stay together, and waits for all replies.
    async fn exchange(&self, payloads: Vec<Payload>) -> Result<Vec<Value>> {
        match &*self.route {
            Route::Single(connection) => connection.pipeline(payloads).await,
            Route::Shards(shards) => {
                shards.owner(payloads.iter().find_map(Payload::slot)).pipeline(payloads).await
            }
            #[cfg(feature = "embedded")]
            Route::Embedded(handle) => {
                let mut pending = handle.send(Vec1::Many(payloads));
                Ok(std::future::poll_fn(|context| pending.poll(context)).await?.into_vec())
            }
        }
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn embedded(handle: Handle) -> Self {
        Self { route: Arc::new(Route::Embedded(handle)) }
    }

    /// The way to the shards, if they are in this process.
    #[cfg(feature = "embedded")]
    pub(crate) fn handle(&self) -> Option<&Handle> {
        match &*self.route {
            Route::Embedded(handle) => Some(handle),
            _ => None,
        }
    }

    /// Walks over all keys, a batch at a time; see [`Scan`].
    pub fn scan(&self, filter: ScanFilter) -> Scan<'_> {
        Scan::new(self, Walk::over_keys(filter))
    }

    /// Walks over the fields of a hash with their values.
    pub fn hscan(&self, key: impl AsRef<[u8]>, filter: ScanFilter) -> Scan<'_, (Bytes, Bytes)> {
        Scan::new(self, Walk::over("HSCAN", key, filter))
    }

    /// Walks over the members of a set.
    pub fn sscan(&self, key: impl AsRef<[u8]>, filter: ScanFilter) -> Scan<'_> {
        Scan::new(self, Walk::over("SSCAN", key, filter))
    }

    /// Walks over the members of a sorted set with their scores.
    pub fn zscan(&self, key: impl AsRef<[u8]>, filter: ScanFilter) -> Scan<'_, (Bytes, f64)> {
        Scan::new(self, Walk::over("ZSCAN", key, filter))
    }
}

/// Refuses what must not reach a shared connection.
pub(crate) fn checked(pipeline: Pipeline) -> Result<Pipeline> {
    match pipeline.commands.iter().find_map(Command::refusal) {
        Some(why) => Err(Error::Unsupported(why)),
        None => Ok(pipeline),
    }
}

impl Execute for Client {
    type Output<'a, T: FromValue> = Call<'a, T>;

    fn execute<T: FromValue>(&self, command: Command) -> Call<'_, T> {
        Call { client: self, state: State::New(command), result: PhantomData }
    }

    fn execute_script<T: FromValue>(&self, by_digest: Command, script: &Script) -> Call<'_, T> {
        let text = script.text().clone();
        let work = async move {
            match self.execute(by_digest.clone()).await {
                Err(error) if is_unknown(&error) => self.execute(by_digest.with_script(text)).await,
                result => result,
            }
        };
        Call { client: self, state: State::Slow(Box::pin(work)), result: PhantomData }
    }
}

/// A command on its way; it sets out when first polled.
///
/// Dropping it later gives up the reply, not the command: the server may carry it out.
#[must_use = "a command is sent when its future is awaited"]
pub struct Call<'a, T> {
    client: &'a Client,
    state: State<'a>,
    result: PhantomData<fn() -> T>,
}

enum State<'a> {
    New(Command),
    Refused(String),
    /// Queued. With several shards the command is kept, in case that it was sent to the wrong one.
    Queued(Reply, Option<Payload>),
    /// On its way to a shard in this process.
    #[cfg(feature = "embedded")]
    Embedded(Pending<'a>),
    /// Whatever needs more than one step: waiting for room, following a key to another shard.
    Slow(Pin<Box<dyn Future<Output = Result<Value>> + Send + 'a>>),
    Done,
}

impl<'a> State<'a> {
    fn start(client: &'a Client, payload: Payload) -> Self {
        match &*client.route {
            Route::Single(connection) => match connection.try_send(payload) {
                Ok(reply) => Self::Queued(reply, None),
                Err(payload) => Self::Slow(Box::pin(connection.send(payload))),
            },
            Route::Shards(shards) => match shards.try_send(payload.clone()) {
                Ok(reply) => Self::Queued(reply, Some(payload)),
                Err(payload) => Self::Slow(Box::pin(shards.send(payload))),
            },
            #[cfg(feature = "embedded")]
            Route::Embedded(handle) => Self::Embedded(handle.send(Vec1::One(payload))),
        }
    }
}

impl<T: FromValue> Future for Call<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let client = self.client;
        loop {
            match &mut self.state {
                State::New(_) => {
                    let State::New(command) = std::mem::replace(&mut self.state, State::Done) else {
                        unreachable!("it was just seen")
                    };
                    self.state = State::start(client, command.payload());
                }
                State::Refused(why) => {
                    let why = std::mem::take(why);
                    self.state = State::Done;
                    return Poll::Ready(Err(Error::Unsupported(why)));
                }
                State::Queued(reply, kept) => {
                    let result = ready!(Pin::new(reply).poll(context)).unwrap_or_else(|_| Err(orphaned()));
                    let kept = kept.take();
                    self.state = State::Done;
                    match (&*client.route, kept) {
                        (Route::Shards(shards), Some(payload)) if shards.is_misrouted(&result) => {
                            shards.mark_stale();
                            self.state = State::Slow(Box::pin(shards.send(payload)));
                        }
                        _ => return Poll::Ready(result.and_then(result_of)),
                    }
                }
                #[cfg(feature = "embedded")]
                State::Embedded(pending) => {
                    let result = ready!(pending.poll(context));
                    self.state = State::Done;
                    return Poll::Ready(result.and_then(one).and_then(result_of));
                }
                State::Slow(work) => {
                    let result = ready!(work.as_mut().poll(context));
                    self.state = State::Done;
                    return Poll::Ready(result.and_then(result_of));
                }
                State::Done => panic!("a command's future was polled after its end"),
            }
        }
    }
}

impl<T> fmt::Debug for Call<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Call")
    }
}

//! The async client, and the future of a command.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::{
    Cache, CacheOptions, Command, Error, FromValue, Options, Pipeline, Result, Routing, Scan, ScanFilter,
    Session, Subscriber, Value,
    command::Payload,
    commands::Execute,
    connection::{Connection, Reply, orphaned},
    convert::result_of,
    shards::Shards,
    transaction,
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
        if let Some(why) = pipeline.commands.iter().find_map(Command::refusal) {
            return Err(Error::Unsupported(why));
        }
        let payloads: Vec<Payload> = pipeline.commands.into_iter().map(Command::payload).collect();
        if payloads.is_empty() {
            return Ok(Vec::new());
        }
        let replies = self.owner_of(&payloads).pipeline(payloads).await?;
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
        if let Some(why) = pipeline.commands.iter().find_map(Command::refusal) {
            return Err(Error::Unsupported(why));
        }
        let payloads = transaction::payloads(pipeline);
        let replies = self.owner_of(&payloads).pipeline(payloads).await?;
        let outcome = transaction::outcome(replies)?;
        outcome.ok_or_else(|| Error::Protocol("EXEC speaks of watched keys; there are none".to_owned()))
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
        };
        Options { cache: None, ..options.clone() }
    }

    /// The connection for commands that stay together.
    fn owner_of(&self, payloads: &[Payload]) -> Connection {
        match &*self.route {
            Route::Single(connection) => connection.clone(),
            Route::Shards(shards) => shards.owner(payloads.iter().find_map(Payload::slot)),
        }
    }

    /// Walks over all keys, a batch at a time; see [`Scan`].
    pub fn scan(&self, filter: ScanFilter) -> Scan<'_> {
        Scan::new(self, filter)
    }
}

impl Execute for Client {
    type Output<'a, T: FromValue> = Call<'a, T>;

    fn execute<T: FromValue>(&self, command: Command) -> Call<'_, T> {
        Call { client: self, state: State::New(command), result: PhantomData }
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

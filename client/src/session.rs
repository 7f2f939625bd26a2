//! A connection of one's own, for what a shared one cannot carry: WATCH, commands that wait, SELECT.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, timeout_at},
};

use crate::{
    Command, Error, FromValue, Options, Pipeline, Result, Value,
    command::Payload,
    commands::{
        After, Execute, GroupRead, GroupReader, ScoreEnd, Scored, Script, Side, StreamReads, is_unknown,
        read_streams,
    },
    convert::result_of,
    transaction,
    wire::Wire,
};

/// A connection of its own. It has all typed commands, one after the other, and those that change or occupy a connection.
///
/// A session ends with its connection: what the connection meant (watched keys, a chosen database) is gone with it, so it's not
/// made anew in silence. Every call then fails with [`Error::Connection`], and [`Client::session`](crate::Client::session) opens another.
///
/// A check-and-set, again until nobody has interfered:
///
/// ```no_run
/// # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
/// use annulus_client::{Command, Pipeline, commands::*};
///
/// let session = client.session().await?;
/// loop {
///     session.watch(["stock"]).await?;
///     let left: i64 = session.get("stock").await?.map_or(0, |text| String::from_utf8_lossy(&text).parse().unwrap_or(0));
///     if left == 0 {
///         session.unwatch().await?;
///         break;
///     }
///     let order = Pipeline::new()
///         .with(Command::new("DECR").key("stock"))
///         .with(Command::new("INCR").key("sold"));
///     if session.exec(order).await?.is_some() {
///         break;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session {
    line: Mutex<Line>,
    options: Options,
}

/// The connection, with what is under way on it.
#[derive(Debug)]
struct Line {
    wire: Wire,
    /// Replies that will still come.
    due: usize,
    /// Why there will be none any more.
    broken: Option<Error>,
    /// What the server said unasked.
    pushes: VecDeque<Value>,
}

/// Pushes kept for whoever asks; older ones go first.
const PUSHES_MAX: usize = 1024;

impl Session {
    pub(crate) async fn open(options: Options) -> Result<Self> {
        let wire = Wire::open(&options).await?;
        let line = Line { wire, due: 0, broken: None, pushes: VecDeque::new() };
        Ok(Self { line: Mutex::new(line), options })
    }

    /// Sends any command but those that make more or fewer replies than one (SUBSCRIBE, MONITOR, CLIENT REPLY; and MULTI,
    /// for which there is [`Session::exec`]).
    pub fn command<T: FromValue>(&self, command: Command) -> SessionCall<'_, T> {
        match command.disorder() {
            None => self.execute(command),
            Some(why) => SessionCall::new(async move { Err(Error::Unsupported(why)) }),
        }
    }

    /// From now on, [`Session::exec`] does nothing if one of these keys changes before it.
    pub async fn watch<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<()> {
        result_of(self.ask(Command::new("WATCH").keys(keys), Some(Duration::ZERO)).await?)
    }

    /// Keys that were watched are no longer.
    pub async fn unwatch(&self) -> Result<()> {
        result_of(self.ask(Command::new("UNWATCH"), Some(Duration::ZERO)).await?)
    }

    /// Carries out all commands as one (MULTI and EXEC): nobody sees some of them done and others not, and after a crash they are all there
    /// or none. `None`: a watched key had changed, and nothing was done. Either way nothing is watched any more.
    ///
    /// A command that fails while it runs fails alone, as the error in its place. One that cannot even be queued fails everything.
    pub async fn exec(&self, pipeline: Pipeline) -> Result<Option<Vec<Result<Value>>>> {
        if let Some(why) = pipeline.commands.iter().find_map(Command::disorder) {
            return Err(Error::Unsupported(why));
        }
        transaction::outcome(self.exchange(&transaction::payloads(pipeline), Some(Duration::ZERO)).await?)
    }

    /// Sends commands together, and waits for all their replies, in order.
    pub async fn pipeline(&self, pipeline: Pipeline) -> Result<Vec<Result<Value>>> {
        if let Some(why) = pipeline.commands.iter().find_map(Command::disorder) {
            return Err(Error::Unsupported(why));
        }
        let payloads: Vec<Payload> = pipeline.commands.into_iter().map(Command::payload).collect();
        let replies = self.exchange(&payloads, Some(Duration::ZERO)).await?;
        Ok(replies.into_iter().map(result_of).collect())
    }

    /// Sends a command that the server may answer late: after up to `wait` more than the usual time, or whenever (`None`).
    ///
    /// Dropping the future gives up the reply, not the command: an element that it would have popped may be popped, and lost.
    pub async fn wait_for<T: FromValue>(&self, command: Command, wait: Option<Duration>) -> Result<T> {
        match command.disorder() {
            None => result_of(self.ask(command, wait).await?),
            Some(why) => Err(Error::Unsupported(why)),
        }
    }

    /// Pops from the left of the first list that has something, waiting up to `wait` (`None`: for ever). Tells which list, and
    /// what.
    pub async fn blpop<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Bytes)>> {
        self.wait_for(Command::new("BLPOP").keys(keys).seconds(wait), wait).await
    }

    /// The same from the right.
    pub async fn brpop<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Bytes)>> {
        self.wait_for(Command::new("BRPOP").keys(keys).seconds(wait), wait).await
    }

    /// Moves an element from one list to another, waiting up to `wait` (`None`: for ever) until there's one. Tells what it was.
    pub async fn blmove(
        &self,
        (from, from_side): (impl AsRef<[u8]>, Side),
        (to, to_side): (impl AsRef<[u8]>, Side),
        wait: Option<Duration>,
    ) -> Result<Option<Bytes>> {
        let command = Command::new("BLMOVE").key(from).key(to).arg(from_side.word()).arg(to_side.word());
        self.wait_for(command.seconds(wait), wait).await
    }

    /// Pops up to `count` elements from this side of the first list that has any, waiting up to `wait` (`None`: for ever). Tells which
    /// list, and what.
    pub async fn blmpop<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        side: Side,
        count: u32,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Vec<Bytes>)>> {
        let command = Command::new("BLMPOP").seconds(wait).counted_keys(keys).arg(side.word());
        self.wait_for(command.arg("COUNT").number(count), wait).await
    }

    /// Pops the member with the lowest score of the first sorted set that has any, waiting up to `wait` (`None`: for ever). Tells which set,
    /// and what.
    pub async fn bzpopmin<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Bytes, f64)>> {
        self.wait_for(Command::new("BZPOPMIN").keys(keys).seconds(wait), wait).await
    }

    /// The same with the highest score.
    pub async fn bzpopmax<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Bytes, f64)>> {
        self.wait_for(Command::new("BZPOPMAX").keys(keys).seconds(wait), wait).await
    }

    /// Pops up to `count` members from this end of the first sorted set that has any, waiting up to `wait` (`None`: for ever). Tells which
    /// set, and what.
    pub async fn bzmpop<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        end: ScoreEnd,
        count: u32,
        wait: Option<Duration>,
    ) -> Result<Option<(Bytes, Scored)>> {
        let command = Command::new("BZMPOP").seconds(wait).counted_keys(keys).arg(end.word());
        self.wait_for(command.arg("COUNT").number(count), wait).await
    }

    /// Reads streams as [`xread`](crate::commands::StreamCommands::xread) does, waiting up to `wait` (`None`: for ever) until one of them has
    /// something. Nothing if none had.
    pub async fn xread_wait<K: AsRef<[u8]>>(
        &self,
        streams: impl IntoIterator<Item = (K, After)>,
        count: Option<u32>,
        wait: Option<Duration>,
    ) -> Result<StreamReads> {
        let command = Command::new("XREAD").option("COUNT", count.map(u64::from)).block(wait);
        self.wait_for(read_streams(command, streams), wait).await
    }

    /// Reads as a consumer of a group, waiting up to `wait` (`None`: for ever) until there's something. Nothing if there was nothing.
    pub async fn xreadgroup_wait<K: AsRef<[u8]>>(
        &self,
        reader: &GroupReader,
        streams: impl IntoIterator<Item = (K, GroupRead)>,
        wait: Option<Duration>,
    ) -> Result<StreamReads> {
        let command = reader.add(Command::new("XREADGROUP")).block(wait);
        self.wait_for(read_streams(command, streams), wait).await
    }

    /// Waits until what this session has written is on disk here (`local`) and on so many replicas, or the time is over; tells on how many
    /// it is (WAITAOF).
    pub async fn wait_durable(&self, local: bool, replicas: u32, wait: Duration) -> Result<(u64, u64)> {
        let command = Command::new("WAITAOF").number(local).number(replicas).millis(wait);
        self.wait_for(command, Some(wait)).await
    }

    /// Waits until what this session has written is on so many replicas, or the time is over; tells on how many it is (WAIT).
    pub async fn wait_replicas(&self, replicas: u32, wait: Duration) -> Result<u64> {
        let command = Command::new("WAIT").number(replicas).millis(wait);
        self.wait_for(command, Some(wait)).await
    }

    /// What the server has said unasked: invalidations, if CLIENT TRACKING was asked for on this session. Waits for it, and nobody else
    /// can use the session meanwhile.
    pub async fn next_push(&self) -> Result<Vec<Value>> {
        let mut line = self.line.lock().await;
        loop {
            if let Some(Value::Push(items)) = line.pushes.pop_front() {
                return Ok(items);
            }
            let value = poll_fn(|context| line.poll_value(context)).await?;
            line.take_reply(value);
        }
    }

    async fn ask(&self, command: Command, wait: Option<Duration>) -> Result<Value> {
        let mut replies = self.exchange(&[command.payload()], wait).await?;
        replies.pop().ok_or_else(|| Error::Protocol("no reply".to_owned()))
    }

    /// `wait`: what the server may take besides the usual time.
    async fn exchange(&self, payloads: &[Payload], wait: Option<Duration>) -> Result<Vec<Value>> {
        let deadline = wait.map(|wait| Instant::now() + self.options.timeout + wait);
        let line = self.within(deadline, false, async { Ok(self.line.lock().await) }).await?;
        self.within(deadline, true, exchange(line, payloads)).await
    }

    async fn within<T>(
        &self,
        deadline: Option<Instant>,
        maybe_applied: bool,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match deadline {
            None => work.await,
            Some(deadline) => {
                timeout_at(deadline, work).await.unwrap_or(Err(Error::Timeout { maybe_applied }))
            }
        }
    }
}

/// Sends, and waits for as many replies, behind those that others have given up.
async fn exchange(mut line: MutexGuard<'_, Line>, payloads: &[Payload]) -> Result<Vec<Value>> {
    if let Some(error) = &line.broken {
        return Err(error.with_maybe_applied(false));
    }
    for payload in payloads {
        line.wire.push(payload);
    }
    line.due += payloads.len();
    let mut replies = Vec::with_capacity(payloads.len());
    while line.due > 0 {
        let value = poll_fn(|context| line.poll_value(context)).await?;
        let abandoned = line.due > payloads.len() - replies.len();
        if let Some(reply) = line.take_reply(value)
            && !abandoned
        {
            replies.push(reply);
        }
    }
    Ok(replies)
}

impl Line {
    fn poll_value(&mut self, context: &mut Context<'_>) -> Poll<Result<Value>> {
        if let Some(error) = &self.broken {
            return Poll::Ready(Err(error.clone()));
        }
        // Both at once: the server may wait until its replies are read before it reads on.
        let sent = self.wire.poll_flush(context);
        let received = self.wire.poll_value(context);
        let result = match (sent, received) {
            (Poll::Ready(Err(error)), Poll::Pending) => Err(error),
            (_, received) => ready!(received),
        };
        // Some of what was asked had left: who waits does not know what became of it.
        if let Err(error) = &result {
            self.broken = Some(error.with_maybe_applied(true));
        }
        Poll::Ready(result.map_err(|error| error.with_maybe_applied(true)))
    }

    /// The value, if it is a reply.
    fn take_reply(&mut self, value: Value) -> Option<Value> {
        if matches!(value, Value::Push(_)) {
            if self.pushes.len() == PUSHES_MAX {
                self.pushes.pop_front();
            }
            self.pushes.push_back(value);
            return None;
        }
        self.due = self.due.saturating_sub(1);
        Some(value)
    }
}

impl Execute for Session {
    type Output<'a, T: FromValue> = SessionCall<'a, T>;

    fn execute<T: FromValue>(&self, command: Command) -> SessionCall<'_, T> {
        SessionCall::new(self.ask(command, Some(Duration::ZERO)))
    }

    fn execute_script<T: FromValue>(&self, by_digest: Command, script: &Script) -> SessionCall<'_, T> {
        let text = script.text().clone();
        SessionCall::new(async move {
            match self.execute(by_digest.clone()).await {
                Err(error) if is_unknown(&error) => self.execute(by_digest.with_script(text)).await,
                result => result,
            }
        })
    }
}

/// A command of a session. It's sent when first polled, behind those before it.
#[must_use = "a command is sent when its future is awaited"]
pub struct SessionCall<'a, T> {
    work: Pin<Box<dyn Future<Output = Result<Value>> + Send + 'a>>,
    result: PhantomData<fn() -> T>,
}

impl<'a, T> SessionCall<'a, T> {
    fn new(work: impl Future<Output = Result<Value>> + Send + 'a) -> Self {
        Self { work: Box::pin(work), result: PhantomData }
    }
}

impl<T: FromValue> Future for SessionCall<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        Poll::Ready(ready!(self.work.as_mut().poll(context)).and_then(result_of))
    }
}

impl<T> fmt::Debug for SessionCall<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionCall")
    }
}

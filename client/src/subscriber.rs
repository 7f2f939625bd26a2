//! Messages: a connection that listens.
//!
//! One state machine, polled by its owner: nothing is read that nobody takes, so a slow program makes the server keep its messages, and
//! close the connection at its limit. Then, and whenever the connection is lost, the owner is told so once: what was sent meanwhile is missing. After that the
//! connection is made anew and listens to the same.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout_at};

use crate::{Command, Error, Options, Result, Value, wire::Wire};

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The channel that it was sent to.
    pub channel: Bytes,
    /// The pattern by which it was received; `None`: by the channel's name. Who listens by both gets it twice.
    pub pattern: Option<Bytes>,
    /// What was sent.
    pub payload: Bytes,
    /// Whether it's of a shard channel (SPUBLISH).
    pub sharded: bool,
}

/// What one can listen to. The numbers are places in [`Subscriber::wanted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Channel,
    Pattern,
    Shard,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];

    const fn on(self) -> &'static str {
        match self {
            Kind::Channel => "SUBSCRIBE",
            Kind::Pattern => "PSUBSCRIBE",
            Kind::Shard => "SSUBSCRIBE",
        }
    }

    const fn off(self) -> &'static str {
        match self {
            Kind::Channel => "UNSUBSCRIBE",
            Kind::Pattern => "PUNSUBSCRIBE",
            Kind::Shard => "SUNSUBSCRIBE",
        }
    }
}

/// Listens to channels and patterns, on a connection of its own.
///
/// A [`Stream`] of [`Message`]s; [`Subscriber::next`] is for those who need no more of streams. When the connection is lost there's
/// one error, which says that messages may be missing; whoever goes on asking gets a new connection that listens to the same.
///
/// ```no_run
/// # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
/// let mut subscriber = client.subscriber().await?;
/// subscriber.subscribe(["news"]).await?;
/// subscriber.psubscribe(["log.*"]).await?;
/// loop {
///     match subscriber.next().await {
///         Ok(message) => println!("{}: {:?}", message.channel.escape_ascii(), message.payload),
///         Err(error) if error.is_connection() => eprintln!("some messages may be missing: {error}"),
///         Err(error) => return Err(error),
///     }
/// }
/// # }
/// ```
pub struct Subscriber {
    options: Options,
    state: State,
    wanted: [BTreeSet<Bytes>; Kind::ALL.len()],
    found: VecDeque<Message>,
    /// Requests that were not answered: how many confirmations are missing of each.
    asked: VecDeque<usize>,
    /// The answer to one of them that was refused.
    refused: Option<Error>,
    /// Attempts to connect since the last success.
    attempts: u32,
    /// When something came last, and whether a sign of life was asked for since.
    heard: Instant,
    pinged: bool,
    alarm: Pin<Box<Sleep>>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Wire>> + Send + Sync>>;

enum State {
    Open(Wire),
    Opening(Opening),
    /// It was lost, and its owner knows.
    Lost,
}

impl Subscriber {
    pub(crate) async fn open(options: Options) -> Result<Self> {
        let wire = Wire::open(&options).await?;
        Ok(Self {
            state: State::Open(wire),
            wanted: Default::default(),
            found: VecDeque::new(),
            asked: VecDeque::new(),
            refused: None,
            attempts: 0,
            heard: Instant::now(),
            pinged: false,
            alarm: Box::pin(sleep(options.timeout)),
            options,
        })
    }

    /// Listens to these channels too. Returns when the server has confirmed: nothing that is sent from then on is missed. After an
    /// error of the connection they are listened to as soon as there is one again.
    pub async fn subscribe<N: AsRef<[u8]>>(&mut self, channels: impl IntoIterator<Item = N>) -> Result<()> {
        self.listen(Kind::Channel, channels).await
    }

    /// Listens to all channels that match one of these glob patterns.
    pub async fn psubscribe<N: AsRef<[u8]>>(&mut self, patterns: impl IntoIterator<Item = N>) -> Result<()> {
        self.listen(Kind::Pattern, patterns).await
    }

    /// Listens to these shard channels too (SSUBSCRIBE).
    pub async fn ssubscribe<N: AsRef<[u8]>>(&mut self, channels: impl IntoIterator<Item = N>) -> Result<()> {
        self.listen(Kind::Shard, channels).await
    }

    /// Listens to these channels no longer.
    pub async fn unsubscribe<N: AsRef<[u8]>>(&mut self, channels: impl IntoIterator<Item = N>) -> Result<()> {
        self.unlisten(Kind::Channel, channels).await
    }

    /// Listens no longer by these patterns.
    pub async fn punsubscribe<N: AsRef<[u8]>>(
        &mut self,
        patterns: impl IntoIterator<Item = N>,
    ) -> Result<()> {
        self.unlisten(Kind::Pattern, patterns).await
    }

    /// Listens to these shard channels no longer.
    pub async fn sunsubscribe<N: AsRef<[u8]>>(
        &mut self,
        channels: impl IntoIterator<Item = N>,
    ) -> Result<()> {
        self.unlisten(Kind::Shard, channels).await
    }

    /// The next message. Nothing is lost when this future is dropped.
    ///
    /// An error of the connection ([`Error::is_connection`]) means that messages may be missing; the next call goes on.
    pub async fn next(&mut self) -> Result<Message> {
        poll_fn(|context| self.poll_message(context)).await
    }

    async fn listen<N: AsRef<[u8]>>(&mut self, kind: Kind, names: impl IntoIterator<Item = N>) -> Result<()> {
        let names: Vec<Bytes> = names.into_iter().map(|name| Bytes::copy_from_slice(name.as_ref())).collect();
        self.wanted[kind as usize].extend(names.iter().cloned());
        let result = self.ask(kind.on(), &names).await;
        // What was refused is not wanted any more; what may have been heard is.
        if result.as_ref().is_err_and(|error| !error.is_connection() && !error.maybe_applied()) {
            self.forget(kind, &names);
        }
        result
    }

    async fn unlisten<N: AsRef<[u8]>>(
        &mut self,
        kind: Kind,
        names: impl IntoIterator<Item = N>,
    ) -> Result<()> {
        let names: Vec<Bytes> = names.into_iter().map(|name| Bytes::copy_from_slice(name.as_ref())).collect();
        self.forget(kind, &names);
        self.ask(kind.off(), &names).await
    }

    fn forget(&mut self, kind: Kind, names: &[Bytes]) {
        for name in names {
            self.wanted[kind as usize].remove(name);
        }
    }

    /// Asks, and waits until everything that was asked is confirmed. Messages that come meanwhile are kept.
    async fn ask(&mut self, what: &str, names: &[Bytes]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        if let State::Open(wire) = &mut self.state {
            wire.push(&Command::new(what).args(names).payload());
            self.asked.push_back(names.len());
        }
        self.refused = None;
        let deadline = Instant::now() + self.options.timeout;
        let confirmed = poll_fn(|context| {
            while !matches!(self.state, State::Open(_)) || !self.asked.is_empty() {
                let message = ready!(self.poll_found(context))?;
                self.found.extend(message);
            }
            Poll::Ready(self.refused.take().map_or(Ok(()), Err))
        });
        // Asked it is, and the answer may still come.
        timeout_at(deadline, confirmed).await.unwrap_or(Err(Error::Timeout { maybe_applied: true }))
    }

    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Message>> {
        loop {
            if let Some(message) = self.found.pop_front() {
                return Poll::Ready(Ok(message));
            }
            if let Some(message) = ready!(self.poll_found(context))? {
                return Poll::Ready(Ok(message));
            }
        }
    }

    /// One step: a message, or something that is none.
    fn poll_found(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        match &mut self.state {
            State::Lost => {
                self.state = State::Opening(self.open_again());
                Poll::Ready(Ok(None))
            }
            State::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                Ok(wire) => {
                    self.resume(wire);
                    Poll::Ready(Ok(None))
                }
                Err(error) => Poll::Ready(Err(self.on_lost(error))),
            },
            State::Open(wire) => {
                let sent = wire.poll_flush(context);
                let received = match (sent, wire.poll_value(context)) {
                    (Poll::Ready(Err(error)), Poll::Pending) => Err(error),
                    (_, Poll::Ready(received)) => received,
                    (_, Poll::Pending) => return self.poll_alive(context),
                };
                match received.and_then(|value| self.take(value)) {
                    Ok(message) => {
                        self.heard = Instant::now();
                        self.pinged = false;
                        Poll::Ready(Ok(message))
                    }
                    Err(error) => Poll::Ready(Err(self.on_lost(error))),
                }
            }
        }
    }

    /// Nothing comes. Asks for a sign of life when that has lasted; without one the connection is lost.
    fn poll_alive(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        loop {
            ready!(self.alarm.as_mut().poll(context));
            let until = self.heard + self.options.timeout;
            if Instant::now() < until {
                self.alarm.as_mut().reset(until);
                continue;
            }
            if self.pinged {
                return Poll::Ready(Err(self.on_lost(Error::closed("the server is silent"))));
            }
            self.pinged = true;
            self.heard = Instant::now();
            if let State::Open(wire) = &mut self.state {
                wire.push(&Command::new("PING").payload());
            }
            // It is sent with the next step.
            return Poll::Ready(Ok(None));
        }
    }

    fn on_lost(&mut self, error: Error) -> Error {
        self.state = State::Lost;
        self.asked.clear();
        error
    }

    /// Connects again, later with each attempt that has failed.
    fn open_again(&mut self) -> Opening {
        let options = self.options.clone();
        let factor = 1_u32.checked_shl(self.attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = options.backoff.saturating_mul(factor).min(Options::BACKOFF_MAX);
        let pause = (self.attempts > 0).then_some(pause);
        self.attempts = self.attempts.saturating_add(1);
        Box::pin(async move {
            if let Some(pause) = pause {
                sleep_until(Instant::now() + pause).await;
            }
            Wire::open(&options).await
        })
    }

    /// A new connection, which is to listen to what the one before did.
    fn resume(&mut self, mut wire: Wire) {
        self.attempts = 0;
        self.heard = Instant::now();
        self.pinged = false;
        for kind in Kind::ALL {
            let names = &self.wanted[kind as usize];
            if !names.is_empty() {
                wire.push(&Command::new(kind.on()).args(names).payload());
                self.asked.push_back(names.len());
            }
        }
        self.state = State::Open(wire);
    }

    /// What the server said: a message, a confirmation, a sign of life.
    fn take(&mut self, value: Value) -> Result<Option<Message>> {
        let items = match value {
            Value::Push(items) | Value::Array(items) => items,
            Value::Error(text) => {
                // The whole request is refused.
                self.asked.pop_front();
                self.refused = Some(Error::from_reply(&text));
                return Ok(None);
            }
            // PONG.
            _ => return Ok(None),
        };
        let mut items = items.into_iter();
        let what = items.next();
        let mut bytes = || match items.next() {
            Some(Value::Bulk(bytes) | Value::Simple(bytes)) => Ok(bytes),
            _ => Err(Error::Protocol("a malformed message".to_owned())),
        };
        let message = |channel, pattern, payload, sharded| Message { channel, pattern, payload, sharded };
        match what.as_ref().and_then(Value::bytes).map_or(&[][..], |what| what.as_ref()) {
            b"message" => Ok(Some(message(bytes()?, None, bytes()?, false))),
            b"smessage" => Ok(Some(message(bytes()?, None, bytes()?, true))),
            b"pmessage" => {
                let pattern = Some(bytes()?);
                Ok(Some(message(bytes()?, pattern, bytes()?, false)))
            }
            what if what.ends_with(b"subscribe") => {
                self.on_confirmed();
                Ok(None)
            }
            // PONG in RESP2; pushes of another kind.
            _ => Ok(None),
        }
    }

    fn on_confirmed(&mut self) {
        if let Some(left) = self.asked.front_mut() {
            *left -= 1;
            if *left == 0 {
                self.asked.pop_front();
            }
        }
    }
}

impl Stream for Subscriber {
    type Item = Result<Message>;

    /// It never ends.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_message(context).map(Some)
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Subscriber").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

//! The task behind a connection: the only reader and writer of its socket.
//!
//! It owns the socket and the commands in flight; callers reach it through a queue that the connection's permits bound.
//! It ends when the last handle is gone and the last reply has come (or its time is over). Everybody who waits is told, whatever
//! happens: with a reply, with an error, or, should the whole runtime end, by the drop of its sender.

use std::{future::poll_fn, sync::Arc, task::Poll};

use tokio::{
    select,
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{
    Error, Options, Result, Value,
    handshake::{self, Link},
    in_flight::{InFlight, Request},
    lookout::{Lookout, REPLIES_MIN},
};

/// Room made for each read: a few hundred small replies.
const READ_BYTES: usize = 16 * 1024;

/// Reads in a row before others have their turn.
const READS_MAX: usize = 16;

/// With less than this to send, others are waited for that are ready to run: a write costs as much as a hundred of these bytes. With more, it
/// is better to have the server begin: with pipelines of 32 commands it stood idle while they were gathered.
const GATHER_BYTES: usize = 512;

/// Requests taken from the queue at a time.
const TAKE_MAX: usize = 256;

pub(crate) struct Driver {
    pub(crate) options: Arc<Options>,
    pub(crate) queue: UnboundedReceiver<Request>,
    pub(crate) in_flight: InFlight,
}

/// Why a connection is served no longer.
enum End {
    /// Nobody needs it.
    Unused,
    Lost(Error),
}

/// Lets those run who are ready now, and no longer.
async fn yield_once() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Driver {
    pub(crate) async fn run(mut self, link: Link) {
        let mut link = Some(link);
        while let Some(connected) = link.take() {
            match self.serve(connected).await {
                End::Unused => return,
                End::Lost(error) => {
                    if let Some(cache) = &self.options.cache {
                        cache.on_lost();
                    }
                    self.in_flight.on_lost(&error);
                }
            }
            link = self.reconnect().await;
        }
    }

    async fn serve(&mut self, mut link: Link) -> End {
        let mut taken = Vec::with_capacity(TAKE_MAX);
        let mut open = true;
        // Armed once for many commands: it's set again only when it has gone off, not with each reply.
        let alarm = sleep_until(Instant::now());
        tokio::pin!(alarm);
        let mut armed = false;
        let mut heard = Instant::now();
        let mut more = false;
        let mut lookout = Lookout::new(self.options.spin);
        loop {
            // Who is ready to run may have commands too, and one write for all of them costs a fraction of one for each. (Otherwise the
            // first of them would have this task run next, and the others behind it.)
            if std::mem::take(&mut more) {
                yield_once().await;
                self.take_queued();
            }
            let sends = !self.in_flight.unsent().is_empty();
            if let Err(error) = self.send(&mut link) {
                return End::Lost(error);
            }
            let awaits = self.in_flight.awaits(REPLIES_MIN);
            if sends && awaits {
                lookout.begin();
            }
            if !open && self.in_flight.next_deadline().is_none() {
                return End::Unused;
            }
            let looks = awaits && lookout.is_looking();
            if !armed && let Some(deadline) = self.in_flight.next_deadline() {
                alarm.as_mut().reset(deadline);
                armed = true;
            }
            select! {
                // The queue first: it's bounded, and more commands in a write are cheaper.
                biased;
                count = self.queue.recv_many(&mut taken, TAKE_MAX), if open => {
                    open = count > 0;
                    taken.drain(..).for_each(|request| self.in_flight.push(request));
                    more = open && self.in_flight.unsent().len() < GATHER_BYTES;
                }
                ready = link.stream.readable() => {
                    if let Err(error) = ready.map_err(Error::from).and_then(|()| self.receive(&mut link)) {
                        return End::Lost(error);
                    }
                    heard = Instant::now();
                    lookout.on_heard();
                }
                ready = link.stream.writable(), if !self.in_flight.unsent().is_empty() || link.stream.wants_write() => {
                    if let Err(error) = ready {
                        return End::Lost(error.into());
                    }
                }
                // All others that are ready run first, and the sockets are looked at.
                () = tokio::task::yield_now(), if looks => lookout.on_nothing(),
                () = &mut alarm, if armed => {
                    armed = false;
                    let now = Instant::now();
                    let overdue = self.in_flight.next_deadline().is_some_and(|deadline| deadline <= now);
                    self.in_flight.expire(now);
                    // Slow is one thing; not a byte in all that time is another: it may be gone without a word.
                    if overdue && now.duration_since(heard) >= self.options.timeout {
                        return End::Lost(Error::closed("the server is silent"));
                    }
                }
            }
        }
    }

    fn send(&mut self, link: &mut Link) -> Result<()> {
        while !self.in_flight.unsent().is_empty() || link.stream.wants_write() {
            match link.stream.try_write(self.in_flight.unsent()) {
                Ok(bytes) => self.in_flight.on_sent(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, link: &mut Link) -> Result<()> {
        for reads in 1.. {
            link.decoder.buffer.reserve(READ_BYTES);
            let room = link.decoder.buffer.capacity() - link.decoder.buffer.len();
            let read = match link.stream.try_read(&mut link.decoder.buffer) {
                Ok(0) => return Err(Error::closed("the server closed the connection")),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if let Some(cache) = &self.options.cache {
                cache.on_heard();
            }
            while let Some(value) = link.decoder.next()? {
                match value {
                    // Nothing here subscribes to anything: what a cache is not told is a notice that nobody waits for.
                    Value::Push(items) => {
                        if let Some(cache) = &self.options.cache {
                            cache.on_push(&items);
                        }
                    }
                    value => self.in_flight.on_reply(value)?,
                }
            }
            // What is decrypted already does not make a socket readable.
            if !link.stream.buffers() && (read < room || reads == READS_MAX) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A new connection, made when a command needs it; `None` when nobody needs it any more.
    async fn reconnect(&mut self) -> Option<Link> {
        loop {
            if self.in_flight.is_empty() {
                let request = self.queue.recv().await?;
                self.in_flight.push(request);
            }
            match self.try_reconnect().await {
                Ok(link) => return Some(link),
                Err(error) => {
                    self.take_queued();
                    self.in_flight.fail_all(&error);
                }
            }
        }
    }

    /// A bounded number of attempts, while commands whose time is over are told so.
    async fn try_reconnect(&mut self) -> Result<Link> {
        let mut pause = self.options.backoff;
        let mut attempt = 1;
        loop {
            let options = Arc::clone(&self.options);
            let error = match self.with_deadlines(handshake::connect(&options)).await? {
                Ok(link) => return Ok(link),
                Err(error) => error,
            };
            // Other credentials are not a matter of time.
            let hopeless = !error.is_connection() && !matches!(error, Error::Loading(_));
            if hopeless || attempt >= self.options.connect_attempts {
                return Err(error);
            }
            self.with_deadlines(sleep(pause)).await?;
            pause = (pause * 2).min(Options::BACKOFF_MAX);
            attempt += 1;
        }
    }

    /// Waits for `work`, and tells commands whose time is over meanwhile. An error when none is left that needs it.
    async fn with_deadlines<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(work);
        loop {
            self.take_queued();
            let Some(deadline) = self.in_flight.next_deadline() else {
                return Err(Error::Timeout { maybe_applied: false });
            };
            if let Ok(done) = timeout_at(deadline, &mut work).await {
                return Ok(done);
            }
            self.take_queued();
            self.in_flight.expire_unconnected(Instant::now());
        }
    }

    fn take_queued(&mut self) {
        while let Ok(request) = self.queue.try_recv() {
            self.in_flight.push(request);
        }
    }
}

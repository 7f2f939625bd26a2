//! The handle of one multiplexed connection. Clones share it.
//!
//! Back-pressure: a request holds permits from before it's queued until its last reply has come, so the queue, the bytes to
//! send and the replies due are all bounded by [`Options::in_flight`], with no bound of their own.

use std::sync::Arc;

use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, UnboundedSender},
        oneshot,
    },
    time::{Instant, timeout_at},
};

use crate::{
    Error, Options, Result, Value,
    command::Payload,
    driver::Driver,
    handshake,
    in_flight::{InFlight, ReplyTo, Request, Vec1},
};

/// A command this large counts as one more.
const BYTES_A_PERMIT: usize = 16 * 1024;

pub(crate) type Reply = oneshot::Receiver<Result<Value>>;

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    queue: UnboundedSender<Request>,
    permits: Arc<Semaphore>,
    options: Arc<Options>,
}

/// What a reply that will never come means: the task that would bring it is gone.
pub(crate) fn orphaned() -> Error {
    Error::closed("the runtime of the connection has ended").with_maybe_applied(true)
}

impl Connection {
    /// Connects; its task runs on the current runtime.
    pub(crate) async fn open(options: Options) -> Result<Self> {
        let link = handshake::connect(&options).await?;
        let options = Arc::new(options);
        let permits = Arc::new(Semaphore::new(options.in_flight.max(1) as usize));
        let (sender, queue) = mpsc::unbounded_channel();
        let in_flight = InFlight::new(Arc::clone(&permits));
        let driver = Driver { options: Arc::clone(&options), queue, in_flight };
        tokio::spawn(driver.run(link));
        Ok(Self { queue: sender, permits, options })
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    fn cost(&self, payloads: &[Payload]) -> u32 {
        let bytes: usize = payloads.iter().map(Payload::bytes).sum();
        let cost = payloads.len() + bytes / BYTES_A_PERMIT;
        // Whatever it costs, it must fit alone.
        u32::try_from(cost).unwrap_or(u32::MAX).min(self.options.in_flight.max(1))
    }

    fn retries(&self, reads: bool) -> u32 {
        if reads { self.options.retries } else { 0 }
    }

    /// Queues the command if there's room now, or gives it back.
    pub(crate) fn try_send(&self, payload: Payload) -> Result<Reply, Payload> {
        let permits = self.cost(std::slice::from_ref(&payload));
        let Ok(permit) = self.permits.try_acquire_many(permits) else { return Err(payload) };
        permit.forget();
        Ok(self.queue_one(payload, Instant::now() + self.options.timeout, permits))
    }

    fn queue_one(&self, payload: Payload, deadline: Instant, permits: u32) -> Reply {
        let (to, reply) = oneshot::channel();
        let retries = self.retries(payload.only_reads());
        let payloads = Vec1::One(payload);
        let request = Request { payloads, reply_to: ReplyTo::One(to), deadline, retries, permits };
        // If the task is gone, so is the sender in the request: the receiver says it.
        let _ = self.queue.send(request);
        reply
    }

    async fn acquire(&self, permits: u32, deadline: Instant) -> Result<()> {
        match timeout_at(deadline, self.permits.acquire_many(permits)).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(())
            }
            Ok(Err(_)) => Err(orphaned().with_maybe_applied(false)),
            Err(_) => Err(Error::Timeout { maybe_applied: false }),
        }
    }

    /// Sends when there's room, and waits for the reply.
    pub(crate) async fn send(&self, payload: Payload) -> Result<Value> {
        let deadline = Instant::now() + self.options.timeout;
        let permits = self.cost(std::slice::from_ref(&payload));
        self.acquire(permits, deadline).await?;
        self.queue_one(payload, deadline, permits).await.unwrap_or_else(|_| Err(orphaned()))
    }

    /// Sends all commands together, and waits for all replies.
    pub(crate) async fn pipeline(&self, payloads: Vec<Payload>) -> Result<Vec<Value>> {
        let deadline = Instant::now() + self.options.timeout;
        let reads = payloads.iter().all(Payload::only_reads);
        let permits = self.cost(&payloads);
        self.acquire(permits, deadline).await?;
        let (to, reply) = oneshot::channel();
        let reply_to = ReplyTo::Many { replies: Vec::with_capacity(payloads.len()), to };
        let payloads = Vec1::Many(payloads);
        let _ =
            self.queue.send(Request { payloads, reply_to, deadline, retries: self.retries(reads), permits });
        reply.await.unwrap_or_else(|_| Err(orphaned()))
    }
}

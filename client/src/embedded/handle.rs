//! A handle on a store: a line to each shard, and commands on their way.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use annulus::{
    runtime::Clock,
    shard::{dispatch::owner_of_group, shared::Shared},
};
use annulus_storage::{DatabaseId, ShardId};

use super::{
    line::{Line, Refusal, Sender, Ticket, closed},
    stream::Doorway,
};
use crate::{Endpoint, Error, Options, Result, Value, command::Payload, in_flight::Vec1};

/// Looks at a line between two looks at the clock.
const LOOKS_PER_CLOCK: u32 = 8;

/// Lines of its own to all shards. Callers that share a handle share their locks: threads with much to do take one each.
#[derive(Debug)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
    lines: Box<[Arc<Line>]>,
    clock: Clock,
    spin: Duration,
    database: DatabaseId,
}

impl Handle {
    pub(crate) fn new(shared: &Arc<Shared>, database: DatabaseId, spin: Duration) -> Self {
        let entrances = (0..shared.peers.count()).filter_map(|shard| shared.entrance(ShardId(shard)));
        let lines = entrances.map(|entrance| Line::new(entrance, database)).collect();
        Self { shared: Arc::clone(shared), lines, clock: Clock::default(), spin, database }
    }

    /// For a connection of its own: a line that looks like a socket.
    pub(crate) fn own_options(&self) -> Options {
        let endpoint = Endpoint::Unix(self.shared.settings().0.dir.clone());
        let mut options = Options::new(endpoint);
        options.database = u32::from(self.database.0);
        options.doorway = Some(Doorway(Arc::clone(&self.shared)));
        options
    }

    /// The line to the owner of a slot; what has no key may go anywhere.
    fn line(&self, slot: Option<u16>) -> Option<&Line> {
        let shards = self.lines.len() as u16;
        let owner = match slot {
            Some(slot) if shards > 1 => owner_of_group(slot >> 6, shards).index(),
            _ => 0,
        };
        self.lines.get(owner).map(|line| &**line)
    }

    fn try_send(&self, payloads: Vec1<Payload>, sender: Option<Sender<'_>>) -> Result<Ticket<'_>, Refusal> {
        let slot = payloads.as_slice().iter().find_map(Payload::slot);
        match self.line(slot) {
            Some(line) => line.try_send(payloads, slot, sender),
            None => Err(Refusal::Closed(closed())),
        }
    }

    /// Commands that set out when first polled.
    pub(crate) fn send(&self, payloads: Vec1<Payload>) -> Pending<'_> {
        Pending { handle: self, step: Step::New(payloads), place: None }
    }

    /// Carries out a command, waiting in this thread.
    pub(crate) fn wait_one(&self, payload: Payload) -> Result<Value> {
        one(self.wait(Vec1::One(payload))?)
    }

    /// Carries out commands, waiting in this thread.
    pub(crate) fn wait_many(&self, payloads: Vec<Payload>) -> Result<Vec<Value>> {
        Ok(self.wait(Vec1::Many(payloads))?.into_vec())
    }

    /// Carries out commands, waiting in this thread: at first awake, then asleep.
    pub(crate) fn wait(&self, payloads: Vec1<Payload>) -> Result<Vec1<Value>> {
        let mut pending = match self.try_send(payloads, None) {
            Ok(mut ticket) => {
                if let Some(result) = self.look(&mut ticket) {
                    return result;
                }
                Pending { handle: self, step: Step::Sent(ticket), place: None }
            }
            Err(Refusal::Full(payloads)) => self.send(payloads),
            Err(Refusal::Closed(error)) => return Err(error),
        };
        block_on(std::future::poll_fn(|context| pending.poll(context)))
    }

    fn look(&self, ticket: &mut Ticket<'_>) -> Option<Result<Vec1<Value>>> {
        let spin_ns = self.spin.as_nanos() as u64;
        if spin_ns == 0 {
            return ticket.try_take();
        }
        let until = self.clock.monotonic_ns() + spin_ns;
        loop {
            for _ in 0..LOOKS_PER_CLOCK {
                if let Some(result) = ticket.try_take() {
                    return Some(result);
                }
                std::hint::spin_loop();
            }
            if self.clock.monotonic_ns() >= until {
                return None;
            }
        }
    }
}

/// The reply of a single command.
pub(crate) fn one(replies: Vec1<Value>) -> Result<Value> {
    match replies {
        Vec1::One(value) => Ok(value),
        Vec1::Many(mut values) => values.pop().ok_or_else(|| Error::Protocol("no reply".to_owned())),
    }
}

/// Commands on their way. Dropped, they may still be carried out.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    handle: &'a Handle,
    step: Step<'a>,
    /// Its place among those that wait for room, if it has found none.
    place: Option<u64>,
}

#[derive(Debug)]
enum Step<'a> {
    New(Vec1<Payload>),
    Sent(Ticket<'a>),
    Done,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        // Perhaps it was told of room that it will not use.
        if let Step::New(payloads) = &self.step
            && self.place.is_some()
            && let Some(line) = self.handle.line(payloads.as_slice().iter().find_map(Payload::slot))
        {
            line.on_room_unused();
        }
    }
}

impl Pending<'_> {
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec1<Value>>> {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::New(payloads) => {
                let sender = Sender { waker: context.waker(), place: &mut self.place };
                match self.handle.try_send(payloads, Some(sender)) {
                    Ok(ticket) => self.step = Step::Sent(ticket),
                    Err(Refusal::Full(payloads)) => self.step = Step::New(payloads),
                    Err(Refusal::Closed(error)) => return Poll::Ready(Err(error)),
                }
            }
            Step::Sent(mut ticket) => match ticket.poll(context) {
                Poll::Ready(result) => return Poll::Ready(result),
                Poll::Pending => self.step = Step::Sent(ticket),
            },
            Step::Done => panic!("a command's future was polled after its end"),
        }
        Poll::Pending
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static UNPARK: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// Waits for a future in this thread, asleep.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    UNPARK.with(|waker| {
        let mut context = Context::from_waker(waker);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(value) => return value,
                // Somebody else's unparking is only a look too many.
                Poll::Pending => thread::park(),
            }
        }
    })
}

//! The commands that a connection owes replies for, in order: no I/O here, so that every loss can be tested.
//!
//! Invariants:
//! - replies come in the order of `entries`; the oldest entry is the one that the next reply belongs to;
//! - an entry whose caller was told of a timeout keeps its place until its reply has come or the connection is lost;
//! - bytes `0..sent` of the connection have left. Of an entry that starts at `sent` or later, the server knows nothing:
//!   sending it again elsewhere is always safe. Of all others it may know everything.
//! - permits are returned once for each request: with its last reply, or when it's dropped.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Buf as _, BytesMut};
use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};

use crate::{Error, Result, Value, command::Payload};

/// Whoever waits for the replies.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    One(oneshot::Sender<Result<Value>>),
    /// For a pipeline: all its replies at once.
    Many {
        replies: Vec<Value>,
        to: oneshot::Sender<Result<Vec<Value>>>,
    },
}

impl ReplyTo {
    fn fail(self, error: Error) {
        // Who gave up waiting does not listen.
        match self {
            Self::One(to) => drop(to.send(Err(error))),
            Self::Many { to, .. } => drop(to.send(Err(error))),
        }
    }
}

/// One or more commands whose replies go to one place.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) payloads: Vec1<Payload>,
    pub(crate) reply_to: ReplyTo,
    pub(crate) deadline: Instant,
    /// Times that it may be sent again although the server may know it.
    pub(crate) retries: u32,
    pub(crate) permits: u32,
}

/// Nearly always one: no allocation then.
#[derive(Debug)]
pub(crate) enum Vec1<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> Vec1<T> {
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Debug)]
struct Entry {
    payloads: Vec1<Payload>,
    /// `None` once the caller was told of a timeout.
    reply_to: Option<ReplyTo>,
    deadline: Instant,
    retries: u32,
    permits: u32,
    /// Where its bytes start, counted from the start of the connection.
    start: u64,
    replies_due: usize,
}

#[derive(Debug)]
pub(crate) struct InFlight {
    entries: VecDeque<Entry>,
    /// Encoded, and not yet sent.
    out: BytesMut,
    sent: u64,
    permits: Arc<Semaphore>,
}

impl InFlight {
    pub(crate) fn new(permits: Arc<Semaphore>) -> Self {
        Self { entries: VecDeque::new(), out: BytesMut::new(), sent: 0, permits }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether so many replies are due, or more.
    pub(crate) fn awaits(&self, replies: usize) -> bool {
        let mut due = 0;
        self.entries.iter().any(|entry| {
            due += entry.replies_due;
            due >= replies
        })
    }

    pub(crate) fn push(&mut self, request: Request) {
        let Request { payloads, reply_to, deadline, retries, permits } = request;
        let start = self.sent + self.out.len() as u64;
        let replies_due = payloads.as_slice().len();
        for payload in payloads.as_slice() {
            payload.write(&mut self.out);
        }
        let reply_to = Some(reply_to);
        self.entries.push_back(Entry { payloads, reply_to, deadline, retries, permits, start, replies_due });
    }

    /// What is to be sent.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.out
    }

    pub(crate) fn on_sent(&mut self, bytes: usize) {
        self.out.advance(bytes);
        self.sent += bytes as u64;
    }

    /// Hands a reply to its caller.
    pub(crate) fn on_reply(&mut self, value: Value) -> Result<()> {
        let sent = self.sent;
        let Some(entry) = self.entries.front_mut().filter(|entry| entry.start < sent) else {
            return Err(Error::Protocol("a reply that no command asked for".to_owned()));
        };
        entry.replies_due -= 1;
        // Some of it was answered, so all of it may have been carried out.
        entry.retries = 0;
        if let Some(ReplyTo::Many { replies, .. }) = &mut entry.reply_to
            && entry.replies_due > 0
        {
            replies.push(value);
            return Ok(());
        }
        if entry.replies_due > 0 {
            return Ok(());
        }
        let Some(entry) = self.entries.pop_front() else { return Ok(()) };
        self.permits.add_permits(entry.permits as usize);
        match entry.reply_to {
            Some(ReplyTo::One(to)) => drop(to.send(Ok(value))),
            Some(ReplyTo::Many { mut replies, to }) => {
                replies.push(value);
                drop(to.send(Ok(replies)));
            }
            None => {}
        }
        Ok(())
    }

    /// When the next caller must be told that it took too long.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.entries.iter().find(|entry| entry.reply_to.is_some()).map(|entry| entry.deadline)
    }

    /// Tells every caller whose time is over. Their places stay: what has not left yet will, and the replies may still come.
    pub(crate) fn expire(&mut self, now: Instant) {
        for entry in self.entries.iter_mut().filter(|entry| entry.deadline <= now) {
            if let Some(reply_to) = entry.reply_to.take() {
                reply_to.fail(Error::Timeout { maybe_applied: true });
            }
        }
    }

    /// The same between two connections: what is over then is never sent.
    pub(crate) fn expire_unconnected(&mut self, now: Instant) {
        self.resend(
            |entry| if entry.deadline <= now { Err(Error::Timeout { maybe_applied: false }) } else { Ok(0) },
        );
    }

    /// The connection is gone: keeps what may be sent on the next one, fails the rest. Positions start anew.
    pub(crate) fn on_lost(&mut self, error: &Error) {
        let sent = self.sent;
        self.resend(|entry| match (entry.start < sent, entry.retries) {
            (false, _) => Ok(0),
            (true, 0) => Err(error.with_maybe_applied(true)),
            (true, _) => Ok(1),
        });
    }

    /// There's no connection, and there won't be one: fails everything.
    pub(crate) fn fail_all(&mut self, error: &Error) {
        self.resend(|_| Err(error.with_maybe_applied(false)));
    }

    /// Starts anew with those entries of which `judge` says how many retries that costs, and fails the others.
    fn resend(&mut self, judge: impl Fn(&Entry) -> Result<u32>) {
        self.sent = 0;
        self.out = BytesMut::new();
        for mut entry in std::mem::take(&mut self.entries) {
            let judged = judge(&entry);
            match (entry.reply_to.take(), judged) {
                (Some(reply_to), Ok(cost)) => {
                    let Entry { payloads, deadline, retries, permits, .. } = entry;
                    self.push(Request { payloads, reply_to, deadline, retries: retries - cost, permits });
                }
                (reply_to, judged) => {
                    self.permits.add_permits(entry.permits as usize);
                    if let (Some(reply_to), Err(error)) = (reply_to, judged) {
                        reply_to.fail(error);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Command;

    type Reply = oneshot::Receiver<Result<Value>>;

    const PERMITS: usize = 10;

    fn fixture() -> (InFlight, Arc<Semaphore>) {
        let permits = Arc::new(Semaphore::new(PERMITS));
        (InFlight::new(Arc::clone(&permits)), permits)
    }

    fn take(permits: &Semaphore) -> u32 {
        permits.try_acquire().expect("a permit is free").forget();
        1
    }

    fn push(in_flight: &mut InFlight, permits: &Semaphore, name: &str, retries: u32) -> Reply {
        let (to, reply) = oneshot::channel();
        in_flight.push(Request {
            payloads: Vec1::One(Command::new(name).payload()),
            reply_to: ReplyTo::One(to),
            deadline: Instant::now() + Duration::from_mins(1),
            retries,
            permits: take(permits),
        });
        reply
    }

    fn lost() -> Error {
        Error::closed("lost")
    }

    #[test]
    fn replies_go_to_their_callers_in_order_and_free_their_places() {
        let (mut in_flight, permits) = fixture();
        let mut first = push(&mut in_flight, &permits, "A", 0);
        let mut second = push(&mut in_flight, &permits, "B", 0);
        assert_eq!(permits.available_permits(), PERMITS - 2);
        in_flight.on_sent(in_flight.unsent().len());
        in_flight.on_reply(Value::Integer(1)).unwrap();
        assert!(second.try_recv().is_err());
        in_flight.on_reply(Value::Integer(2)).unwrap();
        assert_eq!(first.try_recv(), Ok(Ok(Value::Integer(1))));
        assert_eq!(second.try_recv(), Ok(Ok(Value::Integer(2))));
        assert_eq!(permits.available_permits(), PERMITS);
        assert!(matches!(in_flight.on_reply(Value::Null), Err(Error::Protocol(_))));
    }

    #[test]
    fn a_reply_to_what_was_not_sent_is_no_reply() {
        let (mut in_flight, permits) = fixture();
        let _reply = push(&mut in_flight, &permits, "A", 0);
        assert!(matches!(in_flight.on_reply(Value::Null), Err(Error::Protocol(_))));
    }

    #[test]
    fn after_a_loss_only_what_cannot_have_been_applied_is_sent_again() {
        let (mut in_flight, permits) = fixture();
        let mut write = push(&mut in_flight, &permits, "WRITE", 0);
        let mut read = push(&mut in_flight, &permits, "READ", 1);
        let written = in_flight.unsent().len();
        let mut half = push(&mut in_flight, &permits, "HALF", 0);
        let mut unsent = push(&mut in_flight, &permits, "UNSENT", 0);
        in_flight.on_sent(written + 1);
        in_flight.on_lost(&lost());
        for reply in [&mut write, &mut half] {
            assert!(reply.try_recv().unwrap().unwrap_err().maybe_applied());
        }
        assert_eq!(in_flight.unsent(), b"*1\r\n$4\r\nREAD\r\n*1\r\n$6\r\nUNSENT\r\n");
        assert_eq!(permits.available_permits(), PERMITS - 2);
        // The read is tried once more, and no more.
        in_flight.on_sent(5);
        in_flight.on_lost(&lost());
        assert!(read.try_recv().unwrap().is_err());
        assert_eq!(in_flight.unsent(), b"*1\r\n$6\r\nUNSENT\r\n");
        in_flight.fail_all(&lost());
        assert!(!unsent.try_recv().unwrap().unwrap_err().maybe_applied());
        assert_eq!(permits.available_permits(), PERMITS);
        assert!(in_flight.is_empty() && in_flight.unsent().is_empty());
    }

    #[test]
    fn a_late_reply_does_not_become_anothers() {
        let (mut in_flight, permits) = fixture();
        let mut late = push(&mut in_flight, &permits, "SLOW", 3);
        in_flight.on_sent(in_flight.unsent().len());
        in_flight.expire(Instant::now() + Duration::from_mins(2));
        assert_eq!(late.try_recv(), Ok(Err(Error::Timeout { maybe_applied: true })));
        assert_eq!(in_flight.next_deadline(), None);
        let mut next = push(&mut in_flight, &permits, "NEXT", 0);
        in_flight.on_sent(in_flight.unsent().len());
        in_flight.on_reply(Value::Integer(1)).unwrap();
        assert!(next.try_recv().is_err());
        in_flight.on_reply(Value::Integer(2)).unwrap();
        assert_eq!(next.try_recv(), Ok(Ok(Value::Integer(2))));
        assert_eq!(permits.available_permits(), PERMITS);
    }

    #[test]
    fn what_timed_out_is_not_sent_again() {
        let (mut in_flight, permits) = fixture();
        let _late = push(&mut in_flight, &permits, "READ", 3);
        in_flight.on_sent(in_flight.unsent().len());
        in_flight.expire(Instant::now() + Duration::from_mins(2));
        in_flight.on_lost(&lost());
        assert!(in_flight.is_empty() && in_flight.unsent().is_empty());
        assert_eq!(permits.available_permits(), PERMITS);
    }

    #[test]
    fn a_half_answered_pipeline_is_not_sent_again() {
        let (mut in_flight, permits) = fixture();
        let (to, mut reply) = oneshot::channel();
        in_flight.push(Request {
            payloads: Vec1::Many(vec![Command::new("A").payload(), Command::new("B").payload()]),
            reply_to: ReplyTo::Many { replies: Vec::new(), to },
            deadline: Instant::now() + Duration::from_mins(1),
            retries: 2,
            permits: take(&permits),
        });
        in_flight.on_sent(in_flight.unsent().len());
        in_flight.on_reply(Value::Integer(1)).unwrap();
        in_flight.on_lost(&lost());
        assert!(reply.try_recv().unwrap().unwrap_err().maybe_applied());
        assert!(in_flight.is_empty());
        assert_eq!(permits.available_permits(), PERMITS);
    }
}

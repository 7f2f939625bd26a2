//! A line to one shard as callers share it: who waits for which reply.
//!
//! Commands of any number of tasks and threads go into the line's queue in the order in which they come; replies come back in that order,
//! so each has its place (`Slot`) in a list, and needs no number on its way. Whoever looks for his own reply takes all that have come,
//! and wakes those to whom the others belong; when nobody looks, the shard calls [`Listener::on_news`], which does the same.
//!
//! The lock is held for that only, never while waiting, and the shard does not wait for it either ([`Noted`]).
//!
//! A future that is dropped leaves its slot behind until its reply has come; one that is forgotten leaves it for good: one place, and
//! nothing else of the line.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use annulus::{
    runtime::line::{Bell, Entrance, Listener, ProgramEnd},
    shard::lines::{Inbound, LineCommand},
};
use annulus_storage::DatabaseId;
use slab::Slab;

use super::noted::{HearsNews, Noted, Wakers};
use crate::{Error, Result, Value, command::Payload, in_flight::Vec1, read::Reader};

/// Messages that a line's queues hold each way.
const MESSAGES_MAX: usize = 1024;

pub(crate) struct Line {
    entrance: Arc<Entrance<Inbound>>,
    bell: Arc<Bell>,
    database: DatabaseId,
    listener: Weak<Line>,
    inner: Noted<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Opened with the first command, and again after it was closed.
    end: Option<ProgramEnd<Inbound>>,
    slots: Slab<Slot>,
    /// The slots whose replies are due, in order.
    order: VecDeque<usize>,
    /// How many of them have somebody to be woken.
    sleepers: usize,
    /// Who waits for room in the queue, and the number of the first of them.
    room: VecDeque<Waker>,
    room_first: u64,
}

struct Slot {
    waker: Option<Waker>,
    state: State,
}

enum State {
    /// The replies so far, and how many are still due.
    Due(Vec1<Value>, usize),
    Done(Vec1<Value>),
    Failed(Error),
    /// Nobody wants them any more.
    GivenUp(usize),
}

/// Where a command's reply will be. Dropped, it gives up the reply, not the command.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    line: &'a Line,
    slot: usize,
    taken: bool,
}

/// The task that sends, and its place among those that wait for room, as soon as it has one.
pub(crate) struct Sender<'a> {
    pub(crate) waker: &'a Waker,
    pub(crate) place: &'a mut Option<u64>,
}

/// The commands that found no room, or why they never will.
pub(crate) enum Refusal {
    Full(Vec1<Payload>),
    Closed(Error),
}

impl std::fmt::Debug for Line {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Line").field("database", &self.database).finish_non_exhaustive()
    }
}

/// What a command has come to that was on its way when its line was closed.
fn lost() -> Error {
    Error::Connection {
        kind: io::ErrorKind::ConnectionAborted,
        text: "the store has closed the line".to_owned(),
        maybe_applied: true,
    }
}

/// The store no longer serves.
pub(crate) fn closed() -> Error {
    Error::Connection {
        kind: io::ErrorKind::NotConnected,
        text: "the store is closed".to_owned(),
        maybe_applied: false,
    }
}

fn message(payload: Payload, key_slot: Option<u16>) -> LineCommand {
    let slot = key_slot.filter(|_| payload.takes_slot_at_1());
    LineCommand::new(payload.into_words(), slot)
}

impl Line {
    pub(crate) fn new(entrance: &Arc<Entrance<Inbound>>, database: DatabaseId) -> Arc<Self> {
        Arc::new_cyclic(|listener| Self {
            entrance: Arc::clone(entrance),
            bell: Arc::clone(entrance.bell()),
            database,
            listener: listener.clone(),
            inner: Noted::default(),
        })
    }

    /// Somebody who was told of room does not want it any more: others may.
    pub(crate) fn on_room_unused(&self) {
        let mut inner = self.inner.lock();
        let mut wakers = Wakers::new();
        inner.wake_all_for_room(&mut wakers);
        self.inner.unlock(inner, wakers);
    }

    /// Queues commands, or gives them back if there's no room now. `slot`: of the first key.
    pub(crate) fn try_send(
        &self,
        payloads: Vec1<Payload>,
        slot: Option<u16>,
        sender: Option<Sender<'_>>,
    ) -> Result<Ticket<'_>, Refusal> {
        let mut inner = self.inner.lock();
        let mut wakers = Wakers::new();
        let result = self.send_locked(&mut inner, payloads, slot, sender, &mut wakers);
        self.inner.unlock(inner, wakers);
        if result.is_ok() {
            self.bell.ring();
        }
        let slot = result?;
        Ok(Ticket { line: self, slot, taken: false })
    }

    fn send_locked(
        &self,
        inner: &mut Inner,
        payloads: Vec1<Payload>,
        slot: Option<u16>,
        sender: Option<Sender<'_>>,
        wakers: &mut Wakers,
    ) -> Result<usize, Refusal> {
        if inner.end.as_ref().is_none_or(ProgramEnd::is_closed) {
            self.open(inner, wakers).map_err(Refusal::Closed)?;
        }
        while inner.order.len() >= MESSAGES_MAX {
            inner.take_replies(wakers);
            if inner.order.len() >= MESSAGES_MAX && inner.end.as_mut().is_some_and(|end| !end.await_news()) {
                if let Some(mut sender) = sender {
                    inner.wait_for_room(&mut sender);
                }
                return Err(Refusal::Full(payloads));
            }
        }
        let Some(end) = inner.end.as_mut() else { return Err(Refusal::Closed(closed())) };
        let count = payloads.as_slice().len();
        let inbound = match payloads {
            Vec1::One(payload) => Inbound::Command(message(payload, slot)),
            Vec1::Many(payloads) => Inbound::Commands(
                payloads
                    .into_iter()
                    .map(|payload| {
                        let slot = payload.slot();
                        message(payload, slot)
                    })
                    .collect(),
            ),
        };
        // There is room: no more messages are unanswered than the queue holds.
        if end.try_send(inbound).is_err() {
            return Err(Refusal::Closed(lost()));
        }
        let waker = sender.map(|sender| sender.waker);
        inner.sleepers += usize::from(waker.is_some());
        let replies = if count == 1 { Vec1::Many(Vec::new()) } else { Vec1::Many(Vec::with_capacity(count)) };
        let key = inner.slots.insert(Slot { waker: waker.cloned(), state: State::Due(replies, count) });
        inner.order.push_back(key);
        if waker.is_some() && end.await_news() {
            inner.take_replies(wakers);
        }
        Ok(key)
    }

    fn open(&self, inner: &mut Inner, wakers: &mut Wakers) -> Result<()> {
        inner.take_replies(wakers);
        inner.end = None;
        let listener: Weak<dyn Listener> = self.listener.clone();
        inner.end = Some(self.entrance.open(self.database, MESSAGES_MAX, listener).ok_or_else(closed)?);
        Ok(())
    }
}

impl Listener for Line {
    fn on_news(&self) {
        self.inner.tell();
    }
}

impl HearsNews for Inner {
    /// The listener was called, and will not be again until somebody says that he waits. Those who still do said so before.
    fn on_news(&mut self, wakers: &mut Wakers) {
        loop {
            self.take_replies(wakers);
            let anybody = self.sleepers > 0 || !self.room.is_empty();
            if !anybody || !self.end.as_mut().is_some_and(ProgramEnd::await_news) {
                return;
            }
        }
    }
}

impl Inner {
    /// Takes all replies that have come, and lists whom to wake.
    fn take_replies(&mut self, wakers: &mut Wakers) {
        let Some(end) = self.end.as_mut() else { return };
        let (slots, order) = (&mut self.slots, &mut self.order);
        let known = wakers.len();
        let mut broken = None;
        // First the word, then the queue: what was sent before the line was closed is still taken.
        let closed = end.is_closed();
        end.receive_all(|bytes| {
            let mut reader = Reader::new(bytes);
            loop {
                match reader.next() {
                    // What nobody has asked for: CLIENT TRACKING is refused on a shared line, so there is none.
                    Ok(Some(Value::Push(_))) => {}
                    Ok(Some(value)) => on_reply(slots, order, value, wakers),
                    Ok(None) => break,
                    Err(error) => {
                        broken = Some(error);
                        break;
                    }
                }
            }
        });
        let room = MESSAGES_MAX.saturating_sub(order.len());
        self.sleepers -= wakers.len() - known;
        self.wake_for_room(room, wakers);
        if closed || broken.is_some() {
            self.end = None;
            self.fail_all(&broken.unwrap_or_else(lost), wakers);
        }
    }

    fn fail_all(&mut self, error: &Error, wakers: &mut Wakers) {
        for key in self.order.drain(..) {
            if matches!(self.slots[key].state, State::GivenUp(_)) {
                self.slots.remove(key);
                continue;
            }
            let slot = &mut self.slots[key];
            slot.state = State::Failed(error.clone());
            wakers.extend(slot.waker.take());
        }
        self.sleepers = 0;
        self.wake_all_for_room(wakers);
    }

    /// A slot's reply is waited for by this task.
    fn sleep_on(&mut self, slot: usize, by: &Waker) {
        match &mut self.slots[slot].waker {
            Some(waker) if waker.will_wake(by) => {}
            waker => {
                self.sleepers += usize::from(waker.is_none());
                *waker = Some(by.clone());
            }
        }
    }

    fn wait_for_room(&mut self, sender: &mut Sender<'_>) {
        let waker = sender.waker.clone();
        let index = sender.place.and_then(|place| place.checked_sub(self.room_first));
        // Who looks again without having been told keeps his place.
        if let Some(waits) = index.and_then(|index| self.room.get_mut(index as usize)) {
            *waits = waker;
            return;
        }
        *sender.place = Some(self.room_first + self.room.len() as u64);
        self.room.push_back(waker);
    }

    fn wake_for_room(&mut self, count: usize, wakers: &mut Wakers) {
        let count = count.min(self.room.len());
        self.room_first += count as u64;
        wakers.extend(self.room.drain(..count));
    }

    fn wake_all_for_room(&mut self, wakers: &mut Wakers) {
        self.wake_for_room(usize::MAX, wakers);
    }
}

/// A reply belongs to the oldest slot.
#[inline]
fn on_reply(slots: &mut Slab<Slot>, order: &mut VecDeque<usize>, value: Value, wakers: &mut Wakers) {
    // A reply that nobody waits for cannot be: one comes for each command.
    let Some(&key) = order.front() else { return };
    let slot = &mut slots[key];
    let done = match &mut slot.state {
        State::Due(replies, due) => {
            *due -= 1;
            let done = *due == 0;
            match replies {
                Vec1::Many(many) if done && many.is_empty() => *replies = Vec1::One(value),
                Vec1::Many(many) => many.push(value),
                Vec1::One(_) => {}
            }
            done
        }
        State::GivenUp(due) => {
            *due -= 1;
            if *due == 0 {
                slots.remove(key);
                order.pop_front();
            }
            return;
        }
        State::Done(_) | State::Failed(_) => true,
    };
    if done {
        order.pop_front();
        if let State::Due(replies, _) = std::mem::replace(&mut slot.state, State::GivenUp(0)) {
            slot.state = State::Done(replies);
        }
        wakers.extend(slot.waker.take());
    }
}

impl Ticket<'_> {
    /// The replies, if they are there. Otherwise the task is woken when they are.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec1<Value>>> {
        let mut inner = self.line.inner.lock();
        let mut wakers = Wakers::new();
        let mut result = self.take_now(&mut inner, &mut wakers);
        if result.is_none() {
            inner.sleep_on(self.slot, context.waker());
            if inner.end.as_mut().is_none_or(ProgramEnd::await_news) {
                inner.take_replies(&mut wakers);
                result = self.take(&mut inner);
            }
        }
        self.line.inner.unlock(inner, wakers);
        result.map_or(Poll::Pending, Poll::Ready)
    }

    /// The replies, if they are there; nobody is woken otherwise.
    pub(crate) fn try_take(&mut self) -> Option<Result<Vec1<Value>>> {
        let mut inner = self.line.inner.lock();
        let mut wakers = Wakers::new();
        let result = self.take_now(&mut inner, &mut wakers);
        self.line.inner.unlock(inner, wakers);
        result
    }

    /// What is there already, or among what has come.
    fn take_now(&mut self, inner: &mut Inner, wakers: &mut Wakers) -> Option<Result<Vec1<Value>>> {
        self.take(inner).or_else(|| {
            inner.take_replies(wakers);
            self.take(inner)
        })
    }

    fn take(&mut self, inner: &mut Inner) -> Option<Result<Vec1<Value>>> {
        if !matches!(inner.slots.get(self.slot)?.state, State::Done(_) | State::Failed(_)) {
            return None;
        }
        self.taken = true;
        match inner.slots.remove(self.slot).state {
            State::Done(replies) => Some(Ok(replies)),
            State::Failed(error) => Some(Err(error)),
            State::Due(..) | State::GivenUp(_) => None,
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut inner = self.line.inner.lock();
        let slot = &mut inner.slots[self.slot];
        let slept = slot.waker.take().is_some();
        inner.sleepers -= usize::from(slept);
        let slot = &mut inner.slots[self.slot];
        if let State::Due(_, due) = slot.state {
            slot.state = State::GivenUp(due);
        } else {
            inner.slots.remove(self.slot);
        }
        self.line.inner.unlock(inner, Wakers::new());
    }
}

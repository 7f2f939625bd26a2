//! The mesh as a shard uses it: batches out, batches in.
//!
//! Every turn builds at most one request batch and one reply batch a peer (large ones go out early). A message that
//! its queue refuses waits in an outbox, in order. Replies are bounded by the requests that caused them; requests are bounded by
//! holding the connections as soon as an outbox has more than a few messages. So no shard ever waits for
//! room: each goes on emptying its own queues, and a circle of full queues dissolves.

use std::collections::VecDeque;

use annulus_storage::coverage::{Branch, reached};
use annulus_storage::{DatabaseId, Key, Lsn, Prefetched, ShardId};
use smallvec::SmallVec;

use super::Core;
use super::batch::{Message, ReplyBatch, Request, RequestBatch, Target, Work};
use super::limits::{BATCH_BYTES, NOTICES_WAITING_BYTES_MAX, OUTBOX_MESSAGES_MAX, PIPELINE_COMMANDS};
use super::pubsub::notices::{Notice, NoticeBatch};
use super::transactions::locks::Age;
use super::transactions::participant::Waiter;
use super::transactions::{Part, Signal};
use crate::admin::info::MeshCounters;
use crate::runtime::mesh::{MeshEnds, Receiver, Sender};
use crate::runtime::peers::Peers;

/// One direction to one peer.
#[derive(Debug, Default)]
struct Link {
    sender: Option<Sender<Message>>,
    requests: Option<Box<RequestBatch>>,
    /// For the transactions that both have a part in; they leave behind the requests.
    signals: Vec<Signal>,
    /// Replies that depend on nothing that is not durable.
    replies: Option<Box<ReplyBatch>>,
    /// Replies of this turn that do, and the highest of their gates.
    gated: Option<(Lsn, Box<ReplyBatch>)>,
    /// What the peer is told unasked, behind the replies.
    notices: Option<Box<NoticeBatch>>,
    /// Bytes of notices in the outbox.
    notices_waiting_bytes: usize,
    /// Notices were dropped, and the peer does not know yet.
    notices_missed: bool,
    outbox: VecDeque<Message>,
    /// The outbox is over its bound.
    over: bool,
    sent: bool,
}

/// All of a shard's ends of the mesh.
#[derive(Debug)]
pub struct Links {
    peers: Vec<Link>,
    receivers: Vec<Option<Receiver<Message>>>,
    /// Links with an outbox over its bound.
    congested: usize,
    pub(super) counters: MeshCounters,
}

impl Links {
    pub(super) fn new(ends: MeshEnds<Message>) -> Self {
        let out = ends.senders.into_iter().map(|sender| Link { sender, ..Link::default() }).collect();
        Links { peers: out, receivers: ends.receivers, congested: 0, counters: MeshCounters::default() }
    }

    /// Whether some peer is so far behind that no more requests should be made.
    pub fn congested(&self) -> bool {
        self.congested > 0
    }

    /// Adds a command to the batch for a shard.
    pub fn request<'a>(
        &mut self,
        shard: ShardId,
        request: Request,
        args: impl IntoIterator<Item = &'a [u8]>,
    ) {
        let link = &mut self.peers[shard.index()];
        let batch = link.requests.get_or_insert_default();
        batch.push(request, args);
        self.counters.commands += 1;
        if batch.bytes() >= BATCH_BYTES
            && let Some(batch) = link.requests.take()
        {
            self.send(shard, Message::Requests(batch));
        }
    }

    /// Tells a shard something unasked, with the end of the turn.
    pub(super) fn notice(&mut self, shard: ShardId, notice: Notice, args: &[&[u8]]) {
        let link = &mut self.peers[shard.index()];
        if link.notices_missed && notice.may_be_missed() {
            return;
        }
        let batch = link.notices.get_or_insert_default();
        batch.push(notice, args);
        if batch.bytes() + link.notices_waiting_bytes > NOTICES_WAITING_BYTES_MAX {
            batch.miss();
            link.notices_missed = true;
        } else if batch.bytes() >= BATCH_BYTES {
            self.send_notices(shard);
        }
    }

    fn send_notices(&mut self, shard: ShardId) {
        let link = &mut self.peers[shard.index()];
        let Some(batch) = link.notices.take() else { return };
        // Nothing that is told may overtake a reply that was made before it.
        let replies = link.replies.take();
        link.notices_waiting_bytes += batch.bytes();
        if let Some(replies) = replies {
            self.send(shard, Message::Replies(replies));
        }
        self.send(shard, Message::Notices(batch));
    }

    /// Adds a part of a transaction to the batch for a shard.
    pub(super) fn part(&mut self, shard: ShardId, part: Box<Part>) {
        let link = &mut self.peers[shard.index()];
        link.requests.get_or_insert_default().push_part(part);
        self.counters.commands += 1;
    }

    /// Adds a signal for a shard.
    pub(super) fn signal(&mut self, shard: ShardId, signal: Signal) {
        self.peers[shard.index()].signals.push(signal);
    }

    /// Queues a message, in order behind those that wait already.
    pub fn send(&mut self, shard: ShardId, message: Message) {
        let link = &mut self.peers[shard.index()];
        link.outbox.push_back(message);
        self.counters.batches += 1;
        self.push_out(shard);
    }

    fn push_out(&mut self, shard: ShardId) {
        let link = &mut self.peers[shard.index()];
        let Some(sender) = link.sender.as_mut() else { return };
        while let Some(message) = link.outbox.pop_front() {
            let notice_bytes = if let Message::Notices(batch) = &message { batch.bytes() } else { 0 };
            match sender.try_send(message) {
                Ok(()) => {
                    link.sent = true;
                    link.notices_waiting_bytes -= notice_bytes;
                }
                Err(message) => {
                    self.counters.stalls += 1;
                    reached(Branch::QueueFull);
                    link.outbox.push_front(message);
                    // A peer with a full queue may sleep only until it is told of it.
                    link.sent = true;
                    break;
                }
            }
        }
        let over = link.outbox.len() > OUTBOX_MESSAGES_MAX;
        if over && !link.over {
            reached(Branch::OutboxFull);
        }
        self.congested = self.congested + usize::from(over) - usize::from(link.over);
        link.over = over;
    }

    /// Sends what this turn has gathered, and lists the peers that have to be woken.
    pub fn publish(&mut self, peers: &Peers, gates: &mut super::Gates, wake: &mut Vec<ShardId>) {
        for index in 0..self.peers.len() {
            let shard = ShardId(index as u16);
            let link = &mut self.peers[index];
            let (requests, replies) = (link.requests.take(), link.replies.take());
            if let Some((gate, batch)) = link.gated.take() {
                reached(Branch::BatchGated);
                gates.hold(gate, shard, batch);
            }
            let had_outbox = !link.outbox.is_empty();
            if let Some(batch) = replies {
                self.send(shard, Message::Replies(batch));
            }
            if let Some(batch) = requests {
                self.send(shard, Message::Requests(batch));
            }
            self.publish_notices(shard);
            let signals = std::mem::take(&mut self.peers[index].signals);
            if !signals.is_empty() {
                self.send(shard, Message::Signals(signals));
            }
            if had_outbox {
                self.push_out(shard);
            }
            if std::mem::take(&mut self.peers[index].sent) && peers.take_sleeping(shard) {
                self.counters.wakes += 1;
                wake.push(shard);
            }
        }
    }

    /// Moves the replies of this turn that wait for the log to where the others wait.
    pub(super) fn hold_gated(&mut self, gates: &mut super::Gates) {
        for (index, link) in self.peers.iter_mut().enumerate() {
            if let Some((gate, batch)) = link.gated.take() {
                gates.hold(gate, ShardId(index as u16), batch);
            }
        }
    }

    fn publish_notices(&mut self, shard: ShardId) {
        let link = &mut self.peers[shard.index()];
        if link.notices_missed && link.notices_waiting_bytes == 0 {
            link.notices_missed = false;
            link.notices.get_or_insert_default().push(Notice::Missed, &[]);
        }
        self.send_notices(shard);
    }

    /// Whether any message waits for room.
    pub fn has_outbox(&self) -> bool {
        self.peers.iter().any(|link| !link.outbox.is_empty())
    }

    /// Whether any peer has sent something that has not been taken.
    pub fn has_inbound(&mut self) -> bool {
        self.receivers.iter_mut().flatten().any(|receiver| !receiver.is_empty())
    }

    fn receive(&mut self, from: usize) -> Option<Message> {
        self.receivers[from].as_mut()?.try_receive()
    }
}

impl Core {
    /// Takes in what the peers have sent. Returns whether there was anything.
    pub fn drain_mesh(&mut self) -> bool {
        let mut any = false;
        for from in 0..usize::from(self.shards) {
            // As many as the queue can hold: what comes meanwhile is for the next turn.
            for _ in 0..crate::runtime::mesh::QUEUE_MESSAGES_MAX {
                let Some(message) = self.links.receive(from) else { break };
                any = true;
                self.on_message(ShardId(from as u16), message);
            }
        }
        any
    }

    fn on_message(&mut self, from: ShardId, message: Message) {
        // What a client was told before it sent this holds here too.
        self.refresh_settings();
        self.refresh_tracking();
        match message {
            Message::Requests(mut batch) => self.run_batch(from, &mut batch),
            Message::Signals(signals) => {
                let mut has_decided = false;
                let mut signals = signals.into_iter();
                for index in 0.. {
                    if index % PIPELINE_COMMANDS == 0 {
                        self.prefetch_own_parts(signals.as_slice());
                    }
                    let Some(signal) = signals.next() else { break };
                    has_decided |= matches!(signal, Signal::Durable(_));
                    self.on_signal(from, signal);
                    self.serve_ready();
                }
                // Once for all of them.
                if has_decided {
                    self.after_log_advanced();
                }
            }
            Message::Replies(batch) => {
                for (target, reply) in batch.iter() {
                    self.deliver(target, reply, Lsn::ZERO);
                }
            }
            Message::Lost(batch) => {
                reached(Branch::BatchLost);
                for (target, _) in batch.iter() {
                    self.lose(target);
                }
            }
            Message::Notices(batch) => self.on_notices(from, &batch),
            Message::Connection(socket) => self.intents.adopt.push(*socket),
            Message::Save { waiting: Some((operation, part)) } => self.on_save(from, operation, part),
            Message::Save { waiting: None } => self.want_checkpoint(),
            Message::Scrub => self.want_scrub(),
            Message::Saved { operation, part, is_saved } => self.on_saved(operation, part, is_saved),
            Message::Fence => self.on_fence(from),
            Message::Fenced { is_claimed } => self.on_fenced(is_claimed),
            Message::CountersWanted { operation, part } => {
                let counters = Box::new(self.snapshot());
                self.links.send(from, Message::Counters { operation, part, counters });
            }
            Message::Counters { operation, part, counters } => self.on_counters(operation, part, counters),
        }
    }

    fn run_batch(&mut self, from: ShardId, batch: &mut RequestBatch) {
        let mut parts = batch.take_parts().into_iter();
        let mut ahead = batch.lookups();
        for (index, (request, args)) in batch.iter().enumerate() {
            if index % PIPELINE_COMMANDS == 0 && batch.len() > 1 {
                self.prefetch_lookups(&mut ahead);
            }
            match request.work {
                Work::Part => parts.next().into_iter().for_each(|part| self.take_part(part)),
                Work::Decide(id, command, keyed) => {
                    self.run_deciding(from, request, (id, command, keyed), &args);
                }
                Work::Keyed(command, _) | Work::Wait(command, ..) | Work::Script(command, _)
                    if self.must_wait(request.target.client(), command, &args) =>
                {
                    self.defer(from, request, command, &args);
                }
                _ => self.run_request(from, request, &args),
            }
            self.serve_ready();
        }
    }

    /// Fetches the table lines of parts that run now.
    fn prefetch_own_parts(&self, signals: &[Signal]) {
        let parts = signals.iter().take(PIPELINE_COMMANDS).filter_map(|signal| match signal {
            Signal::Ran { id, .. } | Signal::Run(id) => self.locks.work(Age::from(*id)),
            _ => None,
        });
        let parts = parts.filter_map(|waiter| match waiter {
            Waiter::Part(part) => Some(part),
            Waiter::Command(..) => None,
        });
        self.prefetch_lookups(&mut parts.map(|part| part.commands.lookups().next().flatten()));
    }

    /// Fetches the table lines that the next [`PIPELINE_COMMANDS`] requests need.
    fn prefetch_lookups<'a>(&self, lookups: &mut impl Iterator<Item = Option<(DatabaseId, Key<'a>)>>) {
        let keys = lookups.take(PIPELINE_COMMANDS).flatten();
        let hints = keys.filter_map(|(database, key)| self.store.prefetch(database, key));
        let hints: SmallVec<[_; PIPELINE_COMMANDS]> = hints.collect();
        hints.into_iter().for_each(Prefetched::prefetch_entry);
    }

    /// Runs a request of another shard, or of this one.
    pub(super) fn run_request(&mut self, from: ShardId, request: &Request, args: &[&[u8]]) {
        match request.work {
            Work::Script(command, which) => {
                // It writes its reply itself, perhaps much later.
                self.run_script(from, request, (command, which), args);
                return;
            }
            Work::Wait(command, waiting, deadline_ns) => {
                self.run_or_wait(from, request, (command, waiting, deadline_ns), args);
                return;
            }
            // It may itself have something to reply to somebody.
            Work::Core(work) if request.target == Target::Nobody => {
                work(self, args, &mut Vec::new());
                return;
            }
            _ => {}
        }
        self.reply_to(from, request.target, |core, out| match request.work {
            Work::Keyed(command, keyed) => core.execute(command, keyed, args, request.call, out),
            Work::Core(work) => {
                work(core, args, out);
                Lsn::ZERO
            }
            Work::Round(id, command, keyed) => {
                core.run_round(id, (command, keyed), args, request.call, out);
                Lsn::ZERO
            }
            Work::Call { .. } => {
                core.run_call(request, args, out);
                Lsn::ZERO
            }
            Work::Part | Work::Decide(..) | Work::Script(..) | Work::Wait(..) => {
                unreachable!("{:?} is no request by itself", request.work)
            }
        });
    }

    /// Sends what `write` writes to where it is wanted, when the gate that it returns is durable.
    pub(super) fn reply_to(
        &mut self,
        from: ShardId,
        target: Target,
        write: impl FnOnce(&mut Core, &mut Vec<u8>) -> Lsn,
    ) {
        if from == self.id {
            let mut reply = self.take_scratch();
            let gate = write(self, &mut reply);
            self.deliver(target, &reply, gate);
            self.keep_scratch(reply);
            return;
        }
        let mut replies = self.links.peers[from.index()].replies.take().unwrap_or_default();
        let start = replies.data().len();
        let gate = write(self, replies.data());
        debug_assert!(self.links.peers[from.index()].replies.is_none(), "a reply within a reply");
        let durable = self.durable();
        if gate > durable && self.log_failed {
            // Nobody opens that gate any more.
            let mut lost = Box::new(ReplyBatch::default());
            replies.move_unended(start, &mut lost);
            lost.end(target);
            self.links.send(from, Message::Lost(lost));
        } else if gate > durable {
            let link = &mut self.links.peers[from.index()];
            let (highest, gated) = link.gated.get_or_insert_default();
            replies.move_unended(start, gated);
            gated.end(target);
            *highest = gate.max(*highest);
        } else {
            replies.end(target);
        }
        if !replies.is_empty() {
            self.links.peers[from.index()].replies = Some(replies);
        }
    }

    /// A reply has come for a connection's place or an operation's part. `gate`: in this shard's own log.
    pub fn deliver(&mut self, target: Target, reply: &[u8], gate: Lsn) {
        if self.log_failed && gate > self.durable() {
            self.lose(target);
            return;
        }
        match target {
            Target::Connection { socket, client, place } => {
                let durable = self.durable();
                let Some(connection) = self.connections.of_client(socket, client) else { return };
                let waits = connection.replies.fill(place, reply, gate, durable);
                if let Some(gate) = waits {
                    reached(Branch::Gated);
                    self.gates.wait(connection, gate);
                }
                self.intents.mark_dirty(&mut self.connections, socket);
            }
            Target::Operation { index, part } => self.on_part(index, part, reply, gate),
            Target::Wait { number, .. } => self.finish_block(number, reply, gate),
            Target::Nobody => {}
        }
    }

    /// A command's outcome will never be known: its client learns so by losing the connection.
    fn lose(&mut self, target: Target) {
        match target {
            Target::Wait { socket, client, number } => {
                self.lose_block(number);
                if self.connections.of_client(socket, client).is_some() {
                    self.close(socket);
                }
            }
            Target::Connection { socket, client, .. } => {
                if self.connections.of_client(socket, client).is_some() {
                    self.close(socket);
                }
            }
            Target::Nobody => {}
            Target::Operation { index, .. } => {
                reached(Branch::PartLost);
                if let Some(target) = self.lose_part(index) {
                    self.lose(target);
                }
            }
        }
    }

    /// The log's horizon has moved: what it releases leaves.
    pub fn release_gated(&mut self) {
        let durable = self.durable();
        while let Some((socket, client)) = self.gates.pop_connection(durable) {
            if let Some(connection) = self.connections.of_client(socket, client) {
                connection.replies.release(durable);
                self.intents.mark_dirty(&mut self.connections, socket);
            }
        }
        while let Some((shard, batch)) = self.gates.pop_batch(durable) {
            self.links.send(shard, Message::Replies(batch));
        }
        debug_assert!(self.store.sink().horizon() <= self.store.sink().last_lsn());
    }
}

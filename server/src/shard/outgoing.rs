//! What is told of changes, from the command that made them to those who want to know.
//!
//! - Nothing is told before what it tells is durable. What a turn's commands have to tell waits together, until the
//!   log is durable up to the turn's end: so it also stays behind every reply that was made before it on this shard, as a
//!   reader that is told to forget a value must have got that value first.
//! - In the order in which it happened.
//! - What a failed log will never make durable is never told.

use std::collections::VecDeque;

use annulus_storage::{Lsn, Touched};

use super::Core;
use super::batch::Origin;
use super::notify::Told;
use super::tracking::Invalidation;
use crate::commands::Command;

/// One thing to tell.
#[derive(Clone, Debug)]
pub(super) enum Outgoing {
    /// A keyspace notification.
    Event(Told),
    /// What to forget, for client-side caches.
    Invalidation(Invalidation),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Of this turn.
    turn: Vec<Outgoing>,
    /// Of earlier turns, with what must be durable.
    held: VecDeque<(Lsn, Vec<Outgoing>)>,
    /// Kept for its memory.
    spare: Touched,
}

impl Core {
    /// A command is done that has touched keys while somebody wants to know, or whose connection tracks what it reads.
    #[cold]
    pub(super) fn observe(&mut self, command: Option<&'static Command>, args: &[&[u8]], origin: Origin) {
        let touched = self.store.take_touched(std::mem::take(&mut self.waiting.spare));
        self.notify(command, args, &touched, origin.prepares);
        self.invalidate(&touched, origin.client);
        if let Some(command) = command {
            self.remember_reads(command, args, origin);
        }
        self.waiting.spare = touched.emptied();
    }

    /// Queues something to tell.
    pub(super) fn emit(&mut self, outgoing: Outgoing) {
        self.waiting.turn.push(outgoing);
    }

    /// How much this turn has to tell so far.
    pub(super) fn outgoing_mark(&self) -> usize {
        self.waiting.turn.len()
    }

    /// Takes out what came to be told since the mark: it's told later.
    pub(super) fn take_outgoing_since(&mut self, mark: usize) -> Vec<Outgoing> {
        self.waiting.turn.split_off(mark)
    }

    /// What these would tell of is undone. Caches are told nevertheless: who has read a key is forgotten with its first
    /// change, and would hear of no other.
    pub(super) fn undo_outgoing(&mut self, outgoing: Vec<Outgoing>) {
        for each in outgoing {
            if let Outgoing::Invalidation(_) = each {
                self.emit(each);
            }
        }
    }

    /// The turn ends: what it has to tell leaves, or waits for the log.
    pub(super) fn hold_outgoing(&mut self) {
        if self.waiting.turn.is_empty() {
            return;
        }
        let turn = std::mem::take(&mut self.waiting.turn);
        self.waiting.held.push_back((self.store.sink().last_lsn(), turn));
        self.release_outgoing();
        self.close_refused();
    }

    /// Tells what is durable.
    pub(super) fn release_outgoing(&mut self) {
        let durable = self.durable();
        while let Some((_, outgoing)) = self.waiting.held.pop_front_if(|(gate, _)| *gate <= durable) {
            for outgoing in outgoing {
                self.send_outgoing(outgoing);
            }
        }
    }

    fn send_outgoing(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Event(told) => self.tell_event(&told),
            Outgoing::Invalidation(invalidation) => self.send_invalidation(invalidation),
        }
    }

    /// The log has failed: what waits will never be durable.
    pub(super) fn drop_outgoing(&mut self) {
        self.waiting.held.clear();
    }
}

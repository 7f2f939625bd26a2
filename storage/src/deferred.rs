//! Transactions in several rounds: effects that are in memory at once, and in the log when the transaction is complete.
//!
//! A transaction of one round appends its part of the log while it runs. One of several rounds would leave its group open
//! between them, while other commands append theirs. So the effects of its rounds go into a [`DeferredGroup`], and
//! [`Store::commit_deferred`](crate::Store::commit_deferred) appends them all as one group.
//!
//! Invariants, for as long as such a group exists:
//! - nobody but the transaction looks at or changes what it has changed: the server's locks see to that;
//! - the store removes none of those keys for having expired: the log would have the removal before the value.

use crate::effect::EffectSink;
use crate::log::record::{EncodedEffect, Record, decode_body, take_record};
use crate::taint::{Touched, TouchedMap};
use crate::undo::Undo;
use crate::{DatabaseId, Effect, Entry, Key, Lsn, ShardId, TransactionId};

/// What the rounds of a transaction have done to a store so far. To be given back to it by
/// [`Store::resume_transaction`](crate::Store::resume_transaction) or
/// [`Store::commit_deferred`](crate::Store::commit_deferred); only one that has not [written](Self::wrote) may be dropped.
#[derive(Debug, Default)]
pub struct DeferredGroup {
    /// Records, without the end of the group.
    pub(crate) records: Vec<u8>,
    pub(crate) touched: Vec<Touched>,
    pub(crate) depends: Vec<TransactionId>,
    pub(crate) gate: Lsn,
    /// What the last round has met was not settled when it ended.
    pub(crate) unsettled: bool,
    /// What was there before, if it is to be undone.
    pub(crate) undo: Option<Box<Undo>>,
}

impl DeferredGroup {
    /// One that [`Store::roll_back`](crate::Store::roll_back) can undo, as long as
    /// [`is_undoable`](Self::is_undoable) says so.
    pub fn undoable() -> DeferredGroup {
        DeferredGroup { undo: Some(Box::default()), ..DeferredGroup::default() }
    }

    /// Whether everything that it has done can be undone: always if it has changed nothing, and otherwise unless it changed
    /// something too large to keep a copy of.
    pub fn is_undoable(&self) -> bool {
        self.touched.is_empty() || self.undo.as_ref().is_some_and(|undo| undo.is_complete())
    }

    /// Whether there is an effect.
    pub fn wrote(&self) -> bool {
        !self.records.is_empty()
    }

    /// What must be durable here before anybody learns what the rounds have read.
    pub fn gate(&self) -> Lsn {
        self.gate
    }

    /// Transactions that were undecided at the end of the last round, and whose effects the rounds have met.
    pub fn dependencies(&self) -> &[TransactionId] {
        &self.depends
    }

    /// Whether the shard must have a part of the transaction in its log: it has written, or see
    /// [`Store::needs_part`](crate::Store::needs_part).
    pub fn needs_part(&self) -> bool {
        self.wrote() || self.unsettled
    }

    fn push(&mut self, effect: &Effect<'_>) {
        let record = EncodedEffect::new(effect);
        let from = self.records.len();
        self.records.resize(from + record.record_bytes(), 0);
        record.write(&mut self.records[from..]);
    }

    /// Gives the effects to a sink; returns the number of the last.
    pub(crate) fn append_to(&self, sink: &mut impl EffectSink) -> Option<Lsn> {
        let mut rest = self.records.as_slice();
        let mut last = None;
        while let Ok(Some(Record::Whole { body, .. })) = take_record(&mut rest) {
            match decode_body(body) {
                Ok(effect) => last = Some(sink.append(effect)),
                Err(fault) => panic!("a deferred effect cannot be read back: {fault}"),
            }
        }
        assert!(rest.is_empty(), "deferred effects cannot be read back");
        last
    }
}

/// A store's sink: between it and the store, effects may be kept back.
pub(crate) struct Outlet<S> {
    pub(crate) sink: S,
    /// The transaction that runs, if its effects are for later.
    pub(crate) deferred: Option<Box<DeferredGroup>>,
    /// What suspended transactions have changed.
    held: TouchedMap<u32>,
    /// Whole databases among that.
    held_databases: u32,
}

impl<S: EffectSink> Outlet<S> {
    pub(crate) fn new(sink: S) -> Outlet<S> {
        Outlet { sink, deferred: None, held: TouchedMap::default(), held_databases: 0 }
    }

    /// The number of the effect, or [`Lsn::ZERO`] if it has none yet.
    #[inline]
    pub(crate) fn append(&mut self, effect: Effect<'_>) -> Lsn {
        if let Some(deferred) = &mut self.deferred {
            deferred.push(&effect);
            return Lsn::ZERO;
        }
        self.sink.append(effect)
    }

    pub(crate) fn hold(&mut self, touched: Touched) {
        match touched {
            Touched::Key(..) => *self.held.entry(touched).or_default() += 1,
            Touched::Database(_) => self.held_databases += 1,
        }
    }

    pub(crate) fn release(&mut self, group: &DeferredGroup) {
        for touched in &group.touched {
            match touched {
                Touched::Key(..) => {
                    if let Some(count) = self.held.get_mut(touched) {
                        *count -= 1;
                        if *count == 0 {
                            self.held.remove(touched);
                        }
                    }
                }
                Touched::Database(_) => self.held_databases -= 1,
            }
        }
    }

    /// Whether a change must be noted before it is made, so that it can be undone.
    #[inline]
    pub(crate) fn wants_undo(&self, database: DatabaseId, hash: u64) -> bool {
        match &self.deferred {
            None => false,
            Some(group) => group.undo.as_ref().is_some_and(|undo| undo.wants(database, hash)),
        }
    }

    /// Whole databases are about to be changed.
    pub(crate) fn spoil_undo(&mut self) {
        if let Some(undo) = self.deferred.as_mut().and_then(|group| group.undo.as_mut()) {
            undo.spoil();
        }
    }

    /// A change is about to be made.
    pub(crate) fn save(&mut self, database: DatabaseId, hash: u64, key: Key<'_>, entry: Option<Entry<'_>>) {
        if let Some(undo) = self.deferred.as_mut().and_then(|group| group.undo.as_mut()) {
            undo.save(database, hash, key, entry);
        }
    }

    /// Whether a transaction that is not in the log has changed a key.
    #[inline]
    pub(crate) fn holds(&self, database: crate::DatabaseId, hash: u64) -> bool {
        (self.held_databases > 0 || !self.held.is_empty()) && self.holds_key(database, hash)
    }

    /// Whether a transaction that is not in the log has changed one of the keys with these positions in hash order, present or not,
    /// or more than keys.
    pub(crate) fn holds_any(&self, database: crate::DatabaseId, within: impl Fn(u64) -> bool) -> bool {
        let holds =
            |touched: &Touched| matches!(*touched, Touched::Key(of, hash) if of == database && within(hash));
        self.held_databases > 0 || self.held.keys().any(holds)
    }

    /// Whether a transaction that is not in the log has changed a whole database.
    pub(crate) fn holds_databases(&self) -> bool {
        self.held_databases > 0
    }

    #[cold]
    fn holds_key(&self, database: crate::DatabaseId, hash: u64) -> bool {
        self.held_databases > 0 || self.held.contains_key(&Touched::Key(database, hash))
    }

    /// How the shards of a part are named to the sink.
    pub(crate) fn begin_transaction(&mut self, id: TransactionId, participants: &[ShardId]) -> Lsn {
        assert!(self.deferred.is_none(), "transaction {id} is appended within a round of another");
        self.sink.begin_transaction(id, participants)
    }
}

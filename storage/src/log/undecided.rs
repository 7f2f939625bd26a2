//! Transactions over several logs that have a part in this one and are not decided.
//!
//! A transaction is decided when every participant has *written* its part: the part is on stable storage in that participant's
//! log, and so is everything that it depends on, everywhere. Each participant finds the latter out by itself, since whatever
//! its part depends on has a part in the same log, before it.
//!
//! Invariants:
//! - entries stand in log order, the ends of their groups rise, and the first one is not decided;
//! - what an entry depends on stands before it, so the first entry waits for other shards alone;
//! - each transaction is announced to the other participants once.
//!
//! Nothing of it outlives the process: recovery reads from the logs which transactions are whole.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::{Lsn, ShardId, TransactionId};

/// Shards, few as a rule.
pub(super) type Shards = SmallVec<[ShardId; 8]>;

/// Reports of parts that came before our own part was appended: at most one for each participant of each transaction under
/// way. More than this is a defect, not a load.
const EARLY_MAX: usize = 1 << 20;

struct Entry {
    id: TransactionId,
    /// The first effect of its group.
    first: Lsn,
    /// The last one, once the group has ended.
    end: Option<Lsn>,
    /// The other participants.
    others: Shards,
    /// Those among them that have not reported their part.
    missing: Shards,
    /// Undecided transactions that its part here depends on.
    depends: usize,
    /// Places of those that depend on it.
    dependants: Vec<u64>,
    durable: bool,
    announced: bool,
    decided: bool,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Undecided {
    entries: VecDeque<Entry>,
    /// How many entries have been taken from the front since the beginning.
    taken: u64,
    /// The first so many of the entries have a durable part.
    durable: usize,
    /// Where undecided transactions stand, counted from the beginning.
    places: FxHashMap<TransactionId, u64>,
    early: FxHashMap<TransactionId, Shards>,
    /// Written parts that the other participants have yet to be told of.
    written: Vec<(TransactionId, Shards)>,
    /// Entries that are to be looked at: memory for [`Self::advance`].
    next: Vec<u64>,
}

impl Undecided {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn contains(&self, id: TransactionId) -> bool {
        self.places.contains_key(&id)
    }

    /// In no order.
    pub(super) fn ids(&self) -> impl Iterator<Item = TransactionId> {
        self.places.keys().copied()
    }

    /// The first effect of the first undecided group: the horizon stays before it.
    pub(super) fn first(&self) -> Option<Lsn> {
        self.entries.front().map(|entry| entry.first)
    }

    /// Whether an undecided transaction waits for this shard's part.
    pub(super) fn waits_for(&self, shard: ShardId) -> bool {
        self.entries.iter().any(|entry| entry.missing.contains(&shard))
    }

    /// The log has begun its part of a transaction.
    pub(super) fn begin(&mut self, id: TransactionId, first: Lsn, own: ShardId, participants: &[ShardId]) {
        let others: Shards = participants.iter().copied().filter(|shard| *shard != own).collect();
        assert!(others.len() < participants.len(), "shard {own}: not a participant of transaction {id}");
        let early = self.early.remove(&id).unwrap_or_default();
        let missing = others.iter().copied().filter(|shard| !early.contains(shard)).collect();
        let before = self.places.insert(id, self.taken + self.entries.len() as u64);
        assert!(before.is_none(), "shard {own}: transaction {id} has a part already");
        self.entries.push_back(Entry {
            id,
            first,
            end: None,
            others,
            missing,
            depends: 0,
            dependants: Vec::new(),
            durable: false,
            announced: false,
            decided: false,
        });
    }

    /// The transaction whose group is open depends on these.
    pub(super) fn depend(&mut self, on: &[TransactionId]) {
        if self.entries.back().is_none_or(|entry| entry.end.is_some()) {
            return;
        }
        let own = self.entries.len() - 1;
        for other in on {
            let at = self.places.get(other).map(|place| (place - self.taken) as usize);
            if let Some(at) = at.filter(|at| *at < own) {
                self.entries[at].dependants.push(self.taken + own as u64);
                self.entries[own].depends += 1;
            }
        }
    }

    /// A group has ended: that of the last transaction, if it was open.
    pub(super) fn end(&mut self, end: Lsn) {
        if let Some(entry) = self.entries.back_mut() {
            entry.end.get_or_insert(end);
        }
    }

    /// Everything up to `horizon` is on stable storage here.
    pub(super) fn on_durable(&mut self, horizon: Lsn) {
        while let Some(entry) = self.entries.get_mut(self.durable)
            && entry.end.is_some_and(|end| end <= horizon)
        {
            entry.durable = true;
            self.durable += 1;
            let place = self.taken + self.durable as u64 - 1;
            self.advance(place);
        }
        self.drop_decided();
    }

    /// Another participant has written its part.
    pub(super) fn on_part(&mut self, id: TransactionId, from: ShardId) {
        let Some(&place) = self.places.get(&id) else {
            let parts = self.early.entry(id).or_default();
            if !parts.contains(&from) {
                parts.push(from);
            }
            assert!(
                self.early.len() <= EARLY_MAX,
                "{EARLY_MAX} transactions were reported and have no part here"
            );
            return;
        };
        self.entries[(place - self.taken) as usize].missing.retain(|shard| *shard != from);
        self.advance(place);
        self.drop_decided();
    }

    /// Takes what a transaction's change of state leads to, there and with those that depend on it.
    fn advance(&mut self, place: u64) {
        self.next.push(place);
        while let Some(place) = self.next.pop() {
            let entry = &mut self.entries[(place - self.taken) as usize];
            if !entry.durable || entry.depends > 0 {
                continue;
            }
            if !std::mem::replace(&mut entry.announced, true) && !entry.others.is_empty() {
                self.written.push((entry.id, entry.others.clone()));
            }
            if !entry.missing.is_empty() || std::mem::replace(&mut entry.decided, true) {
                continue;
            }
            let id = entry.id;
            let dependants = std::mem::take(&mut entry.dependants);
            self.places.remove(&id);
            for place in dependants {
                self.entries[(place - self.taken) as usize].depends -= 1;
                self.next.push(place);
            }
        }
    }

    fn drop_decided(&mut self) {
        while self.entries.pop_front_if(|entry| entry.decided).is_some() {
            self.taken += 1;
            self.durable -= 1;
        }
    }

    /// Parts that have been written since the last call, and the other participants, who are to be told.
    pub(super) fn take_written(&mut self) -> std::vec::Drain<'_, (TransactionId, Shards)> {
        self.written.drain(..)
    }

    /// Nothing is decided any more.
    pub(super) fn latch(&mut self) {
        self.written.clear();
        self.early.clear();
    }
}

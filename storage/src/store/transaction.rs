//! What a store does for transactions: groups over several commands, groups that are parts of transactions over several
//! logs, what such a group depends on, and groups that are appended when their last round is over.

use super::Store;
use crate::deferred::DeferredGroup;
use crate::taint::Touched;
use crate::undo::{Copied, Saved, limits_for};
use crate::value::Collection;
use crate::{Change, EffectSink, Key, Log, Lsn, ShardId, TransactionId};

impl<S: EffectSink> Store<S> {
    /// Within a group, the next command begins: its effects join the group, and what it depends on the gate.
    pub fn next_command(&mut self) {
        self.forbears_touching = false;
    }

    /// The group that begins is this shard's part of a transaction. After [`Store::begin_command`], before anything is
    /// looked at or changed. `participants` are the shards whose logs get a part, sorted, this one included. The part may
    /// stay empty; the gate that [`Store::end_command`] returns is then that of the part itself.
    ///
    /// # Panics
    /// Within a group that has effects, or when this shard is not among the participants.
    pub fn begin_transaction(&mut self, id: TransactionId, participants: &[ShardId]) {
        assert!(!self.wrote, "transaction {id} begins within a group of effects");
        let lsn = self.sink.begin_transaction(id, participants);
        self.wrote = true;
        self.gates.taints.begin_transaction(id, lsn);
        self.gates.fold(lsn);
    }

    /// Whether the running group has met something that a crash may still take: an effect that is not durable, or not
    /// decided. If it is the reading part of a transaction, and what it read goes into writes elsewhere, this shard must have
    /// a part in its log too, though it writes nothing: the part stands behind what was read, so a crash that takes that
    /// takes the part, and recovery the transaction.
    pub fn needs_part(&mut self) -> bool {
        let sink = &self.sink.sink;
        self.wrote
            || self.gates.may_be_lost(sink.decided_to(), sink.is_settled())
            || !self.dependencies().is_empty()
    }

    /// The undecided transactions that the running group depends on so far, each once, sorted: for
    /// [`Store::add_dependencies`], when the part is appended later.
    ///
    /// Counting, scanning and picking at random depend on every undecided transaction. Two transactions that do so must not
    /// run beside each other on several shards in different orders; whoever locks the whole keyspace for them is safe.
    pub fn dependencies(&mut self) -> &[TransactionId] {
        self.gates.taints.dependencies(&self.sink.sink)
    }

    /// The running group depends on these too: on what an earlier group of the same transaction on this shard was told by
    /// [`Store::dependencies`]. What has been decided since is left out.
    pub fn add_dependencies(&mut self, on: &[TransactionId]) {
        if !on.is_empty() {
            self.gates.taints.add(on);
        }
    }

    /// Before a group ends, while there are taints: what it depends on goes into the log, and taints what it wrote.
    #[cold]
    pub(super) fn end_tainted_group(&mut self) {
        assert!(self.sink.deferred.is_none(), "a round of a transaction ends by being suspended");
        if !self.wrote {
            self.gates.taints.clear_group();
            return;
        }
        let on = self.gates.taints.dependencies(&self.sink.sink);
        if !on.is_empty() {
            self.sink.sink.append_depends(on);
        }
        self.gates.taints.end_group();
    }

    pub(super) fn settle_taints(&mut self) {
        if self.gates.taints.is_active() {
            self.gates.taints.settle(self.sink.sink.decided_to());
        }
    }

    /// A round of a transaction begins, the first with `DeferredGroup::default()`: until [`Store::suspend_transaction`],
    /// changes are made in memory at once and their effects are kept in the group. Instead of [`Store::begin_command`];
    /// between the commands of a round comes [`Store::next_command`].
    pub fn resume_transaction(&mut self, group: DeferredGroup) {
        self.begin_command();
        self.gates.fold(group.gate);
        self.gates.taints.set_deferred(true);
        self.gates.taints.add(&group.depends);
        self.sink.deferred = Some(Box::new(group));
    }

    /// The round ends.
    ///
    /// # Panics
    /// When none is running.
    pub fn suspend_transaction(&mut self) -> DeferredGroup {
        let Some(mut group) = self.sink.deferred.take() else {
            panic!("no round of a transaction is running")
        };
        group.unsettled |= self.needs_part();
        group.depends = self.gates.taints.dependencies(&self.sink.sink).to_vec();
        for touched in self.gates.taints.take_touched() {
            self.sink.hold(touched);
            group.touched.push(touched);
        }
        group.gate = self.gates.take_command();
        self.gates.taints.clear_group();
        self.gates.taints.set_deferred(false);
        self.wrote = false;
        *group
    }

    /// Whether what the running transaction has done so far [can be undone](DeferredGroup::is_undoable).
    pub fn can_undo(&self) -> bool {
        let undo = self.sink.deferred.as_ref().and_then(|group| group.undo.as_ref());
        undo.is_some_and(|undo| undo.is_complete())
    }

    /// Appends everything that the rounds of a transaction have done, as its part of the log. Instead of a command; returns
    /// the gate of the whole.
    pub fn commit_deferred(
        &mut self,
        group: DeferredGroup,
        id: TransactionId,
        participants: &[ShardId],
    ) -> Lsn {
        self.begin_command();
        self.begin_transaction(id, participants);
        self.sink.release(&group);
        self.gates.fold(group.gate);
        self.add_dependencies(&group.depends);
        let last = group.append_to(&mut self.sink.sink);
        for touched in group.touched {
            self.note_touched(touched, last.unwrap_or_default());
        }
        self.end_command()
    }

    /// Appends everything that the rounds of a transaction have done here, which has no part elsewhere: as one group of
    /// effects like that of a command. Instead of a command; returns its gate.
    pub fn commit_alone(&mut self, group: DeferredGroup) -> Lsn {
        self.begin_command();
        self.sink.release(&group);
        self.gates.fold(group.gate);
        if !group.wrote() {
            return self.end_command();
        }
        self.wrote = true;
        if self.gates.taints.is_active() {
            self.gates.taints.add(&group.depends);
        }
        let last = group.append_to(&mut self.sink.sink).unwrap_or_default();
        for touched in group.touched {
            self.note_touched(touched, last);
        }
        self.end_command()
    }

    /// Ends the round that is running, and with it the transaction: [`Store::suspend_transaction`] and [`Store::commit_alone`] at
    /// once, for one that nobody has to be kept away from. Returns its gate.
    ///
    /// # Panics
    /// When none is running.
    pub fn commit_running(&mut self) -> Lsn {
        let Some(group) = self.sink.deferred.take() else { panic!("no round of a transaction is running") };
        self.sink.release(&group);
        let depends = self.gates.taints.dependencies(&self.sink.sink).to_vec();
        let touched = self.gates.taints.take_touched();
        self.gates.taints.clear_group();
        self.gates.taints.set_deferred(false);
        self.wrote = group.wrote();
        if self.wrote {
            if self.gates.taints.is_active() {
                self.gates.taints.add(&depends);
            }
            let last = group.append_to(&mut self.sink.sink).unwrap_or_default();
            for touched in group.touched.into_iter().chain(touched) {
                self.note_touched(touched, last);
            }
        }
        self.end_command()
    }

    fn note_touched(&mut self, touched: Touched, lsn: Lsn) {
        match touched {
            Touched::Key(database, hash) => self.gates.note_key(database, hash, lsn),
            Touched::Database(database) => self.gates.note_database(database, lsn),
        }
    }

    /// Undoes everything that the rounds of a transaction have done here: nobody but the transaction has seen it. Access
    /// clocks start anew; whoever watches a key may see that it was changed, and back.
    ///
    /// # Panics
    /// If it [cannot be undone](DeferredGroup::is_undoable).
    pub fn roll_back(&mut self, group: DeferredGroup) {
        assert!(group.is_undoable(), "a transaction that cannot be undone is rolled back");
        self.sink.release(&group);
        let Some(undo) = group.undo else { return };
        for saved in undo.into_saved() {
            if let Some(walk) = &mut self.image {
                walk.on_undone(saved.database, &saved.key);
            }
            self.restore(&saved);
        }
    }

    /// Makes a key what it was.
    fn restore(&mut self, saved: &Saved) {
        let Saved { database, slot, ref key, ref value, .. } = *saved;
        let named = Key { bytes: key, slot };
        let found = self.find_applied(database, named);
        self.remove_applied(database, &found);
        let Some((copied, expire_at_ms)) = value else { return };
        match copied {
            Copied::String { bytes, raw } => {
                let found = self.find_applied(database, named);
                self.put(database, found, named, bytes, None);
                if *raw && let Some(byte) = bytes.first() {
                    let found = self.find_applied(database, named);
                    self.put_range(database, &found, named, 0, std::slice::from_ref(byte));
                }
            }
            Copied::List(list) => {
                let found = self.find_applied(database, named);
                self.put_collection(database, &found, named, Collection::List(list.clone()));
            }
            Copied::Elements { kind, elements, encoding } => {
                let limits = limits_for(encoding, &self.limits);
                let usual = std::mem::replace(&mut self.limits, limits);
                let found = self.find_applied(database, named);
                self.put_change(database, found, named, &Change::Load { kind: *kind, first: true, elements });
                self.limits = usual;
            }
        }
        let found = self.find_applied(database, named);
        self.put_expiry(database, &found, *expire_at_ms);
    }
}

impl<F: Clone> Store<Log<F>> {
    /// As [`Log::on_part_durable`]. What is decided by it taints until [`Store::settle`].
    pub fn on_part_durable(&mut self, id: TransactionId, from: ShardId) {
        self.sink.sink.on_part_durable(id, from);
    }

    /// As [`Log::take_written`].
    pub fn take_written(
        &mut self,
    ) -> impl Iterator<Item = (TransactionId, impl IntoIterator<Item = ShardId>)> {
        self.sink.sink.take_written()
    }
}

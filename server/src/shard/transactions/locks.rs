//! The locks of one shard: which transactions hold or want which of its keys, in one order of age.
//!
//! A request names all keys that a transaction has on this shard, and is granted as a whole. It waits for every conflicting
//! request that is older (granted or not: nobody overtakes), and for younger ones that were granted before it came. A younger one
//! that may still be taken back is *wounded*: its coordinator is asked to give the grant back, and gets it again
//! later. Once a transaction has all its grants it is *fixed*, waits for nothing more, and ends by itself.
//!
//! - So waiting points to older requests, or to such as end without waiting: there is no circle, and the oldest transaction
//!   of all always gets on.
//! - A key is known by a fingerprint; two keys with the same one wait for each other without need, nothing worse.
//! - Commands on one shard take no lock: they run when nothing conflicts, and else wait here like the others; and they wound
//!   like the others, for something older may wait behind them.
//! - What a connection sends to a shard runs there in its order. The connection is a lock of its own for that, its *session*:
//!   commands that wait have it alone, parts of transactions share it (their coordinator keeps their order).
//! - Nothing of this outlives the process: what a crash leaves is decided by the logs.

use std::collections::{HashMap, VecDeque, hash_map};
use std::hash::{BuildHasherDefault, Hasher};

use annulus_storage::TransactionId;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use self::queue::Queue;

/// How a key is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Mode {
    /// To be read: with other readers.
    Shared,
    /// To be changed: alone.
    Exclusive,
}

impl Mode {
    fn conflicts(self, other: Mode) -> bool {
        self == Mode::Exclusive || other == Mode::Exclusive
    }
}

/// Fingerprint of a key. Databases are not told apart: COPY and MOVE go between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct LockKey(u64);

impl LockKey {
    pub(in super::super) fn new(key: &[u8]) -> LockKey {
        LockKey(rapidhash::v3::rapidhash_v3(key))
    }

    /// Of a client's connection, by its id.
    fn session(client: u64) -> LockKey {
        // Fibonacci hashing: ids are small and follow each other.
        LockKey(client.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// What a transaction wants of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct LockRequest {
    keys: SmallVec<[(LockKey, Mode); 2]>,
    /// All keys of the shard.
    whole: Option<Mode>,
    /// Whose it is, and whether it shares the session.
    session: Option<(LockKey, Mode)>,
}

impl LockRequest {
    /// Adds a key. One named twice is wanted in the stronger mode.
    pub(in super::super) fn add(&mut self, key: LockKey, mode: Mode) {
        match self.keys.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = mode.max(*known),
            None => self.keys.push((key, mode)),
        }
    }

    /// Adds what another request names, which names few keys.
    pub(in super::super) fn join(&mut self, other: &LockRequest) {
        other.keys.iter().for_each(|(key, mode)| self.add(*key, *mode));
        self.whole = self.whole.max(other.whole);
    }

    /// How all keys are wanted, if they are.
    pub(in super::super) fn whole(&self) -> Option<Mode> {
        self.whole
    }

    /// The keys.
    pub(in super::super) fn keys(&self) -> &[(LockKey, Mode)] {
        &self.keys
    }

    /// A request for these keys, some of which may be named more than once, or for all.
    pub(in super::super) fn of(mut keys: Vec<(LockKey, Mode)>, whole: Option<Mode>) -> LockRequest {
        // The stronger mode of a key stands first.
        keys.sort_unstable_by(|a, b| b.cmp(a));
        keys.dedup_by_key(|(key, _)| *key);
        LockRequest { keys: keys.into(), whole, session: None }
    }

    /// Adds all keys of the shard.
    pub(in super::super) fn add_whole(&mut self, mode: Mode) {
        self.whole = self.whole.max(Some(mode));
    }

    /// Says whose it is: `Exclusive` when nothing of that client may be granted or run beside it.
    pub(in super::super) fn set_session(&mut self, client: u64, mode: Mode) {
        self.session = Some((LockKey::session(client), mode));
    }

    fn conflicts(&self, other: &LockRequest) -> bool {
        let same_session = self
            .session
            .zip(other.session)
            .is_some_and(|((client, mode), (other, it))| client == other && it.conflicts(mode));
        let against_whole = |whole: Option<Mode>, other: &LockRequest| {
            whole.is_some_and(|mode| {
                other.whole.is_some_and(|it| it.conflicts(mode))
                    || other.keys.iter().any(|(_, it)| it.conflicts(mode))
            })
        };
        same_session
            || against_whole(self.whole, other)
            || against_whole(other.whole, self)
            || self
                .keys
                .iter()
                .any(|(key, mode)| other.keys.iter().any(|(known, it)| known == key && it.conflicts(*mode)))
    }
}

/// The age of a request. A command on one shard is as old as the last transaction that its sender had told this shard of, and
/// comes right behind it: so the commands of a connection keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct Age {
    id: TransactionId,
    /// 0 for the transaction itself; commands behind it are counted.
    behind: u64,
}

impl Age {
    /// Of a command that is the `behind`th to wait on this shard, from 1.
    pub(in super::super) fn command(id: TransactionId, behind: u64) -> Age {
        Age { id, behind }
    }

    /// The transaction, or the one that a command came behind.
    pub(in super::super) fn id(self) -> TransactionId {
        self.id
    }
}

impl From<TransactionId> for Age {
    fn from(id: TransactionId) -> Age {
        Age { id, behind: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// It has all its locks here, and may be asked to give them back.
    Granted,
    /// It has been asked to.
    Wounded,
    /// It has all its locks everywhere.
    Fixed,
}

/// For more entries than these no memory is kept when there are none.
const ENTRIES_KEPT_MAX: usize = 1 << 14;

#[derive(Debug)]
struct Entry<W> {
    request: LockRequest,
    state: State,
    work: W,
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only fingerprints are hashed");
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

type Queues = HashMap<LockKey, Queue, BuildHasherDefault<Identity>>;

/// See the module's documentation. `W` is what waits with a request.
#[derive(Debug)]
pub(in super::super) struct Locks<W> {
    /// In no order: most of them end soon, oldest first, and a tree would move the others up each time.
    entries: FxHashMap<Age, Entry<W>>,
    queues: Queues,
    /// By client.
    sessions: Queues,
    /// Requests for all keys, oldest first.
    whole: Queue,
    /// Requests that were granted and nobody has been told of.
    granted: VecDeque<Age>,
    /// Grants that their transactions should give back, and nobody has been told of.
    wounded: Vec<Age>,
    /// Transactions that insist on something, and what.
    insisting: Vec<(Age, LockRequest)>,
}

impl<W> Default for Locks<W> {
    fn default() -> Self {
        Locks {
            entries: FxHashMap::default(),
            queues: Queues::default(),
            sessions: Queues::default(),
            whole: Queue::default(),
            granted: VecDeque::new(),
            wounded: Vec::new(),
            insisting: Vec::new(),
        }
    }
}

impl<W> Locks<W> {
    /// Whether nobody holds or wants anything: then every command may run.
    #[inline]
    pub(in super::super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a command that comes now must wait.
    pub(in super::super) fn blocks(&self, request: &LockRequest) -> bool {
        if request.whole.is_some() || !self.whole.is_empty() {
            return self.entries.values().any(|entry| entry.request.conflicts(request));
        }
        let blocked = |queues: &Queues, (key, mode): &(LockKey, Mode)| {
            queues.get(key).is_some_and(|queue| queue.conflicts(*mode))
        };
        request.keys.iter().any(|it| blocked(&self.queues, it))
            || request.session.iter().any(|it| blocked(&self.sessions, it))
    }

    /// Adds a request. Who can be granted shows in [`Locks::take_granted`], who has to give back in [`Locks::take_wounded`].
    /// Returns whether it has wounded any.
    pub(in super::super) fn insert(&mut self, id: Age, request: LockRequest, work: W) -> bool {
        self.enter(id, request, State::Waiting, work);
        let wounded = self.wounded.len();
        self.try_grant(id, true);
        self.wounded.len() > wounded
    }

    /// Adds a request that has its locks at once, for [nothing is in its way](Self::is_free). Nobody else is told.
    pub(in super::super) fn insert_granted(&mut self, id: Age, request: LockRequest, work: W) {
        debug_assert!(self.is_free(&request), "transaction {id:?} takes what is not free");
        self.enter(id, request, State::Granted, work);
    }

    /// Whether nobody has, waits for, or insists on anything that conflicts.
    pub(in super::super) fn is_free(&self, request: &LockRequest) -> bool {
        self.is_empty()
            || !self.blocks(request) && self.insisting.iter().all(|(_, it)| !it.conflicts(request))
    }

    fn enter(&mut self, id: Age, request: LockRequest, state: State, work: W) {
        let holds = state != State::Waiting;
        for (key, mode) in &request.keys {
            self.queues.entry(*key).or_default().add(id, *mode, holds);
        }
        if let Some((session, mode)) = request.session {
            self.sessions.entry(session).or_default().add(id, mode, holds);
        }
        if let Some(mode) = request.whole {
            self.whole.add(id, mode, holds);
        }
        let before = self.entries.insert(id, Entry { request, state, work });
        assert!(before.is_none(), "transaction {id:?} asks twice");
    }

    /// A transaction that has all its locks wants more: it gets them if nobody else has or wants them, and otherwise nothing
    /// changes. It does not wait, since it holds what others may wait for. If it had nothing here, `work` is what it brings.
    pub(in super::super) fn try_extend(
        &mut self,
        id: Age,
        more: &LockRequest,
        work: impl FnOnce() -> W,
    ) -> bool {
        let more = &self.missing_to(id, more);
        if self.blocks_all_but(id, more) || self.is_insisted_on(id, more) {
            return false;
        }
        self.extend(id, more, work);
        true
    }

    /// Whether a request that has its locks would get this too, of what nobody else has or wants.
    pub(in super::super) fn may_extend(&self, id: Age, more: &LockRequest) -> bool {
        let more = self.missing_to(id, more);
        !self.blocks_all_but(id, &more) && !self.is_insisted_on(id, &more)
    }

    /// A request that was granted goes on as a transaction that holds what it held: nobody who waits for it gets between.
    pub(in super::super) fn hand_over(&mut self, from: Age, to: Age, work: W) {
        let Some(Entry { request, .. }) = self.entries.remove(&from) else { return };
        self.granted.retain(|it| *it != from);
        self.wounded.retain(|it| *it != from);
        for &(key, mode) in &request.keys {
            let queue = self.queues.entry(key).or_default();
            queue.remove(from);
            queue.add(to, mode, true);
        }
        if let Some((session, mode)) = request.session {
            let queue = self.sessions.entry(session).or_default();
            queue.remove(from);
            queue.add(to, mode, true);
        }
        if let Some(mode) = request.whole {
            self.whole.remove(from);
            self.whole.add(to, mode, true);
        }
        let before = self.entries.insert(to, Entry { request, state: State::Fixed, work });
        assert!(before.is_none(), "transaction {to:?} has something already");
    }

    fn is_insisted_on(&self, id: Age, request: &LockRequest) -> bool {
        self.insisting.iter().any(|(it, wanted)| *it != id && wanted.conflicts(request))
    }

    fn extend(&mut self, id: Age, more: &LockRequest, work: impl FnOnce() -> W) {
        let queues = &mut self.queues;
        let request = match self.entries.entry(id) {
            hash_map::Entry::Vacant(entry) => {
                let request = LockRequest::default();
                &mut entry.insert(Entry { request, state: State::Fixed, work: work() }).request
            }
            hash_map::Entry::Occupied(entry) => {
                let entry = entry.into_mut();
                assert!(
                    entry.state != State::Waiting,
                    "transaction {id:?} wants more before it has anything"
                );
                entry.state = State::Fixed;
                &mut entry.request
            }
        };
        for &(key, mode) in &more.keys {
            let queue = queues.entry(key).or_default();
            if queue.mode(id).is_some() {
                queue.set_mode(id, mode);
                request.add(key, mode);
            } else {
                queue.add(id, mode, true);
                request.keys.push((key, mode));
            }
        }
        if let Some((session, mode)) = more.session.filter(|_| request.session.is_none()) {
            self.sessions.entry(session).or_default().add(id, mode, true);
            request.session = more.session;
        }
        if let Some(mode) = more.whole {
            match self.whole.mode(id) {
                Some(known) => self.whole.set_mode(id, mode.max(known)),
                None => self.whole.add(id, mode, true),
            }
            request.add_whole(mode);
        }
    }

    /// What of a request a transaction does not have yet.
    fn missing_to(&self, id: Age, request: &LockRequest) -> LockRequest {
        let Some(own) = self.entries.get(&id).map(|entry| &entry.request) else { return request.clone() };
        let has = |(key, mode): &(LockKey, Mode)| {
            own.whole >= Some(*mode)
                || self.queues.get(key).and_then(|queue| queue.mode(id)).is_some_and(|known| known >= *mode)
        };
        LockRequest {
            keys: request.keys.iter().filter(|it| !has(it)).copied().collect(),
            whole: request.whole.filter(|mode| own.whole < Some(*mode)),
            session: request.session,
        }
    }

    /// As [`Locks::try_extend`], of a transaction that can't be undone: it goes before all who wait, and whoever has what it wants
    /// and may still give it back is asked to. Until it succeeds nobody else is granted what conflicts.
    pub(in super::super) fn insist(&mut self, id: Age, more: &LockRequest, work: impl FnOnce() -> W) -> bool {
        let more = self.missing_to(id, more);
        let others = self.entries.iter().filter(|(it, entry)| **it != id && entry.request.conflicts(&more));
        let mut held: Vec<Age> =
            others.filter(|(_, it)| it.state != State::Waiting).map(|(it, _)| *it).collect();
        held.sort_unstable();
        if held.is_empty() {
            self.insisting.retain(|(it, _)| *it != id);
            self.extend(id, &more, work);
            return true;
        }
        for other in held {
            if self.entries[&other].state == State::Granted {
                self.set_state(other, State::Wounded);
                self.wounded.push(other);
            }
        }
        // It has a part here from now on, whose end ends this too.
        self.extend(id, &LockRequest::default(), work);
        match self.insisting.iter_mut().find(|(it, _)| *it == id) {
            Some((_, known)) => known.join(&more),
            None => self.insisting.push((id, more)),
        }
        false
    }

    /// Whether a request of this transaction conflicts with any other's, granted or not.
    fn blocks_all_but(&self, id: Age, request: &LockRequest) -> bool {
        if request.whole.is_some() || !self.whole.is_empty() {
            return self.entries.iter().any(|(it, entry)| *it != id && entry.request.conflicts(request));
        }
        request.keys.iter().any(|(key, mode)| {
            self.queues.get(key).is_some_and(|queue| queue.conflicts_with_others(id, *mode))
        })
    }

    /// Those who wait and want something that this transaction has or wants.
    pub(in super::super) fn waiting_for(&self, id: Age) -> Vec<Age> {
        let Some(own) = self.entries.get(&id) else { return Vec::new() };
        let waits = |(it, entry): &(&Age, &Entry<W>)| {
            **it != id && entry.state == State::Waiting && entry.request.conflicts(&own.request)
        };
        let mut waiting: Vec<Age> = self.entries.iter().filter(waits).map(|(it, _)| *it).collect();
        waiting.sort_unstable();
        waiting
    }

    /// Whether a request conflicts with what a transaction has here.
    pub(in super::super) fn conflicts_with(&self, id: Age, request: &LockRequest) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.request.conflicts(request))
    }

    /// The next request that has been granted.
    pub(in super::super) fn take_granted(&mut self) -> Option<Age> {
        self.granted.pop_front()
    }

    /// The next transaction that is asked to give its grant back.
    pub(in super::super) fn take_wounded(&mut self) -> Option<Age> {
        self.wounded.pop()
    }

    /// The oldest request with such work.
    pub(in super::super) fn find(&self, is_it: impl Fn(&W) -> bool) -> Option<Age> {
        self.entries.iter().filter(|(_, entry)| is_it(&entry.work)).map(|(id, _)| *id).min()
    }

    /// What waits with a request.
    pub(in super::super) fn work(&self, id: Age) -> Option<&W> {
        self.entries.get(&id).map(|entry| &entry.work)
    }

    /// The same, to be changed.
    pub(in super::super) fn work_mut(&mut self, id: Age) -> Option<&mut W> {
        self.entries.get_mut(&id).map(|entry| &mut entry.work)
    }

    /// The transaction has all its locks, here and elsewhere.
    pub(in super::super) fn fix(&mut self, id: Age) {
        if let Some(entry) = self.entries.get_mut(&id) {
            assert!(entry.state != State::Waiting, "transaction {id:?} is fixed without a grant");
            entry.state = State::Fixed;
        }
    }

    /// A wounded transaction gives its grant back, and waits again.
    pub(in super::super) fn give_back(&mut self, id: Age) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        assert!(entry.state == State::Wounded, "transaction {id:?} gives back what nobody asked for");
        let request = entry.request.clone();
        self.set_state(id, State::Waiting);
        self.grant_next(&request);
    }

    /// The transaction is done here: its locks go to those that wait.
    pub(in super::super) fn release(&mut self, id: Age) -> Option<W> {
        let entry = self.entries.remove(&id)?;
        self.granted.retain(|it| *it != id);
        self.wounded.retain(|it| *it != id);
        for (key, _) in &entry.request.keys {
            leave(&mut self.queues, *key, id);
        }
        if let Some((session, _)) = entry.request.session {
            leave(&mut self.sessions, session, id);
        }
        self.whole.remove(id);
        let mut freed = entry.request;
        for (_, wanted) in self.insisting.extract_if(.., |(it, _)| *it == id) {
            freed.join(&wanted);
        }
        if !self.entries.is_empty() {
            self.grant_next(&freed);
        } else if self.entries.capacity() > ENTRIES_KEPT_MAX {
            self.entries = FxHashMap::default();
        }
        Some(entry.work)
    }

    /// Looks whether any that waits for what `freed` names can have it.
    fn grant_next(&mut self, freed: &LockRequest) {
        let mut waiting: Vec<Age> = Vec::new();
        if freed.whole.is_some() {
            waiting.extend(self.entries.keys());
            waiting.sort_unstable();
        } else {
            for (key, _) in &freed.keys {
                waiting.extend(self.queues.get(key).into_iter().flat_map(Queue::front));
            }
            let session = freed.session.and_then(|(session, _)| self.sessions.get(&session));
            waiting.extend(session.into_iter().flat_map(Queue::front));
            waiting.extend(self.whole.iter());
            waiting.sort_unstable();
            waiting.dedup();
        }
        for id in waiting {
            self.try_grant(id, false);
        }
    }

    /// Grants a waiting request if nothing is in its way. A new one wounds the younger that are.
    fn try_grant(&mut self, id: Age, is_new: bool) {
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.state == State::Waiting) else { return };
        let mut free = true;
        let mut wounds: SmallVec<[Age; 4]> = SmallVec::new();
        let request = &entry.request;
        free &= !self.is_insisted_on(id, request);
        if request.whole.is_some() {
            for (other, it) in self.entries.iter().filter(|(_, it)| it.request.conflicts(request)) {
                free &= *other == id || *other > id && it.state == State::Waiting;
                if *other > id && it.state != State::Waiting {
                    wounds.push(*other);
                }
            }
        } else {
            let keys = request.keys.iter().map(|(key, mode)| (&self.queues[key], *mode));
            let session = request.session.iter().map(|(client, mode)| (&self.sessions[client], *mode));
            for (queue, mode) in keys.chain(session) {
                free &= !queue.conflicts_with_older(id, mode);
                if free || is_new {
                    wounds.extend(queue.younger_holders(id, mode));
                }
            }
            for other in self.whole.iter().filter(|other| *other != id) {
                let it = &self.entries[&other];
                if it.request.conflicts(request) {
                    free &= other > id && it.state == State::Waiting;
                    if other > id && it.state != State::Waiting {
                        wounds.push(other);
                    }
                }
            }
        }
        free &= wounds.is_empty();
        wounds.sort_unstable();
        if free {
            self.set_state(id, State::Granted);
            self.granted.push_back(id);
        } else if is_new {
            for other in wounds {
                if self.entries[&other].state == State::Granted {
                    self.set_state(other, State::Wounded);
                    self.wounded.push(other);
                }
            }
        }
    }

    fn set_state(&mut self, id: Age, state: State) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let held = std::mem::replace(&mut entry.state, state) != State::Waiting;
        let holds = state != State::Waiting;
        if held == holds {
            return;
        }
        for (key, _) in &entry.request.keys {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.set_holds(id, holds);
            }
        }
        let session = entry.request.session.and_then(|(session, _)| self.sessions.get_mut(&session));
        if let Some(queue) = session {
            queue.set_holds(id, holds);
        }
        self.whole.set_holds(id, holds);
    }
}

fn leave(queues: &mut Queues, key: LockKey, id: Age) {
    if let Some(queue) = queues.get_mut(&key) {
        queue.remove(id);
        if queue.is_empty() {
            queues.remove(&key);
        }
    }
}

mod queue;
#[cfg(test)]
mod tests;

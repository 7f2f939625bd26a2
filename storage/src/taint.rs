//! Which undecided transactions a key's value hangs on, and so the running group of effects.
//!
//! While a transaction over several logs is not decided, recovery may still drop it, and then must drop everything that was made
//! from it. So each key that it wrote is *tainted* with it; a group that looks at or changes a tainted key depends on the
//! transaction, and taints what it writes itself.
//!
//! - A key's taint is exact: 64 bits of a hash with a random seed. (A coarser one could make two transactions
//!   wait for each other.)
//! - What a transaction wrote is tainted with it alone, whatever it depends on itself: recovery drops it with that.
//! - A taint goes when the horizon has passed the group that left it.
//!
//! With no taint and no transaction running, all of this is one flag that says so.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::SmallVec;

use crate::{DatabaseId, EffectSink, Lsn, TransactionId};

/// What a group has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Touched {
    /// The key of this hash.
    Key(DatabaseId, u64),
    /// All keys of a database.
    Database(DatabaseId),
}

#[derive(Clone)]
struct Taint {
    /// The last effect of the group that left it.
    lsn: Lsn,
    on: SmallVec<[TransactionId; 2]>,
}

/// Hashes of keys are random already.
#[derive(Default)]
pub(crate) struct HashOfHash(u64);

impl Hasher for HashOfHash {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type TouchedMap<V> = HashMap<Touched, V, BuildHasherDefault<HashOfHash>>;
pub(crate) type TouchedSet = HashSet<Touched, BuildHasherDefault<HashOfHash>>;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Taints {
    /// There is a taint, or the running group is to know what it writes.
    active: bool,
    by_touched: TouchedMap<Taint>,
    /// How many of them are of whole databases.
    databases: usize,
    /// Which taint goes when, in log order.
    order: VecDeque<(Lsn, Touched)>,
    /// The running group's transaction.
    own: Option<TransactionId>,
    /// The running group is a part of a transaction that is yet to be appended.
    deferred: bool,
    /// What the running group depends on so far, some of it perhaps more than once. In a cell, because looking at a store
    /// is enough to depend on it.
    depends: RefCell<Vec<TransactionId>>,
    /// It depends on everything.
    depends_on_all: Cell<bool>,
    written: Vec<Touched>,
    written_to: Lsn,
}

impl Taints {
    #[inline]
    pub(crate) const fn is_active(&self) -> bool {
        self.active
    }

    fn refresh(&mut self) {
        self.active = !self.order.is_empty() || self.own.is_some() || self.deferred;
    }

    /// The group that begins is a part of a transaction.
    pub(crate) fn begin_transaction(&mut self, id: TransactionId, lsn: Lsn) {
        self.own = Some(id);
        self.written_to = lsn;
        self.refresh();
    }

    /// The effects from here on are appended later.
    pub(crate) fn set_deferred(&mut self, deferred: bool) {
        self.deferred = deferred;
        self.refresh();
    }

    #[cold]
    pub(crate) fn fold_key(&self, database: DatabaseId, hash: u64) {
        let fold = |touched| {
            if let Some(taint) = self.by_touched.get(&touched) {
                self.depends.borrow_mut().extend_from_slice(&taint.on);
            }
        };
        fold(Touched::Key(database, hash));
        if self.databases > 0 {
            fold(Touched::Database(database));
        }
    }

    #[cold]
    pub(crate) fn fold_all(&self) {
        self.depends_on_all.set(true);
    }

    #[cold]
    pub(crate) fn note(&mut self, touched: Touched, lsn: Lsn) {
        match touched {
            Touched::Key(database, hash) => self.fold_key(database, hash),
            Touched::Database(_) => self.fold_all(),
        }
        self.written.push(touched);
        self.written_to = lsn.max(self.written_to);
    }

    /// More that the running group depends on.
    pub(crate) fn add(&mut self, on: &[TransactionId]) {
        self.depends.get_mut().extend_from_slice(on);
    }

    /// What the running group depends on and is still undecided, each once.
    pub(crate) fn dependencies(&mut self, sink: &impl EffectSink) -> &[TransactionId] {
        let own = self.own;
        let depends = self.depends.get_mut();
        if self.depends_on_all.get() {
            sink.undecided(depends);
        }
        depends.sort_unstable();
        depends.dedup();
        depends.retain(|id| Some(*id) != own && sink.is_undecided(*id));
        depends
    }

    /// What the running group has written so far.
    pub(crate) fn take_touched(&mut self) -> Vec<Touched> {
        std::mem::take(&mut self.written)
    }

    /// The group has ended, and its effects are in the log.
    pub(crate) fn end_group(&mut self) {
        let on: &[TransactionId] = match &self.own {
            Some(id) => std::slice::from_ref(id),
            None => self.depends.get_mut(),
        };
        let lsn = self.written_to;
        for touched in self.written.drain(..).filter(|_| !on.is_empty()) {
            let before = self.by_touched.insert(touched, Taint { lsn, on: on.into() });
            self.databases += usize::from(before.is_none() && matches!(touched, Touched::Database(_)));
            self.order.push_back((lsn, touched));
        }
        self.clear_group();
    }

    /// Forgets the running group.
    pub(crate) fn clear_group(&mut self) {
        self.own = None;
        self.depends.get_mut().clear();
        self.depends_on_all.set(false);
        self.written.clear();
        self.written_to = Lsn::ZERO;
        self.refresh();
    }

    /// Everything up to `horizon` is decided.
    pub(crate) fn settle(&mut self, horizon: Lsn) {
        while let Some((lsn, touched)) = self.order.pop_front_if(|(lsn, _)| *lsn <= horizon) {
            if let Entry::Occupied(taint) = self.by_touched.entry(touched)
                && taint.get().lsn == lsn
            {
                taint.remove();
                self.databases -= usize::from(matches!(touched, Touched::Database(_)));
            }
        }
        self.refresh();
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.by_touched.capacity() * size_of::<(Touched, Taint)>()
            + self.order.capacity() * size_of::<(Lsn, Touched)>()
    }
}

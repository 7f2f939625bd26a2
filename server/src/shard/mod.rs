//! A shard: the state machine that owns a part of the keyspace, its log, and the connections dealt to it.
//!
//! [`Shard`] joins a [`Core`] (all state and all decisions; it does no I/O) and a driver (all I/O; it decides nothing). The
//! core leaves what it wants done in [`Intents`]; the shard carries that to the driver, and the driver's events to the
//! core. One [`Shard::turn`] is one round of that, in the order that `docs/architecture.md` gives.
//!
//! Invariants:
//! - only this shard's thread touches any of it;
//! - a reply leaves when everything it shows is durable ([`gate`]) and all replies before it have left ([`replies`]);
//! - whatever is queued for the driver in a turn reaches the kernel in the next turn's one system call.
//!
//! A crash at any point leaves what the log has made durable: the core holds nothing else that outlives the process.

mod backup;
pub mod batch;
mod blocking;
mod checkpoint;
pub mod commit;
pub mod connection;
mod connections;
pub mod dispatch;
mod flush;
pub mod forward;
pub mod gate;
pub mod interest;
pub mod limits;
pub mod lines;
mod memory;
mod monitor;
mod notify;
mod operations;
mod outgoing;
mod pause;
mod pubsub;
pub mod replies;
pub mod saves;
pub mod scripts;
mod scrub;
mod serve;
pub mod shared;
mod stats;
mod stop;
mod tracking;
pub mod transactions;
mod turn;
mod wait;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use annulus_protocol::Limits;
use annulus_storage::{Durability, Epoch, ShardId, ValueLimits, WriteId};
use slab::Slab;

pub use self::connection::{Connection, Connections};
pub use self::gate::Gates;
pub use self::turn::{Shard, ShardParts};

use self::blocking::Blocking;
use self::checkpoint::Checkpoints;
use self::commit::{SegmentInbox, SyncInbox};
use self::dispatch::Parsed;
use self::flush::Intents;
use self::forward::Links;
use self::lines::Lines;
use self::memory::MemoryLimit;
use self::monitor::Monitors;
use self::operations::Operation;
use self::outgoing::Waiting;
use self::pause::Pause;
use self::pubsub::Listeners;
use self::scripts::Scripts;
use self::scrub::Scrubs;
use self::shared::Shared;
use self::stop::Stopping;
use self::tracking::Tracking;
use self::transactions::participant::ShardLocks;
use self::wait::Waits;
use crate::admin::Settings;
use crate::admin::info::{CommandCounters, ShardCounters};
use crate::commands::{self, ShardStore};
use crate::runtime::mesh::MeshEnds;
use crate::runtime::{Clock, Rng, SocketId, Time};

/// The slot groups of a shard.
pub fn groups_of(shard: ShardId, shards: u16) -> Range<u16> {
    Epoch { number: 1, shards }.groups(shard)
}

/// A shard's state. See the module's documentation.
pub struct Core {
    id: ShardId,
    shards: u16,
    /// Owner of each slot group.
    owners: Box<[ShardId; 256]>,
    groups: Range<u16>,
    shared: Arc<Shared>,
    /// This shard's copy of the settings, renewed when their version changes.
    settings: Arc<Settings>,
    settings_version: u64,
    limits: Limits,
    durability: Durability,
    time: Time,
    random: Rng,
    store: ShardStore,
    log_failed: bool,
    no_space_told: bool,
    segments: SegmentInbox,
    synced: SyncInbox,
    checkpoints: Checkpoints,
    scrubs: Scrubs,
    memory: MemoryLimit,
    commit_started: VecDeque<(WriteId, u64)>,
    connections: Connections,
    gates: Gates,
    links: Links,
    lines: Lines,
    operations: Slab<Operation>,
    listeners: Listeners,
    monitors: Monitors,
    waits: Waits,
    blocking: Blocking,
    locks: ShardLocks,
    scripts: Scripts,
    /// Locks are being dealt out.
    settling_locks: bool,
    /// The highest count in a transaction's id that this shard has seen.
    transaction_count: u64,
    /// The last that each shard has told of.
    transactions_seen: Box<[u64]>,
    /// Commands that had to wait for a transaction.
    commands_deferred: u64,
    /// The last handler has found none of what its command takes.
    found_nothing: bool,
    /// Memory for replies on their way, as many as one is made within another.
    scratch: Vec<Vec<u8>>,
    /// Memory for parts of transactions.
    #[expect(clippy::vec_box, reason = "a part stays where it is on its way through the lock table")]
    spare_parts: Vec<Box<transactions::Part>>,
    waiting: Waiting,
    tracking: Tracking,
    /// Connections that are held, to be looked at again.
    held: Vec<SocketId>,
    pause: Pause,
    intents: Intents,
    /// Scratch space of [`dispatch`].
    ahead: Box<[Parsed]>,
    counters: ShardCounters,
    commands: Box<[CommandCounters]>,
    timer: stats::Timer,
    rates: stats::Rates,
    stopping: Stopping,
    /// When connections are next looked through for idle and slow ones, monotonic ns.
    sweep_at_ns: Option<u64>,
    /// Listeners whose accepting rests, and until when, monotonic ns.
    accept_again: Vec<(u64, usize)>,
    /// Expiry or freeing has more to do at once.
    more_background: bool,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("id", &self.id).field("shards", &self.shards).finish_non_exhaustive()
    }
}

impl Core {
    /// The state of a shard that has recovered.
    pub fn new(
        id: ShardId,
        shared: Arc<Shared>,
        mesh: MeshEnds<batch::Message>,
        store: ShardStore,
        mut random: Rng,
        clock: Clock,
    ) -> Self {
        let shards = shared.peers.count();
        let name_seed = random.next_u64();
        let (settings, settings_version) = shared.settings();
        // No id may come twice in a log, or a part that was lost would be taken for a whole transaction of the same name.
        let transactions = store.sink().greatest_transaction().counter();
        let mut core = Core {
            id,
            shards,
            owners: Box::new(std::array::from_fn(|group| dispatch::owner_of_group(group as u16, shards))),
            groups: groups_of(id, shards),
            durability: settings.durability,
            limits: Limits::DEFAULT,
            settings,
            settings_version,
            lines: Lines::new(shared.entrance(id).cloned()),
            shared,
            time: Time::default(),
            random,
            store,
            log_failed: false,
            no_space_told: false,
            segments: SegmentInbox::default(),
            synced: SyncInbox::default(),
            checkpoints: Checkpoints::default(),
            scrubs: Scrubs::default(),
            memory: MemoryLimit::default(),
            commit_started: VecDeque::new(),
            connections: Connections::default(),
            gates: Gates::default(),
            links: Links::new(mesh),
            operations: Slab::new(),
            listeners: Listeners::new(name_seed),
            monitors: Monitors::default(),
            waits: Waits::default(),
            blocking: Blocking::default(),
            locks: ShardLocks::default(),
            scripts: Scripts::default(),
            settling_locks: false,
            transaction_count: transactions,
            transactions_seen: vec![transactions; usize::from(shards)].into(),
            commands_deferred: 0,
            found_nothing: false,
            scratch: Vec::new(),
            spare_parts: Vec::new(),
            waiting: Waiting::default(),
            tracking: Tracking::new(shards, name_seed),
            held: Vec::new(),
            pause: Pause::default(),
            intents: Intents::default(),
            ahead: (0..limits::PIPELINE_COMMANDS).map(|_| Parsed::default()).collect(),
            counters: ShardCounters::default(),
            commands: vec![CommandCounters::default(); commands::COUNT].into(),
            timer: stats::Timer::new(clock),
            rates: stats::Rates::default(),
            stopping: Stopping::default(),
            sweep_at_ns: None,
            accept_again: Vec::new(),
            more_background: false,
        };
        core.apply_settings();
        core.settle();
        core
    }

    fn other_shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let own = self.id;
        (0..self.shards).map(ShardId).filter(move |shard| *shard != own)
    }

    /// Monotonic time in ms, for idle times and ages.
    fn now_ms(&self) -> u64 {
        self.time.monotonic_ns / 1_000_000
    }

    /// Takes over changed settings. Cheap when nothing changed: one load.
    fn refresh_settings(&mut self) {
        if self.shared.settings_version() != self.settings_version {
            (self.settings, self.settings_version) = self.shared.settings();
            self.apply_settings();
        }
    }

    fn apply_settings(&mut self) {
        let bulk = usize::try_from(self.settings.proto_max_bulk_len).unwrap_or(usize::MAX);
        self.limits = Limits::DEFAULT.with_bulk_bytes_max(bulk);
        self.store.set_limits(value_limits(&self.settings));
        self.limit_memory();
        self.plan_sweep();
        self.refresh_recording();
    }

    /// Has the store note what happens to keys while somebody wants to know.
    fn refresh_recording(&mut self) {
        let wanted = !self.settings.notify_keyspace_events.is_off() || self.is_tracking();
        self.store.set_recording(wanted);
    }
}

/// Up to what collections are kept in their small forms.
pub(crate) fn value_limits(settings: &Settings) -> ValueLimits {
    let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
    let limit = |number| if number == 0 { usize::MAX } else { size(number) };
    ValueLimits {
        hash_small_entries: settings.hash_max_listpack_entries as usize,
        hash_small_value_bytes: size(settings.hash_max_listpack_value),
        list_piece: i64::from(settings.list_max_listpack_size),
        set_integer_entries: settings.set_max_intset_entries as usize,
        set_small_entries: settings.set_max_listpack_entries as usize,
        set_small_value_bytes: size(settings.set_max_listpack_value),
        sorted_set_small_entries: settings.zset_max_listpack_entries as usize,
        sorted_set_small_value_bytes: size(settings.zset_max_listpack_value),
        stream_block_bytes: limit(settings.stream_node_max_bytes),
        stream_block_entries: limit(settings.stream_node_max_entries.into()),
    }
}

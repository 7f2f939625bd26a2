//! The few things that all shards see: read-mostly atomics, and what changes once in a while behind a version number.
#![expect(
    clippy::disallowed_types,
    reason = "settings change rarely; the request path reads a version number only"
)]

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use annulus_storage::ShardId;

use super::backup::Backup;
use super::interest::Interest;
use super::lines::{self, Inbound};
use super::scripts::texts::Texts;
use crate::admin::Settings;
use crate::runtime::DriverChoice;
use crate::runtime::line::Entrance;
use crate::runtime::peers::Peers;

use super::saves::Saves;

/// A counter on cache lines of its own.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Counter(AtomicU32);

/// What is fixed for as long as the server runs.
#[derive(Debug)]
pub struct Facts {
    /// The backend of all shards.
    pub driver: DriverChoice,
    /// 40 hexadecimal digits, new with each start.
    pub run_id: String,
    /// When the server started, µs of Unix time.
    pub started_us: u64,
    /// Path of this program.
    pub executable: String,
    /// The settings file in use, or empty.
    pub config_file: String,
    /// 40 hexadecimal digits for each shard as a cluster node; the same after a restart on the same data.
    pub node_ids: Vec<String>,
    /// Port of each shard's own listener; empty without cluster ports.
    pub shard_ports: Vec<u16>,
    /// The port of the shared listener.
    pub port: u16,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Shared {
    /// Who sleeps, and how to wake it.
    pub peers: Peers,
    /// What never changes.
    pub facts: Facts,
    /// Who wants to be told what.
    pub interest: Interest,
    /// The backup that is under way.
    pub(super) backup: Backup,
    /// Checkpoints of all shards.
    pub saves: Saves,
    /// The scripts that all shards know.
    pub scripts: Texts,
    /// Where the lines of each shard come in; none where the process is a server's.
    entrances: Box<[Arc<Entrance<Inbound>>]>,
    settings: Mutex<Arc<Settings>>,
    settings_version: AtomicU64,
    next_client: AtomicU64,
    connections: Box<[Counter]>,
    /// Highest sum of memory seen by INFO.
    memory_peak: AtomicU64,
    /// CLIENT PAUSE: until when (Unix ms), 0 for not; and whether writes only.
    pause_until_ms: AtomicU64,
    pause_writes_only: AtomicBool,
    stop: AtomicBool,
    /// 0 as the settings say, 1 no, 2 yes.
    save_at_stop: AtomicU8,
    quiet: AtomicU32,
    loaded_effects: AtomicU64,
}

impl Shared {
    /// At the start of a server.
    pub fn new(peers: Peers, facts: Facts, settings: Settings) -> Self {
        // Which of a shard's buckets a channel counts in is no secret: it only saves messages.
        let seed = facts.run_id.bytes().fold(0, |sum: u64, byte| sum.rotate_left(4) ^ u64::from(byte));
        let interest = Interest::new(peers.count(), seed);
        let saves = Saves::new(peers.count(), facts.started_us / 1_000_000);
        let connections = (0..peers.count()).map(|_| Counter::default()).collect();
        Shared {
            peers,
            facts,
            interest,
            backup: Backup::default(),
            saves,
            scripts: Texts::default(),
            entrances: Box::default(),
            settings: Mutex::new(Arc::new(settings)),
            settings_version: AtomicU64::new(1),
            next_client: AtomicU64::new(1),
            connections,
            memory_peak: AtomicU64::new(0),
            pause_until_ms: AtomicU64::new(0),
            pause_writes_only: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            save_at_stop: AtomicU8::new(0),
            quiet: AtomicU32::new(0),
            loaded_effects: AtomicU64::new(0),
        }
    }

    /// The same for a program that opens lines to the shards.
    #[must_use]
    pub fn with_entrances(mut self) -> Self {
        self.entrances = lines::entrances(&self.peers);
        self
    }

    /// Where a shard's lines come in, if there can be any.
    pub fn entrance(&self, shard: ShardId) -> Option<&Arc<Entrance<Inbound>>> {
        self.entrances.get(shard.index())
    }

    /// The shard with the fewest connections.
    pub fn quietest_shard(&self) -> ShardId {
        let loads = self.connections.iter().map(|count| count.0.load(Ordering::Relaxed));
        let shard = loads.enumerate().min_by_key(|(_, load)| *load).map_or(0, |(index, _)| index);
        ShardId(shard as u16)
    }

    /// The settings now, and their version.
    pub fn settings(&self) -> (Arc<Settings>, u64) {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&settings), self.settings_version.load(Ordering::Acquire))
    }

    /// Changes every time that the settings do.
    #[inline]
    pub fn settings_version(&self) -> u64 {
        self.settings_version.load(Ordering::Acquire)
    }

    /// Changes the settings; every shard takes them over with its next turn.
    pub fn change_settings<T, E>(&self, change: impl FnOnce(&mut Settings) -> Result<T, E>) -> Result<T, E> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Settings::clone(&settings);
        let result = change(&mut next)?;
        *settings = Arc::new(next);
        self.settings_version.fetch_add(1, Ordering::Release);
        drop(settings);
        self.wake_all();
        Ok(result)
    }

    /// Brings every shard to its next turn.
    pub fn wake_all(&self) {
        for shard in 0..self.peers.count() {
            self.peers.wake_by_event(ShardId(shard));
        }
    }

    /// A number for a new client.
    pub fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    /// Connections of all shards.
    pub fn connection_count(&self) -> u32 {
        self.connections.iter().map(|count| count.0.load(Ordering::Relaxed)).sum()
    }

    /// Counts a connection for the shard that has the fewest, and says which.
    pub fn place_connection(&self) -> ShardId {
        let shard = self.quietest_shard();
        self.count_connection(shard);
        shard
    }

    /// Each shard is to take a checkpoint before it stops, or none is.
    pub fn set_save_at_stop(&self, saves: bool) {
        self.save_at_stop.store(1 + u8::from(saves), Ordering::Release);
    }

    /// Whether each shard takes a checkpoint before it stops; nothing: as the settings say.
    pub fn save_at_stop(&self) -> Option<bool> {
        match self.save_at_stop.load(Ordering::Acquire) {
            0 => None,
            answer => Some(answer == 2),
        }
    }

    /// Counts a connection.
    pub fn count_connection(&self, shard: ShardId) {
        self.connections[shard.index()].0.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection has gone.
    pub fn uncount_connection(&self, shard: ShardId) {
        self.connections[shard.index()].0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The highest sum of memory so far, this one included.
    pub fn memory_peak(&self, now: u64) -> u64 {
        self.memory_peak.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// Sets or ends (with 0) the pause of clients.
    pub fn set_pause(&self, until_ms: u64, writes_only: bool) {
        self.pause_writes_only.store(writes_only, Ordering::Relaxed);
        self.pause_until_ms.store(until_ms, Ordering::Release);
        self.wake_all();
    }

    /// Until when clients pause (Unix ms, 0: they don't), and whether that concerns writes only.
    #[inline]
    pub fn pause(&self) -> (u64, bool) {
        (self.pause_until_ms.load(Ordering::Acquire), self.pause_writes_only.load(Ordering::Relaxed))
    }

    /// Asks all shards to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Whether a stop was asked for.
    #[inline]
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Recovery has applied so many effects more.
    pub fn note_loaded(&self, effects: u64) {
        self.loaded_effects.fetch_add(effects, Ordering::Relaxed);
    }

    /// How many effects recovery has applied so far, nearly.
    pub fn loaded_effects(&self) -> u64 {
        self.loaded_effects.load(Ordering::Relaxed)
    }

    /// A shard has nothing under way any more.
    pub fn become_quiet(&self) {
        self.quiet.fetch_add(1, Ordering::AcqRel);
        self.wake_all();
    }

    /// Whether no shard has anything under way, so that none will send another a request.
    pub fn all_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire) == u32::from(self.peers.count())
    }
}

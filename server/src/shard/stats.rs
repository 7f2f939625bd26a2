//! Counting: what INFO shows of this shard.

use std::sync::LazyLock;

use annulus_storage::{DatabaseId, LogState};

use super::Core;
use super::connection::Modes;
use super::interest::Kind;
use super::limits::TIMED_COMMANDS;
use crate::admin::info::{DatabaseCounters, MeshCounters, NameSets, ShardCounters, TrackingCounters};
use crate::commands::{self, Command};
use crate::runtime::Clock;

/// The name of each command as statistics show it, by its id.
static FULL_NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| commands::ALL.iter().map(Command::full_name).collect());

/// Error prefixes counted apart, at most: a client must not be able to fill memory with them.
const ERROR_KINDS_MAX: usize = 128;

/// Times one command in [`TIMED_COMMANDS`].
#[derive(Debug)]
pub(super) struct Timer {
    clock: Clock,
    count: u32,
}

impl Timer {
    pub(super) const fn new(clock: Clock) -> Self {
        Timer { clock, count: 0 }
    }
}

/// Rates over about the last second.
#[derive(Debug, Default)]
pub(super) struct Rates {
    since_ns: u64,
    commands: u64,
    input_bytes: u64,
    output_bytes: u64,
}

/// A rate is renewed when it is older than this.
const RATE_NS: u64 = 1_000_000_000;

impl Core {
    #[inline]
    pub(super) fn start_timer(&mut self) -> Option<u64> {
        self.timer.count = self.timer.count.wrapping_add(1);
        self.timer.count.is_multiple_of(TIMED_COMMANDS).then(|| self.timer.clock.monotonic_ns())
    }

    pub(super) fn stop_timer(&mut self, command: &Command, started_ns: u64) {
        let ns = self.timer.clock.monotonic_ns().saturating_sub(started_ns);
        let counters = &mut self.commands[command.id()];
        counters.ns += ns * u64::from(TIMED_COMMANDS);
        counters.latency.record(ns);
    }

    /// Counts an error reply by its first word.
    #[cold]
    pub(super) fn count_error(&mut self, text: &[u8]) {
        self.counters.traffic.error_replies += 1;
        let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(text.len());
        let prefix = String::from_utf8_lossy(&text[..end]);
        let errors = &mut self.counters.errors;
        if errors.len() < ERROR_KINDS_MAX || errors.contains_key(&*prefix) {
            *errors.entry(prefix.into()).or_default() += 1;
        }
    }

    /// Renews the rates when they are due; called with every turn.
    #[inline]
    pub(super) fn refresh_rates(&mut self) {
        let elapsed = self.time.monotonic_ns.saturating_sub(self.rates.since_ns);
        if elapsed < RATE_NS {
            return;
        }
        let traffic = &mut self.counters.traffic;
        let rate =
            |now: u64, before: u64| (u128::from(now - before) * 1_000_000_000 / u128::from(elapsed)) as u64;
        traffic.commands_per_second = rate(traffic.commands, self.rates.commands);
        traffic.input_bytes_per_second = rate(traffic.input_bytes, self.rates.input_bytes);
        traffic.output_bytes_per_second = rate(traffic.output_bytes, self.rates.output_bytes);
        self.rates = Rates {
            since_ns: self.time.monotonic_ns,
            commands: traffic.commands,
            input_bytes: traffic.input_bytes,
            output_bytes: traffic.output_bytes,
        };
    }

    /// Notes what recovery has read, and how long it took.
    pub fn note_recovery(&mut self, records: u64, duration_ns: u64) {
        self.counters.log.recovered_records = records;
        self.counters.log.recovery_us = duration_ns / 1000;
    }

    /// Sets what CONFIG RESETSTAT sets to zero.
    pub(super) fn reset_counters(&mut self) {
        let old = std::mem::take(&mut self.counters);
        self.counters.log = old.log;
        self.commands.fill_with(Default::default);
        self.store.reset_stats();
        self.links.counters = MeshCounters::default();
        self.rates = Rates { since_ns: self.time.monotonic_ns, ..Rates::default() };
    }

    /// Everything that this shard has counted, as it is now.
    pub(super) fn snapshot(&mut self) -> ShardCounters {
        self.refresh_rates();
        let mut counters = self.counters.clone();
        let stats = self.store.stats();
        counters.keyspace.hits = stats.hits;
        counters.keyspace.misses = stats.misses;
        counters.keyspace.expired = stats.expired_keys;
        counters.keyspace.expired_members = stats.expired_members;
        counters.keyspace.evicted = stats.evicted_keys;
        counters.mesh = self.links.counters.clone();
        let log = self.store.sink();
        counters.log.durable_lsn = log.horizon().0;
        counters.log.last_lsn = log.last_lsn().0;
        counters.log.commits_in_flight = self.commit_started.len() as u64;
        counters.log.failed = matches!(log.state(), LogState::Failed { .. });
        counters.checkpoint = self.checkpoint_counters();
        counters.scrub = self.scrub_counters();
        counters.memory.dataset = self.store.memory_bytes() as u64;
        let (segments, spare, segment_bytes) = log.segments();
        counters.log.segments = segments;
        counters.log.segments_spare = spare;
        counters.log.disk_bytes = segments * segment_bytes;
        counters.memory.log = log.backlog_bytes();
        counters.clients.connected = self.connections.len() as u64;
        counters.clients.blocked = (self.blocking.len() + self.waits.len()) as u64;
        let (tracking, keys, items) = self.tracking.sizes();
        counters.clients.tracking = tracking as u64;
        counters.tracking = TrackingCounters { keys: keys as u64, items: items as u64 };
        counters.names = self.name_sets();
        for connection in self.connections.iter() {
            counters.clients.pubsub += u64::from(connection.session.modes.intersects(Modes::LISTENS));
            let (input, output) = (connection.input.len() as u64, connection.output_bytes() as u64);
            counters.memory.clients +=
                input + output + (size_of_val(connection) + size_of_val(&*connection.session)) as u64;
            counters.clients.input_buffer_max = counters.clients.input_buffer_max.max(input);
            counters.clients.output_buffer_max = counters.clients.output_buffer_max.max(output);
        }
        for (command, counted) in commands::ALL.iter().zip(&self.commands) {
            if counted.calls + counted.rejected + counted.failed > 0 {
                counters.commands.insert(&FULL_NAMES[command.id()], counted.clone());
            }
        }
        for index in 0..self.store.databases() {
            let database = DatabaseId(index);
            let keys = self.store.len(database) as u64;
            if keys > 0 {
                let expires = self.store.expires_len(database) as u64;
                let avg_ttl_ms = self.store.average_ttl_ms(database);
                counters.databases.insert(u32::from(index), DatabaseCounters { keys, expires, avg_ttl_ms });
            }
        }
        counters
    }

    /// Everything that is listened to here.
    fn name_sets(&self) -> NameSets {
        let interest = &self.shared.interest;
        let names = |kind| self.listeners.names(kind).map(|(name, _)| interest.hash(kind, name)).collect();
        NameSets {
            channels: names(Kind::Channel),
            patterns: names(Kind::Pattern),
            shard_channels: names(Kind::ShardChannel),
            prefixes: self.tracking.prefixes().map(|prefix| interest.hash(Kind::Pattern, prefix)).collect(),
        }
    }
}

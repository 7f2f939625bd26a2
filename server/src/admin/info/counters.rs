//! What a shard counts: plain numbers, grouped by the part of the shard that owns them. A snapshot is a clone,
//! which travels to the shard that answers INFO; snapshots of all shards merge into the server's.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::histogram::Histogram;

macro_rules! counters {
    ($(#[doc = $doc:expr])+ $(#[derive($copy:ident)])? $ty:ident { $($(#[doc = $field_doc:expr])+ $how:ident $field:ident: $kind:ty,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, Eq $(, $copy)?)]
        pub struct $ty { $($(#[doc = $field_doc])+ pub $field: $kind,)+ }

        impl $ty {
            /// Adds what another shard counted.
            pub fn merge(&mut self, other: &Self) {
                $(counters!(@$how self.$field, other.$field);)+
            }
        }
    };
    (@sum $ours:expr, $theirs:expr) => { $ours += $theirs };
    (@max $ours:expr, $theirs:expr) => { $ours = $ours.max($theirs) };
    (@either $ours:expr, $theirs:expr) => { $ours |= $theirs };
    (@merge $ours:expr, $theirs:expr) => { $ours.merge(&$theirs) };
}

counters! {
    /// Connections.
    ClientCounters {
        /// Connections that are open.
        sum connected: u64,
        /// Connections that wait in a blocking command.
        sum blocked: u64,
        /// Connections with a subscription.
        sum pubsub: u64,
        /// Connections that watch keys.
        sum watching: u64,
        /// Connections with invalidation tracking.
        sum tracking: u64,
        /// Connections that were accepted, ever.
        sum received: u64,
        /// Connections that were refused because there were `maxclients`.
        sum rejected: u64,
        /// Connections closed because their output was above its limit.
        sum output_limit_closed: u64,
        /// Connections closed because their input was above its limit.
        sum input_limit_closed: u64,
        /// The longest input buffer of a connection, lately.
        max input_buffer_max: u64,
        /// The longest output buffer of a connection, lately.
        max output_buffer_max: u64,
    }
}

counters! {
    /// Commands and the bytes that carried them.
    TrafficCounters {
        /// Commands that were run, counted by the shard of the connection.
        sum commands: u64,
        /// Commands a second, lately.
        sum commands_per_second: u64,
        /// Bytes received from clients.
        sum input_bytes: u64,
        /// Bytes sent to clients.
        sum output_bytes: u64,
        /// Bytes a second received, lately.
        sum input_bytes_per_second: u64,
        /// Bytes a second sent, lately.
        sum output_bytes_per_second: u64,
        /// Receive completions.
        sum receives: u64,
        /// Sends.
        sum sends: u64,
        /// Error replies.
        sum error_replies: u64,
    }
}

counters! {
    /// Keys.
    KeyspaceCounters {
        /// Reads that found their key.
        sum hits: u64,
        /// Reads that did not.
        sum misses: u64,
        /// Keys removed because their time had come.
        sum expired: u64,
        /// Fields of hashes removed because their time had come.
        sum expired_members: u64,
        /// Keys removed to make room.
        sum evicted: u64,
        /// Changes of data since the start.
        sum changes: u64,
    }
}

counters! {
    /// Memory, in bytes, by what it is for.
    MemoryCounters {
        /// Keys and values.
        sum dataset: u64,
        /// The tables that find them.
        sum tables: u64,
        /// Connections and their buffers.
        sum clients: u64,
        /// Log frames that are being filled or written.
        sum log: u64,
        /// Queues to the other shards.
        sum mesh: u64,
    }
}

counters! {
    /// The log.
    LogCounters {
        /// Everything up to this LSN is on stable storage. Of the server: of the furthest shard.
        max durable_lsn: u64,
        /// The last LSN that was given out. Of the server: by the furthest shard.
        max last_lsn: u64,
        /// Log writes that are done.
        sum commits: u64,
        /// Bytes of these writes.
        sum commit_bytes: u64,
        /// Log writes that are under way.
        sum commits_in_flight: u64,
        /// From the start of a log write to its completion.
        merge commit_latency: Histogram,
        /// Replies that waited for the durable horizon.
        sum replies_gated: u64,
        /// Segments that hold records.
        sum segments: u64,
        /// Segments that were prepared and wait for use.
        sum segments_spare: u64,
        /// Bytes of all segments.
        sum disk_bytes: u64,
        /// Records that were replayed at the start.
        sum recovered_records: u64,
        /// Microseconds of the replay; shards replay at the same time.
        max recovery_us: u64,
        /// Whether a log write failed: nothing more is acknowledged.
        either failed: bool,
    }
}

counters! {
    /// Checkpoints.
    #[derive(Copy)]
    CheckpointCounters {
        /// Shards that are taking one.
        sum in_progress: u64,
        /// Checkpoints since the start.
        sum completed: u64,
        /// Bytes of the newest.
        sum bytes: u64,
        /// Records of the newest, or of the one that is being taken.
        sum records: u64,
        /// Records that were loaded at the start.
        sum records_loaded: u64,
        /// Up to here the newest has effects. Of the server: of the furthest shard.
        max lsn: u64,
        /// Effects that are in no checkpoint.
        sum changes: u64,
        /// How long the newest took.
        max last_seconds: u64,
        /// For how long one has been under way.
        max current_seconds: u64,
        /// Memory of one under way.
        sum memory: u64,
        /// Bytes of log that is kept for going back in time.
        sum retained_bytes: u64,
        /// Since when the shard can be restored to any time, ms of Unix time; 0 when nothing is kept. Of the server: since when all can.
        max reaches_ms: u64,
        /// Damaged ones that the start did without.
        sum start_damaged: u64,
        /// Segments that were kept for going back in time, and that the start needed in their place.
        sum start_taken_back: u64,
        /// Whether the last attempt failed.
        either failed: bool,
    }
}

counters! {
    /// Reading again what is on the disk.
    #[derive(Copy)]
    ScrubCounters {
        /// Shards that are at it.
        sum in_progress: u64,
        /// Bytes that those have read.
        sum read_bytes: u64,
        /// Bytes that those have to read.
        sum total_bytes: u64,
        /// Places found damaged the last time, and so far.
        sum faults: u64,
        /// Seconds since the last time ended.
        max age_seconds: u64,
        /// Whether there is a shard where there was none yet.
        either never: bool,
    }
}

counters! {
    /// Traffic between shards.
    MeshCounters {
        /// Batches sent to other shards, replies among them.
        sum batches: u64,
        /// Commands sent to other shards.
        sum commands: u64,
        /// Sleeping peers that were woken.
        sum wakes: u64,
        /// How often a full queue held up connections.
        sum stalls: u64,
    }
}

counters! {
    /// Client-side caching.
    TrackingCounters {
        /// Keys that are remembered because a connection has read them.
        sum keys: u64,
        /// Readers of these keys.
        sum items: u64,
    }
}

/// Names that may be known to several shards, by their hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameSets {
    /// Channels with listeners.
    pub channels: BTreeSet<u64>,
    /// Patterns with listeners.
    pub patterns: BTreeSet<u64>,
    /// Shard channels with listeners.
    pub shard_channels: BTreeSet<u64>,
    /// Prefixes of client-side caching.
    pub prefixes: BTreeSet<u64>,
}

impl NameSets {
    fn merge(&mut self, other: &Self) {
        self.channels.extend(&other.channels);
        self.patterns.extend(&other.patterns);
        self.shard_channels.extend(&other.shard_channels);
        self.prefixes.extend(&other.prefixes);
    }
}

counters! {
    /// The loop.
    TurnCounters {
        /// Turns of the loop.
        sum turns: u64,
        /// System calls of the loop.
        sum system_calls: u64,
        /// How often the shard slept.
        sum sleeps: u64,
        /// How often it found work by spinning, and so did not sleep.
        sum spins_won: u64,
        /// The longest turn, in microseconds.
        max turn_us_max: u64,
    }
}

counters! {
    /// The calls of one command.
    CommandCounters {
        /// Calls that ran.
        sum calls: u64,
        /// Nanoseconds they took.
        sum ns: u64,
        /// Calls that were refused before they ran: arity, rights, state of the server.
        sum rejected: u64,
        /// Calls that ran and answered with an error.
        sum failed: u64,
        /// Durations of the calls; empty where they are not taken.
        merge latency: Histogram,
    }
}

/// One database, on one shard or on all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseCounters {
    /// Keys.
    pub keys: u64,
    /// Keys with a time to live.
    pub expires: u64,
    /// About how long these keys have left on average, in milliseconds; 0 when not known.
    pub avg_ttl_ms: u64,
}

impl DatabaseCounters {
    fn merge(&mut self, other: &Self) {
        let expires = self.expires + other.expires;
        let total = u128::from(self.avg_ttl_ms) * u128::from(self.expires)
            + u128::from(other.avg_ttl_ms) * u128::from(other.expires);
        self.avg_ttl_ms = total.checked_div(u128::from(expires)).unwrap_or_default() as u64;
        self.keys += other.keys;
        self.expires = expires;
    }
}

counters! {
    /// Transactions over several shards.
    TransactionCounters {
        /// Begun, counted by their coordinators.
        sum started: u64,
        /// Grants of locks that an older transaction asked back.
        sum wounded: u64,
        /// Scripts that began again, because they needed more keys than they were known to.
        sum restarted: u64,
        /// Commands on one shard that had to wait for a transaction.
        sum commands_waited: u64,
    }
}

/// Everything that one shard counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardCounters {
    /// Connections.
    pub clients: ClientCounters,
    /// Commands and bytes.
    pub traffic: TrafficCounters,
    /// Keys.
    pub keyspace: KeyspaceCounters,
    /// Memory.
    pub memory: MemoryCounters,
    /// The log.
    pub log: LogCounters,
    /// Transactions.
    pub transactions: TransactionCounters,
    /// Checkpoints.
    pub checkpoint: CheckpointCounters,
    /// Reading again what is on the disk.
    pub scrub: ScrubCounters,
    /// Traffic between shards.
    pub mesh: MeshCounters,
    /// Client-side caching.
    pub tracking: TrackingCounters,
    /// What is listened to.
    pub names: NameSets,
    /// The loop.
    pub turns: TurnCounters,
    /// Calls by lower-case name of the command (`client|list` for subcommands); those never called are left out.
    pub commands: BTreeMap<&'static str, CommandCounters>,
    /// Error replies by their first word (`ERR`, `WRONGTYPE`).
    pub errors: BTreeMap<Box<str>, u64>,
    /// The databases that hold keys, by number.
    pub databases: BTreeMap<u32, DatabaseCounters>,
}

impl ShardCounters {
    /// Adds what another shard counted.
    pub fn merge(&mut self, other: &Self) {
        self.clients.merge(&other.clients);
        self.traffic.merge(&other.traffic);
        self.keyspace.merge(&other.keyspace);
        self.memory.merge(&other.memory);
        self.log.merge(&other.log);
        self.transactions.merge(&other.transactions);
        self.checkpoint.merge(&other.checkpoint);
        self.scrub.merge(&other.scrub);
        self.mesh.merge(&other.mesh);
        self.tracking.merge(&other.tracking);
        self.names.merge(&other.names);
        self.turns.merge(&other.turns);
        for (name, counters) in &other.commands {
            self.commands.entry(name).or_default().merge(counters);
        }
        for (prefix, count) in &other.errors {
            *self.errors.entry(prefix.clone()).or_default() += count;
        }
        for (index, counters) in &other.databases {
            self.databases.entry(*index).or_default().merge(counters);
        }
    }
}

//! Who wants to be told what: which shards have listeners, monitors and caching clients.
//!
//! A shard that has something to tell asks here which others to tell it, so that nothing travels to where nobody listens.
//!
//! - A shard raises its counters *before* it answers the client that asked, and lowers them when nobody is left. So
//!   whoever sends something after a subscription was acknowledged finds its counter raised: none is missed, and the
//!   number of receivers that PUBLISH tells is exact. A counter that is too high costs a message in vain.
//! - Each shard changes its own counters only. They change when clients come and go, and are read with each message:
//!   cache lines that all shards share.

use std::sync::atomic::{AtomicU32, Ordering};

use annulus_storage::ShardId;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// What one can listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    ShardChannel,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::ShardChannel];

    /// Its number, for tables with a place for each.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Channels of a shard are counted by hash, in so many buckets: with a few hundred channels a shard is hardly ever
/// asked in vain, with many more it is asked always, which is what it would be without.
const BUCKETS: usize = 1024;

/// What one shard has.
#[repr(align(128))]
#[derive(Debug)]
struct ShardInterest {
    patterns: AtomicU32,
    monitors: AtomicU32,
    broadcast: AtomicU32,
    channels: Box<[AtomicU32]>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Interest {
    secrets: RapidSecrets,
    shards: Box<[ShardInterest]>,
    /// Channels and patterns that somebody listens to, on all shards; one that several shards have counts for each.
    names: AtomicU32,
    monitors: AtomicU32,
    /// Connections with tracking, of all shards.
    tracking: AtomicU32,
}

/// Which of several is changed by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One more.
    Up,
    /// One less.
    Down,
}

/// A counter that only its own shard changes.
fn step(counter: &AtomicU32, step: Step) {
    let before = counter.load(Ordering::Relaxed);
    let after = match step {
        Step::Up => before.checked_add(1),
        Step::Down => before.checked_sub(1),
    };
    counter.store(after.expect("who goes has come, and there are not so many"), Ordering::Release);
}

/// A counter that all shards change.
fn step_shared(counter: &AtomicU32, step: Step) {
    let before = match step {
        Step::Up => counter.fetch_add(1, Ordering::AcqRel),
        Step::Down => counter.fetch_sub(1, Ordering::AcqRel),
    };
    assert!(step == Step::Up || before > 0, "more went than had come");
}

impl Interest {
    /// Nobody wants anything.
    pub fn new(shards: u16, seed: u64) -> Self {
        let shard = |_| ShardInterest {
            patterns: AtomicU32::new(0),
            monitors: AtomicU32::new(0),
            broadcast: AtomicU32::new(0),
            channels: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
        };
        Interest {
            secrets: RapidSecrets::seed(seed),
            shards: (0..shards).map(shard).collect(),
            names: AtomicU32::new(0),
            monitors: AtomicU32::new(0),
            tracking: AtomicU32::new(0),
        }
    }

    /// The hash of a name, the same on every shard.
    pub fn hash(&self, kind: Kind, name: &[u8]) -> u64 {
        rapidhash_v3_seeded(name, &self.secrets).rotate_left(kind.index() as u32 * 8)
    }

    /// A shard has its first listener to a name, or lost its last.
    pub fn change_name(&self, shard: ShardId, kind: Kind, name: &[u8], by: Step) {
        let own = &self.shards[shard.index()];
        match kind {
            Kind::Pattern => step(&own.patterns, by),
            Kind::Channel | Kind::ShardChannel => {
                step(&own.channels[self.hash(kind, name) as usize % BUCKETS], by);
            }
        }
        step_shared(&self.names, by);
    }

    /// Whether anybody listens to anything.
    pub fn is_anybody_listening(&self) -> bool {
        self.names.load(Ordering::Acquire) > 0
    }

    /// Whether a shard may have listeners to a message on this channel, whose [`Interest::hash`] is `hash`.
    pub fn wants(&self, shard: ShardId, kind: Kind, hash: u64) -> bool {
        let own = &self.shards[shard.index()];
        own.channels[hash as usize % BUCKETS].load(Ordering::Acquire) > 0
            || (kind == Kind::Channel && own.patterns.load(Ordering::Acquire) > 0)
    }

    /// A connection of a shard begins or ends to monitor.
    pub fn change_monitors(&self, shard: ShardId, by: Step) {
        step(&self.shards[shard.index()].monitors, by);
        step_shared(&self.monitors, by);
    }

    /// Whether anybody monitors.
    pub fn is_monitored(&self) -> bool {
        self.monitors.load(Ordering::Acquire) > 0
    }

    /// Whether a shard has monitors.
    pub fn has_monitors(&self, shard: ShardId) -> bool {
        self.shards[shard.index()].monitors.load(Ordering::Acquire) > 0
    }

    /// A connection of any shard begins or ends to track.
    pub fn change_tracking(&self, by: Step) {
        step_shared(&self.tracking, by);
    }

    /// Whether any connection tracks.
    pub fn is_tracked(&self) -> bool {
        self.tracking.load(Ordering::Acquire) > 0
    }

    /// A connection of a shard begins or ends to want every change (tracking with BCAST).
    pub fn change_broadcast(&self, shard: ShardId, by: Step) {
        step(&self.shards[shard.index()].broadcast, by);
    }

    /// Whether a shard wants to know of every change.
    pub fn wants_broadcast(&self, shard: ShardId) -> bool {
        self.shards[shard.index()].broadcast.load(Ordering::Acquire) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ShardId = ShardId(0);
    const B: ShardId = ShardId(1);

    fn wants(interest: &Interest, shard: ShardId, kind: Kind, name: &[u8]) -> bool {
        interest.wants(shard, kind, interest.hash(kind, name))
    }

    #[test]
    fn a_shard_is_told_as_long_as_it_has_a_listener() {
        let interest = Interest::new(2, 7);
        assert!(!interest.is_anybody_listening());
        interest.change_name(B, Kind::Channel, b"news", Step::Up);
        assert!(interest.is_anybody_listening());
        assert!(wants(&interest, B, Kind::Channel, b"news"));
        assert!(!wants(&interest, A, Kind::Channel, b"news"));
        assert!(!wants(&interest, B, Kind::Channel, b"weather"), "another bucket, with this seed");
        assert!(!wants(&interest, B, Kind::ShardChannel, b"news"), "shard channels are others");
        interest.change_name(B, Kind::Channel, b"news", Step::Down);
        assert!(!wants(&interest, B, Kind::Channel, b"news"));
        assert!(!interest.is_anybody_listening());
    }

    #[test]
    fn patterns_want_every_channel_but_no_shard_channel() {
        let interest = Interest::new(2, 7);
        interest.change_name(A, Kind::Pattern, b"n*", Step::Up);
        assert!(wants(&interest, A, Kind::Channel, b"anything"));
        assert!(!wants(&interest, A, Kind::ShardChannel, b"anything"));
        assert!(!wants(&interest, B, Kind::Channel, b"anything"));
    }
}

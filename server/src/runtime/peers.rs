//! What shards know of each other outside the mesh: who sleeps, and how to wake it.
//!
//! The protocol, which loses no wake-up: a shard that is about to block sets its `sleeping` flag, fences, and looks
//! at its inbound queues once more; a sender pushes, fences, and looks at the flag. The fences are sequentially
//! consistent, so at least one of the two sees the other. The flag is taken by exchange: one wake a sleep.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering, fence};

use annulus_storage::ShardId;

/// Keeps each shard's words on cache lines of their own (two lines: adjacent-line prefetch).
#[repr(align(128))]
#[derive(Debug)]
struct PeerState {
    sleeping: AtomicBool,
    /// The ring to send a message to, or -1: use the eventfd.
    ring: AtomicI32,
    event: WakeEvent,
}

/// What wakes a shard that can't be sent a ring message.
#[derive(Debug)]
enum WakeEvent {
    Descriptor(OwnedFd),
    /// In a simulated world, which looks at it between turns.
    Flag(AtomicBool),
}

impl PeerState {
    const fn new(event: WakeEvent) -> Self {
        PeerState { sleeping: AtomicBool::new(false), ring: AtomicI32::new(-1), event }
    }
}

/// The sleep states and wake handles of all shards.
#[derive(Clone, Debug)]
pub struct Peers {
    states: Arc<[PeerState]>,
}

impl Peers {
    /// For so many shards, all awake.
    pub fn new(shards: u16) -> std::io::Result<Self> {
        let states: std::io::Result<Vec<PeerState>> = (0..shards)
            .map(|_| {
                let flags = rustix::event::EventfdFlags::NONBLOCK | rustix::event::EventfdFlags::CLOEXEC;
                let event = rustix::event::eventfd(0, flags)?;
                Ok(PeerState::new(WakeEvent::Descriptor(event)))
            })
            .collect();
        Ok(Peers { states: states?.into() })
    }

    /// For so many shards of a simulated world.
    pub fn simulated(shards: u16) -> Self {
        let states = (0..shards).map(|_| PeerState::new(WakeEvent::Flag(AtomicBool::new(false))));
        Peers { states: states.collect() }
    }

    /// How many shards there are.
    pub fn count(&self) -> u16 {
        self.states.len() as u16
    }

    /// Says that `shard` is about to sleep. Look at all inbound queues after this, before sleeping.
    pub fn announce_sleep(&self, shard: ShardId) {
        self.states[shard.index()].sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that `shard` is awake.
    pub fn announce_awake(&self, shard: ShardId) {
        self.states[shard.index()].sleeping.store(false, Ordering::Relaxed);
    }

    /// After a push to `shard`: whether the caller has to wake it.
    pub fn take_sleeping(&self, shard: ShardId) -> bool {
        fence(Ordering::SeqCst);
        let sleeping = &self.states[shard.index()].sleeping;
        sleeping.load(Ordering::Relaxed) && sleeping.swap(false, Ordering::Relaxed)
    }

    /// The descriptor that a driver watches for wake-ups from threads that have no ring.
    ///
    /// # Panics
    /// In a simulated world, where there are none.
    pub fn event(&self, shard: ShardId) -> BorrowedFd<'_> {
        match &self.states[shard.index()].event {
            WakeEvent::Descriptor(event) => event.as_fd(),
            WakeEvent::Flag(_) => unreachable!("shard {shard} is simulated and has no descriptor"),
        }
    }

    /// Whether a simulated shard has been woken and has not taken notice.
    pub fn is_woken(&self, shard: ShardId) -> bool {
        matches!(&self.states[shard.index()].event, WakeEvent::Flag(woken) if woken.load(Ordering::Relaxed))
    }

    /// Whether a simulated shard has been woken since the last look.
    pub fn take_woken(&self, shard: ShardId) -> bool {
        match &self.states[shard.index()].event {
            WakeEvent::Descriptor(_) => false,
            WakeEvent::Flag(woken) => woken.swap(false, Ordering::Relaxed),
        }
    }

    /// Wakes `shard` through its eventfd, from any thread.
    pub fn wake_by_event(&self, shard: ShardId) {
        match &self.states[shard.index()].event {
            // Fails only when the counter is at its limit, and then the shard is being woken already.
            WakeEvent::Descriptor(event) => drop(rustix::io::write(event, &1u64.to_ne_bytes())),
            WakeEvent::Flag(woken) => woken.store(true, Ordering::Relaxed),
        }
    }

    /// Empties the eventfd after a wake-up.
    pub fn drain_event(&self, shard: ShardId) {
        let _ = rustix::io::read(self.event(shard), &mut [0u8; 8]);
    }

    /// Makes a shard's ring known to the others.
    pub fn publish_ring(&self, shard: ShardId, ring: i32) {
        self.states[shard.index()].ring.store(ring, Ordering::Release);
    }

    /// The ring of `shard`, if it has published one.
    pub fn ring(&self, shard: ShardId) -> Option<i32> {
        let ring = self.states[shard.index()].ring.load(Ordering::Acquire);
        (ring >= 0).then_some(ring)
    }
}

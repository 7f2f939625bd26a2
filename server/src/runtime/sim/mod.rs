//! The simulated backend: virtual time, a virtual network and a virtual disk, from one seed, for all shards of a
//! server in one thread. The shard code above it is the production code.
//!
//! A [`World`] is one machine: it owns everything outside the shards, which is clock, disk, connections, what is on its way, and the
//! only randomness. Several may stand side by side, in the same time. [`Sim`] is one shard's driver in it. Whoever runs the simulation calls the two halves of [`crate::shard::Shard::turn`] in an order
//! of its choice, and moves time on when nobody has anything to do.
//!
//! Invariants:
//! - the same seed and the same calls give the same events in the same order: nothing here depends on addresses, hashes with
//!   random keys, or the machine;
//! - a write has no effect on the disk before it ends; one that a crash catches leaves any part of its sectors;
//! - bytes of one direction of a connection arrive in order.
//!
//! What a crash leaves: [`World::crash`] is the crash. What faults there are, and why these, is in `docs/fault-model.md`.

mod disk;
mod driver;
mod faults;
mod network;
mod trace;
mod world;

pub use disk::SimDisk;
pub use driver::Sim;
pub use faults::{Chance, CrashStyle, Faults, Planted};
pub use network::{ConnectionId, Received, SimSocket};
pub use world::World;

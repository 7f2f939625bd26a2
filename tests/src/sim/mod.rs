//! The simulator: whole servers of several shards in one thread, under faults, from one seed; and the judges of what its
//! clients saw.
//!
//! - [`server`]: starts, turns, crashes and stops the shards in a [`annulus::runtime::sim::World`];
//! - [`plan`]: what a seed decides in advance; [`run`]: a whole run of one seed, `life`: one server's part in it, and [`report`]:
//!   what came of it;
//! - [`workload`] makes commands, [`everywhere`] those whose atomicity over all shards is checked on the spot (`lua`: as scripts), [`client`] speaks RESP for them, [`history`] is what was called and answered when;
//! - [`host`]: a server without faults, for scripts;
//! - [`model`], with [`collections`] and `members`, says what a command does, [`checker`] whether some order of all commands explains all answers;
//! - [`commit`] runs a seed in the code of another commit.
//!
//! The shard code is the production code. The model, the checker and the clients share nothing with it.

pub mod checker;
pub mod client;
pub mod collections;
pub mod commit;
pub mod everywhere;
pub mod history;
pub mod host;
mod life;
mod lua;
mod members;
pub mod model;
pub mod plan;
pub mod report;
pub mod run;
pub mod server;
pub mod workload;

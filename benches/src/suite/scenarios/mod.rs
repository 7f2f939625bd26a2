//! The scenarios: each answers one question about the server beside its peers.

mod checkpoint;
mod commands;
mod durable;
mod elements;
mod idle;
mod keys;
mod memory;
mod recovery;
mod shards;

use std::io;

use super::trial::Plan;

/// What to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// GET and SET without durability, unpipelined and pipelined.
    Memory,
    /// SET with every write on disk before its reply.
    Durable,
    /// Ten thousand idle connections beside fifty busy ones.
    IdleConnections,
    /// One shard, two, and two with clients that know the owner's port.
    Shards,
    /// Memory for each key, and the longest insert.
    MemoryPerKey,
    /// Memory for each element of small and large collections, against redis-server.
    MemoryPerElement,
    /// Start after a crash with millions of records.
    Recovery,
    /// SET while checkpoints are taken, over millions of keys.
    Checkpoint,
    /// Commands on every data type, against redis-server.
    Types,
    /// EVAL of one call, against redis-server.
    Scripts,
    /// Commands over two shards against such on one, and all clients at a few keys.
    Transactions,
    /// CPU time of a server with nothing to do.
    IdleCpu,
}

/// Runs one scenario and prints its table.
pub fn run(plan: &Plan, scenario: Scenario) -> io::Result<()> {
    plan.move_to_load_cores()?;
    match scenario {
        Scenario::Memory => memory::run(plan),
        Scenario::Durable => durable::run(plan),
        Scenario::IdleConnections => idle::run_connections(plan),
        Scenario::Shards => shards::run(plan),
        Scenario::MemoryPerKey => keys::run(plan),
        Scenario::MemoryPerElement => elements::run(plan),
        Scenario::Recovery => recovery::run(plan),
        Scenario::Checkpoint => checkpoint::run(plan),
        Scenario::Types => commands::run_types(plan),
        Scenario::Scripts => commands::run_scripts(plan),
        Scenario::Transactions => commands::run_transactions(plan),
        Scenario::IdleCpu => idle::run_cpu(plan),
    }
}

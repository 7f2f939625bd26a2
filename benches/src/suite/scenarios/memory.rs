//! GET and SET of 64-byte values over a million keys, without durability: against the peer and the floor.

use std::io;

use crate::suite::load::Load;
use crate::suite::servers::{Durability, Kind};
use crate::suite::trial::{Plan, Trial, run_rounds};

const KEY_COUNT: u64 = 1_000_000;
const VALUE_BYTES: usize = 64;
const CONNECTIONS: usize = 50;
/// Pipeline while filling.
const FILL_DEPTH: u64 = 1000;

pub(super) fn run(plan: &Plan) -> io::Result<()> {
    let none = Durability::None;
    let servers =
        plan.start_all(&[Kind::annulus(none), Kind::Redis(none), Kind::Valkey(none), Kind::Echo])?;
    for (kind, server) in &servers {
        if *kind != Kind::Echo {
            server.client()?.fill(KEY_COUNT, VALUE_BYTES, FILL_DEPTH, |number| plan.tool.key(number))?;
        }
    }
    let mut trials = Vec::new();
    for (pipeline, set) in [(1, false), (1, true), (30, false), (30, true)] {
        for (kind, server) in &servers {
            trials.push(Trial {
                case: format!("{}, pipeline {pipeline}", if set { "SET" } else { "GET" }),
                contender: kind.name(),
                server,
                load: Load {
                    tool: plan.tool,
                    connections: CONNECTIONS,
                    pipeline,
                    set,
                    value_bytes: VALUE_BYTES,
                    key_count: KEY_COUNT,
                    command: None,
                    cluster: false,
                },
            });
        }
    }
    run_rounds(plan, &trials)?.print("memory: no durability, 50 connections", &["redis-server", "echo"]);
    Ok(())
}

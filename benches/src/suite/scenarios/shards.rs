//! One shard, two shards, and two shards whose clients go to the owner's port. Servers and load share all cores.

use std::io;

use crate::suite::load::{Load, Tool, find_program};
use crate::suite::servers::{Durability, Kind};
use crate::suite::trial::{Plan, Trial, run_rounds};

const KEY_COUNT: u64 = 1_000_000;
const VALUE_BYTES: usize = 64;
const CONNECTIONS: usize = 50;

pub(super) fn run(plan: &Plan) -> io::Result<()> {
    let plan = plan.sharing_all_cores();
    plan.move_to_load_cores()?;

    let memtier = find_program("memtier_benchmark").is_some();
    if !memtier {
        println!("\n*memtier_benchmark was not found: owner-port is left out, which only it drives.*");
    }
    let annulus = |shards| Kind::Annulus { durability: Durability::None, shards, cluster_ports: shards > 1 };
    let servers = plan.start_all(&[annulus(1), annulus(2)])?;
    let mut trials = Vec::new();
    for tool in [Tool::Memtier, plan.tool] {
        if trials.iter().any(|trial: &Trial| trial.load.tool == tool) || (tool == Tool::Memtier && !memtier) {
            continue;
        }
        for pipeline in [1, 30] {
            for (kind, server) in &servers {
                let one = *kind == annulus(1);
                let mut trial = |contender: &str, cluster| {
                    trials.push(Trial {
                        case: format!("SET, pipeline {pipeline}, {}", tool.name()),
                        contender: contender.to_owned(),
                        server,
                        load: Load {
                            tool,
                            connections: CONNECTIONS,
                            pipeline,
                            set: true,
                            value_bytes: VALUE_BYTES,
                            key_count: KEY_COUNT,
                            command: None,
                            cluster,
                        },
                    });
                };
                trial(if one { "one shard" } else { "two shards, any port" }, false);
                if !one && tool == Tool::Memtier {
                    trial("two shards, owner's port", true);
                }
            }
        }
    }
    run_rounds(&plan, &trials)?.print("shards: servers and load share the cores", &["one shard"]);
    Ok(())
}

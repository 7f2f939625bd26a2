//! SET of 100 bytes, every write on disk before its reply: against the peer, and against ourselves without.

use std::io;

use crate::suite::load::Load;
use crate::suite::servers::{Durability, Kind};
use crate::suite::trial::{Plan, Trial, run_rounds};

const KEY_COUNT: u64 = 1_000_000;
const VALUE_BYTES: usize = 100;
const NONE: &str = "annulus, none";

pub(super) fn run(plan: &Plan) -> io::Result<()> {
    let (always, without) = (Durability::Always, Kind::annulus(Durability::None));
    let servers =
        plan.start_all(&[Kind::annulus(always), Kind::Redis(always), Kind::Valkey(always), without])?;
    let mut trials = Vec::new();
    for (connections, pipeline) in [(50, 1), (500, 1), (50, 16)] {
        for (kind, server) in &servers {
            trials.push(Trial {
                case: format!("{connections} connections, pipeline {pipeline}"),
                contender: if *kind == without { NONE.to_owned() } else { kind.name() },
                server,
                load: Load {
                    tool: plan.tool,
                    connections,
                    pipeline,
                    set: true,
                    value_bytes: VALUE_BYTES,
                    key_count: KEY_COUNT,
                    command: None,
                    cluster: false,
                },
            });
        }
    }
    run_rounds(plan, &trials)?.print("durable: SET of 100 bytes, always", &["redis-server", NONE]);
    Ok(())
}

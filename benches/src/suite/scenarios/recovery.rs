//! Start after a crash: millions of durable records, `kill -9`, and the time until the server answers. From a log alone, and from
//! a checkpoint (of a peer: an RDB file).

use std::io::{self, Error};
use std::time::Duration;

use super::checkpoint::await_rest;
use crate::suite::client::ring_key;
use crate::suite::process::Server;
use crate::suite::report::{Table, median, number};
use crate::suite::servers::{Durability, Kind};
use crate::suite::trial::Plan;

const RECORD_COUNT_DEFAULT: u64 = 10_000_000;
const VALUE_BYTES: usize = 64;
const FILL_DEPTH: u64 = 1000;

pub(super) fn run(plan: &Plan) -> io::Result<()> {
    let count = plan.keys.unwrap_or(RECORD_COUNT_DEFAULT);
    let mut table = Table::new(
        &format!("recovery: {} records of 16 and 64 bytes, one core", number(count as f64)),
        &["server", "until PONG, s", "M records/s", "CPU s"],
    );
    let always = Durability::Always;
    for (name, kind, saves) in [
        ("annulus, log", Kind::annulus(always), false),
        ("annulus, checkpoint", Kind::annulus(always), true),
        ("redis-server, append-only file", Kind::Redis(always), false),
        ("redis-server, RDB file", Kind::Redis(Durability::None), true),
    ] {
        let Some(program) = kind.program(&plan.binaries).filter(|_| plan.has(kind)) else { continue };
        let mut server = plan.start(kind)?;
        eprintln!("recovery: filling {name}");
        // No checkpoint but the one that is asked for.
        server.client()?.command(&[b"CONFIG", b"SET", b"auto-aof-rewrite-percentage", b"0"])?;
        server.client()?.fill(count, VALUE_BYTES, FILL_DEPTH, ring_key)?;
        if saves {
            await_rest(&server)?;
            server.client()?.command(&[b"BGSAVE"])?;
            await_rest(&server)?;
        }
        let (mut times, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            let time = server.crash_and_restart(program, &plan.server_core_list(), |port, directory| {
                kind.arguments(port, directory)
            })?;
            check(&server, count)?;
            times.push(time.as_secs_f64());
            cpu.push(server.usage()?.cpu);
        }
        let seconds = median(&times);
        let cpu_seconds = median(&cpu.iter().map(Duration::as_secs_f64).collect::<Vec<_>>());
        table.row(vec![
            name.to_owned(),
            number(seconds),
            number(count as f64 / seconds / 1e6),
            number(cpu_seconds),
        ]);
    }
    println!("{}", table.markdown());
    Ok(())
}

/// Every record must be there: they were all acknowledged.
fn check(server: &Server, count: u64) -> io::Result<()> {
    let mut client = server.client()?;
    let size = client.command(&[b"DBSIZE"])?.text;
    let last = client.command(&[b"GET", &ring_key(count - 1)])?.text;
    if size != count.to_string() || last.len() != VALUE_BYTES {
        return Err(Error::other(format!(
            "of {count} acknowledged records {size} are left; the last: {last:?}"
        )));
    }
    Ok(())
}

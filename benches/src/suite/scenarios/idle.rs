//! What connections and servers cost that do nothing.

use std::io;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::suite::client::Client;
use crate::suite::load::Load;
use crate::suite::process::Server;
use crate::suite::report::{Table, number};
use crate::suite::servers::{Durability, Kind};
use crate::suite::trial::{Outcomes, Plan};

const IDLE_CONNECTIONS: usize = 10_000;
const IDLE_CONNECTIONS_FEW: usize = 1000;
const IDLE_TIME: Duration = Duration::from_secs(10);
/// Time for a server to finish what the last connections made it do.
const SETTLE_TIME: Duration = Duration::from_millis(500);
const ALONE: &str = "50 busy";
const WITH_IDLE: &str = "50 busy, 10,000 idle";
/// Files that this process needs beside its connections.
const FILES_SPARE: u64 = 200;

/// Raises the limit of open files as far as it goes; servers inherit it.
fn raise_file_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let needed = IDLE_CONNECTIONS as u64 + FILES_SPARE;
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        return Err(io::Error::other(format!(
            "the limit of open files is {:?}, {needed} are needed",
            limit.maximum
        )));
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// Opens connections that say PING once and then nothing: each has used whatever buffers it gets.
fn open(server: &Server, count: usize) -> io::Result<Vec<Client>> {
    (0..count)
        .map(|_| {
            let mut client = server.client()?;
            client.command(&[b"PING"])?;
            Ok(client)
        })
        .collect()
}

fn close(clients: Vec<Client>) -> io::Result<()> {
    clients.into_iter().try_for_each(Client::abort)
}

/// Busy throughput with and without idle connections, and memory for each of these.
pub(super) fn run_connections(plan: &Plan) -> io::Result<()> {
    raise_file_limit()?;
    let servers = plan.start_all(&[Kind::annulus(Durability::None), Kind::Redis(Durability::None)])?;
    let load = Load {
        tool: plan.tool,
        connections: 50,
        pipeline: 1,
        set: true,
        value_bytes: 64,
        key_count: 100_000,
        command: None,
        cluster: false,
    };
    let mut outcomes = Outcomes::default();
    let mut memory =
        Table::new("idle-connections: memory", &["server", "RSS before", "bytes/idle connection"]);
    for (kind, _) in &servers {
        for contender in [ALONE, WITH_IDLE] {
            outcomes.rows.push((kind.name(), contender.to_owned(), Vec::new()));
        }
    }
    for round in 0..plan.rounds {
        for (index, (kind, server)) in servers.iter().enumerate() {
            eprintln!("round {} of {}: {}", round + 1, plan.rounds, kind.name());
            let alone = plan.measure(server, &load, round as u64)?;
            let before = server.usage()?.rss_bytes;
            let idle = open(server, IDLE_CONNECTIONS)?;
            thread::sleep(SETTLE_TIME);
            let after = server.usage()?.rss_bytes;
            let crowded = plan.measure(server, &load, round as u64)?;
            close(idle)?;
            thread::sleep(SETTLE_TIME);
            outcomes.rows[2 * index].2.push(alone);
            outcomes.rows[2 * index + 1].2.push(crowded);
            if round == 0 {
                memory.row(vec![
                    kind.name(),
                    format!("{} MiB", number(before as f64 / f64::from(1 << 20))),
                    number(after.saturating_sub(before) as f64 / IDLE_CONNECTIONS as f64),
                ]);
            }
        }
    }
    println!("{}", memory.markdown());
    outcomes.print("idle-connections: SET, unpipelined", &[ALONE]);
    Ok(())
}

/// CPU time of a server that nobody asks anything.
pub(super) fn run_cpu(plan: &Plan) -> io::Result<()> {
    raise_file_limit()?;
    let mut table = Table::new(
        &format!("idle-cpu: over {} seconds", IDLE_TIME.as_secs()),
        &["server", "idle connections", "CPU ms", "context switches"],
    );
    let servers = plan.start_all(&[
        Kind::annulus(Durability::Always),
        Kind::annulus(Durability::None),
        Kind::Redis(Durability::None),
    ])?;
    for count in [0, IDLE_CONNECTIONS_FEW] {
        let idle: io::Result<Vec<_>> = servers.iter().map(|(_, server)| open(server, count)).collect();
        let idle = idle?;
        thread::sleep(SETTLE_TIME);
        let before: io::Result<Vec<_>> = servers.iter().map(|(_, server)| server.usage()).collect();
        let before = before?;
        thread::sleep(IDLE_TIME);
        for ((kind, server), before) in servers.iter().zip(&before) {
            let after = server.usage()?;
            let name = match kind {
                Kind::Annulus { durability, .. } => format!("annulus, {durability:?}").to_lowercase(),
                _ => kind.name(),
            };
            table.row(vec![
                name,
                count.to_string(),
                number((after.cpu_live.saturating_sub(before.cpu_live)).as_secs_f64() * 1000.0),
                after.switches.saturating_sub(before.switches).to_string(),
            ]);
        }
        idle.into_iter().try_for_each(close)?;
    }
    println!("{}", table.markdown());
    Ok(())
}

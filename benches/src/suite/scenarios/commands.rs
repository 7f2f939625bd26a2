//! Commands of all kinds beside the peer, and what several keys, shards and scripts cost.

use std::io;

use crate::load::Command;
use crate::suite::load::{Load, Tool};
use crate::suite::process::Server;
use crate::suite::servers::{Durability, Kind};
use crate::suite::trial::{Plan, Trial, run_rounds};

const CONNECTIONS: usize = 50;
const KEY_COUNT: u64 = 100_000;
/// Few, so that every transaction meets others.
const HOT_KEYS: u64 = 4;
const VALUE: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
/// Hashtags whose slots are in the lower and in the upper half.
const TAGS: [&str; 2] = ["{b}", "{a}"];

/// One command on each data type, as lines for [`Command::new`]; those that read come behind those that write.
const TYPES: [&str; 14] = [
    "LPUSH list:# VALUE",
    "RPOP list:#",
    "LPUSH queue VALUE",
    "RPOP queue",
    "HSET hash:# field:# VALUE",
    "HGET hash:# field:#",
    "SADD set:# member:#",
    "SPOP set:#",
    "SADD members member:#",
    "SISMEMBER members member:#",
    "ZADD ranks # member:#",
    "ZRANGE ranks 0 9",
    "XADD stream MAXLEN ~ 100000 * field VALUE",
    "XRANGE stream - + COUNT 10",
];

fn load(line: &str, pipeline: usize, key_count: u64) -> Load {
    Load {
        tool: Tool::Ring,
        connections: CONNECTIONS,
        pipeline,
        set: true,
        value_bytes: VALUE.len(),
        key_count,
        command: Some(Command::new(&line.replace("VALUE", VALUE))),
        cluster: false,
    }
}

fn compare(plan: &Plan, title: &str, lines: &[(&str, &str)]) -> io::Result<()> {
    let none = Durability::None;
    let servers = plan.start_all(&[Kind::annulus(none), Kind::Redis(none), Kind::Valkey(none)])?;
    let mut trials = Vec::new();
    for pipeline in [1, 16] {
        for (name, line) in lines {
            for (kind, server) in &servers {
                let case = format!("{name}, pipeline {pipeline}");
                let load = load(line, pipeline, KEY_COUNT);
                trials.push(Trial { case, contender: kind.name(), server, load });
            }
        }
    }
    run_rounds(plan, &trials)?.print(title, &["redis-server"]);
    Ok(())
}

/// Commands on the data types, one shard, no durability.
pub(super) fn run_types(plan: &Plan) -> io::Result<()> {
    let lines: Vec<_> = TYPES.iter().map(|line| (*line, *line)).collect();
    compare(plan, "types: no durability, 50 connections", &lines)
}

/// A script of one call, one shard, no durability.
pub(super) fn run_scripts(plan: &Plan) -> io::Result<()> {
    let get = "EVAL return(redis.call('GET',KEYS[1])) 1 key:#";
    let set = "EVAL return(redis.call('SET',KEYS[1],ARGV[1])) 1 key:# VALUE";
    compare(plan, "scripts: EVAL of one call, no durability, 50 connections", &[("GET", get), ("SET", set)])
}

/// What keys of two shards cost, and who waits how long where all meet at a few keys. Servers and load share all cores.
pub(super) fn run_transactions(plan: &Plan) -> io::Result<()> {
    let plan = plan.sharing_all_cores();
    plan.move_to_load_cores()?;
    let [here, there] = TAGS;
    let mset =
        |keys: &[String]| keys.iter().fold("MSET".to_owned(), |line, key| format!("{line} {key} VALUE"));
    let one = mset(&[format!("{here}:#"), format!("{here}:#")]);
    let two = mset(&[format!("{here}:#"), format!("{there}:#")]);
    // Eight of the few keys each, on both shards.
    let hot: Vec<String> = (0..8).map(|index| format!("{}:#", TAGS[index % 2])).collect();
    let hot = mset(&hot);
    for durability in [Durability::None, Durability::Always] {
        let server = plan.start(Kind::Annulus { durability, shards: 2, cluster_ports: false })?;
        let mut trials = Vec::new();
        for pipeline in [1, 16] {
            let mut trial = |contender: &str, line: &str, key_count| {
                let case = format!("pipeline {pipeline}");
                let load = load(line, pipeline, key_count);
                trials.push(Trial { case, contender: contender.to_owned(), server: &server, load });
            };
            trial("SET", "SET key:# VALUE", KEY_COUNT);
            trial("MSET, 2 keys of one shard", &one, KEY_COUNT);
            trial("MSET, 2 keys of two shards", &two, KEY_COUNT);
            trial("MSET, 8 keys out of 4 on each of two shards", &hot, HOT_KEYS);
        }
        let title = format!("transactions: durability {durability:?}, two shards, 50 connections");
        run_rounds(&plan, &trials)?.print(&title, &["SET"]);
        report_waits(&server)?;
    }
    Ok(())
}

/// How often transactions met.
fn report_waits(server: &Server) -> io::Result<()> {
    let info = server.client()?.command(&[b"INFO", b"stats"])?.text;
    let lines: Vec<&str> = info.lines().filter(|line| line.starts_with("transactions_")).collect();
    println!("{}", lines.join(", "));
    Ok(())
}

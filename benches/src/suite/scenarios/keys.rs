//! Memory for each key of 16 bytes with a value of 64, and how long the longest insert takes.
//!
//! The round trips are those of pipelines of 16, from one connection. They contain whatever else the machine did: only
//! what a quiet peer does not show in the same run is the server's.

use std::io;

use crate::suite::client::ring_key;
use crate::suite::report::{Table, number};
use crate::suite::servers::{Durability, Kind};
use crate::suite::trial::Plan;

const KEY_COUNT_DEFAULT: u64 = 1_000_000;
const VALUE_BYTES: usize = 64;
const PAYLOAD_BYTES: f64 = 80.0;
const DEPTH: u64 = 16;
/// A pipeline that takes longer counts as a stall, in nanoseconds.
const STALL: u64 = 1_000_000;

pub(super) fn run(plan: &Plan) -> io::Result<()> {
    let count = plan.keys.unwrap_or(KEY_COUNT_DEFAULT);
    let mut table = Table::new(
        &format!("memory-per-key: {} keys of 16 bytes, values of 64", number(count as f64)),
        &["server", "RSS before", "RSS bytes/key", "overhead", "p99.9 µs", "longest µs", "> 1 ms", "SET/s"],
    );
    for kind in
        [Kind::annulus(Durability::None), Kind::Redis(Durability::None), Kind::Valkey(Durability::None)]
    {
        if !plan.has(kind) {
            continue;
        }
        eprintln!("memory-per-key: {}", kind.name());
        let server = plan.start(kind)?;
        let before = server.usage()?;
        let start = std::time::Instant::now();
        let times = server.client()?.fill(count, VALUE_BYTES, DEPTH, ring_key)?;
        let elapsed = start.elapsed();
        let after = server.usage()?;
        let size: u64 = server.client()?.command(&[b"DBSIZE"])?.text.parse().map_err(io::Error::other)?;
        assert_eq!(size, count, "{}: every key is there", kind.name());
        let bytes = after.rss_bytes.saturating_sub(before.rss_bytes) as f64 / count as f64;
        table.row(vec![
            kind.name(),
            format!("{} MiB", number(before.rss_bytes as f64 / f64::from(1 << 20))),
            number(bytes),
            number(bytes - PAYLOAD_BYTES),
            number(times.quantile(0.999) as f64 / 1000.0),
            number(times.max() as f64 / 1000.0),
            times.above(STALL).to_string(),
            number(count as f64 / elapsed.as_secs_f64()),
        ]);
    }
    println!("{}", table.markdown());
    Ok(())
}

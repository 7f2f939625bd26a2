//! What MEMORY STATS and MEMORY DOCTOR answer: pure functions from the facts that INFO is made of.

use annulus_protocol::Encoder;

use super::info::{ServerFacts, ShardCounters, human_bytes};

/// Below this there is too little in memory for ratios to mean anything.
const LITTLE_BYTES: u64 = 5 << 20;
/// From this share of the peak on, what was freed since then is worth a word.
const PEAK_RATIO: f64 = 1.5;
/// So much more resident than accounted for is worth a word, if it is also more than [`BESIDE_BYTES`].
const RESIDENT_RATIO: f64 = 1.4;
const BESIDE_BYTES: u64 = 64 << 20;
/// Buffers of a connection, on average.
const CLIENT_BYTES: u64 = 200 << 10;

/// The numbers of both, in bytes unless they say otherwise.
struct Figures {
    total: ShardCounters,
    used: u64,
    peak: u64,
    resident: u64,
    keys: u64,
}

impl Figures {
    fn of(facts: &ServerFacts<'_>) -> Figures {
        let mut total = ShardCounters::default();
        facts.shards.iter().for_each(|shard| total.merge(shard));
        let used = facts.used_memory();
        let keys = total.databases.values().map(|database| database.keys).sum();
        let (peak, resident) = (facts.used_memory_peak.max(used), facts.process.resident_bytes);
        Figures { total, used, peak, resident, keys }
    }

    /// What is resident but not accounted for: code, stacks, what the allocator keeps.
    fn beside(&self) -> u64 {
        self.resident.saturating_sub(self.used)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole > 0 { part as f64 / whole as f64 } else { 0.0 }
}

/// A value of MEMORY STATS.
enum Stat {
    Count(u64),
    Ratio(f64),
}

/// The reply to MEMORY STATS: Redis's names. What has no counterpart here is 0, as in a server that does without it.
pub fn stats(facts: &ServerFacts<'_>, out: &mut Encoder<'_>) {
    use Stat::{Count, Ratio};
    let figures = Figures::of(facts);
    let memory = &figures.total.memory;
    let Figures { used, peak, resident, keys, .. } = figures;
    let overhead = used - memory.dataset;
    let rows = [
        ("peak.allocated", Count(peak)),
        ("total.allocated", Count(used)),
        ("startup.allocated", Count(0)),
        ("replication.backlog", Count(0)),
        ("clients.slaves", Count(0)),
        ("clients.normal", Count(memory.clients)),
        ("cluster.links", Count(memory.mesh)),
        ("aof.buffer", Count(memory.log)),
        ("lua.caches", Count(facts.scripts.1 as u64)),
        ("functions.caches", Count(0)),
        ("overhead.total", Count(overhead)),
        ("keys.count", Count(keys)),
        ("keys.bytes-per-key", Count(memory.dataset.checked_div(keys).unwrap_or(0))),
        ("dataset.bytes", Count(memory.dataset)),
        ("dataset.percentage", Ratio(100.0 * ratio(memory.dataset, used))),
        ("peak.percentage", Ratio(100.0 * ratio(used, peak))),
        ("allocator.allocated", Count(used)),
        ("allocator.active", Count(resident)),
        ("allocator.resident", Count(resident)),
        ("allocator-fragmentation.ratio", Ratio(1.0)),
        ("allocator-fragmentation.bytes", Count(0)),
        ("allocator-rss.ratio", Ratio(1.0)),
        ("allocator-rss.bytes", Count(0)),
        ("rss-overhead.ratio", Ratio(1.0)),
        ("rss-overhead.bytes", Count(0)),
        ("fragmentation", Ratio(ratio(resident, used))),
        ("fragmentation.bytes", Count(figures.beside())),
    ];
    out.map_header(rows.len());
    for (name, value) in rows {
        out.bulk(name);
        match value {
            Count(count) => out.integer(count as i64),
            Ratio(ratio) => out.double(ratio),
        }
    }
}

/// The reply to MEMORY DOCTOR: what is remarkable, and what to do about it.
pub fn doctor(facts: &ServerFacts<'_>) -> String {
    let figures = Figures::of(facts);
    if figures.used < LITTLE_BYTES {
        return format!(
            "Only {} are in use: too little to tell anything from it.\n",
            human_bytes(figures.used)
        );
    }
    let mut findings = Vec::new();
    if ratio(figures.peak, figures.used) > PEAK_RATIO {
        findings.push(format!(
            "Peak: {} were in use at most, {} are now. The allocator may still hold some of the difference, for what comes next.",
            human_bytes(figures.peak),
            human_bytes(figures.used)
        ));
    }
    if ratio(figures.resident, figures.used) > RESIDENT_RATIO && figures.beside() > BESIDE_BYTES {
        findings.push(format!(
            "Resident: the process has {} in memory for {} in use. After a peak that shrinks as memory is used again; without one, \
             values of very different sizes come and go.",
            human_bytes(figures.resident),
            human_bytes(figures.used)
        ));
    }
    let connected = figures.total.clients.connected;
    if figures.total.memory.clients > connected.saturating_mul(CLIENT_BYTES) {
        findings.push(format!(
            "Clients: {connected} connections have {} of buffers. CLIENT LIST (omem, qbuf) shows whose; client-output-buffer-limit \
             bounds them.",
            human_bytes(figures.total.memory.clients)
        ));
    }
    if facts.maxmemory > 0 && figures.used > facts.maxmemory / 10 * 9 {
        findings.push(format!(
            "Limit: {} of maxmemory {} are in use; the policy is {}.",
            human_bytes(figures.used),
            human_bytes(facts.maxmemory),
            facts.maxmemory_policy
        ));
    }
    if findings.is_empty() {
        return "Nothing remarkable in the use of memory.\n".to_owned();
    }
    format!("* {}\n", findings.join("\n* "))
}

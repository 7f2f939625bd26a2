//! The keyspace's table: memory a key, and the time of a lookup, an insertion and the slowest insertion.
//!
//! Keys of 16 and values of 64 bytes, through `Store` with a sink that drops effects; the allocator is the server's.
//! Times are CPU time of the thread. Every lookup's answer is verified. `table [keys …]`, by default one and ten million. Each number of keys runs
//! in a process of its own, since freed memory would blur the next one's resident size.

use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use annulus_protocol::slot;
use annulus_storage::{
    DatabaseId, Effect, EffectSink, Expiry, Key, Lsn, Prefetched, ShardId, Store, StoreOptions, TransactionId,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DB: DatabaseId = DatabaseId(0);
const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 64;
const PIPELINE: usize = 16;
const LOOKUPS: usize = 4_000_000;
const HASH_SEED: u64 = 0x5eed_7ab1;
/// How often the table is filled, to tell its own slow insertions from the machine's.
const FILLS: usize = 3;
/// The steps of the fill curve: at which numbers of keys memory is looked at.
const CURVE_STEPS_PER_DOUBLING: f64 = 12.0;

/// Counts effects, so that the store has its LSNs, and keeps nothing.
struct Dropped(u64);

impl EffectSink for Dropped {
    fn append(&mut self, effect: Effect<'_>) -> Lsn {
        black_box(effect);
        self.0 += 1;
        Lsn(self.0)
    }

    fn end_group(&mut self) {}

    fn begin_transaction(&mut self, _: TransactionId, _: &[ShardId]) -> Lsn {
        unreachable!("the table is measured with commands of one shard")
    }

    fn append_depends(&mut self, _: &[TransactionId]) -> Lsn {
        unreachable!("the table is measured with commands of one shard")
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [only] => run(only.parse().expect("a number of keys")),
        several => {
            let defaults = ["1000000".to_owned(), "10000000".to_owned()];
            for keys in if several.is_empty() { &defaults } else { several } {
                let this = std::env::current_exe().expect("the path of this program");
                let status = Command::new(this).arg(keys).status().expect("a process of its own");
                assert!(status.success(), "{keys} keys: {status}");
            }
        }
    }
}

/// The text of key `n`, 16 bytes.
fn write_key(n: u64, key: &mut [u8; KEY_BYTES]) {
    // Scrambled, so that keys have no order that a table could profit from.
    let mut scrambled = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in key.iter_mut() {
        *byte = b'a' + (scrambled & 15) as u8;
        scrambled >>= 4;
    }
}

struct Keys {
    bytes: Vec<[u8; KEY_BYTES]>,
    slots: Vec<u16>,
}

impl Keys {
    /// `count` keys of the first `of`, in an order without order; made ahead, and so not measured.
    fn shuffled(count: usize, of: u64) -> Keys {
        let mut state = 0x1234_5678_9abc_def1_u64;
        let mut keys = Keys { bytes: Vec::with_capacity(count), slots: Vec::with_capacity(count) };
        for _ in 0..count {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            keys.push(state % of);
        }
        keys
    }

    fn push(&mut self, n: u64) {
        let mut key = [0; KEY_BYTES];
        write_key(n, &mut key);
        self.slots.push(slot(&key));
        self.bytes.push(key);
    }

    fn key(&self, index: usize) -> Key<'_> {
        Key { bytes: &self.bytes[index], slot: self.slots[index] }
    }
}

/// A moment of this thread's CPU time: other work on the machine does not count as ours.
#[derive(Clone, Copy)]
struct Moment(Duration);

impl Moment {
    fn now() -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Moment(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    fn elapsed(self) -> Duration {
        Moment::now().0.saturating_sub(self.0)
    }
}

/// Resident bytes of this process.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("statm has pages");
    pages * rustix::param::page_size()
}

/// Runs fills, lookups and a flush for one number of keys, and prints a line for each figure.
fn run(keys: u64) {
    println!("{keys} keys of {KEY_BYTES} bytes, values of {VALUE_BYTES} bytes");
    // What an insertion took at its quickest of several fills, all alike: what else the machine does hits another each
    // time, and what remains is the table's own.
    let mut quickest_ns = vec![u32::MAX; keys as usize];
    let resident = resident_bytes();
    let mut store = new_store();
    fill(&mut store, &mut quickest_ns, true);
    println!("  resident bytes a key        {:8.1}", (resident_bytes() - resident) as f64 / keys as f64);
    println!("  counted bytes a key         {:8.1}", store.memory_bytes() as f64 / keys as f64);
    let longest_ns = quickest_ns.iter().max().copied().unwrap_or(0);
    println!("  longest insert, first fill, us {:5.1}", f64::from(longest_ns) / 1000.0);
    for _ in 1..FILLS {
        drop(store);
        store = new_store();
        fill(&mut store, &mut quickest_ns, false);
    }
    insertions(&mut quickest_ns);
    let lookups = Keys::shuffled(LOOKUPS, keys);
    one_by_one(&mut store, &lookups);
    prefetched(&mut store, &lookups);
    flushed(&mut store);
}

fn new_store() -> Store<Dropped> {
    let mut store = Store::new(StoreOptions { databases: 16, hash_seed: HASH_SEED }, Dropped(0));
    store.set_now(1_700_000_000_000);
    store
}

fn fill(store: &mut Store<Dropped>, quickest_ns: &mut [u32], curve: bool) {
    let keys = quickest_ns.len() as u64;
    let (mut least, mut most) = (f64::MAX, 0_f64);
    let mut look_at = if curve { keys as f64 / 4.0 } else { f64::MAX };
    let mut batch = Keys { bytes: Vec::new(), slots: Vec::new() };
    for n in 0..keys {
        batch.bytes.clear();
        batch.slots.clear();
        batch.push(n);
        let start = Moment::now();
        store.begin_command();
        store.set(DB, batch.key(0), &[b'v'; VALUE_BYTES], Expiry::None);
        store.end_command();
        let took = u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX);
        let quickest = &mut quickest_ns[n as usize];
        *quickest = took.min(*quickest);
        if n as f64 > look_at {
            let per_key = store.memory_bytes() as f64 / n as f64;
            (least, most) = (least.min(per_key), most.max(per_key));
            look_at *= 2_f64.powf(1.0 / CURVE_STEPS_PER_DOUBLING);
        }
    }
    if curve {
        println!("  counted, over the last two doublings: {least:.1} to {most:.1}");
    }
}

fn insertions(quickest_ns: &mut [u32]) {
    let count = quickest_ns.len();
    let sum: u64 = quickest_ns.iter().map(|&ns| u64::from(ns)).sum();
    println!("  insert, ns                  {:8.1}", sum as f64 / count as f64 - clock_cost());
    quickest_ns.sort_unstable();
    println!("  insert, median, ns          {:8.1}", f64::from(quickest_ns[count / 2]) - clock_cost());
    println!("  longest insert, of fills' quickest, us {:.1}", f64::from(quickest_ns[count - 1]) / 1000.0);
    println!(
        "  a thousandth takes over, us {:8.1}",
        f64::from(quickest_ns[count - 1 - count / 1000]) / 1000.0
    );
}

/// What reading the clock twice adds to an interval, ns.
fn clock_cost() -> f64 {
    const READINGS: u32 = 100_000;
    let start = Moment::now();
    for _ in 0..READINGS {
        black_box(Moment::now());
    }
    start.elapsed().as_nanos() as f64 / f64::from(READINGS)
}

fn verify(store: &mut Store<Dropped>, key: Key<'_>) {
    store.begin_command();
    let found = store.get(DB, key).expect("every key was inserted");
    let value = found.string().expect("the key holds a string");
    assert!(value.len() == VALUE_BYTES && value[0] == b'v', "the value that was inserted");
    black_box(store.end_command());
}

fn one_by_one(store: &mut Store<Dropped>, lookups: &Keys) {
    for settled in [false, true] {
        if settled {
            let horizon = Lsn(store.sink().0);
            store.settle(horizon);
        }
        let start = Moment::now();
        for index in 0..LOOKUPS {
            verify(store, lookups.key(index));
        }
        let name = if settled { "get, settled, ns            " } else { "get, ns                     " };
        println!("  {name}{:8.1}", start.elapsed().as_nanos() as f64 / LOOKUPS as f64);
    }
}

fn prefetched(store: &mut Store<Dropped>, lookups: &Keys) {
    let start = Moment::now();
    for first in (0..LOOKUPS).step_by(PIPELINE) {
        let hints = (first..first + PIPELINE).filter_map(|index| store.prefetch(DB, lookups.key(index)));
        let hints: Vec<_> = hints.collect();
        hints.into_iter().for_each(Prefetched::prefetch_entry);
        for index in first..first + PIPELINE {
            verify(store, lookups.key(index));
        }
    }
    println!(
        "  get, {PIPELINE} prefetched, ns      {:8.1}",
        start.elapsed().as_nanos() as f64 / LOOKUPS as f64
    );
}

fn flushed(store: &mut Store<Dropped>) {
    const BUDGET: usize = 500;
    let start = Moment::now();
    store.flush(DB);
    println!("  flush, us                   {:8.1}", start.elapsed().as_nanos() as f64 / 1000.0);
    let mut longest = Duration::ZERO;
    loop {
        let start = Moment::now();
        let more = store.reclaim(BUDGET);
        longest = longest.max(start.elapsed());
        if !more {
            break;
        }
    }
    println!("  longest reclaim({BUDGET}), us    {:8.1}", longest.as_nanos() as f64 / 1000.0);
}

//! What an embedded store does for one caller: GET and SET, in pipelines, as single futures and one at a time, from a thread on one core to a
//! shard on another. No disk is waited for (`durability = none`) unless asked.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

use std::future::Future;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use annulus_benches::load::Histogram;
use annulus_client::{Client, Command, Durability, Embedded, EmbeddedOptions, Pipeline, Value, blocking};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// GET and SET of an embedded store from one core to another.
#[derive(Parser)]
struct Arguments {
    /// Core of the caller.
    #[arg(long, default_value_t = 0)]
    caller: usize,
    /// Core of the shard.
    #[arg(long, default_value_t = 1)]
    shard: usize,
    /// Keys in the store.
    #[arg(long, default_value_t = 100_000)]
    keys: u32,
    /// Bytes of a value.
    #[arg(long, default_value_t = 64)]
    value: usize,
    /// Commands of a pipeline.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Pipelines, or single futures, under way at once.
    #[arg(long, default_value_t = 3)]
    depth: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Rounds, of which the medians are printed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Microseconds that the shard looks for work before it sleeps.
    #[arg(long, default_value_t = 1000)]
    spin_us: u32,
    /// `none`, `everysec` or `always`.
    #[arg(long, default_value = "none")]
    durability: String,
    /// A directory on the disk to use; a temporary one if not given.
    #[arg(long)]
    data: Option<PathBuf>,
}

struct Idle;

impl Wake for Idle {
    fn wake(self: Arc<Self>) {}
}

/// Polls again and again: the caller's core stays awake.
fn spin_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Idle));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::hint::spin_loop();
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Get,
    Set,
}

struct Work {
    keys: Vec<String>,
    value: Vec<u8>,
    at: u64,
}

impl Work {
    /// The next key, in an order that no prefetcher guesses.
    fn next(&mut self) -> usize {
        self.at = self.at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.at >> 33) as usize) % self.keys.len()
    }

    fn command(&mut self, kind: Kind) -> Command {
        let key = self.next();
        let key = &self.keys[key];
        match kind {
            Kind::Get => Command::new("GET").key(key).reads(),
            Kind::Set => Command::new("SET").key(key).arg(&self.value),
        }
    }

    fn pipeline(&mut self, kind: Kind, count: usize) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(count);
        for _ in 0..count {
            pipeline = pipeline.with(self.command(kind));
        }
        pipeline
    }

    fn check(&self, kind: Kind, reply: &Value) {
        match (kind, reply) {
            (Kind::Get, Value::Bulk(value)) => assert_eq!(value.len(), self.value.len()),
            (Kind::Set, Value::Simple(text)) => assert_eq!(text.len(), 2),
            (_, other) => panic!("an answer that is {other:?}"),
        }
    }
}

/// Pipelines, some of them under way at any time. Returns commands a second.
fn pipelined(client: &Client, work: &mut Work, kind: Kind, arguments: &Arguments) -> f64 {
    let waker = Waker::from(Arc::new(Idle));
    let mut context = Context::from_waker(&waker);
    let mut under_way: Vec<Option<Pin<Box<_>>>> = Vec::new();
    let began = Instant::now();
    let mut done = 0_u64;
    under_way.resize_with(arguments.depth, || None);
    'all: loop {
        for place in &mut under_way {
            let future =
                place.get_or_insert_with(|| Box::pin(client.pipeline(work.pipeline(kind, arguments.batch))));
            if let Poll::Ready(replies) = future.as_mut().poll(&mut context) {
                *place = None;
                for reply in replies.expect("the store serves") {
                    work.check(kind, &reply.expect("no error"));
                    done += 1;
                }
                if began.elapsed().as_secs_f64() >= arguments.seconds {
                    break 'all;
                }
            }
        }
    }
    done as f64 / began.elapsed().as_secs_f64()
}

/// Single commands, a batch of futures at once.
fn futures(client: &Client, work: &mut Work, kind: Kind, arguments: &Arguments) -> f64 {
    let waker = Waker::from(Arc::new(Idle));
    let mut context = Context::from_waker(&waker);
    let began = Instant::now();
    let mut done = 0_u64;
    let mut calls = Vec::new();
    while began.elapsed().as_secs_f64() < arguments.seconds {
        calls.extend((0..arguments.batch).map(|_| client.command::<Value>(work.command(kind))));
        // All set out before the first is waited for.
        let mut ready: Vec<Option<Value>> = calls
            .iter_mut()
            .map(|call| match Pin::new(call).poll(&mut context) {
                Poll::Ready(reply) => Some(reply.expect("no error")),
                Poll::Pending => None,
            })
            .collect();
        for (call, ready) in calls.drain(..).zip(&mut ready) {
            let reply = match ready.take() {
                Some(reply) => reply,
                None => spin_on(call).expect("no error"),
            };
            work.check(kind, &reply);
            done += 1;
        }
    }
    done as f64 / began.elapsed().as_secs_f64()
}

/// One command after the other, waiting. Returns the latencies in nanoseconds.
fn single(client: &blocking::Client, work: &mut Work, kind: Kind, arguments: &Arguments) -> Histogram {
    let mut histogram = Histogram::default();
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < arguments.seconds {
        let command = work.command(kind);
        let start = Instant::now();
        let reply: Value = client.command(command).expect("no error");
        histogram.record(start.elapsed().as_nanos() as u64);
        work.check(kind, &reply);
    }
    histogram
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments = Arguments::parse();
    core_affinity::set_for_current(core_affinity::CoreId { id: arguments.caller });
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let dir = arguments.data.clone().unwrap_or_else(|| scratch.path().join("data"));
    let durability = match arguments.durability.as_str() {
        "always" => Durability::Always,
        "everysec" => Durability::EverySec,
        _ => Durability::None,
    };
    let options = EmbeddedOptions::new()
        .cores([arguments.shard])
        .durability(durability)
        .spin(Duration::from_millis(1))
        .setting("spin-us", &arguments.spin_us.to_string())
        .expect("a setting that there is");
    let store = Embedded::open(&dir, options).expect("the store opens");
    let (client, waiting) = (store.client(), store.blocking());
    let keys = (0..arguments.keys).map(|index| format!("key:{index:012}")).collect();
    let mut work = Work { keys, value: vec![b'v'; arguments.value], at: 1 };
    for chunk in work.keys.chunks(512) {
        let fill = chunk.iter().fold(Pipeline::new(), |pipeline, key| {
            pipeline.with(Command::new("SET").key(key).arg(&work.value))
        });
        assert!(waiting.pipeline(fill).expect("the store serves").iter().all(Result::is_ok));
    }
    println!(
        "{} keys, values of {} bytes, durability {}",
        arguments.keys, arguments.value, arguments.durability
    );
    for (name, kind) in [("GET", Kind::Get), ("SET", Kind::Set)] {
        let (mut pipelines, mut singles, mut latencies) = (Vec::new(), Vec::new(), Histogram::default());
        let mut halves = Vec::new();
        for _ in 0..arguments.rounds {
            pipelines.push(pipelined(&client, &mut work, kind, &arguments));
            singles.push(futures(&client, &mut work, kind, &arguments));
            latencies = single(&waiting, &mut work, kind, &arguments);
            halves.push(latencies.quantile(0.5) as f64);
        }
        println!(
            "{name}: pipelines of {} x {}: {:.2} M/s; {} futures: {:.2} M/s; one at a time: p50 {:.2} us, p99 {:.2} us",
            arguments.batch,
            arguments.depth,
            median(pipelines) / 1e6,
            arguments.batch,
            median(singles) / 1e6,
            median(halves) / 1e3,
            latencies.quantile(0.99) as f64 / 1e3,
        );
    }
    store.close().expect("a clean stop");
}

//! Stores within a program, side by side: small durable writes, by one writer and by many, to ours (`always`), `redb`, `fjall` and `sled` on the
//! same disk, each in turn. Every write is on stable storage before the next of its writer begins; how they get it there is theirs.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock, and waits")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annulus_benches::load::Histogram;
use annulus_benches::peers::Cost;
use annulus_benches::suite::{Table, median, number};
use annulus_client::commands::StringCommands as _;
use annulus_client::{Durability, Embedded, EmbeddedOptions};
use clap::{Parser, ValueEnum};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Fault = Box<dyn Error + Send + Sync>;

/// Small durable writes to stores within a program.
#[derive(Parser)]
struct Arguments {
    /// Writers of the second case.
    #[arg(long, default_value_t = 32)]
    writers: u64,
    /// Keys that are written, in a random order.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    value: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Rounds, of which the medians are printed.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Only this store.
    #[arg(long)]
    only: Option<Kind>,
    /// A directory on the disk to use; a temporary one if not given.
    #[arg(long)]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Annulus,
    Redb,
    Fjall,
    Sled,
}

/// What a writer does, again and again.
type Write<'a> = Box<dyn FnMut(&[u8], &[u8]) -> Result<(), Fault> + 'a>;

trait Store: Sync {
    fn writer(&self) -> Write<'_>;
    /// Whether a key holds this: asked afterwards, so that nobody wins by writing nothing.
    fn holds(&self, key: &[u8], value: &[u8]) -> Result<bool, Fault>;
}

impl Store for Embedded {
    fn writer(&self) -> Write<'_> {
        let client = self.blocking();
        Box::new(move |key, value| Ok(client.set(key, value)?))
    }

    fn holds(&self, key: &[u8], value: &[u8]) -> Result<bool, Fault> {
        Ok(self.blocking().get(key)?.is_some_and(|found| found == value))
    }
}

const TABLE: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("entries");

impl Store for redb::Database {
    fn writer(&self) -> Write<'_> {
        // A commit is durable unless something less was asked for.
        Box::new(move |key, value| {
            let transaction = self.begin_write()?;
            transaction.open_table(TABLE)?.insert(key, value)?;
            Ok(transaction.commit()?)
        })
    }

    fn holds(&self, key: &[u8], value: &[u8]) -> Result<bool, Fault> {
        use redb::ReadableDatabase as _;
        let table = self.begin_read()?.open_table(TABLE)?;
        Ok(table.get(key)?.is_some_and(|found| found.value() == value))
    }
}

struct Fjall(fjall::Database, fjall::Keyspace);

impl Store for Fjall {
    fn writer(&self) -> Write<'_> {
        Box::new(move |key, value| {
            self.1.insert(key, value)?;
            Ok(self.0.persist(fjall::PersistMode::SyncData)?)
        })
    }

    fn holds(&self, key: &[u8], value: &[u8]) -> Result<bool, Fault> {
        Ok(self.1.get(key)?.is_some_and(|found| *found == *value))
    }
}

impl Store for sled::Db {
    fn writer(&self) -> Write<'_> {
        Box::new(move |key, value| {
            self.insert(key, value)?;
            self.flush()?;
            Ok(())
        })
    }

    fn holds(&self, key: &[u8], value: &[u8]) -> Result<bool, Fault> {
        Ok(self.get(key)?.is_some_and(|found| *found == *value))
    }
}

fn open(kind: Kind, dir: &Path) -> Result<Box<dyn Store>, Fault> {
    Ok(match kind {
        Kind::Annulus => {
            Box::new(Embedded::open(dir, EmbeddedOptions::new().durability(Durability::Always))?)
        }
        Kind::Redb => Box::new(redb::Database::create(dir)?),
        Kind::Fjall => {
            let database = fjall::Database::builder(dir).open()?;
            let keyspace = database.keyspace("entries", fjall::KeyspaceCreateOptions::default)?;
            Box::new(Fjall(database, keyspace))
        }
        Kind::Sled => Box::new(sled::open(dir)?),
    })
}

fn name(index: u64) -> String {
    format!("key:{index:012}")
}

/// What one round said.
struct Round {
    cost: Cost,
    p50_us: f64,
    p99_us: f64,
}

/// Writes until the time is over, and at last a key of its own. Returns how long each took.
fn write_on(
    store: &dyn Store,
    own: u64,
    arguments: &Arguments,
    stop: &AtomicBool,
) -> Result<Histogram, Fault> {
    let mut write = store.writer();
    let mut histogram = Histogram::default();
    let value = vec![b'v'; arguments.value];
    let mut at = own;
    while !stop.load(Ordering::Relaxed) {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = name((at >> 33) % arguments.keys);
        let began = Instant::now();
        write(key.as_bytes(), &value)?;
        histogram.record(began.elapsed().as_nanos() as u64);
    }
    write(format!("own:{own}").as_bytes(), &value)?;
    Ok(histogram)
}

fn measure(store: &dyn Store, writers: u64, arguments: &Arguments, round: u64) -> Result<Round, Fault> {
    let stop = AtomicBool::new(false);
    let own = |writer: u64| round * 1000 + writer;
    let began = Cost::begin();
    let histograms = thread::scope(|scope| {
        let stop = &stop;
        let threads: Vec<_> = (0..writers)
            .map(|writer| scope.spawn(move || write_on(store, own(writer), arguments, stop)))
            .collect();
        thread::sleep(Duration::from_secs_f64(arguments.seconds));
        stop.store(true, Ordering::Relaxed);
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a writer panicked".into())));
        ended.collect::<Result<Vec<Histogram>, Fault>>()
    })?;
    let cost = began.end(histograms.iter().map(Histogram::total).sum());
    let value = vec![b'v'; arguments.value];
    for writer in 0..writers {
        let key = format!("own:{}", own(writer));
        if !store.holds(key.as_bytes(), &value)? {
            return Err(format!("{key} does not hold what was written").into());
        }
    }
    let quantile = |fraction: f64| {
        let of_writers = histograms.iter().map(|histogram| histogram.quantile(fraction) as f64 / 1e3);
        median(&of_writers.collect::<Vec<f64>>())
    };
    Ok(Round { cost, p50_us: quantile(0.5), p99_us: quantile(0.99) })
}

fn middle(rounds: &[Round], what: fn(&Round) -> f64) -> f64 {
    median(&rounds.iter().map(what).collect::<Vec<f64>>())
}

fn main() -> Result<(), Fault> {
    let arguments = Arguments::parse();
    let scratch = match &arguments.data {
        Some(data) => tempfile::tempdir_in(data)?,
        None => tempfile::tempdir()?,
    };
    let mut stores: Vec<(String, Box<dyn Store>)> = Vec::new();
    for kind in [Kind::Annulus, Kind::Redb, Kind::Fjall, Kind::Sled] {
        if arguments.only.is_none_or(|only| only == kind) {
            let name = format!("{kind:?}").to_lowercase();
            let store = open(kind, &scratch.path().join(&name))?;
            stores.push((name, store));
        }
    }
    let mut table = Table::new(
        &format!("durable writes of {} bytes", arguments.value),
        &["case", "store", "writes/s", "p50 µs", "p99 µs", "CPU µs/write", "ours ÷ its writes/s"],
    );
    for writers in [1, arguments.writers] {
        let mut rounds: Vec<Vec<Round>> = stores.iter().map(|_| Vec::new()).collect();
        for round in 0..arguments.rounds {
            for ((_, store), rounds) in stores.iter().zip(&mut rounds) {
                rounds.push(measure(&**store, writers, &arguments, round)?);
            }
        }
        let rate: fn(&Round) -> f64 = |round| round.cost.per_second();
        let ours = rounds.first().map_or(f64::NAN, |rounds| middle(rounds, rate));
        for ((name, _), rounds) in stores.iter().zip(&rounds) {
            table.row(vec![
                if writers == 1 { "one writer".to_owned() } else { format!("{writers} writers") },
                name.clone(),
                number(middle(rounds, rate)),
                number(middle(rounds, |round| round.p50_us)),
                number(middle(rounds, |round| round.p99_us)),
                number(middle(rounds, |round| round.cost.cpu_us())),
                number(ours / middle(rounds, rate)),
            ]);
        }
    }
    print!("{}", table.markdown());
    Ok(())
}

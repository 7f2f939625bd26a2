//! Our client beside the crates `redis` and `fred`: GET and SET of one server from several tasks, each client in turn, with what it takes of
//! the client's process. One connection each, which all tasks share, and the same batches for all.

use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annulus_benches::peers::{Cost, stay_on};
use annulus_benches::suite::{Binaries, Served, Table, median, number};
use annulus_client::{Command, Pipeline, Value, commands::StringCommands};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use fred::interfaces::{ClientLike as _, KeysInterface};
use futures_util::future::try_join_all;
use redis::AsyncCommands;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Fault = Box<dyn Error + Send + Sync>;

/// Our client beside the crates `redis` and `fred`.
#[derive(Parser)]
struct Arguments {
    /// A server that runs already, as `redis://host:port`. Without it, one is started.
    #[arg(long)]
    url: Option<String>,
    /// Start redis-server instead of annulus.
    #[arg(long)]
    redis: bool,
    /// Cores of the server that is started.
    #[arg(long, default_value = "1")]
    server: String,
    /// Core of the clients.
    #[arg(long, default_value_t = 0)]
    caller: usize,
    /// Tasks that share a client.
    #[arg(long, default_value_t = 8)]
    tasks: usize,
    /// Commands of a pipeline, and futures that a task has under way at once.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Keys.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 64)]
    value: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Rounds, of which the medians are printed.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Only this client.
    #[arg(long)]
    only: Option<Library>,
    /// Only this way of asking.
    #[arg(long)]
    manner: Option<Manner>,
    /// Where the server that is started has its data; a temporary directory if not given.
    #[arg(long)]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Library {
    Annulus,
    Redis,
    Fred,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Get,
    Set,
}

/// How a task asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Manner {
    /// A pipeline, and the next when all of its replies are there.
    Pipelines,
    /// So many single commands at once, and the next when all of their replies are there.
    Futures,
    /// One command after the other.
    Single,
}

/// A task's keys, in an order that no prefetcher guesses.
struct Keys {
    at: u64,
    count: u64,
}

impl Keys {
    fn next(&mut self) -> String {
        self.at = self.at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        name((self.at >> 33) % self.count)
    }
}

fn name(index: u64) -> String {
    format!("key:{index:012}")
}

/// What each library does, in its own way. A get tells how many bytes the value had.
trait Peer: Clone + Send + Sync + 'static {
    fn read(&self, key: String) -> impl Future<Output = Result<usize, Fault>> + Send;
    fn write(&self, key: String, value: &Bytes) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Bytes of all values.
    fn read_all(&self, keys: Vec<String>) -> impl Future<Output = Result<usize, Fault>> + Send;
    fn write_all(&self, keys: Vec<String>, value: &Bytes) -> impl Future<Output = Result<(), Fault>> + Send;
}

impl Peer for annulus_client::Client {
    async fn read(&self, key: String) -> Result<usize, Fault> {
        Ok(self.get(key).await?.map_or(0, |value| value.len()))
    }

    async fn write(&self, key: String, value: &Bytes) -> Result<(), Fault> {
        Ok(StringCommands::set(self, key, value).await?)
    }

    async fn read_all(&self, keys: Vec<String>) -> Result<usize, Fault> {
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline = pipeline.with(Command::new("GET").key(key).reads());
        }
        let mut bytes = 0;
        for reply in self.pipeline(pipeline).await? {
            bytes += match reply? {
                Value::Bulk(value) => value.len(),
                other => return Err(format!("GET answered {other:?}").into()),
            };
        }
        Ok(bytes)
    }

    async fn write_all(&self, keys: Vec<String>, value: &Bytes) -> Result<(), Fault> {
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline = pipeline.with(Command::new("SET").key(key).arg(value));
        }
        for reply in self.pipeline(pipeline).await? {
            reply?;
        }
        Ok(())
    }
}

impl Peer for redis::aio::MultiplexedConnection {
    async fn read(&self, key: String) -> Result<usize, Fault> {
        let value: Vec<u8> = AsyncCommands::get(&mut self.clone(), key).await?;
        Ok(value.len())
    }

    async fn write(&self, key: String, value: &Bytes) -> Result<(), Fault> {
        Ok(AsyncCommands::set::<_, _, ()>(&mut self.clone(), key, value.as_ref()).await?)
    }

    async fn read_all(&self, keys: Vec<String>) -> Result<usize, Fault> {
        let mut pipeline = redis::Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.get(key);
        }
        let values: Vec<Vec<u8>> = pipeline.query_async(&mut self.clone()).await?;
        Ok(values.iter().map(Vec::len).sum())
    }

    async fn write_all(&self, keys: Vec<String>, value: &Bytes) -> Result<(), Fault> {
        let mut pipeline = redis::Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.set(key, value.as_ref()).ignore();
        }
        Ok(pipeline.query_async(&mut self.clone()).await?)
    }
}

impl Peer for fred::clients::Client {
    async fn read(&self, key: String) -> Result<usize, Fault> {
        let value: Bytes = KeysInterface::get(self, key).await?;
        Ok(value.len())
    }

    async fn write(&self, key: String, value: &Bytes) -> Result<(), Fault> {
        Ok(KeysInterface::set(self, key, value.clone(), None, None, false).await?)
    }

    async fn read_all(&self, keys: Vec<String>) -> Result<usize, Fault> {
        let pipeline = self.pipeline();
        for key in keys {
            let () = pipeline.get(key).await?;
        }
        let values: Vec<Bytes> = pipeline.all().await?;
        Ok(values.iter().map(Bytes::len).sum())
    }

    async fn write_all(&self, keys: Vec<String>, value: &Bytes) -> Result<(), Fault> {
        let pipeline = self.pipeline();
        for key in keys {
            let () = pipeline.set(key, value.clone(), None, None, false).await?;
        }
        Ok(pipeline.all().await?)
    }
}

/// What all tasks of a measurement see.
struct Shared {
    stop: AtomicBool,
    kind: Kind,
    manner: Manner,
    batch: usize,
    value: Bytes,
}

impl Shared {
    fn check(&self, bytes: usize, values: usize) -> Result<(), Fault> {
        if bytes == values * self.value.len() {
            return Ok(());
        }
        Err(format!("{values} values have {bytes} bytes").into())
    }
}

/// One task's share, until it's told to stop. Returns its operations.
async fn ask<P: Peer>(peer: P, mut keys: Keys, shared: Arc<Shared>) -> Result<u64, Fault> {
    let (batch, value) = (shared.batch, &shared.value);
    let mut some = move || (0..batch).map(|_| keys.next()).collect::<Vec<String>>();
    let mut done = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let keys = some();
        match (shared.manner, shared.kind) {
            (Manner::Pipelines, Kind::Get) => shared.check(peer.read_all(keys).await?, batch)?,
            (Manner::Pipelines, Kind::Set) => peer.write_all(keys, value).await?,
            (Manner::Futures, Kind::Get) => {
                let found = try_join_all(keys.into_iter().map(|key| peer.read(key))).await?;
                shared.check(found.iter().sum(), batch)?;
            }
            (Manner::Futures, Kind::Set) => {
                try_join_all(keys.into_iter().map(|key| peer.write(key, value))).await?;
            }
            (Manner::Single, Kind::Get) => {
                for key in keys {
                    shared.check(peer.read(key).await?, 1)?;
                }
            }
            (Manner::Single, Kind::Set) => {
                for key in keys {
                    peer.write(key, value).await?;
                }
            }
        }
        done += batch as u64;
    }
    Ok(done)
}

/// All tasks of one client for a while.
async fn load<P: Peer>(
    peer: P,
    kind: Kind,
    manner: Manner,
    arguments: &Arguments,
    seed: u64,
) -> Result<Cost, Fault> {
    let value = Bytes::from(vec![b'v'; arguments.value]);
    let shared =
        Arc::new(Shared { stop: AtomicBool::new(false), kind, manner, batch: arguments.batch, value });
    let began = Cost::begin();
    let tasks: Vec<_> = (0..arguments.tasks as u64)
        .map(|task| {
            let keys = Keys { at: seed * 1000 + task, count: arguments.keys };
            tokio::spawn(ask(peer.clone(), keys, Arc::clone(&shared)))
        })
        .collect();
    tokio::time::sleep(Duration::from_secs_f64(arguments.seconds)).await;
    shared.stop.store(true, Ordering::Relaxed);
    let mut done = 0;
    for task in tasks {
        done += task.await??;
    }
    Ok(began.end(done))
}

/// One measurement: a new client, for as long as it takes.
fn measure(
    library: Library,
    (kind, manner): (Kind, Manner),
    url: &str,
    arguments: &Arguments,
    seed: u64,
) -> Result<Cost, Fault> {
    // One thread: the clients share one core, whatever they start.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        match library {
            Library::Annulus => {
                let client = annulus_client::Client::connect(url).await?;
                load(client, kind, manner, arguments, seed).await
            }
            Library::Redis => {
                let client = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
                load(client, kind, manner, arguments, seed).await
            }
            Library::Fred => {
                let config = fred::types::config::Config::from_url(url)?;
                let client = fred::types::Builder::from_config(config).build()?;
                client.init().await?;
                let cost = load(client.clone(), kind, manner, arguments, seed).await;
                client.quit().await?;
                cost
            }
        }
    })
}

/// Each key once.
async fn fill(url: &str, arguments: &Arguments) -> Result<(), Fault> {
    let client = annulus_client::Client::connect(url).await?;
    let value = Bytes::from(vec![b'v'; arguments.value]);
    let names: Vec<String> = (0..arguments.keys).map(name).collect();
    for chunk in names.chunks(512) {
        client.write_all(chunk.to_vec(), &value).await?;
    }
    Ok(())
}

fn middle(costs: &[Cost], what: fn(&Cost) -> f64) -> f64 {
    median(&costs.iter().map(what).collect::<Vec<f64>>())
}

/// A case, by each client in turn, again and again.
fn compare(
    table: &mut Table,
    case: (Kind, Manner),
    libraries: &[Library],
    url: &str,
    arguments: &Arguments,
) -> Result<(), Fault> {
    let mut costs: Vec<Vec<Cost>> = libraries.iter().map(|_| Vec::new()).collect();
    for round in 0..arguments.rounds {
        for (library, costs) in libraries.iter().zip(&mut costs) {
            costs.push(measure(*library, case, url, arguments, round)?);
        }
    }
    let figures = |costs: &Vec<Cost>| (middle(costs, Cost::per_second), middle(costs, Cost::cpu_us));
    let ours = costs.first().map_or((f64::NAN, f64::NAN), figures);
    let told = match case.1 {
        Manner::Pipelines => format!("pipelines of {}", arguments.batch),
        Manner::Futures => format!("{} futures at once", arguments.batch),
        Manner::Single => "one by one".to_owned(),
    };
    for (library, costs) in libraries.iter().zip(&costs) {
        let (rate, cpu) = figures(costs);
        table.row(vec![
            format!("{:?}, {told}", case.0).to_uppercase().replace(&told.to_uppercase(), &told),
            format!("{library:?}").to_lowercase(),
            number(rate),
            number(cpu),
            number(ours.0 / rate),
            number(ours.1 / cpu),
        ]);
    }
    Ok(())
}

fn main() -> Result<(), Fault> {
    let arguments = Arguments::parse();
    stay_on(arguments.caller)?;
    let scratch = tempfile::tempdir()?;
    let data = arguments.data.clone().unwrap_or_else(|| scratch.path().to_owned());
    let mut server = None;
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => {
            let started = Served::start(&Binaries::find()?, arguments.redis, &arguments.server, &data)?;
            format!("redis://127.0.0.1:{}", server.insert(started).port())
        }
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(fill(&url, &arguments))?;
    let wanted = |library: &Library| arguments.only.is_none_or(|only| only == *library);
    let libraries: Vec<Library> =
        [Library::Annulus, Library::Redis, Library::Fred].into_iter().filter(wanted).collect();
    let mut table = Table::new(
        &format!("{} tasks, values of {} bytes", arguments.tasks, arguments.value),
        &["case", "client", "ops/s", "CPU µs/op", "ours ÷ its ops/s", "ours ÷ its CPU"],
    );
    for manner in [Manner::Pipelines, Manner::Futures, Manner::Single] {
        if arguments.manner.is_none_or(|only| only == manner) {
            for kind in [Kind::Get, Kind::Set] {
                compare(&mut table, (kind, manner), &libraries, &url, &arguments)?;
            }
        }
    }
    print!("{}", table.markdown());
    Ok(())
}

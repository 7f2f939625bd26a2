//! A cache before a slow source: filled once however many ask at the same time, written through on change.
//! Each row has one writer at a time; two that race could leave the older value in the cache until it expires.
//!
//! `cargo run -p annulus-client --features embedded --example write_through_cache [-- --readers 4 embedded:./data]`

mod place;

use std::{
    collections::HashMap,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use annulus_client::{
    Client, Error,
    commands::{KeyCommands as _, SetOptions, StringCommands as _},
};
use bytes::Bytes;
use clap::Parser;
use tokio::{sync::Mutex, time::sleep};

use self::place::{Fault, Whereabouts, end};

/// Reads a row of a slow source through a cache, many readers at once, and changes it.
#[derive(Parser)]
struct Arguments {
    /// Which row.
    #[arg(long, default_value = "7")]
    row: String,
    /// How many ask for it at the same time.
    #[arg(long, default_value_t = 4)]
    readers: usize,
    #[command(flatten)]
    whereabouts: Whereabouts,
}

/// How long a value may be served at most after the source has changed behind the cache's back.
const FRESH: Duration = Duration::from_mins(5);
/// How long one filler may take before another one tries.
const FILLING: Duration = Duration::from_secs(2);

/// What is slow: here a map with a pause, in life a database.
#[derive(Default)]
struct Source {
    rows: Mutex<HashMap<String, String>>,
    reads: AtomicU32,
}

impl Source {
    async fn read(&self, id: &str) -> Option<String> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(50)).await;
        self.rows.lock().await.get(id).cloned()
    }

    async fn write(&self, id: &str, row: &str) {
        self.rows.lock().await.insert(id.to_owned(), row.to_owned());
    }
}

#[derive(Clone)]
struct Cache {
    client: Client,
    source: Arc<Source>,
}

impl Cache {
    /// From the cache, or from the source by way of it.
    async fn read(&self, id: &str) -> Result<Option<Bytes>, Error> {
        let (row, filler) = (format!("row:{{{id}}}"), format!("filling:{{{id}}}"));
        loop {
            if let Some(cached) = self.client.get(&row).await? {
                return Ok(Some(cached));
            }
            // One asks the source; the others look again soon.
            let mine = SetOptions::if_absent().expires_in(FILLING);
            if !self.client.set_with(&filler, "", &mine).await? {
                sleep(Duration::from_millis(10)).await;
                continue;
            }
            let found = self.source.read(id).await;
            if let Some(found) = &found {
                // Not over a value that a writer has put there meanwhile: that one is newer.
                let unless_written = SetOptions::if_absent().expires_in(FRESH);
                self.client.set_with(&row, found, &unless_written).await?;
            }
            self.client.del([&filler]).await?;
            return Ok(found.map(Bytes::from));
        }
    }

    /// To the source first: what the cache shows is never more than the source has.
    async fn write(&self, id: &str, value: &str) -> Result<(), Error> {
        self.source.write(id, value).await;
        self.client.set_expiring(format!("row:{{{id}}}"), value, FRESH).await
    }
}

async fn run(arguments: Arguments) -> Result<(), Fault> {
    let place = arguments.whereabouts.open().await?;
    let (source, row) = (Arc::new(Source::default()), &arguments.row);
    source.write(row, "the first value").await;
    let cache = Cache { client: place.client.clone(), source: Arc::clone(&source) };
    cache.client.del([format!("row:{{{row}}}")]).await?;

    let readers: Vec<_> = (0..arguments.readers)
        .map(|_| {
            let (cache, row) = (cache.clone(), row.clone());
            tokio::spawn(async move { cache.read(&row).await })
        })
        .collect();
    for reader in readers {
        println!("a reader has {:?}", reader.await??);
    }
    println!("the source was read {} time(s)", source.reads.load(Ordering::Relaxed));
    cache.write(row, "the second value").await?;
    println!("after a write: {:?}", cache.read(row).await?);
    println!("the source was read {} time(s)", source.reads.load(Ordering::Relaxed));
    drop(cache);
    place.close()
}

#[tokio::main]
async fn main() -> ExitCode {
    end(run(Arguments::parse()).await)
}

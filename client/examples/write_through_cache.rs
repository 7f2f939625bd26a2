//! A cache before a slow source: filled once however many ask at the same time, written through on change.
//! Each row has one writer at a time; two that race could leave the older value in the cache until it expires.
//!
//! `cargo run -p annulus-client --features embedded --example write_through_cache [-- redis://127.0.0.1:6379 | embedded:./data]`

mod place;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use annulus_client::{
    Client, Error,
    commands::{KeyCommands as _, SetOptions, StringCommands as _},
};
use bytes::Bytes;
use tokio::{sync::Mutex, time::sleep};

use self::place::Place;

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

struct Cache<'a> {
    client: Client,
    source: &'a Source,
}

impl Cache<'_> {
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place = Place::open().await?;
    let source = Source::default();
    source.write("7", "seven").await;
    let cache = Cache { client: place.client.clone(), source: &source };
    cache.client.del(["row:{7}"]).await?;

    let (a, b, c, d) = tokio::join!(cache.read("7"), cache.read("7"), cache.read("7"), cache.read("7"));
    println!("four readers at once: {:?}", [a?, b?, c?, d?]);
    println!("the source was read {} time(s)", source.reads.load(Ordering::Relaxed));
    cache.write("7", "VII").await?;
    println!("after a write: {:?}", cache.read("7").await?);
    println!("the source was read {} time(s)", source.reads.load(Ordering::Relaxed));
    place.close()
}

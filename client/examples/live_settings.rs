//! Settings that every process of a service reads on each request, and somebody changes now and then: reads come from memory, and
//! a change is there within a round trip. Who wants to know at once listens.
//!
//! `cargo run -p annulus-client --features embedded --example live_settings [-- --limit 250 --reads 100000 embedded:./data]`

mod place;

use std::{process::ExitCode, time::Duration};

use annulus_client::{
    Cache, CacheOptions, Client, Command, Pipeline,
    commands::{KeyCommands as _, StringCommands as _},
};
use clap::Parser;
use tokio::time::sleep;

use self::place::{Fault, Whereabouts, end};

/// Changes a setting, and reads it from memory as a busy service would.
#[derive(Parser)]
struct Arguments {
    /// What the setting `rate_limit` becomes.
    #[arg(long, default_value_t = 250)]
    limit: u64,
    /// How often it's read then.
    #[arg(long, default_value_t = 100_000)]
    reads: u64,
    #[command(flatten)]
    whereabouts: Whereabouts,
}

const CHANGES: &str = "settings:changes";

/// A setting as one process sees it.
struct Settings {
    cache: Cache,
}

impl Settings {
    async fn open(client: &Client) -> annulus_client::Result<Self> {
        let mut options = CacheOptions::default();
        options.prefixes = vec!["setting:".into()];
        Ok(Self { cache: client.cache(options).await? })
    }

    async fn rate_limit(&self) -> annulus_client::Result<u64> {
        let text = self.cache.get("setting:rate_limit").await?.unwrap_or_default();
        Ok(std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).unwrap_or(100))
    }
}

/// Changes a setting and says so, both or none.
async fn change(client: &Client, name: &str, value: &str) -> annulus_client::Result<()> {
    let both = Pipeline::new()
        .with(Command::new("SET").key(format!("setting:{name}")).arg(value))
        .with(Command::new("PUBLISH").arg(CHANGES).arg(name));
    client.transaction(both).await.map(drop)
}

async fn run(arguments: Arguments) -> Result<(), Fault> {
    let place = arguments.whereabouts.open().await?;
    let client = place.client.clone();
    let settings = Settings::open(&client).await?;
    let mut changes = client.subscriber().await?;
    changes.subscribe([CHANGES]).await?;

    change(&client, "rate_limit", &arguments.limit.to_string()).await?;
    println!("changed: {}", changes.next().await?.payload.escape_ascii());
    while settings.rate_limit().await? != arguments.limit {
        sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..arguments.reads {
        settings.rate_limit().await?;
    }
    let stats = settings.cache.stats();
    println!("{} reads from memory, {} from the server", stats.hits, stats.misses);
    client.del(["setting:rate_limit"]).await?;
    drop((settings, changes, client));
    place.close()
}

#[tokio::main]
async fn main() -> ExitCode {
    end(run(Arguments::parse()).await)
}

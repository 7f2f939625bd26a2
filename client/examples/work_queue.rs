//! A queue of jobs for a group of workers (a stream with a consumer group): each job goes to one worker, and none is lost with a worker.
//! A job that was handed out stays pending until its worker has acknowledged it; what a dead worker has left pending for too long, another
//! one claims. A job may so be done twice, never not at all: its outcome is written together with the acknowledgement.
//!
//! `cargo run -p annulus-client --features embedded --example work_queue [-- --jobs 1000 --workers 2 embedded:./data]`

mod place;

use std::{process::ExitCode, time::Duration};

use annulus_client::{
    Client, Command, Error, Pipeline, Result, Session,
    commands::{
        After, Claim, GroupRead, GroupReader, KeyCommands as _, SetCommands as _, StreamCommands as _,
        StreamEntry, StreamId,
    },
};
use clap::Parser;

use self::place::{Fault, Whereabouts, end};

// The braces keep all of them on one shard, so that what a worker writes is one shard's affair.
const QUEUE: &str = "{queue}:jobs";
const DONE: &str = "{queue}:done";
const GROUP: &str = "workers";
/// Jobs taken at a time.
const BATCH: u32 = 16;
/// How long a worker waits for a job before it looks whether it shall stop.
const PATIENCE: Duration = Duration::from_millis(500);

/// A queue of jobs for a group of workers, one of which dies with jobs in its hands.
#[derive(Parser)]
struct Arguments {
    /// How many jobs there are to do.
    #[arg(long, default_value_t = 1000)]
    jobs: u64,
    /// How many workers do them.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Milliseconds that a job may be pending before its worker is taken for dead.
    #[arg(long, default_value_t = 100)]
    abandoned_ms: u64,
    #[command(flatten)]
    whereabouts: Whereabouts,
}

struct Worker {
    client: Client,
    session: Session,
    reader: GroupReader,
    claim: Claim,
}

impl Worker {
    async fn start(client: &Client, name: &str, abandoned: Duration) -> Result<Self> {
        Ok(Self {
            client: client.clone(),
            session: client.session().await?,
            reader: GroupReader::new(GROUP, name).count(BATCH),
            claim: Claim::new(GROUP, name, abandoned),
        })
    }

    /// New jobs, as soon as there are some; none if none has come for a while.
    async fn take(&self) -> Result<Vec<StreamEntry>> {
        let jobs =
            self.session.xreadgroup_wait(&self.reader, [(QUEUE, GroupRead::New)], Some(PATIENCE)).await?;
        Ok(jobs.into_entries().collect())
    }

    /// Jobs that others have begun and not finished.
    async fn claim(&self) -> Result<Vec<StreamEntry>> {
        Ok(self.client.xautoclaim(QUEUE, &self.claim, StreamId::MIN, BATCH).await?.claimed)
    }

    /// Does jobs until there are none, its own and others'. Returns how many.
    async fn run(&self) -> Result<u64> {
        let mut count = 0;
        loop {
            let mut jobs = self.take().await?;
            if jobs.is_empty() {
                jobs = self.claim().await?;
            }
            if jobs.is_empty() {
                return Ok(count);
            }
            for job in jobs {
                self.work(&job).await?;
                count += 1;
            }
        }
    }

    async fn work(&self, job: &StreamEntry) -> Result<()> {
        let Some(text) = job.get("job") else {
            return Err(Error::Protocol(format!("{} is no job: it has {:?}", job.id, job.fields)));
        };
        // In life something slow. The outcome and the acknowledgement are one: after a crash both are there, or neither.
        let done = Pipeline::new()
            .with(Command::new("SADD").key(DONE).arg(text))
            .with(Command::new("XACK").key(QUEUE).arg(GROUP).arg(job.id.to_string()));
        self.client.transaction(done).await?.into_iter().try_for_each(|reply| reply.map(drop))
    }
}

/// Makes the queue anew.
async fn prepare(client: &Client) -> Result<()> {
    client.del([QUEUE, DONE]).await?;
    client.xgroup_create_mkstream(QUEUE, GROUP, After::Beginning).await
}

async fn run(arguments: Arguments) -> std::result::Result<(), Fault> {
    let place = arguments.whereabouts.open().await?;
    let client = &place.client;
    prepare(client).await?;
    let (feeder, jobs) = (client.clone(), arguments.jobs);
    let feed = tokio::spawn(async move {
        for number in 0..jobs {
            feeder.xadd(QUEUE, [("job", format!("job {number}"))]).await?;
        }
        Ok::<_, Error>(())
    });
    // One takes jobs and dies; the others do all of them, its own too.
    let abandoned = Duration::from_millis(arguments.abandoned_ms);
    let lost = Worker::start(client, "unlucky", abandoned).await?.take().await?.len();
    let mut workers = Vec::new();
    for number in 1..=arguments.workers {
        let worker = Worker::start(client, &format!("worker {number}"), abandoned).await?;
        workers.push(tokio::spawn(async move { worker.run().await }));
    }
    let mut counts = Vec::new();
    for worker in workers {
        counts.push(worker.await??);
    }
    feed.await??;
    // What the feeder was still writing when they had no more patience.
    let rest = Worker::start(client, "the last", Duration::ZERO).await?.run().await?;
    println!("one died with {lost} jobs; the others did {counts:?}, and {rest} were left");
    let done = client.scard(DONE).await?;
    if done != arguments.jobs {
        return Err(format!("{} jobs, and {done} were done", arguments.jobs).into());
    }
    println!("all {done} jobs were done");
    client.del([QUEUE, DONE]).await?;
    place.close()
}

#[tokio::main]
async fn main() -> ExitCode {
    end(run(Arguments::parse()).await)
}

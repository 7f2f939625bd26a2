//! A queue of jobs for a group of workers (a stream with a consumer group): each job goes to one worker, and none is lost with a worker.
//! A job that was handed out stays pending until its worker has acknowledged it; what a dead worker has left pending for too long, another
//! one claims. A job may so be done twice, never not at all: its outcome is written together with the acknowledgement.
//!
//! `cargo run -p annulus-client --features embedded --example work_queue [-- redis://127.0.0.1:6379 | embedded:./data]`

mod place;

use std::time::Duration;

use annulus_client::{Client, Command, Error, Pipeline, Result, Session, Value, commands::KeyCommands as _};
use bytes::Bytes;

use self::place::Place;

// The braces keep all of them on one shard, so that what a worker writes is one shard's affair.
const QUEUE: &str = "{queue}:jobs";
const DONE: &str = "{queue}:done";
const GROUP: &str = "workers";
const JOBS: u32 = 1000;
/// Jobs taken at a time.
const BATCH: i64 = 16;
/// How long a worker waits for a job before it looks whether it shall stop.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a job may be pending before its worker is taken for dead.
const ABANDONED: Duration = Duration::from_millis(100);

/// A job as it stands in the stream.
struct Job {
    id: Bytes,
    text: Bytes,
}

struct Worker {
    client: Client,
    session: Session,
    name: &'static str,
}

impl Worker {
    async fn start(client: &Client, name: &'static str) -> Result<Self> {
        Ok(Self { client: client.clone(), session: client.session().await?, name })
    }

    /// New jobs, as soon as there are some; none if none has come for a while.
    async fn take(&self) -> Result<Vec<Job>> {
        let command = Command::new("XREADGROUP")
            .args(["GROUP", GROUP, self.name, "COUNT"])
            .number(BATCH)
            .arg("BLOCK")
            .number(PATIENCE.as_millis() as i64)
            .arg("STREAMS")
            .key(QUEUE)
            .arg(">");
        match self.session.wait_for(command, Some(PATIENCE)).await? {
            // By stream; there is one.
            Value::Map(streams) => {
                streams.into_iter().next().map_or(Ok(Vec::new()), |(_, jobs)| jobs_of(jobs))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Jobs that others have begun and not finished.
    async fn claim(&self) -> Result<Vec<Job>> {
        let command = Command::new("XAUTOCLAIM")
            .key(QUEUE)
            .args([GROUP, self.name])
            .number(ABANDONED.as_millis() as i64)
            .args(["0", "COUNT"])
            .number(BATCH);
        match self.client.command(command).await? {
            // The next cursor, the jobs, and the ids of those that are gone.
            Value::Array(parts) => parts.into_iter().nth(1).map_or(Ok(Vec::new()), jobs_of),
            _ => Ok(Vec::new()),
        }
    }

    /// Does jobs until there are none, its own and others'. Returns how many.
    async fn run(&self) -> Result<u32> {
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
                self.work(job).await?;
                count += 1;
            }
        }
    }

    async fn work(&self, job: Job) -> Result<()> {
        // In life something slow. The outcome and the acknowledgement are one: after a crash both are there, or neither.
        let done = Pipeline::new()
            .with(Command::new("SADD").key(DONE).arg(&job.text))
            .with(Command::new("XACK").key(QUEUE).arg(GROUP).arg(&job.id));
        for reply in self.client.transaction(done).await? {
            reply?;
        }
        Ok(())
    }
}

/// Entries of a stream: pairs of an id and a list of fields and values, of which a job has one.
fn jobs_of(entries: Value) -> Result<Vec<Job>> {
    let strange = |what: &Value| Error::Protocol(format!("a job that is {what:?}"));
    let Value::Array(entries) = entries else { return Err(strange(&entries)) };
    let job = |entry: Value| match &entry {
        Value::Array(parts) => match parts.as_slice() {
            [Value::Bulk(id), Value::Array(fields)] => match fields.as_slice() {
                [_, Value::Bulk(text)] => Ok(Job { id: id.clone(), text: text.clone() }),
                _ => Err(strange(&entry)),
            },
            _ => Err(strange(&entry)),
        },
        _ => Err(strange(&entry)),
    };
    entries.into_iter().map(job).collect()
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let place = Place::open().await?;
    let client = &place.client;
    client.del([QUEUE, DONE]).await?;
    client
        .command::<()>(Command::new("XGROUP").arg("CREATE").key(QUEUE).args([GROUP, "0", "MKSTREAM"]))
        .await?;
    let feeder = client.clone();
    let feed = tokio::spawn(async move {
        for number in 0..JOBS {
            let job = Command::new("XADD").key(QUEUE).args(["*", "job"]).arg(format!("job {number}"));
            feeder.command::<Bytes>(job).await?;
        }
        Ok::<_, Error>(())
    });
    // One takes jobs and dies; the others do all of them, its own too.
    let lost = Worker::start(client, "unlucky").await?.take().await?.len();
    let (ada, grace) = (Worker::start(client, "ada").await?, Worker::start(client, "grace").await?);
    let (by_ada, by_grace) = tokio::join!(ada.run(), grace.run());
    feed.await??;
    // What the feeder was still writing when they had no more patience.
    let rest = ada.run().await?;
    println!("unlucky left {lost}; ada did {}, grace did {}", by_ada? + rest, by_grace?);
    let done: i64 = client.command(Command::new("SCARD").key(DONE).reads()).await?;
    assert_eq!(done, i64::from(JOBS), "every job was done");
    client.del([QUEUE, DONE]).await?;
    drop((ada, grace));
    place.close()
}

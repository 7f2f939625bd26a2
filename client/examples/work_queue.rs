//! A queue of jobs: workers wait for jobs without asking again and again, and no job is lost with a worker.
//! A job that a worker takes moves to a list of that worker's, in one step; it leaves that when it is done. Who starts a worker
//! again first does what it had begun.
//!
//! `cargo run -p annulus-client --example work_queue [-- redis://127.0.0.1:6379]`

use std::time::Duration;

use annulus_client::{
    Client, Command, Pipeline, Session,
    commands::{KeyCommands as _, ListCommands as _, Side, StringCommands as _},
};
use bytes::Bytes;

const QUEUE: &str = "queue:jobs";
const DONE: &str = "queue:done";
/// How long a worker waits for a job before it looks whether it shall stop.
const PATIENCE: Duration = Duration::from_millis(500);

struct Worker {
    client: Client,
    session: Session,
    /// The jobs that it has begun: at most one.
    begun: String,
}

impl Worker {
    async fn start(client: &Client, name: &str) -> annulus_client::Result<Self> {
        let worker = Self {
            client: client.clone(),
            session: client.session().await?,
            begun: format!("queue:worker:{name}"),
        };
        for job in worker.client.lrange(&worker.begun, 0, -1).await? {
            worker.work(job).await?;
        }
        Ok(worker)
    }

    /// Until no job has come for a while. Returns how many it has done.
    async fn run(&self) -> annulus_client::Result<u32> {
        let mut jobs = 0;
        let (queue, begun) = ((QUEUE, Side::Left), (self.begun.as_str(), Side::Right));
        while let Some(job) = self.session.blmove(queue, begun, Some(PATIENCE)).await? {
            self.work(job).await?;
            jobs += 1;
        }
        Ok(jobs)
    }

    async fn work(&self, job: Bytes) -> annulus_client::Result<()> {
        // In life something slow, which may be done twice if the worker dies here.
        let done = Pipeline::new()
            .with(Command::new("INCR").key(DONE))
            .with(Command::new("LREM").key(&self.begun).number(1).arg(job));
        self.client.transaction(done).await.map(drop)
    }
}

#[tokio::main]
async fn main() -> annulus_client::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let client = Client::connect(url).await?;
    client.del([QUEUE, DONE]).await?;
    let (ada, grace) = (Worker::start(&client, "ada").await?, Worker::start(&client, "grace").await?);
    let feeder = client.clone();
    let feed = tokio::spawn(async move {
        for number in 0..1000 {
            feeder.rpush(QUEUE, [format!("job {number}")]).await?;
        }
        Ok::<_, annulus_client::Error>(())
    });
    let (by_ada, by_grace) = tokio::join!(ada.run(), grace.run());
    println!("ada did {}, grace did {}", by_ada?, by_grace?);
    feed.await.expect("the feeder does not panic")?;
    let done = client.get(DONE).await?.unwrap_or_default();
    assert_eq!(done, "1000", "every job once");
    client.del([QUEUE, DONE]).await.map(drop)
}

//! An event log within the program: events are appended, and acknowledged once they are on disk; readers follow at their own pace,
//! and know after a restart where they were. Old events go when no reader needs them any more.
//!
//! `cargo run -p annulus-client --features embedded --example event_log [-- embedded:./data | redis://127.0.0.1:6379]`

mod place;

use std::time::Duration;

use annulus_client::{
    Client, Command, Error, Pipeline, Result, Session, Value,
    commands::{KeyCommands as _, StringCommands as _},
};
use bytes::Bytes;

use self::place::Place;

/// Events that are asked for at a time.
const BATCH: i64 = 100;

/// The writing side, and what concerns the whole log.
struct Log {
    client: Client,
    name: String,
}

/// A reader, by name.
struct Reader {
    session: Session,
    client: Client,
    events: String,
    position: String,
}

/// An event: its place in the log, its kind and its text.
#[derive(Debug)]
struct Event {
    id: Bytes,
    kind: Bytes,
    text: Bytes,
}

impl Log {
    fn new(client: &Client, name: &str) -> Self {
        // The braces keep the log and its readers' positions on one shard.
        Self { client: client.clone(), name: format!("{{log:{name}}}") }
    }

    /// Appends events, all or none. When it returns, they are as durable as the store is told to be.
    async fn append(&self, events: &[(&str, &str)]) -> Result<Vec<Bytes>> {
        let append = events.iter().fold(Pipeline::new(), |pipeline, (kind, text)| {
            pipeline.with(Command::new("XADD").key(&self.name).arg("*").arg(kind).arg(text))
        });
        let replies = self.client.transaction(append).await?;
        replies
            .into_iter()
            .map(|reply| match reply? {
                Value::Bulk(id) => Ok(id),
                other => Err(Error::Protocol(format!("XADD answered {other:?}"))),
            })
            .collect()
    }

    async fn reader(&self, name: &str) -> Result<Reader> {
        Ok(Reader {
            session: self.client.session().await?,
            client: self.client.clone(),
            events: self.name.clone(),
            position: format!("{}:{name}", self.name),
        })
    }

    /// Forgets the events before this one. Returns how many.
    async fn forget_before(&self, id: &Bytes) -> Result<u64> {
        self.client.command(Command::new("XTRIM").key(&self.name).arg("MINID").arg(id)).await
    }
}

impl Reader {
    /// The next events behind the reader's position, waiting for some; none if none has come for a while.
    async fn next(&self, patience: Duration) -> Result<Vec<Event>> {
        let position = self.client.get(&self.position).await?.unwrap_or(Bytes::from_static(b"0"));
        let read = Command::new("XREAD").arg("COUNT").number(BATCH).arg("BLOCK");
        let read = read.number(patience.as_millis() as i64).arg("STREAMS").key(&self.events).arg(position);
        match self.session.wait_for(read, Some(patience)).await? {
            // By log; there is one.
            Value::Map(logs) => {
                logs.into_iter().next().map_or(Ok(Vec::new()), |(_, events)| events_of(events))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The events up to this one are dealt with: after a restart, reading goes on behind it.
    async fn advance(&self, event: &Event) -> Result<()> {
        self.client.set(&self.position, &event.id).await
    }
}

fn events_of(entries: Value) -> Result<Vec<Event>> {
    let strange = |what: &Value| Error::Protocol(format!("an event that is {what:?}"));
    let Value::Array(entries) = entries else { return Err(strange(&entries)) };
    let event = |entry: Value| match &entry {
        Value::Array(parts) => match parts.as_slice() {
            [Value::Bulk(id), Value::Array(fields)] => match fields.as_slice() {
                [Value::Bulk(kind), Value::Bulk(text)] => {
                    Ok(Event { id: id.clone(), kind: kind.clone(), text: text.clone() })
                }
                _ => Err(strange(&entry)),
            },
            _ => Err(strange(&entry)),
        },
        _ => Err(strange(&entry)),
    };
    entries.into_iter().map(event).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let place = Place::open().await?;
    let log = Log::new(&place.client, "orders");
    place.client.del([log.name.clone(), format!("{}:billing", log.name)]).await?;
    let billing = log.reader("billing").await?;

    // The reader is there first, and waits.
    let patience = Duration::from_secs(5);
    let orders = [("ordered", "1 x tea"), ("ordered", "2 x bread"), ("cancelled", "1 x tea")];
    let (appended, first) = tokio::join!(log.append(&orders), billing.next(patience));
    let (appended, mut seen) = (appended?, first?);
    // Some of them may have come later than it looked.
    while seen.len() < appended.len() {
        billing.advance(seen.last().ok_or("no event came")?).await?;
        seen.extend(billing.next(patience).await?);
    }
    for event in &seen {
        println!("{} {}: {}", event.id.escape_ascii(), event.kind.escape_ascii(), event.text.escape_ascii());
    }
    let last = seen.last().ok_or("no event came")?;
    billing.advance(last).await?;

    // A reader of the same name goes on where it was, in this life of the program or the next.
    drop(billing);
    let billing = log.reader("billing").await?;
    assert!(billing.next(Duration::from_millis(10)).await?.is_empty(), "all has been dealt with");
    println!("forgot {} events before {}", log.forget_before(&last.id).await?, last.id.escape_ascii());
    drop((billing, log));
    place.close()
}

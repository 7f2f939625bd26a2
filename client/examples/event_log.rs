//! An event log within the program: events are appended, and acknowledged once they are on disk; readers follow at their own pace,
//! and know after a restart where they were. Old events go when no reader needs them any more.
//!
//! `cargo run -p annulus-client --features embedded --example event_log [-- --log orders embedded:./data]`

mod place;

use std::{process::ExitCode, time::Duration};

use annulus_client::{
    Client, Command, Error, Pipeline, Result, Session, Value,
    commands::{After, StreamCommands as _, StreamEntry, StreamId, StringCommands as _, Trim},
};
use bytes::Bytes;
use clap::Parser;

use self::place::{Fault, Whereabouts, end};

/// Events that are asked for at a time.
const BATCH: u32 = 100;

/// Appends events to a log, and follows it as a reader that remembers where it was.
#[derive(Parser)]
struct Arguments {
    /// The log's name.
    #[arg(long, default_value = "orders")]
    log: String,
    /// The reader's name.
    #[arg(long, default_value = "billing")]
    reader: String,
    /// What to append, each as KIND=TEXT.
    #[arg(long = "event", value_parser = parse_event,
          default_values = ["ordered=1 x tea", "ordered=2 x bread", "cancelled=1 x tea"])]
    events: Vec<(String, String)>,
    #[command(flatten)]
    whereabouts: Whereabouts,
}

fn parse_event(text: &str) -> std::result::Result<(String, String), String> {
    let (kind, rest) = text.split_once('=').ok_or("an event is KIND=TEXT, as in ordered=tea")?;
    Ok((kind.to_owned(), rest.to_owned()))
}

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

impl Log {
    fn new(client: &Client, name: &str) -> Self {
        // The braces keep the log and its readers' positions on one shard.
        Self { client: client.clone(), name: format!("{{log:{name}}}") }
    }

    /// Appends events, all or none. When it returns, they are as durable as the store is told to be.
    async fn append(&self, events: &[(String, String)]) -> Result<usize> {
        let append = events.iter().fold(Pipeline::new(), |pipeline, (kind, text)| {
            pipeline.with(Command::new("XADD").key(&self.name).arg("*").arg(kind).arg(text))
        });
        let ids = self.client.transaction(append).await?.into_iter().collect::<Result<Vec<Value>>>()?;
        Ok(ids.len())
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
    async fn forget_before(&self, id: StreamId) -> Result<u64> {
        self.client.xtrim(&self.name, &Trim::min_id(id)).await
    }
}

impl Reader {
    /// The next events behind the reader's position, waiting for some; none if none has come for a while.
    async fn next(&self, patience: Duration) -> Result<Vec<StreamEntry>> {
        let position = match self.client.get(&self.position).await? {
            None => After::Beginning,
            Some(id) => After::Id(parse_id(&id)?),
        };
        let read = self.session.xread_wait([(&self.events, position)], Some(BATCH), Some(patience)).await?;
        Ok(read.into_entries().collect())
    }

    /// The events up to this one are dealt with: after a restart, reading goes on behind it.
    async fn advance(&self, id: StreamId) -> Result<()> {
        self.client.set(&self.position, id.to_string()).await
    }
}

fn parse_id(text: &Bytes) -> Result<StreamId> {
    let id = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    id.ok_or_else(|| Error::Protocol(format!("a position that is {}", text.escape_ascii())))
}

fn tell(event: &StreamEntry) {
    for (kind, text) in &event.fields {
        println!("{} {}: {}", event.id, kind.escape_ascii(), text.escape_ascii());
    }
}

async fn run(arguments: Arguments) -> std::result::Result<(), Fault> {
    let place = arguments.whereabouts.open().await?;
    let log = Log::new(&place.client, &arguments.log);
    let reader = log.reader(&arguments.reader).await?;
    // What was appended while it was away.
    while let before = reader.next(Duration::from_millis(10)).await?
        && let Some(last) = before.last()
    {
        before.iter().for_each(tell);
        reader.advance(last.id).await?;
    }

    // The reader is there first, and waits.
    let patience = Duration::from_secs(5);
    let (appended, first) = tokio::join!(log.append(&arguments.events), reader.next(patience));
    let (appended, mut seen) = (appended?, first?);
    // Some of them may have come later than it looked.
    while seen.len() < appended {
        reader.advance(seen.last().ok_or("no event came")?.id).await?;
        seen.extend(reader.next(patience).await?);
    }
    seen.iter().for_each(tell);
    let Some(last) = seen.last() else { return place.close() };
    reader.advance(last.id).await?;

    // A reader of the same name goes on where it was, in this life of the program or the next.
    let again = log.reader(&arguments.reader).await?;
    if !again.next(Duration::from_millis(10)).await?.is_empty() {
        return Err("events that were dealt with came again".into());
    }
    println!("forgot {} events before {}", log.forget_before(last.id).await?, last.id);
    println!("the log holds {}", place.client.xlen(&log.name).await?);
    drop((reader, again, log));
    place.close()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    end(run(Arguments::parse()).await)
}

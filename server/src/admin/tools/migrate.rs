//! `annulus migrate`: keys from one server to another, while both serve.
//!
//! One thread reads (SCAN, then DUMP and PTTL of each key), another writes (RESTORE … REPLACE), and between them are a few batches at most: so memory
//! is bounded by those, or by the largest value. What is written at the source meanwhile may be missed.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use annulus_client_net::blocking::Client;
use annulus_client_net::{Command, Error, Options, Pipeline, Value};
use indicatif::{ProgressBar, ProgressStyle};

use super::ToolError;
use crate::admin::info::human_bytes;
use crate::runtime::threads;

/// Keys that SCAN is asked for, and whose sizes are asked for together.
const SCAN_COUNT: i64 = 512;
/// A batch ends with as many keys, or with as many bytes by what MEMORY USAGE says.
const BATCH_KEYS: usize = 256;
const BATCH_BYTES: u64 = 4 << 20;
/// What a key is taken for whose size the server doesn't tell.
const UNKNOWN_BYTES: u64 = BATCH_BYTES / 8;
/// Batches between the two threads.
const BATCHES: usize = 2;
/// For the largest value that there may be.
const TIMEOUT: Duration = Duration::from_mins(10);
/// How many of the keys that were refused are printed.
const REFUSALS_SHOWN: usize = 5;

/// From where, and to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrate {
    /// The URL of the source; if it names no database, all are taken.
    pub from: String,
    /// The URL of the target.
    pub to: String,
    /// Only keys that match.
    pub pattern: Option<String>,
}

/// A key on its way.
struct Parcel {
    key: Vec<u8>,
    payload: Vec<u8>,
    /// 0: it does not expire.
    ttl_ms: i64,
}

/// What has been done.
#[derive(Debug, Default)]
struct Tally {
    keys: u64,
    bytes: u64,
    refused: u64,
    /// The first few of those.
    shown: Vec<String>,
}

pub(super) fn migrate(what: &Migrate, out: &mut dyn Write) -> Result<u8, ToolError> {
    let (from, to) = (options(&what.from, "--from")?, options(&what.to, "--to")?);
    let source = connect(&from, from.database, "--from")?;
    connect(&to, to.database, "--to")?;
    let databases = if names_database(&what.from) { vec![from.database] } else { databases(&source)? };
    if names_database(&what.to) && databases.len() > 1 {
        return Err(ToolError::Refused(
            "the source has several databases, and --to names one: name one with --from too".to_owned(),
        ));
    }
    let mut tally = Tally::default();
    if what.pattern.is_none() && !names_database(&what.from) {
        let target = connect(&to, to.database, "--to")?;
        copy_functions(&source, &target, &mut tally, out)?;
    }
    for database in databases {
        let target = if names_database(&what.to) { to.database } else { database };
        let source = connect(&from, database, "--from")?;
        let target = connect(&to, target, "--to")?;
        copy_database(&source, target, database, what.pattern.as_deref(), &mut tally)?;
    }
    writeln!(out, "{} keys, {} as payloads", tally.keys, human_bytes(tally.bytes))?;
    if tally.refused == 0 {
        return Ok(0);
    }
    writeln!(out, "{} were refused:", tally.refused)?;
    tally.shown.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    Ok(1)
}

fn options(url: &str, option: &str) -> Result<Options, ToolError> {
    let mut options =
        Options::from_url(url).map_err(|error| ToolError::Refused(format!("{option}: {error}")))?;
    options.timeout = TIMEOUT;
    Ok(options)
}

fn connect(options: &Options, database: u32, option: &str) -> Result<Client, ToolError> {
    let mut options = options.clone();
    options.database = database;
    let client = Client::connect(options)
        .and_then(|client| client.command::<Value>(Command::new("PING")).map(|_| client));
    client.map_err(|error| ToolError::Refused(format!("{option}: {error}")))
}

/// Whether a URL says which database is meant: one that doesn't is read as meaning the first.
fn names_database(url: &str) -> bool {
    let (rest, query) = url.split_once('?').unwrap_or((url, ""));
    let path = rest.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    match url.split_once("://") {
        Some(("redis" | "rediss", _)) => !path.is_empty(),
        _ => query.split('&').any(|pair| pair.starts_with("db=")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
fn source_failed(error: Error) -> ToolError {
    ToolError::Refused(format!("the source: {error}"))
}

/// Those that have keys.
fn databases(source: &Client) -> Result<Vec<u32>, ToolError> {
    let info: Value = source.command(Command::new("INFO").arg("keyspace")).map_err(source_failed)?;
    let text = info.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    Ok(text.lines().filter_map(database_of).collect())
}

/// `db3:keys=17,expires=0,avg_ttl=0`
fn database_of(line: &str) -> Option<u32> {
    line.strip_prefix("db")?.split_once(':')?.0.parse().ok()
}

/// Libraries of functions, where the source knows of such.
fn copy_functions(
    source: &Client,
    target: &Client,
    tally: &mut Tally,
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    let listed = source.command::<Value>(Command::new("FUNCTION").arg("LIST"));
    let Ok(Value::Array(libraries)) = listed else { return Ok(()) };
    if libraries.is_empty() {
        return Ok(());
    }
    let dumped: Value = source.command(Command::new("FUNCTION").arg("DUMP")).map_err(source_failed)?;
    let payload = dumped.bytes().map(|bytes| bytes.to_vec()).unwrap_or_default();
    let restore = Command::new("FUNCTION").arg("RESTORE").arg(payload).arg("REPLACE");
    match target.command::<Value>(restore) {
        Ok(_) => writeln!(out, "{} libraries of functions", libraries.len())?,
        Err(error) => tally.refuse("the libraries of functions", &error),
    }
    Ok(())
}

impl Tally {
    fn refuse(&mut self, what: &str, error: &Error) {
        self.refused += 1;
        if self.shown.len() < REFUSALS_SHOWN {
            self.shown.push(format!("{what}: {error}"));
        }
    }
}

fn copy_database(
    source: &Client,
    target: Client,
    database: u32,
    pattern: Option<&str>,
    tally: &mut Tally,
) -> Result<(), ToolError> {
    let size: Value = source.command(Command::new("DBSIZE")).map_err(source_failed)?;
    let keys = if let Value::Integer(keys) = size { u64::try_from(keys).unwrap_or(0) } else { 0 };
    let bar = bar(database, keys);
    let (sender, receiver) = sync_channel(BATCHES);
    let shown = bar.clone();
    let writer = threads::spawn("migrate".to_owned(), None, move |_| write(&target, &receiver, &shown));
    let writer = writer.map_err(|error| ToolError::Refused(format!("no thread can be started: {error}")))?;
    let read = read(source, pattern, &sender);
    drop(sender);
    let written = writer.join().unwrap_or_else(|_| Err("the writing thread has ended".to_owned()));
    bar.finish_and_clear();
    // A target that fails ends the reading too: it is the cause.
    let written = written.map_err(|error| ToolError::Refused(format!("the target: {error}")))?;
    read.map_err(source_failed)?;
    tally.keys += written.keys;
    tally.bytes += written.bytes;
    tally.refused += written.refused;
    tally.shown.extend(written.shown);
    tally.shown.truncate(REFUSALS_SHOWN);
    Ok(())
}

/// Shows itself on a terminal only.
fn bar(database: u32, keys: u64) -> ProgressBar {
    let bar = ProgressBar::new(keys);
    let style = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} keys, {per_sec}, {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(format!("database {database}"));
    bar
}

/// Reads keys in batches, until the end or until nobody takes them.
fn read(source: &Client, pattern: Option<&str>, sender: &SyncSender<Vec<Parcel>>) -> Result<(), Error> {
    let mut cursor = b"0".to_vec();
    loop {
        let scan = Command::new("SCAN").arg(&cursor).arg("COUNT").number(SCAN_COUNT);
        let scan = match pattern {
            Some(pattern) => scan.arg("MATCH").arg(pattern),
            None => scan,
        };
        let step: Value = source.command(scan.reads())?;
        let Value::Array(step) = step else { return Ok(()) };
        let [next, Value::Array(keys)] = step.as_slice() else { return Ok(()) };
        let keys: Vec<Vec<u8>> = keys.iter().filter_map(|key| Some(key.bytes()?.to_vec())).collect();
        let sizes = sizes(source, &keys)?;
        let mut rest = keys.as_slice();
        let mut sizes = sizes.as_slice();
        while !rest.is_empty() {
            let count = batch_len(sizes);
            let (batch, later) = rest.split_at(count);
            if sender.send(parcels(source, batch)?).is_err() {
                return Ok(());
            }
            (rest, sizes) = (later, &sizes[count..]);
        }
        cursor = next.bytes().map(|bytes| bytes.to_vec()).unwrap_or_default();
        if cursor == b"0" || cursor.is_empty() {
            return Ok(());
        }
    }
}

fn sizes(source: &Client, keys: &[Vec<u8>]) -> Result<Vec<u64>, Error> {
    let usage = |key: &Vec<u8>| Command::new("MEMORY").arg("USAGE").key(key).reads();
    let replies = source.pipeline(keys.iter().map(usage).fold(Pipeline::new(), Pipeline::with))?;
    let size = |reply: &Result<Value, Error>| match reply {
        Ok(Value::Integer(bytes)) => u64::try_from(*bytes).unwrap_or(UNKNOWN_BYTES),
        Ok(Value::Null) => 0,
        _ => UNKNOWN_BYTES,
    };
    Ok(replies.iter().map(size).collect())
}

/// How many of the first keys make a batch: one at least.
fn batch_len(sizes: &[u64]) -> usize {
    let mut bytes = 0_u64;
    let fits = |size: &&u64| {
        bytes = bytes.saturating_add(**size);
        bytes <= BATCH_BYTES
    };
    sizes.iter().take(BATCH_KEYS).take_while(fits).count().clamp(1, sizes.len().max(1))
}

fn parcels(source: &Client, keys: &[Vec<u8>]) -> Result<Vec<Parcel>, Error> {
    let mut pipeline = Pipeline::new();
    for key in keys {
        // The time first: a key must not lose its expiry when it expires in between.
        pipeline = pipeline.with(Command::new("PTTL").key(key).reads());
        pipeline = pipeline.with(Command::new("DUMP").key(key).reads());
    }
    let mut replies = source.pipeline(pipeline)?.into_iter();
    let mut parcels = Vec::with_capacity(keys.len());
    for key in keys {
        let (Some(ttl), Some(payload)) = (replies.next(), replies.next()) else { break };
        // One that is gone meanwhile has no payload.
        let Value::Bulk(payload) = payload? else { continue };
        let ttl_ms = match ttl? {
            Value::Integer(ttl_ms @ 0..) => ttl_ms.max(1),
            _ => 0,
        };
        parcels.push(Parcel { key: key.clone(), payload: payload.to_vec(), ttl_ms });
    }
    Ok(parcels)
}

/// Writes batches until none comes any more. An error that is not of a key alone ends it.
fn write(target: &Client, receiver: &Receiver<Vec<Parcel>>, bar: &ProgressBar) -> Result<Tally, String> {
    let mut tally = Tally::default();
    while let Ok(batch) = receiver.recv() {
        let restore = |parcel: &Parcel| {
            let command = Command::new("RESTORE").key(&parcel.key).number(parcel.ttl_ms);
            command.arg(&parcel.payload).arg("REPLACE")
        };
        let pipeline = batch.iter().map(restore).fold(Pipeline::new(), Pipeline::with);
        let replies = target.pipeline(pipeline).map_err(|error| error.to_string())?;
        for (parcel, reply) in batch.iter().zip(replies) {
            match reply {
                Ok(_) => {
                    tally.keys += 1;
                    tally.bytes += parcel.payload.len() as u64;
                }
                Err(error @ Error::Server { .. }) if is_of_key(&error) => {
                    tally.refuse(&format!("\"{}\"", parcel.key.escape_ascii()), &error);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        bar.inc(batch.len() as u64);
    }
    Ok(tally)
}

/// Whether the next key may fare better.
fn is_of_key(error: &Error) -> bool {
    let text = error.to_string();
    ["DUMP payload version", "Bad data format", "BUSYKEY"].iter().any(|part| text.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_database_or_does_not() {
        for (url, names) in [
            ("redis://localhost", false),
            ("redis://localhost:7000/", false),
            ("redis://localhost:7000/0", true),
            ("rediss://user:pass@host/3?name=x", true),
            ("redis://host?timeout_ms=5", false),
            ("unix:///run/redis.sock", false),
            ("unix:///run/redis.sock?db=2", true),
        ] {
            assert_eq!(names_database(url), names, "{url}");
        }
        assert_eq!(database_of("db12:keys=1,expires=0,avg_ttl=0"), Some(12));
        assert_eq!(database_of("# Keyspace"), None);
    }

    #[test]
    fn a_batch_has_a_key_at_least_and_no_more_bytes_than_it_may() {
        assert_eq!(batch_len(&[BATCH_BYTES * 9, 1]), 1);
        assert_eq!(batch_len(&[1, BATCH_BYTES, 1]), 1);
        assert_eq!(batch_len(&[1, BATCH_BYTES - 1, 1]), 2);
        assert_eq!(batch_len(&vec![1; 1000]), BATCH_KEYS);
        assert_eq!(batch_len(&[0]), 1);
    }
}

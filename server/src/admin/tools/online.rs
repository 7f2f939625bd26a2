//! `annulus backup --from URL`: copies the data directory of a server that serves, to one moment.
//!
//! The server keeps what the copy needs as long as it's told so, and names the moment; the files are read here, on the same machine. The copy is made
//! beside the target under another name, and takes its place when it is complete. What a crash leaves is the target as it was, and a directory under the
//! other name, which the next backup goes on with.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use annulus_client_net::blocking::Client;
use annulus_client_net::{Command, Options, Value};
use annulus_storage::disk::Disk;
use annulus_storage::disk::blocking::{StdDisk, StdLock, run_ready};
use annulus_storage::manifest::read_data_directory;
use annulus_storage::offline::{
    Copied, CopyError, CopyHelper, CopyPlaces, PathError, ShardMoment, copy_closed_epochs, copy_manifest,
    copy_shard, directory_in,
};
use annulus_storage::{DataDirectory, Lsn, OpenError, ShardId};

use super::check::{Verdict, examine};
use super::{ToolError, at, beside, names, open, parent, rename};
use crate::admin::info::human_bytes;
use crate::runtime::{Clock, threads};

/// How often the server hears that the backup goes on; after 20 seconds it believes that it doesn't.
const KEEP_NS: u64 = 5_000_000_000;
/// How often and how long the end of a backup is awaited that is under way, or whose program is gone.
const BEGIN_PAUSE: Duration = Duration::from_secs(1);
const BEGIN_ATTEMPTS: u32 = 30;
const BUSY: &str = "a backup is under way";
/// Between two looks at whether the logs are durable up to the moment.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// How long that may take.
const DURABLE_NS: u64 = 60_000_000_000;
/// For a server that is very busy.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much less than others this process wants of the machine.
const NICENESS: i32 = 10;

/// From which server, and how fast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Online {
    /// The URL of the server.
    pub from: String,
    /// Bytes a second at most; 0 is no limit.
    pub bandwidth: u64,
}

/// The server, as long as it keeps what the copy needs.
struct Lease {
    client: Client,
    number: i64,
    clock: Clock,
    kept_ns: u64,
}

/// The pace of the copying.
struct Pace<'a> {
    lease: &'a mut Lease,
    bandwidth: u64,
    began_ns: u64,
    bytes: u64,
}

pub(super) fn backup_online(
    dir: &Path,
    target: &Path,
    online: &Online,
    out: &mut dyn Write,
) -> Result<u8, ToolError> {
    // Best effort: where it isn't permitted the bandwidth is what can be limited.
    let _ = rustix::process::nice(NICENESS);
    let place = Place::prepare(dir, target)?;
    let (mut lease, begun) = Lease::begin(&online.from)?;
    let copied = copy_to(dir, &place, (&mut lease, online.bandwidth), &begun, out);
    let finished = copied.and_then(|copied| Ok((copied, place.finish(target)?)));
    // Also of a copy that failed: the server need not wait until it hears nothing any more.
    lease.end(finished.is_ok());
    let (copied, superseded) = finished?;
    superseded.map_or(Ok(()), |path| StdDisk::remove_tree(&path).map_err(at(&path)))?;
    writeln!(
        out,
        "{}: {} files written ({}), {} were there already",
        target.display(),
        copied.files,
        human_bytes(copied.bytes),
        copied.files_kept,
    )?;
    Ok(0)
}

/// Makes the whole copy under its other name.
fn copy_to(
    dir: &Path,
    place: &Place,
    (lease, bandwidth): (&mut Lease, u64),
    begun: &Value,
    out: &mut dyn Write,
) -> Result<Copied, ToolError> {
    // From BEGIN on the server gives no epoch up.
    let directory = run_ready(read_data_directory(&StdDisk, dir))?;
    let checkpoints = checkpoints_of(begun, &directory)?;
    place.check_identity(&directory)?;
    let moments = lease.cut(&checkpoints)?;
    for moment in &moments {
        writeln!(
            out,
            "shard {}: from checkpoint {} to LSN {}",
            moment.shard, moment.checkpoint, moment.until
        )?;
    }
    out.flush()?;
    lease.await_durable(&moments)?;
    let mut copied = Copied::default();
    copy(&directory, &moments, place, (lease, bandwidth), &mut copied)?;
    // What was copied until now was kept until now.
    lease.keep()?;
    let manifest = copy_manifest(&StdDisk, &directory, &place.unfinished, &mut copied);
    run_ready(manifest).map_err(failed)?;
    let copy = run_ready(read_data_directory(&StdDisk, &place.unfinished))?;
    let is_same = copy.epochs == directory.epochs && copy.incarnation == directory.incarnation;
    if !is_same {
        return Err(ToolError::Refused("the server was started anew meanwhile; begin again".to_owned()));
    }
    if directory.epochs.len() > 1 && examine(&copy, out)? == Verdict::Refused {
        // The files of older epochs were copied as they are.
        return Err(ToolError::Refused(
            "what former numbers of shards have left is damaged: see above for where; the backup before this one stays"
                .to_owned(),
        ));
    }
    Ok(copied)
}

/// Each shard's newest checkpoint, by what BEGIN has answered.
fn checkpoints_of(begun: &Value, directory: &DataDirectory) -> Result<Vec<u64>, ToolError> {
    let mut checkpoints = vec![None; usize::from(directory.epoch().shards)];
    for row in rows(begun).unwrap_or_default() {
        let [_, name, Value::Integer(starts), Value::Integer(shard), Value::Integer(checkpoint)] = row else {
            return Err(unknown_answer());
        };
        let own = format!("{:016x}", directory.identity);
        let is_same = name.bytes().is_some_and(|name| name[..] == *own.as_bytes())
            && *starts == i64::from(directory.incarnation);
        let place = usize::try_from(*shard).ok().and_then(|shard| checkpoints.get_mut(shard));
        let (true, Some(place)) = (is_same, place) else {
            let dir = directory.path.display();
            return Err(ToolError::Refused(format!("{dir} is not the data directory of that server")));
        };
        *place = u64::try_from(*checkpoint).ok();
    }
    checkpoints.into_iter().collect::<Option<_>>().ok_or_else(unknown_answer)
}

fn unknown_answer() -> ToolError {
    ToolError::Refused("the server answered BACKUP with something unknown".to_owned())
}

fn failed((path, error): PathError) -> ToolError {
    ToolError::Io { path, error }
}

fn copy(
    directory: &DataDirectory,
    moments: &[ShardMoment],
    place: &Place,
    (lease, bandwidth): (&mut Lease, u64),
    copied: &mut Copied,
) -> Result<(), ToolError> {
    let began_ns = lease.clock.monotonic_ns();
    let mut pace = Pace { lease, bandwidth, began_ns, bytes: 0 };
    let older = place.older.as_ref().map(|older| &*older.directory.path);
    let closed = copy_closed_epochs(&StdDisk, directory, &place.unfinished, older, &mut pace, copied);
    run_ready(closed).map_err(failed)?;
    let epoch = directory.epoch();
    for moment in moments {
        let made = directory_in(&StdDisk, directory, epoch, moment.shard, &place.unfinished);
        let own = run_ready(made).map_err(failed)?;
        let older = place.older.as_ref().map(|older| older.directory.shard_directory(epoch, moment.shard));
        let places = CopyPlaces { target: &own, older: older.as_deref() };
        let done = run_ready(copy_shard(&StdDisk, directory, *moment, places, &mut pace));
        let done = done.map_err(|error| match error {
            CopyError::Io { path, error } => ToolError::Io { path, error },
            other => ToolError::Refused(format!("shard {}: {other}", moment.shard)),
        })?;
        copied.files += done.files;
        copied.bytes += done.bytes;
        copied.files_kept += done.files_kept;
    }
    Ok(())
}

impl Lease {
    /// Has the server keep what there is. Returns what it says of that.
    fn begin(url: &str) -> Result<(Lease, Value), ToolError> {
        let mut options =
            Options::from_url(url).map_err(|error| ToolError::Refused(format!("--from: {error}")))?;
        options.timeout = TIMEOUT;
        let refused = |error: annulus_client_net::Error| ToolError::Refused(format!("the server: {error}"));
        let client = Client::connect(options).map_err(refused)?;
        let mut attempts = 0;
        let begun: Value = loop {
            match client.command(Command::new("BACKUP").arg("BEGIN")) {
                Err(error) if attempts < BEGIN_ATTEMPTS && error.to_string().contains(BUSY) => {
                    attempts += 1;
                    threads::block_for(BEGIN_PAUSE);
                }
                begun => break begun.map_err(refused)?,
            }
        };
        let first = rows(&begun).and_then(|rows| rows.first().and_then(|row| row.first()).cloned());
        let Some(Value::Integer(number)) = first else { return Err(unknown_answer()) };
        let clock = Clock::default();
        let kept_ns = clock.monotonic_ns();
        Ok((Lease { client, number, clock, kept_ns }, begun))
    }

    fn ask(&self, subcommand: &str) -> Result<Vec<(ShardId, Lsn)>, ToolError> {
        let command = Command::new("BACKUP").arg(subcommand).arg(self.number.to_string());
        let answer: Value = self
            .client
            .command(command)
            .map_err(|error| ToolError::Refused(format!("the server: {error}")))?;
        let pair = |row: &[Value]| match row {
            [Value::Integer(shard), Value::Integer(lsn)] => {
                Some((ShardId(u16::try_from(*shard).ok()?), Lsn(u64::try_from(*lsn).ok()?)))
            }
            _ => None,
        };
        let pairs = rows(&answer).and_then(|rows| rows.into_iter().map(pair).collect::<Option<Vec<_>>>());
        pairs.ok_or_else(unknown_answer)
    }

    /// The moment.
    fn cut(&mut self, checkpoints: &[u64]) -> Result<Vec<ShardMoment>, ToolError> {
        let cut = self.ask("CUT")?;
        let moments = checkpoints.iter().zip(0..).map(|(checkpoint, shard)| {
            let shard = ShardId(shard);
            let (_, until) = cut.iter().find(|(named, _)| *named == shard)?;
            Some(ShardMoment { shard, checkpoint: *checkpoint, until: *until })
        });
        let moments: Option<Vec<_>> = moments.collect();
        moments.ok_or_else(|| ToolError::Refused("the server has another number of shards".to_owned()))
    }

    /// Has the server keep it all for another while. Returns how far each log is durable.
    fn keep(&mut self) -> Result<Vec<(ShardId, Lsn)>, ToolError> {
        let claimed = self.ask("KEEP")?;
        self.kept_ns = self.clock.monotonic_ns();
        Ok(claimed)
    }

    /// Waits until everything before the moment is on stable storage.
    fn await_durable(&mut self, moments: &[ShardMoment]) -> Result<(), ToolError> {
        let patience_ns = self.clock.monotonic_ns() + DURABLE_NS;
        loop {
            let claimed = self.keep()?;
            let is_durable = |moment: &ShardMoment| {
                claimed.iter().any(|(shard, lsn)| *shard == moment.shard && *lsn >= moment.until)
            };
            if moments.iter().all(is_durable) {
                return Ok(());
            }
            if self.clock.monotonic_ns() > patience_ns {
                return Err(ToolError::Refused(
                    "the server's logs do not become durable: see its log and INFO persistence".to_owned(),
                ));
            }
            threads::block_for(LOOK_PAUSE);
        }
    }

    /// The server keeps nothing for it any more, and says in INFO what has come of it. Should it not hear that, it ends by itself.
    fn end(&self, is_complete: bool) {
        let subcommand = if is_complete { "END" } else { "ABORT" };
        let command = Command::new("BACKUP").arg(subcommand).arg(self.number.to_string());
        let _ = self.client.command::<Value>(command);
    }
}

/// The rows of an answer.
fn rows(answer: &Value) -> Option<Vec<&[Value]>> {
    let Value::Array(rows) = answer else { return None };
    rows.iter().map(|row| if let Value::Array(row) = row { Some(row.as_slice()) } else { None }).collect()
}

impl CopyHelper for Pace<'_> {
    fn pace(&mut self, bytes: u64) -> Result<(), String> {
        self.bytes += bytes;
        let due_ns = u128::from(self.bytes) * 1_000_000_000 / u128::from(self.bandwidth.max(1));
        let due_ns = if self.bandwidth > 0 { u64::try_from(due_ns).unwrap_or(u64::MAX) } else { 0 };
        let due_ns = self.began_ns.saturating_add(due_ns);
        loop {
            let now_ns = self.lease.clock.monotonic_ns();
            if now_ns.saturating_sub(self.lease.kept_ns) > KEEP_NS {
                self.lease.keep().map_err(|error| error.to_string())?;
            }
            if now_ns >= due_ns {
                return Ok(());
            }
            threads::block_for(Duration::from_nanos((due_ns - now_ns).min(KEEP_NS)));
        }
    }

    fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        StdDisk::link(from, to)
    }
}

/// The backup before this one, which nobody uses meanwhile.
struct Older {
    directory: DataDirectory,
    _lock: StdLock,
}

/// Where the copy is made, and what is there already.
struct Place {
    unfinished: PathBuf,
    older: Option<Older>,
    /// The target is there, if only as an empty directory.
    is_there: bool,
}

impl Place {
    fn prepare(dir: &Path, target: &Path) -> Result<Place, ToolError> {
        let found = names(target)?;
        let is_there = found.is_some();
        if is_there && is_mount_point(target) {
            return Err(ToolError::Refused(format!(
                "{} is where a file system is mounted, and cannot be exchanged; name a directory in it",
                target.display()
            )));
        }
        let older = match found {
            None => None,
            Some(names) if names.is_empty() => None,
            Some(names) if names.iter().any(|name| name == "MANIFEST") => {
                let (older, lock) = open(target).map_err(|error| match error {
                    ToolError::Directory(OpenError::Locked { .. }) if is_same_place(dir, target) => {
                        ToolError::Taken { path: target.to_path_buf() }
                    }
                    other => other,
                })?;
                Some(Older { directory: older, _lock: lock })
            }
            Some(_) => return Err(ToolError::Taken { path: target.to_path_buf() }),
        };
        let unfinished = beside(target, ".unfinished");
        match names(&unfinished)? {
            None => {
                run_ready(StdDisk.create_dir(&unfinished)).map_err(at(&unfinished))?;
                run_ready(StdDisk.sync_dir(parent(&unfinished))).map_err(at(&unfinished))?;
            }
            Some(names) => clear(&unfinished, &names)?,
        }
        Ok(Place { unfinished, older, is_there })
    }

    /// A copy takes the place of one of the same directory only.
    fn check_identity(&self, directory: &DataDirectory) -> Result<(), ToolError> {
        match &self.older {
            Some(Older { directory: older, .. }) if older.identity != directory.identity => {
                Err(ToolError::Refused(format!(
                    "{} is of another data directory (identity {:016x}); name another place",
                    older.path.display(),
                    older.identity
                )))
            }
            _ => Ok(()),
        }
    }

    /// The copy takes the place of the target, which may be removed then: its place is the answer.
    fn finish(self, target: &Path) -> Result<Option<PathBuf>, ToolError> {
        if !self.is_there {
            return rename(&self.unfinished, target).map(|()| None);
        }
        StdDisk::exchange(target, &self.unfinished).map_err(at(target))?;
        run_ready(StdDisk.sync_dir(parent(target))).map_err(at(target))?;
        Ok(Some(self.unfinished))
    }
}

/// Of what a backup that was cut off has left, files of shards stay: they are looked at. With a manifest it's the backup before, whose place
/// has been taken already.
fn clear(unfinished: &Path, names: &[String]) -> Result<(), ToolError> {
    let is_ours =
        |name: &String| name.starts_with("epoch-") || name.starts_with("MANIFEST") || name == "LOCK";
    if !names.iter().all(is_ours) {
        return Err(ToolError::Taken { path: unfinished.to_path_buf() });
    }
    for name in names.iter().filter(|name| !name.starts_with("epoch-")) {
        let path = unfinished.join(name);
        run_ready(StdDisk.remove(&path)).map_err(at(&path))?;
    }
    run_ready(StdDisk.sync_dir(unfinished)).map_err(at(unfinished))
}

fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| rustix::fs::stat(path).ok().map(|stat| stat.st_dev);
    device(path) != device(parent(path))
}

fn is_same_place(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino));
    place(one) == place(other)
}

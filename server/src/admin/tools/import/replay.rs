//! Commands of append-only files, done again by a server of this program's own.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use annulus_protocol::{ReplyScanner, parse_error_reply};

use super::super::{ToolError, at};
use super::commands::{Commands, Next, name};
use super::open;
use super::sources::CommandFile;
use crate::admin::{Durability, FileMode, Loaded, Pin, Settings};
use crate::runtime::{Clock, listen, threads};
use crate::start::{self, ServeError};

/// Commands and bytes that are sent before their replies are awaited.
const BATCH_COMMANDS: usize = 512;
const BATCH_BYTES: usize = 64 << 10;
const READ_BYTES: usize = 16 << 10;
/// Between two attempts to reach the server that starts.
const PAUSE: Duration = Duration::from_millis(10);
/// Refusals that redis-server would not go on from either, or that say nothing of the command.
const FATAL: [&[u8]; 5] =
    [b"ERR unknown command", b"ERR unknown subcommand", b"OOM ", b"MISCONF ", b"LOADING "];
/// How many of the other errors are printed.
const ERRORS_SHOWN: u64 = 5;

/// Does everything in these files, in order, on a data directory; when it returns, that is on stable storage.
pub(super) fn replay(
    dir: &Path,
    shards: u16,
    databases: u16,
    files: &[CommandFile],
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    let socket = std::env::temp_dir().join(format!("annulus-import-{}.sock", std::process::id()));
    let settings = Settings {
        port: 0,
        unixsocket: Some(socket.clone()),
        unixsocketperm: FileMode(0o600),
        dir: dir.to_path_buf(),
        shards: usize::from(shards),
        databases: databases.into(),
        // A stop makes everything durable, and nothing is promised before.
        durability: Durability::None,
        pin: Pin::No,
        ..Settings::default()
    };
    let loaded = Loaded { settings, config_file: None, warnings: Vec::new() };
    let thread = threads::spawn("import".to_owned(), None, move |_| start::run_at(&loaded, &Clock::anew()));
    let mut server = Server { socket, thread: thread.map_err(at(dir))? };
    let mut outcome = Ok(());
    for (index, file) in files.iter().enumerate() {
        // Each begins in database 0, and outside of any transaction.
        let Some(mut connection) = server.connect() else { return Err(server.failure()) };
        outcome = replay_file(&mut connection, file, index + 1 == files.len(), out);
        if outcome.is_err() {
            break;
        }
    }
    // The connection before may be of no use any more.
    let Some(mut connection) = server.connect() else { return Err(server.failure()) };
    let stop: &[u8] = if outcome.is_ok() { b"SHUTDOWN SAVE\r\n" } else { b"SHUTDOWN NOSAVE\r\n" };
    let told = connection.stream.write_all(stop);
    let stopped = server.thread.join().unwrap_or(Err(ServeError::Unclean));
    outcome?;
    told.map_err(at(&server.socket))?;
    stopped.map_err(|error| ToolError::Refused(error.to_string()))
}

struct Server {
    socket: PathBuf,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    /// A connection, as soon as the server serves. None if it has ended.
    fn connect(&mut self) -> Option<Connection> {
        while !self.thread.is_finished() {
            if let Ok(stream) = listen::connect_unix(&self.socket) {
                let mut connection = Connection { stream, input: Vec::new() };
                let mut serves = false;
                let pong = connection.exchange(b"*1\r\n$4\r\nPING\r\n", 1, &mut |_, reply| {
                    serves = reply.starts_with(b"+PONG");
                });
                if pong.is_ok() && serves {
                    return Some(connection);
                }
            }
            threads::block_for(PAUSE);
        }
        None
    }

    /// Why it has ended.
    fn failure(self) -> ToolError {
        let outcome = self.thread.join().unwrap_or(Err(ServeError::Unclean));
        let reason = outcome.err().map_or("the server was stopped".to_owned(), |error| error.to_string());
        ToolError::Refused(format!("the commands cannot be done again: {reason}"))
    }
}

struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
}

impl Connection {
    /// Sends some commands, and gives out so many replies by their numbers.
    fn exchange(
        &mut self,
        commands: &[u8],
        replies: usize,
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        self.stream.write_all(commands)?;
        let (mut done, mut at) = (0, 0);
        let mut scanner = ReplyScanner::new();
        let mut piece = vec![0; READ_BYTES];
        while done < replies {
            let rest = self.input.get(at..).unwrap_or_default();
            let found = scanner.scan(rest).map_err(|error| io::Error::other(error.to_string()))?;
            if let Some(bytes) = found {
                each(done, rest.get(..bytes).unwrap_or_default());
                at += bytes;
                done += 1;
                continue;
            }
            self.input.drain(..at);
            at = 0;
            let bytes = self.stream.read(&mut piece)?;
            if bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input.extend_from_slice(piece.get(..bytes).unwrap_or_default());
        }
        self.input.drain(..at);
        Ok(())
    }
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    offsets: Vec<u64>,
}

/// What came of a file.
#[derive(Default)]
struct Tally {
    commands: u64,
    errors: u64,
    /// The first few.
    shown: Vec<String>,
    fatal: Option<String>,
}

impl Tally {
    /// Says what has become of a file's commands.
    fn tell(&self, path: &Path, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}: {} commands", path.display(), self.commands)?;
        if self.errors > 0 {
            let errors = self.errors;
            writeln!(out, "{errors} of them were answered with an error, as they will have been before:")?;
            self.shown.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        out.flush()
    }

    fn take(&mut self, path: &Path, offset: u64, reply: &[u8]) {
        let Some(text) = parse_error_reply(reply) else { return };
        let said = format!("{}: offset {offset}: {}", path.display(), String::from_utf8_lossy(text));
        if FATAL.iter().any(|prefix| text.starts_with(prefix)) {
            self.fatal.get_or_insert(said);
        } else {
            self.errors += 1;
            if self.errors <= ERRORS_SHOWN {
                self.shown.push(said);
            }
        }
    }
}

fn replay_file(
    connection: &mut Connection,
    file: &CommandFile,
    is_last: bool,
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    let path = &file.path;
    let refused =
        |offset: u64, what: &str| ToolError::Refused(format!("{}: offset {offset}: {what}", path.display()));
    let mut commands = Commands::new(open(path, file.offset)?, file.offset);
    let (mut batch, mut tally) = (Batch::default(), Tally::default());
    // Where the transaction began that is open.
    let mut transaction = None;
    loop {
        let ended = match commands.next().map_err(at(path))? {
            Next::Command { offset, bytes } => {
                let name = name(bytes);
                if name.eq_ignore_ascii_case(b"MULTI") {
                    transaction = Some(offset);
                } else if name.eq_ignore_ascii_case(b"EXEC") {
                    transaction = None;
                }
                batch.bytes.extend_from_slice(bytes);
                batch.offsets.push(offset);
                false
            }
            Next::End => true,
            Next::CutOff { offset } if is_last => {
                writeln!(
                    out,
                    "{}: the last command, at offset {offset}, is cut off and left out",
                    path.display()
                )?;
                true
            }
            Next::CutOff { offset } => {
                return Err(refused(offset, "a command is cut off, and more files follow"));
            }
            Next::Malformed { offset } => return Err(refused(offset, "this is no command")),
        };
        if ended || batch.bytes.len() >= BATCH_BYTES || batch.offsets.len() >= BATCH_COMMANDS {
            let Batch { bytes, offsets } = std::mem::take(&mut batch);
            tally.commands += offsets.len() as u64;
            let mut each = |index: usize, reply: &[u8]| {
                tally.take(path, offsets.get(index).copied().unwrap_or_default(), reply);
            };
            connection.exchange(&bytes, offsets.len(), &mut each).map_err(at(path))?;
            if let Some(reason) = tally.fatal {
                return Err(ToolError::Refused(reason));
            }
        }
        if ended {
            break;
        }
    }
    if let Some(offset) = transaction {
        if !is_last {
            return Err(refused(offset, "a transaction has no end, and more files follow"));
        }
        writeln!(
            out,
            "{}: the last transaction, at offset {offset}, has no end and is left out",
            path.display()
        )?;
    }
    Ok(tally.tell(path, out)?)
}

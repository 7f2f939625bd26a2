//! The log of messages: text or JSON lines, to the standard error output or a file.
//!
//! A shard hands over finished lines and never waits for a terminal, a pipe or a disk: a helper thread writes them. When it
//! falls behind by [`LINES_WAITING_MAX`] lines, further ones are dropped, and counted in a line that follows.
//! A crash loses lines that wait; the guard of a clean stop writes them first.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::settings::{LogFormat, LogLevel, Settings};

/// Lines that may wait for the helper thread: some megabytes at most.
const LINES_WAITING_MAX: usize = 8192;

static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Why there's no log.
#[derive(Debug)]
pub enum LoggingError {
    /// The file cannot be opened.
    File(PathBuf, io::Error),
    /// The helper thread cannot be started.
    Thread(io::Error),
    /// The process has a log already.
    AlreadyStarted,
}

impl std::fmt::Display for LoggingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "logfile {}: {error}", path.display()),
            Self::Thread(error) => write!(f, "cannot start the log's thread: {error}"),
            Self::AlreadyStarted => f.write_str("this process has a log already"),
        }
    }
}

impl std::error::Error for LoggingError {}

/// Begins to log as the settings say. Keep the guard until the end: dropping it writes the lines that wait.
pub fn start(settings: &Settings) -> Result<Guard, LoggingError> {
    let (lines, guard) = match &settings.logfile {
        None => Lines::to(io::stderr()),
        Some(path) => Lines::to(open(path).map_err(|error| LoggingError::File(path.clone(), error))?),
    }
    .map_err(LoggingError::Thread)?;
    let colours = settings.logfile.is_none() && io::stderr().is_terminal();
    let (level, handle) = reload::Layer::new(filter(settings.log_level));
    let format = match settings.log_format {
        LogFormat::Text => fmt::layer().with_target(false).with_ansi(colours).with_writer(lines).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(lines).boxed(),
    };
    tracing_subscriber::registry()
        .with(level)
        .with(format)
        .try_init()
        .map_err(|_| LoggingError::AlreadyStarted)?;
    // The process has one subscriber, so this is the first and only handle.
    let _ = LEVEL.set(handle);
    Ok(guard)
}

/// Changes the level while the server runs, after CONFIG SET.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // Fails only when the subscriber is gone, and the log with it.
        let _ = handle.reload(filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn open(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// What a thread hands to the helper.
enum Message {
    Line(Box<[u8]>),
    End,
}

/// Where finished lines go.
#[derive(Clone)]
struct Lines {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    fn to(output: impl Write + Send + 'static) -> io::Result<(Self, Guard)> {
        let (sender, receiver) = sync_channel(LINES_WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lines = Self { sender: sender.clone(), dropped: Arc::clone(&dropped) };
        let thread = std::thread::Builder::new()
            .name("annulus-log".to_owned())
            .spawn(move || write_lines(output, &receiver, &dropped))?;
        Ok((lines, Guard { sender, thread: Some(thread) }))
    }
}

/// The helper thread. An output that fails (a closed pipe, a full disk) loses lines, never the server.
fn write_lines(mut output: impl Write, receiver: &Receiver<Message>, dropped: &AtomicU64) {
    while let Ok(Message::Line(line)) = receiver.recv() {
        let _ = output.write_all(&line);
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(output, "{lost} lines of the log were dropped: the output is too slow");
        }
    }
    let _ = output.flush();
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Lines;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Lines {
    /// The formatter gives one whole line a call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Message::Line(line.into())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the waiting lines when it is dropped.
pub struct Guard {
    sender: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.sender.send(Message::End).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that stands still until it is told to go on.
    struct Slow {
        gate: Receiver<()>,
        written: std::sync::mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.gate.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_output_blocks_nobody_and_the_loss_is_said() {
        let (open, gate) = std::sync::mpsc::channel();
        let (written, seen) = std::sync::mpsc::channel();
        let (lines, guard) = Lines::to(Slow { gate, written }).expect("a thread");
        // The helper holds at most one line, so these calls would block if any of them could.
        for _ in 0..LINES_WAITING_MAX + 10 {
            (&lines).write_all(b"line\n").expect("never fails");
        }
        drop(open);
        drop(guard);
        let text: Vec<u8> = seen.iter().flatten().collect();
        let text = String::from_utf8(text).expect("text");
        assert!(text.contains(" lines of the log were dropped"), "{}", &text[..200]);
        let kept = text.lines().filter(|line| *line == "line").count();
        assert!((LINES_WAITING_MAX..LINES_WAITING_MAX + 10).contains(&kept), "{kept}");
    }

    #[test]
    fn a_clean_stop_writes_what_waits() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let (lines, guard) = Lines::to(open(&path).expect("a file")).expect("a thread");
        for i in 0..100 {
            writeln!(&lines, "line {i}").expect("never fails");
        }
        drop(guard);
        let text = std::fs::read_to_string(&path).expect("the file");
        assert!(text.contains("line 99"));
    }
}

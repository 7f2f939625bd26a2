//! A server process: pinned, reachable, observed through `/proc`, and gone when dropped.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Error};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::client::Client;

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_mins(2);
/// How long a server may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Where the search for free ports begins: below the ephemeral range, which the load's connections use.
const PORT_FIRST: u16 = 17_000;
/// Ports that a server may use after its first.
const PORT_STEP: u16 = 20;

/// What a server has used since it started, and holds now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// What the process had written to disks, as the kernel's block layer counts it.
    pub(super) written_bytes: u64,
    /// User and system time of all threads, also of those that ended.
    pub(super) cpu: Duration,
    /// Time on a core of the threads that live now, to the nanosecond.
    pub(super) cpu_live: Duration,
    /// Resident memory.
    pub(super) rss_bytes: u64,
    /// Context switches of the threads that live now.
    pub(super) switches: u64,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// Its TCP port on loopback.
    pub(super) port: u16,
    directory: TempDir,
}

/// A port that is free, as are the few after it.
pub(super) fn free_port() -> io::Result<u16> {
    let free =
        |port: u16| (port..port + PORT_STEP).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    (PORT_FIRST..32_000)
        .step_by(PORT_STEP.into())
        .find(|&port| free(port))
        .ok_or_else(|| Error::other("no free ports"))
}

impl Server {
    /// Starts `program` on `cores` with its data in a fresh directory under `data`, and waits until it answers.
    /// `arguments` are made from the port and that directory.
    pub(super) fn start(
        program: &Path,
        cores: &str,
        data: &Path,
        arguments: impl Fn(u16, &Path) -> Vec<String>,
    ) -> io::Result<Self> {
        let directory = TempDir::new_in(data)?;
        let port = free_port()?;
        let child = spawn(program, cores, directory.path(), &arguments(port, directory.path()))?;
        let mut server = Self { child, port, directory };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Kills the server without a chance to tidy up, starts it again on its data, and says how long it took until
    /// it answered. A killed io_uring server's listener lives on until the kernel has taken its ring apart: that is
    /// waited for first.
    pub(super) fn crash_and_restart(
        &mut self,
        program: &Path,
        cores: &str,
        arguments: impl Fn(u16, &Path) -> Vec<String>,
    ) -> io::Result<Duration> {
        self.child.kill()?;
        self.child.wait()?;
        let killed = Instant::now();
        while TcpListener::bind(("127.0.0.1", self.port)).is_err() && killed.elapsed() < STOP_MAX {
            thread::sleep(Duration::from_millis(2));
        }
        let directory = self.directory.path();
        let start = Instant::now();
        self.child = spawn(program, cores, directory, &arguments(self.port, directory))?;
        self.wait_until_ready()?;
        Ok(start.elapsed())
    }

    /// The process's id; `taskset` replaced itself by the server.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection.
    pub(super) fn client(&self) -> io::Result<Client> {
        Client::connect(self.port)
    }

    /// What it used and holds.
    pub(super) fn usage(&self) -> io::Result<Usage> {
        let process = PathBuf::from(format!("/proc/{}", self.pid()));
        let (mut cpu_live, mut switches) = (Duration::ZERO, 0);
        for task in fs::read_dir(process.join("task"))? {
            // A thread may end between the listing and the reading.
            let Ok(path) = task.map(|task| task.path()) else { continue };
            let Ok(scheduled) = fs::read_to_string(path.join("schedstat")) else { continue };
            let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
            cpu_live += Duration::from_nanos(word(&scheduled, 0)?);
            switches += line_value(&status, "voluntary_ctxt_switches:")?;
            switches += line_value(&status, "nonvoluntary_ctxt_switches:")?;
        }
        let status = fs::read_to_string(process.join("status"))?;
        let io = fs::read_to_string(process.join("io"))?;
        Ok(Usage {
            written_bytes: line_value(&io, "write_bytes:")?,
            cpu: cpu_time(&fs::read_to_string(process.join("stat"))?)?,
            cpu_live,
            rss_bytes: 1024 * line_value(&status, "VmRSS:")?,
            switches,
        })
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let start = Instant::now();
        loop {
            // A server that loads its data answers, but not with PONG.
            if let Ok(mut client) = self.client()
                && client.command(&[b"PING"]).is_ok_and(|reply| reply.text == "PONG")
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.directory.path().join("bench.log")).unwrap_or_default();
                return Err(Error::other(format!("the server ended with {status}:\n{log}")));
            }
            if start.elapsed() > START_MAX {
                return Err(Error::new(io::ErrorKind::TimedOut, "the server does not answer"));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let asked =
            Pid::from_raw(self.pid() as i32).is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let start = Instant::now();
        while asked && start.elapsed() < STOP_MAX {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        // Nothing is left to do when this fails, too: the process is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a program on some cores, its output in `bench.log`.
fn spawn(program: &Path, cores: &str, directory: &Path, arguments: &[String]) -> io::Result<Child> {
    let log = fs::File::options().create(true).append(true).open(directory.join("bench.log"))?;
    Command::new("taskset")
        .args([OsStr::new("-c"), OsStr::new(cores), program.as_os_str()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map_err(|error| Error::new(error.kind(), format!("taskset {}: {error}", program.display())))
}

/// User and system time out of `/proc/PID/stat`; the program's name in it may contain blanks.
fn cpu_time(stat: &str) -> io::Result<Duration> {
    let after_name =
        stat.rsplit_once(')').map(|(_, rest)| rest).ok_or_else(|| Error::other("stat without a name"))?;
    let ticks = word(after_name, 11)? + word(after_name, 12)?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The number that is word `index` of `text`.
fn word(text: &str, index: usize) -> io::Result<u64> {
    let found = text.split_whitespace().nth(index).and_then(|word| word.parse().ok());
    found.ok_or_else(|| Error::other(format!("no number at word {index} of {text:?}")))
}

/// The number after `name` in the lines of `/proc/…/status`.
fn line_value(status: &str, name: &str) -> io::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    word(line.ok_or_else(|| Error::other(format!("no {name} in a status")))?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_blanks() {
        let hertz = rustix::param::clock_ticks_per_second();
        let stat =
            format!("7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 {} {} 0 0 20 0 1 0 99", hertz, 2 * hertz);
        assert_eq!(cpu_time(&stat).unwrap(), Duration::from_secs(3));
        assert!(cpu_time("nothing").is_err());
    }

    #[test]
    fn status_lines_are_found_by_their_whole_name() {
        let status = "nonvoluntary_ctxt_switches:\t5\nvoluntary_ctxt_switches:\t7\nVmRSS:\t  12 kB\n";
        assert_eq!(line_value(status, "voluntary_ctxt_switches:").unwrap(), 7);
        assert_eq!(line_value(status, "VmRSS:").unwrap(), 12);
        assert!(line_value(status, "VmSwap:").is_err());
    }
}

//! How a commit reaches the disk: which kind of synchronous write, how many in flight, on which alignment.
//!
//! `group_commit [DIRECTORY]`: writes into a scratch directory (default: `$TMPDIR`, else the current one), which must be on
//! the disk in question and needs 600 MiB. Two parts:
//! 1. bare commits of one frame each, into blocks that were written before, by method, frame size and depth;
//! 2. the log itself under simulated clients, each with one 100-byte record in flight and 4 µs of a core for each
//!    operation, as a server spends them: what the depth and the alignment do to what a client sees.
//!
//! Every variant runs in several short rounds, in turn with the others, and the figures are of its best round: what
//! else the machine does can only add. CPU is of the whole process, kernel workers included.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(clippy::print_stdout, reason = "its figures go to the terminal")]

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use annulus_storage::disk::WriteSync;
use annulus_storage::disk::blocking::{StdDisk, run_ready};
use annulus_storage::log::{
    LogIdentity, LogPosition, LogStart, PreparedSegment, SegmentId, SegmentRequest, prepare_segment,
};
use annulus_storage::{
    AlignedBuffer, DatabaseId, Effect, EffectSink, Log, LogOptions, LogWrite, Lsn, ShardId, WriteId,
};
use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode, types};

type Outcome<T> = Result<T, Box<dyn Error>>;

const SEGMENT_BYTES: u64 = 64 << 20;
const SEGMENTS: u64 = 8;
const ROUNDS: usize = 9;
const COMMITS: usize = 1_000;
const GROUP_TIME: Duration = Duration::from_millis(150);
/// What a server spends on one SET over a socket.
const OPERATION: Duration = Duration::from_micros(4);
/// Operations in one turn of a shard at most.
const TURN: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    /// A write with `RWF_DSYNC`.
    RwfDsync,
    /// A plain write to a file that was opened with `O_DSYNC`.
    FileDsync,
    /// A plain write, and linked to it an `fdatasync`.
    LinkedFdatasync,
    /// `RWF_DSYNC` on a ring that polls the disk.
    Polled,
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::RwfDsync => "RWF_DSYNC",
            Self::FileDsync => "O_DSYNC",
            Self::LinkedFdatasync => "write+fdatasync",
            Self::Polled => "RWF_DSYNC, IOPOLL",
        }
    }
}

struct Figures {
    latencies_ns: Vec<u64>,
    commits: usize,
    elapsed: Duration,
    cpu: Duration,
}

impl Figures {
    fn new() -> Self {
        Self {
            latencies_ns: Vec::with_capacity(COMMITS),
            commits: 0,
            elapsed: Duration::ZERO,
            cpu: cpu_time(),
        }
    }

    fn end(&mut self, begin: Instant) {
        self.elapsed = begin.elapsed();
        self.cpu = cpu_time().saturating_sub(self.cpu);
        self.latencies_ns.sort_unstable();
    }

    fn quantile_us(&self, share: f64) -> f64 {
        let index = (self.latencies_ns.len() as f64 * share) as usize;
        self.latencies_ns.get(index).copied().unwrap_or(0) as f64 / 1e3
    }

    fn per_second(&self) -> f64 {
        self.latencies_ns.len() as f64 / self.elapsed.as_secs_f64()
    }

    fn print(&self, name: &str) {
        let seconds = self.elapsed.as_secs_f64();
        println!(
            "{name:<44} {:>8.0} {:>8.0} {:>10.0} {:>10.0} {:>6.0}",
            self.quantile_us(0.5),
            self.quantile_us(0.99),
            self.per_second(),
            self.commits as f64 / seconds,
            self.cpu.as_secs_f64() / seconds * 100.0
        );
    }
}

/// Runs all variants in turn, some rounds long, and prints the best of each.
fn compare<V>(title: &str, variants: &[(String, V)], run: impl Fn(&V) -> Outcome<Figures>) {
    println!("\n{title}");
    println!("{:<44} {:>8} {:>8} {:>10} {:>10} {:>6}", "", "p50 µs", "p99 µs", "ops/s", "commits/s", "CPU %");
    let mut best: Vec<Option<Outcome<Figures>>> = variants.iter().map(|_| None).collect();
    for _ in 0..ROUNDS {
        for ((_, variant), best) in variants.iter().zip(&mut best) {
            match (run(variant), &*best) {
                (Ok(figures), Some(Ok(before))) if figures.per_second() <= before.per_second() => {}
                (outcome, _) => *best = Some(outcome),
            }
        }
    }
    for ((name, _), best) in variants.iter().zip(best) {
        match best {
            Some(Ok(figures)) => figures.print(name),
            Some(Err(error)) => println!("{name:<44} {error}"),
            None => {}
        }
    }
}

fn main() -> Outcome<()> {
    let base = std::env::args_os().nth(1).map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("TMPDIR").map(PathBuf::from)).unwrap_or_else(|| ".".into());
    let scratch = tempfile::Builder::new().prefix("group-commit-").tempdir_in(base)?;
    println!("preparing {SEGMENTS} segments of {} MiB in {}", SEGMENT_BYTES >> 20, scratch.path().display());
    let segments = (1..=SEGMENTS).map(|id| prepare(scratch.path(), id)).collect::<Outcome<Vec<_>>>()?;

    let mut bare = Vec::new();
    for frame_bytes in [512, 4096] {
        for method in [Method::RwfDsync, Method::FileDsync, Method::LinkedFdatasync, Method::Polled] {
            let depths: &[usize] = if method == Method::RwfDsync { &[1, 2, 4] } else { &[1, 2] };
            for &depth in depths {
                let name = format!("{}, {frame_bytes} bytes, depth {depth}", method.name());
                bare.push((name, (method, frame_bytes, depth)));
            }
        }
    }
    compare("bare commits, one frame each", &bare, |&(method, frame_bytes, depth)| {
        bare_commits(scratch.path(), method, frame_bytes, depth)
    });

    for clients in [1, 50, 500] {
        let mut variants = Vec::new();
        for alignment in [512, 4096] {
            for depth in [1, 2, 4] {
                let name = format!("frames on {alignment} bytes, depth {depth}");
                variants.push((name, (alignment, depth)));
            }
        }
        compare(&format!("the log under {clients} clients"), &variants, |&(alignment, depth)| {
            grouped(&segments, clients, alignment, depth)
        });
    }
    Ok(())
}

fn prepare(directory: &Path, id: u64) -> Outcome<PreparedSegment<Rc<OwnedFd>>> {
    let request = SegmentRequest {
        directory: directory.to_path_buf(),
        id: SegmentId(id),
        bytes: SEGMENT_BYTES,
        bytes_min: SEGMENT_BYTES,
        pause: std::time::Duration::ZERO,
    };
    Ok(run_ready(prepare_segment(&StdDisk, request))?)
}

fn ring(method: Method) -> Outcome<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer();
    if method == Method::Polled {
        builder.setup_iopoll();
    } else {
        builder.setup_defer_taskrun();
    }
    Ok(builder.build(64)?)
}

/// Commits one after the other (or so many at a time) into the first segment's file.
fn bare_commits(directory: &Path, method: Method, frame_bytes: usize, depth: usize) -> Outcome<Figures> {
    let dsync = if method == Method::FileDsync { libc::O_DSYNC } else { 0 };
    let file = std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DIRECT | dsync)
        .open(directory.join(SegmentId(1).file_name()))?;
    let mut ring = ring(method)?;
    let buffers: Vec<AlignedBuffer> = (0..depth).map(|_| AlignedBuffer::new(frame_bytes)).collect();
    let mut started = vec![Instant::now(); depth];
    let mut figures = Figures::new();
    let begin = Instant::now();
    let mut offset = 4096;
    for slot in 0..depth {
        started[slot] = Instant::now();
        push_commit(&mut ring, file.as_raw_fd(), method, &buffers[slot], frame_bytes, offset, slot)?;
        offset += frame_bytes as u64;
    }
    let mut outstanding = depth;
    let mut sent = depth;
    while outstanding > 0 {
        ring.submit_and_wait(1)?;
        let ended: Vec<(u64, i32)> = ring.completion().map(|it| (it.user_data(), it.result())).collect();
        for (data, result) in ended {
            if result < 0 {
                return Err(std::io::Error::from_raw_os_error(-result).into());
            }
            let slot = data as usize;
            if slot >= depth {
                continue;
            }
            figures.latencies_ns.push(started[slot].elapsed().as_nanos() as u64);
            outstanding -= 1;
            if sent < COMMITS {
                started[slot] = Instant::now();
                push_commit(&mut ring, file.as_raw_fd(), method, &buffers[slot], frame_bytes, offset, slot)?;
                offset = if offset + 8192 > SEGMENT_BYTES { 4096 } else { offset + frame_bytes as u64 };
                outstanding += 1;
                sent += 1;
            }
        }
    }
    figures.commits = COMMITS;
    figures.end(begin);
    Ok(figures)
}

fn push_commit(
    ring: &mut IoUring,
    fd: RawFd,
    method: Method,
    buffer: &AlignedBuffer,
    bytes: usize,
    offset: u64,
    slot: usize,
) -> Outcome<()> {
    /// Completions of the first half of a linked pair.
    const NOT_A_SLOT: u64 = u64::MAX;
    let flags = match method {
        Method::RwfDsync | Method::Polled => libc::RWF_DSYNC,
        Method::FileDsync | Method::LinkedFdatasync => 0,
    };
    let write =
        opcode::Write::new(types::Fd(fd), buffer.as_ptr(), bytes as u32).offset(offset).rw_flags(flags);
    if method == Method::LinkedFdatasync {
        let write = write.build().flags(Flags::IO_LINK).user_data(NOT_A_SLOT);
        let sync = opcode::Fsync::new(types::Fd(fd)).flags(types::FsyncFlags::DATASYNC).build();
        push(ring, &write)?;
        return push(ring, &sync.user_data(slot as u64));
    }
    push(ring, &write.build().user_data(slot as u64))
}

fn push(ring: &mut IoUring, entry: &io_uring::squeue::Entry) -> Outcome<()> {
    // SAFETY: every buffer given to the ring lives in a vector or a map of the caller until its completion was seen; an
    // error that ends the program earlier ends the ring, which waits for what is in flight, before the buffers.
    unsafe { ring.submission().push(entry) }?;
    Ok(())
}

/// The log under clients that each wait for their last record to be durable before they send the next one.
fn grouped(
    segments: &[PreparedSegment<Rc<OwnedFd>>],
    clients: usize,
    alignment: usize,
    depth: usize,
) -> Outcome<Figures> {
    let options = LogOptions { alignment, in_flight_max: depth, ..LogOptions::default() };
    let mut log = Log::new(options, start(segments));
    let mut in_flight: HashMap<WriteId, LogWrite<Rc<OwnedFd>>> = HashMap::new();
    let mut ring = ring(Method::RwfDsync)?;
    let mut ready: VecDeque<Instant> = (0..clients).map(|_| Instant::now()).collect();
    let mut waiting: VecDeque<(Lsn, Instant)> = VecDeque::new();
    let mut figures = Figures::new();
    let begin = Instant::now();
    while begin.elapsed() < GROUP_TIME || !in_flight.is_empty() {
        let open = begin.elapsed() < GROUP_TIME;
        for _ in 0..ready.len().min(TURN) {
            spin(OPERATION);
            if ready.pop_front().is_some() && open {
                waiting.push_back((append(&mut log), Instant::now()));
            }
        }
        while let Some(write) = log.poll_write(begin.elapsed().as_nanos() as u64) {
            assert_eq!(write.sync, WriteSync::DataSync);
            let entry = opcode::Write::new(
                types::Fd(write.file.as_raw_fd()),
                write.buffer.as_ptr(),
                write.len as u32,
            )
            .offset(write.offset)
            .rw_flags(libc::RWF_DSYNC)
            .build()
            .user_data(write.id.0);
            push(&mut ring, &entry)?;
            in_flight.insert(write.id, write);
            figures.commits += 1;
        }
        if in_flight.is_empty() {
            if ready.is_empty() && waiting.is_empty() {
                break;
            }
            continue;
        }
        ring.submit_and_wait(usize::from(ready.is_empty()))?;
        let ended: Vec<(u64, i32)> = ring.completion().map(|it| (it.user_data(), it.result())).collect();
        for (id, result) in ended {
            let write = in_flight.remove(&WriteId(id)).ok_or("an unknown completion")?;
            let result = usize::try_from(result).map_err(|_| std::io::Error::from_raw_os_error(-result));
            log.on_written(write.id, result, write.buffer);
        }
        while waiting.front().is_some_and(|(lsn, _)| *lsn <= log.horizon()) {
            if let Some((_, since)) = waiting.pop_front() {
                figures.latencies_ns.push(since.elapsed().as_nanos() as u64);
                ready.push_back(since);
            }
        }
    }
    figures.end(begin);
    Ok(figures)
}

fn start(segments: &[PreparedSegment<Rc<OwnedFd>>]) -> LogStart<Rc<OwnedFd>> {
    let identity = LogIdentity { directory: 1, epoch: 1, shard: ShardId(0) };
    let position = LogPosition {
        identity,
        incarnation: 1,
        last_lsn: Lsn::ZERO,
        chain: 0,
        next_segment: SegmentId(SEGMENTS + 1),
    };
    LogStart { position, prepared: segments.to_vec(), ..LogStart::empty(PathBuf::new(), identity, 1) }
}

fn append(log: &mut Log<Rc<OwnedFd>>) -> Lsn {
    let (database, value) = (DatabaseId(0), &[b'v'; 80][..]);
    let lsn =
        log.append(Effect::Set { database, slot: 1, key: b"key:000000000001", value, expire_at_ms: None });
    log.end_group();
    lsn
}

fn spin(duration: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// CPU time of this process, its kernel workers included.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours that lives during the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "the process has a CPU clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

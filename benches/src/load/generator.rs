//! The generator's loop: every connection has one pipeline in flight until the time is over.

use std::io;
use std::mem;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::histogram::Histogram;
use super::reply::ReplyCounter;
use super::request::{Command, Pipeline};
use crate::ring::{self, BufferMode, BufferRing};

/// Receive buffers: incremental, so that many small replies share one.
const BUFFER_COUNT: u16 = 16;
const BUFFER_BYTES: u32 = 65_536;
/// Longest wait for a completion before the clock is looked at.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// Marks the completion of a send; the others are receives.
const SEND_BIT: u64 = 1 << 32;

/// What load to make.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// TCP ports on loopback; connections take turns.
    pub ports: Vec<u16>,
    /// Closed-loop connections.
    pub connections: usize,
    /// Commands in a pipeline.
    pub pipeline: usize,
    /// The command.
    pub command: Command,
    /// Keys are drawn from this many.
    pub key_count: u64,
    /// How long.
    pub duration: Duration,
    /// Seed of the keys drawn.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct LoadOutcome {
    /// Commands answered.
    pub operations: u64,
    /// Those answered with an error.
    pub errors: u64,
    /// Time from the first send to the end.
    pub elapsed: Duration,
    /// Nanoseconds from a pipeline's send to its last reply.
    pub latency: Histogram,
}

/// One client connection.
struct Connection {
    socket: TcpStream,
    pipeline: Pipeline,
    counter: ReplyCounter,
    /// Replies counted when the pipeline in flight is done.
    replies_due: u64,
    sent_at: Instant,
    /// The kernel may still read the pipeline's bytes.
    in_flight: bool,
}

struct Generator {
    ring: IoUring,
    buffers: BufferRing,
    connections: Vec<Connection>,
    depth: u64,
    outcome: LoadOutcome,
    completions: Vec<cqueue::Entry>,
}

/// Makes the load and reports. An error is one of connecting, of the ring, or a connection that the server closed.
pub fn run(options: &LoadOptions) -> io::Result<LoadOutcome> {
    let mut generator = Generator::new(options)?;
    let start = Instant::now();
    for index in 0..generator.connections.len() {
        generator.receive(index)?;
        generator.send(index, start)?;
    }
    while start.elapsed() < options.duration {
        generator.turn()?;
    }
    generator.outcome.elapsed = start.elapsed();
    for connection in &generator.connections {
        generator.outcome.operations += connection.counter.replies;
        generator.outcome.errors += connection.counter.errors;
    }
    Ok(mem::take(&mut generator.outcome))
}

impl Generator {
    fn new(options: &LoadOptions) -> io::Result<Self> {
        let ring = ring::build()?;
        let buffers = BufferRing::register(&ring, BufferMode::Incremental, BUFFER_COUNT, BUFFER_BYTES)?;
        let connections: io::Result<Vec<_>> = (0..options.connections)
            .map(|index| {
                let port = options.ports[index % options.ports.len()];
                let socket = TcpStream::connect(("127.0.0.1", port))?;
                socket.set_nodelay(true)?;
                Ok(Connection {
                    socket,
                    pipeline: Pipeline::new(
                        &options.command,
                        options.pipeline,
                        options.key_count,
                        options.seed + index as u64,
                    ),
                    counter: ReplyCounter::default(),
                    replies_due: 0,
                    sent_at: Instant::now(),
                    in_flight: false,
                })
            })
            .collect();
        Ok(Self {
            ring,
            buffers,
            connections: connections?,
            depth: options.pipeline as u64,
            outcome: LoadOutcome::default(),
            completions: Vec::new(),
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        let wait = Timespec::from(WAIT_MAX);
        match self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&wait)) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
        let now = Instant::now();
        let mut completions = mem::take(&mut self.completions);
        completions.extend(self.ring.completion());
        for completion in completions.drain(..) {
            let index = (completion.user_data() & (SEND_BIT - 1)) as usize;
            if completion.user_data() & SEND_BIT == 0 {
                self.on_receive(index, &completion, now)?;
            } else {
                self.on_send(index, completion.result(), now)?;
            }
        }
        self.completions = completions;
        Ok(())
    }

    fn on_receive(&mut self, index: usize, completion: &cqueue::Entry, now: Instant) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let result = completion.result();
        if result > 0 {
            let first_id = cqueue::buffer_select(completion.flags()).expect("received data lies in a buffer");
            self.buffers
                .consume(first_id, completion.flags(), result as u32, |input| connection.counter.feed(input));
            if connection.counter.replies == connection.replies_due {
                self.outcome.latency.record((now - connection.sent_at).as_nanos() as u64);
                if !connection.in_flight {
                    self.send(index, now)?;
                }
            }
        } else if result == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed a connection"));
        } else if result != -libc::ENOBUFS {
            return Err(io::Error::from_raw_os_error(-result));
        }
        if cqueue::more(completion.flags()) { Ok(()) } else { self.receive(index) }
    }

    fn on_send(&mut self, index: usize, result: i32, now: Instant) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.in_flight = false;
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        if result as usize != connection.pipeline.bytes().len() {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "a send stopped short of its end"));
        }
        // The replies may overtake the completion of the send.
        if connection.counter.replies == connection.replies_due { self.send(index, now) } else { Ok(()) }
    }

    fn send(&mut self, index: usize, now: Instant) -> io::Result<()> {
        let depth = self.depth;
        let connection = &mut self.connections[index];
        connection.pipeline.redraw();
        connection.replies_due += depth;
        connection.sent_at = now;
        connection.in_flight = true;
        let bytes = connection.pipeline.bytes();
        let entry = opcode::Send::new(Fd(connection.socket.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL)
            .build()
            .user_data(SEND_BIT | index as u64);
        self.push(&entry)
    }

    fn receive(&mut self, index: usize) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(self.connections[index].socket.as_raw_fd()), BufferRing::GROUP)
            .build()
            .user_data(index as u64);
        self.push(&entry)
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        if self.ring.submission().is_full() {
            self.ring.submit()?;
        }
        // SAFETY: the only memory that an entry points to is a pipeline's bytes, which are not touched while
        // `in_flight` is set; connections live as long as the ring, which stands before them in the struct.
        unsafe { self.ring.submission().push(entry) }.map_err(io::Error::other)
    }
}

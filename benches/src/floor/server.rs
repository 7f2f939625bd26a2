//! The echo server: multishot accept and receive, one send per connection and turn, one system call per turn.
//!
//! Owns the ring, the buffers and the connections of one thread. Sockets are direct descriptors; their index in
//! the ring's file table is the connection's index here. At most one send of a connection is in flight; what
//! its commands answer meanwhile gathers in the other of its two output buffers.

use std::io;
use std::mem;
use std::net::TcpListener;
use std::os::fd::AsRawFd;

use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::parse::CommandCounter;
use crate::ring::{self, BufferMode, BufferRing};

/// What to serve, and how.
#[derive(Debug, Clone, Copy)]
pub struct FloorOptions {
    /// TCP port on loopback.
    pub port: u16,
    /// How receives take their buffers.
    pub mode: BufferMode,
    /// Number of receive buffers, a power of two.
    pub buffer_count: u16,
    /// Size of a receive buffer.
    pub buffer_bytes: u32,
    /// Size of the file table; not above `RLIMIT_NOFILE`.
    pub connections_max: u32,
}

/// What a completion is about; packed into its `user_data` with the connection's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Accept = 0,
    Receive = 1,
    Send = 2,
    Close = 3,
}

impl Operation {
    fn pack(self, index: u32) -> u64 {
        (self as u64) << 32 | u64::from(index)
    }

    fn unpack(data: u64) -> (Self, u32) {
        let operation = match data >> 32 {
            0 => Self::Accept,
            1 => Self::Receive,
            2 => Self::Send,
            3 => Self::Close,
            other => panic!("unknown operation {other} in user_data"),
        };
        (operation, data as u32)
    }
}

/// One client.
#[derive(Default)]
struct Connection {
    counter: CommandCounter,
    /// Replies of commands that came while a send was in flight.
    gathering: Vec<u8>,
    /// The replies that the kernel reads; untouched while `in_flight`.
    sending: Vec<u8>,
    sent: usize,
    in_flight: bool,
    /// In the list of connections to send to at the end of the turn.
    listed: bool,
    /// The client has closed, or failed.
    ended: bool,
}

/// The running floor server. `ring` stands before `buffers`: it must be dropped first.
pub struct Floor {
    ring: IoUring,
    buffers: BufferRing,
    listener: TcpListener,
    connections: Vec<Connection>,
    with_output: Vec<u32>,
    completions: Vec<cqueue::Entry>,
    mode: BufferMode,
}

impl Floor {
    /// Listens, and sets up the ring. Call on the thread that will `run`.
    pub fn new(options: FloorOptions) -> io::Result<Self> {
        let ring = ring::build()?;
        ring.submitter().register_files_sparse(options.connections_max)?;
        let buffers = BufferRing::register(&ring, options.mode, options.buffer_count, options.buffer_bytes)?;
        let listener = TcpListener::bind(("127.0.0.1", options.port))?;
        // Accepted sockets inherit it. Without it, the second send of a split pipeline waits 40 ms for an ACK.
        rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
        let mut connections = Vec::new();
        connections.resize_with(options.connections_max as usize, Connection::default);
        Ok(Self {
            ring,
            buffers,
            listener,
            connections,
            with_output: Vec::new(),
            completions: Vec::new(),
            mode: options.mode,
        })
    }

    /// Serves until an error of the ring itself.
    pub fn run(&mut self) -> io::Result<()> {
        self.accept()?;
        loop {
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.turn()?;
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        // Copied out, since the handlers queue submissions: one acquire and one release for the lot.
        let mut completions = mem::take(&mut self.completions);
        completions.extend(self.ring.completion());
        for completion in completions.drain(..) {
            let (operation, index) = Operation::unpack(completion.user_data());
            match operation {
                Operation::Accept => self.on_accept(&completion)?,
                Operation::Receive => self.on_receive(index, &completion)?,
                Operation::Send => self.on_send(index, completion.result())?,
                Operation::Close => {}
            }
        }
        self.completions = completions;
        while let Some(index) = self.with_output.pop() {
            self.connections[index as usize].listed = false;
            self.send(index)?;
        }
        Ok(())
    }

    fn on_accept(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        if let Ok(index) = u32::try_from(completion.result()) {
            self.connections[index as usize] = Connection::default();
            self.receive(index)?;
        } else {
            eprintln!("accept: {}", io::Error::from_raw_os_error(-completion.result()));
        }
        if cqueue::more(completion.flags()) { Ok(()) } else { self.accept() }
    }

    fn on_receive(&mut self, index: u32, completion: &cqueue::Entry) -> io::Result<()> {
        let connection = &mut self.connections[index as usize];
        let length = completion.result();
        if length > 0 {
            let first_id = cqueue::buffer_select(completion.flags()).expect("received data lies in a buffer");
            self.buffers.consume(first_id, completion.flags(), length as u32, |input| {
                connection.counter.feed(input, &mut connection.gathering);
            });
            if !connection.listed && !connection.gathering.is_empty() {
                connection.listed = true;
                self.with_output.push(index);
            }
        } else if length != -libc::ENOBUFS {
            connection.ended = true;
            return self.maybe_close(index);
        }
        if cqueue::more(completion.flags()) { Ok(()) } else { self.receive(index) }
    }

    fn on_send(&mut self, index: u32, result: i32) -> io::Result<()> {
        let connection = &mut self.connections[index as usize];
        connection.in_flight = false;
        if let Ok(sent) = usize::try_from(result) {
            connection.sent += sent;
        } else {
            connection.ended = true;
        }
        if connection.ended {
            return self.maybe_close(index);
        }
        let unfinished = connection.sent < connection.sending.len() || !connection.gathering.is_empty();
        if unfinished && !connection.listed {
            connection.listed = true;
            self.with_output.push(index);
        }
        Ok(())
    }

    /// Closes once: an ended connection has no multishot receive, and waits for its send.
    fn maybe_close(&mut self, index: u32) -> io::Result<()> {
        if self.connections[index as usize].in_flight {
            return Ok(());
        }
        self.push(&opcode::Close::new(Fixed(index)).build().user_data(Operation::Close.pack(index)))
    }

    fn send(&mut self, index: u32) -> io::Result<()> {
        let connection = &mut self.connections[index as usize];
        if connection.in_flight || connection.ended {
            return Ok(());
        }
        if connection.sent == connection.sending.len() {
            connection.sending.clear();
            connection.sent = 0;
            mem::swap(&mut connection.sending, &mut connection.gathering);
        }
        let rest = &connection.sending[connection.sent..];
        if rest.is_empty() {
            return Ok(());
        }
        let entry = opcode::Send::new(Fixed(index), rest.as_ptr(), rest.len() as u32)
            .build()
            .user_data(Operation::Send.pack(index));
        connection.in_flight = true;
        self.push(&entry)
    }

    fn accept(&mut self) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd()))
            .allocate_file_index(true)
            .build()
            .user_data(Operation::Accept.pack(0));
        self.push(&entry)
    }

    fn receive(&mut self, index: u32) -> io::Result<()> {
        let entry = if self.mode == BufferMode::Bundle {
            opcode::RecvMultiBundle::new(Fixed(index), BufferRing::GROUP).build()
        } else {
            opcode::RecvMulti::new(Fixed(index), BufferRing::GROUP).build()
        };
        self.push(&entry.user_data(Operation::Receive.pack(index)))
    }

    /// Queues an entry, and submits first when the queue is full.
    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        if self.ring.submission().is_full() {
            self.ring.submit()?;
        }
        // SAFETY: the only memory that an entry points to is a connection's `sending`, which stays as it is while
        // `in_flight` is set: its connection is not replaced before it was closed, which waits for the send.
        unsafe { self.ring.submission().push(entry) }.map_err(io::Error::other)
    }
}

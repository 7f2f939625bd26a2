//! The io_uring backend.
//!
//! Owns the ring, the provided receive buffers, the descriptors of its sockets, and every buffer that the kernel
//! may still touch. Invariants:
//! - A socket's number is reused only when the kernel has answered every operation on it.
//! - A buffer handed to the kernel stays in its slab entry until the operation's completion.
//! - Every send is first tried with `MSG_DONTWAIT`, so its completion is there when the submitting system call looks for
//!   completions: waiting for "one more than the sends just queued" costs one system call a turn, not two. A send that
//!   the socket took only a part of needs us to go on, and nothing else may happen that would end the wait: so it is short.
//! - With DEFER_TASKRUN completions appear only inside our own system calls, so `turn` is the one place where
//!   anything happens.

mod buffers;
mod disk;
mod probe;
mod setup;
mod sockets;
mod token;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use annulus_storage::ShardId;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};

use self::buffers::ReceiveBuffers;
use self::disk::DiskOps;
use self::sockets::Sockets;
use self::token::{Kind, Token};
use super::driver::{DiskOp, DiskToken, Driver, Event, NewSocket, ReceivedBytes, SendNotice, SocketId, Wait};
use super::peers::Peers;

pub use self::probe::{Features, probe};

/// Submission entries; more operations than this in a turn cost a system call more.
const SUBMISSIONS: u32 = 1024;
/// Completion entries: what a busy turn of ten thousand connections may bring, before the kernel has to
/// keep completions on a list of its own (slower, never lost).
const COMPLETIONS: u32 = 8192;
const _: () = assert!(COMPLETIONS >= 2 * SUBMISSIONS);

/// How long the completions of lazy sends may lie unseen when nothing else happens.
const SENDS_UNSEEN_MAX: Duration = Duration::from_millis(1);

/// The io_uring driver of one shard.
pub struct Uring {
    shard: ShardId,
    peers: Peers,
    ring: IoUring,
    features: Features,
    buffers: ReceiveBuffers,
    sockets: Sockets,
    /// Places of the ring's table of files; sockets of higher numbers go by their descriptors.
    registered_files: u32,
    listeners: Vec<Option<OwnedFd>>,
    disk: DiskOps,
    /// Completions of this turn, taken out of the ring before they are handled.
    completions: Vec<(u64, i32, u32)>,
    /// Queued sends whose completion is posted while they are submitted, and need not end the wait.
    inline_queued: usize,
    turns: u64,
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring")
            .field("shard", &self.shard)
            .field("features", &self.features)
            .finish_non_exhaustive()
    }
}

impl Uring {
    /// Sets up a ring for the calling thread, which must be the one that uses it.
    pub fn new(shard: ShardId, peers: Peers, features: Features) -> io::Result<Self> {
        let ring = setup::ring(&features, SUBMISSIONS, COMPLETIONS)?;
        let buffers = ReceiveBuffers::register(&ring, features.incremental_buffers)?;
        let registered_files = setup::file_table(&ring);
        if features.message_ring {
            peers.publish_ring(shard, ring.as_raw_fd());
        }
        let mut uring = Uring {
            shard,
            peers,
            ring,
            features,
            buffers,
            sockets: Sockets::default(),
            registered_files,
            listeners: Vec::new(),
            disk: DiskOps::default(),
            completions: Vec::with_capacity(COMPLETIONS as usize),
            inline_queued: 0,
            turns: 0,
        };
        uring.watch_event();
        Ok(uring)
    }

    /// Queues an entry; when the queue is full, what is in it goes to the kernel first.
    #[expect(unsafe_code, reason = "the ring takes raw entries")]
    fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: whatever memory the entry names is owned by `sockets`, `disk`, `buffers` or `listeners` until
            // the completion of this entry has been handled.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            if let Err(error) = self.ring.submit() {
                // EBUSY: completions overflowed; the kernel wants them taken first. EINTR, EAGAIN: again.
                let transient = [libc::EBUSY, libc::EINTR, libc::EAGAIN];
                assert!(
                    error.raw_os_error().is_some_and(|code| transient.contains(&code)),
                    "shard {}: io_uring_enter failed: {error}",
                    self.shard
                );
                self.collect();
            }
        }
    }

    /// Moves completions out of the ring.
    fn collect(&mut self) {
        let completions = &mut self.completions;
        completions.extend(self.ring.completion().map(|c| (c.user_data(), c.result(), c.flags())));
    }

    /// Has the eventfd reported, once.
    fn watch_event(&mut self) {
        let fd = Fd(self.peers.event(self.shard).as_raw_fd());
        let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Token::new(Kind::Event, 0).bits());
        self.push(&entry);
    }

    fn queue_accept(&mut self, listener: usize) {
        let Some(fd) = self.listeners[listener].as_ref() else { return };
        let entry = opcode::AcceptMulti::new(Fd(fd.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build()
            .user_data(Token::new(Kind::Accept, listener as u32).bits());
        self.push(&entry);
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let want = self.inline_queued + 1;
        let wait = match wait {
            Wait::Forever if self.inline_queued > 0 => Wait::AtMost(SENDS_UNSEEN_MAX),
            Wait::AtMost(time) if self.inline_queued > 0 => Wait::AtMost(time.min(SENDS_UNSEEN_MAX)),
            wait => wait,
        };
        self.inline_queued = 0;
        self.turns += 1;
        let result = match wait {
            Wait::Poll => self.ring.submit(),
            Wait::Forever => self.ring.submit_and_wait(want),
            Wait::AtMost(time) => {
                let time = Timespec::from(time.max(Duration::from_micros(1)));
                self.ring.submitter().submit_with_args(want, &SubmitArgs::new().timespec(&time))
            }
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn on_completion(&mut self, token: Token, result: i32, flags: u32, events: &mut Vec<Event>) {
        match token.kind() {
            Kind::Receive => self.on_received(token.index(), result, flags, events),
            Kind::Send => self.on_sent(token.index(), result, events),
            Kind::Accept => self.on_accepted(token.index() as usize, result, flags, events),
            Kind::Disk => self.disk.on_completion(token.index(), result, events),
            Kind::Event => {
                self.peers.drain_event(self.shard);
                if !io_uring::cqueue::more(flags) {
                    self.watch_event();
                }
                events.push(Event::Woken);
            }
            Kind::Wake => events.push(Event::Woken),
            Kind::Cancel => self.on_cancelled(token.index()),
            Kind::Quiet => {}
            Kind::WakeSent => self.on_wake_failed(token.index(), result),
        }
    }

    fn on_accepted(&mut self, listener: usize, result: i32, flags: u32, events: &mut Vec<Event>) {
        if result >= 0 {
            events.push(Event::Accepted { listener, socket: setup::accepted_socket(result) });
            if !io_uring::cqueue::more(flags) {
                self.queue_accept(listener);
            }
            return;
        }
        if self.listeners[listener].is_none() {
            return;
        }
        match -result {
            libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::EPROTO => self.queue_accept(listener),
            code => {
                let error = io::Error::from_raw_os_error(code);
                events.push(Event::AcceptFailed { listener, error });
            }
        }
    }

    /// A message to another ring could not be delivered: fall back to its eventfd.
    fn on_wake_failed(&mut self, shard: u32, result: i32) {
        if result < 0 {
            self.peers.wake_by_event(ShardId(shard as u16));
        }
    }
}

impl Driver for Uring {
    fn listen(&mut self, socket: OwnedFd) -> io::Result<usize> {
        self.listeners.push(Some(socket));
        let listener = self.listeners.len() - 1;
        self.queue_accept(listener);
        Ok(listener)
    }

    fn accept(&mut self, listener: usize) {
        self.queue_accept(listener);
    }

    fn stop_listening(&mut self) {
        for index in 0..self.listeners.len() {
            if self.listeners[index].take().is_some() {
                let target = Token::new(Kind::Accept, index as u32).bits();
                let token = Token::new(Kind::Quiet, 0).bits();
                self.push(&opcode::AsyncCancel::new(target).build().user_data(token));
            }
        }
    }

    fn adopt(&mut self, socket: NewSocket) -> io::Result<SocketId> {
        let id = self.sockets.insert(socket.into_descriptor());
        self.register_socket(id);
        self.queue_receive(id);
        Ok(id)
    }

    fn pause(&mut self, socket: SocketId) {
        self.pause_receive(socket);
    }

    fn resume(&mut self, socket: SocketId) {
        self.resume_receive(socket);
    }

    fn send(&mut self, socket: SocketId, buffer: Vec<u8>, notice: SendNotice) {
        self.inline_queued += usize::from(notice == SendNotice::Lazy);
        self.queue_send(socket, buffer);
    }

    fn close(&mut self, socket: SocketId) {
        self.close_socket(socket);
    }

    fn disk(&mut self, token: DiskToken, op: DiskOp) {
        let entry = self.disk.prepare(token, op);
        self.push(&entry);
    }

    fn wake(&mut self, shard: ShardId) {
        let Some(ring) = self.peers.ring(shard).filter(|_| self.features.message_ring) else {
            self.peers.wake_by_event(shard);
            return;
        };
        let token = Token::new(Kind::Wake, u32::from(self.shard.0)).bits();
        let entry = opcode::MsgRingData::new(Fd(ring), 0, token, None)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Token::new(Kind::WakeSent, u32::from(shard.0)).bits());
        self.push(&entry);
    }

    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        self.buffers.publish();
        self.rearm_starved();
        self.sockets.free_released();
        let wait = if self.completions.is_empty() { wait } else { Wait::Poll };
        self.enter(wait)?;
        self.collect();
        let mut completions = std::mem::take(&mut self.completions);
        for (bits, result, flags) in completions.drain(..) {
            self.on_completion(Token::from_bits(bits), result, flags, events);
        }
        // Handling may have had to make room in the ring and collected more meanwhile; keep their order.
        completions.append(&mut self.completions);
        self.completions = completions;
        Ok(())
    }

    #[inline]
    fn bytes(&self, received: &ReceivedBytes) -> &[u8] {
        self.buffers.bytes(received)
    }

    #[inline]
    fn recycle(&mut self, received: ReceivedBytes) {
        self.buffers.recycle(&received);
    }

    fn turns(&self) -> u64 {
        self.turns
    }
}

//! Sockets of the io_uring driver: receiving, sending, closing.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::types::{Fd, Fixed};
use io_uring::{cqueue, opcode, squeue};
use slab::Slab;

use super::buffers::GROUP;
use super::token::{Kind, Token};
use super::{Event, SocketId, Uring};

/// A send on its way: the kernel reads `buffer[sent..]`.
#[derive(Debug)]
struct Sending {
    buffer: Vec<u8>,
    sent: usize,
}

#[derive(Debug)]
struct Socket {
    /// `None` once the socket is closed and only its number is still taken.
    fd: Option<OwnedFd>,
    /// It stands in the ring's table of files under its number: no look-up and no reference count an operation.
    registered: bool,
    /// A multishot receive is with the kernel.
    receiving: bool,
    /// A cancellation of it is with the kernel.
    cancelling: bool,
    /// The shard wants no more bytes for now.
    paused: bool,
    /// The peer has finished sending, or the connection broke: nothing to receive any more.
    ended: bool,
    /// The shard has closed it; it goes when nothing is with the kernel.
    closing: bool,
    sending: Option<Sending>,
}

impl Socket {
    fn raw_fd(&self) -> i32 {
        self.fd.as_ref().expect("operations are queued on open sockets only").as_raw_fd()
    }

    fn is_idle(&self) -> bool {
        !self.receiving && !self.cancelling && self.sending.is_none()
    }
}

/// The sockets of a shard.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    slab: Slab<Socket>,
    /// Sockets whose receive ended for want of buffers.
    starved: Vec<SocketId>,
    /// Closed sockets whose numbers become free with the next turn: events of this turn may still name them.
    released: Vec<SocketId>,
}

impl Sockets {
    pub(super) fn insert(&mut self, fd: OwnedFd) -> SocketId {
        let socket = Socket {
            fd: Some(fd),
            registered: false,
            receiving: false,
            cancelling: false,
            paused: false,
            ended: false,
            closing: false,
            sending: None,
        };
        SocketId(self.slab.insert(socket) as u32)
    }

    /// Frees the numbers of closed sockets; called when no event that names them is left.
    pub(super) fn free_released(&mut self) {
        for id in self.released.drain(..) {
            self.slab.remove(id.index());
        }
    }
}

impl Uring {
    pub(super) fn queue_receive(&mut self, id: SocketId) {
        let socket = &mut self.sockets.slab[id.index()];
        debug_assert!(!socket.receiving && !socket.closing && !socket.ended);
        socket.receiving = true;
        let entry = if socket.registered {
            opcode::RecvMulti::new(Fixed(id.0), GROUP).build()
        } else {
            opcode::RecvMulti::new(Fd(socket.raw_fd()), GROUP).build()
        };
        self.push(&entry.user_data(Token::new(Kind::Receive, id.0).bits()));
    }

    /// Receives again where buffers had run out; those of the last turn have been recycled by now.
    pub(super) fn rearm_starved(&mut self) {
        while let Some(id) = self.sockets.starved.pop() {
            self.maybe_receive(id);
        }
    }

    fn maybe_receive(&mut self, id: SocketId) {
        let wanted = self.sockets.slab.get(id.index()).is_some_and(|socket| {
            !(socket.receiving || socket.cancelling || socket.paused || socket.closing || socket.ended)
        });
        if wanted {
            self.queue_receive(id);
        }
    }

    pub(super) fn pause_receive(&mut self, id: SocketId) {
        self.sockets.slab[id.index()].paused = true;
        self.cancel_receive(id);
    }

    pub(super) fn resume_receive(&mut self, id: SocketId) {
        self.sockets.slab[id.index()].paused = false;
        self.maybe_receive(id);
    }

    fn cancel_receive(&mut self, id: SocketId) {
        let socket = &mut self.sockets.slab[id.index()];
        if !socket.receiving || socket.cancelling {
            return;
        }
        socket.cancelling = true;
        let entry = opcode::AsyncCancel::new(Token::new(Kind::Receive, id.0).bits())
            .build()
            .user_data(Token::new(Kind::Cancel, id.0).bits());
        self.push(&entry);
    }

    pub(super) fn on_cancelled(&mut self, index: u32) {
        self.sockets.slab[index as usize].cancelling = false;
        self.settle(SocketId(index));
        self.maybe_receive(SocketId(index));
    }

    pub(super) fn on_received(&mut self, index: u32, result: i32, flags: u32, events: &mut Vec<Event>) {
        let id = SocketId(index);
        let socket = &mut self.sockets.slab[id.index()];
        let last = !cqueue::more(flags);
        if last {
            socket.receiving = false;
        }
        let closing = socket.closing;
        if let Some(buffer) = cqueue::buffer_select(flags) {
            let len = result.max(0) as u32;
            // Also with an error or at the end of the stream a buffer may be named; an incremental one then stays where it is.
            if let Some(bytes) = self.buffers.take(buffer, len, cqueue::buffer_more(flags)) {
                if len > 0 && !closing {
                    events.push(Event::Received { socket: id, bytes });
                } else {
                    self.buffers.recycle(&bytes);
                }
            }
        }
        if last {
            self.on_receive_stopped(id, result, events);
        }
    }

    /// The multishot receive has ended: by the stream's end, an error, want of buffers, or our cancellation.
    fn on_receive_stopped(&mut self, id: SocketId, result: i32, events: &mut Vec<Event>) {
        let socket = &mut self.sockets.slab[id.index()];
        if socket.closing {
            self.settle(id);
            return;
        }
        match result {
            0 => {
                socket.ended = true;
                events.push(Event::Ended { socket: id });
            }
            1.. => self.maybe_receive(id),
            _ => match -result {
                libc::ENOBUFS => self.sockets.starved.push(id),
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.maybe_receive(id),
                _ => {
                    socket.ended = true;
                    events.push(Event::Broken { socket: id });
                }
            },
        }
    }

    pub(super) fn queue_send(&mut self, id: SocketId, buffer: Vec<u8>) {
        let socket = &mut self.sockets.slab[id.index()];
        assert!(
            socket.sending.is_none() && !socket.closing,
            "socket {}: a second send, or one after close",
            id.0
        );
        socket.sending = Some(Sending { buffer, sent: 0 });
        let entry = send_entry(id, socket, libc::MSG_DONTWAIT);
        self.push(&entry);
    }

    pub(super) fn on_sent(&mut self, index: u32, result: i32, events: &mut Vec<Event>) {
        let id = SocketId(index);
        let socket = &mut self.sockets.slab[id.index()];
        let Some(sending) = socket.sending.as_mut() else {
            panic!("socket {index}: a send has completed with {result} that nobody waits for")
        };
        let again = matches!(-result, libc::EAGAIN | libc::EINTR);
        sending.sent += result.max(0) as usize;
        let unsent = sending.sent < sending.buffer.len();
        if unsent && !socket.closing && (result >= 0 || again) {
            // The socket's buffer is full: now the kernel may wait for room.
            let entry = send_entry(id, socket, libc::MSG_WAITALL);
            self.push(&entry);
            return;
        }
        let buffer = socket.sending.take().map(|sending| sending.buffer).unwrap_or_default();
        if socket.closing {
            self.settle(id);
            return;
        }
        let result = match (unsent, result) {
            (false, _) => Ok(()),
            (true, 0..) => Err(io::ErrorKind::WriteZero.into()),
            (true, code) => Err(io::Error::from_raw_os_error(-code)),
        };
        events.push(Event::Sent { socket: id, buffer, result });
    }

    pub(super) fn close_socket(&mut self, id: SocketId) {
        let socket = &mut self.sockets.slab[id.index()];
        assert!(!socket.closing, "socket {} closed twice", id.0);
        socket.closing = true;
        if socket.is_idle() {
            self.release(id);
            return;
        }
        // Ends a send that waits for the peer, and tells the peer at once.
        if let Some(fd) = &socket.fd {
            let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Both);
        }
        self.cancel_receive(id);
    }

    /// Lets a closed socket go when nothing of it is with the kernel any more.
    fn settle(&mut self, id: SocketId) {
        let socket = &self.sockets.slab[id.index()];
        if socket.closing && socket.is_idle() {
            self.release(id);
        }
    }

    /// Puts a socket into the ring's table of files, if that has a place of its number.
    pub(super) fn register_socket(&mut self, id: SocketId) {
        let socket = &mut self.sockets.slab[id.index()];
        socket.registered = id.0 < self.registered_files
            && self.ring.submitter().register_files_update(id.0, &[socket.raw_fd()]).is_ok();
    }

    fn release(&mut self, id: SocketId) {
        let socket = &mut self.sockets.slab[id.index()];
        if std::mem::take(&mut socket.registered) {
            // The table keeps the connection open as the descriptor does.
            let emptied = self.ring.submitter().register_files_update(id.0, &[-1]);
            assert!(emptied.is_ok(), "socket {}: its place in the table of files could not be emptied", id.0);
        }
        socket.fd = None;
        self.sockets.released.push(id);
    }
}

fn send_entry(id: SocketId, socket: &Socket, flags: i32) -> squeue::Entry {
    let Some(sending) = socket.sending.as_ref() else { panic!("socket {}: there is nothing to send", id.0) };
    let rest = &sending.buffer[sending.sent..];
    let (start, len, flags) = (rest.as_ptr(), rest.len() as u32, flags | libc::MSG_NOSIGNAL);
    let entry = if socket.registered {
        opcode::Send::new(Fixed(id.0), start, len).flags(flags).build()
    } else {
        opcode::Send::new(Fd(socket.raw_fd()), start, len).flags(flags).build()
    };
    entry.user_data(Token::new(Kind::Send, id.0).bits())
}

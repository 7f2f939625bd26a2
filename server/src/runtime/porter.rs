//! Answers connections while the shards recover: every command with `LOADING`, until the shards take over.
//!
//! - It starts late, so that a start that is quick is not noticed: its connections wait in the kernel's queue, and are served.
//! - Its connections are closed when the shards are ready: a client that is told `LOADING` tries again anyway.
//! - It has a thread of its own and nothing else: it ends when the [`Porter`] is dropped.
//!
//! Everything is bounded: connections, and what each may have sent without making a command of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use annulus_protocol::{Args, CommandParser, Limits, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use super::threads;

/// What every command is answered with, in Redis's words.
const LOADING: &[u8] = b"-LOADING Redis is loading the dataset in memory\r\n";
/// How long a start may take before anybody is told.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it looks whether it is still needed.
const LOOK: Duration = Duration::from_millis(20);
const CONNECTIONS_MAX: usize = 256;
const READ_BYTES: usize = 16 << 10;
/// A connection that has sent so much without a whole command is closed.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// See the module's documentation.
#[derive(Debug)]
pub struct Porter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Visitor {
    socket: OwnedFd,
    input: Vec<u8>,
    parser: CommandParser,
}

impl Porter {
    /// Begins after a while to accept connections on these listening sockets, which are not blocking.
    pub fn start(listeners: Vec<OwnedFd>) -> io::Result<Porter> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = threads::spawn("porter".to_owned(), None, move |_| {
            let mut waited = Duration::ZERO;
            while waited < PATIENCE && !stopped.load(Ordering::Acquire) {
                threads::block_for(LOOK);
                waited += LOOK;
            }
            let mut visitors = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                if serve(&listeners, &mut visitors).is_err() {
                    return;
                }
            }
        })?;
        Ok(Porter { stop, thread: Some(thread) })
    }
}

impl Drop for Porter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for something to happen, for a short while, and answers.
fn serve(listeners: &[OwnedFd], visitors: &mut Vec<Visitor>) -> io::Result<()> {
    let watched = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    let sockets = visitors.iter().map(|visitor| visitor.socket.as_fd());
    let listening: &[OwnedFd] = if visitors.len() < CONNECTIONS_MAX { listeners } else { &[] };
    let all: Vec<BorrowedFd<'_>> = sockets.chain(listening.iter().map(AsFd::as_fd)).collect();
    let mut polled: Vec<PollFd<'_>> = all.into_iter().map(watched).collect();
    let look = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
    match poll(&mut polled, Some(&look)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let happened: Vec<bool> = polled.iter().map(|it| !it.revents().is_empty()).collect();
    drop(polled);
    let (of_visitors, of_listeners) = happened.split_at(visitors.len());
    let mut asked = of_visitors.iter();
    let mut come = Vec::new();
    for (listener, _) in listening.iter().zip(of_listeners).filter(|(_, happened)| **happened) {
        if let Ok(socket) = rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            come.push(Visitor { socket, input: Vec::new(), parser: CommandParser::new() });
        }
    }
    visitors.retain_mut(|visitor| !asked.next().copied().unwrap_or_default() || visitor.answer());
    visitors.append(&mut come);
    Ok(())
}

impl Visitor {
    /// Answers the commands that have come. False if the connection is of no use any more.
    fn answer(&mut self) -> bool {
        let mut buffer = [0; READ_BYTES];
        let read = match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => return false,
            Ok((read, _)) => read,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return true,
            Err(_) => return false,
        };
        self.input.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let (mut args, mut taken, mut replies) = (Args::default(), 0, Vec::new());
        let limits = Limits::DEFAULT.unauthenticated();
        loop {
            let rest = self.input.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match self.parser.parse(rest, &mut args, &limits) {
                Ok(Step::Command { consumed }) => {
                    taken += consumed;
                    replies.extend_from_slice(LOADING);
                }
                Ok(Step::Incomplete { .. }) => break,
                Err(_) => return false,
            }
        }
        self.input.drain(..taken);
        // Who does not read its replies loses the connection.
        let sent = rustix::net::send(&self.socket, &replies, SendFlags::NOSIGNAL);
        self.input.len() <= INPUT_BYTES_MAX && (replies.is_empty() || sent == Ok(replies.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    use super::*;
    use crate::runtime::listen;

    #[test]
    fn every_command_is_told_to_come_back_and_the_end_closes_connections() {
        let listener = listen::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 16, None).expect("a socket");
        let port = listen::local_port(&listener).expect("it has a port");
        let porter = Porter::start(vec![listener]).expect("it starts");
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        client.write_all(b"PING\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPI").expect("it takes it");
        let mut replies = vec![0; 2 * LOADING.len()];
        client.read_exact(&mut replies).expect("it answers");
        assert_eq!(replies, [LOADING, LOADING].concat());
        client.write_all(b"NG\r\n").expect("it takes it");
        client.read_exact(&mut replies[..LOADING.len()]).expect("it answers");
        drop(porter);
        assert!(matches!(client.read(&mut replies), Ok(0) | Err(_)), "it is closed");
    }
}

//! A blocking RESP client, enough to fill a server and to ask it something.

use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::load::{Histogram, key_name};

/// Longest wait for a reply.
const REPLY_MAX: Duration = Duration::from_mins(1);

/// A reply that is a line or a bulk.
#[derive(Debug)]
pub(super) struct Reply {
    /// Its text, without type or framing; empty for the null bulk.
    pub(super) text: String,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    reader: BufReader<TcpStream>,
}

/// Appends one command to `bytes`.
pub(super) fn encode(bytes: &mut Vec<u8>, arguments: &[&[u8]]) {
    bytes.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
}

impl Client {
    /// Connects on loopback.
    pub(super) fn connect(port: u16) -> io::Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(REPLY_MAX))?;
        Ok(Self { reader: BufReader::with_capacity(64 * 1024, socket) })
    }

    /// Runs one command; an error reply is an error.
    pub(super) fn command(&mut self, arguments: &[&[u8]]) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        encode(&mut bytes, arguments);
        self.reader.get_mut().write_all(&bytes)?;
        self.read_reply()
    }

    /// Runs commands that are encoded already; an error reply to any is an error.
    pub(super) fn pipeline(&mut self, bytes: &[u8], commands: usize) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)?;
        for _ in 0..commands {
            self.read_reply()?;
        }
        Ok(())
    }

    /// Sets `count` keys, the first of number `first`, in pipelines of `depth`; returns the round-trip times of the
    /// pipelines. `name` says how a key is called.
    pub(super) fn fill(
        &mut self,
        count: u64,
        value_bytes: usize,
        depth: u64,
        name: impl Fn(u64) -> Vec<u8>,
    ) -> io::Result<Histogram> {
        let value = vec![b'v'; value_bytes];
        let (mut bytes, mut times, mut done) = (Vec::new(), Histogram::default(), 0);
        while done < count {
            let end = count.min(done + depth);
            bytes.clear();
            for number in done..end {
                encode(&mut bytes, &[b"SET", &name(number), &value]);
            }
            let start = Instant::now();
            self.reader.get_mut().write_all(&bytes)?;
            for _ in done..end {
                self.read_reply()?;
            }
            times.record(start.elapsed().as_nanos() as u64);
            done = end;
        }
        Ok(times)
    }

    /// Closes with a reset, which leaves no port waiting.
    pub(super) fn abort(self) -> io::Result<()> {
        let socket = self.reader.into_inner();
        rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        Ok(())
    }

    fn read_reply(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| Error::other("an empty reply"))?;
        match kind {
            "+" | ":" => Ok(Reply { text: rest.to_owned() }),
            "$" if rest.starts_with('-') => Ok(Reply { text: String::new() }),
            "$" => {
                let length: usize = rest.parse().map_err(Error::other)?;
                let mut bulk = vec![0; length + 2];
                self.reader.read_exact(&mut bulk)?;
                bulk.truncate(length);
                Ok(Reply { text: String::from_utf8_lossy(&bulk).into_owned() })
            }
            _ => Err(Error::other(format!("unexpected reply: {line}"))),
        }
    }
}

/// How the ring load names its keys.
pub(super) fn ring_key(number: u64) -> Vec<u8> {
    key_name(number).to_vec()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that reads `input_bytes`, writes `output`, and takes whatever else comes: closing a socket with unread
    /// input would reset it.
    fn serve(input_bytes: usize, output: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.read_exact(&mut vec![0; input_bytes]).unwrap();
            socket.write_all(output).unwrap();
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = io::copy(&mut socket, &mut io::sink());
        });
        port
    }

    #[test]
    fn replies_of_each_kind_are_told_apart() {
        let one = "*1\r\n$4\r\nPING\r\n".len();
        for (output, expected) in [
            (&b"+PONG\r\n"[..], Some("PONG")),
            (b":12\r\n", Some("12")),
            (b"$4\r\na\r\nb\r\n", Some("a\r\nb")),
            (b"$-1\r\n", Some("")),
            (b"-LOADING\r\n", None),
            (b"+PO", None),
        ] {
            let reply = Client::connect(serve(one, output)).unwrap().command(&[b"PING"]);
            match expected {
                Some(text) => assert_eq!(reply.unwrap().text, text),
                None => assert!(reply.is_err() || reply.unwrap().text == "PO", "{output:?}"),
            }
        }
    }

    #[test]
    fn fill_counts_a_round_trip_for_each_pipeline() {
        let mut first = Vec::new();
        for number in 0..2 {
            encode(&mut first, &[b"SET", &ring_key(number), b"vv"]);
        }
        let port = serve(first.len(), b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
        let times = Client::connect(port).unwrap().fill(5, 2, 2, ring_key).unwrap();
        assert_eq!(times.total(), 3);
    }
}

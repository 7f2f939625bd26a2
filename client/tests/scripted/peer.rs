//! A server that does exactly what a test says.

use std::time::Duration;

use annulus_client::{Client, Endpoint, Options};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub(crate) struct Listener {
    listener: TcpListener,
    pub(crate) port: u16,
}

impl Listener {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    /// Long waits, so that only a broken client runs into them; tests of waiting shorten theirs.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new(Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: self.port });
        options.timeout = Duration::from_mins(1);
        options.backoff = Duration::from_millis(1);
        options
    }

    pub(crate) async fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        Peer { stream, received: Vec::new() }
    }

    /// Accepts a client, and answers its HELLO.
    pub(crate) async fn welcome(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.expect(&["HELLO", "3"]).await;
        peer.send("%1\r\n$5\r\nproto\r\n:3\r\n").await;
        peer
    }

    /// A client and the server's side of its connection.
    pub(crate) async fn connected(&self, options: Options) -> (Client, Peer) {
        let (client, peer) = tokio::join!(Client::connect(options), self.welcome());
        (client.unwrap(), peer)
    }
}

/// One connection, from the server's side.
pub(crate) struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Peer {
    /// The next command; `None` if the client has closed.
    pub(crate) async fn command(&mut self) -> Option<Vec<String>> {
        loop {
            if let Some((words, length)) = parse(&self.received) {
                self.received.drain(..length);
                return Some(words);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
            }
        }
    }

    /// Whether bytes came along with those of the last command.
    pub(crate) fn has_more(&self) -> bool {
        !self.received.is_empty()
    }

    pub(crate) async fn expect(&mut self, words: &[&str]) {
        let command = self.command().await.expect("a command, not the end");
        assert_eq!(command, words);
    }

    pub(crate) async fn send(&mut self, bytes: &str) {
        self.try_send(bytes).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, bytes: &str) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_bytes()).await
    }
}

/// The words of the first whole command, and its length.
fn parse(input: &[u8]) -> Option<(Vec<String>, usize)> {
    let mut position = 0;
    let mut number = |kind: u8| {
        let line = input.get(position..)?;
        let end = line.windows(2).position(|pair| pair == b"\r\n")?;
        assert_eq!(line[0], kind, "a malformed command: {}", input.escape_ascii());
        let number: usize = std::str::from_utf8(&line[1..end]).unwrap().parse().unwrap();
        position += end + 2;
        let start = position;
        if kind == b'$' {
            position += number + 2;
        }
        Some((number, start))
    };
    let (count, _) = number(b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, start) = number(b'$')?;
        words.push(String::from_utf8(input.get(start..start + length)?.to_vec()).unwrap());
    }
    (position <= input.len()).then_some((words, position))
}

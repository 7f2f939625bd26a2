//! A socket of any kind, driven by readiness, so that one task reads and writes without a lock between two halves.

#[cfg(feature = "embedded")]
use std::future::poll_fn;
use std::{
    io,
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

#[cfg(feature = "embedded")]
use crate::embedded::LineStream;
#[cfg(feature = "tls")]
use crate::tls::TlsStream;
use crate::{Endpoint, Options, Result};

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
    #[cfg(feature = "embedded")]
    Line(LineStream),
}

impl Stream {
    pub(crate) async fn connect(options: &Options) -> Result<Self> {
        #[cfg(feature = "embedded")]
        if let Some(doorway) = &options.doorway {
            return Ok(Self::Line(LineStream::open(doorway)?));
        }
        match &options.endpoint {
            Endpoint::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                // Commands leave in batches of our own making; the kernel must not wait for more.
                stream.set_nodelay(true)?;
                #[cfg(feature = "tls")]
                if let Some(tls) = &options.tls {
                    return Ok(Self::Tls(Box::new(TlsStream::connect(stream, host, tls).await?)));
                }
                Ok(Self::Tcp(stream))
            }
            Endpoint::Unix(path) => Ok(Self::Unix(UnixStream::connect(path).await?)),
        }
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.socket().readable().await,
            #[cfg(feature = "embedded")]
            Self::Line(stream) => poll_fn(|context| stream.poll_readable(context)).await,
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Unix(stream) => stream.writable().await,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.socket().writable().await,
            #[cfg(feature = "embedded")]
            Self::Line(stream) => poll_fn(|context| stream.poll_writable(context)).await,
        }
    }

    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.socket().poll_read_ready(context),
            #[cfg(feature = "embedded")]
            Self::Line(stream) => stream.poll_readable(context),
        }
    }

    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context),
            Self::Unix(stream) => stream.poll_write_ready(context),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.socket().poll_write_ready(context),
            #[cfg(feature = "embedded")]
            Self::Line(stream) => stream.poll_writable(context),
        }
    }

    /// Reads what is there, or `WouldBlock`; 0 is the end.
    pub(crate) fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
            Self::Unix(stream) => stream.try_read_buf(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.try_read(buffer),
            #[cfg(feature = "embedded")]
            Self::Line(stream) => stream.try_read(buffer),
        }
    }

    /// Takes bytes to send. With none it sends what it has taken and not sent ([`Stream::wants_write`]).
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.try_write(bytes),
            #[cfg(feature = "embedded")]
            Self::Line(stream) => stream.try_write(bytes),
        }
    }

    /// Whether bytes that it has taken wait for the socket.
    pub(crate) fn wants_write(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.wants_write(),
            #[cfg(feature = "embedded")]
            Self::Line(_) => false,
        }
    }

    /// Whether what was received may be kept here, besides in the socket.
    pub(crate) fn buffers(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(_) => true,
            #[cfg(feature = "embedded")]
            Self::Line(_) => false,
        }
    }

    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read_buf(buffer).await,
            Self::Unix(stream) => stream.read_buf(buffer).await,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.read(buffer).await,
            #[cfg(feature = "embedded")]
            Self::Line(stream) => read_line(stream, buffer).await,
        }
    }

    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Unix(stream) => stream.write_all(bytes).await,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write_all(bytes).await,
            #[cfg(feature = "embedded")]
            Self::Line(stream) => write_line(stream, bytes).await,
        }
    }
}

#[cfg(feature = "embedded")]
async fn read_line(stream: &LineStream, buffer: &mut BytesMut) -> io::Result<usize> {
    loop {
        poll_fn(|context| stream.poll_readable(context)).await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

#[cfg(feature = "embedded")]
async fn write_line(stream: &LineStream, bytes: &[u8]) -> io::Result<()> {
    loop {
        poll_fn(|context| stream.poll_writable(context)).await?;
        match stream.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result.map(drop),
        }
    }
}

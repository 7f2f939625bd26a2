//! A connection of one user, who reads and writes it in his own task: for what cannot be shared.
//!
//! Everything about it may be given up in the middle: what is half sent stays in `out`, what is half received in the
//! decoder, and how many replies are still due in `due`. So a dropped future costs its reply and nothing else.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};

use crate::{Error, Options, Result, Value, command::Payload, handshake, handshake::Link};

/// Room made for each read.
const READ_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Wire {
    link: Link,
    out: BytesMut,
}

impl Wire {
    pub(crate) async fn open(options: &Options) -> Result<Self> {
        Ok(Self { link: handshake::connect(options).await?, out: BytesMut::new() })
    }

    /// Adds a command to what is to be sent.
    pub(crate) fn push(&mut self, payload: &Payload) {
        payload.write(&mut self.out);
    }

    /// Sends what the socket takes. `Pending` until all of it has left.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.out.is_empty() || self.link.stream.wants_write() {
            match self.link.stream.try_write(&self.out) {
                Ok(bytes) => self.out.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.link.stream.poll_writable(context))?;
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What the server says next, whatever it is.
    pub(crate) fn poll_value(&mut self, context: &mut Context<'_>) -> Poll<Result<Value>> {
        loop {
            if let Some(value) = self.link.decoder.next()? {
                return Poll::Ready(Ok(value));
            }
            self.link.decoder.buffer.reserve(READ_BYTES);
            match self.link.stream.try_read(&mut self.link.decoder.buffer) {
                Ok(0) => return Poll::Ready(Err(Error::closed("the server closed the connection"))),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.link.stream.poll_readable(context))?;
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

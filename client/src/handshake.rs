//! The start of a connection: protocol, credentials, name, database. Nothing is multiplexed yet: one question, one answer.

use std::io;

use bytes::BytesMut;
use tokio::time;

use crate::{
    Command, Error, Options, Result, Value,
    codec::{Decoder, Version},
    stream::Stream,
};

/// A connection on which commands may follow.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: Stream,
    pub(crate) decoder: Decoder,
}

/// Connects within the time that the options give.
pub(crate) async fn connect(options: &Options) -> Result<Link> {
    let late = || Error::Connection {
        kind: io::ErrorKind::TimedOut,
        text: "no connection in time".to_owned(),
        maybe_applied: false,
    };
    time::timeout(options.connect_timeout, establish(options)).await.map_err(|_| late())?
}

async fn establish(options: &Options) -> Result<Link> {
    let stream = Stream::connect(options).await?;
    let mut link = Link { stream, decoder: Decoder::new(Version::Resp3) };
    let mut hello = Command::new("HELLO").arg("3");
    if let Some(password) = &options.password {
        let user = options.username.as_deref().unwrap_or("default");
        hello = hello.arg("AUTH").arg(user).arg(password);
    }
    match link.ask(hello).await? {
        Value::Error(text) if knows_no_resp3(&text) => link.fall_back(options).await?,
        answer => accept(answer)?,
    }
    if let Some(name) = &options.client_name {
        accept(link.ask(Command::new("CLIENT").arg("SETNAME").arg(name)).await?)?;
    }
    if let Some(cache) = &options.cache {
        cache.prepare(&mut link).await?;
    }
    if options.database != 0 {
        accept(link.ask(Command::new("SELECT").number(options.database)).await?)?;
    }
    Ok(link)
}

/// A server older than RESP3 has no HELLO; one that has been told not to speak it says NOPROTO.
fn knows_no_resp3(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    text.starts_with("noproto") || text.starts_with("err unknown command")
}

pub(crate) fn accept(answer: Value) -> Result<()> {
    match answer {
        Value::Error(text) => Err(Error::from_reply(&text)),
        _ => Ok(()),
    }
}

impl Link {
    async fn fall_back(&mut self, options: &Options) -> Result<()> {
        self.decoder.version = Version::Resp2;
        let Some(password) = &options.password else { return Ok(()) };
        let auth = Command::new("AUTH").args(&options.username).arg(password);
        accept(self.ask(auth).await?)
    }

    pub(crate) async fn ask(&mut self, command: Command) -> Result<Value> {
        let mut out = BytesMut::new();
        command.payload().write(&mut out);
        self.stream.write_all(&out).await?;
        loop {
            match self.decoder.next()? {
                Some(Value::Push(_)) => {}
                Some(value) => return Ok(value),
                None => {
                    if self.stream.read(&mut self.decoder.buffer).await? == 0 {
                        return Err(Error::closed("the server closed the connection at once"));
                    }
                }
            }
        }
    }
}

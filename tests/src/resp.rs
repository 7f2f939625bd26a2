//! A minimal RESP client: raw bytes out, whole replies in, both protocol versions.
//!
//! It is deliberately naive (recursive, strict, blocking) and shares no code with the server: what it cannot
//! read is a fault of the server.

use std::{
    fmt::{self, Write as _},
    io::{self, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::process::PATIENCE;

/// A reply, as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// `+`
    Simple(Vec<u8>),
    /// `-`
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*`
    Array(Vec<Value>),
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    /// `#`
    Boolean(bool),
    /// `,` as the text it was
    Double(Vec<u8>),
    /// `(` as the text it was
    BigNumber(Vec<u8>),
    /// `=` with its three-letter format
    Verbatim(Vec<u8>),
    /// `!`
    BulkError(Vec<u8>),
    /// `%`
    Map(Vec<(Value, Value)>),
    /// `~`
    Set(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
}

impl Value {
    /// `+text`
    pub fn simple(text: &str) -> Self {
        Self::Simple(text.as_bytes().to_vec())
    }

    /// `+OK`
    pub fn ok() -> Self {
        Self::simple("OK")
    }

    /// A bulk string.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }

    /// The bytes of any string-like reply.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(bytes)
            | Self::Error(bytes)
            | Self::Bulk(bytes)
            | Self::Double(bytes)
            | Self::BigNumber(bytes)
            | Self::BulkError(bytes) => Some(bytes),
            Self::Verbatim(bytes) => bytes.get(4..),
            _ => None,
        }
    }

    /// The text of any string-like reply; panics on others.
    pub fn text(&self) -> String {
        let bytes = self.bytes().unwrap_or_else(|| panic!("not a string reply: {self}"));
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// The number in an integer reply, or in a string reply that is one.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => std::str::from_utf8(self.bytes()?).ok()?.parse().ok(),
        }
    }

    /// The items of an array, set or push; panics on others.
    pub fn items(&self) -> &[Value] {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => items,
            _ => panic!("not a list reply: {self}"),
        }
    }

    /// Any of the nulls of both protocols.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::NullBulk | Self::NullArray)
    }

    /// `-…`
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_) | Self::BulkError(_))
    }

    /// What follows `name` in a flat list or a map of names and values, as RESP2 and RESP3 show the same thing.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let named = |value: &Value| value.bytes() == Some(name.as_bytes());
        match self {
            Self::Map(pairs) => pairs.iter().find(|(key, _)| named(key)).map(|(_, value)| value),
            Self::Array(items) => {
                items.chunks_exact(2).find(|pair| named(&pair[0])).and_then(|pair| pair.get(1))
            }
            _ => None,
        }
    }
}

/// The notation of the scripts: `+OK`, `-ERR …`, `:1`, `"bulk"`, `(nil)`, `[a, b]`, `{k: v}`, `~[set]`, `>[push]`.
impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(out, "+{}", escaped(text)),
            Self::Error(text) => write!(out, "-{}", escaped(text)),
            Self::Integer(number) => write!(out, ":{number}"),
            Self::Bulk(bytes) => write!(out, "\"{}\"", escaped(bytes)),
            Self::NullBulk => out.write_str("(nil)"),
            Self::NullArray => out.write_str("(nil-array)"),
            Self::Null => out.write_str("_"),
            Self::Boolean(yes) => out.write_str(if *yes { "#t" } else { "#f" }),
            Self::Double(text) => write!(out, ",{}", escaped(text)),
            Self::BigNumber(text) => write!(out, "({}", escaped(text)),
            Self::Verbatim(text) => write!(out, "=\"{}\"", escaped(text)),
            Self::BulkError(text) => write!(out, "!\"{}\"", escaped(text)),
            Self::Array(items) => list(out, "[", items),
            Self::Set(items) => list(out, "~[", items),
            Self::Push(items) => list(out, ">[", items),
            Self::Map(pairs) => {
                out.write_char('{')?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(out, "{comma}{key}: {value}")?;
                }
                out.write_char('}')
            }
        }
    }
}

fn list(out: &mut fmt::Formatter<'_>, open: &str, items: &[Value]) -> fmt::Result {
    out.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(out, "{comma}{item}")?;
    }
    out.write_char(']')
}

/// Bytes as ASCII, the rest as `\xNN`.
pub fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\'", "'")
}

/// A command as the array of bulk strings that clients send.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

/// A connection. Reads wait up to [`PATIENCE`] unless told otherwise.
pub struct Connection {
    socket: BufReader<Socket>,
}

impl Connection {
    /// Connects over TCP to this host.
    pub fn tcp(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Self::with_socket(Socket::Tcp(stream))
    }

    /// Connects to a Unix socket.
    pub fn unix(path: &Path) -> io::Result<Self> {
        Self::with_socket(Socket::Unix(UnixStream::connect(path)?))
    }

    fn with_socket(socket: Socket) -> io::Result<Self> {
        let mut connection = Self { socket: BufReader::with_capacity(64 * 1024, socket) };
        connection.set_patience(PATIENCE)?;
        Ok(connection)
    }

    /// How long a read or a write may take.
    pub fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        match self.socket.get_mut() {
            Socket::Tcp(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))
            }
            Socket::Unix(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))
            }
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.socket.get_mut() {
            Socket::Tcp(stream) => stream.write_all(bytes),
            Socket::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Says that nothing more will be sent; replies can still be read.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        match self.socket.get_mut() {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// A second handle on the same TCP connection, for a writer beside a reader.
    pub fn writer(&self) -> io::Result<TcpStream> {
        match self.socket.get_ref() {
            Socket::Tcp(stream) => stream.try_clone(),
            Socket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Sends one command and reads one reply.
    pub fn try_command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Value> {
        self.send(&encode(arguments))?;
        self.read()
    }

    /// Sends one command and reads one reply; panics when the connection fails.
    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Value {
        self.try_command(arguments).unwrap_or_else(|error| {
            let shown: Vec<String> = arguments.iter().map(|each| escaped(each.as_ref())).collect();
            panic!("no reply to {shown:?}: {error}")
        })
    }

    /// [`Connection::command`] with the arguments of a line, split at blanks.
    pub fn line(&mut self, line: &str) -> Value {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        self.command(&arguments)
    }

    /// Sends all commands at once, then reads as many replies.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> io::Result<Vec<Value>> {
        let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
        self.send(&bytes)?;
        commands.iter().map(|_| self.read()).collect()
    }

    /// The next whole reply.
    pub fn read(&mut self) -> io::Result<Value> {
        read_value(&mut self.socket)
    }

    /// Everything until the server closes the connection.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.socket.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the server has closed the connection, by FIN or by reset; reads on until then.
    pub fn is_closed_by_server(&mut self) -> bool {
        match self.read_to_end() {
            Ok(_) => true,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }
}

/// The first whole reply in `bytes` and its length; nothing while there is none.
pub fn parse(bytes: &[u8]) -> io::Result<Option<(Value, usize)>> {
    let mut source = io::Cursor::new(bytes);
    match read_value(&mut source) {
        Ok(value) => Ok(Some((value, source.position() as usize))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_value(source: &mut impl Read) -> io::Result<Value> {
    let line = read_line(source)?;
    let Some((kind, rest)) = line.split_first() else { return Err(malformed("an empty line")) };
    match kind {
        b'+' => Ok(Value::Simple(rest.to_vec())),
        b'-' => Ok(Value::Error(rest.to_vec())),
        b':' => Ok(Value::Integer(integer(rest)?)),
        b',' => Ok(Value::Double(rest.to_vec())),
        b'(' => Ok(Value::BigNumber(rest.to_vec())),
        b'_' if rest.is_empty() => Ok(Value::Null),
        b'#' if rest == b"t" || rest == b"f" => Ok(Value::Boolean(rest == b"t")),
        b'$' if rest == b"-1" => Ok(Value::NullBulk),
        b'*' if rest == b"-1" => Ok(Value::NullArray),
        b'$' => Ok(Value::Bulk(read_bulk(source, rest)?)),
        b'=' => Ok(Value::Verbatim(read_bulk(source, rest)?)),
        b'!' => Ok(Value::BulkError(read_bulk(source, rest)?)),
        b'*' => Ok(Value::Array(read_items(source, rest)?)),
        b'~' => Ok(Value::Set(read_items(source, rest)?)),
        b'>' => Ok(Value::Push(read_items(source, rest)?)),
        b'%' => (0..length(rest)?)
            .map(|_| Ok((read_value(source)?, read_value(source)?)))
            .collect::<io::Result<_>>()
            .map(Value::Map),
        _ => Err(malformed(&format!("a reply that starts with {:?}", escaped(&line)))),
    }
}

fn read_line(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        source.read_exact(&mut byte)?;
        if line.ends_with(b"\r") && byte == *b"\n" {
            line.pop();
            return Ok(line);
        }
        line.push(byte[0]);
    }
}

fn read_bulk(source: &mut impl Read, header: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length(header)? + 2];
    source.read_exact(&mut bytes)?;
    if !bytes.ends_with(b"\r\n") {
        return Err(malformed("a bulk string without its line end"));
    }
    bytes.truncate(bytes.len() - 2);
    Ok(bytes)
}

fn read_items(source: &mut impl Read, header: &[u8]) -> io::Result<Vec<Value>> {
    (0..length(header)?).map(|_| read_value(source)).collect()
}

fn integer(text: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(text).map_err(|_| malformed("a number that is not text"))?;
    text.parse().map_err(|_| malformed(&format!("{text:?} for a number")))
}

fn length(text: &[u8]) -> io::Result<usize> {
    usize::try_from(integer(text)?).map_err(|_| malformed("a negative length"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server sent {what}"))
}

//! The reply encoder: one call a value, in the protocol version that the connection has chosen.
//!
//! Handlers say what a value is (a map, a double, a verbatim string); the encoder knows what that is in RESP2, and there
//! is no second place that does.

use crate::number::{LongDouble, format_double};

/// The version of the protocol, as a client chooses it with `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// Typed replies and push messages.
    Resp3,
}

impl Version {
    /// The version with this number, as in `HELLO 3`.
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            2 => Some(Self::Resp2),
            3 => Some(Self::Resp3),
            _ => None,
        }
    }

    /// 2 or 3.
    pub const fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Appends replies to a byte vector.
///
/// Aggregates are a header followed by that many values; it is the caller's promise that they follow.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    version: Version,
}

impl<'a> Encoder<'a> {
    /// An encoder that appends to `out`.
    pub const fn new(out: &'a mut Vec<u8>, version: Version) -> Self {
        Self { out, version }
    }

    /// The version that replies are written in.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Changes the version for the replies that follow, as `HELLO` does.
    pub const fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// The length of the output so far: a place to come back to with [`truncate`](Self::truncate) or
    /// [`insert_array_header`](Self::insert_array_header).
    pub const fn position(&self) -> usize {
        self.out.len()
    }

    /// Takes back everything written since `position`.
    pub fn truncate(&mut self, position: usize) {
        self.out.truncate(position);
    }

    /// What was written since `position`.
    pub fn written_since(&self, position: usize) -> &[u8] {
        self.out.get(position..).unwrap_or_default()
    }

    /// Makes room for `additional` bytes at once, before a reply of known size.
    pub fn reserve(&mut self, additional: usize) {
        self.out.reserve(additional);
    }

    /// Appends bytes that are replies already, such as another shard's part of an array.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string. CR and LF, which would end it early, become spaces.
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', text.as_ref());
    }

    /// An error: its prefix and text, as in `ERR syntax error`. CR and LF become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        match usize::try_from(value) {
            Ok(count) => self.header(b':', count),
            Err(_) => self.number_line(b':', value),
        }
    }

    /// A string of any bytes.
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        self.length_prefixed(b'$', bytes.as_ref());
    }

    /// An integer written as a string, as `GET` answers for a counter.
    pub fn bulk_integer(&mut self, value: i64) {
        self.length_prefixed(b'$', itoa::Buffer::new().format(value).as_bytes());
    }

    /// The absence of a value.
    pub fn null(&mut self) {
        self.raw(match self.version {
            Version::Resp2 => b"$-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// The absence of an array, which RESP2 tells from the absence of a string.
    pub fn null_array(&mut self) {
        self.raw(match self.version {
            Version::Resp2 => b"*-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// An array: `count` values follow.
    pub fn array_header(&mut self, count: usize) {
        self.header(b'*', count);
    }

    /// Puts an array's header before the values written since `position`, for arrays whose length shows only at the
    /// end. The values move by the few bytes of the header.
    pub fn insert_array_header(&mut self, position: usize, count: usize) {
        let end = self.out.len();
        self.array_header(count);
        let header_bytes = self.out.len() - end;
        // Bring the header from the end to its place: one move of the values, no second buffer.
        self.out[position..].rotate_right(header_bytes);
    }

    /// A map: `pairs` keys, each followed by its value. In RESP2 an array of twice as many.
    pub fn map_header(&mut self, pairs: usize) {
        match self.version {
            Version::Resp2 => self.header(b'*', pairs * 2),
            Version::Resp3 => self.header(b'%', pairs),
        }
    }

    /// A set: `count` members follow. In RESP2 an array.
    pub fn set_header(&mut self, count: usize) {
        let kind = self.resp3_or(b'~', b'*');
        self.header(kind, count);
    }

    /// An out-of-band message: `count` values follow. In RESP2 an array, which only connections that subscribed expect.
    pub fn push_header(&mut self, count: usize) {
        let kind = self.resp3_or(b'>', b'*');
        self.header(kind, count);
    }

    /// Attributes of the reply that follows: `write` writes `pairs` keys and values. RESP2 has none, and `write` is not called.
    pub fn attribute(&mut self, pairs: usize, write: impl FnOnce(&mut Self)) {
        if self.version == Version::Resp3 {
            self.header(b'|', pairs);
            write(self);
        }
    }

    /// A double, written as [`format_double`] does. In RESP2 a string.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        match self.version {
            Version::Resp2 => self.length_prefixed(b'$', &text),
            Version::Resp3 => self.line(b',', &text),
        }
    }

    /// A number in the 80-bit format, with its decimals as [`LongDouble::to_text`] writes them. In RESP2 a string.
    pub fn decimal(&mut self, value: LongDouble) {
        let text = value.to_text();
        match self.version {
            Version::Resp2 => self.length_prefixed(b'$', &text),
            Version::Resp3 => self.line(b',', &text),
        }
    }

    /// A truth value. In RESP2 the integer 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.version, value) {
            (Version::Resp2, true) => b":1\r\n",
            (Version::Resp2, false) => b":0\r\n",
            (Version::Resp3, true) => b"#t\r\n",
            (Version::Resp3, false) => b"#f\r\n",
        });
    }

    /// An integer of any size, given by its digits. In RESP2 a string.
    pub fn big_number(&mut self, digits: impl AsRef<[u8]>) {
        match self.version {
            Version::Resp2 => self.length_prefixed(b'$', digits.as_ref()),
            Version::Resp3 => self.line(b'(', digits.as_ref()),
        }
    }

    /// A text for people, with its format (`txt` or `mkd`). In RESP2 a string, without the format.
    pub fn verbatim(&mut self, format: [u8; 3], text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.version {
            Version::Resp2 => self.length_prefixed(b'$', text),
            Version::Resp3 => {
                self.header(b'=', text.len() + format.len() + 1);
                self.out.extend_from_slice(&format);
                self.out.push(b':');
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    fn resp3_or(&self, resp3: u8, resp2: u8) -> u8 {
        if self.version == Version::Resp3 { resp3 } else { resp2 }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(kind);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        if memchr::memchr2(b'\r', b'\n', text).is_some() {
            for byte in &mut self.out[start..] {
                if matches!(byte, b'\r' | b'\n') {
                    *byte = b' ';
                }
            }
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Headers have one to three digits, nearly always; those need no call and no copy of unknown length.
    fn header(&mut self, kind: u8, count: usize) {
        let digit = |place: usize| b'0' + (count / place % 10) as u8;
        match count {
            0..10 => self.out.extend_from_slice(&[kind, digit(1), b'\r', b'\n']),
            10..100 => self.out.extend_from_slice(&[kind, digit(10), digit(1), b'\r', b'\n']),
            100..1000 => {
                self.out.extend_from_slice(&[kind, digit(100), digit(10), digit(1), b'\r', b'\n']);
            }
            _ => self.number_line(kind, count as i64),
        }
    }

    /// Written from the end backwards into one piece, so that it takes one copy.
    fn number_line(&mut self, kind: u8, value: i64) {
        const BYTES_MAX: usize = b":-9223372036854775808\r\n".len();
        let mut text = [0_u8; BYTES_MAX];
        text[BYTES_MAX - 2..].copy_from_slice(b"\r\n");
        let mut start = BYTES_MAX - 2;
        let mut rest = value.unsigned_abs();
        while rest >= 10 {
            let pair = (rest % 100) as u8;
            rest /= 100;
            start -= 2;
            text[start] = b'0' + pair / 10;
            text[start + 1] = b'0' + pair % 10;
        }
        if rest > 0 || value == 0 {
            start -= 1;
            text[start] = b'0' + rest as u8;
        }
        if value < 0 {
            start -= 1;
            text[start] = b'-';
        }
        start -= 1;
        text[start] = kind;
        self.out.extend_from_slice(&text[start..]);
    }

    fn length_prefixed(&mut self, kind: u8, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 24);
        self.header(kind, bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests;

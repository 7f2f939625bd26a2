//! The commands of an append-only file, one after the other.
//!
//! ```text
//! file       commands, and between them lines that begin with # and mean nothing here
//! command    *, number of arguments, CR LF; for each: $, its length, CR LF, its bytes, CR LF
//! ```

use std::io::{self, ErrorKind, Read};

/// Read at a time, at least.
const READ_BYTES: usize = 64 << 10;
/// As long as redis-server lets an argument be, and as many of them, unless it is told otherwise.
const ARGUMENT_BYTES_MAX: usize = 512 << 20;
const ARGUMENTS_MAX: usize = 1 << 20;
/// The digits of a number, and a little more.
const LINE_BYTES_MAX: usize = 32;

/// See the module.
pub(super) struct Commands<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where the next command begins in the buffer.
    at: usize,
    /// Of the buffer in the file.
    offset: u64,
    ended: bool,
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A command, with its place.
    Command { offset: u64, bytes: &'a [u8] },
    /// Nothing.
    End,
    /// A command that is not all there.
    CutOff { offset: u64 },
    /// Something else.
    Malformed { offset: u64 },
}

/// How far a command goes.
#[derive(Debug, PartialEq, Eq)]
enum Extent {
    Whole(usize),
    More,
    Malformed,
}

impl<R: Read> Commands<R> {
    pub(super) fn new(source: R, offset: u64) -> Self {
        Self { source, buffer: Vec::new(), at: 0, offset, ended: false }
    }

    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            let offset = self.offset + self.at as u64;
            let extent = match rest.first() {
                None => Extent::More,
                Some(b'#') => match rest.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        self.at += end + 1;
                        continue;
                    }
                    None => Extent::More,
                },
                Some(_) => extent(rest),
            };
            match extent {
                Extent::Whole(bytes) => {
                    let from = self.at;
                    self.at += bytes;
                    return Ok(Next::Command {
                        offset,
                        bytes: self.buffer.get(from..self.at).unwrap_or_default(),
                    });
                }
                Extent::Malformed => return Ok(Next::Malformed { offset }),
                Extent::More if self.ended && rest.is_empty() => return Ok(Next::End),
                Extent::More if self.ended => return Ok(Next::CutOff { offset }),
                Extent::More => self.read_more()?,
            }
        }
    }

    /// Reads as much as there is, so that a long command is not looked at again for each piece of it.
    fn read_more(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        let (have, wanted) = (self.buffer.len(), self.buffer.len().max(READ_BYTES));
        self.buffer.resize(have + wanted, 0);
        let mut filled = have;
        while filled < self.buffer.len() {
            match self.source.read(self.buffer.get_mut(filled..).unwrap_or_default()) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }
}

/// How far the command goes that these bytes begin with.
fn extent(bytes: &[u8]) -> Extent {
    let mut at = 0;
    let arguments = match line(bytes, &mut at, b'*', ARGUMENTS_MAX) {
        Ok(0) => return Extent::Malformed,
        Ok(count) => count,
        Err(other) => return other,
    };
    for _ in 0..arguments {
        match line(bytes, &mut at, b'$', ARGUMENT_BYTES_MAX) {
            Ok(length) => at += length,
            Err(other) => return other,
        }
        match bytes.get(at..).unwrap_or_default() {
            [b'\r', b'\n', ..] => at += 2,
            [] | [b'\r'] => return Extent::More,
            _ => return Extent::Malformed,
        }
    }
    Extent::Whole(at)
}

/// A number on a line of its own, behind its mark.
fn line(bytes: &[u8], at: &mut usize, mark: u8, max: usize) -> Result<usize, Extent> {
    let rest = bytes.get(*at..).unwrap_or_default();
    let Some((first, digits)) = rest.split_first() else { return Err(Extent::More) };
    let Some(len) = digits.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\r') else {
        let fits = digits.len() < LINE_BYTES_MAX && *first == mark && digits.iter().all(u8::is_ascii_digit);
        return Err(if fits { Extent::More } else { Extent::Malformed });
    };
    let number = digits.get(..len).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match (number, digits.get(len + 1)) {
        (Some(number), Some(b'\n')) if *first == mark && number <= max => {
            *at += 1 + len + 2;
            Ok(number)
        }
        (Some(number), None) if *first == mark && number <= max => Err(Extent::More),
        _ => Err(Extent::Malformed),
    }
}

/// The name of a command.
pub(super) fn name(command: &[u8]) -> &[u8] {
    let mut at = 0;
    let head = line(command, &mut at, b'*', ARGUMENTS_MAX)
        .and_then(|_| line(command, &mut at, b'$', ARGUMENT_BYTES_MAX));
    head.ok().and_then(|length| command.get(at..at + length)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    /// Names and places, and how it ended.
    fn read(bytes: &[u8]) -> (Vec<(u64, String)>, String) {
        let mut commands = Commands::new(Drops(bytes), 100);
        let mut found = Vec::new();
        loop {
            match commands.next().unwrap() {
                Next::Command { offset, bytes } => {
                    found.push((offset, String::from_utf8_lossy(name(bytes)).into_owned()));
                }
                other => return (found, format!("{other:?}")),
            }
        }
    }

    const TWO: &[u8] =
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#TS:1700000000\r\n*3\r\n$3\r\nset\r\n$1\r\nk\r\n$0\r\n\r\n";

    #[test]
    fn commands_come_whole_and_with_their_places() {
        let (found, end) = read(TWO);
        assert_eq!(found, [(100, "SELECT".to_owned()), (139, "set".to_owned())]);
        assert_eq!(end, "End");
        assert_eq!(read(b""), (vec![], "End".to_owned()));
    }

    #[test]
    fn a_file_that_is_cut_off_gives_the_commands_before_that() {
        for len in 0..TWO.len() {
            let (found, end) = read(&TWO[..len]);
            assert_eq!(found.len(), usize::from(len >= 23), "{len}");
            let whole = [0, 23, 39].contains(&len);
            assert_eq!(end == "End", whole, "{len}: {end}");
            assert!(whole || end.starts_with("CutOff"), "{len}: {end}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused_with_its_place() {
        for wrong in [
            &b"PING\r\n"[..],
            b"*0\r\n",
            b"*-1\r\n",
            b"*1\r\n+OK\r\n",
            b"*1\r\n$2\r\nabc\r\n",
            b"*1\r\n$99999999999999\r\n",
            b"*99999999\r\n",
            b"*1\r\n$00000000000000000000000000000000000000001\r\na\r\n",
            b"\0\0\0\0",
        ] {
            let bytes = [TWO, wrong].concat();
            let (found, end) = read(&bytes);
            assert_eq!(
                (found.len(), end),
                (2, "Malformed { offset: 165 }".to_owned()),
                "{}",
                wrong.escape_ascii()
            );
        }
    }
}

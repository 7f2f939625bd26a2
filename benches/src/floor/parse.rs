//! Counts RESP commands without looking at anything but their framing and the first byte of their name.
//!
//! The counter is incremental: it keeps its place in a command between two receives and never stores input. It
//! trusts its client: the floor is a yardstick on loopback, not a server.

/// The reply to `GET`: a bulk of 64 bytes, the value size that the suite uses.
const REPLY_GET: &[u8] = b"$64\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
/// The reply to `PING`, which readiness checks wait for.
const REPLY_PING: &[u8] = b"+PONG\r\n";
/// The reply to everything else.
const REPLY_OK: &[u8] = b"+OK\r\n";

/// Where in a command the input stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Before the first byte of a command.
    #[default]
    Start,
    /// In an array header or a bulk header; the digits so far.
    Header { value: u32 },
    /// In an inline command, up to its line feed.
    Inline,
    /// Before the `$` of the next argument.
    BulkStart,
    /// In an argument and its line end; bytes left.
    Bulk { left: u32 },
}

/// The incremental command counter of one connection.
#[derive(Debug, Default)]
pub(super) struct CommandCounter {
    place: Place,
    /// Arguments that the open command still lacks; 0 while its array header is read.
    args_left: u32,
    /// First byte of the command's name, 0 until it was seen.
    name: u8,
}

impl CommandCounter {
    /// Takes the next received bytes and appends one reply per completed command to `output`.
    pub(super) fn feed(&mut self, mut input: &[u8], output: &mut Vec<u8>) {
        while let Some((&byte, rest)) = input.split_first() {
            if let Place::Bulk { left } = self.place {
                if self.name == 0 {
                    self.name = byte;
                }
                let taken = input.len().min(left as usize);
                input = &input[taken..];
                self.place = Place::Bulk { left: left - taken as u32 };
                if taken as u32 == left {
                    self.end_bulk(output);
                }
                continue;
            }
            input = rest;
            self.step(byte, output);
        }
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8, output: &mut Vec<u8>) {
        match (self.place, byte) {
            (Place::Start, b'*') | (Place::BulkStart, _) => self.place = Place::Header { value: 0 },
            (Place::Start, _) => {
                self.name = byte;
                self.place = Place::Inline;
            }
            (Place::Inline, b'\n') => self.end_command(output),
            (Place::Header { value }, b'0'..=b'9') => {
                self.place =
                    Place::Header { value: value.wrapping_mul(10).wrapping_add(u32::from(byte - b'0')) };
            }
            (Place::Header { value }, b'\n') if self.args_left == 0 => {
                self.args_left = value;
                if value == 0 {
                    self.place = Place::Start;
                } else {
                    self.place = Place::BulkStart;
                }
            }
            (Place::Header { value }, b'\n') => self.place = Place::Bulk { left: value.saturating_add(2) },
            (Place::Header { .. } | Place::Inline | Place::Bulk { .. }, _) => {}
        }
    }

    fn end_bulk(&mut self, output: &mut Vec<u8>) {
        self.args_left -= 1;
        if self.args_left == 0 {
            self.end_command(output);
        } else {
            self.place = Place::BulkStart;
        }
    }

    fn end_command(&mut self, output: &mut Vec<u8>) {
        output.extend_from_slice(match self.name {
            b'G' | b'g' => REPLY_GET,
            b'P' | b'p' => REPLY_PING,
            _ => REPLY_OK,
        });
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: &[u8] =
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n*\r\n$9\r\nPING\r\n*2\r\n$3\r\nget\r\n$0\r\n\r\n*1\r\n$6\r\nDBSIZE\r\n";

    fn expected() -> Vec<u8> {
        [REPLY_OK, REPLY_PING, REPLY_GET, REPLY_OK].concat()
    }

    #[test]
    fn replies_do_not_depend_on_how_the_input_was_cut() {
        for first in 0..=INPUT.len() {
            for second in first..=INPUT.len() {
                let (mut counter, mut output) = (CommandCounter::default(), Vec::new());
                counter.feed(&INPUT[..first], &mut output);
                counter.feed(&INPUT[first..second], &mut output);
                counter.feed(&INPUT[second..], &mut output);
                assert_eq!(output, expected(), "cut at {first} and {second}");
                assert_eq!(counter.place, Place::Start);
            }
        }
    }

    #[test]
    fn unfinished_command_gets_no_reply() {
        let (mut counter, mut output) = (CommandCounter::default(), Vec::new());
        counter.feed(b"*2\r\n$3\r\nGET\r\n$3\r\nabc\r", &mut output);
        assert!(output.is_empty());
        counter.feed(b"\n", &mut output);
        assert_eq!(output, REPLY_GET);
    }

    #[test]
    fn get_reply_is_a_bulk_of_64_bytes() {
        assert_eq!(REPLY_GET.len(), b"$64\r\n".len() + 64 + b"\r\n".len());
    }
}

//! Requests prepared once: a pipeline of equal commands, of which only the digits of the keys change.

use std::ops::Range;

/// Digits of a key; with its prefix it has 16 bytes.
const KEY_DIGITS: usize = 12;
/// What keys begin with.
const KEY_PREFIX: &[u8] = b"key:";

/// What the load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `GET key`
    Get,
    /// `SET key value`
    Set,
    /// `PING`
    Ping,
}

/// The name of key number `number`: 16 bytes.
pub fn key_name(number: u64) -> [u8; KEY_PREFIX.len() + KEY_DIGITS] {
    let mut name = [0; KEY_PREFIX.len() + KEY_DIGITS];
    name[..KEY_PREFIX.len()].copy_from_slice(KEY_PREFIX);
    write_digits(&mut name[KEY_PREFIX.len()..], number);
    name
}

/// Writes `number` in decimal, with leading zeros, over all of `place`.
fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A pipeline of one connection.
#[derive(Debug)]
pub(super) struct Pipeline {
    bytes: Vec<u8>,
    /// Where the first key's digits are; those of the others follow at every `command_bytes`.
    digits: Option<Range<usize>>,
    command_bytes: usize,
    random: u64,
    key_count: u64,
}

impl Pipeline {
    /// `depth` commands on keys that are drawn from `key_count` ones with `seed`.
    pub(super) fn new(command: Command, depth: usize, key_count: u64, value_bytes: usize, seed: u64) -> Self {
        let mut one = Vec::new();
        let mut digits = None;
        let bulk = |one: &mut Vec<u8>, bytes: &[u8]| {
            one.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
            one.extend_from_slice(bytes);
            one.extend_from_slice(b"\r\n");
        };
        match command {
            Command::Ping => one.extend_from_slice(b"*1\r\n$4\r\nPING\r\n"),
            Command::Get | Command::Set => {
                let set = command == Command::Set;
                one.extend_from_slice(if set { b"*3\r\n$3\r\nSET\r\n" } else { b"*2\r\n$3\r\nGET\r\n" });
                bulk(&mut one, &key_name(0));
                let digits_end = one.len() - 2;
                digits = Some(digits_end - KEY_DIGITS..digits_end);
                if set {
                    bulk(&mut one, &vec![b'v'; value_bytes]);
                }
            }
        }
        // An odd multiple of a large odd number is never zero, where xorshift would stay.
        let random = (2 * seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self { command_bytes: one.len(), bytes: one.repeat(depth), digits, random, key_count }
    }

    /// The bytes to send.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Draws new keys.
    pub(super) fn redraw(&mut self) {
        let Some(digits) = self.digits.clone() else { return };
        for one in self.bytes.chunks_exact_mut(self.command_bytes) {
            // xorshift64: the quality of the randomness does not matter, its cost does.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            write_digits(&mut one[digits.clone()], self.random % self.key_count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipeline_is_well_formed_and_changes_keys_only() {
        let mut pipeline = Pipeline::new(Command::Set, 2, 1000, 3, 1);
        let one = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$3\r\nvvv\r\n";
        assert_eq!(pipeline.bytes(), one.repeat(2).as_bytes());
        pipeline.redraw();
        let text = String::from_utf8(pipeline.bytes().to_vec()).unwrap();
        assert_ne!(text, one.repeat(2));
        assert_eq!(text.len(), 2 * one.len());
        assert_eq!(text.matches("key:000000000").count(), 2);
    }

    #[test]
    fn keys_have_sixteen_bytes() {
        assert_eq!(&key_name(42), b"key:000000000042");
    }
}

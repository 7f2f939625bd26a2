//! Requests prepared once: a pipeline of equal commands, of which only some digits change.

use std::ops::Range;

/// Digits of a number that is drawn; behind `key:` it makes a key of 16 bytes.
const DIGITS: usize = 12;
/// What keys begin with.
const KEY_PREFIX: &[u8] = b"key:";
/// Stands for a number in the words of a command.
const DRAWN: u8 = b'#';

/// A command to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    words: Vec<Vec<u8>>,
}

impl Command {
    /// The words of a line, split at blanks. Each `#` becomes a number of 12 digits, drawn anew for each command.
    pub fn new(line: &str) -> Self {
        Self { words: line.split(' ').map(|word| word.as_bytes().to_vec()).collect() }
    }

    /// Adds a word as it is.
    #[must_use]
    pub fn with(mut self, word: Vec<u8>) -> Self {
        self.words.push(word);
        self
    }

    /// `GET key`
    pub fn get() -> Self {
        Self::new("GET key:#")
    }

    /// `SET key value`
    pub fn set(value_bytes: usize) -> Self {
        Self::new("SET key:#").with(vec![b'v'; value_bytes])
    }

    /// `PING`
    pub fn ping() -> Self {
        Self::new("PING")
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.words.first().map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default()
    }

    /// As bytes on the wire, and where its numbers are.
    fn encode(&self) -> (Vec<u8>, Vec<Range<usize>>) {
        let mut bytes = format!("*{}\r\n", self.words.len()).into_bytes();
        let mut drawn = Vec::new();
        for word in &self.words {
            let numbers = word.split(|byte| *byte == DRAWN).count() - 1;
            let length = word.len() + numbers * (DIGITS - 1);
            bytes.extend_from_slice(format!("${length}\r\n").as_bytes());
            for &byte in word {
                if byte == DRAWN {
                    drawn.push(bytes.len()..bytes.len() + DIGITS);
                    bytes.extend_from_slice(&[b'0'; DIGITS]);
                } else {
                    bytes.push(byte);
                }
            }
            bytes.extend_from_slice(b"\r\n");
        }
        (bytes, drawn)
    }
}

/// The name of key number `number`: 16 bytes.
pub fn key_name(number: u64) -> [u8; KEY_PREFIX.len() + DIGITS] {
    let mut name = [0; KEY_PREFIX.len() + DIGITS];
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
    /// Where the numbers of the first command are; those of the others follow at every `command_bytes`.
    drawn: Vec<Range<usize>>,
    command_bytes: usize,
    random: u64,
    key_count: u64,
}

impl Pipeline {
    /// `depth` commands with numbers below `key_count`, drawn with `seed`.
    pub(super) fn new(command: &Command, depth: usize, key_count: u64, seed: u64) -> Self {
        let (one, drawn) = command.encode();
        // An odd multiple of a large odd number is never zero, where xorshift would stay.
        let random = (2 * seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self { command_bytes: one.len(), bytes: one.repeat(depth), drawn, random, key_count }
    }

    /// The bytes to send.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Draws new numbers.
    pub(super) fn redraw(&mut self) {
        if self.drawn.is_empty() {
            return;
        }
        for one in self.bytes.chunks_exact_mut(self.command_bytes) {
            for digits in &self.drawn {
                // xorshift64: the quality of the randomness does not matter, its cost does.
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                write_digits(&mut one[digits.clone()], self.random % self.key_count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipeline_is_well_formed_and_changes_keys_only() {
        let mut pipeline = Pipeline::new(&Command::set(3), 2, 1000, 1);
        let one = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$3\r\nvvv\r\n";
        assert_eq!(pipeline.bytes(), one.repeat(2).as_bytes());
        pipeline.redraw();
        let text = String::from_utf8(pipeline.bytes().to_vec()).unwrap();
        assert_ne!(text, one.repeat(2));
        assert_eq!(text.len(), 2 * one.len());
        assert_eq!(text.matches("key:000000000").count(), 2);
    }

    #[test]
    fn every_number_of_a_command_is_drawn() {
        let mut pipeline = Pipeline::new(&Command::new("MSET {a}:# # {b}:# v"), 1, 10, 7);
        let empty = "*5\r\n$4\r\nMSET\r\n$16\r\n{a}:000000000000\r\n$12\r\n000000000000\r\n$16\r\n{b}:000000000000\r\n$1\r\nv\r\n";
        assert_eq!(pipeline.bytes(), empty.as_bytes());
        let mut seen = [false; 3];
        for _ in 0..100 {
            pipeline.redraw();
            let text = String::from_utf8(pipeline.bytes().to_vec()).unwrap();
            let numbers = [
                text.find("{a}").unwrap() + 15,
                text.find("$12").unwrap() + 16,
                text.find("{b}").unwrap() + 15,
            ];
            for (seen, at) in seen.iter_mut().zip(numbers) {
                *seen |= text.as_bytes()[at] != b'0';
            }
        }
        assert_eq!(seen, [true; 3]);
    }

    #[test]
    fn keys_have_sixteen_bytes() {
        assert_eq!(&key_name(42), b"key:000000000042");
    }
}

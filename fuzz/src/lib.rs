//! What the fuzz targets share: files of a data directory in one input, and commands as lines of text.
//!
//! `fuzz/run` builds and runs them; `docs/testing.md` says how. A target must hold for every input: no panic, no endless work,
//! no memory out of proportion, and whatever else its first lines say.

use std::path::{Path, PathBuf};

use annulus_storage::disk::memory::MemoryDisk;
use annulus_tests::sim::server::DIRECTORY;

/// The most commands of one input.
pub const LINES_MAX: usize = 64;

/// Names that files of an input can have, by number.
const FILES: [&str; 12] = [
    "MANIFEST",
    "epoch-0001/shard-000/000000000001.log",
    "epoch-0001/shard-000/000000000002.log",
    "epoch-0001/shard-000/000000000003.log",
    "epoch-0001/shard-001/000000000001.log",
    "epoch-0001/shard-001/000000000002.log",
    "epoch-0001/shard-001/000000000003.log",
    "epoch-0001/shard-000/checkpoint-000000000001",
    "epoch-0001/shard-001/checkpoint-000000000001",
    "epoch-0002/shard-000/000000000001.log",
    "epoch-0002/shard-001/000000000001.log",
    "epoch-0002/shard-000/checkpoint-000000000001",
];

/// Files of an input: each is a number, a length of two bytes, and its bytes. What is cut off counts as far as it goes.
pub fn files(mut input: &[u8]) -> Vec<(PathBuf, &[u8])> {
    let mut files = Vec::new();
    while let Some((&[number, low, high], rest)) = input.split_first_chunk::<3>() {
        let (bytes, rest) = rest.split_at(usize::from(u16::from_le_bytes([low, high])).min(rest.len()));
        let name = FILES[usize::from(number) % FILES.len()];
        files.push((Path::new(DIRECTORY).join(name), bytes));
        input = rest;
    }
    files
}

/// The files of a disk as an input, each without the zeros at its end. Those with other names are left out.
pub fn input_of(disk: &MemoryDisk) -> Vec<u8> {
    let mut input = Vec::new();
    for (number, name) in FILES.iter().enumerate() {
        let Some(bytes) = disk.contents(&Path::new(DIRECTORY).join(name)) else { continue };
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let used = &bytes[..used.min(usize::from(u16::MAX))];
        input.push(number as u8);
        input.extend_from_slice(&(used.len() as u16).to_le_bytes());
        input.extend_from_slice(used);
    }
    input
}

/// The commands of an input: one a line, words apart by spaces; `"…"` holds spaces, `\xNN`, `\r` and `\n` are bytes.
pub fn commands(input: &[u8]) -> Vec<Vec<Vec<u8>>> {
    input.split(|byte| *byte == b'\n').take(LINES_MAX).map(words).filter(|words| !words.is_empty()).collect()
}

fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.iter().copied().peekable();
    while let Some(first) = bytes.next() {
        if first == b' ' {
            continue;
        }
        let quoted = first == b'"';
        let mut word = Vec::new();
        let mut next = if quoted { bytes.next() } else { Some(first) };
        while let Some(byte) = next {
            match byte {
                b'"' if quoted => break,
                b' ' if !quoted => break,
                b'\\' => word.push(escaped(&mut bytes)),
                byte => word.push(byte),
            }
            next = bytes.next();
        }
        words.push(word);
    }
    words
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> u8 {
    match bytes.next() {
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'x') => {
            let mut digit =
                || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).unwrap_or_default();
            (digit() * 16 + digit()) as u8
        }
        Some(other) => other,
        None => b'\\',
    }
}

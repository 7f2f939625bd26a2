//! Files of our own that come back, and files that are cut off, damaged or made to hurt.

use std::collections::BTreeMap;
use std::io::{self, Read};

use proptest::prelude::*;

use super::*;
use crate::rdb::crc64::crc64;
use crate::value::codec;
use crate::{DatabaseId, Value};

/// Gives a few bytes at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(buffer.len()).min(7);
        let (now, later) = self.0.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

type Found = BTreeMap<(u16, Vec<u8>), (Option<u64>, Vec<u8>)>;

#[derive(Default)]
struct Collect {
    found: Found,
    libraries: Vec<Vec<u8>>,
    unwanted: Option<&'static [u8]>,
}

impl Visitor for Collect {
    fn wants(&mut self, key: &FileKey<'_>) -> bool {
        self.unwanted != Some(key.key)
    }

    fn key(&mut self, key: &FileKey<'_>, value: &[u8]) -> Result<(), FileFault> {
        codec::decode(value).map_err(|_| FileFault::Malformed)?;
        let place = (key.database.0, key.key.to_vec());
        self.found.insert(place, (key.expire_at_ms, value.to_vec()));
        Ok(())
    }

    fn library(&mut self, text: &[u8]) -> Result<(), FileFault> {
        self.libraries.push(text.to_vec());
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Result<(Reading, Collect), FileError> {
    let mut collect = Collect::default();
    read_file(Drops(bytes), &mut collect).map(|reading| (reading, collect))
}

fn strings(keys: &[(u16, &str, Option<u64>, &str)]) -> Vec<u8> {
    let mut writer = FileWriter::new(Vec::new(), 10, &[("redis-ver", "7.0.0"), ("redis-bits", "64")]);
    writer.library(b"#!lua name=mine\n").expect("a vector takes all");
    for (database, key, expire_at_ms, value) in keys {
        writer.database(DatabaseId(*database), 1, expire_at_ms.is_some().into());
        let value = Value::String(value.as_bytes());
        assert!(writer.key(key.as_bytes(), *expire_at_ms, value).expect("a vector takes all"));
    }
    let (bytes, count) = writer.finish().expect("a vector takes all");
    assert_eq!(bytes.len() as u64, count);
    bytes
}

/// A file with items of a test's own, and the right checksum.
fn file(version: &str, items: &[u8]) -> Vec<u8> {
    let mut bytes = [b"REDIS", version.as_bytes(), items, &[opcode::END]].concat();
    bytes.extend(crc64(&bytes).to_le_bytes());
    bytes
}

fn fault(bytes: &[u8]) -> String {
    read(bytes).map(|(reading, _)| reading).expect_err("it is wrong").to_string()
}

#[test]
fn what_was_written_is_read() {
    let bytes = strings(&[(0, "a", None, "1"), (3, "b", Some(1234), "text"), (3, "empty", None, "")]);
    let (reading, collect) = read(&bytes).expect("our own file");
    assert_eq!(reading, Reading { version: 10, keys: 3, bytes: bytes.len() as u64, is_all: true });
    assert_eq!(collect.libraries, [b"#!lua name=mine\n"]);
    let (at, value) = &collect.found[&(3, b"b".to_vec())];
    assert_eq!(*at, Some(1234));
    assert_eq!(codec::decode(value).expect("a value").string(), Some(&b"text"[..]));
}

#[test]
fn a_value_that_is_not_wanted_is_passed_over() {
    let bytes = strings(&[(0, "a", None, "1"), (0, "b", None, "2")]);
    let mut collect = Collect { unwanted: Some(b"a"), ..Collect::default() };
    let reading = read_file(Drops(&bytes), &mut collect).expect("our own file");
    assert_eq!((reading.keys, collect.found.len()), (2, 1));
}

#[test]
fn what_follows_a_file_is_not_its_own() {
    let mut bytes = strings(&[]);
    let len = bytes.len() as u64;
    bytes.extend(b"*1\r\n$4\r\nPING\r\n");
    let (reading, _) = read(&bytes).expect("our own file");
    assert_eq!((reading.bytes, reading.is_all), (len, false));
}

#[test]
fn a_file_that_is_cut_off_is_refused_wherever_that_is() {
    let bytes = strings(&[(0, "a", Some(99), "1"), (3, "b", None, "some text")]);
    for len in 0..bytes.len() {
        let text = fault(&bytes[..len]);
        let expected = if len < 9 { "no RDB file" } else { "cut off" };
        assert!(text.contains(expected), "{len} bytes: {text}");
    }
}

#[test]
fn a_flipped_bit_is_found() {
    let bytes = strings(&[(0, "a", Some(99), "1"), (3, "b", None, "some text")]);
    // Behind the version: a version that is understood too is none the wiser.
    for at in 9..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            read(&damaged).map(|(reading, _)| reading).expect_err("it is damaged");
        }
    }
}

#[test]
fn what_is_not_understood_is_named_with_its_place() {
    assert!(fault(b"").contains("no RDB file"));
    assert!(fault(b"REDIS").contains("no RDB file"));
    assert!(fault(b"ANNULUS-0001").contains("no RDB file"));
    assert_eq!(
        fault(&file("0099", &[])),
        "offset 0: an RDB file of version 99: versions up to 12 are understood"
    );
    assert_eq!(fault(&file("0010", &[201, 1, b'k'])), "offset 9: an item of unknown kind 201");
    // The number of a module as Redis writes it: nine letters of six bits, and a version of ten.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = b"ReJSON-RL".iter().fold(0_u64, |id, letter| {
        id << 6 | letters.iter().position(|it| it == letter).expect("a letter") as u64
    }) << 10
        | 3;
    let id = [&[0x81][..], &number.to_be_bytes()].concat();
    let json = file("0010", &[&[7, 1, b'k'][..], &id].concat());
    assert_eq!(
        fault(&json),
        "offset 9: data of the module type \"ReJSON-RL\", and there are no modules here"
    );
    let note = file("0010", &[&[250, 1, b'a', 1, b'b', 247][..], &id].concat());
    assert!(fault(&note).starts_with("offset 14: data of the module type \"ReJSON-RL\""));
    assert!(fault(&file("0012", &[22, 1, b'k', 0])).contains("release candidate"));
    assert!(fault(&file("0010", &[254, 0x80, 0, 1, 0, 0])).contains("database 65536"));
    assert!(fault(&file("0010", &[4, 1, b'k', 0])).contains("the value (of type 4) is malformed"));
}

#[test]
fn huge_lengths_ask_for_no_memory() {
    let huge = [0x81, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for kind in [0, 1, 2, 3, 4, 5, 10, 14, 15, 18, 19, 21, 24] {
        for prefix in [&[kind, 1, b'k'][..], &[kind]] {
            let text = fault(&file("0012", &[prefix, &huge].concat()));
            assert!(text.starts_with("offset 9: "), "{text}");
        }
    }
    // A compressed string that claims to be much more than it can be.
    let bomb = [&[0, 1, b'k', 0xc3, 3][..], &huge, &[0x20, 0, 0]].concat();
    assert!(fault(&file("0010", &bomb)).contains("is malformed"));
}

#[test]
fn versions_before_checksums_and_files_without_one_are_read() {
    let old = b"REDIS0003\xfe\x00\xfd\x01\x00\x00\x00\x00\x01k\x01v\xff";
    let (reading, collect) = read(old).expect("an old file");
    assert_eq!((reading.keys, reading.is_all), (1, true));
    assert_eq!(collect.found[&(0, b"k".to_vec())].0, Some(1000));
    let mut unchecked = strings(&[(0, "a", None, "1")]);
    let len = unchecked.len();
    unchecked[len - 8..].fill(0);
    assert_eq!(read(&unchecked).expect("nobody made a checksum").0.keys, 1);
}

proptest! {
    #[test]
    fn any_bytes_are_a_file_or_a_fault(items in prop::collection::vec(any::<u8>(), 0..60), kind in 0_u8..30) {
        let _ = read(&file("0012", &items));
        let _ = read(&file("0012", &[&[kind, 1, b'k'][..], &items].concat()));
    }
}

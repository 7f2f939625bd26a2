//! What may happen to the files of a stopped server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use annulus_tests::random::Random;

const SECTOR_BYTES: usize = 512;
const BLOCK_BYTES: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// One bit is another.
    Bit,
    /// A few bytes are others.
    Bytes,
    /// A sector or some blocks are zeros.
    Zeros,
    /// A sector or some blocks are anything.
    Garbage,
    /// Two sectors or blocks have changed places, also between files.
    Swap,
    /// A sector or block has got the contents of another, as a write that went elsewhere.
    Misdirected,
    /// The end of a file is missing.
    Truncated,
    /// A file goes on.
    Longer,
    /// A file is missing.
    Removed,
    /// Two files have each other's contents.
    Exchanged,
    /// A file has the contents of another.
    Replaced,
    /// A directory is missing.
    RemovedDirectory,
}

impl Kind {
    pub(super) const ALL: [Kind; 12] = [
        Kind::Bit,
        Kind::Bytes,
        Kind::Zeros,
        Kind::Garbage,
        Kind::Swap,
        Kind::Misdirected,
        Kind::Truncated,
        Kind::Longer,
        Kind::Removed,
        Kind::Exchanged,
        Kind::Replaced,
        Kind::RemovedDirectory,
    ];
}

/// What was done, for messages and to undo it.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) kind: Kind,
    /// Relative to the data directory.
    paths: Vec<PathBuf>,
    #[expect(dead_code, reason = "for messages")]
    place: String,
}

impl Damage {
    /// Puts back what the original has.
    pub(super) fn undo(&self, original: &Path, copy: &Path) {
        for path in &self.paths {
            let (from, to) = (original.join(path), copy.join(path));
            if from.is_dir() {
                super::copy_directory(&from, &to);
            } else {
                fs::copy(&from, &to).expect("a file can be copied");
            }
        }
    }
}

/// Damages the directory, mostly once.
pub(super) fn inflict(data: &Path, kinds: &[Kind], random: &mut Random) -> Vec<Damage> {
    let mut all: Vec<Damage> = Vec::new();
    let count = if random.one_in(5) { 2 } else { 1 };
    while all.len() < count {
        let kind = kinds[random.below(kinds.len())];
        // Where the newest segment and all that were prepared behind it are gone, nothing says that they were there: the known gap of
        // `docs/fault-model.md`.
        let removes = |kind: Kind| {
            matches!(kind, Kind::Removed | Kind::RemovedDirectory | Kind::Replaced | Kind::Exchanged)
        };
        if removes(kind) && all.iter().any(|before| removes(before.kind)) {
            continue;
        }
        if let Some((paths, place)) = inflict_one(data, kind, random) {
            let paths =
                paths.iter().map(|path| path.strip_prefix(data).expect("it lies there").to_path_buf());
            all.push(Damage { kind, paths: paths.collect(), place });
        }
    }
    all
}

fn files(directory: &Path, found: &mut Vec<PathBuf>, directories: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            files(&path, found, directories);
            directories.push(path);
        } else {
            found.push(path);
        }
    }
    found.sort();
    directories.sort();
}

/// Some file, mostly one that matters.
fn some_file(data: &Path, random: &mut Random) -> PathBuf {
    let (mut all, mut directories) = (Vec::new(), Vec::new());
    files(data, &mut all, &mut directories);
    let named = |start: &str| {
        let starts =
            |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
        all.iter().filter(starts).cloned().collect::<Vec<_>>()
    };
    let some = match random.below(8) {
        0 => named("MANIFEST"),
        1 | 2 => named("checkpoint-"),
        3 => all.clone(),
        // In use or prepared.
        _ => named("0"),
    };
    let some = if some.is_empty() { all } else { some };
    some[random.below(some.len())].clone()
}

/// A place in a file, mostly in what is used of it.
fn some_place(bytes: &[u8], random: &mut Random) -> Option<usize> {
    let used = bytes.iter().rposition(|&byte| byte != 0)? + 1;
    let frames = || memchr::memmem::find_iter(bytes, b"ANFR").collect::<Vec<_>>();
    match random.below(8) {
        0 => Some(random.below(bytes.len())),
        // A segment's own header.
        1 => Some(random.below(used.min(96))),
        2 | 3 => {
            let frames = frames();
            let frame = if frames.is_empty() { 0 } else { frames[random.below(frames.len())] };
            Some((frame + random.below(80)).min(used - 1))
        }
        _ => Some(random.below(used)),
    }
}

type Done = (Vec<PathBuf>, String);

fn inflict_one(data: &Path, kind: Kind, random: &mut Random) -> Option<Done> {
    match kind {
        Kind::RemovedDirectory => {
            let (mut all, mut directories) = (Vec::new(), Vec::new());
            files(data, &mut all, &mut directories);
            let path = directories[random.below(directories.len())].clone();
            fs::remove_dir_all(&path).expect("a directory can be removed");
            Some((vec![path], String::new()))
        }
        Kind::Swap | Kind::Misdirected => between_places(data, kind, random),
        Kind::Exchanged | Kind::Replaced => between_files(data, kind, random),
        _ => {
            let path = some_file(data, random);
            let place = in_file(&path, kind, random)?;
            Some((vec![path], place))
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a file can be read")
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file can be written");
}

/// A range of whole sectors or blocks around a place.
fn stretch(at: usize, end: usize, random: &mut Random) -> (usize, usize) {
    let (unit, units) = if random.one_in(2) { (SECTOR_BYTES, 1) } else { (BLOCK_BYTES, 1 + random.below(3)) };
    let from = at / unit * unit;
    (from, (from + unit * units).min(end))
}

fn in_file(path: &Path, kind: Kind, random: &mut Random) -> Option<String> {
    let mut bytes = read(path);
    let place = match kind {
        Kind::Removed => {
            fs::remove_file(path).expect("a file can be removed");
            return Some(String::new());
        }
        Kind::Longer => {
            let more = if random.one_in(2) { BLOCK_BYTES } else { 1 + random.below(BLOCK_BYTES) };
            bytes.extend((0..more).map(|_| random.bits() as u8));
            format!("by {more} bytes")
        }
        Kind::Truncated => {
            let length = random.below(bytes.len().max(1));
            let length = match random.below(4) {
                0 => 0,
                1 => length / BLOCK_BYTES * BLOCK_BYTES,
                _ => length,
            };
            bytes.truncate(length);
            format!("to {length} bytes")
        }
        Kind::Bit => {
            let at = some_place(&bytes, random)?;
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} at {at}")
        }
        Kind::Bytes => {
            let at = some_place(&bytes, random)?;
            let end = (at + 1 + random.below(64)).min(bytes.len());
            bytes[at..end].fill_with(|| random.bits() as u8);
            format!("{at}..{end}")
        }
        _ => {
            let at = some_place(&bytes, random)?;
            let (from, to) = stretch(at, bytes.len(), random);
            let garbage = kind == Kind::Garbage;
            bytes[from..to].fill_with(|| if garbage { random.bits() as u8 } else { 0 });
            format!("{from}..{to}")
        }
    };
    write(path, &bytes);
    Some(place)
}

fn between_places(data: &Path, kind: Kind, random: &mut Random) -> Option<Done> {
    let one = some_file(data, random);
    let other = if random.one_in(2) { one.clone() } else { some_file(data, random) };
    let unit = if random.one_in(2) { SECTOR_BYTES } else { BLOCK_BYTES };
    let mut place = |path: &Path| {
        let at = some_place(&read(path), random)? / unit * unit;
        Some((at, read(path).get(at..at + unit)?.to_vec()))
    };
    let ((from, one_bytes), (to, other_bytes)) = (place(&one)?, place(&other)?);
    let put = |path: &Path, at: usize, new: &[u8]| {
        let mut bytes = read(path);
        bytes[at..at + unit].copy_from_slice(new);
        write(path, &bytes);
    };
    put(&other, to, &one_bytes);
    if kind == Kind::Swap {
        put(&one, from, &other_bytes);
    }
    Some((vec![one, other], format!("{unit} bytes at {from} and at {to}")))
}

fn between_files(data: &Path, kind: Kind, random: &mut Random) -> Option<Done> {
    let (one, other) = (some_file(data, random), some_file(data, random));
    if one == other {
        return None;
    }
    let (one_bytes, other_bytes) = (read(&one), read(&other));
    // A segment as it was before its first use, in the place of the newest in use: the known gap of `docs/fault-model.md`.
    let blank = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    if kind == Kind::Replaced && blank(&one_bytes) && !blank(&other_bytes) {
        return None;
    }
    write(&other, &one_bytes);
    if kind == Kind::Exchanged {
        write(&one, &other_bytes);
    }
    Some((vec![one, other], String::new()))
}

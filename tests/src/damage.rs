//! What may happen to the files of a stopped server: to those of a real directory, and to those on a disk in memory.

pub mod workload;

use std::fs;
use std::path::{Path, PathBuf};

use annulus_storage::disk::memory::MemoryDisk;

use crate::random::Random;

const SECTOR_BYTES: usize = 512;
const BLOCK_BYTES: usize = 4096;

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
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
    /// All of them.
    pub const ALL: [Kind; 12] = [
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

/// The files that are damaged.
pub trait Files {
    /// Files, and directories below this one, in order.
    fn list(&self, directory: &Path) -> (Vec<PathBuf>, Vec<PathBuf>);
    /// The bytes of a file.
    fn read(&self, path: &Path) -> Vec<u8>;
    /// Gives a file, which may have to be made, these bytes.
    fn write(&mut self, path: &Path, bytes: &[u8]);
    /// Removes a file, or a directory with all that is in it.
    fn remove(&mut self, path: &Path);
    /// Makes a directory, if it isn't there.
    fn make_directory(&mut self, path: &Path);
}

/// Those of the system.
#[derive(Debug)]
pub struct RealFiles;

impl Files for RealFiles {
    fn list(&self, directory: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(directory).expect("a directory can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                let (inner, below) = self.list(&path);
                files.extend(inner);
                directories.extend(below);
                directories.push(path);
            } else {
                files.push(path);
            }
        }
        files.sort();
        directories.sort();
        (files, directories)
    }

    fn read(&self, path: &Path) -> Vec<u8> {
        fs::read(path).expect("a file can be read")
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).expect("a file can be written");
    }

    fn remove(&mut self, path: &Path) {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.expect("it can be removed");
    }

    fn make_directory(&mut self, path: &Path) {
        fs::create_dir_all(path).expect("a directory can be made");
    }
}

impl Files for MemoryDisk {
    fn list(&self, directory: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let below = self.paths().into_iter().filter(|path| path.starts_with(directory) && path != directory);
        below.partition(|path| self.contents(path).is_some())
    }

    fn read(&self, path: &Path) -> Vec<u8> {
        self.contents(path).expect("the file is there")
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) {
        self.put(path, bytes);
    }

    fn remove(&mut self, path: &Path) {
        self.take_away(path);
    }

    fn make_directory(&mut self, path: &Path) {
        self.put_directory(path);
    }
}

/// What was done, for messages and to undo it.
#[derive(Debug)]
pub struct Damage {
    /// How.
    pub kind: Kind,
    /// Relative to the data directory.
    pub paths: Vec<PathBuf>,
    /// Where in them, in words.
    pub place: String,
}

impl Damage {
    /// Puts back what the original has.
    pub fn undo<F: Files, G: Files>(&self, (original, from): (&F, &Path), (copy, to): (&mut G, &Path)) {
        let (files, directories) = original.list(from);
        let below = |all: Vec<PathBuf>| -> Vec<PathBuf> {
            let all = all.into_iter().filter_map(|path| Some(path.strip_prefix(from).ok()?.to_path_buf()));
            all.filter(|path| self.paths.iter().any(|damaged| path.starts_with(damaged))).collect()
        };
        for path in below(directories) {
            copy.make_directory(&to.join(path));
        }
        for path in below(files) {
            copy.write(&to.join(&path), &original.read(&from.join(&path)));
        }
    }
}

/// Damages the directory, mostly once.
pub fn inflict<F: Files>(files: &mut F, data: &Path, kinds: &[Kind], random: &mut Random) -> Vec<Damage> {
    inflict_on(files, data, kinds, &|_| true, random)
}

/// Damages some of the files in the directory, mostly once.
pub fn inflict_on<F: Files>(
    files: &mut F,
    data: &Path,
    kinds: &[Kind],
    which: &dyn Fn(&Path) -> bool,
    random: &mut Random,
) -> Vec<Damage> {
    let mut all: Vec<Damage> = Vec::new();
    let count = if random.one_in(5) { 2 } else { 1 };
    for _ in 0..100 {
        if all.len() == count {
            break;
        }
        let kind = kinds[random.below(kinds.len())];
        // Where the newest segment and all that were prepared behind it are gone, nothing says that they were there: the known gap of
        // `docs/fault-model.md`.
        let removes = |kind: Kind| {
            matches!(kind, Kind::Removed | Kind::RemovedDirectory | Kind::Replaced | Kind::Exchanged)
        };
        if removes(kind) && all.iter().any(|before| removes(before.kind)) {
            continue;
        }
        if let Some((paths, place)) = (Inflictor { files, data, which }).inflict(kind, random) {
            let paths =
                paths.iter().map(|path| path.strip_prefix(data).expect("it lies there").to_path_buf());
            all.push(Damage { kind, paths: paths.collect(), place });
        }
    }
    all
}

/// A place in a file, mostly in what is used of it.
fn some_place(bytes: &[u8], random: &mut Random) -> Option<usize> {
    let used = bytes.iter().rposition(|&byte| byte != 0)? + 1;
    let frames =
        || (0..used).step_by(SECTOR_BYTES).filter(|at| bytes[*at..].starts_with(b"ANFR")).collect::<Vec<_>>();
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

/// A range of whole sectors or blocks around a place.
fn stretch(at: usize, end: usize, random: &mut Random) -> (usize, usize) {
    let (unit, units) = if random.one_in(2) { (SECTOR_BYTES, 1) } else { (BLOCK_BYTES, 1 + random.below(3)) };
    let from = at / unit * unit;
    (from, (from + unit * units).min(end))
}

struct Inflictor<'a, F> {
    files: &'a mut F,
    data: &'a Path,
    which: &'a dyn Fn(&Path) -> bool,
}

impl<F: Files> Inflictor<'_, F> {
    fn inflict(&mut self, kind: Kind, random: &mut Random) -> Option<Done> {
        match kind {
            Kind::RemovedDirectory => {
                let (files, directories) = self.files.list(self.data);
                let path = directories.get(random.below(directories.len().max(1)))?.clone();
                if !files.iter().filter(|file| file.starts_with(&path)).all(|file| (self.which)(file)) {
                    return None;
                }
                self.files.remove(&path);
                Some((vec![path], String::new()))
            }
            Kind::Swap | Kind::Misdirected => self.between_places(kind, random),
            Kind::Exchanged | Kind::Replaced => self.between_files(kind, random),
            _ => {
                let path = self.some_file(random)?;
                let place = self.in_file(&path, kind, random)?;
                Some((vec![path], place))
            }
        }
    }

    /// Some file, mostly one that matters.
    fn some_file(&self, random: &mut Random) -> Option<PathBuf> {
        let (mut all, _) = self.files.list(self.data);
        all.retain(|path| (self.which)(path));
        let named = |start: &str| {
            let starts = |path: &&PathBuf| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
            };
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
        some.get(random.below(some.len().max(1))).cloned()
    }

    fn in_file(&mut self, path: &Path, kind: Kind, random: &mut Random) -> Option<String> {
        let mut bytes = self.files.read(path);
        let place = match kind {
            Kind::Removed => {
                self.files.remove(path);
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
        self.files.write(path, &bytes);
        Some(place)
    }

    fn between_places(&mut self, kind: Kind, random: &mut Random) -> Option<Done> {
        let one = self.some_file(random)?;
        let other = if random.one_in(2) { one.clone() } else { self.some_file(random)? };
        let unit = if random.one_in(2) { SECTOR_BYTES } else { BLOCK_BYTES };
        let mut place = |path: &Path| {
            let bytes = self.files.read(path);
            let at = some_place(&bytes, random)? / unit * unit;
            Some((at, bytes.get(at..at + unit)?.to_vec()))
        };
        let ((from, one_bytes), (to, other_bytes)) = (place(&one)?, place(&other)?);
        let mut put = |path: &Path, at: usize, new: &[u8]| {
            let mut bytes = self.files.read(path);
            bytes[at..at + unit].copy_from_slice(new);
            self.files.write(path, &bytes);
        };
        put(&other, to, &one_bytes);
        if kind == Kind::Swap {
            put(&one, from, &other_bytes);
        }
        Some((vec![one, other], format!("{unit} bytes at {from} and at {to}")))
    }

    fn between_files(&mut self, kind: Kind, random: &mut Random) -> Option<Done> {
        let (one, other) = (self.some_file(random)?, self.some_file(random)?);
        if one == other {
            return None;
        }
        let (one_bytes, other_bytes) = (self.files.read(&one), self.files.read(&other));
        // A segment as it was before its first use, in the place of the newest in use: the known gap of `docs/fault-model.md`.
        let blank = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        if kind == Kind::Replaced && blank(&one_bytes) && !blank(&other_bytes) {
            return None;
        }
        self.files.write(&other, &one_bytes);
        if kind == Kind::Exchanged {
            self.files.write(&one, &other_bytes);
        }
        Some((vec![one, other], String::new()))
    }
}

/// Whether a refusal says where in a file, or what of a file, it is about.
pub fn names_place(text: &str) -> bool {
    let places = [
        "offset",
        "missing",
        "does not belong",
        "bytes, it was made with",
        "no checkpoint",
        "no MANIFEST",
        "MANIFEST is damaged",
    ];
    places.iter().any(|words| text.contains(words))
}

//! A whole disk in memory, for tests: it can be copied as a crash would leave it, and told to fail.
//!
//! It keeps, beside what a reader sees, what is on stable storage: the durable bytes of each file and the durable names. A
//! write without a sync, and a name without a directory sync, is seen at once and survives a crash only if the
//! test's [`CrashChoice`] says so.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::{DirectoryEntry, Disk, LockError, OpenMode, WriteSync};
use crate::buffer::AlignedBuffer;

/// What a disk writes as a whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// An operation that can be told to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named as the methods of the disk")]
pub enum Operation {
    Open,
    Read,
    Write,
    Sync,
    Allocate,
    Rename,
    ListDir,
    SyncDir,
}

/// What becomes of something that was not yet durable when the power went.
pub trait CrashChoice {
    /// Whether a sector that was written without a sync got to the disk. `index` counts all such sectors.
    fn sector_survives(&mut self, index: usize) -> bool;
    /// Whether the names in a directory are the new ones.
    fn names_survive(&mut self, directory: &Path) -> bool;
}

/// Only what is durable survives.
#[derive(Clone, Copy, Debug)]
pub struct NothingSurvives;

impl CrashChoice for NothingSurvives {
    fn sector_survives(&mut self, _index: usize) -> bool {
        false
    }
    fn names_survive(&mut self, _directory: &Path) -> bool {
        false
    }
}

/// Everything survives, as when only the process died.
#[derive(Clone, Copy, Debug)]
pub struct EverythingSurvives;

impl CrashChoice for EverythingSurvives {
    fn sector_survives(&mut self, _index: usize) -> bool {
        true
    }
    fn names_survive(&mut self, _directory: &Path) -> bool {
        true
    }
}

#[derive(Clone, Debug, Default)]
struct FileData {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors in which the two may differ.
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug, Default)]
struct State {
    files: Vec<FileData>,
    /// Path to file; directories have none.
    names: BTreeMap<PathBuf, Option<usize>>,
    durable_names: BTreeMap<PathBuf, Option<usize>>,
    locks: BTreeSet<PathBuf>,
    /// Operations to let pass before one fails, and with what.
    failures: BTreeMap<Operation, (u64, i32)>,
    short_write: Option<usize>,
    space_bytes: Option<u64>,
    operations: u64,
}

/// The disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Rc<RefCell<State>>,
}

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryFile(usize);

/// A held lock.
#[derive(Debug)]
pub struct MemoryLock {
    path: PathBuf,
    state: Rc<RefCell<State>>,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.state.borrow_mut().locks.remove(&self.path);
    }
}

impl MemoryDisk {
    /// An empty disk with a root directory.
    pub fn new() -> Self {
        let disk = Self::default();
        {
            let mut state = disk.state.borrow_mut();
            state.names.insert(PathBuf::from("/"), None);
            state.durable_names.insert(PathBuf::from("/"), None);
        }
        disk
    }

    /// A disk of its own that holds what a crash at this moment leaves on this one. Nobody holds a lock there, and nothing
    /// fails.
    #[must_use]
    pub fn crash_copy(&self, choice: &mut impl CrashChoice) -> Self {
        let state = self.state.borrow();
        let mut names = BTreeMap::new();
        let directories = state.names.iter().chain(&state.durable_names).filter(|(_, file)| file.is_none());
        let directories: BTreeSet<&PathBuf> = directories.map(|(path, _)| path).collect();
        for directory in directories {
            let source = if choice.names_survive(directory) { &state.names } else { &state.durable_names };
            let inside = source.iter().filter(|(path, _)| path.parent() == Some(directory));
            names.extend(inside.map(|(path, file)| (path.clone(), *file)));
        }
        names.insert(PathBuf::from("/"), None);
        let mut counted = 0;
        let files = state.files.iter().map(|file| crashed(file, choice, &mut counted)).collect();
        let copy = State { files, durable_names: names.clone(), names, ..State::default() };
        Self { state: Rc::new(RefCell::new(copy)) }
    }

    /// Writes sectors past everything, durably: a part of a write that a crash caught.
    ///
    /// # Panics
    /// When there's no such file, or `offset` is inside a sector.
    pub fn write_sectors(
        &self,
        path: &Path,
        offset: u64,
        bytes: &[u8],
        mut survives: impl FnMut(usize) -> bool,
    ) {
        assert!(offset.is_multiple_of(SECTOR_BYTES as u64), "writes begin at a sector");
        let mut state = self.state.borrow_mut();
        let file = state.file_at(path).expect("the file exists");
        let file = &mut state.files[file];
        for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            if survives(index) {
                let at = offset as usize + index * SECTOR_BYTES;
                write_into(&mut file.seen, at, sector);
                write_into(&mut file.durable, at, sector);
            }
        }
    }

    /// Changes the bytes of a file past everything: what a bad disk does.
    ///
    /// # Panics
    /// When there's no such file.
    pub fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.borrow_mut();
        let file = state.file_at(path).expect("the file exists");
        let file = &mut state.files[file];
        change(&mut file.seen);
        file.durable = file.seen.clone();
        file.dirty.clear();
    }

    /// The bytes of a file.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.borrow();
        Some(state.files[state.file_at(path)?].seen.clone())
    }

    /// Creates a file with these bytes, durably.
    ///
    /// # Panics
    /// When the directory doesn't exist.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        let parent = path.parent().expect("a file is in a directory");
        assert!(state.names.contains_key(parent), "no directory {}", parent.display());
        let file = FileData { seen: bytes.to_vec(), durable: bytes.to_vec(), dirty: BTreeSet::new() };
        let id = state.files.len();
        state.files.push(file);
        state.names.insert(path.to_path_buf(), Some(id));
        state.durable_names.insert(path.to_path_buf(), Some(id));
    }

    /// Makes a directory, durably, if it isn't there.
    pub fn put_directory(&self, path: &Path) {
        let mut state = self.state.borrow_mut();
        state.names.insert(path.to_path_buf(), None);
        state.durable_names.insert(path.to_path_buf(), None);
    }

    /// Takes a file, or a directory with all that is in it, away past everything.
    pub fn take_away(&self, path: &Path) {
        let mut state = self.state.borrow_mut();
        state.names.retain(|name, _| !name.starts_with(path));
        state.durable_names.retain(|name, _| !name.starts_with(path));
    }

    /// All paths, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state.borrow().names.keys().cloned().collect()
    }

    /// Whether a path names this file.
    pub fn is_file(&self, path: &Path, file: MemoryFile) -> bool {
        self.state.borrow().file_at(path) == Some(file.0)
    }

    /// Lets `passing` operations of a kind pass and then fails one with this error number.
    pub fn fail(&self, operation: Operation, passing: u64, error_number: i32) {
        self.state.borrow_mut().failures.insert(operation, (passing, error_number));
    }

    /// The next write writes only so much.
    pub fn shorten_next_write(&self, bytes: usize) {
        self.state.borrow_mut().short_write = Some(bytes);
    }

    /// Takes back what [`Self::fail`] has ordered and has not happened.
    pub fn forget_failures(&self) {
        self.state.borrow_mut().failures.clear();
    }

    /// Files together may have so many bytes; what exceeds it fails with `ENOSPC`. `None` lifts it.
    pub fn limit_space(&self, bytes: Option<u64>) {
        self.state.borrow_mut().space_bytes = bytes;
    }

    /// Operations so far: a test that wants to crash at each of them counts them first.
    pub fn operations(&self) -> u64 {
        self.state.borrow().operations
    }

    fn begin(&self, operation: Operation) -> io::Result<std::cell::RefMut<'_, State>> {
        let mut state = self.state.borrow_mut();
        state.operations += 1;
        match state.failures.remove(&operation) {
            Some((0, error_number)) => return Err(io::Error::from_raw_os_error(error_number)),
            Some((passing, error_number)) => {
                state.failures.insert(operation, (passing - 1, error_number));
            }
            None => {}
        }
        Ok(state)
    }
}

fn crashed(file: &FileData, choice: &mut impl CrashChoice, counted: &mut usize) -> FileData {
    let mut bytes = file.durable.clone();
    for &sector in &file.dirty {
        let survives = choice.sector_survives(*counted);
        *counted += 1;
        let from = sector * SECTOR_BYTES;
        let to = (from + SECTOR_BYTES).min(file.seen.len());
        if survives && from < to {
            write_into(&mut bytes, from, &file.seen[from..to]);
        }
    }
    FileData { seen: bytes.clone(), durable: bytes, dirty: BTreeSet::new() }
}

fn write_into(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    if bytes.len() < at + new.len() {
        bytes.resize(at + new.len(), 0);
    }
    bytes[at..at + new.len()].copy_from_slice(new);
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl State {
    fn file_at(&self, path: &Path) -> Option<usize> {
        self.names.get(path).copied().flatten()
    }

    /// Fails when growing a file from `old` to `new` bytes exceeds the disk.
    fn grow(&self, old: usize, new: usize) -> io::Result<()> {
        let used: u64 = self.files.iter().map(|file| file.seen.len() as u64).sum();
        match self.space_bytes {
            Some(space) if new > old && used + (new - old) as u64 > space => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;
    type Lock = MemoryLock;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<MemoryFile> {
        let mut state = self.begin(Operation::Open)?;
        if let Some(file) = state.file_at(path) {
            return Ok(MemoryFile(file));
        }
        let parent = path.parent().is_some_and(|parent| state.names.get(parent) == Some(&None));
        if !mode.create || !parent {
            return Err(not_found(path));
        }
        let id = state.files.len();
        state.files.push(FileData::default());
        state.names.insert(path.to_path_buf(), Some(id));
        Ok(MemoryFile(id))
    }

    async fn read_at(
        &self,
        file: &MemoryFile,
        mut buffer: AlignedBuffer,
        offset: u64,
        len: usize,
    ) -> (io::Result<usize>, AlignedBuffer) {
        let state = match self.begin(Operation::Read) {
            Ok(state) => state,
            Err(error) => return (Err(error), buffer),
        };
        let seen = &state.files[file.0].seen;
        let from = (offset as usize).min(seen.len());
        let to = (from + len).min(seen.len());
        buffer[..to - from].copy_from_slice(&seen[from..to]);
        drop(state);
        (Ok(to - from), buffer)
    }

    async fn write_at(
        &self,
        file: &MemoryFile,
        buffer: AlignedBuffer,
        offset: u64,
        len: usize,
        sync: WriteSync,
    ) -> (io::Result<usize>, AlignedBuffer) {
        let mut state = match self.begin(Operation::Write) {
            Ok(state) => state,
            Err(error) => return (Err(error), buffer),
        };
        let len = state.short_write.take().map_or(len, |short| short.min(len));
        let at = offset as usize;
        if let Err(error) = state.grow(state.files[file.0].seen.len(), at + len) {
            return (Err(error), buffer);
        }
        let data = &mut state.files[file.0];
        write_into(&mut data.seen, at, &buffer[..len]);
        match sync {
            WriteSync::DataSync => write_into(&mut data.durable, at, &buffer[..len]),
            WriteSync::None => data.dirty.extend(at / SECTOR_BYTES..(at + len).div_ceil(SECTOR_BYTES)),
        }
        drop(state);
        (Ok(len), buffer)
    }

    async fn sync(&self, file: &MemoryFile) -> io::Result<()> {
        let mut state = self.begin(Operation::Sync)?;
        let data = &mut state.files[file.0];
        data.durable = data.seen.clone();
        data.dirty.clear();
        Ok(())
    }

    async fn len(&self, file: &MemoryFile) -> io::Result<u64> {
        Ok(self.state.borrow().files[file.0].seen.len() as u64)
    }

    async fn allocate(&self, file: &MemoryFile, bytes: u64) -> io::Result<()> {
        let mut state = self.begin(Operation::Allocate)?;
        let old = state.files[file.0].seen.len();
        state.grow(old, bytes as usize)?;
        state.files[file.0].seen.resize(old.max(bytes as usize), 0);
        Ok(())
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Rename)?;
        let file = state.names.remove(from).ok_or_else(|| not_found(from))?;
        state.names.insert(to.to_path_buf(), file);
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.state.borrow_mut().names.remove(path).map(drop).ok_or_else(|| not_found(path))
    }

    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        if path.parent().is_none_or(|parent| state.names.get(parent) != Some(&None)) {
            return Err(not_found(path));
        }
        state.names.entry(path.to_path_buf()).or_insert(None);
        Ok(())
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let state = self.begin(Operation::ListDir)?;
        if state.names.get(path) != Some(&None) {
            return Err(not_found(path));
        }
        let inside = state.names.iter().filter(|(name, _)| name.parent() == Some(path));
        Ok(inside
            .filter_map(|(name, file)| {
                let name = name.file_name()?.to_string_lossy().into_owned();
                Some(DirectoryEntry { name, is_directory: file.is_none() })
            })
            .collect())
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::SyncDir)?;
        state.durable_names.retain(|name, _| name.parent() != Some(path));
        let inside: Vec<_> = state.names.iter().filter(|(name, _)| name.parent() == Some(path)).collect();
        let inside: Vec<_> = inside.into_iter().map(|(name, file)| (name.clone(), *file)).collect();
        state.durable_names.extend(inside);
        Ok(())
    }

    async fn lock(&self, path: &Path) -> Result<MemoryLock, LockError> {
        let held = !self.state.borrow_mut().locks.insert(path.to_path_buf());
        if held {
            return Err(LockError::Held { holder_pid: Some(std::process::id()) });
        }
        let lock = MemoryLock { path: path.to_path_buf(), state: self.state.clone() };
        self.open(path, OpenMode::CREATE).await?;
        Ok(lock)
    }

    async fn alignment(&self, _file: &MemoryFile) -> io::Result<usize> {
        Ok(SECTOR_BYTES)
    }

    async fn pause(&self, _duration: Duration) {}
}

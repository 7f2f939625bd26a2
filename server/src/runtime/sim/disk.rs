//! The virtual disk's operations, and what a power cut makes of those under way.

use std::io;
use std::path::{Path, PathBuf};

use annulus_storage::AlignedBuffer;
use annulus_storage::disk::blocking::run_ready;
use annulus_storage::disk::memory::{
    CrashChoice, EverythingSurvives, MemoryDisk, MemoryFile, NothingSurvives, SECTOR_BYTES,
};
use annulus_storage::disk::{Disk, OpenMode, WriteSync};

use super::super::driver::{DiskOp, DiskResult, DiskToken};
use super::super::file::FileId;
use super::World;
use super::faults::{CrashStyle, Faults, Luck};

/// What a handle of this disk stands for.
#[derive(Clone, Debug)]
pub(super) enum Opened {
    File(MemoryFile),
    Directory(PathBuf),
}

/// The disk as [`super::super::RuntimeDisk`] sees it, for what is done on the spot.
#[derive(Clone, Debug)]
pub struct SimDisk {
    world: World,
    memory: MemoryDisk,
}

impl SimDisk {
    pub(super) fn new(world: World, memory: MemoryDisk) -> Self {
        SimDisk { world, memory }
    }

    pub(in super::super) fn memory(&self) -> &MemoryDisk {
        &self.memory
    }

    pub(in super::super) fn len(&self, file: &FileId) -> io::Result<u64> {
        match self.world.state.borrow().files.of(file)? {
            Opened::File(file) => run_ready(self.memory.len(&file)),
            Opened::Directory(_) => Err(bad_handle()),
        }
    }

    pub(in super::super) fn directory(&self, path: &Path) -> FileId {
        self.world.state.borrow_mut().files.add(Opened::Directory(path.to_owned()))
    }
}

fn bad_handle() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

fn input_output() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

/// Open files by the numbers in their handles.
#[derive(Debug, Default)]
pub(super) struct Files {
    opened: Vec<Opened>,
}

impl Files {
    fn add(&mut self, opened: Opened) -> FileId {
        self.opened.push(opened);
        FileId::simulated(self.opened.len() as u32 - 1)
    }

    fn of(&self, file: &FileId) -> io::Result<Opened> {
        let number = file.simulated_number().ok_or_else(bad_handle)?;
        self.opened.get(number as usize).cloned().ok_or_else(bad_handle)
    }

    /// A crash closes all.
    pub(super) fn clear(&mut self) {
        self.opened.clear();
    }
}

/// Does an operation, or fails it as the faults have it.
pub(super) fn perform(
    memory: &MemoryDisk,
    files: &mut Files,
    faults: &Faults,
    random: &mut Luck,
    token: DiskToken,
    op: DiskOp,
) -> DiskResult {
    match op {
        DiskOp::Open { path, mode } => DiskResult::Opened(open(memory, files, faults, random, &path, mode)),
        DiskOp::Read { file, buffer, offset, len } => match files.of(&file) {
            Ok(Opened::File(file)) => {
                let fails = random.happens("read fails or ends early", faults.read_error);
                let short = fails && random.below(2) == 0;
                let (result, buffer) = run_ready(memory.read_at(&file, buffer, offset, len));
                match result {
                    Ok(read) if short => DiskResult::Transferred(Ok(read / 2), buffer),
                    Ok(_) if fails => DiskResult::Transferred(Err(input_output()), buffer),
                    result => DiskResult::Transferred(result, buffer),
                }
            }
            _ => DiskResult::Transferred(Err(bad_handle()), buffer),
        },
        DiskOp::Write { file, buffer, offset, len, sync } => match files.of(&file) {
            Ok(Opened::File(file)) => write(memory, faults, random, token, (file, buffer, offset, len, sync)),
            _ => DiskResult::Transferred(Err(bad_handle()), buffer),
        },
        _ if random.happens("file operation fails", faults.file_error) => {
            DiskResult::Done(Err(input_output()))
        }
        DiskOp::Sync { .. } if faults.planted.skip_sync => DiskResult::Done(Ok(())),
        DiskOp::Sync { file } => DiskResult::Done(match files.of(&file) {
            Ok(Opened::File(file)) => run_ready(memory.sync(&file)),
            Ok(Opened::Directory(path)) => run_ready(memory.sync_dir(&path)),
            Err(error) => Err(error),
        }),
        DiskOp::Allocate { file, bytes } => DiskResult::Done(match files.of(&file) {
            Ok(Opened::File(file)) => run_ready(memory.allocate(&file, bytes)),
            _ => Err(bad_handle()),
        }),
        DiskOp::Rename { from, to } => DiskResult::Done(run_ready(memory.rename(&from, &to))),
        DiskOp::Remove { path } => DiskResult::Done(run_ready(memory.remove(&path))),
    }
}

fn open(
    memory: &MemoryDisk,
    files: &mut Files,
    faults: &Faults,
    random: &mut Luck,
    path: &Path,
    mode: OpenMode,
) -> io::Result<FileId> {
    if random.happens("file operation fails", faults.file_error) {
        return Err(input_output());
    }
    Ok(files.add(Opened::File(run_ready(memory.open(path, mode))?)))
}

fn write(
    memory: &MemoryDisk,
    faults: &Faults,
    random: &mut Luck,
    token: DiskToken,
    (file, buffer, offset, len, sync): (MemoryFile, AlignedBuffer, u64, usize, WriteSync),
) -> DiskResult {
    let (fails, short) = match token {
        DiskToken::Commit(_) => (
            random.happens("log write fails", faults.write_error),
            random.happens("log write ends early", faults.short_write),
        ),
        DiskToken::Task(_) => (random.happens("file operation fails", faults.file_error), false),
    };
    if fails {
        tear(memory, random, file, offset, &buffer[..len]);
        return DiskResult::Transferred(Err(input_output()), buffer);
    }
    let sectors = (len / SECTOR_BYTES) as u64;
    let len = if short { random.below(sectors) as usize * SECTOR_BYTES } else { len };
    let (result, buffer) = run_ready(memory.write_at(&file, buffer, offset, len, sync));
    DiskResult::Transferred(result, buffer)
}

/// Leaves any part of a write on the disk.
fn tear(memory: &MemoryDisk, random: &mut Luck, file: MemoryFile, offset: u64, bytes: &[u8]) {
    let Some(path) = memory.paths().into_iter().find(|path| memory.is_file(path, file)) else { return };
    if !offset.is_multiple_of(SECTOR_BYTES as u64) {
        return;
    }
    match random.below(4) {
        0 => random.note("caught write leaves nothing"),
        1 => {
            random.note("caught write leaves all");
            memory.write_sectors(&path, offset, bytes, |_| true);
        }
        2 => {
            random.note("caught write leaves a beginning");
            let whole = random.below(1 + bytes.len() as u64 / SECTOR_BYTES as u64) as usize;
            memory.write_sectors(&path, offset, bytes, |sector| sector < whole);
        }
        _ => {
            random.note("caught write leaves any sectors");
            memory.write_sectors(&path, offset, bytes, |_| random.below(2) == 0);
        }
    }
}

/// A write that the power cut catches.
pub(super) fn catch(memory: &MemoryDisk, files: &Files, random: &mut Luck, op: &DiskOp) {
    if let DiskOp::Write { file, buffer, offset, len, .. } = op
        && let Ok(Opened::File(file)) = files.of(file)
    {
        tear(memory, random, file, *offset, &buffer[..*len]);
    }
}

struct Random<'a>(&'a mut Luck);

impl CrashChoice for Random<'_> {
    fn sector_survives(&mut self, _index: usize) -> bool {
        self.0.below(2) == 0
    }
    fn names_survive(&mut self, _directory: &Path) -> bool {
        self.0.below(2) == 0
    }
}

/// What a crash leaves of everything that was written and not synced.
pub(super) fn after_crash(memory: &MemoryDisk, random: &mut Luck, style: CrashStyle) -> MemoryDisk {
    match style {
        CrashStyle::Nothing => {
            random.note("crash: nothing unsynced survives");
            memory.crash_copy(&mut NothingSurvives)
        }
        CrashStyle::Everything => {
            random.note("crash: the process dies, all survives");
            memory.crash_copy(&mut EverythingSurvives)
        }
        CrashStyle::Anything => {
            random.note("crash: any of the unsynced survives");
            memory.crash_copy(&mut Random(random))
        }
    }
}

//! The disk by plain system calls, for offline tools and tests: every future is ready when first polled.

use std::future::Future;
use std::io::{self, IoSlice, Read, Write};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, AtFlags, FallocateFlags, FlockOperation, Mode, OFlags, RenameFlags, StatxFlags};
use rustix::io::{Errno, ReadWriteFlags, pread, pwritev2};

use super::{DirectoryEntry, Disk, LockError, OpenMode, WriteSync};
use crate::buffer::AlignedBuffer;

/// The file systems of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdDisk;

/// A lock on a file; given back when dropped.
#[derive(Debug)]
pub struct StdLock {
    _file: OwnedFd,
}

/// Runs a future over a disk whose operations are ready at once.
///
/// # Panics
/// When the future waits for something after all.
pub fn run_ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a blocking disk's futures are ready at once"),
    }
}

/// A file from the front to the back, for what reads or writes without knowing of disks.
#[derive(Debug)]
pub struct Sequential {
    file: Rc<OwnedFd>,
    offset: u64,
}

impl Sequential {
    /// A file that [`StdDisk`] has opened, from some byte on.
    pub fn new(file: Rc<OwnedFd>, offset: u64) -> Self {
        Self { file, offset }
    }
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = pread(&self.file, buffer, self.offset)?;
        self.offset += bytes as u64;
        Ok(bytes)
    }
}

impl Write for Sequential {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = ReadWriteFlags::empty();
        let bytes = pwritev2(&self.file, &[IoSlice::new(bytes)], self.offset, flags)?;
        self.offset += bytes as u64;
        Ok(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What offline tools do with whole directories, beyond what a [`Disk`] does.
impl StdDisk {
    /// Gives a file a second name.
    pub fn link(from: &Path, to: &Path) -> io::Result<()> {
        Ok(fs::link(from, to)?)
    }

    /// Exchanges two names, at one moment where the file system can; else there's a moment without the first of them.
    pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
        match fs::renameat_with(fs::CWD, one, fs::CWD, other, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                let mut aside = one.as_os_str().to_owned();
                aside.push(".old");
                fs::rename(one, &aside)?;
                fs::rename(other, one)?;
                Ok(fs::rename(&aside, other)?)
            }
            exchanged => Ok(exchanged?),
        }
    }

    /// Removes a directory with everything in it.
    pub fn remove_tree(path: &Path) -> io::Result<()> {
        for entry in run_ready(Self.list_dir(path))? {
            let inner = path.join(&entry.name);
            if entry.is_directory {
                Self::remove_tree(&inner)?;
            } else {
                fs::unlink(&inner)?;
            }
        }
        Ok(fs::unlinkat(fs::CWD, path, AtFlags::REMOVEDIR)?)
    }
}

impl Disk for StdDisk {
    type File = Rc<OwnedFd>;
    type Lock = StdLock;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File> {
        let access = match (mode.read, mode.write) {
            (_, false) => OFlags::RDONLY,
            (false, true) => OFlags::WRONLY,
            (true, true) => OFlags::RDWR,
        };
        let create = if mode.create { OFlags::CREATE } else { OFlags::empty() };
        let flags = access | create | OFlags::CLOEXEC;
        let permissions = Mode::from_raw_mode(0o640);
        if mode.direct {
            match fs::open(path, flags | OFlags::DIRECT, permissions) {
                // A file system without direct I/O.
                Err(Errno::INVAL) => {}
                other => return Ok(Rc::new(other?)),
            }
        }
        Ok(Rc::new(fs::open(path, flags, permissions)?))
    }

    async fn read_at(
        &self,
        file: &Self::File,
        mut buffer: AlignedBuffer,
        offset: u64,
        len: usize,
    ) -> (io::Result<usize>, AlignedBuffer) {
        let mut done = 0;
        while done < len {
            match pread(file, &mut buffer[done..len], offset + done as u64) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(Errno::INTR) => {}
                // The odd end of a file, which direct I/O has no way to ask beyond.
                Err(Errno::INVAL) if done > 0 => break,
                Err(error) => return (Err(error.into()), buffer),
            }
        }
        (Ok(done), buffer)
    }

    async fn write_at(
        &self,
        file: &Self::File,
        buffer: AlignedBuffer,
        offset: u64,
        len: usize,
        sync: WriteSync,
    ) -> (io::Result<usize>, AlignedBuffer) {
        let flags = match sync {
            WriteSync::None => ReadWriteFlags::empty(),
            WriteSync::DataSync => ReadWriteFlags::DSYNC,
        };
        let mut done = 0;
        while done < len {
            match pwritev2(file, &[IoSlice::new(&buffer[done..len])], offset + done as u64, flags) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(Errno::INTR) => {}
                Err(error) => return (Err(error.into()), buffer),
            }
        }
        (Ok(done), buffer)
    }

    async fn sync(&self, file: &Self::File) -> io::Result<()> {
        Ok(fs::fsync(file)?)
    }

    async fn len(&self, file: &Self::File) -> io::Result<u64> {
        Ok(u64::try_from(fs::fstat(file)?.st_size).unwrap_or(0))
    }

    async fn allocate(&self, file: &Self::File, bytes: u64) -> io::Result<()> {
        match fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
            other => Ok(other?),
        }
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(fs::rename(from, to)?)
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        Ok(fs::unlink(path)?)
    }

    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::mkdir(path, Mode::from_raw_mode(0o750)) {
            Err(Errno::EXIST) => Ok(()),
            other => Ok(other?),
        }
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let mut entries = std::fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                Ok(DirectoryEntry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    is_directory: entry.file_type()?.is_dir(),
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        Ok(entries)
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let directory = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(fs::fsync(&directory)?)
    }

    async fn lock(&self, path: &Path) -> Result<StdLock, LockError> {
        lock_file(path)
    }

    async fn alignment(&self, file: &Self::File) -> io::Result<usize> {
        direct_alignment(file)
    }

    /// Nobody else has a use for the time of an offline tool.
    async fn pause(&self, _duration: Duration) {}
}

/// Takes the lock: `flock`, and our process id in the file for whoever comes second.
pub(super) fn lock_file(path: &Path) -> Result<StdLock, LockError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = fs::open(path, flags, Mode::from_raw_mode(0o640)).map_err(io::Error::from)?;
    match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = [0; 16];
            let bytes = pread(&file, &mut text, 0).unwrap_or(0);
            let pid = std::str::from_utf8(text.get(..bytes).unwrap_or_default());
            return Err(LockError::Held { holder_pid: pid.ok().and_then(|pid| pid.trim().parse().ok()) });
        }
        Err(error) => return Err(LockError::Io(error.into())),
    }
    // The number is for whoever finds the lock held; a disk without room for it is no reason not to start.
    let mut line = Vec::with_capacity(16);
    writeln!(line, "{}", std::process::id())?;
    if fs::ftruncate(&file, 0).is_ok() {
        let _ = pwritev2(&file, &[IoSlice::new(&line)], 0, ReadWriteFlags::empty());
    }
    Ok(StdLock { _file: file })
}

/// What direct I/O on the file asks for by `statx` (Linux 6.1); where that isn't known, the block size of the file system.
pub fn direct_alignment(file: impl AsFd) -> io::Result<usize> {
    let file = file.as_fd();
    match fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Ok(stat) if stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0 => {
            let asked = stat.stx_dio_mem_align.max(stat.stx_dio_offset_align);
            Ok((asked as usize).max(1))
        }
        Ok(_) | Err(Errno::NOSYS) => Ok(usize::try_from(fs::fstat(file)?.st_blksize).unwrap_or(4096)),
        Err(error) => Err(error.into()),
    }
}

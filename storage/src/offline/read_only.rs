//! A disk that nothing can be changed on.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::buffer::AlignedBuffer;
use crate::disk::{DirectoryEntry, Disk, LockError, OpenMode, Reading, WriteSync};

/// Reads pass through. Files are opened for reading whatever was asked for; writes and syncs, such as recovery makes behind a torn
/// end, do nothing and claim that they did, and so do renamings; making and removing fails.
#[derive(Debug)]
pub struct ReadOnly<'d, D> {
    disk: &'d D,
    pace: Option<&'d Pace>,
}

/// How fast something is read in the background, and how far that has come. Who looks on may change it at any time.
#[derive(Debug, Default)]
pub struct Pace {
    /// Bytes a second at most; 0 is no limit.
    pub bandwidth: Cell<u64>,
    /// It is to end: reads fail from now on.
    pub stopped: Cell<bool>,
    /// Bytes read so far.
    pub read_bytes: Cell<u64>,
    /// Bytes that there are to read, when that is known.
    pub total_bytes: Cell<u64>,
}

impl<'d, D> ReadOnly<'d, D> {
    /// As fast as the disk can.
    pub const fn new(disk: &'d D) -> Self {
        Self { disk, pace: None }
    }

    /// In small pieces, with rests between them.
    pub const fn paced(disk: &'d D, pace: &'d Pace) -> Self {
        Self { disk, pace: Some(pace) }
    }
}

impl Pace {
    /// How long to rest for a read of this length.
    fn rest(&self, len: usize) -> Option<Duration> {
        let ns = (len as u64 * 1_000_000_000).checked_div(self.bandwidth.get())?;
        Some(Duration::from_nanos(ns))
    }
}

impl<D: Disk> Disk for ReadOnly<'_, D> {
    type File = D::File;
    type Lock = D::Lock;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<D::File> {
        self.disk.open(path, OpenMode { read: true, write: false, create: false, direct: mode.direct }).await
    }
    async fn read_at(
        &self,
        file: &D::File,
        buffer: AlignedBuffer,
        offset: u64,
        len: usize,
    ) -> (io::Result<usize>, AlignedBuffer) {
        let Some(pace) = self.pace else { return self.disk.read_at(file, buffer, offset, len).await };
        if let Some(rest) = pace.rest(len) {
            self.disk.pause(rest).await;
        }
        if pace.stopped.get() {
            return (Err(io::ErrorKind::Interrupted.into()), buffer);
        }
        let (read, buffer) = self.disk.read_at(file, buffer, offset, len).await;
        pace.read_bytes.update(|bytes| bytes + *read.as_ref().unwrap_or(&0) as u64);
        (read, buffer)
    }
    async fn write_at(
        &self,
        _: &D::File,
        buffer: AlignedBuffer,
        _: u64,
        len: usize,
        _: WriteSync,
    ) -> (io::Result<usize>, AlignedBuffer) {
        (Ok(len), buffer)
    }
    async fn sync(&self, _: &D::File) -> io::Result<()> {
        Ok(())
    }
    async fn len(&self, file: &D::File) -> io::Result<u64> {
        self.disk.len(file).await
    }
    async fn allocate(&self, _: &D::File, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    /// What recovery does last, when it has read everything: nothing is read by the new name.
    async fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }
    async fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    async fn create_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.disk.list_dir(path).await
    }
    async fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    async fn lock(&self, path: &Path) -> Result<D::Lock, LockError> {
        self.disk.lock(path).await
    }
    async fn alignment(&self, file: &D::File) -> io::Result<usize> {
        self.disk.alignment(file).await
    }
    fn reading(&self) -> Reading {
        if self.pace.is_some() { Reading::GENTLE } else { self.disk.reading() }
    }
    async fn pause(&self, duration: Duration) {
        self.disk.pause(duration).await;
    }
}

//! A disk that nothing can be changed on.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::buffer::AlignedBuffer;
use crate::disk::{DirectoryEntry, Disk, LockError, OpenMode, WriteSync};

/// Reads pass through. Files are opened for reading whatever was asked for; writes and syncs, such as recovery makes behind a torn
/// end, do nothing and claim that they did; what changes names fails.
#[derive(Debug)]
pub struct ReadOnly<'d, D>(pub &'d D);

impl<D: Disk> Disk for ReadOnly<'_, D> {
    type File = D::File;
    type Lock = D::Lock;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<D::File> {
        self.0.open(path, OpenMode { read: true, write: false, create: false, direct: mode.direct }).await
    }
    async fn read_at(
        &self,
        file: &D::File,
        buffer: AlignedBuffer,
        offset: u64,
        len: usize,
    ) -> (io::Result<usize>, AlignedBuffer) {
        self.0.read_at(file, buffer, offset, len).await
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
        self.0.len(file).await
    }
    async fn allocate(&self, _: &D::File, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    async fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    async fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    async fn create_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.0.list_dir(path).await
    }
    async fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    async fn lock(&self, path: &Path) -> Result<D::Lock, LockError> {
        self.0.lock(path).await
    }
    async fn alignment(&self, file: &D::File) -> io::Result<usize> {
        self.0.alignment(file).await
    }
    async fn pause(&self, duration: Duration) {
        self.0.pause(duration).await;
    }
}

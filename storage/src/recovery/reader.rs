//! Reading a segment from front to end, with several reads in flight.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;

use crate::buffer::{AlignedBuffer, BUFFER_ALIGNMENT};
use crate::disk::{Disk, OpenMode, Reading};

type Outcome = (io::Result<usize>, AlignedBuffer);

enum Read<'d> {
    Running(Pin<Box<dyn Future<Output = Outcome> + 'd>>),
    Done(Outcome),
}

/// The bytes of a file as a window that moves forward.
pub(crate) struct SegmentReader<'d, D: Disk> {
    disk: &'d D,
    file: D::File,
    file_bytes: u64,
    reading: Reading,
    /// Where the next read begins.
    next_read: u64,
    reads: VecDeque<Read<'d>>,
    pool: Vec<AlignedBuffer>,
    window: Vec<u8>,
    /// Where the window begins in the file.
    window_at: u64,
}

impl<'d, D: Disk> SegmentReader<'d, D> {
    /// A reader from `from` on, rounded down to what direct I/O can read at.
    pub(crate) fn new(disk: &'d D, file: D::File, file_bytes: u64, from: u64) -> Self {
        let from = from - from % BUFFER_ALIGNMENT as u64;
        let reading = disk.reading();
        Self {
            disk,
            file,
            file_bytes,
            reading,
            next_read: from,
            reads: VecDeque::with_capacity(reading.ahead),
            pool: Vec::new(),
            window: Vec::new(),
            window_at: from,
        }
    }

    /// The bytes from `offset` on: at least `len` of them, or all up to the end of the file. `offset` never decreases.
    pub(crate) async fn bytes_at(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        assert!(offset >= self.window_at, "a segment is read forward");
        let wanted = offset.saturating_add(len as u64).min(self.file_bytes);
        while self.window_end() < wanted {
            let behind = (offset - self.window_at).min(self.window.len() as u64);
            self.window.drain(..behind as usize);
            self.window_at += behind;
            self.take_piece().await?;
        }
        let from = ((offset - self.window_at) as usize).min(self.window.len());
        Ok(self.window.get(from..).unwrap_or_default())
    }

    fn window_end(&self) -> u64 {
        self.window_at + self.window.len() as u64
    }

    async fn take_piece(&mut self) -> io::Result<()> {
        let Reading { piece_bytes, ahead } = self.reading;
        while self.reads.len() < ahead && self.next_read < self.file_bytes {
            let rest = usize::try_from(self.file_bytes - self.next_read).unwrap_or(piece_bytes);
            let len = rest.next_multiple_of(BUFFER_ALIGNMENT).min(piece_bytes);
            let buffer = self.pool.pop().unwrap_or_else(|| AlignedBuffer::new(len));
            let (disk, file, offset) = (self.disk, self.file.clone(), self.next_read);
            let read = async move { disk.read_at(&file, buffer, offset, len).await };
            self.reads.push_back(Read::Running(Box::pin(read)));
            self.next_read += piece_bytes as u64;
        }
        let (result, buffer) = self.first_read().await;
        let expected = (self.file_bytes - self.window_end()).min(piece_bytes as u64) as usize;
        let read = result?;
        if read < expected {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.window.extend_from_slice(buffer.get(..expected).unwrap_or_default());
        self.pool.push(buffer);
        Ok(())
    }

    /// The outcome of the first read; the others make progress meanwhile.
    async fn first_read(&mut self) -> Outcome {
        poll_fn(|context| {
            for read in &mut self.reads {
                if let Read::Running(future) = read
                    && let Poll::Ready(outcome) = future.as_mut().poll(context)
                {
                    *read = Read::Done(outcome);
                }
            }
            match self.reads.pop_front() {
                Some(Read::Done(outcome)) => Poll::Ready(outcome),
                Some(running) => {
                    self.reads.push_front(running);
                    Poll::Pending
                }
                None => unreachable!("a piece is awaited only before the end of the file"),
            }
        })
        .await
    }
}

/// The first bytes of a file, fewer if it is shorter.
pub(crate) async fn read_front<D: Disk>(disk: &D, path: &Path, len: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::READ_DIRECT).await?;
    let (read, buffer) = disk.read_at(&file, AlignedBuffer::new(len), 0, len).await;
    Ok(buffer.get(..read?).unwrap_or_default().to_vec())
}

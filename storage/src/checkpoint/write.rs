//! From slices to a file.
//!
//! [`Imaging`] is the shard's end: it takes slices, cuts them into blocks and hands those to a [`BlockPipe`]. [`write_checkpoint`] is the
//! task at the other end, and [`publish_checkpoint`] gives the file its name.
//!
//! What a crash leaves, by step: `checkpoint.new` with anything in it, which nobody reads; after the renaming, a whole checkpoint
//! beside the one before it.

use std::io;
use std::path::PathBuf;

use super::files::{UNFINISHED_NAME, checkpoint_name, numbers};
use super::format::{
    BLOCK_HEADER_BYTES, BlockHeader, CheckpointHeader, FLAG_LAST, FLAG_SLICE_END, HEADER_BYTES, seal_block,
};
use super::limits::BLOCK_BYTES_MAX;
use super::pipe::Block;
use super::retention::yield_space;
use super::{BlockPipe, Place, Slice, WalkOptions};
use crate::buffer::{AlignedBuffer, BUFFER_ALIGNMENT};
use crate::disk::{Disk, OpenMode, WriteSync};
use crate::{Log, Lsn, Store};

/// What the task needs to write a checkpoint.
#[derive(Clone, Debug)]
pub struct CheckpointRequest {
    /// The shard's directory.
    pub directory: PathBuf,
    /// What the file begins with.
    pub header: CheckpointHeader,
    /// The checkpoint that a start would go on from until this one has its name: it's not written over. 0: none.
    pub keeps: u64,
}

/// A checkpoint that is on stable storage, without a name yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the file that are part of it.
    pub bytes: u64,
    /// Retained segments that were removed, since the disk was full.
    pub yielded: u64,
}

/// Where [`Imaging::advance`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It could go on at once.
    More,
    /// It waits for the disk, or for a transaction that has yet to enter the log.
    Waiting,
    /// It cannot go on: abandon it, and begin again.
    Spoiled,
    /// All is handed over. The checkpoint may get its name when the log is durable up to this effect.
    Done(Lsn),
}

/// The shard's end of a checkpoint that is being taken.
#[derive(Debug)]
pub struct Imaging {
    pipe: BlockPipe,
    number: u64,
    seed: u32,
    /// Checksum of what comes before the next block.
    chain: u32,
    blocks: u64,
    /// The slice that is being cut up.
    slice: Slice,
    payload: Vec<u8>,
    /// How much of `payload` is in blocks; the whole, and the end of the slice was told: it is cut up.
    cut: usize,
    is_cut: bool,
    records: u64,
}

impl Imaging {
    /// Begins a checkpoint: the request is for [`write_checkpoint`], together with the pipe. It keeps the checkpoint before it.
    pub fn begin<F: Clone>(
        store: &mut Store<Log<F>>,
        number: u64,
        options: WalkOptions,
    ) -> (Self, CheckpointRequest) {
        let directory = store.sink().directory().to_path_buf();
        let identity = store.sink().identity();
        let incarnation = store.sink().incarnation();
        let start = store.begin_image(options);
        let header = CheckpointHeader {
            identity,
            incarnation,
            number,
            from: start.from,
            hash_seed: start.hash_seed,
            hash_check: start.hash_check,
            unix_ms: start.unix_ms,
            transaction: store.sink().greatest_transaction(),
        };
        let imaging = Self {
            pipe: BlockPipe::default(),
            number,
            seed: identity.checksum_seed(),
            chain: header.encode(&mut AlignedBuffer::new(HEADER_BYTES)),
            blocks: 0,
            slice: Slice { as_of: start.from, until: Place::default(), records: 0, done: false },
            payload: Vec::new(),
            cut: 0,
            is_cut: true,
            records: 0,
        };
        (imaging, CheckpointRequest { directory, header, keeps: number.saturating_sub(1) })
    }

    /// The pipe to the task.
    pub fn pipe(&self) -> &BlockPipe {
        &self.pipe
    }

    /// Memory in use.
    pub fn memory_bytes(&self) -> usize {
        self.pipe.memory_bytes() + self.payload.capacity()
    }

    /// Records so far.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Takes one slice, if there is a buffer for it. To be called between commands.
    pub fn advance<F: Clone>(&mut self, store: &mut Store<Log<F>>) -> Progress {
        if self.is_cut {
            if self.slice.done {
                return self.finish();
            }
            if !self.pipe.has_room() {
                return Progress::Waiting;
            }
            self.payload.clear();
            if store.is_image_spoiled() {
                return Progress::Spoiled;
            }
            let Some(slice) = store.take_slice(&mut self.payload) else { return Progress::Waiting };
            self.slice = slice;
            self.records += u64::from(self.slice.records);
            (self.cut, self.is_cut) = (0, false);
        }
        self.cut_slice();
        match (self.is_cut, self.slice.done) {
            (true, true) => self.finish(),
            (true, false) if self.pipe.has_room() => Progress::More,
            _ => Progress::Waiting,
        }
    }

    fn cut_slice(&mut self) {
        while !self.is_cut {
            let Some(buffer) = self.pipe.take_empty() else { return };
            let rest = self.payload.len() - self.cut;
            let bytes = rest.min(BLOCK_BYTES_MAX - BLOCK_HEADER_BYTES);
            let piece = self.cut..self.cut + bytes;
            self.cut += bytes;
            self.is_cut = self.cut == self.payload.len();
            let flags = if self.is_cut { FLAG_SLICE_END } else { 0 };
            self.push_block(buffer, flags, |imaging| &imaging.payload[piece]);
        }
    }

    /// The last block, when there is a buffer for it.
    fn finish(&mut self) -> Progress {
        let Some(buffer) = self.pipe.take_empty() else { return Progress::Waiting };
        self.payload = self.records.to_le_bytes().to_vec();
        self.push_block(buffer, FLAG_LAST, |imaging| &imaging.payload);
        self.pipe.end();
        Progress::Done(self.slice.as_of)
    }

    fn push_block(&mut self, mut buffer: AlignedBuffer, flags: u32, payload: impl FnOnce(&Self) -> &[u8]) {
        let payload = payload(self);
        let end = BLOCK_HEADER_BYTES + payload.len();
        let block_bytes = end.next_multiple_of(BUFFER_ALIGNMENT);
        buffer[BLOCK_HEADER_BYTES..end].copy_from_slice(payload);
        buffer[end..block_bytes].fill(0);
        let header = BlockHeader {
            previous: self.chain,
            block_bytes,
            payload_bytes: payload.len(),
            flags,
            number: self.number,
            as_of: self.slice.as_of,
            until: self.slice.until,
            records: self.slice.records,
            index: self.blocks,
        };
        self.chain = seal_block(&mut buffer[..block_bytes], &header, self.seed);
        self.blocks += 1;
        self.pipe.push(Block { buffer, len: block_bytes });
    }
}

/// Writes what comes through the pipe to a file, which has no name that recovery looks at. When it returns all of it is on
/// stable storage.
pub async fn write_checkpoint<D: Disk>(
    disk: &D,
    request: &CheckpointRequest,
    pipe: &BlockPipe,
) -> io::Result<Written> {
    let written = write_blocks(disk, request, pipe).await;
    if matches!(&written, Err(error) if error.kind() != io::ErrorKind::Interrupted) {
        // The disk may be full, and the log needs the space more.
        let _ = remove_unfinished(disk, request).await;
    }
    written
}

async fn write_blocks<D: Disk>(
    disk: &D,
    request: &CheckpointRequest,
    pipe: &BlockPipe,
) -> io::Result<Written> {
    let unfinished = request.directory.join(UNFINISHED_NAME);
    let entries = disk.list_dir(&request.directory).await?;
    let superfluous = numbers(&entries).into_iter().find(|number| *number != request.keeps);
    if let (Some(number), true) = (superfluous, entries.iter().all(|entry| entry.name != UNFINISHED_NAME)) {
        // One that the newest has replaced, or a damaged one. Its blocks have been written before, so writing them is cheap.
        disk.rename(&request.directory.join(checkpoint_name(number)), &unfinished).await?;
        disk.sync_dir(&request.directory).await?;
    }
    let file = disk.open(&unfinished, OpenMode::CREATE_DIRECT).await?;
    let mut first = AlignedBuffer::new(HEADER_BYTES);
    request.header.encode(&mut first);
    let mut yielded = 0;
    write_yielding(disk, request, &file, (first, HEADER_BYTES), 0, &mut yielded).await?;
    let mut offset = HEADER_BYTES as u64;
    while let Some(Block { buffer, len }) = pipe.next().await {
        let buffer = write_yielding(disk, request, &file, (buffer, len), offset, &mut yielded).await?;
        pipe.recycle(buffer);
        offset += len as u64;
        let pause = pipe.pause();
        if !pause.is_zero() {
            disk.pause(pause).await;
        }
    }
    if pipe.is_abandoned() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    disk.sync(&file).await?;
    Ok(Written { bytes: offset, yielded })
}

/// Writes a block; while the disk is full what is retained gives way.
async fn write_yielding<D: Disk>(
    disk: &D,
    request: &CheckpointRequest,
    file: &D::File,
    (mut buffer, len): (AlignedBuffer, usize),
    offset: u64,
    yielded: &mut u64,
) -> io::Result<AlignedBuffer> {
    loop {
        let (written, same) = disk.write_at(file, buffer, offset, len, WriteSync::None).await;
        buffer = same;
        let error = match written {
            Ok(written) if written == len => return Ok(buffer),
            Ok(_) => not_whole(),
            Err(error) => error,
        };
        let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::WriteZero);
        if !is_full || !yield_space(disk, &request.directory).await? {
            return Err(error);
        }
        *yielded += 1;
    }
}

fn not_whole() -> io::Error {
    io::Error::new(io::ErrorKind::WriteZero, "a checkpoint could not be written whole")
}

/// Writes a checkpoint of a store that nobody else uses meanwhile. Returns the request for [`publish_checkpoint`], and how many
/// records it has.
pub async fn write_checkpoint_at_once<D: Disk>(
    disk: &D,
    store: &mut Store<Log<D::File>>,
    number: u64,
    options: WalkOptions,
) -> io::Result<(CheckpointRequest, Written, u64)> {
    let (mut imaging, request) = Imaging::begin(store, number, options);
    let unfinished = request.directory.join(UNFINISHED_NAME);
    let file = disk.open(&unfinished, OpenMode::CREATE_DIRECT).await?;
    let mut first = AlignedBuffer::new(HEADER_BYTES);
    request.header.encode(&mut first);
    write_whole(disk, &file, first, 0, HEADER_BYTES).await?;
    let mut offset = HEADER_BYTES as u64;
    loop {
        let progress = imaging.advance(store);
        while let Some(Block { buffer, len }) = imaging.pipe().try_next() {
            let buffer = write_whole(disk, &file, buffer, offset, len).await?;
            imaging.pipe().recycle(buffer);
            offset += len as u64;
        }
        if let Progress::Done(_) = progress {
            break;
        }
    }
    disk.sync(&file).await?;
    Ok((request, Written { bytes: offset, yielded: 0 }, imaging.records()))
}

async fn write_whole<D: Disk>(
    disk: &D,
    file: &D::File,
    buffer: AlignedBuffer,
    offset: u64,
    len: usize,
) -> io::Result<AlignedBuffer> {
    let (written, buffer) = disk.write_at(file, buffer, offset, len, WriteSync::None).await;
    if written? == len { Ok(buffer) } else { Err(not_whole()) }
}

/// Removes a written checkpoint that gets no name.
pub async fn remove_unfinished<D: Disk>(disk: &D, request: &CheckpointRequest) -> io::Result<()> {
    disk.remove(&request.directory.join(UNFINISHED_NAME)).await
}

/// Gives a written checkpoint its name, durably. Only when the log's horizon has reached what [`Progress::Done`] said.
pub async fn publish_checkpoint<D: Disk>(disk: &D, request: &CheckpointRequest) -> io::Result<()> {
    let name = checkpoint_name(request.header.number);
    disk.rename(&request.directory.join(UNFINISHED_NAME), &request.directory.join(name)).await?;
    disk.sync_dir(&request.directory).await
}

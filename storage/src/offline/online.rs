//! Copying the logs of a server that serves, up to one moment, as a data directory of its own.
//!
//! The moment is one at which no transaction is under way, so what is before it in all logs is a state that the server had. The server
//! has promised to keep the checkpoint that the copy begins with, and the log from there on; it may give those files other names
//! meanwhile, and it writes on behind the moment.
//!
//! - Everything is verified as it is copied: each frame and block by its checksum, and by its link to the one before.
//! - The log is cut at the moment. If that lies within a frame, the frame is made anew of what comes before it. Behind it stands the mark of a clean
//!   stop, since nothing is missing there.
//! - A file of an older copy that is whole, and that the log goes on from, is taken over as it is; the last segment never is.
//!
//! The copy is made in a directory that nobody takes for a backup before it is complete.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::backup::Copied;
use crate::buffer::AlignedBuffer;
use crate::checkpoint::files::{
    checkpoint_name, checkpoint_number, retained_checkpoint, retained_segment, retained_segment_name,
};
use crate::checkpoint::format::{
    BLOCK_HEADER_BYTES, CheckpointHeader, FLAG_LAST, HEADER_BYTES, claimed_block_bytes, open_block,
};
use crate::disk::{Disk, OpenMode, WriteSync};
use crate::log::frame::{
    FLAG_CLEAN_STOP, FRAME_HEADER_BYTES, FrameHeader, claimed_frame_bytes, open_frame, seal_frame,
};
use crate::log::limits::ALIGNMENT_MIN;
use crate::log::record::{Record, take_record};
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::{LogIdentity, SegmentId};
use crate::manifest::DataDirectory;
use crate::recovery::{SegmentReader, read_front};
use crate::{Lsn, ShardId};

/// One write.
const PIECE_BYTES: usize = 1 << 20;
const UNFINISHED_SUFFIX: &str = ".unfinished";
/// It holds nothing but its header.
const CLOSING_FRAME_BYTES: usize = FRAME_HEADER_BYTES.next_multiple_of(ALIGNMENT_MIN);

/// What is copied of a shard of the newest epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardMoment {
    /// The shard.
    pub shard: ShardId,
    /// The checkpoint to begin with; 0: the beginning of the log.
    pub checkpoint: u64,
    /// The last effect before the moment: the end of a group, and durable.
    pub until: Lsn,
}

/// Where the copy goes.
#[derive(Clone, Copy, Debug)]
pub struct CopyPlaces<'a> {
    /// The shard's directory in the copy; it exists.
    pub target: &'a Path,
    /// The shard's directory in an older copy.
    pub older: Option<&'a Path>,
}

/// What the copying is helped with.
pub trait CopyHelper {
    /// So many bytes were written, or compared: rests, if need be. An error ends the copying.
    fn pace(&mut self, bytes: u64) -> Result<(), String>;

    /// Gives a file a second name, which is not there. Neither is ever written to again.
    fn link(&mut self, from: &Path, to: &Path) -> io::Result<()>;
}

/// Why there is no copy.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named by what they are")]
pub enum CopyError {
    /// The system said no.
    Io { path: PathBuf, error: io::Error },
    /// What should be there isn't, or is damaged.
    Damaged { path: PathBuf, offset: u64, what: &'static str },
    /// The log does not go back to the checkpoint, or has a hole: a server whose disk is full keeps nothing that it doesn't need itself.
    GivenUp { path: PathBuf },
    /// The helper ended it.
    Ended(String),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Damaged { path, offset, what } => write!(
                f,
                "{} at offset {offset}: {what}; `annulus check` of the stopped directory says more",
                path.display()
            ),
            Self::GivenUp { path } => write!(
                f,
                "{} is missing: it's lost, or the server's disk is full, for then what is kept for a backup is given up first",
                path.display()
            ),
            Self::Ended(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for CopyError {}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CopyError + use<> {
    let path = path.to_path_buf();
    move |error| CopyError::Io { path, error }
}

/// Copies a shard of the newest epoch.
pub async fn copy_shard<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    moment: ShardMoment,
    places: CopyPlaces<'_>,
    helper: &mut dyn CopyHelper,
) -> Result<Copied, CopyError> {
    let epoch = directory.epoch();
    let identity = directory.log_identity(epoch, moment.shard);
    let source = directory.shard_directory(epoch, moment.shard);
    let mut copier = Copier {
        disk,
        source: &source,
        identity,
        seed: identity.checksum_seed(),
        places,
        helper,
        copied: Copied::default(),
        names: Vec::new(),
    };
    let from = match moment.checkpoint {
        0 => None,
        number => Some(copier.copy_image(number).await?),
    };
    copier.copy_log(from, moment.until).await?;
    copier.remove_others().await?;
    disk.sync_dir(places.target).await.map_err(at(places.target))?;
    Ok(copier.copied)
}

struct Copier<'a, D: Disk> {
    disk: &'a D,
    source: &'a Path,
    identity: LogIdentity,
    seed: u32,
    places: CopyPlaces<'a>,
    helper: &'a mut dyn CopyHelper,
    copied: Copied,
    /// What belongs into the copy.
    names: Vec<String>,
}

/// The log so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chain {
    checksum: u32,
    last_lsn: Lsn,
    incarnation: u32,
}

/// A file that is being written.
struct Output<D: Disk> {
    file: D::File,
    /// Its name when it is whole, and where it is until then.
    name: String,
    path: PathBuf,
    buffer: Option<AlignedBuffer>,
    used: usize,
    offset: u64,
}

impl<D: Disk> Copier<'_, D> {
    /// The files of a name in the copy, and in the older one, that may be taken over.
    fn existing(&self, name: &str) -> Vec<PathBuf> {
        let places = [Some(self.places.target), self.places.older];
        places.into_iter().flatten().map(|place| place.join(name)).collect()
    }

    /// Takes over a file that is as it should be.
    fn keep(&mut self, path: &Path, name: &str) -> Result<(), CopyError> {
        let target = self.places.target.join(name);
        if path != target {
            self.helper.link(path, &target).map_err(at(&target))?;
        }
        self.copied.files_kept += 1;
        self.names.push(name.to_owned());
        Ok(())
    }

    async fn copy_image(&mut self, number: u64) -> Result<Lsn, CopyError> {
        let name = checkpoint_name(number);
        for path in self.existing(&name) {
            match self.pass_image(&path, number, None).await {
                Ok(from) => {
                    self.keep(&path, &name)?;
                    return Ok(from);
                }
                Err(ended @ CopyError::Ended(_)) => return Err(ended),
                // It isn't there, or not what it should be.
                Err(_) => {}
            }
        }
        // The server may rename it just now.
        let mut found = self.find_image(number).await?;
        for _ in 0..2 {
            let mut output = self.begin(&name).await?;
            match self.pass_image(&found, number, Some(&mut output)).await {
                Err(CopyError::Io { path, error })
                    if error.kind() == io::ErrorKind::NotFound && path == found =>
                {
                    found = self.find_image(number).await?;
                }
                from => {
                    let from = from?;
                    self.end(output, 0).await?;
                    return Ok(from);
                }
            }
        }
        Err(CopyError::GivenUp { path: found })
    }

    async fn find_image(&self, number: u64) -> Result<PathBuf, CopyError> {
        let entries = self.disk.list_dir(self.source).await.map_err(at(self.source))?;
        let names = entries.into_iter().map(|entry| entry.name);
        let is_it = |name: &String| {
            checkpoint_number(name) == Some(number)
                || retained_checkpoint(name).is_some_and(|(retained, _)| retained == number)
        };
        let found = names.into_iter().find(is_it).map(|name| self.source.join(name));
        found.ok_or_else(|| CopyError::GivenUp { path: self.source.join(checkpoint_name(number)) })
    }

    /// Reads an image from its beginning to its end, writes it if that is wanted, and returns where it begins in the log.
    async fn pass_image(
        &mut self,
        path: &Path,
        number: u64,
        mut output: Option<&mut Output<D>>,
    ) -> Result<Lsn, CopyError> {
        let damaged = |offset, what| CopyError::Damaged { path: path.to_path_buf(), offset, what };
        let file = self.disk.open(path, OpenMode::READ_DIRECT).await.map_err(at(path))?;
        let bytes = self.disk.len(&file).await.map_err(at(path))?;
        let mut reader = SegmentReader::new(self.disk, file, bytes, 0);
        let front = reader.bytes_at(0, HEADER_BYTES).await.map_err(at(path))?;
        let front = front.get(..HEADER_BYTES).ok_or_else(|| damaged(0, "the file is too short"))?.to_vec();
        let (header, mut chain) = CheckpointHeader::decode(&front, self.identity, number)
            .map_err(|_| damaged(0, "this is not the header of the checkpoint"))?;
        if let Some(output) = output.as_deref_mut() {
            self.push(output, &front).await?;
        }
        let (mut offset, mut index) = (HEADER_BYTES as u64, 0);
        loop {
            let front = reader.bytes_at(offset, BLOCK_HEADER_BYTES).await.map_err(at(path))?;
            let block_bytes = claimed_block_bytes(front).map_err(|_| damaged(offset, "there's no block"))?;
            let block = reader.bytes_at(offset, block_bytes).await.map_err(at(path))?;
            let block = block.get(..block_bytes).unwrap_or_default();
            let opened = open_block(block, (chain, index), number, self.seed);
            let (block_header, checksum) = opened.map_err(|_| damaged(offset, "the block is damaged"))?;
            match output.as_deref_mut() {
                Some(output) => {
                    let block = block.to_vec();
                    self.push(output, &block).await?;
                }
                None => self.pace(block_bytes as u64)?,
            }
            offset += block_bytes as u64;
            (chain, index) = (checksum, index + 1);
            if block_header.flags & FLAG_LAST != 0 {
                return Ok(header.from);
            }
        }
    }

    async fn copy_log(&mut self, from: Option<Lsn>, until: Lsn) -> Result<(), CopyError> {
        let ids = self.segment_ids().await?;
        let Some((mut id, header)) = self.first_segment(&ids, from).await? else {
            if until == Lsn::ZERO {
                // Nothing was ever written.
                return Ok(());
            }
            return Err(self.why_no_first(&ids).await);
        };
        let mut chain = Chain {
            checksum: header.chain,
            last_lsn: Lsn(header.first_lsn.0.saturating_sub(1)),
            incarnation: header.incarnation,
        };
        while chain.last_lsn < until {
            chain = self.copy_segment(id, chain, until).await?;
            id = id.next();
        }
        Ok(())
    }

    async fn segment_ids(&self) -> Result<Vec<SegmentId>, CopyError> {
        let entries = self.disk.list_dir(self.source).await.map_err(at(self.source))?;
        let id = |name: &str| SegmentId::of_file_name(name).or_else(|| retained_segment(name));
        let mut ids: Vec<_> = entries.iter().filter_map(|entry| id(&entry.name)).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// The segment that the image goes on in; without an image the first.
    async fn first_segment(
        &self,
        ids: &[SegmentId],
        from: Option<Lsn>,
    ) -> Result<Option<(SegmentId, SegmentHeader)>, CopyError> {
        for id in ids.iter().rev() {
            let Some(header) = self.header_of(*id).await? else { continue };
            let is_first = from.map_or(*id == SegmentId::FIRST, |from| header.first_lsn <= from.max(Lsn(1)));
            if is_first {
                return Ok(Some((*id, header)));
            }
        }
        Ok(None)
    }

    /// What is wrong with a log in which no segment is the one to begin with.
    async fn why_no_first(&self, ids: &[SegmentId]) -> CopyError {
        let mut before = SegmentId::FIRST;
        for (index, id) in ids.iter().enumerate() {
            match self.header_of(*id).await {
                // Those that are not in use yet are the last.
                Ok(None) => {
                    let path = self.source.join(id.file_name());
                    return CopyError::Damaged { path, offset: 0, what: "this is not the segment's header" };
                }
                Ok(Some(_)) if index == 0 => before = SegmentId(id.0.saturating_sub(1).max(1)),
                Ok(Some(_)) => {}
                Err(error) => return error,
            }
        }
        CopyError::GivenUp { path: self.source.join(before.file_name()) }
    }

    /// Opens a segment by either of its names: it may be renamed from the one to the other, once. Nothing if it has neither.
    async fn open_segment(&self, id: SegmentId) -> Result<Option<(PathBuf, D::File)>, CopyError> {
        for name in [id.file_name(), retained_segment_name(id)] {
            let path = self.source.join(name);
            match self.disk.open(&path, OpenMode::READ_DIRECT).await {
                Ok(file) => return Ok(Some((path, file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(CopyError::Io { path, error }),
            }
        }
        Ok(None)
    }

    /// The header of a segment that is in use.
    async fn header_of(&self, id: SegmentId) -> Result<Option<SegmentHeader>, CopyError> {
        let Some((path, file)) = self.open_segment(id).await? else { return Ok(None) };
        let buffer = AlignedBuffer::new(SEGMENT_HEADER_BYTES);
        let (read, block) = self.disk.read_at(&file, buffer, 0, SEGMENT_HEADER_BYTES).await;
        let block = block.get(..read.map_err(at(&path))?).unwrap_or_default();
        let header = SegmentHeader::decode(block).ok();
        Ok(header.filter(|header| (header.identity, header.id) == (self.identity, id)))
    }

    /// Copies a segment, or takes it over, up to the moment; returns where the log stands then.
    async fn copy_segment(&mut self, id: SegmentId, chain: Chain, until: Lsn) -> Result<Chain, CopyError> {
        let given_up = || CopyError::GivenUp { path: self.source.join(id.file_name()) };
        let (path, file) = self.open_segment(id).await?.ok_or_else(given_up)?;
        let damaged = |offset, what| CopyError::Damaged { path: path.clone(), offset, what };
        let header =
            self.header_of(id).await?.ok_or_else(|| damaged(0, "this is not the segment's header"))?;
        if header.chain != chain.checksum || header.first_lsn != chain.last_lsn.next() {
            return Err(damaged(0, "the segment does not follow the one before it"));
        }
        let bytes = self.disk.len(&file).await.map_err(at(&path))?;
        if bytes < header.bytes {
            return Err(damaged(bytes, "the segment ends there, it was made longer"));
        }
        let next = self.header_of(id.next()).await?;
        if let Some(next) = &next
            && let Some(end) = self.take_over((id, header), next, chain, until).await?
        {
            return Ok(end);
        }
        let mut output = self.begin(&id.file_name()).await?;
        self.push_header(&mut output, &header).await?;
        let mut frames = Frames::new(self.disk, file, (id, header), chain, (self.identity, self.seed));
        while frames.chain.last_lsn < until {
            let before = frames.chain;
            let Some((frame_header, frame)) = frames.next().await.map_err(at(&path))? else { break };
            if frames.chain.last_lsn < until {
                self.push(&mut output, &frame).await?;
                continue;
            }
            let clipped = clip(&frame, &frame_header, until);
            let clipped = clipped.ok_or_else(|| damaged(frame_header.offset, "the moment is no end"))?;
            let (bytes, checksum) = self.seal(clipped, before);
            self.push(&mut output, &bytes).await?;
            frames.chain = Chain { checksum, last_lsn: until, incarnation: frame_header.incarnation };
        }
        let end = frames.chain;
        let goes_on = |next: &SegmentHeader| next.chain == end.checksum;
        if end.last_lsn < until && !next.as_ref().is_some_and(goes_on) {
            return Err(damaged(
                frames.offset,
                "neither a whole frame there nor a segment after it goes on with the log",
            ));
        }
        if end.last_lsn == until {
            output = self.close(output, &header, &end).await?;
        }
        self.end(output, header.bytes).await?;
        Ok(end)
    }

    /// Takes a whole segment over that an older copy has; returns where the log stands then.
    async fn take_over(
        &mut self,
        segment: (SegmentId, SegmentHeader),
        next: &SegmentHeader,
        chain: Chain,
        until: Lsn,
    ) -> Result<Option<Chain>, CopyError> {
        let name = segment.0.file_name();
        for path in self.existing(&name) {
            let end = self.pass_whole(&path, segment, chain, until).await?;
            let whole = end.filter(|end| {
                end.checksum == next.chain && end.last_lsn.next() == next.first_lsn && end.last_lsn < until
            });
            if let Some(end) = whole {
                self.keep(&path, &name)?;
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// The log ends: says that everything is there, in this segment or, if that is full, in one more.
    async fn close(
        &mut self,
        mut output: Output<D>,
        header: &SegmentHeader,
        end: &Chain,
    ) -> Result<Output<D>, CopyError> {
        let mut id = header.id;
        let room = header.bytes.saturating_sub(output.position());
        if room < CLOSING_FRAME_BYTES as u64 {
            self.end(output, header.bytes).await?;
            id = id.next();
            let (first_lsn, chain) = (end.last_lsn.next(), end.checksum);
            let next = SegmentHeader { id, first_lsn, chain, incarnation: end.incarnation, ..*header };
            output = self.begin(&id.file_name()).await?;
            self.push_header(&mut output, &next).await?;
        }
        let bytes = self.closing_frame(end, id, output.position());
        self.push(&mut output, &bytes).await?;
        Ok(output)
    }

    async fn push_header(&mut self, output: &mut Output<D>, header: &SegmentHeader) -> Result<(), CopyError> {
        let mut block = vec![0; SEGMENT_HEADER_BYTES];
        header.encode(&mut block);
        self.push(output, &block).await
    }

    /// Reads a copy of a segment to its end; nothing if it is not one.
    async fn pass_whole(
        &mut self,
        path: &Path,
        segment: (SegmentId, SegmentHeader),
        chain: Chain,
        until: Lsn,
    ) -> Result<Option<Chain>, CopyError> {
        let Ok(front) = read_front(self.disk, path, SEGMENT_HEADER_BYTES).await else { return Ok(None) };
        if SegmentHeader::decode(&front) != Ok(segment.1) {
            return Ok(None);
        }
        let Ok(file) = self.disk.open(path, OpenMode::READ_DIRECT).await else { return Ok(None) };
        if self.disk.len(&file).await.ok() != Some(segment.1.bytes) {
            return Ok(None);
        }
        let mut frames = Frames::new(self.disk, file, segment, chain, (self.identity, self.seed));
        while frames.chain.last_lsn < until {
            match frames.next().await {
                Ok(Some((_, frame))) => self.pace(frame.len() as u64)?,
                Ok(None) => return Ok(Some(frames.chain)),
                // It is copied anew.
                Err(_) => break,
            }
        }
        Ok(None)
    }

    fn pace(&mut self, bytes: u64) -> Result<(), CopyError> {
        self.helper.pace(bytes).map_err(CopyError::Ended)
    }

    fn seal(&self, (header, mut bytes): (FrameHeader, Vec<u8>), before: Chain) -> (Vec<u8>, u32) {
        let header = FrameHeader { previous: before.checksum, ..header };
        let checksum = seal_frame(&mut bytes, &header, self.identity, self.seed);
        (bytes, checksum)
    }

    /// Says that everything is there, and that nothing was under way.
    fn closing_frame(&self, chain: &Chain, segment: SegmentId, offset: u64) -> Vec<u8> {
        let header = FrameHeader {
            previous: chain.checksum,
            frame_bytes: CLOSING_FRAME_BYTES,
            payload_bytes: 0,
            flags: FLAG_CLEAN_STOP,
            incarnation: chain.incarnation,
            first_lsn: chain.last_lsn.next(),
            horizon: chain.last_lsn,
            records: 0,
            offset,
            segment,
        };
        self.seal((header, vec![0; CLOSING_FRAME_BYTES]), *chain).0
    }

    async fn begin(&mut self, name: &str) -> Result<Output<D>, CopyError> {
        let path = self.places.target.join(format!("{name}{UNFINISHED_SUFFIX}"));
        // What a copy that was cut off has left may be longer.
        match self.disk.remove(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
            _ => {}
        }
        let file = self.disk.open(&path, OpenMode::CREATE).await.map_err(at(&path))?;
        let (name, buffer) = (name.to_owned(), Some(AlignedBuffer::new(PIECE_BYTES)));
        Ok(Output { file, name, path, buffer, used: 0, offset: 0 })
    }

    async fn push(&mut self, output: &mut Output<D>, mut bytes: &[u8]) -> Result<(), CopyError> {
        while !bytes.is_empty() {
            if output.used == PIECE_BYTES {
                self.flush(output).await?;
            }
            let len = bytes.len().min(PIECE_BYTES - output.used);
            let (now, later) = bytes.split_at(len);
            if let Some(buffer) = &mut output.buffer {
                buffer[output.used..output.used + len].copy_from_slice(now);
            }
            output.used += len;
            bytes = later;
        }
        Ok(())
    }

    async fn flush(&mut self, output: &mut Output<D>) -> Result<(), CopyError> {
        let (Some(buffer), used) = (output.buffer.take(), std::mem::take(&mut output.used)) else {
            return Ok(());
        };
        let (written, buffer) =
            self.disk.write_at(&output.file, buffer, output.offset, used, WriteSync::None).await;
        if written.map_err(at(&output.path))? != used {
            return Err(at(&output.path)(io::ErrorKind::WriteZero.into()));
        }
        output.buffer = Some(buffer);
        output.offset += used as u64;
        self.copied.bytes += used as u64;
        self.pace(used as u64)
    }

    /// The file is whole: it is made so long (what is not written reads as zeros), and gets its name when it is on stable storage.
    async fn end(&mut self, mut output: Output<D>, bytes: u64) -> Result<(), CopyError> {
        self.flush(&mut output).await?;
        let rest = bytes.saturating_sub(output.offset).min(SEGMENT_HEADER_BYTES as u64) as usize;
        if rest > 0 {
            output.offset = bytes - rest as u64;
            self.push(&mut output, &vec![0; rest]).await?;
            self.flush(&mut output).await?;
        }
        self.disk.sync(&output.file).await.map_err(at(&output.path))?;
        let target = self.places.target.join(&output.name);
        self.disk.rename(&output.path, &target).await.map_err(at(&target))?;
        self.copied.files += 1;
        self.names.push(output.name);
        Ok(())
    }

    async fn remove_others(&mut self) -> Result<(), CopyError> {
        let target = self.places.target;
        for entry in self.disk.list_dir(target).await.map_err(at(target))? {
            if !entry.is_directory && !self.names.contains(&entry.name) {
                let path = target.join(&entry.name);
                self.disk.remove(&path).await.map_err(at(&path))?;
                self.copied.files_removed += 1;
            }
        }
        Ok(())
    }
}

impl<D: Disk> Output<D> {
    const fn position(&self) -> u64 {
        self.offset + self.used as u64
    }
}

/// The frames of a segment, one after the other.
struct Frames<'d, D: Disk> {
    reader: SegmentReader<'d, D>,
    id: SegmentId,
    bytes: u64,
    offset: u64,
    chain: Chain,
    identity: LogIdentity,
    seed: u32,
}

impl<'d, D: Disk> Frames<'d, D> {
    fn new(
        disk: &'d D,
        file: D::File,
        (id, header): (SegmentId, SegmentHeader),
        chain: Chain,
        (identity, seed): (LogIdentity, u32),
    ) -> Self {
        let chain = Chain { incarnation: chain.incarnation.max(header.incarnation), ..chain };
        let offset = SEGMENT_HEADER_BYTES as u64;
        let reader = SegmentReader::new(disk, file, header.bytes, offset);
        Self { reader, id, bytes: header.bytes, offset, chain, identity, seed }
    }

    /// The next frame of the log; nothing where the segment has no further one.
    async fn next(&mut self) -> io::Result<Option<(FrameHeader, Vec<u8>)>> {
        let available = usize::try_from(self.bytes - self.offset).unwrap_or(usize::MAX);
        let front = self.reader.bytes_at(self.offset, FRAME_HEADER_BYTES).await?;
        let Ok(frame_bytes) = claimed_frame_bytes(front, available) else { return Ok(None) };
        let frame = self.reader.bytes_at(self.offset, frame_bytes).await?;
        let Some(frame) = frame.get(..frame_bytes) else { return Ok(None) };
        let Ok((header, checksum)) = open_frame(frame, (self.id, self.offset), self.identity, self.seed)
        else {
            return Ok(None);
        };
        let follows = header.previous == self.chain.checksum
            && header.incarnation >= self.chain.incarnation
            && header.first_lsn == self.chain.last_lsn.next();
        if !follows {
            return Ok(None);
        }
        let last_lsn = Lsn(header.lsn_after().0 - 1);
        self.chain = Chain { checksum, last_lsn, incarnation: header.incarnation };
        let frame = frame.to_vec();
        self.offset += frame_bytes as u64;
        Ok(Some((header, frame)))
    }
}

/// A frame with its effects up to this one, to be sealed. Nothing if that is not where a group ends.
fn clip(frame: &[u8], header: &FrameHeader, until: Lsn) -> Option<(FrameHeader, Vec<u8>)> {
    let payload = frame.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.payload_bytes)?;
    let (mut rest, mut lsn, mut records) = (payload, header.first_lsn, 0);
    while let Some(record) = take_record(&mut rest).ok()? {
        let (ends, ends_group) = match record {
            Record::Whole { group_end, .. } => (true, group_end),
            Record::Fragment { last, group_end, .. } => (last, group_end),
        };
        if !ends {
            continue;
        }
        records += 1;
        if lsn == until {
            let payload_bytes = payload.len() - rest.len();
            let frame_bytes = (FRAME_HEADER_BYTES + payload_bytes).next_multiple_of(ALIGNMENT_MIN);
            let mut bytes = vec![0; frame_bytes];
            bytes
                .get_mut(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + payload_bytes)?
                .copy_from_slice(payload.get(..payload_bytes)?);
            let clipped = FrameHeader {
                frame_bytes,
                payload_bytes,
                records,
                flags: header.flags & !FLAG_CLEAN_STOP,
                ..*header
            };
            return ends_group.then_some((clipped, bytes));
        }
        lsn = lsn.next();
    }
    None
}

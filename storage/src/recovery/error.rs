//! Why a log cannot be read: with the file, the place, what was expected and found, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::checkpoint::format::CheckpointFault;
use crate::log::SegmentId;
use crate::log::frame::FrameFault;
use crate::log::record::RecordFault;
use crate::log::segment::SegmentFault;
use crate::manifest::ClosedLog;
use crate::{Lsn, TransactionId};

/// What is wrong with a place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With a frame.
    Frame(FrameFault),
    /// With a segment's header.
    Segment(SegmentFault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(fault) => fault.fmt(f),
            Self::Segment(fault) => fault.fmt(f),
        }
    }
}

/// Why a log was refused.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named by what they are")]
pub enum RecoveryError {
    /// The system said no.
    Io { path: PathBuf, doing: &'static str, error: io::Error },
    /// The manifest names a log that isn't there.
    MissingDirectory { path: PathBuf },
    /// A file that isn't part of a log, in a log's directory.
    ForeignFile { path: PathBuf },
    /// A segment isn't there, and later ones are.
    MissingSegment { path: PathBuf, later: SegmentId },
    /// A segment is shorter than it was made.
    Shortened { path: PathBuf, expected: u64, found: u64 },
    /// A whole segment header that is not this log's, or newer than this program.
    WrongSegment { path: PathBuf, fault: SegmentFault },
    /// Something that was durable is not there any more.
    Damaged {
        path: PathBuf,
        offset: u64,
        fault: Fault,
        /// The first effect that is lost.
        missing: Lsn,
        /// A later frame that says that it was durable.
        proof_path: PathBuf,
        proof_offset: u64,
        proof_horizon: Lsn,
    },
    /// A part of the log that is kept for going back in time isn't what was written. No start needs it.
    DamagedPast { path: PathBuf, offset: u64, fault: Fault },
    /// A segment that was kept for going back in time isn't there, and later ones are. No start needs it.
    MissingPast { path: PathBuf },
    /// A checkpoint isn't what was written, and the log no longer has what it would take to do without it.
    DamagedCheckpoint {
        path: PathBuf,
        offset: u64,
        fault: CheckpointFault,
        /// Where what is kept for going back in time would do in its place, and isn't whole itself.
        gap: Option<Gap>,
    },
    /// A shard has no checkpoint, and what the checkpoints of all shards had made superfluous is gone.
    MissingCheckpoint { path: PathBuf },
    /// A log of a closed epoch ends elsewhere than it did when the epoch was closed.
    ClosedLogChanged { path: PathBuf, recorded: Box<ClosedLog>, found: Box<ClosedLog> },
    /// A part of a transaction isn't there, and another log says that it was durable.
    MissingPart {
        path: PathBuf,
        /// Where the log ends.
        offset: u64,
        id: TransactionId,
        /// The log that says so.
        proof_directory: PathBuf,
        /// Where its own part is.
        proof_lsn: Lsn,
    },
    /// A whole frame that a newer program has written.
    NewerFrame { path: PathBuf, offset: u64, fault: FrameFault },
    /// A whole frame whose records make no sense.
    BadRecord { path: PathBuf, offset: u64, fault: RecordFault },
    /// A whole frame with an effect on a slot that wasn't the logging shard's.
    MisplacedSlot { path: PathBuf, offset: u64, slot: u16 },
}

/// Where retained log is not what was retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The file.
    pub path: PathBuf,
    /// Where it is damaged; nothing if it is missing.
    pub offset: Option<u64>,
}

const RESTORE: &str = "nothing was changed; restore the data directory from a backup";

impl RecoveryError {
    /// Where in the file something is wrong, if it is a place.
    pub(super) fn offset(&self) -> Option<u64> {
        match self {
            Self::MissingSegment { .. } | Self::MissingPast { .. } => None,
            Self::Damaged { offset, .. }
            | Self::DamagedPast { offset, .. }
            | Self::NewerFrame { offset, .. }
            | Self::BadRecord { offset, .. }
            | Self::MisplacedSlot { offset, .. } => Some(*offset),
            _ => Some(0),
        }
    }

    /// The file that it is about.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::MissingDirectory { path }
            | Self::ForeignFile { path }
            | Self::MissingSegment { path, .. }
            | Self::Shortened { path, .. }
            | Self::WrongSegment { path, .. }
            | Self::Damaged { path, .. }
            | Self::DamagedPast { path, .. }
            | Self::MissingPast { path }
            | Self::DamagedCheckpoint { path, .. }
            | Self::MissingCheckpoint { path }
            | Self::ClosedLogChanged { path, .. }
            | Self::MissingPart { path, .. }
            | Self::NewerFrame { path, .. }
            | Self::BadRecord { path, .. }
            | Self::MisplacedSlot { path, .. } => path,
        }
    }
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, doing, error } => write!(f, "cannot {doing} {}: {error}", path.display()),
            Self::MissingDirectory { .. }
            | Self::ForeignFile { .. }
            | Self::MissingSegment { .. }
            | Self::MissingPast { .. }
            | Self::MissingCheckpoint { .. } => self.tell_files(f),
            Self::Shortened { .. }
            | Self::WrongSegment { .. }
            | Self::Damaged { .. }
            | Self::DamagedPast { .. }
            | Self::DamagedCheckpoint { .. } => self.tell_damage(f),
            Self::ClosedLogChanged { .. } | Self::MissingPart { .. } => self.tell_disagreement(f),
            Self::NewerFrame { .. } | Self::BadRecord { .. } | Self::MisplacedSlot { .. } => {
                self.tell_writer(f)
            }
        }
    }
}

impl RecoveryError {
    /// A file is missing, or one too many.
    fn tell_files(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            Self::MissingDirectory { .. } => write!(f, "the log directory {path} is missing; {RESTORE}"),
            Self::ForeignFile { .. } => {
                write!(f, "{path} does not belong in a log directory; move it elsewhere")
            }
            Self::MissingSegment { later, .. } => {
                write!(f, "log segment {path} is missing, segment {later} is there; {RESTORE}")
            }
            Self::MissingPast { .. } => write!(
                f,
                "{path} is missing. It was kept for going back in time, which is possible to later times only"
            ),
            _ => {
                write!(f, "{path} has no checkpoint, and the logs before it were given up for one; {RESTORE}")
            }
        }
    }

    /// A file isn't what was written.
    fn tell_damage(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            Self::Shortened { expected, found, .. } => {
                write!(f, "log segment {path} has {found} bytes, it was made with {expected}; {RESTORE}")
            }
            Self::WrongSegment { fault, .. } => write!(f, "{path} at offset 0: {fault}; {RESTORE}"),
            Self::Damaged { offset, fault, missing, proof_path, proof_offset, proof_horizon, .. } => write!(
                f,
                "{path} is damaged at offset {offset}: {fault}. Effects from LSN {missing} on are lost that were durable: \
                 {} at offset {proof_offset} says that all up to LSN {proof_horizon} were; {RESTORE}",
                proof_path.display()
            ),
            Self::DamagedPast { offset, fault, .. } => write!(
                f,
                "{path} is damaged at offset {offset}: {fault}. It is kept for going back in time, which is possible to later times only"
            ),
            Self::DamagedCheckpoint { offset, fault, gap, .. } => {
                write!(f, "checkpoint {path} is damaged at offset {offset}: {fault}. ")?;
                match gap {
                    None => write!(f, "The log does not reach back far enough to do without it; {RESTORE}"),
                    Some(Gap { path, offset: None }) => write!(
                        f,
                        "What is kept for going back in time would do in its place, but {} is missing; {RESTORE}",
                        path.display()
                    ),
                    Some(Gap { path, offset: Some(offset) }) => write!(
                        f,
                        "What is kept for going back in time would do in its place, but {} is damaged too, at offset {offset}; {RESTORE}",
                        path.display()
                    ),
                }
            }
            _ => Ok(()),
        }
    }

    /// What one file proves another lacks.
    fn tell_disagreement(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            Self::ClosedLogChanged { recorded, found, .. } => write!(
                f,
                "the log in {path} ends at LSN {} with checksum {:08x}; when it was closed it ended at LSN {} with checksum \
                 {:08x}, so what was durable is damaged or missing; {RESTORE}",
                found.last_lsn, found.chain, recorded.last_lsn, recorded.chain
            ),
            Self::MissingPart { offset, id, proof_directory, proof_lsn, .. } => write!(
                f,
                "{path}: the log ends at offset {offset} and has no part of transaction {id}, which was durable: the log \
                 in {} has its own part at LSN {proof_lsn}, and says that it was complete; {RESTORE}",
                proof_directory.display()
            ),
            _ => Ok(()),
        }
    }

    /// A frame is as it was written, and not for this program to read.
    fn tell_writer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            Self::NewerFrame { offset, fault, .. } => {
                write!(f, "{path} at offset {offset}: {fault}; use the program that wrote it, or a newer one")
            }
            Self::BadRecord { offset, fault, .. } => write!(
                f,
                "{path}: the frame at offset {offset} is as it was written, but {fault}; this is a defect of the \
                 program that wrote it"
            ),
            Self::MisplacedSlot { offset, slot, .. } => write!(
                f,
                "{path}: the frame at offset {offset} is as it was written, but slot {slot} was not this shard's; \
                 this is a defect of the program that wrote it"
            ),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for RecoveryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

//! File operations of the io_uring driver.
#![expect(unsafe_code, reason = "the kernel hands opened files over as bare numbers")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use annulus_storage::AlignedBuffer;
use annulus_storage::disk::WriteSync;
use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use slab::Slab;

use super::token::{Kind, Token};
use crate::runtime::disk::open_flags;
use crate::runtime::driver::{DiskOp, DiskResult, DiskToken, Event};
use crate::runtime::file::FileId;

/// What an operation keeps alive while the kernel works on it.
#[derive(Debug)]
enum Kept {
    Paths(#[expect(dead_code, reason = "kept alive for the kernel")] [CString; 2]),
    OpenPath(#[expect(dead_code, reason = "kept alive for the kernel")] CString),
    Path(#[expect(dead_code, reason = "kept alive for the kernel")] CString),
    Buffer(AlignedBuffer, #[expect(dead_code, reason = "kept open for the kernel")] FileId),
    File(#[expect(dead_code, reason = "kept open for the kernel")] FileId),
}

#[derive(Debug)]
struct Pending {
    token: DiskToken,
    kept: Kept,
}

/// File operations with the kernel, each with what it needs.
#[derive(Debug, Default)]
pub(super) struct DiskOps {
    pending: Slab<Pending>,
}

impl DiskOps {
    /// Stores what the operation owns and makes its entry.
    pub(super) fn prepare(&mut self, token: DiskToken, op: DiskOp) -> squeue::Entry {
        let (entry, kept) = match op {
            DiskOp::Open { path, mode } => {
                let path = c_path(&path);
                let entry = opcode::OpenAt::new(Fd(libc::AT_FDCWD), path.as_ptr())
                    .flags(open_flags(mode).bits() as i32)
                    .mode(0o640)
                    .build();
                (entry, Kept::OpenPath(path))
            }
            DiskOp::Read { file, mut buffer, offset, len } => {
                let target = &mut buffer[..len];
                let entry =
                    opcode::Read::new(raw(&file), target.as_mut_ptr(), len as u32).offset(offset).build();
                (entry, Kept::Buffer(buffer, file))
            }
            DiskOp::Write { file, buffer, offset, len, sync } => {
                let source = &buffer[..len];
                let flags = if matches!(sync, WriteSync::DataSync) { libc::RWF_DSYNC } else { 0 };
                let entry = opcode::Write::new(raw(&file), source.as_ptr(), len as u32)
                    .offset(offset)
                    .rw_flags(flags)
                    .build();
                (entry, Kept::Buffer(buffer, file))
            }
            DiskOp::Sync { file } => (opcode::Fsync::new(raw(&file)).build(), Kept::File(file)),
            DiskOp::Allocate { file, bytes } => {
                (opcode::Fallocate::new(raw(&file), bytes).build(), Kept::File(file))
            }
            DiskOp::Rename { from, to } => {
                let paths = [c_path(&from), c_path(&to)];
                let cwd = Fd(libc::AT_FDCWD);
                let entry = opcode::RenameAt::new(cwd, paths[0].as_ptr(), cwd, paths[1].as_ptr()).build();
                (entry, Kept::Paths(paths))
            }
            DiskOp::Remove { path } => {
                let path = c_path(&path);
                let entry = opcode::UnlinkAt::new(Fd(libc::AT_FDCWD), path.as_ptr()).build();
                (entry, Kept::Path(path))
            }
        };
        let index = self.pending.insert(Pending { token, kept });
        entry.user_data(Token::new(Kind::Disk, index as u32).bits())
    }

    pub(super) fn on_completion(&mut self, index: u32, result: i32, events: &mut Vec<Event>) {
        let Pending { token, kept } = self.pending.remove(index as usize);
        let outcome = if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) };
        let result = match kept {
            Kept::OpenPath(_) => match outcome {
                // SAFETY: a successful open returns a new descriptor that nobody else owns.
                Ok(fd) => DiskResult::Opened(Ok(FileId::new(unsafe { OwnedFd::from_raw_fd(fd) }))),
                Err(error) => DiskResult::Opened(Err(error)),
            },
            Kept::Buffer(buffer, _) => DiskResult::Transferred(outcome.map(|count| count as usize), buffer),
            Kept::Paths(_) | Kept::Path(_) | Kept::File(_) => DiskResult::Done(outcome.map(drop)),
        };
        events.push(Event::Disk { token, result });
    }
}

fn raw(file: &FileId) -> Fd {
    Fd(file.as_fd().as_raw_fd())
}

/// Paths come from settings and directory listings; one with a NUL byte is cut there and then not found.
fn c_path(path: &Path) -> CString {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

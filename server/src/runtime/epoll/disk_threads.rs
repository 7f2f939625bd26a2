//! File operations for the epoll driver: on threads, since files are never "not ready".
//!
//! Commits have threads of their own, so that preparing a segment never stands before them.
#![expect(clippy::disallowed_methods, reason = "this is what files are reached through")]

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};

use annulus_storage::ShardId;
use annulus_storage::disk::WriteSync;

use crate::runtime::disk::open_flags;
use crate::runtime::driver::{DiskOp, DiskResult, DiskToken, Event};
use crate::runtime::file::FileId;
use crate::runtime::peers::Peers;
use crate::runtime::threads;

/// Threads for commits: as many writes as a log keeps in flight under load.
const COMMIT_THREADS: usize = 2;

/// The file threads of one shard; they end when this is dropped.
#[derive(Debug)]
pub(super) struct DiskThreads {
    commits: Vec<Sender<(DiskToken, DiskOp)>>,
    next_commit: usize,
    background: Sender<(DiskToken, DiskOp)>,
    results: Receiver<(DiskToken, DiskResult)>,
}

impl DiskThreads {
    pub(super) fn start(shard: ShardId, peers: &Peers) -> io::Result<Self> {
        let (done, results) = mpsc::channel();
        let start = |name: String| -> io::Result<Sender<(DiskToken, DiskOp)>> {
            let (sender, operations) = mpsc::channel::<(DiskToken, DiskOp)>();
            let (done, peers) = (done.clone(), peers.clone());
            threads::spawn(name, None, move |_| {
                for (token, op) in operations {
                    if done.send((token, perform(op))).is_err() {
                        return;
                    }
                    peers.wake_by_event(shard);
                }
            })?;
            Ok(sender)
        };
        let commits: io::Result<Vec<_>> =
            (0..COMMIT_THREADS).map(|index| start(format!("commit-{shard}.{index}"))).collect();
        Ok(DiskThreads {
            commits: commits?,
            next_commit: 0,
            background: start(format!("disk-{shard}"))?,
            results,
        })
    }

    pub(super) fn submit(&mut self, token: DiskToken, op: DiskOp) {
        let thread = match token {
            DiskToken::Commit(_) => {
                self.next_commit = (self.next_commit + 1) % self.commits.len();
                &self.commits[self.next_commit]
            }
            DiskToken::Task(_) => &self.background,
        };
        assert!(thread.send((token, op)).is_ok(), "a disk thread has ended");
    }

    pub(super) fn take_results(&mut self, events: &mut Vec<Event>) {
        events.extend(self.results.try_iter().map(|(token, result)| Event::Disk { token, result }));
    }
}

fn perform(op: DiskOp) -> DiskResult {
    match op {
        DiskOp::Open { path, mode } => {
            let file = rustix::fs::open(&path, open_flags(mode), rustix::fs::Mode::from_raw_mode(0o640));
            DiskResult::Opened(file.map(FileId::new).map_err(io::Error::from))
        }
        DiskOp::Read { file, mut buffer, offset, len } => {
            let result = retry(|| rustix::io::pread(&file, &mut buffer[..len], offset));
            DiskResult::Transferred(result, buffer)
        }
        DiskOp::Write { file, buffer, offset, len, sync } => {
            let flags = match sync {
                WriteSync::DataSync => rustix::io::ReadWriteFlags::DSYNC,
                WriteSync::None => rustix::io::ReadWriteFlags::empty(),
            };
            let bytes = &buffer[..len];
            let result = retry(|| rustix::io::pwritev2(&file, &[io::IoSlice::new(bytes)], offset, flags));
            DiskResult::Transferred(result, buffer)
        }
        DiskOp::Sync { file } => DiskResult::Done(retry(|| rustix::fs::fsync(&file))),
        DiskOp::Allocate { file, bytes } => DiskResult::Done(retry(|| {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)
        })),
        DiskOp::Rename { from, to } => DiskResult::Done(std::fs::rename(from, to)),
        DiskOp::Remove { path } => DiskResult::Done(std::fs::remove_file(path)),
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}

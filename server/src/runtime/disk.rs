//! [`Disk`] over the shard's driver: futures queue operations here, the shard carries them to the driver and the
//! results back.
//!
//! What starting a server needs and serving never does (listing, locking, creating directories) is done on the spot.

use std::cell::{Cell, RefCell};
use std::collections::{BinaryHeap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use annulus_storage::AlignedBuffer;
use annulus_storage::disk::blocking::StdDisk;
use annulus_storage::disk::{DirectoryEntry, Disk, LockError, OpenMode, WriteSync};
use rustix::fs::OFlags;
use slab::Slab;

use super::driver::{DiskOp, DiskResult};
use super::file::FileId;
use super::sim::SimDisk;

/// The flags of open(2) for a mode.
pub fn open_flags(mode: OpenMode) -> OFlags {
    let mut flags = OFlags::CLOEXEC;
    flags |= match (mode.read, mode.write) {
        (_, false) => OFlags::RDONLY,
        (false, true) => OFlags::WRONLY,
        (true, true) => OFlags::RDWR,
    };
    if mode.create {
        flags |= OFlags::CREATE;
    }
    if mode.direct {
        flags |= OFlags::DIRECT;
    }
    flags
}

enum Slot {
    Waiting(Option<Waker>),
    Done(DiskResult),
    /// The future is gone; what the operation owns is dropped when it ends.
    Abandoned,
}

#[derive(Default)]
struct Shared {
    queue: RefCell<VecDeque<(u32, DiskOp)>>,
    slots: RefCell<Slab<Slot>>,
    now_ns: Cell<u64>,
    /// Sleeping tasks, earliest first (the heap is a max-heap: reversed).
    timers: RefCell<BinaryHeap<std::cmp::Reverse<Timer>>>,
    timer_count: Cell<u64>,
}

struct Timer {
    deadline_ns: u64,
    order: u64,
    waker: Waker,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Timer {}
impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.deadline_ns, self.order).cmp(&(other.deadline_ns, other.order))
    }
}

/// The shard's disk, for asynchronous code. Clones share everything.
#[derive(Clone, Default)]
pub struct RuntimeDisk {
    shared: Rc<Shared>,
    direct: Direct,
}

/// Where that is done which is done on the spot.
#[derive(Clone, Debug)]
enum Direct {
    System(StdDisk),
    Simulated(SimDisk),
}

impl Default for Direct {
    fn default() -> Self {
        Direct::System(StdDisk)
    }
}

/// A held lock of the data directory.
#[derive(Debug)]
pub enum DiskLock {
    /// flock(2).
    System(<StdDisk as Disk>::Lock),
    /// Of a simulated disk.
    Simulated(annulus_storage::disk::memory::MemoryLock),
}

impl std::fmt::Debug for RuntimeDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuntimeDisk")
            .field("slots", &self.shared.slots.borrow().len())
            .finish_non_exhaustive()
    }
}

/// Gives a slot up when its future goes before the operation has ended.
struct SlotGuard<'a> {
    shared: &'a Shared,
    index: u32,
    finished: bool,
}

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut slots = self.shared.slots.borrow_mut();
        match slots.get_mut(self.index as usize) {
            Some(Slot::Done(_)) => drop(slots.remove(self.index as usize)),
            Some(slot) => *slot = Slot::Abandoned,
            None => {}
        }
    }
}

impl RuntimeDisk {
    /// The disk of a simulated world.
    pub fn simulated(disk: SimDisk) -> Self {
        RuntimeDisk { shared: Rc::default(), direct: Direct::Simulated(disk) }
    }

    /// The next queued operation, for the driver.
    pub fn take_queued(&self) -> Option<(u32, DiskOp)> {
        self.shared.queue.borrow_mut().pop_front()
    }

    /// An operation has ended: its task is woken.
    pub fn on_done(&self, index: u32, result: DiskResult) {
        let mut slots = self.shared.slots.borrow_mut();
        let Some(slot) = slots.get_mut(index as usize) else { return };
        match std::mem::replace(slot, Slot::Done(result)) {
            Slot::Waiting(waker) => {
                drop(slots);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Slot::Abandoned | Slot::Done(_) => drop(slots.remove(index as usize)),
        }
    }

    /// Tells the time; wakes the tasks whose pause is over.
    pub fn set_now(&self, monotonic_ns: u64) {
        self.shared.now_ns.set(monotonic_ns);
        let mut timers = self.shared.timers.borrow_mut();
        while timers.peek().is_some_and(|timer| timer.0.deadline_ns <= monotonic_ns) {
            if let Some(timer) = timers.pop() {
                timer.0.waker.wake();
            }
        }
    }

    /// When the next pause ends, on the monotonic clock.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.shared.timers.borrow().peek().map(|timer| timer.0.deadline_ns)
    }

    async fn run(&self, op: DiskOp) -> DiskResult {
        let index = self.shared.slots.borrow_mut().insert(Slot::Waiting(None)) as u32;
        self.shared.queue.borrow_mut().push_back((index, op));
        let mut guard = SlotGuard { shared: &self.shared, index, finished: false };
        let result = poll_fn(|context| {
            let mut slots = self.shared.slots.borrow_mut();
            match &mut slots[index as usize] {
                Slot::Waiting(waker) => {
                    *waker = Some(context.waker().clone());
                    Poll::Pending
                }
                Slot::Done(_) | Slot::Abandoned => match slots.remove(index as usize) {
                    Slot::Done(result) => Poll::Ready(result),
                    Slot::Waiting(_) | Slot::Abandoned => unreachable!("matched as done above"),
                },
            }
        })
        .await;
        guard.finished = true;
        result
    }

    async fn run_done(&self, op: DiskOp) -> io::Result<()> {
        match self.run(op).await {
            DiskResult::Done(result) => result,
            other => unreachable!("the driver answered with {other:?}"),
        }
    }

    async fn transfer(&self, op: DiskOp) -> (io::Result<usize>, AlignedBuffer) {
        match self.run(op).await {
            DiskResult::Transferred(result, buffer) => (result, buffer),
            other => unreachable!("the driver answered with {other:?}"),
        }
    }

    async fn try_open(&self, path: &Path, mode: OpenMode) -> io::Result<FileId> {
        match self.run(DiskOp::Open { path: path.to_owned(), mode }).await {
            DiskResult::Opened(result) => result,
            other => unreachable!("the driver answered with {other:?}"),
        }
    }
}

impl Disk for RuntimeDisk {
    type File = FileId;
    type Lock = DiskLock;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<FileId> {
        match self.try_open(path, mode).await {
            // A file system without direct I/O (tmpfs before 6.6, some overlays) says EINVAL.
            Err(error) if mode.direct && error.raw_os_error() == Some(libc::EINVAL) => {
                self.try_open(path, OpenMode { direct: false, ..mode }).await
            }
            result => result,
        }
    }

    async fn read_at(
        &self,
        file: &FileId,
        buffer: AlignedBuffer,
        offset: u64,
        len: usize,
    ) -> (io::Result<usize>, AlignedBuffer) {
        self.transfer(DiskOp::Read { file: file.clone(), buffer, offset, len }).await
    }

    async fn write_at(
        &self,
        file: &FileId,
        buffer: AlignedBuffer,
        offset: u64,
        len: usize,
        sync: WriteSync,
    ) -> (io::Result<usize>, AlignedBuffer) {
        self.transfer(DiskOp::Write { file: file.clone(), buffer, offset, len, sync }).await
    }

    async fn sync(&self, file: &FileId) -> io::Result<()> {
        self.run_done(DiskOp::Sync { file: file.clone() }).await
    }

    async fn len(&self, file: &FileId) -> io::Result<u64> {
        match &self.direct {
            Direct::System(_) => Ok(rustix::fs::fstat(file)?.st_size as u64),
            Direct::Simulated(disk) => disk.len(file),
        }
    }

    async fn allocate(&self, file: &FileId, bytes: u64) -> io::Result<()> {
        self.run_done(DiskOp::Allocate { file: file.clone(), bytes }).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run_done(DiskOp::Rename { from: from.to_owned(), to: to.to_owned() }).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.run_done(DiskOp::Remove { path: path.to_owned() }).await
    }

    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        match &self.direct {
            Direct::System(disk) => disk.create_dir(path).await,
            Direct::Simulated(disk) => disk.memory().create_dir(path).await,
        }
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        match &self.direct {
            Direct::System(disk) => disk.list_dir(path).await,
            Direct::Simulated(disk) => disk.memory().list_dir(path).await,
        }
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let directory = match &self.direct {
            Direct::System(_) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                FileId::new(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?)
            }
            Direct::Simulated(disk) => disk.directory(path),
        };
        self.run_done(DiskOp::Sync { file: directory }).await
    }

    async fn lock(&self, path: &Path) -> Result<DiskLock, LockError> {
        match &self.direct {
            Direct::System(disk) => disk.lock(path).await.map(DiskLock::System),
            Direct::Simulated(disk) => disk.memory().lock(path).await.map(DiskLock::Simulated),
        }
    }

    async fn alignment(&self, file: &FileId) -> io::Result<usize> {
        match &self.direct {
            Direct::System(_) => annulus_storage::disk::blocking::direct_alignment(file),
            Direct::Simulated(_) => Ok(annulus_storage::disk::memory::SECTOR_BYTES),
        }
    }

    async fn pause(&self, duration: Duration) {
        let deadline_ns = self.shared.now_ns.get() + duration.as_nanos() as u64;
        let mut registered = false;
        poll_fn(|context| {
            if self.shared.now_ns.get() >= deadline_ns {
                return Poll::Ready(());
            }
            if !registered {
                registered = true;
                let order = self.shared.timer_count.get();
                self.shared.timer_count.set(order + 1);
                let timer = Timer { deadline_ns, order, waker: context.waker().clone() };
                self.shared.timers.borrow_mut().push(std::cmp::Reverse(timer));
            }
            Poll::Pending
        })
        .await;
    }
}

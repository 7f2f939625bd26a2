//! Memory in huge pages, made ready ahead of its use by a thread of its own.
//!
//! A look at a key of a large keyspace misses the processor's cache of translations as well as that of data, and a walk through the page
//! tables costs as much as the data. Huge pages make that rare. But the fault of one clears two megabytes, and that
//! on the thread that met it: milliseconds in a virtual machine. So shards fault small pages only, and this thread faults huge
//! ones, where the allocator will be soon: it looks which blocks of the allocator's mappings have been touched, and makes those behind them ready. As
//! readers of files do, it goes further ahead each time it was caught up with.
//!
//! Nothing depends on it: where it is late, pages are small.
#![expect(unsafe_code, reason = "advice to the kernel about memory, by address")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::threads;

mod ground;

use ground::{BLOCK_BYTES, Ground, Memory};

/// Between two looks while memory is being used up, and while not.
const BUSY: Duration = Duration::from_millis(10);
const IDLE: Duration = Duration::from_millis(250);
/// Looks without news until the thread calls itself idle, and from one look at everything to the next.
const LOOKS: u32 = 16;
/// Smaller mappings are no allocator's arenas.
const ARENA_BYTES_MIN: usize = 512 << 20;
/// With less in use, translations are not what matters.
const USED_BLOCKS_MIN: usize = 32;
/// It works when others need not, and never keeps a shard from its core for long.
const NICENESS: i32 = 10;
const PAGE_BYTES: usize = 4096;

static PREPARED_BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes made ready in this process, so far.
pub fn prepared_bytes() -> u64 {
    PREPARED_BYTES.load(Ordering::Relaxed)
}

/// The thread; it ends with this.
#[derive(Debug)]
pub struct Prefault {
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Prefault {
    /// Starts it, for all private anonymous mappings of this process that are as large as an allocator's arenas: only a process
    /// that has no other such mappings may. `None` where the kernel has no huge pages to give.
    pub fn start() -> io::Result<Option<Self>> {
        let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        if !enabled.is_ok_and(|text| !text.contains("[never]")) {
            return Ok(None);
        }
        let stops = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stops);
        let thread = threads::spawn("prefault".to_owned(), None, move |_| {
            let _ = rustix::process::nice(NICENESS);
            if let Err(error) = prepare_until(&seen) {
                tracing::warn!(%error, "memory is no longer made ready in huge pages");
            }
        })?;
        Ok(Some(Self { stops, thread: Some(thread) }))
    }
}

impl Drop for Prefault {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn prepare_until(stops: &AtomicBool) -> io::Result<()> {
    let mut grounds: Vec<Ground> = Vec::new();
    let mut quiet = 0;
    for look in 0_u32.. {
        if stops.load(Ordering::Relaxed) {
            break;
        }
        let everything = look.is_multiple_of(LOOKS);
        if everything {
            refresh(&mut grounds, &std::fs::read_to_string("/proc/self/maps")?);
        }
        let mut news = false;
        for ground in &mut grounds {
            let streaks = ground.look(&Kernel, everything)?;
            news |= !streaks.is_empty();
            if ground.used_blocks() < USED_BLOCKS_MIN {
                continue;
            }
            for streak in streaks {
                let prepared = ground.prepare_behind(&Kernel, streak)?;
                PREPARED_BYTES.fetch_add((prepared * BLOCK_BYTES) as u64, Ordering::Relaxed);
            }
        }
        quiet = if news { 0 } else { quiet + 1 };
        std::thread::park_timeout(if quiet < LOOKS { BUSY } else { IDLE });
    }
    Ok(())
}

/// Mappings that there are now.
fn refresh(grounds: &mut Vec<Ground>, maps: &str) {
    let arenas = arenas(maps);
    grounds.retain(|ground| arenas.iter().any(|(start, _)| *start == ground.start()));
    for (start, bytes) in arenas {
        match grounds.iter_mut().find(|ground| ground.start() == start) {
            Some(ground) => ground.resize(bytes / BLOCK_BYTES),
            None => grounds.push(Ground::new(start, bytes / BLOCK_BYTES)),
        }
    }
}

/// Start and length of what `/proc/self/maps` has of private, anonymous, writable memory, in whole blocks, if it's large. Neighbours
/// are one: advice has parted them.
fn arenas(maps: &str) -> Vec<(usize, usize)> {
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (start, end) in maps.lines().filter_map(anonymous) {
        match merged.last_mut() {
            Some((_, last)) if *last == start => *last = end,
            _ => merged.push((start, end)),
        }
    }
    let blocks = merged.into_iter().map(|(start, end)| {
        let first = start.next_multiple_of(BLOCK_BYTES);
        (first, (end / BLOCK_BYTES * BLOCK_BYTES).saturating_sub(first))
    });
    blocks.filter(|(_, bytes)| *bytes >= ARENA_BYTES_MIN).collect()
}

/// `start-end rw-p offset device inode [name]`
fn anonymous(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (access, _, _, inode) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let is_named = words.next().is_some_and(|name| !name.starts_with("[anon"));
    let number = |text| usize::from_str_radix(text, 16).ok();
    (access == "rw-p" && inode == "0" && !is_named).then_some((number(start)?, number(end)?))
}

struct Kernel;

impl Memory for Kernel {
    fn touched(&self, address: usize, blocks: usize, touched: &mut Vec<bool>) -> io::Result<()> {
        let mut pages = vec![0_u8; blocks * BLOCK_BYTES / PAGE_BYTES];
        // SAFETY: the kernel writes one byte for each page of the range, and there are as many; it does not touch the range.
        let outcome =
            unsafe { libc::mincore(address as *mut _, blocks * BLOCK_BYTES, pages.as_mut_ptr().cast()) };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
        let is_touched = |block: &[u8]| block.iter().fold(0, |all, page| all | page) & 1 != 0;
        touched.extend(pages.chunks(BLOCK_BYTES / PAGE_BYTES).map(is_touched));
        Ok(())
    }

    fn prepare(&self, address: usize) -> io::Result<bool> {
        let advise = |advice| {
            // SAFETY: none of these changes what the memory holds, whoever uses it: what is not there yet is made there, zeroed as
            // it would be at its first use.
            let outcome = unsafe { libc::madvise(address as *mut _, BLOCK_BYTES, advice) };
            if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        advise(libc::MADV_HUGEPAGE)?;
        let populated = advise(libc::MADV_POPULATE_WRITE);
        // Later faults there, after the allocator has given it back, are a shard's again.
        advise(libc::MADV_NOHUGEPAGE)?;
        match populated {
            Ok(()) => Ok(true),
            // For want of memory, or of a mapping: the allocator knows better.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EFAULT | libc::EAGAIN)) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arenas_are_the_large_anonymous_mappings() {
        let maps = "\
20000000000-2000c000000 rw-p 00000000 00:00 0 
2000c000000-20040000000 rw-p 00000000 00:00 0                            [anon:mimalloc]
7f0000000000-7f0040000000 rw-p 00000000 00:00 0                          [stack]
7f1000000000-7f1040000000 r--p 00000000 00:00 0 
7f2000000000-7f2040000000 rw-s 00000000 00:01 77                         /dev/zero (deleted)
7f3000001000-7f3040001000 rw-p 00000000 00:00 0 
7f4000000000-7f4000800000 rw-p 00000000 00:00 0 
";
        assert_eq!(arenas(maps), [(0x200_0000_0000, 1 << 30), (0x7f30_0020_0000, (1 << 30) - BLOCK_BYTES)]);
        assert_eq!(arenas("nonsense\n-\nzz-yy rw-p 0 0 0\n"), []);
    }

    #[test]
    fn a_block_is_made_ready_and_keeps_what_it_has() {
        let bytes = 4 * BLOCK_BYTES;
        let mut memory = vec![0_u8; bytes];
        let start = (memory.as_ptr() as usize).next_multiple_of(BLOCK_BYTES);
        let offset = start - memory.as_ptr() as usize;
        memory[offset + BLOCK_BYTES] = 7;
        let mut touched = Vec::new();
        Kernel.touched(start, 2, &mut touched).expect("the range is mapped");
        assert!(touched[1]);
        assert!(Kernel.prepare(start).expect("the kernel takes the advice"));
        assert!(Kernel.prepare(start + BLOCK_BYTES).expect("the kernel takes the advice"));
        touched.clear();
        Kernel.touched(start, 2, &mut touched).expect("the range is mapped");
        assert_eq!(touched, [true, true]);
        assert_eq!((memory[offset], memory[offset + BLOCK_BYTES]), (0, 7));
    }
}

//! The provided buffer ring that multishot receives fill.
//!
//! One allocation holds the ring's entries (page-aligned, as the kernel asks), another the buffers. Both outlive
//! the io_uring instance: the server drops its ring first. A buffer belongs to the kernel from `give` (or the
//! start) until a completion names it, and to us until it is given back.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{IoUring, cqueue, types::BufRingEntry};

/// `IOU_PBUF_RING_INC`: the kernel consumes a buffer piece by piece (Linux 6.12).
const RING_INCREMENTAL: u16 = 2;
/// Alignment of the ring's entries.
const PAGE_BYTES: usize = 4096;

/// How receives take buffers from the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferMode {
    /// A buffer for each receive.
    Plain,
    /// As many buffers for a receive as it fills (Linux 6.10).
    Bundle,
    /// Large buffers, consumed piece by piece by one receive after the other (Linux 6.12).
    Incremental,
}

/// A page-aligned, zeroed allocation.
struct Pages {
    start: *mut u8,
    layout: Layout,
}

impl Pages {
    fn new(bytes: usize) -> Self {
        let layout =
            Layout::from_size_align(bytes.max(PAGE_BYTES), PAGE_BYTES).expect("sizes are small constants");
        // SAFETY: the layout's size is not zero, by the `max` above.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        Self { start, layout }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `new` allocated `start` with this layout, and nothing else frees it.
        unsafe { dealloc(self.start, self.layout) }
    }
}

/// A registered group of receive buffers.
pub(crate) struct BufferRing {
    entries: Pages,
    data: Pages,
    buffer_count: u16,
    buffer_bytes: u32,
    mode: BufferMode,
    /// Our copy of the ring's tail; the kernel reads the shared one.
    tail: u16,
    /// Incremental mode: bytes consumed of each buffer.
    consumed: Vec<u32>,
}

impl BufferRing {
    /// The only buffer group of the server.
    pub(crate) const GROUP: u16 = 0;

    /// Registers `buffer_count` (a power of two) buffers of `buffer_bytes` with the ring.
    pub(crate) fn register(
        ring: &IoUring,
        mode: BufferMode,
        buffer_count: u16,
        buffer_bytes: u32,
    ) -> io::Result<Self> {
        assert!(buffer_count.is_power_of_two(), "the kernel masks with the ring's size: {buffer_count}");
        let mut buffers = Self {
            entries: Pages::new(usize::from(buffer_count) * size_of::<BufRingEntry>()),
            data: Pages::new(usize::from(buffer_count) * buffer_bytes as usize),
            buffer_count,
            buffer_bytes,
            mode,
            tail: 0,
            consumed: vec![0; usize::from(buffer_count)],
        };
        for id in 0..buffer_count {
            buffers.give(id);
        }
        let flags = if mode == BufferMode::Incremental { RING_INCREMENTAL } else { 0 };
        // SAFETY: `entries` is page-aligned, holds `buffer_count` entries, and outlives the ring (see the
        // module's head); so do the buffers that the entries point to.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                buffers.entries.start as u64,
                buffer_count,
                Self::GROUP,
                flags,
            )?;
        }
        Ok(buffers)
    }

    /// Hands each piece of received data that a completion reports to `take`, and its buffers back to the kernel.
    pub(crate) fn consume(&mut self, first_id: u16, flags: u32, length: u32, mut take: impl FnMut(&[u8])) {
        match self.mode {
            BufferMode::Plain => {
                take(self.slice(first_id, 0, length));
                self.give(first_id);
            }
            BufferMode::Bundle => {
                // A bundle takes buffers in ring order, which is the order of ids: they're given back in the
                // order in which they were taken.
                let (mut id, mut left) = (first_id, length);
                while left > 0 {
                    let piece = left.min(self.buffer_bytes);
                    take(self.slice(id, 0, piece));
                    self.give(id);
                    left -= piece;
                    id = (id + 1) & (self.buffer_count - 1);
                }
            }
            BufferMode::Incremental => {
                let start = self.consumed[usize::from(first_id)];
                take(self.slice(first_id, start, length));
                if cqueue::buffer_more(flags) {
                    self.consumed[usize::from(first_id)] = start + length;
                } else {
                    self.consumed[usize::from(first_id)] = 0;
                    self.give(first_id);
                }
            }
        }
    }

    fn slice(&self, id: u16, start: u32, length: u32) -> &[u8] {
        assert!(
            id < self.buffer_count && start + length <= self.buffer_bytes,
            "buffer {id}: {start} + {length}"
        );
        let offset = usize::from(id) * self.buffer_bytes as usize + start as usize;
        // SAFETY: in bounds by the assert; the kernel filled these bytes and does not write to them again before
        // the buffer is given back, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.data.start.add(offset), length as usize) }
    }

    /// Gives buffer `id` to the kernel.
    fn give(&mut self, id: u16) {
        let index = usize::from(self.tail & (self.buffer_count - 1));
        #[expect(clippy::cast_ptr_alignment, reason = "`Pages` are page-aligned")]
        let entries = self.entries.start.cast::<BufRingEntry>();
        // SAFETY: `index` is below `buffer_count`, and the kernel does not read an entry at or after the tail.
        // The first entry shares its last two bytes with the tail, which these setters leave alone.
        unsafe {
            let entry = &mut *entries.add(index);
            entry.set_addr(self.data.start.add(usize::from(id) * self.buffer_bytes as usize) as u64);
            entry.set_len(self.buffer_bytes);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies inside the first entry, is aligned for `u16`, and is only ever accessed atomically
        // once the kernel knows the ring.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

//! The ring of buffers that the kernel receives into, shared by all sockets of a shard, so that an idle
//! connection holds none.
//!
//! With incremental consumption (kernel 6.12) the kernel fills a buffer piece by piece, receive after receive, and
//! says with each completion whether it goes on with it: small requests lie side by side in one warm buffer.
//! Without it, every receive takes a whole buffer. Either way a buffer returns to the ring when the kernel
//! has left it *and* every piece of it has been recycled.
#![expect(unsafe_code, reason = "memory shared with the kernel")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::runtime::driver::ReceivedBytes;

/// The group that every receive names.
pub(super) const GROUP: u16 = 0;
const PAGE_BYTES: usize = 4096;
/// IORING_REGISTER_PBUF_RING flag of incremental consumption.
const IOU_PBUF_RING_INC: u16 = 2;

/// How many buffers of what size: two mebibytes in either shape. 64 KiB incremental buffers were best
/// at pipeline 16, and one turn of a busy shard brings far less than all of it.
#[derive(Clone, Copy)]
struct Shape {
    count: u16,
    bytes: u32,
}
const INCREMENTAL: Shape = Shape { count: 32, bytes: 64 << 10 };
const WHOLE: Shape = Shape { count: 128, bytes: 16 << 10 };
const _: () = assert!(INCREMENTAL.count.is_power_of_two() && WHOLE.count.is_power_of_two());

#[derive(Clone, Copy, Default)]
struct BufferState {
    /// Bytes that the kernel has filled since the buffer was last offered.
    filled: u32,
    /// Pieces handed out and not yet recycled.
    outstanding: u32,
    /// The kernel still fills it (or it waits in the ring).
    with_kernel: bool,
}

/// The provided buffers of one ring.
pub(super) struct ReceiveBuffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    shape: Shape,
    incremental: bool,
    states: Vec<BufferState>,
    /// Next free place of the ring, in the kernel's 16-bit count.
    tail: u16,
    tail_published: u16,
}

impl ReceiveBuffers {
    fn ring_layout(shape: Shape) -> Layout {
        Layout::from_size_align(usize::from(shape.count) * size_of::<BufRingEntry>(), PAGE_BYTES)
            .expect("a ring of a few hundred entries has a layout")
    }

    fn memory_layout(shape: Shape) -> Layout {
        Layout::from_size_align(usize::from(shape.count) * shape.bytes as usize, PAGE_BYTES)
            .expect("a few mebibytes have a layout")
    }

    /// Allocates the buffers and registers them with the ring.
    pub(super) fn register(ring: &IoUring, incremental: bool) -> io::Result<Self> {
        let shape = if incremental { INCREMENTAL } else { WHOLE };
        let (ring_layout, memory_layout) = (Self::ring_layout(shape), Self::memory_layout(shape));
        // SAFETY: both layouts have a size above zero.
        let (entries, memory) = unsafe { (alloc_zeroed(ring_layout), alloc_zeroed(memory_layout)) };
        if entries.is_null() || memory.is_null() {
            handle_alloc_error(memory_layout);
        }
        let mut buffers = ReceiveBuffers {
            entries: entries.cast(),
            memory,
            shape,
            incremental,
            states: vec![BufferState::default(); usize::from(shape.count)],
            tail: 0,
            tail_published: 0,
        };
        let flags = if incremental { IOU_PBUF_RING_INC } else { 0 };
        // SAFETY: `entries` is page-aligned, zeroed, holds `count` entries, and lives as long as `self`, which the
        // driver drops after the ring.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries as u64, shape.count, GROUP, flags)? };
        for index in 0..shape.count {
            buffers.offer(index);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Puts a buffer, empty, at the ring's tail.
    fn offer(&mut self, index: u16) {
        let place = usize::from(self.tail & (self.shape.count - 1));
        // SAFETY: `place` is below `count`, and the kernel does not look at entries at or past the published tail.
        let entry = unsafe { &mut *self.entries.add(place) };
        // SAFETY: `index` is below `count`, so the address is inside `memory`.
        let address = unsafe { self.memory.add(usize::from(index) * self.shape.bytes as usize) };
        entry.set_addr(address as u64);
        entry.set_len(self.shape.bytes);
        entry.set_bid(index);
        self.states[usize::from(index)] = BufferState { filled: 0, outstanding: 0, with_kernel: true };
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel the buffers offered since the last time.
    pub(super) fn publish(&mut self) {
        if self.tail == self.tail_published {
            return;
        }
        // SAFETY: `entries` is the start of a registered ring; the tail overlays its first entry's reserved field and is
        // written by this thread only.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
        self.tail_published = self.tail;
    }

    /// The piece that a receive of `len` bytes has filled; `more`: the kernel goes on with this buffer. Nothing for an
    /// empty piece of an incremental buffer: that stays at the ring's head, whatever the kernel says of it.
    pub(super) fn take(&mut self, index: u16, len: u32, more: bool) -> Option<ReceivedBytes> {
        if len == 0 && self.incremental {
            return None;
        }
        let state = &mut self.states[usize::from(index)];
        let offset = state.filled;
        assert!(
            state.with_kernel && offset + len <= self.shape.bytes,
            "receive buffer {index}: {len} bytes at {offset} of {}, with kernel: {}",
            self.shape.bytes,
            state.with_kernel
        );
        state.filled += len;
        state.outstanding += 1;
        state.with_kernel = self.incremental && more;
        Some(ReceivedBytes { buffer: u32::from(index), offset, len })
    }

    /// The bytes of a piece.
    #[inline]
    pub(super) fn bytes(&self, received: &ReceivedBytes) -> &[u8] {
        let start = received.buffer as usize * self.shape.bytes as usize + received.offset as usize;
        debug_assert!(start + received.len as usize <= Self::memory_layout(self.shape).size());
        // SAFETY: `take` checked that the piece lies inside its buffer; the kernel has filled it and writes only past it until
        // the piece is recycled, which takes `&mut self` and so ends this borrow.
        unsafe { std::slice::from_raw_parts(self.memory.add(start), received.len as usize) }
    }

    /// Takes a piece back, and offers its buffer again when it was the last.
    pub(super) fn recycle(&mut self, received: &ReceivedBytes) {
        let state = &mut self.states[received.buffer as usize];
        assert!(state.outstanding > 0, "receive buffer {} recycled twice", received.buffer);
        state.outstanding -= 1;
        if state.outstanding == 0 && !state.with_kernel {
            self.offer(received.buffer as u16);
        }
    }
}

impl Drop for ReceiveBuffers {
    fn drop(&mut self) {
        // SAFETY: allocated with these layouts in `register`; the ring, the only other user, is closed before: the driver's
        // `ring` field is declared first.
        unsafe {
            dealloc(self.entries.cast(), Self::ring_layout(self.shape));
            dealloc(self.memory, Self::memory_layout(self.shape));
        }
    }
}

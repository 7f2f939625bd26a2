//! Memory for direct I/O: one owned, aligned, initialised block.
//!
//! Invariants:
//! - the address is a multiple of [`BUFFER_ALIGNMENT`], the capacity a nonzero multiple of it, and neither
//!   changes while the buffer lives, so that a kernel may hold the address while the value itself moves;
//! - every byte is initialised, from the first moment on (zeros).

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

/// Alignment of a buffer's address and of its capacity: a page, and at least what direct I/O asks for on every
/// block device in use (512 or 4096).
pub const BUFFER_ALIGNMENT: usize = 4096;

/// An owned block of memory that direct I/O accepts. Dereferences to its whole capacity.
pub struct AlignedBuffer {
    pointer: NonNull<u8>,
    capacity: usize,
}

impl AlignedBuffer {
    /// A zeroed buffer of at least `bytes`, rounded up to [`BUFFER_ALIGNMENT`].
    ///
    /// # Panics
    /// When `bytes` exceeds half the address space.
    pub fn new(bytes: usize) -> Self {
        let capacity = bytes.max(1).next_multiple_of(BUFFER_ALIGNMENT);
        let layout = Self::layout(capacity);
        // SAFETY: the layout's size is not zero: `capacity` is at least BUFFER_ALIGNMENT by the line above it.
        let pointer = unsafe { alloc_zeroed(layout) };
        let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(layout) };
        Self { pointer, capacity }
    }

    /// Bytes that the buffer holds.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The address, for a system call that reads from the buffer. Valid as long as the buffer is not dropped.
    pub const fn as_ptr(&self) -> *const u8 {
        self.pointer.as_ptr()
    }

    /// The address, for a system call that writes into the buffer. Valid as long as the buffer is not dropped.
    pub const fn as_mut_ptr(&mut self) -> *mut u8 {
        self.pointer.as_ptr()
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, BUFFER_ALIGNMENT)
            .expect("a buffer is smaller than the address space")
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `new` allocated `capacity` bytes at `pointer` and zeroed them; they live until `drop`, and the
        // shared borrow of `self` keeps writers away.
        unsafe { slice::from_raw_parts(self.pointer.as_ptr(), self.capacity) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; the exclusive borrow of `self` keeps everyone else away.
        unsafe { slice::from_raw_parts_mut(self.pointer.as_ptr(), self.capacity) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: `pointer` came from `alloc_zeroed` in `new` with this very layout (`capacity` never changes),
        // and a value is dropped once.
        unsafe { dealloc(self.pointer.as_ptr(), Self::layout(self.capacity)) }
    }
}

// SAFETY: the buffer owns its memory alone, as a `Box<[u8]>` does; the helper threads of a driver without
// asynchronous file I/O receive it by value.
unsafe impl Send for AlignedBuffer {}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_buffer_is_aligned_zeroed_and_rounded_up() {
        for bytes in [0, 1, 4096, 4097, 1 << 20] {
            let mut buffer = AlignedBuffer::new(bytes);
            assert_eq!(buffer.as_ptr() as usize % BUFFER_ALIGNMENT, 0);
            assert!(buffer.capacity() >= bytes && buffer.capacity().is_multiple_of(BUFFER_ALIGNMENT));
            assert!(buffer.iter().all(|&byte| byte == 0));
            buffer.fill(7);
            assert_eq!(buffer.len(), buffer.capacity());
        }
    }

    #[test]
    fn moving_the_buffer_leaves_the_bytes_where_they_are() {
        let mut buffer = AlignedBuffer::new(1);
        buffer[0] = 42;
        let address = buffer.as_ptr();
        let moved = Box::new(buffer);
        assert_eq!(moved.as_ptr(), address);
        assert_eq!(moved[0], 42);
    }
}

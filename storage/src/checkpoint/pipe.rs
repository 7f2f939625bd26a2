//! The blocks between the walk, which fills them in the shard's turns, and the task that writes them.
//!
//! - There are [`BLOCKS_MAX`] buffers and no more: when none is empty the walk rests. So memory is bounded whatever the disk
//!   does, and nothing else waits for it: what is written to keys meanwhile is in the log.
//! - Both ends belong to the shard's thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::limits::{BLOCK_BYTES_MAX, BLOCKS_MAX};
use crate::buffer::AlignedBuffer;

/// A whole block, sealed.
#[derive(Debug)]
pub struct Block {
    /// The first `len` bytes are the block.
    pub buffer: AlignedBuffer,
    /// Its length.
    pub len: usize,
}

#[derive(Default)]
struct State {
    full: VecDeque<Block>,
    empty: Vec<AlignedBuffer>,
    /// Buffers that exist.
    made: usize,
    /// No block follows.
    ended: bool,
    /// The file is not wanted any more.
    abandoned: bool,
    waker: Option<Waker>,
    /// How long the writer rests after each block.
    pause: Duration,
}

/// See the module. Clones are the same pipe.
#[derive(Clone, Default)]
pub struct BlockPipe {
    state: Rc<RefCell<State>>,
}

impl fmt::Debug for BlockPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("BlockPipe").field("full", &state.full.len()).field("made", &state.made).finish()
    }
}

impl BlockPipe {
    /// Whether a block may be filled.
    pub fn has_room(&self) -> bool {
        let state = self.state.borrow();
        !state.empty.is_empty() || state.made < BLOCKS_MAX
    }

    /// Memory of the buffers.
    pub fn memory_bytes(&self) -> usize {
        self.state.borrow().made * BLOCK_BYTES_MAX
    }

    /// A buffer to fill, if there is one.
    pub fn take_empty(&self) -> Option<AlignedBuffer> {
        let mut state = self.state.borrow_mut();
        state.empty.pop().or_else(|| {
            (state.made < BLOCKS_MAX).then(|| {
                state.made += 1;
                AlignedBuffer::new(BLOCK_BYTES_MAX)
            })
        })
    }

    /// Hands a block to the writer.
    pub fn push(&self, block: Block) {
        let mut state = self.state.borrow_mut();
        state.full.push_back(block);
        wake(&mut state);
    }

    /// The block pushed last was the last.
    pub fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.ended = true;
        wake(&mut state);
    }

    /// What has been written is of no use: the writer is to stop.
    pub fn abandon(&self) {
        let mut state = self.state.borrow_mut();
        state.abandoned = true;
        wake(&mut state);
    }

    /// How long the writer is to rest after each block from now on.
    pub fn set_pause(&self, pause: Duration) {
        self.state.borrow_mut().pause = pause;
    }

    /// The writer's end: how long to rest.
    pub fn pause(&self) -> Duration {
        self.state.borrow().pause
    }

    /// Whether [`Self::abandon`] has been called.
    pub fn is_abandoned(&self) -> bool {
        self.state.borrow().abandoned
    }

    /// The writer's end: the next block; none after the last, or when the file was given up.
    pub async fn next(&self) -> Option<Block> {
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            if state.abandoned {
                return Poll::Ready(None);
            }
            match state.full.pop_front() {
                Some(block) => Poll::Ready(Some(block)),
                None if state.ended => Poll::Ready(None),
                None => {
                    state.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The next block, if there is one at once.
    pub fn try_next(&self) -> Option<Block> {
        self.state.borrow_mut().full.pop_front()
    }

    /// The writer's end: a block has been written.
    pub fn recycle(&self, buffer: AlignedBuffer) {
        self.state.borrow_mut().empty.push(buffer);
    }
}

fn wake(state: &mut State) {
    if let Some(waker) = state.waker.take() {
        waker.wake();
    }
}

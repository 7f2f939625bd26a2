//! One mapping of the allocator, by blocks of a huge page: which are in use, and which are to be made ready.

use std::io;
use std::ops::Range;

/// A huge page.
pub(super) const BLOCK_BYTES: usize = 2 << 20;
/// How many blocks are made ready at first, and at most.
const WINDOW_MIN: usize = 4;
const WINDOW_MAX: usize = 64;
/// At most this part of what is in use is made ready at a time.
const WINDOW_PART: usize = 8;
/// How far behind what is known a short look goes.
const LOOK_BLOCKS: usize = 4;

/// What is asked of the kernel.
pub(super) trait Memory {
    /// Appends for each of so many blocks from `address` whether any of it is there.
    fn touched(&self, address: usize, blocks: usize, touched: &mut Vec<bool>) -> io::Result<()>;

    /// Makes the block at `address` ready, and tells whether there was memory for it.
    fn prepare(&self, address: usize) -> io::Result<bool>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Untouched,
    /// Faulted by whoever used it first.
    Used,
    /// Made ready.
    Prepared,
}

#[derive(Debug)]
pub(super) struct Ground {
    start: usize,
    blocks: Vec<Block>,
    /// How many are not untouched.
    used: usize,
    touched: Vec<bool>,
}

impl Ground {
    pub(super) fn new(start: usize, blocks: usize) -> Self {
        Self { start, blocks: vec![Block::Untouched; blocks], used: 0, touched: Vec::new() }
    }

    pub(super) const fn start(&self) -> usize {
        self.start
    }

    pub(super) const fn used_blocks(&self) -> usize {
        self.used
    }

    pub(super) fn resize(&mut self, blocks: usize) {
        self.blocks.resize(blocks, Block::Untouched);
        self.used = self.blocks.iter().filter(|block| **block != Block::Untouched).count();
    }

    /// Finds what has been touched since the last look, as streaks of blocks: right behind what is known, or `everywhere`.
    pub(super) fn look(&mut self, memory: &impl Memory, everywhere: bool) -> io::Result<Vec<Range<usize>>> {
        let mut streaks: Vec<Range<usize>> = Vec::new();
        let mut from = 0;
        while let Some(run) = self.untouched_from(from) {
            from = run.end;
            let blocks = if everywhere { run.len() } else { run.len().min(LOOK_BLOCKS) };
            self.touched.clear();
            memory.touched(self.address(run.start), blocks, &mut self.touched)?;
            for (index, _) in self.touched.iter().enumerate().filter(|(_, touched)| **touched) {
                let block = run.start + index;
                self.blocks[block] = Block::Used;
                self.used += 1;
                match streaks.last_mut() {
                    Some(streak) if streak.end == block => streak.end += 1,
                    _ => streaks.push(block..block + 1),
                }
            }
        }
        Ok(streaks)
    }

    /// Makes blocks behind a streak of used ones ready. If the streak follows blocks that had been made ready, twice as many as those
    /// were. Returns how many.
    pub(super) fn prepare_behind(&mut self, memory: &impl Memory, streak: Range<usize>) -> io::Result<usize> {
        let before = self.blocks[..streak.start].iter().rev();
        let run = before.take_while(|block| **block == Block::Prepared).count();
        let most = (self.used / WINDOW_PART).clamp(WINDOW_MIN, WINDOW_MAX);
        let window = (2 * run).clamp(WINDOW_MIN, most);
        let mut prepared = 0;
        for block in streak.end..self.blocks.len() {
            if prepared == window || self.blocks[block] != Block::Untouched {
                break;
            }
            // Whoever it is made ready for may have come meanwhile.
            self.touched.clear();
            memory.touched(self.address(block), 1, &mut self.touched)?;
            self.used += 1;
            if self.touched.first().copied().unwrap_or(true) {
                self.blocks[block] = Block::Used;
            } else if memory.prepare(self.address(block))? {
                self.blocks[block] = Block::Prepared;
                prepared += 1;
            } else {
                self.blocks[block] = Block::Used;
                break;
            }
        }
        Ok(prepared)
    }

    fn untouched_from(&self, from: usize) -> Option<Range<usize>> {
        let is_untouched = |block: &Block| *block == Block::Untouched;
        let start = from + self.blocks.get(from..)?.iter().position(is_untouched)?;
        let length = self.blocks[start..].iter().take_while(|block| is_untouched(block)).count();
        Some(start..start + length)
    }

    const fn address(&self, block: usize) -> usize {
        self.start + block * BLOCK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const START: usize = 7 << 30;

    /// Memory that remembers which blocks are there, and which of them were made ready.
    #[derive(Default)]
    struct Fake {
        there: RefCell<Vec<bool>>,
        prepared: RefCell<Vec<usize>>,
        room: usize,
    }

    impl Fake {
        fn new(blocks: usize) -> Self {
            Self { there: RefCell::new(vec![false; blocks]), room: usize::MAX, ..Self::default() }
        }

        fn touch(&self, block: usize) {
            self.there.borrow_mut()[block] = true;
        }
    }

    impl Memory for Fake {
        fn touched(&self, address: usize, blocks: usize, touched: &mut Vec<bool>) -> io::Result<()> {
            let first = (address - START) / BLOCK_BYTES;
            touched.extend(&self.there.borrow()[first..first + blocks]);
            Ok(())
        }

        fn prepare(&self, address: usize) -> io::Result<bool> {
            if self.prepared.borrow().len() == self.room {
                return Ok(false);
            }
            self.touch((address - START) / BLOCK_BYTES);
            self.prepared.borrow_mut().push((address - START) / BLOCK_BYTES);
            Ok(true)
        }
    }

    fn step(ground: &mut Ground, memory: &Fake, everywhere: bool) {
        for streak in ground.look(memory, everywhere).expect("it is mapped") {
            ground.prepare_behind(memory, streak).expect("it is mapped");
        }
    }

    #[test]
    fn who_fills_memory_in_order_finds_nearly_all_of_it_ready() {
        let memory = Fake::new(512);
        let mut ground = Ground::new(START, 512);
        for block in 0..512 {
            memory.touch(block);
            step(&mut ground, &memory, false);
        }
        let prepared = memory.prepared.borrow();
        assert!(prepared.len() > 480, "{}", prepared.len());
        assert!(prepared.is_sorted() && prepared.iter().all(|block| *block > 0));
        assert_eq!(ground.used_blocks(), 512);
    }

    #[test]
    fn never_more_is_made_ready_than_an_eighth_of_what_is_used() {
        for used in [1, 10, 100, 400] {
            let memory = Fake::new(1024);
            let mut ground = Ground::new(START, 1024);
            for block in 0..used {
                memory.touch(block);
                step(&mut ground, &memory, false);
                let most = ((block + 1) / WINDOW_PART).max(WINDOW_MIN);
                assert!(ground.used_blocks() <= block + 1 + most, "{} at {block}", ground.used_blocks());
            }
        }
    }

    #[test]
    fn those_who_fill_different_places_are_each_found() {
        let memory = Fake::new(512);
        let mut ground = Ground::new(START, 512);
        for offset in 0..100 {
            memory.touch(offset);
            memory.touch(300 + offset);
            step(&mut ground, &memory, offset % 16 == 0);
        }
        let prepared = memory.prepared.borrow();
        assert!(prepared.iter().filter(|block| **block < 300).count() > 70);
        assert!(prepared.iter().filter(|block| **block > 300).count() > 70);
    }

    #[test]
    fn what_has_no_memory_is_left_to_others() {
        let memory = Fake { room: 3, ..Fake::new(64) };
        let mut ground = Ground::new(START, 64);
        memory.touch(0);
        step(&mut ground, &memory, true);
        assert_eq!(*memory.prepared.borrow(), [1, 2, 3]);
        assert_eq!(ground.used_blocks(), 5, "the refused one is not asked for again");
    }

    #[test]
    fn a_mapping_that_grows_is_known_in_its_new_length() {
        let memory = Fake::new(64);
        let mut ground = Ground::new(START, 8);
        memory.touch(7);
        step(&mut ground, &memory, true);
        assert_eq!(*memory.prepared.borrow(), [] as [usize; 0]);
        ground.resize(64);
        memory.touch(8);
        step(&mut ground, &memory, false);
        assert_eq!(*memory.prepared.borrow(), [9, 10, 11, 12]);
        ground.resize(4);
        assert_eq!(ground.used_blocks(), 0);
    }
}

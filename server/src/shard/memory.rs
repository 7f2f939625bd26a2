//! The limit on memory: `maxmemory` by equal parts for each shard.
//!
//! What is there is measured exactly, which takes some microseconds, whenever what commands have brought since the last time may
//! have passed the limit. So most commands cost an addition, and without a limit a comparison.
//!
//! As in Redis a command is judged by what was there before it. One that brings much may pass the limit; those after it
//! make room again, or are refused. Giving up keys takes a bounded time: what remains to be given up is in the turns to come.

use super::Core;
use super::batch::Origin;
use super::limits::{COMMAND_MEMORY_BYTES, EVICT_PER_COMMAND, EVICT_PER_TURN};
use super::transactions::is_locked;

/// Why a command that needs memory does not run, in Redis's words.
pub(super) const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    /// This shard's part; `usize::MAX` is none.
    limit: usize,
    /// What was measured last, and what has come since at most.
    estimate: usize,
}

impl Default for MemoryLimit {
    fn default() -> Self {
        Self { limit: usize::MAX, estimate: 0 }
    }
}

impl Core {
    /// Takes over the limit from the settings.
    pub(super) fn limit_memory(&mut self) {
        let part = self.settings.maxmemory.div_ceil(u64::from(self.shards));
        let limit = usize::try_from(part).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        self.memory = MemoryLimit { limit, estimate: usize::MAX };
        self.store.set_access(self.settings.maxmemory_policy.access());
        self.store.forget_candidates();
    }

    /// Whether a command that needs memory, with these arguments, may run now; keys are given up for it if need be.
    #[inline]
    pub(super) fn admit_memory(&mut self, args: &[&[u8]]) -> Result<(), &'static str> {
        if self.memory.limit == usize::MAX {
            return Ok(());
        }
        self.make_memory(args)
    }

    fn make_memory(&mut self, args: &[&[u8]]) -> Result<(), &'static str> {
        if self.memory.estimate > self.memory.limit && !self.keep_to_limit(EVICT_PER_COMMAND) {
            return Err(OUT_OF_MEMORY);
        }
        let bytes: usize = args.iter().map(|arg| arg.len()).sum();
        self.memory.estimate = self.memory.estimate.saturating_add(bytes + COMMAND_MEMORY_BYTES);
        Ok(())
    }

    /// Measures, and gives up keys. False if there's too much and nothing to give up.
    fn keep_to_limit(&mut self, budget: usize) -> bool {
        self.memory.estimate = self.store.live_bytes();
        if self.memory.estimate <= self.memory.limit {
            return true;
        }
        // What is logged must be taken: a log that takes nothing keeps all keys.
        let Some(policy) = self.settings.maxmemory_policy.eviction().filter(|_| self.may_expire()) else {
            return false;
        };
        let samples = self.settings.maxmemory_samples as usize;
        let locks = &self.locks;
        let evicted =
            self.store.evict((policy, samples), self.memory.limit, budget, &|key| is_locked(locks, key));
        self.memory.estimate = evicted.live_bytes;
        if self.store.has_touched() {
            // Before the command that memory is needed for has anything to tell.
            self.observe(None, &[], Origin::default());
        }
        !evicted.is_exhausted
    }

    /// Gives up keys between commands. Returns whether there are more to give up.
    pub(super) fn evict_slice(&mut self) -> bool {
        if self.memory.limit == usize::MAX || self.memory.estimate <= self.memory.limit {
            return false;
        }
        self.keep_to_limit(EVICT_PER_TURN) && self.memory.estimate > self.memory.limit
    }
}

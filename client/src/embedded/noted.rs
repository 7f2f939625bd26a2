//! What callers share under a lock for which the shard never waits: if it finds it taken, it leaves a note, and whoever has
//! the lock looks after giving it back.
#![expect(
    clippy::disallowed_types,
    reason = "callers share a line under a lock; the shard never waits for it"
)]

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering, fence},
    },
    task::Waker,
};

use smallvec::SmallVec;

pub(super) type Wakers = SmallVec<[Waker; 8]>;

/// What the shard has news for.
pub(super) trait HearsNews {
    /// Takes what the shard has sent, and lists whom to wake.
    fn on_news(&mut self, wakers: &mut Wakers);
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Noted<T> {
    inner: Mutex<T>,
    /// The shard had news while the lock was taken.
    missed: AtomicBool,
}

impl<T: HearsNews> Noted<T> {
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        // Nothing in here panics halfway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the lock back, looks whether the shard has been sent away meanwhile, and wakes who has something now.
    pub(super) fn unlock(&self, inner: MutexGuard<'_, T>, mut wakers: Wakers) {
        drop(inner);
        loop {
            for waker in wakers.drain(..) {
                waker.wake();
            }
            fence(Ordering::SeqCst);
            if !self.missed.load(Ordering::Relaxed) || !self.missed.swap(false, Ordering::AcqRel) {
                return;
            }
            let mut inner = self.lock();
            inner.on_news(&mut wakers);
            drop(inner);
        }
    }

    /// On the shard's thread: it has news.
    pub(super) fn tell(&self) {
        let Some(mut inner) = self.try_lock().or_else(|| {
            self.missed.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
            self.try_lock()
        }) else {
            // Whoever has it sees the note.
            return;
        };
        let mut wakers = Wakers::new();
        inner.on_news(&mut wakers);
        drop(inner);
        for waker in wakers {
            // What a program's waker does is its own business, and must not end the shard.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
        }
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(inner) => Some(inner),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

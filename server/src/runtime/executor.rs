//! Runs the shard's `async` code: background work such as preparing segments and recovery. The path of a
//! command doesn't come through here.
//!
//! Tasks run on the shard's thread only, in the order in which they were woken. A waker may be called from anywhere;
//! it puts the task's number into a lock-free queue.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

struct TaskWaker {
    index: usize,
    queued: AtomicBool,
    ready: mpsc::Sender<Arc<TaskWaker>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            // Fails only when the executor is gone, and the task with it.
            let _ = self.ready.clone().send(self);
        }
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Arc<TaskWaker>,
}

/// The tasks of one shard.
pub struct Executor {
    tasks: Slab<Task>,
    ready: mpsc::Receiver<Arc<TaskWaker>>,
    ready_sender: mpsc::Sender<Arc<TaskWaker>>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Default for Executor {
    fn default() -> Self {
        let (ready_sender, ready) = mpsc::channel();
        Executor { tasks: Slab::new(), ready, ready_sender }
    }
}

impl Executor {
    /// Adds a task; it is first polled by the next [`Executor::run_ready`].
    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let entry = self.tasks.vacant_entry();
        let waker = Arc::new(TaskWaker {
            index: entry.key(),
            queued: AtomicBool::new(false),
            ready: self.ready_sender.clone(),
        });
        entry.insert(Task { future: Box::pin(future), waker: Arc::clone(&waker) });
        waker.wake();
    }

    /// Polls every woken task once or more, until none is woken. Returns whether any was.
    pub fn run_ready(&mut self) -> bool {
        let mut any = false;
        while let Ok(woken) = self.ready.try_recv() {
            any = true;
            woken.queued.store(false, Ordering::Release);
            // A number may have been given to another task since: the waker tells them apart.
            let Some(task) = self.tasks.get_mut(woken.index).filter(|task| Arc::ptr_eq(&task.waker, &woken))
            else {
                continue;
            };
            let waker = Waker::from(Arc::clone(&woken));
            if let Poll::Ready(()) = task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
                drop(self.tasks.remove(woken.index));
            }
        }
        any
    }

    /// Tasks that have not ended.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether every task has ended.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_task_runs_when_woken_and_goes_when_it_ends() {
        let mut executor = Executor::default();
        let polls = Rc::new(Cell::new(0));
        let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
        let (seen, kept) = (Rc::clone(&polls), Rc::clone(&waker));
        executor.spawn(poll_fn(move |context| {
            seen.set(seen.get() + 1);
            *kept.borrow_mut() = Some(context.waker().clone());
            if seen.get() == 3 { Poll::Ready(()) } else { Poll::Pending }
        }));
        assert!(executor.run_ready());
        assert!(!executor.run_ready(), "not woken, so not polled");
        assert_eq!(polls.get(), 1);
        for _ in 0..2 {
            waker.borrow().as_ref().unwrap().wake_by_ref();
            waker.borrow().as_ref().unwrap().wake_by_ref();
            executor.run_ready();
        }
        assert_eq!(polls.get(), 3, "two wakes before a poll are one");
        assert!(executor.is_empty());
        waker.borrow().as_ref().unwrap().wake_by_ref();
        executor.run_ready();
        assert_eq!(polls.get(), 3);
    }
}

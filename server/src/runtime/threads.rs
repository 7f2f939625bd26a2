//! The threads of the process: one for each shard, pinned.
#![expect(clippy::disallowed_methods, reason = "this is where threads are started")]

use std::io;
use std::thread::{Builder, JoinHandle};

/// The cores that this process may run on, by number. Empty when the system doesn't say.
pub fn cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Starts a named thread; on `core`, if given and the system allows it (the returned flag of `body` says whether).
pub fn spawn<T: Send + 'static>(
    name: String,
    core: Option<usize>,
    body: impl FnOnce(bool) -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name).spawn(move || {
        let pinned = core.is_some_and(|id| core_affinity::set_for_current(core_affinity::CoreId { id }));
        body(pinned)
    })
}

/// Stops the calling thread for so long: only for DEBUG SLEEP, whose purpose that is.
pub fn block_for(time: std::time::Duration) {
    std::thread::sleep(time);
}

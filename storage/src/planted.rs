//! Mistakes that a test asks for, to see that they are found. Compiled with the feature `planted` only: no build that
//! anybody runs has them.

use std::cell::Cell;
use std::sync::OnceLock;

/// Which mistakes are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// A read does not wait for the write that it shows.
    pub forget_read_gate: bool,
    /// A frame is taken whatever its checksum says.
    pub skip_checksum: bool,
    /// Recovery applies a frame again after the one behind it.
    pub replay_twice: bool,
    /// Frames are written without a sync, and count as durable all the same.
    pub skip_commit_sync: bool,
    /// A log calls its part of a transaction durable without waiting for the other logs.
    pub half_commit: bool,
    /// A key is there for a while after its time.
    pub expire_late: bool,
}

static EVERYWHERE: OnceLock<Planted> = OnceLock::new();

thread_local! {
    static PLANTED: Cell<Planted> = Cell::new(EVERYWHERE.get().copied().unwrap_or_default());
}

/// Makes these mistakes on this thread from now on.
pub fn plant(planted: Planted) {
    PLANTED.set(planted);
}

/// Makes these mistakes on every thread that starts from now on. Once in a process: a second call changes nothing.
pub fn plant_everywhere(planted: Planted) {
    let _ = EVERYWHERE.set(planted);
}

pub(crate) fn planted() -> Planted {
    PLANTED.get()
}

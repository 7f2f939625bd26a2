//! Mistakes that a test asks for, to see that they are found. Compiled with the feature `planted` only: no build that
//! anybody runs has them.

use std::cell::Cell;

/// Which mistakes this thread makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// A read does not wait for the write that it shows.
    pub forget_read_gate: bool,
    /// A frame is taken whatever its checksum says.
    pub skip_checksum: bool,
    /// Recovery applies a frame again after the one behind it.
    pub replay_twice: bool,
}

thread_local! {
    static PLANTED: Cell<Planted> = const {
        Cell::new(Planted { forget_read_gate: false, skip_checksum: false, replay_twice: false })
    };
}

/// Makes these mistakes on this thread from now on.
pub fn plant(planted: Planted) {
    PLANTED.set(planted);
}

pub(crate) fn planted() -> Planted {
    PLANTED.get()
}

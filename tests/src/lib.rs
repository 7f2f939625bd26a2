//! Whole-system tests: what they share.
//!
//! The tests in `tests/` drive the `annulus` binary from outside, as users do, and a real `redis-server`
//! beside it as the oracle. Nothing of Annulus is linked in there; whatever is asserted here was seen on a socket, in the
//! exit status, or on disk.
//!
//! - [`server`]: start, kill, stop and restart a server process; [`process`]: deadlines and child processes;
//!   [`binaries`]: where the programs under test come from.
//! - [`resp`]: a minimal raw RESP client of our own, so that no client library hides what was on the wire.
//! - [`powercut`]: a real file system on a disk whose power can be cut.
//! - [`script`]: tables of commands and expected replies; [`random`]: one seeded source; [`glob`]: patterns in them.
//! - [`damage`]: what may happen to the files of a stopped server, and what to fill them with.
//! - [`sim`]: the simulator, which has the server's code inside; [`mistaken`]: servers with a planted mistake.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the harness is outside the server: it watches real clocks, files and processes"
)]

pub mod binaries;
pub mod damage;
pub mod glob;
pub mod mistaken;
pub mod powercut;
pub mod process;
pub mod random;
pub mod resp;
pub mod script;
pub mod server;
pub mod sim;

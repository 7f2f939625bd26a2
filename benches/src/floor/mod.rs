//! The floor: an io_uring server that speaks just enough RESP to keep a load generator content, and keeps no data.
//!
//! Its CPU time per command is what the kernel's TCP, the ring and the counting of commands cost on this machine.
//! Whatever a real server needs beyond that is its own.

mod parse;
mod server;

pub use server::{Floor, FloorOptions};

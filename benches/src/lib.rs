//! What the benchmarks share: the floor that no server on this kernel gets under, a load generator that is
//! cheaper than any server, and the side-by-side suite.
//!
//! The binaries in `src/bin` are the benchmarks; each is named after the one mechanism that it measures. How to
//! run them, and what they said, is in `docs/benchmarks.md`.
//!
//! This crate is not part of the server: it may read clocks, start processes and block.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures with the machine's clock and waits for processes"
)]

pub mod floor;
pub mod load;
pub mod peers;
pub mod ring;
pub mod suite;

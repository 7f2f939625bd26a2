//! What the benchmarks share: the floor that no server on this kernel gets under, and the side-by-side suite.
//!
//! The binaries in `src/bin` are the benchmarks; each is named after the one mechanism that it measures. How to
//! run them, and what they said, is in `docs/benchmarks.md`.
//!
//! This crate is not part of the server: it may read clocks, start processes and block.

pub mod floor;
pub mod suite;

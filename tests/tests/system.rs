//! The system tests, one module per subject; see `docs/testing.md`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests are outside the server: they watch real clocks, files and processes"
)]

mod backups;
mod bad_input;
mod blocking;
mod checkpoints;
mod clients;
mod cluster;
mod command_table;
mod differential;
mod durability;
mod exchange;
mod expiry;
mod listeners;
mod memory;
mod model;
mod retention;
mod scripting;
mod scripts;
mod tools;

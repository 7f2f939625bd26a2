//! A load generator that costs less per command than any server: closed-loop connections over one io_uring.
//!
//! The usual generators spend more CPU on a command than a good server does. With one core for each side the server
//! then sleeps between requests, and its CPU time per command is mostly the price of waking up. This generator
//! keeps a server busy on the same machine: requests are prepared once and only get other digits in their
//! keys, replies are counted and not looked at.
//!
//! Closed loop: a connection sends a pipeline of commands, waits for all replies, and sends the next. The latency
//! that it reports is that of a whole pipeline.

mod generator;
mod histogram;
mod reply;
mod request;

pub use generator::{LoadOptions, LoadOutcome, run};
pub use histogram::Histogram;
pub use request::{Command, key_name};

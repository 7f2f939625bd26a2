//! The side-by-side suite: servers started with fair flags, loads that take turns between them, tables of medians.
//!
//! Machines are noisy and differ; ratios within one run are what to trust, and the server's CPU time per
//! operation before its throughput. So every scenario starts all its servers first and then goes round: A, B, A, B.

mod client;
mod instructions;
mod load;
mod process;
mod report;
mod scenarios;
mod servers;
mod trial;

pub use load::Tool;
pub use report::{Table, median, number};
pub use scenarios::{Scenario, run};
pub use servers::{Binaries, Served};
pub use trial::Plan;

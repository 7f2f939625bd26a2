//! Commands on strings.

pub(super) mod bounded;
pub(super) mod counters;
pub(super) mod delete;
pub(super) mod digest;
pub(super) mod get;
pub(super) mod many;
pub(super) mod many_until;
mod options;
pub(super) mod range;
pub(super) mod set;
pub(super) mod throttle;

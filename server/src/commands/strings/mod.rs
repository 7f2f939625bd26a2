//! Commands on strings.

pub(super) mod counters;
pub(super) mod delete;
pub(super) mod digest;
pub(super) mod get;
pub(super) mod many;
mod options;
pub(super) mod range;
pub(super) mod set;

//! HyperLogLog: strings that count distinct elements, in Redis's own two formats, so that values can go from one to the other.
//!
//! ```text
//! byte 0..4    "HYLL"
//! byte 4       0: dense, 1: sparse
//! byte 5..8    zero
//! byte 8..16   the cardinality as last told, little-endian; the top bit of the last byte says that it is out of date
//! byte 16..    dense: 16384 registers of 6 bits, low bits first; sparse: runs of equal registers (see `sparse`)
//! ```
//!
//! - A value comes from clients (`SET` takes any bytes), so nothing in it is believed: a wrong header is the wrong type, wrong
//!   runs are a corrupted object.
//! - `PFCOUNT` believes a cardinality that is not out of date, but unlike Redis stores none: it is a read, and a read logs nothing.
//! - A sparse value grows dense where Redis lets it: both sides have the same bytes but for the stored cardinality.

pub(super) mod commands;
pub(super) mod debug;
mod dense;
mod estimate;
mod hash;
mod sparse;
mod value;

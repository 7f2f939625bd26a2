//! The side-by-side suite.

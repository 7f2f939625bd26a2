//! Annulus benches.

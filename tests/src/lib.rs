//! Annulus tests.

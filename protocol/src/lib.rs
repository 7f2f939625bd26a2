//! Annulus protocol.

//! The Annulus server.

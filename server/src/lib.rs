//! The Annulus server.
pub mod admin;

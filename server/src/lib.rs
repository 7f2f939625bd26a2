//! The Annulus server: one shard per core, each with its driver, sockets, keyspace and log.
//!
//! It is not a library of data structures (that is `annulus-storage`) nor of the wire (`annulus-protocol`): it is what joins
//! them to cores, sockets and disks. Read [`start`] for how a server comes up, [`shard`] for what a core does, [`runtime`] for how,
//! [`commands`] for what clients may ask, [`admin`] for what operators see.

#![deny(unsafe_code)]

pub mod admin;
pub mod commands;
pub mod runtime;
pub mod script;
pub mod shard;
pub mod start;

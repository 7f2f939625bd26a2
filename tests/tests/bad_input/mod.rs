//! Everything that can be wrong outside the server: bytes on a socket, clients that stall, limits that are reached, directories
//! that are not ours or not whole. Each gets a clear answer, and nobody else suffers.

mod connections;
mod damage;
mod protocol;
mod start;

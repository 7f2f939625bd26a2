//! One core's world: the driver that does the I/O, the executor, the mesh to other cores, time and randomness.
//!
//! Everything outside this module reaches sockets, files, clocks, threads and random numbers through it, so
//! that a simulated backend can stand in for all of them.

pub mod clock;
pub mod disk;
pub mod driver;
pub mod epoll;
pub mod executor;
pub mod file;
pub mod line;
pub mod listen;
pub mod mesh;
pub mod peers;
pub mod porter;
pub mod prefault;
pub mod rng;
pub mod sim;
pub mod threads;
pub mod uring;

pub use clock::{Clock, Time};
pub use disk::RuntimeDisk;
pub use driver::{
    AnyDriver, DiskOp, DiskResult, Driver, DriverChoice, DriverKind, Event, NewSocket, Peer, SocketId,
};
pub use executor::Executor;
pub use file::FileId;
pub use rng::Rng;

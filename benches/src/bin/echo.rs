//! The floor of the network path: a bare io_uring RESP echo server on one core. See `annulus_benches::floor`.

use std::io;

use annulus_benches::floor::{Floor, FloorOptions};
use annulus_benches::ring::BufferMode;
use clap::{Parser, ValueEnum};

/// A server that answers every command with a constant: what a RESP server costs at least.
#[derive(Parser)]
struct Arguments {
    /// TCP port on 127.0.0.1.
    #[arg(long, default_value_t = 7777)]
    port: u16,
    /// Core to run on; where the process may run, if not given.
    #[arg(long)]
    core: Option<usize>,
    /// How receives take their buffers.
    #[arg(long, value_enum, default_value_t = Receive::Incremental)]
    receive: Receive,
    /// Number of receive buffers (a power of two); the default depends on --receive.
    #[arg(long)]
    buffers: Option<u16>,
    /// Bytes of a receive buffer; the default depends on --receive.
    #[arg(long)]
    buffer_bytes: Option<u32>,
    /// Most connections; not above the limit of open files.
    #[arg(long, default_value_t = 16_384)]
    connections_max: u32,
}

/// The command line's names of [`BufferMode`].
#[derive(Clone, Copy, ValueEnum)]
enum Receive {
    /// A buffer for each receive.
    Plain,
    /// Several buffers for a receive.
    Bundle,
    /// Large buffers, consumed piece by piece.
    Incremental,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    if let Some(id) = arguments.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        return Err(io::Error::other(format!("cannot run on core {id}")));
    }
    let (mode, buffer_count, buffer_bytes) = match arguments.receive {
        Receive::Plain => (BufferMode::Plain, 1024, 4096),
        Receive::Bundle => (BufferMode::Bundle, 1024, 4096),
        Receive::Incremental => (BufferMode::Incremental, 16, 65_536),
    };
    let mut floor = Floor::new(FloorOptions {
        port: arguments.port,
        mode,
        buffer_count: arguments.buffers.unwrap_or(buffer_count),
        buffer_bytes: arguments.buffer_bytes.unwrap_or(buffer_bytes),
        connections_max: arguments.connections_max,
    })?;
    floor.run()
}

//! Shards within the program: the same store and the same API, without a socket.
//!
//! [`Embedded::open`] starts the shards, on cores that the caller chooses, and recovers their data directory, which
//! `annulus serve` may have written and may open later. [`Embedded::client`] and [`Embedded::blocking`] give clients as those
//! over the network, with all their commands, transactions, sessions, subscribers and caches.
//!
//! - **No serialisation of commands**: arguments go to the shard that owns the key as they are, through a queue between
//!   two threads; large ones ([`Command::bytes`](crate::Command::bytes)) are not even copied. Replies come as slices of what the shard has written.
//! - **Durable as ever**: a future of a write is ready when the write is as durable as the store's setting says.
//! - **From any thread**, and any async runtime: commands, pipelines, transactions and scans need none. Sessions, subscribers
//!   and caches need tokio's in async programs; `blocking` ones bring their own.
//! - **A dropped future gives up the reply**, not the command. A forgotten one costs one place in a list.
//! - A command has no time limit of its own here: where the disk hangs, so does the acknowledgement. Wrap it in your runtime's.
//!
//! A panic of the program's threads is nothing to the shards. A panic of a shard ends the process: what
//! was acknowledged is on disk, and half of the keys are nothing to go on with.
//!
//! ```no_run
//! use annulus_client::{Embedded, EmbeddedOptions, commands::*};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Embedded::open("./data", EmbeddedOptions::new().cores([1]))?;
//! let client = store.client();
//! client.set("greeting", "hello").await?;
//! store.close()?;
//! # Ok(())
//! # }
//! ```

mod handle;
mod line;
mod noted;
mod options;
mod stream;

use std::{fmt, path::PathBuf, sync::Arc};

use annulus::{
    runtime::Clock,
    start::{Opening, Programs, Running, open},
};
use annulus_storage::DatabaseId;

pub use annulus_storage::Durability;
pub use options::{EmbeddedOptions, StoreError};

pub(crate) use handle::{Handle, Pending, one};
pub(crate) use stream::{Doorway, LineStream};

use crate::{Client, blocking};

/// A store within this program; see the crate's documentation on embedding.
///
/// It's closed with [`Embedded::close`], which tells how that went, or when it is dropped; either waits until the log is sealed.
/// Clients don't keep it open: their commands then fail with [`Error::Connection`](crate::Error::Connection).
pub struct Embedded {
    running: Running,
    options: EmbeddedOptions,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Embedded").field("dir", &self.options.settings.dir).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens a data directory, or makes one. Returns when it has been recovered and the shards serve, which for a large one may take
    /// seconds: in async programs, do it before the runtime has other work.
    pub fn open(dir: impl Into<PathBuf>, mut options: EmbeddedOptions) -> Result<Self, StoreError> {
        options.settings.dir = dir.into();
        options.check()?;
        let running = open(Opening {
            settings: options.settings.clone(),
            config_file: String::new(),
            programs: Programs::Served,
            clock: Clock::default(),
            on_end: Arc::new(|| ()),
        })?;
        Ok(Self { running, options })
    }

    /// A client with lines of its own to the shards. Clones of it share them; threads with much to do do better with
    /// one each.
    pub fn client(&self) -> Client {
        Client::embedded(self.handle())
    }

    /// The same for programs without async.
    pub fn blocking(&self) -> blocking::Client {
        blocking::Client::embedded(self.client())
    }

    fn handle(&self) -> Handle {
        Handle::new(self.running.shared(), DatabaseId(self.options.database), self.options.spin)
    }

    /// The clean stop: commands under way end, and the log is sealed, so that the next start has nothing to check. Commands that were not
    /// yet taken fail; an error says which may have been carried out.
    pub fn close(self) -> Result<(), StoreError> {
        Ok(self.running.stop()?)
    }
}

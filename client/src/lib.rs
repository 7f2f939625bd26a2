//! The Rust client of Annulus.
//!
//! One typed API over the network: [`Client`] is async on tokio, [`blocking::Client`] is for programs without it; both
//! take the traits of [`commands`], so a command is written once. It speaks RESP3, and RESP2 to servers that know no better,
//! and works against Redis and Valkey too.
//!
//! - **Pipelining is automatic.** All clones of a client share one connection; commands of concurrent tasks leave in one write.
//! - **Bounded.** At most [`Options::in_flight`] commands are unanswered; whoever comes later waits, and nothing waits
//!   longer than [`Options::timeout`].
//! - **Nothing is applied twice.** After a lost connection, commands are sent again only if no byte of them had left,
//!   or if they only read. All others fail with [`Error::Connection`], and the caller knows what that means for them.
//! - **Aware of shards**, when asked ([`Routing::Shards`]): one connection per shard, each command to the core that owns its key.
//!
//! ```no_run
//! use annulus_client::{Client, commands::*};
//!
//! # async fn example() -> annulus_client::Result<()> {
//! let client = Client::connect("redis://127.0.0.1:6379").await?;
//! client.set("greeting", "hello").await?;
//! assert_eq!(client.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! What cannot share a connection has one of its own: [`Session`] (WATCH and EXEC, commands that wait), [`Subscriber`] (messages) and
//! [`Cache`] (replies kept on this side until the server says that they have changed). The feature `tls` adds `rediss://`; the
//! feature `embedded` adds `Embedded`, which has the store's shards within the program itself.
//!
//! What it deliberately is not: a pool (one connection per shard carries what a server's core can do), or an object
//! mapper.

#![forbid(unsafe_code)]

// What callers hold.
pub mod blocking;
mod cache;
mod client;
#[cfg(feature = "embedded")]
pub mod embedded;
mod options;
mod scan;
mod session;
mod subscriber;
#[cfg(feature = "tls")]
mod tls;
mod url;

// What goes over the wire.
mod command;
pub mod commands;
mod convert;
mod error;
mod value;

// How it gets there.
mod codec;
mod connection;
mod driver;
mod handshake;
mod in_flight;
mod lookout;
mod read;
mod shards;
mod stream;
mod transaction;
mod wire;

pub use cache::{Cache, CacheCall, CacheOptions, CacheStats};
pub use client::{Call, Client};
pub use command::{Command, Pipeline};
pub use commands::Script;
pub use convert::FromValue;
#[cfg(feature = "embedded")]
pub use embedded::{Durability, Embedded, EmbeddedOptions, StoreError};
pub use error::{Error, Result};
pub use options::{Endpoint, Options, Routing};
pub use scan::{Scan, ScanFilter, Scanned};
pub use session::{Session, SessionCall};
pub use subscriber::{Message, Subscriber};
#[cfg(feature = "tls")]
pub use tls::Tls;
pub use value::Value;

//! Client-side caching: connections are told which keys to forget.
//!
//! Two sides, which may be different shards:
//!
//! - The **owner** of a key remembers which connections have read it ([`Table`]), bounded by `tracking-table-max-keys`. When the
//!   key changes it tells their shards, and forgets them: who wants to be told again reads again.
//! - The **home** of a connection knows what it has asked for ([`ClientTracking`]), and delivers. Connections with BCAST are
//!   remembered by nobody: their shard is told of every change, and matches prefixes.
//!
//! Invariants:
//! - A read is remembered where it runs, in the same step, so no change can fall between the two.
//! - A connection is told after its reply to the read has been queued, and when the change is durable
//!   ([`outgoing`](super::outgoing)): it never forgets first and caches then.
//! - A flush is told once, when all shards have flushed: each counts its flushes and tells every other the count.
//! - Nothing of this outlives the process; a connection that ends has nothing to forget.

mod commands;
mod deliver;
mod options;
mod table;

use std::collections::BTreeMap;

use annulus_protocol::Encoder;
use annulus_storage::{ShardId, Touched};

pub(super) use self::commands::Find;
use self::options::TrackingOptions;
pub(super) use self::table::Table;
use super::Core;
use super::batch::Origin;
use super::outgoing::Outgoing;
use crate::commands::{Command, Flags};
use crate::runtime::SocketId;

/// Where invalidations go instead of to the connection itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    /// The client.
    pub client: u64,
    /// Its home.
    pub shard: ShardId,
}

/// What a connection has asked for with CLIENT TRACKING.
#[derive(Debug, Default)]
pub struct ClientTracking {
    redirect: Option<Redirect>,
    /// The client of `redirect` has gone.
    broken_redirect: bool,
    options: TrackingOptions,
    /// CLIENT CACHING has said so for the next command.
    caching: bool,
}

impl ClientTracking {
    /// The client that invalidations are redirected to; 0: none.
    pub(super) fn redirect_client(&self) -> u64 {
        self.redirect.map_or(0, |redirect| redirect.client)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken_redirect
    }

    pub(super) fn is_broadcast(&self) -> bool {
        self.options.broadcast
    }

    /// Whether the keys of the command that begins are remembered.
    fn begin_command(&mut self, about_client: bool) -> bool {
        let caching = if about_client { self.caching } else { std::mem::take(&mut self.caching) };
        let TrackingOptions { broadcast, opt_in, opt_out, .. } = self.options;
        let wanted = if opt_in { caching } else { !(opt_out && caching) };
        wanted && !broadcast
    }
}

/// A shard's side of tracking.
#[derive(Debug)]
pub(super) struct Tracking {
    /// As an owner: who has read what.
    table: Table,
    /// As a home: connections that track, by client.
    clients: BTreeMap<u64, SocketId>,
    /// As a home: connections that others redirect to, by client.
    targets: BTreeMap<u64, SocketId>,
    /// As a home: prefixes, and who wants to be told of changes under them.
    prefixes: BTreeMap<Box<[u8]>, BTreeMap<u64, SocketId>>,
    /// As a home: keys that changed in this turn, with the client that changed each last.
    changed: BTreeMap<Box<[u8]>, u64>,
    /// Flushes of this shard.
    flushes: u64,
    /// Flushes of each shard that are durable; what the least of them is, everybody has been told.
    flushes_seen: Box<[u64]>,
    /// Redirections that wait for other shards to say whether they have the client.
    finds: BTreeMap<u64, Find>,
    last_find: u64,
    /// Connections that could not take what they were told.
    refused: Vec<SocketId>,
    /// Whether any connection of any shard tracks.
    any: bool,
}

impl Tracking {
    /// Nobody tracks.
    pub(super) fn new(shards: u16, seed: u64) -> Self {
        Tracking {
            table: Table::new(seed),
            clients: BTreeMap::new(),
            targets: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            changed: BTreeMap::new(),
            flushes: 0,
            flushes_seen: vec![0; usize::from(shards)].into(),
            finds: BTreeMap::new(),
            last_find: 0,
            refused: Vec::new(),
            any: false,
        }
    }

    /// Connections that track; keys that are remembered; readers of these.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let (keys, items) = self.table.sizes();
        (self.clients.len(), keys, items)
    }

    /// What connections with BCAST want to be told of.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &[u8]> {
        self.prefixes.keys().map(|prefix| &**prefix)
    }
}

/// What is told of keys that changed.
#[derive(Clone, Debug)]
pub(super) enum Invalidation {
    /// A key, to a connection that has read it.
    Key {
        key: Box<[u8]>,
        client: u64,
        home: ShardId,
        /// Who changed it; 0: nobody.
        writer: u64,
    },
    /// A key, to those who want to know of every change.
    Changed { key: Box<[u8]>, writer: u64 },
    /// Everything: this shard has flushed so often.
    Flushed { flushes: u64 },
}

impl Core {
    /// Takes over whether anybody tracks.
    pub(super) fn refresh_tracking(&mut self) {
        let any = self.shared.interest.is_tracked();
        if any != self.tracking.any {
            self.tracking.any = any;
            if !any {
                // Whoever begins anew has read nothing yet.
                self.tracking.table.clear();
            }
            self.refresh_recording();
        }
    }

    /// Whether somebody must be told of changes, for their cache's sake.
    pub(super) fn is_tracking(&self) -> bool {
        self.tracking.any
    }

    /// A command begins on a connection that tracks: notes whether its keys are remembered.
    pub(super) fn begin_tracked(&mut self, socket: SocketId, command: &Command) {
        let about_client = command.parent == Some("client") || command.name == "multi";
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let session = &mut *connection.session;
        session.tracks_now =
            session.tracking.as_mut().is_some_and(|tracking| tracking.begin_command(about_client));
    }

    /// Remembers what a command has read, for its connection.
    pub(super) fn remember_reads(&mut self, command: &Command, args: &[&[u8]], origin: Origin) {
        if !origin.tracks || !command.flags.contains(Flags::READONLY) {
            return;
        }
        for (position, _) in command.key_positions(args) {
            if let Some(key) = args.get(position) {
                self.tracking.table.remember(key, origin.client, origin.home);
            }
        }
        let max = u64::from(self.settings.tracking_table_max_keys);
        let max = if max == 0 { usize::MAX } else { max.div_ceil(u64::from(self.shards)) as usize };
        while let Some((key, readers)) = self.tracking.table.evict_over(max, &mut self.random) {
            self.invalidate_for(&key, readers, 0);
        }
    }

    fn invalidate_for(&mut self, key: &[u8], readers: BTreeMap<u64, ShardId>, writer: u64) {
        for (client, home) in readers {
            let key = key.into();
            self.emit(Outgoing::Invalidation(Invalidation::Key { key, client, home, writer }));
        }
    }

    /// Queues what is to be told of what a command has done to keys.
    pub(super) fn invalidate(&mut self, touched: &Touched, writer: u64) {
        if touched.flushed() {
            self.tracking.table.clear();
            self.tracking.flushes += 1;
            let flushes = self.tracking.flushes;
            self.emit(Outgoing::Invalidation(Invalidation::Flushed { flushes }));
        }
        if !self.tracking.any {
            return;
        }
        let everybody = (0..self.shards).any(|shard| self.shared.interest.wants_broadcast(ShardId(shard)));
        let mut last: Option<&[u8]> = None;
        for (_, key, happened) in touched.iter().filter(|(.., happened)| happened.is_change()) {
            if last == Some(key) {
                continue;
            }
            last = Some(key);
            debug_assert!(happened.is_change());
            if let Some(readers) = self.tracking.table.forget(key) {
                self.invalidate_for(key, readers, writer);
            }
            if everybody {
                self.emit(Outgoing::Invalidation(Invalidation::Changed { key: key.into(), writer }));
            }
        }
    }
}

/// Writes which keys to forget; none: all.
fn write_invalidation(keys: Option<&[&[u8]]>, out: &mut Encoder<'_>) {
    out.push_header(2);
    out.bulk("invalidate");
    write_keys(keys, out);
}

fn write_keys(keys: Option<&[&[u8]]>, out: &mut Encoder<'_>) {
    let Some(keys) = keys else { return out.null() };
    out.array_header(keys.len());
    for key in keys {
        out.bulk(key);
    }
}

//! One connection per shard, and the map from slots to them.
//!
//! The map comes from `CLUSTER SLOTS` and is replaced as a whole: when a server says MOVED, and when a shard's connection
//! fails (a server that was restarted with another number of shards has other ports). What has no key, or a slot
//! without an owner, takes the endpoint's own connection: with Annulus any port serves any key.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use annulus_protocol::SLOT_COUNT;
use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

use crate::{
    Command, Endpoint, Error, FromValue, Options, Result, Value,
    command::Payload,
    connection::{Connection, Reply},
    convert::result_of,
};

/// More MOVED in a row than a settled cluster can cause.
const ATTEMPTS_MAX: u32 = 4;

const NO_OWNER: u16 = u16::MAX;

#[derive(Debug)]
struct Map {
    /// For each slot the index of a node.
    owners: Vec<u16>,
    nodes: Vec<(Endpoint, Connection)>,
}

impl Map {
    fn owner(&self, slot: Option<u16>) -> Option<&Connection> {
        let node = *self.owners.get(usize::from(slot?))?;
        self.nodes.get(usize::from(node)).map(|(_, connection)| connection)
    }
}

#[derive(Debug)]
pub(crate) struct Shards {
    seed: Connection,
    options: Options,
    map: watch::Sender<Arc<Map>>,
    stale: AtomicBool,
    /// Held while a new map is made: one is enough for all that ask for it.
    renewal: Mutex<()>,
}

impl Shards {
    /// `None` if the server shows no nodes.
    pub(crate) async fn open(seed: Connection, options: Options) -> Result<Option<Self>> {
        let ranges = match ranges(&seed, &options).await {
            Ok(ranges) if !ranges.is_empty() => ranges,
            Ok(_) | Err(Error::Server { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let map = build(&options, ranges, &[]).await?;
        let map = watch::Sender::new(Arc::new(map));
        Ok(Some(Self { seed, options, map, stale: AtomicBool::new(false), renewal: Mutex::new(()) }))
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Queues the command at its owner if there's room now and the map can be believed, or gives it back.
    pub(crate) fn try_send(&self, payload: Payload) -> Result<Reply, Payload> {
        if self.stale.load(Ordering::Relaxed) {
            return Err(payload);
        }
        let slot = payload.slot();
        self.map.borrow().owner(slot).unwrap_or(&self.seed).try_send(payload)
    }

    pub(crate) fn owner(&self, slot: Option<u16>) -> Connection {
        self.map.borrow().owner(slot).unwrap_or(&self.seed).clone()
    }

    /// Whether this result says that the map is wrong, and the command was certainly not carried out.
    pub(crate) fn is_misrouted(&self, result: &Result<Value>) -> bool {
        match result {
            Ok(Value::Error(text)) => text.starts_with(b"MOVED "),
            Err(error) if error.is_connection() => {
                self.mark_stale();
                !error.maybe_applied()
            }
            _ => false,
        }
    }

    pub(crate) fn mark_stale(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    /// Sends to the owner, and follows it when it has moved; all that within the time of one command.
    pub(crate) async fn send(&self, payload: Payload) -> Result<Value> {
        match timeout(self.options.timeout, self.send_and_follow(payload)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout { maybe_applied: true }),
        }
    }

    async fn send_and_follow(&self, payload: Payload) -> Result<Value> {
        let slot = payload.slot();
        for _ in 1..ATTEMPTS_MAX {
            if self.stale.load(Ordering::Relaxed) {
                self.renew().await;
            }
            let result = self.owner(slot).send(payload.clone()).await;
            if !self.is_misrouted(&result) {
                return result;
            }
            self.mark_stale();
        }
        self.owner(slot).send(payload).await
    }

    /// A new map, from whoever has one. With none to be had, the old one stays, and the next command asks again.
    async fn renew(&self) {
        let _one = self.renewal.lock().await;
        if !self.stale.load(Ordering::Relaxed) {
            return;
        }
        let old = Arc::clone(&self.map.borrow());
        let known = old.nodes.iter().map(|(_, connection)| connection);
        for connection in std::iter::once(&self.seed).chain(known) {
            if let Ok(ranges) = ranges(connection, &self.options).await
                && let Ok(map) = build(&self.options, ranges, &old.nodes).await
            {
                self.map.send_replace(Arc::new(map));
                self.stale.store(false, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// Slots from first to last, and who owns them.
type Range = (u16, u16, Endpoint);

async fn ranges(connection: &Connection, options: &Options) -> Result<Vec<Range>> {
    let command = Command::new("CLUSTER").arg("SLOTS").reads();
    let reply: Vec<Value> = result_of(connection.send(command.payload()).await?)?;
    reply.into_iter().map(|range| parse_range(range, options)).collect()
}

fn parse_range(range: Value, options: &Options) -> Result<Range> {
    let malformed = || Error::Protocol("a malformed reply to CLUSTER SLOTS".to_owned());
    let mut fields = Vec::<Value>::from_value(range)?.into_iter();
    let mut slot = || {
        let number = fields.next().map(u64::from_value).transpose()?.and_then(|n| u16::try_from(n).ok());
        number.filter(|slot| *slot < SLOT_COUNT).ok_or_else(malformed)
    };
    let (first, last) = (slot()?, slot()?);
    let mut node = Vec::<Value>::from_value(fields.next().ok_or_else(malformed)?)?.into_iter();
    let host = Option::<String>::from_value(node.next().ok_or_else(malformed)?)?;
    let port = u64::from_value(node.next().ok_or_else(malformed)?)?;
    let port = u16::try_from(port).map_err(|_| malformed())?;
    // A node that does not know its own address means: where you have found me.
    let host = match (host.filter(|host| !host.is_empty() && host != "?"), &options.endpoint) {
        (Some(host), _) => host,
        (None, Endpoint::Tcp { host, .. }) => host.clone(),
        (None, Endpoint::Unix(_)) => "127.0.0.1".to_owned(),
    };
    Ok((first, last, Endpoint::Tcp { host, port }))
}

/// Connects to all owners; those of `known` are kept.
async fn build(options: &Options, ranges: Vec<Range>, known: &[(Endpoint, Connection)]) -> Result<Map> {
    let mut map = Map { owners: vec![NO_OWNER; usize::from(SLOT_COUNT)], nodes: Vec::new() };
    let mut indices: HashMap<Endpoint, u16> = HashMap::new();
    for (first, last, endpoint) in ranges {
        let index = if let Some(index) = indices.get(&endpoint) {
            *index
        } else {
            let connection = match known.iter().find(|(at, _)| *at == endpoint) {
                Some((_, connection)) => connection.clone(),
                None => Connection::open(options.at(endpoint.clone())).await?,
            };
            let index = map.nodes.len() as u16;
            map.nodes.push((endpoint.clone(), connection));
            indices.insert(endpoint, index);
            index
        };
        if let Some(owners) = map.owners.get_mut(usize::from(first)..=usize::from(last)) {
            owners.fill(index);
        }
    }
    Ok(map)
}

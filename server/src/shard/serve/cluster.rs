//! CLUSTER: shards shown as the nodes of a Redis Cluster, so that cluster clients send each command to the core that
//! owns its key. Every port takes every command, so nobody is ever redirected.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use annulus_protocol::{Encoder, SLOT_COUNT, Version, parse_i64, slot};
use annulus_storage::ShardId;

use super::super::Core;
use super::super::dispatch::Flow;
use crate::commands::{ClusterCommand, Merge};
use crate::runtime::SocketId;
use crate::shard::batch::Work;
use crate::shard::groups_of;

/// Slots of a slot group.
const GROUP_SLOTS: u16 = 64;
/// As Redis: the bus port is this far above the port.
const BUS_PORT_OFFSET: u32 = 10_000;

impl Core {
    pub(super) fn cluster(&mut self, socket: SocketId, which: ClusterCommand, args: &[&[u8]]) -> Flow {
        if !self.settings.cluster_ports && which != ClusterCommand::Keyslot {
            self.answer(socket, |out| out.error("ERR This instance has cluster support disabled"));
            return Flow::Continue;
        }
        match which {
            ClusterCommand::Keyslot => self.answer(socket, |out| out.integer(i64::from(slot(args[2])))),
            ClusterCommand::Myid => {
                let id = self.shared.facts.node_ids[self.id.index()].clone();
                self.answer(socket, |out| out.bulk(id));
            }
            ClusterCommand::Info => {
                let text = self.cluster_info();
                self.answer(socket, |out| out.verbatim(*b"txt", text));
            }
            ClusterCommand::Nodes => {
                let text = self.cluster_nodes(socket);
                self.answer(socket, |out| out.verbatim(*b"txt", text));
            }
            ClusterCommand::Slots => self.cluster_slots(socket),
            ClusterCommand::Shards => self.cluster_shards(socket),
            ClusterCommand::Countkeysinslot | ClusterCommand::Getkeysinslot => {
                self.cluster_keys(socket, which, args);
            }
        }
        Flow::Continue
    }

    fn slots_of(&self, shard: u16) -> RangeInclusive<u16> {
        let groups = groups_of(ShardId(shard), self.shards);
        groups.start * GROUP_SLOTS..=groups.end * GROUP_SLOTS - 1
    }

    /// The address that nodes are shown under: the announced one, or where this client has come in.
    fn node_ip(&self, socket: SocketId) -> String {
        if let Some(ip) = self.settings.cluster_announce_ip {
            return ip.to_string();
        }
        let local = self.connections.get(socket).map(|connection| connection.peer.local.clone());
        local
            .and_then(|text| text.parse::<SocketAddr>().ok())
            .map_or_else(|| "127.0.0.1".to_owned(), |address| address.ip().to_canonical().to_string())
    }

    fn cluster_info(&self) -> String {
        let size = self.shards;
        format!(
            "cluster_enabled:1\r\ncluster_state:ok\r\ncluster_slots_assigned:{SLOT_COUNT}\r\ncluster_slots_ok:{SLOT_COUNT}\r\n\
             cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{size}\r\ncluster_size:{size}\r\n\
             cluster_current_epoch:1\r\ncluster_my_epoch:1\r\ncluster_stats_messages_sent:0\r\n\
             cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n"
        )
    }

    fn cluster_nodes(&self, socket: SocketId) -> String {
        let ip = self.node_ip(socket);
        let mut text = String::new();
        for (shard, (id, port)) in
            self.shared.facts.node_ids.iter().zip(&self.shared.facts.shard_ports).enumerate()
        {
            let slots = self.slots_of(shard as u16);
            let myself = if shard == self.id.index() { "myself," } else { "" };
            let bus_port = u32::from(*port) + BUS_PORT_OFFSET;
            let _ = writeln!(
                text,
                "{id} {ip}:{port}@{bus_port} {myself}master - 0 0 1 connected {}-{}",
                slots.start(),
                slots.end()
            );
        }
        text
    }

    fn cluster_slots(&mut self, socket: SocketId) {
        let ip = self.node_ip(socket);
        let nodes: Vec<_> = self.nodes().collect();
        self.answer(socket, |out| {
            out.array_header(nodes.len());
            for (slots, port, id) in &nodes {
                out.array_header(3);
                out.integer(i64::from(*slots.start()));
                out.integer(i64::from(*slots.end()));
                out.array_header(4);
                out.bulk(&ip);
                out.integer(i64::from(*port));
                out.bulk(id);
                out.array_header(0);
            }
        });
    }

    fn cluster_shards(&mut self, socket: SocketId) {
        let ip = self.node_ip(socket);
        let nodes: Vec<_> = self.nodes().collect();
        self.answer(socket, |out| {
            out.array_header(nodes.len());
            for (slots, port, id) in &nodes {
                out.map_header(2);
                out.bulk("slots");
                out.array_header(2);
                out.integer(i64::from(*slots.start()));
                out.integer(i64::from(*slots.end()));
                out.bulk("nodes");
                out.array_header(1);
                write_node(out, id, *port, &ip);
            }
        });
    }

    fn nodes(&self) -> impl Iterator<Item = (RangeInclusive<u16>, u16, String)> {
        let ids = self.shared.facts.node_ids.iter().zip(&self.shared.facts.shard_ports).enumerate();
        ids.map(|(shard, (id, port))| (self.slots_of(shard as u16), *port, id.clone()))
    }

    /// COUNTKEYSINSLOT and GETKEYSINSLOT: asked of all shards, answered by the owner.
    fn cluster_keys(&mut self, socket: SocketId, which: ClusterCommand, args: &[&[u8]]) {
        let slot = parse_i64(args[2]).filter(|slot| (0..i64::from(SLOT_COUNT)).contains(slot));
        let limit = args.get(3).map_or(Some(0), |count| parse_i64(count).filter(|count| *count >= 0));
        if slot.is_none() || limit.is_none() {
            let number =
                parse_i64(args[2]).is_some() && args.get(3).is_none_or(|count| parse_i64(count).is_some());
            let text = if number {
                "ERR Invalid slot or number of keys"
            } else {
                "ERR value is not an integer or out of range"
            };
            let text =
                if number && which == ClusterCommand::Countkeysinslot { "ERR Invalid slot" } else { text };
            return self.answer(socket, |out| out.error(text));
        }
        if which == ClusterCommand::Countkeysinslot {
            self.start_broadcast(socket, Work::Core(count_keys), Merge::Sum, args);
        } else {
            self.start_broadcast(socket, Work::Core(list_keys), Merge::Concat, args);
        }
    }
}

fn count_keys(core: &mut Core, args: &[&[u8]], out: &mut Vec<u8>) {
    let slot = parse_i64(args[2]).unwrap_or(0) as u16;
    Encoder::new(out, Version::Resp2).integer(core.store.slot_len(slot) as i64);
}

fn list_keys(core: &mut Core, args: &[&[u8]], out: &mut Vec<u8>) {
    let slot = parse_i64(args[2]).unwrap_or(0) as u16;
    let limit = parse_i64(args[3]).unwrap_or(0) as usize;
    let mut found: Vec<Vec<u8>> = Vec::new();
    core.store.keys_in_slot(slot, limit, &mut |entry| found.push(entry.key().to_vec()));
    let mut out = Encoder::new(out, Version::Resp2);
    out.array_header(found.len());
    for key in &found {
        out.bulk(key);
    }
}

fn write_node(out: &mut Encoder<'_>, id: &str, port: u16, ip: &str) {
    out.map_header(7);
    for (name, value) in [("id", id), ("ip", ip), ("endpoint", ip), ("role", "master"), ("health", "online")]
    {
        out.bulk(name);
        out.bulk(value);
    }
    out.bulk("port");
    out.integer(i64::from(port));
    out.bulk("replication-offset");
    out.integer(0);
}

//! Shards shown as cluster nodes (`--cluster-ports on`): what cluster-aware clients ask for, and that they are served.

use std::{collections::BTreeSet, process::Command};

use annulus_tests::{
    binaries,
    process::{self, PATIENCE},
    resp::{Connection, Value},
    server::{DRIVERS, Server, Setup, target_is_redis},
};
use redis::Commands as _;

const SHARDS: usize = 2;
const SLOTS: i64 = 16_384;

fn start(driver: &'static str) -> Option<Server> {
    // redis-server has no such thing to prove these tests against.
    let setup = Setup::annulus().driver(driver).shards(SHARDS).arguments(&["--cluster-ports", "on"]);
    (!target_is_redis()).then(|| setup.start())
}

fn shard_ports(server: &Server) -> BTreeSet<u16> {
    (0..SHARDS).map(|shard| server.shard_port(shard)).collect()
}

/// The port of the node that owns a slot, from CLUSTER SLOTS.
fn owner_port(slots: &Value, slot: i64) -> u16 {
    let range = slots.items().iter().find(|range| {
        let fields = range.items();
        (fields[0].number().unwrap()..=fields[1].number().unwrap()).contains(&slot)
    });
    let node = &range.unwrap_or_else(|| panic!("slot {slot} is not in {slots}")).items()[2];
    u16::try_from(node.items()[1].number().unwrap()).unwrap()
}

#[test]
fn slots_shards_and_nodes_agree_and_cover_every_slot() {
    for driver in DRIVERS {
        let Some(server) = start(driver) else { return };
        let mut connection = server.connect();
        let slots = connection.line("CLUSTER SLOTS");
        let mut covered: Vec<(i64, i64, u16, String)> = Vec::new();
        for range in slots.items() {
            let fields = range.items();
            let node = fields[2].items();
            assert_eq!(node[0].text(), "127.0.0.1");
            let port = u16::try_from(node[1].number().unwrap()).unwrap();
            covered.push((fields[0].number().unwrap(), fields[1].number().unwrap(), port, node[2].text()));
        }
        covered.sort_unstable();
        let mut next = 0;
        for (first, last, port, id) in &covered {
            assert_eq!(*first, next, "{slots}");
            assert!(shard_ports(&server).contains(port), "{slots}");
            assert_eq!(id.len(), 40, "{slots}");
            next = last + 1;
        }
        assert_eq!(next, SLOTS);
        let nodes = connection.line("CLUSTER NODES").text();
        assert_eq!(nodes.lines().count(), SHARDS, "{nodes}");
        for (first, last, port, id) in &covered {
            let line =
                nodes.lines().find(|line| line.starts_with(id.as_str())).expect("each node has a line");
            let fields: Vec<&str> = line.split(' ').collect();
            assert!(fields[1].starts_with(&format!("127.0.0.1:{port}@")), "{line}");
            assert!(fields[2].contains("master") && fields[7] == "connected", "{line}");
            assert_eq!(fields[8], format!("{first}-{last}"), "{line}");
        }
        let shards = connection.line("CLUSTER SHARDS");
        assert_eq!(shards.items().len(), SHARDS, "{shards}");
        for shard in shards.items() {
            let ranges = shard.field("slots").expect("slots").items();
            let node = &shard.field("nodes").expect("nodes").items()[0];
            let port = u16::try_from(node.field("port").unwrap().number().unwrap()).unwrap();
            let known = covered.iter().find(|(_, _, each, _)| *each == port).expect("a known port");
            assert_eq!([ranges[0].number(), ranges[1].number()], [Some(known.0), Some(known.1)], "{shards}");
            assert_eq!(node.field("id").unwrap().text(), known.3);
            assert_eq!(node.field("role").unwrap().text(), "master");
            assert_eq!(node.field("health").unwrap().text(), "online");
        }
        let info = connection.line("CLUSTER INFO").text();
        for line in
            ["cluster_state:ok", "cluster_slots_assigned:16384", "cluster_known_nodes:2", "cluster_size:2"]
        {
            assert!(info.contains(line), "{line} is not in {info}");
        }
        assert!(connection.line("INFO cluster").text().contains("cluster_enabled:1"));
    }
}

#[test]
fn each_shards_port_knows_its_own_id_and_marks_itself() {
    for driver in DRIVERS {
        let Some(server) = start(driver) else { return };
        let mut ids = BTreeSet::new();
        for port in shard_ports(&server) {
            let mut connection = Connection::tcp(port).unwrap();
            let id = connection.line("CLUSTER MYID").text();
            let nodes = connection.line("CLUSTER NODES").text();
            let own = nodes.lines().find(|line| line.contains("myself")).expect("one line is marked");
            assert!(own.starts_with(&id) && own.contains(&format!(":{port}@")), "{nodes}");
            ids.insert(id);
        }
        assert_eq!(ids.len(), SHARDS);
    }
}

#[test]
fn every_port_serves_every_key() {
    for driver in DRIVERS {
        let Some(server) = start(driver) else { return };
        let mut ports: Vec<u16> = shard_ports(&server).into_iter().collect();
        ports.push(server.port());
        let mut connections: Vec<Connection> =
            ports.iter().map(|&port| Connection::tcp(port).unwrap()).collect();
        for index in 0..300 {
            let key = format!("key:{index}");
            let writer = &mut connections[index % ports.len()];
            assert_eq!(writer.command(&["SET", &key, &key]), Value::ok());
            for reader in &mut connections {
                assert_eq!(reader.command(&["GET", &key]), Value::bulk(&key));
            }
        }
        for connection in &mut connections {
            assert_eq!(connection.line("DBSIZE"), Value::Integer(300));
        }
    }
}

#[test]
fn slots_count_and_list_their_keys_on_any_port() {
    let Some(server) = start("auto") else { return };
    let mut connection = server.connect();
    let mut by_slot = std::collections::BTreeMap::<i64, BTreeSet<String>>::new();
    for index in 0..2_000 {
        let key = format!("{{{}}}:{index}", index % 50);
        let slot = connection.command(&["CLUSTER", "KEYSLOT", &key]).number().unwrap();
        connection.command(&["SET", &key, "v"]);
        by_slot.entry(slot).or_default().insert(key);
    }
    for port in shard_ports(&server) {
        let mut connection = Connection::tcp(port).unwrap();
        for (slot, keys) in &by_slot {
            let count = connection.line(&format!("CLUSTER COUNTKEYSINSLOT {slot}"));
            assert_eq!(count, Value::Integer(keys.len() as i64));
            let listed = connection.line(&format!("CLUSTER GETKEYSINSLOT {slot} 1000"));
            let listed: BTreeSet<String> = listed.items().iter().map(Value::text).collect();
            assert_eq!(&listed, keys);
            assert_eq!(connection.line(&format!("CLUSTER GETKEYSINSLOT {slot} 3")).items().len(), 3);
        }
    }
}

#[test]
fn redis_cli_in_cluster_mode_is_never_sent_elsewhere() {
    for driver in DRIVERS {
        let Some(server) = start(driver) else { return };
        let pairs = |text: fn(usize) -> String| (0..100).map(text).collect::<Vec<_>>().concat();
        let commands = pairs(|index| format!("SET key:{index} {index}\nGET key:{index}\n"));
        for port in [server.port(), server.shard_port(0), server.shard_port(1)] {
            let mut command = Command::new(binaries::redis_cli());
            command.args(["-c", "-p", &port.to_string()]);
            let output = process::run(&mut command, commands.as_bytes(), PATIENCE);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(said, pairs(|index| format!("OK\n{index}\n")));
        }
    }
}

#[test]
fn cluster_client_goes_to_the_owner_of_each_key() {
    for driver in DRIVERS {
        let Some(server) = start(driver) else { return };
        let nodes: Vec<String> =
            shard_ports(&server).iter().map(|port| format!("redis://127.0.0.1:{port}/")).collect();
        let client = redis::cluster::ClusterClient::new(nodes).unwrap();
        let mut connection = client.get_connection().unwrap();
        for index in 0..500_i64 {
            let _: () = connection.set(format!("key:{index}"), index).unwrap();
        }
        for index in 0..500_i64 {
            assert_eq!(connection.get::<_, i64>(format!("key:{index}")).unwrap(), index);
        }
        // Each shard saw its own part of the work, from what it says of its port's connections.
        let slots = server.connect().line("CLUSTER SLOTS");
        let owners: BTreeSet<u16> = (0..500)
            .map(|index| {
                let slot = server.connect().line(&format!("CLUSTER KEYSLOT key:{index}")).number().unwrap();
                owner_port(&slots, slot)
            })
            .collect();
        assert_eq!(owners, shard_ports(&server));
    }
}

#[test]
fn without_cluster_ports_it_is_a_single_server() {
    if target_is_redis() {
        return;
    }
    let server = Setup::annulus().shards(2).start();
    let mut connection = server.connect();
    assert!(connection.line("INFO cluster").text().contains("cluster_enabled:0"));
    assert!(connection.line("INFO server").text().contains("redis_mode:standalone"));
    let hello = connection.line("HELLO 2");
    assert_eq!(hello.field("mode"), Some(&Value::bulk("standalone")));
}

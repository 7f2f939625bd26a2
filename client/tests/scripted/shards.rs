//! Routing by slot: to the owner, after it when it moves, and around it when it's gone.

use annulus_client::{Client, Options, Routing, commands::*};

use crate::peer::{Listener, Peer};

/// `CLUSTER SLOTS` with the lower half of the slots at one port, and the upper at another.
fn halves(low: u16, high: u16) -> String {
    let node = |port: u16| format!("*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$2\r\nid\r\n");
    format!("*2\r\n*3\r\n:0\r\n:8191\r\n{}*3\r\n:8192\r\n:16383\r\n{}", node(low), node(high))
}

/// `bar` has slot 5061, `foo` has 12182.
const LOW: &str = "bar";
const HIGH: &str = "foo";

struct Cluster {
    seed: Listener,
    low: Listener,
    high: Listener,
    client: Client,
    seed_peer: Peer,
    low_peer: Peer,
    high_peer: Peer,
}

impl Cluster {
    async fn start() -> Self {
        let (seed, low, high) = (Listener::bind().await, Listener::bind().await, Listener::bind().await);
        let mut options = seed.options();
        options.routing = Routing::Shards;
        options.connect_attempts = 1;
        let servers = async {
            let mut seed_peer = seed.welcome().await;
            seed_peer.expect(&["CLUSTER", "SLOTS"]).await;
            seed_peer.send(&halves(low.port, high.port)).await;
            (seed_peer, low.welcome().await, high.welcome().await)
        };
        let (client, (seed_peer, low_peer, high_peer)) = tokio::join!(Client::connect(options), servers);
        Self { client: client.unwrap(), seed, low, high, seed_peer, low_peer, high_peer }
    }
}

async fn answer(peer: &mut Peer, command: &[&str], reply: &str) {
    peer.expect(command).await;
    peer.send(reply).await;
}

#[tokio::test]
async fn each_command_goes_to_the_owner_of_its_key_and_the_rest_to_the_endpoint() {
    let Cluster { client, mut seed_peer, mut low_peer, mut high_peer, .. } = Cluster::start().await;
    let calls = async { tokio::join!(client.incr(LOW), client.incr(HIGH), client.dbsize()) };
    let (replies, (), (), ()) = tokio::join!(
        calls,
        answer(&mut low_peer, &["INCR", LOW], ":1\r\n"),
        answer(&mut high_peer, &["INCR", HIGH], ":2\r\n"),
        answer(&mut seed_peer, &["DBSIZE"], ":3\r\n"),
    );
    assert_eq!(replies, (Ok(1), Ok(2), Ok(3)));
}

#[tokio::test]
async fn a_key_that_has_moved_is_followed() {
    let Cluster { seed: _seed, low, high, client, mut seed_peer, mut low_peer, mut high_peer } =
        Cluster::start().await;
    let servers = async {
        let moved = format!("-MOVED 5061 127.0.0.1:{}\r\n", high.port);
        answer(&mut low_peer, &["INCR", LOW], &moved).await;
        answer(&mut seed_peer, &["CLUSTER", "SLOTS"], &halves(high.port, low.port)).await;
        answer(&mut high_peer, &["INCR", LOW], ":5\r\n").await;
    };
    let (reply, ()) = tokio::join!(client.incr(LOW), servers);
    assert_eq!(reply, Ok(5));
}

#[tokio::test]
async fn after_a_shard_is_gone_the_map_is_asked_for_again() {
    let Cluster { seed: _seed, low, high, client, mut seed_peer, mut low_peer, mut high_peer } =
        Cluster::start().await;
    let gone = async {
        low_peer.expect(&["INCR", LOW]).await;
        drop((low, low_peer));
    };
    let (lost, ()) = tokio::join!(client.incr(LOW), gone);
    assert!(lost.unwrap_err().maybe_applied());
    let servers = async {
        answer(&mut seed_peer, &["CLUSTER", "SLOTS"], &halves(high.port, high.port)).await;
        answer(&mut high_peer, &["INCR", LOW], ":1\r\n").await;
    };
    let (reply, ()) = tokio::join!(client.incr(LOW), servers);
    assert_eq!(reply, Ok(1));
}

#[tokio::test]
async fn a_server_that_shows_no_nodes_is_used_by_its_endpoint() {
    let seed = Listener::bind().await;
    let url = format!("redis://127.0.0.1:{}?routing=shards", seed.port);
    let servers = async {
        let mut peer = seed.welcome().await;
        let refusal = "-ERR This instance has cluster support disabled\r\n";
        answer(&mut peer, &["CLUSTER", "SLOTS"], refusal).await;
        answer(&mut peer, &["INCR", LOW], ":1\r\n").await;
    };
    let calls = async {
        let client = Client::connect(Options::from_url(&url)?).await?;
        client.incr(LOW).await
    };
    assert_eq!(tokio::join!(calls, servers).0, Ok(1));
}

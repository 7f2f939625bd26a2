//! Connections that end: what is sent again, what is not, and that everybody is told.

use std::time::Duration;

use annulus_client::{Error, commands::*};
use bytes::Bytes;

use crate::peer::Listener;

#[tokio::test]
async fn a_server_gone_in_the_middle_of_a_pipeline_gets_only_the_reads_again() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.options()).await;
    let calls = async {
        tokio::join!(client.incr("done"), client.incr("unknown"), client.get("a"), client.set("b", "1"))
    };
    let server = async {
        peer.expect(&["INCR", "done"]).await;
        peer.expect(&["INCR", "unknown"]).await;
        peer.expect(&["GET", "a"]).await;
        peer.expect(&["SET", "b", "1"]).await;
        peer.send(":1\r\n").await;
        drop(peer);
        let mut next = listener.welcome().await;
        next.expect(&["GET", "a"]).await;
        assert!(!next.has_more(), "more than the read was sent again");
        next.send("$1\r\nx\r\n").await;
        next
    };
    let ((done, unknown, read, set), _next) = tokio::join!(calls, server);
    assert_eq!(done, Ok(1));
    for lost in [unknown.map(drop), set] {
        assert!(matches!(lost, Err(Error::Connection { maybe_applied: true, .. })), "{lost:?}");
    }
    assert_eq!(read, Ok(Some(Bytes::from_static(b"x"))));
}

#[tokio::test]
async fn half_a_reply_is_no_reply() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.options()).await;
    let calls = async { tokio::join!(client.getdel("taken"), client.strlen("read")) };
    let server = async {
        peer.expect(&["GETDEL", "taken"]).await;
        peer.expect(&["STRLEN", "read"]).await;
        peer.send("$10\r\nhalf").await;
        drop(peer);
        let mut next = listener.welcome().await;
        next.expect(&["STRLEN", "read"]).await;
        next.send(":4\r\n").await;
        next
    };
    let ((taken, read), _next) = tokio::join!(calls, server);
    assert!(taken.unwrap_err().maybe_applied());
    assert_eq!(read, Ok(4));
}

#[tokio::test]
async fn a_read_is_not_sent_again_for_ever() {
    let listener = Listener::bind().await;
    let mut options = listener.options();
    options.retries = 2;
    let (client, mut peer) = listener.connected(options).await;
    let server = async {
        let mut times = 0;
        loop {
            peer.expect(&["GET", "poison"]).await;
            times += 1;
            drop(peer);
            if times == 3 {
                return;
            }
            peer = listener.welcome().await;
        }
    };
    let (value, ()) = tokio::join!(client.get("poison"), server);
    assert!(value.unwrap_err().is_connection());
}

#[tokio::test]
async fn garbage_ends_the_connection_and_the_next_command_gets_a_new_one() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.options()).await;
    let server = async {
        peer.expect(&["INCR", "a"]).await;
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert_eq!(peer.command().await, None, "the client hung up");
        let mut next = listener.welcome().await;
        next.expect(&["INCR", "a"]).await;
        next.send(":1\r\n").await;
    };
    let calls = async { (client.incr("a").await, client.incr("a").await) };
    let ((garbage, next), ()) = tokio::join!(calls, server);
    assert!(matches!(garbage, Err(Error::Protocol(_))), "{garbage:?}");
    assert_eq!(next, Ok(1));
}

#[tokio::test]
async fn with_the_server_gone_commands_fail_soon_and_are_known_not_to_be_applied() {
    let listener = Listener::bind().await;
    let mut options = listener.options();
    options.connect_attempts = 2;
    let (client, mut peer) = listener.connected(options).await;
    let gone = async {
        peer.expect(&["INCR", "a"]).await;
        drop(listener);
        drop(peer);
    };
    let (lost, ()) = tokio::join!(client.incr("a"), gone);
    assert!(lost.unwrap_err().maybe_applied());
    let refused = client.incr("a").await.unwrap_err();
    assert!(matches!(refused, Error::Connection { maybe_applied: false, .. }), "{refused:?}");
}

#[tokio::test]
async fn while_there_is_no_connection_time_limits_hold() {
    let listener = Listener::bind().await;
    let mut options = listener.options();
    options.connect_attempts = u32::MAX;
    options.backoff = Duration::from_mins(1);
    let (client, mut peer) = listener.connected(options).await;
    let gone = async {
        peer.expect(&["INCR", "a"]).await;
        drop(listener);
        drop(peer);
    };
    let (lost, ()) = tokio::join!(client.incr("a"), gone);
    assert!(lost.is_err());
    tokio::time::pause();
    assert_eq!(client.incr("a").await, Err(Error::Timeout { maybe_applied: false }));
}

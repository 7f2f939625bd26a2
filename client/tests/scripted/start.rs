//! The start of a connection: protocols, credentials, and servers that are none.

use annulus_client::{Client, Endpoint, Error, Options, blocking, commands::*};

use crate::peer::Listener;

#[tokio::test]
async fn credentials_name_and_database_are_said_before_any_command() {
    let listener = Listener::bind().await;
    let mut options = listener.options();
    options.password = Some("secret".to_owned());
    options.client_name = Some("web".to_owned());
    options.database = 3;
    let server = async {
        let mut peer = listener.accept().await;
        peer.expect(&["HELLO", "3", "AUTH", "default", "secret"]).await;
        peer.send("%1\r\n$5\r\nproto\r\n:3\r\n").await;
        peer.expect(&["CLIENT", "SETNAME", "web"]).await;
        peer.send("+OK\r\n").await;
        peer.expect(&["SELECT", "3"]).await;
        peer.send("+OK\r\n").await;
    };
    let (client, ()) = tokio::join!(Client::connect(options), server);
    client.unwrap();
}

#[tokio::test]
async fn a_server_without_resp3_is_spoken_to_in_resp2() {
    let listener = Listener::bind().await;
    let mut options = listener.options();
    options.username = Some("app".to_owned());
    options.password = Some("secret".to_owned());
    let server = async {
        let mut peer = listener.accept().await;
        peer.command().await.unwrap();
        peer.send("-ERR unknown command 'HELLO'\r\n").await;
        peer.expect(&["AUTH", "app", "secret"]).await;
        peer.send("+OK\r\n").await;
        peer
    };
    let (client, mut peer) = tokio::join!(Client::connect(options), server);
    let client = client.unwrap();
    let server = async {
        peer.expect(&["MGET", "a", "b"]).await;
        peer.send("*2\r\n$-1\r\n$1\r\nx\r\n").await;
        peer.expect(&["GET", "a"]).await;
        peer.send("$-1\r\n").await;
        peer.expect(&["CONFIG", "GET", "p*"]).await;
        peer.send("*2\r\n$4\r\nport\r\n$1\r\n1\r\n").await;
    };
    let calls = async {
        assert_eq!(client.mget(["a", "b"]).await, Ok(vec![None, Some("x".into())]));
        assert_eq!(client.get("a").await, Ok(None));
        assert_eq!(client.config_get("p*").await.unwrap()["port"], "1");
    };
    tokio::join!(calls, server);
}

#[tokio::test]
async fn refused_credentials_are_told_at_once() {
    let listener = Listener::bind().await;
    let server = async {
        let mut peer = listener.accept().await;
        peer.command().await.unwrap();
        peer.send("-NOAUTH HELLO must be called with the client already authenticated\r\n").await;
        peer
    };
    let (client, _peer) = tokio::join!(Client::connect(listener.options()), server);
    assert!(matches!(client, Err(Error::NoAuth(_))), "{client:?}");
}

#[tokio::test]
async fn what_is_no_server_is_told_at_once() {
    for (answer, is_expected) in [
        ("SSH-2.0-OpenSSH\r\n", (|error| matches!(error, Error::Protocol(_))) as fn(&Error) -> bool),
        ("", |error| matches!(error, Error::Connection { .. })),
        ("%1\r\n$5\r\nprot", |error| matches!(error, Error::Connection { .. })),
    ] {
        let listener = Listener::bind().await;
        let server = async {
            let mut peer = listener.accept().await;
            peer.command().await.unwrap();
            peer.send(answer).await;
        };
        let (client, ()) = tokio::join!(Client::connect(listener.options()), server);
        let error = client.unwrap_err();
        assert!(is_expected(&error), "{answer:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    let listener = Listener::bind().await;
    let mut options = listener.options();
    options.connect_timeout = std::time::Duration::from_millis(30);
    let (client, _peer) = tokio::join!(Client::connect(options), listener.accept());
    let Err(Error::Connection { kind, .. }) = client else { panic!("{client:?}") };
    assert_eq!(kind, std::io::ErrorKind::TimedOut);
}

#[test]
fn the_blocking_client_reports_the_same_errors() {
    let options = Options::new(Endpoint::Unix("/nonexistent/annulus.sock".into()));
    let error = blocking::Client::connect(options).unwrap_err();
    assert!(matches!(error, Error::Connection { kind: std::io::ErrorKind::NotFound, .. }), "{error:?}");
    assert!(matches!(blocking::Client::connect("nonsense"), Err(Error::Url(_))));
}

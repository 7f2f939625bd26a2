//! Replies: in order, in pieces, of the wrong type, too late, and none.

use annulus_client::{Client, Command, Error, Pipeline, Value, commands::*};
use bytes::Bytes;

use crate::peer::Listener;

#[tokio::test]
async fn concurrent_commands_leave_together_and_get_their_own_replies() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.options()).await;
    let calls = async { tokio::join!(client.get("a"), client.incr("b"), client.get("c")) };
    let server = async {
        peer.expect(&["GET", "a"]).await;
        assert!(peer.has_more(), "the others were not sent along");
        peer.expect(&["INCR", "b"]).await;
        peer.expect(&["GET", "c"]).await;
        // In pieces that end where it hurts.
        for piece in ["$3\r", "\no", "ne\r\n:", "7", "\r\n_\r", "\n"] {
            peer.send(piece).await;
            tokio::task::yield_now().await;
        }
    };
    let ((a, b, c), ()) = tokio::join!(calls, server);
    assert_eq!(a, Ok(Some(Bytes::from_static(b"one"))));
    assert_eq!(b, Ok(7));
    assert_eq!(c, Ok(None));
}

#[tokio::test]
async fn a_reply_of_the_wrong_type_is_an_error_of_its_command_only() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.options()).await;
    let server = async {
        peer.expect(&["INCR", "a"]).await;
        peer.send("*1\r\n$1\r\nx\r\n").await;
        peer.expect(&["INCR", "a"]).await;
        peer.send(":2\r\n").await;
    };
    let calls = async { (client.incr("a").await, client.incr("a").await) };
    let ((wrong, right), ()) = tokio::join!(calls, server);
    assert_eq!(wrong, Err(Error::Unexpected { expected: "integer", found: "an array".to_owned() }));
    assert_eq!(right, Ok(2));
}

#[tokio::test]
async fn error_replies_are_typed_and_the_pipeline_goes_on() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.options()).await;
    let pipeline = Pipeline::new()
        .with(Command::new("LPUSH").key("a").arg("x"))
        .with(Command::new("GET").key("a"))
        .with(Command::new("PING"));
    let server = async {
        for _ in 0..3 {
            peer.command().await.unwrap();
        }
        peer.send("-WRONGTYPE Operation against a key\r\n!10\r\nLOADING db\r\n+PONG\r\n").await;
    };
    let (replies, ()) = tokio::join!(client.pipeline(pipeline), server);
    let replies = replies.unwrap();
    assert!(matches!(&replies[0], Err(Error::WrongType(text)) if text.starts_with("WRONGTYPE Op")));
    assert!(matches!(&replies[1], Err(Error::Loading(_))));
    assert_eq!(replies[2], Ok(Value::Simple(Bytes::from_static(b"PONG"))));
}

#[tokio::test]
async fn what_the_server_says_unasked_is_nobodys_reply() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.options()).await;
    let server = async {
        peer.expect(&["GET", "a"]).await;
        peer.send(">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n$1\r\nv\r\n").await;
    };
    let (value, ()) = tokio::join!(client.get("a"), server);
    assert_eq!(value, Ok(Some(Bytes::from_static(b"v"))));
}

#[tokio::test]
async fn no_more_commands_leave_than_may_be_in_flight() {
    let listener = Listener::bind().await;
    let mut options = listener.options();
    options.in_flight = 1;
    let (client, mut peer) = listener.connected(options).await;
    let calls = async { tokio::join!(client.get("a"), client.get("b"), client.get("c")) };
    let server = async {
        for key in ["a", "b", "c"] {
            peer.expect(&["GET", key]).await;
            assert!(!peer.has_more(), "a command came before its turn");
            peer.send(&format!("+{key}\r\n")).await;
        }
    };
    let (values, ()) = tokio::join!(calls, server);
    let expected = ["a", "b", "c"].map(|key| Ok(Some(Bytes::from_static(key.as_bytes()))));
    assert_eq!(values, expected.into());
}

#[tokio::test]
async fn a_command_larger_than_all_room_still_goes_out() {
    let listener = Listener::bind().await;
    let mut options = listener.options();
    options.in_flight = 2;
    let (client, mut peer) = listener.connected(options).await;
    let value = "x".repeat(5_000_000);
    let server = async {
        peer.expect(&["SET", "a", &value]).await;
        peer.send("+OK\r\n").await;
    };
    let (set, ()) = tokio::join!(client.set("a", &value), server);
    assert_eq!(set, Ok(()));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_a_timeout_also_for_those_who_wait_for_room() {
    let listener = Listener::bind().await;
    let mut options = listener.options();
    options.in_flight = 1;
    let (client, mut peer) = listener.connected(options).await;
    let calls = async { tokio::join!(client.incr("sent"), client.incr("waiting")) };
    let silence = async {
        peer.expect(&["INCR", "sent"]).await;
        // From here on time passes as soon as nobody has anything to do.
        tokio::time::pause();
    };
    let ((sent, waiting), ()) = tokio::join!(calls, silence);
    assert_eq!(sent, Err(Error::Timeout { maybe_applied: true }));
    assert_eq!(waiting, Err(Error::Timeout { maybe_applied: false }));
}

#[tokio::test]
async fn a_late_reply_is_not_given_to_another_command() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.options()).await;
    let silence = async {
        peer.expect(&["INCR", "slow"]).await;
        tokio::time::pause();
    };
    let (late, ()) = tokio::join!(client.incr("slow"), silence);
    assert_eq!(late, Err(Error::Timeout { maybe_applied: true }));
    tokio::time::resume();
    // After so long a silence the old connection is given up; its reply finds nobody.
    let server = async {
        let mut next = listener.welcome().await;
        let _ = peer.try_send(":1\r\n").await;
        next.expect(&["INCR", "next"]).await;
        next.send(":2\r\n").await;
    };
    let (next, ()) = tokio::join!(client.incr("next"), server);
    assert_eq!(next, Ok(2));
}

#[tokio::test]
async fn commands_that_would_change_the_shared_connection_never_leave() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.options()).await;
    let refused: Result<(), Error> = client.command(Command::new("SELECT").number(1)).await;
    assert!(matches!(refused, Err(Error::Unsupported(_))));
    let pipeline = Pipeline::new().with(Command::new("PING")).with(Command::new("RESET"));
    assert!(matches!(client.pipeline(pipeline).await, Err(Error::Unsupported(_))));
    let server = async {
        peer.expect(&["PING"]).await;
        peer.send("+PONG\r\n").await;
    };
    assert_eq!(tokio::join!(client.ping(), server).0, Ok(()));
}

#[tokio::test]
async fn a_dropped_future_leaves_the_others_replies_in_place() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.options()).await;
    {
        let mut given_up = client.get("a");
        // Polled once: it has set out.
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut given_up).poll(context).is_pending())
        });
        assert!(polled.await);
    }
    let server = async {
        peer.expect(&["GET", "a"]).await;
        peer.expect(&["GET", "b"]).await;
        peer.send("+a\r\n+b\r\n").await;
    };
    assert_eq!(tokio::join!(client.get("b"), server).0, Ok(Some(Bytes::from_static(b"b"))));
}

#[tokio::test]
async fn the_connection_closes_with_the_last_handle() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.options()).await;
    let other: Client = client.clone();
    drop(client);
    let server = async {
        peer.expect(&["PING"]).await;
        peer.send("+PONG\r\n").await;
    };
    assert_eq!(tokio::join!(other.ping(), server).0, Ok(()));
    drop(other);
    assert_eq!(peer.command().await, None);
}

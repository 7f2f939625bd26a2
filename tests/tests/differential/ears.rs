//! Connections that are told what the random commands do: keyspace notifications, invalidations, broadcast invalidations.
//!
//! After each pipeline both servers' ears must have heard the same. Redis says everything at once; ours may say it on its way
//! between shards a moment later. Events of one shard come in order, so a read of a missing key on each shard (a *fence*) shows when
//! all are there. Ears for invalidations are waited for until they have heard what redis's have; what is too much is found with
//! the next pipeline at the latest.

use std::collections::BTreeMap;
use std::time::Duration;

use annulus_tests::{random::Random, resp::Connection, resp::Value, server::Server};

use super::generate::KEYS;

/// How long something that was expected may be missing.
const PATIENCE: Duration = Duration::from_secs(2);
/// What stands for "forget everything".
const EVERYTHING: &str = "(everything)";

/// What is in the event of a read that found nothing.
const MISSED: &str = "keymiss";
/// Keys that are never there, and the shards of three that they lie on.
const FENCES: [&str; 3] = ["fence:3", "fence:1", "fence:0"];
/// What an ear hears of the fences: each on two channels.
const FENCE_EVENTS: usize = 2 * FENCES.len();

/// How often what was heard.
type Heard = BTreeMap<String, usize>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Keyspace notifications.
    Events,
    /// Invalidations of what the ear has read.
    Read,
    /// Invalidations of everything. How often a key comes depends on what happens to share a turn.
    Broadcast,
}

/// A pair of connections that hear the same.
pub(super) struct Ear {
    kind: Kind,
    oracle: Connection,
    ours: Connection,
    /// For fences, to each of the two.
    fences: [Connection; 2],
}

/// One of each kind.
pub(super) fn ears(oracle: &Server, ours: &Server) -> Vec<Ear> {
    [Kind::Events, Kind::Read, Kind::Broadcast].map(|kind| Ear::new(kind, oracle, ours)).into()
}

impl Ear {
    fn new(kind: Kind, oracle: &Server, ours: &Server) -> Self {
        let open = |server: &Server| {
            let mut connection = server.connect();
            connection.set_patience(PATIENCE).expect("a timeout can be set");
            connection.line("HELLO 3");
            let reply = match kind {
                Kind::Events => connection.line("PSUBSCRIBE __key*"),
                Kind::Read => connection.line("CLIENT TRACKING ON"),
                Kind::Broadcast => connection.line("CLIENT TRACKING ON BCAST PREFIX key: PREFIX a"),
            };
            assert!(!reply.is_error(), "{reply}");
            connection
        };
        Self { kind, oracle: open(oracle), ours: open(ours), fences: [oracle.connect(), ours.connect()] }
    }

    /// Before a pipeline: reads some keys, so that there is something to be forgotten.
    pub(super) fn prepare(&mut self, random: &mut Random) {
        if self.kind != Kind::Read {
            return;
        }
        let mut question = vec![b"EXISTS".to_vec()];
        question.extend((0..random.below(KEYS.len())).map(|_| random.pick(KEYS).to_vec()));
        if question.len() > 1 {
            for connection in [&mut self.oracle, &mut self.ours] {
                let reply = connection.command(&question);
                assert!(matches!(reply, Value::Integer(_)), "between pipelines nothing is told: {reply}");
            }
        }
    }

    /// After a pipeline: the difference, if both have not heard the same. Reads that found nothing may be each server's own
    /// affair (`any_misses`).
    pub(super) fn difference(&mut self, any_misses: bool) -> Option<String> {
        let (mut expected, mut got) = if self.kind == Kind::Events {
            let [oracle, ours] = &mut self.fences;
            (up_to_fence(oracle, &mut self.oracle), up_to_fence(ours, &mut self.ours))
        } else {
            (drain(self.kind, &mut self.oracle), drain(self.kind, &mut self.ours))
        };
        if any_misses {
            expected.retain(|what, _| !what.contains(MISSED));
        }
        while !covers(self.kind, &got, &expected) {
            match self.ours.read() {
                Ok(value) => hear(self.kind, &value, &mut got),
                Err(_) => break,
            }
        }
        if any_misses {
            got.retain(|what, _| !what.contains(MISSED));
        }
        let same = match self.kind {
            Kind::Broadcast => expected.keys().eq(got.keys()),
            Kind::Events | Kind::Read => expected == got,
        };
        if same {
            return None;
        }
        let only = |these: &Heard, those: &Heard| -> Vec<String> {
            let more = these.iter().filter(|(what, count)| those.get(*what) < Some(count));
            let by = |what| these.get(what).copied().unwrap_or(0) - those.get(what).copied().unwrap_or(0);
            more.map(|(what, _)| format!("{} × {what}", by(what))).collect()
        };
        let (missing, extra) = (only(&expected, &got), only(&got, &expected));
        Some(format!("{:?}: only redis told {missing:?}, only ours {extra:?}", self.kind))
    }
}

fn covers(kind: Kind, got: &Heard, expected: &Heard) -> bool {
    expected.iter().all(|(what, count)| {
        let needed = if kind == Kind::Broadcast { 1 } else { *count };
        got.get(what).is_some_and(|got| *got >= needed)
    })
}

/// Every event of what has happened before.
fn up_to_fence(fence: &mut Connection, connection: &mut Connection) -> Heard {
    let replies = fence.pipeline(&FENCES.map(|key| vec!["GET", key])).expect("the server answers");
    assert!(!replies.iter().any(Value::is_error), "no fence: {replies:?}");
    let (mut heard, mut fences) = (Heard::new(), 0);
    while fences < FENCE_EVENTS {
        let Ok(value) = connection.read() else { panic!("after {fences} events of fences nothing comes") };
        if value.to_string().contains("fence:") {
            fences += 1;
        } else {
            hear(Kind::Events, &value, &mut heard);
        }
    }
    heard
}

/// Everything that has been said so far.
fn drain(kind: Kind, connection: &mut Connection) -> Heard {
    let mut heard = Heard::new();
    connection.send(b"*1\r\n$4\r\nPING\r\n").expect("the server takes commands");
    loop {
        match connection.read().expect("an ear is never closed") {
            Value::Simple(_) => return heard,
            value => hear(kind, &value, &mut heard),
        }
    }
}

fn hear(kind: Kind, value: &Value, heard: &mut Heard) {
    let Value::Push(items) = value else { panic!("an ear is told {value}") };
    let mut note = |what: String| *heard.entry(what).or_default() += 1;
    match (kind, items.as_slice()) {
        (Kind::Events, [_, _, channel, message]) => note(format!("{channel} {message}")),
        (Kind::Read | Kind::Broadcast, [_, Value::Array(keys)]) => {
            for key in keys {
                note(key.to_string());
            }
        }
        (Kind::Read | Kind::Broadcast, [_, Value::Null]) => note(EVERYTHING.into()),
        _ => panic!("an ear is told {value}"),
    }
}

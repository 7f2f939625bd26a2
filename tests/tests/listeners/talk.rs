//! Conversations of several clients with a server: the same to redis-server and to ours, which must answer and tell the same.
//!
//! ```text
//! # a comment
//! a: SUBSCRIBE news
//! b: PUBLISH news hello
//! a hears
//! c waits: BLPOP list 0
//! b: RPUSH list x
//! c is answered
//! ```
//!
//! A line is a client's name and a command, split at blanks; `{id:a}` in it is the number of client `a`, `""` an empty argument. After each
//! command everybody who was told something must have been told the same on both sides, in the same order on one
//! shard; on several, what comes from different shards may come in another order. `a hears` waits for something that comes
//! by itself. A client that waits is blocked before the conversation goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use annulus_tests::process::wait_for;
use annulus_tests::resp::{Connection, Value, encode};
use annulus_tests::server::{Server, Setup};

/// How long something that was expected may be missing.
const PATIENCE: Duration = Duration::from_secs(5);

/// One of the two servers, with its clients by name.
struct Side {
    server: Server,
    clients: BTreeMap<String, Client>,
}

struct Client {
    connection: Connection,
    id: String,
    /// What it was told before a reply.
    told: Vec<Value>,
    /// Whether replies no longer come.
    gone: bool,
    /// Between MULTI and EXEC, where nothing is answered.
    queues: bool,
    /// In a command that is yet to be answered.
    waits: bool,
}

impl Side {
    fn new(setup: &Setup) -> Self {
        Self { server: setup.start(), clients: BTreeMap::new() }
    }

    fn client(&mut self, name: &str) -> &mut Client {
        if !self.clients.contains_key(name) {
            let mut connection = self.server.connect();
            connection.set_patience(PATIENCE).expect("a timeout can be set");
            let id = connection.line("CLIENT ID").to_string().trim_start_matches(':').to_owned();
            let client =
                Client { connection, id, told: Vec::new(), gone: false, queues: false, waits: false };
            self.clients.insert(name.to_owned(), client);
        }
        self.clients.get_mut(name).expect("it is there")
    }

    fn arguments(&mut self, command: &str) -> Vec<String> {
        let words = command.split_whitespace();
        words
            .map(|word| match word.strip_prefix("{id:").and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => self.client(name).id.clone(),
                None => word.replace("\"\"", ""),
            })
            .collect()
    }

    /// The reply to a command; none if the connection was closed.
    fn ask(&mut self, name: &str, command: &str) -> Option<Value> {
        self.send(name, command);
        self.reply(name, command)
    }

    fn send(&mut self, name: &str, command: &str) {
        let arguments = self.arguments(command);
        self.client(name).connection.send(&encode(&arguments)).expect("the server takes commands");
    }

    /// Has a client send a command that waits, and goes on when it does.
    fn have_wait(&mut self, name: &str, command: &str) {
        self.send(name, command);
        self.client(name).waits = true;
        let waiting = self.clients.values().filter(|client| client.waits).count();
        let line = format!("blocked_clients:{waiting}\r\n");
        let mut watcher = self.server.connect();
        wait_for(&line, || watcher.line("INFO clients").text().contains(&line));
    }

    fn reply(&mut self, name: &str, command: &str) -> Option<Value> {
        let client = self.client(name);
        client.waits = false;
        loop {
            match client.connection.read() {
                // Confirmations are replies.
                Ok(Value::Push(items)) if !is_confirmation(&items) => client.told.push(Value::Push(items)),
                Ok(value) if is_message(&value) || is_monitored(&value) => client.told.push(value),
                Ok(value) => {
                    let word = command.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
                    match word.as_str() {
                        "multi" => client.queues = true,
                        "exec" | "discard" | "reset" => client.queues = false,
                        _ => {}
                    }
                    return Some(value);
                }
                Err(_) => {
                    client.gone = true;
                    return None;
                }
            }
        }
    }
}

fn is_confirmation(items: &[Value]) -> bool {
    items.first().and_then(Value::bytes).is_some_and(|what| what.ends_with(b"subscribe"))
}

/// What RESP2 says without being asked.
fn is_message(value: &Value) -> bool {
    let Value::Array(items) = value else { return false };
    let what = items.first().and_then(Value::bytes).unwrap_or_default();
    [&b"message"[..], b"pmessage", b"smessage"].contains(&what)
}

/// A line that a monitor is shown.
fn is_monitored(value: &Value) -> bool {
    matches!(value, Value::Simple(line) if line.first().is_some_and(u8::is_ascii_digit))
}

impl Client {
    /// What it has been told so far.
    fn drain(&mut self, fence: &str) -> Vec<Value> {
        let mut told = std::mem::take(&mut self.told);
        if self.gone || self.queues || self.waits || self.connection.send(&encode(&["PING", fence])).is_err()
        {
            return told;
        }
        loop {
            match self.connection.read() {
                Ok(Value::Bulk(bytes)) if bytes == fence.as_bytes() => return told,
                Ok(Value::Array(items)) if items.get(1) == Some(&Value::bulk(fence)) => return told,
                Ok(value) => told.push(value),
                Err(_) => {
                    self.gone = true;
                    return told;
                }
            }
        }
    }

    fn hear_more(&mut self) -> Option<Value> {
        if self.gone { None } else { self.connection.read().ok() }
    }
}

/// Without what is each server's own: times and addresses of a monitor's lines, and the fences that the test sends.
fn comparable(told: &[Value], fence: &str) -> Vec<String> {
    let fence = format!("\"{fence}");
    let lines = told.iter().map(|value| match value {
        Value::Simple(line) => {
            let line = String::from_utf8_lossy(line).into_owned();
            match (line.split_once(" ["), line.split_once("] ")) {
                (Some((_, rest)), Some((_, command))) => {
                    format!("[{}] {command}", rest.split(' ').next().unwrap_or_default())
                }
                _ => line,
            }
        }
        Value::Push(_) => without_numbers(value),
        value => value.to_string(),
    });
    lines.filter(|line| !line.contains(&fence)).collect()
}

/// Has the same conversation with redis-server and with ours.
pub(super) fn talk(setup: &Setup, shards: usize, settings: &[&str], conversation: &str) {
    let mut oracle = Side::new(&Setup::redis().arguments(settings));
    let mut ours = Side::new(&setup.clone().shards(shards).arguments(settings));
    for (number, line) in conversation.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_suffix(" hears") {
            for side in [&mut oracle, &mut ours] {
                let client = side.client(name);
                let heard = client.hear_more().unwrap_or_else(|| panic!("{line}: nothing"));
                client.told.push(heard);
            }
        } else if let Some((name, command)) = line.split_once(" waits: ") {
            for side in [&mut oracle, &mut ours] {
                side.have_wait(name, command);
            }
        } else {
            let answered = line.strip_suffix(" is answered").map(|name| (name, ""));
            let (name, command) =
                answered.or_else(|| line.split_once(": ")).unwrap_or_else(|| panic!("no command: {line}"));
            let [expected, got] = [&mut oracle, &mut ours].map(|side| match answered {
                Some(_) => side.reply(name, command),
                None => side.ask(name, command),
            });
            assert!(
                same(command, expected.as_ref(), got.as_ref()),
                "line {number}, {shards} shards: {line}\n  redis: {}\n  ours:  {}\nours said: {}",
                expected.map_or_else(String::new, |value| value.to_string()),
                got.map_or_else(String::new, |value| value.to_string()),
                ours.server.log()
            );
        }
        compare_told(&mut oracle, &mut ours, shards, &format!("line {number}, {shards} shards: {line}"));
    }
}

fn same(command: &str, expected: Option<&Value>, got: Option<&Value>) -> bool {
    let (Some(expected), Some(got)) = (expected, got) else { return expected == got };
    let command = command.to_ascii_lowercase();
    let numbers_differ = command.starts_with("client getredir") || command.starts_with("client id");
    let inside = command.starts_with("client trackinginfo") || command.starts_with("exec");
    if command.starts_with("hello") {
        return expected.field("proto") == got.field("proto");
    }
    if command.starts_with("pubsub channels") || command.starts_with("pubsub shardchannels") {
        let sorted = |value: &Value| {
            let mut names = value.items().to_vec();
            names.sort();
            names
        };
        return sorted(expected) == sorted(got);
    }
    match (expected, got) {
        (Value::Integer(expected), Value::Integer(got)) if numbers_differ => {
            (*expected > 0) == (*got > 0) && (*expected > 0 || expected == got)
        }
        (expected, got) if inside => without_numbers(expected) == without_numbers(got),
        (expected, got) => expected == got,
    }
}

/// With the numbers of clients replaced.
fn without_numbers(value: &Value) -> String {
    let text = value.to_string();
    let mut out = String::new();
    let mut digits = false;
    for (at, letter) in text.char_indices() {
        let starts = letter.is_ascii_digit() && text.get(..at).is_some_and(|before| before.ends_with(':'));
        digits = letter.is_ascii_digit() && (digits || starts);
        out.push(if digits { '#' } else { letter });
    }
    out.replace("##", "#").replace("##", "#")
}

/// Puts the copies of one message in order that a client gets for each of its patterns: redis-server has none.
fn sort_patterns(told: &mut [String]) {
    fn message(line: &str) -> Option<&str> {
        line.trim_start_matches('>').strip_prefix("[\"pmessage\", ")?.split_once(", ").map(|(_, rest)| rest)
    }
    for copies in told.chunk_by_mut(|a, b| message(a).is_some() && message(a) == message(b)) {
        copies.sort();
    }
}

fn compare_told(oracle: &mut Side, ours: &mut Side, shards: usize, place: &str) {
    let names: Vec<String> = oracle.clients.keys().cloned().collect();
    for name in names {
        let fence = "fence";
        let mut expected = comparable(&oracle.client(&name).drain(fence), fence);
        let client = ours.client(&name);
        let mut got = comparable(&client.drain(fence), fence);
        while got.len() < expected.len()
            && let Some(value) = client.hear_more()
        {
            got.extend(comparable(&[value], fence));
        }
        for told in [&mut expected, &mut got] {
            if shards > 1 {
                told.sort();
            } else {
                sort_patterns(told);
            }
        }
        assert_eq!(expected, got, "{place}\n{name} was told (left: by redis, right: by ours)");
        assert_eq!(oracle.client(&name).gone, client.gone, "{place}\n{name} is gone");
    }
}

//! Writers that know what they were told.
//!
//! Each thread owns its keys and numbers its writes. For each key it keeps the last acknowledged state and those that were
//! sent since: after a crash the key must be in one of these. A reader looks at everybody's keys meanwhile: what it was shown
//! must not be gone afterwards either.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use annulus_tests::{
    process::wait_for,
    random::Random,
    resp::{Connection, Value, encode},
};

const WRITERS: usize = 4;
const KEYS_EACH: usize = 12;
const PIPELINE_MAX: usize = 12;

/// A state that a key was put into: by write number `number`, to a value or to nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    number: u64,
    present: bool,
}

/// What is known of one key.
#[derive(Clone, Debug)]
struct Key {
    name: String,
    counter: bool,
    acknowledged: State,
    sent: VecDeque<State>,
}

impl Key {
    /// The number of the last write that was sent.
    fn last_number(&self) -> u64 {
        self.sent.back().unwrap_or(&self.acknowledged).number
    }

    /// The next write to it, as a command.
    fn next_write(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        let number = self.last_number() + 1;
        let name = self.name.clone().into_bytes();
        if self.counter {
            self.sent.push_back(State { number, present: true });
            return vec![b"INCR".to_vec(), name];
        }
        let present = !random.one_in(8);
        self.sent.push_back(State { number, present });
        if present { vec![b"SET".to_vec(), name, value(number)] } else { vec![b"DEL".to_vec(), name] }
    }

    /// The oldest write that waits was acknowledged.
    fn on_acknowledged(&mut self) {
        self.acknowledged = self.sent.pop_front().expect("a reply belongs to a write");
    }

    /// Whether the server may say this of the key after a crash, and the state that it shows.
    fn state_of(&self, reply: &Value, shown: u64) -> Option<State> {
        let number = if reply.is_null() { None } else { Some(number_in(reply)?) };
        let mut possible = std::iter::once(&self.acknowledged).chain(&self.sent).rev();
        possible
            .find(|state| match number {
                Some(number) => state.present && state.number == number,
                None => !state.present,
            })
            .filter(|state| state.number >= shown)
            .copied()
    }
}

/// The value of a write: its number, and bytes that follow from it.
fn value(number: u64) -> Vec<u8> {
    let mut bytes = format!("{number}:").into_bytes();
    bytes.resize(
        bytes.len() + (number.wrapping_mul(2_654_435_761) % 700) as usize,
        b'a' + (number % 26) as u8,
    );
    bytes
}

/// The number of the write that made the value; `None` if no write made it.
fn number_in(reply: &Value) -> Option<u64> {
    let bytes = reply.bytes()?;
    let digits = bytes.iter().position(|&byte| byte == b':').map_or(bytes, |at| &bytes[..at]);
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (bytes.len() == digits.len() || bytes == value(number)).then_some(number)
}

/// The keys of all writers, over all rounds.
pub(super) struct Load {
    random: Random,
    writers: Vec<Vec<Key>>,
    /// The latest write that a reader was shown, by key.
    shown: BTreeMap<String, u64>,
}

impl Load {
    pub(super) fn new(random: &Random) -> Self {
        let key = |writer: usize, index: usize| {
            let counter = index == 0;
            let kind = if counter { "counter" } else { "key" };
            Key {
                name: format!("writer:{writer}:{kind}:{index}"),
                counter,
                // A counter that is not there is at 0.
                acknowledged: State { number: 0, present: false },
                sent: VecDeque::new(),
            }
        };
        let keys = |writer| (0..KEYS_EACH).map(|index| key(writer, index)).collect();
        Self { random: random.clone(), writers: (0..WRITERS).map(keys).collect(), shown: BTreeMap::new() }
    }

    /// Writes and reads until `writes` were acknowledged, and goes on while `end` ends the server.
    pub(super) fn run(&mut self, port: u16, writes: usize, end: impl FnOnce()) {
        let acknowledged = AtomicUsize::new(0);
        let ended = AtomicBool::new(false);
        let names: Vec<String> = self.writers.iter().flatten().map(|key| key.name.clone()).collect();
        let mut seeds = Vec::new();
        seeds.resize_with(WRITERS + 1, || self.random.bits());
        thread::scope(|scope| {
            let writers: Vec<_> = self
                .writers
                .iter_mut()
                .zip(&seeds)
                .map(|(keys, &seed)| {
                    let (acknowledged, ended) = (&acknowledged, &ended);
                    scope.spawn(move || write(keys, port, Random::new(seed), acknowledged, ended))
                })
                .collect();
            let reader_random = Random::new(seeds[WRITERS]);
            let reader = scope.spawn(|| read(&names, port, reader_random, &ended));
            wait_for("enough writes are acknowledged", || {
                // A writer ends early only when something is wrong: then its panic is the news.
                acknowledged.load(Ordering::Relaxed) >= writes
                    || writers.iter().any(thread::ScopedJoinHandle::is_finished)
            });
            ended.store(true, Ordering::Relaxed);
            end();
            for writer in writers {
                writer.join().expect("a writer saw only what it may see");
            }
            for (name, number) in reader.join().expect("the reader saw only what it may see") {
                let latest = self.shown.entry(name).or_default();
                *latest = number.max(*latest);
            }
        });
    }

    /// Looks for everything; what is found is what the next round starts from.
    pub(super) fn verify(&mut self, connection: &mut Connection, round: usize) {
        let mut checked = 0;
        for key in self.writers.iter_mut().flatten() {
            let reply = connection.command(&["GET", &key.name]);
            let shown = self.shown.get(&key.name).copied().unwrap_or(0);
            let state = key.state_of(&reply, shown).unwrap_or_else(|| {
                panic!(
                    "round {round}: {} is {}; acknowledged was {:?}, sent since then {:?}, a reader was shown {shown}",
                    key.name,
                    clipped(&reply),
                    key.acknowledged,
                    key.sent
                )
            });
            checked += state.number;
            key.acknowledged = state;
            key.sent.clear();
            // A write that was never acknowledged may be gone, and its number is used again.
            self.shown.insert(key.name.clone(), 0);
        }
        eprintln!("round {round}: {checked} writes accounted for");
    }
}

fn clipped(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

fn write(keys: &mut [Key], port: u16, mut random: Random, acknowledged: &AtomicUsize, ended: &AtomicBool) {
    let mut connection = Connection::tcp(port).expect("a writer connects");
    loop {
        let mut bytes = Vec::new();
        let mut order = Vec::new();
        for _ in 0..=random.below(PIPELINE_MAX) {
            let at = random.below(keys.len());
            bytes.extend(encode(&keys[at].next_write(&mut random)));
            order.push(at);
        }
        if let Err(error) = connection.send(&bytes) {
            assert!(ended.load(Ordering::Relaxed), "the server closed the connection of a writer: {error}");
            return;
        }
        for at in order {
            let reply = match connection.read() {
                Ok(reply) => reply,
                Err(error) => {
                    assert!(ended.load(Ordering::Relaxed), "a writer got no reply: {error}");
                    return;
                }
            };
            // A server that is stopping may refuse what comes late, and closes then.
            if reply.is_error() && ended.load(Ordering::Relaxed) {
                return;
            }
            let key = &mut keys[at];
            let expected = key.sent.front().expect("it was sent").number;
            let fits = match &reply {
                Value::Integer(count) if key.counter => *count as u64 == expected,
                Value::Integer(deleted) => (0..=1).contains(deleted),
                other => *other == Value::ok(),
            };
            assert!(fits, "reply {reply} to write {expected} of {}", key.name);
            key.on_acknowledged();
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads random keys until the server ends; what it was shown, by key. A key's numbers never go back.
fn read(names: &[String], port: u16, mut random: Random, ended: &AtomicBool) -> BTreeMap<String, u64> {
    let mut shown = BTreeMap::<String, u64>::new();
    let mut connection = Connection::tcp(port).expect("the reader connects");
    loop {
        let asked: Vec<Vec<&str>> =
            (0..8).map(|_| vec!["GET", names[random.below(names.len())].as_str()]).collect();
        let Ok(replies) = connection.pipeline(&asked) else {
            assert!(ended.load(Ordering::Relaxed), "the server closed the connection of the reader");
            return shown;
        };
        for (question, reply) in asked.iter().zip(&replies) {
            if reply.is_null() {
                continue;
            }
            let number =
                number_in(reply).unwrap_or_else(|| panic!("nobody wrote {} to {question:?}", clipped(reply)));
            let latest = shown.entry(question[1].to_owned()).or_default();
            assert!(number >= *latest, "{question:?} went back from {latest} to {number}");
            *latest = number;
        }
    }
}

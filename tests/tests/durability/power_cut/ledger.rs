//! Writers whose every write follows from its number, so that afterwards each of them can be looked for.
//!
//! Writer *w* makes write 0, 1, 2, … in order, on one connection; what write *n* is depends on *w* and *n* alone. Of `acknowledged` writes each must
//! be there after a cut, of those up to `sent` each may be; a write over two shards is there whole or not at all; on one shard the
//! writes of one connection end somewhere, without a hole before that; and what a reader was shown is there.

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread,
};

use annulus_tests::{
    process::wait_for,
    random::Random,
    resp::{Connection, Value, encode},
};

const WRITERS: u64 = 3;
const PIPELINE_MAX: usize = 10;
/// Hash tags whose slots are far apart: with two shards each has one.
const TAGS: [&str; 2] = ["{a}", "{b}"];

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Set,
    /// A SET whose key write `Delete` deletes later.
    Brief,
    /// A SET whose key write `Rename` renames later.
    Moving,
    /// MSET of two keys, one on each shard.
    Pair,
    /// MULTI: two keys on one shard, one on the other; EXEC.
    Block,
    /// The key of the `Brief` so many writes before it.
    Delete,
    /// The key of the `Moving` so many writes before it, to another shard.
    Rename,
}

/// Kinds follow one another in rows like this.
const ROW: [Kind; 12] = [
    Kind::Set,
    Kind::Brief,
    Kind::Moving,
    Kind::Set,
    Kind::Pair,
    Kind::Delete,
    Kind::Block,
    Kind::Rename,
    Kind::Set,
    Kind::Pair,
    Kind::Set,
    Kind::Block,
];
/// From `Brief` to `Delete`.
const DELETE_AFTER: u64 = 4;
/// From `Moving` to `Rename`.
const RENAME_AFTER: u64 = 5;

const fn kind(number: u64) -> Kind {
    ROW[(number % ROW.len() as u64) as usize]
}

const _: () = assert!(matches!(kind(5 - DELETE_AFTER), Kind::Brief) && matches!(kind(5), Kind::Delete));
const _: () = assert!(matches!(kind(7 - RENAME_AFTER), Kind::Moving) && matches!(kind(7), Kind::Rename));

fn key(writer: u64, number: u64, tag: usize) -> String {
    format!("{}w{writer}:{number}", TAGS[tag])
}

/// The shard of a write that concerns only one.
fn tag(number: u64) -> usize {
    (number % 5 % 2) as usize
}

fn value(writer: u64, number: u64) -> Vec<u8> {
    let mut bytes = format!("{writer}:{number}:").into_bytes();
    let mixed = Random::new(writer << 48 | number).bits();
    // Some are larger than a block, so that frames are torn in the middle of a value.
    let filler = if mixed.is_multiple_of(40) { 20_000 } else { mixed % 600 };
    bytes.resize(bytes.len() + filler as usize, b'a' + (number % 26) as u8);
    bytes
}

/// The keys that a write gives its value to.
fn keys(writer: u64, number: u64) -> Vec<String> {
    let name = |tag: usize| key(writer, number, tag);
    match kind(number) {
        Kind::Set | Kind::Brief | Kind::Moving => vec![name(tag(number))],
        Kind::Pair => vec![name(0), name(1)],
        Kind::Block => vec![name(0), name(1), format!("{}:too", name(tag(number)))],
        Kind::Delete => vec![key(writer, number - DELETE_AFTER, tag(number - DELETE_AFTER))],
        Kind::Rename => vec![key(writer, number - RENAME_AFTER, 1 - tag(number - RENAME_AFTER))],
    }
}

/// A write as commands, and the replies that they must get.
fn commands(writer: u64, number: u64) -> (Vec<u8>, Vec<Value>) {
    let value = value(writer, number);
    let keys = keys(writer, number);
    let set = |key: &String| encode(&[b"SET".as_slice(), key.as_bytes(), &value]);
    match kind(number) {
        Kind::Set | Kind::Brief | Kind::Moving => (set(&keys[0]), vec![Value::ok()]),
        Kind::Pair => {
            let pair = [b"MSET".as_slice(), keys[0].as_bytes(), &value, keys[1].as_bytes(), &value];
            (encode(&pair), vec![Value::ok()])
        }
        Kind::Block => {
            let mut bytes = encode(&["MULTI"]);
            bytes.extend(keys.iter().flat_map(set));
            bytes.extend(encode(&["EXEC"]));
            let mut replies = vec![Value::ok()];
            replies.resize(1 + keys.len(), Value::simple("QUEUED"));
            replies.push(Value::Array(vec![Value::ok(); keys.len()]));
            (bytes, replies)
        }
        Kind::Delete => (encode(&["DEL", &keys[0]]), vec![Value::Integer(1)]),
        Kind::Rename => {
            let from = key(writer, number - RENAME_AFTER, tag(number - RENAME_AFTER));
            (encode(&["RENAME", &from, &keys[0]]), vec![Value::ok()])
        }
    }
}

/// What is known of one writer's writes.
#[derive(Debug)]
struct Writer {
    number: u64,
    acknowledged: u64,
    sent: u64,
    /// Of the writes of earlier rounds: whether each is there. It stays so.
    settled: Vec<bool>,
}

/// What was found after a cut.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Findings {
    /// Cuts under load.
    pub(super) cuts: usize,
    /// Further ones while a server recovered.
    pub(super) cuts_while_starting: usize,
    pub(super) acknowledged: u64,
    /// Acknowledged writes that are not there.
    pub(super) missing: u64,
    /// Writes over two shards of which a part is there: of an MSET, a MULTI block or a RENAME.
    pub(super) halves: u64,
    /// Writes that are there although an earlier one of the same connection on the same shard is not.
    pub(super) holes: u64,
    /// Values that a reader was shown and that are not there.
    pub(super) unshown: u64,
    /// Writes that were there, or not, after an earlier round, and are not, or are, now.
    pub(super) changed: u64,
    /// Starts that were refused, because durable bytes are missing.
    pub(super) refused: u64,
}

impl Findings {
    pub(super) fn add(&mut self, other: Findings) {
        self.cuts += other.cuts;
        self.cuts_while_starting += other.cuts_while_starting;
        self.acknowledged += other.acknowledged;
        self.missing += other.missing;
        self.halves += other.halves;
        self.holes += other.holes;
        self.unshown += other.unshown;
        self.changed += other.changed;
        self.refused += other.refused;
    }
}

/// All writers, over all cuts of one disk.
pub(super) struct Ledger {
    random: Random,
    writers: Vec<Writer>,
    shown: BTreeSet<(u64, u64)>,
}

impl Ledger {
    pub(super) fn new(random: &mut Random) -> Self {
        let writer = |number| Writer { number, acknowledged: 0, sent: 0, settled: Vec::new() };
        Self {
            random: Random::new(random.bits()),
            writers: (0..WRITERS).map(writer).collect(),
            shown: BTreeSet::new(),
        }
    }

    /// Writes and reads until `writes` were acknowledged, and goes on while `end` ends the server.
    pub(super) fn run(&mut self, port: u16, writes: usize, end: impl FnOnce()) {
        let (acknowledged, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
        let reached: Vec<AtomicU64> = self.writers.iter().map(|it| AtomicU64::new(it.sent)).collect();
        let mut seeds = Vec::new();
        seeds.resize_with(self.writers.len() + 1, || self.random.bits());
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for ((writer, reached), &seed) in self.writers.iter_mut().zip(&reached).zip(&seeds) {
                let (acknowledged, ended) = (&acknowledged, &ended);
                let connection = Connection::tcp(port).expect("a writer connects");
                threads.push(scope.spawn(move || {
                    writer.write(connection, Random::new(seed), reached, acknowledged, ended);
                }));
            }
            let connection = Connection::tcp(port).expect("the reader connects");
            let random = Random::new(seeds[reached.len()]);
            let (reached, ended_too) = (&reached, &ended);
            let reader = scope.spawn(move || read(connection, random, reached, ended_too));
            wait_for("enough writes are acknowledged", || {
                // A writer ends early only when something is wrong: then its panic is the news.
                acknowledged.load(Ordering::Relaxed) >= writes
                    || threads.iter().any(thread::ScopedJoinHandle::is_finished)
            });
            ended.store(true, Ordering::Relaxed);
            end();
            for thread in threads {
                thread.join().expect("a writer saw only what it may see");
            }
            self.shown = reader.join().expect("the reader saw only what it may see");
        });
    }

    /// Looks for every write since the last look. The next round goes on from what was found.
    pub(super) fn verify(&mut self, connection: &mut Connection) -> Findings {
        let mut findings = Findings::default();
        for writer in &mut self.writers {
            let first = writer.settled.len() as u64;
            // The next round begins with a whole row of kinds: none of its writes concerns a key of this round.
            let next = writer.sent.next_multiple_of(ROW.len() as u64);
            let found = writer.look(connection, first..next, &mut findings.halves);
            writer.judge(first, &found, &mut findings);
            let unshown = |number: &u64| {
                self.shown.contains(&(writer.number, *number)) && !found[(number - first) as usize]
            };
            findings.unshown += (first..writer.sent).filter(unshown).count() as u64;
            writer.settled.extend(found);
            (writer.acknowledged, writer.sent) = (next, next);
        }
        findings
    }

    /// Looks for every write of all rounds before.
    pub(super) fn verify_all(&mut self, connection: &mut Connection) -> Findings {
        let mut findings = Findings::default();
        for writer in &self.writers {
            let found = writer.look(connection, 0..writer.sent, &mut 0);
            findings.changed +=
                found.iter().zip(&writer.settled).filter(|(now, then)| now != then).count() as u64;
        }
        findings
    }
}

/// An error, or what EXEC answers when all that it holds are errors.
fn is_refusal(reply: &Value) -> bool {
    match reply {
        Value::Array(replies) => !replies.is_empty() && replies.iter().all(Value::is_error),
        reply => reply.is_error(),
    }
}

impl Writer {
    fn write(
        &mut self,
        mut connection: Connection,
        mut random: Random,
        reached: &AtomicU64,
        acknowledged: &AtomicUsize,
        ended: &AtomicBool,
    ) {
        let ended = || ended.load(Ordering::Relaxed);
        loop {
            let first = self.sent;
            let last = first + 1 + random.below(PIPELINE_MAX) as u64;
            let writes: Vec<_> = (first..last).map(|number| commands(self.number, number)).collect();
            let bytes: Vec<u8> = writes.iter().flat_map(|(bytes, _)| bytes).copied().collect();
            self.sent = last;
            reached.store(last, Ordering::Relaxed);
            if let Err(error) = connection.send(&bytes) {
                assert!(ended(), "the server closed the connection of a writer: {error}");
                return;
            }
            for (number, (_, expected)) in (first..last).zip(&writes) {
                for expected in expected {
                    match connection.read() {
                        Ok(reply) if reply == *expected => {}
                        // A server whose disk is gone may refuse, or close.
                        Ok(reply) if is_refusal(&reply) && ended() => return,
                        Ok(reply) => panic!("reply {reply} to write {number} of writer {}", self.number),
                        Err(error) => {
                            assert!(ended(), "a writer got no reply: {error}");
                            return;
                        }
                    }
                }
                self.acknowledged = number + 1;
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Which of these writes are there, by looking at their keys. What concerns the key of another write (to delete it, to rename
    /// it) is told by what became of that key; so the two are settled together.
    fn look(&self, connection: &mut Connection, numbers: Range<u64>, halves: &mut u64) -> Vec<bool> {
        let numbers: Vec<u64> = numbers.collect();
        let mut found = Vec::new();
        for numbers in numbers.chunks(200) {
            let asked: Vec<Vec<String>> = numbers
                .iter()
                .map(|&number| ["MGET".to_owned()].into_iter().chain(self.watched(number)).collect())
                .collect();
            let replies = connection.pipeline(&asked).expect("a healthy server answers");
            for (&number, reply) in numbers.iter().zip(&replies) {
                found.push(self.is_there(number, reply.items(), halves));
            }
        }
        found
    }

    /// The keys that tell whether a write is there.
    fn watched(&self, number: u64) -> Vec<String> {
        match kind(number) {
            Kind::Moving => vec![key(self.number, number, 0), key(self.number, number, 1)],
            _ => keys(self.number, number),
        }
    }

    fn is_there(&self, number: u64, values: &[Value], halves: &mut u64) -> bool {
        let holds = |made_by: u64| values.iter().filter(|found| self.made(made_by, found)).count();
        let half = match kind(number) {
            // Under both names: half of a RENAME.
            Kind::Moving => holds(number) == 2,
            Kind::Pair | Kind::Block => (1..values.len()).contains(&holds(number)),
            Kind::Set | Kind::Brief | Kind::Delete | Kind::Rename => false,
        };
        if half {
            let found: Vec<bool> = values.iter().map(|value| !value.is_null()).collect();
            eprintln!(
                "write {number} of writer {} ({:?}; acknowledged to {}, sent to {}): {:?} {found:?}",
                self.number,
                kind(number),
                self.acknowledged,
                self.sent,
                self.watched(number)
            );
            *halves += 1;
        }
        match kind(number) {
            Kind::Delete => holds(number - DELETE_AFTER) == 0,
            Kind::Rename => holds(number - RENAME_AFTER) == 1,
            Kind::Moving => holds(number) > 0,
            Kind::Set | Kind::Brief | Kind::Pair | Kind::Block => holds(number) == values.len(),
        }
    }

    /// Whether this is the value of that write; nobody else's may it be.
    fn made(&self, number: u64, found: &Value) -> bool {
        let right = found.bytes().is_some_and(|bytes| bytes == value(self.number, number));
        assert!(
            right || found.is_null(),
            "write {number} of writer {} made another value: {found}",
            self.number
        );
        right
    }

    /// What `look` has found, against what was acknowledged.
    fn judge(&self, first: u64, found: &[bool], findings: &mut Findings) {
        let there = |number: u64| found.get(number.wrapping_sub(first) as usize).copied() == Some(true);
        // The key of a write that was deleted again says nothing by its absence, and the write that deletes says nothing by
        // the absence of a key that was never there.
        let deleted = |number: u64| {
            let delete = number + DELETE_AFTER;
            kind(number) == Kind::Brief && delete < self.sent && there(delete)
        };
        let mut ended = [false; 2];
        for number in first..self.sent {
            if number < self.acknowledged {
                findings.acknowledged += 1;
                findings.missing += u64::from(!there(number) && !deleted(number));
            }
            if kind(number) == Kind::Set {
                let ended = &mut ended[tag(number)];
                findings.holes += u64::from(*ended && there(number));
                *ended |= !there(number);
            }
        }
    }
}

/// Reads writes that were sent lately until the server ends: which it was shown.
fn read(
    mut connection: Connection,
    mut random: Random,
    reached: &[AtomicU64],
    ended: &AtomicBool,
) -> BTreeSet<(u64, u64)> {
    let mut shown = BTreeSet::new();
    loop {
        let asked: Vec<(u64, u64)> = (0..8)
            .map(|_| {
                let writer = random.below(reached.len());
                let reached = reached[writer].load(Ordering::Relaxed);
                (writer as u64, reached.saturating_sub(1 + random.below(16) as u64))
            })
            // Of a key that is deleted or renamed later nothing can be said.
            .filter(|&(_, number)| matches!(kind(number), Kind::Set | Kind::Pair | Kind::Block))
            .collect();
        // One key of each: by the whole write it is shown, or not at all.
        let commands: Vec<Vec<String>> = asked
            .iter()
            .map(|&(writer, number)| {
                let mut keys = keys(writer, number);
                vec!["GET".into(), keys.swap_remove(random.below(keys.len()))]
            })
            .collect();
        let Ok(replies) = connection.pipeline(&commands) else {
            assert!(ended.load(Ordering::Relaxed), "the server closed the connection of the reader");
            return shown;
        };
        if !replies.is_empty() && replies.iter().all(Value::is_error) && ended.load(Ordering::Relaxed) {
            return shown;
        }
        let answered = asked.iter().zip(&replies).filter(|(_, reply)| matches!(reply, Value::Bulk(_)));
        shown.extend(answered.map(|(asked, _)| *asked));
    }
}

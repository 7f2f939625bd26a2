//! Commands as bytes, ready to be sent.

use std::time::Duration;

use annulus_protocol::Words;
use bytes::{Bytes, BytesMut};

/// A command: its name, its arguments, and what routing and retry must know of it.
///
/// ```
/// use annulus_client::Command;
///
/// let command = Command::new("GETRANGE").key("greeting").number(0).number(3).reads();
/// ```
#[derive(Clone, Debug)]
pub struct Command {
    words: Words,
    key: KeyIndex,
    keys: u32,
    reads: bool,
}

// Moved in registers.
const _: () = assert!(size_of::<Command>() <= 128);

/// Which argument is the first key, if there's one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyIndex(u32);

impl KeyIndex {
    const NONE: Self = Self(u32::MAX);

    fn get(self) -> Option<usize> {
        (self != Self::NONE).then_some(self.0 as usize)
    }
}

/// What a command that writes may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    Nothing,
    Key(Bytes),
    Anything,
}

/// What tells, of one key, something that only changes with it. Not times to live, nor what is drawn at random.
const CACHED: &[&str] = &[
    "GET",
    "STRLEN",
    "GETRANGE",
    "SUBSTR",
    "GETBIT",
    "BITCOUNT",
    "BITPOS",
    "BITFIELD_RO",
    "EXISTS",
    "TYPE",
    "MGET",
    "PFCOUNT",
    "LRANGE",
    "LLEN",
    "LINDEX",
    "LPOS",
    "HGET",
    "HMGET",
    "HGETALL",
    "HKEYS",
    "HVALS",
    "HLEN",
    "HEXISTS",
    "HSTRLEN",
    "SMEMBERS",
    "SISMEMBER",
    "SMISMEMBER",
    "SCARD",
    "ZSCORE",
    "ZMSCORE",
    "ZRANGE",
    "ZRANGEBYSCORE",
    "ZRANGEBYLEX",
    "ZREVRANGE",
    "ZREVRANGEBYSCORE",
    "ZREVRANGEBYLEX",
    "ZRANK",
    "ZREVRANK",
    "ZCARD",
    "ZCOUNT",
    "ZLEXCOUNT",
    "GEOPOS",
    "GEODIST",
    "GEOHASH",
    "GEOSEARCH",
    "XLEN",
    "XRANGE",
    "XREVRANGE",
];

/// Subcommands of CLIENT that change the connection for all who share it.
const CONNECTION_STATE: &[&str] = &["TRACKING", "CACHING", "NO-EVICT", "NO-TOUCH"];

/// What the server may answer only when something happens; and XREAD and XREADGROUP with BLOCK.
const WAITING: &[&str] = &[
    "BLPOP",
    "BRPOP",
    "BLMOVE",
    "BRPOPLPUSH",
    "BLMPOP",
    "BZPOPMIN",
    "BZPOPMAX",
    "BZMPOP",
    "WAIT",
    "WAITAOF",
];

const SUBSCRIBING: &[&str] =
    &["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"];

/// What writes without a key, or keys that it does not name.
const TOUCHES_ANYTHING: &[&str] = &["FLUSHALL", "FLUSHDB", "SWAPDB", "EVAL", "EVALSHA", "FCALL", "FUNCTION"];

/// Whether a command of this name may be one that a shared connection does not carry: a look at its length and first letter, since it's
/// asked of every command. GET, SET, HGET, INCR and their like are out at once.
fn may_be_special(name: &[u8]) -> bool {
    let first = name.first().map(u8::to_ascii_uppercase);
    name.len() > 3
        && matches!(
            first,
            Some(
                b'A' | b'B'
                    | b'C'
                    | b'D'
                    | b'E'
                    | b'H'
                    | b'M'
                    | b'P'
                    | b'Q'
                    | b'R'
                    | b'S'
                    | b'U'
                    | b'W'
                    | b'X'
            )
        )
}

impl Command {
    /// A command of this name. A subcommand is an argument: `Command::new("CLIENT").arg("ID")`.
    #[inline]
    pub fn new(name: &str) -> Self {
        Self { words: Words::new(), key: KeyIndex::NONE, keys: 0, reads: false }.arg(name)
    }

    /// Adds an argument.
    #[inline]
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<[u8]>) -> Self {
        self.words.push(argument.as_ref());
        self
    }

    /// Adds an argument that need not be copied if it's large: it's shared until the command has left.
    #[inline]
    #[must_use]
    pub fn bytes(mut self, argument: Bytes) -> Self {
        self.words.push_bytes(argument);
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<A: AsRef<[u8]>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Adds a key. The first key says to which shard the command goes.
    #[inline]
    #[must_use]
    pub fn key(self, key: impl AsRef<[u8]>) -> Self {
        let index = self.words.len();
        let mut command = self.arg(key);
        command.keys += 1;
        if command.key == KeyIndex::NONE {
            command.key = KeyIndex(index as u32);
        }
        command
    }

    /// Adds several keys.
    #[must_use]
    pub fn keys<K: AsRef<[u8]>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        keys.into_iter().fold(self, Self::key)
    }

    /// Adds how many keys there are, and the keys, as commands want it that take arguments behind them.
    #[must_use]
    pub fn counted_keys<K: AsRef<[u8]>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        let keys: Vec<K> = keys.into_iter().collect();
        self.unsigned(keys.len() as u64).keys(keys)
    }

    /// Adds how many arguments there are, and the arguments.
    #[must_use]
    pub fn counted_args<A: AsRef<[u8]>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments: Vec<A> = arguments.into_iter().collect();
        self.unsigned(arguments.len() as u64).args(arguments)
    }

    /// Adds a number that has no sign.
    #[inline]
    #[must_use]
    pub fn unsigned(self, number: u64) -> Self {
        self.arg(itoa::Buffer::new().format(number))
    }

    /// Adds a time, in whole milliseconds.
    #[must_use]
    pub fn millis(self, time: Duration) -> Self {
        self.arg(itoa::Buffer::new().format(time.as_millis()))
    }

    /// Adds a word, if it is said.
    #[must_use]
    pub(crate) fn flag(self, word: &str, is_said: bool) -> Self {
        if is_said { self.arg(word) } else { self }
    }

    /// Adds a word with a number, if there is one.
    #[must_use]
    pub(crate) fn option(self, word: &str, number: Option<u64>) -> Self {
        match number {
            Some(number) => self.arg(word).unsigned(number),
            None => self,
        }
    }

    /// Adds an integer.
    #[inline]
    #[must_use]
    pub fn number(self, number: impl Into<i64>) -> Self {
        self.arg(itoa::Buffer::new().format(number.into()))
    }

    /// Adds a floating-point number.
    #[must_use]
    pub fn float(self, number: f64) -> Self {
        self.arg(ryu::Buffer::new().format(number))
    }

    /// Says that this command changes nothing, so that it may be sent again after the connection was lost.
    #[inline]
    #[must_use]
    pub fn reads(mut self) -> Self {
        self.reads = true;
        self
    }

    /// Whether an argument is this word, in whichever case.
    fn is_word(&self, index: usize, word: &str) -> bool {
        self.words.get(index).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// The word of a list that an argument is.
    fn word_of(&self, index: usize, words: &[&'static str]) -> Option<&'static str> {
        words.iter().find(|word| self.is_word(index, word)).copied()
    }

    /// A call of a script by its digest, as one that brings the script along.
    pub(crate) fn with_script(mut self, text: Bytes) -> Self {
        let by_digest = std::mem::take(&mut self.words);
        let name = if by_digest.get(0) == Some(b"EVALSHA_RO") { "EVAL_RO" } else { "EVAL" };
        self.words.push(name.as_bytes());
        self.words.push_bytes(text);
        by_digest.iter().skip(2).for_each(|word| self.words.push(word));
        self
    }

    /// Adds how long to wait, in seconds as blocking commands take them; `None`: for ever.
    pub(crate) fn seconds(self, wait: Option<Duration>) -> Self {
        // 0 is for ever, so the shortest wait is a millisecond.
        self.float(wait.map_or(0.0, |wait| wait.as_secs_f64().max(0.001)))
    }

    /// Adds how long to wait, in milliseconds as streams take them; `None`: for ever.
    pub(crate) fn block(self, wait: Option<Duration>) -> Self {
        let ms = wait.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        self.arg("BLOCK").unsigned(ms)
    }

    /// Why this command cannot share a connection: it changes for all others what the connection means, how
    /// many replies come, or when.
    pub(crate) fn refusal(&self) -> Option<String> {
        // Most commands are none of these: their first letters say so before anything is compared.
        if !self.words.get(0).is_some_and(may_be_special) {
            return None;
        }
        if let Some(name) = self.word_of(0, &["SELECT", "AUTH", "HELLO"]) {
            return Some(format!("{name}: say it in the URL or the options"));
        }
        if let Some(name) = self.word_of(0, &["WATCH", "UNWATCH", "ASKING", "READONLY", "READWRITE"]) {
            return Some(name.to_owned());
        }
        if self.is_word(0, "CLIENT")
            && let Some(what) = self.word_of(1, CONNECTION_STATE)
        {
            return Some(format!("CLIENT {what}"));
        }
        match self.waiting() {
            Some(name) => Some(format!("{name} waits, and would hold up all others: use a session")),
            None => self.disorder(),
        }
    }

    /// Its name, if the server may answer only when something happens.
    fn waiting(&self) -> Option<&'static str> {
        self.word_of(0, WAITING).or_else(|| {
            self.word_of(0, &["XREAD", "XREADGROUP"]).filter(|_| {
                (1..self.words.len())
                    .take_while(|&index| !self.is_word(index, "STREAMS"))
                    .any(|index| self.is_word(index, "BLOCK"))
            })
        })
    }

    /// Why no connection here can carry this command: it changes how many replies come, or what may follow.
    pub(crate) fn disorder(&self) -> Option<String> {
        if !self.words.get(0).is_some_and(may_be_special) {
            return None;
        }
        if let Some(name) = self.word_of(0, &["QUIT", "RESET", "HELLO", "MONITOR", "SYNC", "PSYNC"]) {
            return Some(name.to_owned());
        }
        if let Some(name) = self.word_of(0, SUBSCRIBING) {
            return Some(format!("{name}: use a subscriber"));
        }
        if let Some(name) = self.word_of(0, &["MULTI", "EXEC", "DISCARD"]) {
            return Some(format!("{name}: give the commands to a transaction"));
        }
        (self.is_word(0, "CLIENT") && self.is_word(1, "REPLY")).then(|| "CLIENT REPLY".to_owned())
    }

    pub(crate) fn only_reads(&self) -> bool {
        self.reads
    }

    /// All arguments, as they are sent.
    pub(crate) fn words(&self) -> Bytes {
        let mut out = BytesMut::new();
        write(&self.words, &mut out);
        out.freeze()
    }

    fn only_key(&self) -> Option<Bytes> {
        let index = self.key.get().filter(|_| self.keys == 1)?;
        self.words.get(index).map(Bytes::copy_from_slice)
    }

    /// The key, if the reply tells of one key something that changes only with it.
    pub(crate) fn cached_key(&self) -> Option<Bytes> {
        let key = self.only_key().filter(|_| self.reads)?;
        self.word_of(0, CACHED).map(|_| key)
    }

    /// What it may change.
    pub(crate) fn touched(&self) -> Touched {
        match self.only_key() {
            Some(key) => Touched::Key(key),
            None if self.keys > 0 || self.word_of(0, TOUCHES_ANYTHING).is_some() => Touched::Anything,
            None => Touched::Nothing,
        }
    }

    #[inline]
    pub(crate) fn payload(self) -> Payload {
        let Self { words, key, reads, .. } = self;
        Payload { words, key, reads }
    }
}

/// Writes a command as RESP wants it: an array of bulk strings.
fn write(words: &Words, out: &mut BytesMut) {
    out.reserve(words.bytes() + HEAD_BYTES * (words.len() + 1));
    put_head(out, b"*", words.len());
    // The end of a word goes with the head of the next: one piece fewer to append.
    let mut kind: &[u8] = b"$";
    for word in words.iter() {
        put_head(out, kind, word.len());
        out.extend_from_slice(word);
        kind = b"\r\n$";
    }
    out.extend_from_slice(b"\r\n");
}

/// The end of a line, a kind, twenty digits, and the end of a line.
const HEAD_BYTES: usize = 25;

/// A kind, a number, and the end of the line. Numbers are short: a division or two.
#[inline]
fn put_head(out: &mut BytesMut, kind: &[u8], mut number: usize) {
    let mut head = [0_u8; HEAD_BYTES];
    let mut at = HEAD_BYTES - 2;
    head[at..].copy_from_slice(b"\r\n");
    loop {
        at -= 1;
        head[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    at -= kind.len();
    head[at..at + kind.len()].copy_from_slice(kind);
    out.extend_from_slice(&head[at..]);
}

/// A command as it goes out, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    words: Words,
    key: KeyIndex,
    reads: bool,
}

impl Payload {
    pub(crate) fn write(&self, out: &mut BytesMut) {
        write(&self.words, out);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.words.bytes()
    }

    pub(crate) fn only_reads(&self) -> bool {
        self.reads
    }

    /// The hash slot of the first key.
    pub(crate) fn slot(&self) -> Option<u16> {
        self.words.get(self.key.get()?).map(annulus_protocol::slot)
    }

    /// The same if the first key stands right behind the name, where a shard looks for it.
    #[cfg(feature = "embedded")]
    pub(crate) fn takes_slot_at_1(&self) -> bool {
        self.key.get() == Some(1)
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn into_words(self) -> Words {
        self.words
    }
}

/// Commands that leave together and are answered together. They are not a transaction: others' commands may run in between.
///
/// In front of several shards, a pipeline goes to the shard of its first key.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    pub(crate) commands: Vec<Command>,
}

impl Pipeline {
    /// An empty pipeline.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty pipeline with room for so many commands.
    pub fn with_capacity(commands: usize) -> Self {
        Self { commands: Vec::with_capacity(commands) }
    }

    /// Adds a command.
    #[inline]
    #[must_use]
    pub fn with(mut self, command: Command) -> Self {
        self.commands.push(command);
        self
    }

    pub(crate) fn payloads(self) -> Vec<Payload> {
        self.commands.into_iter().map(Command::payload).collect()
    }

    /// How many commands it has.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(command: Command) -> Vec<u8> {
        let mut out = BytesMut::new();
        command.payload().write(&mut out);
        out.to_vec()
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        let command = Command::new("SET").key("k").arg(b"a\r\n\0b").arg("PX").number(1500).float(0.5);
        let expected: &[u8] =
            b"*6\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\n\0b\r\n$2\r\nPX\r\n$4\r\n1500\r\n$3\r\n0.5\r\n";
        assert_eq!(wire(command), expected);
        let long = "x".repeat(12_345);
        assert!(wire(Command::new("ECHO").arg(&long)).starts_with(b"*2\r\n$4\r\nECHO\r\n$12345\r\nxxx"));
    }

    #[test]
    fn the_first_key_decides_the_slot() {
        let command = Command::new("OBJECT").arg("ENCODING").key("foo").key("bar");
        assert_eq!(command.payload().slot(), Some(12182));
        assert_eq!(Command::new("PING").arg("foo").payload().slot(), None);
        assert_eq!(Command::new("GET").key("").payload().slot(), Some(0));
    }

    #[test]
    fn what_would_change_the_connection_for_others_is_refused() {
        for words in [
            &["select", "1"][..],
            &["Quit"],
            &["CLIENT", "reply", "OFF"],
            &["subscribe", "c"],
            &["blpop", "k", "0"],
            &["XREAD", "block", "0", "STREAMS", "s", "$"],
            &["client", "tracking", "on"],
        ] {
            let command = Command::new(words[0]).args(&words[1..]);
            assert!(command.refusal().is_some(), "{words:?}");
        }
        for words in [
            &["GET", "SELECT"][..],
            &["CLIENT", "ID"],
            &["CLIENT"],
            &["PUBLISH", "c", "m"],
            &["XREAD", "STREAMS", "block", "0"],
        ] {
            let command = Command::new(words[0]).args(&words[1..]);
            assert_eq!(command.refusal(), None, "{words:?}");
        }
    }
}

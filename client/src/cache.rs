//! Replies kept on this side, until the server says that a key has changed.
//!
//! The connection asks for CLIENT TRACKING in its handshake; invalidations come on it, in order with the replies.
//!
//! - A reply is kept only if no invalidation of its key came between the question and now: the question leaves a ticket
//!   in the store, which an invalidation takes away.
//! - What was read on a connection is forgotten with it.
//! - A server that is silent tells nothing, so nothing is answered from here when it has not been heard for
//!   [`Options::timeout`]: the next question asks it. That bounds how old an answer can be, whatever the network does.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    Client, Command, Error, FromValue, Options, Result, Routing, Value,
    codec::Version,
    command::Touched,
    commands::{Execute, Script, is_unknown},
    convert::result_of,
    handshake::{Link, accept},
};

#[expect(clippy::disallowed_types, reason = "held for a look-up; callers of several threads share a cache")]
type Mutex<T> = std::sync::Mutex<T>;

/// What a kept reply costs besides its bytes, about.
const ENTRY_BYTES: usize = 160;

/// What a cache keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheOptions {
    /// Most bytes of kept replies, with their keys. Beyond it those go that were not used for longest.
    pub bytes_max: usize,
    /// Keys with these beginnings are kept, and the server tells of every change of them (BCAST), without a memory of its own of who
    /// has read what. With none, every key is kept that is read, and the server remembers that.
    pub prefixes: Vec<Bytes>,
}

impl Default for CacheOptions {
    /// 64 MiB, all keys.
    fn default() -> Self {
        Self { bytes_max: 64 << 20, prefixes: Vec::new() }
    }
}

/// Counted since the cache was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Commands answered without the server.
    pub hits: u64,
    /// Commands that could have been.
    pub misses: u64,
    /// Keys that the server said to forget.
    pub invalidated: u64,
    /// Keys now.
    pub keys: usize,
    /// Bytes now.
    pub bytes: usize,
}

/// A client that answers from its own memory what it has read before and what has not changed since.
///
/// It has all typed commands. Those that read one key and nothing else (GET, HGETALL, LRANGE, ZRANGE …) may be answered at once; all others
/// go to the server. It has a connection of its own; clones share it, and what is kept.
///
/// An answer may be older than a change for as long as the server's word of that change is on its way, and never by more than
/// [`Options::timeout`]. What this cache itself writes, it never answers with the value before.
///
/// ```no_run
/// # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
/// use annulus_client::{CacheOptions, commands::*};
///
/// let cache = client.cache(CacheOptions::default()).await?;
/// let first = cache.get("page").await?;
/// let again = cache.get("page").await?; // without a round trip
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    client: Client,
    store: Arc<Store>,
}

impl Cache {
    pub(crate) async fn open(options: &Options, cache: CacheOptions) -> Result<Self> {
        let store = Arc::new(Store::new(cache, options.timeout));
        let mut options = options.clone();
        options.routing = Routing::Single;
        options.cache = Some(Arc::clone(&store));
        Ok(Self { client: Client::connect(options).await?, store })
    }

    /// Any command; see [`Client::command`].
    pub fn command<T: FromValue>(&self, command: Command) -> CacheCall<'_, T> {
        CacheCall { cache: self, state: State::New(command, Checked::No), result: PhantomData }
    }

    /// Counters.
    pub fn stats(&self) -> CacheStats {
        let inner = self.store.lock();
        CacheStats { keys: inner.entries.len(), bytes: inner.bytes, ..inner.stats }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.store.lock().clear();
    }

    async fn ask(&self, command: Command, checked: Checked) -> Result<Value> {
        match checked {
            Checked::Yes => self.client.execute(command).await,
            Checked::No => self.client.command(command).await,
        }
    }

    /// From here if it can be, otherwise from the server.
    async fn read(&self, command: Command, checked: Checked, ticket: Ticket) -> Result<Value> {
        let value = self.ask(command, checked).await?;
        self.store.fill(&ticket, &value);
        Ok(value)
    }

    async fn write(&self, command: Command, checked: Checked) -> Result<Value> {
        let touched = command.touched();
        let result = self.ask(command, checked).await;
        let mut inner = self.store.lock();
        match touched {
            Touched::Nothing => {}
            Touched::Key(key) => inner.forget(&key),
            Touched::Anything => inner.clear(),
        }
        result
    }
}

/// Whether a command is known not to harm the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checked {
    Yes,
    No,
}

impl Execute for Cache {
    type Output<'a, T: FromValue> = CacheCall<'a, T>;

    fn execute<T: FromValue>(&self, command: Command) -> CacheCall<'_, T> {
        CacheCall { cache: self, state: State::New(command, Checked::Yes), result: PhantomData }
    }

    fn execute_script<T: FromValue>(&self, by_digest: Command, script: &Script) -> CacheCall<'_, T> {
        let text = script.text().clone();
        let work = async move {
            match self.execute(by_digest.clone()).await {
                Err(error) if is_unknown(&error) => self.execute(by_digest.with_script(text)).await,
                result => result,
            }
        };
        CacheCall { cache: self, state: State::Asked(Box::pin(work)), result: PhantomData }
    }
}

/// A command of a cache.
#[must_use = "a command is carried out when its future is awaited"]
pub struct CacheCall<'a, T> {
    cache: &'a Cache,
    state: State<'a>,
    result: PhantomData<fn() -> T>,
}

enum State<'a> {
    New(Command, Checked),
    Asked(Pin<Box<dyn Future<Output = Result<Value>> + Send + 'a>>),
    Done,
}

impl<T: FromValue> Future for CacheCall<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let cache = self.cache;
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::New(command, checked) => {
                    let work: Pin<Box<dyn Future<Output = Result<Value>> + Send>> = match command.cached_key()
                    {
                        Some(key) => match Store::find(&cache.store, key, command.words()) {
                            Answer::Known(value) => return Poll::Ready(result_of(value)),
                            Answer::Ask(ticket) => Box::pin(cache.read(command, checked, ticket)),
                            Answer::Uncached => Box::pin(cache.ask(command, checked)),
                        },
                        None if command.only_reads() => Box::pin(cache.ask(command, checked)),
                        None => Box::pin(cache.write(command, checked)),
                    };
                    self.state = State::Asked(work);
                }
                State::Asked(mut work) => match work.as_mut().poll(context) {
                    Poll::Ready(result) => return Poll::Ready(result.and_then(result_of)),
                    Poll::Pending => {
                        self.state = State::Asked(work);
                        return Poll::Pending;
                    }
                },
                State::Done => panic!("a command's future was polled after its end"),
            }
        }
    }
}

impl<T> fmt::Debug for CacheCall<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CacheCall")
    }
}

/// What is kept, shared by the callers and the connection's task.
#[derive(Debug)]
pub(crate) struct Store {
    options: CacheOptions,
    silence_max: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    entries: HashMap<Bytes, Entry>,
    /// Keys by their last use.
    order: BTreeMap<u64, Bytes>,
    bytes: usize,
    /// Numbers uses and tickets.
    count: u64,
    heard: Instant,
    stats: CacheStats,
}

/// What is known of a key.
#[derive(Debug)]
struct Entry {
    /// By command, as sent.
    replies: HashMap<Bytes, Kept>,
    used: u64,
}

#[derive(Debug)]
enum Kept {
    Asked(u64),
    Known(Value),
}

/// Where the reply to a question belongs, should it still be wanted. Giving it up leaves no trace.
#[derive(Debug)]
struct Ticket {
    store: Arc<Store>,
    key: Bytes,
    words: Bytes,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inner = self.store.lock();
        if let Some(entry) = inner.entries.get_mut(&self.key)
            && matches!(entry.replies.get(&self.words), Some(Kept::Asked(number)) if *number == self.number)
        {
            entry.replies.remove(&self.words);
            if entry.replies.is_empty() {
                inner.forget(&self.key);
            }
        }
    }
}

enum Answer {
    Known(Value),
    Ask(Ticket),
    Uncached,
}

impl Store {
    pub(crate) fn new(options: CacheOptions, silence_max: Duration) -> Self {
        let inner = Inner {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            count: 0,
            heard: Instant::now(),
            stats: CacheStats::default(),
        };
        Self { options, silence_max, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics halfway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(store: &Arc<Store>, key: Bytes, words: Bytes) -> Answer {
        let prefixes = &store.options.prefixes;
        if !prefixes.is_empty() && !prefixes.iter().any(|prefix| key.starts_with(prefix)) {
            return Answer::Uncached;
        }
        let mut inner = store.lock();
        let inner = &mut *inner;
        let silent = inner.heard.elapsed() > store.silence_max;
        inner.count += 1;
        let number = inner.count;
        if let Some(entry) = inner.entries.get_mut(&key) {
            if !silent && let Some(Kept::Known(value)) = entry.replies.get(&words) {
                let value = value.clone();
                let before = std::mem::replace(&mut entry.used, number);
                inner.order.remove(&before);
                inner.order.insert(number, key);
                inner.stats.hits += 1;
                return Answer::Known(value);
            }
            // Another task asks the same: its reply will be kept.
            if matches!(entry.replies.get(&words), Some(Kept::Asked(_))) {
                inner.stats.misses += 1;
                return Answer::Uncached;
            }
        }
        inner.stats.misses += 1;
        let entry = inner
            .entries
            .entry(key.clone())
            .or_insert_with(|| Entry { replies: HashMap::new(), used: number });
        let new = entry.used == number;
        let replaced = entry.replies.insert(words.clone(), Kept::Asked(number));
        if new {
            inner.order.insert(number, key.clone());
        }
        if let Some(Kept::Known(value)) = replaced {
            inner.bytes -= cost(&key, &words, &value);
        }
        Answer::Ask(Ticket { store: Arc::clone(store), key, words, number })
    }

    fn fill(&self, ticket: &Ticket, value: &Value) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(entry) = inner.entries.get_mut(&ticket.key) else { return };
        let Some(kept @ Kept::Asked(_)) = entry.replies.get_mut(&ticket.words) else { return };
        if !matches!(kept, Kept::Asked(number) if *number == ticket.number) {
            return;
        }
        let value = value.detached();
        let cost = cost(&ticket.key, &ticket.words, &value);
        *kept = Kept::Known(value);
        inner.bytes += cost;
        while inner.bytes > self.options.bytes_max
            && let Some((_, oldest)) = inner.order.first_key_value()
        {
            let oldest = oldest.clone();
            inner.forget(&oldest);
        }
    }

    /// Has the server tell this connection what to forget.
    pub(crate) async fn prepare(&self, link: &mut Link) -> Result<()> {
        if link.decoder.version == Version::Resp2 {
            return Err(Error::Unsupported("a cache, since the server does not speak RESP3".to_owned()));
        }
        let mut command = Command::new("CLIENT").arg("TRACKING").arg("ON");
        if !self.options.prefixes.is_empty() {
            command = command.arg("BCAST");
            for prefix in &self.options.prefixes {
                command = command.arg("PREFIX").arg(prefix);
            }
        }
        accept(link.ask(command).await?)?;
        self.on_heard();
        Ok(())
    }

    pub(crate) fn on_push(&self, items: &[Value]) {
        let [what, keys] = items else { return };
        if what.bytes().is_none_or(|what| what.as_ref() != b"invalidate") {
            return;
        }
        let mut inner = self.lock();
        match keys {
            Value::Array(keys) => {
                for key in keys.iter().filter_map(Value::bytes) {
                    inner.forget(key);
                    inner.stats.invalidated += 1;
                }
            }
            _ => inner.clear(),
        }
    }

    /// The server lives.
    pub(crate) fn on_heard(&self) {
        self.lock().heard = Instant::now();
    }

    /// The connection is gone, and what it would have said.
    pub(crate) fn on_lost(&self) {
        self.lock().clear();
    }
}

impl Inner {
    fn forget(&mut self, key: &Bytes) {
        let Some(Entry { replies, used }) = self.entries.remove(key) else { return };
        self.order.remove(&used);
        for (words, kept) in replies {
            if let Kept::Known(value) = kept {
                self.bytes -= cost(key, &words, &value);
            }
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
        self.bytes = 0;
    }
}

fn cost(key: &Bytes, words: &Bytes, value: &Value) -> usize {
    ENTRY_BYTES + 2 * key.len() + words.len() + value.memory_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::StringCommands;

    fn store(bytes_max: usize) -> Arc<Store> {
        let options = CacheOptions { bytes_max, ..CacheOptions::default() };
        Arc::new(Store::new(options, Duration::from_mins(1)))
    }

    fn text(text: &'static str) -> Value {
        Value::Bulk(Bytes::from_static(text.as_bytes()))
    }

    fn find(store: &Arc<Store>, key: &'static str) -> Answer {
        let command = Command::new("GET").key(key).reads();
        Store::find(store, command.cached_key().unwrap(), command.words())
    }

    fn ask(store: &Arc<Store>, key: &'static str) -> Ticket {
        match find(store, key) {
            Answer::Ask(ticket) => ticket,
            _ => panic!("{key} is known, or asked for"),
        }
    }

    fn is_known(store: &Arc<Store>, key: &'static str) -> bool {
        matches!(find(store, key), Answer::Known(_))
    }

    fn invalidate(store: &Store, key: &'static str) {
        store.on_push(&[text("invalidate"), Value::Array(vec![text(key)])]);
    }

    #[test]
    fn replies_are_kept_until_the_server_says_otherwise() {
        let store = store(1 << 20);
        let ticket = ask(&store, "k");
        store.fill(&ticket, &text("v"));
        assert!(is_known(&store, "k"));
        assert!(!is_known(&store, "other"));
        invalidate(&store, "k");
        assert!(!is_known(&store, "k"));
        assert_eq!(store.lock().bytes, 0);
    }

    #[test]
    fn a_reply_that_an_invalidation_overtook_is_not_kept() {
        let store = store(1 << 20);
        let ticket = ask(&store, "k");
        invalidate(&store, "k");
        store.fill(&ticket, &text("old"));
        assert!(!is_known(&store, "k"));
        // Nor does it take the place of a later question's.
        let later = ask(&store, "k");
        store.fill(&ticket, &text("old"));
        drop(ticket);
        store.fill(&later, &text("new"));
        assert!(matches!(find(&store, "k"), Answer::Known(value) if value == text("new")));
        let ticket = ask(&store, "l");
        store.on_lost();
        store.fill(&ticket, &text("old"));
        assert!(store.lock().entries.is_empty() && store.lock().order.is_empty());
    }

    #[test]
    fn questions_that_are_given_up_leave_no_trace() {
        let store = store(1 << 20);
        drop(ask(&store, "k"));
        assert!(store.lock().entries.is_empty() && store.lock().order.is_empty());
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let store = store(3 * (ENTRY_BYTES + 64));
        for key in ["a", "b", "c"] {
            let ticket = ask(&store, key);
            store.fill(&ticket, &text("v"));
        }
        assert!(is_known(&store, "a"));
        for key in ["d", "e"] {
            let ticket = ask(&store, key);
            store.fill(&ticket, &text("v"));
        }
        let inner = store.lock();
        assert!(inner.entries.contains_key(&b"e"[..]) && !inner.entries.contains_key(&b"b"[..]));
        assert!(inner.bytes <= store.options.bytes_max);
        assert_eq!(inner.order.len(), inner.entries.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_asked_again() {
        let store = Arc::new(Store::new(CacheOptions::default(), Duration::from_secs(5)));
        let ticket = ask(&store, "k");
        store.fill(&ticket, &text("v"));
        drop(ticket);
        assert!(is_known(&store, "k"));
        tokio::time::advance(Duration::from_secs(6)).await;
        let ticket = ask(&store, "k");
        store.on_heard();
        store.fill(&ticket, &text("w"));
        assert!(matches!(find(&store, "k"), Answer::Known(value) if value == text("w")));
    }

    #[test]
    fn only_reads_of_one_key_are_kept() {
        assert!(Command::new("HGETALL").key("k").reads().cached_key().is_some());
        for command in [
            Command::new("MGET").keys(["a", "b"]).reads(),
            Command::new("GET").key("k"),
            Command::new("PTTL").key("k").reads(),
            Command::new("SRANDMEMBER").key("k").reads(),
            Command::new("PING").reads(),
        ] {
            assert!(command.cached_key().is_none(), "{command:?}");
        }
        let _ = |cache: &Cache| drop(cache.get("k"));
    }
}

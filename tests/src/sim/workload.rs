//! Random commands over few keys, and how their replies come apart into operations on groups.

use std::rc::Rc;

use annulus_storage::ShardId;

use super::collections::{CollectionAction, End, FIELDS, Kind, field_name};
use super::everywhere::{self, Check};
use super::history::{History, Outcome};
use super::model::{Action, Expiry, FAR_MS, KEYS, RATE, normalized};
use crate::random::Random;
use crate::resp::{Value, encode};

/// Kinds of commands, for switching some of them off.
pub const KINDS: usize = 39;
/// Those that redis-server 7.0 knows; the others are about fields that expire.
pub const OLD_KINDS: usize = 36;
/// Those from here on are about collections, which only some runs have: elsewhere texts would seldom meet texts.
const COLLECTION_KINDS: usize = 21;

/// What commands are made of.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Groups of keys.
    pub groups: usize,
    /// Kinds that occur.
    pub kinds: Vec<usize>,
    /// One in so many values is large (0: none).
    pub large_one_in: usize,
    /// Size of a large value.
    pub large_bytes: usize,
    /// Commands may go across groups.
    pub crosses: bool,
    /// There are transactions over all groups.
    pub everywhere: bool,
    /// Some of them are scripts and functions.
    pub scripts: bool,
    /// Some of them are such as redis-server 7.0 does not know.
    pub later: bool,
    /// Keys may expire while the run lasts.
    pub expires_soon: bool,
    /// One in so many commands asks for a checkpoint (0: none).
    pub saves_one_in: usize,
    /// One in so many commands waits for a list (0: none).
    pub waits_one_in: usize,
    next_value: u64,
    /// Commands so far.
    made: u64,
}

/// How a command's reply comes apart.
#[derive(Clone, Debug)]
pub(super) enum Parts {
    /// One operation, one reply.
    Whole(usize),
    /// MGET across groups: the operation and index of each element.
    Elements(Vec<(usize, Vec<usize>)>),
    /// MSET, DEL, … across groups: that it was done is all the reply says of each.
    Several(Vec<usize>),
    /// BLPOP and its kin: an operation for each key, of which the reply names one.
    Waited(Vec<(usize, Vec<u8>)>),
    /// A transaction over all groups.
    Everywhere(Check),
    /// No data: PING and the like.
    Nothing(Value),
    /// BGSAVE and the like: begun, or refused with a reason.
    Save,
    /// Keys that nobody judges, to make a crowd.
    Noise,
}

/// A command that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub(super) parts: Parts,
}

/// A command that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// For its replies: a block of commands has several.
    pub sent: Vec<Sent>,
}

fn name(group: usize, key: usize) -> String {
    format!("{{g{group}}}k{key}")
}

/// The hash slot of a group's keys: CRC16 (XMODEM) of their hash tag, modulo 16384.
fn slot(group: usize) -> u16 {
    let crc = format!("g{group}").bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| (crc << 1) ^ ((crc >> 15) * 0x1021))
    });
    crc % 16_384
}

/// The shard that owns each group.
pub fn owners(groups: usize, shards: u16) -> Vec<u16> {
    let owner = |group| {
        let mut all = (0..shards).map(ShardId);
        let owner = all.find(|shard| annulus::shard::groups_of(*shard, shards).contains(&(slot(group) / 64)));
        owner.map_or(0, |shard| shard.0)
    };
    (0..groups).map(owner).collect()
}

impl Workload {
    /// A workload in which some kinds of commands occur. Values of different servers differ.
    pub fn new(random: &mut Random, groups: usize, server: usize) -> Self {
        let all = if random.one_in(2) { KINDS } else { COLLECTION_KINDS };
        let mut kinds: Vec<usize> = (0..all).filter(|_| !random.one_in(3)).collect();
        // Something must be written and something read.
        kinds.extend([0, 5]);
        Workload {
            // Half of them, without a draw of its own: seeds that once found something still mean the same.
            scripts: kinds.len().is_multiple_of(2),
            later: true,
            groups,
            kinds,
            large_one_in: [0, 0, 20, 60][random.below(4)],
            large_bytes: [600, 5_000, 20_000][random.below(3)],
            crosses: !random.one_in(3),
            everywhere: groups > 1 && random.one_in(2),
            expires_soon: random.one_in(3),
            saves_one_in: [0, 0, 60, 20][random.below(4)],
            waits_one_in: if all == KINDS { [0, 30, 8, 3][random.below(4)] } else { 0 },
            next_value: server as u64 * 1_000_000,
            made: 0,
        }
    }

    fn value(&mut self, random: &mut Random) -> Rc<[u8]> {
        self.next_value += 1;
        let text = match random.below(4) {
            0 => self.next_value.to_string(),
            _ => format!("v{}", self.next_value),
        };
        let mut bytes = text.into_bytes();
        if self.large_one_in > 0 && random.one_in(self.large_one_in) {
            bytes.resize(self.large_bytes, b'.');
        }
        bytes.into()
    }

    fn keys(random: &mut Random) -> Vec<usize> {
        let count = 1 + random.below(KEYS);
        let mut keys: Vec<usize> = (0..KEYS).collect();
        while keys.len() > count {
            keys.remove(random.below(keys.len()));
        }
        keys
    }

    fn expiry(&self, random: &mut Random, now_ms: u64) -> Expiry {
        if !self.expires_soon || random.one_in(8) {
            return Expiry::At(FAR_MS);
        }
        match random.below(4) {
            0 => Expiry::In(1 + random.below(40) as u64),
            1 => Expiry::At(now_ms + random.below(2_000) as u64),
            // The time may have come when it arrives.
            _ => Expiry::At(now_ms + random.below(40) as u64),
        }
    }

    /// The next command; its operations are called in the history. `now_ms`: by the server's clock.
    pub fn command(
        &mut self,
        random: &mut Random,
        connection: u64,
        history: &mut History,
        now_ms: u64,
    ) -> Command {
        if random.one_in(50) {
            let parts = Parts::Nothing(Value::simple("PONG"));
            return Command { bytes: encode(&["PING"]), sent: vec![Sent { parts }] };
        }
        if self.everywhere && random.one_in(4) {
            let value = self.value(random);
            return everywhere::command(random, self.groups, &value, self.scripts, history);
        }
        if self.saves_one_in > 0 && random.one_in(self.saves_one_in) {
            let command = ["BGSAVE", "BGREWRITEAOF", "SAVE"][random.below(3)];
            return Command { bytes: encode(&[command]), sent: vec![Sent { parts: Parts::Save }] };
        }
        if self.waits_one_in > 0 && random.one_in(self.waits_one_in) {
            return self.wait(random, connection, history);
        }
        let kind = self.kinds[random.below(self.kinds.len())];
        if self.crosses && self.groups > 1 && matches!(kind, 4 | 12 | 13) && random.one_in(2) {
            return self.across(random, kind, connection, history);
        }
        let group = random.below(self.groups);
        let action = self.action(random, kind, now_ms);
        let bytes = encode(&words(group, &action));
        let operation = history.call(group, connection, action);
        Command { bytes, sent: vec![Sent { parts: Parts::Whole(operation) }] }
    }

    /// One of a crowd: a key of any shard, and no history.
    pub fn noise(&mut self, random: &mut Random) -> Command {
        let key = format!("{{n{}}}", random.below(32));
        let bytes = match random.below(3) {
            0 => encode(&["GET", &key]),
            _ => encode(&[b"SET".to_vec(), key.into_bytes(), vec![b'n'; 1 + random.below(self.large_bytes)]]),
        };
        Command { bytes, sent: vec![Sent { parts: Parts::Noise }] }
    }

    fn action(&mut self, random: &mut Random, kind: usize, now_ms: u64) -> Action {
        let key = random.below(KEYS);
        self.made += 1;
        // Without a draw of its own, as above.
        let later = self.later && self.made.is_multiple_of(3);
        match kind {
            11 if later => Action::IncrUpTo { key, by: random.below(7) as i64 - 3, bound: 5 },
            14 if later => Action::MsetEx(self.pairs(random)),
            // It is about time, so only where keys expire.
            10 if later && self.expires_soon => Action::Throttle(key),
            0 => Action::Get(key),
            1 => Action::Strlen(key),
            2 => Action::Exists(Self::keys(random)),
            3 => Action::Ttl(key),
            4 => Action::Mget(Self::keys(random)),
            5 => {
                let expires = random.one_in(4).then(|| self.expiry(random, now_ms));
                Action::Set { key, value: self.value(random), expires }
            }
            6 => Action::SetNx { key, value: self.value(random) },
            7 => Action::GetSet { key, value: self.value(random) },
            8 => Action::GetDel(key),
            9 => Action::Append { key, value: self.value(random) },
            10 => Action::SetRange { key, offset: random.below(20), value: self.value(random) },
            11 => Action::Incr { key, by: random.below(7) as i64 - 3 },
            12 => Action::Del(Self::keys(random)),
            13 => Action::Mset(self.pairs(random)),
            14 => Action::MsetNx(self.pairs(random)),
            15 => Action::Expire(key, self.expiry(random, now_ms)),
            16 => Action::Persist(key),
            17 => Action::Rename(key, (key + 1 + random.below(KEYS - 1)) % KEYS),
            18 => Action::Pttl(key),
            19 => Action::ExpireTime(key),
            COLLECTION_KINDS.. => match self.collection_action(random, kind, key) {
                Action::Collection(key, CollectionAction::HashSet(pairs)) if later => {
                    Action::Collection(key, CollectionAction::HashSetEx(pairs))
                }
                Action::Collection(key, CollectionAction::HashExpire(field, at_ms)) => {
                    let (field, at_ms) = self.end_soon(field, at_ms, now_ms);
                    let action = if later {
                        CollectionAction::HashGetEx(field, (at_ms > 0).then_some(at_ms))
                    } else {
                        CollectionAction::HashExpire(field, at_ms)
                    };
                    Action::Collection(key, action)
                }
                Action::Collection(key, CollectionAction::SetRemove(members)) if later => {
                    let at_ms = if self.made.is_multiple_of(4) { 0 } else { FAR_MS + self.made % 1_000 };
                    let (member, at_ms) = self.end_soon(members[0], at_ms, now_ms);
                    Action::Collection(key, CollectionAction::SetExpire(member, at_ms))
                }
                Action::Collection(key, CollectionAction::Read(Kind::Set)) if later => {
                    Action::Collection(key, CollectionAction::SetExpiry(self.made as usize % FIELDS))
                }
                Action::SetMove { from, member, .. } if later => {
                    Action::Collection(from, CollectionAction::SetPersist(member))
                }
                action => action,
            },
            _ => Action::Copy { from: key, to: (key + 1) % KEYS, replace: random.one_in(2) },
        }
    }

    /// A field or member that expires then, or one that expires while the run lasts. That is always the same of a collection: for each that
    /// may be gone the checker has twice as many states to look at. Without a draw of its own, as above.
    fn end_soon(&self, member: usize, at_ms: u64, now_ms: u64) -> (usize, u64) {
        if self.expires_soon && at_ms > 0 && !self.made.is_multiple_of(5) {
            (0, now_ms + self.made % 40)
        } else {
            (member, at_ms)
        }
    }

    /// Each type of collection is mostly asked of one key, so that it is often there.
    fn collection_action(&mut self, random: &mut Random, kind: usize, other: usize) -> Action {
        let usual = match kind {
            22..=27 => 0,
            28..=31 | OLD_KINDS.. => 1,
            _ => 2,
        };
        let key = if random.one_in(4) { other } else { usual };
        let to = (key + random.below(KEYS)) % KEYS;
        let field = random.below(FIELDS);
        let mut end = || if random.one_in(2) { End::Left } else { End::Right };
        let action = match kind {
            21 => return Action::Type(other),
            22 => CollectionAction::Read(Kind::List),
            23 => {
                let end = end();
                let count = 1 + random.below(3);
                CollectionAction::Push(end, (0..count).map(|_| self.value(random)).collect())
            }
            24 => CollectionAction::Pop(end()),
            25 => CollectionAction::ListSet(field, self.value(random)),
            26 => CollectionAction::Trim(1 + random.below(8)),
            27 => return Action::ListMove { from: key, to, ends: [end(), end()] },
            28 => CollectionAction::Read(Kind::Hash),
            29 => {
                let count = 1 + random.below(2);
                CollectionAction::HashSet(
                    (0..count).map(|_| (random.below(FIELDS), self.value(random))).collect(),
                )
            }
            30 => CollectionAction::HashDelete(field),
            31 => CollectionAction::HashIncrement(field, random.below(7) as i64 - 3),
            32 => CollectionAction::Read(Kind::Set),
            33 => CollectionAction::SetAdd(vec![field, random.below(FIELDS)]),
            34 => CollectionAction::SetRemove(vec![field]),
            35 => return Action::SetMove { from: key, to, member: field },
            36 => {
                let at_ms = if random.one_in(4) { 0 } else { FAR_MS + random.below(1_000) as u64 };
                CollectionAction::HashExpire(field, at_ms)
            }
            37 => CollectionAction::HashPersist(field),
            _ => CollectionAction::HashExpiry(field),
        };
        Action::Collection(key, action)
    }

    fn pairs(&mut self, random: &mut Random) -> Vec<(usize, Rc<[u8]>)> {
        Self::keys(random).into_iter().map(|key| (key, self.value(random))).collect()
    }

    /// A command that waits for a list: of one group, or of two, which are of several shards then and again. That it takes from the
    /// first that has anything is not judged, only what it takes.
    fn wait(&mut self, random: &mut Random, connection: u64, history: &mut History) -> Command {
        let list = if random.one_in(4) { random.below(KEYS) } else { 0 };
        let milliseconds = 1 + random.below(40);
        let timeout = format!("0.{milliseconds:03}").into_bytes();
        if random.one_in(4) {
            // Within a group: as LMOVE.
            let group = random.below(self.groups);
            let mut end = || if random.one_in(2) { End::Left } else { End::Right };
            let ends = [end(), end()];
            let action = Action::ListMove { from: list, to: random.below(KEYS), ends };
            let mut words = words(group, &action);
            words[0] = b"BLMOVE".to_vec();
            words.push(timeout);
            let operation = history.call(group, connection, action);
            return Command { bytes: encode(&words), sent: vec![Sent { parts: Parts::Whole(operation) }] };
        }
        let first = random.below(self.groups);
        let mut groups = vec![first];
        if self.crosses && self.groups > 1 && random.one_in(2) {
            groups.push((first + 1 + random.below(self.groups - 1)) % self.groups);
        }
        let end = if random.one_in(2) { End::Left } else { End::Right };
        let command = if end == End::Left { "BLPOP" } else { "BRPOP" };
        let keys: Vec<Vec<u8>> = groups.iter().map(|group| name(*group, list).into_bytes()).collect();
        let words: Vec<Vec<u8>> = std::iter::once(command.as_bytes().to_vec())
            .chain(keys.iter().cloned())
            .chain([timeout])
            .collect();
        let pop = || Action::Collection(list, CollectionAction::Pop(end));
        let operations = groups.iter().map(|group| history.call(*group, connection, pop()));
        let parts = Parts::Waited(operations.zip(keys).collect());
        Command { bytes: encode(&words), sent: vec![Sent { parts }] }
    }

    /// A command over two groups, which is atomic in each.
    fn across(
        &mut self,
        random: &mut Random,
        kind: usize,
        connection: u64,
        history: &mut History,
    ) -> Command {
        let first = random.below(self.groups);
        let second = (first + 1 + random.below(self.groups - 1)) % self.groups;
        let mut words: Vec<Vec<u8>> = Vec::new();
        let mut operations = Vec::new();
        let mut elements = Vec::new();
        let mut count = 0;
        for group in [first, second] {
            let action = self.action(random, kind, 0);
            let own = self::words(group, &action);
            if words.is_empty() {
                words.push(own[0].clone());
            }
            words.extend_from_slice(&own[1..]);
            let operation = history.call(group, connection, action);
            elements.push((operation, (count..count + own.len() - 1).collect()));
            count += own.len() - 1;
            operations.push(operation);
        }
        let parts = if kind == 4 { Parts::Elements(elements) } else { Parts::Several(operations) };
        Command { bytes: encode(&words), sent: vec![Sent { parts }] }
    }
}

/// What the reply to BLPOP says of each of its keys.
fn waited(
    operations: Vec<(usize, Vec<u8>)>,
    reply: &Value,
    refused: bool,
    history: &mut History,
) -> Result<Heard, String> {
    let alone = operations.len() == 1;
    for (operation, key) in operations {
        let outcome = match reply {
            Value::Array(items) if items.first().and_then(Value::bytes) == Some(&key) => {
                let element = items.get(1).cloned().ok_or("BLPOP was answered without an element")?;
                Outcome::Replied(element)
            }
            // It had its element from another key, or none from any: which one was of another type is not said.
            Value::Array(_) => Outcome::Refused,
            Value::Error(_) if refused || !alone => Outcome::Refused,
            Value::Error(_) => {
                Outcome::Replied(normalized(&history.operations[operation].action, reply.clone()))
            }
            reply if reply.is_null() => Outcome::Replied(Value::NullBulk),
            reply => return Err(format!("BLPOP was answered with {reply:?}")),
        };
        history.answer(operation, outcome);
    }
    Ok(if refused { Heard::Refusal } else { Heard::Answer })
}

/// A command as it is sent.
pub(super) fn words(group: usize, action: &Action) -> Vec<Vec<u8>> {
    let key = |key: &usize| name(group, *key).into_bytes();
    let word = |text: &str| text.as_bytes().to_vec();
    let all =
        |command: &str, keys: &[usize]| std::iter::once(word(command)).chain(keys.iter().map(key)).collect();
    let pairs = |command: &str, pairs: &[(usize, Rc<[u8]>)]| {
        let flat = pairs.iter().flat_map(|(k, value)| [key(k), value.to_vec()]);
        std::iter::once(word(command)).chain(flat).collect()
    };
    match action {
        Action::Get(k) => vec![word("GET"), key(k)],
        Action::Strlen(k) => vec![word("STRLEN"), key(k)],
        Action::Exists(keys) => all("EXISTS", keys),
        Action::Ttl(k) => vec![word("TTL"), key(k)],
        Action::Pttl(k) => vec![word("PTTL"), key(k)],
        Action::ExpireTime(k) => vec![word("PEXPIRETIME"), key(k)],
        Action::Mget(keys) => all("MGET", keys),
        Action::Set { key: k, value, expires } => {
            let mut words = vec![word("SET"), key(k), value.to_vec()];
            match expires {
                None => {}
                Some(Expiry::At(at)) => words.extend([word("PXAT"), word(&at.to_string())]),
                Some(Expiry::In(ms)) => words.extend([word("PX"), word(&ms.to_string())]),
            }
            words
        }
        Action::SetNx { key: k, value } => vec![word("SETNX"), key(k), value.to_vec()],
        Action::GetSet { key: k, value } => vec![word("SET"), key(k), value.to_vec(), word("GET")],
        Action::GetDel(k) => vec![word("GETDEL"), key(k)],
        Action::Append { key: k, value } => vec![word("APPEND"), key(k), value.to_vec()],
        Action::SetRange { key: k, offset, value } => {
            vec![word("SETRANGE"), key(k), word(&offset.to_string()), value.to_vec()]
        }
        Action::Incr { key: k, by } => vec![word("INCRBY"), key(k), word(&by.to_string())],
        Action::IncrUpTo { key: k, by, bound } => {
            let numbers = [("BYINT", by), ("UBOUND", bound)];
            let numbers = numbers.iter().flat_map(|(name, number)| [word(name), word(&number.to_string())]);
            [word("INCREX"), key(k)].into_iter().chain(numbers).collect()
        }
        Action::Throttle(k) => {
            let numbers = RATE.map(|number| word(&number.to_string()));
            [word("CL.THROTTLE"), key(k)].into_iter().chain(numbers).collect()
        }
        Action::Del(keys) => all("DEL", keys),
        Action::Mset(list) => pairs("MSET", list),
        Action::MsetNx(list) => pairs("MSETNX", list),
        Action::MsetEx(list) => {
            let flat = list.iter().flat_map(|(k, value)| [key(k), value.to_vec()]);
            let head = [word("MSETEX"), word(&list.len().to_string())].into_iter();
            head.chain(flat).chain([word("PXAT"), word(&FAR_MS.to_string())]).collect()
        }
        Action::Expire(k, Expiry::At(at)) => vec![word("PEXPIREAT"), key(k), word(&at.to_string())],
        Action::Expire(k, Expiry::In(ms)) => vec![word("PEXPIRE"), key(k), word(&ms.to_string())],
        Action::Persist(k) => vec![word("PERSIST"), key(k)],
        Action::Rename(from, to) => vec![word("RENAME"), key(from), key(to)],
        Action::Copy { from, to, replace } => {
            let mut words = vec![word("COPY"), key(from), key(to)];
            words.extend(replace.then(|| word("REPLACE")));
            words
        }
        Action::Type(k) => vec![word("TYPE"), key(k)],
        Action::Collection(k, action) => collection_words(key(k), action),
        Action::ListMove { from, to, ends } => {
            let mut words = vec![word("LMOVE"), key(from), key(to)];
            words.extend(ends.map(|end| word(if end == End::Left { "LEFT" } else { "RIGHT" })));
            words
        }
        Action::SetMove { from, to, member } => vec![word("SMOVE"), key(from), key(to), field_name(*member)],
    }
}

fn collection_words(key: Vec<u8>, action: &CollectionAction) -> Vec<Vec<u8>> {
    let word = |text: &str| text.as_bytes().to_vec();
    let number = |number: i64| number.to_string().into_bytes();
    let (name, rest) = match action {
        CollectionAction::Read(Kind::List) => ("LRANGE", vec![word("0"), word("-1")]),
        CollectionAction::Read(Kind::Hash) => ("HGETALL", Vec::new()),
        CollectionAction::Read(Kind::Set) => ("SMEMBERS", Vec::new()),
        CollectionAction::Push(end, values) => {
            let name = if *end == End::Left { "LPUSH" } else { "RPUSH" };
            (name, values.iter().map(|value| value.to_vec()).collect())
        }
        CollectionAction::Pop(End::Left) => ("LPOP", Vec::new()),
        CollectionAction::Pop(End::Right) => ("RPOP", Vec::new()),
        CollectionAction::ListSet(index, value) => ("LSET", vec![number(*index as i64), value.to_vec()]),
        CollectionAction::Trim(count) => ("LTRIM", vec![word("0"), number(*count as i64 - 1)]),
        CollectionAction::HashSet(pairs) => {
            ("HSET", pairs.iter().flat_map(|(field, value)| [field_name(*field), value.to_vec()]).collect())
        }
        CollectionAction::HashSetEx(pairs) => {
            let head = [word("PXAT"), number(FAR_MS as i64), word("FIELDS"), number(pairs.len() as i64)];
            let flat = pairs.iter().flat_map(|(field, value)| [field_name(*field), value.to_vec()]);
            ("HSETEX", head.into_iter().chain(flat).collect())
        }
        CollectionAction::HashGetEx(field, at_ms) => {
            let expiry = at_ms.map_or(vec![word("PERSIST")], |at| vec![word("PXAT"), number(at as i64)]);
            let field = [word("FIELDS"), number(1), field_name(*field)];
            ("HGETEX", expiry.into_iter().chain(field).collect())
        }
        CollectionAction::HashDelete(field) => ("HDEL", vec![field_name(*field)]),
        CollectionAction::HashIncrement(field, by) => ("HINCRBY", vec![field_name(*field), number(*by)]),
        CollectionAction::HashExpire(field, at_ms) => {
            ("HPEXPIREAT", vec![number(*at_ms as i64), word("FIELDS"), number(1), field_name(*field)])
        }
        CollectionAction::HashPersist(field) => {
            ("HPERSIST", vec![word("FIELDS"), number(1), field_name(*field)])
        }
        CollectionAction::HashExpiry(field) => {
            ("HPEXPIRETIME", vec![word("FIELDS"), number(1), field_name(*field)])
        }
        CollectionAction::SetAdd(members) => ("SADD", members.iter().map(|it| field_name(*it)).collect()),
        CollectionAction::SetRemove(members) => ("SREM", members.iter().map(|it| field_name(*it)).collect()),
        CollectionAction::SetExpire(member, at_ms) => {
            ("SPEXPIREAT", vec![number(*at_ms as i64), word("MEMBERS"), number(1), field_name(*member)])
        }
        CollectionAction::SetPersist(member) => {
            ("SPERSIST", vec![word("MEMBERS"), number(1), field_name(*member)])
        }
        CollectionAction::SetExpiry(member) => {
            ("SPEXPIRETIME", vec![word("MEMBERS"), number(1), field_name(*member)])
        }
    };
    [word(name), key].into_iter().chain(rest).collect()
}

/// What a reply says about the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was answered.
    Answer,
    /// The server refused it for the state of its disk.
    Refusal,
}

impl Sent {
    /// The reply has come: the history learns what it says. An error is a reply that no server may give.
    pub fn on_reply(self, reply: Value, history: &mut History) -> Result<Heard, String> {
        let refused = matches!(&reply, Value::Error(text) if text.starts_with(b"MISCONF"));
        match self.parts {
            Parts::Nothing(expected) if reply == expected => return Ok(Heard::Answer),
            Parts::Nothing(expected) => return Err(format!("{reply:?} where {expected:?} was due")),
            Parts::Noise => {}
            Parts::Everywhere(check) => return check.on_reply(&reply, history),
            // What was acknowledged holds with every checkpoint and without: the history judges.
            Parts::Save if matches!(reply, Value::Simple(_) | Value::Error(_)) => return Ok(Heard::Answer),
            Parts::Save => return Err(format!("a checkpoint was answered with {reply:?}")),
            Parts::Waited(operations) => return waited(operations, &reply, refused, history),
            Parts::Whole(operation) if refused => history.answer(operation, Outcome::Refused),
            Parts::Whole(operation) => {
                let reply = normalized(&history.operations[operation].action, reply);
                history.answer(operation, Outcome::Replied(reply));
            }
            Parts::Elements(parts) if refused => {
                for (operation, _) in parts {
                    history.answer(operation, Outcome::Refused);
                }
            }
            Parts::Elements(parts) => {
                let Value::Array(elements) = reply else {
                    return Err(format!("MGET was answered with {reply:?}"));
                };
                for (operation, indices) in parts {
                    let own =
                        indices.iter().map(|index| elements.get(*index).cloned()).collect::<Option<_>>();
                    let own = own.ok_or("MGET was answered with too few elements")?;
                    history.answer(operation, Outcome::Replied(Value::Array(own)));
                }
            }
            Parts::Several(operations) => {
                let outcome = if refused { Outcome::Partial } else { Outcome::Done };
                for operation in operations {
                    history.answer(operation, outcome.clone());
                }
            }
        }
        Ok(if refused { Heard::Refusal } else { Heard::Answer })
    }
}

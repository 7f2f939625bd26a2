//! Keyspace notifications: which events follow from what a command has done to keys.
//!
//! The store notes what happened to keys ([`Touched`]), whichever command did it; here that gets Redis's names. A command that
//! is not listed below tells its own name in the class of its chapter, so none can forget to tell.

use annulus_storage::{DatabaseId, Happened, Kind, Touched};

use super::Core;
use super::outgoing::Outgoing;
use crate::admin::{Event, EventClasses};
use crate::commands::{Command, Group, lookup};

/// What is told: a class, a name, and of which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    class: Event,
    name: &'static str,
    database: DatabaseId,
    key: Box<[u8]>,
}

/// The class of what happens to a type of values.
const fn class_of(kind: Kind) -> Event {
    match kind {
        Kind::String => Event::String,
        Kind::List => Event::List,
        Kind::Hash => Event::Hash,
        Kind::Set => Event::Set,
        Kind::SortedSet => Event::SortedSet,
        Kind::Stream => Event::Stream,
    }
}

fn is(arg: Option<&&[u8]>, word: &str) -> bool {
    arg.is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
}

/// The event of a command that has given a key a value of a type or changed it, and whether that has more elements now.
fn written_event(command: &Command, args: &[&[u8]], kind: Kind, grew: bool) -> Option<(Event, &'static str)> {
    match command.name {
        "rename" | "renamenx" | "annulus.receive" => Some((Event::Generic, "rename_to")),
        "move" => Some((Event::Generic, "move_to")),
        "copy" | "annulus.put" => Some((Event::Generic, "copy_to")),
        "restore" => Some((Event::Generic, "restore")),
        // What is stored for a command that has its keys on several shards is told as its own.
        "annulus.setstore" | "annulus.zstore" => {
            let command =
                args.get(3).and_then(|name| lookup(name)).filter(|command| !command.is_internal())?;
            written_event(command, args, kind, grew)
        }
        // Another form of the same value; what is read of a stream, and by whom.
        "pfdebug" | "xack" => None,
        "xreadgroup" | "xclaim" | "xautoclaim" | "annulus.xread" if !grew => None,
        _ => Some((class_of(kind), event_name(command, args, grew))),
    }
}

/// Under which name a command is told of that changes a value, and not where it is.
fn event_name(command: &Command, args: &[&[u8]], grew: bool) -> &'static str {
    match command.name {
        "xreadgroup" | "xclaim" | "xautoclaim" | "annulus.xread" => "xgroup-createconsumer",
        "xadd" if !grew => "xtrim",
        name if command.parent == Some("xgroup") => match name {
            "create" => "xgroup-create",
            "createconsumer" => "xgroup-createconsumer",
            "delconsumer" => "xgroup-delconsumer",
            "destroy" => "xgroup-destroy",
            _ => "xgroup-setid",
        },
        "sort" | "annulus.sortstore" => "sortstore",
        "set" | "setex" | "psetex" | "setnx" | "getset" | "mset" | "msetex" | "msetnx" | "bitop"
        | "annulus.bitstore" | "cl.throttle" => "set",
        "increx" if args.iter().skip(2).any(|arg| is(Some(arg), "byfloat")) => "incrbyfloat",
        "incr" | "decr" | "incrby" | "decrby" | "increx" => "incrby",
        "bitfield" => "setbit",
        "pfmerge" | "annulus.pfmerge" => "pfadd",
        "smove" if grew => "sadd",
        "smove" => "srem",
        "hmset" | "hsetnx" | "hsetex" => "hset",
        "hgetdel" => "hdel",
        "hgetex" if is(args.get(2), "persist") => "hpersist",
        "hpexpire" | "hexpireat" | "hpexpireat" | "hgetex" => "hexpire",
        "spexpire" | "sexpireat" | "spexpireat" => "sexpire",
        "zpexpire" | "zexpireat" | "zpexpireat" => "zexpire",
        "zadd" if increments(args) => "zincr",
        "zincrby" => "zincr",
        "geoadd" => "zadd",
        "georadius" | "georadiusbymember" => "georadiusstore",
        name => end_event(name, args, grew),
    }
}

/// Under which name a command is told of that adds to an end or takes from one; others by their own.
fn end_event(name: &'static str, args: &[&[u8]], grew: bool) -> &'static str {
    let side = |index: usize, left: &'static str, right: &'static str| {
        if is(args.get(index), "left") || is(args.get(index), "min") { left } else { right }
    };
    match name {
        "lpushx" => "lpush",
        "rpushx" => "rpush",
        "blpop" => "lpop",
        "lmpop" => side((2 + keys_named(args, 1)).min(args.len()), "lpop", "rpop"),
        "blmpop" => side((3 + keys_named(args, 2)).min(args.len()), "lpop", "rpop"),
        "rpoplpush" | "brpoplpush" if grew => "lpush",
        "brpop" | "rpoplpush" | "brpoplpush" => "rpop",
        "lmove" | "blmove" if grew => side(4, "lpush", "rpush"),
        "lmove" | "blmove" => side(3, "lpop", "rpop"),
        "bzpopmin" => "zpopmin",
        "bzpopmax" => "zpopmax",
        "zmpop" => side((2 + keys_named(args, 1)).min(args.len()), "zpopmin", "zpopmax"),
        "annulus.zmpop" => side(2, "zpopmin", "zpopmax"),
        "bzmpop" => side((3 + keys_named(args, 2)).min(args.len()), "zpopmin", "zpopmax"),
        name => name,
    }
}

/// Whether one of the options of a ZADD, which stand between the key and the first score, is INCR.
fn increments(args: &[&[u8]]) -> bool {
    let is_option =
        |arg: &&&[u8]| ["nx", "xx", "gt", "lt", "ch", "incr"].iter().any(|word| is(Some(*arg), word));
    args.iter().skip(2).take_while(is_option).any(|arg| is(Some(arg), "incr"))
}

/// Whether a command takes from one list and gives to another: Redis tells the giving first.
fn gives_first(command: &Command) -> bool {
    matches!(command.name, "lmove" | "blmove" | "rpoplpush" | "brpoplpush")
}

/// The number of keys that stands at `index`, as far as it makes sense.
fn keys_named(args: &[&[u8]], index: usize) -> usize {
    let number = args.get(index).and_then(|arg| annulus_protocol::parse_i64(arg)).unwrap_or(0);
    usize::try_from(number).unwrap_or(0).min(args.len())
}

/// Redis tells the time of expiry that these commands may give apart.
fn tells_expiry(command: &Command) -> bool {
    matches!(command.name, "set" | "setex" | "psetex" | "msetex" | "increx")
}

/// Likewise of the fields that it sets.
fn tells_field_expiry(command: &Command, args: &[&[u8]]) -> bool {
    let expires = |arg: &&&[u8]| ["ex", "px", "exat", "pxat"].iter().any(|word| is(Some(*arg), word));
    command.name == "hsetex"
        && args.iter().skip(2).take_while(|arg| !is(Some(*arg), "fields")).any(|arg| expires(&arg))
}

fn deleted_event(command: Option<&Command>) -> &'static str {
    match command.map(|command| command.name) {
        Some("rename" | "renamenx" | "annulus.drop") => "rename_from",
        Some("move") => "move_from",
        _ => "del",
    }
}

/// What a command tells when it takes all elements of a collection, which it does by deleting the key.
fn takes_all(command: Option<&Command>, args: &[&[u8]]) -> Option<(Event, &'static str)> {
    let command = command.filter(|command| !command.name.ends_with("store"))?;
    let kind = match command.group {
        Group::Hash => Kind::Hash,
        Group::List => Kind::List,
        Group::Set => Kind::Set,
        Group::SortedSet => Kind::SortedSet,
        _ => return None,
    };
    let (class, name) = written_event(command, args, kind, false)?;
    Some((class, without_fields(name, true)))
}

/// What is given an expiry that has passed is deleted, and told of as such.
fn without_fields(name: &'static str, shrank: bool) -> &'static str {
    match name {
        "hexpire" | "hset" if shrank => "hdel",
        "sexpire" if shrank => "srem",
        "zexpire" if shrank => "zrem",
        name => name,
    }
}

/// What is told of members whose time has passed.
const fn lapsed_event(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Hash => Some("hexpired"),
        Kind::Set => Some("sexpired"),
        Kind::SortedSet => Some("zexpired"),
        Kind::String | Kind::List | Kind::Stream => None,
    }
}

/// Whether a value comes with its time of expiry, which then is not told apart.
fn brings_expiry(command: &Command) -> bool {
    always_new(command) || matches!(command.name, "move" | "restore")
}

/// Whether a command replaces what a key held by a new key, as Redis sees it.
fn always_new(command: &Command) -> bool {
    matches!(command.name, "rename" | "renamenx" | "copy" | "annulus.put" | "annulus.receive")
}

/// Whether a command between shards tells in this round of what is missing: of nothing twice. `internal`: what is asked for is for
/// shards only; `reads`: it is a command on a key that this one only reads.
pub(super) fn looks_in(round: u32, command: &Command, internal: bool, reads: bool) -> bool {
    match command.name {
        // It asks again in each of its rounds, and for most in the last.
        "sort" | "sort_ro" => round == 2,
        _ => internal || reads && round == 0,
    }
}

/// Reads that look without telling that they found nothing.
fn looks_silently(command: Option<&Command>) -> bool {
    command.is_none_or(|command| command.parent == Some("object") || command.name == "annulus.watch")
}

/// The events of a command, in the order in which Redis tells them. No command: the server itself removed keys.
fn events_of(
    command: Option<&Command>,
    args: &[&[u8]],
    touched: &Touched,
    wanted: EventClasses,
) -> Vec<Told> {
    let mut telling =
        Telling { wanted, events: Vec::new(), taken: Vec::new(), removed: Vec::new(), changed: None };
    for (database, key, happened) in touched.iter() {
        let at = (database, key);
        match (happened, command) {
            (Happened::Created, Some(command)) if always_new(command) => {}
            (Happened::Created, _) => telling.tell(Event::New, "new", at),
            // All that the server itself changes of a value: members go when their time has passed.
            (Happened::Changed { kind, grew: false, .. }, None) if let Some(name) = lapsed_event(kind) => {
                if telling.is_other_change(at, name) {
                    telling.tell(class_of(kind), name, at);
                }
            }
            (Happened::Written { .. } | Happened::Changed { .. }, None) => {}
            (Happened::Written { expires }, Some(command)) => telling.written(command, args, at, expires),
            (Happened::Changed { kind, grew, shrank }, Some(command)) => {
                telling.changed(command, args, at, (kind, grew, shrank));
            }
            (Happened::Deleted, _) => telling.deleted(command, args, at),
            (Happened::Expired, _) => telling.tell(Event::Expired, "expired", at),
            (Happened::Evicted, _) => telling.tell(Event::Evicted, "evicted", at),
            (Happened::ExpirySet, Some(command)) if brings_expiry(command) => {}
            (Happened::ExpirySet, _) => telling.tell(Event::Generic, "expire", at),
            (Happened::ExpiryRemoved, _) => telling.tell(Event::Generic, "persist", at),
            (Happened::Missed, _) if looks_silently(command) => {}
            (Happened::Missed, _) => telling.tell(Event::Missed, "keymiss", at),
        }
    }
    telling.in_order()
}

/// A key's place.
type At<'a> = (DatabaseId, &'a [u8]);

/// What is told of one command.
struct Telling<'a> {
    wanted: EventClasses,
    events: Vec<Told>,
    /// What is told behind all of these: what was taken from a key by a command that tells of what it gives first.
    taken: Vec<Told>,
    /// Where values went away from.
    removed: Vec<Told>,
    /// The change told last: elements of one collection go one by one, and parts of one string; they are told of once.
    changed: Option<(At<'a>, &'static str)>,
}

impl<'a> Telling<'a> {
    fn told(&self, class: Event, name: &'static str, (database, key): At<'_>) -> Option<Told> {
        self.wanted.contains(class).then(|| Told { class, name, database, key: key.into() })
    }

    fn tell(&mut self, class: Event, name: &'static str, at: At<'_>) {
        self.events.extend(self.told(class, name, at));
    }

    /// Whether this is not what was changed last.
    fn is_other_change(&mut self, at: At<'a>, name: &'static str) -> bool {
        self.changed.replace((at, name)) != Some((at, name))
    }

    fn written(&mut self, command: &Command, args: &[&[u8]], at: At<'a>, expires: bool) {
        let Some((class, name)) = written_event(command, args, Kind::String, true) else { return };
        if always_new(command) {
            self.tell(Event::New, "new", at);
        }
        self.tell(class, name, at);
        self.changed = Some((at, name));
        if expires && tells_expiry(command) {
            self.tell(Event::Generic, "expire", at);
        }
    }

    fn changed(
        &mut self,
        command: &Command,
        args: &[&[u8]],
        at: At<'a>,
        (kind, grew, shrank): (Kind, bool, bool),
    ) {
        let Some((class, name)) = written_event(command, args, kind, grew) else { return };
        let name = without_fields(name, shrank);
        if !self.is_other_change(at, name) {
            return;
        }
        if always_new(command) {
            self.tell(Event::New, "new", at);
        }
        let expiry = if name != "hdel" && tells_field_expiry(command, args) { Some("hexpire") } else { None };
        let told: Vec<Told> =
            std::iter::once(name).chain(expiry).filter_map(|name| self.told(class, name, at)).collect();
        let events = if gives_first(command) && !grew { &mut self.taken } else { &mut self.events };
        events.extend(told);
    }

    fn deleted(&mut self, command: Option<&Command>, args: &[&[u8]], at: At<'a>) {
        match deleted_event(command) {
            "del"
                if let Some((class, name)) = takes_all(command, args)
                    && self.changed != Some((at, name)) =>
            {
                self.tell(class, name, at);
                self.tell(Event::Generic, "del", at);
            }
            "del" if self.taken.is_empty() => self.tell(Event::Generic, "del", at),
            "del" => self.taken.extend(self.told(Event::Generic, "del", at)),
            name => self.removed.extend(self.told(Event::Generic, name, at)),
        }
    }

    fn in_order(mut self) -> Vec<Told> {
        self.events.append(&mut self.taken);
        // A value arrives before it leaves, or a crash could lose it; it is told the other way round.
        if let Some(from) = self.removed.pop() {
            let arrival = self.events.iter().rposition(|told| told.name.ends_with("_to"));
            self.events.insert(arrival.unwrap_or(self.events.len()), from);
        }
        self.events
    }
}

impl Core {
    /// Queues what is to be told of a command.
    pub(super) fn notify(
        &mut self,
        command: Option<&Command>,
        args: &[&[u8]],
        touched: &Touched,
        prepares: bool,
    ) {
        let wanted = self.settings.notify_keyspace_events;
        if wanted.is_off() || !self.shared.interest.is_anybody_listening() {
            return;
        }
        for told in events_of(command, args, touched, wanted) {
            if prepares && told.class == Event::Missed {
                continue;
            }
            self.emit(Outgoing::Event(told));
        }
    }

    /// Sends an event to those who listen.
    pub(super) fn tell_event(&mut self, told: &Told) {
        let wanted = self.settings.notify_keyspace_events;
        let Told { name, database, key, .. } = told;
        if wanted.contains(Event::Keyspace) {
            let channel = [format!("__keyspace@{}__:", database.0).as_bytes(), key].concat();
            self.announce(&channel, name.as_bytes());
        }
        if wanted.contains(Event::Keyevent) {
            self.announce(format!("__keyevent@{}__:{name}", database.0).as_bytes(), key);
        }
    }
}

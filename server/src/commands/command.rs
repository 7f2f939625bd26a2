//! What a row of the command table is made of. Everything that the server says or decides about a command (routing,
//! `COMMAND`, ACL categories, documentation, statistics) is derived from its row.

use std::ops::Range;

use annulus_protocol::parse_i64;

use super::Run;

macro_rules! named_bits {
    ($(#[$doc:meta])* $name:ident($int:ty) { $($(#[$bit_doc:meta])* $bit:ident = $shift:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name($int);

        impl $name {
            /// No bit.
            pub const NONE: Self = Self(0);
            $($(#[$bit_doc])* pub const $bit: Self = Self(1 << $shift);)*

            /// Every bit with its name, in the order in which they are listed to clients.
            pub const NAMES: &'static [(Self, &'static str)] = &[$((Self::$bit, $text),)*];

            /// Both sets together.
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// The union of a list.
            #[must_use]
            pub const fn of(list: &[Self]) -> Self {
                let mut bits = 0;
                let mut index = 0;
                while index < list.len() {
                    bits |= list[index].0;
                    index += 1;
                }
                Self(bits)
            }

            /// True if every bit of `other` is set here.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// The names of the bits that are set.
            pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
                Self::NAMES.iter().filter(move |(bit, _)| self.contains(*bit)).map(|(_, name)| *name)
            }
        }
    };
}

named_bits! {
    /// Properties of a command, with the names that `COMMAND INFO` shows.
    Flags(u32) {
        /// May change data.
        WRITE = 0 "write",
        /// Never changes data.
        READONLY = 1 "readonly",
        /// Refused when memory is exhausted.
        DENYOOM = 2 "denyoom",
        /// For administrators.
        ADMIN = 4 "admin",
        /// Part of publish/subscribe.
        PUBSUB = 5 "pubsub",
        /// Not callable from scripts.
        NOSCRIPT = 6 "noscript",
        /// May block the connection.
        BLOCKING = 7 "blocking",
        /// Allowed while data is being loaded.
        LOADING = 8 "loading",
        /// Allowed on a replica with stale data.
        STALE = 9 "stale",
        /// Short and of constant or logarithmic cost.
        FAST = 13 "fast",
        /// Shows itself to monitors.
        SKIP_MONITOR = 10 "skip_monitor",
        /// Not in the slow log: what it runs is.
        SKIP_SLOWLOG = 12 "skip_slowlog",
        /// Allowed before authentication.
        NO_AUTH = 14 "no_auth",
        /// May name no keys though it has places for them.
        NO_MANDATORY_KEYS = 16 "no_mandatory_keys",
        /// Refused while data is being loaded in the background.
        NO_ASYNC_LOADING = 18 "no_async_loading",
        /// Not allowed inside a transaction.
        NO_MULTI = 19 "no_multi",
        /// Its keys are not at fixed positions.
        MOVABLE_KEYS = 20 "movablekeys",
        /// Allowed while a script or another command holds the server.
        ALLOW_BUSY = 21 "allow_busy",
        /// Sent by one shard to another, never by a client; such commands are not listed.
        INTERNAL = 31 "internal",
    }
}

named_bits! {
    /// ACL categories, in Redis's order.
    Categories(u32) {
        /// Commands on keys of any type.
        KEYSPACE = 0 "keyspace",
        /// Reads data.
        READ = 1 "read",
        /// Changes data.
        WRITE = 2 "write",
        /// Works on sets.
        SET = 3 "set",
        /// Works on sorted sets.
        SORTED_SET = 4 "sortedset",
        /// Works on lists.
        LIST = 5 "list",
        /// Works on hashes.
        HASH = 6 "hash",
        /// Works on strings.
        STRING = 7 "string",
        /// Works on the bits of strings.
        BITMAP = 8 "bitmap",
        /// Counts distinct elements.
        HYPERLOGLOG = 9 "hyperloglog",
        /// Works on places.
        GEO = 10 "geo",
        /// Works on streams.
        STREAM = 11 "stream",
        /// Publish/subscribe.
        PUBSUB = 12 "pubsub",
        /// For administrators.
        ADMIN = 13 "admin",
        /// Of constant or logarithmic cost.
        FAST = 14 "fast",
        /// Not fast.
        SLOW = 15 "slow",
        /// May block the connection.
        BLOCKING = 16 "blocking",
        /// May hurt when used without care.
        DANGEROUS = 17 "dangerous",
        /// Concerns the connection or other connections.
        CONNECTION = 18 "connection",
        /// MULTI and its kin.
        TRANSACTION = 19 "transaction",
        /// Scripts.
        SCRIPTING = 20 "scripting",
    }
}

named_bits! {
    /// What a command does with a key.
    KeyFlags(u16) {
        /// Reads the value only.
        RO = 0 "RO",
        /// Reads and changes the value.
        RW = 1 "RW",
        /// Overwrites the value.
        OW = 2 "OW",
        /// Removes the key.
        RM = 3 "RM",
        /// May return user data of the key, or derive it.
        ACCESS = 4 "access",
        /// May change the value.
        UPDATE = 5 "update",
        /// May add data, never changes what is there.
        INSERT = 6 "insert",
        /// May delete explicitly.
        DELETE = 7 "delete",
        /// Not a key, but routed like one: a shard channel.
        NOT_KEY = 8 "not_key",
        /// The flags depend on the arguments.
        VARIABLE_FLAGS = 10 "variable_flags",
    }
}

/// One run of keys among the arguments, and what happens to them.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse {
    /// What is done with these keys.
    pub flags: KeyFlags,
    /// Where they are.
    pub places: KeyPlaces,
    /// Why the flags are what they are, where that is not obvious.
    pub notes: Option<&'static str>,
}

/// Where a run of keys is among the arguments; position 0 is the command's name.
#[derive(Clone, Copy, Debug)]
pub enum KeyPlaces {
    /// At fixed positions.
    Range {
        /// Position of the first one.
        first: u8,
        /// The last one: relative to `first`, or, if negative, counted from the end of the arguments.
        last: i8,
        /// Distance from one key to the next.
        step: u8,
    },
    /// Behind the argument that says how many they are.
    Counted {
        /// Position of that number.
        at: u8,
        /// Distance from one key to the next.
        step: u8,
    },
    /// One anywhere among the arguments.
    Found {
        /// Finds its position.
        find: fn(&[&[u8]]) -> Option<usize>,
    },
    /// None that the arguments name: which they are depends on the data.
    Elsewhere {
        /// Whether there may be any, with these arguments.
        when: fn(&[&[u8]]) -> bool,
    },
    /// The first half of what stands behind a word: keys, and as many arguments that belong to them.
    Behind {
        /// The word.
        word: &'static str,
        /// Where Redis's clients begin to look for it.
        from: u8,
        /// Options that may stand before it, and how many arguments follow each.
        options: &'static [(&'static str, u8)],
    },
    /// One key, behind a word that may be absent. If it is there more than once, the last one counts.
    Keyword {
        /// The word, in upper case.
        word: &'static str,
        /// The first position where it may be.
        from: u8,
    },
}

impl KeyUse {
    /// One key at a position.
    pub const fn one(first: u8, flags: &[KeyFlags]) -> Self {
        Self::range(first, 0, 1, flags)
    }

    /// Two keys side by side.
    pub const fn two(first: u8, flags: &[KeyFlags]) -> Self {
        Self::range(first, 1, 1, flags)
    }

    /// Every argument from `first` on, or every `step`th one.
    pub const fn every(first: u8, step: u8, flags: &[KeyFlags]) -> Self {
        Self::range(first, -1, step, flags)
    }

    /// As many keys as the number at a position says, right behind it.
    pub const fn counted(at: u8, flags: &[KeyFlags]) -> Self {
        Self { flags: KeyFlags::of(flags), places: KeyPlaces::Counted { at, step: 1 }, notes: None }
    }

    /// The same, each with a value behind it.
    pub const fn counted_pairs(at: u8, flags: &[KeyFlags]) -> Self {
        Self { flags: KeyFlags::of(flags), places: KeyPlaces::Counted { at, step: 2 }, notes: None }
    }

    /// The first half of what stands behind a word, before which there may be these options with as many arguments.
    pub const fn behind(
        word: &'static str,
        from: u8,
        options: &'static [(&'static str, u8)],
        flags: &[KeyFlags],
    ) -> Self {
        Self { flags: KeyFlags::of(flags), places: KeyPlaces::Behind { word, from, options }, notes: None }
    }

    /// A key whose position this finds.
    pub const fn found(find: fn(&[&[u8]]) -> Option<usize>, flags: &[KeyFlags]) -> Self {
        Self { flags: KeyFlags::of(flags), places: KeyPlaces::Found { find }, notes: None }
    }

    /// Keys that only the data tell, if these arguments mean any.
    pub const fn elsewhere(when: fn(&[&[u8]]) -> bool, flags: &[KeyFlags]) -> Self {
        Self { flags: KeyFlags::of(flags), places: KeyPlaces::Elsewhere { when }, notes: None }
    }

    /// The key behind a word, which is at a position or further on, or nowhere.
    pub const fn keyword(word: &'static str, from: u8, flags: &[KeyFlags]) -> Self {
        Self { flags: KeyFlags::of(flags), places: KeyPlaces::Keyword { word, from }, notes: None }
    }

    /// Every argument from `first` on but the last.
    pub const fn all_but_last(first: u8, flags: &[KeyFlags]) -> Self {
        Self::range(first, -2, 1, flags)
    }

    const fn range(first: u8, last: i8, step: u8, flags: &[KeyFlags]) -> Self {
        Self { flags: KeyFlags::of(flags), places: KeyPlaces::Range { first, last, step }, notes: None }
    }

    /// The positions of its keys among these arguments; none if they are counted and the number is not right.
    pub fn positions(&self, args: &[&[u8]]) -> impl Iterator<Item = usize> + Clone + use<> {
        let (range, step) = match self.places {
            KeyPlaces::Range { first, last, step } => KeySpec::fixed(first, last, step).range(args.len()),
            KeyPlaces::Counted { at, step } => {
                let (first, step) = (usize::from(at) + 1, usize::from(step));
                let count = args.get(usize::from(at)).and_then(|number| parse_i64(number)).unwrap_or(0);
                let count = usize::try_from(count).unwrap_or(0).saturating_mul(step);
                let fits = count <= args.len().saturating_sub(first);
                (first..first + if fits { count } else { 0 }, step)
            }
            KeyPlaces::Found { find } => find(args).map_or((0..0, 1), |at| (at..at + 1, 1)),
            KeyPlaces::Elsewhere { .. } => (0..0, 1),
            KeyPlaces::Behind { word, options, .. } => {
                let first = behind(word, options, args);
                (first..first + (args.len() - first) / 2, 1)
            }
            KeyPlaces::Keyword { word, from } => {
                let from = usize::from(from);
                // Nothing is behind the last argument.
                let words = args.split_last().and_then(|(_, words)| words.get(from..)).unwrap_or_default();
                let found = words.iter().rposition(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
                (found.map_or(0..0, |at| from + at + 1..from + at + 2), 1)
            }
        };
        range.step_by(step)
    }

    /// Adds a note.
    #[must_use]
    pub const fn notes(self, notes: &'static str) -> Self {
        Self { notes: Some(notes), ..self }
    }
}

/// The position behind a word before which options may stand; the end of the arguments if it isn't there.
fn behind(word: &str, options: &[(&str, u8)], args: &[&[u8]]) -> usize {
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        at += 1;
        if arg.eq_ignore_ascii_case(word.as_bytes()) {
            return at;
        }
        let option = options.iter().find(|(option, _)| arg.eq_ignore_ascii_case(option.as_bytes()));
        at += option.map_or(0, |(_, following)| usize::from(*following));
    }
    args.len()
}

/// Where a command's keys at fixed positions are; position 0 is the command's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeySpec {
    /// Position of the first key; 0: the command has no keys there.
    pub first: u8,
    /// Position of the last key; negative positions count from the end (-1: the last argument).
    pub last: i8,
    /// Distance from one key to the next.
    pub step: u8,
}

impl KeySpec {
    const fn fixed(first: u8, last: i8, step: u8) -> Self {
        let last = if last < 0 { last } else { first as i8 + last };
        Self { first, last, step }
    }

    /// The one range that covers the uses at fixed positions. As in Redis, counted ones are not in it.
    const fn covering(uses: &[KeyUse]) -> Self {
        let mut spec = Self { first: 0, last: 0, step: 0 };
        let mut index = 0;
        while index < uses.len() {
            let KeyPlaces::Range { first, last, step } = uses[index].places else { break };
            let each = Self::fixed(first, last, step);
            if index == 0 {
                spec = each;
            } else {
                let next = spec.last + spec.step as i8;
                assert!(spec.last >= 0 && each.first as i8 == next, "key uses must lie side by side");
                assert!(each.step == spec.step, "key uses side by side have one step");
                spec.last = each.last;
            }
            index += 1;
        }
        spec
    }

    /// Positions of the keys in a command of `count` arguments, its name included.
    pub fn positions(self, count: usize) -> impl Iterator<Item = usize> + Clone {
        let (range, step) = self.range(count);
        range.step_by(step)
    }

    /// The range that they are in, and the distance from one to the next.
    fn range(self, count: usize) -> (Range<usize>, usize) {
        let last = if self.last < 0 { count as i64 + i64::from(self.last) } else { i64::from(self.last) };
        // A range that ends beyond the arguments has been refused by the arity check; here it only must not panic.
        let end = if self.first == 0 { 0 } else { usize::try_from(last + 1).unwrap_or(0).min(count) };
        (usize::from(self.first)..end, usize::from(self.step).max(1))
    }
}

/// The chapter of the documentation that a command belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Any key.
    Generic,
    /// Strings.
    String,
    /// Lists.
    List,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Places on the globe.
    Geo,
    /// The bits of strings.
    Bitmap,
    /// Counts of distinct elements.
    Hyperloglog,
    /// Streams.
    Stream,
    /// The connection itself.
    Connection,
    /// MULTI and its kin.
    Transactions,
    /// The server.
    Server,
    /// Slots, shards and nodes.
    Cluster,
    /// Messages.
    PubSub,
    /// Scripts.
    Scripting,
}

impl Group {
    /// The name in `COMMAND DOCS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::List => "list",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Geo => "geo",
            Self::Bitmap => "bitmap",
            Self::Hyperloglog => "hyperloglog",
            Self::Stream => "stream",
            Self::Connection => "connection",
            Self::Transactions => "transactions",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::PubSub => "pubsub",
            Self::Scripting => "scripting",
        }
    }
}

/// A row of the command table.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its name in lower case; of a subcommand only the second word.
    pub name: &'static str,
    /// The container that a subcommand belongs to.
    pub parent: Option<&'static str>,
    /// Number of arguments, names included; negative: at least so many.
    pub arity: i8,
    /// Properties.
    pub flags: Flags,
    /// Where the keys are, as far as they are at fixed positions.
    pub keys: KeySpec,
    /// What is done with the keys.
    pub key_uses: &'static [KeyUse],
    /// Chapter of the documentation.
    pub group: Group,
    /// The version of Redis that introduced it.
    pub since: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The arguments after the name, in the notation of [`syntax`](super::syntax).
    pub syntax: &'static str,
    /// Set for commands that others have replaced: the version, and what to use instead.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Hints for clients and proxies.
    pub tips: &'static [&'static str],
    /// How it runs.
    pub run: Run,
    acl: Categories,
    id: u16,
    subcommands_start: u16,
    subcommands_count: u16,
}

impl Command {
    /// A row with no flags, keys or documentation yet.
    pub(super) const fn new(name: &'static str, arity: i8, group: Group, run: Run) -> Self {
        Self {
            name,
            parent: None,
            arity,
            flags: Flags::NONE,
            keys: KeySpec { first: 0, last: 0, step: 0 },
            key_uses: &[],
            group,
            since: "",
            complexity: "",
            summary: "",
            syntax: "",
            deprecated: None,
            tips: &[],
            run,
            acl: Categories::NONE,
            id: 0,
            subcommands_start: 0,
            subcommands_count: 0,
        }
    }

    pub(super) const fn of(self, parent: &'static str) -> Self {
        Self { parent: Some(parent), ..self }
    }

    pub(super) const fn flags(self, flags: &[Flags]) -> Self {
        Self { flags: Flags::of(flags), ..self }
    }

    pub(super) const fn keys(self, uses: &'static [KeyUse]) -> Self {
        Self { keys: KeySpec::covering(uses), key_uses: uses, ..self }
    }

    /// Categories beyond those that follow from the flags.
    pub(super) const fn acl(self, categories: &[Categories]) -> Self {
        Self { acl: Categories::of(categories), ..self }
    }

    pub(super) const fn docs(
        self,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
        syntax: &'static str,
    ) -> Self {
        Self { since, complexity, summary, syntax, ..self }
    }

    pub(super) const fn deprecated(self, since: &'static str, instead: &'static str) -> Self {
        Self { deprecated: Some((since, instead)), ..self }
    }

    pub(super) const fn tips(self, tips: &'static [&'static str]) -> Self {
        Self { tips, ..self }
    }

    pub(super) const fn placed(self, id: u16, subcommands_start: u16, subcommands_count: u16) -> Self {
        Self { id, subcommands_start, subcommands_count, ..self }
    }

    /// Where the keys are among these arguments, and what is done with each.
    pub fn key_positions(&self, args: &[&[u8]]) -> impl Iterator<Item = (usize, KeyFlags)> {
        self.key_uses.iter().flat_map(move |uses| uses.positions(args).map(|at| (at, uses.flags)))
    }

    /// The first key among these arguments.
    pub fn first_key<'a>(&self, args: &[&'a [u8]]) -> Option<&'a [u8]> {
        let position = match self.keys.first {
            0 => self.key_positions(args).next()?.0,
            first => usize::from(first),
        };
        args.get(position).copied()
    }

    /// Whether what is done with a key changes it. Commands that change data other than the value that clients see as the key's, as
    /// XREADGROUP does, say that they only read their keys; those change them all.
    pub fn changes(&self, uses: KeyFlags) -> bool {
        let reads = |flags: KeyFlags| flags.contains(KeyFlags::RO);
        let script = matches!(self.run, Run::Script(_)) && !self.flags.contains(Flags::READONLY);
        (self.flags.contains(Flags::WRITE) || script)
            && (!reads(uses) || self.key_uses.iter().all(|each| reads(each.flags)))
    }

    /// Whether it runs a function of a library: which none may change meanwhile.
    pub fn runs_function(&self) -> bool {
        matches!(self.run, Run::Script(super::ScriptRun::Function))
    }

    /// Whether it may look at keys that these arguments don't name: then nobody else changes any key meanwhile.
    pub fn looks_elsewhere(&self, args: &[&[u8]]) -> bool {
        self.flags.contains(Flags::MOVABLE_KEYS)
            && self
                .key_uses
                .iter()
                .any(|uses| matches!(uses.places, KeyPlaces::Elsewhere { when } if when(args)))
    }

    /// Whether its keys hold collections.
    #[inline]
    pub const fn is_on_collection(&self) -> bool {
        matches!(
            self.group,
            Group::List | Group::Hash | Group::Set | Group::SortedSet | Group::Stream | Group::Geo
        )
    }

    /// Whether it is about keys that its arguments name.
    pub const fn names_keys(&self) -> bool {
        !self.key_uses.is_empty()
    }

    /// Its place in the table, `0..COUNT`: the index into per-command statistics.
    pub const fn id(&self) -> usize {
        self.id as usize
    }

    /// True for containers, whose second word is a command of its own.
    pub const fn has_subcommands(&self) -> bool {
        self.subcommands_count > 0
    }

    /// The rows of a container's subcommands.
    pub fn subcommands(&self) -> &'static [Command] {
        let start = usize::from(self.subcommands_start);
        super::table::ALL.get(start..start + usize::from(self.subcommands_count)).unwrap_or_default()
    }

    /// The name as `COMMAND` lists it: `get`, `client|list`.
    pub fn full_name(&self) -> String {
        match self.parent {
            Some(parent) => format!("{parent}|{}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// All ACL categories: those of the row and those that follow from the flags.
    pub const fn categories(&self) -> Categories {
        const IMPLIED: [(Flags, Categories); 5] = [
            (Flags::WRITE, Categories::WRITE),
            (Flags::READONLY, Categories::READ),
            (Flags::ADMIN, Categories::ADMIN.union(Categories::DANGEROUS)),
            (Flags::PUBSUB, Categories::PUBSUB),
            (Flags::BLOCKING, Categories::BLOCKING),
        ];
        let speed = if self.flags.contains(Flags::FAST) { Categories::FAST } else { Categories::SLOW };
        let mut categories = self.acl.union(speed);
        let mut index = 0;
        while index < IMPLIED.len() {
            // What a script reads is its commands' business.
            let scripted = self.acl.contains(Categories::SCRIPTING) && index == 1;
            if self.flags.contains(IMPLIED[index].0) && !scripted {
                categories = categories.union(IMPLIED[index].1);
            }
            index += 1;
        }
        categories
    }

    /// True if a command with `count` arguments, names included, has as many as it takes. Beyond the arity, arguments that
    /// go by key (`MSET key value …`) must be complete.
    pub const fn accepts(&self, count: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        let enough = if self.arity < 0 { count >= arity } else { count == arity };
        let whole = self.keys.step < 2
            || count.saturating_sub(self.keys.first as usize).is_multiple_of(self.keys.step as usize);
        enough && whole
    }

    /// True for commands that only other shards may send.
    pub const fn is_internal(&self) -> bool {
        self.flags.contains(Flags::INTERNAL)
    }
}

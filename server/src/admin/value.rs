//! How one setting reads and prints: the same text in the file, the environment, on the command line and in
//! `CONFIG`. The refusals are Redis's texts, because clients and operators match on them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use annulus_storage::{Access, Durability, EvictionOrder, EvictionPolicy};

/// The type of a setting.
pub(super) trait Value {
    /// What stands for the value in `--help`.
    const HINT: &'static str;

    /// The bounds of numbers of this type, where a setting does not narrow them.
    const RANGE: (i64, i64) = (0, i64::MAX);

    /// Whether several words make one value, so that the command line takes `--bind A B`.
    const LIST: bool = false;

    /// Takes the value from `text`, or says why not; a refusal changes nothing.
    fn update(&mut self, text: &str, range: (i64, i64)) -> Result<(), String>;

    /// The value as `CONFIG GET` prints it; `update` takes it back.
    fn show(&self) -> String;

    /// The value as it stands in a TOML file.
    fn toml(&self) -> String {
        toml_string(&self.show())
    }
}

fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn integer(text: &str, (min, max): (i64, i64)) -> Result<i64, String> {
    let value: i64 = text.parse().map_err(|_| "argument couldn't be parsed into an integer".to_owned())?;
    in_range(value, (min, max))
}

fn in_range(value: i64, (min, max): (i64, i64)) -> Result<i64, String> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(format!("argument must be between {min} and {max} inclusive"))
    }
}

macro_rules! integer_value {
    ($($ty:ty),*) => {$(
        impl Value for $ty {
            const HINT: &'static str = "NUMBER";
            const RANGE: (i64, i64) = (0, <$ty>::MAX as i64);

            fn update(&mut self, text: &str, range: (i64, i64)) -> Result<(), String> {
                *self = integer(text, range)? as $ty;
                Ok(())
            }

            fn show(&self) -> String {
                self.to_string()
            }

            fn toml(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

integer_value!(u16, u32, i32);

/// A quantity of memory or disk, in bytes: `64mb`, `1gb`, `512`. As in Redis, `k` is 1000 and `kb` is 1024.
impl Value for u64 {
    const HINT: &'static str = "BYTES";

    fn update(&mut self, text: &str, range: (i64, i64)) -> Result<(), String> {
        let bytes = parse_bytes(text).ok_or_else(|| "argument must be a memory value".to_owned())?;
        *self = in_range(i64::try_from(bytes).unwrap_or(i64::MAX), range)? as u64;
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn toml(&self) -> String {
        for (unit, bytes) in [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)] {
            if *self >= bytes && self.is_multiple_of(bytes) {
                return toml_string(&format!("{}{unit}", *self / bytes));
            }
        }
        self.to_string()
    }
}

/// Reads a quantity such as `512`, `64mb` or `1G`; none when it is not one, or does not fit.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A length of time: `90s`, `15m`, `24h`, `7d`; seconds without a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// The same in seconds.
    pub seconds: u64,
}

const PERIOD_UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

impl Value for Period {
    const HINT: &'static str = "DURATION";

    fn update(&mut self, text: &str, range: (i64, i64)) -> Result<(), String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let unit = |unit: &str| PERIOD_UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name));
        let seconds = text.split_at_checked(digits).and_then(|(number, rest)| {
            let factor = if rest.is_empty() { 1 } else { unit(rest)?.1 };
            number.parse::<u64>().ok()?.checked_mul(factor)
        });
        let seconds =
            seconds.ok_or_else(|| "argument must be a duration such as 90s, 15m, 24h or 7d".to_owned())?;
        self.seconds = in_range(i64::try_from(seconds).unwrap_or(i64::MAX), range)? as u64;
        Ok(())
    }

    fn show(&self) -> String {
        self.seconds.to_string()
    }

    fn toml(&self) -> String {
        let seconds = self.seconds;
        let unit = PERIOD_UNITS.iter().find(|(_, factor)| seconds > 0 && seconds.is_multiple_of(*factor));
        unit.map_or("0".to_owned(), |(name, factor)| toml_string(&format!("{}{name}", seconds / factor)))
    }
}

impl Value for bool {
    const HINT: &'static str = "yes|no";

    fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
        *self = match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" => true,
            "no" | "off" | "false" => false,
            _ => return Err("argument must be 'yes' or 'no'".to_owned()),
        };
        Ok(())
    }

    fn show(&self) -> String {
        if *self { "yes" } else { "no" }.to_owned()
    }

    fn toml(&self) -> String {
        self.to_string()
    }
}

/// The number of shards; `auto` is one for each core that this process may use.
impl Value for usize {
    const HINT: &'static str = "NUMBER|auto";

    fn update(&mut self, text: &str, range: (i64, i64)) -> Result<(), String> {
        *self = if text.eq_ignore_ascii_case("auto") {
            available_cores().min(range.1 as usize)
        } else {
            integer(text, range)? as usize
        };
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn toml(&self) -> String {
        self.to_string()
    }
}

/// The cores this process may use, by its affinity mask and its control group's quota.
pub(super) fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Value for PathBuf {
    const HINT: &'static str = "PATH";

    fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
        if text.is_empty() {
            return Err("argument must not be empty".to_owned());
        }
        *self = PathBuf::from(text);
        Ok(())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// A path that may be absent: the empty text.
impl Value for Option<PathBuf> {
    const HINT: &'static str = "PATH";

    fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
        *self = (!text.is_empty()).then(|| PathBuf::from(text));
        Ok(())
    }

    fn show(&self) -> String {
        self.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }
}

/// An address that may be absent: the empty text.
impl Value for Option<IpAddr> {
    const HINT: &'static str = "ADDRESS";

    fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
        *self = if text.is_empty() {
            None
        } else {
            Some(text.parse().map_err(|_| "argument must be an IP address".to_owned())?)
        };
        Ok(())
    }

    fn show(&self) -> String {
        self.map(|address| address.to_string()).unwrap_or_default()
    }
}

/// A text that no log and no `Debug` output shows. Empty means that there is none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, none when it is empty.
    pub fn reveal(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(…)" })
    }
}

impl Value for Secret {
    const HINT: &'static str = "PASSWORD";

    fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
        text.clone_into(&mut self.0);
        Ok(())
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Permission bits of a file, written in octal; 0 leaves what the process's mask gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl Value for FileMode {
    const HINT: &'static str = "OCTAL";

    fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
        self.0 = u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| "argument must be permissions in octal, such as 700".to_owned())?;
        Ok(())
    }

    fn show(&self) -> String {
        format!("{:o}", self.0)
    }
}

/// An address to listen on. An optional one (Redis's `-` prefix) may be missing on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The local address.
    pub address: IpAddr,
    /// Whether the start goes on when this machine does not have the address.
    pub optional: bool,
}

impl Bind {
    fn parse(word: &str) -> Option<Self> {
        let (word, optional) = match word.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (word, false),
        };
        let address = match word {
            "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            "::*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            address => address.parse().ok()?,
        };
        Some(Self { address, optional })
    }

    fn show(self) -> String {
        let prefix = if self.optional { "-" } else { "" };
        match self.address {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => format!("{prefix}*"),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => format!("{prefix}::*"),
            address => format!("{prefix}{address}"),
        }
    }
}

impl Value for Vec<Bind> {
    const HINT: &'static str = "ADDRESS";
    const LIST: bool = true;

    fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
        *self = words(text)
            .map(|word| {
                Bind::parse(word).ok_or_else(|| {
                    format!("'{word}' is not an IP address, '*' (every IPv4 address) or '::*' (every IPv6 address)")
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    fn show(&self) -> String {
        self.iter().map(|bind| bind.show()).collect::<Vec<_>>().join(" ")
    }

    fn toml(&self) -> String {
        let items: Vec<_> = self.iter().map(|bind| toml_string(&bind.show())).collect();
        format!("[{}]", items.join(", "))
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|word| !word.is_empty())
}

/// Which core each shard's thread stays on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// `Yes` if there are more cores than shards, else `No`.
    Auto,
    /// The scheduler may move shards.
    No,
    /// Shard *i* stays on the *i*-th core that this process may use.
    Yes,
    /// Shard *i* stays on the *i*-th core of this list, which starts over when it is shorter.
    Cores(Vec<usize>),
}

impl Value for Pin {
    const HINT: &'static str = "auto|yes|no|CORES";
    const LIST: bool = true;

    fn update(&mut self, text: &str, range: (i64, i64)) -> Result<(), String> {
        let mut switch = false;
        *self = if bool::update(&mut switch, text, range).is_ok() {
            if switch { Self::Yes } else { Self::No }
        } else if text.trim().eq_ignore_ascii_case("auto") {
            Self::Auto
        } else {
            Self::Cores(parse_cores(text).ok_or_else(|| {
                "argument must be 'auto', 'yes', 'no' or a list of cores such as '0,2,4-7'".to_owned()
            })?)
        };
        Ok(())
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::No => "no".to_owned(),
            Self::Yes => "yes".to_owned(),
            Self::Cores(cores) => cores.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
        }
    }
}

/// More cores than any kernel numbers: bounds what a range may expand to.
const CORES_MAX: usize = 4096;

/// Reads `0,2,4-7`; none when it is malformed, empty or beyond [`CORES_MAX`].
pub(super) fn parse_cores(text: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for word in words(text) {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= CORES_MAX || cores.len() > CORES_MAX {
            return None;
        }
        cores.extend(first..=last);
    }
    (!cores.is_empty()).then_some(cores)
}

/// How much unsent output a connection of one class may have; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// A connection with more is closed at once.
    pub hard_bytes: u64,
    /// A connection that stays above this for [`Self::soft_seconds`] is closed.
    pub soft_bytes: u64,
    /// See [`Self::soft_bytes`].
    pub soft_seconds: u64,
}

/// The output limits of the classes of connections that Redis distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Ordinary connections.
    pub normal: OutputLimit,
    /// Replicas.
    pub replica: OutputLimit,
    /// Connections with a subscription.
    pub pubsub: OutputLimit,
}

impl Default for OutputLimits {
    fn default() -> Self {
        let limit =
            |hard_bytes, soft_bytes, soft_seconds| OutputLimit { hard_bytes, soft_bytes, soft_seconds };
        Self {
            normal: limit(0, 0, 0),
            replica: limit(256 << 20, 64 << 20, 60),
            pubsub: limit(32 << 20, 8 << 20, 60),
        }
    }
}

impl Value for OutputLimits {
    const HINT: &'static str = "CLASS HARD SOFT SECONDS";
    const LIST: bool = true;

    /// Changes the classes that `text` names and leaves the others.
    fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
        let words: Vec<_> = words(text).collect();
        let (groups, rest) = words.as_chunks::<4>();
        if groups.is_empty() || !rest.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
        }
        let mut limits = *self;
        for [class, hard, soft, seconds] in groups {
            let limit = match class.to_ascii_lowercase().as_str() {
                "normal" => &mut limits.normal,
                "slave" | "replica" => &mut limits.replica,
                "pubsub" => &mut limits.pubsub,
                _ => return Err("Invalid client class specified in buffer limit configuration.".to_owned()),
            };
            let wrong =
                || "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned();
            *limit = OutputLimit {
                hard_bytes: parse_bytes(hard).ok_or_else(wrong)?,
                soft_bytes: parse_bytes(soft).ok_or_else(wrong)?,
                soft_seconds: seconds.parse().map_err(|_| wrong())?,
            };
        }
        *self = limits;
        Ok(())
    }

    fn show(&self) -> String {
        let class = |name, limit: &OutputLimit| {
            format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
        };
        [class("normal", &self.normal), class("slave", &self.replica), class("pubsub", &self.pubsub)]
            .join(" ")
    }
}

/// When checkpoints are taken by time: each point after so many seconds if there have been so many changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavePoints(pub Vec<SavePoint>);

/// One of [`SavePoints`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// Since the last checkpoint.
    pub seconds: u32,
    /// At least so many, of all shards.
    pub changes: u32,
}

impl Value for SavePoints {
    const HINT: &'static str = "SECONDS CHANGES";
    const LIST: bool = true;

    fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
        let wrong = || "Invalid save parameters".to_owned();
        let words: Vec<_> = words(text.trim_matches('"')).collect();
        let (pairs, rest) = words.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(wrong());
        }
        let point = |[seconds, changes]: &[&str; 2]| {
            let seconds = seconds.parse().ok().filter(|seconds| *seconds > 0)?;
            Some(SavePoint { seconds, changes: changes.parse().ok()? })
        };
        self.0 = pairs.iter().map(point).collect::<Option<_>>().ok_or_else(wrong)?;
        Ok(())
    }

    fn show(&self) -> String {
        let points = self.0.iter().map(|point| format!("{} {}", point.seconds, point.changes));
        points.collect::<Vec<_>>().join(" ")
    }
}

/// A class of keyspace events, or where they are told; a bit of [`EventClasses`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Commands of no type of value: DEL, EXPIRE, RENAME.
    Generic,
    /// Strings.
    String,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Hashes.
    Hash,
    /// Sorted sets.
    SortedSet,
    /// Keys that were removed because their time had come.
    Expired,
    /// Keys that were removed to make room.
    Evicted,
    /// Streams.
    Stream,
    /// Values of modules, of which there are none.
    Module,
    /// Keys that are new; not in `A`.
    New,
    /// On the channel of the key.
    Keyspace,
    /// On the channel of the event.
    Keyevent,
    /// Reads that find nothing; not in `A`.
    Missed,
}

/// Which keyspace events are told, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(u16);

impl EventClasses {
    /// Letters in Redis's order.
    const LETTERS: [(char, Event); 14] = [
        ('g', Event::Generic),
        ('$', Event::String),
        ('l', Event::List),
        ('s', Event::Set),
        ('h', Event::Hash),
        ('z', Event::SortedSet),
        ('x', Event::Expired),
        ('e', Event::Evicted),
        ('t', Event::Stream),
        ('d', Event::Module),
        ('n', Event::New),
        ('K', Event::Keyspace),
        ('E', Event::Keyevent),
        ('m', Event::Missed),
    ];
    /// What `A` stands for: the classes up to and with modules.
    const ALL: u16 = (1 << Event::New as u16) - 1;

    /// Whether a class is told, or a channel used.
    pub const fn contains(self, event: Event) -> bool {
        self.0 & (1 << event as u16) != 0
    }

    /// Nothing is told: no class, or nowhere.
    pub const fn is_off(self) -> bool {
        !(self.contains(Event::Keyspace) || self.contains(Event::Keyevent))
            || self.0 & !(1 << Event::Keyspace as u16 | 1 << Event::Keyevent as u16) == 0
    }
}

impl Value for EventClasses {
    const HINT: &'static str = "LETTERS";

    fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
        let mut bits = 0;
        for letter in text.chars() {
            bits |= match Self::LETTERS.iter().find(|(known, _)| *known == letter) {
                Some((_, event)) => 1 << *event as u16,
                None if letter == 'A' => Self::ALL,
                None => {
                    return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned());
                }
            };
        }
        self.0 = bits;
        Ok(())
    }

    fn show(&self) -> String {
        let all = self.0 & Self::ALL == Self::ALL;
        let shown = Self::LETTERS.iter().filter(|(_, event)| self.contains(*event));
        let listed = |event: Event| !all || 1 << event as u16 & Self::ALL == 0;
        let text: String = shown.filter(|(_, event)| listed(*event)).map(|(letter, _)| *letter).collect();
        if all { format!("A{text}") } else { text }
    }
}

macro_rules! choice {
    ($(#[doc = $doc:expr])+ $ty:ident, $hint:literal { $($(#[doc = $case_doc:expr])+ $case:ident = $text:literal $(| $other:literal)*,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $ty { $($(#[doc = $case_doc])+ $case,)+ }

        impl $ty {
            /// The name of the choice.
            pub fn name(self) -> &'static str {
                match self { $(Self::$case => $text,)+ }
            }
        }

        impl Value for $ty {
            const HINT: &'static str = $hint;

            fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
                *self = match text.to_ascii_lowercase().as_str() {
                    $($text $(| $other)* => Self::$case,)+
                    _ => {
                        return Err(format!(
                            "argument(s) must be one of the following: {}",
                            [$($text),+].join(", ")
                        ));
                    }
                };
                Ok(())
            }

            fn show(&self) -> String {
                self.name().to_owned()
            }
        }
    };
}

impl Value for Durability {
    const HINT: &'static str = "always|everysec|none";

    fn update(&mut self, text: &str, _: (i64, i64)) -> Result<(), String> {
        let choices = [Self::Always, Self::EverySec, Self::None];
        *self = choices
            .into_iter()
            .find(|choice| choice.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| "argument(s) must be one of the following: always, everysec, none".to_owned())?;
        Ok(())
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }
}

choice! {
    /// What happens when memory is short, by Redis's names.
    MaxmemoryPolicy, "volatile-lru|volatile-lfu|volatile-random|volatile-ttl|allkeys-lru|allkeys-lfu|allkeys-random|noeviction" {
        /// Of the keys with an expiry, the one that was not used for the longest time goes.
        VolatileLru = "volatile-lru",
        /// Of the keys with an expiry, the one that is used least often goes.
        VolatileLfu = "volatile-lfu",
        /// Of the keys with an expiry, any goes.
        VolatileRandom = "volatile-random",
        /// The key that would expire next goes.
        VolatileTtl = "volatile-ttl",
        /// The key that was not used for the longest time goes.
        AllkeysLru = "allkeys-lru",
        /// The key that is used least often goes.
        AllkeysLfu = "allkeys-lfu",
        /// Any key goes.
        AllkeysRandom = "allkeys-random",
        /// None goes: commands that need more memory are refused.
        Noeviction = "noeviction",
    }
}

impl MaxmemoryPolicy {
    /// Which keys go; nothing when none do.
    pub fn eviction(self) -> Option<EvictionPolicy> {
        let (volatile, order) = match self {
            Self::VolatileLru => (true, EvictionOrder::Recency),
            Self::VolatileLfu => (true, EvictionOrder::Frequency),
            Self::VolatileRandom => (true, EvictionOrder::Random),
            Self::VolatileTtl => (true, EvictionOrder::TimeToLive),
            Self::AllkeysLru => (false, EvictionOrder::Recency),
            Self::AllkeysLfu => (false, EvictionOrder::Frequency),
            Self::AllkeysRandom => (false, EvictionOrder::Random),
            Self::Noeviction => return None,
        };
        Some(EvictionPolicy { volatile, order })
    }

    /// How accesses to keys are counted for it.
    pub fn access(self) -> Access {
        self.eviction().map_or(Access::Recency, EvictionPolicy::access)
    }
}

choice! {
    /// How shards talk to the kernel.
    IoDriver, "auto|uring|epoll" {
        /// io_uring where it is permitted, else epoll.
        Auto = "auto",
        /// io_uring; where it is not permitted, the start fails.
        Uring = "uring" | "io_uring",
        /// epoll, and helper threads for the disk.
        Epoll = "epoll",
    }
}

choice! {
    /// The least important message that is logged. Redis's names are taken as well.
    LogLevel, "error|warn|info|debug|trace" {
        /// What stops the server or one of its promises.
        Error = "error" | "nothing",
        /// What an operator should look at.
        Warn = "warn" | "warning",
        /// Starts, stops and changes of state.
        Info = "info" | "notice",
        /// What a connection does.
        Debug = "debug" | "verbose",
        /// What a turn does.
        Trace = "trace",
    }
}

choice! {
    /// The shape of a line of the log.
    LogFormat, "text|json" {
        /// For people.
        Text = "text",
        /// One JSON object a line, for collectors.
        Json = "json",
    }
}

//! Every setting of the server: one table from which the file, the environment, the command line, `CONFIG` and the
//! reference in `docs/configuration.md` derive. A setting has one name, in kebab-case, in all of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::value::Value;
pub use super::value::{
    Bind, Event, EventClasses, FileMode, IoDriver, LogFormat, LogLevel, MaxmemoryPolicy, OutputLimit,
    OutputLimits, Period, Pin, SavePoint, SavePoints, Secret,
};
pub use annulus_storage::Durability;

/// More shards than this would leave some without a slot group: 256 groups of 64 slots are dealt out.
pub const SHARDS_MAX: i64 = 256;

/// Whether a setting may change while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `CONFIG SET` changes it.
    Live,
    /// It is fixed at the start.
    Start,
}

/// What is known about a setting, apart from its value.
pub struct Setting {
    /// Its name everywhere: `log-level`, `--log-level`, `ANNULUS_LOG_LEVEL`.
    pub name: &'static str,
    /// What stands for a value in help texts.
    pub hint: &'static str,
    /// What it does: a first sentence, then details.
    pub docs: &'static str,
    /// Whether `CONFIG SET` may change it.
    pub change: Change,
    /// Whether several words make one value.
    pub list: bool,
    pub(super) show: fn(&Settings) -> String,
    pub(super) toml: fn(&Settings) -> String,
    pub(super) update: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Setting {
    /// The environment variable that gives it.
    pub fn variable(&self) -> String {
        format!("ANNULUS_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// The documentation: a summary of one sentence, then details.
    pub fn paragraphs(&self) -> impl Iterator<Item = String> {
        let joined = |paragraph: &str| paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        self.docs.split("\n\n").map(move |paragraph| joined(paragraph.trim()))
    }

    /// Takes a value over, from a text as the file or the command line would give it. An error says what is wrong with it.
    pub fn update(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        (self.update)(settings, text)
    }

    /// The first paragraph of the documentation.
    pub fn summary(&self) -> String {
        self.paragraphs().next().unwrap_or_default()
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:expr])+ $change:ident $name:literal $field:ident: $ty:ty = $default:expr $(, $range:expr)?;)+) => {
        /// The value of every setting.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings { $($(#[doc = $doc])+ pub $field: $ty,)+ }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// Every setting, in the order in which the reference lists them.
        pub static SETTINGS: &[Setting] = &[$(Setting {
            name: $name,
            hint: <$ty as Value>::HINT,
            docs: concat!($($doc, "\n"),+),
            change: Change::$change,
            list: <$ty as Value>::LIST,
            show: |settings| settings.$field.show(),
            toml: |settings| settings.$field.toml(),
            update: |settings, text| {
                #[allow(unused_mut, unused_assignments, reason = "a setting may narrow its type's range")]
                let mut range = <$ty as Value>::RANGE;
                $(range = $range;)?
                settings.$field.update(text, range)
            },
        }),+];
    };
}

settings! {
    /// The TCP port; 0 listens on no TCP port.
    Start "port" port: u16 = 6379;
    /// The addresses to listen on.
    ///
    /// `*` is every IPv4 address and `::*` every IPv6 address; a `-` before an address lets the server start when the
    /// machine does not have it. The default serves this machine only.
    Start "bind" bind: Vec<Bind> = vec![
        Bind { address: IpAddr::V4(Ipv4Addr::LOCALHOST), optional: false },
        Bind { address: IpAddr::V6(Ipv6Addr::LOCALHOST), optional: true },
    ];
    /// The path of a Unix socket to listen on as well.
    Start "unixsocket" unixsocket: Option<PathBuf> = None;
    /// The permissions of the Unix socket, in octal; 0 leaves what the process's mask gives.
    Start "unixsocketperm" unixsocketperm: FileMode = FileMode(0);
    /// The data directory; it is created when it does not exist.
    ///
    /// One server at a time uses it. A directory that another program filled, or a newer version wrote, is refused.
    Start "dir" dir: PathBuf = PathBuf::from("./annulus-data");
    /// What Redis has saved, for a data directory that does not exist yet to begin with: an RDB file, an append-only file, or a directory of such.
    ///
    /// It is imported before the first start is ready (as `annulus import` does). Where `dir` is a data directory already it is not looked at.
    Start "load-from" load_from: Option<PathBuf> = None;
    /// The number of shards, each with a thread, a log and a part of the keys; `auto` is one for each core.
    ///
    /// May change from start to start: keys are taken over from the logs of the old shards.
    Start "shards" shards: usize = super::value::available_cores().min(SHARDS_MAX as usize), (1, SHARDS_MAX);
    /// Which core each shard stays on: `yes` (the cores that the process may use, in order), `no`, a list like `0,2,4-7`, or `auto`.
    ///
    /// `auto` is `yes` where the process has more cores than shards, else `no`: a shard that shares its core with other programs must be able to
    /// leave it, or it waits behind them while others wait for it.
    Start "pin" pin: Pin = Pin::Auto;
    /// When a reply to a write leaves: `always` once it is on disk, `everysec` and `none` at once.
    ///
    /// With `everysec` a crash loses at most about a second of acknowledged writes. With `none` the log is still written,
    /// but nobody asks the disk to keep it: a clean stop loses nothing, a crash an unknown part of the last writes.
    Start "durability" durability: Durability = Durability::Always;
    /// How the server talks to the kernel: `auto` takes io_uring where it is permitted, else epoll.
    ///
    /// `uring` refuses to start where io_uring is not permitted; `annulus doctor` says why that is.
    Start "io-driver" io_driver: IoDriver = IoDriver::Auto;
    /// The number of databases that SELECT can choose from.
    Start "databases" databases: u32 = 16, (1, 16_384);
    /// The most connections at one time; further ones are refused with an error.
    ///
    /// Bounded by the limit of open files, which the server raises as far as it may.
    Live "maxclients" maxclients: u32 = 10_000, (1, 10_000_000);
    /// Seconds after which an idle connection is closed; 0 never closes one.
    Live "timeout" timeout: u32 = 0, (0, i64::from(i32::MAX));
    /// Seconds of silence after which TCP asks whether the peer is still there; 0 never asks.
    Start "tcp-keepalive" tcp_keepalive: u32 = 300, (0, 32_767);
    /// How many connections may wait to be accepted; the kernel bounds it by net.core.somaxconn.
    Start "tcp-backlog" tcp_backlog: u32 = 511, (1, i64::from(i32::MAX));
    /// The password that AUTH and HELLO must give; empty asks for none.
    ///
    /// Prefer the file or the environment: other users of the machine can read the command line.
    Live "requirepass" requirepass: Secret = Secret::default();
    /// Whether connections from other machines are refused as long as there's no password.
    Live "protected-mode" protected_mode: bool = true;
    /// Whether each shard also listens on a port of its own, shown to cluster clients as a node.
    ///
    /// Shard *i* then listens on `port` + 1 + *i*, and CLUSTER SLOTS, SHARDS and NODES name it, so that cluster clients send each command to the core
    /// that owns the key. Every port still takes every command.
    Start "cluster-ports" cluster_ports: bool = false;
    /// The address that CLUSTER SLOTS, SHARDS and NODES name; empty is the address that the client connected to.
    Live "cluster-announce-ip" cluster_announce_ip: Option<IpAddr> = None;
    /// Up to how many fields a hash is kept in one compact piece of memory.
    ///
    /// This and the settings like it change how values are kept from then on, and with it memory and time; never what commands answer, except OBJECT
    /// ENCODING.
    Live "hash-max-listpack-entries" hash_max_listpack_entries: u32 = 512, (0, i64::from(u32::MAX));
    /// Up to how many bytes of a field or a value a hash is kept in one compact piece of memory.
    Live "hash-max-listpack-value" hash_max_listpack_value: u64 = 64, (0, i64::MAX);
    /// How large a piece of a list may be: elements if positive; -1 to -5 are 4, 8, 16, 32 and 64 KiB.
    Live "list-max-listpack-size" list_max_listpack_size: i32 = -2, (i64::from(i32::MIN), i64::from(i32::MAX));
    /// Up to how many members a set of integers is kept as a sorted array.
    Live "set-max-intset-entries" set_max_intset_entries: u32 = 512, (0, i64::from(u32::MAX));
    /// Up to how many members a set is kept in one compact piece of memory.
    Live "set-max-listpack-entries" set_max_listpack_entries: u32 = 128, (0, i64::from(u32::MAX));
    /// Up to how many bytes of a member a set is kept in one compact piece of memory.
    Live "set-max-listpack-value" set_max_listpack_value: u64 = 64, (0, i64::MAX);
    /// Up to how many members a sorted set is kept in one compact piece of memory.
    Live "zset-max-listpack-entries" zset_max_listpack_entries: u32 = 128, (0, i64::from(u32::MAX));
    /// Up to how many bytes of a member a sorted set is kept in one compact piece of memory.
    Live "zset-max-listpack-value" zset_max_listpack_value: u64 = 64, (0, i64::MAX);
    /// Up to how many bytes neighbouring entries of a stream are kept in one piece of memory; 0 is no limit.
    ///
    /// Approximate trims remove whole pieces.
    Live "stream-node-max-bytes" stream_node_max_bytes: u64 = 4096, (0, i64::MAX);
    /// Up to how many entries of a stream are kept in one piece of memory; 0 is no limit.
    Live "stream-node-max-entries" stream_node_max_entries: u32 = 100, (0, i64::from(u32::MAX));
    /// Milliseconds after which whoever would have to wait for a running script is told so with a `BUSY` error; 0 tells at once.
    ///
    /// Until then they wait. From then on SCRIPT KILL is the way out.
    Live "busy-reply-threshold" busy_reply_threshold: u32 = 5000, (0, i64::from(u32::MAX));
    /// How much memory each script under way may take; 0 is no limit.
    ///
    /// A script that wants more fails with `not enough memory`.
    Live "script-memory-max" script_memory_max: u64 = 256 << 20, (0, i64::MAX);
    /// The longest argument of a command.
    Live "proto-max-bulk-len" proto_max_bulk_len: u64 = 512 << 20, (1 << 20, i64::MAX);
    /// The longest sparse form of a HyperLogLog, its header of 16 bytes included; a longer one becomes dense.
    ///
    /// Sparse ones are smaller and slower to add to. From 12304 bytes on dense ones are never larger.
    Live "hll-sparse-max-bytes" hll_sparse_max_bytes: u32 = 3000, (0, i64::from(u32::MAX));
    /// How much unparsed input one connection may have before it is closed.
    Live "client-query-buffer-limit" client_query_buffer_limit: u64 = 1 << 30, (1 << 20, i64::MAX);
    /// How much unsent output a connection of a class may have: a hard limit, a soft one, and its seconds.
    ///
    /// The classes are `normal`, `replica` and `pubsub`; 0 is no limit; classes that are not named keep their limits.
    Live "client-output-buffer-limit" client_output_buffer_limit: OutputLimits = OutputLimits::default();
    /// How much memory keys and values may take; 0 is no limit.
    ///
    /// Every shard has an equal part of it. Counted are entries, tables and what goes with them; buffers of connections and of the log are not, and have limits of
    /// their own.
    Live "maxmemory" maxmemory: u64 = 0, (0, i64::MAX);
    /// What happens when a shard's part of `maxmemory` is used up: which keys are given up, by Redis's names; `noeviction` refuses commands that need memory.
    ///
    /// Among the keys that the policy names, some are looked at and the best of those goes. Keys that are given up are deleted in the log too.
    Live "maxmemory-policy" maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::Noeviction;
    /// How many keys are looked at for each that is given up: more come nearer to the true order, and cost more.
    Live "maxmemory-samples" maxmemory_samples: u32 = 5, (1, 64);
    /// How much the log may grow, in percent of the last checkpoint, before the next one is taken; 0 takes none unasked.
    ///
    /// A shard takes its checkpoint when its log has grown by this much and by its part of `auto-aof-rewrite-min-size`. The names are those of Redis, whose rewriting of
    /// the append-only file is for the same.
    Live "auto-aof-rewrite-percentage" auto_aof_rewrite_percentage: u32 = 100, (0, 1_000_000);
    /// How much the logs of all shards together grow at least before checkpoints are taken: about as much as a start has to replay.
    Live "auto-aof-rewrite-min-size" auto_aof_rewrite_min_size: u64 = 512 << 20, (0, i64::MAX);
    /// When checkpoints are taken by time: pairs of seconds and changes, as in Redis; empty takes none by time.
    ///
    /// `3600 1 300 100` takes one an hour after the last if anything has changed, and five minutes after it if there have been 100 changes. What is acknowledged is on
    /// disk without any: a checkpoint makes the next start faster. If this is not empty, a clean stop takes one too; `SHUTDOWN SAVE` and `SHUTDOWN NOSAVE` say otherwise.
    Live "save" save: SavePoints = SavePoints::default();
    /// How many bytes a second all shards together write at most for checkpoints; 0 is no limit.
    ///
    /// While commits are under way it is an eighth of that, for they share the disk with what checkpoints write; a checkpoint that gets late has half.
    Live "checkpoint-bandwidth" checkpoint_bandwidth: u64 = 256 << 20, (0, i64::MAX);
    /// After how many seconds everything on the disk is read again, to find damage while it can be repaired from memory; 0 never does unasked.
    ///
    /// The first time is so long after a start, which reads everything too. `BGSCRUB` does it at once.
    Live "scrub-interval" scrub_interval: u32 = 604_800;
    /// How many bytes a second all shards together read for that; 0 is no limit.
    ///
    /// While commits are under way it is half of that.
    Live "scrub-bandwidth" scrub_bandwidth: u64 = 32 << 20, (0, i64::MAX);
    /// How long log that checkpoints have made superfluous is kept, for `annulus restore --to`; 0 keeps none.
    ///
    /// Seconds, or with a unit: `90s`, `15m`, `24h`, `7d`. One can go back that far, and up to about twice as far, for what is kept begins with a checkpoint that is
    /// older than that; so about twice the log of that time takes disk space, and up to two more checkpoints of each shard. When the disk is full what is kept gives way. A new value counts from the next
    /// checkpoint on. A start whose newest checkpoint is damaged goes on from what is kept. Logs of another number of shards are kept
    /// until their end is older than that.
    Live "log-retention" log_retention: Period = Period::default(), (0, 100 * 365 * 86_400);
    /// How many bytes of such log all shards together keep at most; 0 is no limit.
    ///
    /// The oldest goes first, up to the next checkpoint that is kept. It is looked at after each checkpoint.
    Live "log-retention-size" log_retention_size: u64 = 0, (0, i64::MAX);
    /// Which keyspace events are told to those who listen to their channels; empty tells none.
    ///
    /// Letters as in Redis: `K` and `E` choose the channels (of the key, of the event), `g$lshzt` classes of commands,
    /// `x` expired and `e` evicted keys, `A` all of these; `m` reads that find nothing, `n` new keys.
    Live "notify-keyspace-events" notify_keyspace_events: EventClasses = EventClasses::default();
    /// The most keys that are remembered for client-side caching; beyond it clients are told to forget some. 0 is no limit.
    Live "tracking-table-max-keys" tracking_table_max_keys: u32 = 1_000_000;
    /// Whether a thread of its own makes memory ready in huge pages, ahead of its use.
    ///
    /// Looking up keys of large keyspaces is up to a third cheaper in them. Up to an eighth more memory is resident than in use.
    /// Needs `/sys/kernel/mm/transparent_hugepage/enabled` at `madvise` or `always`.
    Start "huge-pages" huge_pages: bool = true;
    /// The size of one log file; files are prepared ahead, and reused.
    Start "log-segment-size" log_segment_size: u64 = 64 << 20, (1 << 20, 4 << 30);
    /// How many log writes of one shard may be in flight at once.
    ///
    /// One or two give the lowest latency; more help on disks that need depth.
    Start "commit-depth" commit_depth: u32 = 2, (1, 32);
    /// Microseconds that records wait at most until they fill a block of the log, while others come fast enough to do so.
    ///
    /// Writes take whole blocks of 4096 bytes. With some tens of clients that each wait for their own write, most of a block is
    /// padding; waiting writes fewer and fuller ones, for longer answers where the disk is what limits. Only with
    /// `durability always`; who writes alone or slowly never waits. 0 never waits.
    Start "commit-fill-us" commit_fill_us: u32 = 0, (0, 10_000);
    /// Microseconds for which a shard with recent traffic looks for more before it sleeps; 0 sleeps at once.
    ///
    /// Saves the wake-up of a sleeping core, which costs more than most commands. An idle shard never spins.
    Start "spin-us" spin_us: u32 = 5, (0, 1000);
    /// The least important message that is logged.
    Live "log-level" log_level: LogLevel = LogLevel::Info;
    /// The shape of a line of the log: `text` for people, `json` for collectors.
    Start "log-format" log_format: LogFormat = LogFormat::Text;
    /// The file that the log is appended to; empty is the standard error output.
    Start "logfile" logfile: Option<PathBuf> = None;
}

/// The setting with this name, in any case.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
}

/// Among `names`, the one that `word` was probably meant to be: at most a third of it is different.
pub(super) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    names
        .map(|name| (edit_distance(&word, name), name))
        .filter(|(distance, name)| *distance <= name.len().max(word.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The least number of inserted, removed and replaced bytes that turn one text into the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let cost = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

impl Settings {
    /// Refuses settings that contradict each other.
    pub fn check(&self) -> Result<(), String> {
        if self.port == 0 && self.unixsocket.is_none() {
            return Err("there's nothing to listen on: port is 0 and unixsocket is empty".to_owned());
        }
        self.check_embedded()
    }

    /// The same for shards within a program, which need not listen on anything.
    pub fn check_embedded(&self) -> Result<(), String> {
        if self.port != 0 && self.bind.is_empty() {
            return Err("there's no address to listen on: bind is empty; port 0 serves the Unix socket only"
                .to_owned());
        }
        if self.cluster_ports {
            let last = usize::from(self.port) + self.shards;
            if self.port == 0 {
                return Err("cluster-ports needs a TCP port".to_owned());
            }
            if last > usize::from(u16::MAX) {
                return Err(format!(
                    "cluster-ports needs the ports up to {last}, above 65535: choose a lower port or fewer shards"
                ));
            }
        }
        if !self.log_segment_size.is_multiple_of(4096) {
            return Err(format!("log-segment-size is {}, not a multiple of 4096", self.log_segment_size));
        }
        Ok(())
    }

    /// The port that a shard has of its own, when it has one.
    pub fn shard_port(&self, shard: usize) -> Option<u16> {
        if !self.cluster_ports {
            return None;
        }
        u16::try_from(usize::from(self.port) + 1 + shard).ok()
    }

    /// The settings as a file that gives exactly them.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for setting in SETTINGS {
            text.push_str("# ");
            text.push_str(&setting.summary());
            text.extend(["\n", setting.name, " = ", &(setting.toml)(self), "\n"]);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_takes_back_what_it_shows() {
        for setting in SETTINGS {
            let mut settings = Settings::default();
            let text = (setting.show)(&settings);
            if text.is_empty() {
                continue;
            }
            assert_eq!((setting.update)(&mut settings, &text), Ok(()), "{} = {text}", setting.name);
            assert_eq!(settings, Settings::default(), "{}", setting.name);
        }
    }

    #[test]
    fn names_are_unique_and_summaries_are_sentences() {
        for (i, setting) in SETTINGS.iter().enumerate() {
            assert!(SETTINGS.iter().skip(i + 1).all(|other| other.name != setting.name), "{}", setting.name);
            assert!(setting.summary().ends_with('.'), "{}: {}", setting.name, setting.summary());
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let mut settings = Settings { port: 0, ..Settings::default() };
        assert!(settings.check().unwrap_err().contains("nothing to listen on"));
        settings.unixsocket = Some(PathBuf::from("/tmp/s"));
        assert_eq!(settings.check(), Ok(()));
        settings = Settings { port: 65_530, shards: 8, cluster_ports: true, ..Settings::default() };
        assert!(settings.check().unwrap_err().contains("65538"));
        settings.shards = 5;
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(settings.shard_port(4), Some(65_535));
    }

    #[test]
    fn nearest_name_forgives_a_slip_but_not_another_word() {
        let names = || SETTINGS.iter().map(|setting| setting.name);
        assert_eq!(nearest("max_clients", names()), Some("maxclients"));
        assert_eq!(nearest("durabilty", names()), Some("durability"));
        assert_eq!(nearest("zzzzzzzz", names()), None);
    }
}

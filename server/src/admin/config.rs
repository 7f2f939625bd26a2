//! CONFIG GET and CONFIG SET: our settings by their names, and Redis's names for what is the same here, or is fixed.
//!
//! A name of Redis that stands for something that does not exist here reads as the value that says "off", can be set
//! to that value, and refuses any other: nobody is told that a promise holds when it does not.

use std::fmt;

use super::limits;
use super::settings::{Change, Durability, LogLevel, SETTINGS, Setting, Settings, setting};
use crate::commands::{Case, glob_match};

/// Why CONFIG SET changed nothing; prints as the error reply, in Redis's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// There's no such name.
    Unknown(String),
    /// The value cannot be taken.
    Refused {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(f, "ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            Self::Refused { name, reason } => {
                write!(f, "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

const IMMUTABLE: &str = "can't set immutable config";

/// A value in Redis's words as one in ours.
type Translate = fn(&str) -> Option<String>;

/// A name that only Redis has.
struct Foreign {
    name: &'static str,
    show: fn(&Settings) -> String,
    /// The setting behind it, and how to say a value of it.
    alias: Option<(&'static str, Translate)>,
}

macro_rules! fixed {
    ($($name:literal = $value:literal),+ $(,)?) => {
        [$(Foreign { name: $name, show: |_| $value.to_owned(), alias: None }),+]
    };
}

/// What does not exist here, with the value that says so, or is always so.
static FIXED: &[Foreign] = &fixed![
    "maxmemory-clients" = "0",
    "maxmemory-eviction-tenacity" = "10",
    "lfu-log-factor" = "10",
    "lfu-decay-time" = "1",
    "hz" = "10",
    "dynamic-hz" = "yes",
    "daemonize" = "no",
    "supervised" = "no",
    "pidfile" = "",
    "dbfilename" = "",
    "appenddirname" = "",
    "appendfilename" = "",
    "no-appendfsync-on-rewrite" = "no",
    "stop-writes-on-bgsave-error" = "no",
    "latency-monitor-threshold" = "0",
    "latency-tracking" = "yes",
    "latency-tracking-info-percentiles" = "50 99 99.9",
    "io-threads-do-reads" = "yes",
    "lazyfree-lazy-expire" = "no",
    "lazyfree-lazy-eviction" = "no",
    "lazyfree-lazy-server-del" = "no",
    "lazyfree-lazy-user-del" = "no",
    "lazyfree-lazy-user-flush" = "no",
    "activedefrag" = "no",
    "aclfile" = "",
    "replicaof" = "",
    "slaveof" = "",
    "masterauth" = "",
    "masteruser" = "",
    "replica-read-only" = "yes",
    "slave-read-only" = "yes",
    "min-replicas-to-write" = "0",
    "min-slaves-to-write" = "0",
    "repl-backlog-size" = "0",
    "repl-timeout" = "60",
    "cluster-announce-port" = "0",
    "cluster-require-full-coverage" = "yes",
    "cluster-node-timeout" = "15000",
    "tls-port" = "0",
    "loadmodule" = "",
    "syslog-enabled" = "no",
    "always-show-logo" = "no",
    "enable-debug-command" = "yes",
    "enable-module-command" = "no",
    "disable-thp" = "no",
    "oom-score-adj" = "no",
];

/// What is said otherwise here.
static TRANSLATED: &[Foreign] = &[
    Foreign {
        name: "appendonly",
        show: |settings| yes_no(settings.durability != Durability::None),
        alias: None,
    },
    Foreign {
        name: "appendfsync",
        show: |settings| {
            match settings.durability {
                Durability::Always => "always",
                Durability::EverySec => "everysec",
                Durability::None => "no",
            }
            .to_owned()
        },
        alias: None,
    },
    Foreign { name: "cluster-enabled", show: |settings| yes_no(settings.cluster_ports), alias: None },
    Foreign { name: "io-threads", show: |settings| settings.shards.to_string(), alias: None },
    // The older name.
    Foreign {
        name: "lua-time-limit",
        show: |settings| settings.busy_reply_threshold.to_string(),
        alias: Some(("busy-reply-threshold", |limit| Some(limit.to_owned()))),
    },
    Foreign {
        name: "loglevel",
        show: |settings| {
            match settings.log_level {
                LogLevel::Error | LogLevel::Warn => "warning",
                LogLevel::Info => "notice",
                LogLevel::Debug => "verbose",
                LogLevel::Trace => "debug",
            }
            .to_owned()
        },
        alias: Some(("log-level", |level| match level.to_ascii_lowercase().as_str() {
            "warning" => Some("warn".to_owned()),
            "notice" => Some("info".to_owned()),
            "verbose" => Some("debug".to_owned()),
            "debug" => Some("trace".to_owned()),
            _ => None,
        })),
    },
];

fn yes_no(switch: bool) -> String {
    if switch { "yes" } else { "no" }.to_owned()
}

fn foreign(name: &str) -> Option<&'static Foreign> {
    TRANSLATED.iter().chain(FIXED).find(|foreign| foreign.name.eq_ignore_ascii_case(name))
}

impl Settings {
    /// The names and values that any of the glob patterns matches, in any case, each once, sorted by name.
    pub fn config_get(&self, patterns: &[&[u8]]) -> Vec<(&'static str, String)> {
        let asked = |name: &str| {
            patterns.iter().any(|pattern| glob_match(pattern, name.as_bytes(), Case::Insensitive))
        };
        let ours = SETTINGS.iter().filter(|row| asked(row.name)).map(|row| (row.name, (row.show)(self)));
        let theirs = TRANSLATED.iter().chain(FIXED).filter(|row| asked(row.name));
        let mut found: Vec<_> = ours.chain(theirs.map(|row| (row.name, (row.show)(self)))).collect();
        found.sort_unstable();
        found
    }

    /// Changes all of the named settings, or none. Gives those that have changed, for whoever keeps a copy.
    pub fn config_set(&mut self, pairs: &[(&[u8], &[u8])]) -> Result<Vec<&'static Setting>, ConfigError> {
        let mut next = self.clone();
        let mut seen: Vec<&'static str> = Vec::new();
        let mut touched: Vec<&'static Setting> = Vec::new();
        for (name, value) in pairs {
            let name = String::from_utf8_lossy(name);
            let target = Target::of(&name).ok_or_else(|| ConfigError::Unknown(name.to_string()))?;
            let refused = |reason: String| ConfigError::Refused { name: target.name().to_owned(), reason };
            if seen.contains(&target.name()) {
                return Err(refused("duplicate parameter".to_owned()));
            }
            seen.push(target.name());
            let text =
                std::str::from_utf8(value).map_err(|_| refused("argument must be UTF-8 text".to_owned()))?;
            touched.extend(target.apply(&mut next, text).map_err(refused)?);
        }
        let contradiction = |reason| ConfigError::Refused {
            name: touched.last().map(|row| row.name).unwrap_or_default().to_owned(),
            reason,
        };
        // What to listen on was decided at the start.
        next.check_embedded().map_err(contradiction)?;
        next.fit_maxclients(self.maxclients)?;
        let before = std::mem::replace(self, next);
        touched.retain(|row| (row.show)(self) != (row.show)(&before));
        Ok(touched)
    }

    /// Refuses more connections than the limit of open files has room for.
    fn fit_maxclients(&self, before: u32) -> Result<(), ConfigError> {
        if self.maxclients <= before {
            return Ok(());
        }
        let room = limits::raise_file_limit(self);
        if room >= self.maxclients {
            return Ok(());
        }
        Err(ConfigError::Refused {
            name: "maxclients".to_owned(),
            reason: format!(
                "The operating system is not able to handle the specified number of clients, try with {room}"
            ),
        })
    }
}

/// What a name in CONFIG SET stands for.
enum Target {
    Ours(&'static Setting),
    Theirs(&'static Foreign),
}

impl Target {
    fn of(name: &str) -> Option<Self> {
        setting(name).map(Self::Ours).or_else(|| foreign(name).map(Self::Theirs))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Ours(row) => row.name,
            Self::Theirs(row) => row.name,
        }
    }

    /// Changes `settings`; gives the setting that was touched, if any.
    fn apply(&self, settings: &mut Settings, text: &str) -> Result<Option<&'static Setting>, String> {
        match self {
            Self::Ours(row) if row.change == Change::Start => Err(IMMUTABLE.to_owned()),
            Self::Ours(row) => (row.update)(settings, text).map(|()| Some(*row)),
            Self::Theirs(Foreign { alias: Some((name, translate)), .. }) => {
                let row = setting(name).ok_or_else(|| IMMUTABLE.to_owned())?;
                let text = translate(text).ok_or_else(|| {
                    "argument(s) must be one of the following: debug, verbose, notice, warning".to_owned()
                })?;
                (row.update)(settings, &text).map(|()| Some(row))
            }
            Self::Theirs(row) if text.trim().eq_ignore_ascii_case(&(row.show)(settings)) => Ok(None),
            Self::Theirs(_) => Err(IMMUTABLE.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(settings: &mut Settings, pairs: &[(&str, &str)]) -> Result<Vec<&'static str>, String> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let changed = settings.config_set(&pairs).map_err(|error| error.to_string())?;
        Ok(changed.iter().map(|row| row.name).collect())
    }

    #[test]
    fn refusals_are_redis_texts_and_change_nothing() {
        let failed = |name, reason| {
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
        };
        let cases: &[(&[(&str, &str)], String)] = &[
            (
                &[("nosuch", "1")],
                "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'".into(),
            ),
            (
                &[("timeout", "5"), ("NoSuch", "6")],
                "ERR Unknown option or number of arguments for CONFIG SET - 'NoSuch'".into(),
            ),
            (&[("MAXCLIENTS", "abc")], failed("maxclients", "argument couldn't be parsed into an integer")),
            (&[("timeout", "1"), ("timeout", "2")], failed("timeout", "duplicate parameter")),
            (&[("databases", "4")], failed("databases", IMMUTABLE)),
            (&[("timeout", "-1")], failed("timeout", "argument must be between 0 and 2147483647 inclusive")),
            (
                &[("proto-max-bulk-len", "5")],
                failed(
                    "proto-max-bulk-len",
                    "argument must be between 1048576 and 9223372036854775807 inclusive",
                ),
            ),
            (
                &[("client-query-buffer-limit", "12zz")],
                failed("client-query-buffer-limit", "argument must be a memory value"),
            ),
            (&[("protected-mode", "maybe")], failed("protected-mode", "argument must be 'yes' or 'no'")),
            (
                &[("client-output-buffer-limit", "normal 1 2")],
                failed(
                    "client-output-buffer-limit",
                    "Wrong number of arguments in buffer limit configuration.",
                ),
            ),
            (
                &[("client-output-buffer-limit", "slave 1 2 x")],
                failed(
                    "client-output-buffer-limit",
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
                ),
            ),
            (
                &[("loglevel", "foo")],
                failed(
                    "loglevel",
                    "argument(s) must be one of the following: debug, verbose, notice, warning",
                ),
            ),
            (&[("appendonly", "no")], failed("appendonly", IMMUTABLE)),
            (&[("maxmemory", "100zz")], failed("maxmemory", "argument must be a memory value")),
        ];
        for (pairs, text) in cases {
            let mut settings = Settings::default();
            assert_eq!(set(&mut settings, pairs).as_ref(), Err(text), "{pairs:?}");
            assert_eq!(settings, Settings::default(), "{pairs:?}");
        }
    }

    #[test]
    fn changes_are_taken_together_and_named() {
        let mut settings = Settings::default();
        let changed =
            set(&mut settings, &[("Timeout", "9"), ("loglevel", "verbose"), ("protected-mode", "yes")]);
        assert_eq!(changed, Ok(vec!["timeout", "log-level"]));
        assert_eq!((settings.timeout, settings.log_level), (9, LogLevel::Debug));
        assert_eq!(
            set(&mut settings, &[("client-output-buffer-limit", "normal 10mb 1mb 5")]).map(|x| x.len()),
            Ok(1)
        );
        let shown = settings.config_get(&[b"client-output-buffer-limit"]);
        assert_eq!(
            shown[0].1,
            "normal 10485760 1048576 5 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
        );
    }

    #[test]
    fn what_redis_tools_set_at_their_start_is_taken_when_it_is_so_already() {
        let mut settings = Settings::default();
        let pairs = [
            ("save", ""),
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("maxmemory-policy", "noeviction"),
        ];
        assert_eq!(set(&mut settings, &pairs), Ok(vec![]));
    }

    #[test]
    fn get_answers_patterns_in_any_case_each_name_once() {
        let settings = Settings { durability: Durability::None, ..Settings::default() };
        let found = settings.config_get(&[b"SAVE", b"append?nly", b"save"]);
        assert_eq!(found, [("appendonly", "no".to_owned()), ("save", String::new())]);
        let all = settings.config_get(&[b"*"]);
        assert_eq!(all.len(), SETTINGS.len() + TRANSLATED.len() + FIXED.len());
        assert!(all.is_sorted() && all.iter().any(|(name, _)| *name == "maxclients"));
        assert!(settings.config_get(&[b"nosuch"]).is_empty());
    }

    #[test]
    fn no_name_of_redis_hides_one_of_ours() {
        for row in TRANSLATED.iter().chain(FIXED) {
            assert!(setting(row.name).is_none(), "{}", row.name);
            if let Some((name, _)) = row.alias {
                assert!(setting(name).is_some_and(|row| row.change == Change::Live), "{name}");
            }
        }
    }

    #[test]
    fn more_connections_than_files_are_refused_with_what_fits() {
        let mut settings = Settings::default();
        let error = set(&mut settings, &[("maxclients", "10000000")]);
        // A machine without a limit of open files would take it.
        if let Err(text) = error {
            assert!(
                text.contains("argument 'maxclients') - The operating system is not able to handle"),
                "{text}"
            );
            assert_eq!(settings.maxclients, 10_000);
        }
    }
}

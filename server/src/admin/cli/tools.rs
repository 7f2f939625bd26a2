//! The command line of the tools.

use std::path::PathBuf;

use annulus_storage::{Lsn, ShardId};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::admin::moment;
use crate::admin::settings::Settings;
use crate::admin::tools::{Dump, Import, Limit, Tool};

/// The tools, in the order of the help.
pub(super) fn commands() -> Vec<Command> {
    let mut commands = vec![check(), dump(), repair(), restore(), backup(), import(), export()];
    #[cfg(feature = "migrate")]
    commands.push(migrate());
    commands
}

fn path(name: &'static str, help: &'static str) -> Arg {
    let parser = clap::value_parser!(PathBuf);
    Arg::new(name).value_name(name).value_parser(parser).required(true).help(help)
}

fn dir() -> Arg {
    path("DIR", "The data directory")
}

fn only(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn check() -> Command {
    Command::new("check")
        .about("Read all of a data directory, and say exactly what is wrong with it; changes nothing")
        .visible_alias("scrub")
        .after_help(
            "Exit code: 0 it is whole, 1 a server starts and does without what is damaged, 2 a start is refused, \
             or the directory cannot be read.",
        )
        .arg(dir())
}

fn dump() -> Command {
    let number = || clap::value_parser!(u16);
    Command::new("dump")
        .about("Print the keys of a data directory with their values, or what its logs say; changes nothing")
        .arg(dir())
        .arg(flag("log", "Print the newest logs record by record"))
        .arg(only("shard", "N", "Only of this shard").value_parser(number()))
        .arg(only("database", "N", "Only of this database").value_parser(number()))
        .arg(only("match", "PATTERN", "Only keys that match, as in KEYS"))
        .arg(flag("full", "Do not shorten long values"))
}

fn repair() -> Command {
    Command::new("repair")
        .about("Say what a damaged data directory has lost; with --yes make a new one of what is left")
        .long_about(
            "Says what a damaged data directory has lost, and what is left. With --yes a new directory is made of \
             what is left and takes the place of the damaged one, which is kept, as it is, under another name \
             beside it. Needs disk space for both.",
        )
        .after_help("Exit code: 0 nothing is damaged, or it is repaired; 1 it can be; 2 it cannot.")
        .arg(dir())
        .arg(flag("yes", "Repair it"))
}

fn restore() -> Command {
    let to = only(
        "to",
        "TIME|SHARD=LSN",
        "Take nothing that was done after this: a time (RFC 3339), or effects of logs, which `annulus dump --log` prints",
    );
    Command::new("restore")
        .about("Make a new data directory of what a backup, or another data directory, holds")
        .arg(dir())
        .arg(path("NEWDIR", "The directory to make; it must not exist, or be empty"))
        .arg(to.visible_alias("until").action(ArgAction::Append).value_parser(parse_limit))
}

fn backup() -> Command {
    let command = Command::new("backup")
        .about("Check a data directory, and copy what a start needs of it; a second copy takes what is new")
        .arg(dir())
        .arg(path("TARGET", "Where to: a new or empty directory, or an older backup of the same"));
    #[cfg(feature = "migrate")]
    let command = command
        .long_about(
            "Checks a data directory, and copies what a start needs of it; a second copy takes what is new. With --from a server may use the \
             directory meanwhile: the copy has everything that was acknowledged when it began, and no transaction by halves.",
        )
        .after_help(
            "A URL: redis://[user][:password@]host[:port], rediss:// for TLS (with ?ca=FILE), or unix:///path. The server is on this machine: \
             its files are read here.",
        )
        .arg(only("from", "URL", "The server that uses the directory"))
        .arg(
            only("bandwidth", "BYTES", "Bytes a second that are copied or compared at most, such as 100mb [default: no limit]")
                .requires("from")
                .value_parser(parse_bandwidth),
        );
    command
}

#[cfg(feature = "migrate")]
fn parse_bandwidth(text: &str) -> Result<u64, &'static str> {
    crate::admin::value::parse_bytes(text).ok_or("a number of bytes such as 100mb is expected")
}

fn import() -> Command {
    Command::new("import")
        .about("Make a new data directory of what Redis has saved: an RDB file, or append-only files")
        .long_about(
            "Makes a new data directory of an RDB file (Redis 2.4 to 7.4), of an append-only file, or of a directory of append-only \
             files (appendonlydir). Nothing is left of it when that cannot be done. What the files hold must be whole, \
             but for a last command in the append-only file that was cut off.",
        )
        .arg(path("SOURCE", "The RDB file, the append-only file, or the directory of such"))
        .arg(path("NEWDIR", "The directory to make; it must not exist, or be empty"))
        .arg(
            only("shards", "N", "Shards of the new directory; a server may start with another number [default: one for each core]")
                .value_parser(clap::value_parser!(u16).range(1..=256)),
        )
        .arg(
            only("databases", "N", "Databases, if the source does not need more [default: 16]")
                .value_parser(clap::value_parser!(u16).range(1..=16384)),
        )
}

fn export() -> Command {
    Command::new("export")
        .about("Write everything that a data directory holds into an RDB file, for redis-server 7.0 or later")
        .arg(dir())
        .arg(path("FILE", "The file to make; it must not exist"))
}

#[cfg(feature = "migrate")]
fn migrate() -> Command {
    Command::new("migrate")
        .about("Copy keys from one server to another, Redis or Annulus, while both serve")
        .long_about(
            "Copies keys, their expiry and libraries of functions from one server to another. Keys that the target has already are \
             replaced. What is written at the source meanwhile may be missed: let nobody write there, or copy again.",
        )
        .after_help(
            "A URL: redis://[user][:password@]host[:port][/database], rediss:// for TLS (with ?ca=FILE), or unix:///path[?db=N]. Without a \
             database all are taken.\n\nExit code: 0 everything was copied, 1 some keys were refused, 2 it could not be done.",
        )
        .arg(only("from", "URL", "The server to read from").required(true))
        .arg(only("to", "URL", "The server to write to").required(true))
        .arg(only("match", "PATTERN", "Only keys that match, as in KEYS"))
}

fn parse_limit(text: &str) -> Result<Limit, String> {
    let place = text
        .split_once('=')
        .and_then(|(shard, lsn)| Some(Limit::Log(ShardId(shard.parse().ok()?), Lsn(lsn.parse().ok()?))));
    place.or_else(|| moment::parse(text).map(Limit::Time)).ok_or_else(|| {
        "a time such as 2026-11-21T23:00:05Z is expected, or a shard's number, '=' and an LSN".to_owned()
    })
}

/// What the arguments of a tool ask for.
pub(super) fn tool(name: &str, matches: &ArgMatches) -> Tool {
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned().unwrap_or_default();
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let number = |name: &str| matches.get_one::<u16>(name).copied();
    // Not every tool has one.
    let dir = matches.try_get_one::<PathBuf>("DIR").ok().flatten().cloned().unwrap_or_default();
    match name {
        "check" => Tool::Check { dir },
        "dump" => Tool::Dump {
            dir,
            what: Dump {
                log: matches.get_flag("log"),
                shard: number("shard").map(ShardId),
                database: number("database"),
                pattern: text("match"),
                full: matches.get_flag("full"),
            },
        },
        "repair" => Tool::Repair { dir, yes: matches.get_flag("yes") },
        "restore" => {
            let limits = matches.get_many::<Limit>("to").into_iter().flatten().copied().collect();
            Tool::Restore { dir, target: path("NEWDIR"), limits }
        }
        "import" => Tool::Import(Import {
            source: path("SOURCE"),
            target: path("NEWDIR"),
            shards: number("shards").unwrap_or(Settings::default().shards as u16),
            databases: number("databases").unwrap_or(Settings::default().databases as u16),
        }),
        "export" => Tool::Export { dir, file: path("FILE") },
        #[cfg(feature = "migrate")]
        "migrate" => Tool::Migrate(crate::admin::tools::Migrate {
            from: text("from").unwrap_or_default(),
            to: text("to").unwrap_or_default(),
            pattern: text("match"),
        }),
        _ => {
            let target = path("TARGET");
            #[cfg(feature = "migrate")]
            if let Some(from) = text("from") {
                let bandwidth = matches.get_one::<u64>("bandwidth").copied().unwrap_or(0);
                return Tool::BackupOnline {
                    dir,
                    target,
                    online: crate::admin::tools::Online { from, bandwidth },
                };
            }
            Tool::Backup { dir, target }
        }
    }
}

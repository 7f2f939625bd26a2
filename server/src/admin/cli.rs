//! The command line: `annulus [serve] [--SETTING VALUE]…`, `annulus doctor`, and the tools for data directories. One option for each row of the
//! settings table.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use annulus_storage::{Lsn, ShardId};
use clap::builder::{PossibleValuesParser, ValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::load::{CONFIG_FILE, LoadError, Loaded, load};
use super::moment;
use super::settings::{SETTINGS, Setting, Settings, setting};
use super::tools::{Dump, Import, Limit, Tool};

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Serve with these settings.
    Serve(Loaded),
    /// Print these settings as a file.
    PrintConfig(Settings),
    /// Examine the machine for a server with these settings.
    Doctor(Loaded),
    /// Work on a data directory that no server uses.
    Tool(Tool),
}

/// Why the command line asks for nothing that can be done.
#[derive(Debug)]
pub enum CliError {
    /// The arguments are wrong, or ask for help: prints itself, and knows its exit code.
    Arguments(clap::Error),
    /// The settings are wrong.
    Settings(LoadError),
}

/// Reads the arguments, the first of which is the program's name.
pub fn parse(
    arguments: impl Iterator<Item = OsString>,
    environment: &[(String, String)],
) -> Result<Action, CliError> {
    let matches = command().try_get_matches_from(join_lists(arguments)).map_err(CliError::Arguments)?;
    match matches.subcommand() {
        Some(("doctor", inner)) => Ok(Action::Doctor(loaded(inner, environment)?)),
        Some((name, inner)) if name != "serve" => Ok(Action::Tool(tool(name, inner))),
        Some((_, inner)) => serve(inner, environment),
        None => serve(&matches, environment),
    }
}

fn serve(matches: &ArgMatches, environment: &[(String, String)]) -> Result<Action, CliError> {
    let loaded = loaded(matches, environment)?;
    Ok(if matches.get_flag("print-config") {
        Action::PrintConfig(loaded.settings)
    } else {
        Action::Serve(loaded)
    })
}

fn loaded(matches: &ArgMatches, environment: &[(String, String)]) -> Result<Loaded, CliError> {
    let given = |row: &'static Setting| {
        // `annulus doctor` knows a few of the options only.
        let words: Vec<&str> = matches.try_get_many::<String>(row.name).ok()??.map(String::as_str).collect();
        Some((row, words.join(" ")))
    };
    let options: Vec<_> = SETTINGS.iter().filter_map(given).collect();
    let config = matches.get_one::<PathBuf>("config").map(PathBuf::as_path);
    load(config, environment, &options).map_err(|error| match error {
        LoadError::Option { name, message } => {
            let text = format!("invalid value for '--{name}': {message}\n");
            CliError::Arguments(command().error(ErrorKind::ValueValidation, text))
        }
        error => CliError::Settings(error),
    })
}

/// Redis's way to write a list, `--bind 127.0.0.1 -::1`, in one argument: an address may begin with a hyphen, so
/// only an option's two hyphens end the list.
fn join_lists(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let is_list = |argument: &OsString| {
        let name = argument.to_str().and_then(|text| text.strip_prefix("--"));
        name.and_then(setting).is_some_and(|row| row.list)
    };
    let mut joined: Vec<OsString> = Vec::new();
    let mut words: Option<Vec<OsString>> = None;
    // An option without any word stays so: clap says what is missing.
    let join = |words: Vec<OsString>| (!words.is_empty()).then(|| words.join(OsStr::new(" ")));
    for argument in arguments {
        let is_option = argument.to_str().is_some_and(|text| text.starts_with("--"));
        match &mut words {
            Some(list) if !is_option => list.push(argument),
            _ => {
                joined.extend(words.take().and_then(join));
                words = is_list(&argument).then(Vec::new);
                joined.push(argument);
            }
        }
    }
    joined.extend(words.and_then(join));
    joined
}

fn command() -> Command {
    Command::new("annulus")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A Redis-compatible key-value store: one shard per core, durable before it answers")
        .long_about(
            "A Redis-compatible key-value store: one shard per core, durable before it answers.\n\n\
             Without a command, annulus serves. A setting has the same name on the command line, in the file (annulus.toml) \
             and in the environment (ANNULUS_LOG_LEVEL for --log-level); the command line wins over the environment, \
             and that over the file.",
        )
        .args_conflicts_with_subcommands(true)
        .args(arguments(true))
        .arg(print_config())
        .subcommand(Command::new("serve").about("Serve (the default)").args(arguments(true)).arg(print_config()))
        .subcommand(
            Command::new("doctor")
                .about("Say what this machine lets the server do, and what it costs where it does not")
                .after_help("Exit code: 0 all is well, 1 there are warnings, 2 the server cannot run here.")
                .args(arguments(false)),
        )
        .subcommands(tools())
}

/// The tools for data directories, all for such as no server uses.
fn tools() -> Vec<Command> {
    let path = |name: &'static str, help: &'static str| {
        let parser = clap::value_parser!(PathBuf);
        Arg::new(name).value_name(name).value_parser(parser).required(true).help(help)
    };
    let dir = || path("DIR", "The data directory");
    let only = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let number = clap::value_parser!(u16);
    vec![
        Command::new("check")
            .about("Read all of a data directory, and say exactly what is wrong with it; changes nothing")
            .visible_alias("scrub")
            .after_help(
                "Exit code: 0 it is whole, 1 a server starts and does without what is damaged, 2 a start is refused, \
                 or the directory cannot be read.",
            )
            .arg(dir()),
        Command::new("dump")
            .about("Print the keys of a data directory with their values, or what its logs say; changes nothing")
            .arg(dir())
            .arg(Arg::new("log").long("log").action(ArgAction::SetTrue).help("Print the newest logs record by record"))
            .arg(only("shard", "N", "Only of this shard").value_parser(number))
            .arg(only("database", "N", "Only of this database").value_parser(number))
            .arg(only("match", "PATTERN", "Only keys that match, as in KEYS"))
            .arg(Arg::new("full").long("full").action(ArgAction::SetTrue).help("Do not shorten long values")),
        Command::new("repair")
            .about("Say what a damaged data directory has lost; with --yes make a new one of what is left")
            .long_about(
                "Says what a damaged data directory has lost, and what is left. With --yes a new directory is made of \
                 what is left and takes the place of the damaged one, which is kept, as it is, under another name \
                 beside it. Needs disk space for both.",
            )
            .after_help("Exit code: 0 nothing is damaged, or it is repaired; 1 it can be; 2 it cannot.")
            .arg(dir())
            .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Repair it")),
        Command::new("restore")
            .about("Make a new data directory of what a backup, or another data directory, holds")
            .arg(dir())
            .arg(path("NEWDIR", "The directory to make; it must not exist, or be empty"))
            .arg(
                only("to", "TIME|SHARD=LSN", "Take nothing that was done after this: a time (RFC 3339), or effects of logs, which `annulus dump --log` prints")
                    .visible_alias("until")
                    .action(ArgAction::Append)
                    .value_parser(parse_limit),
            ),
        backup(dir(), path("TARGET", "Where to: a new or empty directory, or an older backup of the same")),
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
            ),
        Command::new("export")
            .about("Write everything that a data directory holds into an RDB file, for redis-server 7.0 or later")
            .arg(dir())
            .arg(path("FILE", "The file to make; it must not exist")),
        #[cfg(feature = "migrate")]
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
            .arg(only("match", "PATTERN", "Only keys that match, as in KEYS")),
    ]
}

fn backup(dir: Arg, target: Arg) -> Command {
    let command = Command::new("backup")
        .about("Check a data directory, and copy what a start needs of it; a second copy takes what is new")
        .arg(dir)
        .arg(target);
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
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("URL")
                .help("The server that uses the directory"),
        )
        .arg(
            Arg::new("bandwidth")
                .long("bandwidth")
                .value_name("BYTES")
                .requires("from")
                .value_parser(|text: &str| super::value::parse_bytes(text).ok_or("a number of bytes such as 100mb is expected"))
                .help("Bytes a second that are copied at most, such as 100mb [default: no limit]"),
        );
    command
}

fn parse_limit(text: &str) -> Result<Limit, String> {
    let place = text
        .split_once('=')
        .and_then(|(shard, lsn)| Some(Limit::Log(ShardId(shard.parse().ok()?), Lsn(lsn.parse().ok()?))));
    place.or_else(|| moment::parse(text).map(Limit::Time)).ok_or_else(|| {
        "a time such as 2026-11-21T23:00:05Z is expected, or a shard's number, '=' and an LSN".to_owned()
    })
}

fn tool(name: &str, matches: &ArgMatches) -> Tool {
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned().unwrap_or_default();
    // Not every tool has one.
    let dir = matches.try_get_one::<PathBuf>("DIR").ok().flatten().cloned().unwrap_or_default();
    match name {
        "check" => Tool::Check { dir },
        "dump" => Tool::Dump {
            dir,
            what: Dump {
                log: matches.get_flag("log"),
                shard: matches.get_one::<u16>("shard").copied().map(ShardId),
                database: matches.get_one::<u16>("database").copied(),
                pattern: matches.get_one::<String>("match").cloned(),
                full: matches.get_flag("full"),
            },
        },
        "repair" => Tool::Repair { dir, yes: matches.get_flag("yes") },
        "restore" => {
            let limits = matches.get_many::<Limit>("to").into_iter().flatten().copied().collect();
            Tool::Restore { dir, target: path("NEWDIR"), limits }
        }
        "import" => {
            let number = |name: &str| matches.get_one::<u16>(name).copied();
            Tool::Import(Import {
                source: path("SOURCE"),
                target: path("NEWDIR"),
                shards: number("shards").unwrap_or(Settings::default().shards as u16),
                databases: number("databases").unwrap_or(Settings::default().databases as u16),
            })
        }
        "export" => Tool::Export { dir, file: path("FILE") },
        #[cfg(feature = "migrate")]
        "migrate" => {
            let text = |name: &str| matches.get_one::<String>(name).cloned();
            Tool::Migrate(super::tools::Migrate {
                from: text("from").unwrap_or_default(),
                to: text("to").unwrap_or_default(),
                pattern: text("match"),
            })
        }
        _ => {
            let target = path("TARGET");
            #[cfg(feature = "migrate")]
            if let Some(from) = matches.get_one::<String>("from").cloned() {
                let bandwidth = matches.get_one::<u64>("bandwidth").copied().unwrap_or(0);
                return Tool::BackupOnline { dir, target, online: super::tools::Online { from, bandwidth } };
            }
            Tool::Backup { dir, target }
        }
    }
}

fn print_config() -> Arg {
    Arg::new("print-config")
        .long("print-config")
        .action(ArgAction::SetTrue)
        .help("Print the settings in force as a file, the password among them, and exit")
}

/// The settings that `annulus doctor` looks at.
const EXAMINED: &[&str] = &["dir", "shards", "maxclients", "durability", "io-driver", "tcp-backlog"];

fn arguments(all: bool) -> Vec<Arg> {
    let config = Arg::new("config")
        .long("config")
        .short('c')
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help(format!("The settings file [default: ./{CONFIG_FILE} where it exists] [env: ANNULUS_CONFIG]"));
    let wanted = |row: &&Setting| all || EXAMINED.contains(&row.name);
    std::iter::once(config).chain(SETTINGS.iter().filter(wanted).map(argument)).collect()
}

fn argument(row: &'static Setting) -> Arg {
    let default = (row.show)(&Settings::default());
    let default = if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
    let details = row.paragraphs().collect::<Vec<_>>().join("\n\n");
    let argument = Arg::new(row.name)
        .long(row.name)
        .value_name(row.hint)
        .help(format!("{}{default}", row.summary()))
        .long_help(format!("{details}{default} [env: {}]", row.variable()))
        .value_parser(parser(row));
    if row.list {
        return argument.action(ArgAction::Append).allow_hyphen_values(true);
    }
    argument.allow_negative_numbers(true)
}

/// Checks a value where it stands, so that clap names the option and the value. Lists are checked as a whole, later.
fn parser(row: &'static Setting) -> ValueParser {
    let choices: Vec<&str> = row.hint.split('|').collect();
    if row.list {
        return ValueParser::string();
    }
    if choices.len() > 2 && choices.iter().all(|choice| choice.chars().all(char::is_lowercase)) {
        return PossibleValuesParser::new(choices).into();
    }
    let check = move |text: &str| -> Result<String, String> {
        (row.update)(&mut Settings::default(), text).map(|()| text.to_owned())
    };
    ValueParser::from(check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::settings::{Durability, IoDriver};

    fn run(line: &str) -> Result<Action, CliError> {
        let arguments = std::iter::once("annulus").chain(line.split_whitespace()).map(OsString::from);
        // An empty file stands for the one that a working directory may hold.
        parse(arguments, &[("ANNULUS_CONFIG".to_owned(), "/dev/null".to_owned())])
    }

    fn served(line: &str) -> Settings {
        match run(line) {
            Ok(Action::Serve(loaded)) => loaded.settings,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: &str) -> (i32, String) {
        match run(line) {
            Err(CliError::Arguments(error)) => (error.exit_code(), error.to_string()),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn serving_is_what_happens_without_a_command() {
        assert_eq!(served(""), Settings::default());
        assert_eq!(served("--port 7000").port, 7000);
        assert_eq!(
            served("serve --port 7000 --durability everysec --io-driver epoll"),
            Settings {
                port: 7000,
                durability: Durability::EverySec,
                io_driver: IoDriver::Epoll,
                ..Settings::default()
            }
        );
        assert!(served("--cluster-ports yes").cluster_ports);
        assert_eq!(served("--requirepass=--x").requirepass.reveal(), Some("--x"));
    }

    #[test]
    fn lists_are_written_as_in_redis() {
        let settings =
            served("--bind 127.0.0.1 -::1 --client-output-buffer-limit normal 1mb 0 0 --port 7000");
        assert_eq!((settings.bind.len(), settings.port), (2, 7000));
        assert!(settings.bind[1].optional);
        assert_eq!(settings.client_output_buffer_limit.normal.hard_bytes, 1 << 20);
        assert_eq!(served("--bind 10.0.0.1 --bind 10.0.0.2").bind.len(), 2);
        assert_eq!(refused("--bind").0, 2);
        let (code, text) = refused("--bind nowhere");
        assert!(code == 2 && text.contains("'--bind'") && text.contains("'nowhere'"), "{text}");
    }

    #[test]
    fn a_wrong_argument_is_explained_and_exits_with_2() {
        let (code, text) = refused("--prot 7000");
        assert!(code == 2 && text.contains("--port"), "{text}");
        let (code, text) = refused("--port 70000");
        assert!(code == 2 && text.contains("between 0 and 65535"), "{text}");
        let (code, text) = refused("--timeout -1");
        assert!(code == 2 && text.contains("between 0 and"), "{text}");
        let (code, text) = refused("--durability sometimes");
        assert!(code == 2 && text.contains("everysec"), "{text}");
        assert_eq!(refused("bogus").0, 2);
        assert_eq!(refused("--version").0, 0);
    }

    #[test]
    fn contradictions_are_no_fault_of_one_argument() {
        assert!(matches!(run("--port 0"), Err(CliError::Settings(LoadError::Contradiction(_)))));
    }

    #[test]
    fn other_actions_take_settings_too() {
        assert!(
            matches!(run("serve --print-config --port 1"), Ok(Action::PrintConfig(settings)) if settings.port == 1)
        );
        assert!(
            matches!(run("doctor --dir /x"), Ok(Action::Doctor(loaded)) if loaded.settings.dir.ends_with("x"))
        );
    }
}

//! The command line: `annulus [serve] [--SETTING VALUE]…`, `annulus doctor`, and the tools for data directories. One option for each row of the
//! settings table.

mod tools;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::load::{CONFIG_FILE, LoadError, Loaded, load};
use super::settings::{SETTINGS, Setting, Settings, setting};
use super::tools::Tool;

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
        Some((name, inner)) if name != "serve" => Ok(Action::Tool(tools::tool(name, inner))),
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
        .subcommands(tools::commands())
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

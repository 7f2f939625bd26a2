//! Where settings come from, each layer over the one before: defaults, the file, the environment, the command line.
//! A value that cannot be taken is refused with its place: file and line, or the variable.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::settings::{SETTINGS, Setting, Settings, nearest, setting};

/// The file that is read when it exists and no other is named.
pub const CONFIG_FILE: &str = "annulus.toml";
/// The variable that names the file.
const CONFIG_VARIABLE: &str = "ANNULUS_CONFIG";
const VARIABLE_PREFIX: &str = "ANNULUS_";

/// Settings, and what is worth saying about where they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings in force.
    pub settings: Settings,
    /// The file that was read.
    pub config_file: Option<PathBuf>,
    /// Warnings for the start of the log.
    pub warnings: Vec<String>,
}

/// Why there are no settings to start with.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A line of the file is wrong.
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A variable of the environment is wrong.
    Variable {
        /// Its name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// An option of the command line is wrong.
    Option {
        /// The setting.
        name: &'static str,
        /// What is wrong.
        message: String,
    },
    /// Settings contradict each other.
    Contradiction(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Line { path, line, message } => write!(f, "{}:{line}: {message}", path.display()),
            Self::Variable { name, message } => write!(f, "{name} in the environment: {message}"),
            Self::Option { name, message } => write!(f, "--{name}: {message}"),
            Self::Contradiction(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for LoadError {}

/// The variables of the environment that may concern us. Those that are not UTF-8 are left out.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .collect()
}

/// Reads all layers. `config` is the file that the command line names; `options` are its settings.
pub(super) fn load(
    config: Option<&Path>,
    environment: &[(String, String)],
    options: &[(&'static Setting, String)],
) -> Result<Loaded, LoadError> {
    let mut settings = Settings::default();
    let mut warnings = Vec::new();
    let config_file = read_file(config, environment, &mut settings)?;
    for (name, value) in environment {
        apply_variable(name, value, &mut settings, &mut warnings)?;
    }
    for (setting, value) in options {
        (setting.update)(&mut settings, value)
            .map_err(|message| LoadError::Option { name: setting.name, message })?;
    }
    settings.check().map_err(LoadError::Contradiction)?;
    Ok(Loaded { settings, config_file, warnings })
}

/// Reads the file: the named one, which must exist, or the usual one, which need not.
fn read_file(
    config: Option<&Path>,
    environment: &[(String, String)],
    settings: &mut Settings,
) -> Result<Option<PathBuf>, LoadError> {
    let variable = environment.iter().find(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty());
    let named = config.map(Path::to_owned).or_else(|| variable.map(|(_, path)| PathBuf::from(path)));
    let path = named.clone().unwrap_or_else(|| PathBuf::from(CONFIG_FILE));
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            apply_file(&text, settings).map_err(|(line, message)| LoadError::Line {
                path: path.clone(),
                line,
                message,
            })?;
            Ok(Some(path))
        }
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LoadError::File { path, error }),
    }
}

impl Settings {
    /// The defaults under the settings of a file's text; an error says the line.
    pub fn from_toml(text: &str) -> Result<Settings, (usize, String)> {
        let mut settings = Settings::default();
        apply_file(text, &mut settings)?;
        Ok(settings)
    }
}

/// Takes the settings out of a file; an error says the line.
fn apply_file(text: &str, settings: &mut Settings) -> Result<(), (usize, String)> {
    let line_at = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let table = DeTable::parse(text)
        .map_err(|error| (line_at(error.span().map_or(0, |span| span.start)), error.message().to_owned()))?;
    for (key, value) in table.get_ref() {
        let line = line_at(key.span().start);
        let name: &str = key.get_ref();
        let found =
            SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| (line, unknown(name)))?;
        let words = file_value(value.get_ref()).map_err(|message| (line, format!("{name}: {message}")))?;
        (found.update)(settings, &words).map_err(|message| (line, format!("{name}: {message}")))?;
    }
    Ok(())
}

/// A value of the file as the text that the command line would give.
fn file_value(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Boolean(switch) => Ok(if *switch { "yes" } else { "no" }.to_owned()),
        DeValue::Array(items) => {
            let words: Result<Vec<_>, _> = items.iter().map(|item| file_value(item.get_ref())).collect();
            Ok(words?.join(" "))
        }
        _ => Err("a value is a string, a whole decimal number, true, false, or a list of these".to_owned()),
    }
}

fn unknown(name: &str) -> String {
    match nearest(name, SETTINGS.iter().map(|setting| setting.name)) {
        Some(near) => format!("there's no setting '{name}'; did you mean '{near}'?"),
        None => format!("there's no setting '{name}'; `annulus serve --help` lists them"),
    }
}

/// Takes a variable, when it is one of ours.
fn apply_variable(
    name: &str,
    value: &str,
    settings: &mut Settings,
    warnings: &mut Vec<String>,
) -> Result<(), LoadError> {
    let Some(stem) = name.strip_prefix(VARIABLE_PREFIX) else { return Ok(()) };
    if name == CONFIG_VARIABLE || stem.starts_with("SERVICE_") || stem.starts_with("PORT_") {
        return Ok(());
    }
    let key = stem.replace('_', "-").to_ascii_lowercase();
    let Some(found) = setting(&key) else {
        if let Some(near) = nearest(&key, SETTINGS.iter().map(|setting| setting.name)) {
            warnings.push(format!(
                "{name} in the environment is no setting; did you mean ANNULUS_{}?",
                near.replace('-', "_").to_ascii_uppercase()
            ));
        }
        return Ok(());
    };
    // Kubernetes gives each pod variables about each service; for one called "annulus" they look like ours.
    if found.name == "port" && value.starts_with("tcp://") {
        warnings.push(format!(
            "{name} in the environment describes a Kubernetes service, and was not taken as the port"
        ));
        return Ok(());
    }
    (found.update)(settings, value).map_err(|message| LoadError::Variable { name: name.to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::settings::{Durability, Pin};

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("settings.toml");
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .expect("a file");
        (dir, path)
    }

    #[test]
    fn later_layers_win() {
        let (_dir, path) = file("port = 1\ntimeout = 1\ndatabases = 1\n");
        let environment = variables(&[("ANNULUS_TIMEOUT", "2"), ("ANNULUS_DATABASES", "2")]);
        let options = [(setting("databases").expect("known"), "3".to_owned())];
        let loaded = load(Some(&path), &environment, &options).expect("settings");
        let settings = &loaded.settings;
        assert_eq!((settings.port, settings.timeout, settings.databases), (1, 2, 3));
        assert_eq!(settings.maxclients, Settings::default().maxclients);
        assert_eq!(loaded.config_file, Some(path));
    }

    #[test]
    fn the_file_takes_toml_types_and_lists() {
        let text = "bind = [\"10.0.0.1\", \"-::1\"]\nprotected-mode = false\nlog-segment-size = \"1gb\"\n\
                    client-output-buffer-limit = [\"normal 1mb 0 0\"]\ndurability = \"everysec\"\npin = [0, 2]\n";
        let mut settings = Settings::default();
        apply_file(text, &mut settings).expect("a good file");
        assert_eq!(settings.bind.len(), 2);
        assert!(settings.bind[1].optional && !settings.protected_mode);
        assert_eq!(settings.log_segment_size, 1 << 30);
        assert_eq!(settings.client_output_buffer_limit.normal.hard_bytes, 1 << 20);
        assert_eq!(settings.client_output_buffer_limit.pubsub.hard_bytes, 32 << 20);
        assert_eq!((settings.durability, settings.pin), (Durability::EverySec, Pin::Cores(vec![0, 2])));
    }

    #[test]
    fn errors_of_the_file_say_file_line_and_the_nearest_name() {
        let (_dir, path) = file("# comment\nport = 7000\ndurabilty = \"always\"\n");
        let error = load(Some(&path), &[], &[]).expect_err("an unknown name").to_string();
        assert!(error.starts_with(&format!("{}:3: ", path.display())), "{error}");
        assert!(error.ends_with("did you mean 'durability'?"), "{error}");
        for (text, line, part) in [
            ("port = 1\nport = 2\n", 2, "duplicate key"),
            ("\n\nport = = 2\n", 3, ""),
            ("port = 70000\n", 1, "port: argument must be between 0 and 65535 inclusive"),
            ("\nport = 0x10\n", 2, "port: a value is"),
            ("[server]\nport = 1\n", 1, "there's no setting 'server'"),
            ("log-segment-size = 1.5\n", 1, "log-segment-size: a value is"),
        ] {
            let (found, message) = apply_file(text, &mut Settings::default()).expect_err(text);
            assert_eq!(found, line, "{text:?}: {message}");
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = load(Some(Path::new("/nonexistent/annulus.toml")), &[], &[]).expect_err("no file");
        assert!(error.to_string().starts_with("/nonexistent/annulus.toml: "), "{error}");
        let environment = variables(&[("ANNULUS_CONFIG", "/nonexistent/other.toml")]);
        let error = load(None, &environment, &[]).expect_err("no file");
        assert!(error.to_string().starts_with("/nonexistent/other.toml: "), "{error}");
    }

    #[test]
    fn variables_of_kubernetes_are_not_settings() {
        let environment = variables(&[
            ("ANNULUS_PORT", "tcp://10.1.2.3:6379"),
            ("ANNULUS_PORT_6379_TCP_PORT", "6379"),
            ("ANNULUS_SERVICE_HOST", "10.1.2.3"),
            ("ANNULUS_MAXCLIENT", "5"),
        ]);
        let mut settings = Settings::default();
        let mut warnings = Vec::new();
        for (name, value) in &environment {
            apply_variable(name, value, &mut settings, &mut warnings).expect("no error");
        }
        assert_eq!(settings, Settings::default());
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[1].ends_with("did you mean ANNULUS_MAXCLIENTS?"), "{warnings:?}");
        let error = apply_variable("ANNULUS_PORT", "x", &mut settings, &mut warnings).expect_err("no number");
        assert_eq!(
            error.to_string(),
            "ANNULUS_PORT in the environment: argument couldn't be parsed into an integer"
        );
    }

    #[test]
    fn a_printed_configuration_reads_back() {
        let mut settings = Settings { port: 7001, pin: Pin::Cores(vec![1, 3]), ..Settings::default() };
        settings.log_segment_size = (1 << 20) + 12_288;
        (setting("requirepass").expect("known").update)(&mut settings, "qu\"o\\te\n#").expect("any text");
        let mut read = Settings::default();
        apply_file(&settings.to_toml(), &mut read).expect("what was printed");
        assert_eq!(read, settings);
    }
}

//! `annulus doctor`: what this machine lets a server with these settings do, what a missing piece costs, and how to get it.
//!
//! It changes nothing: the data directory is tried with a file without a name, and where there's no directory yet, its
//! nearest parent is looked at. Each check reads facts first and judges them in a pure function.

mod disk;
mod kernel;
mod machine;

use std::fmt;

use super::settings::Settings;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// Something else would be a little better.
    Note,
    /// The server runs, and a promise, a limit or much speed is less than the settings ask for.
    Warning,
    /// The server cannot run with these settings.
    Failure,
}

impl Level {
    fn mark(self) -> &'static str {
        match self {
            Self::Good => "ok  ",
            Self::Note => "note",
            Self::Warning => "WARN",
            Self::Failure => "FAIL",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub topic: &'static str,
    /// What was found.
    pub text: String,
    /// What to do about it; empty when there's nothing to do.
    pub advice: String,
}

impl Finding {
    fn new(level: Level, topic: &'static str, text: impl Into<String>) -> Self {
        Self { level, topic, text: text.into(), advice: String::new() }
    }

    fn good(topic: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Good, topic, text)
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

/// Everything that was found, in the order in which a start needs it.
#[derive(Clone, Debug)]
pub struct Report(Vec<Finding>);

/// Examines the machine for a server with these settings.
pub fn examine(settings: &Settings) -> Report {
    let mut findings = kernel::findings(settings);
    findings.extend(disk::findings(settings));
    findings.extend(machine::findings(settings));
    Report(findings)
}

impl Report {
    /// 0: all is well; 1: there are warnings; 2: the server cannot run.
    pub fn exit_code(&self) -> u8 {
        match self.0.iter().map(|finding| finding.level).max() {
            Some(Level::Failure) => 2,
            Some(Level::Warning) => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { level, topic, text, advice } in &self.0 {
            writeln!(f, "{}  {topic:<20} {text}", level.mark())?;
            if !advice.is_empty() {
                writeln!(f, "      {:<20} → {advice}", "")?;
            }
        }
        let verdict = match self.exit_code() {
            0 => "This machine lets the server do all that it can.",
            1 => "The server runs here; see the warnings.",
            _ => "The server cannot run here with these settings.",
        };
        writeln!(f, "\n{verdict}")
    }
}

/// A small file of the kernel, without the line's end; none where it can't be read.
fn kernel_file(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let report =
            |levels: &[Level]| Report(levels.iter().map(|level| Finding::new(*level, "x", "y")).collect());
        assert_eq!(report(&[]).exit_code(), 0);
        assert_eq!(report(&[Level::Note, Level::Good]).exit_code(), 0);
        assert_eq!(report(&[Level::Warning, Level::Good]).exit_code(), 1);
        assert_eq!(report(&[Level::Failure, Level::Warning]).exit_code(), 2);
    }

    #[test]
    fn an_examination_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = Settings { dir: dir.path().join("data"), ..Settings::default() };
        let text = examine(&settings).to_string();
        for topic in ["kernel", "data directory", "open files", "cores"] {
            assert!(text.contains(topic), "{topic} is missing:\n{text}");
        }
        assert_eq!(dir.path().read_dir().expect("the directory").count(), 0);
    }
}

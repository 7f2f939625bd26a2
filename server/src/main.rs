//! The `annulus` binary: reads the settings, and hands over.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use annulus::admin::cli::{self, Action, CliError};
use annulus::admin::{Loaded, doctor, environment, logging, tools};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The start failed.
const FAILED: u8 = 1;
/// The command line or the settings are wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os(), &environment()) {
        Ok(Action::Serve(loaded)) => serve(&loaded),
        Ok(Action::PrintConfig(settings)) => print(&settings.to_toml(), 0),
        Ok(Action::Doctor(loaded)) => {
            let report = doctor::examine(&loaded.settings);
            print(&report, report.exit_code())
        }
        Ok(Action::Tool(tool)) => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            let outcome = tools::run(&tool, &mut out);
            let _ = out.flush();
            match outcome {
                Ok(code) => ExitCode::from(code),
                Err(error) => fail(USAGE, &error),
            }
        }
        Err(CliError::Arguments(error)) => error.exit(),
        Err(CliError::Settings(error)) => fail(USAGE, &error),
    }
}

fn serve(loaded: &Loaded) -> ExitCode {
    let log = match logging::start(&loaded.settings) {
        Ok(guard) => guard,
        Err(error) => return fail(FAILED, &error),
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let begun = tools::begin_data_directory(&loaded.settings).map_err(|error| error.to_string());
    let outcome = begun.and_then(|()| annulus::start::run(loaded).map_err(|error| error.to_string()));
    if let (Err(error), Some(_)) = (&outcome, &loaded.settings.logfile) {
        tracing::error!("{error}");
    }
    // What happened before the end stands before it.
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, &error),
    }
}

/// Prints what was asked for. A reader that went away (`| head`) is no failure.
fn print(text: &impl Display, code: u8) -> ExitCode {
    let _ = write!(std::io::stdout(), "{text}");
    ExitCode::from(code)
}

fn fail(code: u8, error: &impl Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "annulus: {error}");
    ExitCode::from(code)
}

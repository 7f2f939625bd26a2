//! Servers with a planted mistake, as binaries of their own: tests must find them out.

use std::process::ExitCode;

use annulus::admin::cli::{self, Action};
use annulus::admin::{environment, logging};
use annulus_storage::planted::{Planted, plant_everywhere};

/// Serves as `annulus` does with the same arguments, but for the mistake.
pub fn serve(name: &str, mistake: &str, planted: Planted) -> ExitCode {
    plant_everywhere(planted);
    let Ok(Action::Serve(loaded)) = cli::parse(std::env::args_os(), &environment()) else {
        eprintln!("{name}: it only serves, with the arguments that annulus has for that");
        return ExitCode::from(2);
    };
    let outcome = logging::start(&loaded.settings).map_err(|error| error.to_string()).and_then(|_log| {
        eprintln!("{name}: {mistake}");
        annulus::start::run(&loaded).map_err(|error| error.to_string())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

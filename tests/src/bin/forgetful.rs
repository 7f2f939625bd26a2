//! The server with a mistake: its log writes ask for no sync, and count as durable all the same. The power cuts must find it.

use std::process::ExitCode;

use annulus::admin::cli::{self, Action};
use annulus::admin::{environment, logging};
use annulus_storage::planted::{Planted, plant_everywhere};

fn main() -> ExitCode {
    plant_everywhere(Planted { skip_commit_sync: true, ..Planted::default() });
    let Ok(Action::Serve(loaded)) = cli::parse(std::env::args_os(), &environment()) else {
        eprintln!("forgetful: it only serves, with the arguments that annulus has for that");
        return ExitCode::from(2);
    };
    let outcome = logging::start(&loaded.settings).map_err(|error| error.to_string()).and_then(|_log| {
        eprintln!("forgetful: log writes ask for no sync");
        annulus::start::run(&loaded).map_err(|error| error.to_string())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forgetful: {error}");
            ExitCode::FAILURE
        }
    }
}

//! Where an example's store is, and what examples have in common: a server at a URL, or a directory that the program opens itself
//! (`embedded:./data`, with the feature `embedded`).

use std::{error::Error, process::ExitCode};

use annulus_client::Client;
#[cfg(feature = "embedded")]
use annulus_client::{Embedded, EmbeddedOptions};

/// What went wrong, in words for whoever runs the program.
pub(crate) type Fault = Box<dyn Error + Send + Sync>;

/// The place, as the command line says it.
#[derive(clap::Args)]
pub(crate) struct Whereabouts {
    /// The store: `redis://host:port`, `rediss://…`, `unix:///path/to.sock`, or `embedded:DIRECTORY` for one within this program.
    #[arg(default_value = "redis://127.0.0.1:6379")]
    place: String,
}

/// A store, and how to leave it.
pub(crate) struct Place {
    pub(crate) client: Client,
    #[cfg(feature = "embedded")]
    store: Option<Embedded>,
}

impl Whereabouts {
    /// Connects, or opens the directory.
    pub(crate) async fn open(&self) -> Result<Place, Fault> {
        match self.place.strip_prefix("embedded:") {
            Some("") => Err("embedded: needs a directory, as in embedded:./data".into()),
            Some(dir) => open_embedded(dir),
            None => {
                let client = Client::connect(self.place.as_str()).await.map_err(|error| {
                    let hint = if error.is_connection() {
                        "; start a server (annulus serve --port 6379), name another one, or embedded:DIRECTORY"
                    } else {
                        ""
                    };
                    Fault::from(format!("{}: {error}{hint}", self.place))
                })?;
                Ok(Place {
                    client,
                    #[cfg(feature = "embedded")]
                    store: None,
                })
            }
        }
    }
}

#[cfg(feature = "embedded")]
fn open_embedded(dir: &str) -> Result<Place, Fault> {
    let store = Embedded::open(dir, EmbeddedOptions::new())?;
    Ok(Place { client: store.client(), store: Some(store) })
}

#[cfg(not(feature = "embedded"))]
fn open_embedded(_: &str) -> Result<Place, Fault> {
    Err("built without embedding; build it with --features embedded".into())
}

impl Place {
    /// Leaves it in order: a store of our own is closed.
    #[cfg_attr(
        not(feature = "embedded"),
        expect(clippy::unnecessary_wraps, reason = "only a store within the program can fail to close")
    )]
    pub(crate) fn close(self) -> Result<(), Fault> {
        drop(self.client);
        #[cfg(feature = "embedded")]
        if let Some(store) = self.store {
            store.close()?;
        }
        Ok(())
    }
}

/// How a program ends: an error is told in its own words.
pub(crate) fn end(result: Result<(), Fault>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

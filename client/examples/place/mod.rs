//! Where an example's store is: a server at a URL, or a directory that the program opens itself (`embedded:./data`, with the
//! feature `embedded`).

use std::error::Error;

use annulus_client::Client;
#[cfg(feature = "embedded")]
use annulus_client::{Embedded, EmbeddedOptions};

/// A store, and how to leave it.
pub(crate) struct Place {
    pub(crate) client: Client,
    #[cfg(feature = "embedded")]
    store: Option<Embedded>,
}

impl Place {
    /// The place that the command line names; the server on this machine if it names none.
    pub(crate) async fn open() -> Result<Self, Box<dyn Error>> {
        let place = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
        match place.strip_prefix("embedded:") {
            None => Ok(Self {
                client: Client::connect(place).await?,
                #[cfg(feature = "embedded")]
                store: None,
            }),
            #[cfg(feature = "embedded")]
            Some(dir) => {
                let store = Embedded::open(dir, EmbeddedOptions::new())?;
                Ok(Self { client: store.client(), store: Some(store) })
            }
            #[cfg(not(feature = "embedded"))]
            Some(_) => Err("built without the feature `embedded`".into()),
        }
    }

    /// Leaves it in order: a store of our own is closed.
    #[cfg_attr(
        not(feature = "embedded"),
        expect(clippy::unnecessary_wraps, reason = "only a store within the program can fail to close")
    )]
    pub(crate) fn close(self) -> Result<(), Box<dyn Error>> {
        drop(self.client);
        #[cfg(feature = "embedded")]
        if let Some(store) = self.store {
            store.close()?;
        }
        Ok(())
    }
}

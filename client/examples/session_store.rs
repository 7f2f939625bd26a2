//! Web sessions: created once, found by an unguessable token, alive for as long as they are used.
//!
//! `cargo run -p annulus-client --features embedded --example session_store [-- redis://127.0.0.1:6379 | embedded:./data]`

mod place;

use std::{io::Read as _, time::Duration};

use annulus_client::{
    Client, Error,
    commands::{Expiry, KeyCommands as _, SetOptions, StringCommands as _},
};
use bytes::Bytes;

use self::place::Place;

const LIFETIME: Duration = Duration::from_mins(30);

struct Sessions {
    client: Client,
}

impl Sessions {
    /// A new session, and the token that its owner shows from now on.
    async fn create(&self, data: &str) -> Result<String, Box<dyn std::error::Error>> {
        loop {
            let token = random_token()?;
            // Never over another's session, however unlikely that is.
            let options = SetOptions::if_absent().expires_in(LIFETIME);
            if self.client.set_with(key(&token), data, &options).await? {
                return Ok(token);
            }
        }
    }

    /// What the session holds; looking at it lengthens its life. One round trip.
    async fn find(&self, token: &str) -> Result<Option<Bytes>, Error> {
        self.client.getex(key(token), Some(Expiry::In(LIFETIME))).await
    }

    /// Changes a session that is still there; one that has ended stays ended.
    async fn update(&self, token: &str, data: &str) -> Result<bool, Error> {
        self.client.set_with(key(token), data, &SetOptions::if_present().expires_in(LIFETIME)).await
    }

    async fn end(&self, token: &str) -> Result<bool, Error> {
        Ok(self.client.del([key(token)]).await? == 1)
    }
}

fn key(token: &str) -> String {
    format!("session:{token}")
}

#[expect(clippy::disallowed_methods, reason = "an example is no shard: it may read a file")]
fn random_token() -> std::io::Result<String> {
    let mut bytes = [0_u8; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place = Place::open().await?;
    let sessions = Sessions { client: place.client.clone() };

    let token = sessions.create(r#"{"user":"ada"}"#).await?;
    println!("created {token}");
    println!("holds   {:?}", sessions.find(&token).await?.ok_or("the session is gone")?);
    println!("changed {}", sessions.update(&token, r#"{"user":"ada","cart":3}"#).await?);
    println!("holds   {:?}", sessions.find(&token).await?.ok_or("the session is gone")?);
    println!("ended   {}", sessions.end(&token).await?);
    println!("holds   {:?}", sessions.find(&token).await?);
    println!("changed {}", sessions.update(&token, "too late").await?);
    place.close()
}

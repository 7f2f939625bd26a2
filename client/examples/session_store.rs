//! Web sessions: created once, found by an unguessable token, alive for as long as they are used.
//!
//! `cargo run -p annulus-client --features embedded --example session_store [-- --user ada --minutes 30 embedded:./data]`

mod place;

use std::{io::Read as _, process::ExitCode, time::Duration};

use annulus_client::{
    Client, Error,
    commands::{Expiry, KeyCommands as _, SetOptions, StringCommands as _},
};
use bytes::Bytes;
use clap::Parser;

use self::place::{Fault, Whereabouts, end};

/// Makes a session, finds, changes and ends it.
#[derive(Parser)]
struct Arguments {
    /// Whose session it is.
    #[arg(long, default_value = "ada")]
    user: String,
    /// Minutes that a session lives when nobody uses it.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    #[command(flatten)]
    whereabouts: Whereabouts,
}

struct Sessions {
    client: Client,
    lifetime: Duration,
}

impl Sessions {
    /// A new session, and the token that its owner shows from now on.
    async fn create(&self, data: &str) -> Result<String, Fault> {
        loop {
            let token = random_token()?;
            // Never over another's session, however unlikely that is.
            let options = SetOptions::if_absent().expires_in(self.lifetime);
            if self.client.set_with(key(&token), data, &options).await? {
                return Ok(token);
            }
        }
    }

    /// What the session holds; looking at it lengthens its life. One round trip.
    async fn find(&self, token: &str) -> Result<Option<Bytes>, Error> {
        self.client.getex(key(token), Some(Expiry::In(self.lifetime))).await
    }

    /// Changes a session that is still there; one that has ended stays ended.
    async fn update(&self, token: &str, data: &str) -> Result<bool, Error> {
        self.client.set_with(key(token), data, &SetOptions::if_present().expires_in(self.lifetime)).await
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

async fn run(arguments: Arguments) -> Result<(), Fault> {
    let place = arguments.whereabouts.open().await?;
    let lifetime = Duration::from_secs(60 * arguments.minutes);
    let sessions = Sessions { client: place.client.clone(), lifetime };
    let user = &arguments.user;

    let token = sessions.create(&format!("user={user}")).await?;
    println!("created {token}");
    println!("holds   {:?}", sessions.find(&token).await?.ok_or("the session is gone")?);
    println!("changed {}", sessions.update(&token, &format!("user={user}&cart=3")).await?);
    println!("holds   {:?}", sessions.find(&token).await?.ok_or("the session is gone")?);
    println!("ended   {}", sessions.end(&token).await?);
    println!("holds   {:?}", sessions.find(&token).await?);
    println!("changed {}", sessions.update(&token, "too late").await?);
    drop(sessions);
    place.close()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    end(run(Arguments::parse()).await)
}

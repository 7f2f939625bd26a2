//! A rate limiter that any number of processes share: so many calls per user and window.
//!
//! `cargo run -p annulus-client --features embedded --example rate_limiter [-- redis://127.0.0.1:6379 | embedded:./data]`

mod place;

use std::time::Duration;

use annulus_client::{
    Client, Command, Error, Pipeline, Value,
    commands::{ServerCommands as _, Time},
};

use self::place::Place;

const WINDOW: Duration = Duration::from_secs(10);
const CALLS_MAX: i64 = 5;

struct Limiter {
    client: Client,
}

impl Limiter {
    /// Counts a call, and says whether it may go on. The window's number is in the key, so that a new
    /// window starts from nothing and old ones expire by themselves; the server's clock, not ours, says which it is.
    async fn admit(&self, user: &str) -> Result<bool, Error> {
        let Time(now) = self.client.time().await?;
        let window = now.as_secs() / WINDOW.as_secs();
        // The braces keep both commands on the shard of this user.
        let key = format!("rate:{{{user}}}:{window}");
        let pipeline = Pipeline::new()
            .with(Command::new("INCR").key(&key))
            .with(Command::new("PEXPIRE").key(&key).arg((2 * WINDOW).as_millis().to_string()).arg("NX"));
        let mut replies = self.client.pipeline(pipeline).await?.into_iter();
        match replies.next() {
            Some(Ok(Value::Integer(calls))) => Ok(calls <= CALLS_MAX),
            Some(Err(error)) => Err(error),
            other => Err(Error::Protocol(format!("INCR answered {other:?}"))),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place = Place::open().await?;
    let limiter = Limiter { client: place.client.clone() };
    for call in 1..=CALLS_MAX + 3 {
        // When the store cannot be asked, letting calls through is this program's choice.
        let admitted = match limiter.admit("ada").await {
            Err(error) if error.is_connection() => true,
            answer => answer?,
        };
        println!("call {call}: {}", if admitted { "admitted" } else { "too many" });
    }
    place.close()
}

//! A rate limiter that any number of processes share: so many calls per user and window. The server counts, in a script: so it's one round
//! trip, and one clock.
//!
//! `cargo run -p annulus-client --features embedded --example rate_limiter [-- --calls 5 --window 10 embedded:./data]`

mod place;

use std::{process::ExitCode, time::Duration};

use annulus_client::{Client, Error, Script, commands::ScriptCommands as _};
use clap::Parser;

use self::place::{Fault, Whereabouts, end};

/// The first call begins a window; whoever comes later in it counts on. Answers the count, and the milliseconds that the window still has.
const COUNT: &str = "
    local calls = redis.call('INCR', KEYS[1])
    if calls == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
    return {calls, redis.call('PTTL', KEYS[1])}";

/// A rate limiter that any number of processes share: each call below is admitted, or told when to come again.
#[derive(Parser)]
struct Arguments {
    /// Who calls.
    #[arg(long, default_value = "ada")]
    user: String,
    /// Calls that a window has room for.
    #[arg(long, default_value_t = 5)]
    calls: u64,
    /// Seconds of a window.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
    /// Calls to make.
    #[arg(long, default_value_t = 8)]
    attempts: u64,
    #[command(flatten)]
    whereabouts: Whereabouts,
}

struct Limiter {
    client: Client,
    count: Script,
    calls_max: u64,
    window: Duration,
}

enum Answer {
    Admitted,
    ComeAgainIn(Duration),
}

impl Limiter {
    fn new(client: &Client, calls_max: u64, window: Duration) -> Self {
        Self { client: client.clone(), count: Script::new(COUNT), calls_max, window }
    }

    /// Counts a call, and says whether it may go on.
    async fn admit(&self, user: &str) -> Result<Answer, Error> {
        let window_ms = self.window.as_millis().to_string();
        let (calls, left_ms): (u64, u64) =
            self.client.script(&self.count, [format!("rate:{user}")], [window_ms]).await?;
        Ok(if calls <= self.calls_max {
            Answer::Admitted
        } else {
            Answer::ComeAgainIn(Duration::from_millis(left_ms))
        })
    }
}

async fn run(arguments: Arguments) -> Result<(), Fault> {
    let place = arguments.whereabouts.open().await?;
    let limiter = Limiter::new(&place.client, arguments.calls, Duration::from_secs(arguments.window));
    for call in 1..=arguments.attempts {
        match limiter.admit(&arguments.user).await {
            Ok(Answer::Admitted) => println!("call {call}: admitted"),
            Ok(Answer::ComeAgainIn(left)) => println!("call {call}: too many, come again in {left:.1?}"),
            // When the store cannot be asked, letting calls through is this program's choice.
            Err(error) if error.is_connection() => println!("call {call}: admitted, unasked ({error})"),
            Err(error) => return Err(error.into()),
        }
    }
    drop(limiter);
    place.close()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    end(run(Arguments::parse()).await)
}

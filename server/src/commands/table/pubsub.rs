//! Messages: channels, patterns and shard channels.

use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::{ConnectionCommand, PubSubCommand as P, Run};

const LISTENING: &[F] = &[F::PUBSUB, F::NOSCRIPT, F::LOADING, F::STALE];
const SENDING: &[F] = &[F::PUBSUB, F::LOADING, F::STALE, F::FAST];
const LOOKING: &[F] = &[F::PUBSUB, F::LOADING, F::STALE];

const fn row(name: &'static str, arity: i8, command: P) -> Command {
    Command::new(name, arity, Group::PubSub, Run::Connection(ConnectionCommand::PubSub(command)))
}

const fn look(name: &'static str, arity: i8, command: P) -> Command {
    row(name, arity, command).of("pubsub").flags(LOOKING)
}

pub(super) const ROWS: &[Command] = &[
    row("psubscribe", -2, P::Psubscribe).flags(LISTENING).docs(
        "2.0.0",
        "O(N) in the number of patterns",
        "Listens to the channels that match patterns",
        "pattern:pattern...",
    ),
    row("publish", 3, P::Publish).flags(SENDING).docs(
        "2.0.0",
        "O(N+M) in the number of receivers and of all patterns",
        "Sends a message to a channel",
        "channel message",
    ),
    Command::new("pubsub", -2, Group::PubSub, Run::Container).docs(
        "2.8.0",
        "Depends on the subcommand",
        "Looks at channels and who listens",
        "",
    ),
    look("channels", -2, P::Channels).docs(
        "2.8.0",
        "O(N) in the number of channels",
        "Lists the channels that somebody listens to",
        "[pattern:pattern]",
    ),
    Command::new("help", 2, Group::PubSub, Run::Connection(ConnectionCommand::Help))
        .of("pubsub")
        .flags(&[F::LOADING, F::STALE])
        .docs("6.2.0", "O(1)", "Lists the subcommands", ""),
    look("numpat", 2, P::Numpat).docs("2.8.0", "O(N) in the number of patterns", "Counts the patterns", ""),
    look("numsub", -2, P::Numsub).docs(
        "2.8.0",
        "O(N) in the number of channels asked about",
        "Counts those who listen to channels",
        "[channel...]",
    ),
    look("shardchannels", -2, P::Shardchannels).docs(
        "7.0.0",
        "O(N) in the number of shard channels",
        "Lists the shard channels that somebody listens to",
        "[pattern:pattern]",
    ),
    look("shardnumsub", -2, P::Shardnumsub).docs(
        "7.0.0",
        "O(N) in the number of shard channels asked about",
        "Counts those who listen to shard channels",
        "[shardchannel...]",
    ),
    row("punsubscribe", -1, P::Punsubscribe).flags(LISTENING).docs(
        "2.0.0",
        "O(N) in the number of patterns",
        "Stops listening to the channels that match patterns",
        "[pattern:pattern...]",
    ),
    row("spublish", 3, P::Spublish).flags(SENDING).keys(&[KeyUse::one(1, &[K::NOT_KEY])]).docs(
        "7.0.0",
        "O(N) in the number of receivers",
        "Sends a message to a shard channel",
        "shardchannel message",
    ),
    row("ssubscribe", -2, P::Ssubscribe).flags(LISTENING).keys(&[KeyUse::every(1, 1, &[K::NOT_KEY])]).docs(
        "7.0.0",
        "O(N) in the number of shard channels",
        "Listens to shard channels",
        "shardchannel...",
    ),
    row("subscribe", -2, P::Subscribe).flags(LISTENING).docs(
        "2.0.0",
        "O(N) in the number of channels",
        "Listens to channels",
        "channel...",
    ),
    row("sunsubscribe", -1, P::Sunsubscribe)
        .flags(LISTENING)
        .keys(&[KeyUse::every(1, 1, &[K::NOT_KEY])])
        .docs(
            "7.0.0",
            "O(N) in the number of shard channels",
            "Stops listening to shard channels",
            "[shardchannel...]",
        ),
    row("unsubscribe", -1, P::Unsubscribe).flags(LISTENING).docs(
        "2.0.0",
        "O(N) in the number of channels",
        "Stops listening to channels",
        "[channel...]",
    ),
];

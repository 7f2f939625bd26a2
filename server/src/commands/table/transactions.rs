//! MULTI and its kin.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::{ConnectionCommand, Run};

const ANYTIME: &[F] = &[F::NOSCRIPT, F::LOADING, F::STALE, F::FAST, F::ALLOW_BUSY];

const fn row(name: &'static str, arity: i8, command: ConnectionCommand) -> Command {
    Command::new(name, arity, Group::Transactions, Run::Connection(command))
        .flags(ANYTIME)
        .acl(&[A::TRANSACTION])
}

pub(super) const ROWS: &[Command] = &[
    row("discard", 1, ConnectionCommand::Discard).docs(
        "2.0.0",
        "O(N) in the number of queued commands",
        "Forgets the commands since MULTI",
        "",
    ),
    row("exec", 1, ConnectionCommand::Exec)
        .flags(&[F::NOSCRIPT, F::LOADING, F::STALE, F::SKIP_SLOWLOG])
        .docs("1.2.0", "That of the queued commands", "Runs the commands since MULTI as one transaction", ""),
    row("multi", 1, ConnectionCommand::Multi).docs(
        "1.2.0",
        "O(1)",
        "Begins a transaction: the commands that follow are queued",
        "",
    ),
    row("unwatch", 1, ConnectionCommand::Unwatch).docs("2.2.0", "O(1)", "Watches no keys any more", ""),
    row("watch", -2, ConnectionCommand::Watch).keys(&[KeyUse::every(1, 1, &[K::RO])]).docs(
        "2.2.0",
        "O(1) for each key",
        "Lets EXEC run only if none of these keys changes before",
        "key...",
    ),
];

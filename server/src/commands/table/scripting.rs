//! Scripts.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::{ConnectionCommand, Run, ScriptCommand, ScriptRun};

const RUNNING: &[F] = &[F::NOSCRIPT, F::STALE, F::SKIP_MONITOR, F::NO_MANDATORY_KEYS, F::MOVABLE_KEYS];
const READING: &[F] =
    &[F::READONLY, F::NOSCRIPT, F::STALE, F::SKIP_MONITOR, F::NO_MANDATORY_KEYS, F::MOVABLE_KEYS];
const KEYS: &[KeyUse] = &[KeyUse::counted(2, &[K::RW, K::ACCESS, K::UPDATE])
    .notes("What becomes of the keys is up to the script, which may change them")];
const KEYS_READ: &[KeyUse] =
    &[KeyUse::counted(2, &[K::RO, K::ACCESS]).notes("What is looked at of the keys is up to the script")];
const TO_ALL: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

const fn row(name: &'static str, arity: i8, run: Run) -> Command {
    Command::new(name, arity, Group::Scripting, run).acl(&[A::SCRIPTING])
}

const fn running(name: &'static str, which: ScriptRun) -> Command {
    row(name, -3, Run::Script(which)).flags(RUNNING).keys(KEYS)
}

const fn reading(name: &'static str, which: ScriptRun) -> Command {
    row(name, -3, Run::Script(which)).flags(READING).keys(KEYS_READ)
}

const fn script(name: &'static str, arity: i8, which: ScriptCommand) -> Command {
    row(name, arity, Run::Connection(ConnectionCommand::Script(which))).of("script").flags(&[F::NOSCRIPT])
}

pub(super) const ROWS: &[Command] = &[
    running("eval", ScriptRun::Text).docs(
        "2.6.0",
        "Depends on the script",
        "Runs a script in Lua",
        "script numkeys:integer [key...] [arg...]",
    ),
    reading("eval_ro", ScriptRun::Text).docs(
        "7.0.0",
        "Depends on the script",
        "Runs a script in Lua that only reads",
        "script numkeys:integer [key...] [arg...]",
    ),
    running("evalsha", ScriptRun::Id).docs(
        "2.6.0",
        "Depends on the script",
        "Runs a script in Lua that the server knows, by the SHA-1 of its text",
        "sha1 numkeys:integer [key...] [arg...]",
    ),
    reading("evalsha_ro", ScriptRun::Id).docs(
        "7.0.0",
        "Depends on the script",
        "Runs a script in Lua that the server knows and that only reads, by the SHA-1 of its text",
        "sha1 numkeys:integer [key...] [arg...]",
    ),
    Command::new("script", -2, Group::Scripting, Run::Container).docs(
        "2.6.0",
        "Depends on the subcommand",
        "Looks after the scripts that the server knows",
        "",
    ),
    script("debug", 3, ScriptCommand::Debug).docs(
        "3.2.0",
        "O(1)",
        "Accepted for compatibility: there's no debugger",
        "(YES | SYNC | NO)",
    ),
    script("exists", -3, ScriptCommand::Exists)
        .docs(
            "2.6.0",
            "O(N) in the number of scripts asked for",
            "Tells which scripts the server knows",
            "sha1...",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"]),
    script("flush", -2, ScriptCommand::Flush)
        .docs("2.6.0", "O(N) in the number of scripts", "Forgets all scripts", "[ASYNC | SYNC]")
        .tips(TO_ALL),
    row("help", 2, Run::Connection(ConnectionCommand::Help))
        .of("script")
        .flags(&[F::LOADING, F::STALE])
        .docs("5.0.0", "O(1)", "Lists the subcommands", ""),
    script("kill", 2, ScriptCommand::Kill)
        .flags(&[F::NOSCRIPT, F::ALLOW_BUSY])
        .docs("2.6.0", "O(1)", "Ends scripts that run for long, if they have not written anything", "")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    script("load", 3, ScriptCommand::Load)
        .flags(&[F::NOSCRIPT, F::STALE])
        .docs(
            "2.6.0",
            "O(N) in the length of the script",
            "Makes a script known, and tells its SHA-1",
            "script",
        )
        .tips(TO_ALL),
];

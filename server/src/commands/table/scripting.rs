//! Scripts.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::{ConnectionCommand, FunctionCommand, Merge, Run, ScriptCommand, ScriptRun, functions};

const RUNNING: &[F] = &[F::NOSCRIPT, F::STALE, F::SKIP_MONITOR, F::NO_MANDATORY_KEYS, F::MOVABLE_KEYS];
const READING: &[F] =
    &[F::READONLY, F::NOSCRIPT, F::STALE, F::SKIP_MONITOR, F::NO_MANDATORY_KEYS, F::MOVABLE_KEYS];
const KEYS: &[KeyUse] = &[KeyUse::counted(2, &[K::RW, K::ACCESS, K::UPDATE])
    .notes("What becomes of the keys is up to the script, which may change them")];
const KEYS_READ: &[KeyUse] =
    &[KeyUse::counted(2, &[K::RO, K::ACCESS]).notes("What is looked at of the keys is up to the script")];
const TO_ALL: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

const TO_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const CHANGING: &[F] = &[F::WRITE, F::NOSCRIPT];
const ADDING: &[F] = &[F::WRITE, F::DENYOOM, F::NOSCRIPT];

const fn function(name: &'static str, arity: i8, run: Run) -> Command {
    row(name, arity, run).of("function")
}

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
    running("fcall", ScriptRun::Function).docs(
        "7.0.0",
        "Depends on the function",
        "Runs a function of a library",
        "function numkeys:integer [key...] [arg...]",
    ),
    reading("fcall_ro", ScriptRun::Function).docs(
        "7.0.0",
        "Depends on the function",
        "Runs a function of a library that only reads",
        "function numkeys:integer [key...] [arg...]",
    ),
    Command::new("function", -2, Group::Scripting, Run::Container).docs(
        "7.0.0",
        "Depends on the subcommand",
        "Looks after the libraries of functions, which outlive the server",
        "",
    ),
    function("delete", 3, Run::Broadcast(functions::delete, Merge::First))
        .flags(CHANGING)
        .docs("7.0.0", "O(1)", "Removes a library", "library-name")
        .tips(TO_SHARDS),
    function("dump", 2, Run::Broadcast(functions::dump, Merge::First)).flags(&[F::NOSCRIPT]).docs(
        "7.0.0",
        "O(N) in the number of libraries",
        "Writes all libraries as one payload for FUNCTION RESTORE",
        "",
    ),
    function("flush", -2, Run::Broadcast(functions::flush, Merge::First))
        .flags(CHANGING)
        .docs("7.0.0", "O(N) in the number of libraries", "Removes all libraries", "[ASYNC | SYNC]")
        .tips(TO_SHARDS),
    function("help", 2, Run::Connection(ConnectionCommand::Help)).flags(&[F::LOADING, F::STALE]).docs(
        "7.0.0",
        "O(1)",
        "Lists the subcommands",
        "",
    ),
    function("kill", 2, Run::Connection(ConnectionCommand::Function(FunctionCommand::Kill)))
        .flags(&[F::NOSCRIPT, F::ALLOW_BUSY])
        .docs("7.0.0", "O(1)", "Ends functions that run for long, if they have not written anything", "")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    function("list", -2, Run::Broadcast(functions::list, Merge::First))
        .flags(&[F::NOSCRIPT])
        .docs(
            "7.0.0",
            "O(N) in the number of functions",
            "Lists libraries and their functions",
            "[LIBRARYNAME library-name-pattern] [WITHCODE]",
        )
        .tips(&["nondeterministic_output_order"]),
    function("load", -3, Run::Broadcast(functions::load, Merge::First))
        .flags(ADDING)
        .docs("7.0.0", "O(N) in the number of libraries", "Adds a library", "[REPLACE] function-code")
        .tips(TO_SHARDS),
    function("restore", -3, Run::Broadcast(functions::restore, Merge::First))
        .flags(ADDING)
        .docs(
            "7.0.0",
            "O(N) in the number of libraries in the payload",
            "Adds the libraries that FUNCTION DUMP has written",
            "serialized-value [FLUSH | APPEND | REPLACE]",
        )
        .tips(TO_SHARDS),
    function("stats", 2, Run::Connection(ConnectionCommand::Function(FunctionCommand::Stats)))
        .flags(&[F::NOSCRIPT, F::ALLOW_BUSY])
        .docs("7.0.0", "O(1)", "Tells what is running, and counts libraries and functions", "")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
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

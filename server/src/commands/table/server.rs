//! The server as a whole, its databases, and the command table itself.

use super::super::command::Categories as A;
use super::super::command::Flags as F;
use super::super::command::KeyFlags as K;
use super::super::command::{Command, Group, KeyUse};
use super::super::{
    BackupCommand, CommandCommand, ConfigCommand, ConnectionCommand, MemoryCommand, Merge, Run, generic,
    object,
};

const ANYTIME: &[F] = &[F::LOADING, F::STALE];
const ADMIN: &[F] = &[F::ADMIN, F::NOSCRIPT, F::LOADING, F::STALE];
const SAVING: &[F] = &[F::ADMIN, F::NOSCRIPT, F::NO_ASYNC_LOADING];
const UNORDERED: &[&str] = &["nondeterministic_output_order"];
const GATHERED: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];
const ALL_OK: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

const fn row(name: &'static str, arity: i8, command: ConnectionCommand) -> Command {
    Command::new(name, arity, Group::Server, Run::Connection(command))
}

const fn command(name: &'static str, arity: i8, command: CommandCommand) -> Command {
    row(name, arity, ConnectionCommand::Command(command)).of("command").flags(ANYTIME).acl(&[A::CONNECTION])
}

const fn config(name: &'static str, arity: i8, command: ConfigCommand) -> Command {
    row(name, arity, ConnectionCommand::Config(command)).of("config").flags(ADMIN)
}

const BACKUP: &[F] = &[F::ADMIN, F::NOSCRIPT, F::NO_ASYNC_LOADING, F::NO_MULTI];

const fn backup(name: &'static str, arity: i8, command: BackupCommand) -> Command {
    row(name, arity, ConnectionCommand::Backup(command)).of("backup").flags(BACKUP)
}

const fn memory(name: &'static str, command: MemoryCommand) -> Command {
    row(name, 2, ConnectionCommand::Memory(command)).of("memory")
}

const fn help(parent: &'static str) -> Command {
    row("help", 2, ConnectionCommand::Help).of(parent).flags(ANYTIME).docs(
        "5.0.0",
        "O(1)",
        "Lists the subcommands",
        "",
    )
}

pub(super) const ROWS: &[Command] = &[
    Command::new("backup", -2, Group::Server, Run::Container).docs(
        "1.0.0",
        "Depends on the subcommand",
        "Lets a program copy the data directory of a server that serves",
        "",
    ),
    backup("abort", 3, BackupCommand::Abort).docs(
        "1.0.0",
        "O(1)",
        "Says that it has failed, and keeps nothing for it any more",
        "backup:integer",
    ),
    backup("begin", 2, BackupCommand::Begin)
        .docs("1.0.0", "O(1)", "Keeps the newest checkpoints and the logs behind them from now on", "")
        .tips(GATHERED),
    Command::new("cut", 3, Group::Server, Run::Broadcast(generic::backup_cut, Merge::Concat))
        .of("backup")
        .flags(&[F::READONLY, F::ADMIN, F::NOSCRIPT, F::NO_ASYNC_LOADING, F::NO_MULTI])
        .docs("1.0.0", "O(1)", "Tells the last effect in each log, at one moment", "backup:integer")
        .tips(GATHERED),
    backup("end", 3, BackupCommand::End).docs(
        "1.0.0",
        "O(1)",
        "Says that it is complete, and keeps nothing for it any more",
        "backup:integer",
    ),
    help("backup"),
    backup("keep", 3, BackupCommand::Keep)
        .docs(
            "1.0.0",
            "O(1)",
            "Keeps it all for another while, and tells how far each log is durable",
            "backup:integer",
        )
        .tips(GATHERED),
    row("bgrewriteaof", 1, ConnectionCommand::Bgrewriteaof).flags(SAVING).docs(
        "1.0.0",
        "O(1)",
        "Has every shard take a checkpoint, and give up the log before it",
        "",
    ),
    row("bgsave", -1, ConnectionCommand::Bgsave).flags(SAVING).docs(
        "1.0.0",
        "O(1)",
        "Has every shard take a checkpoint",
        "[SCHEDULE]",
    ),
    row("bgscrub", 1, ConnectionCommand::Bgscrub).flags(SAVING).docs(
        "0.1.0",
        "O(1)",
        "Has every shard read again what it has on the disk, to find damage",
        "",
    ),
    row("command", -1, ConnectionCommand::Command(CommandCommand::All))
        .flags(ANYTIME)
        .acl(&[A::CONNECTION])
        .docs("2.8.13", "O(N) in the number of commands", "Describes all commands", "")
        .tips(UNORDERED),
    command("count", 2, CommandCommand::Count).docs("2.8.13", "O(1)", "Counts the commands", ""),
    command("docs", -2, CommandCommand::Docs)
        .docs("7.0.0", "O(N) in the number of commands", "Documents commands", "[command-name...]")
        .tips(UNORDERED),
    command("getkeys", -4, CommandCommand::Getkeys).docs(
        "2.8.13",
        "O(N) in the number of arguments",
        "Tells the keys of a whole command",
        "command arg...",
    ),
    command("getkeysandflags", -4, CommandCommand::Getkeysandflags).docs(
        "7.0.0",
        "O(N) in the number of arguments",
        "Tells the keys of a whole command, and what it does with them",
        "command arg...",
    ),
    help("command").acl(&[A::CONNECTION]),
    command("info", -2, CommandCommand::Info)
        .docs(
            "2.8.13",
            "O(N) in the number of commands",
            "Describes some commands, or all",
            "[command-name...]",
        )
        .tips(UNORDERED),
    command("list", -2, CommandCommand::List)
        .docs(
            "7.0.0",
            "O(N) in the number of commands",
            "Lists the names of commands",
            "[FILTERBY (MODULE module-name | ACLCAT category | PATTERN pattern:pattern)]",
        )
        .tips(UNORDERED),
    Command::new("config", -2, Group::Server, Run::Container).docs(
        "2.0.0",
        "Depends on the subcommand",
        "Shows and changes settings",
        "",
    ),
    config("get", -3, ConfigCommand::Get).docs(
        "2.0.0",
        "O(N) in the number of settings",
        "Tells settings",
        "parameter...",
    ),
    help("config"),
    config("resetstat", 2, ConfigCommand::Resetstat).docs(
        "2.0.0",
        "O(1)",
        "Sets the statistics back to zero",
        "",
    ),
    config("rewrite", 2, ConfigCommand::Rewrite).docs(
        "2.8.0",
        "O(1)",
        "Writes the settings to the configuration file",
        "",
    ),
    config("set", -4, ConfigCommand::Set)
        .docs(
            "2.0.0",
            "O(N) in the number of settings given",
            "Changes settings while the server runs",
            "(parameter value)...",
        )
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Command::new("dbsize", 1, Group::Server, Run::Broadcast(generic::dbsize, Merge::Sum))
        .flags(&[F::READONLY, F::FAST])
        .acl(&[A::KEYSPACE])
        .docs("1.0.0", "O(1)", "Counts the keys of the database", "")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    row("debug", -2, ConnectionCommand::Debug).flags(ADMIN).docs(
        "1.0.0",
        "Depends on the subcommand",
        "For tests of the server",
        "subcommand [arg...]",
    ),
    Command::new("flushall", -1, Group::Server, Run::Broadcast(generic::flushall, Merge::Ok))
        .flags(&[F::WRITE])
        .acl(&[A::KEYSPACE, A::DANGEROUS])
        .docs(
            "1.0.0",
            "O(1); memory is freed bit by bit",
            "Deletes all keys of all databases",
            "[ASYNC | SYNC]",
        )
        .tips(ALL_OK),
    Command::new("flushdb", -1, Group::Server, Run::Broadcast(generic::flushdb, Merge::Ok))
        .flags(&[F::WRITE])
        .acl(&[A::KEYSPACE, A::DANGEROUS])
        .docs(
            "1.0.0",
            "O(1); memory is freed bit by bit",
            "Deletes all keys of the database",
            "[ASYNC | SYNC]",
        )
        .tips(ALL_OK),
    row("info", -1, ConnectionCommand::Info)
        .flags(ANYTIME)
        .acl(&[A::DANGEROUS])
        .docs("1.0.0", "O(1)", "Tells facts and statistics of the server", "[section...]")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    row("lastsave", 1, ConnectionCommand::Lastsave)
        .flags(&[F::LOADING, F::STALE, F::FAST])
        .acl(&[A::ADMIN, A::DANGEROUS])
        .docs("1.0.0", "O(1)", "Tells the Unix time of the last save", "")
        .tips(&["nondeterministic_output"]),
    row("lolwut", -1, ConnectionCommand::Lolwut).flags(&[F::READONLY, F::FAST]).docs(
        "5.0.0",
        "O(1)",
        "Draws a small picture and tells the version",
        "[VERSION version:integer]",
    ),
    Command::new("memory", -2, Group::Server, Run::Container).docs(
        "4.0.0",
        "Depends on the subcommand",
        "Looks at what memory is used for",
        "",
    ),
    memory("doctor", MemoryCommand::Doctor)
        .docs("4.0.0", "O(1)", "Tells what is remarkable about the use of memory", "")
        .tips(GATHERED),
    help("memory"),
    memory("malloc-stats", MemoryCommand::MallocStats)
        .docs("4.0.0", "O(1)", "Tells what the allocator counts", "")
        .tips(GATHERED),
    memory("purge", MemoryCommand::Purge)
        .docs("4.0.0", "O(1)", "Asks the allocator for memory that it need not hold", "")
        .tips(ALL_OK),
    memory("stats", MemoryCommand::Stats)
        .docs("4.0.0", "O(1)", "Tells what memory is used for", "")
        .tips(GATHERED),
    Command::new("usage", -3, Group::Server, Run::Keyed(object::usage))
        .of("memory")
        .flags(&[F::READONLY])
        .keys(&[KeyUse::one(2, &[K::RO])])
        .docs(
            "4.0.0",
            "O(1); O(N) in the number of pieces of a list",
            "Tells how many bytes of memory a key and its value take",
            "key [SAMPLES count:integer]",
        ),
    Command::new("module", -2, Group::Server, Run::Container).docs(
        "4.0.0",
        "Depends on the subcommand",
        "Looks at modules, of which there are none",
        "",
    ),
    help("module"),
    row("list", 2, ConnectionCommand::ModuleList)
        .of("module")
        .flags(&[F::ADMIN, F::NOSCRIPT])
        .docs("4.0.0", "O(1)", "Lists the modules", "")
        .tips(UNORDERED),
    row("monitor", 1, ConnectionCommand::Monitor).flags(ADMIN).docs(
        "1.0.0",
        "O(1)",
        "Shows every command that the server runs, as it runs",
        "",
    ),
    row("save", 1, ConnectionCommand::Save)
        .flags(&[F::ADMIN, F::NOSCRIPT, F::NO_ASYNC_LOADING, F::NO_MULTI])
        .docs("1.0.0", "O(N)", "Has every shard take a checkpoint, and answers when all have", ""),
    row("shutdown", -1, ConnectionCommand::Shutdown)
        .flags(&[F::ADMIN, F::NOSCRIPT, F::LOADING, F::STALE, F::NO_MULTI, F::ALLOW_BUSY])
        .docs("1.0.0", "O(1)", "Stops the server", "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]"),
    Command::new("swapdb", 3, Group::Server, Run::Broadcast(generic::swapdb, Merge::Ok))
        .flags(&[F::WRITE, F::FAST])
        .acl(&[A::KEYSPACE, A::DANGEROUS])
        .docs("4.0.0", "O(1)", "Exchanges two databases", "index1:integer index2:integer"),
    row("time", 1, ConnectionCommand::Time)
        .flags(&[F::LOADING, F::STALE, F::FAST])
        .docs("2.6.0", "O(1)", "Tells the server's time", "")
        .tips(&["nondeterministic_output"]),
];

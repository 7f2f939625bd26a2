//! What a script calls: which commands it may, and those that need no shard's keys.

use annulus_protocol::{Encoder, Version};
use annulus_storage::DatabaseId;

use super::Running;
use crate::commands::{self, Command, ConnectionCommand, Flags, PubSubCommand, Refusal, introspect};
use crate::shard::Core;
use crate::shard::interest::Kind;
use crate::shard::memory::OUT_OF_MEMORY;

const UNKNOWN: &str = "ERR Unknown Redis command called from script";
const ARITY: &str = "ERR Wrong number of args calling Redis command from script";
const NOT_ALLOWED: &str = "ERR This Redis command is not allowed from script";
const READ_ONLY: &str = "ERR Write commands are not allowed from read-only scripts.";

/// The command that a script calls, or why it may not.
pub(super) fn resolve(running: &mut Running, args: &[&[u8]]) -> Result<&'static Command, &'static str> {
    let command = commands::resolve(args).map_err(|refusal| match refusal {
        Refusal::Arity(_) => ARITY,
        Refusal::UnknownCommand | Refusal::UnknownSubcommand(_) => UNKNOWN,
    })?;
    if command.flags.contains(Flags::NOSCRIPT) {
        return Err(NOT_ALLOWED);
    }
    let writes = command.flags.contains(Flags::WRITE);
    if running.reads_only && (writes || is_publish(command)) {
        return Err(READ_ONLY);
    }
    let needs_memory = command.flags.contains(Flags::DENYOOM) && !running.wrote && !running.may_exceed_memory;
    if needs_memory && running.out_of_memory {
        return Err(OUT_OF_MEMORY);
    }
    running.needs_memory = needs_memory;
    running.wrote |= writes;
    Ok(command)
}

fn is_publish(command: &Command) -> bool {
    use PubSubCommand as P;
    matches!(command.run, commands::Run::Connection(ConnectionCommand::PubSub(P::Publish | P::Spublish)))
}

impl Core {
    /// Runs a command that belongs to the connection or the server, for a script. Those that only make sense for a real
    /// connection are refused.
    pub(super) fn serve_script(
        &mut self,
        running: &mut Running,
        command: &'static Command,
        which: ConnectionCommand,
        args: &[&[u8]],
        (version, reply): (Version, &mut Vec<u8>),
    ) {
        self.commands[command.id()].calls += 1;
        let out = &mut Encoder::new(reply, version);
        match which {
            ConnectionCommand::Ping => match args {
                [_] => out.simple("PONG"),
                [_, message] => out.bulk(message),
                _ => out.error("ERR wrong number of arguments for 'ping' command"),
            },
            ConnectionCommand::Echo => out.bulk(args[1]),
            ConnectionCommand::Select => match self.parse_database(args[1]) {
                Ok(database) => {
                    running.database = database;
                    out.ok();
                }
                Err(text) => out.error(text),
            },
            ConnectionCommand::Time => self.write_time(out),
            ConnectionCommand::Lastsave => out.integer((self.time.unix_us / 1_000_000) as i64),
            ConnectionCommand::Command(which) => introspect(which, args, out),
            ConnectionCommand::Help => commands::help(args, out),
            ConnectionCommand::Pfselftest => commands::hyperloglog_self_test(out),
            ConnectionCommand::Readonly | ConnectionCommand::Readwrite => {
                out.error("ERR This instance has cluster support disabled");
            }
            ConnectionCommand::PubSub(PubSubCommand::Publish) => {
                out.integer(self.promise_message(running, Kind::Channel, args));
            }
            ConnectionCommand::PubSub(PubSubCommand::Spublish) => {
                out.integer(self.promise_message(running, Kind::ShardChannel, args));
            }
            _ => out.error(NOT_ALLOWED),
        }
    }

    /// A message that leaves with the end of the script. How many get it is counted exactly on this shard; other shards with
    /// listeners count for one each.
    fn promise_message(&mut self, running: &mut Running, kind: Kind, args: &[&[u8]]) -> i64 {
        let &[_, channel, message] = args else { return 0 };
        running.messages.push((kind, channel.to_vec(), message.to_vec()));
        self.count_listeners(kind, channel) as i64
    }

    /// Shows a command of a script to monitors.
    pub(super) fn show_call(&mut self, database: DatabaseId, command: &Command, args: &[&[u8]]) {
        if self.monitors.any {
            self.show_script_command(database, command, args);
        }
    }
}

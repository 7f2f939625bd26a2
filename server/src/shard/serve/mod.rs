//! Commands that belong to the connection or to the server as a whole, by group.

mod client;
mod cluster;
mod config;
mod connection;
mod server;

use annulus_protocol::Encoder;

use super::Core;
use super::connection::Hold;
use super::dispatch::Flow;
use super::operations::Report;
use crate::commands::{self, Command, ConnectionCommand, FunctionCommand, MemoryCommand};
use crate::runtime::SocketId;

/// An error that repeats a client's word as it came, text or not.
pub(in crate::shard) fn quoting(before: &str, word: &[u8], after: &str) -> Vec<u8> {
    [before.as_bytes(), word, after.as_bytes()].concat()
}

impl Core {
    /// Runs a connection's own command.
    pub(super) fn serve(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        which: ConnectionCommand,
        args: &[&[u8]],
    ) -> Flow {
        if looks_at_all_shards(which) && self.must_keep_order(socket) {
            return Flow::Again;
        }
        let flow = self.serve_now(socket, which, command, args);
        // What is held comes again.
        self.commands[command.id()].calls += u64::from(flow != Flow::Again);
        flow
    }

    /// Whether a command must wait until everything that its connection has sent before is answered; then the connection is held.
    pub(in crate::shard) fn must_keep_order(&mut self, socket: SocketId) -> bool {
        let Some(connection) = self.connections.get_mut(socket) else { return false };
        if connection.capture.is_some() || connection.replies.is_answered() {
            return false;
        }
        connection.hold = Some(Hold::Order);
        self.held.push(socket);
        true
    }

    fn serve_now(
        &mut self,
        socket: SocketId,
        which: ConnectionCommand,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Flow {
        match which {
            ConnectionCommand::Ping => self.ping(socket, args),
            ConnectionCommand::Echo => self.answer(socket, |out| out.bulk(args[1])),
            ConnectionCommand::Hello => self.hello(socket, args),
            ConnectionCommand::Auth => self.auth(socket, args),
            ConnectionCommand::Select => self.select(socket, args),
            ConnectionCommand::Quit => self.quit(socket),
            ConnectionCommand::Reset => self.reset(socket),
            ConnectionCommand::Client(which) => return self.client(socket, which, args),
            ConnectionCommand::Info => {
                let sections = args[1..].iter().map(|arg| arg.to_vec()).collect();
                self.start_report(socket, Report::Info(sections));
            }
            ConnectionCommand::Memory(which) => self.memory(socket, which),
            ConnectionCommand::Command(which) => {
                self.answer(socket, |out| commands::introspect(which, args, out));
            }
            ConnectionCommand::Config(which) => self.config(socket, which, args),
            ConnectionCommand::Cluster(which) => return self.cluster(socket, which, args),
            ConnectionCommand::Readonly | ConnectionCommand::Readwrite => {
                self.answer(socket, |out| {
                    out.error("ERR This instance has cluster support disabled");
                });
            }
            ConnectionCommand::Multi => self.multi(socket),
            ConnectionCommand::Exec => self.exec(socket, command, args),
            ConnectionCommand::Discard => self.discard(socket),
            ConnectionCommand::Watch => return self.watch(socket, args),
            ConnectionCommand::Unwatch => {
                self.unwatch(socket);
                self.answer_ok(socket);
            }
            ConnectionCommand::Time => self.time(socket),
            ConnectionCommand::Debug => self.debug(socket, args),
            ConnectionCommand::Save
            | ConnectionCommand::Bgsave
            | ConnectionCommand::Lastsave
            | ConnectionCommand::Bgrewriteaof => self.save(socket, which, args),
            ConnectionCommand::Bgscrub => self.scrub_everywhere(socket),
            ConnectionCommand::Backup(which) => self.backup(socket, which, args),
            ConnectionCommand::Shutdown => return self.shutdown(socket, args),
            ConnectionCommand::ModuleList => self.answer(socket, |out| out.array_header(0)),
            ConnectionCommand::Pfselftest => self.answer(socket, commands::hyperloglog_self_test),
            ConnectionCommand::Lolwut => self.lolwut(socket, args),
            ConnectionCommand::PubSub(which) => return self.pubsub(socket, which, args),
            ConnectionCommand::Monitor => self.monitor(socket),
            ConnectionCommand::Wait => return self.wait_replicas(socket, args),
            ConnectionCommand::Waitaof => return self.wait_durable(socket, args),
            ConnectionCommand::Script(which) => self.script(socket, which, args),
            ConnectionCommand::Function(which) => self.function(socket, which, args),
            ConnectionCommand::Help => self.answer(socket, |out| commands::help(args, out)),
        }
        Flow::Continue
    }

    /// Writes a reply in the connection's version of the protocol.
    pub(in crate::shard) fn answer(&mut self, socket: SocketId, write: impl FnOnce(&mut Encoder<'_>)) {
        let Some(connection) = self.connections.get(socket) else { return };
        let version = connection.session.version;
        let mut error = None;
        self.reply_with(socket, |out| {
            let start = out.len();
            write(&mut Encoder::new(out, version));
            if out.get(start) == Some(&b'-') {
                error = Some(out[start + 1..].to_vec());
            }
        });
        if let Some(text) = error {
            self.count_error(&text);
        }
    }

    /// Writes `+OK` or an error.
    pub(in crate::shard) fn answer_status(&mut self, socket: SocketId, result: Result<(), impl AsRef<[u8]>>) {
        self.answer(socket, |out| match result {
            Ok(()) => out.ok(),
            Err(text) => out.error(text),
        });
    }

    pub(in crate::shard) fn answer_ok(&mut self, socket: SocketId) {
        self.answer_status(socket, Ok::<(), &str>(()));
    }
}

/// Whether a command asks every shard about itself, each at its own time: then what the connection has changed before must be done.
fn looks_at_all_shards(which: ConnectionCommand) -> bool {
    matches!(
        which,
        ConnectionCommand::Info
            | ConnectionCommand::Memory(MemoryCommand::Doctor | MemoryCommand::Stats)
            | ConnectionCommand::Function(FunctionCommand::Stats)
    )
}

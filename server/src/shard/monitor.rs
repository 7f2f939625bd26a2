//! MONITOR: every command that runs is shown to the connections that asked for it, on whichever shard they are.
//!
//! The shard of the connection that sent a command shows it, after it has run (or has been sent to where it runs): one line,
//! written once, to its own monitors and to the shards that have some. Commands of one connection are shown in
//! order; those of different shards in the order in which they arrive, each with its time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use annulus_protocol::{Encoder, Version};
use annulus_storage::{DatabaseId, ShardId};

use super::connection::Modes;
use super::interest::Step;
use super::pubsub::Copies;
use super::pubsub::notices::Notice;
use super::{Connection, Core};
use crate::commands::{Command, ConnectionCommand, Flags, Run};
use crate::runtime::SocketId;

/// The monitors of a shard.
#[derive(Debug, Default)]
pub(super) struct Monitors {
    /// Sockets by client.
    members: BTreeMap<u64, SocketId>,
    /// Whether anybody monitors, on any shard; renewed with each turn.
    pub(super) any: bool,
    /// About an EXEC that has run and is still to be shown.
    pub(super) exec: ShownExec,
}

/// How an EXEC is shown, behind its commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ShownExec {
    /// Like any other command.
    #[default]
    Usual,
    /// In the database in which its commands end.
    In(DatabaseId),
    /// Whether its keys are as they were watched isn't known yet: when it has ended.
    Later,
}

/// Whether monitors see a command. As in Redis those for administrators stay hidden.
fn is_shown(command: &Command) -> bool {
    !command.flags.contains(Flags::ADMIN)
        && !matches!(command.run, Run::Connection(ConnectionCommand::Quit | ConnectionCommand::Monitor))
}

/// Which arguments are nobody's business.
fn is_secret(args: &[&[u8]], index: usize) -> bool {
    let is = |place: usize, word: &str| {
        args.get(place).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    if is(0, "auth") {
        return index > 0;
    }
    // HELLO version AUTH user password
    is(0, "hello") && (index >= 1 && is(index - 1, "auth") || index >= 2 && is(index - 2, "auth"))
}

/// An argument in quotes, as Redis quotes it.
fn quote(arg: &[u8], line: &mut String) {
    line.push('"');
    for &byte in arg {
        match byte {
            b'\\' | b'"' => {
                line.push('\\');
                line.push(char::from(byte));
            }
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(char::from(byte)),
            _ => {
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
    }
    line.push('"');
}

/// A command as monitors see it: when, which database, who, what.
fn line_of(unix_us: u64, database: u16, client: &str, args: &[&[u8]]) -> String {
    let mut line = String::with_capacity(64 + args.iter().map(|arg| arg.len() + 3).sum::<usize>());
    let _ = write!(line, "{}.{:06} [{database} {client}]", unix_us / 1_000_000, unix_us % 1_000_000);
    for (index, arg) in args.iter().enumerate() {
        line.push(' ');
        quote(if is_secret(args, index) { b"(redacted)" } else { arg }, &mut line);
    }
    line
}

/// How a client is named: by its address, or the path of the Unix socket that it came by.
fn name_of(connection: &Connection) -> String {
    let remote = &connection.peer.remote;
    match remote.strip_suffix(":0") {
        Some(path) if path.starts_with('/') => format!("unix:{path}"),
        _ => remote.clone(),
    }
}

impl Core {
    /// MONITOR. As in Redis the second one gets no reply.
    pub(super) fn monitor(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if connection.session.modes.intersects(Modes::MONITORS) {
            return;
        }
        connection.session.modes |= Modes::MONITORS;
        self.monitors.members.insert(connection.client, socket);
        self.monitors.any = true;
        self.shared.interest.change_monitors(self.id, Step::Up);
        self.plan_sweep();
        self.answer_ok(socket);
    }

    /// A connection that goes, or is reset, monitors no more.
    pub(super) fn forget_monitor(&mut self, client: u64) {
        if self.monitors.members.remove(&client).is_some() {
            self.shared.interest.change_monitors(self.id, Step::Down);
        }
    }

    /// Whether some connection of this shard monitors.
    pub(super) fn has_monitors(&self) -> bool {
        !self.monitors.members.is_empty()
    }

    /// Shows a command that has run to all monitors.
    #[cold]
    pub(super) fn show_command(&mut self, socket: SocketId, command: &Command, args: &[&[u8]]) {
        let current = self.connections.get(socket).map(|connection| connection.session.database);
        let database = match std::mem::take(&mut self.monitors.exec) {
            ShownExec::Usual => current.unwrap_or_default(),
            ShownExec::In(database) => database,
            ShownExec::Later => return,
        };
        self.show_command_in(database, socket, command, args);
    }

    /// Shows a command that runs in this database.
    pub(super) fn show_command_in(
        &mut self,
        database: DatabaseId,
        socket: SocketId,
        command: &Command,
        args: &[&[u8]],
    ) {
        if let Some(line) = self.command_line(database, socket, command, args) {
            self.show_everywhere(&line);
        }
    }

    /// A command as monitors see it, if they do.
    pub(super) fn command_line(
        &self,
        database: DatabaseId,
        socket: SocketId,
        command: &Command,
        args: &[&[u8]],
    ) -> Option<String> {
        let connection = self.connections.get(socket).filter(|_| is_shown(command))?;
        Some(line_of(self.time.unix_us, database.0, &name_of(connection), args))
    }

    /// Shows a command of a script to all monitors.
    #[cold]
    pub(super) fn show_script_command(&mut self, database: DatabaseId, command: &Command, args: &[&[u8]]) {
        if is_shown(command) {
            let line = line_of(self.time.unix_us, database.0, "lua", args);
            self.show_everywhere(&line);
        }
    }

    pub(super) fn show_everywhere(&mut self, line: &str) {
        let interest = &self.shared.interest;
        let others = (0..self.shards).map(ShardId).filter(|&shard| shard != self.id);
        for shard in others.filter(|&shard| interest.has_monitors(shard)).collect::<Vec<_>>() {
            self.links.notice(shard, Notice::Monitored, &[line.as_bytes()]);
        }
        self.show_line(line.as_bytes());
    }

    /// Shows a line to this shard's monitors.
    pub(super) fn show_line(&mut self, line: &[u8]) {
        let monitors = std::mem::take(&mut self.monitors.members);
        let mut over = Vec::new();
        // A simple string in both versions.
        let mut copies = Copies::new(|out: &mut Encoder<'_>| out.simple(line));
        for (&client, &socket) in &monitors {
            self.push(socket, client, &mut copies, &mut over);
        }
        self.monitors.members = monitors;
        self.close_over_limit(&over);
    }

    /// Why a connection in one of the rarer modes may not run a command.
    #[cold]
    pub(super) fn mode_refusal(connection: &Connection, command: &Command) -> Option<String> {
        let session = &connection.session;
        if session.modes.intersects(Modes::LISTENS)
            && session.version == Version::Resp2
            && !super::pubsub::allowed_while_listening(command)
        {
            let name = command.full_name();
            return Some(format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
                 context"
            ));
        }
        let keys = command.flags.contains(Flags::WRITE) || command.flags.contains(Flags::READONLY);
        // Redis takes monitors for replicas, and so do its clients' error handlers.
        (session.modes.intersects(Modes::MONITORS) && keys)
            .then(|| "ERR Replica can't interact with the keyspace".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_as_redis_writes_them() {
        let args: [&[u8]; 3] = [b"set", b"k\xff\x00", b"v\r\n\"\x01\\\x07\x08\t"];
        assert_eq!(
            line_of(1_795_273_410_013_198, 3, "127.0.0.1:53510", &args),
            r#"1795273410.013198 [3 127.0.0.1:53510] "set" "k\xff\x00" "v\r\n\"\x01\\\a\b\t""#
        );
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = |args: &[&[u8]]| line_of(0, 0, "c", args).split_off("0.000000 [0 c] ".len());
        assert_eq!(shown(&[b"AUTH", b"pw"]), r#""AUTH" "(redacted)""#);
        assert_eq!(shown(&[b"auth", b"user", b"pw"]), r#""auth" "(redacted)" "(redacted)""#);
        assert_eq!(
            shown(&[b"hello", b"3", b"AUTH", b"user", b"pw", b"setname", b"n"]),
            r#""hello" "3" "AUTH" "(redacted)" "(redacted)" "setname" "n""#
        );
        assert_eq!(shown(&[b"hello", b"3"]), r#""hello" "3""#);
    }
}

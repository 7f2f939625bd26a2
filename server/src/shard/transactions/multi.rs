//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use annulus_protocol::slot;
use annulus_storage::{DatabaseId, Key};

use super::program::{Program, selected};
use crate::commands::{Arguments, Command, ConnectionCommand, Flags, Run, lookup};
use crate::runtime::SocketId;
use crate::shard::Core;
use crate::shard::batch::{Request, Target, Work};
use crate::shard::dispatch::Flow;
use crate::shard::monitor::ShownExec;

/// Commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub(in super::super) struct Multi {
    commands: Vec<(&'static Command, Arguments)>,
    /// One of them could not be queued: EXEC will refuse them all.
    refused: bool,
}

/// What monitors are shown when a block has ended whose keys are watched.
#[derive(Debug, Default)]
pub(in super::super) struct Shown {
    /// Its commands, and EXEC, in the database in which they end.
    pub(in super::super) lines: Vec<String>,
    /// If it was called off: EXEC alone, in the database in which they would have begun.
    pub(in super::super) called_off: Option<String>,
}

impl Multi {
    /// How many commands there are.
    pub(in super::super) fn len(&self) -> usize {
        self.commands.len()
    }

    /// EXEC will refuse: a command was wrong.
    pub(in super::super) fn refuse(&mut self) {
        self.refused = true;
    }
}

/// A key that must not change before EXEC.
#[derive(Clone, Debug)]
pub(in super::super) struct Watched {
    pub(in super::super) key: Vec<u8>,
    pub(in super::super) database: DatabaseId,
    pub(in super::super) version: u64,
}

impl Core {
    /// Queues a command of a connection that is within MULTI. `None`: this one runs at once all the same.
    pub(in super::super) fn queue(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Option<Flow> {
        use ConnectionCommand as C;
        if matches!(
            command.run,
            Run::Connection(C::Multi | C::Exec | C::Discard | C::Watch | C::Quit | C::Reset)
        ) {
            return None;
        }
        if command.flags.contains(Flags::NO_MULTI) {
            self.refuse_multi(socket);
            self.error(socket, "ERR Command not allowed inside a transaction");
            return Some(Flow::Continue);
        }
        if let Some(connection) = self.connections.get_mut(socket)
            && let Some(multi) = connection.session.multi.as_mut()
        {
            multi.commands.push((command, args.iter().map(|arg| arg.to_vec()).collect()));
        }
        self.reply_with(socket, |out| out.extend_from_slice(b"+QUEUED\r\n"));
        Some(Flow::Continue)
    }

    /// A command was refused: if it stood within MULTI, EXEC will refuse them all.
    pub(in super::super) fn refuse_multi(&mut self, socket: SocketId) {
        if let Some(connection) = self.connections.get_mut(socket)
            && let Some(multi) = connection.session.multi.as_mut()
        {
            multi.refuse();
        }
    }

    pub(in super::super) fn multi(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if connection.session.multi.is_some() {
            self.error(socket, "ERR MULTI calls can not be nested");
            return;
        }
        connection.session.multi = Some(Box::default());
        self.reply_with(socket, |out| out.extend_from_slice(b"+OK\r\n"));
    }

    pub(in super::super) fn discard(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if connection.session.multi.take().is_none() {
            self.error(socket, "ERR DISCARD without MULTI");
            return;
        }
        self.unwatch(socket);
        self.reply_with(socket, |out| out.extend_from_slice(b"+OK\r\n"));
    }

    pub(in super::super) fn exec(&mut self, socket: SocketId, command: &Command, args: &[&[u8]]) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let Some(multi) = connection.session.multi.take() else {
            self.error(socket, "ERR EXEC without MULTI");
            return;
        };
        if multi.refused {
            self.unwatch(socket);
            self.error(socket, "EXECABORT Transaction discarded because of previous errors.");
            return;
        }
        // The keys are watched until the end of the program, whose parts compare their versions.
        let watched = std::mem::take(&mut connection.session.watched);
        let watches = !watched.is_empty();
        let mut shown = Shown::default();
        if self.monitors.any {
            // All in order before any runs, and with the databases that they will find.
            let begins_in = connection.session.database;
            let mut database = begins_in;
            for (command, args) in &multi.commands {
                let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                database = selected(command, &args, self.store.databases()).unwrap_or(database);
                shown.lines.extend(self.command_line(database, socket, command, &args));
            }
            if watches {
                shown.lines.extend(self.command_line(database, socket, command, args));
                shown.called_off = self.command_line(begins_in, socket, command, args);
                self.monitors.exec = ShownExec::Later;
            } else {
                shown.lines.drain(..).for_each(|line| self.show_everywhere(&line));
                self.monitors.exec = ShownExec::In(database);
            }
        }
        self.start_program(socket, Program::exec(multi.commands, watched, shown));
    }

    pub(in super::super) fn watch(&mut self, socket: SocketId, args: &[&[u8]]) -> Flow {
        let Some(connection) = self.connections.get(socket) else { return Flow::Stop };
        let session = &connection.session;
        if session.multi.is_some() {
            self.error(socket, "ERR WATCH inside MULTI is not allowed");
            return Flow::Continue;
        }
        let mut keys = vec![&b"annulus.watch"[..]];
        for key in &args[1..] {
            let known = session.watched.iter().any(|it| it.database == session.database && it.key == *key);
            if !known && !keys[1..].contains(key) {
                keys.push(key);
            }
        }
        if keys.len() == 1 {
            self.reply_with(socket, |out| out.extend_from_slice(b"+OK\r\n"));
            return Flow::Continue;
        }
        let command = lookup(keys[0]).expect("the table has the internal commands");
        self.start_watch(socket, command, &keys)
    }

    /// The versions of keys to watch are there.
    pub(in super::super) fn note_watched(
        &mut self,
        target: Target,
        database: DatabaseId,
        versions: Vec<(Vec<u8>, u64)>,
    ) {
        let Target::Connection { socket, client, .. } = target else { return };
        let watched = versions.into_iter().map(|(key, version)| Watched { key, database, version });
        match self.connections.of_client(socket, client) {
            Some(connection) => connection.session.watched.extend(watched),
            // It has gone meanwhile.
            None => self.forget_watched(&watched.collect::<Vec<_>>()),
        }
    }

    /// The connection watches nothing any more.
    pub(in super::super) fn unwatch(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let watched = std::mem::take(&mut connection.session.watched);
        self.forget_watched(&watched);
    }

    /// Tells the owners of keys that a watcher has gone.
    pub(in super::super) fn forget_watched(&mut self, watched: &[Watched]) {
        for it in watched {
            let key = Key { bytes: &it.key, slot: slot(&it.key) };
            let shard = self.owner(key.slot);
            if shard == self.id {
                self.store.unwatch(it.database, key);
                continue;
            }
            let call = crate::shard::batch::Call {
                database: it.database,
                version: annulus_protocol::Version::Resp2,
                slot: key.slot,
                touches: false,
                origin: crate::shard::batch::Origin::default(),
            };
            let request = Request { target: Target::Nobody, work: Work::Core(forget), call, arguments: 0 };
            let database = it.database.0.to_le_bytes();
            self.links.request(shard, request, [&database[..], &it.key]);
        }
    }

    /// Whether any watched key of this shard is not what it was.
    pub(super) fn any_changed(&mut self, watched: &[(Box<[u8]>, DatabaseId, u64)]) -> bool {
        if watched.is_empty() {
            return false;
        }
        self.store.begin_command();
        let changed = watched.iter().any(|(bytes, database, version)| {
            let key = Key { bytes, slot: slot(bytes) };
            self.store.watched_version(*database, key) != *version
        });
        self.store.end_command();
        changed
    }

    /// Runs a connection's own command in the middle of a transaction; its reply goes to the operation.
    pub(in super::super) fn serve_for(&mut self, target: Target, place: Target, args: &Arguments) {
        let Target::Connection { socket, client, .. } = target else { return };
        let slices: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let command = crate::commands::resolve(&slices).ok();
        let which = command.and_then(|command| match command.run {
            Run::Connection(which) => Some((command, which)),
            _ => None,
        });
        let (Some((command, which)), Some(connection)) = (which, self.connections.of_client(socket, client))
        else {
            self.deliver(place, b"$-1\r\n", annulus_storage::Lsn::ZERO);
            return;
        };
        connection.capture = Some(place);
        self.serve(socket, command, which, &slices);
        if let Some(connection) = self.connections.of_client(socket, client) {
            connection.capture = None;
        }
    }
}

/// A watcher of a key has gone: `database key`.
fn forget(core: &mut Core, args: &[&[u8]], _: &mut Vec<u8>) {
    if let &[database, bytes] = args
        && let Ok(database) = database.try_into().map(u16::from_le_bytes)
    {
        core.store.unwatch(DatabaseId(database), Key { bytes, slot: slot(bytes) });
    }
}

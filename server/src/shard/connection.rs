//! One client's connection: what has been read and not parsed, the replies to come, and the session.

use annulus_protocol::{CommandParser, Version};
use annulus_storage::{DatabaseId, Lsn, ShardId, TransactionId};

use super::batch::{Call, Origin, Target};
use super::pubsub::Listening;
use super::replies::Replies;
use super::tracking::ClientTracking;
use super::transactions::multi::{Multi, Watched};
use crate::runtime::{Peer, SocketId};

/// What CLIENT REPLY has set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// Replies are sent.
    #[default]
    On,
    /// None is.
    Off,
    /// The next command's isn't (`SKIP` was given by the command before).
    SkipNext,
    /// This command's isn't.
    Skip,
}

/// Why a connection's commands are not parsed for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A command in several rounds is under way; those behind it must see what it does.
    Operation,
    /// Too many replies are waiting, or the client doesn't read them.
    Output,
    /// The mesh queue to a shard, or the log, is too far behind.
    Pressure,
    /// CLIENT PAUSE.
    Paused,
    /// WAIT or WAITAOF.
    Wait,
    /// BLPOP and its kin: the command of this number waits, or may.
    Blocked(u64),
    /// A message must not leave before the replies to what came before it.
    Order,
}

/// What few connections have switched on, as a set: one look tells the many others from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes(u8);

impl Modes {
    /// It listens to messages.
    pub const LISTENS: Self = Self(1);
    /// MONITOR.
    pub const MONITORS: Self = Self(1 << 1);
    /// CLIENT TRACKING.
    pub const TRACKS: Self = Self(1 << 2);
    /// Others that track redirect to it.
    pub const REDIRECTED: Self = Self(1 << 3);

    /// Whether all is as with most connections.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether both sets have something in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it gets what it did not ask for one by one.
    pub const fn is_told(self) -> bool {
        !self.is_empty()
    }
}

impl std::ops::BitOr for Modes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Modes {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl std::ops::SubAssign for Modes {
    fn sub_assign(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

/// What the client has told about itself, and chosen.
#[derive(Debug, Default)]
pub struct Session {
    /// SELECT.
    pub database: DatabaseId,
    /// HELLO.
    pub version: Version,
    /// AUTH, or no password is set.
    pub authenticated: bool,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// CLIENT SETNAME.
    pub name: Box<str>,
    /// CLIENT SETINFO LIB-NAME.
    pub library_name: Box<str>,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: Box<str>,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// What it has switched on.
    pub modes: Modes,
    /// What it listens to.
    pub listening: Option<Box<Listening>>,
    /// MULTI: the commands since then.
    pub(super) multi: Option<Box<Multi>>,
    /// WATCH.
    pub(super) watched: Vec<Watched>,
    /// What it tracks.
    pub tracking: Option<Box<ClientTracking>>,
    /// The keys that the running command reads are remembered.
    pub tracks_now: bool,
    /// Id of the last command, in the command table.
    pub last_command: Option<&'static crate::commands::Command>,
}

/// A connection of a shard.
#[derive(Debug)]
pub struct Connection {
    /// Number of the client, unique in the server's life.
    pub client: u64,
    /// Its shard.
    pub home: ShardId,
    /// Its socket in this shard's driver.
    pub socket: SocketId,
    /// The two ends.
    pub peer: Box<Peer>,
    /// Progress in the first command of `input`.
    pub parser: CommandParser,
    /// Received bytes that are no whole command yet, or that must wait.
    pub input: Vec<u8>,
    /// Replies.
    pub replies: Replies,
    /// A send is under way.
    pub sending: bool,
    /// Bytes under way.
    pub sending_bytes: usize,
    /// In the list of connections with something to send.
    pub dirty: bool,
    /// Where the reply of the running command goes, if it stands within a transaction.
    pub capture: Option<Target>,
    /// The last transaction that it began over several shards, by operation.
    pub last_transaction: Option<(u32, TransactionId)>,
    /// Why nothing is parsed.
    pub hold: Option<Hold>,
    /// The driver has been told to stop receiving.
    pub receive_paused: bool,
    /// The client has finished sending.
    pub input_ended: bool,
    /// No further command is parsed; closes when all replies are sent.
    pub closing: bool,
    /// Of the last gate under which this connection was put into the queue.
    pub gate_queued: Lsn,
    /// What it has chosen.
    pub session: Box<Session>,
    /// When it was accepted, monotonic ms.
    pub created_ms: u64,
    /// When it last sent something, monotonic ms.
    pub active_ms: u64,
    /// Bytes of messages that were put into its output since it was last empty.
    pub pushed_bytes: usize,
    /// Since when its output has been over the soft limit, monotonic ms.
    pub soft_limit_since_ms: Option<u64>,
    /// Commands so far.
    pub commands: u64,
}

impl Connection {
    /// A fresh connection.
    pub fn new(
        (client, home): (u64, ShardId),
        socket: SocketId,
        peer: Peer,
        authenticated: bool,
        now_ms: u64,
    ) -> Self {
        Connection {
            client,
            home,
            socket,
            peer: Box::new(peer),
            parser: CommandParser::new(),
            input: Vec::new(),
            replies: Replies::default(),
            sending: false,
            sending_bytes: 0,
            dirty: false,
            capture: None,
            last_transaction: None,
            hold: None,
            receive_paused: false,
            input_ended: false,
            closing: false,
            gate_queued: Lsn::ZERO,
            session: Box::new(Session { authenticated, ..Session::default() }),
            created_ms: now_ms,
            active_ms: now_ms,
            pushed_bytes: 0,
            soft_limit_since_ms: None,
            commands: 0,
        }
    }

    /// The terms on which its commands run.
    pub fn call(&self, slot: u16) -> Call {
        let session = &self.session;
        Call {
            database: session.database,
            version: session.version,
            slot,
            touches: !session.no_touch,
            origin: self.origin(),
        }
    }

    /// Whose its commands are.
    pub fn origin(&self) -> Origin {
        Origin { client: self.client, home: self.home, tracks: self.session.tracks_now, prepares: false }
    }

    /// Whether the reply of the running command is not wanted.
    pub fn suppresses_reply(&self) -> bool {
        matches!(self.session.reply_mode, ReplyMode::Off | ReplyMode::Skip)
    }

    /// Everything that was to be sent has been, and nothing more will come.
    pub fn is_drained(&self) -> bool {
        !self.sending && self.sending_bytes == 0 && !self.replies.has_output() && self.replies.waiting() == 0
    }

    /// Bytes that wait for the client to read.
    pub fn output_bytes(&self) -> usize {
        self.replies.bytes() + self.sending_bytes
    }
}

/// The connections of a shard, by socket.
#[derive(Debug, Default)]
pub struct Connections {
    by_socket: Vec<Option<Box<Connection>>>,
    /// Those without a socket. Their numbers are beyond all sockets, so that whoever has a socket pays nothing for them.
    by_line: Vec<Option<Box<Connection>>>,
    count: usize,
}

impl Connections {
    /// Adds a connection under its socket's number.
    pub fn insert(&mut self, connection: Connection) {
        let socket = connection.socket;
        let (all, index) = if socket.is_line() {
            (&mut self.by_line, socket.line_index())
        } else {
            (&mut self.by_socket, socket.index())
        };
        if index >= all.len() {
            all.resize_with(index + 1, || None);
        }
        assert!(all[index].is_none(), "{socket:?} has a connection already");
        all[index] = Some(Box::new(connection));
        self.count += 1;
    }

    /// Takes a connection out.
    pub fn remove(&mut self, socket: SocketId) -> Option<Box<Connection>> {
        let removed = self.slot_mut(socket)?.take();
        self.count -= usize::from(removed.is_some());
        removed
    }

    /// The connection of a socket, unless it has been closed.
    #[inline]
    pub fn get_mut(&mut self, socket: SocketId) -> Option<&mut Connection> {
        self.slot_mut(socket)?.as_deref_mut()
    }

    #[inline]
    fn slot_mut(&mut self, socket: SocketId) -> Option<&mut Option<Box<Connection>>> {
        if socket.index() < self.by_socket.len() {
            return self.by_socket.get_mut(socket.index());
        }
        self.line_mut(socket)
    }

    #[cold]
    fn line_mut(&mut self, socket: SocketId) -> Option<&mut Option<Box<Connection>>> {
        self.by_line.get_mut(socket.is_line().then(|| socket.line_index())?)
    }

    #[cold]
    fn line(&self, socket: SocketId) -> Option<&Connection> {
        self.by_line.get(socket.is_line().then(|| socket.line_index())?)?.as_deref()
    }

    /// The connection of a socket, unless it has been closed.
    #[inline]
    pub fn get(&self, socket: SocketId) -> Option<&Connection> {
        match self.by_socket.get(socket.index()) {
            Some(slot) => slot.as_deref(),
            None => self.line(socket),
        }
    }

    /// Lends a connection out, so that the rest of the shard can be used beside it; [`Connections::put_back`] ends that.
    #[inline]
    pub fn take(&mut self, socket: SocketId) -> Option<Box<Connection>> {
        self.slot_mut(socket)?.take()
    }

    /// Puts a lent connection back.
    #[inline]
    pub fn put_back(&mut self, connection: Box<Connection>) {
        let socket = connection.socket;
        let slot = self.slot_mut(socket);
        *slot.expect("a connection that was lent out has a place") = Some(connection);
    }

    /// The connection of a socket if it is still this client's.
    pub fn of_client(&mut self, socket: SocketId, client: u64) -> Option<&mut Connection> {
        self.get_mut(socket).filter(|connection| connection.client == client)
    }

    /// All connections.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.by_socket.iter().chain(&self.by_line).flatten().map(AsRef::as_ref)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

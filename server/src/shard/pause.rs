//! CLIENT PAUSE, as one shard sees it.

use super::Core;
use super::connection::Hold;
use crate::commands::{Command, ConnectionCommand, Flags, Run};

/// Whether commands are to wait, and which.
#[derive(Debug, Default)]
pub(super) struct Pause {
    until_ms: u64,
    writes_only: bool,
}

impl Pause {
    /// Whether any command has to wait now.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.until_ms != 0
    }

    /// Whether this one has to: all or the writing ones, but never those that end the pause or the connection.
    pub(super) fn holds(&self, command: &Command) -> bool {
        let exempt = matches!(
            command.run,
            Run::Connection(
                ConnectionCommand::Client(_)
                    | ConnectionCommand::Quit
                    | ConnectionCommand::Reset
                    | ConnectionCommand::Shutdown
                    | ConnectionCommand::Info
            )
        );
        !exempt && (!self.writes_only || command.flags.contains(Flags::WRITE))
    }

    /// When it ends, Unix ms.
    pub(super) fn until_ms(&self) -> Option<u64> {
        (self.until_ms != 0).then_some(self.until_ms)
    }
}

impl Core {
    /// Takes over what CLIENT PAUSE and UNPAUSE have set, and ends a pause that is over.
    pub(super) fn refresh_pause(&mut self) {
        let (until_ms, writes_only) = self.shared.pause();
        let over = until_ms <= self.time.unix_ms();
        self.pause.until_ms = if over { 0 } else { until_ms };
        self.pause.writes_only = writes_only;
    }

    /// Lets held connections go on where the reason has gone. Returns whether any did.
    pub(super) fn resume_held(&mut self) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let pressed =
            self.store.sink().backlog_bytes() >= super::limits::LOG_BACKLOG_BYTES || self.links.congested();
        let mut any = false;
        for socket in std::mem::take(&mut self.held) {
            let Some(connection) = self.connections.get_mut(socket) else { continue };
            let goes_on = match connection.hold {
                Some(Hold::Output) => {
                    connection.replies.waiting() == 0
                        && connection.output_bytes() <= super::limits::OUTPUT_LOW_BYTES
                }
                Some(Hold::Pressure) => !pressed,
                Some(Hold::Paused) => !self.pause.is_active(),
                Some(Hold::Order) => connection.replies.is_answered(),
                Some(Hold::Operation | Hold::Wait | Hold::Blocked(_)) | None => false,
            };
            match connection.hold {
                Some(hold) if goes_on => {
                    let client = connection.client;
                    self.unhold(socket, client, hold);
                    any = true;
                }
                Some(hold) if !matches!(hold, Hold::Operation | Hold::Wait | Hold::Blocked(_)) => {
                    self.held.push(socket);
                }
                _ => {}
            }
        }
        any
    }

    /// Ends a hold: the connection's waiting input runs with this turn's end.
    pub(super) fn unhold(&mut self, socket: crate::runtime::SocketId, client: u64, hold: Hold) {
        let Some(connection) = self.connections.of_client(socket, client) else { return };
        if connection.hold != Some(hold) {
            return;
        }
        connection.hold = None;
        if std::mem::take(&mut connection.receive_paused) {
            self.intents.resume.push(socket);
        }
        self.intents.rerun.push(socket);
    }
}

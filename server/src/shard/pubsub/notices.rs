//! What a shard tells another without being asked: messages, invalidations, monitored commands.
//!
//! Requests are bounded by holding the connections that make them; notices are caused by writes that may come from
//! anywhere, and waiting for room would hold up everybody. So they are bounded by bytes: what a shard cannot be told, its
//! listeners are told by losing their connections ([`Notice::Missed`]), never by silence.

use smallvec::SmallVec;

use super::super::Core;
use super::super::interest::Kind;
use crate::shard::ShardId;

/// One thing to tell; its arguments follow in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A message of the server's own: channel and message.
    Message,
    /// A command, as monitors show it.
    Monitored,
    /// Tell when everything that your log has is durable.
    Barrier {
        /// The number of the wait that asks.
        wait: u64,
    },
    /// It is.
    BarrierPassed {
        /// The number of the wait that asked.
        wait: u64,
    },
    /// A key has changed that a connection of yours has read.
    Invalidated {
        /// The connection.
        client: u64,
        /// Who has changed it.
        writer: u64,
    },
    /// A key has changed.
    Changed {
        /// Who has changed it.
        writer: u64,
    },
    /// The sender has flushed so often.
    Flushed {
        /// How often.
        flushes: u64,
    },
    /// Has the receiver this client? It is to be redirected to.
    FindClient {
        /// The number of the search.
        find: u64,
        /// The client.
        client: u64,
    },
    /// Whether the sender has the client.
    ClientFound {
        /// The number of the search.
        find: u64,
        /// Whether.
        found: bool,
    },
    /// A key to forget, for a client of yours.
    Redirected {
        /// The client.
        to: u64,
        /// Who has redirected.
        by: u64,
    },
    /// All keys are to be forgotten, by a client of yours.
    RedirectedAll {
        /// The client.
        to: u64,
        /// Who has redirected.
        by: u64,
    },
    /// The client that a client of yours redirects to has gone.
    RedirectBroken {
        /// The client that redirects.
        client: u64,
    },
    /// Notices before this one were lost, because too many waited.
    Missed,
}

impl Notice {
    /// Whether it may be dropped when too much waits; what may not has no arguments.
    pub const fn may_be_missed(self) -> bool {
        self.arguments() > 0
    }

    /// How many arguments it has.
    const fn arguments(self) -> usize {
        match self {
            Notice::Message => 2,
            Notice::Monitored
            | Notice::Invalidated { .. }
            | Notice::Changed { .. }
            | Notice::Redirected { .. } => 1,
            Notice::Missed
            | Notice::Barrier { .. }
            | Notice::BarrierPassed { .. }
            | Notice::Flushed { .. }
            | Notice::FindClient { .. }
            | Notice::ClientFound { .. }
            | Notice::RedirectedAll { .. }
            | Notice::RedirectBroken { .. } => 0,
        }
    }
}

/// Notices for one shard.
#[derive(Debug, Default)]
pub struct NoticeBatch {
    notices: Vec<Notice>,
    /// Where each argument ends in `data`.
    ends: Vec<usize>,
    data: Vec<u8>,
}

impl NoticeBatch {
    /// Drops what may be missed.
    pub fn miss(&mut self) {
        let kept: Vec<Notice> =
            self.notices.iter().copied().filter(|notice| !notice.may_be_missed()).collect();
        *self = NoticeBatch { notices: kept, ..NoticeBatch::default() };
    }

    /// Adds a notice.
    pub fn push(&mut self, notice: Notice, args: &[&[u8]]) {
        assert_eq!(notice.arguments(), args.len(), "arguments of {notice:?}");
        for arg in args {
            self.data.extend_from_slice(arg);
            self.ends.push(self.data.len());
        }
        self.notices.push(notice);
    }

    /// What it takes in a queue, about.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.notices.len() * size_of::<Notice>() + self.ends.len() * size_of::<usize>()
    }

    /// The notices with their arguments, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Notice, SmallVec<[&[u8]; 2]>)> {
        let (mut index, mut start) = (0, 0);
        self.notices.iter().map(move |&notice| {
            let ends = &self.ends[index..index + notice.arguments()];
            index += notice.arguments();
            let args = ends.iter().map(|&end| {
                let arg = &self.data[start..end];
                start = end;
                arg
            });
            (notice, args.collect())
        })
    }
}

impl Core {
    /// Another shard has told something.
    pub(in crate::shard) fn on_notices(&mut self, from: ShardId, batch: &NoticeBatch) {
        for (notice, args) in batch.iter() {
            match (notice, args.as_slice()) {
                (Notice::Message, [channel, message]) => {
                    self.deliver_message(Kind::Channel, channel, message);
                }
                (Notice::Monitored, [line]) => self.show_line(line),
                (Notice::Barrier { wait }, []) => self.on_barrier(from, wait),
                (Notice::BarrierPassed { wait }, []) => self.on_barrier_passed(wait),
                (Notice::Invalidated { client, writer }, [key]) => self.on_invalidated(client, writer, key),
                (Notice::Changed { writer }, [key]) => self.on_changed(key, writer),
                (Notice::Flushed { flushes }, []) => self.on_flushed(from, flushes),
                (Notice::FindClient { find, client }, []) => self.on_find_client(from, find, client),
                (Notice::ClientFound { find, found }, []) => self.on_client_found(from, find, found),
                (Notice::Redirected { to, by }, [key]) => self.on_redirected(from, to, by, Some(&[key])),
                (Notice::RedirectedAll { to, by }, []) => self.on_redirected(from, to, by, None),
                (Notice::RedirectBroken { client }, []) => self.on_redirect_broken(client),
                (Notice::Missed, []) => self.on_missed(from),
                (notice, args) => unreachable!("{notice:?} with {} arguments", args.len()),
            }
        }
        self.close_refused();
    }

    /// Whoever may have missed something loses the connection.
    fn on_missed(&mut self, from: ShardId) {
        let listeners: Vec<_> = self
            .connections
            .iter()
            .filter(|connection| connection.session.modes.is_told())
            .map(|connection| connection.socket)
            .collect();
        tracing::warn!(
            shard = self.id.0,
            from = from.0,
            connections = listeners.len(),
            "too many messages came from another shard: those who listen are closed"
        );
        for socket in listeners {
            self.counters.clients.output_limit_closed += 1;
            self.close(socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_come_out_as_they_went_in() {
        let mut batch = NoticeBatch::default();
        batch.push(Notice::Message, &[b"channel", b""]);
        batch.push(Notice::Missed, &[]);
        batch.push(Notice::Message, &[b"", b"message"]);
        let seen: Vec<(Notice, Vec<Vec<u8>>)> = batch
            .iter()
            .map(|(notice, args)| (notice, args.iter().map(|arg| arg.to_vec()).collect()))
            .collect();
        let expected = [
            (Notice::Message, vec![b"channel".to_vec(), Vec::new()]),
            (Notice::Missed, Vec::new()),
            (Notice::Message, vec![Vec::new(), b"message".to_vec()]),
        ];
        assert_eq!(seen, expected);
    }
}

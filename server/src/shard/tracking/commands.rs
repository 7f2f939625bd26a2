//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO.

use annulus_protocol::Encoder;
use annulus_storage::{Lsn, ShardId};

use super::super::Core;
use super::super::batch::Target;
use super::super::connection::{Connection, Hold, Modes};
use super::super::dispatch::Flow;
use super::super::interest::Step;
use super::super::pubsub::notices::Notice;
use super::options::{TrackingCommand, TrackingOptions};
use super::{ClientTracking, Redirect};
use crate::runtime::SocketId;

const NO_SUCH_CLIENT: &str = "ERR The client ID you want redirect to does not exist";
const CACHING_NEEDS_MODE: &str = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled";

/// A redirection that waits for the other shards to say whether they have the client.
#[derive(Debug)]
pub(in crate::shard) struct Find {
    socket: SocketId,
    client: u64,
    target: Target,
    options: TrackingOptions,
    redirect: u64,
    /// The connection is held until this ends.
    holds: bool,
    /// Shards that have not answered.
    missing: u16,
}

impl Core {
    /// `CLIENT TRACKING`
    pub(in crate::shard) fn client_tracking(&mut self, socket: SocketId, args: &[&[u8]]) -> Flow {
        let command = match TrackingCommand::parse(args.get(2..).unwrap_or_default()) {
            Ok(command) => command,
            Err(text) => {
                self.answer(socket, |out| out.error(text));
                return Flow::Continue;
            }
        };
        let TrackingCommand { on, redirect, options } = command;
        if redirect != 0 {
            return self.find_client(socket, redirect as u64, options, on);
        }
        let result = if on {
            self.start_tracking(socket, None, options)
        } else {
            self.stop_tracking(socket);
            Ok(())
        };
        self.answer_status(socket, result);
        Flow::Continue
    }

    /// Looks for the client to redirect to: here at once, or on the other shards, while the connection is held.
    fn find_client(&mut self, socket: SocketId, redirect: u64, options: TrackingOptions, on: bool) -> Flow {
        let here = self.connections.iter().find(|connection| connection.client == redirect);
        if here.is_some() || self.shards == 1 || !on {
            let result = match here.map(|connection| connection.client) {
                None => Err(NO_SUCH_CLIENT.into()),
                Some(_) if !on => {
                    self.stop_tracking(socket);
                    Ok(())
                }
                Some(client) => {
                    self.become_target(client);
                    self.start_tracking(socket, Some(Redirect { client, shard: self.id }), options)
                }
            };
            self.answer_status(socket, result);
            return Flow::Continue;
        }
        let Some(connection) = self.connections.get_mut(socket) else { return Flow::Stop };
        let client = connection.client;
        // Within MULTI, EXEC holds the connection already, and takes the reply.
        let holds = connection.capture.is_none();
        let target = connection.capture.unwrap_or_else(|| {
            let place = connection.replies.reserve(connection.suppresses_reply());
            Target::Connection { socket, client, place }
        });
        if holds {
            connection.hold = Some(Hold::Operation);
        }
        let find = Find { socket, client, target, options, redirect, holds, missing: self.shards - 1 };
        self.tracking.last_find += 1;
        let number = self.tracking.last_find;
        self.tracking.finds.insert(number, find);
        for shard in (0..self.shards).map(ShardId).filter(|&shard| shard != self.id) {
            self.links.notice(shard, Notice::FindClient { find: number, client: redirect }, &[]);
        }
        Flow::Stop
    }

    /// Another shard looks for a client, to redirect to it.
    pub(in crate::shard) fn on_find_client(&mut self, from: ShardId, find: u64, client: u64) {
        let found = self.become_target(client);
        self.links.notice(from, Notice::ClientFound { find, found }, &[]);
    }

    /// Notes that invalidations are redirected to a client of this shard. False if it's not here.
    fn become_target(&mut self, client: u64) -> bool {
        let Some(socket) = self.connections.iter().find(|it| it.client == client).map(|it| it.socket) else {
            return false;
        };
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.session.modes |= Modes::REDIRECTED;
        }
        self.tracking.targets.insert(client, socket);
        true
    }

    /// Another shard has looked for a client.
    pub(in crate::shard) fn on_client_found(&mut self, from: ShardId, number: u64, found: bool) {
        let Some(find) = self.tracking.finds.get_mut(&number) else { return };
        find.missing -= 1;
        if !found && find.missing > 0 {
            return;
        }
        let Some(find) = self.tracking.finds.remove(&number) else { return };
        let Find { socket, client, target, options, redirect, holds, .. } = find;
        if self.connections.of_client(socket, client).is_none() {
            return;
        }
        let result = if found {
            self.start_tracking(socket, Some(Redirect { client: redirect, shard: from }), options)
        } else {
            Err(NO_SUCH_CLIENT.into())
        };
        let mut reply = Vec::new();
        let mut out = Encoder::new(&mut reply, annulus_protocol::Version::Resp2);
        match result {
            Ok(()) => out.ok(),
            Err(text) => {
                self.count_error(text.get(..).unwrap_or_default());
                out.error(text);
            }
        }
        if holds {
            self.unhold(socket, client, Hold::Operation);
        }
        self.deliver(target, &reply, Lsn::ZERO);
    }

    fn start_tracking(
        &mut self,
        socket: SocketId,
        redirect: Option<Redirect>,
        mut options: TrackingOptions,
    ) -> Result<(), Vec<u8>> {
        let Some(connection) = self.connections.get_mut(socket) else { return Ok(()) };
        let client = connection.client;
        let before = connection.session.tracking.take();
        if let Err(text) = options.check(before.as_ref().map(|before| &before.options)) {
            connection.session.tracking = before;
            return Err(text);
        }
        if options.broadcast && options.prefixes.is_empty() {
            options.prefixes.push(Box::default());
        }
        connection.session.modes |= Modes::TRACKS;
        self.tracking.clients.insert(client, socket);
        for prefix in &options.prefixes {
            self.tracking.prefixes.entry(prefix.clone()).or_default().insert(client, socket);
        }
        if options.broadcast && before.is_none() {
            self.shared.interest.change_broadcast(self.id, Step::Up);
        }
        if before.is_none() {
            self.shared.interest.change_tracking(Step::Up);
        }
        // Prefixes add up; a prefix that is there already has been refused, the empty one excepted.
        let earlier = before.map(|before| before.options.prefixes).unwrap_or_default();
        for prefix in earlier {
            if !options.prefixes.contains(&prefix) {
                options.prefixes.push(prefix);
            }
        }
        options.prefixes.sort();
        let tracking = ClientTracking { redirect, broken_redirect: false, options, caching: false };
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.session.tracking = Some(Box::new(tracking));
        }
        self.refresh_tracking();
        Ok(())
    }

    /// CLIENT TRACKING OFF, RESET.
    pub(in crate::shard) fn stop_tracking(&mut self, socket: SocketId) {
        let Some(mut connection) = self.connections.take(socket) else { return };
        self.forget_tracking(&connection);
        connection.session.tracking = None;
        connection.session.tracks_now = false;
        connection.session.modes -= Modes::TRACKS;
        self.connections.put_back(connection);
    }

    /// A connection that goes tracks nothing any more. Keys that it has read are forgotten when they change.
    pub(in crate::shard) fn forget_tracking(&mut self, connection: &Connection) {
        let client = connection.client;
        if let Some(tracking) = connection.session.tracking.as_deref() {
            self.tracking.clients.remove(&client);
            for prefix in &tracking.options.prefixes {
                if let Some(members) = self.tracking.prefixes.get_mut(prefix) {
                    members.remove(&client);
                    if members.is_empty() {
                        self.tracking.prefixes.remove(prefix);
                    }
                }
            }
            if tracking.options.broadcast {
                self.shared.interest.change_broadcast(self.id, Step::Down);
            }
            self.shared.interest.change_tracking(Step::Down);
        }
    }

    /// A connection that goes is no target of redirections any more.
    pub(in crate::shard) fn forget_target(&mut self, client: u64) {
        self.tracking.targets.remove(&client);
    }

    /// `CLIENT CACHING YES | NO`
    pub(in crate::shard) fn client_caching(&mut self, socket: SocketId, args: &[&[u8]]) {
        let yes = args[2].eq_ignore_ascii_case(b"yes");
        let known = yes || args[2].eq_ignore_ascii_case(b"no");
        let tracking = self.connections.get_mut(socket).and_then(|it| it.session.tracking.as_deref_mut());
        let result = match tracking {
            None => Err(CACHING_NEEDS_MODE),
            Some(_) if !known => Err("ERR syntax error"),
            Some(tracking) if yes && !tracking.options.opt_in => {
                Err("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
            }
            Some(tracking) if !yes && !tracking.options.opt_out => {
                Err("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
            }
            Some(tracking) => {
                tracking.caching = true;
                Ok(())
            }
        };
        self.answer_status(socket, result);
    }

    /// `CLIENT GETREDIR`
    pub(in crate::shard) fn client_getredir(&mut self, socket: SocketId) {
        let tracking = self.connections.get(socket).and_then(|it| it.session.tracking.as_deref());
        let redirect = tracking.map_or(-1, |tracking| tracking.redirect_client() as i64);
        self.answer(socket, |out| out.integer(redirect));
    }

    /// `CLIENT TRACKINGINFO`
    pub(in crate::shard) fn client_trackinginfo(&mut self, socket: SocketId) {
        let tracking = self.connections.get(socket).and_then(|it| it.session.tracking.as_deref());
        let mut flags = Vec::new();
        let (mut redirect, mut prefixes) = (-1, Vec::new());
        if let Some(ClientTracking { options, caching, broken_redirect, .. }) = tracking {
            flags.push("on");
            flags.extend(options.broadcast.then_some("bcast"));
            flags.extend(options.opt_in.then_some("optin"));
            flags.extend((options.opt_in && *caching).then_some("caching-yes"));
            flags.extend(options.opt_out.then_some("optout"));
            flags.extend((options.opt_out && *caching).then_some("caching-no"));
            flags.extend(options.no_loop.then_some("noloop"));
            flags.extend(broken_redirect.then_some("broken_redirect"));
            redirect = tracking.map_or(0, |tracking| tracking.redirect_client() as i64);
            prefixes.clone_from(&options.prefixes);
        } else {
            flags.push("off");
        }
        self.answer(socket, |out| {
            out.map_header(3);
            out.bulk("flags");
            out.set_header(flags.len());
            for flag in flags {
                out.bulk(flag);
            }
            out.bulk("redirect");
            out.integer(redirect);
            out.bulk("prefixes");
            out.array_header(prefixes.len());
            for prefix in prefixes {
                out.bulk(&*prefix);
            }
        });
    }
}

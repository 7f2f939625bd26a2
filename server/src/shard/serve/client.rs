//! CLIENT.

use std::fmt::Write as _;

use annulus_protocol::{Encoder, Version, parse_bulk_reply, parse_i64};

use super::super::Core;
use super::super::blocking::End;
use super::super::connection::{Connection, Hold, Modes, ReplyMode};
use super::super::dispatch::Flow;
use super::super::interest::Kind;
use super::connection::checked_name;
use super::quoting;
use crate::commands::{ClientCommand, Merge};
use crate::runtime::{Rng, SocketId};
use crate::shard::batch::Work;

const SYNTAX: &str = "ERR syntax error";

impl Core {
    pub(super) fn client(&mut self, socket: SocketId, which: ClientCommand, args: &[&[u8]]) -> Flow {
        match which {
            ClientCommand::Id => {
                let id = self.connections.get(socket).map_or(0, |connection| connection.client);
                self.answer(socket, |out| out.integer(id as i64));
            }
            ClientCommand::Getname => {
                let name = self.connections.get(socket).map(|it| it.session.name.clone()).unwrap_or_default();
                self.answer(socket, |out| if name.is_empty() { out.null() } else { out.bulk(&*name) });
            }
            ClientCommand::Setname => {
                let result = checked_name(args[2]).map(|name| {
                    if let Some(connection) = self.connections.get_mut(socket) {
                        connection.session.name = name;
                    }
                });
                self.answer_status(socket, result);
            }
            ClientCommand::Setinfo => {
                let result = self.client_setinfo(socket, args);
                self.answer_status(socket, result);
            }
            ClientCommand::Info => {
                let now_ms = self.now_ms();
                let line = self.connections.get(socket).map(|it| client_line(it, now_ms)).unwrap_or_default();
                self.answer(socket, |out| out.verbatim(*b"txt", line + "\n"));
            }
            ClientCommand::List => self.client_list(socket, args),
            ClientCommand::Kill => self.client_kill(socket, args),
            ClientCommand::NoEvict => self.client_switch(socket, args, |it, on| it.session.no_evict = on),
            ClientCommand::NoTouch => self.client_switch(socket, args, |it, on| it.session.no_touch = on),
            ClientCommand::Reply => self.client_reply(socket, args),
            ClientCommand::Pause => self.client_pause(socket, args),
            ClientCommand::Unblock => self.client_unblock(socket, args),
            ClientCommand::Unpause => {
                self.shared.set_pause(0, false);
                self.refresh_pause();
                self.answer_ok(socket);
            }
            ClientCommand::Tracking => return self.client_tracking(socket, args),
            ClientCommand::Caching => self.client_caching(socket, args),
            ClientCommand::Getredir => self.client_getredir(socket),
            ClientCommand::Trackinginfo => self.client_trackinginfo(socket),
        }
        Flow::Continue
    }

    fn client_unblock(&mut self, socket: SocketId, args: &[&[u8]]) {
        let known = match args {
            [_, _, _] => true,
            [_, _, _, reason] => reason_of(reason).is_some(),
            _ => return self.answer(socket, |out| out.error(SYNTAX)),
        };
        if !known {
            let text = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
            return self.answer(socket, |out| out.error(text));
        }
        if parse_i64(args[2]).is_none() {
            return self.answer(socket, |out| out.error("ERR value is not an integer or out of range"));
        }
        let unblock = |core: &mut Core, args: &[&[u8]], out: &mut Vec<u8>| {
            let client = args.get(2).and_then(|id| parse_i64(id)).and_then(|id| u64::try_from(id).ok());
            let end = args.get(3).and_then(|reason| reason_of(reason)).unwrap_or(End::TimedOut);
            let ended = client.is_some_and(|client| core.unblock(client, end));
            Encoder::new(out, Version::Resp2).integer(i64::from(ended));
        };
        self.start_broadcast(socket, Work::Core(unblock), Merge::Sum, args);
    }

    fn client_setinfo(&mut self, socket: SocketId, args: &[&[u8]]) -> Result<(), Vec<u8>> {
        let attribute = args[2].to_ascii_lowercase();
        let Some(connection) = self.connections.get_mut(socket) else { return Ok(()) };
        let target = match attribute.as_slice() {
            b"lib-name" => &mut connection.session.library_name,
            b"lib-ver" => &mut connection.session.library_version,
            _ => return Err(quoting("ERR Unrecognized option '", args[2], "'")),
        };
        *target = checked_name(args[3]).map_err(|_| {
            // The attribute is one of the two above, so it is text.
            quoting("ERR ", &attribute, " cannot contain spaces, newlines or special characters.")
        })?;
        Ok(())
    }

    fn client_switch(&mut self, socket: SocketId, args: &[&[u8]], set: impl FnOnce(&mut Connection, bool)) {
        let on = match args[2].to_ascii_lowercase().as_slice() {
            b"on" => true,
            b"off" => false,
            _ => return self.answer(socket, |out| out.error(SYNTAX)),
        };
        if let Some(connection) = self.connections.get_mut(socket) {
            set(connection, on);
        }
        self.answer_ok(socket);
    }

    fn client_reply(&mut self, socket: SocketId, args: &[&[u8]]) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        match args[2].to_ascii_lowercase().as_slice() {
            b"on" => {
                connection.session.reply_mode = ReplyMode::On;
                self.answer_ok(socket);
            }
            b"off" => connection.session.reply_mode = ReplyMode::Off,
            b"skip" if connection.session.reply_mode == ReplyMode::Off => {}
            b"skip" => connection.session.reply_mode = ReplyMode::SkipNext,
            _ => self.answer(socket, |out| out.error(SYNTAX)),
        }
    }

    fn client_pause(&mut self, socket: SocketId, args: &[&[u8]]) {
        let writes_only = match args.get(3).map(|mode| mode.to_ascii_lowercase()).as_deref() {
            None | Some(b"all") => false,
            Some(b"write") => true,
            Some(_) => {
                return self.answer(socket, |out| out.error("ERR CLIENT PAUSE mode must be WRITE or ALL"));
            }
        };
        let now_ms = self.time.unix_ms();
        let until_ms = match parse_i64(args[2]) {
            None => {
                return self.answer(socket, |out| out.error("ERR timeout is not an integer or out of range"));
            }
            Some(..0) => return self.answer(socket, |out| out.error("ERR timeout is negative")),
            Some(timeout_ms) => now_ms.saturating_add(timeout_ms as u64),
        };
        // As in Redis, a pause in force is never shortened by another.
        let (before_ms, before_writes) = self.shared.pause();
        let in_force = before_ms > now_ms;
        self.shared.set_pause(
            if in_force { until_ms.max(before_ms) } else { until_ms },
            writes_only && (!in_force || before_writes),
        );
        self.refresh_pause();
        self.answer_ok(socket);
    }

    fn client_list(&mut self, socket: SocketId, args: &[&[u8]]) {
        let filter = match Filter::parse_list(&args[2..]) {
            Ok(filter) => filter,
            Err(text) => return self.answer(socket, |out| out.error(text)),
        };
        let list = |core: &mut Core, args: &[&[u8]], out: &mut Vec<u8>| {
            let filter = Filter::parse_list(&args[2..]).unwrap_or_default();
            let now_ms = core.now_ms();
            let mut chosen: Vec<&Connection> =
                core.connections.iter().filter(|it| filter.takes(it)).collect();
            chosen.sort_unstable_by_key(|connection| connection.client);
            let mut lines = String::new();
            for connection in chosen {
                lines += &client_line(connection, now_ms);
                lines.push('\n');
            }
            Encoder::new(out, Version::Resp2).bulk(lines);
        };
        debug_assert!(filter.ids.is_empty() || filter.user_is_default);
        self.start_broadcast(socket, Work::Core(list), Merge::Custom(merge_lists), args);
    }

    fn client_kill(&mut self, socket: SocketId, args: &[&[u8]]) {
        let old_form = args.len() == 3;
        if let Err(text) = Filter::parse_kill(&args[2..]) {
            return self.answer(socket, |out| out.error(text));
        }
        // The asking client goes along, so that SKIPME is understood on every shard.
        let own = self.connections.get(socket).map_or(0, |it| it.client).to_string();
        let kill = |core: &mut Core, args: &[&[u8]], out: &mut Vec<u8>| {
            let (own, args) =
                args.split_last().map_or((0, args), |(own, args)| (parse_i64(own).unwrap_or(0) as u64, args));
            let filter = Filter::parse_kill(&args[2..]).unwrap_or_default();
            let killed = core.kill_clients(&filter, own);
            Encoder::new(out, Version::Resp2).integer(killed);
        };
        let merge = if old_form { Merge::Custom(merge_killed_one) } else { Merge::Sum };
        let with_own: Vec<&[u8]> = args.iter().copied().chain([own.as_bytes()]).collect();
        self.start_broadcast(socket, Work::Core(kill), merge, &with_own);
    }

    fn kill_clients(&mut self, filter: &Filter, own: u64) -> i64 {
        let chosen: Vec<(SocketId, u64)> = self
            .connections
            .iter()
            .filter(|connection| filter.takes(connection))
            .filter(|connection| connection.client != own || !filter.skip_own)
            .map(|connection| (connection.socket, connection.client))
            .collect();
        for (socket, client) in &chosen {
            if *client == own {
                // The reply still goes out.
                if let Some(connection) = self.connections.get_mut(*socket) {
                    connection.closing = true;
                }
                self.intents.mark_dirty(&mut self.connections, *socket);
            } else {
                self.close(*socket);
            }
        }
        chosen.len() as i64
    }
}

/// How CLIENT UNBLOCK is to end a wait.
fn reason_of(word: &[u8]) -> Option<End> {
    match word.to_ascii_lowercase().as_slice() {
        b"timeout" => Some(End::TimedOut),
        b"error" => Some(End::Unblocked),
        _ => None,
    }
}

/// The lists of all shards, in the order of client ids.
fn merge_lists(parts: &[Vec<u8>], out: &mut Encoder<'_>, _: &mut Rng) {
    let mut lines: Vec<&[u8]> = parts
        .iter()
        .filter_map(|part| parse_bulk_reply(part).flatten())
        .flat_map(|text| text.split_inclusive(|byte| *byte == b'\n'))
        .collect();
    let id = |line: &[u8]| -> i64 {
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        line.get(3..end).and_then(parse_i64).unwrap_or(0)
    };
    lines.sort_by_key(|line| id(line));
    out.verbatim(*b"txt", lines.concat());
}

/// The old form of CLIENT KILL names one client by its address.
fn merge_killed_one(parts: &[Vec<u8>], out: &mut Encoder<'_>, _: &mut Rng) {
    let killed: i64 = parts.iter().filter_map(|part| annulus_protocol::parse_integer_reply(part)).sum();
    if killed > 0 { out.ok() } else { out.error("ERR No such client") }
}

/// The kinds of clients that Redis tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientKind {
    Normal,
    Listening,
    /// Masters and replicas, of which there are none.
    OtherServer,
}

impl ClientKind {
    fn of(connection: &Connection) -> Self {
        if connection.session.modes.intersects(Modes::LISTENS) { Self::Listening } else { Self::Normal }
    }
}

/// Which clients CLIENT LIST shows and CLIENT KILL closes.
#[derive(Debug, Default)]
struct Filter {
    ids: Vec<u64>,
    remote: Option<String>,
    local: Option<String>,
    /// `TYPE`: of which kind.
    kind: Option<ClientKind>,
    user_is_default: bool,
    max_age_seconds: Option<u64>,
    skip_own: bool,
}

impl Filter {
    fn parse_list(words: &[&[u8]]) -> Result<Filter, Vec<u8>> {
        let mut filter = Filter { user_is_default: true, ..Filter::default() };
        match words {
            [] => {}
            [option, kind] if option.eq_ignore_ascii_case(b"type") => filter.set_kind(kind)?,
            [option, ids @ ..] if option.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
                for id in ids {
                    filter.ids.push(parse_id(id, "ERR Invalid client ID")?);
                }
            }
            _ => return Err(SYNTAX.into()),
        }
        Ok(filter)
    }

    fn parse_kill(words: &[&[u8]]) -> Result<Filter, Vec<u8>> {
        let mut filter = Filter { user_is_default: true, skip_own: true, ..Filter::default() };
        if let [address] = words {
            filter.remote = Some(String::from_utf8_lossy(address).into_owned());
            filter.skip_own = false;
            return Ok(filter);
        }
        if words.is_empty() || !words.len().is_multiple_of(2) {
            return Err(SYNTAX.into());
        }
        for pair in words.chunks_exact(2) {
            let (option, value) = (pair[0].to_ascii_lowercase(), pair[1]);
            let text = || String::from_utf8_lossy(value).into_owned();
            match option.as_slice() {
                b"id" => filter.ids.push(parse_id(value, "ERR client-id should be greater than 0")?),
                b"type" => filter.set_kind(value)?,
                b"addr" => filter.remote = Some(text()),
                b"laddr" => filter.local = Some(text()),
                b"user" if value == b"default" => {}
                b"user" => return Err(quoting("ERR No such user '", value, "'")),
                b"maxage" => {
                    let age = parse_id(value, "ERR maxage is not an integer or out of range")?;
                    filter.max_age_seconds = Some(age);
                }
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip_own = true,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip_own = false,
                _ => return Err(SYNTAX.into()),
            }
        }
        Ok(filter)
    }

    fn set_kind(&mut self, kind: &[u8]) -> Result<(), Vec<u8>> {
        match kind.to_ascii_lowercase().as_slice() {
            b"normal" => self.kind = Some(ClientKind::Normal),
            b"pubsub" => self.kind = Some(ClientKind::Listening),
            b"master" | b"replica" | b"slave" => self.kind = Some(ClientKind::OtherServer),
            _ => return Err(quoting("ERR Unknown client type '", kind, "'")),
        }
        Ok(())
    }

    fn takes(&self, connection: &Connection) -> bool {
        self.kind.is_none_or(|kind| kind == ClientKind::of(connection))
            && (self.ids.is_empty() || self.ids.contains(&connection.client))
            && self.remote.as_ref().is_none_or(|remote| *remote == connection.peer.remote)
            && self.local.as_ref().is_none_or(|local| *local == connection.peer.local)
            && self
                .max_age_seconds
                .is_none_or(|age| connection.active_ms.saturating_sub(connection.created_ms) / 1000 >= age)
    }
}

fn parse_id(text: &[u8], error: &str) -> Result<u64, Vec<u8>> {
    parse_i64(text).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0).ok_or_else(|| error.into())
}

/// A client as CLIENT LIST shows it, with Redis's fields.
fn client_line(connection: &Connection, now_ms: u64) -> String {
    let session = &connection.session;
    let seconds = |since: u64| now_ms.saturating_sub(since) / 1000;
    let mut flags = String::new();
    if session.modes.intersects(Modes::MONITORS) {
        flags.push('O');
    }
    if session.modes.intersects(Modes::LISTENS) {
        flags.push('P');
    }
    if matches!(connection.hold, Some(Hold::Blocked(_) | Hold::Wait)) {
        flags.push('b');
    }
    if connection.closing {
        flags.push('c');
    }
    if session.multi.is_some() {
        flags.push('x');
    }
    if let Some(tracking) = session.tracking.as_deref() {
        flags.push('t');
        flags.extend(tracking.is_broken().then_some('R'));
        flags.extend(tracking.is_broadcast().then_some('B'));
    }
    if session.no_evict {
        flags.push('e');
    }
    if session.no_touch {
        flags.push('T');
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let listens = |kind| session.listening.as_ref().map_or(0, |listening| listening.count(kind));
    let command = session.last_command.map_or_else(|| "NULL".to_owned(), crate::commands::Command::full_name);
    let mut line = String::with_capacity(400);
    let _ = write!(
        line,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} qbuf={} \
         qbuf-free={} argv-mem=0 multi-mem=0 rbs={} rbp={} obl={} oll=0 omem={} tot-mem={} events=r cmd={} user=default redir={} \
         resp={} lib-name={} lib-ver={}",
        connection.client,
        connection.peer.remote,
        connection.peer.local,
        connection.socket.0,
        session.name,
        seconds(connection.created_ms),
        seconds(connection.active_ms),
        flags,
        session.database.0,
        listens(Kind::Channel),
        listens(Kind::Pattern),
        listens(Kind::ShardChannel),
        session.multi.as_ref().map_or(-1, |multi| multi.len() as i64),
        connection.input.len(),
        connection.input.capacity() - connection.input.len(),
        connection.output_bytes(),
        connection.output_bytes(),
        connection.output_bytes(),
        connection.output_bytes(),
        connection.input.capacity() + connection.output_bytes() + size_of::<Connection>(),
        command,
        session.tracking.as_deref().map_or(-1, |tracking| tracking.redirect_client() as i64),
        if session.version == Version::Resp3 { 3 } else { 2 },
        session.library_name,
        session.library_version,
    );
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_shards_are_merged_by_client_id() {
        let part = |text: &str| format!("${}\r\n{text}\r\n", text.len()).into_bytes();
        let parts = [part("id=2 a\nid=10 b\n"), part("id=3 c\n"), part("")];
        let mut out = Vec::new();
        merge_lists(&parts, &mut Encoder::new(&mut out, Version::Resp2), &mut Rng::from_seed(1));
        assert_eq!(out, part("id=2 a\nid=3 c\nid=10 b\n"));
    }

    #[test]
    fn filters_refuse_what_redis_refuses() {
        assert!(Filter::parse_kill(&[b"id", b"0"]).unwrap_err().ends_with(b"greater than 0"));
        assert!(Filter::parse_kill(&[b"id"]).is_ok(), "the old form: an address");
        assert_eq!(Filter::parse_kill(&[b"id", b"1", b"x"]).unwrap_err(), SYNTAX.as_bytes());
        assert!(
            Filter::parse_list(&[b"type", b"nobody"]).unwrap_err().starts_with(b"ERR Unknown client type")
        );
    }
}

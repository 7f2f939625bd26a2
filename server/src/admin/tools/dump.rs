//! `annulus dump`.

use std::io::{self, Write};
use std::path::Path;

use annulus_storage::disk::blocking::{StdDisk, run_ready};
use annulus_storage::log::frame::{FLAG_CLEAN_STOP, FrameHeader};
use annulus_storage::offline::{NoLog, ReadOnly, load_shard, outcomes_of};
use annulus_storage::recovery::{Listed, list_log, reach_of};
use annulus_storage::value::codec;
use annulus_storage::{
    Change, Cursor, DataDirectory, DatabaseId, Effect, Entry, GroupNote, Kind, Outcomes, ShardId, Store,
};

use super::{ToolError, open, shards};
use crate::admin::moment;
use crate::commands::{Case, glob_match};

/// Bytes of a value that are printed unless all are asked for.
const SHORT_BYTES: usize = 128;
/// Elements of a collection that are printed unless all are asked for.
const SHORT_ELEMENTS: usize = 16;
/// Keys looked at in one go.
const SCAN_COUNT: usize = 1000;

/// What to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// The logs instead of the keys.
    pub log: bool,
    /// Only of this shard.
    pub shard: Option<ShardId>,
    /// Only of this database.
    pub database: Option<u16>,
    /// Only keys that match.
    pub pattern: Option<String>,
    /// Values are not shortened.
    pub full: bool,
}

pub(super) fn dump(dir: &Path, what: &Dump, out: &mut dyn Write) -> Result<u8, ToolError> {
    let (directory, _lock) = open(dir)?;
    let wanted = shards(&directory).filter(|shard| what.shard.is_none_or(|only| only == *shard));
    let outcomes = if what.log {
        Outcomes::default()
    } else {
        run_ready(outcomes_of(&StdDisk, &directory))
            .map_err(|error| ToolError::Recovery { shard: ShardId(0), error })?
    };
    for shard in wanted {
        if what.log {
            dump_log(&directory, shard, what, out)?;
            continue;
        }
        let loaded = run_ready(load_shard(&StdDisk, &directory, shard, &outcomes, None, 1));
        let (mut store, _) = loaded.map_err(|error| ToolError::Recovery { shard, error })?;
        dump_keys(&mut store, directory.databases, what, out)?;
    }
    Ok(0)
}

fn dump_keys(
    store: &mut Store<NoLog>,
    databases: u16,
    what: &Dump,
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    for database in (0..databases).filter(|database| what.database.is_none_or(|only| only == *database)) {
        let mut cursor = Cursor(0);
        let mut failed = Ok(());
        while cursor.group() < 256 {
            cursor = store.scan(DatabaseId(database), 0..256, cursor, SCAN_COUNT, &mut |entry| {
                if failed.is_ok() && what.wants(entry.key()) {
                    failed = write_entry(database, *entry, what, out);
                }
            });
            std::mem::replace(&mut failed, Ok(()))?;
        }
    }
    Ok(())
}

impl Dump {
    fn wants(&self, key: &[u8]) -> bool {
        let pattern = self.pattern.as_ref();
        pattern.is_none_or(|pattern| glob_match(pattern.as_bytes(), key, Case::Sensitive))
    }

    /// Elements of a collection as they are encoded in logs and checkpoints.
    fn elements(&self, kind: Kind, mut encoded: &[u8]) -> String {
        let mut words = Vec::new();
        while let Some(element) = take_element(&mut encoded) {
            words.push(self.quoted(element));
            if kind == Kind::Hash {
                let value = take_element(&mut encoded).unwrap_or_default();
                let expiry = match take_number(&mut encoded) {
                    None | Some(0) => String::new(),
                    Some(at) => format!(" expires {}", at - 1),
                };
                let field = words.pop().unwrap_or_default();
                words.push(format!("{field}: {}{expiry}", self.quoted(value)));
            } else if !matches!(kind, Kind::List | Kind::Set) {
                // The encoding of this type is not a row of elements: print it as it is.
                return self.quoted(encoded);
            }
            if words.len() >= SHORT_ELEMENTS && !self.full && !encoded.is_empty() {
                words.push("…".to_owned());
                break;
            }
        }
        format!("[{}]", words.join(", "))
    }

    fn quoted(&self, bytes: &[u8]) -> String {
        let shown = if self.full { bytes.len() } else { bytes.len().min(SHORT_BYTES) };
        let text = bytes[..shown].escape_ascii();
        if shown < bytes.len() {
            format!("\"{text}\"… ({} bytes)", bytes.len())
        } else {
            format!("\"{text}\"")
        }
    }
}

fn take_number(encoded: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = encoded.split_first()?;
        *encoded = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Some(number)
}

fn take_element<'a>(encoded: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bytes = usize::try_from(take_number(encoded)?).ok()?;
    let (element, rest) = encoded.split_at_checked(bytes)?;
    *encoded = rest;
    Some(element)
}

fn write_entry(database: u16, entry: Entry<'_>, what: &Dump, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{database} {} {}", what.quoted(entry.key()), entry.kind())?;
    if let Some(at) = entry.expire_at_ms() {
        write!(out, " expires {at}")?;
    }
    if let Some(value) = entry.string() {
        return writeln!(out, " {}", what.quoted(value));
    }
    let mut elements = Vec::new();
    codec::encode_piece(entry.value(), &codec::Place::START, usize::MAX, &mut elements);
    writeln!(out, " {}", what.elements(entry.value().kind(), &elements))
}

fn dump_log(
    directory: &DataDirectory,
    shard: ShardId,
    what: &Dump,
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    writeln!(out, "shard {shard}:")?;
    let mut failed = Ok(());
    let mut each = |listed: Listed<'_>| {
        if failed.is_ok() {
            failed = write_listed(&listed, what, out);
        }
    };
    let disk = &ReadOnly::new(&StdDisk);
    let listed = run_ready(async {
        let reach = reach_of(disk, directory, shard).await?;
        list_log(disk, directory, shard, reach.begins, &mut each).await
    });
    listed.map_err(|error| ToolError::Recovery { shard, error })?;
    Ok(failed?)
}

fn write_listed(listed: &Listed<'_>, what: &Dump, out: &mut dyn Write) -> io::Result<()> {
    let end = |ends_group: bool| if ends_group { "" } else { " …" };
    match listed {
        Listed::Frame(header) => write_frame(header, out),
        Listed::Effect { lsn, effect, ends_group } => {
            let (database, key, text) = describe(effect, what);
            let other = what.database.is_some_and(|only| database.is_some_and(|database| database.0 != only));
            if other || key.is_some_and(|key| !what.wants(key)) {
                return Ok(());
            }
            writeln!(out, "  {lsn} {text}{}", end(*ends_group))
        }
        Listed::Note { lsn, note, ends_group } => {
            writeln!(out, "  {lsn} {}{}", describe_note(note), end(*ends_group))
        }
    }
}

fn write_frame(header: &FrameHeader, out: &mut dyn Write) -> io::Result<()> {
    let stop = if header.flags & FLAG_CLEAN_STOP != 0 { ", clean stop" } else { "" };
    writeln!(
        out,
        "segment {} offset {}: frame of {} effects from LSN {}, {} bytes, start {}, durable to LSN {}{stop}",
        header.segment,
        header.offset,
        header.records,
        header.first_lsn,
        header.frame_bytes,
        header.incarnation,
        header.horizon
    )
}

fn describe<'a>(effect: &Effect<'a>, what: &Dump) -> (Option<DatabaseId>, Option<&'a [u8]>, String) {
    let expiry = |at: Option<u64>| at.map_or(String::new(), |at| format!(" expires {at}"));
    match *effect {
        Effect::Set { database, key, value, expire_at_ms, .. } => (
            Some(database),
            Some(key),
            format!("set {} {} {}{}", database.0, what.quoted(key), what.quoted(value), expiry(expire_at_ms)),
        ),
        Effect::SetRange { database, key, offset, bytes, .. } => (
            Some(database),
            Some(key),
            format!("set-range {} {} at {offset} {}", database.0, what.quoted(key), what.quoted(bytes)),
        ),
        Effect::Delete { database, key, .. } => {
            (Some(database), Some(key), format!("delete {} {}", database.0, what.quoted(key)))
        }
        Effect::Expire { database, key, expire_at_ms, .. } => (
            Some(database),
            Some(key),
            format!("expire {} {} {}", database.0, what.quoted(key), expiry(expire_at_ms).trim_start()),
        ),
        Effect::Change { database, key, change, .. } => (
            Some(database),
            Some(key),
            format!("change {} {} {}", database.0, what.quoted(key), changed(change)),
        ),
        Effect::FlushDatabase { database } => (Some(database), None, format!("flush {}", database.0)),
        Effect::SwapDatabases { a, b } => (None, None, format!("swap {} {}", a.0, b.0)),
        Effect::Library { name, body: Some(body) } => {
            (None, None, format!("library {} of {} bytes", what.quoted(name), body.len()))
        }
        Effect::Library { name, body: None } => (None, None, format!("drop library {}", what.quoted(name))),
        Effect::FlushLibraries => (None, None, "drop all libraries".to_owned()),
    }
}

fn changed(change: Change<'_>) -> String {
    match change {
        Change::Load { kind, first, elements } => {
            let how = if first { "replaced by" } else { "more" };
            format!("{} {how} {} bytes of elements", kind.name(), elements.len())
        }
        other => format!("{other:?}"),
    }
}

fn describe_note(note: &GroupNote<'_>) -> String {
    match note {
        GroupNote::Transaction { id, participants } => {
            let shards: Vec<_> = participants.iter().map(|it| u16::from_le_bytes(*it).to_string()).collect();
            format!("transaction {id} of shards {}", shards.join(" "))
        }
        GroupNote::Depends { first, on } => {
            format!("the group from LSN {first} depends on {} transactions", on.len())
        }
        GroupNote::Time { unix_ms } => format!("it is {}", moment::format(*unix_ms)),
        GroupNote::Abandoned { groups } => format!("{} groups were dropped by a start", groups.len()),
    }
}

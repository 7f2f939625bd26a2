//! Reading what can still be trusted of a damaged shard, and reading a log up to a chosen effect. For offline tools: a server's
//! start refuses what this gets along with.
//!
//! - Of a log everything up to the first damage is taken, and nothing behind it: what is left is a state that once was.
//! - Of the newest checkpoint that has a sound header all whole slices are taken. Keys in lost slices are *unknown*: an effect that says
//!   a whole value makes them known again, one that only changes a value is passed over. So no key ever has a value that
//!   it never had; some are missing.
//! - Where there's no checkpoint, and the log begins late, all keys are unknown to begin with.
//!
//! Nothing is written: what was read goes to another directory.

use std::collections::BTreeSet;
use std::ops::Range;

use super::assemble::Assembler;
use super::image::{self, Image, LoadError, Loading, Nowhere};
use super::outcome::Outcomes;
use super::past::log_from;
use super::reader::{SegmentReader, read_front};
use super::scan::{Given, LogEnd, LogPlace, judge_end, segment_ids, unbroken, walk};
use super::{RecoveryError, RecoveryReport, Replay, intersection, recover_older_epochs};
use crate::buffer::BUFFER_ALIGNMENT;
use crate::checkpoint::files::numbers;
use crate::checkpoint::format::{
    BLOCK_HEADER_BYTES, BlockHeader, CheckpointHeader, FLAG_LAST, FLAG_SLICE_END, HEADER_BYTES,
    claimed_block_bytes, open_block_alone,
};
use crate::checkpoint::window::Window;
use crate::checkpoint::{Place, WalkOptions};
use crate::disk::{Disk, OpenMode};
use crate::log::SegmentId;
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::manifest::{ClosedLog, DataDirectory};
use crate::table::Hasher;
use crate::{Change, DatabaseId, Effect, Lsn, ShardId};

/// How to read.
#[derive(Clone, Copy, Debug)]
pub struct SalvageOptions {
    /// Of the newest epoch's log nothing after this effect is wanted.
    pub until: Lsn,
    /// Where what is retained of the newest epoch's log begins to be whole ([`super::Reach::begins`]), if that may be used.
    pub past: Option<SegmentId>,
}

/// What was read, and what could not be.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// What was read.
    pub report: RecoveryReport,
    /// The last effect of the shard's newest log that was taken, or the last that there is.
    pub last_lsn: Lsn,
    /// Everything for which a start is refused.
    pub losses: Vec<RecoveryError>,
    /// Slices of checkpoints that are lost, each with some hundred keys.
    pub slices_lost: u64,
    /// Changes that were passed over, since the value that they change is lost.
    pub effects_passed_over: u64,
    /// The keys of those.
    pub keys_unknown: u64,
}

/// Reads everything that can be trusted of what concerns a shard of the newest epoch. `apply` gets the effects, as in
/// [`super::recover_shard`].
pub async fn salvage_shard<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    shard: ShardId,
    outcomes: &Outcomes,
    options: SalvageOptions,
    apply: &mut dyn Replay,
) -> Salvaged {
    let mut salvaged = Salvaged::default();
    let full = directory.with_past();
    let directory = if options.past.is_some() { &full } else { directory };
    let current = directory.epoch();
    let own = current.groups(shard);
    let mut log = LogPlace::new(directory, current, shard, OpenMode::READ_DIRECT);
    let mut segments = None;
    if let Some(begins) = options.past {
        match log_from(disk, directory, shard, begins).await {
            Ok((with_past, ids)) => (log, segments) = (with_past, Some(ids)),
            Err(error) => salvaged.losses.push(error),
        }
    }
    let mut unknown = Unknown::default();
    let databases = directory.databases;
    let newest = Wanted { until: options.until, groups: &own, databases };
    let image = salvage_newest(disk, &log, newest, &mut unknown, apply, &mut salvaged).await;
    if image.is_none() && options.past.is_some() {
        // Whoever goes back wants all of it, and gets along with what a start gets along with.
        let report = &mut salvaged.report;
        let older = recover_older_epochs(disk, directory, &own, outcomes, apply, report).await;
        salvaged.losses.extend(older.err());
    } else if image.is_none() {
        salvage_older_epochs(disk, directory, &own, outcomes, apply, &mut salvaged).await;
    }
    let begins = directory.epochs.len() == 1 && current.number > 1;
    let closed = directory.closed.iter().find(|log| (log.epoch, log.shard) == (current.number, shard));
    let until = options.until;
    let part = Part { log: &log, segments, wanted: own, until, begins_unknown: begins, closed };
    let outcome = outcomes.of(current.number, shard);
    salvaged.last_lsn =
        salvage_log(disk, part, image, &outcome.dropped, &mut unknown, apply, &mut salvaged).await;
    salvaged.losses.extend(outcome.check().err());
    salvaged.note_unknown(&unknown);
    salvaged
}

/// What can be trusted of what older epochs have left of these groups.
async fn salvage_older_epochs<D: Disk>(
    disk: &D,
    directory: &DataDirectory,
    own: &Range<u16>,
    outcomes: &Outcomes,
    apply: &mut dyn Replay,
    salvaged: &mut Salvaged,
) {
    let databases = directory.databases;
    let older = directory.epochs.iter().take(directory.epochs.len() - 1);
    for (index, epoch) in older.enumerate() {
        for logging in (0..epoch.shards).map(ShardId) {
            let groups = intersection(own, &epoch.groups(logging));
            if groups.is_empty() {
                continue;
            }
            let log = LogPlace::new(directory, *epoch, logging, OpenMode::READ_DIRECT);
            let mut unknown = Unknown::default();
            let all = Wanted { until: Lsn(u64::MAX), groups: &groups, databases };
            if index > 0 && has_checkpoint(disk, &log).await {
                // An image of this epoch replaces what older ones have left; a log alone goes on from it.
                image::empty(databases, &groups, apply);
            }
            let image = salvage_newest(disk, &log, all, &mut unknown, apply, salvaged).await;
            let begins = index == 0 && epoch.number > 1;
            let until = Lsn(u64::MAX);
            let part = Part {
                log: &log,
                segments: None,
                wanted: groups,
                until,
                begins_unknown: begins,
                closed: None,
            };
            let outcome = outcomes.of(epoch.number, logging);
            salvage_log(disk, part, image, &outcome.dropped, &mut unknown, apply, salvaged).await;
            salvaged.losses.extend(outcome.check().err());
            salvaged.note_unknown(&unknown);
        }
    }
}

impl Salvaged {
    fn note_unknown(&mut self, unknown: &Unknown) {
        self.effects_passed_over += unknown.passed_over;
        self.keys_unknown += unknown.keys.len() as u64;
    }
}

/// What is wanted of a log.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    until: Lsn,
    groups: &'a Range<u16>,
    /// So many databases there may be.
    databases: u16,
}

async fn has_checkpoint<D: Disk>(disk: &D, log: &LogPlace) -> bool {
    disk.list_dir(&log.directory).await.is_ok_and(|entries| !numbers(&entries).is_empty())
}

/// Loads what is whole of the newest checkpoint that is not younger than the effects that are wanted.
async fn salvage_newest<D: Disk>(
    disk: &D,
    log: &LogPlace,
    wanted: Wanted<'_>,
    unknown: &mut Unknown,
    apply: &mut dyn Replay,
    salvaged: &mut Salvaged,
) -> Option<Image> {
    let Wanted { until, groups: wanted, databases } = wanted;
    let entries = disk.list_dir(&log.directory).await.ok()?;
    for number in log.image_numbers(&entries) {
        let path = log.image_path(number);
        // A look at all of it first: whether it is whole, and how far it goes.
        let (offset, fault) = match image::load(disk, log, number, wanted, &mut Nowhere).await {
            Ok(image) if image.window.to() > until => continue,
            Ok(_) => match image::load(disk, log, number, wanted, apply).await {
                Ok(image) => {
                    salvaged.report.effects += image.report.records;
                    salvaged.report.applied += image.report.records;
                    salvaged.report.image = Some(image.report.clone());
                    return Some(image);
                }
                Err(error) => return salvaged.refuse(error),
            },
            // An older one will do, with more of the log.
            Err(_) if log.past.is_some() => continue,
            Err(LoadError::Damaged { offset, fault, .. }) => (offset, fault),
            Err(error @ LoadError::Refused(_)) => {
                salvaged.refuse::<()>(error);
                continue;
            }
        };
        salvaged.losses.push(RecoveryError::DamagedCheckpoint { path, offset, fault, gap: None });
        let image = salvage_image(disk, log, number, wanted, unknown, apply).await;
        if let Some((image, slices_lost)) = image.filter(|(image, _)| image.window.to() <= until) {
            salvaged.report.effects += image.report.records;
            salvaged.report.applied += image.report.records;
            salvaged.report.image = Some(image.report.clone());
            salvaged.slices_lost += slices_lost;
            return Some(image);
        }
        *unknown = Unknown::default();
        image::empty(databases, wanted, apply);
    }
    None
}

impl Salvaged {
    fn refuse<T>(&mut self, error: LoadError) -> Option<T> {
        if let LoadError::Refused(error) = error {
            self.losses.push(error);
        }
        None
    }
}

/// Takes the whole slices of a damaged image. Nothing if its header is gone, since then nothing says how its keys are ordered.
async fn salvage_image<D: Disk>(
    disk: &D,
    log: &LogPlace,
    number: u64,
    wanted: &Range<u16>,
    unknown: &mut Unknown,
    apply: &mut dyn Replay,
) -> Option<(Image, u64)> {
    let path = log.image_path(number);
    let file = disk.open(&path, OpenMode::READ_DIRECT).await.ok()?;
    let file_bytes = disk.len(&file).await.ok()?;
    let mut reader = SegmentReader::new(disk, file, file_bytes, 0);
    let front = reader.bytes_at(0, HEADER_BYTES).await.ok()?;
    let (header, mut chain) = CheckpointHeader::decode(front, log.identity, number).ok()?;
    let mut loading = Loading::new(log, &header, wanted).ok()?;
    unknown.window = Some(Window::new(header.from, Hasher::new(header.hash_seed)));
    let (mut offset, mut index, mut is_broken, mut slices_lost) = (HEADER_BYTES as u64, 0_u64, false, 0);
    while offset < file_bytes {
        let Some(block) = whole_block(&mut reader, offset, number, log.seed).await else {
            // Blocks are aligned: the next one begins at some multiple of that.
            is_broken = true;
            offset += BUFFER_ALIGNMENT as u64;
            continue;
        };
        let (block_header, checksum, payload) = block;
        offset += block_header.block_bytes as u64;
        is_broken |= block_header.previous != chain || block_header.index != index;
        (chain, index) = (checksum, block_header.index + 1);
        if block_header.flags & FLAG_LAST != 0 {
            break;
        }
        if is_broken {
            loading.payload.clear();
            if block_header.flags & FLAG_SLICE_END != 0 {
                // This slice has lost its beginning, or is the one behind those that are gone.
                slices_lost += 1;
                unknown.lose(loading.until..block_header.until.max(loading.until), apply, wanted);
                loading.window.push_lost(block_header.until);
                loading.until = loading.until.max(block_header.until);
                is_broken = false;
            }
            continue;
        }
        if block_header.flags & FLAG_SLICE_END != 0 {
            unknown.begin_slice(block_header.until, loading.until);
        }
        let mut noted = |effect: &Effect<'_>, groups: &Range<u16>| {
            if unknown.admits_of_image(effect) {
                apply.apply(effect, groups);
            }
        };
        if loading.take_block(&block_header, &payload, &mut noted).is_err() {
            is_broken = true;
        }
    }
    if loading.until < Place::END {
        slices_lost += 1;
        unknown.lose(loading.until..Place::END, apply, wanted);
        loading.window.push_lost(Place::END);
    }
    Some((loading.into_image(path, &header, number, offset), slices_lost))
}

/// The block at an offset if it is whole, by itself.
async fn whole_block<D: Disk>(
    reader: &mut SegmentReader<'_, D>,
    offset: u64,
    number: u64,
    seed: u32,
) -> Option<(BlockHeader, u32, Vec<u8>)> {
    let front = reader.bytes_at(offset, BLOCK_HEADER_BYTES).await.ok()?;
    let block_bytes = claimed_block_bytes(front).ok()?;
    let block = reader.bytes_at(offset, block_bytes).await.ok()?.get(..block_bytes)?;
    let (header, checksum) = open_block_alone(block, number, seed).ok()?;
    let payload = block.get(BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + header.payload_bytes)?;
    Some((header, checksum, payload.to_vec()))
}

/// A log to read.
struct Part<'a> {
    log: &'a LogPlace,
    /// Its segments, some of them retained; else those are meant that a start would read.
    segments: Option<Vec<SegmentId>>,
    wanted: Range<u16>,
    until: Lsn,
    /// What was before the log is gone, whether or not its first segment is there.
    begins_unknown: bool,
    /// Where it ended when its epoch was closed, if that is to be asked.
    closed: Option<&'a ClosedLog>,
}

/// Applies a log as far as it is whole; returns its last effect that was taken.
async fn salvage_log<D: Disk>(
    disk: &D,
    part: Part<'_>,
    mut image: Option<Image>,
    dropped: &[Lsn],
    unknown: &mut Unknown,
    apply: &mut dyn Replay,
    salvaged: &mut Salvaged,
) -> Lsn {
    let Part { log, segments, wanted, until, begins_unknown, closed } = part;
    let image_to = image.as_ref().map_or(Lsn::ZERO, |image| image.window.to());
    let ids = match segments {
        Some(ids) => skip_imaged(disk, log, ids, image.as_ref()).await,
        None => match segment_ids(disk, log).await {
            Ok((ids, _)) => ids,
            Err(error) => {
                salvaged.losses.push(error);
                return image_to;
            }
        },
    };
    let whole = unbroken(&ids, true);
    if let Some(&later) = ids.get(whole) {
        let before = ids.get(whole.wrapping_sub(1)).map_or(later, |id| id.next());
        salvaged.losses.push(RecoveryError::MissingSegment { path: log.path(before), later });
    }
    let ids = ids.get(..whole).unwrap_or_default();
    if let Some(&first) = ids.first()
        && (first.0 > 1 || begins_unknown)
    {
        let begins = first_lsn(disk, log, first).await;
        match &image {
            Some(image) if begins.is_some_and(|begins| begins <= image.window.from()) || first.0 == 1 => {}
            Some(_) => {
                // Between the image and the log something is missing: what comes after is not on top of it.
                let path = log.path(SegmentId(first.0 - 1));
                salvaged.losses.push(RecoveryError::MissingSegment { path, later: first });
                return image_to;
            }
            None => {
                salvaged.losses.push(RecoveryError::MissingCheckpoint { path: log.directory.clone() });
                unknown.lose(Place::default()..Place::END, apply, &wanted);
            }
        }
    }
    let claim = image.as_ref().map(Image::claim);
    let window = image.as_mut().map(|image| &mut image.window);
    let mut admitted = |effect: &Effect<'_>, groups: &Range<u16>| {
        if unknown.admits(effect) {
            apply.apply(effect, groups);
        }
    };
    let mut assembler =
        Assembler::new(log.groups.clone(), wanted, window, dropped, &mut admitted, &mut salvaged.report);
    assembler.stop_at(until);
    let walked = walk(disk, log, ids, Given::Any, &mut assembler).await;
    match walked {
        Ok(walked) => {
            let last = walked.end.last_lsn();
            salvaged.losses.extend(closed.and_then(|closed| too_short(log, closed, &walked.end, until)));
            let judged = judge_end(disk, log, walked.end, walked.broken, claim, &mut salvaged.report).await;
            salvaged.losses.extend(judged.err());
            last.min(until).max(image_to)
        }
        Err(error) => {
            salvaged.losses.push(error);
            image_to
        }
    }
}

/// A closed log that has lost some of what is wanted of it.
fn too_short<F>(log: &LogPlace, closed: &ClosedLog, end: &LogEnd<F>, until: Lsn) -> Option<RecoveryError> {
    let (last_lsn, chain) = (end.last_lsn(), end.checksum());
    let is_whole =
        last_lsn >= until.min(closed.last_lsn) && (until < closed.last_lsn || chain == closed.chain);
    let found = ClosedLog { last_lsn, chain, ..closed.clone() };
    (!is_whole).then(|| RecoveryError::ClosedLogChanged {
        path: log.directory.clone(),
        recorded: Box::new(closed.clone()),
        found: Box::new(found),
    })
}

/// Leaves out the segments that have nothing beyond the image.
async fn skip_imaged<D: Disk>(
    disk: &D,
    log: &LogPlace,
    mut ids: Vec<SegmentId>,
    image: Option<&Image>,
) -> Vec<SegmentId> {
    let Some(image) = image else { return ids };
    let mut superfluous = 0;
    for (index, id) in ids.iter().enumerate().skip(1) {
        match first_lsn(disk, log, *id).await {
            Some(first) if first <= image.window.from() => superfluous = index,
            _ => break,
        }
    }
    ids.drain(..superfluous);
    ids
}

async fn first_lsn<D: Disk>(disk: &D, log: &LogPlace, id: SegmentId) -> Option<Lsn> {
    let front = read_front(disk, &log.path(id), SEGMENT_HEADER_BYTES).await.ok()?;
    SegmentHeader::decode(&front).ok().filter(|header| header.id == id).map(|header| header.first_lsn)
}

/// A database, by the name that it had when the image was begun, and a key.
type Name = (u16, Vec<u8>);

/// Which keys are not known for what they were.
#[derive(Default)]
struct Unknown {
    lost: Vec<Range<Place>>,
    /// Keys of large values whose further pieces are, or may be, in lost slices.
    cut: BTreeSet<Name>,
    /// Large values that were begun in the last bucket so far, with their slots.
    open: BTreeSet<(Name, u16)>,
    /// Orders the keys; without one, all are in `lost`.
    window: Option<Window>,
    /// Known again.
    known: BTreeSet<Name>,
    known_databases: BTreeSet<u16>,
    /// Former names of databases, by present name; what is missing has kept its own.
    former: Vec<u16>,
    passed_over: u64,
    /// Keys with changes that were passed over.
    keys: BTreeSet<Name>,
}

impl Unknown {
    /// A slice that ends there is whole, and will be taken.
    fn begin_slice(&mut self, until: Place, before: Place) {
        // Pieces of large values follow their bucket at once, before the walk goes on.
        if until > before {
            self.open.clear();
        }
    }

    /// A record of a whole slice: whether it is not a further piece of something lost.
    fn admits_of_image(&mut self, effect: &Effect<'_>) -> bool {
        let large = WalkOptions::default().whole_bytes_max;
        match effect {
            Effect::Set { database, slot, key, value, .. } if value.len() >= large => {
                self.open.insert(((database.0, key.to_vec()), *slot));
            }
            Effect::Change { database, slot, key, change: Change::Load { first: true, elements, .. } }
                if elements.len() >= large =>
            {
                self.open.insert(((database.0, key.to_vec()), *slot));
            }
            Effect::SetRange { database, slot, key, .. }
            | Effect::Change { database, slot, key, change: Change::Load { first: false, .. } } => {
                return !self.cut.contains(&(database.0, key.to_vec()))
                    && !self.is_lost(*slot, database.0, key);
            }
            _ => {}
        }
        true
    }

    /// What lies there is lost, and so are the pieces of what was begun before it.
    fn lose(&mut self, stretch: Range<Place>, apply: &mut dyn Replay, groups: &Range<u16>) {
        self.lost.push(stretch);
        for ((database, key), slot) in std::mem::take(&mut self.open) {
            // A value whose end is lost is not what it was: it goes.
            apply.apply(&Effect::Delete { database: DatabaseId(database), slot, key: &key }, groups);
            self.cut.insert((database, key));
        }
    }

    fn former(&self, database: u16) -> u16 {
        self.former.get(usize::from(database)).copied().unwrap_or(database)
    }

    fn is_lost(&self, slot: u16, database: u16, key: &[u8]) -> bool {
        let Some(window) = &self.window else { return !self.lost.is_empty() };
        let place = window.place(slot, database, key);
        self.lost.iter().any(|stretch| stretch.contains(&place))
    }

    /// Whether an effect of the log can be applied: it does not build upon what is lost.
    fn admits(&mut self, effect: &Effect<'_>) -> bool {
        if self.lost.is_empty() {
            return true;
        }
        let (database, slot, key, is_whole) = match *effect {
            Effect::Set { database, slot, key, .. }
            | Effect::Delete { database, slot, key }
            | Effect::Change { database, slot, key, change: Change::Load { first: true, .. } } => {
                (database, slot, key, true)
            }
            Effect::SetRange { database, slot, key, .. }
            | Effect::Expire { database, slot, key, .. }
            | Effect::Change { database, slot, key, .. } => (database, slot, key, false),
            Effect::Library { .. } | Effect::FlushLibraries => return true,
            Effect::FlushDatabase { database } => {
                self.known_databases.insert(self.former(database.0));
                return true;
            }
            Effect::SwapDatabases { a, b } => {
                let (former_a, former_b) = (self.former(a.0), self.former(b.0));
                let known = self.former.len() as u16;
                self.former.extend(known..=a.0.max(b.0));
                for (database, former) in [(a, former_b), (b, former_a)] {
                    if let Some(name) = self.former.get_mut(usize::from(database.0)) {
                        *name = former;
                    }
                }
                return true;
            }
        };
        let former = self.former(database.0);
        let name = (former, key.to_vec());
        let is_unknown = !self.known_databases.contains(&former)
            && !self.known.contains(&name)
            && (self.cut.contains(&name) || self.is_lost(slot, former, key));
        if !is_unknown {
            return true;
        }
        if is_whole {
            self.keys.remove(&name);
            self.known.insert(name);
            return true;
        }
        self.passed_over += 1;
        self.keys.insert(name);
        false
    }
}

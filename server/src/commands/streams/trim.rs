//! How streams are cut: options, XTRIM, XDEL, XSETID.

use annulus_storage::Key;
use annulus_storage::value::StreamChange;
use annulus_storage::value::stream::{StreamId, Trim, TrimTo};

use super::super::arguments::{integer, is};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::{Context, answer, unreachable_arity};
use super::ids::{self, Missing, NewId};
use super::read_to_change;

/// What an approximate trim removes at most, unless the command says it: as Redis has it, a hundred of its nodes.
const BLOCKS_PER_TRIM: usize = 100;
/// The same where blocks have no limit.
const TRIMMED_WITHOUT_BLOCKS: u64 = 10_000;
const TRIMMED_MAX: usize = 1_000_000;

/// The options that XADD and XTRIM have in common, and XADD's own.
#[derive(Debug, Default)]
pub(super) struct Options {
    to: Option<TrimTo>,
    approximate: bool,
    limit: Option<i64>,
    pub(super) no_stream: bool,
    /// The id of XADD, and the position of its first field.
    pub(super) id: Option<(NewId, usize)>,
}

/// Which command has the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Add,
    Trim,
}

impl Options {
    /// Reads the options from position 2 on; those of XADD end with the id.
    pub(super) fn parse(args: &[&[u8]], of: Of) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut at = 2;
        while let Some(&option) = args.get(at) {
            let following = args.get(at + 1..).unwrap_or_default();
            at += match following {
                [..] if of == Of::Add && option == b"*" => {
                    options.id = Some((NewId::Next, at + 1));
                    break;
                }
                [_, ..] if is(option, "MAXLEN") || is(option, "MINID") => {
                    1 + options.take_end(option, following)?
                }
                [limit, ..] if is(option, "LIMIT") => {
                    let limit = integer(limit)?;
                    if limit < 0 {
                        return Err(fail("ERR The LIMIT argument must be >= 0."));
                    }
                    options.limit = Some(limit);
                    2
                }
                _ if of == Of::Add && is(option, "NOMKSTREAM") => {
                    options.no_stream = true;
                    1
                }
                _ if of == Of::Add => {
                    options.id = Some((NewId::parse(option)?, at + 1));
                    break;
                }
                _ => return Err(fail(errors::SYNTAX)),
            };
        }
        options.check(of)?;
        Ok(options)
    }

    /// Takes `MAXLEN [~|=] count` or `MINID [~|=] id` from what follows the word; returns how many arguments that were.
    fn take_end(&mut self, word: &[u8], following: &[&[u8]]) -> Result<usize, Failure> {
        if self.to.is_some() {
            return Err(fail(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let (mark, taken) = match following {
            [mark @ (b"~" | b"="), _, ..] => (*mark, 2),
            _ => (&b"="[..], 1),
        };
        self.approximate = mark == b"~";
        let end = following.get(taken - 1).copied().unwrap_or_default();
        self.to = Some(if is(word, "MAXLEN") {
            let len =
                u64::try_from(integer(end)?).map_err(|_| fail("ERR The MAXLEN argument must be >= 0."))?;
            TrimTo::Len(len)
        } else {
            TrimTo::Id(ids::strict(end, Missing::First)?)
        });
        Ok(taken)
    }

    fn check(&self, of: Of) -> Outcome {
        match (self.to, self.limit) {
            (None, Some(1..)) => {
                Err(fail("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"))
            }
            (None, _) if of == Of::Trim => {
                Err(fail("ERR syntax error, XTRIM must be called with a trimming strategy"))
            }
            (_, Some(_)) if !self.approximate => {
                Err(fail("ERR syntax error, LIMIT cannot be used without the special ~ option"))
            }
            _ => Ok(()),
        }
    }

    /// Trims as the options say; returns how many entries are gone.
    pub(super) fn trim(&self, context: &mut Context<'_>, key: Key<'_>) -> Result<usize, Failure> {
        let Some(to) = self.to else { return Ok(0) };
        let limit = match (self.approximate, self.limit) {
            (false, _) | (true, Some(0)) => None,
            (true, Some(limit)) => Some(limit.unsigned_abs()),
            (true, None) => {
                let entries = context.store.limits().stream_block_entries.checked_mul(BLOCKS_PER_TRIM);
                Some(entries.map_or(TRIMMED_WITHOUT_BLOCKS, |entries| entries.min(TRIMMED_MAX) as u64))
            }
        };
        let trim = Trim { to, approximate: self.approximate, limit };
        let planned = read_to_change(context, key)?.and_then(|stream| stream.plan_trim(trim));
        let Some((last, count)) = planned else { return Ok(0) };
        context.store.change(context.database, key, StreamChange::Trim { to: last });
        Ok(count)
    }
}

/// `XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count]`
pub(in super::super) fn xtrim(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = trim(context, args);
    answer(context, outcome);
}

fn trim(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, ..] = args else { return Err(unreachable_arity("xtrim")) };
    let options = Options::parse(args, Of::Trim)?;
    let key = context.first_key(key);
    let removed = options.trim(context, key)?;
    context.out.integer(removed as i64);
    Ok(())
}

/// `XDEL key id [id …]`
pub(in super::super) fn xdel(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = delete(context, args);
    answer(context, outcome);
}

fn delete(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, ref texts @ ..] = args else { return Err(unreachable_arity("xdel")) };
    let key = context.first_key(key);
    if read_to_change(context, key)?.is_none() {
        context.out.integer(0);
        return Ok(());
    }
    let ids: Vec<StreamId> =
        texts.iter().map(|text| ids::strict(text, Missing::First)).collect::<Result<_, _>>()?;
    let mut deleted = 0;
    for id in ids {
        if read_to_change(context, key)?.is_some_and(|stream| stream.get(id).is_some()) {
            context.store.change(context.database, key, StreamChange::Delete { id });
            deleted += 1;
        }
    }
    context.out.integer(deleted);
    Ok(())
}

/// `XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]`
pub(in super::super) fn xsetid(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = set_id(context, args);
    answer(context, outcome);
}

fn set_id(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, id, ref options @ ..] = args else { return Err(unreachable_arity("xsetid")) };
    let last = ids::strict(id, Missing::First)?;
    let (mut added, mut max_deleted) = (None, None);
    let mut rest = options;
    loop {
        rest = match rest {
            [] => break,
            [option, count, tail @ ..] if is(option, "ENTRIESADDED") => {
                let count = integer(count)?;
                added = Some(u64::try_from(count).map_err(|_| fail("ERR entries_added must be positive"))?);
                tail
            }
            [option, id, tail @ ..] if is(option, "MAXDELETEDID") => {
                let id = ids::strict(id, Missing::First)?;
                if last < id {
                    return Err(fail(
                        "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                    ));
                }
                max_deleted = Some(id);
                tail
            }
            _ => return Err(fail(errors::SYNTAX)),
        };
    }
    let key = context.first_key(key);
    let stream = read_to_change(context, key)?.ok_or(fail(errors::NO_SUCH_KEY))?;
    if let Some(top) = stream.last_entry_id() {
        if last < top {
            return Err(fail("ERR The ID specified in XSETID is smaller than the target stream top item"));
        }
        if added.is_some_and(|added| added < stream.len() as u64) {
            return Err(fail(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    let added = added.unwrap_or_else(|| stream.added());
    let database = context.database;
    context.store.change(database, key, StreamChange::SetLast { last, added });
    if let Some(id) = max_deleted.filter(|id| *id != StreamId::MIN) {
        context.store.change(database, key, StreamChange::SetDeleted { id });
    }
    context.out.ok();
    Ok(())
}

//! Commands that tell what is in a list.

use annulus_protocol::Encoder;
use annulus_storage::value::{Element, List};

use super::super::arguments::{integer, is, span};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::{Context, answer, unreachable_arity};
use super::list;

/// `LLEN key`
pub(in super::super) fn llen(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = length(context, args);
    answer(context, outcome);
}

fn length(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key] = args else { return Err(unreachable_arity("llen")) };
    let key = context.first_key(key);
    let entry = context.store.get(context.database, key);
    let len = entry.map(list).transpose()?.map_or(0, List::len);
    context.out.integer(len as i64);
    Ok(())
}

/// `LINDEX key index`
pub(in super::super) fn lindex(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = element_at(context, args);
    answer(context, outcome);
}

fn element_at(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, index] = args else { return Err(unreachable_arity("lindex")) };
    let key = context.first_key(key);
    let Some(list) = context.store.get(context.database, key).map(list).transpose()? else {
        context.out.null();
        return Ok(());
    };
    // As in Redis, a wrong index is an error only if there is a list.
    match place(list, integer(index)?).and_then(|index| list.get(index)) {
        Some(element) => context.out.bulk(element),
        None => context.out.null(),
    }
    Ok(())
}

/// The index that counts from the end if it is negative; none if it lies outside the list.
pub(super) fn place(list: &List, index: i64) -> Option<usize> {
    let len = list.len();
    let index = match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
    };
    (index < len).then_some(index)
}

/// `LRANGE key start stop`
pub(in super::super) fn lrange(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = range(context, args);
    answer(context, outcome);
}

fn range(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key, start, stop] = args else { return Err(unreachable_arity("lrange")) };
    let (start, stop) = (integer(start)?, integer(stop)?);
    let key = context.first_key(key);
    let Some(list) = context.store.get(context.database, key).map(list).transpose()? else {
        context.out.array_header(0);
        return Ok(());
    };
    let range = span(start, stop, list.len());
    context.out.array_header(range.len());
    list.iter_from(range.start).take(range.len()).for_each(|element| context.out.bulk(element));
    Ok(())
}

/// `LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]`
pub(in super::super) fn lpos(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = find(context, args);
    answer(context, outcome);
}

fn find(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, wanted, options @ ..] = args else { return Err(unreachable_arity("lpos")) };
    let search = Search::parse(options)?;
    let key = context.first_key(key);
    let out = &mut context.out;
    let Some(list) = context.store.get(context.database, key).map(list).transpose()? else {
        match search.count {
            Some(_) => out.array_header(0),
            None => out.null(),
        }
        return Ok(());
    };
    if search.backwards {
        let last = list.len() - 1;
        search.reply(list.iter_back(), wanted, |index| last - index, out);
    } else {
        search.reply(list.iter_from(0), wanted, |index| index, out);
    }
    Ok(())
}

/// What `LPOS` looks for.
struct Search {
    /// From the right.
    backwards: bool,
    /// Matches to pass over.
    skipped: usize,
    /// How many matches to tell of, as an array; not given: the first one.
    count: Option<usize>,
    /// How many elements to look at.
    looks: usize,
}

impl Search {
    fn parse(options: &[&[u8]]) -> Result<Self, Failure> {
        let mut search = Self { backwards: false, skipped: 0, count: None, looks: usize::MAX };
        let mut rest = options;
        while let [option, value, tail @ ..] = rest {
            match () {
                () if is(option, "RANK") => search.set_rank(integer(value)?)?,
                () if is(option, "COUNT") => {
                    search.count = Some(or_all(value, "ERR COUNT can't be negative")?);
                }
                () if is(option, "MAXLEN") => {
                    search.looks = or_all(value, "ERR MAXLEN can't be negative")?;
                }
                () => return Err(fail(errors::SYNTAX)),
            }
            rest = tail;
        }
        if rest.is_empty() { Ok(search) } else { Err(fail(errors::SYNTAX)) }
    }

    fn set_rank(&mut self, rank: i64) -> Outcome {
        if rank == 0 {
            return Err(fail(
                "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
                 or use negative to start from the end of the list",
            ));
        }
        if rank == i64::MIN {
            return Err(fail("ERR value is out of range"));
        }
        self.backwards = rank < 0;
        self.skipped = usize::try_from(rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
        Ok(())
    }

    fn reply<'a>(
        &self,
        elements: impl Iterator<Item = Element<'a>>,
        wanted: &[u8],
        index_of: impl Fn(usize) -> usize,
        out: &mut Encoder<'_>,
    ) {
        let mut found = elements
            .take(self.looks)
            .enumerate()
            .filter(|(_, element)| *element == *wanted)
            .map(|(index, _)| index_of(index) as i64)
            .skip(self.skipped);
        let Some(count) = self.count else {
            match found.next() {
                Some(index) => out.integer(index),
                None => out.null(),
            }
            return;
        };
        let start = out.position();
        let mut told = 0;
        for index in found.take(count) {
            out.integer(index);
            told += 1;
        }
        out.insert_array_header(start, told);
    }
}

/// A number of things, of which 0 means all.
fn or_all(text: &[u8], negative: &'static str) -> Result<usize, Failure> {
    match integer(text).ok().map(usize::try_from) {
        Some(Ok(0)) => Ok(usize::MAX),
        Some(Ok(count)) => Ok(count),
        _ => Err(fail(negative)),
    }
}

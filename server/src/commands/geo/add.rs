//! `GEOADD`.

use super::super::errors::{self, Failure, Outcome, fail};
use super::super::sorted_sets::add::{Options, put};
use super::super::{Context, answer, unreachable_arity};
use super::cell::score_of;
use super::point;

/// `GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member …]`
pub(in super::super) fn geoadd(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = match args {
        [_, key, rest @ ..] => add(context, key, rest),
        _ => Err(unreachable_arity("geoadd")),
    };
    answer(context, outcome);
}

fn add(context: &mut Context<'_>, key: &[u8], args: &[&[u8]]) -> Outcome {
    let (options, places) = Options::parse_of_geoadd(args);
    if places.is_empty() || !places.len().is_multiple_of(3) || options.check(1).is_err() {
        return Err(fail(errors::SYNTAX));
    }
    let places = places.chunks_exact(3).map(|place| Ok((score_of(point(place[0], place[1])?), place[2])));
    let places = places.collect::<Result<Vec<_>, Failure>>()?;
    let key = context.first_key(key);
    put(context, key, options, &places)
}

//! Commands that tell of single places.

use annulus_protocol::Encoder;

use super::super::errors::{self, Outcome, fail};
use super::super::sorted_sets::sorted_set;
use super::super::{Context, answer, unreachable_arity};
use super::cell::{geohash, point_of};
use super::{coordinates, distance, unit};

/// `GEODIST key member1 member2 [M | KM | FT | MI]`
pub(in super::super) fn geodist(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = measure(context, args);
    answer(context, outcome);
}

fn measure(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let [_, key, a, b, options @ ..] = args else { return Err(unreachable_arity("geodist")) };
    let unit = match options {
        [] => 1.0,
        [word] => unit(word)?,
        _ => return Err(fail(errors::SYNTAX)),
    };
    let key = context.first_key(key);
    let now = context.store.now();
    let set = context.store.get(context.database, key).map(sorted_set(now)).transpose()?;
    match set.and_then(|set| Some((set.score(a)?, set.score(b)?))) {
        Some((a, b)) => distance(point_of(a).distance(point_of(b)), unit, &mut context.out),
        None => context.out.null(),
    }
    Ok(())
}

/// `GEOHASH key [member …]`
pub(in super::super) fn geohash_of(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = each(context, args, |score, out| match score {
        Some(score) => out.bulk(geohash(score)),
        None => out.null(),
    });
    answer(context, outcome);
}

/// `GEOPOS key [member …]`
pub(in super::super) fn geopos(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = each(context, args, |score, out| match score {
        Some(score) => coordinates(point_of(score), out),
        None => out.null_array(),
    });
    answer(context, outcome);
}

/// Writes something for the score of each member, or for its absence.
fn each(context: &mut Context<'_>, args: &[&[u8]], write: impl Fn(Option<f64>, &mut Encoder<'_>)) -> Outcome {
    let [_, key, members @ ..] = args else { return Err(unreachable_arity("geopos")) };
    let key = context.first_key(key);
    let now = context.store.now();
    let set = context.store.get(context.database, key).map(sorted_set(now)).transpose()?;
    context.out.array_header(members.len());
    for member in members {
        write(set.as_ref().and_then(|set| set.score(member)), &mut context.out);
    }
    Ok(())
}

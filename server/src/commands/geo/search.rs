//! Commands that search for places in an area.

use annulus_protocol::Encoder;
use annulus_storage::value::{Element, LiveSortedSet};

use super::super::errors::Outcome;
use super::super::sorted_sets::{sorted_set, store};
use super::super::transfer::refuse;
use super::super::{Context, Hop, HopStep, answer, key, unreachable_arity};
use super::cell::{Cell, Point, point_of};
use super::query::{Form, Order, Query};
use super::{coordinates, distance};

/// `GEORADIUS key longitude latitude radius unit [option …]` on one shard
pub(in super::super) fn georadius(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, Form::Around { stores: true }, args);
}

/// `GEORADIUS_RO key longitude latitude radius unit [option …]`
pub(in super::super) fn georadius_ro(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, Form::Around { stores: false }, args);
}

/// `GEORADIUSBYMEMBER key member radius unit [option …]` on one shard
pub(in super::super) fn georadiusbymember(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, Form::AroundMember { stores: true }, args);
}

/// `GEORADIUSBYMEMBER_RO key member radius unit [option …]`
pub(in super::super) fn georadiusbymember_ro(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, Form::AroundMember { stores: false }, args);
}

/// `GEOSEARCH key FROMMEMBER|FROMLONLAT … BYRADIUS|BYBOX … [option …]`
pub(in super::super) fn geosearch(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, Form::Search, args);
}

/// `GEOSEARCHSTORE destination source FROMMEMBER|FROMLONLAT … BYRADIUS|BYBOX … [option …]` on one shard
pub(in super::super) fn geosearchstore(context: &mut Context<'_>, args: &[&[u8]]) {
    run(context, Form::SearchStore, args);
}

fn run(context: &mut Context<'_>, form: Form, args: &[&[u8]]) {
    let outcome = search(context, form, args);
    answer(context, outcome);
}

fn search(context: &mut Context<'_>, form: Form, args: &[&[u8]]) -> Outcome {
    let source = form.source(args).ok_or_else(|| unreachable_arity("geosearch"))?;
    let now = context.store.now();
    let set = context.store.get(context.database, key(source)).map(sorted_set(now)).transpose()?;
    let query = Query::parse(form, args, set.as_ref())?;
    let found = set.map(|set| query.find(&set)).unwrap_or_default();
    if let Some(target) = query.target {
        let value = query.encode(&found);
        return store::put_encoded(context, key(target.key), &value);
    }
    query.show(&found, &mut context.out);
    Ok(())
}

/// `annulus.geopick source name …`: what a search finds that is to be stored, encoded
pub(in super::super) fn pick_encoded(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = args.get(2..).ok_or_else(|| unreachable_arity("annulus.geopick")).and_then(|args| {
        let form = match args.first() {
            Some(name) if name.eq_ignore_ascii_case(b"georadius") => Form::Around { stores: true },
            Some(name) if name.eq_ignore_ascii_case(b"georadiusbymember") => {
                Form::AroundMember { stores: true }
            }
            _ => Form::SearchStore,
        };
        pick(context, form, args)
    });
    answer(context, outcome);
}

fn pick(context: &mut Context<'_>, form: Form, args: &[&[u8]]) -> Outcome {
    let source = form.source(args).ok_or_else(|| unreachable_arity("annulus.geopick"))?;
    let now = context.store.now();
    let set = context.store.get(context.database, key(source)).map(sorted_set(now)).transpose()?;
    let query = Query::parse(form, args, set.as_ref())?;
    let value = set.map(|set| query.encode(&query.find(&set))).unwrap_or_default();
    context.out.bulk(value);
    Ok(())
}

/// `GEOSEARCHSTORE` between shards
pub(in super::super) fn geosearchstore_plan(hop: &Hop<'_>) -> HopStep {
    plan(hop, Form::SearchStore)
}

/// `GEORADIUS … STORE` between shards
pub(in super::super) fn georadius_plan(hop: &Hop<'_>) -> HopStep {
    plan(hop, Form::Around { stores: true })
}

/// `GEORADIUSBYMEMBER … STORE` between shards
pub(in super::super) fn georadiusbymember_plan(hop: &Hop<'_>) -> HopStep {
    plan(hop, Form::AroundMember { stores: true })
}

fn plan(hop: &Hop<'_>, form: Form) -> HopStep {
    // Where the source is, the arguments are checked with it at hand; until then it is enough that they name a target.
    let Some(source) = form.source(hop.args) else {
        return refuse(hop, unreachable_arity("geosearch"));
    };
    let target = match form {
        Form::SearchStore => hop.args.get(1),
        _ => stored_at(hop.args),
    };
    let rest: Vec<&[u8]> = std::iter::once(source).chain(hop.args.iter().copied()).collect();
    store::pick_and_store(hop, "annulus.geopick", target.copied().unwrap_or_default(), &rest)
}

/// The last key that is named as a target.
fn stored_at<'b, 'a>(args: &'b [&'a [u8]]) -> Option<&'b &'a [u8]> {
    let names = |word: &[u8]| word.eq_ignore_ascii_case(b"STORE") || word.eq_ignore_ascii_case(b"STOREDIST");
    let at = args.iter().skip(5).rposition(|word| names(word))? + 5;
    args.get(at + 1)
}

/// A place that was found.
struct Found<'s> {
    member: Element<'s>,
    score: f64,
    point: Point,
    /// From the centre, in metres.
    distance: f64,
}

impl Query<'_> {
    /// All that is asked for, in order.
    fn find<'s>(&self, set: &LiveSortedSet<'s>) -> Vec<Found<'s>> {
        let enough = if self.any { self.count } else { usize::MAX };
        let mut found = Vec::new();
        for cell in self.area.cells() {
            if found.len() >= enough {
                break;
            }
            self.look_through(cell, set, enough, &mut found);
        }
        let by_distance = |a: &Found<'_>, b: &Found<'_>| a.distance.total_cmp(&b.distance);
        match self.order {
            Some(Order::Nearest) => found.sort_by(by_distance),
            Some(Order::Farthest) => found.sort_by(|a, b| by_distance(b, a)),
            None => {}
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }

    fn look_through<'s>(
        &self,
        cell: Cell,
        set: &LiveSortedSet<'s>,
        enough: usize,
        found: &mut Vec<Found<'s>>,
    ) {
        let (from, to) = cell.scores();
        let (start, end) = (set.partition(|score, _| score < from), set.partition(|score, _| score < to));
        for (member, score) in set.range(start, end.max(start)) {
            let point = point_of(score);
            if let Some(distance) = self.area.distance(point) {
                found.push(Found { member, score, point, distance });
                if found.len() >= enough {
                    return;
                }
            }
        }
    }

    fn show(&self, found: &[Found<'_>], out: &mut Encoder<'_>) {
        out.array_header(found.len());
        for place in found {
            if self.shown.count() > 0 {
                out.array_header(1 + self.shown.count());
            }
            out.bulk(place.member);
            if self.shown.distance {
                distance(place.distance, self.unit, out);
            }
            if self.shown.score {
                out.integer(place.score as i64);
            }
            if self.shown.coordinates {
                coordinates(place.point, out);
            }
        }
    }

    /// The value that the target gets.
    fn encode(&self, found: &[Found<'_>]) -> Vec<u8> {
        let distances = self.target.is_some_and(|target| target.distances);
        let scored = found.iter().map(|place| {
            let score = if distances { place.distance / self.unit } else { place.score };
            (place.member, score)
        });
        store::encode(scored)
    }
}

//! SORT and SORT_RO.
//!
//! A sort knows which keys its patterns mean when it has the elements, and those of `GET` when it has sorted them. So it asks twice:
//! on one shard the store, between shards in rounds ([`plan`]), under a lock on all keys, for nobody can say before which
//! they are. A round begins with the elements again, which nobody changes meanwhile: a plan remembers nothing.

use std::borrow::Cow;
use std::cmp::Ordering;

use annulus_protocol::{Encoder, parse_f64};
use annulus_storage::value::Change;
use annulus_storage::value::codec::put_element;
use annulus_storage::{Key, Kind, Value};

use super::arguments::{integer, is};
use super::errors::{self, Failure, Outcome, fail};
use super::replies::{bulk_reply, elements, error_among, integer_reply};
use super::transfer::{end, refuse};
use super::{Context, Hop, HopRequest, HopStep, answer, key, unreachable_arity};

const NO_DOUBLE: &str = "ERR One or more scores can't be converted into double";

/// A command, read.
#[derive(Debug)]
struct Request<'a> {
    key: &'a [u8],
    descending: bool,
    alphabetic: bool,
    start: i64,
    count: i64,
    by: Option<&'a [u8]>,
    gets: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    fn parse(args: &[&'a [u8]]) -> Result<Self, Failure> {
        let &[name, key, ref options @ ..] = args else { return Err(unreachable_arity("sort")) };
        let stores = !is(name, "SORT_RO");
        let mut request = Self {
            key,
            descending: false,
            alphabetic: false,
            start: 0,
            count: -1,
            by: None,
            gets: Vec::new(),
            store: None,
        };
        let mut rest = options;
        loop {
            rest = match rest {
                [] => return Ok(request),
                [option, tail @ ..] if is(option, "ASC") => {
                    request.descending = false;
                    tail
                }
                [option, tail @ ..] if is(option, "DESC") => {
                    request.descending = true;
                    tail
                }
                [option, tail @ ..] if is(option, "ALPHA") => {
                    request.alphabetic = true;
                    tail
                }
                [option, start, count, tail @ ..] if is(option, "LIMIT") => {
                    (request.start, request.count) = (integer(start)?, integer(count)?);
                    tail
                }
                [option, key, tail @ ..] if stores && is(option, "STORE") => {
                    request.store = Some(key);
                    tail
                }
                [option, pattern, tail @ ..] if is(option, "BY") => {
                    request.by = Some(pattern);
                    tail
                }
                [option, pattern, tail @ ..] if is(option, "GET") => {
                    request.gets.push(pattern);
                    tail
                }
                _ => return Err(fail(errors::SYNTAX)),
            };
        }
    }

    /// Whether the elements stay in the order that they have: sorted by what is the same for all.
    fn keeps_order(&self) -> bool {
        self.by.is_some_and(|pattern| !pattern.contains(&b'*'))
    }
}

/// The position of the key that a command stores to; the last one counts.
pub(super) fn store_position(args: &[&[u8]]) -> Option<usize> {
    options(args)
        .filter(|(option, at)| is(option, "STORE") && at + 1 < args.len())
        .map(|(_, at)| at + 1)
        .last()
}

/// Whether a command looks at keys that its arguments don't name.
pub(super) fn looks_elsewhere(args: &[&[u8]]) -> bool {
    options(args).any(|(option, at)| {
        (is(option, "BY") || is(option, "GET")) && args.get(at + 1).is_some_and(|it| it.contains(&b'*'))
    })
}

/// The options of a command, with their positions.
fn options<'a, 'b>(args: &'b [&'a [u8]]) -> impl Iterator<Item = (&'a [u8], usize)> + use<'a, 'b> {
    let mut at = 2;
    std::iter::from_fn(move || {
        let (option, here) = (*args.get(at)?, at);
        at += match () {
            () if is(option, "LIMIT") => 3,
            () if ["STORE", "BY", "GET"].iter().any(|word| is(option, word)) => 2,
            () => 1,
        };
        Some((option, here))
    })
}

/// What a pattern means for an element.
enum Meant<'a> {
    /// The element itself.
    Element,
    /// Nothing, whatever the element.
    Nothing,
    /// The string at a key, or the field of the hash there.
    At(Vec<u8>, Option<&'a [u8]>),
}

impl<'a> Meant<'a> {
    fn of(pattern: &'a [u8], element: &[u8]) -> Self {
        if pattern == b"#" {
            return Self::Element;
        }
        let Some(star) = pattern.iter().position(|byte| *byte == b'*') else { return Self::Nothing };
        let (prefix, rest) = pattern.split_at(star);
        let rest = rest.get(1..).unwrap_or_default();
        let arrow = rest.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < rest.len());
        let (suffix, field) = match arrow {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 2..)),
            None => (rest, None),
        };
        Self::At([prefix, element, suffix].concat(), field)
    }
}

/// The value of what patterns mean; nothing where there is none.
type Found = Option<Vec<u8>>;

/// The elements of a value in the order that SORT finds them in.
struct Elements {
    kind: Option<Kind>,
    elements: Vec<Vec<u8>>,
}

impl Elements {
    fn of(value: Option<Value<'_>>, now_ms: u64) -> Result<Self, Failure> {
        let elements = match value {
            None => Vec::new(),
            Some(Value::List(list)) => list.iter_from(0).map(|element| element.to_vec()).collect(),
            Some(Value::Set(set)) => set.at(now_ms).iter().map(|member| member.to_vec()).collect(),
            Some(Value::SortedSet(set)) => set.at(now_ms).iter().map(|(member, _)| member.to_vec()).collect(),
            Some(_) => return Err(fail(errors::WRONG_TYPE)),
        };
        Ok(Self { kind: value.map(|value| value.kind()), elements })
    }

    /// Which elements come out, in which order. `by` has what the elements are sorted by, if that's not they themselves.
    fn arrange(mut self, request: &Request<'_>, by: &[Found]) -> Result<Vec<Vec<u8>>, Failure> {
        let len = self.elements.len();
        let start = usize::try_from(request.start).unwrap_or(0);
        let count = usize::try_from(request.count).unwrap_or(len);
        let sorted = if !request.keeps_order() {
            sort(self.elements, request, by)?
        } else if self.kind == Some(Kind::Set) && request.store.is_some() {
            // Sets have no order, and what is stored should not depend on chance.
            let request = Request { alphabetic: true, by: None, gets: Vec::new(), ..*request };
            sort(self.elements, &request, &[])?
        } else {
            if request.descending && self.kind != Some(Kind::Set) {
                self.elements.reverse();
            }
            self.elements
        };
        Ok(sorted.into_iter().skip(start).take(count).collect())
    }
}

fn sort(elements: Vec<Vec<u8>>, request: &Request<'_>, by: &[Found]) -> Result<Vec<Vec<u8>>, Failure> {
    let weights: Vec<Option<Cow<'_, [u8]>>> = match request.by {
        Some(_) => by.iter().map(|found| found.as_deref().map(Cow::Borrowed)).collect(),
        None => elements.iter().map(|element| Some(Cow::Borrowed(element.as_slice()))).collect(),
    };
    let mut order: Vec<usize> = (0..elements.len()).collect();
    let directed = |ordering: Ordering| if request.descending { ordering.reverse() } else { ordering };
    if request.alphabetic {
        // What has no weight comes first.
        order.sort_by(|a, b| directed(weights.get(*a).cmp(&weights.get(*b))));
    } else {
        let numbers: Vec<f64> = weights
            .iter()
            .map(|weight| weight.as_deref().map_or(Ok(0.0), number))
            .collect::<Result<_, _>>()?;
        order.sort_by(|a, b| {
            let by_number = numbers.get(*a).partial_cmp(&numbers.get(*b)).unwrap_or(Ordering::Equal);
            directed(by_number.then_with(|| elements.get(*a).cmp(&elements.get(*b))))
        });
    }
    drop(weights);
    let mut elements: Vec<Option<Vec<u8>>> = elements.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|index| elements.get_mut(index)?.take()).collect())
}

/// A weight as a number, as `strtod` reads it: spaces before it don't matter, and nothing is 0.
fn number(text: &[u8]) -> Result<f64, Failure> {
    let spaces = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
    if text.is_empty() {
        return Ok(0.0);
    }
    text.get(spaces..).and_then(parse_f64).ok_or(fail(NO_DOUBLE))
}

/// What the patterns of `GET` mean for the elements that come out, element by element; without any, the elements.
fn results(
    chosen: &[Vec<u8>],
    request: &Request<'_>,
    mut look: impl FnMut(&[u8], Option<&[u8]>) -> Found,
) -> Vec<Found> {
    if request.gets.is_empty() {
        return chosen.iter().cloned().map(Some).collect();
    }
    let pairs = chosen.iter().flat_map(|element| request.gets.iter().map(move |pattern| (element, *pattern)));
    pairs
        .map(|(element, pattern)| match Meant::of(pattern, element) {
            Meant::Element => Some(element.clone()),
            Meant::Nothing => None,
            Meant::At(key, field) => look(&key, field),
        })
        .collect()
}

fn write(results: &[Found], out: &mut Encoder<'_>) {
    out.array_header(results.len());
    for result in results {
        match result {
            Some(bytes) => out.bulk(bytes),
            None => out.null(),
        }
    }
}

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC|DESC] [ALPHA] [STORE destination]` on one shard
pub(super) fn sort_here(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = run(context, args);
    answer(context, outcome);
}

fn run(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let request = Request::parse(args)?;
    let now = context.store.now();
    let entry = context.store.get(context.database, key(request.key));
    let found = Elements::of(entry.map(|entry| entry.value()), now)?;
    let mut by = Vec::new();
    if let Some(pattern) = request.by.filter(|_| !request.keeps_order()) {
        for element in &found.elements {
            by.push(match Meant::of(pattern, element) {
                Meant::At(key, field) => look(context, super::key(&key), field),
                Meant::Element | Meant::Nothing => None,
            });
        }
    }
    let chosen = found.arrange(&request, &by)?;
    let results = results(&chosen, &request, |key, field| look(context, super::key(key), field));
    match request.store {
        Some(destination) => store(context, key(destination), &results),
        None => write(&results, &mut context.out),
    }
    Ok(())
}

/// The string at a key, or a field of the hash there.
fn look(context: &mut Context<'_>, key: Key<'_>, field: Option<&[u8]>) -> Found {
    let now_ms = context.store.now();
    let value = context.store.get(context.database, key)?.value();
    match (value, field) {
        (Value::String(bytes), None) => Some(bytes.to_vec()),
        (Value::Hash(hash), Some(field)) => hash.get(field, now_ms).map(|value| value.to_vec()),
        _ => None,
    }
}

/// Makes a key a list of these, or removes it if there are none. Replies with their number.
fn store(context: &mut Context<'_>, key: Key<'_>, results: &[Found]) {
    let mut elements = Vec::new();
    for result in results {
        put_element(&mut elements, result.as_deref().unwrap_or_default());
    }
    if results.is_empty() {
        context.store.delete(context.database, key);
    } else {
        let change = Change::Load { kind: Kind::List, first: true, elements: &elements };
        context.store.change(context.database, key, change);
    }
    context.out.integer(results.len() as i64);
}

/// SORT between shards. Rounds: the elements; and what they are sorted by; and what is got for them; the list is stored.
pub(super) fn plan(hop: &Hop<'_>) -> HopStep {
    let request = match Request::parse(hop.args) {
        Ok(request) => request,
        Err(error) => return refuse(hop, error),
    };
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    match step(hop, &request) {
        Ok(step) => step,
        Err(error) => refuse(hop, error),
    }
}

fn step(hop: &Hop<'_>, request: &Request<'_>) -> Result<HopStep, Failure> {
    const ROUND_STORED: u32 = 4;
    if hop.round == ROUND_STORED {
        return Ok(HopStep::Reply(hop.replies.first().cloned().unwrap_or_default()));
    }
    let mut requests = vec![HopRequest { args: vec![b"annulus.sortlist".to_vec(), request.key.to_vec()] }];
    let Some((first, found)) = hop.replies.split_first() else { return Ok(HopStep::Send(requests)) };
    let elements = fetched(first);
    let by_looks: Vec<HopRequest> = match request.by.filter(|_| !request.keeps_order()) {
        Some(pattern) => elements.elements.iter().map(|element| look_request(pattern, element)).collect(),
        None => Vec::new(),
    };
    let by_count = by_looks.len();
    requests.extend(by_looks);
    if hop.round == 1 {
        return Ok(HopStep::Send(requests));
    }
    let (by, got) = found.split_at(by_count.min(found.len()));
    let by: Vec<Found> = by.iter().map(|reply| bulk_reply(reply).map(<[u8]>::to_vec)).collect();
    let chosen = elements.arrange(request, &by)?;
    let looks_up = |pattern: &&&[u8]| pattern.contains(&b'*');
    if hop.round == 2 {
        let patterns = || request.gets.iter().filter(looks_up);
        let looks = chosen.iter().flat_map(|element| patterns().map(move |it| look_request(it, element)));
        requests.extend(looks);
        return Ok(HopStep::Send(requests));
    }
    let mut got = got.iter();
    let results =
        results(&chosen, request, |_, _| got.next().and_then(|reply| bulk_reply(reply)).map(<[u8]>::to_vec));
    Ok(match request.store {
        None => end(hop, |out| write(&results, out)),
        Some(destination) => {
            let mut args = vec![b"annulus.sortstore".to_vec(), destination.to_vec()];
            args.extend(results.into_iter().map(Option::unwrap_or_default));
            HopStep::Send(vec![HopRequest { args }])
        }
    })
}

/// Asks for what a pattern means for an element. One that means nothing, or the element itself, gets no weight.
fn look_request(pattern: &[u8], element: &[u8]) -> HopRequest {
    let (key, field) = match Meant::of(pattern, element) {
        Meant::At(key, field) => (key, field),
        Meant::Element | Meant::Nothing => (Vec::new(), None),
    };
    let mut args = vec![b"annulus.sortlook".to_vec(), key];
    args.extend(field.map(<[u8]>::to_vec));
    HopRequest { args }
}

/// What `annulus.sortlist` replied.
fn fetched(reply: &[u8]) -> Elements {
    let mut parts = elements(reply);
    let kind = parts.next().and_then(integer_reply).map(|kind| match kind {
        1 => Kind::List,
        3 => Kind::Set,
        _ => Kind::SortedSet,
    });
    Elements { kind, elements: parts.filter_map(|part| bulk_reply(part).map(<[u8]>::to_vec)).collect() }
}

/// `annulus.sortlist key`: the type of a value and its elements, in the order that SORT finds them in
pub(super) fn list_elements(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key] = args else { return answer(context, Err(unreachable_arity("annulus.sortlist"))) };
    let key = context.first_key(key);
    let now = context.store.now();
    let entry = context.store.get(context.database, key);
    let outcome = Elements::of(entry.map(|entry| entry.value()), now).map(|found| {
        context.out.array_header(1 + found.elements.len());
        context.out.integer(found.kind.map_or(1, |kind| kind as i64));
        found.elements.iter().for_each(|element| context.out.bulk(element));
    });
    answer(context, outcome);
}

/// `annulus.sortlook key [field]`: the string at a key, or a field of the hash there
pub(super) fn look_up(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key, ref field @ ..] = args else {
        return answer(context, Err(unreachable_arity("annulus.sortlook")));
    };
    let key = context.first_key(key);
    match look(context, key, field.first().copied()) {
        Some(bytes) => context.out.bulk(bytes),
        None => context.out.null(),
    }
}

/// `annulus.sortstore key [element …]`: makes it a list
pub(super) fn store_list(context: &mut Context<'_>, args: &[&[u8]]) {
    let &[_, key, ref elements @ ..] = args else {
        return answer(context, Err(unreachable_arity("annulus.sortstore")));
    };
    let key = context.first_key(key);
    let elements: Vec<Found> = elements.iter().map(|element| Some(element.to_vec())).collect();
    store(context, key, &elements);
}

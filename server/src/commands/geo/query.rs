//! The arguments of a search.
//!
//! They are read with the sorted set at hand, as a member may be the centre, and in Redis's order: the first thing that is wrong is the
//! error. Without a sorted set there is nothing to find, but the arguments must still be right.

use annulus_protocol::parse_f64;
use annulus_storage::value::LiveSortedSet;

use super::super::arguments::{integer, is};
use super::super::errors::{self, Failure, fail};
use super::super::unreachable_arity;
use super::area::{Area, Shape};
use super::cell::{Point, point_of};
use super::{point, unit};

const UNKNOWN_MEMBER: &str = "ERR could not decode requested zset member";
const NEEDS_RADIUS: &str = "ERR need numeric radius";
const NEGATIVE_RADIUS: &str = "ERR radius cannot be negative";
const NEEDS_WIDTH: &str = "ERR need numeric width";
const NEEDS_HEIGHT: &str = "ERR need numeric height";
const NEGATIVE_BOX: &str = "ERR height or width cannot be negative";
const COUNT_OF_NONE: &str = "ERR COUNT must be > 0";
const ANY_OF_ALL: &str = "ERR the ANY argument requires COUNT argument";

/// Which command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `GEORADIUS`
    Around { stores: bool },
    /// `GEORADIUSBYMEMBER`
    AroundMember { stores: bool },
    /// `GEOSEARCH`
    Search,
    /// `GEOSEARCHSTORE`
    SearchStore,
}

impl Form {
    const fn is_search(self) -> bool {
        matches!(self, Self::Search | Self::SearchStore)
    }

    const fn stores(self) -> bool {
        matches!(self, Self::Around { stores: true } | Self::AroundMember { stores: true })
    }

    /// The key that is searched.
    pub(super) fn source<'a>(self, args: &[&'a [u8]]) -> Option<&'a [u8]> {
        args.get(if self == Self::SearchStore { 2 } else { 1 }).copied()
    }
}

/// Which of the found come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Nearest,
    Farthest,
}

/// What is shown of a place beside its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) distance: bool,
    pub(super) score: bool,
    pub(super) coordinates: bool,
}

impl Shown {
    pub(super) fn count(self) -> usize {
        [self.distance, self.score, self.coordinates].iter().filter(|is_shown| **is_shown).count()
    }
}

/// Where a result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) key: &'a [u8],
    /// The scores are distances, and not the places' own.
    pub(super) distances: bool,
}

/// A search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    pub(super) area: Area,
    /// In metres.
    pub(super) unit: f64,
    pub(super) shown: Shown,
    pub(super) order: Option<Order>,
    /// Most to tell of; 0: all.
    pub(super) count: usize,
    /// Any of them will do.
    pub(super) any: bool,
    pub(super) target: Option<Target<'a>>,
}

/// What has been read so far.
struct Reader<'a, 's> {
    form: Form,
    set: Option<&'s LiveSortedSet<'s>>,
    centre: Option<Point>,
    by_member: bool,
    shape: Option<(Shape, f64)>,
    shown: Shown,
    order: Option<Order>,
    count: usize,
    any: bool,
    target: Option<&'a [u8]>,
    distances: bool,
}

impl<'a> Query<'a> {
    /// Reads a command with its name.
    pub(super) fn parse(
        form: Form,
        args: &[&'a [u8]],
        set: Option<&LiveSortedSet<'_>>,
    ) -> Result<Self, Failure> {
        let mut reader = Reader {
            form,
            set,
            centre: None,
            by_member: false,
            shape: None,
            shown: Shown::default(),
            order: None,
            count: 0,
            any: false,
            target: None,
            distances: false,
        };
        let options = reader.read_fixed(args)?;
        let mut rest = options;
        while !rest.is_empty() {
            rest = reader.read_option(rest)?;
        }
        reader.finish(args)
    }
}

impl<'a> Reader<'a, '_> {
    /// Reads what has its place before the options; returns those.
    fn read_fixed<'b>(&mut self, args: &'b [&'a [u8]]) -> Result<&'b [&'a [u8]], Failure> {
        match (self.form, args) {
            (Form::Around { .. }, [_, _, longitude, latitude, radius, unit, options @ ..]) => {
                self.centre = Some(point(longitude, latitude)?);
                self.shape = Some(circle(radius, unit)?);
                Ok(options)
            }
            (Form::AroundMember { .. }, [_, _, member, radius, unit, options @ ..]) => {
                self.read_member(member)?;
                // As in Redis, who searches nothing may search any distance.
                self.shape = match self.set {
                    Some(_) => Some(circle(radius, unit)?),
                    None => Some((Shape::Circle { radius: 0.0 }, 1.0)),
                };
                Ok(options)
            }
            (Form::Search, [_, _, options @ ..]) => Ok(options),
            (Form::SearchStore, [_, target, _, options @ ..]) => {
                self.target = Some(target);
                Ok(options)
            }
            _ => Err(unreachable_arity("geosearch")),
        }
    }

    fn read_member(&mut self, member: &[u8]) -> Result<(), Failure> {
        self.by_member = true;
        self.centre = Some(match self.set {
            Some(set) => point_of(set.score(member).ok_or(fail(UNKNOWN_MEMBER))?),
            None => Point::default(),
        });
        Ok(())
    }

    /// Reads one option; returns what follows.
    fn read_option<'b>(&mut self, args: &'b [&'a [u8]]) -> Result<&'b [&'a [u8]], Failure> {
        let [option, rest @ ..] = args else { return Ok(args) };
        let is = |word: &str| is(option, word);
        let searches = self.form.is_search();
        match rest {
            _ if is("WITHDIST") => self.shown.distance = true,
            _ if is("WITHHASH") => self.shown.score = true,
            _ if is("WITHCOORD") => self.shown.coordinates = true,
            _ if is("ANY") => self.any = true,
            _ if is("ASC") => self.order = Some(Order::Nearest),
            _ if is("DESC") => self.order = Some(Order::Farthest),
            [count, rest @ ..] if is("COUNT") => {
                self.count = usize::try_from(integer(count)?).unwrap_or(0);
                if self.count == 0 {
                    return Err(fail(COUNT_OF_NONE));
                }
                return Ok(rest);
            }
            [key, rest @ ..] if self.form.stores() && (is("STORE") || is("STOREDIST")) => {
                self.target = Some(key);
                self.distances = is("STOREDIST");
                return Ok(rest);
            }
            [member, rest @ ..]
                if searches && is("FROMMEMBER") && (self.by_member || self.centre.is_none()) =>
            {
                self.read_member(member)?;
                return Ok(rest);
            }
            [longitude, latitude, rest @ ..] if searches && is("FROMLONLAT") && !self.by_member => {
                self.centre = Some(point(longitude, latitude)?);
                return Ok(rest);
            }
            [radius, unit, rest @ ..] if searches && is("BYRADIUS") && !self.has_rectangle() => {
                self.shape = Some(circle(radius, unit)?);
                return Ok(rest);
            }
            [width, height, unit, rest @ ..] if searches && is("BYBOX") && !self.has_circle() => {
                self.shape = Some(rectangle(width, height, unit)?);
                return Ok(rest);
            }
            _ if self.form == Form::SearchStore && is("STOREDIST") => self.distances = true,
            _ => return Err(fail(errors::SYNTAX)),
        }
        Ok(rest)
    }

    fn has_circle(&self) -> bool {
        matches!(self.shape, Some((Shape::Circle { .. }, _)))
    }

    fn has_rectangle(&self) -> bool {
        matches!(self.shape, Some((Shape::Rectangle { .. }, _)))
    }

    /// Checks what options have to do with each other.
    fn finish(self, args: &[&[u8]]) -> Result<Query<'a>, Failure> {
        if self.target.is_some() && self.shown != Shown::default() {
            let form = if self.form.is_search() { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(Failure::Owned(
                format!("ERR {form} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
                    .into_bytes(),
            ));
        }
        let name = args.first().copied().unwrap_or_default();
        let missing = |what: &str| Failure::Owned([b"ERR exactly one of ", what.as_bytes(), name].concat());
        let centre = self.centre.ok_or_else(|| missing("FROMMEMBER or FROMLONLAT can be specified for "))?;
        let (shape, unit) = self.shape.ok_or_else(|| missing("BYRADIUS and BYBOX can be specified for "))?;
        if self.any && self.count == 0 {
            return Err(fail(ANY_OF_ALL));
        }
        // The first few are meant to be the nearest.
        let nearest = (self.count > 0 && !self.any).then_some(Order::Nearest);
        Ok(Query {
            area: Area { centre, shape },
            unit,
            shown: self.shown,
            order: self.order.or(nearest),
            count: self.count,
            any: self.any,
            target: self.target.map(|key| Target { key, distances: self.distances }),
        })
    }
}

/// A circle, and its unit.
fn circle(radius: &[u8], unit_word: &[u8]) -> Result<(Shape, f64), Failure> {
    let radius = parse_f64(radius).ok_or(fail(NEEDS_RADIUS))?;
    if radius < 0.0 {
        return Err(fail(NEGATIVE_RADIUS));
    }
    let unit = unit(unit_word)?;
    Ok((Shape::Circle { radius: radius * unit }, unit))
}

/// A rectangle, and its unit.
fn rectangle(width: &[u8], height: &[u8], unit_word: &[u8]) -> Result<(Shape, f64), Failure> {
    let width = parse_f64(width).ok_or(fail(NEEDS_WIDTH))?;
    let height = parse_f64(height).ok_or(fail(NEEDS_HEIGHT))?;
    if width < 0.0 || height < 0.0 {
        return Err(fail(NEGATIVE_BOX));
    }
    let unit = unit(unit_word)?;
    Ok((Shape::Rectangle { width: width * unit, height: height * unit }, unit))
}

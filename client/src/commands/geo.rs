//! Places: members of a sorted set with longitude and latitude, found by distance.
//!
//! ```no_run
//! # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
//! use annulus_client::commands::*;
//!
//! client.geoadd("cities", [(13.361389, 38.115556, "Palermo"), (15.087269, 37.502669, "Catania")]).await?;
//! let near = GeoSearch::within_radius(GeoFrom::Place(15.0, 37.0), 200.0, Unit::Kilometers).nearest_first().count(5);
//! for found in client.geosearch_told("cities", &near).await? {
//!     println!("{:?} is {} km away", found.member, found.distance);
//! }
//! # Ok(())
//! # }
//! ```

use bytes::Bytes;

use super::{AddCondition, Execute};
use crate::{Command, FromValue, Result, Value, convert::array};

/// What distances are told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Meters.
    Meters,
    /// Kilometers.
    Kilometers,
    /// Miles.
    Miles,
    /// Feet.
    Feet,
}

impl Unit {
    const fn word(self) -> &'static str {
        match self {
            Self::Meters => "m",
            Self::Kilometers => "km",
            Self::Miles => "mi",
            Self::Feet => "ft",
        }
    }
}

/// Where a member is, in degrees; about as it was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

impl FromValue for Position {
    fn from_value(value: Value) -> Result<Self> {
        let (longitude, latitude) = <(f64, f64)>::from_value(value)?;
        Ok(Self { longitude, latitude })
    }
}

/// The middle of a search.
#[derive(Clone, Debug, PartialEq)]
pub enum GeoFrom {
    /// Where this member is.
    Member(Bytes),
    /// A longitude and a latitude.
    Place(f64, f64),
}

impl GeoFrom {
    /// Where this member is.
    pub fn member(member: impl AsRef<[u8]>) -> Self {
        Self::Member(Bytes::copy_from_slice(member.as_ref()))
    }
}

/// What to search for.
#[derive(Clone, Debug, PartialEq)]
pub struct GeoSearch {
    from: GeoFrom,
    shape: Shape,
    unit: Unit,
    order: Option<&'static str>,
    count: Option<u32>,
    any: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Radius(f64),
    Box(f64, f64),
}

impl GeoSearch {
    /// What's within this distance.
    pub fn within_radius(from: GeoFrom, radius: f64, unit: Unit) -> Self {
        Self { from, shape: Shape::Radius(radius), unit, order: None, count: None, any: false }
    }

    /// What's within a rectangle around the middle.
    pub fn within_box(from: GeoFrom, width: f64, height: f64, unit: Unit) -> Self {
        Self { from, shape: Shape::Box(width, height), unit, order: None, count: None, any: false }
    }

    /// The nearest first.
    #[must_use]
    pub fn nearest_first(mut self) -> Self {
        self.order = Some("ASC");
        self
    }

    /// The farthest first.
    #[must_use]
    pub fn farthest_first(mut self) -> Self {
        self.order = Some("DESC");
        self
    }

    /// Only so many, the nearest.
    #[must_use]
    pub fn count(mut self, members: u32) -> Self {
        self.count = Some(members);
        self.any = false;
        self
    }

    /// Only so many, whichever are found first.
    #[must_use]
    pub fn any(mut self, members: u32) -> Self {
        self.count = Some(members);
        self.any = true;
        self
    }

    fn add(&self, command: Command) -> Command {
        let command = match &self.from {
            GeoFrom::Member(member) => command.arg("FROMMEMBER").arg(member),
            GeoFrom::Place(longitude, latitude) => {
                command.arg("FROMLONLAT").float(*longitude).float(*latitude)
            }
        };
        let command = match self.shape {
            Shape::Radius(radius) => command.arg("BYRADIUS").float(radius),
            Shape::Box(width, height) => command.arg("BYBOX").float(width).float(height),
        };
        let command = command.arg(self.unit.word());
        let command = match self.order {
            Some(order) => command.arg(order),
            None => command,
        };
        command.option("COUNT", self.count.map(u64::from)).flag("ANY", self.any)
    }
}

/// A member that was found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GeoFound {
    /// Which.
    pub member: Bytes,
    /// How far from the middle, in the unit of the search.
    pub distance: f64,
    /// Where.
    pub position: Position,
}

impl FromValue for GeoFound {
    fn from_value(value: Value) -> Result<Self> {
        let [member, distance, position] = array(value)?;
        Ok(Self {
            member: Bytes::from_value(member)?,
            distance: f64::from_value(distance)?,
            position: Position::from_value(position)?,
        })
    }
}

fn members<M: AsRef<[u8]>>(command: Command, members: impl IntoIterator<Item = (f64, f64, M)>) -> Command {
    members.into_iter().fold(command, |command, (longitude, latitude, member)| {
        command.float(longitude).float(latitude).arg(member)
    })
}

/// Commands on places.
pub trait GeoCommands: Execute {
    /// Adds members with longitude and latitude, or moves those that are there; returns how many are new.
    fn geoadd<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        places: impl IntoIterator<Item = (f64, f64, M)>,
    ) -> Self::Output<'_, u64> {
        self.execute(members(Command::new("GEOADD").key(key), places))
    }

    /// The same under a condition (that members are there, or not); returns how many are new or were moved.
    fn geoadd_if<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        condition: AddCondition,
        places: impl IntoIterator<Item = (f64, f64, M)>,
    ) -> Self::Output<'_, u64> {
        let command = Command::new("GEOADD").key(key).arg(condition.word()).arg("CH");
        self.execute(members(command, places))
    }

    /// Where members are.
    fn geopos<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<Option<Position>>> {
        self.execute(Command::new("GEOPOS").key(key).args(members).reads())
    }

    /// The distance of two members, if both are there.
    fn geodist(
        &self,
        key: impl AsRef<[u8]>,
        first: impl AsRef<[u8]>,
        second: impl AsRef<[u8]>,
        unit: Unit,
    ) -> Self::Output<'_, Option<f64>> {
        self.execute(Command::new("GEODIST").key(key).arg(first).arg(second).arg(unit.word()).reads())
    }

    /// Where members are, as geohashes of eleven letters.
    fn geohash<M: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        members: impl IntoIterator<Item = M>,
    ) -> Self::Output<'_, Vec<Option<String>>> {
        self.execute(Command::new("GEOHASH").key(key).args(members).reads())
    }

    /// The members that a search finds.
    fn geosearch(&self, key: impl AsRef<[u8]>, search: &GeoSearch) -> Self::Output<'_, Vec<Bytes>> {
        self.execute(search.add(Command::new("GEOSEARCH").key(key)).reads())
    }

    /// The same, with where they are and how far away.
    fn geosearch_told(&self, key: impl AsRef<[u8]>, search: &GeoSearch) -> Self::Output<'_, Vec<GeoFound>> {
        self.execute(search.add(Command::new("GEOSEARCH").key(key)).arg("WITHDIST").arg("WITHCOORD").reads())
    }

    /// Keeps what a search finds under another key, places as they are; returns how many those are.
    fn geosearchstore(
        &self,
        to: impl AsRef<[u8]>,
        from: impl AsRef<[u8]>,
        search: &GeoSearch,
    ) -> Self::Output<'_, u64> {
        self.execute(search.add(Command::new("GEOSEARCHSTORE").key(to).key(from)))
    }

    /// The same with their distances for scores.
    fn geosearchstore_distances(
        &self,
        to: impl AsRef<[u8]>,
        from: impl AsRef<[u8]>,
        search: &GeoSearch,
    ) -> Self::Output<'_, u64> {
        self.execute(search.add(Command::new("GEOSEARCHSTORE").key(to).key(from)).arg("STOREDIST"))
    }
}

impl<E: Execute> GeoCommands for E {}

//! The grid: a cell has an index by latitude and one by longitude, of as many bits as its level says.

/// Bits of each index in a score.
pub(super) const LEVEL_MAX: u32 = 26;
/// Where the Mercator projection becomes a square: what lies nearer to the poles has no place.
const LATITUDE_MAX: f64 = 85.051_128_78;
const LONGITUDE_MAX: f64 = 180.0;
/// In metres.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
const RADIANS: f64 = std::f64::consts::PI / 180.0;

/// In degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Point {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

impl Point {
    /// Whether the grid has a cell for it.
    pub(super) fn is_covered(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// Metres to another point, by the haversine formula. Its terms are in Redis's order, so that the last digits are too.
    pub(super) fn distance(self, other: Point) -> f64 {
        let v = ((other.longitude * RADIANS - self.longitude * RADIANS) / 2.0).sin();
        if v == 0.0 {
            return self.distance_by_latitude(other);
        }
        let (latitude, other_latitude) = (self.latitude * RADIANS, other.latitude * RADIANS);
        let u = ((other_latitude - latitude) / 2.0).sin();
        let a = u * u + latitude.cos() * other_latitude.cos() * v * v;
        2.0 * EARTH_RADIUS * a.sqrt().asin()
    }

    /// Metres between the parallels of both.
    pub(super) fn distance_by_latitude(self, other: Point) -> f64 {
        EARTH_RADIUS * (other.latitude * RADIANS - self.latitude * RADIANS).abs()
    }
}

/// Degrees of latitude that are so many metres.
pub(super) fn latitude_degrees(metres: f64) -> f64 {
    metres / EARTH_RADIUS / RADIANS
}

/// Degrees of longitude that are so many metres on a parallel.
pub(super) fn longitude_degrees(metres: f64, latitude: f64) -> f64 {
    metres / EARTH_RADIUS / (latitude * RADIANS).cos() / RADIANS
}

/// A rectangle in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) min: Point,
    pub(super) max: Point,
}

/// How degrees become indexes.
#[derive(Clone, Copy)]
struct Scale {
    latitude_max: f64,
    longitude_max: f64,
}

/// Of scores.
const MERCATOR: Scale = Scale { latitude_max: LATITUDE_MAX, longitude_max: LONGITUDE_MAX };
/// Of geohashes as other programs know them.
const WHOLE: Scale = Scale { latitude_max: 90.0, longitude_max: LONGITUDE_MAX };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    latitude: u32,
    longitude: u32,
    level: u32,
}

impl Cell {
    /// The cell of a level that has a point.
    pub(super) fn of(point: Point, level: u32) -> Cell {
        Self::scaled(point, level, MERCATOR)
    }

    /// The border in the east or north has an index beyond the last.
    fn scaled(point: Point, level: u32, scale: Scale) -> Cell {
        let index = |degrees: f64, max: f64| ((degrees + max) / (2.0 * max) * f64::from(1 << level)) as u32;
        Cell {
            latitude: index(point.latitude, scale.latitude_max),
            longitude: index(point.longitude, scale.longitude_max),
            level,
        }
    }

    /// The cell that a score means.
    fn of_score(score: f64) -> Cell {
        // As the conversions of C on x86-64: a negative number keeps its low bits.
        let bits = if score < 9.2e18 { score as i64 as u64 } else { score as u64 };
        Cell { latitude: even_bits(bits), longitude: even_bits(bits >> 1), level: LEVEL_MAX }
    }

    /// Latitude and longitude in turn, the highest bit of the longitude first.
    fn bits(self) -> u64 {
        spread(self.latitude) | spread(self.longitude) << 1
    }

    /// The scores of all points in it: from the first up to before the second.
    pub(super) fn scores(self) -> (f64, f64) {
        let shift = 2 * (LEVEL_MAX - self.level);
        ((self.bits() << shift) as f64, ((self.bits() + 1) << shift) as f64)
    }

    pub(super) fn bounds(self) -> Bounds {
        let at = |latitude: u32, longitude: u32| {
            let degrees =
                |index: u32, max: f64| -max + f64::from(index) / f64::from(1 << self.level) * (max - -max);
            Point { longitude: degrees(longitude, LONGITUDE_MAX), latitude: degrees(latitude, LATITUDE_MAX) }
        };
        Bounds {
            min: at(self.latitude, self.longitude),
            max: at(self.latitude.wrapping_add(1), self.longitude.wrapping_add(1)),
        }
    }

    /// The cell so many to the north and to the east, -1, 0 or 1 each; the grid has no ends.
    pub(super) fn neighbour(self, north: i32, east: i32) -> Cell {
        let mask = (1 << self.level) - 1;
        let moved = |index: u32, by: i32| if by == 0 { index } else { index.wrapping_add_signed(by) & mask };
        Cell { latitude: moved(self.latitude, north), longitude: moved(self.longitude, east), ..self }
    }
}

/// The score of a point.
pub(super) fn score_of(point: Point) -> f64 {
    Cell::of(point, LEVEL_MAX).scores().0
}

/// The middle of the cell that a score means.
pub(super) fn point_of(score: f64) -> Point {
    let Bounds { min, max } = Cell::of_score(score).bounds();
    let middle = |a: f64, b: f64, limit: f64| f64::midpoint(a, b).clamp(-limit, limit);
    Point {
        longitude: middle(min.longitude, max.longitude, LONGITUDE_MAX),
        latitude: middle(min.latitude, max.latitude, LATITUDE_MAX),
    }
}

/// The geohash of a score, as `geohash.org` writes it. Of the last of its eleven digits there are too few bits, so it's always 0.
pub(super) fn geohash(score: f64) -> [u8; 11] {
    const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let bits = Cell::scaled(point_of(score), LEVEL_MAX, WHOLE).bits();
    std::array::from_fn(|at| match 52_u32.checked_sub(5 * (at as u32 + 1)) {
        Some(shift) => DIGITS[(bits >> shift) as usize % DIGITS.len()],
        None => DIGITS[0],
    })
}

/// Puts a zero before each bit.
fn spread(bits: u32) -> u64 {
    let mut spread = u64::from(bits);
    spread = (spread | spread << 16) & 0x0000_FFFF_0000_FFFF;
    spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF;
    spread = (spread | spread << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    spread = (spread | spread << 2) & 0x3333_3333_3333_3333;
    (spread | spread << 1) & 0x5555_5555_5555_5555
}

/// Every second bit, from the lowest on: undoes [`spread`].
fn even_bits(bits: u64) -> u32 {
    let mut even = bits & 0x5555_5555_5555_5555;
    even = (even | even >> 1) & 0x3333_3333_3333_3333;
    even = (even | even >> 2) & 0x0F0F_0F0F_0F0F_0F0F;
    even = (even | even >> 4) & 0x00FF_00FF_00FF_00FF;
    even = (even | even >> 8) & 0x0000_FFFF_0000_FFFF;
    (even | even >> 16) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a_point() -> impl Strategy<Value = Point> {
        (-180.0..180.0, -LATITUDE_MAX..LATITUDE_MAX)
            .prop_map(|(longitude, latitude)| Point { longitude, latitude })
    }

    proptest! {
        #[test]
        fn points_lie_in_their_cells_and_scores_keep_them(point in a_point(), level in 1..=LEVEL_MAX) {
            let cell = Cell::of(point, level);
            let Bounds { min, max } = cell.bounds();
            prop_assert!(min.longitude <= point.longitude && point.longitude <= max.longitude);
            prop_assert!(min.latitude <= point.latitude && point.latitude <= max.latitude);
            let score = score_of(point);
            let (from, to) = cell.scores();
            prop_assert!(from <= score && score < to);
            prop_assert_eq!(Cell::of_score(score), Cell::of(point, LEVEL_MAX));
            prop_assert!(point_of(score).distance(point) < 0.6, "{} m", point_of(score).distance(point));
        }

        #[test]
        fn bits_spread_and_come_back(bits in any::<u32>(), other in any::<u32>()) {
            prop_assert_eq!(even_bits(spread(bits) | spread(other) << 1), bits);
        }

        #[test]
        fn neighbours_touch(point in a_point(), level in 2..=LEVEL_MAX) {
            let cell = Cell::of(point, level);
            prop_assert_eq!(cell.neighbour(1, 0).neighbour(-1, 0), cell);
            prop_assert_eq!(cell.neighbour(0, -1).neighbour(0, 1), cell);
            let (here, east) = (cell.bounds(), cell.neighbour(0, 1).bounds());
            let gap = east.min.longitude - here.max.longitude;
            prop_assert!(gap.abs() < 1e-9 || gap < -359.0);
        }
    }
}

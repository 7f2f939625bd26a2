//! Areas of a search, and the cells that cover them.

use super::cell::{Bounds, Cell, LEVEL_MAX, Point, latitude_degrees, longitude_degrees};

/// Half of the width of the projected world, in metres.
const MERCATOR_MAX: f64 = 20_037_726.37;

/// In metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Circle { radius: f64 },
    Rectangle { width: f64, height: f64 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub(super) centre: Point,
    pub(super) shape: Shape,
}

impl Area {
    /// The distance of a point from the centre, if it lies within.
    pub(super) fn distance(&self, point: Point) -> Option<f64> {
        match self.shape {
            Shape::Circle { radius } => {
                let distance = self.centre.distance(point);
                (distance <= radius).then_some(distance)
            }
            Shape::Rectangle { width, height } => {
                let beside = Point { longitude: self.centre.longitude, latitude: point.latitude };
                let within = point.distance_by_latitude(self.centre) <= height / 2.0
                    && point.distance(beside) <= width / 2.0;
                within.then(|| self.centre.distance(point))
            }
        }
    }

    /// A rectangle in degrees around it; on the side that is nearer to the pole, where degrees of longitude are shorter, it is too narrow.
    fn bounds(&self) -> Bounds {
        let (width, height) = match self.shape {
            Shape::Circle { radius } => (radius, radius),
            Shape::Rectangle { width, height } => (width / 2.0, height / 2.0),
        };
        let Point { longitude, latitude } = self.centre;
        let up = latitude_degrees(height);
        let parallel = if latitude < 0.0 { latitude - up } else { latitude + up };
        let aside = longitude_degrees(width, parallel);
        Bounds {
            min: Point { longitude: longitude - aside, latitude: latitude - up },
            max: Point { longitude: longitude + aside, latitude: latitude + up },
        }
    }

    /// The level at which nine cells cover the area in most cases.
    fn level(&self) -> u32 {
        let mut reach = match self.shape {
            Shape::Circle { radius } => radius,
            Shape::Rectangle { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        };
        if reach == 0.0 {
            return LEVEL_MAX;
        }
        let mut level = 1_i32;
        while reach < MERCATOR_MAX {
            reach *= 2.0;
            level += 1;
        }
        level -= 2;
        let latitude = self.centre.latitude.abs();
        level -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        level.clamp(1, LEVEL_MAX as i32) as u32
    }

    /// The cells to look through, in the order in which Redis does: the middle one, then its neighbours as far as the area reaches.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let bounds = self.bounds();
        let mut level = self.level();
        let mut middle = Cell::of(self.centre, level);
        let is_covered = middle.neighbour(1, 0).bounds().max.latitude >= bounds.max.latitude
            && middle.neighbour(-1, 0).bounds().min.latitude <= bounds.min.latitude
            && middle.neighbour(0, 1).bounds().max.longitude >= bounds.max.longitude
            && middle.neighbour(0, -1).bounds().min.longitude <= bounds.min.longitude;
        if level > 1 && !is_covered {
            level -= 1;
            middle = Cell::of(self.centre, level);
        }
        let inner = middle.bounds();
        let reaches = |north: i32, east: i32| {
            level < 2
                || !(north < 0 && inner.min.latitude < bounds.min.latitude
                    || north > 0 && inner.max.latitude > bounds.max.latitude
                    || east < 0 && inner.min.longitude < bounds.min.longitude
                    || east > 0 && inner.max.longitude > bounds.max.longitude)
        };
        const AROUND: [(i32, i32); 8] =
            [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)];
        let mut cells = vec![middle];
        for (north, east) in AROUND {
            let cell = middle.neighbour(north, east);
            // On a coarse level neighbours may be one and the same. As in Redis, the middle one is not compared with.
            let is_again = cells.len() > 1 && cells.last() == Some(&cell);
            if reaches(north, east) && !is_again {
                cells.push(cell);
            }
        }
        cells
    }
}

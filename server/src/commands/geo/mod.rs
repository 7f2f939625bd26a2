//! Places on the globe: members of sorted sets whose scores are 52 bits of position.
//!
//! There is no type behind this: `GEOADD` is `ZADD` with computed scores. A score interleaves 26 bits of latitude with 26 of longitude
//! ([`cell`]), so what lies together in a cell of the grid lies together in the order; a search looks through a few cells ([`area`])
//! and measures the distance of everything in them. All of it, rounding and order included, is as in Redis, since replies show it.

pub(super) mod add;
mod area;
mod cell;
mod query;
pub(super) mod search;
pub(super) mod single;

use annulus_protocol::{Encoder, Version, parse_f64};

use super::errors::{self, Failure, fail};
use cell::Point;

/// Reads a unit; returns how many metres it has.
fn unit(word: &[u8]) -> Result<f64, Failure> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let unit = UNITS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    unit.map(|(_, metres)| *metres).ok_or(fail("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

/// Reads a longitude and a latitude.
fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, Failure> {
    let degrees = |text: &[u8]| parse_f64(text).ok_or(fail(errors::NOT_FLOAT));
    let point = Point { longitude: degrees(longitude)?, latitude: degrees(latitude)? };
    if point.is_covered() {
        return Ok(point);
    }
    let Point { longitude, latitude } = point;
    Err(Failure::Owned(
        format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}").into_bytes(),
    ))
}

/// Writes a distance in a unit, with four decimals.
fn distance(metres: f64, unit: f64, out: &mut Encoder<'_>) {
    out.bulk(format!("{:.4}", metres / unit));
}

/// Writes a point, both numbers with up to seventeen decimals.
fn coordinates(point: Point, out: &mut Encoder<'_>) {
    out.array_header(2);
    for degrees in [point.longitude, point.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        match out.version() {
            Version::Resp2 => out.bulk(text),
            Version::Resp3 => {
                for part in [",", text, "\r\n"] {
                    out.raw(part.as_bytes());
                }
            }
        }
    }
}

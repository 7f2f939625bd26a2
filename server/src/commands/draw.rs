//! Elements of a collection drawn at random: HRANDFIELD, SRANDMEMBER and their kin.

use std::collections::BTreeSet;

use super::arguments::integer;
use super::errors::{Failure, fail};
use crate::runtime::Rng;

/// How many to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draw {
    /// Different ones, so many or all.
    Different(usize),
    /// So many, each from all of them.
    Repeated(usize),
}

impl Draw {
    /// Reads a count, which is negative for elements that may be repeated.
    pub(super) fn parse(text: &[u8]) -> Result<Draw, Failure> {
        let count = integer(text)?;
        if count == i64::MIN {
            let text =
                "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
            return Err(fail(text));
        }
        let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        Ok(if count < 0 { Self::Repeated(wanted) } else { Self::Different(wanted) })
    }

    pub(super) const fn count(self) -> usize {
        match self {
            Self::Different(count) | Self::Repeated(count) => count,
        }
    }
}

/// Up to so many elements are listed once and then drawn by index: in small forms a single draw takes a walk.
const LISTED_MAX: usize = 1024;
/// Drawing different ones from less than so many times their number would meet too many of those that it has.
const SPARSE: usize = 3;

/// Draws from `len` elements, which `all` lists, and of which `sample` chooses one unless it `needs_list`.
pub(super) fn draw<T: Copy, I: Iterator<Item = T>>(
    draw: Draw,
    (len, needs_list): (usize, bool),
    all: impl Fn() -> I,
    sample: impl Fn(&mut dyn FnMut() -> u64) -> Option<T>,
    name: impl Fn(&T) -> Vec<u8>,
    random: &mut Rng,
    each: &mut dyn FnMut(T),
) {
    match draw {
        _ if len == 0 => {}
        Draw::Different(count) if count >= len => all().for_each(each),
        Draw::Different(count) if needs_list || count * SPARSE >= len => {
            // Each is taken with the probability of those yet wanted among those yet to come: every subset is equally likely.
            let mut wanted = count as u64;
            for (left, element) in (1..=len as u64).rev().zip(all()) {
                if random.below(left) < wanted {
                    each(element);
                    wanted -= 1;
                }
            }
        }
        Draw::Different(count) => {
            let mut drawn = BTreeSet::new();
            while drawn.len() < count {
                let Some(element) = sample(&mut || random.next_u64()) else { return };
                if drawn.insert(name(&element)) {
                    each(element);
                }
            }
        }
        Draw::Repeated(count) if needs_list || len <= LISTED_MAX => {
            let listed: Vec<T> = all().collect();
            (0..count).for_each(|_| each(listed[random.below(listed.len() as u64) as usize]));
        }
        Draw::Repeated(count) => {
            (0..count).filter_map(|_| sample(&mut || random.next_u64())).for_each(each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(what: Draw, len: u32, needs_list: bool, seed: u64) -> Vec<u32> {
        let mut random = Rng::from_seed(seed);
        let mut all = Vec::new();
        draw(
            what,
            (len as usize, needs_list),
            || 0..len,
            |random| Some((random() % u64::from(len)) as u32),
            |element| element.to_le_bytes().to_vec(),
            &mut random,
            &mut |element| all.push(element),
        );
        all
    }

    #[test]
    fn different_ones_are_different_and_as_many_as_there_are() {
        for (len, needs_list) in [(1, false), (10, false), (10, true), (3000, false), (3000, true)] {
            for count in [0, 1, 2, 5, 9, 10, 900, 2999, 5000] {
                let all = drawn(Draw::Different(count), len, needs_list, 1);
                assert_eq!(all.len(), count.min(len as usize));
                assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
                assert_eq!(drawn(Draw::Repeated(count), len, needs_list, 1).len(), count);
            }
        }
    }

    #[test]
    fn each_is_drawn_equally_often() {
        for what in [Draw::Different(2), Draw::Different(7), Draw::Repeated(5)] {
            for needs_list in [false, true] {
                let mut counts = [0_u32; 10];
                for seed in 0..2000 {
                    for it in drawn(what, 10, needs_list, seed) {
                        counts[it as usize] += 1;
                    }
                }
                let expected = 200 * what.count() as u32;
                let even = counts.iter().all(|count| count.abs_diff(expected) < expected / 4);
                assert!(even, "{what:?}: {counts:?}");
            }
        }
    }
}

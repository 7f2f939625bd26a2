//! Sparse registers: runs of equal ones, in one or two bytes each.
//!
//! ```text
//! 00nnnnnn           n + 1 registers of 0 (1..=64)
//! 01nnnnnn nnnnnnnn  n + 1 registers of 0 (1..=16384), high bits first
//! 1vvvvvnn           n + 1 registers (1..=4) of v + 1 (1..=32)
//! ```
//!
//! A register is set by splitting the run that holds it, and equal neighbours are joined afterwards, just as Redis does it: values
//! are compared byte by byte with its own.

use super::hash::REGISTERS;

const ZERO_RUN_MAX: usize = 64;
const VALUE_RUN_MAX: usize = 4;
/// Greater values need dense registers.
const VALUE_MAX: u8 = 32;
/// After a change, joins are looked for in this many runs from the one before it.
const JOIN_RUNS: usize = 5;

/// The runs do not cover the registers exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrupted;

/// Some neighbouring registers of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) value: u8,
    pub(super) len: usize,
    /// Bytes that it takes.
    bytes: usize,
}

impl Run {
    fn first_of(text: &[u8]) -> Option<Self> {
        let (&head, rest) = text.split_first()?;
        Some(match head >> 6 {
            0 => Self { value: 0, len: usize::from(head & 63) + 1, bytes: 1 },
            1 => {
                let low = *rest.first()?;
                Self { value: 0, len: (usize::from(head & 63) << 8 | usize::from(low)) + 1, bytes: 2 }
            }
            _ => Self { value: (head >> 2 & 31) + 1, len: usize::from(head & 3) + 1, bytes: 1 },
        })
    }

    /// As `PFDEBUG DECODE` shows it.
    pub(super) fn describe(self) -> String {
        match (self.value, self.bytes) {
            (0, 1) => format!("z:{}", self.len),
            (0, _) => format!("Z:{}", self.len),
            (value, _) => format!("v:{value},{}", self.len),
        }
    }
}

/// The runs of registers that are all 0.
pub(super) fn empty() -> Vec<u8> {
    let mut runs = Vec::new();
    push_zeros(&mut runs, REGISTERS);
    runs
}

fn push_zeros(out: &mut Vec<u8>, len: usize) {
    let count = len - 1;
    if len > ZERO_RUN_MAX {
        out.push((count >> 8) as u8 | 0x40);
    }
    out.push(count as u8);
}

fn value_run(value: u8, len: usize) -> u8 {
    debug_assert!((1..=VALUE_MAX).contains(&value) && (1..=VALUE_RUN_MAX).contains(&len));
    0x80 | (value - 1) << 2 | (len - 1) as u8
}

/// Calls for each run.
pub(super) fn visit(mut text: &[u8], mut each: impl FnMut(usize, Run)) -> Result<(), Corrupted> {
    let mut index = 0;
    while !text.is_empty() {
        let run = Run::first_of(text).ok_or(Corrupted)?;
        if index + run.len > REGISTERS {
            return Err(Corrupted);
        }
        each(index, run);
        index += run.len;
        text = text.get(run.bytes..).unwrap_or_default();
    }
    if index == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// What came of [`raise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// The register has this value or more.
    No,
    /// It has been set.
    Yes,
    /// It can't be said in runs, or not in so few bytes: nothing has changed.
    TooLarge,
}

/// Where a register is among the runs.
struct Found {
    /// Where the run before begins, that of the first run if there is none.
    before: usize,
    at: usize,
    first: usize,
    run: Run,
}

fn find(text: &[u8], index: usize) -> Option<Found> {
    let (mut before, mut at, mut first) = (0, 0, 0);
    loop {
        let run = Run::first_of(text.get(at..)?)?;
        if index < first + run.len {
            return Some(Found { before, at, first, run });
        }
        before = at;
        at += run.bytes;
        first += run.len;
    }
}

/// Raises a register to `value`. `text` are the runs alone, and may grow to `bytes_max`.
pub(super) fn raise(
    text: &mut Vec<u8>,
    index: usize,
    value: u8,
    bytes_max: usize,
) -> Result<Raised, Corrupted> {
    if value > VALUE_MAX {
        return Ok(Raised::TooLarge);
    }
    let Found { before, at, first, run } = find(text, index).ok_or(Corrupted)?;
    if run.value >= value {
        return Ok(Raised::No);
    }
    if run.bytes == 1 && run.len == 1 {
        text[at] = value_run(value, 1);
    } else {
        let mut parts = Vec::with_capacity(5);
        let push = |parts: &mut Vec<u8>, len: usize| match (run.value, len) {
            (_, 0) => {}
            (0, len) => push_zeros(parts, len),
            (value, len) => parts.push(value_run(value, len)),
        };
        push(&mut parts, index - first);
        parts.push(value_run(value, 1));
        push(&mut parts, first + run.len - 1 - index);
        if parts.len() > run.bytes && text.len() + parts.len() - run.bytes > bytes_max {
            return Ok(Raised::TooLarge);
        }
        text.splice(at..at + run.bytes, parts);
    }
    join(text, before);
    Ok(Raised::Yes)
}

/// Joins neighbouring runs of one value from `at` on, as far as they fit one run.
fn join(text: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOIN_RUNS {
        let Some(run) = text.get(at..).and_then(Run::first_of) else { return };
        let next = text.get(at + run.bytes..).and_then(Run::first_of);
        match next {
            Some(next) if run.value > 0 && next.value == run.value && run.len + next.len <= VALUE_RUN_MAX => {
                text[at] = value_run(run.value, run.len + next.len);
                text.remove(at + 1);
            }
            _ => at += run.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registers(text: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        visit(text, |_, run| all.extend(std::iter::repeat_n(run.value, run.len))).unwrap();
        all
    }

    proptest! {
        #[test]
        fn runs_keep_the_greatest_values(
            raises in prop::collection::vec((prop_oneof![0_usize..40, 16300..REGISTERS, 0..REGISTERS], 1_u8..36), 1..300),
        ) {
            let mut text = empty();
            let mut plain = vec![0; REGISTERS];
            for (index, value) in raises {
                let before = text.clone();
                match raise(&mut text, index, value, 400).unwrap() {
                    Raised::Yes => {
                        prop_assert!(plain[index] < value);
                        plain[index] = value;
                    }
                    Raised::No => prop_assert!(plain[index] >= value && text == before),
                    Raised::TooLarge => prop_assert!(text == before && (value > 32 || before.len() > 390)),
                }
                prop_assert_eq!(&registers(&text), &plain);
            }
        }

        #[test]
        fn bytes_from_anywhere_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..60), index in 0..REGISTERS) {
            let mut text = bytes;
            let _ = visit(&text, |_, _| {});
            let _ = raise(&mut text, index, 3, 100);
        }
    }
}

//! A value as a whole: its header, and what both forms can be asked.

use super::super::errors::{Failure, fail};
use super::estimate::Histogram;
use super::hash::REGISTERS;
use super::sparse::{self, Corrupted};
use super::{dense, hash};

pub(super) const HEADER_BYTES: usize = 16;
const MAGIC: &[u8; 4] = b"HYLL";
const FORM_AT: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const CARDINALITY_AT: usize = 8;
/// Where the flag is that says that the stored cardinality is out of date, and the flag.
pub(super) const STALE_AT: usize = 15;
pub(super) const STALE: u8 = 0x80;
const DENSE_BYTES: usize = HEADER_BYTES + dense::BYTES;

const INVALID: &str = "WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPTED: &str = "INVALIDOBJ Corrupted HLL object detected";

impl From<Corrupted> for Failure {
    fn from(_: Corrupted) -> Self {
        fail(CORRUPTED)
    }
}

/// Registers, a byte each.
pub(super) type Registers = [u8; REGISTERS];

/// A value with a right header, borrowed.
#[derive(Clone, Copy)]
pub(super) struct Sketch<'a> {
    bytes: &'a [u8],
    pub(super) form: Form<'a>,
}

/// The registers of a value.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    Dense(&'a [u8]),
    Sparse(&'a [u8]),
}

impl<'a> Sketch<'a> {
    /// Looks at the header.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Failure> {
        let (header, registers) = bytes.split_at_checked(HEADER_BYTES).ok_or(fail(INVALID))?;
        let form = match header[FORM_AT] {
            DENSE if bytes.len() == DENSE_BYTES => Form::Dense(registers),
            SPARSE => Form::Sparse(registers),
            _ => return Err(fail(INVALID)),
        };
        if header.starts_with(MAGIC) { Ok(Self { bytes, form }) } else { Err(fail(INVALID)) }
    }

    /// The estimated number of distinct elements.
    pub(super) fn cardinality(self) -> Result<u64, Failure> {
        if self.bytes[STALE_AT] & STALE == 0 {
            let (stored, _) = self.bytes[CARDINALITY_AT..].as_chunks::<8>();
            return Ok(stored.first().map_or(0, |stored| u64::from_le_bytes(*stored)));
        }
        let histogram = match self.form {
            Form::Dense(registers) => dense::each(registers).collect(),
            Form::Sparse(runs) => {
                let mut histogram = Histogram::new();
                sparse::visit(runs, |_, run| histogram.add(run.value, run.len))?;
                histogram
            }
        };
        Ok(histogram.estimate())
    }

    /// Raises registers to those of this value.
    pub(super) fn merge_into(self, registers: &mut Registers) -> Result<(), Failure> {
        match self.form {
            Form::Dense(packed) => {
                registers.iter_mut().zip(dense::each(packed)).for_each(|(max, value)| *max = value.max(*max));
            }
            Form::Sparse(runs) => sparse::visit(runs, |index, run| {
                registers[index..index + run.len].iter_mut().for_each(|max| *max = run.value.max(*max));
            })?,
        }
        Ok(())
    }

    /// The same in dense form, with the same stored cardinality.
    pub(super) fn to_dense(self) -> Result<Vec<u8>, Failure> {
        let Form::Sparse(_) = self.form else { return Ok(self.bytes.to_vec()) };
        let mut registers = [0; REGISTERS];
        self.merge_into(&mut registers)?;
        let mut bytes = self.bytes[..HEADER_BYTES].to_vec();
        bytes[FORM_AT] = DENSE;
        bytes.extend(dense::pack(&registers));
        Ok(bytes)
    }
}

/// A value without elements, in sparse form; its cardinality of 0 is up to date.
pub(super) fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[FORM_AT] = SPARSE;
    bytes.extend(sparse::empty());
    bytes
}

/// Raises one register of a value with a right header, which may grow to `sparse_bytes_max` before it becomes dense. False if the
/// register says as much or more already. The stored cardinality is left alone.
pub(super) fn raise(
    bytes: &mut Vec<u8>,
    index: usize,
    rank: u8,
    sparse_bytes_max: usize,
) -> Result<bool, Failure> {
    if bytes[FORM_AT] == SPARSE {
        let mut runs = bytes.split_off(HEADER_BYTES);
        let raised = sparse::raise(&mut runs, index, rank, sparse_bytes_max.saturating_sub(HEADER_BYTES));
        bytes.append(&mut runs);
        match raised? {
            sparse::Raised::Yes => return Ok(true),
            sparse::Raised::No => return Ok(false),
            sparse::Raised::TooLarge => *bytes = Sketch::parse(bytes)?.to_dense()?,
        }
    }
    let registers = &mut bytes[HEADER_BYTES..];
    let raises = dense::register(registers, index) < rank;
    if raises {
        dense::set_register(registers, index, rank);
    }
    Ok(raises)
}

/// Adds an element; see [`raise`].
pub(super) fn add(bytes: &mut Vec<u8>, element: &[u8], sparse_bytes_max: usize) -> Result<bool, Failure> {
    let (index, rank) = hash::place(element);
    raise(bytes, index, rank, sparse_bytes_max)
}

/// Says that the stored cardinality is out of date.
pub(super) fn mark_stale(bytes: &mut [u8]) {
    bytes[STALE_AT] |= STALE;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same_of_the_same_elements() {
        let (mut sparse, mut dense) = (empty(), empty());
        for number in 0..5000_u32 {
            let element = number.to_string();
            add(&mut sparse, element.as_bytes(), usize::MAX).unwrap();
            add(&mut dense, element.as_bytes(), 0).unwrap();
            if number % 500 == 0 || number < 10 {
                for bytes in [&mut sparse, &mut dense] {
                    mark_stale(bytes);
                }
                let (sparse, dense) = (Sketch::parse(&sparse).unwrap(), Sketch::parse(&dense).unwrap());
                let told = sparse.cardinality().unwrap();
                assert_eq!(told, dense.cardinality().unwrap());
                let real = f64::from(number + 1);
                assert!((told as f64 - real).abs() <= real * 0.04, "{told} of {real}");
                assert_eq!(sparse.to_dense().unwrap(), dense.bytes);
            }
        }
    }

    #[test]
    fn wrong_headers_are_no_values() {
        let good = empty();
        for at in 0..=FORM_AT {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(Sketch::parse(&bad).is_err(), "byte {at}");
        }
        assert!(Sketch::parse(&good[..HEADER_BYTES - 1]).is_err());
        let dense = Sketch::parse(&good).unwrap().to_dense().unwrap();
        assert!(Sketch::parse(&dense).is_ok());
        assert!(Sketch::parse(&dense[1..]).is_err() && Sketch::parse(&dense[..dense.len() - 1]).is_err());
    }
}

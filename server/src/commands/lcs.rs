//! `LCS`: the longest common subsequence of two strings, by the classical table of (n+1)·(m+1) lengths.

use annulus_protocol::Encoder;
use annulus_storage::value::codec;

use super::arguments::{integer, is};
use super::errors::{self, Failure, Outcome, fail};
use super::replies::{bulk_reply, elements, error_among};
use super::transfer::end;
use super::{Context, Hop, HopRequest, HopStep, answer, key, values};

const NOT_STRINGS: &str = "ERR The specified keys must contain string values";

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]` on one shard
pub(super) fn lcs(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = compare(context, args);
    answer(context, outcome);
}

fn compare(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let mut strings = [1, 2].map(|place: usize| {
        let key = key(args.get(place).copied().unwrap_or_default());
        let string = values::read(context, key, values::string).map_err(|_| fail(NOT_STRINGS))?;
        Ok::<_, Failure>(string.unwrap_or_default().to_vec())
    });
    let [a, b] = &mut strings;
    let (a, b) = (std::mem::replace(a, Ok(Vec::new()))?, std::mem::replace(b, Ok(Vec::new()))?);
    reply(&a, &b, args, context.bulk_bytes_max, &mut context.out)
}

/// `LCS` of strings on two shards: both are fetched and compared here.
pub(super) fn plan(hop: &Hop<'_>) -> HopStep {
    if let Some(error) = error_among(hop.replies) {
        return HopStep::Reply(error.to_vec());
    }
    if hop.round == 0 {
        let fetch = |key: &&[u8]| HopRequest { args: vec![b"annulus.fetch".to_vec(), key.to_vec()] };
        return HopStep::Send(hop.args.iter().skip(1).take(2).map(fetch).collect());
    }
    let string = |place: usize| {
        let fetched = hop.replies.get(place).and_then(|reply| elements(reply).next()).and_then(bulk_reply);
        match fetched.map(codec::decode) {
            Some(Ok(value)) => value.string().ok_or(fail(NOT_STRINGS)),
            _ => Ok(&[][..]),
        }
    };
    end(hop, |out| {
        let outcome = string(0)
            .and_then(|a| string(1).map(|b| (a, b)))
            .and_then(|(a, b)| reply(a, b, hop.args, hop.bulk_bytes_max, out));
        if let Err(error) = outcome {
            out.error(error);
        }
    })
}

#[derive(Clone, Copy, Debug, Default)]
struct Options {
    length: bool,
    indexes: bool,
    match_bytes_min: u64,
    with_match_bytes: bool,
}

impl Options {
    fn parse(args: &[&[u8]]) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut rest = args.get(3..).unwrap_or_default();
        loop {
            rest = match rest {
                [] => break,
                [option, tail @ ..] if is(option, "IDX") => {
                    options.indexes = true;
                    tail
                }
                [option, tail @ ..] if is(option, "LEN") => {
                    options.length = true;
                    tail
                }
                [option, tail @ ..] if is(option, "WITHMATCHLEN") => {
                    options.with_match_bytes = true;
                    tail
                }
                [option, bytes, tail @ ..] if is(option, "MINMATCHLEN") => {
                    options.match_bytes_min = u64::try_from(integer(bytes)?).unwrap_or(0);
                    tail
                }
                _ => return Err(fail(errors::SYNTAX)),
            };
        }
        if options.indexes && options.length {
            return Err(fail("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }
}

fn reply(a: &[u8], b: &[u8], args: &[&[u8]], bytes_max: u64, out: &mut Encoder<'_>) -> Result<(), Failure> {
    let options = Options::parse(args)?;
    let table = Table::compute(a, b, bytes_max)?;
    let length = table.length(a.len(), b.len()) as usize;
    if options.length {
        out.integer(length as i64);
    } else if options.indexes {
        out.map_header(2);
        out.bulk("matches");
        let start = out.position();
        let mut count = 0;
        walk(&table, a, b, |found| {
            if let Step::Range(range) = found
                && range.bytes as u64 >= options.match_bytes_min
            {
                range.write(options.with_match_bytes, out);
                count += 1;
            }
        });
        out.insert_array_header(start, count);
        out.bulk("len");
        out.integer(length as i64);
    } else {
        let mut subsequence = Vec::with_capacity(length);
        walk(&table, a, b, |found| {
            if let Step::Byte(byte) = found {
                subsequence.push(byte);
            }
        });
        subsequence.reverse();
        out.bulk(subsequence);
    }
    Ok(())
}

/// Lengths of the longest common subsequences of all pairs of prefixes.
struct Table {
    lengths: Vec<u32>,
    width: usize,
}

impl Table {
    /// The table takes memory like a string of its size, and is refused where such a string would be.
    fn compute(a: &[u8], b: &[u8], bytes_max: u64) -> Result<Self, Failure> {
        let cells = (a.len() as u128 + 1) * (b.len() as u128 + 1);
        if cells * size_of::<u32>() as u128 > u128::from(bytes_max) {
            return Err(fail("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
        }
        let mut lengths = Vec::new();
        lengths
            .try_reserve_exact(cells as usize)
            .map_err(|_| fail("ERR Insufficient memory, failed allocating transient memory for LCS"))?;
        lengths.resize(cells as usize, 0_u32);
        let width = b.len() + 1;
        let mut rows = lengths.chunks_exact_mut(width);
        let mut above = rows.next();
        for (&x, row) in a.iter().zip(rows) {
            let previous = above.as_deref().unwrap_or_default();
            let mut left = 0;
            for ((&y, cell), diagonal_and_above) in
                b.iter().zip(row.iter_mut().skip(1)).zip(previous.windows(2))
            {
                *cell = match diagonal_and_above {
                    [diagonal, _] if x == y => diagonal + 1,
                    [_, above] => left.max(*above),
                    _ => left,
                };
                left = *cell;
            }
            above = Some(row);
        }
        Ok(Self { lengths, width })
    }

    /// The length for the first `i` bytes of one string and the first `j` of the other.
    fn length(&self, i: usize, j: usize) -> u32 {
        self.lengths.get(i * self.width + j).copied().unwrap_or(0)
    }
}

/// What [`walk`] comes by, from the end of the strings to their beginning.
enum Step {
    /// A byte of the subsequence.
    Byte(u8),
    /// A run of bytes that stand side by side in both strings.
    Range(Range),
}

#[derive(Clone, Copy)]
struct Range {
    a: usize,
    b: usize,
    bytes: usize,
}

impl Range {
    fn write(self, with_bytes: bool, out: &mut Encoder<'_>) {
        out.array_header(2 + usize::from(with_bytes));
        for start in [self.a, self.b] {
            out.array_header(2);
            out.integer(start as i64);
            out.integer((start + self.bytes - 1) as i64);
        }
        if with_bytes {
            out.integer(self.bytes as i64);
        }
    }
}

/// Follows one longest subsequence back through the table; of two equal ways it goes back in the second string, as Redis does.
fn walk(table: &Table, a: &[u8], b: &[u8], mut on_step: impl FnMut(Step)) {
    let (mut rest_a, mut rest_b) = (a, b);
    let mut range: Option<Range> = None;
    while let ([head_a @ .., x], [head_b @ .., y]) = (rest_a, rest_b) {
        if x == y {
            on_step(Step::Byte(*x));
            // A range that is open ends right behind this byte: every other step closes it.
            let bytes = range.map_or(0, |range| range.bytes) + 1;
            range = Some(Range { a: head_a.len(), b: head_b.len(), bytes });
            (rest_a, rest_b) = (head_a, head_b);
        } else {
            if let Some(range) = range.take() {
                on_step(Step::Range(range));
            }
            if table.length(head_a.len(), rest_b.len()) > table.length(rest_a.len(), head_b.len()) {
                rest_a = head_a;
            } else {
                rest_b = head_b;
            }
        }
    }
    if let Some(range) = range {
        on_step(Step::Range(range));
    }
}

//! Looks at entries: XLEN, XRANGE, XREVRANGE.

use annulus_storage::value::stream::StreamId;

use super::super::arguments::{integer, is};
use super::super::errors::{self, Failure, Outcome, fail};
use super::super::{Context, answer, unreachable_arity};
use super::{ids, read, write_entries};

/// `XLEN key`
pub(in super::super) fn xlen(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = len(context, args);
    answer(context, outcome);
}

fn len(context: &mut Context<'_>, args: &[&[u8]]) -> Outcome {
    let &[_, key] = args else { return Err(unreachable_arity("xlen")) };
    let key = context.first_key(key);
    let len = read(context, key)?.map_or(0, annulus_storage::value::Stream::len);
    context.out.integer(len as i64);
    Ok(())
}

/// `XRANGE key start end [COUNT count]`
pub(in super::super) fn xrange(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = Range::parse(args, Order::Forward).and_then(|range| range.run(context));
    answer(context, outcome);
}

/// `XREVRANGE key end start [COUNT count]`
pub(in super::super) fn xrevrange(context: &mut Context<'_>, args: &[&[u8]]) {
    let outcome = Range::parse(args, Order::Backward).and_then(|range| range.run(context));
    answer(context, outcome);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Forward,
    Backward,
}

struct Range<'a> {
    key: &'a [u8],
    start: StreamId,
    end: StreamId,
    count: usize,
    order: Order,
}

impl<'a> Range<'a> {
    fn parse(args: &[&'a [u8]], order: Order) -> Result<Self, Failure> {
        let &[_, key, first, second, ref options @ ..] = args else {
            return Err(unreachable_arity("xrange"));
        };
        let (start, end) = if order == Order::Forward { (first, second) } else { (second, first) };
        let (start, end) = (ids::start(start)?, ids::end(end)?);
        let mut count = usize::MAX;
        let mut rest = options;
        loop {
            rest = match rest {
                [] => return Ok(Self { key, start, end, count, order }),
                [option, number, tail @ ..] if is(option, "COUNT") => {
                    count = usize::try_from(integer(number)?).unwrap_or(0);
                    tail
                }
                _ => return Err(fail(errors::SYNTAX)),
            };
        }
    }

    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let key = context.first_key(self.key);
        let Some(entry) = context.store.get(context.database, key) else {
            context.out.array_header(0);
            return Ok(());
        };
        let stream = super::stream(entry)?;
        let out = &mut context.out;
        match self.order {
            _ if self.count == 0 => out.null_array(),
            Order::Forward => write_entries(out, stream.range(self.start, self.end), self.count),
            Order::Backward => write_entries(out, stream.range_back(self.start, self.end), self.count),
        }
        Ok(())
    }
}

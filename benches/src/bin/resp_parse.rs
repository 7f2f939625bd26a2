//! What the protocol costs a command: parsing requests, against the `redis-protocol` crate; slots; replies.
//!
//! Every way of parsing must find the same arguments before it is timed. Rounds of all cases are interleaved, and the median
//! round counts. `perf stat` or `valgrind --tool=callgrind` with `--only CASE` counts instructions.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]

use std::hint::black_box;
use std::time::Instant;

use annulus_protocol::{Args, CommandParser, Encoder, Limits, Step, Version, slot};
use clap::Parser;
use redis_protocol::bytes::BytesMut;
use redis_protocol::resp2;

/// Measures the protocol's share of a command.
#[derive(Parser)]
struct Arguments {
    /// Commands in one pipeline.
    #[arg(long, default_value_t = 100)]
    pipeline: usize,
    /// Rounds of each case; the median counts.
    #[arg(long, default_value_t = 31)]
    rounds: usize,
    /// Pipelines in a round.
    #[arg(long, default_value_t = 500)]
    repeats: usize,
    /// Only the cases whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 64;

/// What a way of parsing found in a pipeline: commands, arguments, and a sum over the arguments' bytes.
type Found = (usize, usize, u64);

type Case<'a> = (&'static str, &'static str, Box<dyn Fn() -> u64 + 'a>);

fn main() {
    let arguments = Arguments::parse();
    let keys: Vec<_> = (0..arguments.pipeline).map(key).collect();
    let streams = [
        ("GET", keys.iter().map(|key| request(&[b"GET", key])).collect::<Vec<_>>().concat()),
        (
            "SET",
            keys.iter().map(|key| request(&[b"SET", key, &[b'v'; VALUE_BYTES]])).collect::<Vec<_>>().concat(),
        ),
    ];
    for (name, stream) in &streams {
        check(name, stream, arguments.pipeline);
    }

    let mut cases: Vec<Case<'_>> = Vec::new();
    for (name, stream) in &streams {
        let command = *name;
        cases.push((command, "ours, arguments as ranges", Box::new(|| parse_ranges(stream))));
        cases.push((command, "ours, arguments as slices", Box::new(|| parse_slices(stream))));
        cases.push((command, "ours, in packets of 1448 bytes", Box::new(|| parse_packets(stream))));
        cases.push((command, "redis-protocol, decode_range", Box::new(|| decode_ranges(stream))));
        cases.push((command, "redis-protocol, decode", Box::new(|| decode_owned(stream))));
        cases.push((command, "redis-protocol, decode_bytes_mut", Box::new(|| decode_bytes(stream))));
    }
    cases.push((
        "slot",
        "of a key of 16 bytes",
        Box::new(|| keys.iter().map(|key| u64::from(slot(black_box(key)))).sum()),
    ));
    let pipeline = arguments.pipeline;
    cases.push(("reply", "+OK", Box::new(move || encode(pipeline, |out| out.simple(black_box("OK"))))));
    cases.push((
        "reply",
        "integer of 1 digit",
        Box::new(move || encode(pipeline, |out| out.integer(black_box(1)))),
    ));
    cases.push((
        "reply",
        "integer of 5 digits",
        Box::new(move || encode(pipeline, |out| out.integer(black_box(12_345)))),
    ));
    cases.push((
        "reply",
        "string of 64 bytes",
        Box::new(move || encode(pipeline, |out| out.bulk(black_box(&[b'v'; VALUE_BYTES])))),
    ));
    if let Some(only) = &arguments.only {
        cases.retain(|(group, name, _)| format!("{group} {name}").contains(only.as_str()));
    }
    report(&cases, &arguments);
}

fn report(cases: &[Case<'_>], arguments: &Arguments) {
    let mut nanoseconds = vec![Vec::new(); cases.len()];
    for _ in 0..arguments.rounds {
        for ((.., case), times) in cases.iter().zip(&mut nanoseconds) {
            let start = Instant::now();
            for _ in 0..arguments.repeats {
                black_box(case());
            }
            times.push(start.elapsed().as_secs_f64() * 1e9 / (arguments.repeats * arguments.pipeline) as f64);
        }
    }
    println!("{:<6} {:<34} {:>10} {:>10}", "", "", "ns median", "ns best");
    for ((group, name, _), times) in cases.iter().zip(&mut nanoseconds) {
        times.sort_by(f64::total_cmp);
        println!("{group:<6} {name:<34} {:>10.2} {:>10.2}", times[times.len() / 2], times[0]);
    }
}

fn key(index: usize) -> Vec<u8> {
    format!("key:{:0width$}", index * 7919, width = KEY_BYTES - 4).into_bytes()
}

fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, Version::Resp2);
    encoder.array_header(arguments.len());
    for argument in arguments {
        encoder.bulk(argument);
    }
    out
}

fn check(name: &str, stream: &[u8], commands: usize) {
    let expected = ours(stream);
    assert_eq!(expected.0, commands, "{name}: commands");
    assert_eq!(expected, theirs(stream), "{name}: ours and redis-protocol's");
    assert_eq!(parse_packets(stream), parse_ranges(stream), "{name}: in packets");
}

fn ours(stream: &[u8]) -> Found {
    let mut found = (0, 0, 0);
    each_command(stream, |args, input| {
        found.0 += 1;
        found.1 += args.len();
        found.2 += args.iter(input).flatten().map(|&byte| u64::from(byte)).sum::<u64>();
    });
    found
}

fn theirs(stream: &[u8]) -> Found {
    let mut found = (0, 0, 0);
    let mut rest = stream;
    while let Ok(Some((frame, bytes))) = resp2::decode::decode(rest) {
        let resp2::types::OwnedFrame::Array(arguments) = frame else { panic!("not a command") };
        found.0 += 1;
        found.1 += arguments.len();
        for argument in arguments {
            let resp2::types::OwnedFrame::BulkString(bytes) = argument else { panic!("not an argument") };
            found.2 += bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        }
        rest = &rest[bytes..];
    }
    found
}

fn each_command(stream: &[u8], mut command: impl FnMut(&Args, &[u8])) {
    let (mut parser, mut args) = (CommandParser::new(), Args::new());
    let mut rest = stream;
    while let Ok(Step::Command { consumed }) = parser.parse(rest, &mut args, &Limits::DEFAULT) {
        command(&args, rest);
        rest = &rest[consumed..];
    }
}

fn parse_ranges(stream: &[u8]) -> u64 {
    let mut last_bytes = 0;
    each_command(stream, |args, input| last_bytes += args.get(args.len() - 1, input).len() as u64);
    last_bytes
}

fn parse_slices(stream: &[u8]) -> u64 {
    let mut last_bytes = 0;
    each_command(stream, |args, input| {
        let slices = args.slices(input);
        last_bytes += black_box(&slices)[slices.len() - 1].len() as u64;
    });
    last_bytes
}

/// As from a socket: each packet ends somewhere within a command.
fn parse_packets(stream: &[u8]) -> u64 {
    const PACKET_BYTES: usize = 1448;
    let (mut parser, mut args) = (CommandParser::new(), Args::new());
    let (mut start, mut last_bytes) = (0, 0);
    for received in (PACKET_BYTES..stream.len()).step_by(PACKET_BYTES).chain([stream.len()]) {
        let mut rest = &stream[start..received];
        while let Ok(Step::Command { consumed }) = parser.parse(rest, &mut args, &Limits::DEFAULT) {
            last_bytes += args.get(args.len() - 1, rest).len() as u64;
            rest = &rest[consumed..];
        }
        start = received - rest.len();
    }
    last_bytes
}

fn decode_ranges(stream: &[u8]) -> u64 {
    let (mut rest, mut last_bytes) = (stream, 0);
    while let Ok(Some((frame, bytes))) = resp2::decode::decode_range(rest) {
        if let resp2::types::RangeFrame::Array(arguments) = &frame
            && let Some(resp2::types::RangeFrame::BulkString((start, end))) = arguments.last()
        {
            last_bytes += (end - start) as u64;
        }
        rest = &rest[bytes..];
    }
    last_bytes
}

fn decode_owned(stream: &[u8]) -> u64 {
    let (mut rest, mut last_bytes) = (stream, 0);
    while let Ok(Some((frame, bytes))) = resp2::decode::decode(rest) {
        if let resp2::types::OwnedFrame::Array(arguments) = &frame
            && let Some(resp2::types::OwnedFrame::BulkString(argument)) = arguments.last()
        {
            last_bytes += argument.len() as u64;
        }
        rest = &rest[bytes..];
    }
    last_bytes
}

fn decode_bytes(stream: &[u8]) -> u64 {
    let (mut rest, mut last_bytes) = (BytesMut::from(stream), 0);
    while let Ok(Some((frame, ..))) = resp2::decode::decode_bytes_mut(&mut rest) {
        if let resp2::types::BytesFrame::Array(arguments) = &frame
            && let Some(resp2::types::BytesFrame::BulkString(argument)) = arguments.last()
        {
            last_bytes += argument.len() as u64;
        }
    }
    last_bytes
}

fn encode(replies: usize, reply: impl Fn(&mut Encoder<'_>)) -> u64 {
    thread_local! {
        static OUT: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    OUT.with_borrow_mut(|out| {
        out.clear();
        for _ in 0..replies {
            reply(&mut Encoder::new(out, Version::Resp2));
        }
        out.len() as u64
    })
}

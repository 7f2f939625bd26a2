//! Requests: in whatever pieces the bytes come, the parser finds the same commands, the same end, and the same error.
#![no_main]

use annulus_protocol::{Args, CommandParser, Limits, ProtocolError, Step, peek_key};
use libfuzzer_sys::fuzz_target;

/// What a connection would see of its input.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    commands: Vec<Vec<Vec<u8>>>,
    error: Option<ProtocolError>,
}

/// Gives the parser what a connection would: the unconsumed rest, and what has come since.
fn read(input: &[u8], limits: &Limits, mut pieces: impl Iterator<Item = usize>) -> Seen {
    let mut seen = Seen { commands: Vec::new(), error: None };
    let (mut parser, mut args) = (CommandParser::new(), Args::new());
    let (mut start, mut end) = (0, 0);
    loop {
        match parser.parse(&input[start..end], &mut args, limits) {
            Ok(Step::Command { consumed }) => {
                assert!(
                    (1..=end - start).contains(&consumed),
                    "{consumed} bytes consumed of {}",
                    end - start
                );
                let command: Vec<_> = args.iter(&input[start..end]).map(<[u8]>::to_vec).collect();
                assert_eq!(command.len(), args.len());
                seen.commands.push(command);
                start += consumed;
            }
            Ok(Step::Incomplete { needed }) => {
                assert!(needed > 0 || start == end, "more is needed, but nothing is said to be missing");
                if end == input.len() {
                    return seen;
                }
                end = (end + pieces.next().unwrap_or(usize::MAX).max(1).min(input.len())).min(input.len());
            }
            Err(error) => {
                seen.error = Some(error);
                return seen;
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&shape, input)) = data.split_first() else { return };
    let limits = Limits::default();
    let limits = if shape & 1 == 0 { limits } else { limits.unauthenticated() };
    let whole = read(input, &limits, std::iter::empty());
    for size in [1, 1 + usize::from(shape >> 1)] {
        assert_eq!(whole, read(input, &limits, std::iter::repeat(size)), "in pieces of {size}");
    }
    let _ = peek_key(input);
});

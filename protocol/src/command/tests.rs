use proptest::prelude::*;
use redis_protocol::resp2::{decode::decode, types::OwnedFrame};

use super::*;

/// What a connection makes of a stream: its commands, and the error that ended it.
type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Runs a connection's buffer over `chunks`, as the server does.
fn run<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Outcome {
    let (mut parser, mut args, mut buffer, mut commands) =
        (CommandParser::new(), Args::new(), Vec::new(), Vec::new());
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            match parser.parse(&buffer, &mut args, limits) {
                Ok(Step::Command { consumed }) => {
                    commands.push(args.iter(&buffer).map(<[u8]>::to_vec).collect());
                    buffer.drain(..consumed);
                }
                Ok(Step::Incomplete { needed }) => {
                    assert!(needed > 0);
                    assert!(args.is_empty());
                    break;
                }
                Err(error) => return (commands, Some(error)),
            }
        }
    }
    (commands, None)
}

fn whole(stream: &[u8]) -> Outcome {
    run([stream], &Limits::DEFAULT)
}

fn byte_by_byte(stream: &[u8]) -> Outcome {
    run(stream.chunks(1), &Limits::DEFAULT)
}

fn commands(expected: &[&[&[u8]]]) -> Outcome {
    (expected.iter().map(|command| command.iter().map(|arg| arg.to_vec()).collect()).collect(), None)
}

fn encode(command: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[track_caller]
fn assert_error(stream: &[u8], reply: &[u8]) {
    for outcome in [whole(stream), byte_by_byte(stream)] {
        let error = outcome.1.expect("the stream breaks the protocol");
        assert_eq!(error.reply().escape_ascii().to_string(), reply.escape_ascii().to_string());
    }
}

#[track_caller]
fn assert_commands(stream: &[u8], expected: &[&[&[u8]]]) {
    assert_eq!(whole(stream), commands(expected));
    assert_eq!(byte_by_byte(stream), commands(expected));
}

#[test]
fn pipelined_arrays_are_read_in_order() {
    assert_commands(
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n",
        &[&[b"GET", b"k"], &[b"PING"], &[b"SET", b"", b"\r\n"]],
    );
}

#[test]
fn arguments_of_every_length_of_header_are_read() {
    for bytes in [0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 70_000, 1_000_000] {
        let command = vec![b"SET".to_vec(), vec![b'x'; bytes]];
        let stream = [encode(&command), encode(&command)].concat();
        assert_eq!(whole(&stream), (vec![command.clone(), command], None), "{bytes}");
    }
}

#[test]
fn commands_of_many_arguments_are_read() {
    for count in [9, 10, 99, 100, 999, 1000, 5000] {
        let command: Vec<_> = (0..count).map(|index| index.to_string().into_bytes()).collect();
        assert_eq!(whole(&encode(&command)), (vec![command], None));
    }
}

#[test]
fn empty_commands_have_no_arguments() {
    assert_commands(
        b"*0\r\n\r\n\n  \r\n*-1\r\n*-99999\r\nPING\r\n",
        &[&[] as &[&[u8]], &[], &[], &[], &[], &[], &[b"PING"]],
    );
}

#[test]
fn line_ends_are_taken_on_trust_as_redis_takes_them() {
    assert_commands(b"*1\rX$4\rXPINGXX", &[&[b"PING"]]);
}

#[test]
fn counts_that_are_no_number_are_refused() {
    for stream in
        ["*abc\r\n", "*01\r\n", "*+1\r\n", "* 1\r\n", "*\r\n", "*1048577\r\n", "*99999999999999999999\r\n"]
    {
        assert_error(stream.as_bytes(), b"ERR Protocol error: invalid multibulk length");
    }
    assert_eq!(whole(b"*1048576\r\n"), commands(&[]));
}

#[test]
fn lengths_that_are_no_number_are_refused() {
    for stream in ["$-1\r\n", "$\r\n", "$04\r\n", "$+4\r\n", "$536870913\r\n", "$4x\r\n", "$1x\r\nPING"] {
        assert_error(format!("*1\r\n{stream}").as_bytes(), b"ERR Protocol error: invalid bulk length");
    }
    assert_eq!(whole(b"*1\r\n$536870912\r\n"), commands(&[]));
}

#[test]
fn anything_but_a_bulk_is_refused_by_name() {
    assert_error(b"*1\r\nabc\r\n", b"ERR Protocol error: expected '$', got 'a'");
    assert_error(b"*1\r\n\xff\r\n", b"ERR Protocol error: expected '$', got '\xff'");
    assert_error(b"*1\r\n\r\n", b"ERR Protocol error: expected '$', got ' '");
    // Like Redis, only once the line is there.
    assert_eq!(whole(b"*1\r\nabc"), commands(&[]));
}

#[test]
fn endless_lines_are_refused_at_the_same_byte_as_in_redis() {
    let line = |prefix: &[u8], fill: u8, bytes: usize| [prefix, &vec![fill; bytes]].concat();
    for (prefix, fill, what) in [
        (&b""[..], b'A', "inline request"),
        (b"*", b'1', "mbulk count string"),
        (b"*1\r\n$", b'1', "bulk count string"),
    ] {
        let fits = 65_536 - usize::from(fill == b'1');
        assert_eq!(whole(&line(prefix, fill, fits)), commands(&[]));
        let error = format!("ERR Protocol error: too big {what}");
        assert_error(&line(prefix, fill, fits + 1), error.as_bytes());
    }
}

#[test]
fn strangers_may_send_little() {
    let limits = Limits::DEFAULT.unauthenticated();
    let refused = |stream: &[u8]| run([stream], &limits).1.map(|error| error.to_string());
    assert_eq!(refused(b"*10\r\n"), None);
    assert_eq!(refused(b"*1\r\n$16384\r\n"), None);
    assert_eq!(
        refused(b"*11\r\n$4\r\nPING\r\n").unwrap(),
        "Protocol error: unauthenticated multibulk length"
    );
    assert_eq!(refused(b"*1\r\n$16385\r\n").unwrap(), "Protocol error: unauthenticated bulk length");
    assert_eq!(refused(b"*1\r\n$536870913\r\n").unwrap(), "Protocol error: invalid bulk length");
}

#[test]
fn the_limit_on_arguments_can_be_lower_than_the_short_headers_reach() {
    let limits = Limits::DEFAULT.with_bulk_bytes_max(100);
    assert_eq!(run([&b"*1\r\n$100\r\n"[..]], &limits).1, None);
    assert_eq!(run([&b"*1\r\n$101\r\n"[..]], &limits).1, Some(ProtocolError::InvalidBulkLength));
}

#[test]
fn inline_commands_follow_the_quoting_rules_of_redis() {
    for (line, expected) in [
        (&b"SET key value\r\n"[..], &[&b"SET"[..], b"key", b"value"][..]),
        (b"  PING \t \r\n", &[b"PING"]),
        (b"echo \"a\\x41\\n\\q\\xZZ\\\"\\\\\"\r\n", &[b"echo", b"aA\nqxZZ\"\\"]),
        (b"echo \"\\r\\t\\b\\a\" x\n", &[b"echo", b"\r\t\x08\x07", b"x"]),
        (b"echo 'it\\'s \\n'\r\n", &[b"echo", b"it's \\n"]),
        (b"echo foo\"bar baz\"\r\n", &[b"echo", b"foobar baz"]),
        (b"echo \"\" ''\r\n", &[b"echo", b"", b""]),
        (b"echo a\x0bb\r\n", &[b"echo", b"a\x0bb"]),
        (b"echo \"a\"\x0bb\r\n", &[b"echo", b"a", b"b"]),
        (b"PI\rNG\r\n", &[b"PI", b"NG"]),
        (b"nul\0byte\n", &[b"nul\0byte"]),
    ] {
        assert_commands(line, &[expected]);
    }
    for line in [&b"\"abc\r\n"[..], b"echo \"a\"b\r\n", b"echo 'a\r\n", b"echo 'a'b\n", b"echo \"a\\\r\n"] {
        assert_error(line, b"ERR Protocol error: unbalanced quotes in request");
    }
}

#[test]
fn quoted_arguments_do_not_leak_into_the_next_command() {
    assert_commands(
        b"echo \"a b\"\r\n*1\r\n$4\r\nPING\r\nget k\r\n",
        &[&[b"echo", b"a b"], &[b"PING"], &[b"get", b"k"]],
    );
}

#[test]
fn the_missing_bytes_of_a_large_argument_are_announced() {
    let (mut parser, mut args) = (CommandParser::new(), Args::new());
    let mut input = b"*2\r\n$3\r\nSET\r\n$100000\r\nxyz".to_vec();
    let step = parser.parse(&input, &mut args, &Limits::DEFAULT);
    assert_eq!(step, Ok(Step::Incomplete { needed: 99_999 }));
    input.resize(input.len() + 99_998, b'.');
    assert_eq!(parser.parse(&input, &mut args, &Limits::DEFAULT), Ok(Step::Incomplete { needed: 1 }));
    input.push(b'.');
    let consumed = input.len();
    assert_eq!(parser.parse(&input, &mut args, &Limits::DEFAULT), Ok(Step::Command { consumed }));
    assert_eq!(args.get(1, &input).len(), 100_000);
}

#[test]
fn a_parser_between_commands_holds_one_word() {
    assert!(size_of::<CommandParser>() <= size_of::<usize>());
    let (mut parser, mut args) = (CommandParser::new(), Args::new());
    parser.parse(b"*1\r\n$4\r\nPI", &mut args, &Limits::DEFAULT).unwrap();
    assert!(parser.partial.is_some());
    parser.parse(b"*1\r\n$4\r\nPING\r\n", &mut args, &Limits::DEFAULT).unwrap();
    assert!(parser.partial.is_none());
    assert_eq!(parser.parse(b"", &mut args, &Limits::DEFAULT), Ok(Step::Incomplete { needed: 1 }));
    assert!(parser.partial.is_none());
}

#[test]
fn a_huge_command_does_not_leave_its_list_behind() {
    let (mut parser, mut args) = (CommandParser::new(), Args::new());
    let stream = encode(&vec![b"x".to_vec(); 100_000]);
    parser.parse(&stream, &mut args, &Limits::DEFAULT).unwrap();
    assert_eq!(args.len(), 100_000);
    args.clear();
    assert!(args.spans.capacity() < 100);
}

/// Streams that mean something up to a point: commands, inline commands, rubbish.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let argument = prop::collection::vec(any::<u8>(), 0..40);
    let command = prop::collection::vec(argument, 0..12).prop_map(|command| encode(&command));
    let inline = "[a-c \"'\\\\x0-2\t]{0,30}\r?\n".prop_map(String::into_bytes);
    let rubbish = prop::collection::vec(prop::sample::select(&b"*$:-+019\r\n\"' \\xPING\0\xff"[..]), 0..20);
    prop::collection::vec(prop_oneof![8 => command, 3 => inline, 1 => rubbish], 0..8)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn splitting_a_stream_changes_nothing(stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut start = 0;
        for cut in cuts {
            chunks.push(&stream[start..cut]);
            start = cut;
        }
        chunks.push(&stream[start..]);
        let expected = whole(&stream);
        prop_assert_eq!(run(chunks, &Limits::DEFAULT), expected.clone());
        prop_assert_eq!(byte_by_byte(&stream), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(stream in prop::collection::vec(any::<u8>(), 0..300)) {
        let limits = Limits::DEFAULT.unauthenticated();
        prop_assert_eq!(run([&stream[..]], &limits), run(stream.chunks(1), &limits));
    }

    #[test]
    fn commands_are_what_redis_protocol_reads(
        wanted in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..12), 1..5)
    ) {
        let stream: Vec<u8> = wanted.iter().flat_map(|command| encode(command)).collect();
        let mut rest = &stream[..];
        let mut theirs = Vec::new();
        while let Some((OwnedFrame::Array(frames), bytes)) = decode(rest).unwrap() {
            theirs.push(frames.into_iter().map(|frame| match frame {
                OwnedFrame::BulkString(bytes) => bytes,
                other => panic!("{other:?}"),
            }).collect::<Vec<_>>());
            rest = &rest[bytes..];
        }
        let (ours, error) = whole(&stream);
        prop_assert_eq!(error, None);
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(ours, wanted);
    }
}

#[test]
fn the_key_is_guessed_where_it_is_and_nowhere_else() {
    assert_eq!(peek_key(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"), Some(b"key".as_slice()));
    assert_eq!(peek_key(b"*3\r\n$3\r\nSET\r\n$12\r\nabcdefghijkl\r\n$1"), Some(b"abcdefghijkl".as_slice()));
    assert_eq!(peek_key(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n"), Some(b"".as_slice()));
    for no_key in [
        b"*1\r\n$4\r\nPING\r\n".as_slice(),
        b"GET key\r\n",
        b"",
        b"*2\r\n$3\r\nGET\r\n$9\r\nkey\r\n",
        b"*2\r\n$99",
    ] {
        assert_eq!(peek_key(no_key), None, "{}", String::from_utf8_lossy(no_key));
    }
}

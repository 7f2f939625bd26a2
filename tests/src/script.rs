//! Scripts: tables of commands and the replies they must give, run against whatever speaks: a server at the other end of a socket, or
//! a simulated one.
//!
//! ```text
//! # a comment
//! > SET key "a value\r\n\x00"
//! +OK
//! > GET key
//! "a value\r\n\x00"
//! > NOSUCH
//! ~ -ERR unknown command*
//! ```
//!
//! A line that starts with `>` is a command, its arguments quoted as redis-cli quotes them. The line after it is the reply in
//! the notation of [`crate::resp::Value`]; with `~` before it, `*` in it stands for anything; with `@`, it is a number of
//! seconds that passes. Directives: `!resp3` and `!resp2` switch
//! the protocol, `!annulus` means that the oracle is too old for what follows, `!both` ends that. Each script starts on an
//! empty server, on a new connection.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    glob,
    resp::{Connection, Value},
};

/// What may pass between two commands of a script on a busy machine.
const SECONDS_BETWEEN: i64 = 30;

/// Somebody who answers commands, one at a time.
pub trait Speaker {
    /// The reply to a command.
    fn ask(&mut self, arguments: &[Vec<u8>]) -> Value;
}

impl Speaker for Connection {
    fn ask(&mut self, arguments: &[Vec<u8>]) -> Value {
        self.command(arguments)
    }
}

/// Which servers a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Both,
    AnnulusOnly,
}

/// All scripts.
pub fn all() -> Vec<PathBuf> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");
    let entries = fs::read_dir(dir).expect("the scripts are there");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a directory can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {dir}");
    paths
}

/// Runs a script; `oracle` says that the server is a real redis-server. Returns what differs from the expectations.
///
/// With `ANNULUS_SCRIPTS_RECORD` set, the oracle's replies are written into the script instead of compared.
pub fn run(path: &Path, speaker: &mut impl Speaker, oracle: bool) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let record = oracle && env::var_os("ANNULUS_SCRIPTS_RECORD").is_some();
    let mut audience = Audience::Both;
    let mut differences = Vec::new();
    let mut recorded = String::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let _ = writeln!(recorded, "{line}");
        let place = format!("{}:{}", path.display(), number + 1);
        match line.as_bytes().first() {
            None | Some(b'#') => {}
            Some(b'!') => audience = directive(line, audience, speaker, &place),
            Some(b'>') => {
                let is_reply = |next: &&str| !next.is_empty() && !next.starts_with(['>', '#', '!']);
                let expected = lines.peek().map(|&(_, next)| next).filter(is_reply);
                if expected.is_some() {
                    lines.next();
                }
                if oracle && audience == Audience::AnnulusOnly {
                    let _ = expected.map(|expected| writeln!(recorded, "{expected}"));
                    continue;
                }
                let reply = speaker.ask(&arguments(&line[1..], &place)).to_string();
                let keep = expected.filter(|expected| agrees(expected, &reply));
                let _ = writeln!(recorded, "{}", keep.unwrap_or(&reply));
                if keep.is_none() {
                    let expected = expected.unwrap_or("(nothing written)");
                    differences
                        .push(format!("{place}: {line}\n    expected {expected}\n    got      {reply}"));
                }
            }
            Some(_) => panic!("{place}: a reply without a command: {line}"),
        }
    }
    if record {
        fs::write(path, recorded).expect("the script can be rewritten");
        differences.clear();
    }
    differences
}

fn directive(line: &str, audience: Audience, speaker: &mut impl Speaker, place: &str) -> Audience {
    match line {
        "!annulus" => Audience::AnnulusOnly,
        "!both" => Audience::Both,
        "!resp2" | "!resp3" => {
            let reply = speaker.ask(&["HELLO", &line[5..]].map(|word| word.as_bytes().to_vec()));
            assert!(!reply.is_error(), "{place}: {reply}");
            audience
        }
        _ => panic!("{place}: an unknown directive: {line}"),
    }
}

fn agrees(expected: &str, reply: &str) -> bool {
    if let Some(pattern) = expected.strip_prefix("~ ") {
        return glob::matches(pattern, reply);
    }
    if let Some(at_first) = expected.strip_prefix("@ :") {
        let number = |text: &str| text.parse::<i64>().ok();
        let (at_first, now) = (number(at_first), reply.strip_prefix(':').and_then(number));
        return at_first
            .zip(now)
            .is_some_and(|(at_first, now)| now <= at_first && at_first - now <= SECONDS_BETWEEN);
    }
    expected == reply
}

/// Splits a line at blanks; `"…"` keeps them and knows `\n \r \t \\ \" \xNN`.
pub fn arguments(line: &str, place: &str) -> Vec<Vec<u8>> {
    let mut arguments = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (argument, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_argument(quoted).unwrap_or_else(|| panic!("{place}: a quote that does not end"))
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            (rest.as_bytes()[..end].to_vec(), &rest[end..])
        };
        arguments.push(argument);
        rest = after.trim_start();
    }
    arguments
}

fn quoted_argument(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut bytes = Vec::new();
    let mut at = 0;
    let source = text.as_bytes();
    loop {
        match *source.get(at)? {
            b'"' => return Some((bytes, &text[at + 1..])),
            b'\\' => {
                let escape = *source.get(at + 1)?;
                at += 1;
                bytes.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'x' => {
                        let hex = text.get(at + 1..at + 3)?;
                        at += 2;
                        u8::from_str_radix(hex, 16).ok()?
                    }
                    other => other,
                });
            }
            other => bytes.push(other),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn arguments_are_split_and_unquoted() {
        let split = arguments(r#" SET k "a \"b\"\x00\n" "" x"y"#, "here");
        let expected: [&[u8]; 5] = [b"SET", b"k", b"a \"b\"\0\n", b"", b"x\"y"];
        assert_eq!(split, expected);
    }
}

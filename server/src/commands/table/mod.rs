//! The command table: one row a command, a file a chapter.

mod bitmap;
mod cluster;
mod connection;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod internal;
mod list;
mod member_expiry;
mod pubsub;
mod scripting;
mod server;
mod set;
mod sorted_set;
mod stream;
mod string;
mod transactions;

use super::command::Command;

/// Chapters in the order of their ids. A container stands right before its subcommands.
const CHAPTERS: &[&[Command]] = &[
    string::ROWS,
    bitmap::ROWS,
    hyperloglog::ROWS,
    list::ROWS,
    stream::ROWS,
    hash::ROWS,
    member_expiry::OF_HASH,
    set::ROWS,
    member_expiry::OF_SET,
    sorted_set::ROWS,
    member_expiry::OF_SORTED_SET,
    geo::ROWS,
    generic::ROWS,
    connection::ROWS,
    transactions::ROWS,
    server::ROWS,
    cluster::ROWS,
    pubsub::ROWS,
    scripting::ROWS,
    internal::ROWS,
];

/// Number of rows, subcommands included.
pub const COUNT: usize = {
    let mut count = 0;
    let mut chapter = 0;
    while chapter < CHAPTERS.len() {
        count += CHAPTERS[chapter].len();
        chapter += 1;
    }
    count
};

/// All rows; a row's place is its [`Command::id`].
pub static ALL: [Command; COUNT] = assemble();

/// Joins the chapters and gives each row its id, and each container the range of its subcommands.
#[expect(clippy::large_stack_arrays, reason = "only the compiler runs it")]
const fn assemble() -> [Command; COUNT] {
    let mut rows = [string::ROWS[0]; COUNT];
    let mut id = 0;
    let mut chapter = 0;
    while chapter < CHAPTERS.len() {
        let mut index = 0;
        while index < CHAPTERS[chapter].len() {
            let children = children(CHAPTERS[chapter], index);
            rows[id] = CHAPTERS[chapter][index].placed(id as u16, id as u16 + 1, children);
            id += 1;
            index += 1;
        }
        chapter += 1;
    }
    rows
}

/// How many rows after `index` are subcommands of the row there.
const fn children(rows: &[Command], index: usize) -> u16 {
    let mut count = 0;
    if rows[index].parent.is_some() {
        return 0;
    }
    while index + 1 + count < rows.len() {
        match rows[index + 1 + count].parent {
            Some(parent) => {
                assert!(same(parent, rows[index].name), "a subcommand stands under another container");
            }
            None => break,
        }
        count += 1;
    }
    count as u16
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::command::{Flags, KeyFlags};
    use super::super::{ConnectionCommand, Merge, Run, syntax};
    use super::*;

    #[test]
    fn ids_are_places_and_names_are_unique_and_lower_case() {
        let mut names = HashSet::new();
        for (place, command) in ALL.iter().enumerate() {
            assert_eq!(command.id(), place);
            assert!(names.insert(command.full_name()), "{} twice", command.name);
            assert_eq!(command.name, command.name.to_ascii_lowercase());
        }
    }

    #[test]
    fn every_row_is_documented_and_its_syntax_parses() {
        for command in ALL.iter().filter(|command| !command.is_internal()) {
            let name = command.full_name();
            assert!(!command.summary.is_empty(), "{name} has no summary");
            assert!(!command.summary.ends_with('.'), "{name}: summaries are headlines");
            assert!(!command.since.is_empty() && !command.complexity.is_empty(), "{name}");
            let arguments = syntax::parse(command.syntax).unwrap_or_else(|error| panic!("{name}: {error}"));
            let words = 1 + usize::from(command.parent.is_some());
            let needed: usize = arguments.iter().map(syntax::Argument::required).sum();
            let arity = usize::from(command.arity.unsigned_abs());
            // The container COMMAND is a command too, and subcommands count towards its arity.
            if !command.has_subcommands() {
                assert!(
                    words + needed <= arity,
                    "{name}: syntax needs {needed} arguments, arity {}",
                    command.arity
                );
            }
        }
    }

    #[test]
    fn writes_and_reads_exclude_each_other_and_keys_follow_the_way_to_run() {
        for command in &ALL {
            let name = command.full_name();
            let (writes, reads) =
                (command.flags.contains(Flags::WRITE), command.flags.contains(Flags::READONLY));
            assert!(!(writes && reads), "{name}");
            let keyed = command.names_keys();
            match command.run {
                Run::Keyed(_) | Run::Hops(..) | Run::Waits(_) => {
                    assert!(keyed && (writes || reads), "{name} runs where its keys are");
                }
                Run::Split(_, merge) => {
                    assert!(keyed && command.keys.last == -1, "{name} is split by its keys");
                    assert!(matches!(merge, Merge::Sum | Merge::Ok | Merge::Array), "{name}");
                }
                // Libraries of functions are no data: to look at them reads none, as in Redis.
                Run::Broadcast(..) if name.starts_with("function|") => assert!(!keyed && !reads, "{name}"),
                Run::Broadcast(..) | Run::Cursor(_) => assert!(!keyed && (writes || reads), "{name}"),
                // Shard channels are shown as positions, for clients that route by slot; they are no keys.
                Run::Connection(ConnectionCommand::PubSub(_)) => {
                    assert!(command.key_uses.iter().all(|each| each.flags == KeyFlags::NOT_KEY), "{name}");
                }
                // Scripts name as many keys as they like.
                Run::Script(_) => {}
                // WATCH names keys, and what it does concerns the connection.
                Run::Connection(ConnectionCommand::Watch) => assert!(keyed),
                Run::Connection(_) | Run::Container => assert!(!keyed, "{name}"),
            }
        }
    }
}

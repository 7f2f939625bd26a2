//! `COMMAND` and the `HELP` of containers: what the table says, in the shapes that clients expect.

use annulus_protocol::Encoder;

use super::CommandCommand;
use super::arguments::is;
use super::command::{Categories, Command, KeyFlags, KeyPlaces, KeyUse};
use super::errors::{Failure, Outcome, SYNTAX, fail};
use super::glob::{Case, glob_match};
use super::lookup::{lookup, lookup_subcommand};
use super::syntax::{self, Argument};
use super::table::ALL;

/// Answers `COMMAND` and its subcommands. Number of arguments and subcommand have been checked by [`resolve`](super::resolve).
pub fn introspect(command: CommandCommand, args: &[&[u8]], out: &mut Encoder<'_>) {
    let words = args.get(2..).unwrap_or_default();
    let mut outcome = Ok(());
    match command {
        CommandCommand::All => info(&[], out),
        CommandCommand::Info => info(words, out),
        CommandCommand::Count => out.integer(top_level().count() as i64),
        CommandCommand::Docs => docs(words, out),
        CommandCommand::Getkeys => outcome = keys(words, out, |bytes, _, out| out.bulk(bytes)),
        CommandCommand::Getkeysandflags => {
            outcome = keys(words, out, |bytes, flags, out| {
                out.array_header(2);
                out.bulk(bytes);
                statuses(flags.names(), out);
            });
        }
        CommandCommand::List => outcome = list(words, out),
    }
    if let Err(error) = outcome {
        out.error(error);
    }
}

/// Answers `HELP` of the container that `args` name first.
pub fn help(args: &[&[u8]], out: &mut Encoder<'_>) {
    let Some(container) = args.first().and_then(|name| lookup(name)) else {
        return out.error(SYNTAX);
    };
    let start = out.position();
    let mut lines = 1;
    let mut line = |text: String| {
        out.simple(text);
        lines += 1;
    };
    line(format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        container.name.to_ascii_uppercase()
    ));
    for subcommand in container.subcommands() {
        let name = subcommand.name.to_ascii_uppercase();
        line(format!("{name} {}", subcommand.syntax).trim_end().to_owned());
        line(format!("    {}.", subcommand.summary));
    }
    out.insert_array_header(start, lines - 1);
}

/// Every command that clients may send, without subcommands.
fn top_level() -> impl Iterator<Item = &'static Command> {
    ALL.iter().filter(|command| command.parent.is_none() && !command.is_internal())
}

/// A command by its full name: `get`, `client|list`.
fn find(name: &[u8]) -> Option<&'static Command> {
    let (container, subcommand) = match memchr::memchr(b'|', name) {
        Some(bar) => (name.get(..bar)?, Some(name.get(bar + 1..)?)),
        None => (name, None),
    };
    let command = lookup(container).filter(|command| !command.is_internal())?;
    match subcommand {
        Some(subcommand) => lookup_subcommand(command, subcommand),
        None => Some(command),
    }
}

fn info(names: &[&[u8]], out: &mut Encoder<'_>) {
    if names.is_empty() {
        out.array_header(top_level().count());
        return top_level().for_each(|command| write_info(command, out));
    }
    out.array_header(names.len());
    for name in names {
        match find(name) {
            Some(command) => write_info(command, out),
            // Redis says null and not null array here.
            None => out.null(),
        }
    }
}

/// The ten elements of a command's description.
fn write_info(command: &Command, out: &mut Encoder<'_>) {
    out.array_header(10);
    out.bulk(command.full_name());
    out.integer(i64::from(command.arity));
    statuses(command.flags.names(), out);
    out.integer(i64::from(command.keys.first));
    out.integer(i64::from(command.keys.last));
    out.integer(i64::from(command.keys.step));
    let categories = command.categories().names();
    out.set_header(categories.clone().count());
    categories.for_each(|name| out.simple(format!("@{name}")));
    out.set_header(command.tips.len());
    command.tips.iter().for_each(|tip| out.bulk(tip));
    out.set_header(command.key_uses.len());
    command.key_uses.iter().for_each(|each| write_key_use(each, out));
    // Subcommands: an empty set, else an array, as in Redis.
    match command.subcommands() {
        [] => out.set_header(0),
        subcommands => {
            out.array_header(subcommands.len());
            for subcommand in subcommands {
                write_info(subcommand, out);
            }
        }
    }
}

fn statuses(names: impl Iterator<Item = &'static str> + Clone, out: &mut Encoder<'_>) {
    out.set_header(names.clone().count());
    names.for_each(|name| out.simple(name));
}

fn write_key_use(each: &KeyUse, out: &mut Encoder<'_>) {
    out.map_header(if each.notes.is_some() { 4 } else { 3 });
    if let Some(notes) = each.notes {
        out.bulk("notes");
        out.bulk(notes);
    }
    out.bulk("flags");
    statuses(each.flags.names(), out);
    let range = |last: i8, step: u8, limit| {
        ("range", [("lastkey", i64::from(last)), ("keystep", i64::from(step)), ("limit", limit)])
    };
    out.bulk("begin_search");
    let (kind, places) = match each.places {
        KeyPlaces::Range { first, last, step } => {
            write_search("index", &[("index", i64::from(first))], out);
            range(last, step, 0)
        }
        KeyPlaces::Counted { at, step } => {
            write_search("index", &[("index", i64::from(at))], out);
            ("keynum", [("keynumidx", 0), ("firstkey", 1), ("keystep", i64::from(step))])
        }
        KeyPlaces::Behind { word, from, .. } => {
            write_keyword(word, from, out);
            range(-1, 1, 2)
        }
        KeyPlaces::Keyword { word, from } => {
            write_keyword(word, from, out);
            range(0, 1, 0)
        }
        KeyPlaces::Found { .. } | KeyPlaces::Elsewhere { .. } => {
            write_search("unknown", &[], out);
            out.bulk("find_keys");
            write_search("unknown", &[], out);
            return;
        }
    };
    out.bulk("find_keys");
    write_search(kind, &places, out);
}

fn write_keyword(word: &str, from: u8, out: &mut Encoder<'_>) {
    out.map_header(2);
    out.bulk("type");
    out.bulk("keyword");
    out.bulk("spec");
    out.map_header(2);
    out.bulk("keyword");
    out.bulk(word);
    out.bulk("startfrom");
    out.integer(i64::from(from));
}

fn write_search(kind: &str, spec: &[(&str, i64)], out: &mut Encoder<'_>) {
    out.map_header(2);
    out.bulk("type");
    out.bulk(kind);
    out.bulk("spec");
    out.map_header(spec.len());
    for (name, value) in spec {
        out.bulk(name);
        out.integer(*value);
    }
}

fn docs(names: &[&[u8]], out: &mut Encoder<'_>) {
    let commands: Vec<_> = if names.is_empty() {
        top_level().collect()
    } else {
        names.iter().filter_map(|name| find(name)).collect()
    };
    write_docs(&commands, out);
}

fn write_docs(commands: &[&Command], out: &mut Encoder<'_>) {
    out.map_header(commands.len());
    for command in commands {
        out.bulk(command.full_name());
        write_documentation(command, out);
    }
}

fn write_documentation(command: &Command, out: &mut Encoder<'_>) {
    // A row whose syntax cannot be read does not pass the table's tests.
    let arguments = syntax::parse(command.syntax).unwrap_or_default();
    let subcommands: Vec<_> = command.subcommands().iter().collect();
    let fields = 4
        + usize::from(command.deprecated.is_some()) * 3
        + usize::from(!arguments.is_empty())
        + usize::from(!subcommands.is_empty());
    out.map_header(fields);
    let texts = [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ];
    for text in texts.iter().flat_map(|(name, text)| [name, text]) {
        out.bulk(text);
    }
    if let Some((since, instead)) = command.deprecated {
        out.bulk("doc_flags");
        statuses(std::iter::once("deprecated"), out);
        for text in ["deprecated_since", since, "replaced_by", instead] {
            out.bulk(text);
        }
    }
    if !arguments.is_empty() {
        out.bulk("arguments");
        write_arguments(&arguments, &mut KeyIndexes::of(command), out);
    }
    if !subcommands.is_empty() {
        out.bulk("subcommands");
        write_docs(&subcommands, out);
    }
}

/// Deals the key arguments of a command to its key uses, in order; the last use has all that remain.
struct KeyIndexes {
    next: usize,
    last: usize,
}

impl KeyIndexes {
    fn of(command: &Command) -> Self {
        Self { next: 0, last: command.key_uses.len().saturating_sub(1) }
    }

    fn take(&mut self) -> usize {
        let index = self.next.min(self.last);
        self.next += 1;
        index
    }
}

fn write_arguments(arguments: &[Argument], keys: &mut KeyIndexes, out: &mut Encoder<'_>) {
    out.array_header(arguments.len());
    for argument in arguments {
        let flags = [(argument.optional, "optional"), (argument.multiple, "multiple")];
        let flags = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name);
        let is_key = argument.type_name() == "key";
        let fields = 2
            + usize::from(is_key)
            + usize::from(argument.token.is_some())
            + usize::from(flags.clone().next().is_some())
            + usize::from(!argument.inner().is_empty());
        out.map_header(fields);
        out.bulk("name");
        out.bulk(&argument.name);
        out.bulk("type");
        out.bulk(argument.type_name());
        if is_key {
            out.bulk("key_spec_index");
            out.integer(keys.take() as i64);
        }
        if let Some(token) = &argument.token {
            out.bulk("token");
            out.bulk(token);
        }
        if flags.clone().next().is_some() {
            out.bulk("flags");
            statuses(flags, out);
        }
        if !argument.inner().is_empty() {
            out.bulk("arguments");
            write_arguments(argument.inner(), keys, out);
        }
    }
}

/// Replies with what `write` makes of each key of a whole command.
fn keys(words: &[&[u8]], out: &mut Encoder<'_>, write: fn(&[u8], KeyFlags, &mut Encoder<'_>)) -> Outcome {
    let command = resolve_words(words).ok_or(fail("ERR Invalid command specified"))?;
    if command.key_uses.iter().all(|each| each.flags.contains(KeyFlags::NOT_KEY)) {
        return Err(fail("ERR The command has no key arguments"));
    }
    let arity = usize::from(command.arity.unsigned_abs());
    if words.len() < arity || (command.arity > 0 && words.len() != arity) {
        return Err(fail("ERR Invalid number of arguments specified for command"));
    }
    let start = out.position();
    let mut count = 0;
    for each in command.key_uses {
        for position in each.positions(words) {
            if let Some(key) = words.get(position) {
                write(key, flags_in_use(each, words), out);
                count += 1;
            }
        }
    }
    if count == 0 {
        return Err(fail("ERR Invalid arguments specified for command"));
    }
    out.insert_array_header(start, count);
    Ok(())
}

/// What these words do with a key. Only `SET` has flags that vary: it reads what it returns or compares.
fn flags_in_use(each: &KeyUse, words: &[&[u8]]) -> KeyFlags {
    const READING: [&str; 5] = ["GET", "IFEQ", "IFNE", "IFDEQ", "IFDNE"];
    if !each.flags.contains(KeyFlags::VARIABLE_FLAGS) {
        return each.flags;
    }
    let options = words.get(3..).unwrap_or_default();
    if options.iter().any(|option| READING.iter().any(|reading| is(option, reading))) {
        KeyFlags::of(&[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE])
    } else {
        KeyFlags::of(&[KeyFlags::OW, KeyFlags::UPDATE])
    }
}

/// The row that these words would run, whatever their number.
fn resolve_words(words: &[&[u8]]) -> Option<&'static Command> {
    let command = words.first().and_then(|name| lookup(name)).filter(|command| !command.is_internal())?;
    match words.get(1) {
        Some(name) if command.has_subcommands() => lookup_subcommand(command, name),
        _ => Some(command),
    }
}

fn list(words: &[&[u8]], out: &mut Encoder<'_>) -> Outcome {
    let filter = ListFilter::parse(words)?;
    let start = out.position();
    let mut count = 0;
    for command in ALL.iter().filter(|command| !command.is_internal()) {
        let name = command.full_name();
        if filter.wants(command, &name) {
            out.bulk(&name);
            count += 1;
        }
    }
    out.insert_array_header(start, count);
    Ok(())
}

/// Which commands `COMMAND LIST` tells of.
enum ListFilter<'a> {
    All,
    None,
    Category(Categories),
    Pattern(&'a [u8]),
}

impl<'a> ListFilter<'a> {
    fn parse(words: &[&'a [u8]]) -> Result<Self, Failure> {
        match words {
            [] => Ok(Self::All),
            // There are no modules.
            [by, kind, _] if is(by, "FILTERBY") && is(kind, "MODULE") => Ok(Self::None),
            [by, kind, wanted] if is(by, "FILTERBY") && is(kind, "ACLCAT") => {
                let known = Categories::NAMES.iter().find(|(_, name)| is(wanted, name));
                Ok(known.map_or(Self::None, |(category, _)| Self::Category(*category)))
            }
            [by, kind, pattern] if is(by, "FILTERBY") && is(kind, "PATTERN") => Ok(Self::Pattern(pattern)),
            _ => Err(fail(SYNTAX)),
        }
    }

    fn wants(&self, command: &Command, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Category(category) => command.categories().contains(*category),
            Self::Pattern(pattern) => glob_match(pattern, name.as_bytes(), Case::Insensitive),
        }
    }
}
